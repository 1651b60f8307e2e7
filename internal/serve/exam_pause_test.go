package serve_test

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/cloud"
	"demarc/internal/fault"
	"demarc/internal/flow"
	"demarc/internal/serve"
	"demarc/internal/store"
	"demarc/internal/store/storetest"
)

// soon asks a server to pause, and fails when the answer takes longer than a second.
func (e *exam) soon(r *running) serve.Told {
	e.t.Helper()
	began := time.Now()
	told := e.ask(r, serve.Ask{Do: serve.Pause, Why: "a bad check"})
	if took := time.Since(began); took > time.Second {
		e.t.Errorf("the pause was answered after %s", took)
	}
	if !told.Paused {
		e.t.Error("the pause did not take effect")
	}
	return told
}

func (e *exam) pausesRecorded() int { e.t.Helper(); return strings.Count(e.auditText(), "a bad check") }

// full makes every writing of an audit entry fail, as a full disk does, until it is undone.
func (e *exam) full(file string) (free func()) {
	e.t.Helper()
	x, err := storetest.Beside(file)
	e.must(err)
	do := func(q string) {
		e.t.Helper()
		_, err := x.ExecContext(e.t.Context(), q)
		e.must(err)
	}
	do(`CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END`)
	return func() {
		e.t.Helper()
		do(`DROP TRIGGER full`)
		e.must(x.Close())
	}
}

// A ledger that cannot be written keeps nobody from pausing. The pause outlives a restart, and its audit entry follows when the ledger can
// be written.
func TestAPauseHoldsWhileTheLedgerCannotBeWritten(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"the server goes on", "the server is restarted"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			e, file := onFile(t, "")
			before := e.groups("cache-1")
			r, err := e.serve()
			e.must(err)
			e.wait("queued", e.inState("cache-1", casework.Queued))
			free := e.full(file)
			if told := e.soon(r); told.Unrecorded == "" {
				t.Error("the answer does not say that the audit entry follows")
			}
			e.checkPaused(r, true, "not paused")
			if how == "the server is restarted" {
				e.must(r.end()) // nothing of the pause is in the database: only the file knows
				if _, err := serve.AskServer(t.Context(), r.sock, serve.Ask{Do: serve.Pending}); err == nil {
					t.Fatal("the server goes on")
				}
			}
			if n := e.pausesRecordedIn(file); n != 0 {
				t.Fatalf("%d entries although the log cannot be written", n)
			}
			free()
			if how == "the server is restarted" {
				r, err = e.serve()
				e.must(err)
			}
			e.wait("the audit entry", func() bool { return e.pausesRecorded() > 0 })
			if paused, err := r.DB.PausedInLedger(t.Context()); err != nil || !paused {
				t.Errorf("the ledger: %t, %v", paused, err)
			}
			e.approvalIsRefused(r)
			if now := e.groups("cache-1"); !slices.EqualFunc(now, before, slices.Equal) {
				t.Errorf("groups %v, were %v", now, before)
			}
			if n := e.pausesRecorded(); n != 1 {
				t.Errorf("%d entries of one pause", n)
			}
			e.resumesForGood(r)
		})
	}
}

func (e *exam) pausesRecordedIn(file string) (n int) {
	e.t.Helper()
	x, err := storetest.Beside(file)
	e.must(err)
	defer x.Close() //nolint:errcheck // it was only read
	e.must(x.QueryRowContext(e.t.Context(), `SELECT count(*) FROM audit WHERE CAST(leaf AS TEXT) LIKE '%a bad check%'`).Scan(&n))
	return n
}

// A disk that is really full: the pause is answered, holds, and is recorded when there is space. This needs root, for the mount.
func TestAPauseHoldsOnAFullDisk(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	if err := syscall.Mount("demarc-test", disk, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("cannot mount a small disk, which needs root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	file := filepath.Join(disk, "demarc.db")
	e := open(t, plot{config: compressed(""), through: func(string) string { return file }})
	e.stop()
	r, err := e.serve()
	e.must(err)
	e.wait("queued", e.inState("cache-1", casework.Queued))
	ballast := filepath.Join(disk, "ballast")
	x, err := storetest.Beside(file)
	e.must(err)
	// A journal that was there could be written over, without a new block.
	_, err = x.ExecContext(t.Context(), `PRAGMA wal_checkpoint(TRUNCATE)`)
	e.must(err)
	e.must(x.Close())
	f, err := os.Create(ballast)
	e.must(err)
	for b := make([]byte, 4096); err == nil; {
		_, err = f.Write(b)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	e.must(f.Close())
	if told := e.soon(r); told.Unrecorded == "" {
		t.Error("recorded on a full disk")
	}
	_ = r.end()
	if thrown, why := r.Config.SwitchPath().Thrown(); !thrown || !strings.Contains(why, "a bad check") {
		t.Errorf("the switch: %t, %s", thrown, why)
	}
	e.must(os.Remove(ballast))
	r, err = e.serve()
	e.must(err)
	e.wait("the audit entry", func() bool { return e.pausesRecorded() == 1 })
	e.checkPaused(r, true, "not paused after the restart")
	e.untouched()
	e.must(r.end())
}

// While somebody else holds the ledger's write lock, and a decision waits for it, a pause is answered within a second and holds.
func TestAPauseDoesNotWaitForTheLedgersLock(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]bool{"the examined database": false, "a SQLite file": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var e *exam
			if file {
				e, _ = onFile(t, "")
			} else {
				e = serving(t, "")
			}
			r, err := e.serve()
			e.must(err)
			e.wait("queued", e.inState("cache-1", casework.Queued))
			x, err := storetest.Beside(r.Config.DatabasePath())
			e.must(err)
			defer x.Close() //nolint:errcheck // a test's end
			conn, err := x.Conn(t.Context())
			e.must(err)
			locked := lock(t, conn, store.IsURL(r.Config.DatabasePath()))
			id := e.theCase("cache-1").ID
			approved := make(chan error, 1)
			go func() {
				_, err := serve.AskServer(t.Context(), r.sock, serve.Ask{Do: serve.Approve, Cases: []string{id}})
				approved <- err
			}()
			time.Sleep(300 * time.Millisecond)
			if told := e.soon(r); told.Unrecorded == "" {
				t.Error("recorded while the ledger was locked")
			}
			select {
			case err := <-approved:
				t.Errorf("the approval did not wait: %v", err)
			default:
			}
			locked()
			e.wait("the audit entry", func() bool { return e.pausesRecorded() == 1 })
			<-approved
			time.Sleep(time.Second)
			e.untouched()
			e.must(r.end())
		})
	}
}

// lock takes the lock that a writer takes, and gives what releases it.
func lock(t *testing.T, c *sql.Conn, server bool) (unlock func()) {
	t.Helper()
	begin, take := `BEGIN IMMEDIATE`, `SELECT 1`
	if server {
		begin, take = `BEGIN`, `SELECT pg_advisory_xact_lock(1684894307, 1)` // the store's own lock
	}
	for _, q := range []string{begin, take} {
		if _, err := c.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		if _, err := c.ExecContext(context.WithoutCancel(t.Context()), `ROLLBACK`); err != nil {
			t.Error(err)
		}
		_ = c.Close()
	}
}

// slowActor takes its time for the first port.
type slowActor struct {
	cloud.Actor
	begun, goOn chan struct{}
}

func (a slowActor) SetGroups(ctx context.Context, id asset.PortID, groups []asset.GroupID, revision int) (asset.Port, error) {
	select {
	case a.begun <- struct{}{}:
		<-a.goOn
	default:
	}
	return a.Actor.SetGroups(ctx, id, groups, revision)
}

// While the pipeline waits for a slow call of the cloud, a pause is answered within a second, and the next call is not made.
func TestAPauseDuringASlowCallStopsTheNextOne(t *testing.T) {
	t.Parallel()
	begun, goOn := make(chan struct{}, 1), make(chan struct{})
	e := open(t, plot{scenario: two(), config: compressed(""),
		wrap: func(_ *exam, c *flow.Config) { c.Actor = slowActor{c.Actor, begun, goOn} }})
	e.stop()
	r, err := e.serve()
	e.must(err)
	e.wait("queued", e.inState("cache-1", casework.Queued))
	e.ask(r, serve.Ask{Do: serve.Approve, Cases: []string{e.theCase("cache-1").ID}})
	e.wait("a slow call", func() bool { return len(begun) == 1 })
	e.soon(r)
	close(goOn)
	e.wait("held", e.inState("cache-1", casework.OnHold))
	if n := len(e.changes("cache-1")); n != 1 {
		t.Errorf("%d ports were changed", n)
	}
	e.must(r.end())
}

// The ledger and the file each pause by themselves; what was put back from a backup, or taken away, pauses too.
func TestEitherSwitchPauses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(e *exam, r *running) error{
		"the file says running, the ledger paused": func(e *exam, r *running) error {
			e.soon(r)
			return os.WriteFile(string(r.Config.SwitchPath()), e.oldSwitch, 0o600)
		},
		"the file is gone": func(_ *exam, r *running) error { return os.Remove(string(r.Config.SwitchPath())) },
		"the file says nonsense": func(_ *exam, r *running) error {
			return os.WriteFile(string(r.Config.SwitchPath()), []byte("off"), 0o600)
		},
		"the ledger says nonsense": func(e *exam, r *running) error {
			x, err := storetest.Beside(r.Config.DatabasePath())
			if err != nil {
				return err
			}
			defer x.Close() //nolint:errcheck // a test's end
			_, err = x.ExecContext(e.t.Context(),
				`INSERT INTO meta (key, value) VALUES ('paused', 'FALSE') ON CONFLICT (key) DO UPDATE SET value = excluded.value`)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := serving(t, "")
			r, err := e.serve()
			e.must(err)
			e.wait("queued", e.inState("cache-1", casework.Queued))
			e.oldSwitch, err = os.ReadFile(string(r.Config.SwitchPath()))
			e.must(err)
			e.must(change(e, r))
			e.checkPaused(r, true, "not paused")
			e.approvalIsRefused(r)
			e.untouched()
			e.resume(r)
			e.must(r.end())
		})
	}
}

// A resume that cannot clear the file fails, and enforcement stays paused.
func TestAResumeThatCannotClearTheFileFails(t *testing.T) {
	t.Parallel()
	e := serving(t, "")
	r, err := e.serve()
	e.must(err)
	e.soon(r)
	path := string(r.Config.SwitchPath())
	e.must(os.Rename(path, path+".real"))
	e.must(os.Symlink(path+".real", path))
	if told, err := serve.AskServer(t.Context(), r.sock, serve.Ask{Do: serve.Unpause}); !fault.Is(err, fault.Config) || told.Paused {
		t.Errorf("%+v, %v", told, err)
	}
	e.checkPaused(r, true, "not paused")
	e.must(r.end())
	if _, err := e.serve(); !fault.Is(err, fault.Config) {
		t.Errorf("a server starts on a symbolic link: %v", err)
	}
}

// Where no server runs, a pause works while the database cannot be opened; the next start records it.
func TestAPauseWithoutAServerNeedsNoDatabase(t *testing.T) {
	t.Parallel()
	e, file := onFile(t, "")
	r, err := e.serve()
	e.must(err)
	e.must(r.end())
	b, err := os.ReadFile(file)
	e.must(err)
	e.must(os.WriteFile(file, []byte("no database"), 0o600))
	told, err := serve.DecideAlone(t.Context(), file, r.Policy, r.Config.SwitchPath(),
		serve.Ask{Do: serve.Pause, By: "olga", Why: "a bad check"})
	if err != nil || !told.Paused || told.Unrecorded == "" {
		t.Errorf("%+v, %v", told, err)
	}
	e.must(os.WriteFile(file, b, 0o600))
	r, err = e.serve()
	e.must(err)
	if told := e.ask(r, serve.Ask{Do: serve.Pending}); !told.Paused || e.pausesRecorded() != 1 {
		t.Errorf("paused %t, %d entries", told.Paused, e.pausesRecorded())
	}
	e.must(r.end())
	told, err = serve.DecideAlone(t.Context(), file, r.Policy, r.Config.SwitchPath(), serve.Ask{Do: serve.Unpause, By: "olga"})
	if err != nil || told.Paused {
		t.Errorf("%+v, %v", told, err)
	}
	if thrown, why := r.Config.SwitchPath().Thrown(); thrown {
		t.Errorf("still on: %s", why)
	}
}

// Health says whether enforcement is paused, and whether the database is trusted.
func TestHealthSaysThatEnforcementIsPaused(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	_ = l.Close()
	e := serving(t, "health: "+at)
	r, err := e.serve()
	e.must(err)
	get := func() string {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at+"/health", nil)
		e.must(err)
		res, err := http.DefaultClient.Do(q)
		e.must(err)
		defer res.Body.Close() //nolint:errcheck // a test's end
		b, err := io.ReadAll(res.Body)
		e.must(err)
		return string(b)
	}
	if body := get(); !strings.Contains(body, `"enforcement_paused":false`) || !strings.Contains(body, `"database_trusted":true`) {
		t.Error(body)
	}
	e.soon(r)
	if body := get(); !strings.Contains(body, `"enforcement_paused":true`) {
		t.Error(body)
	}
	e.must(r.end())
	e.must(os.Remove(r.Config.HeadsPath()))
	r, err = e.serve()
	e.must(err)
	if body := get(); !strings.Contains(body, `"database_trusted":false`) {
		t.Error(body)
	}
	e.must(r.end())
}

// Pauses and resumes at the same time: every pause is in the audit log once, one that comes after a resume holds, and the ledger and the
// file never end up apart.
func TestPausesAndResumesAtTheSameTime(t *testing.T) {
	t.Parallel()
	e := serving(t, "")
	r, err := e.serve()
	e.must(err)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for range 8 {
				if told, err := serve.AskServer(t.Context(), r.sock, serve.Ask{Do: serve.Pause, Why: "a bad check"}); err != nil || !told.Paused {
					t.Errorf("%+v, %v", told, err)
				}
			}
		})
	}
	all.Go(func() {
		for range 16 {
			if _, err := serve.AskServer(t.Context(), r.sock, serve.Ask{Do: serve.Unpause}); err != nil && !fault.Is(err, fault.Conflict) {
				t.Error(err)
			}
		}
	})
	all.Wait()
	e.soon(r)
	e.wait("every audit entry", func() bool { return e.pausesRecorded() >= 25 })
	e.checkPaused(r, true, "the last pause does not hold")
	e.resume(r)
	time.Sleep(1500 * time.Millisecond) // what was left to record would be by now
	e.checkPaused(r, false, "an old pause came back after the resume")
	if n := e.pausesRecorded(); n != 25 {
		t.Errorf("%d entries of 25 pauses", n)
	}
	e.must(r.end())
}
