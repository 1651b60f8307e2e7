package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"demarc/internal/casework"
)

// Model finds a version of a responsibility model that was in use; ok is false when it never was.
func (d *DB) Model(ctx context.Context, id string, version int) (m casework.ModelUse, ok bool, err error) {
	m = casework.ModelUse{ID: id, Version: version}
	err = d.read.QueryRowContext(ctx, `SELECT hash, since, body FROM model WHERE id = $1 AND version = $2`, id, version).Scan(&m.Hash, &m.Since, &m.Text)
	if errors.Is(err, sql.ErrNoRows) {
		return casework.ModelUse{}, false, nil
	}
	if err != nil {
		return casework.ModelUse{}, false, fmt.Errorf("reading model %s: %w", id, err)
	}
	return m, true, nil
}
