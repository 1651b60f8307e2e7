package post

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"
	"unicode"

	"demarc/internal/casework"
	"demarc/internal/casework/notice"
	"demarc/internal/fault"
)

// scripted is a connection on which a server says what it was given, whatever it is told.
type scripted struct {
	in  *bytes.Reader
	out bytes.Buffer
}

func (s *scripted) Read(p []byte) (int, error) {
	if len(p) > 1 {
		p = p[:1+len(p)/2] // so that lines come in pieces
	}
	return s.in.Read(p)
}
func (s *scripted) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *scripted) Close() error                     { return nil }
func (s *scripted) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *scripted) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *scripted) SetDeadline(time.Time) error      { return nil }
func (s *scripted) SetReadDeadline(time.Time) error  { return nil }
func (s *scripted) SetWriteDeadline(time.Time) error { return nil }

// FuzzRelay hands a message to a relay that says anything. It ends, in an error that is safe to show, or in the relay's 250 after DATA.
func FuzzRelay(f *testing.F) {
	const well = "220 hi\r\n250-hi\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n221 bye\r\n"
	f.Add([]byte(well), "amir@astro.example")
	f.Add([]byte(strings.Replace(well, "250 ok\r\n354", "550 5.1.1 no\r\n354", 1)), "jürgen@astro.example")
	f.Add([]byte("220 hi\r\n250 hi\r\n250 ok\r\n554 5.7.1 \x1b[31mno\r\n"), "a@b.example")
	f.Add([]byte(strings.Replace(well, "250 ok\r\n354", "550 5.1.1 canary-5c1e\r\n354", 1)), "amir@astro.example")
	f.Add([]byte("220 hi\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n"), "a@b.example")
	f.Add([]byte("220-\r\n220-x\r\n5"), "a@b\r\nRCPT TO:<c@d>")
	f.Add([]byte(strings.Replace(well, "250-SMTPUTF8\r\n", "250-AUTH LOGIN\r\n", 1)), "a@b.example")
	f.Fuzz(func(t *testing.T, says []byte, recipient string) {
		if strings.Contains(recipient, "canary") {
			return // an error names the recipient
		}
		for _, user := range []string{"", "u"} { // most that a relay can say without a login ends a session with one
			relayed(t, user, says, recipient)
		}
	})
}

func relayed(t *testing.T, user string, says []byte, recipient string) {
	t.Helper()
	conn := &scripted{in: bytes.NewReader(says)}
	s, err := NewSMTP(Config{Host: "relay.example", Port: 25, From: "demarc@cloud.example", TLS: "opportunistic", User: user, Password: "canary-5c1e", EHLO: "mail.example"})
	if err != nil {
		t.Fatal(err)
	}
	s.open = func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	err = s.Send(t.Context(), casework.Mail{Recipient: recipient, MessageID: "a@b.example", Subject: "s", Body: "b\n"})
	if err == nil && !bytes.Contains(says, []byte("250")) {
		t.Fatalf("taken: %q", says)
	}
	to, ok := notice.CheckAddress(recipient)
	proper := ok && to == recipient // no other gets this far
	if err != nil {
		shows(t, err.Error(), proper)
	}
	if proper && fault.Is(err, fault.Refused) && !bytes.ContainsAny(says, "5") && notice.Plain(recipient) {
		t.Fatalf("%q refuses the recipient for good", says)
	}
	if n := bytes.Count(conn.out.Bytes(), []byte("RCPT TO:")); n > 1 {
		t.Fatalf("%d recipients: %q", n, conn.out.String())
	}
	_, said := s.tryOn(t.Context(), &scripted{in: bytes.NewReader(says)}, recipient)
	shows(t, said, proper)
}

// shows fails for a text that shows our secret or, where no address of the test brings them, control characters.
func shows(t *testing.T, said string, proper bool) {
	t.Helper()
	if strings.Contains(said, "canary-5c1e") || proper && strings.ContainsFunc(said, func(r rune) bool { return unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r) }) || proper && len(said) > 4000 {
		t.Fatalf("%q", said)
	}
}

func (s *SMTP) tryOn(ctx context.Context, conn net.Conn, recipient string) (Stage, string) {
	s.open = func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	return s.Try(ctx, []string{recipient})
}

var _ io.Reader = (*scripted)(nil)

// FuzzReply reads one reply to each command.
func FuzzReply(f *testing.F) {
	f.Add(550, "5.1.1 no such user")
	f.Add(554, "relay access denied")
	f.Add(552, "4.2.2")
	f.Fuzz(func(t *testing.T, code int, text string) {
		for _, at := range []command{atMail, atRcpt, atData, atEnd} {
			who := concerns(at, code, text)
			if who == recipient && (code < 500 || code > 599 || at == atMail || at == atData || strings.HasPrefix(text, "5.7.1 ") || strings.HasPrefix(text, "4.2.2 ")) {
				t.Fatalf("%d %q to %s is the recipient's for good", code, text, at)
			}
		}
	})
}
