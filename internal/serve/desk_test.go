package serve

import (
	"path/filepath"
	"testing"
	"time"

	"demarc/internal/casework"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/store"
)

func TestADeskDecidesAtTheLedgersTime(t *testing.T) {
	t.Parallel()
	now := time.Now().UnixMicro()
	day := int64(24 * time.Hour / time.Microsecond)
	for name, c := range map[string]struct {
		looked   probe.Coverage
		from, to int64
	}{
		"the world's time":            {probe.Coverage{Ended: now - day, RealAt: now - day}, now, now + day},
		"compressed, ahead":           {probe.Coverage{Ended: now + 90*day, RealAt: now}, now + 90*day, now + 90*day},
		"compressed, behind":          {probe.Coverage{Ended: now - 90*day, RealAt: now}, now - 90*day, now - 90*day},
		"a new ledger, without looks": {probe.Coverage{}, now, now + day},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "demarc.db"))
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close() //nolint:errcheck // a test's end
			if c.looked.Ended != 0 {
				if err := db.Commit(t.Context(), casework.Change{At: c.looked.Ended, Coverage: []probe.Coverage{c.looked}}); err != nil {
					t.Fatal(err)
				}
			}
			p, err := policy.Default()
			if err != nil {
				t.Fatal(err)
			}
			d, err := NewDesk(t.Context(), db, p)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.Decide(t.Context(), Ask{Do: Pause, By: "carol"}); err != nil {
				t.Fatal(err)
			}
			if paused, err := db.Paused(t.Context()); err != nil || !paused {
				t.Errorf("paused: %t, %v", paused, err)
			}
			es, err := db.Entries(t.Context(), 1)
			if err != nil || len(es) != 1 || es[0].Actor != "carol" || es[0].Kind != "enforcement.paused" {
				t.Fatalf("the log: %v, %v", es, err)
			}
			if es[0].At < c.from || es[0].At > c.to {
				t.Errorf("decided at %v, want %v to %v", es[0].At, c.from, c.to)
			}
		})
	}
}
