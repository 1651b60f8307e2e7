package casework_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/policy"
	"demarc/internal/probe"
)

const (
	minute = int64(time.Minute / time.Microsecond)
	hour   = 60 * minute
	day    = 24 * hour
)

var start = time.Date(2026, 11, 2, 9, 0, 30, 0, time.UTC).UnixMicro()

func rules(t interface{ Fatal(...any) }) *policy.Policy {
	p, err := policy.Default()
	if err != nil {
		t.Fatal(err)
	}
	return p.InMode(policy.Enforce)
}

// opening is a case of one finding that was seen once and that nobody has heard of.
func opening(party duty.Party, class string, ids ...string) casework.Dossier {
	d := casework.Dossier{Case: casework.Case{ID: "case", Cloud: "cloud", Server: "server", Project: "project", Party: party, Track: casework.Vulnerability, Class: class, Zone: probe.Internet, State: casework.New, OpenedAt: start}}
	for _, id := range ids {
		d.Findings = append(d.Findings, finding.Finding{ID: id, Case: "case", State: finding.Suspicion, Grade: finding.Proved, Class: class, FirstSeen: start, LastSeen: start,
			Key: finding.Key{Cloud: "cloud", Server: "server", Port: "port", Check: "check-" + id, Locus: "tcp/6379", Zone: probe.Internet}})
	}
	return d
}

// A chapter is one line of a story: when, what happens, where the case stands then, and what must follow.
type chapter struct {
	when  string // "+5m" after the line before, or "@due": when that timer falls due
	what  string
	state casework.State
	wants string // effects, comma separated
}

// tell plays a story, event by event.
func tell(t *testing.T, d casework.Dossier, chapters []chapter) casework.Dossier {
	t.Helper()
	p, now, timers := rules(t), start, map[casework.Timer]int64{}
	for i, c := range chapters {
		if name, ok := strings.CutPrefix(c.when, "@"); ok {
			at, armed := timers[casework.Timer(name)]
			if !armed {
				t.Fatalf("line %d, %s: the timer %s is not armed", i+1, c.what, name)
			}
			now = max(now, at)
			delete(timers, casework.Timer(name))
		} else {
			now += span(t, c.when)
		}
		if mode, ok := strings.CutPrefix(c.what, "mode "); ok { // the mode in force changes; the pipeline then checks the case at once
			p = p.InMode(policy.Mode(mode))
			continue
		}
		var effects []casework.Effect
		d, effects = casework.Next(d, parse(t, d, p, c.what, now), p, now)
		for _, e := range effects {
			switch e := e.(type) {
			case casework.Set:
				timers[e.Timer] = e.At
			case casework.Cancel:
				delete(timers, e.Timer)
			case casework.Send, casework.Blocked:
			}
		}
		if d.Case.State != c.state {
			t.Fatalf("line %d, %s %s: the case is %s, want %s", i+1, c.when, c.what, d.Case.State, c.state)
		}
		if got := show(effects, now); got != c.wants {
			t.Errorf("line %d, %s %s:\n  follows %q\n  want    %q", i+1, c.when, c.what, got, c.wants)
		}
	}
	return d
}

func span(t *testing.T, s string) int64 {
	t.Helper()
	var d policy.Duration
	if err := d.UnmarshalYAML([]byte(strings.TrimPrefix(s, "+"))); err != nil {
		t.Fatal(err)
	}
	return d.Micros()
}

// parse reads an event: "look ID VERDICT", "mail STEP", "timer NAME", "approve WHO", "acted ID", …
func parse(t *testing.T, d casework.Dossier, p *policy.Policy, s string, now int64) casework.Event {
	t.Helper()
	w := append(strings.Fields(s), "", "", "")
	switch w[0] {
	case "opened":
		return casework.Opened{Finding: w[1]}
	case "look":
		return casework.Looked{Sighting: finding.Sighting{Finding: w[1], At: now, Verdict: finding.Verdict(w[2]), Vantage: "outside", Facts: "facts"}}
	case "mail":
		step := casework.Step(w[1])
		to := casework.Owner
		if step == casework.StepObserved || step == casework.StepEscalation {
			to = casework.Operators
		}
		return casework.MailAccepted{Notice: casework.Notice{
			Step:       step,
			To:         to,
			Recipient:  "o@example.org",
			MessageID:  w[1] + w[2],
			AcceptedAt: now,
			Deadline:   casework.Promise(d.Case, step, p, now),
			Announced:  casework.Announced{End: casework.Announces(d.Case, step, p)},
		}}
	case "timer":
		return casework.Fired{Timer: casework.Timer(w[1])}
	case "acknowledged":
		return casework.Acknowledgement{By: "owner"}
	case "claim":
		return casework.Claim{By: "owner"}
	case "approve":
		return casework.Approve{By: w[1]}
	case "refused":
		return casework.Refused{Blocks: []casework.Refusal{{Condition: "budget", Reason: "spent"}}}
	case "acted":
		return casework.Acted{Act: w[1]}
	case "restored":
		return casework.Restored{}
	case "hold":
		return casework.Hold{Why: "doubt"}
	case "discarded":
		return casework.Discarded{Finding: w[1], Why: "the address changed hands"}
	case "gone":
		return casework.Gone{}
	}
	t.Fatalf("no event %q", s)
	return nil
}

func show(effects []casework.Effect, now int64) string {
	var out []string
	for _, e := range effects {
		switch e := e.(type) {
		case casework.Send:
			out = append(out, fmt.Sprintf("mail %s to %s", e.Step, e.To))
		case casework.Set:
			out = append(out, fmt.Sprintf("%s in %s", e.Timer, policy.Duration(time.Duration(e.At-now)*time.Microsecond)))
		case casework.Cancel:
			out = append(out, "no "+string(e.Timer))
		case casework.Blocked:
			out = append(out, "blocked "+e.Finding)
		}
	}
	return strings.Join(out, ", ")
}

const (
	quiet  = "no due, no grace, no enforce, no recheck"
	proven = quiet + ", probation in 14d"
)

var toNotified = []chapter{
	{"+0s", "opened f", casework.New, "recheck in 0s"},
	{"+1m", "look f vulnerable", casework.New, "mail notice to owner"},
	{"+5m", "mail notice", casework.Notified, "due in 96h0m30s"}, // 4 days, in full minutes
}

var toFinal = slices.Concat(toNotified, []chapter{
	{"@due", "timer due", casework.Notified, "recheck in 0s"},
	{"+1m", "look f vulnerable", casework.Overdue, "mail final_warning to owner"},
	{"+1m", "mail final_warning", casework.FinalWarning, "grace in 1d"},
})

var toQueued = slices.Concat(toFinal, []chapter{
	{"@grace", "timer grace", casework.FinalWarning, "recheck in 0s"},
	{"+1m", "look f vulnerable", casework.Queued, "mail approval to operators"},
})

var toRestricted = slices.Concat(toQueued, []chapter{
	{"+1h", "approve olga", casework.Queued, "enforce in 0s"},
	{"+1m", "acted act-1", casework.Restricted, "mail restricted to owner, recheck in 1d"},
})

var toReleased = slices.Concat(toRestricted, []chapter{
	{"+2h", "claim", casework.Verifying, "recheck in 0s"},
	{"+1m", "look f closed", casework.Verifying, "recheck in 10m0s"},
	{"@recheck", "look f not_vulnerable", casework.Verifying, "release in 0s, no recheck"},
	{"+1m", "restored", casework.Released, "no hold, no start, mail released to owner, recheck in 10m0s, probation in 14d"},
})

// The whole ladder: told, warned, taken off the network, fixed, given back, closed.
func TestStoryOfAWeaknessThatStays(t *testing.T) {
	d := tell(t, opening(duty.Customer, "E", "f"), slices.Concat(toReleased, []chapter{
		{"@recheck", "look f closed", casework.Released, "recheck in 9m0s"},
		{"@recheck", "look f closed", casework.Released, ""},
		{"@probation", "timer probation", casework.Released, "probation in 19m0s"}, // the fix was proven after the release
		{"@probation", "timer probation", casework.Closed, "mail closed to owner"},
		{"+1d", "look f vulnerable", casework.Closed, ""},
	}))
	if f := d.Findings[0]; f.State != finding.Closed || f.FixedAt == 0 {
		t.Errorf("the finding is %s", f.State)
	}
	if len(d.Case.Notices) != 2 || d.Case.Act != "" || d.Case.ReleasedAt == 0 {
		t.Errorf("%+v", d.Case)
	}
}

// Fixed after the first mail: two clean looks half an hour apart, two weeks, and never a warning.
func TestStoryOfAWeaknessThatIsFixedAtOnce(t *testing.T) {
	d := tell(t, opening(duty.Customer, "E", "f"), slices.Concat(toNotified, []chapter{
		{"+1h", "claim", casework.Acknowledged, "recheck in 0s"},
		{"+1m", "look f closed", casework.Acknowledged, "recheck in 30m0s"},
		{"+29m", "look f closed", casework.Acknowledged, "recheck in 1m0s"},
		{"@recheck", "look f closed", casework.Verified, proven},
		{"+13d", "timer probation", casework.Verified, "probation in 1d"}, // early: it is armed again
		{"@probation", "timer probation", casework.Closed, "mail closed to owner"},
	}))
	if d.Case.FinalAt != 0 || d.Case.QueuedAt != 0 {
		t.Errorf("%+v", d.Case)
	}
}

var stories = map[string]struct {
	party    duty.Party
	class    string
	chapters []chapter
}{
	"a fix before anybody was told is never spoken of": {duty.Customer, "E", []chapter{
		{"+0s", "opened f", casework.New, "recheck in 0s"},
		{"+1m", "look f vulnerable", casework.New, "mail notice to owner"},
		{"+1m", "look f closed", casework.New, "recheck in 30m0s"},
		{"@recheck", "look f closed", casework.Closed, quiet},
	}},
	"an address that changed hands before the notice drops the case": {duty.Customer, "E", []chapter{
		{"+0s", "opened f", casework.New, "recheck in 0s"},
		{"+1m", "discarded f", casework.Closed, quiet},
	}},
	"an address that changed hands after the notice is for a human": {duty.Customer, "E", slices.Concat(toNotified, []chapter{
		{"+1d", "discarded f", casework.OnHold, "mail held to operators, no due, no grace, no enforce"},
		{"+1d", "discarded f", casework.OnHold, ""},
		{"+9d", "timer due", casework.OnHold, ""},
	})},
	"a machine that is gone ends the case": {duty.Customer, "E", slices.Concat(toQueued, []chapter{
		{"+1m", "gone", casework.Moot,
			"no due, no grace, no recheck, no enforce, no hold, no start, no release, no probation, mail closed to owner"},
		{"+1m", "acted act-1", casework.Moot, ""},
	})},
	"silence at the deadline warns nobody": {duty.Customer, "E", slices.Concat(toNotified, []chapter{
		{"@due", "timer due", casework.Notified, "recheck in 0s"},
		{"+1m", "look f filtered", casework.Notified, "recheck in 1d, due in 1d"},
		{"@due", "timer due", casework.Notified, "recheck in 0s"},
		{"+1m", "look f filtered", casework.Notified, "blocked f, due in 1d"},
		{"@due", "timer due", casework.Notified, "recheck in 0s"},
		{"+1m", "look f vulnerable", casework.Overdue, "mail final_warning to owner"},
	})},
	"one clean look in the queue takes the consent back": {duty.Customer, "E", slices.Concat(toQueued, []chapter{
		{"+1m", "approve olga", casework.Queued, "enforce in 0s"},
		{"+1m", "look f closed", casework.FinalWarning, "recheck in 30m0s, no enforce, grace in 1h0m0s"},
		{"+1m", "acted act-1", casework.OnHold, "mail held to operators, no due, no grace, no enforce"}, // learnt late: not lost
	})},
	"a refusal needs a new consent": {duty.Customer, "E", slices.Concat(toQueued, []chapter{
		{"+1m", "approve olga", casework.Queued, "enforce in 0s"},
		{"+0s", "approve olga", casework.Queued, ""},
		{"+0s", "approve", casework.Queued, ""}, // nobody's consent is none
		{"+1m", "refused", casework.Queued, "mail refused to operators, no enforce"},
		{"+1h", "approve olga", casework.Queued, "enforce in 0s"},
	})},
	"the owner's claim is checked, not believed": {duty.Customer, "E", slices.Concat(toQueued, []chapter{
		{"+1m", "claim", casework.Queued, "recheck in 0s"},
		{"+1m", "look f vulnerable", casework.Queued, ""},
	})},
	"a request for release that proves wrong": {duty.Customer, "E", slices.Concat(toRestricted, []chapter{
		{"+1h", "claim", casework.Verifying, "recheck in 0s"},
		{"+9m", "claim", casework.Verifying, ""}, // at most one in ten minutes
		{"+1m", "look f vulnerable", casework.Restricted, "no release, recheck in 1d"},
		{"+1m", "claim", casework.Verifying, "recheck in 0s"},
		{"+1m", "look f filtered", casework.Restricted, "recheck in 1d, no release, recheck in 1d"},
		{"@recheck", "look f closed", casework.Restricted, "recheck in 10m0s"},
		{"@recheck", "look f filtered", casework.Restricted, "recheck in 1d, no release, recheck in 1d"}, // still only one clean look
	})},
	"a request soon after another is kept": {duty.Customer, "E", slices.Concat(toRestricted, []chapter{
		{"+1h", "claim", casework.Verifying, "recheck in 0s"},
		{"+1m", "look f vulnerable", casework.Restricted, "no release, recheck in 1d"},
		{"+2m", "claim", casework.Verifying, "recheck in 7m0s"},
		{"+1m", "claim", casework.Verifying, ""},
		{"@recheck", "look f closed", casework.Verifying, "recheck in 10m0s"},
	})},
	"a release that is proven wrong before it happens": {duty.Customer, "E", slices.Concat(toRestricted, []chapter{
		{"@recheck", "look f closed", casework.Restricted, "recheck in 10m0s"},
		{"@recheck", "look f closed", casework.Verifying, "release in 0s, no recheck"},
		{"+1m", "look f vulnerable", casework.Restricted, "no release, recheck in 1d"},
	})},
	"it comes back in probation: one notice and a day": {duty.Customer, "E", slices.Concat(toReleased, []chapter{
		{"+3d", "look f vulnerable", casework.Overdue, "no probation, mail relapse to owner"},
		{"+0s", "look f vulnerable", casework.Overdue, ""},
		{"+5m", "mail relapse", casework.FinalWarning, "grace in 1d"},
		{"+23h", "look f vulnerable", casework.FinalWarning, ""},
		{"@grace", "timer grace", casework.FinalWarning, "recheck in 0s"},
		{"+0s", "look f vulnerable", casework.Queued, "mail approval to operators"},
		{"+1m", "approve olga", casework.Queued, "enforce in 0s"},
		{"+1m", "acted act-2", casework.Restricted, "mail restricted to owner, recheck in 1d"},
	})},
	"it comes back after a fix without an act": {duty.Customer, "E", slices.Concat(toNotified, []chapter{
		{"+1h", "look f closed", casework.Notified, "recheck in 30m0s"},
		{"@recheck", "look f closed", casework.Verified, proven},
		{"+1d", "look f vulnerable", casework.Overdue, "no probation, mail relapse to owner"},
	})},
	"what the provider holds is escalated inside the provider": {duty.Provider, "E", []chapter{
		{"+0s", "opened f", casework.New, "recheck in 0s"},
		{"+1m", "look f vulnerable", casework.New, "mail notice to provider, mail status to owner"},
		{"+5m", "mail notice", casework.Notified, "due in 96h0m30s"},
		{"@due", "timer due", casework.Notified, "recheck in 0s"},
		{"+1m", "look f vulnerable", casework.Overdue, "mail escalation to provider, mail escalation to operators, mail status to owner"},
		{"+1m", "mail final_warning", casework.Overdue, ""},
		{"+9d", "look f vulnerable", casework.Overdue, ""},
		{"+1m", "look f closed", casework.Overdue, "recheck in 30m0s"},
		{"@recheck", "look f closed", casework.Verified, proven},
		{"+1d", "look f vulnerable", casework.Overdue, "no probation, mail relapse to provider, mail status to owner"},
		{"+1m", "mail relapse", casework.Overdue, ""},
		{"+9d", "look f vulnerable", casework.Overdue, ""},
	}},
	"what both hold is told to both and touches no machine": {duty.Shared, "E", []chapter{
		{"+0s", "opened f", casework.New, "recheck in 0s"},
		{"+1m", "look f vulnerable", casework.New, "mail notice to provider, mail notice to owner"},
		{"+5m", "mail notice", casework.Notified, "due in 96h0m30s"},
		{"@due", "timer due", casework.Notified, "recheck in 0s"},
		{"+1m", "look f vulnerable", casework.Overdue, "mail escalation to provider, mail escalation to operators"},
	}},
	"a medium one is reported and no more": {duty.Customer, "M", []chapter{
		{"+0s", "opened f", casework.New, "recheck in 0s"},
		{"+1m", "look f vulnerable", casework.New, "mail notice to owner, recheck in 1d"},
		{"+5m", "mail notice", casework.Notified, "due in 2160h0m30s"},
		{"@due", "look f vulnerable", casework.Overdue, "mail escalation to operators"},
		{"+1m", "mail final_warning", casework.Overdue, ""},
	}},
	"a high one ends with an operator": {duty.Customer, "H", []chapter{
		{"+0s", "opened f", casework.New, "recheck in 0s"},
		{"+1m", "look f vulnerable", casework.New, "mail notice to owner, recheck in 1d"},
		{"+5m", "mail notice", casework.Notified, "due in 336h0m30s"},
		{"@due", "look f vulnerable", casework.Overdue, "mail final_warning to owner"},
		{"+1m", "mail final_warning", casework.FinalWarning, "grace in 3d"},
		{"@grace", "look f vulnerable", casework.FinalWarning, "mail escalation to operators"},
	}},
}

func TestStories(t *testing.T) {
	for name, s := range stories {
		t.Run(name, func(t *testing.T) { tell(t, opening(s.party, s.class, "f"), s.chapters) })
	}
}

// A case closed before anybody was told closes its findings: what comes back is a new claim.
func TestNoFindingStaysBehindInAClosedCase(t *testing.T) {
	for _, name := range []string{"a fix before anybody was told is never spoken of", "a machine that is gone ends the case", "an address that changed hands before the notice drops the case"} {
		s := stories[name]
		for _, f := range tell(t, opening(s.party, s.class, "f"), s.chapters).Findings {
			if !slices.Contains([]finding.State{finding.Closed, finding.Dropped, finding.Moot}, f.State) {
				t.Errorf("%s: the finding is %s", name, f.State)
			}
		}
	}
}

// An act that is learnt late is on the case, so that it can be undone.
func TestALateActIsNotLost(t *testing.T) {
	s := stories["one clean look in the queue takes the consent back"]
	if d := tell(t, opening(s.party, s.class, "f"), s.chapters); d.Case.Act != "act-1" || d.Case.Hold == "" {
		t.Errorf("%+v", d.Case)
	}
}

// Another finding of the case that is seen does not stand in for the one that is open.
func TestOnlyAnOpenFindingMovesACase(t *testing.T) {
	two := func() casework.Dossier {
		d := tell(t, opening(duty.Customer, "E", "f"), toFinal)
		g := d.Findings[0]
		g.ID, g.State = "g", finding.AttributionHold
		d.Findings = append(d.Findings, g)
		return d
	}
	p := rules(t)
	for name, s := range map[string]finding.Sighting{
		"a finding on hold":      {Finding: "g", Verdict: finding.Vulnerable, At: start + 30*day},
		"a finding of nobody's":  {Finding: "x", Verdict: finding.Vulnerable, At: start + 30*day},
		"a look before the end":  {Finding: "f", Verdict: finding.Vulnerable, At: two().Case.GraceEnds - 1},
		"a look that is too old": {Finding: "f", Verdict: finding.Vulnerable, At: start},
	} {
		if d, _ := casework.Next(two(), casework.Looked{Sighting: s}, p, start+30*day); d.Case.State != casework.FinalWarning {
			t.Errorf("%s: the case is %s", name, d.Case.State)
		}
	}
}

func TestPromise(t *testing.T) {
	p := rules(t)
	base := casework.Case{Party: duty.Customer, Class: "E", Zone: probe.Internet, State: casework.New}
	institution, running, warned, late, provider, medium := base, base, base, base, base, base
	institution.Zone = probe.Institution
	running.State, running.ClockFrom, running.Due = casework.Notified, start, start+day
	late.State, late.ClockFrom, late.Due = casework.Notified, start-9*day, start-day
	warned.State, warned.GraceEnds = casework.FinalWarning, start+hour
	provider.Party = duty.Provider
	medium.Class = "M"
	up := 30 * minute / 60 // start is 30 s past a full minute
	for _, c := range []struct {
		name string
		c    casework.Case
		s    casework.Step
		want int64
	}{
		{"notice, internet", base, casework.StepNotice, start + 4*day + up},
		{"notice, institution only", institution, casework.StepNotice, start + 7*day + up},
		{"a second notice states the clock that runs", running, casework.StepNotice, start + day + up},
		{"and never a time that is over", late, casework.StepNotice, start + up},
		{"final warning", base, casework.StepFinal, start + day + up},
		{"a second final warning", warned, casework.StepFinal, start + hour + up},
		{"relapse", base, casework.StepRelapse, start + day + up},
		{"a relapse the provider holds", provider, casework.StepRelapse, 0},
		{"a relapse that is only reported", medium, casework.StepRelapse, 0},
		{"given back", base, casework.StepReleased, 0},
		{"held", base, casework.StepHeld, 0},
	} {
		if got := casework.Promise(c.c, c.s, p, start); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, time.Duration(got-start)*time.Microsecond, time.Duration(c.want-start)*time.Microsecond)
		}
	}
}

// Two recipients, the second one's mail late: what either was promised holds.
func TestTheLatestPromiseHolds(t *testing.T) {
	p := rules(t)
	d := tell(t, opening(duty.Customer, "E", "f"), toNotified)
	promised := d.Case.Due + 2*hour
	d, effects := casework.Next(d, casework.MailAccepted{Notice: casework.Notice{Step: casework.StepNotice, Recipient: "b@example.org", MessageID: "b", AcceptedAt: start + 3*hour, Deadline: promised}}, p, start+3*hour)
	if d.Case.Due != promised || !slices.Contains(effects, casework.Effect(casework.Set{Timer: casework.TimerDue, At: promised})) {
		t.Errorf("due %d, promised %d, %v", d.Case.Due, promised, effects)
	}
}

func TestSee(t *testing.T) {
	p := rules(t)
	type look struct {
		at int64
		v  finding.Verdict
	}
	for _, c := range []struct {
		name  string
		from  finding.State
		grade finding.Grade
		looks []look
		want  finding.State
	}{
		{"proved at once", finding.Suspicion, finding.Proved, []look{{0, finding.Vulnerable}}, finding.Open},
		{"observed once", finding.Suspicion, finding.Observed, []look{{0, finding.Vulnerable}, {9 * minute, finding.Vulnerable}}, finding.Suspicion},
		{"observed twice, ten minutes apart", finding.Suspicion, finding.Observed, []look{{0, finding.Vulnerable}, {10 * minute, finding.Vulnerable}}, finding.Open},
		{"not confirmed", finding.Suspicion, finding.Observed, []look{{minute, finding.ClosedPort}}, finding.Dropped},
		{"one clean look", finding.Open, finding.Proved, []look{{hour, finding.ClosedPort}}, finding.Open},
		{"the same clean look twice", finding.Open, finding.Proved, []look{{hour, finding.ClosedPort}, {hour, finding.ClosedPort}}, finding.Open},
		{"two clean looks too close", finding.Open, finding.Proved, []look{{hour, finding.ClosedPort}, {hour + 29*minute, finding.ClosedPort}}, finding.Open},
		{"two clean looks, of two kinds", finding.Open, finding.Proved, []look{{hour, finding.Removed}, {hour + 30*minute, finding.NotVulnerable}}, finding.Fixed},
		{"a bad one between", finding.Open, finding.Proved, []look{{hour, finding.ClosedPort}, {hour + minute, finding.Vulnerable}, {2 * hour, finding.ClosedPort}}, finding.Open},
		{"clean and bad at one time", finding.Open, finding.Proved, []look{{hour, finding.Vulnerable}, {hour, finding.ClosedPort}, {2 * hour, finding.ClosedPort}}, finding.Open},
		{"silence between says nothing", finding.Claimed, finding.Proved, []look{{hour, finding.ClosedPort}, {hour + minute, finding.NoAnswer}, {2 * hour, finding.ClosedPort}}, finding.Fixed},
		{"an answer that proves neither", finding.Open, finding.Proved, []look{{hour, finding.Inconclusive}, {9 * hour, finding.Inconclusive}}, finding.Open},
		{"silent for a day", finding.Open, finding.Proved, []look{{hour, finding.NoAnswer}, {hour + day, finding.NoAnswer}}, finding.Unverifiable},
		{"silent for less", finding.Claimed, finding.Proved, []look{{hour, finding.NoAnswer}, {day, finding.NoAnswer}}, finding.Claimed},
		{"silent for a year", finding.Unverifiable, finding.Proved, []look{{day, finding.NoAnswer}, {365 * day, finding.NoAnswer}}, finding.Unverifiable},
		{"answers again, bad", finding.Unverifiable, finding.Proved, []look{{day, finding.Vulnerable}}, finding.Open},
		{"answers again, clean once", finding.Unverifiable, finding.Proved, []look{{day, finding.ClosedPort}}, finding.Open},
		{"claimed, and not true", finding.Claimed, finding.Proved, []look{{day, finding.Vulnerable}}, finding.Open},
		{"comes back", finding.Open, finding.Proved, []look{{hour, finding.ClosedPort}, {2 * hour, finding.ClosedPort}, {3 * hour, finding.Vulnerable}}, finding.Open},
		{"an old look learnt late does not bring it back", finding.Open, finding.Proved, []look{{hour, finding.ClosedPort}, {2 * hour, finding.ClosedPort}, {90 * minute, finding.Vulnerable}}, finding.Fixed},
		{"an old clean look learnt late proves nothing", finding.Open, finding.Proved, []look{{3 * hour, finding.Vulnerable}, {hour, finding.ClosedPort}, {4 * hour, finding.ClosedPort}}, finding.Open},
		{"whose it is is in doubt", finding.AttributionHold, finding.Proved, []look{{hour, finding.ClosedPort}, {2 * hour, finding.ClosedPort}}, finding.AttributionHold},
		{"closed stays closed", finding.Closed, finding.Proved, []look{{hour, finding.Vulnerable}}, finding.Closed},
	} {
		f := finding.Finding{State: c.from, Grade: c.grade, FirstSeen: start, LastSeen: start}
		for _, l := range c.looks {
			f = casework.See(f, finding.Sighting{At: start + l.at, Verdict: l.v}, p)
		}
		if f.State != c.want {
			t.Errorf("%s: %s, want %s", c.name, f.State, c.want)
		}
	}
}

func TestResolve(t *testing.T) {
	g := func(s ...asset.GroupID) []asset.GroupID { return s }
	o := casework.PortOrder{Before: g("a", "b"), After: g("q"), Revision: 7}
	for _, c := range []struct {
		name  string
		order casework.PortOrder
		port  asset.Port
		want  casework.Outcome
	}{
		{"done", o, asset.Port{PortSecurity: true, Groups: g("q"), Revision: 8}, casework.Happened},
		{"done, and touched since", o, asset.Port{PortSecurity: true, Groups: g("q"), Revision: 12}, casework.Happened},
		{"as before", o, asset.Port{PortSecurity: true, Groups: g("b", "a"), Revision: 7}, casework.Never},
		{"as before, but somebody wrote", o, asset.Port{PortSecurity: true, Groups: g("a", "b"), Revision: 8}, casework.Unclear},
		{"the wish without a write", o, asset.Port{PortSecurity: true, Groups: g("q"), Revision: 7}, casework.Unclear},
		{"something else", o, asset.Port{PortSecurity: true, Groups: g("a", "q"), Revision: 8}, casework.Unclear},
		{"no groups at all", o, asset.Port{PortSecurity: true, Revision: 8}, casework.Unclear},
		{"nothing was to change", casework.PortOrder{Before: g("a"), After: g("a"), Revision: 7},
			asset.Port{PortSecurity: true, Groups: g("a"), Revision: 7}, casework.Happened},
		{"a group twice is not once", o, asset.Port{PortSecurity: true, Groups: g("q", "q"), Revision: 8}, casework.Unclear},
		{"port security is off since", o, asset.Port{Groups: g("q"), Revision: 9}, casework.Unclear},
		{"off before, and on the group now", casework.PortOrder{After: g("q"), Unsecured: true, Revision: 7},
			asset.Port{PortSecurity: true, Groups: g("q"), Revision: 8}, casework.Happened},
		{"off before, and still", casework.PortOrder{After: g("q"), Unsecured: true, Revision: 7}, asset.Port{Revision: 7}, casework.Never},
		{"given back without it", casework.PortOrder{Before: g("q"), Unsecures: true, Revision: 7}, asset.Port{Revision: 8}, casework.Happened},
	} {
		if got := c.order.Resolve(c.port); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestThreeWay(t *testing.T) {
	g := strings.Fields
	ids := func(ss []string) []asset.GroupID {
		var out []asset.GroupID
		for _, s := range ss {
			out = append(out, asset.GroupID(s))
		}
		return out
	}
	for _, c := range []struct{ name, saved, applied, current, gone, want string }{
		{"exactly as it was", "a b", "q", "q", "", "a b"},
		{"what the owner added stays", "a b", "q", "q c", "", "a b c"},
		{"what the owner took back early is there once", "a b", "q", "q a", "", "a b"},
		{"a deleted group cannot come back", "a b", "q", "q", "b", "a"},
		{"the owner threw the quarantine off", "a", "q", "c", "", "a c"},
		{"a port that had none gets none", "", "q", "q", "", ""},
		{"the quarantine never stays", "a", "q r", "q r", "", "a"},
		{"an added group that is gone", "a", "q", "q c", "c", "a"},
		{"a script had put the quarantine beside other groups before", "a q", "q", "q", "", "a"},
		{"what was there twice is there once", "a a", "q", "q", "", "a"},
	} {
		got := casework.ThreeWay(ids(g(c.saved)), ids(g(c.applied)), ids(g(c.current)), func(x asset.GroupID) bool { return !slices.Contains(g(c.gone), string(x)) })
		if !slices.Equal(got, ids(g(c.want))) {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
	}
}

func TestGraver(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{{"E", "C", true}, {"C", "E", false}, {"E", "E", false}, {"X", "E", true}, {"H", "", true}, {"", "H", false}, {"?", "L", false}, {"L", "?", true}} {
		if got := casework.Graver(c.a, c.b); got != c.want {
			t.Errorf("Graver(%q, %q) = %v", c.a, c.b, got)
		}
	}
}
