package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"demarc/internal/casework"
)

// Keys of meta.
const (
	leftoversKey = "leftovers:"
	clearKey     = "clear:"
)

func (w *writer) leftovers() error {
	for cloud, list := range w.c.Leftovers {
		body, err := json.Marshal(list)
		if err != nil {
			return fmt.Errorf("leftovers: %w", err)
		}
		if err := w.setMeta(leftoversKey+cloud, string(body)); err != nil {
			return err
		}
	}
	for _, id := range w.c.Cleared {
		if err := w.run("clearing", `DELETE FROM meta WHERE key = $1`, clearKey+id); err != nil {
			return err
		}
	}
	for _, c := range w.c.Clear {
		body, err := json.Marshal(c)
		if err != nil {
			return fmt.Errorf("clearing: %w", err)
		}
		if err := w.setMeta(clearKey+c.ID, string(body)); err != nil {
			return err
		}
	}
	return nil
}

// Leftovers lists what of ours the last sync of a cloud found that no action in force explains.
func (d *DB) Leftovers(ctx context.Context, cloud string) ([]casework.Leftover, error) {
	var body string
	err := d.read.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = $1`, leftoversKey+cloud).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading what is left over: %w", err)
	}
	return decode[[]casework.Leftover]("what is left over", body)
}

// Clearings lists what a person decided to end and what is not done yet, in the order of the ids.
func (d *DB) Clearings(ctx context.Context) ([]casework.Clearing, error) {
	var out []casework.Clearing
	err := each(ctx, d.read, func(r *sql.Rows) error {
		var body string
		if err := r.Scan(&body); err != nil {
			return err
		}
		c, err := decode[casework.Clearing]("a decision", body)
		out = append(out, c)
		return err
	}, `SELECT value FROM meta WHERE key LIKE 'clear:%' ORDER BY key`)
	if err != nil {
		return nil, fmt.Errorf("reading what is to be ended: %w", err)
	}
	return out, nil
}

// Restricting lists every order of a cloud that put ports on the quarantine group and took effect, or may have, oldest first.
func (d *DB) Restricting(ctx context.Context, cloud string) ([]casework.Act, error) {
	return d.acts(ctx, `WHERE cloud = $1 AND kind IN ('quarantine', 'stop', 'hold', 'start') AND state IN ('done', 'held') ORDER BY id`, cloud)
}

// Restored lists every order of a cloud that gave a machine back or started it, and took effect, oldest first.
func (d *DB) Restored(ctx context.Context, cloud string) ([]casework.Act, error) {
	return d.acts(ctx, `WHERE cloud = $1 AND kind IN ('restore', 'start') AND state = 'done' ORDER BY id`, cloud)
}
