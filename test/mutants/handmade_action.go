package main

// These mutants change what is done to a machine, and until when it can be stopped.
var handmadeAction = []handmade{
	{area: "action", file: "internal/flow/enforce.go", test: "flow/TestApprovedActionIsCarriedOutOrRefused",
		old: `d.change.Require = restricting`,
		new: ``,
		why: "a pause that is committed after the gate spoke is overtaken by the intent"},
	{area: "action", file: "internal/flow/enforce.go", test: "flow/TestApprovedActionIsCarriedOutOrRefused",
		old: `p.Project != c.Project && p.Status != "ACTIVE"`,
		new: `p.Project != c.Project`,
		why: "a foreign port that is plugged into the machine is overlooked"},
	{area: "action", file: "internal/flow/enforce.go", test: "flow/TestBatchOverBudgetIsRefusedWhole",
		old: `f.Usage.Batch, f.Usage.BatchProject = len(batch), perProject[a.ds.Case.Project]`,
		new: `f.Usage.Batch, f.Usage.BatchProject = 1, min(1, perProject[a.ds.Case.Project])`,
		why: "a batch is larger than the budgets allow"},
	{area: "action", file: "internal/flow/settle.go", test: "flow/TestAnswerDecidesWhatFollows",
		old: "if err := l.mayClose(ctx, *act); err != nil {\n\t\t\treturn err\n\t\t}\n\t\tif err := l.setPort(",
		new: "if err := l.setPort(",
		why: "a pause does not stop the ports that are left"},
	{area: "action", file: "internal/flow/stop.go", test: "flow/TestHalfDoneActionOfACaseThatIsTakenBackIsUndone",
		old: "case c.TakenBack() != \"\":\n\t\treturn \"the case was \" + c.TakenBack()\n",
		new: "",
		why: "a withdrawal does not stop what is under way"},
}
