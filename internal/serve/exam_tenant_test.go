package serve_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/finding"
	"demarc/internal/flow"
	"demarc/internal/lab"
	"demarc/internal/probe"
)

// What tenants try to get a machine back without a fix, or to keep others from being acted on.

// restrict drives cache-1 to where it is off the network.
func (e *exam) restrict() {
	e.t.Helper()
	e.until("queued", 20, e.inState("cache-1", casework.Queued))
	e.approve("cache-1")
	e.until("restricted", 1, e.inState("cache-1", casework.Restricted))
}

// stillWeak asserts that nothing was given back and nothing counts as fixed.
func (e *exam) stillWeak() {
	e.t.Helper()
	if c := e.theCase("cache-1"); c.State != casework.Restricted {
		e.t.Errorf("the case is %s", c.State)
	}
	for _, f := range e.findingsOf("cache-1") {
		if f.State == finding.Fixed || f.State == finding.Closed {
			e.t.Errorf("%s is %s", f.Key.Check, f.State)
		}
	}
}

func TestATenantWhoEmptiesAListingStopsNothing(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.w.TenantAddressGroups("genomics", 3)
	e.after(2 * day)
	e.w.TenantAddressGroups("genomics", 0)
	e.restrict()
	e.must(e.w.TenantSetGroups("cache-1", "cache"))
	e.after(2 * day)
	e.quarantined("cache-1")
}

func TestAPortThatIsUnpluggedProvesNothing(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.restrict()
	port := e.w.PortIDs("cache-1")[0]
	e.w.TenantPlug(port, "")
	e.after(3 * day)
	e.stillWeak()
	e.w.TenantPlug(port, "cache-1")
	e.must(e.w.TenantSetGroups("cache-1", "cache"))
	e.after(3 * day)
	e.stillWeak()
	e.quarantined("cache-1")
}

func TestAPortThatIsPluggedInElsewhereProvesNothing(t *testing.T) {
	t.Parallel()
	s := town()
	s.Servers = append(s.Servers, machine("decoy", "astro", "amir", "default", ""))
	s.Servers[len(s.Servers)-1].NICs[0].Addr = place("10.0.0.88")
	e := open(t, plot{scenario: s})
	e.restrict()
	e.w.TenantPlug(e.w.PortIDs("cache-1")[0], "decoy")
	e.after(3 * day)
	e.stillWeak()
}

// An outcome that a tenant made unclear holds the case. Once a person has said that it goes on, it is held.
func TestAHeldActThatGoesOnIsHeldInForce(t *testing.T) {
	t.Parallel()
	e := open(t, plot{scenario: two()})
	first := true
	e.w.OnEvent(func(ev lab.Event) {
		if ev.Kind == "groups" && ev.Server == "cache-1" && first {
			first = false
			for _, p := range e.w.PortIDs("cache-1") {
				e.w.TenantTouch(p)
			}
		}
	})
	e.until("queued", 10, e.inState("cache-1", casework.Queued))
	e.approve("cache-1")
	e.until("held", 1, e.inState("cache-1", casework.OnHold))
	e.must(e.w.TenantSetGroups("cache-1", "cache"))
	e.must(e.d.Line.Resume(t.Context(), e.theCase("cache-1").ID, "olga"))
	e.after(3 * day)
	e.stillWeak()
	e.quarantined("cache-1")
}

// A release that was held half-way is no tampering: it goes on being a release.
func TestAHeldReleaseGoesOnAsOne(t *testing.T) {
	t.Parallel()
	e := open(t, plot{scenario: two()})
	e.restrict()
	first := true
	e.w.OnEvent(func(ev lab.Event) {
		if ev.Kind == "groups" && ev.Server == "cache-1" && first {
			first = false
			for _, p := range e.w.PortIDs("cache-1") {
				e.w.TenantTouch(p)
			}
		}
	})
	e.setPassword("cache-1")
	e.claim("cache-1")
	e.until("held", 3, e.inState("cache-1", casework.OnHold))
	e.must(e.d.Line.Resume(t.Context(), e.theCase("cache-1").ID, "olga"))
	e.until("released", 1, e.inState("cache-1", casework.Released))
	if got := e.acts("cache-1"); !slices.Equal(got, []string{"quarantine done", "restore held", "restore done"}) {
		t.Errorf("acts %v", got)
	}
	if n := e.count("cache-1", "act.tampered"); n != 0 {
		t.Errorf("our own release was told as tampering, %d times", n)
	}
}

// A port that is unplugged while another is put back gets its groups at the release all the same.
func TestAPortThatWasUnpluggedGetsItsGroupsBack(t *testing.T) {
	t.Parallel()
	e := open(t, plot{scenario: two()})
	before := e.groups("cache-1")
	e.restrict()
	ports := e.w.PortIDs("cache-1")
	e.w.TenantPlug(ports[0], "")
	e.w.TenantPortGroups(ports[1], "cache")
	e.after(2 * day)
	e.w.TenantPlug(ports[0], "cache-1")
	e.after(2 * day)
	e.stillWeak()
	e.quarantined("cache-1")
	e.setPassword("cache-1")
	e.claim("cache-1")
	e.until("released", 4, e.inState("cache-1", casework.Released))
	if got := e.groups("cache-1"); !slices.Equal(got[0], before[0]) {
		t.Errorf("the port that was away has %v, had %v", got[0], before[0])
	}
}

// A port of somebody else that says that it is the machine's, and is plugged in nowhere, is only words.
func TestAClaimShieldsNoMachine(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	port := e.w.PortIDs("cache-1")[0]
	e.w.TenantClaims("genomics", port, "cache-1")
	e.restrict()
	e.w.TenantPortGroups(port, "cache")
	e.after(2 * day)
	if c := e.theCase("cache-1"); c.State != casework.Restricted {
		t.Errorf("the case is %s: %s", c.State, c.Hold)
	}
	if g := e.w.PortGroups(port); !slices.Equal(g, []string{e.w.GroupID(lab.DemoProject, "demarc-quarantine")}) {
		t.Errorf("the port carries %v", g)
	}
}

// Port security that is switched off is switched on again with the group.
func TestPortSecuritySwitchedOffIsPutBack(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	before := e.groups("cache-1")
	e.restrict()
	port := e.w.PortIDs("cache-1")[0]
	e.w.TenantPortGroups(port)
	e.w.TenantPortSecurity(port, false)
	e.after(2 * day)
	e.stillWeak()
	e.quarantined("cache-1")
	if !e.w.PortSecurity(port) {
		t.Error("port security is still off, so no group holds")
	}
	e.setPassword("cache-1")
	e.claim("cache-1")
	e.until("released", 4, e.inState("cache-1", casework.Released))
	if got := e.groups("cache-1"); !slices.EqualFunc(got, before, slices.Equal) {
		t.Errorf("groups %v, before %v", got, before)
	}
}

// An owner's own lock is no hindrance and no help: ours stands over it, and the owner cannot take it away.
func TestAnOwnersLockStandsForNothing(t *testing.T) {
	t.Parallel()
	for name, flap := range map[string]bool{"locked before": false, "locked and unlocked meanwhile": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t, plot{policy: stopping})
			if flap {
				e.w.OnEvent(func(ev lab.Event) {
					if ev.Kind == "groups" && ev.Server == "cache-1" {
						e.w.TenantLock("cache-1", "")
						e.w.TenantUnlock("cache-1")
					}
				})
			} else {
				e.w.TenantLock("cache-1", "mine")
			}
			e.restrict()
			if m := e.w.Machine("cache-1"); m.Status != "SHUTOFF" || m.LockedBy != "admin" {
				t.Fatalf("the machine is %+v", m)
			}
			if e.w.TenantUnlock("cache-1") || e.w.StartServer("cache-1") == nil {
				t.Error("its owner could undo it")
			}
		})
	}
}

// A port of another project's running machine whose owner writes this machine's id on it shields no machine.
func TestActiveForeignClaimShieldsNoMachine(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.until("queued", 10, e.inState("cache-1", casework.Queued))
	e.w.TenantPlug(e.w.PortIDs("spare")[0], "cache-1")
	e.approve("cache-1")
	e.untilIdle()
	e.untouched()
	k := e.theCase("cache-1")
	if said := refusals(k.Blocks); !strings.Contains(said, "--despite foreign-port") {
		t.Fatalf("the gate said %s", said)
	}
	e.approveDespite("cache-1", "foreign-port", "it is another machine's")
	e.until("restricted", 1, e.inState("cache-1", casework.Restricted))
}

// Nor does it free one: what its owner undoes is put back all the same.
func TestActiveForeignClaimFreesNoMachine(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.restrict()
	port := e.w.PortIDs("cache-1")[0]
	e.w.TenantPlug(e.w.PortIDs("spare")[0], "cache-1")
	e.must(e.w.TenantSetGroups("cache-1", "cache"))
	e.after(3 * day)
	e.stillWeak()
	if g := e.w.PortGroups(port); !slices.Equal(g, []string{e.w.GroupID(lab.DemoProject, "demarc-quarantine")}) {
		t.Errorf("the port carries %v", g)
	}
}

// An owner who changes a port while the quarantine is put back wins nothing: it is put back again, no person is needed, and the release
// gives back what was there before with what the owner added.
func TestQuarantineChangedWhileItIsPutBackIsPutBackAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		scenario lab.Scenario
		lost     bool // the answer to the call is lost
		meddle   func(e *exam, ids []string)
	}{
		"one port of two":                       {two(), false, func(e *exam, ids []string) { e.w.TenantPortGroups(ids[0], "cache", "default") }},
		"the other port of two":                 {two(), false, func(e *exam, ids []string) { e.w.TenantPortGroups(ids[1], "cache", "default") }},
		"a port that is deleted":                {two(), false, func(e *exam, ids []string) { e.must(e.w.DeletePort(ids[1])) }},
		"the only port, and the answer is lost": {town(), true, func(e *exam, ids []string) { e.w.TenantPortGroups(ids[0], "cache", "default") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t, plot{scenario: c.scenario})
			e.restrict()
			ids, racing := e.w.PortIDs("cache-1"), false
			e.w.OnEvent(func(ev lab.Event) {
				if racing && ev.Kind == "groups" && ev.Server == "cache-1" {
					racing = false
					c.meddle(e, ids)
				}
			})
			if c.lost {
				e.w.Plan(lab.Fault{Kind: lab.CutAfter, Method: http.MethodPut, Path: ports, Times: 1})
			}
			e.must(e.w.TenantSetGroups("cache-1", "cache"))
			racing = true
			e.after(3 * day)
			if racing {
				t.Fatal("nothing was put back")
			}
			if c := e.theCase("cache-1"); c.State != casework.Restricted {
				t.Fatalf("the case is %s: %s", c.State, c.Hold)
			}
			e.quarantined("cache-1")
			e.setPassword("cache-1")
			e.claim("cache-1")
			e.until("released", 4, e.inState("cache-1", casework.Released))
			for _, g := range e.groups("cache-1") {
				if !slices.Contains(g, e.w.GroupID("astro", "cache")) {
					t.Errorf("a port has %v after the release", g)
				}
			}
			e.noErrors()
		})
	}
}

// An owner who moves a weak service to another port after its fix was proven has the full time for it, since it is another weakness. Each
// such round is counted, whether the final warning came before the fix or not, and from the second on the operators are notified.
func TestMovingToAnotherPortIsCounted(t *testing.T) {
	t.Parallel()
	s := town()
	for i := range s.Groups {
		if s.Groups[i].Name == "cache" && s.Groups[i].Project == "astro" {
			s.Groups[i].Rules = append(slices.Clone(s.Groups[i].Rules), lab.Rule{Proto: "tcp", Min: 6380, Max: 6389, Remote: everywhere})
		}
	}
	s.Servers[0].Services = nil
	for i := range 4 {
		s.Servers[0].Services = append(s.Servers[0].Services,
			lab.Service{Name: fmt.Sprint("r", i), Kind: lab.Redis, Port: uint16(6379 + i), Stopped: i > 0})
	}
	for _, at := range []casework.State{casework.Notified, casework.FinalWarning} {
		t.Run(string(at), func(t *testing.T) {
			t.Parallel()
			e := open(t, plot{scenario: s})
			for i := range 3 {
				e.until(string(at), 20, e.inState("cache-1", at))
				e.after(hour)
				e.must(e.w.StopService("cache-1", fmt.Sprint("r", i)))
				e.claim("cache-1")
				e.until("verified", 2, e.inState("cache-1", casework.Verified))
				e.must(e.w.StartService("cache-1", fmt.Sprint("r", i+1)))
				e.until("notified again", 3, e.inState("cache-1", casework.Notified))
				e.untilIdle()
				if k, mails := e.theCase("cache-1"), e.accepted()[casework.StepReturned]; k.Renewed != i+1 || mails != i {
					t.Errorf("after move %d: %d rounds are counted, and the operators have %d mails about it", i+1, k.Renewed, mails)
				}
			}
		})
	}
}

// An owner whose script alters a port during each check keeps a case from going on. The operators are notified once that has gone on for a
// day, and when a check tells something again the case goes on where it stood.
func TestTouchingAPortAllTheTimeIsReported(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.until("final warning", 20, e.inState("cache-1", casework.FinalWarning))
	port, touching := e.w.PortIDs("cache-1")[0], true
	e.onProbe(func(probe.Shard, bool) {
		if touching {
			e.w.TenantTouch(port)
		}
	})
	e.after(5 * day)
	if c, n := e.theCase("cache-1"), e.accepted()[casework.StepNoVerdict]; c.State != casework.FinalWarning || n != 1 {
		t.Errorf("5 days later the case is %s, and %d mails say that no check tells anything", c.State, n)
	}
	touching = false
	e.until("queued", 1, e.inState("cache-1", casework.Queued))
	e.noErrors()
}

// countingLedger counts the entries of the audit log that are proven.
type countingLedger struct {
	flow.Ledger
	entries *int
}

func (l countingLedger) Witness(ctx context.Context, id string) ([]audit.Entry, error) {
	out, err := l.Ledger.Witness(ctx, id)
	*l.entries += len(out)
	return out, err
}

// An owner who undoes the quarantine again and again makes it cost the pipeline no more than the log of the case grows: the log is read once
// for all orders, not once for each.
func TestUndoingAgainAndAgainStaysCheap(t *testing.T) {
	t.Parallel()
	proven := 0
	e := open(t, plot{wrap: func(_ *exam, c *flow.Config) { c.Ledger = countingLedger{c.Ledger, &proven} }})
	e.restrict()
	most := 0
	for range 12 {
		proven = 0
		e.must(e.w.TenantSetGroups("cache-1", "cache", "default"))
		e.after(day)
		log, err := e.d.DB.Witness(t.Context(), e.theCase("cache-1").ID)
		e.must(err)
		if most = max(most, proven/len(log)); proven > 4*len(log) {
			t.Errorf("to put one quarantine back, %d entries were proven; the log of the case has %d", proven, len(log))
		}
	}
	t.Logf("the log of the case is read %d times at most", most)
}
