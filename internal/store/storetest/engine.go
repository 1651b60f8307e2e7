package storetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/fault"
	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

// A listing is in the order of bytes, whatever the locale of the machine or the server.
func order(t *testing.T, e Engine) {
	x, ctx := begin(t, e), t.Context()
	want := []string{"A", "B", "a", "a b", "a-b", "a_b", "aB", "ab", "b", "ä"}
	slices.Sort(want)
	var c casework.Change
	for i, id := range slices.Backward(want) {
		c.Cases = append(c.Cases, aCase(id, "p", fmt.Sprint("s", i)))
		c.Arm = append(c.Arm, casework.Due{Case: id, Timer: casework.TimerDue, At: 5})
	}
	c.At = 1
	x.commit(c)
	var cases, timers []string
	for _, k := range got[[]casework.Case](x)(x.Cases(ctx, operator, casework.Filter{})) {
		cases = append(cases, k.ID)
	}
	for _, d := range got[[]casework.Due](x)(x.DueTimers(ctx, 9)) {
		timers = append(timers, d.Case)
	}
	if !slices.Equal(cases, want) || !slices.Equal(timers, want) {
		t.Errorf("cases %q, timers %q, want %q", cases, timers, want)
	}
	if cs := got[[]casework.Case](x)(x.Cases(ctx, access.Tenant("P"), casework.Filter{})); len(cs) != 0 {
		t.Errorf("letters of another case are the same: %v", cs)
	}
}

// What strangers write is kept, or shown to have been unreadable; it never keeps a step from being written.
func hostileText(t *testing.T, e Engine) {
	x, ctx := begin(t, e), t.Context()
	const name = "\x00'; DROP TABLE kase; --\xff\xfe\u202e\x1b[31m\\$1 \U0010ffff"
	s := world(9)
	s.Servers[0].Name = untrusted.From(name)
	s.Gaps = []asset.Gap{{Kind: "servers", Reason: name}}
	x.commit(casework.Change{At: 10, Inventory: &casework.Inventory{Snapshot: s, RealAt: 9}, Coverage: []probe.Coverage{{Cloud: "cloud", Vantage: "v", Purpose: probe.Recheck, Note: name}}})
	if n := got[untrusted.Text](x)(x.NameOf(ctx, operator, "cloud", "server", "s1")); n.Raw() != untrusted.From(name).Raw() {
		t.Errorf("the name is %q", n.Raw())
	}
	c, ok, err := x.LastCoverage(ctx, "sweep", "cloud", "v", probe.Recheck)
	if err != nil || !ok || c.Note != "\uFFFD'; DROP TABLE kase; --\uFFFD\u202e\x1b[31m\\$1 \U0010ffff" {
		t.Errorf("the note is %q, %v", c.Note, err)
	}
	if cs := got[[]casework.Case](x)(x.Cases(ctx, operator, casework.Filter{Server: asset.ServerID(`s1' OR '1'='1`)})); len(cs) != 0 {
		t.Errorf("%v", cs)
	}
}

// Two processes that write at once: no entry is lost, none stands twice, the log has no gap and no fork, and of two who write
// over the same thing one is told.
func twoWriters(t *testing.T, e Engine) {
	place := t.TempDir()
	writers := []Store{e.Open(t, place), e.Open(t, place), e.Open(t, place)}
	defer func() {
		for _, w := range writers {
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		}
	}()
	ctx := t.Context()
	x := exam{t, writers[0]}
	x.commit(casework.Change{At: 1, Cases: []casework.Case{aCase("case-1", "p1", "s1")}})
	const each = 25
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for n, w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := w.Commit(ctx, casework.Change{At: int64(i + 2), Audit: []audit.Entry{anEntry(fmt.Sprint(n, ".", i, "a")), anEntry(fmt.Sprint(n, ".", i, "b"))}}); err != nil {
					t.Errorf("writer %d: %v", n, err)
				}
				c, err := w.Case(ctx, operator, "case-1")
				if err != nil {
					t.Error(err)
					return
				}
				c.FinalAt++
				err = w.Commit(ctx, casework.Change{At: int64(i + 2), Cases: []casework.Case{c}})
				if err == nil {
					mu.Lock()
					won++
					mu.Unlock()
				} else if !fault.Is(err, fault.Conflict) {
					t.Errorf("writer %d: %v", n, err)
				}
			}
		})
	}
	wg.Wait()
	log := got[audit.Stored](x)(x.AuditLog(ctx))
	if p := audit.Verify(log); len(p) > 0 || len(log.Leaves) != 2*each*len(writers) {
		t.Errorf("%d entries: %v", len(log.Leaves), p)
	}
	seen := map[string]int{}
	for _, en := range got[[]audit.Entry](x)(x.Entries(ctx, 1000)) {
		seen[en.Kind]++
	}
	if len(seen) != 2*each*len(writers) {
		t.Errorf("%d kinds of entries", len(seen))
	}
	c := got[casework.Case](x)(x.Case(ctx, operator, "case-1"))
	if c.Version != won+1 || c.FinalAt != int64(won) {
		t.Errorf("%d writings were accepted; the case is at version %d with %d", won, c.Version, c.FinalAt)
	}
}
