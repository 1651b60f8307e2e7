package casework_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/finding"
)

// What became of a step is read from the cloud's memory and the machine, and from nothing of ours.
func TestAMachineTellsWhatBecameOfAnOrder(t *testing.T) {
	seen := asset.ServerAction{Request: "req-old", Action: "stop"}
	log := func(actions ...string) []asset.ServerAction {
		out := []asset.ServerAction{seen}
		for i, a := range actions {
			who, ours := strings.CutPrefix(a, "our ")
			out = append(out, asset.ServerAction{Request: string(rune('a' + i)), Action: who, Ours: ours})
		}
		return out
	}
	running, off := asset.Server{Status: "ACTIVE"}, asset.Server{Status: "SHUTOFF"}
	locked := asset.Server{Status: "ACTIVE", Locked: true}
	m := casework.MachineOrder{Seen: []string{"req-old"}}
	for name, x := range map[string]struct {
		do      casework.MachineDo
		s       asset.Server
		actions []asset.ServerAction
		want    casework.Outcome
		idle    bool
	}{
		"never reached the cloud":              {casework.DoStop, running, log(), casework.Never, false},
		"an old stop is not since":             {casework.DoStop, running, log("our lock"), casework.Never, false},
		"stopped":                              {casework.DoStop, off, log("our stop"), casework.Happened, false},
		"still stopping":                       {casework.DoStop, running, log("our stop"), casework.Happened, false},
		"off before, by its owner":             {casework.DoStop, off, log("stop"), casework.Happened, true},
		"stopped, and started by its owner":    {casework.DoStop, running, log("start", "our stop"), casework.Happened, false},
		"its owner stopped and started it":     {casework.DoStop, running, log("start", "stop"), casework.Never, false},
		"stopped and started by us":            {casework.DoStop, running, log("our start", "our stop"), casework.Unclear, false},
		"locked":                               {casework.DoLock, locked, log("our lock"), casework.Happened, false},
		"not locked":                           {casework.DoLock, running, log(), casework.Never, false},
		"its owner's lock is not ours":         {casework.DoLock, locked, log("lock"), casework.Never, false},
		"locked, and unlocked by its owner":    {casework.DoLock, running, log("unlock", "our lock"), casework.Happened, false},
		"started":                              {casework.DoStart, running, log("our start"), casework.Happened, false},
		"not started":                          {casework.DoStart, off, log(), casework.Never, false},
		"unlocked":                             {casework.DoUnlock, running, log("our unlock"), casework.Happened, false},
		"still locked":                         {casework.DoUnlock, locked, log(), casework.Never, false},
		"running although we did not start it": {casework.DoStart, running, log("start"), casework.Happened, true},
	} {
		if got, idle := m.Resolve(x.do, x.s, x.actions); got != x.want || idle != x.idle {
			t.Errorf("%s: %s, idle %t; want %s, %t", name, got, idle, x.want, x.idle)
		}
	}
}

func restricted(stopped bool) casework.Dossier {
	return casework.Dossier{Case: casework.Case{ID: "c", Party: "customer", Class: "E", State: casework.Restricted, Act: "act", Stopped: stopped},
		Findings: []finding.Finding{{ID: "f", State: finding.Open, Class: "E", LastSeen: 1}}}
}

// A machine that is stopped is started when its release is asked for, and looked at only then.
func TestAStoppedMachineIsStartedToBeSeen(t *testing.T) {
	p := rules(t)
	d, effects := casework.Next(restricted(true), casework.Claim{By: "amir"}, p, day)
	if d.Case.State != casework.Verifying || !slices.Equal(effects, []casework.Effect{casework.Set{Timer: casework.TimerStart, At: day}}) {
		t.Fatalf("%s, %v", d.Case.State, effects)
	}
	d, effects = casework.Next(d, casework.Started{}, p, day+minute)
	if d.Case.Stopped || !slices.Contains(effects, casework.Effect(casework.Set{Timer: casework.TimerRecheck, At: day + 6*minute})) {
		t.Errorf("stopped %t, %v", d.Case.Stopped, effects)
	}
	if d.Case.Act != "act" {
		t.Errorf("in force is %q", d.Case.Act)
	}
	if d, _ := casework.Next(restricted(true), casework.Started{Act: "start"}, p, day); d.Case.Act != "start" || d.Case.Stopped {
		t.Errorf("in force is %q, stopped %t", d.Case.Act, d.Case.Stopped)
	}
	free := restricted(false)
	free.Case.Act = ""
	if d, _ := casework.Next(free, casework.Started{Act: "start"}, p, day); d.Case.Act != "" {
		t.Errorf("a machine that is free is kept off the network by %q", d.Case.Act)
	}
	if again, effects := casework.Next(d, casework.Started{}, p, day+hour); len(effects) != 0 || again.Case.State != casework.Verifying {
		t.Errorf("a start that is told twice: %v", effects)
	}
}

// What is undone is put back, each time in a row a little later; the operators hear of it twice, and once more when nothing but a person
// ends it. What stood for a day begins anew.
func TestATamperedQuarantineIsPutBack(t *testing.T) {
	p, d := rules(t), restricted(false)
	mails := 0
	undo := func(at, wait int64) {
		t.Helper()
		var effects []casework.Effect
		d, effects = casework.Next(d, casework.Tampered{}, p, at)
		if !slices.Contains(effects, casework.Effect(casework.Set{Timer: casework.TimerHold, At: at + wait})) {
			t.Fatalf("time %d: it is not put back after %d minutes: %v", d.Case.Tampers, wait/minute, effects)
		}
		if slices.Contains(effects, casework.Effect(casework.Send{Step: casework.StepTampered, To: casework.Operators})) {
			mails++
		}
	}
	at := day
	for i, wait := range []int64{0, 1, 2, 4, 8, 16, 32, 60, 60, 60} {
		undo(at+minute/2, max(0, wait*minute-minute/2))
		at += max(minute/2, wait*minute)
		again := fmt.Sprint("again ", i)
		d, _ = casework.Next(d, casework.Held{Act: again}, p, at)
		if d.Case.Act != again || d.Case.State != casework.Restricted {
			t.Fatalf("in force is %q, and the case %s", d.Case.Act, d.Case.State)
		}
		if want := map[int]int{0: 1, 7: 3, 8: 3, 9: 3}[i]; mails != max(want, min(i+1, 2)) {
			t.Errorf("%d mails of %d times", mails, i+1)
		}
	}
	undo(at+90*minute, 0) // it stood for longer than the wait
	undo(at+day, 0)
	d, _ = casework.Next(d, casework.Held{Act: "again"}, p, at+day)
	undo(at+day+minute/2, minute/2) // and then for a day
	if mails != 3 || d.Case.Tampers != 13 {
		t.Errorf("%d mails of %d times", mails, d.Case.Tampers)
	}
	d.Case.State = casework.OnHold
	if _, effects := casework.Next(d, casework.Tampered{}, p, at+2*day); len(effects) != 0 {
		t.Errorf("while a person holds the case: %v", effects)
	}
}
