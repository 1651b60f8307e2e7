// Command variety compares what the pipeline lists and reports on a real OpenStack with nmap of every TCP port.
//
// The cloud is the one that test/cloudlab/testbed brings up from the scenario variety. The pipeline runs there for a day of its
// own clock with both vantage points, in mode notify. Then nmap asks all TCP ports of all addresses from both. Every port that
// nmap sees open must be in demarc exposure list, and every weakness of the scenario must be a finding with the right owner, or
// the listing must say that its port has not been probed yet.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"demarc/internal/flow"
	"demarc/internal/lab"
	"demarc/internal/policy"
	"demarc/internal/serve"
)

func main() {
	clouds := flag.String("clouds", "", "the testbed's clouds.yaml")
	testbed := flag.String("testbed", "test/cloudlab/testbed", "the testbed's script")
	prefix := flag.String("prefix", "cloudlab", "prefix of the testbed's namespaces")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Minute)
	defer cancel()
	count, err := run(ctx, *clouds, *testbed, *prefix)
	if err != nil {
		fmt.Fprintln(os.Stderr, "variety:", err)
		os.Exit(3)
	}
	line, err := json.Marshal(count)
	if err != nil {
		fmt.Fprintln(os.Stderr, "variety:", err)
		os.Exit(3)
	}
	fmt.Println(string(line))
	if count.Wrong > 0 {
		os.Exit(1)
	}
}

// tally is the last line.
type tally struct {
	Servers  int `json:"servers"`
	Ports    int `json:"ports"`    // that nmap found open, each counted per vantage point
	Findings int `json:"findings"` // of checks that probe
	Unprobed int `json:"unprobed"` // ports and weaknesses of which the listing says that they were not probed yet
	Wrong    int `json:"wrong"`
}

const config = `database: variety.db
mode: notify
policy_url: https://probing.cloud.example/
cloud: {name: testbed, clouds_file: %[1]s, clouds_entry: admin}
netblocks:
  - {cidr: 203.0.113.0/24, holder: provider, zones: [internet, institution]}
  - {cidr: "2001:db8:100::/64", holder: provider, zones: [internet, institution]}
  - {cidr: "2001:db8:a1::/64", holder: provider, zones: [internet, institution]}
vantages:
  - {name: internet, zone: internet, sources: [198.51.100.10, "2001:db8:f::10"], namespace: %[2]s-internet, connect_timeout: 1s, host_rate: 100, except: ["2001:db8:e::/64"]}
  - {name: institution, zone: institution, sources: [172.28.0.10, "2001:db8:e::10"], namespace: %[2]s-institution, connect_timeout: 1s, host_rate: 100}
mail: {host: %[3]s, port: %[4]s, tls: none, from: demarc@cloud.example, provider: platform@cloud.example, operators: operators@cloud.example}
`

// exam is one run; wrong holds what differs from the scenario.
type exam struct {
	d       *serve.Demarc
	clock   *flow.Leaping
	box     *lab.Mailbox
	dir     string
	testbed string
	wrong   []string
	count   tally
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
	dir, err := os.MkdirTemp("", "demarc-variety-")
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	e := &exam{box: box, testbed: testbed, dir: dir, clock: flow.NewLeaping(time.Now().UnixMicro())}
	if err := e.open(ctx, clouds, prefix); err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, e.d.Close()) }()
	began := time.Now()
	if err := e.drive(ctx, e.clock.Now()+(25*time.Hour).Microseconds()); err != nil {
		return t, err
	}
	fmt.Printf("inventory, sweeps and notices: %.0f s\n", time.Since(began).Seconds())
	if err := e.compare(ctx); err != nil {
		return t, err
	}
	e.count.Wrong = len(e.wrong)
	return e.count, nil
}

func (e *exam) configFile() string { return filepath.Join(e.dir, "demarc.yaml") }

func (e *exam) open(ctx context.Context, clouds, prefix string) error {
	host, port, err := net.SplitHostPort(e.box.Addr())
	if err != nil {
		return err
	}
	if err := os.WriteFile(e.configFile(), fmt.Appendf(nil, config, clouds, prefix, host, port), 0o600); err != nil {
		return err
	}
	c, p, err := serve.Load(e.configFile())
	if err != nil {
		return err
	}
	if e.d, err = serve.Open(ctx, c, p, serve.Options{Clock: e.clock}); err != nil {
		return err
	}
	if err := e.d.Line.SetMode(ctx, policy.Notify, "operator", "the owners are simulated"); err != nil {
		return errors.Join(err, e.d.Close())
	}
	return nil
}

// drive runs the pipeline until its clock reaches end.
func (e *exam) drive(ctx context.Context, end int64) error {
	for ctx.Err() == nil {
		worked, err := e.d.Line.Step(ctx)
		if err != nil {
			return err
		}
		if worked {
			continue
		}
		if e.clock.Now() >= end {
			return nil
		}
		due, err := e.d.Line.NextDue(ctx)
		if err != nil {
			return err
		}
		// The inventory is due every minute; between cases nothing else is, so an hour may pass.
		next := e.clock.Now() + time.Hour.Microseconds()
		if at, ok, err := e.d.DB.NextDue(ctx, e.clock.Now()); err == nil && ok {
			next = min(next, at)
		}
		e.clock.LeapTo(max(due, next))
	}
	return ctx.Err()
}
