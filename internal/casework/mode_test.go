package casework_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/policy"
)

// mode changes the mode in force between two chapters.
func mode(m policy.Mode) chapter { return chapter{"+0s", "mode " + string(m), "", ""} }

// toObserved is a case that was found and confirmed in observe, and reported to the operators.
var toObserved = []chapter{
	mode(policy.Observe),
	{"+0s", "opened f", casework.New, "recheck in 0s"},
	{"+1m", "look f vulnerable", casework.New, "mail observed to operators, recheck in 1d"},
	{"+1m", "mail observed", casework.New, ""},
}

// toNotifiedOnly is a case whose owner was notified in notify: the notice says that nothing follows for the machine.
var toNotifiedOnly = append([]chapter{mode(policy.Notify)}, toNotified...)

// fixed is how a fix is proven after a notice.
var fixed = []chapter{
	{"+1h", "look f closed", casework.Notified, "recheck in 30m0s"},
	{"+30m", "look f closed", casework.Verified, proven},
}

func TestModes(t *testing.T) {
	for name, s := range map[string][]chapter{
		"observe reports a case once and checks it daily": slices.Concat(toObserved, []chapter{
			{"@recheck", "look f vulnerable", casework.New, "recheck in 1d"},
			{"@recheck", "look f vulnerable", casework.New, "recheck in 1d"},
			{"@recheck", "look f filtered", casework.New, "recheck in 1d"},
			{"@recheck", "look f inconclusive", casework.New, "recheck in 1d"},
		}),
		"observe closes what is fixed, and notifies nobody": slices.Concat(toObserved, []chapter{
			{"@recheck", "look f closed", casework.New, "recheck in 30m0s"},
			{"@recheck", "look f closed", casework.Closed, quiet},
		}),
		"a case found in observe is notified in notify with its full time": slices.Concat(toObserved, []chapter{
			mode(policy.Notify),
			{"+60d", "look f vulnerable", casework.New, "mail notice to owner"},
			{"+5m", "mail notice", casework.Notified, "due in 96h0m30s"},
		}),
		"notify reports an overdue case to operators and warns of nothing": slices.Concat(toNotifiedOnly, []chapter{
			{"@due", "timer due", casework.Notified, "recheck in 0s"},
			{"+1m", "look f vulnerable", casework.Overdue, "mail escalation to operators"},
			{"+1m", "mail escalation", casework.Overdue, ""},
			{"+9d", "look f vulnerable", casework.Overdue, ""},
			{"+1m", "mail final_warning", casework.Overdue, ""},
			{"+9d", "look f vulnerable", casework.Overdue, ""},
		}),
		"a notice from notify does not count in enforce, at its deadline": slices.Concat(toNotifiedOnly, []chapter{
			mode(policy.Enforce),
			{"+1d", "look f vulnerable", casework.Notified, ""},
			{"@due", "timer due", casework.Notified, "recheck in 0s"},
			{"+1m", "look f vulnerable", casework.New, "no due, no probation, mail notice to owner, recheck in 0s"},
			{"+1m", "mail notice again", casework.Notified, "due in 4d"},
			{"@due", "look f vulnerable", casework.Overdue, "mail final_warning to owner"},
		}),
		"nor after its deadline": slices.Concat(toNotifiedOnly, []chapter{
			{"@due", "look f vulnerable", casework.Overdue, "mail escalation to operators"},
			mode(policy.Enforce),
			{"+1m", "look f vulnerable", casework.New, "no due, no probation, mail notice to owner, recheck in 0s"},
		}),
		"nor does one of several notices from notify": slices.Concat([]chapter{}, toNotified, []chapter{
			mode(policy.Notify),
			{"+1m", "mail notice other", casework.Notified, ""},
			mode(policy.Enforce),
			{"@due", "look f vulnerable", casework.New, "no due, no probation, mail notice to owner, recheck in 0s"},
		}),
		"nor when it comes back in probation": slices.Concat(toNotifiedOnly, fixed, []chapter{
			mode(policy.Enforce),
			{"+1d", "look f vulnerable", casework.New, "no due, no probation, mail notice to owner, recheck in 0s"},
		}),
		"nor does the mail of a relapse in notify": slices.Concat(toNotified, fixed, []chapter{
			mode(policy.Notify),
			{"+1d", "look f vulnerable", casework.Overdue, "no probation, mail relapse to owner"},
			{"+1m", "mail relapse", casework.Overdue, ""},
			mode(policy.Enforce),
			{"+1d", "look f vulnerable", casework.New, "no due, no probation, mail notice to owner, recheck in 0s"},
		}),
		"a relapse in observe begins a new round that operators learn of": slices.Concat(toNotified, fixed, []chapter{
			mode(policy.Observe),
			{"+1d", "look f vulnerable", casework.New, "no due, no probation, mail observed to operators, recheck in 0s"},
			{"+0s", "look f vulnerable", casework.New, "mail observed to operators, recheck in 1d"},
		}),
		"lowered to observe before the deadline": slices.Concat(toNotified, []chapter{
			mode(policy.Observe),
			{"@due", "timer due", casework.Notified, "recheck in 0s"},
			{"+1m", "look f vulnerable", casework.Notified, "due in 1d"},
			{"@due", "look f vulnerable", casework.Notified, "due in 1d"},
			mode(policy.Enforce), // the notice announced what may follow: it still counts
			{"@due", "look f vulnerable", casework.Overdue, "mail final_warning to owner"},
		}),
		"lowered to notify before the deadline": slices.Concat(toNotified, []chapter{
			mode(policy.Notify),
			{"@due", "look f vulnerable", casework.Overdue, "mail escalation to operators"},
			mode(policy.Enforce),
			{"+1d", "look f vulnerable", casework.Overdue, "mail final_warning to owner"},
			{"+1m", "mail final_warning", casework.FinalWarning, "grace in 1d"},
		}),
		"lowered when overdue": slices.Concat(toNotified, []chapter{
			{"@due", "look f vulnerable", casework.Overdue, "mail final_warning to owner"},
			mode(policy.Observe),
			{"+1d", "look f vulnerable", casework.Overdue, ""},
			mode(policy.Notify),
			{"+1d", "look f vulnerable", casework.Overdue, "mail escalation to operators"},
		}),
		"lowered in the final warning": slices.Concat(toFinal, []chapter{
			mode(policy.Notify),
			{"@grace", "timer grace", casework.FinalWarning, "recheck in 0s"},
			{"+1m", "look f vulnerable", casework.FinalWarning, "grace in 1d, mail escalation to operators"},
			{"+1m", "mail escalation", casework.FinalWarning, ""},
			{"@grace", "look f vulnerable", casework.FinalWarning, "grace in 1d"},
			mode(policy.Observe),
			{"@grace", "look f vulnerable", casework.FinalWarning, "grace in 1d"},
			mode(policy.Enforce),
			{"@grace", "look f vulnerable", casework.Queued, "mail approval to operators"},
		}),
		"lowered after the approval": slices.Concat(toQueued, []chapter{
			{"+1h", "approve olga", casework.Queued, "enforce in 0s"},
			mode(policy.Notify),
			{"+1m", "look f vulnerable", casework.FinalWarning, "mail refused to operators, no enforce, grace in 1d, mail escalation to operators"},
			mode(policy.Enforce), // the approval does not outlive the lower mode
			{"+1m", "approve otto", casework.FinalWarning, ""},
			{"@grace", "look f vulnerable", casework.Queued, "mail approval to operators"},
			{"+1m", "look f vulnerable", casework.Queued, ""},
		}),
		"lowered when restricted: the way back stays open": slices.Concat(toRestricted, []chapter{
			mode(policy.Observe),
			{"+2h", "claim", casework.Verifying, "recheck in 0s"},
			{"+1m", "look f closed", casework.Verifying, "recheck in 10m0s"},
			{"+10m", "look f closed", casework.Verifying, "release in 0s, no recheck"},
			{"+1m", "restored", casework.Released, "no hold, no start, mail released to owner, recheck in 10m0s, probation in 14d"},
		}),
		"lowered when restricted: the machine stays off the network": slices.Concat(toRestricted, []chapter{
			mode(policy.Observe),
			{"+1d", "look f vulnerable", casework.Restricted, "no release, recheck in 1d"},
		}),
	} {
		t.Run(name, func(t *testing.T) { tell(t, opening(duty.Customer, "E", "f"), s) })
	}
}

// In no order of events and modes does anybody but the operators get a first mail in observe, and in none is a machine's owner warned,
// or an action requested, below enforce or on the ground of a notice that announced none.
func TestNothingFollowsThatTheModeDoesNotAllow(t *testing.T) {
	base := rules(t)
	queued := 0
	for round := 0; round < 50 && queued == 0; round++ {
		checkModes(t, base, &queued)
	}
	if queued == 0 {
		t.Error("no run came as far as a request for approval")
	}
}

// checkModes plays runs in which the mode changes before each event, and counts those that end in a request for approval.
func checkModes(t *testing.T, base *policy.Policy, queued *int) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		party := rapid.SampledFrom([]duty.Party{duty.Customer, duty.Customer, duty.Provider}).Draw(t, "party")
		d, now := opening(party, rapid.SampledFrom([]string{"E", "H", "M"}).Draw(t, "class"), "f", "g"), start
		announced := policy.End("") // the mildest of this round's notices
		for i := range rapid.IntRange(1, 60).Draw(t, "events") {
			p := base.InMode(rapid.SampledFrom([]policy.Mode{policy.Observe, policy.Notify, policy.Enforce, policy.Enforce}).Draw(t, "mode"))
			now += rapid.SampledFrom(pauses).Draw(t, "pause")
			ev := event(t, d, p, verdicts, now, i)
			if m, ok := ev.(casework.MailAccepted); ok && casework.Waits(m.Notice.Step, m.Notice.To, p.Mode) {
				continue // no such mail goes out
			}
			before := d
			after, effects := casework.Next(clone(d), ev, p, now)
			m, ok := ev.(casework.MailAccepted)
			if ok && m.Notice.Step == casework.StepNotice && (announced == "" || m.Notice.End == policy.Report) {
				announced = m.Notice.End
			}
			for _, e := range effects {
				s, ok := e.(casework.Send)
				if ok && p.Mode == policy.Observe && s.Step == casework.StepNotice && after.Case.State == casework.New {
					t.Fatalf("%s to %s in observe by %+v", s.Step, s.To, ev)
				}
				if ok && p.Mode != policy.Enforce && (s.Step == casework.StepFinal || s.Step == casework.StepApproval) {
					t.Fatalf("%s in %s by %+v", s.Step, p.Mode, ev)
				}
			}
			b, a := before.Case.State, after.Case.State
			if a == casework.Queued && b != a {
				*queued++
				if p.Mode != policy.Enforce || announced == policy.Report || announced == "" {
					t.Fatalf("queued in %s by a notice that announced %q: %+v", p.Mode, announced, after.Case)
				}
			}
			if a == casework.Overdue && b != a && p.Mode == policy.Observe {
				t.Fatalf("overdue in observe by %+v", ev)
			}
			if a == casework.New && b != casework.New {
				announced = ""
			}
			d = after
		}
	})
}

// A case that only operators know of is withdrawn without a mail to its owner.
func TestWithdrawingAnObservedCaseNotifiesNobody(t *testing.T) {
	p := rules(t).InMode(policy.Observe)
	d := tell(t, opening(duty.Customer, "E", "f"), toObserved)
	var sent []string
	for _, ev := range []casework.Event{casework.Withdraw{By: "olga", Why: "a test"}, casework.Restored{}} {
		var effects []casework.Effect
		d, effects = casework.Next(d, ev, p, start+day)
		for _, e := range effects {
			if s, ok := e.(casework.Send); ok {
				sent = append(sent, fmt.Sprint(s))
			}
		}
	}
	if d.Case.State != casework.Closed || len(sent) > 0 || d.Findings[0].State != finding.Dropped {
		t.Errorf("%s with %s, mails %v", d.Case.State, d.Findings[0].State, sent)
	}
}

// A final warning whose text announced nothing begins no grace, whatever the mode is when it is accepted.
func TestAFinalWarningThatAnnouncedNothingBeginsNoGrace(t *testing.T) {
	p := rules(t)
	overdue := tell(t, opening(duty.Customer, "E", "f"), toFinal[:len(toFinal)-1])
	for _, c := range []struct {
		end  policy.End
		want casework.State
	}{{"", casework.Overdue}, {policy.Report, casework.Overdue}, {policy.Quarantine, casework.FinalWarning}} {
		n := casework.Notice{
			Step:       casework.StepFinal,
			To:         casework.Owner,
			Recipient:  "o@example.org",
			MessageID:  "m",
			AcceptedAt: start + 9*day,
			Announced:  casework.Announced{End: c.end},
		}
		if d, _ := casework.Next(overdue, casework.MailAccepted{Notice: n}, p, start+9*day); d.Case.State != c.want {
			t.Errorf("announced %q: the case is %s, want %s", c.end, d.Case.State, c.want)
		}
	}
}
