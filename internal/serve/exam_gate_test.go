package serve_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/cloud"
	"demarc/internal/fault"
	"demarc/internal/flow"
	"demarc/internal/lab"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/serve"
)

// At the gate: everything is ready and approved, and one thing is not as it should be. Nothing may happen to any port, and the
// operators are told why. Ground truth is the cloud's own log of changes.
func TestTheGateRefusesOnTheLine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		plot    plot
		arrange func(*exam) // after the case is queued, before it is approved
		after   func(*exam) // after it is approved
		says    string      // what the refusal must name; "" where there is no refusal to be seen
	}{
		"the switch is off": {
			arrange: func(e *exam) { e.must(e.d.Line.Pause(e.t.Context(), true, "olga", "")) },
			says:    "switch: enforcement is paused",
		},
		"the switch is thrown after the approval": {
			after: func(e *exam) { e.must(e.d.Line.Pause(e.t.Context(), true, "olga", "")) },
			says:  "switch: enforcement is paused",
		},
		"the cloud is not on this machine": {
			plot: plot{wrap: func(_ *exam, c *flow.Config) { c.Loopback = false }},
			says: "loopback: this release acts on clouds on 127.0.0.0/8 only",
		},
		"no account that may change the cloud": {
			plot: plot{wrap: func(_ *exam, c *flow.Config) { c.Actor = nil }},
			says: "actor: there is no account to act with",
		},
		"the mode is lowered before the approval": {
			arrange: func(e *exam) { e.setMode(policy.Notify) },
			says:    "mode: the mode in force is notify",
		},
		"the mode is lowered after the approval": {
			after: func(e *exam) { e.setMode(policy.Observe) },
			says:  "mode: the mode in force is observe",
		},
		"the mode is lowered while the cloud is read for the gate": {
			after: func(e *exam) {
				e.onProbe(func(_ probe.Shard, after bool) {
					if after {
						e.onProbe(nil)
						e.setMode(policy.Notify)
					}
				})
			},
			says: "mode: the mode in force is notify",
		},
		"the owner fixed it": {
			after: func(e *exam) { e.setPassword("cache-1") },
		},
		"the owner closed it": {
			after: func(e *exam) {
				e.must(e.w.TenantRemoveRule("astro", "cache", lab.Rule{Proto: "tcp", Min: 6379, Max: 6379, Remote: everywhere}))
			},
		},
		"the owner drops our packets": {
			after: func(e *exam) { e.must(e.w.BlockSource("cache-1", true)) },
			says:  "probe-fresh: the last look did not show it",
		},
		"the machine is stopped": {
			after: func(e *exam) { e.must(e.w.StopServer("cache-1")) },
		},
		"the machine is another project's": {
			after: func(e *exam) { e.must(e.w.TransferServer("cache-1", "genomics")) },
			says:  "identity: the server is in another project",
		},
		"the machine is deleted": {
			after: func(e *exam) { e.must(e.w.DeleteServer("cache-1")) },
		},
		"the listing of ports goes in a circle": {
			plot: plot{scenario: paged(3)},
			after: func(e *exam) {
				e.w.Plan(lab.Fault{Kind: lab.RepeatNext, Method: http.MethodGet, Path: "/networking/v2.0/ports", Query: "limit", Times: -1})
			},
			says: "inventory: the inventory is not healthy",
		},
		"the groups cannot be listed": {
			after: func(e *exam) {
				e.w.Plan(lab.Fault{Kind: lab.Answer, Status: 503, RetryAfter: "0", Method: http.MethodGet, Path: "/networking/v2.0/security-groups", Times: 40})
			},
			says: "inventory: the inventory is not healthy",
		},
		"port security is off": {
			plot: plot{scenario: func() lab.Scenario {
				s := town()
				s.Servers[0].NICs = append(s.Servers[0].NICs, lab.NIC{Network: "astro-net", Addr: place("10.0.0.77"), NoSecurity: true})
				return s
			}()},
			says: "has port security off",
		},
		"the machine is protected": {
			plot: plot{wrap: func(e *exam, c *flow.Config) {
				old := c.Protected
				c.Protected = func(s asset.Server) bool { return old(s) || string(s.ID) == e.w.ServerID("cache-1") }
			}},
			says: "protected: the machine is protected",
		},
		"the reading was cut and went on": {
			plot: plot{wrap: func(e *exam, c *flow.Config) { c.Reader = resumed{c.Reader, e} }},
			after: func(e *exam) {
				e.mu.Lock()
				defer e.mu.Unlock()
				e.cut = 16 * minute
			},
			says: "inventory: the inventory is 16m",
		},
		"no budget": {plot: plot{policy: []string{"cloud_per_day: 20", "cloud_per_day: 0"}}, says: "budget:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t, c.plot)
			e.until("queued", 10, e.inState("cache-1", casework.Queued))
			groups := e.groups("cache-1")
			if c.arrange != nil {
				c.arrange(e)
			}
			e.approve("cache-1")
			if c.after != nil {
				c.after(e)
			}
			e.untilIdle()
			e.after(2 * day)
			e.untouched()
			if e.w.ServerID("cache-1") != "" && !slices.EqualFunc(e.groups("cache-1"), groups, slices.Equal) {
				t.Errorf("groups are %v, were %v", e.groups("cache-1"), groups)
			}
			if e.count("", "act.intended") != 0 {
				t.Error("an act was intended")
			}
			if c.says == "" {
				return
			}
			if said := e.detail("", "gate.refused"); !strings.Contains(said, c.says) {
				t.Errorf("the gate said %q, want %q; last\n%s", said, c.says, strings.Join(e.last(20), "\n"))
			}
			refusals := slices.DeleteFunc(e.w.Mail.For(operators), func(m lab.Message) bool { return !strings.Contains(subject(t, m), "not carried out") })
			if len(refusals) == 0 {
				t.Error("the operators were not told")
			}
			if cs := e.casesOf("cache-1"); len(cs) == 1 && len(cs[0].Approvals) != 0 {
				t.Error("the approval outlived the refusal")
			}
		})
	}
}

// paged is a town whose cloud shows a few rows at a time.
func paged(rows int) lab.Scenario {
	s := town()
	s.PageMax = rows
	return s
}

// Without an approval nothing ever happens.
func TestWithoutApprovalNothingHappens(t *testing.T) {
	t.Parallel()
	e := open(t, plot{policy: []string{"sweep_every: 2d", "sweep_every: 10d", "inventory_every: 2d", "inventory_every: 10d"}})
	e.until("queued", 20, e.inState("cache-1", casework.Queued))
	e.leapTo(begins.UnixMicro() + 60*day)
	e.untouched()
	if c := e.theCase("cache-1"); c.State != casework.Queued {
		t.Errorf("the case is %s", c.State)
	}
	e.noErrors()
}

// Two cases of one machine: what the first has done to it, the second does not do again.
func TestAnotherCasesActStandsInTheWay(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.until("queued", 10, e.inState("cache-1", casework.Queued))
	c := e.theCase("cache-1")
	act := casework.Act{ID: "01980000-0000-7000-8000-000000000001", Case: "01980000-0000-7000-8000-000000000002", Cloud: c.Cloud, Server: c.Server, Project: c.Project,
		Kind: casework.ActQuarantine, State: casework.ActDone, IntendedAt: e.clock.Now() - 3*day, RealAt: e.clock.Real()}
	e.must(e.d.DB.Commit(t.Context(), casework.Change{At: e.clock.Now(), Acts: []casework.Act{act}}))
	e.approve("cache-1")
	e.untilIdle()
	if said := e.detail("cache-1", "gate.refused"); !strings.Contains(said, "another case has an act on this server") {
		t.Errorf("the gate said %q", said)
	}
	e.untouched()
}

// Three machines of one project, approved in one go: over budget, none of it happens.
func TestABatchOverBudgetDoesNothing(t *testing.T) {
	t.Parallel()
	s := town()
	for i := range 3 {
		m := machine(fmt.Sprintf("farm-%d", i), "compute", "elena", "cache", fmt.Sprintf("127.77.2.%d", i+1), lab.Service{Kind: lab.Redis, Port: 6379})
		m.NICs[0].Addr = place(fmt.Sprintf("10.0.0.%d", 100+i))
		s.Servers = append(s.Servers, m)
	}
	s.Servers[0].Services[0].Mode = "requirepass"
	e := open(t, plot{scenario: s})
	farm := []string{"farm-0", "farm-1", "farm-2"}
	e.until("queued", 10, func() bool {
		return !slices.ContainsFunc(farm, func(f string) bool { return !e.inState(f, casework.Queued)() })
	})
	for _, f := range farm {
		e.approve(f)
	}
	e.untilIdle()
	for _, f := range farm {
		if said := e.detail(f, "gate.refused"); !strings.Contains(said, "budget") || !strings.Contains(said, "a batch of 3") {
			t.Errorf("%s: the gate said %q", f, said)
		}
	}
	e.after(3 * day)
	e.untouched()
	// One alone is within the budget; the next in the same hour is not.
	e.approve("farm-0")
	e.untilIdle()
	if n := len(e.changes("farm-0")); n != 1 {
		t.Errorf("%d changes of farm-0", n)
	}
	e.approve("farm-1")
	e.untilIdle()
	if n := len(e.changes("")); n != 1 {
		t.Errorf("%d changes in all", n)
	}
	e.noErrors()
}

// The mode enforce is not even loaded for a cloud elsewhere.
func TestEnforceIsRefusedForACloudElsewhere(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"http://192.0.2.1:5000/v3", "http://localhost:5000/v3", "http://127.0.0.1.example:5000/v3", "https://keystone.example/v3", "http://[::1]:5000/v3", "http://user@127.0.0.1@192.0.2.1/v3"} {
		e := open(t, plot{})
		e.plot.config = []string{e.w.AuthURL(), url}
		e.write()
		_, _, err := serve.Load(e.dir + "/demarc.yaml")
		if f, ok := fault.Of(err); !ok || f.Code != fault.Refused || !strings.Contains(f.Hint, "127.0.0.0/8") || f.At.Line == 0 {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// led takes what is asked of a name to the cloud of this machine.
type led struct {
	next http.RoundTripper
	host string
}

func (l led) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Host, r.Host = l.host, l.host
	return l.next.RoundTrip(r)
}

// Where a clouds.yaml leads is known once it is connected to. What is for a cloud of this machine alone is refused then, and told before
// by the doctor.
func TestWhatIsForThisMachineAloneIsRefusedForACloudsFileToo(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]struct{ policy, config []string }{
		"mode is enforce":                        {[]string{"recent_every: 50d", "recent_every: 60s"}, []string{"mode: notify", "mode: enforce"}},
		"recent_every of the policy is 1m1s":     {[]string{"recent_every: 50d", "recent_every: 61s"}, nil},
		"recent_every of the policy is 1m0.001s": {[]string{"recent_every: 50d", "recent_every: 60001ms"}, nil},
		"policy time is compressed": {
			[]string{"recent_every: 50d", "recent_every: 60s"},
			[]string{"sample: {control: 6}", "sample: {control: 6}\nclock: {rate: 60}"},
		},
		"": {[]string{"recent_every: 50d", "recent_every: 60s"}, nil},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			e := ward(t, plot{policy: change.policy})
			at, err := url.Parse(e.w.AuthURL())
			e.must(err)
			around := func(next http.RoundTripper) http.RoundTripper { return led{next, at.Host} }
			password := "  auth_url: " + e.w.AuthURL() + "\n  username: demarc\n  password_file: cloud.secret\n  project: security\n"
			entry := "  clouds_file: clouds.yaml\n  clouds_entry: far\n"
			e.plot.config = append([]string{"mode: enforce", "mode: notify", password, entry}, change.config...)
			e.write()
			clouds := fmt.Sprintf("clouds: {far: {auth: {auth_url: %q, username: demarc, password: %q, project_name: security}}}", "http://keystone.example"+at.Path, lab.DemoPassword)
			e.must(os.WriteFile(filepath.Join(e.dir, "clouds.yaml"), []byte(clouds), 0o600))
			c, p, err := serve.Load(filepath.Join(e.dir, "demarc.yaml"))
			e.must(err)
			d, err := serve.Open(t.Context(), c, p, serve.Options{Clock: flow.NewLeaping(begins.UnixMicro()), HTTP: around})
			if err == nil {
				e.must(d.Close())
			}
			if f, ok := fault.Of(err); ok != (what != "") || ok && (f.Code != fault.Refused || !strings.HasPrefix(f.Message, what+", and not every service") || f.Hint == "") {
				t.Errorf("serve says %v", err)
			}
			_, bad := e.doctor(func(d *serve.Doctor) { d.HTTP = around })
			if r := bad[serve.EnforceNotHere]; !strings.HasPrefix(r.What, what) || (r.What == "") != (what == "") {
				t.Errorf("the doctor says %+v", r)
			}
		})
	}
}

// resumed is a reader whose walks were cut, and went on behind the pages that were kept.
type resumed struct {
	cloud.Reader
	e *exam
}

func (r resumed) Snapshot(ctx context.Context, now func() int64) (*asset.Snapshot, error) {
	s, err := r.Reader.Snapshot(ctx, now)
	if err == nil {
		r.e.mu.Lock()
		s.Began -= r.e.cut
		r.e.mu.Unlock()
	}
	return s, err
}
