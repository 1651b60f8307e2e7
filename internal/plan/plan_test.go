package plan

import (
	"net/netip"
	"slices"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

func set(rules ...asset.Rule) *reach.Set {
	s := &asset.Snapshot{
		Networks:    []asset.Network{{ID: "pub", External: true}},
		Servers:     []asset.Server{{ID: "s", Status: "ACTIVE"}},
		Ports:       []asset.Port{{ID: "p", Server: "s", PortSecurity: true, AdminUp: true, Groups: []asset.GroupID{"g"}}},
		FloatingIPs: []asset.FloatingIP{{ID: "f", Addr: netip.MustParseAddr("203.0.113.5"), Port: "p"}},
		Groups:      []asset.Group{{ID: "g", Rules: rules}},
	}
	return reach.Compute(asset.NewIndex(s), reach.View{Zone: probe.Internet, Prefixes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}, Scanners: []netip.Addr{netip.MustParseAddr("198.51.100.10")}})
}

func rule(lo, hi int) asset.Rule {
	return asset.Rule{ID: "r", Direction: asset.Ingress, EtherType: 4, Protocol: "tcp", PortMin: lo, PortMax: hi}
}

func TestAPlanAsksExactlyWhatIsOpen(t *testing.T) {
	got := Next(set(rule(6379, 6381)), Limits{Sample: 8, Control: 20}, 1)
	if len(got.Reach) != 3 || got.Reach[0].Port != 6379 || got.Reach[2].Port != 6381 {
		t.Errorf("reach %v", got.Reach)
	}
	if len(got.Control) != 20 {
		t.Errorf("%d control probes, want 20", len(got.Control))
	}
	for _, e := range got.Control {
		if e.Port >= 6379 && e.Port <= 6381 {
			t.Errorf("the control sample asks the open endpoint %s", e)
		}
	}
}

func TestAWideRunIsSampledAnewEachCycle(t *testing.T) {
	one, again, two := Next(set(rule(1, 65535)), Limits{Sample: 32}, 1), Next(set(rule(1, 65535)), Limits{Sample: 32}, 1), Next(set(rule(1, 65535)), Limits{Sample: 32}, 2)
	if !slices.Equal(one.Reach, again.Reach) {
		t.Error("the same cycle is planned differently the second time")
	}
	if slices.Equal(one.Reach, two.Reach) {
		t.Error("two cycles ask the same sample")
	}
	for _, p := range Known {
		if !slices.ContainsFunc(one.Reach, func(e probe.Endpoint) bool { return e.Port == p }) {
			t.Errorf("port %d is not asked", p)
		}
	}
}

func TestTheControlSampleComesRoundToEveryKnownPort(t *testing.T) {
	s := set(rule(6379, 6379))
	seen := map[uint16]bool{}
	for cycle := range uint64(12) {
		for _, e := range Next(s, Limits{Control: 10}, cycle).Control {
			seen[e.Port] = true
		}
	}
	for _, p := range Known {
		if p != 6379 && !seen[p] {
			t.Errorf("port %d was never asked in twelve cycles", p)
		}
	}
}

// What a tenant has joined to the cloud is asked where the operator declared it, some addresses at a time, and all in turn.
func TestWhatIsJoinedIsAskedInTurn(t *testing.T) {
	router := asset.Router{ID: "r", Project: "p", AdminUp: true, External: "pub", Routes: []asset.Route{{Destination: netip.MustParsePrefix("198.51.100.0/26")}, {Destination: netip.MustParsePrefix("192.0.2.0/24")}}}
	s := &asset.Snapshot{Networks: []asset.Network{{ID: "pub", External: true}}, Routers: []asset.Router{router}}
	view := reach.View{Zone: probe.Internet, Prefixes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}, Scanners: []netip.Addr{netip.MustParseAddr("203.0.113.1")}}
	if got := Next(reach.Compute(asset.NewIndex(s), view), Limits{}, 1).Reach; len(got) != 0 {
		t.Errorf("nothing is declared, and %d are asked", len(got))
	}
	view.Blocks = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/25")}
	joined := reach.Compute(asset.NewIndex(s), view)
	seen := map[netip.Addr]int{}
	for cycle := range uint64(4) {
		got := Next(joined, Limits{}, cycle).Reach
		if len(got) != atOnce*len(Known) {
			t.Fatalf("cycle %d asks %d endpoints", cycle, len(got))
		}
		for _, e := range got {
			seen[e.Addr]++
		}
	}
	if len(seen) != 64 {
		t.Errorf("in four cycles %d of 64 addresses were asked", len(seen))
	}
	for a, n := range seen {
		if !router.Routes[0].Destination.Contains(a) || n != len(Known) {
			t.Errorf("%s was asked %d times", a, n)
		}
	}
}
