// Package store keeps everything that must survive.
//
// One SQL text per query, written with $n, serves every engine. There is one way to write: Commit takes the
// change of one step and writes all of it or nothing.
package store

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	_ "modernc.org/sqlite" // the embedded engine

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/fault"
)

//go:embed schema.sqlite.sql
var schemaSQLite string

// DB is an open database. It is safe for concurrent use; writing is one at a time.
type DB struct {
	read  *sql.DB
	write *sql.DB
	heads HeadLog
}

// Option changes how a database is opened.
type Option func(*DB)

// WithHeads keeps the audit log's heads outside the database too.
func WithHeads(h HeadLog) Option { return func(d *DB) { d.heads = h } }

// Open opens the SQLite file, and makes it when it is not there. A commit that returns has reached the disk: WAL with
// synchronous=FULL. Source: sqlite.org/pragma.html#pragma_synchronous.
func Open(ctx context.Context, path string, opts ...Option) (*DB, error) {
	if err := private(path); err != nil {
		return nil, fault.New(fault.Unavailable, "cannot use the database %s: %w", path, err).Hinted("check that the folder exists, is writable and has room")
	}
	q := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)", "busy_timeout(10000)"}, "_txlock": {"immediate"}}
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
	w, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	w.SetMaxOpenConns(1)
	r, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), w.Close())
	}
	r.SetMaxOpenConns(4)
	d := &DB{read: r, write: w}
	for _, o := range opts {
		o(d)
	}
	if err := d.prepare(ctx); err != nil {
		return nil, errors.Join(fault.New(fault.Unavailable, "cannot use the database %s: %w", path, err).Hinted("check that the folder exists, is writable and has room"), d.Close())
	}
	return d, nil
}

// OpenReader opens a SQLite file that is there, to read it alone: every writing fails, and no file is made.
func OpenReader(ctx context.Context, path string) (*DB, error) {
	if err := Exists(path); err != nil {
		return nil, err
	}
	q := url.Values{"mode": {"ro"}, "_pragma": {"query_only(ON)", "busy_timeout(10000)"}}
	h, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	h.SetMaxOpenConns(4)
	d := &DB{read: h, write: h}
	var n int
	if err := h.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('meta', 'kase', 'audit')`).Scan(&n); err != nil {
		return nil, errors.Join(fault.New(fault.CannotLook, "cannot read the database %s: %w", path, err).Hinted("check that the file is a database of demarc, and that its folder is writable: readers of a live database share a lock there"), d.Close())
	}
	if n != 3 {
		return nil, errors.Join(fault.New(fault.Config, "%s is no database of demarc", path).Hinted("name the file that demarc demo writes"), d.Close())
	}
	return d, nil
}

// Exists tells whether there is a database file, as a fault when there is not.
func Exists(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fault.New(fault.NotFound, "there is no database %s", path).Hinted("name the file with --db; demarc demo --dir makes one")
	case err != nil:
		return fault.New(fault.CannotLook, "cannot read the database: %w", err)
	case info.IsDir():
		return fault.New(fault.NotFound, "%s is a folder, not a database", path).Hinted("name the file in it with --db")
	}
	return nil
}

// prepare makes the tables of a new file.
func (d *DB) prepare(ctx context.Context) error {
	var n int
	if err := d.write.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE type = 'table'`).Scan(&n); err != nil {
		return err
	}
	if n > 0 {
		return nil
	}
	return d.inTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, schemaSQLite)
		return err
	})
}

// Close ends it; it may be called twice.
func (d *DB) Close() error { return errors.Join(d.read.Close(), d.write.Close()) }

func (d *DB) inTx(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	if err := do(tx); err != nil {
		return errors.Join(err, ignoreDone(tx.Rollback()))
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// each runs a query and hands every row to scan.
func each(ctx context.Context, q querier, scan func(*sql.Rows) error, query string, args ...any) (err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// where builds the conditions of a listing, and the scope's with them.
type where struct {
	conds []string
	args  []any
}

func (w *where) add(cond string, arg any) {
	w.args = append(w.args, arg)
	w.conds = append(w.conds, strings.ReplaceAll(cond, "?", "$"+strconv.Itoa(len(w.args))))
}

// in bounds a column to a list; an empty list admits nothing.
func (w *where) in(column string, vals []string) {
	marks := make([]string, len(vals))
	for i, v := range vals {
		w.args = append(w.args, v)
		marks[i] = "$" + strconv.Itoa(len(w.args))
	}
	if len(marks) == 0 {
		w.conds = append(w.conds, "1 = 0")
		return
	}
	w.conds = append(w.conds, column+" IN ("+strings.Join(marks, ", ")+")")
}

// scope bounds a listing to what the reader may see.
func (w *where) scope(s access.Scope, column string) {
	if !s.All() {
		w.in(column, stringsOf(s.Projects()))
	}
}

func (w *where) String() string {
	if len(w.conds) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conds, " AND ")
}

func stringsOf(ps []asset.ProjectID) []string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = string(p)
	}
	return out
}

// NotFound is the error for a thing that is not there, or not in the reader's scope: the two are not told apart.
func notFound(kind, id string) error {
	return fault.New(fault.NotFound, "there is no %s %q", kind, id)
}

// private makes a new file readable by its owner alone; SQLite gives its other files the same mode.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}
