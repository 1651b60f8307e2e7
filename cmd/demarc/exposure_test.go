package main

import (
	"context"
	"math"
	"net/netip"
	"slices"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/probe"
	"demarc/internal/reach"
	"demarc/internal/serve"
)

// looks is a ledger that counts how often it is asked.
type looks struct {
	queue []casework.Ask
	asked map[string]int
}

func (l looks) OpenExposures(context.Context, string) ([]probe.Exposure, error) {
	l.asked["exposures"]++
	return nil, nil
}

func (l looks) Queue(context.Context, string, int) ([]casework.Ask, error) {
	l.asked["queue"]++
	return slices.Clone(l.queue), nil
}

func (l looks) LastSweep(context.Context, string, string, probe.Purpose) (probe.Coverage, error) {
	l.asked["sweep"]++
	return probe.Coverage{Ended: 1}, nil
}

func (l looks) Walk(context.Context, string) (probe.Walk, error) { return probe.Walk{}, nil }

func (l looks) Rounds(context.Context, string, string, probe.Purpose, int) ([]int64, error) {
	return []int64{1}, nil
}

// What waits is read once for a vantage point, however many clouds it looks at, and keeps back the advice on what it overlaps, there alone.
func TestWhatWaitsIsReadOnceForAVantagePoint(t *testing.T) {
	var xs []*asset.Index
	for _, c := range []string{"a", "b", "c"} {
		in := inventoryAt(0, "port-2").Inventory.Snapshot
		in.Cloud = c
		xs = append(xs, asset.NewIndex(in))
	}
	l := looks{asked: map[string]int{}, queue: []casework.Ask{{Addr: netip.MustParseAddr("192.0.2.10"), Proto: probe.TCP, First: 22, Last: 22}, {Addr: netip.MustParseAddr("192.0.2.11"), Proto: probe.TCP, First: 1, Last: 65535}}}
	source := netip.MustParseAddr("198.51.100.10")
	rows, err := exposures(t.Context(), l, xs, serve.Viewpoint{Name: "outside", View: reach.View{Zone: probe.Internet, Scanners: []netip.Addr{source}, Prefixes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}})
	if err != nil {
		t.Fatal(err)
	}
	if l.asked["queue"] != 1 || l.asked["exposures"] != 1 || l.asked["sweep"] != len(xs) {
		t.Errorf("the ledger was asked %v", l.asked)
	}
	waits := 0
	for _, r := range rows {
		if (r.Observed == "not asked yet") != (r.First == 22) {
			t.Errorf("%s %d-%d: %s", r.Cloud, r.First, r.Last, r.Observed)
		}
		if r.First == 22 {
			waits++
		}
	}
	if waits != len(xs) {
		t.Errorf("%d rows wait of %+v", waits, rows)
	}
}

// wideRun is a ledger in which two ports of a wide run answer, after so many complete sweeps.
type wideRun struct {
	looks
	rounds []int64
}

func (w wideRun) OpenExposures(context.Context, string) ([]probe.Exposure, error) {
	at := func(port uint16) probe.Exposure {
		return probe.Exposure{Endpoint: probe.Endpoint{Addr: netip.MustParseAddr("192.0.2.10"), Proto: probe.TCP, Port: port}, OpenedAt: 1}
	}
	return []probe.Exposure{at(6379), at(6380), at(23)}, nil
}

func (w wideRun) Walk(context.Context, string) (probe.Walk, error) {
	return probe.Walk{Parts: 30, Since: map[string]int64{"192.0.2.10 tcp 1-65535": 3}}, nil
}

func (w wideRun) Rounds(context.Context, string, string, probe.Purpose, int) ([]int64, error) {
	return w.rounds, nil
}

// No port of a wide run disappears from the list because another one answers, and the list says how much of it was probed.
func TestAWideRunIsListedWhole(t *testing.T) {
	for probed, rounds := range map[string][]int64{"nothing": {1, 2}, "a part": {2, 3, 4}, "all": {}} {
		if probed == "all" {
			for n := range int64(30) {
				rounds = append(rounds, 3+n)
			}
		}
		in := inventoryAt(0, "port-1").Inventory.Snapshot
		in.Groups[0].Rules = []asset.Rule{{ID: "wide", Group: in.Groups[0].ID, Direction: asset.Ingress, EtherType: 4, Protocol: "tcp", PortMin: 1, PortMax: 65535}}
		rows, err := exposures(t.Context(), wideRun{looks{asked: map[string]int{}}, rounds}, []*asset.Index{asset.NewIndex(in)}, serve.Viewpoint{Name: "outside",
			View: reach.View{Zone: probe.Internet, Scanners: []netip.Addr{netip.MustParseAddr("198.51.100.10")}, Prefixes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}})
		if err != nil {
			t.Fatal(err)
		}
		ports, next, done := 0, 1, 0
		for _, r := range rows {
			if int(r.First) != next || r.Ports != int(r.Last)-int(r.First)+1 {
				t.Errorf("%s: a row %d-%d where %d is next, of %d ports", probed, r.First, r.Last, next, r.Ports)
			}
			ports, next, done = ports+r.Ports, int(r.Last)+1, done+r.Probed
			want := map[string]string{"nothing": "not asked yet", "a part": "nothing seen", "all": "nothing listens"}[probed]
			if r.Observed != "answers" && r.Observed != want {
				t.Errorf("%s: %d-%d is %q", probed, r.First, r.Last, r.Observed)
			}
		}
		if len(rows) != 6 || ports != 65535 || (done == 65535) != (probed == "all") || (done == 3) != (probed == "nothing") {
			t.Errorf("%s: %d rows of %d ports, %d probed", probed, len(rows), ports, done)
		}
	}
}

// Runs that overlap, touch or hold one another are found by either end, as by looking at each of them.
func TestWhatWaitsIsFoundByItsPlace(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	queue := []casework.Ask{{Addr: a, Proto: probe.TCP, First: 10, Last: 30}, {Addr: a, Proto: probe.TCP, First: 12, Last: 15}, {Addr: a, Proto: probe.TCP, First: 30, Last: 40},
		{Addr: a, Proto: probe.TCP, First: 0, Last: 0}, {Addr: a, Proto: probe.TCP, First: 50, Last: math.MaxUint16}, {Addr: a, Proto: probe.UDP, First: 45, Last: 45}, {Addr: b, Proto: probe.TCP, First: 20, Last: 20}}
	w := waitingOf(slices.Clone(queue))
	for _, at := range []place{{a, probe.TCP}, {a, probe.UDP}, {b, probe.TCP}, {b, probe.UDP}} {
		for first := range uint16(60) {
			for _, last := range []uint16{first, first + 1, first + 7, math.MaxUint16} {
				want := slices.ContainsFunc(queue, func(q casework.Ask) bool {
					return q.Addr == at.addr && q.Proto == at.proto && q.First <= last && first <= q.Last
				})
				if got := w.any(at, first, last); got != want {
					t.Errorf("%v %d-%d: %t", at, first, last, got)
				}
			}
		}
	}
}
