package reach

import (
	"cmp"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"demarc/internal/asset"
	"demarc/internal/ipset"
	"demarc/internal/probe"
)

// The states of an opening.
const (
	Now    = "now"     // it is open
	WhenOn = "when_on" // it will be, when machine, port and router are on
)

// Opening is one run of ports that one object of the cloud's configuration opens at one address. Proto is tcp, udp or icmp; for
// ICMP the ports are 0 and an echo request is meant.
type Opening struct {
	Server     asset.ServerID     `json:"server"`
	Port       asset.PortID       `json:"port"`
	Project    asset.ProjectID    `json:"project"`
	Addr       netip.Addr         `json:"addr"`
	Prefix     netip.Prefix       `json:"prefix,omitzero"` // the address pair, where it covers more than Addr
	FloatingIP asset.FloatingIPID `json:"floating_ip,omitempty"`
	Proto      probe.Proto        `json:"proto"`
	First      uint16             `json:"first"`
	Last       uint16             `json:"last"`
	State      string             `json:"state"`   // now, when_on
	Scanner    bool               `json:"scanner"` // our probe gets in
	Zone       bool               `json:"zone"`    // somebody else of the zone gets in
	Group      asset.GroupID      `json:"group,omitempty"`
	Rule       asset.RuleID       `json:"rule,omitempty"`
	Service    bool               `json:"service,omitempty"` // at a port of the network service, such as a router's: no rule opens it
	Remote     string             `json:"remote"`
	Why        []string           `json:"why"`              // the chain of objects, outermost first
	Doubts     []string           `json:"doubts,omitempty"` // why the model is not proven here
}

// All goes through every opening, by address, protocol, ports and rule; those of address pairs wider than one address come last.
func (s *Set) All() iter.Seq[Opening] {
	return func(yield func(Opening) bool) {
		for _, sites := range [][]site{s.sites, s.wide} {
			for i := 0; i < len(sites); {
				j := i
				var here []Opening
				for ; j < len(sites) && sites[j].addr == sites[i].addr && sites[j].wide == sites[i].wide; j++ {
					here = s.openings(here, &sites[j])
				}
				i = j
				for _, o := range sorted(here) {
					if !yield(o) {
						return
					}
				}
			}
		}
	}
}

// At lists the openings of one address.
func (s *Set) At(a netip.Addr) []Opening {
	var out []Opening
	for t := range s.at(a) {
		out = s.openings(out, t)
	}
	return sorted(out)
}

// Why lists what opens one endpoint now, of one port, or of any where none is named.
func (s *Set) Why(e probe.Endpoint, p asset.PortID) []Opening {
	return slices.DeleteFunc(s.At(e.Addr), func(o Opening) bool {
		return p != "" && o.Port != p || o.State != Now || o.Proto != e.Proto || e.Port < o.First || e.Port > o.Last
	})
}

// Of lists the openings of one server.
func (s *Set) Of(id asset.ServerID) []Opening {
	var out []Opening
	for _, t := range s.owned.of(s, id) {
		out = s.openings(out, t)
	}
	return sorted(out)
}

// owned finds the sites of a server, for a Set and those that come from it.
type owned struct {
	once  sync.Once
	sites map[asset.ServerID][]*site
}

func (o *owned) of(s *Set, id asset.ServerID) []*site {
	o.once.Do(func() {
		o.sites = map[asset.ServerID][]*site{}
		for _, sites := range [][]site{s.sites, s.wide} {
			for i := range sites {
				if t := &sites[i]; t.port.Server != "" {
					o.sites[t.port.Server] = append(o.sites[t.port.Server], t)
				}
			}
		}
	})
	return o.sites[id]
}

func sorted(os []Opening) []Opening {
	order := func(a, b Opening) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last),
			cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()))
	}
	slices.SortStableFunc(os, order)
	return slices.CompactFunc(os, func(a, b Opening) bool { return order(a, b) == 0 })
}

// hole is what one object admits to a port, before it is placed at a site.
type hole struct {
	ports         spans
	scanner, zone bool
	group         asset.GroupID
	rule          asset.RuleID
	remote, why   string
	from          ipset.Set // whom a listener takes connections from
	others        ipset.Set // whom of the world a rule lets in, machines of the cloud left out
}

// openings appends what is open at a site, object by object.
func (s *Set) openings(out []Opening, t *site) []Opening {
	chain, now := t.chain(s.x), s.state[t.i]
	for _, h := range s.holes(t) {
		for _, part := range []struct {
			open          spans
			scanner, zone bool
		}{
			{now.open.scanner.and(now.open.zone), true, true}, {now.open.scanner.minus(now.open.zone), true, false}, {now.open.zone.minus(now.open.scanner), false, true},
		} {
			us, others := part.scanner && h.scanner, part.zone && h.zone
			if !us && !others {
				continue
			}
			for _, r := range t.outside(h.ports.and(part.open)) {
				out = append(out, t.opening(r, h, us, others, chain, now.doubts))
			}
		}
	}
	return out
}

func (s *site) opening(r span, h hole, us, others bool, chain []string, doubts doubt) Opening {
	o := Opening{Server: s.port.Server, Port: s.port.ID, Project: s.port.Project, Addr: s.addr, Prefix: s.wide, Proto: transports[r.proto], First: r.first, Last: r.last,
		State: Now, Scanner: us, Zone: others, Group: h.group, Rule: h.rule, Remote: h.remote, Why: append(slices.Clone(chain), h.why), Doubts: doubts.words()}
	if s.fip != nil {
		o.FloatingIP = s.fip.ID
	}
	if s.off {
		o.State = WhenOn
	}
	o.Service = s.lb == nil && s.port.Server == "" && trusted(s.port)
	if s.lb != nil {
		o.Project = s.lb.Project
	}
	return o
}

// holes lists what admits anything to the port of a site.
func (s *Set) holes(t *site) []hole {
	p, family := t.port, t.family()
	all := spans{full(tcp), full(udp), full(icmp)}
	open := s.anything(family)
	free := hole{ports: all, others: ipset.Every(family), scanner: len(open.scanner) > 0, zone: len(open.zone) > 0, remote: "any"}
	switch {
	case t.lb != nil:
		return s.listeners(t.lb, family)
	case trusted(p):
		free.why = fmt.Sprintf("port of the network service (%s): no group applies", p.DeviceOwner)
		return []hole{free}
	case !p.PortSecurity:
		free.why = "port security is off: no group applies"
		return []hole{free}
	}
	var out []hole
	for _, id := range p.Groups {
		g := s.x.Groups[id]
		if g == nil {
			continue
		}
		for i := range g.Rules {
			r := &g.Rules[i]
			if r.Direction != asset.Ingress || r.EtherType != family {
				continue
			}
			out = append(out, s.ruleHoles(p, g, r)...)
		}
	}
	if fs := s.walls[p.ID]; len(fs) > 0 {
		for i := range out {
			for _, f := range fs {
				out[i].why += "; let through by " + whyFirewall(f)
			}
		}
	}
	return out
}

// ruleHoles is what one rule admits, of which our probe and the others of the zone may get different parts.
func (s *Set) ruleHoles(p *asset.Port, g *asset.Group, r *asset.Rule) []hole {
	from := s.comp.remote(r)
	h := hole{others: from.outside, group: g.ID, rule: r.ID, remote: from.name, why: fmt.Sprintf("group %s, rule %s: %s from %s", g.Name, r.ID, Describe(r), from.name)}
	us, others := spans(nil), spans(nil)
	if !g.Stateless || p.IgnoresStateless() {
		open, n, _ := ports(r)
		if from.all.Meets(s.eyes.scanners) {
			us = slices.Clone(open[:n])
		}
		if from.outside.Meets(s.eyes.zone) {
			others = slices.Clone(open[:n])
		}
	} else {
		us, others, _ = s.comp.stateless(p, r)
		h.why += ", answered by an egress rule: the group is stateless"
	}
	us, others = us.normal(), others.normal()
	var out []hole
	for _, part := range []struct {
		ports         spans
		scanner, zone bool
	}{{us.and(others), true, true}, {us.minus(others), true, false}, {others.minus(us), false, true}} {
		if len(part.ports) > 0 {
			h := h
			h.ports, h.scanner, h.zone = part.ports, part.scanner, part.zone
			out = append(out, h)
		}
	}
	return out
}

// listeners lists what a load balancer takes. A listener with allowed prefixes takes from those alone.
// Source: Octavia API reference, listeners, allowed_cidrs.
func (s *Set) listeners(lb *asset.LoadBalancer, family int) []hole {
	var out []hole
	for _, l := range lb.Listeners {
		t, ok := listens(l.Protocol)
		if !ok || !l.AdminUp || l.Port == 0 {
			continue
		}
		from, name := ipset.Every(family), "any"
		if len(l.Allowed) > 0 {
			from = ipset.Of(l.Allowed...).And(from)
			name = strings.Trim(fmt.Sprint(l.Allowed), "[]")
		}
		h := hole{ports: spans{{t, l.Port, l.Port}}, from: from, scanner: from.Meets(s.eyes.scanners), zone: from.Meets(s.eyes.zone), remote: name,
			why: fmt.Sprintf("listener %s: %s/%d from %s", l.ID, l.Protocol, l.Port, name)}
		if h.scanner || h.zone {
			out = append(out, h)
		}
	}
	return out
}

func (s *Set) listening(lb *asset.LoadBalancer, family int) *admitted {
	out := &admitted{}
	for _, h := range s.listeners(lb, family) {
		if h.scanner {
			out.scanner = append(out.scanner, h.ports...)
		}
		if h.zone {
			out.zone = append(out.zone, h.ports...)
		}
	}
	out.scanner, out.zone = out.scanner.normal(), out.zone.normal()
	return out
}

// listens translates a listener's protocol into the transport below it.
func listens(protocol string) (transport, bool) {
	switch strings.ToUpper(protocol) {
	case "TCP", "HTTP", "HTTPS", "TERMINATED_HTTPS", "PROMETHEUS":
		return tcp, true
	case "UDP":
		return udp, true
	}
	return 0, false
}
