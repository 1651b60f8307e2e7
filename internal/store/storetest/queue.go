package storetest

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/probe"
)

// What was just opened waits until it was asked, each run once, oldest first.
func queue(t *testing.T, e Engine) {
	x, ctx := begin(t, e), t.Context()
	a := full().Queue[0]
	b := a
	b.Addr, b.At = netip.MustParseAddr("2001:db8::1"), 5
	x.commit(casework.Change{At: 10, Queue: []casework.Ask{a, b}, Reached: map[string]string{"outside": "one"}})
	again := a
	again.At = 11
	x.commit(casework.Change{At: 11, Queue: []casework.Ask{again}, Reached: map[string]string{"outside": "two", "inside": "three"}})
	if q := got[[]casework.Ask](x)(x.Queue(ctx, "outside", 9)); !slices.Equal(q, []casework.Ask{b, a}) {
		t.Errorf("%+v", q)
	}
	if q := got[[]casework.Ask](x)(x.Queue(ctx, "outside", 1)); !slices.Equal(q, []casework.Ask{b}) {
		t.Errorf("%+v", q)
	}
	x.commit(casework.Change{At: 12, Asked: []casework.Ask{b}})
	if q := got[[]casework.Ask](x)(x.Queue(ctx, "outside", 9)); !slices.Equal(q, []casework.Ask{a}) {
		t.Errorf("%+v", q)
	}
	if q := got[[]casework.Ask](x)(x.Queue(ctx, "inside", 9)); len(q) != 0 {
		t.Errorf("%+v", q)
	}
	for vantage, want := range map[string]string{"outside": "two", "inside": "three", "nowhere": ""} {
		if d := got[string](x)(x.Reached(ctx, vantage)); d != want {
			t.Errorf("%s: %q", vantage, d)
		}
	}
}

// Who opens much keeps nobody waiting: each project has its turn, and its own runs stay in their order. A run is its holder's as last told,
// keeps its place, and may be told twice in one change.
func queueTurns(t *testing.T, e Engine) {
	x, ctx := begin(t, e), t.Context()
	first := full().Queue[0]
	var much []casework.Ask
	for i := range 450 {
		a := first
		a.Project, a.First, a.Last = "loud", uint16(1000+i), uint16(1000+i)
		much = append(much, a)
	}
	x.commit(casework.Change{At: 10, Queue: much})
	late := func(project asset.ProjectID, port uint16, at int64) casework.Ask {
		a := first
		a.Project, a.First, a.Last, a.At = project, port, port, at
		return a
	}
	quiet, after, other := late("quiet", 22, 20), late("quiet", 21, 30), late("other", 23, 25)
	x.commit(casework.Change{At: 30, Queue: []casework.Ask{after, quiet, other, late("somebody", 23, 40), quiet}})
	other.Project = "other"
	x.commit(casework.Change{At: 31, Queue: []casework.Ask{late("other", 23, 41)}})
	want := []casework.Ask{much[0], quiet, other, much[1], after, much[2]}
	if q := got[[]casework.Ask](x)(x.Queue(ctx, "outside", len(want))); !slices.Equal(q, want) {
		t.Errorf("%+v", q)
	}
	if q := got[[]casework.Ask](x)(x.Queue(ctx, "outside", 999)); len(q) != len(much)+3 {
		t.Errorf("%d wait", len(q))
	}
	x.commit(casework.Change{At: 50, Asked: append(much[:449:449], after)})
	if q := got[[]casework.Ask](x)(x.Queue(ctx, "outside", 999)); !slices.Equal(q, []casework.Ask{much[449], quiet, other}) {
		t.Errorf("%d wait: %+v", len(q), q)
	}
}

// Since when a vantage point probes a netblock is as last told, for each on its own.
func blocks(t *testing.T, e Engine) {
	x, ctx := begin(t, e), t.Context()
	a, b := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")
	x.commit(casework.Change{At: 10, Blocks: map[string]map[netip.Prefix]int64{"outside": {a: 10}, "inside": {a: 5, b: 6}}})
	x.commit(casework.Change{At: 20, Blocks: map[string]map[netip.Prefix]int64{"outside": {b: 20}}})
	for vantage, want := range map[string]map[netip.Prefix]int64{"outside": {b: 20}, "inside": {a: 5, b: 6}, "nowhere": {}} {
		if got := got[map[netip.Prefix]int64](x)(x.Blocks(ctx, vantage)); !maps.Equal(got, want) {
			t.Errorf("%s: %v", vantage, got)
		}
	}
}

// The wide runs that a vantage point probes part by part are as last told, for each on its own; and rounds are complete sweeps alone.
func walks(t *testing.T, e Engine) {
	x, ctx := begin(t, e), t.Context()
	first := probe.Walk{Parts: 30, Since: map[string]int64{"192.0.2.7 tcp 1-65535": 1}}
	second := probe.Walk{Parts: 7, Since: map[string]int64{"192.0.2.8 tcp 1-65535": 2}}
	x.commit(casework.Change{At: 10, Walks: map[string]probe.Walk{"outside": first, "inside": first}})
	x.commit(casework.Change{At: 20, Walks: map[string]probe.Walk{"outside": second}})
	for vantage, want := range map[string]probe.Walk{"outside": second, "inside": first, "nowhere": {Since: map[string]int64{}}} {
		if got := got[probe.Walk](x)(x.Walk(ctx, vantage)); got.Parts != want.Parts || !maps.Equal(got.Since, want.Since) {
			t.Errorf("%s: %+v", vantage, got)
		}
	}
	for n, c := range []probe.Coverage{{Complete: true}, {}, {Complete: true}, {Complete: true, Vantage: "inside"}, {Complete: true, Purpose: probe.Control}} {
		c.Shard, c.Cloud, c.Cycle, c.Began, c.Ended = "s", "cloud", int64(n+1), int64(n), int64(n)
		c.Vantage, c.Purpose = cmp.Or(c.Vantage, "outside"), cmp.Or(c.Purpose, probe.Reach)
		x.commit(casework.Change{At: int64(30 + n), Coverage: []probe.Coverage{c}})
	}
	if got := got[[]int64](x)(x.Rounds(ctx, "cloud", "outside", probe.Reach, 9)); !slices.Equal(got, []int64{3, 1}) {
		t.Errorf("the rounds are %v", got)
	}
	if got := got[[]int64](x)(x.Rounds(ctx, "cloud", "outside", probe.Reach, 1)); !slices.Equal(got, []int64{3}) {
		t.Errorf("the last round is %v", got)
	}
}

// Counts of a project stand until the next ones.
func standings(t *testing.T, e Engine) {
	x, ctx := begin(t, e), t.Context()
	var all []casework.Standing
	for at := range int64(4) {
		s := casework.Standing{Cloud: "cloud", Vantage: "outside", Project: "p1", At: 10 * (at + 1), OpenAnswers: int(at)}
		o := s
		o.Project, o.At = "p2", 10
		x.commit(casework.Change{At: s.At, Standings: []casework.Standing{s, o}})
		all = append(all, s)
	}
	for since, want := range map[int64][]casework.Standing{0: all, 10: all, 11: all, 20: all[0:], 25: all[1:], 40: all[2:], 99: all[3:]} {
		if s := got[[]casework.Standing](x)(x.Standings(ctx, operator, "cloud", "p1", since)); !slices.Equal(s, want) {
			t.Errorf("since %d: %+v", since, s)
		}
	}
	if s := got[[]casework.Standing](x)(x.Standings(ctx, operator, "", "", 99)); len(s) != 2 {
		t.Errorf("%+v", s)
	}
	other := casework.Standing{Cloud: "cloud", Vantage: "inside", Project: "p1", At: 70, Unsure: 1}
	abroad := casework.Standing{Cloud: "elsewhere", Vantage: "outside", Project: "p0", At: 80}
	third := casework.Standing{Cloud: "cloud", Vantage: "outside", Project: "p10", At: 5}
	x.commit(casework.Change{At: 80, Standings: []casework.Standing{other, abroad, third}})
	for at, want := range map[[2]string][]casework.Standing{
		{"cloud", "outside"}:     {all[3], third, {Cloud: "cloud", Vantage: "outside", Project: "p2", At: 10, OpenAnswers: 3}},
		{"cloud", "inside"}:      {other},
		{"elsewhere", "outside"}: {abroad},
		{"elsewhere", "inside"}:  nil,
	} {
		if s := got[[]casework.Standing](x)(x.LastStandings(ctx, at[0], at[1])); !slices.Equal(s, want) {
			t.Errorf("the last of %v: %+v", at, s)
		}
	}
}
