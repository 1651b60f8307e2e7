package flow

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
)

// What fails in the middle of a step fails the step: nothing is written, sent or changed in the cloud after it. Each row is a piece of
// work;
// it is run once for each of its calls to the ledger, the cloud and the mail server, and that call fails.
func TestFailedCallEndsTheStep(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		world func(*simulated)
		do    func(*testing.T, *Line) error
		stops bool // an action that must not go on ends as void
		least int  // how many calls it makes at least, so that the row means something
	}{
		"facts": {nil, func(t *testing.T, l *Line) error {
			ds := simDossier(t, l)
			_, err := l.facts(t.Context(), ds)
			return err
		}, false, 12},
		"give back": {restrictedBy(casework.ActQuarantine), func(t *testing.T, l *Line) error {
			return l.giveBack(t.Context(), "c1")
		}, false, 12},
		"give back a stopped machine": {restrictedBy(casework.ActStop), func(t *testing.T, l *Line) error {
			return l.giveBack(t.Context(), "c1")
		}, false, 14},
		"start": {restrictedBy(casework.ActStop), func(t *testing.T, l *Line) error {
			return l.start(t.Context(), "c1")
		}, false, 10},
		"settle what was not asked": {underWayAs(casework.ActQuarantine, 0), settleNow, false, 5},
		"settle what is half done":  {underWayAs(casework.ActQuarantine, 1), settleNow, false, 8},
		"settle what is done":       {underWayAs(casework.ActQuarantine, 2), settleNow, false, 5},
		"settle a half-done stop":   {underWayAs(casework.ActStop, 1), settleNow, false, 10},
		"hold an unclear action": {func(w *simulated) {
			underWayAs(casework.ActQuarantine, 1)(w)
			w.setPort("p1", "shut")
		}, settleNow, false, 5},
		"find leftovers": {leftOver, func(t *testing.T, l *Line) error { return l.findLeftovers(t.Context()) }, false, 6},
		"clear a leftover port": {clearing("p1"), func(t *testing.T, l *Line) error {
			_, err := l.clearLeftovers(t.Context())
			return err
		}, false, 7},
		"clear a leftover lock": {clearing("s1"), func(t *testing.T, l *Line) error {
			_, err := l.clearLeftovers(t.Context())
			return err
		}, false, 7},
		"check again": {nil, func(t *testing.T, l *Line) error { return l.recheck(t.Context(), "c1") }, false, 7},
		"check a quarantined machine": {restrictedBy(casework.ActQuarantine), func(t *testing.T, l *Line) error {
			return l.recheck(t.Context(), "c1")
		}, false, 8},
		"facts with somebody who left": {func(w *simulated) {
			w.change(func(c *casework.Case) { c.Notices[0].Recipient = "gone@astro.example" })
		}, func(t *testing.T, l *Line) error { _, err := l.facts(t.Context(), simDossier(t, l)); return err }, false, 13},
		"send a mail": {func(w *simulated) {
			w.change(func(c *casework.Case) { c.State = casework.Notified })
			w.mails = []casework.Mail{queuedMail(casework.StepNotice, casework.Owner, simOwner)}
		}, func(t *testing.T, l *Line) error { _, err := l.notify(t.Context()); return err }, false, 6},
		"send a mail about a quarantine": {func(w *simulated) {
			restrictedBy(casework.ActQuarantine)(w)
			w.mails = []casework.Mail{queuedMail(casework.StepRestricted, casework.Owner, simOwner)}
		}, func(t *testing.T, l *Line) error { _, err := l.notify(t.Context()); return err }, false, 7},
		"fire a timer": {nil, func(t *testing.T, l *Line) error {
			return l.fire(t.Context(), casework.Due{Case: "c1", Timer: casework.TimerProbation})
		}, false, 3},
		"link to a deleted machine": {deletedBefore, func(t *testing.T, l *Line) error {
			d := l.draft("open")
			ds := simDossier(t, l)
			return d.continues(t.Context(), &ds)
		}, false, 1},
		"link when a machine is gone": {deletedBefore, func(t *testing.T, l *Line) error {
			return l.draft("inventory").continuedBy(t.Context(), casework.Case{ID: "c0", Cloud: "lab", Project: "astro", Server: "s0",
				Told: true, Track: casework.Vulnerability, Ports: []asset.PortID{"p1"}})
		}, false, 3},
		"prepare": {nil, func(t *testing.T, l *Line) error {
			_, err := l.prepare(t.Context(), "c1")
			return err
		}, false, 30},
		"the last question and action": {nil, attemptNow, true, 20},
		"cut short before it began": {underWayAs(casework.ActQuarantine, 0), func(t *testing.T, l *Line) error {
			return l.cutShort(t.Context(), simActOf(l, "a1"), casework.Refusal{Condition: "switch", Reason: "paused"})
		}, false, 3},
		"reassign": {nil, func(t *testing.T, l *Line) error { _, err := l.rechargeCase(t.Context(), "c1"); return err }, false, 2},
	} {
		t.Run(name, func(t *testing.T) {
			calls, _, err := failing(t, c.world, c.do, 0)
			if err != nil {
				t.Fatal(err)
			}
			if len(calls) < c.least {
				t.Fatalf("only %d calls: %v", len(calls), calls)
			}
			for n := range calls {
				if calls[n] == "send" {
					continue // it is tried again: see TestMailIsSentOnceOrTriedAgain
				}
				got, w, err := failing(t, c.world, c.do, n+1)
				// Where it cannot be read whether an action may go on, it does not, and that is written down.
				asks := slices.Contains([]string{"paused", "mode", "case", "findings"}, calls[n])
				held := asks && (len(w.cases["c1"].Blocks) > 0 || slices.ContainsFunc(w.acts, func(a casework.Act) bool {
					return a.State == casework.ActHeld || a.State == casework.ActVoid && c.stops
				}))
				if !errors.Is(err, errSimulated) && !held {
					t.Errorf("call %d, %s, fails, and the step says %v", n+1, calls[n], err)
				}
				// After a sync, what it shows of one thing is no part of what it shows of the others.
				apart := name == "find leftovers" && (calls[n] == "machine" || strings.HasPrefix(calls[n], "port ")) ||
					strings.HasPrefix(name, "clear a leftover") && slices.Contains(calls[:n], "sync")
				for _, later := range got[min(n+1, len(got)):] {
					if changes(later) || later == "commit" && !held && !apart && !changes(calls[n]) { // what became of a change is written down
						t.Errorf("call %d, %s, fails, and then there is a %s: %v", n+1, calls[n], later, got)
						break
					}
				}
			}
		})
	}
}

// failing runs a piece of work in a world of its own, in which one call fails, and tells which calls there were.
func failing(t *testing.T, world func(*simulated), do func(*testing.T, *Line) error, n int) ([]string, *simulated, error) {
	t.Helper()
	l, w := newSimulated(t)
	if world != nil {
		world(w)
	}
	l.know(asset.NewIndex(w.inventory))
	from := func() { w.calls, w.failAt = nil, n }

	from()
	err := do(t, l)
	return w.calls, w, err
}

// changes tells whether a call changes the cloud, or sends a mail.
func changes(call string) bool {
	return strings.HasPrefix(call, "set ") || slices.Contains([]string{"send", "lock", "unlock", "start", "stop"}, call)
}

func simDossier(t *testing.T, l *Line) casework.Dossier {
	t.Helper()
	w := l.Ledger.(simLedger).simulated
	return casework.Dossier{Case: w.cases["c1"], Findings: slices.Clone(w.findings)}
}

func simActOf(l *Line, id string) casework.Act { return l.Ledger.(simLedger).act(id) }

func settleNow(t *testing.T, l *Line) error {
	_, err := l.settle(t.Context())
	return err
}

// attemptNow prepares an action while nothing fails, and then attempts it.
func attemptNow(t *testing.T, l *Line) error {
	w := l.Ledger.(simLedger).simulated
	n := w.failAt
	w.failAt = 0
	a, err := l.prepare(t.Context(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	w.calls, w.failAt = nil, n
	return l.attempt(t.Context(), a)
}

// setPort puts a port of the cloud on one group, as a change at a new revision.
func (w *simulated) setPort(id asset.PortID, group asset.GroupID) {
	p := w.ports[id]
	p.Groups, p.Revision = []asset.GroupID{group}, p.Revision+1
	w.ports[id] = p
}

// underWayAs leaves an action on the machine whose intent is written and of which some ports are done.
func underWayAs(kind casework.ActKind, ports int) func(*simulated) {
	return func(w *simulated) {
		a := casework.Act{
			ID:         "a1",
			Case:       "c1",
			Cloud:      "lab",
			Server:     "s1",
			Project:    "astro",
			Kind:       kind,
			State:      casework.ActIntended,
			IntendedAt: simNow - minute,
			RealAt:     simNow - minute,
			Version:    1,
		}
		for i, id := range []asset.PortID{"p1", "p2"} {
			p := w.ports[id]
			a.Ports = append(
				a.Ports,
				casework.PortOrder{Port: id, Before: p.Groups, Saved: p.Groups, After: []asset.GroupID{"quarantine"}, Revision: p.Revision},
			)
			if i < ports {
				w.setPort(id, "quarantine")
			}
		}
		a.Saved = &casework.Saved{Status: "ACTIVE"}
		if kind == casework.ActStop {
			a.Machine = machineOrder(nil, lockReason(w.cases["c1"]), casework.DoLock, casework.DoStop)
		}
		w.acts = append(w.acts, a)
	}
}

// restrictedBy leaves the machine off the network by an action that is done, with its fix proven and its release asked for.
func restrictedBy(kind casework.ActKind) func(*simulated) {
	return func(w *simulated) {
		underWayAs(kind, 2)(w)
		a := &w.acts[len(w.acts)-1]
		a.State = casework.ActDone
		for i := range a.Ports {
			a.Ports[i].Done = true
		}
		w.change(func(c *casework.Case) {
			c.State, c.Act, c.RestrictedAt, c.Stopped = casework.Verifying, "a1", simNow-minute, kind == casework.ActStop
		})
		f := &w.findings[0]
		f.Negatives, f.GoodSince, f.LastGood = 2, simNow-day, simNow-1
		if a.Machine != nil {
			for i := range a.Machine.Steps {
				a.Machine.Steps[i].Done = true
			}
			w.did("s1", casework.DoLock, a.Machine.Reason)
			w.did("s1", casework.DoStop, "")
			w.changes = nil
		}
		w.groups["open"] = asset.Group{ID: "open", Project: "astro"} // its owner took the rule away
		s := *w.inventory
		s.Ports, s.Servers, s.Groups = slices.Clone(
			s.Ports,
		), slices.Clone(
			s.Servers,
		), []asset.Group{
			w.groups["open"],
			w.groups["shut"],
			w.groups["quarantine"],
		}
		for i := range s.Ports {
			s.Ports[i] = w.ports[s.Ports[i].ID]
		}
		for i := range s.Servers {
			s.Servers[i] = w.servers[s.Servers[i].ID]
		}
		w.inventory = &s
	}
}

// leftOver leaves a stopped machine on the quarantine that no case explains.
func leftOver(w *simulated) {
	restrictedBy(casework.ActStop)(w)
	w.change(func(c *casework.Case) { c.State, c.Act = casework.Closed, "" })
}

// clearing is a person's decision about what is left over.
func clearing(id string) func(*simulated) {
	return func(w *simulated) {
		leftOver(w)
		w.leftovers = []casework.Leftover{
			{Kind: casework.LeftoverPort, Port: "p1", Server: "s1", Project: "astro", Case: "c1", Act: "a1"},
			{Kind: casework.LeftoverLock, Server: "s1", Project: "astro", Case: "c1", Act: "a1"},
		}
		w.clearings = []casework.Clearing{{ID: id, Cloud: "lab", By: "olga", Why: "checked"}}
	}
}

// deletedBefore puts a case of a deleted machine into the ledger that had a port of the machine's.
func deletedBefore(w *simulated) {
	w.cases["c0"] = casework.Case{
		ID:       "c0",
		Cloud:    "lab",
		Server:   "s0",
		Project:  "astro",
		Track:    casework.Vulnerability,
		State:    casework.Moot,
		Told:     true,
		OpenedAt: simNoticed - 5*day,
		ClosedAt: simNow - day,
		Ports:    []asset.PortID{"p1"},
	}
	w.change(func(c *casework.Case) { c.Ports = []asset.PortID{"p1"} })
}
