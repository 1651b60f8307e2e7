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

// connected is who has joined an address to the cloud: the longest prefix decides.
func (s *Set) connected(a netip.Addr) *Connected {
	var best *Connected
	for i := range s.links {
		c := &s.links[i]
		if c.Prefix.Contains(a) && (len(s.View.Blocks) == 0 || within(s.View.Blocks, a)) && (best == nil || c.Prefix.Bits() > best.Prefix.Bits()) {
			best = c
		}
	}
	return best
}

// Connections lists what tenants have joined to the cloud, as far as the zone has a route there.
func (s *Set) Connections() []Connected {
	return slices.Clone(s.links)
}
