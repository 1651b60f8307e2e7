package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"demarc/internal/casework"
	"demarc/internal/cloud"
)

// carryOut makes the calls of an order that is written down. What is not certain afterwards is left for settle, which asks the
// cloud.
func (l *Line) carryOut(ctx context.Context, act casework.Act) error {
	ctx, cancel := aside(ctx)
	defer cancel()
	for i := range act.Ports {
		o := &act.Ports[i]
		if o.Done {
			continue
		}
		_, err := l.Actor.SetGroups(ctx, o.Port, o.After, o.Revision)
		begun := slices.ContainsFunc(act.Ports, func(o casework.PortOrder) bool { return o.Done })
		switch {
		case errors.Is(err, cloud.ErrStale) && !begun:
			return l.void(ctx, act) // the cloud says itself that nothing was done
		case errors.Is(err, cloud.ErrStale), errors.Is(err, cloud.ErrNotFound), errors.Is(err, cloud.ErrUnknownOutcome):
			return l.settleOne(ctx, act, false)
		case err != nil:
			return errors.Join(err, l.settleOne(ctx, act, false))
		}
		o.Done = true
	}
	return l.concluded(ctx, act)
}

// underWay bounds what is finished although the line was told to stop.
const underWay = 3 * time.Minute

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
		if err := l.settleOne(ctx, a, true); err != nil {
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

// settleOne learns from the ports what became of an order. All as intended: done. None: void, and the gate must speak again.
// Some: the rest is carried out while the gate's word is fresh, now or, where the cloud has just said no, at a later try.
// Anything we did not make: a human decides.
func (l *Line) settleOne(ctx context.Context, act casework.Act, now bool) error {
	happened, never, unclear := 0, 0, 0
	for i := range act.Ports {
		p, err := l.Actor.Port(ctx, act.Ports[i].Port)
		if err != nil && !errors.Is(err, cloud.ErrNotFound) {
			return fmt.Errorf("reading port %s: %w", act.Ports[i].Port, err)
		}
		if err != nil {
			unclear++
			continue
		}
		switch act.Ports[i].Resolve(p) {
		case casework.Happened:
			act.Ports[i].Done = true
			happened++
		case casework.Never:
			never++
		case casework.Unclear:
			unclear++
		}
	}
	fresh := max(l.Clock.Now()-act.IntendedAt, l.Clock.Real()-act.RealAt) <= l.Policy.Freshness.Probe.Micros()
	switch {
	case unclear > 0:
		return l.held(ctx, act)
	case never == 0:
		return l.concluded(ctx, act)
	case happened == 0:
		return l.void(ctx, act)
	case fresh && now:
		return l.carryOut(ctx, act)
	case fresh:
		return fmt.Errorf("%d of %d ports are done: %w", happened, len(act.Ports), errUnfinished)
	default:
		return l.held(ctx, act)
	}
}

// concluded writes down that an order was carried out.
func (l *Line) concluded(ctx context.Context, act casework.Act) error {
	ds, err := l.dossier(ctx, act.Case)
	if err != nil {
		return err
	}
	d := l.draft(map[casework.ActKind]string{casework.ActQuarantine: "enforce", casework.ActRestore: "release"}[act.Kind])
	act.State, act.EndedAt = casework.ActDone, d.now
	for i := range act.Ports {
		act.Ports[i].Done = true
	}
	d.change.Acts = append(d.change.Acts, act)
	d.acted(ds.Case, act, "act.done", portsOf(act))
	if act.Kind == casework.ActQuarantine {
		d.apply(ds, casework.Acted{Act: act.ID})
	} else {
		d.apply(ds, casework.Restored{})
	}
	if err := d.commit(ctx); err != nil {
		return err
	}
	l.done("enforce " + act.Case)
	l.done("release " + act.Case)
	return l.refresh(ctx) // we altered the cloud ourselves
}

// void writes down that an order never took effect. The act is not repeated: an approved quarantine goes back to the gate,
// a release is computed anew; neither at once, for a cloud that says no would be asked in a circle.
func (l *Line) void(ctx context.Context, act casework.Act) error {
	ds, err := l.dossier(ctx, act.Case)
	if err != nil {
		return err
	}
	d := l.draft("enforce")
	act.State, act.EndedAt, act.Note = casework.ActVoid, d.now, "the cloud shows that it never took effect"
	d.change.Acts = append(d.change.Acts, act)
	d.acted(ds.Case, act, "act.void", act.Note)
	timer, key := casework.TimerEnforce, "enforce "+act.Case
	if act.Kind == casework.ActRestore {
		timer, key = casework.TimerRelease, "release "+act.Case
	}
	d.arm(casework.Due{Case: act.Case, Timer: timer, At: d.now})
	if err := d.commit(ctx); err != nil {
		return err
	}
	l.putOff(key, errors.New(act.Note))
	return nil
}

// held writes down that a human must look: the ports are neither as before nor as intended.
func (l *Line) held(ctx context.Context, act casework.Act) error {
	ds, err := l.dossier(ctx, act.Case)
	if err != nil {
		return err
	}
	d := l.draft("enforce")
	act.State, act.EndedAt, act.Note = casework.ActHeld, d.now, "the ports are neither as they were nor as intended"
	d.change.Acts = append(d.change.Acts, act)
	d.acted(ds.Case, act, "act.held", act.Note)
	hold := casework.Hold{Why: "the outcome of an act is unclear: " + act.Note}
	if act.Kind == casework.ActQuarantine {
		hold.Act = act.ID // perhaps in force: whoever takes the case back gets the saved groups back
	}
	d.apply(ds, hold)
	return d.commit(ctx)
}

func (d *draft) acted(c casework.Case, act casework.Act, event, detail string) {
	h := about(c, event)
	h.Act, h.Detail = string(act.Kind), detail
	d.say(h)
}
