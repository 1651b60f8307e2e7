package duty

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"demarc/internal/asset"
	"demarc/internal/fault"
)

// covered is the default model with contracts and offerings for some of a thousand projects.
func covered(t testing.TB) *Model {
	t.Helper()
	m, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	var cs []Contract
	var os []Offering
	for i := range 200 {
		p := asset.ProjectID(fmt.Sprintf("p-%d", i))
		cs = append(cs, Contract{ID: fmt.Sprintf("c-%d", i), Type: "extended", From: 10, To: 20, Scope: Scope{Projects: []asset.ProjectID{p}}},
			Contract{ID: fmt.Sprintf("d-%d", i), Type: "extended", From: 20, Renews: fmt.Sprintf("c-%d", i)})
		if i%2 == 0 {
			os = append(os, Offering{ID: fmt.Sprintf("o-%d", i), Service: "paas", Architecture: m.Architectures[i/2%2], Scope: Scope{Projects: []asset.ProjectID{p}}})
		}
	}
	m, err = m.With(cs, os, nowhere)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// machines are resources as an inventory gives them.
func machines(n int) []Resource {
	out := make([]Resource, n)
	for i := range out {
		out[i] = Resource{Cloud: "lab", Region: "RegionOne", Domain: asset.DomainID(fmt.Sprintf("d-%d", i%10)), Project: asset.ProjectID(fmt.Sprintf("p-%d", i%1000)), Server: asset.ServerID(fmt.Sprintf("s-%d", i)),
			Tags: []string{"teaching"}}
	}
	return out
}

func TestToResolveAllocatesNothing(t *testing.T) {
	m, rs := covered(t), machines(2000)
	answered := map[Ownership]int{}
	for _, o := range Ownerships {
		answered[o] = 0
	}
	count := func(h Holding) { answered[h.Ownership]++ }
	i := 0
	if n := testing.AllocsPerRun(len(rs)-1, func() {
		r := m.Describe(rs[i], 15)
		m.Holdings(&r, count)
		i++
	}); n != 0 {
		t.Errorf("%.2f allocations for a resource", n)
	}
	if answered[CSPOwned] == 0 || answered[SharedCSPCSC] == 0 || answered[NotApplicable] == 0 {
		t.Errorf("answered: %v", answered)
	}
}

// The whole of it for one resource and all its questions; a million of them are make bench.
func BenchmarkResource(b *testing.B) {
	m, rs := covered(b), machines(10_000)
	n := 0
	count := func(Holding) { n++ }
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		r := m.Describe(rs[i%len(rs)], 15)
		m.Holdings(&r, count)
	}
	b.ReportMetric(float64(n)/float64(b.N), "questions/op")
}

func BenchmarkAMillionResources(b *testing.B) {
	m, rs := covered(b), machines(1_000_000)
	n := 0
	count := func(Holding) { n++ }
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		for i := range rs {
			r := m.Describe(rs[i], 15)
			m.Holdings(&r, count)
		}
	}
}

// What is small enough to be read and made to keep us busy is refused soon, and nothing of it is loaded.
func TestHostileModelsAreRefusedSoon(t *testing.T) {
	good := string(defaultModel)
	many := func(n int, line func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(line(i))
		}
		return b.String()
	}
	small := "id: x\nversion: 1\ntitle: x\nservice_types: [iaas]\narchitectures: [vm]\ncontract_types: [standard, extended]\ndocuments: [{id: d, title: t}]\n" +
		"parties: [{id: p, role: provider, name: P}, {id: c, role: customer, name: C}]\n"
	bomb := "x0: &x0 [y, y, y, y, y, y, y, y]\n" + many(9, func(i int) string {
		return fmt.Sprintf("x%d: &x%d [%s*x%d]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*x%d, ", i), 7), i)
	})
	for name, c := range map[string]struct{ file, text, want string }{
		"aliases":        {"m.yaml", bomb + good, "unknown field"},
		"aliases inside": {"m.yaml", strings.Replace(good, "duties:\n", "duties:\n  - &d {id: S0-00, title: &t [a, a]}\n  - *d\n", 1), "m.yaml"},
		"depth":          {"m.yaml", "id: " + strings.Repeat("[", 1_000_000), "nested too deep"},
		"depth JSON":     {"m.json", strings.Repeat(`{"id":`, 300_000), "nested too deep"},
		"NUL":            {"m.yaml", strings.Replace(good, "title: client", "title: \"\\0client", 1), "m.yaml"},
		"huge number":    {"m.yaml", strings.Replace(good, "version: 3", "version: 99999999999999999999999999", 1), "m.yaml"},
		"float":          {"m.yaml", strings.Replace(good, "version: 3", "version: 1e3000", 1), "m.yaml"},
		"same key":       {"m.yaml", strings.Replace(good, "version: 3", "version: 3\nversion: 3", 1), "m.yaml"},
		"null":           {"m.yaml", "null", "null was used"},
		"nothing":        {"m.yaml", "", "is no id"},
		"two documents":  {"m.yaml", "id: x\n---\nid: y\n", "m.yaml"},
		"kinds": {"m.yaml", strings.Replace(strings.Replace(strings.Replace(good, "[iaas, paas]", "[iaas, paas, s3, s4, s5]", 1), "[vm, container]", "[vm, container, a3, a4]", 1), "[standard, extended]", "[standard, extended, c3, c4]", 1),
			"m.yaml"},
		"questions": {"m.yaml", small + "duties:\n" + many(5000, func(i int) string {
			return fmt.Sprintf("  - {id: D%d, title: t, holder: p, strength: may, source: {document: d, section: s}, layer: data, aspects: [secure, configure, maintain, monitor, govern], evidence: none}\n", i)
		}), "questions"},
		"ties": {"m.yaml", small + "duties:\n  - {id: D, title: t, holder: p, strength: may, source: {document: d, section: s}, layer: physical, aspects: [secure], evidence: none}\nassignments:\n" +
			"  - {id: all, layer: physical, ownership: csp-owned, duty: D, reason: r}\n" +
			many(1900, func(i int) string {
				return fmt.Sprintf("  - {id: a%d, layer: physical, when: {tags: [t%d]}, ownership: csp-owned, duty: D, reason: r}\n", i, i)
			}), "both hold physical"},
		"circle": {"m.yaml", good + "contracts:\n" + many(20_000, func(i int) string {
			return fmt.Sprintf("  - {id: c%d, type: extended, renews: c%d}\n", i, (i+1)%20_000)
		}), "in a circle"},
		"overlap": {"m.yaml", good + "contracts:\n" + many(20_000, func(i int) string {
			return fmt.Sprintf("  - {id: c%d, type: extended, projects: [p], from: 2026-01-01}\n", i)
		}), "both cover project p"},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			m, err := Parse(c.file, []byte(c.text))
			f, ok := fault.Of(err)
			if !ok || m != nil || f.Code != fault.Config || f.At.File != c.file || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v and %v, want %q", m != nil, err, c.want)
			}
			if took := time.Since(began); took > time.Minute { // hundreds of times what it takes
				t.Errorf("it took %s", took)
			}
		})
	}
}

// intricate is the default model with more types of contract and further assignments to devices.
func intricate(t *testing.T, types int, lines ...string) *Model {
	t.Helper()
	var more strings.Builder
	for i := range types {
		fmt.Fprintf(&more, ", t%d", i)
	}
	text := strings.Replace(string(defaultModel), "[standard, extended]", "[standard, extended"+more.String()+"]", 1)
	m, _, err := read("m.yaml", []byte(strings.Replace(text, "\nassignments:\n", "\nassignments:\n"+strings.Join(lines, "\n")+"\n", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if w := first(m.wrongHead(), m.wrongAssignments(), m.tooMuch()); w != nil {
		t.Fatal(w.fault)
	}
	return m
}

// What is proven about selectors is proven in few steps, and what would take too many is refused. A step is the same on any machine.
func TestSelectorsThatMeetAreProvenInFewSteps(t *testing.T) {
	every := "aspects: [provide-capability, secure-default, configure, maintain, secure, monitor, respond, govern]"
	line := func(id, rest string) string {
		return fmt.Sprintf("  - {id: %s, layer: devices, %s, ownership: csc-owned, duty: S0-35, reason: none}", id, rest)
	}
	many := func(n int, like func(i int) string) []string {
		var out []string
		for i := range n {
			out = append(out, like(i))
		}
		return out
	}
	tagged := func(n int) []string {
		return many(n, func(i int) string {
			return line(fmt.Sprintf("t%d", i), fmt.Sprintf("when: {cloud: C, tags: [g%d]}", i))
		})
	}
	all := line("all", every+", when: {cloud: C}")
	elsewhere := many(900, func(i int) string {
		return line(fmt.Sprintf("p%d", i), fmt.Sprintf("%s, when: {project: p%d}", every, i))
	})
	// each differs from each other in a digit; two digits of one place are covered, each two by one of a rank of its own
	fixed := []string{"project: P", "domain: D", "region: R", "cloud: C"}
	digits := many(486, func(i int) string {
		return line(fmt.Sprintf("d%d", i), fmt.Sprintf("when: {%s, tags: [a%d, b%d, c%d, d%d, e%d, f%d]}", strings.Join(fixed, ", "), i%3, i/3%3, i/9%3, i/27%3, i/81%3, i/243))
	})
	for i := range 16 {
		when, at := "", "abcdef"[i/3]
		for bit, f := range fixed {
			if i>>bit&1 == 1 {
				when += f + ", "
			}
		}
		digits = append(digits, line(fmt.Sprintf("x%d", i), fmt.Sprintf("%s, when: {%stags: [%c%d, %c%d]}", every, when, at, i%3, at, (i+1)%3)))
	}
	// the same, with another assignment for each aspect and each kind, so that no proof serves for two
	apart := many(len(Aspects), func(i int) string {
		return line(fmt.Sprintf("l%d", i), fmt.Sprintf("aspects: [%s], when: {cloud: L}", Aspects[i]))
	})
	for i := range 56 {
		apart = append(apart, line(fmt.Sprintf("k%d", i), fmt.Sprintf("when: {service: %s, architecture: %s, contract: t%d, cloud: K}", []string{"iaas", "paas"}[i%2], []string{"vm", "container"}[i/2%2], i/4)))
	}
	for name, c := range map[string]struct {
		types, most int
		lines       []string
		want        string
	}{
		"all are covered at once":      {14, 10_000, append(tagged(900), all), ""},
		"others cover nothing":         {14, 10_000, append(append(slices.Clone(elsewhere), all), tagged(900)...), ""},
		"each in a project of its own": {14, 10_000, append(slices.Clone(elsewhere), many(900, func(i int) string { return line(fmt.Sprintf("q%d", i), fmt.Sprintf("when: {project: p%d}", i)) })...), ""},
		"a tie":                        {14, 10_000, append(slices.Clone(elsewhere), tagged(900)...), "both hold devices"},
		"few that differ":              {14, 10_000_000, digits, ""},
		"too many ways":                {14, mostSteps + 1, append(slices.Clone(digits), apart...), "too many ways"},
	} {
		t.Run(name, func(t *testing.T) {
			m := intricate(t, c.types, c.lines...)
			p := m.newProof()
			w := p.undecided(m)
			if (w == nil) != (c.want == "") || w != nil && !strings.Contains(w.fault.Message, c.want) {
				t.Fatalf("got %v, want %q", w, c.want)
			}
			if took := mostSteps - p.left; took > c.most {
				t.Errorf("it took %d steps", took)
			}
		})
	}
}

// A chain of renewals is walked once, and what it would make of a large scope is bounded.
func TestRenewalsAreFollowedOnce(t *testing.T) {
	base := model(t)
	chain := func(n, projects int) []Contract {
		cs := []Contract{{ID: "c0", Type: "extended", To: 1}}
		for i := range projects {
			cs[0].Projects = append(cs[0].Projects, asset.ProjectID(fmt.Sprint(i)))
		}
		for i := 1; i < n; i++ {
			cs = append(cs, Contract{ID: fmt.Sprintf("c%d", i), Type: "extended", From: Instant(i), To: Instant(i + 1), Renews: fmt.Sprintf("c%d", i-1)})
		}
		slices.Reverse(cs)
		return cs
	}
	m, err := base.With(chain(mostContracts, 2), nil, nowhere)
	if err != nil {
		t.Fatal(err)
	}
	if r := m.Describe(Resource{Project: "1"}, mostContracts-1); r.ContractID != fmt.Sprintf("c%d", mostContracts-1) {
		t.Errorf("covered by %q", r.ContractID)
	}
	if _, err := base.With(chain(mostContracts, 11), nil, nowhere); err == nil || !strings.Contains(err.Error(), "counting them again for each renewal") {
		t.Errorf("got %v", err)
	}
}

// Duties are held against assignments in bounded steps too.
func TestDutiesOfManyPlacesAreHeldAgainstAssignmentsInBoundedSteps(t *testing.T) {
	m := *model(t)
	m.Assignments, m.Duties = slices.Clone(m.Assignments), slices.Clone(m.Duties)
	for i := range 1900 {
		m.Assignments = append(m.Assignments, Assignment{ID: fmt.Sprintf("a%d", i), Layer: "devices", When: Selector{Project: asset.ProjectID(fmt.Sprintf("p%d", i))}, Ownership: CSCOwned, Duty: "S0-35", Reason: "r"})
	}
	for i := range 500 {
		m.Duties = append(m.Duties, Duty{ID: fmt.Sprintf("D%d", i), Title: "t", Holder: "customer", Strength: May, Source: m.Duties[0].Source, Layer: "devices", Aspects: Aspects, Evidence: None})
	}
	if w := m.wrong(); w != nil { // they speak of everything, and one answer is the same for all of them
		t.Fatal(w.fault)
	}
	for i := range m.Duties[len(m.Duties)-500:] {
		m.Duties[len(m.Duties)-1-i].When.Domain = asset.DomainID(fmt.Sprintf("d%d", i))
	}
	if w := m.wrong(); w == nil || !strings.Contains(w.fault.Message, "too many duties") {
		t.Errorf("got %v", w)
	}
}

// Contracts that contradict themselves or each other are refused, and nothing of them is used.
func TestWrongContractsAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ lines, want, at string }{
		"end before start":   {"  - {id: c, type: extended, projects: [p], from: 2026-02-01, to: 2026-01-01}", "ends before it starts", ":2:"},
		"end at start":       {"  - {id: c, type: extended, projects: [p], from: 2026-02-01, to: 2026-02-01}", "ends before it starts", ":2:"},
		"overlap":            {"  - {id: c, type: extended, projects: [p], from: 2026-02-01}\n  - {id: d, type: standard, projects: [q, p], from: 2027-02-01}", "c and d both cover project p", ":3:"},
		"one instant":        {"  - {id: c, type: extended, projects: [p], to: 2026-02-01T00:00:00.000001Z}\n  - {id: d, type: standard, projects: [p], from: 2026-02-01}", "both cover", ":3:"},
		"circle":             {"  - {id: c, type: extended, renews: d, from: 2026-02-01}\n  - {id: d, type: extended, renews: c, from: 2027-02-01}", "in a circle: c, which renews d, which renews c", ":3:"},
		"itself":             {"  - {id: c, type: extended, projects: [p], renews: c}", "in a circle", ":2:"},
		"unknown contract":   {"  - {id: c, type: extended, projects: [p], renews: x}", `renews "x", which there is not`, ":2:"},
		"earlier":            {"  - {id: c, type: extended, projects: [p], from: 2026-01-01, to: 2026-02-01}\n  - {id: d, type: extended, renews: c, from: 2025-01-01, to: 2025-02-01}", "does not begin earlier", ":3:"},
		"unknown type":       {"  - {id: c, type: gold, projects: [p]}", `unknown contract type "gold"`, ":2:"},
		"used twice":         {"  - {id: c, type: extended, projects: [p]}\n  - {id: c, type: extended, projects: [q]}", "used twice", ":3:"},
		"nothing covered":    {"  - {id: c, type: extended}", "covers nothing", ":2:"},
		"no time":            {"  - {id: c, type: extended, projects: [p], from: soon}", "is not a time", ":2:"},
		"a time too early":   {"  - {id: c, type: extended, projects: [p], to: 1970-01-01}", "out of range", ":2:"},
		"a formula in an id": {"  - {id: c, type: extended, projects: [\"=p\"]}", "formula", ":2:"},
	} {
		t.Run(name, func(t *testing.T) {
			text := "contracts:\n" + c.lines + "\n" + string(defaultModel)
			m, err := Parse("m.yaml", []byte(text))
			if err == nil || m != nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "m.yaml"+c.at) {
				t.Errorf("got %v, want %q at %s", err, c.want, c.at)
			}
		})
	}
	// one that ends when the next begins does not overlap it
	text := "contracts:\n  - {id: c, type: extended, projects: [p], to: 2026-02-01}\n  - {id: d, type: standard, projects: [p], from: 2026-02-01}\n" + string(defaultModel)
	if _, err := Parse("m.yaml", []byte(text)); err != nil {
		t.Error(err)
	}
}
