package flow

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/cloud"
	"demarc/internal/fault"
	"demarc/internal/policy"
	"demarc/internal/untrusted"
)

// settledAs is what must hold after an unknown outcome was settled.
type settledAs struct {
	state   casework.ActState
	changes []string // of the cloud, in their order
	at      casework.State
	failed  bool // it is tried again
}

// What became of an action is read from the cloud: what is done counts, what certainly never happened goes back to the gate, a half-done
// action is completed only while everything that the gate decided on still holds, and anything else is a person's decision.
func TestOutcomeIsReadFromTheCloud(t *testing.T) {
	t.Parallel()
	half := underWayAs(casework.ActQuarantine, 1)
	completed := settledAs{casework.ActDone, []string{"set p2"}, casework.Restricted, false}
	held := settledAs{casework.ActHeld, nil, casework.OnHold, false}
	with := func(fs ...func(*simulated)) func(*simulated) {
		return func(w *simulated) {
			for _, f := range fs {
				f(w)
			}
		}
	}
	for name, c := range map[string]struct {
		world func(*simulated)
		want  settledAs
	}{
		"all is done":                 {underWayAs(casework.ActQuarantine, 2), settledAs{casework.ActDone, nil, casework.Restricted, false}},
		"half is done":                {half, completed},
		"half, just in time":          {with(half, aged(hour)), completed},
		"half, too old":               {with(half, aged(hour+1)), held},
		"half, paused":                {with(half, func(w *simulated) { w.paused = true }), held},
		"half, in a lower mode":       {with(half, func(w *simulated) { w.mode = policy.Notify }), held},
		"half, withdrawn":             {with(half, func(w *simulated) { w.change(func(c *casework.Case) { c.Withdrawn = "olga" }) }), held},
		"half, the provider's by now": {with(half, func(w *simulated) { w.inventory.Projects = w.inventory.Projects[1:] }), held},
		"half, no longer proved":      {with(half, func(w *simulated) { w.findings[0].Grade = "stated" }), held},
		"half, fixed by now":          {with(half, func(w *simulated) { w.findings[0].State = "fixed" }), held},
		"half, of another class":      {with(half, func(w *simulated) { w.findings[0].Class = "M" }), held},
		"half, and a port altered":    {with(half, func(w *simulated) { w.setPort("p2", "shut") }), held},
		"half, and a port deleted":    {with(half, func(w *simulated) { delete(w.ports, "p2") }), held},
		"nothing is done": {
			underWayAs(casework.ActQuarantine, 0),
			settledAs{casework.ActVoid, []string{"set p1", "set p2"}, casework.Queued, false},
		},
		"all ports altered": {with(underWayAs(casework.ActQuarantine, 0), func(w *simulated) {
			w.setPort("p1", "shut")
			w.setPort("p2", "shut")
		}), held},
		"put back, and all ports altered": {with(underWayAs(casework.ActHold, 0), func(w *simulated) {
			w.setPort("p1", "shut")
			w.setPort("p2", "shut")
		}), settledAs{casework.ActVoid, nil, casework.Queued, false}},
		"the cloud takes no change": {
			with(underWayAs(casework.ActQuarantine, 0), refusing(errors.New("down"))),
			settledAs{casework.ActIntended, nil, casework.Queued, true},
		},
		"it took none for long": {
			with(underWayAs(casework.ActQuarantine, 0), refusing(errors.New("down")), aged(5*minute+1)),
			settledAs{casework.ActVoid, nil, casework.Queued, false},
		},
		"it took none for a while": {
			with(underWayAs(casework.ActQuarantine, 0), refusing(errors.New("down")), aged(5*minute)),
			settledAs{casework.ActIntended, nil, casework.Queued, true},
		},
		"the port was altered since": {
			with(underWayAs(casework.ActQuarantine, 0), refusing(cloud.ErrStale), aged(10*minute)),
			settledAs{casework.ActIntended, nil, casework.Queued, true},
		},
		"a stop, ports alone": {
			underWayAs(casework.ActStop, 2),
			settledAs{casework.ActDone, []string{"lock", "stop"}, casework.Restricted, false},
		},
		"a stop, locked already": {with(underWayAs(casework.ActStop, 2), func(w *simulated) {
			w.did("s1", casework.DoLock, w.acts[0].Machine.Reason)
			w.changes = nil
		}), settledAs{casework.ActDone, []string{"stop"}, casework.Restricted, false}},
		"a stop, all done": {with(underWayAs(casework.ActStop, 2), func(w *simulated) {
			w.did("s1", casework.DoLock, w.acts[0].Machine.Reason)
			w.did("s1", casework.DoStop, "")
			w.changes = nil
		}), settledAs{casework.ActDone, nil, casework.Restricted, false}},
		"a stop, paused": {with(underWayAs(casework.ActStop, 2), func(w *simulated) { w.paused = true }), held},
		"a stop, started again": {with(underWayAs(casework.ActStop, 2), func(w *simulated) {
			w.did("s1", casework.DoLock, w.acts[0].Machine.Reason)
			w.did("s1", casework.DoStop, "")
			w.did("s1", casework.DoStart, "")
			w.changes = nil
		}), held},
		"a stop, the machine is gone": {with(underWayAs(casework.ActStop, 2), func(w *simulated) { delete(w.servers, "s1") }), held},
		"a stop, of a machine off": {with(underWayAs(casework.ActStop, 2), func(w *simulated) {
			s := w.servers["s1"]
			s.Status = "SHUTOFF"
			w.servers["s1"] = s
		}), settledAs{casework.ActDone, []string{"lock"}, casework.Restricted, false}},
	} {
		t.Run(name, func(t *testing.T) {
			l, w := newSimulated(t)
			c.world(w)
			l.know(asset.NewIndex(w.inventory))
			_, err := l.settle(t.Context())
			if (err != nil) != c.want.failed {
				t.Errorf("it says %v", err)
			}
			a := w.act("a1")
			if got := w.cases["c1"].State; a.State != c.want.state || !slices.Equal(w.changes, c.want.changes) || got != c.want.at {
				t.Errorf("the action is %s (%s), the cloud was changed by %v, the case is %s; want %+v", a.State, a.Note, w.changes, got, c.want)
			}
			if a.State == casework.ActHeld && (w.cases["c1"].Act != "a1" || w.cases["c1"].Stopped != halted(a)) {
				t.Errorf("the case does not know what must be undone: %q, stopped %t", w.cases["c1"].Act, w.cases["c1"].Stopped)
			}
			if a.State == casework.ActVoid && a.Kind != casework.ActHold &&
				(!slices.Contains(w.due, casework.Due{Case: "c1", Timer: casework.TimerEnforce, At: w.now}) || !l.waiting("enforce c1")) {
				t.Errorf("it does not go back to the gate a little later: %v", w.due)
			}
			if c.want.failed && !l.waiting("settle a1") {
				t.Error("it is asked again at once")
			}
		})
	}
}

// aged makes the action older: its intent was written so long ago.
func aged(us int64) func(*simulated) {
	return func(w *simulated) { w.acts[0].IntendedAt, w.acts[0].RealAt = w.now-us, w.real-us }
}

// refusing makes the cloud answer every change of a port with an error.
func refusing(err error) func(*simulated) {
	return func(w *simulated) { w.setErr = func(asset.PortID) error { return err } }
}

// What a call says while an action is carried out decides what follows.
func TestAnswerDecidesWhatFollows(t *testing.T) {
	t.Parallel()
	refused := fault.New(fault.Conflict, "the cloud says no")
	at := func(id asset.PortID, err error, first func(*simulated)) func(*simulated) {
		return func(w *simulated) {
			w.setErr = func(p asset.PortID) error {
				if p != id {
					return nil
				}
				if first != nil {
					f := first
					first = nil
					f(w)
				}
				return err
			}
		}
	}
	for name, c := range map[string]struct {
		kind  casework.ActKind
		world func(*simulated)
		want  settledAs
	}{
		"all goes well": {
			casework.ActQuarantine, func(*simulated) {},
			settledAs{casework.ActDone, []string{"set p1", "set p2"}, casework.Restricted, false},
		},
		"a stop goes well": {
			casework.ActStop, func(*simulated) {},
			settledAs{casework.ActDone, []string{"set p1", "set p2", "lock", "stop"}, casework.Restricted, false},
		},
		"the first is stale": {
			casework.ActQuarantine, at("p1", cloud.ErrStale, nil),
			settledAs{casework.ActVoid, nil, casework.Queued, false},
		},
		"its owner altered the first": {casework.ActQuarantine, at("p1", cloud.ErrStale, func(w *simulated) {
			w.setPort("p1", "shut")
		}), settledAs{casework.ActVoid, nil, casework.Queued, false}},
		"the second is stale": {
			casework.ActQuarantine, at("p2", cloud.ErrStale, nil),
			settledAs{casework.ActIntended, []string{"set p1"}, casework.Queued, true},
		},
		"its owner altered the second": {casework.ActQuarantine, at("p2", cloud.ErrStale, func(w *simulated) {
			w.setPort("p2", "shut")
		}), settledAs{casework.ActHeld, []string{"set p1"}, casework.OnHold, false}},
		"the second is deleted": {casework.ActQuarantine, at("p2", cloud.ErrNotFound, func(w *simulated) {
			delete(w.ports, "p2")
		}), settledAs{casework.ActHeld, []string{"set p1"}, casework.OnHold, false}},
		"the first is refused": {
			casework.ActQuarantine, at("p1", refused, nil),
			settledAs{casework.ActVoid, nil, casework.Queued, false},
		},
		"the first was not reached": {
			casework.ActQuarantine, at("p1", errSimulated, nil),
			settledAs{casework.ActVoid, nil, casework.Queued, true},
		},
		"the answer is lost, undone": {
			casework.ActQuarantine, lostAt("p1", false),
			settledAs{casework.ActVoid, []string{"set p1", "set p2"}, casework.Queued, false},
		},
		"the answer is lost, done": {
			casework.ActQuarantine, lostAt("p2", true),
			settledAs{casework.ActDone, []string{"set p1", "set p2"}, casework.Restricted, false},
		},
		"paused after the first": {casework.ActQuarantine, at("p1", nil, func(w *simulated) {
			w.paused = true
		}), settledAs{casework.ActHeld, []string{"set p1"}, casework.OnHold, false}},
		"withdrawn after the first": {casework.ActQuarantine, at("p1", nil, func(w *simulated) {
			w.change(func(c *casework.Case) { c.Withdrawn = "olga" })
		}), settledAs{casework.ActHeld, []string{"set p1"}, casework.OnHold, false}},
		"paused after the ports": {casework.ActStop, at("p2", nil, func(w *simulated) {
			w.paused = true
		}), settledAs{casework.ActHeld, []string{"set p1", "set p2"}, casework.OnHold, false}},
		"paused before": {casework.ActQuarantine, func(w *simulated) {
			w.paused = true
		}, settledAs{casework.ActVoid, nil, casework.Queued, false}},
		"the lock is lost": {casework.ActStop, func(w *simulated) {
			w.doErr = func(casework.MachineDo) error { return cloud.ErrUnknownOutcome }
		}, settledAs{casework.ActIntended, []string{"set p1", "set p2"}, casework.Queued, true}},
	} {
		t.Run(name, func(t *testing.T) {
			l, w := newSimulated(t)
			underWayAs(c.kind, 0)(w)
			c.world(w)
			err := l.carryOut(t.Context(), w.acts[0])
			if (err != nil) != c.want.failed {
				t.Errorf("it says %v", err)
			}
			a := w.act("a1")
			if got := w.cases["c1"].State; a.State != c.want.state || !slices.Equal(w.changes, c.want.changes) || got != c.want.at {
				t.Errorf("the action is %s (%s), the cloud was changed by %v, the case is %s; want %+v", a.State, a.Note, w.changes, got, c.want)
			}
		})
	}
}

// lostAt loses the answer to the first change of a port, which was done or not.
func lostAt(id asset.PortID, done bool) func(*simulated) {
	return func(w *simulated) {
		lost := false
		w.setErr = func(p asset.PortID) error {
			if p != id || lost {
				return nil
			}
			lost = true
			if done {
				w.setPort(id, "quarantine")
				w.changes = append(w.changes, "set "+string(id))
			}
			return cloud.ErrUnknownOutcome
		}
	}
}

// A release is settled too, and neither its age nor a pause stops it: an owner never waits for a switch.
func TestReleaseIsSettledWhateverTheSwitchSays(t *testing.T) {
	t.Parallel()
	for name, world := range map[string]func(*simulated){"fresh": func(*simulated) {}, "old": func(w *simulated) {
		w.acts[1].IntendedAt -= 9 * day
	}, "paused": func(w *simulated) { w.paused = true }} {
		l, w := newSimulated(t)
		restrictedBy(casework.ActQuarantine)(w)
		back := casework.Act{
			ID:         "a2",
			Case:       "c1",
			Cloud:      "lab",
			Server:     "s1",
			Project:    "astro",
			Kind:       casework.ActRestore,
			Undoes:     "a1",
			State:      casework.ActIntended,
			IntendedAt: simNow - minute,
			RealAt:     simNow - minute,
		}
		for _, o := range w.acts[0].Ports {
			p := w.ports[o.Port]
			back.Ports = append(back.Ports, casework.PortOrder{Port: o.Port, Before: p.Groups, After: o.Saved, Saved: o.Saved, Revision: p.Revision})
		}
		w.acts = append(w.acts, back)
		w.setPort("p1", "open")
		world(w)
		l.know(asset.NewIndex(w.inventory))
		if _, err := l.settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if a := w.act("a2"); a.State != casework.ActDone || !slices.Equal(w.changes, []string{"set p2"}) ||
			w.cases["c1"].State != casework.Released {
			t.Errorf("%s: the release is %s (%s), %v, the case %s", name, a.State, a.Note, w.changes, w.cases["c1"].State)
		}
	}
}

// A start whose answer was lost is not written off while it may still arrive: the machine would run when its ports are changed.
func TestStartThatMayArriveIsWaitedFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		age   int64
		state casework.ActState
	}{
		"at once":                           {minute, casework.ActIntended},
		"as long as a request is under way": {5 * minute, casework.ActIntended},
		"later":                             {5*minute + 1, casework.ActVoid},
	} {
		l, w := newSimulated(t)
		restrictedBy(casework.ActStop)(w)
		start := casework.Act{
			ID:         "a2",
			Case:       "c1",
			Cloud:      "lab",
			Server:     "s1",
			Project:    "astro",
			Kind:       casework.ActStart,
			State:      casework.ActIntended,
			IntendedAt: simNow - c.age,
			RealAt:     simNow - c.age,
			Machine:    machineOrder(w.actions, "", casework.DoStart),
		}
		w.acts = append(w.acts, start)
		l.know(asset.NewIndex(w.inventory))
		_, err := l.settle(t.Context())
		if a := w.act("a2"); a.State != c.state || (err != nil) != (c.state == casework.ActIntended) || len(w.changes) > 0 {
			t.Errorf("%s: the start is %s, %v, %v", name, a.State, err, w.changes)
		}
	}
}

// A hold that is taken back half-way is in force from then on, so that it is undone with the rest.
func TestHalfDoneActionOfACaseThatIsTakenBackIsUndone(t *testing.T) {
	t.Parallel()
	for _, kind := range []casework.ActKind{casework.ActHold, casework.ActQuarantine, casework.ActStop} {
		l, w := newSimulated(t)
		underWayAs(kind, 1)(w)
		w.change(func(c *casework.Case) { c.State, c.Withdrawn = casework.Verifying, "olga" })
		if kind == casework.ActHold {
			w.acts[0].Renews = "a0"
			w.change(func(c *casework.Case) { c.Act = "a0" })
		}
		if _, err := l.settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		c := w.cases["c1"]
		if w.act("a1").State != casework.ActHeld || c.Act != "a1" || c.State == casework.OnHold || len(w.changes) > 0 {
			t.Errorf("%s: the action is %s, the case %s with %q, %v", kind, w.act("a1").State, c.State, c.Act, w.changes)
		}
		if !slices.Contains(w.due, casework.Due{Case: "c1", Timer: casework.TimerRelease, At: w.now}) {
			t.Errorf("%s: it is not undone: %v", kind, w.due)
		}
	}
}

// An action goes on only while its case stands where it stood.
func TestActionGoesOnOnlyWhileItsCaseStands(t *testing.T) {
	t.Parallel()
	quarantine, hold := casework.Act{Kind: casework.ActQuarantine}, casework.Act{Kind: casework.ActHold, Renews: "a1"}
	for _, c := range []struct {
		name string
		act  casework.Act
		on   casework.Case
		goes bool
	}{
		{"queued", quarantine, casework.Case{State: casework.Queued}, true},
		{"back in final warning", quarantine, casework.Case{State: casework.FinalWarning}, false},
		{"restricted already", quarantine, casework.Case{State: casework.Restricted}, false},
		{"on hold", quarantine, casework.Case{State: casework.OnHold}, false},
		{"withdrawn", quarantine, casework.Case{State: casework.Queued, Withdrawn: "olga"}, false},
		{"reassigned", quarantine, casework.Case{State: casework.Queued, Handed: true, Passed: "a contract began"}, false},
		{"deleted", quarantine, casework.Case{State: casework.Queued, Deleted: 1}, false},
		{"a hold, restricted", hold, casework.Case{State: casework.Restricted, Act: "a1"}, true},
		{"a hold, verifying", hold, casework.Case{State: casework.Verifying, Act: "a1"}, true},
		{"a hold of another action", hold, casework.Case{State: casework.Restricted, Act: "a2"}, false},
		{"a hold, released", hold, casework.Case{State: casework.Released, Act: "a1"}, false},
		{"a hold, queued", hold, casework.Case{State: casework.Queued, Act: "a1"}, false},
		{"a hold, withdrawn", hold, casework.Case{State: casework.Restricted, Act: "a1", Withdrawn: "olga"}, false},
	} {
		if why := movedOn(c.on, c.act); (why == "") != c.goes {
			t.Errorf("%s: %q", c.name, why)
		}
	}
}

// A machine that its owner had switched off stays off, and somebody else's lock stays.
func TestOnlyWhatWasDoneToAMachineIsUndone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		world func(*simulated)
		want  []casework.MachineDo
	}{
		"stopped and locked":    {func(*simulated) {}, []casework.MachineDo{casework.DoStart, casework.DoUnlock}},
		"off before":            {func(w *simulated) { w.acts[0].Saved.Status = "SHUTOFF" }, []casework.MachineDo{casework.DoUnlock}},
		"not known whether off": {func(w *simulated) { w.acts[0].Saved = nil }, []casework.MachineDo{casework.DoUnlock}},
		"off by itself":         {func(w *simulated) { w.acts[0].Machine.Steps[1].Idle = true }, []casework.MachineDo{casework.DoUnlock}},
		"runs again": {func(w *simulated) {
			s := w.servers["s1"]
			s.Status = "ACTIVE"
			w.servers["s1"] = s
		}, []casework.MachineDo{casework.DoUnlock}},
		"locked by somebody else": {func(w *simulated) {
			s := w.servers["s1"]
			s.LockedReason = untrusted.From("forensics")
			w.servers["s1"] = s
		}, []casework.MachineDo{casework.DoStart}},
		"unlocked since": {func(w *simulated) {
			s := w.servers["s1"]
			s.Locked = false
			w.servers["s1"] = s
		}, []casework.MachineDo{casework.DoStart}},
	} {
		l, w := newSimulated(t)
		restrictedBy(casework.ActStop)(w)
		c.world(w)
		m, err := l.wakeUp(t.Context(), w.cases["c1"], w.acts[0])
		if err != nil {
			t.Fatal(err)
		}
		var got []casework.MachineDo
		for _, s := range m.Steps {
			got = append(got, s.Do)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// A cloud that forgets what was done to a machine is not believed: what stands would be left as it is, and be called undone.
func TestOldMemoryOfAMachineIsNotBelieved(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	restrictedBy(casework.ActStop)(w)
	w.actions = nil
	if _, err := l.wakeUp(t.Context(), w.cases["c1"], w.acts[0]); !errors.Is(err, errOld) {
		t.Errorf("%v", err)
	}
}

// Only what is this cloud's is settled, and only where there is an account to ask with; what is put off waits.
func TestOnlyWhatCanBeAskedIsSettled(t *testing.T) {
	t.Parallel()
	for name, world := range map[string]func(*Line, *simulated){
		"another cloud's": func(_ *Line, w *simulated) { w.acts[0].Cloud = "other" },
		"no account":      func(l *Line, _ *simulated) { l.Actor = nil },
		"put off":         func(l *Line, _ *simulated) { l.putOff("settle a1", errSimulated) },
	} {
		l, w := newSimulated(t)
		underWayAs(casework.ActQuarantine, 2)(w)
		world(l, w)
		if did, err := l.settle(t.Context()); did || err != nil || w.acts[0].State != casework.ActIntended {
			t.Errorf("%s: did %t, %v, the action is %s", name, did, err, w.acts[0].State)
		}
	}
}

// A port that was so before an order is no part of it that is done: an order that died before its first call is void while enforcement is
// paused, and stays due.
func TestWhatWasSoBeforeIsNotDone(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	undoneBy(func(w *simulated) { w.change(func(c *casework.Case) { c.State = casework.Restricted }) })(w)
	w.before = func(call string) {
		if call == "set p1" {
			panic("the process dies")
		}
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = l.hold(t.Context())
	}()
	w.before, w.paused = nil, true
	l = w.line(t)
	l.know(asset.NewIndex(w.inventory))
	for range 3 {
		_, _ = l.settle(t.Context())
		w.now, w.real = w.now+10*minute, w.real+10*minute
	}
	last := w.acts[len(w.acts)-1]
	if c := w.cases["c1"]; last.State != casework.ActVoid || c.State != casework.Restricted || c.Act != "a1" {
		t.Errorf("the order is %s (%s), the case %s (%s)", last.State, last.Note, c.State, c.Hold)
	}
}

// A start whose answer was lost is not asked for again before the first request can no longer arrive.
func TestStartThatMayArriveIsNotRepeated(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	restrictedBy(casework.ActStop)(w)
	w.armed(casework.TimerStart)
	l.know(asset.NewIndex(w.inventory))
	asked := 0
	w.doErr = func(do casework.MachineDo) error {
		if do != casework.DoStart {
			return nil
		}
		asked++
		return cloud.ErrUnknownOutcome
	}
	_, _ = l.release(t.Context())
	for range 3 {
		_, _ = l.settle(t.Context())
		w.now, w.real = w.now+minute, w.real+minute
	}
	if asked != 1 {
		t.Errorf("asked %d times within three minutes", asked)
	}
}

// An owner whose script alters a port before each approved action, so that it never takes effect, does not keep that from people: after a
// day of tries a person must look.
func TestActionThatAlwaysComesTooLateReachesAPerson(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	w.armed(casework.TimerEnforce)
	p := *l.base // each try counts as an action in the simulated log
	p.Budgets.ProjectHour, p.Budgets.ProjectShare, p.Budgets.CloudShare, p.Budgets.CloudHour, p.Budgets.CloudDay = 99, 99, 99, 99, 99
	l.base, l.Policy = &p, p.InMode(policy.Enforce)
	tries := 0
	w.before = func(call string) {
		if call == "quarantine" { // the last call before the intent is written
			tries++
			for _, id := range []asset.PortID{"p1", "p2"} {
				p := w.ports[id]
				p.Revision++
				w.ports[id] = p
			}
		}
	}
	for range 48 {
		_, _ = l.enforce(t.Context()) // each try is an error that is tried again
		w.now, w.real = w.now+hour, w.real+hour
		w.coverage.Began, w.coverage.RealAt, w.coverage.Ended = w.now-minute, w.real-minute, w.now-minute
	}
	c := w.cases["c1"]
	if len(w.changes) != 0 || c.State != casework.OnHold || !strings.Contains(c.Hold, "tried for a day") || tries < 20 {
		t.Errorf("after %d tries the case is %s (%s), changed by %v", tries, c.State, c.Hold, w.changes)
	}
}

// A lock that was asked for right before the process died may arrive yet, also where the ports were on the quarantine before. Until that is
// certain the stop is not called void: a withdrawal would leave the machine locked by us and say that nothing was done.
func TestLockThatArrivesLateIsUndone(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]bool{"ports on the quarantine before": true, "ports as usual": false} {
		l, w := newSimulated(t)
		underWayAs(casework.ActStop, 2)(w)
		for i := range w.acts[0].Ports {
			if o := &w.acts[0].Ports[i]; before { // an earlier action saved what they had, and it was never given back
				o.Before, o.Revision, o.Done = []asset.GroupID{"quarantine"}, w.ports[o.Port].Revision, true
			}
		}
		w.acts[0].IntendedAt, w.acts[0].RealAt = w.now-second, w.real-second
		w.paused = true // and a person pauses enforcement: nothing is asked for again
		for range 3 {   // the process is started again, and settles within two minutes
			_, _ = l.settle(t.Context())
			w.now, w.real = w.now+40*second, w.real+40*second
		}
		state := w.acts[0].State
		w.did("s1", casework.DoLock, w.acts[0].Machine.Reason) // it arrives
		w.change(func(c *casework.Case) { c.State, c.Withdrawn = casework.Verifying, "olga: by mistake" })
		w.due = nil
		w.armed(casework.TimerRelease)
		for range 30 {
			_, _ = l.settle(t.Context())
			_, _ = l.release(t.Context())
			w.now, w.real = w.now+minute, w.real+minute
		}
		for i := range w.inventory.Servers {
			w.inventory.Servers[i] = w.servers[w.inventory.Servers[i].ID]
		}
		l.know(asset.NewIndex(w.inventory))
		if err := l.findLeftovers(t.Context()); err != nil {
			t.Fatal(err)
		}
		if c := w.cases["c1"]; w.servers["s1"].Locked || !c.State.Over() || len(w.leftovers) > 0 {
			t.Errorf("%s: within two minutes the stop was %s; withdrawn, the case is %s (%s), act %q, the machine is locked: %s, left over %+v",
				name, state, c.State, c.Hold, c.Act, w.servers["s1"].LockedReason.Raw(), w.leftovers)
		}
	}
}

// The cloud had compared a request's revision when the fence came, and carries it out after that. The order is not called void.
func TestRequestThatOvertookTheFence(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	underWayAs(casework.ActQuarantine, 0)(w)
	fenced := 0
	w.before = func(call string) {
		if strings.HasPrefix(call, "set ") {
			fenced++
		}
		if fenced == 2 && strings.HasPrefix(call, "port ") {
			w.before = nil
			for _, id := range []asset.PortID{"p1", "p2"} {
				p := w.ports[id]
				p.Groups, p.Revision = []asset.GroupID{"quarantine"}, p.Revision+1
				w.ports[id] = p
			}
		}
	}
	for range 5 {
		_, _ = l.settle(t.Context())
		w.now, w.real = w.now+10*minute, w.real+10*minute
	}
	if got := w.acts[0].State; fenced != 2 || got != casework.ActDone || w.cases["c1"].State != casework.Restricted {
		t.Errorf("after %d fences the order is %s, the case %s", fenced, got, w.cases["c1"].State)
	}
}
