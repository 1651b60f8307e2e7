package serve_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"demarc/internal/casework"
	"demarc/internal/lab"
)

// told is a policy in which the first notice of class E is sent so soon.
func told(notice string) []string {
	const e = "E: {internet: 4d, institution: 7d, grace: 24h, end: quarantine"
	return []string{e, e + ", notice: " + notice}
}

// twoWeak is the town with a second open Redis of the same owner.
func twoWeak() lab.Scenario {
	s := town()
	second := machine("cache-2", "astro", "amir", "cache", "127.77.1.11", lab.Service{Kind: lab.Redis, Port: 6379})
	second.NICs[0].Addr = place("10.0.0.40")
	s.Servers = append(s.Servers, second)
	return s
}

// What is reported daily comes in one mail a day, which is the notice of each case in it. What follows comes at once and alone.
func TestADigestIsTheNoticeOfEachCase(t *testing.T) {
	t.Parallel()
	e := open(t, plot{scenario: twoWeak(), policy: told("daily")})
	e.until("both are notified", 3, func() bool {
		return e.inState("cache-1", casework.Notified)() && e.inState("cache-2", casework.Notified)()
	})
	mails := e.w.Mail.For(owner)
	if len(mails) != 1 {
		t.Fatalf("the owner got %d mails", len(mails))
	}
	body := said(t, mails[0])
	for _, server := range []string{"cache-1", "cache-2"} {
		c := e.theCase(server)
		due := time.UnixMicro(c.Due).UTC().Format("Mon 2 Jan 15:04 MST")
		if !strings.Contains(body, c.Ref()) || !strings.Contains(body, due) {
			t.Errorf("the mail names %s and its deadline %s: %s", c.Ref(), due, body)
		}
		if at := time.UnixMicro(c.ClockFrom).UTC(); at.Hour() != 8 || at.Minute() > 5 { // 09:00 in Berlin
			t.Errorf("the notice was accepted at %s", at)
		}
		if e.count(server, "mail.queued") != 1 {
			t.Errorf("queued: %s", e.detail(server, "mail.queued"))
		}
	}
	e.until("both are warned", 6, func() bool {
		return e.inState("cache-1", casework.FinalWarning)() && e.inState("cache-2", casework.FinalWarning)()
	})
	if n := len(e.w.Mail.For(owner)); n != 3 {
		t.Errorf("%d mails: two final warnings follow the digest", n)
	}
	for _, m := range e.w.Mail.For(owner)[1:] {
		if !strings.Contains(text(t, m), "You were notified of this on") || m.Header.Get("In-Reply-To") != mails[0].MessageID {
			t.Errorf("a final warning says:\n%s", m.Body)
		}
	}
	e.noErrors()
}

// A case that is fixed while its notice waits ends without a mail, and one that is not is reported on its day.
func TestACaseThatIsFixedBeforeItsDigest(t *testing.T) {
	t.Parallel()
	e := open(t, plot{scenario: twoWeak(), policy: told("weekly")})
	e.after(2 * day)
	if c := e.theCase("cache-1"); c.State != casework.New || len(e.w.Mail.For(owner)) != 0 {
		t.Fatalf("the case is %s, the owner got %d mails", c.State, len(e.w.Mail.For(owner)))
	}
	e.setPassword("cache-1")
	e.after(7 * day)
	if c := e.theCase("cache-1"); c.State != casework.Verified {
		t.Errorf("fixed before it was reported, the case is %s", c.State)
	}
	if c := e.theCase("cache-2"); c.ClockFrom == 0 || time.UnixMicro(c.ClockFrom).UTC().Weekday() != time.Monday {
		t.Errorf("told weekly: %s since %s", c.State, time.UnixMicro(c.ClockFrom).UTC())
	}
	e.after(14 * day)
	if c := e.theCase("cache-1"); c.State != casework.Closed {
		t.Errorf("two weeks later the case is %s", c.State)
	}
	for _, m := range e.w.Mail.For(owner) {
		if strings.Contains(said(t, m), "cache-1") {
			t.Errorf("a mail names what was fixed before:\n%s", m.Body)
		}
	}
	e.noErrors()
}

// An owner closes the weakness before each digest and opens it after. The second time they are notified at once.
func TestAnOwnerWhoOpensItAfterEachDigest(t *testing.T) {
	t.Parallel()
	e := open(t, plot{policy: told("weekly")})
	password := func(mode string) {
		e.must(e.w.SetService("cache-1", "redis", func(v *lab.Service) { v.Mode = mode }))
	}
	e.after(2 * day)
	password("requirepass")
	e.until("it is fixed", 5, e.inState("cache-1", casework.Verified))
	password("")
	e.until("the owner is notified", 3, e.inState("cache-1", casework.Notified))
	if c := e.theCase("cache-1"); c.ClockFrom-c.OpenedAt > hour || len(e.w.Mail.For(owner)) != 1 {
		t.Errorf("opened again at %s, told at %s by %d mails", time.UnixMicro(c.OpenedAt).UTC(), time.UnixMicro(c.ClockFrom).UTC(), len(e.w.Mail.For(owner)))
	}
	e.noErrors()
}

// An operator changes the policy half-way: what waits is sent by the policy of now.
func TestAPolicyThatTellsSooner(t *testing.T) {
	t.Parallel()
	e := open(t, plot{scenario: twoWeak(), policy: told("monthly")})
	e.after(2 * day)
	if n := len(e.w.Mail.For(owner)); n != 0 {
		t.Fatalf("the owner got %d mails", n)
	}
	e.plot.policy = told("at_once")
	e.harmed = true // what waits too long is repaired
	e.stop()
	e.write()
	e.start()
	e.after(2 * hour)
	if n := len(e.w.Mail.For(owner)); n != 2 {
		t.Errorf("the owner got %d mails", n)
	}
	e.noErrors()
}

// In the mode observe the operators get one mail a day as well.
func TestWhatIsObservedComesInADigest(t *testing.T) {
	t.Parallel()
	e := open(t, plot{scenario: twoWeak(), policy: told("daily"), firstStart: true})
	e.after(5 * day)
	if n := len(e.w.Mail.For(operators)); n != 1 || !slices.Equal(e.addressees(), []string{operators}) {
		t.Errorf("%d mails, to %v", n, e.addressees())
	}
	e.noErrors()
}
