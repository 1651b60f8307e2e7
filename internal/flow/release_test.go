package flow

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/cloud"
	"demarc/internal/fault"
	"demarc/internal/finding"
	"demarc/internal/untrusted"
)

// opened lets the saved group admit the weakness again.
func opened(w *simulated) {
	g := simSnapshot().Groups[0]
	w.groups["open"] = g
	for i := range w.inventory.Groups {
		if w.inventory.Groups[i].ID == "open" {
			w.inventory.Groups[i] = g
		}
	}
}

// A release gives back what was saved with what the owner added, in the order in which nothing is open too soon, and not what would open
// the
// weakness again.
func TestReleaseGivesBackWhatWasSaved(t *testing.T) {
	t.Parallel()
	quarantine, stop := restrictedBy(casework.ActQuarantine), restrictedBy(casework.ActStop)
	removed := func(w *simulated) { w.looked("f1", simNow-1, finding.Removed) }
	with := func(fs ...func(*simulated)) func(*simulated) {
		return func(w *simulated) {
			for _, f := range fs {
				f(w)
			}
		}
	}
	both := []string{"set p1", "set p2"}
	open := []asset.GroupID{"open"}
	for name, c := range map[string]struct {
		world   func(*simulated)
		changes []string
		p1      []asset.GroupID
		state   casework.State
		lost    int
	}{
		"a quarantine": {quarantine, both, open, casework.Released, 0},
		"a stop":       {stop, []string{"set p1", "set p2", "start", "unlock"}, open, casework.Released, 0},
		"with a group of the owner's": {with(quarantine, func(w *simulated) {
			p := w.ports["p1"]
			p.Groups = []asset.GroupID{"quarantine", "shut"}
			w.ports["p1"] = p
		}), both, []asset.GroupID{"open", "shut"}, casework.Released, 0},
		"without a group that was deleted": {with(quarantine, func(w *simulated) { delete(w.groups, "open") }), both, nil, casework.Released, 0},
		"without a port that was deleted": {with(quarantine, func(w *simulated) {
			delete(w.ports, "p2")
		}), []string{"set p1"}, open, casework.Released, 1},
		"fixed by its groups": {with(quarantine, removed), both, open, casework.Released, 0},
		"opened again":        {with(quarantine, removed, opened), nil, []asset.GroupID{"quarantine"}, casework.Restricted, 0},
		"open, and the service was fixed": {with(quarantine, opened, func(w *simulated) {
			w.looked("f1", simNow-1, finding.NotVulnerable)
		}), both, open, casework.Released, 0},
		"opened, and the finding fixed": {with(quarantine, removed, opened, func(w *simulated) {
			w.findings[0].State = finding.Fixed
		}), both, open, casework.Released, 0},
		"opened, and only claimed": {with(quarantine, removed, opened, func(w *simulated) {
			w.findings[0].State = finding.Claimed
		}), nil, []asset.GroupID{"quarantine"}, casework.Restricted, 0},
		"opened, and silent": {with(quarantine, removed, opened, func(w *simulated) {
			w.findings[0].State = finding.Unverifiable
		}), nil, []asset.GroupID{"quarantine"}, casework.Restricted, 0},
		"opened, of no vantage point": {with(quarantine, removed, opened, func(w *simulated) {
			w.findings[0].Vantage = "v9"
		}), both, open, casework.Released, 0},
		"a stop, opened again": {with(stop, opened), nil, []asset.GroupID{"quarantine"}, casework.Restricted, 0},
		"opened, but withdrawn": {with(quarantine, removed, opened, func(w *simulated) {
			w.change(func(c *casework.Case) { c.Withdrawn = "olga" })
		}), both, open, casework.Closed, 0},
		"paused": {with(quarantine, func(w *simulated) { w.paused = true }), both, open, casework.Released, 0},
		"nothing was done, withdrawn": {func(w *simulated) {
			w.change(func(c *casework.Case) { c.State, c.Withdrawn = casework.Verifying, "olga" })
		}, nil, open, casework.Closed, 0},
		"not asked for": {with(quarantine, func(w *simulated) {
			w.change(func(c *casework.Case) { c.State = casework.Restricted })
		}), nil, []asset.GroupID{"quarantine"}, casework.Restricted, 0},
		"of a deleted machine": {with(quarantine, func(w *simulated) {
			delete(w.servers, "s1")
			w.setPort("p2", "shut")
			w.change(func(c *casework.Case) { c.Deleted = simNow })
		}), []string{"set p1"}, open, casework.Moot, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l, w := newSimulated(t)
			c.world(w)
			l.know(asset.NewIndex(w.inventory))
			w.armed(casework.TimerRelease)
			if _, err := l.release(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := w.cases["c1"]
			if !slices.Equal(w.changes, c.changes) || got.State != c.state || !casework.SameGroups(w.ports["p1"].Groups, c.p1) ||
				len(got.Lost) != c.lost {
				t.Errorf("changed by %v, the case is %s, p1 has %v, lost %v; want %+v", w.changes, got.State, w.ports["p1"].Groups, got.Lost, c)
			}
			if slices.ContainsFunc(w.due, func(d casework.Due) bool { return d.Timer == casework.TimerRelease }) {
				t.Error("it is due again")
			}
		})
	}
}

// A port without port security before is given back so, unless its owner put groups on it since.
func TestPortIsGivenBackWithoutPortSecurityAsItWas(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		alter     func(*casework.PortOrder, *asset.Port)
		unsecures bool
	}{
		"with it":    {func(*casework.PortOrder, *asset.Port) {}, false},
		"without it": {func(o *casework.PortOrder, _ *asset.Port) { o.Saved, o.SavedUnsecured = []asset.GroupID{}, true }, true},
		"with groups added since": {func(o *casework.PortOrder, p *asset.Port) {
			o.Saved, o.SavedUnsecured = []asset.GroupID{}, true
			p.Groups = append(p.Groups, "shut")
		}, false},
	} {
		l, w := newSimulated(t)
		restrictedBy(casework.ActQuarantine)(w)
		o, p := w.acts[0].Ports[0], w.ports["p1"]
		c.alter(&o, &p)
		w.ports["p1"] = p
		back, err := l.backOf(t.Context(), o)
		if err != nil || back.Unsecures != c.unsecures || back.Revision != p.Revision || !casework.SameGroups(back.Before, p.Groups) {
			t.Errorf("%s: %+v, %v", name, back, err)
		}
	}
}

// What runs under the switch: a release waits for what is under way, and is tried again.
func TestReleaseWaitsForWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	kinds := map[casework.Timer]casework.ActKind{casework.TimerRelease: casework.ActQuarantine, casework.TimerStart: casework.ActStop}
	for timer, kind := range kinds {
		l, w := newSimulated(t)
		restrictedBy(kind)(w)
		w.acts = append(
			w.acts,
			casework.Act{ID: "a2", Case: "c1", Cloud: "lab", Server: "s1", Kind: casework.ActHold, State: casework.ActIntended},
		)
		w.armed(timer)
		did, err := l.release(t.Context())
		if !did || err == nil || len(w.changes) > 0 || !l.waiting(string(timer)+" c1") || len(w.due) != 1 {
			t.Errorf("%s: %t, %v, %v", timer, did, err, w.changes)
		}
		if did, err = l.release(t.Context()); did || err != nil {
			t.Errorf("%s: tried again at once: %v", timer, err)
		}
		w.acts[1].Server, w.acts[1].Case, w.now = "s2", "c2", w.now+minute
		if _, err = l.release(t.Context()); err != nil || len(w.changes) == 0 {
			t.Errorf("%s: what is under way elsewhere delays it: %v", timer, err)
		}
	}
}

// A stopped machine is started where what it would open is closed: its ports are put back on the quarantine first, which is a restriction
// and waits while enforcement is paused, and read back.
func TestStoppedMachineStartsOffTheNetwork(t *testing.T) {
	t.Parallel()
	undone := func(w *simulated) { w.setPort("p2", "shut") }
	for name, c := range map[string]struct {
		world   func(*simulated)
		changes []string
		failed  bool
		state   casework.State
	}{
		"as it was left":     {func(*simulated) {}, []string{"start", "unlock"}, false, casework.Verifying},
		"a port was altered": {undone, []string{"set p2", "start", "unlock"}, false, casework.Verifying},
		"a port was added": {func(w *simulated) {
			w.ports["p4"] = asset.Port{ID: "p4", Server: "s1", Project: "astro", Groups: []asset.GroupID{"open"}, PortSecurity: true, Revision: 1}
		}, []string{"set p4", "start", "unlock"}, false, casework.Verifying},
		"paused, as it was left": {func(w *simulated) { w.paused = true }, []string{"start", "unlock"}, false, casework.Verifying},
		"paused, a port altered": {func(w *simulated) { undone(w); w.paused = true }, nil, true, casework.Verifying},
		"paused while its intent is written": {func(w *simulated) {
			undone(w)
			w.before = func(call string) { w.paused = w.paused || call == "commit" }
		}, nil, true, casework.Verifying},
		"paused before the first call": {func(w *simulated) {
			undone(w)
			w.before = func(string) { w.paused = w.paused || w.count("commit") > 0 }
		}, nil, false, casework.Verifying},
		"paused between two ports": {func(w *simulated) {
			undone(w)
			w.setPort("p1", "shut")
			w.before = func(string) { w.paused = w.paused || w.count("set p1") > 0 }
		}, []string{"set p1"}, false, casework.OnHold},
		"its groups would open it": {opened, nil, false, casework.Restricted},
		"it is gone":               {func(w *simulated) { delete(w.servers, "s1") }, nil, false, casework.Verifying},
		"it was not stopped by us": {func(w *simulated) {
			w.change(func(c *casework.Case) { c.Stopped = false })
		}, nil, false, casework.Verifying},
		"altered again before then": {func(w *simulated) {
			undone(w)
			w.before = func(call string) {
				if call == "port p1" && w.count("set p2") == 1 && w.count("port p1") == 0 {
					w.setPort("p1", "shut")
				}
			}
		}, []string{"set p2"}, false, casework.OnHold},
	} {
		t.Run(name, func(t *testing.T) {
			l, w := newSimulated(t)
			restrictedBy(casework.ActStop)(w)
			c.world(w)
			l.know(asset.NewIndex(w.inventory))
			w.armed(casework.TimerStart)
			_, err := l.release(t.Context())
			if got := w.cases["c1"]; (err != nil) != c.failed || !slices.Equal(w.changes, c.changes) || got.State != c.state {
				t.Errorf("%v, changed by %v, the case is %s; want %+v", err, w.changes, got.State, c)
			}
		})
	}
}

// startAfterChanges is a stopped machine whose owner changes one port, adds another and unplugs a third before its release is asked for.
func startAfterChanges(w *simulated) {
	restrictedBy(casework.ActStop)(w)
	p := w.ports["p1"]
	p.ID, p.Server, p.Device = "p5", "", "" // it was on the machine, and has a group of the owner's beside ours
	p.Groups = []asset.GroupID{"quarantine", "shut"}
	w.ports["p5"] = p
	w.acts[0].Ports = append(w.acts[0].Ports, casework.PortOrder{Port: "p5", Before: []asset.GroupID{"open"}, Saved: []asset.GroupID{"open"},
		After: []asset.GroupID{"quarantine"}, Revision: p.Revision - 1, Done: true})
	w.setPort("p2", "shut")
	w.ports["p4"] = asset.Port{ID: "p4", Server: "s1", Project: "astro", Groups: []asset.GroupID{"open"}, PortSecurity: true, Revision: 1}
	w.armed(casework.TimerStart)
}

// givenBackAfterChanges is what the ports have after the release of that machine.
var givenBackAfterChanges = map[asset.PortID][]asset.GroupID{"p1": {"open"}, "p2": {"open", "shut"}, "p4": {"open"}, "p5": {"open", "shut"}}

func (w *simulated) wants(t *testing.T, want map[asset.PortID][]asset.GroupID) {
	t.Helper()
	for id, groups := range want {
		if !casework.SameGroups(w.ports[id].Groups, groups) {
			t.Errorf("%s has %v, want %v", id, w.ports[id].Groups, groups)
		}
	}
}

// A release after a start gives back what the start saved of the owner's changes, wherever the process died on the way: each start of the
// process settles first, and then goes on with what is due.
func TestReleaseAfterAStartIsExactWhereverItDies(t *testing.T) {
	t.Parallel()
	for dies := 1; ; dies++ {
		l, w := newSimulated(t)
		startAfterChanges(w)
		l.know(asset.NewIndex(w.inventory))
		calls := 0
		w.before = func(string) {
			if calls++; calls == dies {
				panic("the process dies")
			}
		}
		func() {
			defer func() { _ = recover() }()
			if _, err := l.release(t.Context()); err != nil {
				t.Fatal(err)
			}
		}()
		w.before = nil
		if calls < dies {
			if dies < 20 {
				t.Fatalf("a start makes only %d calls", calls)
			}
			return
		}
		for range 12 { // the process is started again
			l = w.line(t)
			l.know(asset.NewIndex(w.inventory))
			did, err := l.settle(t.Context())
			if err != nil && !errors.Is(err, errUncertain) {
				t.Fatalf("dies at call %d: settle: %v", dies, err)
			}
			if did {
				w.now, w.real = w.now+minute, w.real+minute
				continue
			}
			if _, err := l.release(t.Context()); err != nil {
				t.Fatalf("dies at call %d: %v", dies, err)
			}
			w.now, w.real = w.now+10*minute, w.real+10*minute
		}
		c := w.cases["c1"]
		if c.Stopped || w.servers["s1"].Status != "ACTIVE" || w.act(c.Act).Kind != casework.ActStart {
			t.Fatalf("dies at call %d: the machine is %s, the case %s (%s) by %s", dies, w.servers["s1"].Status, c.State, c.Hold, c.Act)
		}
		w.wants(t, map[asset.PortID][]asset.GroupID{"p1": {"quarantine"}, "p2": {"quarantine"}, "p4": {"quarantine"}, "p5": {"quarantine"}})
		w.armed(casework.TimerRelease)
		if _, err := l.release(t.Context()); err != nil {
			t.Fatalf("dies at call %d: the release: %v", dies, err)
		}
		w.wants(t, givenBackAfterChanges)
		if c := w.cases["c1"]; c.State != casework.Released {
			t.Errorf("dies at call %d: the case is %s", dies, c.State)
		}
		if in, err := l.inForce(t.Context(), w.cases["c1"]); err != nil || len(in) > 0 {
			t.Errorf("dies at call %d: still in force: %+v, %v", dies, in, err)
		}
		if t.Failed() {
			return
		}
	}
}

// A start, or a quarantine put back, whose outcome is unclear is in force: taken back then, the machine gets all that it saved. Nothing of
// it counts as in force afterwards.
func TestUnclearOrderThatTookAPlaceIsGivenBackWhole(t *testing.T) {
	t.Parallel()
	for name, due := range map[string]casework.Timer{"a start": casework.TimerStart, "a quarantine put back": casework.TimerHold} {
		l, w := newSimulated(t)
		startAfterChanges(w)
		w.due = nil
		w.armed(due)
		w.before = func(call string) {
			switch {
			case due == casework.TimerStart && call == "port p1" && w.count("set p4") == 1 && w.ports["p1"].Groups[0] == "quarantine":
				w.setPort("p1", "shut")
			case due == casework.TimerHold && w.count("set p2") == 1:
				w.paused = true
			}
		}
		l.know(asset.NewIndex(w.inventory))
		step := map[casework.Timer]func(context.Context) (bool, error){casework.TimerStart: l.release, casework.TimerHold: l.hold}[due]
		if _, err := step(t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		w.before = nil
		c := w.cases["c1"]
		if c.State != casework.OnHold || c.Act == "a1" {
			t.Fatalf("%s: the case is %s by %s", name, c.State, c.Act)
		}
		w.change(func(c *casework.Case) { c.State, c.Withdrawn = casework.Verifying, "olga" })
		w.due = nil
		w.armed(casework.TimerRelease)
		if _, err := l.release(t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := maps.Clone(givenBackAfterChanges)
		if due == casework.TimerStart {
			want["p1"] = []asset.GroupID{"open", "shut"}
		}
		w.wants(t, want)
		if in, err := l.inForce(t.Context(), w.cases["c1"]); err != nil || len(in) > 0 || w.servers["s1"].Status != "ACTIVE" || w.servers["s1"].Locked {
			t.Errorf("%s: in force %+v, %v, the machine %+v", name, in, err, w.servers["s1"])
		}
	}
}

// What an action of ours did, still stands, and is explained by none in force is listed once, and a person ends it.
func TestWhatNoActionExplainsIsLeftOver(t *testing.T) {
	t.Parallel()
	type kinds = []casework.LeftoverKind
	port, lock, halt := casework.LeftoverPort, casework.LeftoverLock, casework.LeftoverStop
	sync := func(w *simulated) {
		for i := range w.inventory.Servers {
			w.inventory.Servers[i] = w.servers[w.inventory.Servers[i].ID]
		}
	}
	unlocked := func(w *simulated) {
		s := w.servers["s1"]
		s.Locked, s.LockedReason = false, untrusted.Text{}
		w.servers["s1"] = s
		sync(w)
	}
	free := func(w *simulated) { // since the listing
		s := w.servers["s1"]
		s.Locked, s.LockedReason = false, untrusted.Text{}
		w.servers["s1"] = s
	}
	undo := func(at int64, steps ...casework.MachineDo) func(*simulated) {
		return func(w *simulated) {
			m := machineOrder(nil, "", steps...)
			for i := range m.Steps {
				m.Steps[i].Done = true
			}
			w.acts = append(
				w.acts,
				casework.Act{
					ID:         "r",
					Case:       "c1",
					Cloud:      "lab",
					Server:     "s1",
					Kind:       casework.ActRestore,
					State:      casework.ActDone,
					IntendedAt: at,
					Machine:    m,
				},
			)
		}
	}
	intended := simNow - minute
	for name, c := range map[string]struct {
		world func(*simulated)
		want  kinds
		act   string
	}{
		"two ports and a lock":    {func(*simulated) {}, kinds{port, port, lock}, "a1"},
		"a stop without the lock": {unlocked, kinds{port, port, halt}, "a1"},
		"the case is live": {func(w *simulated) {
			w.change(func(c *casework.Case) { c.State, c.Act = casework.Restricted, "a1" })
		}, nil, ""},
		"an action is under way": {func(w *simulated) {
			w.acts = append(w.acts, casework.Act{ID: "a2", Server: "s1", State: casework.ActIntended})
		}, nil, ""},
		"a live case of another cloud": {func(w *simulated) {
			w.change(func(c *casework.Case) { c.State, c.Act, c.Cloud = casework.Restricted, "a1", "other" })
		}, kinds{port, port, lock}, "a1"},
		"ports were given back": {func(w *simulated) {
			w.inventory.Ports[0].Groups, w.inventory.Ports[1].Groups = nil, nil
		}, kinds{lock}, "a1"},
		"given back since the listing": {func(w *simulated) { w.setPort("p1", "shut") }, kinds{port, lock}, "a1"},
		"deleted since the listing":    {func(w *simulated) { delete(w.ports, "p1") }, kinds{port, lock}, "a1"},
		"a later lock of ours undone": {func(w *simulated) {
			undo(intended+1, casework.DoUnlock)(w)
			free(w)
		}, kinds{port, port}, "a1"},
		"undone in that moment": {func(w *simulated) {
			undo(intended, casework.DoUnlock)(w)
			free(w)
		}, kinds{port, port}, "a1"},
		"undone, and a lock arrived late": {undo(intended+1, casework.DoUnlock), kinds{port, port, lock}, "a1"},
		"a lock of an order that is said to be void": {func(w *simulated) {
			w.acts[0].State, w.acts[0].Machine.Steps[0].Done, w.acts[0].Machine.Steps[1].Done = casework.ActVoid, false, false
		}, kinds{port, port, lock}, "a1"},
		"an earlier one undone":  {undo(intended-1, casework.DoUnlock), kinds{port, port, lock}, "a1"},
		"started since":          {func(w *simulated) { unlocked(w); undo(intended+1, casework.DoStart)(w) }, kinds{port, port}, "a1"},
		"started in that moment": {func(w *simulated) { unlocked(w); undo(intended, casework.DoStart)(w) }, kinds{port, port}, "a1"},
		"started before": {func(w *simulated) {
			unlocked(w)
			undo(intended-1, casework.DoStart)(w)
		}, kinds{port, port, halt}, "a1"},
		"unlocked, stopped by its owner": {func(w *simulated) { unlocked(w); undo(intended+1, casework.DoUnlock)(w) }, kinds{port, port}, "a1"},
		"the machine runs": {func(w *simulated) {
			unlocked(w)
			s := w.servers["s1"]
			s.Status = "ACTIVE"
			w.servers["s1"] = s
			sync(w)
		}, kinds{port, port}, "a1"},
		"off by itself": {func(w *simulated) { unlocked(w); w.acts[0].Machine.Steps[1].Idle = true }, kinds{port, port}, "a1"},
		"locked by somebody else": {func(w *simulated) {
			s := w.servers["s1"]
			s.LockedReason = untrusted.From("forensics")
			w.servers["s1"] = s
			sync(w)
			w.acts[0].Machine.Steps[1].Idle = true
		}, kinds{port, port}, "a1"},
		"a lock that reads like ours": {func(w *simulated) { w.acts = nil }, kinds{lock}, ""},
		"no order and no such lock":   {func(w *simulated) { w.acts = nil; unlocked(w) }, nil, ""},
		"put back since, stopped and locked as it was": {func(w *simulated) {
			w.acts = append(w.acts, tookThePlace(w.acts[0], "a2", casework.ActHold, nil))
		}, kinds{port, port, lock}, "a2"},
		"put back since, stopped once more": {func(w *simulated) {
			w.acts = append(w.acts, tookThePlace(w.acts[0], "a2", casework.ActHold, nil, casework.DoStop))
		}, kinds{port, port, lock}, "a2"},
		"a start that was held before anything was done": {func(w *simulated) {
			w.acts = append(w.acts, tookThePlace(w.acts[0], "a2", casework.ActStart, nil))
			w.acts[1].State = casework.ActHeld
		}, kinds{port, port, lock}, "a2"},
		"a start that took no place": {func(w *simulated) {
			w.acts = append(w.acts, tookThePlace(w.acts[0], "a2", casework.ActStart, []casework.PortOrder{}))
			w.acts[1].Renews = ""
		}, kinds{port, port, lock}, "a1"},
		"started, the lock is back": {func(w *simulated) {
			w.acts = append(w.acts, tookThePlace(w.acts[0], "a2", casework.ActStart, nil, casework.DoStart, casework.DoUnlock))
		}, kinds{port, port, lock}, "a2"},
	} {
		t.Run(name, func(t *testing.T) {
			l, w := newSimulated(t)
			leftOver(w)
			c.world(w)
			l.know(asset.NewIndex(w.inventory))
			if err := l.findLeftovers(t.Context()); err != nil {
				t.Fatal(err)
			}
			var got kinds
			for _, x := range w.leftovers {
				got = append(got, x.Kind)
				if x.Act != c.act || x.Since != simNow {
					t.Errorf("%+v", x)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("left over are %v, want %v", got, c.want)
			}
			n := len(w.commits)
			w.now += hour
			if err := l.findLeftovers(t.Context()); err != nil || len(w.commits) > n || len(w.leftovers) > 0 && w.leftovers[0].Since != simNow {
				t.Errorf("the next sync lists them anew: %v", err)
			}
		})
	}
	l, w := newSimulated(t)
	leftOver(w)
	l.know(asset.NewIndex(w.inventory))
	if err := l.findLeftovers(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.change(func(c *casework.Case) { c.State, c.Act = casework.Restricted, "a1" })
	if err := l.findLeftovers(t.Context()); err != nil || len(w.leftovers) > 0 {
		t.Errorf("what is explained by now is still listed: %+v, %v", w.leftovers, err)
	}
}

// tookThePlace is an order that is done and that took the place of another.
func tookThePlace(of casework.Act, id string, kind casework.ActKind, ports []casework.PortOrder, steps ...casework.MachineDo) casework.Act {
	a := of
	a.ID, a.Kind, a.Renews, a.IntendedAt, a.Machine = id, kind, of.ID, of.IntendedAt+1, machineOrder(nil, "", steps...)
	for i := range a.Machine.Steps {
		a.Machine.Steps[i].Done = true
	}
	if ports != nil {
		a.Ports = ports
	}
	return a
}

// A port of an earlier order is left over beside the machine that the order in force keeps off the network. A person who ends it gives back
// that port, and nothing else: whatever becomes of it, the case stays where it is, and nothing is due for it.
func TestClearingAnOldPortReleasesNoMachine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		meets func(*simulated)
		p2    []asset.GroupID
		ends  casework.ActState
	}{
		"it is given back":     {func(*simulated) {}, []asset.GroupID{"open", "shut"}, casework.ActDone},
		"the cloud refuses it": {refusing(fault.New(fault.Conflict, "no")), []asset.GroupID{"quarantine", "shut"}, casework.ActVoid},
		"somebody changes it": {func(w *simulated) {
			w.setErr = func(asset.PortID) error {
				w.setPort("p2", "other")
				return fault.New(fault.Conflict, "no")
			}
		}, []asset.GroupID{"other"}, casework.ActHeld},
	} {
		l, w := newSimulated(t)
		restrictedBy(casework.ActQuarantine)(w)
		w.acts = append(w.acts, tookThePlace(w.acts[0], "a2", casework.ActHold, w.acts[0].Ports[:1]))
		w.acts[1].Machine = nil
		w.change(func(c *casework.Case) { c.State, c.Act = casework.Restricted, "a2" })
		p := w.ports["p2"]
		p.Server, p.Device, p.Groups = "", "", []asset.GroupID{"quarantine", "shut"}
		w.ports["p2"] = p
		w.leftovers = []casework.Leftover{{Kind: casework.LeftoverPort, Port: "p2", Project: "astro", Case: "c1", Act: "a1"}}
		w.clearings = []casework.Clearing{{Cloud: "lab", ID: "p2", By: "olga", Why: "an old port"}}
		c.meets(w)
		if _, err := l.clearLeftovers(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.wants(t, map[asset.PortID][]asset.GroupID{"p1": {"quarantine"}, "p2": c.p2})
		last := w.acts[len(w.acts)-1]
		if k := w.cases["c1"]; k.State != casework.Restricted || k.Act != "a2" || len(w.due) > 0 || last.State != c.ends {
			t.Errorf("%s: the case is %s by %q, due is %v, the action %s", name, k.State, k.Act, w.due, last.State)
		}
		if in, err := l.inForce(t.Context(), w.cases["c1"]); err != nil || len(in) != 1 || in[0].ID != "a2" {
			t.Errorf("%s: in force %+v, %v", name, in, err)
		}
	}
}

// A port that its owner plugged into another machine, which another case keeps off the network, stays off with that machine.
func TestReleaseFreesNoPortOfAnotherMachine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		other   func(*casework.Case)
		changes []string
	}{
		"kept off":         {func(*casework.Case) {}, []string{"set p1"}},
		"not kept off":     {func(c *casework.Case) { c.Act = "" }, []string{"set p1", "set p2"}},
		"in another cloud": {func(c *casework.Case) { c.Cloud = "other" }, []string{"set p1", "set p2"}},
		"its case is over": {func(c *casework.Case) { c.State = casework.Closed }, []string{"set p1", "set p2"}},
		"the same machine": {func(c *casework.Case) { c.Server = "s1" }, []string{"set p1", "set p2"}},
	} {
		l, w := newSimulated(t)
		restrictedBy(casework.ActQuarantine)(w)
		other := w.cases["c1"]
		other.ID, other.Server, other.State, other.Act = "c2", "s9", casework.Restricted, "a2"
		c.other(&other)
		w.cases["c2"] = other
		for i := range w.inventory.Ports {
			if p := &w.inventory.Ports[i]; p.ID == "p2" {
				p.Server, p.Device = "s9", "s9"
				w.ports["p2"] = *p
			}
		}
		w.setPort("p2", "quarantine")
		w.changes = nil
		w.inventory.Servers = append(w.inventory.Servers, asset.Server{ID: "s9", Project: "astro", Status: "ACTIVE"})
		l.know(asset.NewIndex(w.inventory))
		if err := l.giveBack(t.Context(), "c1"); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !slices.Equal(w.changes, c.changes) {
			t.Errorf("%s: changed by %v, want %v", name, w.changes, c.changes)
		}
	}
}

// A decision about a port that is no machine's any more does not stop another one.
func TestClearingAPortOfNoMachineStopsNoOther(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	clearing("p1")(w)
	w.leftovers[0].Server = ""
	w.acts = append(w.acts, casework.Act{ID: "a9", Case: "c1", Cloud: "lab", Kind: casework.ActRestore, State: casework.ActIntended})
	if _, err := l.clearLeftovers(t.Context()); err != nil || !slices.Equal(w.changes, []string{"set p1"}) {
		t.Errorf("changed by %v, %v", w.changes, err)
	}
}

// A person's decision whose order never took effect is kept, and carried out a little later.
func TestDecisionThatNeverTookEffectIsCarriedOutLater(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"p1", "s1"} {
		l, w := newSimulated(t)
		clearing(id)(w)
		decided := w.clearings[0]
		refusing(cloud.ErrStale)(w)
		if _, err := l.clearLeftovers(t.Context()); err != nil {
			t.Fatal(err)
		}
		last := w.acts[len(w.acts)-1]
		if last.State != casework.ActVoid || len(w.clearings) != 1 || w.clearings[0].ID != id || w.clearings[0].By != decided.By {
			t.Fatalf("%s: the action is %s, decided %+v", id, last.State, w.clearings)
		}
		w.changes, w.setErr = nil, nil
		if did, err := l.clearLeftovers(t.Context()); did || err != nil {
			t.Errorf("%s: tried again at once: %v", id, err)
		}
		w.now += hour
		if _, err := l.clearLeftovers(t.Context()); err != nil || len(w.changes) == 0 || len(w.clearings) > 0 {
			t.Errorf("%s: later %v, changed by %v, decided %+v", id, err, w.changes, w.clearings)
		}
	}
}

// A person's decision ends what it names and nothing else; what somebody changed since is left.
func TestDecisionEndsWhatItNames(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		world   func(*simulated)
		changes []string
	}{
		"a port":               {clearing("p1"), []string{"set p1"}},
		"a machine":            {clearing("s1"), []string{"set p1", "set p2", "start", "unlock"}},
		"a port altered since": {func(w *simulated) { clearing("s1")(w); w.setPort("p2", "shut") }, []string{"set p1", "start", "unlock"}},
		"a port deleted since": {func(w *simulated) { clearing("s1")(w); delete(w.ports, "p2") }, []string{"set p1", "start", "unlock"}},
		"a port of a machine that was taken off the network since": {func(w *simulated) {
			clearing("p1")(w)
			w.change(func(c *casework.Case) { c.State, c.Act = casework.Restricted, "a1" })
		}, nil},
		"a port of another machine that was taken off the network since": {func(w *simulated) {
			clearing("s1")(w)
			other := w.cases["c1"]
			other.ID, other.Server, other.State, other.Act = "c2", "s2", casework.Restricted, "a2"
			w.cases["c2"] = other
			w.acts = append(w.acts, casework.Act{ID: "a2", Case: "c2", Cloud: "lab", Server: "s2", Kind: casework.ActQuarantine,
				State: casework.ActDone, Ports: []casework.PortOrder{{Port: "p2"}}})
		}, []string{"set p1", "start", "unlock"}},
		"an order that the log does not have": {func(w *simulated) { clearing("p1")(w); w.forged = true }, nil},
		"what is not known":                   {clearing("p9"), nil},
		"what no order explains":              {func(w *simulated) { clearing("p1")(w); w.leftovers[0].Act = "" }, nil},
		"what another cloud's is":             {func(w *simulated) { clearing("p1")(w); w.clearings[0].Cloud = "other" }, nil},
	} {
		l, w := newSimulated(t)
		c.world(w)
		l.know(asset.NewIndex(w.inventory))
		if _, err := l.clearLeftovers(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(w.changes, c.changes) {
			t.Errorf("%s: changed by %v, want %v", name, w.changes, c.changes)
		}
	}
}

// A lock that is left over alone is ended without starting a machine that its owner has switched off since.
func TestClearingALockStartsNoMachineThatWasStartedSince(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	clearing("s1")(w)
	back := tookThePlace(w.acts[0], "r1", casework.ActRestore, []casework.PortOrder{}, casework.DoStart, casework.DoUnlock)
	back.Renews, back.Undoes = "", "a1"
	w.acts = append(w.acts, back) // the lock arrived after it, and the owner has switched the machine off
	l.know(asset.NewIndex(w.inventory))
	if _, err := l.clearLeftovers(t.Context()); err != nil || !slices.Equal(w.changes, []string{"set p1", "set p2", "unlock"}) {
		t.Errorf("changed by %v, %v", w.changes, err)
	}
}

// A decision outlives a sync while its order is under way, and a second decision about the same machine waits for it.
func TestDecisionsAboutOneMachineAreAllCarriedOut(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	clearing("p1")(w)
	w.leftovers = append(w.leftovers, casework.Leftover{
		Kind: casework.LeftoverPort, Port: "p2", Server: "s1", Project: "astro", Case: "c1", Act: "a1",
	})
	w.clearings = append(w.clearings, casework.Clearing{ID: "p2", Cloud: "lab", By: "olga", Why: "checked"})
	l.know(asset.NewIndex(w.inventory))
	refusing(cloud.ErrUnknownOutcome)(w)
	if _, err := l.clearLeftovers(t.Context()); err == nil {
		t.Fatal("the lost answer was no error")
	}
	w.setErr = nil
	for range 20 {
		if err := l.findLeftovers(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, _ = l.clearLeftovers(t.Context()) // it waits
		_, _ = l.settle(t.Context())
		w.now, w.real = w.now+minute, w.real+minute
	}
	w.wants(t, map[asset.PortID][]asset.GroupID{"p1": {"open"}, "p2": {"open"}})
	if len(w.clearings) > 0 {
		t.Errorf("still decided: %+v", w.clearings)
	}
}

// A case that is withdrawn while its machine is being started is given back, also where a pause stops the start.
func TestWithdrawalDuringAStartGivesBack(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	restrictedBy(casework.ActStop)(w)
	w.setPort("p1", "shut")
	w.setPort("p2", "shut")
	w.armed(casework.TimerStart)
	l.know(asset.NewIndex(w.inventory))
	w.before = func(string) {
		if w.count("set p1") > 0 && !w.paused {
			w.paused = true
			w.change(func(c *casework.Case) { c.State, c.Withdrawn = casework.Verifying, "olga: by mistake" })
			w.armed(casework.TimerRelease)
		}
	}
	_, _ = l.release(t.Context())
	w.before = nil
	for range 5 {
		_, _ = l.settle(t.Context())
		_, _ = l.release(t.Context())
		w.now, w.real = w.now+10*minute, w.real+10*minute
	}
	if c := w.cases["c1"]; !c.State.Over() || w.servers["s1"].Status != "ACTIVE" {
		t.Errorf("the case is %s (%s), the machine %s", c.State, c.Hold, w.servers["s1"].Status)
	}
	w.wants(t, map[asset.PortID][]asset.GroupID{"p1": {"open", "shut"}, "p2": {"open", "shut"}})
}

// portMoved keeps s1 and s9 off the network, each by a case of its own; p2 was in quarantine with s1 and is plugged into s9.
func portMoved(w *simulated) {
	restrictedBy(casework.ActQuarantine)(w)
	other := w.cases["c1"]
	other.ID, other.Server, other.State, other.Act = "c2", "s9", casework.Restricted, "a2"
	w.cases["c2"] = other
	p2, p9 := w.ports["p2"], w.ports["p2"]
	p9.ID, p9.Server, p9.Device = "p9", "s9", "s9"
	p2.Server, p2.Device = "s9", "s9"
	w.ports["p2"], w.ports["p9"] = p2, p9
	w.servers["s9"] = asset.Server{ID: "s9", Project: "astro", Status: "ACTIVE"}
	w.acts = append(w.acts, casework.Act{ID: "a2", Case: "c2", Cloud: "lab", Server: "s9", Project: "astro", Kind: casework.ActQuarantine,
		State: casework.ActDone, Version: 1, Ports: []casework.PortOrder{{Port: "p9", Before: []asset.GroupID{"open"},
			Saved: []asset.GroupID{"open"}, After: []asset.GroupID{"quarantine"}, Revision: p9.Revision - 1, Done: true}}})
	for i := range w.inventory.Ports {
		if w.inventory.Ports[i].ID == "p2" {
			w.inventory.Ports[i] = p2
		}
	}
	w.inventory.Ports, w.inventory.Servers = append(w.inventory.Ports, p9), append(w.inventory.Servers, w.servers["s9"])
}

// A port that was in quarantine with one machine, and is plugged into another that is kept off, gets its groups back with that one.
func TestPortThatMovedToAnotherRestrictedMachineGetsItsGroupsBack(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	portMoved(w)
	l.know(asset.NewIndex(w.inventory))
	if err := l.giveBack(t.Context(), "c1"); err != nil {
		t.Fatal(err)
	}
	if c := w.cases["c1"]; c.State != casework.Released || len(c.Lost) != 1 || slices.Contains(w.changes, "set p2") {
		t.Errorf("the case is %s, lost %v, changed by %v", c.State, c.Lost, w.changes)
	}
	w.setPort("p9", "shut") // its owner undoes the quarantine, and it is put back
	w.findings[0].State = "fixed"
	if err := l.putBack(t.Context(), "c2"); err != nil {
		t.Fatal(err)
	}
	c2 := w.cases["c2"]
	c2.State, c2.Withdrawn = casework.Verifying, "olga"
	w.cases["c2"] = c2
	if err := l.giveBack(t.Context(), "c2"); err != nil {
		t.Fatal(err)
	}
	w.wants(t, map[asset.PortID][]asset.GroupID{"p2": {"open"}, "p9": {"open", "shut"}})
}

// A port that let nobody in, having port security and no group, does so again after its release, whatever its owner did meanwhile.
func TestClosedPortIsGivenBackClosed(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	p := w.ports["p2"]
	p.Groups = []asset.GroupID{}
	w.ports["p2"] = p
	undoneBy(func(w *simulated) {
		p := w.ports["p2"]
		p.Groups, p.PortSecurity, p.Revision = nil, false, p.Revision+1
		w.ports["p2"] = p
	})(w)
	w.acts[0].Ports[1].Saved, w.acts[0].Ports[1].Before = []asset.GroupID{}, []asset.GroupID{}
	l.know(asset.NewIndex(w.inventory))
	if _, err := l.hold(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.armed(casework.TimerRelease)
	w.change(func(c *casework.Case) { c.State = casework.Verifying })
	if _, err := l.release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := w.ports["p2"]; !p.PortSecurity || len(p.Groups) > 0 {
		t.Errorf("it has %v, port security %t", p.Groups, p.PortSecurity)
	}
}

// A start that never took effect is not ordered again once the case is withdrawn: nothing more of the machine is put on the quarantine.
func TestStartIsNotOrderedAgainForAWithdrawnCase(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	restrictedBy(casework.ActStop)(w)
	w.setPort("p1", "shut")
	w.armed(casework.TimerStart)
	l.know(asset.NewIndex(w.inventory))
	w.setErr = func(asset.PortID) error {
		w.change(func(c *casework.Case) { c.State, c.Withdrawn = casework.Verifying, "olga: by mistake" })
		w.due = nil
		w.armed(casework.TimerRelease)
		for range 4 { // the release waits for the start, longer each time
			l.putOff("release c1", errUnfinished)
		}
		return cloud.ErrStale
	}
	_, _ = l.release(t.Context()) // void
	if slices.ContainsFunc(w.due, func(d casework.Due) bool { return d.Timer == casework.TimerStart }) {
		t.Errorf("the start is due again: %v", w.due)
	}
	w.setErr = nil
	n := len(w.acts)
	for range 90 {
		w.now, w.real = w.now+second, w.real+second
		if _, err := l.release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range w.acts[n:] {
		if a.Kind == casework.ActStart {
			t.Errorf("after the withdrawal a start was ordered, which put ports on the quarantine: %v", w.changes)
		}
	}
}

// A case that is withdrawn while its machine cannot be started is given back all the same: its ports get their groups.
func TestWithdrawalOfAMachineThatCannotBeStartedGivesItsNetworkBack(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*simulated){
		"nothing was changed":             func(*simulated) {},
		"its owner put a group on a port": func(w *simulated) { w.setPort("p1", "shut") },
	} {
		l, w := newSimulated(t)
		restrictedBy(casework.ActStop)(w)
		change(w)
		w.armed(casework.TimerStart)
		l.know(asset.NewIndex(w.inventory))
		w.doErr = func(do casework.MachineDo) error {
			if do == casework.DoStart {
				return fault.New(fault.Conflict, "cannot start an instance in vm_state error")
			}
			return nil
		}
		_, _ = l.release(t.Context())
		w.change(func(c *casework.Case) { c.State, c.Withdrawn = casework.Verifying, "olga: by mistake" })
		w.due = nil
		w.armed(casework.TimerRelease)
		for range 24 * 14 { // two weeks
			for range 3 {
				_, _ = l.settle(t.Context())
				_, _ = l.release(t.Context())
			}
			w.now, w.real = w.now+hour, w.real+hour
		}
		c, last := w.cases["c1"], w.acts[len(w.acts)-1]
		if slices.Contains(w.ports["p1"].Groups, "quarantine") {
			t.Errorf("%s: two weeks after the withdrawal p1 has %v; the case is %s (%s), the last action is a %s, %s",
				name, w.ports["p1"].Groups, c.State, c.Hold, last.Kind, last.State)
		}
	}
}

// A machine that cannot be started again is unlocked for its owner, its ports get their groups back and its case ends; the operators are
// notified once.
func TestReleaseOfAMachineThatCannotBeStartedReachesAPerson(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	restrictedBy(casework.ActStop)(w)
	w.change(func(c *casework.Case) { c.Withdrawn = "olga: by mistake" })
	w.armed(casework.TimerRelease)
	l.know(asset.NewIndex(w.inventory))
	w.doErr = func(do casework.MachineDo) error {
		if do == casework.DoStart {
			return fault.New(fault.Conflict, "cannot start an instance in vm_state error")
		}
		return nil
	}
	for range 24 * 14 { // two weeks
		_, _ = l.settle(t.Context())
		_, _ = l.release(t.Context())
		w.now, w.real = w.now+hour, w.real+hour
	}
	system := slices.DeleteFunc(slices.Clone(w.mails), func(m casework.Mail) bool { return m.Step != casework.StepSystem })
	if c := w.cases["c1"]; w.servers["s1"].Locked || c.State != casework.Closed || len(c.Lost) != 1 || len(system) != 1 {
		t.Errorf("two weeks after the withdrawal the machine is locked: %t, the case is %s, lost %v, mails %+v; the last action is a %s, %s",
			w.servers["s1"].Locked, c.State, c.Lost, w.mails, w.acts[len(w.acts)-1].Kind, w.acts[len(w.acts)-1].State)
	}
	w.wants(t, map[asset.PortID][]asset.GroupID{"p1": {"open"}, "p2": {"open"}})
}

// A start that the cloud refuses for an hour is held for a person, whether or not a port was put back before it.
func TestStartThatIsRefusedReachesAPerson(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*simulated){
		"nothing was changed":             func(*simulated) {},
		"its owner put a group on a port": func(w *simulated) { w.setPort("p1", "shut") },
	} {
		l, w := newSimulated(t)
		restrictedBy(casework.ActStop)(w)
		change(w)
		w.armed(casework.TimerStart)
		l.know(asset.NewIndex(w.inventory))
		w.doErr = func(casework.MachineDo) error {
			return fault.New(fault.Conflict, "cannot start an instance in vm_state error")
		}
		for range 4 * 60 {
			if w.now < simNow+hour && w.cases["c1"].State == casework.OnHold {
				t.Fatalf("%s: held %d minutes after the first refusal", name, (w.now-simNow)/minute)
			}
			_, _ = l.settle(t.Context())
			_, _ = l.release(t.Context())
			w.now, w.real = w.now+minute, w.real+minute
		}
		c, last := w.cases["c1"], w.acts[len(w.acts)-1]
		if c.State != casework.OnHold || !strings.Contains(c.Hold, "vm_state error") || last.State != casework.ActHeld || c.Act != last.ID {
			t.Errorf("%s: the case is %s (%s) by %s, the start %s is %s", name, c.State, c.Hold, c.Act, last.ID, last.State)
		}
		if in, err := l.inForce(t.Context(), c); err != nil || len(in) == 0 {
			t.Errorf("%s: nothing is in force: %v", name, err)
		}
	}
}

// A port that was unplugged, and whose groups its owner has replaced, is the owner's by now: a release does not open it elsewhere.
func TestReleaseOpensNoPortThatIsElsewhereByNow(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]asset.ServerID{"unplugged": "", "plugged into a machine without a case": "s5"} {
		l, w := newSimulated(t)
		restrictedBy(casework.ActQuarantine)(w)
		p := w.ports["p2"]
		p.Server, p.Device, p.Groups, p.Revision = server, string(server), []asset.GroupID{"shut"}, p.Revision+1
		w.ports["p2"], w.servers["s5"] = p, asset.Server{ID: "s5", Project: "astro", Status: "ACTIVE"}
		for i := range w.inventory.Ports {
			w.inventory.Ports[i] = w.ports[w.inventory.Ports[i].ID]
		}
		w.inventory.Servers = append(w.inventory.Servers, w.servers["s5"])
		l.know(asset.NewIndex(w.inventory))
		if err := l.giveBack(t.Context(), "c1"); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(w.ports["p2"].Groups, []asset.GroupID{"shut"}) {
			t.Errorf("%s: its owner had put p2 on [shut], and the release of s1 put it on %v", name, w.ports["p2"].Groups)
		}
	}
}

// A port that is plugged into another machine that is kept off the network gets its groups back with that one, whether or not somebody
// undid the other's quarantine in between.
func TestPortThatMovedGetsItsGroupsBackWithoutTampering(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	portMoved(w)
	l.know(asset.NewIndex(w.inventory))
	if err := l.giveBack(t.Context(), "c1"); err != nil {
		t.Fatal(err)
	}
	if err := l.watchActs(t.Context()); err != nil { // a sync: nothing of s9 is undone
		t.Fatal(err)
	}
	c2 := w.cases["c2"]
	c2.State, c2.Withdrawn = casework.Verifying, "olga"
	w.cases["c2"] = c2
	if err := l.giveBack(t.Context(), "c2"); err != nil {
		t.Fatal(err)
	}
	c2 = w.cases["c2"]
	if c2.Act != "" || !c2.State.Over() {
		t.Fatalf("c2 is %s by %q", c2.State, c2.Act)
	}
	w.wants(t, map[asset.PortID][]asset.GroupID{"p2": {"open"}, "p9": {"open"}})
	if len(c2.Lost) > 0 {
		t.Errorf("lost %v", c2.Lost)
	}
}

// A port on the quarantine of which no record tells what it had is named by the release.
func TestPortThatCameWithoutRecordIsNamed(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	restrictedBy(casework.ActQuarantine)(w)
	p := w.ports["p2"]
	p.ID = "p4"
	w.ports["p4"] = p
	l.know(asset.NewIndex(w.inventory))
	if err := l.giveBack(t.Context(), "c1"); err != nil {
		t.Fatal(err)
	}
	if c := w.cases["c1"]; c.State != casework.Released || len(c.Lost) != 1 || !strings.Contains(c.Lost[0], "p4") {
		t.Errorf("the case is %s, lost %v", c.State, c.Lost)
	}
}

// A stop that was interrupted before it touched the machine leaves a machine that runs. Its owner's request for release is carried out: the
// fix is checked, since there is nothing to start.
func TestRequestOfAMachineThatWasNeverStoppedIsChecked(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	underWayAs(casework.ActStop, 2)(w) // the ports are done, the machine is not
	w.acts[0].State = casework.ActHeld
	for i := range w.acts[0].Ports {
		w.acts[0].Ports[i].Done = true
	}
	w.groups["open"] = asset.Group{ID: "open", Project: "astro"}
	ds := casework.Dossier{Case: w.cases["c1"], Findings: w.findings}
	step := func(e casework.Event) {
		d := l.draft("people")
		ds = d.apply(ds, e)
		if err := d.commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		ds.Case, ds.Findings = w.cases["c1"], w.findings
	}
	step(casework.Hold{Act: "a1", Stopped: true, Why: "the outcome of an act is unclear: it was stopped half-way: enforcement is paused"})
	step(casework.Resume{By: "olga"})
	step(casework.Claim{By: "amir"})
	w.due = slices.DeleteFunc(w.due, func(d casework.Due) bool { return d.Timer == casework.TimerRecheck }) // the check of the resume was made
	l.know(asset.NewIndex(w.inventory))
	for range 5 {
		if _, err := l.release(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.now, w.real = w.now+hour, w.real+hour
	}
	c := w.cases["c1"]
	if len(w.due) == 0 {
		t.Errorf("nothing is due any more: the case is %s, stopped %t, the machine %s, changed by %v",
			c.State, c.Stopped, w.servers["s1"].Status, w.changes)
	}
}

// A person's decision to end what is left over is carried out by proven orders alone, also where they took the place of others.
func TestDecisionGoesByNoUnprovenEarlierOrder(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	clearing("s1")(w)
	w.acts = append(w.acts, tookThePlace(w.acts[0], "a2", casework.ActHold, nil)) // it says nothing of the machine: a1 does
	for i := range w.leftovers {
		w.leftovers[i].Act = "a2"
	}
	w.forged = true
	sum, err := digest(w.act("a2"))
	if err != nil {
		t.Fatal(err)
	}
	w.enter("c1", w.act("a2").IntendedAt, Happening{Event: "act.intended", Case: "c1", Act: "hold", Order: sum}) // and nothing proves a1
	l.know(asset.NewIndex(w.inventory))
	if _, err := l.clearLeftovers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(w.changes, "start") || slices.Contains(w.changes, "unlock") {
		t.Errorf("by a record that the log does not prove the cloud was changed: %v", w.changes)
	}
}

// A decision about an order whose record leads in a circle, or to one that is missing, is ended, and not tried for ever.
func TestDecisionByBrokenRecordsEnds(t *testing.T) {
	t.Parallel()
	for name, renews := range map[string]string{"a circle": "a1", "missing": "a0"} {
		l, w := newSimulated(t)
		clearing("s1")(w)
		w.acts[0].Renews = renews
		l.know(asset.NewIndex(w.inventory))
		if _, err := l.clearLeftovers(t.Context()); err != nil || len(w.changes) > 0 || len(w.clearings) > 0 {
			t.Errorf("%s: %v, changed by %v, decided %+v", name, err, w.changes, w.clearings)
		}
		if !slices.ContainsFunc(w.log[""], func(e audit.Entry) bool { return e.Kind == "act.disowned" }) {
			t.Errorf("%s: the log does not say so", name)
		}
	}
}

// The quarantine group is read back before a start puts ports on it, as before every use.
func TestStartReadsTheQuarantineBackBeforeUse(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	restrictedBy(casework.ActStop)(w)
	w.setPort("p1", "shut")
	w.armed(casework.TimerStart)
	l.know(asset.NewIndex(w.inventory))
	if _, err := l.release(t.Context()); err != nil || !slices.Contains(w.changes, "set p1") {
		t.Fatalf("%v, %v", err, w.changes)
	}
	if w.count("quarantine") == 0 {
		t.Error("p1 was put on the quarantine group, and nobody looked at what that lets in now")
	}
}

// replaced leaves a stopped machine of which another account acts by now.
func replaced(w *simulated) {
	restrictedBy(casework.ActStop)(w)
	for i := range w.actions {
		w.actions[i].Ours = false
	}
	w.armed(casework.TimerRelease)
}

// A machine that was stopped is given back also where the account that acts is another one by now: the order names the one that did it.
func TestReleaseByAnotherAccountIsComplete(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	w.account = "first"
	replaced(w)
	w.acts[0].Machine.Account, w.account = "first", "second"
	l.know(asset.NewIndex(w.inventory))
	if _, err := l.release(t.Context()); err != nil || w.cases["c1"].State != casework.Released || w.servers["s1"].Locked {
		t.Errorf("the case is %s, the machine %+v, %v", w.cases["c1"].State, w.servers["s1"], err)
	}
	if m := w.acts[len(w.acts)-1].Machine; m == nil || m.Account != "second" {
		t.Errorf("the restore does not name its account: %+v", m)
	}
}

// Where the cloud does not show what was done to a machine, its ports get their groups back all the same, and after an hour a person is
// asked. Once the person lets the case go on, the machine is given back by what it shows.
func TestReleaseThatTheCloudDoesNotRememberReachesAPerson(t *testing.T) {
	t.Parallel()
	for name, withdrawn := range map[string]string{"withdrawn": "olga: by mistake", "proven": ""} {
		l, w := newSimulated(t)
		replaced(w)
		w.change(func(c *casework.Case) { c.Withdrawn = withdrawn })
		l.know(asset.NewIndex(w.inventory))
		_, _ = l.release(t.Context())
		if back := !slices.Contains(w.ports["p1"].Groups, "quarantine"); back != (withdrawn != "") {
			t.Errorf("%s: at once p1 has %v", name, w.ports["p1"].Groups)
		}
		for range 60 {
			w.now, w.real = w.now+minute, w.real+minute
			if w.cases["c1"].State != casework.Verifying {
				t.Fatalf("%s: held after %d minutes", name, (w.now-simNow)/minute)
			}
			_, _ = l.release(t.Context())
		}
		for range 20 {
			_, _ = l.release(t.Context())
			w.now, w.real = w.now+minute, w.real+minute
		}
		mailed := slices.ContainsFunc(w.mails, func(m casework.Mail) bool { return m.Step == casework.StepHeld })
		if c := w.cases["c1"]; c.State != casework.OnHold || c.Act != "a1" || !mailed || w.servers["s1"].Status != "SHUTOFF" {
			t.Fatalf("%s: after more than an hour the case is %s (%s) by %q, mailed: %t", name, c.State, c.Hold, c.Act, mailed)
		}
		w.wants(t, map[asset.PortID][]asset.GroupID{"p1": {"open"}, "p2": {"open"}})
		d := l.draft("people")
		d.apply(casework.Dossier{Case: w.cases["c1"], Findings: w.findings}, casework.Resume{By: "olga"})
		if err := d.commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := l.release(t.Context()); err != nil {
			t.Fatal(err)
		}
		c := w.cases["c1"]
		if c.Act != "" || len(c.Lost) > 0 || w.servers["s1"].Locked || w.servers["s1"].Status != "ACTIVE" {
			t.Errorf("%s: the case is %s by %q, lost %v, the machine %+v", name, c.State, c.Act, c.Lost, w.servers["s1"])
		}
	}
}

// A start whose case is withdrawn between two ports puts no other port on the quarantine, and starts nothing: the machine is given back.
func TestWithdrawalEndsAStartBeforeTheNextPort(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	restrictedBy(casework.ActStop)(w)
	w.setPort("p1", "shut")
	w.setPort("p2", "shut")
	w.armed(casework.TimerStart)
	l.know(asset.NewIndex(w.inventory))
	w.setErr = func(asset.PortID) error {
		w.change(func(c *casework.Case) { c.State, c.Withdrawn = casework.Verifying, "olga: by mistake" })
		return nil
	}
	if _, err := l.release(t.Context()); err != nil || !slices.Equal(w.changes, []string{"set p1"}) {
		t.Fatalf("changed by %v, %v", w.changes, err)
	}
	if _, err := l.release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c := w.cases["c1"]; !c.State.Over() || w.servers["s1"].Status != "ACTIVE" || w.servers["s1"].Locked {
		t.Errorf("the case is %s (%s), the machine %+v", c.State, c.Hold, w.servers["s1"])
	}
	w.wants(t, map[asset.PortID][]asset.GroupID{"p1": {"open", "shut"}, "p2": {"open", "shut"}})
}

// Where nothing was ordered for the machine itself, its release asks the cloud nothing about it: that the cloud gives no answer about the
// machine holds up no port.
func TestReleaseOfPortsAsksNothingAboutTheMachine(t *testing.T) {
	t.Parallel()
	for kind, asks := range map[casework.ActKind]bool{casework.ActQuarantine: false, casework.ActStop: true} {
		l, w := newSimulated(t)
		restrictedBy(kind)(w)
		if _, err := l.wakeUp(t.Context(), w.cases["c1"], simActOf(l, "a1")); err != nil {
			t.Fatal(err)
		}
		if asked := slices.Contains(w.calls, "machine"); asked != asks {
			t.Errorf("%s: asked %t, by %v", kind, asked, w.calls)
		}
	}
}
