package duty

import (
	"fmt"
	"maps"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"demarc/internal/fault"
)

// What a model may hold at most. They bound what a hostile file can make us do; a real model is far below.
const (
	mostWords       = 16      // in each list of types
	mostParties     = 200     // and documents, areas, conflicts
	mostDuties      = 5_000   //
	mostQuestions   = 20_000  //
	mostKinds       = 64      // of resources
	mostAssignments = 2_000   //
	mostContracts   = 50_000  // and offerings
	mostCovered     = 500_000 // entries of the contracts' scopes, those of renewals too
	mostText        = 2_000   // bytes in one text
)

// mistake is what is wrong with a model, with the path of its place in the document, and of the other culprit where there are two.
type mistake struct {
	path  string
	other string
	fault *fault.Fault
}

func wrongAt(path, format string, args ...any) *mistake {
	return &mistake{path: path, fault: fault.New(fault.Config, format, args...)}
}

func (w *mistake) hinted(format string, args ...any) *mistake {
	w.fault = w.fault.Hinted(format, args...)
	return w
}

func (w *mistake) with(other string) *mistake {
	w.other = other
	return w
}

// placed is the mistake as an error with its place; the other culprit's line is named too.
func (w *mistake) placed(at func(path string) fault.Position) error {
	f := w.fault.In(at(w.path))
	if w.other == "" {
		return f
	}
	if o := at(w.other); o.Line > 0 {
		f.Message += fmt.Sprintf(" (the other is on line %d)", o.Line)
	}
	return f
}

// wrong holds a model against its own rules and gives the first mistake.
func (m *Model) wrong() *mistake {
	for _, rule := range []func() *mistake{m.wrongHead, m.wrongParties, m.wrongTable, m.wrongDuties, m.wrongAssignments, func() *mistake { return m.wrongCover(0, 0) },
		m.wrongConflicts, m.tooMuch, m.undecided, m.contradicted, m.mistabled} {
		if w := rule(); w != nil {
			return w
		}
	}
	return nil
}

// tooMuch bounds the proofs that follow, which go through every question for every kind of resource, and prepares them.
func (m *Model) tooMuch() *mistake {
	questions := 0
	for i := range m.Duties {
		questions += len(m.Duties[i].Layers()) * len(m.Duties[i].Aspects)
	}
	if w := first(atMost("$.duties", "questions, counting duties by layers by aspects", questions, mostQuestions),
		atMost("$.service_types", "kinds of resources, counting service types by architectures by contract types", len(m.ServiceTypes)*len(m.Architectures)*len(m.ContractTypes), mostKinds)); w != nil {
		return w
	}
	m.compile()
	return nil
}

var token = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func isToken(path, what, s string) *mistake {
	if !token.MatchString(s) {
		return wrongAt(path, "%s %q is no id", what, s).hinted("letters, digits, dot, hyphen and underscore; 64 at most")
	}
	return nil
}

func oneOf[T ~string](path, what string, v T, of []T) *mistake {
	if !slices.Contains(of, v) {
		return wrongAt(path, "unknown %s %q", what, v).hinted("one of %v", of)
	}
	return nil
}

func isText(path, what, s string) *mistake {
	switch {
	case strings.TrimSpace(s) == "":
		return wrongAt(path, "%s is missing", what)
	case len(s) > mostText:
		return wrongAt(path, "%s has %d bytes", what, len(s)).hinted("at most %d", mostText)
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) || !utf8.ValidString(s):
		return wrongAt(path, "%s holds a character that does not print", what).hinted("one line of plain text")
	case strings.TrimSpace(s) != s:
		return wrongAt(path, "%s begins or ends with a space", what)
	case formula(s):
		return wrongAt(path, "%s begins as a formula does", what).hinted("a spreadsheet would run it: no text of a model begins with = + - @")
	}
	return nil
}

// maybe is text that may be left out.
func maybe(path, what, s string) *mistake {
	if s == "" {
		return nil
	}
	return isText(path, what, s)
}

// foreign is an id that a cloud gave, or a standard.
func foreign(path, what, s string) *mistake {
	if w := isText(path, what, s); w != nil {
		return w
	}
	if len(s) > 255 || strings.Contains(s, between) {
		return wrongAt(path, "%s %q is no id", what, s).hinted("at most 255 bytes, and no semicolon")
	}
	return nil
}

// formula tells whether a spreadsheet would run a cell. Source: OWASP "CSV Injection"; full-width signs count too.
func formula(s string) bool {
	r, _ := utf8.DecodeRuneInString(strings.TrimLeft(s, " "))
	return strings.ContainsRune("=+-@|＝＋－＠\t\r\n", r)
}

// first gives the first mistake there is.
func first(ws ...*mistake) *mistake {
	for _, w := range ws {
		if w != nil {
			return w
		}
	}
	return nil
}

// once refuses an id that is none, or was there before.
func once(seen map[string]string, path, what, id string) *mistake {
	if w := isToken(path, what, id); w != nil {
		return w
	}
	if before, twice := seen[id]; twice {
		return wrongAt(path, "%s %s is used twice", what, id).with(before)
	}
	seen[id] = path
	return nil
}

func atMost(path, what string, n, most int) *mistake {
	if n > most {
		return wrongAt(path, "there are %d %s", n, what).hinted("at most %d", most)
	}
	return nil
}

func (m *Model) wrongHead() *mistake {
	if w := first(isToken("$.id", "model id", m.ID), isText("$.title", "title", m.Title), atMost("$.documents", "documents", len(m.Documents), mostParties)); w != nil {
		return w
	}
	if m.Version < 1 {
		return wrongAt("$.version", "version %d is none", m.Version).hinted("1 for the first; raise it with every change")
	}
	for _, l := range []struct {
		name  string
		words []string
	}{{"service_types", m.ServiceTypes}, {"architectures", m.Architectures}, {"contract_types", m.ContractTypes}} {
		if n := len(l.words); n == 0 || n > mostWords {
			return wrongAt("$."+l.name, "%s has %d entries", l.name, n).hinted("1 to %d; the first is the default", mostWords)
		}
		seen := map[string]string{}
		for i, word := range l.words {
			if w := once(seen, fmt.Sprintf("$.%s[%d]", l.name, i), l.name+" entry", word); w != nil {
				return w
			}
		}
	}
	seen := map[string]string{}
	for i, d := range m.Documents {
		here := fmt.Sprintf("$.documents[%d]", i)
		if w := first(once(seen, here+".id", "document id", d.ID), isText(here+".title", "title", d.Title), maybe(here+".publisher", "publisher", d.Publisher), maybe(here+".url", "address", d.URL)); w != nil {
			return w
		}
		if d.URL != "" && !strings.HasPrefix(d.URL, "https://") && !strings.HasPrefix(d.URL, "http://") {
			return wrongAt(here+".url", "%q is no web address", d.URL).hinted("write https://example.org/page")
		}
	}
	return nil
}

func (m *Model) wrongParties() *mistake {
	if w := atMost("$.parties", "parties", len(m.Parties), mostParties); w != nil {
		return w
	}
	seen, held := map[string]string{}, map[Role]int{}
	for i, p := range m.Parties {
		here := fmt.Sprintf("$.parties[%d]", i)
		if w := first(once(seen, here+".id", "party id", p.ID), oneOf(here+".role", "role", p.Role, Roles), isText(here+".name", "name", p.Name)); w != nil {
			return w
		}
		if p.ID == string(Shared) {
			return wrongAt(here+".id", "no party can be called shared").hinted("a duty's holder shared means the provider and the customer")
		}
		if p.Role == RoleCustomer && p.Contacts != (Contacts{}) {
			return wrongAt(here+".contacts", "contacts are given for the customer").hinted("who is told of a customer's findings follows from the cloud: the machine's creator, and the project's members")
		}
		held[p.Role]++
		for _, a := range []string{p.Contacts.Security, p.Contacts.Abuse, p.Contacts.Technical} {
			if v, err := mail.ParseAddress(a); a != "" && (err != nil || v.Address != a || isText("", "", a) != nil) {
				return wrongAt(here+".contacts", "%q is no plain mail address", a).hinted("write name@example.org")
			}
		}
	}
	for _, r := range []Role{RoleProvider, RoleCustomer} {
		if held[r] != 1 {
			return wrongAt("$.parties", "there are %d parties in the role of %s", held[r], r).hinted("exactly one is the provider, and one the customer; others are third parties")
		}
	}
	return nil
}

func (m *Model) wrongTable() *mistake {
	if w := atMost("$.table", "rows", len(m.Table), mostParties); w != nil {
		return w
	}
	seen := map[string]string{}
	for i, a := range m.Table {
		here := fmt.Sprintf("$.table[%d]", i)
		if w := first(once(seen, here+".area", "area", a.Area), isText(here+".title", "title", a.Title), isText(here+".group", "group", a.Group)); w != nil {
			return w
		}
		for _, s := range m.ServiceTypes {
			if w := oneOf(here+".ownership."+s, "ownership of "+a.Area+" under "+s, a.Ownership[s], Ownerships); w != nil {
				return w
			}
		}
		for s := range a.Ownership {
			if w := oneOf(here+".ownership", "service type", s, m.ServiceTypes); w != nil {
				return w
			}
		}
	}
	return nil
}

func (m *Model) wrongSelector(path string, s Selector) *mistake {
	for _, f := range []struct {
		name, value string
		of          []string
	}{{"service", s.Service, m.ServiceTypes}, {"architecture", s.Architecture, m.Architectures}, {"contract", s.Contract, m.ContractTypes}} {
		if f.value == "" {
			continue
		}
		if w := oneOf(path+"."+f.name, f.name, f.value, f.of); w != nil {
			return w
		}
	}
	for _, f := range [][2]string{{"cloud", s.Cloud}, {"region", s.Region}, {"domain", string(s.Domain)}, {"project", string(s.Project)}} {
		if f[1] != "" {
			if w := foreign(path+"."+f[0], f[0], f[1]); w != nil {
				return w
			}
		}
	}
	seen := map[string]string{}
	for _, t := range s.Tags {
		if w := foreign(path+".tags", "tag", t); w != nil {
			return w
		}
		if _, twice := seen[t]; twice {
			return wrongAt(path+".tags", "tag %s is used twice", t)
		}
		seen[t] = path
	}
	return atMost(path+".tags", "tags", len(s.Tags), mostTags)
}

func wrongAspects(path string, as []Aspect) *mistake {
	seen := map[string]string{}
	for i, a := range as {
		here := fmt.Sprintf("%s[%d]", path, i)
		if w := first(oneOf(here, "aspect", a, Aspects), once(seen, here, "aspect", string(a))); w != nil {
			return w
		}
	}
	return nil
}

func (m *Model) wrongDuties() *mistake {
	if w := atMost("$.duties", "duties", len(m.Duties), mostDuties); w != nil {
		return w
	}
	seen := map[string]string{}
	for i := range m.Duties {
		d, here := &m.Duties[i], fmt.Sprintf("$.duties[%d]", i)
		if w := first(once(seen, here+".id", "duty id", d.ID), m.wrongDuty(here, d)); w != nil {
			return w
		}
	}
	return nil
}

func (m *Model) wrongDuty(here string, d *Duty) *mistake {
	if w := first(isText(here+".title", "title", d.Title), oneOf(here+".strength", "strength", d.Strength, Strengths), oneOf(here+".evidence", "evidence", d.Evidence, Evidences),
		oneOf(here+".layer", "layer", d.Layer, Layers), wrongAspects(here+".aspects", d.Aspects), m.wrongSelector(here+".when", d.When), isText(here+".source.section", "section of the source", d.Source.Section),
		maybe(here+".observable", "what can be observed", d.Observable), wrongProof(here, d)); w != nil {
		return w
	}
	if len(d.Aspects) == 0 {
		return wrongAt(here, "duty %s names no aspect", d.ID).hinted("one or more of %v", Aspects)
	}
	layers := map[string]string{}
	for _, l := range d.Layers() {
		if w := first(oneOf(here+".also", "layer", l, Layers), once(layers, here+".also", "layer", string(l))); w != nil {
			return w
		}
	}
	if _, ok := m.Organisation(d.Holder); !ok && d.Holder != string(Shared) {
		return wrongAt(here+".holder", "duty %s is held by %q, which is no party", d.ID, d.Holder).hinted("a party's id, or shared")
	}
	if !slices.ContainsFunc(m.Documents, func(x Document) bool { return x.ID == d.Source.Document }) {
		return wrongAt(here+".source.document", "duty %s has its source in %q, which is no document of the model", d.ID, d.Source.Document)
	}
	if d.Area != "" && !slices.ContainsFunc(m.Table, func(a Area) bool { return a.Area == d.Area }) {
		return wrongAt(here+".area", "duty %s belongs to the row %q, which the table does not have", d.ID, d.Area)
	}
	return nil
}

// mostProofs bounds the checks of a duty, its frameworks, and the controls of each.
const mostProofs = 64

func wrongProof(here string, d *Duty) *mistake {
	seen := map[string]string{}
	for i, c := range d.Checks {
		if w := once(seen, fmt.Sprintf("%s.checks[%d]", here, i), "check", c); w != nil {
			return w
		}
	}
	for _, f := range slices.Sorted(maps.Keys(d.Frameworks)) {
		at := here + ".frameworks"
		if w := first(isToken(at, "framework", f), atMost(at, "controls", len(d.Frameworks[f]), mostProofs)); w != nil {
			return w
		}
		if len(d.Frameworks[f]) == 0 {
			return wrongAt(at, "framework %s names no control", f)
		}
		for _, id := range d.Frameworks[f] {
			if w := foreign(at+"."+f, "control", id); w != nil {
				return w
			}
		}
	}
	return first(atMost(here+".checks", "checks", len(d.Checks), mostProofs), atMost(here+".frameworks", "frameworks", len(d.Frameworks), mostProofs))
}

func (m *Model) wrongAssignments() *mistake {
	if w := atMost("$.assignments", "assignments", len(m.Assignments), mostAssignments); w != nil {
		return w
	}
	duties := map[string]*Duty{}
	for i := range m.Duties {
		duties[m.Duties[i].ID] = &m.Duties[i]
	}
	seen := map[string]string{}
	for i := range m.Assignments {
		a, here := &m.Assignments[i], fmt.Sprintf("$.assignments[%d]", i)
		if w := first(once(seen, here+".id", "assignment id", a.ID), m.wrongAssignment(here, a, duties[a.Duty])); w != nil {
			return w
		}
	}
	return nil
}

func (m *Model) wrongAssignment(here string, a *Assignment, d *Duty) *mistake {
	if w := first(oneOf(here+".layer", "layer", a.Layer, Layers), oneOf(here+".ownership", "ownership", a.Ownership, Ownerships), wrongAspects(here+".aspects", a.Aspects),
		m.wrongSelector(here+".when", a.When), isText(here+".reason", "the reason of "+a.ID, a.Reason)); w != nil {
		return w
	}
	third, known := m.Organisation(a.ThirdParty)
	switch {
	case a.ID == Unassigned:
		return wrongAt(here+".id", "an assignment can not be called %s", Unassigned)
	case a.Ownership == SharedCSPCSC && (a.Provider == "" || a.Customer == ""):
		return wrongAt(here, "assignment %s is shared and does not say both parts", a.ID).hinted("give provider: and customer:")
	case a.Ownership.outsourced() && (!known || third.Role != RoleThirdParty):
		return wrongAt(here, "assignment %s is a third party's, and %q is none of the model", a.ID, a.ThirdParty).hinted("give third_party: the id of a party in the role third-party")
	case !a.Ownership.outsourced() && a.ThirdParty != "":
		return wrongAt(here+".third_party", "assignment %s names a third party, and is %s", a.ID, a.Ownership)
	case a.Duty == "" && a.Ownership != NotApplicable:
		return wrongAt(here, "assignment %s carries out no duty", a.ID).hinted("give duty: its id")
	case a.Duty != "" && d == nil:
		return wrongAt(here+".duty", "assignment %s carries out %q, which is no duty of the model", a.ID, a.Duty)
	case d != nil && !slices.Contains(d.Layers(), a.Layer):
		return wrongAt(here+".duty", "assignment %s is about %s, and duty %s is not", a.ID, a.Layer, a.Duty)
	}
	return first(maybe(here+".provider", "the provider's part of "+a.ID, a.Provider), maybe(here+".customer", "the customer's part of "+a.ID, a.Customer))
}

func (m *Model) wrongConflicts() *mistake {
	if w := atMost("$.conflicts", "conflicts", len(m.Conflicts), mostParties); w != nil {
		return w
	}
	seen, duties := map[string]string{}, map[string]bool{}
	for i := range m.Duties {
		duties[m.Duties[i].ID] = true
	}
	for i, c := range m.Conflicts {
		here := fmt.Sprintf("$.conflicts[%d]", i)
		if w := first(once(seen, here+".id", "conflict id", c.ID), isText(here+".what", "what", c.What), isText(here+".resolution", "resolution", c.Resolution)); w != nil {
			return w
		}
		for _, id := range c.Duties {
			if !duties[id] {
				return wrongAt(here+".duties", "conflict %s is about %q, which is no duty of the model", c.ID, id)
			}
		}
	}
	return nil
}
