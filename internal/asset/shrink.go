package asset

import (
	"fmt"
	"maps"
	"slices"
)

// A reading that lacks more than one row in shrinkShare of a listing, and at least shrinkLeast rows, is not believed at once: a
// page that was lost and an account that suddenly sees less look the same.
const (
	shrinkShare = 10
	shrinkLeast = 3
)

// mayEmpty are the kinds of which a cloud may truly hold none, for tenants make and delete them: where ports are still listed, the
// second reading without any is believed. Else one tenant could keep every reading partial for ever.
var mayEmpty = map[string]bool{"address_sets": true, "floating_ips": true, "routers": true, "images": true,
	"trunks": true, "load_balancers": true, "firewalls": true, "links": true, "rbac": true, "default_rules": true}

// Missing is what a reading lacked of what was known, by kind and identity.
type Missing map[string]map[string]bool

// Lacking holds a reading against what is known. The gaps are the listings that lost too much since the last reading: what that
// one lacked already counts as said twice; a listing with no row at all is never believed, but for kinds that may be empty. Rows that
// went back to an earlier revision are a gap too.
func Lacking(known, now *Snapshot, last Missing) (Missing, []Gap) {
	out := Missing{}
	var gaps []Gap
	had, has := rows(known), rows(now)
	for _, kind := range listings {
		lost := 0
		for id := range had[kind] {
			if has[kind][id] {
				continue
			}
			if out[kind] == nil {
				out[kind] = map[string]bool{}
			}
			out[kind][id] = true
			if !last[kind][id] {
				lost++
			}
		}
		switch n := len(had[kind]); {
		case n >= shrinkLeast && len(has[kind]) == 0 && (!mayEmpty[kind] || lost > 0 || len(has["ports"]) == 0): // however often: an account that may not see is answered the same
			gaps = append(gaps, Gap{Kind: kind, Reason: fmt.Sprintf("0 rows, and %d are known: that is never read as gone", n)})
		case lost >= shrinkLeast && lost*shrinkShare > n:
			gaps = append(gaps, Gap{Kind: kind, Reason: fmt.Sprintf("shrank in one reading: %d of %d known ones are not listed; the next reading decides", lost, n)})
		}
	}
	return out, append(gaps, older(known, now)...)
}

// older finds rows whose revision went back. Neutron only ever counts it up, so that is an answer from a cache, or a database that
// was restored.
func older(known, now *Snapshot) []Gap {
	var gaps []Gap
	hold := func(kind string, had, has map[string]int) {
		n, such := 0, ""
		for _, id := range slices.Sorted(maps.Keys(has)) {
			if before, ok := had[id]; ok && has[id] < before {
				if n++; n == 1 {
					such = fmt.Sprintf("%s is at revision %d and was at %d", id, has[id], before)
				}
			}
		}
		if n > 0 {
			gaps = append(gaps, Gap{Kind: kind, Reason: fmt.Sprintf("%d rows are older than what is known: %s; what is known stays until a second whole reading says the same", n, such)})
		}
	}
	hold("groups", revisions(known.Groups, func(v Group) (string, int) { return string(v.ID), v.Revision }), revisions(now.Groups, func(v Group) (string, int) { return string(v.ID), v.Revision }))
	hold("ports", revisions(known.Ports, func(v Port) (string, int) { return string(v.ID), v.Revision }), revisions(now.Ports, func(v Port) (string, int) { return string(v.ID), v.Revision }))
	hold("floating_ips", revisions(known.FloatingIPs, func(v FloatingIP) (string, int) { return string(v.ID), v.Revision }), revisions(now.FloatingIPs, func(v FloatingIP) (string, int) { return string(v.ID), v.Revision }))
	return gaps
}

func revisions[T any](vs []T, of func(T) (string, int)) map[string]int {
	out := make(map[string]int, len(vs))
	for _, v := range vs {
		id, n := of(v)
		out[id] = n
	}
	return out
}

// listings are the kinds of gaps, in the order in which a cloud is read.
var listings = []string{"projects", "users", "grants", "servers", "images", "networks", "subnets", "routers", "groups", "address_sets", "ports", "floating_ips", "trunks", "load_balancers", "firewalls", "links", "rbac", "default_rules"}

// rows are the identities that a snapshot holds, by kind.
func rows(s *Snapshot) map[string]map[string]bool {
	return map[string]map[string]bool{
		"projects":     ids(s.Projects, func(v Project) string { return string(v.ID) }),
		"users":        ids(s.Users, func(v User) string { return string(v.ID) }),
		"grants":       ids(s.Grants, func(v Grant) string { return string(v.User) + " " + string(v.Project) + " " + v.Role }),
		"servers":      ids(s.Servers, func(v Server) string { return string(v.ID) }),
		"images":       ids(s.Images, func(v Image) string { return string(v.ID) }),
		"networks":     ids(s.Networks, func(v Network) string { return string(v.ID) }),
		"subnets":      ids(s.Subnets, func(v Subnet) string { return string(v.ID) }),
		"routers":      ids(s.Routers, func(v Router) string { return string(v.ID) }),
		"groups":       ids(s.Groups, func(v Group) string { return string(v.ID) }),
		"address_sets": ids(s.AddressSets, func(v AddressSet) string { return string(v.ID) }),
		"ports":        ids(s.Ports, func(v Port) string { return string(v.ID) }),
		"floating_ips": ids(s.FloatingIPs, func(v FloatingIP) string { return string(v.ID) }),

		"trunks":         ids(s.Trunks, func(v Trunk) string { return string(v.ID) }),
		"load_balancers": ids(s.LoadBalancers, func(v LoadBalancer) string { return string(v.ID) }),
		"firewalls":      ids(s.Firewalls, func(v Firewall) string { return string(v.ID) }),
		"links":          ids(s.Links, func(v Link) string { return v.ID }),
		"rbac":           ids(s.RBAC, func(v RBAC) string { return string(v.ID) }),
		"default_rules":  ids(s.DefaultRules, func(v DefaultRule) string { return string(v.ID) }),
	}
}

func ids[T any](vs []T, id func(T) string) map[string]bool {
	out := make(map[string]bool, len(vs))
	for _, v := range vs {
		out[id(v)] = true
	}
	return out
}
