package profile

import (
	"cmp"
	"fmt"
	"slices"

	"demarc/internal/asset"
	"demarc/internal/duty"
)

// Drift is one rule by which a new or a default group lets in somebody from outside the project. Clouds are secure by default: "firewall
// rules, which are secure by default and don't allow external communication with your virtual machines" (NexGen Cloud, shared
// responsibility model).
type Drift struct {
	ID      string          `json:"id"`   // the rule's, or the template's: the same as long as it is there
	Kind    string          `json:"kind"` // template, default-group
	Rule    asset.Rule      `json:"rule"`
	Project asset.ProjectID `json:"project,omitempty"` // of the group; none for a template
	Ports   int             `json:"ports"`             // that carry the group now
	Layer   duty.Layer      `json:"layer"`             // what the matrix is asked: who holds it
	Aspect  duty.Aspect     `json:"aspect"`
	Why     string          `json:"why"`
}

// The kinds of drift.
const (
	Template     = "template"      // what Neutron puts into new groups
	DefaultGroup = "default-group" // a project's own group default
)

// parent stands in a template for the group that the rule is copied into. Source: Neutron API reference, default security group rules.
const parent = "PARENT"

// Drifted lists what is not secure by default. A template is the provider's to give (secure-default); so is a rule of a default group
// that a template says too. Any other rule of a default group somebody of the project made (configure).
func Drifted(x *asset.Index) []Drift {
	const layer = duty.Layer("network-controls")
	var out []Drift
	for _, d := range x.Snapshot.DefaultRules {
		if d.Direction != asset.Ingress || d.RemoteGroup == parent || !d.InDefault && !d.InCustom {
			continue
		}
		out = append(out, Drift{ID: "template " + string(d.ID), Kind: Template, Rule: d.Rule, Layer: layer, Aspect: "secure-default",
			Why: fmt.Sprintf("every new group%s lets in %s", inWhich(d), from(x, &d.Rule))})
	}
	for i := range x.Snapshot.Groups {
		g := &x.Snapshot.Groups[i]
		if g.Name.Raw() != "default" { // Neutron keeps this name for the group that each project has by itself
			continue
		}
		for j := range g.Rules {
			r := &g.Rules[j]
			if r.Direction != asset.Ingress || ofProject(x, g, r) {
				continue
			}
			d := Drift{ID: "rule " + string(r.ID), Kind: DefaultGroup, Rule: *r, Project: g.Project, Ports: len(x.Members[g.ID]), Layer: layer, Aspect: "configure",
				Why: "the project's group default, which every machine gets that names no other, lets in " + from(x, r)}
			if slices.ContainsFunc(x.Snapshot.DefaultRules, func(t asset.DefaultRule) bool { return t.InDefault && sameRule(t.Rule, *r) }) {
				d.Aspect, d.Why = "secure-default", d.Why+", as the cloud's template says"
			}
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b Drift) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

func inWhich(d asset.DefaultRule) string {
	switch {
	case d.InDefault && d.InCustom:
		return ""
	case d.InDefault:
		return " default"
	}
	return " that a tenant makes"
}

// ofProject tells whether a rule lets in nobody but machines of its own project.
func ofProject(x *asset.Index, g *asset.Group, r *asset.Rule) bool {
	if r.RemoteGroup == "" {
		return false
	}
	other := x.Groups[r.RemoteGroup]
	return other != nil && other.Project == g.Project
}

func sameRule(t, r asset.Rule) bool {
	return t.EtherType == r.EtherType && t.Protocol == r.Protocol && t.PortMin == r.PortMin && t.PortMax == r.PortMax && t.RemotePrefix == r.RemotePrefix && t.RemoteAddress == r.RemoteAddress && t.RemoteGroup == r.RemoteGroup
}

// from says whom a rule lets in to what.
func from(x *asset.Index, r *asset.Rule) string {
	what := cmp.Or(r.Protocol, "every protocol")
	if r.PortMin != asset.AnyPort && r.PortMin == r.PortMax {
		what += fmt.Sprintf(" %d", r.PortMin)
	} else if r.PortMin != asset.AnyPort {
		what += fmt.Sprintf(" %d-%d", r.PortMin, r.PortMax)
	}
	switch {
	case r.RemotePrefix.IsValid():
		return what + " from " + r.RemotePrefix.String()
	case r.RemoteAddress != "":
		return what + " from address group " + string(r.RemoteAddress)
	case r.RemoteGroup != "" && x.Groups[r.RemoteGroup] != nil:
		return what + fmt.Sprintf(" from group %s of another project", r.RemoteGroup)
	case r.RemoteGroup != "":
		return what + fmt.Sprintf(" from group %s, which is not known", r.RemoteGroup)
	}
	return what + fmt.Sprintf(" from anybody (IPv%d)", r.EtherType)
}
