package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"demarc/internal/fault"
)

// Standing is how a database is found.
type Standing struct {
	New bool   // it has no tables yet; the first opening makes them
	By  string // the instance that runs on it, "" for none
}

// ErrReadOnly says that a database can be read and not written.
var ErrReadOnly = errors.New("it can only be read")

// Try finds out whether a database that is there can be written, and changes nothing: what it writes it takes back.
func Try(ctx context.Context, place string, opts ...Option) (_ Standing, err error) {
	d, err := (*DB)(nil), error(nil)
	if IsURL(place) {
		d, err = openPostgres(place, chosen(opts).password)
	} else {
		d, err = openSQLiteThere(place)
	}
	if err != nil {
		return Standing{}, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := d.engine.check(ctx, d.write); err != nil {
		return Standing{}, err
	}
	all, ours, err := d.tables(ctx, d.write)
	if err != nil {
		return Standing{}, err
	}
	s := Standing{New: all == 0}
	if !s.New {
		if err := d.isOurs(ctx, d.write, all, ours); err != nil {
			return s, err
		}
		if s.By, err = d.engine.runs(ctx, d.write); err != nil {
			return s, d.engine.fault(err)
		}
	}
	return s, d.tryWriting(ctx, s.New)
}

// tryWriting writes, and takes it back.
func (d *DB) tryWriting(ctx context.Context, empty bool) error {
	tx, err := d.begin(ctx)
	if err == nil {
		statement := `UPDATE kase SET id = id WHERE 1 = 0`
		if empty {
			statement = d.engine.schema
		}
		_, err = tx.ExecContext(ctx, statement)
		err = errors.Join(d.engine.fault(err), ignoreDone(tx.Rollback()))
	}
	if err = d.engine.fault(err); err == nil {
		return nil
	}
	if _, told := fault.Of(err); told {
		return err
	}
	return fmt.Errorf("%w: %w", ErrReadOnly, err)
}

// openSQLiteThere opens a file for writing that is there, and makes none.
func openSQLiteThere(path string) (*DB, error) {
	if err := exists(path); err != nil {
		return nil, err
	}
	h, err := sqliteHandle(path, url.Values{"mode": {"rw"}, "_pragma": {"busy_timeout(5000)"}, "_txlock": {"immediate"}}, 1)
	if err != nil {
		return nil, err
	}
	return &DB{read: h, write: h, engine: sqliteEngine(path)}, nil
}
