package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"net/netip"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/probe"
)

// purposeImport marks the coverage of readings that came from a file, not from a cloud.
const purposeImport probe.Purpose = "import"

// BindingsWithin lists who held an address at any time of a window, both ends in it, in every scope, in the order in which they
// began. Where knownAt is not 0, it is as we knew it then: what was learnt later is left out, and an end that was learnt later is
// none. Bindings of projects outside the reader's scope are left out.
func (d *DB) BindingsWithin(ctx context.Context, s access.Scope, addr netip.Addr, from, to, knownAt int64) ([]asset.Binding, error) {
	w := &where{}
	w.add("addr = ?", addr.Unmap().AsSlice())
	w.add("valid_from <= ?", to)
	if knownAt == 0 {
		w.add("(valid_to = 0 OR valid_to > ?)", from)
	} else {
		w.add("known_at <= ?", knownAt)
		w.add("(valid_to = 0 OR end_known_at > ? OR valid_to > ?)", knownAt, from)
	}
	w.scope(s, "project")
	var out []asset.Binding
	err := each(ctx, d.read, func(r *sql.Rows) error {
		b, err := scanBinding(r)
		if knownAt != 0 && b.EndKnownAt > knownAt {
			b.ValidTo, b.EndKnownAt = 0, 0
		}
		out = append(out, b)
		return err
	}, bindingColumns+w.String()+` ORDER BY valid_from, id`, w.args...)
	if err != nil {
		return nil, fmt.Errorf("reading bindings of %s: %w", addr, err)
	}
	return out, nil
}

// StateSince is since when a cloud has been as it was at a time, as far as is known: the last change of any of its objects until
// then. At 0 asks for now. It is 0 where nothing was known of it yet.
func (d *DB) StateSince(ctx context.Context, cloud string, at int64) (int64, error) {
	if at == 0 {
		at = math.MaxInt64
	}
	var since int64
	err := each(ctx, d.read, func(r *sql.Rows) error {
		var t sql.NullInt64
		err := r.Scan(&t)
		since = max(since, t.Int64)
		return err
	}, `SELECT max(valid_from) FROM object WHERE cloud = $1 AND valid_from <= $2 UNION ALL SELECT max(valid_to) FROM object WHERE cloud = $1 AND valid_to <= $2`, cloud, at)
	if err != nil {
		return 0, fmt.Errorf("reading the history of %s: %w", cloud, err)
	}
	return since, nil
}

// Readings is what a database knows of the readings of one cloud.
type Readings struct {
	Last     probe.Coverage // the latest, of any kind; the zero value without any
	Live     bool           // at least one was of the cloud itself, not of a file
	Complete bool           // at least one until the time that was asked for was read to its end
}

// ReadingsOf tells how a cloud was read until a time; at 0 asks for now.
func (d *DB) ReadingsOf(ctx context.Context, cloud string, at int64) (Readings, error) {
	var out Readings
	cs, err := d.coverages(ctx, `WHERE kind = $1 AND cloud = $2 ORDER BY id DESC LIMIT 1`, probe.KindInventory, cloud)
	if err != nil || len(cs) == 0 {
		return out, err
	}
	out.Last = cs[0]
	if cs, err = d.coverages(ctx, `WHERE kind = $1 AND cloud = $2 AND purpose <> $3 LIMIT 1`, probe.KindInventory, cloud, string(purposeImport)); err != nil {
		return out, err
	}
	out.Live = len(cs) > 0
	if at == 0 {
		at = math.MaxInt64
	}
	if cs, err = d.coverages(ctx, `WHERE kind = $1 AND cloud = $2 AND complete = 1 AND began <= $3 LIMIT 1`, probe.KindInventory, cloud, at); err != nil {
		return out, err
	}
	out.Complete = len(cs) > 0
	return out, nil
}

// LastSweep is the latest record of a vantage point and purpose that was whole; the zero value without one.
func (d *DB) LastSweep(ctx context.Context, cloud, vantage string, purpose probe.Purpose) (probe.Coverage, error) {
	cs, err := d.coverages(ctx, `WHERE kind = $1 AND cloud = $2 AND vantage = $3 AND purpose = $4 AND complete = 1 ORDER BY id DESC LIMIT 1`, probe.KindSweep, cloud, vantage, string(purpose))
	if err != nil || len(cs) == 0 {
		return probe.Coverage{}, err
	}
	return cs[0], nil
}
