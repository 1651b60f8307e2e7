package flow

import (
	"slices"
	"strings"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/casework/notice"
	"demarc/internal/detect"
	"demarc/internal/duty"
	"demarc/internal/fault"
	"demarc/internal/finding"
	"demarc/internal/policy"
	"demarc/internal/reach"
)

// queuedMail is a mail about the case that waits to be sent.
func queuedMail(step casework.Step, to casework.Audience, recipient string) casework.Mail {
	return casework.Mail{
		ID:        "m1",
		Case:      "c1",
		Step:      step,
		To:        to,
		Recipient: recipient,
		MessageID: "m1@cloud.example",
		QueuedAt:  simNow - minute,
		NextAt:    simNow - minute,
	}
}

// A mail counts as sent when the next hop took it, and only then. What could not be sent is tried again, what was refused for good goes to
// the operators, and what the case has overtaken is not sent.
func TestMailIsSentOnceOrTriedAgain(t *testing.T) {
	t.Parallel()
	notified := func(w *simulated) { w.change(func(c *casework.Case) { c.State = casework.Notified }) }
	owner := queuedMail(casework.StepNotice, casework.Owner, simOwner)
	leaves := func(w *simulated) {
		notified(w)
		w.inventory.Users = append(w.inventory.Users, asset.User{ID: "ada", Mail: "ada@astro.example", Enabled: true})
		w.inventory.Grants = []asset.Grant{{User: "ada", Project: "astro", Role: "member"}}
	}
	later := func(n int) func(*casework.Mail) {
		return func(m *casework.Mail) { m.Attempts = n }
	}
	for name, c := range map[string]struct {
		world  func(*simulated)
		mail   casework.Mail
		alter  func(*casework.Mail)
		sent   int
		status casework.MailStatus
		next   int64    // when it is tried again
		copies []string // recipients of further mails
		event  string
	}{
		"accepted": {notified, owner, nil, 1, casework.Taken, 0, nil, "mail.accepted"},
		"not reached": {func(w *simulated) {
			notified(w)
			w.sendErr = errSimulated
		}, owner, nil, 0, "", simNow + minute, nil, "mail.deferred"},
		"not reached again": {func(w *simulated) {
			notified(w)
			w.sendErr = errSimulated
		}, owner, later(1), 0, "", simNow + 2*minute, nil, ""},
		"the third time": {func(w *simulated) {
			notified(w)
			w.sendErr = errSimulated
		}, owner, later(2), 0, "", simNow + 4*minute, nil, ""},
		"for the hundredth": {func(w *simulated) { notified(w); w.sendErr = errSimulated }, owner, later(99), 0, "", simNow + hour, nil, ""},
		"refused for good": {func(w *simulated) {
			notified(w)
			w.sendErr = fault.New(fault.Refused, "no such user")
		}, owner, nil, 0, casework.Bounced, 0, []string{simOperators}, "mail.failed"},
		"overtaken": {func(w *simulated) {
			w.change(func(c *casework.Case) { c.State = casework.Released })
		}, owner, nil, 0, casework.Bounced, 0, nil, "mail.failed"},
		"its reader left": {leaves, owner, nil, 0, casework.Bounced, 0, []string{"ada@astro.example"}, "mail.failed"},
		"on hold": {func(w *simulated) {
			w.change(func(c *casework.Case) { c.State = casework.OnHold })
		}, owner, nil, 0, "", simNow + hour, nil, ""},
		"on hold, to operators": {func(w *simulated) {
			w.change(func(c *casework.Case) { c.State = casework.OnHold })
		}, queuedMail(casework.StepHeld, casework.Operators, simOperators), nil, 1, casework.Taken, 0, nil, "mail.accepted"},
		"in a lower mode": {func(w *simulated) { notified(w); w.mode = policy.Observe }, owner, nil, 0, "", simNow + day, nil, ""},
		"in the operators' stead, refused": {func(w *simulated) { notified(w); w.sendErr = fault.New(fault.Refused, "no such user") },
			queuedMail(casework.StepNotice, casework.Owner, simOperators), nil, 0, "", simNow + minute, nil, "mail.deferred"},
		"a status, refused": {func(w *simulated) {
			notified(w)
			w.sendErr = fault.New(fault.Refused, "no such user")
		}, queuedMail(casework.StepStatus, casework.Owner, simOwner), nil, 0, casework.Bounced, 0, nil, "mail.failed"},
		"an approval": {
			func(*simulated) {}, queuedMail(casework.StepApproval, casework.Operators, simOperators), nil, 1,
			casework.Taken, 0, nil, "mail.accepted",
		},
		"an approval, overtaken": {
			notified, queuedMail(casework.StepApproval, casework.Operators, simOperators), nil, 0,
			casework.Bounced, 0, nil, "mail.failed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, w := newSimulated(t)
			c.world(w)
			l.know(asset.NewIndex(w.inventory))
			m := c.mail
			if c.alter != nil {
				c.alter(&m)
			}
			w.mails = []casework.Mail{m}
			if _, err := l.notify(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := w.mails[0]
			if len(w.sent) != c.sent || got.Status != c.status || c.next > 0 && got.NextAt != c.next {
				t.Errorf(
					"sent %d, status %q, next in %d s; want %d, %q, %d s",
					len(w.sent),
					got.Status,
					(got.NextAt-simNow)/second,
					c.sent,
					c.status,
					(c.next-simNow)/second,
				)
			}
			if c.status == casework.Taken && (got.AcceptedAt != simNow || got.LastError != "") {
				t.Errorf("accepted at %d, %q", got.AcceptedAt, got.LastError)
			}
			var copies, events []string
			for _, x := range w.mails[1:] {
				copies = append(copies, x.Recipient)
			}
			for _, made := range w.commits {
				for _, x := range made.Audit {
					if strings.HasPrefix(x.Kind, "mail.") && x.Kind != "mail.queued" {
						events = append(events, x.Kind)
					}
				}
			}
			if !slices.Equal(copies, c.copies) || strings.Join(events, " ") != c.event {
				t.Errorf("further mails to %v, events %v", copies, events)
			}
			accepted := slices.ContainsFunc(w.cases["c1"].Notices, func(n casework.Notice) bool { return n.MessageID == m.MessageID })
			if accepted != (c.sent == 1) {
				t.Errorf("the case counts it as accepted: %t", accepted)
			}
		})
	}
}

// An owner's mail that could not be handed over for a day, while others are, reaches the operators instead.
func TestMailThatOnlyOneReaderDoesNotGetReachesTheOperators(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		queued, accepted int64
		to               string
		copied           bool
	}{
		"for two days, others are reached": {simNow - 2*day, simNow - minute, simOwner, true},
		"for a day":                        {simNow - day, simNow - minute, simOwner, false},
		"nobody is reached":                {simNow - 2*day, simNow - hour, simOwner, false},
		"the operators":                    {simNow - 2*day, simNow - minute, simOperators, false},
	} {
		l, w := newSimulated(t)
		w.change(func(c *casework.Case) { c.State = casework.Notified })
		m := queuedMail(casework.StepNotice, casework.Owner, c.to)
		m.QueuedAt = c.queued
		w.mails, w.sendErr, l.accepted = []casework.Mail{m}, errSimulated, c.accepted
		if _, err := l.notify(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := len(w.mails) == 2 && w.mails[1].Recipient == simOperators; got != c.copied {
			t.Errorf("%s: %d mails", name, len(w.mails))
		}
	}
}

// A mail that belongs to no case is tried until the next hop takes it.
func TestMailAboutTheServiceIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err    error
		status casework.MailStatus
		next   int64
	}{
		"taken":       {nil, casework.Taken, 0},
		"not reached": {errSimulated, "", simNow + minute},
		"refused":     {fault.New(fault.Refused, "no"), "", simNow + minute},
	} {
		l, w := newSimulated(t)
		m := queuedMail(casework.StepSystem, casework.Operators, simOperators)
		m.Case = ""
		w.mails, w.sendErr = []casework.Mail{m}, c.err
		if _, err := l.notify(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := w.mails[0]; got.Status != c.status || c.next > 0 && got.NextAt != c.next || (got.LastError != "") != (c.err != nil) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A mail that the case has overtaken is not sent, and any other is.
func TestOvertakenMailIsStale(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	all := []casework.State{
		casework.New,
		casework.Notified,
		casework.Acknowledged,
		casework.Overdue,
		casework.FinalWarning,
		casework.Queued,
		casework.Restricted,
		casework.Verifying,
		casework.Released,
		casework.Verified,
		casework.OnHold,
		casework.Closed,
		casework.Moot,
	}
	for step, goes := range map[casework.Step][]casework.State{
		casework.StepNotice:    {casework.New, casework.Notified, casework.Acknowledged},
		casework.StepFinal:     {casework.Overdue, casework.FinalWarning},
		casework.StepRelapse:   {casework.Overdue, casework.FinalWarning},
		casework.StepObserved:  nil, // owners are notified in this mode
		casework.StepStillOpen: {casework.Restricted},
		casework.StepApproval:  {casework.Queued},
		casework.StepClosed:    all,
		casework.StepStatus: slices.DeleteFunc(slices.Clone(all), func(s casework.State) bool {
			return s == casework.Moot || s == casework.Closed
		}),
	} {
		for _, state := range all {
			c := w.cases["c1"]
			c.State, c.PassedAt, c.ClosedAt = state, 5, 5
			if got := l.stale(c, queuedMail(step, casework.Owner, simOwner)) == ""; got != slices.Contains(goes, state) {
				t.Errorf("a %s in %s goes out: %t", step, state, got)
			}
		}
	}
	observed := w.cases["c1"]
	observed.State = casework.New
	l.Policy = l.Policy.InMode(policy.Observe)
	if why := l.stale(observed, queuedMail(casework.StepObserved, casework.Operators, simOperators)); why != "" {
		t.Errorf("in observe, what is observed is %q", why)
	}
	l.Policy = l.Policy.InMode(policy.Enforce)
	closed := w.cases["c1"]
	closed.State, closed.PassedAt, closed.ClosedAt = casework.Closed, 4, 5
	if why := l.stale(closed, queuedMail(casework.StepStatus, casework.Owner, simOwner)); why != "" {
		t.Errorf("the status of a case that ended long after it passed on is %q", why)
	}
	unannounced := w.cases["c1"]
	unannounced.State = casework.Overdue
	unannounced.Notices = slices.Clone(unannounced.Notices)
	unannounced.Notices[0].End = policy.Report
	if why := l.stale(unannounced, queuedMail(casework.StepFinal, casework.Owner, simOwner)); why != overtaken {
		t.Errorf("a final warning after a notice that announced a report is %q", why)
	}
	if why := l.stale(w.cases["c1"], queuedMail(casework.StepClosed, casework.Owner, "gone@astro.example")); why != left {
		t.Errorf("a mail to somebody who left is %q", why)
	}
	if why := l.stale(w.cases["c1"], queuedMail(casework.StepClosed, casework.Owner, simOperators)); why != "" {
		t.Errorf("a mail to the operators in the owner's place is %q", why)
	}
}

// A mail demands what is there, with the command that closes it where the reader can.
func TestMailNamesWhatIsThere(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	l.Remedy = func(*asset.Index, finding.Finding, []reach.Opening) []string { return []string{"close it"} }
	set := l.reach
	for name, c := range map[string]struct {
		alter  func(*finding.Finding)
		remedy bool
	}{
		"a check":                      {func(*finding.Finding) {}, true},
		"silence":                      {func(f *finding.Finding) { f.Key.Check = CheckBlocked }, false},
		"the configuration":            {func(f *finding.Finding) { f.Key.Check = CheckHidden }, false},
		"the provider's":               {func(f *finding.Finding) { f.Duty.Party = duty.Provider }, false},
		"a vantage point that is gone": {func(f *finding.Finding) { f.Vantage = "v9" }, false},
	} {
		f := w.findings[0]
		c.alter(&f)
		it := l.item(f, set)
		if (len(it.Remedy) > 0) != c.remedy {
			t.Errorf("%s: %v", name, it.Remedy)
		}
		if f.Key.Check == "redis-unauth" && (!strings.Contains(it.Advice, "redis") || !strings.Contains(it.Advice, "192.0.2.10")) {
			t.Errorf("%s: %q", name, it.Advice)
		}
	}
	for want, services := range map[string][]string{"redis": {"redis"}, "the service": nil} {
		if got := serviceOf(&detect.Check{Applies: detect.Applies{Service: services}}); got != want {
			t.Errorf("%v is called %q", services, got)
		}
	}
	if got := serviceOf(&detect.Check{Applies: detect.Applies{Service: []string{"http", "https"}}}); got != "the service" {
		t.Errorf("two services are called %q", got)
	}
	w.findings = append(w.findings, w.findings[0])
	w.findings[1].ID, w.findings[1].Title, w.findings[1].State = "f2", "What was fixed", finding.Fixed
	w.findings[0].Title = "What is open"
	letter, err := l.letter(t.Context(), simDossier(t, l), queuedMail(casework.StepFinal, casework.Owner, simOwner))
	_, body := notice.Write(letter)
	if err != nil || !strings.Contains(body, "What is open") || strings.Contains(body, "What was fixed") {
		t.Errorf("%v\n%s", err, body)
	}
}

// A mail to somebody who stands in for the owner says so.
func TestReaderIsToldThatTheOwnerWasNotReached(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	c, alone := w.cases["c1"], w.cases["c1"]
	alone.Notices = []casework.Notice{
		{Step: casework.StepNotice, To: casework.Owner, Recipient: simOperators},
		{Step: casework.StepEscalation, To: casework.Provider, Recipient: "provider@cloud.example"},
	}
	for name, x := range map[string]struct {
		c      casework.Case
		m      casework.Mail
		untold bool
	}{
		"an owner":                {c, queuedMail(casework.StepNotice, casework.Owner, simOwner), false},
		"in the owner's place":    {c, queuedMail(casework.StepNotice, casework.Owner, simOperators), true},
		"an approval":             {c, queuedMail(casework.StepApproval, casework.Operators, simOperators), false},
		"an approval, unnotified": {alone, queuedMail(casework.StepApproval, casework.Operators, simOperators), true},
		"a refusal, unnotified":   {alone, queuedMail(casework.StepRefused, casework.Operators, simOperators), false},
	} {
		if got := l.untold(x.c, x.m); got != x.untold {
			t.Errorf("%s: %t", name, got)
		}
	}
	if at := noticedAt(c, simOwner); at != simNoticed {
		t.Errorf("noticed at %d", at)
	}
	if at := noticedAt(c, "ada@astro.example"); at != 0 {
		t.Errorf("somebody else was noticed at %d", at)
	}
}
