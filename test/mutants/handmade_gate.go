package main

// These mutants weaken conditions of the gate.
var handmadeGate = []handmade{
	{area: "gate", file: "internal/casework/gate/notices.go", test: "casework/gate/TestGateOverrulesNothingElse",
		old: `case casework.Harsher(f.Action, n.End):`,
		new: `case casework.Harsher(n.End, f.Action):`,
		why: "a machine is stopped although the mails announced a quarantine"},
	{area: "gate", file: "internal/casework/gate/notices.go", test: "casework/gate/TestEachConditionAloneRefuses",
		old: `return n.Full && n.To == casework.Owner &&`,
		new: `return n.To == casework.Owner &&`,
		why: "a notice without the full time counts"},
	{area: "gate", file: "internal/casework/gate/notices.go", test: "casework/gate/TestGateOverrulesNothingElse",
		old: `slices.Concat(f.Case.Notices, f.Record.Notices)`,
		new: `f.Case.Notices`,
		why: "a deadline that was shortened in the database counts"},
	{area: "gate", file: "internal/casework/gate/proof.go", test: "casework/gate/TestGateOverrulesNothingElse",
		old: `case l.Verdict.Negative() && before != nil && (c.RelapsedAt == 0 || l.At > c.RelapsedAt):`,
		new: `case l.Verdict.Negative() && before != nil && c.RelapsedAt > 0 && l.At > c.RelapsedAt:`,
		why: "a weakness that was gone in between counts as persistent"},
}
