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
	"demarc/internal/finding"
)

// watchActs looks whether machines that are off the network by our order still are: their owner can put groups of their own on
// their ports, add a port, or, where the lock does not hold, start a stopped machine. It is told, and put back.
func (l *Line) watchActs(ctx context.Context) error {
	cases, err := l.Ledger.Cases(ctx, access.Operator(), casework.Filter{States: []casework.State{casework.Restricted, casework.Verifying}})
	if err != nil {
		return err
	}
	known, err := l.toldOf(ctx)
	if err != nil {
		return err
	}
	for _, c := range cases {
		if c.Cloud != l.Cloud || c.Act == "" || known[c.ID] || c.TakenBack() != "" {
			continue // what is being given back is nobody's to put back
		}
		act, err := l.Ledger.Act(ctx, c.Act)
		if err != nil {
			return err
		}
		if act.State != casework.ActDone && (act.State != casework.ActHeld || c.State != casework.Restricted) {
			continue // it is not certain to be in force, and no person has said so yet
		}
		why := undone(c, act, l.x.PortsOf[c.Server], l.server(c.Server))
		if why != "" && l.Actor != nil { // a listing may be older than our own act: nobody is accused by it alone
			if why, err = l.stillUndone(ctx, c, act); err != nil {
				return err
			}
		}
		if why != "" {
			if err := l.tampered(ctx, c.ID, act, why); err != nil {
				return err
			}
		}
	}
	return nil
}

// toldOf lists the cases whose undoing was told and waits to be put back, and those with an order under way.
func (l *Line) toldOf(ctx context.Context) (map[string]bool, error) {
	due, err := l.Ledger.DueTimers(ctx, l.Clock.Now())
	if err != nil {
		return nil, err
	}
	running, err := l.Ledger.RunningActs(ctx)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, t := range due {
		known[t.Case] = known[t.Case] || t.Timer == casework.TimerHold
	}
	for _, a := range running {
		known[a.Case] = true
	}
	return known, nil
}

// stillUndone asks the cloud about the one machine.
func (l *Line) stillUndone(ctx context.Context, c casework.Case, act casework.Act) (string, error) {
	ports, err := l.portsOf(ctx, c)
	if err != nil && !errors.Is(err, cloud.ErrNotFound) {
		return "", fmt.Errorf("reading the ports of server %s: %w", c.Server, err)
	}
	s, _, err := l.Actor.Machine(ctx, c.Server)
	if errors.Is(err, cloud.ErrNotFound) {
		return "", nil // gone: the inventory buries it
	}
	if err != nil {
		return "", fmt.Errorf("reading server %s: %w", c.Server, err)
	}
	var at []*asset.Port
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
	if c.Stopped && s != nil && (s.Active() || !s.Locked) {
		return fmt.Sprintf("the machine is %s, locked: %t", s.Status, s.Locked)
	}
	return ""
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
		paused, err := l.Ledger.Paused(ctx)
		if err != nil {
			return false, err
		}
		if paused || l.Policy.DryRun || !l.Loopback || l.Actor == nil || l.Clock.Doubt() != "" {
			continue // it stays due
		}
		if err := l.putBack(ctx, t.Case); err != nil {
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
	if c.Act == "" || c.TakenBack() != "" || c.State != casework.Restricted && c.State != casework.Verifying {
		return d.commit(ctx)
	}
	if theirs, err := l.stillTheirs(ctx, id); err != nil {
		return err
	} else if !theirs && slices.ContainsFunc(ds.Findings, func(f finding.Finding) bool { return f.State.Live() }) {
		return d.commit(ctx) // it passes to somebody else, and the machine is given back
	}
	order, err := l.Ledger.Act(ctx, c.Act)
	if err != nil {
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
	if why := strange(c, s, ports); why != "" {
		d.apply(ds, casework.Hold{Why: why})
		return d.commit(ctx)
	}
	group, err := l.Actor.EnsureQuarantine(ctx, l.Quarantine)
	if err != nil {
		return fmt.Errorf("preparing the quarantine group: %w", err)
	}
	act := l.newAct(c, casework.ActHold)
	act.Renews, act.Saved, act.By = order.ID, order.Saved, order.By
	for _, p := range ports {
		act.Ports = append(act.Ports, renewed(p, order, []asset.GroupID{group}))
	}
	away, err := l.unplugged(ctx, order, ports, group)
	if err != nil {
		return err
	}
	act.Ports = append(act.Ports, away...)
	if c.Stopped {
		act.Machine = machineOrder(actions, lockReason(c), missing(s, c)...)
	}
	d.intend(c, act, "the quarantine was undone")
	if err := d.commit(ctx); err != nil {
		return err
	}
	act.Version++
	return l.carryOut(ctx, act)
}

// unplugged are the orders for ports that an order in force put on the group and that the machine does not have now: plugged in
// again, they must get back what was saved.
func (l *Line) unplugged(ctx context.Context, order casework.Act, has []asset.Port, group asset.GroupID) ([]casework.PortOrder, error) {
	var out []casework.PortOrder
	for _, was := range order.Ports {
		if slices.ContainsFunc(has, func(p asset.Port) bool { return p.ID == was.Port }) {
			continue
		}
		p, err := l.Actor.Port(ctx, was.Port)
		if errors.Is(err, cloud.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if casework.SameGroups(p.Groups, []asset.GroupID{group}) {
			out = append(out, renewed(p, order, []asset.GroupID{group}))
		}
	}
	return out, nil
}

// strange tells why a machine whose quarantine was undone is a person's matter.
func strange(c casework.Case, s asset.Server, ports []asset.Port) string {
	if s.Project != c.Project {
		return "the machine is in another project than when it was taken off the network"
	}
	for _, p := range ports {
		if p.Project != c.Project {
			return "port " + string(p.ID) + " is plugged into the machine, and belongs to another project"
		}
	}
	return ""
}

// renewed is the order for one port whose quarantine is put back. It gets back what it would have got, and what its owner put on it
// since.
func renewed(p asset.Port, order casework.Act, group []asset.GroupID) casework.PortOrder {
	o := casework.PortOrder{Port: p.ID, Before: p.Groups, After: group, Saved: p.Groups, Revision: p.Revision, Done: casework.SameGroups(p.Groups, group)}
	i := slices.IndexFunc(order.Ports, func(x casework.PortOrder) bool { return x.Port == p.ID })
	if i >= 0 {
		was := order.Ports[i]
		o.Saved = casework.ThreeWay(was.GivesBack(), was.After, p.Groups, func(asset.GroupID) bool { return true })
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
