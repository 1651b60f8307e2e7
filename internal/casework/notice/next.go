package notice

import (
	"fmt"

	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/policy"
)

// whatThen says what follows, for the reader of a mail.
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
		what := "taken off the network until it is fixed"
		if l.End == policy.Stop {
			what = "taken off the network and stopped"
		}
		return "We look again at the deadline. If the weakness is gone, the case closes by itself. If it is still there, you\nget one final warning, and after its grace the machine may be " + what + "."
	case casework.StepFinal, casework.StepRelapse:
		if l.Deadline == 0 {
			return "It is escalated, and stays open until it is proven fixed again. No action on the server follows from it."
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
	case casework.StepObserved:
		return "The server is checked again every day, and the case closes once it is fixed. To notify owners, raise the mode:\n\n" +
			"  demarc mode set notify --reason TEXT --config demarc.yaml"
	case casework.StepReleased:
		return fmt.Sprintf("Until %s we watch whether it comes back.", Moment(l.Case.ProbationEnds, l.Zone))
	case casework.StepPassed:
		return passedOn(l.Case)
	case casework.StepStatus:
		if l.Case.State.Over() {
			return ""
		}
		return "The provider's own clock runs, and the case is escalated inside the provider when it is over. Nothing is done to your\nmachine because of it. You hear again when it is overdue, and when it is closed."
	case casework.StepClosed, casework.StepEscalation, casework.StepRefused, casework.StepHeld, casework.StepTampered,
		casework.StepWithdrawn, casework.StepStillOpen, casework.StepReturned, casework.StepNoVerdict, casework.StepSystem:
	}
	return ""
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
	case l.Step == casework.StepNotice && l.End == policy.Report:
		return "Let our published addresses reach the server again, and the case closes by itself.\n" +
			"Otherwise the operators of the cloud are notified after the deadline.", true
	case l.Step == casework.StepNotice:
		return "Let our published addresses reach the machine again, and the case closes by itself.\nOtherwise an operator decides after the deadline.", true
	case l.Deadline > 0 && (l.Step == casework.StepFinal || l.Step == casework.StepRelapse):
		return fmt.Sprintf("After %s an operator decides what happens to the machine's network.\nLet our published addresses reach it before that, and the case closes by itself.", Moment(l.Deadline, l.Zone)), true
	}
	return "", false
}
