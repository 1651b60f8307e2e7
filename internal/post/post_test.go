package post_test

import (
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"demarc/internal/casework"
	"demarc/internal/fault"
	"demarc/internal/lab"
	"demarc/internal/post"
)

func hop(t *testing.T) *lab.Mailbox {
	t.Helper()
	m, err := lab.NewMailbox("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func sender(t *testing.T, addr, tls string, change ...func(*post.Config)) *post.SMTP {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	c := post.Config{Host: host, Port: n, From: "demarc@cloud.example", TLS: tls, Timeout: 5 * time.Second}
	for _, f := range change {
		f(&c)
	}
	s, err := post.NewSMTP(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func letter() casework.Mail {
	return casework.Mail{ID: "1", Case: "0198-aa", Step: casework.StepFinal, To: casework.Owner, Recipient: "amir@astro.example", MessageID: "dm-aa.final.1@cloud.example",
		Thread: "dm-aa.notice.1@cloud.example", Subject: "[DM-AA] final warning: größe", Body: "Hello,\n\n.\nthe dot stays\nFrom here\n" + strings.Repeat("long ", 300) + "\n"}
}

func TestWhatIsSentArrives(t *testing.T) {
	t.Parallel()
	m := hop(t)
	if err := sender(t, m.Addr(), "none", func(c *post.Config) { c.ReplyTo = "reply@cloud.example" }).Send(t.Context(), letter()); err != nil {
		t.Fatal(err)
	}
	got := m.Messages()
	if len(got) != 1 || got[0].MessageID != "<dm-aa.final.1@cloud.example>" || got[0].From != "demarc@cloud.example" || got[0].To != "amir@astro.example" {
		t.Fatalf("%+v", got)
	}
	for name, want := range map[string]string{"In-Reply-To": "<dm-aa.notice.1@cloud.example>", "References": "<dm-aa.notice.1@cloud.example>", "Auto-Submitted": "auto-generated",
		"X-Demarc-Case": "DM-0198AA", "Reply-To": "<reply@cloud.example>"} {
		if h := got[0].Header.Get(name); h != want {
			t.Errorf("%s is %q, want %q", name, h, want)
		}
	}
	if !strings.HasPrefix(got[0].Header.Get("Content-Type"), "text/plain") || !strings.Contains(got[0].Body, "the dot stays") {
		t.Errorf("%s", got[0].Raw)
	}
}

// What the next hop may take later is worth another try; what it never will is not.
func TestATemporaryNoIsNotAPermanentOne(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault   lab.MailFaults
		refused bool
		kept    int
	}{
		"451 to RCPT":      {lab.MailFaults{RcptTemporary: 1}, false, 0},
		"451 after DATA":   {lab.MailFaults{DataTemporary: 1}, false, 0},
		"550 to RCPT":      {lab.MailFaults{RcptPermanent: map[string]bool{"amir@astro.example": true}}, true, 0},
		"a cut after DATA": {lab.MailFaults{CutAfterData: 1}, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := hop(t)
			m.Fault(c.fault)
			err := sender(t, m.Addr(), "none").Send(t.Context(), letter())
			if err == nil || fault.Is(err, fault.Refused) != c.refused || len(m.Messages()) != c.kept {
				t.Errorf("error %v, %d kept", err, len(m.Messages()))
			}
			if err != nil && !strings.Contains(err.Error(), "amir@astro.example") {
				t.Errorf("the error does not say whose mail: %v", err)
			}
		})
	}
}

// A second try after a cut carries the same Message-ID, so that a reader's program shows one message.
func TestASecondCopyIsTheSameMessage(t *testing.T) {
	t.Parallel()
	m := hop(t)
	m.Fault(lab.MailFaults{CutAfterData: 1})
	s := sender(t, m.Addr(), "none")
	if err := s.Send(t.Context(), letter()); err == nil {
		t.Fatal("a cut is no 250")
	}
	if err := s.Send(t.Context(), letter()); err != nil {
		t.Fatal(err)
	}
	if got := m.Messages(); len(got) != 2 || got[0].MessageID != got[1].MessageID {
		t.Errorf("%d copies", len(got))
	}
}

func TestANextHopThatIsAwayIsWorthAnotherTry(t *testing.T) {
	t.Parallel()
	m := hop(t)
	addr := m.Addr()
	m.Down()
	err := sender(t, addr, "none").Send(t.Context(), letter())
	if err == nil || fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), addr) {
		t.Errorf("%v", err)
	}
}

// Where TLS is required and not offered nothing is said in the clear, least of all the password.
func TestRequiredTLSIsRequired(t *testing.T) {
	t.Parallel()
	for _, tls := range []string{"required", ""} {
		m := hop(t)
		err := sender(t, m.Addr(), tls, func(c *post.Config) { c.User, c.Password = "demarc", "canary-7413" }).Send(t.Context(), letter())
		switch {
		case err == nil, fault.Is(err, fault.Refused), len(m.Messages()) != 0:
			t.Errorf("%q: error %v, %d kept", tls, err, len(m.Messages()))
		case !strings.Contains(err.Error(), "TLS") || !strings.Contains(err.Error(), m.Addr()):
			t.Errorf("%q: the error does not say what is wrong and where: %v", tls, err)
		case strings.Contains(err.Error(), "canary-7413"):
			t.Errorf("the password is in the error: %v", err)
		}
	}
	m := hop(t)
	if err := sender(t, m.Addr(), "opportunistic").Send(t.Context(), letter()); err != nil {
		t.Error(err)
	}
}

// A line break in what we are given never becomes a header or a command of ours.
func TestNoHeaderIsInjected(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*casework.Mail){
		"recipient":    func(m *casework.Mail) { m.Recipient = "amir@astro.example\r\nRCPT TO:<x@y.example>" },
		"two":          func(m *casework.Mail) { m.Recipient = "amir@astro.example, x@y.example" },
		"subject":      func(m *casework.Mail) { m.Subject = "hello\r\nBcc: x@y.example\r\n\r\nowned" },
		"bare subject": func(m *casework.Mail) { m.Subject = "hello\nBcc: x@y.example" },
		"message id":   func(m *casework.Mail) { m.MessageID = "a@b>\r\nBcc: x@y.example\r\nX: <" },
		"thread":       func(m *casework.Mail) { m.Thread = "a@b>\r\nBcc: x@y.example\r\nX: <" },
		"body":         func(m *casework.Mail) { m.Body = "hello\r\n.\r\nMAIL FROM:<x@y.example>\r\n" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := hop(t)
			l := letter()
			change(&l)
			err := sender(t, m.Addr(), "none").Send(t.Context(), l)
			for _, got := range m.Messages() {
				head, _, _ := strings.Cut(got.Raw, "\r\n\r\n")
				if got.To != "amir@astro.example" || got.From != "demarc@cloud.example" || strings.Contains(head, "\nBcc") || strings.Contains(head, "\nX:") {
					t.Errorf("injected:\n%s", got.Raw)
				}
			}
			if len(m.Messages()) > 1 {
				t.Errorf("%d messages", len(m.Messages()))
			}
			if err != nil && len(m.Messages()) == 0 && !fault.Is(err, fault.Refused) {
				t.Errorf("it would be tried for ever: %v", err)
			}
		})
	}
}

func TestAConfigurationIsChecked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]post.Config{
		"from": {From: "Demarc <demarc@cloud.example>"},
		"tls":  {From: "demarc@cloud.example", TLS: "maybe"},
	} {
		if _, err := post.NewSMTP(c); !fault.Is(err, fault.Config) || !strings.Contains(err.Error(), "(") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
