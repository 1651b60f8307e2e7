package serve

import (
	"context"
	"os"

	"demarc/internal/policy"
	"demarc/internal/store"
)

// mode says which mode is in force, and warns where the server would refuse to start in it.
func (d Doctor) mode(ctx context.Context, k *chart, where string) {
	chosen, highest, place := policy.Observe, d.Config.Mode.Known(), d.Config.DatabasePath()
	if _, err := os.Stat(place); store.IsURL(place) || err == nil {
		db, err := store.OpenReader(ctx, place, d.Config.Password())
		if err != nil {
			k.fine(PolicyRead, "%s is read; the configuration allows the mode %s at most; the database, which holds the mode, could not be read",
				where, highest)
			return
		}
		defer db.Close() //nolint:errcheck // it was only read
		if err := mayStart(ctx, d.Config, db); err != nil {
			k.fault(ModeLower, "demarc mode set MODE --reason TEXT --config FILE", err)
		}
		if chosen, _, err = db.Mode(ctx); err != nil {
			k.fault(ModeLower, "see the database", err)
			return
		}
	}
	inForce := chosen.Lower(highest)
	k.fine(PolicyRead, "%s is read; the mode in force is %s (chosen: %s, allowed: %s): %s", where, inForce, chosen, highest,
		inForce.Describe())
}
