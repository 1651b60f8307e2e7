package serve_test

import (
	"slices"
	"testing"
)

// A machine that is switched on between two whole readings is probed within the hour, at what its rules have long opened: nobody waits for
// the next sweep.
func TestAMachineThatIsSwitchedOnIsProbedAtOnce(t *testing.T) {
	t.Parallel()
	p := hourly()
	p.scenario.Servers[0].Status = "SHUTOFF"
	p.scenario.Groups = slices.Clone(p.scenario.Groups)
	for i := range p.scenario.Groups {
		if g := &p.scenario.Groups[i]; g.Name == "cache" && g.Project == "astro" {
			g.Rules = append(slices.Clone(g.Rules), second)
		}
	}
	e := open(t, p)
	e.untilIdle()
	e.after(3 * hour)
	if n, fs := e.count("", "endpoints.opened"), e.findingsOf("cache-1"); n != 0 || len(fs) != 0 {
		t.Fatalf("of a machine that is off %d times something is opened, and found is %+v", n, fs)
	}
	rounds, at := e.rounds(), e.clock.Now()
	e.must(e.w.StartServer("cache-1"))
	e.steps("found", func() bool { return len(e.findingsOf("cache-1")) > 0 })
	if took := e.clock.Now() - at; took > hour || e.rounds() != rounds {
		t.Errorf("after %d minutes, with readings and sweeps %v, before %v", took/minute, e.rounds(), rounds)
	}
	e.foundSecond()
	e.noErrors()
}
