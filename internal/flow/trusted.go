package flow

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"demarc/internal/casework"
)

// Source is where a trusted clock takes time from. Wall may jump; Mono only grows, and means nothing after a restart.
type Source struct {
	Wall func() int64           // µs since 1970 UTC, as the machine believes
	Mono func() int64           // µs since some moment of this process
	Boot func() (string, int64) // the machine's boot, and µs since it; "" where that is not known
}

// What a trusted clock makes of the machine's.
const (
	longestTick  = 30 * second // more time between two readings than this is a stopped process: it counts for this much
	longestAway  = 2 * hour    // time away by an unconfirmed wall clock that counts in any jumpWindow; beyond it a person confirms
	jumpWindow   = 7 * day
	tolerance    = 5 * minute // a wall clock further off than this is not followed, and holds enforcement
	slewPerMille = 10         // a wall clock less far off is followed by this much of the time that passes
)

// Trusted is a clock for decisions: it accumulates what the monotonic clock counts, in steps that are capped, follows the
// wall clock slowly while the two agree, and never goes back. A jump of the wall clock neither fires nor shortens a deadline.
type Trusted struct {
	src  Source
	rate int64

	mu   sync.Mutex
	real int64 // µs since 1970 UTC, as accumulated
	now  int64 // policy time: real, or where compressed, rate times as fast
	work bool  // work is under way: compressed time passes as real time does
	last int64 // mono at the last reading

	jumps []casework.Jump // of the last jumpWindow
}

// StartTrusted starts a clock where the ledger stands. Rate is how many seconds of policy time pass in one, 1 but for tests.
// At is the ledger's policy time and left what was kept of the clock before, nil in a new ledger. The second result tells why
// the time cannot be trusted until a person has looked, "" where it can.
func StartTrusted(src Source, rate int, at int64, left *casework.Anchor) (*Trusted, string) {
	c := &Trusted{src: src, rate: int64(max(rate, 1)), last: src.Mono(), real: src.Wall()}
	c.now = max(at, c.real)
	if c.rate > 1 && at > 0 {
		c.now = at
	}
	if left == nil && at > 0 && c.rate == 1 && at <= c.real { // a ledger that was used, and of which nothing is kept of the clock
		left = &casework.Anchor{Real: at, Now: at}
	}
	if left == nil {
		return c, c.behind(at)
	}
	away, doubt := c.away(left)
	c.real = left.Real + away
	c.now = max(at, left.Now+away*c.rate)
	if c.rate == 1 {
		c.now = max(at, c.real)
	}
	return c, cmp.Or(doubt, c.behind(at))
}

// away is how long the process was not running.
func (c *Trusted) away(left *casework.Anchor) (int64, string) {
	c.jumps = recentJumps(left.Jumps, left.Real)
	if boot, since := c.src.Boot(); boot != "" && boot == left.Boot && since >= left.Since {
		return since - left.Since, ""
	}
	away := c.src.Wall() - left.Real
	if away < -second {
		return 0, fmt.Sprintf("the wall clock is %s behind the last time that was written", ago(-away))
	}
	away = max(away, 0)
	may := longestAway
	for _, j := range c.jumps {
		may -= min(j.By, may)
	}
	doubt := ""
	if away > may {
		doubt = fmt.Sprintf("by the wall clock %s have passed since the last time that was written, and nothing vouches for it; "+
			"of such time at most %s count in %s", ago(away), ago(longestAway), ago(jumpWindow))
		away = may
	}
	if away > 0 {
		c.jumps = append(c.jumps, casework.Jump{At: left.Real + away, By: away})
	}
	return away, doubt
}

// recentJumps picks those of the last jumpWindow.
func recentJumps(jumps []casework.Jump, now int64) []casework.Jump {
	return slices.DeleteFunc(slices.Clone(jumps), func(j casework.Jump) bool { return j.At <= now-jumpWindow })
}

// behind tells that a ledger is from the future, as one of compressed time is.
func (c *Trusted) behind(at int64) string {
	if c.rate == 1 && at > c.real+tolerance {
		return fmt.Sprintf("the ledger stands %s after the time of this machine", ago(at-c.real))
	}
	return ""
}

func ago(us int64) string { return (time.Duration(us) * time.Microsecond).Round(time.Second).String() }

// advance takes the time that passed since the last reading. The caller holds mu.
func (c *Trusted) advance() {
	mono := c.src.Mono()
	step := min(max(mono-c.last, 0), longestTick)
	c.last = mono
	slew := min(max(c.src.Wall()-c.real-step, -step*slewPerMille/1000), step*slewPerMille/1000)
	if off := c.src.Wall() - c.real - step; off > tolerance || off < -tolerance {
		slew = 0
	}
	c.real += step + slew
	switch {
	case c.rate > 1 && c.work:
		c.now += step
	case c.rate > 1:
		c.now += step * c.rate
	case c.now <= c.real:
		c.now = c.real
	default: // a restart left it ahead: it waits for the time of the world without standing still
		c.now += step - step*slewPerMille/1000
	}
}

// Now is policy time.
func (c *Trusted) Now() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	return c.now
}

// Real is the time of the world, as accumulated.
func (c *Trusted) Real() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	return c.real
}

// Work tells a compressed clock that work begins or ends. Work takes as much policy time as real time, so that how long a mail or a
// reading takes on a slow machine is not multiplied: only the waiting is compressed. It changes nothing where the rate is 1.
func (c *Trusted) Work(begins bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	c.work = begins
}

// Age is how old something is.
func (c *Trusted) Age(at, realAt int64) int64 {
	real := c.Real() - realAt
	if c.rate > 1 {
		return real
	}
	return max(real, c.Now()-at)
}

// Doubt tells why the machine's clocks contradict each other at this moment, "" where they agree.
func (c *Trusted) Doubt() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	switch off := c.src.Wall() - c.real; {
	case off > tolerance:
		return fmt.Sprintf("the wall clock is %s ahead of the time that passed", ago(off))
	case off < -tolerance:
		return fmt.Sprintf("the wall clock is %s behind the time that passed", ago(-off))
	}
	return ""
}

// Adopt takes the wall clock for right, after a person has looked. Policy time leaps forward where it must, and never back.
func (c *Trusted) Adopt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	c.real, c.jumps = c.src.Wall(), nil
	if c.rate == 1 {
		c.now = max(c.now, c.real)
	}
}

// Anchor is what must be kept of the clock over a restart.
func (c *Trusted) Anchor() casework.Anchor {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	boot, since := c.src.Boot()
	return casework.Anchor{Boot: boot, Since: since, Real: c.real, Now: c.now, Jumps: recentJumps(c.jumps, c.real)}
}

// RealUntil is how much real time passes until policy time is at.
func (c *Trusted) RealUntil(at int64) time.Duration {
	return time.Duration(max(at-c.Now(), 0)/c.rate) * time.Microsecond
}

// Tick reads the clock every second until ctx ends, so that a long piece of work is not taken for a stopped process.
func (c *Trusted) Tick(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			c.Now()
		case <-ctx.Done():
			return
		}
	}
}
