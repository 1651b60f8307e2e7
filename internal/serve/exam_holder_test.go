package serve_test

import (
	"strings"
	"sync"
	"testing"

	"demarc/internal/casework"
	"demarc/internal/finding"
	"demarc/internal/flow"
	"demarc/internal/lab"
	"demarc/internal/probe"
)

// moving is a town in which cache-1's address may lead to spare, which has an open Redis of its own behind groups that let
// everybody in, unless a test wants it quiet.
func moving() lab.Scenario {
	s := town()
	s.Servers[2].Services = []lab.Service{{Kind: lab.SSH, Port: 22022}}
	return s
}

var fip = place("127.77.1.10")

// strangerUnharmed asserts that the new holder of the address got nothing that is the old one's.
func (e *exam) strangerUnharmed() {
	e.t.Helper()
	if fs := e.findingsOf("spare"); len(fs) != 0 {
		e.t.Errorf("the new holder has findings: %+v", fs)
	}
	if cs := e.casesOf("spare"); len(cs) != 0 {
		e.t.Errorf("the new holder has cases: %+v", cs)
	}
	for _, m := range e.w.Mail.Messages() {
		if strings.EqualFold(m.To, other) || strings.Contains(text(e.t, m), e.w.ServerID("spare")) {
			e.t.Errorf("the new holder got mail:\n%s", m.Raw)
		}
	}
	e.untouched()
}

// nobodyTold asserts that no case came of it.
func (e *exam) nobodyTold() {
	e.t.Helper()
	for _, c := range e.casesOf("cache-1") {
		if c.State != casework.Closed || len(c.Notices) != 0 {
			e.t.Errorf("case %s is %s with %d notices", c.ID, c.State, len(c.Notices))
		}
	}
	for _, f := range e.findingsOf("cache-1") {
		if f.State != finding.Dropped {
			e.t.Errorf("finding %s is %s", f.Key.Check, f.State)
		}
	}
	if n := len(e.w.Mail.Messages()); n != 0 {
		e.t.Errorf("%d mails", n)
	}
}

func TestAnAddressThatMovesIsNobodysFault(t *testing.T) {
	t.Parallel()
	reach := func(s probe.Shard) bool { return s.Purpose == probe.Reach }
	for name, c := range map[string]struct {
		arrange func(*exam)
		heard   func(*exam) func(*exam, flow.Happening)
	}{
		"between inventory and probe": {arrange: func(e *exam) {
			once := sync.OnceFunc(func() { e.must(e.w.MoveFloatingIP(fip, "spare")) })
			e.onProbe(func(s probe.Shard, after bool) {
				if reach(s) && !after {
					once()
				}
			})
		}},
		"during the probe": {arrange: func(e *exam) {
			e.w.OnEvent(func(ev lab.Event) {
				if ev.Kind == "connect" && ev.Server == "cache-1" {
					e.must(e.w.MoveFloatingIP(fip, "spare"))
				}
			})
		}},
		"after the answer": {arrange: func(e *exam) {
			once := sync.OnceFunc(func() { e.must(e.w.MoveFloatingIP(fip, "spare")) })
			e.onProbe(func(s probe.Shard, after bool) {
				if reach(s) && after {
					once()
				}
			})
		}},
		"to nobody during the probe": {arrange: func(e *exam) {
			e.w.OnEvent(func(ev lab.Event) {
				if ev.Kind == "connect" && ev.Server == "cache-1" {
					e.must(e.w.MoveFloatingIP(fip, ""))
				}
			})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t, plot{scenario: moving()})
			c.arrange(e)
			e.leapTo(begins.UnixMicro() + 6*day)
			e.strangerUnharmed()
			e.nobodyTold()
			if e.count("", "finding.opened") != 0 {
				t.Errorf("opened: %s", e.detail("", "finding.opened"))
			}
			if e.count("cache-1", "observation.discarded") == 0 {
				t.Errorf("nothing was discarded; last %v", e.last(10))
			}
			e.noErrors()
		})
	}
}

// Between the look and the notice: what was seen is dropped before anybody hears of it.
func TestAnAddressThatMovesBeforeTheNoticeIsDropped(t *testing.T) {
	t.Parallel()
	for _, moment := range []string{"finding.opened", "looked.vulnerable"} {
		t.Run(moment, func(t *testing.T) {
			t.Parallel()
			once := sync.Once{}
			e := open(t, plot{scenario: moving(), heard: func(e *exam, h flow.Happening) {
				if h.Event == moment && h.Server.Raw() == "cache-1" {
					once.Do(func() { e.must(e.w.MoveFloatingIP(fip, "spare")) })
				}
			}})
			e.leapTo(begins.UnixMicro() + 6*day)
			e.strangerUnharmed()
			if moment == "finding.opened" {
				e.nobodyTold()
				if e.count("cache-1", "observation.discarded") == 0 {
					t.Error("nothing was discarded")
				}
			}
			for _, m := range e.w.Mail.Messages() { // told, if at all, is the machine it was seen on
				if m.To != owner && m.To != operators || !strings.Contains(text(t, m), e.w.ServerID("cache-1")) {
					t.Errorf("a mail for %s:\n%s", m.To, text(t, m))
				}
			}
			e.noErrors()
		})
	}
}

// Away and back: the holders before and after are equal, and what was seen between is another's. The revisions tell.
func TestAnAddressThatMovesAwayAndBackIsNotBelieved(t *testing.T) {
	t.Parallel()
	s := moving()
	s.Servers[0].Services[0].Mode = "requirepass" // cache-1 is well; what is open is spare's
	s.Servers[2].NICs[0].Groups = []string{"cache"}
	s.Servers[2].Services = []lab.Service{{Kind: lab.Redis, Port: 6379}}
	e := open(t, plot{scenario: s})
	var mu sync.Mutex
	moved := 0
	e.onProbe(func(sh probe.Shard, after bool) {
		mu.Lock()
		defer mu.Unlock()
		if sh.Purpose != probe.Reach || moved >= 3 {
			return
		}
		if after {
			e.must(e.w.MoveFloatingIP(fip, "cache-1"))
			moved++
		} else {
			e.must(e.w.MoveFloatingIP(fip, "spare"))
		}
	})
	e.leapTo(begins.UnixMicro() + 6*day)
	if moved != 3 {
		t.Fatalf("it moved %d times", moved)
	}
	if fs := e.findingsOf("cache-1"); len(fs) != 0 {
		t.Errorf("what was seen on spare is charged to cache-1: %+v", fs)
	}
	if n := e.count("cache-1", "observation.discarded"); n < 3 {
		t.Errorf("%d observations discarded", n)
	}
	e.strangerUnharmed()
	e.noErrors()
}

// After the notice, during a later look: nobody can say any more whose it is. The case waits for a person.
func TestAnAddressThatMovesDuringALaterLookHoldsTheCase(t *testing.T) {
	t.Parallel()
	e := open(t, plot{scenario: moving()})
	e.until("notified", 1, e.inState("cache-1", casework.Notified))
	before := len(e.w.Mail.For(owner))
	once := sync.OnceFunc(func() { e.must(e.w.MoveFloatingIP(fip, "spare")) })
	e.onProbe(func(s probe.Shard, after bool) {
		if s.Purpose == probe.Recheck && !after {
			once()
		}
	})
	e.claim("cache-1")
	e.untilIdle()
	c := e.theCase("cache-1")
	if c.State != casework.OnHold || c.Hold == "" {
		t.Errorf("the case is %s: %s", c.State, c.Hold)
	}
	if fs := e.findingsOf("cache-1"); len(fs) != 1 || fs[0].State != finding.AttributionHold {
		t.Errorf("%+v", fs)
	}
	told := e.w.Mail.For(operators)
	if len(told) != 1 || !strings.Contains(text(t, told[0]), "on hold until a person has looked") {
		t.Errorf("the operators got %d mails", len(told))
	}
	e.leapTo(begins.UnixMicro() + 20*day)
	if n := len(e.w.Mail.For(owner)); n != before {
		t.Errorf("the old owner got %d more mails", n-before)
	}
	if c := e.theCase("cache-1"); c.State != casework.OnHold {
		t.Errorf("the case went on by itself: %s", c.State)
	}
	e.strangerUnharmed()
	e.noErrors()
}

// After the notice, between two looks: the machine has no address any more, which two looks prove; the stranger who has the
// address now is nobody's business of this case, and an approval that was given changes nothing.
func TestAnAddressThatMovesAfterTheNoticeHarmsNobody(t *testing.T) {
	t.Parallel()
	for _, state := range []casework.State{casework.Notified, casework.FinalWarning, casework.Queued} {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			e := open(t, plot{scenario: moving()})
			e.until(string(state), 10, e.inState("cache-1", state))
			e.must(e.w.MoveFloatingIP(fip, "spare"))
			if state == casework.Queued {
				e.approve("cache-1")
			}
			e.after(8 * day)
			e.strangerUnharmed()
			if c := e.theCase("cache-1"); c.State == casework.Restricted || c.State == casework.Queued {
				t.Errorf("the case is %s", c.State)
			}
			e.noErrors()
		})
	}
}
