package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/jackc/pgx/v5"

	"demarc/internal/fault"
)

// sessionLock is a lock of a session on a connection of its own. The server drops it with the session.
type sessionLock struct {
	pool  *sql.DB
	conn  *sql.Conn
	place string
}

func lockSession(ctx context.Context, c *pgx.ConnConfig, place string, log *followed) (holder, error) {
	pool := handle(c, 1, log)
	conn, err := pool.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	l := &sessionLock{pool, conn, place}
	var got bool
	err = conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock($1, $2)`, lockClass, lockInstance).Scan(&got)
	if err == nil && !got {
		err = taken(place, l.who(ctx))
	}
	if err != nil {
		return nil, errors.Join(postgresFault(place, err), l.release())
	}
	return l, nil
}

// lockRows are those of the instance's lock.
const lockRows = ` FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
	WHERE l.locktype = 'advisory' AND l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
	AND l.classid = CAST(CAST($1 AS BIGINT) AS oid) AND l.objid = CAST(CAST($2 AS BIGINT) AS oid)`

func runsOn(ctx context.Context, q querier) (string, error) {
	var name sql.NullString
	err := q.QueryRowContext(ctx, `SELECT a.application_name || COALESCE(', from ' || host(a.client_addr), '')`+lockRows, lockClass, lockInstance).Scan(&name)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", nil
	case err == nil && name.String == "":
		return "another session", nil
	}
	return name.String, err
}

func (l *sessionLock) who(ctx context.Context) string {
	var name sql.NullString
	err := l.conn.QueryRowContext(ctx, `SELECT a.application_name || COALESCE(', from ' || host(a.client_addr), '')`+lockRows, lockClass, lockInstance).Scan(&name)
	if err != nil || name.String == "" {
		return "another session"
	}
	return name.String
}

// held asks the server on the connection that took the lock.
func (l *sessionLock) held(ctx context.Context) error {
	var n int
	err := l.conn.QueryRowContext(ctx, `SELECT count(*)`+lockRows+` AND l.pid = pg_backend_pid()`, lockClass, lockInstance).Scan(&n)
	switch {
	case errors.Is(err, sql.ErrConnDone):
		return errReleased
	case err != nil && ctx.Err() == nil:
		return fault.New(fault.Unavailable, "the lease on %s is lost with its connection: %w", l.place, err).Hinted("start this instance again")
	case err == nil && n != 1:
		return fault.New(fault.Conflict, "the lease on %s is lost", l.place).Hinted("start this instance again")
	}
	return err
}

func (l *sessionLock) release() error {
	err := l.conn.Close()
	if errors.Is(err, sql.ErrConnDone) {
		err = nil
	}
	return errors.Join(err, l.pool.Close()) // closing the pool ends the session, and the lock with it
}
