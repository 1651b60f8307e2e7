package flow

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/finding"
)

// open turns a claim into a finding with a case, or sees one again. It returns the finding's id. A finding that is open and
// looks the same is left alone.
func (d *draft) open(ctx context.Context, c claim) (string, error) {
	for _, f := range d.change.Findings {
		if f.Key == c.key {
			return f.ID, nil // another address of the same port shows the same
		}
	}
	f, known, err := d.l.Ledger.FindingByKey(ctx, c.key)
	if err != nil {
		return "", err
	}
	if known && f.State != finding.Closed && f.State != finding.Dropped && f.State != finding.Moot {
		return f.ID, d.seenAgain(ctx, f, c)
	}
	at, version, id := d.now, f.Version, cmp.Or(f.ID, newID())
	v := c.verdict
	by := d.l.charge(duty.Layer(v.Layer), duty.Aspect(v.Aspect), c.sight.holder.Server, c.sight.holder.Project)
	key := casework.Case{Cloud: d.l.Cloud, Server: c.key.Server, Project: c.sight.holder.Project, Party: by.Party, Track: track(c)}.Key()
	if ending, err := d.ending(ctx, key); err != nil || ending {
		return "", err
	}
	f = finding.Finding{
		ID: id, Key: c.key, Project: c.sight.holder.Project, State: finding.Suspicion, Grade: finding.Grade(v.Grade), Severity: string(v.Severity), Class: string(v.Class),
		Title: title(c), Revision: v.Revision, Endpoint: c.sight.Endpoint, Vantage: c.sight.Vantage, Facts: c.sight.Facts.Hash(), Evidence: v.Evidence,
		Cause: c.cause, Duty: by, FirstSeen: at, LastSeen: at, Version: version,
	}
	if by := c.sight.by; by != nil {
		f.Grade, f.Cause = finding.Observed, forwardedBy(by, c.cause)
	}
	sighting := finding.Sighting{Finding: id, At: at, RealAt: d.l.Clock.Real(), Verdict: finding.Vulnerable, Vantage: f.Vantage, Facts: f.Facts}
	f = casework.See(f, sighting, d.l.Policy)
	d.change.Facts = append(d.change.Facts, c.sight.Facts)
	d.change.Sightings = append(d.change.Sightings, sighting)
	return id, d.join(ctx, f, track(c), passage{})
}

// ending tells whether the case that a finding would join is being taken back: what joined it would end with it. The next sweep
// opens a new one.
func (d *draft) ending(ctx context.Context, k casework.Key) (bool, error) {
	open, ok, err := d.l.Ledger.OpenCase(ctx, k)
	return ok && open.TakenBack() != "", err
}

func title(c claim) string {
	switch {
	case c.check != nil:
		return c.check.Title
	case c.key.Check == CheckLeak:
		return "The security groups deny it, and it answers"
	default:
		return "Unverifiable: the machine does not answer our probes, although its security groups let them in"
	}
}

// forwardedBy says how a weakness is seen behind a forwarding.
func forwardedBy(by *asset.Forwarding, cause string) string {
	how := fmt.Sprintf("the floating IP forwards the port to %s, port %d of your server", by.InternalAddr, by.Internal)
	return strings.TrimPrefix(cause+"; "+how, "; ")
}

func track(c claim) casework.Track {
	if c.sight.by != nil {
		return casework.Forwarded
	}
	switch c.key.Check {
	case CheckLeak:
		return casework.Exposure
	case CheckBlocked:
		return casework.ScanBlocked
	default:
		return casework.Vulnerability
	}
}

// passage is how a finding comes from another party's case; the zero value is a finding that is newly opened.
type passage struct {
	told   bool     // the clock of the other party had begun
	left   int64    // of its time, µs
	given  int64    // time that the new party has; 0: what the class gives
	all    []string // findings that come together
	caseID string   // that they leave
}

// join puts a finding into the open case of its machine, party and track, or into a new one, and writes down who must act on it
// from now on.
func (d *draft) join(ctx context.Context, f finding.Finding, t casework.Track, from passage) error {
	c := casework.Case{Cloud: d.l.Cloud, Server: f.Key.Server, Project: f.Project, Party: f.Duty.Party, Track: t}
	ds := casework.Dossier{Case: c}
	open, ok := d.pendingCase(c.Key())
	if !ok {
		var err error
		if open, ok, err = d.l.Ledger.OpenCase(ctx, c.Key()); err != nil {
			return err
		}
	}
	if ok {
		var err error
		if ds, err = d.dossier(ctx, open.ID); err != nil {
			return err
		}
	} else {
		ds.Case.ID, ds.Case.State, ds.Case.OpenedAt, ds.Case.Class, ds.Case.Zone = newID(), casework.New, d.now, f.Class, f.Key.Zone
		if s := d.l.server(f.Key.Server); s != nil {
			ds.Case.Volumes = s.Volumes
		}
	}
	if f.Key.Port != "" && !slices.Contains(ds.Case.Ports, f.Key.Port) {
		ds.Case.Ports = append(slices.Clone(ds.Case.Ports), f.Key.Port)
	}
	if ds.Case.Version == 0 && len(ds.Findings) == 0 {
		d.say(about(ds.Case, "case.opened"))
	}
	if ds.Case.Version == 0 && ds.Case.Previous == "" {
		if err := d.continues(ctx, &ds); err != nil {
			return err
		}
	}
	f.Case = ds.Case.ID
	ds.Findings = append(withoutFinding(ds.Findings, f.ID), f)
	d.change.Charges = append(d.change.Charges, finding.Charge{Finding: f.ID, At: d.now, Duty: f.Duty, Told: from.told, Left: from.left})
	h := about(ds.Case, "finding.opened")
	if len(from.all) > 0 {
		h.Event, h.From, h.Given = "finding.passed", from.caseID, from.given
	}
	h.Class, h.Grade = f.Class, f.Grade
	h.Finding, h.Check, h.State, h.Detail = f.ID, f.Key.Check, string(f.State), explain(f)
	d.say(h)
	h = about(ds.Case, "finding.charged")
	h.Finding, h.Check, h.Detail = f.ID, f.Key.Check, f.Duty.Assignment+": "+f.Duty.Reason
	d.sayIn("attribute", h)
	switch n := len(from.all); {
	case n == 0:
		d.apply(ds, casework.Opened{Finding: f.ID})
	case f.ID == from.all[n-1]: // with the last of them all are there
		d.apply(ds, casework.Received{Findings: from.all, Time: from.given})
	default:
		d.putCase(ds.Case)
		d.putFinding(f)
	}
	return nil
}

func explain(f finding.Finding) string {
	return f.Where() + ": " + f.Title + "; " + string(f.Duty.Party) + " by " + f.Duty.Assignment
}

// pendingCase finds a case that this very change opens or alters.
func (d *draft) pendingCase(k casework.Key) (casework.Case, bool) {
	for _, c := range d.change.Cases {
		if c.Key() == k && !c.State.Over() {
			return c, true
		}
	}
	return casework.Case{}, false
}

func withoutFinding(fs []finding.Finding, id string) []finding.Finding {
	var out []finding.Finding
	for _, f := range fs {
		if f.ID != id {
			out = append(out, f)
		}
	}
	return out
}

// seenAgain writes only when it means something: the finding was doubted, claimed fixed, silent, or shows something else.
func (d *draft) seenAgain(ctx context.Context, f finding.Finding, c claim) error {
	if f.State == finding.AttributionHold {
		return nil
	}
	same := f.State == finding.Open && f.Negatives == 0 && f.Silences == 0 && f.Facts == c.sight.Facts.Hash()
	if same {
		return nil
	}
	ds, err := d.dossier(ctx, f.Case)
	if err != nil || restrictedOrHeld(ds.Case.State) {
		return err
	}
	for i := range ds.Findings {
		if ds.Findings[i].ID == f.ID {
			ds.Findings[i].Endpoint, ds.Findings[i].Evidence = c.sight.Endpoint, c.verdict.Evidence
		}
	}
	d.look(ds, f, c.sight, finding.Vulnerable)
	return nil
}

// openBlocked opens a case of its own for a machine that does not answer us while its rules let us in: f is the finding that
// can no longer be verified, or, still suspected, the machine as a whole.
func (d *draft) openBlocked(ctx context.Context, f finding.Finding) error {
	if f.Key.Server == "" || isForwarded(f) {
		return nil // who joined an address to the cloud, or forwards one, owes us no answer there
	}
	key := finding.Key{Cloud: f.Key.Cloud, Server: f.Key.Server, Port: f.Key.Port, Check: CheckBlocked, Locus: f.Key.Locus, Zone: f.Key.Zone}
	old, known, err := d.l.Ledger.FindingByKey(ctx, key)
	if err != nil || known && old.State.Live() {
		return err
	}
	b := finding.Finding{
		ID: cmp.Or(old.ID, newID()), Key: key, Project: f.Project, State: blockedState(f), Grade: finding.Observed, Severity: "medium", Class: "B", Revision: 1, Version: old.Version,
		Title: title(claim{key: key}), Endpoint: f.Endpoint, Vantage: f.Vantage, FirstSeen: d.now, LastSeen: d.now,
		Duty: d.l.charge("assurance", "configure", f.Key.Server, f.Project), Cause: "the machine is running and its security groups admit our published addresses",
	}
	if ending, err := d.ending(ctx, casework.Case{Cloud: d.l.Cloud, Server: key.Server, Project: f.Project, Party: b.Duty.Party, Track: casework.ScanBlocked}.Key()); err != nil || ending {
		return err
	}
	d.change.Sightings = append(d.change.Sightings, finding.Sighting{Finding: b.ID, At: d.now, RealAt: d.l.Clock.Real(), Verdict: finding.Vulnerable, Vantage: b.Vantage})
	return d.join(ctx, b, casework.ScanBlocked, passage{})
}

// blockedState: a finding that became unverifiable was silent for two cycles already; a machine that never answered has
// been silent for one.
func blockedState(f finding.Finding) finding.State {
	if f.State == finding.Suspicion {
		return finding.Suspicion
	}
	return finding.Open
}
