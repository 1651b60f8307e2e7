package gate

import (
	"strings"
	"testing"
	"time"

	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/policy"
)

const day = int64(24 * time.Hour / time.Microsecond)

var start = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC).UnixMicro()

func rules(t *testing.T) *policy.Policy {
	t.Helper()
	d, err := policy.Default()
	if err != nil {
		t.Fatal(err)
	}
	p := *d
	p.DryRun = false
	return &p
}

// green is a case in which everything holds.
func green() Facts {
	grace := start + 5*day
	return Facts{
		Now: grace + 1000,
		Case: casework.Case{ID: "c", Party: duty.Customer, Class: "E", State: casework.Queued, FinalAt: grace - day, GraceEnds: grace,
			Notices:   []casework.Notice{{Step: casework.StepNotice, AcceptedAt: start}, {Step: casework.StepFinal, AcceptedAt: grace - day}},
			Approvals: []casework.Approval{{By: "olga", At: grace}}},
		Findings: []Finding{{ID: "f", State: finding.Open, Grade: finding.Proved, Class: "E", Party: duty.Customer, Held: start - 2000, ProbeAge: 1,
			Looks: []finding.Sighting{{At: start - 1000, Verdict: finding.Vulnerable}, {At: grace + 500, Verdict: finding.Vulnerable}}}},
		Target:       Target{ServerExists: true, SameProject: true, SamePort: true, Proven: true, BindingAge: 1},
		InventoryAge: 1, Healthy: true, Enabled: true, Clock: true, Loopback: true, OwnerOfAct: true,
		Usage: Usage{Batch: 1, BatchProject: 1, CloudServers: 10, ProjectServers: 3},
	}
}

func TestTheGateOpensWhenEverythingHolds(t *testing.T) {
	if d := Decide(green(), rules(t)); !d.Go {
		t.Fatal(d.Blocks)
	}
}

// breaks bends one fact at a time; each must be caught by the condition it is listed under, and by it alone.
var breaks = map[string]map[string]func(*Facts, *policy.Policy){
	"switch":   {"paused": func(f *Facts, _ *policy.Policy) { f.Enabled = false }},
	"dry-run":  {"dry run": func(_ *Facts, p *policy.Policy) { p.DryRun = true }},
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
	},
	"spoofing":     {"a neighbour may answer": func(f *Facts, _ *policy.Policy) { f.Target.Spoofable = true }},
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
			f.Findings[0].Looks = []finding.Sighting{f.Findings[0].Looks[0], {At: start + day, Verdict: finding.NotVulnerable}, f.Findings[0].Looks[1]}
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
	}},
	"restored": {
		"never seen since": func(f *Facts, _ *policy.Policy) { f.ProofsFrom = f.Now },
		"seen once since":  func(f *Facts, _ *policy.Policy) { f.ProofsFrom = f.Findings[0].Looks[1].At },
	},
	"notices": {
		"no final":        func(f *Facts, _ *policy.Policy) { f.Case.Notices = f.Case.Notices[:1] },
		"not accepted":    func(f *Facts, _ *policy.Policy) { f.Case.Notices[1].AcceptedAt = 0 },
		"both of one day": func(f *Facts, _ *policy.Policy) { f.Case.Notices[1].AcceptedAt = start + 1 },
		"of an earlier relapse": func(f *Facts, _ *policy.Policy) {
			f.Case.RelapsedAt = start + 3*day
			f.Case.Notices = append(f.Case.Notices, casework.Notice{Step: casework.StepRelapse, AcceptedAt: start + 2*day})
		},
	},
	"grace": {
		"running":   func(f *Facts, _ *policy.Policy) { f.Now = f.Case.GraceEnds - 1 },
		"too short": func(f *Facts, _ *policy.Policy) { f.Case.FinalAt = f.Case.GraceEnds - day + 1 },
		"none":      func(f *Facts, _ *policy.Policy) { f.Case.FinalAt = 0 },
	},
	"owner-of-act": {"two cases": func(f *Facts, _ *policy.Policy) { f.OwnerOfAct = false }},
	"approval":     {"none": func(f *Facts, _ *policy.Policy) { f.Case.Approvals = nil }},
	"budget": {
		"hour":          func(f *Facts, p *policy.Policy) { f.Usage.CloudHour = p.Budgets.CloudHour },
		"project hour":  func(f *Facts, p *policy.Policy) { f.Usage.ProjectHour = p.Budgets.ProjectHour },
		"project day":   func(f *Facts, _ *policy.Policy) { f.Usage.ProjectDay = 1 },
		"cloud share":   func(f *Facts, _ *policy.Policy) { f.Usage.CloudDay = 1 },
		"batch":         func(f *Facts, _ *policy.Policy) { f.Usage.Batch, f.Usage.BatchProject = 5, 5 },
		"usage unknown": func(f *Facts, _ *policy.Policy) { f.Usage = Usage{} },
	},
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
					if !strings.HasPrefix(b, c.Name+":") {
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
