package flow

import (
	"context"
	"slices"

	"demarc/internal/casework"
)

// backoff is how long a mail waits after so many attempts: 1, 2, 4 … 60 minutes.
func backoff(attempts int) int64 { return min(int64(1)<<min(max(attempts-1, 0), 6), 60) * minute }

// attempting writes an attempt down before a message is sent. Where that cannot be written nothing is sent: otherwise a ledger that takes no
// change would have the same mail sent again and again.
func (l *Line) attempting(ctx context.Context, mails ...casework.Mail) ([]casework.Mail, error) {
	d := l.draft("notify")
	for i := range mails {
		m := &mails[i]
		m.Attempts++
		m.NextAt = d.now + backoff(m.Attempts)
	}
	d.change.Mails = mails
	return mails, d.commit(ctx)
}

// taken notes that the next hop took a message. Until that is written down this process remembers it, and does not send its mails again.
func (l *Line) taken(mails []casework.Mail) []casework.Mail {
	now := l.Clock.Now()
	l.accepted = now
	out := slices.Clone(mails)
	for i := range out {
		out[i].Status, out[i].AcceptedAt, out[i].LastError = casework.Taken, now, ""
		l.sent[out[i].ID] = out
	}
	return out
}

// recordSent writes down that the next hop took a message, with what follows for the case of each mail in it. It may be repeated until it
// succeeds: the time of acceptance, and what the mails promised, are those of the moment when it was taken.
func (l *Line) recordSent(ctx context.Context, mails []casework.Mail) error {
	d := l.draft("notify")
	d.change.Mails = mails
	for _, m := range mails {
		if m.Case == "" {
			d.say(Happening{MailTo: m.Recipient, Detail: string(m.Step), Event: "mail.accepted"})
			continue
		}
		ds, err := d.dossier(ctx, m.Case)
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
			Digest:     m.Digest,
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
	for _, m := range mails {
		delete(l.sent, m.ID)
	}
	return nil
}
