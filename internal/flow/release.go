package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/cloud"
)

// release gives one machine back that is proven fixed, or starts one that was stopped, so that its fix can be seen. It waits for
// no window and no budget, and no kill switch stops it.
func (l *Line) release(ctx context.Context) (bool, error) {
	due, err := l.Ledger.DueTimers(ctx, l.Clock.Now())
	if err != nil {
		return false, err
	}
	for _, t := range due {
		key := string(t.Timer) + " " + t.Case
		do := map[casework.Timer]func(context.Context, string) error{casework.TimerRelease: l.giveBack, casework.TimerStart: l.start}[t.Timer]
		if do == nil || l.waiting(key) {
			continue
		}
		if err := do(ctx, t.Case); err != nil {
			l.putOff(key, err)
			return true, fmt.Errorf("case %s: %w", t.Case, err)
		}
		if !l.waiting(key) { // the cloud may have shown that it never took effect
			l.done(key)
		}
		return true, nil
	}
	return false, nil
}

// giveBack writes the restore down and carries it out: every port gets the groups that were saved, but for what the owner
// changed meanwhile.
func (l *Line) giveBack(ctx context.Context, id string) error {
	ds, err := l.dossier(ctx, id)
	if err != nil {
		return err
	}
	d := l.draft("release")
	d.disarm(id, casework.TimerRelease)
	running, err := l.Ledger.RunningActs(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(running, func(a casework.Act) bool { return a.Case == id }) {
		return errUnfinished // what is under way is settled first
	}
	if ds.Case.TakenBack() != "" && ds.Case.Act == "" {
		d.apply(ds, casework.Restored{}) // nothing was done, so nothing is undone
		return d.commit(ctx)
	}
	if ds.Case.State != casework.Verifying || ds.Case.Act == "" || l.Actor == nil {
		return d.commit(ctx)
	}
	order, err := l.Ledger.Act(ctx, ds.Case.Act)
	if err != nil {
		return err
	}
	act := l.newAct(ds.Case, casework.ActRestore)
	act.Undoes = order.ID
	for _, o := range order.Ports {
		back, err := l.backOf(ctx, o)
		if errors.Is(err, cloud.ErrNotFound) {
			continue // the port is gone, and its groups with it
		}
		if err != nil {
			return err
		}
		act.Ports = append(act.Ports, back)
	}
	if act.Machine, err = l.wakeUp(ctx, ds.Case, order); err != nil {
		return err
	}
	why := "every finding is proven gone"
	if back := ds.Case.TakenBack(); back != "" {
		why = back
	}
	d.intend(ds.Case, act, why)
	if err := d.commit(ctx); err != nil {
		return err
	}
	act.Version++
	return l.carryOut(ctx, act)
}

// start lets a stopped machine run again, still off the network.
func (l *Line) start(ctx context.Context, id string) error {
	ds, err := l.dossier(ctx, id)
	if err != nil {
		return err
	}
	d := l.draft("release")
	d.disarm(id, casework.TimerStart)
	running, err := l.Ledger.RunningActs(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(running, func(a casework.Act) bool { return a.Server == ds.Case.Server }) {
		return errUnfinished
	}
	if ds.Case.Act == "" || !ds.Case.Stopped || l.Actor == nil {
		return d.commit(ctx)
	}
	order, err := l.Ledger.Act(ctx, ds.Case.Act)
	if err != nil {
		return err
	}
	act := l.newAct(ds.Case, casework.ActStart)
	if act.Machine, err = l.wakeUp(ctx, ds.Case, order); err != nil {
		return err
	}
	if act.Machine == nil {
		return d.commit(ctx) // gone: the inventory buries it
	}
	d.intend(ds.Case, act, "its release was asked for")
	if err := d.commit(ctx); err != nil {
		return err
	}
	act.Version++
	return l.carryOut(ctx, act)
}

// wakeUp works out what undoes the part of an order that concerns the machine itself: what we did, and what still stands. What
// was so before us, or was changed by somebody since, is left as it is.
func (l *Line) wakeUp(ctx context.Context, c casework.Case, order casework.Act) (*casework.MachineOrder, error) {
	if !c.Stopped {
		return nil, nil //nolint:nilnil // nothing is to be done to the machine
	}
	orders, err := l.chain(ctx, order)
	if err != nil {
		return nil, err
	}
	did, saved := didTo(orders), orders[len(orders)-1].Saved
	if len(did) == 0 {
		return nil, nil //nolint:nilnil // nothing was done to the machine
	}
	s, actions, err := l.Actor.Machine(ctx, order.Server)
	if errors.Is(err, cloud.ErrNotFound) {
		return nil, nil //nolint:nilnil // it is gone
	}
	if err != nil {
		return nil, fmt.Errorf("reading the machine: %w", err)
	}
	if slices.ContainsFunc(orders, func(a casework.Act) bool { return a.Machine != nil && a.Machine.Forgets(actions) }) {
		return nil, errOld // or what we did would be left as it is, and be called undone
	}
	var steps []casework.MachineDo
	if did[casework.DoStop] && !s.Active() && saved != nil && (asset.Server{Status: saved.Status}).Active() {
		steps = append(steps, casework.DoStart) // before it is unlocked: its tenant could interfere
	}
	if did[casework.DoLock] && s.Locked && s.LockedReason.Raw() == lockReason(c) {
		steps = append(steps, casework.DoUnlock)
	}
	return machineOrder(actions, "", steps...), nil
}

// errOld says that the cloud was read as it was before an act of ours.
var errOld = errors.New("the cloud's memory of the machine is older than our own act")

// chain is an order in force with those it stands for, the oldest last.
func (l *Line) chain(ctx context.Context, order casework.Act) ([]casework.Act, error) {
	out := []casework.Act{order}
	for order.Renews != "" {
		var err error
		if order, err = l.Ledger.Act(ctx, order.Renews); err != nil {
			return nil, err
		}
		out = append(out, order)
	}
	return out, nil
}

// didTo gathers what was done to a machine by orders.
func didTo(orders []casework.Act) map[casework.MachineDo]bool {
	did := map[casework.MachineDo]bool{}
	for _, o := range orders {
		if o.Machine == nil {
			continue
		}
		for _, t := range o.Machine.Steps {
			if t.Done && !t.Idle {
				did[t.Do] = true
			}
		}
	}
	return did
}

// backOf works out what one port gets back, from what was saved and what it holds now.
func (l *Line) backOf(ctx context.Context, o casework.PortOrder) (casework.PortOrder, error) {
	now, err := l.Actor.Port(ctx, o.Port)
	if err != nil {
		return casework.PortOrder{}, err
	}
	var gone error
	exists := func(g asset.GroupID) bool {
		_, err := l.Actor.Group(ctx, g)
		if err != nil && !errors.Is(err, cloud.ErrNotFound) {
			gone = errors.Join(gone, err)
		}
		return err == nil
	}
	after := casework.ThreeWay(o.GivesBack(), o.After, now.Groups, exists)
	if gone != nil {
		return casework.PortOrder{}, fmt.Errorf("reading the groups of port %s: %w", o.Port, gone)
	}
	return casework.PortOrder{Port: o.Port, Before: now.Groups, After: after, Saved: after, Revision: now.Revision}, nil
}
