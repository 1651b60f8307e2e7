package store

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/fault"
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
