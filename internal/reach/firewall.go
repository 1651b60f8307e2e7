package reach

import (
	"fmt"
	"net/netip"
	"slices"

	"demarc/internal/asset"
	"demarc/internal/ipset"
)

// firewalls finds the firewall groups that stand before a port: its own, and those of the router's leg in its subnet.
func firewalls(x *asset.Index) map[asset.PortID][]*asset.Firewall {
	out := map[asset.PortID][]*asset.Firewall{}
	for i := range x.Snapshot.Firewalls {
		f := &x.Snapshot.Firewalls[i]
		for _, p := range f.Ports {
			out[p] = append(out[p], f)
		}
	}
	if len(out) == 0 {
		return nil
	}
	legs := map[asset.SubnetID][]asset.PortID{}
	for i := range x.Snapshot.Ports {
		if p := &x.Snapshot.Ports[i]; trusted(p) && out[p.ID] != nil {
			for _, a := range p.FixedIPs {
				legs[a.Subnet] = append(legs[a.Subnet], p.ID)
			}
		}
	}
	for i := range x.Snapshot.Ports {
		p := &x.Snapshot.Ports[i]
		if p.Server == "" {
			continue
		}
		for _, a := range p.FixedIPs {
			for _, leg := range legs[a.Subnet] {
				for _, f := range out[leg] {
					if !slices.Contains(out[p.ID], f) {
						out[p.ID] = append(out[p.ID], f)
					}
				}
			}
		}
	}
	return out
}

// narrowed is what firewall groups leave of what groups admit. The first rule that fits decides, and what fits none is dropped.
// Source: Neutron API reference, FWaaS v2.
func narrowed(open *admitted, fs []*asset.Firewall, e eyes, to netip.Addr) *admitted {
	out := *open
	for _, f := range fs {
		if f.AdminUp {
			out.scanner, out.zone = out.scanner.and(passes(f, e.scanners, to)), out.zone.and(passes(f, e.zone, to))
		} else { // a firewall group that is down lets nothing through
			out.scanner, out.zone = nil, nil
		}
	}
	return &out
}

// passes is what a firewall group lets any of some sources send to an address.
func passes(f *asset.Firewall, from ipset.Set, to netip.Addr) spans {
	var out spans
	for _, t := range []transport{tcp, udp, icmp} {
		for _, s := range cuts(f, t) {
			if len(allowed(f, s, from, to)) > 0 {
				out = append(out, s)
			}
		}
	}
	return out.normal()
}

// allowed are those of some sources that a firewall group lets send to an address, within a run of ports that no rule divides. Of a rule
// that is unclear the widest is taken: what may be let in is asked.
func allowed(f *asset.Firewall, s span, from ipset.Set, to netip.Addr) ipset.Set {
	var out ipset.Set
	left := from
	for i := range f.Ingress {
		r := &f.Ingress[i]
		if r.Unclear && r.Action != "allow" { // whom it denies is not known, so it takes nothing away
			continue
		}
		if !fits(r, s.proto, s) || r.Destination.IsValid() && !r.Destination.Contains(to) || r.EtherType == 6 != to.Is6() {
			continue
		}
		source := ipset.Every(r.EtherType)
		if r.Source.IsValid() {
			source = ipset.Of(r.Source)
		}
		if r.Action == "allow" {
			out = append(out, left.And(source)...)
		}
		if left = left.Minus(source); len(left) == 0 {
			break
		}
	}
	return out.Normal()
}

// fits tells whether an enabled rule is about a run of ports.
func fits(r *asset.FirewallRule, t transport, s span) bool {
	return r.Enabled && carries(r.Protocol, t) &&
		(t == icmp || r.PortMin == asset.AnyPort || r.PortMin <= int(s.first) && int(s.last) <= r.PortMax)
}

// carries tells whether a rule's protocol is a transport. FWaaS takes names and numbers, and its number 0 is no transport.
func carries(protocol string, t transport) bool {
	of, _, ok := carried(protocol)
	return protocol == "" || ok && of == t
}

// unclear tells whether one of some firewall groups has a rule that asks more than is modelled.
func unclear(fs []*asset.Firewall) bool {
	return slices.ContainsFunc(fs, func(f *asset.Firewall) bool {
		return slices.ContainsFunc(f.Ingress, func(r asset.FirewallRule) bool { return r.Enabled && r.Unclear })
	})
}

// cuts divides a transport's ports so that every rule fits a part whole or not at all.
func cuts(f *asset.Firewall, t transport) spans {
	if t == icmp {
		return spans{full(icmp)}
	}
	at := []int{1, 65536}
	for _, r := range f.Ingress {
		if r.PortMin != asset.AnyPort {
			at = append(at, min(max(r.PortMin, 1), 65536), min(max(r.PortMax+1, 1), 65536))
		}
	}
	slices.Sort(at)
	at = slices.Compact(at)
	out := make(spans, 0, len(at))
	for i := range len(at) - 1 {
		out = append(out, span{t, uint16(at[i]), uint16(at[i+1] - 1)}) //nolint:gosec // within 1..65535
	}
	return out
}

func whyFirewall(f *asset.Firewall) string {
	return fmt.Sprintf("firewall group %s (%s)", f.Name, f.ID)
}
