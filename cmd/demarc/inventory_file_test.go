package main

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/store"
)

// dying is a ledger whose process dies after one commit.
type dying struct {
	*store.DB
	left int
}

func (d *dying) Commit(ctx context.Context, c casework.Change) error {
	if d.left--; d.left < 0 {
		return context.Canceled
	}
	return d.DB.Commit(ctx, c)
}

// An import is one commit: when it is said to be imported, what the file lacks is gone.
func TestAnImportIsOneCommit(t *testing.T) {
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "d.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // the test is over
	for i, want := range []int{4, 3} {
		s := inventoryAt(int64(i), "").Inventory.Snapshot
		s.Servers = slices.DeleteFunc(s.Servers, func(v asset.Server) bool { return i == 1 && v.ID == "s-gpu" })
		if err := takeIn(t.Context(), &dying{db, 1}, s, s.Ended); err != nil {
			t.Error(err)
		}
		now, err := db.Snapshot(t.Context(), "lab", 0)
		if err != nil || len(now.Servers) != want {
			t.Errorf("after file %d: %d servers, want %d, %v", i, len(now.Servers), want, err)
		}
	}
}
