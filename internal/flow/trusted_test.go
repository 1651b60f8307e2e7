package flow

import (
	"testing"

	"pgregory.net/rapid"

	"demarc/internal/casework"
)

// machine is the clocks of a machine that a test turns.
type machine struct {
	wall, mono, since int64
	boot              string
}

func (m *machine) source() Source {
	return Source{Wall: func() int64 { return m.wall }, Mono: func() int64 { return m.mono }, Boot: func() (string, int64) { return m.boot, m.since }}
}

func (m *machine) pass(us int64) { m.wall, m.mono, m.since = m.wall+us, m.mono+us, m.since+us }

func newMachine() *machine {
	return &machine{wall: 1_790_000_000 * second, mono: 5 * second, since: 90 * second, boot: "a"}
}

func TestAWallClockThatJumpsMovesNoDeadline(t *testing.T) {
	for name, jump := range map[string]int64{"forward": 40 * day, "back": -40 * day, "ten minutes": 10 * minute} {
		m := newMachine()
		c, doubt := StartTrusted(m.source(), 1, 0, nil)
		if doubt != "" || c.Doubt() != "" {
			t.Fatalf("%s: doubt at the start: %s", name, doubt)
		}
		before := c.Now()
		m.wall += jump
		m.pass(second)
		if got := c.Now() - before; got != second {
			t.Errorf("%s: policy time moved by %d µs in a second", name, got)
		}
		if c.Doubt() == "" {
			t.Errorf("%s: nothing is doubted", name)
		}
		c.Adopt()
		if c.Doubt() != "" || c.Real() != m.wall || c.Now() < before+second {
			t.Errorf("%s: after a person looked: %q, real %d, wall %d", name, c.Doubt(), c.Real(), m.wall)
		}
	}
}

func TestSmallDriftIsFollowed(t *testing.T) {
	m := newMachine()
	c, _ := StartTrusted(m.source(), 1, 0, nil)
	m.wall += 20 * second
	for range 3600 {
		m.pass(second)
		c.Now()
	}
	if off := m.wall - c.Now(); off != 0 {
		t.Errorf("after an hour policy time is off by %d µs", off)
	}
}

func TestAStoppedProcessDoesNotLeap(t *testing.T) {
	m := newMachine()
	c, _ := StartTrusted(m.source(), 1, 0, nil)
	before := c.Now()
	m.pass(3 * day)
	if got := c.Now() - before; got > longestTick+longestTick*slewPerMille/1000 {
		t.Errorf("policy time moved by %d µs over one reading", got)
	}
	if c.Doubt() == "" {
		t.Error("nothing is doubted")
	}
}

func TestARestart(t *testing.T) {
	for name, x := range map[string]struct {
		turn func(*machine)
		real int64 // that must have passed
		sure bool
	}{
		"same boot":                   {func(m *machine) { m.pass(3 * day); m.mono = 1 }, 3 * day, true},
		"same boot, wall jumped":      {func(m *machine) { m.pass(hour); m.wall += 300 * day; m.mono = 1 }, hour, true},
		"rebooted":                    {func(m *machine) { m.pass(2 * hour); m.boot, m.since, m.mono = "b", second, 1 }, 2 * hour, true},
		"rebooted, clock lost":        {func(m *machine) { m.wall, m.boot, m.since = 0, "b", second }, 0, false},
		"rebooted, far in the future": {func(m *machine) { m.wall += 300 * day; m.boot, m.since = "b", second }, longestAway, false},
	} {
		m := newMachine()
		c, _ := StartTrusted(m.source(), 1, 0, nil)
		left := c.Anchor()
		x.turn(m)
		again, doubt := StartTrusted(m.source(), 1, left.Now, &left)
		if got := again.Now() - left.Now; got != x.real {
			t.Errorf("%s: policy time moved by %d s, want %d s", name, got/second, x.real/second)
		}
		if (doubt == "") != x.sure {
			t.Errorf("%s: doubt %q", name, doubt)
		}
	}
}

func TestALedgerFromTheFutureIsDoubted(t *testing.T) {
	m := newMachine()
	c, doubt := StartTrusted(m.source(), 1, m.wall+30*day, nil)
	if doubt == "" {
		t.Error("nothing is doubted")
	}
	if c.Now() < m.wall+30*day {
		t.Error("policy time went back")
	}
}

func TestCompressedTime(t *testing.T) {
	m := newMachine()
	c, _ := StartTrusted(m.source(), 3600, 0, nil)
	now, real := c.Now(), c.Real()
	m.pass(10 * second)
	if c.Now()-now != 10*hour || c.Real()-real != 10*second {
		t.Errorf("%d µs of policy time and %d µs of real time passed", c.Now()-now, c.Real()-real)
	}
	left := c.Anchor()
	m.pass(second)
	m.mono = 0
	again, doubt := StartTrusted(m.source(), 3600, left.Now, &left)
	if doubt != "" || again.Now() != left.Now+hour {
		t.Errorf("after a restart: %q, %d µs on", doubt, again.Now()-left.Now)
	}
}

// Whatever the machine's clocks do, policy time never goes back, and never faster than time passes.
func TestPolicyTimeIsMonotonic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine()
		var left *casework.Anchor
		c, _ := StartTrusted(m.source(), 1, 0, left)
		last := c.Now()
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			passed := rapid.Int64Range(0, 2*hour).Draw(t, "passes")
			m.pass(passed)
			m.wall += rapid.SampledFrom([]int64{0, 0, 0, second, -second, hour, -hour, 400 * day, -400 * day}).Draw(t, "jump")
			if rapid.Bool().Draw(t, "restart") {
				a := c.Anchor()
				m.mono = 0
				c, _ = StartTrusted(m.source(), 1, last, &a)
			}
			now := c.Now()
			if now < last {
				t.Fatalf("policy time went back by %d µs", last-now)
			}
			if most := passed + passed/50 + second; now-last > most {
				t.Fatalf("%d µs of policy time in %d µs", now-last, passed)
			}
			last = now
		}
	})
}
