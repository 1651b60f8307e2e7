package flow

import (
	"context"
	"math"
	"net/netip"
	"slices"
	"strings"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/casework/gate"
	"demarc/internal/finding"
)

// neighbours lists the ports that could have answered for an address of a machine at some time since a time: ports of the same network, or
// of the floating IP's, that were bound and up and could send from the address. A port that was bound at no time cannot have sent anything.
// What follows from a port's own history is what the inventory recorded, at each sync, and the one that was read last.
func (l *Line) neighbours(ctx context.Context, h asset.Holder, since int64) ([]gate.Neighbour, error) {
	var networks []asset.NetworkID
	if own := l.x.Ports[h.Port]; own != nil {
		networks = segments(l.x, own)
	}
	then, err := l.Ledger.PortsWithin(ctx, l.Cloud, networks, since)
	if err != nil {
		return nil, err
	}
	return neighbours(l.x, h, then), nil
}

// segments lists the networks in which somebody could answer for a port's addresses: its own, and those of its floating IPs.
func segments(x *asset.Index, own *asset.Port) []asset.NetworkID {
	out := []asset.NetworkID{own.Network}
	for _, f := range x.FloatingOf[own.ID] {
		out = append(out, f.Network)
	}
	return out
}

// neighbours picks, of the ports of an inventory and of earlier versions of ports, those that could have answered for an address.
func neighbours(x *asset.Index, h asset.Holder, then []asset.Port) []gate.Neighbour {
	own := x.Ports[h.Port]
	if own == nil {
		return []gate.Neighbour{{Port: h.Port, Project: h.Project, Why: "the inventory does not hold the port of the address"}}
	}
	networks, addrs := segments(x, own), []netip.Addr{h.Addr}
	for _, f := range own.FixedIPs {
		addrs = append(addrs, f.Addr)
	}
	var out []gate.Neighbour
	add := func(p *asset.Port) {
		if p.ID == h.Port || p.Server != "" && p.Server == h.Server || !slices.Contains(networks, p.Network) || !bound(x, p) {
			return
		}
		why := answersFor(x, p, own, addrs)
		if why == "" || slices.ContainsFunc(out, func(n gate.Neighbour) bool { return n.Port == p.ID }) {
			return
		}
		out = append(out, gate.Neighbour{Port: p.ID, Project: p.Project, Own: p.Project == h.Project && owns(x, p.Network, h.Project), Why: why})
	}
	for i := range x.Snapshot.Ports {
		add(&x.Snapshot.Ports[i])
	}
	for i := range then {
		add(&then[i])
	}
	return out
}

// bound tells whether a port, as read, could send: Neutron calls it ACTIVE when it is bound and up. Where the agent of its host is
// dead the status lags behind, so a port that a running machine has counts as well, unless the cloud shows that it is bound to no host:
// whose a port says that it is, its owner writes.
func bound(x *asset.Index, p *asset.Port) bool {
	s := x.Servers[p.Server]
	if p.Unbound && p.Status != "ACTIVE" {
		return false
	}
	return p.Status == "ACTIVE" || p.Server != "" && s != nil && s.Active() || strings.HasPrefix(p.DeviceOwner, "network:") && p.Server != ""
}

// answersFor tells how a port could answer for one of some addresses, "" where it could not.
func answersFor(x *asset.Index, p, own *asset.Port, addrs []netip.Addr) string {
	if strings.HasPrefix(p.DeviceOwner, "network:") { // nothing is filtered there, whatever its port security says
		if p.Server == "" && serves(x, p.Network, own.Project) {
			return ""
		}
		return "its device owner is " + p.DeviceOwner + ", so nothing is filtered there"
	}
	if !p.PortSecurity {
		return "its port security is off"
	}
	for _, pair := range p.Pairs {
		if slices.ContainsFunc(addrs, pair.Prefix.Contains) {
			return "its allowed address pair " + pair.Prefix.String() + " covers the address"
		}
	}
	return ""
}

// owns tells whether a network is a project's own. With whom its owner shares it is the owner's choice, and protects no machine of theirs.
func owns(x *asset.Index, id asset.NetworkID, project asset.ProjectID) bool {
	n := x.Networks[id]
	return n != nil && n.Project == project && !n.External
}

// serves tells whether the ports of the network service in a network are believed to be that. Neutron lets the owner of a network call any
// port so, also one that a machine of his is plugged in to: among his own he harms himself, and the provider is believed.
func serves(x *asset.Index, id asset.NetworkID, project asset.ProjectID) bool {
	n := x.Networks[id]
	providers := func(o asset.Network) bool { return o.External && o.Project == n.Project }
	return n != nil && (n.External || n.Project == project || slices.ContainsFunc(x.Snapshot.Networks, providers))
}

// firstChecked is when the first check was made that counts for a case: for each finding, the last that showed it before the first notice
// of this round. Everything that could have answered since then matters; what could have answered before decided nothing.
func firstChecked(ds casework.Dossier, fs []gate.Finding) int64 {
	first, notices := ds.Case.OpenedAt, ds.Case.Accepted(casework.StepNotice)
	for _, f := range fs {
		counts := int64(math.MaxInt64)
		for _, s := range f.Looks {
			if len(notices) == 0 {
				counts = min(counts, s.At)
			} else if s.Verdict == finding.Vulnerable && s.At <= notices[0].AcceptedAt {
				counts = s.At
			}
		}
		first = min(first, counts)
	}
	return first
}
