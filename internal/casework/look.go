package casework

import (
	"slices"

	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/policy"
)

// looked applies a look to its finding and draws the consequences for the case.
func (m *mover) looked(s finding.Sighting) {
	if m.d.Case.TakenBack() != "" {
		return // it is on its way out whatever is seen; what is seen when it is over opens a case of its own
	}
	for i := range m.d.Findings {
		f := &m.d.Findings[i]
		if f.ID != s.Finding || outdated(*f, s) {
			continue
		}
		before := f.State
		*f = See(*f, s, m.p)
		if before != finding.Unverifiable && f.State == finding.Unverifiable {
			m.want(Blocked{f.ID})
		}
		if c := m.d.Case; before == finding.Suspicion && f.State == finding.Open && c.Received > 0 && (c.State == Notified || c.State == Acknowledged) {
			m.tell(StepNotice) // it came from another party unconfirmed, and was not told then
		}
		m.lookAgain(*f, s)
		m.consequences(*f, s)
		return
	}
}

// noVerdictFor is for how long no check has to tell anything before the operators are notified.
const noVerdictFor = day

// noVerdict: a check told nothing. It is made again, and once none has told anything for a day, the operators are notified: otherwise an owner
// who keeps every check from telling would never hear of the case again, and nobody would know.
func (m *mover) noVerdict(e NoVerdict) {
	c := &m.d.Case
	if c.TakenBack() != "" || c.State == OnHold {
		return
	}
	for i := range m.d.Findings {
		f := &m.d.Findings[i]
		if f.ID != e.Finding || !f.State.Live() {
			continue
		}
		if e.Off {
			f.NoVerdict, f.NoVerdictFrom = "", 0
			continue
		}
		if f.NoVerdict = e.Why; f.NoVerdictFrom == 0 {
			f.NoVerdictFrom = m.now
		}
		if m.now-f.NoVerdictFrom >= noVerdictFor && c.NoVerdictAt < f.NoVerdictFrom {
			c.NoVerdictAt = m.now
			m.want(Send{StepNoVerdict, Operators})
		}
	}
}

// lookAgain asks for the second half of a proof.
func (m *mover) lookAgain(f finding.Finding, s finding.Sighting) {
	if !f.State.Live() {
		return
	}
	switch {
	case s.Verdict.Negative():
		gap := m.p.Proof.FixedGap
		if m.d.Case.State == Verifying || m.d.Case.State == Restricted {
			gap = m.p.Proof.LiftGap
			if LiftProven(f, m.p) {
				return // enough to lift; the rest of the proof follows the release
			}
		}
		m.soonest(f.GoodSince + gap.Micros())
	case s.Verdict == finding.Vulnerable && f.State == finding.Suspicion:
		gap := m.p.Proof.ConfirmGap
		if m.d.Case.Track == ScanBlocked {
			gap = m.p.Proof.SilentGap
		}
		m.soonest(f.FirstSeen + gap.Micros())
	case s.Verdict == finding.NoAnswer:
		if f.State == finding.Open || f.State == finding.Claimed {
			m.soonest(f.SilentFrom + m.p.Proof.SilentGap.Micros())
		}
		if f.State == finding.Suspicion { // neither confirmed nor dropped: nothing else would check it again
			m.soonest(m.now + m.p.Recheck.Micros())
		}
	}
}

// soonest asks for the next look at a time, and never in the same minute: what a look could not settle, one at once cannot.
func (m *mover) soonest(at int64) {
	m.want(Set{TimerRecheck, max(at, m.now+hour/60)})
}

// consequences: a positive look moves the case only by a finding that is open; another's says nothing about it.
func (m *mover) consequences(f finding.Finding, s finding.Sighting) {
	c := &m.d.Case
	live := m.d.live()
	if len(live) > 0 {
		c.Class = gravest(live) // what is fixed no longer sets the clock
	}
	bad := s.Verdict == finding.Vulnerable && f.State == finding.Open
	switch c.State {
	case New, Notified, Acknowledged, Overdue, FinalWarning, Queued:
		if len(live) == 0 {
			m.proven()
			return
		}
		if c.State == New && bad {
			m.tell(StepNotice)
		}
		if c.State == New && (m.observing() || c.Track != Configuration && m.p.NoticeOf(c.Class) != policy.AtOnce) {
			m.recheckDaily(f.ID) // each reading of the cloud looks at a setting anyway
		}
		m.escalate(bad, s.At)
	case Restricted, Verifying:
		m.maybeLift(s.Verdict)
	case Released, Verified:
		if bad {
			m.relapse()
		}
	case Closed, Moot, OnHold:
	}
}

func (m *mover) anyOpen() bool {
	for _, f := range m.d.live() {
		if f.State == finding.Open && f.Negatives == 0 {
			return true
		}
	}
	return false
}

// proven: every finding is fixed, and no act was needed.
func (m *mover) proven() {
	c := &m.d.Case
	m.want(Cancel{TimerDue}, Cancel{TimerGrace}, Cancel{TimerEnforce}, Cancel{TimerRecheck})
	if c.State == New && !c.Notified() {
		if !m.waited() {
			m.closed() // nobody was told, so nobody needs to hear that it is over
			return
		}
		c.Missed = true
	}
	c.State, c.Approvals, c.Blocks = Verified, nil, nil
	c.ProbationEnds = m.now + m.p.Proof.Closed.Micros()
	m.want(Set{TimerProbation, c.ProbationEnds})
}

// waited reports whether a fix came while the notice waited for a digest. Such a case is watched like any other that was fixed: otherwise an owner
// who closes the weakness before each digest, and opens it after, would never be told.
func (m *mover) waited() bool {
	fixed := slices.ContainsFunc(m.d.Findings, func(f finding.Finding) bool { return f.State == finding.Fixed })
	return fixed && !m.observing() && m.p.NoticeOf(m.d.Case.Class) != policy.AtOnce
}

// escalate moves a case whose time is over up the ladder, on a positive look made after that time and on nothing else.
func (m *mover) escalate(bad bool, at int64) {
	c := &m.d.Case
	if !bad {
		m.notSeen()
		return
	}
	if !m.p.Mode.AtLeast(policy.Enforce) && m.stays(at) {
		return
	}
	switch {
	case (c.State == Notified || c.State == Acknowledged) && at >= c.Due:
		m.overdue()
	case c.State == Overdue:
		m.stillOverdue()
	case c.State == FinalWarning && at >= c.GraceEnds && Unannounced(*c, m.p): // by a notice that was taken late
		m.announceAnew()
	case c.State == FinalWarning && at >= c.GraceEnds && mayWarn(*c, m.p) && EndFor(*c, m.p).Restricts():
		c.State, c.QueuedAt, c.Blocks = Queued, m.now, nil
		m.want(Send{StepApproval, Operators})
	case c.State == FinalWarning && at >= c.GraceEnds:
		m.want(Send{StepEscalation, Operators})
	}
}

// notSeen: the time is over, and the look did not show the weakness. Nothing happens to the machine, and we look
// again tomorrow.
func (m *mover) notSeen() {
	c := &m.d.Case
	switch {
	case c.State == Queued && !m.anyOpen():
		c.State, c.Approvals = FinalWarning, nil
		m.want(Cancel{TimerEnforce}, Set{TimerGrace, m.now + hour})
	case c.State == FinalWarning && m.now >= c.GraceEnds:
		m.want(Set{TimerGrace, m.now + day})
	case (c.State == Notified || c.State == Acknowledged) && m.now >= c.Due:
		m.want(Set{TimerDue, m.now + day})
	}
}

// overdue: what the provider holds is escalated inside the provider and never touches the tenant's machine.
func (m *mover) overdue() {
	c := &m.d.Case
	if c.Party == duty.Customer && Unannounced(*c, m.p) {
		m.announceAnew()
		return
	}
	c.State = Overdue
	switch {
	case c.Party != duty.Customer:
		m.want(Send{StepEscalation, Provider}, Send{StepEscalation, Operators})
		m.status()
	case EndFor(*c, m.p) == policy.Report:
		m.want(Send{StepEscalation, Operators})
	default:
		m.want(Send{StepFinal, Owner})
	}
}

// maybeLift gives a machine back when every finding of its case is proven gone.
func (m *mover) maybeLift(v finding.Verdict) {
	c := &m.d.Case
	if !v.Negative() {
		c.State = Restricted
		m.want(Cancel{TimerRelease}, Set{TimerRecheck, m.now + m.p.Recheck.Micros()})
		return
	}
	for _, f := range m.d.Findings {
		if !LiftProven(f, m.p) {
			return
		}
	}
	c.State = Verifying
	m.want(Set{TimerRelease, m.now}, Cancel{TimerRecheck})
}

// relapse: it came back in probation. The old notices count; one more, and a day.
func (m *mover) relapse() {
	c := &m.d.Case
	untold := len(c.Accepted(StepNotice)) == 0
	if m.observing() || untold || c.Party == duty.Customer && Unannounced(*c, m.p) { // the old notices do not stand for what may follow now
		m.announceAnew()
		return
	}
	c.State, c.RelapsedAt, c.ProbationEnds = Overdue, m.now, 0
	c.FinalAt, c.GraceEnds, c.QueuedAt, c.Approvals, c.Blocks = 0, 0, 0, nil, nil
	m.want(Cancel{TimerProbation})
	m.tell(StepRelapse)
}

// mayWarn tells whether a case can lead to an act at all: what the provider holds, or shares, never touches the tenant's
// machine, some classes are only reported, and below the mode Enforce every class is. Without it there is no final warning and no grace.
func mayWarn(c Case, p *policy.Policy) bool {
	return c.Party == duty.Customer && EndFor(c, p) != policy.Report
}
