package casework

import (
	"slices"

	"demarc/internal/finding"
	"demarc/internal/probe"
)

// undo ends a case, or a round of it, whose findings were not proven fixed: whatever was done to the machine is undone first.
func (m *mover) undo() {
	c := &m.d.Case
	c.State, c.Hold, c.Approvals, c.Blocks = Verifying, "", nil, nil
	m.want(Cancel{TimerDue}, Cancel{TimerGrace}, Cancel{TimerRecheck}, Cancel{TimerEnforce}, Cancel{TimerHold}, Cancel{TimerStart}, Cancel{TimerProbation}, Set{TimerRelease, m.now})
}

// passed: the findings are another party's from now on, and so no reason for anything here any more. When nothing is left that
// has to be dealt with, the case is over; what was done because of it is undone. An act that waited must be earned anew by
// what remains.
func (m *mover) passed(e Passed) {
	c := &m.d.Case
	if c.State == OnHold || c.TakenBack() != "" {
		return
	}
	before := len(m.d.Findings)
	m.d.Findings = slices.DeleteFunc(m.d.Findings, func(f finding.Finding) bool { return f.State.Live() && slices.Contains(e.Findings, f.ID) })
	if len(m.d.Findings) == before {
		return
	}
	c.Passed, c.PassedAt = e.Why, m.now
	if c.State != New {
		m.want(Send{StepPassed, Owner}, Send{StepPassed, Provider})
	}
	if len(m.d.live()) > 0 {
		m.remains()
		return
	}
	m.nothingLeft()
}

// remains goes on with what is left of a case when some of it has passed.
func (m *mover) remains() {
	c, live := &m.d.Case, m.d.live()
	c.Class, c.Zone = gravest(live), widest(live)
	switch {
	case c.Act != "" && !slices.ContainsFunc(live, m.carries):
		c.Handed = true // what is left did not take the machine off the network, and does not keep it off
		m.undo()
		return
	case c.State == Queued:
		c.State, c.Approvals, c.Blocks = FinalWarning, nil, nil
		m.want(Cancel{TimerEnforce}, Set{TimerGrace, m.now})
	}
	m.want(Set{TimerRecheck, m.now})
}

// carries tells whether a finding is a reason of its own for the act in force: proved, of a class that restricts, and seen before
// the first notice of the case.
func (m *mover) carries(f *finding.Finding) bool {
	told := m.d.Case.Accepted(StepNotice)
	return f.Grade == finding.Proved && (f.State == finding.Open || f.State == finding.Claimed) && m.p.Classes[f.Class].End.Restricts() &&
		len(told) > 0 && f.FirstSeen <= told[0].AcceptedAt
}

// widest is the widest zone that some findings are seen from.
func widest(fs []*finding.Finding) probe.Zone {
	zone := fs[0].Key.Zone
	for _, f := range fs {
		if f.Key.Zone == probe.Internet {
			zone = f.Key.Zone
		}
	}
	return zone
}

// nothingLeft ends a case all of which has passed, but for what is fixed and watched.
func (m *mover) nothingLeft() {
	c := &m.d.Case
	watched := slices.ContainsFunc(m.d.Findings, func(f finding.Finding) bool { return f.State == finding.Fixed })
	switch {
	case watched && (c.State == Released || c.State == Verified): // to the end
	case watched && c.Act != "":
		c.State = Verifying
		m.want(Set{TimerRelease, m.now}, Cancel{TimerRecheck})
	case watched:
		m.proven()
	case c.Act == "":
		m.want(Cancel{TimerDue}, Cancel{TimerGrace}, Cancel{TimerRecheck}, Cancel{TimerEnforce}, Cancel{TimerProbation})
		m.closed()
	default:
		c.Handed = true
		m.undo()
	}
}

// received: what was another party's has come here. It was seen before, so its new party is told at once, by a notice of its own,
// and has time from then on: nothing that was told, promised or approved for other findings counts for it.
func (m *mover) received(e Received) {
	c, came, confirmed := &m.d.Case, false, false
	for _, f := range m.d.live() {
		if slices.Contains(e.Findings, f.ID) {
			came, confirmed = true, confirmed || f.State != finding.Suspicion
		}
	}
	if !came || c.Received == m.now {
		return
	}
	switch c.State {
	case New:
		c.Given = e.Time
	case Notified, Acknowledged:
		c.Class = gravest(m.d.live())
		c.Due = max(c.Due, m.now+least(m.classTime(), e.Time))
		m.want(Set{TimerDue, c.Due})
	case Overdue, FinalWarning, Queued, Released, Verified:
		m.newRound()
		c.Given = e.Time
		m.want(Cancel{TimerGrace}, Cancel{TimerEnforce})
	case Restricted, Verifying, Closed, OnHold, Moot:
		return // the line lets them wait until such a case is over
	}
	c.Class, c.Zone, c.Received = gravest(m.d.live()), widest(m.d.live()), m.now
	if confirmed {
		m.tell(StepNotice)
	}
	m.want(Set{TimerRecheck, m.now})
}

// least is the shorter of two times, of which the second may not be given.
func least(time, given int64) int64 {
	if given > 0 {
		return min(time, given)
	}
	return time
}
