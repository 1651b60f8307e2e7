// Package profile holds what is open to a machine against what its kind of machine may have open.
//
// A profile is declared: by an operator, by the owner, by a tag, by the image, in this order. Where it is not, it is inferred, and said
// to be: what is inferred allows everything that any profile which fits allows.
package profile

import (
	"slices"
	"strings"

	"demarc/internal/asset"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

// By says who gave a machine its profile.
type By string

// Who can, the first that does in this order.
const (
	Operator By = "operator" // in the policy, for the machine or for its project
	Owner    By = "owner"    // in the machine's metadata, under MetadataKey
	Tag      By = "tag"      // of the machine, beginning with TagPrefix
	Image    By = "image"    // a property of what it was built from
	Inferred By = "inferred" // nobody: by what listens, and by the names of its groups
)

// How an owner says it.
const (
	MetadataKey = "demarc:profile"
	TagPrefix   = "demarc-profile="
)

// Choice is the profile of a machine. Names has one, but for what is inferred: there it has all that fit.
type Choice struct {
	Names   []string         `json:"names"`
	By      By               `json:"by"`
	Unknown []untrusted.Text `json:"unknown,omitempty"` // what was declared and is no profile; the next who declares one is heard
}

// Choose finds the profile of a machine; ok is false where nothing says one. Listening is what was seen to answer on it, or is known
// to, by the machine's own ports.
func Choose(x *asset.Index, s *asset.Server, p *policy.Policy, listening []probe.Endpoint) (c Choice, ok bool) {
	for _, said := range declared(x, s, p) {
		if said.name.Empty() {
			continue
		}
		if _, known := p.Profiles[said.name.Raw()]; known {
			c.Names, c.By = []string{said.name.Raw()}, said.by
			return c, true
		}
		c.Unknown = append(c.Unknown, said.name)
	}
	c.Names, c.By = infer(x, s, p, listening), Inferred
	return c, len(c.Names) > 0
}

type saying struct {
	by   By
	name untrusted.Text
}

// declared lists what is said of a machine, the first to be heard first.
func declared(x *asset.Index, s *asset.Server, p *policy.Policy) []saying {
	var out []saying
	for _, d := range p.ProfileOf {
		if d.Server == s.ID {
			out = append([]saying{{Operator, untrusted.From(d.Profile)}}, out...)
		} else if d.Server == "" && d.Project == s.Project {
			out = append(out, saying{Operator, untrusted.From(d.Profile)})
		}
	}
	out = append(out, saying{Owner, s.Metadata[MetadataKey]})
	for _, t := range s.Tags {
		if name, ours := strings.CutPrefix(t.Raw(), TagPrefix); ours {
			out = append(out, saying{Tag, untrusted.From(name)})
		}
	}
	if i := x.Images[s.Image]; i != nil {
		out = append(out, saying{Image, i.Profile})
	}
	return out
}

// infer lists the profiles that fit what listens on a machine or what its groups are called.
func infer(x *asset.Index, s *asset.Server, p *policy.Policy, listening []probe.Endpoint) []string {
	var groups []string
	for _, port := range x.PortsOf[s.ID] {
		for _, id := range port.Groups {
			if g := x.Groups[id]; g != nil {
				groups = append(groups, strings.ToLower(g.Name.Raw()))
			}
		}
	}
	var out []string
	for _, name := range p.ProfileNames() {
		k := p.Profiles[name]
		listens := slices.ContainsFunc(listening, func(e probe.Endpoint) bool { return e.Proto == probe.TCP && slices.Contains(k.Listen, e.Port) })
		called := slices.ContainsFunc(groups, func(g string) bool {
			return slices.ContainsFunc(k.Words, func(w string) bool { return w != "" && strings.Contains(g, w) })
		})
		if listens || called {
			out = append(out, name)
		}
	}
	return out
}
