package duty

import (
	"fmt"
	"slices"
)

// undecided proves that the model answers every question exactly once, for any resource there can be: a selector for each kind
// stands alone, and where two equally specific ones can meet, a more specific one covers all that they share.
func (m *Model) undecided() *mistake {
	index := map[*Assignment]int{}
	at := make([][]*Assignment, len(Layers)*len(Aspects))
	for i := range m.Assignments {
		a := &m.Assignments[i]
		index[a] = i
		for _, x := range Aspects {
			if a.decides(x) {
				s := slot(a.Layer, x)
				at[s] = append(at[s], a)
			}
		}
	}
	for _, kind := range m.Kinds() {
		for _, l := range Layers {
			for _, x := range Aspects {
				of := ofKind(at[slot(l, x)], kind)
				if !slices.ContainsFunc(of, func(a *Assignment) bool { return a.When.general() }) {
					return wrongAt("$.assignments", "nobody holds %s/%s for %s", l, x, kind.Kind()).hinted("give it to somebody, or to n-a where there is no such thing")
				}
				if one, other := tie(of); one != nil {
					return wrongAt(fmt.Sprintf("$.assignments[%d]", index[other]), "%s and %s both hold %s/%s for %s", one.ID, other.ID, l, x, both(kind, one, other)).
						hinted("narrow one of them, or add a third that is more specific than both").with(fmt.Sprintf("$.assignments[%d]", index[one]))
				}
			}
		}
	}
	return nil
}

// ofKind keeps what may match a resource of a kind.
func ofKind(as []*Assignment, kind Resource) []*Assignment {
	var out []*Assignment
	for _, a := range as {
		w := a.When
		if (w.Service == "" || w.Service == kind.Service) && (w.Architecture == "" || w.Architecture == kind.Architecture) && (w.Contract == "" || w.Contract == kind.Contract) {
			out = append(out, a)
		}
	}
	return out
}

// tie finds two assignments of equal rank that can both match, where none of higher rank decides between them.
func tie(as []*Assignment) (one, other *Assignment) {
	for i, b := range as {
		for _, a := range as[:i] {
			if a.rank() != b.rank() || !a.meets(b) {
				continue
			}
			if !slices.ContainsFunc(as, func(c *Assignment) bool { return c.rank() > a.rank() && c.covers(a, b) }) {
				return a, b
			}
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
	c := &Model{Assignments: m.Assignments}
	c.compile()
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
					if a := c.decide(slot(l, x), &r); a != nil && !m.agrees(d, a) {
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
