package lab

import (
	"fmt"
	"net/netip"
	"strings"
)

// filter says which IPv4 sources an endpoint admits. The zero value admits none.
type filter struct {
	all  bool
	from []netip.Prefix
	deny []netip.Prefix // a guest firewall drops these first
	none bool           // a guest firewall drops everything
}

// guestFilter is a firewall inside the machine, which the cloud does not know of.
type guestFilter struct {
	everything bool
	from       []netip.Prefix
}

func (f filter) admits(a netip.Addr) bool {
	if f.none || within(f.deny, a) {
		return false
	}
	return f.all || within(f.from, a)
}

func within(ps []netip.Prefix, a netip.Addr) bool {
	for _, p := range ps {
		if p.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}

func (f filter) equal(o filter) bool { return fmt.Sprint(f) == fmt.Sprint(o) }

// admission computes what the groups of a port let in to one TCP port, and what the guest takes away again.
func (w *World) admission(s *serverRow, p *portRow, svc *Service, tcp uint16) filter {
	f := filter{all: svc.Leak || !p.PortSecurity}
	if !f.all {
		for _, id := range p.SecurityGroups {
			g := w.groupByID(id)
			if g == nil {
				continue
			}
			for _, r := range g.Rules {
				if r.opens(tcp) {
					f.from = append(f.from, w.remotes(r)...)
				}
			}
		}
	}
	if s.blocked != nil {
		f.none, f.deny = s.blocked.everything, s.blocked.from
	}
	return f
}

// opens tells whether a rule lets IPv4 TCP in to a port, from anywhere at all.
func (r *ruleRow) opens(tcp uint16) bool {
	if r.Direction != "ingress" || r.EtherType != "IPv4" {
		return false
	}
	if r.Protocol != nil {
		switch strings.ToLower(*r.Protocol) {
		case "tcp", "6", "any", "0", "":
		default:
			return false
		}
	}
	return r.PortMin == nil || r.PortMax == nil || int(tcp) >= *r.PortMin && int(tcp) <= *r.PortMax
}

func (w *World) remotes(r *ruleRow) []netip.Prefix {
	switch {
	case r.RemotePrefix != nil:
		return prefixes(*r.RemotePrefix)
	case r.RemoteGroup != nil:
		return w.members(*r.RemoteGroup)
	case r.RemoteAddresses != nil:
		if a := find(w.addressGroups, func(a *addressGroupRow) bool { return a.ID == *r.RemoteAddresses }); a != nil {
			return prefixes(a.Addresses...)
		}
		return nil
	default:
		return prefixes("0.0.0.0/0")
	}
}

func (w *World) members(group string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range w.ports {
		for _, id := range p.SecurityGroups {
			for _, fixed := range p.FixedIPs {
				if id == group {
					out = append(out, prefixes(fixed.IPAddress)...)
				}
			}
		}
	}
	return out
}

// prefixes parses what Neutron accepts as a remote: a prefix or a bare address. What does not parse admits nothing.
func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, t := range texts {
		if a, err := netip.ParseAddr(t); err == nil {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		} else if p, err := netip.ParsePrefix(t); err == nil {
			out = append(out, p.Masked())
		}
	}
	return out
}

// String renders a rule on one line.
func (r *ruleRow) String() string {
	proto, ports, remote := "any", "any", "any"
	if r.Protocol != nil {
		proto = *r.Protocol
	}
	if r.PortMin != nil && r.PortMax != nil {
		ports = fmt.Sprintf("%d-%d", *r.PortMin, *r.PortMax)
	}
	for _, s := range []*string{r.RemotePrefix, r.RemoteGroup, r.RemoteAddresses} {
		if s != nil {
			remote = *s
		}
	}
	return fmt.Sprintf("%s %s %s %s from %s", r.Direction, r.EtherType, proto, ports, remote)
}
