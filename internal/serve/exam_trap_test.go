package serve_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/finding"
	"demarc/internal/flow"
	"demarc/internal/lab"
)

// listings are what a reading walks, and the kind under which a gap in it is told.
var listings = map[string]string{
	"projects": "/identity/v3/projects", "users": "/identity/v3/users", "grants": "/identity/v3/role_assignments", "servers": "/compute/v2.1/servers",
	"networks": "/networking/v2.0/networks", "subnets": "/networking/v2.0/subnets", "routers": "/networking/v2.0/routers", "groups": "/networking/v2.0/security-groups",
	"ports": "/networking/v2.0/ports", "floating_ips": "/networking/v2.0/floatingips", "images": "/image/v2/images",
}

// used lists what a machine that can be reached depends on: losing any of it would close a finding, or charge it to nobody.
func used(s *asset.Snapshot) []string {
	x := asset.NewIndex(s)
	out := map[string]bool{}
	for _, v := range s.Servers {
		out["server "+string(v.ID)], out["project "+string(v.Project)], out["image "+string(v.Image)] = x.Servers[v.ID] != nil, x.Projects[v.Project] != nil, x.Images[v.Image] != nil
		for _, p := range x.PortsOf[v.ID] {
			out["port "+string(p.ID)], out["network "+string(p.Network)] = true, x.Networks[p.Network] != nil
			for _, g := range p.Groups {
				out["group "+string(g)] = x.Groups[g] != nil
			}
			for _, f := range p.FixedIPs {
				out["subnet "+string(f.Subnet)] = x.Subnets[f.Subnet] != nil
			}
			for _, f := range x.FloatingOf[p.ID] {
				out["floating IP "+string(f.ID)], out["router "+string(f.Router)] = true, x.Routers[f.Router] != nil
			}
		}
	}
	maps.DeleteFunc(out, func(_ string, there bool) bool { return !there })
	return slices.Sorted(maps.Keys(out))
}

// HTTP 200 with fewer rows than there are, in any listing and for as long as it lasts: no machine is gone, nothing is closed, no
// finding changes, and nothing is enforced on what such a reading says.
func TestRowsThatAreNotListedAreNotGone(t *testing.T) {
	t.Parallel()
	for kind, path := range listings {
		for _, f := range []lab.Fault{{Kind: lab.Empty}, {Kind: lab.LostRows, Rows: 2}} {
			f.Path, f.Times = path, -1
			t.Run(fmt.Sprintf("%s, %s %d", kind, f.Kind, f.Rows), func(t *testing.T) {
				t.Parallel()
				e := open(t, plot{})
				e.until("notified", 1, e.inState("cache-1", casework.Notified))
				before, err := e.d.DB.Snapshot(t.Context(), "lab", 0)
				e.must(err)
				case1 := e.theCase("cache-1")
				e.w.Plan(f)
				from := len(e.told())
				e.after(8 * day) // beyond the deadline
				now, err := e.d.DB.Snapshot(t.Context(), "lab", 0)
				e.must(err)
				if had, has := used(before), used(now); !slices.Equal(had, has) {
					t.Errorf("gone: %v", slices.DeleteFunc(had, func(s string) bool { return slices.Contains(has, s) }))
				}
				if c := e.theCase("cache-1"); c.ID != case1.ID || c.State.Over() || c.State == casework.Verified || c.State == casework.Restricted {
					t.Errorf("the case is %s", c.State)
				}
				if fs := e.findingsOf("cache-1"); len(fs) != 1 || fs[0].State != finding.Open {
					t.Errorf("%+v", fs)
				}
				gaps := slices.ContainsFunc(e.told()[from:], func(h flow.Happening) bool {
					return h.Event == "inventory.partial" && strings.HasPrefix(h.Detail, kind+": ")
				})
				if f.Kind == lab.Empty && !gaps {
					t.Errorf("no gap of %s is told: %v", kind, e.last(5))
				}
				if gaps && e.theCase("cache-1").State == casework.Queued {
					e.approve("cache-1")
					e.after(day)
					if c := e.theCase("cache-1"); c.State != casework.Queued {
						t.Errorf("acted on a partial inventory: %s", c.State)
					}
				}
				e.untouched()
			})
		}
	}
}

// Many machines that vanish between two readings are believed when a later one says so too: not by the first reading, which holds
// enforcement, not by a second that follows at once, and not before two more have said so.
func TestASuddenLossIsHeldUntilItIsSaidTwice(t *testing.T) {
	t.Parallel()
	s := town()
	for i := range 4 {
		s.Servers = append(s.Servers, machine(fmt.Sprint("extra-", i), "genomics", "bruno", "ssh-any", ""))
		s.Servers[len(s.Servers)-1].NICs[0].Addr = place(fmt.Sprintf("10.0.0.%d", 60+i))
	}
	e := open(t, plot{scenario: s})
	e.until("notified", 1, e.inState("cache-1", casework.Notified))
	for i := range 4 {
		e.must(e.w.DeleteServer(fmt.Sprint("extra-", i)))
	}
	var verdicts []string
	for range 4 {
		n := e.count("", "inventory.read")
		for e.count("", "inventory.read") == n {
			if !e.step() {
				due, err := e.d.Line.NextDue(t.Context())
				e.must(err)
				e.clock.LeapTo(due)
			}
		}
		c, _, err := e.d.DB.LastCoverage(t.Context(), "inventory", "lab", "", "")
		e.must(err)
		now, err := e.d.DB.Snapshot(t.Context(), "lab", 0)
		e.must(err)
		verdicts = append(verdicts, fmt.Sprintf("%d servers, complete %v", len(now.Servers), c.Complete))
	}
	if want := []string{"7 servers, complete false", "7 servers, complete false", "7 servers, complete true", "3 servers, complete true"}; !slices.Equal(verdicts, want) {
		t.Errorf("%v", verdicts)
	}
	if d := e.detail("", "inventory.partial"); !strings.Contains(d, "servers: shrank in one reading: 4 of 7") {
		t.Errorf("%q", d)
	}
}
