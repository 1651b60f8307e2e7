package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"

	"demarc/internal/probe"
)

// OpenExposures lists what is open to a vantage point now.
func (d *DB) OpenExposures(ctx context.Context, vantage string) ([]probe.Exposure, error) {
	var out []probe.Exposure
	err := each(ctx, d.read, func(r *sql.Rows) error {
		e := probe.Exposure{Vantage: vantage}
		var addr []byte
		if err := r.Scan(&e.ID, &addr, &e.Endpoint.Proto, &e.Endpoint.Port, &e.OpenedAt, &e.Facts, &e.Config); err != nil {
			return err
		}
		e.Endpoint.Addr, _ = netip.AddrFromSlice(addr)
		out = append(out, e)
		return nil
	}, `SELECT id, addr, proto, port, opened_at, fact, config FROM exposure WHERE vantage = $1 AND closed_at = 0 ORDER BY addr, proto, port`, vantage)
	if err != nil {
		return nil, fmt.Errorf("listing exposures: %w", err)
	}
	return out, nil
}

// FactsOf finds facts by their hash.
func (d *DB) FactsOf(ctx context.Context, hash string) (probe.Facts, error) {
	var body string
	err := d.read.QueryRowContext(ctx, `SELECT body FROM fact WHERE hash = $1`, hash).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return probe.Facts{}, notFound("fact", hash)
	}
	if err != nil {
		return probe.Facts{}, fmt.Errorf("reading facts: %w", err)
	}
	return decode[probe.Facts]("facts", body)
}

// KindInventory is the kind of coverage that readings of a whole cloud have, for who asks the store for it.
const KindInventory = probe.KindInventory

// LastCoverage is the latest record of its kind; ok is false when there is none. Vantage and purpose are empty for the
// inventory.
func (d *DB) LastCoverage(ctx context.Context, kind, cloud, vantage string, purpose probe.Purpose) (c probe.Coverage, ok bool, err error) {
	cs, err := d.coverages(ctx, `WHERE kind = $1 AND cloud = $2 AND vantage = $3 AND purpose = $4 ORDER BY id DESC LIMIT 1`, kind, cloud, vantage, string(purpose))
	if err != nil || len(cs) == 0 {
		return c, false, err
	}
	return cs[0], true, nil
}

// LastComplete is the latest reading of a cloud that was read to its end; ok is false when there is none.
func (d *DB) LastComplete(ctx context.Context, cloud string) (c probe.Coverage, ok bool, err error) {
	cs, err := d.coverages(ctx, `WHERE kind = $1 AND cloud = $2 AND complete = 1 ORDER BY id DESC LIMIT 1`, probe.KindInventory, cloud)
	if err != nil || len(cs) == 0 {
		return c, false, err
	}
	return cs[0], true, nil
}

// FirstReading is the first record of its kind: what was before it is not known. ok is false when there is none.
func (d *DB) FirstReading(ctx context.Context, kind string) (c probe.Coverage, ok bool, err error) {
	cs, err := d.coverages(ctx, `WHERE kind = $1 ORDER BY id LIMIT 1`, kind)
	if err != nil || len(cs) == 0 {
		return c, false, err
	}
	return cs[0], true, nil
}

// Coverages lists the latest records of every kind, newest first.
func (d *DB) Coverages(ctx context.Context, limit int) ([]probe.Coverage, error) {
	return d.coverages(ctx, `ORDER BY id DESC LIMIT $1`, limit)
}

func (d *DB) coverages(ctx context.Context, tail string, args ...any) ([]probe.Coverage, error) {
	var out []probe.Coverage
	err := each(ctx, d.read, func(r *sql.Rows) error {
		var c probe.Coverage
		if err := r.Scan(&c.Shard, &c.Cloud, &c.Vantage, &c.Purpose, &c.Cycle, &c.Began, &c.Ended, &c.Took, &c.RealAt, &c.Complete, &c.Sent, &c.Answered, &c.Open, &c.Note); err != nil {
			return err
		}
		out = append(out, c)
		return nil
	}, `SELECT kind, cloud, vantage, purpose, cycle, began, ended, took, real_at, complete, sent, answered, open, note FROM coverage `+tail, args...)
	if err != nil {
		return nil, fmt.Errorf("reading coverage: %w", err)
	}
	return out, nil
}
