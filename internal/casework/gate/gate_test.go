package gate

import (
	"slices"
	"strings"
	"testing"
	"time"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/policy"
)

const oneDay = int64(24 * time.Hour / time.Microsecond)

var start = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC).UnixMicro()

func rules(t *testing.T) *policy.Policy {
	t.Helper()
	d, err := policy.Default()
	if err != nil {
		t.Fatal(err)
	}
	return d.InMode(policy.Enforce)
}

// green is a case in which everything holds.
func green() Facts {
	grace := start + 5*oneDay
	return Facts{
		Now: grace + 1000,
		Case: casework.Case{ID: "c", Server: "s", Party: duty.Customer, Class: "E",
			State: casework.Queued, FinalAt: grace - oneDay, GraceEnds: grace,
			Notices:   []casework.Notice{mail(casework.StepNotice, start, start+4*oneDay), mail(casework.StepFinal, grace-oneDay, grace)},
			Approvals: []casework.Approval{{By: "olga", At: grace}}},
		Findings: []Finding{{ID: "f", Server: "s", State: finding.Open, Grade: finding.Proved,
			Class: "E", Party: duty.Customer, Held: start - 2000, ProbeAge: 1,
			Looks: []finding.Sighting{{At: start - 1000, Verdict: finding.Vulnerable}, {At: grace + 500, Verdict: finding.Vulnerable}}}},
		Target:       Target{ServerExists: true, SameProject: true, SamePort: true, Proven: true, BindingAge: 1},
		InventoryAge: 1, Healthy: true, Enabled: true, Clock: true, Loopback: true, OwnerOfAct: true,
		Usage:  Usage{Batch: 1, BatchProject: 1, CloudServers: 10, ProjectServers: 3},
		Action: policy.Quarantine, Admits: []string{"192.0.2.0/24 tcp/22-22"},
		People: People{Able: []string{"amir@astro.example"}, StandIn: "ops@cloud.example"},
		Record: Record{
			Notices:   []casework.Notice{mail(casework.StepNotice, start, start+4*oneDay), mail(casework.StepFinal, grace-oneDay, grace)},
			Approvals: []casework.Approval{{By: "olga", At: grace}}},
	}
}

// mail is a mail to the owner that announced a quarantine for finding f, with its full time.
func mail(s casework.Step, at, deadline int64) casework.Notice {
	return casework.Notice{Step: s, To: casework.Owner, Recipient: "amir@astro.example",
		MessageID: string(s), AcceptedAt: at, Deadline: deadline,
		Announced: casework.Announced{
			End:      policy.Quarantine,
			Class:    "E",
			Policy:   1,
			Findings: []string{"f"},
			Admits:   []string{"192.0.2.0/24 tcp/22-22"},
			Full:     true,
		}}
}

// mails bends a mail of the case and of the log alike, so that only what it says is at issue.
func mails(i int, bend func(*casework.Notice)) func(*Facts, *policy.Policy) {
	return func(f *Facts, _ *policy.Policy) {
		bend(&f.Case.Notices[i])
		bend(&f.Record.Notices[i])
	}
}

func TestTheGateOpensWhenEverythingHolds(t *testing.T) {
	if d := Decide(green(), rules(t)); !d.Go {
		t.Fatal(d.Blocks)
	}
}

// breaks bends one fact at a time; each must be caught by the condition it is listed under, and by it alone.
var breaks = map[string]map[string]func(*Facts, *policy.Policy){
	"switch": {"paused": func(f *Facts, _ *policy.Policy) { f.Enabled = false }},
	"mode": {
		"observe":    func(_ *Facts, p *policy.Policy) { p.Mode = policy.Observe },
		"notify":     func(_ *Facts, p *policy.Policy) { p.Mode = policy.Notify },
		"not set":    func(_ *Facts, p *policy.Policy) { p.Mode = "" },
		"not a mode": func(_ *Facts, p *policy.Policy) { p.Mode = "Enforce" },
		"misspelled": func(_ *Facts, p *policy.Policy) { p.Mode = "enforce " },
	},
	"clock":    {"a wall clock that jumped": func(f *Facts, _ *policy.Policy) { f.Clock = false }},
	"loopback": {"another machine": func(f *Facts, _ *policy.Policy) { f.Loopback = false }},
	"party": {
		"provider": func(f *Facts, _ *policy.Policy) { f.Case.Party = duty.Provider },
		"shared":   func(f *Facts, _ *policy.Policy) { f.Case.Party = duty.Shared },
		"nobody":   func(f *Facts, _ *policy.Policy) { f.Case.Party = "" },
	},
	"attribution": {
		"a contract began": func(f *Facts, _ *policy.Policy) { f.Findings[0].Party = duty.Provider },
		"shared by now":    func(f *Facts, _ *policy.Policy) { f.Findings[0].Party = duty.Shared },
		"not known":        func(f *Facts, _ *policy.Policy) { f.Findings[0].Party = "" },
	},
	"told": {
		"since when":  func(f *Facts, _ *policy.Policy) { f.Findings[0].Held = 0 },
		"told before": func(f *Facts, _ *policy.Policy) { f.Findings[0].Held = start + 1 },
	},
	"class": {"high": func(f *Facts, p *policy.Policy) {
		f.Case.Class = "E"
		k := p.Classes["E"]
		k.End = policy.Operator
		p.Classes = map[string]policy.Class{"E": k}
	}},
	"state": {"on hold": func(f *Facts, _ *policy.Policy) { f.Case.State = casework.OnHold }, "final warning": func(f *Facts, _ *policy.Policy) { f.Case.State = casework.FinalWarning }},
	"proof": {
		"suspected":      func(f *Facts, _ *policy.Policy) { f.Findings[0].Grade = finding.Suspected },
		"observed":       func(f *Facts, _ *policy.Policy) { f.Findings[0].Grade = finding.Observed },
		"a lesser class": func(f *Facts, _ *policy.Policy) { f.Findings[0].Class = "M" },
		"claimed":        func(f *Facts, _ *policy.Policy) { f.Findings[0].State = finding.Claimed },
		"unverifiable":   func(f *Facts, _ *policy.Policy) { f.Findings[0].State = finding.Unverifiable },
		"doubtful holder": func(f *Facts, _ *policy.Policy) {
			f.Findings = append(f.Findings, Finding{ID: "g", State: finding.AttributionHold})
		},
		"no finding": func(f *Facts, _ *policy.Policy) { f.Findings = nil },
	},
	"identity": {
		"gone":            func(f *Facts, _ *policy.Policy) { f.Target.ServerExists = false },
		"another project": func(f *Facts, _ *policy.Policy) { f.Target.SameProject = false },
		"address moved":   func(f *Facts, _ *policy.Policy) { f.Target.SamePort = false },
		"shared address":  func(f *Facts, _ *policy.Policy) { f.Target.Shared = true },
		"another machine": func(f *Facts, _ *policy.Policy) { f.Case.Server = "victim" },
	},
	"spoofing": {
		"a neighbour may answer": func(f *Facts, _ *policy.Policy) { f.Target.Neighbours = []Neighbour{{Port: "p"}} },
		"one of its own project": func(f *Facts, _ *policy.Policy) { f.Target.Neighbours = []Neighbour{{Port: "p", Own: true}} },
		"another's, and an operator overrules": func(f *Facts, _ *policy.Policy) {
			f.Target.Neighbours = []Neighbour{{Port: "p"}}
			overrule(f, "spoofing")
		},
		"decided without a reason": func(f *Facts, _ *policy.Policy) {
			f.Target.Neighbours = []Neighbour{{Port: "p", Own: true}}
			overrule(f, "spoofing")
			f.Case.Approvals[0].Why, f.Record.Approvals[0].Why = " ", " "
		},
	},
	"port-security": {"off": func(f *Facts, _ *policy.Policy) { f.Target.Unsecured = []asset.PortID{"p"} }},
	"announced": {
		"a stop":                      func(f *Facts, _ *policy.Policy) { f.Action = policy.Stop },
		"harsher than the first mail": mails(0, func(n *casework.Notice) { n.End = policy.Operator }),
		"a report":                    mails(0, func(n *casework.Notice) { n.End = policy.Report }),
		"nothing that is known":       mails(1, func(n *casework.Notice) { n.End = policy.Operator }),
		"a graver class":              mails(1, func(n *casework.Notice) { n.Class = "X" }),
		"the repair path":             func(f *Facts, _ *policy.Policy) { f.Admits = nil },
		"not in the first mail":       mails(0, func(n *casework.Notice) { n.Findings = []string{"g"} }),
		"not in the final one":        mails(1, func(n *casework.Notice) { n.Findings = nil }),
	},
	"promised": {
		"by the case": func(f *Facts, _ *policy.Policy) {
			f.Case.Notices = append(f.Case.Notices, mail(casework.StepStatus, start, f.Now+1))
		},
		"by the log": func(f *Facts, _ *policy.Policy) {
			f.Record.Notices = append(f.Record.Notices, mail(casework.StepFinal, start, f.Now+1))
		},
	},
	"people": {
		"the notified one left":       func(f *Facts, _ *policy.Policy) { f.People.Able = []string{"bea@astro.example"} },
		"nobody is left":              func(f *Facts, _ *policy.Policy) { f.People.Able = nil },
		"the notice cut short":        mails(0, func(n *casework.Notice) { n.Full = false }),
		"the final warning cut short": mails(1, func(n *casework.Notice) { n.Full = false }),
		"the final warning to nobody": mails(1, func(n *casework.Notice) { n.Recipient = "gone@astro.example" }),
	},
	"witnessed": {
		"no proof":                 func(f *Facts, _ *policy.Policy) { f.Record.Doubt = "the head is not the log's" },
		"a forged notice":          func(f *Facts, _ *policy.Policy) { f.Record.Notices = f.Record.Notices[1:] },
		"a forged final":           func(f *Facts, _ *policy.Policy) { f.Record.Notices = f.Record.Notices[:1] },
		"a deadline cut short":     func(f *Facts, _ *policy.Policy) { f.Case.Notices[0].Deadline -= oneDay },
		"an end raised":            func(f *Facts, _ *policy.Policy) { f.Case.Notices[1].End = policy.Stop },
		"a forged approval":        func(f *Facts, _ *policy.Policy) { f.Record.Approvals = nil },
		"a forged decision":        func(f *Facts, _ *policy.Policy) { f.Case.Approvals[0].Despite = []string{"people"} },
		"found on another machine": func(f *Facts, _ *policy.Policy) { f.Findings[0].Logged = "another" },
		"a forged check":           func(f *Facts, _ *policy.Policy) { f.Findings[0].Unlogged = 1 },
	},
	"reach-proven": {"a port that hardware filters": func(f *Facts, _ *policy.Policy) { f.Target.Proven = false }},
	"protected":    {"protected": func(f *Facts, _ *policy.Policy) { f.Target.Protected = true }},
	"binding-fresh": {
		"stale":   func(f *Facts, p *policy.Policy) { f.Target.BindingAge = Age(p.Freshness.Binding.Micros() + 1) },
		"unknown": func(f *Facts, _ *policy.Policy) { f.Target.BindingAge = Unknown },
	},
	"probe-fresh": {
		"silent since": func(f *Facts, _ *policy.Policy) {
			f.Findings[0].Looks = append(f.Findings[0].Looks, finding.Sighting{At: f.Now, Verdict: finding.NoAnswer})
		},
		"stale":   func(f *Facts, p *policy.Policy) { f.Findings[0].ProbeAge = Age(p.Freshness.Probe.Micros() + 1) },
		"unknown": func(f *Facts, _ *policy.Policy) { f.Findings[0].ProbeAge = Unknown },
	},
	"inventory": {
		"stale":     func(f *Facts, p *policy.Policy) { f.InventoryAge = Age(p.Freshness.Inventory.Micros() + 1) },
		"unhealthy": func(f *Facts, _ *policy.Policy) { f.Healthy = false },
		"unknown":   func(f *Facts, _ *policy.Policy) { f.InventoryAge = Unknown },
	},
	"repeated-scans": {
		"never before": func(f *Facts, _ *policy.Policy) { f.Findings[0].Looks = f.Findings[0].Looks[1:] },
		"never after":  func(f *Facts, _ *policy.Policy) { f.Findings[0].Looks = f.Findings[0].Looks[:1] },
		"clean between": func(f *Facts, _ *policy.Policy) {
			f.Findings[0].Looks = []finding.Sighting{f.Findings[0].Looks[0],
				{At: start + oneDay, Verdict: finding.NotVulnerable}, f.Findings[0].Looks[1]}
		},
		"before grace":  func(f *Facts, _ *policy.Policy) { f.Findings[0].Looks[1].At = f.Case.GraceEnds - 1 },
		"never at all":  func(f *Facts, _ *policy.Policy) { f.Findings[0].Looks = nil },
		"only silences": func(f *Facts, _ *policy.Policy) { f.Findings[0].Looks[0].Verdict = finding.NoAnswer },
	},
	"same-finding": {"two halves": func(f *Facts, p *policy.Policy) {
		g := f.Findings[0]
		g.ID, g.Looks = "g", g.Looks[:1]                             // confirmed just now, and never seen after grace
		f.Findings[0].ProbeAge = Age(p.Freshness.Probe.Micros() + 1) // persisted, and not confirmed
		f.Findings = append(f.Findings, g)
		for i := range f.Case.Notices {
			mails(i, func(n *casework.Notice) { n.Findings = []string{"f", "g"} })(f, p)
		}
	}},
	"restored": {
		"never seen since": func(f *Facts, _ *policy.Policy) { f.ProofsFrom = f.Now },
		"seen once since":  func(f *Facts, _ *policy.Policy) { f.ProofsFrom = f.Findings[0].Looks[1].At },
	},
	"notices": {
		"no final":           func(f *Facts, _ *policy.Policy) { f.Case.Notices = f.Case.Notices[:1] },
		"not accepted":       mails(1, func(n *casework.Notice) { n.AcceptedAt = 0 }),
		"both of one oneDay": mails(1, func(n *casework.Notice) { n.AcceptedAt = start + 1 }),
		"of an earlier relapse": func(f *Facts, _ *policy.Policy) {
			f.Case.RelapsedAt = start + 3*oneDay
			old := mail(casework.StepRelapse, start+2*oneDay, start+3*oneDay)
			f.Case.Notices, f.Record.Notices = append(f.Case.Notices, old), append(f.Record.Notices, old)
		},
	},
	"grace": {
		"running": func(f *Facts, _ *policy.Policy) {
			f.Case.GraceEnds = f.Now + 1
			f.Findings[0].Looks[1].At = f.Now + 1
		},
		"too short": func(f *Facts, _ *policy.Policy) { f.Case.FinalAt = f.Case.GraceEnds - oneDay + 1 },
		"none":      func(f *Facts, _ *policy.Policy) { f.Case.FinalAt = 0 },
	},
	"owner-of-act": {"two cases": func(f *Facts, _ *policy.Policy) { f.OwnerOfAct = false }},
	"approval":     {"none": func(f *Facts, _ *policy.Policy) { f.Case.Approvals = nil }},
	"budget": {
		"hour":           func(f *Facts, p *policy.Policy) { f.Usage.CloudHour = p.Budgets.CloudHour },
		"project hour":   func(f *Facts, p *policy.Policy) { f.Usage.ProjectHour = p.Budgets.ProjectHour },
		"project oneDay": func(f *Facts, _ *policy.Policy) { f.Usage.ProjectDay = 1 },
		"cloud share":    func(f *Facts, _ *policy.Policy) { f.Usage.CloudDay = 1 },
		"batch":          func(f *Facts, _ *policy.Policy) { f.Usage.Batch, f.Usage.BatchProject = 5, 5 },
		"usage unknown":  func(f *Facts, _ *policy.Policy) { f.Usage = Usage{} },
	},
}

// overrule lets the approver decide against a condition, with a reason, in the case and in the log.
func overrule(f *Facts, condition string) {
	a := casework.Approval{By: "olga", At: f.Case.Approvals[0].At, Despite: []string{condition}, Why: "spoke to the owner"}
	f.Case.Approvals, f.Record.Approvals = []casework.Approval{a}, []casework.Approval{a}
}

// A person decides where only the owner's own choices, or a change of people, stand in the way.
func TestGateAcceptsAPersonsDecision(t *testing.T) {
	for condition, bend := range map[string]func(*Facts){
		"spoofing":      func(f *Facts) { f.Target.Neighbours = []Neighbour{{Port: "p", Own: true}} },
		"port-security": func(f *Facts) { f.Target.Unsecured = []asset.PortID{"p"} },
		"people":        func(f *Facts) { f.People.Able = []string{"bea@astro.example"} },
	} {
		f := green()
		bend(&f)
		if d := Decide(f, rules(t)); d.Go {
			t.Errorf("%s: nobody decided, and it passes", condition)
		}
		overrule(&f, condition)
		if d := Decide(f, rules(t)); !d.Go {
			t.Errorf("%s: decided, and still %v", condition, d.Blocks)
		}
	}
}

// No condition but those can be decided against.
func TestGateOverrulesNothingElse(t *testing.T) {
	for _, c := range Conditions {
		if slices.Contains(casework.Despite, c.Name) {
			continue
		}
		for name, bend := range breaks[c.Name] {
			f, p := green(), rules(t)
			overrule(&f, c.Name)
			bend(&f, p)
			if d := Decide(f, p); d.Go {
				t.Errorf("%s/%s was overruled", c.Name, name)
			}
		}
	}
}

// What is refused to operators with a name is refused to owners without it.
func TestRefusalTellsOwnersNothingOfOthers(t *testing.T) {
	f := green()
	f.Target.Neighbours = []Neighbour{{Port: "secret-port", Project: "secret-project", Why: "its port security is off"}}
	b := Decide(f, rules(t)).Blocks[0]
	if !strings.Contains(b.ForOperators(), "secret-port") || !strings.Contains(b.ForOperators(), "secret-project") ||
		strings.Contains(b.String(), "secret") {
		t.Errorf("operators read %q, owners %q", b.ForOperators(), b)
	}
	c := casework.Case{Blocks: []casework.Refusal{b}}
	if got := c.ForOwners(); got.Blocks[0].Detail != "" || c.Blocks[0].Detail == "" {
		t.Errorf("owners read %+v, and what was given is %+v", got.Blocks, c.Blocks)
	}
}

// Something graver that joins after the warning neither puts off what was announced nor makes it harsher.
func TestGateActsOnTheAnnouncedClass(t *testing.T) {
	f, p := green(), rules(t)
	f.Case.Class = "X"
	f.Findings = append(f.Findings,
		Finding{ID: "g", Server: "s", State: finding.Open, Grade: finding.Proved, Class: "X", Party: duty.Customer, Held: start})
	if d := Decide(f, p); !d.Go {
		t.Error(d.Blocks)
	}
}

// Each condition alone refuses, with all the others switched off; with it off, nothing else notices.
func TestEachConditionAloneRefuses(t *testing.T) {
	for _, c := range Conditions {
		ways := breaks[c.Name]
		if len(ways) == 0 {
			t.Errorf("condition %s is never tested", c.Name)
		}
		for name, bend := range ways {
			t.Run(c.Name+"/"+name, func(t *testing.T) {
				f, p := green(), rules(t)
				bend(&f, p)
				if d := decide(f, p, []Condition{c}); d.Go {
					t.Error("alone, the condition lets it pass")
				}
				for _, b := range Decide(f, p).Blocks {
					if b.Condition != c.Name {
						t.Errorf("another condition refuses too: %s", b)
					}
				}
			})
		}
	}
	for name := range breaks {
		known := false
		for _, c := range Conditions {
			known = known || c.Name == name
		}
		if !known {
			t.Errorf("the test bends %s, which is no condition", name)
		}
	}
}

func TestTheZeroValueRefusesEverywhere(t *testing.T) {
	p := rules(t)
	if d := Decide(Facts{}, p); d.Go || len(d.Blocks) < 10 {
		t.Errorf("facts that were never read pass: %v", d.Passed)
	}
}
