package flow

import (
	"fmt"
	"net/netip"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/plan"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// waitingRuns is so many runs of a project, each of so many ports.
func waitingRuns(project asset.ProjectID, net byte, runs, ports int) []casework.Ask {
	out := make([]casework.Ask, runs)
	for i := range out {
		out[i] = casework.Ask{Project: project, Addr: netip.AddrFrom4([4]byte{192, 0, net, byte(i)}), Proto: probe.TCP, First: 1, Last: uint16(ports)}
	}
	return out
}

// Who opens all there is does not fill a step: each of the others gets what he waits for, or as many endpoints.
func TestAStepIsSharedByProjects(t *testing.T) {
	t.Parallel()
	all := func(a casework.Ask) []probe.Endpoint {
		return plan.Expand(reach.Range{Addr: a.Addr, Proto: a.Proto, First: a.First, Last: a.Last}, 0, nil)
	}
	for name, c := range map[string]struct {
		asks []casework.Ask
		want string
	}{
		"one alone":                      {waitingRuns("loud", 1, 9, 300), "map[loud:1200]"},
		"one waits with a run":           {append(waitingRuns("loud", 1, 100, 1000), waitingRuns("quiet", 2, 1, 1)...), "map[loud:2000 quiet:1]"},
		"one waits with many small runs": {append(waitingRuns("loud", 1, 100, 1000), waitingRuns("quiet", 2, 90, 10)...), "map[loud:2000 quiet:900]"},
		"all open much":                  {append(append(waitingRuns("a", 1, 9, 600), waitingRuns("b", 2, 9, 600)...), waitingRuns("c", 3, 9, 600)...), "map[a:1200 b:1200 c:1200]"},
		"more than a step holds":         {append(append(append(waitingRuns("a", 1, 9, 1024), waitingRuns("b", 2, 9, 1024)...), waitingRuns("c", 3, 9, 1024)...), append(waitingRuns("d", 4, 9, 1024), waitingRuns("e", 5, 9, 1024)...)...), "map[a:1024 b:1024 c:1024 d:1024]"},
	} {
		got := share(c.asks, all)
		had, last := map[asset.ProjectID]int{}, map[asset.ProjectID]netip.Addr{}
		for _, a := range got.asks {
			had[a.Project] += int(a.Last-a.First) + 1
			if last[a.Project].IsValid() && !last[a.Project].Less(a.Addr) {
				t.Errorf("%s: %s is asked after %s", name, a.Addr, last[a.Project])
			}
			last[a.Project] = a.Addr
		}
		n := 0
		for _, h := range had {
			n += h
		}
		if fmt.Sprint(had) != c.want || len(got.targets) != n {
			t.Errorf("%s: %v and %d endpoints, want %s", name, had, len(got.targets), c.want)
		}
	}
}

// What was shut again is struck off in one go, and of a wide run it is told that a sample was asked.
func TestAStepStrikesOffWhatIsShut(t *testing.T) {
	t.Parallel()
	asks := append(waitingRuns("shut", 1, 200, 1000), waitingRuns("wide", 2, 2, 65535)...)
	got := share(asks, func(a casework.Ask) []probe.Endpoint {
		if a.Project == "shut" {
			return nil
		}
		return []probe.Endpoint{{Addr: a.Addr, Proto: a.Proto, Port: 22}}
	})
	if len(got.asks) != len(asks) || len(got.targets) != 2 || got.wide != 2 {
		t.Errorf("%d runs, %d endpoints, %d wide", len(got.asks), len(got.targets), got.wide)
	}
}
