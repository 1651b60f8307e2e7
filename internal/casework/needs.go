package casework

import (
	"fmt"
	"slices"

	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/policy"
)

// Need is something that must exist for a case to reach its end: an armed timer, a mail, or either of them.
//
// A timer meets the need when it is one of Timers and is armed for Latest or earlier. A mail meets it when it is of Step, is for To, and
// waits to be sent or, where Accepted is set, was accepted since Since.
type Need struct {
	Timers   []Timer
	Latest   int64 // policy time, µs
	At       int64 // the time for which the first of Timers is armed when the need is not met
	Step     Step  // "": no mail meets the need
	To       Audience
	Since    int64 // mails that were queued or accepted earlier belong to an earlier round
	Accepted bool
}

// Needs lists what must exist for a case in its state, by the policy and its mode. Running reports whether an action on the machine is
// under way: its outcome decides what follows, and nothing else is needed then. It is nil for a case that is over and for one that waits
// for a person. Mails that do not move a case are not in it: what the audit log says was queued is checked by Missing.
func Needs(d Dossier, p *policy.Policy, running bool, now int64) []Need {
	n := needs{d: d, p: p, now: now}
	switch c := d.Case; {
	case c.State.Over() || c.State == OnHold || running:
		return nil
	case c.TakenBack() != "":
		return []Need{n.soon(TimerRelease)}
	default:
		return n.ofState()
	}
}

type needs struct {
	d   Dossier
	p   *policy.Policy
	now int64
}

func (n needs) ofState() []Need {
	c := n.d.Case
	switch c.State {
	case New:
		return n.ofNew()
	case Notified, Acknowledged:
		return append(n.proof(), n.deadline(TimerDue, c.Due))
	case Overdue:
		return append(n.proof(), n.ofOverdue()...)
	case FinalWarning:
		return append(n.proof(), n.ofFinalWarning())
	case Queued:
		return append(n.proof(), n.ofQueued()...)
	case Restricted:
		return []Need{n.check(TimerRelease, TimerStart)}
	case Verifying:
		return []Need{n.ofVerifying()}
	case Released, Verified:
		return append(n.proof(), n.probation())
	case Closed, OnHold, Moot:
	}
	return nil
}

// longestCheck is the longest time that the state machine leaves between two checks of a finding whose state is not settled.
func longestCheck(p *policy.Policy) int64 {
	gaps := max(p.Proof.SilentGap.Micros(), p.Proof.FixedGap.Micros(), p.Proof.ConfirmGap.Micros(), p.Proof.LiftGap.Micros())
	return max(day, p.Recheck.Micros(), gaps)
}

// check needs a recheck, or one of the timers that stand for it.
func (n needs) check(others ...Timer) Need {
	return Need{Timers: append([]Timer{TimerRecheck}, others...), At: n.now, Latest: n.now + longestCheck(n.p)}
}

// soon needs a timer that falls due at once. It may be an hour late: work that failed is tried again within an hour.
func (n needs) soon(t Timer) Need { return Need{Timers: []Timer{t}, At: n.now, Latest: n.now + hour} }

// deadline needs the timer of a deadline: exactly at the deadline, and once it has passed within a day, or a recheck that decides.
func (n needs) deadline(t Timer, at int64) Need {
	if at > n.now {
		return Need{Timers: []Timer{t}, At: at, Latest: at}
	}
	return Need{Timers: []Timer{t, TimerRecheck}, At: n.now, Latest: n.now + day}
}

// proof needs a recheck while the proof of a finding is under way: that it is there, that it is fixed, or that it is silent.
func (n needs) proof() []Need {
	for _, f := range n.d.live() {
		if f.State == finding.Suspicion || f.State == finding.Claimed || f.Negatives > 0 || f.Silences > 0 && f.State != finding.Unverifiable {
			return []Need{n.check()}
		}
	}
	return nil
}

// ofNew: a confirmed finding needs its notice, or the recheck that queues it. In Observe it is checked regularly, and only reported.
func (n needs) ofNew() []Need {
	if out := n.proof(); len(out) > 0 || len(n.d.live()) == 0 {
		return out
	}
	need := n.check()
	if n.p.Mode.AtLeast(policy.Notify) && slices.ContainsFunc(n.d.live(), func(f *finding.Finding) bool { return f.State == finding.Open }) {
		need.Step, need.To, need.Since = StepNotice, audienceOf(n.d.Case.Party)[0], n.d.Case.OpenedAt
	}
	return []Need{need}
}

// ofOverdue: the mail that moves the case on, or reports it. Where the notices of the round do not stand for what may follow now, a recheck
// begins a new round.
func (n needs) ofOverdue() []Need {
	c := n.d.Case
	mail := func(s Step, to Audience, since int64) Need {
		return Need{Step: s, To: to, Since: since, Accepted: true}
	}
	switch warn := mayWarn(c, n.p); {
	case c.Party != duty.Customer && c.RelapsedAt > 0:
		return []Need{mail(StepRelapse, audienceOf(c.Party)[0], c.RelapsedAt)}
	case c.Party != duty.Customer:
		return []Need{mail(StepEscalation, Provider, c.OpenedAt), mail(StepEscalation, Operators, c.OpenedAt)}
	case Unannounced(c, n.p):
		return []Need{n.check()}
	case c.RelapsedAt > 0:
		need := mail(StepRelapse, Owner, c.RelapsedAt)
		need.Accepted = !warn // once accepted it begins the grace
		return []Need{need}
	case warn:
		need := n.check()
		need.Step, need.To, need.Since = StepFinal, Owner, c.OpenedAt
		return []Need{need}
	case n.p.Mode.AtLeast(policy.Notify):
		need := n.check()
		need.Step, need.To, need.Since, need.Accepted = StepEscalation, Operators, c.OpenedAt, true
		return []Need{need}
	}
	return nil
}

// ofFinalWarning: the end of the grace, and after it the recheck that decides. Where an operator decides, the report of it ends the timers.
func (n needs) ofFinalWarning() Need {
	c := n.d.Case
	need := n.deadline(TimerGrace, c.GraceEnds)
	if c.GraceEnds <= n.now && n.p.Mode.AtLeast(policy.Enforce) && !(mayWarn(c, n.p) && EndFor(c, n.p).Restricts()) {
		need.Step, need.To, need.Since, need.Accepted = StepEscalation, Operators, c.FinalAt, true
	}
	return need
}

// ofQueued: the request for approval; and once it is approved, the attempt.
func (n needs) ofQueued() []Need {
	c := n.d.Case
	if !n.p.Mode.AtLeast(policy.Enforce) {
		return []Need{n.check()} // it goes back to its final warning
	}
	out := []Need{{Step: StepApproval, To: Operators, Since: c.QueuedAt, Accepted: true}}
	if len(c.Approvals) > 0 {
		out = append(out, n.soon(TimerEnforce))
	}
	return out
}

// ofVerifying: the release of what is proven, the start of a machine whose release was asked for, else the next check.
func (n needs) ofVerifying() Need {
	switch {
	case n.d.Liftable(n.p):
		return n.soon(TimerRelease)
	case n.d.Case.Stopped: // a request that came soon after another is kept until its time
		at := max(n.now, n.d.Case.RequestedAt)
		return Need{Timers: []Timer{TimerStart}, At: at, Latest: at + hour}
	}
	return n.check()
}

// probation needs the timer that ends it, at the latest when the last finding has been fixed for long enough.
func (n needs) probation() Need {
	at := max(n.d.Case.ProbationEnds, n.now)
	latest := max(at, n.now+hour)
	for _, f := range n.d.Findings {
		if f.State == finding.Fixed {
			latest = max(latest, f.FixedAt+n.p.Proof.Closed.Micros())
		}
	}
	return Need{Timers: []Timer{TimerProbation}, At: at, Latest: latest}
}

// Liftable reports whether the proof that lifts a restriction is there for every finding of the case.
func (d Dossier) Liftable(p *policy.Policy) bool {
	return !slices.ContainsFunc(d.Findings, func(f finding.Finding) bool { return !LiftProven(f, p) })
}

// MailRef identifies a mail in the audit log.
type MailRef struct {
	Step      Step     `json:"step"`
	To        Audience `json:"to"`
	Recipient string   `json:"recipient"`
	MessageID string   `json:"message_id"`
	Replaces  string   `json:"replaces,omitempty"` // Message-ID of the mail that was lost, where this one has an id of its own
	Repair    bool     `json:"repair,omitempty"`   // it was queued because its row was missing
}

// Rows is what the store holds for a case, beside the case and its findings.
type Rows struct {
	Timers []Due
	Mails  []Mail
	// Unsettled lists the mails that were queued by the audit log, and that it does not say were accepted or refused for good.
	Unsettled []MailRef
}

// Repair is one row that is missing or out of place, with what to write.
type Repair struct {
	Arm     *Due  // a timer to arm
	Forward *Mail // a waiting mail that is sent now
	// Mail is to be queued anew. Without a recipient it goes to everybody in its audience. Own says that it needs a Message-ID of its own,
	// because a row of its id exists and is not waiting.
	Mail *MailRef
	Own  bool
	What string // for the audit log: what was missing
}

// Missing compares what a case needs with what the store holds, and returns what must be written so that nothing is lost.
func Missing(c Case, needs []Need, has Rows, p *policy.Policy, now int64) []Repair {
	out := append(late(c, has.Mails, p, now), lost(has)...)
	for _, n := range needs {
		if n.timed(has.Timers) || n.mailed(c, has) {
			continue
		}
		sent := slices.ContainsFunc(has.Mails, func(x Mail) bool { return x.Step == n.Step && x.To == n.To && x.QueuedAt >= n.Since })
		if n.Step == "" || len(n.Timers) > 0 && !sent {
			t := n.Timers[0]
			what := fmt.Sprintf("the timer %s was missing", t)
			if slices.ContainsFunc(has.Timers, func(d Due) bool { return d.Timer == t }) {
				what = fmt.Sprintf("the timer %s was armed too late", t)
			}
			out = append(out, Repair{Arm: &Due{Case: c.ID, Timer: t, At: n.At}, What: what})
			continue
		}
		what := fmt.Sprintf("the mail %s to the %s was missing", n.Step, n.To)
		out = append(out, Repair{Mail: &MailRef{Step: n.Step, To: n.To}, Own: sent, What: what})
	}
	return out
}

// timed reports whether an armed timer meets the need.
func (n Need) timed(timers []Due) bool {
	return slices.ContainsFunc(timers, func(t Due) bool { return t.At <= n.Latest && slices.Contains(n.Timers, t.Timer) })
}

// mailed reports whether a mail meets the need: by its row, by the case, or by the audit log, from which a lost one is queued anew.
func (n Need) mailed(c Case, has Rows) bool {
	if n.Step == "" {
		return false
	}
	return slices.ContainsFunc(has.Mails, func(m Mail) bool {
		return m.Step == n.Step && m.To == n.To && m.Status == Waiting && m.QueuedAt >= n.Since
	}) || slices.ContainsFunc(has.Unsettled, func(r MailRef) bool { return r.Step == n.Step && r.To == n.To }) ||
		n.Accepted && slices.ContainsFunc(c.Accepted(n.Step), func(x Notice) bool { return x.To == n.To && x.AcceptedAt >= n.Since })
}

// late brings waiting mails forward that are not tried for longer than any mail waits: for its next attempt, for the mode, or for its digest.
func late(c Case, mails []Mail, p *policy.Policy, now int64) []Repair {
	var out []Repair
	for _, m := range mails {
		soon := Mail{Step: m.Step, NextAt: now}
		if m.Attempts == 0 {
			k := c
			if m.Slot > 0 { // it waits as it did when it was queued; should the case have moved on, it is overtaken then
				k.State, k.Missed = New, false
			}
			soon = Schedule(m, k, p, now)
		}
		latest := max(soon.NextAt, now+hour)
		if Waits(m.Step, m.To, p.Mode) {
			latest = max(latest, now+day)
		}
		if m.Status == Waiting && m.NextAt > latest {
			m.NextAt, m.Slot = soon.NextAt, soon.Slot
			out = append(out, Repair{Forward: &m, What: fmt.Sprintf("the mail %s to %s was put off too far", m.Step, m.Recipient)})
		}
	}
	return out
}

// lost lists the mails that were queued and never settled, by the audit log, and that no row keeps waiting.
func lost(has Rows) []Repair {
	var out []Repair
	for _, r := range has.Unsettled {
		i := slices.IndexFunc(has.Mails, func(m Mail) bool { return m.MessageID == r.MessageID })
		if i >= 0 && has.Mails[i].Status == Waiting {
			continue
		}
		again := r
		again.Repair = true
		out = append(out, Repair{Mail: &again, Own: i >= 0 || r.Repair, What: fmt.Sprintf("the mail %s to %s was missing", r.Step, r.Recipient)})
	}
	return out
}
