package serve_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/finding"
	"demarc/internal/flow"
	"demarc/internal/lab"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/serve"
	"demarc/internal/serve/demo"
	"demarc/internal/store/storetest"
	"demarc/internal/wire"
)

// TestMain lets more exams run at once than there are processors: most of their time they wait for peers that are silent.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = f.Value.Set("10")
	}
	os.Exit(m.Run())
}

// begins is a Monday morning.
var begins = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)

const (
	minute = int64(time.Minute / time.Microsecond)
	hour   = 60 * minute
	day    = 24 * hour

	owner     = "amir@astro.example"
	other     = "bruno@genomics.example"
	operators = "cloud-operators@cloud.example"
)

// place is an address of the scenario as it was written.
func place(a string) netip.Addr { return netip.MustParseAddr(a) }

var operator = access.Operator()

var everywhere = netip.MustParsePrefix("0.0.0.0/0")

// town is a small world: cache-1 of astro is open without a password, gate-1 of genomics is harmless and shows that the
// path works, spare of genomics has no address to be reached at.
func town() lab.Scenario {
	full := lab.DemoScenario()
	s := lab.Scenario{Name: "town", Anywhere: true, Sources: full.Sources, Projects: full.Projects, Users: full.Users, AppCreds: full.AppCreds, Images: full.Images,
		Groups: full.Groups, Networks: full.Networks, Routers: full.Routers}
	s.Servers = []lab.Server{
		machine("cache-1", "astro", "amir", "cache", "127.77.1.10", lab.Service{Kind: lab.Redis, Port: 6379}),
		machine("gate-1", "genomics", "bruno", "ssh-any", "127.77.1.30", lab.Service{Kind: lab.SSH, Port: 22022}),
		machine("spare", "genomics", "bruno", "ssh-any", "", lab.Service{Kind: lab.SSH, Port: 22022}),
	}
	for i := range s.Servers {
		s.Servers[i].NICs[0].Addr = netip.AddrFrom4([4]byte{10, 0, 0, byte(20 + i)})
	}
	return s
}

// machine is a server with one port; an empty address gives it none outside.
func machine(name, project, creator, group, addr string, services ...lab.Service) lab.Server {
	nic := lab.NIC{Network: project + "-net", Groups: []string{group}}
	if addr != "" {
		nic.FloatingIP = place(addr)
	}
	return lab.Server{Name: name, Project: project, Creator: creator, Image: "debian-12", NICs: []lab.NIC{nic}, Services: services}
}

// plot is what an exam changes before Demarc is opened.
type plot struct {
	scenario    lab.Scenario
	policy      []string          // pairs of old and new text of the policy file
	config      []string          // and of the configuration
	password    string            // in the secret file
	secrets     map[string]string // further files
	log         *slog.Logger
	http        func(http.RoundTripper) http.RoundTripper
	wrap        func(*exam, *flow.Config)
	through     func(place string) string // the way to the database
	heard       func(*exam, flow.Happening)
	firstStart  bool          // the database is left in the mode it begins in; without it, enforce is chosen
	callMayTake time.Duration // how long a request to the cloud may take before the server is not well
	proxied     bool          // Demarc reaches the cloud through exam.proxy
}

// exam is a world with a Demarc in it, wired from files as an operator would write them.
type exam struct {
	t     *testing.T
	plot  plot
	w     *lab.World
	proxy *lab.Proxy
	d     *serve.Demarc
	clock *flow.Leaping
	dir   string
	place string  // of the database: the file in dir, or a database of its own on the server that is examined
	way   string  // to it, as the configuration says
	errs  []error // what Step said

	mu        sync.Mutex
	news      []flow.Happening
	probe     func(probe.Shard, bool) // before and after each shard
	idle      func()                  // at each idle moment
	harmed    bool                    // rows were edited behind the program's back: repairs are expected
	oldSwitch []byte                  // the file of the kill switch as it was before
	stuck     int                     // how many times in a row something was due at once and not done; see leapOn
	cut       int64                   // how long before it ended (µs) the first page of a reading was read; see resumed
}

// open builds the world, writes the files and starts Demarc on them.
func open(t *testing.T, p plot) *exam {
	t.Helper()
	if p.scenario.Name == "" {
		p.scenario = town()
	}
	p.password = cmp.Or(p.password, lab.DemoPassword)
	w, err := lab.New(p.scenario)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	e := &exam{t: t, plot: p, w: w, clock: flow.NewLeaping(begins.UnixMicro()), dir: t.TempDir()}
	if p.proxied {
		e.proxy, err = lab.NewProxy(w.AuthURL())
		e.must(err)
		t.Cleanup(e.proxy.Close)
	}
	e.place = storetest.Fresh(t, filepath.Join(e.dir, "demarc.db"))
	e.way = strings.TrimPrefix(e.place, e.dir+"/")
	if p.through != nil {
		e.way = p.through(e.place)
	}
	e.write()
	e.writeSecrets()
	e.start()
	t.Cleanup(e.stop)
	t.Cleanup(func() {
		if n := e.count("", flow.CaseRepaired); n > 0 && !e.harmed {
			t.Errorf("%d repairs although no row was edited: %s", n, e.detail("", flow.CaseRepaired))
		}
	})
	if !p.firstStart {
		e.setMode(policy.Enforce)
	}
	return e
}

// setMode chooses the mode as an operator does. A mode above what the configuration allows is left.
func (e *exam) setMode(m policy.Mode) {
	e.t.Helper()
	if e.d.Config.Mode.AtLeast(m) {
		e.must(e.d.Line.SetMode(e.t.Context(), m, "olga", "the story needs it"))
	}
}

const configText = `database: %[9]s
policy: policy.yaml
mode: enforce
policy_url: http://127.0.0.1:8600/probing
cloud:
  name: lab
  auth_url: %[1]s
  username: %[2]s
  password_file: cloud.secret
  project: %[3]s
netblocks:
  - {cidr: %[4]s, holder: provider, zones: [internet]}
vantages:
  - {name: internet, zone: internet, sources: [%[5]s], bind: true, connect_timeout: 300ms, banner_time: 80ms, quiet_time: 20ms, host_rate: 400, rate: 4000}
mail:
  host: %[6]s
  port: %[7]s
  tls: none
  from: demarc@cloud.example
  provider: platform-team@cloud.example
  operators: cloud-operators@cloud.example
quarantine:
  name: demarc-quarantine
  admit:
    - {cidr: %[8]s, proto: tcp, port: 22, purpose: "repair path"}
sample: {control: 6}
`

func (e *exam) write() {
	e.t.Helper()
	host, port, err := net.SplitHostPort(e.w.Mail.Addr())
	if err != nil {
		e.t.Fatal(err)
	}
	w, auth := e.w, e.w.AuthURL()
	if e.proxy != nil {
		auth = e.proxy.AuthURL()
	}
	config := fmt.Sprintf(configText, auth, lab.DemoUser, lab.DemoProject, w.AtPrefix(netip.MustParsePrefix("127.77.0.0/17")), w.Source("scanner"), host, port,
		w.AtPrefix(netip.MustParsePrefix("127.77.200.0/24")), e.way)
	for name, text := range map[string]string{
		"demarc.yaml": replaced(e.t, config, e.plot.config),
		"policy.yaml": replaced(e.t, string(demo.PolicyYAML()), append([]string{
			// the stories of digests say so themselves
			"end: report}", "end: report, notice: at_once}", "end: operator}", "end: operator, notice: at_once}", "48h, end: quarantine}", "48h, end: quarantine, notice: at_once}",
			"sweep_every: 1d", "sweep_every: 2d", "inventory_every: 1d", "inventory_every: 2d", "recent_every: 1d", "recent_every: 50d"}, e.plot.policy...)),
		"cloud.secret": e.plot.password + "\n",
	} {
		if err := os.WriteFile(filepath.Join(e.dir, name), []byte(text), 0o600); err != nil {
			e.t.Fatal(err)
		}
	}
}

func replaced(t *testing.T, text string, pairs []string) string {
	t.Helper()
	for i := 0; i+1 < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("%q is not in the file", pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

func (e *exam) writeSecrets() {
	for name, text := range e.plot.secrets {
		e.must(os.WriteFile(filepath.Join(e.dir, name), []byte(text), 0o600))
	}
}

// engine is a real engine with a hook on both sides of every shard.
type engine struct {
	wire.Engine
	e *exam
}

func (g engine) Probe(ctx context.Context, s probe.Shard, scripts []probe.Script, report func(probe.Observation)) (probe.Coverage, error) {
	g.e.hook(s, false)
	c, err := g.Engine.Probe(ctx, s, scripts, report)
	g.e.hook(s, true)
	return c, err
}

func (e *exam) hook(s probe.Shard, after bool) {
	e.mu.Lock()
	f := e.probe
	e.mu.Unlock()
	if f != nil {
		f(s, after)
	}
}

// onProbe sets what happens before (false) and after (true) each shard is probed.
func (e *exam) onProbe(f func(probe.Shard, bool)) {
	e.mu.Lock()
	e.probe = f
	e.mu.Unlock()
}

func (e *exam) start() {
	e.t.Helper()
	c, p, err := serve.Load(filepath.Join(e.dir, "demarc.yaml"))
	if err != nil {
		e.t.Fatal(err)
	}
	e.d, err = serve.Open(e.t.Context(), c, p, serve.Options{Clock: e.clock, Log: e.plot.log, HTTP: e.plot.http, Tell: func(h flow.Happening) {
		e.mu.Lock()
		e.news = append(e.news, h)
		e.mu.Unlock()
		if e.plot.heard != nil {
			e.plot.heard(e, h)
		}
	}, Wrap: func(c *flow.Config) {
		for i := range c.Vantages {
			c.Vantages[i].Engine = engine{c.Vantages[i].Engine, e}
		}
		if e.plot.wrap != nil {
			e.plot.wrap(e, c)
		}
	}})
	if err != nil {
		e.t.Fatal(err)
	}
}

func (e *exam) stop() {
	if e.d == nil {
		return
	}
	if err := e.d.Close(); err != nil {
		e.t.Error(err)
	}
	e.d = nil
}

// restart closes Demarc and opens it again, with the policy time that the database holds.
func (e *exam) restart() {
	e.t.Helper()
	at, err := e.d.DB.Clock(e.t.Context())
	e.must(err)
	e.stop()
	e.clock = flow.NewLeaping(at)
	e.start()
}

// step does one piece of due work.
func (e *exam) step() bool {
	e.t.Helper()
	worked, err := e.d.Line.Step(e.t.Context())
	if err != nil {
		e.errs = append(e.errs, err)
	}
	return worked
}

// untilIdle works until nothing is due.
func (e *exam) untilIdle() {
	e.t.Helper()
	for range 500 {
		if !e.step() {
			if e.idle != nil {
				e.idle()
			}
			return
		}
	}
	e.t.Fatalf("the line goes in a circle; it last said %v", e.last(8))
}

func (e *exam) last(n int) []string {
	var out []string
	for _, h := range e.told() {
		out = append(out, h.Step+" "+h.Event+" "+h.Server.Raw()+" "+h.Detail)
	}
	for _, err := range e.errs {
		out = append(out, "error: "+err.Error())
	}
	return out[max(0, len(out)-n):]
}

// lastOfCases is the last n events of cases and findings.
func (e *exam) lastOfCases(n int) []string {
	var out []string
	for _, h := range e.told() {
		if h.Server.Raw() != "" {
			out = append(out, h.Step+" "+h.Event+" "+h.Server.Raw()+" "+h.Detail)
		}
	}
	return out[max(0, len(out)-n):]
}

// leapTo lets policy time go on to a moment, doing all that falls due on the way.
func (e *exam) leapTo(at int64) {
	e.t.Helper()
	for {
		e.untilIdle()
		due, err := e.d.Line.NextDue(e.t.Context())
		if err != nil {
			e.t.Fatal(err)
		}
		if due >= at {
			break
		}
		e.clock.LeapTo(due)
	}
	e.clock.LeapTo(at)
	e.untilIdle()
}

func (e *exam) after(d int64) { e.t.Helper(); e.leapTo(e.clock.Now() + d) }

// until lets time go on, one due thing after the other, until something holds at an idle moment.
func (e *exam) until(what string, days int64, holds func() bool) {
	e.t.Helper()
	end := e.clock.Now() + days*day
	for {
		e.untilIdle()
		if holds() {
			return
		}
		due, err := e.d.Line.NextDue(e.t.Context())
		if err != nil {
			e.t.Fatal(err)
		}
		if due > end {
			e.t.Fatalf("after %d days still not: %s; last: \n%s", days, what, strings.Join(e.last(25), "\n"))
		}
		e.clock.LeapTo(due)
	}
}

// told is everything that happened so far.
func (e *exam) told() []flow.Happening {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.news)
}

// count tells how often something happened to a server; "" is any.
func (e *exam) count(server, event string) int {
	n := 0
	for _, h := range e.told() {
		if (server == "" || h.Server.Raw() == server) && h.Event == event {
			n++
		}
	}
	return n
}

// detail joins the details of all such happenings.
func (e *exam) detail(server, event string) string {
	var out []string
	for _, h := range e.told() {
		if (server == "" || h.Server.Raw() == server) && h.Event == event {
			out = append(out, h.Detail)
		}
	}
	return strings.Join(out, " | ")
}

// casesOf lists the cases of a server, oldest first.
func (e *exam) casesOf(server string) []casework.Case {
	e.t.Helper()
	cs, err := e.d.DB.Cases(e.t.Context(), access.Operator(), casework.Filter{})
	if err != nil {
		e.t.Fatal(err)
	}
	id := asset.ServerID(e.w.ServerID(server))
	cs = slices.DeleteFunc(cs, func(c casework.Case) bool { return c.Server != id })
	slices.SortFunc(cs, func(a, b casework.Case) int { return cmp.Compare(a.OpenedAt, b.OpenedAt) })
	return cs
}

// theCase is the only case of a server.
func (e *exam) theCase(server string) casework.Case {
	e.t.Helper()
	cs := e.casesOf(server)
	if len(cs) != 1 {
		e.t.Fatalf("%s has %d cases; last: \n%s", server, len(cs), strings.Join(e.last(25), "\n"))
	}
	return cs[0]
}

func (e *exam) findingsOf(server string) []finding.Finding {
	e.t.Helper()
	fs, err := e.d.DB.Findings(e.t.Context(), access.Operator(), finding.Filter{Server: asset.ServerID(e.w.ServerID(server))})
	if err != nil {
		e.t.Fatal(err)
	}
	return fs
}

// inState is a condition for until: the only case of a server is in this state.
func (e *exam) inState(server string, s casework.State) func() bool {
	return func() bool {
		cs := e.casesOf(server)
		return len(cs) == 1 && cs[0].State == s
	}
}

func (e *exam) approve(server string) {
	e.t.Helper()
	if err := e.d.Line.Approve(e.t.Context(), e.theCase(server).ID, "olga"); err != nil {
		e.t.Fatal(err)
	}
}

// approveDespite approves against a condition of the gate that a person may judge.
func (e *exam) approveDespite(server, condition, why string) {
	e.t.Helper()
	e.must(e.d.Line.ApproveAll(e.t.Context(), []string{e.theCase(server).ID},
		casework.Approve{By: "olga", Despite: []string{condition}, Why: why}))
}

func (e *exam) claim(server string) {
	e.t.Helper()
	if err := e.d.Line.Claim(e.t.Context(), e.theCase(server).ID, "amir"); err != nil {
		e.t.Fatal(err)
	}
}

func (e *exam) setPassword(server string) {
	e.t.Helper()
	e.must(e.w.SetService(server, "redis", func(v *lab.Service) { v.Mode = "requirepass" }))
}

func (e *exam) must(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

// changes lists what Demarc did to the ports of a server, by the world's own log; "" is every server.
func (e *exam) changes(server string) []lab.Action {
	var out []lab.Action
	ports := e.w.PortIDs(server)
	for _, a := range e.w.Actions() {
		id, isPort := strings.CutPrefix(a.Path, "/networking/v2.0/ports/")
		if a.Method == http.MethodPut && a.Done && isPort && (server == "" || slices.Contains(ports, id)) {
			out = append(out, a)
		}
	}
	return out
}

// untouched asserts that no port of the cloud was changed by Demarc.
func (e *exam) untouched() {
	e.t.Helper()
	if c := e.changes(""); len(c) != 0 {
		e.t.Errorf("ports were changed: %v", c)
	}
}

func (e *exam) groups(server string) [][]string {
	var out [][]string
	for _, p := range e.w.PortIDs(server) {
		out = append(out, e.w.PortGroups(p))
	}
	return out
}

// noErrors asserts that no step failed.
func (e *exam) noErrors() {
	e.t.Helper()
	if err := errors.Join(e.errs...); err != nil {
		e.t.Errorf("steps failed: %v", err)
	}
}

// auditText is every leaf of the audit log, one a line.
func (e *exam) auditText() string {
	e.t.Helper()
	log, err := e.d.DB.AuditLog(e.t.Context())
	if err != nil {
		e.t.Fatal(err)
	}
	var b strings.Builder
	for _, l := range log.Leaves {
		b.Write(l.Data)
		b.WriteByte('\n')
	}
	return b.String()
}

// The story of a machine whose owner does nothing until it is off the network, and then everything.
func TestAnOwnerWhoWaitsIsQuarantinedAndGivenBack(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	before := e.groups("cache-1")
	e.until("queued", 10, e.inState("cache-1", casework.Queued))
	e.untouched()
	e.approve("cache-1")
	e.until("restricted", 1, e.inState("cache-1", casework.Restricted))
	if n := len(e.changes("cache-1")); n != 1 {
		t.Fatalf("%d changes of the port", n)
	}
	e.setPassword("cache-1")
	e.claim("cache-1")
	e.until("closed", 20, e.inState("cache-1", casework.Closed))
	if n := len(e.changes("cache-1")); n != 2 {
		t.Errorf("%d changes of the port", n)
	}
	if now := e.groups("cache-1"); !slices.EqualFunc(now, before, slices.Equal) {
		t.Errorf("groups %v, were %v", now, before)
	}
	e.noErrors()
}
