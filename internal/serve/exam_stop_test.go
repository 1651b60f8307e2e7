package serve_test

import (
	"slices"
	"strings"
	"testing"

	"demarc/internal/casework"
	"demarc/internal/lab"
	"demarc/internal/policy"
)

// stopping is a policy whose class E ends in a stop.
var stopping = []string{"institution: 7d, grace: 24h, end: quarantine", "institution: 7d, grace: 24h, end: stop"}

// A machine of a class that ends in a stop is taken off the network, locked with the reason and stopped; its tenant can neither
// start nor unlock it. When its release is asked for it runs again, still off the network; proven fixed it gets all back.
func TestAMachineIsStoppedLockedAndGivenBack(t *testing.T) {
	t.Parallel()
	e := open(t, plot{policy: stopping})
	before := e.groups("cache-1")
	e.restrict()
	e.quarantined("cache-1")
	mails := e.w.Mail.For(owner)
	if said := text(t, mails[len(mails)-1]); !strings.Contains(said, "It is stopped and locked") || strings.Contains(said, "keeps running") || strings.Contains(said, "still reach it") {
		t.Errorf("its owner is told\n%s", said)
	}
	m := e.w.Machine("cache-1")
	if m.Status != "SHUTOFF" || !m.Locked || m.LockedBy != "admin" || !strings.Contains(m.LockedReason, e.theCase("cache-1").Ref()) {
		t.Fatalf("the machine is %+v", m)
	}
	if err := e.w.StartServer("cache-1"); err == nil {
		t.Error("its tenant could start it")
	}
	e.after(3 * day) // it does not run, which proves nothing
	if s := e.theCase("cache-1").State; s != casework.Restricted {
		t.Fatalf("three days later the case is %s", s)
	}
	e.setPassword("cache-1")
	rule := lab.Rule{Proto: "tcp", Min: 6379, Max: 6379, Remote: everywhere}
	e.must(e.w.TenantRemoveRule("astro", "cache", rule)) // or it is not started: see TestStoppedMachineIsCheckedBeforeItStarts
	e.claim("cache-1")
	e.until("running", 1, func() bool { return e.w.Machine("cache-1").Status == "ACTIVE" })
	if m := e.w.Machine("cache-1"); m.Locked {
		t.Errorf("still locked: %+v", m)
	}
	e.until("released", 2, e.inState("cache-1", casework.Released))
	if got := e.groups("cache-1"); !slices.EqualFunc(got, before, slices.Equal) {
		t.Errorf("groups %v, before %v", got, before)
	}
	if got := e.acts("cache-1"); !slices.Equal(got, []string{"stop done", "start done", "restore done"}) {
		t.Errorf("acts %v", got)
	}
	e.accounted()
	e.noErrors()
}

// Taken back, a stopped machine runs again and is unlocked, without a proof.
func TestAStoppedMachineThatIsTakenBackRunsAgain(t *testing.T) {
	t.Parallel()
	e := open(t, plot{policy: stopping})
	before := e.groups("cache-1")
	e.restrict()
	e.must(e.d.Line.Withdraw(t.Context(), e.theCase("cache-1").ID, "olga", "wrong machine"))
	e.until("closed", 1, func() bool { return e.casesOf("cache-1")[0].State == casework.Closed })
	m := e.w.Machine("cache-1")
	if m.Status != "ACTIVE" || m.Locked {
		t.Errorf("the machine is %+v", m)
	}
	if got := e.groups("cache-1"); !slices.EqualFunc(got, before, slices.Equal) {
		t.Errorf("groups %v, before %v", got, before)
	}
	e.accounted()
}

// What its owner undoes is put back within one reading of the inventory, each time; what the owner added stays theirs.
func TestAQuarantineThatIsUndoneIsPutBack(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.restrict()
	for range 3 {
		e.must(e.w.TenantSetGroups("cache-1", "cache", "default"))
		e.after(2 * day)
		e.quarantined("cache-1")
	}
	if got := e.acts("cache-1"); !slices.Equal(got, []string{"quarantine done", "hold done", "hold done", "hold done"}) {
		t.Errorf("acts %v", got)
	}
	if n := e.count("cache-1", "act.tampered"); n != 3 {
		t.Errorf("told %d times", n)
	}
	if c := e.theCase("cache-1"); c.State != casework.Restricted || c.Tampers != 3 {
		t.Errorf("the case is %s, undone %d times", c.State, c.Tampers)
	}
	if n := e.accepted()[casework.StepTampered]; n != 2 {
		t.Errorf("the operators got %d mails, want one for each of the first two times", n)
	}
	e.setPassword("cache-1")
	e.claim("cache-1")
	e.until("released", 2, e.inState("cache-1", casework.Released))
	want := slices.Sorted(slices.Values([]string{e.w.GroupID("astro", "cache"), e.w.GroupID("astro", "default")}))
	for _, g := range e.groups("cache-1") {
		if got := slices.Sorted(slices.Values(g)); !slices.Equal(got, want) {
			t.Errorf("groups %v, want what was saved and what the owner added: %v", got, want)
		}
	}
	e.accounted()
	e.noErrors()
}

// While the kill switch is thrown nothing is put back; it waits.
func TestWhileEnforcementIsPausedNothingIsPutBack(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.restrict()
	e.must(e.d.Line.Pause(t.Context(), true, "olga", ""))
	e.must(e.w.TenantSetGroups("cache-1", "cache"))
	e.after(3 * day)
	if got := e.acts("cache-1"); !slices.Equal(got, []string{"quarantine done"}) {
		t.Errorf("acts %v", got)
	}
	e.must(e.d.Line.Pause(t.Context(), false, "olga", ""))
	e.after(2 * day)
	e.quarantined("cache-1")
	e.noErrors()
}

// What the owner changes on a stopped machine right before it is started is put back on the quarantine, and is the owner's again at the
// release: the groups of a port, and a port that was added. In a lower mode no quarantine is put back, and the start does it all the same.
func TestStartKeepsWhatTheOwnerAdded(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*exam){
		"at once": func(*exam) {},
		"in the mode notify, days before": func(e *exam) {
			e.setMode(policy.Notify)
			e.reconfigure(nil, []string{"mode: enforce", "mode: notify"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t, plot{policy: stopping})
			e.restrict()
			e.must(e.w.TenantRemoveRule("astro", "cache", lab.Rule{Proto: "tcp", Min: 6379, Max: 6379, Remote: everywhere}))
			prepare(e)
			e.after(hour)
			port, err := e.w.TenantPort("astro", "astro-net", place("10.0.0.201"), true)
			e.must(err)
			added := e.w.PortGroups(port)
			e.must(e.w.TenantSetGroups("cache-1", "cache", "default"))
			e.w.TenantPlug(port, "cache-1")
			if name != "at once" {
				e.after(2 * day)
			}
			e.claim("cache-1")
			e.until("running", 2, func() bool { return e.w.Machine("cache-1").Status == "ACTIVE" })
			e.quarantined("cache-1")
			e.until("released", 4, e.inState("cache-1", casework.Released))
			want := slices.Sorted(slices.Values([]string{e.w.GroupID("astro", "cache"), e.w.GroupID("astro", "default")}))
			for _, id := range e.w.PortIDs("cache-1") {
				got := slices.Sorted(slices.Values(e.w.PortGroups(id)))
				if id == port && !slices.Equal(got, added) {
					t.Errorf("the added port has %v, it had %v", got, added)
				}
				if id != port && !slices.Equal(got, want) {
					t.Errorf("groups %v, want what was saved and what the owner added: %v", got, want)
				}
			}
			e.after(2 * hour)
			if left := e.pending().Leftovers; len(left) > 0 {
				t.Errorf("left over: %+v", left)
			}
			if got := e.acts("cache-1"); !slices.Equal(got, []string{"stop done", "start done", "restore done"}) {
				t.Errorf("acts %v", got)
			}
			e.accounted()
			e.noErrors()
		})
	}
}
