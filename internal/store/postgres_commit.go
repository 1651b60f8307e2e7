package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"time"

	"demarc/internal/fault"
)

// settleTime is how long an unknown outcome is asked for.
const settleTime = 10 * time.Second

// recentCommits is how many commits the database knows by their mark.
const recentCommits = 64

// beginPostgres lets one writer in at a time, over all processes: the audit log has one next number. Sequence numbers then
// follow the order of commits too, as in the other engine.
//
// What is written is safe only if the transaction itself waits for the disk, whatever stands between us and the server.
func beginPostgres(ctx context.Context, tx *sql.Tx) error {
	var commit string
	var locked any // it is void
	row := tx.QueryRowContext(ctx, `SELECT current_setting('synchronous_commit'), pg_advisory_xact_lock($1, $2)`, lockClass, lockWriting)
	err := row.Scan(&commit, &locked)
	if err == nil && !waits(commit) {
		return notKept("the server", "synchronous_commit", commit, "on")
	}
	return err
}

// timelineNow changes when another server takes over: it may not have what the last one committed.
const timelineNow = `substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)`

// markPostgres leaves in a transaction what it is known by later. It is a mark of our own, and not the number of the transaction, since a
// server that crashed gives the numbers of those that were open then to others, and says that they have committed when the others have.
// The marks of the last commits stand in one row, the newest first, behind the count of all.
func markPostgres(ctx context.Context, tx *sql.Tx) (ticket, error) {
	random := make([]byte, 8)
	_, _ = rand.Read(random) // it never fails: see crypto/rand
	t := ticket{mark: hex.EncodeToString(random)}
	err := tx.QueryRowContext(ctx, `INSERT INTO meta (key, value) VALUES ('commits', '1 ' || $1)
		ON CONFLICT (key) DO UPDATE SET value = (CAST(split_part(meta.value, ' ', 1) AS BIGINT) + 1) || ' ' || $1 ||
			substr(substr(meta.value, position(' ' in meta.value)), 1, $2)
		RETURNING CAST(split_part(value, ' ', 1) AS BIGINT), `+timelineNow,
		t.mark, (recentCommits-1)*(len(t.mark)+1)).Scan(&t.count, &t.timeline)
	return t, err
}

// settle finds out what became of a transaction whose commit ended in an error. The server may have committed it and the answer
// was lost: then all is well.
func settle(ctx context.Context, db *sql.DB, place string, t ticket, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		written, known, err := outcome(ctx, db, t)
		switch {
		case errors.Is(err, ErrDiverged):
			return errors.Join(unknown(place, cause), err)
		case err == nil && written:
			return nil
		case err == nil && known:
			return fault.New(fault.Unavailable, "%s did not commit, and nothing was written: %w", place, cause).Hinted("try again")
		case err == nil:
			return unknown(place, cause)
		}
		select {
		case <-ctx.Done():
			return unknown(place, cause)
		case <-time.After(wait):
		}
	}
}

// outcome looks for the mark of a transaction once that is over, which it is when nobody writes. Known is false where the mark is missing
// and that tells nothing: more was committed since than is remembered, or another server has taken over, which may lack what the last one
// committed.
func outcome(ctx context.Context, db *sql.DB, t ticket) (written, known bool, err error) {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted, ReadOnly: true})
	if err != nil {
		return false, false, err
	}
	defer func() { err = errors.Join(err, ignoreDone(tx.Rollback())) }()
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock_shared($1, $2)`, lockClass, lockWriting); err != nil {
		return false, false, err
	}
	var count int64
	var timeline string
	err = tx.QueryRowContext(ctx, `SELECT coalesce(max(CAST(split_part(value, ' ', 1) AS BIGINT)), 0), `+timelineNow+`,
		count(CASE WHEN position(' ' || $1 in value) > 0 THEN 1 END) > 0 FROM meta WHERE key = 'commits'`,
		t.mark).Scan(&count, &timeline, &written)
	return written, timeline == t.timeline && count < t.count+recentCommits, err
}

func unknown(place string, cause error) error {
	return fault.New(fault.Unavailable, "it is not known whether %s committed: %w", place, cause).
		Hinted("all of it is written or nothing; read again before you try again")
}
