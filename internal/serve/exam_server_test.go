package serve_test

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"testing"

	"demarc/internal/access"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/flow"
	"demarc/internal/probe"
	"demarc/internal/store/storetest"
)

// whole drives the story of an owner who waits to its end, whatever happens to the database, and asks the world and the ledger
// whether anything was lost or done twice.
func (e *exam) whole() {
	e.t.Helper()
	before := e.groups("cache-1")
	e.until("queued", 12, e.inState("cache-1", casework.Queued))
	for range 5 { // a person whose decision is not taken tries again
		if c := e.theCase("cache-1"); len(c.Approvals) == 0 {
			_ = e.d.Line.Approve(e.t.Context(), c.ID, "olga")
		}
	}
	e.until("restricted", 2, e.inState("cache-1", casework.Restricted))
	e.setPassword("cache-1")
	for range 5 {
		if c := e.theCase("cache-1"); c.RequestedAt == 0 {
			_ = e.d.Line.Claim(e.t.Context(), c.ID, "amir")
		}
	}
	e.until("closed", 24, e.inState("cache-1", casework.Closed))
	e.after(day)
	if n := len(e.changes("cache-1")); n != 2 {
		e.t.Errorf("%d changes of the port", n)
	}
	if now := e.groups("cache-1"); !slices.EqualFunc(now, before, slices.Equal) {
		e.t.Errorf("groups %v, were %v", now, before)
	}
	kept, err := e.d.DB.Mails(e.t.Context(), access.Operator())
	e.must(err)
	for _, m := range kept {
		if m.Status != casework.Taken && (m.To == casework.Owner || m.Status == casework.Waiting) { // an approval may be given before it was asked for
			e.t.Errorf("the mail %s is %s", m.Step, m.Status)
		}
	}
	ids := map[string]bool{}
	for _, m := range e.w.Mail.For(owner) {
		ids[m.MessageID] = true
	}
	if len(ids) != 5 { // notice, final warning, restricted, released, closed
		e.t.Errorf("%d mails to the owner: %v", len(ids), ids)
	}
	e.accounted()
	log, err := e.d.DB.AuditLog(e.t.Context())
	e.must(err)
	if p := audit.Verify(log); len(p) > 0 {
		e.t.Errorf("the log: %v", p)
	}
}

// cutting cuts the connection at one commit in three, as chance has it.
type cutting struct {
	flow.Ledger
	chance *rand.Rand
	cut    func()
}

func (l cutting) Commit(ctx context.Context, c casework.Change) error {
	if l.chance.IntN(3) == 0 {
		l.cut()
	}
	return l.Ledger.Commit(ctx, c)
}

// The line goes on over connections to its database that are cut before a commit, and after it.
func TestTheLineOutlivesLostConnections(t *testing.T) {
	if storetest.Admin() == "" {
		t.Skip("needs a PostgreSQL server: make db")
	}
	t.Parallel()
	for name, cut := range map[string]storetest.Cut{"before the commit": storetest.BeforeCommit, "after the commit": storetest.AfterCommit, "at the commit": storetest.AtCommit} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var p *storetest.Proxy
			e := open(t, plot{policy: []string{"sweep_every: 2d", "sweep_every: 4d"}, through: func(place string) string {
				p = storetest.NewProxy(t, place)
				return p.Place
			}, wrap: func(_ *exam, c *flow.Config) {
				c.Ledger = cutting{c.Ledger, rand.New(rand.NewPCG(1, 2)), func() { p.Arm(cut) }}
			}})
			e.whole()
			if p.Cuts() < 15 || cut == storetest.BeforeCommit && len(e.errs) == 0 {
				t.Errorf("%d cuts, %d steps failed", p.Cuts(), len(e.errs))
			}
			if cut == storetest.AfterCommit {
				e.noErrors()
				if n := len(e.w.Mail.For(owner)); n != 5 {
					t.Errorf("the owner got %d mails, some twice", n)
				}
			}
			t.Logf("%d cuts, %d steps reported to have failed", p.Cuts(), len(e.errs))
		})
	}
}

// The line goes on over a server that is restarted while it probes, and while it is idle.
func TestTheLineOutlivesARestartOfTheServer(t *testing.T) {
	restart := os.Getenv("DEMARC_TEST_POSTGRES_RESTART")
	if storetest.Admin() == "" || restart == "" {
		t.Skip("needs a PostgreSQL server that may be restarted: make db")
	}
	e := open(t, plot{policy: []string{"sweep_every: 2d", "sweep_every: 4d"}})
	n, restarts := 0, 0
	again := func() {
		n++
		if n%6 != 1 || restarts >= 8 {
			return
		}
		mode := []string{"fast", "immediate"}[restarts%2]
		restarts++
		if out, err := exec.CommandContext(t.Context(), "sh", "-c", restart+" -m "+mode).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}
	e.onProbe(func(_ probe.Shard, after bool) {
		if after {
			again()
		}
	})
	e.idle = again
	e.whole()
	if restarts < 6 {
		t.Errorf("%d restarts", restarts)
	}
	t.Logf("%d restarts, %d steps reported to have failed", restarts, len(e.errs))
}
