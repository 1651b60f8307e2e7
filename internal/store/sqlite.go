package store

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"os"

	"modernc.org/sqlite" // the embedded engine

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
		kept:   func(ctx context.Context, q querier) error { return keptSQLite(ctx, q, path) },
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

// openSQLiteReader opens a file that is there; it makes none. A copy at rest in a place that cannot be written is read as it is.
func openSQLiteReader(ctx context.Context, path string) (*DB, error) {
	if err := exists(path); err != nil {
		return nil, err
	}
	q := url.Values{"mode": {"ro"}, "_pragma": {"query_only(ON)", "busy_timeout(10000)"}}
	h, err := sqliteHandle(path, q, 4)
	if err != nil {
		return nil, err
	}
	if err := h.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master`).Scan(new(int)); unwritable(err) {
		if err := errors.Join(atRest(path), h.Close()); err != nil {
			return nil, err
		}
		q.Set("immutable", "1")
		if h, err = sqliteHandle(path, q, 4); err != nil {
			return nil, err
		}
	}
	return &DB{read: h, write: h, engine: sqliteEngine(path), followed: &followed{}}, nil
}

// keptSQLite reads back what a commit that returned rests on. Some file systems do not let SQLite share memory: it then keeps no write-ahead
// log, and says so only in the answer.
func keptSQLite(ctx context.Context, q querier, path string) error {
	var journal string
	var synchronous, keys int
	err := q.QueryRowContext(ctx, `SELECT (SELECT journal_mode FROM pragma_journal_mode), (SELECT synchronous FROM pragma_synchronous),
		(SELECT foreign_keys FROM pragma_foreign_keys)`).Scan(&journal, &synchronous, &keys)
	switch {
	case err != nil:
		return err
	case journal != "wal":
		return fault.New(fault.Refused, "%s keeps no write-ahead log: its journal_mode is %s", path, journal).
			Hinted("keep the database on a file system of this machine")
	case synchronous < 2 || keys != 1:
		return fault.New(fault.Refused, "%s does not keep the settings of a session: synchronous is %d and foreign_keys is %d", path, synchronous, keys).
			Hinted("report this as a fault of demarc")
	}
	return nil
}

// unwritable tells whether SQLite could not make the files beside a database by which its readers and writers share it.
func unwritable(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code()&0xff == sqliteReadOnly || e.Code()&0xff == sqliteCantOpen)
}

// Primary result codes. Source: sqlite.org/rescode.html.
const (
	sqliteReadOnly = 8
	sqliteCantOpen = 14
)

// atRest refuses a database with commits that are not in its file yet: read as it is, it would lack them, or be half of something. Where
// nothing is beside it, nobody has it open and nothing is missing. Source: sqlite.org/uri.html, immutable.
func atRest(path string) error {
	for _, beside := range []string{path + "-wal", path + "-journal"} {
		info, err := os.Stat(beside)
		switch {
		case errors.Is(err, os.ErrNotExist), err == nil && info.Size() == 0:
		case err != nil:
			return fault.New(fault.CannotLook, "cannot tell whether the database is at rest: %w", err)
		default:
			return fault.New(fault.CannotLook, "%s is not at rest: %s holds commits that are not in it, and its folder cannot be written", path, beside).
				Hinted("copy both files to a folder that you may write, and read them there")
		}
	}
	return nil
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
