package main

// These mutants misjudge what became of an action whose outcome was not known.
var handmadeSettling = []handmade{
	{area: "settling", file: "internal/flow/settle.go", test: "flow/TestAnswerDecidesWhatFollows",
		old: "o := casework.Unclear\n\t\tif err == nil {\n\t\t\to = act.Ports",
		new: "o := casework.Never\n\t\tif err == nil {\n\t\t\to = act.Ports",
		why: "a port that cannot be found counts as untouched"},
	{area: "settling", file: "internal/flow/settle.go", test: "flow/TestOutcomeIsReadFromTheCloud",
		old: `if fresh && act.Kind.Restricts() {`,
		new: `if !fresh && act.Kind.Restricts() {`,
		why: "a half-done quarantine is completed although the weakness became the provider's"},
	{area: "settling", file: "internal/flow/settle.go", test: "flow/TestOutcomeIsReadFromTheCloud",
		old: `o, idle = act.Machine.Resolve(t.Do, s, actions)`,
		new: "_, idle = act.Machine.Resolve(t.Do, s, actions)\n\t\t\to = casework.Happened",
		why: "a machine that runs counts as stopped"},
	{area: "settling", file: "internal/flow/settle.go", test: "flow/TestAnswerDecidesWhatFollows",
		old: `if last == saidNo {`,
		new: `if last != nothingAsked {`,
		why: "an action whose answer was lost is written off, and arrives later"},
	{area: "settling", file: "internal/flow/settle.go", test: "flow/TestStartThatMayArriveIsWaitedFor",
		old: `if act.Machine != nil && !late {`,
		new: `if act.Machine != nil && act.Kind.Restricts() && !late {`,
		why: "a start whose answer was lost is written off while it may arrive"},
	{area: "settling", file: "internal/flow/settle.go", test: "flow/TestOutcomeIsReadFromTheCloud",
		old: `if err := l.fence(ctx, &act); err != nil && (!late || errors.Is(err, cloud.ErrStale)) {`,
		new: `if err := error(nil); err != nil && (!late || errors.Is(err, cloud.ErrStale)) {`,
		why: "a request under way disconnects a machine whose action was written off"},
}
