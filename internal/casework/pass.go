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
	if c.State != New && !c.Missed || c.Told {
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
	was := c.Class
	c.Class, c.Zone, c.Given = gravest(live), widest(live), 0
	switch {
	case c.Act != "" && !slices.ContainsFunc(live, m.carries):
		c.Handed = true // what is left did not take the machine off the network, and does not keep it off
		m.undo()
		return
	case c.Class != was && (c.State == FinalWarning || c.State == Queued): // its grace was another's
		m.newRound()
		m.want(Cancel{TimerGrace}, Cancel{TimerEnforce})
	case c.State == Queued:
		c.State, c.Approvals, c.Blocks = FinalWarning, nil, nil
		m.want(Cancel{TimerEnforce}, Set{TimerGrace, m.now})
	}
	m.want(Set{TimerRecheck, m.now})
}

// carries tells whether a finding is a reason of its own for the act in force: proved, of a class that restricts, seen before
// the first notice of the case, and named in a notice since it came. The mode does not matter: lowering it gives no machine back.
func (m *mover) carries(f *finding.Finding) bool {
	told := m.d.Case.Accepted(StepNotice)
	if !slices.ContainsFunc(told, func(n Notice) bool { return n.AcceptedAt >= m.d.Case.Received }) {
		return false
	}
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
	c, came, confirmed, alone := &m.d.Case, false, false, true
	for _, f := range m.d.live() {
		if !slices.Contains(e.Findings, f.ID) {
			alone = false
			continue
		}
		came, confirmed = true, confirmed || f.State != finding.Suspicion
	}
	if !came {
		return
	}
	given := e.Time
	if !alone {
		given = 0 // what was here before has the time of its class
	}
	switch c.State {
	case New:
		switch {
		case c.Received != m.now:
			c.Given = given
		case c.Given > 0 && given > 0: // more of what came at this instant: the longest counts
			c.Given = max(c.Given, given)
		default:
			c.Given = 0
		}
	case Notified, Acknowledged:
		c.Class = gravest(m.d.live())
		c.Due = max(c.Due, m.now+least(m.classTime(), e.Time))
		m.want(Set{TimerDue, c.Due})
	case Overdue, FinalWarning, Queued, Released, Verified:
		if confirmed {
			promised := c.Due - m.now
			m.newRound()
			if given > 0 {
				c.Given = max(given, promised) // no mail of this case is cut short
			}
			m.want(Cancel{TimerGrace}, Cancel{TimerEnforce})
		}
	case OnHold:
		c.Received = m.now // it is told when a person has looked
		return
	case Restricted, Verifying, Closed, Moot:
		return // the line lets them wait until such a case is over
	}
	c.Class, c.Zone, c.Received = gravest(m.d.live()), widest(m.d.live()), m.now
	if confirmed {
		m.tell(StepNotice)
	}
	m.want(Set{TimerRecheck, m.now})
}
