package flow

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"net/netip"

	"demarc/internal/plan"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// sweepWhenDue probes what is due from one vantage point: what the cloud's rules open to it, and a sample of what they
// deny.
func (l *Line) sweepWhenDue(ctx context.Context) (bool, error) {
	for i := range l.Vantages {
		v := &l.Vantages[i]
		key := workSweep + v.Name
		due, err := l.sweepDue(ctx, v)
		if err != nil {
			return false, err
		}
		if due > l.Clock.Now() || l.waiting(key) {
			continue
		}
		if err := l.sweep(ctx, v); err != nil {
			l.putOff(key, err)
			return true, err
		}
		l.done(key)
		return true, nil
	}
	return false, nil
}

// sweepDue is when the next sweep from a vantage point is due. It follows from the coverage, so a sweep that died
// half-way is due at once.
func (l *Line) sweepDue(ctx context.Context, v *Vantage) (int64, error) {
	c, ok, err := l.Ledger.LastCoverage(ctx, probe.KindSweep, l.Cloud, v.Name, probe.Control)
	if err != nil || !ok || l.unswept[v.Name] {
		return 0, err
	}
	return c.Began + l.every(v).Micros(), nil
}

// every is the longest time between two sweeps from a vantage point: the policy's, or the shortest of the netblocks that it probes.
func (l *Line) every(v *Vantage) policy.Duration {
	out := l.Policy.Sweep
	for _, b := range l.Netblocks {
		if b.Every > 0 && b.From(v.Name, string(v.Zone)) {
			out = min(out, b.Every)
		}
	}
	return out
}

// sweep plans one round, probes it and draws the conclusions.
func (l *Line) sweep(ctx context.Context, v *Vantage) error {
	if err := l.reread(ctx); err != nil {
		return err
	}
	last, _, err := l.Ledger.LastCoverage(ctx, probe.KindSweep, l.Cloud, v.Name, probe.Control)
	if err != nil {
		return err
	}
	cycle := last.Cycle + 1
	set := l.reach(v)
	next := plan.Next(set, l.Limits, uint64(cycle)) //nolint:gosec // counts up from 1
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
		h.coverage.Cycle = cycle
		if part.purpose == probe.Reach {
			h.asked, h.reached, h.blocks = asks, set, blocks // all that is open was asked
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
