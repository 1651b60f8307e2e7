package lab

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// Scenarios are written for 127.77.0.0/16. A world takes that range for itself while it runs; one whose
// scenario says Anywhere takes the next free 127.N.0.0/16, so that many can run at once on one machine.
const (
	homeOctet = 77
	claimPort = 61977
)

// claim takes a range and moves the scenario into it. The claim is a listening socket, so it ends with the process.
func (w *World) claim() error {
	last := homeOctet
	if w.scenario.Anywhere {
		last = 250
	}
	var err error
	for n := homeOctet; n <= last; n++ {
		if w.claimed, err = net.Listen("tcp4", fmt.Sprintf("127.%d.255.254:%d", n, claimPort)); err == nil {
			w.octet = byte(n)
			w.relocate()
			return nil
		}
	}
	return fmt.Errorf("127.%d.0.0/16 is taken by another world: %w", homeOctet, err)
}

// At gives an address of the scenario as it is in this world.
func (w *World) At(a netip.Addr) netip.Addr {
	if !a.Is4() {
		return a
	}
	if b := a.As4(); b[0] == 127 && b[1] == homeOctet {
		b[1] = w.octet
		return netip.AddrFrom4(b)
	}
	return a
}

// home is the reverse of At.
func (w *World) home(a netip.Addr) netip.Addr {
	if !a.Is4() {
		return a
	}
	if b := a.As4(); b[0] == 127 && b[1] == w.octet {
		b[1] = homeOctet
		return netip.AddrFrom4(b)
	}
	return a
}

// AtPrefix is At for a prefix.
func (w *World) AtPrefix(p netip.Prefix) netip.Prefix {
	if !p.IsValid() || !p.Addr().Is4() {
		return p
	}
	return netip.PrefixFrom(w.At(p.Addr()), p.Bits())
}

func (w *World) atPrefixes(ps []netip.Prefix) []netip.Prefix {
	out := slices.Clone(ps)
	for i := range out {
		out[i] = w.AtPrefix(out[i])
	}
	return out
}

// relocate copies what it changes, for the scenario is the caller's.
func (w *World) relocate() {
	s := &w.scenario
	sources := map[string]netip.Addr{}
	for k, a := range s.Sources {
		sources[k] = w.At(a)
	}
	s.Sources = sources
	s.AddressGroups = slices.Clone(s.AddressGroups)
	for i := range s.AddressGroups {
		s.AddressGroups[i].Prefixes = w.atPrefixes(s.AddressGroups[i].Prefixes)
	}
	s.Groups = slices.Clone(s.Groups)
	for i := range s.Groups {
		g := &s.Groups[i]
		g.Rules = slices.Clone(g.Rules)
		for j := range g.Rules {
			g.Rules[j].Remote = w.AtPrefix(g.Rules[j].Remote)
		}
	}
	s.Networks = slices.Clone(s.Networks)
	for i := range s.Networks {
		n := &s.Networks[i]
		n.Subnets = slices.Clone(n.Subnets)
		for j := range n.Subnets {
			n.Subnets[j].CIDR, n.Subnets[j].Gateway = w.AtPrefix(n.Subnets[j].CIDR), w.At(n.Subnets[j].Gateway)
		}
	}
	s.Routers = slices.Clone(s.Routers)
	for i := range s.Routers {
		s.Routers[i].Addr = w.At(s.Routers[i].Addr)
	}
	w.relocateServers()
}

func (w *World) relocateServers() {
	s := &w.scenario
	s.Servers = slices.Clone(s.Servers)
	for i := range s.Servers {
		srv := &s.Servers[i]
		srv.NICs = slices.Clone(srv.NICs)
		for j := range srv.NICs {
			nic := &srv.NICs[j]
			nic.Addr, nic.FloatingIP, nic.Pairs = w.At(nic.Addr), w.At(nic.FloatingIP), w.atPrefixes(nic.Pairs)
		}
	}
	s.FloatingIPs = slices.Clone(s.FloatingIPs)
	for i := range s.FloatingIPs {
		s.FloatingIPs[i].Addr = w.At(s.FloatingIPs[i].Addr)
	}
}
