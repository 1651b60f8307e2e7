package store

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"os"

	_ "modernc.org/sqlite" // the embedded engine

	"demarc/internal/fault"
)

//go:embed schema.sqlite.sql
var schemaSQLite string

// sqliteEngine is a database in one file.
func sqliteEngine(path string) engine {
	return engine{
		place: path, schema: schemaSQLite, write: writableFolder,
		read:   "check that the file is a database of demarc, and that its folder is writable: readers of a live database share a lock there",
		tables: `SELECT count(*), count(CASE WHEN name IN ('meta', 'kase', 'audit') THEN 1 END) FROM sqlite_master WHERE type = 'table'`,
		check:  func(context.Context, querier) error { return nil },
		begin:  func(context.Context, *sql.Tx) error { return nil }, // the driver begins with the write lock
		mark:   func(context.Context, *sql.Tx) (ticket, error) { return ticket{}, nil },
		fault:  func(err error) error { return err },
		settle: func(_ context.Context, _ *sql.DB, _ ticket, err error) error { return err },
		lease:  func(context.Context) (holder, error) { return lockFile(path + ".lock") },
		runs:   func(context.Context, querier) (string, error) { return lockedBy(path + ".lock") },
	}
}

// openSQLite makes the file when it is not there. A commit that returns has reached the disk: WAL with synchronous=FULL.
// Source: sqlite.org/pragma.html#pragma_synchronous.
func openSQLite(path string) (*DB, error) {
	if err := private(path); err != nil {
		return nil, fault.New(fault.Unavailable, "cannot use the database %s: %w", path, err).Hinted(writableFolder)
	}
	q := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)", "busy_timeout(10000)"}, "_txlock": {"immediate"}}
	w, err := sqliteHandle(path, q, 1)
	if err != nil {
		return nil, err
	}
	r, err := sqliteHandle(path, q, 4)
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	d := &DB{read: r, write: w, engine: sqliteEngine(path), followed: &followed{}}
	if err := d.remember(path); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// openSQLiteReader opens a file that is there; it makes none.
func openSQLiteReader(path string) (*DB, error) {
	if err := exists(path); err != nil {
		return nil, err
	}
	h, err := sqliteHandle(path, url.Values{"mode": {"ro"}, "_pragma": {"query_only(ON)", "busy_timeout(10000)"}}, 4)
	if err != nil {
		return nil, err
	}
	return &DB{read: h, write: h, engine: sqliteEngine(path), followed: &followed{}}, nil
}

func sqliteHandle(path string, q url.Values, conns int) (*sql.DB, error) {
	h, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	h.SetMaxOpenConns(conns)
	return h, nil
}

const writableFolder = "check that the folder exists, is writable and has room"

// exists tells whether there is a database file, as a fault when there is not.
func exists(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fault.New(fault.NotFound, "there is no database %s", path).Hinted("name the file with --db; demarc serve makes the one of its configuration, demarc inventory import one from a file, demarc demo --dir one to try it out")
	case err != nil:
		return fault.New(fault.CannotLook, "cannot read the database: %w", err)
	case info.IsDir():
		return fault.New(fault.NotFound, "%s is a folder, not a database", path).Hinted("name the file in it with --db")
	}
	return nil
}

// private makes a new file readable by its owner alone; SQLite gives its other files the same mode.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}
