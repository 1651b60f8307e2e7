package flow

import (
	"context"

	"demarc/internal/casework"
)

// backoff is how long a mail waits after so many attempts: 1, 2, 4 … 60 minutes.
func backoff(attempts int) int64 { return min(int64(1)<<min(max(attempts-1, 0), 6), 60) * minute }

// attempting writes an attempt down before the mail is sent. Where that cannot be written nothing is sent: otherwise a ledger that takes no
// change would have the same mail sent again and again.
func (l *Line) attempting(ctx context.Context, m casework.Mail) (casework.Mail, error) {
	d := l.draft("notify")
	m.Attempts++
	m.NextAt = d.now + backoff(m.Attempts)
	d.change.Mails = []casework.Mail{m}
	return m, d.commit(ctx)
}

// taken notes that the next hop took a mail. Until that is written down this process remembers it, and does not send the mail again.
func (l *Line) taken(m casework.Mail) casework.Mail {
	now := l.Clock.Now()
	l.accepted = now
	m.Status, m.AcceptedAt, m.LastError = casework.Taken, now, ""
	l.sent[m.ID] = m
	return m
}

// recordSent writes down that the next hop took a mail, with what follows for its case. It may be repeated until it succeeds: the time of
// acceptance, and what the mail promised, are those of the moment when it was taken.
func (l *Line) recordSent(ctx context.Context, m casework.Mail) error {
	d := l.draft("notify")
	d.change.Mails = []casework.Mail{m}
	if m.Case == "" {
		d.say(Happening{MailTo: m.Recipient, Detail: string(m.Step), Event: "mail.accepted"})
	} else {
		ds, err := l.dossier(ctx, m.Case)
		if err != nil {
			return err
		}
		n := casework.Notice{
			Step:       m.Step,
			To:         m.To,
			Recipient:  m.Recipient,
			MessageID:  m.MessageID,
			AcceptedAt: m.AcceptedAt,
			Deadline:   m.Deadline,
			Announced:  m.Announced,
		}
		h := mailed(ds.Case, m, "mail.accepted", string(m.Step))
		h.Notice = &n
		d.say(h)
		d.apply(ds, casework.MailAccepted{Notice: n})
	}
	if err := d.commit(ctx); err != nil {
		return err
	}
	delete(l.sent, m.ID)
	return nil
}
