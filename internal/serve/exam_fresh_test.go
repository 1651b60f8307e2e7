package serve_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/cloud"
	"demarc/internal/flow"
	"demarc/internal/lab"
	"demarc/internal/policy"
	"demarc/internal/probe"
)

// second is the rule behind which cache-1 has a Redis that wants no password.
var second = lab.Rule{Proto: "tcp", Min: 6380, Max: 6380, Remote: everywhere}

// hourly is a town with nothing to find, until second is added: the cloud is read whole every forty days, and what changes often every
// hour.
func hourly(more ...string) plot {
	s := town()
	s.Servers[0].Services = []lab.Service{{Name: "redis", Kind: lab.Redis, Port: 6379, Mode: "requirepass"}, {Name: "second", Kind: lab.Redis, Port: 6380}}
	return plot{scenario: s, policy: append([]string{"sweep_every: 2d", "sweep_every: 40d", "inventory_every: 2d", "inventory_every: 40d", "recent_every: 50d", "recent_every: 1h"}, more...)}
}

// rounds counts the whole readings and the sweeps so far.
func (e *exam) rounds() [2]int {
	return [2]int{e.count("", "inventory.read"), e.count("", "sweep.planned")}
}

// addSecond opens the port.
func (e *exam) addSecond() {
	e.t.Helper()
	_, err := e.w.TenantAddRule("astro", "cache", second)
	e.must(err)
}

// steps goes on, one due thing after the other, until something holds, also where more is due.
func (e *exam) steps(what string, holds func() bool) {
	e.t.Helper()
	for range 500 {
		if holds() {
			return
		}
		if !e.step() {
			due, err := e.d.Line.NextDue(e.t.Context())
			e.must(err)
			e.clock.LeapTo(due)
		}
	}
	e.t.Fatalf("not: %s; last\n%s", what, strings.Join(e.last(15), "\n"))
}

// foundSecond asserts that the weakness behind the port is known.
func (e *exam) foundSecond() {
	e.t.Helper()
	fs := e.findingsOf("cache-1")
	if len(fs) != 1 || fs[0].Endpoint.Port != 6380 || fs[0].Key.Check != "redis-unauth" {
		e.t.Fatalf("%d findings: %+v; last\n%s", len(fs), fs, strings.Join(e.last(15), "\n"))
	}
}

func (e *exam) queue() []casework.Ask {
	e.t.Helper()
	asks, err := e.d.DB.Queue(e.t.Context(), "internet", 99)
	e.must(err)
	return asks
}

// A port that is opened between two whole readings is read, probed and found within the hour, and no other is asked.
func TestWhatIsOpenedIsProbedAtOnce(t *testing.T) {
	t.Parallel()
	e := open(t, hourly())
	e.untilIdle()
	before := e.rounds()
	var asked []probe.Endpoint
	e.onProbe(func(s probe.Shard, after bool) {
		if s.Purpose == probe.Opened && !after {
			asked = append(asked, s.Targets...)
		}
	})
	e.after(3 * hour)
	if len(asked) != 0 || e.count("", "inventory.recent") != 0 {
		t.Fatalf("nothing changed, and %v is asked", asked)
	}
	e.addSecond()
	at := e.clock.Now()
	e.steps("found", func() bool { return len(e.findingsOf("cache-1")) > 0 })
	if took := e.clock.Now() - at; took > hour || e.rounds() != before {
		t.Errorf("after %d minutes, with readings and sweeps %v, before %v", took/minute, e.rounds(), before)
	}
	e.foundSecond()
	if want := e.w.At(place("127.77.1.10")); len(asked) != 1 || asked[0].Addr != want || asked[0].Port != 6380 || len(e.queue()) != 0 {
		t.Errorf("asked %v, and %v waits", asked, e.queue())
	}
	e.noErrors()
}

// What waits to be probed waits over a restart.
func TestTheQueueSurvivesARestart(t *testing.T) {
	t.Parallel()
	e := open(t, hourly())
	e.untilIdle()
	e.addSecond()
	e.steps("queued", func() bool { return e.count("", "endpoints.opened") > 0 })
	if n, q := len(e.findingsOf("cache-1")), e.queue(); n != 0 || len(q) != 1 || q[0].Project != asset.ProjectID(e.w.ProjectID("astro")) {
		t.Fatalf("%d findings, %v waits", n, q)
	}
	before := e.rounds()
	e.restart()
	e.steps("found", func() bool { return len(e.findingsOf("cache-1")) > 0 })
	e.foundSecond()
	if e.rounds() != before || len(e.queue()) != 0 {
		t.Errorf("readings and sweeps %v, before %v; %v waits", e.rounds(), before, e.queue())
	}
	e.noErrors()
}

// Of a machine that is opened whole a sample is asked, as in a sweep: it is struck off, and the record of the round says what was asked.
func TestAWideRunIsAskedAtASample(t *testing.T) {
	t.Parallel()
	e := open(t, hourly())
	e.untilIdle()
	_, err := e.w.TenantAddRule("astro", "cache", lab.Rule{Proto: "tcp", Min: 1, Max: 65535, Remote: everywhere})
	e.must(err)
	e.steps("asked", func() bool { return e.count("", "endpoints.opened") > 0 && len(e.queue()) == 0 })
	c, ok, err := e.d.DB.LastCoverage(t.Context(), "sweep", "lab", "internet", probe.Opened)
	if err != nil || !ok || !strings.Contains(c.Note, "2 runs of more than 1024 ports were asked at the known ports and a sample") {
		t.Errorf("%+v, %v", c, err)
	}
	e.noErrors()
}

// A netblock is probed since the first sweep after it was declared, which the one before it was not.
func TestItIsKnownSinceWhenANetblockIsProbed(t *testing.T) {
	t.Parallel()
	added := netip.MustParsePrefix("198.51.100.0/24")
	var later atomic.Bool
	p := plot{}
	p.wrap = func(_ *exam, c *flow.Config) {
		if later.Load() {
			c.Netblocks = append(slices.Clone(c.Netblocks), policy.Netblock{CIDR: added, Holder: "provider"})
		}
	}
	e := open(t, p)
	e.untilIdle()
	blocks := func() map[netip.Prefix]int64 {
		b, err := e.d.DB.Blocks(t.Context(), "internet")
		e.must(err)
		return b
	}
	first, swept := blocks(), e.rounds()[1]
	last, err := e.d.DB.LastSweep(t.Context(), "lab", "internet", probe.Reach)
	e.must(err)
	if len(first) == 0 || first[added] != 0 || last.Ended == 0 {
		t.Fatalf("since %v, swept %+v", first, last)
	}
	later.Store(true)
	e.restart()
	e.steps("swept again", func() bool { return e.rounds()[1] > swept && blocks()[added] != 0 })
	now := blocks()
	if now[added] <= last.Ended || len(now) != len(first)+1 {
		t.Errorf("since %v, before %v; the sweep before ended at %d", now, first, last.Ended)
	}
	for b, at := range first {
		if now[b] != at {
			t.Errorf("%s is probed since %d, and was since %d", b, now[b], at)
		}
	}
}

// What was shut again before its turn came is not asked, and waits no more.
func TestWhatIsShutAgainIsNotAsked(t *testing.T) {
	t.Parallel()
	e := open(t, hourly())
	e.untilIdle()
	e.addSecond()
	e.steps("queued", func() bool { return e.count("", "endpoints.opened") > 0 })
	e.must(e.w.TenantRemoveRule("astro", "cache", second))
	probed := false
	e.onProbe(func(s probe.Shard, _ bool) { probed = probed || s.Purpose == probe.Opened })
	e.clock.LeapTo(e.clock.Now() + 2*hour) // what changes often is read first
	e.untilIdle()
	if probed || len(e.queue()) != 0 || len(e.findingsOf("cache-1")) != 0 {
		t.Errorf("probed %t, waiting %v, findings %v", probed, e.queue(), e.findingsOf("cache-1"))
	}
	e.noErrors()
}

// A process that starts anew goes on from what it knew: what was opened meanwhile is probed within the hour, and where nothing was,
// nothing is swept.
func TestARestartKnowsWhatWasOpen(t *testing.T) {
	t.Parallel()
	e := open(t, hourly())
	e.untilIdle()
	before := e.rounds()
	e.restart()
	e.after(2 * hour)
	if e.rounds() != before || e.count("", "endpoints.opened") != 0 {
		t.Fatalf("nothing changed, and after the restart %v, before %v", e.rounds(), before)
	}
	at, err := e.d.DB.Clock(t.Context())
	e.must(err)
	e.stop()
	e.addSecond()
	e.clock = flow.NewLeaping(at)
	e.start()
	e.steps("found", func() bool { return len(e.findingsOf("cache-1")) > 0 })
	e.foundSecond()
	if e.rounds() != before {
		t.Errorf("readings and sweeps %v, before %v", e.rounds(), before)
	}
	e.noErrors()
}

// cutLedger refuses to write down what waits to be probed, or what was probed, while it is told to.
type cutLedger struct {
	flow.Ledger
	queue, coverage *atomic.Bool
}

func (l cutLedger) Commit(ctx context.Context, c casework.Change) error {
	if len(c.Queue) > 0 && l.queue.Load() || len(c.Coverage) > 0 && l.coverage.Load() {
		return errors.New("the disk is full")
	}
	return l.Ledger.Commit(ctx, c)
}

// Between the reading and what it opens the process may die, or the database may not write: nothing of it is lost. Where nobody knows
// any more what could be asked before, all is swept, and at once; a process that dies in that sweep does so after the next start.
func TestWhatWasReadAndNotQueuedIsNotLost(t *testing.T) {
	t.Parallel()
	for name, restarts := range map[string]int{"it goes on": 0, "it dies": 1, "it dies twice": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			queue, coverage := &atomic.Bool{}, &atomic.Bool{}
			p := hourly()
			p.wrap = func(_ *exam, c *flow.Config) { c.Ledger = cutLedger{c.Ledger, queue, coverage} }
			e := open(t, p)
			e.untilIdle()
			queue.Store(true)
			e.addSecond()
			e.steps("the queue fails", func() bool { return len(e.errs) == 1 })
			if restarts == 2 {
				coverage.Store(true)
				e.restart()
				e.steps("the sweep fails", func() bool { return len(e.errs) == 2 })
				coverage.Store(false)
			}
			if restarts > 0 {
				e.restart()
			}
			queue.Store(false)
			at, swept := e.clock.Now(), e.rounds()[1]
			e.steps("found", func() bool { return len(e.findingsOf("cache-1")) > 0 })
			e.foundSecond()
			if took, n := e.clock.Now()-at, e.rounds()[1]-swept; took > 2*minute || n != min(restarts, 1) {
				t.Errorf("found after %d minutes and %d sweeps", took/minute, n)
			}
			e.untilIdle()
			swept = e.rounds()[1]
			e.restart()
			e.after(2 * hour)
			if n := e.rounds()[1] - swept; n != 0 {
				t.Errorf("%d sweeps after one more restart", n)
			}
		})
	}
}

// A reading of what changes often removes nothing: a machine that was deleted is shown to be off, and neither a whole reading nor a fix
// follows from it.
func TestARecentReadingRemovesNothing(t *testing.T) {
	t.Parallel()
	e := open(t, hourly())
	e.untilIdle()
	before, err := e.d.DB.Snapshot(t.Context(), "lab", 0)
	e.must(err)
	full, _, err := e.d.DB.LastCoverage(t.Context(), "inventory", "lab", "", "")
	e.must(err)
	gate := asset.ServerID(e.w.ServerID("gate-1"))
	e.must(e.w.DeleteServer("gate-1"))
	e.after(3 * hour)
	now, err := e.d.DB.Snapshot(t.Context(), "lab", 0)
	e.must(err)
	if len(now.Servers) != len(before.Servers) || len(now.Ports) != len(before.Ports) || len(now.FloatingIPs) != len(before.FloatingIPs) {
		t.Errorf("%d servers, %d ports, %d floating IPs; before %d, %d, %d", len(now.Servers), len(now.Ports), len(now.FloatingIPs), len(before.Servers), len(before.Ports), len(before.FloatingIPs))
	}
	if s := asset.NewIndex(now).Servers[gate]; s == nil || s.Status != "DELETED" || s.Active() {
		t.Errorf("the deleted machine is %+v", s)
	}
	if c, _, err := e.d.DB.LastCoverage(t.Context(), "inventory", "lab", "", ""); err != nil || c.RealAt != full.RealAt {
		t.Errorf("it counts as a whole reading: %+v, %v", c, err)
	}
	e.noErrors()
}

// cutOnce is a reader whose second whole reading is cut after a minute, and goes on when it is asked again, for another minute.
type cutOnce struct {
	cloud.Reader
	e     *exam
	calls *atomic.Int64
	began *atomic.Int64
}

func (r cutOnce) Snapshot(ctx context.Context, now func() int64) (*asset.Snapshot, error) {
	switch r.calls.Add(1) {
	case 2:
		r.began.Store(now())
		r.e.clock.LeapTo(now() + minute)
		return nil, errors.Join(errors.New("the cloud hangs up"), r.e.d.DB.KeepPage(ctx, asset.Page{Cloud: "lab", Account: "a", Listing: "ports", Began: r.began.Load(), At: now(), Rows: []byte("[]")}))
	case 3:
		s, err := r.Reader.Snapshot(ctx, now)
		if err == nil {
			r.e.clock.LeapTo(now() + minute)
			s.Began, s.Ended = r.began.Load(), now()
		}
		return s, err
	}
	return r.Reader.Snapshot(ctx, now)
}

// The next whole reading is not put off by the time in which nobody read.
func TestAReadingThatWasCutIsAsLongAsItTook(t *testing.T) {
	t.Parallel()
	p := hourly("inventory_every: 40d", "inventory_every: 1h")
	var calls, began atomic.Int64
	p.wrap = func(e *exam, c *flow.Config) { c.Reader = cutOnce{c.Reader, e, &calls, &began} }
	e := open(t, p)
	e.steps("cut", func() bool { return calls.Load() == 2 })
	e.clock.LeapTo(e.clock.Now() + 14*minute)
	e.steps("gone on", func() bool { return calls.Load() == 3 })
	c, _, err := e.d.DB.LastCoverage(t.Context(), "inventory", "lab", "", "")
	e.must(err)
	if c.Began != began.Load() || c.Ended-c.Began < 16*minute || c.Took < 2*minute || c.Took >= 3*minute {
		t.Errorf("it took %d of %d minutes", c.Took/minute, (c.Ended-c.Began)/minute)
	}
	e.after(58 * minute)
	if n := calls.Load(); n != 3 {
		t.Errorf("%d readings before the hour", n)
	}
	e.after(3 * minute)
	if n := calls.Load(); n != 4 {
		t.Errorf("%d readings after the hour", n)
	}
}

// The counts of a project get a row when they change, and only then; each says how what answers stands to the rules.
func TestStandings(t *testing.T) {
	t.Parallel()
	s := town()
	s.Servers[0].Services = []lab.Service{{Name: "redis", Kind: lab.Redis, Port: 6379, Mode: "requirepass"}}
	s.Groups = slices.Clone(s.Groups)
	for i := range s.Groups {
		if g := &s.Groups[i]; g.Name == "cache" && g.Project == "astro" {
			g.Rules = append(slices.Clone(g.Rules), lab.Rule{Proto: "tcp", Min: 8080, Max: 8090, Remote: everywhere})
		}
	}
	hidden := machine("hidden", "genomics", "bea", "scan-me", "127.77.1.55", lab.Service{Kind: lab.Redis, Port: 6379})
	hidden.NICs[0].Addr = place("10.0.0.90")
	leaky := machine("leaky", "teaching", "carol", "closed", "127.77.1.50", lab.Service{Kind: lab.Postgres, Port: 5432, Mode: "trust", Leak: true})
	leaky.NICs[0].Addr = place("10.0.0.91")
	s.Servers = append(s.Servers, hidden, leaky)
	e := open(t, plot{scenario: s, config: []string{"sample: {control: 6}", "sample: {control: 400}"}, policy: []string{"sweep_every: 2d", "sweep_every: 1d"}})
	e.untilIdle()
	rows := func(project string, since int64) []casework.Standing {
		ss, err := e.d.DB.Standings(t.Context(), access.Operator(), "lab", asset.ProjectID(e.w.ProjectID(project)), since)
		e.must(err)
		return ss
	}
	for project, want := range map[string]casework.Standing{
		"astro": {OpenAnswers: 1, OpenSilent: 1}, "genomics": {OpenAnswers: 1, ScannerOnly: 1}, "teaching": {DeniedAnswers: 1},
	} {
		ss := rows(project, 0)
		if len(ss) != 1 {
			t.Fatalf("%s has %d rows: %+v; last\n%s", project, len(ss), ss, strings.Join(e.last(20), "\n"))
		}
		want.Cloud, want.Vantage, want.Project, want.At = ss[0].Cloud, "internet", ss[0].Project, ss[0].At
		if !ss[0].Same(want) {
			t.Errorf("%s: %+v", project, ss[0])
		}
		if project == "teaching" && ss[0].DeniedSilent == 0 {
			t.Error("of what is denied nothing was asked")
		}
	}
	for _, f := range e.findingsOf("hidden") {
		t.Errorf("what answers the scanner alone is a finding: %+v", f)
	}
	e.after(3 * day)
	for _, p := range []string{"astro", "genomics", "teaching"} {
		if ss := rows(p, 0); len(ss) != 1 {
			t.Errorf("nothing changed, and %s has %d rows: %+v", p, len(ss), ss)
		}
	}
	e.must(e.w.TenantRemoveRule("astro", "cache", lab.Rule{Proto: "tcp", Min: 8080, Max: 8090, Remote: everywhere}))
	e.after(day)
	if ss := rows("astro", 0); len(ss) != 2 || ss[1].OpenSilent != 0 || ss[1].OpenAnswers != 1 || len(rows("genomics", 0)) != 1 {
		t.Errorf("after a rule is gone: %+v", ss)
	}
	e.untouched()
}
