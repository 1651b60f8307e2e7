package asset

import (
	"cmp"
	"math"
	"slices"
)

// Whose is what can be said of who held an address over a window of time.
type Whose string

// The answers.
const (
	Held      Whose = "held"      // one machine alone, over the whole window
	Nobody    Whose = "nobody"    // as far as is known
	Ambiguous Whose = "ambiguous" // attributable to none
)

// Doubt says why a window is ambiguous.
type Doubt string

// The doubts, the first that applies in this order.
const (
	Shared  Doubt = "shared"  // many machines answer at the address
	Several Doubt = "several" // different machines held it
	Partly  Doubt = "partly"  // for a part of the window nobody held it, as far as is known
)

// machine is what a binding leads to: the server, else the port.
type machine struct {
	cloud  string
	server ServerID
	port   PortID
}

func (b Binding) machine() machine {
	if b.Server != "" {
		return machine{cloud: b.Cloud, server: b.Server}
	}
	return machine{cloud: b.Cloud, port: b.Port}
}

// WhoHeld says who held an address from a time to another, both in the window, by its bindings: in whatever scopes, and those that
// lie outside the window count for nothing. A clock that is not ours may be off by a tolerance; the window is what it may have
// meant. A machine that lost the address and has it back at once, or at another of its ports, is one and the same.
func WhoHeld(bs []Binding, from, to int64) (Whose, Doubt) {
	var in []Binding
	for _, b := range bs {
		if b.ValidFrom <= to && b.end() > from {
			in = append(in, b)
		}
	}
	slices.SortFunc(in, func(a, b Binding) int { return cmp.Compare(a.ValidFrom, b.ValidFrom) })
	switch {
	case len(in) == 0:
		return Nobody, ""
	case slices.ContainsFunc(in, func(b Binding) bool { return b.Shared }):
		return Ambiguous, Shared
	case slices.ContainsFunc(in, func(b Binding) bool { return b.machine() != in[0].machine() }):
		return Ambiguous, Several
	}
	held := from // until here, without a gap
	for _, b := range in {
		if b.ValidFrom > held {
			return Ambiguous, Partly
		}
		held = max(held, b.end())
	}
	if held <= to {
		return Ambiguous, Partly
	}
	return Held, ""
}

// end is the first instant at which the binding no longer holds.
func (b Binding) end() int64 {
	if b.ValidTo == 0 {
		return math.MaxInt64
	}
	return b.ValidTo
}
