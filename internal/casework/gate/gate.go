// Package gate re-proves everything before each act on a tenant's machine.
//
// Decide is a table of conditions over facts that were read at the moment of the attempt. All must hold. A fact
// that could not be read is given as its zero value, and every zero value refuses.
package gate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/policy"
)

// Age is how old something is, in µs; negative means unknown, and unknown is too old.
type Age int64

// Unknown is the age of what was never read.
const Unknown Age = -1

// Target is the machine as the cloud tells it now, held against what the case says.
type Target struct {
	ServerExists bool // the server's UUID is there
	SameProject  bool // and still in the case's project
	SamePort     bool // the address of the latest positive look still leads to the finding's port and server
	Shared       bool // the address is a router's, or forwarded: many machines answer at it
	Spoofable    bool // another machine on its network may answer for the address
	Proven       bool // what the cloud's rules say was held against real packets for everything on the way to each live finding
	Protected    bool // an operator marked it: control plane, scanners, load balancers
	BindingAge   Age
}

// Finding is one finding of the case, with the looks that bear on it.
type Finding struct {
	ID       string
	State    finding.State
	Grade    finding.Grade
	Class    string
	Party    duty.Party         // who must act on it, by the model and the contract that stand now
	Held     int64              // since when that has been so, policy clock; 0: not known
	Looks    []finding.Sighting // in the order of their times
	ProbeAge Age                // of the latest positive look, on the slower of both clocks
}

// Usage is what the budgets have spent and what the batch at hand would add.
type Usage struct {
	CloudHour, CloudDay, ProjectHour, ProjectDay int // acts so far
	Batch, BatchProject                          int // acts wanted now, this one included
	CloudServers, ProjectServers                 int // running servers
}

// Facts is what the gate decides on.
type Facts struct {
	Now          int64 // policy clock, µs
	Case         casework.Case
	Findings     []Finding
	Target       Target
	InventoryAge Age
	Healthy      bool // the last inventory was complete and the cloud's API answers
	Usage        Usage
	Enabled      bool  // the kill switch is not thrown
	ProofsFrom   int64 // policy time from which on looks count, after a ledger was restored; 0: all count
	Clock        bool  // the machine's clocks agree on how much time has passed
	Loopback     bool  // every endpoint of the cloud, for each account, is on 127.0.0.0/8
	OwnerOfAct   bool  // no other case of this server has an act in force or under way
}

// Decision is the gate's word.
type Decision struct {
	Go     bool     `json:"go"`
	Blocks []string `json:"blocks,omitempty"` // each as "condition: reason"
	Passed []string `json:"passed"`
}

// Condition is one thing that must hold. Holds returns "" or the reason it does not.
type Condition struct {
	Name  string
	Holds func(f Facts, p *policy.Policy) string
}

// Conditions lists them all. What is not in this list does not exist: no window or holiday calendar, no circuit
// breakers, no second person. Until these are here, Loopback refuses every cloud but a test cloud on this machine.
var Conditions = []Condition{
	{"switch", func(f Facts, _ *policy.Policy) string { return unless(f.Enabled, "enforcement is paused") }},
	{"clock", func(f Facts, _ *policy.Policy) string {
		return unless(f.Clock, "the machine's clocks contradict each other")
	}},
	{"dry-run", func(_ Facts, p *policy.Policy) string { return unless(!p.DryRun, "the policy is a dry run") }},
	{"loopback", func(f Facts, _ *policy.Policy) string {
		return unless(f.Loopback, "this release acts on clouds on 127.0.0.0/8 only")
	}},
	{"party", func(f Facts, _ *policy.Policy) string {
		return unless(f.Case.Party == duty.Customer, "the "+string(f.Case.Party)+" must act, and that never touches the tenant's machine")
	}},
	{"attribution", attribution},
	{"told", told},
	{"class", class},
	{"state", func(f Facts, _ *policy.Policy) string {
		return unless(f.Case.State == casework.Queued, "the case is "+string(f.Case.State))
	}},
	{"proof", proof},
	{"identity", identity},
	{"spoofing", func(f Facts, _ *policy.Policy) string {
		return unless(!f.Target.Spoofable, "another machine on its network may answer for the address")
	}},
	{"reach-proven", func(f Facts, _ *policy.Policy) string {
		return unless(f.Target.Proven, "what the cloud's rules say is not proven for the way to the machine")
	}},
	{"protected", func(f Facts, _ *policy.Policy) string { return unless(!f.Target.Protected, "the machine is protected") }},
	{"binding-fresh", func(f Facts, p *policy.Policy) string {
		return fresh("the binding", f.Target.BindingAge, p.Freshness.Binding)
	}},
	{"probe-fresh", probeFresh},
	{"inventory", inventory},
	{"repeated-scans", repeatedScans},
	{"same-finding", sameFinding},
	{"restored", restored},
	{"notices", notices},
	{"grace", grace},
	{"owner-of-act", func(f Facts, _ *policy.Policy) string {
		return unless(f.OwnerOfAct, "another case has an act on this server")
	}},
	{"approval", func(f Facts, _ *policy.Policy) string {
		return unless(len(f.Case.Approvals) > 0, "no operator has approved")
	}},
	{"budget", budget},
}

// Decide asks every condition.
func Decide(f Facts, p *policy.Policy) Decision { return decide(f, p, Conditions) }

func decide(f Facts, p *policy.Policy, cs []Condition) Decision {
	var d Decision
	for _, c := range cs {
		if why := c.Holds(f, p); why != "" {
			d.Blocks = append(d.Blocks, c.Name+": "+why)
		} else {
			d.Passed = append(d.Passed, c.Name)
		}
	}
	d.Go = len(d.Blocks) == 0
	return d
}

// IsBudget tells whether a block is one of budget, which is spent by a batch and not by an act alone.
func IsBudget(block string) bool { return strings.HasPrefix(block, "budget:") }

func unless(ok bool, why string) string {
	if ok {
		return ""
	}
	return why
}

func class(f Facts, p *policy.Policy) string {
	k, ok := p.Classes[f.Case.Class]
	if !ok {
		return fmt.Sprintf("class %q has no clocks", f.Case.Class)
	}
	return unless(k.End.Restricts(), fmt.Sprintf("class %s ends in %s", f.Case.Class, k.End))
}

// proved picks the findings that are open, proved, and of the class whose time is over.
func proved(f Facts) []Finding {
	var out []Finding
	for _, x := range f.Findings {
		if x.State == finding.Open && x.Grade == finding.Proved && x.Class == f.Case.Class {
			out = append(out, x)
		}
	}
	return out
}

// theirs picks, of what is proved, what is the customer's as things stand now.
func theirs(f Facts) []Finding {
	return slices.DeleteFunc(proved(f), func(x Finding) bool { return x.Party != duty.Customer })
}

// acting picks, of what is theirs, what was told to them since it is: that carries the act. Others of the case neither help nor
// hinder.
func acting(f Facts) []Finding {
	notices := f.Case.Accepted(casework.StepNotice)
	return slices.DeleteFunc(theirs(f), func(x Finding) bool {
		return x.Held <= 0 || !slices.ContainsFunc(notices, func(n casework.Notice) bool { return n.AcceptedAt >= x.Held })
	})
}

// attribution: what is not the customer's is no reason for an act, whatever it was when the case began.
func attribution(f Facts, _ *policy.Policy) string {
	for _, x := range proved(f) {
		if x.Party == "" {
			return "whose finding " + x.ID + " is cannot be told: the inventory does not hold its project"
		}
	}
	return unless(len(theirs(f)) > 0 || len(proved(f)) == 0, "nothing that is proved is the customer's as things stand now")
}

// told: what became the customer's after the last notice is no reason for an act before they have heard of it.
func told(f Facts, _ *policy.Policy) string {
	return unless(len(acting(f)) > 0 || len(theirs(f)) == 0 || len(f.Case.Accepted(casework.StepNotice)) == 0,
		"what is proved was not told to the customer since it is theirs")
}

func proof(f Facts, _ *policy.Policy) string {
	for _, x := range f.Findings {
		if x.State == finding.AttributionHold {
			return "the attribution of finding " + x.ID + " is in doubt"
		}
	}
	return unless(len(proved(f)) > 0, "no finding of the case's class is open and proved")
}

func identity(f Facts, _ *policy.Policy) string {
	switch {
	case !f.Target.ServerExists:
		return "the server is not there"
	case !f.Target.SameProject:
		return "the server is in another project"
	case !f.Target.SamePort:
		return "the address no longer leads to the port it was seen on"
	case f.Target.Shared:
		return "many machines answer at the address"
	}
	return ""
}

func fresh(what string, a Age, most policy.Duration) string {
	switch {
	case a < 0:
		return what + " was never read"
	case int64(a) > most.Micros():
		return fmt.Sprintf("%s is %s old, more than %s", what, time.Duration(a)*time.Microsecond, most)
	}
	return ""
}

// probeFresh: a finding was confirmed lately, and no look since failed to show it.
func probeFresh(f Facts, p *policy.Policy) string {
	why := "no finding was confirmed"
	for _, x := range acting(f) {
		if why = fresh("the confirmation", x.ProbeAge, p.Freshness.Probe); why != "" {
			continue
		}
		if n := len(x.Looks); n == 0 || x.Looks[n-1].Verdict == finding.Vulnerable {
			return ""
		}
		why = "the last look did not show it"
	}
	return unless(len(acting(f)) == 0, why)
}

func inventory(f Facts, p *policy.Policy) string {
	if !f.Healthy {
		return "the inventory is not healthy"
	}
	return fresh("the inventory", f.InventoryAge, p.Freshness.Inventory)
}

// repeatedScans: two positive looks on different days, one before the first notice, the last after grace, no clean
// one between.
func repeatedScans(f Facts, _ *policy.Policy) string {
	why := "no finding was seen before the notice and again after grace"
	for _, x := range acting(f) {
		if why = persisted(x.Looks, f.Case); why == "" {
			return ""
		}
	}
	return unless(len(acting(f)) == 0, why)
}

// sameFinding: what was confirmed just now must be what persisted. Two findings that each have half of the proof have none.
func sameFinding(f Facts, p *policy.Policy) string {
	if probeFresh(f, p) != "" || repeatedScans(f, p) != "" {
		return "" // these conditions speak for themselves
	}
	for _, x := range acting(f) {
		if fresh("the confirmation", x.ProbeAge, p.Freshness.Probe) == "" && persisted(x.Looks, f.Case) == "" {
			return ""
		}
	}
	return unless(len(acting(f)) == 0, "one finding was confirmed and another persisted")
}

func persisted(looks []finding.Sighting, c casework.Case) string {
	first := c.Accepted(casework.StepNotice)
	if len(first) == 0 {
		return "no notice was accepted"
	}
	var before, after *finding.Sighting
	for i := range looks {
		l := &looks[i]
		switch {
		case l.Verdict.Negative() && l.At <= first[0].AcceptedAt:
			before = nil // it came back before anybody was told: the later look counts
		case l.Verdict.Negative() && before != nil && (c.RelapsedAt == 0 || l.At > c.RelapsedAt):
			return "a look between was clean"
		case l.Verdict != finding.Vulnerable:
		case l.At <= first[0].AcceptedAt:
			before = l
		case c.GraceEnds > 0 && l.At >= c.GraceEnds:
			after = l
		}
	}
	switch {
	case before == nil:
		return "it was not seen before the first notice"
	case after == nil:
		return "it was not seen after grace"
	case sameDay(before.At, after.At):
		return "both looks are of one day"
	}
	return ""
}

// restored: after the ledger was restored from an older copy, a finding that is still there is seen twice anew.
func restored(f Facts, p *policy.Policy) string {
	if f.ProofsFrom == 0 {
		return ""
	}
	for _, x := range acting(f) {
		var first int64
		for _, l := range x.Looks {
			switch {
			case l.At < f.ProofsFrom || l.Verdict != finding.Vulnerable:
			case first == 0:
				first = l.At
			case l.At-first >= p.Proof.ConfirmGap.Micros():
				return ""
			}
		}
	}
	return unless(len(acting(f)) == 0, "it was not seen twice since the database was restored")
}

func sameDay(a, b int64) bool {
	return time.UnixMicro(a).UTC().Format(time.DateOnly) == time.UnixMicro(b).UTC().Format(time.DateOnly)
}

// notices: two accepted ones on different days, the last of them the final warning. For a relapse the old ones count,
// with one notice of the relapse.
func notices(f Facts, _ *policy.Policy) string {
	c := f.Case
	first, final := c.Accepted(casework.StepNotice), c.Accepted(casework.StepFinal)
	if c.RelapsedAt > 0 {
		final = slices.DeleteFunc(c.Accepted(casework.StepRelapse), func(n casework.Notice) bool { return n.AcceptedAt < c.RelapsedAt })
	}
	switch {
	case len(first) == 0:
		return "no notice was accepted"
	case len(final) == 0:
		return "no final warning was accepted"
	case final[0].AcceptedAt < first[0].AcceptedAt:
		return "the final warning came before the notice"
	case sameDay(first[0].AcceptedAt, final[0].AcceptedAt):
		return "the notice and the final warning are of one day"
	}
	return ""
}

func grace(f Facts, p *policy.Policy) string {
	c := f.Case
	least := p.Classes[c.Class].Grace.Micros()
	if c.RelapsedAt > 0 {
		least = p.Proof.RelapseWait.Micros()
	}
	switch {
	case c.FinalAt == 0 || c.GraceEnds == 0:
		return "no grace has begun"
	case c.GraceEnds-c.FinalAt < least:
		return "the grace is shorter than the policy's"
	case f.Now < c.GraceEnds:
		return "the grace is not over"
	}
	return ""
}

// budget: over any limit means none of the batch.
func budget(f Facts, p *policy.Policy) string {
	b, u := p.Budgets, f.Usage
	if u.Batch < 1 || u.BatchProject < 1 || u.CloudServers < 1 || u.ProjectServers < 1 {
		return "the usage is not known"
	}
	for _, l := range []struct {
		what        string
		used, limit int
	}{
		{"an hour for the cloud", u.CloudHour + u.Batch, b.CloudHour},
		{"a day for the cloud", u.CloudDay + u.Batch, b.CloudDay},
		{"an hour for the project", u.ProjectHour + u.BatchProject, b.ProjectHour},
		{"a day for the project", u.ProjectDay + u.BatchProject, share(b.ProjectShare, u.ProjectServers)},
		{"a day for the cloud, by its running servers", u.CloudDay + u.Batch, share(b.CloudShare, u.CloudServers)},
	} {
		if l.used > l.limit {
			return fmt.Sprintf("%d acts in %s, at most %d", l.used, l.what, l.limit)
		}
	}
	return ""
}

// share is a part of n, and never less than one.
func share(part float64, n int) int { return max(1, int(part*float64(n))) }
