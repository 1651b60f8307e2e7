package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/cloud"
	"demarc/internal/fault"
	"demarc/internal/finding"
	"demarc/internal/reach"
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
	if ds.Case.State != casework.Verifying || ds.Case.Act == "" {
		return d.commit(ctx)
	}
	// Somebody who can write into the table of timers must not be able to release a machine.
	if ds.Case.TakenBack() == "" && !ds.Liftable(l.Policy) {
		d.arm(casework.Due{Case: id, Timer: casework.TimerRecheck, At: d.now})
		return d.commit(ctx)
	}
	if l.Actor == nil {
		return errNoAccount
	}
	order, err := l.Ledger.Act(ctx, ds.Case.Act)
	if err == nil {
		err = l.orderedAll(ctx, ds.Case, order)
	}
	switch {
	case fault.Is(err, fault.NotFound):
		return d.giveBackWithoutRecord(ctx, ds)
	case errors.Is(err, errForged):
		return l.holdForged(ctx, ds, err)
	case err != nil:
		return err
	}
	act := l.newAct(ds.Case, casework.ActRestore)
	act.Undoes = order.ID
	if act.Ports, act.Lost, err = l.portsBack(ctx, ds.Case, order); err != nil {
		return err
	}
	act.Machine, err = l.wakeUp(ctx, ds.Case, order)
	old := errors.Is(err, errOld)
	if err != nil && !old && !errors.Is(err, cloud.ErrNotFound) {
		return err
	}
	if open, err := l.wouldOpen(ctx, ds, order); err != nil {
		return err
	} else if open {
		d.apply(ds, casework.StillOpen{})
		return d.commit(ctx)
	}
	if old {
		return l.givePortsBack(ctx, ds, act)
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

// errNoAccount says that a machine of ours is to be given back, and that the configuration names no account that may do it.
var errNoAccount = errors.New("no account is configured that may change the cloud")

// start lets a stopped machine run again, still off the network. Its order takes the place of the one in force: it saves what the owner has
// changed meanwhile on the ports that it puts back, for the restore.
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
	if ds.Case.Act == "" || !ds.Case.Stopped || ds.Case.TakenBack() != "" { // what is taken back is not put on the quarantine again
		return d.commit(ctx)
	}
	if l.Actor == nil {
		return errNoAccount
	}
	order, err := l.Ledger.Act(ctx, ds.Case.Act)
	if err != nil {
		return err
	}
	if err := l.orderedAll(ctx, ds.Case, order); errors.Is(err, errForged) {
		return l.holdForged(ctx, ds, err)
	} else if err != nil {
		return err
	}
	if open, err := l.wouldOpen(ctx, ds, order); err != nil {
		return err
	} else if open {
		d.apply(ds, casework.StillOpen{})
		return d.commit(ctx)
	}
	act := l.newAct(ds.Case, casework.ActStart)
	act.Renews, act.Saved, act.By = order.ID, order.Saved, order.By
	if act.Ports, err = l.closedAgain(ctx, ds.Case, order); err != nil {
		return err
	}
	if slices.ContainsFunc(act.Ports, func(o casework.PortOrder) bool { return !o.Done }) { // that is a restriction, and waits with it
		d.change.Require = casework.Require{Running: true}
	}
	if act.Machine, err = l.wakeUp(ctx, ds.Case, order); errors.Is(err, cloud.ErrNotFound) {
		return d.commit(ctx) // gone: the inventory buries it
	} else if errors.Is(err, errOld) {
		_, err := l.holdOld(ctx, ds)
		return err
	} else if err != nil {
		return err
	}
	if act.Machine == nil { // nothing was done to it, so it was never off: its fix can be seen
		d.apply(ds, casework.Started{})
		return d.commit(ctx)
	}
	d.intend(ds.Case, act, "its release was asked for")
	if err := d.commit(ctx); err != nil {
		return err
	}
	act.Version++
	return l.carryOut(ctx, act)
}

// portsBack works out what every port of an order, and of the orders whose place it took, gets back, and what cannot be given back. A port
// that is not plugged into the machine by now, or that only an earlier order names, is changed only if it still carries the quarantine:
// otherwise it is somebody's own already. A port of another machine, which another case keeps off the network, stays as it is.
func (l *Line) portsBack(ctx context.Context, c casework.Case, order casework.Act) (back []casework.PortOrder, lost []string, err error) {
	orders, err := l.chain(ctx, order)
	if err != nil {
		return nil, nil, err
	}
	theirs, err := l.keptOffByOthers(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	for i, o := range portsOfAll(orders) { // those of the order itself come first
		p, err := l.Actor.Port(ctx, o.Port)
		switch {
		case errors.Is(err, cloud.ErrNotFound):
			lost = append(lost, fmt.Sprintf("port %s was deleted meanwhile; it had the security groups %s", o.Port, joinIDs(o.GivesBack())))
			continue
		case err != nil:
			return nil, nil, err
		case p.Server != "" && theirs[p.Server] == p.Project:
			lost = append(lost, fmt.Sprintf("port %s is another server's now, which is off the network as well; it had the security groups %s",
				o.Port, joinIDs(o.GivesBack())))
			continue
		case (c.Deleted > 0 || p.Server != c.Server || i >= len(order.Ports)) && !carries(p.Groups, o.After):
			continue
		}
		given, err := l.backOn(ctx, o, p)
		if err != nil {
			return nil, nil, err
		}
		back = append(back, given)
	}
	came, without, err := l.portsThatCame(ctx, c, orders)
	return append(back, came...), append(lost, without...), err
}

// portsThatCame works out what the ports of a machine get back that its orders do not name and that are on the quarantine: their owner
// plugged them in here while another machine's order kept them off the network. What they had is saved with that order.
func (l *Line) portsThatCame(
	ctx context.Context, c casework.Case, orders []casework.Act,
) (back []casework.PortOrder, lost []string, err error) {
	has, err := l.portsOf(ctx, c)
	if errors.Is(err, cloud.ErrNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading the ports of server %s: %w", c.Server, err)
	}
	var group []asset.GroupID
	named := portsOfAll(orders)
	for _, o := range named {
		group = append(group, o.After...)
	}
	slices.Sort(group)
	group = slices.Compact(group)
	has = slices.DeleteFunc(ownPorts(has, c), func(p asset.Port) bool {
		return !carries(p.Groups, group) || slices.ContainsFunc(named, func(o casework.PortOrder) bool { return o.Port == p.ID })
	})
	elsewhere, err := l.savedElsewhere(ctx, orders, has, group)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range has {
		o, ok := savedOf(p, elsewhere)
		if !ok {
			lost = append(lost, fmt.Sprintf("port %s came from elsewhere in quarantine, and no record tells which security groups it had", p.ID))
			continue
		}
		given, err := l.backOn(ctx, o, p)
		if err != nil {
			return nil, nil, err
		}
		back = append(back, given)
	}
	return back, lost, nil
}

// savedOf is what the first of some orders says of a port that it put on a group which the port still carries.
func savedOf(p asset.Port, orders []casework.Act) (casework.PortOrder, bool) {
	for _, a := range orders {
		for _, o := range a.Ports {
			if o.Port == p.ID && carries(p.Groups, o.After) && !casework.SameGroups(o.GivesBack(), o.After) {
				return o, true
			}
		}
	}
	return casework.PortOrder{}, false
}

// keptOffByOthers lists the machines that other cases keep off the network, each with its project. No port of another project is plugged
// into them, whatever its owner wrote on it.
func (l *Line) keptOffByOthers(ctx context.Context, c casework.Case) (map[asset.ServerID]asset.ProjectID, error) {
	out := map[asset.ServerID]asset.ProjectID{}
	cases, err := l.Ledger.Cases(ctx, access.Operator(), casework.Filter{Live: true})
	if err != nil {
		return out, err
	}
	for _, o := range cases {
		if o.Act != "" && o.Cloud == l.Cloud && o.Server != c.Server {
			out[o.Server] = o.Project
		}
	}
	return out, nil
}

// carries tells whether a port has one of some groups, whatever else it has.
func carries(has, groups []asset.GroupID) bool {
	return slices.ContainsFunc(has, func(g asset.GroupID) bool { return slices.Contains(groups, g) })
}

func joinIDs(ids []asset.GroupID) string {
	if len(ids) == 0 {
		return "none"
	}
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = string(id)
	}
	return strings.Join(out, ", ")
}

// closedAgain are the orders for the ports of a stopped machine. Those that are not on the quarantine as they should be, because its owner
// changed them or added one, are put back before the machine is started: on the quarantine group as it is read back now, while enforcement
// is not paused.
func (l *Line) closedAgain(ctx context.Context, c casework.Case, order casework.Act) ([]casework.PortOrder, error) {
	ports, err := l.portsOf(ctx, c)
	if err != nil && !errors.Is(err, cloud.ErrNotFound) {
		return nil, fmt.Errorf("reading the ports of server %s: %w", c.Server, err)
	}
	orders, err := l.chain(ctx, order)
	if err != nil {
		return nil, err
	}
	var group []asset.GroupID
	for _, a := range orders { // the latest may name no port: they were deleted
		if group = quarantineOf(a); len(group) > 0 {
			break
		}
	}
	ports = ownPorts(ports, c)
	out, err := l.portsAgain(ctx, order, ports, group)
	if err != nil || !slices.ContainsFunc(out, func(o casework.PortOrder) bool { return !o.Done }) {
		return out, err
	}
	if err := l.notPaused(ctx); err != nil {
		return nil, err
	}
	now, err := l.Actor.EnsureQuarantine(ctx, l.Quarantine)
	if err != nil {
		return nil, fmt.Errorf("preparing the quarantine group: %w", err)
	}
	if slices.Equal(group, []asset.GroupID{now}) {
		return out, nil
	}
	return l.portsAgain(ctx, order, ports, []asset.GroupID{now}) // it was deleted and made anew
}

// wouldOpen tells whether the groups that a machine is to get back, as they read now, let a zone in to where a weakness was seen that is
// not proven fixed by the service itself. It is asked before a machine is started, and before one is given back whose fix was seen in its
// groups alone. A case that is taken back is given back whatever its findings say.
func (l *Line) wouldOpen(ctx context.Context, ds casework.Dossier, order casework.Act) (bool, error) {
	if ds.Case.TakenBack() != "" || l.x == nil {
		return false, nil
	}
	x, err := l.groupsNow(ctx, order)
	if err != nil {
		return false, err
	}
	for _, f := range ds.Findings {
		v := l.vantage(f.Vantage)
		if v == nil || !f.Endpoint.Addr.IsValid() || f.State != finding.Open && f.State != finding.Claimed && f.State != finding.Unverifiable {
			continue
		}
		bySettings, err := l.fixedByGroups(ctx, f)
		if err != nil {
			return false, err
		}
		if !ds.Case.Stopped && !bySettings {
			continue // the service itself was checked
		}
		set := reach.Compute(x, v.View)
		if set.LookupAt(f.Endpoint, f.Key.Port).Zone {
			return true, nil
		}
	}
	return false, nil
}

// fixedByGroups tells whether the latest check of a finding said that its groups no longer let the zone in.
func (l *Line) fixedByGroups(ctx context.Context, f finding.Finding) (bool, error) {
	looks, err := l.Ledger.Sightings(ctx, f.ID)
	if err != nil || len(looks) == 0 {
		return false, err
	}
	return looks[len(looks)-1].Verdict == finding.Removed, nil
}

// groupsNow is the inventory with the machine of an order running, its ports on the groups that they are to get back, and these groups as
// the cloud shows them at this moment.
func (l *Line) groupsNow(ctx context.Context, order casework.Act) (*asset.Index, error) {
	s := *l.givenBack(order).Snapshot
	s.Groups = slices.Clone(s.Groups)
	for _, p := range s.Ports {
		if !slices.ContainsFunc(order.Ports, func(o casework.PortOrder) bool { return o.Port == p.ID }) {
			continue
		}
		for _, id := range p.Groups {
			g, err := l.Actor.Group(ctx, id)
			switch {
			case errors.Is(err, cloud.ErrNotFound):
			case err != nil:
				return nil, fmt.Errorf("reading group %s: %w", id, err)
			default:
				s.Groups = append(slices.DeleteFunc(s.Groups, func(o asset.Group) bool { return o.ID == id }), g)
			}
		}
	}
	return asset.NewIndex(&s), nil
}

// givenBack is the inventory with the machine of an order running, and its ports on the groups that they are to get back.
func (l *Line) givenBack(order casework.Act) *asset.Index {
	s := *l.x.Snapshot
	s.Ports, s.Servers = slices.Clone(s.Ports), slices.Clone(s.Servers)
	for i := range s.Servers {
		if s.Servers[i].ID == order.Server {
			s.Servers[i].Status = "ACTIVE"
		}
	}
	for _, o := range order.Ports {
		for i := range s.Ports {
			if s.Ports[i].ID == o.Port {
				asGivenBack(&s.Ports[i], o, func(asset.GroupID) bool { return true })
			}
		}
	}
	return asset.NewIndex(&s)
}

// asGivenBack changes a port of a copied inventory to what a restore makes of it: its groups, and whether it has port security. Without
// port security no group holds, and everybody is let in.
func asGivenBack(p *asset.Port, o casework.PortOrder, exists func(asset.GroupID) bool) {
	p.Groups = casework.ThreeWay(o.GivesBack(), o.After, p.Groups, exists)
	p.PortSecurity = !unsecures(o, p.Groups)
}

// unsecures tells whether a restore that gives a port some groups switches its port security off again. Groups that the owner has put on it
// since need port security.
func unsecures(o casework.PortOrder, groups []asset.GroupID) bool {
	return o.GivesBackUnsecured() && len(groups) == 0
}

// wakeUp works out what undoes the part of an order that concerns the machine itself: what we did, and what still stands. What
// was so before us, or was changed by somebody since, is left as it is. It is nil where nothing was done to the machine, and
// cloud.ErrNotFound where the machine is gone.
func (l *Line) wakeUp(ctx context.Context, c casework.Case, order casework.Act) (*casework.MachineOrder, error) {
	orders, err := l.chain(ctx, order)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(orders, func(a casework.Act) bool { return a.Machine != nil }) {
		return nil, nil //nolint:nilnil // nothing was ordered for the machine itself
	}
	did, saved := didTo(orders), orders[len(orders)-1].Saved
	s, actions, err := l.Actor.Machine(ctx, order.Server)
	if err != nil {
		return nil, fmt.Errorf("reading the machine: %w", err)
	}
	forgets := func(a casework.Act) bool { return a.Machine != nil && a.Machine.Forgets(actions) }
	decided := slices.Contains(c.Lost, unknownMachine(order.ID)) // a person was asked about that, and lets the case go on
	if c.Stopped && !decided && slices.ContainsFunc(orders, forgets) {
		return nil, errOld // or what we did would be left as it is, and be called undone
	}
	var steps []casework.MachineDo
	if c.Stopped && did[casework.DoStop] && !s.Active() && saved != nil && (asset.Server{Status: saved.Status}).Active() {
		steps = append(steps, casework.DoStart) // before it is unlocked: its tenant could interfere
	}
	if s.Locked && s.LockedReason.Raw() == lockReason(c) { // the reason names the case: one that was asked for may have arrived late
		steps = append(steps, casework.DoUnlock)
	}
	if len(steps) == 0 && (!c.Stopped || len(did) == 0) {
		return nil, nil //nolint:nilnil // nothing was done to the machine, or it was undone before
	}
	return machineOrder(actions, "", steps...), nil
}

// errOld says that the cloud was read as it was before an act of ours.
var errOld = errors.New("the cloud's memory of the machine is older than our own act")

// mostOld is how often in a row the cloud may be read so: with what lies between the tries, for an hour.
const mostOld = 7

// unknownMachine says, for everybody who reads the case, what is not known of a machine whose release a person must decide about.
func unknownMachine(act string) string {
	return fmt.Sprintf("the server itself may be stopped or locked: the cloud does not show what was done to it (action %s)", act)
}

// holdOld waits while the cloud's memory of a machine is older than our act (errOld). After an hour the case is held: once a person has
// resumed or withdrawn it, the machine is given back by what it shows.
func (l *Line) holdOld(ctx context.Context, ds casework.Dossier) (held bool, err error) {
	key := "old " + ds.Case.ID
	l.refusals[key] = refusal{l.refusals[key].times + 1, errOld.Error()}
	if l.refusals[key].times < mostOld {
		return false, errOld
	}
	d := l.draft("release")
	ds.Case.Lost = []string{unknownMachine(ds.Case.Act)}
	for _, t := range []casework.Timer{casework.TimerRecheck, casework.TimerRelease, casework.TimerStart, casework.TimerHold} {
		d.disarm(ds.Case.ID, t)
	}
	d.apply(ds, casework.Hold{Why: fmt.Sprintf("the cloud does not remember what action %s did to the server itself, as where the account "+
		"that acts was replaced; look whether the server is stopped or locked, and resume the case or take it back", ds.Case.Act)})
	if err := d.commit(ctx); err != nil {
		return false, err
	}
	delete(l.refusals, key)
	return true, nil
}

// givePortsBack gives the ports of a machine back whose own part must wait, since the cloud was read as it was before our act. Its order
// ends nothing of the case. A case that is not taken back is watched until it is held: its quarantine would be put back.
func (l *Line) givePortsBack(ctx context.Context, ds casework.Dossier, act casework.Act) error {
	held, wait := l.holdOld(ctx, ds)
	if !held && ds.Case.TakenBack() == "" {
		return wait
	}
	act.Undoes, act.Machine = "", nil
	if act.Ports = slices.DeleteFunc(act.Ports, casework.PortOrder.Idle); len(act.Ports) == 0 {
		return wait
	}
	ds, err := l.dossier(ctx, act.Case)
	if err != nil {
		return err
	}
	d := l.draft("release")
	d.intend(ds.Case, act, "the server itself must wait: "+errOld.Error())
	if err := d.commit(ctx); err != nil {
		return err
	}
	act.Version++
	return errors.Join(wait, l.carryOut(ctx, act))
}

// chain is an order in force with those whose place it took, the oldest last. errForged: the records lead in a circle, as no order of ours
// does.
func (l *Line) chain(ctx context.Context, order casework.Act) ([]casework.Act, error) {
	out := []casework.Act{order}
	for order.Renews != "" {
		var err error
		if order, err = l.Ledger.Act(ctx, order.Renews); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out, func(a casework.Act) bool { return a.ID == order.ID }) {
			return nil, errForged
		}
		out = append(out, order)
	}
	return out, nil
}

// didTo gathers what was done to a machine by orders, whatever was undone of it since.
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
	return l.backOn(ctx, o, now)
}

// backOn works out the same for a port that was just read.
func (l *Line) backOn(ctx context.Context, o casework.PortOrder, now asset.Port) (casework.PortOrder, error) {
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
	back := casework.PortOrder{
		Port:      o.Port,
		Before:    now.Groups,
		After:     after,
		Saved:     after,
		Unsecured: !now.PortSecurity,
		Revision:  now.Revision,
	}
	back.Unsecures = unsecures(o, after)
	return back, nil
}
