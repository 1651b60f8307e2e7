package serve_test

import (
	"fmt"
	"testing"

	"demarc/internal/casework"
	"demarc/internal/lab"
)

// A policy that becomes harsher between the notice and the final warning: what the notice did not announce is not carried out after the
// short time of a final warning. A new round begins, with a notice of its own and the full time.
func TestStopThatTheNoticeDidNotAnnounceBeginsANewRound(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.until("notified", 10, e.inState("cache-1", casework.Notified))
	e.reconfigure(stopping, nil)
	e.until("notified again", 10, func() bool {
		k := e.theCase("cache-1")
		n := k.Accepted(casework.StepNotice)
		return k.State == casework.Notified && len(n) == 1 && n[0].End == "stop" && k.Due-n[0].AcceptedAt >= 4*day
	})
	if n := e.count("cache-1", "case.final_warning"); n != 0 {
		t.Errorf("a final warning threatened what the notice did not announce")
	}
	e.untouched()
	e.restrict()
	if m := e.w.Machine("cache-1"); m.Status != "SHUTOFF" {
		t.Errorf("the machine is %+v", m)
	}
}

// Case and finding are both edited to be about another machine, which has the same weakness and whose owner was notified of nothing. The
// audit log says on which machine the finding was found.
func TestCaseAndFindingOfAnotherMachineAreRefused(t *testing.T) {
	t.Parallel()
	s := town()
	m := machine("cache-9", "astro", "amir", "cache", "127.77.1.19",
		lab.Service{Kind: lab.Redis, Port: 6379, Name: "redis9", Mode: "requirepass"})
	m.NICs[0].Addr = place("10.0.0.99")
	s.Servers = append(s.Servers, m)
	e := open(t, plot{scenario: s})
	e.until("queued", 10, e.inState("cache-1", casework.Queued))
	f := e.findingsOf("cache-1")[0]
	from, to := e.w.ServerID("cache-1"), e.w.ServerID("cache-9")
	p1, p9 := e.w.PortIDs("cache-1")[0], e.w.PortIDs("cache-9")[0]
	e.must(e.w.SetService("cache-9", "redis9", func(v *lab.Service) { v.Mode = "" }))
	e.edit("kase", "", func(v map[string]any) { v["server"] = to })
	e.edit("finding", fmt.Sprintf(" WHERE id = '%s'", f.ID), func(v map[string]any) {
		k := v["key"].(map[string]any)
		k["server"], k["port"] = to, p9
		v["endpoint"].(map[string]any)["addr"] = e.w.At(place("127.77.1.19")).String()
	})
	e.sql(fmt.Sprintf(`UPDATE kase SET server = '%s'`, to))
	e.sql(fmt.Sprintf(`UPDATE finding SET server = '%s', key = REPLACE(REPLACE(key, '%s', '%s'), '%s', '%s') WHERE id = '%s'`,
		to, from, to, p1, p9, f.ID))
	e.must(e.d.Line.Approve(t.Context(), e.onlyCase().ID, "olga"))
	e.untilIdle()
	e.untouched()
	if said := refusals(e.onlyCase().Blocks); said != "witnessed: by the audit log finding "+f.ID+" is on another machine (server "+from+")" {
		t.Errorf("the gate said %s", said)
	}
}

// A port that is plugged in nowhere, and says that it is a running machine's of the same member, never sent anything: it protects nobody.
func TestUnboundPortThatNamesAMachineProtectsNobody(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	id, err := e.w.TenantPort("genomics", "public", e.w.At(place("127.77.3.3")), false)
	e.must(err)
	e.w.TenantPlug(id, "spare")
	e.restrict()
}

// One call of a member of another project makes a port without port security that says that it is the machine's.
func TestForeignClaimWithoutPortSecurityProtectsNobody(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	id, err := e.w.TenantPort("genomics", "genomics-net", place("10.0.0.201"), false)
	e.must(err)
	e.w.TenantPlug(id, "cache-1")
	e.until("queued", 10, e.inState("cache-1", casework.Queued))
	e.approve("cache-1")
	e.untilIdle()
	t.Logf("gate: %s", refusals(e.theCase("cache-1").Blocks))
	e.until("restricted", 1, e.inState("cache-1", casework.Restricted))
}
