package reach

import (
	"slices"

	"demarc/internal/asset"
)

// With is the set after some groups have new rules, all else being equal: asset.Index.WithGroups gives the index. It does only the
// work that these groups ask for. The set that it came from answers as it did; only what both keep of compiled groups changes, which no
// answer reads. Who is a member of a group must not have changed: then Compute is to be asked. Sets that come from one another are made
// by one goroutine.
func (s *Set) With(x *asset.Index, groups []asset.GroupID) *Set {
	out := *s
	out.x, out.comp, out.of, out.groups, out.arena = x, s.comp.with(x), nil, nil, nil
	out.digest = &digest{}
	touched := map[*asset.Port]*regrouped{}
	for _, id := range groups {
		g := x.Groups[id]
		other := [2]bool{s.differs(g, 4), s.differs(g, 6)}
		for _, p := range x.Members[g.ID] {
			if other[0] || other[1] {
				if touched[p] == nil {
					touched[p] = &regrouped{}
				}
				touched[p].family[0], touched[p].family[1] = touched[p].family[0] || other[0], touched[p].family[1] || other[1]
			}
		}
	}
	out.state, out.made, out.parent, out.altered = slices.Clone(s.state), new(byte), s.made, nil
	for k, sites := range [][]site{s.sites, s.wide} {
		for i := range sites {
			t := &sites[i]
			a, f := touched[t.port], (t.family()-4)/2
			if a == nil || !a.family[f] || t.lb != nil {
				continue
			}
			mine := &a.open[f]
			if *mine == nil {
				*mine = out.admit(t)
			}
			out.fill(t, *mine)
			if k == 0 {
				out.altered = append(out.altered, int32(i)) //nolint:gosec // below len(sites)
			}
		}
	}
	s.comp.forget(s.x, groups)
	return &out
}

// forget drops what is known of groups as they were, which nobody asks for any more.
func (c *compiler) forget(old *asset.Index, groups []asset.GroupID) {
	for _, id := range groups {
		delete(c.done, filterKey{old.Groups[id], 4})
		delete(c.done, filterKey{old.Groups[id], 6})
	}
}

// regrouped is a port whose groups let in something else than before, by family.
type regrouped struct {
	family [2]bool
	open   [2]*admitted
}

// differs tells whether a group lets in something else to the view than the one it replaces. Of stateless groups that is not asked.
func (s *Set) differs(g *asset.Group, family int) bool {
	old := s.x.Groups[g.ID]
	if old == nil || old.Stateless || g.Stateless {
		return true
	}
	if !slices.Equal(outgoing(old), outgoing(g)) { // a stateless group beside it may answer by it
		return true
	}
	was, is := s.comp.filter(old, family), s.comp.filter(g, family)
	return was.doubts != is.doubts || !slices.Equal(was.scanner, is.scanner) || !slices.Equal(was.zone, is.zone)
}

// outgoing lists a group's egress rules.
func outgoing(g *asset.Group) []asset.Rule {
	return slices.DeleteFunc(slices.Clone(g.Rules), func(r asset.Rule) bool { return r.Direction != asset.Egress })
}
