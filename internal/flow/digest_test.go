package flow

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/fault"
	"demarc/internal/finding"
)

// collecting makes a world with n cases of class C on machine s1 whose first notices to its owner wait for the digest that is due now.
func collecting(t *testing.T, n int) (*Line, *simulated) {
	t.Helper()
	l, w := newSimulated(t)
	first, weak := w.cases["c1"], w.findings[0]
	w.cases, w.findings, w.mails = map[string]casework.Case{}, nil, nil
	for i := range n {
		c, f := first, weak
		c.ID, c.Class, c.State, c.Notices, c.Approvals = fmt.Sprintf("c%d", i+1), "C", casework.New, nil, nil
		c.ClockFrom, c.Due, c.FinalAt, c.GraceEnds, c.QueuedAt = 0, 0, 0, 0, 0
		f.ID, f.Case, f.Class, f.State = fmt.Sprintf("f%d", i+1), c.ID, "C", finding.Open
		w.cases[c.ID], w.findings = c, append(w.findings, f)
		w.mails = append(w.mails, casework.Mail{ID: fmt.Sprintf("m%d", i+1), Case: c.ID, Step: casework.StepNotice, To: casework.Owner, Recipient: simOwner,
			MessageID: fmt.Sprintf("m%d@cloud.example", i+1), QueuedAt: simNow - 20*hour, Slot: simNow, NextAt: simNow, Status: casework.Waiting})
	}
	return l, w
}

// What waits for the digest of a recipient is one message, and its acceptance is the notice of each case in it, in one commit.
func TestDigestIsTheNoticeOfEachCaseInIt(t *testing.T) {
	t.Parallel()
	l, w := collecting(t, 3)
	w.mails[1].Recipient = "provider@cloud.example" // somebody else's
	w.mails[1].To = casework.Provider
	commits := len(w.commits)
	if _, err := l.notify(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(w.sent) != 1 || !slices.Equal(w.sent[0].Cases, []string{"c1", "c3"}) || !strings.HasPrefix(w.sent[0].MessageID, "digest.") {
		t.Fatalf("sent %+v", w.sent)
	}
	if got := len(w.commits) - commits; got != 2 {
		t.Errorf("%d commits: one is the attempt, one what follows", got)
	}
	for _, id := range []string{"c1", "c3"} {
		c := w.cases[id]
		if c.State != casework.Notified || c.ClockFrom != simNow || len(c.Notices) != 1 || c.Due != c.Notices[0].Deadline || c.Notices[0].Digest != w.sent[0].MessageID {
			t.Errorf("%s is %s since %d, due %d, notices %+v", id, c.State, c.ClockFrom, c.Due, c.Notices)
		}
		if !strings.Contains(w.sent[0].Body, c.Ref()) {
			t.Errorf("the digest does not name %s:\n%s", c.Ref(), w.sent[0].Body)
		}
	}
	for _, m := range w.mails {
		switch {
		case m.Case == "c2" && m.Status != casework.Waiting, m.Case != "c2" && m.Status != casework.Taken:
			t.Errorf("the mail of %s is %q", m.Case, m.Status)
		case m.Case != "c2" && (m.Deadline != w.cases[m.Case].Due || !strings.Contains(w.sent[0].Body, m.Body)):
			t.Errorf("the mail of %s keeps the deadline %d and says %q", m.Case, m.Deadline, m.Body)
		}
	}
	if n := len(l.sent); n != 0 {
		t.Errorf("%d mails are still remembered as sent", n)
	}
}

// A digest that may have been taken is sent again with the same parts under the same Message-ID; what came meanwhile waits for the next one.
func TestDigestIsSentAgainAsItWas(t *testing.T) {
	t.Parallel()
	l, w := collecting(t, 3)
	late := w.mails[2]
	w.mails = w.mails[:2]
	w.sendErr = errSimulated
	if _, err := l.notify(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w.mails[0].NextAt != simNow+minute || w.mails[1].NextAt != simNow+minute || w.mails[0].Digest == "" || w.mails[0].Digest != w.mails[1].Digest {
		t.Fatalf("after an attempt that failed: %+v", w.mails)
	}
	id := w.mails[0].Digest
	w.sendErr, w.now = nil, simNow+minute
	w.mails = append([]casework.Mail{late}, w.mails...)
	again := w.line(t) // a restart
	for range 2 {
		if _, err := again.notify(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, m := range w.sent {
		got = append(got, fmt.Sprintf("%s %v", m.MessageID, m.Cases))
	}
	if want := []string{"m3@cloud.example []", id + " [c1 c2]"}; !slices.Equal(got, want) {
		t.Errorf("sent %v, want %v", got, want)
	}
}

// What the next hop took and could not be written down is not sent again, and counts for each case when it can be.
func TestDigestThatCouldNotBeRecorded(t *testing.T) {
	t.Parallel()
	l, w := collecting(t, 2)
	w.before = func(call string) {
		if call == "send" {
			w.commitErr = errSimulated
		}
	}
	if _, err := l.notify(t.Context()); err == nil {
		t.Fatal("nothing failed")
	}
	w.commitErr, w.before, w.now = nil, nil, simNow+5*minute
	for range 3 {
		if _, err := l.notify(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.sent) != 1 || w.cases["c1"].ClockFrom != simNow || w.cases["c2"].ClockFrom != simNow {
		t.Errorf("sent %d, clocks from %d and %d", len(w.sent), w.cases["c1"].ClockFrom, w.cases["c2"].ClockFrom)
	}
}

// Each case of a digest that is refused for good has a mail that stands for it.
func TestDigestThatIsRefused(t *testing.T) {
	t.Parallel()
	l, w := collecting(t, 2)
	w.sendErr = fault.New(fault.Refused, "no such user")
	if _, err := l.notify(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"c1", "c2"} {
		stands := slices.ContainsFunc(w.mails, func(m casework.Mail) bool {
			return m.Case == id && m.Recipient == simOperators && m.Status == casework.Waiting && m.Slot > simNow && m.Slot <= simNow+day
		})
		if !stands {
			t.Errorf("nothing stands for the notice of %s: %+v", id, w.mails)
		}
	}
}

// A case that moved on, that a person holds, or that cannot be read keeps none of the others back.
func TestDigestGoesOutWithoutWhatMustNot(t *testing.T) {
	t.Parallel()
	l, w := collecting(t, 5)
	set := func(id string, alter func(*casework.Case)) { c := w.cases[id]; alter(&c); w.cases[id] = c }
	set("c2", func(c *casework.Case) { c.State = casework.Closed })
	set("c3", func(c *casework.Case) { c.State = casework.OnHold })
	delete(w.cases, "c4")
	if _, err := l.notify(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(w.sent) != 1 || !slices.Equal(w.sent[0].Cases, []string{"c1", "c5"}) {
		t.Errorf("sent %+v", w.sent)
	}
	if w.mails[1].Status != casework.Bounced || w.mails[2].NextAt != simNow+hour || w.mails[3].Attempts != 0 {
		t.Errorf("%+v", w.mails[1:4])
	}
}

// A digest has an end: what is left goes in a further message.
func TestDigestIsBounded(t *testing.T) {
	t.Parallel()
	l, w := collecting(t, mostInDigest+2)
	for range 3 {
		if _, err := l.notify(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.sent) != 2 || len(w.sent[0].Cases) != mostInDigest || len(w.sent[1].Cases) != 2 {
		t.Errorf("%d messages", len(w.sent))
	}
}

// A first notice that waits is queued once, is sent sooner where its case becomes graver, and never later.
func TestFirstNoticeIsSentSoonerAndNeverLater(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		class string
		slot  int64
		next  int64
	}{
		"the same": {"C", simNow + hour, simNow + hour},
		"graver":   {"E", simNow + hour, simNow},
		"milder":   {"L", simNow + hour, simNow + hour},
	} {
		l, w := collecting(t, 1)
		k := w.cases["c1"]
		k.Class = c.class
		w.cases["c1"] = k
		w.mails = nil
		d := l.draft("test")
		d.effect(casework.Dossier{Case: k, Findings: w.findings}, casework.Send{Step: casework.StepNotice, To: casework.Owner})
		if err := d.commit(t.Context()); err != nil || len(w.mails) != 1 {
			t.Fatal(err, w.mails)
		}
		w.mails[0].Slot, w.mails[0].NextAt = c.slot, c.slot
		entries := len(w.log["c1"])
		d = l.draft("test")
		d.effect(casework.Dossier{Case: k, Findings: w.findings}, casework.Send{Step: casework.StepNotice, To: casework.Owner})
		if err := d.commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(w.mails) != 1 || w.mails[0].NextAt != c.next {
			t.Errorf("%s: %d mails, the first in %d s, want %d s", name, len(w.mails), (w.mails[0].NextAt-simNow)/second, (c.next-simNow)/second)
		}
		if got := len(w.log["c1"]); got != entries {
			t.Errorf("%s: %d further entries in the log", name, got-entries)
		}
	}
}

// A later mail of a case refers to the message that its reader has.
func TestLaterMailRefersToTheDigest(t *testing.T) {
	t.Parallel()
	l, w := collecting(t, 2)
	if _, err := l.notify(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := w.cases["c2"]
	c.State = casework.Overdue
	w.cases["c2"] = c
	w.mails = append(w.mails, casework.Mail{ID: "m9", Case: "c2", Step: casework.StepFinal, To: casework.Owner, Recipient: simOwner, MessageID: "m9@cloud.example",
		Thread: "m2@cloud.example", NextAt: simNow, QueuedAt: simNow, Status: casework.Waiting})
	if _, err := l.notify(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(w.sent) != 2 || w.sent[1].Thread != w.sent[0].MessageID || len(w.sent[1].Cases) != 0 {
		t.Errorf("%+v", w.sent)
	}
}

// Who left is stood for at once by those who can act now: not at the next digest, before which they could leave too.
func TestNoticeOfSomebodyWhoLeftIsNotPutOff(t *testing.T) {
	t.Parallel()
	l, w := collecting(t, 2)
	w.inventory.Users = append(w.inventory.Users, asset.User{ID: "ada", Mail: "ada@astro.example", Enabled: true})
	w.inventory.Grants = []asset.Grant{{User: "ada", Project: "astro", Role: "member"}}
	l.know(asset.NewIndex(w.inventory))
	for range 3 {
		if _, err := l.notify(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.sent) != 1 || w.sent[0].Recipient != "ada@astro.example" || len(w.sent[0].Cases) != 2 || w.cases["c1"].ClockFrom != simNow {
		t.Errorf("sent %+v", w.sent)
	}
}

// What the operators were to be told in observe is not sent once owners are notified: it would not be true any more.
func TestObservedIsOvertakenByTheMode(t *testing.T) {
	t.Parallel()
	l, w := collecting(t, 1)
	w.mails[0].Step, w.mails[0].To, w.mails[0].Recipient = casework.StepObserved, casework.Operators, simOperators
	if _, err := l.notify(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(w.sent) != 0 || w.mails[0].Status != casework.Bounced {
		t.Errorf("sent %+v", w.sent)
	}
}

// A part that was kept back while the others were sent is another message: under theirs, a mail server that has it would drop it.
func TestPartThatWasKeptBackIsAMessageOfItsOwn(t *testing.T) {
	t.Parallel()
	l, w := collecting(t, 2)
	w.sendErr = errSimulated
	if _, err := l.notify(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.sendErr, w.now = nil, simNow+minute
	hold := func(s casework.State) { c := w.cases["c2"]; c.State = s; w.cases["c2"] = c }
	hold(casework.OnHold)
	if _, err := l.notify(t.Context()); err != nil {
		t.Fatal(err)
	}
	hold(casework.New)
	w.now += 2 * hour
	if _, err := l.notify(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(w.sent) != 2 || w.sent[0].MessageID == w.sent[1].MessageID {
		t.Errorf("sent %+v", w.sent)
	}
}

// One part that the next hop refuses does not keep the others back.
func TestRefusedPartKeepsNoOtherBack(t *testing.T) {
	t.Parallel()
	l, w := collecting(t, 3)
	for _, m := range w.mails {
		if m.Digest != "" || m.Attempts > 0 {
			t.Fatal("it was tried")
		}
	}
	w.sendErr = errSimulated
	l.accepted = simNow + second // somebody else's
	for range 3 {
		if _, err := l.notify(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.now += 10 * minute
	}
	for _, m := range w.mails {
		if m.Attempts != 3 || m.Digest != "" || m.Slot != 0 {
			t.Errorf("after three tries: %+v", m)
		}
	}
	w.sendErr = nil
	for range 3 {
		if _, err := l.notify(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.sent) != 3 {
		t.Errorf("sent %d", len(w.sent))
	}
}

// A first notice is not sent once its case has moved on.
func TestFirstNoticeThatIsOvertaken(t *testing.T) {
	t.Parallel()
	for name, alter := range map[string]func(*casework.Case, *casework.Mail){
		"the notice of an earlier round": func(c *casework.Case, _ *casework.Mail) { c.State, c.OpenedAt = casework.Notified, simNow-hour },
		"the status of a case that was fixed before it was reported": func(c *casework.Case, m *casework.Mail) {
			c.Party, c.State, c.Missed, m.Step = duty.Provider, casework.Verified, true, casework.StepStatus
		},
		"the status of a case that was dropped": func(c *casework.Case, m *casework.Mail) {
			c.Party, c.State, m.Step = duty.Provider, casework.Closed, casework.StepStatus
		},
	} {
		l, w := collecting(t, 1)
		c := w.cases["c1"]
		c.Told = false
		alter(&c, &w.mails[0])
		w.cases["c1"] = c
		if _, err := l.notify(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(w.sent) != 0 || w.mails[0].Status != casework.Bounced {
			t.Errorf("%s: sent %+v", name, w.sent)
		}
	}
}
