package casework

import (
	"slices"
	"strings"

	"demarc/internal/policy"
)

// Refusal is one condition that kept an action from being carried out. Reason is true for every reader of the case and names
// nothing of another project; Detail names what the operators need and nobody else may see, such as another project's port.
type Refusal struct {
	Condition string `json:"condition"`
	Reason    string `json:"reason"`
	Detail    string `json:"detail,omitempty"`
	Renew     Renew  `json:"renew,omitempty"`
}

// Renew says what a refusal does to the round of notices that the action rested on.
type Renew string

const (
	RenewNever    Renew = ""         // the notices stand; the refusal may pass
	RenewOperator Renew = "operator" // they do not count any more, by a change on the provider's side: a new round begins
	RenewOwner    Renew = "owner"    // they do not count any more, by a change that the owner can make: a new round begins, once per case
)

func (r Refusal) String() string { return r.Condition + ": " + r.Reason }

// ForOperators is the refusal with its detail.
func (r Refusal) ForOperators() string {
	if r.Detail == "" {
		return r.String()
	}
	return r.String() + " (" + r.Detail + ")"
}

// Reasons lists refusals as text, with their details where the reader is an operator.
func Reasons(rs []Refusal, operator bool) []string {
	out := make([]string, len(rs))
	for i, r := range rs {
		if out[i] = r.String(); operator {
			out[i] = r.ForOperators()
		}
	}
	return out
}

// ForOwners is the case as its owner may read it: what a refusal says of another project's objects is left out.
func (c Case) ForOwners() Case {
	c.Blocks = slices.Clone(c.Blocks)
	for i := range c.Blocks {
		c.Blocks[i].Detail = ""
	}
	return c
}

// Announced is what one mail said would happen. It is stored when the mail is written, and the gate compares the action with it.
type Announced struct {
	End      policy.End `json:"end,omitempty"`      // the harshest action that the mail announced
	Class    string     `json:"class,omitempty"`    // of the case
	Policy   int        `json:"policy,omitempty"`   // version of the policy that it was written by
	Findings []string   `json:"findings,omitempty"` // ids of the findings that it named
	Admits   []string   `json:"admits,omitempty"`   // what a quarantine would still let in, as the mail called it: the repair path
	Full     bool       `json:"full,omitempty"`     // its deadline gave the whole time that class and zone give
}

// Names tells whether the mail named a finding.
func (a Announced) Names(finding string) bool { return slices.Contains(a.Findings, finding) }

// severity orders the ends of a class, the mildest first.
var severity = []policy.End{policy.Report, policy.Operator, policy.Quarantine, policy.Stop}

// Harsher tells whether end a does more to a machine than end b. What is not known is harsher than everything.
func Harsher(a, b policy.End) bool {
	i, j := slices.Index(severity, a), slices.Index(severity, b)
	return i < 0 || i > j
}

// EndOf is the end that an action carries out.
func EndOf(k ActKind) policy.End {
	if k == ActStop {
		return policy.Stop
	}
	return policy.Quarantine
}

// Will says in plain words what an action does to a machine. It is the one text of mails, prompts and listings.
func Will(e policy.End) string {
	switch e {
	case policy.Quarantine:
		return "disconnect it from the network (quarantine); it keeps running"
	case policy.Stop:
		return "disconnect it from the network (quarantine), lock it and stop it"
	case policy.Operator:
		return "nothing by itself: an operator decides"
	case policy.Report:
	}
	return "nothing: it is reported to the operators"
}

// Despite lists the conditions of the gate that a person may decide against, with a reason, when approving: each is about a choice of
// the machine's own project, or about who was notified. No other condition can be overruled.
var Despite = []string{"spoofing", "people", "port-security", "foreign-port"}

// overrules tells whether an approval names a condition.
func (a Approval) overrules(condition string) bool { return slices.Contains(a.Despite, condition) }

// Overruled tells whether a person decided against a condition, and who.
func (c Case) Overruled(condition string) bool {
	return slices.ContainsFunc(c.Approvals, func(a Approval) bool { return a.overrules(condition) && strings.TrimSpace(a.Why) != "" })
}

// EndFor is the strongest action that a case may lead to in the mode in force. What is seen through a port forwarding is only reported, whatever
// its class: who has the floating IP decides what answers there.
func EndFor(c Case, p *policy.Policy) policy.End {
	if c.Track == Forwarded {
		return policy.Report
	}
	return p.EndOf(c.ActingClass())
}

// ActingClass is the class whose action a case may carry out: its own, but where its owner was warned of a milder one, that. What is graver
// and came later neither hastens the action nor puts it off.
func (c Case) ActingClass() string {
	for _, step := range []Step{StepRelapse, StepFinal} {
		for _, n := range c.Accepted(step) {
			if (step == StepFinal) == (c.RelapsedAt == 0) && n.AcceptedAt >= c.RelapsedAt && n.Class != "" && Graver(c.Class, n.Class) {
				return n.Class
			}
		}
	}
	return c.Class
}
