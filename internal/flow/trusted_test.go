package flow

import (
	"testing"
	"time"

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

// What a piece of work takes on a slow machine is no time that an owner had: only waiting is compressed.
func TestWorkIsNotCompressed(t *testing.T) {
	for rate, waited := range map[int]int64{1: 10 * second, 3600: 10 * hour} {
		m := newMachine()
		c, _ := StartTrusted(m.source(), rate, 0, nil)
		now := c.Now()
		m.pass(10 * second)
		c.Work(true)
		m.pass(10 * second)
		c.Work(false)
		if got := c.Now() - now; got != waited+10*second {
			t.Errorf("at rate %d, %s passed in 10 s of waiting and 10 s of work", rate, ago(got))
		}
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

// reboot ends the process and the machine, and starts both again after so much time by the wall clock.
func (m *machine) reboot(c *Trusted, away int64) (*Trusted, string) {
	left := c.Anchor()
	m.wall, m.mono, m.since, m.boot = m.wall+away, 0, 60*second, m.boot+"x"
	return StartTrusted(m.source(), 1, left.Now, &left)
}

// A wall clock that nothing vouches for moves policy time by two hours at most in any seven days, over however many restarts. Beyond it a
// person confirms.
func TestRebootsMoveTimeByTwoHoursAWeek(t *testing.T) {
	m := newMachine()
	c, _ := StartTrusted(m.source(), 1, 0, nil)
	before, doubts := c.Now(), 0
	for range 100 {
		var doubt string
		if c, doubt = m.reboot(c, 2*hour); doubt != "" {
			doubts++
		}
	}
	if moved := c.Now() - before; moved > 2*hour || doubts != 99 {
		t.Errorf("policy time moved by %d hours, with %d doubts", moved/hour, doubts)
	}
	c.Adopt() // a person has looked: the wall clock is right
	at := c.Now()
	if c, _ = m.reboot(c, hour); c.Now()-at != hour {
		t.Errorf("after a person looked, an hour counts for %d minutes", (c.Now()-at)/minute)
	}
	for range 8 * 24 * 60 * 3 { // eight days on, read often enough
		m.pass(20 * second)
		c.Now()
	}
	at = c.Now()
	if c, doubt := m.reboot(c, 2*hour); c.Now()-at != 2*hour || doubt != "" {
		t.Errorf("a week later two hours count for %d minutes: %s", (c.Now()-at)/minute, doubt)
	}
}

// The row that keeps the clock is gone from a ledger that was used: the wall clock is not simply believed.
func TestMissingAnchorIsNoLeap(t *testing.T) {
	m := newMachine()
	at := m.wall - 40*day
	c, doubt := StartTrusted(m.source(), 1, at, nil)
	if c.Now()-at > 2*hour || doubt == "" {
		t.Errorf("policy time moved by %d hours: %q", (c.Now()-at)/hour, doubt)
	}
}

// Each limit of the clock holds to the microsecond.
func TestLimitsOfTheClock(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		off    int64
		doubt  bool
		follow bool
	}{
		"as far ahead as is followed": {tolerance, false, true}, "further ahead": {tolerance + 1, true, false},
		"as far behind": {-tolerance, false, true}, "further behind": {-tolerance - 1, true, false}, "six minutes": {6 * minute, true, false},
	} {
		m := newMachine()
		clock, _ := StartTrusted(m.source(), 1, 0, nil)
		m.wall += c.off
		if got := clock.Doubt() != ""; got != c.doubt {
			t.Errorf("%s: doubted %t", name, got)
		}
		m.pass(second)
		if moved := clock.Real() - (m.wall - c.off); (moved != 0) != c.follow || moved > second/100 || moved < -second/100 {
			t.Errorf("%s: followed by %d µs", name, moved)
		}
	}
	m := newMachine()
	clock, doubt := StartTrusted(m.source(), 1, m.wall+tolerance, nil)
	if doubt != "" {
		t.Errorf("a ledger that is just ahead: %s", doubt)
	}
	if _, doubt = StartTrusted(m.source(), 1, m.wall+tolerance+1, nil); doubt == "" {
		t.Error("a ledger that is further ahead is not doubted")
	}
	before := clock.Now() // ahead of the world: it waits for it without standing still
	m.pass(10 * second)
	if got := clock.Now() - before; got != 10*second-10*second*slewPerMille/1000 {
		t.Errorf("policy time that is ahead moved by %d µs in ten seconds", got)
	}
	for range 60 * 60 {
		m.pass(10 * second)
		clock.Now()
	}
	if clock.Now() != clock.Real() {
		t.Errorf("after ten hours it is still %d µs ahead", clock.Now()-clock.Real())
	}
}

// What is old by either clock is old; where policy time is compressed the real one alone counts.
func TestAgeIsTheOlderOfBothClocks(t *testing.T) {
	t.Parallel()
	m := newMachine()
	c, _ := StartTrusted(m.source(), 1, m.wall+hour, nil)
	now, real := c.Now(), c.Real()
	if got := c.Age(now-minute, real-hour); got != hour {
		t.Errorf("by the real clock: %d", got)
	}
	if got := c.Age(now-hour, real-minute); got != hour {
		t.Errorf("by policy time: %d", got)
	}
	fast, _ := StartTrusted(m.source(), 3600, 0, nil)
	if got := fast.Age(fast.Now()-day, fast.Real()-minute); got != minute {
		t.Errorf("compressed: %d", got)
	}
	if got := fast.RealUntil(fast.Now() + hour); got != time.Second {
		t.Errorf("an hour of compressed time takes %s", got)
	}
	if got := c.RealUntil(c.Now() - hour); got != 0 {
		t.Errorf("what is over takes %s", got)
	}
}

// What a machine says of its boot counts only where it is the same boot and time went on in it.
func TestRestartInOneBoot(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		turn  func(*machine)
		moved int64
		sure  bool
	}{
		"at once":                      {func(*machine) {}, 0, true},
		"a second later":               {func(m *machine) { m.pass(second) }, second, true},
		"time since the boot is less":  {func(m *machine) { m.since, m.wall = m.since-1, m.wall+minute }, minute, true},
		"no boot is known":             {func(m *machine) { m.boot, m.wall = "", m.wall+minute }, minute, true},
		"the wall clock a second back": {func(m *machine) { m.boot, m.wall = "b", m.wall-second }, 0, true},
		"further back":                 {func(m *machine) { m.boot, m.wall = "b", m.wall-second-1 }, 0, false},
		"two hours":                    {func(m *machine) { m.boot, m.wall = "b", m.wall+2*hour }, 2 * hour, true},
		"a microsecond more":           {func(m *machine) { m.boot, m.wall = "b", m.wall+2*hour+1 }, 2 * hour, false},
	} {
		m := newMachine()
		clock, _ := StartTrusted(m.source(), 1, 0, nil)
		kept := clock.Anchor()
		c.turn(m)
		again, doubt := StartTrusted(m.source(), 1, kept.Now, &kept)
		if got := again.Now() - kept.Now; got != c.moved || (doubt == "") != c.sure {
			t.Errorf("%s: moved by %d µs, %q", name, got, doubt)
		}
		want := 0
		if c.moved > 0 && name != "a second later" {
			want = 1
		}
		if a := again.Anchor(); len(a.Jumps) != want {
			t.Errorf("%s: %d jumps are kept", name, len(a.Jumps))
		}
	}
	now := 20 * day
	if got := recentJumps([]casework.Jump{{At: now - 7*day}, {At: now - 7*day + 1}, {At: now}}, now); len(got) != 2 {
		t.Errorf("%d jumps are recent", len(got))
	}
}

// A ledger of compressed time goes on where it stands, however far the world is.
func TestCompressedTimeGoesOnWhereTheLedgerStands(t *testing.T) {
	t.Parallel()
	m := newMachine()
	for _, at := range []int64{m.wall - 40*day, m.wall + 40*day} {
		if c, doubt := StartTrusted(m.source(), 3600, at, nil); c.Now() != at || doubt != "" {
			t.Errorf("%d h from the world: it goes on %d h later, %q", (at-m.wall)/hour, (c.Now()-at)/hour, doubt)
		}
	}
	if c, _ := StartTrusted(m.source(), 1, 0, nil); c.Now() != m.wall {
		t.Error("a new ledger does not begin with the time of the world")
	}
}
