package flow

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"demarc/internal/casework"
	"demarc/internal/casework/notice"
	"demarc/internal/fault"
	"demarc/internal/policy"
)

// notify sends one mail that is due, or the digest that it is a part of. The mail was committed with what it tells; it is sent afterwards, and
// what became of it is committed then. A death between the two sends a second copy of the same message, never none.
func (l *Line) notify(ctx context.Context) (bool, error) {
	mails, err := l.Ledger.DueMail(ctx, l.Clock.Now())
	if err != nil {
		return false, err
	}
	for _, m := range mails {
		key := "mail " + m.ID
		if l.waiting(key) {
			continue
		}
		if err := l.deliver(ctx, m, mails); err != nil {
			l.putOff(key, err)
			return true, fmt.Errorf("mail %s: %w", m.MessageID, err)
		}
		l.done(key)
		return true, nil
	}
	return false, nil
}

// deliver hands one mail to the next hop, with the others of its digest, or finds that it must not go out, and writes down what became of it.
func (l *Line) deliver(ctx context.Context, m casework.Mail, due []casework.Mail) error {
	if sent, ok := l.sent[m.ID]; ok {
		return l.recordSent(ctx, sent)
	}
	if m.Case == "" {
		return l.deliverSystem(ctx, m)
	}
	if err := l.readMode(ctx); err != nil { // the text must say what follows in the mode of this moment
		return err
	}
	var parts []part
	for _, o := range together(m, due) {
		p, ready, err := l.compose(ctx, o)
		switch {
		case err != nil && o.ID == m.ID:
			return err
		case err == nil && ready:
			parts = append(parts, p) // one that cannot be written keeps no other back: its own turn comes
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return l.send(ctx, parts)
}

// compose finds out whether a mail may go out now, and what it says. One that may not is put off or given up.
func (l *Line) compose(ctx context.Context, m casework.Mail) (p part, ready bool, err error) {
	ds, err := l.dossier(ctx, m.Case)
	if err != nil {
		return part{}, false, err
	}
	d := l.draft("notify")
	waits := casework.Waits(m.Step, m.To, l.Policy.Mode)
	if waits || ds.Case.State == casework.OnHold && m.To == casework.Owner {
		m.NextAt = d.now + hour // until a person has looked
		if waits {
			m.NextAt = d.now + day // until the mode allows it: applyMode brings it forward
		}
		d.change.Mails = []casework.Mail{m}
		return part{}, false, d.commit(ctx)
	}
	if why := l.stale(ds.Case, m); why != "" {
		return part{}, false, d.giveUp(ctx, ds, m, why)
	}
	m.Deadline = casework.Promise(ds.Case, m.Step, l.Policy, d.now)
	m.Announced = casework.Announce(ds, m.Step, m.Deadline, l.admits(), l.Policy, d.now)
	m.Thread = threadOf(ds.Case, m)
	letter, err := l.letter(ctx, ds, m)
	return part{ds: ds, mail: m, letter: letter}, err == nil, err
}

// send hands a message to the next hop, and writes down for each mail in it what became of that.
func (l *Line) send(ctx context.Context, parts []part) error {
	out := l.message(parts)
	mails, err := l.attempting(ctx, mailsOf(parts)...)
	if err != nil {
		return err
	}
	for i := range parts {
		parts[i].mail = mails[i]
	}
	ctx, cancel := aside(ctx)
	defer cancel()
	err = l.Sender.Send(ctx, out)
	switch {
	case err == nil:
		return l.recordSent(ctx, l.taken(mails))
	case fault.Is(err, fault.Refused) && out.Recipient != l.Contacts.Operators: // for the operators nobody could stand in: theirs waits
		for _, p := range parts {
			if err := l.draft("notify").giveUp(ctx, p.ds, p.mail, err.Error()); err != nil {
				return err
			}
		}
		return nil
	}
	return l.deferred(ctx, parts, err.Error())
}

// deferred writes down that the next hop could not take a message now.
func (l *Line) deferred(ctx context.Context, parts []part, why string) error {
	d := l.draft("notify")
	for _, p := range parts {
		m := p.mail
		m.LastError = why
		m.NextAt = d.now + backoff(m.Attempts)
		if len(parts) > 1 {
			m = l.apart(m)
		}
		d.change.Mails = append(d.change.Mails, m)
		if m.Attempts == 1 {
			d.say(mailed(p.ds.Case, m, "mail.deferred", why))
		}
		if m.Step != casework.StepStatus && m.Recipient != l.Contacts.Operators && d.now-max(m.QueuedAt, m.Slot) > day && l.reaching() {
			// Others are reached, so the trouble is the recipient's: the operators are notified, once for its Message-ID. It is not logged as
			// queued: each attempt writes it again until it is there, so a lost row comes back without reconcile.
			d.change.Mails = append(d.change.Mails, notice.New(newID(), p.ds.Case, m.Step, m.To, l.Contacts.Operators, l.Contacts.Domain, d.now))
		}
	}
	return d.commit(ctx)
}

func mailed(c casework.Case, m casework.Mail, event, detail string) Happening {
	h := about(c, event)
	h.MailTo, h.Detail, h.Mail = m.Recipient, detail, &casework.MailRef{Step: m.Step, To: m.To, Recipient: m.Recipient, MessageID: m.MessageID}
	return h
}

// giveUp marks a mail as not to be sent, and queues what stands in for it. A case that is open never has only mails that were given up.
func (d *draft) giveUp(ctx context.Context, ds casework.Dossier, m casework.Mail, why string) error {
	m.Status, m.LastError = casework.Bounced, why
	d.change.Mails = []casework.Mail{m}
	d.say(mailed(ds.Case, m, "mail.failed", why))
	if why == overtaken || why != left && m.Step == casework.StepStatus {
		return d.commit(ctx)
	}
	mails, err := d.l.Ledger.MailsOf(ctx, ds.Case.ID)
	if err != nil {
		return err
	}
	var to []notice.Recipient
	if why == left {
		to = notice.Recipients(d.l.x, ds.Case, m.To, d.l.Contacts)
	}
	soon := inPlaceOf(m, why)
	if !d.standIn(ds.Case, m, to, mails, soon) {
		d.standIn(ds.Case, m, []notice.Recipient{{Address: d.l.Contacts.Operators, As: "operators"}}, mails, soon)
	}
	return d.commit(ctx)
}

// schedule says when a mail is sent that is queued now.
type schedule func(casework.Mail, casework.Case, *policy.Policy, int64) casework.Mail

// inPlaceOf says when what stands for a mail is sent. In place of somebody who left, at once: otherwise people who join and leave before each
// digest would put a notice off for ever.
func inPlaceOf(m casework.Mail, why string) schedule {
	if why != left {
		return casework.ScheduleSoon
	}
	return func(x casework.Mail, _ casework.Case, _ *policy.Policy, now int64) casework.Mail {
		x.Slot, x.NextAt = m.Slot, now
		return x
	}
}

// standIn queues a mail's copies to others, and tells whether any of them waits now, or was accepted. Who refused that mail is not sent it
// again, but for the operators: theirs goes out under an id of its own.
func (d *draft) standIn(c casework.Case, m casework.Mail, to []notice.Recipient, mails []casework.Mail, when schedule) bool {
	stands := false
	for _, r := range to {
		again := notice.New(newID(), c, m.Step, m.To, r.Address, d.l.Contacts.Domain, d.now)
		i := slices.IndexFunc(mails, func(x casework.Mail) bool { return x.MessageID == again.MessageID })
		gone := i >= 0 && (mails[i].Status == casework.Bounced || mails[i].ID == m.ID)
		switch {
		case i >= 0 && !gone:
			stands = true // it waits, or was accepted
			continue
		case gone && r.Address != d.l.Contacts.Operators:
			continue
		case gone:
			again = notice.Again(newID(), c, m.Step, m.To, r.Address, d.l.Contacts.Domain, d.now)
		}
		d.queueMail(c, when(again, c, d.policy, d.now), r.As, casework.MailRef{})
		stands = true
	}
	return stands
}

const (
	overtaken = "the case has moved on"
	left      = "the recipient is not in the project any more"
)

// stale tells why a queued mail must not go out any more.
func (l *Line) stale(c casework.Case, m casework.Mail) string {
	switch {
	case (m.Step == casework.StepNotice || m.Step == casework.StepObserved) && m.QueuedAt < c.OpenedAt, // of an earlier round
		m.Step == casework.StepStatus && !c.Told && c.State != casework.New, // it ended, or is watched, and nobody knows of it
		m.Step == casework.StepNotice && !slices.Contains([]casework.State{casework.New, casework.Notified, casework.Acknowledged}, c.State),
		(m.Step == casework.StepFinal || m.Step == casework.StepRelapse) && c.State != casework.Overdue && c.State != casework.FinalWarning,
		// a new round begins with the next check:
		(m.Step == casework.StepFinal || m.Step == casework.StepRelapse) && casework.Unannounced(c, l.Policy),
		m.Step == casework.StepObserved && (c.State != casework.New || l.Policy.Mode.AtLeast(policy.Notify)),
		m.Step == casework.StepStatus && (c.State == casework.Moot || c.State == casework.Closed && c.PassedAt == c.ClosedAt),
		m.Step == casework.StepStillOpen && c.State != casework.Restricted,
		m.Step == casework.StepApproval && c.State != casework.Queued:
		return overtaken
	}
	for _, r := range notice.Recipients(l.x, c, m.To, l.Contacts) {
		if r.Address == m.Recipient {
			return ""
		}
	}
	if m.Recipient == l.Contacts.Operators {
		return "" // stands in for an owner who could not be notified
	}
	return left
}

// Claim records that an owner says a case is fixed, or asks for the release of a restricted machine.
func (l *Line) Claim(ctx context.Context, id, by string) error {
	return l.act(ctx, []string{id}, by, casework.Claim{By: by})
}

// Acknowledge records that an owner has reacted.
func (l *Line) Acknowledge(ctx context.Context, id, by string) error {
	return l.act(ctx, []string{id}, by, casework.Acknowledgement{By: by})
}

// Resume lets a case on hold go on, after a person has looked.
func (l *Line) Resume(ctx context.Context, id, by string) error {
	return l.act(ctx, []string{id}, by, casework.Resume{By: by})
}

// Withdraw takes a case back: what was done to the machine is undone.
func (l *Line) Withdraw(ctx context.Context, id, by, why string) error {
	return l.act(ctx, []string{id}, by, casework.Withdraw{By: by, Why: why})
}

// Approve records an operator's consent to the action that waits in a case.
func (l *Line) Approve(ctx context.Context, id, by string) error {
	return l.ApproveAll(ctx, []string{id}, casework.Approve{By: by})
}

// ApproveAll records an operator's consent to several actions at once: they come to the gate as one batch. Where the operator decides
// against conditions of the gate, that and the reason stand with the approval.
func (l *Line) ApproveAll(ctx context.Context, ids []string, a casework.Approve) error {
	return l.act(ctx, ids, a.By, a)
}

// Renew begins a new round of notices in a case, by an operator's decision.
func (l *Line) Renew(ctx context.Context, id, by, why string) error {
	return l.act(ctx, []string{id}, by, casework.Renewal{By: by, Why: why})
}

func (l *Line) act(ctx context.Context, ids []string, by string, ev casework.Event) error {
	rules, err := l.rules(ctx)
	if err != nil {
		return err
	}
	d := l.draft("people")
	d.actor, d.policy = by, rules
	for _, id := range ids {
		ds, err := l.dossier(ctx, id)
		if err != nil {
			return err
		}
		h := about(ds.Case, fmt.Sprintf("people.%s", nameOf(ev)))
		h.Detail = "by " + by
		switch e := ev.(type) {
		case casework.Approve:
			h.Approval = &casework.Approval{By: e.By, At: d.now, Despite: e.Despite, Why: e.Why}
			if len(e.Despite) > 0 {
				h.Detail += fmt.Sprintf(", despite %s: %s", strings.Join(e.Despite, ", "), e.Why)
			}
		case casework.Renewal:
			h.Detail += ": " + e.Why
		}
		d.say(h)
		d.apply(ds, ev)
	}
	return d.commit(ctx)
}

func nameOf(ev casework.Event) string {
	switch ev.(type) {
	case casework.Claim:
		return "claimed"
	case casework.Acknowledgement:
		return "acknowledged"
	case casework.Approve:
		return "approved"
	case casework.Resume:
		return "resumed"
	case casework.Withdraw:
		return "withdrew"
	case casework.Renewal:
		return "renewed"
	}
	return "acted"
}

// Pause throws the kill switch, or lifts it: while it is thrown no act on any machine begins.
func (l *Line) Pause(ctx context.Context, paused bool, by, why string) error {
	d := l.draft("people")
	d.actor = by
	d.change.Pause = &paused
	event := "enforcement.resumed"
	if paused {
		event = "enforcement.paused"
	}
	h := Happening{Event: event, Detail: "by " + by}
	if why != "" {
		h.Detail += ": " + why
	}
	d.say(h)
	return d.commit(ctx)
}

// Distrust pauses enforcement because the ledger or the clock is not what it was, and queues a mail to the operators. Where it is the
// ledger, what was observed until now proves nothing any more, the ledger is accepted as the one to go on with, and the inventory is read
// from it anew.
func (l *Line) Distrust(ctx context.Context, why string, ledger bool) error {
	d := l.draft("people")
	paused := true
	d.change.Pause, d.change.Anew, d.change.NewBase = &paused, ledger, ledger
	d.say(Happening{Event: "enforcement.paused", Detail: "by demarc: " + why})
	if ledger {
		d.say(Happening{Event: "checks.discarded", Detail: why})
	}
	d.notifyPaused(why)
	if err := d.commit(ctx); err != nil {
		return err
	}
	if ledger { // what this process knew of the ledger is of another one
		l.x, l.applied, l.reconcileAt, l.reconciled = nil, "", 0, ""
		l.ChargeAnew()
	}
	return nil
}

// RecordPause writes a pause that took effect before the ledger could be written. One that nobody asked for is mailed to the operators.
func (l *Line) RecordPause(ctx context.Context, by, why string) error {
	d := l.draft("people")
	d.actor = by
	paused := true
	d.change.Pause = &paused
	h := Happening{Event: "enforcement.paused", Detail: "by " + by}
	if why != "" {
		h.Detail += ": " + why
	}
	d.say(h)
	if by == "demarc" {
		d.notifyPaused(why)
	}
	return d.commit(ctx)
}

// notifyPaused queues the mail that tells the operators that the service paused enforcement by itself.
func (d *draft) notifyPaused(why string) {
	if d.l.Contacts.Operators == "" {
		return
	}
	m := notice.Paused(newID(), d.l.Contacts, why, d.l.Policy.Location(), d.now)
	d.change.Mails = append(d.change.Mails, m)
	d.say(Happening{Event: "mail.queued", MailTo: m.Recipient, Detail: string(m.Step)})
}

// notifyUnstarted queues the mail that tells the operators that a machine was given back and could not be started.
func (d *draft) notifyUnstarted(c casework.Case, act casework.Act) {
	h := about(c, "act.incomplete")
	h.Act, h.Detail = string(act.Kind), act.Note
	d.say(h)
	if d.l.Contacts.Operators == "" {
		return
	}
	m := notice.Unstarted(newID(), d.l.Contacts, c, act, d.l.Policy.Location(), d.now)
	d.change.Mails = append(d.change.Mails, m)
	d.say(Happening{Event: "mail.queued", MailTo: m.Recipient, Detail: string(m.Step)})
}

// SendPaused sends that mail at once, for when there is no ledger to queue it in.
func (l *Line) SendPaused(ctx context.Context, why string) error {
	if l.Contacts.Operators == "" {
		return nil
	}
	return l.Sender.Send(ctx, notice.Paused(newID(), l.Contacts, why, l.Policy.Location(), l.Clock.Now()))
}

// SendProblems tells the operators at once of causes for which work is not done. It waits for nothing that the pipeline does. Safe for concurrent
// use.
func (l *Line) SendProblems(ctx context.Context, ps []Problem) error {
	if l.Contacts.Operators == "" {
		return nil
	}
	told := make([]notice.Problem, len(ps))
	for i, p := range ps {
		told[i] = notice.Problem{Cause: p.Cause, What: p.What, Since: p.Since, Count: p.Count}
	}
	return l.Sender.Send(ctx, notice.Problems(newID(), l.Contacts, l.Cloud, told, l.base.Location(), l.Clock.Real()))
}

// deliverSystem hands a mail that belongs to no case to the next hop. It goes to the operators, and is tried until the next hop takes it.
func (l *Line) deliverSystem(ctx context.Context, m casework.Mail) error {
	d := l.draft("notify")
	mails, err := l.attempting(ctx, m)
	if err != nil {
		return err
	}
	m = mails[0]
	ctx, cancel := aside(ctx)
	defer cancel()
	if err = l.Sender.Send(ctx, m); err == nil {
		return l.recordSent(ctx, l.taken(mails))
	}
	m.LastError = err.Error()
	m.NextAt = d.now + backoff(m.Attempts)
	if m.Attempts == 1 {
		d.say(Happening{Event: "mail.deferred", MailTo: m.Recipient, Detail: m.LastError})
	}
	d.change.Mails = []casework.Mail{m}
	return d.commit(ctx)
}

// KeepTime writes down where the clock stands, so that a restart goes on from there.
func (l *Line) KeepTime(ctx context.Context, a casework.Anchor) error {
	d := l.draft("people")
	d.change.Anchor = &a
	return d.commit(ctx)
}

// reaching tells whether mail goes out at all: something was accepted within the last hour.
func (l *Line) reaching() bool { return l.Clock.Now()-l.accepted < hour }
