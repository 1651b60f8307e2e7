package serve_test

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/fault"
	"demarc/internal/finding"
	"demarc/internal/flow"
	"demarc/internal/lab"
	"demarc/internal/serve"
)

const provider = "platform-team@cloud.example"

// underContract makes cache-1 a container whose applications an extended contract moves to the provider, from a day of the
// story on until another; 0 is never.
func underContract(from, to int64, servers ...string) plot {
	return plot{wrap: func(e *exam, c *flow.Config) {
		var scope duty.Scope
		for _, s := range append([]string{"cache-1"}, servers...) {
			if id := asset.ServerID(e.w.ServerID(s)); !slices.Contains(scope.Servers, id) {
				scope.Servers = append(scope.Servers, id)
			}
		}
		k := duty.Contract{ID: "ESC-1", Type: "extended", Scope: scope, From: duty.Instant(begins.UnixMicro() + from*day)}
		if to > 0 {
			k.To = duty.Instant(begins.UnixMicro() + to*day)
		}
		m, err := c.Model.With([]duty.Contract{k}, []duty.Offering{{ID: "boxes", Service: "paas", Architecture: "container", Scope: scope}}, func(string) fault.Position { return fault.Position{} })
		e.must(err)
		c.Model = m
	}}
}

// of finds the latest case of cache-1 that a party holds.
func (e *exam) of(p duty.Party) casework.Case {
	e.t.Helper()
	var out casework.Case
	for _, c := range e.casesOf("cache-1") {
		if c.Party == p {
			out = c
		}
	}
	return out
}

// mailsTo counts the mails to somebody whose subject holds some words.
func (e *exam) mailsTo(who, words string) int {
	n := 0
	for _, m := range e.w.Mail.Messages() {
		if strings.EqualFold(m.To, who) && strings.Contains(subject(e.t, m), words) {
			n++
		}
	}
	return n
}

// A contract that begins while the machine is off the network moves the finding to the provider that day: the machine is given
// back as it was, both are told, and nothing touches it again however long the provider waits. When the contract ends, the
// customer has it back with a notice of its own and two days, for it had used up its time less than a month ago; and the cases
// that are closed keep what they were judged by.
func TestAContractMovesWhatIsOpen(t *testing.T) {
	t.Parallel()
	const starts, ends = 12, 30
	e := open(t, underContract(starts, ends))
	before := e.groups("cache-1")
	e.restrict()
	first := e.of(duty.Customer)

	e.leapTo(begins.UnixMicro() + starts*day)
	e.untilIdle()
	old, theirs := e.of(duty.Customer), e.of(duty.Provider)
	if old.ID != first.ID || old.State != casework.Closed || !strings.Contains(old.Passed, "ESC-1") || theirs.ID == "" || theirs.State.Over() {
		t.Fatalf("the customer's case is %+v, the provider's %+v", old, theirs)
	}
	if now := e.groups("cache-1"); !slices.EqualFunc(now, before, slices.Equal) {
		t.Errorf("groups %v, were %v", now, before)
	}
	if n := e.count("cache-1", "finding.recharged"); n != 1 {
		t.Errorf("%d entries of the log say that it was charged anew", n)
	}
	for _, who := range []string{owner, provider} {
		if n := e.mailsTo(who, "somebody else must act now"); n != 1 {
			t.Errorf("%s was told %d times that it passed", who, n)
		}
	}

	acts := len(e.changes("cache-1"))
	e.until("the provider is overdue", 10, func() bool { return e.of(duty.Provider).State == casework.Overdue })
	if e.mailsTo(provider, "a weakness to fix") != 1 || e.mailsTo(provider, "overdue") != 1 || e.mailsTo(owner, "with the provider: overdue") != 1 {
		t.Errorf("notices %d, escalations %d, shown to the owner %d", e.mailsTo(provider, "a weakness to fix"), e.mailsTo(provider, "overdue"), e.mailsTo(owner, "with the provider: overdue"))
	}

	e.leapTo(begins.UnixMicro() + ends*day)
	e.untilIdle()
	again := e.of(duty.Customer)
	if again.ID == first.ID || again.State != casework.Notified || again.Due != begins.UnixMicro()+ends*day+2*day || e.of(duty.Provider).State != casework.Closed {
		t.Fatalf("after the contract the customer's case is %+v, the provider's %s", again, e.of(duty.Provider).State)
	}
	if n := len(e.changes("cache-1")); n != acts {
		t.Errorf("%d changes of the port while the provider held it", n-acts)
	}
	e.charged(first, duty.Customer, duty.Provider, duty.Customer)
	e.noErrors()
}

// charged asserts who was charged with cache-1's finding, one after the other, and that the case that is closed remembers none of it.
func (e *exam) charged(closed casework.Case, want ...duty.Party) {
	e.t.Helper()
	fs := e.findingsOf("cache-1")
	cs, err := e.d.DB.Charges(e.t.Context(), operator, fs[0].ID)
	e.must(err)
	var got []duty.Party
	for _, c := range cs {
		got = append(got, c.Duty.Party)
	}
	if len(fs) != 1 || !slices.Equal(got, want) {
		e.t.Errorf("%d findings, charged to %v, want %v", len(fs), got, want)
	}
	if c, ok := finding.ChargeAt(cs, begins.UnixMicro()+20*day); !ok || c.Duty.Resource.ContractID != "ESC-1" || c.Duty.Assignment != "application-container-extended" {
		e.t.Errorf("on day 20 it was %+v's", c.Duty)
	}
	if _, ok := finding.ChargeAt(cs, begins.UnixMicro()-day); ok {
		e.t.Error("charged before it was found")
	}
	if now := e.caseByID(closed.ID); now.Party != closed.Party || now.ClosedAt == 0 {
		e.t.Errorf("the closed case became %+v", now)
	}
}

func (e *exam) caseByID(id string) casework.Case {
	e.t.Helper()
	c, err := e.d.DB.Case(e.t.Context(), operator, id)
	e.must(err)
	return c
}

// Several findings of one machine, and another tenant's, pass at one instant: each party of each case hears of it once.
func TestAContractMovesAllThereIs(t *testing.T) {
	t.Parallel()
	p := underContract(4, 90, "cache-1", "gate-1")
	p.scenario, p.policy = crowded(), []string{"sweep_every: 2d", "sweep_every: 40d", "inventory_every: 2d", "inventory_every: 40d"}
	e := open(t, p)
	e.until("told", 3, func() bool { return len(e.findingsOf("cache-1")) == 3 && e.inState("gate-1", casework.Notified)() })
	e.leapTo(begins.UnixMicro() + 4*day)
	e.untilIdle()
	for _, server := range []string{"cache-1", "gate-1"} {
		for _, f := range e.findingsOf(server) {
			if f.Duty.Party != duty.Provider {
				t.Errorf("%s on %s is still the %s's", f.Key.Locus, server, f.Duty.Party)
			}
		}
	}
	for who, n := range map[string]int{owner: 1, other: 1, provider: 2} {
		if got := e.mailsTo(who, "somebody else must act now"); got != n {
			t.Errorf("%s was told %d times that something passed, want %d", who, got, n)
		}
	}
	for _, locus := range []string{":6379/tcp", ":6380/tcp", ":6381/tcp"} {
		if n := e.saying(owner, "somebody else must act now", locus); n != 1 {
			t.Errorf("%s stands in %d of the mails", locus, n)
		}
	}
	// After the contract, three months on, it is the customer's again with the full time of the class.
	e.leapTo(begins.UnixMicro() + 90*day)
	e.untilIdle()
	if c := e.of(duty.Customer); c.State != casework.Notified || c.Due < begins.UnixMicro()+94*day || len(e.findingsOf("cache-1")) != 3 {
		t.Errorf("after a quarter the customer's case is %+v", c)
	}
	e.untouched()
	e.noErrors()
}

// crowded is a town in which cache-1 has three open Redis, and gate-1 of another project one.
func crowded() lab.Scenario {
	s := town()
	s.Servers[0].Services = []lab.Service{{Kind: lab.Redis, Port: 6379}, {Kind: lab.Redis, Port: 6380}, {Kind: lab.Redis, Port: 6381}}
	s.Servers[1].Services = append(s.Servers[1].Services, lab.Service{Kind: lab.Redis, Port: 22023})
	s.Groups = slices.Clone(s.Groups)
	for i := range s.Groups {
		switch g := &s.Groups[i]; g.Name {
		case "cache":
			g.Rules = append(slices.Clone(g.Rules), lab.Rule{Proto: "tcp", Min: 6380, Max: 6381, Remote: everywhere})
		case "ssh-any":
			g.Rules = append(slices.Clone(g.Rules), lab.Rule{Proto: "tcp", Min: 22023, Max: 22023, Remote: everywhere})
		}
	}
	return s
}

// saying counts the mails to somebody with a subject and a text.
func (e *exam) saying(who, about, words string) int {
	n := 0
	for _, m := range e.w.Mail.Messages() {
		if strings.EqualFold(m.To, who) && strings.Contains(subject(e.t, m), about) && strings.Contains(text(e.t, m), words) {
			n++
		}
	}
	return n
}

// What is closed stays as it was judged, whatever comes into force afterwards.
func TestAContractLeavesWhatIsClosed(t *testing.T) {
	t.Parallel()
	e := open(t, underContract(40, 0))
	e.until("told", 3, e.inState("cache-1", casework.Notified))
	e.setPassword("cache-1")
	e.until("closed", 25, e.inState("cache-1", casework.Closed))
	f, c := e.findingsOf("cache-1")[0], e.theCase("cache-1")
	charges, err := e.d.DB.Charges(t.Context(), operator, f.ID)
	e.must(err)
	e.leapTo(begins.UnixMicro() + 60*day)
	e.untilIdle()
	now, err := e.d.DB.Charges(t.Context(), operator, f.ID)
	e.must(err)
	if g := e.findingsOf("cache-1")[0]; !reflect.DeepEqual(g, f) || !reflect.DeepEqual(e.theCase("cache-1"), c) || len(now) != len(charges) || e.count("cache-1", "finding.recharged") != 0 {
		t.Errorf("what is closed became %+v in %+v, with %d charges", g, e.theCase("cache-1"), len(now))
	}
	if n := e.mailsTo(owner, "somebody else"); n != 0 {
		t.Errorf("%d mails about it", n)
	}
	e.noErrors()
}

// A contract that follows another moves nothing and nobody, and stands in the history.
func TestAContractThatIsRenewedIsRemembered(t *testing.T) {
	t.Parallel()
	e := open(t, plot{wrap: func(e *exam, c *flow.Config) {
		scope := duty.Scope{Servers: []asset.ServerID{asset.ServerID(e.w.ServerID("cache-1"))}}
		at := func(d int64) duty.Instant { return duty.Instant(begins.UnixMicro() + d*day) }
		m, err := c.Model.With([]duty.Contract{{ID: "S-1", Type: "standard", Scope: scope, To: at(3)}, {ID: "S-2", Type: "standard", Renews: "S-1", From: at(3)}}, nil, func(string) fault.Position { return fault.Position{} })
		e.must(err)
		c.Model = m
	}})
	e.until("told", 2, e.inState("cache-1", casework.Notified))
	before := e.theCase("cache-1")
	e.leapTo(begins.UnixMicro() + 3*day)
	e.untilIdle()
	cs, err := e.d.DB.Charges(t.Context(), operator, e.findingsOf("cache-1")[0].ID)
	e.must(err)
	if c := e.theCase("cache-1"); len(cs) != 2 || cs[0].Duty.Resource.ContractID != "S-1" || cs[1].Duty.Resource.ContractID != "S-2" || c.ID != before.ID || c.Due != before.Due {
		t.Errorf("charges %+v, the case %+v", cs, c)
	}
	if n := e.mailsTo(owner, "somebody else"); n != 0 || e.count("cache-1", "finding.recharged") != 1 {
		t.Errorf("%d mails, %d entries", n, e.count("cache-1", "finding.recharged"))
	}
	e.noErrors()
}

// Whatever the instant at which a contract begins, the machine is never touched from then on, and is as it was in the end.
func TestAContractThatBeginsStopsTheLadderAnywhere(t *testing.T) {
	t.Parallel()
	for _, stop := range []casework.State{casework.Notified, casework.FinalWarning, casework.Queued} {
		t.Run(string(stop), func(t *testing.T) {
			t.Parallel()
			e := open(t, underContract(1000, 0))
			e.until(string(stop), 12, e.inState("cache-1", stop))
			if stop == casework.Queued {
				e.approve("cache-1") // and the contract begins before the act is tried
			}
			e.stop()
			e.plot = underContract((e.clock.Now()-begins.UnixMicro())/day, 0)
			e.start()
			e.until("the provider has it", 2, func() bool { return e.of(duty.Provider).ID != "" })
			e.after(20 * day)
			e.untouched()
			if c := e.of(duty.Customer); c.State != casework.Closed {
				t.Errorf("the customer's case is %s", c.State)
			}
			if n := e.count("cache-1", "gate.passed") + e.count("cache-1", "act.intended"); n != 0 {
				t.Errorf("the gate was passed")
			}
			e.noErrors()
		})
	}
}

// A model whose words change under the same version is refused, at the start and by the doctor: who was charged by it must stay
// explainable. Under a version of its own it is taken, and what it says otherwise is charged anew.
func TestAModelKeepsItsWords(t *testing.T) {
	t.Parallel()
	const old, new = "reason: the customer secures the applications it runs", "reason: the customer secures its applications"
	p := plot{config: []string{"netblocks:", "duties: own.yaml\nnetblocks:"}, secrets: map[string]string{"own.yaml": duty.DefaultText()}}
	e := open(t, p)
	e.until("told", 2, e.inState("cache-1", casework.Notified))
	m, err := duty.Default()
	e.must(err)
	kept, ok, err := e.d.DB.Model(t.Context(), m.ID, m.Version)
	if err != nil || !ok || kept.Text != duty.DefaultText() || kept.Hash != m.Hash() || kept.Since < begins.UnixMicro() || kept.Since > begins.Add(time.Hour).UnixMicro() {
		t.Errorf("kept %v %v %v, since %d", ok, err, kept.Hash, kept.Since)
	}
	e.stop()
	if _, bad := e.doctor(); bad[serve.ModelChanged].Code != "" {
		t.Errorf("the doctor before the change: %+v", bad)
	}
	e.plot.secrets["own.yaml"] = strings.Replace(duty.DefaultText(), old, new, 1)
	e.writeSecrets()
	if _, bad := e.doctor(); bad[serve.ModelChanged].Code == "" {
		t.Errorf("the doctor after the change: %+v", bad)
	}
	c, rules, err := serve.Load(filepath.Join(e.dir, "demarc.yaml"))
	e.must(err)
	if s, err := serve.Serve(t.Context(), c, rules, serve.Options{}); !fault.Is(err, fault.Config) || !strings.Contains(err.Error(), "raise version") {
		t.Errorf("other words under the same version start: %v", err)
		if s != nil {
			e.must(s.Close())
		}
	}
	e.plot.secrets["own.yaml"] = strings.Replace(strings.Replace(e.plot.secrets["own.yaml"], "version: 3", "version: 4", 1), "ownership: csc-owned, duty: S0-26", "ownership: shared-csp-csc, provider: help, customer: fix, duty: S0-26", 1)
	e.writeSecrets()
	e.start()
	e.until("both hold it", 2, func() bool { return e.of(duty.Shared).State == casework.Notified })
	if c := e.of(duty.Customer); c.State != casework.Closed || !strings.Contains(c.Passed, "version 4 of the responsibility model default") {
		t.Errorf("the customer's case is %s: %q", c.State, c.Passed)
	}
	e.noErrors()
}

// What waited in the outbox while the finding passed on does not go out any more: nobody hears that it is fixed, or overdue, when
// it has become their own.
func TestAMailThatWaitedSaysNothingUntrue(t *testing.T) {
	t.Parallel()
	e := open(t, underContract(-1, 7))
	e.until("the provider was told", 2, func() bool { return e.of(duty.Provider).State == casework.Notified })
	e.w.Mail.Down()
	e.until("the provider is overdue", 6, func() bool { return e.of(duty.Provider).State == casework.Overdue })
	e.leapTo(begins.UnixMicro() + 7*day + hour)
	e.untilIdle()
	e.must(e.w.Mail.Up())
	e.until("the customer was told", 2, func() bool { return e.of(duty.Customer).State == casework.Notified })
	if e.of(duty.Provider).State != casework.Closed || e.mailsTo(owner, "with the provider: fixed") != 0 || e.mailsTo(owner, "with the provider: overdue") != 0 || e.mailsTo(owner, "somebody else must act") != 1 {
		t.Errorf("the provider's case is %s; the owner heard %d, %d, %d", e.of(duty.Provider).State, e.mailsTo(owner, "with the provider: fixed"), e.mailsTo(owner, "with the provider: overdue"), e.mailsTo(owner, "somebody else must act"))
	}
}

// A contract whose ids the cloud does not know is told of by the doctor, and one that it knows is not.
func TestTheDoctorTellsOfAContractThatCoversNothing(t *testing.T) {
	t.Parallel()
	e := open(t, plot{config: []string{"netblocks:", "contracts:\n  - {id: ESC-9, type: extended, projects: [no-such-project]}\nofferings:\n  - {id: boxes, service: paas, architecture: container, domains: [default]}\nnetblocks:"}})
	e.until("read", 1, func() bool { return e.d.Line != nil && len(e.casesOf("cache-1")) > 0 })
	e.stop()
	_, bad := e.doctor()
	if what := bad[serve.ModelAside].What; !strings.Contains(what, "contract ESC-9") || strings.Contains(what, "boxes") {
		t.Errorf("the doctor says %q", what)
	}
}

// Where the configuration names nobody who acts for the provider, the model's contact does.
func TestTheModelKnowsWhoActsForTheProvider(t *testing.T) {
	t.Parallel()
	own := strings.Replace(duty.DefaultText(), "{id: provider, role: provider, name: The provider of the cloud}", "{id: provider, role: provider, name: The provider, contacts: {technical: tech@cloud.example, security: soc@cloud.example}}", 1)
	e := ward(t, plot{config: []string{"  provider: platform-team@cloud.example\n", "", "netblocks:", "duties: own.yaml\nnetblocks:"}, secrets: map[string]string{"own.yaml": own}})
	c, _, err := serve.Load(filepath.Join(e.dir, "demarc.yaml"))
	e.must(err)
	if c.Mail.Provider != "soc@cloud.example" {
		t.Errorf("%q acts for the provider", c.Mail.Provider)
	}
}

// Findings of one case may go to two parties at once: a machine that is offered as PaaS has its system with the provider, and its
// applications with both. Each party has its own, once, and the case they left is over.
func TestOneCaseMayPassToTwo(t *testing.T) {
	t.Parallel()
	e := open(t, plot{scenario: mixed()})
	e.until("told", 3, func() bool { return len(e.findingsOf("cache-1")) == 2 && e.inState("cache-1", casework.Notified)() })
	e.stop()
	e.plot.wrap = func(e *exam, c *flow.Config) {
		m, err := c.Model.With(nil, []duty.Offering{{ID: "boxes", Service: "paas", Architecture: "vm", Scope: duty.Scope{Servers: []asset.ServerID{asset.ServerID(e.w.ServerID("cache-1"))}}}}, func(string) fault.Position { return fault.Position{} })
		e.must(err)
		c.Model = m
	}
	e.start()
	e.until("overdue at both", 40, func() bool {
		return e.of(duty.Provider).State == casework.Overdue && e.of(duty.Shared).State == casework.Overdue
	})
	for _, f := range e.findingsOf("cache-1") {
		want := map[string]duty.Party{"telnet-exposed": duty.Provider, "redis-unauth": duty.Shared}[f.Key.Check]
		if c := e.caseByID(f.Case); f.Duty.Party != want || c.Party != want || c.State.Over() {
			t.Errorf("%s is the %s's, in a case of the %s that is %s; want the %s's", f.Key.Check, f.Duty.Party, c.Party, c.State, want)
		}
	}
	if c := e.of(duty.Customer); c.State != casework.Closed || e.saying(owner, "somebody else must act now", "Redis") != 1 || e.saying(owner, "somebody else must act now", "elnet") != 1 || e.mailsTo(owner, "somebody else must act now") != 1 {
		t.Errorf("the customer's case is %s, and the owner heard %d times that it passed", c.State, e.mailsTo(owner, "somebody else must act now"))
	}
	e.untouched()
	e.noErrors()
}

// mixed is a town in which cache-1 has an open Redis, and telnet.
func mixed() lab.Scenario {
	s := town()
	s.Servers[0].Services = []lab.Service{{Kind: lab.Redis, Port: 6379}, {Kind: lab.Telnet, Port: 2323}}
	s.Groups = slices.Clone(s.Groups)
	for i := range s.Groups {
		if g := &s.Groups[i]; g.Name == "cache" {
			g.Rules = append(slices.Clone(g.Rules), lab.Rule{Proto: "tcp", Min: 2323, Max: 2323, Remote: everywhere})
		}
	}
	return s
}

// Of one case, part may pass and part stay under another contract: what stays is charged anew once, and remembers it.
func TestWhatStaysUnderAContractIsChargedOnce(t *testing.T) {
	t.Parallel()
	e := open(t, plot{scenario: mixed(), wrap: func(e *exam, c *flow.Config) {
		scope := duty.Scope{Servers: []asset.ServerID{asset.ServerID(e.w.ServerID("cache-1"))}}
		m, err := c.Model.With([]duty.Contract{{ID: "ESC-1", Type: "extended", Scope: scope, From: duty.Instant(begins.UnixMicro() + 3*day)}}, nil, func(string) fault.Position { return fault.Position{} })
		e.must(err)
		c.Model = m
	}})
	e.until("told", 2, func() bool { return len(e.findingsOf("cache-1")) == 2 && e.inState("cache-1", casework.Notified)() })
	e.leapTo(begins.UnixMicro() + 3*day)
	e.untilIdle()
	e.after(2 * day)
	for _, f := range e.findingsOf("cache-1") {
		cs, err := e.d.DB.Charges(t.Context(), operator, f.ID)
		e.must(err)
		want := map[string]duty.Party{"telnet-exposed": duty.Shared, "redis-unauth": duty.Customer}[f.Key.Check]
		if len(cs) != 2 || f.Duty.Party != want || f.Duty.Resource.ContractID != "ESC-1" || cs[1].Duty.Resource.ContractID != "ESC-1" {
			t.Errorf("%s is the %s's under %q, charged %d times", f.Key.Check, f.Duty.Party, f.Duty.Resource.ContractID, len(cs))
		}
	}
	e.noErrors()
}
