package asset

import (
	"cmp"
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

// A project that alone, or with one or two others, made a loss so great that it was held, and whose loss a later reading bore out, holds no
// other of that kind for a day: what it removes is its own affair, and one tenant who makes and deletes would else keep a whole cloud
// partial. Few projects at a time are taken at their word, and none while many lose at once: a fault of the service hits many.
const (
	takenAtItsWord = int64(24 * 60 * 60 * 1_000_000) // µs
	fewProjects    = 3                               // or a tenth of them, if that is more
)

// Losses remember what readings lacked of what was known, and whose losses were borne out. The zero value knows of none.
type Losses struct {
	since map[string]map[string]int64 // by kind and identity: when it was lacking first
	held  map[loser]bool              // who made a loss one that was held, until it is borne out or was none
	borne map[loser]int64             // whose loss was held and proved true, and when
}

// loser is a project that lost rows of a kind.
type loser struct {
	kind    string
	project ProjectID
}

// Hold holds a reading against what is known. The gaps are the listings that lost too much since the last reading: what was lacking
// at least apart (µs) ago already counts as said twice; a listing with no row at all is never believed, but for kinds that may be
// empty. Rows that went back to an earlier revision are a gap too.
func (l *Losses) Hold(known, now *Snapshot, at, apart int64) []Gap {
	had, has := rowsOf(known), rowsOf(now)
	said := l.lacking(had, has, at, apart)
	few := max(fewProjects, len(known.Projects)/shrinkShare)
	l.believe(had, said, few, at)
	var gaps []Gap
	for _, kind := range Kinds() {
		t := l.tally(kind, had[kind], said[kind], few)
		switch all := len(had[kind]); {
		case all >= shrinkLeast && len(has[kind]) == 0 && (!mayEmpty[kind] || t.lost > 0 || len(has["ports"]) == 0): // however often: an account that may not see is answered the same
			gaps = append(gaps, Gap{Kind: kind, Reason: fmt.Sprintf("0 rows, and %d are known: that is never read as gone", all)})
		case t.great():
			gaps = append(gaps, Gap{Kind: kind, Reason: fmt.Sprintf("shrank in one reading: %d of %d known ones are not listed; the next reading decides", t.lost, t.known)})
		default:
			continue
		}
		for _, project := range t.suspects() {
			if l.held == nil {
				l.held = map[loser]bool{}
			}
			l.held[loser{kind, project}] = true
		}
	}
	return append(gaps, older(known, now)...)
}

// lacking notes what is not listed, and gives it by kind and identity: true where a reading at least apart ago lacked it too.
func (l *Losses) lacking(had, has map[string]map[string]ProjectID, at, apart int64) map[string]map[string]bool {
	since, said := map[string]map[string]int64{}, map[string]map[string]bool{}
	for kind, ids := range had {
		since[kind], said[kind] = map[string]int64{}, map[string]bool{}
		for id := range ids {
			if _, listed := has[kind][id]; listed {
				continue
			}
			first, before := l.since[kind][id]
			if !before {
				first = at
			}
			since[kind][id], said[kind][id] = first, before && at-first >= apart
		}
	}
	l.since = since
	return said
}

// believe takes at their word the projects whose loss was held and is borne out, as long as they are few. Who lacks nothing of the kind any
// more has lost nothing.
func (l *Losses) believe(had map[string]map[string]ProjectID, said map[string]map[string]bool, few int, at int64) {
	maps.DeleteFunc(l.borne, func(_ loser, since int64) bool { return at-since >= takenAtItsWord })
	lacks, twice := map[loser]bool{}, map[loser]bool{}
	for kind, ids := range said {
		for id, again := range ids {
			of := loser{kind, had[kind][id]}
			lacks[of], twice[of] = true, twice[of] || again
		}
	}
	maps.DeleteFunc(l.held, func(of loser, _ bool) bool { return !lacks[of] })
	believed := map[ProjectID]bool{}
	for of := range l.borne {
		believed[of.project] = true
	}
	for of := range l.held {
		if !twice[of] || len(believed) >= few && !believed[of.project] {
			continue
		}
		believed[of.project] = true
		if l.borne == nil {
			l.borne = map[loser]int64{}
		}
		l.borne[of] = at
		delete(l.held, of)
	}
}

// tally is what a listing lost in one reading, and whose it was.
type tally struct {
	known, lost int
	had, of     map[ProjectID]int // of each project, those who are taken at their word left out: what is known, and what was lost
}

func (l *Losses) tally(kind string, had map[string]ProjectID, said map[string]bool, few int) tally {
	t := tally{had: map[ProjectID]int{}, of: map[ProjectID]int{}}
	for id, project := range had {
		t.had[project]++
		if again, gone := said[id]; gone && !again {
			t.of[project]++
		}
	}
	if len(t.of) <= few {
		believed := func(p ProjectID, _ int) bool { _, ok := l.borne[loser{kind, p}]; return ok }
		maps.DeleteFunc(t.had, believed)
		maps.DeleteFunc(t.of, believed)
	}
	for project, n := range t.had {
		t.known, t.lost = t.known+n, t.lost+t.of[project]
	}
	return t
}

// great tells whether so much was lost that it is not believed at once.
func (t *tally) great() bool { return t.lost >= shrinkLeast && t.lost*shrinkShare > t.known }

// suspects are the projects without which the loss would not be great, those who lost most first; none where it takes more than
// fewProjects of them, or rows that are no project's.
func (t *tally) suspects() []ProjectID {
	order := slices.SortedFunc(maps.Keys(t.of), func(a, b ProjectID) int { return cmp.Or(cmp.Compare(t.of[b], t.of[a]), cmp.Compare(a, b)) })
	rest := *t
	for i, project := range order {
		if project == "" || i == fewProjects {
			return nil
		}
		if rest.known, rest.lost = rest.known-t.had[project], rest.lost-t.of[project]; !rest.great() {
			return order[:i+1]
		}
	}
	return nil
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
