package serve_test

import (
	"path/filepath"
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
	"demarc/internal/serve"
)

const provider = "platform-team@cloud.example"

// underContract makes cache-1 a container whose applications an extended contract moves to the provider, from a day of the
// story on until another; 0 is never.
func underContract(from, to int64) plot {
	return plot{wrap: func(e *exam, c *flow.Config) {
		scope := duty.Scope{Servers: []asset.ServerID{asset.ServerID(e.w.ServerID("cache-1"))}}
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
// customer has it back with the full time, and the cases that are closed keep what they were judged by.
func TestAContractMovesWhatIsOpen(t *testing.T) {
	t.Parallel()
	const starts, ends = 12, 30
	e := open(t, underContract(starts, ends))
	before := e.groups("cache-1")
	e.until("queued", 10, e.inState("cache-1", casework.Queued))
	e.approve("cache-1")
	e.until("restricted", 1, e.inState("cache-1", casework.Restricted))
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
	if again.ID == first.ID || again.State != casework.Notified || again.Due < begins.UnixMicro()+ends*day+3*day || e.of(duty.Provider).State != casework.Closed {
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
	e.plot.secrets["own.yaml"] = strings.Replace(strings.Replace(e.plot.secrets["own.yaml"], "version: 1", "version: 2", 1), "ownership: csc-owned, duty: S0-26", "ownership: shared-csp-csc, provider: help, customer: fix, duty: S0-26", 1)
	e.writeSecrets()
	e.start()
	e.until("both hold it", 2, func() bool { return e.of(duty.Shared).State == casework.Notified })
	if c := e.of(duty.Customer); c.State != casework.Closed || !strings.Contains(c.Passed, "version 2 of the responsibility model default") {
		t.Errorf("the customer's case is %s: %q", c.State, c.Passed)
	}
	e.noErrors()
}
