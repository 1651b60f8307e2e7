package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"demarc/internal/audit"
	"demarc/internal/fault"
)

// ErrDiverged says that the database is not the one that this process has worked on: its audit log does not extend the log followed so
// far. It is an older copy, or a server that took over without everything that was acknowledged. Nothing was written.
var ErrDiverged = errors.New("the audit log does not extend the one that this process has followed")

// ErrReplaced says that the file at the database's path is not the file that this process opened. Nothing was written.
var ErrReplaced = errors.New("the database file was moved, deleted or replaced")

// followed is the newest head of the audit log that this process wrote or checked. It is safe for concurrent use.
type followed struct {
	mu    sync.Mutex
	head  audit.Head
	known bool
}

// set follows another log, or the same one from another head on.
func (f *followed) set(h audit.Head) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.head, f.known = h, true
}

// advance follows a head that this process has written. Of two commits that end at once the later head stays, whichever is noted last.
func (f *followed) advance(h audit.Head) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.known || h.Size > f.head.Size {
		f.head, f.known = h, true
	}
}

func (f *followed) get() (audit.Head, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.head, f.known
}

// Follow sets the head that the log must extend from now on: at every commit, lease and new session of a server. The caller has checked
// the log itself against heads kept elsewhere.
func (d *DB) Follow(h audit.Head) { d.followed.set(h) }

// anyLog is the key of a context in which a session is opened whatever its log is: for a change with NewBase.
type anyLog struct{}

// freshSessions ends the sessions that read and are idle: they may lead to the server that was followed before.
func (d *DB) freshSessions() {
	if d.opened == nil {
		d.read.SetMaxIdleConns(0)
		d.read.SetMaxIdleConns(readers)
	}
}

// Extends checks that the database is still the one this process follows: ErrDiverged or ErrReplaced when it is not.
func (d *DB) Extends(ctx context.Context) error { return d.extends(ctx, d.read) }

func (d *DB) extends(ctx context.Context, q querier) error {
	if err := d.samePlace(); err != nil {
		return err
	}
	h, known := d.followed.get()
	if !known || h.Size == 0 {
		return nil
	}
	var size int64
	if err := q.QueryRowContext(ctx, sizeOfLog).Scan(&size); err != nil {
		if _, ours, unread := d.tables(ctx, q); unread == nil && ours < 3 {
			return extension(d.engine.place, h, 0, nil) // the tables are gone, or another database was written over ours
		}
		return fmt.Errorf("reading the audit log: %w", d.engine.fault(err))
	}
	return extension(d.engine.place, h, size, treeOf{ctx, q})
}

const sizeOfLog = `SELECT COALESCE(max(seq) + 1, 0) FROM audit`

// extension checks that a log of a size, with its tree, begins with the entries that a head was given out for.
func extension(place string, h audit.Head, size int64, tree audit.Hashes) error {
	why := ""
	if size < h.Size {
		why = fmt.Sprintf("it has %d entries, and this process knows of %d", size, h.Size)
	} else if got, err := audit.HeadOf(h.Size, tree); errors.Is(err, errNoHash) {
		why = err.Error()
	} else if err != nil {
		return err // the question could not be asked
	} else if got.Root != h.Root {
		why = fmt.Sprintf("its first %d entries are not those that this process knows", h.Size)
	}
	if why == "" {
		return nil
	}
	return fault.New(fault.Unavailable, "%s: %w: %s", place, ErrDiverged, why).
		Hinted("an older copy is in its place, or a standby took over that lacked the last changes: " +
			"look at the database, then run demarc enforce resume")
}

// undefinedTable is what PostgreSQL says of a database without our tables. Source: PostgreSQL, appendix A, error codes.
const undefinedTable = "42P01"

// sessionExtends is the same check on a new session of a PostgreSQL server, before anybody reads from it.
func (f *followed) sessionExtends(ctx context.Context, c *pgx.Conn, place string) error {
	h, known := f.get()
	if !known || h.Size == 0 || ctx.Value(anyLog{}) != nil {
		return nil
	}
	var size int64
	if err := c.QueryRow(ctx, sizeOfLog).Scan(&size); err != nil {
		var e *pgconn.PgError
		if errors.As(err, &e) && e.Code == undefinedTable {
			return extension(place, h, 0, nil)
		}
		if f := refusal(place, err); f != nil {
			return f
		}
		return fmt.Errorf("reading the audit log: %w", err)
	}
	return extension(place, h, size, sessionTree{ctx, c})
}

// errNoHash says that a hash of the tree is missing, or is no hash.
var errNoHash = fmt.Errorf("%w: the tree of the audit log is damaged", audit.ErrUnproven)

// sessionTree reads tree hashes on one session.
type sessionTree struct {
	ctx context.Context //nolint:containedctx // lives for one check
	c   *pgx.Conn
}

func (t sessionTree) ReadHashes(indexes []int64) ([]audit.Hash, error) {
	return readHashes(indexes, func(x int64, b *[]byte) error {
		return t.c.QueryRow(t.ctx, `SELECT hash FROM audit_hash WHERE idx = $1`, x).Scan(b)
	})
}

// samePlace checks that the file at a SQLite database's path is the one that was opened. On a server there is no file.
func (d *DB) samePlace() error {
	if d.opened == nil {
		return nil
	}
	there, err := os.Stat(d.engine.place)
	if err == nil && os.SameFile(there, d.opened) {
		return nil
	}
	what := "another file is in its place"
	if err != nil {
		what = err.Error()
	}
	return fault.New(fault.Unavailable, "%s: %w: %s", d.engine.place, ErrReplaced, what).
		Hinted("put the file back, or look at the one that is there now; then start demarc serve again: " +
			"it checks the file against the audit heads")
}

// remember keeps which file was opened.
func (d *DB) remember(path string) error {
	info, err := os.Stat(path)
	d.opened = info
	return err
}
