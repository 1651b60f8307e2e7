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
	Fenced   bool            `json:"fenced,omitempty"` // the port was given Before once more, so that what may still be under way is refused
}

// GivesBack is the groups that a restore starts from.
func (o PortOrder) GivesBack() []asset.GroupID {
	if o.Saved == nil {
		return o.Before
	}
	return o.Saved
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
	Renews     string          `json:"renews,omitempty"`  // the quarantine that a hold puts back, and stands for from then on
	By         []string        `json:"by,omitempty"`      // who approved
	IntendedAt int64           `json:"intended_at"`
	RealAt     int64           `json:"real_at"` // of the intent: how fresh the gate's word is
	EndedAt    int64           `json:"ended_at,omitempty"`
	Note       string          `json:"note,omitempty"`
	Version    int             `json:"version"`
}

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
}

// since lists our own actions that the cloud remembers from after the intent.
func (m MachineOrder) since(actions []asset.ServerAction) []string {
	var out []string
	for _, a := range actions {
		if a.Ours && !slices.Contains(m.Seen, a.Request) { // what its tenant does meanwhile is no outcome of ours
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
)

// Resolve holds an order against the port as the cloud shows it now.
func (o PortOrder) Resolve(p asset.Port) Outcome {
	switch {
	case SameGroups(p.Groups, o.After) && p.Revision > o.Revision:
		return Happened
	case SameGroups(p.Groups, o.After) && SameGroups(o.Before, o.After):
		return Happened
	case SameGroups(p.Groups, o.Before) && (p.Revision == o.Revision || o.Fenced && p.Revision > o.Revision):
		return Never
	default:
		return Unclear
	}
}

// ThreeWay gives the groups a port gets back: what was saved, with what the owner added since put in and what the owner
// deleted since left out. Applied is the quarantine's own list, which is never part of the result. Groups that no longer
// exist cannot come back.
func ThreeWay(saved, applied, current []asset.GroupID, exists func(asset.GroupID) bool) []asset.GroupID {
	var out []asset.GroupID
	add := func(g asset.GroupID) {
		if !slices.Contains(out, g) && exists(g) {
			out = append(out, g)
		}
	}
	for _, g := range saved {
		add(g)
	}
	for _, g := range current {
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
