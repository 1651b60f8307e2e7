package duty

import (
	"fmt"
	"slices"

	"demarc/internal/asset"
)

// undecided proves that the model answers every question exactly once, for any resource there can be: a selector for each kind
// stands alone, and where two equally specific ones can meet, a more specific one covers all that they share.
func (m *Model) undecided() *mistake {
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
				if one, other := tie(cs); one != nil {
					return wrongAt(fmt.Sprintf("$.assignments[%d]", index[other]), "%s and %s both hold %s/%s for %s", one.ID, other.ID, l, x, both(kind, one, other)).
						hinted("narrow one of them, or add a third that is more specific than both").with(fmt.Sprintf("$.assignments[%d]", index[one]))
				}
			}
		}
	}
	return nil
}

// tie finds two choices of equal rank that can both match a resource of their kind, where none of higher rank decides between
// them. The highest are looked at first: below what ties among themselves there is nothing to prove, and many that do not tie
// are few that differ.
func tie(cs []choice) (one, other *Assignment) {
	for from := 0; from < len(cs); {
		to := from + 1
		for to < len(cs) && cs[to].rank == cs[from].rank {
			to++
		}
		if one, other = tieAmong(cs[:from], cs[from:to]); one != nil {
			return one, other
		}
		from = to
	}
	return nil, nil
}

// place is where a selector is, tags left out.
type place struct {
	cloud, region string
	domain        asset.DomainID
	project       asset.ProjectID
}

// tieAmong does it for choices of one rank. These all fix the same of cloud, region, domain and project, so that two meet where
// they fix them alike; tags never keep two apart.
func tieAmong(higher, equal []choice) (one, other *Assignment) {
	met := map[place][]*Assignment{}
	for _, c := range equal {
		w := &c.a.When
		at, known := place{w.Cloud, w.Region, w.Domain, w.Project}, false
		for _, b := range met[at] {
			if !slices.ContainsFunc(higher, func(h choice) bool { return h.a.covers(b, c.a) }) {
				return b, c.a
			}
			known = known || slices.Equal(slices.Sorted(slices.Values(b.When.Tags)), slices.Sorted(slices.Values(w.Tags)))
		}
		if !known { // a second one alike meets whatever the first does
			met[at] = append(met[at], c.a)
		}
	}
	return nil, nil
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

// contradicted holds every duty against the assignments: who the sentence says holds it must hold it, or at least share it,
// wherever the sentence speaks.
func (m *Model) contradicted() *mistake {
	for i := range m.Duties {
		d := &m.Duties[i]
		for _, kind := range m.Kinds() {
			r := kind
			d.When.place(&r)
			if !d.When.matches(&r) {
				continue
			}
			for _, l := range d.Layers() {
				for _, x := range d.Aspects {
					if a := m.decide(slot(l, x), &r); a != nil && !m.agrees(d, a) {
						return wrongAt(fmt.Sprintf("$.duties[%d]", i), "duty %s says that %s holds %s/%s for %s, and assignment %s says %s", d.ID, d.Holder, l, x, kind.Kind(), a.ID, a.Ownership).
							hinted("change the duty's holder or when, or the assignment").with(fmt.Sprintf("$.assignments[%d]", slices.IndexFunc(m.Assignments, func(o Assignment) bool { return o.ID == a.ID })))
					}
				}
			}
		}
	}
	return nil
}

// agrees tells whether an assignment leaves a duty with who holds it.
func (m *Model) agrees(d *Duty, a *Assignment) bool {
	if d.Holder == string(Shared) {
		return a.Ownership == SharedCSPCSC
	}
	p, _ := m.Organisation(d.Holder)
	switch p.Role {
	case RoleProvider:
		return slices.Contains([]Ownership{CSPOwned, SharedCSPCSC, ThirdParty, SharedThirdParty}, a.Ownership)
	case RoleCustomer:
		return a.Ownership == CSCOwned || a.Ownership == SharedCSPCSC
	case RoleThirdParty:
		return a.Ownership.outsourced() && a.ThirdParty == d.Holder
	}
	return false
}
