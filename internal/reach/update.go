package reach

import (
	"maps"
	"slices"

	"demarc/internal/asset"
)

// With is the set after some groups have new rules, all else being equal. It does only the work that these groups ask for, and leaves
// the set that it came from as it was. Who is a member of a group must not have changed: then Compute is to be asked. Sets that come from one another are made by one
// goroutine.
func (s *Set) With(groups []asset.Group) *Set {
	x, snap := *s.x, *s.x.Snapshot
	x.Snapshot, x.Groups = &snap, maps.Clone(s.x.Groups)
	touched := map[*asset.Port]*[2]*admitted{} // by family
	for i := range groups {
		g := &groups[i]
		x.Groups[g.ID] = g
		for _, p := range x.Members[g.ID] {
			touched[p] = &[2]*admitted{}
		}
	}
	out := *s
	out.x, out.comp, out.of, out.groups, out.arena = &x, s.comp.with(&x), nil, nil, nil
	out.state, out.made, out.from, out.again = slices.Clone(s.state), new(byte), s.made, nil
	for k, sites := range [][]site{s.sites, s.wide} {
		for i := range sites {
			t := &sites[i]
			open := touched[t.port]
			if open == nil || t.lb != nil {
				continue
			}
			mine := &open[(t.family()-4)/2]
			if *mine == nil {
				*mine = out.admit(t)
			}
			out.fill(t, *mine)
			if k == 0 {
				out.again = append(out.again, int32(i)) //nolint:gosec // below len(sites)
			}
		}
	}
	return &out
}
