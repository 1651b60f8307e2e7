package serve_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/cloud"
	"demarc/internal/flow"
	"demarc/internal/lab"
	"demarc/internal/serve"
)

// moments calls back at each call that an action is made of. It is how a person's decision comes in between.
type moments struct {
	t    *testing.T
	at   func(moment string)
	seen []string
}

func (m *moments) now(moment string) {
	m.seen = append(m.seen, moment)
	m.at(moment)
}

type watchedLedger struct {
	flow.Ledger
	m *moments
}

func (l watchedLedger) Commit(ctx context.Context, c casework.Change) error {
	intent := len(c.Acts) == 1 && c.Acts[0].State == casework.ActIntended && c.Acts[0].Version == 0
	if intent {
		l.m.now("before the intent")
	}
	err := l.Ledger.Commit(ctx, c)
	if intent && err == nil {
		l.m.now("after the intent")
	}
	return err
}

type watchedActor struct {
	cloud.Actor
	m *moments
}

func (a watchedActor) EnsureQuarantine(ctx context.Context, s cloud.QuarantineSpec) (asset.GroupID, error) {
	a.m.now("before the group")
	g, err := a.Actor.EnsureQuarantine(ctx, s)
	a.m.now("after the group")
	return g, err
}

func (a watchedActor) SetGroups(ctx context.Context, id asset.PortID, groups []asset.GroupID, revision int) (asset.Port, error) {
	p, err := a.Actor.SetGroups(ctx, id, groups, revision)
	a.m.now("after a port")
	return p, err
}

func (a watchedActor) Do(ctx context.Context, id asset.ServerID, do casework.MachineDo, reason string) error {
	err := a.Actor.Do(ctx, id, do, reason)
	a.m.now("after " + string(do))
	return err
}

// watched opens an exam on which something is decided at one moment, once.
func watched(t *testing.T, p plot) (*exam, *moments) {
	t.Helper()
	m := &moments{t: t, at: func(string) {}}
	p.wrap = func(_ *exam, c *flow.Config) {
		c.Ledger, c.Actor = watchedLedger{c.Ledger, m}, watchedActor{c.Actor, m}
	}
	return open(t, p), m
}

// once decides at a moment, as another process would: with a desk of its own on the same database.
func (m *moments) once(e *exam, at string, q serve.Ask) {
	m.at = func(moment string) {
		if moment != at {
			return
		}
		m.at = func(string) {}
		desk, err := serve.NewDesk(e.t.Context(), e.d.DB, e.d.Policy)
		if err == nil {
			_, err = desk.Decide(e.t.Context(), q)
		}
		if err != nil {
			m.t.Errorf("%s %s: %v", q.Do, at, err)
		}
	}
}

// A pause or a withdrawal that was acknowledged before the first call of an action holds, at whichever moment it came.
func TestAPauseOrWithdrawalBeforeTheFirstCallHolds(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"before the group", "after the group", "before the intent", "after the intent"} {
		for _, do := range []serve.Verb{serve.Pause, serve.Withdraw} {
			t.Run(string(do)+" "+at, func(t *testing.T) {
				t.Parallel()
				e, m := watched(t, plot{scenario: two()})
				before := e.groups("cache-1")
				e.until("queued", 10, e.inState("cache-1", casework.Queued))
				q := serve.Ask{Do: do, By: "olga", Why: "wrong machine"}
				if do == serve.Withdraw {
					q.Cases = []string{e.theCase("cache-1").ID}
				}
				m.once(e, at, q)
				e.approve("cache-1")
				e.after(day)
				if now := e.groups("cache-1"); !slices.EqualFunc(now, before, slices.Equal) || len(e.changes("cache-1")) != 0 {
					t.Errorf("groups %v, were %v", now, before)
				}
				e.accounted()
				c := e.casesOf("cache-1")[0]
				if do == serve.Withdraw {
					if c.State != casework.Closed || c.Withdrawn == "" {
						t.Errorf("the case is %s, withdrawn %q", c.State, c.Withdrawn)
					}
					return
				}
				if c.State != casework.Queued || len(c.Approvals) != 0 || len(c.Blocks) != 1 || !strings.HasPrefix(c.Blocks[0].String(), "switch: ") {
					t.Errorf("the case is %s, approvals %v, blocks %v", c.State, c.Approvals, c.Blocks)
				}
				if e.count("cache-1", "gate.refused") != 1 {
					t.Errorf("refused %d times", e.count("cache-1", "gate.refused"))
				}
			})
		}
	}
}

// An action that was begun is not completed once somebody paused enforcement or withdrew the case. What was done of it is held, and a
// release undoes exactly that.
func TestAHalfDoneActionIsHeldNotCompleted(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"after a port", "after lock"} {
		for _, do := range []serve.Verb{serve.Pause, serve.Withdraw} {
			t.Run(string(do)+" "+at, func(t *testing.T) {
				t.Parallel()
				e, m := watched(t, plot{scenario: two(), policy: stopping})
				before := e.groups("cache-1")
				e.until("queued", 10, e.inState("cache-1", casework.Queued))
				id := e.theCase("cache-1").ID
				q := serve.Ask{Do: do, By: "olga", Why: "wrong machine"}
				if do == serve.Withdraw {
					q.Cases = []string{id}
				}
				m.once(e, at, q)
				e.approve("cache-1")
				e.untilIdle()
				if s := e.w.Machine("cache-1"); s.Status != "ACTIVE" {
					t.Errorf("the machine is %s", s.Status)
				}
				if slices.Contains(m.seen, "after stop") || at == "after a port" && slices.Contains(m.seen, "after lock") {
					t.Errorf("it went on: %q", m.seen)
				}
				if do == serve.Pause {
					c := e.theCase("cache-1")
					if got := e.acts("cache-1"); !slices.Equal(got, []string{"stop held"}) ||
						c.State != casework.OnHold || c.Act == "" || !strings.Contains(c.Hold, "switch: ") {
						t.Errorf("acts %v; the case is %s with act %q: %s", got, c.State, c.Act, c.Hold)
					}
					e.after(2 * day)
					if s := e.w.Machine("cache-1"); s.Status != "ACTIVE" || at == "after a port" && (s.Locked || len(e.changes("cache-1")) != 1) {
						t.Errorf("two days later the machine is %+v, after %d changes", s, len(e.changes("cache-1")))
					}
					e.must(e.d.Line.Withdraw(t.Context(), id, "olga", "wrong machine"))
				}
				e.until("closed", 1, func() bool { return e.casesOf("cache-1")[0].State == casework.Closed })
				if s := e.w.Machine("cache-1"); s.Status != "ACTIVE" || s.Locked {
					t.Errorf("the machine is %+v", s)
				}
				if now := e.groups("cache-1"); !slices.EqualFunc(now, before, slices.Equal) {
					t.Errorf("groups %v, were %v", now, before)
				}
				e.accounted()
			})
		}
	}
}

// An action whose outcome is learnt later, after a pause, is not completed then either.
func TestAHalfDoneActionThatIsSettledAfterAPauseIsHeld(t *testing.T) {
	t.Parallel()
	e, m := watched(t, plot{scenario: two()})
	e.until("queued", 10, e.inState("cache-1", casework.Queued))
	m.at = func(moment string) {
		if moment == "after a port" {
			e.w.Plan(put(lab.CutBefore, 0), lab.Fault{Kind: lab.Answer, Status: 503, RetryAfter: "0", Method: "GET", Path: ports, Times: -1})
		}
	}
	e.approve("cache-1")
	e.untilIdle()
	if got := e.acts("cache-1"); !slices.Equal(got, []string{"quarantine intended"}) || len(e.changes("cache-1")) != 1 {
		t.Fatalf("acts %v, %d changes: the story did not stop half-way", got, len(e.changes("cache-1")))
	}
	m.at = func(string) {}
	e.must(e.d.Line.Pause(t.Context(), true, "olga", ""))
	e.w.ClearFaults()
	e.after(hour)
	c := e.theCase("cache-1")
	if got := e.acts("cache-1"); !slices.Equal(got, []string{"quarantine held"}) || c.State != casework.OnHold || c.Act == "" {
		t.Errorf("acts %v; the case is %s with act %q", got, c.State, c.Act)
	}
	if n := len(e.changes("cache-1")); n != 1 {
		t.Errorf("%d changes", n)
	}
	e.accounted()
}

// A quarantine that was undone is not put back by a decision made before a pause; it waits for the resume.
func TestAPauseHoldsAQuarantineThatIsBeingPutBack(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"before the group", "after the group", "before the intent", "after the intent"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			e, m := watched(t, plot{})
			e.restrict()
			changes := len(e.changes("cache-1"))
			m.once(e, at, serve.Ask{Do: serve.Pause, By: "olga"})
			e.must(e.w.TenantSetGroups("cache-1", "cache"))
			e.after(3 * day)
			if n := len(e.changes("cache-1")); n != changes {
				t.Errorf("%d changes, were %d", n, changes)
			}
			e.must(e.d.Line.Pause(t.Context(), false, "olga", ""))
			e.after(day)
			e.quarantined("cache-1")
			e.accounted()
		})
	}
}

// Undoing is not restricting: no pause keeps a machine off the network.
func TestAPauseDelaysNoRelease(t *testing.T) {
	t.Parallel()
	e, m := watched(t, plot{scenario: two(), policy: stopping})
	before := e.groups("cache-1")
	e.restrict()
	e.setPassword("cache-1")
	e.must(e.w.TenantRemoveRule("astro", "cache", lab.Rule{Proto: "tcp", Min: 6379, Max: 6379, Remote: everywhere})) // or it is not started
	m.once(e, "before the intent", serve.Ask{Do: serve.Pause, By: "olga"})
	e.claim("cache-1")
	e.until("released", 2, e.inState("cache-1", casework.Released))
	if now := e.groups("cache-1"); !slices.EqualFunc(now, before, slices.Equal) {
		t.Errorf("groups %v, were %v", now, before)
	}
	e.accounted()
}
