// Package wire is the road to every vantage point.
package wire

import (
	"context"

	"demarc/internal/probe"
)

// Engine carries out one shard of probing from where it stands.
//
// Each target is emitted once, in no order, from one goroutine at a time. A target outside what the engine may
// probe refuses the whole shard with fault.Refused before any packet. When ctx ends early the coverage is not
// complete, what was seen so far has been emitted, and the error is ctx's.
type Engine interface {
	Probe(ctx context.Context, shard probe.Shard, scripts []probe.Script, emit func(probe.Observation)) (probe.Coverage, error)
}
