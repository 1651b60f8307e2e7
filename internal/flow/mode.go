package flow

import (
	"context"
	"fmt"
	"math"
	"strings"

	"demarc/internal/access"
	"demarc/internal/casework"
	"demarc/internal/fault"
	"demarc/internal/policy"
)

// rules returns the policy with the mode in force at this moment: the lower of what the configuration allows and what the operators
// chose. Safe for concurrent use.
func (l *Line) rules(ctx context.Context) (*policy.Policy, error) {
	chosen, _, err := l.Ledger.Mode(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the mode: %w", err)
	}
	return l.base.InMode(chosen.Lower(l.highest)), nil
}

// readMode puts the mode in force into the policy that the pipeline decides by. Only the pipeline's goroutine may call it.
func (l *Line) readMode(ctx context.Context) error {
	p, err := l.rules(ctx)
	if err != nil {
		return err
	}
	if p.Mode != l.Policy.Mode {
		l.Policy = l.Policy.InMode(p.Mode)
	}
	return nil
}

// applyMode reads the mode in force at the start of a step. When it is not the one that the pipeline worked in last, be it because an
// operator chose another or because the configuration allows another, every live case that no person holds is checked at once: what
// was found in Observe is notified, and what was deferred goes on. The check and the new mode are one commit.
func (l *Line) applyMode(ctx context.Context) error {
	if err := l.readMode(ctx); err != nil {
		return err
	}
	if l.applied == l.Policy.Mode {
		return nil
	}
	last, err := l.Ledger.AppliedMode(ctx)
	if err != nil {
		return err
	}
	if last == l.Policy.Mode {
		l.applied = last
		return nil
	}
	cases, err := l.Ledger.Cases(ctx, access.Operator(), casework.Filter{Live: true})
	if err != nil {
		return err
	}
	d := l.draft("mode")
	d.change.Applied = l.Policy.Mode
	for _, c := range cases {
		if c.Cloud == l.Cloud && c.State != casework.OnHold && c.TakenBack() == "" {
			d.arm(casework.Due{Case: c.ID, Timer: casework.TimerRecheck, At: d.now})
		}
	}
	if err := d.bringForward(ctx); err != nil {
		return err
	}
	d.say(Happening{Event: "mode.applied", Detail: fmt.Sprintf("from %s to %s; %d cases are checked", last, l.Policy.Mode, len(d.change.Arm))})
	if err := d.commit(ctx); err != nil {
		return err
	}
	l.applied = l.Policy.Mode
	return nil
}

// bringForward makes mails due that were never tried and that the mode does not keep back any more. They count as queued now: a mail
// that was kept back for weeks has not failed to be delivered for weeks.
func (d *draft) bringForward(ctx context.Context) error {
	mails, err := d.l.Ledger.DueMail(ctx, math.MaxInt64)
	if err != nil {
		return err
	}
	for _, m := range mails {
		if m.Attempts == 0 && m.NextAt > d.now && !casework.Waits(m.Step, m.To, d.policy.Mode) {
			if m.Slot > d.now {
				continue // it waits for its digest, whatever the mode
			}
			m.NextAt, m.QueuedAt = d.now, d.now
			d.change.Mails = append(d.change.Mails, m)
		}
	}
	return nil
}

// SetMode chooses the mode, within what the configuration allows. The pipeline follows at its next step. It needs a reason, which
// stands in the audit log with by. Safe for concurrent use.
func (l *Line) SetMode(ctx context.Context, mode policy.Mode, by, why string) error {
	if _, err := policy.ParseMode(string(mode)); err != nil {
		return err
	}
	if strings.TrimSpace(why) == "" {
		return fault.New(fault.Usage, "the mode is not changed without a reason").Hinted("give one with --reason; it is kept in the audit log")
	}
	if !l.highest.AtLeast(mode) {
		return fault.New(fault.Refused, "the configuration allows %s at most, not %s", l.highest, mode).
			Hinted("write `mode: %s` in the configuration, restart the server, then try again", mode)
	}
	from, _, err := l.Ledger.Mode(ctx)
	if err != nil {
		return err
	}
	d := l.draft("people")
	d.actor = by
	d.change.Mode = mode
	d.say(Happening{Event: "mode.changed", Mode: mode, Detail: fmt.Sprintf("by %s: from %s to %s: %s", by, from, mode, why)})
	return d.commit(ctx)
}
