package serve

import (
	"context"
	"path/filepath"
	"testing"

	"demarc/internal/casework"
	"demarc/internal/flow"
	"demarc/internal/policy"
	"demarc/internal/store"
)

// whileCommitting is a ledger that does something before each change is written.
type whileCommitting struct {
	flow.Ledger
	do func(casework.Change)
}

func (w whileCommitting) Commit(ctx context.Context, c casework.Change) error {
	w.do(c)
	return w.Ledger.Commit(ctx, c)
}

// A pause that is acknowledged while a resume still records an earlier one holds: the resume is refused.
func TestAPauseDuringAResumeHolds(t *testing.T) {
	t.Parallel()
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "d.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // it was only read and written by this test
	p, err := policy.Default()
	if err != nil {
		t.Fatal(err)
	}
	file := store.SwitchFile(filepath.Join(t.TempDir(), "d.switch"))
	if err := file.Create(false); err != nil {
		t.Fatal(err)
	}
	d := deskAt(db, p, flow.NewLeaping(1))
	d.outside = newSwitch(file)
	db.UseSwitch(d.outside)
	thrown := false
	d.line = flow.New(flow.Config{Policy: p, Clock: flow.NewLeaping(1), Ledger: whileCommitting{db, func(c casework.Change) {
		if c.Pause == nil || !*c.Pause || thrown {
			return
		}
		thrown = true // the resume records the earlier pause, and waits for the database: the server does not answer in time
		if told, err := PauseInFile(file, Ask{By: "bob", Why: "a wrong machine"}, context.DeadlineExceeded); err != nil || !told.Paused {
			t.Errorf("bob's pause: %+v, %v", told, err)
		}
	}}})
	if err := d.outside.throw(store.NewPause("ann", "a test"), "a test"); err != nil {
		t.Fatal(err)
	}
	if told, err := d.resume(t.Context(), Ask{By: "ann", Why: "the test is over"}); err == nil {
		t.Errorf("the resume answers %+v", told)
	}
	if holds, why := file.Thrown(); !holds {
		t.Errorf("bob's pause does not hold: %s", why)
	}
	if len(d.outside.unrecorded()) == 0 {
		t.Error("bob's pause is not going to be recorded")
	}
	if _, err := d.resume(t.Context(), Ask{By: "ann", Why: "bob agrees"}); err != nil {
		t.Error(err)
	}
	if holds, why := file.Thrown(); holds {
		t.Errorf("after a second resume it still holds: %s", why)
	}
}
