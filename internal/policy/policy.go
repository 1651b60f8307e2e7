// Package policy holds the operator's rules as data.
//
// Numbers are defaults with published anchors; states, guards and the gate are code elsewhere.
package policy

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"demarc/internal/fault"
)

// Duration is a length of time; in YAML it also takes days ("14d").
type Duration time.Duration

// Micros is the length in µs, the unit of every stored time.
func (d Duration) Micros() int64 { return time.Duration(d).Microseconds() }

func (d Duration) String() string {
	t := time.Duration(d)
	if t >= 24*time.Hour && t%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", t/(24*time.Hour))
	}
	return t.String()
}

// UnmarshalYAML reads "14d", "36h" or "10m".
func (d *Duration) UnmarshalYAML(b []byte) error {
	s := strings.Trim(strings.TrimSpace(string(b)), `"'`)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > 3650 {
			return fault.New(fault.Config, "%q is not a length of time", s).Hinted("write 14d, 36h or 10m")
		}
		*d = Duration(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	t, err := time.ParseDuration(s)
	if err != nil || t < 0 {
		return fault.New(fault.Config, "%q is not a length of time", s).Hinted("write 14d, 36h or 10m")
	}
	*d = Duration(t)
	return nil
}

// End is the strongest act a class of findings may lead to.
type End string

const (
	Report     End = "report"     // none: it is reported
	Quarantine End = "quarantine" // rung R2 of the ladder: off the network, and running
	Stop       End = "stop"       // rung R3: off the network, stopped, and locked with the reason
	Operator   End = "operator"   // a human decides
)

// Restricts tells whether a class ends in an act on the tenant's machine.
func (e End) Restricts() bool { return e == Quarantine || e == Stop }

// Class sets the clocks of one class of findings. Institution is the fix time where only the institution's
// network can reach the weakness.
type Class struct {
	Internet    Duration `yaml:"internet"`
	Institution Duration `yaml:"institution"`
	Grace       Duration `yaml:"grace"`
	End         End      `yaml:"end"`
	Notice      Notice   `yaml:"notice"` // see NoticeOf
}

// Budgets bound the acts on tenants' machines. Over budget means none of the batch.
type Budgets struct {
	CloudHour    int     `yaml:"cloud_per_hour"`
	CloudDay     int     `yaml:"cloud_per_day"`
	ProjectHour  int     `yaml:"project_per_hour"`
	ProjectShare float64 `yaml:"project_share_per_day"` // of the project's running servers; never less than one
	CloudShare   float64 `yaml:"cloud_share_per_day"`   // of the cloud's running servers; never less than one
}

// Proof says what shows that a weakness is gone.
type Proof struct {
	LiftGap     Duration `yaml:"lift_gap"`     // between the two negatives that lift a restriction
	FixedGap    Duration `yaml:"fixed_gap"`    // between the two negatives that make a finding fixed
	Closed      Duration `yaml:"closed"`       // without recurrence until closed
	SilentGap   Duration `yaml:"silent_gap"`   // between the two silent cycles that make it unverifiable
	ConfirmGap  Duration `yaml:"confirm_gap"`  // between the two looks that confirm a suspicion
	RelapseWait Duration `yaml:"relapse_wait"` // after the notice of a relapse in probation
}

// Freshness bounds, at the gate, how old what it relies on may be, in real time.
type Freshness struct {
	Probe     Duration `yaml:"probe"`
	Binding   Duration `yaml:"binding"`
	Inventory Duration `yaml:"inventory"`
}

// Policy is one version of the rules of one cloud.
type Policy struct {
	Version  int              `yaml:"version"`
	Mode     Mode             `yaml:"-"`         // the mode in force; as a configuration gives it, the highest that is allowed
	TimeZone string           `yaml:"time_zone"` // IANA name for deadlines in mails
	Sweep    Duration         `yaml:"sweep_every"`
	Refresh  Duration         `yaml:"inventory_every"` // the whole cloud
	Recent   Duration         `yaml:"recent_every"`    // of it, what changes often: servers that changed, groups, floating IPs
	Recheck  Duration         `yaml:"recheck_every"`   // of a restricted machine, so that a fix is seen without being told
	Classes  map[string]Class `yaml:"classes"`
	Digests  Digests          `yaml:"digests"`
	Budgets  Budgets          `yaml:"budgets"`
	Proof    Proof            `yaml:"proof"`
	Posture  []string         `yaml:"posture"` // the checks of the configuration itself that are made; empty: none
	// More TCP and UDP ports than WidePorts that are open to the internet are a finding, whatever the profile.
	WidePorts  int       `yaml:"wide_ports"`  // default 1024
	WideWithin Duration  `yaml:"wide_within"` // within which each port of a run too wide for one sweep is probed; default 30d
	Freshness  Freshness `yaml:"freshness"`

	Profiles  map[string]Profile `yaml:"profiles"`   // beside those of the default policy, or instead of one of the same name
	ProfileOf []ProfileOf        `yaml:"profile_of"` // what an operator declares; it comes before what the owner says
}

//go:embed default.yaml
var defaultPolicy []byte

// DefaultYAML is the text of the default policy, to be shown and copied.
func DefaultYAML() []byte { return slices.Clone(defaultPolicy) }

// Default is the policy in force where an operator wrote none. The caller must not change it.
var Default = sync.OnceValues(func() (*Policy, error) { return parse("default.yaml", defaultPolicy, nil) })

// Postures lists the checks that the configuration of a cloud is held against without a packet.
var Postures = []string{"sg-blocks-scanner", "default-group-open", "template-group-open", "netblock-mismatch", "exposure-profile", "wide-opening", "shared-group-open"}

// ClassNames lists the classes a policy must set clocks for.
var ClassNames = []string{"E", "C", "H", "M", "L", "B", "U"}

// Parse reads and validates a policy. Profiles that it does not have are those of the default policy.
func Parse(name string, data []byte) (*Policy, error) {
	d, err := Default()
	if err != nil {
		return nil, err
	}
	return parse(name, data, d.Profiles)
}

func parse(name string, data []byte, from map[string]Profile) (*Policy, error) {
	var p Policy
	if err := fault.DecodeYAML(name, data, &p); err != nil {
		return nil, removed(data, err)
	}
	p.inherit(from)
	p.inheritDigests()
	if p.WidePorts == 0 {
		p.WidePorts = 1024
	}
	if p.WideWithin == 0 {
		p.WideWithin = Duration(30 * 24 * time.Hour)
	}
	if at, f := p.validate(); f != nil {
		return nil, f.In(fault.Nearest(name, data, "$."+at))
	}
	return &p, nil
}

// Validate refuses a policy with which the rules above all tables could not hold.
func (p *Policy) Validate() error {
	if _, f := p.validate(); f != nil {
		return f
	}
	return nil
}

// validate gives what is wrong and the path of it.
func (p *Policy) validate() (at string, f *fault.Fault) {
	for _, c := range ClassNames {
		k, ok := p.Classes[c]
		if !ok {
			return "classes", fault.New(fault.Config, "class %s has no clocks", c).Hinted("set classes.%s", c)
		}
		if k.Internet <= 0 || k.Institution <= 0 {
			return "classes." + c, fault.New(fault.Config, "class %s has no time to fix", c)
		}
		if !slices.Contains([]End{Report, Quarantine, Stop, Operator}, k.End) {
			return "classes." + c + ".end", fault.New(fault.Config, "class %s: unknown end %q", c, k.End).Hinted("one of report, quarantine, stop, operator")
		}
		if k.End.Restricts() && k.Grace < Duration(24*time.Hour) {
			return "classes." + c + ".grace", fault.New(fault.Config, "class %s may end in %s with a grace of %s", c, k.End, k.Grace).Hinted("at least 24h")
		}
	}
	for c := range p.Classes {
		if !slices.Contains(ClassNames, c) {
			return "classes." + c, fault.New(fault.Config, "unknown class %q", c).Hinted("one of %v", ClassNames)
		}
	}
	for i, c := range p.Posture {
		if !slices.Contains(Postures, c) {
			return fmt.Sprintf("posture[%d]", i), fault.New(fault.Config, "unknown check of the configuration %q", c).Hinted("one of %s", strings.Join(Postures, ", "))
		}
	}
	if _, err := time.LoadLocation(p.TimeZone); err != nil {
		return "time_zone", fault.New(fault.Config, "unknown time zone %q", p.TimeZone).Hinted("an IANA name such as Europe/London")
	}
	if at, f := p.validateDigests(); f != nil {
		return at, f
	}
	if at, f := p.validateProfiles(); f != nil {
		return at, f
	}
	if p.WidePorts < 1 || p.WidePorts > 131_070 {
		return "wide_ports", fault.New(fault.Config, "wide_ports is %d", p.WidePorts).Hinted("from 1 to 131070: all ports of TCP and UDP")
	}
	return p.validateNumbers()
}

// WideParts is in how many sweeps, so far apart, each port of a run is probed that is too wide for one.
func (p *Policy) WideParts(every Duration) int {
	return max(1, int(p.WideWithin/max(every, 1)))
}

func (p *Policy) validateNumbers() (at string, f *fault.Fault) {
	b := p.Budgets
	for _, k := range []struct {
		name  string
		got   float64
		share bool
	}{
		{"cloud_per_hour", float64(b.CloudHour), false}, {"cloud_per_day", float64(b.CloudDay), false}, {"project_per_hour", float64(b.ProjectHour), false},
		{"project_share_per_day", b.ProjectShare, true}, {"cloud_share_per_day", b.CloudShare, true},
	} {
		if k.got < 0 || k.share && k.got > 1 {
			return "budgets." + k.name, fault.New(fault.Config, "budgets.%s is %v: a budget is negative, or a share is above 1", k.name, k.got)
		}
	}
	for _, c := range []struct {
		name      string
		got       Duration
		least     time.Duration
		mostIsMax bool
	}{
		{"proof.lift_gap", p.Proof.LiftGap, 10 * time.Minute, false},
		{"proof.fixed_gap", p.Proof.FixedGap, 30 * time.Minute, false},
		{"proof.closed", p.Proof.Closed, 14 * 24 * time.Hour, false},
		{"proof.silent_gap", p.Proof.SilentGap, 24 * time.Hour, false},
		{"proof.confirm_gap", p.Proof.ConfirmGap, 10 * time.Minute, false},
		{"proof.relapse_wait", p.Proof.RelapseWait, 24 * time.Hour, false},
		{"freshness.probe", p.Freshness.Probe, time.Hour, true},
		{"freshness.binding", p.Freshness.Binding, 10 * time.Minute, true},
		{"freshness.inventory", p.Freshness.Inventory, 15 * time.Minute, true},
		{"sweep_every", p.Sweep, time.Minute, false},
		{"inventory_every", p.Refresh, time.Second, false},
		{"recent_every", p.Recent, time.Second, false},
		{"recheck_every", p.Recheck, 10 * time.Minute, false},
		{"wide_within", p.WideWithin, time.Minute, false},
	} {
		if c.got <= 0 || (c.mostIsMax && time.Duration(c.got) > c.least) || (!c.mostIsMax && time.Duration(c.got) < c.least) {
			word := "at least"
			if c.mostIsMax {
				word = "above 0 and at most"
			}
			return c.name, fault.New(fault.Config, "%s is %s", c.name, c.got).Hinted("%s %s", word, Duration(c.least))
		}
	}
	return "", nil
}

// Location is the time zone of deadlines.
func (p *Policy) Location() *time.Location {
	l, err := time.LoadLocation(p.TimeZone)
	if err != nil {
		return time.UTC
	}
	return l
}
