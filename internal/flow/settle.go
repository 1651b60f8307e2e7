package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"demarc/internal/casework"
	"demarc/internal/cloud"
	"demarc/internal/duty"
	"demarc/internal/fault"
	"demarc/internal/finding"
)

// carryOut makes the calls of an order that is written down. What is not certain afterwards is left for settle, which asks the
// cloud.
func (l *Line) carryOut(ctx context.Context, act casework.Act) error {
	ctx, cancel := aside(ctx)
	defer cancel()
	steps := []func(context.Context, *casework.Act) error{l.swap, l.handle}
	if !act.Kind.Restricts() { // what is given back runs again before it is reachable again
		slices.Reverse(steps)
	}
	for _, step := range steps {
		err := step(ctx, &act)
		if errors.Is(err, cloud.ErrUnknownOutcome) { // what left may arrive yet
			err := l.settleOne(ctx, act, answerLost)
			if errors.Is(err, errUncertain) {
				l.putOff("settle "+act.ID, err)
			}
			return err
		}
		switch {
		case errors.Is(err, cloud.ErrStale) && !begun(act):
			return l.void(ctx, act) // the cloud says itself that nothing was done
		case errors.Is(err, cloud.ErrStale), errors.Is(err, cloud.ErrNotFound), fault.Is(err, fault.Conflict):
			return l.settleOne(ctx, act, saidNo)
		case err != nil:
			return errors.Join(err, l.settleOne(ctx, act, saidNo))
		}
	}
	return l.concluded(ctx, act)
}

// swap puts the groups of an order on its ports.
func (l *Line) swap(ctx context.Context, act *casework.Act) error {
	for i := range act.Ports {
		o := &act.Ports[i]
		if o.Done {
			continue
		}
		if _, err := l.Actor.SetGroups(ctx, o.Port, o.After, o.Revision); err != nil {
			return err
		}
		o.Done = true
	}
	return nil
}

// handle does to the machine itself what an order says. Before each step the machine is read: what is so already is left.
func (l *Line) handle(ctx context.Context, act *casework.Act) error {
	if act.Machine == nil {
		return nil
	}
	for i := range act.Machine.Steps {
		t := &act.Machine.Steps[i]
		if t.Done {
			continue
		}
		s, actions, err := l.Actor.Machine(ctx, act.Server)
		if err != nil {
			return err
		}
		switch o, idle := act.Machine.Resolve(t.Do, s, actions); o {
		case casework.Happened:
			t.Done, t.Idle = true, idle
			continue
		case casework.Unclear:
			return cloud.ErrUnknownOutcome
		case casework.Never:
		}
		if err := l.Actor.Do(ctx, act.Server, t.Do, act.Machine.Reason); err != nil {
			return err
		}
		t.Done = true
	}
	return nil
}

// begun tells whether any part of an order is known to be done.
func begun(act casework.Act) bool {
	return slices.ContainsFunc(act.Ports, func(o casework.PortOrder) bool { return o.Done }) ||
		act.Machine != nil && slices.ContainsFunc(act.Machine.Steps, func(t casework.MachineStep) bool { return t.Done && !t.Idle })
}

// underWay bounds what is finished although the line was told to stop.
const underWay = 3 * time.Minute

// arrives is after how long a request is not under way any more, and a reading not so old.
const arrives = 5 * time.Minute

// aside lets what has begun outside come to its end and be written down, although the line was told to stop meanwhile.
func aside(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), underWay)
}

// settle asks the cloud about every order whose outcome is not written down, before anything else is done.
func (l *Line) settle(ctx context.Context) (bool, error) {
	acts, err := l.Ledger.RunningActs(ctx)
	if err != nil {
		return false, err
	}
	for _, a := range acts {
		key := "settle " + a.ID
		if a.Cloud != l.Cloud || l.Actor == nil || l.waiting(key) {
			continue
		}
		if l.x == nil {
			if err := l.loadInventory(ctx, l.Clock.Real()); err != nil {
				return false, err
			}
		}
		if err := l.settleOne(ctx, a, nothingAsked); err != nil {
			l.putOff(key, err)
			return true, fmt.Errorf("act %s: %w", a.ID, err)
		}
		l.done(key)
		return true, nil
	}
	return false, nil
}

// errUnfinished says that an order is carried out in part, and that the rest is tried again.
var errUnfinished = errors.New("the rest is tried again")

// lately is what the cloud made of the last request of an order.
type lately int

const (
	nothingAsked lately = iota // none was sent just now
	saidNo                     // it was not done, the cloud says
	answerLost                 // it may arrive yet
)

// stillTheirs tells whether a finding that can carry the act of a case is still the customer's: a contract may have begun, or a
// model come into use, since the gate spoke.
func (l *Line) stillTheirs(ctx context.Context, id string) (bool, error) {
	ds, err := l.dossier(ctx, id)
	return slices.ContainsFunc(ds.Findings, func(f finding.Finding) bool {
		return f.State.Live() && f.Grade == finding.Proved && f.Class == ds.Case.Class && l.x.Projects[f.Project] != nil && l.chargeAnew(f).Party == duty.Customer
	}), err
}

// errUncertain says that an order seems not to have taken effect, and that this is not proven.
var errUncertain = errors.New("whether it took effect is not certain yet")

// settleOne learns from the ports what became of an order. All as intended: done. None, and certainly: void, and the gate must speak again.
// Some: the rest is carried out while the gate's word is fresh, now or, where the cloud has just said no, at a later try.
// Anything we did not make: a human decides.
func (l *Line) settleOne(ctx context.Context, act casework.Act, last lately) error {
	n, err := l.ask(ctx, &act)
	if err != nil {
		return err
	}
	fresh := l.Clock.Age(act.IntendedAt, act.RealAt) <= l.Policy.Freshness.Probe.Micros()
	if fresh && act.Kind.Restricts() {
		if fresh, err = l.stillTheirs(ctx, act.Case); err != nil {
			return err
		}
	}
	switch {
	case n[casework.Unclear] > 0:
		return l.held(ctx, act)
	case n[casework.Never] == 0:
		return l.concluded(ctx, act)
	case n[casework.Happened] == 0:
		if last == saidNo {
			return l.void(ctx, act)
		}
		// Where a cloud takes no change at all, nothing can be made certain: after a while its readings are believed.
		late := l.Clock.Age(act.IntendedAt, act.RealAt) > arrives.Microseconds()
		if err := l.fence(ctx, &act); err != nil && (!late || errors.Is(err, cloud.ErrStale)) {
			return fmt.Errorf("%w: %w", errUncertain, err)
		}
		if act.Machine != nil && !act.Kind.Restricts() && !late { // what is asked of the machine comes first, and has no revision
			return errUncertain
		}
		return l.void(ctx, act)
	case (fresh || !act.Kind.Restricts()) && last == nothingAsked:
		return l.carryOut(ctx, act)
	case fresh || !act.Kind.Restricts():
		return fmt.Errorf("%d of %d parts are done: %w", n[casework.Happened], n[casework.Happened]+n[casework.Never], errUnfinished)
	default:
		return l.held(ctx, act)
	}
}

// fence makes certain that an order did not take effect and cannot any more, for a reading may be older than it seems, and a
// request whose answer was lost may still be under way. Each port is given the groups that it had, at the revision that it had:
// where they are others by now the cloud refuses that, and where they are not its revision moves on, so that what
// arrives later is refused. It is written down first, for it shows on the port.
func (l *Line) fence(ctx context.Context, act *casework.Act) error {
	if slices.ContainsFunc(act.Ports, func(o casework.PortOrder) bool { return !o.Fenced }) {
		if err := l.announceFence(ctx, act); err != nil {
			return err
		}
	}
	for _, o := range act.Ports {
		p, err := l.Actor.Port(ctx, o.Port)
		if err != nil {
			return err
		}
		if p.Revision > o.Revision && casework.SameGroups(p.Groups, o.Before) {
			continue // a fence of ours, or somebody's change: what is under way is refused either way
		}
		if _, err := l.Actor.SetGroups(ctx, o.Port, o.Before, o.Revision); err != nil {
			return err
		}
	}
	return nil
}

func (l *Line) announceFence(ctx context.Context, act *casework.Act) error {
	ds, err := l.dossier(ctx, act.Case)
	if err != nil {
		return err
	}
	for i := range act.Ports {
		act.Ports[i].Fenced = true
	}
	d := l.draft(stepOf(act.Kind))
	d.change.Acts = append(d.change.Acts, *act)
	d.acted(ds.Case, *act, "act.fenced", "the ports are given the groups they have, so that a request still under way is refused")
	if err := d.commit(ctx); err != nil {
		return err
	}
	act.Version++
	return nil
}

// ask holds every part of an order against the cloud, marks what is done, and counts the outcomes. What was so already by
// somebody else's act counts as no outcome.
func (l *Line) ask(ctx context.Context, act *casework.Act) (map[casework.Outcome]int, error) {
	n := map[casework.Outcome]int{}
	for i := range act.Ports {
		p, err := l.Actor.Port(ctx, act.Ports[i].Port)
		if err != nil && !errors.Is(err, cloud.ErrNotFound) {
			return nil, fmt.Errorf("reading port %s: %w", act.Ports[i].Port, err)
		}
		o := casework.Unclear
		if err == nil {
			o = act.Ports[i].Resolve(p)
		}
		act.Ports[i].Done = o == casework.Happened
		n[o]++
	}
	if act.Machine == nil {
		return n, nil
	}
	s, actions, err := l.Actor.Machine(ctx, act.Server)
	if err != nil && !errors.Is(err, cloud.ErrNotFound) {
		return nil, fmt.Errorf("reading server %s: %w", act.Server, err)
	}
	for i := range act.Machine.Steps {
		t := &act.Machine.Steps[i]
		o, idle := casework.Unclear, false
		if err == nil {
			o, idle = act.Machine.Resolve(t.Do, s, actions)
		}
		t.Done, t.Idle = o == casework.Happened, idle
		if !idle {
			n[o]++
		}
	}
	return n, nil
}

// concluded writes down that an order was carried out.
func (l *Line) concluded(ctx context.Context, act casework.Act) error {
	ds, err := l.dossier(ctx, act.Case)
	if err != nil {
		return err
	}
	d := l.draft(stepOf(act.Kind))
	act.State, act.EndedAt = casework.ActDone, d.now
	for i := range act.Ports {
		act.Ports[i].Done = true
	}
	d.change.Acts = append(d.change.Acts, act)
	d.acted(ds.Case, act, "act.done", partsOf(act))
	switch act.Kind {
	case casework.ActQuarantine, casework.ActStop:
		d.apply(ds, casework.Acted{Act: act.ID, Stopped: act.Kind == casework.ActStop})
	case casework.ActHold:
		d.apply(ds, casework.Held{Act: act.ID})
	case casework.ActStart:
		d.apply(ds, casework.Started{})
	case casework.ActRestore:
		d.apply(ds, casework.Restored{})
	}
	if err := d.commit(ctx); err != nil {
		return err
	}
	l.done(againOf(act).key)
	return l.refresh(ctx) // we altered the cloud ourselves
}

// void writes down that an order never took effect. The act is not repeated: an approved quarantine goes back to the gate,
// a release is computed anew; neither at once, for a cloud that says no would be asked in a circle.
func (l *Line) void(ctx context.Context, act casework.Act) error {
	ds, err := l.dossier(ctx, act.Case)
	if err != nil {
		return err
	}
	d := l.draft(stepOf(act.Kind))
	act.State, act.EndedAt, act.Note = casework.ActVoid, d.now, "the cloud shows that it never took effect"
	d.change.Acts = append(d.change.Acts, act)
	d.acted(ds.Case, act, "act.void", act.Note)
	again := againOf(act)
	d.arm(casework.Due{Case: act.Case, Timer: again.timer, At: d.now})
	if err := d.commit(ctx); err != nil {
		return err
	}
	l.putOff(again.key, errors.New(act.Note))
	return nil
}

// stepOf is the step of the line that an order belongs to.
func stepOf(k casework.ActKind) string {
	if k == casework.ActRestore || k == casework.ActStart {
		return "release"
	}
	return "enforce"
}

// again is how an order that never took effect falls due anew.
type again struct {
	timer casework.Timer
	key   string
}

func againOf(act casework.Act) again {
	t := map[casework.ActKind]casework.Timer{casework.ActQuarantine: casework.TimerEnforce, casework.ActStop: casework.TimerEnforce, casework.ActHold: casework.TimerHold,
		casework.ActStart: casework.TimerStart, casework.ActRestore: casework.TimerRelease}[act.Kind]
	return again{t, string(t) + " " + act.Case}
}

// held writes down that a human must look: the ports are neither as before nor as intended.
func (l *Line) held(ctx context.Context, act casework.Act) error {
	ds, err := l.dossier(ctx, act.Case)
	if err != nil {
		return err
	}
	d := l.draft(stepOf(act.Kind))
	act.State, act.EndedAt, act.Note = casework.ActHeld, d.now, "the machine is neither as it was nor as intended"
	d.change.Acts = append(d.change.Acts, act)
	d.acted(ds.Case, act, "act.held", act.Note)
	hold := casework.Hold{Why: "the outcome of an act is unclear: " + act.Note}
	if act.Kind.Restricts() {
		hold.Act, hold.Stopped = act.ID, act.Kind == casework.ActStop // perhaps in force: whoever takes the case back gets all back as it was
	}
	d.apply(ds, hold)
	return d.commit(ctx)
}

func (d *draft) acted(c casework.Case, act casework.Act, event, detail string) {
	h := about(c, event)
	h.Act, h.Detail = string(act.Kind), detail
	d.say(h)
}
