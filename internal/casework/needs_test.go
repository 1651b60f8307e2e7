package casework_test

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/policy"
)

// A model of everything around the state machine: the rows of timers and mails, the audit log of mails, and people who answer. It does what
// the pipeline does with a row that is due.
type model struct {
	d       casework.Dossier
	p       *policy.Policy
	now     int64
	timers  map[casework.Timer]int64
	mails   []casework.Mail
	log     []casework.MailRef
	settled map[string]bool // by Message-ID: accepted or refused for good, by the log
	sent    map[string]int  // accepted mails by round, step and audience
	repairs []string
	nextRun int64 // of the reconciliation

	reconciles  bool
	stops       bool           // the action stops the machine too
	fixesIn     casework.State // the owner fixes the weakness in this state, or at fixesAt
	fixesAt     int64
	fixed       bool
	overtaken   map[string]bool // mails that the case had moved on from when they were due
	harms       []string
	early       string // a decision that came before its deadline
	withdrawsAt casework.State
}

func newModel(p *policy.Policy, party duty.Party, class string) *model {
	m := &model{d: opening(party, class, "f"), p: p, now: start, timers: map[casework.Timer]int64{}, settled: map[string]bool{},
		sent: map[string]int{}, nextRun: start,
		reconciles: true, harms: anyHarm, fixesAt: start + 300*day, overtaken: map[string]bool{}}
	m.apply(casework.Opened{Finding: "f"})
	return m
}

func (m *model) apply(ev casework.Event) {
	before := m.d.Case
	after, effects := casework.Next(m.d, ev, m.p, m.now)
	m.d = after
	if after.Case.State != before.State {
		if after.Case.State == casework.New {
			m.log = slices.DeleteFunc(m.log, func(r casework.MailRef) bool {
				return slices.Contains([]casework.Step{casework.StepNotice, casework.StepFinal, casework.StepRelapse,
					casework.StepApproval, casework.StepObserved}, r.Step)
			})
		}
		if after.Case.State == casework.Overdue && before.State != casework.Released && before.State != casework.Verified && m.now < before.Due ||
			after.Case.State == casework.Queued && m.now < before.GraceEnds ||
			after.Case.State == casework.Closed && before.ProbationEnds > m.now && after.Case.Withdrawn == "" {
			m.early = fmt.Sprintf("%s before its deadline", after.Case.State)
		}
	}
	for _, e := range effects {
		switch e := e.(type) {
		case casework.Set:
			m.timers[e.Timer] = e.At
		case casework.Cancel:
			delete(m.timers, e.Timer)
		case casework.Send:
			m.queue(casework.MailRef{Step: e.Step, To: e.To, Recipient: string(e.To), MessageID: m.id(e.Step, e.To)})
		case casework.Blocked:
		}
	}
}

// id is the Message-ID of a step, the same each time in one round.
func (m *model) id(s casework.Step, to casework.Audience) string {
	c := m.d.Case
	return fmt.Sprint(s, to, c.OpenedAt, c.RelapsedAt, c.FinalAt, c.QueuedAt, c.RestrictedAt, c.ReleasedAt)
}

// queue is the outbox: one row for a Message-ID.
func (m *model) queue(r casework.MailRef) {
	if r.Replaces != "" {
		m.settled[r.Replaces] = true
	}
	if i := slices.IndexFunc(m.log, func(o casework.MailRef) bool { return o.MessageID == r.MessageID }); i < 0 {
		m.log = append(m.log, r)
	} else {
		m.log[i].Repair = m.log[i].Repair || r.Repair
	}
	if !slices.ContainsFunc(m.mails, func(x casework.Mail) bool { return x.MessageID == r.MessageID }) {
		m.mails = append(m.mails, casework.Mail{ID: r.MessageID, Case: "case", Step: r.Step, To: r.To, Recipient: r.Recipient,
			MessageID: r.MessageID, QueuedAt: m.now, NextAt: m.now, Status: casework.Waiting})
	}
}

// work does what is due until nothing is.
func (m *model) work(t *rapid.T) {
	for range 200 {
		if m.reconciles && m.now >= m.nextRun {
			m.reconcile()
			m.nextRun = m.now + day
		}
		if !m.mail() && !m.people() && !m.timer() {
			return
		}
	}
	t.Fatalf("the model goes in a circle in state %s: %v", m.d.Case.State, m.timers)
}

func (m *model) reconcile() {
	open := slices.DeleteFunc(slices.Clone(m.log), func(r casework.MailRef) bool { return m.settled[r.MessageID] })
	has := casework.Rows{Mails: m.mails, Unsettled: open}
	for n, at := range m.timers {
		has.Timers = append(has.Timers, casework.Due{Case: "case", Timer: n, At: at})
	}
	for _, r := range casework.Missing(m.d.Case, casework.Needs(m.d, m.p, false, m.now), has, m.p, m.now) {
		m.repairs = append(m.repairs, fmt.Sprintf("%s: %s", m.d.Case.State, r.What))
		switch {
		case r.Arm != nil:
			m.timers[r.Arm.Timer] = r.Arm.At
		case r.Forward != nil:
			i := slices.IndexFunc(m.mails, func(x casework.Mail) bool { return x.MessageID == r.Forward.MessageID })
			m.mails[i] = *r.Forward
		case r.Mail != nil:
			ref := *r.Mail
			ref.Recipient, ref.MessageID = string(ref.To), cmp.Or(ref.MessageID, m.id(ref.Step, ref.To))
			if r.Own {
				ref.Replaces, ref.MessageID = ref.MessageID, ref.MessageID+fmt.Sprint(" repaired ", m.now)
			}
			m.queue(ref)
		}
	}
}

func (m *model) mail() bool {
	for i := range m.mails {
		x := &m.mails[i]
		if x.Status != casework.Waiting || x.NextAt > m.now {
			continue
		}
		if casework.Waits(x.Step, x.To, m.p.Mode) {
			x.NextAt = m.now + day
			return true
		}
		m.settled[x.MessageID] = true
		if m.stale(x.Step) {
			x.Status = casework.Bounced
			m.overtaken[fmt.Sprint(x.Step, " to ", x.To)] = true
			return true
		}
		x.Status = casework.Taken
		m.sent[fmt.Sprint(x.Step, " to ", x.To)]++
		n := casework.Notice{Step: x.Step, To: x.To, Recipient: x.Recipient, MessageID: x.MessageID, AcceptedAt: m.now}
		n.Deadline = casework.Promise(m.d.Case, x.Step, m.p, m.now)
		n.Announced = casework.Announce(m.d, x.Step, n.Deadline, nil, m.p, m.now)
		m.apply(casework.MailAccepted{Notice: n})
		return true
	}
	return false
}

func (m *model) stale(s casework.Step) bool {
	in := map[casework.Step][]casework.State{
		casework.StepNotice:  {casework.New, casework.Notified, casework.Acknowledged},
		casework.StepFinal:   {casework.Overdue, casework.FinalWarning},
		casework.StepRelapse: {casework.Overdue, casework.FinalWarning}, casework.StepApproval: {casework.Queued},
		casework.StepObserved: {casework.New},
	}[s]
	return in != nil && !slices.Contains(in, m.d.Case.State)
}

// people: an operator approves what was asked for, and an owner fixes the weakness.
func (m *model) people() bool {
	c := m.d.Case
	asked := slices.ContainsFunc(c.Accepted(casework.StepApproval), func(n casework.Notice) bool { return n.AcceptedAt >= c.QueuedAt })
	switch {
	case c.State == casework.Queued && len(c.Approvals) == 0 && asked:
		m.apply(casework.Approve{By: "olga"})
	case !m.fixed && (m.now >= m.fixesAt || c.State == m.fixesIn || c.State == casework.Restricted):
		m.fixed = true
		m.apply(casework.Claim{By: "owner"})
	case m.withdrawsAt == c.State && c.Withdrawn == "":
		m.apply(casework.Withdraw{By: "olga", Why: "an error"})
	default:
		return false
	}
	return true
}

func (m *model) timer() bool {
	for _, n := range slices.Sorted(maps.Keys(m.timers)) {
		if m.timers[n] > m.now {
			continue
		}
		delete(m.timers, n)
		m.fire(n)
		return true
	}
	return false
}

func (m *model) fire(n casework.Timer) {
	c := m.d.Case
	switch n {
	case casework.TimerRecheck:
		if c.Stopped { // it cannot be seen
			m.timers[n] = m.now + day
			return
		}
		v := finding.Vulnerable
		if m.fixed {
			v = finding.NotVulnerable
		}
		for _, f := range m.d.Findings {
			if f.State.Live() {
				m.apply(casework.Looked{Sighting: finding.Sighting{Finding: f.ID, At: m.now, Verdict: v, Facts: "facts"}})
			}
		}
	case casework.TimerDue, casework.TimerGrace, casework.TimerProbation:
		m.apply(casework.Fired{Timer: n})
	case casework.TimerEnforce:
		if c.State == casework.Queued && len(c.Approvals) > 0 {
			m.apply(casework.Acted{Act: "act", Stopped: m.stops})
		}
	case casework.TimerStart:
		m.apply(casework.Started{})
	case casework.TimerRelease:
		if c.TakenBack() != "" || c.State == casework.Verifying && c.Act != "" && m.d.Liftable(m.p) {
			m.apply(casework.Restored{})
		}
	case casework.TimerHold:
	}
}

// next is when something falls due next.
func (m *model) next() int64 {
	at := m.nextRun
	if !m.reconciles {
		at = math.MaxInt64
	}
	if !m.fixed {
		at = min(at, max(m.fixesAt, m.now+1))
	}
	for _, t := range m.timers {
		at = min(at, t)
	}
	for _, x := range m.mails {
		if x.Status == casework.Waiting {
			at = min(at, x.NextAt)
		}
	}
	return max(at, m.now+1)
}

const far = 1000 * day

var anyHarm = []string{"delete timer", "delay timer", "hasten timer", "delete mail", "delay mail", "mark mail accepted",
	"mark mail failed", "all"}

// harm is one thing that somebody does to a row.
func (m *model) harm(t *rapid.T) string {
	names, waiting := slices.Sorted(maps.Keys(m.timers)), []int{}
	for i, x := range m.mails {
		if x.Status == casework.Waiting {
			waiting = append(waiting, i)
		}
	}
	what := rapid.SampledFrom(m.harms).Draw(t, "harm")
	switch {
	case what == "all":
		m.timers = map[casework.Timer]int64{}
		m.mails = slices.DeleteFunc(m.mails, func(x casework.Mail) bool { return x.Status == casework.Waiting })
	case strings.HasSuffix(what, "timer"):
		if len(names) == 0 {
			return ""
		}
		n := rapid.SampledFrom(names).Draw(t, "timer")
		switch what {
		case "delete timer":
			delete(m.timers, n)
		case "delay timer":
			m.timers[n] += far
		default:
			m.timers[n] = m.now
		}
		what += " " + string(n)
	case len(waiting) > 0:
		i := rapid.SampledFrom(waiting).Draw(t, "mail")
		what += " " + string(m.mails[i].Step)
		switch x := &m.mails[i]; {
		case what == "delete mail "+string(x.Step):
			m.mails = slices.Delete(m.mails, i, i+1)
		case what == "delay mail "+string(x.Step):
			x.NextAt += far
		case what == "mark mail accepted "+string(x.Step):
			x.Status = casework.Taken
		default:
			x.Status = casework.Bounced
		}
	default:
		return ""
	}
	return fmt.Sprintf("%s in %s", what, m.d.Case.State)
}

// play lets time go on until the case is over, or an end is reached. At each moment at which something was queued and not done yet, harm
// may strike.
func (m *model) play(t *rapid.T, end int64, harms int) (struck []string) {
	for m.now < end && !m.d.Case.State.Over() {
		if harms > 0 && rapid.IntRange(0, 3).Draw(t, "strikes") == 0 {
			if what := m.harm(t); what != "" {
				struck, harms = append(struck, what), harms-1
			}
		}
		if harms > 0 { // one piece of work at a time, so that a waiting mail can be met
			if !m.mail() && !m.people() && !m.timer() {
				m.work(t)
				m.now = m.next()
			}
			continue
		}
		m.work(t)
		if m.d.Case.State.Over() {
			break
		}
		m.now = m.next()
	}
	for range 3 { // the mails about the end
		m.work(t)
		m.now = max(m.now, m.nextRun)
	}
	m.work(t)
	return struck
}

// Any timer or mail row is deleted, moved or marked, in any state and in any mode: the case comes to the same end with the same mails,
// nothing is decided before its deadline, and it ends later by at most a day and a recheck for each harm.
func TestLostRowsLoseNoDeadlineMailOrProof(t *testing.T) {
	struckIn := map[string]bool{}
	for round := 0; round < 20 && len(struckIn) < 20; round++ {
		rapid.Check(t, func(t *rapid.T) {
			p := rules(t).InMode(rapid.SampledFrom([]policy.Mode{policy.Enforce, policy.Enforce, policy.Notify, policy.Observe}).Draw(t, "mode"))
			party := rapid.SampledFrom([]duty.Party{duty.Customer, duty.Customer, duty.Provider, duty.Shared}).Draw(t, "party")
			class := rapid.SampledFrom([]string{"E", "C", "H", "M"}).Draw(t, "class")
			fixesIn := rapid.SampledFrom([]casework.State{"", casework.Notified, casework.FinalWarning}).Draw(t, "fixed in")
			stops := rapid.Bool().Draw(t, "stops")
			withdrawn := []casework.State{"", "", "", casework.Notified, casework.Queued, casework.Released}
			withdraws := rapid.SampledFrom(withdrawn).Draw(t, "withdrawn in")
			begin := func() *model {
				m := newModel(p, party, class)
				m.stops, m.withdrawsAt, m.fixesIn = stops, withdraws, fixesIn
				return m
			}
			usual, harmed := begin(), begin()
			usual.play(t, start+400*day, 0)
			if len(usual.repairs) > 0 {
				t.Fatalf("repaired although nothing was harmed: %q", usual.repairs)
			}
			struck := harmed.play(t, start+900*day, rapid.IntRange(1, 4).Draw(t, "harms"))
			for _, s := range struck {
				struckIn[s] = true
			}
			same(t, usual, harmed, struck)
		})
	}
}

// A timer that fires early is armed again at its deadline, without waiting for the daily comparison: the case ends at the same minute.
func TestTimerThatFiresEarlyIsArmedAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, class := rules(t), rapid.SampledFrom([]string{"E", "C", "H", "M"}).Draw(t, "class")
		usual, harmed := newModel(p, duty.Customer, class), newModel(p, duty.Customer, class)
		usual.reconciles, harmed.reconciles, harmed.harms = false, false, []string{"hasten timer"}
		usual.play(t, start+400*day, 0)
		struck := harmed.play(t, start+900*day, rapid.IntRange(1, 4).Draw(t, "harms"))
		u, h := usual.d.Case, harmed.d.Case
		if u.State != casework.Closed || h.State != casework.Closed || harmed.early != "" || h.ClosedAt-u.ClosedAt > hour {
			t.Fatalf("%s, closed at %d instead of %d (µs), %s, after %q", h.State, h.ClosedAt, u.ClosedAt, harmed.early, struck)
		}
	})
}

func same(t *rapid.T, usual, harmed *model, struck []string) {
	u, h := usual.d.Case, harmed.d.Case
	if u.State != casework.Closed || h.State != u.State || h.Withdrawn != u.Withdrawn {
		t.Fatalf("it ends %s (withdrawn %q), not %s (%q), after %q; repairs %q; timers %v",
			h.State, h.Withdrawn, u.State, u.Withdrawn, struck, harmed.repairs, harmed.timers)
	}
	if harmed.early != "" || usual.early != "" {
		t.Fatalf("%s, after %q", harmed.early, struck)
	}
	for what := range usual.sent {
		if harmed.sent[what] == 0 && !harmed.overtaken[what] {
			t.Fatalf("the mail %s was never accepted, after %q; repairs %q", what, struck, harmed.repairs)
		}
	}
	if late := h.ClosedAt - u.ClosedAt; late > int64(len(struck))*(2*day+hour) {
		t.Fatalf("it ended %d hours later, after %q; repairs %q", late/hour, struck, harmed.repairs)
	}
	for _, x := range harmed.mails {
		if x.Status == casework.Waiting {
			t.Fatalf("the mail %s still waits, after %q", x.Step, struck)
		}
	}
}

// A request for release that is kept until the gap between two requests is over is no lost timer, however long that gap is.
func TestRequestThatIsKeptIsNotRepaired(t *testing.T) {
	p := *rules(t)
	p.Proof.LiftGap = policy.Duration(2 * time.Hour)
	d := opening(duty.Customer, "E", "f")
	d.Case.State, d.Case.Act, d.Case.Stopped, d.Case.RequestedAt = casework.Restricted, "a1", true, start-minute
	d.Findings[0].State = finding.Open
	after, effects := casework.Next(d, casework.Claim{By: "amir"}, &p, start)
	var has casework.Rows
	for _, e := range effects {
		if s, ok := e.(casework.Set); ok {
			has.Timers = append(has.Timers, casework.Due{Case: d.Case.ID, Timer: s.Timer, At: s.At})
		}
	}
	for _, r := range casework.Missing(after.Case, casework.Needs(after, &p, false, start), has, &p, start) {
		t.Errorf("the request is kept in %v, and reconcile repairs: %s", has.Timers, r.What)
	}
}
