// Package reach computes what a cloud's own rules let through, from where, and why.
//
// Two questions are kept apart: can our probe get in, and can anybody else of that zone. Where only our probe can, the tenant obeys,
// and nothing is exposed; where only others can, our probe has to be let in before anything can be said. docs/exposure.md tells
// what decides, and which of it was held against real packets.
package reach

import (
	"iter"
	"net/netip"
	"slices"
	"sort"
	"strings"

	"demarc/internal/asset"
	"demarc/internal/ipset"
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

// Set is everything that is open to one view. It does not change, and may be read from many goroutines.
type Set struct {
	View    View
	x       *asset.Index
	eyes    eyes
	comp    *compiler
	walls   map[asset.PortID][]*asset.Firewall
	sites   []site // by address
	wide    []site // whose address pair covers more than one address
	cover   cover  // where they stand
	owned   *owned
	digest  *digest
	state   []state
	made    *byte   // names the set
	parent  *byte   // names the set that this one came from by With
	altered []int32 // and the sites whose state is another than there
	links   []Connected
	grounds []ground
	arena   spans // where runs of ports lie while a Set is made

	of     *asset.Port // while a Set is made: the port at hand, its groups, and what is odd about them
	groups []*asset.Group
	odd    doubt
}

// admitted is what is let in at a site, of the answering port's own ports.
type admitted struct {
	scanner, zone spans
	doubts        doubt
}

// state is what the rules make of a site. It lies apart, so that it can change while all else is shared.
type state struct {
	open   *admitted
	doubts doubt
}

// Answer is what the configuration says about one endpoint, at the time of the inventory.
type Answer struct {
	Held      bool       // the cloud holds the address and routes it to the zone, and what holds it is on
	Scanner   bool       // our probe gets in
	Zone      bool       // somebody else of the zone gets in
	Doubts    []string   // why the model is not proven here; then a denial is no ground for anything
	Connected *Connected // who answers for the address, where no port of the cloud holds it
}

// ScannerOnly tells whether the tenant admits our scanner and nobody else.
func (a Answer) ScannerOnly() bool { return a.Scanner && !a.Zone }

// Denied tells whether it is certain that nobody of the zone is let in: what answers nevertheless shows that a filter leaks.
func (a Answer) Denied() bool { return a.Held && !a.Scanner && !a.Zone && len(a.Doubts) == 0 }

// Compute works out what a view can reach of a cloud.
func Compute(x *asset.Index, v View) *Set {
	s := &Set{View: v, x: x, eyes: eyesOf(v), walls: firewalls(x), links: links(x, v), owned: &owned{}, digest: &digest{}}
	s.comp = newCompiler(x, s.eyes)
	finder := newFinder(x, v)
	s.grounds = finder.grounds()
	found := finder.find()
	s.state, s.made = make([]state, len(found)), new(byte)
	var open [2]*admitted // of the port at hand, by family: the sites of a port come one after the other
	for i := range found {
		t := &found[i]
		if i == 0 || found[i-1].port != t.port || found[i-1].lb != t.lb {
			open = [2]*admitted{}
		}
		mine := &open[(t.family()-4)/2]
		if *mine == nil {
			*mine = s.admit(t)
		}
		t.i = int32(i) //nolint:gosec // there are less than two thousand millions
		s.fill(t, *mine)
	}
	for i := range found {
		if found[i].wide.IsValid() {
			s.wide = append(s.wide, found[i])
		}
	}
	s.sites = slices.DeleteFunc(found, func(t site) bool { return t.wide.IsValid() })
	for _, sites := range [][]site{s.sites, s.wide} {
		slices.SortFunc(sites, func(a, b site) int {
			if c := a.addr.Compare(b.addr); c != 0 {
				return c
			}
			return strings.Compare(string(a.port.ID), string(b.port.ID))
		})
	}
	s.cover = coverOf(s.wide)
	return s
}

// fill gives a site what its port admits, narrowed by the firewall groups before it.
func (s *Set) fill(at *site, open *admitted) {
	now := &s.state[at.i]
	*now = state{open, at.way | open.doubts}
	if fs := s.walls[at.port.ID]; len(fs) > 0 {
		*now = state{narrowed(open, fs, s.eyes, at.to()), now.doubts | doubtFirewall}
		if unclear(fs) {
			now.doubts |= doubtNamed
		}
	}
}

// to is the destination that the answering port sees.
func (s *site) to() netip.Addr {
	switch {
	case s.fwd != nil:
		return s.fwd.InternalAddr
	case s.fip != nil:
		return s.fip.Fixed
	}
	return s.addr
}

// admit is what is let in to the port of a site.
func (s *Set) admit(at *site) *admitted {
	p, family := at.port, at.family()
	switch {
	case at.lb != nil:
		return s.listening(at.lb, family)
	case !p.PortSecurity || trusted(p):
		return s.anything(family)
	}
	doubts := s.resolve(p)
	scanner, zone := make([]spans, 0, 8), make([]spans, 0, 8)
	for _, g := range s.groups {
		switch {
		case !g.Stateless:
			f := s.comp.filter(g, family)
			scanner, zone, doubts = append(scanner, f.scanner), append(zone, f.zone), doubts|f.doubts
		case p.IgnoresStateless(): // which opens as much at least
			f := s.comp.filter(g, family)
			scanner, zone, doubts = append(scanner, f.scanner), append(zone, f.zone), doubts|f.doubts
			if s.comp.opensLess(p, g, f, family) {
				doubts |= doubtDriver
			}
		default:
			for i := range g.Rules {
				if r := &g.Rules[i]; r.Direction == asset.Ingress && r.EtherType == family {
					us, others, d := s.comp.stateless(p, r)
					scanner, zone, doubts = append(scanner, us.normal()), append(zone, others.normal()), doubts|d
				}
			}
		}
	}
	return &admitted{s.union(scanner), s.union(zone), doubts}
}

// resolve finds the groups of a port, and the reasons for which they may not say what passes.
func (s *Set) resolve(p *asset.Port) doubt {
	if s.of == p {
		return s.odd
	}
	s.of, s.odd, s.groups = p, 0, s.groups[:0]
	stateful, stateless := false, false
	for _, id := range p.Groups {
		g := s.x.Groups[id]
		if g == nil {
			s.odd |= doubtUnread
			continue
		}
		s.groups = append(s.groups, g)
		stateful, stateless = stateful || !g.Stateless, stateless || g.Stateless
	}
	if stateful && stateless { // Neutron refuses this; a driver that lets it pass does as it likes
		s.odd |= doubtMixed
	}
	return s.odd
}

// union joins sets of one port, in memory that many share.
func (s *Set) union(sets []spans) spans {
	n := 0
	for _, x := range sets {
		n += len(x)
	}
	if n == 0 {
		return nil
	}
	if cap(s.arena)-len(s.arena) < n {
		s.arena = make(spans, 0, max(n, 1<<14))
	}
	from := len(s.arena)
	s.arena = union(s.arena, sets...)
	return s.arena[from:len(s.arena):len(s.arena)]
}

// anything is what gets in where no group holds.
func (s *Set) anything(family int) *admitted {
	all := spans{full(tcp), full(udp), full(icmp)}
	out := &admitted{}
	if s.eyes.scanners.Meets(ipset.Every(family)) {
		out.scanner = all
	}
	if s.eyes.zone.Meets(ipset.Every(family)) {
		out.zone = all
	}
	return out
}

// Lookup answers for one endpoint, whoever answers there.
func (s *Set) Lookup(e probe.Endpoint) Answer { return s.lookup(e, "") }

// LookupAt answers for one endpoint of one port: what another port claims of the same address counts for nothing.
func (s *Set) LookupAt(e probe.Endpoint, p asset.PortID) Answer { return s.lookup(e, p) }

func (s *Set) lookup(e probe.Endpoint, of asset.PortID) Answer {
	t, ok := transportOf(e.Proto)
	var a Answer
	var doubts doubt
	for i := range s.at(e.Addr) {
		if of != "" && i.port.ID != of {
			continue
		}
		doubts |= s.state[i.i].doubts
		if i.off {
			continue
		}
		a.Held = true
		port, through := i.inside(t, e.Port)
		if ok && through {
			a.Scanner = a.Scanner || s.state[i.i].open.scanner.has(t, port)
			a.Zone = a.Zone || s.state[i.i].open.zone.has(t, port)
		}
	}
	a.Doubts = doubts.words()
	if !a.Held {
		a.Connected, _ = s.connected(e.Addr)
	}
	return a
}

// at goes through the sites of an address. Where none is its own, address pairs that cover it count.
func (s *Set) at(a netip.Addr) iter.Seq[*site] {
	return func(yield func(*site) bool) {
		i := sort.Search(len(s.sites), func(i int) bool { return !s.sites[i].addr.Less(a) })
		own := false
		for ; i < len(s.sites) && s.sites[i].addr == a; i++ {
			own = own || !s.sites[i].pair
			if !yield(&s.sites[i]) {
				return
			}
		}
		if own {
			return
		}
		for i := range s.cover.of(a) {
			if !yield(&s.wide[i]) {
				return
			}
		}
	}
}

// inside is the answering port's own port that a port of the site leads to.
func (s *site) inside(t transport, port uint16) (uint16, bool) {
	if s.fwd == nil {
		return port, true
	}
	f := s.fwd
	if string(transports[t]) != f.Protocol || port < f.External || port > max(f.External, f.ExternalLast) {
		return 0, false
	}
	if f.InternalLast <= f.Internal { // several ports lead to one
		return f.Internal, true
	}
	return f.Internal + (port - f.External), true
}

// Addresses lists the addresses that are held and on, in order, those of the network service left out.
func (s *Set) Addresses() []netip.Addr {
	var out []netip.Addr
	for i := range s.sites {
		if t := &s.sites[i]; !t.off && (t.port.Server != "" || t.lb != nil) && (len(out) == 0 || out[len(out)-1] != t.addr) {
			out = append(out, t.addr)
		}
	}
	return out
}

// Range is a run of endpoints at one address.
type Range struct {
	Addr        netip.Addr
	Port        asset.PortID
	Server      asset.ServerID
	Proto       probe.Proto
	First, Last uint16
}

// Ranges goes through what our probe can ask of machines and load balancers, in order of addresses.
func (s *Set) Ranges() iter.Seq[Range] {
	return func(yield func(Range) bool) {
		for i := range s.sites {
			t := &s.sites[i]
			if t.off || t.port.Server == "" && t.lb == nil {
				continue
			}
			for _, r := range t.outside(s.state[t.i].open.scanner) {
				if !yield(t.placed(r)) {
					return
				}
			}
		}
	}
}

// RangesAt are those of one address.
func (s *Set) RangesAt(a netip.Addr) iter.Seq[Range] {
	return func(yield func(Range) bool) {
		for t := range s.at(a) {
			if !t.asks() {
				continue
			}
			for _, r := range t.outside(s.state[t.i].open.scanner) {
				if !yield(t.placed(r)) {
					return
				}
			}
		}
	}
}

func (s *site) placed(r span) Range {
	return Range{s.addr, s.port.ID, s.port.Server, transports[r.proto], r.first, r.last}
}

// outside is how a port's own spans show at the site; a forwarding shows only the ports that it maps.
func (s *site) outside(open spans) spans {
	if s.fwd == nil {
		return open
	}
	t, ok := transportOf(probe.Proto(s.fwd.Protocol))
	if !ok {
		return nil
	}
	if s.fwd.InternalLast <= s.fwd.Internal { // several ports lead to one
		if !open.has(t, s.fwd.Internal) {
			return nil
		}
		return spans{{t, s.fwd.External, max(s.fwd.External, s.fwd.ExternalLast)}}
	}
	shown := open.and(spans{{t, s.fwd.Internal, s.fwd.InternalLast}})
	for i := range shown {
		shown[i].first, shown[i].last = shown[i].first-s.fwd.Internal+s.fwd.External, shown[i].last-s.fwd.Internal+s.fwd.External
	}
	return shown
}
