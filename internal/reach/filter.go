package reach

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"sync"

	"demarc/internal/asset"
	"demarc/internal/ipset"
)

// eyes is who looks, as sets of addresses.
type eyes struct {
	zone     ipset.Set // the zone's addresses, without our scanners
	scanners ipset.Set
}

func eyesOf(v View) eyes {
	var mine ipset.Set
	for _, a := range v.Scanners {
		mine = append(mine, ipset.Range{First: a, Last: a})
	}
	mine = mine.Normal()
	return eyes{zone: ipset.Of(v.Prefixes...).Minus(ipset.Of(v.Except...)).Minus(mine), scanners: mine}
}

// sources is what one rule's remote stands for.
type sources struct {
	all     ipset.Set // every address that is let in
	outside ipset.Set // of them, those that need not be machines of this cloud
	name    string
	doubts  doubt
}

// remote tells whom a rule's remote stands for. The addresses of a remote group's members are machines of the cloud, and nobody
// of a zone; what their address pairs hold can be anybody's, and not every driver counts it.
func (c *compiler) remote(r *asset.Rule) sources {
	switch {
	case r.RemotePrefix.IsValid():
		s := ipset.Of(r.RemotePrefix)
		return sources{all: s, outside: s, name: r.RemotePrefix.Masked().String()}
	case r.RemoteGroup != "":
		return c.members(r.RemoteGroup, r.EtherType)
	case r.RemoteAddress != "":
		var s ipset.Set
		if set := c.x.AddressSets[r.RemoteAddress]; set != nil {
			s = ipset.Of(set.Prefixes...).And(ipset.Every(r.EtherType))
		}
		return sources{all: s, outside: s, name: "address group " + string(r.RemoteAddress)}
	}
	s := ipset.Every(r.EtherType)
	return sources{all: s, outside: s, name: "any"}
}

type memberKey struct {
	group  asset.GroupID
	family int
}

// members gathers the addresses of a group's members, once for each family.
func (c *compiler) members(g asset.GroupID, family int) sources {
	c.shared.mu.Lock()
	defer c.shared.mu.Unlock()
	k := memberKey{g, family}
	if s, ok := c.shared.members[k]; ok {
		return s
	}
	s := c.gather(g, family)
	c.shared.members[k] = s
	return s
}

// memberSets is what compilers of one inventory know together, and readers of their Sets add to.
type memberSets struct {
	mu      sync.Mutex
	members map[memberKey]sources
}

func (c *compiler) gather(g asset.GroupID, family int) sources {
	s := sources{name: "members of group " + string(g)}
	for _, m := range c.x.Members[g] {
		for _, f := range m.FixedIPs {
			if f.Addr.Is6() == (family == 6) {
				s.all = append(s.all, ipset.Range{First: f.Addr, Last: f.Addr})
			}
		}
		for _, a := range m.Pairs {
			if p := a.Prefix; p.IsValid() && p.Addr().Is6() == (family == 6) {
				s.all, s.doubts = append(s.all, ipset.RangeOf(p)), doubtPairs
				if !p.IsSingleIP() {
					s.outside = append(s.outside, ipset.RangeOf(p))
				}
			}
		}
	}
	s.all, s.outside = s.all.Normal(), s.outside.Normal()
	return s
}

// seenBy is who of a view is among the sources of a rule.
type seenBy struct {
	scanner, zone bool
	doubts        doubt
}

// who tells who of the view a rule's remote lets in: as remote does, and without listing anybody.
func (c *compiler) who(r *asset.Rule) seenBy {
	switch {
	case r.RemotePrefix.IsValid():
		b := ipset.RangeOf(r.RemotePrefix)
		return seenBy{scanner: c.eyes.scanners.Touches(b), zone: c.eyes.zone.Touches(b)}
	case r.RemoteGroup != "":
		return c.whoOf(r.RemoteGroup, r.EtherType)
	case r.RemoteAddress != "":
		s := c.remote(r)
		return seenBy{scanner: s.all.Meets(c.eyes.scanners), zone: s.outside.Meets(c.eyes.zone)}
	}
	if r.EtherType == 6 {
		return c.any6
	}
	return c.any4
}

// whoOf tells who of the view is a member of a group, once for each family.
func (c *compiler) whoOf(g asset.GroupID, family int) seenBy {
	k := memberKey{g, family}
	if s, ok := c.inView[k]; ok {
		return s
	}
	var s seenBy
	for _, m := range c.x.Members[g] {
		for _, f := range m.FixedIPs {
			s.scanner = s.scanner || f.Addr.Is6() == (family == 6) && c.eyes.scanners.Has(f.Addr)
		}
		for _, a := range m.Pairs {
			if p := a.Prefix; p.IsValid() && p.Addr().Is6() == (family == 6) {
				b := ipset.RangeOf(p)
				s.doubts = doubtPairs
				s.scanner = s.scanner || c.eyes.scanners.Touches(b)
				s.zone = s.zone || !p.IsSingleIP() && c.eyes.zone.Touches(b)
			}
		}
	}
	c.inView[k] = s
	return s
}

// filter is what one group lets in, of one family.
type filter struct {
	scanner, zone spans
	doubts        doubt
}

type filterKey struct {
	group  *asset.Group // as it is: one with other rules is another
	family int
}

// compiler turns groups into filters, each once. It is used while Sets of one inventory are made, by one goroutine at a time.
type compiler struct {
	x          *asset.Index
	eyes       eyes
	any4, any6 seenBy
	done       map[filterKey]*filter
	inView     map[memberKey]seenBy
	shared     *memberSets
	us, others spans // where a filter is put together
}

func newCompiler(x *asset.Index, e eyes) *compiler {
	c := &compiler{x: x, eyes: e, done: make(map[filterKey]*filter, 2*len(x.Groups)), inView: map[memberKey]seenBy{}, shared: &memberSets{members: map[memberKey]sources{}}}
	c.any4 = seenBy{scanner: e.scanners.Meets(ipset.Every(4)), zone: e.zone.Meets(ipset.Every(4))}
	c.any6 = seenBy{scanner: e.scanners.Meets(ipset.Every(6)), zone: e.zone.Meets(ipset.Every(6))}
	return c
}

// with is a compiler of an index in which groups have other rules, and the same members.
func (c *compiler) with(x *asset.Index) *compiler {
	out := *c // filters are known by the group as it is, so both may share them
	out.x = x
	return &out
}

// filter compiles a stateful group.
func (c *compiler) filter(g *asset.Group, family int) *filter {
	k := filterKey{g, family}
	if f := c.done[k]; f != nil {
		return f
	}
	us, others, doubts := c.us[:0], c.others[:0], doubt(0)
	for i := range g.Rules {
		r := &g.Rules[i]
		if r.Direction != asset.Ingress || r.EtherType != family {
			continue
		}
		s := c.who(r)
		if !s.scanner && !s.zone {
			continue
		}
		open, n, zero := ports(r)
		doubts |= s.doubts | zero
		if s.scanner {
			us = append(us, open[:n]...)
		}
		if s.zone {
			others = append(others, open[:n]...)
		}
	}
	c.us, c.others = us, others
	f := &filter{scanner: slices.Clone(us.normal()), zone: slices.Clone(others.normal()), doubts: doubts}
	c.done[k] = f
	return f
}

// ports translates what a rule opens of what we can ask about. Neutron takes protocols by name and by number. Number 0 is every
// protocol to some drivers and none to others. Source: IANA protocol numbers; neutron/common/ovn/acl.py.
func ports(r *asset.Rule) (open [3]span, n int, doubts doubt) {
	every := [3]span{full(tcp), full(udp), full(icmp)}
	one := func(t transport) ([3]span, int, doubt) {
		s := full(t)
		switch {
		case t == icmp && !echo(r):
			return open, 0, 0
		case t != icmp && r.PortMin != asset.AnyPort:
			if r.PortMax < max(r.PortMin, 1) { // port 0 is nobody's
				return open, 0, 0
			}
			s.first, s.last = uint16(max(r.PortMin, 1)), uint16(r.PortMax) //nolint:gosec // whoever reads a rule keeps its ports within 0..65535
		}
		return [3]span{s}, 1, 0
	}
	if asset.EveryProtocol(r.Protocol) {
		return every, 3, 0
	}
	t, all, ok := carried(r.Protocol)
	switch {
	case all:
		return every, 3, doubtZero
	case ok:
		return one(t)
	}
	return open, 0, 0
}

// carried is what a rule's one protocol is to us; all where it is number 0, and false where we ask about no such thing. Neutron reads
// icmp in an IPv6 rule as ICMPv6.
func carried(protocol string) (t transport, all, ok bool) {
	switch n, known := asset.ProtocolNumber(protocol); {
	case !known:
	case n == asset.ProtocolHopOpt:
		return 0, true, false
	case n == asset.ProtocolTCP:
		return tcp, false, true
	case n == asset.ProtocolUDP:
		return udp, false, true
	case n == asset.ProtocolICMP, n == asset.ProtocolICMPv6:
		return icmp, false, true
	}
	return 0, false, false
}

// echo tells whether an ICMP rule lets echo requests in: type 8 of ICMP, 128 of ICMPv6, code 0 (RFC 792, RFC 4443).
func echo(r *asset.Rule) bool {
	want := 8
	if r.EtherType == 6 {
		want = 128
	}
	return (r.PortMin == asset.AnyPort || r.PortMin == want) && (r.PortMax == asset.AnyPort || r.PortMax == 0)
}

// stateless gives what a rule of a stateless group lets in and out again: no connection is remembered, so the answer needs an
// egress rule of its own. An attacker chooses the port he asks from; our probes leave from any of the ephemeral ports.
func (c *compiler) stateless(p *asset.Port, r *asset.Rule) (scanner, zone spans, doubts doubt) {
	in := c.remote(r)
	open, n, doubts := ports(r)
	doubts |= in.doubts
	ours, theirs := in.all.And(c.eyes.scanners), in.outside.And(c.eyes.zone)
	if len(ours) == 0 && len(theirs) == 0 {
		return nil, nil, 0
	}
	for _, asked := range open[:n] {
		us, others := false, false
		for e := range c.egress(p, r.EtherType) {
			all, mine, zero := answers(e, asked.proto)
			if !all {
				continue
			}
			out := c.remote(e).all
			us = us || mine && ours.Meets(out)
			others = others || theirs.Meets(out)
			doubts |= zero
		}
		if us {
			scanner = append(scanner, asked)
		}
		if others {
			zone = append(zone, asked)
		}
	}
	return scanner, zone, doubts
}

// opensLess tells whether a stateless group opens less of a port than it would as a stateful one: then it matters what the driver makes of it.
func (c *compiler) opensLess(p *asset.Port, g *asset.Group, stateful *filter, family int) bool {
	var us, others spans
	for i := range g.Rules {
		if r := &g.Rules[i]; r.Direction == asset.Ingress && r.EtherType == family {
			scanner, zone, _ := c.stateless(p, r)
			us, others = append(us, scanner...), append(others, zone...)
		}
	}
	return !slices.Equal(us.normal(), stateful.scanner) || !slices.Equal(others.normal(), stateful.zone)
}

// egress goes through the egress rules of a port.
func (c *compiler) egress(p *asset.Port, family int) iter.Seq[*asset.Rule] {
	return func(yield func(*asset.Rule) bool) {
		for _, id := range p.Groups {
			g := c.x.Groups[id]
			if g == nil {
				continue
			}
			for i := range g.Rules {
				if r := &g.Rules[i]; r.Direction == asset.Egress && r.EtherType == family && !yield(r) {
					return
				}
			}
		}
	}
}

// The ports that Linux takes sources from (net.ipv4.ip_local_port_range).
const firstEphemeral, lastEphemeral = 32768, 60999

// answers tells whether an egress rule lets answers of a transport out: to some port, and to every port that our probes leave from.
func answers(e *asset.Rule, t transport) (some, ours bool, doubts doubt) {
	if asset.EveryProtocol(e.Protocol) {
		return true, true, 0
	}
	of, all, ok := carried(e.Protocol)
	same := ok && of == t
	switch {
	case all:
		return true, true, doubtZero
	case same && t == icmp:
		same = echoReply(e)
		return same, same, 0
	}
	return same, same && (e.PortMin == asset.AnyPort || e.PortMin <= firstEphemeral && lastEphemeral <= e.PortMax), 0
}

func echoReply(e *asset.Rule) bool {
	want := 0
	if e.EtherType == 6 {
		want = 129
	}
	return (e.PortMin == asset.AnyPort || e.PortMin == want) && (e.PortMax == asset.AnyPort || e.PortMax == 0)
}

// Describe says what a rule is about, its remote left aside: tcp/22, udp/1-1024, icmp type 8, any protocol.
func Describe(r *asset.Rule) string {
	proto := cmp.Or(r.Protocol, "any protocol")
	switch {
	case r.PortMin == asset.AnyPort:
		return proto
	case asset.IsICMP(r.Protocol):
		if r.PortMax == asset.AnyPort {
			return fmt.Sprintf("%s type %d", proto, r.PortMin)
		}
		return fmt.Sprintf("%s type %d code %d", proto, r.PortMin, r.PortMax)
	case r.PortMin == r.PortMax:
		return fmt.Sprintf("%s/%d", proto, r.PortMin)
	}
	return fmt.Sprintf("%s/%d-%d", proto, r.PortMin, r.PortMax)
}
