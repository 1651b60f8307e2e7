package serve_test

import (
	"context"
	"slices"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/cloud"
	"demarc/internal/flow"
	"demarc/internal/lab"
)

// An owner who fixes what the machine was disconnected for, leaves a milder weakness, and undoes the quarantine, does not get the machine
// back with what it was disconnected for: the case says that it is off the network, and it is.
func TestMilderWeaknessThatIsLeftFreesNoMachine(t *testing.T) {
	t.Parallel()
	s := town()
	for i := range s.Groups {
		if s.Groups[i].Name == "cache" && s.Groups[i].Project == "astro" {
			s.Groups[i].Rules = append(slices.Clone(s.Groups[i].Rules), lab.Rule{Proto: "tcp", Min: 22022, Max: 22022, Remote: everywhere})
		}
	}
	s.Servers[0].Services = []lab.Service{
		{Name: "redis", Kind: lab.Redis, Port: 6379},
		{Name: "ssh", Kind: lab.SSH, Port: 22022, Banner: "SSH-2.0-OpenSSH_7.9p1 Debian-10+deb10u2"}, // an old release, by its own words
	}
	e := open(t, plot{scenario: s})
	e.restrict()
	e.must(e.w.StopService("cache-1", "redis"))
	e.after(3 * day) // its fix is proven by the daily check, and the old release keeps the machine off the network
	e.quarantined("cache-1")
	e.must(e.w.TenantSetGroups("cache-1", "cache"))
	e.after(2 * day)
	e.must(e.w.StartService("cache-1", "redis"))
	e.after(4 * day)
	c := e.theCase("cache-1")
	t.Logf("the case is %s, of class %s, undone %d times", c.State, c.Class, c.Tampers)
	for _, f := range e.findingsOf("cache-1") {
		t.Logf("%s is %s (%s, %s)", f.Key.Check, f.State, f.Class, f.Grade)
	}
	e.quarantined("cache-1")
}

// beforeSync is a reader of the cloud before each whole reading of which something happens.
type beforeSync struct {
	cloud.Reader
	do func()
}

func (r beforeSync) Snapshot(ctx context.Context, now func() int64) (*asset.Snapshot, error) {
	r.do()
	return r.Reader.Snapshot(ctx, now)
}

// An owner whose script undoes the quarantine at once, each time, holds up no other work: checks, deadlines and sweeps that are due
// are done.
func TestUndoingAtOnceHoldsUpNoOtherCheck(t *testing.T) {
	t.Parallel()
	script := false
	e := open(t, plot{wrap: func(e *exam, c *flow.Config) {
		c.Reader = beforeSync{c.Reader, func() {
			if script {
				e.must(e.w.TenantSetGroups("cache-1", "cache")) // it polls its port, and is faster than a reading of the whole cloud
				e.clock.LeapTo(e.clock.Now() + 2_000_000)       // which takes two seconds
			}
		}}
	}})
	e.restrict()
	e.untilIdle()
	script = true
	e.clock.LeapTo(e.clock.Now() + 2*day) // the sweep and the daily check of cache-1 are due
	looked, put := e.count("", "looked.vulnerable"), len(e.acts("cache-1"))
	steps := 0
	for steps < 80 && e.step() {
		steps++
	}
	if n := len(e.acts("cache-1")) - put; n > 10 && e.count("", "looked.vulnerable") == looked {
		t.Errorf("in %d steps the quarantine of cache-1 was put back %d times, and nothing was checked", steps, n)
	}
}
