// Package casework is the life of a case, in pure functions.
//
// Next takes a dossier, an event, the policy and the time, and returns the new dossier with the wanted
// effects. There is no clock, database or network inside; the same function runs in production and in
// every test. The words of the trade and their figures are the policy's.
package casework

import (
	"slices"
	"strings"

	"demarc/internal/asset"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/probe"
)

// State is where a case stands.
type State string

const (
	New          State = "new"           // opened; nobody has been told
	Notified     State = "notified"      // the first notice was accepted: the clock runs
	Acknowledged State = "acknowledged"  // the owner has reacted
	Overdue      State = "overdue"       // the time to fix is over and the weakness is still there
	FinalWarning State = "final_warning" // announced: the exact act, the exact time
	Queued       State = "queued"        // grace is over; waits for approval and the gate
	Restricted   State = "restricted"    // off the network by an order of ours
	Verifying    State = "verifying"     // release was asked for; we look again
	Released     State = "released"      // given back; on probation
	Verified     State = "verified"      // proven fixed without an act; on probation
	Closed       State = "closed"
	OnHold       State = "on_hold" // a human must look first
	Moot         State = "moot"    // the machine is gone
)

// Over tells whether nothing more will happen.
func (s State) Over() bool { return s == Closed || s == Moot }

// Track groups findings that are dealt with together.
type Track string

const (
	Vulnerability Track = "vulnerability"
	Exposure      Track = "exposure"
	ScanBlocked   Track = "scan_blocked"
	Forwarded     Track = "forwarded"     // what answers behind a port forwarding; it never leads to an action
	Configuration Track = "configuration" // what the cloud's configuration alone shows
)

// Step names a mail of a case. A case sends each step to a recipient once.
type Step string

const (
	StepNotice     Step = "notice"
	StepFinal      Step = "final_warning"
	StepRestricted Step = "restricted"
	StepReleased   Step = "released"
	StepClosed     Step = "closed"
	StepRelapse    Step = "relapse"
	StepEscalation Step = "escalation" // inside the provider
	StepApproval   Step = "approval"   // to the operators: an act waits for them
	StepRefused    Step = "refused"    // to the operators: the gate said no, and why
	StepHeld       Step = "held"       // to the operators: a human must look
	StepTampered   Step = "tampered"   // to the operators: a quarantine was undone by hand
	StepWithdrawn  Step = "withdrawn"  // an operator took the case back
	StepPassed     Step = "passed"     // to both parties: somebody else must act now
	StepStatus     Step = "status"     // to the owner: how the provider stands with what it holds
	StepStillOpen  Step = "still_open" // to the owner: the machine stays off the network, and which rule would open the weakness again
	StepReturned   Step = "returned"   // to the operators: the owner's changes begin a further round, by another machine or another weakness
	StepNoVerdict  Step = "no_verdict" // to the operators: for a day no check of a weakness has told anything
	StepObserved   Step = "observed"   // to the operators: a case was confirmed, and nobody else is notified in the mode observe
	StepSystem     Step = "system"     // to the operators, about the service itself; it belongs to no case
)

// Audience is who a step is for.
type Audience string

const (
	Owner     Audience = "owner"
	Provider  Audience = "provider"
	Operators Audience = "operators"
)

// Timer names a thing that falls due for a case. A case has one of each at most.
type Timer string

const (
	TimerRecheck   Timer = "recheck"   // look again at its findings
	TimerDue       Timer = "due"       // the time to fix is over
	TimerGrace     Timer = "grace"     // the grace of the final warning is over
	TimerEnforce   Timer = "enforce"   // an approved act is tried
	TimerHold      Timer = "hold"      // a quarantine that was undone is put back
	TimerStart     Timer = "start"     // a stopped machine runs again, so that its fix can be seen
	TimerRelease   Timer = "release"   // a proven machine is given back
	TimerProbation Timer = "probation" // the days without recurrence are over
)

// Notice is a mail that was queued and, when AcceptedAt is set, accepted by the next hop.
type Notice struct {
	Step       Step     `json:"step"`
	To         Audience `json:"to"`
	Recipient  string   `json:"recipient"`
	MessageID  string   `json:"message_id"`
	AcceptedAt int64    `json:"accepted_at"`
	Deadline   int64    `json:"deadline,omitempty"` // what the mail promised
	Digest     string   `json:"digest,omitempty"`   // Message-ID of the digest it was a part of
	Announced
}

// Approval is one operator's consent to the act that waits.
type Approval struct {
	By      string   `json:"by"`
	At      int64    `json:"at"`
	Despite []string `json:"despite,omitempty"` // conditions of the gate that the person decided against; see Despite
	Why     string   `json:"why,omitempty"`     // the reason for that
}

// Case is what is wrong with one machine, for one party.
type Case struct {
	ID      string          `json:"id"`
	Cloud   string          `json:"cloud"`
	Server  asset.ServerID  `json:"server,omitempty"`
	Project asset.ProjectID `json:"project"`
	Party   duty.Party      `json:"party"`
	Track   Track           `json:"track"`
	Zone    probe.Zone      `json:"zone"`  // the widest that reaches it
	Class   string          `json:"class"` // the gravest of its findings
	State   State           `json:"state"`

	OpenedAt      int64 `json:"opened_at"`
	ClockFrom     int64 `json:"clock_from,omitempty"` // the first notice was accepted
	Due           int64 `json:"due,omitempty"`
	FinalAt       int64 `json:"final_at,omitempty"` // the final warning was accepted
	GraceEnds     int64 `json:"grace_ends,omitempty"`
	QueuedAt      int64 `json:"queued_at,omitempty"`
	RestrictedAt  int64 `json:"restricted_at,omitempty"`
	TamperedAt    int64 `json:"tampered_at,omitempty"`  // somebody changed the machine's groups while it was off the network
	RequestedAt   int64 `json:"requested_at,omitempty"` // last request for release
	ReleasedAt    int64 `json:"released_at,omitempty"`
	ProbationEnds int64 `json:"probation_ends,omitempty"`
	RelapsedAt    int64 `json:"relapsed_at,omitempty"` // it came back in probation
	ClosedAt      int64 `json:"closed_at,omitempty"`
	RepairedAt    int64 `json:"repaired_at,omitempty"` // a timer or mail of the case was last found missing, and created again

	Act         string     `json:"act,omitempty"`         // the order that restricts the machine
	Stopped     bool       `json:"stopped,omitempty"`     // that order stopped it too
	Tampers     int        `json:"tampers,omitempty"`     // how often the quarantine was undone
	PutBack     int        `json:"put_back,omitempty"`    // how often in a row it was put back; see mover.putBack
	PutBackAt   int64      `json:"put_back_at,omitempty"` // when it was last put back
	Notices     []Notice   `json:"notices,omitempty"`
	Approvals   []Approval `json:"approvals,omitempty"`
	Blocks      []Refusal  `json:"blocks,omitempty"`        // why the gate last refused
	Renewed     int        `json:"renewed,omitempty"`       // rounds that began because of changes that the owner made
	NoVerdictAt int64      `json:"no_verdict_at,omitempty"` // when the operators were last told that no check tells anything
	Lost        []string   `json:"lost,omitempty"`          // what a restore could not give back, such as a port that was deleted meanwhile
	Hold        string     `json:"hold,omitempty"`          // why a human must look
	HeldFrom    State      `json:"held_from,omitempty"`     // where it stood before
	HeldAt      int64      `json:"held_at,omitempty"`       // when it was last put on hold
	Withdrawn   string     `json:"withdrawn,omitempty"`     // who took it back, and why
	Missed      bool       `json:"missed,omitempty"`        // it was fixed, or its machine deleted, while its notice waited for a digest: if it comes back, the notice is sent at once
	Told        bool       `json:"told,omitempty"`          // somebody was, in this round or an earlier one
	Received    int64      `json:"received,omitempty"`      // when findings came here last that were another party's
	Given       int64      `json:"given,omitempty"`         // time to fix, where it is less than the class gives: the party had begun before
	Passed      string     `json:"passed,omitempty"`        // what passed last to another party, and why
	PassedAt    int64      `json:"passed_at,omitempty"`
	Handed      bool       `json:"handed,omitempty"`  // all of it has passed: what was done to the machine is undone
	Deleted     int64      `json:"deleted,omitempty"` // when the machine was found to be gone: what was done to its ports is undone

	// Ports and Volumes are those of the machine. A machine that is created later on one of them continues this case.
	Ports    []asset.PortID   `json:"ports,omitempty"`
	Volumes  []asset.VolumeID `json:"volumes,omitempty"`
	Previous string           `json:"previous,omitempty"` // the case of a deleted machine that this one is made on
	Version  int              `json:"version"`
}

// Ref is the short name of a case for subjects and talk.
func (c Case) Ref() string { return Ref(c.ID) }

// Ref is the short name of a case id.
func Ref(id string) string {
	s := strings.ReplaceAll(id, "-", "")
	return "DM-" + strings.ToUpper(s[max(0, len(s)-6):])
}

// TakenBack tells why a case is over although its findings were not proven fixed: it was withdrawn, or all of it passed to another
// party. What was done to the machine is then undone. It is "" for every other case.
func (c Case) TakenBack() string {
	switch {
	case c.Withdrawn != "":
		return "withdrawn by " + c.Withdrawn
	case c.Handed:
		return c.Passed
	case c.Deleted > 0:
		return "the machine was deleted"
	}
	return ""
}

// Accepted lists the notices of a step that the next hop took.
func (c Case) Accepted(s Step) []Notice {
	var out []Notice
	for _, n := range c.Notices {
		if n.Step == s && n.AcceptedAt > 0 {
			out = append(out, n)
		}
	}
	return out
}

// Notified reports whether a mail about the case was accepted in this round that was meant for the responsible party, and not only for
// the operators.
func (c Case) Notified() bool {
	return slices.ContainsFunc(c.Notices, func(n Notice) bool { return n.AcceptedAt > 0 && (n.Step == StepNotice || n.To != Operators) })
}

// Key is a case's identity while it is not over.
type Key struct {
	Cloud   string
	Server  asset.ServerID
	Project asset.ProjectID
	Party   duty.Party
	Track   Track
}

// Key gives the case's identity.
func (c Case) Key() Key {
	k := Key{Cloud: c.Cloud, Server: c.Server, Party: c.Party, Track: c.Track}
	if c.Server == "" {
		k.Project = c.Project
	}
	return k
}

// Dossier is a case with its findings.
type Dossier struct {
	Case     Case
	Findings []finding.Finding
}

// gravity orders the classes; the first is the gravest.
const gravity = "XECHUBML"

// Graver tells whether class a comes before class b.
func Graver(a, b string) bool {
	i, j := rank(a), rank(b)
	return i >= 0 && (j < 0 || i < j)
}

// rank is the place of a class in gravity, -1 when it has none.
func rank(class string) int {
	if len(class) != 1 {
		return -1
	}
	return strings.Index(gravity, class)
}

// gravest is the gravest class of some findings.
func gravest(fs []*finding.Finding) string {
	class := fs[0].Class
	for _, f := range fs {
		if Graver(f.Class, class) {
			class = f.Class
		}
	}
	return class
}

// live lists the findings that still have to be dealt with.
func (d Dossier) live() []*finding.Finding {
	var out []*finding.Finding
	for i := range d.Findings {
		if d.Findings[i].State.Live() {
			out = append(out, &d.Findings[i])
		}
	}
	return out
}

// Filter narrows a listing of cases; an empty field matches all.
type Filter struct {
	Server  asset.ServerID
	Project asset.ProjectID
	States  []State
	Live    bool   // not closed, not moot
	After   string // only cases whose id is greater: the next page
	Limit   int    // at most so many; 0: all
}
