package flow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/fault"
	"demarc/internal/finding"
	"demarc/internal/probe"
	"demarc/internal/reach"
	"demarc/internal/untrusted"
)

// The findings that the configuration alone shows: no packet is needed to see them, and none to see them gone.
const (
	CheckHidden   = "sg-blocks-scanner"   // others of the zone are let in, and our probe is not
	CheckDefault  = "default-group-open"  // a project's group default lets in what it should not
	CheckTemplate = "template-group-open" // every new group of the cloud does
	CheckNetblock = "netblock-mismatch"   // a netblock is declared and not held, or held and not declared
	CheckProfile  = "exposure-profile"    // a machine is open beyond what it is for
	CheckWide     = "wide-opening"        // a group opens very many ports to the internet
	CheckShared   = "shared-group-open"   // a rule of a shared group leaves a weakness of another project open
)

// postureChecks are the checks of this kind. What they find is stated by the cloud itself, and never leads to an act.
var postureChecks = []string{CheckHidden, CheckDefault, CheckTemplate, CheckNetblock, CheckProfile, CheckWide, CheckShared}

// PostureChecks lists the checks whose findings the configuration alone shows.
func PostureChecks() []string { return slices.Clone(postureChecks) }

// Weight is how bad a finding of the configuration is: its severity, and the class that sets its clocks.
type Weight struct{ Severity, Class string }

// weights are those that a check can give: first the usual one, then the other, where its claim says when.
var weights = map[string][]Weight{
	CheckHidden:   {{"low", "L"}, {"medium", "B"}},
	CheckDefault:  {{"medium", "M"}},
	CheckTemplate: {{"medium", "M"}},
	CheckNetblock: {{"medium", "M"}},
	CheckProfile:  {{"medium", "M"}, {"low", "L"}},
	CheckWide:     {{"medium", "M"}},
	CheckShared:   {{"medium", "M"}},
}

// Weights lists those that a check of the configuration can give, the usual one first.
func Weights(check string) []Weight { return slices.Clone(weights[check]) }

// shortfall is one claim that the configuration makes: something of it is not as it should be.
type shortfall struct {
	key      finding.Key
	project  asset.ProjectID
	weight   Weight
	title    string
	layer    duty.Layer
	aspect   duty.Aspect
	cause    string
	evidence map[string]untrusted.Text
	at       probe.Endpoint // where it shows; the zero value where it is about no address
}

// posture holds what is known of the configuration against what it says now, once for each reading. Only a complete reading says that
// something is wrong no longer.
func (l *Line) posture(ctx context.Context) (bool, error) {
	const key = "posture"
	c, known, err := l.Ledger.LastCoverage(ctx, probe.KindInventory, l.Cloud, "", "")
	if err != nil || !known || !c.Complete || c.RealAt == l.posturedAt || l.waiting(key) {
		return false, err
	}
	did, err := l.compare(ctx)
	if err != nil {
		l.putOff(key, err)
		return true, err
	}
	l.done(key)
	l.posturedAt = c.RealAt
	return did, nil
}

// compare opens what is new and looks at what is gone. What goes wrong with one machine keeps no other waiting.
func (l *Line) compare(ctx context.Context) (did bool, err error) {
	shown, err := l.shortfalls(ctx)
	if err != nil {
		return false, err
	}
	wanted := maps.Clone(shown)
	known, err := l.Ledger.Findings(ctx, access.Operator(), finding.Filter{States: append(slices.Clone(finding.LiveStates), finding.Fixed)})
	if err != nil {
		return false, err
	}
	var errs []error
	room := l.room(known)
	for _, f := range known {
		if f.Key.Cloud != l.Cloud || !slices.Contains(postureChecks, f.Key.Check) || !slices.Contains(l.Policy.Posture, f.Key.Check) {
			continue // what is not asked any more is not said to be gone
		}
		s, still := wanted[f.Key]
		delete(wanted, f.Key)
		switch asIs := f.State != finding.Fixed && f.Negatives == 0; {
		case still && asIs && f.Endpoint == s.at && maps.Equal(said(f.Evidence), said(s.evidence)):
			continue // it is as it was
		case !still && (!asIs || !l.tells(f)):
			continue // it is gone already, the case itself asks again, or nothing follows from what is not there
		case f.State == finding.Fixed && !room.has(s):
			continue // it is back, among the rest
		}
		done, err := l.lookAtShortfall(ctx, f, s, still)
		if f.State == finding.Fixed && done {
			room.take(s)
		}
		did, errs = did || done, append(errs, err)
	}
	for _, s := range slices.SortedFunc(maps.Values(wanted), shortfall.compare) {
		if !room.has(s) {
			continue
		}
		done, err := l.openShortfall(ctx, s)
		if done {
			room.take(s)
		}
		did, errs = did || done, append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return did, errors.Join(errs...)
}

// countKey names evidence that changes without anything being different.
const countKey = "ports that carry it now"

// said is evidence without its counts.
func said(evidence map[string]untrusted.Text) map[string]untrusted.Text {
	out := maps.Clone(evidence)
	delete(out, countKey)
	return out
}

// tells tells whether anything follows when the configuration does not show a finding: of a machine that is off, that is not listed, or
// whose way the model is not proven for, it shows nothing.
func (l *Line) tells(f finding.Finding) bool {
	internet := func(v Vantage) bool { return v.Zone == probe.Internet }
	if l.doubtful[f.Key] || f.Key.Check == CheckWide && !slices.ContainsFunc(l.Vantages, internet) {
		return false
	}
	if f.Key.Server == "" {
		return true
	}
	if !l.running(f) {
		return false
	}
	for i := range l.Vantages {
		v := &l.Vantages[i]
		if v.Zone != f.Key.Zone {
			continue
		}
		for _, addr := range l.addrs[f.Key.Port] {
			if len(l.reach(v).Lookup(probe.Endpoint{Addr: addr, Proto: probe.TCP, Port: f.Endpoint.Port}).Doubts) > 0 {
				return false
			}
		}
	}
	return true
}

// lookAtShortfall is one look at a finding, by the configuration as it was last read.
func (l *Line) lookAtShortfall(ctx context.Context, f finding.Finding, s shortfall, still bool) (bool, error) {
	ds, err := l.dossier(ctx, f.Case)
	if err != nil {
		return false, err
	}
	acts, err := l.inForce(ctx, ds.Case)
	if err != nil || len(acts) > 0 || restrictedOrHeld(ds.Case.State) {
		return false, err // our own order changed the configuration: it proves nothing
	}
	d := l.draft("posture")
	verdict := finding.NotVulnerable
	if still {
		verdict = finding.Vulnerable
		for i := range ds.Findings {
			if ds.Findings[i].ID == f.ID {
				ds.Findings[i].Endpoint, ds.Findings[i].Evidence = s.at, s.evidence
			}
		}
	}
	d.look(ds, f, sight{}, verdict)
	return true, conflictIsLater(d.commit(ctx))
}

// conflictIsLater: who wrote in between is seen by the next reading.
func conflictIsLater(err error) error {
	if fault.Is(err, fault.Conflict) {
		return nil
	}
	return err
}

// openShortfall opens a finding for a claim of the configuration.
func (l *Line) openShortfall(ctx context.Context, s shortfall) (bool, error) {
	d := l.draft("posture")
	old, known, err := l.Ledger.FindingByKey(ctx, s.key)
	if err != nil || known && (old.State.Live() || old.State == finding.AttributionHold) {
		return false, err
	}
	by := l.charge(s.layer, s.aspect, s.key.Server, s.project)
	key := casework.Case{Cloud: l.Cloud, Server: s.key.Server, Project: s.project, Party: by.Party, Track: casework.Configuration}.Key()
	if ending, err := d.ending(ctx, key); err != nil || ending {
		return false, err
	}
	acts, err := l.inForce(ctx, casework.Case{Cloud: l.Cloud, Server: s.key.Server})
	if err != nil || len(acts) > 0 {
		return false, err
	}
	f := finding.Finding{
		ID: cmp.Or(old.ID, newID()), Key: s.key, Project: s.project, State: finding.Open, Grade: finding.Observed, Severity: s.weight.Severity, Class: s.weight.Class, Title: s.title, Revision: 1,
		Endpoint: s.at, Evidence: s.evidence, Cause: s.cause, Duty: by, FirstSeen: d.now, LastSeen: d.now, Version: old.Version,
	}
	d.change.Sightings = append(d.change.Sightings, finding.Sighting{Finding: f.ID, At: d.now, RealAt: l.Clock.Real(), Verdict: finding.Vulnerable})
	if err := d.join(ctx, f, casework.Configuration, passage{}); err != nil {
		return false, err
	}
	return true, conflictIsLater(d.commit(ctx))
}

// shortfallNow is the verdict of the configuration on a finding of its own, for a case that asks again.
func (d *draft) shortfallNow(ctx context.Context, ds casework.Dossier, f finding.Finding) (casework.Dossier, error) {
	ok, _, err := d.l.healthy(ctx)
	if err != nil {
		return ds, err
	}
	now, err := d.l.shortfalls(ctx)
	if err != nil {
		return ds, err
	}
	acts, err := d.l.inForce(ctx, ds.Case)
	if err != nil {
		return ds, err
	}
	s, still := now[f.Key]
	switch {
	case len(acts) > 0:
		return d.later(ds, f), nil // what our own quarantine changes tells nothing of what the owner has
	case !slices.Contains(d.l.Policy.Posture, f.Key.Check):
		return d.noVerdict(ds, f, "the check is switched off in the policy"), nil
	case !ok || !still && !d.l.tells(f):
		return d.noVerdict(ds, f, "the sync of the cloud was incomplete, or it is not known what listens there, or a weakness behind the rule is open"), nil
	case still:
		f.Endpoint = s.at
		return d.draw(ds, f, sight{}, finding.Vulnerable), nil
	}
	return d.draw(ds, f, sight{}, finding.NotVulnerable), nil
}

// shortfalls is everything that the configuration shows now. It is worked out once for each reading and each change of what listens, and
// not to be altered.
func (l *Line) shortfalls(ctx context.Context) (map[finding.Key]shortfall, error) {
	if l.shown {
		return l.showing, nil
	}
	out, doubtful := map[finding.Key]shortfall{}, map[finding.Key]bool{}
	l.wide(out, doubtful)
	for i := range l.Vantages {
		l.hidden(&l.Vantages[i], out)
	}
	l.drift(out)
	l.netblocks(out)
	if err := l.profiles(ctx, out, doubtful); err != nil {
		return nil, err
	}
	if err := l.shared(ctx, out); err != nil {
		return nil, err
	}
	maps.DeleteFunc(out, func(k finding.Key, _ shortfall) bool { return !slices.Contains(l.Policy.Posture, k.Check) })
	l.rests(out)
	l.showing, l.doubtful, l.shown = out, doubtful, true
	return out, nil
}

// mostNamed bounds how many endpoints and rules one finding names.
const mostNamed = 8

// hidden claims, for each port of a machine, that others of the zone are let in where our probe is not, and names the rules that
// would let it in.
func (l *Line) hidden(v *Vantage, out map[finding.Key]shortfall) {
	byPort := map[asset.PortID][]reach.Hidden{}
	for _, h := range l.reach(v).Hidden() {
		if h.Proto == probe.TCP { // what else there is, nothing asks yet
			byPort[h.Port] = append(byPort[h.Port], h)
		}
	}
	for port, hs := range byPort {
		first := hs[0]
		k := finding.Key{Cloud: l.Cloud, Server: first.Server, Port: port, Check: CheckHidden, Locus: "host", Zone: v.Zone}
		if _, twice := out[k]; twice {
			continue // another vantage point of the zone
		}
		var shut, rules []string
		for _, h := range hs {
			shut = append(shut, fmt.Sprintf("%s at %s, let in from %s by rule %s", run(h.Range), h.Addr, h.Remote, h.Rule))
			for _, r := range h.Add {
				if !l.ownsGroup(h.Project, r.Group) {
					r.Group = "" // the reader cannot change it: the rule goes to a group of their own
				}
				rules = append(rules, ruleText(r, l.x))
			}
		}
		weight := weights[CheckHidden][0]
		if l.reach(v).MostOf(hs) { // not a limited range, but everybody except us
			weight = weights[CheckHidden][1]
		}
		out[k] = shortfall{key: k, project: first.Project, weight: weight, layer: "assurance", aspect: "configure",
			title:    "The security groups let others in and keep our probes out",
			cause:    "what " + string(v.Zone) + " reaches there cannot be looked at",
			at:       probe.Endpoint{Addr: first.Addr, Proto: first.Proto, Port: first.First},
			evidence: map[string]untrusted.Text{"open to others": untrusted.From(some(shut)), "rule to add": untrusted.From(some(rules))},
		}
	}
}

func run(r reach.Range) string {
	if r.First == r.Last {
		return fmt.Sprintf("%s/%d", r.Proto, r.First)
	}
	return fmt.Sprintf("%s/%d-%d", r.Proto, r.First, r.Last)
}

// ruleText writes a rule as an owner would make it.
func ruleText(r asset.Rule, x *asset.Index) string {
	text := fmt.Sprintf("%s IPv%d %s from %s", r.Direction, r.EtherType, reach.Describe(&r), cmp.Or(remoteText(r), "any address"))
	if g := x.Groups[r.Group]; g != nil {
		text += fmt.Sprintf(", in group %s (%s)", g.Name, g.ID)
	}
	return text
}

// remoteText names whom a rule lets in; "" where that is anybody.
func remoteText(r asset.Rule) string {
	switch {
	case r.RemotePrefix.IsValid():
		return r.RemotePrefix.String()
	case r.RemoteAddress != "":
		return "address group " + string(r.RemoteAddress)
	case r.RemoteGroup != "":
		return "group " + string(r.RemoteGroup)
	}
	return ""
}

// some joins the first of many.
func some(ss []string) string {
	slices.Sort(ss)
	ss = slices.Compact(ss)
	if n := len(ss); n > mostNamed {
		return strings.Join(ss[:mostNamed], "; ") + fmt.Sprintf("; and %d more", n-mostNamed)
	}
	return strings.Join(ss, "; ")
}
