package notice

import (
	"demarc/internal/casework"
	"demarc/internal/duty"
)

// configurationHeadline is the subject of a mail about what the configuration alone shows; "" where it is as for any other case.
func configurationHeadline(l Letter) string {
	switch l.Step {
	case casework.StepNotice:
		return "a setting to change"
	case casework.StepRelapse:
		return "the setting is back"
	}
	return ""
}

// configurationOpening begins a mail about what the configuration alone shows: nothing was probed for it. "" where a step says the same as
// for any other case.
func configurationOpening(l Letter) string {
	switch l.Step {
	case casework.StepNotice:
		const read = "The cloud's configuration shows this; no server was probed for it."
		switch l.Case.Party {
		case duty.Provider:
			return "A setting of the cloud is not as it should be. It is the provider's to change.\n" + read
		case duty.Shared:
			return "A setting is not as it should be. The provider and the project must change it, each its part.\n" + read
		case duty.Customer:
		}
		return "A setting of your project is not as it should be. It is yours to change.\n" + read
	case casework.StepFinal:
		return notified(l) + "The time to change this setting is over, and it is as it was.\nThis is the final warning."
	case casework.StepRelapse:
		return "A setting that was changed is as it was before."
	case casework.StepEscalation:
		return "The time to change this setting is over, and it is as it was."
	case casework.StepObserved:
		return "A setting that is not as it should be was seen in two syncs of the cloud. Only the operators get this mail: the mode in\n" +
			"force is observe, so neither the owner nor the provider is notified, and no deadline runs."
	case casework.StepClosed:
		if l.Case.State == casework.Moot {
			return ""
		}
		return "The cloud's configuration has not shown this again. This case is closed."
	case casework.StepStatus:
		return "A setting that concerns your project is the provider's to change. This mail asks nothing of you; it tells how it stands:\n" +
			standing(l.Case) + "."
	case casework.StepWithdrawn:
		return "The operators of the cloud have withdrawn this case. You do not need to do anything." + lost(l.Case) +
			"\nWe are sorry for the trouble. If the setting is as we said, you are notified of it in a new case, with its full time."
	}
	return ""
}
