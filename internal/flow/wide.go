package flow

import (
	"fmt"
	"slices"
	"strings"

	"demarc/internal/asset"
	"demarc/internal/finding"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/reach"
	"demarc/internal/untrusted"
)

// wide claims that security groups open very many ports to the internet, whatever the profiles of the machines: one finding for each group
// and project, with the project's machines; and one for each port of a machine without port security. The project that owns the group is told
// of its group, and of no machine of another project. Where the model is not proven, the claim goes to doubtful: nothing follows from it.
func (l *Line) wide(out map[finding.Key]shortfall, doubtful map[finding.Key]bool) {
	if !slices.Contains(l.Policy.Posture, CheckWide) {
		return
	}
	machines := map[finding.Key][]string{}
	add := func(k finding.Key, project asset.ProjectID, s shortfall, machine string, doubts []string) {
		if len(doubts) > 0 {
			doubtful[k] = true
			return
		}
		if _, known := out[k]; !known {
			s.key, s.project, s.weight = k, project, weights[CheckWide][0]
			s.layer, s.aspect = "network-controls", "configure"
			out[k] = s
		}
		if machine != "" {
			machines[k] = append(machines[k], machine)
		}
	}
	for i := range l.Vantages {
		v := &l.Vantages[i]
		if v.Zone != probe.Internet {
			continue
		}
		for _, b := range l.reach(v).Broad(reach.Breadth{Most: l.Policy.WidePorts, Limited4: policy.LimitedBits4, Limited6: policy.LimitedBits6}) {
			if b.Open {
				k, s := l.openPort(b)
				add(k, b.Project, s, "", b.Doubts)
			}
			for _, g := range b.Groups {
				add(l.wideGroup(g, b.Project), b.Project, l.wideClaim(g, b.Project, true), l.machine(b.Server), b.Doubts)
				if owner := l.x.Groups[g].Project; owner != b.Project {
					add(l.wideGroup(g, owner), owner, l.wideClaim(g, owner, true), "", b.Doubts)
				}
			}
			for _, g := range b.Together { // what a port's owner puts together is theirs alone
				add(l.wideGroup(g, b.Project), b.Project, l.wideClaim(g, b.Project, false), l.machine(b.Server), b.Doubts)
			}
		}
	}
	for k, ms := range machines {
		slices.Sort(ms)
		out[k].evidence["machines"] = untrusted.From(some(slices.Compact(ms)))
	}
}

func (l *Line) wideGroup(g asset.GroupID, p asset.ProjectID) finding.Key {
	return finding.Key{Cloud: l.Cloud, Project: p, Check: CheckWide, Locus: "group " + string(g)}
}

// wideClaim is what is said of a group to a project: that it opens too much alone, or with the other groups of a port.
func (l *Line) wideClaim(id asset.GroupID, reader asset.ProjectID, alone bool) shortfall {
	g := l.x.Groups[id]
	var rules []string
	for _, r := range g.Rules {
		if r.Direction == asset.Ingress && (r.PortMin == asset.AnyPort || r.PortMax-r.PortMin >= 64) {
			rules = append(rules, fmt.Sprintf("%s: %s", r.ID, ruleText(r, l.x)))
		}
	}
	s := shortfall{title: fmt.Sprintf("A security group opens more than %d ports to the internet", l.Policy.WidePorts),
		cause:    "that is more than any server needs; whatever starts to listen there is open at once",
		evidence: map[string]untrusted.Text{"group": untrusted.From(fmt.Sprintf("%s (%s)", g.Name, g.ID))}}
	if len(rules) > 0 {
		s.evidence["rules"] = untrusted.From(some(rules))
	}
	if !alone {
		s.title = fmt.Sprintf("The security groups of a port together open more than %d ports to the internet", l.Policy.WidePorts)
	}
	if g.Project != reader {
		s.evidence["what you can do"] = untrusted.From("the group is another project's: take it off your ports, and use one of your own")
	}
	return s
}

// openPort is what is said of a port of a machine that no group protects.
func (l *Line) openPort(b reach.Broad) (finding.Key, shortfall) {
	s := shortfall{title: "Port security is off: every port of the server is open to the internet",
		cause:    "no security group applies to the port; whatever starts to listen there is open at once",
		evidence: map[string]untrusted.Text{"port": untrusted.From(string(b.Port))}}
	return finding.Key{Cloud: l.Cloud, Check: CheckWide, Locus: "port security", Server: b.Server, Port: b.Port, Zone: probe.Internet}, s
}

// machine names a server as its owner knows it.
func (l *Line) machine(id asset.ServerID) string {
	if s := l.x.Servers[id]; s != nil {
		return strings.TrimSpace(s.Name.Raw() + " (" + string(id) + ")")
	}
	return string(id)
}
