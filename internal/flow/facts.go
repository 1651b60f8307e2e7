package flow

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/casework/gate"
	"demarc/internal/duty"
	"demarc/internal/finding"
)

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
	t.SamePort = true
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
		if p.ID == h.Port || p.Server != "" && p.Server == h.Server || !slices.Contains(networks, p.Network) {
			return false
		}
		if strings.HasPrefix(p.DeviceOwner, "network:") { // nothing is filtered there, whatever its port security says
			return p.Server != "" || !l.serves(p.Network, own.Project)
		}
		return !p.PortSecurity || slices.ContainsFunc(p.Pairs, func(a asset.AddressPair) bool { return slices.ContainsFunc(addrs, a.Prefix.Contains) })
	})
}

// serves tells whether the ports of the network service in a network are believed to be that. Neutron lets the owner of a network call any
// port so, also one that a machine of his is plugged in to: among his own he harms himself, and the provider is believed.
func (l *Line) serves(id asset.NetworkID, project asset.ProjectID) bool {
	n := l.x.Networks[id]
	return n != nil && (n.External || n.Project == project || slices.ContainsFunc(l.x.Snapshot.Networks, func(o asset.Network) bool { return o.External && o.Project == n.Project }))
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
		u.CloudHour += oneIf(lately)
		u.ProjectDay += oneIf(here)
		u.ProjectHour += oneIf(lately && here)
	}
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
