package post

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net"
	"net/textproto"
	"strconv"
	"strings"

	"demarc/internal/casework/notice"
	"demarc/internal/untrusted"
)

// Stage is how far a trial of the next hop came.
type Stage string

// The stages.
const (
	Reached   Stage = "reach"   // no server answers there
	Secured   Stage = "tls"     // it does not prove who it is, or does not encrypt
	LoggedIn  Stage = "login"   // it refuses the user or the password
	Sender    Stage = "sender"  // it refuses our address
	Recipient Stage = "rcpt"    // it refuses a recipient
	Done      Stage = "done"    // it would take mail
	Later     Stage = "delayed" // it asks to come back: greylisting, most often
)

// Try goes as far as a message would, up to its recipients, and takes it all back: no DATA is sent. The stage is where it ended; what
// the server said comes as text that is safe to show.
func (s *SMTP) Try(ctx context.Context, recipients []string) (Stage, string) {
	ctx, cancel := context.WithTimeout(ctx, s.c.Timeout)
	defer cancel()
	session, done, err := s.dial(ctx)
	if err != nil {
		_, connected := errors.AsType[*sessionError](err)
		return stageOf(connected, err), s.said(err)
	}
	defer done()
	if err := session.Mail("<" + s.c.From + ">"); err != nil {
		return orLater(Sender, err), "MAIL FROM " + s.c.From + ": " + s.said(err)
	}
	utf8, _ := session.Extension("SMTPUTF8")
	for _, r := range recipients {
		if !utf8 && !notice.Plain(r) {
			return Recipient, "the server does not offer SMTPUTF8, which the address " + r + " needs"
		}
		if err := session.Rcpt("<" + r + ">"); err != nil {
			return orLater(Recipient, err), "RCPT TO " + r + ": " + s.said(err)
		}
	}
	if err := errors.Join(session.Reset(), session.Quit()); err != nil {
		return Done, s.said(err)
	}
	return Done, ""
}

func stageOf(connected bool, err error) Stage {
	text := strings.ToLower(err.Error())
	_, unproven := errors.AsType[*tls.CertificateVerificationError](err) // "unknown authority" is no login
	switch {
	case !connected:
		return Reached
	case unproven || strings.Contains(text, "tls") || strings.Contains(text, "x509"):
		return Secured
	case strings.Contains(text, "auth"):
		return LoggedIn
	}
	return Reached
}

func orLater(s Stage, err error) Stage {
	if e, ok := errors.AsType[*textproto.Error](err); ok && e.Code >= 400 && e.Code < 500 {
		return Later
	}
	return s
}

// said is an error without our secret, as text that is safe to show.
func (s *SMTP) said(err error) string { return s.safe(err.Error()) }

// safe makes a text of the server safe to show. Our secret is taken out in each form in which a server hears it and may repeat it.
func (s *SMTP) safe(text string) string {
	if p := s.c.Password; p != "" {
		plain := base64.StdEncoding.EncodeToString([]byte("\x00" + s.c.User + "\x00" + p))
		text = strings.NewReplacer(plain, "***", base64.StdEncoding.EncodeToString([]byte(p)), "***", p, "***").Replace(text)
	}
	return untrusted.From(text).Cap(300).Terminal()
}

// Hop names the next hop.
func (s *SMTP) Hop() string { return net.JoinHostPort(s.c.Host, strconv.Itoa(s.c.Port)) }
