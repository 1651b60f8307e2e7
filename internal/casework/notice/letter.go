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
	"demarc/internal/policy"
	"demarc/internal/untrusted"
)

// Letter is everything a mail is written from.
type Letter struct {
	Case      casework.Case
	Step      casework.Step
	Server    untrusted.Text
	Project   untrusted.Text
	Items     []Item
	Deadline  int64      // as the mail promises it, µs
	End       policy.End // what the case may end in, in the mode in force
	Zone      *time.Location
	PolicyURL string
	Contacts  Contacts
	Untold    bool  // a contact of the project could not be notified: the operators read this in its place, or decide knowing it
	NoticedAt int64 // when this reader accepted the notice of this round, µs; 0: never, somebody else of the project did
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
	return fmt.Sprintf("[%s] %s: %s", l.Case.Ref(), headline(l), short(subjectOf(l))), text(l) + closing(l)
}

// text is what a letter says of its case.
func text(l Letter) string {
	var b strings.Builder
	if l.Untold {
		fmt.Fprintf(&b, "To the operators: a contact of the project could not be notified by mail. "+
			"Please find out who the owner is and tell them%s.\n\n", before(l))
	}
	fmt.Fprintf(&b, "%s\n\n", opening(l))
	b.WriteString(concerns(l))
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
	return b.String()
}

// closing ends a mail.
func closing(l Letter) string {
	var b strings.Builder
	if l.PolicyURL != "" {
		fmt.Fprintf(&b, "Why we look, from where, and how to reach us: %s\n", l.PolicyURL)
	}
	fmt.Fprintf(&b, "Replies are read by people. No reply, and no link in a mail, ever acts on a machine.\n\n%s\n", signature(l))
	return b.String()
}

// subjectOf names what a mail is about: a server, else a project, else the cloud.
func subjectOf(l Letter) untrusted.Text {
	switch {
	case l.Case.Server != "":
		return l.Server
	case l.Case.Project != "":
		return l.Project
	}
	return untrusted.From("cloud " + l.Case.Cloud)
}

// concerns lists what a mail is about. A case of the configuration may be of no server, and of no project.
func concerns(l Letter) string {
	var b strings.Builder
	if l.Case.Server != "" {
		fmt.Fprintf(&b, "Machine:  %s\n          %s\n", l.Server.Mail(), one(l.Case.Server))
	}
	if l.Case.Project != "" {
		fmt.Fprintf(&b, "Project:  %s (%s)\n", l.Project.Mail(), one(l.Case.Project))
	} else {
		fmt.Fprintf(&b, "Cloud:    %s\n", one(l.Case.Cloud))
	}
	fmt.Fprintf(&b, "Case:     %s\n", l.Case.Ref())
	return b.String()
}

// signature names who writes.
func signature(l Letter) string {
	who := "Cloud security, " + l.Contacts.Institution
	if l.Contacts.Institution == "" {
		who = "The operators of the cloud " + one(l.Case.Cloud)
	}
	return who
}

// before adds what the operators must not wait for, where something may happen to the machine.
func before(l Letter) string {
	if l.End == policy.Report {
		return ""
	}
	return ",\nbefore anything happens to the machine"
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
	case casework.StepReleased, casework.StepClosed, casework.StepHeld, casework.StepTampered,
		casework.StepWithdrawn, casework.StepPassed, casework.StepSystem:
		return false
	case casework.StepStillOpen, casework.StepReturned, casework.StepNoVerdict:
		return true
	case casework.StepStatus:
		return true // what is known of their machine is theirs to know
	case casework.StepNotice, casework.StepFinal, casework.StepRestricted, casework.StepRelapse,
		casework.StepEscalation, casework.StepApproval, casework.StepRefused, casework.StepObserved:
		return true
	}
	return true
}

func headline(l Letter) string {
	if l.Case.Track == casework.Configuration {
		if h := configurationHeadline(l); h != "" {
			return h
		}
	}
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
	case casework.StepSystem:
		return "" // it belongs to no case
	case casework.StepWithdrawn:
		return "withdrawn"
	case casework.StepPassed:
		return "somebody else must act now"
	case casework.StepStatus:
		return "with the provider: " + standing(l.Case)
	case casework.StepTampered:
		return "the quarantine was undone by hand"
	case casework.StepStillOpen:
		return "stays off the network: a rule would open the weakness again"
	case casework.StepReturned:
		return "another round of notices begins"
	case casework.StepNoVerdict:
		return "checks have told nothing for a day"
	case casework.StepObserved:
		return "found, and reported to operators only"
	}
	return string(l.Step)
}

// returned is how a weakness came back.
func returned(c casework.Case) string {
	if c.Previous != "" {
		return "a machine was deleted within the last 30 days, and a machine on the same ports or volumes has it"
	}
	return "a fix was proven, and then another weakness was seen on the same machine"
}

// withoutVerdict lists why the checks of each weakness told nothing.
func withoutVerdict(items []Item) string {
	var b strings.Builder
	for _, it := range items {
		if it.Finding.NoVerdictFrom > 0 {
			fmt.Fprintf(&b, "  %s: %s.\n", it.Finding.Where(), it.Finding.NoVerdict)
		}
	}
	return b.String()
}

func opening(l Letter) string {
	if l.Case.Track == casework.Configuration {
		if o := configurationOpening(l); o != "" {
			return o
		}
	}
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
			return notified(l) + "Our probes cannot reach this machine. The time to let them in is over, and we still cannot check whether the\n" +
				"weakness is fixed. This is the final warning."
		}
		return notified(l) + "The time to fix this weakness is over, and it is still there.\nThis is the final warning."
	case casework.StepRestricted:
		return "The weakness is still there after the final warning. The machine has been taken off the network.\n" + state(l)
	case casework.StepReleased:
		return "The fix is proven. The machine has its security groups back as they were, except for what you changed\n" +
			"yourself in the meantime." + lost(l.Case)
	case casework.StepStillOpen:
		return "The release of this machine was asked for. As they are now, its security groups would open the weakness again, so " +
			stays(l.Case) + ".\n" +
			"Remove the rules named below, then ask for the release again. You can add them back once the service is fixed."
	case casework.StepReturned:
		return fmt.Sprintf("A weakness is back after its owner was warned: %s.\n"+
			"Changes to the machine, or checks that find more than before, have now begun %d new rounds of notices. The owner has\n"+
			"the full time again. Demarc does nothing more about that: talk to the owner.", returned(l.Case), l.Case.Renewed)
	case casework.StepNoVerdict:
		return "For a day no check of this machine has told whether a weakness is still there:\n" + withoutVerdict(l.Items) +
			"Until a check tells, nothing further happens in this case: it counts neither as fixed nor as still there, and no\n" +
			"deadline leads to an action. Checks go on every hour. Look at what is in their way, and talk to the owner."
	case casework.StepClosed:
		if l.Case.State == casework.Moot {
			return "The machine has been deleted. This case is closed." + lost(l.Case)
		}
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
		return "The grace of a final warning is over and the weakness is still there. An action waits for an operator's approval.\n" +
			"What will be done to the machine: " + casework.Will(l.End) + ".\n" + announcement(l)
	case casework.StepRefused:
		return "An approved action was not carried out. Nothing was changed. The reasons:\n\n" +
			indent(strings.Join(blocks(l.Case.Blocks), "\n")) + "\n\n" + afterRefusal(l.Case)
	case casework.StepTampered:
		return undoneBy(l)
	case casework.StepWithdrawn:
		undone := "Nothing was done to the machine, and you do not need to do anything."
		if l.Case.RestrictedAt > 0 {
			undone = "What was done to the machine is undone."
		}
		return "The operators of the cloud have withdrawn this case. " + undone + lost(l.Case) +
			"\nWe are sorry for the trouble. If the weakness is there, you are notified of it in a new case, with its full time."
	case casework.StepPassed:
		return "Who must act has changed, by the responsibility model or a contract:\n\n" + indent(one(l.Case.Passed)) + "."
	case casework.StepStatus:
		return "A weakness of your machine is the provider's to fix. This mail asks nothing of you; it tells how it stands:\n" + standing(l.Case) + "."
	case casework.StepObserved:
		return "A weakness was found and confirmed. Only the operators get this mail: the mode in force is observe,\n" +
			"so neither the owner of the server nor the provider is notified, and no deadline runs."
	case casework.StepSystem:
		return "" // its text is made when it is queued
	case casework.StepHeld:
		return "This case is on hold until a person has looked: " + one(l.Case.Hold) + "."
	}
	return ""
}

// blocks lists the reasons of a refusal. Only operators are mailed about one, so that details may stand in it.
func blocks(rs []casework.Refusal) []string {
	out := casework.Reasons(rs, true)
	for i := range out {
		out[i] = one(out[i])
	}
	return out
}

// notified says when the reader was notified, or that others of the project were.
func notified(l Letter) string {
	if l.NoticedAt > 0 {
		return "You were notified of this on " + Moment(l.NoticedAt, l.Zone) + ".\n"
	}
	first := l.Case.Accepted(casework.StepNotice)
	if len(first) == 0 {
		return ""
	}
	return "This project was notified on " + Moment(first[0].AcceptedAt, l.Zone) + "; that mail went to other people than you.\n"
}

// state says what still works on a machine that is off the network.
func state(l Letter) string {
	if l.Case.Stopped {
		return "It is stopped and locked; its disks are untouched."
	}
	return "It keeps running: memory and disks are untouched. You can still reach it from the addresses an operator has\n" +
		"admitted for repair, and our probes still reach it, so that your fix can be proven."
}

// announcement compares what would be done with what the final warning said.
func announcement(l Letter) string {
	for _, n := range slices.Concat(l.Case.Accepted(casework.StepFinal), l.Case.Accepted(casework.StepRelapse)) {
		if casework.Harsher(l.End, n.End) {
			return "The final warning announced only: " + casework.Will(n.End) +
				". The gate refuses more than that: if you approve, a new round\nof notices begins."
		}
	}
	return "The final warning announced that."
}

// afterRefusal says what follows a refusal.
func afterRefusal(c casework.Case) string {
	switch {
	case c.Stuck():
		return "The owner's changes have already begun one new round of notices in this case, so nothing more is done by itself.\n" +
			"Decide: talk to the owner, then demarc case renew (a new notice with its own clock), demarc enforce approve with --despite\n" +
			"where the reason names that, or demarc enforce release."
	case c.State == casework.Queued:
		return "It is not tried again unless an operator approves it again."
	case c.State == casework.New || c.State == casework.Notified:
		return "A new round has begun: the responsible party is notified again and has the full time."
	}
	return "The case has moved on since: it is " + string(c.State) + "."
}

// stays says how a machine is kept while its rules would open the weakness.
func stays(c casework.Case) string {
	if c.Stopped {
		return "it stays stopped"
	}
	return "it stays disconnected"
}

// lost says what could not be given back.
func lost(c casework.Case) string {
	if len(c.Lost) == 0 {
		return ""
	}
	var out []string
	for _, s := range c.Lost {
		out = append(out, one(s))
	}
	return "\nNot everything could be given back:\n" + indent(strings.Join(out, "\n"))
}

// undoneBy tells the operators that a quarantine was undone, how often, and what follows. It names no time of its own: the mail may be sent
// after the machine was put back.
func undoneBy(l Letter) string {
	c, often := l.Case, "\n"
	if c.Tampers > 1 {
		often = fmt.Sprintf("\nThat was done %d times since %s. The timeline of the case has each of them:\n\n    demarc case show %s\n\n",
			c.Tampers, Moment(c.RestrictedAt, l.Zone), c.Ref())
	}
	next := "It is put back by itself: at once the first time, then after 1, 2, 4 ... 60 minutes for as long\n" +
		"as it is undone again within a day; until then the machine is on the network. While enforcement is paused, or\n" +
		"the mode is below enforce, it is not put back. Nothing else is done to the machine: talk to its\n" +
		"owner, take the case back, or act by hand."
	return "The machine is off the network by an approved act, and somebody has undone that in part or whole." + often + next
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
	case c.ClockFrom == 0:
		return "the provider's notice is about to be sent"
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
