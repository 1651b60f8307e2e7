package flow

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/casework/gate"
	"demarc/internal/cloud"
	"demarc/internal/finding"
	"demarc/internal/policy"
)

// decided is the gate's decision on the simulated case as things stand.
func decided(t *testing.T, l *Line) (gate.Facts, gate.Decision) {
	t.Helper()
	ds, err := l.dossier(t.Context(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.facts(t.Context(), ds)
	if err != nil {
		t.Fatal(err)
	}
	return f, gate.Decide(f, l.Policy)
}

// earlier is an action that was carried out on the machine of another case.
func earlier(id string, kind casework.ActKind, state casework.ActState, alter func(*casework.Act)) casework.Act {
	a := casework.Act{
		ID:         id,
		Case:       "c9",
		Cloud:      "lab",
		Server:     "s9",
		Project:    "astro",
		Kind:       kind,
		State:      state,
		IntendedAt: simNow - minute,
		RealAt:     simNow - minute,
	}
	if alter != nil {
		alter(&a)
	}
	return a
}

// thrown is a kill switch outside the ledger.
type thrown bool

func (s thrown) Thrown() (bool, string) { return bool(s), "the file of the kill switch says so" }

// What the pipeline reads from ledger and cloud reaches the gate: each row changes one thing there, and the gate refuses by the named
// condition alone. With no condition named the action goes ahead.
func TestFactsReachTheGate(t *testing.T) {
	t.Parallel()
	neighbour := func(alter func(*asset.Port)) asset.Port {
		p := asset.Port{
			ID:           "n1",
			Project:      "genomics",
			Network:      "outside",
			Server:       "s2",
			Device:       "s2",
			DeviceOwner:  "compute:nova",
			Status:       "ACTIVE",
			PortSecurity: false,
		}
		alter(&p)
		return p
	}
	acts := func(as ...casework.Act) func(*Line, *simulated) {
		return func(_ *Line, w *simulated) { w.acts = as }
	}
	many := func(n int, kind casework.ActKind, state casework.ActState, alter func(*casework.Act)) func(*Line, *simulated) {
		return func(_ *Line, w *simulated) {
			for i := range n {
				w.acts = append(w.acts, earlier(string(rune('a'+i)), kind, state, alter))
			}
		}
	}
	here := func(a *casework.Act) { a.Server = "s1" }
	for name, c := range map[string]struct {
		condition string
		change    func(*Line, *simulated)
	}{
		"nothing":                    {"", func(*Line, *simulated) {}},
		"paused in the ledger":       {"switch", func(_ *Line, w *simulated) { w.paused = true }},
		"paused outside the ledger":  {"switch", func(l *Line, _ *simulated) { l.Switch = thrown(true) }},
		"a switch that is not on":    {"", func(l *Line, _ *simulated) { l.Switch = thrown(false) }},
		"a lower mode":               {"mode", func(_ *Line, w *simulated) { w.mode = policy.Notify }},
		"clocks that disagree":       {"clock", func(_ *Line, w *simulated) { w.doubt = "the wall clock jumped" }},
		"a cloud elsewhere":          {"loopback", func(l *Line, _ *simulated) { l.Loopback = false }},
		"an old inventory":           {"inventory binding-fresh", func(_ *Line, w *simulated) { w.coverage.Began -= 2 * hour }},
		"an incomplete inventory":    {"inventory", func(_ *Line, w *simulated) { w.coverage.Complete = false }},
		"incomplete a moment before": {"inventory", func(l *Line, _ *simulated) { l.partialAt = simNow - 1 }},
		"incomplete until long ago":  {"", func(l *Line, _ *simulated) { l.partialAt = simNow - hour }},
		"incomplete for just as long as two checks are apart": {"", func(l *Line, _ *simulated) {
			l.partialAt = simNow - l.Policy.Proof.ConfirmGap.Micros()
		}},
		"restored since":            {"restored", func(_ *Line, w *simulated) { w.proofsFrom = simNow - 2*minute }},
		"a log that proves nothing": {"witnessed repeated-scans", func(_ *Line, w *simulated) { w.logErr = audit.ErrUnproven }},
		"an entry that cannot be read": {"witnessed", func(_ *Line, w *simulated) {
			w.log["c1"] = append(w.log["c1"], w.log["c1"][0])
			w.log["c1"][len(w.log["c1"])-1].Detail = []byte("{")
		}},
		"silence after the last check": {"probe-fresh", func(_ *Line, w *simulated) { w.looked("f1", simNow-second, finding.NoAnswer) }},
		"only silence lately": {"probe-fresh", func(_ *Line, w *simulated) {
			w.now, w.real = simNow+2*hour, simNow+2*hour
			w.coverage.Began, w.coverage.RealAt = w.now, w.now
			w.looked("f1", w.now, finding.NoAnswer)
		}},
		"a check that only the row has": {"witnessed", func(_ *Line, w *simulated) {
			w.looks["f1"] = append(w.looks["f1"], finding.Sighting{Finding: "f1", At: simNow - 1, RealAt: simNow - 1, Verdict: finding.Vulnerable})
		}},
		"a clean check that only the log has": {"probe-fresh repeated-scans", func(_ *Line, w *simulated) {
			w.enter("c1", simNow-1, Happening{Event: "looked.closed", Finding: "f1"})
		}},
		"a raised class": {"proof", func(_ *Line, w *simulated) {
			w.log["c1"][0].Detail = []byte(`{"finding":"f1","class":"M","grade":"proved"}`)
		}},
		"a raised grade": {"proof", func(_ *Line, w *simulated) {
			w.log["c1"][0].Detail = []byte(`{"finding":"f1","class":"E","grade":"suspected"}`)
		}},
		"a check that is milder by now": {"proof", func(l *Line, _ *simulated) {
			c := *l.checks["redis-unauth"]
			c.Class = "M"
			l.checks["redis-unauth"] = &c
		}},
		"a check that is gone":         {"", func(l *Line, _ *simulated) { delete(l.checks, "redis-unauth") }},
		"a project that is not known":  {"attribution", func(l *Line, _ *simulated) { delete(l.x.Projects, "astro") }},
		"a machine that is not known":  {"identity reach-proven binding-fresh", func(l *Line, _ *simulated) { delete(l.x.Servers, "s1") }},
		"a machine of another project": {"identity budget", func(l *Line, _ *simulated) { l.x.Servers["s1"].Project = "genomics" }},
		"a protected machine": {"protected", func(l *Line, _ *simulated) {
			l.Protected = func(s asset.Server) bool { return s.ID == "s1" }
		}},
		"another protected machine": {"", func(l *Line, _ *simulated) { l.Protected = func(s asset.Server) bool { return s.ID == "s2" } }},
		"an unsecured port":         {"port-security", func(l *Line, _ *simulated) { l.x.Ports["p2"].PortSecurity = false }},
		"an address that moved": {"identity", func(_ *Line, w *simulated) {
			w.holder = func(h cloud.Holding) (cloud.Holding, error) { h.Server = "s2"; return h, nil }
		}},
		"an address that is nobody's": {"identity", func(_ *Line, w *simulated) {
			w.holder = func(h cloud.Holding) (cloud.Holding, error) { return h, cloud.ErrNobody }
		}},
		"an altered port": {"identity", func(_ *Line, w *simulated) {
			w.holder = func(h cloud.Holding) (cloud.Holding, error) { h.PortRevision++; return h, nil }
		}},
		"an altered floating IP": {"identity", func(_ *Line, w *simulated) {
			w.holder = func(h cloud.Holding) (cloud.Holding, error) { h.FloatingRevision++; return h, nil }
		}},
		"an altered machine": {"identity", func(_ *Line, w *simulated) {
			w.holder = func(h cloud.Holding) (cloud.Holding, error) { h.ServerStatus = "SHUTOFF"; return h, nil }
		}},
		"a shared address": {"identity", func(l *Line, _ *simulated) {
			h := l.holds[simAddr]
			h.Shared = true
			l.holds[simAddr] = h
		}},
		"an address of another port": {"identity binding-fresh", func(l *Line, _ *simulated) {
			h := l.holds[simAddr]
			h.Port = "p2"
			l.holds[simAddr] = h
		}},
		"an address of another machine": {"identity binding-fresh", func(l *Line, _ *simulated) {
			h := l.holds[simAddr]
			h.Server = "s2"
			l.holds[simAddr] = h
		}},
		"an address that is not held": {"identity binding-fresh", func(l *Line, _ *simulated) { delete(l.holds, simAddr) }},
		"a neighbour until lately":    {"spoofing", func(_ *Line, w *simulated) { w.then = []asset.Port{neighbour(func(*asset.Port) {})} }},
		"one that was never bound": {"", func(_ *Line, w *simulated) {
			w.then = []asset.Port{neighbour(func(p *asset.Port) { p.Server, p.Status = "", "DOWN" })}
		}},
		"one elsewhere": {"", func(_ *Line, w *simulated) {
			w.then = []asset.Port{neighbour(func(p *asset.Port) { p.Network = "inner2" })}
		}},
		"one with an address pair": {"spoofing", func(_ *Line, w *simulated) {
			w.then = []asset.Port{neighbour(func(p *asset.Port) {
				p.PortSecurity, p.Pairs = true, []asset.AddressPair{{Prefix: netip.MustParsePrefix("192.0.2.0/28")}}
			})}
		}},
		"one with another address pair": {"", func(_ *Line, w *simulated) {
			w.then = []asset.Port{neighbour(func(p *asset.Port) {
				p.PortSecurity, p.Pairs = true, []asset.AddressPair{{Prefix: netip.MustParsePrefix("198.51.100.0/24")}}
			})}
		}},
		"somebody who left": {"people", func(l *Line, w *simulated) { w.left[simOwner] = simNow; l.x.Snapshot.Grants = nil }},
		"checks discarded since, by the log alone": {"restored", func(_ *Line, w *simulated) {
			w.log[""] = append(w.log[""], audit.Entry{Kind: "checks.discarded", At: simNow - 1, Detail: []byte(`{"event":"checks.discarded"}`)})
		}},
		"a vantage point that is gone":    {"reach-proven", func(l *Line, w *simulated) { w.findings[0].Vantage = "v2" }},
		"another case's action":           {"owner-of-act budget", many(1, casework.ActQuarantine, casework.ActDone, here)},
		"another case's action under way": {"owner-of-act budget", many(1, casework.ActQuarantine, casework.ActIntended, here)},
		"another case's held action":      {"owner-of-act budget", many(1, casework.ActQuarantine, casework.ActHeld, here)},
		"another case's void action":      {"", many(1, casework.ActQuarantine, casework.ActVoid, here)},
		"another case's release":          {"", many(1, casework.ActRestore, casework.ActDone, here)},
		"its own action under way": {"owner-of-act budget", many(1, casework.ActQuarantine, casework.ActIntended, func(a *casework.Act) {
			a.Server, a.Case = "s1", "c1"
		})},
		"an action that was undone": {"budget", acts(earlier("q", casework.ActQuarantine, casework.ActDone, here),
			earlier("r", casework.ActRestore, casework.ActDone, func(a *casework.Act) { a.Server, a.Undoes = "s1", "q" }))},
		"an action whose undoing failed": {"owner-of-act budget", acts(earlier("q", casework.ActQuarantine, casework.ActDone, here),
			earlier("r", casework.ActRestore, casework.ActVoid, func(a *casework.Act) { a.Server, a.Undoes = "s1", "q" }))},
		"an action that was renewed and undone": {"budget", acts(earlier("q", casework.ActQuarantine, casework.ActDone, here),
			earlier("h", casework.ActHold, casework.ActDone, func(a *casework.Act) { a.Server, a.Renews = "s1", "q" }),
			earlier("r", casework.ActRestore, casework.ActDone, func(a *casework.Act) { a.Server, a.Undoes = "s1", "h" }))},
		"an action that was started and undone": {"budget", acts(earlier("q", casework.ActStop, casework.ActDone, here),
			earlier("s", casework.ActStart, casework.ActDone, func(a *casework.Act) { a.Server, a.Renews = "s1", "q" }),
			earlier("r", casework.ActRestore, casework.ActDone, func(a *casework.Act) { a.Server, a.Undoes = "s1", "s" }))},
		"an action that was started": {"owner-of-act budget", acts(earlier("q", casework.ActStop, casework.ActDone, here),
			earlier("s", casework.ActStart, casework.ActDone, func(a *casework.Act) { a.Server, a.Renews = "s1", "q" }))},
		"an action whose renewal was held, undone": {"budget", acts(earlier("q", casework.ActQuarantine, casework.ActDone, here),
			earlier("h", casework.ActHold, casework.ActHeld, func(a *casework.Act) { a.Server, a.Renews = "s1", "q" }),
			earlier("r", casework.ActRestore, casework.ActDone, func(a *casework.Act) { a.Server, a.Undoes = "s1", "h" }))},
		"a budget that is spent":             {"budget", many(1, casework.ActStop, casework.ActDone, nil)},
		"by an action whose outcome is open": {"budget", many(1, casework.ActQuarantine, casework.ActIntended, nil)},
		"not by one that never happened":     {"", many(1, casework.ActQuarantine, casework.ActVoid, nil)},
		"not by a renewed one":               {"", many(1, casework.ActHold, casework.ActDone, nil)},
		"not by a release":                   {"", many(1, casework.ActRestore, casework.ActDone, nil)},
		"not by one of long ago": {"", many(1, casework.ActQuarantine, casework.ActDone, func(a *casework.Act) {
			a.IntendedAt -= 2 * day
		})},
	} {
		t.Run(name, func(t *testing.T) {
			l, w := newSimulated(t)
			c.change(l, w)
			_, d := decided(t, l)
			var got []string
			for _, b := range d.Blocks {
				got = append(got, b.Condition)
			}
			want := strings.Fields(c.condition)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("refused by %v, want %v", got, want)
			}
		})
	}
}

// The age of a confirmation is that of the latest check that showed the weakness, whatever was seen or not seen since.
func TestConfirmationIsAsOldAsTheLastPositiveCheck(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	w.looked("f1", simNow-second, finding.NoAnswer)
	w.looked("f1", simNow-1, finding.ClosedPort)
	if f, _ := decided(t, l); f.Findings[0].ProbeAge != gate.Age(minute) {
		t.Errorf("%d µs", f.Findings[0].ProbeAge)
	}
	l, w = newSimulated(t)
	w.looks["f1"], w.log["c1"] = nil, nil
	if f, _ := decided(t, l); f.Findings[0].ProbeAge != gate.Unknown {
		t.Errorf("never confirmed, and yet %d µs ago", f.Findings[0].ProbeAge)
	}
}

// Why the audit log proves nothing reaches the gate, and with it nothing that was read of the log.
func TestDoubtAboutTheLogReachesTheGate(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	w.logErr = fmt.Errorf("%w: the root does not match", audit.ErrUnproven)
	if f, d := decided(t, l); f.Record.Doubt != w.logErr.Error() || len(f.Record.Notices) > 0 || d.Go {
		t.Errorf("%+v", f.Record)
	}
	l, w = newSimulated(t)
	w.log["c1"][2].Detail = []byte("{")
	if f, d := decided(t, l); f.Record.Doubt != "entry 2 cannot be read" || d.Go {
		t.Errorf("%+v", f.Record)
	}
}

// Notices and approvals count for the round in which they were given, those of an earlier case of a finding do not, and its checks do.
func TestRecordHoldsWhatThisRoundGave(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		add                Happening
		notices, approvals int
	}{
		"nothing since":    {Happening{Event: "mail.deferred"}, 2, 1},
		"a new round":      {Happening{Event: "case.new"}, 0, 0},
		"opened anew":      {Happening{Event: "case.opened"}, 0, 0},
		"queued anew":      {Happening{Event: "case.queued"}, 2, 0},
		"warned anew":      {Happening{Event: "case.final_warning"}, 2, 0},
		"a refusal":        {Happening{Event: "gate.refused"}, 2, 0},
		"an empty notice":  {Happening{Event: "mail.accepted"}, 2, 1},
		"an odd approval":  {Happening{Event: "people.approved"}, 2, 1},
		"a further notice": {Happening{Event: "mail.accepted", Notice: &casework.Notice{MessageID: "x"}}, 3, 1},
		"another approval": {Happening{Event: "people.approved", Approval: &casework.Approval{By: "otto"}}, 2, 2},
	} {
		l, w := newSimulated(t)
		w.enter("c1", simNow, c.add)
		f, _ := decided(t, l)
		if len(f.Record.Notices) != c.notices || len(f.Record.Approvals) != c.approvals {
			t.Errorf("%s: %d notices, %d approvals", name, len(f.Record.Notices), len(f.Record.Approvals))
		}
	}
	l, w := newSimulated(t)
	w.log["c0"] = w.log["c1"]
	w.log["c1"] = nil
	w.enter("c1", simNow, Happening{Event: "finding.passed", Finding: "f1", From: "c0"})
	f, _ := decided(t, l)
	if len(f.Record.Notices) > 0 || len(f.Record.Approvals) > 0 || len(f.Findings[0].Looks) != 4 || f.Findings[0].Unlogged > 0 {
		t.Errorf("of an earlier case: %+v, %d checks", f.Record, len(f.Findings[0].Looks))
	}
}

// Operators read which owners were notified and cannot act any more, each once. The operators themselves never leave.
func TestThoseWhoLeftAreNamed(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	to := func(who string, a casework.Audience) casework.Notice {
		return casework.Notice{Step: casework.StepNotice, To: a, Recipient: who, AcceptedAt: simNoticed}
	}
	w.left["gone@astro.example"] = simNow - hour
	c := w.cases["c1"]
	c.Notices = []casework.Notice{
		to(simOwner, casework.Owner),
		to("gone@astro.example", casework.Owner),
		to("gone@astro.example", casework.Owner),
		to("lost@astro.example", casework.Owner),
		to(simOperators, casework.Owner),
		to("provider@cloud.example", casework.Provider),
	}
	p, err := l.people(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	want := []gate.Departure{{Address: "gone@astro.example", At: simNow - hour}, {Address: "lost@astro.example"}}
	if !slices.Equal(p.Left, want) || !slices.Equal(p.Able, []string{simOwner}) || p.StandIn != simOperators {
		t.Errorf("%+v", p)
	}
}

// What a quarantine lets in is announced with its ports, but for the published addresses of the probes.
func TestWaysInForRepairAreNamed(t *testing.T) {
	t.Parallel()
	l, _ := newSimulated(t)
	open := func(prefix, proto string, low, high int) cloud.Opening {
		return cloud.Opening{Prefix: netip.MustParsePrefix(prefix), Proto: proto, PortMin: low, PortMax: high}
	}
	l.Quarantine.Admit = []cloud.Opening{
		open("198.51.100.1/32", "", 0, 0),
		open("198.51.100.1/31", "", 0, 0),
		open("203.0.113.0/24", "", 0, 0),
		open("203.0.113.0/24", "tcp", 22, 0),
		open("203.0.113.0/24", "tcp", 1, 9),
	}
	want := []string{"198.51.100.1/31 any", "203.0.113.0/24 any", "203.0.113.0/24 tcp/22-22", "203.0.113.0/24 tcp/1-9"}
	if got := l.admits(); !slices.Equal(
		got,
		want,
	) {
		t.Errorf("%q, want %q", got, want)
	}
}

// The budgets count what was begun, by hour, day, project and running servers.
func TestUsageCountsWhatWasBegun(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	for i, a := range []struct {
		kind    casework.ActKind
		state   casework.ActState
		project asset.ProjectID
		age     int64
	}{
		{casework.ActQuarantine, casework.ActDone, "astro", minute},
		{casework.ActStop, casework.ActIntended, "genomics", hour - 1},
		{casework.ActQuarantine, casework.ActHeld, "astro", hour},
		{casework.ActQuarantine, casework.ActDone, "genomics", day},
		{casework.ActQuarantine, casework.ActVoid, "astro", minute},
		{casework.ActHold, casework.ActDone, "astro", minute},
		{casework.ActRestore, casework.ActDone, "astro", minute},
		{casework.ActStart, casework.ActDone, "astro", minute},
		{casework.ActQuarantine, casework.ActDone, "astro", day + 1},
	} {
		w.acts = append(
			w.acts,
			earlier(string(rune('a'+i)), a.kind, a.state, func(x *casework.Act) { x.Project, x.IntendedAt = a.project, simNow-a.age }),
		)
	}
	l.x.Snapshot.Servers = append(
		l.x.Snapshot.Servers,
		asset.Server{ID: "s3", Project: "astro", Status: "SHUTOFF"},
		asset.Server{ID: "s4", Project: "genomics", Status: "ACTIVE"},
	)
	u, err := l.usage(t.Context(), w.cases["c1"])
	if err != nil {
		t.Fatal(err)
	}
	want := gate.Usage{CloudHour: 2, CloudDay: 4, ProjectHour: 1, ProjectDay: 2, Batch: 1, BatchProject: 1, CloudServers: 3, ProjectServers: 1}
	if u != want {
		t.Errorf("%+v, want %+v", u, want)
	}
}

// Where the audit log is not proven the usage is unknown, which refuses; a read that failed says nothing, and is tried again.
func TestUsageIsUnknownWhereTheLogIsNotProven(t *testing.T) {
	t.Parallel()
	for _, proven := range []bool{false, true} {
		l, w := newSimulated(t)
		if proven {
			w.calls, w.failAt = nil, 2 // the actions are read, the log is not
		} else {
			w.log["c1"][0].Kind, w.log["c1"][0].Detail = "act.intended", []byte("{")
		}
		u, err := l.usage(t.Context(), w.cases["c1"])
		if (err != nil) != proven || !proven && u != (gate.Usage{}) {
			t.Errorf("proven %t: %+v, %v, after %v", proven, u, err, w.calls)
		}
	}
}

// A read of the audit log that fails is no refusal: nothing is decided, and the approval stands.
func TestFailedReadOfTheLogRefusesNothing(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"witness", "witness kinds"} {
		l, w := newSimulated(t)
		failOnce(w, name)
		if _, err := l.facts(t.Context(), casework.Dossier{Case: w.cases["c1"], Findings: w.findings}); err == nil {
			t.Errorf("%s failed, and the gate was asked", name)
		}
	}
}

// An intent counts for a day by the audit log, to its last unit, and for an hour.
func TestSpentCountsTheIntentsOfADay(t *testing.T) {
	t.Parallel()
	for age, want := range map[int64]gate.Usage{
		hour - 1: {CloudHour: 1, CloudDay: 1, ProjectHour: 1, ProjectDay: 1},
		hour:     {CloudDay: 1, ProjectDay: 1},
		day:      {CloudDay: 1, ProjectDay: 1},
		day + 1:  {},
	} {
		l, w := newSimulated(t)
		said, err := json.Marshal(Happening{Event: "act.intended", Act: string(casework.ActQuarantine), Project: "astro"})
		if err != nil {
			t.Fatal(err)
		}
		w.log["c9"] = []audit.Entry{{Kind: "act.intended", At: simNow - age, Detail: said}}
		if u, err := l.spent(t.Context(), w.cases["c1"]); err != nil || u != want {
			t.Errorf("%d s ago: %+v, %v, want %+v", age/second, u, err, want)
		}
	}
}
