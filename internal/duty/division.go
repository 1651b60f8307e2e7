package duty

import "slices"

// Share is what one assignment decides of a layer: the aspects that have the same answer.
type Share struct {
	Layer      Layer     `json:"layer"`
	Aspects    []Aspect  `json:"aspects"`
	Ownership  Ownership `json:"ownership"`
	Holder     string    `json:"holder"` // a party's id, shared, or none where there is no such thing
	ThirdParty string    `json:"third_party,omitempty"`
	Duty       string    `json:"duty,omitempty"`
	Assignment string    `json:"assignment"`
	Reason     string    `json:"reason"`
	Provider   string    `json:"provider_part,omitempty"`
	Customer   string    `json:"customer_part,omitempty"`
}

// Nobody is the holder of what there is not.
const Nobody = "none"

// Division says, layer by layer, who holds what of a resource.
func (m *Model) Division(r Resource) []Share {
	var out []Share
	for _, l := range Layers {
		from := len(out)
		for _, x := range Aspects {
			v := m.Resolve(l, x, r)
			i := slices.IndexFunc(out[from:], func(s Share) bool { return s.Assignment == v.Assignment })
			if i >= 0 {
				out[from+i].Aspects = append(out[from+i].Aspects, x)
				continue
			}
			out = append(out, Share{Layer: l, Aspects: []Aspect{x}, Ownership: v.Ownership, Holder: m.holder(v.Ownership, v.ThirdParty), ThirdParty: v.ThirdParty,
				Duty: v.Duty, Assignment: v.Assignment, Reason: v.Reason, Provider: v.Provider, Customer: v.Customer})
		}
	}
	return out
}

// holder names who an ownership means in this model.
func (m *Model) holder(o Ownership, third string) string {
	switch o {
	case CSPOwned:
		return m.inRole(RoleProvider)
	case CSCOwned:
		return m.inRole(RoleCustomer)
	case ThirdParty:
		return third
	case SharedCSPCSC, SharedThirdParty:
		return string(Shared)
	case NotApplicable:
		return Nobody
	}
	return Nobody
}

// holders lists the parties that have a part under an ownership.
func (m *Model) holders(o Ownership, third string) []string {
	provider, customer := m.inRole(RoleProvider), m.inRole(RoleCustomer)
	switch o {
	case CSPOwned:
		return []string{provider}
	case CSCOwned:
		return []string{customer}
	case ThirdParty:
		return []string{third}
	case SharedCSPCSC:
		return []string{provider, customer}
	case SharedThirdParty:
		return []string{provider, third}
	case NotApplicable:
	}
	return nil
}

// inRole is the id of the first party in a role: of provider and customer there is exactly one.
func (m *Model) inRole(r Role) string {
	i := slices.IndexFunc(m.Parties, func(o Organisation) bool { return o.Role == r })
	return m.Parties[i].ID
}

// Deciding lists the assignments that decide about a duty, over every kind of resource that it speaks of.
func (m *Model) Deciding(d *Duty) []*Assignment {
	var out []*Assignment
	for _, r := range m.Kinds() {
		d.When.place(&r)
		if !d.When.matches(&r) {
			continue
		}
		for _, l := range d.Layers() {
			for _, x := range d.Aspects {
				if a := m.decide(slot(l, x), &r); a != nil && !slices.Contains(out, a) {
					out = append(out, a)
				}
			}
		}
	}
	return out
}

// place puts a resource where the selector says.
func (s *Selector) place(r *Resource) {
	r.Cloud, r.Region, r.Domain, r.Project, r.Tags = s.Cloud, s.Region, s.Domain, s.Project, s.Tags
}
