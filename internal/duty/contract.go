package duty

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"demarc/internal/asset"
	"demarc/internal/fault"
)

// Scope is whose resources a contract or an offering is about. A server comes before its project, and that before its domain.
type Scope struct {
	Servers  []asset.ServerID  `yaml:"servers" json:"servers,omitempty"`
	Projects []asset.ProjectID `yaml:"projects" json:"projects,omitempty"`
	Domains  []asset.DomainID  `yaml:"domains" json:"domains,omitempty"`
}

func (s Scope) size() int { return len(s.Servers) + len(s.Projects) + len(s.Domains) }

func (s Scope) empty() bool { return s.size() == 0 }

// keys lists what the scope names, each with its level.
func (s Scope) keys() []scopeKey {
	var out []scopeKey
	for _, id := range s.Servers {
		out = append(out, scopeKey{'s', string(id)})
	}
	for _, id := range s.Projects {
		out = append(out, scopeKey{'p', string(id)})
	}
	for _, id := range s.Domains {
		out = append(out, scopeKey{'d', string(id)})
	}
	return out
}

// scopeKey is a server, project or domain.
type scopeKey struct {
	level byte
	id    string
}

func (k scopeKey) String() string {
	return map[byte]string{'s': "server ", 'p': "project ", 'd': "domain "}[k.level] + k.id
}

// levels lists the keys a resource is found by, the nearest first.
func levels(r *Resource) [3]scopeKey {
	return [3]scopeKey{{'s', string(r.Server)}, {'p', string(r.Project)}, {'d', string(r.Domain)}}
}

// Instant is a time in µs since 1970, UTC. In a file it is RFC 3339 with a zone, or a date, which means its first instant in UTC.
type Instant int64

// UnmarshalText reads an instant.
func (t *Instant) UnmarshalText(b []byte) error {
	s := string(b)
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		at, err := time.Parse(layout, s)
		if err != nil {
			continue
		}
		if y := at.UTC().Year(); y < 1971 || y > 9999 { // 0 is no instant of a file: it is what was left out
			return fault.New(fault.Config, "the year of %q is out of range", s).Hinted("1971 to 9999")
		}
		*t = Instant(at.UnixMicro())
		return nil
	}
	return fault.New(fault.Config, "%q is not a time", s).Hinted("write 2026-01-31T00:00:00Z, or 2026-01-31 for its first instant in UTC")
}

// UnmarshalYAML reads an instant. Without it the decoder writes the whole document out for each, which takes hours for some
// thousand contracts.
func (t *Instant) UnmarshalYAML(read func(any) error) error {
	var s string
	if err := read(&s); err != nil {
		return err
	}
	return t.UnmarshalText([]byte(s))
}

// MarshalText writes an instant.
func (t Instant) MarshalText() ([]byte, error) {
	return []byte(time.UnixMicro(int64(t)).UTC().Format(time.RFC3339Nano)), nil
}

// Contract puts a scope under a contract type for a time. To is the first instant that it does not cover. Where
// one of them is left out it has no beginning, or no end.
type Contract struct {
	ID     string  `yaml:"id" json:"id"`
	Type   string  `yaml:"type" json:"type"`
	Party  string  `yaml:"party" json:"party,omitempty"`   // with whom
	Renews string  `yaml:"renews" json:"renews,omitempty"` // the contract that it follows; without a scope of its own it takes that one's
	From   Instant `yaml:"from" json:"from,omitempty"`
	To     Instant `yaml:"to" json:"to,omitempty"`
	Scope  `yaml:",inline"`
}

// stands tells whether the contract is in force.
func (c *Contract) stands(at int64) bool {
	return at >= int64(c.From) && (c.To == 0 || at < int64(c.To))
}

// meets tells whether two contracts are in force at the same time.
func (c *Contract) meets(o *Contract) bool {
	return (o.To == 0 || c.From < o.To) && (c.To == 0 || o.From < c.To)
}

// Offering says what the resources of a scope are, where they are not what the model's first types say.
type Offering struct {
	ID           string `yaml:"id" json:"id"`
	Service      string `yaml:"service" json:"service"`
	Architecture string `yaml:"architecture" json:"architecture"`
	Scope        `yaml:",inline"`
}

// book finds what covers a resource.
type book struct {
	contracts map[scopeKey][]*Contract // by their beginning
	offerings map[scopeKey]*Offering
	changes   []int64 // when a contract begins or ends, in order
}

func newBook(m *Model) *book {
	b := &book{contracts: map[scopeKey][]*Contract{}, offerings: map[scopeKey]*Offering{}}
	for i, scope := range m.scopes() {
		c := &m.Contracts[i]
		for _, k := range scope.keys() {
			b.contracts[k] = append(b.contracts[k], c)
		}
		b.changes = append(b.changes, int64(c.From))
		if c.To != 0 {
			b.changes = append(b.changes, int64(c.To))
		}
	}
	slices.Sort(b.changes)
	for _, cs := range b.contracts {
		slices.SortFunc(cs, func(a, b *Contract) int { return cmp.Compare(a.From, b.From) })
	}
	for i := range m.Offerings {
		for _, k := range m.Offerings[i].keys() {
			b.offerings[k] = &m.Offerings[i]
		}
	}
	return b
}

// scopes gives what each contract covers: its own scope, or that of the contract it renews.
func (m *Model) scopes() []Scope {
	at := make(map[string]int, len(m.Contracts))
	for i := range m.Contracts {
		at[m.Contracts[i].ID] = i
	}
	out, settled := make([]Scope, len(m.Contracts)), make([]bool, len(m.Contracts))
	for i := range m.Contracts {
		var chain []int
		k := i
		for !settled[k] && m.Contracts[k].empty() && m.Contracts[k].Renews != "" { // ends: a circle was refused
			chain = append(chain, k)
			k = at[m.Contracts[k].Renews]
		}
		if !settled[k] {
			out[k], settled[k] = m.Contracts[k].Scope, true
		}
		for _, c := range chain {
			out[c], settled[c] = out[k], true
		}
	}
	return out
}

// Describe fills in what a resource is and which contract covers it at a time, by its server, project and domain.
func (m *Model) Describe(r Resource, at int64) Resource {
	r.Service, r.Architecture, r.Contract, r.ContractID = m.ServiceTypes[0], m.Architectures[0], m.ContractTypes[0], ""
	for _, k := range levels(&r) {
		if o := m.book.offerings[k]; o != nil && k.id != "" {
			r.Service, r.Architecture = o.Service, o.Architecture
			break
		}
	}
	for _, k := range levels(&r) {
		if k.id == "" {
			continue
		}
		if c := standing(m.book.contracts[k], at); c != nil {
			r.Contract, r.ContractID = c.Type, c.ID
			return r
		}
	}
	return r
}

// standing finds the contract in force among those of one scope, which follow each other: the last that has begun, if it has not
// ended.
func standing(cs []*Contract, at int64) *Contract {
	for from, to := 0, len(cs); from < to; {
		mid := (from + to) / 2
		switch c := cs[mid]; {
		case c.stands(at):
			return c
		case at < int64(c.From):
			to = mid
		default:
			from = mid + 1
		}
	}
	return nil
}

// NextChange is the next instant after a time at which a contract begins or ends.
func (m *Model) NextChange(after int64) (int64, bool) {
	i, _ := slices.BinarySearch(m.book.changes, after+1)
	if i == len(m.book.changes) {
		return 0, false
	}
	return m.book.changes[i], true
}

// With is the model with further contracts and offerings, held against the same rules. A path such as $.contracts[2] counts
// within those.
func (m *Model) With(cs []Contract, os []Offering, at func(path string) fault.Position) (*Model, error) {
	if len(cs)+len(os) == 0 {
		return m, nil
	}
	n := *m
	n.Contracts, n.Offerings, n.book = slices.Concat(m.Contracts, cs), slices.Concat(m.Offerings, os), nil
	if w := n.wrongCover(len(m.Contracts), len(m.Offerings)); w != nil {
		return nil, w.placed(at)
	}
	n.book = newBook(&n)
	return &n, nil
}

// wrongCover holds contracts and offerings against the model's rules. Places count from the given numbers on; what stands
// before them has none.
func (m *Model) wrongCover(contracts, offerings int) *mistake {
	return first(m.wrongContracts(contracts), m.wrongOfferings(offerings))
}

// spot is the path of an entry of a list, "" for one before the first that has a place.
func spot(list string, i, from int) string {
	if i < from {
		return ""
	}
	return fmt.Sprintf("$.%s[%d]", list, i-from)
}

func (m *Model) wrongContracts(from int) *mistake {
	if w := atMost("$.contracts", "contracts", len(m.Contracts), mostContracts); w != nil {
		return w
	}
	at := map[string]int{}
	for i := range m.Contracts {
		c, here := &m.Contracts[i], spot("contracts", i, from)
		if w := first(isToken(here+".id", "contract id", c.ID), oneOf(here+".type", "contract type", c.Type, m.ContractTypes), maybe(here+".party", "whom contract "+c.ID+" is with", c.Party), wrongScope(here, c.Scope)); w != nil {
			return w
		}
		if before, twice := at[c.ID]; twice {
			return wrongAt(here+".id", "contract id %s is used twice", c.ID).with(spot("contracts", before, from))
		}
		if c.To != 0 && c.To <= c.From {
			return wrongAt(here+".to", "contract %s ends before it starts", c.ID).hinted("to: is the first instant that it does not cover")
		}
		at[c.ID] = i
	}
	if w := m.wrongRenewals(at, from); w != nil {
		return w
	}
	scopes, covered := m.scopes(), 0
	for i, scope := range scopes {
		if covered += scope.size(); covered > mostCovered { // a large scope that many renew would fill the memory
			return wrongAt(spot("contracts", i, from), "contracts cover more than %d servers, projects and domains, counting them again for each renewal", mostCovered)
		}
		if scope.empty() {
			return wrongAt(spot("contracts", i, from), "contract %s covers nothing", m.Contracts[i].ID).hinted("give servers:, projects: or domains:")
		}
	}
	return m.overlapping(scopes, from)
}

// wrongRenewals follows what contracts renew: each must exist, must have begun earlier, and must not lead back.
func (m *Model) wrongRenewals(at map[string]int, from int) *mistake {
	settled := make([]bool, len(m.Contracts))
	for i := range m.Contracts {
		var chain []string
		walk := map[int]bool{}
		for k := i; m.Contracts[k].Renews != "" && !settled[k]; {
			c, here := &m.Contracts[k], spot("contracts", k, from)+".renews"
			chain, walk[k] = append(chain, c.ID), true
			next, ok := at[c.Renews]
			switch {
			case !ok:
				return wrongAt(here, "contract %s renews %q, which there is not", c.ID, c.Renews)
			case walk[next]:
				return wrongAt(here, "contracts renew each other in a circle: %s, which renews %s", strings.Join(chain, ", which renews "), c.Renews)
			}
			k = next
		}
		for k := range walk {
			settled[k] = true
			if c, old := &m.Contracts[k], &m.Contracts[at[m.Contracts[k].Renews]]; old.From >= c.From {
				return wrongAt(spot("contracts", k, from)+".renews", "contract %s renews %s, which does not begin earlier", c.ID, old.ID)
			}
		}
	}
	return nil
}

// overlapping finds two contracts that cover the same at the same time and on the same level.
func (m *Model) overlapping(scopes []Scope, from int) *mistake {
	covered := map[scopeKey][]int{}
	var order []scopeKey
	for i, scope := range scopes {
		for _, k := range scope.keys() {
			if covered[k] == nil {
				order = append(order, k)
			}
			covered[k] = append(covered[k], i)
		}
	}
	for _, k := range order {
		is := covered[k]
		slices.SortStableFunc(is, func(a, b int) int { return cmp.Compare(m.Contracts[a].From, m.Contracts[b].From) })
		for j := 1; j < len(is); j++ {
			a, b := &m.Contracts[is[j-1]], &m.Contracts[is[j]]
			if a.meets(b) {
				later, earlier := max(is[j], is[j-1]), min(is[j], is[j-1])
				return wrongAt(spot("contracts", later, from), "contracts %s and %s both cover %s at the same time", a.ID, b.ID, k).
					hinted("end the first when the second begins").with(spot("contracts", earlier, from))
			}
		}
	}
	return nil
}

func wrongScope(here string, s Scope) *mistake {
	seen := map[scopeKey]bool{}
	for _, k := range s.keys() {
		if w := foreign(here, "in a scope "+k.String(), k.id); w != nil {
			return w
		}
		if seen[k] {
			return wrongAt(here, "a scope names %s twice", k)
		}
		seen[k] = true
	}
	return nil
}

func (m *Model) wrongOfferings(from int) *mistake {
	if w := atMost("$.offerings", "offerings", len(m.Offerings), mostContracts); w != nil {
		return w
	}
	ids, covered := map[string]string{}, map[scopeKey]int{}
	for i := range m.Offerings {
		o, here := &m.Offerings[i], spot("offerings", i, from)
		if w := first(once(ids, here+".id", "offering id", o.ID), oneOf(here+".service", "service", o.Service, m.ServiceTypes),
			oneOf(here+".architecture", "architecture", o.Architecture, m.Architectures), wrongScope(here, o.Scope)); w != nil {
			return w
		}
		if o.empty() {
			return wrongAt(here, "offering %s covers nothing", o.ID).hinted("give servers:, projects: or domains:")
		}
		for _, k := range o.keys() {
			if before, twice := covered[k]; twice {
				return wrongAt(here, "offerings %s and %s both cover %s", m.Offerings[before].ID, o.ID, k).with(spot("offerings", before, from))
			}
			covered[k] = i
		}
	}
	return nil
}
