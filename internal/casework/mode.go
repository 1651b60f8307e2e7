package casework

import (
	"slices"

	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/policy"
)

// Announces is the strongest action that a mail sent now announces, in the mode in force: what follows for the machine if nothing is
// fixed. It is Report where none follows, and "" for a step that says nothing about it.
func Announces(c Case, s Step, p *policy.Policy) policy.End {
	switch s {
	case StepNotice, StepFinal, StepRelapse:
		if !mayWarn(c, p) {
			return policy.Report
		}
		return EndFor(c, p)
	case StepRestricted, StepReleased, StepClosed, StepEscalation, StepApproval, StepRefused, StepHeld, StepTampered, StepWithdrawn,
		StepPassed, StepStatus, StepObserved, StepStillOpen, StepReturned, StepNoVerdict:
	}
	return ""
}

// warnable reports whether a mail announced that something may follow for the machine.
func (n Notice) warnable() bool { return n.End != "" && n.End != policy.Report }

// Unannounced reports whether a case may lead to an action in the mode in force although a notice of this round said that none follows, or
// to a harsher one than it said. Of several notices the mildest counts: each of them must have announced the action.
func Unannounced(c Case, p *policy.Policy) bool {
	notices := c.Accepted(StepNotice)
	if c.RelapsedAt > 0 { // the mail about the relapse stands for the final warning
		for _, n := range c.Accepted(StepRelapse) {
			if n.AcceptedAt >= c.RelapsedAt {
				notices = append(notices, n)
			}
		}
	}
	tooMild := func(n Notice) bool { return !n.warnable() || Harsher(EndFor(c, p), n.End) }
	return mayWarn(c, p) && (len(notices) == 0 || slices.ContainsFunc(notices, tooMild))
}

// Waits reports whether a mail is kept back while a mode is in force. In Observe only operators get mail; a final warning and a
// request for approval announce an action, which needs Enforce.
func Waits(s Step, to Audience, m policy.Mode) bool {
	switch {
	case to != Operators && !m.AtLeast(policy.Notify):
		return true
	case s == StepFinal || s == StepApproval:
		return !m.AtLeast(policy.Enforce)
	}
	return false
}

// observing reports whether the mode in force lets nobody but the operators be notified.
func (m *mover) observing() bool { return !m.p.Mode.AtLeast(policy.Notify) }

// observed notifies the operators of a confirmed case, once a round.
func (m *mover) observed() {
	if len(m.d.Case.Accepted(StepObserved)) == 0 {
		m.want(Send{StepObserved, Operators})
	}
}

// recheckDaily checks a case again of which nobody was notified yet, so that it closes once it is fixed: nothing else would. A
// check that is due sooner, for this finding or another, stays.
func (m *mover) recheckDaily(checked string) {
	for _, e := range m.effects {
		if s, ok := e.(Set); ok && s.Timer == TimerRecheck {
			return
		}
	}
	for _, f := range m.d.live() {
		if f.ID != checked && (f.State == finding.Suspicion || f.Negatives > 0 || f.Silences > 0 && f.State != finding.Unverifiable) {
			return
		}
	}
	m.want(Set{TimerRecheck, m.now + m.p.Recheck.Micros()})
}

// stays keeps a case where it is when the mode in force does not allow its next step, and reports whether it did. The timers are
// armed for a day later, so that the case goes on when the mode is raised.
func (m *mover) stays(at int64) bool {
	c := &m.d.Case
	switch {
	case c.State == Queued: // an approval given before the mode was lowered counts for nothing when it is raised again
		c.State = FinalWarning
		c.Blocks = []Refusal{{Condition: "mode", Reason: "the mode in force is " + string(m.p.Mode.Known()) + "; an action needs enforce"}}
		if len(c.Approvals) > 0 {
			m.want(Send{StepRefused, Operators})
		}
		c.Approvals = nil
		m.want(Cancel{TimerEnforce}, Set{TimerGrace, m.now + day})
	case c.State == FinalWarning && at >= c.GraceEnds:
		m.want(Set{TimerGrace, m.now + day})
	case m.observing() && (c.State == Notified || c.State == Acknowledged) && at >= c.Due:
		m.want(Set{TimerDue, m.now + day})
		return true
	default:
		return m.observing()
	}
	if !m.observing() {
		m.report()
	}
	return true
}

// report notifies the operators that a case is overdue, once.
func (m *mover) report() {
	if len(m.d.Case.Accepted(StepEscalation)) == 0 {
		m.want(Send{StepEscalation, Operators})
	}
}

// stillOverdue takes up a case that became overdue in a lower mode than the one in force. In the same mode the mail that moves it on
// has been queued already, and is queued once.
func (m *mover) stillOverdue() {
	c := &m.d.Case
	switch {
	case c.Party != duty.Customer:
	case Unannounced(*c, m.p):
		m.announceAnew()
	case c.RelapsedAt > 0: // the mail about the relapse stands for the final warning
	case mayWarn(*c, m.p) && len(c.Accepted(StepFinal)) == 0:
		m.want(Send{StepFinal, Owner})
	case !mayWarn(*c, m.p):
		m.report()
	}
}

// announceAnew begins a new round, with a notice that says what may follow and the full time to fix: the notices of this round said
// that nothing follows for the machine.
func (m *mover) announceAnew() {
	m.newRound()
	m.tell(StepNotice)
	m.want(Set{TimerRecheck, m.now})
}
