package serve_test

import (
	"net/netip"
	"strings"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/finding"
	"demarc/internal/lab"
)

// What answers at an address that a tenant has joined to the cloud by an extra route is told to that project, and nothing else follows;
// when the daemon is gone, so is the finding.
func TestWhatATenantJoinsIsToldAndNothingElse(t *testing.T) {
	t.Parallel()
	e := open(t, plot{config: []string{".0.0/17", ".0.0/16"}}) // wider than the external subnet: what lies in that is the provider's
	at := e.w.At(netip.MustParseAddr("127.77.160.9"))
	e.until("the machine is told", 2, e.inState("cache-1", casework.Notified))
	joined := func() []finding.Finding {
		fs, err := e.d.DB.Findings(t.Context(), operator, finding.Filter{})
		e.must(err)
		var out []finding.Finding
		for _, f := range fs {
			if f.Key.Server == "" {
				out = append(out, f)
			}
		}
		return out
	}
	if fs := joined(); len(fs) > 0 {
		t.Fatalf("nothing is joined yet: %+v", fs)
	}
	s, err := e.d.DB.Snapshot(t.Context(), "lab", 0)
	e.must(err)
	var router asset.Router
	for _, r := range s.Routers {
		if r.Name.Raw() == "genomics-router" {
			router = r
		}
	}
	stranger, err := lab.NewStranger(netip.AddrPortFrom(at, 6379), lab.Service{Kind: lab.Redis, Port: 6379})
	e.must(err)
	defer stranger.Close()
	e.w.Twist(string(router.ID), func(row map[string]any) {
		row["routes"] = []any{map[string]any{"destination": netip.PrefixFrom(at, 32).String(), "nexthop": "10.0.0.99"}}
	})
	e.until("it is told to the project", 5, func() bool {
		fs := joined()
		return len(fs) == 1 && e.caseByID(fs[0].Case).State == casework.Notified
	})
	f := joined()[0]
	if f.Key.Check != "redis-unauth" || f.Key.Project != router.Project || f.Project != router.Project || f.Class != "M" || !strings.Contains(f.Cause, "extra route of router genomics-router") || f.Endpoint.Addr != at {
		t.Errorf("%+v", f)
	}
	e.after(20 * day)
	if c := e.caseByID(f.Case); c.State != casework.Notified || c.Act != "" {
		t.Errorf("after 20 days the case is %s", c.State)
	}
	stranger.Close()
	e.until("it is gone", 6, func() bool { return joined()[0].State == finding.Fixed })
	e.untouched()
	e.noErrors()
}
