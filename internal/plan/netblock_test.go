package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"demarc/internal/asset"
	"demarc/internal/policy"
	"demarc/internal/untrusted"
)

// routedCloud is a cloud with each way in which addresses come to be reachable, and one network that is not.
func routedCloud() *asset.Snapshot {
	ip, cidr := netip.MustParseAddr, netip.MustParsePrefix
	leg := func(id string, subs ...string) asset.Port {
		p := asset.Port{ID: asset.PortID(id), Device: "r1", DeviceOwner: "network:router_interface"}
		for i, s := range subs {
			p.FixedIPs = append(p.FixedIPs, asset.FixedIP{Subnet: asset.SubnetID(s), Addr: ip(fmt.Sprint("10.0.0.", i+1))})
		}
		return p
	}
	return &asset.Snapshot{
		Networks: []asset.Network{{ID: "pub", Name: untrusted.From("public"), External: true, Scope4: "sc"}, {ID: "t1"}, {ID: "t2", Scope4: "sc"}},
		Subnets: []asset.Subnet{
			{ID: "pub4", Network: "pub", CIDR: cidr("203.0.113.0/24")}, {ID: "pub6", Network: "pub", CIDR: cidr("2001:db8:100::/64")},
			{ID: "v6", Network: "t1", CIDR: cidr("2001:db8:a1::/64")}, {ID: "ula", Network: "t1", CIDR: cidr("fd00:1::/64")}, {ID: "nat", Network: "t1", CIDR: cidr("10.0.0.0/24")},
			{ID: "scope", Network: "t2", CIDR: cidr("172.29.0.0/24")}, {ID: "alone", Network: "t1", CIDR: cidr("2001:db8:ff::/64")},
		},
		Routers: []asset.Router{{ID: "r1", Name: untrusted.From("edge"), AdminUp: true, External: "pub"}},
		Ports:   []asset.Port{leg("leg1", "v6", "ula", "nat"), leg("leg2", "scope")},
		Links:   []asset.Link{{ID: "b1", Kind: asset.LinkBGP, AdminUp: true, Remote: []netip.Prefix{cidr("198.51.100.0/24")}}, {ID: "v1", Kind: asset.LinkVPN, AdminUp: true, Remote: []netip.Prefix{cidr("192.0.2.0/24")}}},
	}
}

func TestNetblocksAgainstTheCloud(t *testing.T) {
	t.Parallel()
	all := []string{"203.0.113.0/24", "2001:db8:100::/64", "2001:db8:a1::/64", "172.29.0.0/24", "198.51.100.0/24"}
	for name, c := range map[string]struct {
		declared []string
		want     []string
	}{
		"all is declared": {all, nil},
		"none is": {nil, []string{"undeclared 172.29.0.0/24 lacks [172.29.0.0/24] by subnet scope", "undeclared 198.51.100.0/24 lacks [198.51.100.0/24] by bgp b1",
			"undeclared 203.0.113.0/24 lacks [203.0.113.0/24] by subnet pub4", "undeclared 2001:db8:a1::/64 lacks [2001:db8:a1::/64] by subnet v6", "undeclared 2001:db8:100::/64 lacks [2001:db8:100::/64] by subnet pub6"}},
		"one the cloud has not":    {append([]string{"192.0.2.0/24"}, all...), []string{"unheld 192.0.2.0/24 lacks [192.0.2.0/24] by"}},
		"too little":               {append([]string{"203.0.113.0/25"}, all[1:]...), []string{"partly-declared 203.0.113.0/24 lacks [203.0.113.128/25] by subnet pub4"}},
		"in two parts":             {append([]string{"203.0.113.0/25", "203.0.113.128/25"}, all[1:]...), nil},
		"too much":                 {append([]string{"203.0.112.0/23"}, all[1:]...), []string{"partly-held 203.0.112.0/23 lacks [203.0.112.0/24] by subnet pub4"}},
		"too much, piece by piece": {append([]string{"+203.0.112.0/23"}, all[1:]...), nil},
		"nothing, piece by piece":  {append([]string{"+10.9.0.0/16"}, all...), []string{"unheld 10.9.0.0/16 lacks [10.9.0.0/16] by"}},
	} {
		var declared []policy.Netblock
		for _, d := range c.declared {
			p, whole := strings.CutPrefix(d, "+")
			declared = append(declared, policy.Netblock{CIDR: netip.MustParsePrefix(p), Holder: "provider", Aggregate: whole})
		}
		var got []string
		for _, m := range Reconcile(asset.NewIndex(routedCloud()), declared) {
			line := fmt.Sprintf("%s lacks %v by", m.ID, m.Missing)
			for _, r := range m.By {
				line += " " + r.Kind + " " + r.ID
			}
			got = append(got, line)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// What a prefix lacks is, address by address, what no cover holds, in pieces that do not meet.
func TestLackingIsWhatNoCoverHolds(t *testing.T) {
	t.Parallel()
	draw := func(t *rapid.T, name string) netip.Prefix {
		bits := rapid.IntRange(24, 32).Draw(t, name+" bits")
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(rapid.IntRange(0, 255).Draw(t, name))}), bits).Masked()
	}
	rapid.Check(t, func(t *rapid.T) {
		p := draw(t, "p")
		var covers []netip.Prefix
		for range rapid.IntRange(0, 5).Draw(t, "covers") {
			covers = append(covers, draw(t, "cover"))
		}
		got := lacking(p, covers)
		for i := range 256 {
			a := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
			want := 0
			if p.Contains(a) && !slices.ContainsFunc(covers, func(c netip.Prefix) bool { return c.Contains(a) }) {
				want = 1
			}
			n := 0
			for _, g := range got {
				if g.Contains(a) {
					n++
				}
			}
			if n != want {
				t.Fatalf("%s of %s without %v is %v: %s is in %d of them", got, p, covers, got, a, n)
			}
		}
	})
}
