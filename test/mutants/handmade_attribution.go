package main

// These mutants charge somebody with what is not theirs.
var handmadeAttribution = []handmade{
	{area: "attribution", file: "internal/flow/attribute.go", test: "flow/TestFindingGoesToThePartyThatMustAct",
		old: `return l.x.Projects[f.Project] != nil && l.chargeAnew(f)`,
		new: `return l.chargeAnew(f)`,
		why: "a finding of a project that the inventory does not hold is reassigned"},
	{area: "attribution", file: "internal/flow/attribute.go", test: "flow/TestFindingGoesToThePartyThatMustAct",
		old: `told, left, track := ds.Case.ClockFrom > 0, max(0, ds.Case.Due-d.now), ds.Case.Track`,
		new: `told, left, track := false, max(0, ds.Case.Due-d.now), ds.Case.Track`,
		why: "it is forgotten that the other party was notified"},
	{area: "attribution", file: "internal/flow/verify.go", test: "flow/TestCheckCountsOnlyWhereTheMachineAnswered",
		old: `case g.moved:`,
		new: `case g.moved && try > 0:`,
		why: "a check of an address that another machine holds by then counts"},
	{area: "attribution", file: "internal/flow/verify.go", test: "flow/TestCheckCountsOnlyWhereTheMachineAnswered",
		old: `if p := d.l.x.Ports[f.Key.Port]; p != nil && p.Server != f.Key.Server {`,
		new: `if p := d.l.x.Ports[f.Key.Port]; p != nil && p.Server == "" {`,
		why: "a port that is another machine's by now counts as a fix"},
	{area: "attribution", file: "internal/flow/verify.go", test: "flow/TestCheckCountsOnlyWhereTheMachineAnswered",
		old: `case (ds.Case.Act != "" || len(ours) > 0) && (!g.held || g.moved):`,
		new: `case (ds.Case.Act != "" && len(ours) >= 0) && (!g.held || g.moved):`,
		why: "what the quarantine of another case hides counts as fixed"},
}
