package flow

import (
	"demarc/internal/asset"
	"demarc/internal/detect"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// The findings that follow from the configuration and not from a check.
const (
	CheckLeak    = "denied-but-answers" // the rules deny it, and it answers
	CheckBlocked = "scanner-blocked"    // the rules let us in, and the machine has stopped answering us
)

// charge says who must act on a weakness: the assignment of the model for its layer and aspect, for this machine, under the
// contract that stands now.
func (l *Line) charge(layer duty.Layer, aspect duty.Aspect, s asset.ServerID, p asset.ProjectID) duty.Resolution {
	r := duty.Resource{Cloud: l.Cloud, Region: l.Region, Project: p, Server: s}
	if v := l.x.Projects[p]; v != nil {
		r.Domain, r.Tags = v.Domain, v.Tags
	}
	return l.Model.Resolve(layer, aspect, l.Model.Describe(r, l.Clock.Now()))
}

// leak is the claim that an endpoint answers although the rules let nobody in. Whose it is follows from the cause: what the
// tenant's own settings explain is the tenant's, anything else is a filter of the provider's that does not filter.
func (l *Line) leak(v *Vantage, s sight) claim {
	layer, aspect, cause := "network-controls", "provide-capability", "no rule, port setting or address pair explains the answer: the provider's filter lets it through"
	if p := l.x.Ports[s.holder.Port]; p != nil {
		for _, pair := range p.Pairs {
			if pair.Prefix.Bits() == 0 {
				aspect, cause = "configure", "the port may send and answer for any address (allowed address pair "+pair.Prefix.String()+")"
			}
		}
	}
	return claim{key: l.key(v, s, CheckLeak, s.Endpoint), sight: s, cause: cause,
		verdict: detect.Verdict{Check: CheckLeak, Revision: 1, Answer: detect.Vulnerable, Grade: detect.Grade(finding.Observed), Severity: "high", Class: "H", Layer: layer, Aspect: aspect}}
}

// leakVerdict: a leak is gone when the port is closed, when silence is what the rules ask for and the path is alive, or when
// the rules now say that it is open, so that the ordinary checks take over.
func leakVerdict(s sight, config reach.Answer, alive bool) finding.Verdict {
	switch s.Facts.Outcome {
	case probe.Open:
		if config.Zone || config.Scanner {
			return finding.Removed
		}
		return finding.Vulnerable
	case probe.Closed:
		return finding.ClosedPort
	case probe.Filtered, probe.Silent:
		if alive {
			return finding.Removed
		}
		return finding.Inconclusive
	case probe.Failed:
	}
	return ""
}
