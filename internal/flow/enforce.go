package flow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/casework/gate"
	"demarc/internal/cloud"
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
	if over := overBudget(ready, l); len(over) > 0 {
		for _, a := range ready {
			if err := l.refuse(ctx, a, over); err != nil {
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
	if err := l.reread(ctx); err != nil {
		return attempt{}, err
	}
	if err := l.recheck(ctx, id); err != nil {
		if ok, _, bad := l.healthy(ctx); ok || bad != nil || ctx.Err() != nil {
			return attempt{}, errors.Join(err, bad)
		}
		l.Log.Warn("no look before an act", "case", id, "err", err) // the gate refuses by the inventory, and says so
	}
	if err := l.reread(ctx); err != nil { // who may answer for the address is asked after the answer too
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

// ownPorts leaves out the ports of other projects. Their owners may write any machine's id on them, also while they are up elsewhere, and
// Nova plugs no port of another project in.
func ownPorts(ports []asset.Port, c casework.Case) []asset.Port {
	return slices.DeleteFunc(slices.Clone(ports), func(p asset.Port) bool { return p.Project != c.Project })
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
func (l *Line) unable(a attempt) []casework.Refusal {
	switch {
	case l.Actor == nil:
		return []casework.Refusal{{Condition: "actor", Reason: "there is no account to act with"}}
	case len(ownPorts(a.ports, a.ds.Case)) == 0:
		return []casework.Refusal{{Condition: "ports", Reason: "the machine has no port to close"}}
	}
	for _, p := range a.ports {
		if p.Project != a.ds.Case.Project {
			if a.ds.Case.Overruled("foreign-port") {
				continue
			}
			return []casework.Refusal{{Condition: "foreign-port", Reason: "a port of another project says that it is plugged into the machine",
				Detail: "port " + string(p.ID) + " of project " + string(p.Project) +
					"; it would be left as it is: an operator decides, by approving with --despite foreign-port"}}
		}
		if !p.PortSecurity && !a.ds.Case.Overruled("port-security") { // switched off after the inventory was read
			return []casework.Refusal{{
				Condition: "port-security",
				Reason:    "a port of the machine has port security off, so no security group holds on it",
				Detail:    "port " + string(p.ID),
			}}
		}
	}
	return nil
}

// overBudget tells why a batch as a whole must not happen.
func overBudget(batch []attempt, l *Line) []casework.Refusal {
	perProject := map[asset.ProjectID]int{}
	for _, a := range batch {
		perProject[a.ds.Case.Project]++
	}
	for _, a := range batch {
		f := a.facts
		f.Usage.Batch, f.Usage.BatchProject = len(batch), perProject[a.ds.Case.Project]
		for _, b := range gate.Decide(f, l.Policy).Blocks {
			b.Reason += fmt.Sprintf(" (a batch of %d; over budget none of it happens)", len(batch))
			return []casework.Refusal{b}
		}
	}
	return nil
}

// refuse writes down the gate's no. Nothing was changed in the cloud, and nothing is tried again by itself.
func (l *Line) refuse(ctx context.Context, a attempt, blocks []casework.Refusal) error {
	d := l.draft("enforce")
	d.disarm(a.ds.Case.ID, casework.TimerEnforce)
	h := about(a.ds.Case, "gate.refused")
	h.Detail = strings.Join(casework.Reasons(blocks, false), "; ") // the owner may read the log of the case; details stand in it for operators
	h.Refusals = blocks
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
	if errors.Is(err, casework.ErrPaused) {
		return l.refuse(ctx, a, []casework.Refusal{switchedOff(err)})
	}
	if unknown, is := errors.AsType[*unrecordedError](err); is {
		return l.refuse(ctx, a, []casework.Refusal{unknown.refusal()})
	}
	if err != nil {
		l.putOff("enforce "+a.ds.Case.ID, err)
		return err
	}
	d := l.draft("enforce")
	d.disarm(a.ds.Case.ID, casework.TimerEnforce)
	d.intend(a.ds.Case, act, "approved by "+strings.Join(act.By, ", "))
	d.change.Require = restricting
	if err := d.commit(ctx); errors.Is(err, casework.ErrPaused) {
		return l.refuse(ctx, a, []casework.Refusal{switchedOff(err)})
	} else if err != nil {
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
	if l.endOf(c) == policy.Stop {
		kind = casework.ActStop
	}
	act := l.newAct(c, kind)
	if err := l.notPaused(ctx); err != nil {
		return act, err
	}
	group, err := l.Actor.EnsureQuarantine(ctx, l.Quarantine)
	if err != nil {
		return act, fmt.Errorf("preparing the quarantine group: %w", err)
	}
	earlier, err := l.savedBefore(ctx, c, ownPorts(a.ports, c), []asset.GroupID{group})
	if err != nil {
		return act, err
	}
	for _, p := range ownPorts(a.ports, c) {
		o, err := closing(p, []asset.GroupID{group}, earlier)
		if err != nil {
			return act, err
		}
		act.Ports = append(act.Ports, o)
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

// savedBefore lists orders that say what the ports had that are on the group already: earlier ones about this machine, whatever became of
// them, and those about other machines from which their owner plugged a port in here. Only orders count that the audit log proves.
func (l *Line) savedBefore(ctx context.Context, c casework.Case, has []asset.Port, group []asset.GroupID) ([]casework.Act, error) {
	var on []asset.PortID
	for _, p := range has {
		if casework.SameGroups(p.Groups, group) {
			on = append(on, p.ID)
		}
	}
	if len(on) == 0 {
		return nil, nil
	}
	own, err := l.Ledger.ActsOn(ctx, c.Cloud, c.Server)
	if err != nil {
		return nil, err
	}
	all, err := l.Ledger.Restricting(ctx, c.Cloud)
	if err != nil {
		return nil, err
	}
	all = append(slices.DeleteFunc(all, func(a casework.Act) bool { return a.Server == c.Server }), own...)
	all = slices.DeleteFunc(all, func(a casework.Act) bool { return !a.Kind.Closes() })
	slices.SortStableFunc(all, func(a, b casework.Act) int { return cmp.Compare(a.IntendedAt, b.IntendedAt) })
	return l.latestProven(ctx, all, on, func(o casework.PortOrder) bool { return saves(o, group) })
}

// saves tells whether an order for a port that put it on the group saved what it had.
func saves(o casework.PortOrder, group []asset.GroupID) bool {
	return casework.SameGroups(o.After, group) && !casework.SameGroups(o.GivesBack(), group)
}

// closing is the order that takes one port off the network. A port that carries the group already, by an order that is recorded
// as having changed nothing, gets back what that one saved; with no such order it is an error.
func closing(p asset.Port, group []asset.GroupID, earlier []casework.Act) (casework.PortOrder, error) {
	o := casework.PortOrder{Port: p.ID, Before: p.Groups, After: group, Saved: p.Groups, SavedUnsecured: !p.PortSecurity, Revision: p.Revision,
		Unsecured: !p.PortSecurity, Done: casework.SameGroups(p.Groups, group) && p.PortSecurity}
	if !casework.SameGroups(p.Groups, group) {
		return o, nil
	}
	at := int64(-1)
	for _, a := range earlier {
		for _, was := range a.Ports {
			if was.Port == p.ID && a.Kind.Closes() && a.IntendedAt > at && saves(was, group) {
				o.Saved, o.SavedUnsecured, at = was.GivesBack(), was.GivesBackUnsecured(), a.IntendedAt
			}
		}
	}
	if at < 0 {
		return o, &unrecordedError{port: p.ID}
	}
	return o, nil
}

// unrecordedError says that a port is in quarantine already, and no record tells which groups it had: an order that saved the
// quarantine group as the one to give back would never give the network back.
type unrecordedError struct{ port asset.PortID }

func (e *unrecordedError) Error() string {
	return "port " + string(e.port) + " carries the quarantine group already, and there is no record of the security groups it had"
}

func (e *unrecordedError) refusal() casework.Refusal {
	return casework.Refusal{Condition: "ports",
		Reason: "a port of the machine carries the quarantine group already, and there is no record of the security groups it had",
		Detail: "port " + string(e.port) + ": give it its groups back by hand, then approve again"}
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
	return lockPrefix + c.Ref() + ". See the mail about this machine."
}

// lockPrefix is how the reasons of our locks begin.
const lockPrefix = "Taken off the network by the cloud's operators, case "

// intend writes an order down. The case is written with it, unchanged but for its version: what somebody decides about the case at the same
// time makes one of the two a conflict.
func (d *draft) intend(c casework.Case, act casework.Act, detail string) {
	if act.Machine != nil {
		act.Machine.Account = d.l.Actor.Account()
	}
	d.change.Acts = append(d.change.Acts, act)
	d.putCase(c)
	h := about(c, "act.intended")
	h.Act, h.Detail = string(act.Kind), partsOf(act)+", "+detail
	if sum, err := digest(act); err == nil { // else nobody carries it out
		h.Order = sum
	}
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
