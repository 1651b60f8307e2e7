package casework

import (
	"slices"

	"demarc/internal/asset"
)

// ActKind is what an order does to a machine.
type ActKind string

const (
	ActQuarantine ActKind = "quarantine" // every port on the quarantine group
	ActStop       ActKind = "stop"       // that, and the machine is locked, with the reason, and stopped
	ActHold       ActKind = "hold"       // a quarantine that its owner undid is put back
	ActStart      ActKind = "start"      // a stopped machine runs again, still on the quarantine group: its owner repairs it
	ActRestore    ActKind = "restore"    // all as it was, but for what the owner changed
)

// Restricts tells whether an order takes a machine off the network.
func (k ActKind) Restricts() bool { return k == ActQuarantine || k == ActStop || k == ActHold }

// Closes tells whether an order puts ports on the quarantine group.
func (k ActKind) Closes() bool { return k.Restricts() || k == ActStart }

// ActState is where an order stands. The cloud is asked, never a memory of ours, when an outcome is not known.
type ActState string

const (
	ActIntended ActState = "intended" // written down; the calls are under way or were cut off
	ActDone     ActState = "done"
	ActVoid     ActState = "void" // the cloud shows that it never took effect, and the gate must speak again
	ActHeld     ActState = "held" // the cloud shows something we did not make: a human decides
)

// PortOrder is what an order does to one port, with what is needed to undo it and to learn whether it happened.
type PortOrder struct {
	Port     asset.PortID    `json:"port"`
	Before   []asset.GroupID `json:"before"` // the groups at the moment of the intent
	After    []asset.GroupID `json:"after"`  // the groups wanted
	Saved    []asset.GroupID `json:"saved"`  // the groups it is to get back: Before, but where a quarantine was put back
	Revision int             `json:"revision"`
	Done     bool            `json:"done,omitempty"`
	// Unsecured: port security was off at the moment of the intent. Unsecures: the order switches it off, as it was when the port was saved.
	Unsecured bool `json:"unsecured,omitempty"`
	Unsecures bool `json:"unsecures,omitempty"`
	// SavedUnsecured: port security was off when the port was first put on a quarantine, and is to be off again.
	SavedUnsecured bool `json:"saved_unsecured,omitempty"`
	// Elsewhere: the port is another machine's by now. The order keeps what it is to get back, and changes nothing on it.
	Elsewhere bool `json:"elsewhere,omitempty"`
	Fenced    bool `json:"fenced,omitempty"` // the port was given Before once more, so that what may still be under way is refused
}

// Idle tells whether the port was so before the order, so that the order changes nothing on it.
func (o PortOrder) Idle() bool {
	return o.Elsewhere || SameGroups(o.Before, o.After) && o.Unsecured == o.Unsecures
}

// GivesBack is the groups that a restore starts from.
func (o PortOrder) GivesBack() []asset.GroupID {
	if o.Saved == nil {
		return o.Before
	}
	return o.Saved
}

// GivesBackUnsecured tells whether the port is given back without port security.
func (o PortOrder) GivesBackUnsecured() bool {
	return o.SavedUnsecured || o.Saved == nil && o.Unsecured
}

// Act is one order on one server.
type Act struct {
	ID         string          `json:"id"`
	Case       string          `json:"case"`
	Cloud      string          `json:"cloud"`
	Server     asset.ServerID  `json:"server"`
	Project    asset.ProjectID `json:"project"`
	Kind       ActKind         `json:"kind"`
	State      ActState        `json:"state"`
	Ports      []PortOrder     `json:"ports"`
	Machine    *MachineOrder   `json:"machine,omitempty"` // what is done to the machine itself, nil: nothing
	Saved      *Saved          `json:"saved,omitempty"`   // how the machine was found
	Undoes     string          `json:"undoes,omitempty"`  // the quarantine a restore takes back
	Renews     string          `json:"renews,omitempty"`  // the order in force whose place a hold or a start takes
	Clears     string          `json:"clears,omitempty"`  // the port or machine whose leftover a person ends by a restore
	By         []string        `json:"by,omitempty"`      // who approved
	IntendedAt int64           `json:"intended_at"`
	RealAt     int64           `json:"real_at"` // of the intent: how fresh the gate's word is
	EndedAt    int64           `json:"ended_at,omitempty"`
	Note       string          `json:"note,omitempty"`
	Lost       []string        `json:"lost,omitempty"` // of a restore: what it cannot give back
	Version    int             `json:"version"`
}

// KeepsOff tells whether an order that is in force keeps a machine off the network: it took the machine off, or took the place of an order
// that did.
func (a Act) KeepsOff() bool { return a.Kind.Restricts() || a.Renews != "" }

// Saved is how a machine was found before the first act: what a restore goes back to, and what an auditor reads.
type Saved struct {
	Status     string   `json:"status"` // Nova's word
	Locked     bool     `json:"locked"`
	LockReason string   `json:"lock_reason,omitempty"`
	Floating   []string `json:"floating,omitempty"` // floating IPs and the ports they led to
}

// MachineDo is one thing that is done to a machine.
type MachineDo string

const (
	DoLock   MachineDo = "lock"   // by an account with the admin role: its tenant can neither start nor unlock it
	DoStop   MachineDo = "stop"   // shut down by the hypervisor; disk and addresses stay
	DoStart  MachineDo = "start"  // run again
	DoUnlock MachineDo = "unlock" // its tenant's again
)

// MachineStep is one step of a machine's order, with what became of it.
type MachineStep struct {
	Do   MachineDo `json:"do"`
	Done bool      `json:"done,omitempty"`
	Idle bool      `json:"idle,omitempty"` // it was so already, by somebody else's act: what we did not do we do not undo
}

// MachineOrder is what an order does to a machine, in the order of its steps.
type MachineOrder struct {
	Steps  []MachineStep `json:"steps"`
	Reason string        `json:"reason,omitempty"` // of the lock, for the tenant to read
	Seen   []string      `json:"seen"`             // requests in the cloud's memory at the intent: others are since
	// Account carried the order out. It may be replaced by another one later: what it did stays ours.
	Account asset.UserID `json:"account,omitempty"`
}

// since lists our own actions that the cloud remembers from after the intent.
func (m MachineOrder) since(actions []asset.ServerAction) []string {
	var out []string
	for _, a := range actions {
		ours := a.Ours || m.Account != "" && a.User == m.Account
		if ours && !slices.Contains(m.Seen, a.Request) { // what its tenant does meanwhile is no outcome of ours
			out = append(out, a.Action)
		}
	}
	return out
}

// Forgets tells whether the cloud's memory, as read, lacks what this order did to the machine's power: it is older than that.
func (m MachineOrder) Forgets(actions []asset.ServerAction) bool {
	since := m.since(actions)
	return slices.ContainsFunc(m.Steps, func(t MachineStep) bool {
		return t.Done && !t.Idle && (t.Do == DoStop || t.Do == DoStart) && !slices.Contains(since, string(t.Do))
	})
}

// Resolve learns what became of a step from the machine and the cloud's memory of what was done to it since the intent: the
// memory says whether it happened, the machine whether it still holds. Idle means that it is so without an act since.
func (m MachineOrder) Resolve(do MachineDo, s asset.Server, actions []asset.ServerAction) (o Outcome, idle bool) {
	holds := map[MachineDo]bool{DoLock: s.Locked, DoUnlock: !s.Locked, DoStop: !s.Active(), DoStart: s.Active()}[do]
	against := map[MachineDo]MachineDo{DoLock: DoUnlock, DoUnlock: DoLock, DoStop: DoStart, DoStart: DoStop}[do]
	since := m.since(actions)
	did := slices.Contains(since, string(do)) || do == DoLock && s.Locked && m.Reason != "" && s.LockedReason.Raw() == m.Reason
	switch {
	case did && slices.Contains(since, string(against)):
		return Unclear, false // both were done since: whose came last is not for us to guess
	case did:
		return Happened, false // it may still be under way
	case holds && do != DoLock: // a lock of somebody else's is not ours: it can be undone by whoever set it
		return Happened, true
	}
	return Never, false
}

// Outcome says what the cloud shows of one port's order: group list as intended and the revision moved on means
// done; as before at the same revision, or at a later one where the order was fenced, means it never happened; anything else is for a human.
type Outcome string

const (
	Happened Outcome = "happened"
	Never    Outcome = "never"
	Unclear  Outcome = "unclear"
	// Overtaken: the port was changed or deleted after the intent, so that a request of the order cannot take effect on it any more. Said only
	// of an order that puts a quarantine back: the next sync shows what its owner did, and another one is made.
	Overtaken Outcome = "overtaken"
)

// Resolve holds an order against the port as the cloud shows it now.
func (o PortOrder) Resolve(p asset.Port) Outcome {
	wanted := SameGroups(p.Groups, o.After) && p.PortSecurity != o.Unsecures
	switch {
	case wanted && p.Revision > o.Revision:
		return Happened
	case wanted && o.Idle():
		return Happened
	case SameGroups(p.Groups, o.Before) && p.PortSecurity != o.Unsecured && (p.Revision == o.Revision || o.Fenced && p.Revision > o.Revision):
		return Never
	default:
		return Unclear
	}
}

// ThreeWay gives the groups a port gets back: what was saved, with what the owner added since put in and what the owner
// deleted since left out. Applied is the quarantine's own list, which is never part of the result. Groups that no longer
// exist cannot come back.
func ThreeWay(saved, applied, current []asset.GroupID, exists func(asset.GroupID) bool) []asset.GroupID {
	out := []asset.GroupID{}
	add := func(g asset.GroupID) {
		if !slices.Contains(out, g) && exists(g) {
			out = append(out, g)
		}
	}
	for _, g := range slices.Concat(saved, current) { // the quarantine may be in what was saved: a script can have put it there
		if !slices.Contains(applied, g) {
			add(g)
		}
	}
	return out
}

// SameGroups tells whether two lists hold the same groups, in any order.
func SameGroups(a, b []asset.GroupID) bool {
	x, y := slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(x, y)
}
