package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"demarc/internal/casework"
	"demarc/internal/probe"
	"demarc/internal/reach"
	"demarc/internal/untrusted"
)

// place is where runs of ports can overlap.
type place struct {
	addr  netip.Addr
	proto probe.Proto
}

// waiting are the runs of ports that are to be asked first: in order, apart, and by place.
type waiting map[place][]casework.Ask

func waitingOf(queue []casework.Ask) waiting {
	slices.SortFunc(queue, func(a, b casework.Ask) int { return cmp.Compare(a.First, b.First) })
	out := waiting{}
	for _, q := range queue {
		at := place{q.Addr, q.Proto}
		if n := len(out[at]); n > 0 && q.First <= out[at][n-1].Last {
			out[at][n-1].Last = max(out[at][n-1].Last, q.Last)
			continue
		}
		out[at] = append(out[at], q)
	}
	return out
}

// any tells whether some of a run of ports waits.
func (w waiting) any(at place, first, last uint16) bool {
	runs := w[at]
	i, _ := slices.BinarySearchFunc(runs, first, func(q casework.Ask, first uint16) int { return cmp.Compare(q.Last, first) })
	return i < len(runs) && runs[i].First <= last
}

// portRun is a run of TCP ports, both ends in it.
type portRun struct{ first, last uint16 }

// gaps are the parts of an open run of TCP ports in which nothing answers: it may answer at single ports anywhere in it.
func (l *looker) gaps(o reach.Opening) []portRun {
	ports := l.answers[o.Addr]
	i, _ := slices.BinarySearch(ports, o.First)
	first := int(o.First)
	var out []portRun
	for ; i < len(ports) && ports[i] <= o.Last; i++ {
		if int(ports[i]) > first {
			out = append(out, portRun{uint16(first), ports[i] - 1}) //nolint:gosec // below ports[i]
		}
		first = int(ports[i]) + 1
	}
	if first <= int(o.Last) {
		out = append(out, portRun{uint16(first), o.Last}) //nolint:gosec // at most o.Last
	}
	return out
}

// silent appends a row for each run of ports that one object lets our probe in to and in which nothing answers. Of address pairs that
// are wider than one address nothing is asked.
func (l *looker) silent(out []exposed) []exposed {
	for _, ports := range l.answers {
		slices.Sort(ports)
	}
	for o := range l.set.All() {
		if o.State != reach.Now || o.Proto != probe.TCP || !o.Scanner || o.Prefix.IsValid() || o.Server == "" {
			continue
		}
		for _, g := range l.gaps(o) {
			out = append(out, l.silentRun(o, g))
		}
	}
	return out
}

func (l *looker) silentRun(o reach.Opening, g portRun) exposed {
	row := exposed{Addr: o.Addr, Server: o.Server, Project: o.Project, Proto: o.Proto, First: g.first, Last: g.last, Ports: int(g.last) - int(g.first) + 1,
		Standing: reach.OpenSilent, Configured: "open", Rules: appendRule(nil, o.Rule), Doubts: o.Doubts}
	if !o.Zone {
		row.Standing, row.Configured = reach.ScannerOnly, reach.ScannerOnly
	}
	row.Probed = l.probed(o, g)
	row.Observed, row.Advice = l.idle(o, row)
	if o.Zone && o.Rule != "" && row.Observed != "not asked yet" {
		row.group = l.group(o.Group)
	}
	return l.dressed(row)
}

// probed counts the ports of a part of a run that were asked since the run was opened.
func (l *looker) probed(o reach.Opening, g portRun) int {
	if !l.swept || l.waits.any(place{o.Addr, o.Proto}, g.first, g.last) {
		return 0
	}
	most := 0
	for r := range l.set.RangesAt(o.Addr) { // the run that is asked may be of several rules
		if r.Port == o.Port && r.Proto == o.Proto && r.First <= g.first && g.last <= r.Last {
			most = max(most, l.progress.Probed(r, g.first, g.last))
		}
	}
	return most
}

// idle says what is known of a run in which nothing answers, and what to do about it.
func (l *looker) idle(o reach.Opening, row exposed) (string, untrusted.Text) {
	observed, what := "nothing listens", "nothing listens: "
	switch {
	case row.Probed == 0:
		return "not asked yet", untrusted.From("wait for the next sweep")
	case row.Probed < row.Ports:
		observed, what = "nothing seen", fmt.Sprintf("%d of %d ports were probed; %d sweeps probe all of them: ", row.Probed, row.Ports, l.walk.Parts)
	}
	switch {
	case !o.Zone:
		return observed, untrusted.From("only our probe gets in: nothing to do")
	case o.Rule == "" && observed == "nothing seen":
		return observed, untrusted.From(what + "switch port security on, and open what is meant to be")
	case o.Rule == "":
		return observed, untrusted.From(what + "nothing has to be open there")
	case observed == "nothing seen":
		return observed, untrusted.From(what + fmt.Sprintf("narrow rule %s of %s", o.Rule, l.group(o.Group)))
	}
	return observed, untrusted.From(what + fmt.Sprintf("rule %s of %s can go", o.Rule, l.group(o.Group)))
}
