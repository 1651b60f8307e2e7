package serve_test

import (
	"fmt"
	"testing"

	"demarc/internal/finding"
	"demarc/internal/lab"
)

// A tenant with more odd rules than anybody would read is told two hundred of them, and how many there are in all; what is mended makes
// room for others, and none is lost.
func TestATenantWithManyOddRulesIsToldTheirNumber(t *testing.T) {
	t.Parallel()
	e := open(t, held("default-group-open"))
	e.after(day)
	odd := func(i int) lab.Rule {
		return lab.Rule{Proto: "tcp", Min: 1000 + 2*i, Max: 1000 + 2*i, Remote: everywhere}
	}
	for i := range 230 {
		e.add("default", odd(i))
	}
	live := func() (ones int, rest string) {
		for _, f := range e.settingsOf("default-group-open") {
			switch {
			case !f.State.Live():
			case f.Key.Locus == "the rest":
				rest = f.Evidence["in all"].Raw()
			default:
				ones++
			}
		}
		return ones, rest
	}
	says := func(ones int, rest string) func() bool {
		return func() bool { n, r := live(); return n == ones && r == rest }
	}
	e.until("200 and the number of all", 3, says(200, "230"))
	for _, f := range e.settingsOf("default-group-open") {
		if f.Key.Locus == "the rest" && (f.Case == "" || f.Project == "") {
			t.Errorf("nobody is told of the rest: %+v", f)
		}
	}
	e.after(3 * day)
	if ones, rest := live(); ones != 200 || rest != "230" {
		t.Errorf("readings later %d are open, and %s in all", ones, rest)
	}
	mended := 0
	for _, f := range e.settingsOf("default-group-open") { // twenty that were told
		for i := 0; i < 230 && mended < 20; i++ {
			if f.Key.Locus == fmt.Sprintf("rule IPv4 tcp %d-%d from 0.0.0.0/0", odd(i).Min, odd(i).Max) {
				e.remove("default", odd(i))
				mended++
				break
			}
		}
	}
	if mended != 20 {
		t.Fatalf("%d rules were mended", mended)
	}
	fixed := func() (n int) {
		for _, f := range e.settingsOf("default-group-open") {
			if f.State == finding.Fixed {
				n++
			}
		}
		return n
	}
	e.until("twenty are fixed, and ten more are open", 9, func() bool { return fixed() == 20 && says(200, "210")() })
	if n := len(e.settingsOf("default-group-open")); n != 221 {
		t.Errorf("%d were ever opened", n)
	}
	mend := 0
	for i := range 230 { // a few that were not told: then nothing is left over
		if mend < 10 && e.w.TenantRemoveRule("astro", "default", odd(i)) == nil {
			mend++
		}
	}
	e.until("nothing is left over", 9, func() bool { n, rest := live(); return n == 200 && rest == "" })
}
