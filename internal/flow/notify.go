package flow

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"demarc/internal/casework"
	"demarc/internal/casework/notice"
	"demarc/internal/detect"
	"demarc/internal/duty"
	"demarc/internal/fault"
	"demarc/internal/finding"
	"demarc/internal/guide"
	"demarc/internal/untrusted"
)

// notify sends one mail that is due. The mail was committed with what it tells; it is sent afterwards, and what became of it
// is committed then. A death between the two sends a second copy of the same message, never none.
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
		if err := l.deliver(ctx, m); err != nil {
			l.putOff(key, err)
			return true, fmt.Errorf("mail %s: %w", m.MessageID, err)
		}
		l.done(key)
		return true, nil
	}
	return false, nil
}

// deliver hands one mail to the next hop, or finds that it must not go out, and writes down what became of it.
func (l *Line) deliver(ctx context.Context, m casework.Mail) error {
	ds, err := l.dossier(ctx, m.Case)
	if err != nil {
		return err
	}
	d := l.draft("notify")
	if ds.Case.State == casework.OnHold && m.To == casework.Owner {
		m.NextAt = d.now + hour // until a person has looked
		d.change.Mails = []casework.Mail{m}
		return d.commit(ctx)
	}
	if why := l.stale(ds.Case, m); why != "" {
		return d.giveUp(ctx, ds, m, why)
	}
	m.Deadline = casework.Promise(ds.Case, m.Step, l.Policy, d.now)
	m.Subject, m.Body = l.write(ds, m)
	m.Attempts++
	ctx, cancel := aside(ctx)
	defer cancel()
	if err := l.Sender.Send(ctx, m); err != nil {
		if fault.Is(err, fault.Refused) {
			return d.giveUp(ctx, ds, m, err.Error())
		}
		m.LastError = err.Error()
		m.NextAt = d.now + min(int64(1)<<min(m.Attempts-1, 6), 60)*minute
		d.change.Mails = []casework.Mail{m}
		if m.Attempts == 1 {
			d.say(mailed(ds.Case, m, "mail.deferred", m.LastError))
		}
		if m.To == casework.Owner && m.Step != casework.StepStatus && m.Recipient != l.Contacts.Operators && d.now-m.QueuedAt > day && l.reaching() {
			// Others are reached, so the trouble is the recipient's: the operators hear of it, once for its Message-ID.
			d.change.Mails = append(d.change.Mails, notice.New(newID(), ds.Case, m.Step, m.To, l.Contacts.Operators, l.Contacts.Domain, d.now))
		}
		return d.commit(ctx)
	}
	l.accepted = d.now
	m.Status, m.AcceptedAt, m.LastError = casework.Taken, d.now, ""
	d.change.Mails = []casework.Mail{m}
	d.say(mailed(ds.Case, m, "mail.accepted", string(m.Step)))
	d.apply(ds, casework.MailAccepted{Notice: casework.Notice{Step: m.Step, To: m.To, Recipient: m.Recipient, MessageID: m.MessageID, AcceptedAt: d.now, Deadline: m.Deadline}})
	return d.commit(ctx)
}

func mailed(c casework.Case, m casework.Mail, event, detail string) Happening {
	h := about(c, event)
	h.MailTo, h.Detail = m.Recipient, detail
	return h
}

// giveUp marks a mail as not to be sent. When an owner cannot be told, the operators are.
func (d *draft) giveUp(ctx context.Context, ds casework.Dossier, m casework.Mail, why string) error {
	m.Status, m.LastError = casework.Bounced, why
	d.change.Mails = []casework.Mail{m}
	d.say(mailed(ds.Case, m, "mail.failed", why))
	if m.To == casework.Owner && m.Recipient != d.l.Contacts.Operators && why == left {
		for _, r := range notice.Recipients(d.l.x, ds.Case, m.To, d.l.Contacts) {
			d.change.Mails = append(d.change.Mails, notice.New(newID(), ds.Case, m.Step, m.To, r.Address, d.l.Contacts.Domain, d.now))
		}
	} else if m.To == casework.Owner && m.Recipient != d.l.Contacts.Operators && why != overtaken && m.Step != casework.StepStatus {
		d.change.Mails = append(d.change.Mails, notice.New(newID(), ds.Case, m.Step, m.To, d.l.Contacts.Operators, d.l.Contacts.Domain, d.now))
	}
	return d.commit(ctx)
}

const (
	overtaken = "the case has moved on"
	left      = "the recipient is not in the project any more"
)

// stale tells why a queued mail must not go out any more.
func (l *Line) stale(c casework.Case, m casework.Mail) string {
	switch {
	case m.Step == casework.StepNotice && !slices.Contains([]casework.State{casework.New, casework.Notified, casework.Acknowledged}, c.State),
		(m.Step == casework.StepFinal || m.Step == casework.StepRelapse) && c.State != casework.Overdue && c.State != casework.FinalWarning,
		m.Step == casework.StepStatus && (c.State == casework.Moot || c.State == casework.Closed && c.PassedAt == c.ClosedAt),
		m.Step == casework.StepApproval && c.State != casework.Queued:
		return overtaken
	}
	for _, r := range notice.Recipients(l.x, c, m.To, l.Contacts) {
		if r.Address == m.Recipient {
			return ""
		}
	}
	if m.Recipient == l.Contacts.Operators {
		return "" // stands in for an owner who could not be told
	}
	return left
}

// write makes the words of a mail.
func (l *Line) write(ds casework.Dossier, m casework.Mail) (subject, body string) {
	letter := notice.Letter{Case: ds.Case, Step: m.Step, Deadline: m.Deadline, End: l.Policy.Classes[ds.Case.Class].End, Zone: l.Policy.Location(), PolicyURL: l.PolicyURL, Contacts: l.Contacts,
		Server: untrusted.From(string(ds.Case.Server)), Project: untrusted.From(string(ds.Case.Project)), Untold: l.untold(ds.Case, m)}
	if s := l.server(ds.Case.Server); s != nil {
		letter.Server = s.Name
	}
	if p := l.x.Projects[ds.Case.Project]; p != nil {
		letter.Project = p.Name
	}
	for _, f := range ds.Findings {
		if f.State.Live() {
			letter.Items = append(letter.Items, l.item(f))
		}
	}
	return notice.Write(letter)
}

// untold tells whether a mail must say that the owner was not reached: it goes to the operators in the owner's place, or asks
// them for an act of which nobody but themselves was given notice.
func (l *Line) untold(c casework.Case, m casework.Mail) bool {
	operators := l.Contacts.Operators
	switch {
	case m.To == casework.Owner:
		return m.Recipient == operators
	case m.Step == casework.StepApproval:
		return !slices.ContainsFunc(c.Notices, func(n casework.Notice) bool { return n.To == casework.Owner && n.Recipient != operators })
	}
	return false
}

func (l *Line) item(f finding.Finding) notice.Item {
	it := notice.Item{Finding: f, Guides: guide.Links(l.GuideURL, f.Key.Check, f.Duty.Duty)}
	if c := l.checks[f.Key.Check]; c != nil {
		it.Advice = strings.NewReplacer("{service}", serviceOf(c), "{endpoint}", f.Endpoint.String()).Replace(c.Remedy)
	}
	if f.Key.Check == CheckBlocked || slices.Contains(postureChecks, f.Key.Check) || f.Duty.Party == duty.Provider {
		return it // the cure is not to close the tenant's rule
	}
	v := l.vantage(f.Vantage)
	if l.Remedy != nil && v != nil {
		it.Remedy = l.Remedy(l.x, f, l.reach(v).Why(f.Endpoint, f.Key.Port))
	}
	return it
}

// serviceOf names what a check is about, for a sentence.
func serviceOf(c *detect.Check) string {
	if len(c.Applies.Service) == 1 {
		return c.Applies.Service[0]
	}
	return "the service"
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

// Approve records an operator's consent to the act that waits in a case.
func (l *Line) Approve(ctx context.Context, id, by string) error {
	return l.act(ctx, []string{id}, by, casework.Approve{By: by})
}

// ApproveAll records an operator's consent to several acts at once: they come to the gate as one batch.
func (l *Line) ApproveAll(ctx context.Context, ids []string, by string) error {
	return l.act(ctx, ids, by, casework.Approve{By: by})
}

func (l *Line) act(ctx context.Context, ids []string, by string, ev casework.Event) error {
	d := l.draft("people")
	d.actor = by
	for _, id := range ids {
		ds, err := l.dossier(ctx, id)
		if err != nil {
			return err
		}
		h := about(ds.Case, fmt.Sprintf("people.%s", nameOf(ev)))
		h.Detail = "by " + by
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

// Distrust throws the kill switch because the ledger or the clock is not what it was. Where it is the ledger, what was seen until
// now proves nothing any more.
func (l *Line) Distrust(ctx context.Context, why string, ledger bool) error {
	d := l.draft("people")
	paused := true
	d.change.Pause, d.change.Anew = &paused, ledger
	d.say(Happening{Event: "enforcement.paused", Detail: "by demarc: " + why})
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
