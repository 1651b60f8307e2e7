package post

import (
	"errors"
	"fmt"
	"net/textproto"
	"regexp"
	"strconv"

	"demarc/internal/fault"
)

// command is what a reply answers.
type command string

const (
	atMail command = "MAIL"
	atRcpt command = "RCPT"
	atData command = "DATA"
	atEnd  command = "the end of DATA"
)

// about is whom a refusal concerns.
type about int

const (
	later     about = iota // nobody: it may be taken later, or the reply was not understood
	recipient              // the recipient, for good
	ourselves              // our server's name, address or sender, its policy towards us, or the message
)

// enhanced is an enhanced status code (RFC 3463); the zero value is none.
type enhanced struct{ class, subject, detail int }

var enhancedAt = regexp.MustCompile(`^([245])\.([0-9]{1,3})\.([0-9]{1,3})(?:\s|$)`)

// enhancedOf reads the enhanced code that a reply begins with. RFC 2034 wants it there; a code elsewhere in the text may be anything.
func enhancedOf(text string) enhanced {
	m := enhancedAt.FindStringSubmatch(text)
	if m == nil {
		return enhanced{}
	}
	n := func(i int) int { v, _ := strconv.Atoi(m[i]); return v }
	return enhanced{n(1), n(2), n(3)}
}

// concerns reads a reply by the command that it answers and by its enhanced code, never by its words. A 5xx to MAIL is about us; one to
// RCPT, or after DATA to a server that looks a recipient up late, is about the recipient only where its code says so.
func concerns(at command, code int, text string) about {
	e := enhancedOf(text)
	switch {
	case code < 500 || code > 599 || e.class == 4:
		return later
	case at == atMail || at == atData:
		return ourselves
	case e.class == 5 && (e.subject != 0 || e.detail != 0):
		return ofEnhanced(e)
	case at != atRcpt:
		return ourselves // 554 after DATA without a code: the message, a policy, or a list of senders
	}
	switch code {
	case 550, 551, 553, 556: // RFC 5321 section 4.2.3 and RFC 7504: no such mailbox, not here, no such name, a domain without mail
		return recipient
	case 552: // RFC 5321 section 4.5.3.1.10: to be read as 452
		return later
	}
	return ourselves
}

// ofEnhanced reads the subject and detail of a permanent code.
func ofEnhanced(e enhanced) about {
	switch e.subject {
	case 1:
		if e.detail == 7 || e.detail == 8 { // the sender's address
			return ourselves
		}
		return recipient
	case 2:
		if e.detail == 0 || e.detail == 1 { // the mailbox is disabled
			return recipient
		}
		return later // 5.2.2 is a full mailbox, 5.2.4 a list that cannot be expanded
	case 6:
		if e.detail == 7 { // RFC 6531: the address beyond ASCII is not taken
			return recipient
		}
	}
	return ourselves // 3 the mail system, 4 the way there, 5 the protocol, 6 the message, 7 a policy towards us
}

// shownError is an error of a session, with what the server wrote in a form that is safe to show, and without our secret.
type shownError struct {
	text  string
	cause error
}

func (e *shownError) Error() string { return e.text }

func (e *shownError) Unwrap() error { return e.cause }

func (s *SMTP) shown(err error) error { return &shownError{s.said(err), err} }

// refused makes an error of what the next hop said.
func (s *SMTP) refused(at command, to string, err error) error {
	reply, ok := errors.AsType[*textproto.Error](err)
	if !ok {
		return fmt.Errorf("mail to %s: %s to %s: %w", to, at, s.Hop(), s.shown(err))
	}
	said := s.safe(reply.Msg)
	switch concerns(at, reply.Code, reply.Msg) {
	case recipient:
		return fault.New(fault.Refused, "the next hop %s refuses the recipient %s: %d %s", s.Hop(), to, reply.Code, said)
	case ourselves:
		return fmt.Errorf("mail to %s: the next hop %s answers %s with %d %s, which is about this server and not about the recipient",
			to, s.Hop(), at, reply.Code, said)
	case later:
	}
	return fmt.Errorf("mail to %s: the next hop %s answers %s with %d %s", to, s.Hop(), at, reply.Code, said)
}
