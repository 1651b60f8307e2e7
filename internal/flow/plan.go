package flow

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"demarc/internal/plan"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// sweepWhenDue probes from the vantage point whose sweep is longest overdue: what the cloud's rules open to it, and a sample of what they
// deny.
func (l *Line) sweepWhenDue(ctx context.Context) (bool, error) {
	v, due, err := l.nextSweep(ctx)
	if v == nil || err != nil {
		return false, err
	}
	key := workSweep + v.Name
	if err := l.sweep(ctx, v, due); err != nil {
		l.putOff(key, err)
		return true, err
	}
	l.done(key)
	return true, nil
}

// nextSweep is the vantage point whose sweep is longest overdue, and since when; nil where none is due. One whose sweeps take longer than
// the time between two of them leaves the others their turn.
func (l *Line) nextSweep(ctx context.Context) (next *Vantage, since int64, err error) {
	for i := range l.Vantages {
		v := &l.Vantages[i]
		due, err := l.sweepDue(ctx, v)
		if err != nil {
			return nil, 0, err
		}
		if due <= l.Clock.Now() && !l.waiting(workSweep+v.Name) && (next == nil || due < since) {
			next, since = v, due
		}
	}
	return next, since, nil
}

// sweepDue is when the next sweep from a vantage point is due, 0 where there was none yet. It follows from the coverage, so a sweep that
// died half-way is due at once.
func (l *Line) sweepDue(ctx context.Context, v *Vantage) (int64, error) {
	c, ok, err := l.Ledger.LastCoverage(ctx, probe.KindSweep, l.Cloud, v.Name, probe.Control)
	if err != nil || !ok {
		return 0, err
	}
	due := c.Began + l.every(v)
	if l.unswept[v.Name] {
		due = min(due, l.Clock.Now())
	}
	return due, nil
}

// every is the longest time between two sweeps from a vantage point, µs.
func (l *Line) every(v *Vantage) int64 {
	return l.Policy.SweepEvery(l.Netblocks, v.Name, string(v.Zone)).Micros()
}

// lateness says that a sweep begins later than a tenth of its interval after it was due at a policy time, µs; "" where it does not, and of
// the first sweep.
func (l *Line) lateness(v *Vantage, due int64) string {
	late := l.Clock.Now() - due
	if due == 0 || late <= l.every(v)/10 {
		return ""
	}
	return fmt.Sprintf("this sweep began %s late: sweeps take longer than the time between them, or something kept this one",
		(time.Duration(late) * time.Microsecond).Round(time.Second))
}

// sweep plans one round, which was due at a policy time, µs, probes it and draws the conclusions.
func (l *Line) sweep(ctx context.Context, v *Vantage, due int64) error {
	late := l.lateness(v, due)
	if late != "" {
		l.meet("late sweep from "+v.Name, "", late)
	} else {
		l.overcome("late sweep from "+v.Name, "")
	}
	if err := l.reread(ctx); err != nil {
		return err
	}
	last, _, err := l.Ledger.LastCoverage(ctx, probe.KindSweep, l.Cloud, v.Name, probe.Control)
	if err != nil {
		return err
	}
	cycle := last.Cycle + 1
	set := l.reach(v)
	limits := l.Limits
	limits.Parts = l.Policy.WideParts(policy.Duration(l.every(v)) * policy.Duration(time.Microsecond))
	next := plan.Next(set, limits, uint64(cycle)) //nolint:gosec // counts up from 1
	walk, err := l.Ledger.Walk(ctx, v.Name)
	if err != nil {
		return err
	}
	walk, walked := plan.NextWalk(set, walk, cycle, limits.Parts)
	asks, err := l.Ledger.Queue(ctx, v.Name, math.MaxInt32)
	if err != nil {
		return err
	}
	blocks, err := l.newBlocks(ctx, v)
	if err != nil {
		return err
	}
	var seen []harvest
	l.mention("plan", "sweep.planned", "from %s: %d endpoints that the rules open, %d that they deny", v.Name, len(next.Reach), len(next.Control))
	for _, part := range []struct {
		purpose probe.Purpose
		targets []probe.Endpoint
	}{{probe.Reach, next.Reach}, {probe.Control, next.Control}} {
		shard := probe.Shard{ID: fmt.Sprintf("%s-%s-%d", v.Name, part.purpose, cycle), Vantage: v.Name, Purpose: part.purpose, Targets: part.targets}
		h, err := l.collect(ctx, v, set, shard)
		if err != nil {
			return err
		}
		h.coverage.Cycle, h.coverage.Note = cycle, joinNotes(late, h.coverage.Note)
		if part.purpose == probe.Reach {
			h.coverage.Note = joinNotes(h.coverage.Note, l.blind(v, set)) // complete it is: all that could be asked was
		}
		if part.purpose == probe.Reach {
			h.asked, h.reached, h.blocks = asks, set, blocks // all that is open was asked
			if walked {
				h.walk = &walk
			}
		}
		if err := l.judge(ctx, v, h); err != nil {
			return err
		}
		seen = append(seen, h)
	}
	delete(l.unswept, v.Name)
	l.shown = false
	return l.countStandings(ctx, v, set, seen)
}

// blind says what a vantage point cannot probe, for the coverage, and counts it as a problem while that is so.
func (l *Line) blind(v *Vantage, set *reach.Set) string {
	blind, cause := blindFamilies(set), "no source at "+v.Name
	if blind != "" {
		l.meet(cause, "", blind)
	} else {
		l.overcome(cause, "")
	}
	return blind
}

// blindFamilies says how many addresses that the zone is let in to are not probed, because the vantage point has no source of their family;
// "" for none.
func blindFamilies(set *reach.Set) string {
	none := netip.Addr{}
	var missing []netip.Addr
	for _, any := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		if !slices.ContainsFunc(set.View.Scanners, func(s netip.Addr) bool { return s.Unmap().Is4() == any.Is4() }) {
			missing = append(missing, any)
		}
	}
	if len(missing) == 0 {
		return ""
	}
	count := map[string]int{}
	last := none
	for o := range set.All() { // by address
		if o.State == reach.Now && o.Zone && o.Addr != last && o.Server != "" &&
			slices.ContainsFunc(missing, func(m netip.Addr) bool { return m.Is4() == o.Addr.Is4() }) {
			last = o.Addr
			count[map[bool]string{true: "IPv4", false: "IPv6"}[o.Addr.Is4()]]++
		}
	}
	var notes []string
	for _, f := range slices.Sorted(maps.Keys(count)) {
		notes = append(notes, fmt.Sprintf("%d %s addresses that are open to the zone are not probed: no source is %s", count[f], f, f))
	}
	return strings.Join(notes, "; ")
}

// joinNotes writes what a coverage says in one line.
func joinNotes(notes ...string) string {
	return strings.Join(slices.DeleteFunc(notes, func(n string) bool { return n == "" }), "; ")
}

// newBlocks says since when each netblock of a vantage point is probed; nil where the ledger knows it. One that was taken out of the
// configuration and put back is probed since it was put back.
func (l *Line) newBlocks(ctx context.Context, v *Vantage) (map[netip.Prefix]int64, error) {
	known, err := l.Ledger.Blocks(ctx, v.Name)
	if err != nil {
		return nil, err
	}
	out := map[netip.Prefix]int64{}
	for _, b := range l.Netblocks {
		if b.From(v.Name, string(v.Zone)) {
			out[b.CIDR] = cmp.Or(known[b.CIDR], l.Clock.Now())
		}
	}
	if maps.Equal(out, known) {
		return nil, nil //nolint:nilnil // nothing new is no error
	}
	return out, nil
}

// reach is what a vantage point can reach by the inventory as last read. It is computed once for each reading.
func (l *Line) reach(v *Vantage) *reach.Set {
	if l.sets[v.Name] == nil {
		l.sets[v.Name] = reach.Compute(l.x, v.View)
	}
	return l.sets[v.Name]
}
