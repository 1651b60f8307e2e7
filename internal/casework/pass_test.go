package casework_test

import (
	"slices"
	"testing"

	"demarc/internal/casework"
	"demarc/internal/casework/gate"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/probe"
)

// inCase is a customer's case of class E, told on the first day, with an act where it is restricted.
func inCase(state casework.State, fs ...finding.Finding) casework.Dossier {
	c := casework.Case{ID: "c", Party: duty.Customer, Track: casework.Vulnerability, Class: "E", Zone: probe.Internet, State: state, OpenedAt: start, ClockFrom: start, Due: start + 4*day,
		Notices: []casework.Notice{{
			Step:       casework.StepNotice,
			AcceptedAt: start,
			Announced:  casework.Announced{Class: "E", Findings: []string{"f", "g"}},
		}},
		Approvals: []casework.Approval{{By: "olga", At: start + 6*day}}}
	if state == casework.Restricted || state == casework.Verifying {
		c.Act, c.RestrictedAt = "act", start+6*day
	}
	return casework.Dossier{Case: c, Findings: fs}
}

func seen(id, class string, grade finding.Grade, state finding.State) finding.Finding {
	return finding.Finding{ID: id, Class: class, Grade: grade, State: state, FirstSeen: start - hour, Key: finding.Key{Zone: probe.Internet}}
}

// What passes leaves nothing behind that its leaving does not justify: an act in force is undone unless what remains is a reason of
// its own, an act that waited is earned anew, and what is fixed is watched to the end.
func TestWhatRemainsWhenAFindingPasses(t *testing.T) {
	p, now := rules(t), start+7*day
	f := seen("f", "E", finding.Proved, finding.Open)
	for name, c := range map[string]struct {
		from   casework.State
		others []finding.Finding
		want   casework.State
		handed bool
	}{
		"nothing else":                               {casework.Notified, nil, casework.Closed, false},
		"nothing else, restricted":                   {casework.Restricted, nil, casework.Verifying, true},
		"nothing else, queued":                       {casework.Queued, nil, casework.Closed, false},
		"a lesser one, restricted":                   {casework.Restricted, []finding.Finding{seen("g", "M", finding.Observed, finding.Open)}, casework.Verifying, true},
		"one that is only suspected, restricted":     {casework.Restricted, []finding.Finding{seen("g", "E", finding.Proved, finding.Suspicion)}, casework.Verifying, true},
		"one of its own right, restricted":           {casework.Restricted, []finding.Finding{seen("g", "E", finding.Proved, finding.Open)}, casework.Restricted, false},
		"one that is fixed, restricted":              {casework.Restricted, []finding.Finding{seen("g", "E", finding.Proved, finding.Fixed)}, casework.Verifying, false},
		"one that is fixed":                          {casework.Notified, []finding.Finding{seen("g", "E", finding.Proved, finding.Fixed)}, casework.Verified, false},
		"one that waits for an act":                  {casework.Queued, []finding.Finding{seen("g", "E", finding.Proved, finding.Open)}, casework.FinalWarning, false},
		"one of its own right that came later, held": {casework.Restricted, []finding.Finding{late(seen("g", "E", finding.Proved, finding.Open))}, casework.Verifying, true},
	} {
		t.Run(name, func(t *testing.T) {
			d, effects := casework.Next(inCase(c.from, append([]finding.Finding{f}, c.others...)...), casework.Passed{Findings: []string{"f"}, Why: "a contract"}, p, now)
			if d.Case.State != c.want || d.Case.Handed != c.handed || len(d.Findings) != len(c.others) || d.Case.Passed != "a contract" || len(d.Case.Approvals) > 0 && c.from == casework.Queued && d.Case.State != casework.Closed {
				t.Errorf("%s, handed %v, %d findings, approvals %v", d.Case.State, d.Case.Handed, len(d.Findings), d.Case.Approvals)
			}
			for _, to := range []casework.Audience{casework.Owner, casework.Provider} {
				if !slices.Contains(effects, casework.Effect(casework.Send{Step: casework.StepPassed, To: to})) {
					t.Errorf("the %s is not told", to)
				}
			}
		})
	}
}

func late(f finding.Finding) finding.Finding {
	f.FirstSeen = start + 2*day
	return f
}

// A machine that is free again because of what passed leaves what remains in a new round, and loses none of it.
func TestWhatRemainsOnAFreedMachineStartsAnew(t *testing.T) {
	p, now := rules(t), start+7*day
	d, _ := casework.Next(inCase(casework.Restricted, seen("f", "E", finding.Proved, finding.Open), seen("g", "M", finding.Observed, finding.Open)), casework.Passed{Findings: []string{"f"}, Why: "a contract"}, p, now)
	d, effects := casework.Next(d, casework.Restored{}, p, now+minute)
	if d.Case.State != casework.New || d.Case.Act != "" || d.Case.Handed || d.Case.Class != "M" || len(d.Findings) != 1 || d.Findings[0].State != finding.Open || d.Case.Due != 0 {
		t.Errorf("%+v", d)
	}
	if !slices.Contains(effects, casework.Effect(casework.Set{Timer: casework.TimerRecheck, At: now + minute})) {
		t.Errorf("nobody looks at it: %v", effects)
	}
}

// What comes from another party is told at once and has time of its own, whatever the case it comes to had come to: no notice,
// grace or approval given for others counts for it.
func TestWhatIsReceivedIsToldAndHasItsTime(t *testing.T) {
	p, now := rules(t), start+7*day
	fix := casework.FixTime(casework.Case{Class: "E", Zone: probe.Internet}, p)
	for _, c := range []struct {
		from  casework.State
		given int64
		want  casework.State
		due   int64
	}{
		{casework.New, 0, casework.New, 0}, {casework.Notified, 0, casework.Notified, now + fix}, {casework.Acknowledged, 2 * day, casework.Acknowledged, now + 2*day},
		{casework.Overdue, 0, casework.New, 0}, {casework.FinalWarning, 0, casework.New, 0}, {casework.Queued, 0, casework.New, 0}, {casework.Verified, 0, casework.New, 0}, {casework.Released, 2 * day, casework.New, 0},
	} {
		in := inCase(c.from, seen("f", "E", finding.Proved, finding.Unverifiable), seen("g", "H", finding.Proved, finding.Fixed))
		if c.from == casework.New {
			in.Case.Notices, in.Case.ClockFrom, in.Case.Due = nil, 0, 0
		}
		d, effects := casework.Next(in, casework.Received{Findings: []string{"f"}, Time: c.given}, p, now)
		if d.Case.State != c.want || d.Case.Due != c.due || d.Case.Received != now || c.want == casework.New && (len(d.Case.Approvals) > 0 && c.from != casework.New || d.Case.Given != c.given) {
			t.Errorf("from %s: %+v", c.from, d.Case)
		}
		if !slices.Contains(effects, casework.Effect(casework.Send{Step: casework.StepNotice, To: casework.Owner})) {
			t.Errorf("from %s nobody is told: %v", c.from, effects)
		}
		if c.want == casework.New {
			told, _ := casework.Next(d, casework.MailAccepted{Notice: casework.Notice{Step: casework.StepNotice, To: casework.Owner, Recipient: "a", MessageID: "m", AcceptedAt: now}}, p, now)
			if want := now + casework.FixTime(d.Case, p); told.Case.State != casework.Notified || told.Case.Due != want || c.given > 0 && told.Case.Due != now+c.given {
				t.Errorf("from %s, once told: %s, due in %d", c.from, told.Case.State, told.Case.Due-now)
			}
		}
	}
}

// A party that gets back what it had given away within a month goes on where it was, with two days at least; else it has the
// whole time.
func TestTimeAgain(t *testing.T) {
	charge := func(at int64, p duty.Party, told bool, left int64) finding.Charge {
		return finding.Charge{At: at, Duty: duty.Resolution{Party: p}, Told: told, Left: left}
	}
	for name, c := range map[string]struct {
		past []finding.Charge
		want int64
	}{
		"never held":      {[]finding.Charge{charge(0, duty.Provider, false, 0)}, 0},
		"much was left":   {[]finding.Charge{charge(0, duty.Customer, false, 0), charge(10*day, duty.Provider, true, 3*day)}, 3 * day},
		"little was left": {[]finding.Charge{charge(0, duty.Customer, false, 0), charge(10*day, duty.Provider, true, minute)}, 2 * day},
		"never told":      {[]finding.Charge{charge(0, duty.Customer, false, 0), charge(10*day, duty.Provider, false, 0)}, 0},
		"long ago":        {[]finding.Charge{charge(0, duty.Customer, false, 0), charge(-25*day, duty.Provider, true, 3*day)}, 0},
		"the last time counts": {[]finding.Charge{charge(0, duty.Customer, false, 0), charge(1*day, duty.Provider, true, 3*day), charge(2*day, duty.Customer, true, 0),
			charge(3*day, duty.Shared, true, 5*day)}, 5 * day},
	} {
		if got := finding.TimeAgain(c.past, duty.Customer, 20*day, 2*day, 30*day); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	held := []finding.Charge{charge(1, duty.Customer, false, 0), charge(2, duty.Provider, true, 0), charge(3, duty.Customer, true, 0), charge(4, duty.Customer, true, 0)}
	if got := finding.HeldSince(held, duty.Customer); got != 3 {
		t.Errorf("held since %d", got)
	}
	if got := finding.HeldSince(held[:2], duty.Customer); got != 0 {
		t.Errorf("held by another since %d", got)
	}
}

// A case that is being given back, and was held meanwhile, is still being given back when a person lets it go on.
func TestAHandedCaseThatWasHeldIsGivenBack(t *testing.T) {
	p, now := rules(t), start+7*day
	d, _ := casework.Next(inCase(casework.Restricted, seen("f", "E", finding.Proved, finding.Open)), casework.Passed{Findings: []string{"f"}, Why: "a contract"}, p, now)
	d, _ = casework.Next(d, casework.Hold{Why: "unclear"}, p, now+minute)
	d, effects := casework.Next(d, casework.Resume{By: "olga"}, p, now+hour)
	if d.Case.State != casework.Verifying || !slices.Contains(effects, casework.Effect(casework.Set{Timer: casework.TimerRelease, At: now + hour})) {
		t.Errorf("%s, %v", d.Case.State, effects)
	}
}

// What is left when the gravest has passed is no act of its own grace: it begins anew. So does what the gate will never let through
// as it is.
func TestWhatCanNotPassTheGateBeginsAnew(t *testing.T) {
	p, now := rules(t), start+7*day
	in := inCase(casework.FinalWarning, seen("f", "E", finding.Proved, finding.Open), seen("g", "C", finding.Proved, finding.Open))
	if d, _ := casework.Next(in, casework.Passed{Findings: []string{"f"}, Why: "a contract"}, p, now); d.Case.State != casework.New || d.Case.Class != "C" || d.Case.GraceEnds != 0 {
		t.Errorf("what is left: %+v", d.Case)
	}
	untold, short, unseen := toGate(in), toGate(in), toGate(in)
	untold.Findings[0].Held = now
	short.Case.FinalAt, short.Case.GraceEnds = now-hour, now
	unseen.Findings[0].Looks = nil
	for name, facts := range map[string]gate.Facts{"told": untold, "grace": short, "repeated-scans": unseen} {
		i := slices.IndexFunc(gate.Decide(facts, p).Blocks, func(b casework.Refusal) bool { return b.Condition == name })
		if i < 0 {
			t.Errorf("the gate says nothing under %s", name)
			continue
		}
		block := gate.Decide(facts, p).Blocks[i]
		queued := inCase(casework.Queued, seen("f", "E", finding.Proved, finding.Open))
		if d, _ := casework.Next(queued, casework.Refused{Blocks: []casework.Refusal{block}}, p, now); d.Case.State != casework.New {
			t.Errorf("refused for %q, the case is %s", block, d.Case.State)
		}
	}
}

// toGate is what the gate would be told of a case whose gravest finding was seen today.
func toGate(d casework.Dossier) gate.Facts {
	f := d.Findings[0]
	return gate.Facts{Now: start + 7*day, Case: d.Case, Findings: []gate.Finding{{ID: f.ID, State: f.State, Grade: f.Grade, Class: f.Class, Party: duty.Customer, Held: start - day,
		Looks: []finding.Sighting{{At: start - hour, Verdict: finding.Vulnerable}, {At: start + 7*day, Verdict: finding.Vulnerable}}}}}
}

// Time that is given for what returns is for that alone, and what is only suspected resets nothing and ends no watch.
func TestWhatIsReceivedChangesNothingElse(t *testing.T) {
	p, now := rules(t), start+7*day
	fresh := inCase(casework.New, seen("f", "E", finding.Proved, finding.Open), seen("g", "E", finding.Proved, finding.Open))
	fresh.Case.Notices, fresh.Case.ClockFrom, fresh.Case.Due = nil, 0, 0
	if d, _ := casework.Next(fresh, casework.Received{Findings: []string{"f"}, Time: 2 * day}, p, now); d.Case.Given != 0 {
		t.Errorf("what was there has %d instead of the time of its class", d.Case.Given)
	}
	watched := inCase(casework.Verified, seen("f", "E", finding.Proved, finding.Suspicion), seen("g", "E", finding.Proved, finding.Fixed))
	watched.Case.ProbationEnds = now + 10*day
	if d, _ := casework.Next(watched, casework.Received{Findings: []string{"f"}}, p, now); d.Case.State != casework.Verified || d.Case.ProbationEnds != now+10*day {
		t.Errorf("a suspicion made of a watched case: %+v", d.Case)
	}
	restricted := inCase(casework.Restricted, seen("f", "E", finding.Proved, finding.Open), seen("g", "E", finding.Proved, finding.Open))
	restricted.Case.Received = start + day // and nothing was told since
	if d, _ := casework.Next(restricted, casework.Passed{Findings: []string{"f"}, Why: "a contract"}, p, now); !d.Case.Handed {
		t.Errorf("what was never told keeps the machine off the network: %+v", d.Case)
	}
	anew := inCase(casework.New, seen("f", "E", finding.Proved, finding.Open))
	anew.Case.Told = true // in an earlier round
	if _, effects := casework.Next(anew, casework.Passed{Findings: []string{"f"}, Why: "a contract"}, p, now); !slices.Contains(effects, casework.Effect(casework.Send{Step: casework.StepPassed, To: casework.Owner})) {
		t.Errorf("who was told once does not hear that it passed: %v", effects)
	}
}
