package flow

import (
	"errors"
	"slices"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/untrusted"
)

// A quarantine whose order was held, and that a person let stand by resuming the case, is watched also once its owner asks for the release.
func TestHeldQuarantineIsWatchedWhileItsReleaseIsAskedFor(t *testing.T) {
	t.Parallel()
	for _, state := range []casework.State{casework.Restricted, casework.Verifying} {
		l, w := newSimulated(t)
		restrictedBy(casework.ActQuarantine)(w)
		w.acts[0].State = casework.ActHeld // a person has looked at it and resumed the case
		w.change(func(c *casework.Case) { c.State = state })
		w.setPort("p1", "shut")
		for i := range w.inventory.Ports {
			w.inventory.Ports[i] = w.ports[w.inventory.Ports[i].ID]
		}
		l.know(asset.NewIndex(w.inventory))
		if err := l.watchActs(t.Context()); err != nil {
			t.Fatal(err)
		}
		if w.cases["c1"].Tampers != 1 || len(w.due) != 1 {
			t.Errorf("in %s: undone %d times, due %v", state, w.cases["c1"].Tampers, w.due)
		}
	}
}

// A machine that cannot be read keeps no other from being watched.
func TestMachineThatCannotBeReadKeepsNoOtherUnwatched(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	undoneBy(func(w *simulated) { w.change(func(c *casework.Case) { c.State = casework.Restricted }) })(w)
	w.due = nil
	a := w.cases["c1"]
	a.ID, a.Server, a.Act = "c0", "s0", "a0" // its cell is down
	w.cases["c0"] = a
	p0 := w.ports["p2"]
	p0.ID, p0.Server, p0.Device, p0.Groups, p0.Revision = "p0", "s0", "s0", []asset.GroupID{"shut"}, 9
	w.ports["p0"], w.servers["s0"] = p0, asset.Server{ID: "s0", Project: "astro", Status: "ACTIVE"}
	w.acts = append(w.acts, casework.Act{ID: "a0", Case: "c0", Cloud: "lab", Server: "s0", Project: "astro", Kind: casework.ActQuarantine,
		State: casework.ActDone, Ports: []casework.PortOrder{{Port: "p0", Saved: []asset.GroupID{"open"}, After: []asset.GroupID{"quarantine"}}}})
	w.inventory.Ports, w.inventory.Servers = append(w.inventory.Ports, p0), append(w.inventory.Servers, w.servers["s0"])
	for i := range w.inventory.Ports {
		w.inventory.Ports[i] = w.ports[w.inventory.Ports[i].ID]
	}
	l.know(asset.NewIndex(w.inventory))
	failOnce(w, "machine")
	err := l.watchActs(t.Context())
	if !errors.Is(err, errUnread) || w.cases["c0"].Tampers != 0 || w.cases["c1"].Tampers != 1 {
		t.Errorf("s0 cannot be read (%v): undone %d times; s1: %d times", err, w.cases["c0"].Tampers, w.cases["c1"].Tampers)
	}
}

// A server that cannot be read keeps no other's case from ending, and no machine from being watched.
func TestServerThatCannotBeReadKeepsNoOtherCaseOpen(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	c := w.cases["c1"]
	c.ID, c.Server = "c0", "s0" // its cell is down: it is not listed, and cannot be read
	w.cases["c0"] = c
	delete(w.servers, "s1") // deleted by its owner
	w.inventory.Servers = slices.DeleteFunc(w.inventory.Servers, func(s asset.Server) bool { return s.ID == "s1" })
	l.know(asset.NewIndex(w.inventory))
	failOnce(w, "machine")
	err := l.buryGone(t.Context())
	if c := w.cases["c1"]; !errors.Is(err, errUnread) || !c.State.Over() || w.cases["c0"].State.Over() {
		t.Errorf("s0 cannot be read (%v), its case is %s; that of s1, which was deleted, is %s", err, w.cases["c0"].State, c.State)
	}
}

// After a reading of the cloud everything that follows from it is done, and work on one machine goes on, also where the cloud gives no
// answer about another.
func TestMachineThatCannotBeReadHoldsUpNothingElse(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	c := w.cases["c1"]
	c.ID, c.Server = "c0", "s0" // it is not listed
	w.cases["c0"] = c
	other := c
	other.ID, other.Server, other.State, other.Act = "c2", "s2", casework.Restricted, "a2" // its quarantine was undone
	w.cases["c2"] = other
	w.acts = append(w.acts, casework.Act{ID: "a2", Case: "c2", Cloud: "lab", Server: "s2", Project: "genomics", Kind: casework.ActQuarantine,
		State: casework.ActDone, Ports: []casework.PortOrder{{Port: "p3", Saved: []asset.GroupID{"open"}, After: []asset.GroupID{"quarantine"}}}})
	other.Project = "genomics"
	w.cases["c2"] = other
	unread := func(call string) {
		w.failAt = 0
		if call == "machine" && w.calls[len(w.calls)-1] == "cases" { // the first one of those that are not listed
			w.failAt = len(w.calls) + 1
		}
	}
	w.before = unread
	if err := l.refresh(t.Context()); !errors.Is(err, errUnread) || w.cases["c2"].Tampers != 1 {
		t.Errorf("%v; the quarantine of s2 was seen to be undone %d times", err, w.cases["c2"].Tampers)
	}
	w.before = unread
	if _, err := l.prepare(t.Context(), "c1"); err != nil {
		t.Errorf("an approved action on s1 waits for s0: %v", err)
	}
}

// A port that cannot be read keeps no other leftover from being listed, and one that was listed stays.
func TestPortThatCannotBeReadKeepsNoLeftoverUnlisted(t *testing.T) {
	t.Parallel()
	for name, known := range map[string][]casework.Leftover{
		"listed before": {{Kind: casework.LeftoverPort, Port: "p1", Server: "s1", Project: "astro", Act: "a1", Case: "c1"}},
		"new":           nil,
	} {
		l, w := newSimulated(t)
		leftOver(w)
		w.leftovers = known
		l.know(asset.NewIndex(w.inventory))
		failOnce(w, "port p1")
		err := l.findLeftovers(t.Context())
		has := func(id asset.PortID) bool {
			return slices.ContainsFunc(w.leftovers, func(k casework.Leftover) bool { return k.Port == id })
		}
		if !errors.Is(err, errUnread) || has("p1") != (known != nil) || !has("p2") {
			t.Errorf("%s: %v; listed are %+v", name, err, w.leftovers)
		}
	}
}

// Nor does a locked server that cannot be read. A lock of which no order knows is listed without a question, since any member can write our
// words into its reason.
func TestLockedServerThatCannotBeReadKeepsNoLeftoverUnlisted(t *testing.T) {
	t.Parallel()
	for name, known := range map[string][]casework.Leftover{
		"listed before": {{Kind: casework.LeftoverLock, Server: "s1", Project: "astro", Act: "a1", Case: "c1"}},
		"new":           nil,
	} {
		l, w := newSimulated(t)
		leftOver(w)
		w.leftovers = known
		s := w.servers["s1"]
		s.ID, s.LockedReason = "s8", untrusted.From(lockPrefix+" for fun")
		w.inventory.Servers = append(w.inventory.Servers, s)
		l.know(asset.NewIndex(w.inventory))
		failOnce(w, "machine")
		err := l.findLeftovers(t.Context())
		has := func(id asset.ServerID) bool {
			return slices.ContainsFunc(w.leftovers, func(k casework.Leftover) bool { return k.Kind == casework.LeftoverLock && k.Server == id })
		}
		asked := len(slices.DeleteFunc(slices.Clone(w.calls), func(c string) bool { return c != "machine" }))
		if !errors.Is(err, errUnread) || has("s1") != (known != nil) || !has("s8") || asked != 1 {
			t.Errorf("%s: %v; %d servers were asked about; listed are %+v", name, err, asked, w.leftovers)
		}
	}
}

// A stop that a pause ended between the lock and the stop was not undone by anybody.
func TestStopThatWasCutShortIsNotCalledUndone(t *testing.T) {
	t.Parallel()
	for do, undoneBy := range map[casework.MachineDo]bool{casework.DoStop: false, casework.DoLock: true} { // what the order did not do
		l, w := newSimulated(t)
		restrictedBy(casework.ActStop)(w)
		w.acts[0].State = casework.ActHeld
		for i := range w.acts[0].Machine.Steps {
			w.acts[0].Machine.Steps[i].Done = w.acts[0].Machine.Steps[i].Do != do
		}
		s := w.servers["s1"]
		s.Status = "ACTIVE"
		w.servers["s1"] = s
		for i := range w.inventory.Servers {
			w.inventory.Servers[i] = w.servers[w.inventory.Servers[i].ID]
		}
		w.change(func(c *casework.Case) { c.State = casework.Restricted })
		l.know(asset.NewIndex(w.inventory))
		if err := l.watchActs(t.Context()); err != nil || (w.cases["c1"].Tampers > 0) != undoneBy {
			t.Errorf("%s was not done: undone %d times, %v", do, w.cases["c1"].Tampers, err)
		}
	}
}

// What is proven fixed and due to be given back is not put on the quarantine first.
func TestReleaseThatIsDueComesBeforePuttingBack(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	undoneBy(func(w *simulated) { w.change(func(c *casework.Case) { c.State = casework.Verifying }) })(w)
	w.armed(casework.TimerRelease)
	if _, err := l.hold(t.Context()); err != nil || len(w.changes) > 0 {
		t.Errorf("%v, changed by %v", err, w.changes)
	}
	if slices.ContainsFunc(w.due, func(d casework.Due) bool { return d.Timer == casework.TimerHold }) {
		t.Errorf("due are %v", w.due)
	}
}

// An owner whose script undoes the quarantine at once, each time, is followed at growing intervals, also by a process that was started
// again: the log of the case does not grow without bound, and each time that it was undone is reported once.
func TestUndoingAtOnceIsFollowedAtGrowingIntervals(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	undoneBy(func(w *simulated) { w.change(func(c *casework.Case) { c.State = casework.Restricted }) })(w)
	sync := func() {
		for i := range w.inventory.Ports {
			w.inventory.Ports[i] = w.ports[w.inventory.Ports[i].ID]
		}
	}
	w.before = func(call string) {
		if call == "sync" { // the script saw the quarantine, and is faster than the next sync
			w.setPort("p1", "shut")
			sync()
		}
	}
	l.know(asset.NewIndex(w.inventory))
	began := w.now
	var at []int64 // minutes
	for range 24 * 60 {
		for did, again := true, 0; did; again++ {
			before := len(w.acts)
			var err error
			if did, err = l.hold(t.Context()); err != nil || again > 2 {
				t.Fatalf("%v; put back %d times within a minute", err, again)
			}
			if len(w.acts) > before {
				at = append(at, (w.now-began)/minute)
			}
		}
		if err := l.watchActs(t.Context()); err != nil { // as each sync does
			t.Fatal(err)
		}
		w.now, w.real = w.now+minute, w.real+minute
		l = w.line(t) // the process is started again
		l.know(asset.NewIndex(w.inventory))
	}
	if want := []int64{0, 1, 3, 7, 15, 31, 63, 123, 183}; len(at) > 30 || !slices.Equal(at[:min(len(want), len(at))], want) {
		t.Errorf("the quarantine was put back after %v minutes", at)
	}
	if n := w.cases["c1"].Tampers; n != len(at) { // the first was reported before
		t.Errorf("it was put back %d times, and was reported to be undone %d times", len(at), n)
	}
}

// Whatever is due again and again, each step that has work gets its turn; what the others go by comes first all the same.
func TestStepsTakeTurns(t *testing.T) {
	t.Parallel()
	first := []string{"settle", "reconcile", "inventory", "queue"}
	var others []string
	for i, s := range steps {
		if i < len(first) && s.name != first[i] {
			t.Errorf("step %d is %s", i, s.name)
		}
		if i >= len(first) {
			others = append(others, s.name)
		}
	}
	for _, due := range [][]string{{"hold", "sweep"}, {"notify", "verify", "sweep"}, {"release", "hold", "enforce"}, others} {
		worked, last := map[string]int{}, ""
		for range 10 * len(due) {
			asked := inTurn(last)
			if len(asked) != len(steps) || asked[0].name != "settle" || asked[3].name != "queue" {
				t.Fatalf("after %s: %d steps, %s first", last, len(asked), asked[0].name)
			}
			last = asked[slices.IndexFunc(asked, func(s step) bool { return slices.Contains(due, s.name) })].name
			worked[last]++
		}
		for _, name := range due {
			if worked[name] != 10 {
				t.Errorf("of %v, each always due, %s had %d turns of %d", due, name, worked[name], 10*len(due))
			}
		}
	}
}
