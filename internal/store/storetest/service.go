package storetest

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"demarc/internal/access"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/fault"
	"demarc/internal/policy"
	"demarc/internal/probe"
)

// Policy time never goes back.
func clock(t *testing.T, e Engine) {
	x, ctx := begin(t, e), t.Context()
	is := func(want int64) {
		t.Helper()
		if at := got[int64](x)(x.Clock(ctx)); at != want {
			t.Errorf("the clock is at %d, want %d", at, want)
		}
	}
	is(0)
	x.commit(casework.Change{At: 1000, Audit: []audit.Entry{anEntry("a")}})
	is(1000)
	x.commit(casework.Change{At: 900, Audit: []audit.Entry{anEntry("b")}})
	is(1000)
	x.commit(casework.Change{At: 99, Audit: []audit.Entry{anEntry("c")}}) // fewer digits are not more
	is(1000)
	x.commit(casework.Change{At: 2000, Coverage: []probe.Coverage{{Cloud: "cloud", Vantage: "v", Purpose: probe.Recheck, Ended: 1999}}})
	is(1999)
	x.commit(casework.Change{At: 3000, Inventory: &casework.Inventory{Snapshot: world(2990)}})
	is(3000)
	x.commit(casework.Change{At: 4000, Inventory: &casework.Inventory{Snapshot: world(3990)}})
	is(3990)
}

func killSwitch(t *testing.T, e Engine) {
	x, ctx := begin(t, e), t.Context()
	for i, want := range []bool{true, false, true} {
		if got[bool](x)(x.Paused(ctx)) == want {
			t.Errorf("%d: paused before it was", i)
		}
		x.commit(casework.Change{At: int64(i + 1), Pause: &want})
		if got[bool](x)(x.Paused(ctx)) != want {
			t.Errorf("%d: not kept", i)
		}
		x.commit(casework.Change{At: int64(i + 1), Audit: []audit.Entry{anEntry("other")}})
	}
}

// What requires that enforcement runs is refused while it is paused, whole and without being taken for a fault of the store.
func required(t *testing.T, e Engine) {
	x, ctx := begin(t, e), t.Context()
	on, off := true, false
	c := aCase("case-1", "p1", "s1")
	x.commit(casework.Change{At: 1, Cases: []casework.Case{c}, Require: casework.Require{Running: true}})
	x.commit(casework.Change{At: 2, Pause: &on})
	c = got[casework.Case](x)(x.Case(ctx, operator, "case-1"))
	act := anAct("act-1", c)
	intent := casework.Change{
		At:      3,
		Acts:    []casework.Act{act},
		Cases:   []casework.Case{c},
		Audit:   []audit.Entry{anEntry("act.intended")},
		Require: casework.Require{Running: true},
	}
	before := e.Tables(t, x.Store)
	if err := x.refused("an intent while paused", intent); !errors.Is(err, casework.ErrPaused) || !fault.Is(err, fault.Conflict) {
		t.Errorf("%v", err)
	}
	if after := e.Tables(t, x.Store); !maps.Equal(before, after) {
		t.Errorf("something of it was written: %v", differing(before, after))
	}
	x.commit(casework.Change{At: 4, Pause: &off})
	// Somebody decides about the case.
	x.commit(casework.Change{At: 5, Cases: []casework.Case{c}, Audit: []audit.Entry{anEntry("case.closed")}})
	err := x.refused("an intent on a case that was decided about meanwhile", intent)
	if !fault.Is(err, fault.Conflict) || errors.Is(err, casework.ErrPaused) {
		t.Errorf("%v", err)
	}
	intent.Cases[0] = got[casework.Case](x)(x.Case(ctx, operator, "case-1"))
	x.commit(intent)
	if _, err := x.Act(ctx, "act-1"); err != nil {
		t.Error(err)
	}
	moded := casework.Change{At: 6, Audit: []audit.Entry{anEntry("other")}, Require: casework.Require{Mode: policy.Enforce}}
	err = x.refused("a change that requires enforce, in observe", moded)
	if !errors.Is(err, casework.ErrPaused) || !fault.Is(err, fault.Conflict) {
		t.Errorf("%v", err)
	}
	x.commit(casework.Change{At: 7, Mode: policy.Enforce})
	x.commit(moded)
}

// What put ports on the quarantine group is listed where it took effect or may have, and what gave back or started where it did.
func ordersByEffect(t *testing.T, e Engine) {
	x, ctx := begin(t, e), t.Context()
	c := aCase("case-1", "p1", "s1")
	change := casework.Change{At: 3, Cases: []casework.Case{c}, Audit: []audit.Entry{anEntry("act.intended")}}
	for _, k := range []casework.ActKind{casework.ActQuarantine, casework.ActStop, casework.ActHold, casework.ActStart, casework.ActRestore} {
		for _, s := range []casework.ActState{casework.ActDone, casework.ActHeld, casework.ActVoid} {
			a := anAct(string(k)+" "+string(s), c)
			a.Kind, a.State = k, s
			change.Acts = append(change.Acts, a)
		}
	}
	x.commit(change)
	ids := func(as []casework.Act) (out []string) {
		for _, a := range as {
			out = append(out, a.ID)
		}
		return out
	}
	want := []string{"hold done", "hold held", "quarantine done", "quarantine held", "start done", "start held", "stop done", "stop held"}
	if all := ids(got[[]casework.Act](x)(x.Restricting(ctx, c.Cloud))); !slices.Equal(all, want) {
		t.Errorf("on the group: %v", all)
	}
	if all := ids(got[[]casework.Act](x)(x.Restored(ctx, c.Cloud))); !slices.Equal(all, []string{"restore done", "start done"}) {
		t.Errorf("given back: %v", all)
	}
}

// A mail about the service itself belongs to no case: operators see it, and no tenant.
func systemMail(t *testing.T, e Engine) {
	x, ctx := begin(t, e), t.Context()
	m := aMail("mail-1", casework.Case{})
	m.Step, m.To = casework.StepSystem, casework.Operators
	x.commit(casework.Change{At: 1, Mails: []casework.Mail{m}})
	if ms := got[[]casework.Mail](x)(x.DueMail(ctx, 99)); len(ms) != 1 || ms[0].ID != "mail-1" {
		t.Errorf("due: %+v", ms)
	}
	for who, s := range map[string]access.Scope{"operator": operator, "tenant": access.Tenant("p1")} {
		want := 0
		if who == "operator" {
			want = 1
		}
		all, latest := got[[]casework.Mail](x)(x.Mails(ctx, s)), got[[]casework.Mail](x)(x.LatestMails(ctx, s, 9))
		_, err := x.Mail(ctx, s, "mail-1")
		if len(all) != want || len(latest) != want || (err == nil) != (want == 1) || got[casework.Tally](x)(x.Tally(ctx, s)).Waiting != want {
			t.Errorf("%s: %d, %d, %v", who, len(all), len(latest), err)
		}
	}
}
