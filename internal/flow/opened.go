package flow

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/plan"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// One step probes at most so many runs of ports that were just opened, and no further run once there are so many endpoints, or so many
// of one project: who opens much waits longest, and keeps a step from being longer than what a host is asked in a minute or two.
const (
	atOnce      = 256
	mostTargets = 4096
	mostOfOne   = 1024
)

// probeOpened probes what was just opened, without waiting for the next sweep.
//
// A sweep that is due comes first after each such step: who opens and shuts without end keeps nobody from being looked at.
func (l *Line) probeOpened(ctx context.Context) (bool, error) {
	for i := range l.Vantages {
		v := &l.Vantages[i]
		key := "opened " + v.Name
		if l.waiting(key) {
			continue
		}
		if due, err := l.sweepDue(ctx, v); err != nil || l.askedNew && due <= l.Clock.Now() && !l.waiting(workSweep+v.Name) {
			l.askedNew = false
			if err != nil {
				return false, err
			}
			continue
		}
		asks, err := l.Ledger.Queue(ctx, v.Name, atOnce)
		if err != nil || len(asks) == 0 {
			if err != nil {
				return false, err
			}
			continue
		}
		if err := l.askOpened(ctx, v, asks); err != nil {
			l.putOff(key, err)
			return true, err
		}
		l.done(key)
		l.askedNew = true
		return true, nil
	}
	return false, nil
}

func (l *Line) askOpened(ctx context.Context, v *Vantage, asks []casework.Ask) error {
	set := l.reach(v)
	turn := share(asks, func(a casework.Ask) []probe.Endpoint { return l.stillOpen(set, a) })
	if len(turn.targets) == 0 {
		d := l.draft("judge")
		d.change.Asked = turn.asks
		return d.commit(ctx)
	}
	shard := probe.Shard{ID: fmt.Sprintf("%s-%s-%d", v.Name, probe.Opened, l.Clock.Now()), Vantage: v.Name, Purpose: probe.Opened, Targets: turn.targets}
	seen, err := l.collect(ctx, v, set, shard)
	if err != nil {
		return err
	}
	if turn.wide > 0 {
		note := fmt.Sprintf("%d runs of more than %d ports were asked at the known ports and a sample; each sweep asks another", turn.wide, plan.WideRange)
		seen.coverage.Note = strings.TrimPrefix(seen.coverage.Note+"; "+note, "; ")
	}
	seen.asked = turn.asks
	return l.judge(ctx, v, seen)
}

// stillOpen lists what is asked of a run, as far as it was not shut again: what a sweep would ask of it.
func (l *Line) stillOpen(set *reach.Set, a casework.Ask) []probe.Endpoint {
	rng := rand.New(rand.NewPCG(uint64(a.At), uint64(a.First))) //nolint:gosec // a sample, not a secret
	all := plan.Expand(reach.Range{Addr: a.Addr, Proto: a.Proto, First: a.First, Last: a.Last}, l.Limits.Sample, rng)
	return slices.DeleteFunc(all, func(e probe.Endpoint) bool { return !set.Lookup(e).Scanner })
}

// turn is what one step asks of what waits.
type turn struct {
	asks    []casework.Ask
	targets []probe.Endpoint // in order, each once
	wide    int              // runs of which only a sample is asked
}

// share takes of what waits what one step asks. Next comes the project of which the fewest endpoints were taken so far, with its runs in
// their order; what is not taken waits on.
func share(asks []casework.Ask, endpoints func(casework.Ask) []probe.Endpoint) turn {
	var t turn
	var projects []asset.ProjectID // in the order in which they come first
	waits, had := map[asset.ProjectID][]casework.Ask{}, map[asset.ProjectID]int{}
	for _, a := range asks {
		if waits[a.Project] == nil {
			projects = append(projects, a.Project)
		}
		waits[a.Project] = append(waits[a.Project], a)
	}
	for len(t.targets) < mostTargets && len(projects) > 0 {
		i := 0
		for j, p := range projects {
			if had[p] < had[projects[i]] {
				i = j
			}
		}
		p := projects[i]
		if had[p] >= mostOfOne {
			break // so has everybody who waits
		}
		a := waits[p][0]
		es := endpoints(a)
		t.asks, t.targets = append(t.asks, a), append(t.targets, es...)
		if had[p] += len(es); len(es) > 0 && plan.Wide(a.First, a.Last) {
			t.wide++
		}
		if waits[p] = waits[p][1:]; len(waits[p]) == 0 {
			projects = slices.Delete(projects, i, i+1)
		}
	}
	slices.SortFunc(t.targets, probe.Endpoint.Compare)
	t.targets = slices.Compact(t.targets)
	return t
}

// projectOf is whose a port is; "" where it is not known.
func (l *Line) projectOf(id asset.PortID) asset.ProjectID {
	if p := l.x.Ports[id]; p != nil {
		return p.Project
	}
	return ""
}
