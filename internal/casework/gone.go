package casework

import (
	"slices"

	"demarc/internal/finding"
	"demarc/internal/policy"
)

// gone ends the case of a machine that no longer exists. Its ports may outlive it, and the next machine that is plugged in to them must not
// find itself in a quarantine that is nobody's: what was done to them is undone first.
func (m *mover) gone() {
	c := &m.d.Case
	confirmed := slices.ContainsFunc(m.d.live(), func(f *finding.Finding) bool { return f.State != finding.Suspicion })
	if c.State == New && !c.Notified() && !m.observing() && confirmed && m.p.NoticeOf(c.Class) != policy.AtOnce {
		c.Missed = true // a machine that is deleted before each digest would never be told of
	}
	for i := range m.d.Findings {
		if f := &m.d.Findings[i]; f.State != finding.Closed && f.State != finding.Dropped {
			f.State = finding.Moot
		}
	}
	if c.Act != "" && c.TakenBack() == "" {
		c.Deleted = m.now
		m.undo()
		return
	}
	if c.Act != "" { // it is being given back already
		c.Deleted = m.now
		return
	}
	m.moot()
}

// moot ends the case. The people who were notified of it are notified of its end.
func (m *mover) moot() {
	c := &m.d.Case
	told := c.Told || c.Notified()
	c.State, c.ClosedAt = Moot, m.now
	m.want(Cancel{TimerDue}, Cancel{TimerGrace}, Cancel{TimerRecheck}, Cancel{TimerEnforce},
		Cancel{TimerHold}, Cancel{TimerStart}, Cancel{TimerRelease}, Cancel{TimerProbation})
	if told {
		m.tell(StepClosed)
	}
}

// continued notes that the machine was made on the ports or volumes of a deleted one. The owner has the full time of a new case. Where the
// owner's changes had begun a round before, the operators are notified, since nothing but a person ends that.
func (m *mover) continued(e Continued) {
	c := &m.d.Case
	c.Previous, c.Missed = e.Case, c.Missed || e.Missed
	if !e.Told {
		return // no notice of an earlier round was lost to it
	}
	c.Renewed = max(c.Renewed, e.Renewed+1)
	if c.Renewed > mostRenewed {
		m.want(Send{StepReturned, Operators})
	}
}

// stillOpen keeps a machine off the network although its release was asked for, or proven: what its groups let in now is what it was
// disconnected for.
func (m *mover) stillOpen() {
	c := &m.d.Case
	if c.State != Verifying || c.TakenBack() != "" {
		return
	}
	c.State = Restricted
	for _, f := range m.d.live() {
		f.Negatives, f.GoodSince, f.LastGood = 0, 0, 0
	}
	m.tell(StepStillOpen)
	m.want(Cancel{TimerStart}, Cancel{TimerRelease}, Set{TimerRecheck, m.now + m.p.Recheck.Micros()})
}
