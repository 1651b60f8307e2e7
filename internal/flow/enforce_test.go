package flow

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/policy"
)

// armed arms a timer that has fallen due.
func (w *simulated) armed(t casework.Timer) {
	w.due = append(w.due, casework.Due{Case: "c1", Timer: t, At: w.now})
}

// ending makes the class of the case end in something else, in the policy and in what was announced.
func ending(l *Line, w *simulated, end policy.End) {
	p := *l.base
	p.Classes = map[string]policy.Class{}
	for name, k := range l.base.Classes {
		if name == "E" {
			k.End = end
		}
		p.Classes[name] = k
	}
	l.base, l.Policy = &p, p.InMode(policy.Enforce)
	w.log["c1"] = slices.DeleteFunc(w.log["c1"], func(e audit.Entry) bool { return e.Kind == "mail.accepted" || e.Kind == "people.approved" })
	w.change(func(c *casework.Case) {
		for i := range c.Notices {
			c.Notices[i].End = end
			w.enter("c1", c.Notices[i].AcceptedAt, Happening{Event: "mail.accepted", Notice: &c.Notices[i]})
		}
	})
	w.enter("c1", simGrace+minute, Happening{Event: "people.approved", Approval: &w.cases["c1"].Approvals[0]})
}

// An approved action is carried out as it was announced, in the order in which nothing can slip through, and what it changes is written
// down
// before; whatever stands against it at the last moment refuses it, and nothing is changed.
func TestApprovedActionIsCarriedOutOrRefused(t *testing.T) {
	t.Parallel()
	foreign := func(status string) func(*Line, *simulated) {
		return func(_ *Line, w *simulated) {
			w.ports["p9"] = asset.Port{ID: "p9", Project: "genomics", Server: "s1", Status: status, PortSecurity: true, Revision: 1}
		}
	}
	both := []string{"set p1", "set p2"}
	for name, c := range map[string]struct {
		world   func(*Line, *simulated)
		changes []string
		refused string // the condition
	}{
		"a quarantine": {func(*Line, *simulated) {}, both, ""},
		"a stop": {func(l *Line, w *simulated) {
			ending(l, w, policy.Stop)
		}, []string{"set p1", "set p2", "lock", "stop"}, ""},
		"a foreign port that is plugged in": {foreign("ACTIVE"), nil, "foreign-port"},
		"a foreign port that is not":        {foreign("DOWN"), both, ""},
		"no port":                           {func(_ *Line, w *simulated) { w.ports = nil }, nil, "ports"},
		"port security switched off since": {func(_ *Line, w *simulated) {
			p := w.ports["p2"]
			p.PortSecurity = false
			w.ports["p2"] = p
		}, nil, "port-security"},
		"that a person decided against": {func(_ *Line, w *simulated) {
			p := w.ports["p2"]
			p.PortSecurity = false
			w.ports["p2"] = p
			w.change(func(c *casework.Case) {
				c.Approvals[0].Despite, c.Approvals[0].Why = []string{"port-security"}, "checked"
			})
			w.enter("c1", simNow, Happening{Event: "people.approved", Approval: &w.cases["c1"].Approvals[0]})
		}, both, ""},
		"no account":                {func(l *Line, _ *simulated) { l.Actor = nil }, nil, "actor"},
		"the machine is gone":       {func(_ *Line, w *simulated) { delete(w.servers, "s1") }, nil, "identity"},
		"the weakness is not there": {func(_ *Line, w *simulated) { w.says = "closed" }, nil, "the check"},
		"paused after the gate spoke": {func(_ *Line, w *simulated) {
			w.before = func(call string) { w.paused = w.paused || call == "quarantine" }
		}, nil, "switch"},
		"paused between gate and order": {func(_ *Line, w *simulated) {
			w.before = func(call string) { w.paused = w.paused || call == "acts" && w.count("acts") == 1 }
		}, nil, "switch"},
		"clocks that disagree at the last moment": {func(_ *Line, w *simulated) {
			w.before = func(call string) {
				if call == "ports" {
					w.doubt = "the wall clock jumped"
				}
			}
		}, nil, "clock"},
	} {
		t.Run(name, func(t *testing.T) {
			l, w := newSimulated(t)
			w.armed(casework.TimerEnforce)
			c.world(l, w)
			if _, err := l.enforce(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(w.changes, c.changes) {
				t.Errorf("the cloud was changed by %v, want %v", w.changes, c.changes)
			}
			got := w.cases["c1"]
			if c.refused == "the check" { // it moved the case back before the gate was asked
				if len(w.acts) > 0 || got.State != casework.FinalWarning || len(got.Approvals) > 0 {
					t.Errorf("%d actions written, the case is %s", len(w.acts), got.State)
				}
				return
			}
			if c.refused != "" {
				if len(got.Blocks) != 1 || got.Blocks[0].Condition != c.refused || len(w.acts) > 0 || len(got.Approvals) > 0 {
					t.Errorf("refused by %v, %d actions written, %d approvals left", got.Blocks, len(w.acts), len(got.Approvals))
				}
				return
			}
			if len(w.acts) != 1 || got.State != casework.Restricted || got.Act != w.acts[0].ID || got.Stopped != slices.Contains(c.changes, "stop") {
				t.Fatalf("the case is %s by %q, stopped %t; %d actions", got.State, got.Act, got.Stopped, len(w.acts))
			}
			a := w.acts[0]
			if !slices.Equal(a.By, []string{"olga"}) || a.Saved == nil || a.Saved.Status != "ACTIVE" ||
				!slices.Equal(a.Ports[0].Saved, []asset.GroupID{"open"}) ||
				(a.Kind == casework.ActStop) != got.Stopped {
				t.Errorf("written down as %+v", a)
			}
			i := slices.IndexFunc(w.commits, func(x casework.Change) bool { return len(x.Acts) > 0 })
			if w.commits[i].Require != restricting || w.commits[i].Acts[0].State != casework.ActIntended || len(w.commits[i].Cases) != 1 {
				t.Errorf("the intent was written with %+v", w.commits[i].Require)
			}
			if s := w.servers["s1"]; got.Stopped && (!s.Locked || !strings.HasPrefix(s.LockedReason.Raw(), lockPrefix)) {
				t.Errorf("locked with %q", s.LockedReason.Raw())
			}
		})
	}
}

// count is how often a call was made.
func (w *simulated) count(call string) int {
	n := 0
	for _, c := range w.calls {
		if c == call {
			n++
		}
	}
	return n
}

// Two actions that fit the budgets alone and not together are both refused.
func TestBatchOverBudgetIsRefusedWhole(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	f, _ := decided(t, l)
	a := attempt{ds: casework.Dossier{Case: w.cases["c1"]}, facts: f}
	elsewhere := a
	elsewhere.ds.Case.Project = "genomics"
	for name, c := range map[string]struct {
		batch []attempt
		over  bool
	}{
		"one":                 {[]attempt{a}, false},
		"two of a project":    {[]attempt{a, a}, true},
		"two of two projects": {[]attempt{a, elsewhere}, true},
		"none":                {nil, false},
	} {
		over := overBudget(c.batch, l)
		if (len(over) > 0) != c.over || c.over && over[0].Condition != "budget" {
			t.Errorf("%s: %v", name, over)
		}
	}
	l.Policy.Budgets.CloudHour, l.Policy.Budgets.CloudDay, l.Policy.Budgets.CloudShare = 9, 9, 1
	f.Usage.CloudServers = 9
	a.facts, elsewhere.facts = f, f
	if over := overBudget([]attempt{a, elsewhere}, l); len(over) > 0 {
		t.Errorf("one of each project: %v", over)
	}
	if over := overBudget([]attempt{a, a}, l); len(over) != 1 || over[0].Condition != "budget" {
		t.Errorf("two of one project: %v", over)
	}
}

// A port that is on the quarantine already gives back what the latest action on it saved, and not the quarantine.
func TestPortThatIsOnTheQuarantineAlreadyGetsBackWhatWasSaved(t *testing.T) {
	t.Parallel()
	group := []asset.GroupID{"quarantine"}
	on := asset.Port{ID: "p1", Groups: group, PortSecurity: true, Revision: 9}
	order := func(kind casework.ActKind, at int64, saved ...asset.GroupID) casework.Act {
		return casework.Act{
			Kind:       kind,
			IntendedAt: at,
			Ports:      []casework.PortOrder{{Port: "p1", Saved: saved, After: group}, {Port: "p2", Saved: []asset.GroupID{"other"}, After: group}},
		}
	}
	for name, c := range map[string]struct {
		port    asset.Port
		earlier []casework.Act
		saved   asset.GroupID
	}{
		"an ordinary port": {
			asset.Port{ID: "p1", Groups: []asset.GroupID{"open"}, PortSecurity: true},
			[]casework.Act{order(casework.ActQuarantine, 1, "old")}, "open",
		},
		"saved once":       {on, []casework.Act{order(casework.ActQuarantine, 1, "old")}, "old"},
		"saved twice":      {on, []casework.Act{order(casework.ActQuarantine, 1, "old"), order(casework.ActStop, 2, "new")}, "new"},
		"in another order": {on, []casework.Act{order(casework.ActStop, 2, "new"), order(casework.ActQuarantine, 1, "old")}, "new"},
		"at a start":       {on, []casework.Act{order(casework.ActStop, 1, "old"), order(casework.ActStart, 2, "new")}, "new"},
		"by a release":     {on, []casework.Act{order(casework.ActQuarantine, 1, "old"), order(casework.ActRestore, 2, "back")}, "old"},
		"the quarantine itself": {
			on,
			[]casework.Act{order(casework.ActQuarantine, 1, "old"), order(casework.ActQuarantine, 2, "quarantine")},
			"old",
		},
	} {
		if o, err := closing(c.port, group, c.earlier); err != nil || !slices.Equal(o.Saved, []asset.GroupID{c.saved}) ||
			o.Done != (c.port.Groups[0] == "quarantine") {
			t.Errorf("%s: saved %v, done %t", name, o.Saved, o.Done)
		}
	}
}

// A port that is in quarantine already, by no order that is recorded, is left alone: what it had before is not known, and an order
// that saved the quarantine group would give it back.
func TestPortInQuarantineWithoutRecordIsLeftAlone(t *testing.T) {
	t.Parallel()
	port, group := asset.Port{ID: "p", Groups: []asset.GroupID{"quarantine"}, PortSecurity: true}, []asset.GroupID{"quarantine"}
	order := func(saved asset.GroupID) casework.Act {
		return casework.Act{
			Kind:       casework.ActQuarantine,
			IntendedAt: 1,
			Ports:      []casework.PortOrder{{Port: "p", After: group, Saved: []asset.GroupID{saved}}},
		}
	}
	for name, c := range map[string]struct {
		earlier []casework.Act
		known   bool
	}{
		"no order":                            {nil, false},
		"an order that saved the group":       {[]casework.Act{order("quarantine")}, false},
		"an order that saved what it had":     {[]casework.Act{order("web")}, true},
		"one that saved it, and one that not": {[]casework.Act{order("web"), order("quarantine")}, true},
	} {
		o, err := closing(port, group, c.earlier)
		if c.known && (err != nil || !casework.SameGroups(o.Saved, []asset.GroupID{"web"})) {
			t.Errorf("%s: gives back %v, %v", name, o.Saved, err)
		}
		if e, is := errors.AsType[*unrecordedError](err); !c.known && (!is || e.refusal().Condition != "ports") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A port that its owner plugged in from another machine in quarantine keeps no action from happening: what it had is saved with the order
// about the other machine. An order that the log does not prove says nothing.
func TestPortInQuarantineFromElsewhereKeepsNoActionFromHappening(t *testing.T) {
	t.Parallel()
	for name, proven := range map[string]bool{"proven": true, "unproven": false} {
		l, w := newSimulated(t)
		w.acts = append(w.acts, casework.Act{ID: "a0", Case: "c0", Cloud: "lab", Server: "s0", Project: "astro", Kind: casework.ActQuarantine,
			State: casework.ActDone, Version: 1, Ports: []casework.PortOrder{{Port: "p2", Before: []asset.GroupID{"open"},
				Saved: []asset.GroupID{"open"}, After: []asset.GroupID{"quarantine"}, Revision: 7, Done: true}}})
		w.setPort("p2", "quarantine")
		w.changes, w.forged = nil, !proven
		w.armed(casework.TimerEnforce)
		if _, err := l.enforce(t.Context()); err != nil {
			t.Fatal(err)
		}
		c := w.cases["c1"]
		if (c.State == casework.Restricted) != proven || len(c.Blocks) != map[bool]int{false: 1}[proven] {
			t.Errorf("%s: the case is %s, changed by %v; refused by %v", name, c.State, w.changes, c.Blocks)
		}
		if act := w.act(c.Act); proven && !slices.ContainsFunc(act.Ports, func(o casework.PortOrder) bool {
			return o.Port == "p2" && o.Done && slices.Equal(o.Saved, []asset.GroupID{"open"})
		}) {
			t.Errorf("%s: saved %+v", name, act.Ports)
		}
	}
}

// Where no port of the machine is on the quarantine, an action asks for no earlier orders, so that a ledger
// in which these cannot be read does not hold it up.
func TestEarlierOrdersAreAskedForOnlyWhereAPortIsOnTheQuarantine(t *testing.T) {
	t.Parallel()
	for groups, asks := range map[asset.GroupID]bool{"open": false, "quarantine": true} {
		l, w := newSimulated(t)
		has := []asset.Port{{ID: "p1", Groups: []asset.GroupID{groups}}}
		if _, err := l.savedBefore(t.Context(), w.cases["c1"], has, []asset.GroupID{"quarantine"}); err != nil {
			t.Fatal(err)
		}
		if asked := slices.Contains(w.calls, "restricting"); asked != asks {
			t.Errorf("a port on %s: asked %t, by %v", groups, asked, w.calls)
		}
	}
}
