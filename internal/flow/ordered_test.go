package flow

import (
	"slices"
	"strings"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/audit"
	"demarc/internal/casework"
)

// failOnce makes the next call of a name fail, once, as where the connection to the database broke.
func failOnce(w *simulated, name string) {
	failed := false
	w.before = func(call string) {
		if call == name && !failed {
			failed = true
			w.failAt = len(w.calls) + 1
		}
	}
}

// carriedOut has an action of c1 carried out in the cloud, and not written down.
func carriedOut(w *simulated) {
	act := earlier("a1", casework.ActQuarantine, casework.ActIntended, nil)
	act.Case, act.Server, act.IntendedAt, act.RealAt, act.Ports = "c1", "s1", w.now-minute, w.real-minute, nil
	for _, id := range []asset.PortID{"p1", "p2"} {
		p := w.ports[id]
		act.Ports = append(act.Ports, casework.PortOrder{
			Port: id, Before: p.Groups, After: []asset.GroupID{"quarantine"}, Saved: p.Groups, Revision: p.Revision,
		})
		p.Groups, p.Revision = []asset.GroupID{"quarantine"}, p.Revision+1
		w.ports[id] = p
	}
	w.acts = []casework.Act{act}
}

// A read of the audit log that fails says nothing about an order: it is settled as soon as the log can be read.
func TestFailedReadOfTheLogForgesNoOrder(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	carriedOut(w)
	failOnce(w, "witness")
	if _, err := l.settle(t.Context()); err == nil || w.act("a1").State != casework.ActIntended {
		t.Errorf("after a failed read (%v) the action is %s: %s", err, w.act("a1").State, w.act("a1").Note)
	}
	l.done("settle a1")
	if _, err := l.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a, c := w.act("a1"), w.cases["c1"]; a.State != casework.ActDone || c.State != casework.Restricted || c.Act != "a1" {
		t.Errorf("the action is %s, the case %s by action %q: %s", a.State, c.State, c.Act, c.Hold)
	}
	failOnce(w, "witness")
	w.change(func(c *casework.Case) { c.State = casework.Verifying })
	for i := range w.findings {
		w.findings[i].State, w.findings[i].Negatives = "fixed", 9
	}
	if err := l.giveBack(t.Context(), "c1"); err == nil {
		t.Errorf("the failed read was no error; the case is %s: %s", w.cases["c1"].State, w.cases["c1"].Hold)
	}
}

// An order that the audit log does not prove, and of which the cloud shows a part, stays with its case: a person looks, and nobody takes the
// machine for untouched. Once a person has restored it by hand, the case ends, and says what could not be given back.
func TestUnprovenOrderInForceStaysWithItsCase(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	carriedOut(w)
	w.forged = true
	if _, err := l.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a, c := w.act("a1"), w.cases["c1"]; a.State != casework.ActHeld || c.State != casework.OnHold || c.Act != "a1" {
		t.Fatalf("the action is %s, the case %s by action %q: %s", a.State, c.State, c.Act, c.Hold)
	}
	takeBack := func() {
		w.change(func(c *casework.Case) { c.State, c.Withdrawn = casework.Verifying, "olga: restored" })
		if err := l.giveBack(t.Context(), "c1"); err != nil {
			t.Fatal(err)
		}
	}
	takeBack()
	if c := w.cases["c1"]; c.State != casework.OnHold || !slices.Equal(c.Lost, []string{unprovenRecord("a1")}) {
		t.Fatalf("the case is %s, lost %v", c.State, c.Lost)
	}
	takeBack()
	if c := w.cases["c1"]; !c.State.Over() || c.Act != "" || len(c.Lost) != 1 || len(w.changes) > 0 {
		t.Errorf("the case is %s by action %q, lost %v, after the changes %v", c.State, c.Act, c.Lost, w.changes)
	}
}

// Records that lead in a circle are no orders of ours: the case is held for a person, and nothing is followed without end.
func TestOrdersInACircleHoldTheCase(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*simulated){
		"its own": func(w *simulated) { w.acts[0].Renews = "a1" },
		"two": func(w *simulated) {
			other := w.acts[0]
			other.ID, other.Renews = "a2", "a1"
			w.acts[0].Renews = "a2"
			w.acts = append(w.acts, other)
		},
	} {
		l, w := newSimulated(t)
		restrictedBy(casework.ActQuarantine)(w)
		edit(w)
		if _, err := l.reconcileCase(t.Context(), "c1", nil); err != nil || w.cases["c1"].State != casework.OnHold {
			t.Errorf("%s: the case is %s, %v", name, w.cases["c1"].State, err)
		}
		if err := l.giveBack(t.Context(), "c1"); err != nil || len(w.changes) > 0 {
			t.Errorf("%s: a release changes %v, %v", name, w.changes, err)
		}
	}
}

// An order that nobody gave, and whose ports cannot be asked for, is not asked about for ever.
func TestUnprovenOrderThatCannotBeAskedAboutEnds(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	restrictedBy(casework.ActQuarantine)(w)
	w.acts = append(w.acts, casework.Act{ID: "a6", Case: "c1", Cloud: "lab", Server: "s1", Kind: casework.ActHold,
		State: casework.ActIntended, Version: 1, Ports: []casework.PortOrder{{Port: "p7"}}})
	w.forged = true
	w.before = func(call string) {
		if call == "port p7" {
			w.failAt = len(w.calls) + 1
		}
	}
	for range 12 {
		_, err := l.settle(t.Context())
		if w.act("a6").State != casework.ActIntended {
			break
		}
		if err == nil && w.now == simNow {
			t.Fatal("the failed question was no error")
		}
		w.now, w.real = w.now+hour, w.real+hour
	}
	if a, c := w.act("a6"), w.cases["c1"]; a.State != casework.ActHeld || c.State != casework.OnHold || c.Act != "a1" {
		t.Errorf("the order is %s, the case %s by %s", a.State, c.State, c.Act)
	}
}

// A start that the audit log does not prove, and of which the cloud shows a part, stays with its case. Nobody reads that nothing was done.
func TestUnprovenStartThatHappenedStaysWithItsCase(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	startAfterChanges(w) // its owner altered p2 and added p4
	l.know(asset.NewIndex(w.inventory))
	func() {
		defer func() { _ = recover() }()
		w.before = func(call string) {
			if call == "commit" && w.count("commit") == 1 {
				panic("the process dies before it writes down what became of the start")
			}
		}
		_, _ = l.release(t.Context())
	}()
	w.before, w.forged = nil, true // an entry of the log of the case is damaged meanwhile
	w.log["c1"] = slices.DeleteFunc(w.log["c1"], func(e audit.Entry) bool { return e.Kind == "act.intended" })
	l = w.line(t)
	l.know(asset.NewIndex(w.inventory))
	if _, err := l.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, a := w.cases["c1"], w.acts[len(w.acts)-1]
	if a.Kind != casework.ActStart || w.servers["s1"].Status != "ACTIVE" {
		t.Fatalf("the story is another: %s %s, the machine is %s", a.Kind, a.State, w.servers["s1"].Status)
	}
	if a.State != casework.ActHeld || c.Act != a.ID || c.State != casework.OnHold || strings.Contains(c.Hold, "nothing was done") {
		t.Errorf("the cloud was changed by %v; the start is %s, the case is %s by %s, and the operators read: %s",
			w.changes, a.State, c.State, c.Act, c.Hold)
	}
}

// Of a restore that the audit log does not prove, and of which the cloud shows a part, no mail says that nothing was done.
func TestUnprovenRestoreThatHappenedIsSaid(t *testing.T) {
	t.Parallel()
	for _, done := range []bool{true, false} {
		l, w := newSimulated(t)
		restrictedBy(casework.ActQuarantine)(w)
		p := w.ports["p1"]
		w.acts = append(w.acts, casework.Act{ID: "a2", Case: "c1", Cloud: "lab", Server: "s1", Kind: casework.ActRestore, Undoes: "a1",
			State: casework.ActIntended, Version: 1, Ports: []casework.PortOrder{{Port: "p1", Before: p.Groups, After: []asset.GroupID{"open"},
				Revision: p.Revision}}})
		if done {
			w.setPort("p1", "open")
		}
		w.forged = true
		if _, err := l.settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		a, c := w.act("a2"), w.cases["c1"]
		if (a.State == casework.ActHeld) != done || strings.Contains(c.Hold, "nothing was done") == done || c.Act != "a1" {
			t.Errorf("happened: %t, the restore is %s, the case is %s by %s: %s", done, a.State, c.State, c.Act, c.Hold)
		}
	}
}
