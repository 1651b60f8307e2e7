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

// A wide run is asked part by part: the well-known ports in each sweep, and each other port once in as many sweeps as there are parts, whatever
// the run is when its turn comes. What counts as probed is what was asked.
func TestAWideRunIsAskedPartByPart(t *testing.T) {
	const parts = 30
	s := set(rule(1, 65535))
	walk, changed := NextWalk(s, probe.Walk{}, 5, parts)
	if !changed {
		t.Fatal("the walk does not begin")
	}
	run := reach.Range{Addr: netip.MustParseAddr("203.0.113.5"), Proto: probe.TCP, First: 1, Last: 65535}
	asked, rounds := map[uint16]int{}, []int64{4} // the fourth was before it was open
	for cycle := uint64(5); cycle < 5+parts; cycle++ {
		if n := NewProgress(walk, rounds).Probed(run, 1, 65535); n != len(asked) {
			t.Fatalf("before round %d %d ports count as probed, and %d were", cycle, n, len(asked))
		}
		got := Next(s, Limits{Parts: parts}, cycle).Reach
		if len(got) > 2500 || !slices.Equal(got, Next(s, Limits{Parts: parts}, cycle).Reach) {
			t.Errorf("round %d asks %d ports, or is planned differently the second time", cycle, len(got))
		}
		for _, e := range got {
			asked[e.Port]++
		}
		rounds = append(rounds, int64(cycle)) //nolint:gosec // small
	}
	if len(asked) != 65535 || NewProgress(walk, rounds).Probed(run, 1, 65535) != 65535 {
		t.Errorf("in %d rounds %d ports were asked", parts, len(asked))
	}
	for port, n := range asked {
		if _, known := slices.BinarySearch(Known, port); known != (n == parts) || !known && n != 1 {
			t.Fatalf("port %d was asked %d times", port, n)
		}
	}
	if _, again := NextWalk(s, walk, 40, parts); again {
		t.Error("the same run is another walk")
	}
	if w, again := NextWalk(set(rule(1, 65534)), walk, 40, parts); !again || NewProgress(w, rounds).Probed(reach.Range{Addr: run.Addr, Proto: probe.TCP, First: 1, Last: 65534}, 1, 65534) != 0 {
		t.Error("a run with other ends counts as probed already")
	}
	if w, again := NextWalk(s, walk, 40, 7); !again || w.Since["203.0.113.5 tcp 1-65535"] != 40 {
		t.Error("with other parts the walk goes on as before")
	}
}

// Many runs with gaps are as wide as one: what counts is how many ports of an address are open. What was part of a wider run counts as asked only
// where it was.
func TestManyRunsAreAskedPartByPart(t *testing.T) {
	var rules []asset.Rule
	for first := 1; first < 60000; first += 1001 {
		rules = append(rules, rule(first, first+999))
	}
	s := set(rules...)
	if n := len(Next(s, Limits{Parts: 30}, 1).Reach); n > 2300 {
		t.Errorf("one sweep asks %d ports", n)
	}
	walk, _ := NextWalk(set(rule(1, 65535)), probe.Walk{}, 1, 30)
	narrow := reach.Range{Addr: netip.MustParseAddr("203.0.113.5"), Proto: probe.TCP, First: 20000, Last: 20999}
	if n := NewProgress(walk, []int64{1}).Probed(narrow, 20000, 20999); n != 0 {
		t.Errorf("%d ports count as asked of a run that was narrowed since", n)
	}
	narrowed := set(rule(20000, 20999))
	if walk, _ = NextWalk(narrowed, walk, 2, 30); NewProgress(walk, []int64{1, 2}).Probed(narrow, 20000, 20999) != 1000 || len(Next(narrowed, Limits{Parts: 30}, 2).Reach) != 1000 {
		t.Error("after the next sweep all of it was asked")
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
