package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"demarc/internal/asset"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// The bounds of the exam of reach, for 100,000 ports of 2,000 projects with 3 groups each of 20 rules, a tenth of them with a remote
// group, seen from two vantage points.
const (
	mostReachCPU = 2.0  // seconds of the processor, for both
	mostReachMiB = 1024 // of the process, at its highest
	mostRule     = 50.0 // ms of the processor, for one changed rule of a group with 5,000 members, seen from both
	bigGroup     = 5000
)

// reachResult is the line for one size of a cloud.
type reachResult struct {
	Bench     string  `json:"bench"`
	Ports     int     `json:"ports"`
	Projects  int     `json:"projects"`
	Rules     int     `json:"rules"`
	Addresses int     `json:"addresses"`
	Runs      int     `json:"open_runs"`         // of ports, as seen from the first vantage point
	Index     float64 `json:"index_cpu_seconds"` // of ordering the inventory, before
	CPU       float64 `json:"cpu_seconds"`       // of both vantage points
	PerPort   float64 `json:"us_per_port"`
	MiB       int     `json:"max_rss_mib"`
	RuleCPU   float64 `json:"one_rule_cpu_ms"` // what it opens included
	Opened    int     `json:"one_rule_opens"`
	PeerPort  float64 `json:"peer_us_per_port"` // one packet at a time: the same endpoints asked of every rule
	Ratio     float64 `json:"times_faster_than_peer"`
	Held      bool    `json:"held"`
}

var views = []reach.View{
	{Zone: probe.Internet, Prefixes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}, Except: reach.NotInternet,
		Scanners: []netip.Addr{netip.MustParseAddr("198.51.100.10"), netip.MustParseAddr("2001:db8:f::10")}},
	{Zone: probe.Institution, Prefixes: []netip.Prefix{netip.MustParsePrefix("172.28.0.0/16"), netip.MustParsePrefix("2001:db8:e::/64")},
		Scanners: []netip.Addr{netip.MustParseAddr("172.28.0.10"), netip.MustParseAddr("2001:db8:e::10")}},
}

// benchReach computes what a cloud of n ports opens, and what one changed rule does.
func benchReach(n int) (reachResult, error) {
	s := cloudOf(n)
	runtime.GC()
	r := reachResult{Bench: "reach", Ports: len(s.Ports), Projects: len(s.Projects)}
	for _, g := range s.Groups {
		r.Rules += len(g.Rules)
	}
	cpu := used()
	x := asset.NewIndex(s)
	r.Index = used() - cpu
	cpu = used()
	var sets []*reach.Set
	for _, v := range views {
		sets = append(sets, reach.Compute(x, v))
	}
	r.CPU = used() - cpu
	r.PerPort = r.CPU / float64(n) * 1e6
	r.Addresses = len(sets[0].Addresses())
	for range sets[0].Ranges() {
		r.Runs++
	}
	r.RuleCPU, r.Opened = oneRule(x, sets)
	r.MiB = highest()
	asked, err := peerReach(s, sets[0], &r)
	if err != nil {
		return r, err
	}
	r.Ratio = r.PeerPort / r.PerPort
	if asked == 0 || r.Runs == 0 || r.Opened < min(n/20, bigGroup) {
		return r, fmt.Errorf("hardly anything is open: %d endpoints asked, %d runs, %d opened by one rule", asked, r.Runs, r.Opened)
	}
	r.Held = r.CPU <= mostReachCPU && r.MiB <= mostReachMiB && r.RuleCPU <= mostRule
	debug.FreeOSMemory()
	return r, nil
}

// oneRule adds a rule to the largest group, and asks what it opens, as a server does.
func oneRule(x *asset.Index, sets []*reach.Set) (ms float64, opened int) {
	best := time.Duration(1 << 62)
	for try := range 9 { // the smallest of some: what else the machine does is not what is asked
		runtime.GC() // nor is the garbage of the tries before
		g := *x.Groups["big"]
		g.Rules = append(slices.Clone(g.Rules), asset.Rule{ID: "new", Group: "big", Direction: asset.Ingress, EtherType: 4, Protocol: "tcp", PortMin: 50_000 + try, PortMax: 50_000 + try})
		began := used()
		with := x.WithGroups([]asset.Group{g})
		opened = 0
		for _, s := range sets {
			opened += len(reach.Opened(s, s.With(with, []asset.GroupID{g.ID})))
		}
		best = min(best, time.Duration((used()-began)*float64(time.Second)))
	}
	return float64(best.Microseconds()) / 1000, opened
}

// cloudOf draws an inventory.
func cloudOf(n int) *asset.Snapshot {
	rng := rand.New(rand.NewPCG(1, uint64(n))) //nolint:gosec // a drawing, not a secret
	projects := max(1, n/50)
	s := &asset.Snapshot{Cloud: "bench", Networks: []asset.Network{{ID: "public", External: true}}}
	const perProject = 6
	for p := range projects {
		id := asset.ProjectID(fmt.Sprintf("project-%05d", p))
		net, sub := asset.NetworkID(fmt.Sprint("net-", p)), asset.SubnetID(fmt.Sprint("sub6-", p))
		s.Projects = append(s.Projects, asset.Project{ID: id, Enabled: true})
		s.Networks = append(s.Networks, asset.Network{ID: net, Project: id})
		router := asset.RouterID(fmt.Sprint("router-", p))
		s.Routers = append(s.Routers, asset.Router{ID: router, Project: id, AdminUp: true, External: "public"})
		six := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0xa, byte(p >> 8), byte(p)})
		s.Subnets = append(s.Subnets, asset.Subnet{ID: sub, Network: net, Project: id, CIDR: netip.PrefixFrom(six, 64)})
		s.Ports = append(s.Ports, asset.Port{ID: asset.PortID(fmt.Sprint("leg-", p)), Network: net, Device: string(router), DeviceOwner: "network:router_interface", AdminUp: true,
			FixedIPs: []asset.FixedIP{{Subnet: sub, Addr: six.Next()}}})
		for g := range perProject {
			s.Groups = append(s.Groups, groupOf(rng, fmt.Sprintf("g-%d-%d", p, g), p, perProject))
		}
	}
	s.Groups = append(s.Groups, asset.Group{ID: "big", Rules: groupOf(rng, "big", 0, perProject).Rules})
	for i := range n - projects {
		s.Servers = append(s.Servers, asset.Server{ID: asset.ServerID(fmt.Sprint("server-", i)), Project: s.Projects[i%projects].ID, Status: "ACTIVE"})
		s.Ports = append(s.Ports, portOf(rng, i, projects, perProject))
		if i%2 == 0 {
			a := netip.AddrFrom4([4]byte{20, byte(i >> 16), byte(i >> 8), byte(i)})
			s.FloatingIPs = append(s.FloatingIPs, asset.FloatingIP{ID: asset.FloatingIPID(fmt.Sprint("fip-", i)), Addr: a, Port: asset.PortID(fmt.Sprint("port-", i)), Router: asset.RouterID(fmt.Sprint("router-", i%projects)), Fixed: netip.MustParseAddr("10.0.0.5")})
		}
	}
	return s
}

func portOf(rng *rand.Rand, i, projects, groups int) asset.Port {
	p := i % projects
	six := [16]byte{0x20, 1, 0xd, 0xb8, 0xa, byte(p >> 8), byte(p), 0, 0, 0, 0, 0, 1, byte(i >> 16), byte(i >> 8), byte(i)}
	out := asset.Port{ID: asset.PortID(fmt.Sprint("port-", i)), Project: asset.ProjectID(fmt.Sprintf("project-%05d", p)), Server: asset.ServerID(fmt.Sprint("server-", i)), Network: asset.NetworkID(fmt.Sprint("net-", p)),
		DeviceOwner: "compute:nova", PortSecurity: true, AdminUp: true, Status: "ACTIVE", FixedIPs: []asset.FixedIP{{Subnet: asset.SubnetID(fmt.Sprint("sub4-", p)), Addr: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})},
			{Subnet: asset.SubnetID(fmt.Sprint("sub6-", p)), Addr: netip.AddrFrom16(six)}}}
	for _, g := range rng.Perm(groups)[:3] {
		out.Groups = append(out.Groups, asset.GroupID(fmt.Sprintf("g-%d-%d", p, g)))
	}
	if i < bigGroup {
		out.Groups[0] = "big"
	}
	return out
}

// groupOf draws 20 rules: two of them with a remote group, the others from anywhere, from a prefix, or from the institution.
func groupOf(rng *rand.Rand, id string, project, groups int) asset.Group {
	g := asset.Group{ID: asset.GroupID(id)}
	froms := []string{"", "0.0.0.0/0", "172.28.0.0/16", "198.51.100.0/24", "192.0.2.0/24", "10.0.0.0/8"}
	for k := range 20 {
		lo := 1 + rng.IntN(40_000)
		r := asset.Rule{ID: asset.RuleID(fmt.Sprint(id, "-", k)), Group: g.ID, Direction: asset.Ingress, EtherType: 4, Protocol: []string{"tcp", "tcp", "udp"}[rng.IntN(3)], PortMin: lo, PortMax: lo + rng.IntN(20)}
		if k%4 == 3 {
			r.EtherType = 6
		}
		switch from := froms[rng.IntN(len(froms))]; {
		case k%10 == 9:
			r.RemoteGroup = asset.GroupID(fmt.Sprintf("g-%d-%d", project, rng.IntN(groups)))
		case from != "" && r.EtherType == 4:
			r.RemotePrefix = netip.MustParsePrefix(from)
		}
		g.Rules = append(g.Rules, r)
	}
	return g
}

// peerReach asks the rules of some ports one by one, as a packet does, at both ends of each run that is open and beside them, and gives
// the time for one port. Both must say the same.
func peerReach(s *asset.Snapshot, set *reach.Set, r *reachResult) (asked int, err error) {
	groups := map[asset.GroupID]*asset.Group{}
	for i := range s.Groups {
		groups[s.Groups[i].ID] = &s.Groups[i]
	}
	ports := map[asset.PortID]*asset.Port{}
	for i := range s.Ports {
		ports[s.Ports[i].ID] = &s.Ports[i]
	}
	type question struct {
		port *asset.Port
		at   probe.Endpoint
		want bool
	}
	var qs []question
	seen := map[asset.PortID]bool{}
	for o := range set.Ranges() {
		if seen[o.Port] = true; len(seen) > 2000 {
			break
		}
		for _, p := range []uint16{o.First, o.Last, o.First - 1, o.Last + 1} {
			e := probe.Endpoint{Addr: o.Addr, Proto: o.Proto, Port: p}
			qs = append(qs, question{ports[o.Port], e, set.Lookup(e).Scanner})
		}
	}
	began := used()
	for _, q := range qs {
		if lets(groups, q.port, q.at, views[0].Scanners) != q.want {
			return 0, fmt.Errorf("%s of %s: computed %v, and rule by rule it is not", q.at, q.port.ID, q.want)
		}
	}
	r.PeerPort = (used() - began) / float64(len(seen)) * 1e6 * float64(len(views))
	return len(qs), nil
}

func lets(groups map[asset.GroupID]*asset.Group, p *asset.Port, e probe.Endpoint, sources []netip.Addr) bool {
	for _, id := range p.Groups {
		for _, r := range groups[id].Rules {
			if (r.EtherType == 6) != e.Addr.Is6() || r.RemoteGroup != "" || r.Protocol != string(e.Proto) || int(e.Port) < r.PortMin || int(e.Port) > r.PortMax {
				continue
			}
			if !r.RemotePrefix.IsValid() || slices.ContainsFunc(sources, r.RemotePrefix.Contains) {
				return true
			}
		}
	}
	return false
}
