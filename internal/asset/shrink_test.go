package asset

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func serversOf(ids []int) *Snapshot {
	s := &Snapshot{}
	for _, i := range ids {
		s.Servers = append(s.Servers, Server{ID: ServerID(fmt.Sprint(i))})
	}
	return s
}

// However a listing changes: what was not lost since the last reading is never held, a loss of many is held exactly once and a loss
// of all for ever, and what is there is never missing.
func TestALossOfManyIsHeldOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		had := rapid.SliceOfNDistinct(rapid.IntRange(0, 99), 0, 60, rapid.ID).Draw(t, "had")
		var now []int
		cut := rapid.SampledFrom([]int{0, 0, 4, 9}).Draw(t, "cut")
		for _, id := range had {
			if rapid.IntRange(0, 9).Draw(t, "keep") > cut {
				now = append(now, id)
			}
		}
		now = append(now, rapid.SliceOfNDistinct(rapid.IntRange(100, 199), 0, 1, rapid.ID).Draw(t, "new")...)
		known, reading := serversOf(had), serversOf(now)
		var l Losses
		gaps := l.Hold(known, reading, 1, 1)
		lost := 0
		for _, id := range had {
			here := false
			for _, n := range now {
				here = here || n == id
			}
			if _, lacks := l.since["servers"][fmt.Sprint(id)]; here == lacks {
				t.Fatalf("%d: listed %v, lacking %v", id, here, lacks)
			}
			if !here {
				lost++
			}
		}
		none := len(had) >= 3 && len(now) == 0
		if want := none || lost >= 3 && lost*10 > len(had); want != (len(gaps) == 1) {
			t.Fatalf("lost %d of %d, gaps %v", lost, len(had), gaps)
		}
		if again := l.Hold(known, reading, 1, 1); len(again) != len(gaps) {
			t.Fatalf("the second reading follows too soon and is believed: %v", again)
		}
		if gaps := l.Hold(known, reading, 2, 1); none != (len(gaps) > 0) || len(l.since["servers"]) != lost {
			t.Fatalf("the second reading says the same and is held: %v, nothing is left: %v", gaps, none)
		}
	})
}

// Every kind counts, and each for itself.
func TestEveryListingIsHeldAgainstTheLast(t *testing.T) {
	full := &Snapshot{}
	for i := range 5 {
		id := fmt.Sprint(i)
		full.Projects, full.Users = append(full.Projects, Project{ID: ProjectID(id)}), append(full.Users, User{ID: UserID(id)})
		full.Grants, full.Servers = append(full.Grants, Grant{User: UserID(id)}), append(full.Servers, Server{ID: ServerID(id)})
		full.Images, full.Networks = append(full.Images, Image{ID: ImageID(id)}), append(full.Networks, Network{ID: NetworkID(id)})
		full.Subnets, full.Routers = append(full.Subnets, Subnet{ID: SubnetID(id)}), append(full.Routers, Router{ID: RouterID(id)})
		full.Groups, full.AddressSets = append(full.Groups, Group{ID: GroupID(id)}), append(full.AddressSets, AddressSet{ID: AddressGroup(id)})
		full.Trunks, full.LoadBalancers = append(full.Trunks, Trunk{ID: TrunkID(id)}), append(full.LoadBalancers, LoadBalancer{ID: LoadBalancerID(id)})
		full.Firewalls, full.Links = append(full.Firewalls, Firewall{ID: FirewallID(id)}), append(full.Links, Link{ID: id})
		full.RBAC, full.DefaultRules = append(full.RBAC, RBAC{ID: RBACID(id)}), append(full.DefaultRules, DefaultRule{Rule: Rule{ID: RuleID(id)}})
		full.Ports, full.FloatingIPs = append(full.Ports, Port{ID: PortID(id)}), append(full.FloatingIPs, FloatingIP{ID: FloatingIPID(id)})
	}
	gaps := new(Losses).Hold(full, &Snapshot{}, 1, 1)
	if len(gaps) != len(kinds) {
		t.Fatalf("%v", gaps)
	}
	for i, g := range gaps {
		if g.Kind != kinds[i].name {
			t.Errorf("%d: %v", i, g)
		}
	}
	if gaps := new(Losses).Hold(full, full, 1, 1); len(gaps) > 0 {
		t.Errorf("nothing is lost: %v", gaps)
	}
}

// A row whose revision went back makes a reading partial, whatever its kind; one that stays or goes on does not.
func TestARowThatWentBackIsAGap(t *testing.T) {
	at := func(group, port, fip int) *Snapshot {
		return &Snapshot{Groups: []Group{{ID: "g", Revision: group}, {ID: "h", Revision: 1}}, Ports: []Port{{ID: "p", Revision: port}, {ID: "q", Revision: 1}}, FloatingIPs: []FloatingIP{{ID: "f", Revision: fip}, {ID: "e", Revision: 1}}}
	}
	known := at(5, 5, 5)
	for _, tc := range []struct {
		now  *Snapshot
		kind string
	}{{at(5, 5, 5), ""}, {at(6, 7, 8), ""}, {at(4, 5, 5), "groups"}, {at(5, 0, 5), "ports"}, {at(5, 5, 4), "floating_ips"}} {
		gaps := new(Losses).Hold(known, tc.now, 1, 1)
		if tc.kind == "" && len(gaps) > 0 || tc.kind != "" && (len(gaps) != 1 || gaps[0].Kind != tc.kind) {
			t.Errorf("%s: %v", tc.kind, gaps)
		}
	}
}

// trunksOf are trunks by name, each of the project that its first letter names.
func trunksOf(names ...string) *Snapshot {
	s := &Snapshot{Ports: []Port{{ID: "p"}}}
	for _, n := range names {
		s.Trunks = append(s.Trunks, Trunk{ID: TrunkID(n), Project: ProjectID(n[:1])})
	}
	return s
}

func names(project string, from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprint(project, i))
	}
	return out
}

// A tenant who removes all that he has of a rare kind, or makes it anew, before each reading holds one reading a day, and not the cloud;
// what others lose meanwhile is held as ever.
func TestNoTenantKeepsReadingsPartial(t *testing.T) {
	const hour = int64(60 * 60 * 1_000_000)
	for _, tc := range []struct {
		name string
		now  func(n int) []string // what is listed at the nth reading
	}{
		{"made anew each time", func(n int) []string { return append(names("x", 10*n, 10*n+10), names("a", 0, 5)...) }},
		{"made anew each time, and nobody else has any", func(n int) []string { return names("x", 10*n, 10*n+10) }},
		{"there every other time", func(n int) []string { return names("x", 10*n, 10*n+10*(n%2)) }},
	} {
		var l Losses
		known, partial := trunksOf(tc.now(0)...), 0
		for n := 1; n <= 48; n++ {
			now := trunksOf(tc.now(n)...)
			if gaps := l.Hold(known, now, int64(n)*hour, hour); len(gaps) == 0 {
				known = now
				continue
			}
			partial++ // it adds and does not remove
			known.Trunks = append(known.Trunks, now.Trunks...)
		}
		if partial == 0 || partial > 3 {
			t.Errorf("%s: %d of 48 readings are partial", tc.name, partial)
		}
	}
}

// What many projects lose is held each time anew, however often it happened, and so is what another loses than the one who was
// taken at his word.
func TestAFaultOfTheServiceIsNobodysDoing(t *testing.T) {
	all := trunksOf()
	for p := 'a'; p <= 'j'; p++ {
		all.Trunks = append(all.Trunks, trunksOf(names(string(p), 0, 4)...).Trunks...)
	}
	without := func(lost func(Trunk) bool) *Snapshot {
		now := trunksOf()
		for _, v := range all.Trunks {
			if !lost(v) {
				now.Trunks = append(now.Trunks, v)
			}
		}
		return now
	}
	var l Losses
	for n := range 3 { // a page, twice; then another too
		gaps := l.Hold(all, without(func(v Trunk) bool { return v.ID[1:] == "0" || n == 2 && v.ID[1:] == "1" }), int64(n), 1)
		if held := n != 1; held != (len(gaps) == 1) {
			t.Errorf("reading %d: %v", n, gaps)
		}
	}
	l = Losses{}
	for n := range 3 { // a's own, twice; then b's and c's too
		gaps := l.Hold(all, without(func(v Trunk) bool { return v.Project == "a" || n == 2 && v.Project <= "c" }), int64(n), 1)
		if n == 1 && len(gaps) > 0 || n == 2 && len(gaps) == 0 {
			t.Errorf("reading %d: %v", n, gaps)
		}
	}
}
