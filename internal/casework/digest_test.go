package casework_test

import (
	"testing"
	"time"

	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/policy"
)

// A mail that waits for its digest is not put off too far, until the policy or the class of its case says that it is sent sooner.
func TestMailThatWaitsForItsDigest(t *testing.T) {
	t.Parallel()
	monthly := *rules(t)
	monthly.Classes = map[string]policy.Class{}
	for c, k := range rules(t).Classes {
		k.Notice = policy.Monthly
		monthly.Classes[c] = k
	}
	c := opening(duty.Customer, "C", "f").Case
	queued := casework.Schedule(casework.Mail{Step: casework.StepNotice, Status: casework.Waiting, MessageID: "a@x"}, c, &monthly, start)
	tried := queued
	tried.Attempts = 1
	alone := queued
	alone.Step = casework.StepFinal
	daily := rules(t)
	for name, k := range map[string]struct {
		mail  casework.Mail
		class string
		rules *policy.Policy
		next  int64 // 0: it is left as it is
	}{
		"by the same policy":            {queued, "C", &monthly, 0},
		"by one that says daily":        {queued, "C", daily, daily.NextDigest(policy.Daily, start)},
		"the case is class E by now":    {queued, "E", daily, start},
		"it was tried":                  {tried, "C", &monthly, start},
		"a mail that waits for nothing": {alone, "C", &monthly, start},
	} {
		c := c
		c.Class = k.class
		p := k.rules.InMode(policy.Enforce)
		got := casework.Missing(c, nil, casework.Rows{Mails: []casework.Mail{k.mail}}, p, start)
		switch {
		case k.next == 0 && len(got) > 0:
			t.Errorf("%s: %s", name, got[0].What)
		case k.next > 0 && (len(got) != 1 || got[0].Forward == nil || got[0].Forward.NextAt != k.next):
			t.Errorf("%s: %+v, want %s", name, got, time.UnixMicro(k.next).UTC())
		}
	}
}

// First notices may wait; whatever follows is sent at once.
func TestWhatIsCollected(t *testing.T) {
	t.Parallel()
	p := rules(t)
	for _, s := range []casework.Step{casework.StepNotice, casework.StepStatus, casework.StepObserved, casework.StepFinal, casework.StepRestricted, casework.StepReleased,
		casework.StepClosed, casework.StepRelapse, casework.StepEscalation, casework.StepApproval, casework.StepRefused, casework.StepHeld, casework.StepTampered,
		casework.StepWithdrawn, casework.StepPassed, casework.StepStillOpen, casework.StepReturned, casework.StepNoVerdict, casework.StepSystem} {
		c := casework.Case{Class: "H", State: casework.New}
		first := s == casework.StepNotice || s == casework.StepStatus || s == casework.StepObserved
		if got := casework.Slot(c, s, p, start) > start; got != first {
			t.Errorf("%s waits: %t", s, got)
		}
		if c.Class = "E"; casework.Slot(c, s, p, start) != 0 {
			t.Errorf("%s of class E waits", s)
		}
	}
	if casework.Slot(casework.Case{Class: "L", State: casework.Notified}, casework.StepNotice, p, start) != 0 {
		t.Error("a notice waits while the clock of its case runs")
	}
	if casework.Slot(casework.Case{Class: "H", State: casework.Overdue}, casework.StepStatus, p, start) != 0 {
		t.Error("that the provider is overdue waits")
	}
}

// A machine that is deleted while its notice waits, or its weakness fixed, is reported at once when it is back.
func TestWhatEndsBeforeItsDigest(t *testing.T) {
	t.Parallel()
	p := rules(t)
	for name, k := range map[string]struct {
		class  string
		state  finding.State
		missed bool
	}{
		"confirmed":             {"C", finding.Open, true},
		"only suspected":        {"C", finding.Suspicion, false},
		"of a class without it": {"E", finding.Open, false},
	} {
		d := opening(duty.Customer, k.class, "f")
		d.Findings[0].State = k.state
		after, _ := casework.Next(d, casework.Gone{}, p, start)
		if after.Case.State != casework.Moot || after.Case.Missed != k.missed {
			t.Errorf("%s: %s, missed %t", name, after.Case.State, after.Case.Missed)
		}
		next, _ := casework.Next(opening(duty.Customer, k.class, "g"), casework.Continued{Case: after.Case.ID, Missed: after.Case.Missed}, p, start)
		if got := casework.Slot(next.Case, casework.StepNotice, p, start) == 0; got != (k.missed || k.class == "E") || next.Case.Renewed != 0 {
			t.Errorf("%s: at once %t, %d rounds", name, got, next.Case.Renewed)
		}
	}
}
