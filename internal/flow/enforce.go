package flow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/casework/gate"
	"demarc/internal/cloud"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/policy"
)

// enforce takes the approved acts that are due, as one batch: over any budget, none of them happens.
func (l *Line) enforce(ctx context.Context) (bool, error) {
	due, err := l.Ledger.DueTimers(ctx, l.Clock.Now())
	if err != nil {
		return false, err
	}
	var batch []attempt
	for _, t := range due {
		key := "enforce " + t.Case
		if t.Timer != casework.TimerEnforce || l.waiting(key) {
			continue
		}
		a, err := l.prepare(ctx, t.Case)
		if err != nil {
			l.putOff(key, err)
			return true, fmt.Errorf("case %s: %w", t.Case, err)
		}
		batch = append(batch, a)
	}
	if len(batch) == 0 {
		return false, nil
	}
	ready, err := l.refuseUnready(ctx, batch)
	if err != nil {
		return true, err
	}
	if over := overBudget(ready, l); over != "" {
		for _, a := range ready {
			if err := l.refuse(ctx, a, []string{over}); err != nil {
				return true, err
			}
		}
		return true, nil
	}
	for _, a := range ready {
		if err := l.attempt(ctx, a); err != nil {
			return true, err
		}
	}
	return true, nil
}

// attempt is one act at the gate, with everything it needs.
type attempt struct {
	ds    casework.Dossier
	facts gate.Facts
	ports []asset.Port
}

// prepare proves a case anew: the cloud is read, the findings are probed, the facts are gathered.
func (l *Line) prepare(ctx context.Context, id string) (attempt, error) {
	if err := l.refresh(ctx); err != nil {
		return attempt{}, err
	}
	if err := l.recheck(ctx, id); err != nil {
		if ok, _, bad := l.healthy(ctx); ok || bad != nil || ctx.Err() != nil {
			return attempt{}, errors.Join(err, bad)
		}
		l.Log.Warn("no look before an act", "case", id, "err", err) // the gate refuses by the inventory, and says so
	}
	if err := l.refresh(ctx); err != nil { // who may answer for the address is asked after the answer too
		return attempt{}, err
	}
	ds, err := l.dossier(ctx, id)
	if err != nil {
		return attempt{}, err
	}
	a := attempt{ds: ds}
	if a.facts, err = l.facts(ctx, ds); err != nil {
		return a, err
	}
	if l.Actor == nil || !a.facts.Target.ServerExists {
		return a, nil
	}
	a.ports, err = l.portsOf(ctx, ds.Case)
	if errors.Is(err, cloud.ErrNotFound) {
		a.facts.Target.ServerExists = false
		return a, nil
	}
	return a, err
}

// portsOf reads a machine's ports anew. A port of another project that says that it is the machine's, and is plugged in nowhere, is
// only words: anybody can make one.
func (l *Line) portsOf(ctx context.Context, c casework.Case) ([]asset.Port, error) {
	ports, err := l.Actor.ServerPorts(ctx, c.Server)
	return slices.DeleteFunc(ports, func(p asset.Port) bool { return p.Project != c.Project && p.Status != "ACTIVE" }), err
}

// facts gathers what the gate decides on, at this moment.
func (l *Line) facts(ctx context.Context, ds casework.Dossier) (gate.Facts, error) {
	c := ds.Case
	f := gate.Facts{Now: l.Clock.Now(), Case: c, Loopback: l.Loopback, Clock: l.Clock.Doubt() == "", InventoryAge: gate.Unknown}
	paused, err := l.Ledger.Paused(ctx)
	if err != nil {
		return f, err
	}
	f.Enabled = !paused
	if f.ProofsFrom, err = l.Ledger.ProofsFrom(ctx); err != nil {
		return f, err
	}
	ok, age, err := l.healthy(ctx)
	if err != nil {
		return f, err
	}
	f.Healthy, f.InventoryAge = ok && !l.justNow(l.partialAt), gate.Age(age)
	for _, x := range ds.Findings {
		looks, err := l.Ledger.Sightings(ctx, x.ID)
		if err != nil {
			return f, err
		}
		g := gate.Finding{ID: x.ID, State: x.State, Grade: x.Grade, Class: x.Class, Looks: looks, ProbeAge: gate.Unknown}
		if l.x.Projects[x.Project] != nil {
			charges, err := l.Ledger.Charges(ctx, access.Operator(), x.ID)
			if err != nil {
				return f, err
			}
			g.Party, g.Held = l.chargeAnew(x).Party, finding.HeldSince(charges, duty.Customer)
		}
		for _, s := range looks { // silence confirms nothing, however fresh it is
			if s.Verdict == finding.Vulnerable {
				g.ProbeAge = gate.Age(l.Clock.Age(s.At, s.RealAt))
			}
		}
		f.Findings = append(f.Findings, g)
	}
	if f.Target, err = l.target(ctx, ds, age); err != nil {
		if ok || ctx.Err() != nil {
			return f, err
		}
		f.Target.SamePort, f.Target.BindingAge = false, gate.Unknown // what can not be read refuses
	}
	if f.OwnerOfAct, err = l.ownsActs(ctx, c); err != nil {
		return f, err
	}
	f.Usage, err = l.usage(ctx, c)
	return f, err
}

// justNow tells whether something was so short a time ago that nothing which followed makes up for it: readings that follow one another
// at once share a cache. 0 is never.
func (l *Line) justNow(at int64) bool {
	return at != 0 && l.Clock.Now()-at < l.Policy.Proof.ConfirmGap.Micros()
}

// target re-reads the machine: does it exist, is it in the project, does the address still lead to the port.
func (l *Line) target(ctx context.Context, ds casework.Dossier, age int64) (t gate.Target, err error) {
	t.BindingAge = gate.Unknown
	s := l.server(ds.Case.Server)
	if s == nil {
		return t, nil
	}
	t.ServerExists, t.SameProject = true, s.Project == ds.Case.Project
	t.Protected = l.Protected != nil && l.Protected(*s)
	holders := l.holds
	t.SamePort = true
	if t.Proven, err = l.proven(ctx, ds); err != nil {
		return t, err
	}
	for _, f := range ds.Findings {
		if !f.State.Live() {
			continue
		}
		h, known := holders[f.Endpoint.Addr]
		t.Shared = t.Shared || h.Shared
		if !known || h.Port != f.Key.Port || h.Server != f.Key.Server {
			t.SamePort = false
			continue
		}
		how, err := l.stillHolds(ctx, h)
		if err != nil {
			return t, err
		}
		t.SamePort = t.SamePort && how == steady
		t.SameProject = t.SameProject && h.Project == ds.Case.Project
		t.Spoofable = t.Spoofable || l.spoofable(h)
		t.BindingAge = gate.Age(age)
	}
	return t, nil
}

// proven tells whether the model of what the cloud lets through was held against real packets for the way to every live finding of a
// case, with the groups that the machine will have: SR-IOV, a trunk, a firewall group and more are told, and never acted on.
func (l *Line) proven(ctx context.Context, ds casework.Dossier) (bool, error) {
	for _, f := range ds.Findings {
		if !f.State.Live() {
			continue
		}
		v := l.vantage(f.Vantage)
		if v == nil {
			return false, nil
		}
		set, err := l.asSaved(ctx, ds.Case, v)
		if err != nil {
			return false, err
		}
		if a := set.LookupAt(f.Endpoint, f.Key.Port); !a.Held || len(a.Doubts) > 0 {
			return false, nil
		}
	}
	return true, nil
}

// spoofable tells whether another machine could answer for an address: one on the same network, or on the floating IP's, whose
// port may send from any address, or from this one. What is seen at such an address is told, and never acted on.
func (l *Line) spoofable(h asset.Holder) bool {
	own := l.x.Ports[h.Port]
	if own == nil {
		return true
	}
	networks, addrs := []asset.NetworkID{own.Network}, []netip.Addr{h.Addr}
	for _, f := range l.x.FloatingOf[h.Port] {
		networks = append(networks, f.Network)
	}
	for _, f := range own.FixedIPs {
		addrs = append(addrs, f.Addr)
	}
	return slices.ContainsFunc(l.x.Snapshot.Ports, func(p asset.Port) bool {
		if p.ID == h.Port || p.Server != "" && p.Server == h.Server || strings.HasPrefix(p.DeviceOwner, "network:") || !slices.Contains(networks, p.Network) {
			return false
		}
		return !p.PortSecurity || slices.ContainsFunc(p.Pairs, func(a asset.AddressPair) bool { return slices.ContainsFunc(addrs, a.Prefix.Contains) })
	})
}

// ownsActs tells whether no other case has an act in force or under way on the server.
func (l *Line) ownsActs(ctx context.Context, c casework.Case) (bool, error) {
	acts, err := l.inForce(ctx, c)
	return !slices.ContainsFunc(acts, func(a casework.Act) bool {
		return a.Case != c.ID || a.State != casework.ActHeld // one of its own that a person has looked at since
	}), err
}

// inForce lists the orders that restrict a case's machine, whatever the case: in force, under way, or perhaps so. The oldest is
// first.
func (l *Line) inForce(ctx context.Context, c casework.Case) ([]casework.Act, error) {
	acts, err := l.Ledger.ActsOn(ctx, c.Cloud, c.Server)
	if err != nil {
		return nil, err
	}
	undone := map[string]bool{}
	for _, a := range acts {
		if a.State != casework.ActDone {
			continue
		}
		switch a.Kind {
		case casework.ActRestore:
			undone[a.Undoes] = true
		case casework.ActHold:
			undone[a.Renews] = true // it stands for that one
		case casework.ActQuarantine, casework.ActStop, casework.ActStart:
		}
	}
	return slices.DeleteFunc(acts, func(a casework.Act) bool { return a.State == casework.ActVoid || !a.Kind.Restricts() || undone[a.ID] }), nil
}

// usage counts what the budgets have spent: acts that were attempted and not shown never to have happened.
func (l *Line) usage(ctx context.Context, c casework.Case) (gate.Usage, error) {
	now := l.Clock.Now()
	u := gate.Usage{Batch: 1, BatchProject: 1}
	acts, err := l.Ledger.Acts(ctx, l.Cloud, now-day)
	if err != nil {
		return u, err
	}
	for _, a := range acts {
		if !a.Kind.Restricts() || a.Kind == casework.ActHold || a.State == casework.ActVoid { // what is put back was counted when it began
			continue
		}
		lately, here := a.IntendedAt > now-hour, a.Project == c.Project
		u.CloudDay++
		u.CloudHour += count(lately)
		u.ProjectDay += count(here)
		u.ProjectHour += count(lately && here)
	}
	for _, s := range l.x.Snapshot.Servers {
		u.CloudServers += count(s.Active())
		u.ProjectServers += count(s.Active() && s.Project == c.Project)
	}
	return u, nil
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// refuseUnready refuses, each for its own reasons, the attempts that could not happen even alone, and returns the rest. A budget is
// a matter of the whole batch: what it stops is not left out here, or the others would fit.
func (l *Line) refuseUnready(ctx context.Context, batch []attempt) ([]attempt, error) {
	var ready []attempt
	for _, a := range batch {
		blocks := slices.DeleteFunc(gate.Decide(a.facts, l.Policy).Blocks, gate.IsBudget)
		if len(blocks) == 0 {
			blocks = l.unable(a)
		}
		if len(blocks) == 0 {
			ready = append(ready, a)
			continue
		}
		if err := l.refuse(ctx, a, blocks); err != nil {
			return nil, err
		}
	}
	return ready, nil
}

// unable lists what the gate does not ask and the hand could not do.
func (l *Line) unable(a attempt) []string {
	switch {
	case l.Actor == nil:
		return []string{"actor: this line has no credential to act with"}
	case len(a.ports) == 0:
		return []string{"ports: the machine has no port to close"}
	}
	for _, p := range a.ports {
		if p.Project != a.ds.Case.Project {
			return []string{"ports: port " + string(p.ID) + " says that it is the machine's, and belongs to another project: an operator must decide"}
		}
		if !p.PortSecurity {
			return []string{"ports: port " + string(p.ID) + " has port security off, so no group would hold: an operator must decide"}
		}
	}
	return nil
}

// overBudget tells why a batch as a whole must not happen.
func overBudget(batch []attempt, l *Line) string {
	perProject := map[asset.ProjectID]int{}
	for _, a := range batch {
		perProject[a.ds.Case.Project]++
	}
	for _, a := range batch {
		f := a.facts
		f.Usage.Batch, f.Usage.BatchProject = len(batch), perProject[a.ds.Case.Project]
		for _, b := range gate.Decide(f, l.Policy).Blocks {
			return fmt.Sprintf("%s (a batch of %d; over budget none of it happens)", b, len(batch))
		}
	}
	return ""
}

// refuse writes down the gate's no. Nothing was changed in the cloud, and nothing is tried again by itself.
func (l *Line) refuse(ctx context.Context, a attempt, blocks []string) error {
	d := l.draft("enforce")
	d.disarm(a.ds.Case.ID, casework.TimerEnforce)
	h := about(a.ds.Case, "gate.refused")
	h.Detail = strings.Join(blocks, "; ")
	d.say(h)
	d.apply(a.ds, casework.Refused{Blocks: blocks})
	err := d.commit(ctx)
	if err != nil {
		l.putOff("enforce "+a.ds.Case.ID, err) // or the machine would be probed anew at once, and again
	}
	return err
}

// attempt asks the gate once more at the very moment, writes the intent down, acts, and writes down what came of it.
func (l *Line) attempt(ctx context.Context, a attempt) error {
	facts, err := l.facts(ctx, a.ds)
	if err != nil {
		l.putOff("enforce "+a.ds.Case.ID, err)
		return err
	}
	if last := gate.Decide(facts, l.Policy); !last.Go {
		return l.refuse(ctx, a, last.Blocks)
	}
	act, err := l.order(ctx, a)
	if err != nil {
		l.putOff("enforce "+a.ds.Case.ID, err)
		return err
	}
	d := l.draft("enforce")
	d.disarm(a.ds.Case.ID, casework.TimerEnforce)
	d.intend(a.ds.Case, act, "approved by "+strings.Join(act.By, ", "))
	if err := d.commit(ctx); err != nil {
		l.putOff("enforce "+a.ds.Case.ID, err)
		return err
	}
	act.Version++
	return l.carryOut(ctx, act)
}

// order makes the order of an act: what it changes, from what it is as it was read for the gate.
func (l *Line) order(ctx context.Context, a attempt) (casework.Act, error) {
	c := a.ds.Case
	kind := casework.ActQuarantine
	if l.Policy.Classes[c.Class].End == policy.Stop {
		kind = casework.ActStop
	}
	act := l.newAct(c, kind)
	group, err := l.Actor.EnsureQuarantine(ctx, l.Quarantine)
	if err != nil {
		return act, fmt.Errorf("preparing the quarantine group: %w", err)
	}
	earlier, err := l.Ledger.ActsOn(ctx, c.Cloud, c.Server)
	if err != nil {
		return act, err
	}
	for _, p := range a.ports {
		act.Ports = append(act.Ports, closing(p, []asset.GroupID{group}, earlier))
	}
	for _, x := range c.Approvals {
		act.By = append(act.By, x.By)
	}
	s, actions, err := l.Actor.Machine(ctx, c.Server)
	if err != nil {
		return act, fmt.Errorf("reading the machine: %w", err)
	}
	act.Saved = l.found(s)
	if kind == casework.ActStop {
		act.Machine = machineOrder(actions, lockReason(c), casework.DoLock, casework.DoStop) // locked first: nobody can start it in between
	}
	return act, nil
}

// closing is the order that takes one port off the network. A port that carries the group already, by an order that came to
// nothing by our books, gets back what that one saved.
func closing(p asset.Port, group []asset.GroupID, earlier []casework.Act) casework.PortOrder {
	o := casework.PortOrder{Port: p.ID, Before: p.Groups, After: group, Saved: p.Groups, Revision: p.Revision, Done: casework.SameGroups(p.Groups, group)}
	if !o.Done {
		return o
	}
	at := int64(-1)
	for _, a := range earlier {
		for _, was := range a.Ports {
			if was.Port == p.ID && a.Kind.Restricts() && a.IntendedAt > at && casework.SameGroups(was.After, group) && !casework.SameGroups(was.GivesBack(), group) {
				o.Saved, at = was.GivesBack(), a.IntendedAt
			}
		}
	}
	return o
}

// newAct begins an order about a case's machine.
func (l *Line) newAct(c casework.Case, kind casework.ActKind) casework.Act {
	return casework.Act{ID: newID(), Case: c.ID, Cloud: c.Cloud, Server: c.Server, Project: c.Project, Kind: kind, State: casework.ActIntended, IntendedAt: l.Clock.Now(), RealAt: l.Clock.Real()}
}

// found is how a machine was before anything was done to it.
func (l *Line) found(s asset.Server) *casework.Saved {
	saved := &casework.Saved{Status: s.Status, Locked: s.Locked, LockReason: s.LockedReason.Terminal()}
	for _, p := range l.x.PortsOf[s.ID] {
		for _, f := range l.x.FloatingOf[p.ID] {
			saved.Floating = append(saved.Floating, f.Addr.String()+" → "+string(p.ID))
		}
	}
	return saved
}

func machineOrder(actions []asset.ServerAction, reason string, steps ...casework.MachineDo) *casework.MachineOrder {
	m := &casework.MachineOrder{Reason: reason, Seen: []string{}}
	for _, a := range actions {
		m.Seen = append(m.Seen, a.Request)
	}
	for _, do := range steps {
		m.Steps = append(m.Steps, casework.MachineStep{Do: do})
	}
	return m
}

// lockReason is what a tenant reads who asks why the machine cannot be started.
func lockReason(c casework.Case) string {
	return "Taken off the network by the cloud's operators, case " + c.Ref() + ". See the mail about this machine."
}

func (d *draft) intend(c casework.Case, act casework.Act, detail string) {
	d.change.Acts = append(d.change.Acts, act)
	h := about(c, "act.intended")
	h.Act, h.Detail = string(act.Kind), partsOf(act)+", "+detail
	d.say(h)
}

// partsOf tells what an order changes.
func partsOf(act casework.Act) string {
	var parts []string
	switch len(act.Ports) {
	case 0:
	case 1:
		parts = append(parts, "1 port")
	default:
		parts = append(parts, fmt.Sprintf("%d ports", len(act.Ports)))
	}
	if act.Machine != nil {
		for _, t := range act.Machine.Steps {
			parts = append(parts, string(t.Do))
		}
	}
	return cmp.Or(strings.Join(parts, ", "), "nothing is left to change")
}
