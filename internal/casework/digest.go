package casework

import "demarc/internal/policy"

// Collected reports whether a mail of a case is a first notice, which may wait for the digest of its recipient: the notice to the party that must
// act, what its case tells the owner meanwhile, and in the mode observe what the operators are notified of in its place. All other mails are sent
// at once and alone.
func Collected(c Case, s Step) bool {
	switch s {
	case StepNotice, StepObserved: // where the clock runs, it is not waited for
		return c.State == New
	case StepStatus: // of a case of which the provider is only being notified
		return c.State == New || c.State == Notified || c.State == Acknowledged
	case StepFinal, StepRestricted, StepReleased, StepClosed, StepRelapse, StepEscalation, StepApproval, StepRefused, StepHeld, StepTampered,
		StepWithdrawn, StepPassed, StepStillOpen, StepReturned, StepNoVerdict, StepSystem:
	}
	return false
}

// Slot is when the digest is due that a mail of a case waits for which is queued now; 0: it is sent at once.
func Slot(c Case, s Step, p *policy.Policy, now int64) int64 {
	if !Collected(c, s) || c.Missed {
		return 0
	}
	return p.NextDigest(p.NoticeOf(c.Class), now)
}

// Schedule has a mail that was never tried wait for its digest, or be sent now, by the class that its case has now.
func Schedule(m Mail, c Case, p *policy.Policy, now int64) Mail {
	m.Slot = Slot(c, m.Step, p, now)
	m.NextAt = max(m.Slot, now)
	return m
}

// ScheduleSoon is Schedule for a mail that stands for one that was lost or refused: it waits for the digest of the day at most.
func ScheduleSoon(m Mail, c Case, p *policy.Policy, now int64) Mail {
	if m = Schedule(m, c, p, now); m.Slot > 0 {
		m.Slot = min(m.Slot, p.NextDigest(policy.Daily, now))
		m.NextAt = m.Slot
	}
	return m
}
