package profile

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"demarc/internal/asset"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// needKey is what one rule can serve: a protocol and a family.
type needKey struct {
	proto probe.Proto
	six   bool
}

// propose is the smallest set of rules of one port of the machine that opens what really listens there, to those to whom it is open and may
// be, and nothing else. What
// machines of the cloud may reach by a remote group, and what only our scanner may, is not its business.
func (q Question) propose(port asset.PortID) []asset.Rule {
	needs := map[needKey]map[uint16][]netip.Prefix{}
	var out []asset.Rule
	for _, s := range q.Seen {
		for _, o := range s.Openings {
			if !o.Zone || o.Port != port {
				continue
			}
			k := needKey{o.Proto, o.Addr.Is6()}
			let := remotes(q.Index, q.rule(o), k.six)
			if !slices.Contains(q.Asked, o.Proto) {
				out = append(out, q.kept(k, o, let)...)
				continue
			}
			for _, p := range q.listening(o) {
				if needs[k] == nil {
					needs[k] = map[uint16][]netip.Prefix{}
				}
				needs[k][p] = tidy(append(needs[k][p], q.allowed(o.Proto, p, let, k.six)...))
			}
		}
	}
	for k, need := range needs {
		for _, r := range cover(need) {
			out = append(out, r.rule(k))
		}
	}
	slices.SortFunc(out, func(a, b asset.Rule) int {
		return cmp.Or(cmp.Compare(a.EtherType, b.EtherType), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.PortMin, b.PortMin), cmp.Compare(a.PortMax, b.PortMax), a.RemotePrefix.Compare(b.RemotePrefix))
	})
	return slices.Compact(out)
}

// kept is what of an opening the profile allows, where nobody knows what listens.
func (q Question) kept(k needKey, o reach.Opening, let []netip.Prefix) []asset.Rule {
	var out []asset.Rule
	first, last := Inside(q.Index, o)
	for _, r := range q.pieces(o.Proto, first, last) {
		for _, p := range q.allowed(o.Proto, r.First, let, k.six) {
			out = append(out, opens{r.First, r.Last, p}.rule(k))
		}
	}
	return out
}

// opens is what one rule opens: a run of ports to a prefix.
type opens struct {
	first, last uint16
	from        netip.Prefix
}

func (r opens) rule(k needKey) asset.Rule {
	out := asset.Rule{Direction: asset.Ingress, EtherType: 4, Protocol: string(k.proto), PortMin: int(r.first), PortMax: int(r.last), RemotePrefix: r.from}
	if k.six {
		out.EtherType = 6
	}
	if k.proto == probe.ICMP {
		out.PortMin, out.PortMax = asset.AnyPort, asset.AnyPort
		if k.six {
			out.Protocol = "ipv6-icmp"
		}
	}
	return out
}

// covers tells whether everything that another opens is opened too.
func (r opens) covers(o opens) bool {
	return r.first <= o.first && o.last <= r.last && r.from.Bits() <= o.from.Bits() && r.from.Contains(o.from.Addr())
}

// cover finds the fewest rules that together open each port to its sources, and nothing else. Where there are so many that the search
// would take long, it is a small set, and not surely the smallest. No rule reaches over a port that is not needed, so that each run of
// ports is covered for itself.
func cover(need map[uint16][]netip.Prefix) []opens {
	var out []opens
	left := maxSteps
	ports := slices.Sorted(maps.Keys(need))
	for len(ports) > 0 {
		n := 1
		for n < len(ports) && ports[n] == ports[n-1]+1 {
			n++
		}
		out = append(out, coverRun(need, ports[:n], &left)...)
		ports = ports[n:]
	}
	slices.SortFunc(out, func(a, b opens) int { return cmp.Or(cmp.Compare(a.first, b.first), a.from.Compare(b.from)) })
	return out
}

func coverRun(need map[uint16][]netip.Prefix, run []uint16, left *int) []opens {
	if len(run) == 1 || crowded(need, run) {
		return plain(need, run)
	}
	all := candidates(need, run)
	cells := cellsOf(need, run, all)
	by := make([][]int, len(cells)) // candidates that open a cell
	for i, c := range cells {
		for j, r := range all {
			if r.covers(c) {
				by[i] = append(by[i], j)
			}
		}
	}
	s := search{by: by, best: greedy(by, len(all)), left: *left}
	s.try(nil, make([]int, len(cells)))
	*left = max(s.left, 0)
	out := make([]opens, len(s.best))
	for i, j := range s.best {
		out[i] = all[j]
	}
	return out
}

// mostPrefixes is how many prefixes one port may be open to, for the fewest rules to be looked for: an owner can let an address group of
// any size in.
const mostPrefixes = 64

func crowded(need map[uint16][]netip.Prefix, run []uint16) bool {
	return slices.ContainsFunc(run, func(p uint16) bool { return len(need[p]) > mostPrefixes })
}

// plain opens each prefix as far as the ports go that are needed from it: what a single port needs is the smallest so.
func plain(need map[uint16][]netip.Prefix, run []uint16) []opens {
	var out []opens
	ends := map[netip.Prefix]int{} // where in out a prefix reaches furthest
	for _, port := range run {
		for _, p := range need[port] {
			if i, ok := ends[p]; ok && out[i].last+1 == port {
				out[i].last = port
				continue
			}
			ends[p] = len(out)
			out = append(out, opens{port, port, p})
		}
	}
	return out
}

// candidates are the rules that open nothing that is not needed in a run of ports, and than which none opens more.
func candidates(need map[uint16][]netip.Prefix, run []uint16) []opens {
	var all []opens
	for i, first := range run {
		from := need[first]
		for j := i; len(from) > 0; j++ {
			if i > 0 && inThose(from, need[run[i-1]]) {
				break // what begins here, and is needed so far, is part of what begins earlier
			}
			var rest []netip.Prefix
			if j+1 < len(run) {
				rest = and(from, need[run[j+1]])
			}
			for _, p := range from {
				if !slices.Contains(rest, p) {
					all = append(all, opens{first, run[j], p})
				}
			}
			from = rest
		}
	}
	slices.SortFunc(all, func(a, b opens) int {
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(b.last, a.last), a.from.Compare(b.from))
	})
	return slices.DeleteFunc(slices.Clone(all), func(c opens) bool {
		return slices.ContainsFunc(all, func(o opens) bool { return o != c && o.covers(c) })
	})
}

// inThose tells whether each of some prefixes lies in one of others, which are tidy.
func inThose(ps, in []netip.Prefix) bool {
	return !slices.ContainsFunc(ps, func(p netip.Prefix) bool {
		return !slices.ContainsFunc(in, func(q netip.Prefix) bool { return q.Bits() <= p.Bits() && q.Contains(p.Addr()) })
	})
}

// cellsOf divides what is needed so that every candidate opens a cell whole or not at all.
func cellsOf(need map[uint16][]netip.Prefix, run []uint16, all []opens) []opens {
	var out []opens
	var divide func(port uint16, p netip.Prefix)
	divide = func(port uint16, p netip.Prefix) {
		finer := slices.ContainsFunc(all, func(c opens) bool {
			return c.first <= port && port <= c.last && c.from.Bits() > p.Bits() && p.Contains(c.from.Addr())
		})
		if !finer {
			out = append(out, opens{port, port, p})
			return
		}
		low, high := halves(p)
		divide(port, low)
		divide(port, high)
	}
	for _, port := range run {
		for _, p := range need[port] {
			divide(port, p)
		}
	}
	slices.SortFunc(out, func(a, b opens) int { return cmp.Or(cmp.Compare(a.first, b.first), a.from.Compare(b.from)) })
	return out
}

// greedy takes the candidate that opens most of what is left, until nothing is.
func greedy(by [][]int, candidates int) []int {
	var out []int
	done := make([]bool, len(by))
	for {
		gain := make([]int, candidates)
		best := -1
		for i, js := range by {
			for _, j := range js {
				if !done[i] {
					gain[j]++
				}
				if gain[j] > 0 && (best < 0 || gain[j] > gain[best] || gain[j] == gain[best] && j < best) {
					best = j
				}
			}
		}
		if best < 0 {
			return out
		}
		out = append(out, best)
		for i, js := range by {
			done[i] = done[i] || slices.Contains(js, best)
		}
	}
}

// maxSteps bounds the search for the smallest cover; two or three dozen rules are found well within it.
const maxSteps = 50_000

// search looks for a smaller cover than the best that is known.
type search struct {
	by   [][]int
	best []int
	left int
}

// try goes on from what is taken; open counts how often each cell is.
func (s *search) try(taken, open []int) {
	if s.left--; s.left < 0 || len(taken) >= len(s.best) {
		return
	}
	cell := -1 // the one that the fewest can open
	for i, n := range open {
		if n == 0 && (cell < 0 || len(s.by[i]) < len(s.by[cell])) {
			cell = i
		}
	}
	if cell < 0 {
		s.best = slices.Clone(taken)
		return
	}
	if len(taken)+1 >= len(s.best) {
		return // one more at least
	}
	for _, j := range s.by[cell] {
		s.mark(open, j, 1)
		s.try(append(taken, j), open)
		s.mark(open, j, -1)
	}
}

func (s *search) mark(open []int, j, by int) {
	for i, js := range s.by {
		if slices.Contains(js, j) {
			open[i] += by
		}
	}
}

// Words writes a rule as an owner reads it.
func Words(r asset.Rule) string {
	ports := fmt.Sprintf("%s %d", r.Protocol, r.PortMin)
	switch {
	case r.PortMin == asset.AnyPort:
		ports = r.Protocol
	case r.PortMin != r.PortMax:
		ports = fmt.Sprintf("%s %d-%d", r.Protocol, r.PortMin, r.PortMax)
	}
	return fmt.Sprintf("%s from %s", ports, r.RemotePrefix)
}
