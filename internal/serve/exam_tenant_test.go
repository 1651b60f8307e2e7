package serve_test

import (
	"slices"
	"testing"

	"demarc/internal/casework"
	"demarc/internal/finding"
	"demarc/internal/lab"
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
