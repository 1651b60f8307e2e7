package duty

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"demarc/internal/asset"
)

// What differs for a machine is told, by a line that means it, and counted once; what does not differ is not told.
func TestEveryDifferenceIsToldAndCounted(t *testing.T) {
	all := universe()
	var same, different int
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawModel(t), drawModel(t)
		if rapid.Bool().Draw(t, "turned") {
			b.ContractTypes = []string{"extended", "standard"}
		}
		if a.wrong() != nil || b.wrong() != nil {
			return
		}
		var err error
		if b, err = b.With([]Contract{{ID: "c", Type: "extended", From: 5, Scope: drawScope(t, "c")}}, []Offering{{ID: "o", Service: "paas", Architecture: "vm", Scope: drawScope(t, "o")}}, nowhere); err != nil {
			t.Fatal(err)
		}
		at := int64(rapid.IntRange(4, 5).Draw(t, "at"))
		inventory := rapid.SliceOfN(rapid.SampledFrom(all), 0, 300).Draw(t, "inventory")
		d := Compare(a, b, at, slices.Values(inventory))
		n := 0
		for _, r := range inventory {
			ra, rb := a.Describe(r, at), b.Describe(r, at)
			changed := false
			for _, l := range Layers {
				for _, x := range Aspects {
					p, q := simply(a.Assignments, l, x, ra)[0], simply(b.Assignments, l, x, rb)[0]
					if p.Ownership == q.Ownership && p.ThirdParty == q.ThirdParty {
						continue
					}
					changed = true
					if !slices.ContainsFunc(d.Changes, func(c Change) bool {
						return c.Layer == l && slices.Contains(c.Aspects, x) && c.From == p.Ownership && c.To == q.Ownership && c.FromAssignment == p.ID && c.ToAssignment == q.ID && *c.Resources > 0
					}) {
						t.Fatalf("%s/%s of %+v passes from %s to %s, and no line tells it", l, x, r, p.ID, q.ID)
					}
				}
			}
			if changed {
				n++
			}
		}
		if *d.Resources != n {
			t.Fatalf("%d machines are concerned, %d are told", n, *d.Resources)
		}
		for _, c := range d.Changes {
			if *c.Resources > n || len(c.Gains)+len(c.Loses) == 0 && c.From != c.To && c.From != NotApplicable && c.To != NotApplicable {
				t.Fatalf("%+v", c)
			}
		}
		if n == 0 {
			same++
		} else {
			different++
		}
		if d := Compare(b, b, at, slices.Values(inventory)); !d.None() || *d.Resources != 0 {
			t.Fatalf("a model differs from itself: %+v", d)
		}
	})
	if same == 0 || different == 0 {
		t.Errorf("%d the same, %d different: the draw tries only some", same, different)
	}
}

// What only two selectors together lead to is no line of either's, and is told all the same.
func TestWhereSelectorsMeetTheDifferenceIsTold(t *testing.T) {
	a, b := *model(t), *model(t)
	give := func(m *Model, id string, w Selector, o Ownership, duty string) {
		m.Assignments = append(slices.Clone(m.Assignments), Assignment{ID: id, Layer: "devices", When: w, Ownership: o, Duty: duty, Reason: "r"})
		if w := m.wrong(); w != nil {
			t.Fatal(w.fault)
		}
	}
	give(&a, "of-domain", Selector{Domain: "d1"}, CSPOwned, "S1-19")
	give(&b, "of-tag", Selector{Tags: []string{"t1"}}, CSCOwned, "S1-19")
	d := Compare(&a, &b, 0, slices.Values([]Resource{{Domain: "d1"}, {Domain: "d1", Tags: []string{"t1"}}, {Domain: "d1", Tags: []string{"t1"}}, {Tags: []string{"t1"}}}))
	lines := map[string]int{}
	for _, c := range d.Changes {
		lines[c.FromAssignment+" "+c.ToAssignment+" "+c.Where] = *c.Resources
	}
	if len(lines) != 2 || lines["of-domain devices domain d1"] != 1 || lines["of-domain of-tag where several selectors or contracts meet"] != 2 || *d.Resources != 3 {
		t.Errorf("told are %v of %d", lines, *d.Resources)
	}
}

// What a contract changes is counted for its own scope.
func TestADifferenceIsCountedForItsScope(t *testing.T) {
	a := model(t)
	var cs []Contract
	for _, p := range []asset.ProjectID{"p1", "p2"} {
		cs = append(cs, Contract{ID: "c-" + string(p), Type: "extended", Scope: Scope{Projects: []asset.ProjectID{p}}})
	}
	b, err := a.With(cs, nil, nowhere)
	if err != nil {
		t.Fatal(err)
	}
	d := Compare(a, b, 0, slices.Values([]Resource{{Project: "p1"}, {Project: "p2", Server: "s1"}, {Project: "p2", Server: "s2"}, {Project: "p3"}}))
	for _, c := range d.Changes {
		if want := map[string]int{"project p1": 1, "project p2": 2}[c.Where]; *c.Resources != want {
			t.Errorf("%s for %s: %d machines, want %d", c.Layer, c.Where, *c.Resources, want)
		}
	}
	if len(d.Changes) != 6 || *d.Resources != 3 {
		t.Errorf("%d changes for %d machines", len(d.Changes), *d.Resources)
	}
}

// Which type comes first moves every machine that no contract and no offering names, and is told with an inventory and without.
func TestWhatComesFirstIsADifference(t *testing.T) {
	a := model(t)
	for _, c := range []struct{ old, new, kinds string }{
		{"contract_types: [standard, extended]", "contract_types: [extended, standard]", "iaas vm standard > iaas vm extended"},
		{"architectures: [vm, container]", "architectures: [container, vm]", "iaas vm standard > iaas container standard"},
		{"service_types: [iaas, paas]", "service_types: [paas, iaas]", "iaas vm standard > paas vm standard"},
	} {
		b, err := Parse("m.yaml", []byte(strings.Replace(string(defaultModel), c.old, c.new, 1)))
		if err != nil {
			t.Fatal(err)
		}
		list, from, _ := strings.Cut(c.old, ": ")
		want := Edit{"model", "default", "changed", []FieldEdit{{list, from, strings.TrimPrefix(c.new, list+": ")}}}
		cover := []Contract{{ID: "c", Type: "standard", Scope: Scope{Projects: []asset.ProjectID{"p"}}}}
		ma, errA := a.With(cover, nil, nowhere)
		mb, errB := b.With(cover, nil, nowhere)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		alone := Compare(a, b, 0, nil)
		counted := Compare(ma, mb, 0, slices.Values([]Resource{{Project: "p"}, {Project: "q"}, {Project: "r"}}))
		if len(alone.Changes) == 0 || !reflect.DeepEqual(alone.Edits, []Edit{want}) || !reflect.DeepEqual(counted.Edits, []Edit{want}) {
			t.Errorf("%s: %d changes, edits %+v", c.new, len(alone.Changes), alone.Edits)
		}
		for _, n := range alone.Changes {
			if n.Where != Rest || !slices.Equal(n.Kinds, []string{c.kinds}) {
				t.Errorf("%s: %+v", c.new, n)
			}
		}
		for _, n := range counted.Changes {
			if most := map[string]int{Rest: 2, "project p": 1}[n.Where]; *n.Resources != most {
				t.Errorf("%s: %s for %s: %d machines, want %d", c.new, n.Layer, n.Where, *n.Resources, most)
			}
		}
	}
}

// Of two lines for one answer the nearest scope's counts a machine, in whatever order the scopes are listed.
func TestAMachineIsCountedForItsNearestScope(t *testing.T) {
	a := model(t)
	far := Contract{ID: "far", Type: "extended", Scope: Scope{Domains: []asset.DomainID{"d"}}}
	near := Contract{ID: "near", Type: "extended", Scope: Scope{Servers: []asset.ServerID{"s"}}}
	for _, cs := range [][]Contract{{far, near}, {near, far}} {
		b, err := a.With(cs, nil, nowhere)
		if err != nil {
			t.Fatal(err)
		}
		d := Compare(a, b, 0, slices.Values([]Resource{{Domain: "d", Server: "s"}, {Domain: "d", Server: "x"}, {Domain: "d", Server: "y"}}))
		for _, n := range d.Changes {
			if want := map[string]int{"domain d": 2, "server s": 1}[n.Where]; *n.Resources != want {
				t.Errorf("%s first: %s for %s: %d machines, want %d", cs[0].ID, n.Layer, n.Where, *n.Resources, want)
			}
		}
		if len(d.Changes) != 6 {
			t.Errorf("%d changes", len(d.Changes))
		}
	}
}

// A million machines are few that differ: they are asked in groups.
func TestAMillionMachinesAreComparedInGroups(t *testing.T) {
	m := covered(t)
	d, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	rs := machines(1_000_000)
	got := Compare(d, m, 15, slices.Values(rs))
	if *got.Resources != 200_000 { // the machines of the two hundred projects under a contract
		t.Errorf("%d machines are concerned", *got.Resources)
	}
	if without := Compare(d, m, 15, nil); without.Resources != nil || without.Changes[0].Resources != nil || len(without.Changes) != len(got.Changes) {
		t.Errorf("without an inventory: %+v", without.Resources)
	}
}

// What decides is found by place where selectors are many, and is what the model itself finds.
func TestWhatDecidesIsFoundByPlace(t *testing.T) {
	m := *model(t)
	m.Assignments = slices.Clone(m.Assignments)
	add := func(w Selector) {
		m.Assignments = append(m.Assignments, Assignment{ID: fmt.Sprintf("a%d", len(m.Assignments)), Layer: "application", When: w, Ownership: NotApplicable, Reason: "r"})
	}
	for i := range 2 * few {
		add(Selector{Project: asset.ProjectID(fmt.Sprintf("x%d", i))})
	}
	for _, w := range []Selector{{Project: "p1"}, {Project: "p1", Domain: "d1"}, {Project: "p1", Tags: []string{"t1"}}, {Domain: "d1"}, {Domain: "d1", Tags: []string{"t1"}}, {Cloud: "north"}, {Cloud: "north", Region: "r1"}, {Tags: []string{"t1", "t2"}},
		{Project: "p1", Contract: "extended"}, {Region: "r1", Service: "paas"}, {Region: "r1", Service: "paas", Architecture: "container"}} {
		add(w)
	}
	m.compile()
	f, found := newFinder(&m), map[string]bool{}
	for _, r := range universe() {
		for _, x := range Aspects {
			s := slot("application", x)
			got, want := f.decide(s, &r), m.decide(s, &r)
			if got != want {
				t.Fatalf("%s for %+v: %s, want %s", x, r, got.ID, want.ID)
			}
			found[got.ID] = true
		}
	}
	if len(found) < 11 {
		t.Errorf("only %v decide", found)
	}
}

// Machines under ten thousand contracts are counted without going through all of their lines for each.
func TestManyScopesAreCounted(t *testing.T) {
	a := model(t)
	var cs []Contract
	var rs []Resource
	for i := range 10_000 {
		p := asset.ProjectID(fmt.Sprintf("p%d", i))
		cs = append(cs, Contract{ID: fmt.Sprintf("c%d", i), Type: "extended", Scope: Scope{Projects: []asset.ProjectID{p}}})
		rs = append(rs, Resource{Project: p})
	}
	b, err := a.With(cs, nil, nowhere)
	if err != nil {
		t.Fatal(err)
	}
	d := Compare(a, b, 0, slices.Values(rs))
	for _, n := range d.Changes {
		if *n.Resources != 1 {
			t.Fatalf("%s for %s: %d machines", n.Layer, n.Where, *n.Resources)
		}
	}
	if *d.Resources != len(rs) || len(d.Changes) != 3*len(rs) {
		t.Errorf("%d changes for %d machines", len(d.Changes), *d.Resources)
	}
}
