package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"demarc/internal/asset"
	"demarc/internal/fault"
	"demarc/internal/profile"
	"demarc/internal/reach"
	"demarc/internal/serve"
)

// outside is what the rules open to a zone at addresses that lie in no declared netblock. Netblocks say what is probed, and which zone it
// is routed to; of those addresses nobody has said either, so an answer without them is not whole.
type outside []reach.Opening

// leftOut lists what is left out of an answer: of one server, or of all.
func leftOut(xs []*asset.Index, s *asset.Server, views []serve.Viewpoint) outside {
	var out outside
	for _, x := range xs {
		for _, v := range bounded(views) {
			set := reach.Compute(x, unbounded(v))
			all := set.All()
			if s != nil {
				all = slices.Values(set.Of(s.ID))
			}
			for o := range all {
				if o.Zone && !o.Service && !declared(v, o.Addr, o.Prefix) {
					out = append(out, o)
				}
			}
		}
	}
	return out
}

// opensOutside lists what one state of a cloud opens there and another does not: what stays as it was is no change.
func opensOutside(xs [2]*asset.Index, views []serve.Viewpoint) outside {
	var out outside
	for _, v := range bounded(views) {
		for _, c := range reach.Diff(reach.Compute(xs[0], unbounded(v)), reach.Compute(xs[1], unbounded(v))) {
			if c.What == reach.Opens && c.For == reach.ForZone && !declared(v, c.Addr, c.Prefix) {
				out = append(out, reach.Opening{Addr: c.Addr, Prefix: c.Prefix, Proto: c.Proto, First: c.First, Last: c.Last})
			}
		}
	}
	return out
}

// beyondOutside lists what goes beyond the profile of a machine there; where nobody knows the profile, all that is open.
func beyondOutside(q profile.Question, views []serve.Viewpoint) outside {
	all := leftOut([]*asset.Index{q.Index}, q.Server, views)
	return all.of(func(o reach.Opening) bool {
		return slices.ContainsFunc(views, func(v serve.Viewpoint) bool {
			q.Seen = []profile.Seen{{View: unbounded(v), Openings: []reach.Opening{o}}}
			ds, _ := profile.Judge(q)
			return len(q.Choice.Names) == 0 || len(ds) > 0
		})
	})
}

// bounded are the vantage points that netblocks bound.
func bounded(views []serve.Viewpoint) []serve.Viewpoint {
	return slices.DeleteFunc(slices.Clone(views), func(v serve.Viewpoint) bool { return len(v.View.Blocks) == 0 })
}

// unbounded is a view of every external address.
func unbounded(v serve.Viewpoint) reach.View {
	v.View.Blocks = nil
	return v.View
}

// declared tells whether an address lies in a netblock, whichever zone sees it; of an address pair a part is enough to be answered for.
func declared(v serve.Viewpoint, a netip.Addr, pair netip.Prefix) bool {
	return slices.ContainsFunc(v.Declared, func(p netip.Prefix) bool { return p.Contains(a) || pair.IsValid() && p.Overlaps(pair) })
}

// of are those that a question asks for.
func (l outside) of(asked func(reach.Opening) bool) outside {
	return slices.DeleteFunc(slices.Clone(l), func(o reach.Opening) bool { return !asked(o) })
}

// warn says it beside an answer.
func (l outside) warn(c *cobra.Command) {
	if len(l) > 0 {
		_, _ = fmt.Fprintf(c.ErrOrStderr(), "The answer is not whole: %s.\nIf they are routed to a zone, declare them with demarc netblock add.\n", l)
	}
}

// err is what an answer that nothing is open ends with.
func (l outside) err() error {
	if len(l) == 0 {
		return nil
	}
	return fault.New(fault.CannotLook, "the answer is not whole: %s", l).Hinted("declare them with demarc netblock add, for the zones that they are routed to")
}

// String names the first few addresses.
func (l outside) String() string {
	const most = 4
	var names []string
	more := map[string]bool{}
	for _, o := range l {
		name := where(o)
		if len(names) < most && !more[name] {
			names = append(names, name)
		}
		more[name] = true
	}
	if n := len(more) - len(names); n > 0 {
		names = append(names, fmt.Sprintf("and %d more", n))
	}
	return "what the rules open at addresses that lie in no declared netblock is left out: " + strings.Join(names, ", ")
}
