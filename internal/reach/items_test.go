package reach

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"demarc/internal/asset"
	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

// What docs/exposure.md calls not proven is held here against what the services' references say, one rule of theirs a case.

// The words for what is said of an endpoint.
const (
	open     = "open"      // to our probe and to others of the zone
	ours     = "scanner"   // to our probe alone
	theirs   = "zone"      // to others of the zone alone
	shut     = "denied"    // it is held, and nobody is let in
	later    = "when_on"   // it would be open if what leads there were on
	unheld   = "not held"  // nothing of the cloud that is on has the address
	connects = "connected" // a project has joined the address to the cloud
)

// item is one case: a bent bed, an endpoint, what must be said of it, why it is in doubt, and a part of the chain that explains it.
type item struct {
	bend   func(*asset.Snapshot)
	at     probe.Endpoint
	says   string
	doubts doubt
	why    string
}

func holdItems(t *testing.T, items map[string]item) {
	t.Helper()
	for name, c := range items {
		t.Run(name, func(t *testing.T) {
			s := bed()
			s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 22, 22, "0.0.0.0/0")}
			c.bend(s)
			set := Compute(asset.NewIndex(s), view)
			if says := word(set, c.at); says != c.says {
				t.Errorf("said: %s, want %s", says, c.says)
			}
			a := set.Lookup(c.at)
			if want := c.doubts.words(); !slices.Equal(a.Doubts, want) {
				t.Errorf("doubts %q, want %q", a.Doubts, want)
			}
			if c.doubts != 0 && a.Denied() {
				t.Error("what is in doubt is ground for a leak")
			}
			if why := chains(set, c.at); !strings.Contains(why, c.why) {
				t.Errorf("explained by %q, which does not say %q", why, c.why)
			}
		})
	}
}

// word says in one word what a set says of an endpoint.
func word(set *Set, e probe.Endpoint) string {
	a := set.Lookup(e)
	waits := slices.ContainsFunc(set.At(e.Addr), func(o Opening) bool {
		return o.State == WhenOn && o.Proto == e.Proto && o.First <= e.Port && e.Port <= o.Last
	})
	switch {
	case a.Connected != nil:
		return connects
	case a.Scanner && a.Zone:
		return open
	case a.Scanner:
		return ours
	case a.Zone:
		return theirs
	case waits:
		return later
	case a.Held:
		return shut
	}
	return unheld
}

// chains lists the explanations of an endpoint, or who has joined it.
func chains(set *Set, e probe.Endpoint) string {
	var out []string
	for _, o := range set.At(e.Addr) {
		if o.Proto == e.Proto && o.First <= e.Port && e.Port <= o.Last {
			out = append(out, strings.Join(o.Why, " → "))
		}
	}
	if c := set.Lookup(e).Connected; c != nil {
		out = append(out, fmt.Sprintf("%s of %s by %s", c.Prefix, c.Project, c.Why))
	}
	return strings.Join(out, "\n")
}

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// plain leaves the bed as it is: SSH from anywhere at 203.0.113.5.
func plain(*asset.Snapshot) {}

func icmpAt(a string) probe.Endpoint { return probe.Endpoint{Addr: addr(a), Proto: probe.ICMP} }

var ssh = tcpAt("203.0.113.5", 22)

// Items 1 to 3: port security off, an empty list of groups, several groups.
func TestPortSecurityAndGroups(t *testing.T) {
	holdItems(t, map[string]item{
		"port security off":                        {func(s *asset.Snapshot) { s.Ports[0].PortSecurity, s.Ports[0].Groups = false, nil }, tcpAt("203.0.113.5", 9), open, 0, "port security is off"},
		"an empty list closes":                     {func(s *asset.Snapshot) { s.Ports[0].Groups = nil }, ssh, shut, 0, ""},
		"a group that the inventory lacks":         {func(s *asset.Snapshot) { s.Ports[0].Groups = []asset.GroupID{"gone"} }, ssh, shut, doubtUnread, ""},
		"one that it lacks beside one that it has": {func(s *asset.Snapshot) { s.Ports[0].Groups = append(s.Ports[0].Groups, "gone") }, ssh, open, doubtUnread, "rule r"},
		"a second card has groups of its own": {func(s *asset.Snapshot) {
			second := s.Ports[0]
			second.ID, second.Network, second.Groups, second.FixedIPs = "port2", "pub", nil, []asset.FixedIP{{Addr: addr("203.0.113.60")}}
			s.Ports = append(s.Ports, second)
		}, tcpAt("203.0.113.60", 22), shut, 0, ""},
	})
}

// Items 4, 5 and 17: members of other groups, address groups, groups that another project shares.
func TestRemotesAndSharedGroups(t *testing.T) {
	remoteGroup := func(s *asset.Snapshot, member asset.Port) {
		r := rule("r", "tcp", 22, 22, "")
		r.RemoteGroup = "peers"
		s.Groups[0].Rules = []asset.Rule{r}
		member.ID, member.Network, member.Groups = "peer", "pub", []asset.GroupID{"peers"}
		s.Groups, s.Ports = append(s.Groups, asset.Group{ID: "peers", Project: "p2"}), append(s.Ports, member)
	}
	holdItems(t, map[string]item{
		"members are machines of the cloud, not of the zone": {func(s *asset.Snapshot) {
			remoteGroup(s, asset.Port{Project: "p2", FixedIPs: []asset.FixedIP{{Addr: addr("203.0.113.70")}}})
		}, ssh, shut, 0, ""},
		"a member at our probe's address lets our probe in": {func(s *asset.Snapshot) {
			remoteGroup(s, asset.Port{Project: "p2", FixedIPs: []asset.FixedIP{{Addr: scanner}}})
		}, ssh, ours, 0, "members of group peers"},
		"a member's pair may hold anybody": {func(s *asset.Snapshot) {
			remoteGroup(s, asset.Port{Project: "p2", Pairs: []asset.AddressPair{{Prefix: prefix("0.0.0.0/0")}}})
		}, ssh, open, doubtPairs, "members of group peers"},
		"another project's group, shared by RBAC": {func(s *asset.Snapshot) {
			s.Groups[0].Project, s.Groups[0].Shared = "p2", true
			s.RBAC = []asset.RBAC{{ID: "b", Project: "p2", Type: "security_group", Object: "g1", Action: "access_as_shared", Target: "p1"}}
		}, ssh, open, 0, "rule r"},
		"an address group opens what it holds":  {addressGroup("192.0.2.0/24"), ssh, theirs, 0, "address group ag"},
		"an empty address group opens nothing":  {addressGroup(), ssh, shut, 0, ""},
		"one of the other family opens nothing": {addressGroup("2001:db8:f::/64"), ssh, shut, 0, ""},
	})
}

func addressGroup(ps ...string) func(*asset.Snapshot) {
	return func(s *asset.Snapshot) {
		set := asset.AddressSet{ID: "ag", Project: "p2"}
		for _, p := range ps {
			set.Prefixes = append(set.Prefixes, prefix(p))
		}
		r := rule("r", "tcp", 22, 22, "")
		r.RemoteAddress = "ag"
		s.Groups[0].Rules, s.AddressSets = []asset.Rule{r}, []asset.AddressSet{set}
	}
}

// Item 6: a stateless group remembers no connection, so the answer needs an egress rule of its own.
func TestStatelessGroups(t *testing.T) {
	stateless := func(egress ...asset.Rule) func(*asset.Snapshot) {
		return func(s *asset.Snapshot) {
			s.Groups[0].Stateless = true
			for _, r := range egress {
				r.Direction = asset.Egress
				s.Groups[0].Rules = append(s.Groups[0].Rules, r)
			}
		}
	}
	driver := func(name string, then func(*asset.Snapshot)) func(*asset.Snapshot) {
		return func(s *asset.Snapshot) {
			then(s)
			s.Ports[0].Driver = name
		}
	}
	holdItems(t, map[string]item{
		"no egress, no answer":                    {stateless(), ssh, shut, 0, ""},
		"egress to anywhere":                      {stateless(rule("e", "", -1, -1, "")), ssh, open, 0, "answered by an egress rule"},
		"egress of the other family":              {stateless(rule("e", "", -1, -1, "::/0")), ssh, shut, 0, ""},
		"egress of another protocol":              {stateless(rule("e", "udp", -1, -1, "")), ssh, shut, 0, ""},
		"egress to our probe alone":               {stateless(rule("e", "tcp", -1, -1, "198.51.100.10/32")), ssh, ours, 0, "rule r"},
		"egress to a port that no probe has":      {stateless(rule("e", "tcp", 1024, 1024, "")), ssh, theirs, 0, "rule r"},
		"a stateful group without egress answers": {plain, ssh, open, 0, "rule r"},
		"no egress, openvswitch":                  {driver(asset.DriverOVS, stateless()), ssh, open, doubtDriver, "rule r"},
		"no egress, a driver nobody knows":        {driver("", stateless()), ssh, open, doubtDriver, "rule r"},
		"no egress, hybrid":                       {driver(asset.DriverHybrid, stateless()), ssh, shut, 0, ""},
		"egress to anywhere, openvswitch":         {driver(asset.DriverOVS, stateless(rule("e", "", -1, -1, ""))), ssh, open, 0, "rule r"},
		"egress beside the port, openvswitch":     {driver(asset.DriverOVS, stateless(rule("e", "tcp", 1024, 1024, ""))), ssh, open, doubtDriver, "rule r"},
		"stateful and stateless on one port": {func(s *asset.Snapshot) {
			s.Groups = append(s.Groups, asset.Group{ID: "g2", Stateless: true})
			s.Ports[0].Groups = append(s.Ports[0].Groups, "g2")
		}, ssh, open, doubtMixed, "rule r"},
	})
}

// Items 7 to 9: floating IPs and their forwardings, routed IPv6, addresses on an external network.
func TestWaysIn(t *testing.T) {
	holdItems(t, map[string]item{
		"a floating IP":                     {plain, ssh, open, 0, "floating IP 203.0.113.5 (fip1) → port port1"},
		"a floating IP that leads away":     {func(s *asset.Snapshot) { s.FloatingIPs[0].Port = "" }, ssh, unheld, 0, ""},
		"a forwarding":                      {forwarding, tcpAt("203.0.113.5", 8080), open, 0, "forwarding tcp/8080 to 10.0.0.5:80"},
		"beside the forwarding":             {forwarding, tcpAt("203.0.113.5", 80), shut, 0, ""},
		"routed IPv6":                       {routed6, tcpAt("2001:db8:a::5", 80), open, 0, "routed IPv6 behind router"},
		"a rule of IPv6 opens no IPv4":      {routed6, tcpAt("203.0.113.5", 80), shut, 0, ""},
		"an address on a public network":    {func(s *asset.Snapshot) { s.Ports[0].Network, s.Ports[0].FixedIPs[0].Addr = "pub", addr("203.0.113.50") }, tcpAt("203.0.113.50", 22), open, 0, "address on external network public"},
		"a router that the inventory lacks": {func(s *asset.Snapshot) { s.FloatingIPs[0].Router = "gone" }, ssh, open, doubtUnread, "floating IP"},
	})
}

// Item 10: address scopes decide whether a router translates, and whether it routes at all.
func TestAddressScopes(t *testing.T) {
	inside := func(scope asset.AddressScopeID) func(*asset.Snapshot) {
		return func(s *asset.Snapshot) {
			routed6(s)
			s.Networks[0].Scope4, s.Networks[0].Scope6 = "campus", "campus"
			s.Networks[1].Scope4, s.Networks[1].Scope6 = scope, scope
			s.Ports[0].FixedIPs = append(s.Ports[0].FixedIPs, asset.FixedIP{Subnet: "sub6", Addr: addr("192.0.2.5")})
			s.Groups[0].Rules = append(s.Groups[0].Rules, rule("r4", "tcp", 22, 22, "0.0.0.0/0"))
		}
	}
	holdItems(t, map[string]item{
		"IPv4 of one scope is routed as it is": {inside("campus"), tcpAt("192.0.2.5", 22), open, doubtRouted, "routed without translation"},
		"IPv4 of another is not":               {inside("lab"), tcpAt("192.0.2.5", 22), unheld, 0, ""},
		"IPv4 of none is not":                  {inside(""), tcpAt("192.0.2.5", 22), unheld, 0, ""},
		"IPv6 of one scope":                    {inside("campus"), tcpAt("2001:db8:a::5", 80), open, 0, "routed IPv6"},
		"IPv6 of another is in doubt":          {inside("lab"), tcpAt("2001:db8:a::5", 80), open, doubtScope, "routed IPv6"},
		"IPv4 that a BGP speaker announces": {func(s *asset.Snapshot) {
			inside("")(s)
			s.Networks[0].Scope4 = ""
			s.Links = []asset.Link{{ID: "l", Kind: asset.LinkBGP, AdminUp: true, Remote: []netip.Prefix{prefix("192.0.2.0/24")}}}
		}, tcpAt("192.0.2.5", 22), open, doubtRouted, "routed without translation"},
	})
}

// Item 10: what lies behind a tenant's extra route, VPN or BGP peer is that project's, and no machine of the cloud.
func TestWhatIsConnected(t *testing.T) {
	joined := func(bend func(*asset.Snapshot)) func(*asset.Snapshot) {
		return func(s *asset.Snapshot) {
			s.Routers = []asset.Router{{ID: "r1", Project: "p1", Name: untrusted.From("edge"), AdminUp: true, External: "pub", ExternalIPs: []netip.Addr{addr("203.0.113.2")},
				Routes: []asset.Route{{Destination: prefix("192.0.2.0/24"), NextHop: addr("10.0.0.9")}}}}
			bend(s)
		}
	}
	link := func(l asset.Link) func(*asset.Snapshot) {
		return joined(func(s *asset.Snapshot) { s.Links = append(s.Links, l) })
	}
	at := tcpAt("192.0.2.129", 22)
	half := []netip.Prefix{prefix("192.0.2.128/25")}
	holdItems(t, map[string]item{
		"an extra route":                 {joined(plain), at, connects, 0, "192.0.2.0/24 of p1 by extra route of router edge by 10.0.0.9"},
		"the longest prefix decides":     {link(asset.Link{ID: "l", Kind: asset.LinkVPN, Project: "p1", AdminUp: true, Remote: half}), at, connects, 0, "192.0.2.128/25 of p1 by vpn l"},
		"what two projects claim":        {link(asset.Link{ID: "l", Kind: asset.LinkVPN, Project: "p2", AdminUp: true, Remote: half}), at, unheld, 0, ""},
		"beside what two projects claim": {link(asset.Link{ID: "l", Kind: asset.LinkVPN, Project: "p2", AdminUp: true, Remote: half}), tcpAt("192.0.2.1", 22), connects, 0, "192.0.2.0/24 of p1"},
		"the provider's own subnet": {joined(func(s *asset.Snapshot) {
			s.Subnets = append(s.Subnets, asset.Subnet{ID: "pub4", Network: "pub", CIDR: prefix("203.0.113.0/24")})
			s.Routers[0].Routes[0].Destination = prefix("203.0.113.128/25")
		}), tcpAt("203.0.113.200", 22), unheld, 0, ""},
		"another's routed subnet": {joined(func(s *asset.Snapshot) { routed6(s); anothersRoute(s, "p2") }), tcpAt("2001:db8:a::9", 22), unheld, 0, ""},
		"another's routed IPv4 subnet": {joined(func(s *asset.Snapshot) {
			s.Networks[0].Scope4, s.Networks[1].Scope4 = "public", "public"
			s.Subnets = append(s.Subnets, asset.Subnet{ID: "flat", Network: "priv", Project: "p2", CIDR: prefix("192.0.2.0/24")})
			s.Ports = append(s.Ports, asset.Port{ID: "leg", Network: "priv", Device: "r2", DeviceOwner: "network:router_interface", AdminUp: true, FixedIPs: []asset.FixedIP{{Subnet: "flat", Addr: addr("192.0.2.1")}}})
			s.Routers = append(s.Routers, asset.Router{ID: "r2", Project: "p2", AdminUp: true, External: "pub"})
		}), at, unheld, 0, ""},
		"his own routed subnet":               {joined(func(s *asset.Snapshot) { routed6(s); anothersRoute(s, "p1") }), tcpAt("2001:db8:a::9", 22), connects, 0, "2001:db8:a::/64 of p1"},
		"a VPN that is down":                  {link(asset.Link{ID: "l", Kind: asset.LinkVPN, Project: "p2", Remote: half}), at, connects, 0, "of p1 by extra route"},
		"an announcement is its router's":     {link(asset.Link{ID: "l", Kind: asset.LinkBGP, Project: "admin", AdminUp: true, Remote: half, NextHop: addr("203.0.113.2")}), at, connects, 0, "192.0.2.128/25 of p1 by bgp l"},
		"a router without a gateway":          {joined(func(s *asset.Snapshot) { s.Routers[0].External = "" }), at, unheld, 0, ""},
		"a router that is down":               {joined(func(s *asset.Snapshot) { s.Routers[0].AdminUp = false }), at, unheld, 0, ""},
		"a default route is nobody's":         {joined(func(s *asset.Snapshot) { s.Routers[0].Routes[0].Destination = prefix("0.0.0.0/0") }), at, unheld, 0, ""},
		"a private range is nobody's here":    {joined(func(s *asset.Snapshot) { s.Routers[0].Routes[0].Destination = prefix("10.9.0.0/16") }), tcpAt("10.9.0.1", 22), unheld, 0, ""},
		"what a port holds is that machine's": {joined(func(s *asset.Snapshot) { s.Routers[0].Routes[0].Destination = prefix("203.0.113.0/24") }), ssh, open, 0, "port port1"},
	})
}

// anothersRoute makes the routed subnet p1's, and gives a second router, of a project, an extra route to all of it.
func anothersRoute(s *asset.Snapshot, project asset.ProjectID) {
	s.Routers[0].Project = "p1"
	s.Subnets = append(s.Subnets, asset.Subnet{ID: "sub6", Network: "priv", Project: "p1", CIDR: prefix("2001:db8:a::/64")})
	s.Routers = append(s.Routers, asset.Router{ID: "r2", Project: project, Name: untrusted.From("other"), AdminUp: true, External: "pub", Routes: []asset.Route{{Destination: prefix("2001:db8:a::/64"), NextHop: addr("2001:db8:a::77")}}})
}

// Item 11: what is off opens nothing now, and is kept apart as what would.
func TestWhatIsOff(t *testing.T) {
	holdItems(t, map[string]item{
		"a server that is stopped":     {func(s *asset.Snapshot) { s.Servers[0].Status = "SHUTOFF" }, ssh, later, 0, "server is SHUTOFF"},
		"a server that is rescued":     {func(s *asset.Snapshot) { s.Servers[0].Status = "RESCUE" }, ssh, open, 0, "rule r"},
		"a server that is resized":     {func(s *asset.Snapshot) { s.Servers[0].Status = "VERIFY_RESIZE" }, ssh, open, 0, "rule r"},
		"a port that is set down":      {func(s *asset.Snapshot) { s.Ports[0].AdminUp, s.Ports[0].Status = false, "DOWN" }, ssh, later, 0, "port is set down"},
		"a port that Neutron has down": {func(s *asset.Snapshot) { s.Ports[0].Status = "DOWN" }, ssh, open, doubtDown, "rule r"},
		"a router that is set down": {func(s *asset.Snapshot) {
			s.Routers, s.FloatingIPs[0].Router = []asset.Router{{ID: "r1", Name: untrusted.From("edge"), External: "pub"}}, "r1"
		}, ssh, later, 0, "router edge is set down"},
		"routed IPv6 behind a router that is set down": {func(s *asset.Snapshot) { routed6(s); s.Routers[0].AdminUp = false }, tcpAt("2001:db8:a::5", 80), later, 0, "is set down"},
	})
}

// Item 12: a port may answer for more addresses than its own.
func TestAddressPairs(t *testing.T) {
	pairs := func(ps ...string) func(*asset.Snapshot) {
		return func(s *asset.Snapshot) {
			s.Subnets = []asset.Subnet{{ID: "sub4", Network: "priv", CIDR: prefix("10.0.0.0/24")}, {ID: "pub4", Network: "pub", CIDR: prefix("203.0.113.0/24")}}
			s.Ports[0].Network, s.Ports[0].FixedIPs = "pub", []asset.FixedIP{{Subnet: "pub4", Addr: addr("203.0.113.50")}}
			for _, p := range ps {
				s.Ports[0].Pairs = append(s.Ports[0].Pairs, asset.AddressPair{Prefix: prefix(p)})
			}
		}
	}
	vip := func(s *asset.Snapshot) {
		s.Ports[0].Pairs = []asset.AddressPair{{Prefix: prefix("10.0.0.100/32")}}
		s.Ports = append(s.Ports, asset.Port{ID: "vip", Project: "p1", Network: "priv", PortSecurity: true, AdminUp: true, FixedIPs: []asset.FixedIP{{Subnet: "sub4", Addr: addr("10.0.0.100")}}})
		s.FloatingIPs[0].Port, s.FloatingIPs[0].Fixed = "vip", addr("10.0.0.100")
	}
	holdItems(t, map[string]item{
		"one address":                                     {pairs("203.0.113.90/32"), tcpAt("203.0.113.90", 22), open, 0, "address pair of port port1"},
		"one address on no such subnet":                   {pairs("198.51.100.90/32"), tcpAt("198.51.100.90", 22), unheld, 0, ""},
		"a wide pair is in doubt":                         {pairs("0.0.0.0/0"), tcpAt("203.0.113.77", 22), open, doubtSpread, "address pair of port port1"},
		"beyond the subnet is nobody's":                   {pairs("0.0.0.0/0"), tcpAt("192.0.2.77", 22), unheld, 0, ""},
		"its own address is not in doubt":                 {pairs("0.0.0.0/0"), tcpAt("203.0.113.50", 22), open, 0, "address on external network"},
		"a port of no machine with a floating IP":         {vip, ssh, open, 0, "floating IP 203.0.113.5 (fip1) → port vip, which no machine has → address pair of port port1"},
		"a floating IP to a port that nobody answers for": {func(s *asset.Snapshot) { vip(s); s.Ports[0].Pairs = nil }, ssh, unheld, 0, ""},
		"another machine's address stays that machine's": {func(s *asset.Snapshot) {
			pairs("203.0.113.51/32")(s)
			s.Servers = append(s.Servers, asset.Server{ID: "s2", Project: "p1", Status: "ACTIVE"})
			s.Ports = append(s.Ports, asset.Port{ID: "port2", Project: "p1", Network: "pub", Server: "s2", PortSecurity: true, AdminUp: true, FixedIPs: []asset.FixedIP{{Subnet: "pub4", Addr: addr("203.0.113.51")}}})
		}, tcpAt("203.0.113.51", 22), shut, 0, ""},
	})
}

// Item 13: no group holds at a port of the network service.
func TestPortsOfTheNetworkServiceAreTrusted(t *testing.T) {
	owned := func(owner string, up bool) func(*asset.Snapshot) {
		return func(s *asset.Snapshot) {
			s.Ports = append(s.Ports, asset.Port{ID: "svc", Network: "pub", DeviceOwner: owner, PortSecurity: true, AdminUp: up, FixedIPs: []asset.FixedIP{{Addr: addr("203.0.113.2")}}})
		}
	}
	at := tcpAt("203.0.113.2", 179)
	holdItems(t, map[string]item{
		"a router's gateway":               {owned("network:router_gateway", true), at, open, doubtTrusted, "port of the network service (network:router_gateway)"},
		"a DHCP server":                    {owned("network:dhcp", true), at, open, doubtTrusted, "network:dhcp"},
		"one that is down":                 {owned("network:dhcp", false), at, later, doubtTrusted, ""},
		"bookkeeping of floating IPs":      {owned("network:floatingip", true), at, unheld, 0, ""},
		"a port that belongs to no server": {owned("", true), at, unheld, 0, ""},
	})
}

// Item 14: a load balancer opens its listeners' ports, to whom they allow.
func TestLoadBalancers(t *testing.T) {
	balanced := func(bend func(*asset.LoadBalancer)) func(*asset.Snapshot) {
		return func(s *asset.Snapshot) {
			lb := asset.LoadBalancer{ID: "lb1", Project: "p2", Name: untrusted.From("shop"), AdminUp: true, VIP: addr("203.0.113.80"), VIPPort: "vip",
				Listeners: []asset.Listener{{ID: "l1", Protocol: "TERMINATED_HTTPS", Port: 443, AdminUp: true}, {ID: "l2", Protocol: "UDP", Port: 53, AdminUp: true}}}
			s.Ports = append(s.Ports, asset.Port{ID: "vip", Project: "p2", Network: "pub", DeviceOwner: "Octavia", PortSecurity: true, AdminUp: true, FixedIPs: []asset.FixedIP{{Addr: lb.VIP}}})
			bend(&lb)
			s.LoadBalancers = []asset.LoadBalancer{lb}
		}
	}
	only := func(p string) func(*asset.LoadBalancer) {
		return func(lb *asset.LoadBalancer) { lb.Listeners[0].Allowed = []netip.Prefix{prefix(p)} }
	}
	as := func(*asset.LoadBalancer) {}
	at := tcpAt("203.0.113.80", 443)
	holdItems(t, map[string]item{
		"a listener":                 {balanced(as), at, open, doubtBalancer, "load balancer shop (lb1) → port vip → listener l1: TERMINATED_HTTPS/443 from any"},
		"no listener":                {balanced(as), tcpAt("203.0.113.80", 80), shut, doubtBalancer, ""},
		"another transport":          {balanced(as), tcpAt("203.0.113.80", 53), shut, doubtBalancer, ""},
		"UDP":                        {balanced(as), probe.Endpoint{Addr: addr("203.0.113.80"), Proto: probe.UDP, Port: 53}, open, doubtBalancer, "listener l2"},
		"allowed to our probe alone": {balanced(only("198.51.100.10/32")), at, ours, doubtBalancer, "198.51.100.10/32"},
		"allowed to others alone":    {balanced(only("192.0.2.0/24")), at, theirs, doubtBalancer, "192.0.2.0/24"},
		"allowed to nobody here":     {balanced(only("10.0.0.0/8")), at, shut, doubtBalancer, ""},
		"a listener that is down":    {balanced(func(lb *asset.LoadBalancer) { lb.Listeners[0].AdminUp = false }), at, shut, doubtBalancer, ""},
		"a balancer that is down":    {balanced(func(lb *asset.LoadBalancer) { lb.AdminUp = false }), at, later, doubtBalancer, "load balancer is set down"},
		"by a floating IP": {func(s *asset.Snapshot) {
			balanced(func(lb *asset.LoadBalancer) { lb.VIP = addr("10.0.0.80") })(s)
			s.Ports[1].Network, s.Ports[1].FixedIPs[0].Addr = "priv", addr("10.0.0.80")
			s.FloatingIPs[0].Port, s.FloatingIPs[0].Fixed = "vip", addr("10.0.0.80")
		}, tcpAt("203.0.113.5", 443), open, doubtBalancer, "floating IP 203.0.113.5 (fip1) → load balancer shop"},
	})
}

// Item 15: subports have groups of their own and live with their trunk.
func TestTrunkSubports(t *testing.T) {
	trunk := func(bend func(*asset.Snapshot)) func(*asset.Snapshot) {
		return func(s *asset.Snapshot) {
			s.Ports = append(s.Ports, asset.Port{ID: "sub", Project: "p1", Network: "pub", DeviceOwner: "trunk:subport", PortSecurity: true, AdminUp: true, Groups: []asset.GroupID{"g1"}, FixedIPs: []asset.FixedIP{{Addr: addr("203.0.113.40")}}})
			s.Trunks = []asset.Trunk{{ID: "t1", Project: "p1", Port: "port1", AdminUp: true, SubPorts: []asset.PortID{"sub"}}}
			bend(s)
		}
	}
	at := tcpAt("203.0.113.40", 22)
	holdItems(t, map[string]item{
		"the parent's machine has it":       {trunk(plain), at, open, doubtTrunk, "port sub → trunk t1 on port port1 → group"},
		"its own groups decide":             {trunk(func(s *asset.Snapshot) { s.Ports[1].Groups = nil }), at, shut, doubtTrunk, ""},
		"a trunk that is down":              {trunk(func(s *asset.Snapshot) { s.Trunks[0].AdminUp = false }), at, open, doubtTrunk, "trunk t1, which is set down, on port port1"},
		"nothing opens under a trunk down":  {trunk(func(s *asset.Snapshot) { s.Trunks[0].AdminUp, s.Ports[1].Groups = false, nil }), at, shut, doubtTrunk, ""},
		"a parent that is down":             {trunk(func(s *asset.Snapshot) { s.Ports[0].AdminUp = false }), at, later, doubtTrunk, ""},
		"a machine that is off":             {trunk(func(s *asset.Snapshot) { s.Servers[0].Status = "SHUTOFF" }), at, later, doubtTrunk, "server is SHUTOFF"},
		"a subport of another project":      {trunk(func(s *asset.Snapshot) { s.Ports[1].Project = "p2" }), at, unheld, 0, ""},
		"the parent itself is not in doubt": {trunk(plain), ssh, open, 0, "port port1 → group"},
	})
	s := bed()
	s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 22, 22, "0.0.0.0/0")}
	trunk(plain)(s)
	if os := Compute(asset.NewIndex(s), view).Of("s1"); !slices.ContainsFunc(os, func(o Opening) bool { return o.Port == "sub" && o.Server == "s1" }) {
		t.Errorf("the machine's openings lack its subport: %v", os)
	}
}

// Item 15: what filters at such cards is the hardware's, or nobody's.
func TestPortsWithoutAnAgent(t *testing.T) {
	of := func(vnic, owner string) func(*asset.Snapshot) {
		return func(s *asset.Snapshot) { s.Ports[0].VNICType, s.Ports[0].DeviceOwner = vnic, owner }
	}
	closed := tcpAt("203.0.113.5", 23)
	holdItems(t, map[string]item{
		"an ordinary one":         {of("normal", "compute:nova"), closed, shut, 0, ""},
		"SR-IOV":                  {of("direct", "compute:nova"), closed, shut, doubtNIC, ""},
		"a whole card":            {of("direct-physical", "compute:nova"), closed, shut, doubtNIC, ""},
		"macvtap":                 {of("macvtap", "compute:nova"), closed, shut, doubtNIC, ""},
		"one that is not known":   {of("remote-managed", "compute:nova"), closed, shut, doubtNIC, ""},
		"bare metal":              {of("baremetal", "compute:nova"), closed, shut, doubtMetal, ""},
		"bare metal by its owner": {of("normal", "baremetal:none"), closed, shut, doubtMetal, ""},
	})
}

// wall puts a firewall group before the bed's port.
func wall(rules ...asset.FirewallRule) func(*asset.Snapshot) {
	return func(s *asset.Snapshot) {
		s.Firewalls = []asset.Firewall{{ID: "fw1", Project: "p1", Name: untrusted.From("edge"), AdminUp: true, Ports: []asset.PortID{"port1"}, Ingress: rules}}
	}
}

func fwRule(action, proto string, lo, hi int, source string) asset.FirewallRule {
	r := asset.FirewallRule{ID: "x", Enabled: true, Action: action, Protocol: proto, EtherType: 4, PortMin: lo, PortMax: hi}
	if source != "" {
		r.Source = prefix(source)
	}
	return r
}

// Item 16: of a firewall group the first rule that fits decides, and what fits none is dropped.
func TestFirewallGroups(t *testing.T) {
	allow, deny := fwRule("allow", "tcp", 22, 22, ""), fwRule("deny", "tcp", 1, 1024, "")
	off := deny
	off.Enabled = false
	elsewhere := deny
	elsewhere.Destination = prefix("10.0.0.6/32")
	six := deny
	six.EtherType = 6
	members, strangers, asleep := allow, deny, deny
	members.Unclear, members.Source, strangers.Unclear = true, prefix("198.51.100.10/32"), true
	asleep.Unclear, asleep.Enabled = true, false
	named := doubtFirewall | doubtNamed
	behind := func(rules ...asset.FirewallRule) func(*asset.Snapshot) {
		return func(s *asset.Snapshot) {
			wall(rules...)(s)
			s.Firewalls[0].Ports = []asset.PortID{"leg"}
			s.Ports = append(s.Ports, asset.Port{ID: "leg", Network: "priv", Device: "r1", DeviceOwner: "network:router_interface", AdminUp: true, FixedIPs: []asset.FixedIP{{Subnet: "sub4", Addr: addr("10.0.0.1")}}})
		}
	}
	holdItems(t, map[string]item{
		"no rule":                         {wall(), ssh, shut, doubtFirewall, ""},
		"allowed":                         {wall(allow), ssh, open, doubtFirewall, "let through by firewall group edge (fw1)"},
		"denied first":                    {wall(deny, allow), ssh, shut, doubtFirewall, ""},
		"allowed first":                   {wall(allow, deny), ssh, open, doubtFirewall, ""},
		"rejected":                        {wall(fwRule("reject", "", -1, -1, ""), allow), ssh, shut, doubtFirewall, ""},
		"a rule that is off":              {wall(off, allow), ssh, open, doubtFirewall, ""},
		"a rule for another address":      {wall(elsewhere, allow), ssh, open, doubtFirewall, ""},
		"a rule of the other family":      {wall(six, allow), ssh, open, doubtFirewall, ""},
		"our probe denied, then all":      {wall(fwRule("deny", "tcp", -1, -1, "198.51.100.10/32"), allow), ssh, theirs, doubtFirewall, ""},
		"our probe allowed, none else":    {wall(fwRule("allow", "", -1, -1, "198.51.100.10/32")), ssh, ours, doubtFirewall, ""},
		"no group opens, the wall cannot": {wall(fwRule("allow", "", -1, -1, "")), tcpAt("203.0.113.5", 23), shut, doubtFirewall, ""},
		"a firewall group that is down":   {func(s *asset.Snapshot) { wall(allow)(s); s.Firewalls[0].AdminUp = false }, ssh, shut, doubtFirewall, ""},
		"on the router's leg":             {behind(deny, allow), ssh, shut, doubtFirewall, ""},
		"on the router's leg, allowed":    {behind(allow), ssh, open, doubtFirewall, "firewall group edge"},
		"a group that is named is let in": {wall(members), ssh, ours, named, ""},
		"a group that is named is denied": {wall(strangers, allow), ssh, open, named, ""},
		"a named group, and nothing else": {wall(strangers), ssh, shut, named, ""},
		"a named group in a rule off":     {wall(asleep, allow), ssh, open, doubtFirewall, ""},
		"allowed by number":               {wall(fwRule("allow", "6", 22, 22, "")), ssh, open, doubtFirewall, ""},
		"denied by number":                {wall(fwRule("deny", "17", -1, -1, ""), fwRule("deny", "6", -1, -1, ""), allow), ssh, shut, doubtFirewall, ""},
		"on another port":                 {func(s *asset.Snapshot) { wall()(s); s.Firewalls[0].Ports = []asset.PortID{"other"} }, ssh, open, 0, "rule r"},
	})
}

// firstMatch asks the rules in order, for one packet.
func firstMatch(f *asset.Firewall, from, to netip.Addr, proto probe.Proto, port int) bool {
	for _, r := range f.Ingress {
		switch {
		case !r.Enabled, (r.EtherType == 6) != to.Is6(), r.Source.IsValid() && !r.Source.Contains(from), r.Destination.IsValid() && !r.Destination.Contains(to):
		case r.Protocol != "" && r.Protocol != string(proto):
		case proto != probe.ICMP && r.PortMin != asset.AnyPort && (port < r.PortMin || port > r.PortMax):
		default:
			return r.Action == "allow"
		}
	}
	return false
}

// Where security groups let everybody in, what a firewall group lets through is what asking its rules in order says, source by source.
func TestFirewallGroupsAgreeWithTheFirstMatch(t *testing.T) {
	sources := []string{"", "198.51.100.10/32", "198.51.100.8/30", "198.51.100.0/28", "192.0.2.0/24", "198.51.100.12/30"}
	v := View{Zone: probe.Internet, Prefixes: []netip.Prefix{prefix("198.51.100.0/28")}, Scanners: []netip.Addr{scanner}}
	rapid.Check(t, func(t *rapid.T) {
		var rules []asset.FirewallRule
		for range rapid.IntRange(0, 6).Draw(t, "rules") {
			r := fwRule(rapid.SampledFrom([]string{"allow", "deny", "reject"}).Draw(t, "action"), rapid.SampledFrom([]string{"", "tcp", "udp", "icmp"}).Draw(t, "proto"), asset.AnyPort, asset.AnyPort, rapid.SampledFrom(sources).Draw(t, "source"))
			if r.Protocol == "tcp" || r.Protocol == "udp" {
				r.PortMin = rapid.IntRange(1, 12).Draw(t, "lo")
				r.PortMax = r.PortMin + rapid.IntRange(0, 6).Draw(t, "len")
			}
			r.Enabled = rapid.IntRange(0, 5).Draw(t, "enabled") > 0
			r.EtherType = rapid.SampledFrom([]int{4, 4, 4, 6}).Draw(t, "family")
			if r.EtherType == 6 {
				r.Source = netip.Prefix{}
			}
			if rapid.IntRange(0, 3).Draw(t, "destined") == 0 && r.EtherType == 4 {
				r.Destination = prefix(rapid.SampledFrom([]string{"10.0.0.5/32", "10.0.0.4/31", "10.0.0.6/32"}).Draw(t, "to"))
			}
			rules = append(rules, r)
		}
		s := bed()
		s.Groups[0].Rules = []asset.Rule{rule("all", "", asset.AnyPort, asset.AnyPort, "")}
		wall(rules...)(s)
		set := Compute(asset.NewIndex(s), v)
		to := s.FloatingIPs[0].Fixed
		for _, proto := range []probe.Proto{probe.TCP, probe.UDP, probe.ICMP} {
			for port := range 22 {
				if proto == probe.ICMP && port > 0 || proto != probe.ICMP && port == 0 {
					continue
				}
				zone := false
				for a := addr("198.51.100.0"); v.Prefixes[0].Contains(a); a = a.Next() {
					zone = zone || a != scanner && firstMatch(&s.Firewalls[0], a, to, proto, port)
				}
				got := set.Lookup(probe.Endpoint{Addr: s.FloatingIPs[0].Addr, Proto: proto, Port: uint16(port)})
				if us := firstMatch(&s.Firewalls[0], scanner, to, proto, port); got.Scanner != us || got.Zone != zone {
					t.Fatalf("%s/%d: scanner %v zone %v, the rules in order say %v %v", proto, port, got.Scanner, got.Zone, us, zone)
				}
			}
		}
	})
}

// Item 19: what a rule may leave open, protocols by number, and the types of ICMP.
func TestProtocolsAndTypes(t *testing.T) {
	with := func(r asset.Rule) func(*asset.Snapshot) {
		return func(s *asset.Snapshot) { s.Groups[0].Rules = []asset.Rule{r} }
	}
	six := func(lo, hi int) func(*asset.Snapshot) {
		return func(s *asset.Snapshot) {
			routed6(s)
			s.Groups[0].Rules = []asset.Rule{rule("r", "icmp", lo, hi, "::/0")}
		}
	}
	holdItems(t, map[string]item{
		"protocol 0 is in doubt":      {with(rule("r", "0", -1, -1, "")), ssh, open, doubtZero, "rule r"},
		"every protocol":              {with(rule("r", "", -1, -1, "")), icmpAt("203.0.113.5"), open, 0, "any protocol from any"},
		"TCP by number":               {with(rule("r", "6", -1, -1, "")), ssh, open, 0, "rule r"},
		"SCTP opens no TCP":           {with(rule("r", "sctp", 22, 22, "")), ssh, shut, 0, ""},
		"GRE opens no TCP":            {with(rule("r", "47", -1, -1, "")), ssh, shut, 0, ""},
		"every type":                  {with(rule("r", "icmp", -1, -1, "")), icmpAt("203.0.113.5"), open, 0, "icmp from any"},
		"an echo request":             {with(rule("r", "icmp", 8, 0, "")), icmpAt("203.0.113.5"), open, 0, "icmp type 8 code 0"},
		"an echo request of any code": {with(rule("r", "1", 8, -1, "")), icmpAt("203.0.113.5"), open, 0, "1 type 8"},
		"another type":                {with(rule("r", "icmp", 3, -1, "")), icmpAt("203.0.113.5"), shut, 0, ""},
		"another code":                {with(rule("r", "icmp", 8, 1, "")), icmpAt("203.0.113.5"), shut, 0, ""},
		"ICMP opens no TCP":           {with(rule("r", "icmp", -1, -1, "")), ssh, shut, 0, ""},
		"TCP opens no ICMP":           {plain, icmpAt("203.0.113.5"), shut, 0, ""},
		"an echo request of ICMPv6":   {six(128, -1), icmpAt("2001:db8:a::5"), open, 0, "icmp type 128"},
		"type 8 is none of ICMPv6":    {six(8, 0), icmpAt("2001:db8:a::5"), shut, 0, ""},
	})
}
