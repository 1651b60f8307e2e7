package notice

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/policy"
	"demarc/internal/untrusted"
)

// Item is one finding as a letter shows it.
type Item struct {
	Finding finding.Finding
	Remedy  []string // commands that close it, ready to paste
	Advice  string   // our own guidance, plain text
	Guides  []string // addresses of the pages that say more; none where they are published nowhere
}

// Letter is everything a mail is written from.
type Letter struct {
	Case      casework.Case
	Step      casework.Step
	Server    untrusted.Text
	Project   untrusted.Text
	Items     []Item
	Deadline  int64      // as the mail promises it, µs
	End       policy.End // what the class of the case may end in
	Zone      *time.Location
	PolicyURL string
	Contacts  Contacts
	Untold    bool // a contact of the project could not be told: the operators read this in its place, or decide knowing it
}

func stamp(at int64) string { return strconv.FormatInt(at, 10) }

// Moment shows a time in the reader's zone and in UTC.
func Moment(at int64, z *time.Location) string {
	t := time.UnixMicro(at)
	local := t.In(z).Format("Mon 2 Jan 2006 15:04 MST")
	if z == time.UTC {
		return local
	}
	return local + " (" + t.UTC().Format("Mon 2 Jan 15:04 MST") + ")"
}

// Write makes the subject and the plain text of a letter. Everything a stranger chose passes the mail escaper.
func Write(l Letter) (subject, body string) {
	var b strings.Builder
	subject = fmt.Sprintf("[%s] %s: %s", l.Case.Ref(), headline(l), short(l.Server))
	if l.Untold {
		fmt.Fprintf(&b, "To the operators: a contact of the project could not be told by mail. Please find out who the owner is and tell them,\nbefore anything happens to the machine.\n\n")
	}
	fmt.Fprintf(&b, "%s\n\n", opening(l))
	fmt.Fprintf(&b, "Machine:  %s\n          %s\nProject:  %s (%s)\nCase:     %s\n", l.Server.Mail(), one(l.Case.Server), l.Project.Mail(), one(l.Case.Project), l.Case.Ref())
	if l.Deadline > 0 {
		fmt.Fprintf(&b, "%s %s\n", deadline(l), Moment(l.Deadline, l.Zone))
	}
	b.WriteString("\n")
	if details(l.Step) {
		for i, it := range l.Items {
			b.WriteString(describe(i+1, it, l))
		}
	}
	if next := whatThen(l); next != "" {
		fmt.Fprintf(&b, "What happens then\n%s\n\n", indent(next))
	}
	if l.PolicyURL != "" {
		fmt.Fprintf(&b, "Why we look, from where, and how to reach us: %s\n", l.PolicyURL)
	}
	fmt.Fprintf(&b, "Replies are read by people. No reply, and no link in a mail, ever acts on a machine.\n")
	return subject, b.String()
}

// deadline says whose the deadline is, where it is not the reader's.
func deadline(l Letter) string {
	if l.Step == casework.StepStatus {
		return "Deadline of the provider:"
	}
	return "Deadline:"
}

// one puts a value of ours on one line: most of them were told us by a cloud.
func one[T ~string](s T) string { return untrusted.From(string(s)).Mail() }

// short shows the beginning of a name, cut between runes.
func short(t untrusted.Text) string {
	const most = 60
	if t.Len() <= most {
		return t.Mail()
	}
	s := t.Cap(most).Raw()
	for r, n := utf8.DecodeLastRuneInString(s); r == utf8.RuneError && n == 1; r, n = utf8.DecodeLastRuneInString(s) {
		s = s[:len(s)-1]
	}
	return untrusted.From(s).Mail() + "…"
}

// command is a line to paste: what does not show in it is marked, and never sent to a shell unseen.
func command(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, s)
}

// details tells whether a step repeats the findings.
func details(s casework.Step) bool {
	switch s {
	case casework.StepReleased, casework.StepClosed, casework.StepHeld, casework.StepTampered, casework.StepWithdrawn, casework.StepPassed:
		return false
	case casework.StepStatus:
		return true // what is known of their machine is theirs to know
	case casework.StepNotice, casework.StepFinal, casework.StepRestricted, casework.StepRelapse, casework.StepEscalation, casework.StepApproval, casework.StepRefused:
		return true
	}
	return true
}

func headline(l Letter) string {
	switch l.Step {
	case casework.StepNotice:
		if l.Case.Track == casework.ScanBlocked {
			return "we can no longer look"
		}
		return "a weakness to fix"
	case casework.StepFinal:
		return "final warning"
	case casework.StepRestricted:
		return "taken off the network"
	case casework.StepReleased:
		return "back on the network"
	case casework.StepClosed:
		return "closed"
	case casework.StepRelapse:
		if l.Case.Track == casework.ScanBlocked {
			return "we can no longer look"
		}
		return "the weakness is back"
	case casework.StepEscalation:
		return "overdue"
	case casework.StepApproval:
		return "an act waits for approval"
	case casework.StepRefused:
		return "the act was not carried out"
	case casework.StepHeld:
		return "needs a person"
	case casework.StepWithdrawn:
		return "withdrawn"
	case casework.StepPassed:
		return "somebody else must act now"
	case casework.StepStatus:
		return "with the provider: " + standing(l.Case)
	case casework.StepTampered:
		return "the quarantine was undone by hand"
	}
	return string(l.Step)
}

func opening(l Letter) string {
	switch l.Step {
	case casework.StepNotice:
		if l.Case.Track == casework.ScanBlocked {
			return "A machine of yours answered our probes and does not any more, although its security groups let them in.\nWe cannot tell whether the weakness we reported is fixed. The rules of this cloud ask that probes are not blocked."
		}
		switch l.Case.Party {
		case duty.Provider:
			return "A weakness was found that is the provider's to fix."
		case duty.Shared:
			return "A weakness was found that the provider and the project must fix, each its part."
		case duty.Customer:
		}
		return "Our regular friendly probing found a weakness on a machine of your project. It is yours to fix."
	case casework.StepFinal:
		if l.Case.Track == casework.ScanBlocked {
			return "You were told that our probes cannot reach this machine any more, the time to let them in is over, and we still\ncannot look. Whether the weakness is fixed, nobody can say. This is the final warning."
		}
		return "You were told of this weakness, the time to fix it is over, and it is still there.\nThis is the final warning."
	case casework.StepRestricted:
		return "The weakness is still there after the final warning. The machine has been taken off the network.\nIt keeps running: memory and disks are untouched. You can still reach it from the addresses an operator has\nadmitted for repair, and our probes still reach it, so that your fix can be proven."
	case casework.StepReleased:
		return "The fix is proven. The machine has its security groups back as they were, but for what you changed\nyourself in the meantime."
	case casework.StepClosed:
		if l.Case.Track == casework.ScanBlocked {
			return "Our probes reach the machine. This case is closed."
		}
		return "The weakness has not come back. This case is closed."
	case casework.StepRelapse:
		if l.Case.Track == casework.ScanBlocked {
			return "Our probes reached the machine again, and now they do not any more."
		}
		return "A weakness that was proven fixed is there again."
	case casework.StepEscalation:
		if l.Case.Track == casework.ScanBlocked {
			return "The time to let our probes in again is over, and we still cannot look."
		}
		return "The time to fix this is over, and it is still there."
	case casework.StepApproval:
		return "The grace of a final warning is over and the weakness is still there.\nTaking the machine off the network waits for an operator's approval."
	case casework.StepRefused:
		return "An act was approved and not carried out. Nothing was changed. The reasons:\n\n" + indent(strings.Join(blocks(l.Case.Blocks), "\n")) + "\n\nIt is not tried again unless an operator approves it again."
	case casework.StepTampered:
		return "The machine is off the network by an approved act, and somebody has undone that in part or\nwhole. It is put back by itself, each time; you hear of the first two. Talk to its owner, or take the case back."
	case casework.StepWithdrawn:
		return "The operators of the cloud have taken this case back. What was done to the machine's network is undone.\nWe are sorry for the trouble. Should the weakness be there, you will hear of it in a new case, with its full time."
	case casework.StepPassed:
		return "Who must act has changed, by the responsibility model or a contract:\n\n" + indent(one(l.Case.Passed)) + "."
	case casework.StepStatus:
		return "A weakness of your machine is the provider's to fix. This mail asks nothing of you; it tells how it stands:\n" + standing(l.Case) + "."
	case casework.StepHeld:
		return "This case is on hold until a person has looked: " + one(l.Case.Hold) + "."
	}
	return ""
}

func blocks(bs []string) []string {
	out := make([]string, len(bs))
	for i, b := range bs {
		out[i] = one(b)
	}
	return out
}

func describe(n int, it Item, l Letter) string {
	var b strings.Builder
	f := it.Finding
	fmt.Fprintf(&b, "%d. %s\n", n, one(f.Title))
	where := f.Where()
	if f.Key.Zone != "" {
		where += ", seen from the " + string(f.Key.Zone)
	}
	fmt.Fprintf(&b, "   where:    %s\n", one(where))
	fmt.Fprintf(&b, "   since:    %s\n", Moment(f.FirstSeen, l.Zone))
	fmt.Fprintf(&b, "   how sure: %s (severity %s, class %s)\n", f.Grade, f.Severity, f.Class)
	for _, k := range sortedKeys(f.Evidence) {
		fmt.Fprintf(&b, "   %s: %s\n", one(k), f.Evidence[k].Mail())
	}
	if f.Cause != "" {
		fmt.Fprintf(&b, "   cause:    %s\n", one(f.Cause))
	}
	fmt.Fprintf(&b, "   whose:    the %s's, because %s (%s)\n", f.Duty.Party, one(f.Duty.Reason), one(f.Duty.Assignment))
	if f.Duty.ThirdParty != "" && l.Step != casework.StepStatus {
		fmt.Fprintf(&b, "   done by:  %s, for the provider\n", one(strings.TrimSpace(f.Duty.Doer+" "+f.Duty.Contact)))
	}
	if l.Step == casework.StepStatus {
		b.WriteString("\n")
		return b.String() // what to do is told to who must do it
	}
	if it.Advice != "" {
		fmt.Fprintf(&b, "\n%s\n", indent(it.Advice))
	}
	for i, g := range it.Guides {
		fmt.Fprintf(&b, "%s%s\n", []string{"\n   how to:   ", "             "}[min(i, 1)], one(g))
	}
	if len(it.Remedy) > 0 {
		b.WriteString("\n   To close it from outside:\n\n")
		for _, r := range it.Remedy {
			fmt.Fprintf(&b, "     %s\n", command(r))
		}
	}
	b.WriteString("\n")
	return b.String()
}

func whatThen(l Letter) string {
	if next, ok := whatThenBlocked(l); ok {
		return next
	}
	switch l.Step {
	case casework.StepNotice:
		if l.Case.Party != duty.Customer {
			return "The same clock runs as for a tenant. After the deadline the case is escalated inside the provider.\nNo act on the tenant's machine follows from it."
		}
		if l.End == policy.Report {
			return "We look again at the deadline. If it is still there, it is reported to the operators of the cloud."
		}
		return "We look again at the deadline. If the weakness is gone, the case closes by itself. If it is still there, you\nget one final warning, and after its grace the machine may be taken off the network until it is fixed."
	case casework.StepFinal, casework.StepRelapse:
		if l.Deadline == 0 {
			return "It is escalated, and stays open until it is proven fixed again. No act on the machine follows from it."
		}
		if !l.End.Restricts() {
			return fmt.Sprintf("After %s an operator decides what happens to the machine's network.\nFix it before that and nothing happens; we look once more first.", Moment(l.Deadline, l.Zone))
		}
		return fmt.Sprintf("After %s, with an operator's approval, the machine is taken off the network: all its\nports go on a quarantine group that admits only our probes and the repair path. %s\nFix the weakness before that and nothing happens; we look once more first.", Moment(l.Deadline, l.Zone), fate(l.End))
	case casework.StepRestricted:
		if l.Case.Stopped {
			return "The machine is stopped and locked; its disk is as it was. Ask for its release when you are ready to repair it: it is\nstarted, still off the network, and the repair path leads to it. Two clean looks at least ten minutes apart then give it\nits network back, at any hour of any day, with exactly the security groups it had."
		}
		return "Fix the weakness. Two clean looks at least ten minutes apart give the machine its network back, at any hour\nof any day, with exactly the security groups it had."
	case casework.StepApproval:
		return fmt.Sprintf("  demarc enforce approve %s --config demarc.yaml\n\nRight before the act everything is proven again: the machine, the weakness, the notices, the budgets.", l.Case.Ref())
	case casework.StepReleased:
		return fmt.Sprintf("Until %s we watch whether it comes back.", Moment(l.Case.ProbationEnds, l.Zone))
	case casework.StepPassed:
		return passedOn(l.Case)
	case casework.StepStatus:
		if l.Case.State.Over() {
			return ""
		}
		return "The provider's own clock runs, and the case is escalated inside the provider when it is over. Nothing is done to your\nmachine because of it. You hear again when it is overdue, and when it is closed."
	case casework.StepClosed, casework.StepEscalation, casework.StepRefused, casework.StepHeld, casework.StepTampered, casework.StepWithdrawn:
	}
	return ""
}

// standing is how a case that the provider holds stands, for the owner of the machine.
func standing(c casework.Case) string {
	switch {
	case c.State == casework.Closed && c.Withdrawn != "":
		return "withdrawn"
	case c.State == casework.Closed:
		return "fixed, and it has not come back"
	case c.RelapsedAt > 0:
		return "it was fixed, and is back"
	case c.State == casework.Overdue:
		return "overdue, and escalated"
	}
	return "the provider has been told"
}

// passedOn is what follows for a case of which a finding has passed to another party.
func passedOn(c casework.Case) string {
	next := "Whoever must act now gets a notice of their own, with the full time to fix it."
	switch {
	case c.Handed:
		return next + "\nThis case ends. The machine is put back on the network exactly as it was."
	case c.State.Over():
		return next + "\nThis case ends; nothing more is done because of it."
	}
	return next + " The rest of this case goes on."
}

// fate is what becomes of the machine itself.
func fate(e policy.End) string {
	if e == policy.Stop {
		return "It is stopped and\nlocked, with its disk as it is, until you ask for its release."
	}
	return "It is not stopped."
}

// whatThenBlocked is what follows where we cannot look: an operator's decision, and never an act by itself.
func whatThenBlocked(l Letter) (string, bool) {
	if l.Case.Track != casework.ScanBlocked {
		return "", false
	}
	switch {
	case l.Step == casework.StepNotice:
		return "Let our published addresses reach the machine again, and the case closes by itself.\nOtherwise an operator decides after the deadline.", true
	case l.Deadline > 0 && (l.Step == casework.StepFinal || l.Step == casework.StepRelapse):
		return fmt.Sprintf("After %s an operator decides what happens to the machine's network.\nLet our published addresses reach it before that, and the case closes by itself.", Moment(l.Deadline, l.Zone)), true
	}
	return "", false
}

func indent(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i, l := range lines {
		if l != "" {
			lines[i] = "  " + l
		}
	}
	return strings.Join(lines, "\n")
}

func sortedKeys(m map[string]untrusted.Text) []string {
	return slices.Sorted(maps.Keys(m))
}
