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
	case StepRestricted, StepReleased, StepClosed, StepEscalation, StepApproval, StepRefused, StepHeld, StepTampered, StepWithdrawn, StepPassed:
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
	return p.Classes[c.Class].Grace.Micros()
}

// least is the shorter of two times, of which the second may not be given.
func least(time, given int64) int64 {
	if given > 0 {
		return min(time, given)
	}
	return time
}
