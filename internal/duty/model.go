package duty

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"demarc/internal/asset"
)

// Model is one version of a responsibility model. It is made by Parse alone, and never changes afterwards.
type Model struct {
	ID            string         `yaml:"id" json:"id"`
	Version       int            `yaml:"version" json:"version"`
	Title         string         `yaml:"title" json:"title,omitempty"`
	Documents     []Document     `yaml:"documents" json:"documents"`
	ServiceTypes  []string       `yaml:"service_types" json:"service_types"`   // the first is the default
	Architectures []string       `yaml:"architectures" json:"architectures"`   // the first is the default
	ContractTypes []string       `yaml:"contract_types" json:"contract_types"` // the first is what holds without a contract
	Parties       []Organisation `yaml:"parties" json:"parties"`
	Table         []Area         `yaml:"table" json:"table,omitempty"`
	Conflicts     []Conflict     `yaml:"conflicts" json:"conflicts,omitempty"`
	Duties        []Duty         `yaml:"duties" json:"duties"`
	Assignments   []Assignment   `yaml:"assignments" json:"assignments"`
	Contracts     []Contract     `yaml:"contracts" json:"contracts,omitempty"`
	Offerings     []Offering     `yaml:"offerings" json:"offerings,omitempty"`

	text    string // it was read from
	hash    string // of what it says
	byID    map[string]*Duty
	choices [][]choice // for each layer and aspect, what may decide, the most specific first
	asks    []ask      // every question the duties raise
	tables  []table    // for each kind of resource, in the order of Kinds
	book    *book
}

// Hash is the SHA-256 of the model's JSON form, in hex: of what it says, in whatever format, with whatever comments, quotes and line
// ends. Two models with the same id and version must not differ in it.
func (m *Model) Hash() string { return m.hash }

// Text is what the model was read from.
func (m *Model) Text() string { return m.text }

// Duty finds a duty by its id.
func (m *Model) Duty(id string) (*Duty, bool) {
	d, ok := m.byID[id]
	return d, ok
}

// Organisation finds a party by its id.
func (m *Model) Organisation(id string) (Organisation, bool) {
	i := slices.IndexFunc(m.Parties, func(o Organisation) bool { return o.ID == id })
	if i < 0 {
		return Organisation{}, false
	}
	return m.Parties[i], true
}

// Document is a source of duties.
type Document struct {
	ID        string `yaml:"id" json:"id"`
	Title     string `yaml:"title" json:"title"`
	Publisher string `yaml:"publisher" json:"publisher,omitempty"`
	URL       string `yaml:"url" json:"url,omitempty"`
}

// Organisation is a party of a model: the provider, the customer, or a third one that does something for them.
type Organisation struct {
	ID       string   `yaml:"id" json:"id"`
	Role     Role     `yaml:"role" json:"role"`
	Name     string   `yaml:"name" json:"name"`
	Contacts Contacts `yaml:"contacts" json:"contacts,omitzero"`
}

// Contact is where the provider is told of what it must do, "" where the model does not say.
func (m *Model) Contact() string {
	for _, p := range m.Parties {
		if p.Role == RoleProvider {
			return p.Contacts.First()
		}
	}
	return ""
}

// First is the address for what is found: for security, else for what is technical, else for abuse.
func (c Contacts) First() string { return cmp.Or(c.Security, c.Technical, c.Abuse) }

// Contacts are a party's mail addresses, by what is to be said.
type Contacts struct {
	Security  string `yaml:"security" json:"security,omitempty"`
	Abuse     string `yaml:"abuse" json:"abuse,omitempty"`
	Technical string `yaml:"technical" json:"technical,omitempty"`
}

// Area is one row of a provider's published table: who holds it under each service type.
type Area struct {
	Area      string               `yaml:"area" json:"area"`
	Title     string               `yaml:"title" json:"title"`
	Group     string               `yaml:"group" json:"group"`
	Ownership map[string]Ownership `yaml:"ownership" json:"ownership"` // by service type
}

// Conflict is a place where the sources contradict each other, and how the model decides.
type Conflict struct {
	ID         string   `yaml:"id" json:"id"`
	What       string   `yaml:"what" json:"what"`
	Resolution string   `yaml:"resolution" json:"resolution"`
	Duties     []string `yaml:"duties" json:"duties,omitempty"`
	Open       bool     `yaml:"open" json:"open,omitempty"` // the sources leave it open: the provider should decide
}

// Source is the place of a sentence.
type Source struct {
	Document string `yaml:"document" json:"document"`
	Section  string `yaml:"section" json:"section"`
}

// Duty is a sentence of a source: somebody must, should or may do something.
type Duty struct {
	ID         string              `yaml:"id" json:"id"`
	Title      string              `yaml:"title" json:"title"`
	Holder     string              `yaml:"holder" json:"holder"` // a party's id, or shared: provider and customer
	Strength   Strength            `yaml:"strength" json:"strength"`
	Source     Source              `yaml:"source" json:"source"`
	Area       string              `yaml:"area" json:"area,omitempty"` // row of the table
	Layer      Layer               `yaml:"layer" json:"layer"`
	Also       []Layer             `yaml:"also" json:"also,omitempty"` // further layers it spans
	Aspects    []Aspect            `yaml:"aspects" json:"aspects"`
	When       Selector            `yaml:"when" json:"when,omitzero"`
	Evidence   Evidence            `yaml:"evidence" json:"evidence"`
	Observable string              `yaml:"observable" json:"observable,omitempty"` // what can be seen of it
	Checks     []string            `yaml:"checks" json:"checks,omitempty"`         // what shows that it is not done
	Frameworks map[string][]string `yaml:"frameworks" json:"frameworks,omitempty"` // control ids, by framework: our own mapping
}

// Layers lists every layer the duty spans.
func (d *Duty) Layers() []Layer { return append([]Layer{d.Layer}, d.Also...) }

// Selector narrows an assignment or a duty; an empty field matches all.
type Selector struct {
	Service      string          `yaml:"service" json:"service,omitempty"`
	Architecture string          `yaml:"architecture" json:"architecture,omitempty"`
	Contract     string          `yaml:"contract" json:"contract,omitempty"` // type
	Cloud        string          `yaml:"cloud" json:"cloud,omitempty"`
	Region       string          `yaml:"region" json:"region,omitempty"`
	Domain       asset.DomainID  `yaml:"domain" json:"domain,omitempty"`
	Project      asset.ProjectID `yaml:"project" json:"project,omitempty"`
	Tags         []string        `yaml:"tags" json:"tags,omitempty"` // the project's tags, all of them: operators set those, tenants do not
}

// allows tells whether the selector means resources of a kind, some of them or all.
func (s *Selector) allows(kind *Resource) bool {
	return (s.Service == "" || s.Service == kind.Service) && (s.Architecture == "" || s.Architecture == kind.Architecture) && (s.Contract == "" || s.Contract == kind.Contract)
}

// matches tells whether a resource is meant.
func (s *Selector) matches(r *Resource) bool {
	if !s.allows(r) || s.Cloud != "" && s.Cloud != r.Cloud || s.Region != "" && s.Region != r.Region || s.Domain != "" && s.Domain != r.Domain || s.Project != "" && s.Project != r.Project {
		return false
	}
	for _, t := range s.Tags {
		if !slices.Contains(r.Tags, t) {
			return false
		}
	}
	return true
}

// general tells whether the selector tells apart nothing but kinds of resources.
func (s *Selector) general() bool {
	return s.Cloud == "" && s.Region == "" && s.Domain == "" && s.Project == "" && len(s.Tags) == 0
}

// mostTags bounds the tags of one selector; more would outweigh a project.
const mostTags = 7

// rank orders selectors: a project before tags, a domain, a region, a cloud, and those before the number of kinds fixed.
func (s *Selector) rank() int {
	n := len(s.Tags) << 5
	for bit, f := range [...]string{2: s.Cloud, 3: s.Region, 4: string(s.Domain), 8: string(s.Project)} {
		if f != "" {
			n |= 1 << bit
		}
	}
	for _, f := range []string{s.Service, s.Architecture, s.Contract} {
		if f != "" {
			n++
		}
	}
	return n
}

// String tells the selector in words, for a table and for an error.
func (s Selector) String() string {
	var out []string
	for _, f := range []string{s.Service, s.Architecture, s.Contract} {
		if f != "" {
			out = append(out, f)
		}
	}
	for _, f := range [][2]string{{"cloud", s.Cloud}, {"region", s.Region}, {"domain", string(s.Domain)}, {"project", string(s.Project)}} {
		if f[1] != "" {
			out = append(out, f[0]+" "+f[1])
		}
	}
	for _, t := range s.Tags {
		out = append(out, "tag "+t)
	}
	return cmp.Or(strings.Join(out, ", "), "always")
}

// Assignment gives some aspects of a layer to an owner, under a selector.
type Assignment struct {
	ID         string    `yaml:"id" json:"id"`
	Layer      Layer     `yaml:"layer" json:"layer"`
	Aspects    []Aspect  `yaml:"aspects" json:"aspects,omitempty"` // empty: all that no other assignment of the layer names
	When       Selector  `yaml:"when" json:"when,omitzero"`
	Ownership  Ownership `yaml:"ownership" json:"ownership"`
	ThirdParty string    `yaml:"third_party" json:"third_party,omitempty"` // a party's id, where the ownership has one
	Duty       string    `yaml:"duty" json:"duty,omitempty"`               // the duty of the model it carries out
	Reason     string    `yaml:"reason" json:"reason"`                     // one sentence for the party that asks why
	Provider   string    `yaml:"provider" json:"provider,omitempty"`       // the provider's part, where it is shared
	Customer   string    `yaml:"customer" json:"customer,omitempty"`       // the customer's part, where it is shared
}

// decides tells whether the assignment may decide about an aspect of its layer.
func (a *Assignment) decides(x Aspect) bool {
	return len(a.Aspects) == 0 || slices.Contains(a.Aspects, x)
}

// rank orders the assignments of one layer and aspect: to name the aspect counts more than any selector. The selector's
// contract counts with the kinds.
func (a *Assignment) rank() int {
	n := a.When.rank()
	if len(a.Aspects) > 0 {
		n |= 1 << 9
	}
	return n
}

// Resource is what a question is about, as far as a selector can see it.
type Resource struct {
	Service      string          `json:"service"`
	Architecture string          `json:"architecture"`
	Contract     string          `json:"contract"`              // type
	ContractID   string          `json:"contract_id,omitempty"` // which one covers it, if any
	Cloud        string          `json:"cloud,omitempty"`
	Region       string          `json:"region,omitempty"`
	Domain       asset.DomainID  `json:"domain,omitempty"`
	Project      asset.ProjectID `json:"project,omitempty"`
	Server       asset.ServerID  `json:"server,omitempty"`
	Tags         []string        `json:"tags,omitempty"`
}

// Kind names what the resource is: a virtual machine under IaaS with a standard contract.
func (r Resource) Kind() string {
	return fmt.Sprintf("%s %s under %s %s contract", r.Service, r.Architecture, article(r.Contract), r.Contract)
}

func article(s string) string {
	if s != "" && strings.Contains("aeiou", s[:1]) {
		return "an"
	}
	return "a"
}

// Kinds enumerates every kind of resource that the model tells apart.
func (m *Model) Kinds() []Resource {
	var out []Resource
	for _, s := range m.ServiceTypes {
		for _, a := range m.Architectures {
			for _, c := range m.ContractTypes {
				out = append(out, Resource{Service: s, Architecture: a, Contract: c})
			}
		}
	}
	return out
}

// Plain is what a resource is of which nothing else is said.
func (m *Model) Plain() Resource {
	return Resource{Service: m.ServiceTypes[0], Architecture: m.Architectures[0], Contract: m.ContractTypes[0]}
}
