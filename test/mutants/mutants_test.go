package main

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// root is the repository, as a test of this package sees it.
const root = "../.."

// The hand-made mutants cover every area, each with what stands in the code now.
func TestHandmadeMutantsFitTheCode(t *testing.T) {
	t.Parallel()
	count, names := map[string]int{}, map[string]bool{}
	for _, h := range allHandmade() {
		count[h.area]++
		if _, err := h.mutated(root); err != nil {
			t.Errorf("%s: %v", h.name(), err)
		}
		if h.why == "" || !slices.Contains(packages, h.pkg()) || !strings.HasPrefix(h.run(), "Test") {
			t.Errorf("%s: a reason is lacking, or no package is called %s", h.name(), h.pkg())
		}
		if id := h.file + h.old + h.new; names[id] {
			t.Errorf("%s is listed twice", h.name())
		} else {
			names[id] = true
		}
	}
	for _, a := range areas {
		if count[a] < leastOfArea {
			t.Errorf("%d hand-made mutants of %s, want %d", count[a], a, leastOfArea)
		}
	}
	if n := len(allHandmade()); n != 46 {
		t.Errorf("%d hand-made mutants, want 46", n)
	}
}

// What is listed as equivalent is a mutant that the rules generate, and has a reason.
func TestEquivalentMutantsExist(t *testing.T) {
	t.Parallel()
	listed, err := equivalents(equivalentText)
	if err != nil {
		t.Fatal(err)
	}
	s := &suite{root: root}
	_, points, err := s.generate()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, p := range points {
		if known[p.name] {
			t.Errorf("two mutants are called %s", p.name)
		}
		known[p.name] = true
	}
	for name := range listed {
		if !known[name] {
			t.Errorf("it does not exist any more: %s", name)
		}
	}
}

func TestListOfEquivalentsIsRefusedWhereItSaysNothing(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"no reason": "a mutant\n", "no mutant": "  a reason\n", "twice": "a\n  x\na\n  y\n"} {
		if _, err := equivalents([]byte(text)); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
	got, err := equivalents([]byte("# comment\n\na mutant\n  one\n  reason\nb\n  another\n"))
	if err != nil || got["a mutant"] != "one reason" || got["b"] != "another" || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
}

// Every rule finds its points, each is wrapped in one call, and no line moves.
func TestPointsAreWrappedWhereTheyStand(t *testing.T) {
	t.Parallel()
	text := `package x

const c = 1 < 2

func f(a, b int, ok bool) (int, error) {
	if a < b && (ok || b == 3) { // both
		return 1, nil
	}
	for i := 0; i < a; i++ {
		if ok {
			continue
		}
		a--
	}
	switch {
	case a >= b,
		!ok:
		return 2, nil
	}
	if ok {
		a++
	}
	return unless(ok, "no"), nil
}
`
	s, err := generateFrom("x.go", []byte(text), 1)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"guard `a < b && (ok || b == 3)`", "negate `a < b && (ok || b == 3)`", "negate `a < b`",
		"negate `ok || b == 3`", "limit `a < b`", "negate `ok`", "negate `b == 3`", "limit `b == 3`",
		"negate `i < a`", "limit `i < a`", "guard `ok`", "negate `ok` #2", "guard `a >= b`",
		"negate `a >= b`", "guard `!ok`", "negate `!ok`", "limit `a >= b`", "negate `ok` #3", "negate `ok` #4",
	}
	var got []string
	for _, p := range s.points {
		got = append(got, strings.TrimPrefix(p.name, "x.go f "))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant\n%q", got, want)
	}
	out := string(s.rewritten())
	if _, err := parser.ParseFile(token.NewFileSet(), "x.go", out, 0); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if !strings.Contains(
		out,
		"if mutantNever(1, mutantNot(2, mutantNot(3, mutantLess(5, a , b)) && "+
			"(mutantNot(4, mutantNot(6, ok) || mutantNot(7, mutantEqual(8, b , 3)))))) { // both",
	) {
		t.Errorf("%s", out)
	}
	if strings.Count(out, "\n") != strings.Count(text, "\n") || !strings.Contains(out, "const c = 1 < 2") {
		t.Errorf("lines moved, or a constant is not one any more:\n%s", out)
	}
}

// A seed draws the same mutants on every machine, and what is added elsewhere does not change their order.
func TestSeedDrawsTheSameMutants(t *testing.T) {
	t.Parallel()
	var ps []point
	for _, n := range strings.Fields("a b c d e f g h i j k l") {
		ps = append(ps, point{name: n})
	}
	names := func(ps []point) (out []string) {
		for _, p := range ps {
			out = append(out, p.name)
		}
		return out
	}
	first := names(draw(ps, 1, 5))
	slices.Reverse(ps)
	if again := names(draw(ps, 1, 5)); !slices.Equal(again, first) || len(first) != 5 {
		t.Errorf("%v, then %v", first, again)
	}
	if other := names(draw(ps, 2, 5)); slices.Equal(other, first) {
		t.Error("another seed draws the same")
	}
	more := names(draw(append(ps, point{name: "m"}), 1, 13))
	if kept := slices.DeleteFunc(more, func(n string) bool { return n == "m" }); !slices.Equal(kept[:5], first) {
		t.Errorf("with one more: %v", kept)
	}
}

// The tests that reach a point are asked, the fastest first, and those of whole stories in several runs.
func TestTestsThatReachAPointAreAsked(t *testing.T) {
	t.Parallel()
	b := tested{testBinary: &testBinary{pkg: slow}}
	for i := range 20 {
		ids := []int{1}
		if i%2 == 0 {
			ids = []int{1, 7}
		}
		b.tests = append(b.tests, reached{Test: string(rune('a' + i)), Took: 100 - 1, IDs: ids})
	}
	b.tests[4].Took = 1
	got := batches(b, 7)
	if len(got) != 2 || len(got[0]) != 6 || len(got[1]) != 4 || got[0][0].Test != "e" {
		t.Errorf("%v", got)
	}
	if got := batches(b, 9); len(got) > 0 {
		t.Errorf("a point that no test reaches: %v", got)
	}
	b.pkg = "internal/flow"
	if got := batches(b, 7); len(got) != 1 || len(got[0]) != 10 {
		t.Errorf("%v", got)
	}
}

// Every file is there, and none of the gate's is forgotten.
func TestFilesOfTheGateAreAllMutated(t *testing.T) {
	t.Parallel()
	found, err := filepath.Glob(root + "/internal/casework/gate/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if name := strings.TrimPrefix(f, root+"/"); !strings.HasSuffix(name, "_test.go") && !slices.Contains(files, name) {
			t.Errorf("%s is not mutated", name)
		}
	}
}
