package serve_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"demarc/internal/casework"
	"demarc/internal/fault"
	"demarc/internal/lab"
	"demarc/internal/serve"
	"demarc/internal/store"
	"demarc/internal/store/storetest"
)

// systemMail tells whether the operators got the mail that the service paused enforcement by itself.
func (e *exam) systemMail() bool {
	return slices.ContainsFunc(e.w.Mail.For(operators), func(m lab.Message) bool {
		return strings.Contains(m.MessageID, "demarc.paused.") && strings.Contains(subject(e.t, m), "Enforcement is paused") &&
			strings.Contains(text(e.t, m), "demarc enforce resume")
	})
}

// A standby that lagged behind takes over under a running server: it lacks a pause and a withdrawal. Nothing is enforced by it, the
// operators are notified, and it takes an operator to go on.
func TestAFailoverToALaggingStandbyEnforcesNothing(t *testing.T) {
	t.Parallel()
	for _, lost := range []serve.Verb{serve.Pause, serve.Withdraw} {
		t.Run(string(lost), func(t *testing.T) {
			t.Parallel()
			if storetest.Admin() == "" {
				t.Skip("no PostgreSQL server to examine")
			}
			var p *storetest.Proxy
			e := open(t, plot{config: compressed(""), through: func(place string) string {
				p = storetest.NewProxy(t, place)
				return p.Place
			}})
			e.stop()
			r, err := e.serve()
			e.must(err)
			e.wait("queued", e.inState("cache-1", casework.Queued))
			id := e.theCase("cache-1").ID
			before := e.groups("cache-1")
			e.must(r.end())
			lagging := storetest.CopyOf(t, e.place)
			r, err = e.serve()
			e.must(err)
			q := serve.Ask{Do: lost, Why: "wrong machine"}
			if lost == serve.Withdraw {
				q.Cases = []string{id}
			}
			e.ask(r, q)
			if lost == serve.Withdraw {
				e.wait("closed", func() bool { return e.casesOf("cache-1")[0].State == casework.Closed })
			}
			p.Redirect(t, lagging)
			approved := false
			e.wait("an answer to the approval", func() bool {
				_, err := serve.AskServer(t.Context(), r.sock, serve.Ask{Do: serve.Approve, Cases: []string{id}})
				approved = approved || err == nil
				return err == nil || !fault.Is(err, fault.Unavailable) && !fault.Is(err, "internal")
			})
			e.wait("the mail to the operators", e.systemMail)
			time.Sleep(2 * time.Second) // most of a day
			if now := e.groups("cache-1"); !slices.EqualFunc(now, before, slices.Equal) || len(e.changes("")) != 0 {
				t.Fatalf("groups %v, were %v (approved: %t)", now, before, approved)
			}
			e.checkPaused(r, true, "the lagging database is enforced from")
			if !strings.Contains(e.auditText(), "the database: ") {
				t.Error("why is not in the audit log")
			}
			if from, err := r.DB.ProofsFrom(t.Context()); err != nil || from == 0 {
				t.Errorf("what was observed before still counts: %d, %v", from, err)
			}
			e.resumesForGood(r)
		})
	}
}

// onFile makes the files of an exam ready for a server on a SQLite file, whatever database the other exams use.
func onFile(t *testing.T, more string) (e *exam, file string) {
	t.Helper()
	dir := t.TempDir()
	file = filepath.Join(dir, "demarc.db")
	e = open(t, plot{config: compressed(more), through: func(string) string { return file }})
	e.stop()
	return e, file
}

// A server whose SQLite file is moved, deleted or replaced ends with an error, notifies the operators, and does nothing to a machine; the
// next start is paused.
func TestAServerEndsWhenItsFileIsReplaced(t *testing.T) {
	t.Parallel()
	for name, move := range map[string]func(e *exam, file string, old []byte){
		"moved":   func(e *exam, file string, _ []byte) { e.must(os.Rename(file, file+".moved")) },
		"deleted": func(e *exam, file string, _ []byte) { e.must(os.Remove(file)) },
		"replaced by an older copy": func(e *exam, file string, old []byte) {
			e.must(os.WriteFile(file+".old", old, 0o600))
			e.must(os.Rename(file+".old", file))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, file := onFile(t, "")
			r, err := e.serve()
			e.must(err)
			e.wait("notified", e.inState("cache-1", casework.Notified))
			e.must(r.end())
			old, err := os.ReadFile(file)
			e.must(err)
			r, err = e.serve()
			e.must(err)
			e.wait("overdue", func() bool { return e.count("cache-1", "case.overdue") > 0 })
			move(e, file, old)
			select {
			case err := <-r.over:
				if !errors.Is(err, store.ErrReplaced) {
					t.Errorf("the server ended with %v", err)
				}
				if f, ok := fault.Of(err); !ok || !strings.Contains(f.Hint, "start demarc serve again") {
					t.Errorf("it says %v", err)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("the server goes on")
			}
			r.stop = nil
			_ = r.Close()
			e.untouched()
			if !e.systemMail() {
				t.Error("the operators were not notified")
			}
			for _, f := range []string{file + "-wal", file + "-shm"} {
				_ = os.Remove(f)
			}
			r, err = e.serve()
			if name != "replaced by an older copy" {
				if f, ok := fault.Of(err); !ok || f.Code != fault.Refused || !strings.Contains(f.Hint, "put the database back") {
					t.Errorf("a new database beside old heads: %v", err)
				}
				return
			}
			e.must(err)
			e.checkPaused(r, true, "the older copy is enforced from")
			if text := e.auditText(); !strings.Contains(text, "moved, deleted or replaced") {
				t.Error("the pause of the server before is not in the audit log")
			}
			e.must(r.end())
		})
	}
}

// A heads file that is missing, empty or cannot be read beside a log with entries pauses enforcement until an operator resumes; and then it
// does not at the next start.
func TestLostAuditHeadsPauseEnforcement(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(path string) error{
		"missing": os.Remove,
		"empty":   func(p string) error { return os.Truncate(p, 0) },
		"garbage": func(p string) error { return os.WriteFile(p, []byte("nothing\n"), 0o600) },
		"a symbolic link": func(p string) error {
			if err := os.Rename(p, p+".real"); err != nil {
				return err
			}
			return os.Symlink(p+".real", p)
		},
		"a folder": func(p string) error {
			if err := os.Remove(p); err != nil {
				return err
			}
			return os.Mkdir(p, 0o700)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := serving(t, "")
			r, err := e.serve()
			e.must(err)
			e.wait("notified", e.inState("cache-1", casework.Notified))
			e.checkPaused(r, false, "a new database is paused")
			e.must(r.end())
			e.must(spoil(r.Config.HeadsPath()))
			r, err = e.serve()
			e.must(err)
			e.checkPaused(r, true, "enforcement goes on without audit heads")
			e.wait("the mail to the operators", e.systemMail)
			e.resumesForGood(r)
		})
	}
}

// An older copy written over the file in place, under the running server, is noticed too.
func TestAnOlderCopyOverTheFileIsNoticed(t *testing.T) {
	t.Parallel()
	e, file := onFile(t, "")
	r, err := e.serve()
	e.must(err)
	e.wait("notified", e.inState("cache-1", casework.Notified))
	x, err := storetest.Beside(file)
	e.must(err)
	defer x.Close() //nolint:errcheck // a test's end
	// The log as a copy from then would have it.
	for _, q := range []string{`DELETE FROM audit WHERE seq >= 5`, `DELETE FROM audit_hash WHERE idx >= 8`} {
		_, err := x.ExecContext(t.Context(), q)
		e.must(err)
	}
	e.wait("paused", func() bool { return e.ask(r, serve.Ask{Do: serve.Pending}).Paused })
	e.wait("the mail to the operators", e.systemMail)
	b, err := os.ReadFile(string(r.Config.SwitchPath()))
	if err != nil || !bytes.Contains(b, []byte(`"paused"`)) {
		t.Errorf("the switch file says %.80q, %v", b, err)
	}
	e.must(r.end())
}
