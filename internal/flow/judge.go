package flow

import (
	"context"
	"net/netip"
	"slices"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/detect"
	"demarc/internal/finding"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// judge holds a harvest against what is known: exposures begin and end, weaknesses are claimed, findings are seen again
// or gone. All of it is one transaction with the coverage; an unchanged sweep writes the coverage alone.
func (l *Line) judge(ctx context.Context, v *Vantage, h harvest) error {
	d := l.draft("judge")
	d.change.Coverage, d.change.Asked = []probe.Coverage{h.coverage}, h.asked
	if h.reached != nil {
		d.change.Reached = map[string]string{v.Name: h.reached.Digest()}
	}
	if h.blocks != nil {
		d.change.Blocks = map[string]map[netip.Prefix]int64{v.Name: h.blocks}
	}
	if h.walk != nil {
		d.change.Walks = map[string]probe.Walk{v.Name: *h.walk}
	}
	d.sayDiscarded(h.moved, "changed hands while it was probed")
	d.sayDiscarded(h.touched, "leads to a port that was altered while it was probed")
	if err := d.exposures(ctx, v, h); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, c := range l.claims(v, h) {
		id, err := d.open(ctx, c)
		if err != nil {
			return err
		}
		seen[id] = true
	}
	if err := d.revisit(ctx, v, h, seen); err != nil {
		return err
	}
	if err := d.silentHosts(ctx, v, h); err != nil {
		return err
	}
	if err := d.commit(ctx); err != nil {
		return err
	}
	if h.reached != nil {
		l.last[v.Name] = h.reached
	}
	if len(d.change.Exposures) > 0 {
		l.shown = false // what is open beyond a profile is held against what listens
	}
	return nil
}

// sayDiscarded records, once for each address, that what was seen there counts for nobody.
func (d *draft) sayDiscarded(ss []sight, why string) {
	said := map[netip.Addr]bool{}
	for _, s := range ss {
		if !said[s.Endpoint.Addr] {
			said[s.Endpoint.Addr] = true
			d.say(Happening{Event: "observation.discarded", ServerID: s.holder.Server, Project: s.holder.Project, Detail: s.Endpoint.Addr.String() + " " + why})
		}
	}
}

// silentHosts finds the machines that run, whose rules let us in, and that answered nothing at all. That is no breach; it is
// a machine we cannot vouch for, and after a second silent cycle its owner is asked.
func (d *draft) silentHosts(ctx context.Context, v *Vantage, h harvest) error {
	if h.coverage.Purpose != probe.Reach || h.coverage.Answered == 0 {
		return nil // when nothing answers at all, the trouble is ours
	}
	answered := map[asset.PortID]bool{}
	first := map[asset.PortID]sight{}
	for _, s := range h.sights {
		if !s.known() || s.by != nil || s.Facts.Outcome == probe.Failed {
			continue
		}
		answered[s.holder.Port] = answered[s.holder.Port] || s.Facts.Outcome.Answered()
		if _, ok := first[s.holder.Port]; !ok && s.config.Scanner {
			first[s.holder.Port] = s
		}
	}
	for port, s := range first {
		if answered[port] {
			continue
		}
		known, err := d.l.Ledger.Findings(ctx, access.Operator(), finding.Filter{Server: s.holder.Server})
		if err != nil {
			return err
		}
		if slices.ContainsFunc(known, func(f finding.Finding) bool {
			return f.State.Live() && f.Key.Port == port && !slices.Contains(postureChecks, f.Key.Check)
		}) {
			continue // what is known of it is looked at on its own
		}
		f := finding.Finding{Project: s.holder.Project, State: finding.Suspicion, Endpoint: s.Endpoint, Vantage: v.Name,
			Key: finding.Key{Cloud: d.l.Cloud, Server: s.holder.Server, Port: port, Locus: "host", Zone: v.Zone}}
		if err := d.openBlocked(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// The ways in which what answers can stand to what the rules say.
const (
	configOpen    = "open"         // the zone is let in
	configScanner = "scanner_only" // only we are: obedience, never an exposure
	configDenied  = "denied"       // nobody is, and it answers: a leak
	configUnheld  = "unheld"       // the inventory knows no machine at the address
	configUnsure  = "unsure"       // the model says denied, and is not proven here: no ground for anything
)

// configured is what the rules say of what was seen. Where a machine is known to hold the address and the rules say nothing, as when it is
// off, that is no denial.
func (s sight) configured() string {
	if !s.known() {
		return configUnheld
	}
	return Configured(s.config)
}

// Configured says in a word what the rules say of an endpoint: open, scanner_only, denied or unsure.
func Configured(a reach.Answer) string {
	switch {
	case a.Zone:
		return configOpen
	case a.Scanner:
		return configScanner
	case !a.Denied():
		return configUnsure
	}
	return configDenied
}

// exposures begins and ends the intervals in which endpoints are open. Silence ends none: it is no answer.
func (d *draft) exposures(ctx context.Context, v *Vantage, h harvest) error {
	open, err := d.l.Ledger.OpenExposures(ctx, v.Name)
	if err != nil {
		return err
	}
	at := map[probe.Endpoint]probe.Exposure{}
	for _, e := range open {
		at[e.Endpoint] = e
	}
	for _, s := range h.sights {
		was, known := at[s.Endpoint]
		hash, config := s.Facts.Hash(), s.configured()
		same := known && was.Facts == hash && was.Config == config
		if s.Facts.Outcome == probe.Open && same || s.Facts.Outcome != probe.Open && !(known && s.Facts.Outcome == probe.Closed) {
			continue
		}
		if known {
			was.ClosedAt = max(s.SentAt, was.OpenedAt)
			d.change.Exposures = append(d.change.Exposures, was)
		}
		if s.Facts.Outcome == probe.Open {
			d.change.Facts = append(d.change.Facts, s.Facts)
			if config == configScanner && (!known || was.Config != config) {
				d.say(Happening{Event: "endpoint.scanner_only", ServerID: s.holder.Server, Project: s.holder.Project, Detail: s.Endpoint.String() + " answers our scanner alone: its groups let nobody else in"})
			}
			d.change.Exposures = append(d.change.Exposures, probe.Exposure{ID: newID(), Vantage: v.Name, Endpoint: s.Endpoint, OpenedAt: s.SentAt, Facts: hash, Config: config})
		}
	}
	return nil
}

// claim is one weakness as one observation shows it.
type claim struct {
	key     finding.Key
	sight   sight
	verdict detect.Verdict
	check   *detect.Check // nil for what the configuration alone says
	cause   string
}

// claims lists the weaknesses a harvest shows. What answers our scanner alone is no exposure. What answers although nobody
// is let in is one leak, whatever speaks there.
func (l *Line) claims(v *Vantage, h harvest) []claim {
	var out []claim
	exposed := map[probe.Endpoint]sight{}
	var judged []probe.Observation
	for _, s := range h.sights {
		if !s.known() {
			continue
		}
		switch {
		case s.Facts.Outcome == probe.Open && s.configured() == configDenied:
			out = append(out, l.leak(v, s))
		case s.Facts.Outcome == probe.Open && s.configured() == configOpen, s.Facts.Outcome == probe.Closed:
			exposed[s.Endpoint] = s
			judged = append(judged, s.Observation)
		}
	}
	out = append(out, l.joined(v, h)...)
	for _, host := range detect.ByAddress(judged) {
		for _, j := range detect.HostVerdicts(host, l.Checks, l.Clock.Now()) {
			if j.Answer != detect.Vulnerable {
				continue
			}
			s, ok := exposed[j.Endpoint]
			if !ok { // a verdict on the host as a whole
				if s = exposed[host[0].Endpoint]; s.by != nil {
					continue // several machines answer at the address
				}
			}
			out = append(out, claim{key: l.key(v, s, j.Check, j.Endpoint), sight: s, verdict: j.Verdict, check: l.checks[j.Check]})
		}
	}
	return out
}

// key is the identity of a finding: the machine, the check, the place on it, and who can see it.
func (l *Line) key(v *Vantage, s sight, check string, at probe.Endpoint) finding.Key {
	locus := "host"
	if at.Port != 0 {
		locus = finding.LocusOf(at)
	}
	if s.by != nil {
		locus = forwardedLocus + string(s.holder.FloatingIP) + " " + locus
	}
	return finding.Key{Cloud: l.Cloud, Server: s.holder.Server, Port: s.holder.Port, Check: check, Locus: locus, Zone: v.Zone}
}

// revisit applies a sweep to findings that are known: silence where there was an answer, proof of refusal, rules that no
// longer let the zone in. Findings that look the same as before write nothing.
func (d *draft) revisit(ctx context.Context, v *Vantage, h harvest, seen map[string]bool) error {
	fs, err := d.l.Ledger.Findings(ctx, access.Operator(), finding.Filter{})
	if err != nil {
		return err
	}
	at := map[probe.Endpoint]sight{}
	for _, s := range h.sights {
		at[s.Endpoint] = s
	}
	whole := false // all that the rules open was asked, by an inventory that lacks nothing
	if h.reached != nil {
		if whole, _, err = d.l.healthy(ctx); err != nil {
			return err
		}
	}
	for _, f := range fs {
		s, probed := at[f.Endpoint]
		if !probed && whole && f.Vantage == v.Name {
			if err := d.checkUnplanned(ctx, f); err != nil {
				return err
			}
			continue
		}
		if !f.State.Live() || f.State == finding.Unverifiable && !(probed && s.Facts.Outcome.Answered()) || seen[f.ID] || f.Vantage != v.Name || !probed || s.holder.Port != f.Key.Port || s.holder.Shared && s.by == nil || (s.by != nil) != isForwarded(f) {
			continue // what answers where several ports claim the address says nothing of any of them
		}
		ds, err := d.dossier(ctx, f.Case)
		if err != nil {
			return err
		}
		if restrictedOrHeld(ds.Case.State) {
			continue // what a quarantined machine shows is looked at on its own
		}
		verdict := d.l.verdict(f, s, []sight{s}, s.config, false)
		if verdict == "" || verdict == finding.Inconclusive || verdict == finding.Vulnerable && f.State == finding.Open && f.Negatives == 0 {
			continue // it says nothing, or nothing new
		}
		if verdict == finding.Removed {
			acts, err := d.l.inForce(ctx, ds.Case)
			if err != nil {
				return err
			}
			if len(acts) > 0 {
				continue // our own order hides it, for another case of the machine: its own looks ask what will be when that is over
			}
			hidden, err := d.l.inLostQuarantine(ctx, f)
			if err != nil {
				return err
			}
			if hidden {
				continue
			}
		}
		d.look(ds, f, s, verdict)
	}
	return nil
}

// checkUnplanned has a finding checked on its own whose endpoint a sweep did not ask, because the rules no longer lead there: otherwise an owner
// who removed the rule would wait for the deadline to hear that it is fixed.
func (d *draft) checkUnplanned(ctx context.Context, f finding.Finding) error {
	if !f.State.Live() || f.State == finding.Unverifiable || slices.Contains(postureChecks, f.Key.Check) || f.Key.Check == CheckBlocked || f.Key.Check == CheckLeak {
		return nil
	}
	ds, err := d.dossier(ctx, f.Case)
	if err != nil || restrictedOrHeld(ds.Case.State) || ds.Case.State.Over() || ds.Case.TakenBack() != "" {
		return err
	}
	acts, err := d.l.inForce(ctx, ds.Case)
	if err != nil || len(acts) > 0 {
		return err
	}
	d.arm(casework.Due{Case: f.Case, Timer: casework.TimerRecheck, At: d.now + minute})
	return nil
}

func restrictedOrHeld(s casework.State) bool {
	return slices.Contains([]casework.State{casework.Restricted, casework.Verifying, casework.OnHold}, s)
}

// look writes one look at a finding, and what follows for its case.
func (d *draft) look(ds casework.Dossier, f finding.Finding, s sight, verdict finding.Verdict) casework.Dossier {
	x := finding.Sighting{Finding: f.ID, At: d.now, RealAt: d.l.Clock.Real(), Verdict: verdict, Vantage: f.Vantage}
	if s.Facts.Outcome == probe.Open {
		x.Facts = s.Facts.Hash()
		d.change.Facts = append(d.change.Facts, s.Facts)
	}
	d.change.Sightings = append(d.change.Sightings, x)
	h := about(ds.Case, "looked."+string(verdict))
	h.Finding, h.Check, h.Detail = f.ID, f.Key.Check, f.Where()
	d.say(h)
	return d.apply(ds, casework.Looked{Sighting: x})
}

// verdict says what one observation means for one finding, or "" when it means nothing. Host is what else was seen at the
// address. Alive tells whether the path from
// the vantage point is known to work: without it, silence behind a rule that was removed proves nothing.
func (l *Line) verdict(f finding.Finding, s sight, host []sight, config reach.Answer, alive bool) finding.Verdict {
	if f.Key.Server == "" {
		return l.joinedVerdict(f, s, host, config)
	}
	answered := s.Facts.Outcome.Answered()
	if s.Facts.Outcome != probe.Open && !l.running(f) {
		return "" // a machine that is off shows nothing, whoever resets in its place: it is asked again when it runs
	}
	switch f.Key.Check {
	case CheckLeak:
		return leakVerdict(s, config, alive)
	case CheckBlocked:
		if slices.ContainsFunc(host, func(s sight) bool { return s.Facts.Outcome.Answered() }) {
			return finding.NotVulnerable
		}
		if s.Facts.Outcome == probe.Failed {
			return ""
		}
		return finding.Vulnerable
	}
	switch {
	case s.Facts.Outcome == probe.Failed:
		return ""
	case !config.Zone && len(config.Doubts) > 0:
		return finding.Inconclusive // what the rules say here is not proven, and nothing follows from it
	case !config.Zone && (alive || answered):
		return finding.Removed
	case s.Facts.Outcome == probe.Closed && f.Key.Locus != "host":
		return finding.ClosedPort
	case answered:
		return l.answer(f, host)
	case !config.Scanner:
		return finding.Inconclusive // we are not let in: silence is as it should be
	default:
		return finding.NoAnswer
	}
}

// answer asks the finding's own check.
func (l *Line) answer(f finding.Finding, host []sight) finding.Verdict {
	var seen []probe.Observation
	for _, s := range host {
		seen = append(seen, s.Observation)
	}
	for _, j := range detect.HostVerdicts(seen, l.Checks, l.Clock.Now()) {
		if j.Check != f.Key.Check || j.Endpoint.Port != 0 && j.Endpoint.Port != f.Endpoint.Port {
			continue
		}
		switch j.Answer {
		case detect.Vulnerable:
			return finding.Vulnerable
		case detect.NotVulnerable:
			return finding.NotVulnerable
		case detect.Closed:
			return finding.ClosedPort
		case detect.Filtered:
			return finding.NoAnswer
		case detect.Inconclusive:
			return finding.Inconclusive
		}
	}
	return finding.Inconclusive
}

func (l *Line) running(f finding.Finding) bool {
	s, p := l.server(f.Key.Server), l.x.Ports[f.Key.Port]
	return s != nil && s.Active() && p != nil && p.AdminUp
}
