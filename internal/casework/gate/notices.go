package gate

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"demarc/internal/casework"
	"demarc/internal/policy"
)

func sameDay(a, b int64) bool {
	return time.UnixMicro(a).UTC().Format(time.DateOnly) == time.UnixMicro(b).UTC().Format(time.DateOnly)
}

// notices: two accepted ones on different days, the last of them the final warning. For a relapse the old ones count,
// with one notice of the relapse.
func notices(f Facts, _ *policy.Policy) Reason {
	c := f.Case
	first, final := c.Accepted(casework.StepNotice), finals(c)
	switch {
	case len(first) == 0:
		return because("no notice was accepted")
	case len(final) == 0:
		return because("no final warning was accepted")
	case final[0].AcceptedAt < first[0].AcceptedAt:
		return because("the final warning came before the notice")
	case sameDay(first[0].AcceptedAt, final[0].AcceptedAt):
		return because("the notice and the final warning are of one day")
	}
	return Reason{}
}

func grace(f Facts, p *policy.Policy) Reason {
	c := f.Case
	least := p.Classes[c.ActingClass()].Grace.Micros()
	if c.RelapsedAt > 0 {
		least = p.Proof.RelapseWait.Micros()
	}
	switch {
	case c.FinalAt == 0 || c.GraceEnds == 0:
		return because("no grace has begun")
	case c.GraceEnds-c.FinalAt < least:
		return Reason{Text: "the grace is shorter than the policy's", Renew: casework.RenewOperator}
	case f.Now < c.GraceEnds:
		return because("the grace is not over")
	}
	return Reason{}
}

// announced: what would be carried out is what the mails announced, for a class and for findings that they named. A policy, a check or a
// quarantine that changed in between makes nothing harsher than that.
func announced(f Facts, _ *policy.Policy) Reason {
	c := f.Case
	first, final := c.Accepted(casework.StepNotice), finals(c)
	if len(first) == 0 || len(final) == 0 {
		return Reason{} // notices says so
	}
	for _, n := range first {
		if !n.End.Restricts() && n.To == casework.Owner {
			return Reason{Text: "the notice did not say that the machine may be taken off the network", Renew: casework.RenewOperator}
		}
	}
	for _, n := range final {
		switch {
		case casework.Harsher(f.Action, n.End):
			return Reason{
				Text:  fmt.Sprintf("the final warning announced %q, and now it would be %q", n.End, f.Action),
				Renew: casework.RenewOperator,
			}
		case n.Class != c.ActingClass():
			return Reason{
				Text:  fmt.Sprintf("the final warning was for class %s, and what is left is of class %s", n.Class, c.ActingClass()),
				Renew: casework.RenewOwner,
			}
		}
		for _, a := range n.Admits {
			if !slices.Contains(f.Admits, a) {
				return Reason{Text: "the final warning named a way in for repair that is no longer admitted", Detail: a, Renew: casework.RenewOperator}
			}
		}
	}
	for _, n := range first {
		if n.To == casework.Owner && casework.Harsher(f.Action, n.End) {
			return Reason{Text: fmt.Sprintf("the notice announced %q, and now it would be %q", n.End, f.Action), Renew: casework.RenewOperator}
		}
	}
	if len(theirs(f)) > 0 && len(named(f)) == 0 {
		return Reason{Text: "what is there now was not named in the notice and in the final warning", Renew: casework.RenewOwner}
	}
	return Reason{}
}

// promised: no mail of this round named a later time, by the case and by the audit log, and the first notice gave the time that its class
// has.
func promised(f Facts, p *policy.Policy) Reason {
	if first := (casework.Case{Notices: f.Record.Notices}).Accepted(casework.StepNotice); len(first) > 0 {
		due := casework.FixTime(casework.Case{Class: first[0].Class, Zone: f.Case.Zone, Given: f.Record.Given}, p)
		if first[0].Deadline-first[0].AcceptedAt < due-casework.AlmostFull {
			return Reason{Text: "the notice gave less time than its class has", Renew: casework.RenewOperator}
		}
	}
	var latest int64
	for _, n := range slices.Concat(f.Case.Notices, f.Record.Notices) {
		if n.To != casework.Provider && n.To != casework.Operators { // who must act was given that time
			latest = max(latest, n.Deadline)
		}
	}
	if f.Now < latest {
		return because("a mail named a later deadline: " + time.UnixMicro(latest).UTC().Format("2006-01-02 15:04 UTC"))
	}
	return Reason{}
}

// people: somebody who can act now was given the full time by a notice, and the full grace by a final warning. Where nobody of the project
// has a usable address, the operators received the mails in the owner's place, and an operator approves.
func people(f Facts, _ *policy.Policy) Reason {
	if len(f.Case.Accepted(casework.StepNotice)) == 0 || len(finals(f.Case)) == 0 || f.Case.Overruled("people") {
		return Reason{} // notices says so; or a person has looked at who was notified
	}
	able := f.People.Able
	if len(able) == 0 {
		able = []string{f.People.StandIn}
	}
	reaches := func(ns []casework.Notice) bool {
		return slices.ContainsFunc(ns, func(n casework.Notice) bool {
			return n.Full && n.To == casework.Owner && slices.Contains(able, n.Recipient)
		})
	}
	switch {
	case !reaches(f.Case.Accepted(casework.StepNotice)):
		return Reason{
			Text:   "nobody who can act for the project now received a notice with the full time to fix",
			Detail: whoWas(f),
			Renew:  casework.RenewOwner,
		}
	case !reaches(finals(f.Case)):
		return Reason{
			Text:   "nobody who can act for the project now received the final warning with its full grace",
			Detail: whoWas(f),
			Renew:  casework.RenewOwner,
		}
	}
	return Reason{}
}

// whoWas tells the operators who was notified, and who of them left and when.
func whoWas(f Facts) string {
	var was, left []string
	for _, n := range f.Case.Notices {
		if n.To == casework.Owner && (n.Step == casework.StepNotice || n.Step == casework.StepFinal || n.Step == casework.StepRelapse) {
			was = append(was, fmt.Sprintf("%s (%s, %s)", n.Recipient, n.Step, day(n.AcceptedAt)))
		}
	}
	for _, d := range f.People.Left {
		when := "at a time that is not known"
		if d.At > 0 {
			when = day(d.At)
		}
		left = append(left, d.Address+" left "+when)
	}
	out := "notified: " + strings.Join(was, ", ")
	if len(left) > 0 {
		out += "; " + strings.Join(left, ", ")
	}
	return out + "; can act now: " + strings.Join(f.People.Able, ", ")
}

func day(at int64) string { return time.UnixMicro(at).UTC().Format("2006-01-02 15:04 UTC") }

// witnessed: approvals, accepted mails, and the checks that count stand in the audit log too, whose head is kept outside the database.
func witnessed(f Facts, _ *policy.Policy) Reason {
	if f.Record.Doubt != "" {
		return because("the audit log of the case proves nothing: " + f.Record.Doubt)
	}
	for _, n := range f.Case.Notices {
		if n.Step != casework.StepNotice && n.Step != casework.StepFinal && n.Step != casework.StepRelapse {
			continue
		}
		if !slices.ContainsFunc(f.Record.Notices, func(o casework.Notice) bool { return reflect.DeepEqual(n, o) }) {
			return because(fmt.Sprintf("the %s to %s is not in the audit log as the case has it", n.Step, n.Recipient))
		}
	}
	for _, a := range f.Case.Approvals {
		if !slices.ContainsFunc(f.Record.Approvals, func(o casework.Approval) bool { return reflect.DeepEqual(a, o) }) {
			return because("the approval by " + a.By + " is not in the audit log as the case has it")
		}
	}
	for _, x := range acting(f) {
		if x.Logged != "" && x.Logged != string(f.Case.Server) {
			return Reason{Text: "by the audit log finding " + x.ID + " is on another machine", Detail: "server " + x.Logged}
		}
		if x.Unlogged > 0 {
			return because(fmt.Sprintf("%d checks of finding %s are not in the audit log", x.Unlogged, x.ID))
		}
	}
	return Reason{}
}
