package serve

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// An entry is appended with the line ends that a file has, and a byte order mark goes, which no reader needs.
func TestNetblocksFileOfWindowsIsAppendedTo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config, blocks := filepath.Join(dir, "demarc.yaml"), filepath.Join(dir, "netblocks.yaml")
	for path, text := range map[string]string{
		config: strings.Replace(plainConfig, "vantages:", "netblocks_file: netblocks.yaml\nvantages:", 1),
		blocks: "\ufeff# ours\r\n- {cidr: 127.10.0.0/24, holder: provider}\r\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := AddNetblock(config, policy.Netblock{CIDR: netip.MustParsePrefix("127.11.0.0/24"), Holder: "provider"}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(blocks)
	want := "# ours\r\n- {cidr: 127.10.0.0/24, holder: provider}\r\n- {cidr: 127.11.0.0/24, holder: provider}\r\n"
	if err != nil || string(got) != want {
		t.Errorf("%v\n%q\n%q", err, got, want)
	}
}
