package main

// These mutants let the machine's clock move deadlines.
var handmadeClock = []handmade{
	{area: "clock", file: "internal/flow/trusted.go", test: "flow/TestAStoppedProcessDoesNotLeap",
		old: `step := min(max(mono-c.last, 0), longestTick)`,
		new: `step := max(mono-c.last, 0)`,
		why: "a process that was stopped for days fires all deadlines at once"},
	{area: "clock", file: "internal/flow/trusted.go", test: "flow/TestAWallClockThatJumpsMovesNoDeadline",
		old: `off > tolerance || off < -tolerance {`,
		new: `off > 2*tolerance || off < -2*tolerance {`,
		why: "a wall clock that is six minutes off is followed"},
	{area: "clock", file: "internal/flow/trusted.go", test: "flow/TestRebootsMoveTimeByTwoHoursAWeek",
		old: `Jumps: recentJumps(c.jumps, c.real)}`,
		new: `}`,
		why: "restarts move policy time without a limit"},
	{area: "clock", file: "internal/flow/trusted.go", test: "flow/TestRebootsMoveTimeByTwoHoursAWeek",
		old: `may -= min(j.By, may)`,
		new: `may -= min(j.By, 0)`,
		why: "each of many reboots moves policy time by two hours"},
}
