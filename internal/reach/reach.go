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

// Set is everything that is open to one view. It does not change, and may be read from many goroutines.
type Set struct {
	View  View
	x     *asset.Index
	eyes  eyes
	comp  *compiler
	walls map[asset.PortID][]*asset.Firewall
	sites []site // by address
	wide  []site // whose address pair covers more than one address
	links []Connected
}

// admitted is what is let in at a site, of the answering port's own ports.
type admitted struct {
	scanner, zone spans
	doubts        doubt
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
	s := &Set{View: v, x: x, eyes: eyesOf(v), walls: firewalls(x), links: links(x, v)}
	s.comp = newCompiler(x, s.eyes)
	found := newFinder(x, v).find()
	slices.SortStableFunc(found, func(a, b site) int { return a.addr.Compare(b.addr) })
	open := map[openKey]*admitted{}
	for i := range found {
		k := openKey{found[i].port.ID, found[i].family(), found[i].lb}
		if open[k] == nil {
			open[k] = s.admit(&found[i])
		}
		s.fill(&found[i], open[k])
	}
	for i := range found {
		if found[i].wide.IsValid() {
			s.wide = append(s.wide, found[i])
		} else {
			s.sites = append(s.sites, found[i])
		}
	}
	return s
}

type openKey struct {
	port   asset.PortID
	family int
	lb     *asset.LoadBalancer
}

// fill gives a site what its port admits, narrowed by the firewall groups before it.
func (s *Set) fill(at *site, open *admitted) {
	at.open, at.doubts = open, at.doubts|open.doubts
	if fs := s.walls[at.port.ID]; len(fs) > 0 {
		at.open, at.doubts = narrowed(open, fs, s.eyes, at.to()), at.doubts|doubtFirewall
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
	var scanner, zone []spans
	var doubts doubt
	for _, id := range p.Groups {
		g := s.x.Groups[id]
		switch {
		case g == nil:
		case !g.Stateless:
			f := s.comp.filter(g, family)
			scanner, zone, doubts = append(scanner, f.scanner), append(zone, f.zone), doubts|f.doubts
		default:
			for i := range g.Rules {
				if r := &g.Rules[i]; r.Direction == asset.Ingress && r.EtherType == family {
					us, others, d := s.comp.stateless(p, r)
					scanner, zone, doubts = append(scanner, us.normal()), append(zone, others.normal()), doubts|d
				}
			}
		}
	}
	return &admitted{union(nil, scanner...), union(nil, zone...), doubts}
}

// anything is what gets in where no group holds.
func (s *Set) anything(family int) *admitted {
	all := spans{full(tcp), full(udp), full(icmp)}
	out := &admitted{}
	if s.eyes.scanners.meets(everywhere(family)) {
		out.scanner = all
	}
	if s.eyes.zone.meets(everywhere(family)) {
		out.zone = all
	}
	return out
}

// Lookup answers for one endpoint.
func (s *Set) Lookup(e probe.Endpoint) Answer {
	t, ok := transportOf(e.Proto)
	var a Answer
	var doubts doubt
	for i := range s.at(e.Addr) {
		doubts |= i.doubts
		if i.off {
			continue
		}
		a.Held = true
		port, through := i.inside(t, e.Port)
		if ok && through {
			a.Scanner = a.Scanner || i.open.scanner.has(t, port)
			a.Zone = a.Zone || i.open.zone.has(t, port)
		}
	}
	a.Doubts = doubts.words()
	if !a.Held {
		a.Connected = s.connected(e.Addr)
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
		for i := range s.wide {
			if !own && s.wide[i].wide.Contains(a) && !yield(&s.wide[i]) {
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
			for _, r := range t.outside(t.open.scanner) {
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
	shown := open.and(spans{{t, s.fwd.Internal, max(s.fwd.Internal, s.fwd.InternalLast)}})
	for i := range shown {
		shown[i].first, shown[i].last = shown[i].first-s.fwd.Internal+s.fwd.External, shown[i].last-s.fwd.Internal+s.fwd.External
	}
	return shown
}
