package policy_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"demarc/internal/policy"
)

func TestNetblocksThatMeanNothingAreRefused(t *testing.T) {
	t.Parallel()
	p := netip.MustParsePrefix
	good := policy.Netblock{CIDR: p("192.0.2.0/24"), Holder: "provider", Zones: []string{"internet"}, Every: policy.Duration(24 * time.Hour)}
	with := func(bend func(*policy.Netblock)) policy.Netblock {
		b := good
		bend(&b)
		return b
	}
	for name, c := range map[string]struct {
		blocks []policy.Netblock
		index  int
		key    string
		says   string
	}{
		"none":                      {nil, -1, "", ""},
		"one":                       {[]policy.Netblock{good}, -1, "", ""},
		"a part of one's own":       {[]policy.Netblock{good, with(func(b *policy.Netblock) { b.CIDR = p("192.0.2.0/28") })}, -1, "", ""},
		"beside":                    {[]policy.Netblock{good, with(func(b *policy.Netblock) { b.CIDR, b.Holder = p("192.0.3.0/24"), "physics" })}, -1, "", ""},
		"of both families":          {[]policy.Netblock{good, with(func(b *policy.Netblock) { b.CIDR, b.Holder = p("2001:db8::/32"), "physics" })}, -1, "", ""},
		"no range":                  {[]policy.Netblock{{Holder: "x"}}, 0, "cidr", "no cidr"},
		"stray bits":                {[]policy.Netblock{with(func(b *policy.Netblock) { b.CIDR = p("192.0.2.1/24") })}, 0, "cidr", "bits beyond"},
		"everything":                {[]policy.Netblock{with(func(b *policy.Netblock) { b.CIDR = p("0.0.0.0/0") })}, 0, "cidr", "can not be a netblock"},
		"IPv4 within IPv6":          {[]policy.Netblock{with(func(b *policy.Netblock) { b.CIDR = p("::ffff:192.0.2.0/120") })}, 0, "cidr", "can not be a netblock"},
		"twice":                     {[]policy.Netblock{good, good}, 1, "cidr", "declared twice"},
		"a part of another's":       {[]policy.Netblock{good, with(func(b *policy.Netblock) { b.CIDR, b.Holder = p("192.0.2.128/25"), "physics" })}, 1, "holder", "192.0.2.128/25 of physics overlaps 192.0.2.0/24 of provider"},
		"what holds another's":      {[]policy.Netblock{good, with(func(b *policy.Netblock) { b.CIDR, b.Holder = p("192.0.0.0/16"), "physics" })}, 1, "holder", "overlaps"},
		"a zone that is none":       {[]policy.Netblock{with(func(b *policy.Netblock) { b.Zones = []string{"internet", "moon"} })}, 0, "zones[1]", "unknown zone"},
		"too often":                 {[]policy.Netblock{with(func(b *policy.Netblock) { b.Every = policy.Duration(time.Second) })}, 0, "every", "can not be 1s"},
		"too seldom":                {[]policy.Netblock{with(func(b *policy.Netblock) { b.Every = policy.Duration(91 * 24 * time.Hour) })}, 0, "every", "can not be 91d"},
		"a holder with a line feed": {[]policy.Netblock{with(func(b *policy.Netblock) { b.Holder = "a\nb" })}, 0, "holder", "can not be a holder"},
	} {
		i, key, f := policy.CheckNetblocks(c.blocks)
		if i != c.index || key != c.key || (f == nil) != (c.says == "") || f != nil && !strings.Contains(f.Message, c.says) {
			t.Errorf("%s: %d %q %v, want %d %q %q", name, i, key, f, c.index, c.key, c.says)
		}
	}
	b := policy.Netblock{Zones: []string{"internet"}, Vantages: []string{"v1"}}
	if !b.From("v1", "internet") || b.From("v2", "internet") || b.From("v1", "institution") || !(policy.Netblock{}).From("any", "institution") {
		t.Error("a netblock is probed from elsewhere than it says")
	}
}
