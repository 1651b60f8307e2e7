package detect

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"demarc/internal/detect/service"
	"demarc/internal/fault"
	"demarc/internal/probe"
)

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
		v.step(fmt.Sprintf("$.exchange[%d]", i), c, &c.Exchange[i])
	}
	for i := range c.Verdict {
		v.branch(fmt.Sprintf("$.verdict[%d]", i), c, c.Verdict[i])
	}
	v.control(c)
	v.support(c.Support)
}

// control refuses a control that judges by itself, or that nothing asks for.
func (v *validator) control(c *Check) {
	if c.Control == nil {
		return
	}
	if len(c.Exchange) == 0 {
		v.bad("$.control", "give an exchange", "a control stands beside the questions of an exchange")
	}
	if c.Control.Expect != nil || len(c.Control.Else) > 0 || len(c.Control.Capture) > 0 {
		v.bad("$.control", "write control in the branches of the exchange", "what the answer to the control means is said by branches")
	}
	v.step("$.control", c, c.Control)
}

func (v *validator) support(s *Support) {
	if s == nil {
		return
	}
	if s.Fact == "" || len(s.Ends) == 0 {
		v.bad("$.support", "fact: release, and ends: {name: 2028-06-30}", "the support names no fact, or no dates")
	}
	for _, dates := range []map[string]string{s.Ends, s.Unclear} {
		for _, name := range slices.Sorted(maps.Keys(dates)) {
			if _, err := day(dates[name]); err != nil {
				v.bad("$.support", "a day, such as 2028-06-30", "%s: %q is no date", name, dates[name])
			}
		}
	}
}

func (v *validator) step(at string, c *Check, s *Step) {
	if verbs := s.Verbs(); len(verbs) != 1 {
		v.bad(at, "accepted: send, http_get, pg_startup, pg_tls", "a step has exactly one verb, not %d", len(verbs))
	}
	if s.HTTPGet != "" && (!strings.HasPrefix(s.HTTPGet, "/") || strings.ContainsAny(s.HTTPGet, " \r\n")) {
		v.bad(at+".http_get", "a path from / on, without spaces", "%q can not be asked for", s.HTTPGet)
	}
	v.ascii(at, s.Send, s.HTTPGet, s.PGStartup, s.PGTLS)
	for _, expr := range s.Keep {
		v.pattern(at+".keep", expr)
	}
	if s.Expect != nil {
		v.match(at+".expect", *s.Expect)
	}
	for i, b := range s.Else {
		v.branch(fmt.Sprintf("%s.else[%d]", at, i), c, b)
	}
	for name, expr := range s.Capture {
		v.pattern(at+".capture."+name, expr)
		if v.err == nil && service.Pattern(expr).NumSubexp() != 1 {
			v.bad(at+".capture."+name, "put what is to be stored in parentheses", "a capture has exactly one group")
		}
	}
}

func (v *validator) branch(at string, c *Check, b Branch) {
	v.oneOf(at+".answer", string(b.Answer), answers)
	v.match(at, b.Match)
	if b.Control != nil {
		v.match(at+".control", *b.Control)
		if c.Control == nil {
			v.bad(at+".control", "give the check a control", "the branch needs the answer to a control that is not asked")
		}
	}
	if b.Grade != "" {
		v.oneOf(at+".grade", string(b.Grade), grades[max(0, slices.Index(grades, string(c.Grade))):])
	}
	if b.Ended != nil && c.Support == nil {
		v.bad(at+".ended", "give the check its support", "the branch needs dates, and the check has none")
	}
}

func (v *validator) match(at string, m probe.Match) {
	for _, p := range m.Patterns() {
		v.pattern(at, p)
	}
	for _, a := range m.PG {
		v.oneOf(at+".pg", a, probe.PGAnswers())
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
