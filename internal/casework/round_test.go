package casework_test

import (
	"slices"
	"testing"

	"demarc/internal/casework"
	"demarc/internal/finding"
)

// A graver finding that joins while a longer clock runs begins a new round: its own notice, its own time. One of the same
// class does not, so nobody buys time by opening another hole.
func TestAGraverFindingBeginsANewRound(t *testing.T) {
	p := rules(t)
	const at = int64(1_000_000_000_000)
	day := int64(24 * 3600 * 1_000_000)
	c := casework.Case{ID: "c", Party: "customer", Track: casework.Vulnerability, Class: "M", Zone: "internet", State: casework.Notified, OpenedAt: at, ClockFrom: at, Due: at + 90*day,
		Notices: []casework.Notice{{Step: casework.StepNotice, AcceptedAt: at}}}
	m := finding.Finding{ID: "m", State: finding.Open, Class: "M"}
	e := finding.Finding{ID: "e", State: finding.Open, Class: "E"}
	d, effects := casework.Next(casework.Dossier{Case: c, Findings: []finding.Finding{m, e}}, casework.Opened{Finding: "e"}, p, at+day)
	if d.Case.State != casework.New || d.Case.Class != "E" || d.Case.Due != 0 || len(d.Case.Notices) != 0 {
		t.Errorf("the case is %s of class %s, due %d, with %d notices; effects %v", d.Case.State, d.Case.Class, d.Case.Due, len(d.Case.Notices), effects)
	}
	c.Class, c.Due = "E", at+4*day
	d, _ = casework.Next(casework.Dossier{Case: c, Findings: []finding.Finding{{ID: "old", State: finding.Open, Class: "E"}, e}}, casework.Opened{Finding: "e"}, p, at+day)
	if d.Case.State != casework.Notified || d.Case.Due != at+4*day {
		t.Errorf("another finding of the same class moved the case to %s, due %d", d.Case.State, d.Case.Due)
	}
}

// A case that is taken back gives the machine back, whatever the findings say, and drops them.
func TestWithdrawUndoes(t *testing.T) {
	p := rules(t)
	const at = int64(1_000_000_000_000)
	c := casework.Case{ID: "c", Party: "customer", Class: "E", State: casework.Restricted, Act: "act", Notices: []casework.Notice{{Step: casework.StepNotice, AcceptedAt: 1}}}
	d, effects := casework.Next(casework.Dossier{Case: c, Findings: []finding.Finding{{ID: "f", State: finding.Open, Class: "E"}}}, casework.Withdraw{By: "olga", Why: "wrong machine"}, p, at)
	if d.Case.State != casework.Verifying || d.Findings[0].State != finding.Dropped || effects[len(effects)-1] != (casework.Set{Timer: casework.TimerRelease, At: at}) {
		t.Fatalf("%s, %s, %v", d.Case.State, d.Findings[0].State, effects)
	}
	d, effects = casework.Next(d, casework.Restored{}, p, at)
	if d.Case.State != casework.Closed || d.Case.Act != "" || !slices.Contains(effects, casework.Effect(casework.Send{Step: casework.StepWithdrawn, To: casework.Owner})) {
		t.Errorf("%s by act %q, %v", d.Case.State, d.Case.Act, effects)
	}
}

// A case on hold goes on where it stood; an act must be approved again.
func TestResumeGoesOn(t *testing.T) {
	p := rules(t)
	for from, want := range map[casework.State]casework.State{casework.Notified: casework.Notified, casework.Queued: casework.FinalWarning, casework.FinalWarning: casework.FinalWarning, casework.Restricted: casework.Restricted} {
		c := casework.Case{ID: "c", Party: "customer", Class: "E", State: from, Approvals: []casework.Approval{{By: "olga", At: 1}}}
		if from == casework.Restricted {
			c.Act = "act"
		}
		d, _ := casework.Next(casework.Dossier{Case: c, Findings: []finding.Finding{{ID: "f", State: finding.AttributionHold, Class: "E"}}}, casework.Hold{Why: "a test"}, p, 5)
		d, _ = casework.Next(d, casework.Resume{By: "olga"}, p, 6)
		if d.Case.State != want || len(d.Case.Approvals) != 0 || d.Findings[0].State != finding.Open || d.Case.Hold != "" {
			t.Errorf("from %s: %+v", from, d)
		}
	}
}
