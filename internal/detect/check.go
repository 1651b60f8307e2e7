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
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"demarc/internal/detect/service"
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
	Verdict  []Branch `json:"verdict,omitempty" yaml:"verdict"`   // or this
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

// Branch gives an answer where its match holds.
type Branch struct {
	probe.Match `yaml:",inline"`
	Answer      Answer `json:"answer" yaml:"answer"`
	Because     string `json:"because,omitempty" yaml:"because"`
}

// Script is what the check asks of an endpoint; it has no steps where recognition shows all there is to see.
func (c *Check) Script() probe.Script {
	s := probe.Script{Check: c.ID, Revision: c.Revision, Services: c.Applies.Service}
	for _, step := range c.Exchange {
		s.Steps = append(s.Steps, step.Step)
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

// Parse reads one check. The name is for messages.
func Parse(name string, data []byte) (Check, error) {
	c := Check{Locus: "endpoint", Verify: "same"}
	if err := fault.DecodeYAML(name, data, &c); err != nil {
		return c, err
	}
	v := &validator{name: name, data: data}
	v.check(&c)
	return c, v.err
}

// validator finds the first thing wrong with a check.
type validator struct {
	name string
	data []byte
	err  error
}

func (v *validator) bad(path, hint, format string, args ...any) {
	if v.err == nil {
		f := fault.New(fault.Config, format, args...).In(fault.Place(v.name, v.data, path))
		if hint != "" {
			f = f.Hinted("%s", hint)
		}
		v.err = f
	}
}

func (v *validator) oneOf(path, value string, accepted []string) {
	if slices.Contains(accepted, value) {
		return
	}
	v.bad(path, "accepted: "+strings.Join(accepted, ", "), "%s can not be %q", strings.TrimPrefix(path, "$."), value)
}

var idForm = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

func (v *validator) check(c *Check) {
	if !idForm.MatchString(c.ID) {
		v.bad("$.id", "lower case words joined by hyphens", "%q is no id", c.ID)
	}
	if c.Revision < 1 {
		v.bad("$.revision", "count from 1", "the revision is %d", c.Revision)
	}
	for field, value := range map[string]string{"title": c.Title, "guidance": c.Guidance, "remedy": c.Remedy} {
		if value == "" {
			v.bad("$."+field, "", "the check has no %s", field)
		}
	}
	v.oneOf("$.severity", string(c.Severity), severities)
	v.oneOf("$.class", string(c.Class), classes)
	v.oneOf("$.grade", string(c.Grade), grades)
	v.oneOf("$.layer", c.Layer, layers)
	v.oneOf("$.aspect", c.Aspect, aspects)
	v.oneOf("$.locus", c.Locus, loci)
	v.oneOf("$.verify", c.Verify, verifies)
	for i, s := range c.Applies.Service {
		p := "$.applies.service"
		if len(c.Applies.Service) > 1 {
			p = fmt.Sprintf("%s[%d]", p, i)
		}
		v.oneOf(p, s, service.Names())
	}
	switch {
	case len(c.Exchange) > 0 && len(c.Verdict) > 0:
		v.bad("$.verdict", "", "a check has an exchange or a verdict, not both")
	case len(c.Exchange) == 0 && len(c.Verdict) == 0:
		v.bad("$.id", "give an exchange or a verdict", "the check can not come to an answer")
	case len(c.Exchange) > probe.MaxSteps:
		v.bad("$.exchange", "", "the exchange has %d steps; at most %d are allowed", len(c.Exchange), probe.MaxSteps)
	case len(c.Exchange) > 0 && len(c.Applies.Service) == 0:
		v.bad("$.applies", "accepted: "+strings.Join(service.Names(), ", "), "a check that asks must say of which service")
	}
	for i := range c.Exchange {
		v.step(fmt.Sprintf("$.exchange[%d]", i), &c.Exchange[i])
	}
	for i := range c.Verdict {
		v.branch(fmt.Sprintf("$.verdict[%d]", i), c.Verdict[i])
	}
}

func (v *validator) step(at string, s *Step) {
	if verbs := s.Verbs(); len(verbs) != 1 {
		v.bad(at, "accepted: send, http_get, pg_startup", "a step has exactly one verb, not %d", len(verbs))
	}
	if s.HTTPGet != "" && (!strings.HasPrefix(s.HTTPGet, "/") || strings.ContainsAny(s.HTTPGet, " \r\n")) {
		v.bad(at+".http_get", "a path from / on, without spaces", "%q can not be asked for", s.HTTPGet)
	}
	v.ascii(at, s.Send, s.HTTPGet, s.PGStartup)
	v.pattern(at+".keep", s.Keep)
	if s.Expect != nil {
		v.match(at+".expect", *s.Expect)
	}
	for i, b := range s.Else {
		v.branch(fmt.Sprintf("%s.else[%d]", at, i), b)
	}
	for name, expr := range s.Capture {
		v.pattern(at+".capture."+name, expr)
		if v.err == nil && service.Pattern(expr).NumSubexp() != 1 {
			v.bad(at+".capture."+name, "put what is to be stored in parentheses", "a capture has exactly one group")
		}
	}
}

func (v *validator) branch(at string, b Branch) {
	v.oneOf(at+".answer", string(b.Answer), answers)
	v.match(at, b.Match)
}

func (v *validator) match(at string, m probe.Match) {
	for _, p := range m.Patterns() {
		v.pattern(at, p)
	}
	v.ascii(at, slices.Concat(m.Prefix, m.Contains, m.Equals)...)
}

func (v *validator) pattern(at, expr string) {
	if _, err := regexp.Compile(expr); err != nil {
		v.bad(at, "RE2 syntax", "a regular expression does not compile: %w", err)
	}
}

// ascii refuses what would be written as one byte and sent as two.
func (v *validator) ascii(at string, values ...string) {
	for _, s := range values {
		if strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) {
			v.bad(at, "escape control characters; bytes from 0x80 on can not be written", "only ASCII is sent and compared")
		}
	}
}
