package main

// These mutants lose a mail, or send one that does not hold.
var handmadeOutbox = []handmade{
	{area: "outbox", file: "internal/flow/notify.go", test: "flow/TestMailIsSentOnceOrTriedAgain",
		old: `if m.To == casework.Owner && m.Recipient != d.l.Contacts.Operators && why == left {`,
		new: `if m.To == casework.Owner && m.Recipient != d.l.Contacts.Operators && why == left && m.Attempts > 0 {`,
		why: "the mail of somebody who left is not sent to those who can act now"},
	{area: "outbox", file: "internal/flow/notify.go", test: "flow/TestOvertakenMailIsStale",
		old: `(m.Step == casework.StepFinal || m.Step == casework.StepRelapse) && casework.Unannounced(c, l.Policy),`,
		new: ``,
		why: "a final warning announces what the notice did not"},
	{area: "outbox", file: "internal/flow/notify.go", test: "flow/TestMailAboutTheServiceIsTriedAgain",
		old: "default:\n\t\tm.LastError = err.Error()\n",
		new: "default:\n\t\tm.Status, m.LastError = casework.Taken, err.Error()\n",
		why: "a mail to the operators that could not be sent counts as sent"},
	{area: "outbox", file: "internal/flow/notify.go", test: "flow/TestMailNamesWhatIsThere",
		old: "if f.State.Live() {\n\t\t\tletter.Items",
		new: "if f.State != \"\" {\n\t\t\tletter.Items",
		why: "a mail demands that its reader fixes what is fixed"},
}
