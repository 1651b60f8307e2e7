package flow

import (
	"net/netip"
	"strings"

	"demarc/internal/asset"
	"demarc/internal/finding"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// forwarded finds the floating IPs that forward single ports and that alone claim their address: who answers there is known port by port,
// although the address is shared.
func forwarded(x *asset.Index) map[netip.Addr]*asset.FloatingIP {
	claimed := map[netip.Addr]asset.FloatingIPID{}
	two := map[netip.Addr]bool{}
	for _, h := range x.Holders() {
		if h.Scope != asset.ExternalScope {
			continue
		}
		by, known := claimed[h.Addr]
		two[h.Addr] = two[h.Addr] || known && (by != h.FloatingIP || by == "")
		claimed[h.Addr] = h.FloatingIP
	}
	out := map[netip.Addr]*asset.FloatingIP{}
	for i := range x.Snapshot.FloatingIPs {
		if f := &x.Snapshot.FloatingIPs[i]; len(f.Forwardings) > 0 && f.Port == "" && f.Addr.Is4() && !two[f.Addr] {
			out[f.Addr] = f
		}
	}
	return out
}

// behind is who answers at a run of endpoints: the machine that alone holds the address, else the one to which the address's forwardings
// lead all of the run that they lead anywhere. Of what two ports claim it is nobody.
func (l *Line) behind(r reach.Range) (asset.Holder, bool) {
	h, ok := l.holds[r.Addr]
	if !ok || !h.Shared {
		return h, ok && h.Server != ""
	}
	f := l.forwards[r.Addr]
	if f == nil {
		return asset.Holder{}, false
	}
	h.Port = ""
	for _, w := range f.Forwardings {
		if w.Protocol != string(r.Proto) || max(w.External, w.ExternalLast) < r.First || r.Last < w.External {
			continue
		}
		if h.Port != "" && h.Port != w.Port {
			return asset.Holder{}, false
		}
		h.Port = w.Port
	}
	p := l.x.Ports[h.Port]
	if p == nil || p.Server == "" {
		return asset.Holder{}, false
	}
	h.Server, h.Project = p.Server, p.Project
	return h, true
}

// forwardedTo is the machine to which the floating IP that alone claims an address forwards one endpoint, with the forwarding; nil where
// none does, or several do.
func (l *Line) forwardedTo(e probe.Endpoint) (asset.Holder, *asset.Forwarding) {
	f := l.forwards[e.Addr]
	if f == nil {
		return asset.Holder{}, nil
	}
	var by *asset.Forwarding
	for i := range f.Forwardings {
		if w := &f.Forwardings[i]; w.Protocol == string(e.Proto) && w.External <= e.Port && e.Port <= max(w.External, w.ExternalLast) {
			if by != nil {
				return asset.Holder{}, nil
			}
			by = w
		}
	}
	if by == nil {
		return asset.Holder{}, nil
	}
	p := l.x.Ports[by.Port]
	if p == nil || p.Server == "" {
		return asset.Holder{}, nil
	}
	return asset.Holder{Cloud: l.x.Snapshot.Cloud, Scope: asset.ExternalScope, Addr: e.Addr, Port: p.ID, Server: p.Server, Project: p.Project, FloatingIP: f.ID, Shared: true}, by
}

// forwardedLocus begins the place of a finding that is seen through a forwarding, and of no other: the floating IP and its port follow. It is
// never ground for an action, for who has the floating IP decides what answers there.
const forwardedLocus = "floating IP "

func isForwarded(f finding.Finding) bool { return strings.HasPrefix(f.Key.Locus, forwardedLocus) }

// single is one endpoint as a run.
func single(e probe.Endpoint) reach.Range {
	return reach.Range{Addr: e.Addr, Proto: e.Proto, First: e.Port, Last: e.Port}
}
