package casework

import (
	"slices"
	"strings"
	"time"

	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/policy"
	"demarc/internal/probe"
)

const (
	hour = int64(time.Hour / time.Microsecond)
	day  = 24 * hour
)

// Next applies an event to a case. An event that does not fit the state changes nothing: events are repeated
// after a crash, and come late.
func Next(d Dossier, ev Event, p *policy.Policy, now int64) (Dossier, []Effect) {
	d.Findings = slices.Clone(d.Findings)
	d.Case.Notices = slices.Clone(d.Case.Notices)
	d.Case.Approvals = slices.Clone(d.Case.Approvals)
	m := &mover{d: &d, p: p, now: now}
	if !d.Case.State.Over() {
		m.apply(ev)
	}
	return d, m.effects
}

type mover struct {
	d       *Dossier
	p       *policy.Policy
	now     int64
	effects []Effect
}

func (m *mover) want(e ...Effect) { m.effects = append(m.effects, e...) }

func (m *mover) apply(ev Event) {
	c := &m.d.Case
	switch e := ev.(type) {
	case Opened:
		m.opened(e)
	case Looked:
		m.looked(e.Sighting)
	case MailAccepted:
		m.accepted(e.Notice)
	case Fired:
		m.fired(e.Timer)
	case Acknowledgement:
		if c.State == Notified {
			c.State = Acknowledged
		}
	case Claim:
		m.claimed()
	case Approve:
		m.approved(e.By)
	case Refused:
		if c.State == Queued {
			c.Blocks, c.Approvals = e.Blocks, nil
			m.want(Send{StepRefused, Operators}, Cancel{TimerEnforce})
			if slices.ContainsFunc(e.Blocks, earnedAnew) {
				m.newRound() // it came and went, or came later: who must act is told anew, and given the time anew
				m.want(Set{TimerRecheck, m.now})
			}
		}
	case Acted:
		m.acted(e)
	case Held:
		if c.Act != "" {
			c.Act = e.Act
		}
	case Started:
		m.started()
	case Restored:
		m.restored()
	case Hold:
		if e.Act != "" && c.Act == "" {
			c.Act, c.RestrictedAt, c.Stopped = e.Act, m.now, e.Stopped
		}
		if c.State != OnHold {
			c.HeldFrom, c.State, c.Hold = c.State, OnHold, e.Why
			m.want(Send{StepHeld, Operators}, Cancel{TimerDue}, Cancel{TimerGrace}, Cancel{TimerEnforce})
		}
	case Discarded:
		m.discarded(e)
	case Resume:
		m.resumed()
	case Withdraw:
		m.withdrawn(e)
	case Passed:
		m.passed(e)
	case Received:
		m.received(e)
	case Tampered:
		m.tampered()
	case Gone:
		m.gone()
	}
}

// earnedAnew tells whether a word of the gate's will not change by waiting: the ladder must be climbed again.
func earnedAnew(block string) bool {
	return strings.HasPrefix(block, "repeated-scans:") || strings.HasPrefix(block, "told:") || strings.HasPrefix(block, "grace: the grace is shorter")
}

// audience is who a case's own mails go to: the party that must act.
func (m *mover) audience() []Audience {
	switch m.d.Case.Party {
	case duty.Customer:
		return []Audience{Owner}
	case duty.Shared:
		return []Audience{Provider, Owner}
	case duty.Provider:
		return []Audience{Provider}
	}
	return []Audience{Operators}
}

func (m *mover) tell(s Step) {
	for _, a := range m.audience() {
		m.want(Send{s, a})
	}
	m.status()
}

// status shows the owner how the provider stands with what it holds: who must act is told what to do, who need not, that somebody
// does.
func (m *mover) status() {
	if m.d.Case.Party == duty.Provider {
		m.want(Send{StepStatus, Owner})
	}
}

// opened joins a finding to the case. The case takes the gravest class and the widest zone. A finding that joins later than
// the first notice is told with the next mail of the case and by the same clock; but one that gives less time, or comes
// in probation, begins a new round, with a notice of its own.
func (m *mover) opened(e Opened) {
	c := &m.d.Case
	for _, f := range m.d.Findings {
		if f.ID != e.Finding || !f.State.Live() {
			continue
		}
		graver := Graver(f.Class, c.Class)
		if graver {
			c.Class = f.Class
		}
		if c.State == Released || c.State == Verified || graver && m.shortens() {
			m.newRound()
		}
		if c.Zone == "" || f.Key.Zone == probe.Internet {
			c.Zone = f.Key.Zone
		}
	}
	if c.State == New {
		c.Given = 0 // what is new has its full time
	}
	switch {
	case c.State == New && c.Track == ScanBlocked && suspected(m.d.Findings, e.Finding):
		m.want(Set{TimerRecheck, m.now + m.p.Proof.SilentGap.Micros()})
	case c.State == New:
		m.want(Set{TimerRecheck, m.now}) // nobody is told before a second look, at the address it has then
	}
}

// shortens tells whether a notice now would end sooner than the clock that runs.
func (m *mover) shortens() bool {
	c := m.d.Case
	return (c.State == Notified || c.State == Acknowledged) && m.now+FixTime(c, m.p) < c.Due
}

// newRound starts a case over: what was told before stands in the audit log and in the mails.
func (m *mover) newRound() {
	c := &m.d.Case
	c.State, c.OpenedAt, c.Notices, c.Approvals, c.Blocks = New, m.now, nil, nil, nil
	c.ClockFrom, c.Due, c.FinalAt, c.GraceEnds, c.QueuedAt, c.ProbationEnds, c.RelapsedAt, c.Received, c.Given = 0, 0, 0, 0, 0, 0, 0, 0, 0
	c.Handed = false
	if live := m.d.live(); len(live) > 0 {
		c.Class = gravest(live)
	}
	m.want(Cancel{TimerDue}, Cancel{TimerProbation})
}

// resumed: a person has looked. The case goes on where it stood; an act that waited must be approved again.
func (m *mover) resumed() {
	c := &m.d.Case
	if c.State != OnHold {
		return
	}
	for i := range m.d.Findings {
		if m.d.Findings[i].State == finding.AttributionHold {
			m.d.Findings[i].State = finding.Open
		}
	}
	c.State, c.Hold, c.Approvals = c.HeldFrom, "", nil
	switch {
	case c.TakenBack() != "": // it was being given back, and still is
		c.State = Verifying
		m.want(Set{TimerRelease, m.now})
		return
	case c.Act != "" && c.HeldFrom == Verifying && !slices.ContainsFunc(m.d.Findings, func(f finding.Finding) bool { return !LiftProven(f, m.p) }):
		c.State = Verifying // it was being given back, and still is
		m.want(Set{TimerRelease, m.now})
		return
	case c.Act != "":
		c.State = Restricted
	case c.State == Queued || c.State == FinalWarning:
		c.State = FinalWarning
		m.want(Set{TimerGrace, max(c.GraceEnds, m.now)})
	case c.State == Notified || c.State == Acknowledged:
		m.want(Set{TimerDue, max(c.Due, m.now)})
	}
	m.want(Set{TimerRecheck, m.now})
}

// withdrawn: the operators' error, or their mercy. The findings count for nothing any more; should the weakness be there, the
// next sweep opens a new case.
func (m *mover) withdrawn(e Withdraw) {
	c := &m.d.Case
	c.Withdrawn = e.By + ": " + e.Why
	for _, f := range m.d.live() {
		f.State, f.Cause = finding.Dropped, "withdrawn by "+c.Withdrawn
	}
	for i := range m.d.Findings {
		if m.d.Findings[i].State == finding.AttributionHold {
			m.d.Findings[i].State = finding.Dropped
		}
	}
	m.undo()
}

func suspected(fs []finding.Finding, id string) bool {
	return slices.ContainsFunc(fs, func(f finding.Finding) bool { return f.ID == id && f.State == finding.Suspicion })
}

// discarded: the look was at somebody else's machine. Before anybody was told, the finding is dropped; afterwards a
// person must sort it out.
func (m *mover) discarded(e Discarded) {
	c := &m.d.Case
	if c.TakenBack() != "" {
		return // it is on its way out whatever is seen
	}
	for i := range m.d.Findings {
		f := &m.d.Findings[i]
		if f.ID != e.Finding || !f.State.Live() {
			continue
		}
		f.Cause = e.Why
		if c.State != New {
			f.State = finding.AttributionHold
			m.apply(Hold{Why: e.Why})
			return
		}
		f.State = finding.Dropped
	}
	if c.State == New && len(m.d.live()) == 0 {
		m.proven()
	}
}

func (m *mover) class() policy.Class { return m.p.Classes[m.d.Case.Class] }

func (m *mover) accepted(n Notice) {
	c := &m.d.Case
	if n.AcceptedAt <= 0 {
		return
	}
	if slices.ContainsFunc(c.Notices, func(o Notice) bool { return o.MessageID == n.MessageID && o.Recipient == n.Recipient }) {
		return
	}
	c.Notices = append(c.Notices, n)
	switch n.Step {
	case StepNotice:
		switch {
		case c.State == New:
			c.State, c.ClockFrom, c.Told = Notified, n.AcceptedAt, true
			c.Due = max(n.Deadline, n.AcceptedAt+FixTime(*c, m.p))
			m.want(Set{TimerDue, c.Due})
		case (c.State == Notified || c.State == Acknowledged) && n.Deadline > c.Due:
			c.Due = n.Deadline
			m.want(Set{TimerDue, c.Due})
		}
	case StepFinal, StepRelapse:
		m.warned(n)
	case StepRestricted, StepReleased, StepClosed, StepEscalation, StepApproval, StepRefused, StepHeld, StepTampered, StepWithdrawn, StepPassed, StepStatus:
	}
}

// warned: a final warning was accepted, or the notice of a relapse, which stands for one. The grace begins.
func (m *mover) warned(n Notice) {
	c := &m.d.Case
	if !mayWarn(*c, m.p) || n.AcceptedAt < c.RelapsedAt || n.Step == StepRelapse && c.RelapsedAt == 0 {
		return
	}
	switch {
	case c.State == Overdue:
		c.State, c.FinalAt = FinalWarning, n.AcceptedAt
		c.GraceEnds = max(n.Deadline, n.AcceptedAt+graceTime(*c, n.Step, m.p))
	case c.State == FinalWarning && n.Deadline > c.GraceEnds:
		c.GraceEnds = n.Deadline
	default:
		return
	}
	m.want(Set{TimerGrace, c.GraceEnds})
}

// fired: what falls due is first looked at; the look decides.
func (m *mover) fired(t Timer) {
	c := &m.d.Case
	switch t {
	case TimerDue:
		if c.State == Notified || c.State == Acknowledged {
			m.want(Set{TimerRecheck, m.now})
		}
	case TimerGrace:
		if c.State == FinalWarning {
			m.want(Set{TimerRecheck, m.now})
		}
	case TimerProbation:
		m.probationOver()
	case TimerRecheck, TimerEnforce, TimerHold, TimerStart, TimerRelease:
	}
}

func (m *mover) claimed() {
	c := &m.d.Case
	if c.State == OnHold || c.State == New {
		return
	}
	for _, f := range m.d.live() {
		if f.State == finding.Open || f.State == finding.Unverifiable {
			f.State = finding.Claimed
		}
	}
	switch c.State {
	case Notified:
		c.State = Acknowledged
	case Restricted, Verifying:
		if c.RequestedAt > 0 && m.now-c.RequestedAt < m.p.Proof.LiftGap.Micros() {
			return // at most one request in ten minutes
		}
		c.State, c.RequestedAt = Verifying, m.now
		if c.Stopped {
			m.want(Set{TimerStart, m.now}) // what does not run can not be seen fixed
			return
		}
	case New, Acknowledged, Overdue, FinalWarning, Queued, Released, Verified, Closed, OnHold, Moot:
	}
	m.want(Set{TimerRecheck, m.now})
}

func (m *mover) approved(by string) {
	c := &m.d.Case
	if c.State != Queued || c.Party != duty.Customer || by == "" || slices.ContainsFunc(c.Approvals, func(a Approval) bool { return a.By == by }) {
		return
	}
	c.Approvals = append(c.Approvals, Approval{by, m.now})
	m.want(Set{TimerEnforce, m.now})
}

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
			c.Act, c.Stopped = act, e.Stopped
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

// tampered: the first time the operators are told, and the second, for then it is no accident. What was undone is put back,
// unless a person holds the case or the machine is on its way back.
func (m *mover) tampered() {
	c := &m.d.Case
	if c.Act == "" || c.TamperedAt == m.now {
		return // the same moment is told once
	}
	c.Tampers++
	c.TamperedAt = m.now
	if c.Tampers <= 2 {
		m.want(Send{StepTampered, Operators})
	}
	if c.State == Restricted || c.State == Verifying {
		m.want(Set{TimerHold, m.now})
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

func (m *mover) restored() {
	c := &m.d.Case
	if c.State != Verifying && c.State != Restricted && c.State != OnHold {
		return
	}
	c.Stopped, c.Tampers = false, 0
	m.want(Cancel{TimerHold}, Cancel{TimerStart})
	if c.TakenBack() != "" {
		c.Act = ""
		if c.Withdrawn == "" && len(m.d.live()) > 0 { // what is left starts anew, on a machine that is free
			m.newRound()
			m.want(Set{TimerRecheck, m.now})
			return
		}
		m.closed()
		if c.Withdrawn != "" && len(c.Notices) > 0 {
			m.tell(StepWithdrawn)
		}
		return
	}
	c.TamperedAt = 0
	c.State, c.Act, c.ReleasedAt, c.ProbationEnds, c.Hold = Released, "", m.now, m.now+m.p.Proof.Closed.Micros(), ""
	m.tell(StepReleased)
	m.want(Set{TimerRecheck, m.now + m.p.Proof.LiftGap.Micros()}, Set{TimerProbation, c.ProbationEnds})
}

func (m *mover) gone() {
	c := &m.d.Case
	for i := range m.d.Findings {
		if f := &m.d.Findings[i]; f.State != finding.Closed && f.State != finding.Dropped {
			f.State = finding.Moot
		}
	}
	c.State, c.ClosedAt = Moot, m.now
	m.want(Cancel{TimerDue}, Cancel{TimerGrace}, Cancel{TimerRecheck}, Cancel{TimerEnforce}, Cancel{TimerHold}, Cancel{TimerStart}, Cancel{TimerRelease}, Cancel{TimerProbation})
}

func (m *mover) probationOver() {
	c := &m.d.Case
	if (c.State != Released && c.State != Verified) || m.now < c.ProbationEnds {
		return
	}
	for _, f := range m.d.Findings {
		if f.State == finding.Fixed && f.FixedAt+m.p.Proof.Closed.Micros() > m.now {
			m.want(Set{TimerProbation, f.FixedAt + m.p.Proof.Closed.Micros()})
			return
		}
	}
	if len(m.d.live()) > 0 { // not proven yet: the proof is waited for
		m.want(Set{TimerRecheck, m.now}, Set{TimerProbation, m.now + hour})
		return
	}
	m.closed()
	m.tell(StepClosed)
}

// closed ends a case and its findings with it: what is seen again opens a case of its own.
func (m *mover) closed() {
	for i := range m.d.Findings {
		switch f := &m.d.Findings[i]; f.State {
		case finding.Fixed:
			f.State = finding.Closed
		case finding.AttributionHold:
			f.State = finding.Dropped // nobody ever learnt whose it was
		case finding.Suspicion, finding.Open, finding.Claimed, finding.Unverifiable, finding.Closed, finding.Moot, finding.Dropped:
		}
	}
	m.d.Case.State, m.d.Case.ClosedAt = Closed, m.now
}
