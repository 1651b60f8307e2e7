package flow

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/casework/gate"
	"demarc/internal/detect"
	"demarc/internal/finding"
	"demarc/internal/policy"
)

// logged is what the audit log of a case says, as far as the gate relies on it.
type logged struct {
	record gate.Record
	looks  map[string][]finding.Sighting // by finding, in the order of the log
	grades map[string]finding.Grade      // by finding, when it was opened
	class  map[string]string
	server map[string]string
}

// mostCases bounds through how many cases the log of a finding that passed from case to case is followed.
const mostCases = 16

// readLog reads the audit log of a case, and of the cases that its findings came from. What is not proven to be part of the log proves
// nothing: then the record says why.
func (l *Line) readLog(ctx context.Context, ds casework.Dossier) (logged, error) {
	out := logged{
		looks:  map[string][]finding.Sighting{},
		grades: map[string]finding.Grade{},
		class:  map[string]string{},
		server: map[string]string{},
	}
	from := []string{ds.Case.ID}
	for i := 0; i < len(from) && i < mostCases; i++ {
		entries, err := l.Ledger.Witness(ctx, from[i])
		if errors.Is(err, audit.ErrUnproven) {
			out.record.Doubt = err.Error()
			return out, nil
		}
		if err != nil {
			return out, err
		}
		for _, e := range entries {
			var h Happening
			if err := json.Unmarshal(e.Detail, &h); err != nil {
				out.record.Doubt = fmt.Sprintf("entry %d cannot be read", e.Seq)
				return out, nil
			}
			out.take(e, h, from[i] == ds.Case.ID)
			if h.From != "" && from[i] == ds.Case.ID && !slices.Contains(from, h.From) {
				from = append(from, h.From)
			}
		}
	}
	return out, nil
}

// decisions compares what the ledger says of the kill switch and of the mode with the last decision about each in the audit log. It gives
// why the two do not agree, "" where they do, and since when checks prove anything by that log, 0 where all do.
func (l *Line) decisions(ctx context.Context) (checksFrom int64, why string, err error) {
	last := l.newestOf(ctx)
	switched := last("enforcement.paused", "enforcement.resumed")
	mode := last("mode.changed")
	discarded := last("checks.discarded")
	for _, d := range []decision{switched, mode, discarded} {
		if d.err != nil || d.why != "" {
			return 0, d.why, d.err
		}
	}
	if switched.said.Event == "enforcement.paused" {
		paused, err := l.Ledger.Paused(ctx)
		if err != nil || !paused {
			return 0, "by the audit log enforcement was paused last, and the database says that it is not", err
		}
	}
	chosen, _, err := l.Ledger.Mode(ctx)
	if err == nil && chosen.AtLeast(policy.Notify) && (mode.said.Event == "" || !mode.said.Mode.AtLeast(chosen)) {
		return 0, fmt.Sprintf("the database says that the mode %s was chosen, and the audit log does not", chosen), nil
	}
	return discarded.at, "", err
}

// decision is the newest entry of some kinds in the audit log, at 0 where there is none. why says that the log proves nothing about it.
type decision struct {
	at   int64
	said Happening
	why  string
	err  error
}

// newestOf reads the newest entry of some kinds.
func (l *Line) newestOf(ctx context.Context) func(kinds ...string) decision {
	return func(kinds ...string) (d decision) {
		entries, err := l.Ledger.WitnessKinds(ctx, math.MaxInt64, 1, kinds...)
		switch {
		case errors.Is(err, audit.ErrUnproven):
			d.why = err.Error()
		case err != nil:
			d.err = err
		case len(entries) == 0:
		case json.Unmarshal(entries[0].Detail, &d.said) != nil:
			d.why = fmt.Sprintf("entry %d cannot be read", entries[0].Seq)
		default:
			d.at = entries[0].At
		}
		return d
	}
}

// spent counts, by the audit log, the actions of a day: intents that are not known never to have taken effect. A row that was deleted or
// altered frees no budget.
func (l *Line) spent(ctx context.Context, c casework.Case) (u gate.Usage, err error) {
	now := l.Clock.Now()
	entries, err := l.Ledger.WitnessKinds(ctx, now-day, mostIntents, "act.intended", "act.void")
	if err != nil {
		return u, err
	}
	void := map[string]int{} // by case and kind; newest first, so a void comes before its intent
	for _, e := range entries {
		var h Happening
		if err := json.Unmarshal(e.Detail, &h); err != nil {
			return u, fmt.Errorf("%w: entry %d cannot be read: %w", audit.ErrUnproven, e.Seq, err)
		}
		key := h.Case + " " + h.Act
		kind := casework.ActKind(h.Act)
		switch {
		case e.At < now-day || !kind.Restricts() || kind == casework.ActHold:
		case e.Kind == "act.void":
			void[key]++
		case void[key] > 0:
			void[key]--
		default:
			u.CloudDay++
			u.CloudHour += oneIf(e.At > now-hour)
			u.ProjectDay += oneIf(h.Project == c.Project)
			u.ProjectHour += oneIf(e.At > now-hour && h.Project == c.Project)
		}
	}
	return u, nil
}

// mostIntents bounds how many entries the budgets are counted from: far more than any budget allows.
const mostIntents = 10_000

// take takes one entry in. Notices and approvals count for the round in which they were given, and only in the case itself.
func (o *logged) take(e audit.Entry, h Happening, own bool) {
	switch e.Kind {
	case "finding.opened":
		o.looks[h.Finding] = append(o.looks[h.Finding], finding.Sighting{Finding: h.Finding, At: e.At, Verdict: finding.Vulnerable})
		o.grades[h.Finding], o.class[h.Finding], o.server[h.Finding] = h.Grade, h.Class, string(h.ServerID)
	case "case.queued", "case.final_warning":
		if own {
			o.record.Approvals = nil
		}
	case "case.opened", "case.new":
		if own {
			o.record.Notices, o.record.Approvals = nil, nil
		}
	case "mail.accepted":
		if own && h.Notice != nil {
			o.record.Notices = append(o.record.Notices, *h.Notice)
		}
	case "people.approved":
		if own && h.Approval != nil {
			o.record.Approvals = append(o.record.Approvals, *h.Approval)
		}
	case "gate.refused":
		if own {
			o.record.Approvals = nil // a refusal takes them back
		}
	}
	if e.Kind == "finding.passed" && own && h.Given > 0 && (o.record.Given == 0 || h.Given < o.record.Given) {
		o.record.Given = h.Given
	}
	for _, v := range []finding.Verdict{finding.Vulnerable, finding.NotVulnerable, finding.ClosedPort, finding.Removed, finding.NoAnswer} {
		if e.Kind == "looked."+string(v) {
			o.looks[h.Finding] = append(o.looks[h.Finding], finding.Sighting{Finding: h.Finding, At: e.At, Verdict: v})
		}
	}
}

// hold compares a finding with the log and with the loaded check, and gives what counts: of positive checks those that the log has too, of
// others those of either, and of class and grade the milder.
func (o *logged) hold(g *gate.Finding, x finding.Finding, check *detect.Check) {
	in := func(list []finding.Sighting, s finding.Sighting) bool {
		for _, y := range list {
			if y.At == s.At && y.Verdict == s.Verdict {
				return true
			}
		}
		return false
	}
	rows, log := g.Looks, o.looks[x.ID]
	g.Looks = nil
	for _, s := range rows {
		switch {
		case len(log) == 0 || s.At < log[0].At: // of an earlier case: it counts for nothing here
		case s.Verdict == finding.Vulnerable && !in(log, s):
			g.Unlogged++
		default:
			g.Looks = append(g.Looks, s)
		}
	}
	for _, s := range log {
		if s.Verdict != finding.Vulnerable && !in(rows, s) {
			g.Looks = append(g.Looks, s)
		}
	}
	slices.SortStableFunc(g.Looks, func(a, b finding.Sighting) int { return cmp.Compare(a.At, b.At) })
	g.Logged = o.server[x.ID]
	g.Milder("when it was opened", o.grades[x.ID], o.class[x.ID])
	if check != nil {
		g.Milder(fmt.Sprintf("by revision %d of the check", check.Revision), finding.Grade(check.Grade), string(check.Class))
	}
}
