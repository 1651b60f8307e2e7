package serve_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/finding"
	"demarc/internal/lab"
)

// crowd is a town with twenty machines more, none of which can be reached, and pages of seven rows.
func crowd() lab.Scenario {
	s := town()
	s.PageMax = 7
	for i := range 20 {
		s.Servers = append(s.Servers, machine(fmt.Sprint("extra-", i), "genomics", "bruno", "ssh-any", ""))
		s.Servers[len(s.Servers)-1].NICs[0].Addr = place(fmt.Sprintf("10.0.0.%d", 60+i))
	}
	return s
}

// always plans a fault that lasts.
func always(f lab.Fault) func(*exam) {
	f.Times = -1
	if f.Method == "" {
		f.Method = http.MethodGet
	}
	return func(e *exam) { e.w.Plan(f) }
}

const (
	servers  = "/compute/v2.1/servers/detail"
	floating = "/networking/v2.0/floatingips"
	allPorts = "/networking/v2.0/ports"
)

// A case is approved and due for its act, and the cloud's services answer wrongly. Nothing is removed, nothing is closed; where the
// inventory is not healthy the gate refuses for that reason and the operator sees what is amiss; and when the cloud is well again all
// goes on.
func TestTheCloudAnswersWronglyBeforeAnAct(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hurt func(*exam)
		heal func(*exam) // beyond the planned faults
		says string      // of the gap; "" where the fault is overcome, and the act happens
	}{
		"lost pages of ports":      {hurt: always(lab.Fault{Kind: lab.LostNext, Path: allPorts, Query: "limit"})}, // it is asked behind the last row
		"lost rows of servers":     {hurt: always(lab.Fault{Kind: lab.LostRows, Path: servers, Rows: 4}), says: "servers: "},
		"a repeated marker":        {hurt: always(lab.Fault{Kind: lab.RepeatNext, Path: servers}), says: "servers: "},
		"no floating IPs":          {hurt: always(lab.Fault{Kind: lab.Empty, Path: floating}), says: "floating_ips: "},
		"too many requests":        {hurt: always(lab.Fault{Kind: lab.Answer, Status: 429, RetryAfter: "0", Path: servers}), says: "servers: "},
		"too many requests, once":  {hurt: func(e *exam) { e.w.Plan(lab.Fault{Kind: lab.Answer, Status: 429, RetryAfter: "1", Path: servers}) }},
		"a service that is broken": {hurt: always(lab.Fault{Kind: lab.Answer, Status: 500, RetryAfter: "0", Path: floating}), says: "floating_ips: "},
		"a gateway, once":          {hurt: func(e *exam) { e.w.Plan(lab.Fault{Kind: lab.Answer, Status: 502, Path: allPorts}) }},
		"a token that expires":     {hurt: func(e *exam) { e.w.Plan(lab.Fault{Kind: lab.Outdate, Path: allPorts, Skip: 1}) }},
		"clocks that differ": {hurt: func(e *exam) {
			e.w.SetServiceClock("compute", 3*time.Minute)
			e.w.SetServiceClock("networking", -3*time.Minute)
			e.w.SetServiceClock("conductor", -time.Minute)
		}},
		"a list from a cache": {hurt: func(e *exam) {
			for _, id := range e.w.PortIDs("extra-1") {
				e.w.Twist(id, func(row map[string]any) { row["revision_number"] = 0 })
			}
		}, heal: func(e *exam) { e.w.Untwist() }, says: "older"},
		"a tenth of the machines gone": {hurt: func(e *exam) {
			for i := range 5 {
				e.must(e.w.DeleteServer(fmt.Sprint("extra-", i)))
			}
		}, heal: func(e *exam) { e.after(3 * day) }, says: "shrank in one reading"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t, plot{scenario: crowd()})
			e.must(e.w.TenantSetGroups("extra-1", "ssh-any")) // a change to forget
			e.until("queued", 10, e.inState("cache-1", casework.Queued))
			before, err := e.d.DB.Snapshot(t.Context(), "lab", 0)
			e.must(err)
			c.hurt(e)
			from := len(e.told())
			e.approve("cache-1")
			e.untilIdle()
			now, err := e.d.DB.Snapshot(t.Context(), "lab", 0)
			e.must(err)
			if has, had := sizes(now), sizes(before); has != had {
				t.Errorf("known are %s, and were %s", has, had)
			}
			if fs := e.findingsOf("cache-1"); len(fs) != 1 || fs[0].State != finding.Open || fs[0].Negatives != 0 {
				t.Errorf("findings %+v", fs)
			}
			if c.says == "" {
				if s := e.theCase("cache-1").State; s != casework.Restricted {
					t.Errorf("the case is %s; last\n%s", s, strings.Join(e.last(12), "\n"))
				}
				return
			}
			e.untouched()
			if d := e.detail("cache-1", "gate.refused"); !strings.Contains(d, "inventory: the inventory is not healthy") {
				t.Fatalf("the gate said %q; last\n%s", d, strings.Join(e.last(12), "\n"))
			}
			seen := ""
			for _, h := range e.told()[from:] {
				if h.Event == "inventory.partial" {
					seen += h.Detail + "\n"
				}
			}
			last, _, err := e.d.DB.LastCoverage(t.Context(), "inventory", "lab", "", "")
			e.must(err)
			if !strings.Contains(seen, c.says) || last.Complete == (last.Note != "") {
				t.Errorf("coverage %t %q; told %q", last.Complete, last.Note, seen)
			}
			if e.mailsTo(operators, "") == 0 {
				t.Error("no operator was told")
			}

			e.w.ClearFaults()
			if c.heal != nil {
				c.heal(e)
			}
			e.after(hour)
			e.until("queued again", 3, e.inState("cache-1", casework.Queued))
			e.approve("cache-1")
			e.until("restricted", 1, e.inState("cache-1", casework.Restricted))
			if n := len(e.changes("cache-1")); n != 1 {
				t.Errorf("%d changes of the port", n)
			}
		})
	}
}

// sizes counts what is known.
func sizes(s *asset.Snapshot) string {
	return fmt.Sprintf("%d servers, %d ports, %d floating IPs", len(s.Servers), len(s.Ports), len(s.FloatingIPs))
}
