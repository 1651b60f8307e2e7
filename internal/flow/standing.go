package flow

import (
	"context"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// count writes down, for each project, how what a sweep saw stands to the rules. A project whose counts are the same as before gets
// no row: an unchanged sweep writes its coverage alone.
func (l *Line) count(ctx context.Context, v *Vantage, set *reach.Set, hs []harvest) error {
	known, err := l.Ledger.Standings(ctx, access.Operator(), l.Cloud, "", l.Clock.Now())
	if err != nil {
		return err
	}
	last := map[asset.ProjectID]casework.Standing{}
	for _, s := range known {
		if s.Vantage == v.Name {
			last[s.Project] = s
		}
	}
	open, err := l.Ledger.OpenExposures(ctx, v.Name)
	if err != nil {
		return err
	}
	now := l.standings(v, set, open, hs)
	d := l.draft("judge")
	for id, s := range now {
		if was, ok := last[id]; !ok || !s.Same(was) {
			d.change.Standings = append(d.change.Standings, *s)
		}
	}
	for id, was := range last {
		if gone := (casework.Standing{Cloud: l.Cloud, Vantage: v.Name, Project: id, At: d.now}); now[id] == nil && !gone.Same(was) {
			d.change.Standings = append(d.change.Standings, gone)
		}
	}
	return d.commit(ctx)
}

// standings counts what is known to be open, which outlives the sample of one sweep, and what a sweep found silent.
func (l *Line) standings(v *Vantage, set *reach.Set, open []probe.Exposure, hs []harvest) map[asset.ProjectID]*casework.Standing {
	out := map[asset.ProjectID]*casework.Standing{}
	of := func(p asset.ProjectID) *casework.Standing {
		if out[p] == nil {
			out[p] = &casework.Standing{Cloud: l.Cloud, Vantage: v.Name, Project: p, At: l.Clock.Now()}
		}
		return out[p]
	}
	answers := map[probe.Endpoint]bool{}
	for _, e := range open {
		answers[e.Endpoint] = true
		h, ok := l.holds[e.Endpoint.Addr]
		if !ok || h.Server == "" || h.Shared {
			continue
		}
		switch c := of(h.Project); set.Lookup(e.Endpoint).Standing(probe.Open) {
		case reach.OpenAnswers:
			c.OpenAnswers++
		case reach.DeniedAnswers:
			c.DeniedAnswers++
		case reach.ScannerOnly:
			c.ScannerOnly++
		case reach.Unsure:
			c.Unsure++
		}
	}
	asked := map[probe.Endpoint]bool{}
	for _, h := range hs {
		for _, s := range h.sights {
			asked[s.Endpoint] = s.known() && s.Facts.Outcome != probe.Failed
			if asked[s.Endpoint] && s.config.Standing(s.Facts.Outcome) == reach.DeniedSilent {
				of(s.holder.Project).DeniedSilent++
			}
		}
	}
	for r := range set.Ranges() {
		if s := l.x.Servers[r.Server]; r.Proto == probe.TCP && s != nil && silentRun(set, r, asked, answers) {
			of(s.Project).OpenSilent++
		}
	}
	return out
}

// silentRun tells whether a run of ports lets the zone in, was asked, and nothing in it answered.
func silentRun(set *reach.Set, r reach.Range, asked, answers map[probe.Endpoint]bool) bool {
	if !set.Lookup(probe.Endpoint{Addr: r.Addr, Proto: r.Proto, Port: r.First}).Zone {
		return false
	}
	any := false
	for port := int(r.First); port <= int(r.Last); port++ {
		e := probe.Endpoint{Addr: r.Addr, Proto: r.Proto, Port: uint16(port)} //nolint:gosec // within First..Last
		if answers[e] {
			return false
		}
		any = any || asked[e]
	}
	return any
}
