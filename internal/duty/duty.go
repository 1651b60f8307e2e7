// Package duty says who must do what under which model and contract.
//
// A model is data: assignments of (layer, aspect) under a selector (service type, architecture,
// contract) to an ownership. The most specific selector decides; two that are equally specific are
// an error when the model is loaded, never a silent order.
package duty

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"demarc/internal/asset"
	"demarc/internal/fault"
)

// Layer is a part of the stack. The list is closed.
type Layer string

// Layers lists every layer, from the ground up.
var Layers = []Layer{"physical", "physical-network", "datacenter", "hypervisor", "host-os", "container-host-os", "container-engine",
	"guest-os", "binaries-libraries", "application", "network-controls", "identity-directory", "accounts", "data", "devices", "access", "platform"}

// Aspect is a side of a layer that one party can hold while another holds the next. The list is closed.
type Aspect string

// Aspects lists every aspect.
var Aspects = []Aspect{"provide-capability", "secure-default", "configure", "maintain", "secure", "monitor", "respond", "govern"}

// Ownership is the CSA Cloud Controls Matrix v4 vocabulary (STA-04).
type Ownership string

const (
	CSPOwned         Ownership = "csp-owned"
	CSCOwned         Ownership = "csc-owned"
	ThirdParty       Ownership = "3rd-party-outsourced"
	SharedCSPCSC     Ownership = "shared-csp-csc"
	SharedThirdParty Ownership = "shared-csp-3rd-party"
	NotApplicable    Ownership = "n-a"
)

var ownerships = []Ownership{CSPOwned, CSCOwned, ThirdParty, SharedCSPCSC, SharedThirdParty, NotApplicable}

// Party is who must act.
type Party string

const (
	Provider Party = "provider"
	Customer Party = "customer"
	Shared   Party = "shared" // both, each its part
)

// Party says who acts under an ownership. What nobody holds is a provider problem.
func (o Ownership) Party() Party {
	switch o {
	case CSCOwned:
		return Customer
	case SharedCSPCSC:
		return Shared
	case CSPOwned, ThirdParty, SharedThirdParty, NotApplicable:
		return Provider
	}
	return Provider
}

// The kinds a resource can be of; each list is closed.
var (
	ServiceTypes  = []string{"iaas", "paas"}
	Architectures = []string{"vm", "container"}
	ContractTypes = []string{"standard", "extended"}
)

// Resource is what a question is about, as far as a selector can see it.
type Resource struct {
	Service      string          `json:"service"`      // iaas, paas
	Architecture string          `json:"architecture"` // vm, container
	Contract     string          `json:"contract"`     // standard, extended
	Project      asset.ProjectID `json:"project,omitempty"`
}

// Selector narrows an assignment; an empty field matches all.
type Selector struct {
	Service      string `yaml:"service" json:"service,omitempty"`
	Architecture string `yaml:"architecture" json:"architecture,omitempty"`
	Contract     string `yaml:"contract" json:"contract,omitempty"`
}

func (s Selector) matches(r Resource) bool {
	return (s.Service == "" || s.Service == r.Service) &&
		(s.Architecture == "" || s.Architecture == r.Architecture) &&
		(s.Contract == "" || s.Contract == r.Contract)
}

// specificity is the number of fields a selector fixes.
func (s Selector) specificity() int {
	n := 0
	for _, f := range []string{s.Service, s.Architecture, s.Contract} {
		if f != "" {
			n++
		}
	}
	return n
}

// Assignment gives some aspects of a layer to an owner, under a selector.
type Assignment struct {
	ID        string    `yaml:"id" json:"id"`
	Layer     Layer     `yaml:"layer" json:"layer"`
	Aspects   []Aspect  `yaml:"aspects" json:"aspects"` // empty: all that no other assignment of the layer names
	When      Selector  `yaml:"when" json:"when"`
	Ownership Ownership `yaml:"ownership" json:"ownership"`
	Duty      string    `yaml:"duty" json:"duty"`     // the duty of the model it carries out
	Reason    string    `yaml:"reason" json:"reason"` // one sentence for the party that asks why
	Provider  string    `yaml:"provider" json:"provider,omitempty"`
	Customer  string    `yaml:"customer" json:"customer,omitempty"`
}

func (a Assignment) names(aspect Aspect) bool { return slices.Contains(a.Aspects, aspect) }

// Row is one line of the provider's published table by service type.
type Row struct {
	Area  string    `yaml:"area" json:"area"`
	Title string    `yaml:"title" json:"title"`
	Group string    `yaml:"group" json:"group"`
	PaaS  Ownership `yaml:"paas" json:"paas"`
	IaaS  Ownership `yaml:"iaas" json:"iaas"`
}

// Model is one version of a responsibility model.
type Model struct {
	ID          string       `yaml:"id" json:"id"`
	Version     int          `yaml:"version" json:"version"`
	Source      string       `yaml:"source" json:"source"`
	Table       []Row        `yaml:"table" json:"table"`
	Assignments []Assignment `yaml:"assignments" json:"assignments"`
}

// Resolution is the answer to "who must do this", with its reason. It is stored with the finding, so that
// a later model does not rewrite history.
type Resolution struct {
	Model      string    `json:"model"`
	Version    int       `json:"version"`
	Assignment string    `json:"assignment"`
	Duty       string    `json:"duty"`
	Layer      Layer     `json:"layer"`
	Aspect     Aspect    `json:"aspect"`
	Resource   Resource  `json:"resource"`
	Ownership  Ownership `json:"ownership"`
	Party      Party     `json:"party"`
	Reason     string    `json:"reason"`
	Provider   string    `json:"provider_part,omitempty"`
	Customer   string    `json:"customer_part,omitempty"`
}

// Unassigned is the assignment named when no other matched: an unowned duty is a provider problem.
const Unassigned = "unassigned"

// Resolve says who holds an aspect of a layer for a resource. An assignment that names the aspect comes
// before one that covers the whole layer; among equals the more specific selector decides.
func (m *Model) Resolve(l Layer, a Aspect, r Resource) Resolution {
	best, _ := m.best(l, a, r)
	if best == nil {
		return Resolution{Model: m.ID, Version: m.Version, Assignment: Unassigned, Layer: l, Aspect: a, Resource: r, Ownership: CSPOwned, Party: Provider,
			Reason: "no assignment of the model covers this, and what nobody holds the provider must sort out"}
	}
	return Resolution{Model: m.ID, Version: m.Version, Assignment: best.ID, Duty: best.Duty, Layer: l, Aspect: a, Resource: r,
		Ownership: best.Ownership, Party: best.Ownership.Party(), Reason: best.Reason, Provider: best.Provider, Customer: best.Customer}
}

// best finds the deciding assignment, and the one it ties with, if any.
func (m *Model) best(l Layer, a Aspect, r Resource) (best, tie *Assignment) {
	rank := func(x *Assignment) int {
		n := x.When.specificity()
		if x.names(a) {
			n += 10
		}
		return n
	}
	for i := range m.Assignments {
		x := &m.Assignments[i]
		if x.Layer != l || !x.When.matches(r) || (len(x.Aspects) > 0 && !x.names(a)) {
			continue
		}
		switch {
		case best == nil || rank(x) > rank(best):
			best, tie = x, nil
		case rank(x) == rank(best):
			tie = x
		}
	}
	return best, tie
}

// Resources enumerates every kind of resource a selector can tell apart.
func Resources() []Resource {
	var out []Resource
	for _, s := range ServiceTypes {
		for _, a := range Architectures {
			for _, c := range ContractTypes {
				out = append(out, Resource{Service: s, Architecture: a, Contract: c})
			}
		}
	}
	return out
}

// Validate holds a model against its own rules: closed lists, unique ids, both parts where shared, exactly
// one owner for every layer, aspect and kind of resource.
func (m *Model) Validate() error {
	ids := map[string]bool{}
	for _, a := range m.Assignments {
		switch {
		case a.ID == "" || ids[a.ID]:
			return fault.New(fault.Config, "assignment id %q is empty or used twice", a.ID)
		case !slices.Contains(Layers, a.Layer):
			return fault.New(fault.Config, "assignment %s: unknown layer %q", a.ID, a.Layer).Hinted("one of %v", Layers)
		case !slices.Contains(ownerships, a.Ownership):
			return fault.New(fault.Config, "assignment %s: unknown ownership %q", a.ID, a.Ownership).Hinted("one of %v", ownerships)
		case a.Ownership == SharedCSPCSC && (a.Provider == "" || a.Customer == ""):
			return fault.New(fault.Config, "assignment %s is shared and does not say both parts", a.ID).Hinted("give provider: and customer:")
		case a.Reason == "":
			return fault.New(fault.Config, "assignment %s gives no reason", a.ID)
		}
		for _, x := range a.Aspects {
			if !slices.Contains(Aspects, x) {
				return fault.New(fault.Config, "assignment %s: unknown aspect %q", a.ID, x).Hinted("one of %v", Aspects)
			}
		}
		ids[a.ID] = true
	}
	return m.decides()
}

// decides proves that the model answers every question exactly once.
func (m *Model) decides() error {
	for _, l := range Layers {
		for _, a := range Aspects {
			for _, r := range Resources() {
				best, tie := m.best(l, a, r)
				if best == nil {
					return fault.New(fault.Config, "nobody holds %s/%s for %s %s under a %s contract", l, a, r.Service, r.Architecture, r.Contract)
				}
				if tie != nil {
					return fault.New(fault.Config, "%s and %s both hold %s/%s for %s %s under a %s contract", best.ID, tie.ID, l, a, r.Service, r.Architecture, r.Contract)
				}
			}
		}
	}
	return nil
}

// Contract puts projects under a contract type for a time. To 0 means without end.
type Contract struct {
	ID       string            `yaml:"id" json:"id"`
	Type     string            `yaml:"type" json:"type"`
	Projects []asset.ProjectID `yaml:"projects" json:"projects"`
	From     int64             `yaml:"-" json:"from"`
	To       int64             `yaml:"-" json:"to,omitempty"`
}

// Covers tells whether the contract stands for a project at a time.
func (c Contract) Covers(p asset.ProjectID, at int64) bool {
	return at >= c.From && (c.To == 0 || at < c.To) && slices.Contains(c.Projects, p)
}

// ContractOf names the contract type of a project at a time: the first that covers it, else standard.
func ContractOf(cs []Contract, p asset.ProjectID, at int64) (typ, id string) {
	for _, c := range cs {
		if c.Covers(p, at) {
			return c.Type, c.ID
		}
	}
	return "standard", ""
}

// Explain tells a resolution in sentences, for a person who doubts it.
func (r Resolution) Explain() string {
	who := "the " + string(r.Party) + " must act"
	if r.Party == Shared {
		who = "both must act, each its part"
	}
	article := "a"
	if strings.HasPrefix(r.Resource.Contract, "e") {
		article = "an"
	}
	s := fmt.Sprintf("%s/%s, %s %s under %s %s contract, is %s: %s.\nWhy: %s.\nAssignment %s of model %s, version %d, carries out duty %s.",
		r.Layer, r.Aspect, r.Resource.Service, r.Resource.Architecture, article, r.Resource.Contract, r.Ownership, who, r.Reason,
		r.Assignment, r.Model, r.Version, cmp.Or(r.Duty, "none"))
	if r.Party == Shared {
		s += fmt.Sprintf("\nThe provider's part: %s.\nThe customer's part: %s.", r.Provider, r.Customer)
	}
	return s
}
