package gate

import (
	"slices"
	"strings"
	"testing"

	"demarc/internal/casework"
	"demarc/internal/finding"
	"demarc/internal/policy"
)

// look puts checks of the finding in, before the i-th.
func look(f *Facts, i int, looks ...finding.Sighting) {
	f.Findings[0].Looks = slices.Insert(slices.Clone(f.Findings[0].Looks), i, looks...)
}

// Every limit of the gate holds to the microsecond, and to the action.
func TestLimitsOfTheGate(t *testing.T) {
	t.Parallel()
	grace := start + 5*oneDay
	for name, c := range map[string]struct {
		bend    func(*Facts, *policy.Policy)
		refused string // conditions, "" none
	}{
		"a binding as old as may": {func(f *Facts, p *policy.Policy) { f.Target.BindingAge = Age(p.Freshness.Binding.Micros()) }, ""},
		"a binding that is older": {func(f *Facts, p *policy.Policy) {
			f.Target.BindingAge = Age(p.Freshness.Binding.Micros() + 1)
		}, "binding-fresh"},
		"a binding of this moment":      {func(f *Facts, _ *policy.Policy) { f.Target.BindingAge = 0 }, ""},
		"a binding that was never read": {func(f *Facts, _ *policy.Policy) { f.Target.BindingAge = Unknown }, "binding-fresh"},
		"a confirmation as old as may":  {func(f *Facts, p *policy.Policy) { f.Findings[0].ProbeAge = Age(p.Freshness.Probe.Micros()) }, ""},
		"a confirmation that is older": {func(f *Facts, p *policy.Policy) {
			f.Findings[0].ProbeAge = Age(p.Freshness.Probe.Micros() + 1)
		}, "probe-fresh"},
		"no confirmation":            {func(f *Facts, _ *policy.Policy) { f.Findings[0].ProbeAge = Unknown }, "probe-fresh"},
		"an inventory as old as may": {func(f *Facts, p *policy.Policy) { f.InventoryAge = Age(p.Freshness.Inventory.Micros()) }, ""},
		"an inventory that is older": {func(f *Facts, p *policy.Policy) {
			f.InventoryAge = Age(p.Freshness.Inventory.Micros() + 1)
		}, "inventory"},
		"the moment the grace ends": {func(f *Facts, _ *policy.Policy) { f.Now = grace }, ""},
		"the moment before":         {func(f *Facts, _ *policy.Policy) { f.Now = grace - 1 }, "grace promised"},
		"a grace as short as may": {func(f *Facts, p *policy.Policy) {
			f.Case.FinalAt = f.Case.GraceEnds - p.Classes["E"].Grace.Micros()
		}, ""},
		"a grace that is shorter": {func(f *Facts, p *policy.Policy) {
			f.Case.FinalAt = f.Case.GraceEnds - p.Classes["E"].Grace.Micros() + 1
		}, "grace"},
		"no grace":                         {func(f *Facts, _ *policy.Policy) { f.Case.GraceEnds = 0 }, "repeated-scans grace"},
		"no final warning in the case":     {func(f *Facts, _ *policy.Policy) { f.Case.FinalAt = 0 }, "grace"},
		"notified in the moment it began":  {func(f *Facts, _ *policy.Policy) { f.Findings[0].Held = start }, ""},
		"notified the moment before":       {func(f *Facts, _ *policy.Policy) { f.Findings[0].Held = start + 1 }, "told"},
		"held since it is not known when":  {func(f *Facts, _ *policy.Policy) { f.Findings[0].Held = 0 }, "told"},
		"seen in the moment of the notice": {func(f *Facts, _ *policy.Policy) { f.Findings[0].Looks[0].At = start }, ""},
		"seen the moment after":            {func(f *Facts, _ *policy.Policy) { f.Findings[0].Looks[0].At = start + 1 }, "repeated-scans"},
		"seen as the grace ended":          {func(f *Facts, _ *policy.Policy) { f.Findings[0].Looks[1].At = grace }, ""},
		"seen the moment before":           {func(f *Facts, _ *policy.Policy) { f.Findings[0].Looks[1].At = grace - 1 }, "repeated-scans"},
		"clean in the moment of the notice": {func(f *Facts, _ *policy.Policy) {
			look(f, 1, finding.Sighting{At: start, Verdict: finding.ClosedPort})
		}, "repeated-scans"},
		"clean before it, and seen again": {func(f *Facts, _ *policy.Policy) {
			look(f, 0, finding.Sighting{At: start - 2000, Verdict: finding.ClosedPort})
		}, ""},
		"seen, clean and seen again before it": {func(f *Facts, _ *policy.Policy) {
			look(f, 0, finding.Sighting{At: start - 3000, Verdict: finding.Vulnerable},
				finding.Sighting{At: start - 2000, Verdict: finding.ClosedPort})
		}, ""},
		"silent in between": {func(f *Facts, _ *policy.Policy) {
			look(f, 1, finding.Sighting{At: start + 1, Verdict: finding.NoAnswer})
		}, ""},
		"clean after the notice": {func(f *Facts, _ *policy.Policy) {
			look(f, 1, finding.Sighting{At: start + 1, Verdict: finding.ClosedPort})
		}, "repeated-scans"},
		"a budget that is just met": {func(f *Facts, p *policy.Policy) {
			f.Usage = Usage{CloudHour: p.Budgets.CloudHour - 1, Batch: 1, BatchProject: 1, CloudServers: 1000, ProjectServers: 1000}
		}, ""},
		"an hour of the cloud over": {func(f *Facts, p *policy.Policy) {
			f.Usage = Usage{CloudHour: p.Budgets.CloudHour, Batch: 1, BatchProject: 1, CloudServers: 1000, ProjectServers: 1000}
		}, "budget"},
		"a day of the cloud met": {func(f *Facts, p *policy.Policy) {
			f.Usage = Usage{CloudDay: p.Budgets.CloudDay - 1, Batch: 1, BatchProject: 1, CloudServers: 1000, ProjectServers: 1000}
		}, ""},
		"a day of the cloud over": {func(f *Facts, p *policy.Policy) {
			f.Usage = Usage{CloudDay: p.Budgets.CloudDay, Batch: 1, BatchProject: 1, CloudServers: 1000, ProjectServers: 1000}
		}, "budget"},
		"an hour of the project over": {func(f *Facts, p *policy.Policy) {
			f.Usage = Usage{ProjectHour: p.Budgets.ProjectHour, Batch: 1, BatchProject: 1, CloudServers: 1000, ProjectServers: 1000}
		}, "budget"},
		"one server each": {func(f *Facts, _ *policy.Policy) {
			f.Usage = Usage{Batch: 1, BatchProject: 1, CloudServers: 1, ProjectServers: 1}
		}, ""},
		"no running server":         {func(f *Facts, _ *policy.Policy) { f.Usage.CloudServers = 0 }, "budget"},
		"none of the project":       {func(f *Facts, _ *policy.Policy) { f.Usage.ProjectServers = 0 }, "budget"},
		"an empty batch":            {func(f *Facts, _ *policy.Policy) { f.Usage.Batch = 0 }, "budget"},
		"an empty batch of its own": {func(f *Facts, _ *policy.Policy) { f.Usage.BatchProject = 0 }, "budget"},
		"restored, seen twice": {func(f *Facts, p *policy.Policy) {
			f.ProofsFrom = grace
			look(f, 2, finding.Sighting{At: grace + 500 + p.Proof.ConfirmGap.Micros(), Verdict: finding.Vulnerable})
		}, ""},
		"restored, seen too soon": {func(f *Facts, p *policy.Policy) {
			f.ProofsFrom = grace
			look(f, 2, finding.Sighting{At: grace + 499 + p.Proof.ConfirmGap.Micros(), Verdict: finding.Vulnerable})
		}, "restored"},
		"restored in the moment of a check": {func(f *Facts, p *policy.Policy) {
			f.ProofsFrom = grace + 500
			look(f, 2, finding.Sighting{At: grace + 500 + p.Proof.ConfirmGap.Micros(), Verdict: finding.Vulnerable})
		}, ""},
		"a check that the log has not": {func(f *Facts, _ *policy.Policy) { f.Findings[0].Unlogged = 1 }, "witnessed"},
		"a status that the log has not": {func(f *Facts, _ *policy.Policy) {
			f.Case.Notices = append(f.Case.Notices, mail(casework.StepStatus, start, start))
		}, ""},
		"a fixed finding of another machine": {func(f *Facts, _ *policy.Policy) {
			f.Findings = append(f.Findings, Finding{ID: "g", Server: "other", State: finding.Fixed})
		}, ""},
		"another finding that is open": {func(f *Facts, _ *policy.Policy) {
			f.Findings = append(f.Findings, Finding{ID: "g", Server: "s", State: finding.Open})
		}, ""},
		"the provider's deadline": {func(f *Facts, _ *policy.Policy) {
			n := mail(casework.StepEscalation, start, f.Now+oneDay)
			n.To = casework.Provider
			f.Case.Notices = append(f.Case.Notices, n)
		}, ""},
		"the operators' deadline": {func(f *Facts, _ *policy.Policy) {
			n := mail(casework.StepApproval, start, f.Now+oneDay)
			n.To = casework.Operators
			f.Case.Notices = append(f.Case.Notices, n)
		}, ""},
		"a deadline of this moment": {func(f *Facts, _ *policy.Policy) {
			f.Record.Notices = append(f.Record.Notices, mail(casework.StepStatus, start, f.Now))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f, p := green(), rules(t)
			c.bend(&f, p)
			var got []string
			for _, b := range Decide(f, p).Blocks {
				got = append(got, b.Condition)
			}
			if strings.Join(got, " ") != c.refused {
				t.Errorf("refused by %v, want %q", got, c.refused)
			}
		})
	}
}

// Of two sources the milder class and grade count, and one that is not known is the mildest.
func TestMilderOfTwoSourcesCounts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		grade, said finding.Grade
		class, says string
		wantGrade   finding.Grade
		wantClass   string
	}{
		{finding.Proved, finding.Proved, "E", "E", finding.Proved, "E"},
		{finding.Proved, finding.Stated, "E", "E", finding.Stated, "E"},
		{finding.Stated, finding.Proved, "E", "E", finding.Stated, "E"},
		{finding.Proved, "", "E", "", finding.Proved, "E"},
		{finding.Proved, "odd", "E", "E", "odd", "E"},
		{"odd", finding.Proved, "E", "E", finding.Proved, "E"},
		{finding.Proved, finding.Proved, "E", "M", finding.Proved, "M"},
		{finding.Proved, finding.Proved, "M", "E", finding.Proved, "M"},
		{finding.Proved, finding.Proved, "E", "?", finding.Proved, "?"},
	} {
		x := Finding{Grade: c.grade, Class: c.class}
		x.Milder("by another source", c.said, c.says)
		if x.Grade != c.wantGrade || x.Class != c.wantClass || (x.Differs != "") != (c.wantGrade != c.grade || c.wantClass != c.class) {
			t.Errorf("%s %s against %s %s: %+v", c.grade, c.class, c.said, c.says, x)
		}
	}
}

// An operator who must decide reads who was notified of what, who left and when, and who can act.
func TestRefusalNamesWhoWasNotified(t *testing.T) {
	t.Parallel()
	f := green()
	status := mail(casework.StepStatus, start, 0)
	status.Recipient = "status@astro.example"
	provider := mail(casework.StepNotice, start, 0)
	provider.To, provider.Recipient = casework.Provider, "provider@cloud.example"
	relapse := mail(casework.StepRelapse, start, 0)
	relapse.Recipient = "relapse@astro.example"
	f.Case.Notices = append(f.Case.Notices, status, provider, relapse)
	f.People = People{
		Able: []string{"ada@astro.example", "bob@astro.example"},
		Left: []Departure{{Address: "amir@astro.example", At: start}, {Address: "gone@astro.example"}},
	}
	got := whoWas(f)
	want := "notified: amir@astro.example (notice, 2026-11-02 09:00 UTC), " +
		"amir@astro.example (final_warning, 2026-11-06 09:00 UTC), " +
		"relapse@astro.example (relapse, 2026-11-02 09:00 UTC); " +
		"amir@astro.example left 2026-11-02 09:00 UTC, gone@astro.example left at a time that is not known; " +
		"can act now: ada@astro.example, bob@astro.example"
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	f.People.Left = nil
	if got = whoWas(f); strings.Contains(got, "left") {
		t.Errorf("nobody left: %s", got)
	}
}
