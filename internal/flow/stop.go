package flow

import (
	"context"
	"errors"
	"fmt"

	"demarc/internal/casework"
	"demarc/internal/casework/gate"
	"demarc/internal/policy"
)

// restricting is what must hold in the transaction that writes the intent of an action which restricts a machine.
var restricting = casework.Require{Running: true, Mode: policy.Enforce}

// paused tells what pauses enforcement, "" when nothing does. The switch outside the ledger is read first: it is what is set when the
// ledger cannot be written.
func (l *Line) paused(ctx context.Context) (string, error) {
	if l.Switch != nil {
		if thrown, why := l.Switch.Thrown(); thrown {
			return why, nil
		}
	}
	paused, err := l.Ledger.Paused(ctx)
	if err != nil {
		return "", fmt.Errorf("reading the kill switch: %w", err)
	}
	if paused {
		return "the kill switch is on", nil
	}
	return "", nil
}

// notPaused is nil while enforcement is not paused. It is asked right before each call that prepares or makes a restriction; what cannot be
// read counts as paused.
func (l *Line) notPaused(ctx context.Context) error {
	why, err := l.paused(ctx)
	if err != nil {
		why = err.Error()
	}
	if why == "" {
		return nil
	}
	return fmt.Errorf("%w: %s", casework.ErrPaused, why)
}

// switchedOff is how a refusal by the kill switch is written down: as the gate's condition of that name.
func switchedOff(err error) casework.Refusal {
	return casework.Refusal{Condition: gate.Switch, Reason: err.Error()}
}

// stopped says that an action under way must not go on.
type stopped struct{ block casework.Refusal }

func (s stopped) Error() string { return s.block.String() }

// mayGoOn is asked before each call of an action that restricts a machine. The gate spoke before the intent was written; since then
// a person may have paused enforcement or withdrawn the case. Undoing is never stopped. The mode may have been lowered, too. What cannot be
// read is asked again later where it is about a start (errUnfinished).
func (l *Line) mayGoOn(ctx context.Context, act casework.Act) error {
	if !act.Kind.Restricts() {
		return l.stillStarts(ctx, act)
	}
	if err := l.notPaused(ctx); err != nil {
		return stopped{switchedOff(err)}
	}
	p, err := l.rules(ctx)
	if err != nil || !p.Mode.AtLeast(policy.Enforce) {
		return stopped{casework.Refusal{Condition: "mode", Reason: "the mode in force does not allow an action any more"}}
	}
	ds, err := l.dossier(ctx, act.Case)
	if err != nil {
		return stopped{casework.Refusal{Condition: "state", Reason: "the case cannot be read: " + err.Error()}}
	}
	if why := movedOn(ds.Case, act); why != "" {
		return stopped{casework.Refusal{Condition: "state", Reason: why}}
	}
	return nil
}

// mayClose is asked before each call that changes a port. A start puts ports back on the quarantine before the machine runs: a pause stops
// that, and with it the start.
func (l *Line) mayClose(ctx context.Context, act casework.Act) error {
	if act.Kind != casework.ActStart {
		return l.mayGoOn(ctx, act)
	}
	if err := l.notPaused(ctx); err != nil {
		return stopped{switchedOff(err)}
	}
	return l.stillStarts(ctx, act)
}

// stillStarts stops a start whose case was taken back meanwhile: the machine is given back, and nothing is put on the quarantine again.
func (l *Line) stillStarts(ctx context.Context, act casework.Act) error {
	if act.Kind != casework.ActStart {
		return nil
	}
	ds, err := l.dossier(ctx, act.Case)
	if err != nil {
		return fmt.Errorf("reading the case: %w: %w", errUnfinished, err)
	}
	if back := ds.Case.TakenBack(); back != "" {
		return stopped{casework.Refusal{Condition: "state", Reason: "the case was " + back}}
	}
	return nil
}

// goesBack tells whether a case is taken back. What was ordered for it then is not ordered again: it is given back.
func (d *draft) goesBack(c casework.Case) bool {
	if c.TakenBack() == "" {
		return false
	}
	if c.State == casework.Verifying {
		d.arm(casework.Due{Case: c.ID, Timer: casework.TimerRelease, At: d.now})
	}
	return true
}

// movedOn tells why a case does not stand where it stood when an action on its machine was decided.
func movedOn(c casework.Case, act casework.Act) string {
	stands := c.State == casework.Queued
	if act.Kind == casework.ActHold {
		stands = c.Act == act.Renews && (c.State == casework.Restricted || c.State == casework.Verifying)
	}
	switch {
	case c.TakenBack() != "":
		return "the case was " + c.TakenBack()
	case !stands:
		return "the case is " + string(c.State)
	}
	return ""
}

// cutShort ends an action that must not go on. What was done of it is held for a person, or undone where the case was taken back; where
// nothing was done, nothing happened.
func (l *Line) cutShort(ctx context.Context, act casework.Act, block casework.Refusal) error {
	why := block.String()
	if begun(act) {
		return l.held(ctx, act, "it was stopped half-way: "+why)
	}
	ds, err := l.dossier(ctx, act.Case)
	if err != nil {
		return err
	}
	d := l.draft(stepOf(act.Kind))
	act.State, act.EndedAt, act.Note = casework.ActVoid, d.now, "nothing was done: "+why
	d.change.Acts = append(d.change.Acts, act)
	d.acted(ds.Case, act, "act.void", act.Note)
	switch {
	case d.goesBack(ds.Case):
	case act.Kind == casework.ActHold && movedOn(ds.Case, act) == "":
		d.arm(casework.Due{Case: act.Case, Timer: casework.TimerHold, At: d.now}) // it stays due
	case act.Kind == casework.ActStart:
		d.arm(casework.Due{Case: act.Case, Timer: casework.TimerStart, At: d.now}) // so does this
	case act.Kind != casework.ActHold && ds.Case.State == casework.Queued:
		h := about(ds.Case, "gate.refused")
		h.Detail = why
		d.say(h)
		d.apply(ds, casework.Refused{Blocks: []casework.Refusal{block}})
	}
	return d.commit(ctx)
}

// asStopped tells whether an error says that an action must not go on, and why.
func asStopped(err error) (casework.Refusal, bool) {
	var s stopped
	ok := errors.As(err, &s)
	return s.block, ok
}
