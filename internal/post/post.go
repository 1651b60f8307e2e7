// Package post carries messages out.
package post

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"demarc/internal/casework"
	"demarc/internal/casework/notice"
	"demarc/internal/fault"
)

// Config says where mail goes.
type Config struct {
	Host     string
	Port     int
	From     string
	ReplyTo  string
	User     string
	Password string        // read from a file by the caller; never logged
	TLS      string        // required, opportunistic, none
	EHLO     string        // the name by which we greet; default: the machine's own
	Timeout  time.Duration // for one message; default 30 s
}

// SMTP hands mail to one next hop. It may be used from several goroutines.
type SMTP struct {
	c    Config
	open func(ctx context.Context, network, address string) (net.Conn, error)
}

// NewSMTP checks the configuration; it connects when there is something to send.
func NewSMTP(c Config) (*SMTP, error) {
	from, ok := notice.CheckAddress(c.From)
	if !ok || !notice.Plain(from) {
		return nil, fault.New(fault.Config, "mail from %q is not a plain address", c.From).Hinted("write name@example.org")
	}
	c.From = from
	if c.EHLO != "" && !Greets(c.EHLO) {
		return nil, fault.New(fault.Config, "mail ehlo %q is no name of a host", c.EHLO).
			Hinted("write mail.example.org, or an address as [192.0.2.10]")
	}
	if _, err := tlsPolicy(c.TLS); err != nil {
		return nil, err
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	return &SMTP{c, new(net.Dialer).DialContext}, nil
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,62})(\.[A-Za-z0-9]([A-Za-z0-9-]{0,62}))*$`)

// Greets tells whether a name may stand in EHLO: the name of a host, or an address in brackets (RFC 5321 section 4.1.3).
func Greets(name string) bool {
	if inner, ok := strings.CutPrefix(name, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		a, err := netip.ParseAddr(strings.TrimPrefix(inner, "IPv6:"))
		return ok && err == nil && a.Zone() == "" && a.Is6() == strings.HasPrefix(inner, "IPv6:")
	}
	return len(name) <= 255 && hostName.MatchString(name)
}

func tlsPolicy(s string) (mail.TLSPolicy, error) {
	switch s {
	case "required", "":
		return mail.TLSMandatory, nil
	case "opportunistic":
		return mail.TLSOpportunistic, nil
	case "none":
		return mail.NoTLS, nil
	}
	return 0, fault.New(fault.Config, "mail tls %q is unknown", s).Hinted("one of required, opportunistic, none")
}

// Send hands one message over. Nil means that the next hop said 250 after DATA. A fault.Refused is about the recipient and will not go
// away by itself; any other error is worth another try, with the same Message-ID: what the next hop says of us or of the message can be
// changed by its operator.
func (s *SMTP) Send(ctx context.Context, m casework.Mail) error {
	msg, err := s.message(m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.c.Timeout)
	defer cancel()
	session, done, err := s.dial(ctx)
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", s.Hop(), s.shown(err))
	}
	defer done()
	if err := s.transmit(session, msg, m.Recipient); err != nil {
		return err
	}
	_ = session.Quit() // what follows the 250 after DATA changes nothing about the message
	return nil
}

// transmit carries one message through a session, up to the answer after DATA.
func (s *SMTP) transmit(session *smtp.Client, msg *mail.Msg, recipient string) error {
	if utf8, _ := session.Extension("SMTPUTF8"); !utf8 && !notice.Plain(recipient) {
		return fault.New(fault.Refused, "the next hop %s does not offer SMTPUTF8, which the address %s needs", s.Hop(), recipient)
	}
	if err := session.Mail("<" + s.c.From + ">"); err != nil {
		return s.refused(atMail, recipient, err)
	}
	if err := session.Rcpt("<" + recipient + ">"); err != nil {
		return s.refused(atRcpt, recipient, err)
	}
	w, err := session.Data()
	if err != nil {
		return s.refused(atData, recipient, err)
	}
	if _, err := msg.WriteTo(w); err != nil {
		// The connection is closed, so the half of it is never kept.
		return fmt.Errorf("mail to %s: sending the message to %s: %w", recipient, s.Hop(), err)
	}
	if err := w.Close(); err != nil {
		return s.refused(atEnd, recipient, err)
	}
	return nil
}

// mostSaid is how many bytes of one session's answers are read.
const mostSaid = 1 << 20

// dial opens a session. Done ends it, whatever it is in the middle of.
func (s *SMTP) dial(ctx context.Context) (session *smtp.Client, done func(), err error) {
	var conn net.Conn
	c, err := s.client(mail.WithDialContextFunc(func(ctx context.Context, network, address string) (net.Conn, error) {
		opened, err := s.open(ctx, network, address)
		if err == nil {
			conn = &bounded{Conn: opened, left: mostSaid}
		}
		return conn, err
	}))
	if err != nil {
		return nil, nil, err
	}
	session, err = c.DialToSMTPClientWithContext(ctx)
	if conn == nil {
		return nil, nil, err
	}
	if err != nil {
		return nil, nil, errors.Join(&sessionError{err}, conn.Close())
	}
	_ = conn.SetDeadline(time.Now().Add(s.c.Timeout))
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	return session, func() { stop(); _ = conn.Close() }, nil
}

// sessionError is an error of a session that had a connection.
type sessionError struct{ error }

func (e *sessionError) Unwrap() error { return e.error }

// bounded keeps a server that talks on and on from filling the memory.
type bounded struct {
	net.Conn
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("the mail server says more than a session needs")
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func (s *SMTP) client(more ...mail.Option) (*mail.Client, error) {
	policy, err := tlsPolicy(s.c.TLS)
	if err != nil {
		return nil, err
	}
	opts := append([]mail.Option{mail.WithPort(s.c.Port), mail.WithTLSPolicy(policy), mail.WithTimeout(s.c.Timeout), mail.WithoutNoop()}, more...)
	if s.c.EHLO != "" {
		opts = append(opts, mail.WithHELO(s.c.EHLO))
	}
	if s.c.User != "" {
		opts = append(opts, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(s.c.User), mail.WithPassword(s.c.Password))
	}
	c, err := mail.NewClient(s.c.Host, opts...)
	if err != nil {
		return nil, fmt.Errorf("mail client for %s: %w", s.c.Host, err)
	}
	return c, nil
}

// message builds the plain text message. The headers are those of RFC 5322, and of RFC 3834 so that nobody's machine answers.
func (s *SMTP) message(m casework.Mail) (*mail.Msg, error) {
	msg := mail.NewMsg(mail.WithEncoding(mail.EncodingQP), mail.WithCharset(mail.CharsetUTF8))
	if err := msg.From(s.c.From); err != nil {
		return nil, fmt.Errorf("the sender's address: %w", err)
	}
	if s.c.ReplyTo != "" {
		if err := msg.ReplyTo(s.c.ReplyTo); err != nil {
			return nil, fmt.Errorf("the address for replies: %w", err)
		}
	}
	if err := msg.To(m.Recipient); err != nil {
		return nil, fault.New(fault.Refused, "the message to %s cannot be made: %w", m.Recipient, err)
	}
	msg.Subject(m.Subject)
	msg.SetDate()
	msg.SetMessageIDWithValue(m.MessageID)
	if m.Thread != "" {
		msg.SetGenHeader(mail.HeaderInReplyTo, "<"+m.Thread+">")
		msg.SetGenHeader(mail.HeaderReferences, "<"+m.Thread+">")
	}
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetGenHeader("X-Demarc-Case", refs(m))
	msg.SetBodyString(mail.TypeTextPlain, m.Body)
	return msg, nil
}

// refs names the cases that a message is about.
func refs(m casework.Mail) string {
	if len(m.Cases) == 0 {
		return casework.Ref(m.Case)
	}
	out := make([]string, len(m.Cases))
	for i, id := range m.Cases {
		out[i] = casework.Ref(id)
	}
	return strings.Join(out, ", ")
}
