package casework

import (
	"slices"

	"demarc/internal/asset"
)

// ActKind is what an order does to a machine.
type ActKind string

const (
	ActQuarantine ActKind = "quarantine" // every port on the quarantine group
	ActRestore    ActKind = "restore"    // every port as it was, but for what the owner changed
)

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
	Revision int             `json:"revision"`
	Done     bool            `json:"done,omitempty"`
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
	Undoes     string          `json:"undoes,omitempty"` // the quarantine a restore takes back
	By         []string        `json:"by,omitempty"`     // who approved
	IntendedAt int64           `json:"intended_at"`
	RealAt     int64           `json:"real_at"` // of the intent: how fresh the gate's word is
	EndedAt    int64           `json:"ended_at,omitempty"`
	Note       string          `json:"note,omitempty"`
	Version    int             `json:"version"`
}

// Outcome says what the cloud shows of one port's order: group list as intended and the revision moved on means
// done; as before at the same revision means it never happened; anything else is for a human.
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
	case SameGroups(p.Groups, o.Before) && p.Revision == o.Revision:
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
