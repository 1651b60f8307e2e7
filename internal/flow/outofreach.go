package flow

import (
	"fmt"
	"slices"
	"strings"

	"demarc/internal/asset"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// OutOfReach is a machine that no action can reach as the cloud is configured now, and why.
type OutOfReach struct {
	Server asset.ServerID
	Why    string
}

// NoActionReaches lists the machines on which the gate would refuse every action, for any case and any approver, because of how
// the cloud is configured now, in the order of their ids. What an operator may decide against does not count.
func NoActionReaches(x *asset.Index, views []reach.View, protected func(asset.Server) bool) []OutOfReach {
	held := map[asset.PortID][]asset.Holder{}
	for _, h := range holders(x) {
		held[h.Port] = append(held[h.Port], h)
	}
	var sets []*reach.Set
	for _, v := range views {
		sets = append(sets, reach.Compute(x, v))
	}
	var out []OutOfReach
	for i := range x.Snapshot.Servers {
		s := &x.Snapshot.Servers[i]
		if why := refusedFor(x, s, held, sets, protected); why != "" {
			out = append(out, OutOfReach{s.ID, why})
		}
	}
	slices.SortFunc(out, func(a, b OutOfReach) int { return strings.Compare(string(a.Server), string(b.Server)) })
	return out
}

func refusedFor(
	x *asset.Index, s *asset.Server, held map[asset.PortID][]asset.Holder, sets []*reach.Set, protected func(asset.Server) bool,
) string {
	ports := x.PortsOf[s.ID]
	switch {
	case protected != nil && protected(*s):
		return "an operator marked it as protected"
	case !slices.ContainsFunc(ports, func(p *asset.Port) bool { return p.Project == s.Project }):
		return "it has no port"
	}
	for _, p := range ports {
		if p.Project != s.Project {
			continue // an operator may decide that it is left as it is
		}
		for _, h := range held[p.ID] {
			if h.Shared {
				return fmt.Sprintf("many machines answer at its address %s", h.Addr)
			}
			for _, n := range neighbours(x, h, nil) {
				if !n.Own {
					return fmt.Sprintf("port %s of project %s could answer for its address %s: %s", n.Port, n.Project, h.Addr, n.Why)
				}
			}
			for _, set := range sets {
				if a := set.LookupAt(probe.Endpoint{Addr: h.Addr, Proto: probe.TCP, Port: 22}, p.ID); a.Held && len(a.Doubts) > 0 {
					return "what the cloud's rules say is not proven on the way to it: " + a.Doubts[0]
				}
			}
		}
	}
	return ""
}
