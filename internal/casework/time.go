package casework

import (
	"time"

	"demarc/internal/policy"
	"demarc/internal/probe"
)

// FixTime is how long the party has, by the class and zone of the case; what it had begun with before goes on.
func FixTime(c Case, p *policy.Policy) int64 { return least(classTime(c, p), c.Given) }

func (m *mover) classTime() int64 { return classTime(m.d.Case, m.p) }

func classTime(c Case, p *policy.Policy) int64 {
	k := p.Classes[c.Class]
	if c.Zone == probe.Institution {
		return k.Institution.Micros()
	}
	return k.Internet.Micros()
}

// Promise is the deadline a mail sent now states, in full minutes: for the notice the end of the time to fix, for
// the final warning the end of the grace, 0 where there is none. The clock starts when the next hop accepts the first
// mail, and never ends before what a mail said; a mail that goes out later states the clock that runs.
func Promise(c Case, s Step, p *policy.Policy, now int64) int64 {
	var at int64
	switch s {
	case StepNotice:
		at = now + FixTime(c, p)
		if c.ClockFrom > 0 {
			at = max(c.Due, now)
		}
	case StepFinal, StepRelapse:
		if !mayWarn(c, p) {
			return 0
		}
		at = now + graceTime(c, s, p)
		if c.State == FinalWarning {
			at = max(c.GraceEnds, now)
		}
	case StepStatus:
		return c.Due // the provider's, which the owner is shown
	case StepRestricted, StepReleased, StepClosed, StepEscalation, StepApproval, StepRefused, StepHeld, StepTampered,
		StepWithdrawn, StepPassed, StepStillOpen, StepReturned, StepNoVerdict, StepObserved, StepSystem:
		return 0
	}
	const minute = int64(time.Minute / time.Microsecond)
	return (at + minute - 1) / minute * minute
}

// graceTime is how long a final warning, or the notice of a relapse, gives.
func graceTime(c Case, s Step, p *policy.Policy) int64 {
	if s == StepRelapse {
		return p.Proof.RelapseWait.Micros()
	}
	return p.Classes[c.ActingClass()].Grace.Micros()
}

// least is the shorter of two times, of which the second may not be given.
func least(time, given int64) int64 {
	if given > 0 {
		return min(time, given)
	}
	return time
}

// AlmostFull is by how much a notice may fall short of the full time: the mails of one notice are sent one after the other, and the clock
// starts with the first that is accepted.
const AlmostFull = hour

// Announce is what a mail written now announces: the harshest action that the policy in force allows for the class whose action the case
// may carry out, and whether its deadline gives the full time. Admits is what the quarantine lets in for repair.
func Announce(d Dossier, s Step, deadline int64, admits []string, p *policy.Policy, now int64) Announced {
	c := d.Case
	a := Announced{Class: c.ActingClass(), Policy: p.Version, End: Announces(c, s, p)}
	if a.End.Restricts() && (s == StepFinal || s == StepRelapse) {
		a.Admits = admits
	}
	for _, f := range d.live() {
		a.Findings = append(a.Findings, f.ID)
	}
	switch s {
	case StepNotice:
		a.Full = deadline-now >= FixTime(c, p)-AlmostFull
	case StepFinal, StepRelapse:
		a.Full = deadline-now >= graceTime(c, s, p)-AlmostFull
	case StepRestricted, StepReleased, StepClosed, StepEscalation, StepApproval, StepRefused, StepHeld, StepTampered,
		StepWithdrawn, StepPassed, StepStatus, StepStillOpen, StepReturned, StepNoVerdict, StepObserved:
	}
	return a
}
