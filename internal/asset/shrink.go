package asset

import "fmt"

// A reading that lacks more than one row in shrinkShare of a listing, and at least shrinkLeast rows, is not believed at once: a
// page that was lost and an account that suddenly sees less look the same.
const (
	shrinkShare = 10
	shrinkLeast = 3
)

// mayEmpty are the kinds of which a cloud may truly hold none, for tenants make and delete them: where ports are still listed, the
// second reading without any is believed. Else one tenant could keep every reading partial for ever.
var mayEmpty = map[string]bool{"address_sets": true, "floating_ips": true, "routers": true, "images": true}

// Missing is what a reading lacked of what was known, by kind and identity.
type Missing map[string]map[string]bool

// Lacking holds a reading against what is known. The gaps are the listings that lost too much since the last reading: what that
// one lacked already counts as said twice; a listing with no row at all is never believed, but for kinds that may be empty.
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
	return out, gaps
}

// listings are the kinds of gaps, in the order in which a cloud is read.
var listings = []string{"projects", "users", "grants", "servers", "images", "networks", "subnets", "routers", "groups", "address_sets", "ports", "floating_ips"}

func rows(s *Snapshot) map[string]map[string]bool {
	out := map[string]map[string]bool{}
	put := func(kind, id string) {
		if out[kind] == nil {
			out[kind] = map[string]bool{}
		}
		out[kind][id] = true
	}
	for _, v := range s.Projects {
		put("projects", string(v.ID))
	}
	for _, v := range s.Users {
		put("users", string(v.ID))
	}
	for _, v := range s.Grants {
		put("grants", string(v.User)+" "+string(v.Project)+" "+v.Role)
	}
	for _, v := range s.Servers {
		put("servers", string(v.ID))
	}
	for _, v := range s.Images {
		put("images", string(v.ID))
	}
	for _, v := range s.Networks {
		put("networks", string(v.ID))
	}
	for _, v := range s.Subnets {
		put("subnets", string(v.ID))
	}
	for _, v := range s.Routers {
		put("routers", string(v.ID))
	}
	for _, v := range s.Groups {
		put("groups", string(v.ID))
	}
	for _, v := range s.AddressSets {
		put("address_sets", string(v.ID))
	}
	for _, v := range s.Ports {
		put("ports", string(v.ID))
	}
	for _, v := range s.FloatingIPs {
		put("floating_ips", string(v.ID))
	}
	return out
}
