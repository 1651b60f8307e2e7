package flow

import (
	"sync"
	"time"
)

// Clock tells two times. Now is policy time: deadlines, grace and calendars run on it, and it may be compressed. Real is
// the time of the world, by which the gate judges how fresh things are. Both are µs.
type Clock interface {
	Now() int64
	Real() int64
	Age(at, realAt int64) int64 // how old is what happened then, on the slower of both; real time alone where policy time is compressed
	Doubt() string              // why neither should be trusted with an act at this moment, "" where they should
}

// Leaping is a policy clock that stands still until it is told to leap: for the demo and for tests, where days pass
// between two steps.
type Leaping struct {
	mu  sync.Mutex
	now int64
}

// NewLeaping starts at a time.
func NewLeaping(at int64) *Leaping { return &Leaping{now: at} }

// Now is policy time.
func (c *Leaping) Now() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Real is the wall clock.
func (c *Leaping) Real() int64 { return time.Now().UnixMicro() }

// Age is on the slower of both: a leap makes things old.
func (c *Leaping) Age(at, realAt int64) int64 { return max(c.Now()-at, c.Real()-realAt) }

// Doubt is never: a leaping clock is what it is told to be.
func (c *Leaping) Doubt() string { return "" }

// LeapTo moves policy time on; it never goes back.
func (c *Leaping) LeapTo(at int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = max(c.now, at)
}
