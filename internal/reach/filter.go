package reach

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"demarc/internal/asset"
)

// eyes is who looks, as sets of addresses.
type eyes struct {
	zone     space // the zone's addresses, without our scanners
	scanners space
}

func eyesOf(v View) eyes {
	var mine space
	for _, a := range v.Scanners {
		mine = append(mine, block{a, a})
	}
	mine = mine.normal()
	return eyes{zone: spaceOf(v.Prefixes...).minus(spaceOf(v.Except...)).minus(mine), scanners: mine}
}

// sources is what one rule's remote stands for.
type sources struct {
	all     space // every address that is let in
	outside space // of them, those that need not be machines of this cloud
	name    string
	doubts  doubt
}

// remote tells whom a rule's remote stands for. The addresses of a remote group's members are machines of the cloud, and nobody
// of a zone; what their address pairs hold can be anybody's, and not every driver counts it.
func (c *compiler) remote(r *asset.Rule) sources {
	switch {
	case r.RemotePrefix.IsValid():
		s := spaceOf(r.RemotePrefix)
		return sources{all: s, outside: s, name: r.RemotePrefix.Masked().String()}
	case r.RemoteGroup != "":
		return c.members(r.RemoteGroup, r.EtherType)
	case r.RemoteAddress != "":
		var s space
		if set := c.x.AddressSets[r.RemoteAddress]; set != nil {
			s = spaceOf(set.Prefixes...).and(everywhere(r.EtherType))
		}
		return sources{all: s, outside: s, name: "address group " + string(r.RemoteAddress)}
	}
	s := everywhere(r.EtherType)
	return sources{all: s, outside: s, name: "any"}
}

type memberKey struct {
	group  asset.GroupID
	family int
}

// members gathers the addresses of a group's members, once for each family.
func (c *compiler) members(g asset.GroupID, family int) sources {
	k := memberKey{g, family}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.gathered[k]; ok {
		return s
	}
	s := sources{name: "members of group " + string(g)}
	for _, m := range c.x.Members[g] {
		for _, f := range m.FixedIPs {
			if f.Addr.Is6() == (family == 6) {
				s.all = append(s.all, block{f.Addr, f.Addr})
			}
		}
		for _, a := range m.Pairs {
			if p := a.Prefix; p.IsValid() && p.Addr().Is6() == (family == 6) {
				b := block{p.Masked().Addr(), last(p)}
				s.all, s.doubts = append(s.all, b), doubtPairs
				if !p.IsSingleIP() {
					s.outside = append(s.outside, b)
				}
			}
		}
	}
	s.all, s.outside = s.all.normal(), s.outside.normal()
	c.gathered[k] = s
	return s
}

// filter is what one group lets in, of one family.
type filter struct {
	scanner, zone spans
	doubts        doubt
}

// compiler turns groups into filters, each once.
type compiler struct {
	x        *asset.Index
	eyes     eyes
	done     map[memberKey]*filter
	mu       sync.Mutex // of gathered, which readers of a Set fill further
	gathered map[memberKey]sources
}

func newCompiler(x *asset.Index, e eyes) *compiler {
	return &compiler{x: x, eyes: e, done: make(map[memberKey]*filter, 2*len(x.Groups)), gathered: map[memberKey]sources{}}
}

// filter compiles a stateful group.
func (c *compiler) filter(g *asset.Group, family int) *filter {
	k := memberKey{g.ID, family}
	if f := c.done[k]; f != nil {
		return f
	}
	f := &filter{}
	for i := range g.Rules {
		r := &g.Rules[i]
		if r.Direction != asset.Ingress || r.EtherType != family {
			continue
		}
		s := c.remote(r)
		scanner, zone := s.all.meets(c.eyes.scanners), s.outside.meets(c.eyes.zone)
		if !scanner && !zone {
			continue
		}
		ports, zero := ports(r)
		f.doubts |= s.doubts | zero
		if scanner {
			f.scanner = append(f.scanner, ports...)
		}
		if zone {
			f.zone = append(f.zone, ports...)
		}
	}
	f.scanner, f.zone = f.scanner.normal(), f.zone.normal()
	c.done[k] = f
	return f
}

// ports translates what a rule opens of what we can ask about. Neutron takes protocols by name and by number. Number 0 is every
// protocol to some drivers and none to others. Source: IANA protocol numbers; neutron/common/ovn/acl.py.
func ports(r *asset.Rule) (spans, doubt) {
	one := func(t transport) spans {
		s := full(t)
		switch {
		case t == icmp && !echo(r):
			return nil
		case t != icmp && r.PortMin != asset.AnyPort:
			s.first, s.last = uint16(max(r.PortMin, 1)), uint16(r.PortMax) //nolint:gosec // whoever reads a rule keeps its ports within 0..65535
		}
		return spans{s}
	}
	switch strings.ToLower(r.Protocol) {
	case "", "any":
		return spans{full(tcp), full(udp), full(icmp)}, 0
	case "0", "ip", "hopopt":
		return spans{full(tcp), full(udp), full(icmp)}, doubtZero
	case "tcp", "6":
		return one(tcp), 0
	case "udp", "17":
		return one(udp), 0
	case "icmp", "1", "icmpv6", "ipv6-icmp", "58": // Neutron reads icmp in an IPv6 rule as ICMPv6
		return one(icmp), 0
	}
	return nil, 0
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
	open, doubts := ports(r)
	doubts |= in.doubts
	for _, asked := range open {
		us, others := false, false
		for e := range c.egress(p, r.EtherType) {
			all, mine, zero := answers(e, asked.proto)
			if !all {
				continue
			}
			out := c.remote(e).all
			us = us || mine && in.all.and(out).meets(c.eyes.scanners)
			others = others || in.outside.and(out).meets(c.eyes.zone)
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
	same := false
	switch strings.ToLower(e.Protocol) {
	case "", "any":
		return true, true, 0
	case "0", "ip", "hopopt":
		return true, true, doubtZero
	case "tcp", "6":
		same = t == tcp
	case "udp", "17":
		same = t == udp
	case "icmp", "1", "icmpv6", "ipv6-icmp", "58":
		same = t == icmp && echoReply(e)
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

// describe shows what a rule is about.
func describe(r *asset.Rule) string {
	proto := cmp.Or(r.Protocol, "any protocol")
	switch {
	case r.PortMin == asset.AnyPort:
		return proto
	case slices.Contains([]string{"icmp", "1", "icmpv6", "ipv6-icmp", "58"}, strings.ToLower(r.Protocol)):
		if r.PortMax == asset.AnyPort {
			return fmt.Sprintf("%s type %d", proto, r.PortMin)
		}
		return fmt.Sprintf("%s type %d code %d", proto, r.PortMin, r.PortMax)
	case r.PortMin == r.PortMax:
		return fmt.Sprintf("%s/%d", proto, r.PortMin)
	}
	return fmt.Sprintf("%s/%d-%d", proto, r.PortMin, r.PortMax)
}
