package flow

import (
	"context"
	"slices"
	"strings"

	"demarc/internal/casework"
	"demarc/internal/casework/notice"
)

// firstNotice is a mail that a case wants and that may wait for a digest. Whether it is queued already is found out when the draft is written.
type firstNotice struct {
	c  casework.Case
	m  casework.Mail
	as string
}

// queueFirst queues the first notices of a draft. One that waits already is not queued again; where the case has become graver, it is sent
// sooner, and never later: otherwise an owner could put a notice off by what they change.
func (d *draft) queueFirst(ctx context.Context) error {
	first := d.first
	d.first = nil
	for _, f := range first {
		mails, err := d.l.Ledger.MailsOf(ctx, f.c.ID)
		if err != nil {
			return err
		}
		same := func(m casework.Mail) bool {
			waits := m.Status == casework.Waiting && m.Attempts == 0 && m.QueuedAt >= f.c.OpenedAt // it tells what there is when it is sent
			return m.MessageID == f.m.MessageID || waits && m.Step == f.m.Step && m.To == f.m.To && m.Recipient == f.m.Recipient
		}
		i := slices.IndexFunc(mails, same)
		switch {
		case slices.ContainsFunc(d.change.Mails, same):
		case i < 0:
			d.queueMail(f.c, casework.Schedule(f.m, f.c, d.policy, d.now), f.as, casework.MailRef{})
		case mails[i].Status == casework.Waiting && mails[i].Attempts == 0:
			if m := casework.Schedule(mails[i], f.c, d.policy, d.now); m.NextAt < mails[i].NextAt {
				d.change.Mails = append(d.change.Mails, m)
			}
		}
	}
	return nil
}

// mostInDigest bounds how many cases one message tells. What is left goes in a further message, at once.
const mostInDigest = 50

// together lists the mails that are sent in one message with a mail that is due: the others to the same recipient that wait for the same or an
// earlier digest. A digest that was tried before is sent with the same parts, and so under the same Message-ID, since the next hop may have taken it.
func together(m casework.Mail, due []casework.Mail) []casework.Mail {
	out := []casework.Mail{m}
	if m.Slot == 0 || m.Attempts > 0 && m.Digest == "" {
		return out
	}
	for _, o := range due {
		if len(out) < mostInDigest && o.ID != m.ID && o.Recipient == m.Recipient && o.Slot > 0 && o.Digest == m.Digest && (o.Attempts > 0) == (m.Attempts > 0) {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b casework.Mail) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// part is a mail that is ready to be sent, with its case and what is written in it.
type part struct {
	ds     casework.Dossier
	mail   casework.Mail
	letter notice.Letter
}

// message makes what is handed to the next hop: the mail itself where it is alone, else the digest of all, whose part each mail keeps.
func (l *Line) message(parts []part) casework.Mail {
	if len(parts) == 1 && parts[0].mail.Digest == "" {
		p := &parts[0]
		p.mail.Subject, p.mail.Body = notice.Write(p.letter)
		return p.mail
	}
	letters := make([]notice.Letter, len(parts))
	out := parts[0].mail
	for i, p := range parts {
		letters[i] = p.letter
		out.Cases = append(out.Cases, p.ds.Case.ID)
	}
	id := notice.DigestID(mailsOf(parts), l.Contacts.Domain) // with fewer parts it is another message
	subject, body, texts := notice.WriteDigest(letters)
	for i, p := range parts {
		m := &parts[i].mail
		m.Digest, m.Body = id, texts[i]
		m.Subject, _ = notice.Write(p.letter) // that of the digest names the cases of others
	}
	out.MessageID, out.Thread, out.Subject, out.Body = id, "", subject, body
	return out
}

func mailsOf(parts []part) []casework.Mail {
	out := make([]casework.Mail, len(parts))
	for i, p := range parts {
		out[i] = p.mail
	}
	return out
}

// apart takes a mail out of its digest when that was tried several times, although the next hop took others since it was due: what it refuses may
// be one part, and must not keep the others back.
func (l *Line) apart(m casework.Mail) casework.Mail {
	const tries, manyTries = 3, 8
	if m.Attempts >= manyTries || m.Attempts >= tries && l.accepted >= m.Slot {
		m.Digest, m.Slot = "", 0
	}
	return m
}

// threadOf is the Message-ID that a later mail of a case refers to, where its first mail to that recipient was part of a digest.
func threadOf(c casework.Case, m casework.Mail) string {
	for _, n := range c.Notices {
		if n.Recipient == m.Recipient && n.Digest != "" {
			return n.Digest
		}
	}
	return m.Thread
}
