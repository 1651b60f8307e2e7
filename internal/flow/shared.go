package flow

import (
	"context"
	"fmt"
	"slices"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/finding"
	"demarc/internal/untrusted"
)

// shared claims, of the project that owns a shared security group, that a rule of it leaves a weakness of a server of another project open:
// that project cannot change the group. Its owner is told of the group and the rule, and of nothing of another project. The claim stands until
// the rule is gone or no port of another project carries the group, whatever becomes of the weakness: the rule has not changed.
func (l *Line) shared(ctx context.Context, out map[finding.Key]shortfall) error {
	if !slices.Contains(l.Policy.Posture, CheckShared) {
		return nil
	}
	fs, err := l.Ledger.Findings(ctx, access.Operator(), finding.Filter{States: finding.LiveStates})
	if err != nil {
		return err
	}
	opened := map[finding.Key]bool{}
	for _, f := range fs {
		switch {
		case f.Key.Cloud != l.Cloud:
		case f.Key.Check == CheckShared:
			opened[f.Key] = true
		case f.State == finding.Open && l.mayAct(f) && l.vantage(f.Vantage) != nil:
			for _, o := range l.reach(l.vantage(f.Vantage)).Why(f.Endpoint, f.Key.Port) {
				if g := l.x.Groups[o.Group]; g != nil && g.Project != f.Project && o.Zone && len(o.Doubts) == 0 {
					for _, r := range g.Rules {
						if r.ID == o.Rule {
							opened[l.sharedKey(g, r)] = true
						}
					}
				}
			}
		}
	}
	for i := range l.x.Snapshot.Groups {
		g := &l.x.Snapshot.Groups[i]
		if !slices.ContainsFunc(l.x.Members[g.ID], func(p *asset.Port) bool { return p.Project != g.Project }) {
			continue
		}
		for _, r := range g.Rules {
			if k := l.sharedKey(g, r); opened[k] {
				out[k] = l.sharedClaim(k, g, r)
			}
		}
	}
	return nil
}

// mayAct tells whether a finding is of the kind that can lead to an action on the server: proven, and of a class that ends in one.
func (l *Line) mayAct(f finding.Finding) bool {
	return f.Key.Port != "" && f.Grade == finding.Proved && l.base.Classes[f.Class].End.Restricts()
}

func (l *Line) sharedKey(g *asset.Group, r asset.Rule) finding.Key {
	return finding.Key{Cloud: l.Cloud, Project: g.Project, Check: CheckShared, Locus: ruleLocus(r) + ", in group " + string(g.ID)}
}

func (l *Line) sharedClaim(k finding.Key, g *asset.Group, r asset.Rule) shortfall {
	return shortfall{key: k, project: g.Project, weight: weights[CheckShared][0], layer: "network-controls", aspect: "configure",
		title: "A rule of a security group that your project shares opens servers of other projects",
		cause: "projects that use the group cannot change it; what the rule opens on their servers only you can close for all of them",
		evidence: map[string]untrusted.Text{"group": untrusted.From(fmt.Sprintf("%s (%s)", g.Name, g.ID)),
			"rule": untrusted.From(fmt.Sprintf("%s: %s", r.ID, ruleText(r, l.x)))}}
}
