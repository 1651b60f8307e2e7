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

// A project whose loss was held, and borne out by a later reading, holds no other for a day: what it removes is its own affair, and one
// tenant who makes and deletes would else keep a whole cloud partial. Each time only a few projects are taken at their word, for a
// fault of the service hits many.
const (
	takenAtItsWord = int64(24 * 60 * 60 * 1_000_000) // µs
	fewProjects    = 3                               // or a tenth of them, if that is more
)

// Losses remember what readings lacked of what was known, and whose losses were borne out. The zero value knows of none.
type Losses struct {
	since map[string]map[string]int64 // by kind and identity: when it was lacking first
	borne map[ProjectID]int64         // when a loss that was held proved true
}

// Hold holds a reading against what is known. The gaps are the listings that lost too much since the last reading: what was lacking
// at least apart (µs) ago already counts as said twice; a listing with no row at all is never believed, but for kinds that may be
// empty. Rows that went back to an earlier revision are a gap too.
func (l *Losses) Hold(known, now *Snapshot, at, apart int64) []Gap {
	had, has := rowsOf(known), rowsOf(now)
	lacks, said := map[string]map[string]int64{}, map[string]bool{}
	for kind, ids := range had {
		for id := range ids {
			if _, listed := has[kind][id]; listed {
				continue
			}
			since, before := l.since[kind][id]
			if !before {
				since = at
			}
			if lacks[kind] == nil {
				lacks[kind] = map[string]int64{}
			}
			lacks[kind][id] = since
			said[kind+" "+id] = before && at-since >= apart
		}
	}
	l.since = lacks
	l.believe(had, said, len(known.Projects), at)
	var gaps []Gap
	for _, kind := range Kinds() {
		n, lost := 0, 0
		for id, project := range had[kind] {
			if _, ok := l.borne[project]; ok {
				continue
			}
			n++
			if _, gone := lacks[kind][id]; gone && !said[kind+" "+id] {
				lost++
			}
		}
		switch all := len(had[kind]); {
		case all >= shrinkLeast && len(has[kind]) == 0 && (!mayEmpty[kind] || lost > 0 || len(has["ports"]) == 0): // however often: an account that may not see is answered the same
			gaps = append(gaps, Gap{Kind: kind, Reason: fmt.Sprintf("0 rows, and %d are known: that is never read as gone", all)})
		case lost >= shrinkLeast && lost*shrinkShare > n:
			gaps = append(gaps, Gap{Kind: kind, Reason: fmt.Sprintf("shrank in one reading: %d of %d known ones are not listed; the next reading decides", lost, n)})
		}
	}
	return append(gaps, older(known, now)...)
}

// believe notes whose losses a second reading bore out, where they are few: the same page lost twice takes from many.
func (l *Losses) believe(had map[string]map[string]ProjectID, said map[string]bool, projects int, at int64) {
	maps.DeleteFunc(l.borne, func(_ ProjectID, since int64) bool { return at-since >= takenAtItsWord })
	few := max(fewProjects, projects/shrinkShare)
	for _, kind := range Kinds() {
		whose := map[ProjectID]bool{}
		for id, project := range had[kind] {
			if project != "" && said[kind+" "+id] {
				whose[project] = true
			}
		}
		if len(whose) > few {
			continue
		}
		for project := range whose {
			if l.borne == nil {
				l.borne = map[ProjectID]int64{}
			}
			if _, ok := l.borne[project]; !ok {
				l.borne[project] = at
			}
		}
	}
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
