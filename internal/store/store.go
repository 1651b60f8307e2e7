// Package store keeps everything that must survive.
//
// One SQL text per query, written with $n, serves every engine. There is one way to write: Commit takes the
// change of one step and writes all of it or nothing.
package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"demarc/internal/access"
	"demarc/internal/fault"
)

// DB is an open database. It is safe for concurrent use; writing is one at a time.
type DB struct {
	read   *sql.DB
	write  *sql.DB
	heads  HeadLog
	engine engine

	followed *followed   // the log that this process works on
	opened   os.FileInfo // of a SQLite file that is written to; nil on a server
	outside  Switch      // a kill switch beside the database; nil: none
}

// Switch is a kill switch outside the database. Thrown tells whether it is on, and why; what cannot be read is on. It is safe for
// concurrent use.
type Switch interface{ Thrown() (bool, string) }

// UseSwitch names a kill switch that pauses enforcement in addition to the database's own. Call it before the database is used by others.
func (d *DB) UseSwitch(s Switch) { d.outside = s }

// engine is what one kind of database does in its own way. Everything else is the same SQL text.
type engine struct {
	place  string // names the database in messages; holds no secret
	schema string
	check  func(context.Context, querier) error                           // whether a database can hold ours at all
	kept   func(context.Context, querier) error                           // whether a session that writes has the settings that safety rests on
	tables string                                                         // a query for how many tables there are, and how many of three of ours
	begin  func(context.Context, *sql.Tx) error                           // the first thing in a writing transaction
	mark   func(context.Context, *sql.Tx) (ticket, error)                 // the last thing before it commits
	fault  func(error) error                                              // an error of the driver as one that a user can act on, where it is one
	settle func(ctx context.Context, db *sql.DB, t ticket, e error) error // what became of a commit that ended in an error
	lease  func(context.Context) (holder, error)
	runs   func(context.Context, querier) (string, error) // who holds the lease, "" for nobody; takes nothing
	read   string                                         // what to check when the database cannot be read
	write  string                                         // or written
}

// ticket is what a transaction is known by, to look for its outcome when the answer to its commit was lost; empty where no answer can be.
type ticket struct {
	mark     string
	count    int64 // of commits, with this one
	timeline string
}

// options are what a caller may say beside the place.
type options struct {
	heads    HeadLog
	password string
	outside  Switch
}

// Option changes how a database is opened.
type Option func(*options)

// WithHeads keeps the audit log's heads outside the database too.
func WithHeads(h HeadLog) Option { return func(o *options) { o.heads = h } }

// WithSwitch is UseSwitch as the database is opened.
func WithSwitch(s Switch) Option { return func(o *options) { o.outside = s } }

// WithPassword is for a server that asks for one; empty: PGPASSFILE, as every client of PostgreSQL reads it.
func WithPassword(p string) Option { return func(o *options) { o.password = p } }

// Open opens a place for reading and writing: the path of a SQLite file, which is made when it is not there, or the URL of a
// database on a PostgreSQL server, whose tables are made when it has none.
func Open(ctx context.Context, place string, opts ...Option) (*DB, error) {
	o := chosen(opts)
	d, err := (*DB)(nil), error(nil)
	if IsURL(place) {
		d, err = openPostgres(place, o.password)
	} else if err = mayBegin(place, o.heads); err == nil {
		d, err = openSQLite(place)
	}
	if err != nil {
		return nil, err
	}
	d.heads, d.outside = o.heads, o.outside
	if err := d.prepare(ctx); err != nil {
		if _, told := fault.Of(err); !told {
			err = fault.New(fault.Unavailable, "cannot use the database %s: %w", d.engine.place, err).Hinted("%s", d.engine.write)
		}
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// OpenReader opens a database that is there, to read it alone: every writing fails, and nothing is made.
func OpenReader(ctx context.Context, place string, opts ...Option) (*DB, error) {
	d, err := (*DB)(nil), error(nil)
	if IsURL(place) {
		d, err = openPostgresReader(place, chosen(opts).password)
	} else {
		d, err = openSQLiteReader(ctx, place)
	}
	if err != nil {
		return nil, err
	}
	d.outside = chosen(opts).outside
	all, ours, err := d.tables(ctx, d.read)
	if err != nil {
		if _, told := fault.Of(err); !told {
			err = fault.New(fault.CannotLook, "cannot read the database %s: %w", d.engine.place, err).Hinted("%s", d.engine.read)
		}
		return nil, errors.Join(err, d.Close())
	}
	if err := d.isOurs(ctx, d.read, all, ours); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// mayBegin refuses to make a SQLite file where there is none, although heads of a log are kept for it.
func mayBegin(path string, heads HeadLog) error {
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return nil // what is there is looked at once it is open
	}
	return unusedHeads(path, heads)
}

// unusedHeads refuses to begin a database while the file for its audit heads holds those of another: one was lost, or is elsewhere.
func unusedHeads(place string, heads HeadLog) error {
	f, ok := heads.(HeadFile)
	if !ok {
		return nil
	}
	used, err := f.InUse()
	if err != nil {
		return fault.New(fault.Config, "cannot tell whether %s keeps audit heads: %w", string(f), err)
	}
	if !used {
		return nil
	}
	return fault.New(fault.Refused, "%s holds no database of demarc, and %s keeps the audit heads of one", place, string(f)).
		Hinted("put the database back; to begin a new one, move the file of the heads away")
}

func chosen(opts []Option) options {
	var o options
	for _, f := range opts {
		f(&o)
	}
	return o
}

// tables counts them: all there are, and three that every database of ours has.
func (d *DB) tables(ctx context.Context, q querier) (all, ours int, err error) {
	err = q.QueryRowContext(ctx, d.engine.tables).Scan(&all, &ours)
	return all, ours, d.engine.fault(err)
}

func (d *DB) isOurs(ctx context.Context, q querier, all, ours int) error {
	if ours < 3 {
		f := fault.New(fault.Config, "%s is no database of demarc", d.engine.place)
		if all > 0 {
			return f.Hinted("it holds other tables; name another")
		}
		return f.Hinted("name the one that demarc writes")
	}
	// Until the first release a database is not carried over to the next form of its tables.
	if err := each(ctx, q, func(*sql.Rows) error { return nil }, `SELECT seq, kase, kind, leaf FROM audit WHERE seq < 0`); err != nil {
		return fault.New(fault.Config, "%s was made by another version of demarc: %w", d.engine.place, d.engine.fault(err)).Hinted("begin a new database")
	}
	return nil
}

// prepare makes the tables of a new database. Two that begin at once make them once.
func (d *DB) prepare(ctx context.Context) error {
	if err := d.engine.check(ctx, d.write); err != nil {
		return err
	}
	if err := d.engine.kept(ctx, d.write); err != nil {
		return err
	}
	all, ours, err := d.tables(ctx, d.write)
	if err != nil {
		return err
	}
	if all > 0 {
		return d.isOurs(ctx, d.write, all, ours)
	}
	if err := unusedHeads(d.engine.place, d.heads); err != nil {
		return err
	}
	return d.inTx(ctx, func(tx *sql.Tx) error {
		if all, ours, err := d.tables(ctx, tx); err != nil || all > 0 {
			return errors.Join(err, d.isOurs(ctx, tx, all, ours))
		}
		_, err := tx.ExecContext(ctx, d.engine.schema)
		return err
	})
}

// Close ends it; it may be called twice.
func (d *DB) Close() error { return errors.Join(d.read.Close(), d.write.Close()) }

// inTx writes in one transaction. When it returns nil the transaction is committed; when it returns an error nothing of it is,
// or the error says that this is not known.
func (d *DB) inTx(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := d.begin(ctx)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", d.engine.fault(err))
	}
	if err := do(tx); err != nil {
		return errors.Join(d.engine.fault(err), ignoreDone(tx.Rollback()))
	}
	t, err := d.engine.mark(ctx, tx)
	if err != nil {
		return errors.Join(fmt.Errorf("marking a transaction: %w", d.engine.fault(err)), ignoreDone(tx.Rollback()))
	}
	if err := tx.Commit(); err != nil {
		return d.engine.settle(ctx, d.read, t, fmt.Errorf("committing: %w", err))
	}
	return nil
}

// begin tries a second time: a connection that lay idle may be dead, and nothing was written yet.
func (d *DB) begin(ctx context.Context) (tx *sql.Tx, err error) {
	for range 2 {
		if tx, err = d.write.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted}); err != nil {
			continue
		}
		if err = d.engine.begin(ctx, tx); err == nil {
			return tx, nil
		}
		_ = tx.Rollback() // the first error says why
	}
	return nil, err
}

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) || errors.Is(err, driver.ErrBadConn) { // over already, or gone with its connection
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

// add adds a condition. Its marks take the arguments in order: ? the first that none has taken yet. A value that is wanted in two places
// is given twice. Marks that do not fit the arguments are a mistake of the caller, and nothing is read with them.
func (w *where) add(cond string, args ...any) {
	parts := strings.Split(cond, "?")
	if len(parts) != len(args)+1 {
		panic(fmt.Sprintf("%q has %d marks for %d values", cond, len(parts)-1, len(args)))
	}
	for i, arg := range args {
		w.args = append(w.args, arg)
		parts[i] += "$" + strconv.Itoa(len(w.args))
	}
	w.conds = append(w.conds, strings.Join(parts, ""))
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

func stringsOf[T ~string](ps []T) []string {
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
