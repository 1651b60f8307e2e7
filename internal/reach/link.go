package reach

import (
	"fmt"
	"net/netip"
	"slices"

	"demarc/internal/asset"
)

// Connected is the project that answers for addresses which no port of the cloud holds: what a tenant has joined to the cloud by a
// VPN, an extra route or a BGP peer. Such addresses lead to notices, and never to an act: there is no machine of the cloud to act on.
type Connected struct {
	Prefix  netip.Prefix    `json:"prefix"`
	Project asset.ProjectID `json:"project"`
	Router  asset.RouterID  `json:"router,omitempty"`
	Why     string          `json:"why"`
}

// links lists what is connected, as far as the zone has a route there.
func links(x *asset.Index, v View) []Connected {
	var out []Connected
	add := func(p netip.Prefix, project asset.ProjectID, router asset.RouterID, why string) {
		if !p.IsValid() || p.Bits() == 0 || len(v.Blocks) > 0 && !overlaps(v.Blocks, p) || len(v.Blocks) == 0 && p.Addr().IsPrivate() {
			return
		}
		out = append(out, Connected{p.Masked(), project, router, why})
	}
	for i := range x.Snapshot.Routers {
		r := &x.Snapshot.Routers[i]
		if !r.AdminUp || r.External == "" {
			continue
		}
		for _, route := range r.Routes {
			add(route.Destination, r.Project, r.ID, fmt.Sprintf("extra route of router %s by %s", r.Name, route.NextHop))
		}
	}
	for i := range x.Snapshot.Links {
		l := &x.Snapshot.Links[i]
		if !l.AdminUp {
			continue
		}
		project, router := l.Project, l.Router
		if r := behind(x, l.NextHop); r != nil {
			project, router = r.Project, r.ID
		}
		for _, p := range l.Remote {
			add(p, project, router, fmt.Sprintf("%s %s", l.Kind, l.ID))
		}
	}
	return out
}

// behind is the router that has an address on an external network.
func behind(x *asset.Index, a netip.Addr) *asset.Router {
	if !a.IsValid() {
		return nil
	}
	for i := range x.Snapshot.Routers {
		for _, own := range x.Snapshot.Routers[i].ExternalIPs {
			if own == a {
				return &x.Snapshot.Routers[i]
			}
		}
	}
	return nil
}

// ground is a subnet of the cloud itself to which the outside routes: what a tenant says of it counts only where it is his own.
type ground struct {
	prefix  netip.Prefix
	project asset.ProjectID // "" on external networks: nobody's
}

// grounds lists the subnets of external networks, and those behind routers that do not translate.
func (f *finder) grounds() []ground {
	var out []ground
	for i := range f.x.Snapshot.Subnets {
		n := &f.x.Snapshot.Subnets[i]
		net, r := f.x.Networks[n.Network], f.gateways[n.ID]
		switch {
		case net != nil && net.External:
			out = append(out, ground{prefix: n.CIDR})
		case r != nil:
			if routed, _ := f.routed(n.CIDR.Masked().Addr(), net, f.x.Networks[r.External]); routed {
				out = append(out, ground{n.CIDR, n.Project})
			}
		}
	}
	return out
}

// connected is who has joined an address to the cloud, and whether it is in dispute: Neutron lets every tenant route to any destination, so
// where two of them claim an address, or one claims what is another's or the provider's own, it is nobody's. Of one project's, the longest
// prefix counts.
func (s *Set) connected(a netip.Addr) (best *Connected, disputed bool) {
	for i := range s.links {
		c := &s.links[i]
		if !c.Prefix.Contains(a) || len(s.View.Blocks) > 0 && !within(s.View.Blocks, a) {
			continue
		}
		disputed = disputed || best != nil && best.Project != c.Project
		if best == nil || c.Prefix.Bits() > best.Prefix.Bits() {
			best = c
		}
	}
	if best == nil {
		return nil, false
	}
	disputed = disputed || slices.ContainsFunc(s.grounds, func(g ground) bool { return g.prefix.Contains(a) && g.project != best.Project })
	if disputed {
		return nil, true
	}
	return best, false
}

// Disputed tells whether somebody claims to have joined an address to the cloud, and it can not be said who.
func (s *Set) Disputed(a netip.Addr) bool {
	_, disputed := s.connected(a)
	return disputed
}

// Joins tells whether a project says that it joined an address to the cloud, whatever others say.
func (s *Set) Joins(a netip.Addr, p asset.ProjectID) bool {
	return slices.ContainsFunc(s.links, func(c Connected) bool { return c.Project == p && c.Prefix.Contains(a) })
}

// Connections lists what tenants say they have joined to the cloud, as far as the zone has a route there.
func (s *Set) Connections() []Connected {
	return slices.Clone(s.links)
}
