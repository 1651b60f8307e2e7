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
		missing, gaps := Lacking(known, reading, nil)
		lost := 0
		for _, id := range had {
			here := false
			for _, n := range now {
				here = here || n == id
			}
			if here == missing["servers"][fmt.Sprint(id)] {
				t.Fatalf("%d: listed %v, missing %v", id, here, missing["servers"][fmt.Sprint(id)])
			}
			if !here {
				lost++
			}
		}
		none := len(had) >= 3 && len(now) == 0
		if want := none || lost >= 3 && lost*10 > len(had); want != (len(gaps) == 1) {
			t.Fatalf("lost %d of %d, gaps %v", lost, len(had), gaps)
		}
		if again, gaps := Lacking(known, reading, missing); none != (len(gaps) > 0) || len(again["servers"]) != lost {
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
	_, gaps := Lacking(full, &Snapshot{}, nil)
	if len(gaps) != len(listings) {
		t.Fatalf("%v", gaps)
	}
	for i, g := range gaps {
		if g.Kind != listings[i] {
			t.Errorf("%d: %v", i, g)
		}
	}
	if _, gaps := Lacking(full, full, nil); len(gaps) > 0 {
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
		_, gaps := Lacking(known, tc.now, nil)
		if tc.kind == "" && len(gaps) > 0 || tc.kind != "" && (len(gaps) != 1 || gaps[0].Kind != tc.kind) {
			t.Errorf("%s: %v", tc.kind, gaps)
		}
	}
}
