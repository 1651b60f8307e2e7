package flow

import (
	"net/netip"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// Two rules whose ports overlap are two runs, as they are two rows of demarc exposure list: each counts while nothing in it answers and
// it was asked.
func TestEachRuleBehindWhichNothingListensCounts(t *testing.T) {
	t.Parallel()
	addr := netip.MustParseAddr("192.0.2.10")
	rule := func(id asset.RuleID, first, last int) asset.Rule {
		return asset.Rule{ID: id, Group: "g", Direction: asset.Ingress, EtherType: 4, Protocol: "tcp", PortMin: first, PortMax: last}
	}
	x := asset.NewIndex(&asset.Snapshot{Cloud: "c", Projects: []asset.Project{{ID: "p"}}, Servers: []asset.Server{{ID: "s", Project: "p", Status: "ACTIVE"}},
		Networks: []asset.Network{{ID: "ext", External: true}, {ID: "net"}}, Subnets: []asset.Subnet{{ID: "sub", Network: "ext", CIDR: netip.MustParsePrefix("192.0.2.0/24")}},
		Ports: []asset.Port{{ID: "port", Project: "p", Network: "ext", Server: "s", DeviceOwner: "compute:nova", FixedIPs: []asset.FixedIP{{Subnet: "sub", Addr: addr}}, Groups: []asset.GroupID{"g"},
			PortSecurity: true, AdminUp: true, Status: "ACTIVE"}},
		Groups: []asset.Group{{ID: "g", Project: "p", Rules: []asset.Rule{rule("a", 8080, 8090), rule("b", 8085, 8099), rule("ours", 9000, 9000)}}}})
	x.Groups["g"].Rules[2].RemotePrefix = netip.MustParsePrefix("198.51.100.10/32")
	v := &Vantage{Vantage: probe.Vantage{Name: "outside"}, View: reach.View{Zone: probe.Internet, Prefixes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}, Scanners: []netip.Addr{netip.MustParseAddr("198.51.100.10")}}}
	l := New(Config{Cloud: "c", Clock: NewLeaping(1)})
	l.know(x)
	set := reach.Compute(x, v.View)
	at := func(port uint16) probe.Endpoint { return probe.Endpoint{Addr: addr, Proto: probe.TCP, Port: port} }
	for _, c := range []struct {
		asked, open []uint16
		want        int
	}{
		{[]uint16{8080, 8099, 9000}, nil, 2}, {[]uint16{8080, 8099}, []uint16{8086}, 0}, {[]uint16{8080, 8099}, []uint16{8095}, 1}, {[]uint16{8080}, nil, 1}, {nil, nil, 0},
	} {
		var h harvest
		for _, p := range c.asked {
			o := probe.Observation{Endpoint: at(p), Facts: probe.Facts{Outcome: probe.Closed}}
			h.sights = append(h.sights, sight{Observation: o, holder: l.holds[addr], config: set.Lookup(at(p))})
		}
		var open []probe.Exposure
		for _, p := range c.open {
			open = append(open, probe.Exposure{Endpoint: at(p)})
		}
		got := l.standings(v, set, open, []harvest{h})["p"]
		if got == nil {
			got = &casework.Standing{}
		}
		if got.OpenSilent != c.want {
			t.Errorf("asked %v, open %v: %d runs, want %d", c.asked, c.open, got.OpenSilent, c.want)
		}
	}
}
