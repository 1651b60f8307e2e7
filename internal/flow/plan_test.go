package flow

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"demarc/internal/asset"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// sixCloud is a machine at a routed IPv6 address and at an IPv4 one, both open to everybody.
func sixCloud() *asset.Index {
	group := asset.Group{ID: "g", Rules: []asset.Rule{
		{ID: "four", Group: "g", Direction: asset.Ingress, EtherType: 4, Protocol: "tcp", PortMin: 22, PortMax: 22},
		{ID: "six", Group: "g", Direction: asset.Ingress, EtherType: 6, Protocol: "tcp", PortMin: 22, PortMax: 22},
	}}
	return asset.NewIndex(&asset.Snapshot{
		Networks: []asset.Network{{ID: "pub", External: true}},
		Subnets: []asset.Subnet{{ID: "pub4", Network: "pub", CIDR: netip.MustParsePrefix("203.0.113.0/24")},
			{ID: "pub6", Network: "pub", CIDR: netip.MustParsePrefix("2001:db8:1::/64")}},
		Groups:  []asset.Group{group},
		Servers: []asset.Server{{ID: "s", Status: "ACTIVE"}},
		Ports: []asset.Port{{ID: "p", Server: "s", Network: "pub", AdminUp: true, PortSecurity: true, Groups: []asset.GroupID{"g"}, Status: "ACTIVE",
			FixedIPs: []asset.FixedIP{{Subnet: "pub4", Addr: netip.MustParseAddr("203.0.113.7")}, {Subnet: "pub6", Addr: netip.MustParseAddr("2001:db8:1::7")}}}},
	})
}

// What a vantage point cannot probe, because it has no source of the family, is said; and nothing is where it has both.
func TestAFamilyWithoutASourceIsSaid(t *testing.T) {
	t.Parallel()
	all := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	for want, sources := range map[string][]string{
		"": {"198.51.100.9", "2001:db8:f::9"},
		"1 IPv6 addresses that are open to the zone are not probed: no source is IPv6": {"198.51.100.9"},
		"1 IPv4 addresses that are open to the zone are not probed: no source is IPv4": {"2001:db8:f::9"},
	} {
		v := reach.View{Zone: probe.Internet, Prefixes: all}
		for _, s := range sources {
			v.Scanners = append(v.Scanners, netip.MustParseAddr(s))
		}
		if got := blindFamilies(reach.Compute(sixCloud(), v)); got != want {
			t.Errorf("from %v: %q, want %q", sources, got, want)
		}
	}
}

// coverageLedger remembers the last coverage of each vantage point.
type coverageLedger struct {
	Ledger
	last map[string]probe.Coverage
}

func (c coverageLedger) LastCoverage(_ context.Context, _, _, vantage string, _ probe.Purpose) (probe.Coverage, bool, error) {
	v, ok := c.last[vantage]
	return v, ok, nil
}

// setClock is a clock that stands where it was set.
type setClock struct {
	Clock
	at *int64
}

func (c setClock) Now() int64 { return *c.at }

// Sweeps that take longer than the time between two of them leave each vantage point its turn, and say how late they are. A vantage point
// that must be swept anew at once is no exception.
func TestSlowSweepsLeaveEachVantagePointItsTurn(t *testing.T) {
	t.Parallel()
	now := 100 * day
	ledger := coverageLedger{last: map[string]probe.Coverage{}}
	l := New(Config{Cloud: "c", Policy: &policy.Policy{Sweep: policy.Duration(24 * time.Hour)}, Ledger: ledger, Clock: setClock{at: &now},
		Vantages: []Vantage{{Vantage: probe.Vantage{Name: "slow"}}, {Vantage: probe.Vantage{Name: "quick"}}}})
	count, late := map[string]int{}, 0
	for now < 114*day {
		l.unswept["slow"] = true
		v, due, err := l.nextSweep(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if v == nil {
			now += hour
			continue
		}
		count[v.Name]++
		if l.lateness(v, due) != "" {
			late++
		}
		ledger.last[v.Name] = probe.Coverage{Began: now}
		now += 30 * hour
	}
	if count["slow"] < 5 || count["quick"] < 5 || late < 5 {
		t.Errorf("in 14 days %v sweeps, %d of them late", count, late)
	}
}
