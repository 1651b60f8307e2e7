package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"demarc/internal/asset"
	"demarc/internal/ipset"
	"demarc/internal/policy"
	"demarc/internal/reach"
)

// The ways in which what is declared and what the cloud holds differ.
const (
	Undeclared     = "undeclared"      // the cloud holds it, and nobody declared it: it is not probed
	PartlyDeclared = "partly-declared" // the cloud holds it, and only a part of it is declared
	Unheld         = "unheld"          // it is declared, and the cloud holds nothing of it: what is probed there is not ours to probe
	PartlyHeld     = "partly-held"     // it is declared, and the cloud holds only a part of it
)

// Routed is one range that a cloud makes reachable from outside, and the object that does.
type Routed struct {
	Prefix  netip.Prefix    `json:"prefix"`
	Kind    string          `json:"kind"` // subnet, bgp
	ID      string          `json:"id"`   // of the subnet, or of the announcement
	Project asset.ProjectID `json:"project"`
	Why     string          `json:"why"`
	Claimed bool            `json:"claimed,omitempty"` // a tenant chose it, and nothing of the provider's says that it is the cloud's
}

// Mismatch is one difference between the netblocks that are declared and those that a cloud holds.
type Mismatch struct {
	ID      string         `json:"id"` // its kind and prefix: the same as long as the difference is
	Kind    string         `json:"kind"`
	Prefix  netip.Prefix   `json:"prefix"`           // of the declaration, or of the cloud
	Holder  string         `json:"holder,omitempty"` // of the declaration
	Missing []netip.Prefix `json:"missing"`          // what the other side lacks
	By      []Routed       `json:"by,omitempty"`     // the objects of the cloud that hold it, or a part of it
}

// Reconcile holds the declared netblocks against the external subnets and routed prefixes of an inventory, which must be of a
// complete reading: what a partial one lacks is no difference. The differences are in the order of their prefixes.
func Reconcile(x *asset.Index, declared []policy.Netblock) []Mismatch {
	held := RoutedPrefixes(x)
	var blocks, ours []netip.Prefix
	for _, b := range declared {
		blocks = append(blocks, b.CIDR)
	}
	for _, r := range held {
		ours = append(ours, r.Prefix)
	}
	var out []Mismatch
	seen := map[netip.Prefix]bool{}
	for _, r := range held {
		if seen[r.Prefix] || r.Claimed {
			continue // nobody is asked to declare, and so to probe, what a tenant made up
		}
		seen[r.Prefix] = true
		if m, differs := compared(r.Prefix, blocks, Undeclared, PartlyDeclared); differs {
			m.By = overlapping(held, r.Prefix)
			out = append(out, m)
		}
	}
	for _, b := range declared {
		m, differs := compared(b.CIDR, ours, Unheld, PartlyHeld)
		if differs && (m.Kind == Unheld || !b.Aggregate) {
			m.Holder, m.By = b.Holder, overlapping(held, b.CIDR)
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b Mismatch) int { return cmp.Or(a.Prefix.Compare(b.Prefix), cmp.Compare(a.Kind, b.Kind)) })
	return out
}

// compared tells what of a prefix the other side lacks: nothing, all of it, or a part.
func compared(p netip.Prefix, other []netip.Prefix, whole, part string) (m Mismatch, differs bool) {
	m = Mismatch{Kind: part, Prefix: p, Missing: lacking(p, other)}
	switch {
	case len(m.Missing) == 0:
		return m, false
	case m.Missing[0] == p:
		m.Kind = whole
	}
	m.ID = m.Kind + " " + p.String()
	return m, true
}

// lacking is what of a prefix no cover holds, as few prefixes as there can be.
func lacking(p netip.Prefix, covers []netip.Prefix) []netip.Prefix {
	return ipset.Of(p).Minus(ipset.Of(covers...)).Prefixes()
}

func overlapping(held []Routed, p netip.Prefix) []Routed {
	var out []Routed
	for _, r := range held {
		if r.Prefix.Overlaps(p) {
			out = append(out, r)
		}
	}
	return out
}

// RoutedPrefixes lists what a cloud makes reachable from outside without translating: the subnets of external networks; behind a
// router with an external gateway the subnets of global IPv6, and those whose network shares its address scope with the external
// one, for between the two the router does not translate; and what its BGP speakers announce.
// Source: Neutron administration guide, address scopes, IPv6 and BGP dynamic routing.
func RoutedPrefixes(x *asset.Index) []Routed {
	gateways := reach.Gateways(x)
	var out []Routed
	for i := range x.Snapshot.Subnets {
		s := &x.Snapshot.Subnets[i]
		if why := routedSubnet(x, s, gateways[s.ID]); s.CIDR.IsValid() && why != "" {
			out = append(out, Routed{s.CIDR.Masked(), "subnet", string(s.ID), s.Project, why, claimed(x, s, gateways[s.ID])})
		}
	}
	for i := range x.Snapshot.Links {
		l := &x.Snapshot.Links[i]
		if l.Kind != asset.LinkBGP || !l.AdminUp {
			continue
		}
		for _, p := range l.Remote {
			out = append(out, Routed{p.Masked(), "bgp", l.ID, l.Project, "announced by BGP", false})
		}
	}
	slices.SortFunc(out, func(a, b Routed) int {
		return cmp.Or(a.Prefix.Compare(b.Prefix), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// claimed tells whether a subnet is a tenant's word alone: it is on no external network, and shares the address scope of none.
func claimed(x *asset.Index, s *asset.Subnet, r *asset.Router) bool {
	n := x.Networks[s.Network]
	if n == nil || n.External || r == nil {
		return n == nil
	}
	outside := x.Networks[r.External]
	if outside == nil || n.Project == outside.Project {
		return outside == nil
	}
	return !n.SharesScope(outside, s.CIDR.Addr().Is6())
}

// routedSubnet says why a subnet can be reached from outside, whatever is declared: what a declaration is held against. "" where it can not.
func routedSubnet(x *asset.Index, s *asset.Subnet, r *asset.Router) string {
	n := x.Networks[s.Network]
	switch {
	case n != nil && n.External:
		return fmt.Sprintf("subnet of the external network %s", n.Name)
	case r == nil:
		return ""
	case s.CIDR.Addr().Is6() && s.CIDR.Addr().IsGlobalUnicast() && !s.CIDR.Addr().IsPrivate():
		return fmt.Sprintf("routed IPv6 behind router %s", r.Name)
	}
	outside := x.Networks[r.External]
	if outside != nil && n.SharesScope(outside, s.CIDR.Addr().Is6()) {
		return fmt.Sprintf("behind router %s, in the address scope of the external network %s", r.Name, outside.Name)
	}
	return ""
}
