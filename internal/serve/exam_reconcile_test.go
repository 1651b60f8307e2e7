package serve_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"demarc/internal/casework"
	"demarc/internal/lab"
	"demarc/internal/policy"
	"demarc/internal/serve"
)

// harms are what somebody with the database's password does to the rows that a case goes on by.
var harms = map[string][]string{
	"deleted": {`DELETE FROM timer`, `DELETE FROM mail WHERE status = 'pending'`},
	"moved": {fmt.Sprintf(`UPDATE timer SET at = at + %d`, 1000*day),
		fmt.Sprintf(`UPDATE mail SET next_at = next_at + %d WHERE status = 'pending'`, 1000*day)},
	"marked": {`DELETE FROM timer`, `UPDATE mail SET status = 'accepted' WHERE status = 'pending'`},
	"early":  {fmt.Sprintf(`UPDATE timer SET at = %d`, begins.UnixMicro())},
}

// accepted lists the steps of which the next hop took a mail, by the mail server, not by the rows.
func (e *exam) accepted() map[casework.Step]int {
	out := map[casework.Step]int{}
	for _, h := range e.told() {
		if h.Event == "mail.accepted" {
			out[casework.Step(h.Detail)]++
		}
	}
	return out
}

// live plays the story of cache-1 to its end: an operator approves what was asked for, and the owner fixes the weakness once the machine is
// restricted, or after so many days. On the way, harm strikes at the first moment of each state. It returns the states met, in order.
func (e *exam) live(fixAfter int64, harm []string) (met []casework.State) {
	e.t.Helper()
	start, fixed := e.clock.Now(), false
	for e.clock.Now() < start+120*day {
		if cs := e.casesOf("cache-1"); len(cs) > 0 && !slices.Contains(met, cs[0].State) {
			met = append(met, cs[0].State)
			for _, query := range harm {
				e.sql(query)
			}
		}
		if e.step() {
			continue
		}
		cs := e.casesOf("cache-1")
		if len(cs) == 0 {
			e.leapOn()
			continue
		}
		switch c := cs[0]; {
		case c.State == casework.Queued && len(c.Approvals) == 0 && len(c.Accepted(casework.StepApproval)) > 0:
			e.approve("cache-1")
		case !fixed && (c.State == casework.Restricted && len(c.Accepted(casework.StepRestricted)) > 0 ||
			fixAfter > 0 && e.clock.Now() >= start+fixAfter):
			fixed = true
			e.setPassword("cache-1")
			if c.Stopped { // or it is not started
				e.must(e.w.TenantRemoveRule("astro", "cache", lab.Rule{Proto: "tcp", Min: 6379, Max: 6379, Remote: everywhere}))
			}
			e.claim("cache-1")
		case c.State == casework.Closed && e.accepted()[casework.StepClosed] > 0:
			return met
		default:
			e.leapOn()
		}
	}
	return met
}

// story is what happened to cases, mails and actions, without the probes.
func (e *exam) story() []string {
	var out []string
	for _, h := range e.told() {
		if h.Case != "" && !strings.HasPrefix(h.Event, "looked.") {
			out = append(out, fmt.Sprintf("day %d %s %s %s", (h.At-begins.UnixMicro())/day, h.Event, h.MailTo, h.Detail))
		}
	}
	for _, err := range e.errs {
		out = append(out, "error: "+err.Error())
	}
	return out[max(0, len(out)-40):]
}

func (e *exam) leapOn() {
	e.t.Helper()
	now := e.clock.Now()
	due, err := e.d.Line.NextDue(e.t.Context())
	e.must(err)
	if due > now+1 {
		e.stuck = 0
	} else if e.stuck++; e.stuck > 1000 {
		e.t.Fatalf("something is due and is not done; errors %v, last\n%s", e.errs[max(0, len(e.errs)-5):], strings.Join(e.last(15), "\n"))
	}
	e.clock.LeapTo(due)
}

// Every timer and every waiting mail is deleted, moved, marked as accepted or brought forward, at the first moment of every state: the
// story comes to its usual end, with the same mails, at most two days later for each state.
func TestLostRowsAreRepairedInEveryState(t *testing.T) {
	t.Parallel()
	for name, story := range map[string]struct {
		mode     policy.Mode
		fixAfter int64
		states   []casework.State
		mails    []casework.Step
	}{
		"to a stop and back": {mode: policy.Enforce,
			states: []casework.State{casework.New, casework.Notified, casework.Overdue, casework.FinalWarning, casework.Queued,
				casework.Restricted, casework.Verifying, casework.Released, casework.Closed},
			mails: []casework.Step{casework.StepNotice, casework.StepFinal, casework.StepApproval, casework.StepRestricted,
				casework.StepReleased, casework.StepClosed}},
		"overdue in notify, then fixed": {mode: policy.Notify, fixAfter: 20 * day,
			states: []casework.State{casework.New, casework.Notified, casework.Overdue, casework.Verified, casework.Closed},
			mails:  []casework.Step{casework.StepNotice, casework.StepEscalation, casework.StepClosed}},
	} {
		for kind, harm := range harms {
			t.Run(name+", rows "+kind, func(t *testing.T) {
				t.Parallel()
				e := open(t, plot{firstStart: true, policy: stopping})
				e.setMode(story.mode)
				before := e.groups("cache-1")
				met := e.live(story.fixAfter, harm)
				for _, s := range story.states {
					if !slices.Contains(met, s) {
						t.Errorf("the case was never %s: %v; last\n%s", s, met, strings.Join(e.story(), "\n"))
					}
				}
				for _, s := range story.mails {
					if e.accepted()[s] == 0 {
						t.Errorf("no mail %s was sent", s)
					}
				}
				c := e.theCase("cache-1")
				if took, most := c.ClosedAt-c.OpenedAt, 26*day+2*day*int64(len(met)); took > most && story.fixAfter == 0 {
					t.Errorf("the story took %d days, more than %d", took/day, most/day)
				}
				if now := e.groups("cache-1"); !slices.EqualFunc(now, before, slices.Equal) {
					t.Errorf("groups %v, were %v", now, before)
				}
				if n := e.count("cache-1", "case.repaired"); n == 0 && kind != "early" {
					t.Error("no repair was reported")
				}
				e.noErrors()
			})
		}
	}
}

// Where nothing is missing, nothing is repaired.
func TestNothingIsRepairedWhereNothingIsMissing(t *testing.T) {
	t.Parallel()
	for _, mode := range []policy.Mode{policy.Observe, policy.Notify, policy.Enforce} {
		e := open(t, plot{firstStart: true})
		e.setMode(mode)
		if mode == policy.Observe { // nothing ends there
			e.after(40 * day)
		} else if met := e.live(30*day, nil); met[len(met)-1] != casework.Closed {
			t.Errorf("in %s the story ends in %v", mode, met)
		}
		if n := e.count("", "case.repaired"); n > 0 {
			t.Errorf("in %s %d repairs: %s", mode, n, e.detail("", "case.repaired"))
		}
	}
}

// The doctor counts the repairs of the last 30 days.
func TestDoctorCountsRepairs(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.until("notified", 1, e.inState("cache-1", casework.Notified))
	e.sql(`DELETE FROM timer`)
	e.after(2 * day)
	if n := e.count("cache-1", "case.repaired"); n != 1 {
		t.Fatalf("%d repairs: %s", n, e.detail("cache-1", "case.repaired"))
	}
	at := func(us int64) func(*serve.Doctor) {
		return func(d *serve.Doctor) { d.Now = func() time.Time { return time.UnixMicro(us) } }
	}
	_, bad := e.doctor(at(e.clock.Now()))
	if r := bad[serve.CasesRepaired]; r.State != serve.Doubted || !strings.Contains(r.What, "missing 1 times") ||
		!strings.Contains(r.What, e.theCase("cache-1").Ref()) {
		t.Errorf("the doctor says %+v", r)
	}
	if _, bad = e.doctor(at(e.clock.Now() + 40*day)); bad[serve.CasesRepaired].Code != "" {
		t.Errorf("after 40 days the doctor says %+v", bad[serve.CasesRepaired])
	}
}

// A release timer that somebody wrote gives no machine back whose fix is not proven.
func TestForgedReleaseTimerGivesNothingBack(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.restrict()
	e.claim("cache-1")
	e.sql(fmt.Sprintf(`INSERT INTO timer (kase, name, at) SELECT id, 'release', %d FROM kase`, e.clock.Now()))
	e.untilIdle()
	if c := e.theCase("cache-1"); c.Act == "" || c.State != casework.Restricted {
		t.Errorf("the case is %s, act %q", c.State, c.Act)
	}
	if n := len(e.changes("cache-1")); n != 1 {
		t.Errorf("the port was changed %d times", n)
	}
}

// The record of the action in force is lost: a person is asked to restore the server, and nothing else of the cloud stands still.
func TestLostRecordOfAnActionIsReported(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.restrict()
	e.sql(`DELETE FROM act`)
	e.after(2 * day)
	c := e.theCase("cache-1")
	if c.State != casework.OnHold || !strings.Contains(c.Hold, "security groups") {
		t.Fatalf("the case is %s: %s", c.State, c.Hold)
	}
	ms := e.w.Mail.For(operators)
	if last := said(t, ms[len(ms)-1]); !strings.Contains(last, "is missing from the database") {
		t.Errorf("the operators read:\n%s", last)
	}
	before := len(e.errs)
	e.after(3 * day)
	if len(e.errs) > before {
		t.Errorf("steps failed: %v", e.errs[before:])
	}
	e.must(e.d.Line.Withdraw(t.Context(), c.ID, "olga", "restored by hand"))
	e.after(2 * day)
	if c = e.caseByID(c.ID); c.State != casework.Closed || len(c.Lost) != 1 {
		t.Errorf("the withdrawn case is %s, lost %v", c.State, c.Lost)
	}
	if len(e.errs) > before {
		t.Errorf("steps failed: %v", e.errs[before:])
	}
}

// A case whose rows cannot be read keeps no other from being repaired.
func TestUnreadableCaseKeepsNoOtherFromRepair(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.until("notified", 1, e.inState("cache-1", casework.Notified))
	const unreadable = "00000000-0000-0000-0000-000000000001"
	e.sql(`INSERT INTO kase (id, cloud, server, project, party, track, state, act, version, body)
		SELECT '` + unreadable + `', cloud, 'another', project, party, track, 'on_hold', '', 1, body FROM kase`)
	e.edit("kase", " WHERE id = '"+unreadable+"'", func(v map[string]any) {
		v["id"], v["state"], v["server"] = unreadable, casework.OnHold, "another"
	})
	e.sql(`INSERT INTO mail (id, message_id, kase, status, next_at, body)
		VALUES ('a', 'b', '` + unreadable + `', 'accepted', 0, 'no JSON')`)
	e.sql(`DELETE FROM timer`)
	e.after(2 * day)
	if n := e.count("cache-1", "case.repaired"); n != 1 {
		t.Errorf("%d repairs: %s", n, e.detail("cache-1", "case.repaired"))
	}
}
