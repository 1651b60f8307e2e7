package reach

import (
	"net/netip"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/probe"
)

// What a tenant's own network says of another's address opens nothing there: neither of a floating IP, nor of what an external network
// holds, nor of an IPv6 address that another port has.
func TestAnothersNetworkOpensNothingAtMyAddress(t *testing.T) {
	s := bed()
	routed6(s)
	s.Groups[0].Rules = []asset.Rule{rule("mine", "tcp", 22, 22, "198.51.100.10/32")}
	s.Subnets = append(s.Subnets, asset.Subnet{ID: "outside", Network: "pub", CIDR: netip.MustParsePrefix("203.0.113.0/24")})
	everything := asset.Group{ID: "evil", Rules: []asset.Rule{rule("e4", "", asset.AnyPort, asset.AnyPort, "0.0.0.0/0"), rule("e6", "", asset.AnyPort, asset.AnyPort, "::/0")}}
	s.Groups = append(s.Groups, everything)
	s.Networks = append(s.Networks, asset.Network{ID: "evil-net", Project: "p2"})
	s.Routers = append(s.Routers, asset.Router{ID: "evil-router", Project: "p2", AdminUp: true, External: "pub"})
	s.Servers = append(s.Servers, asset.Server{ID: "evil-server", Project: "p2", Status: "ACTIVE"})
	mine := []string{"203.0.113.5", "203.0.113.9", "2001:db8:a::5"}
	evil := asset.Port{ID: "evil-port", Project: "p2", Server: "evil-server", DeviceOwner: "compute:x", Network: "evil-net", AdminUp: true, PortSecurity: true, Groups: []asset.GroupID{"evil"}}
	leg := asset.Port{ID: "evil-leg", Project: "p2", Network: "evil-net", Device: "evil-router", DeviceOwner: "network:router_interface", AdminUp: true}
	for _, a := range mine {
		at := netip.MustParseAddr(a)
		evil.FixedIPs = append(evil.FixedIPs, asset.FixedIP{Subnet: "evil-sub", Addr: at})
		evil.Pairs = append(evil.Pairs, asset.AddressPair{Prefix: netip.PrefixFrom(at, at.BitLen())})
	}
	leg.FixedIPs = []asset.FixedIP{{Subnet: "evil-sub", Addr: netip.MustParseAddr("203.0.113.1")}}
	s.Subnets = append(s.Subnets, asset.Subnet{ID: "evil-sub", Network: "evil-net", Project: "p2", CIDR: netip.MustParsePrefix("203.0.113.0/28")})
	s.Ports = append(s.Ports, evil, leg)
	v := view
	v.Blocks = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	set := Compute(asset.NewIndex(s), v)
	for _, a := range mine[:2] {
		if got := set.Lookup(tcpAt(a, 6379)); got.Zone || got.Scanner {
			t.Errorf("%s: %+v", a, got)
		}
	}
	e := probe.Endpoint{Addr: netip.MustParseAddr("2001:db8:a::5"), Proto: probe.TCP, Port: 6379}
	if got := set.LookupAt(e, "port1"); !got.Held || got.Zone || got.Scanner {
		t.Errorf("%v of port1: %+v", e, got)
	}
	if why := set.Why(e, "port1"); len(why) != 0 {
		t.Errorf("%v", why)
	}
	if got := set.LookupAt(tcpAt("203.0.113.5", 22), "port1"); !got.Scanner || got.Zone {
		t.Errorf("my own rule: %+v", got)
	}
}

// A port that its owner calls one of the network service is the machine's all the same, and wide open: no group applies.
func TestAMachineDoesNotHideBehindADeviceOwner(t *testing.T) {
	s := bed()
	s.Ports[0].Server, s.Ports[0].Device, s.Ports[0].DeviceOwner = "", "s1", "network:dhcp"
	set := Compute(asset.NewIndex(s), view)
	if got := set.Lookup(tcpAt("203.0.113.5", 6379)); !got.Held || !got.Zone {
		t.Errorf("%+v", got)
	}
	if os := set.Of("s1"); len(os) == 0 {
		t.Error("the machine has no openings")
	}
}

// A router that another project plugs into a network decides nothing about the addresses of others.
func TestAnothersRouterServesNobody(t *testing.T) {
	s := bed()
	routed6(s)
	s.Subnets = append(s.Subnets, asset.Subnet{ID: "sub6", Network: "priv", Project: "p1", CIDR: netip.MustParsePrefix("2001:db8:a::/64")})
	s.Routers[0].Project = "p1"
	evil := s.Routers[0]
	evil.ID, evil.Project = "evil", "p2"
	leg := s.Ports[len(s.Ports)-1]
	leg.ID, leg.Project, leg.Device = "evil-leg", "p2", "evil"
	s.Routers, s.Ports = append(s.Routers, evil), append(s.Ports, leg)
	at := tcpAt("2001:db8:a::5", 80)
	if got := Compute(asset.NewIndex(s), view).Lookup(at); !got.Zone {
		t.Errorf("behind my own router: %+v", got)
	}
	s.Routers[0].AdminUp = false
	if got := Compute(asset.NewIndex(s), view).Lookup(at); got.Held {
		t.Errorf("my router is down, and another's is up: %+v", got)
	}
}
