package flow

import (
	"context"
	"slices"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// countStandings writes down, for each project, how what a sweep saw stands to the rules. A project whose counts are the same as before gets
// no row: an unchanged sweep writes its coverage alone.
func (l *Line) countStandings(ctx context.Context, v *Vantage, set *reach.Set, hs []harvest) error {
	known, err := l.Ledger.LastStandings(ctx, l.Cloud, v.Name)
	if err != nil {
		return err
	}
	last := map[asset.ProjectID]casework.Standing{}
	for _, s := range known {
		last[s.Project] = s
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
	for _, e := range open {
		h, ok := l.behind(single(e.Endpoint))
		if !ok {
			continue
		}
		switch c := of(h.Project); set.LookupAt(e.Endpoint, h.Port).Standing(probe.Open) {
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
	var asked, answered []probe.Endpoint // in order
	for _, h := range hs {
		for _, s := range h.sights {
			by, config, ok := l.counted(set, s)
			if !ok || s.Facts.Outcome == probe.Failed {
				continue
			}
			if config.Zone {
				asked = append(asked, s.Endpoint)
			}
			if config.Standing(s.Facts.Outcome) == reach.DeniedSilent {
				of(by.Project).DeniedSilent++
			}
		}
	}
	for _, e := range open {
		answered = append(answered, e.Endpoint)
	}
	slices.SortFunc(asked, probe.Endpoint.Compare)
	slices.SortFunc(answered, probe.Endpoint.Compare)
	for o := range set.All() {
		if h, ok := l.behind(reach.Range{Addr: o.Addr, Proto: o.Proto, First: o.First, Last: o.Last}); ok && h.Server == o.Server && idle(o, asked, answered) {
			of(h.Project).OpenSilent++
		}
	}
	return out
}

// counted is whom one look counts for, and what the rules say of the endpoint to him. A sweep attributes by the address alone; behind a
// forwarding it is whom this very port leads to.
func (l *Line) counted(set *reach.Set, s sight) (asset.Holder, reach.Answer, bool) {
	if s.known() {
		return s.holder, s.config, true
	}
	h, ok := l.behind(single(s.Endpoint))
	return h, set.LookupAt(s.Endpoint, h.Port), ok && s.holder.Shared
}

// idle tells whether a run of TCP ports that one object opens to a machine lets the zone in, was asked, and has nothing in it that answers.
// Each object that opens it counts, for each can go by itself; what is let in by two rules is listed twice too.
func idle(o reach.Opening, asked, answered []probe.Endpoint) bool {
	if o.State != reach.Now || o.Proto != probe.TCP || !o.Scanner || !o.Zone || o.Prefix.IsValid() || o.Server == "" {
		return false
	}
	r := reach.Range{Addr: o.Addr, Proto: o.Proto, First: o.First, Last: o.Last}
	return within(asked, r) && !within(answered, r)
}

// within tells whether any of some endpoints, which are in order, is of a run of ports.
func within(es []probe.Endpoint, r reach.Range) bool {
	first := probe.Endpoint{Addr: r.Addr, Proto: r.Proto, Port: r.First}
	i, _ := slices.BinarySearchFunc(es, first, probe.Endpoint.Compare)
	return i < len(es) && es[i].Addr == r.Addr && es[i].Proto == r.Proto && es[i].Port <= r.Last
}
