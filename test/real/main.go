// Command real runs the line, from inventory to the mailed notice and the proven fix, against a real OpenStack.
//
// The cloud is the one that test/cloudlab/testbed brings up from the scenario campus: Keystone, Nova and Neutron with
// enforced security groups, servers that are network namespaces with real daemons in them, and a vantage point on the
// internet. Nothing is changed in the cloud: the line has no actor. One weakness is closed on its host, as an owner would.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/finding"
	"demarc/internal/flow"
	"demarc/internal/lab"
	"demarc/internal/policy"
	"demarc/internal/reach"
	"demarc/internal/serve"
)

func main() {
	clouds := flag.String("clouds", "", "the testbed's clouds.yaml")
	testbed := flag.String("testbed", "test/cloudlab/testbed", "the testbed's script")
	prefix := flag.String("prefix", "cloudlab", "prefix of the testbed's namespaces")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	count, err := run(ctx, *clouds, *testbed, *prefix)
	if err != nil {
		fmt.Fprintln(os.Stderr, "real:", err)
		os.Exit(3)
	}
	line, err := json.Marshal(count)
	if err != nil {
		fmt.Fprintln(os.Stderr, "real:", err)
		os.Exit(3)
	}
	fmt.Println(string(line))
	if count.Wrong > 0 {
		os.Exit(1)
	}
}

// tally is the last line.
type tally struct {
	Servers   int `json:"servers"`
	Endpoints int `json:"endpoints"`
	Findings  int `json:"findings"`
	Mails     int `json:"mails"`
	Wrong     int `json:"wrong"`

	OutOfReach int `json:"out_of_reach"` // servers that no action can reach as the cloud is configured
}

// servers is how many the scenario campus has.
const servers = 14

// expected is what is really wrong in the testbed, seen from the internet: server, then the checks that must find it. Nobody declared a
// profile: a machine is held against what its services and groups are those of. A rule that opens a weakness is told with that.
var expected = map[string][]string{
	"":         {flow.CheckWide}, // of the group legacy, which is no server's
	"portal":   {"redis-unauth", "tls-expired"},
	"nofilter": {"redis-unauth", flow.CheckWide}, // without port security
	"cache2":   {flow.CheckProfile, "redis-unauth"},
	"mover1":   {"redis-unauth"},
	"legacy":   {"telnet-exposed"},
	"oldbox":   {"telnet-exposed"},
	"tarpit":   {flow.CheckProfile, "tarpit-host"},
	"blocker":  {flow.CheckBlocked},
}

// owners is whom Keystone says to tell.
var owners = map[string]string{
	"cache2": "alice@astro.example", "mover1": "alice@astro.example",
	"portal": "bruno@genomics.example", "blocker": "bruno@genomics.example", "legacy": "bruno@genomics.example",
	"nofilter": "carol@teaching.example", "oldbox": "carol@teaching.example", "tarpit": "carol@teaching.example",
}

const config = `database: real.db
policy: policy.yaml
mode: notify
policy_url: https://probing.cloud.example/
cloud: {name: testbed, clouds_file: %s, clouds_entry: admin}
netblocks:
  - {cidr: 203.0.113.0/24, holder: provider, zones: [internet, institution]}
  - {cidr: "2001:db8:100::/64", holder: provider, zones: [internet, institution]}
  - {cidr: "2001:db8:a1::/64", holder: provider, zones: [internet, institution]}
  - {cidr: 172.29.0.0/24, holder: provider, zones: [institution]}
vantages:
  - {name: internet, zone: internet, sources: [198.51.100.10, "2001:db8:f::10"], namespace: %s-internet, connect_timeout: 1s, host_rate: 100, except: ["2001:db8:e::/64"]}
mail: {host: %s, port: %s, tls: none, from: demarc@cloud.example, provider: platform@cloud.example, operators: operators@cloud.example}
sample: {wide: 24, control: 60}
`

type exam struct {
	d       *serve.Demarc
	clock   *flow.Leaping
	box     *lab.Mailbox
	testbed string
	wrong   []string
}

func (e *exam) must(ok bool, format string, args ...any) {
	if !ok {
		e.wrong = append(e.wrong, fmt.Sprintf(format, args...))
		fmt.Println("WRONG:", e.wrong[len(e.wrong)-1])
	}
}

func run(ctx context.Context, clouds, testbed, prefix string) (t tally, err error) {
	box, err := lab.NewMailbox("127.0.0.1:0")
	if err != nil {
		return t, fmt.Errorf("starting the mailbox: %w", err)
	}
	defer box.Close()
	dir, err := os.MkdirTemp("", "demarc-real-")
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	e := &exam{box: box, testbed: testbed, clock: flow.NewLeaping(time.Now().UnixMicro())}
	if e.d, err = open(ctx, dir, clouds, prefix, box, e.clock); err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, e.d.Close()) }()
	began := time.Now()
	if err := e.untilTold(ctx); err != nil {
		return t, err
	}
	fmt.Printf("inventory, sweeps and notices: %.0f s\n", time.Since(began).Seconds())
	if err := e.compare(ctx); err != nil {
		return t, err
	}
	if err := e.fix(ctx); err != nil {
		return t, err
	}
	return e.tally(ctx)
}

// sooner is the default policy with first notices that come within the day of this run: of class M in the digest of the day, of B at once.
func sooner() ([]byte, error) {
	text := string(policy.DefaultYAML())
	for _, r := range [][2]string{{"notice: weekly", "notice: daily"}, {"grace: 7d, end: operator, notice: daily", "grace: 7d, end: operator, notice: at_once"}} {
		if !strings.Contains(text, r[0]) {
			return nil, fmt.Errorf("%q is not in the default policy", r[0])
		}
		text = strings.ReplaceAll(text, r[0], r[1])
	}
	return []byte(text), nil
}

func open(ctx context.Context, dir, clouds, prefix string, box *lab.Mailbox, clock flow.Clock) (*serve.Demarc, error) {
	host, port, err := net.SplitHostPort(box.Addr())
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "demarc.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, config, clouds, prefix, host, port), 0o600); err != nil {
		return nil, err
	}
	rules, err := sooner()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "policy.yaml"), rules, 0o600); err != nil {
		return nil, err
	}
	c, p, err := serve.Load(path)
	if err != nil {
		return nil, err
	}
	d, err := serve.Open(ctx, c, p, serve.Options{Clock: clock, Tell: func(h flow.Happening) {
		fmt.Printf("%s %-9s %-22s %-9s %s %s %s\n", time.UnixMicro(h.At).UTC().Format("02 15:04"), h.Step, h.Event, h.Server, h.Check, h.MailTo, h.Detail)
	}})
	if err != nil {
		return nil, err
	}
	if err := d.Line.SetMode(ctx, policy.Notify, "operator", "the owners are simulated"); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// untilTold drives the line over the first day, in which every owner hears of what is wrong and one machine is silent
// twice.
func (e *exam) untilTold(ctx context.Context) error {
	end := e.clock.Now() + (25 * time.Hour).Microseconds()
	return e.drive(ctx, func() bool { return e.clock.Now() >= end })
}

func (e *exam) drive(ctx context.Context, over func() bool) error {
	for ctx.Err() == nil {
		worked, err := e.d.Line.Step(ctx)
		if err != nil {
			return err
		}
		if worked {
			continue
		}
		if over() {
			return nil
		}
		due, err := e.d.Line.NextDue(ctx)
		if err != nil {
			return err
		}
		// The inventory is due every minute; between cases nothing else is, so hours may pass.
		e.clock.LeapTo(max(due, min(e.nextCase(ctx), e.clock.Now()+(6*time.Hour).Microseconds())))
	}
	return ctx.Err()
}

func (e *exam) nextCase(ctx context.Context) int64 {
	at, ok, err := e.d.DB.NextDue(ctx, e.clock.Now())
	if err != nil || !ok {
		return e.clock.Now() + (6 * time.Hour).Microseconds()
	}
	return at
}

// compare holds the findings and mails against what is really there.
func (e *exam) compare(ctx context.Context) error {
	names, err := e.names(ctx)
	if err != nil {
		return err
	}
	e.must(len(names) == servers, "the inventory has %d servers, the cloud %d", len(names), servers)
	fs, err := e.d.DB.Findings(ctx, access.Operator(), finding.Filter{})
	if err != nil {
		return err
	}
	got := map[string][]string{}
	for _, f := range fs {
		name := names[f.Key.Server]
		got[name] = append(got[name], f.Key.Check)
		fmt.Printf("finding: %-9s %-18s %-22s %s, %s by %s\n", name, f.Key.Check, f.Endpoint, f.State, f.Duty.Party, f.Duty.Assignment)
		e.must(f.Duty.Party == "customer" && f.Duty.Reason != "", "%s on %s is charged to %q", f.Key.Check, name, f.Duty.Party)
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		slices.Sort(got[name])
		got[name] = slices.Compact(got[name]) // a profile is left by each rule that leads beyond it
		e.must(slices.Equal(got[name], expected[name]), "%s: found %v, there is %v", name, got[name], expected[name])
	}
	for name, to := range owners {
		e.must(len(got[name]) > 0, "%s: nothing was found", name)
		told := slices.ContainsFunc(e.box.For(to), func(m lab.Message) bool {
			return strings.Contains(m.Body, "Machine:  "+name+"\r\n") || strings.Contains(m.Body, "Machine:  "+name+"\n")
		})
		e.must(told, "%s was not told about %s", to, name)
	}
	return nil
}

func (e *exam) names(ctx context.Context) (map[asset.ServerID]string, error) {
	s, err := e.d.DB.Snapshot(ctx, "testbed", 0)
	if err != nil {
		return nil, err
	}
	out := map[asset.ServerID]string{}
	for _, v := range s.Servers {
		out[v.ID] = v.Name.Terminal()
	}
	return out, nil
}

// fix closes Redis on nofilter as its owner would, on the host, and waits for the proof.
func (e *exam) fix(ctx context.Context) error {
	if err := e.host(ctx, "nofilter", "config", "set", "requirepass", "a-password"); err != nil {
		return err
	}
	defer func() {
		if err := e.host(context.WithoutCancel(ctx), "nofilter", "-a", "a-password", "--no-auth-warning", "config", "set", "requirepass", ""); err != nil {
			fmt.Fprintln(os.Stderr, "real: restoring nofilter:", err)
		}
	}()
	f, err := e.find(ctx, "nofilter", "redis-unauth")
	if err != nil {
		return err
	}
	if err := e.d.Line.Claim(ctx, f.Case, "carol"); err != nil {
		return err
	}
	end := e.clock.Now() + (40 * time.Minute).Microseconds()
	if err := e.drive(ctx, func() bool { return e.clock.Now() >= end }); err != nil {
		return err
	}
	if f, err = e.find(ctx, "nofilter", "redis-unauth"); err != nil {
		return err
	}
	e.must(f.State == finding.Fixed && f.Negatives >= 2, "nofilter's Redis is %s after %d negatives", f.State, f.Negatives)
	c, err := e.d.DB.Case(ctx, access.Operator(), f.Case)
	if err != nil {
		return err
	}
	e.must(c.State == casework.Verified, "nofilter's case is %s", c.State)
	return nil
}

func (e *exam) find(ctx context.Context, server, check string) (finding.Finding, error) {
	names, err := e.names(ctx)
	if err != nil {
		return finding.Finding{}, err
	}
	fs, err := e.d.DB.Findings(ctx, access.Operator(), finding.Filter{})
	if err != nil {
		return finding.Finding{}, err
	}
	for _, f := range fs {
		if names[f.Key.Server] == server && f.Key.Check == check {
			return f, nil
		}
	}
	return finding.Finding{}, fmt.Errorf("there is no finding %s on %s", check, server)
}

// host runs redis-cli on a server of the testbed.
func (e *exam) host(ctx context.Context, server string, args ...string) error {
	cmd := exec.CommandContext(ctx, e.testbed, append([]string{"exec", "h-" + server, "redis-cli"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "OK") {
		return fmt.Errorf("redis-cli on %s: %w: %s", server, err, out)
	}
	return nil
}

func (e *exam) tally(ctx context.Context) (tally, error) {
	names, err := e.names(ctx)
	if err != nil {
		return tally{}, err
	}
	fs, err := e.d.DB.Findings(ctx, access.Operator(), finding.Filter{})
	if err != nil {
		return tally{}, err
	}
	open, err := e.d.DB.OpenExposures(ctx, "internet")
	if err != nil {
		return tally{}, err
	}
	out, err := e.outOfReach(ctx)
	return tally{Servers: len(names), Endpoints: len(open), Findings: len(fs), Mails: len(e.box.Messages()), Wrong: len(e.wrong),
		OutOfReach: out}, err
}

// outOfReach prints the servers that no action can reach, and counts them.
func (e *exam) outOfReach(ctx context.Context) (int, error) {
	s, err := e.d.DB.Snapshot(ctx, "testbed", 0)
	if err != nil {
		return 0, err
	}
	var views []reach.View
	for _, v := range e.d.Line.Vantages {
		views = append(views, v.View)
	}
	x := asset.NewIndex(s)
	out := flow.NoActionReaches(x, views, func(asset.Server) bool { return false })
	for _, o := range out {
		fmt.Printf("no action can reach %s: %s\n", x.Servers[o.Server].Name.Terminal(), o.Why)
	}
	return len(out), nil
}
