package serve_test

import (
	"slices"
	"strings"
	"testing"

	"demarc/internal/casework"
	"demarc/internal/lab"
)

const colleague = "alice@astro.example"

// The only person who received the notice is gone when the final warning goes out to others: nobody who can act had the full time. One new
// round begins, with its own clock, and no mail says that its reader was notified before.
func TestPeopleWhoWereNotifiedMustBeAbleToAct(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.until("notified", 2, e.inState("cache-1", casework.Notified))
	if n := e.theCase("cache-1").Accepted(casework.StepNotice); len(n) != 1 || n[0].Recipient != owner || !n[0].Full {
		t.Fatalf("the notice went to %+v", n)
	}
	e.must(e.w.SetUserEnabled("amir", false))
	e.until("queued", 15, e.inState("cache-1", casework.Queued))
	final := slices.DeleteFunc(e.w.Mail.For(colleague), func(m lab.Message) bool { return !strings.Contains(subject(t, m), "final warning") })
	if len(final) != 1 || strings.Contains(text(t, final[0]), "You were") ||
		!strings.Contains(text(t, final[0]), "that mail went to other people than you") {
		t.Fatalf("alice reads:\n%v", final)
	}
	e.approve("cache-1")
	e.untilIdle()
	e.untouched()
	said := refusals(e.theCase("cache-1").Blocks)
	for _, want := range []string{"people: nobody who can act for the project now received a notice with the full time to fix",
		owner + " left 2026-11-", "can act now: " + colleague} {
		if !strings.Contains(said, want) {
			t.Errorf("the refusal lacks %q: %s", want, said)
		}
	}
	e.until("notified again", 1, e.inState("cache-1", casework.Notified))
	k := e.theCase("cache-1")
	if k.Renewed != 1 || k.Due-k.ClockFrom < 4*day {
		t.Errorf("renewed %d times, with %d hours", k.Renewed, (k.Due-k.ClockFrom)/hour)
	}
	e.restrict()
}

func refusals(rs []casework.Refusal) string { return strings.Join(casework.Reasons(rs, true), "; ") }

// After a second change of people no clock starts and nothing is done automatically: an operator sees who was notified, who left and when,
// and decides.
func TestSecondChangeOfPeopleIsAnOperatorsDecision(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.until("queued", 15, e.inState("cache-1", casework.Queued))
	e.must(e.w.SetRole("amir", "astro", ""))
	e.approve("cache-1")
	e.until("notified again", 2, e.inState("cache-1", casework.Notified)) // alice, now
	e.until("queued", 15, e.inState("cache-1", casework.Queued))
	e.must(e.w.SetRole("alice", "astro", ""))
	e.must(e.w.SetRole("amir", "astro", "member"))
	e.approve("cache-1")
	e.after(10 * day)
	e.untouched()
	k := e.theCase("cache-1")
	if k.State != casework.Queued || !k.Stuck() || len(k.Approvals) != 0 {
		t.Fatalf("the case is %s, renewed %d times, refused for %s", k.State, k.Renewed, refusals(k.Blocks))
	}
	if said := refusals(k.Blocks); !strings.Contains(said, colleague+" left 2026-11-") || !strings.Contains(said, "can act now: "+owner) {
		t.Errorf("operators read %s", said)
	}
	stuck := slices.DeleteFunc(e.w.Mail.For(operators), func(m lab.Message) bool { return !strings.Contains(text(t, m), "demarc case renew") })
	if len(stuck) != 1 {
		t.Errorf("%d mails tell the operators what to decide", len(stuck))
	}
	e.approveDespite("cache-1", "people", "amir was notified by phone")
	e.until("restricted", 1, e.inState("cache-1", casework.Restricted))
	if !strings.Contains(e.auditText(), "amir was notified by phone") {
		t.Error("the reason is not in the log")
	}
}

// Membership that changes and changes back within a round costs nobody anything.
func TestPeopleWhoReturnWereNotified(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.until("queued", 15, e.inState("cache-1", casework.Queued))
	e.must(e.w.SetUserEnabled("amir", false))
	e.after(2 * day)
	e.must(e.w.SetUserEnabled("amir", true))
	e.approve("cache-1")
	e.until("restricted", 1, e.inState("cache-1", casework.Restricted))
	if k := e.theCase("cache-1"); k.Renewed != 0 {
		t.Errorf("renewed %d times", k.Renewed)
	}
}

// An owner whose weakness comes and goes around each deadline has one new round, and then an operator decides.
func TestFlappingBuysOneNewRound(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	flap := func() {
		e.until("warned", 15, e.inState("cache-1", casework.FinalWarning))
		e.setPassword("cache-1")
		e.claim("cache-1")
		e.untilIdle() // one clean check, which proves no fix yet
		e.must(e.w.SetService("cache-1", "redis", func(v *lab.Service) { v.Mode = "" }))
		e.until("queued", 15, e.inState("cache-1", casework.Queued))
		e.approve("cache-1")
		e.untilIdle()
		e.untouched()
	}
	flap()
	if k := e.theCase("cache-1"); k.Renewed != 1 {
		t.Fatalf("renewed %d times, %s: %s", k.Renewed, k.State, refusals(k.Blocks))
	}
	flap()
	e.after(5 * day)
	e.untouched()
	if k := e.theCase("cache-1"); k.Renewed != 1 || !k.Stuck() {
		t.Errorf("renewed %d times, %s: %s", k.Renewed, k.State, refusals(k.Blocks))
	}
}

// The creator of a machine who may only read by now cannot repair it. The people who can are notified.
func TestACreatorWhoMayOnlyReadIsNotTheOneToNotify(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.must(e.w.SetRole("amir", "astro", "reader"))
	e.until("queued", 15, e.inState("cache-1", casework.Queued))
	if n := e.theCase("cache-1").Accepted(casework.StepNotice); len(n) != 1 || n[0].Recipient != colleague {
		t.Errorf("the notice went to %+v", n)
	}
	e.approve("cache-1")
	e.until("restricted", 1, e.inState("cache-1", casework.Restricted))
}
