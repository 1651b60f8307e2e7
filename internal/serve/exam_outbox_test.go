package serve_test

import (
	"testing"

	"demarc/internal/casework"
	"demarc/internal/lab"
)

// refuseWrites lets the database take no change of some table, as a full disk does, until the returned function is called.
func (e *exam) refuseWrites(table string) func() {
	e.t.Helper()
	if e.place[0] != '/' {
		e.sql(`CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'disk full'; END $$`)
		e.sql(`CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON ` + table + ` FOR EACH ROW EXECUTE FUNCTION full_disk()`)
		return func() { e.sql(`DROP TRIGGER full_disk ON ` + table); e.sql(`DROP FUNCTION full_disk`) }
	}
	for _, what := range []string{"INSERT", "UPDATE"} {
		e.sql(`CREATE TRIGGER full_` + what + ` BEFORE ` + what + ` ON ` + table + ` BEGIN SELECT RAISE(ABORT, 'disk full'); END`)
	}
	return func() { e.sql(`DROP TRIGGER full_INSERT`); e.sql(`DROP TRIGGER full_UPDATE`) }
}

// While the ledger takes no change for three days, a mail that was sent is not sent again, and what cannot be counted as an attempt is not
// sent at all. When the ledger can be written again, the clock counts from when the mail was taken.
func TestMailThatCannotBeRecordedIsNotSentAgain(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	var full func()
	var taken int64
	e.w.Mail.OnMessage(func(lab.Message) {
		if full == nil { // the disk is full from the moment at which the next hop takes the notice
			full, taken = e.refuseWrites("audit"), e.clock.Now()
		}
	})
	for full == nil {
		if !e.step() {
			due, err := e.d.Line.NextDue(t.Context())
			e.must(err)
			e.clock.LeapTo(due)
		}
	}
	for end := e.clock.Now() + 3*day; e.clock.Now() < end; e.clock.LeapTo(e.clock.Now() + hour) {
		for range 20 {
			e.step()
		}
	}
	if n := len(e.w.Mail.For(owner)); n != 1 {
		t.Fatalf("the notice was sent %d times", n)
	}
	full()
	e.after(2 * hour)
	k := e.theCase("cache-1")
	if k.State != casework.Notified || k.ClockFrom != taken {
		t.Errorf("the case is %s, and its clock runs from %d, %d after the mail was taken", k.State, k.ClockFrom, k.ClockFrom-taken)
	}
	if n := len(e.w.Mail.For(owner)); n != 1 {
		t.Errorf("the notice was sent %d times", n)
	}
}

// A ledger that takes no change before the mail is sent: nothing is sent.
func TestMailIsNotSentWhileAttemptsCannotBeRecorded(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.w.Mail.Down()
	e.until("queued", 1, func() bool { return e.count("cache-1", "mail.deferred") > 0 })
	full := e.refuseWrites("mail")
	e.must(e.w.Mail.Up())
	for range 30 {
		e.clock.LeapTo(e.clock.Now() + hour)
		for range 20 {
			e.step()
		}
	}
	if n := len(e.w.Mail.For(owner)); n != 0 {
		t.Fatalf("sent %d times, and no attempt could be recorded", n)
	}
	full()
	e.until("notified", 1, e.inState("cache-1", casework.Notified))
	if n := len(e.w.Mail.For(owner)); n != 1 {
		t.Errorf("sent %d times", n)
	}
}
