package flow

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/cloud"
	"demarc/internal/fault"
)

// findLeftovers looks, after each sync, for ports on our group, and for machines that are locked or stopped by an order of ours, that no
// action in force explains. What is ours is decided by the recorded orders. A lock whose reason only reads like ours is listed too, without
// an order: a person decides what it is. Nothing is changed in the cloud.
func (l *Line) findLeftovers(ctx context.Context) error {
	known, err := l.Ledger.Leftovers(ctx, l.Cloud)
	if err != nil {
		return err
	}
	orders, err := l.Ledger.Restricting(ctx, l.Cloud)
	if err != nil {
		return err
	}
	found, unread, err := l.leftoversOf(ctx, orders, known)
	if err != nil {
		return err
	}
	d := l.draft("inventory")
	for i := range found {
		found[i].Since = d.now
		j := slices.IndexFunc(known, found[i].Same)
		if j >= 0 {
			found[i].Since = known[j].Since
			continue
		}
		f := found[i]
		d.say(Happening{
			Event:    "leftover.found",
			ServerID: f.Server,
			Project:  f.Project,
			Detail:   fmt.Sprintf("%s %s is as an order of ours left it, and no action in force explains it", f.Kind, f.ID()),
		})
	}
	for _, k := range known {
		if !slices.ContainsFunc(found, k.Same) {
			d.say(Happening{Event: "leftover.gone", ServerID: k.Server, Project: k.Project, Detail: fmt.Sprintf("%s %s", k.Kind, k.ID())})
		}
	}
	if len(d.news) == 0 {
		return unread
	}
	d.change.Leftovers = map[string][]casework.Leftover{l.Cloud: found}
	return errors.Join(unread, d.commit(ctx))
}

// leftoversOf compares what the inventory shows with the orders. A port of which the cloud gives no answer (unread) is listed where it was
// before.
func (l *Line) leftoversOf(
	ctx context.Context, orders []casework.Act, known []casework.Leftover,
) (out []casework.Leftover, unread, err error) {
	explained, err := l.explained(ctx)
	if err != nil {
		return nil, nil, err
	}
	groups := map[asset.GroupID]bool{}
	byServer := map[asset.ServerID]doneTo{}
	for _, o := range orders {
		for _, g := range quarantineOf(o) {
			groups[g] = true
		}
		if o.Machine != nil && o.KeepsOff() {
			byServer[o.Server] = byServer[o.Server].and(o)
		}
	}
	// The quarantine group by its name, where no order of this database says which it is. No port of its own project is meant.
	named := map[asset.GroupID]asset.ProjectID{}
	for _, g := range l.x.Snapshot.Groups {
		if g.Name.Raw() != "" && g.Name.Raw() == l.Quarantine.Name {
			named[g.ID] = g.Project
		}
	}
	for i := range l.x.Snapshot.Ports {
		p := &l.x.Snapshot.Ports[i]
		groups := maps.Clone(groups)
		for id, project := range named {
			groups[id] = groups[id] || project != p.Project
		}
		if explained.ports[p.ID] || p.Server != "" && explained.servers[p.Server] ||
			!slices.ContainsFunc(p.Groups, func(g asset.GroupID) bool { return groups[g] }) {
			continue
		}
		still, err := l.stillOn(ctx, p.ID, groups)
		if err != nil {
			unread = errors.Join(unread, fmt.Errorf("port %s: %w: %w", p.ID, errUnread, err))
			still = slices.ContainsFunc(known, func(k casework.Leftover) bool { return k.Port == p.ID })
		}
		if !still {
			continue // the listing was older than our own restore
		}
		left := casework.Leftover{Kind: casework.LeftoverPort, Port: p.ID, Server: p.Server, Project: p.Project}
		for _, o := range orders {
			if slices.ContainsFunc(o.Ports, func(x casework.PortOrder) bool { return x.Port == p.ID }) {
				left.Act, left.Case = o.ID, o.Case
			}
		}
		out = append(out, left)
	}
	machines, unlooked, err := l.machinesLeft(ctx, byServer, explained, known)
	return append(out, machines...), errors.Join(unread, unlooked), err
}

// stillOn asks the cloud whether a port is on one of our groups.
func (l *Line) stillOn(ctx context.Context, id asset.PortID, groups map[asset.GroupID]bool) (bool, error) {
	if l.Actor == nil {
		return true, nil
	}
	p, err := l.Actor.Port(ctx, id)
	if errors.Is(err, cloud.ErrNotFound) {
		return false, nil
	}
	return slices.ContainsFunc(p.Groups, func(g asset.GroupID) bool { return groups[g] }), err
}

// doneTo is what orders that keep a machine off the network did to the machine itself.
type doneTo struct {
	latest casework.Act
	at     map[casework.MachineDo]int64 // when the latest that did it was intended: one that put back less, or started the machine, hides none
}

// and adds the next order.
func (d doneTo) and(a casework.Act) doneTo {
	d.latest, d.at = a, maps.Clone(d.at)
	if d.at == nil {
		d.at = map[casework.MachineDo]int64{}
	}
	for do := range didTo([]casework.Act{a}) {
		d.at[do] = a.IntendedAt
	}
	return d
}

// machinesLeft lists the locks and stops that stand and that nothing in force explains. A machine of which the cloud gives no answer
// (unread) is listed where it was before.
func (l *Line) machinesLeft(
	ctx context.Context, byServer map[asset.ServerID]doneTo, explained explanations, known []casework.Leftover,
) (out []casework.Leftover, unread, err error) {
	undone, err := l.undoneOf(ctx)
	if err != nil {
		return nil, nil, err
	}
	for i := range l.x.Snapshot.Servers {
		s := &l.x.Snapshot.Servers[i]
		if explained.servers[s.ID] {
			continue
		}
		did, ours := byServer[s.ID]
		o := did.latest
		left := casework.Leftover{Server: s.ID, Project: s.Project, Case: o.Case, Act: o.ID}
		locked, byCase, byAct, err := l.stillLocked(ctx, s)
		if errors.Is(err, errUnread) {
			unread = errors.Join(unread, err)
			if i := slices.IndexFunc(known, func(k casework.Leftover) bool { return k.Port == "" && k.Server == s.ID }); i >= 0 {
				out = append(out, known[i])
			}
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		switch {
		case locked:
			left.Kind, left.Case, left.Act = casework.LeftoverLock, byCase, byAct
		case s.Status == "SHUTOFF" && ours && max(undone[s.ID][casework.DoStart], undone[s.ID][casework.DoUnlock]) < did.at[casework.DoStop]:
			left.Kind = casework.LeftoverStop
		default:
			continue
		}
		out = append(out, left)
	}
	return out, unread, nil
}

// undoneOf tells, for each machine, when the latest order that started or unlocked it was intended.
func (l *Line) undoneOf(ctx context.Context) (map[asset.ServerID]map[casework.MachineDo]int64, error) {
	restored, err := l.Ledger.Restored(ctx, l.Cloud)
	undone := map[asset.ServerID]map[casework.MachineDo]int64{}
	for _, r := range restored {
		for do := range didTo([]casework.Act{r}) {
			if undone[r.Server] == nil {
				undone[r.Server] = map[casework.MachineDo]int64{}
			}
			undone[r.Server][do] = r.IntendedAt
		}
	}
	return undone, err
}

// stillLocked tells whether a machine that is listed as locked by us is so, and by which order. The listing may be older than our own
// release, and a lock may arrive after the release of its case, so that no order says that it stands: the cloud is asked once more. It is
// not asked about a lock of which no order knows, since any member can write our words into the reason of a lock.
func (l *Line) stillLocked(ctx context.Context, listed *asset.Server) (locked bool, byCase, byAct string, err error) {
	ours := func(s asset.Server) bool { return s.Locked && strings.HasPrefix(s.LockedReason.Raw(), lockPrefix) }
	if !ours(*listed) {
		return false, "", "", nil
	}
	byCase, byAct, err = l.lockedBy(ctx, listed)
	if err != nil || byAct == "" || l.Actor == nil {
		return err == nil, byCase, byAct, err
	}
	s, _, err := l.Actor.Machine(ctx, listed.ID)
	switch {
	case errors.Is(err, cloud.ErrNotFound):
		return false, "", "", nil
	case err != nil:
		return false, "", "", fmt.Errorf("server %s: %w: %w", listed.ID, errUnread, err)
	}
	return ours(s), byCase, byAct, nil
}

// lockedBy finds the latest order about a machine whose case the reason of its lock names, also one that is said to be void. There is none
// where the lock only reads like ours.
func (l *Line) lockedBy(ctx context.Context, s *asset.Server) (id, act string, err error) {
	acts, err := l.Ledger.ActsOn(ctx, l.Cloud, s.ID)
	at := int64(-1)
	for _, a := range acts {
		if a.Machine != nil && a.KeepsOff() && a.IntendedAt >= at && s.LockedReason.Raw() == lockReason(casework.Case{ID: a.Case}) {
			id, act, at = a.Case, a.ID, a.IntendedAt
		}
	}
	return id, act, err
}

// stopStands tells whether one of some orders stopped a machine, and none since has started or unlocked it.
func stopStands(orders []casework.Act, undone map[casework.MachineDo]int64) bool {
	return slices.ContainsFunc(orders, func(a casework.Act) bool {
		return didTo([]casework.Act{a})[casework.DoStop] && a.IntendedAt > max(undone[casework.DoStart], undone[casework.DoUnlock])
	})
}

// explanations are the machines and ports that an action in force, or one under way, accounts for.
type explanations struct {
	ports   map[asset.PortID]bool
	servers map[asset.ServerID]bool
}

func (l *Line) explained(ctx context.Context) (explanations, error) {
	e := explanations{map[asset.PortID]bool{}, map[asset.ServerID]bool{}}
	add := func(a casework.Act) {
		if a.Server != "" { // a leftover port may be no machine's
			e.servers[a.Server] = true
		}
		for _, p := range a.Ports {
			e.ports[p.Port] = true
		}
	}
	cases, err := l.Ledger.Cases(ctx, access.Operator(), casework.Filter{Live: true})
	if err != nil {
		return e, err
	}
	for _, c := range cases {
		if c.Act == "" || c.Cloud != l.Cloud {
			continue
		}
		a, err := l.Ledger.Act(ctx, c.Act)
		if fault.Is(err, fault.NotFound) { // reconcile hands the case to a person
			e.servers[c.Server] = true
			continue
		}
		if err != nil {
			return e, err
		}
		add(a)
	}
	running, err := l.Ledger.RunningActs(ctx)
	for _, a := range running {
		if a.Clears != "" { // it ends a leftover, which is one until it has
			continue
		}
		add(a)
	}
	return e, err
}

// clearLeftovers carries out one decision of a person to end what is left over. It gives back what the order saved, as a release does.
func (l *Line) clearLeftovers(ctx context.Context) (bool, error) {
	wanted, err := l.Ledger.Clearings(ctx)
	if err != nil {
		return false, err
	}
	for _, w := range wanted {
		key := "clear " + w.ID
		if w.Cloud != l.Cloud || l.Actor == nil || l.waiting(key) || l.x == nil {
			continue
		}
		if err := l.clearLeftover(ctx, w); err != nil {
			l.putOff(key, err)
			return true, fmt.Errorf("clearing %s: %w", w.ID, err)
		}
		if !l.waiting(key) { // the cloud may have shown that it never took effect
			l.done(key)
		}
		return true, nil
	}
	return false, nil
}

func (l *Line) clearLeftover(ctx context.Context, w casework.Clearing) error {
	d := l.draft("release")
	d.change.Cleared = []string{w.ID}
	known, err := l.Ledger.Leftovers(ctx, l.Cloud)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(known, func(k casework.Leftover) bool { return k.ID() == w.ID && k.Act != "" })
	if i < 0 {
		return d.commit(ctx) // it is gone
	}
	why, err := l.explained(ctx) // since the listing a case may have taken the machine off the network
	if err != nil {
		return err
	}
	running, err := l.Ledger.RunningActs(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(running, func(a casework.Act) bool { return a.Clears != "" && sameLeftover(a, known[i]) }) {
		return errUnfinished
	}
	if why.servers[known[i].Server] || why.ports[known[i].Port] {
		d.say(Happening{Event: "leftover.explained", ServerID: known[i].Server, Project: known[i].Project,
			Detail: fmt.Sprintf("%s %s is the work of an action in force now, and stays", known[i].Kind, w.ID)})
		return d.commit(ctx)
	}
	order, err := l.Ledger.Act(ctx, known[i].Act)
	if err != nil {
		return err
	}
	ds, err := l.dossier(ctx, order.Case)
	if err == nil {
		err = l.orderedAll(ctx, ds.Case, order)
	}
	if errors.Is(err, errForged) || fault.Is(err, fault.NotFound) { // or a record that it names is missing
		d.say(Happening{Event: "act.disowned", ServerID: order.Server, Act: string(order.Kind), Detail: err.Error()})
		return d.commit(ctx)
	}
	if err != nil {
		return err
	}
	act := l.newAct(ds.Case, casework.ActRestore)
	act.Server, act.Undoes, act.Clears, act.By = known[i].Server, order.ID, w.ID, []string{w.By}
	if act.Ports, err = l.portsLeft(ctx, known[i], order, why.ports); err != nil {
		return err
	}
	if known[i].Kind != casework.LeftoverPort {
		c := ds.Case
		if c.Stopped, err = l.stopIsLeft(ctx, order); err != nil {
			return err
		}
		c.Lost = []string{unknownMachine(order.ID)} // a person has decided by what the machine shows
		if act.Machine, err = l.wakeUp(ctx, c, order); err != nil && !errors.Is(err, cloud.ErrNotFound) {
			return err
		}
	}
	d.actor = w.By
	d.intend(ds.Case, act, "a leftover is ended by "+w.By+": "+w.Why)
	if err := d.commit(ctx); err != nil {
		return err
	}
	act.Version++
	return l.carryOut(ctx, act)
}

// stopIsLeft tells whether the stop of an order, or of one whose place it took, was undone by none since. Else its owner switched it off.
func (l *Line) stopIsLeft(ctx context.Context, order casework.Act) (bool, error) {
	orders, err := l.chain(ctx, order)
	if err != nil {
		return false, err
	}
	undone, err := l.undoneOf(ctx)
	return stopStands(orders, undone[order.Server]), err
}

// sameLeftover tells whether an order that ends a leftover concerns the machine or port of another one.
func sameLeftover(a casework.Act, k casework.Leftover) bool {
	return k.Server != "" && a.Server == k.Server ||
		slices.ContainsFunc(a.Ports, func(o casework.PortOrder) bool { return o.Port == k.Port })
}

// clearAgain keeps a person's decision whose order never took effect: it is carried out a little later.
func (l *Line) clearAgain(ctx context.Context, d *draft, act casework.Act) error {
	if act.Clears == "" || len(act.By) == 0 {
		return d.commit(ctx)
	}
	d.change.Clear = []casework.Clearing{{Cloud: act.Cloud, ID: act.Clears, By: act.By[0], Why: "decided earlier, and it never took effect"}}
	if err := d.commit(ctx); err != nil {
		return err
	}
	l.putOff("clear "+act.Clears, errors.New(act.Note))
	return nil
}

// portsLeft works out what the ports of a leftover get back. A port counts that carries a quarantine group of ours, whichever it is and
// whatever else it carries: none of them is left on it. A port that an action in force accounts for is another machine's by now, and stays.
func (l *Line) portsLeft(
	ctx context.Context, left casework.Leftover, order casework.Act, explained map[asset.PortID]bool,
) ([]casework.PortOrder, error) {
	orders, err := l.Ledger.Restricting(ctx, l.Cloud)
	if err != nil {
		return nil, err
	}
	var ours []asset.GroupID
	for _, o := range orders {
		ours = append(ours, quarantineOf(o)...)
	}
	var out []casework.PortOrder
	for _, o := range order.Ports {
		if left.Kind == casework.LeftoverPort && o.Port != left.Port || explained[o.Port] {
			continue
		}
		o.After = append(slices.Clone(o.After), ours...)
		back, err := l.backOf(ctx, o)
		if errors.Is(err, cloud.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if carries(back.Before, o.After) {
			out = append(out, back)
		}
	}
	return out, nil
}

// Clear writes down a person's decision to end what is left over on a port or machine.
func (l *Line) Clear(ctx context.Context, w casework.Clearing) error {
	d := l.draft("people")
	d.actor = w.By
	d.change.Clear = []casework.Clearing{w}
	d.say(Happening{Event: "people.cleared", Detail: fmt.Sprintf("%s, by %s: %s", w.ID, w.By, w.Why)})
	return d.commit(ctx)
}
