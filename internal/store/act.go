package store

import (
	"context"
	"database/sql"
	"fmt"

	"demarc/internal/asset"
	"demarc/internal/casework"
)

// Act finds one order.
func (d *DB) Act(ctx context.Context, id string) (casework.Act, error) {
	as, err := d.acts(ctx, `WHERE id = $1`, id)
	if err != nil {
		return casework.Act{}, err
	}
	if len(as) == 0 {
		return casework.Act{}, notFound("act", id)
	}
	return as[0], nil
}

// RunningActs lists the orders whose outcome is not yet written down.
func (d *DB) RunningActs(ctx context.Context) ([]casework.Act, error) {
	return d.acts(ctx, `WHERE state = 'intended' ORDER BY id`)
}

// ActsOf lists the orders of a case, oldest first.
func (d *DB) ActsOf(ctx context.Context, id string) ([]casework.Act, error) {
	return d.acts(ctx, `WHERE kase = $1 ORDER BY id`, id)
}

// ActsOn lists the orders on a server, oldest first.
func (d *DB) ActsOn(ctx context.Context, cloud string, s asset.ServerID) ([]casework.Act, error) {
	return d.acts(ctx, `WHERE cloud = $1 AND server = $2 ORDER BY id`, cloud, string(s))
}

// Acts lists every order of a cloud since a time, oldest first: the budgets are counted from it.
func (d *DB) Acts(ctx context.Context, cloud string, since int64) ([]casework.Act, error) {
	return d.acts(ctx, `WHERE cloud = $1 AND intended_at >= $2 ORDER BY id`, cloud, since)
}

func (d *DB) acts(ctx context.Context, tail string, args ...any) ([]casework.Act, error) {
	var out []casework.Act
	err := each(ctx, d.read, func(r *sql.Rows) error {
		var body string
		if err := r.Scan(&body); err != nil {
			return err
		}
		a, err := decode[casework.Act]("an act", body)
		out = append(out, a)
		return err
	}, `SELECT body FROM act `+tail, args...)
	if err != nil {
		return nil, fmt.Errorf("listing acts: %w", err)
	}
	return out, nil
}
