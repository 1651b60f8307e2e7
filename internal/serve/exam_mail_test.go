package serve_test

import (
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
	"time"

	"demarc/internal/casework"
	"demarc/internal/finding"
	"demarc/internal/lab"
)

// text is the body of a message as a reader sees it.
func text(t *testing.T, m lab.Message) string {
	t.Helper()
	b, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(m.Body)))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\r\n", "\n")
}

func subject(t *testing.T, m lab.Message) string {
	t.Helper()
	s, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// unfolded reads a header without the folding of long lines.
func unfolded(m lab.Message, name string) string {
	return strings.Join(strings.Fields(m.Header.Get(name)), " ")
}

// A next hop that says later, loses its voice after DATA and is away for three days: every notice arrives, with at most one
// copy too many for each cut, and what the text promises is what the case holds.
func TestEveryNoticeArrivesAndPromisesWhatHolds(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.w.Mail.Fault(lab.MailFaults{RcptTemporary: 1, DataTemporary: 1})
	e.w.Mail.Down()
	e.leapTo(begins.UnixMicro() + 3*day)
	if c := e.theCase("cache-1"); c.State != casework.New || c.ClockFrom != 0 || c.Due != 0 {
		t.Fatalf("nobody was told, and the case is %s with a clock from %d to %d", c.State, c.ClockFrom, c.Due)
	}
	e.must(e.w.Mail.Up())
	e.w.Mail.Fault(lab.MailFaults{RcptTemporary: 1, DataTemporary: 1, CutAfterData: 1})
	e.until("notified", 1, e.inState("cache-1", casework.Notified))

	got := e.w.Mail.For(owner)
	if len(got) != 2 || got[0].MessageID != got[1].MessageID || got[0].MessageID == "" {
		t.Fatalf("%d copies of the notice after one cut: %v", len(got), got)
	}
	c := e.theCase("cache-1")
	accepted := c.Accepted(casework.StepNotice)[0]
	if c.ClockFrom != accepted.AcceptedAt || accepted.AcceptedAt < begins.UnixMicro()+3*day || c.Due < accepted.AcceptedAt+4*day {
		t.Errorf("clock from %s, accepted %s, due %s", at(c.ClockFrom), at(accepted.AcceptedAt), at(c.Due))
	}
	last := got[len(got)-1]
	body := text(t, last)
	if accepted.Deadline != c.Due || !strings.Contains(body, stamped(c.Due, e)) {
		t.Errorf("the case is due %s, and the mail says\n%s", stamped(c.Due, e), body)
	}
	e.checkNotice(t, last)

	e.w.Mail.Fault(lab.MailFaults{CutAfterData: 1})
	e.until("final warning", 6, e.inState("cache-1", casework.FinalWarning))
	e.checkFinal(t, got[0].MessageID)
	e.until("queued", 3, e.inState("cache-1", casework.Queued))
	perID := map[string]int{}
	for _, m := range e.w.Mail.Messages() {
		perID[m.MessageID+" "+m.To]++
	}
	more := 0
	for _, n := range perID {
		more += n - 1
	}
	if more > 2 {
		t.Errorf("%d copies too many after two cuts: %v", more, perID)
	}
	e.noErrors()
}

func at(us int64) string { return time.UnixMicro(us).UTC().Format(time.RFC3339) }

// stamped is a deadline as a mail shows it: local time, then UTC.
func stamped(us int64, e *exam) string {
	z := e.d.Policy.Location()
	return time.UnixMicro(us).In(z).Format("Mon 2 Jan 2006 15:04 MST") + " (" + time.UnixMicro(us).UTC().Format("Mon 2 Jan 15:04 MST") + ")"
}

func (e *exam) checkNotice(t *testing.T, m lab.Message) {
	t.Helper()
	body := text(t, m)
	rule := ""
	for _, l := range strings.Split(body, "\n") {
		if _, r, ok := strings.Cut(l, "openstack security group rule delete "); ok {
			rule = strings.Fields(r)[0]
		}
	}
	e.must(e.w.TenantRemoveRule("astro", "cache", lab.Rule{Proto: "tcp", Min: 6379, Max: 6379, Remote: everywhere}))
	added, err := e.w.TenantAddRule("astro", "cache", lab.Rule{Proto: "tcp", Min: 6379, Max: 6379, Remote: everywhere})
	e.must(err)
	if len(rule) != 36 || rule == added {
		t.Errorf("the remedy names rule %q:\n%s", rule, body)
	}
	for _, want := range []string{"cache-1", e.w.ServerID("cache-1"), "astro", e.w.ProjectID("astro"), e.w.At(place("127.77.1.10")).String() + ":6379", "What happens then",
		"after its grace the machine may be taken off the network", "http://127.0.0.1:8600/probing"} {
		if !strings.Contains(body, want) {
			t.Errorf("the notice does not say %q:\n%s", want, body)
		}
	}
	if strings.Index(body, "cache-1") > strings.Index(body, "127.") {
		t.Error("the address comes before the machine")
	}
	if kind := m.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/plain") {
		t.Errorf("content type %q", kind)
	}
	if m.Header.Get("Auto-Submitted") != "auto-generated" {
		t.Errorf("Auto-Submitted %q", m.Header.Get("Auto-Submitted"))
	}
}

func (e *exam) checkFinal(t *testing.T, root string) {
	t.Helper()
	all := e.w.Mail.For(owner)
	m := all[len(all)-1]
	c := e.theCase("cache-1")
	if m.MessageID == root || unfolded(m, "In-Reply-To") != root || unfolded(m, "References") != root {
		t.Errorf("the final warning %s answers %q, refers to %q, want %s", m.MessageID, unfolded(m, "In-Reply-To"), unfolded(m, "References"), root)
	}
	body := text(t, m)
	if !strings.Contains(body, "After "+stamped(c.GraceEnds, e)) || c.GraceEnds-c.FinalAt < day {
		t.Errorf("grace ends %s, accepted %s:\n%s", stamped(c.GraceEnds, e), at(c.FinalAt), body)
	}
	if !strings.Contains(subject(t, m), casework.Ref(c.ID)) || !strings.Contains(subject(t, m), "final warning") {
		t.Errorf("subject %q", subject(t, m))
	}
}

// What is sent is committed first: when a message arrives, the database already holds it as waiting, with this attempt counted.
func TestAMailIsCommittedBeforeItIsSent(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	seen := make(chan string, 10)
	e.w.Mail.OnMessage(func(m lab.Message) {
		ms, err := e.d.DB.DueMail(t.Context(), e.clock.Now()+hour)
		for _, q := range ms {
			if "<"+q.MessageID+">" == m.MessageID && q.Case != "" && q.Attempts == 1 {
				seen <- m.MessageID
				return
			}
		}
		seen <- fmt.Sprintf("a mail arrived that was not queued: %s %v", m.MessageID, err)
	})
	e.until("notified", 1, e.inState("cache-1", casework.Notified))
	if s := <-seen; !strings.HasPrefix(s, "<") {
		t.Error(s)
	}
}

// An owner who cannot be reached: the operators are told, nothing is lost in silence, and no act follows without a person.
func TestAnOwnerWhoCannotBeToldIsNeverForgotten(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.w.Mail.Fault(lab.MailFaults{RcptPermanent: map[string]bool{owner: true}})
	e.until("the operators stand in", 1, e.inState("cache-1", casework.Notified))
	if got := e.w.Mail.For(owner); len(got) != 0 {
		t.Errorf("%d mails for the owner", len(got))
	}
	stands := e.w.Mail.For(operators)
	if len(stands) != 1 || !strings.Contains(text(t, stands[0]), "cache-1") {
		t.Fatalf("the operators got %d mails", len(stands))
	}
	if body := text(t, stands[0]); !strings.Contains(body, "could not be notified by mail") {
		t.Errorf("the operators are not told that %s cannot be reached:\n%s", owner, body)
	}
	e.until("queued", 10, e.inState("cache-1", casework.Queued))
	asked := e.w.Mail.For(operators)
	if body := text(t, asked[len(asked)-1]); !strings.Contains(body, "enforce approve") ||
		!strings.Contains(body, "could not be notified by mail") {
		t.Errorf("who is asked to approve is not told that the owner was never reached:\n%s", body)
	}
	if e.count("cache-1", "mail.failed") == 0 || !strings.Contains(e.auditText(), "mail.failed") {
		t.Error("the failure is not in the record")
	}
	e.leapTo(begins.UnixMicro() + 12*day)
	e.untouched()
	if c := e.theCase("cache-1"); c.State == casework.Restricted {
		t.Error("a machine is restricted whose owner was never told")
	}
	e.noErrors()
}

// A name a stranger chose is text and nothing else, in every header and line.
func TestAHostileNameIsInertOnTheWire(t *testing.T) {
	t.Parallel()
	s := town()
	s.Servers[0].Name = "x\r\nBcc: x@y.example\r\n\r\nowned\x1b[31m\u202egpj.exe<b>" + strings.Repeat("é", 200)
	e := open(t, plot{scenario: s})
	e.until("a mail", 1, func() bool { return len(e.w.Mail.Messages()) > 0 })
	e.leapTo(begins.UnixMicro() + 6*day)
	if len(e.w.Mail.Messages()) < 2 {
		t.Fatalf("%d mails", len(e.w.Mail.Messages()))
	}
	for _, m := range e.w.Mail.Messages() {
		if m.To != owner && m.To != operators {
			t.Errorf("a mail for %s", m.To)
		}
		parsed, err := mail.ReadMessage(strings.NewReader(m.Raw))
		if err != nil {
			t.Fatal(err)
		}
		for name := range parsed.Header {
			if strings.EqualFold(name, "Bcc") || strings.EqualFold(name, "Cc") {
				t.Errorf("a header %s:\n%s", name, m.Raw)
			}
		}
		if strings.Contains(m.Raw, "\x1b") || strings.Contains(m.Raw, "\nowned") || strings.Contains(m.Raw, "\nBcc") {
			t.Errorf("the name acts:\n%q", m.Raw)
		}
		for _, shown := range []string{subject(t, m), text(t, m)} {
			if strings.ContainsAny(shown, "\x1b\u202e") || strings.Contains(shown, "\nBcc:") || strings.Contains(shown, "\nowned") {
				t.Errorf("the name acts for the reader: %q", shown)
			}
		}
		for _, line := range strings.Split(m.Raw, "\r\n") {
			if len(line) > 998 {
				t.Errorf("a line of %d bytes", len(line))
			}
		}
	}
	e.noErrors()
}

// The demo's mails reach a next hop that is slow to come: a mail is retried under the same name, and the case starts once.
func TestARetriedMailIsOneMail(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.w.Mail.Fault(lab.MailFaults{RcptTemporary: 3, DataTemporary: 2})
	e.until("notified", 1, e.inState("cache-1", casework.Notified))
	if got := e.w.Mail.For(owner); len(got) != 1 {
		t.Errorf("%d mails", len(got))
	}
	if n := e.count("cache-1", "mail.deferred"); n != 1 {
		t.Errorf("%d happenings of deferral", n)
	}
	ms, err := e.d.DB.MailsOf(t.Context(), e.theCase("cache-1").ID)
	if err != nil || len(ms) != 1 || ms[0].Attempts != 6 || ms[0].Status != casework.Taken {
		t.Errorf("%+v %v", ms, err)
	}
	if f := e.findingsOf("cache-1"); len(f) != 1 || f[0].State != finding.Open {
		t.Errorf("%+v", f)
	}
}
