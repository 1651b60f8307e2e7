package duty

import (
	"iter"
	"reflect"
	"slices"
	"strings"

	"demarc/internal/asset"
)

// Difference is what two models say differently.
type Difference struct {
	Changes   []Change `json:"changes"`   // of who holds what
	Edits     []Edit   `json:"edits"`     // of what the models are made of
	Resources *int     `json:"resources"` // of the inventory: for how many somebody else holds something; nil without one
}

// Change is that a layer's aspects pass from one ownership to another, for some resources.
type Change struct {
	Layer          Layer     `json:"layer"`
	Aspects        []Aspect  `json:"aspects"`
	Kinds          []string  `json:"kinds"`           // of resources; "iaas vm standard > iaas vm extended" where that changes too
	Where          string    `json:"where,omitempty"` // narrower than kinds: the selector, or the scope of a contract or offering; or what no scope names
	From           Ownership `json:"from"`
	To             Ownership `json:"to"`
	Gains          []string  `json:"gains"` // parties
	Loses          []string  `json:"loses"`
	FromAssignment string    `json:"from_assignment"`
	ToAssignment   string    `json:"to_assignment"`
	Duties         []string  `json:"duties"` // of either model
	Resources      *int      `json:"resources"`

	when Selector        // where the change is told for a selector
	key  scopeKey        // or for a scope
	last int             // the number of the group that was counted last
	told map[string]bool // its duties
}

// Edit is an entry that only one model has, or that says something else.
type Edit struct {
	Record string      `json:"record"` // duty, assignment, …
	ID     string      `json:"id"`
	What   string      `json:"what"` // added, removed, changed
	Fields []FieldEdit `json:"fields,omitempty"`
}

// FieldEdit is a field of an entry that says something else.
type FieldEdit struct {
	Name string `json:"name"`
	From string `json:"from"`
	To   string `json:"to"`
}

// None tells whether the models say the same.
func (d *Difference) None() bool { return len(d.Changes)+len(d.Edits) == 0 }

// changeKey is what makes two changes one line.
type changeKey struct {
	layer    Layer
	where    string
	from, to *Assignment
}

// comparison is the work of comparing two models at a time.
type comparison struct {
	a, b    *Model
	at      int64
	changes []*Change
	lines   map[changeKey]*Change
	broad   map[changeKey][]*Change              // those that are told for no scope, by what they say
	finders [2]finder                            // of a and b
	plain   map[[2]string]map[int][2]*Assignment // by kinds and slot, what decides where nothing narrower is said
	rest    map[int][2]*Assignment               // the same for what no scope names, where that is of another kind
}

// Rest is where a change is told that concerns what no contract and no offering names.
const Rest = "everything else"

// Compare tells who gains and loses which aspects of which layers from model a to model b, under the contracts that stand at a
// time. Asked are every kind of resource that both models know, every selector and every scope that one of them names, and what
// none names; with an inventory every resource of it, and each change says for how many.
func Compare(a, b *Model, at int64, inventory iter.Seq[Resource]) Difference {
	c := &comparison{a: a, b: b, at: at, lines: map[changeKey]*Change{}, broad: map[changeKey][]*Change{}, finders: [2]finder{newFinder(a), newFinder(b)}, plain: map[[2]string]map[int][2]*Assignment{}}
	kinds, selectors := slices.DeleteFunc(a.Kinds(), func(k Resource) bool { return b.table(&k) == nil }), narrower(a, b)
	for _, k := range kinds {
		c.probe(k, k, Change{})
	}
	for _, w := range selectors {
		for _, k := range kinds {
			w.place(&k)
			c.probe(k, k, Change{Where: w.String(), when: w})
		}
	}
	c.askRest(selectors)
	for _, key := range scopesOf(a, b) {
		r := key.resource()
		c.probe(a.Describe(r, at), b.Describe(r, at), Change{Where: key.String(), key: key})
	}
	d := Difference{Changes: []Change{}, Edits: edits(a, b)}
	if inventory != nil {
		n := c.count(inventory)
		d.Resources = &n
	}
	for _, x := range c.changes {
		d.Changes = append(d.Changes, *x)
	}
	return d
}

// askRest asks about what no scope names, where the models make another kind of it: they differ in which types come first.
func (c *comparison) askRest(selectors []Selector) {
	ra, rb := c.a.Describe(Resource{}, c.at), c.b.Describe(Resource{}, c.at)
	kinds := [2]string{ra.words(), rb.words()}
	if kinds[0] == kinds[1] {
		return
	}
	c.probe(ra, rb, Change{Where: Rest})
	c.rest = c.answers(&ra, &rb)
	c.plain[kinds] = c.rest // a selector that has the same answer is not told again
	for _, w := range selectors {
		r := Resource{}
		w.place(&r)
		c.probe(c.a.Describe(r, c.at), c.b.Describe(r, c.at), Change{Where: w.String(), when: w})
	}
	delete(c.plain, kinds) // a scope is, for it is none of the rest
}

// words of a kind.
func (r *Resource) words() string { return r.Service + " " + r.Architecture + " " + r.Contract }

// narrower lists every selector of the models that tells apart more than kinds, without the kinds.
func narrower(models ...*Model) []Selector {
	var out []Selector
	seen := map[group]bool{}
	add := func(s Selector) {
		s.Service, s.Architecture, s.Contract = "", "", ""
		g := group{place: s.at(), tags: strings.Join(slices.Sorted(slices.Values(s.Tags)), " ")}
		if !s.general() && !seen[g] {
			seen[g] = true
			out = append(out, s)
		}
	}
	for _, m := range models {
		for i := range m.Assignments {
			add(m.Assignments[i].When)
		}
		for i := range m.Duties {
			add(m.Duties[i].When)
		}
	}
	return out
}

// scopesOf lists every server, project and domain that contracts and offerings of the models name.
func scopesOf(models ...*Model) []scopeKey {
	seen := map[scopeKey]bool{}
	var out []scopeKey
	for _, m := range models {
		scopes := m.scopes()
		for i := range m.Offerings {
			scopes = append(scopes, m.Offerings[i].Scope)
		}
		for _, s := range scopes {
			for _, k := range s.keys() {
				if !seen[k] {
					seen[k] = true
					out = append(out, k)
				}
			}
		}
	}
	return out
}

// resource is one that nothing but the key is known of.
func (k scopeKey) resource() Resource {
	switch k.level {
	case 's':
		return Resource{Server: asset.ServerID(k.id)}
	case 'p':
		return Resource{Project: asset.ProjectID(k.id)}
	}
	return Resource{Domain: asset.DomainID(k.id)}
}

// answers gives, by slot, what decides where the models give somebody else something.
func (c *comparison) answers(ra, rb *Resource) map[int][2]*Assignment {
	out := map[int][2]*Assignment{}
	for s := range c.a.choices {
		x, y := c.finders[0].decide(s, ra), c.finders[1].decide(s, rb)
		if x.Ownership != y.Ownership || x.ThirdParty != y.ThirdParty {
			out[s] = [2]*Assignment{x, y}
		}
	}
	return out
}

// finder finds what decides in a model whose selectors are many: by the place that they name.
type finder struct {
	*Model
	placed []map[place][]choice // for each slot, the most specific first
}

func newFinder(m *Model) finder {
	f := finder{m, make([]map[place][]choice, len(m.choices))}
	for s, cs := range m.choices {
		f.placed[s] = map[place][]choice{}
		for _, c := range cs {
			at := c.a.When.at()
			f.placed[s][at] = append(f.placed[s][at], c)
		}
	}
	return f
}

// few is how many choices are looked through one by one.
const few = 64

// decide is the model's own, and soon done for any number of selectors.
func (f finder) decide(s int, r *Resource) *Assignment {
	if t := f.table(r); t == nil || len(t.choices[s]) <= few {
		return f.Model.decide(s, r)
	}
	var best choice
	for _, at := range (place{r.Cloud, r.Region, r.Domain, r.Project}).wider() {
		for _, c := range f.placed[s][at] {
			if best.a != nil && c.rank <= best.rank {
				break
			}
			if c.a.When.matches(r) {
				best = c
				break
			}
		}
	}
	return best.a
}

// probe asks both models about one resource, and notes what is not told of its kind already.
func (c *comparison) probe(ra, rb Resource, like Change) {
	kinds := [2]string{ra.words(), rb.words()}
	got := c.answers(&ra, &rb)
	if like.Where == "" {
		c.plain[kinds] = got
	}
	for s := range c.a.choices {
		if p, ok := got[s]; ok && (like.Where == "" || c.plain[kinds][s] != p) {
			c.line(s, p, &ra, &rb, like)
		}
	}
}

// line is the change that an answer belongs to; it is begun where there is none.
func (c *comparison) line(s int, p [2]*Assignment, ra, rb *Resource, like Change) *Change {
	l, x := Layers[s/len(Aspects)], Aspects[s%len(Aspects)]
	key := changeKey{l, like.Where, p[0], p[1]}
	n := c.lines[key]
	if n == nil {
		n = &like
		n.Layer, n.From, n.To, n.FromAssignment, n.ToAssignment = l, p[0].Ownership, p[1].Ownership, p[0].ID, p[1].ID
		before, after := c.a.holders(p[0].Ownership, p[0].ThirdParty), c.b.holders(p[1].Ownership, p[1].ThirdParty)
		n.Gains, n.Loses, n.Duties, n.told = without(after, before), without(before, after), []string{}, map[string]bool{}
		c.lines[key] = n
		if like.key.id == "" {
			key.where = ""
			c.broad[key] = append(c.broad[key], n)
		}
		c.changes = append(c.changes, n)
	}
	n.Aspects, n.Kinds = with(n.Aspects, x), with(n.Kinds, kindsOf(ra, rb))
	for _, m := range []struct {
		*Model
		r *Resource
	}{{c.a, ra}, {c.b, rb}} {
		for _, q := range m.asks {
			if q.slot == s && !n.told[q.duty.ID] && q.duty.When.matches(m.r) {
				n.told[q.duty.ID] = true
				n.Duties = append(n.Duties, q.duty.ID)
			}
		}
	}
	return n
}

// kindsOf tells what a resource is in both models.
func kindsOf(ra, rb *Resource) string {
	kind := ra.words()
	if other := rb.words(); other != kind {
		kind += " > " + other
	}
	return kind
}

func with[T comparable](list []T, v T) []T {
	if slices.Contains(list, v) {
		return list
	}
	return append(list, v)
}

func without(list, those []string) []string {
	return slices.DeleteFunc(append([]string{}, list...), func(s string) bool { return slices.Contains(those, s) })
}

// group is what the models can tell resources apart by.
type group struct {
	place
	tags   string
	server asset.ServerID // where a scope names it
}

// count asks both models about every resource, equal ones at once, and counts those of each change and all.
func (c *comparison) count(inventory iter.Seq[Resource]) int {
	size, first := map[group]int{}, map[group]Resource{}
	var order []group
	for r := range inventory {
		g := group{place: place{r.Cloud, r.Region, r.Domain, r.Project}, tags: strings.Join(r.Tags, " ")}
		if k := (scopeKey{'s', string(r.Server)}); c.a.book.names(k) || c.b.book.names(k) {
			g.server = r.Server
		}
		if size[g] == 0 {
			order, first[g] = append(order, g), r
		}
		size[g]++
	}
	for _, n := range c.changes {
		n.Resources = new(int)
	}
	all := 0
	for i, g := range order {
		r := first[g]
		ra, rb := c.a.Describe(r, c.at), c.b.Describe(r, c.at)
		got := c.answers(&ra, &rb)
		for s := range c.a.choices {
			p, ok := got[s]
			if !ok {
				continue
			}
			n := c.told(s, p, &ra, &rb)
			if n.Resources == nil {
				n.Resources = new(int)
			}
			if n.last != i+1 {
				*n.Resources += size[g]
				n.last = i + 1
			}
		}
		if len(got) > 0 {
			all += size[g]
		}
	}
	return all
}

// names tells whether a scope of the book names a key.
func (b *book) names(k scopeKey) bool { return b.contracts[k] != nil || b.offerings[k] != nil }

// told finds the change that tells of a resource's answer: for its scope, else for the most specific selector that means it, else
// for its kind. Where only selectors together lead to the answer a line is begun for it.
func (c *comparison) told(s int, p [2]*Assignment, ra, rb *Resource) *Change {
	l, x := Layers[s/len(Aspects)], Aspects[s%len(Aspects)]
	for _, k := range levels(ra) {
		if n := c.lines[changeKey{l, k.String(), p[0], p[1]}]; n != nil && n.key == k && slices.Contains(n.Aspects, x) {
			return n
		}
	}
	var best *Change
	rank, kinds := -1, [2]string{ra.words(), rb.words()}
	for _, n := range c.broad[changeKey{l, "", p[0], p[1]}] {
		switch {
		case !slices.Contains(n.Aspects, x) || !n.when.matches(ra) || n.Where == "" && c.plain[kinds][s] != p ||
			n.Where == Rest && (c.rest[s] != p || !slices.Contains(n.Kinds, kindsOf(ra, rb))):
		case n.when.rank() > rank:
			best, rank = n, n.when.rank()
		}
	}
	if best != nil {
		return best
	}
	return c.line(s, p, ra, rb, Change{Where: "where several selectors or contracts meet", key: scopeKey{'-', "-"}})
}

// edits lists what the models are made of differently, their own names and versions left out.
func edits(a, b *Model) []Edit {
	out, order := []Edit{}, Edit{Record: "model", ID: b.ID, What: "changed"}
	for _, w := range []struct {
		record, list string
		from, to     []string
	}{{"service type", "service_types", a.ServiceTypes, b.ServiceTypes}, {"architecture", "architectures", a.Architectures, b.Architectures}, {"contract type", "contract_types", a.ContractTypes, b.ContractTypes}} {
		for _, s := range without(w.from, w.to) {
			out = append(out, Edit{Record: w.record, ID: s, What: "removed"})
		}
		for _, s := range without(w.to, w.from) {
			out = append(out, Edit{Record: w.record, ID: s, What: "added"})
		}
		gone, come := without(w.from, w.to), without(w.to, w.from)
		if w.from[0] != w.to[0] || !slices.Equal(without(w.from, gone), without(w.to, come)) { // the first is what a resource is by default
			order.Fields = append(order.Fields, FieldEdit{w.list, flow(reflect.ValueOf(w.from)), flow(reflect.ValueOf(w.to))})
		}
	}
	if order.Fields != nil {
		out = append(out, order)
	}
	for i := range records {
		if k := &records[i]; k.index >= 0 {
			out = append(out, k.edits(reflect.ValueOf(a).Elem().Field(k.index), reflect.ValueOf(b).Elem().Field(k.index))...)
		}
	}
	return out
}

// edits compares two lists by the ids of their entries, which are the first field of each.
func (r *record) edits(a, b reflect.Value) []Edit {
	var out []Edit
	id := func(v reflect.Value) string { return v.Field(0).String() }
	there := map[string]reflect.Value{}
	for i := range b.Len() {
		there[id(b.Index(i))] = b.Index(i)
	}
	for i := range a.Len() {
		x := a.Index(i)
		y, ok := there[id(x)]
		if !ok {
			out = append(out, Edit{Record: r.name, ID: id(x), What: "removed"})
			continue
		}
		delete(there, id(x))
		e := Edit{Record: r.name, ID: id(x), What: "changed"}
		for _, f := range r.fields {
			if v, w := x.FieldByIndex(f.index), y.FieldByIndex(f.index); !reflect.DeepEqual(v.Interface(), w.Interface()) {
				e.Fields = append(e.Fields, FieldEdit{f.name, shown(v), shown(w)})
			}
		}
		if e.Fields != nil {
			out = append(out, e)
		}
	}
	for i := range b.Len() {
		if _, ok := there[id(b.Index(i))]; ok {
			out = append(out, Edit{Record: r.name, ID: id(b.Index(i)), What: "added"})
		}
	}
	return out
}

// shown is a value as it stands in a document, "" for nothing.
func shown(v reflect.Value) string {
	switch {
	case v.IsZero():
		return ""
	case v.Kind() == reflect.String:
		return v.String()
	}
	return flow(v)
}
