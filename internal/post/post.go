// Package post carries messages out.
package post

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/wneessen/go-mail"

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
	Timeout  time.Duration // for one message; default 30 s
}

// SMTP hands mail to one next hop. It may be used from several goroutines.
type SMTP struct{ c Config }

// NewSMTP checks the configuration; it connects when there is something to send.
func NewSMTP(c Config) (*SMTP, error) {
	if _, ok := notice.CheckAddress(c.From); !ok {
		return nil, fault.New(fault.Config, "mail from %q is not a plain address", c.From).Hinted("write name@example.org")
	}
	if _, err := tlsPolicy(c.TLS); err != nil {
		return nil, err
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	return &SMTP{c}, nil
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

// Send hands one message over. Nil means that the next hop said 250 after DATA. A fault.Refused will not go away by
// itself; any other error is worth another try, with the same Message-ID.
func (s *SMTP) Send(ctx context.Context, m casework.Mail) error {
	msg, err := s.message(m)
	if err != nil {
		return fault.New(fault.Refused, "the message to %s cannot be made: %w", m.Recipient, err)
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.c.Timeout)
	defer cancel()
	if err := c.DialWithContext(ctx); err != nil {
		return fmt.Errorf("connecting to %s: %w", s.c.Host+":"+strconv.Itoa(s.c.Port), err)
	}
	err = c.Send(msg)
	// What follows the 250 after DATA changes nothing about the message: QUIT may fail as it likes.
	closeErr := c.Close()
	if err == nil || msg.IsDelivered() {
		return nil
	}
	var se *mail.SendError
	if errors.As(err, &se) && !se.IsTemp() && permanent(se) {
		return fault.New(fault.Refused, "the next hop refuses mail to %s: %w", m.Recipient, err)
	}
	return fmt.Errorf("mail to %s: %w", m.Recipient, errors.Join(err, closeErr))
}

func (s *SMTP) client(more ...mail.Option) (*mail.Client, error) {
	policy, err := tlsPolicy(s.c.TLS)
	if err != nil {
		return nil, err
	}
	opts := append([]mail.Option{mail.WithPort(s.c.Port), mail.WithTLSPolicy(policy), mail.WithTimeout(s.c.Timeout), mail.WithoutNoop()}, more...)
	if s.c.User != "" {
		opts = append(opts, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(s.c.User), mail.WithPassword(s.c.Password))
	}
	c, err := mail.NewClient(s.c.Host, opts...)
	if err != nil {
		return nil, fmt.Errorf("mail client for %s: %w", s.c.Host, err)
	}
	return c, nil
}

// permanent tells whether the next hop said 5xx to this message. A connection that broke says nothing.
func permanent(e *mail.SendError) bool { return e.ErrorCode() >= 500 && e.ErrorCode() < 600 }

// message builds the plain text message. The headers are those of RFC 5322, and of RFC 3834 so that nobody's machine answers.
func (s *SMTP) message(m casework.Mail) (*mail.Msg, error) {
	msg := mail.NewMsg(mail.WithEncoding(mail.EncodingQP), mail.WithCharset(mail.CharsetUTF8))
	if err := msg.From(s.c.From); err != nil {
		return nil, err
	}
	if s.c.ReplyTo != "" {
		if err := msg.ReplyTo(s.c.ReplyTo); err != nil {
			return nil, err
		}
	}
	if err := msg.To(m.Recipient); err != nil {
		return nil, err
	}
	msg.Subject(m.Subject)
	msg.SetDate()
	msg.SetMessageIDWithValue(m.MessageID)
	if m.Thread != "" {
		msg.SetGenHeader(mail.HeaderInReplyTo, "<"+m.Thread+">")
		msg.SetGenHeader(mail.HeaderReferences, "<"+m.Thread+">")
	}
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetGenHeader("X-Demarc-Case", casework.Ref(m.Case))
	msg.SetBodyString(mail.TypeTextPlain, m.Body)
	return msg, nil
}
