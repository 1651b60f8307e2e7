package duty

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"demarc/internal/asset"
)

// mostSteps bounds each of the proofs about a model, which take seconds then: a step compares the tags of selectors, or looks
// whether an assignment means a resource. A real model takes thousands.
const mostSteps = 50_000_000

// proof is the work of proving that a model decides.
type proof struct {
	tags   map[*Assignment][]int // each tag by its number, in order
	proven map[string]bool       // lists of choices among which none tie
	left   int                   // steps
}

func (m *Model) newProof() *proof {
	p := &proof{tags: make(map[*Assignment][]int, len(m.Assignments)), proven: map[string]bool{}, left: mostSteps}
	number := map[string]int{}
	for i := range m.Assignments {
		a := &m.Assignments[i]
		ts := make([]int, len(a.When.Tags))
		for j, t := range a.When.Tags {
			if _, known := number[t]; !known {
				number[t] = len(number)
			}
			ts[j] = number[t]
		}
		slices.Sort(ts)
		p.tags[a] = ts
	}
	return p
}

// undecided proves that the model answers every question exactly once, for any resource there can be: a selector for each kind
// stands alone, and where two equally specific ones can meet, a more specific one covers all that they share.
func (m *Model) undecided() *mistake { return m.newProof().undecided(m) }

func (p *proof) undecided(m *Model) *mistake {
	index := make(map[*Assignment]int, len(m.Assignments))
	for i := range m.Assignments {
		index[&m.Assignments[i]] = i
	}
	for i, kind := range m.Kinds() {
		for _, l := range Layers {
			for _, x := range Aspects {
				cs := m.tables[i].choices[slot(l, x)]
				if !slices.ContainsFunc(cs, func(c choice) bool { return c.a.When.general() }) {
					return wrongAt("$.assignments", "nobody holds %s/%s for %s", l, x, kind.Kind()).hinted("give it to somebody, or to n-a where there is no such thing")
				}
				if !p.unproven(cs, index) {
					continue
				}
				one, other := p.tie(cs)
				switch {
				case p.left < 0:
					return wrongAt("$.assignments", "selectors meet in too many ways to prove that one decides").hinted("use fewer different tags, or give what they share to one assignment that fixes more")
				case one != nil:
					return wrongAt(fmt.Sprintf("$.assignments[%d]", index[other]), "%s and %s both hold %s/%s for %s", one.ID, other.ID, l, x, both(kind, one, other)).
						hinted("narrow one of them, or add a third that is more specific than both").with(fmt.Sprintf("$.assignments[%d]", index[one]))
				}
			}
		}
	}
	return nil
}

// unproven tells whether a list of choices was not proven before. Most kinds and aspects share theirs.
func (p *proof) unproven(cs []choice, index map[*Assignment]int) bool {
	key := make([]byte, 0, 2*len(cs))
	for _, c := range cs {
		key = binary.LittleEndian.AppendUint16(key, uint16(index[c.a])) //nolint:gosec // there are mostAssignments
	}
	if p.proven[string(key)] {
		return false
	}
	p.proven[string(key)] = true
	return true
}

// tie finds two choices of equal rank that can both match a resource of their kind, where none of higher rank decides between
// them. The highest are looked at first. Those of one rank all fix the same of cloud, region, domain and project, so that two
// meet where they fix them alike; tags never keep two apart.
func (p *proof) tie(cs []choice) (one, other *Assignment) {
	higher := map[place][]*Assignment{}
	for from := 0; from < len(cs); {
		met := map[place][]*Assignment{}
		var order []place
		for rank := cs[from].rank; from < len(cs) && cs[from].rank == rank; from++ {
			at := cs[from].a.When.at()
			if met[at] == nil {
				order = append(order, at)
			}
			met[at] = append(met[at], cs[from].a)
		}
		for _, at := range order {
			if len(met[at]) > 1 {
				if one, other = p.tieAmong(met[at], p.fitting(higher, at)); one != nil || p.left < 0 {
					return one, other
				}
			}
		}
		for _, at := range order {
			higher[at] = append(higher[at], met[at]...)
		}
	}
	return nil, nil
}

// place is where a selector is, tags left out.
type place struct {
	cloud, region string
	domain        asset.DomainID
	project       asset.ProjectID
}

func (s *Selector) at() place { return place{s.Cloud, s.Region, s.Domain, s.Project} }

// wider lists a place and those that it is a part of.
func (at place) wider() []place {
	out := append(make([]place, 0, 16), at)
	for _, leave := range []func(*place){func(p *place) { p.cloud = "" }, func(p *place) { p.region = "" }, func(p *place) { p.domain = "" }, func(p *place) { p.project = "" }} {
		for _, p := range out {
			if leave(&p); !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// fitting lists the tags of those that mean all of a place, as far as tags allow; the broadest first.
func (p *proof) fitting(higher map[place][]*Assignment, at place) [][]int {
	var out [][]int
	for _, w := range at.wider() {
		for _, a := range higher[w] {
			out = append(out, p.tags[a])
		}
	}
	slices.SortStableFunc(out, func(a, b []int) int { return cmp.Compare(len(a), len(b)) })
	return out
}

// tieAmong does it for equals in one place. One that a higher one covers alone meets nobody; what is left is tried in pairs.
func (p *proof) tieAmong(equal []*Assignment, higher [][]int) (one, other *Assignment) {
	var open []*Assignment
	for _, a := range equal {
		if !p.covered(higher, p.tags[a], nil) {
			open = append(open, a)
		}
	}
	for i, b := range open {
		for _, a := range open[:i] {
			switch {
			case p.left < 0:
				return nil, nil
			case !p.covered(higher, p.tags[a], p.tags[b]):
				return a, b
			}
		}
	}
	return nil, nil
}

// covered tells whether one of higher rank needs no tag but those of a and b. Without steps left it says yes, and nothing is proven.
func (p *proof) covered(higher [][]int, a, b []int) bool {
	for _, h := range higher {
		if p.left--; p.left < 0 || within(h, a, b) {
			return true
		}
	}
	return false
}

// within tells whether every number of h is in a or b. All are in order.
func within(h, a, b []int) bool {
	for _, n := range h {
		for len(a) > 0 && a[0] < n {
			a = a[1:]
		}
		for len(b) > 0 && b[0] < n {
			b = b[1:]
		}
		if (len(a) == 0 || a[0] != n) && (len(b) == 0 || b[0] != n) {
			return false
		}
	}
	return true
}

// both describes the resources that two assignments share.
func both(kind Resource, a, b *Assignment) string {
	s := kind.Kind()
	for _, w := range []Selector{a.When, b.When} {
		w.Service, w.Architecture, w.Contract = "", "", ""
		if !w.general() && w.String() != "" {
			s += ", " + w.String()
		}
	}
	return s
}

// contradicted holds every duty against the assignments: who the sentence says holds it must hold it, or at least share it, for
// every kind of resource that the duty's own selector means. An assignment with a narrower selector may depart from it.
func (m *Model) contradicted() *mistake {
	kinds, left := m.Kinds(), mostSteps
	for i := range m.Duties {
		d := &m.Duties[i]
		holder, _ := m.Organisation(d.Holder)
		for k, r := range kinds {
			d.When.place(&r)
			if !d.When.matches(&r) {
				continue
			}
			for _, l := range d.Layers() {
				for _, x := range d.Aspects {
					s, t := slot(l, x), &m.tables[k]
					a := t.general[s]
					if !d.When.general() {
						if left -= len(t.choices[s]); left < 0 {
							return wrongAt("$.duties", "too many duties have selectors of their own to hold them against the assignments").hinted("write fewer duties, or leave out when:")
						}
						a = among(t.choices[s], &r)
					}
					if a != nil && !d.agrees(holder.Role, a) {
						return wrongAt(fmt.Sprintf("$.duties[%d]", i), "duty %s says that %s holds %s/%s for %s, and assignment %s says %s", d.ID, d.Holder, l, x, r.Kind(), a.ID, a.Ownership).
							hinted("change the duty's holder or when, or the assignment").with(fmt.Sprintf("$.assignments[%d]", slices.IndexFunc(m.Assignments, func(o Assignment) bool { return o.ID == a.ID })))
					}
				}
			}
		}
	}
	return nil
}

// agrees tells whether an assignment leaves a duty with who holds it, who is in a role.
func (d *Duty) agrees(role Role, a *Assignment) bool {
	if d.Holder == string(Shared) {
		return a.Ownership == SharedCSPCSC
	}
	switch role {
	case RoleProvider:
		return slices.Contains([]Ownership{CSPOwned, SharedCSPCSC, ThirdParty, SharedThirdParty}, a.Ownership)
	case RoleCustomer:
		return a.Ownership == CSCOwned || a.Ownership == SharedCSPCSC
	case RoleThirdParty:
		return a.Ownership.outsourced() && a.ThirdParty == d.Holder
	}
	return false
}

// mistabled holds the published table against what the model decides: what it says of an area under a service type must be so for
// at least one duty of that area. An area without a duty says nothing that could be held against it.
func (m *Model) mistabled() *mistake {
	for i, area := range m.Table {
		asked, held := map[string]bool{}, map[string]bool{}
		for k, kind := range m.Kinds() {
			a, h := m.areaHeld(area, k, kind)
			asked[kind.Service], held[kind.Service] = asked[kind.Service] || a, held[kind.Service] || h
		}
		for _, s := range m.ServiceTypes {
			if asked[s] && !held[s] {
				return wrongAt(fmt.Sprintf("$.table[%d]", i), "the table says that %s is %s under %s, and no duty of it is held so", area.Area, area.Ownership[s], s).
					hinted("change the row, or the assignments: demarc duty table --layers tells what they decide")
			}
		}
	}
	return nil
}

// areaHeld tells whether any duty of an area is about a kind of resource, and whether one is held as the table says.
func (m *Model) areaHeld(area Area, k int, kind Resource) (asked, held bool) {
	for i := range m.Duties {
		d := &m.Duties[i]
		if d.Area != area.Area || !d.When.general() || !d.When.matches(&kind) {
			continue
		}
		for _, l := range d.Layers() {
			for _, x := range d.Aspects {
				if a := m.tables[k].general[slot(l, x)]; a != nil {
					asked, held = true, held || a.Ownership == area.Ownership[kind.Service]
				}
			}
		}
	}
	return asked, held
}
