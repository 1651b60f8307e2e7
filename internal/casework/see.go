package casework

import (
	"demarc/internal/finding"
	"demarc/internal/policy"
)

// See applies one look to a finding. Silence is never a fix; one negative is never a proof. A look that is older than
// the last one says nothing any more, and the same look counts once; of two at one time the positive one holds.
func See(f finding.Finding, s finding.Sighting, p *policy.Policy) finding.Finding {
	switch {
	case outdated(f, s), s.Verdict != finding.Vulnerable && s.At == latest(f):
		return f
	case s.Verdict == finding.Vulnerable, s.Verdict.Negative(), s.Verdict == finding.NoAnswer:
		f.NoVerdictFrom, f.NoVerdict = 0, ""
	}
	switch {
	case s.Verdict == finding.Vulnerable:
		return seenBad(f, s, p)
	case s.Verdict.Negative():
		return seenGood(f, s, p)
	case s.Verdict == finding.NoAnswer:
		return seenSilent(f, s, p)
	default:
		return f
	}
}

// latest is when the finding was last looked at with a result.
func latest(f finding.Finding) int64 { return max(f.LastSeen, f.LastGood, f.LastSilent) }

func outdated(f finding.Finding, s finding.Sighting) bool { return s.At < latest(f) }

func seenBad(f finding.Finding, s finding.Sighting, p *policy.Policy) finding.Finding {
	f.Negatives, f.GoodSince, f.LastGood = 0, 0, 0
	f.Silences, f.SilentFrom, f.LastSilent = 0, 0, 0
	first := f.FirstSeen
	if first == 0 {
		f.FirstSeen = s.At
	}
	f.LastSeen = s.At
	if s.Facts != "" {
		f.Facts = s.Facts
	}
	switch f.State {
	case finding.Suspicion:
		if f.Grade == finding.Proved || (first > 0 && s.At-first >= p.Proof.ConfirmGap.Micros()) {
			f.State = finding.Open
		}
	case finding.Claimed, finding.Unverifiable:
		f.State = finding.Open
	case finding.Fixed:
		f.State, f.FixedAt = finding.Open, 0
		f.Reopened++
	case finding.Open, finding.Closed, finding.Moot, finding.Dropped, finding.AttributionHold:
	}
	return f
}

func seenGood(f finding.Finding, s finding.Sighting, p *policy.Policy) finding.Finding {
	f.Silences, f.SilentFrom, f.LastSilent = 0, 0, 0
	if !f.State.Live() {
		return f
	}
	if f.State == finding.Suspicion {
		f.State = finding.Dropped
		return f
	}
	if f.Negatives == 0 {
		f.GoodSince = s.At
	}
	f.Negatives++
	f.LastGood = s.At
	if f.State == finding.Unverifiable {
		f.State = finding.Open
	}
	if goodFor(f) >= p.Proof.FixedGap.Micros() && f.Negatives >= 2 {
		f.State, f.FixedAt = finding.Fixed, s.At
	}
	return f
}

func seenSilent(f finding.Finding, s finding.Sighting, p *policy.Policy) finding.Finding {
	if f.State != finding.Open && f.State != finding.Claimed {
		return f
	}
	if f.Silences == 0 {
		f.SilentFrom = s.At
	}
	f.Silences++
	f.LastSilent = s.At
	if f.Silences >= 2 && f.LastSilent-f.SilentFrom >= p.Proof.SilentGap.Micros() {
		f.State = finding.Unverifiable
	}
	return f
}

// goodFor is the span between the first and the last of an unbroken row of negatives.
func goodFor(f finding.Finding) int64 { return f.LastGood - f.GoodSince }

// LiftProven tells whether the proof that lifts a restriction is there.
func LiftProven(f finding.Finding, p *policy.Policy) bool {
	return !f.State.Live() || (f.Negatives >= 2 && goodFor(f) >= p.Proof.LiftGap.Micros())
}
