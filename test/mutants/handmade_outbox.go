package main

// These mutants lose a mail, or send one that does not hold.
var handmadeOutbox = []handmade{
	{area: "outbox", file: "internal/flow/notify.go", test: "flow/TestMailIsSentOnceOrTriedAgain",
		old: `if why == left {`,
		new: `if why == left && m.Attempts > 0 {`,
		why: "the mail of somebody who left is not sent to those who can act now"},
	{area: "outbox", file: "internal/flow/notify.go", test: "flow/TestOvertakenMailIsStale",
		old: `(m.Step == casework.StepFinal || m.Step == casework.StepRelapse) && casework.Unannounced(c, l.Policy),`,
		new: ``,
		why: "a final warning announces what the notice did not"},
	{area: "outbox", file: "internal/flow/notify.go", test: "flow/TestMailAboutTheServiceIsTriedAgain",
		old: "\tm.LastError = err.Error()\n\tm.NextAt",
		new: "\tm.Status, m.LastError = casework.Taken, err.Error()\n\tm.NextAt",
		why: "a mail to the operators that could not be sent counts as sent"},
	{area: "outbox", file: "internal/flow/notify.go", test: "flow/TestMailIsSentOnceOrTriedAgain",
		old: `if fault.Is(err, fault.Refused) && m.Recipient != l.Contacts.Operators {`,
		new: `if fault.Is(err, fault.Refused) {`,
		why: "a mail that the operators' address refuses is given up, and nobody stands in for them"},
	{area: "outbox", file: "internal/flow/notify.go", test: "flow/TestProvidersMailGoesToTheOperators",
		old: `if why == overtaken || why != left && m.Step == casework.StepStatus {`,
		new: `if why != left {`,
		why: "a mail that its recipient refuses leaves the case without any"},
	{area: "outbox", file: "internal/flow/notify.go", test: "flow/TestMailNamesWhatIsThere",
		old: "if f.State.Live() {\n\t\t\tletter.Items",
		new: "if f.State != \"\" {\n\t\t\tletter.Items",
		why: "a mail demands that its reader fixes what is fixed"},
}
