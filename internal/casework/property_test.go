package casework_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/policy"
)

var (
	verdicts = []finding.Verdict{finding.Vulnerable, finding.NotVulnerable, finding.ClosedPort, finding.Removed, finding.NoAnswer, finding.Inconclusive}
	steps    = []casework.Step{casework.StepNotice, casework.StepFinal, casework.StepRestricted, casework.StepReleased, casework.StepClosed, casework.StepRelapse, casework.StepEscalation, casework.StepApproval, casework.StepRefused, casework.StepHeld,
		casework.StepTampered, casework.StepWithdrawn, casework.StepPassed, casework.StepStatus}
	timers = []casework.Timer{casework.TimerRecheck, casework.TimerDue, casework.TimerGrace, casework.TimerEnforce, casework.TimerRelease, casework.TimerProbation, casework.TimerHold, casework.TimerStart}
	pauses = []int64{0, minute, 10 * minute, 31 * minute, hour, 5 * hour, day + minute, 4*day + hour, 15 * day}
)

// history is what the test itself remembers of a case, to hold against what the case says.
type history struct {
	looks    map[string][]finding.Sighting // those that counted, by finding
	promised map[casework.Step]int64       // the latest deadline told in this round
}

// negatives recounts the clean looks at a finding since the last bad one: how many, over which span.
func (h history) negatives(id string) (n int, span int64) {
	var bad int64
	clean := map[int64]bool{}
	for _, l := range h.looks[id] {
		if l.Verdict == finding.Vulnerable {
			bad = max(bad, l.At)
		}
	}
	for _, l := range h.looks[id] {
		if l.Verdict.Negative() && l.At > bad {
			clean[l.At] = true
		}
	}
	if len(clean) == 0 {
		return 0, 0
	}
	at := slices.Sorted(maps.Keys(clean))
	return len(at), at[len(at)-1] - at[0]
}

// play draws a case and a random run of events, and shows every step to watch. Near the ladder's rungs it prefers the
// events that lead on, so that every state is met.
func play(t *rapid.T, party duty.Party, looks []finding.Verdict, watch func(before, after casework.Dossier, ev casework.Event, effects []casework.Effect, h history, now int64)) {
	p := rules(t)
	ids := []string{"f", "g"}[:rapid.IntRange(1, 2).Draw(t, "findings")]
	d := opening(party, rapid.SampledFrom([]string{"E", "C", "H", "M"}).Draw(t, "class"), ids...)
	h := history{looks: map[string][]finding.Sighting{}, promised: map[casework.Step]int64{}}
	now := start
	for i := range rapid.IntRange(1, 60).Draw(t, "events") {
		now += rapid.SampledFrom(pauses).Draw(t, "pause")
		ev := event(t, d, p, looks, now, i)
		before := clone(d)
		after, effects := casework.Next(d, ev, p, now)
		if !reflect.DeepEqual(d, before) {
			t.Fatalf("%T changed its argument", ev)
		}
		h.remember(before, ev)
		watch(before, after, ev, effects, h, now)
		if after.Case.Stopped && after.Case.Act == "" {
			t.Fatalf("stopped without an order, by %T", ev)
		}
		again, _ := casework.Next(after, ev, p, now)
		if !reflect.DeepEqual(again, after) {
			t.Fatalf("%T %+v twice is not once:\n%+v\n%+v", ev, ev, after, again)
		}
		d = after
	}
}

func event(t *rapid.T, d casework.Dossier, p *policy.Policy, looks []finding.Verdict, now int64, n int) casework.Event {
	look := func(v finding.Verdict, at int64) casework.Event {
		return casework.Looked{Sighting: finding.Sighting{Finding: rapid.SampledFrom([]string{"f", "f", "g", "x"}).Draw(t, "finding"), At: at, Verdict: v, Facts: "facts"}}
	}
	mail := func(s casework.Step) casework.Event {
		return casework.MailAccepted{Notice: casework.Notice{
			Step:       s,
			To:         casework.Owner,
			Recipient:  rapid.SampledFrom([]string{"a", "b"}).Draw(t, "to"),
			MessageID:  fmt.Sprint(s, n),
			AcceptedAt: now,
			Deadline:   casework.Promise(d.Case, s, p, now),
			Announced:  casework.Announced{End: casework.Announces(d.Case, s, p)},
		}}
	}
	if rapid.IntRange(0, 2).Draw(t, "leads on") > 0 && slices.Contains(looks, finding.Vulnerable) {
		switch d.Case.State {
		case casework.New:
			return mail(casework.StepNotice)
		case casework.Overdue:
			if d.Case.RelapsedAt > 0 {
				return mail(casework.StepRelapse)
			}
			return mail(casework.StepFinal)
		case casework.Notified, casework.Acknowledged, casework.FinalWarning:
			return look(finding.Vulnerable, now)
		case casework.Queued:
			return casework.Acted{Act: fmt.Sprint("act-", n), Stopped: rapid.Bool().Draw(t, "stopped")}
		case casework.Restricted:
			return look(looks[rapid.IntRange(0, len(looks)-1).Draw(t, "verdict")], now)
		case casework.Verifying:
			return casework.Restored{}
		case casework.Released, casework.Verified, casework.Closed, casework.OnHold, casework.Moot:
		}
	}
	switch rapid.IntRange(0, 15).Draw(t, "event") {
	case 0:
		return casework.Opened{Finding: "f"}
	case 1, 2, 3, 4, 5:
		return look(rapid.SampledFrom(looks).Draw(t, "verdict"), now-rapid.SampledFrom([]int64{0, 0, 0, minute, hour, 2 * day}).Draw(t, "late"))
	case 6, 7:
		return mail(rapid.SampledFrom(steps).Draw(t, "step"))
	case 8, 9:
		return casework.Fired{Timer: rapid.SampledFrom(timers).Draw(t, "timer")}
	case 10:
		return casework.Claim{By: "owner"}
	case 11:
		return casework.Approve{By: rapid.SampledFrom([]string{"", "olga", "otto"}).Draw(t, "who")}
	case 12:
		return casework.Acted{Act: fmt.Sprint("act-", n), Stopped: rapid.Bool().Draw(t, "stopped")}
	case 13:
		return casework.Restored{}
	case 14:
		return casework.Acknowledgement{By: "owner"}
	}
	switch rapid.IntRange(0, 24).Draw(t, "rare event") {
	case 10, 11:
		return casework.Passed{Findings: rapid.SampledFrom([][]string{{"f"}, {"g"}, {"x"}, {"f", "g"}}).Draw(t, "findings"), Why: "a contract begins"}
	case 12, 13:
		return casework.Received{Findings: rapid.SampledFrom([][]string{{"f"}, {"g"}, {"x"}, {"f", "g"}}).Draw(t, "findings"), Time: rapid.SampledFrom([]int64{0, 2 * day, 400 * day}).Draw(t, "time")}
	case 0:
		return casework.Hold{Why: "doubt"}
	case 1:
		return casework.Discarded{Finding: rapid.SampledFrom([]string{"f", "g", "x"}).Draw(t, "finding"), Why: "moved"}
	case 2:
		return casework.Gone{}
	case 3, 4:
		return casework.Tampered{}
	case 5, 6:
		return casework.Held{Act: fmt.Sprint("act-", n)}
	case 7, 8:
		return casework.Started{}
	case 9:
		return casework.Hold{Why: "unclear", Act: fmt.Sprint("act-", n), Stopped: rapid.Bool().Draw(t, "stopped")}
	}
	return casework.Refused{Blocks: []casework.Refusal{{Condition: "budget", Reason: "spent"}}}
}

func clone(d casework.Dossier) casework.Dossier {
	d.Findings = slices.Clone(d.Findings)
	d.Case.Notices = slices.Clone(d.Case.Notices)
	d.Case.Approvals = slices.Clone(d.Case.Approvals)
	d.Case.Blocks = slices.Clone(d.Case.Blocks)
	return d
}

// remember keeps the look or promise of an event, if it counted in the state it met.
func (h history) remember(d casework.Dossier, ev casework.Event) {
	switch e := ev.(type) {
	case casework.Looked:
		s := e.Sighting
		for _, l := range h.looks[s.Finding] {
			if l.At > s.At && l.Verdict != finding.Inconclusive && s.Verdict == finding.Vulnerable {
				return // an old look says nothing any more
			}
		}
		h.looks[s.Finding] = append(h.looks[s.Finding], s)
	case casework.MailAccepted:
		open := map[casework.Step][]casework.State{
			casework.StepNotice:  {casework.New, casework.Notified, casework.Acknowledged},
			casework.StepFinal:   {casework.Overdue, casework.FinalWarning},
			casework.StepRelapse: {casework.Overdue, casework.FinalWarning},
		}
		if e.Notice.Step == casework.StepRelapse && d.Case.RelapsedAt == 0 {
			return // no such mail is written
		}
		if slices.Contains(open[e.Notice.Step], d.Case.State) {
			h.promised[e.Notice.Step] = max(h.promised[e.Notice.Step], e.Notice.Deadline)
		}
	}
}

// The laws of the ladder, over any run of events.
func TestTheLadder(t *testing.T) {
	p := rules(t)
	met := map[casework.State]bool{}
	// One round may miss a rare state; what no round of many meets, no run can reach.
	for round := 0; round < 50 && !metAll(met); round++ {
		climb(t, p, met)
	}
	for _, s := range everyState {
		if !met[s] {
			t.Errorf("no run ever met %s", s)
		}
	}
}

var everyState = []casework.State{casework.New, casework.Notified, casework.Acknowledged, casework.Overdue, casework.FinalWarning, casework.Queued, casework.Restricted,
	casework.Verifying, casework.Released, casework.Verified, casework.Closed, casework.OnHold, casework.Moot}

func metAll(met map[casework.State]bool) bool {
	return !slices.ContainsFunc(everyState, func(s casework.State) bool { return !met[s] })
}

// climb plays one round of runs and notes the states they met.
func climb(t *testing.T, p *policy.Policy, met map[casework.State]bool) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		party := rapid.SampledFrom([]duty.Party{duty.Customer, duty.Customer, duty.Provider, duty.Shared}).Draw(t, "party")
		play(t, party, verdicts, func(before, after casework.Dossier, ev casework.Event, effects []casework.Effect, h history, now int64) {
			b, a := before.Case, after.Case
			met[a.State] = true
			if b.State.Over() && (!reflect.DeepEqual(before, after) || len(effects) > 0) {
				t.Fatalf("%T moved a case that is over", ev)
			}
			if a.State == casework.Restricted && a.Act == "" {
				t.Fatalf("restricted by no order")
			}
			owners := []casework.State{casework.FinalWarning, casework.Queued, casework.Restricted, casework.Verifying}
			if party != duty.Customer && slices.Contains(owners, a.State) && a.TakenBack() == "" {
				t.Fatalf("%T: what the %s holds is %s", ev, party, a.State)
			}
			if b.State != a.State {
				entered(t, before, after, ev, h, now, p)
			}
			changed(t, before, after, ev, h, p)
			for _, e := range effects {
				// All that took it off has passed, or the machine is gone.
				if e == (casework.Set{Timer: casework.TimerRelease, At: now}) && a.TakenBack() == "" {
					mayLift(t, after, h, p)
				}
			}
		})
	})
}

// entered: each rung has its own way in.
func entered(t *rapid.T, before, after casework.Dossier, ev casework.Event, h history, now int64, p *policy.Policy) {
	b, a := before.Case, after.Case
	look, looked := ev.(casework.Looked)
	mail, mailed := ev.(casework.MailAccepted)
	bad := looked && look.Sighting.Verdict == finding.Vulnerable
	switch a.State {
	case casework.Notified:
		if b.State != casework.New || !mailed || mail.Notice.Step != casework.StepNotice || a.Due < h.promised[casework.StepNotice] || a.Due < mail.Notice.AcceptedAt+casework.FixTime(a, p) {
			t.Fatalf("notified by %+v: %+v", ev, a)
		}
	case casework.Overdue:
		if !bad {
			t.Fatalf("overdue by %+v", ev)
		}
		if fresh := b.State == casework.Notified || b.State == casework.Acknowledged; fresh && (now < h.promised[casework.StepNotice] || look.Sighting.At < b.Due) {
			t.Fatalf("overdue before %d, promised to the owner", h.promised[casework.StepNotice])
		}
		delete(h.promised, casework.StepFinal)
		delete(h.promised, casework.StepRelapse)
	case casework.FinalWarning:
		if b.State != casework.Queued && (b.State != casework.Overdue || !mailed) {
			t.Fatalf("finally warned from %s by %+v", b.State, ev)
		}
	case casework.Queued:
		if !bad || b.State != casework.FinalWarning || a.Party != duty.Customer || p.Classes[a.Class].End != policy.Quarantine {
			t.Fatalf("queued from %s by %+v", b.State, ev)
		}
		if b.FinalAt == 0 || b.GraceEnds == 0 || now < b.GraceEnds || look.Sighting.At < b.GraceEnds || len(a.Approvals) > 0 {
			t.Fatalf("queued at %d, seen at %d: %+v", now, look.Sighting.At, b)
		}
		if end := max(h.promised[casework.StepFinal], h.promised[casework.StepRelapse]); now < end {
			t.Fatalf("queued at %d, promised %d", now, end)
		}
	case casework.Restricted:
		if _, acted := ev.(casework.Acted); b.State != casework.Verifying && (!acted || b.State != casework.Queued) {
			t.Fatalf("restricted from %s by %+v", b.State, ev)
		}
	case casework.Verifying:
		if b.State != casework.Restricted && a.TakenBack() == "" {
			t.Fatalf("verifying from %s", b.State)
		}
		if a.Act == "" {
			t.Fatalf("verifying, and nothing was done")
		}
	case casework.Released:
		if _, ok := ev.(casework.Restored); !ok {
			t.Fatalf("released by %+v", ev)
		}
	case casework.Verified:
		for _, f := range after.Findings {
			if f.State.Live() {
				t.Fatalf("verified with a finding that is %s", f.State)
			}
		}
	case casework.Closed:
		_, passed := ev.(casework.Passed)
		if _, restored := ev.(casework.Restored); b.State != casework.New && now < b.ProbationEnds && !passed && !(restored && b.Handed) {
			t.Fatalf("closed %d before the end of probation", b.ProbationEnds-now)
		}
		for _, f := range after.Findings {
			if f.State.Live() || f.State == finding.Fixed {
				t.Fatalf("closed with a finding that is %s", f.State)
			}
		}
	case casework.New: // a new round
		if r, ok := ev.(casework.Refused); ok && b.State == casework.Queued && len(r.Blocks) > 0 {
			return
		}
		if r, ok := ev.(casework.Received); ok && slices.ContainsFunc(after.Findings, func(f finding.Finding) bool { return f.State.Live() && slices.Contains(r.Findings, f.ID) }) {
			return
		}
		if _, restored := ev.(casework.Restored); restored && b.Handed {
			return
		}
		if bad && casework.Unannounced(b, p) || bad && casework.Unannounced(withClass(b, a.Class), p) {
			return // a notice said that nothing follows for the machine, and now something may
		}
		o, joined := ev.(casework.Opened)
		if !joined || !slices.ContainsFunc(after.Findings, func(f finding.Finding) bool { return f.ID == o.Finding && f.State.Live() }) {
			t.Fatalf("new again by %+v", ev)
		}
		if !slices.Contains([]casework.State{casework.Released, casework.Verified, casework.Notified, casework.Acknowledged}, b.State) {
			t.Fatalf("new again from %s", b.State)
		}
	case casework.Acknowledged, casework.OnHold, casework.Moot:
	}
}

func withClass(c casework.Case, class string) casework.Case {
	c.Class = class
	return c
}

// changed: a finding is fixed by two clean looks and by nothing else.
func changed(t *rapid.T, before, after casework.Dossier, ev casework.Event, h history, p *policy.Policy) {
	for _, f := range after.Findings {
		was := before.Findings[slices.IndexFunc(before.Findings, func(o finding.Finding) bool { return o.ID == f.ID })].State
		if was == f.State {
			continue
		}
		switch f.State {
		case finding.Fixed:
			if n, span := h.negatives(f.ID); n < 2 || span < p.Proof.FixedGap.Micros() {
				t.Fatalf("fixed after %d clean looks over %d µs by %+v", n, span, ev)
			}
		case finding.Closed:
			// Where nobody was told yet, the second clean look fixes the finding and ends the case at once.
			n, span := h.negatives(f.ID)
			atOnce := before.Case.State == casework.New && n >= 2 && span >= p.Proof.FixedGap.Micros()
			if was != finding.Fixed && !atOnce {
				t.Fatalf("closed from %s", was)
			}
		case finding.Dropped:
			if _, discarded := ev.(casework.Discarded); was != finding.Suspicion && was != finding.AttributionHold && !discarded {
				t.Fatalf("dropped from %s by %+v", was, ev)
			}
		case finding.Suspicion, finding.Open, finding.Claimed, finding.Unverifiable, finding.Moot, finding.AttributionHold:
		}
	}
}

func mayLift(t *rapid.T, d casework.Dossier, h history, p *policy.Policy) {
	for _, f := range d.Findings {
		if n, span := h.negatives(f.ID); f.State.Live() && (n < 2 || span < p.Proof.LiftGap.Micros()) {
			t.Fatalf("given back after %d clean looks over %d µs", n, span)
		}
	}
}

// Silence is never a fix: without one clean look nothing is ever fixed, closed, or given back.
func TestSilenceFixesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		play(t, duty.Customer, []finding.Verdict{finding.NoAnswer, finding.Inconclusive, finding.Vulnerable}, func(before, after casework.Dossier, ev casework.Event, effects []casework.Effect, _ history, _ int64) {
			switch ev.(type) {
			case casework.Discarded, casework.Gone, casework.Restored, casework.Passed:
				return
			}
			for _, f := range before.Findings {
				if f.State == finding.AttributionHold {
					return
				}
			}
			if a := after.Case.State; a != before.Case.State && (a == casework.Verified || a == casework.Closed) {
				t.Fatalf("%s by %+v", a, ev)
			}
			for i, f := range after.Findings {
				if f.State != before.Findings[i].State && slices.Contains([]finding.State{finding.Fixed, finding.Closed, finding.Dropped}, f.State) {
					t.Fatalf("a finding is %s by %+v", f.State, ev)
				}
			}
			for _, e := range effects {
				if s, ok := e.(casework.Set); ok && s.Timer == casework.TimerRelease {
					t.Fatalf("release by %+v", ev)
				}
			}
		})
	})
}

// One clean look at each finding, and any amount of silence, is not enough either.
func TestOneCleanLookFixesNothing(t *testing.T) {
	p := rules(t)
	rapid.Check(t, func(t *rapid.T) {
		d, now := opening(duty.Customer, "E", "f"), start
		for i := range rapid.IntRange(2, 30).Draw(t, "looks") {
			now += rapid.SampledFrom(pauses[1:]).Draw(t, "pause")
			v := rapid.SampledFrom([]finding.Verdict{finding.NoAnswer, finding.Inconclusive}).Draw(t, "verdict")
			if i == 0 {
				v = finding.Vulnerable
			} else if d.Findings[0].Negatives == 0 && rapid.Bool().Draw(t, "clean") {
				v = finding.ClosedPort
			}
			d, _ = casework.Next(d, casework.Looked{Sighting: finding.Sighting{Finding: "f", At: now, Verdict: v}}, p, now)
			if !d.Findings[0].State.Live() || d.Case.State != casework.New {
				t.Fatalf("%s, %s", d.Findings[0].State, d.Case.State)
			}
		}
	})
}
