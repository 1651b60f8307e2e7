package duty

import (
	"fmt"
	"math/rand"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"demarc/internal/asset"
	"demarc/internal/fault"
)

func nowhere(string) fault.Position { return fault.Position{} }

// The evaluator of this file is the rule as it is written down, without any preparation: of all assignments that match, the most
// specific, compared from the aspect named down to the number of kinds fixed. It shares no code with the model's own.

func simplyMatches(s Selector, r Resource) bool {
	fixed := [][2]string{{s.Service, r.Service}, {s.Architecture, r.Architecture}, {s.Contract, r.Contract}, {s.Cloud, r.Cloud}, {s.Region, r.Region},
		{string(s.Domain), string(r.Domain)}, {string(s.Project), string(r.Project)}}
	for _, f := range fixed {
		if f[0] != "" && f[0] != f[1] {
			return false
		}
	}
	has := map[string]bool{}
	for _, t := range r.Tags {
		has[t] = true
	}
	for _, t := range s.Tags {
		if !has[t] {
			return false
		}
	}
	return true
}

func specificity(a *Assignment) []int {
	one := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	w := a.When
	return []int{one(len(a.Aspects) > 0), one(w.Project != ""), len(w.Tags), one(w.Domain != ""), one(w.Region != ""), one(w.Cloud != ""),
		one(w.Service != "") + one(w.Architecture != "") + one(w.Contract != "")}
}

// simply gives all assignments that are as specific as the most specific that matches: one in a model that decides.
func simply(as []Assignment, l Layer, x Aspect, r Resource) []*Assignment {
	var best []*Assignment
	for i := range as {
		a := &as[i]
		if a.Layer != l || len(a.Aspects) > 0 && !slices.Contains(a.Aspects, x) || !simplyMatches(a.When, r) {
			continue
		}
		if len(best) > 0 {
			switch slices.Compare(specificity(a), specificity(best[0])) {
			case -1:
				continue
			case 1:
				best = nil
			}
		}
		best = append(best, a)
	}
	return best
}

var (
	someServices  = []string{"iaas", "paas"}
	someArchs     = []string{"vm", "container"}
	someContracts = []string{"standard", "extended"}
	someAspects   = []Aspect{"configure", "maintain", "secure"} // that selectors name; monitor stands for those that they do not
)

// universe is every resource that the selectors of these tests can tell apart: each value, and another one or none.
func universe() []Resource {
	var out []Resource
	for _, s := range someServices {
		for _, a := range someArchs {
			for _, c := range someContracts {
				for _, cloud := range []string{"", "north"} {
					for _, region := range []string{"other", "r1"} {
						for _, domain := range []asset.DomainID{"", "d1", "d2"} {
							for _, project := range []asset.ProjectID{"other", "p1", "p2"} {
								for _, tags := range [][]string{nil, {"t1"}, {"t2"}, {"t3"}, {"t1", "t2"}, {"t3", "t1"}, {"t2", "t3"}, {"t3", "t4", "t1", "t2"}} {
									out = append(out, Resource{Service: s, Architecture: a, Contract: c, Cloud: cloud, Region: region, Domain: domain, Project: project, Tags: tags})
								}
							}
						}
					}
				}
			}
		}
	}
	return out
}

func drawSelector(t *rapid.T, label string) Selector {
	pick := func(name string, weight int, of ...string) string {
		if rapid.IntRange(0, weight).Draw(t, label+name+"?") != 0 {
			return ""
		}
		return rapid.SampledFrom(of).Draw(t, label+name)
	}
	s := Selector{Service: pick("service", 2, someServices...), Architecture: pick("architecture", 2, someArchs...), Contract: pick("contract", 2, someContracts...),
		Cloud: pick("cloud", 4, "north"), Region: pick("region", 5, "r1"), Domain: asset.DomainID(pick("domain", 5, "d1", "d2")), Project: asset.ProjectID(pick("project", 4, "p1", "p2"))}
	for _, tag := range []string{"t1", "t2"} {
		if rapid.IntRange(0, 4).Draw(t, label+tag) == 0 {
			s.Tags = append(s.Tags, tag)
		}
	}
	return s
}

// drawModel draws a model in which one layer is decided in some way, or is not.
func drawModel(t *rapid.T) *Model {
	m := &Model{ID: "drawn", Version: 1, Title: "A drawn model", Documents: []Document{{ID: "doc", Title: "A document"}}, ServiceTypes: someServices, Architectures: someArchs, ContractTypes: someContracts,
		Parties: []Organisation{{ID: "us", Role: RoleProvider, Name: "The provider"}, {ID: "them", Role: RoleCustomer, Name: "The customer"}, {ID: "cert", Role: RoleThirdParty, Name: "A CERT"}}}
	d := Duty{ID: "all", Title: "all", Holder: "us", Strength: Shall, Source: Source{"doc", "1"}, Layer: Layers[0], Also: slices.Clone(Layers[1:]), Aspects: []Aspect{"govern"}, Evidence: None}
	m.Duties = []Duty{d}
	for _, l := range Layers {
		if l != "application" {
			m.Assignments = append(m.Assignments, Assignment{ID: "of-" + string(l), Layer: l, Ownership: CSPOwned, Duty: "all", Reason: "r"})
		}
	}
	m.Assignments = append(m.Assignments, Assignment{ID: "govern", Layer: "application", Aspects: []Aspect{"govern"}, Ownership: CSPOwned, Duty: "all", Reason: "r"})
	for i := range rapid.IntRange(1, 7).Draw(t, "assignments") {
		label := fmt.Sprintf("a%d ", i)
		a := Assignment{ID: fmt.Sprintf("a%d", i), Layer: "application", Ownership: rapid.SampledFrom(Ownerships).Draw(t, label+"ownership"), Duty: "all", Reason: "r"}
		if i > 0 || rapid.IntRange(0, 9).Draw(t, "hole?") == 0 {
			a.When = drawSelector(t, label)
			for _, x := range someAspects {
				if rapid.IntRange(0, 3).Draw(t, label+string(x)) == 0 {
					a.Aspects = append(a.Aspects, x)
				}
			}
		}
		if a.Ownership.outsourced() {
			a.ThirdParty = "cert"
		}
		if a.Ownership == SharedCSPCSC {
			a.Provider, a.Customer = "one part", "the other part"
		}
		m.Assignments = append(m.Assignments, a)
	}
	return m
}

// undecidedly finds a resource about which the rule gives no answer or two.
func undecidedly(m *Model, all []Resource) (string, bool) {
	for _, r := range all {
		for _, x := range append(someAspects, "monitor") {
			if n := len(simply(m.Assignments, "application", x, r)); n != 1 {
				return fmt.Sprintf("%d answers to %s for %+v", n, x, r), true
			}
		}
	}
	return "", false
}

// A model loads if, and only if, every question has exactly one answer for every resource that selectors can tell apart; and
// then the model gives that answer, whatever the order of its assignments.
func TestAModelLoadsWhenEveryQuestionHasOneAnswer(t *testing.T) {
	all := universe()
	var loaded, holes, ties int
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		why, open := undecidedly(m, all)
		w := m.wrong()
		switch {
		case w == nil && open:
			t.Fatalf("it loads, and there is %s", why)
		case w == nil:
			loaded++
		case strings.Contains(w.fault.Message, "nobody holds"):
			holes++
		case strings.Contains(w.fault.Message, "both hold"):
			ties++
		default:
			t.Fatalf("refused for another reason: %v", w.fault)
		}
		if w != nil {
			if !open {
				t.Fatalf("refused, and every question has one answer: %v", w.fault)
			}
			return
		}
		n := *m
		n.Assignments = slices.Clone(m.Assignments)
		rand.New(rand.NewSource(int64(rapid.Uint32().Draw(t, "order")))).Shuffle(len(n.Assignments), func(i, j int) {
			n.Assignments[i], n.Assignments[j] = n.Assignments[j], n.Assignments[i]
		})
		if w := n.wrong(); w != nil {
			t.Fatalf("in another order it is refused: %v", w.fault)
		}
		for _, r := range all {
			for _, x := range append(someAspects, "monitor") {
				want := simply(m.Assignments, "application", x, r)[0]
				for _, got := range []Resolution{m.Resolve("application", x, r), n.Resolve("application", x, r)} {
					if got.Assignment != want.ID || got.Ownership != want.Ownership || got.Party != want.Ownership.Party() {
						t.Fatalf("%s for %+v: %s, want %s", x, r, got.Assignment, want.ID)
					}
				}
			}
		}
	})
	t.Logf("%d loaded, %d holes, %d ties", loaded, holes, ties)
	if loaded == 0 || holes+ties == 0 {
		t.Errorf("%d loaded, %d had a hole, %d tied: the draw tries only some", loaded, holes, ties)
	}
}

// What a model must say where selectors meet, case by case; the rule itself, asked about every resource, must agree.
func TestWhereSelectorsMeetAThirdMustDecide(t *testing.T) {
	all := universe()
	tags := func(ts ...string) Selector { return Selector{Tags: ts} }
	north := func(s Selector) Selector { s.Cloud = "north"; return s }
	vm, standard := north(Selector{Architecture: "vm"}), north(Selector{Contract: "standard"})
	for name, c := range map[string]struct {
		when []Selector
		tied bool
	}{
		"two tags":                          {[]Selector{tags("t1"), tags("t2")}, true},
		"two tags and both":                 {[]Selector{tags("t1"), tags("t2"), tags("t1", "t2")}, false},
		"the third pair":                    {[]Selector{tags("t1"), tags("t2"), tags("t3"), tags("t1", "t2"), tags("t1", "t3"), tags("t1", "t2", "t3")}, true},
		"three pairs":                       {[]Selector{tags("t1"), tags("t2"), tags("t3"), tags("t1", "t2"), tags("t1", "t3"), tags("t2", "t3"), tags("t1", "t2", "t3")}, false},
		"three pairs and no third":          {[]Selector{tags("t1"), tags("t2"), tags("t3"), tags("t1", "t2"), tags("t1", "t3"), tags("t2", "t3")}, true},
		"two domains":                       {[]Selector{{Domain: "d1"}, {Domain: "d2"}}, false},
		"one domain twice":                  {[]Selector{{Domain: "d1"}, {Domain: "d1"}}, true},
		"two projects with tags":            {[]Selector{{Project: "p1", Tags: []string{"t1"}}, {Project: "p2", Tags: []string{"t2"}}}, false},
		"one project with tags":             {[]Selector{{Project: "p1", Tags: []string{"t1"}}, {Project: "p1", Tags: []string{"t2"}}}, true},
		"both tags in another place":        {[]Selector{tags("t1"), tags("t2"), {Domain: "d1", Tags: []string{"t1", "t2"}}}, true},
		"both tags in some kinds":           {[]Selector{tags("t1"), tags("t2"), {Service: "iaas", Tags: []string{"t1", "t2"}}}, true},
		"both tags in every kind":           {[]Selector{tags("t1"), tags("t2"), {Service: "iaas", Tags: []string{"t1", "t2"}}, {Service: "paas", Tags: []string{"t1", "t2"}}}, false},
		"kinds in a cloud":                  {[]Selector{vm, standard}, true},
		"kinds in a cloud and both":         {[]Selector{vm, standard, north(Selector{Architecture: "vm", Contract: "standard"})}, false},
		"kinds in a cloud, by each service": {[]Selector{vm, standard, north(Selector{Service: "iaas", Architecture: "vm", Contract: "standard"}), north(Selector{Service: "paas", Architecture: "vm", Contract: "standard"})}, false},
		"kinds in a cloud, by one service":  {[]Selector{vm, standard, north(Selector{Service: "iaas", Architecture: "vm", Contract: "standard"})}, true},
		"cloud and region":                  {[]Selector{{Cloud: "north"}, {Region: "r1"}}, false},
		"the same tags in another order":    {[]Selector{tags("t1", "t2"), tags("t2", "t1")}, true},
	} {
		m := *model(t)
		m.Assignments = slices.DeleteFunc(slices.Clone(m.Assignments), func(a Assignment) bool { return a.Layer == "application" })
		for i, w := range append(c.when, Selector{}) {
			m.Assignments = append(m.Assignments, Assignment{ID: fmt.Sprintf("a%d", i), Layer: "application", When: w, Ownership: NotApplicable, Reason: "r"})
		}
		m.compile()
		_, open := undecidedly(&m, all)
		if w := m.undecided(); (w != nil) != c.tied || open != c.tied {
			t.Errorf("%s: tied %t, and %t by the rule, want %t", name, w != nil, open, c.tied)
		}
	}
}

// For every duty, layer, aspect, resource and time there is exactly one ownership, and it is what the rules give.
func TestEveryQuestionOfADutyHasOneOwnership(t *testing.T) {
	all := universe()
	var narrow, shared int
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		if m.wrong() != nil {
			return
		}
		for i := range rapid.IntRange(1, 4).Draw(t, "duties") {
			d := Duty{ID: fmt.Sprintf("D-%d", i), Title: "t", Strength: May, Source: Source{"doc", "2"}, Layer: "application", Also: []Layer{"data"}, Aspects: someAspects, Evidence: None,
				When: drawSelector(t, fmt.Sprintf("d%d ", i))}
			for _, d.Holder = range []string{"us", "them", "shared", "cert"} { // the first that the assignments bear out
				n := *m
				n.Duties = append(slices.Clone(m.Duties), d)
				if n.wrong() == nil {
					m = &n
					break
				}
			}
		}
		for _, r := range all {
			type question struct {
				duty string
				l    Layer
				x    Aspect
			}
			seen := map[question]bool{}
			m.Holdings(&r, func(h Holding) {
				q := question{h.Duty.ID, h.Layer, h.Aspect}
				if seen[q] {
					t.Fatalf("%v is answered twice", q)
				}
				seen[q] = true
				want := NotApplicable
				if simplyMatches(h.Duty.When, r) {
					want = simply(m.Assignments, h.Layer, h.Aspect, r)[0].Ownership
				} else if len(h.Duty.When.Tags) > 0 {
					narrow++
				}
				if h.Ownership != want {
					t.Fatalf("%v for %+v is %s, want %s", q, r, h.Ownership, want)
				}
				if want == SharedCSPCSC {
					shared++
				}
			})
			if len(seen) != m.Questions() {
				t.Fatalf("%d of %d questions are answered", len(seen), m.Questions())
			}
		}
	})
	if narrow == 0 || shared == 0 {
		t.Errorf("%d answers for a narrow duty, %d shared: the draw tries only some", narrow, shared)
	}
}

// drawScope draws whose resources something is about.
func drawScope(t *rapid.T, label string) Scope {
	var s Scope
	for _, id := range []string{"1", "2"} {
		if rapid.Bool().Draw(t, label+"s"+id) {
			s.Servers = append(s.Servers, asset.ServerID("s"+id))
		}
		if rapid.Bool().Draw(t, label+"p"+id) {
			s.Projects = append(s.Projects, asset.ProjectID("p"+id))
		}
	}
	if s.empty() {
		s.Domains = []asset.DomainID{"d1"}
	}
	return s
}

// A contract covers its scope from its first instant until the one that it does not cover any more; a nearer scope comes first;
// two of one scope that stand at the same time are refused.
func TestContractsCoverWhatTheySayWhenTheySay(t *testing.T) {
	base := model(t)
	var loaded, refused int
	rapid.Check(t, func(t *rapid.T) {
		var cs []Contract
		for i := range rapid.IntRange(1, 4).Draw(t, "contracts") {
			c := Contract{ID: fmt.Sprintf("c%d", i), Type: rapid.SampledFrom(someContracts).Draw(t, "type"), From: Instant(rapid.IntRange(0, 8).Draw(t, "from")), Scope: drawScope(t, fmt.Sprintf("c%d ", i))}
			if rapid.Bool().Draw(t, "ends") {
				c.To = c.From + Instant(rapid.IntRange(1, 4).Draw(t, "for"))
			}
			cs = append(cs, c)
		}
		overlap := false
		for i := range cs {
			for j := range i {
				for _, k := range cs[i].keys() {
					for at := int64(0); at < 20 && slices.Contains(cs[j].keys(), k); at++ {
						overlap = overlap || simplyStands(cs[i], at) && simplyStands(cs[j], at)
					}
				}
			}
		}
		m, err := base.With(cs, nil, nowhere)
		if overlap != (err != nil) {
			t.Fatalf("overlap %t, and %v", overlap, err)
		}
		if err != nil {
			if m != nil || !strings.Contains(err.Error(), "both cover") {
				t.Fatalf("got %v and %v", m, err)
			}
			refused++
			return
		}
		loaded++
		for at := int64(0); at < 14; at++ {
			coveredSimply(t, m, cs, at)
			changesSimply(t, m, cs, at)
		}
	})
	if loaded == 0 || refused == 0 {
		t.Errorf("%d loaded, %d refused: the draw tries only some", loaded, refused)
	}
}

// coveredSimply holds who is covered at a time against the contracts, one by one.
func coveredSimply(t *rapid.T, m *Model, cs []Contract, at int64) {
	for _, r := range []Resource{{Server: "s1", Project: "p1", Domain: "d1"}, {Server: "s2", Project: "p1", Domain: "d2"}, {Server: "s3", Project: "p2", Domain: "d1"}, {Project: "p3", Domain: "d1"}, {}} {
		want := ""
		for _, k := range levels(&r) {
			for _, c := range cs {
				if want == "" && slices.Contains(c.keys(), k) && simplyStands(c, at) {
					want = c.ID
				}
			}
		}
		if got := m.Describe(r, at); got.ContractID != want {
			t.Fatalf("%+v at %d under %q, want %q of %+v", r, at, got.ContractID, want, cs)
		}
	}
}

// changesSimply holds the next change after a time against the contracts, one by one.
func changesSimply(t *rapid.T, m *Model, cs []Contract, at int64) {
	next, ok := m.NextChange(at)
	changes := false
	for _, c := range cs {
		for _, x := range []int64{int64(c.From), int64(c.To)} {
			changes = changes || x > at
			if x > at && (!ok || next > x) {
				t.Fatalf("after %d the next change is at %d, %t, and %s changes at %d", at, next, ok, c.ID, x)
			}
		}
	}
	if ok != changes {
		t.Fatalf("after %d there is a change: %t", at, ok)
	}
}

func simplyStands(c Contract, at int64) bool {
	return int64(c.From) <= at && (c.To == 0 || at < int64(c.To))
}

// drawText draws a text that may stand in a model.
func drawText(t *rapid.T, label string) string {
	return rapid.StringOfN(rapid.RuneFrom([]rune(`abz09 ,;:"'#\{}[]&*!%<>~?é€漢😀`)), 1, 20, -1).Filter(func(s string) bool { return isText("", "", s) == nil }).Draw(t, label)
}

// Whatever a model's texts are, it is the same in every format.
func TestADrawnModelIsTheSameInEveryFormat(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		m.Title, m.Documents[0].Title, m.Documents[0].Publisher = drawText(t, "title"), drawText(t, "document"), drawText(t, "publisher")
		m.Duties[0].Observable, m.Duties[0].Source.Section = drawText(t, "observable"), drawText(t, "section")
		m.Duties[0].Frameworks = map[string][]string{"f1": {"AC-2(1)", "null"}, "f.2": {"1"}}
		m.Table = []Area{{Area: "row", Title: drawText(t, "row"), Group: "true", Ownership: map[string]Ownership{"iaas": CSPOwned, "paas": NotApplicable}}}
		m.Conflicts = []Conflict{{ID: "C1", What: drawText(t, "what"), Resolution: "no", Duties: []string{"all"}, Open: rapid.Bool().Draw(t, "open")}}
		m.Contracts = []Contract{{ID: "c1", Type: "extended", Party: drawText(t, "party"), From: Instant(rapid.Int64Range(1<<50, 1<<51).Draw(t, "from")), Scope: Scope{Projects: []asset.ProjectID{"null", "1e3"}}}}
		m.Offerings = []Offering{{ID: "o1", Service: "paas", Architecture: "vm", Scope: drawScope(t, "o")}}
		m.Parties[0].Contacts.Abuse = "abuse@example.org"
		if m.wrong() != nil {
			return
		}
		for name, text := range written(t, m) {
			got, err := Parse(name, text)
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, text)
			}
			if a, b := spoken(m), spoken(got); !reflect.DeepEqual(a, b) {
				t.Fatalf("%s says something else:\n%+v\n%+v\n%s", name, a, b, text)
			}
			if d := Compare(m, got, 0, nil); !d.None() {
				t.Fatalf("%s: %+v", name, d)
			}
		}
	})
}
