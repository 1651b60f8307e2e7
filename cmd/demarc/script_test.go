package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"demarc/internal/asset"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/flow"
	"demarc/internal/probe"
	"demarc/internal/store"
	"demarc/internal/store/storetest"
	"demarc/internal/untrusted"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"demarc": func() { os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
		"ledger": func() {
			if err := makeLedger(context.Background(), os.Args[1], os.Args[2]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		},
	})
}

func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("DEMARC_DB", "")
			e.Setenv("TZ", "UTC")
			if storetest.Admin() != "" { // a database of each script's own
				e.Setenv("ADMIN", storetest.Admin())
				e.Setenv("PLACE", storetest.Fresh(t, ""))
				e.Setenv("PGPASSFILE", os.Getenv("PGPASSFILE"))
			}
			return nil
		},
		Condition: func(what string) (bool, error) { return what == "postgres" && storetest.Admin() != "", nil },
	})
}

// hostileName is what a tenant may call a machine.
const hostileName = "=cmd|' /C calc'!A0\x1b[31m\u202egnp<script>"

var scriptBegan = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

const scriptDay = int64(24 * time.Hour / time.Microsecond)

// makeLedger makes a database: empty; filled, with one address that moves between machines after two days and one
// case that waits for approval; the same with the case at another state; or tampered, which alters one that is there.
func makeLedger(ctx context.Context, kind, path string) (err error) {
	if kind == "tampered" || kind == "malformed" {
		h, err := sql.Open("sqlite", "file:"+path)
		if err != nil {
			return err
		}
		query := `UPDATE audit SET leaf = CAST(replace(CAST(leaf AS TEXT), 'carol', 'nobody') AS BLOB) WHERE seq = 2`
		if kind == "malformed" {
			query = `UPDATE audit SET leaf = CAST('gone' AS BLOB) WHERE seq = 2`
		}
		_, err = h.ExecContext(ctx, query)
		return errors.Join(err, h.Close())
	}
	var opts []store.Option
	if !store.IsURL(path) {
		opts = append(opts, store.WithHeads(store.HeadFile(path+".heads")))
	}
	db, err := store.Open(ctx, path, opts...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if kind == "empty" {
		return nil
	}
	open := caseChange()
	changes := []casework.Change{inventoryAt(0, "port-1"), open, inventoryAt(2*scriptDay, "port-2")}
	switch kind {
	case "filled":
	case "partial":
		part := inventoryAt(3*scriptDay, "port-2")
		part.Inventory.Snapshot.Gaps = []asset.Gap{{Kind: "ports", Reason: "HTTP 403"}}
		changes = append(changes, part)
	case "odd":
		changes[2].Inventory.Snapshot.Servers[2].Status = ""
	case "exposed", "idle", "shared", "off":
		changes = append(changes, exposureChanges(kind, changes[2])...)
	default:
		open.Cases[0].State = casework.State(kind)
	}
	for _, c := range changes {
		if err := db.Commit(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// inventoryAt is a complete reading in which 192.0.2.10 leads to a port.
func inventoryAt(after int64, leads asset.PortID) casework.Change {
	at := scriptBegan + after
	ip := netip.MustParseAddr
	port := func(id asset.PortID, s asset.ServerID, p asset.ProjectID, addr string) asset.Port {
		return asset.Port{ID: id, Project: p, Network: "net-1", Server: s, DeviceOwner: "compute:nova", FixedIPs: []asset.FixedIP{{Subnet: "sub-1", Addr: ip(addr)}}, Groups: []asset.GroupID{"sg-1"},
			PortSecurity: true, AdminUp: true, Status: "ACTIVE"}
	}
	s := &asset.Snapshot{Cloud: "lab", Began: at, Ended: at,
		Projects: []asset.Project{{ID: "p-astro", Name: untrusted.From("astro"), Enabled: true}, {ID: "p-genomics", Name: untrusted.From("genomics"), Enabled: true}},
		Users: []asset.User{{ID: "u-alice", Name: untrusted.From("alice"), Mail: "alice@astro.example", Enabled: true}, {ID: "u-bob", Name: untrusted.From("bob"), Mail: "bob@genomics.example", Enabled: true},
			{ID: "u-ann", Name: untrusted.From("ann"), Mail: "ann@astro.example", Enabled: true}},
		Grants: []asset.Grant{{User: "u-alice", Project: "p-astro", Role: "member"}, {User: "u-ann", Project: "p-astro", Role: "admin"}, {User: "u-bob", Project: "p-genomics", Role: "manager"}},
		Servers: []asset.Server{{ID: "s-web", Project: "p-astro", Creator: "u-alice", Name: untrusted.From("web-1"), Status: "ACTIVE"}, {ID: "s-gpu", Project: "p-genomics", Creator: "u-bob", Name: untrusted.From(hostileName), Status: "ACTIVE"},
			{ID: "s-twin-a", Project: "p-astro", Name: untrusted.From("twin"), Status: "ACTIVE"}, {ID: "s-twin-b", Project: "p-astro", Name: untrusted.From("twin"), Status: "ACTIVE"}},
		Networks:    []asset.Network{{ID: "net-1", Project: "p-astro", Name: untrusted.From("inside")}, {ID: "net-2", Project: "p-genomics", Name: untrusted.From("inside")}},
		Ports:       []asset.Port{port("port-1", "s-web", "p-astro", "10.0.0.5"), port("port-2", "s-gpu", "p-genomics", "10.0.0.6")},
		FloatingIPs: []asset.FloatingIP{{ID: "fip-1", Project: "p-astro", Network: "net-ext", Addr: ip("192.0.2.10"), Port: leads, Fixed: ip("10.0.0.5")}},
		Groups: []asset.Group{{ID: "sg-1", Project: "p-astro", Name: untrusted.From("web"), Rules: []asset.Rule{
			{ID: "rule-redis", Group: "sg-1", Direction: asset.Ingress, EtherType: 4, Protocol: "tcp", PortMin: 6379, PortMax: 6379},
			{ID: "rule-ssh", Group: "sg-1", Direction: asset.Ingress, EtherType: 4, Protocol: "tcp", PortMin: 22, PortMax: 22, RemotePrefix: netip.MustParsePrefix("198.51.100.10/32")}}}},
	}
	twin := port("port-3", "s-twin-a", "p-astro", "10.0.0.5") // the same private address in another network
	twin.Network = "net-2"
	s.Ports = append(s.Ports, twin)
	return casework.Change{At: at, Inventory: &casework.Inventory{Snapshot: s, RealAt: at}}
}

// exposureChanges are what sweeps of the fourth day saw of the machine that has the address then: exposed, something answers where a rule
// lets it and where none does; idle, nothing answers, one rule is new and one is wide; off, it answered, and was switched off.
func exposureChanges(kind string, last casework.Change) []casework.Change {
	at := scriptBegan + 3*scriptDay
	seen := func(addr string, port uint16) probe.Exposure {
		return probe.Exposure{ID: fmt.Sprint("x-", port), Vantage: "outside", Endpoint: probe.Endpoint{Addr: netip.MustParseAddr(addr), Proto: probe.TCP, Port: port}, OpenedAt: at, Facts: probe.Facts{Outcome: probe.Open}.Hash(), Config: "open"}
	}
	ssh := casework.Ask{Vantage: "outside", Addr: netip.MustParseAddr("192.0.2.10"), Proto: probe.TCP, First: 22, Last: 22, At: at}
	switch kind {
	case "idle":
		g := &last.Inventory.Snapshot.Groups[0]
		g.Rules = append(g.Rules, asset.Rule{ID: "rule-wide", Group: g.ID, Direction: asset.Ingress, EtherType: 4, Protocol: "tcp", PortMin: 20000, PortMax: 30000})
		return []casework.Change{{At: at, Queue: []casework.Ask{ssh},
			Walks: map[string]probe.Walk{"outside": {Parts: 30, Since: map[string]int64{"192.0.2.10 tcp 20000-30000": 0, "192.0.2.10 tcp 6379-6379": 0, "192.0.2.10 tcp 22-22": 0}}}}}
	case "shared":
		s := last.Inventory.Snapshot
		s.FloatingIPs = append(s.FloatingIPs, asset.FloatingIP{ID: "fip-2", Project: "p-genomics", Network: "net-ext", Addr: netip.MustParseAddr("192.0.2.11"), Port: "port-1", Fixed: netip.MustParseAddr("10.0.0.5")})
		return []casework.Change{{At: at, Exposures: []probe.Exposure{seen("192.0.2.11", 6379)}}}
	case "off":
		s := *last.Inventory.Snapshot
		s.Servers = slices.Clone(s.Servers)
		for i := range s.Servers {
			s.Servers[i].Status = "SHUTOFF"
		}
		s.Began, s.Ended = at+1, at+1
		return []casework.Change{{At: at, Exposures: []probe.Exposure{seen("192.0.2.10", 6379)}}, {At: at + 1, Inventory: &casework.Inventory{Snapshot: &s, RealAt: at + 1}}}
	}
	before := scriptBegan + scriptDay
	return []casework.Change{{At: at, Exposures: []probe.Exposure{seen("192.0.2.10", 6379), seen("192.0.2.10", 8443), seen("192.0.2.99", 80)}, Standings: []casework.Standing{
		{Cloud: "lab", Vantage: "outside", Project: "p-astro", At: before, OpenAnswers: 2, OpenSilent: 1, DeniedSilent: 9},
		{Cloud: "lab", Vantage: "outside", Project: "p-genomics", At: before, OpenAnswers: 3},
		{Cloud: "lab", Vantage: "outside", Project: "p-genomics", At: at, OpenAnswers: 1, DeniedAnswers: 1, DeniedSilent: 7, ScannerOnly: 1}}}}
}

const scriptCase = "0196a000-0000-7000-8000-000000abcdef"

func caseChange() casework.Change {
	at := scriptBegan + scriptDay
	facts := probe.Facts{Outcome: probe.Open}
	model, err := duty.Default()
	if err != nil {
		panic(err)
	}
	entry := func(actor, event, detail string) audit.Entry {
		b, err := json.Marshal(flow.Happening{At: at, Step: "judge", Event: event, Case: scriptCase, Detail: detail})
		if err != nil {
			panic(err)
		}
		return audit.Entry{Actor: actor, Kind: event, Case: scriptCase, Detail: b}
	}
	return casework.Change{At: at, Facts: []probe.Facts{facts},
		Blocks:   map[string]map[netip.Prefix]int64{"outside": {netip.MustParsePrefix("192.0.2.0/24"): at}},
		Coverage: []probe.Coverage{{Cloud: "lab", Vantage: "outside", Purpose: probe.Reach, Cycle: 1, Began: at, Ended: at + 1, RealAt: at, Complete: true, Sent: 12, Answered: 3, Open: 1}},
		Findings: []finding.Finding{{ID: "f-1", Key: finding.Key{Cloud: "lab", Server: "s-gpu", Port: "port-2", Project: "p-genomics", Check: "redis-unauth", Locus: "tcp/6379", Zone: probe.Internet},
			Case: scriptCase, Project: "p-genomics", State: finding.Open, Grade: finding.Proved, Severity: "critical", Class: "E", Title: "Redis answers without a password", Revision: 1,
			Endpoint: probe.Endpoint{Addr: netip.MustParseAddr("192.0.2.20"), Proto: probe.TCP, Port: 6379}, Vantage: "outside", Facts: facts.Hash(),
			Evidence: map[string]untrusted.Text{"reply": untrusted.From("+PONG\x1b[2J")}, FirstSeen: at, LastSeen: at,
			Duty: model.Resolve("application", "secure", duty.Resource{Service: "iaas", Architecture: "vm", Contract: "standard", Project: "p-genomics"})}},
		Sightings: []finding.Sighting{{Finding: "f-1", At: at, RealAt: at, Verdict: finding.Vulnerable, Vantage: "outside"}},
		Cases: []casework.Case{{ID: scriptCase, Cloud: "lab", Server: "s-gpu", Project: "p-genomics", Party: duty.Customer, Track: casework.Vulnerability, Zone: probe.Internet, Class: "E",
			State: casework.Queued, OpenedAt: at, Due: at + 4*scriptDay, QueuedAt: at}},
		Mails: []casework.Mail{{ID: "m-1", Case: scriptCase, Step: casework.StepNotice, To: casework.Owner, Recipient: "bob@genomics.example", MessageID: "one@lab.example", QueuedAt: at,
			Status: casework.Waiting, NextAt: at, LastError: "450 try later\x1b[31m"},
			{ID: "m-2", Case: scriptCase, Step: casework.StepApproval, To: casework.Operators, Recipient: "ops@lab.example", MessageID: "two@lab.example", QueuedAt: at, Attempts: 1,
				Status: casework.Taken, AcceptedAt: at, Subject: "[DM-ABCDEF] an act waits for approval: gpu", Body: "It waits.\n\nMachine:  \\x1b\x1b[31m\n"}},
		Audit: []audit.Entry{entry("demarc", "finding.opened", "192.0.2.20:6379/tcp: Redis answers without a password"), entry("demarc", "case.opened", ""), entry("carol", "people.noted", "by carol")},
	}
}
