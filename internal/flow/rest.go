package flow

import (
	"fmt"

	"demarc/internal/asset"
	"demarc/internal/finding"
	"demarc/internal/untrusted"
)

// mostSettings is how many findings of one check of the configuration are open for one project: a tenant with ten thousand odd rules is
// not told ten thousand things. One more says how many there are in all; as some are mended, others are opened.
const mostSettings = 200

// restLocus is the place of the finding that stands for those that are not opened.
const restLocus = "the rest"

// quota is what is counted against mostSettings.
type quota struct {
	project asset.ProjectID
	check   string
}

func (s setting) quota() quota { return quota{s.project, s.key.Check} }

// rests adds, for each project that has more of a check than is opened, the claim that says so. What is the whole cloud's has no bound.
func (l *Line) rests(out map[finding.Key]setting) {
	all, example := map[quota]int{}, map[quota]setting{}
	for k, s := range out {
		if s.project != "" {
			all[s.quota()]++
			if e, known := example[s.quota()]; !known || k.String() < e.key.String() {
				example[s.quota()] = s
			}
		}
	}
	for of, n := range all {
		if n <= mostSettings {
			continue
		}
		like := example[of]
		s := setting{key: finding.Key{Cloud: l.Cloud, Project: of.project, Check: of.check, Locus: restLocus}, project: of.project, weight: Weight{"medium", "M"}, layer: like.layer, aspect: like.aspect,
			title:    "The project has more of the same than is told one by one",
			cause:    fmt.Sprintf("of one check %d findings are open for a project at most; others are opened as these are mended", mostSettings),
			evidence: map[string]untrusted.Text{"in all": untrusted.From(fmt.Sprint(n)), "such as": untrusted.From(like.title)}}
		out[s.key] = s
	}
}

// room counts the findings of a check that are open for a project.
type room map[quota]int

func (l *Line) room(known []finding.Finding) room {
	used := room{}
	for _, f := range known {
		if f.Key.Cloud == l.Cloud && f.State != finding.Fixed && f.Key.Locus != restLocus {
			used[quota{f.Project, f.Key.Check}]++
		}
	}
	return used
}

// take takes a place, and tells whether there was one.
func (r room) take(s setting) bool {
	if s.project == "" || s.key.Locus == restLocus {
		return true
	}
	if r[s.quota()] >= mostSettings {
		return false
	}
	r[s.quota()]++
	return true
}
