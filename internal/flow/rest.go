package flow

import (
	"cmp"
	"fmt"
	"slices"

	"demarc/internal/asset"
	"demarc/internal/finding"
	"demarc/internal/untrusted"
)

// mostShortfalls is how many findings of one check and one weight are open for one project: a tenant with ten thousand odd rules is not told
// ten thousand things, and a thousand small ones keep no grave one waiting. One more says how many there are in all; as some are mended,
// others are opened.
const mostShortfalls = 200

// restLocus is the place of the finding that stands for those that are not opened.
const restLocus = "the rest"

// quota is what is counted against mostShortfalls.
type quota struct {
	project asset.ProjectID
	check   string
	weight  Weight
}

func (s shortfall) quota() quota { return quota{s.project, s.key.Check, s.weight} }

// rank orders the weights of a check, the gravest first.
func (w Weight) rank() int {
	return slices.Index([]string{"critical", "high", "medium", "low", "info"}, w.Severity)
}

// compare orders what is opened: the graver first.
func (s shortfall) compare(o shortfall) int {
	return cmp.Or(cmp.Compare(s.weight.rank(), o.weight.rank()), cmp.Compare(s.weight.Class, o.weight.Class), cmp.Compare(s.key.String(), o.key.String()))
}

// rests adds, for each project that has more of a check than is opened, the claim that says so: as grave as the gravest that is not. What is
// the whole cloud's has no bound.
func (l *Line) rests(out map[finding.Key]shortfall) {
	all := map[quota][]shortfall{}
	for _, s := range out {
		if s.project != "" {
			all[s.quota()] = append(all[s.quota()], s)
		}
	}
	for of, ss := range all {
		if len(ss) <= mostShortfalls {
			continue
		}
		like := slices.MinFunc(ss, shortfall.compare)
		s := shortfall{key: finding.Key{Cloud: l.Cloud, Project: of.project, Check: of.check, Locus: restLocus}, project: of.project, weight: of.weight, layer: like.layer, aspect: like.aspect,
			title:    "The project has more findings of the same check than are listed one by one",
			cause:    fmt.Sprintf("of one check %d findings are open for a project at most; others are opened as these are fixed", mostShortfalls),
			evidence: map[string]untrusted.Text{"in all": untrusted.From(fmt.Sprint(len(ss))), "such as": untrusted.From(like.title)}}
		if graver, known := out[s.key]; !known || s.compare(graver) < 0 {
			out[s.key] = s
		}
	}
}

// room counts the findings of a check and a weight that are open for a project.
type room map[quota]int

func (l *Line) room(known []finding.Finding) room {
	used := room{}
	for _, f := range known {
		if f.Key.Cloud == l.Cloud && f.State != finding.Fixed && f.Key.Locus != restLocus {
			used[quota{f.Project, f.Key.Check, Weight{f.Severity, f.Class}}]++
		}
	}
	return used
}

// has tells whether there is a place.
func (r room) has(s shortfall) bool {
	return s.project == "" || s.key.Locus == restLocus || r[s.quota()] < mostShortfalls
}

func (r room) take(s shortfall) { r[s.quota()]++ }
