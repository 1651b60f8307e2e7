package gate

import (
	"fmt"
	"slices"

	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/policy"
)

// proved picks the findings that are open, proved, and of the class whose action was announced.
func proved(f Facts) []Finding {
	var out []Finding
	for _, x := range f.Findings {
		if x.State == finding.Open && x.Grade == finding.Proved && x.Class == f.Case.ActingClass() {
			out = append(out, x)
		}
	}
	return out
}

// theirs picks, of what is proved, what is the customer's as things stand now.
func theirs(f Facts) []Finding {
	return slices.DeleteFunc(proved(f), func(x Finding) bool { return x.Party != duty.Customer })
}

// named picks, of what is theirs, what an accepted notice named, and where there was a final warning that one too.
func named(f Facts) []Finding {
	in := func(ns []casework.Notice, id string) bool {
		return slices.ContainsFunc(ns, func(n casework.Notice) bool { return n.Names(id) })
	}
	first, final := f.Case.Accepted(casework.StepNotice), finals(f.Case)
	return slices.DeleteFunc(theirs(f), func(x Finding) bool {
		return len(first) > 0 && !in(first, x.ID) || len(final) > 0 && !in(final, x.ID)
	})
}

// acting picks, of the findings that were named, those that the customer was notified of since they are theirs: these carry the action.
// Other findings of the case neither help nor hinder.
func acting(f Facts) []Finding {
	notices := f.Case.Accepted(casework.StepNotice)
	return slices.DeleteFunc(named(f), func(x Finding) bool {
		return x.Held <= 0 || !slices.ContainsFunc(notices, func(n casework.Notice) bool { return n.AcceptedAt >= x.Held })
	})
}

// gradeOrder lists the grades, the surest first.
var gradeOrder = []finding.Grade{finding.Proved, finding.Stated, finding.Observed, finding.Inferred, finding.Suspected}

// Milder lowers grade and class to what another source says of the finding, where that is milder, and notes the difference. Said is when or
// where the other source says so; an empty grade or class says nothing.
func (x *Finding) Milder(said string, grade finding.Grade, class string) {
	if i, j := slices.Index(gradeOrder, x.Grade), slices.Index(gradeOrder, grade); grade != "" && j != i && (j < 0 || j > i) {
		x.Differs = fmt.Sprintf("its grade is %s, and %s %s", x.Grade, grade, said)
		x.Grade = grade
	}
	if class != "" && class != x.Class && !casework.Graver(class, x.Class) {
		x.Differs = fmt.Sprintf("its class is %s, and %s %s", x.Class, class, said)
		x.Class = class
	}
}

// attribution: what is not the customer's is no reason for an action, whatever it was when the case began.
func attribution(f Facts, _ *policy.Policy) Reason {
	for _, x := range proved(f) {
		if x.Party == "" {
			return because("the owner of finding " + x.ID + " is not known: the inventory does not hold its project")
		}
	}
	return unless(len(theirs(f)) > 0 || len(proved(f)) == 0, "nothing that is proved is the customer's as things stand now")
}

// told: what became the customer's after the last notice is no reason for an action before they were notified.
func told(f Facts, _ *policy.Policy) Reason {
	r := unless(len(acting(f)) > 0 || len(named(f)) == 0 || len(f.Case.Accepted(casework.StepNotice)) == 0,
		"the customer was not notified of what is proved since it is theirs")
	r.Renew = casework.RenewOperator
	return r
}

// proof: a proved finding is there. Of the stored row, the loaded check and the audit log the milder grade and class count.
func proof(f Facts, _ *policy.Policy) Reason {
	for _, x := range f.Findings {
		if x.State == finding.AttributionHold {
			return because("the attribution of finding " + x.ID + " is in doubt")
		}
	}
	r := unless(len(proved(f)) > 0, "no finding of the case's class is open and proved")
	for _, x := range f.Findings {
		if x.Differs != "" {
			r.Detail = "finding " + x.ID + ": " + x.Differs
		}
	}
	return r
}

// probeFresh: a finding was confirmed lately, and no check since failed to show it.
func probeFresh(f Facts, p *policy.Policy) Reason {
	why := "no finding was confirmed"
	for _, x := range acting(f) {
		if why = fresh("the confirmation", x.ProbeAge, p.Freshness.Probe); why != "" {
			continue
		}
		if n := len(x.Looks); n == 0 || x.Looks[n-1].Verdict == finding.Vulnerable {
			return Reason{}
		}
		why = "the last look did not show it"
	}
	return unless(len(acting(f)) == 0, why)
}

// repeatedScans: two positive checks on different days, one before the first notice, the last after grace, no clean
// one between.
func repeatedScans(f Facts, _ *policy.Policy) Reason {
	why := "no finding was seen before the notice and again after grace"
	for _, x := range acting(f) {
		if why = persisted(x.Looks, f.Case); why == "" {
			return Reason{}
		}
	}
	r := unless(len(acting(f)) == 0, why)
	r.Renew = casework.RenewOwner
	return r
}

// sameFinding: what was confirmed just now must be what persisted. Two findings that each have half of the proof have none.
func sameFinding(f Facts, p *policy.Policy) Reason {
	if probeFresh(f, p).Text != "" || repeatedScans(f, p).Text != "" {
		return Reason{} // these conditions speak for themselves
	}
	for _, x := range acting(f) {
		if fresh("the confirmation", x.ProbeAge, p.Freshness.Probe) == "" && persisted(x.Looks, f.Case) == "" {
			return Reason{}
		}
	}
	return unless(len(acting(f)) == 0, "one finding was confirmed and another persisted")
}

func persisted(looks []finding.Sighting, c casework.Case) string {
	first := c.Accepted(casework.StepNotice)
	if len(first) == 0 {
		return "no notice was accepted"
	}
	var before, after *finding.Sighting
	for i := range looks {
		l := &looks[i]
		switch {
		case l.Verdict.Negative() && l.At <= first[0].AcceptedAt:
			before = nil // it came back before anybody was notified: the later check counts
		case l.Verdict.Negative() && before != nil && (c.RelapsedAt == 0 || l.At > c.RelapsedAt):
			return "a look between was clean"
		case l.Verdict != finding.Vulnerable:
		case l.At <= first[0].AcceptedAt:
			before = l
		case c.GraceEnds > 0 && l.At >= c.GraceEnds:
			after = l
		}
	}
	switch {
	case before == nil:
		return "it was not seen before the first notice"
	case after == nil:
		return "it was not seen after grace"
	case sameDay(before.At, after.At):
		return "both looks are of one day"
	}
	return ""
}

// restored: after the ledger was restored from an older copy, a finding that is still there is seen twice anew.
func restored(f Facts, p *policy.Policy) Reason {
	if f.ProofsFrom == 0 {
		return Reason{}
	}
	for _, x := range acting(f) {
		var first int64
		for _, l := range x.Looks {
			switch {
			case l.At < f.ProofsFrom || l.Verdict != finding.Vulnerable:
			case first == 0:
				first = l.At
			case l.At-first >= p.Proof.ConfirmGap.Micros():
				return Reason{}
			}
		}
	}
	return unless(len(acting(f)) == 0, "it was not seen twice since the database was restored")
}
