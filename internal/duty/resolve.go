package duty

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Resolution is the answer to "who must do this", with its reason. It is stored with the finding, so that a later model or
// contract does not rewrite history.
type Resolution struct {
	Model      string      `json:"model"`
	Version    int         `json:"version"`
	Assignment string      `json:"assignment"`
	Duty       string      `json:"duty"`
	Sentence   string      `json:"sentence,omitempty"` // of the duty
	Source     string      `json:"source,omitempty"`   // of the sentence
	Layer      Layer       `json:"layer"`
	Aspect     Aspect      `json:"aspect"`
	Resource   Resource    `json:"resource"`
	Ownership  Ownership   `json:"ownership"`
	Party      Party       `json:"party"`
	ThirdParty string      `json:"third_party,omitempty"`         // who does it for the provider: a party's id
	Doer       string      `json:"third_party_name,omitempty"`    // and its name
	Contact    string      `json:"third_party_contact,omitempty"` // and where it is reached
	Reason     string      `json:"reason"`
	Provider   string      `json:"provider_part,omitempty"`
	Customer   string      `json:"customer_part,omitempty"`
	Conflicts  []string    `json:"conflicts,omitempty"`  // contradictions of the sources about the duty, by their ids
	Considered []Candidate `json:"considered,omitempty"` // what else matched, and why it did not decide
}

// Candidate is an assignment that matched and did not decide.
type Candidate struct {
	Assignment string    `json:"assignment"`
	When       string    `json:"when"`
	Ownership  Ownership `json:"ownership"`
	Lost       string    `json:"lost"` // why
}

// Differs tells whether a finding must be charged anew: somebody else must act, for another reason, or in other words. A newer
// version of a model that says the same changes nothing.
func (r Resolution) Differs(o Resolution) bool {
	said := func(x Resolution) [11]string {
		return [...]string{x.Model, x.Assignment, x.Duty, string(x.Party), string(x.Ownership), x.Reason, x.Provider, x.Customer, x.ThirdParty, x.Doer + " " + x.Contact, x.Resource.ContractID}
	}
	return said(r) != said(o)
}

// Unassigned is the assignment named when no other matched: an unowned duty is a provider problem.
const Unassigned = "unassigned"

// Resolve says who holds an aspect of a layer for a resource.
func (m *Model) Resolve(l Layer, a Aspect, r Resource) Resolution {
	out := Resolution{Model: m.ID, Version: m.Version, Assignment: Unassigned, Layer: l, Aspect: a, Resource: r, Ownership: CSPOwned, Party: Provider,
		Reason: "no assignment of the model covers this, and what nobody holds the provider must sort out"}
	s := slot(l, a)
	if s < 0 {
		return out
	}
	best := m.decide(s, &r)
	if best == nil {
		return out
	}
	out.Assignment, out.Duty, out.Ownership, out.Party, out.ThirdParty = best.ID, best.Duty, best.Ownership, best.Ownership.Party(), best.ThirdParty
	if o, ok := m.Organisation(best.ThirdParty); ok {
		out.Doer, out.Contact = o.Name, o.Contacts.First()
	}
	out.Reason, out.Provider, out.Customer = best.Reason, best.Provider, best.Customer
	if d, ok := m.Duty(best.Duty); ok {
		out.Sentence, out.Source = d.Title, m.Cite(d.Source)
	}
	for _, c := range m.Conflicts {
		if slices.Contains(c.Duties, best.Duty) {
			out.Conflicts = append(out.Conflicts, c.ID)
		}
	}
	for _, c := range m.choices[s] {
		if x := c.a; x != best && x.When.matches(&r) {
			out.Considered = append(out.Considered, Candidate{x.ID, x.When.String(), x.Ownership, lost(x, best)})
		}
	}
	return out
}

func lost(x, best *Assignment) string {
	if len(x.Aspects) == 0 && len(best.Aspects) > 0 {
		return "it covers the whole layer, and " + best.ID + " names the aspect"
	}
	return "less specific than " + best.ID + " (" + best.When.String() + ")"
}

// Cite names a source for a person.
func (m *Model) Cite(s Source) string {
	i := slices.IndexFunc(m.Documents, func(d Document) bool { return d.ID == s.Document })
	if i < 0 {
		return s.Document + ", " + s.Section
	}
	return strings.TrimPrefix(m.Documents[i].Publisher+", ", ", ") + m.Documents[i].Title + ", section \"" + s.Section + "\""
}

// Explain tells a resolution in sentences, for a person who doubts it.
func (r Resolution) Explain() string {
	who := "the " + string(r.Party) + " must act"
	if r.Party == Shared {
		who = "both must act, each its part"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%s, %s, is %s: %s.\nWhy: %s", r.Layer, r.Aspect, r.Resource.Kind(), r.Ownership, who, r.Reason)
	if r.Resource.ContractID != "" {
		fmt.Fprintf(&b, " (contract %s)", r.Resource.ContractID)
	}
	fmt.Fprintf(&b, ".\nAssignment %s of model %s, version %d, carries out duty %s.", r.Assignment, r.Model, r.Version, cmp.Or(r.Duty, "none"))
	if r.Sentence != "" {
		fmt.Fprintf(&b, "\nDuty %s: %s.\nSource: %s.", r.Duty, r.Sentence, r.Source)
	}
	if r.Party == Shared {
		fmt.Fprintf(&b, "\nThe provider's part: %s.\nThe customer's part: %s.", r.Provider, r.Customer)
	}
	if r.ThirdParty != "" {
		fmt.Fprintf(&b, "\nDone by %s, for the provider.", strings.TrimSpace(r.Doer+" "+r.Contact))
	}
	if len(r.Conflicts) > 0 {
		fmt.Fprintf(&b, "\nThe sources contradict each other about it (%s): see demarc duty conflicts.", strings.Join(r.Conflicts, ", "))
	}
	for _, c := range r.Considered {
		fmt.Fprintf(&b, "\nConsidered: %s (%s; %s) did not decide: %s.", c.Assignment, c.Ownership, c.When, c.Lost)
	}
	return b.String()
}
