package serve_test

import (
	"strings"
	"testing"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/lab"
)

// One call of one member makes a port without port security that is plugged in nowhere. It never sent anything, and protects nobody.
func TestUnboundPortsProtectNobody(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	_, err := e.w.TenantPort("astro", "astro-net", place("10.0.0.201"), false)
	e.must(err)
	_, err = e.w.TenantPort("genomics", "public", e.w.At(place("127.77.3.3")), false)
	e.must(err)
	e.restrict()
}

// A running machine without port security in the owner's own network could have answered. That the owner made it so protects no machine of
// theirs: an operator decides, and reads which port it is. The owner reads neither port nor project.
func TestOwnNeighboursAreAnOperatorsDecision(t *testing.T) {
	t.Parallel()
	s := town()
	m := machine("bridge", "astro", "amir", "default", "")
	m.NICs[0].Addr, m.NICs[0].NoSecurity, m.NICs[0].Groups = place("10.0.0.77"), true, nil
	s.Servers = append(s.Servers, m)
	e := open(t, plot{scenario: s})
	e.until("queued", 10, e.inState("cache-1", casework.Queued))
	e.approve("cache-1")
	e.untilIdle()
	e.untouched()
	k := e.theCase("cache-1")
	port := e.w.PortIDs("bridge")[0]
	if said := refusals(k.Blocks); !strings.Contains(said, "spoofing: another machine on its network could have answered") ||
		!strings.Contains(said, port) || !strings.Contains(said, "--despite spoofing") {
		t.Fatalf("operators read %s", said)
	}
	theirs, err := e.d.DB.Case(t.Context(), access.Tenant(asset.ProjectID(e.w.ProjectID("astro"))), k.ID)
	e.must(err)
	if said := refusals(theirs.Blocks); strings.Contains(said, port) || !strings.Contains(said, "spoofing") {
		t.Errorf("the owner reads %s", said)
	}
	for _, to := range []string{owner, colleague} {
		for _, mail := range e.w.Mail.For(to) {
			if strings.Contains(mail.Raw, port) {
				t.Errorf("%s reads of the port", to)
			}
		}
	}
	e.approveDespite("cache-1", "spoofing", "the owner's own bridge")
	e.until("restricted", 1, e.inState("cache-1", casework.Restricted))
}

// sharedTown is the town in which other projects may use the network of astro.
func sharedTown() lab.Scenario {
	s := town()
	for i := range s.Networks {
		if s.Networks[i].Name == "astro-net" {
			s.Networks[i].Shared = true
		}
	}
	return s
}

// pastForeignNeighbour gives an exam in which the case of cache-1 is queued, and a machine of another project that could have answered for
// it was deleted after the notice.
func pastForeignNeighbour(t *testing.T) *exam {
	t.Helper()
	s := sharedTown()
	m := machine("mallory-1", "genomics", "bruno", "ssh-any", "")
	m.NICs = []lab.NIC{{Network: "astro-net", Addr: place("10.0.0.78"), NoSecurity: true}}
	s.Servers = append(s.Servers, m)
	e := open(t, plot{scenario: s})
	e.until("notified", 2, e.inState("cache-1", casework.Notified))
	e.must(e.w.DeleteServer("mallory-1"))
	e.until("queued", 10, e.inState("cache-1", casework.Queued))
	return e
}

// Another project's machine that could have answered prevents an action, even if an operator overrules the gate and the machine has been
// deleted since.
func TestForeignNeighboursCannotBeOverruled(t *testing.T) {
	t.Parallel()
	e := pastForeignNeighbour(t)
	e.after(3 * day)
	e.approveDespite("cache-1", "spoofing", "never mind")
	e.untilIdle()
	e.untouched()
	if said := refusals(e.theCase("cache-1").Blocks); !strings.Contains(said, "spoofing:") {
		t.Errorf("the gate said %s", said)
	}
}

// Port security that the owner switches off, by one call, protects nothing: an operator decides, it is switched on for the quarantine, and
// off again at the release.
func TestPortSecurityThatIsOffIsAnOperatorsDecision(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.until("queued", 10, e.inState("cache-1", casework.Queued))
	port := e.w.PortIDs("cache-1")[0]
	e.w.TenantPortSecurity(port, false)
	e.approve("cache-1")
	e.untilIdle()
	e.untouched()
	k := e.theCase("cache-1")
	if said := refusals(k.Blocks); !strings.Contains(said, "port-security:") {
		t.Fatalf("the gate said %s", said)
	}
	e.approveDespite("cache-1", "port-security", "switched off an hour before the deadline")
	e.until("restricted", 1, e.inState("cache-1", casework.Restricted))
	if !e.w.PortSecurity(port) || len(e.w.PortGroups(port)) != 1 {
		t.Fatalf("port security %t, groups %v", e.w.PortSecurity(port), e.w.PortGroups(port))
	}
	e.after(4 * day) // nothing was fixed: without port security the way back is open to everybody
	e.stillWeak()
	e.quarantined("cache-1")
	e.setPassword("cache-1")
	e.claim("cache-1")
	e.until("released", 2, e.inState("cache-1", casework.Released))
	if e.w.PortSecurity(port) || len(e.w.PortGroups(port)) != 0 {
		t.Errorf("port security %t, groups %v: not as the owner left it", e.w.PortSecurity(port), e.w.PortGroups(port))
	}
	e.noErrors()
}

// A neighbour of another project that ran once stands in the way of the round in which it ran, and not for ever.
func TestForeignNeighbourOfAnEarlierRound(t *testing.T) {
	t.Parallel()
	e := pastForeignNeighbour(t)
	for range 2 {
		k := e.theCase("cache-1")
		e.must(e.d.Line.Renew(t.Context(), k.ID, "olga", "the other machine is gone"))
		e.until("queued", 15, e.inState("cache-1", casework.Queued))
	}
	e.approve("cache-1")
	e.untilIdle()
	t.Log(e.theCase("cache-1").State, refusals(e.theCase("cache-1").Blocks))
	if !e.inState("cache-1", casework.Restricted)() {
		t.Error("immune for ever")
	}
}

// A network that its owner shares with somebody is the owner's all the same.
func TestSharingOnesNetworkIsNoShield(t *testing.T) {
	t.Parallel()
	s := sharedTown()
	m := machine("bridge", "astro", "amir", "default", "")
	m.NICs[0].Addr, m.NICs[0].NoSecurity, m.NICs[0].Groups = place("10.0.0.77"), true, nil
	s.Servers = append(s.Servers, m)
	e := open(t, plot{scenario: s})
	e.until("queued", 10, e.inState("cache-1", casework.Queued))
	e.approveDespite("cache-1", "spoofing", "the owner's own bridge")
	e.untilIdle()
	t.Log(e.theCase("cache-1").State, refusals(e.theCase("cache-1").Blocks))
	if !e.inState("cache-1", casework.Restricted)() {
		t.Error("shielded")
	}
}
