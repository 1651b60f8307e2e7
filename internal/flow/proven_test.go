package flow

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/finding"
	"demarc/internal/plan"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/reach"
	"demarc/internal/untrusted"
)

// What goes beyond a profile is claimed where the model is proven. Where the hardware filters, or a trunk carries the port, nobody is
// charged with it.
func TestWhatIsNotProvenIsBeyondNoProfile(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]int{"": 1, "normal": 1, "direct": 0, "macvtap": 0, "baremetal": 0} {
		s := claimed("astro")
		s.Servers[0].Tags = []untrusted.Text{untrusted.From("demarc-profile=web")}
		s.Ports[1].VNICType = kind
		l, _ := lineOn(t, s)
		l.Policy.Posture = []string{CheckProfile}
		l.Ledger = sweptLedger{}
		l.Vantages[0].View.Prefixes = []netip.Prefix{netip.MustParsePrefix("::/0")}
		out := map[finding.Key]shortfall{}
		if err := l.profiles(t.Context(), out, map[finding.Key]bool{}); err != nil {
			t.Fatal(err)
		}
		n := 0
		for k := range out {
			if k.Port == "astro" {
				n++
			}
		}
		if n != want || len(l.openings("astro")) == 0 {
			t.Errorf("a port of type %q: %d findings, want %d", kind, n, want)
		}
	}
}

// Each way in which the declared netblocks and the cloud differ is claimed.
func TestEachDifferenceOfNetblocksIsClaimed(t *testing.T) {
	t.Parallel()
	block := func(p string) policy.Netblock { return policy.Netblock{CIDR: netip.MustParsePrefix(p)} }
	s := &asset.Snapshot{Networks: []asset.Network{{ID: "out", External: true}}, Subnets: []asset.Subnet{{ID: "a", Network: "out", CIDR: netip.MustParsePrefix("192.0.2.0/24")}}}
	for kind, blocks := range map[string][]policy.Netblock{
		"": {block("192.0.2.0/24")}, plan.Undeclared: nil, plan.PartlyDeclared: {block("192.0.2.0/25")}, plan.Unheld: {block("192.0.2.0/24"), block("198.51.100.0/24")}, plan.PartlyHeld: {block("192.0.2.0/23")},
	} {
		l := New(Config{Netblocks: blocks})
		l.know(asset.NewIndex(s))
		out := map[finding.Key]shortfall{}
		l.netblocks(out)
		var kinds []string
		for _, m := range plan.Reconcile(l.x, blocks) {
			if c, claims := out[finding.Key{Check: CheckNetblock, Locus: m.ID}]; !claims || c.title == "" || c.evidence["lacking"].Empty() {
				t.Errorf("%s %s: %+v", m.Kind, m.Prefix, c)
			}
			kinds = append(kinds, m.Kind)
		}
		if kind != "" && !slices.Contains(kinds, kind) || kind == "" && len(out) > 0 || len(out) != len(kinds) {
			t.Errorf("%s: %d claims of %v", kind, len(out), kinds)
		}
	}
}

// countedBefore is a ledger of counts, which keeps what is written.
type countedBefore struct {
	sweptLedger
	last    []casework.Standing
	written *casework.Change
}

func (c countedBefore) LastStandings(context.Context, string, string) ([]casework.Standing, error) {
	return c.last, nil
}

func (c countedBefore) Standings(context.Context, access.Scope, string, asset.ProjectID, int64) ([]casework.Standing, error) {
	return c.last, nil
}

func (c countedBefore) Commit(_ context.Context, w casework.Change) error {
	*c.written = w
	return nil
}

// A project of which nothing is left to count gets one row that says so, and no second.
func TestWhereNothingIsLeftTheCountIsZero(t *testing.T) {
	t.Parallel()
	had := casework.Standing{Cloud: "lab", Vantage: "v1", Project: "gone", OpenAnswers: 2, DeniedSilent: 1}
	for _, c := range []struct {
		last []casework.Standing
		rows int
	}{{nil, 0}, {[]casework.Standing{had}, 1}, {[]casework.Standing{{Cloud: "lab", Vantage: "v1", Project: "gone"}}, 0}} {
		l, _ := lineOn(t, claimed("astro"))
		var written casework.Change
		l.Ledger = countedBefore{last: c.last, written: &written}
		v := &l.Vantages[0]
		if err := l.countStandings(t.Context(), v, l.reach(v), nil); err != nil {
			t.Fatal(err)
		}
		if len(written.Standings) != c.rows {
			t.Errorf("after %+v: %+v", c.last, written.Standings)
		}
		for _, s := range written.Standings {
			if !s.Same(casework.Standing{Cloud: "lab", Vantage: "v1", Project: "gone"}) {
				t.Errorf("%+v", s)
			}
		}
	}
}

// Whatever a reading of what changes often says anew is seen: a machine that was switched on opens as much as a rule does.
func TestWhatAReadingAlters(t *testing.T) {
	t.Parallel()
	had := claimed("astro")
	had.Groups[0].Revision = 5
	had.FloatingIPs = []asset.FloatingIP{{ID: "f", Revision: 5}}
	had.AddressSets = []asset.AddressSet{{ID: "set"}}
	x := asset.NewIndex(had)
	fips := map[asset.FloatingIPID]*asset.FloatingIP{"f": &had.FloatingIPs[0]}
	for what, c := range map[string]struct {
		s      asset.Snapshot
		groups int
		more   bool
	}{
		"nothing":                   {asset.Snapshot{Servers: had.Servers, Groups: had.Groups, FloatingIPs: had.FloatingIPs, AddressSets: had.AddressSets}, 0, false},
		"a machine is switched off": {asset.Snapshot{Servers: []asset.Server{{ID: "astro", Project: "astro", Status: "SHUTOFF"}}}, 0, true},
		"a machine is new":          {asset.Snapshot{Servers: []asset.Server{{ID: "new", Project: "astro", Status: "ACTIVE"}}}, 0, true},
		"a group":                   {asset.Snapshot{Groups: []asset.Group{{ID: "any", Revision: 6}}}, 1, false},
		"an older group":            {asset.Snapshot{Groups: []asset.Group{{ID: "any", Revision: 4}}}, 0, false},
		"a floating IP":             {asset.Snapshot{FloatingIPs: []asset.FloatingIP{{ID: "f", Revision: 6}}}, 0, true},
		"an older floating IP":      {asset.Snapshot{FloatingIPs: []asset.FloatingIP{{ID: "f", Revision: 4}}}, 0, false},
		"an address group":          {asset.Snapshot{AddressSets: []asset.AddressSet{{ID: "set", Project: "astro"}}}, 0, true},
	} {
		if groups, more := altered(x, fips, &c.s); len(groups) != c.groups || more != c.more {
			t.Errorf("%s: %d groups, more %t", what, len(groups), more)
		}
	}
}

// A run that was not asked, or asked and answered, is not open and silent; nor is one at an address of which nobody knows whose it is.
func TestOnlyWhatWasAskedIsOpenAndSilent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		owners  []string
		outcome probe.Outcome
		want    int
	}{"asked": {[]string{"astro"}, probe.Closed, 1}, "never asked": {[]string{"astro"}, "", 0}, "the asking failed": {[]string{"astro"}, probe.Failed, 0}, "two claim it": {[]string{"genomics", "astro"}, probe.Closed, 0}} {
		l, _ := lineOn(t, claimed(c.owners...))
		v := &l.Vantages[0]
		v.View.Prefixes, v.View.Scanners = []netip.Prefix{netip.MustParsePrefix("::/0")}, []netip.Addr{netip.MustParseAddr("2001:db8:ffff::1")}
		var hs []harvest
		if c.outcome != "" {
			hs = []harvest{swept(l, c.outcome, reach.Answer{Held: true, Zone: true, Scanner: true})}
		}
		n := 0
		for _, s := range l.standings(v, l.reach(v), nil, hs) {
			n += s.OpenSilent
		}
		if n != c.want {
			t.Errorf("%s: %d runs, want %d", name, n, c.want)
		}
	}
}
