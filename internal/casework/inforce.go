package casework

// acted: only a queued case becomes restricted. An order whose outcome was learnt late may find its case elsewhere: the
// machine is off the network all the same, the case must name the order that did it, and a human decides.
func (m *mover) acted(e Acted) {
	c, act := &m.d.Case, e.Act
	switch c.State {
	case Queued:
	case Notified, Acknowledged, Overdue, FinalWarning, Verified, OnHold:
		if c.Act == "" {
			c.Act, c.RestrictedAt, c.Stopped = act, m.now, e.Stopped
			m.apply(Hold{Why: "the machine was taken off the network after the case had moved on"})
		}
		return
	case Verifying: // it was taken back while the outcome was not known
		if c.TakenBack() != "" && c.Act == "" {
			c.Act, c.RestrictedAt, c.Stopped = act, m.now, e.Stopped
			m.want(Set{TimerRelease, m.now})
		}
		return
	case New, Restricted, Released, Closed, Moot:
		return
	}
	c.State, c.Act, c.RestrictedAt, c.Stopped, c.Blocks, c.Approvals = Restricted, act, m.now, e.Stopped, nil, nil
	m.tell(StepRestricted)
	m.want(Set{TimerRecheck, m.now + m.p.Recheck.Micros()})
}

// tampered: what was undone is put back, unless a person holds the case or the machine is on its way back; each time in a row a little
// later. The operators are notified the first time, and the second, for then it is no accident; and once more when the longest wait is
// reached, for then nothing but a person ends it.
func (m *mover) tampered() {
	c := &m.d.Case
	if c.Act == "" || c.TamperedAt == m.now {
		return // the same moment is told once
	}
	if m.now-c.PutBackAt >= stood {
		c.PutBack = 0
	}
	c.Tampers++
	c.TamperedAt = m.now
	if c.Tampers <= 2 || c.PutBack == putBackOften {
		m.want(Send{StepTampered, Operators})
	}
	if c.State == Restricted || c.State == Verifying {
		m.want(Set{TimerHold, max(m.now, c.PutBackAt+PutBackWait(c.PutBack))})
	}
}

// stood is for how long a quarantine that was put back must stand for the next time to count as the first again.
const stood = day

// putBackOften is how often in a row a quarantine is put back until the wait between two times is the longest.
const putBackOften = 7

// PutBackWait is how long after a quarantine was put back n times in a row it is put back again: at once, then after 1, 2, 4 … 60 minutes.
// A script that undoes it at once would keep the pipeline at nothing else, and the audit log of the case would grow without bound.
func PutBackWait(n int) int64 {
	if n <= 0 {
		return 0
	}
	return min(int64(1)<<(min(n, putBackOften)-1), 60) * (hour / 60)
}

// putBack counts that a quarantine was put back, by an order that takes the place of the one in force.
func (m *mover) putBack(act string) {
	c := &m.d.Case
	if c.Act != "" && act != "" && act != c.Act { // told twice, it counts once
		c.PutBack, c.PutBackAt = c.PutBack+1, m.now
	}
	m.inForce(act)
}

// inForce makes an order the one that keeps the machine off the network, where there was one before.
func (m *mover) inForce(act string) {
	if m.d.Case.Act != "" && act != "" {
		m.d.Case.Act = act
	}
}

// bootTime is how long a machine that was started is given before it is looked at.
const bootTime = 5 * hour / 60

// started: it runs again, and its fix can be seen.
func (m *mover) started() {
	c := &m.d.Case
	if !c.Stopped {
		return
	}
	c.Stopped = false
	if c.State == Restricted || c.State == Verifying {
		m.want(Set{TimerRecheck, m.now + bootTime})
	}
}

func (m *mover) restored(lost []string) {
	c := &m.d.Case
	if c.Act == "" && c.TakenBack() == "" {
		return // what was given back was no action of this case's that is in force
	}
	c.Lost = lost
	if c.State != Verifying && c.State != Restricted && c.State != OnHold {
		return
	}
	c.Stopped, c.Tampers, c.PutBack, c.PutBackAt = false, 0, 0, 0
	m.want(Cancel{TimerHold}, Cancel{TimerStart})
	if c.TakenBack() != "" {
		if c.Act != "" {
			c.ReleasedAt = m.now
		}
		c.Act = ""
		if c.Deleted > 0 && c.Withdrawn == "" {
			m.moot()
			return
		}
		if c.Withdrawn == "" && len(m.d.live()) > 0 { // what is left starts anew, on a machine that is free
			m.newRound()
			m.want(Set{TimerRecheck, m.now})
			return
		}
		m.closed()
		if c.Withdrawn != "" && c.Notified() {
			m.tell(StepWithdrawn)
		}
		return
	}
	c.TamperedAt = 0
	c.State, c.Act, c.ReleasedAt, c.ProbationEnds, c.Hold = Released, "", m.now, m.now+m.p.Proof.Closed.Micros(), ""
	m.tell(StepReleased)
	m.want(Set{TimerRecheck, m.now + m.p.Proof.LiftGap.Micros()}, Set{TimerProbation, c.ProbationEnds})
}
