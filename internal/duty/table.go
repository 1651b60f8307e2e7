package duty

import (
	"cmp"
	"slices"
)

// slot is the place of a layer and aspect in the table of choices, -1 for what is none.
func slot(l Layer, a Aspect) int {
	i, j := number(Layers, l), number(Aspects, a)
	if i < 0 || j < 0 {
		return -1
	}
	return i*len(Aspects) + j
}

// choice is an assignment that may decide about a slot.
type choice struct {
	a    *Assignment
	rank int
}

// ask is one question that a duty raises.
type ask struct {
	duty   *Duty
	layer  Layer
	aspect Aspect
	slot   int
}

// table is what a model answers about one kind of resource.
type table struct {
	choices [][]choice    // for each slot, what may decide about this kind, the most specific first
	general []*Assignment // for each slot, what decides about a resource that no narrower selector means; nil for nothing
	plain   []Holding     // the answer to each question, for a resource that no narrower selector means
	narrow  []bool        // whether there is such a selector for the question
}

// Holding is who holds one question of a duty for one resource.
type Holding struct {
	Duty       *Duty
	Layer      Layer
	Aspect     Aspect
	Ownership  Ownership
	Assignment *Assignment // nil where the duty does not concern the resource
}

// compile works out, for each slot and kind of resource, what may decide. The order among equals does not matter: in a model
// that loads those never decide alike.
func (m *Model) compile() {
	m.choices = make([][]choice, len(Layers)*len(Aspects))
	for i := range m.Assignments {
		a := &m.Assignments[i]
		rank := a.rank()
		for _, x := range Aspects {
			if a.decides(x) {
				s := slot(a.Layer, x)
				m.choices[s] = append(m.choices[s], choice{a, rank})
			}
		}
	}
	for _, c := range m.choices {
		slices.SortStableFunc(c, func(a, b choice) int { return cmp.Compare(b.rank, a.rank) })
	}
	m.byID = make(map[string]*Duty, len(m.Duties))
	m.asks = nil
	for i := range m.Duties {
		d := &m.Duties[i]
		m.byID[d.ID] = d
		for _, l := range d.Layers() {
			for _, x := range d.Aspects {
				m.asks = append(m.asks, ask{d, l, x, slot(l, x)})
			}
		}
	}
	m.tables = nil
	for _, kind := range m.Kinds() {
		m.tables = append(m.tables, m.tableOf(kind))
	}
	m.book = newBook(m)
}

func (m *Model) tableOf(kind Resource) table {
	t := table{choices: make([][]choice, len(m.choices)), general: make([]*Assignment, len(m.choices)), plain: make([]Holding, len(m.asks)), narrow: make([]bool, len(m.asks))}
	narrow := make([]bool, len(m.choices))
	for s, all := range m.choices {
		floor := 0 // the rank of the first that means every resource of the kind: what is below it never decides
		for _, c := range all {
			switch {
			case c.rank < floor || !c.a.When.allows(&kind):
				continue
			case !c.a.When.general():
				narrow[s] = true
			case t.general[s] == nil:
				t.general[s], floor = c.a, c.rank
			}
			t.choices[s] = append(t.choices[s], c)
		}
	}
	for i, q := range m.asks {
		h := Holding{Duty: q.duty, Layer: q.layer, Aspect: q.aspect, Ownership: NotApplicable}
		if q.duty.When.allows(&kind) {
			t.narrow[i] = !q.duty.When.general() || narrow[q.slot]
			if q.duty.When.general() {
				h = h.of(t.general[q.slot])
			}
		}
		t.plain[i] = h
	}
	return t
}

// under is the holding of a resource, by the first choice that means it.
func (h Holding) under(r *Resource, cs []choice) Holding {
	h.Ownership, h.Assignment = NotApplicable, nil
	if h.Duty.When.matches(r) {
		return h.of(among(cs, r))
	}
	return h
}

// of is the holding where an assignment decides, or none.
func (h Holding) of(a *Assignment) Holding {
	h.Ownership, h.Assignment = CSPOwned, a // what nobody holds the provider must sort out
	if a != nil {
		h.Ownership = a.Ownership
	}
	return h
}

// among finds the first choice that means a resource.
func among(cs []choice, r *Resource) *Assignment {
	for i := range cs {
		if cs[i].a.When.matches(r) {
			return cs[i].a
		}
	}
	return nil
}

// table finds what is known of a resource's kind; nil where the model does not know the kind.
func (m *Model) table(r *Resource) *table {
	s, a, c := number(m.ServiceTypes, r.Service), number(m.Architectures, r.Architecture), number(m.ContractTypes, r.Contract)
	if s < 0 || a < 0 || c < 0 {
		return nil
	}
	return &m.tables[(s*len(m.Architectures)+a)*len(m.ContractTypes)+c]
}

// decide finds what decides about a slot for a resource; nil where nothing does.
func (m *Model) decide(slot int, r *Resource) *Assignment {
	if t := m.table(r); t != nil {
		return among(t.choices[slot], r)
	}
	return among(m.choices[slot], r)
}

// Questions counts what the duties ask about every resource: duties by layers by aspects.
func (m *Model) Questions() int { return len(m.asks) }

// Holdings gives, for every duty, layer and aspect, exactly one ownership for a resource: not applicable where the duty's own
// selector does not mean it. It allocates nothing; what visit is given must not be changed.
func (m *Model) Holdings(r *Resource, visit func(Holding)) {
	t := m.table(r)
	if t == nil { // no kind of the model's: only what means every kind can match
		for _, q := range m.asks {
			visit(Holding{Duty: q.duty, Layer: q.layer, Aspect: q.aspect}.under(r, m.choices[q.slot]))
		}
		return
	}
	for i := range t.plain {
		if t.narrow[i] {
			visit(t.plain[i].under(r, t.choices[m.asks[i].slot]))
			continue
		}
		visit(t.plain[i])
	}
}
