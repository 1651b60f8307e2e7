package casework

import (
	"slices"
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
	d.Case.Blocks = slices.Clone(d.Case.Blocks)
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
		m.approved(e)
	case Renewal:
		m.renewed()
	case Refused:
		m.refused(e.Blocks)
	case Acted:
		m.acted(e)
	case Held:
		m.putBack(e.Act)
	case Started:
		m.inForce(e.Act)
		m.started()
	case Restored:
		m.restored(e.Lost)
	case StillOpen:
		m.stillOpen()
	case Continued:
		m.continued(e)
	case Hold:
		if e.Act != "" && c.Act == "" {
			c.Act, c.RestrictedAt, c.Stopped = e.Act, m.now, e.Stopped
		}
		if c.State != OnHold {
			c.HeldFrom, c.State, c.Hold, c.HeldAt = c.State, OnHold, e.Why, m.now
			m.want(Send{StepHeld, Operators}, Cancel{TimerDue}, Cancel{TimerGrace}, Cancel{TimerEnforce})
		}
	case Discarded:
		m.discarded(e)
	case NoVerdict:
		m.noVerdict(e)
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

// audience is who a case's own mails go to: the party that must act.
func (m *mover) audience() []Audience {
	return audienceOf(m.d.Case.Party)
}

// audienceOf is who gets the mails of a party's cases.
func audienceOf(p duty.Party) []Audience {
	switch p {
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
	if s == StepNotice && m.observing() && m.d.Case.State == New {
		m.observed()
		return
	}
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
		switch {
		case c.State == Released || c.State == Verified:
			m.moved()
			m.newRound()
		case graver && m.shortens():
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

// moved counts the round that a weakness begins after the others are proven fixed, where a mail had announced an action. Otherwise an
// owner could move a service from port to port without end. The owner has the full time, since it is another weakness. From the second round
// on the operators are notified, since only a person can end that.
func (m *mover) moved() {
	c := &m.d.Case
	if c.Party != duty.Customer || !slices.ContainsFunc(c.Notices, Notice.warnable) {
		return
	}
	c.Renewed++
	if c.Renewed > mostRenewed {
		m.want(Send{StepReturned, Operators})
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
	c.State, c.OpenedAt, c.Notices, c.Approvals = New, m.now, nil, nil
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
	case StepRestricted, StepReleased, StepClosed, StepEscalation, StepApproval, StepRefused, StepHeld, StepTampered,
		StepWithdrawn, StepPassed, StepStatus, StepStillOpen, StepReturned, StepNoVerdict, StepObserved, StepSystem:
	}
}

// warned: a final warning was accepted, or the notice of a relapse, which stands for one. The grace begins.
func (m *mover) warned(n Notice) {
	c := &m.d.Case
	if !mayWarn(*c, m.p) || !n.warnable() || Unannounced(*c, m.p) ||
		n.AcceptedAt < c.RelapsedAt || n.Step == StepRelapse && c.RelapsedAt == 0 {
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

// fired: what falls due is first checked; the check decides. A timer that fires before its deadline is armed again for the deadline: its
// row is gone once it has fired, and nothing else would ask when the deadline has passed.
func (m *mover) fired(t Timer) {
	c := &m.d.Case
	switch t {
	case TimerDue:
		if c.State == Notified || c.State == Acknowledged {
			m.decide(t, c.Due)
		}
	case TimerGrace:
		if c.State == FinalWarning {
			m.decide(t, c.GraceEnds)
		}
	case TimerProbation:
		m.probationOver()
	case TimerRecheck, TimerEnforce, TimerHold, TimerStart, TimerRelease:
	}
}

// decide asks for the check that decides at a deadline, or waits for the deadline.
func (m *mover) decide(t Timer, deadline int64) {
	if m.now < deadline {
		m.want(Set{t, deadline})
		return
	}
	m.want(Set{TimerRecheck, m.now})
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
		at := m.now
		if c.RequestedAt > 0 { // at most one request in ten minutes is carried out; the next one is kept until then
			at = max(at, c.RequestedAt+m.p.Proof.LiftGap.Micros())
		}
		if c.State == Verifying && at > m.now {
			return // it is under way, or kept
		}
		c.State, c.RequestedAt = Verifying, at
		if c.Stopped {
			m.want(Set{TimerStart, at}) // what does not run can not be seen fixed
			return
		}
		m.want(Set{TimerRecheck, at})
		return
	case New, Acknowledged, Overdue, FinalWarning, Queued, Released, Verified, Closed, OnHold, Moot:
	}
	m.want(Set{TimerRecheck, m.now})
}

func (m *mover) probationOver() {
	c := &m.d.Case
	if c.State != Released && c.State != Verified {
		return
	}
	if m.now < c.ProbationEnds {
		m.want(Set{TimerProbation, c.ProbationEnds})
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
	if !c.Missed || c.Told { // else nobody knows of it
		m.tell(StepClosed)
	}
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
