package flow

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/finding"
)

// Whoever fills a check with what is small hides nothing grave: it has places of its own, is opened first, and what is over is told as grave
// as the gravest of it.
func TestWhatIsSmallHidesNothingGrave(t *testing.T) {
	small, grave := Weight{"low", "L"}, Weight{"medium", "B"}
	for name, c := range map[string]struct {
		small, grave int
		rest         string // its weight and its number
	}{"many small": {250, 1, "low L 250"}, "many of both": {250, 300, "medium B 300"}, "few": {200, 200, ""}} {
		t.Run(name, func(t *testing.T) {
			l, _ := lineOn(t, claimed("astro"))
			out := map[finding.Key]shortfall{}
			for w, n := range map[Weight]int{small: c.small, grave: c.grave} {
				for i := range n {
					k := finding.Key{Cloud: "lab", Server: "x", Port: asset.PortID(fmt.Sprint(w.Severity, i)), Check: CheckHidden, Locus: "host"}
					out[k] = shortfall{key: k, project: "astro", weight: w}
				}
			}
			l.rests(out)
			rest := ""
			opened, r := map[Weight]int{}, room{}
			for i, s := range slices.SortedFunc(maps.Values(out), shortfall.compare) {
				switch {
				case s.key.Locus == restLocus:
					rest = fmt.Sprintf("%s %s %s", s.weight.Severity, s.weight.Class, s.evidence["in all"].Raw())
				case r.has(s):
					if s.weight == small && i < c.grave {
						t.Error("a small one is opened first")
					}
					opened[s.weight]++
					r.take(s)
				}
			}
			if opened[small] != min(c.small, mostShortfalls) || opened[grave] != min(c.grave, mostShortfalls) || rest != c.rest {
				t.Errorf("opened %v, and the rest is %q, want %q", opened, rest, c.rest)
			}
		})
	}
}
