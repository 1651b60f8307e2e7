package serve

import (
	"net/netip"
	"slices"
	"testing"

	"demarc/internal/policy"
)

// A vantage point sees the netblocks that name it or its zone. One that sees none sees no address, and not every one.
func TestWhatAVantageSees(t *testing.T) {
	t.Parallel()
	a, b := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24")
	near, far := Vantage{Name: "near", Zone: "institution"}, Vantage{Name: "far", Zone: "internet"}
	for name, c := range map[string]struct {
		blocks    []policy.Netblock
		near, far []netip.Prefix
	}{
		"none declared": {nil, nil, nil},
		"all see all":   {[]policy.Netblock{{CIDR: a}, {CIDR: b}}, []netip.Prefix{a, b}, []netip.Prefix{a, b}},
		"by zone":       {[]policy.Netblock{{CIDR: a, Zones: []string{"internet"}}, {CIDR: b}}, []netip.Prefix{b}, []netip.Prefix{a, b}},
		"by name":       {[]policy.Netblock{{CIDR: a, Vantages: []string{"far"}}, {CIDR: b}}, []netip.Prefix{b}, []netip.Prefix{a, b}},
		"nothing":       {[]policy.Netblock{{CIDR: a, Vantages: []string{"far"}}}, nowhere, []netip.Prefix{a}},
	} {
		conf := &Config{Netblocks: c.blocks}
		if n, f := conf.view(near).Blocks, conf.view(far).Blocks; !slices.Equal(n, c.near) || !slices.Equal(f, c.far) {
			t.Errorf("%s: near sees %v, far %v; want %v, %v", name, n, f, c.near, c.far)
		}
		if allow, _ := conf.blocks(near); len(allow) != len(c.blocks) {
			t.Errorf("%s: what is declared may be probed, and near may probe %v", name, allow)
		}
	}
}
