package flow

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/finding"
	"demarc/internal/plan"
	"demarc/internal/probe"
	"demarc/internal/profile"
	"demarc/internal/reach"
	"demarc/internal/untrusted"
)

// drift claims what is not secure by default: templates for the whole cloud, and each project's group default.
func (l *Line) drift(out map[finding.Key]shortfall) {
	for _, d := range profile.Drifted(l.x) {
		s := shortfall{key: finding.Key{Cloud: l.Cloud, Project: d.Project, Check: CheckDefault, Locus: ruleLocus(d.Rule)}, project: d.Project, weight: weights[CheckDefault][0], layer: d.Layer, aspect: d.Aspect,
			title: "The group that machines get by default lets others in", cause: d.Why,
			evidence: map[string]untrusted.Text{"rule to remove": untrusted.From(ruleText(d.Rule, l.x)), countKey: untrusted.From(fmt.Sprint(d.Ports))}}
		if d.Kind == profile.Template {
			s.key.Check, s.key.Locus, s.weight, s.title = CheckTemplate, templateLocus(l.x, d), weights[CheckTemplate][0], "The cloud's template lets others in to every new group"
			delete(s.evidence, countKey)
		}
		out[s.key] = s
	}
}

// ruleLocus says what a rule is, whichever row of the cloud it is: a rule that is made again is the same place.
func ruleLocus(r asset.Rule) string {
	ports := "*"
	if r.PortMin != asset.AnyPort {
		ports = fmt.Sprintf("%d-%d", r.PortMin, r.PortMax)
	}
	return fmt.Sprintf("rule IPv%d %s %s from %s", r.EtherType, cmp.Or(r.Protocol, "*"), ports, cmp.Or(remoteText(r), "*"))
}

// templateLocus adds to which groups a template gives its rule.
func templateLocus(x *asset.Index, d profile.Drift) string {
	for _, t := range x.Snapshot.DefaultRules {
		if d.ID == "template "+string(t.ID) {
			return fmt.Sprintf("%s, default %t, others %t", ruleLocus(t.Rule), t.InDefault, t.InCustom)
		}
	}
	return d.ID
}

// netblocks claims what is declared and not held, and what is held and not declared: nobody probes the one, and the other is not ours
// to probe.
func (l *Line) netblocks(out map[finding.Key]shortfall) {
	titles := map[string]string{plan.Undeclared: "A netblock of the cloud is not declared, so nothing of it is probed", plan.PartlyDeclared: "A netblock of the cloud is declared in part, so the rest is not probed",
		plan.Unheld: "A declared netblock is not the cloud's: what is probed there may be somebody else's", plan.PartlyHeld: "A declared netblock is the cloud's in part: what is probed beyond it may be somebody else's"}
	for _, m := range plan.Reconcile(l.x, l.Netblocks) {
		var missing, by []string
		for _, p := range m.Missing {
			missing = append(missing, p.String())
		}
		for _, r := range m.By {
			by = append(by, r.Why)
		}
		s := shortfall{key: finding.Key{Cloud: l.Cloud, Check: CheckNetblock, Locus: m.ID}, weight: weights[CheckNetblock][0], layer: "assurance", aspect: "monitor", title: titles[m.Kind],
			cause: "the netblocks of the configuration and the cloud's external subnets and routed prefixes differ", evidence: map[string]untrusted.Text{"lacking": untrusted.From(some(missing))}}
		if len(by) > 0 {
			s.evidence["held by"] = untrusted.From(some(by))
		}
		out[s.key] = s
	}
}

// profiles claims, rule by rule, what is open to a machine beyond its profile. What is in doubt is left out.
func (l *Line) profiles(ctx context.Context, out map[finding.Key]shortfall, doubtful map[finding.Key]bool) error {
	if !slices.Contains(l.Policy.Posture, CheckProfile) {
		return nil
	}
	listening, looked, err := l.listening(ctx)
	if err != nil {
		return err
	}
	weak, err := l.opensWeakness(ctx)
	if err != nil {
		return err
	}
	unasked, err := l.unasked(ctx)
	if err != nil {
		return err
	}
	for i := range l.x.Snapshot.Servers {
		s := &l.x.Snapshot.Servers[i]
		seen := l.openings(s.ID)
		if len(seen) == 0 {
			continue
		}
		choice, ok := profile.Choose(l.x, s, l.Policy, listening[s.ID])
		if !ok {
			continue
		}
		q := profile.Question{Index: l.x, Server: s, Choice: choice, Profiles: l.Policy.Profiles, Institution: l.Insiders, Seen: seen, Listening: listening[s.ID], Asked: Asked(looked, seen)}
		ds, smallest := profile.Judge(q)
		for _, d := range ds {
			if len(d.Doubts) == 0 {
				c := l.deviation(s, choice, d, smallest[d.Port])
				if weak[opensAt{d.Port, d.Rule}] || unasked(l.addrs[d.Port], d.Beyond) {
					doubtful[c.key] = true // the rule is the remedy of a finding of the service, and told with that; or it will be known soon
					continue
				}
				if _, worse := out[c.key]; !worse { // what is open now comes before what will be when the machine is on
					out[c.key] = c
				}
			}
		}
	}
	return nil
}

// opensAt is what opens a port of a machine: a rule, or, without one, that port security is off.
type opensAt struct {
	port asset.PortID
	rule asset.RuleID
}

// opensWeakness lists what opens an endpoint at which a weakness is known: it is closed or fixed with that, and is no finding of its own
// meanwhile.
func (l *Line) opensWeakness(ctx context.Context) (map[opensAt]bool, error) {
	fs, err := l.Ledger.Findings(ctx, access.Operator(), finding.Filter{States: finding.LiveStates})
	if err != nil {
		return nil, err
	}
	out := map[opensAt]bool{}
	for _, f := range fs {
		v := l.vantage(f.Vantage)
		if f.Key.Cloud != l.Cloud || f.Key.Port == "" || v == nil || slices.Contains(postureChecks, f.Key.Check) || f.Key.Check == CheckBlocked {
			continue
		}
		for _, o := range l.reach(v).Why(f.Endpoint, f.Key.Port) {
			out[opensAt{o.Port, o.Rule}] = true
		}
	}
	return out, nil
}

// unasked tells of runs of TCP ports at some addresses whether they have yet to be probed: they were just opened, or a vantage point has not swept
// at all. What is opened beside them says nothing of them.
func (l *Line) unasked(ctx context.Context) (func([]netip.Addr, []profile.Beyond) bool, error) {
	waits, unswept := map[netip.Addr][]casework.Ask{}, false
	for i := range l.Vantages {
		name := l.Vantages[i].Name
		_, swept, err := l.Ledger.LastCoverage(ctx, probe.KindSweep, l.Cloud, name, probe.Reach)
		if err != nil {
			return nil, err
		}
		unswept = unswept || !swept
		asks, err := l.Ledger.Queue(ctx, name, math.MaxInt32)
		if err != nil {
			return nil, err
		}
		for _, a := range asks {
			waits[a.Addr] = append(waits[a.Addr], a)
		}
	}
	return func(addrs []netip.Addr, runs []profile.Beyond) bool {
		return unswept || slices.ContainsFunc(addrs, func(addr netip.Addr) bool {
			return slices.ContainsFunc(waits[addr], func(a casework.Ask) bool {
				return slices.ContainsFunc(runs, func(r profile.Beyond) bool { return r.Proto == a.Proto && r.First <= a.Last && a.First <= r.Last })
			})
		})
	}, nil
}

// openings gathers what is open to somebody of a zone at a machine, by vantage point: two of one zone may stand for different parts of it.
func (l *Line) openings(id asset.ServerID) []profile.Seen {
	var out []profile.Seen
	for i := range l.Vantages {
		v := &l.Vantages[i]
		open := slices.DeleteFunc(l.reach(v).Of(id), func(o reach.Opening) bool { return !o.Zone })
		if len(open) > 0 {
			out = append(out, profile.Seen{View: v.View, Openings: open})
		}
	}
	return out
}

// Asked lists the protocols of which every port that is open to a machine was asked, where all vantage points have swept. Of a run that is
// too wide nobody knows, and TCP is all that is asked.
func Asked(swept bool, seen []profile.Seen) []probe.Proto {
	wide := slices.ContainsFunc(seen, func(s profile.Seen) bool {
		open := map[netip.Addr]int{}
		return slices.ContainsFunc(s.Openings, func(o reach.Opening) bool {
			if o.Proto == probe.TCP {
				open[o.Addr] += int(o.Last) - int(o.First) + 1
			}
			return open[o.Addr] > plan.WideRange
		})
	})
	if !swept || wide {
		return []probe.Proto{}
	}
	return []probe.Proto{probe.TCP}
}

// listening is what answers on each machine, and whether every vantage point has once asked all that is open: a sweep that was not whole
// has not.
func (l *Line) listening(ctx context.Context) (out map[asset.ServerID][]probe.Endpoint, looked bool, err error) {
	out, looked = map[asset.ServerID][]probe.Endpoint{}, true
	for i := range l.Vantages {
		v := &l.Vantages[i]
		open, err := l.Ledger.OpenExposures(ctx, v.Name)
		if err != nil {
			return nil, false, err
		}
		for _, e := range open {
			if h, ok := l.behind(single(e.Endpoint)); ok {
				out[h.Server] = append(out[h.Server], e.Endpoint)
			}
		}
		last, err := l.Ledger.LastSweep(ctx, l.Cloud, v.Name, probe.Reach)
		if err != nil {
			return nil, false, err
		}
		looked = looked && last.Ended != 0
	}
	return out, looked, nil
}

func (l *Line) deviation(s *asset.Server, choice profile.Choice, d profile.Deviation, smallest []asset.Rule) shortfall {
	var beyond, rules []string
	for _, b := range d.Beyond {
		from := strings.Trim(fmt.Sprint(b.From), "[]")
		if len(b.From) > mostNamed { // such as the whole internet but what is nobody's there
			from = d.Remote
		}
		beyond = append(beyond, fmt.Sprintf("%s from %s", run(reach.Range{Proto: b.Proto, First: b.First, Last: b.Last}), from))
	}
	for _, r := range smallest {
		rules = append(rules, profile.Words(r))
	}
	locus := "port security"
	if g := l.x.Groups[d.Group]; g != nil {
		for _, r := range g.Rules {
			if r.ID == d.Rule {
				locus = ruleLocus(r) + ", in group " + string(g.ID)
			}
		}
	}
	c := shortfall{key: finding.Key{Cloud: l.Cloud, Server: s.ID, Port: d.Port, Check: CheckProfile, Locus: locus, Zone: d.Zone}, project: s.Project, weight: weights[CheckProfile][0],
		layer: "network-controls", aspect: "configure", title: "The machine is open beyond what it is for",
		cause:    fmt.Sprintf("its profile is %s, %s", strings.Join(choice.Names, " or "), saidBy(choice.By)),
		evidence: map[string]untrusted.Text{"open beyond its profile": untrusted.From(some(beyond)), "opened by": untrusted.From(strings.Join(d.Why, ", "))}}
	if choice.By == profile.Inferred {
		c.weight = weights[CheckProfile][1]
	}
	if d.State == reach.WhenOn {
		c.evidence["state"] = untrusted.From("not now: when the machine is on")
	}
	switch ours := l.ownsGroup(s.Project, d.Group); {
	case d.Rule != "" && ours:
		c.evidence["rule to remove"] = untrusted.From(fmt.Sprintf("%s of group %s", d.Rule, d.Group))
		if w := l.carriers(s, d.Group); w != "" {
			c.evidence["take care"] = untrusted.From(w)
		}
	case d.Rule != "":
		c.evidence["group to take off the port"] = untrusted.From(fmt.Sprintf("%s, which is another project's; give port %s a group of your own", d.Group, d.Port))
	}
	if len(rules) > 0 {
		c.evidence["rules that still serve what listens"] = untrusted.From(some(rules))
	}
	return c
}

// ownsGroup tells whether a project may change a group.
func (l *Line) ownsGroup(p asset.ProjectID, g asset.GroupID) bool {
	group := l.x.Groups[g]
	return group != nil && group.Project == p
}

// carriers says who else loses what a rule of a group opens: other ports of the project, by their number, and other projects, if any.
func (l *Line) carriers(s *asset.Server, g asset.GroupID) string {
	own, foreign := 0, false
	for _, p := range l.x.Members[g] {
		switch {
		case p.Project != s.Project:
			foreign = true
		case p.Server != s.ID:
			own++
		}
	}
	var out []string
	if own > 0 {
		out = append(out, fmt.Sprintf("%d other ports of your project carry the group too", own))
	}
	if foreign {
		out = append(out, "ports of other projects carry the group too")
	}
	return strings.Join(out, "; ")
}

// saidBy tells who gave a machine its profile.
func saidBy(by profile.By) string {
	switch by {
	case profile.Operator:
		return "as the operators declared"
	case profile.Owner, profile.Tag:
		return "as its owner declared"
	case profile.Image:
		return "as its image says"
	}
	return "which nobody declared: it follows from what listens and what its groups are called"
}
