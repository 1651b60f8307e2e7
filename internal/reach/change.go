package reach

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"sync"

	"demarc/internal/asset"
	"demarc/internal/ipset"
	"demarc/internal/probe"
)

// Opened lists what our probe can ask now and could not before: new ports, and all ports of an address that leads to another port.
func Opened(old, now *Set) []Range {
	if now.parent == old.made { // only the sites in altered differ
		return openedBy(old, now)
	}
	var out []Range
	i := 0
	for j := 0; j < len(now.sites); {
		k, addr := j, now.sites[j].addr
		for k < len(now.sites) && now.sites[k].addr == addr {
			k++
		}
		for i < len(old.sites) && old.sites[i].addr.Less(addr) {
			i++
		}
		m := i
		for m < len(old.sites) && old.sites[m].addr == addr {
			m++
		}
		for ; j < k; j++ {
			out = now.opened(out, &now.sites[j], old, old.sites[i:m])
		}
		i = m
	}
	return out
}

// openedBy holds the sites that With changed against what they were.
func openedBy(old, now *Set) []Range {
	var out []Range
	for _, i := range now.altered {
		t := &now.sites[i]
		first, last := int(i), int(i)+1
		for first > 0 && now.sites[first-1].addr == t.addr {
			first--
		}
		for last < len(now.sites) && now.sites[last].addr == t.addr {
			last++
		}
		out = now.opened(out, t, old, old.sites[first:last])
	}
	return out
}

// opened holds one site against the sites that its address had.
func (s *Set) opened(out []Range, t *site, old *Set, had []site) []Range {
	if !t.asks() {
		return out
	}
	open := s.state[t.i].open
	var was spans
	for k := range had {
		o := &had[k]
		if o.port.ID != t.port.ID || !o.asks() {
			continue
		}
		before := old.state[o.i].open
		if before == open && o.fwd == nil && t.fwd == nil {
			return out
		}
		was = append(was, o.outside(before.scanner)...)
	}
	for _, r := range t.outside(open.scanner).minus(was.normal()) {
		if at := t.placed(r); len(out) == 0 || out[len(out)-1] != at {
			out = append(out, at)
		}
	}
	return out
}

// asks tells whether our probe asks anything of a site: it is on, and belongs to a machine or a load balancer.
func (s *site) asks() bool { return !s.off && (s.port.Server != "" || s.lb != nil) }

// Digest names what our probe can ask, so that it can be told from what it could ask another time.
func (s *Set) Digest() string {
	s.digest.once.Do(func() {
		h := sha256.New()
		var line []byte
		for r := range s.Ranges() {
			line = r.Addr.AppendTo(line[:0])
			line = append(append(append(line, ' '), r.Port...), ' ')
			line = append(append(line, r.Proto...), ' ')
			line = strconv.AppendUint(append(strconv.AppendUint(line, uint64(r.First), 10), '-'), uint64(r.Last), 10)
			h.Write(append(line, '\n'))
		}
		s.digest.sum = hex.EncodeToString(h.Sum(nil))
	})
	return s.digest.sum
}

// digest is made when it is first asked for.
type digest struct {
	once sync.Once
	sum  string
}

// Hidden is a run of ports that others of the zone reach at one port of a machine and our probe does not: what answers there cannot be
// looked at until the machine's owner lets our probe in.
type Hidden struct {
	Range
	Project asset.ProjectID
	Group   asset.GroupID // that lets the others in
	Rule    asset.RuleID
	Remote  string
	Add     []asset.Rule // the rules that would let our probe in, one for each of our sources of the family
	others  ipset.Set    // of the zone, who is let in
}

// MostOf tells whether most of a zone's addresses of one family are let in where our probe is not. Who lets in a limited range alone does as
// he should; who lets in everybody but us hides.
func (s *Set) MostOf(hs []Hidden) bool {
	for _, family := range []int{4, 6} {
		var in ipset.Set
		for _, h := range hs {
			in = append(in, h.others.And(unicast(family))...)
		}
		if all := s.eyes.zone.And(unicast(family)).Size(); all > 0 && in.Normal().Size() > all/2 {
			return true
		}
	}
	return false
}

// Hidden lists what others of the zone reach and our probe does not. What is in doubt is left out.
func (s *Set) Hidden() []Hidden {
	var out []Hidden
	for i := range s.sites {
		t := &s.sites[i]
		now := s.state[t.i]
		if t.off || t.pair || now.doubts != 0 || t.port.Server == "" || !s.eyes.scanners.Meets(ipset.Every(t.family())) {
			continue
		}
		shut := now.open.zone.minus(now.open.scanner)
		if len(shut) == 0 {
			continue
		}
		for _, h := range s.holes(t) {
			if !h.zone {
				continue
			}
			for _, inside := range h.ports.and(shut) {
				for _, r := range t.outside(spans{inside}) {
					out = append(out, Hidden{Range: t.placed(r), Project: t.port.Project, Group: h.group, Rule: h.rule, Remote: h.remote, others: h.others.And(s.eyes.zone), Add: s.admitting(h.group, t.family(), t.within(inside))})
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Hidden) int { return a.compare(b.Range) })
	var joined []Hidden // several rules may let others in to one run: the first is named
	for _, h := range out {
		if n := len(joined); n > 0 && joined[n-1].Range == h.Range {
			joined[n-1].others = append(joined[n-1].others, h.others...).Normal()
			continue
		}
		joined = append(joined, h)
	}
	return joined
}

// unicast is what of a family's addresses is given to anybody: of IPv6, 2000::/3 (RFC 4291, 2.4; IANA's registry of global unicast).
func unicast(family int) ipset.Set {
	if family == 6 {
		return ipset.Of(netip.MustParsePrefix("2000::/3"))
	}
	return ipset.Every(4)
}

// within is the part of a port's own run that shows at the site.
func (s *site) within(inside span) span {
	if s.fwd == nil {
		return inside
	}
	return span{inside.proto, max(inside.first, s.fwd.Internal), min(inside.last, max(s.fwd.Internal, s.fwd.InternalLast))}
}

// admitting are the rules that let our sources of a family in to a run of ports.
func (s *Set) admitting(g asset.GroupID, family int, r span) []asset.Rule {
	var out []asset.Rule
	for _, a := range s.View.Scanners {
		if a.Is6() != (family == 6) {
			continue
		}
		n := asset.Rule{Group: g, Direction: asset.Ingress, EtherType: family, Protocol: string(transports[r.proto]), PortMin: int(r.first), PortMax: int(r.last), RemotePrefix: netip.PrefixFrom(a, a.BitLen())}
		switch {
		case r.proto == icmp:
			n.PortMin, n.PortMax = asset.AnyPort, asset.AnyPort
			if family == 6 {
				n.Protocol = "ipv6-icmp"
			}
		case r == full(r.proto):
			n.PortMin, n.PortMax = asset.AnyPort, asset.AnyPort
		}
		out = append(out, n)
	}
	return out
}

func (r Range) compare(o Range) int {
	for _, c := range []int{r.Addr.Compare(o.Addr), slices.Compare([]string{string(r.Port), string(r.Proto)}, []string{string(o.Port), string(o.Proto)}), int(r.First) - int(o.First), int(r.Last) - int(o.Last)} {
		if c != 0 {
			return c
		}
	}
	return 0
}

// The ways in which what an endpoint did can stand to what the rules say of it.
const (
	OpenAnswers   = "open_answers"
	OpenSilent    = "open_silent" // the rules let the zone in, and nothing listens: the rule can go
	DeniedAnswers = "denied_answers"
	DeniedSilent  = "denied_silent"
	ScannerOnly   = "scanner_only" // only our probe is let in: the owner obeys, and nothing is exposed
	Unsure        = "unsure"       // the model is not proven there
	Unheld        = "unheld"       // no machine of the cloud is known there
)

// Standing names how an observation stands to the rules.
func (a Answer) Standing(o probe.Outcome) string {
	switch answers := o == probe.Open; {
	case !a.Held:
		return Unheld
	case a.Zone && answers:
		return OpenAnswers
	case a.Zone:
		return OpenSilent
	case a.Scanner:
		return ScannerOnly
	case len(a.Doubts) > 0:
		return Unsure
	case answers:
		return DeniedAnswers
	}
	return DeniedSilent
}
