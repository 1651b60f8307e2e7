package flow

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/finding"
)

// A port whose quarantine is put back gets back what was saved for it and what its owner put on it since. The quarantine group itself is
// nothing to save: a port that carries it, and that the order in force does not name, gets back what an earlier order saved.
func TestPortThatIsPutBackSavesNoQuarantine(t *testing.T) {
	t.Parallel()
	group := []asset.GroupID{"quarantine"}
	order := func(port asset.PortID, saved ...asset.GroupID) casework.Act {
		return casework.Act{Ports: []casework.PortOrder{{Port: port, Saved: saved, After: group}}}
	}
	unsecured := order("p1")
	unsecured.Ports[0].Saved, unsecured.Ports[0].SavedUnsecured = []asset.GroupID{}, true
	for name, c := range map[string]struct {
		has       []asset.GroupID
		secured   bool
		orders    []casework.Act
		saved     []asset.GroupID
		unsecured bool
		done      bool
	}{
		"on it, as the order in force left it": {group, true, []casework.Act{order("p1", "open")}, []asset.GroupID{"open"}, false, true},
		"with a group of the owner's": {
			[]asset.GroupID{"quarantine", "shut"}, true, []casework.Act{order("p1", "open")},
			[]asset.GroupID{"open", "shut"}, false, false,
		},
		"on it, by an earlier order": {group, true, []casework.Act{order("p2", "x"), order("p1", "open")}, []asset.GroupID{"open"}, false, true},
		"beside another, by an earlier order": {
			[]asset.GroupID{"quarantine", "shut"}, true, []casework.Act{order("p2", "x"), order("p1", "open")},
			[]asset.GroupID{"open", "shut"}, false, false,
		},
		"by two earlier orders, the latest counts": {
			group, true, []casework.Act{order("p2", "x"), order("p1", "new"), order("p1", "old")},
			[]asset.GroupID{"new"}, false, true,
		},
		"the owner's own again since an earlier order": {
			[]asset.GroupID{"shut"}, true, []casework.Act{order("p2", "x"), order("p1", "open")},
			[]asset.GroupID{"shut"}, false, false,
		},
		"added":                        {[]asset.GroupID{"shut"}, true, []casework.Act{order("p2", "x")}, []asset.GroupID{"shut"}, false, false},
		"added, without port security": {nil, false, []casework.Act{order("p2", "x")}, nil, true, false},
		"port security is off since":   {nil, false, []casework.Act{order("p1", "open")}, []asset.GroupID{"open"}, false, false},
		"it was off before":            {group, true, []casework.Act{unsecured}, nil, true, true},
	} {
		p := asset.Port{ID: "p1", Groups: c.has, PortSecurity: c.secured, Revision: 3}
		o := renewed(p, c.orders, group)
		if !casework.SameGroups(o.Saved, c.saved) || o.SavedUnsecured != c.unsecured || o.Done != c.done || o.Unsecured == c.secured || o.Revision != 3 {
			t.Errorf("%s: %+v", name, o)
		}
	}
}

// undoneBy is a restricted machine whose quarantine was undone on p1, and which has a change more.
func undoneBy(change func(*simulated)) func(*simulated) {
	return func(w *simulated) {
		restrictedBy(casework.ActQuarantine)(w)
		w.setPort("p1", "shut")
		change(w)
		w.armed(casework.TimerHold)
	}
}

// A port that is away while the quarantine is put back is not forgotten, also where our group is beside another on it.
func TestUnpluggedPortIsNotForgotten(t *testing.T) {
	t.Parallel()
	away := func(groups ...asset.GroupID) func(*simulated) {
		return func(w *simulated) {
			p := w.ports["p2"]
			p.Server, p.Device, p.Groups, p.Revision = "", "", groups, p.Revision+1
			w.ports["p2"] = p
		}
	}
	for name, c := range map[string]struct {
		world      func(*simulated)
		held, back []asset.GroupID
		lost       int
	}{
		"on our group":         {away("quarantine"), []asset.GroupID{"quarantine"}, []asset.GroupID{"open"}, 0},
		"on ours and another":  {away("quarantine", "shut"), []asset.GroupID{"quarantine"}, []asset.GroupID{"open", "shut"}, 0},
		"the owner's by now":   {away("shut"), []asset.GroupID{"shut"}, []asset.GroupID{"shut"}, 0},
		"deleted, and is lost": {func(w *simulated) { delete(w.ports, "p2") }, nil, nil, 1},
	} {
		l, w := newSimulated(t)
		undoneBy(c.world)(w)
		l.know(asset.NewIndex(w.inventory))
		if _, err := l.hold(t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		w.wants(t, map[asset.PortID][]asset.GroupID{"p1": {"quarantine"}, "p2": c.held})
		w.armed(casework.TimerRelease)
		w.change(func(c *casework.Case) { c.State = casework.Verifying })
		if _, err := l.release(t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		w.wants(t, map[asset.PortID][]asset.GroupID{"p1": {"open", "shut"}, "p2": c.back})
		if k := w.cases["c1"]; k.State != casework.Released || len(k.Lost) != c.lost {
			t.Errorf("%s: the case is %s, lost %v", name, k.State, k.Lost)
		}
	}
}

// What an owner undoes after a start is put back in the place of the start, and nothing that the start saved is lost.
func TestPuttingBackAfterAStartKeepsWhatItSaved(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	startAfterChanges(w)
	l.know(asset.NewIndex(w.inventory))
	if _, err := l.release(t.Context()); err != nil {
		t.Fatal(err)
	}
	start := w.cases["c1"].Act
	w.setPort("p1", "shut")
	w.armed(casework.TimerHold)
	if _, err := l.hold(t.Context()); err != nil || w.act(w.cases["c1"].Act).Renews != start {
		t.Fatalf("in force is %+v, %v", w.act(w.cases["c1"].Act), err)
	}
	w.wants(t, map[asset.PortID][]asset.GroupID{"p1": {"quarantine"}, "p2": {"quarantine"}, "p4": {"quarantine"}, "p5": {"quarantine"}})
	w.armed(casework.TimerRelease)
	if _, err := l.release(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := maps.Clone(givenBackAfterChanges)
	want["p1"] = []asset.GroupID{"open", "shut"}
	w.wants(t, want)
	if c := w.cases["c1"]; c.State != casework.Released || w.servers["s1"].Status != "ACTIVE" || w.servers["s1"].Locked {
		t.Errorf("the case is %s, the machine %+v", c.State, w.servers["s1"])
	}
}

// A quarantine is put back once what is under way on the machine is settled: it may have saved what the owner changed.
func TestPuttingBackWaitsForWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	undoneBy(func(w *simulated) {
		w.acts = append(w.acts, casework.Act{ID: "a2", Case: "c2", Cloud: "lab", Server: "s1", Kind: casework.ActStart, State: casework.ActIntended})
	})(w)
	if _, err := l.hold(t.Context()); !errors.Is(err, errUnfinished) || len(w.changes) > 0 || len(w.due) != 1 {
		t.Errorf("%v, changed by %v, due %v", err, w.changes, w.due)
	}
	w.acts[1].Server, w.now = "s2", w.now+hour
	if _, err := l.hold(t.Context()); err != nil || !slices.Equal(w.changes, []string{"set p1"}) {
		t.Errorf("%v, changed by %v", err, w.changes)
	}
}

// Without the record of an order whose place another took, nobody knows all that the machine is to get back: a person restores it.
func TestMissingRecordOfAnEarlierOrderHoldsTheCase(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]func(*Line, *testing.T) error{
		"at a release": func(l *Line, t *testing.T) error { return l.giveBack(t.Context(), "c1") },
		"in the daily comparison": func(l *Line, t *testing.T) error {
			_, err := l.reconcileCase(t.Context(), "c1", nil)
			return err
		},
	} {
		l, w := newSimulated(t)
		restrictedBy(casework.ActQuarantine)(w)
		w.acts[0].Renews = "a0"
		if err := step(l, t); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c := w.cases["c1"]; c.State != casework.OnHold || len(c.Lost) != 1 || len(w.changes) > 0 {
			t.Errorf("%s: the case is %s, lost %v, changed by %v", name, c.State, c.Lost, w.changes)
		}
	}
}

// What a port had that came from another machine in quarantine is found by one reading of the log of that machine's case, however often its
// quarantine was put back.
func TestPortFromElsewhereCostsOneReadingOfEachLog(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	restrictedBy(casework.ActQuarantine)(w)
	for i := range 200 { // the owner of s1 has undone its quarantine 200 times
		w.acts = append(w.acts, tookThePlace(w.acts[len(w.acts)-1], fmt.Sprintf("h%03d", i), casework.ActHold, nil))
		w.acts[len(w.acts)-1].Machine = nil
	}
	p2 := w.ports["p2"]
	p2.Server, p2.Device = "s9", "s9"
	orders := []casework.Act{{ID: "a9", Case: "c9", Ports: []casework.PortOrder{{Port: "p9"}}}}
	w.calls = nil
	out, err := l.savedElsewhere(t.Context(), orders, []asset.Port{p2}, []asset.GroupID{"quarantine"})
	if err != nil {
		t.Fatal(err)
	}
	if n := w.count("witness"); n != 1 || len(out) != 1 || out[0].ID != "h199" {
		t.Errorf("the audit log of a case is read and proven %d times for one port, and it goes by %d orders", n, len(out))
	}
}

// A port that its owner plugged into a machine of which no case says anything is not closed by an order about the machine that it came
// from, however the order ends. The order keeps what the port is to get back.
func TestPuttingBackClosesNoPortOfAMachineWithoutCase(t *testing.T) {
	t.Parallel()
	for name, timer := range map[string]casework.Timer{"a quarantine put back": casework.TimerHold, "a start": casework.TimerStart} {
		for dies := 0; ; dies++ {
			l, w := newSimulated(t)
			portElsewhere(w, map[casework.Timer]casework.ActKind{
				casework.TimerHold: casework.ActQuarantine, casework.TimerStart: casework.ActStop}[timer])
			w.armed(timer)
			l.know(asset.NewIndex(w.inventory))
			step := map[casework.Timer]func(context.Context) (bool, error){casework.TimerStart: l.release, casework.TimerHold: l.hold}[timer]
			calls := 0
			w.before = func(string) {
				if calls++; calls == dies {
					panic("the process dies")
				}
			}
			func() {
				defer func() { _ = recover() }()
				if _, err := step(t.Context()); err != nil && dies == 0 {
					t.Fatalf("%s: %v", name, err)
				}
			}()
			w.before = nil
			for range 5 {
				w.now, w.real = w.now+minute, w.real+minute
				if _, err := l.settle(t.Context()); err != nil && !errors.Is(err, errUncertain) {
					t.Fatalf("%s, dies at call %d: %v", name, dies, err)
				}
			}
			o := w.act(w.cases["c1"].Act)
			kept := func(p casework.PortOrder) bool {
				return p.Port == "p2" && casework.SameGroups(p.GivesBack(), []asset.GroupID{"open"})
			}
			if slices.Contains(w.changes, "set p2") || !slices.ContainsFunc(o.Ports, kept) {
				t.Fatalf("%s of s1, dies at call %d: changed %v; p2 of s5, which has no case, had [quarantine shut] and has %v; kept is %+v",
					name, dies, w.changes, w.ports["p2"].Groups, o.Ports)
			}
			if dies > calls {
				break
			}
		}
	}
}

// portElsewhere is a machine off the network whose port p1 was changed, and whose port p2 was plugged into s5 with a group beside ours.
func portElsewhere(w *simulated, kind casework.ActKind) {
	restrictedBy(kind)(w)
	w.setPort("p1", "shut")
	p := w.ports["p2"]
	p.Server, p.Device, p.Groups, p.Revision = "s5", "s5", []asset.GroupID{"quarantine", "shut"}, p.Revision+1
	w.ports["p2"], w.servers["s5"] = p, asset.Server{ID: "s5", Project: "astro", Status: "ACTIVE"}
	for i := range w.inventory.Ports {
		w.inventory.Ports[i] = w.ports[w.inventory.Ports[i].ID]
	}
	w.inventory.Servers = append(w.inventory.Servers, w.servers["s5"])
}

// What a restriction is for may be fixed while a milder finding of the case is not. What its owner undoes of it is put back all the same:
// the case still says that the machine is off the network.
func TestQuarantineIsPutBackWhereOnlyAMilderFindingIsLeft(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	undoneBy(func(w *simulated) {
		f := w.findings[0]
		w.findings[0].State = finding.Fixed
		f.ID, f.Key.Check, f.Class, f.Grade, f.State, f.Negatives = "f2", "ssh-v1-offered", "M", finding.Grade("stated"), finding.Open, 0
		w.findings = append(w.findings, f)
		w.change(func(c *casework.Case) { c.State, c.Class = casework.Restricted, "M" })
	})(w)
	l.know(asset.NewIndex(w.inventory))
	if _, err := l.hold(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c := w.cases["c1"]; !slices.Contains(w.changes, "set p1") || c.State != casework.Restricted || c.Act == "a1" {
		t.Errorf("the case is %s by %s, changed by %v, due %v, p1 has %v", c.State, c.Act, w.changes, w.due, w.ports["p1"].Groups)
	}
}

// What somebody else must act on by now is passed on before anything is put back: the machine is given back where that was all.
func TestQuarantineOfWhatHasPassedIsReleased(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	undoneBy(func(w *simulated) {
		w.findings[0].Duty.Layer, w.findings[0].Duty.Aspect = "network-controls", "provide-capability" // the provider's, by the model
		w.findings[0].Negatives = 0
		w.change(func(c *casework.Case) { c.State = casework.Restricted })
	})(w)
	l.know(asset.NewIndex(w.inventory))
	for range 3 {
		if _, err := l.hold(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if c := w.cases["c1"]; !c.Handed || len(w.changes) > 0 {
		t.Fatalf("the case is %s, passed %q, changed by %v", c.State, c.Passed, w.changes)
	}
	if _, err := l.release(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.wants(t, map[asset.PortID][]asset.GroupID{"p1": {"open", "shut"}, "p2": {"open"}})
	if c := w.cases["c1"]; !c.State.Over() {
		t.Errorf("the case is %s", c.State)
	}
}

// A half-done order that puts a quarantine back is finished also where only a milder finding is left, and not where all of it has passed.
func TestHalfDonePuttingBackIsFinishedForAMilderFinding(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		alter func(*finding.Finding)
		state casework.ActState
	}{
		"a milder one is left": {func(f *finding.Finding) { f.Class, f.Grade = "M", "stated" }, casework.ActDone},
		"it has passed": {func(f *finding.Finding) {
			f.Duty.Layer, f.Duty.Aspect = "network-controls", "provide-capability"
		}, casework.ActHeld},
	} {
		l, w := newSimulated(t)
		restrictedBy(casework.ActQuarantine)(w)
		again := tookThePlace(w.acts[0], "h1", casework.ActHold, nil)
		again.State, again.Machine, again.IntendedAt = casework.ActIntended, nil, w.now
		again.Ports = slices.Clone(again.Ports)
		w.setPort("p2", "shut")
		for i := range again.Ports { // p1 is done, p2 is not
			again.Ports[i].Before, again.Ports[i].Done = []asset.GroupID{"shut"}, false
		}
		again.Ports[1].Revision = w.ports["p2"].Revision
		w.acts = append(w.acts, again)
		c.alter(&w.findings[0])
		l.know(asset.NewIndex(w.inventory))
		if _, err := l.settle(t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if a := w.act("h1"); a.State != c.state {
			t.Errorf("%s: the order is %s (%s), changed by %v", name, a.State, a.Note, w.changes)
		}
	}
}
