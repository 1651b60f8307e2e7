package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/fault"
	"demarc/internal/store"
	"demarc/internal/store/storetest"
)

// step is a change that would show if it were written twice or in part.
func step(kind string) casework.Change {
	return casework.Change{At: 1, Audit: []audit.Entry{{Actor: "demarc", Kind: kind}, {Actor: "demarc", Kind: kind + ", second half"}}, Arm: []casework.Due{{Case: kind, Timer: casework.TimerDue, At: 5}}}
}

// tally holds what was reported against what is in the ledger, read on a way of its own.
type tally struct {
	mu      sync.Mutex
	written map[string]error // by kind: what Commit said
}

func (y *tally) commit(ctx context.Context, d *store.DB, kind string) error {
	err := d.Commit(ctx, step(kind))
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.written == nil {
		y.written = map[string]error{}
	}
	y.written[kind] = err
	return err
}

// judge gives how many steps were reported to have failed and are there all the same.
func (y *tally) judge(t *testing.T, place string, heads store.HeadFile) (unknown int) {
	t.Helper()
	d, err := store.OpenReader(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close() //nolint:errcheck // only read
	if p := problems(t, d, heads); len(p) > 0 {
		t.Errorf("the log: %v", p)
	}
	es, err := d.Entries(t.Context(), 100_000)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, e := range es {
		seen[e.Kind]++
	}
	for kind, err := range y.written {
		due, terr := d.Timers(t.Context(), kind)
		n, m := seen[kind], seen[kind+", second half"]
		switch {
		case terr != nil || n > 1 || n != m || n != len(due):
			t.Errorf("%s: %d and %d entries, %d timers, %v", kind, n, m, len(due), terr)
		case err == nil && n != 1:
			t.Errorf("%s was reported to be written, and is not there", kind)
		case err != nil && n == 1:
			if !strings.Contains(err.Error(), "it is not known") {
				t.Errorf("%s is there, and it was said: %v", kind, err)
			}
			unknown++
		case err != nil && !fault.Is(err, fault.Unavailable):
			t.Errorf("%s: %v is nothing to try again", kind, err)
		}
		delete(seen, kind)
		delete(seen, kind+", second half")
	}
	if len(seen) > 0 {
		t.Errorf("nobody wrote %v", seen)
	}
	return unknown
}

// A connection that is cut before the commit writes nothing. One that is cut after it, so that the answer is lost, has written: the
// store finds out, and says so. Nothing is written twice, and the next step is written.
func TestACutConnection(t *testing.T) {
	onServer(t)
	for name, c := range map[string]struct {
		cut   storetest.Cut
		fails int // of 10 that are cut; -1: as chance has it
	}{"before the commit": {storetest.BeforeCommit, 10}, "after the commit": {storetest.AfterCommit, 0}, "at the commit": {storetest.AtCommit, -1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			place := storetest.Fresh(t, "")
			p := storetest.NewProxy(t, place)
			heads := store.HeadFile(filepath.Join(t.TempDir(), "heads"))
			d, err := store.Open(t.Context(), p.Place, store.WithHeads(heads))
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close() //nolint:errcheck // the test is over
			var y tally
			fails := 0
			for i := range 10 {
				p.Arm(c.cut)
				if err := y.commit(t.Context(), d, fmt.Sprint("cut ", i)); err != nil {
					fails++
				}
				if err := y.commit(t.Context(), d, fmt.Sprint("whole ", i)); err != nil {
					t.Errorf("the step after a cut: %v", err)
				}
			}
			if p.Cuts() != 10 || c.fails >= 0 && fails != c.fails {
				t.Errorf("%d cuts, %d failures", p.Cuts(), fails)
			}
			if n := y.judge(t, place, heads); n > 0 {
				t.Errorf("%d outcomes stayed unknown", n)
			}
		})
	}
}

// While the server cannot be asked, the outcome is unknown, and the error says that; afterwards the line goes on.
func TestAnOutcomeThatCannotBeAskedFor(t *testing.T) {
	onServer(t)
	t.Parallel()
	place := storetest.Fresh(t, "")
	p := storetest.NewProxy(t, place)
	heads := store.HeadFile(filepath.Join(t.TempDir(), "heads"))
	d, err := store.Open(t.Context(), p.Place, store.WithHeads(heads))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close() //nolint:errcheck // the test is over
	var y tally
	p.Arm(storetest.AfterCommit)
	cut := make(chan struct{})
	go func() {
		defer close(cut)
		for p.Cuts() == 0 {
			time.Sleep(time.Millisecond)
		}
		p.Down(true)
	}()
	err = y.commit(t.Context(), d, "lost")
	<-cut
	if err != nil && (!fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "it is not known")) {
		t.Errorf("%v", err)
	}
	p.Down(false)
	for i := range 3 {
		if err := y.commit(t.Context(), d, fmt.Sprint("after ", i)); err != nil {
			t.Errorf("the line does not go on: %v", err)
		}
	}
	y.judge(t, place, heads)
}

// While a writer cannot ask for the outcome others commit. It is found behind as many as are remembered, and is unknown behind more.
func TestAnOutcomeBehindThoseOfOthers(t *testing.T) {
	onServer(t)
	for others, known := range map[int]bool{50: true, 64: false} {
		t.Run(fmt.Sprint(others), func(t *testing.T) {
			t.Parallel()
			place := storetest.Fresh(t, "")
			p := storetest.NewProxy(t, place)
			heads := store.HeadFile(filepath.Join(t.TempDir(), "heads"))
			var y tally
			d, err := store.Open(t.Context(), p.Place, store.WithHeads(heads))
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close() //nolint:errcheck // the test is over
			other, err := store.Open(t.Context(), place, store.WithHeads(heads))
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close() //nolint:errcheck // the test is over
			p.ArmWith(storetest.AfterCommit, func() {
				p.Down(true)
				for n := range others {
					if err := y.commit(t.Context(), other, fmt.Sprint("other ", n)); err != nil {
						t.Error(err)
					}
				}
				p.Down(false)
			})
			err = y.commit(t.Context(), d, "lost")
			if known && err != nil || !known && (err == nil || !strings.Contains(err.Error(), "it is not known")) {
				t.Error(err)
			}
			y.judge(t, place, heads)
		})
	}
}

// A server that is restarted while three write loses nothing that it acknowledged. It is restarted as an operator does, and as a
// power cut does.
func TestARestartedServer(t *testing.T) {
	onServer(t)
	restart := os.Getenv("DEMARC_TEST_POSTGRES_RESTART") // takes a shutdown mode
	if restart == "" {
		t.Skip("needs a server that may be restarted: make db")
	}
	place := storetest.Fresh(t, "")
	heads := store.HeadFile(filepath.Join(t.TempDir(), "heads"))
	ctx, stop := context.WithCancel(t.Context())
	var y tally
	var wg sync.WaitGroup
	for n := range 3 {
		d, err := store.Open(t.Context(), place, store.WithHeads(heads))
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close() //nolint:errcheck // the test is over
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if y.commit(t.Context(), d, fmt.Sprint(n, ".", i)) != nil {
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	for _, mode := range []string{"fast", "immediate", "fast", "immediate", "immediate"} {
		time.Sleep(700 * time.Millisecond)
		if out, err := exec.CommandContext(t.Context(), "sh", "-c", restart+" -m "+mode).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	time.Sleep(300 * time.Millisecond)
	stop()
	wg.Wait()
	good, bad := 0, 0
	for _, err := range y.written {
		if err == nil {
			good++
		} else {
			bad++
		}
	}
	unknown := y.judge(t, place, heads)
	t.Logf("%d steps written, %d reported to have failed, %d of these there", good, bad, unknown)
	if good < 100 || bad == 0 {
		t.Errorf("%d written, %d failed: the restarts did not come in the middle", good, bad)
	}
}

// A server that stops as a power cut stops it forgets the transactions that were open, and gives their numbers out again. What another
// writer then commits is not taken for what was lost.
func TestANumberThatTheServerGivesOutAgain(t *testing.T) {
	onServer(t)
	restart := os.Getenv("DEMARC_TEST_POSTGRES_RESTART")
	if restart == "" {
		t.Skip("needs a server that may be restarted: make db")
	}
	place := storetest.Fresh(t, "")
	p := storetest.NewProxy(t, place)
	heads := store.HeadFile(filepath.Join(t.TempDir(), "heads"))
	var y tally
	ours, err := store.Open(t.Context(), p.Place, store.WithHeads(heads))
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close() //nolint:errcheck // the test is over
	other, err := store.Open(t.Context(), place, store.WithHeads(heads))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close() //nolint:errcheck // the test is over
	for i := range 3 {
		p.ArmWith(storetest.BeforeCommit, func() {
			p.Down(true)
			if out, err := exec.CommandContext(t.Context(), "sh", "-c", restart+" -m immediate").CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
			for n := range 5 {
				_ = y.commit(t.Context(), other, fmt.Sprint("other ", i, ".", n)) // the first may find its connection dead
			}
			p.Down(false)
		})
		if err := y.commit(t.Context(), ours, fmt.Sprint("lost ", i)); err == nil || strings.Contains(err.Error(), "it is not known") {
			t.Errorf("what was lost: %v", err)
		}
		if err := y.commit(t.Context(), ours, fmt.Sprint("after ", i)); err != nil {
			t.Errorf("the step after it: %v", err)
		}
	}
	if p.Cuts() != 3 {
		t.Errorf("%d cuts", p.Cuts())
	}
	y.judge(t, place, heads)
}

// A transaction that the server ends in favour of another is an error to try again, and no part of it is written.
func TestADeadlock(t *testing.T) {
	onServer(t)
	t.Parallel()
	place, ctx := storetest.Fresh(t, ""), t.Context()
	d, err := store.Open(ctx, place)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close() //nolint:errcheck // the test is over
	var y tally
	for _, k := range []string{"a", "b"} {
		if err := y.commit(ctx, d, k); err != nil {
			t.Fatal(err)
		}
	}
	x := beside(t, place)
	defer x.Close() //nolint:errcheck // the test is over
	tx, err := x.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{`SET LOCAL deadlock_timeout = '60s'`, `UPDATE timer SET at = 6 WHERE kase = 'b'`} {
		if _, err := tx.ExecContext(ctx, q); err != nil {
			t.Fatal(err)
		}
	}
	c := step("victim")
	c.Arm = append(c.Arm, casework.Due{Case: "a", Timer: casework.TimerDue, At: 7}, casework.Due{Case: "b", Timer: casework.TimerDue, At: 7})
	said := make(chan error, 1)
	go func() { said <- d.Commit(ctx, c) }()
	time.Sleep(300 * time.Millisecond) // it has a, and waits for b
	_, err = tx.ExecContext(ctx, `UPDATE timer SET at = 6 WHERE kase = 'a'`)
	if err := errors.Join(err, tx.Commit()); err != nil {
		t.Fatal(err)
	}
	y.written["victim"] = <-said
	if y.written["victim"] == nil {
		t.Error("there was no deadlock")
	}
	y.judge(t, place, store.HeadFile(filepath.Join(t.TempDir(), "none")))
	if err := d.Commit(ctx, c); err != nil {
		t.Errorf("tried again: %v", err)
	}
}

// The same for whatever other reason the server gives.
func TestAServerThatSaysTryAgain(t *testing.T) {
	onServer(t)
	for name, code := range map[string]string{"serialization": "40001", "lock": "55P03", "shutdown": "57P01"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			place, ctx := storetest.Fresh(t, ""), t.Context()
			d, err := store.Open(ctx, place)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close() //nolint:errcheck // the test is over
			x := beside(t, place)
			defer x.Close() //nolint:errcheck // the test is over
			for when, q := range map[string]string{"a statement": `CREATE TRIGGER no BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION no()`,
				"the commit": `CREATE CONSTRAINT TRIGGER no AFTER INSERT ON audit DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION no()`} {
				if _, err := x.ExecContext(ctx, `CREATE OR REPLACE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '`+code+`'; END$$; `+q); err != nil {
					t.Fatal(err)
				}
				var y tally
				if err := y.commit(ctx, d, when); err == nil {
					t.Errorf("at %s: written", when)
				}
				y.judge(t, place, store.HeadFile(filepath.Join(t.TempDir(), "none")))
				if _, err := x.ExecContext(ctx, `DROP TRIGGER no ON audit`); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
