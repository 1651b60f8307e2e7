package flow

import (
	"slices"

	"demarc/internal/detect"
	"demarc/internal/finding"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// noticeClasses are the classes for which nothing follows but mail, the one to take first first.
var noticeClasses = []string{"M", "L"}

// NoticeOnly is a class of a policy for which nothing follows but mail; "" where the operator has made none so. Then what is found at
// joined addresses is not told at all: every class that is left could end in an act, and there is no machine to act on. The doctor
// warns of it.
func NoticeOnly(p *policy.Policy) string {
	i := slices.IndexFunc(noticeClasses, func(c string) bool { return p.Classes[c].End == policy.Report })
	if i < 0 {
		return ""
	}
	return noticeClasses[i]
}

// joined claims what answers at addresses that a tenant has joined to the cloud by a VPN, an extra route or a BGP peer. It is told to
// that project, and nothing else follows: there is no machine of the cloud to act on.
func (l *Line) joined(v *Vantage, h harvest) []claim {
	class := NoticeOnly(l.Policy)
	at := map[probe.Endpoint]sight{}
	var judged []probe.Observation
	for _, s := range h.sights {
		if c := s.config.Connected; c != nil && class != "" && s.holder.Port == "" && s.Facts.Outcome == probe.Open {
			s.holder.Project = c.Project
			at[s.Endpoint] = s
			judged = append(judged, s.Observation)
		}
	}
	var out []claim
	for _, host := range detect.ByAddress(judged) {
		for _, j := range detect.HostVerdicts(host, l.Checks, l.Clock.Now()) {
			s, ok := at[j.Endpoint]
			if !ok || j.Answer != detect.Vulnerable {
				continue
			}
			j.Class = detect.Class(class)
			out = append(out, claim{
				key:   finding.Key{Cloud: l.Cloud, Project: s.holder.Project, Check: j.Check, Locus: s.Endpoint.String(), Zone: v.Zone},
				sight: s, verdict: j.Verdict, check: l.checks[j.Check],
				cause: "no machine of the cloud holds the address; it is joined to the cloud by " + s.config.Connected.Why,
			})
		}
	}
	return out
}

// joinedVerdict says what one observation means for a finding at an address that is joined to the cloud.
func (l *Line) joinedVerdict(f finding.Finding, s sight, host []sight, config reach.Answer) finding.Verdict {
	switch {
	case s.Facts.Outcome == probe.Failed || s.holder.Port != "" || config.Connected == nil || config.Connected.Project != f.Project:
		return "" // it is not what it was: nothing is said
	case s.Facts.Outcome == probe.Closed:
		return finding.ClosedPort
	case s.Facts.Outcome.Answered():
		return l.answer(f, host)
	}
	return finding.NoAnswer
}
