package serve_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/lab"
)

// held is a town with nothing to find but what its configuration shows: the cloud is read whole once a day.
func held(checks string) plot {
	s := town()
	s.Servers[0].Services = []lab.Service{{Name: "redis", Kind: lab.Redis, Port: 6379, Mode: "requirepass"}}
	s.Servers[0].Metadata = map[string]string{"demarc:profile": "cachehost"}
	s.Groups = slices.Clone(s.Groups)
	for i := range s.Groups {
		if g := &s.Groups[i]; g.Name == "cache" && g.Project == "astro" { // its SSH, which the office may use, is open to us too
			g.Rules = append(slices.Clone(g.Rules), lab.Rule{Proto: "tcp", Min: 22, Max: 22, Remote: netip.PrefixFrom(lab.DemoScanner, 32)})
		}
	}
	return plot{scenario: s, policy: []string{"inventory_every: 2d", "inventory_every: 1d", "sweep_every: 2d", "sweep_every: 40d",
		"posture: []", "posture: [" + checks + "]\nwide_within: 400d\n" + profileText + "#"}}
}

const profileText = `profiles:
  cachehost:
    title: A cache
    source: the exam
    allow:
      - {proto: tcp, ports: [6379], from: [internet]}
      - {proto: tcp, ports: [22], limited: true}
`

// Rules by which the checks of the configuration have something to say.
var (
	nine   = lab.Rule{Proto: "tcp", Min: 9, Max: 9, Remote: everywhere}
	wide   = lab.Rule{Proto: "tcp", Min: 6379, Max: 6390, Remote: everywhere}
	all    = lab.Rule{Proto: "tcp", Min: 1, Max: 2000, Remote: everywhere}
	others = lab.Rule{Proto: "tcp", Min: 5432, Max: 5433, Remote: netip.PrefixFrom(lab.DemoOther, 32)}
)

func (e *exam) add(group string, r lab.Rule) string {
	e.t.Helper()
	id, err := e.w.TenantAddRule("astro", group, r)
	e.must(err)
	return id
}

func (e *exam) remove(group string, r lab.Rule) {
	e.t.Helper()
	e.must(e.w.TenantRemoveRule("astro", group, r))
}

// subnet finds the external subnet's identifier.
func (e *exam) subnet() string {
	e.t.Helper()
	s, err := e.d.DB.Snapshot(e.t.Context(), "lab", 0)
	e.must(err)
	x := asset.NewIndex(s)
	for _, n := range s.Subnets {
		if x.Networks[n.Network].External {
			return string(n.ID)
		}
	}
	e.t.Fatal("no external subnet")
	return ""
}

const templates = "default-security-group-rules"

func template(r lab.Rule, inDefault bool) map[string]any {
	return map[string]any{"id": fmt.Sprintf("template-%d", r.Min), "direction": "ingress", "ethertype": "IPv4", "protocol": r.Proto, "port_range_min": r.Min, "port_range_max": r.Max,
		"remote_ip_prefix": "0.0.0.0/0", "remote_group_id": nil, "remote_address_group_id": nil, "used_in_default_sg": inDefault, "used_in_non_default_sg": !inDefault}
}

// settingsOf lists the findings of a check.
func (e *exam) settingsOf(check string) []finding.Finding {
	e.t.Helper()
	fs, err := e.d.DB.Findings(e.t.Context(), operator, finding.Filter{})
	e.must(err)
	var out []finding.Finding
	for _, f := range fs {
		if f.Key.Check == check {
			out = append(out, f)
		}
	}
	return out
}

// shortfall is the only finding of a check.
func (e *exam) shortfall(check string) finding.Finding {
	e.t.Helper()
	fs := e.settingsOf(check)
	if len(fs) != 1 {
		e.t.Fatalf("%d findings of %s: %+v; last\n%s", len(fs), check, fs, strings.Join(e.last(15), "\n"))
	}
	return fs[0]
}

// matter is one thing that the configuration shows.
type matter struct {
	check string
	open  func(*exam) string // begins it, and gives a text that the evidence must hold
	shut  func(*exam)
	party duty.Party
	to    string
	key   string // of the evidence that names what to do
	also  string // text of the evidence
}

var matters = map[string]matter{
	"a default group": {check: "default-group-open", open: func(e *exam) string { e.add("default", nine); return "ingress IPv4 tcp/9 from 0.0.0.0/0" },
		shut: func(e *exam) { e.remove("default", nine) }, party: duty.Customer, to: "alice@astro.example", key: "rule to remove", also: "group default"},
	"a default group as the template says": {check: "default-group-open", open: func(e *exam) string {
		e.w.Extend(templates, template(nine, true))
		e.add("default", nine)
		return "ingress IPv4 tcp/9 from 0.0.0.0/0"
	}, shut: func(e *exam) { e.remove("default", nine); e.w.Retract(templates, 1) }, party: duty.Provider, to: provider, key: "rule to remove", also: "ports that carry it now"},
	"a template": {check: "template-group-open", open: func(e *exam) string {
		e.w.Extend(templates, template(nine, false))
		return "ingress IPv4 tcp/9 from 0.0.0.0/0"
	},
		shut: func(e *exam) { e.w.Retract(templates, 1) }, party: duty.Provider, to: provider, key: "rule to remove"},
	"a netblock": {check: "netblock-mismatch", open: func(e *exam) string {
		was := e.w.AtPrefix(netip.MustParsePrefix("127.77.0.0/17"))
		e.w.Twist(e.subnet(), func(row map[string]any) { row["cidr"] = netip.PrefixFrom(was.Addr(), 16).String() })
		return e.w.AtPrefix(netip.MustParsePrefix("127.77.128.0/17")).String()
	}, shut: func(e *exam) { e.w.Untwist() }, party: duty.Provider, to: provider, key: "lacking", also: "subnet of the external network public"},
	"a hidden port": {check: "sg-blocks-scanner", open: func(e *exam) string {
		e.add("cache", others)
		return fmt.Sprintf("ingress IPv4 tcp/5432-5433 from %s/32, in group cache (%s)", e.w.Source("scanner"), e.w.GroupID("astro", "cache"))
	}, shut: func(e *exam) { e.remove("cache", others) }, party: duty.Customer, to: owner, key: "rule to add", also: "let in from"},
	"all ports": {check: "wide-opening", open: func(e *exam) string { return e.add("cache", all) },
		shut: func(e *exam) { e.remove("cache", all) }, party: duty.Customer, to: "alice@astro.example", key: "rules", also: "machines: cache-1 ("},
	"a profile": {check: "exposure-profile", open: func(e *exam) string { return e.add("cache", wide) },
		shut: func(e *exam) { e.remove("cache", wide) }, party: duty.Customer, to: owner, key: "rule to remove", also: "tcp 6379 from 0.0.0.0/0"},
}

func evidence(f finding.Finding) string {
	var out []string
	for k, v := range f.Evidence {
		out = append(out, k+": "+v.Raw())
	}
	return strings.Join(out, "; ")
}

// What the configuration shows is opened once, told to who holds it, seen gone by two complete readings and by nothing less, and opened
// again when it comes back. No packet is sent for it, and nothing of the cloud is touched.
func TestWhatTheConfigurationShows(t *testing.T) {
	t.Parallel()
	for name, m := range matters {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t, held(m.check))
			e.after(day)
			if fs := e.settingsOf(m.check); len(fs) != 0 {
				t.Fatalf("before: %+v", fs)
			}
			sent := e.count("", "shard.probed")
			want := m.open(e)
			e.until("open", 2, func() bool { return len(e.settingsOf(m.check)) > 0 })
			e.after(2 * day)
			f := e.shortfall(m.check)
			c := e.caseByID(f.Case)
			if f.State != finding.Open || f.Grade != finding.Observed || f.Duty.Party != m.party || c.Party != m.party || c.Track != casework.Configuration || c.State != casework.Notified {
				t.Errorf("finding %s %s of the %s, case %s %s", f.State, f.Grade, f.Duty.Party, c.State, c.Track)
			}
			if said := f.Evidence[m.key].Raw(); !strings.Contains(said, want) || !strings.Contains(evidence(f), m.also) {
				t.Errorf("%s is %q, without %q or %q; all: %s", m.key, said, want, m.also, evidence(f))
			}
			if n := e.mailsTo(m.to, ""); n != 1 {
				t.Errorf("%s was told %d times; all mail %v", m.to, n, e.recipients())
			}
			if n := e.count("", "looked.vulnerable"); n != 1 {
				t.Errorf("%d looks before anybody is told and at what did not change", n)
			}

			m.shut(e)
			e.w.Plan(lab.Fault{Kind: lab.Answer, Status: 503, RetryAfter: "0", Method: http.MethodGet, Path: "/identity/v3/users", Times: -1})
			e.after(2 * day)
			if f := e.shortfall(m.check); f.State != finding.Open || f.Negatives != 0 {
				t.Fatalf("partial readings say that it is gone: %s, %d", f.State, f.Negatives)
			}
			e.w.ClearFaults()
			read := e.count("", "inventory.read")
			e.until("fixed", 3, func() bool { return e.shortfall(m.check).State == finding.Fixed })
			if n, gone := e.count("", "inventory.read")-read, e.count("", "looked.not_vulnerable"); n < 2 || gone != 2 {
				t.Errorf("fixed after %d readings and %d looks", n, gone)
			}
			looks, err := e.d.DB.Sightings(t.Context(), f.ID)
			e.must(err)
			if n := len(looks); n < 3 || looks[n-1].At-looks[n-2].At < 30*minute {
				t.Errorf("the proof is %+v", looks)
			}

			m.open(e)
			e.until("open again", 3, func() bool { return e.shortfall(m.check).State == finding.Open })
			if f := e.shortfall(m.check); f.Reopened != 1 || f.Case != c.ID {
				t.Errorf("%+v", f)
			}
			e.after(95 * day) // beyond every deadline of its class
			if e.count("", "shard.probed")-sent > 4*2 {
				t.Errorf("%d shards were probed", e.count("", "shard.probed")-sent)
			}
			for _, h := range e.told() {
				if strings.HasPrefix(h.Event, "gate.") || h.State == string(casework.Queued) {
					t.Errorf("it came to the gate: %+v", h)
				}
			}
			e.untouched()
			e.noErrors()
		})
	}
}

func (e *exam) recipients() []string {
	var out []string
	for _, m := range e.w.Mail.Messages() {
		out = append(out, m.To+": "+subject(e.t, m))
	}
	return out
}

// A check that is taken out of the policy fixes nothing: what it found stands until it is asked again.
func TestACheckTakenOutOfThePolicyFixesNothing(t *testing.T) {
	t.Parallel()
	e := open(t, held("default-group-open"))
	e.add("default", nine)
	e.until("open", 2, func() bool { return len(e.settingsOf("default-group-open")) > 0 })
	e.remove("default", nine)
	e.posture("default-group-open", "netblock-mismatch")
	e.after(5 * day)
	if f := e.shortfall("default-group-open"); f.State != finding.Open || f.Negatives != 0 {
		t.Errorf("%s after %d negatives", f.State, f.Negatives)
	}
	e.posture("netblock-mismatch", "default-group-open")
	e.until("fixed", 2, func() bool { return e.shortfall("default-group-open").State == finding.Fixed })
	e.noErrors()
}

// posture restarts with another check of the configuration.
func (e *exam) posture(was, now string) {
	e.t.Helper()
	file := filepath.Join(e.dir, "policy.yaml")
	b, err := os.ReadFile(file)
	e.must(err)
	e.must(os.WriteFile(file, []byte(replaced(e.t, string(b), []string{"posture: [" + was, "posture: [" + now})), 0o600))
	e.restart()
}

// While our own order has altered the groups of a machine they say nothing: neither is what they showed before gone, nor is anything new.
func TestOurOwnQuarantineFixesNoSetting(t *testing.T) {
	t.Parallel()
	p := held("sg-blocks-scanner, exposure-profile")
	p.scenario.Servers[0].Services[0].Mode = ""
	e := open(t, p)
	e.add("cache", others)
	e.add("cache", wide) // it opens the Redis, and is told with it
	id := e.add("cache", nine)
	e.until("both are known", 3, func() bool {
		return len(e.settingsOf("sg-blocks-scanner")) == 1 && len(e.settingsOf("exposure-profile")) >= 1
	})
	e.until("queued", 12, func() bool { return e.vulnerable().State == casework.Queued })
	before := len(e.settingsOf("exposure-profile"))
	e.must(e.d.Line.Approve(t.Context(), e.vulnerable().ID, "olga"))
	e.until("restricted", 1, func() bool { return e.vulnerable().State == casework.Restricted })
	e.after(20 * day)
	for _, f := range append(e.settingsOf("exposure-profile"), e.settingsOf("sg-blocks-scanner")...) {
		if f.State != finding.Open || f.Negatives != 0 || f.Reopened != 0 {
			t.Errorf("%s is %s after %d negatives", f.Key.Locus, f.State, f.Negatives)
		}
	}
	if now := len(e.settingsOf("exposure-profile")); now != before || !strings.Contains(evidence(e.settingsOf("exposure-profile")[0])+evidence(e.settingsOf("exposure-profile")[now-1]), id) {
		t.Errorf("%d deviations, before %d", now, before)
	}
}

// vulnerable is cache-1's case of what answers there.
func (e *exam) vulnerable() casework.Case {
	for _, c := range e.casesOf("cache-1") {
		if c.Track == casework.Vulnerability {
			return c
		}
	}
	return casework.Case{}
}

// A machine that is off shows nothing of what its groups let in: what they hide is not fixed by a power button.
func TestAMachineThatIsOffFixesNoSetting(t *testing.T) {
	t.Parallel()
	e := open(t, held("sg-blocks-scanner, exposure-profile"))
	e.add("cache", others)
	e.until("open", 2, func() bool { return len(e.settingsOf("sg-blocks-scanner")) > 0 })
	e.must(e.w.StopServer("cache-1"))
	e.after(5 * day)
	for _, f := range append(e.settingsOf("sg-blocks-scanner"), e.settingsOf("exposure-profile")...) {
		if f.State != finding.Open || f.Negatives != 0 {
			t.Errorf("%s is %s after %d negatives", f.Key.Check, f.State, f.Negatives)
		}
	}
	e.must(e.w.StartServer("cache-1"))
	e.remove("cache", others)
	e.until("fixed", 3, func() bool { return e.shortfall("sg-blocks-scanner").State == finding.Fixed })
}

// The rule that is named lets the probe in: what was hidden is asked, and the finding is fixed.
func TestTheNamedRuleLetsTheProbeIn(t *testing.T) {
	t.Parallel()
	p := held("sg-blocks-scanner")
	p.policy = append(p.policy, "recent_every: 50d", "recent_every: 1h")
	p.scenario.Servers[0].Services = append(p.scenario.Servers[0].Services, lab.Service{Kind: lab.Postgres, Port: 5432, Mode: "trust"})
	e := open(t, p)
	e.add("cache", others)
	e.until("open", 2, func() bool { return len(e.settingsOf("sg-blocks-scanner")) > 0 })
	if fs := e.findingsOf("cache-1"); len(fs) != 1 {
		t.Fatalf("%d findings before the probe is let in: %+v", len(fs), fs)
	}
	swept := e.count("", "sweep.planned")
	e.add("cache", lab.Rule{Proto: "tcp", Min: 5432, Max: 5433, Remote: netip.PrefixFrom(lab.DemoScanner, 32)})
	at := e.clock.Now()
	e.steps("what was hidden is found", func() bool { return len(e.findingsOf("cache-1")) > 1 })
	if took := e.clock.Now() - at; took > hour || e.count("", "sweep.planned") != swept {
		t.Errorf("found after %d minutes", took/minute)
	}
	e.until("fixed", 2, func() bool { return e.shortfall("sg-blocks-scanner").State == finding.Fixed })
	if e.count("", "sweep.planned") != swept {
		t.Error("it took a sweep")
	}
	e.untouched()
}

// What a rule opens now, and will open at another address when a router is on, is one finding, and it says what is so now. Two vantage
// points of one zone that stand for different networks are both heard.
func TestTwoVantagePointsOfOneZone(t *testing.T) {
	t.Parallel()
	p := held("exposure-profile")
	p.config = []string{"mail:\n", "  - {name: campus, zone: internet, sources: [127.0.0.1], prefixes: [203.0.113.0/24], connect_timeout: 300ms, host_rate: 400, rate: 4000}\nmail:\n"}
	e := open(t, p)
	e.add("cache", lab.Rule{Proto: "tcp", Min: 8000, Max: 8000, Remote: netip.MustParsePrefix("203.0.113.0/24")})
	e.until("open", 2, func() bool { return len(e.settingsOf("exposure-profile")) > 0 })
	f := e.shortfall("exposure-profile")
	if !strings.Contains(f.Evidence["open beyond its profile"].Raw(), "tcp/8000 from 203.0.113.0/24") {
		t.Errorf("%s", evidence(f))
	}
	e.noErrors()
}

// A weakness behind a port that hardware filters is told and never acted on, however much is proven and approved.
func TestWhatIsNotProvenIsNeverActedOn(t *testing.T) {
	t.Parallel()
	s := town()
	s.Servers[0].NICs[0].VNICType = "direct"
	e := open(t, plot{scenario: s})
	e.until("told", 2, e.inState("cache-1", casework.Notified))
	e.until("queued", 10, e.inState("cache-1", casework.Queued))
	e.approve("cache-1")
	e.after(2 * day)
	if d := e.detail("cache-1", "gate.refused"); !strings.Contains(d, "reach-proven: ") || strings.Contains(d, ";") {
		t.Errorf("the gate said %q", d)
	}
	e.untouched()
}

// A netblock that is to be looked at more often than the policy says sweeps its vantage points so often.
func TestANetblocksIntervalIsKept(t *testing.T) {
	t.Parallel()
	p := held("")
	p.config = []string{"zones: [internet]}", "zones: [internet], every: 1d}"}
	e := open(t, p)
	e.untilIdle()
	before := e.count("", "sweep.planned")
	e.after(5*day + hour)
	if n := e.count("", "sweep.planned") - before; n != 5 {
		t.Errorf("%d sweeps in five days", n)
	}
}
