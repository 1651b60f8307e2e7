package post_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"demarc/internal/fault"
	"demarc/internal/post"
)

// relay is a mail server that answers each command with what it was told to, and notes what it was asked.
type relay struct {
	ln      net.Listener
	answers map[string]string // by command; "." is the end of DATA

	mu    sync.Mutex
	heard []string
	done  sync.WaitGroup
}

func newRelay(t testing.TB, answers map[string]string) *relay {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{ln: ln, answers: answers}
	r.done.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			r.done.Go(func() { r.talk(c) })
		}
	})
	t.Cleanup(func() { _ = ln.Close(); r.done.Wait() })
	return r
}

func (r *relay) answer(command, usual string) string {
	if a, ok := r.answers[command]; ok {
		return a
	}
	return usual
}

func (r *relay) talk(c net.Conn) {
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	in := bufio.NewReader(c)
	say := func(s string) { _, _ = fmt.Fprintf(c, "%s\r\n", s) }
	say(r.answer("", "220 relay.example ESMTP"))
	for inData := false; ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		if inData {
			if inData = line != "."; !inData {
				say(r.answer(".", "250 2.0.0 taken"))
			}
			continue
		}
		r.mu.Lock()
		r.heard = append(r.heard, line)
		r.mu.Unlock()
		switch command, _, _ := strings.Cut(line, " "); command {
		case "DATA":
			a := r.answer("DATA", "354 go on")
			inData = strings.HasPrefix(a, "354")
			say(a)
		case "QUIT":
			say("221 bye")
			return
		default:
			say(r.answer(command, "250 fine"))
		}
	}
}

func (r *relay) said(command string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.heard {
		if strings.HasPrefix(l, command) {
			return l
		}
	}
	return ""
}

// A refusal counts as the recipient's only where the command that it answers, and its code, say so. All else is tried again.
func TestRefusalIsReadByItsCommandAndCode(t *testing.T) {
	t.Parallel()
	const us, later, recipient = "about this server", "answers", "refuses the recipient amir@astro.example"
	for reply, c := range map[[2]string]string{
		{"MAIL", "550 5.7.1 sender rejected"}:                             us,
		{"MAIL", "550 5.1.1 no such user"}:                                us,
		{"MAIL", "553 sender address rejected"}:                           us,
		{"MAIL", "530 5.7.0 must issue STARTTLS"}:                         us,
		{"MAIL", "451 4.7.1 greylisted"}:                                  later,
		{"RCPT", "550 5.1.1 no such user"}:                                recipient,
		{"RCPT", "550 5.1.10 recipient not found"}:                        recipient,
		{"RCPT", "550-5.1.1 no such user\r\n550 5.1.1 really"}:            recipient,
		{"RCPT", "550 5.2.1 mailbox is disabled"}:                         recipient,
		{"RCPT", "550 Benutzer unbekannt"}:                                recipient,
		{"RCPT", "551 user not local"}:                                    recipient,
		{"RCPT", "553 mailbox name not allowed"}:                          recipient,
		{"RCPT", "556 5.1.10 null MX"}:                                    recipient,
		{"RCPT", "553 5.6.7 non-ASCII addresses not permitted"}:           recipient,
		{"RCPT", "550 5.7.1 relaying denied"}:                             us,
		{"RCPT", "554 5.7.1 <amir@astro.example>: relay access denied"}:   us,
		{"RCPT", "554 5.7.1 blocked using a list"}:                        us,
		{"RCPT", "550 5.1.8 sender's domain not found"}:                   us,
		{"RCPT", "550 5.1.7 bad sender address"}:                          us,
		{"RCPT", "554 no"}:                                                us,
		{"RCPT", "503 5.5.1 need MAIL first"}:                             us,
		{"RCPT", "530 5.7.0 authentication required"}:                     us,
		{"RCPT", "550 5.4.6 routing loop"}:                                us,
		{"RCPT", "552 mailbox full"}:                                      later,
		{"RCPT", "552 5.2.2 mailbox full"}:                                later,
		{"RCPT", "550 4.2.2 mailbox full"}:                                later,
		{"RCPT", "451 4.7.1 greylisted"}:                                  later,
		{"RCPT", "550 the code 5.7.1 stands elsewhere in the text"}:       recipient,
		{"RCPT", "550 5.1.1x is no code"}:                                 recipient,
		{"RCPT", "550 5.0.0 other"}:                                       recipient,
		{"RCPT", "354 what"}:                                              later,
		{"RCPT", "hello\x1b[31m"}:                                         `RCPT to`,
		{"DATA", "554 5.5.1 no valid recipients"}:                         us,
		{"DATA", "250 fine"}:                                              later,
		{".", "554 5.7.1 message rejected as spam"}:                       us,
		{".", "550 looks like spam"}:                                      us,
		{".", "552 5.3.4 message too big"}:                                us,
		{".", "550 5.6.0 bad content"}:                                    us,
		{".", "550 5.1.1 no such user, which a list server finds late"}:   recipient,
		{".", "451 4.3.0 try again"}:                                      later,
		{".", "550 5.1.1 \x1b[31mno such user\u202e, with control codes"}: recipient,
	} {
		r := newRelay(t, map[string]string{reply[0]: reply[1]})
		err := sender(t, r.ln.Addr().String(), "none").Send(t.Context(), letter())
		if err == nil || fault.Is(err, fault.Refused) != (c == recipient) || !strings.Contains(err.Error(), c) {
			t.Errorf("%s answered with %q: %v", reply[0], reply[1], err)
		} else if strings.ContainsAny(err.Error(), "\x1b\u202e") {
			t.Errorf("the error carries what the relay wrote: %q", err)
		}
	}
}

// A part before @ beyond ASCII goes out where SMTPUTF8 is offered, and nowhere else; a domain never needs it.
func TestAddressBeyondASCII(t *testing.T) {
	t.Parallel()
	l := letter()
	l.Recipient = "jürgen@xn--bcher-kva.example"
	r := newRelay(t, map[string]string{"EHLO": "250-relay.example\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES"})
	err := sender(t, r.ln.Addr().String(), "none").Send(t.Context(), l)
	if !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), "SMTPUTF8") || r.said("RCPT") != "" || r.said("MAIL") != "" {
		t.Errorf("not offered: %v, heard %q", err, r.heard)
	}
	if stage, said := sender(t, r.ln.Addr().String(), "none").Try(t.Context(), []string{l.Recipient}); stage != post.Recipient || !strings.Contains(said, "SMTPUTF8") {
		t.Errorf("a trial says %s %s", stage, said)
	}
	r = newRelay(t, map[string]string{"EHLO": "250-relay.example\r\n250 SMTPUTF8"})
	if err := sender(t, r.ln.Addr().String(), "none").Send(t.Context(), l); err != nil || !strings.HasSuffix(r.said("MAIL"), " SMTPUTF8") || r.said("RCPT") != "RCPT TO:<jürgen@xn--bcher-kva.example>" {
		t.Errorf("offered: %v, heard %q", err, r.heard)
	}
}

// The name that the server greets with can be configured.
func TestNameInEHLO(t *testing.T) {
	t.Parallel()
	r := newRelay(t, nil)
	for _, name := range []string{"mail.cloud.example", "[192.0.2.10]", "[IPv6:2001:db8::10]", "mail"} {
		r.heard = nil
		s := sender(t, r.ln.Addr().String(), "none", func(c *post.Config) { c.EHLO = name })
		if err := s.Send(t.Context(), letter()); err != nil || r.said("EHLO") != "EHLO "+name {
			t.Errorf("%s: %v, heard %q", name, err, r.heard)
		}
		r.mu.Lock()
		r.heard = nil
		r.mu.Unlock()
		if stage, said := s.Try(t.Context(), []string{"a@b.example"}); stage != post.Done || r.said("EHLO") != "EHLO "+name {
			t.Errorf("%s: a trial says %s %s, heard %q", name, stage, said, r.heard)
		}
	}
	for _, name := range []string{"mail cloud", "mail\r\nQUIT", "-mail", "[192.0.2]", "[2001:db8::1]", "[IPv6:192.0.2.1]", "mäil.example", "a..b", "."} {
		if _, err := post.NewSMTP(post.Config{From: "a@b.example", EHLO: name}); !fault.Is(err, fault.Config) {
			t.Errorf("%q is taken: %v", name, err)
		}
	}
}

// A relay that talks on and on ends with an error, soon and in little memory.
func TestRelayThatNeverStopsTalking(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"", "EHLO", "RCPT"} {
		r := newRelay(t, map[string]string{at: strings.Repeat("250-"+strings.Repeat("x", 1000)+"\r\n", 4000) + "250 fine"})
		start := time.Now()
		err := sender(t, r.ln.Addr().String(), "none").Send(t.Context(), letter())
		if err == nil || fault.Is(err, fault.Refused) || time.Since(start) > 4*time.Second {
			t.Errorf("%q: %v after %s", at, err, time.Since(start))
		}
	}
}
