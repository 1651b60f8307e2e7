package casework_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"demarc/internal/casework"
	"demarc/internal/casework/gate"
	"demarc/internal/duty"
	"demarc/internal/finding"
)

// What the provider holds, or shares, can never reach the gate: from a new case, every event is tried in every state that can be
// reached, until there is no new one; none waits for an act, is warned of one, or is restricted. And the gate itself says no in
// every state there is.
func TestWhatTheProviderHoldsNeverReachesTheGate(t *testing.T) {
	for _, party := range []duty.Party{duty.Provider, duty.Shared} {
		for _, class := range []string{"X", "E", "C", "H", "U"} {
			t.Run(fmt.Sprint(party, " ", class), func(t *testing.T) {
				met := walk(t, opening(party, class, "f"))
				for _, s := range []casework.State{casework.New, casework.Notified, casework.Acknowledged, casework.Overdue, casework.Verified, casework.Verifying, casework.Closed, casework.OnHold, casework.Moot} {
					if !met[s] {
						t.Errorf("the walk never met %s: it proves nothing", s)
					}
				}
			})
		}
		for _, s := range everyState {
			d := gate.Decide(gate.Facts{Case: casework.Case{Party: party, State: s}}, rules(t))
			if d.Go || !slices.ContainsFunc(d.Blocks, func(b casework.Refusal) bool { return b.Condition == "party" }) {
				t.Errorf("the gate does not refuse the %s in %s because of the party: %v", party, s, d.Blocks)
			}
		}
	}
}

// stop is one place of the walk: a dossier, and the time it is reached at.
type stop struct {
	d   casework.Dossier
	now int64
}

// walk tries every event in every state that it reaches, and tells which it met. Two dossiers count as one when nothing but
// times tells them apart.
func walk(t *testing.T, from casework.Dossier) map[casework.State]bool {
	t.Helper()
	p, seen, met := rules(t), map[string]bool{}, map[casework.State]bool{}
	queue := []stop{{from, start}}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		met[at.d.Case.State] = true
		for _, pause := range []int64{minute, 40 * minute, 15 * day} {
			now := at.now + pause
			for _, ev := range allEvents(at.d, now) {
				after, effects := casework.Next(at.d, ev, p, now)
				mustStayClear(t, after, ev, effects)
				if k := shape(t, after); !seen[k] {
					seen[k] = true
					queue = append(queue, stop{after, now})
				}
			}
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d places were met", len(seen))
	}
	return met
}

func mustStayClear(t *testing.T, d casework.Dossier, ev casework.Event, effects []casework.Effect) {
	t.Helper()
	if slices.Contains([]casework.State{casework.FinalWarning, casework.Queued, casework.Restricted, casework.Released}, d.Case.State) || len(d.Case.Approvals) > 0 {
		t.Fatalf("%T %+v leads to %s with %d approvals", ev, ev, d.Case.State, len(d.Case.Approvals))
	}
	for _, e := range effects {
		switch e := e.(type) {
		case casework.Send:
			if e.Step == casework.StepFinal || e.Step == casework.StepApproval || e.Step == casework.StepRestricted {
				t.Fatalf("%T %+v sends %s", ev, ev, e.Step)
			}
		case casework.Set:
			if e.Timer == casework.TimerEnforce || e.Timer == casework.TimerHold || e.Timer == casework.TimerGrace {
				t.Fatalf("%T %+v arms %s", ev, ev, e.Timer)
			}
		}
	}
}

// allEvents lists every event there is but Acted: an act needs an order, and no order is ever given. What is taken back is restored.
func allEvents(d casework.Dossier, now int64) []casework.Event {
	out := []casework.Event{casework.Opened{Finding: "f"}, casework.Acknowledgement{By: "owner"}, casework.Claim{By: "owner"}, casework.Approve{By: "olga"},
		casework.Refused{Blocks: []casework.Refusal{{Condition: "repeated-scans", Reason: "not seen", Renew: casework.RenewOwner}}},
		casework.Hold{Why: "doubt"}, casework.Discarded{Finding: "f", Why: "moved"}, casework.Resume{By: "olga"},
		casework.Passed{Findings: []string{"f"}, Why: "a contract ends"}, casework.Received{Findings: []string{"f"}}, casework.Withdraw{By: "olga", Why: "wrong"},
		casework.Tampered{}, casework.Gone{}, casework.Started{}, casework.Held{Act: "act"}}
	if d.Case.TakenBack() != "" {
		out = append(out, casework.Restored{})
	}
	for _, v := range verdicts {
		out = append(out, casework.Looked{Sighting: finding.Sighting{Finding: "f", At: now, Verdict: v, Facts: "facts"}})
	}
	for _, s := range steps {
		out = append(out, casework.MailAccepted{Notice: casework.Notice{Step: s, To: casework.Provider, Recipient: "p", MessageID: string(s), AcceptedAt: now, Deadline: now + day}})
	}
	for _, x := range timers {
		out = append(out, casework.Fired{Timer: x})
	}
	return out
}

// shape is a dossier without its times.
func shape(t *testing.T, d casework.Dossier) string {
	t.Helper()
	c := d.Case
	notices := len(c.Accepted(casework.StepNotice)) > 0 // no other mail of the provider's moves a case
	var fs []string
	for _, f := range d.Findings {
		fs = append(fs, fmt.Sprint(f.State, min(f.Negatives, 2), min(f.Silences, 2)))
	}
	b, err := json.Marshal([]any{c.State, c.Class, c.HeldFrom, c.RelapsedAt > 0, c.Due > 0, notices, c.Act, fs, c.Handed, c.Withdrawn})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
