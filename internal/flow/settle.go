package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"demarc/internal/asset"
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
	// Nothing is started before its ports are as they should be.
	steps := []func(context.Context, *casework.Act) error{l.swap, l.verifyPorts, l.handle}
	for _, step := range steps {
		err := step(ctx, &act)
		if errors.Is(err, cloud.ErrUnknownOutcome) { // what left may arrive yet
			err := l.settleOne(ctx, act, answerLost)
			if errors.Is(err, errUncertain) {
				l.putOff("settle "+act.ID, err)
			}
			return err
		}
		if why, stop := asStopped(err); stop {
			return l.cutShort(ctx, act, why)
		}
		l.noteRefusal(act, err)
		switch {
		case errors.Is(err, cloud.ErrStale) && !begun(act):
			return l.void(ctx, act) // the cloud says itself that nothing was done
		case errors.Is(err, cloud.ErrStale), errors.Is(err, cloud.ErrNotFound), fault.Is(err, fault.Conflict):
			return l.settleOne(ctx, act, saidNo)
		case errors.Is(err, errUnfinished):
			return err // nothing was asked for: settle goes on with it
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
		if err := l.mayClose(ctx, *act); err != nil {
			return err
		}
		if err := l.setPort(ctx, o.Port, o.After, o.Unsecures, o.Revision); err != nil {
			return err
		}
		o.Done = true
	}
	return nil
}

// verifyPorts reads the ports of an order back before the machine itself is started: what somebody changed meanwhile must not be open
// while it starts.
func (l *Line) verifyPorts(ctx context.Context, act *casework.Act) error {
	if act.Kind.Restricts() || act.Machine == nil {
		return nil
	}
	for _, o := range act.Ports {
		if o.Elsewhere {
			continue
		}
		p, err := l.Actor.Port(ctx, o.Port)
		if err != nil {
			return fmt.Errorf("reading port %s: %w: %w", o.Port, errUnfinished, err)
		}
		if o.Resolve(p) != casework.Happened {
			return cloud.ErrStale
		}
	}
	return nil
}

// setPort puts groups on a port, or, where it is to have no port security, takes both away.
func (l *Line) setPort(ctx context.Context, id asset.PortID, groups []asset.GroupID, unsecured bool, revision int) (err error) {
	if unsecured {
		_, err = l.Actor.Unfilter(ctx, id, revision)
	} else {
		_, err = l.Actor.SetGroups(ctx, id, groups, revision)
	}
	return err
}

// handle does to the machine itself what an order says. Before each step the machine is read: what is so already is left.
func (l *Line) handle(ctx context.Context, act *casework.Act) error {
	if act.Machine == nil {
		return nil
	}
	var refused error
	for i := range act.Machine.Steps {
		t := &act.Machine.Steps[i]
		if t.Done {
			continue
		}
		s, actions, err := l.Actor.Machine(ctx, act.Server)
		if err != nil {
			return fmt.Errorf("reading server %s: %w: %w", act.Server, errUnfinished, err)
		}
		switch o, idle := act.Machine.Resolve(t.Do, s, actions); o {
		case casework.Happened:
			t.Done, t.Idle = true, idle
			continue
		case casework.Unclear:
			return cloud.ErrUnknownOutcome
		case casework.Never:
		}
		if err := l.mayGoOn(ctx, *act); err != nil {
			return err
		}
		err = l.Actor.Do(ctx, act.Server, t.Do, act.Machine.Reason)
		if act.Kind == casework.ActRestore && t.Do == casework.DoStart && saysNo(err) {
			refused = err // it is unlocked all the same: its owner can start it, repair it or delete it
			continue
		}
		if err != nil {
			return err
		}
		t.Done = true
	}
	return refused
}

// saysNo tells whether the cloud refused a request as it was made. It may refuse it for ever.
func saysNo(err error) bool { return fault.Is(err, fault.Conflict) || fault.Is(err, fault.Refused) }

// mostRefused is how often in a row the cloud may refuse the rest of an order that undoes something: with what lies between the tries, for
// more than an hour.
const mostRefused = 8

// noteRefusal counts how often in a row the cloud has refused the rest of an order that undoes something.
func (l *Line) noteRefusal(act casework.Act, err error) {
	if saysNo(err) && !act.Kind.Restricts() {
		key := refusalKey(act)
		l.refusals[key] = refusal{l.refusals[key].times + 1, err.Error()}
	}
}

// refusalKey names the work that an order is part of: where none of its calls took effect, another order is made for it.
func refusalKey(act casework.Act) string { return againOf(act).key + " " + act.Clears }

// begun tells whether any part of an order is known to be done. What was so before it is no part of it.
func begun(act casework.Act) bool {
	return slices.ContainsFunc(act.Ports, func(o casework.PortOrder) bool { return o.Done && !o.Idle() }) ||
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
		if err := l.ordered(ctx, a); errors.Is(err, errForged) {
			if err := l.disown(ctx, a, err); err != nil {
				l.putOff(key, err)
				return true, fmt.Errorf("act %s: %w", a.ID, err)
			}
			return true, nil
		} else if err != nil {
			l.putOff(key, err)
			return true, fmt.Errorf("act %s: %w", a.ID, err)
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

// stillTheirs tells whether the reason for an order is still the customer's: a contract may have begun, or a model come into use, since
// the gate spoke. A new restriction needs a finding that can carry it. An order that puts a quarantine back needs none: what the
// restriction was for may be fixed by now while a milder finding of the case keeps it, until that has passed to somebody else.
func (l *Line) stillTheirs(ctx context.Context, act casework.Act) (bool, error) {
	ds, err := l.dossier(ctx, act.Case)
	if act.Kind == casework.ActHold {
		return !l.passedOn(ds), err
	}
	return slices.ContainsFunc(ds.Findings, func(f finding.Finding) bool {
		return f.State.Live() && f.Grade == finding.Proved && f.Class == ds.Case.Class && l.x.Projects[f.Project] != nil && l.chargeAnew(f).Party == duty.Customer
	}), err
}

// passedOn tells whether somebody else than the customer must act on a live finding of a case by now, and the case does not say so yet.
func (l *Line) passedOn(ds casework.Dossier) bool {
	return slices.ContainsFunc(ds.Findings, func(f finding.Finding) bool {
		return f.State.Live() && l.passes(f) && l.chargeAnew(f).Party != duty.Customer
	})
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
		if fresh, err = l.stillTheirs(ctx, act); err != nil {
			return err
		}
	}
	why := "the machine is neither as it was nor as intended"
	past := n[casework.Happened] + n[casework.Overtaken] // parts that need nothing more
	goesOn := fresh || !act.Kind.Restricts()
	if past > 0 && n[casework.Never] > 0 {
		if err := l.mayGoOn(ctx, act); errors.Is(err, errUnfinished) {
			return err
		} else if err != nil {
			goesOn, why = false, "it was stopped half-way: "+err.Error()
		}
	}
	switch {
	case n[casework.Unclear] > 0:
		return l.held(ctx, act, "the machine is neither as it was nor as intended")
	case n[casework.Never] == 0 && n[casework.Happened] == 0 && n[casework.Overtaken] > 0:
		for i := range act.Ports {
			act.Ports[i].Done = false
		}
		return l.void(ctx, act)
	case n[casework.Never] == 0:
		return l.concluded(ctx, act)
	case last == saidNo && l.refusals[refusalKey(act)].times >= mostRefused:
		return l.endRefused(ctx, act)
	case past == 0:
		if last == saidNo {
			return l.void(ctx, act)
		}
		// Where a cloud takes no change at all, nothing can be made certain: after a while its readings are believed.
		late := l.Clock.Age(act.IntendedAt, act.RealAt) > arrives.Microseconds()
		if err := l.fence(ctx, &act); err != nil && (!late || errors.Is(err, cloud.ErrStale)) {
			return fmt.Errorf("%w: %w", errUncertain, err)
		}
		if act.Machine != nil && !late { // what was asked of the machine has no revision, and may arrive yet
			return errUncertain
		}
		if err := l.outlast(ctx, act); err != nil {
			return err
		}
		return l.void(ctx, act)
	case goesOn && last == nothingAsked:
		return l.carryOut(ctx, act)
	case goesOn:
		return fmt.Errorf("%d of %d parts are done: %w", n[casework.Happened], past+n[casework.Never], errUnfinished)
	default:
		return l.held(ctx, act, why)
	}
}

// endRefused ends an order that undoes something, and whose rest the cloud has refused for more than an hour. A person must look. Where
// nothing is left of a restore but to start the machine, the machine is its owner's again, and the operators are notified that it is off.
func (l *Line) endRefused(ctx context.Context, act casework.Act) error {
	why := l.refusals[refusalKey(act)].why
	left := func(t casework.MachineStep) bool { return !t.Done && t.Do != casework.DoStart }
	if act.Kind != casework.ActRestore || act.Machine == nil || slices.ContainsFunc(act.Machine.Steps, left) ||
		slices.ContainsFunc(act.Ports, func(o casework.PortOrder) bool { return !o.Done }) {
		return l.held(ctx, act, "the cloud refuses the rest of it: "+why)
	}
	act.Note = "the cloud refuses to start the server: " + why
	act.Lost = append(slices.Clone(act.Lost), act.Note)
	return l.concluded(ctx, act)
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
		if o.Elsewhere {
			continue
		}
		p, err := l.Actor.Port(ctx, o.Port)
		if err != nil {
			return err
		}
		if p.Revision > o.Revision && casework.SameGroups(p.Groups, o.Before) && p.PortSecurity != o.Unsecured {
			continue // a fence of ours, or somebody's change: what is under way is refused either way
		}
		if err := l.setPort(ctx, o.Port, o.Before, o.Unsecured, o.Revision); err != nil {
			return err
		}
	}
	return nil
}

// outlast waits until no request can have overtaken the fence, and reads the ports once more. Where one did, the order is settled anew.
func (l *Line) outlast(ctx context.Context, act casework.Act) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(l.Overtakes):
	}
	act.Ports = slices.Clone(act.Ports)
	n, err := l.ask(ctx, &act)
	if err == nil && n[casework.Happened]+n[casework.Unclear] > 0 {
		err = fmt.Errorf("%w: a request took effect after the fence", errUncertain)
	}
	return err
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
		if act.Ports[i].Elsewhere {
			continue // nothing is to happen to it
		}
		p, err := l.Actor.Port(ctx, act.Ports[i].Port)
		if err != nil && !errors.Is(err, cloud.ErrNotFound) {
			return nil, fmt.Errorf("reading port %s: %w", act.Ports[i].Port, err)
		}
		o := casework.Unclear
		if err == nil {
			o = act.Ports[i].Resolve(p)
		}
		if act.Kind == casework.ActHold && o == casework.Unclear && (err != nil || p.Revision > act.Ports[i].Revision) {
			o = casework.Overtaken
		}
		act.Ports[i].Done = o == casework.Happened || o == casework.Overtaken
		if o != casework.Happened || !act.Ports[i].Idle() {
			n[o]++
		}
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
	aside := besideItsCase(ds.Case, act)
	act.State, act.EndedAt = casework.ActDone, d.now
	for i := range act.Ports {
		act.Ports[i].Done = true
	}
	d.change.Acts = append(d.change.Acts, act)
	if d.acted(ds.Case, act, "act.done", partsOf(act)); act.Note != "" {
		d.notifyUnstarted(ds.Case, act)
	}
	switch act.Kind {
	case casework.ActQuarantine, casework.ActStop:
		d.apply(ds, casework.Acted{Act: act.ID, Stopped: act.Kind == casework.ActStop})
	case casework.ActHold:
		d.apply(ds, casework.Held{Act: act.ID})
	case casework.ActStart:
		e := casework.Started{}
		if act.Renews != "" {
			e.Act = act.ID
		}
		d.apply(ds, e)
	case casework.ActRestore:
		if !aside {
			d.apply(ds, casework.Restored{Lost: act.Lost})
		}
	}
	if err := d.commit(ctx); err != nil {
		return err
	}
	delete(l.refusals, refusalKey(act))
	if !aside {
		l.done(againOf(act).key)
	}
	return l.refresh(ctx) // we altered the cloud ourselves
}

// besideItsCase tells whether an order gives back what is not done by the order in force of its case: a person ended a leftover of an
// earlier order. Whatever becomes of it, the case stays where it is.
func besideItsCase(c casework.Case, act casework.Act) bool {
	return act.Kind == casework.ActRestore && act.Undoes != c.Act
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
	if besideItsCase(ds.Case, act) {
		return l.clearAgain(ctx, d, act)
	}
	if act.Kind != casework.ActRestore && d.goesBack(ds.Case) {
		return d.commit(ctx)
	}
	if enough, err := l.triedLongEnough(ctx, ds.Case, act); err != nil {
		return err
	} else if enough {
		d.apply(ds, casework.Hold{Why: "the approved action was tried for a day and never took effect"})
		return d.commit(ctx)
	}
	again := againOf(act)
	d.arm(casework.Due{Case: act.Case, Timer: again.timer, At: d.now})
	if err := d.commit(ctx); err != nil {
		return err
	}
	l.putOff(again.key, errors.New(act.Note))
	return nil
}

// triedFor is for how long an approved action is tried that never takes effect, before a person must look: its owner may see to that by
// altering a port each time.
const triedFor = day

// triedLongEnough reports whether orders of an approved action have never taken effect for so long.
func (l *Line) triedLongEnough(ctx context.Context, c casework.Case, act casework.Act) (bool, error) {
	if !act.Kind.Restricts() || c.State != casework.Queued || len(c.Approvals) == 0 {
		return false, nil
	}
	all, err := l.Ledger.ActsOn(ctx, c.Cloud, c.Server)
	if err != nil {
		return false, err
	}
	approved := c.Approvals[len(c.Approvals)-1].At
	return slices.ContainsFunc(all, func(a casework.Act) bool {
		return a.Case == c.ID && a.State == casework.ActVoid && a.Kind.Restricts() &&
			a.EndedAt >= approved && act.EndedAt-a.EndedAt >= triedFor
	}), nil
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

// held writes down that an action is neither done nor undone, and why. A person must look; where the case was taken back, what was done of
// it is undone at once.
func (l *Line) held(ctx context.Context, act casework.Act, why string) error {
	ds, err := l.dossier(ctx, act.Case)
	if err != nil {
		return err
	}
	d := l.draft(stepOf(act.Kind))
	delete(l.refusals, refusalKey(act))
	act.State, act.EndedAt, act.Note = casework.ActHeld, d.now, why
	d.change.Acts = append(d.change.Acts, act)
	d.acted(ds.Case, act, "act.held", act.Note)
	if besideItsCase(ds.Case, act) {
		return d.commit(ctx) // it is listed still
	}
	if act.Renews != "" { // what it saved of the owner's changes is given back, whatever was done of it
		ds = d.apply(ds, casework.Held{Act: act.ID})
	}
	if ds.Case.TakenBack() != "" && ds.Case.State == casework.Verifying && act.Kind.Closes() &&
		(begun(act) || act.Kind == casework.ActStart) {
		if act.Renews == "" {
			d.apply(ds, casework.Acted{Act: act.ID, Stopped: halted(act)})
		}
		d.arm(casework.Due{Case: act.Case, Timer: casework.TimerRelease, At: d.now})
		return d.commit(ctx)
	}
	hold := casework.Hold{Why: "the outcome of an act is unclear: " + act.Note}
	if act.Kind.Restricts() {
		hold.Act, hold.Stopped = act.ID, halted(act) // perhaps in force: where the case is taken back, all is given back as it was
	}
	d.apply(ds, hold)
	return d.commit(ctx)
}

// halted tells whether anything was done to the machine itself. A stop that ended before that left it running.
func halted(act casework.Act) bool {
	return act.Machine != nil && slices.ContainsFunc(act.Machine.Steps, func(t casework.MachineStep) bool { return t.Done && !t.Idle })
}

func (d *draft) acted(c casework.Case, act casework.Act, event, detail string) {
	h := about(c, event)
	h.Act, h.Detail = string(act.Kind), detail
	d.say(h)
}
