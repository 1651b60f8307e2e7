package store

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/fault"
	"demarc/internal/untrusted"
)

func TestAReaderMakesAndChangesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "demarc.db")
	if _, err := OpenReader(t.Context(), path); !fault.Is(err, fault.NotFound) {
		t.Fatalf("a file that is not there: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Fatal("the reader made the file")
	}
	w, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := OpenReader(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	on := true
	if err := r.Commit(t.Context(), casework.Change{At: 1, Pause: &on}); err == nil {
		t.Error("the reader wrote")
	}
	if err := w.Commit(t.Context(), casework.Change{At: 1, Pause: &on}); err != nil {
		t.Fatal(err)
	}
	if paused, err := r.Paused(t.Context()); err != nil || !paused {
		t.Errorf("the reader does not see what was committed: %t, %v", paused, err)
	}
	for _, d := range []*DB{r, w} {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if r, err = OpenReader(t.Context(), path); err != nil {
		t.Fatalf("a database nobody writes to: %v", err)
	}
	_ = r.Close()
}

// A log that grows while it is verified verifies.
func TestALogIsReadAtOneMoment(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "demarc.db")
	w, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close() //nolint:errcheck // a test's end
	r, err := OpenReader(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // a test's end
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			if err := w.Commit(ctx, casework.Change{At: 1, Audit: []audit.Entry{{Kind: "one"}, {Kind: "two"}}}); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	})
	for range 60 {
		s, err := r.AuditLog(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if ps := audit.Verify(s); len(ps) > 0 {
			t.Fatalf("of %d entries: %v", len(s.Leaves), ps)
		}
	}
	stop()
	wg.Wait()
}

func TestWhatDoorsReadKeepsToTheScope(t *testing.T) {
	t.Parallel()
	d, err := Open(t.Context(), filepath.Join(t.TempDir(), "demarc.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close() //nolint:errcheck // a test's end
	c := casework.Change{At: 1, Inventory: &casework.Inventory{Snapshot: &asset.Snapshot{Cloud: "lab",
		Projects: []asset.Project{{ID: "p", Name: untrusted.From("astro")}}, Servers: []asset.Server{{ID: "s", Project: "p", Name: untrusted.From("web")}}}}}
	for _, id := range []string{"c-1", "c-2"} {
		c.Cases = append(c.Cases, casework.Case{ID: id, Cloud: "lab", Server: asset.ServerID(id), Project: "p", Party: "customer", State: casework.New})
		c.Audit = append(c.Audit, audit.Entry{Kind: "case.opened", Case: id}, audit.Entry{Kind: "noted", Subject: id})
		c.Mails = append(c.Mails, casework.Mail{ID: "m-" + id, MessageID: id, Case: id, Status: casework.Waiting})
	}
	if err := d.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct {
		scope access.Scope
		sees  bool
	}{{access.Operator(), true}, {access.Tenant("p"), true}, {access.Tenant("q"), false}, {access.Scope{}, false}} {
		es, err := d.EntriesOf(t.Context(), k.scope, "c-1")
		if k.sees && (err != nil || len(es) != 1 || es[0].Kind != "case.opened") || !k.sees && !fault.Is(err, fault.NotFound) {
			t.Errorf("entries: %v, %v", es, err)
		}
		name, err := d.NameOf(t.Context(), k.scope, "lab", "server", "s")
		if k.sees != (err == nil && name.Raw() == "web") {
			t.Errorf("name: %v, %v", name, err)
		}
		if _, err := d.NameOf(t.Context(), k.scope, "lab", "project", "p"); k.sees != (err == nil) {
			t.Errorf("project: %v", err)
		}
		if _, err := d.Mail(t.Context(), k.scope, "m-c-1"); k.sees != (err == nil) {
			t.Errorf("mail: %v", err)
		}
		ms, err := d.LatestMails(t.Context(), k.scope, 1)
		if err != nil || k.sees != (len(ms) == 1 && ms[0].ID == "m-c-2") {
			t.Errorf("latest mail: %v, %v", ms, err)
		}
		tally, err := d.Tally(t.Context(), k.scope)
		if err != nil || k.sees != (tally.Cases == 2 && tally.Waiting == 2) || !k.sees && tally.Cases != 0 {
			t.Errorf("tally: %+v, %v", tally, err)
		}
	}
}
