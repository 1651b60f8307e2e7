package flow

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"math"
	"slices"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/detect"
	"demarc/internal/duty"
	"demarc/internal/fault"
	"demarc/internal/finding"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// The findings that follow from the configuration and not from a check.
const (
	CheckLeak    = "denied-but-answers" // the rules deny it, and it answers
	CheckBlocked = "scanner-blocked"    // the rules let us in, and the machine has stopped answering us
)

// attribute charges what is open anew where somebody else must act: at the first step, at the instant a contract begins or ends,
// when a project's domain or tags are not what they were, and when what was proven fixed is back.
func (l *Line) attribute(ctx context.Context) (bool, error) {
	const key = "attribute"
	now := l.Clock.Now()
	if now < l.chargeAt || l.waiting(key) {
		return false, nil
	}
	did, later, err := l.recharge(ctx)
	if err != nil {
		l.putOff(key, err)
		return true, err
	}
	l.done(key)
	l.chargeAt = math.MaxInt64
	if at, ok := l.Model.NextChange(now); ok {
		l.chargeAt = at
	}
	if later > 0 {
		l.chargeAt = min(l.chargeAt, now+later)
	}
	return did, nil
}

// Adopt writes down the version of the model in use. What was in use under the same id and version with other words is refused:
// who was charged by it must stay explainable.
func (l *Line) Adopt(ctx context.Context) error {
	m := l.Model
	was, known, err := l.Ledger.Model(ctx, m.ID, m.Version)
	switch {
	case err != nil:
		return err
	case known && was.Hash != m.Hash():
		return fault.New(fault.Config, "version %d of the responsibility model %s was in use with other words", m.Version, m.ID).Hinted("raise version: with every change of a model")
	case known:
		return nil
	}
	d := l.draft("attribute")
	d.change.Models = []casework.ModelUse{{ID: m.ID, Version: m.Version, Hash: m.Hash(), Text: m.Text(), Since: d.now}}
	d.say(Happening{Event: "model.adopted", Detail: fmt.Sprintf("%s, version %d, SHA-256 %s", m.ID, m.Version, m.Hash())})
	return d.commit(ctx)
}

// recharge goes through everything that is open. Later is how long to wait for what could not be charged now: a case that a
// person holds, or an order under way.
func (l *Line) recharge(ctx context.Context) (did bool, later int64, err error) {
	if err := l.Adopt(ctx); err != nil {
		return false, 0, err
	}
	fs, err := l.Ledger.Findings(ctx, access.Operator(), finding.Filter{})
	if err != nil {
		return false, 0, err
	}
	for _, f := range fs {
		if !f.State.Live() || f.Key.Cloud != l.Cloud || l.x.Projects[f.Project] == nil {
			continue
		}
		now := l.charge(f.Duty.Layer, f.Duty.Aspect, f.Key.Server, f.Project)
		if !now.Differs(f.Duty) {
			continue
		}
		wait, err := l.rechargeOne(ctx, f, now)
		if err != nil {
			return did, 0, fmt.Errorf("charging finding %s anew: %w", f.ID, err)
		}
		if did = did || wait == 0; wait > 0 && (later == 0 || wait < later) {
			later = wait
		}
	}
	return did, later, nil
}

// rechargeOne writes down who must act on a finding from now on. Where it is another party than before, the finding passes
// to a case of theirs, in the same transaction; both are told. It returns how long to wait where it cannot be done now.
func (l *Line) rechargeOne(ctx context.Context, f finding.Finding, to duty.Resolution) (wait int64, err error) {
	ds, err := l.dossier(ctx, f.Case)
	if err != nil {
		return 0, err
	}
	if wait, err := l.notNow(ctx, ds.Case, to.Party); wait > 0 || err != nil {
		return wait, err
	}
	d := l.draft("attribute")
	from := f.Duty
	f.Duty = to
	h := about(ds.Case, "finding.recharged")
	h.Finding, h.Check, h.Detail = f.ID, f.Key.Check, fmt.Sprintf("from the %s by %s to the %s by %s: %s", from.Party, from.Assignment, to.Party, to.Assignment, cause(from, to))
	d.say(h)
	if to.Party == from.Party {
		d.change.Charges = append(d.change.Charges, finding.Charge{Finding: f.ID, At: d.now, Duty: to})
		d.putFinding(f)
		return 0, d.commit(ctx)
	}
	d.apply(ds, casework.Passed{Finding: f.ID, Why: fmt.Sprintf("%s, at %s, passes from the %s to the %s: %s", f.Title, f.Endpoint, from.Party, to.Party, cause(from, to))})
	if err := d.join(ctx, f, ds.Case.Track, "finding.passed"); err != nil {
		return 0, err
	}
	return 0, d.commit(ctx)
}

// notNow tells how long to leave a case alone: while a person holds it, while it or the one it would pass to is being taken back,
// and while an order on its machine is under way.
func (l *Line) notNow(ctx context.Context, c casework.Case, to duty.Party) (wait int64, err error) {
	next, open, err := l.Ledger.OpenCase(ctx, casework.Case{Cloud: c.Cloud, Server: c.Server, Project: c.Project, Party: to, Track: c.Track}.Key())
	if err != nil {
		return 0, err
	}
	running, err := l.Ledger.RunningActs(ctx)
	switch {
	case err != nil:
		return 0, err
	case c.State == casework.OnHold, open && next.State == casework.OnHold:
		return hour, nil
	case c.TakenBack() != "", open && next.TakenBack() != "", slices.ContainsFunc(running, func(a casework.Act) bool { return a.Server == c.Server }):
		return minute, nil
	}
	return 0, nil
}

// cause says in words why somebody else must act.
func cause(from, to duty.Resolution) string {
	var what string
	switch old, now := from.Resource, to.Resource; {
	case old.ContractID != now.ContractID && now.ContractID == "":
		what = "contract " + old.ContractID + " has ended"
	case old.ContractID != now.ContractID:
		what = "contract " + now.ContractID + " stands"
	case from.Model != to.Model || from.Version != to.Version:
		what = fmt.Sprintf("version %d of the responsibility model %s is in use", to.Version, to.Model)
	default:
		what = "the project, or what it is offered, is not what it was"
	}
	return what + "; " + to.Reason
}

// marks is what attribution knows of projects, in one value.
func marks(x *asset.Index) string {
	h := sha256.New()
	for _, id := range slices.Sorted(maps.Keys(x.Projects)) {
		p := x.Projects[id]
		fmt.Fprintf(h, "%q %q %q\n", id, p.Domain, slices.Sorted(slices.Values(p.Tags)))
	}
	return string(h.Sum(nil))
}

// charge says who must act on a weakness: the assignment of the model for its layer and aspect, for this machine, under the
// contract that stands now.
func (l *Line) charge(layer duty.Layer, aspect duty.Aspect, s asset.ServerID, p asset.ProjectID) duty.Resolution {
	r := duty.Resource{Cloud: l.Cloud, Region: l.Region, Project: p, Server: s}
	if v := l.x.Projects[p]; v != nil {
		r.Domain, r.Tags = v.Domain, v.Tags
	}
	return l.Model.Resolve(layer, aspect, l.Model.Describe(r, l.Clock.Now()))
}

// leak is the claim that an endpoint answers although the rules let nobody in. Whose it is follows from the cause: what the
// tenant's own settings explain is the tenant's, anything else is a filter of the provider's that does not filter.
func (l *Line) leak(v *Vantage, s sight) claim {
	layer, aspect, cause := "network-controls", "provide-capability", "no rule, port setting or address pair explains the answer: the provider's filter lets it through"
	if p := l.x.Ports[s.holder.Port]; p != nil {
		for _, pair := range p.Pairs {
			if pair.Prefix.Bits() == 0 {
				aspect, cause = "configure", "the port may send and answer for any address (allowed address pair "+pair.Prefix.String()+")"
			}
		}
	}
	return claim{key: l.key(v, s, CheckLeak, s.Endpoint), sight: s, cause: cause,
		verdict: detect.Verdict{Check: CheckLeak, Revision: 1, Answer: detect.Vulnerable, Grade: detect.Grade(finding.Observed), Severity: "high", Class: "H", Layer: layer, Aspect: aspect}}
}

// leakVerdict: a leak is gone when the port is closed, when silence is what the rules ask for and the path is alive, or when
// the rules now say that it is open, so that the ordinary checks take over.
func leakVerdict(s sight, config reach.Answer, alive bool) finding.Verdict {
	switch s.Facts.Outcome {
	case probe.Open:
		if config.Zone || config.Scanner {
			return finding.Removed
		}
		return finding.Vulnerable
	case probe.Closed:
		return finding.ClosedPort
	case probe.Filtered, probe.Silent:
		if alive {
			return finding.Removed
		}
		return finding.Inconclusive
	case probe.Failed:
	}
	return ""
}
