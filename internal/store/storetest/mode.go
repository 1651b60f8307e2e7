package storetest

import (
	"testing"

	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/policy"
)

// modes: a new database is in observe and nobody chose it; a choice and the mode that was applied are kept apart; what is not a mode
// counts as observe.
func modes(t *testing.T, e Engine) {
	x, ctx := begin(t, e), t.Context()
	is := func(what string, want policy.Mode, wantChosen bool, wantApplied policy.Mode) {
		t.Helper()
		m, chosen, err := x.Mode(ctx)
		if applied := got[policy.Mode](x)(x.AppliedMode(ctx)); err != nil || m != want || chosen != wantChosen || applied != wantApplied {
			t.Errorf("%s: %s, chosen %t, applied %s, %v", what, m, chosen, applied, err)
		}
	}
	is("new", policy.Observe, false, policy.Observe)
	x.commit(casework.Change{At: 1, Mode: policy.Enforce})
	is("chosen", policy.Enforce, true, policy.Observe)
	x.commit(casework.Change{At: 2, Applied: policy.Enforce})
	x.commit(casework.Change{At: 3, Audit: []audit.Entry{anEntry("other")}})
	is("applied", policy.Enforce, true, policy.Enforce)
	x.commit(casework.Change{At: 4, Mode: policy.Observe})
	is("lowered", policy.Observe, true, policy.Enforce)
	for _, m := range []policy.Mode{"ENFORCE", "enforce ", "all", "true"} {
		x.commit(casework.Change{At: 5, Mode: m, Applied: m})
		is(string(m), policy.Observe, false, policy.Observe)
	}
	if (casework.Change{At: 1, Mode: policy.Notify}).Empty() || (casework.Change{At: 1, Applied: policy.Notify}).Empty() {
		t.Error("a change of the mode alone counts as empty: it would not be written")
	}
}

// notified: mail to operators alone, or mail that was not accepted, has notified nobody.
func notified(t *testing.T, e Engine) {
	x, ctx := begin(t, e), t.Context()
	c := aCase("case-1", "p1", "s1")
	x.commit(casework.Change{At: 1, Cases: []casework.Case{c}})
	for i, s := range []struct {
		to     casework.Audience
		status casework.MailStatus
		want   bool
	}{
		{casework.Operators, casework.Taken, false}, {casework.Owner, casework.Waiting, false}, {casework.Owner, casework.Bounced, false},
		{casework.Provider, casework.Taken, true}, {casework.Operators, casework.Taken, true},
	} {
		m := aMail("mail-"+string(rune('a'+i)), c)
		m.MessageID, m.To, m.Status = m.ID, s.to, s.status
		x.commit(casework.Change{At: int64(i + 2), Mails: []casework.Mail{m}})
		if got := got[bool](x)(x.HasNotified(ctx)); got != s.want {
			t.Errorf("%d: a mail to the %s that is %s: notified %t", i, s.to, s.status, got)
		}
	}
}
