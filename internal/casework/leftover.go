package casework

import "demarc/internal/asset"

// LeftoverKind is what of ours was found in a cloud.
type LeftoverKind string

const (
	LeftoverPort LeftoverKind = "port" // on the quarantine group
	LeftoverLock LeftoverKind = "lock" // locked, with our reason
	LeftoverStop LeftoverKind = "stop" // stopped by an order of ours
)

// Leftover is something that an order of ours did to a machine or port, that still stands, and that no order in force explains. A person
// ends it. Case is the case of the latest order that did it, "" where the ledger has none: then it is not known what was there before.
type Leftover struct {
	Kind    LeftoverKind    `json:"kind"`
	Port    asset.PortID    `json:"port,omitempty"`
	Server  asset.ServerID  `json:"server,omitempty"`
	Project asset.ProjectID `json:"project"`
	Case    string          `json:"case,omitempty"`
	Act     string          `json:"act,omitempty"` // that order
	Since   int64           `json:"since"`         // policy time at which it was found, µs
}

// ID names a leftover for a person: the port's or the machine's id.
func (l Leftover) ID() string {
	if l.Kind == LeftoverPort {
		return string(l.Port)
	}
	return string(l.Server)
}

// Same tells whether two leftovers are the same thing, whenever it was found.
func (l Leftover) Same(o Leftover) bool {
	l.Since, o.Since = 0, 0
	return l == o
}

// Clearing is a person's decision to end what is left over on a port or machine.
type Clearing struct {
	Cloud string `json:"cloud"`
	ID    string `json:"id"`
	By    string `json:"by"`
	Why   string `json:"why"`
}
