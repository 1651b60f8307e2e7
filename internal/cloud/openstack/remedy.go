package openstack

import (
	"fmt"
	"regexp"
	"slices"

	"demarc/internal/asset"
	"demarc/internal/finding"
	"demarc/internal/reach"
)

// safeID is what may stand in a command somebody will paste into a shell: an identifier of the cloud's own making.
var safeID = regexp.MustCompile(`^[0-9a-fA-F-]{8,64}$`)

// Remedy gives the commands of the openstack client that close what a finding shows from outside: one for each rule that
// opens its endpoint. A rule of a group that other ports carry closes theirs too, so the comment says how many.
func Remedy(x *asset.Index, f finding.Finding, openings []reach.Opening) []string {
	var out []string
	seen := map[asset.RuleID]bool{}
	for _, o := range openings {
		switch {
		case o.Port != f.Key.Port || !o.Zone:
		case o.Rule == "" && safeID.MatchString(string(o.Port)):
			return protect(x, f.Project, o.Port)
		case !seen[o.Rule] && safeID.MatchString(string(o.Rule)):
			seen[o.Rule] = true
			out = append(out, shut(x, f.Project, o)...)
		}
	}
	return out
}

// protect are the commands that let groups protect a port again, where the reader may do that: it takes the owner of the network.
// Source: neutron/conf/policies/port.py, update_port:port_security_enabled.
func protect(x *asset.Index, reader asset.ProjectID, id asset.PortID) []string {
	const what = "# port security is off: no group protects it"
	if p := x.Ports[id]; p != nil {
		if n := x.Networks[p.Network]; n != nil && n.Project != reader {
			return []string{what + "; only the owner of its network can switch it on: ask the operators of the cloud"}
		}
	}
	return []string{what, "openstack port set --enable-port-security " + string(id)}
}

// shut are the commands by which a project closes an opening: it deletes a rule of its own groups, and takes a group of another project off
// its port.
func shut(x *asset.Index, reader asset.ProjectID, o reach.Opening) []string {
	what := fmt.Sprintf("# %s from %s", ports(o), remote(o))
	if o.FloatingIP != "" && forwards(x, o) {
		what = fmt.Sprintf("# opens what the floating IP forwards at %s, from %s", ports(o), remote(o))
	}
	if g := x.Groups[o.Group]; g != nil && g.Project == reader {
		return []string{what + others(x, reader, o), "openstack security group rule delete " + string(o.Rule)}
	}
	if !safeID.MatchString(string(o.Group)) || !safeID.MatchString(string(o.Port)) {
		return nil
	}
	return []string{what + "; the group is another project's: give the port one of your own for what you need, then take this one off",
		fmt.Sprintf("openstack port unset --security-group %s %s", o.Group, o.Port)}
}

// forwards tells whether an opening is one of a port forwarding, whose ports inside are others than outside.
func forwards(x *asset.Index, o reach.Opening) bool {
	return slices.ContainsFunc(x.FloatingOf[o.Port], func(f *asset.FloatingIP) bool { return f.ID == o.FloatingIP && f.Port != o.Port })
}

// remote names the sources of an opening; what it holds of a tenant's making is an identifier or a prefix, or is not shown.
func remote(o reach.Opening) string {
	if safeRemote.MatchString(o.Remote) {
		return o.Remote
	}
	return "elsewhere"
}

var safeRemote = regexp.MustCompile(`^[0-9a-zA-Z:./ -]{1,80}$`)

func ports(o reach.Opening) string {
	if o.First == o.Last {
		return fmt.Sprintf("%s/%d", o.Proto, o.First)
	}
	return fmt.Sprintf("%s/%d-%d", o.Proto, o.First, o.Last)
}

// others says who else loses what a rule opens: other ports of the reader's project, by their number, and other projects, if any.
func others(x *asset.Index, reader asset.ProjectID, o reach.Opening) string {
	own, foreign := 0, false
	for _, p := range x.Members[o.Group] {
		switch {
		case p.Project != reader:
			foreign = true
		case p.ID != o.Port:
			own++
		}
	}
	var out string
	switch {
	case own == 1:
		out = ", also for 1 other port with this group"
	case own > 1:
		out = fmt.Sprintf(", also for %d other ports with this group", own)
	}
	if foreign {
		out += ", also for ports of other projects"
	}
	return out
}
