package flow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"demarc/internal/access"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/casework/gate"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/policy"
)

// facts gathers what the gate decides on, at this moment.
func (l *Line) facts(ctx context.Context, ds casework.Dossier) (gate.Facts, error) {
	c := ds.Case
	f := gate.Facts{Now: l.Clock.Now(), Case: c, Loopback: l.Loopback, Clock: l.Clock.Doubt() == "", InventoryAge: gate.Unknown}
	if err := l.readMode(ctx); err != nil {
		return f, err
	}
	paused, err := l.paused(ctx)
	if err != nil {
		return f, err
	}
	f.Enabled = paused == ""
	if f.ProofsFrom, err = l.Ledger.ProofsFrom(ctx); err != nil {
		return f, err
	}
	ok, age, err := l.healthy(ctx)
	if err != nil {
		return f, err
	}
	f.Healthy, f.InventoryAge = ok && !l.justNow(l.partialAt), gate.Age(age)
	log, err := l.readLog(ctx, ds)
	if err != nil {
		return f, err
	}
	f.Record = log.record
	if f.Record.Doubt == "" {
		var from int64
		if from, f.Record.Doubt, err = l.decisions(ctx); err != nil {
			return f, err
		}
		f.ProofsFrom = max(f.ProofsFrom, from)
	}
	for _, x := range ds.Findings {
		looks, err := l.Ledger.Sightings(ctx, x.ID)
		if err != nil {
			return f, err
		}
		g := gate.Finding{ID: x.ID, Server: x.Key.Server, State: x.State, Grade: x.Grade, Class: x.Class, Looks: looks, ProbeAge: gate.Unknown}
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
		log.hold(&g, x, l.checks[x.Key.Check])
		f.Findings = append(f.Findings, g)
	}
	if f.People, err = l.people(ctx, c); err != nil {
		return f, err
	}
	f.Action, f.Admits = l.endOf(c), l.admits()
	if f.Target, err = l.target(ctx, ds, f.Findings, age); err != nil {
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

// endOf is what an action on the machine of a case would do, by the policy in force.
func (l *Line) endOf(c casework.Case) policy.End { return casework.EndFor(c, l.Policy) }

// Will is what an action on the machine of a case would do, by the policy and the mode in force at this moment. Safe for concurrent use.
func (l *Line) Will(ctx context.Context, c casework.Case) (policy.End, error) {
	p, err := l.rules(ctx)
	if err != nil {
		return "", err
	}
	return casework.EndFor(c, p), nil
}

// admits lists what a quarantine lets in beside the probes, as it is announced.
func (l *Line) admits() []string {
	var out []string
	for _, o := range l.Quarantine.Admit {
		if slices.ContainsFunc(l.Vantages, func(v Vantage) bool {
			return o.Prefix.IsSingleIP() && slices.Contains(v.Sources, o.Prefix.Addr())
		}) {
			continue
		}
		text := o.Prefix.String() + " " + cmp.Or(o.Proto, "any")
		if o.PortMin > 0 {
			text += fmt.Sprintf("/%d-%d", o.PortMin, max(o.PortMin, o.PortMax))
		}
		out = append(out, text)
	}
	return out
}

// justNow tells whether something was so short a time ago that nothing which followed makes up for it: readings that follow one another
// at once share a cache. 0 is never.
func (l *Line) justNow(at int64) bool {
	return at != 0 && l.Clock.Now()-at < l.Policy.Proof.ConfirmGap.Micros()
}

// target re-reads the machine: does it exist, is it in the project, does the address still lead to the port.
func (l *Line) target(ctx context.Context, ds casework.Dossier, fs []gate.Finding, age int64) (t gate.Target, err error) {
	t.BindingAge = gate.Unknown
	s := l.server(ds.Case.Server)
	if s == nil {
		return t, nil
	}
	t.ServerExists, t.SameProject = true, s.Project == ds.Case.Project
	t.Protected = l.Protected != nil && l.Protected(*s)
	t.SamePort = true
	for _, p := range l.x.PortsOf[s.ID] {
		if !p.PortSecurity {
			t.Unsecured = append(t.Unsecured, p.ID)
		}
	}
	if t.Proven, err = l.proven(ctx, ds); err != nil {
		return t, err
	}
	for _, f := range ds.Findings {
		if !f.State.Live() {
			continue
		}
		h, known := l.holds[f.Endpoint.Addr]
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
		ns, err := l.neighbours(ctx, h, firstChecked(ds, fs))
		if err != nil {
			return t, err
		}
		for _, n := range ns {
			if !slices.ContainsFunc(t.Neighbours, func(o gate.Neighbour) bool { return o.Port == n.Port }) {
				t.Neighbours = append(t.Neighbours, n)
			}
		}
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
	renews, over := map[string]string{}, map[string]bool{}
	for _, a := range acts {
		renews[a.ID] = a.Renews
	}
	end := func(id string) { // with all whose place it took: one of them may have been held for a person, and never done
		for ; id != "" && !over[id]; id = renews[id] {
			over[id] = true
		}
	}
	for _, a := range acts {
		if a.State == casework.ActDone {
			end(a.Undoes)
			end(a.Renews)
		}
	}
	return slices.DeleteFunc(acts, func(a casework.Act) bool { return a.State == casework.ActVoid || !a.KeepsOff() || over[a.ID] }), nil
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
		u.CloudHour += oneIf(lately)
		u.ProjectDay += oneIf(here)
		u.ProjectHour += oneIf(lately && here)
	}
	logged, err := l.spent(ctx, c)
	if errors.Is(err, audit.ErrUnproven) {
		return gate.Usage{}, nil // what the log does not prove is not known, and what is not known refuses; witnessed says why
	}
	if err != nil {
		return u, err
	}
	u.CloudDay, u.CloudHour = max(u.CloudDay, logged.CloudDay), max(u.CloudHour, logged.CloudHour)
	u.ProjectDay, u.ProjectHour = max(u.ProjectDay, logged.ProjectDay), max(u.ProjectHour, logged.ProjectHour)
	for _, s := range l.x.Snapshot.Servers {
		u.CloudServers += oneIf(s.Active())
		u.ProjectServers += oneIf(s.Active() && s.Project == c.Project)
	}
	return u, nil
}

// oneIf makes a yes one, to be added up.
func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}
