package openstack

import (
	"fmt"
	"regexp"

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
			return []string{"# port security is off: no group protects it", "openstack port set --enable-port-security " + string(o.Port)}
		case !seen[o.Rule] && safeID.MatchString(string(o.Rule)):
			seen[o.Rule] = true
			out = append(out, fmt.Sprintf("# %s from %s%s", ports(o), remote(o), others(x, o)), "openstack security group rule delete "+string(o.Rule))
		}
	}
	return out
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

func others(x *asset.Index, o reach.Opening) string {
	switch n := len(x.Members[o.Group]) - 1; {
	case n == 1:
		return ", also for 1 other port with this group"
	case n > 1:
		return fmt.Sprintf(", also for %d other ports with this group", n)
	}
	return ""
}
