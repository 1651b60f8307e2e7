package flow

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

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
	if l.chargeNow.Swap(false) {
		l.chargeAt = 0
	}
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

// recharge goes through everything that is open, case by case. Later is how long to wait for what could not be charged now: a
// case that a person holds, or an order under way. What goes wrong with one case keeps no other waiting.
func (l *Line) recharge(ctx context.Context) (did bool, later int64, err error) {
	if err := l.Adopt(ctx); err != nil {
		return false, 0, err
	}
	fs, err := l.Ledger.Findings(ctx, access.Operator(), finding.Filter{States: append(slices.Clone(finding.LiveStates), finding.AttributionHold)})
	if err != nil {
		return false, 0, err
	}
	cases := map[string]bool{}
	for _, f := range fs {
		if f.Key.Cloud == l.Cloud && l.passes(f) {
			cases[f.Case] = true
		}
	}
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(cases)) {
		wait, err := l.rechargeCase(ctx, id)
		if err != nil {
			wait = minute
			errs = append(errs, fmt.Errorf("charging case %s anew: %w", id, err))
		}
		if did = did || wait == 0; wait > 0 && (later == 0 || wait < later) {
			later = wait
		}
		if ctx.Err() != nil {
			break
		}
	}
	if err := errors.Join(errs...); err != nil {
		l.meet("assigning findings anew", "", err.Error())
	} else {
		l.overcome("assigning findings anew", "")
	}
	return did, later, nil
}

// passes tells whether somebody else must act on a finding than it says, or for another reason. Of a project that the
// inventory does not know nothing can be said.
func (l *Line) passes(f finding.Finding) bool {
	return l.x.Projects[f.Project] != nil && l.chargeAnew(f).Differs(f.Duty)
}

func (l *Line) chargeAnew(f finding.Finding) duty.Resolution {
	return l.charge(f.Duty.Layer, f.Duty.Aspect, f.Key.Server, f.Project)
}

// rechargeCase writes down who must act on the findings of a case from now on. What is another party's than before passes to
// a case of theirs, in the same transaction, and both are told. It returns how long to wait where it cannot be done now.
func (l *Line) rechargeCase(ctx context.Context, id string) (wait int64, err error) {
	ds, err := l.dossier(ctx, id)
	if err != nil {
		return 0, err
	}
	d := l.draft("attribute")
	leave := map[duty.Party][]finding.Finding{}
	for i, f := range ds.Findings {
		if !f.State.Live() || !l.passes(f) {
			if f.State == finding.AttributionHold && l.passes(f) {
				wait = hour // until a person has looked
			}
			continue
		}
		from, to := f.Duty, l.chargeAnew(f)
		if to.Party != from.Party {
			leave[to.Party] = append(leave[to.Party], f)
			continue
		}
		f.Duty = to
		ds.Findings[i] = f // what passes leaves it so
		d.recharged(ds.Case, f, from)
		d.change.Charges = append(d.change.Charges, finding.Charge{Finding: f.ID, At: d.now, Duty: to})
		d.putFinding(f)
	}
	for _, p := range slices.Sorted(maps.Keys(leave)) {
		late, err := l.notNow(ctx, ds.Case, p)
		if err != nil {
			return 0, err
		}
		if late > 0 {
			delete(leave, p)
			if wait == 0 || late < wait {
				wait = late
			}
		}
	}
	if err := d.pass(ctx, ds, leave); err != nil {
		return 0, err
	}
	return wait, d.commit(ctx)
}

// What a party has left of its time, when it gets back what it had given away, is two days at least; after a month it begins anew.
const (
	leastAgain  = 2 * day
	withinAgain = 30 * day
)

// pass moves findings of a case to the cases of other parties. The case they leave hears of it once.
func (d *draft) pass(ctx context.Context, ds casework.Dossier, leave map[duty.Party][]finding.Finding) error {
	var ids, why []string
	for _, p := range slices.Sorted(maps.Keys(leave)) {
		for i, f := range leave[p] {
			from := f.Duty
			f.Duty = d.l.chargeAnew(f)
			leave[p][i] = f
			d.recharged(ds.Case, f, from)
			ids, why = append(ids, f.ID), append(why, passing(f, from))
		}
	}
	if len(ids) == 0 {
		return nil
	}
	told, left, track := ds.Case.ClockFrom > 0, max(0, ds.Case.Due-d.now), ds.Case.Track
	d.apply(ds, casework.Passed{Findings: ids, Why: inShort(why)})
	for _, p := range slices.Sorted(maps.Keys(leave)) {
		given, err := d.given(ctx, p, leave[p])
		if err != nil {
			return err
		}
		way := passage{told: told, left: left, given: given, caseID: ds.Case.ID}
		for _, f := range leave[p] {
			way.all = append(way.all, f.ID)
		}
		for _, f := range leave[p] {
			if err := d.join(ctx, f, track, way); err != nil {
				return err
			}
		}
	}
	return nil
}

// given is the time that a party has for findings that come together: the longest of theirs, 0 for the full time of the class.
func (d *draft) given(ctx context.Context, to duty.Party, fs []finding.Finding) (int64, error) {
	var longest int64
	for _, f := range fs {
		past, err := d.l.Ledger.Charges(ctx, access.Operator(), f.ID)
		if err != nil {
			return 0, err
		}
		time := finding.TimeAgain(past, to, d.now, leastAgain, withinAgain)
		if time == 0 {
			return 0, nil
		}
		longest = max(longest, time)
	}
	return longest, nil
}

// mostTold bounds how many findings one sentence names.
const mostTold = 5

func inShort(why []string) string {
	if n := len(why) - mostTold; n > 0 {
		why = append(why[:mostTold:mostTold], fmt.Sprintf("and %d more", n))
	}
	return strings.Join(why, "; ")
}

func (d *draft) recharged(c casework.Case, f finding.Finding, from duty.Resolution) {
	h := about(c, "finding.recharged")
	h.Finding, h.Check, h.Detail = f.ID, f.Key.Check, fmt.Sprintf("from %s by %s to %s by %s: %s", from.Party.Words(), from.Assignment, f.Duty.Party.Words(), f.Duty.Assignment, cause(from, f.Duty))
	d.say(h)
}

func passing(f finding.Finding, from duty.Resolution) string {
	return fmt.Sprintf("%s, at %s, passes from %s to %s: %s", f.Title, f.Where(), from.Party.Words(), f.Duty.Party.Words(), cause(from, f.Duty))
}

// notNow tells how long to leave a case alone: while a person holds it, while it or the one it would pass to is being taken back,
// while an order on the machine is under way, and, on its way to the customer, while theirs is held or keeps the machine off the
// network: what comes to it then would not be told before it counts.
func (l *Line) notNow(ctx context.Context, c casework.Case, to duty.Party) (wait int64, err error) {
	next, open, err := l.Ledger.OpenCase(ctx, casework.Case{Cloud: c.Cloud, Server: c.Server, Project: c.Project, Party: to, Track: c.Track}.Key())
	if err != nil {
		return 0, err
	}
	running, err := l.Ledger.RunningActs(ctx)
	switch {
	case err != nil:
		return 0, err
	case c.TakenBack() != "", open && next.TakenBack() != "", slices.ContainsFunc(running, func(a casework.Act) bool { return a.Server == c.Server }):
		return minute, nil
	case c.State == casework.OnHold, open && to == duty.Customer && slices.Contains([]casework.State{casework.OnHold, casework.Restricted, casework.Verifying}, next.State):
		return hour, nil
	}
	return 0, nil
}

// cause says in words why somebody else must act.
func cause(from, to duty.Resolution) string {
	var what string
	switch old, now := from.Resource, to.Resource; {
	case old.ContractID != now.ContractID && now.ContractID == "":
		what = "contract " + old.ContractID + " covers it no longer"
	case old.ContractID != now.ContractID:
		what = "contract " + now.ContractID + " covers it now"
	case old.Kind() != now.Kind() || old.Region != now.Region || old.Domain != now.Domain || !sameTags(old.Tags, now.Tags):
		what = "the project, or what it is offered, is not what it was"
	case from.Model != to.Model || from.Version != to.Version:
		what = fmt.Sprintf("version %d of the responsibility model %s is in use", to.Version, to.Model)
	default:
		what = "the responsibility model says so now"
	}
	return what + "; " + to.Reason
}

func sameTags(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
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
