package flow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"demarc/internal/access"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/casework/notice"
	"demarc/internal/fault"
)

// CaseRepaired is the kind of the audit entry that says what was missing of a case and was created again.
const CaseRepaired = "case.repaired"

const (
	reconcileEvery = day
	casesAtOnce    = 64       // that one step reconciles, so that other work that is due does not wait for all of them
	overFor        = 30 * day // for how long the mails of a case that is over are still checked
)

// reconcile compares every case with the timers and mails that it needs, at the first step after a start and then once a day of policy
// time. What is missing is created again and reported (case.repaired). A lost row then costs a day, and never a deadline.
//
// One step does one page of cases, and each case that needs a repair is a commit of its own. Between two pages other due work is done: a
// page without a repair does not count as work, and NextDue asks for the next page at once. A case that cannot be compared keeps no other
// waiting; then the next run begins in an hour.
func (l *Line) reconcile(ctx context.Context) (bool, error) {
	if l.Clock.Now() < l.reconcileAt {
		return false, nil
	}
	page, err := l.Ledger.Cases(ctx, access.Operator(), casework.Filter{After: l.reconciled, Limit: casesAtOnce})
	if err != nil {
		return false, err
	}
	running, err := l.Ledger.RunningActs(ctx)
	if err != nil {
		return false, err
	}
	did := false
	var errs []error
	for _, c := range page {
		if c.Cloud == l.Cloud && (!c.State.Over() || c.ClosedAt > l.Clock.Now()-overFor) {
			repaired, err := l.reconcileCase(ctx, c.ID, running)
			if ctx.Err() != nil {
				return did, ctx.Err()
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("case %s: %w", c.ID, err))
			}
			did = did || repaired
		}
		l.reconciled = c.ID
	}
	l.reconcileFailed = l.reconcileFailed || len(errs) > 0
	if len(page) < casesAtOnce {
		next := reconcileEvery
		if l.reconcileFailed {
			next = hour
		}
		l.reconciled, l.reconcileAt, l.reconcileFailed = "", l.Clock.Now()+next, false
	}
	return did, errors.Join(errs...)
}

// reconcileCase repairs one case, and reports whether there was anything to repair. A case that somebody changes meanwhile is left for the
// next run.
func (l *Line) reconcileCase(ctx context.Context, id string, running []casework.Act) (bool, error) {
	ds, err := l.dossier(ctx, id)
	if err != nil {
		return false, err
	}
	d := l.draft("reconcile")
	lost, err := l.actionLost(ctx, ds.Case)
	if errors.Is(err, errForged) {
		return true, l.holdForged(ctx, ds, err)
	}
	if err != nil {
		return false, err
	}
	if lost {
		return true, d.holdForLostAction(ctx, ds)
	}
	has, err := l.rowsOf(ctx, ds.Case)
	if err != nil {
		return false, err
	}
	underWay := slices.ContainsFunc(running, func(a casework.Act) bool {
		return a.Case == id || a.Server == ds.Case.Server && ds.Case.Server != ""
	})
	repairs := casework.Missing(ds.Case, casework.Needs(ds, d.policy, underWay, d.now), has, d.policy, d.now)
	if len(repairs) == 0 {
		return false, nil
	}
	ds.Case.RepairedAt = d.now
	d.putCase(ds.Case) // its version makes sure that nobody changed it since
	var what []string
	for _, r := range repairs {
		d.repair(ds.Case, r)
		what = append(what, r.What)
	}
	h := about(ds.Case, CaseRepaired)
	h.Detail = strings.Join(what, "; ")
	d.say(h)
	l.Log.Warn("case repaired", "case", id, "state", ds.Case.State, "what", h.Detail)
	if err := d.commit(ctx); err != nil && !fault.Is(err, fault.Conflict) {
		return false, err
	}
	return true, nil
}

// actionLost reports whether the record of the action in force on the machine of a live case is missing, or of one whose place it took.
func (l *Line) actionLost(ctx context.Context, c casework.Case) (bool, error) {
	if c.Act == "" || c.State.Over() || c.State == casework.OnHold || decidedWithoutRecord(c) {
		return false, nil
	}
	order, err := l.Ledger.Act(ctx, c.Act)
	if err == nil {
		_, err = l.chain(ctx, order)
	}
	if fault.Is(err, fault.NotFound) {
		return true, nil
	}
	return false, err
}

// holdForLostAction hands a case to a person: what the machine is to get back stood in the record that is missing.
func (d *draft) holdForLostAction(ctx context.Context, ds casework.Dossier) error {
	h := about(ds.Case, CaseRepaired)
	h.Detail = fmt.Sprintf("the record of action %s was missing; a person must restore the server", ds.Case.Act)
	d.say(h)
	ds.Case.RepairedAt, ds.Case.Lost = d.now, []string{lostRecord(ds.Case.Act)}
	d.apply(ds, casework.Hold{Why: fmt.Sprintf("the record of action %s, which keeps the server off the network, is missing "+
		"from the database: restore the security groups of its ports by hand", ds.Case.Act)})
	for _, t := range []casework.Timer{casework.TimerRecheck, casework.TimerRelease, casework.TimerStart, casework.TimerHold} {
		d.disarm(ds.Case.ID, t) // none of them can be done without that record
	}
	if err := d.commit(ctx); err != nil && !fault.Is(err, fault.Conflict) {
		return err
	}
	return nil
}

// lostRecord says, for everybody who reads the case, what cannot be given back without the record of an action.
func lostRecord(act string) string {
	return fmt.Sprintf("the security groups that the server had before: their record (action %s) is missing, "+
		"and operators restore them by hand", act)
}

// unprovenRecord says the same where the record is there, and the audit log does not prove it.
func unprovenRecord(act string) string {
	return fmt.Sprintf("the security groups that the server had before: the audit log does not prove their record (action %s), "+
		"and operators restore them by hand", act)
}

// decidedWithoutRecord reports whether a case was taken back after the operators were asked to restore its server by hand.
func decidedWithoutRecord(c casework.Case) bool {
	return c.TakenBack() != "" && (slices.Contains(c.Lost, lostRecord(c.Act)) || slices.Contains(c.Lost, unprovenRecord(c.Act)))
}

// giveBackWithoutRecord ends a case that was taken back after the operators were asked to restore its server by hand. Until they were, it
// asks them.
func (d *draft) giveBackWithoutRecord(ctx context.Context, ds casework.Dossier) error {
	if !decidedWithoutRecord(ds.Case) {
		return d.holdForLostAction(ctx, ds)
	}
	d.apply(ds, casework.Restored{Lost: ds.Case.Lost})
	return d.commit(ctx)
}

func (d *draft) repair(c casework.Case, r casework.Repair) {
	switch {
	case r.Arm != nil:
		d.arm(*r.Arm)
	case r.Forward != nil:
		d.change.Mails = append(d.change.Mails, *r.Forward)
	case r.Mail != nil:
		to := []notice.Recipient{{Address: r.Mail.Recipient, As: "before"}}
		if r.Mail.Recipient == "" {
			to = notice.Recipients(d.l.x, c, r.Mail.To, d.l.Contacts)
		}
		for _, x := range to {
			m := notice.New(newID(), c, r.Mail.Step, r.Mail.To, x.Address, d.l.Contacts.Domain, d.now)
			ref := casework.MailRef{Repair: true}
			if r.Mail.MessageID != "" {
				m.MessageID = r.Mail.MessageID
			}
			if r.Own {
				ref.Replaces = r.Mail.MessageID
				m = notice.Again(m.ID, c, r.Mail.Step, r.Mail.To, x.Address, d.l.Contacts.Domain, d.now)
			}
			d.queueMail(c, casework.ScheduleSoon(m, c, d.policy, d.now), x.As, ref)
		}
	}
}

// rowsOf reads the timers and mails of a case, and what the audit log says of its mails. The log is read first: a mail that is queued
// between the two readings is then not taken for lost. A log that is not proven says nothing; the doctor reports that.
func (l *Line) rowsOf(ctx context.Context, c casework.Case) (casework.Rows, error) {
	var out casework.Rows
	entries, err := l.Ledger.Witness(ctx, c.ID)
	if errors.Is(err, audit.ErrUnproven) {
		l.Log.Warn("the audit log of a case cannot be relied on: its lost mails are not found", "case", c.ID, "err", err)
		entries, err = nil, nil
	}
	if err != nil {
		return out, err
	}
	var q mailQueue
	for _, e := range entries {
		var h Happening
		if err := json.Unmarshal(e.Detail, &h); err == nil {
			q.take(e.Kind, h)
		}
	}
	out.Unsettled = q.unsettled()
	if out.Timers, err = l.Ledger.Timers(ctx, c.ID); err != nil {
		return out, err
	}
	out.Mails, err = l.Ledger.MailsOf(ctx, c.ID)
	return out, err
}

// mailQueue is the outbox of a case as its audit log tells it.
type mailQueue struct {
	queued  []casework.MailRef
	settled map[string]bool // by Message-ID
}

// roundSteps are the mails that belong to one round of notices: a new round replaces them.
var roundSteps = []casework.Step{casework.StepNotice, casework.StepFinal, casework.StepRelapse, casework.StepApproval,
	casework.StepObserved}

func (q *mailQueue) take(kind string, h Happening) {
	if q.settled == nil {
		q.settled = map[string]bool{}
	}
	switch kind {
	case "case.new":
		q.queued = slices.DeleteFunc(q.queued, func(r casework.MailRef) bool { return slices.Contains(roundSteps, r.Step) })
	case "mail.queued":
		if h.Mail == nil {
			return
		}
		if h.Mail.Replaces != "" {
			q.settled[h.Mail.Replaces] = true
		}
		i := slices.IndexFunc(q.queued, func(r casework.MailRef) bool { return r.MessageID == h.Mail.MessageID })
		if i < 0 {
			q.queued = append(q.queued, *h.Mail)
			return
		}
		q.queued[i].Repair = q.queued[i].Repair || h.Mail.Repair
	case "mail.accepted", "mail.failed":
		if h.Mail != nil {
			q.settled[h.Mail.MessageID] = true
		}
	}
}

func (q *mailQueue) unsettled() []casework.MailRef {
	return slices.DeleteFunc(q.queued, func(r casework.MailRef) bool { return q.settled[r.MessageID] })
}
