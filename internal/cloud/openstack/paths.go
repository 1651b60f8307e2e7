package openstack

import (
	"fmt"
	"net/netip"
	"slices"

	"demarc/internal/asset"
)

// paths reads what few clouds have. A service or an extension that is not there has none of it; all other trouble is a gap.
func (r *reading) paths() {
	s, n := r.snap, r.c.network
	s.Trunks = list(r, listing{kind: "trunks", client: n, path: "trunks", key: "trunks", may: true}, func(w wireTrunk) string { return w.ID }, wireTrunk.asset)
	// Neutron's own listing of grants takes a limit for each of its tables, and knows no marker (seen in Zed): it has no pages.
	s.RBAC = list(r, listing{kind: "rbac", client: n, path: "rbac-policies", key: "rbac_policies", may: true, whole: true}, func(w wireRBAC) string { return w.ID }, wireRBAC.asset)
	s.DefaultRules = list(r, listing{kind: "default_rules", client: n, path: "default-security-group-rules", key: "default_security_group_rules", may: true}, func(w wireDefaultRule) string { return w.ID }, wireDefaultRule.asset)
	r.balancers()
	r.firewalls()
	r.vpns()
	r.speakers()
}

// balancers reads Octavia, where the catalog has it. One of which a listener is not understood, or may not be listed, is left out whole.
func (r *reading) balancers() {
	if r.c.balancer == nil {
		return
	}
	s, lb := r.snap, r.c.balancer
	s.LoadBalancers = list(r, listing{kind: "load_balancers", client: lb, path: "lbaas/loadbalancers", key: "loadbalancers"}, func(w wireBalancer) string { return w.ID }, wireBalancer.asset)
	at := map[string]int{}
	for i := range s.LoadBalancers {
		at[string(s.LoadBalancers[i].ID)] = i
	}
	odd := map[string]bool{}
	list(r, listing{kind: "load_balancers", client: lb, path: "lbaas/listeners", key: "listeners"}, func(w wireListener) string { return w.ID }, func(w wireListener) (struct{}, error) {
		l, err := w.asset()
		for _, b := range w.LoadBalancers {
			i, known := at[b.ID]
			switch {
			case err != nil:
				odd[b.ID] = true
			case known:
				s.LoadBalancers[i].Listeners = append(s.LoadBalancers[i].Listeners, l)
			default:
				r.exists("load_balancers", lb, "lbaas/loadbalancers/"+b.ID, "listener "+named(w.ID)+" belongs to it")
			}
		}
		return struct{}{}, err
	})
	s.LoadBalancers = slices.DeleteFunc(s.LoadBalancers, func(b asset.LoadBalancer) bool { return odd[string(b.ID)] || r.unread["lbaas/listeners"] })
}

// by reads a listing that others refer to, by its identifiers.
func by[W any](r *reading, kind, path, key string, id func(W) string) map[string]W {
	out := map[string]W{}
	list(r, listing{kind: kind, client: r.c.network, path: path, key: key, may: true}, id, func(w W) (struct{}, error) {
		out[id(w)] = w
		return struct{}{}, nil
	})
	return out
}

// firewalls reads FWaaS v2: groups, the policy of what they let in, and the policy's rules in their order.
func (r *reading) firewalls() {
	const kind = "firewalls"
	type group struct {
		asset.Firewall
		policy string
	}
	groups := list(r, listing{kind: kind, client: r.c.network, path: "fwaas/firewall_groups", key: "firewall_groups", may: true}, func(w wireFirewall) string { return w.ID },
		func(w wireFirewall) (group, error) {
			f, err := w.asset()
			return group{f, orEmpty(w.Ingress)}, err
		})
	if len(groups) == 0 {
		return
	}
	policies := by(r, kind, "fwaas/firewall_policies", "firewall_policies", func(w wireFirewallPolicy) string { return w.ID })
	rules := by(r, kind, "fwaas/firewall_rules", "firewall_rules", func(w wireFirewallRule) string { return w.ID })
	for _, g := range groups {
		var err error
		if g.policy != "" {
			g.Ingress, err = ingress(g.policy, policies, rules)
		}
		if err != nil {
			r.odd(listing{kind: kind, path: "fwaas/firewall_groups"}, string(g.ID), err)
			continue
		}
		r.snap.Firewalls = append(r.snap.Firewalls, g.Firewall)
	}
}

func ingress(id string, policies map[string]wireFirewallPolicy, rules map[string]wireFirewallRule) ([]asset.FirewallRule, error) {
	p, ok := policies[id]
	if !ok || p.Rules == nil {
		return nil, fmt.Errorf("its policy %s was not listed with its rules", named(id))
	}
	var out []asset.FirewallRule
	for _, id := range *p.Rules {
		w, ok := rules[id]
		if !ok {
			return nil, fmt.Errorf("its rule %s was not listed", named(id))
		}
		rule, none, err := w.asset()
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", named(id), err)
		}
		if !none {
			out = append(out, rule)
		}
	}
	return out, nil
}

// vpns reads the connections of VPNaaS.
func (r *reading) vpns() {
	const kind, path = "links", "vpn/ipsec-site-connections"
	conns := list(r, listing{kind: kind, client: r.c.network, path: path, key: "ipsec_site_connections", may: true}, func(w wireVPN) string { return w.ID }, sure(func(w wireVPN) wireVPN { return w }))
	if len(conns) == 0 {
		return
	}
	services := by(r, kind, "vpn/vpnservices", "vpnservices", func(w wireVPNService) string { return w.ID })
	groups := by(r, kind, "vpn/endpoint-groups", "endpoint_groups", func(w wireEndpoints) string { return w.ID })
	for _, w := range conns {
		l, err := w.asset(services, groups)
		if err != nil {
			r.odd(listing{kind: kind, path: path}, w.ID, err)
			continue
		}
		r.snap.Links = append(r.snap.Links, l)
	}
}

// speakers reads what BGP speakers announce: one link for each router that an announcement names as its next hop.
func (r *reading) speakers() {
	const kind = "links"
	routers := map[netip.Addr]*asset.Router{}
	for i := range r.snap.Routers {
		for _, a := range r.snap.Routers[i].ExternalIPs {
			routers[a] = &r.snap.Routers[i]
		}
	}
	speakers := list(r, listing{kind: kind, client: r.c.network, path: "bgp-speakers", key: "bgp_speakers", may: true}, func(w wireSpeaker) string { return w.ID }, sure(func(w wireSpeaker) wireSpeaker { return w }))
	for _, w := range speakers {
		odd := r.oddities[kind]
		at, before := map[netip.Addr]int{}, len(r.snap.Links)
		l := listing{kind: kind, client: r.c.network, path: "bgp-speakers/" + w.ID + "/get_advertised_routes", key: "advertised_routes", whole: true}
		list(r, l, func(w wireRoute) string { return w.Destination + " " + w.NextHop }, func(route wireRoute) (struct{}, error) {
			var k strict
			hop, to := k.addr("next_hop", route.NextHop), k.prefix("destination", route.Destination)
			if k.err != nil {
				return struct{}{}, k.err
			}
			i, known := at[hop]
			if !known {
				i, at[hop] = len(r.snap.Links), len(r.snap.Links)
				r.snap.Links = append(r.snap.Links, announced(w, hop, routers[hop]))
			}
			r.snap.Links[i].Remote = append(r.snap.Links[i].Remote, to)
			return struct{}{}, nil
		})
		if r.unread[l.path] || r.oddities[kind] > odd {
			r.snap.Links = r.snap.Links[:before] // what is known of it stays known
		}
	}
}

// announced is a link by a next hop. It is the project's whose router has that address, and the speaker's where none has.
func announced(w wireSpeaker, hop netip.Addr, router *asset.Router) asset.Link {
	l := asset.Link{ID: w.ID + " " + hop.String(), Kind: asset.LinkBGP, Project: asset.ProjectID(w.ProjectID), NextHop: hop, AdminUp: true}
	if router != nil {
		l.Router, l.Project, l.AdminUp = router.ID, router.Project, router.AdminUp
	}
	return l
}
