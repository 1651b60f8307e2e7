// Package demo tells the whole story of the line on one machine, in a pretend world.
//
// The world is pretend, Demarc is not: the same driver, engine, checks, casework, gate, store and mail as in
// production talk to servers on loopback. Only policy time is compressed: it stands still while anything is under
// way and leaps to what is due next when nothing is.
package demo

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"demarc/internal/asset"
	"demarc/internal/fault"
	"demarc/internal/flow"
	"demarc/internal/lab"
	"demarc/internal/policy"
	"demarc/internal/serve"
)

//go:embed policy.yaml
var policyYAML []byte

// PolicyYAML is the demo's policy as its file stands.
func PolicyYAML() []byte { return append([]byte(nil), policyYAML...) }

// begins is the first moment of the story: a Monday morning.
var begins = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)

// Demo is one pretend world with a Demarc in it.
type Demo struct {
	World  *lab.World
	Demarc *serve.Demarc
	Clock  *flow.Leaping
	Dir    string
	Config []byte // the configuration as its file stands
	story  *story
	ownDir bool
}

// Options are how a demo is run.
type Options struct {
	Dir      string                      // where the database and the configuration go; empty: a temporary folder
	Anywhere bool                        // take any free range of loopback, so that several run side by side
	Tell     func(flow.Happening)        // told everything that happens
	Say      func(at int64, what string) // told what the people of the story do
}

// New builds the world, writes a configuration as an operator would, and starts Demarc on it.
func New(ctx context.Context, o Options) (*Demo, error) {
	d := &Demo{Dir: o.Dir, Clock: flow.NewLeaping(begins.UnixMicro())}
	if d.Dir == "" {
		dir, err := os.MkdirTemp("", "demarc-demo-")
		if err != nil {
			return nil, fmt.Errorf("making a folder for the demo: %w", err)
		}
		d.Dir, d.ownDir = dir, true
	}
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return nil, fault.New(fault.Config, "cannot make the demo's folder: %w", err)
	}
	scenario := lab.DemoScenario()
	scenario.Anywhere = o.Anywhere
	var err error
	if d.World, err = lab.New(scenario); err != nil {
		return nil, errors.Join(fault.New(fault.Unavailable, "cannot start the pretend world: %w", err).Hinted("is another demo running? end it first"), d.Close())
	}
	d.story = newStory(d, o)
	path, err := d.writeConfig()
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	c, p, err := serve.Load(path)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	d.Demarc, err = serve.Open(ctx, c, p, serve.Options{Clock: d.Clock, Tell: d.story.heard})
	if err == nil {
		err = d.story.raise(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Close ends the world and removes what the demo made.
func (d *Demo) Close() error {
	var errs []error
	if d.Demarc != nil {
		errs = append(errs, d.Demarc.Close())
	}
	if d.World != nil {
		d.World.Close()
	}
	if d.ownDir {
		errs = append(errs, os.RemoveAll(d.Dir))
	}
	return errors.Join(errs...)
}

const configTemplate = `# The configuration of the demo, written as an operator would write it.
database: demarc.db
policy: policy.yaml
mode: enforce
policy_url: %[1]s
guidance_url: http://127.0.0.1:8600/guidance/
cloud:
  name: demo
  auth_url: %[2]s
  username: %[3]s
  password_file: cloud.secret
  project: %[4]s
netblocks:
  - {cidr: %[5]s, holder: provider, zones: [internet]}
vantages:
  - {name: internet, zone: internet, sources: [%[6]s], bind: true, connect_timeout: 300ms, banner_time: 200ms, quiet_time: 20ms, host_rate: 400, rate: 4000}
contracts:
  - {id: ESC-2026-17, type: extended, projects: [%[7]s], from: 2026-01-01T00:00:00Z}
mail:
  host: %[8]s
  port: %[9]s
  tls: none
  from: demarc@cloud.example
  provider: %[11]s
  operators: %[12]s
quarantine:
  name: demarc-quarantine
  admit:
    - {cidr: %[10]s, proto: tcp, port: 22, purpose: "repair path: the operators' bastion"}
sample: {control: 160}
`

func (d *Demo) writeConfig() (string, error) {
	host, port, err := net.SplitHostPort(d.World.Mail.Addr())
	if err != nil {
		return "", fmt.Errorf("the pretend mailbox: %w", err)
	}
	w := d.World
	d.Config = fmt.Appendf(nil, configTemplate, "http://127.0.0.1:8600/probing", w.AuthURL(), lab.DemoUser, lab.DemoProject, w.AtPrefix(netblock), w.Source("scanner"),
		w.ProjectID("physics"), host, port, w.AtPrefix(bastion), provider, operators)
	files := map[string][]byte{"demarc.yaml": d.Config, "policy.yaml": policyYAML, "cloud.secret": []byte(lab.DemoPassword + "\n")}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(d.Dir, name), data, 0o600); err != nil {
			return "", fmt.Errorf("writing the demo's configuration: %w", err)
		}
	}
	return filepath.Join(d.Dir, "demarc.yaml"), nil
}

// Run drives the line until the story is over or ctx ends. Each time nothing is due the people of the story do what they
// have a mind to, and then policy time leaps.
func (d *Demo) Run(ctx context.Context) (*Outcome, error) {
	began := time.Now()
	for steps := 0; ctx.Err() == nil; steps++ {
		worked, err := d.Demarc.Line.Step(ctx)
		if err != nil && ctx.Err() == nil {
			return nil, fmt.Errorf("on policy day %s: %w", d.day(), err)
		}
		if worked {
			continue
		}
		if over, err := d.story.over(ctx); err != nil {
			return nil, err
		} else if over {
			return d.story.outcome(ctx, time.Since(began))
		}
		if err := d.leap(ctx); err != nil {
			return nil, err
		}
	}
	return nil, ctx.Err()
}

// idle is how long a line without work waits before it looks for some again.
const idle = 200 * time.Millisecond

// Idle goes on when the story is over, so that what a person decides by hand is acted on. Policy time stands still: only what
// is due already is done. A piece that cannot be done is put off by the line, and told.
func (d *Demo) Idle(ctx context.Context) error {
	for ctx.Err() == nil {
		worked, err := d.Demarc.Line.Step(ctx)
		if err != nil && ctx.Err() == nil && !fault.Is(err, fault.Conflict) { // somebody decided at the desk meanwhile
			return fmt.Errorf("after the story: %w", err)
		}
		if worked {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(idle):
		}
	}
	return nil
}

// longest bounds a story that does not come to its end.
const longest = 60 * 24 * time.Hour

func (d *Demo) leap(ctx context.Context) error {
	due, err := d.Demarc.Line.NextDue(ctx)
	if err != nil {
		return err
	}
	if at, ok := d.story.nextAct(); ok && at <= due {
		d.Clock.LeapTo(at)
		return d.story.act(ctx)
	}
	if time.UnixMicro(due).Sub(begins) > longest {
		return fmt.Errorf("the story did not end within %d days: %s", int(longest.Hours()/24), strings.Join(d.story.missing(), "; "))
	}
	d.Clock.LeapTo(due)
	return nil
}

func (d *Demo) day() string {
	return strconv.Itoa(int(time.UnixMicro(d.Clock.Now()).Sub(begins).Hours() / 24))
}

// Policy is the policy in force.
func (d *Demo) Policy() *policy.Policy { return d.Demarc.Policy }

// ProjectName is what people call a project.
func (d *Demo) ProjectName(p asset.ProjectID) string {
	for _, name := range []string{"astro", "genomics", "teaching", "physics", "compute"} {
		if d.World.ProjectID(name) == string(p) {
			return name
		}
	}
	return string(p)
}
