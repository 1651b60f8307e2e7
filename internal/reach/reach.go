// Package reach computes what a cloud's own rules let through, from where, and why.
//
// Two questions are kept apart: can our probe get in, and can anybody else of that zone. Their
// difference is a tenant who admits only the scanner, which is obedience and not an exposure.
package reach

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"demarc/internal/asset"
	"demarc/internal/probe"
)

// View is where one looks from: a zone, seen by a scanner in it.
type View struct {
	Zone     probe.Zone
	Prefixes []netip.Prefix // the zone's addresses
	Except   []netip.Prefix // what is not of the zone although Prefixes holds it
	Scanners []netip.Addr   // our published sources in it
	Blocks   []netip.Prefix // the cloud's netblocks that are routed to the zone; empty: every external address
}

// NotInternet lists the prefixes that no host of the internet has: private, shared, link-local and unique local addresses.
// Source: the IANA special-purpose address registries, RFC 6890.
var NotInternet = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"),
}

// Opening is one run of ports that the cloud's configuration opens at one address, with the objects that
// open it. Proto is tcp, udp or icmp; for ICMP the ports are 0.
type Opening struct {
	Server     asset.ServerID     `json:"server"`
	Port       asset.PortID       `json:"port"`
	Project    asset.ProjectID    `json:"project"`
	Addr       netip.Addr         `json:"addr"`
	FloatingIP asset.FloatingIPID `json:"floating_ip,omitempty"`
	Proto      probe.Proto        `json:"proto"`
	First      uint16             `json:"first"`
	Last       uint16             `json:"last"`
	Scanner    bool               `json:"scanner"` // our probe gets in
	Zone       bool               `json:"zone"`    // somebody else of the zone gets in
	Group      asset.GroupID      `json:"group,omitempty"`
	Rule       asset.RuleID       `json:"rule,omitempty"`
	Remote     string             `json:"remote"`
	Why        []string           `json:"why"` // the chain of objects, outermost first
}

// covers tells whether the opening holds an endpoint.
func (o Opening) covers(e probe.Endpoint) bool {
	return o.Addr == e.Addr && o.Proto == e.Proto && o.First <= e.Port && e.Port <= o.Last
}

// Set is everything that is open to one view.
type Set struct {
	View     View
	Openings []Opening
	byAddr   map[netip.Addr][]Opening
	held     map[netip.Addr]bool // addresses the view can route to, open or not
}

// Answer is what the configuration says about one endpoint.
type Answer struct {
	Held    bool      // the cloud holds the address and routes it to the zone
	Scanner bool      // our probe gets in
	Zone    bool      // somebody else of the zone gets in
	By      []Opening // what opens it
}

// ScannerOnly tells whether the tenant admits our scanner and nobody else.
func (a Answer) ScannerOnly() bool { return a.Scanner && !a.Zone }

// Lookup answers for one endpoint.
func (s *Set) Lookup(e probe.Endpoint) Answer {
	a := Answer{Held: s.held[e.Addr]}
	for _, o := range s.byAddr[e.Addr] {
		if o.covers(e) {
			a.Scanner = a.Scanner || o.Scanner
			a.Zone = a.Zone || o.Zone
			a.By = append(a.By, o)
		}
	}
	return a
}

// Addresses lists the addresses the view can route to, in order.
func (s *Set) Addresses() []netip.Addr {
	out := make([]netip.Addr, 0, len(s.held))
	for a := range s.held {
		out = append(out, a)
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// Compute works out what a view can reach of a cloud.
func Compute(x *asset.Index, v View) *Set {
	c := &computer{x: x, v: v, gateways: Gateways(x), set: &Set{View: v, byAddr: map[netip.Addr][]Opening{}, held: map[netip.Addr]bool{}}}
	for i := range x.Snapshot.Ports {
		c.port(&x.Snapshot.Ports[i])
	}
	slices.SortFunc(c.set.Openings, compare)
	c.set.Openings = slices.CompactFunc(c.set.Openings, func(a, b Opening) bool { return compare(a, b) == 0 })
	for _, o := range c.set.Openings {
		c.set.byAddr[o.Addr] = append(c.set.byAddr[o.Addr], o)
	}
	return c.set
}

func compare(a, b Opening) int {
	return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Port, b.Port))
}

type computer struct {
	x        *asset.Index
	v        View
	gateways map[asset.SubnetID]*asset.Router
	set      *Set
}

// way is one address by which the zone can send packets to a port. A forwarding maps one port.
type way struct {
	addr     netip.Addr
	fixed    netip.Addr
	fip      asset.FloatingIPID
	proto    string // with a forwarding
	external uint16
	internal uint16
	why      []string
}

func (c *computer) port(p *asset.Port) {
	s := c.x.Servers[p.Server]
	if s == nil || !s.Active() || !p.AdminUp {
		return
	}
	for _, w := range c.ways(p) {
		if !c.routed(w.addr) {
			continue
		}
		c.set.held[w.addr] = true
		for _, o := range c.admitted(p, w) {
			c.add(p, w, o)
		}
	}
}

// ways lists the addresses at which the outside can send to a port: floating IPs, fixed addresses on external
// networks, and global IPv6 addresses on subnets that a router with an external gateway serves.
func (c *computer) ways(p *asset.Port) []way {
	var out []way
	for _, f := range c.x.FloatingOf[p.ID] {
		base := []string{fmt.Sprintf("floating IP %s (%s)", f.Addr, f.ID), fmt.Sprintf("port %s", p.ID)}
		if f.Port == p.ID {
			out = append(out, way{addr: f.Addr, fixed: f.Fixed, fip: f.ID, why: base})
		}
		for _, fw := range f.Forwardings {
			if fw.Port == p.ID {
				why := append(slices.Clone(base), fmt.Sprintf("forwarding %s/%d to %s:%d", fw.Protocol, fw.External, fw.InternalAddr, fw.Internal))
				out = append(out, way{addr: f.Addr, fixed: fw.InternalAddr, fip: f.ID, proto: fw.Protocol, external: fw.External, internal: fw.Internal, why: why})
			}
		}
	}
	net := c.x.Networks[p.Network]
	for _, f := range p.FixedIPs {
		switch {
		case net != nil && net.External:
			out = append(out, way{addr: f.Addr, fixed: f.Addr, why: []string{fmt.Sprintf("fixed address on external network %s", net.Name), fmt.Sprintf("port %s", p.ID)}})
		case f.Addr.Is6() && f.Addr.IsGlobalUnicast() && !f.Addr.IsPrivate():
			if r := c.gateways[f.Subnet]; r != nil {
				out = append(out, way{addr: f.Addr, fixed: f.Addr, why: []string{fmt.Sprintf("routed IPv6 subnet %s behind router %s", f.Subnet, r.Name), fmt.Sprintf("port %s", p.ID)}})
			}
		}
	}
	return out
}

// Gateways finds, for each subnet, a router that is up, has an external gateway and a leg in the subnet.
func Gateways(x *asset.Index) map[asset.SubnetID]*asset.Router {
	out := map[asset.SubnetID]*asset.Router{}
	for i := range x.Snapshot.Ports {
		p := &x.Snapshot.Ports[i]
		if !strings.HasPrefix(p.DeviceOwner, "network:router_interface") && !strings.HasPrefix(p.DeviceOwner, "network:ha_router_replicated_interface") {
			continue
		}
		if r := x.Routers[asset.RouterID(p.Device)]; r != nil && r.AdminUp && r.External != "" {
			for _, f := range p.FixedIPs {
				out[f.Subnet] = r
			}
		}
	}
	return out
}

// routed tells whether the zone has a route to the address, as far as the operator declared it.
func (c *computer) routed(a netip.Addr) bool {
	if len(c.v.Blocks) == 0 {
		return true
	}
	return slices.ContainsFunc(c.v.Blocks, func(p netip.Prefix) bool { return p.Contains(a) })
}

// hole is what one rule admits to a port, before it is placed at an address.
type hole struct {
	proto       probe.Proto
	first, last uint16
	scanner     bool
	zone        bool
	group       asset.GroupID
	rule        asset.RuleID
	remote      string
	why         string
}

// admitted lists the holes of a port for one way in.
func (c *computer) admitted(p *asset.Port, w way) []hole {
	family := 4
	if w.addr.Is6() {
		family = 6
	}
	if !p.PortSecurity {
		out := make([]hole, 0, 3)
		for _, proto := range []probe.Proto{probe.TCP, probe.UDP, probe.ICMP} {
			first, last := allPorts(proto)
			out = append(out, hole{proto: proto, first: first, last: last, scanner: c.scannerIn(anywhere(family)), zone: c.zoneIn(anywhere(family)), remote: "any", why: "port security is off: no group applies"})
		}
		return out
	}
	var out []hole
	for _, id := range p.Groups {
		g := c.x.Groups[id]
		if g == nil {
			continue
		}
		for i := range g.Rules {
			out = append(out, c.holes(g, &g.Rules[i], family)...)
		}
	}
	return out
}

// holes translates one rule. A rule without a protocol opens all of them.
func (c *computer) holes(g *asset.Group, r *asset.Rule, family int) []hole {
	if r.Direction != asset.Ingress || r.EtherType != family {
		return nil
	}
	remotes, outside, name := c.remotes(r, family)
	scanner, zone := c.scannerIn(remotes), c.zoneIn(outside)
	if !scanner && !zone {
		return nil
	}
	var out []hole
	for _, proto := range protocols(r.Protocol, family) {
		first, last := allPorts(proto)
		if proto != probe.ICMP && r.PortMin != asset.AnyPort && r.Protocol != "" {
			first, last = uint16(r.PortMin), uint16(r.PortMax) //nolint:gosec // Neutron keeps ports within 0..65535; parse checks it
		}
		out = append(out, hole{proto: proto, first: first, last: last, scanner: scanner, zone: zone, group: g.ID, rule: r.ID, remote: name,
			why: fmt.Sprintf("group %s, rule %s: %s from %s", g.Name, r.ID, describe(r), name)})
	}
	return out
}

// remotes lists the source prefixes a rule admits, and which of them can be outside the cloud. The addresses of a remote
// group's members are inside; an address pair of theirs can hold anything.
func (c *computer) remotes(r *asset.Rule, family int) (ps, outside []netip.Prefix, name string) {
	switch {
	case r.RemotePrefix.IsValid():
		ps = []netip.Prefix{r.RemotePrefix}
		return ps, ps, r.RemotePrefix.String()
	case r.RemoteGroup != "":
		for _, m := range c.x.Members[r.RemoteGroup] {
			for _, f := range m.FixedIPs {
				ps = append(ps, netip.PrefixFrom(f.Addr, f.Addr.BitLen()))
			}
			for _, a := range m.Pairs {
				ps = append(ps, a.Prefix)
				if !a.Prefix.IsSingleIP() {
					outside = append(outside, a.Prefix)
				}
			}
		}
		return ps, outside, "members of group " + string(r.RemoteGroup)
	case r.RemoteAddress != "":
		if set := c.x.AddressSets[r.RemoteAddress]; set != nil {
			ps = set.Prefixes
		}
		return ps, ps, "address group " + string(r.RemoteAddress)
	default:
		return anywhere(family), anywhere(family), "any"
	}
}

func anywhere(family int) []netip.Prefix {
	if family == 6 {
		return []netip.Prefix{netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
	}
	return []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
}

// scannerIn tells whether one of our sources is among the prefixes.
func (c *computer) scannerIn(ps []netip.Prefix) bool {
	return slices.ContainsFunc(ps, func(p netip.Prefix) bool {
		return slices.ContainsFunc(c.v.Scanners, p.Contains)
	})
}

// zoneIn tells whether the prefixes hold any address of the zone that is not one of our scanners.
func (c *computer) zoneIn(ps []netip.Prefix) bool {
	return slices.ContainsFunc(ps, func(p netip.Prefix) bool {
		if p.IsSingleIP() && slices.Contains(c.v.Scanners, p.Addr()) {
			return false
		}
		if slices.ContainsFunc(c.v.Except, func(x netip.Prefix) bool { return x.Bits() <= p.Bits() && x.Overlaps(p) }) {
			return false
		}
		return slices.ContainsFunc(c.v.Prefixes, p.Overlaps)
	})
}

// add places a hole at an address; a forwarding shows only the port it maps.
func (c *computer) add(p *asset.Port, w way, h hole) {
	first, last := h.first, h.last
	if w.external != 0 {
		if string(h.proto) != w.proto || w.internal < h.first || w.internal > h.last {
			return
		}
		first, last = w.external, w.external
	}
	c.set.Openings = append(c.set.Openings, Opening{
		Server: p.Server, Port: p.ID, Project: p.Project, Addr: w.addr, FloatingIP: w.fip, Proto: h.proto, First: first, Last: last,
		Scanner: h.scanner, Zone: h.zone, Group: h.group, Rule: h.rule, Remote: h.remote, Why: append(slices.Clone(w.why), h.why),
	})
}

// protocols lists the transports a rule's protocol covers, of those we can ask about. Source: IANA protocol numbers.
func protocols(s string, family int) []probe.Proto {
	switch strings.ToLower(s) {
	case "", "any", "0":
		return []probe.Proto{probe.TCP, probe.UDP, probe.ICMP}
	case "tcp", "6":
		return []probe.Proto{probe.TCP}
	case "udp", "17":
		return []probe.Proto{probe.UDP}
	case "icmp", "1":
		return []probe.Proto{probe.ICMP} // Neutron reads icmp in an IPv6 rule as ICMPv6
	case "icmpv6", "ipv6-icmp", "58":
		if family == 6 {
			return []probe.Proto{probe.ICMP}
		}
	}
	return nil
}

func allPorts(p probe.Proto) (first, last uint16) {
	if p == probe.ICMP {
		return 0, 0
	}
	return 1, 65535
}

func describe(r *asset.Rule) string {
	proto := cmp.Or(r.Protocol, "any protocol")
	switch {
	case r.PortMin == asset.AnyPort:
		return proto
	case r.PortMin == r.PortMax:
		return fmt.Sprintf("%s/%d", proto, r.PortMin)
	default:
		return fmt.Sprintf("%s/%d-%d", proto, r.PortMin, r.PortMax)
	}
}
