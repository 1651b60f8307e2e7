package storetest

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/fault"
	"demarc/internal/finding"
	"demarc/internal/probe"
)

// full is a change with a row of every kind.
func full() casework.Change {
	c := aCase("case-1", "p1", "s1")
	f := aFinding("finding-1", c)
	paused := true
	return casework.Change{
		At: 10, Inventory: &casework.Inventory{Snapshot: world(9), RealAt: 9},
		Coverage:  []probe.Coverage{{Cloud: "cloud", Vantage: "outside", Purpose: probe.Recheck, Began: 1, Ended: 9, Complete: true}},
		Facts:     []probe.Facts{facts()},
		Exposures: []probe.Exposure{{ID: "e1", Vantage: "outside", Endpoint: probe.Endpoint{Addr: netip.MustParseAddr("192.0.2.1"), Proto: probe.TCP, Port: 80}, OpenedAt: 9, Facts: facts().Hash(), Config: "open"}},
		Cases:     []casework.Case{c}, Findings: []finding.Finding{f},
		Sightings: []finding.Sighting{{Finding: f.ID, At: 9, RealAt: 9, Verdict: finding.Vulnerable, Vantage: "outside"}},
		Charges:   []finding.Charge{{Finding: f.ID, At: 9, Told: true, Left: 5, Duty: duty.Resolution{Model: "default", Version: 1, Assignment: "application", Party: duty.Customer, Considered: []duty.Candidate{{Assignment: "x", Lost: "y"}}}}},
		Models:    []casework.ModelUse{{ID: "default", Version: 1, Hash: "abc", Text: "id: default # as written\n", Since: 9}},
		Arm:       []casework.Due{{Case: c.ID, Timer: casework.TimerDue, At: 20}}, Mails: []casework.Mail{aMail("mail-1", c)}, Acts: []casework.Act{anAct("act-1", c)},
		Queue:     []casework.Ask{{Vantage: "outside", Project: "p1", Addr: netip.MustParseAddr("192.0.2.1"), Proto: probe.TCP, First: 22, Last: 25, At: 9}},
		Standings: []casework.Standing{{Cloud: "cloud", Vantage: "outside", Project: "p1", At: 9, OpenAnswers: 3}},
		Pause:     &paused, Audit: []audit.Entry{anEntry("case.opened"), anEntry("mail.queued")},
	}
}

// Whatever part of a change is refused, nothing of it is written.
func allOrNothing(t *testing.T, e Engine) {
	breaks := map[string]func(*casework.Change){
		"a sighting of no finding":  func(c *casework.Change) { c.Sightings[0].Finding = "none" },
		"a charge of no finding":    func(c *casework.Change) { c.Charges[0].Finding = "none" },
		"a model twice":             func(c *casework.Change) { c.Models = append(c.Models, c.Models[0]) },
		"an exposure of no fact":    func(c *casework.Change) { c.Exposures[0].Facts = "none" },
		"an exposure out of words":  func(c *casework.Change) { c.Exposures[0].Config = "perhaps" },
		"restricted by no order":    func(c *casework.Change) { c.Cases[0].State = casework.Restricted },
		"a case twice":              func(c *casework.Change) { c.Cases = append(c.Cases, c.Cases[0]) },
		"a case of a later version": func(c *casework.Change) { c.Cases[0].Version = 4 },
		"an act of a later version": func(c *casework.Change) { c.Acts[0].Version = 4 },
		"two acts on one server":    func(c *casework.Change) { c.Acts = append(c.Acts, anAct("act-2", c.Cases[0])) },
		"a mail without a status":   func(c *casework.Change) { c.Mails[0].Status = "" },
		"an object listed twice": func(c *casework.Change) {
			c.Inventory.Snapshot.Servers = append(c.Inventory.Snapshot.Servers, c.Inventory.Snapshot.Servers[0])
		},
		"an entry that is no JSON": func(c *casework.Change) { c.Audit[1].Detail = []byte("{") },
	}
	x := begin(t, e)
	x.commit(casework.Change{At: 1, Audit: []audit.Entry{anEntry("start")}})
	if err := x.KeepPage(t.Context(), aPage("cloud", "ports", 0)); err != nil { // which the whole change takes away
		t.Fatal(err)
	}
	before := e.Tables(t, x.Store)
	for name, bend := range breaks {
		c := full()
		bend(&c)
		_ = x.refused(name, c)
		if after := e.Tables(t, x.Store); !maps.Equal(before, after) {
			t.Errorf("%s: something of it was written: %v", name, differing(before, after))
		}
	}
	x.commit(full())
	for table, sum := range e.Tables(t, x.Store) {
		if sum == before[table] && table != "reading" { // a walk on its way is kept before it is a change
			t.Errorf("the whole change wrote nothing into %s", table)
		}
	}
}

func differing(a, b map[string]string) []string {
	var out []string
	for k := range b {
		if a[k] != b[k] {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// Whoever writes over what somebody else wrote meanwhile is told.
func conflict(t *testing.T, e Engine) {
	x, ctx := begin(t, e), t.Context()
	x.commit(full())
	c := got[casework.Case](x)(x.Case(ctx, operator, "case-1"))
	f := got[finding.Finding](x)(x.Finding(ctx, operator, "finding-1"))
	a := got[casework.Act](x)(x.Act(ctx, "act-1"))
	if c.Version != 1 || f.Version != 1 || a.Version != 1 {
		t.Errorf("versions %d, %d, %d", c.Version, f.Version, a.Version)
	}
	change := casework.Change{At: 11, Cases: []casework.Case{c}, Findings: []finding.Finding{f}, Acts: []casework.Act{a}}
	x.commit(change)
	before := e.Tables(t, x.Store)
	for name, old := range map[string]casework.Change{"case": {At: 12, Cases: change.Cases}, "finding": {At: 12, Findings: change.Findings}, "act": {At: 12, Acts: change.Acts}} {
		if err := x.refused("an old "+name, old); !fault.Is(err, fault.Conflict) {
			t.Errorf("an old %s: %v", name, err)
		}
	}
	if after := e.Tables(t, x.Store); !maps.Equal(before, after) {
		t.Errorf("written all the same: %v", differing(before, after))
	}
}

// What must never be, is not written, whoever asks.
func constraints(t *testing.T, e Engine) {
	x := begin(t, e)
	x.commit(casework.Change{At: 1, Cases: []casework.Case{aCase("case-1", "p1", "s1")}})
	bend := func(id string, how func(*casework.Case)) casework.Case {
		c := aCase(id, "p1", "s-"+id)
		how(&c)
		return c
	}
	for name, c := range map[string]casework.Case{
		"a second open case of a machine, a party and a track": aCase("case-2", "p1", "s1"),
		"restricted by no order":                               bend("a", func(c *casework.Case) { c.State = casework.Restricted }),
		"queued, and the provider's":                           bend("b", func(c *casework.Case) { c.State, c.Party = casework.Queued, duty.Provider }),
		"queued, and shared":                                   bend("c", func(c *casework.Case) { c.State, c.Party = casework.Queued, duty.Shared }),
		"restricted, and the provider's":                       bend("d", func(c *casework.Case) { c.State, c.Party, c.Act = casework.Restricted, duty.Provider, "act" }),
	} {
		_ = x.refused(name, casework.Change{At: 2, Cases: []casework.Case{c}})
	}
	other := aCase("case-3", "p1", "s1")
	other.Track = casework.Exposure
	provider := aCase("case-4", "p1", "s1")
	provider.Party = duty.Provider
	x.commit(casework.Change{At: 3, Cases: []casework.Case{other, provider, bend("e", func(c *casework.Case) { c.State, c.Act = casework.Restricted, "act" }), bend("f", func(c *casework.Case) { c.State = casework.Queued })}})
	over := got[casework.Case](x)(x.Case(t.Context(), operator, "case-1"))
	over.State = casework.Closed
	x.commit(casework.Change{At: 4, Cases: []casework.Case{over}})
	x.commit(casework.Change{At: 5, Cases: []casework.Case{aCase("case-2", "p1", "s1")}})
	if c, ok, err := x.OpenCase(t.Context(), over.Key()); err != nil || !ok || c.ID != "case-2" {
		t.Errorf("the open case is %q, %v, %v", c.ID, ok, err)
	}
	serverless := []casework.Case{aCase("case-5", "p1", ""), aCase("case-6", "p2", "")}
	x.commit(casework.Change{At: 6, Cases: serverless})
	_ = x.refused("a second open case of a project", casework.Change{At: 7, Cases: []casework.Case{aCase("case-7", "p1", "")}})
}

// A case has one timer of each name.
func timers(t *testing.T, e Engine) {
	x, ctx := begin(t, e), t.Context()
	due := func(at int64) []casework.Due { return got[[]casework.Due](x)(x.DueTimers(ctx, at)) }
	x.commit(casework.Change{At: 1, Arm: []casework.Due{{Case: "c", Timer: casework.TimerDue, At: 10}, {Case: "c", Timer: casework.TimerRecheck, At: 5}, {Case: "d", Timer: casework.TimerDue, At: 7}}})
	if want := []casework.Due{{Case: "c", Timer: casework.TimerRecheck, At: 5}, {Case: "d", Timer: casework.TimerDue, At: 7}}; !slices.Equal(due(9), want) {
		t.Errorf("due at 9: %v", due(9))
	}
	x.commit(casework.Change{At: 2, Arm: []casework.Due{{Case: "c", Timer: casework.TimerDue, At: 30}}})
	x.commit(casework.Change{At: 3, Disarm: []casework.Due{{Case: "d", Timer: casework.TimerDue}, {Case: "d", Timer: casework.TimerGrace}}})
	x.commit(casework.Change{At: 4, Disarm: []casework.Due{{Case: "c", Timer: casework.TimerRecheck}}, Arm: []casework.Due{{Case: "c", Timer: casework.TimerRecheck, At: 20}}})
	want := []casework.Due{{Case: "c", Timer: casework.TimerRecheck, At: 20}, {Case: "c", Timer: casework.TimerDue, At: 30}}
	if !slices.Equal(due(99), want) || !slices.Equal(got[[]casework.Due](x)(x.Timers(ctx, "c")), want) || len(due(19)) != 0 {
		t.Errorf("armed: %v", due(99))
	}
	for after, next := range map[int64]int64{0: 20, 19: 20, 20: 30, 30: 0} { // what is due already does not hide what comes
		if at, ok, err := x.NextDue(ctx, after); err != nil || ok != (next > 0) || at != next {
			t.Errorf("after %d the next is due at %d, %v, %v", after, at, ok, err)
		}
	}
}

// A mail is queued once for its Message-ID, and once accepted or given up stays so.
func mail(t *testing.T, e Engine) {
	x, ctx := begin(t, e), t.Context()
	c := aCase("case-1", "p1", "s1")
	if _, ok, err := x.NextDue(ctx, 0); err != nil || ok {
		t.Errorf("something is due in an empty store: %v, %v", ok, err)
	}
	m := aMail("mail-1", c)
	x.commit(casework.Change{At: 1, Cases: []casework.Case{c}, Mails: []casework.Mail{m}})
	copied := m
	copied.ID, copied.Recipient = "mail-2", "x@example.org"
	x.commit(casework.Change{At: 2, Mails: []casework.Mail{copied}})
	if ms := got[[]casework.Mail](x)(x.DueMail(ctx, 5)); !reflect.DeepEqual(ms, []casework.Mail{m}) {
		t.Errorf("waiting: %+v", ms)
	}
	if ms := got[[]casework.Mail](x)(x.DueMail(ctx, 4)); len(ms) != 0 {
		t.Errorf("waiting before its time: %+v", ms)
	}
	sent := m
	sent.Status, sent.AcceptedAt, sent.Attempts = casework.Taken, 6, 1
	x.commit(casework.Change{At: 6, Mails: []casework.Mail{sent}})
	for _, late := range []casework.Mail{m, copied} {
		late.LastError = "late"
		x.commit(casework.Change{At: 7, Mails: []casework.Mail{late}})
	}
	if ms := got[[]casework.Mail](x)(x.MailsOf(ctx, c.ID)); !reflect.DeepEqual(ms, []casework.Mail{sent}) {
		t.Errorf("kept: %+v", ms)
	}
	if ms := got[[]casework.Mail](x)(x.DueMail(ctx, 99)); len(ms) != 0 {
		t.Errorf("an accepted mail waits: %+v", ms)
	}
}

// Scoped lists every reading that takes a scope; the exam asks them all.
var Scoped = []string{"BindingsAt", "BindingsWithin", "Case", "Cases", "Charges", "EntriesOf", "Finding", "Findings", "LatestMails", "Mail", "Mails", "NameOf", "Standings", "Tally"}

// A tenant sees what is theirs and no trace of the rest.
func scope(t *testing.T, e Engine) {
	x, ctx := begin(t, e), t.Context()
	var ch casework.Change
	for i := range 3 {
		c := aCase(fmt.Sprint("case-", i), fmt.Sprint("p", i), fmt.Sprint("s", i))
		ch.Cases, ch.Findings, ch.Mails = append(ch.Cases, c), append(ch.Findings, aFinding(fmt.Sprint("finding-", i), c)), append(ch.Mails, aMail(fmt.Sprint("mail-", i), c))
		ch.Standings = append(ch.Standings, casework.Standing{Cloud: "cloud", Vantage: "outside", Project: c.Project, At: 3, OpenAnswers: i})
		ch.Audit = append(ch.Audit, audit.Entry{Actor: "demarc", Kind: "case.opened", Case: c.ID}, audit.Entry{Actor: "demarc", Kind: "other", Case: "another", Detail: []byte(`{"case":"` + c.ID + `"}`)})
	}
	ch.At, ch.Inventory = 10, &casework.Inventory{Snapshot: shared(9)}
	x.commit(ch)
	addr := netip.MustParseAddr("10.0.0.5")
	for name, v := range map[string]struct {
		scope access.Scope
		sees  []int
	}{
		"operator": {operator, []int{0, 1, 2}}, "tenant of p1": {access.Tenant("p1"), []int{1}}, "tenant of two": {access.Tenant("p0", "p2"), []int{0, 2}},
		"tenant of none": {access.Tenant(), nil}, "tenant of another": {access.Tenant("x"), nil}, "nobody": {access.Scope{}, nil},
		"a quote": {access.Tenant("p1' OR '1'='1"), nil}, "a wildcard": {access.Tenant("p%", "%", "*"), nil}, "another case of letters": {access.Tenant("P1"), nil},
	} {
		var cases, findings, mails, bound, want []string
		for _, c := range got[[]casework.Case](x)(x.Cases(ctx, v.scope, casework.Filter{})) {
			cases = append(cases, string(c.Project))
		}
		for _, f := range got[[]finding.Finding](x)(x.Findings(ctx, v.scope, finding.Filter{})) {
			findings = append(findings, string(f.Project))
		}
		for _, m := range got[[]casework.Mail](x)(x.Mails(ctx, v.scope)) {
			mails = append(mails, "p"+m.Case[len("case-"):])
		}
		var latest []string
		for _, m := range got[[]casework.Mail](x)(x.LatestMails(ctx, v.scope, 99)) {
			latest = append(latest, "p"+m.Case[len("case-"):])
		}
		slices.Reverse(latest)
		for _, at := range []int64{0, 11} {
			bound = nil
			for _, b := range got[[]asset.Binding](x)(x.BindingsAt(ctx, v.scope, addr, at)) {
				bound = append(bound, string(b.Project))
			}
			slices.Sort(bound)
		}
		var standing []string
		for _, s := range got[[]casework.Standing](x)(x.Standings(ctx, v.scope, "", "", 11)) {
			standing = append(standing, string(s.Project))
		}
		slices.Sort(standing)
		var within []string
		for _, b := range got[[]asset.Binding](x)(x.BindingsWithin(ctx, v.scope, addr, 11, 12, 13)) {
			within = append(within, string(b.Project))
		}
		slices.Sort(within)
		for _, i := range v.sees {
			want = append(want, fmt.Sprint("p", i))
		}
		if n, tally := len(v.sees), got[casework.Tally](x)(x.Tally(ctx, v.scope)); tally.Cases != n || tally.Findings != n || tally.Mails+tally.Waiting != n {
			t.Errorf("%s counts %+v, want %d", name, tally, n)
		}
		for what, saw := range map[string][]string{"cases": cases, "findings": findings, "mails": mails, "latest mails": latest, "bindings": bound, "bindings of a window": within, "standings": standing} {
			if !slices.Equal(saw, want) {
				t.Errorf("%s sees %s of %v, want %v", name, what, saw, want)
			}
		}
		for i := range 3 {
			_, ec := x.Case(ctx, v.scope, fmt.Sprint("case-", i))
			_, ef := x.Finding(ctx, v.scope, fmt.Sprint("finding-", i))
			_, eg := x.Charges(ctx, v.scope, fmt.Sprint("finding-", i))
			_, em := x.Mail(ctx, v.scope, fmt.Sprint("mail-", i))
			_, es := x.NameOf(ctx, v.scope, "cloud", "server", fmt.Sprint("s", i))
			_, ep := x.NameOf(ctx, v.scope, "cloud", "project", fmt.Sprint("p", i))
			entries, ee := x.EntriesOf(ctx, v.scope, fmt.Sprint("case-", i))
			if n := map[bool]int{true: 1}[slices.Contains(v.sees, i)]; len(entries) != n {
				t.Errorf("%s sees %d entries of case %d", name, len(entries), i)
			}
			for what, err := range map[string]error{"case": ec, "finding": ef, "charges": eg, "log": ee, "mail": em, "server's name": es, "project's name": ep} {
				if mine := slices.Contains(v.sees, i); mine != (err == nil) || !mine && !fault.Is(err, fault.NotFound) {
					t.Errorf("%s asks for %s %d: %v", name, what, i, err)
				}
			}
			narrowed := got[[]casework.Case](x)(x.Cases(ctx, v.scope, casework.Filter{Server: asset.ServerID(fmt.Sprint("s", i)), Live: true, States: []casework.State{casework.New}}))
			of := got[[]finding.Finding](x)(x.Findings(ctx, v.scope, finding.Filter{Case: fmt.Sprint("case-", i), Server: asset.ServerID(fmt.Sprint("s", i))}))
			if n := map[bool]int{true: 1}[slices.Contains(v.sees, i)]; len(narrowed) != n || len(of) != n {
				t.Errorf("%s sees %d cases and %d findings of %d", name, len(narrowed), len(of), i)
			}
		}
	}
}

// What is not there is a fault that says so, and the same for what is somebody else's.
func notFound(t *testing.T, e Engine) {
	x, ctx := begin(t, e), t.Context()
	x.commit(full())
	_, c := x.Case(ctx, operator, "none")
	_, f := x.Finding(ctx, operator, "none")
	_, a := x.Act(ctx, "none")
	_, h := x.FactsOf(ctx, "none")
	_, theirs := x.Case(ctx, access.Tenant("x"), "case-1")
	_, nobodys := x.Case(ctx, access.Tenant("x"), "case-9")
	for what, err := range map[string]error{"case": c, "finding": f, "act": a, "fact": h, "another's case": theirs} {
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if theirs.Error() != "there is no case \"case-1\"" || nobodys.Error() != "there is no case \"case-9\"" {
		t.Errorf("%v, %v: another's is told from nobody's", theirs, nobodys)
	}
	if _, ok, err := x.OpenCase(ctx, casework.Key{Cloud: "x"}); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	if _, ok, err := x.FindingByKey(ctx, finding.Key{Cloud: "x"}); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}

// What was committed is there when the place is opened again.
func reopen(t *testing.T, e Engine) {
	place := t.TempDir()
	s := e.Open(t, place)
	x := exam{t, s}
	x.commit(full())
	before := e.Tables(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	s = e.Open(t, place)
	defer s.Close() //nolint:errcheck // the exam is over
	x = exam{t, s}
	if after := e.Tables(t, s); !maps.Equal(before, after) {
		t.Errorf("not as it was left: %v", differing(before, after))
	}
	want := full()
	f := got[finding.Finding](x)(x.Finding(t.Context(), operator, "finding-1"))
	want.Findings[0].Version = 1
	if !reflect.DeepEqual(f, want.Findings[0]) {
		t.Errorf("%+v", f)
	}
	acts := got[[]casework.Act](x)(x.RunningActs(t.Context()))
	want.Acts[0].Version = 1
	if !reflect.DeepEqual(acts, want.Acts) {
		t.Errorf("%+v", acts)
	}
	if ss := got[[]finding.Sighting](x)(x.Sightings(t.Context(), "finding-1")); !slices.Equal(ss, want.Sightings) {
		t.Errorf("%+v", ss)
	}
	if cs := got[[]finding.Charge](x)(x.Charges(t.Context(), operator, "finding-1")); !reflect.DeepEqual(cs, want.Charges) {
		t.Errorf("%+v", cs)
	}
	if m, ok, err := s.Model(t.Context(), "default", 1); err != nil || !ok || m != want.Models[0] {
		t.Errorf("%+v, %v, %v", m, ok, err)
	}
	if _, ok, err := s.Model(t.Context(), "default", 2); err != nil || ok {
		t.Errorf("a version that never was: %v, %v", ok, err)
	}
	x.commit(casework.Change{At: 11, Audit: []audit.Entry{anEntry("after")}})
	if p := audit.Verify(got[audit.Stored](x)(s.AuditLog(t.Context()))); len(p) > 0 {
		t.Errorf("the log does not go on: %v", p)
	}
}

// The log that commits write is whole, at every length.
func auditVerifies(t *testing.T, e Engine) {
	x, ctx := begin(t, e), t.Context()
	if p := audit.Verify(got[audit.Stored](x)(x.AuditLog(ctx))); len(p) > 0 {
		t.Errorf("empty: %v", p)
	}
	n := 0
	for i := range 20 {
		var es []audit.Entry
		for range i % 4 {
			es = append(es, anEntry(fmt.Sprint("kind-", n)))
			n++
		}
		x.commit(casework.Change{At: int64(i + 1), Audit: es})
		log := got[audit.Stored](x)(x.AuditLog(ctx))
		if p := audit.Verify(log); len(p) > 0 || log.Head.Size != int64(n) || len(log.Leaves) != n {
			t.Fatalf("%d entries: %v, head of %d, %d leaves", n, p, log.Head.Size, len(log.Leaves))
		}
	}
	newest := got[[]audit.Entry](x)(x.Entries(ctx, 2))
	if len(newest) != 2 || newest[0].Kind != fmt.Sprint("kind-", n-1) || newest[0].Seq != int64(n-1) || newest[0].At != 20 || newest[1].Seq != int64(n-2) {
		t.Errorf("%+v", newest)
	}
}

// An exposure is an interval: open once at a time, closed once, facts kept by content.
func exposures(t *testing.T, e Engine) {
	x, ctx := begin(t, e), t.Context()
	v4 := full().Exposures[0]
	v6 := v4
	v6.ID, v6.Endpoint.Addr = "e2", netip.MustParseAddr("2001:db8::1")
	x.commit(casework.Change{At: 9, Facts: []probe.Facts{facts(), facts()}, Exposures: []probe.Exposure{v6, v4}})
	if es := got[[]probe.Exposure](x)(x.OpenExposures(ctx, "outside")); len(es) != 2 || !slices.Contains(es, v4) || !slices.Contains(es, v6) {
		t.Errorf("%+v", es)
	}
	if es := got[[]probe.Exposure](x)(x.OpenExposures(ctx, "inside")); len(es) != 0 {
		t.Errorf("%+v", es)
	}
	again := v4
	again.ID = "e3"
	_ = x.refused("open twice at a time", casework.Change{At: 10, Exposures: []probe.Exposure{again}})
	ended := v4
	ended.ClosedAt = 8
	_ = x.refused("closed before it opened", casework.Change{At: 10, Exposures: []probe.Exposure{ended}})
	ended.ClosedAt = 12
	x.commit(casework.Change{At: 12, Exposures: []probe.Exposure{ended}})
	again.OpenedAt = 15
	x.commit(casework.Change{At: 15, Exposures: []probe.Exposure{again}})
	if es := got[[]probe.Exposure](x)(x.OpenExposures(ctx, "outside")); len(es) != 2 || !slices.Contains(es, again) {
		t.Errorf("%+v", es)
	}
	if f := got[probe.Facts](x)(x.FactsOf(ctx, facts().Hash())); f.Hash() != facts().Hash() {
		t.Errorf("%+v", f)
	}
}
