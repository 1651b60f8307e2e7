package reach

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

// The second judge: one packet at a time, by the sentences of Neutron's reference, with no sets and nothing computed ahead. A
// universe of a few addresses and ports lets it try every source.

var (
	bruteScanners = []netip.Addr{netip.MustParseAddr("198.51.100.2"), netip.MustParseAddr("2001:db8:f::2")}
	bruteZone     = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/28"), netip.MustParsePrefix("2001:db8:f::/124")}
	bruteExcept   = []netip.Prefix{netip.MustParsePrefix("198.51.100.8/30"), netip.MustParsePrefix("2001:db8:f::8/126")}
	bruteView     = View{Zone: probe.Internet, Prefixes: bruteZone, Except: bruteExcept, Scanners: bruteScanners}
	brutePorts    = []uint16{1, 21, 22, 23, 24, 25, 80, 81, 8080, 8081, 8082, 65535}
	sourcePorts   = []uint16{1, 20, 22, 80, 8080, 32768, 40000, 60999, 65535}
)

// others are the sources of the zone that are not ours.
func others(six bool) []netip.Addr {
	var out []netip.Addr
	for _, p := range bruteZone {
		for a := p.Addr(); p.Contains(a); a = a.Next() {
			if a.Is6() == six && !slices.Contains(bruteScanners, a) && !bruteExcept[0].Contains(a) && !bruteExcept[1].Contains(a) {
				out = append(out, a)
			}
		}
	}
	return out
}

// passes tells whether a group of a port has a rule for one packet.
func bruteRule(s *asset.Snapshot, r asset.Rule, peer netip.Addr, inside bool, proto probe.Proto, port int, icmpType int) bool {
	if (r.EtherType == 6) != peer.Is6() {
		return false
	}
	switch {
	case r.RemotePrefix.IsValid():
		if !r.RemotePrefix.Contains(peer) {
			return false
		}
	case r.RemoteGroup != "":
		hit := false
		for _, p := range s.Ports {
			for _, a := range p.Pairs { // a pair of one address is a machine of the cloud, and nobody of the zone
				hit = hit || slices.Contains(p.Groups, r.RemoteGroup) && a.Prefix.Contains(peer) && (!a.Prefix.IsSingleIP() || inside)
			}
		}
		if !hit {
			return false
		}
	case r.RemoteAddress != "":
		hit := false
		for _, set := range s.AddressSets {
			for _, p := range set.Prefixes {
				hit = hit || set.ID == r.RemoteAddress && p.Contains(peer)
			}
		}
		if !hit {
			return false
		}
	}
	switch r.Protocol {
	case "":
		return true
	case "tcp", "6", "udp", "17":
		want := probe.TCP
		if r.Protocol == "udp" || r.Protocol == "17" {
			want = probe.UDP
		}
		return proto == want && (r.PortMin == -1 || r.PortMin <= port && port <= r.PortMax)
	case "icmp", "1", "ipv6-icmp", "58":
		return proto == probe.ICMP && (r.PortMin == -1 || r.PortMin == icmpType) && (r.PortMax == -1 || r.PortMax == 0)
	}
	return false
}

// brutePacket tells whether a connection of one source reaches one endpoint and is answered.
func brutePacket(s *asset.Snapshot, src netip.Addr, sport uint16, e probe.Endpoint) bool {
	ours := slices.Contains(bruteScanners, src)
	for _, p := range s.Ports {
		on := p.AdminUp && p.Server != "" && slices.ContainsFunc(s.Servers, func(v asset.Server) bool { return v.ID == p.Server && v.Status == "ACTIVE" })
		if !on {
			continue
		}
		for _, port := range bruteWays(s, p, e) {
			if bruteAdmits(s, p, src, ours, sport, e, port) {
				return true
			}
		}
	}
	return false
}

// bruteWays lists the port's own ports to which packets for an endpoint come.
func bruteWays(s *asset.Snapshot, p asset.Port, e probe.Endpoint) []uint16 {
	var out []uint16
	for _, f := range s.FloatingIPs {
		up := true
		for _, r := range s.Routers {
			up = up && (r.ID != f.Router || r.AdminUp)
		}
		if f.Addr != e.Addr || !up {
			continue
		}
		if f.Port == p.ID {
			out = append(out, e.Port)
		}
		for _, w := range f.Forwardings {
			if f.Port == "" && w.Port == p.ID && w.Protocol == string(e.Proto) && e.Port >= w.External && e.Port <= max(w.External, w.ExternalLast) {
				if w.InternalLast == 0 {
					out = append(out, w.Internal)
				} else {
					out = append(out, e.Port-w.External+w.Internal)
				}
			}
		}
	}
	own := false
	for _, q := range s.Ports {
		for _, a := range q.FixedIPs {
			own = own || a.Addr == e.Addr
		}
	}
	for _, n := range s.Networks {
		for _, sub := range s.Subnets {
			if sub.Network != n.ID || n.ID != p.Network || !sub.CIDR.Contains(e.Addr) {
				continue
			}
			routed := n.External
			for _, leg := range s.Ports {
				for _, r := range s.Routers {
					for _, a := range leg.FixedIPs {
						routed = routed || leg.DeviceOwner == "network:router_interface" && leg.Device == string(r.ID) && a.Subnet == sub.ID && r.AdminUp && r.External != "" && e.Addr.Is6()
					}
				}
			}
			mine := slices.ContainsFunc(p.FixedIPs, func(a asset.FixedIP) bool { return a.Addr == e.Addr })
			paired := !own && slices.ContainsFunc(p.Pairs, func(a asset.AddressPair) bool { return a.Prefix.Contains(e.Addr) })
			if routed && (mine || paired) {
				out = append(out, e.Port)
			}
		}
	}
	return out
}

func bruteAdmits(s *asset.Snapshot, p asset.Port, src netip.Addr, ours bool, sport uint16, e probe.Endpoint, port uint16) bool {
	if !p.PortSecurity {
		return src.Is6() == e.Addr.Is6()
	}
	if src.Is6() != e.Addr.Is6() {
		return false
	}
	ask, reply := 8, 0
	if src.Is6() {
		ask, reply = 128, 129
	}
	in, back := false, false
	for _, g := range s.Groups {
		if !slices.Contains(p.Groups, g.ID) {
			continue
		}
		for _, r := range g.Rules {
			switch r.Direction {
			case asset.Ingress:
				in = in || bruteRule(s, r, src, ours, e.Proto, int(port), ask)
			case asset.Egress:
				back = back || bruteRule(s, r, src, true, e.Proto, int(sport), reply)
			}
			back = back || !g.Stateless || p.IgnoresStateless()
		}
		back = back || !g.Stateless || p.IgnoresStateless()
	}
	return in && back
}

// drawn is a small cloud in which anything that decides may stand in any way.
func drawn(rng *rand.Rand) *asset.Snapshot {
	pick := func(n int) int { return rng.IntN(n) }
	prefixes := []string{"0.0.0.0/0", "198.51.100.0/28", "198.51.100.2/32", "198.51.100.2/31", "198.51.100.8/30", "198.51.100.0/29", "198.51.100.8/29", "10.0.0.0/8", "198.51.100.4/32"}
	prefixes6 := []string{"::/0", "2001:db8:f::/124", "2001:db8:f::2/128", "2001:db8:f::2/127", "2001:db8:f::8/126", "2001:db8::/32", "fd00::/8"}
	s := &asset.Snapshot{Cloud: "drawn",
		Networks: []asset.Network{{ID: "pub", Name: untrusted.From("public"), External: true}, {ID: "priv"}},
		Subnets: []asset.Subnet{{ID: "sub4", Network: "priv", CIDR: netip.MustParsePrefix("10.0.0.0/24")}, {ID: "sub6", Network: "priv", CIDR: netip.MustParsePrefix("2001:db8:a::/64")},
			{ID: "pub4", Network: "pub", CIDR: netip.MustParsePrefix("203.0.113.0/24")}},
		Routers:     []asset.Router{{ID: "r1", AdminUp: pick(8) > 0, External: "pub"}},
		AddressSets: []asset.AddressSet{{ID: "ag", Prefixes: []netip.Prefix{netip.MustParsePrefix(prefixes[pick(len(prefixes))]), netip.MustParsePrefix(prefixes6[pick(len(prefixes6))])}}},
	}
	drivers := []string{asset.DriverOVN, asset.DriverHybrid, asset.DriverOVS, ""}
	stateless := pick(3) == 0
	for i := range 3 {
		g := asset.Group{ID: asset.GroupID(fmt.Sprint("g", i)), Stateless: stateless}
		for j := range pick(9) {
			g.Rules = append(g.Rules, drawRule(rng, fmt.Sprint(i, "-", j), prefixes, prefixes6))
		}
		s.Groups = append(s.Groups, g)
	}
	for i := range 3 {
		id := fmt.Sprint(i)
		s.Servers = append(s.Servers, asset.Server{ID: asset.ServerID("s" + id), Project: "p", Status: []string{"ACTIVE", "ACTIVE", "ACTIVE", "SHUTOFF"}[pick(4)]})
		p := asset.Port{ID: asset.PortID("port" + id), Project: "p", Server: asset.ServerID("s" + id), DeviceOwner: "compute:nova", Network: "priv", PortSecurity: pick(6) > 0, AdminUp: pick(8) > 0, Driver: drivers[pick(len(drivers))],
			FixedIPs: []asset.FixedIP{{Subnet: "sub4", Addr: netip.MustParseAddr("10.0.0.5" + id)}, {Subnet: "sub6", Addr: netip.MustParseAddr("2001:db8:a::5" + id)}}}
		if pick(4) == 0 {
			p.Network, p.FixedIPs = "pub", []asset.FixedIP{{Subnet: "pub4", Addr: netip.MustParseAddr("203.0.113.5" + id)}}
		}
		for _, g := range s.Groups {
			if p.PortSecurity && pick(2) == 0 {
				p.Groups = append(p.Groups, g.ID)
			}
		}
		for range pick(3) {
			p.Pairs = append(p.Pairs, asset.AddressPair{Prefix: netip.MustParsePrefix([]string{"203.0.113.200/32", "203.0.113.192/26", "2001:db8:a::200/128", "198.51.100.4/32", "198.51.100.0/29", "2001:db8:f::4/128"}[pick(6)])})
		}
		s.Ports = append(s.Ports, p)
	}
	s.Ports = append(s.Ports, asset.Port{ID: "leg", Network: "priv", Device: "r1", DeviceOwner: "network:router_interface", AdminUp: true, FixedIPs: []asset.FixedIP{{Subnet: "sub4", Addr: netip.MustParseAddr("10.0.0.1")}, {Subnet: "sub6", Addr: netip.MustParseAddr("2001:db8:a::1")}}})
	for i := range 3 {
		f := asset.FloatingIP{ID: asset.FloatingIPID(fmt.Sprint("fip", i)), Network: "pub", Addr: netip.MustParseAddr(fmt.Sprint("203.0.113.", 100+i)), Router: "r1"}
		to := s.Ports[pick(3)]
		if pick(3) > 0 {
			f.Port, f.Fixed = to.ID, to.FixedIPs[0].Addr
		} else {
			f.Forwardings = []asset.Forwarding{{ID: "w", Protocol: []string{"tcp", "udp"}[pick(2)], External: 8080, Port: to.ID, InternalAddr: to.FixedIPs[0].Addr, Internal: []uint16{22, 80}[pick(2)]}}
			switch w := &f.Forwardings[0]; pick(3) {
			case 0:
				w.ExternalLast, w.InternalLast = w.External+2, w.Internal+2
			case 1:
				w.ExternalLast = w.External + 2
			}
		}
		s.FloatingIPs = append(s.FloatingIPs, f)
	}
	return s
}

func drawRule(rng *rand.Rand, id string, prefixes, prefixes6 []string) asset.Rule {
	r := asset.Rule{ID: asset.RuleID(id), Direction: asset.Ingress, EtherType: 4, PortMin: asset.AnyPort, PortMax: asset.AnyPort}
	if rng.IntN(3) == 0 {
		r.Direction = asset.Egress
	}
	ps := prefixes
	if rng.IntN(2) == 0 {
		r.EtherType, ps = 6, prefixes6
	}
	switch r.Protocol = []string{"tcp", "udp", "6", "17", "icmp", "", "47"}[rng.IntN(7)]; r.Protocol {
	case "tcp", "udp", "6", "17":
		if rng.IntN(4) > 0 {
			lo := []int{1, 20, 22, 80, 8080, 32768}[rng.IntN(6)]
			r.PortMin, r.PortMax = lo, min(65535, lo+[]int{0, 1, 3, 30000, 65535}[rng.IntN(5)])
		}
	case "icmp":
		if r.EtherType == 6 {
			r.Protocol = []string{"ipv6-icmp", "58"}[rng.IntN(2)]
		}
		if rng.IntN(2) == 0 {
			r.PortMin = []int{0, 3, 8, 128, 129}[rng.IntN(5)]
			r.PortMax = []int{asset.AnyPort, 0, 4}[rng.IntN(3)]
		}
	}
	switch rng.IntN(5) {
	case 0:
	case 1:
		r.RemoteGroup = asset.GroupID(fmt.Sprint("g", rng.IntN(3)))
	case 2:
		r.RemoteAddress = "ag"
	default:
		r.RemotePrefix = netip.MustParsePrefix(ps[rng.IntN(len(ps))])
	}
	return r
}

func bruteTargets() []netip.Addr {
	var out []netip.Addr
	for _, a := range []string{"203.0.113.100", "203.0.113.101", "203.0.113.102", "203.0.113.50", "203.0.113.51", "203.0.113.52", "203.0.113.200", "203.0.113.193", "203.0.113.7",
		"2001:db8:a::50", "2001:db8:a::51", "2001:db8:a::52", "2001:db8:a::200", "10.0.0.50"} {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// verdict is what every single packet says of an endpoint.
func bruteVerdict(s *asset.Snapshot, e probe.Endpoint) (us, zone bool) {
	ports := sourcePorts
	if e.Proto == probe.ICMP {
		ports = sourcePorts[:1]
	}
	for _, a := range others(e.Addr.Is6()) {
		zone = zone || slices.ContainsFunc(ports, func(p uint16) bool { return brutePacket(s, a, p, e) })
	}
	for _, a := range bruteScanners {
		all := a.Is6() == e.Addr.Is6()
		for _, p := range ports {
			if e.Proto == probe.ICMP || p >= firstEphemeral && p <= lastEphemeral {
				all = all && brutePacket(s, a, p, e)
			}
		}
		us = us || all
	}
	return us, zone
}

// The algebra of sets and the judge of single packets never disagree. DEMARC_CASES and DEMARC_SEED say how many questions, and where
// they begin.
func TestTheAlgebraAgreesWithEveryPacket(t *testing.T) {
	want, seed := number(t, "DEMARC_CASES", 60_000), number(t, "DEMARC_SEED", 1)
	open, closed, kinds := 0, 0, map[string]int{}
	for n := 0; open+closed < want; n++ {
		rng := rand.New(rand.NewPCG(uint64(seed), uint64(n))) //nolint:gosec // a drawing, not a secret
		s := drawn(rng)
		set := Compute(asset.NewIndex(s), bruteView)
		for _, a := range bruteTargets() {
			for _, proto := range []probe.Proto{probe.TCP, probe.UDP, probe.ICMP} {
				e := probe.Endpoint{Addr: a, Proto: proto}
				if proto != probe.ICMP {
					e.Port = brutePorts[rng.IntN(len(brutePorts))]
				}
				if why := disagreement(s, set, e); why != "" {
					t.Fatalf("seed %d, drawing %d: %s\n%s", seed, n, why, smallest(s, e))
				}
				if got := set.Lookup(e); got.Zone || got.Scanner {
					open++
					kinds[string(proto)]++
				} else {
					closed++
				}
			}
		}
	}
	t.Logf(`{"exam":"algebra","seed":%d,"questions":%d,"open":%d,"disagreements":0}`, seed, open+closed, open)
	if open*20 < closed || kinds["icmp"] == 0 || kinds["udp"] == 0 {
		t.Errorf("hardly anything is open: the drawing asks nothing")
	}
}

func disagreement(s *asset.Snapshot, set *Set, e probe.Endpoint) string {
	got := set.Lookup(e)
	us, zone := bruteVerdict(s, e)
	if got.Scanner != us || got.Zone != zone {
		return fmt.Sprintf("%s: computed scanner %v zone %v, packets say %v %v", e, got.Scanner, got.Zone, us, zone)
	}
	byUs, byZone := false, false
	for _, o := range set.Why(e, "") {
		byUs, byZone = byUs || o.Scanner, byZone || o.Zone
	}
	if byUs != us || byZone != zone {
		return fmt.Sprintf("%s: its openings say scanner %v zone %v, packets say %v %v", e, byUs, byZone, us, zone)
	}
	asked := false
	for r := range set.Ranges() {
		asked = asked || r.Addr == e.Addr && r.Proto == e.Proto && r.First <= e.Port && e.Port <= r.Last
	}
	single := !slices.ContainsFunc(set.At(e.Addr), func(o Opening) bool { return o.Prefix.IsValid() })
	if single && asked != us {
		return fmt.Sprintf("%s: asked %v, and our probe gets in: %v", e, asked, us)
	}
	return ""
}

// smallest takes away what the disagreement does not need.
func smallest(s *asset.Snapshot, e probe.Endpoint) string {
	bad := func(c *asset.Snapshot) bool { return disagreement(c, Compute(asset.NewIndex(c), bruteView), e) != "" }
	for shrunk := true; shrunk; {
		shrunk = false
		for i := range s.Groups {
			for j := range s.Groups[i].Rules {
				c := copied(s)
				c.Groups[i].Rules = slices.Delete(c.Groups[i].Rules, j, j+1)
				if !shrunk && bad(c) {
					s, shrunk = c, true
				}
				if shrunk {
					break
				}
			}
		}
		for i := range s.Ports {
			c := copied(s)
			c.Ports = slices.Delete(c.Ports, i, i+1)
			if !shrunk && bad(c) {
				s, shrunk = c, true
				break
			}
		}
		for i := range s.FloatingIPs {
			c := copied(s)
			c.FloatingIPs = slices.Delete(c.FloatingIPs, i, i+1)
			if !shrunk && bad(c) {
				s, shrunk = c, true
				break
			}
		}
	}
	b, _ := json.MarshalIndent(s, "", " ")
	return disagreement(s, Compute(asset.NewIndex(s), bruteView), e) + "\n" + string(b)
}

func copied(s *asset.Snapshot) *asset.Snapshot {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	c := &asset.Snapshot{}
	if err := json.Unmarshal(b, c); err != nil {
		panic(err)
	}
	return c
}

func number(t *testing.T, name string, or int) int {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return or
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is no number above 0", name, v)
	}
	return n
}
