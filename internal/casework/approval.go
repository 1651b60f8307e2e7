package casework

import (
	"slices"

	"demarc/internal/duty"
)

// approved records one operator's consent. Only conditions that a person may judge can be decided against, and only with a reason.
func (m *mover) approved(e Approve) {
	c := &m.d.Case
	if c.State != Queued || c.Party != duty.Customer || e.By == "" ||
		slices.ContainsFunc(c.Approvals, func(a Approval) bool { return a.By == e.By }) {
		return
	}
	if slices.ContainsFunc(e.Despite, func(d string) bool { return !slices.Contains(Despite, d) }) || len(e.Despite) > 0 && e.Why == "" {
		return
	}
	c.Approvals = append(c.Approvals, Approval{By: e.By, At: m.now, Despite: e.Despite, Why: e.Why})
	m.want(Set{TimerEnforce, m.now})
}

// refused takes the gate's refusal in. Where the notices do not count any more a new round begins, so that the responsible party is
// notified again and has the full time. What an owner can cause begins one new round in the life of a case: after that nothing is done
// automatically, and an operator decides. Otherwise an owner who changes one thing in time would never lose the machine.
func (m *mover) refused(blocks []Refusal) {
	c := &m.d.Case
	if c.State != Queued {
		return
	}
	c.Blocks, c.Approvals = blocks, nil
	m.want(Send{StepRefused, Operators}, Cancel{TimerEnforce})
	owner := slices.ContainsFunc(blocks, func(r Refusal) bool { return r.Renew == RenewOwner })
	operator := slices.ContainsFunc(blocks, func(r Refusal) bool { return r.Renew == RenewOperator })
	switch {
	case owner && c.Renewed >= mostRenewed && !operator:
		return
	case owner && c.Renewed < mostRenewed:
		c.Renewed++
	case !operator:
		return
	}
	m.newRound()
	m.want(Set{TimerRecheck, m.now})
}

// mostRenewed is how many rounds an owner's own changes can begin in the life of one case.
const mostRenewed = 1

// Stuck tells whether a refused action can go on by an operator's decision alone: the owner's changes have begun a new round already.
func (c Case) Stuck() bool {
	return c.State == Queued && c.Renewed >= mostRenewed &&
		slices.ContainsFunc(c.Blocks, func(r Refusal) bool { return r.Renew == RenewOwner })
}

// renewed begins a new round by an operator's decision.
func (m *mover) renewed() {
	switch c := &m.d.Case; c.State {
	case Notified, Acknowledged, Overdue, FinalWarning, Queued:
		m.newRound()
		m.want(Cancel{TimerGrace}, Cancel{TimerEnforce}, Set{TimerRecheck, m.now})
	case New, Restricted, Verifying, Released, Verified, Closed, OnHold, Moot:
	}
}
