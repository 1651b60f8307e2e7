package serve_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
)

// A row that somebody writes into the table of orders takes no machine off the network. Otherwise it would bypass the gate and a pause, for
// a machine that no case is about.
func TestForgedOrderIsNotCarriedOut(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.until("notified", 2, e.inState("cache-1", casework.Notified))
	e.must(e.d.Line.Pause(t.Context(), true, "olga", "nothing may happen"))
	k := e.theCase("cache-1")
	victim := e.w.PortIDs("gate-1")[0]
	var groups []asset.GroupID
	for _, g := range e.w.PortGroups(victim) {
		groups = append(groups, asset.GroupID(g))
	}
	row := casework.Act{
		ID: "0199ffff-0000-7000-8000-000000000001", Case: k.ID, Cloud: k.Cloud,
		Server: asset.ServerID(e.w.ServerID("gate-1")), Project: k.Project, Kind: casework.ActRestore,
		State: casework.ActIntended, IntendedAt: e.clock.Now(), RealAt: e.clock.Real(), Version: 1,
		Ports: []casework.PortOrder{{Port: asset.PortID(victim), Before: groups, After: groups, Saved: groups, Revision: 0}},
		Machine: &casework.MachineOrder{
			Seen:   []string{},
			Steps:  []casework.MachineStep{{Do: casework.DoStop}, {Do: casework.DoLock}},
			Reason: "x",
		},
	}
	body, err := json.Marshal(row)
	e.must(err)
	e.sql(fmt.Sprintf(`INSERT INTO act (id, kase, cloud, server, project, kind, state, intended_at, version, body)
		VALUES ('%s','%s','%s','%s','%s','restore','intended',%d,1,'%s')`,
		row.ID, row.Case, row.Cloud, row.Server, row.Project, row.IntendedAt, strings.ReplaceAll(string(body), "'", "''")))
	before := e.w.Machine("gate-1")
	e.untilIdle()
	e.after(2 * hour)
	if m := e.w.Machine("gate-1"); m.Status != before.Status || m.Locked {
		t.Errorf("the machine of another tenant is %+v", m)
	}
}

// What a machine gets back is what was saved, whatever somebody wrote into the row of its order since.
func TestEditedOrderGivesNothingElseBack(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	before := e.groups("cache-1")
	e.restrict()
	e.edit("act", "", func(v map[string]any) {
		v["ports"].([]any)[0].(map[string]any)["saved"] = []any{}
	})
	e.setPassword("cache-1")
	e.claim("cache-1")
	e.after(2 * day)
	if e.inState("cache-1", casework.Released)() && len(e.groups("cache-1")[0]) != len(before[0]) {
		t.Errorf("given back %v, had %v", e.groups("cache-1"), before)
	}
}
