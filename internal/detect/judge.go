package detect

import (
	"maps"
	"net/netip"
	"regexp"
	"slices"

	"demarc/internal/detect/service"
	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

// TarpitCheck is the check that stands for all others on a host that accepts everywhere.
const TarpitCheck = "tarpit-host"

const evidenceMax = 200 // bytes of one piece of evidence

// Verdict is what facts say about one check.
type Verdict struct {
	Check    string                    `json:"check"`
	Revision int                       `json:"revision"`
	Answer   Answer                    `json:"answer"`
	Because  string                    `json:"because"` // one sentence, ours
	Applies  bool                      `json:"applies"` // the service is one the check is about
	Grade    Grade                     `json:"grade"`   // as lowered by flags
	Severity Severity                  `json:"severity"`
	Class    Class                     `json:"class"`
	Layer    string                    `json:"layer"`
	Aspect   string                    `json:"aspect"`
	Locus    string                    `json:"locus"`              // endpoint or host
	Evidence map[string]untrusted.Text `json:"evidence,omitempty"` // only names that the check lists
}

// Judge holds the facts of one endpoint against checks, at a time in µs: one verdict per check whose locus is
// an endpoint, in the order of the checks.
func Judge(facts probe.Facts, checks []Check, at int64) []Verdict {
	var out []Verdict
	for i := range checks {
		if checks[i].Locus == "endpoint" {
			out = append(out, judge(facts, &checks[i], at))
		}
	}
	return out
}

// Located is a verdict with its place. Port 0 is the host as a whole.
type Located struct {
	Endpoint probe.Endpoint `json:"endpoint"`
	Verdict
}

// HostVerdicts judges all observations of one address together. Where the host accepts on ports at which
// nothing can listen, what its ports show means nothing: one verdict on the host stands for them all.
func HostVerdicts(observations []probe.Observation, checks []Check, at int64) []Located {
	var out []Located
	for i := range observations {
		o := &observations[i]
		if o.Facts.Outcome == probe.Open && flagged(o.Facts.Service, probe.FlagTarpit) {
			return hostOnly(o, checks, at)
		}
	}
	for i := range observations {
		for _, v := range Judge(observations[i].Facts, checks, at) {
			out = append(out, Located{observations[i].Endpoint, v})
		}
	}
	for i := range observations {
		o := &observations[i]
		if o.Facts.Outcome == probe.Closed { // a host that refuses here does not accept everywhere
			return append(out, hostOnly(o, checks, at)...)
		}
	}
	return out
}

func hostOnly(o *probe.Observation, checks []Check, at int64) (out []Located) {
	for i := range checks {
		if checks[i].Locus == "host" {
			out = append(out, Located{probe.Endpoint{Addr: o.Endpoint.Addr, Proto: o.Endpoint.Proto}, judge(o.Facts, &checks[i], at)})
		}
	}
	return out
}

// ByAddress gathers observations for HostVerdicts, addresses in order.
func ByAddress(observations []probe.Observation) [][]probe.Observation {
	by := map[netip.Addr][]probe.Observation{}
	for _, o := range observations {
		by[o.Endpoint.Addr] = append(by[o.Endpoint.Addr], o)
	}
	var out [][]probe.Observation
	for _, a := range slices.SortedFunc(maps.Keys(by), netip.Addr.Compare) {
		out = append(out, by[a])
	}
	return out
}

func flagged(s *probe.Service, flags ...string) bool {
	return s != nil && slices.ContainsFunc(flags, func(f string) bool { return slices.Contains(s.Flags, f) })
}

func judge(f probe.Facts, c *Check, at int64) Verdict {
	v := Verdict{Check: c.ID, Revision: c.Revision, Grade: c.Grade, Severity: c.Severity, Class: c.Class, Layer: c.Layer, Aspect: c.Aspect, Locus: c.Locus}
	if flagged(f.Service, probe.FlagTarpit, probe.FlagEcho, probe.FlagContradiction) && c.Locus != "host" {
		v.Grade = Suspected
	}
	if f.Outcome != probe.Open {
		v.Answer, v.Because = unanswered(f.Outcome)
		return v
	}
	if f.Service == nil {
		v.Answer, v.Because = Inconclusive, "the port is open, and nothing was asked of it"
		return v
	}
	v.Applies = c.applies(f.Service)
	switch {
	case !v.Applies:
		v.Answer, v.Because = otherService(f.Service, c)
	case len(c.Exchange) > 0:
		c.followExchange(f, at, &v)
	default:
		v.Answer, v.Because = Inconclusive, "what was seen decides nothing"
		for _, b := range c.Verdict {
			if c.holds(b, f.Service.Banner.Raw(), nil, f.Service, at) {
				v.take(b, c)
				break
			}
		}
	}
	if v.Answer == NotVulnerable && c.Locus != "host" && flagged(f.Service, suspect...) {
		v.Answer, v.Because = Inconclusive, "this peer may be deceiving, and proves nothing by what it says"
	}
	if v.Applies {
		c.addFacts(f.Service, &v)
	}
	return v
}

// take gives the answer of a branch, and its grade, unless a flag has lowered that further.
func (v *Verdict) take(b Branch, c *Check) {
	v.Answer, v.Because = b.Answer, because(b, c)
	if b.Grade != "" && v.Grade != Suspected {
		v.Grade = b.Grade
	}
}

// suspect are the flags of a peer whose answers prove no fix.
var suspect = []string{probe.FlagTarpit, probe.FlagEcho, probe.FlagContradiction, probe.FlagFlood}

// holds tells whether a branch applies to an answer, the answer to the control (nil: it was not asked, or not answered) and the facts.
func (c *Check) holds(b Branch, answer string, control *probe.Turn, s *probe.Service, at int64) bool {
	if !service.Holds(b.Match, answer, s, at) {
		return false
	}
	if b.Control != nil && (control == nil || !service.Holds(*b.Control, control.Received.Raw(), s, at)) {
		return false
	}
	if b.Ended != nil {
		ended, known := false, false
		if c.Support != nil {
			ended, known = c.Support.state(s, at)
		}
		return known && ended == *b.Ended
	}
	return true
}

func unanswered(o probe.Outcome) (Answer, string) {
	switch o {
	case probe.Closed:
		return Closed, "the port is closed"
	case probe.Filtered, probe.Silent:
		return Filtered, "no answer came back, which says nothing about the service"
	default:
		return Inconclusive, "the endpoint could not be asked"
	}
}

func (c *Check) applies(s *probe.Service) bool {
	return (len(c.Applies.Service) == 0 || c.Applies.Service.Has(s.Name)) && (!c.Applies.TLS || s.TLS != nil)
}

// otherService judges a check about a service that is not the one that speaks. Only a service known by name, not suspect, that understood
// what it was asked proves that the one looked for is gone.
func otherService(s *probe.Service, c *Check) (Answer, string) {
	switch {
	case flagged(s, probe.FlagTLSFailed):
		return Inconclusive, "the port speaks TLS, and no handshake was completed"
	case s.Name == probe.Unknown || flagged(s, suspect...):
		return Inconclusive, "the service was not recognised"
	case c.Applies.Service.Has(s.Name) || len(c.Applies.Service) == 0:
		return Inconclusive, "the service does not speak through TLS"
	case s.Name == service.HTTP && notUnderstood.MatchString(s.Facts["status"].Raw()):
		return Inconclusive, "a web server answers here, and did not understand the request or could not serve it"
	default:
		return NotVulnerable, "another service answers here: " + s.Name
	}
}

// notUnderstood are the statuses with which something else may stand behind an HTTP server: the request was not understood, came too often
// or at the wrong server, or could not be served.
var notUnderstood = regexp.MustCompile(`^(1..|400|408|421|425|426|429|431|5..)?$`)

// followExchange walks the transcript with the steps in hand.
func (c *Check) followExchange(f probe.Facts, at int64, v *Verdict) {
	v.Answer, v.Because = Inconclusive, "the check's questions were not asked"
	i := slices.IndexFunc(f.Exchanges, func(x probe.Exchange) bool { return x.Check == c.ID && x.Revision == c.Revision })
	if i < 0 {
		return
	}
	x := f.Exchanges[i]
	for n, step := range c.Exchange {
		if n >= len(x.Turns) {
			v.Answer, v.Because = Inconclusive, "the conversation broke off: "+x.End
			return
		}
		turn := x.Turns[n]
		c.capture(step, turn.Received.Raw(), v)
		if step.Expect == nil || service.Holds(*step.Expect, turn.Received.Raw(), f.Service, at) {
			continue
		}
		c.branch(step.Else, x.Turns[:n+1], x.Control, f.Service, at, v)
		return
	}
	v.Answer, v.Because = Vulnerable, c.Title
}

// branch judges the last of some answers, which does not lead on. A negative needs all of them whole and, where it rests on a control, that
// of the control.
func (c *Check) branch(branches []Branch, turns []probe.Turn, control *probe.Turn, s *probe.Service, at int64, v *Verdict) {
	v.Answer, v.Because = Inconclusive, "the answer was neither the one nor the other"
	answer := turns[len(turns)-1].Received.Raw()
	whole := !slices.ContainsFunc(turns, func(t probe.Turn) bool { return !t.Whole })
	for _, b := range branches {
		if !c.holds(b, answer, control, s, at) {
			continue
		}
		v.take(b, c)
		if b.Answer == NotVulnerable && (!whole || b.Control != nil && !control.Whole) {
			v.Answer, v.Because = Inconclusive, "the answer did not come to its end"
		}
		return
	}
	for _, b := range branches {
		if b.Control != nil && service.Holds(b.Match, answer, s, at) {
			v.Because = "the control, which asks for what can not exist, was not answered as it should be"
		}
	}
}

func because(b Branch, c *Check) string {
	switch {
	case b.Because != "":
		return b.Because
	case b.Answer == Vulnerable:
		return c.Title
	default:
		return "the service refused, as it should"
	}
}

func (c *Check) capture(s Step, answer string, v *Verdict) {
	for name, expr := range s.Capture {
		if m := service.Pattern(expr).FindStringSubmatch(answer); len(m) > 1 {
			c.keep(name, untrusted.From(m[1]), v)
		}
	}
}

func (c *Check) addFacts(s *probe.Service, v *Verdict) {
	for _, name := range c.Evidence {
		if !c.captures(name) {
			c.keep(name, untrusted.From(service.Fact(s, name)), v)
		}
	}
}

// captures tells whether a step finds the evidence of this name; a fact of that name is then another thing.
func (c *Check) captures(name string) bool {
	return slices.ContainsFunc(c.Exchange, func(s Step) bool { return s.Capture[name] != "" })
}

// keep stores a piece of evidence if the check lists its name.
func (c *Check) keep(name string, t untrusted.Text, v *Verdict) {
	if t.Empty() || !slices.Contains(c.Evidence, name) {
		return
	}
	if v.Evidence == nil {
		v.Evidence = map[string]untrusted.Text{}
	}
	v.Evidence[name] = t.Cap(evidenceMax)
}
