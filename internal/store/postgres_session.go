package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"demarc/internal/fault"
)

// setting is one setting of a session.
type setting struct {
	name, value string
	safety      bool   // it is read back: what is written rests on it
	shown       string // as the server writes the value; empty: as it is set
}

// sessionSettings are set on every session once it is connected. Sent with the connection they would be refused by a pooler that does not
// know them, or, where its administrator has it ignore them, silently not be in force. What a role or a database says is outranked.
func sessionSettings(commit, readOnly string) []setting {
	return []setting{
		{name: "synchronous_commit", value: cmp.Or(commit, "on"), safety: true},
		{name: "default_transaction_read_only", value: cmp.Or(readOnly, "off"), safety: readOnly != ""},
		{name: "lock_timeout", value: "10s", safety: true},
		// A process that is gone without a word must not hold its locks for hours.
		{name: "idle_in_transaction_session_timeout", value: "60s", safety: true, shown: "1min"},
		{name: "idle_session_timeout", value: "0"},
		{name: "tcp_keepalives_idle", value: "30"},
		{name: "tcp_keepalives_interval", value: "10"},
		{name: "tcp_keepalives_count", value: "3"},
		{name: "tcp_user_timeout", value: "60s"},
	}
}

// waits tells whether a commit under this synchronous_commit survives a crash of the server. remote_write and local do, on the server
// itself, and are what an operator of standbys may not want: they are refused as the URL's are.
func waits(commit string) bool { return commit == "on" || commit == "remote_apply" }

// wanted is what every session of a handle must be.
type wanted struct {
	settings []setting
	pooled   *atomic.Bool // a pooler stands in front, and was seen to keep sessions apart
}

// withoutSettings takes the settings that are ours out of what is sent with the connection. The configuration is a copy.
func withoutSettings(c *pgx.ConnConfig) (*pgx.ConnConfig, wanted) {
	c = c.Copy()
	w := wanted{sessionSettings(c.RuntimeParams["synchronous_commit"], c.RuntimeParams["default_transaction_read_only"]), &atomic.Bool{}}
	for _, s := range w.settings {
		delete(c.RuntimeParams, s.name)
	}
	return c, w
}

// take makes a new session what it must be, and refuses one that is not: where the server, or what stands in front of it, does not keep a
// setting, what is committed could be lost, and a lease would be held by nobody.
//
// Whether sessions are kept apart comes first: what is set on a session that a pooler shares would be set for others too.
func (w wanted) take(ctx context.Context, conn *pgx.Conn, c *pgx.ConnConfig, place string) error {
	if !w.pooled.Load() {
		by, err := process(ctx, conn)
		if err != nil {
			return err
		}
		if by != fmt.Sprint(conn.PgConn().PID()) { // else the server itself named this process when it admitted us
			if err := w.keepsSessions(ctx, conn, c, place); err != nil {
				return err
			}
			w.pooled.Store(true)
		}
	}
	var set, get []string
	for _, s := range w.settings {
		if s.name != "default_transaction_read_only" || s.safety {
			set = append(set, fmt.Sprintf("SET SESSION %s = '%s'", s.name, strings.ReplaceAll(s.value, "'", "''")))
		}
		get = append(get, fmt.Sprintf("current_setting('%s')", s.name))
	}
	if _, err := conn.PgConn().Exec(ctx, strings.Join(set, "; ")).ReadAll(); err != nil {
		return err
	}
	row, err := oneRow(ctx, conn, "SELECT "+strings.Join(get, ", "))
	if err != nil {
		return err
	}
	for i, s := range w.settings {
		if is := row[i]; s.safety && is != s.value && is != cmp.Or(s.shown, s.value) {
			return notKept(place, s.name, is, s.value)
		}
	}
	return nil
}

func notKept(place, name, is, want string) error {
	return fault.New(fault.Refused, "%s does not keep the setting %s of a session: it is %s, and must be %s", place, name, is, want).
		Hinted("a pooler or proxy in front of the server changes sessions: pool by session, or connect directly; see that no one sets %s for this user", name)
}

// poolTime bounds the question whether a pooler keeps sessions apart.
const poolTime = 10 * time.Second

// keepsSessions finds out whether what stands in front of the server gives each of our sessions one of the server's, for as long as it
// lasts. Pooling by transaction shows when a second connection is in a transaction: the first is then answered by another process of the
// server than before, or both by the same one.
func (w wanted) keepsSessions(ctx context.Context, conn *pgx.Conn, c *pgx.ConnConfig, place string) error {
	ctx, cancel := context.WithTimeout(ctx, poolTime)
	defer cancel()
	other, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		why := strings.Join(strings.Fields(connectFault(place, err).Error()), " ")
		return fault.New(fault.Unavailable, "a pooler stands in front of %s, and does not admit a second connection: %s", place, why).
			Hinted("let the pool be of 10 connections or more for this user and database")
	}
	defer func() { _ = other.Close(context.WithoutCancel(ctx)) }()
	for range 3 {
		apart, err := keepsApart(ctx, conn, other)
		if err != nil {
			return err
		}
		if !apart {
			return fault.New(fault.Refused, "a pooler stands in front of %s, and gives a session's transactions to different sessions of the server",
				place).
				Hinted("a lease and a lock need sessions: pool by session (pool_mode = session), or connect directly")
		}
	}
	return nil
}

// keepsApart asks twice outside of a transaction of the other connection, and twice within: a pooler that hands out the session that
// lay idle for longest shows by the first two, one that hands out the last by the others.
func keepsApart(ctx context.Context, conn, other *pgx.Conn) (bool, error) {
	mine, theirs := map[string]bool{}, map[string]bool{}
	ask := func(conn *pgx.Conn, by map[string]bool) func() error {
		return func() error {
			pid, err := process(ctx, conn)
			by[pid] = true
			return err
		}
	}
	do := func(query string) func() error {
		return func() error { _, err := other.PgConn().Exec(ctx, query).ReadAll(); return err }
	}
	me, them := ask(conn, mine), ask(other, theirs)
	for _, step := range []func() error{me, me, do("BEGIN"), them, me, me, do("ROLLBACK"), me, them, them} {
		if err := step(); err != nil {
			return false, err
		}
	}
	shared := false
	for pid := range mine {
		shared = shared || theirs[pid]
	}
	return len(mine) == 1 && len(theirs) == 1 && !shared, nil
}

// process is the number of the server's process that answers.
func process(ctx context.Context, conn *pgx.Conn) (string, error) {
	row, err := oneRow(ctx, conn, "SELECT pg_backend_pid()")
	if err != nil {
		return "", err
	}
	return row[0], nil
}

// oneRow asks in the simple protocol, which prepares nothing that a pooler could lose.
func oneRow(ctx context.Context, conn *pgx.Conn, query string) ([]string, error) {
	results, err := conn.PgConn().Exec(ctx, query).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return nil, fmt.Errorf("the server gives no row for a question about its session")
	}
	var out []string
	for v := range slices.Values(results[0].Rows[0]) {
		out = append(out, string(v))
	}
	return out, nil
}
