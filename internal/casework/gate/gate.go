// Package gate re-proves everything before each act on a tenant's machine.
//
// Decide is a table of conditions over facts that were read at the moment of the attempt. All must hold. A fact
// that could not be read is given as its zero value, and every zero value refuses.
package gate

import (
	"demarc/internal/asset"
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
	ServerExists bool           // the server's UUID is there
	SameProject  bool           // and still in the case's project
	SamePort     bool           // the address of the latest positive look still leads to the finding's port and server
	Shared       bool           // the address is a router's, or forwarded: many machines answer at it
	Neighbours   []Neighbour    // ports that could have answered for the address
	Unsecured    []asset.PortID // ports of the machine without port security: no group holds on them as they are
	Proven       bool           // what the cloud's rules say was compared with real packets for everything on the way to each live finding
	Protected    bool           // an operator marked it: control plane, scanners, load balancers
	BindingAge   Age
}

// Neighbour is a port of another machine that could have answered for an address of the machine at some time since the first check
// that counts: it was bound and up, in the same network, and not held to its own addresses there.
type Neighbour struct {
	Port    asset.PortID
	Project asset.ProjectID
	Own     bool // it is of the machine's own project, which chose that
	Why     string
}

// People is who can act for the project of the machine now, and who of those notified cannot any more.
type People struct {
	Able    []string    // mail addresses; none: nobody has a usable one, and StandIn receives the owner's mail
	StandIn string      // the operators' address
	Left    []Departure // people who were notified in this round and cannot act any more
}

// Departure is a person who was notified and cannot act for the project any more. At is when the inventory showed it, 0 where that is not
// known.
type Departure struct {
	Address string
	At      int64
}

// Record is what the audit log of the case proves.
type Record struct {
	Doubt     string              // why the log proves nothing, "" where every entry that was read is proven to be part of it
	Notices   []casework.Notice   // mails accepted in this round
	Approvals []casework.Approval // given in this round
	Given     int64               // the least time that came with findings of another party; 0: none came so, and the full time is due
}

// Finding is one finding of the case, with the checks that bear on it.
type Finding struct {
	ID       string
	Server   asset.ServerID
	Unlogged int    // positive checks in the table that the audit log does not have
	Logged   string // the machine that the audit log found it on; "" where the log does not say
	Differs  string // how the stored class or grade differs from the loaded check and from the log; of each the milder is given here
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

	Action policy.End // what would be carried out, by the policy in force and the class that was announced
	Admits []string   // what the quarantine would let in for repair
	People People
	Record Record
}

// Decision is the gate's word.
type Decision struct {
	Go     bool               `json:"go"`
	Blocks []casework.Refusal `json:"blocks,omitempty"`
	Passed []string           `json:"passed"`
}

// Reason is why a condition does not hold; without a Text it does. Detail and Renew are those of casework.Refusal.
type Reason struct {
	Text   string
	Detail string
	Renew  casework.Renew
}

// Condition is one thing that must hold.
type Condition struct {
	Name  string
	Holds func(f Facts, p *policy.Policy) Reason
}

// Switch is the name of the condition that the kill switch is off.
const Switch = "switch"

// Conditions lists them all. What is not in this list does not exist: no window or holiday calendar, no circuit
// breakers, no second person. Until these are here, Loopback refuses every cloud but a test cloud on this machine.
var Conditions = []Condition{
	{Switch, func(f Facts, _ *policy.Policy) Reason { return unless(f.Enabled, "enforcement is paused") }},
	{"clock", func(f Facts, _ *policy.Policy) Reason {
		return unless(f.Clock, "the machine's clocks contradict each other")
	}},
	{"mode", func(_ Facts, p *policy.Policy) Reason {
		return unless(p.Mode.AtLeast(policy.Enforce), "the mode in force is "+string(p.Mode.Known())+"; an action needs enforce")
	}},
	{"loopback", func(f Facts, _ *policy.Policy) Reason {
		return unless(f.Loopback, "this release acts on clouds on 127.0.0.0/8 only")
	}},
	{"party", func(f Facts, _ *policy.Policy) Reason {
		return unless(f.Case.Party == duty.Customer, "the "+string(f.Case.Party)+" must act, and that never touches the tenant's machine")
	}},
	{"attribution", attribution},
	{"told", told},
	{"class", class},
	{"state", func(f Facts, _ *policy.Policy) Reason {
		return unless(f.Case.State == casework.Queued, "the case is "+string(f.Case.State))
	}},
	{"proof", proof},
	{"identity", identity},
	{"spoofing", spoofing},
	{"port-security", portSecurity},
	{"reach-proven", func(f Facts, _ *policy.Policy) Reason {
		return unless(f.Target.Proven, "what the cloud's rules say is not proven for the way to the machine")
	}},
	{"protected", func(f Facts, _ *policy.Policy) Reason { return unless(!f.Target.Protected, "the machine is protected") }},
	{"binding-fresh", func(f Facts, p *policy.Policy) Reason {
		return because(fresh("the binding", f.Target.BindingAge, p.Freshness.Binding))
	}},
	{"probe-fresh", probeFresh},
	{"inventory", inventory},
	{"repeated-scans", repeatedScans},
	{"same-finding", sameFinding},
	{"restored", restored},
	{"notices", notices},
	{"grace", grace},
	{"announced", announced},
	{"promised", promised},
	{"people", people},
	{"witnessed", witnessed},
	{"owner-of-act", func(f Facts, _ *policy.Policy) Reason {
		return unless(f.OwnerOfAct, "another case has an act on this server")
	}},
	{"approval", func(f Facts, _ *policy.Policy) Reason {
		return unless(len(f.Case.Approvals) > 0, "no operator has approved")
	}},
	{"budget", budget},
}

// Decide evaluates every condition.
func Decide(f Facts, p *policy.Policy) Decision { return decide(f, p, Conditions) }

func decide(f Facts, p *policy.Policy, cs []Condition) Decision {
	var d Decision
	for _, c := range cs {
		if why := c.Holds(f, p); why.Text != "" {
			d.Blocks = append(d.Blocks, casework.Refusal{Condition: c.Name, Reason: why.Text, Detail: why.Detail, Renew: why.Renew})
		} else {
			d.Passed = append(d.Passed, c.Name)
		}
	}
	d.Go = len(d.Blocks) == 0
	return d
}

// IsBudget tells whether a block is one of budget, which is spent by a batch and not by an act alone.
func IsBudget(r casework.Refusal) bool { return r.Condition == "budget" }

// because makes a reason of a text, "" of none.
func because(text string) Reason { return Reason{Text: text} }

func unless(ok bool, why string) Reason {
	if ok {
		return Reason{}
	}
	return Reason{Text: why}
}
