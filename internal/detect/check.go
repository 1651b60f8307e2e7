// Package detect holds facts against known weaknesses.
//
// A check is data: what to ask, in probe's closed vocabulary, and what the answers mean. Judging is pure
// and sends nothing, so old facts can be judged again when a check changes.
package detect

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"demarc/internal/fault"
	"demarc/internal/probe"
)

// Severity is how much harm a weakness may do.
type Severity string

// Grade is how we know.
type Grade string

// Class is the clock a case runs by: X compromise, E emergency, C critical, H high, M medium, L low,
// B breach of policy, U unsupported.
type Class string

// The grades, from the surest on.
const (
	Proved    Grade = "proved"    // by the exchange
	Stated    Grade = "stated"    // by the peer
	Observed  Grade = "observed"  // exposure; policy decides
	Inferred  Grade = "inferred"  // from other facts
	Suspected Grade = "suspected" // the peer may be deceiving
)

// Answer is what facts say about a check. Only NotVulnerable and Closed speak for a fix.
type Answer string

// The answers.
const (
	Vulnerable    Answer = "vulnerable"
	NotVulnerable Answer = "not_vulnerable" // positive proof of refusal
	Closed        Answer = "closed"
	Filtered      Answer = "filtered" // also where the whole host is silent
	Inconclusive  Answer = "inconclusive"
)

var (
	severities = []string{"critical", "high", "medium", "low", "info"}
	grades     = []string{string(Proved), string(Stated), string(Observed), string(Inferred), string(Suspected)}
	classes    = []string{"X", "E", "C", "H", "M", "L", "B", "U"}
	layers     = []string{"physical", "physical-network", "datacenter", "hypervisor", "host-os", "container-host-os", "container-engine", "guest-os", "binaries-libraries", "application", "network-controls", "identity-directory", "accounts", "data", "devices", "access", "platform", "governance", "support", "assurance", "case"}
	aspects    = []string{"provide-capability", "secure-default", "configure", "maintain", "secure", "monitor", "respond", "govern"}
	answers    = []string{string(Vulnerable), string(NotVulnerable), string(Inconclusive)}
	loci       = []string{"endpoint", "host"}
	verifies   = []string{"same"}
)

// Check is one known weakness: how to see it, what it means, who must act.
type Check struct {
	ID       string   `json:"id" yaml:"id"`
	Revision int      `json:"revision" yaml:"revision"`
	Title    string   `json:"title" yaml:"title"`
	Severity Severity `json:"severity" yaml:"severity"`
	Class    Class    `json:"class" yaml:"class"`
	Grade    Grade    `json:"grade" yaml:"grade"`
	Layer    string   `json:"layer" yaml:"layer"`   // of the responsibility model
	Aspect   string   `json:"aspect" yaml:"aspect"` // of the responsibility model
	Locus    string   `json:"locus,omitempty" yaml:"locus"`
	Refs     Refs     `json:"refs,omitzero" yaml:"refs"`
	Applies  Applies  `json:"applies" yaml:"applies"`
	Exchange []Step   `json:"exchange,omitempty" yaml:"exchange"` // either this
	Control  *Step    `json:"control,omitempty" yaml:"control"`   // asked where an answer of the exchange does not lead on; see Branch.Control
	Verdict  []Branch `json:"verdict,omitempty" yaml:"verdict"`   // or this
	Support  *Support `json:"support,omitempty" yaml:"support"`   // dates for Branch.Ended
	Evidence []string `json:"evidence,omitempty" yaml:"evidence"` // names of captures and facts; nothing else is stored
	Verify   string   `json:"verify" yaml:"verify"`
	Guidance string   `json:"guidance" yaml:"guidance"` // file beside the check
	Remedy   string   `json:"remedy" yaml:"remedy"`     // one line for the mail; {service} and {endpoint} are filled in
	Advice   string   `json:"-" yaml:"-"`               // the guidance file's text
}

// Refs are names others gave to the weakness.
type Refs struct {
	CWE          int    `json:"cwe,omitempty" yaml:"cwe"`
	CVSS31       string `json:"cvss31,omitempty" yaml:"cvss31"`
	Shadowserver string `json:"shadowserver,omitempty" yaml:"shadowserver"`
}

// Applies says what a check is about.
type Applies struct {
	Service probe.Strings `json:"service,omitempty" yaml:"service"` // names of recognised services; none: any
	TLS     bool          `json:"tls,omitempty" yaml:"tls"`         // only what is spoken through TLS
}

// Step is a question of a check, and what its answers mean. Where Expect holds the next step follows; after
// the last the answer is vulnerable.
type Step struct {
	probe.Step `yaml:",inline"`
	Else       []Branch          `json:"else,omitempty" yaml:"else"`
	Capture    map[string]string `json:"capture,omitempty" yaml:"capture"` // name: RE2 with one group
}

// Branch gives an answer where its match holds, and the further conditions that it names.
type Branch struct {
	probe.Match `yaml:",inline"`
	Control     *probe.Match `json:"control,omitempty" yaml:"control"` // must hold for the answer to the check's control
	Ended       *bool        `json:"ended,omitempty" yaml:"ended"`     // the support of what was recognised has ended, or has not
	Grade       Grade        `json:"grade,omitempty" yaml:"grade"`     // a less sure one than the check's
	Answer      Answer       `json:"answer" yaml:"answer"`
	Because     string       `json:"because,omitempty" yaml:"because"`
}

// Script is what the check asks of an endpoint; it has no steps where recognition shows all there is to see.
func (c *Check) Script() probe.Script {
	s := probe.Script{Check: c.ID, Revision: c.Revision, Services: c.Applies.Service}
	for _, step := range c.Exchange {
		s.Steps = append(s.Steps, step.Step)
	}
	if c.Control != nil {
		s.Control = &c.Control.Step
	}
	return s
}

// Scripts lists what the checks ask.
func Scripts(checks []Check) []probe.Script {
	var out []probe.Script
	for i := range checks {
		if len(checks[i].Exchange) > 0 {
			out = append(out, checks[i].Script())
		}
	}
	return out
}

//go:embed checks
var embedded embed.FS

// Load gives the checks that come with the program, sorted by id.
func Load() ([]Check, error) {
	return LoadFS(Embedded())
}

// Embedded is the directory of the checks that come with the program, their guidance and recordings in it.
func Embedded() fs.FS {
	dir, err := fs.Sub(embedded, "checks")
	if err != nil { // the name is a constant that the compiler has seen
		panic(err)
	}
	return dir
}

// LoadFS reads every *.yaml of a directory as one check each, strictly: a key, verb, matcher or value
// outside the vocabulary is a Config fault with its place.
func LoadFS(dir fs.FS) ([]Check, error) {
	names, err := fs.Glob(dir, "*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list checks: %w", err)
	}
	var out []Check
	for _, name := range names {
		c, err := loadOne(dir, name)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Check) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

func loadOne(dir fs.FS, name string) (Check, error) {
	data, err := fs.ReadFile(dir, name)
	if err != nil {
		return Check{}, fault.New(fault.Config, "cannot read the check: %w", err).In(fault.Position{File: name})
	}
	c, err := Parse(name, data)
	if err != nil {
		return c, err
	}
	if want := strings.TrimSuffix(path.Base(name), ".yaml"); c.ID != want {
		return c, fault.New(fault.Config, "the check %s is in the file %s", c.ID, name).In(fault.Place(name, data, "$.id")).Hinted("name the file %s.yaml", c.ID)
	}
	advice, err := fs.ReadFile(dir, c.Guidance)
	if err != nil {
		return c, fault.New(fault.Config, "the guidance %q can not be read", c.Guidance).In(fault.Place(name, data, "$.guidance")).Hinted("it is a Markdown file beside the check")
	}
	c.Advice = string(advice)
	return c, nil
}
