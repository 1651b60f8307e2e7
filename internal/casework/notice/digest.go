package notice

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"demarc/internal/casework"
)

// DigestID is the Message-ID of the digest that some mails are sent in, without angle brackets. It follows from what they are, so that a copy sent
// after a crash is the same message.
func DigestID(mails []casework.Mail, domain string) string {
	h := sha256.New()
	for _, m := range mails {
		h.Write([]byte(m.MessageID + "\x00"))
	}
	return "digest." + hex.EncodeToString(h.Sum(nil)[:12]) + "@" + domain
}

// WriteDigest makes one message of the letters of several cases to one reader: subject, text, and for each letter the part of the text that is
// about its case. There is at least one letter.
func WriteDigest(ls []Letter) (subject, body string, texts []string) {
	var b strings.Builder
	last := ls[len(ls)-1]
	subject = fmt.Sprintf("[%s] %s: %s", ls[0].Case.Ref(), headline(ls[0]), short(subjectOf(ls[0])))
	if len(ls) > 1 {
		subject = fmt.Sprintf("[%s and %d more] cases: %s", ls[0].Case.Ref(), len(ls)-1, subjects(ls))
		fmt.Fprintf(&b, "This mail is about %d cases. %s\n\n", len(ls), each(ls))
		b.WriteString(contents(ls))
	}
	for i, l := range ls {
		head := ""
		if len(ls) > 1 {
			head = fmt.Sprintf("---- %d of %d: %s ----\n\n", i+1, len(ls), l.Case.Ref())
		}
		part := head + text(l)
		texts = append(texts, part)
		b.WriteString(part)
	}
	b.WriteString(closing(last))
	return subject, b.String(), texts
}

// each says what holds of each case.
func each(ls []Letter) string {
	if slices.ContainsFunc(ls, func(l Letter) bool { return l.Step != casework.StepNotice || l.Deadline == 0 }) {
		return "Each is closed on its own."
	}
	return "Each has a deadline of its own and is closed on its own."
}

// contents lists the cases of a digest, a line each.
func contents(ls []Letter) string {
	var b strings.Builder
	for _, l := range ls {
		until := ""
		if l.Deadline > 0 {
			until = ", until " + Moment(l.Deadline, l.Zone)
		}
		fmt.Fprintf(&b, "  %s  %s: %s%s\n", l.Case.Ref(), headline(l), short(subjectOf(l)), until)
	}
	return b.String() + "\n"
}

// subjects names the first few things that a digest is about.
func subjects(ls []Letter) string {
	const most = 3
	var out []string
	for _, l := range ls {
		s := short(subjectOf(l))
		if len(out) > 0 && out[len(out)-1] == s {
			continue
		}
		if len(out) == most {
			return strings.Join(out, ", ") + " and others"
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}
