package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/cloud"
	"demarc/internal/fault"
	"demarc/internal/policy"
)

// watchActs looks whether machines that are off the network by our order still are: their owner can put groups of their own on
// their ports, add a port, or, where the lock does not hold, start a stopped machine. It is told, and put back.
func (l *Line) watchActs(ctx context.Context) error {
	cases, err := l.Ledger.Cases(ctx, access.Operator(), casework.Filter{States: []casework.State{casework.Restricted, casework.Verifying}})
	if err != nil {
		return err
	}
	running, err := l.Ledger.RunningActs(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range cases {
		underWay := slices.ContainsFunc(running, func(a casework.Act) bool { return a.Case == c.ID })
		if c.Cloud != l.Cloud || c.Act == "" || underWay || c.TakenBack() != "" {
			continue // what is being given back is nobody's to put back
		}
		if err := l.watchAct(ctx, c); err != nil { // a machine that cannot be read keeps no other from being watched
			errs = append(errs, fmt.Errorf("watching server %s: %w", c.Server, err))
		}
	}
	return errors.Join(errs...)
}

func (l *Line) watchAct(ctx context.Context, c casework.Case) error {
	act, err := l.Ledger.Act(ctx, c.Act)
	if fault.Is(err, fault.NotFound) {
		return nil // reconcile hands the case to a person
	}
	if err != nil {
		return err
	}
	if act.State != casework.ActDone && act.State != casework.ActHeld {
		return nil // it is not certain to be in force; of a held one a person has said so, or its case would be on hold
	}
	why := undone(c, act, l.x.PortsOf[c.Server], l.server(c.Server))
	if why == "" {
		return nil
	}
	timers, err := l.Ledger.Timers(ctx, c.ID)
	if err != nil || slices.ContainsFunc(timers, func(t casework.Due) bool { return t.Timer == casework.TimerHold }) {
		return err // it was reported, and waits to be put back
	}
	if l.Actor != nil { // a listing may be older than our own act: nobody is accused by it alone
		if why, err = l.stillUndone(ctx, c, act); err != nil {
			return err
		}
	}
	if why == "" {
		return nil
	}
	return l.tampered(ctx, c.ID, act, why)
}

// stillUndone asks the cloud about the one machine.
func (l *Line) stillUndone(ctx context.Context, c casework.Case, act casework.Act) (string, error) {
	ports, err := l.portsOf(ctx, c)
	if err != nil && !errors.Is(err, cloud.ErrNotFound) {
		return "", fmt.Errorf("%w: its ports: %w", errUnread, err)
	}
	s, _, err := l.Actor.Machine(ctx, c.Server)
	if errors.Is(err, cloud.ErrNotFound) {
		return "", nil // gone: the inventory buries it
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", errUnread, err)
	}
	var at []*asset.Port
	ports = ownPorts(ports, c)
	for i := range ports {
		at = append(at, &ports[i])
	}
	return undone(c, act, at, &s), nil
}

// undone tells what of an order in force does not hold any more, by a reading of the machine. A port as it was before the order
// shows an old reading.
func undone(c casework.Case, act casework.Act, ports []*asset.Port, s *asset.Server) string {
	group := quarantineOf(act)
	for _, p := range ports {
		switch {
		case slices.ContainsFunc(act.Ports, func(o casework.PortOrder) bool { return o.Port == p.ID && p.Revision <= o.Revision }):
		case !p.PortSecurity:
			return "port " + string(p.ID) + " has its port security off, so no group holds"
		case !casework.SameGroups(p.Groups, group):
			return "the groups of port " + string(p.ID) + " are not those of the quarantine"
		}
	}
	if c.Stopped && s != nil && (s.Active() && !leftOut(act, casework.DoStop) || !s.Locked && !leftOut(act, casework.DoLock)) {
		return fmt.Sprintf("the machine is %s, locked: %t", s.Status, s.Locked)
	}
	return ""
}

func isRelease(t casework.Due) bool { return t.Timer == casework.TimerRelease }

// leftOut tells whether an order ended before it did something to the machine, as where a pause stopped it half-way.
func leftOut(act casework.Act, do casework.MachineDo) bool {
	return act.Machine != nil && slices.ContainsFunc(act.Machine.Steps, func(s casework.MachineStep) bool { return s.Do == do && !s.Done })
}

// quarantineOf is the group list that an order in force puts on every port.
func quarantineOf(act casework.Act) []asset.GroupID {
	if len(act.Ports) == 0 {
		return nil
	}
	return act.Ports[0].After
}

func (l *Line) tampered(ctx context.Context, id string, act casework.Act, why string) error {
	ds, err := l.dossier(ctx, id)
	if err != nil {
		return err
	}
	d := l.draft("inventory")
	d.acted(ds.Case, act, "act.tampered", why)
	d.apply(ds, casework.Tampered{})
	return d.commit(ctx)
}

// hold puts one quarantine back that was undone. The order in force was the gate's; what still must hold is that a person has not
// thrown the switch, and that the machine is the same.
func (l *Line) hold(ctx context.Context) (bool, error) {
	due, err := l.Ledger.DueTimers(ctx, l.Clock.Now())
	if err != nil {
		return false, err
	}
	for _, t := range due {
		key := string(casework.TimerHold) + " " + t.Case
		if t.Timer != casework.TimerHold || l.waiting(key) {
			continue
		}
		paused, err := l.paused(ctx)
		if err != nil {
			return false, err
		}
		if err := l.readMode(ctx); err != nil {
			return false, err
		}
		if paused != "" || !l.Policy.Mode.AtLeast(policy.Enforce) || !l.Loopback || l.Actor == nil || l.Clock.Doubt() != "" {
			continue // it stays due
		}
		if err := l.putBack(ctx, t.Case); errors.Is(err, casework.ErrPaused) {
			continue // it stays due
		} else if err != nil {
			l.putOff(key, err)
			return true, fmt.Errorf("case %s: %w", t.Case, err)
		}
		return true, nil
	}
	return false, nil
}

// putBack makes the order that stands for the one in force from now on: it saves what the owner has changed meanwhile, for the
// restore, and puts every port the machine has now on the quarantine group.
func (l *Line) putBack(ctx context.Context, id string) error {
	ds, err := l.dossier(ctx, id)
	if err != nil {
		return err
	}
	c := ds.Case
	d := l.draft("enforce")
	d.disarm(id, casework.TimerHold)
	running, err := l.Ledger.RunningActs(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(running, func(a casework.Act) bool { return a.Server == c.Server }) {
		return errUnfinished // it may have saved what the owner changed
	}
	if c.Act == "" || c.TakenBack() != "" || c.State != casework.Restricted && c.State != casework.Verifying {
		return d.commit(ctx)
	}
	if timers, err := l.Ledger.Timers(ctx, id); err != nil {
		return err
	} else if c.State == casework.Verifying && ds.Liftable(l.Policy) && slices.ContainsFunc(timers, isRelease) {
		return d.commit(ctx) // its fix is proven, and it is on its way back
	}
	if l.passedOn(ds) {
		return l.passFirst(ctx, id)
	}
	order, err := l.Ledger.Act(ctx, c.Act)
	if err != nil {
		return err
	}
	if err := l.orderedAll(ctx, c, order); errors.Is(err, errForged) {
		return l.holdForged(ctx, ds, err)
	} else if err != nil {
		return err
	}
	s, actions, err := l.Actor.Machine(ctx, c.Server)
	if errors.Is(err, cloud.ErrNotFound) {
		return d.commit(ctx) // gone: the inventory buries it
	}
	if err != nil {
		return err
	}
	ports, err := l.portsOf(ctx, c)
	if err != nil {
		return err
	}
	if s.Project != c.Project {
		d.apply(ds, casework.Hold{Why: "the machine is in another project than when it was taken off the network"})
		return d.commit(ctx)
	}
	ports = ownPorts(ports, c)
	if err := l.notPaused(ctx); err != nil {
		return err
	}
	group, err := l.Actor.EnsureQuarantine(ctx, l.Quarantine)
	if err != nil {
		return fmt.Errorf("preparing the quarantine group: %w", err)
	}
	act := l.newAct(c, casework.ActHold)
	act.Renews, act.Saved, act.By = order.ID, order.Saved, order.By
	if act.Ports, err = l.portsAgain(ctx, order, ports, []asset.GroupID{group}); err != nil {
		return err
	}
	if c.Stopped {
		act.Machine = machineOrder(actions, lockReason(c), missing(s, c)...)
	}
	d.intend(c, act, "the quarantine was undone")
	d.change.Require = restricting
	if err := d.commit(ctx); err != nil {
		return err
	}
	act.Version++
	return l.carryOut(ctx, act)
}

// passFirst has a case pass what somebody else must act on by now, before anything is put back: with it, what keeps the machine off the
// network may go, and then its release is due instead. What is left is put back with the next step.
func (l *Line) passFirst(ctx context.Context, id string) error {
	wait, err := l.rechargeCase(ctx, id)
	if err == nil && wait > 0 {
		err = fmt.Errorf("it passes to somebody else, which cannot be done now: %w", errUnfinished)
	}
	return err
}

// portsAgain are the orders for the ports of a machine whose quarantine takes the place of the one in force: those that it has now, and
// those that an order in force or before it put on the group and that the machine does not have now. Plugged in again, or given back, these
// must get what was saved. One that is another machine's by now is not changed: that machine has no order of this case.
func (l *Line) portsAgain(ctx context.Context, order casework.Act, has []asset.Port, group []asset.GroupID) ([]casework.PortOrder, error) {
	orders, err := l.chain(ctx, order)
	if err != nil {
		return nil, err
	}
	others, err := l.savedElsewhere(ctx, orders, has, group)
	if err != nil {
		return nil, err
	}
	var out []casework.PortOrder
	for _, p := range has {
		out = append(out, renewed(p, slices.Concat(orders, others), group))
	}
	for _, was := range portsOfAll(orders) {
		if slices.ContainsFunc(has, func(p asset.Port) bool { return p.ID == was.Port }) {
			continue
		}
		p, err := l.Actor.Port(ctx, was.Port)
		if errors.Is(err, cloud.ErrNotFound) {
			continue // a release names it
		}
		if err != nil {
			return nil, fmt.Errorf("reading port %s: %w", was.Port, err)
		}
		switch {
		case !carries(p.Groups, group) && !carries(p.Groups, was.After):
		case p.Server != "" && p.Server != order.Server:
			out = append(out, casework.PortOrder{Port: p.ID, Before: p.Groups, After: was.After, Saved: was.GivesBack(), Revision: p.Revision,
				Unsecured: !p.PortSecurity, SavedUnsecured: was.GivesBackUnsecured(), Elsewhere: true, Done: true})
		default:
			out = append(out, renewed(p, orders, group))
		}
	}
	return out, nil
}

// savedElsewhere lists orders about other machines, the latest first, for ports that carry the group and that no order of this machine names:
// their owner plugged them in here while they were in quarantine, and what they had is saved there. Only orders count that the audit log
// proves.
func (l *Line) savedElsewhere(
	ctx context.Context, orders []casework.Act, has []asset.Port, group []asset.GroupID,
) ([]casework.Act, error) {
	named := portsOfAll(orders)
	var came []asset.PortID
	for _, p := range has {
		if carries(p.Groups, group) && !slices.ContainsFunc(named, func(o casework.PortOrder) bool { return o.Port == p.ID }) {
			came = append(came, p.ID)
		}
	}
	if len(came) == 0 {
		return nil, nil
	}
	all, err := l.Ledger.Restricting(ctx, l.Cloud)
	if err != nil {
		return nil, err
	}
	return l.latestProven(ctx, all, came, func(o casework.PortOrder) bool { return !casework.SameGroups(o.GivesBack(), group) })
}

// portsOfAll lists every port that an order in force, or one whose place it took, names, each as the latest of them has it.
func portsOfAll(orders []casework.Act) []casework.PortOrder {
	var out []casework.PortOrder
	for _, a := range orders {
		for _, o := range a.Ports {
			if !slices.ContainsFunc(out, func(x casework.PortOrder) bool { return x.Port == o.Port }) {
				out = append(out, o)
			}
		}
	}
	return out
}

// renewed is the order for one port whose quarantine is put back. It gets back what it would have got, and what its owner put on it since.
// The orders are the one in force and those whose place it took, the oldest last. A port that carries the group, and that the order in
// force does not name, gets back what the latest that names it saved: the group itself is nothing to save.
func renewed(p asset.Port, orders []casework.Act, group []asset.GroupID) casework.PortOrder {
	o := casework.PortOrder{Port: p.ID, Before: p.Groups, After: group, Saved: p.Groups, Revision: p.Revision, SavedUnsecured: !p.PortSecurity,
		Unsecured: !p.PortSecurity, Done: casework.SameGroups(p.Groups, group) && p.PortSecurity}
	for i, a := range orders {
		for _, was := range a.Ports {
			if was.Port == p.ID && (i == 0 || carries(p.Groups, was.After)) {
				o.Saved = casework.ThreeWay(was.GivesBack(), was.After, p.Groups, func(asset.GroupID) bool { return true })
				o.SavedUnsecured = was.GivesBackUnsecured()
				return o
			}
		}
	}
	return o
}

// missing lists what keeps a stopped machine from being stopped and locked.
func missing(s asset.Server, c casework.Case) []casework.MachineDo {
	var out []casework.MachineDo
	if !s.Locked || s.LockedReason.Raw() != lockReason(c) { // an owner's own lock is the owner's to undo
		out = append(out, casework.DoLock)
	}
	if s.Active() {
		out = append(out, casework.DoStop)
	}
	return out
}
