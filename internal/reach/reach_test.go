package reach

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"demarc/internal/asset"
	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

var (
	scanner = netip.MustParseAddr("198.51.100.10")
	view    = View{Zone: probe.Internet, Prefixes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}, Scanners: []netip.Addr{scanner, netip.MustParseAddr("2001:db8:f::10")}, Except: NotInternet}
)

// bed is a small cloud: one server with one port behind a floating IP, to be bent by each case.
func bed() *asset.Snapshot {
	return &asset.Snapshot{
		Cloud:    "test",
		Networks: []asset.Network{{ID: "pub", Name: untrusted.From("public"), External: true}, {ID: "priv"}},
		Servers:  []asset.Server{{ID: "s1", Project: "p1", Status: "ACTIVE"}},
		Ports: []asset.Port{{ID: "port1", Project: "p1", Network: "priv", Server: "s1", DeviceOwner: "compute:nova", PortSecurity: true, AdminUp: true, Driver: asset.DriverOVN,
			Groups: []asset.GroupID{"g1"}, FixedIPs: []asset.FixedIP{{Subnet: "sub4", Addr: netip.MustParseAddr("10.0.0.5")}}}},
		FloatingIPs: []asset.FloatingIP{{ID: "fip1", Project: "p1", Network: "pub", Addr: netip.MustParseAddr("203.0.113.5"), Port: "port1", Fixed: netip.MustParseAddr("10.0.0.5")}},
		Groups:      []asset.Group{{ID: "g1", Project: "p1"}},
	}
}

func rule(id, proto string, lo, hi int, remote string) asset.Rule {
	r := asset.Rule{ID: asset.RuleID(id), Group: "g1", Direction: asset.Ingress, EtherType: 4, Protocol: proto, PortMin: lo, PortMax: hi}
	if remote != "" {
		r.RemotePrefix = netip.MustParsePrefix(remote)
		if r.RemotePrefix.Addr().Is6() {
			r.EtherType = 6
		}
	}
	return r
}

func tcpAt(addr string, port uint16) probe.Endpoint {
	return probe.Endpoint{Addr: netip.MustParseAddr(addr), Proto: probe.TCP, Port: port}
}

func TestReach(t *testing.T) {
	any4 := rule("r", "tcp", 6379, 6379, "0.0.0.0/0")
	for name, c := range map[string]struct {
		bend          func(*asset.Snapshot)
		at            probe.Endpoint
		scanner, zone bool
	}{
		"a rule from anywhere opens its port": {func(s *asset.Snapshot) { s.Groups[0].Rules = []asset.Rule{any4} }, tcpAt("203.0.113.5", 6379), true, true},
		"and not the next port":               {func(s *asset.Snapshot) { s.Groups[0].Rules = []asset.Rule{any4} }, tcpAt("203.0.113.5", 6380), false, false},
		"no remote is anywhere":               {func(s *asset.Snapshot) { s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 1, 65535, "")} }, tcpAt("203.0.113.5", 9), true, true},
		"no protocol is every protocol":       {func(s *asset.Snapshot) { s.Groups[0].Rules = []asset.Rule{rule("r", "", -1, -1, "0.0.0.0/0")} }, tcpAt("203.0.113.5", 9), true, true},
		"protocol by number":                  {func(s *asset.Snapshot) { s.Groups[0].Rules = []asset.Rule{rule("r", "6", 22, 22, "0.0.0.0/0")} }, tcpAt("203.0.113.5", 22), true, true},
		"no rule, nothing in":                 {func(*asset.Snapshot) {}, tcpAt("203.0.113.5", 22), false, false},
		"no group, nothing in":                {func(s *asset.Snapshot) { s.Ports[0].Groups = nil }, tcpAt("203.0.113.5", 22), false, false},
		"port security off, everything in":    {func(s *asset.Snapshot) { s.Ports[0].PortSecurity, s.Ports[0].Groups = false, nil }, tcpAt("203.0.113.5", 22), true, true},
		"only the scanner": {func(s *asset.Snapshot) {
			s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 22, 22, "198.51.100.10/32")}
		}, tcpAt("203.0.113.5", 22), true, false},
		"a range without the scanner":         {func(s *asset.Snapshot) { s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 22, 22, "192.0.2.0/24")} }, tcpAt("203.0.113.5", 22), false, true},
		"a private range is not the internet": {func(s *asset.Snapshot) { s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 22, 22, "172.28.0.0/16")} }, tcpAt("203.0.113.5", 22), false, false},
		"egress opens nothing":                {func(s *asset.Snapshot) { r := any4; r.Direction = asset.Egress; s.Groups[0].Rules = []asset.Rule{r} }, tcpAt("203.0.113.5", 6379), false, false},
		"a v6 rule does not open v4":          {func(s *asset.Snapshot) { s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 22, 22, "::/0")} }, tcpAt("203.0.113.5", 22), false, false},
		"a machine that is off is not there":  {func(s *asset.Snapshot) { s.Groups[0].Rules = []asset.Rule{any4}; s.Servers[0].Status = "SHUTOFF" }, tcpAt("203.0.113.5", 6379), false, false},
		"a port that is down is not there":    {func(s *asset.Snapshot) { s.Groups[0].Rules = []asset.Rule{any4}; s.Ports[0].AdminUp = false }, tcpAt("203.0.113.5", 6379), false, false},
		"a private address is not there":      {func(s *asset.Snapshot) { s.Groups[0].Rules = []asset.Rule{any4} }, tcpAt("10.0.0.5", 6379), false, false},
		"two groups are a union": {func(s *asset.Snapshot) {
			s.Groups = append(s.Groups, asset.Group{ID: "g2", Rules: []asset.Rule{any4}})
			s.Ports[0].Groups = []asset.GroupID{"g1", "g2"}
		}, tcpAt("203.0.113.5", 6379), true, true},
		"members of a group are inside": {func(s *asset.Snapshot) {
			r := any4
			r.RemotePrefix, r.RemoteGroup = netip.Prefix{}, "g1"
			s.Groups[0].Rules = []asset.Rule{r}
		}, tcpAt("203.0.113.5", 6379), false, false},
		"an address group is what it holds": {func(s *asset.Snapshot) {
			r := any4
			r.RemotePrefix, r.RemoteAddress = netip.Prefix{}, "ag"
			s.Groups[0].Rules = []asset.Rule{r}
			s.AddressSets = []asset.AddressSet{{ID: "ag", Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.10/32")}}}
		}, tcpAt("203.0.113.5", 6379), true, false},
		"a fixed address on an external network": {func(s *asset.Snapshot) {
			s.Groups[0].Rules = []asset.Rule{any4}
			s.Ports[0].Network = "pub"
			s.Ports[0].FixedIPs[0].Addr = netip.MustParseAddr("203.0.113.50")
		}, tcpAt("203.0.113.50", 6379), true, true},
		"a forwarding shows its own port":     {forwarding, tcpAt("203.0.113.5", 8080), true, true},
		"and no other":                        {forwarding, tcpAt("203.0.113.5", 6379), false, false},
		"routed IPv6 needs no floating IP":    {routed6, tcpAt("2001:db8:a::5", 80), true, true},
		"and a router without a gateway none": {func(s *asset.Snapshot) { routed6(s); s.Routers[0].External = "" }, tcpAt("2001:db8:a::5", 80), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := bed()
			c.bend(s)
			got := Compute(asset.NewIndex(s), view).Lookup(c.at)
			if got.Scanner != c.scanner || got.Zone != c.zone {
				t.Errorf("scanner %v zone %v, want %v %v", got.Scanner, got.Zone, c.scanner, c.zone)
			}
		})
	}
}

func forwarding(s *asset.Snapshot) {
	s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 80, 80, "0.0.0.0/0"), rule("r2", "tcp", 6379, 6379, "0.0.0.0/0")}
	s.FloatingIPs[0].Port = ""
	s.FloatingIPs[0].Forwardings = []asset.Forwarding{{ID: "f", Protocol: "tcp", External: 8080, Port: "port1", InternalAddr: netip.MustParseAddr("10.0.0.5"), Internal: 80}}
}

func routed6(s *asset.Snapshot) {
	s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 80, 80, "::/0")}
	s.Ports[0].FixedIPs = append(s.Ports[0].FixedIPs, asset.FixedIP{Subnet: "sub6", Addr: netip.MustParseAddr("2001:db8:a::5")})
	s.Routers = []asset.Router{{ID: "r1", AdminUp: true, External: "pub"}}
	s.Ports = append(s.Ports, asset.Port{ID: "leg", Network: "priv", Device: "r1", DeviceOwner: "network:router_interface", AdminUp: true, FixedIPs: []asset.FixedIP{{Subnet: "sub6", Addr: netip.MustParseAddr("2001:db8:a::1")}}})
}

func TestAZoneSeesOnlyTheBlocksRoutedToIt(t *testing.T) {
	s := bed()
	s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 22, 22, "0.0.0.0/0")}
	v := view
	v.Blocks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	if got := Compute(asset.NewIndex(s), v); len(slices.Collect(got.All())) != 0 || len(got.Addresses()) != 0 {
		t.Errorf("an address outside the zone's blocks is open: %v", slices.Collect(got.All()))
	}
}

// The answer for a packet must be what asking each rule in turn says.
func TestReachAgreesWithAskingEveryRule(t *testing.T) {
	remotes := []string{"0.0.0.0/0", "198.51.100.10/32", "198.51.100.0/24", "192.0.2.0/24", "198.51.100.10/31"}
	rapid.Check(t, func(t *rapid.T) {
		s := bed()
		n := rapid.IntRange(0, 6).Draw(t, "rules")
		for i := range n {
			lo := rapid.IntRange(1, 40).Draw(t, "lo")
			r := rule(string(rune('a'+i)), rapid.SampledFrom([]string{"tcp", "udp", "", "6"}).Draw(t, "proto"), lo, lo+rapid.IntRange(0, 10).Draw(t, "len"), rapid.SampledFrom(remotes).Draw(t, "remote"))
			if r.Protocol == "" {
				r.PortMin, r.PortMax = asset.AnyPort, asset.AnyPort
			}
			s.Groups[0].Rules = append(s.Groups[0].Rules, r)
		}
		e := tcpAt("203.0.113.5", uint16(rapid.IntRange(1, 50).Draw(t, "port")))
		asks := func(src netip.Addr) bool {
			return slices.ContainsFunc(s.Groups[0].Rules, func(r asset.Rule) bool {
				return r.RemotePrefix.Contains(src) && (r.Protocol == "" || ((r.Protocol == "tcp" || r.Protocol == "6") && r.PortMin <= int(e.Port) && int(e.Port) <= r.PortMax))
			})
		}
		others := []string{"198.51.100.11", "198.51.100.200", "192.0.2.7", "8.8.8.8"}
		zone := slices.ContainsFunc(others, func(a string) bool { return asks(netip.MustParseAddr(a)) })
		got := Compute(asset.NewIndex(s), view).Lookup(e)
		if got.Scanner != asks(scanner) || got.Zone != zone {
			t.Fatalf("scanner %v zone %v, the rules say %v %v", got.Scanner, got.Zone, asks(scanner), zone)
		}
	})
}
