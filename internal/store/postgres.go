package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	_ "embed"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"demarc/internal/fault"
)

//go:embed schema.postgres.sql
var schemaPostgres string

// Advisory locks are of one database. The first key is ours ("dmrc"), the second says what for.
const (
	lockClass    = 0x646d7263
	lockWriting  = 1 // held by the transaction that writes
	lockInstance = 2 // held by the running instance
)

// readers is how many sessions read at once.
const readers = 4

// restartTime is less than a server needs to stop and start: a connection that lay idle for longer is asked whether it lives
// before it is used again.
const restartTime = 50 * time.Millisecond

// IsURL tells whether a place is on a PostgreSQL server.
func IsURL(place string) bool {
	scheme, _, ok := strings.Cut(place, "://")
	return ok && (strings.EqualFold(scheme, "postgres") || strings.EqualFold(scheme, "postgresql"))
}

const serverRuns = "check that the server runs, and that the user may use the database"

func postgresEngine(c *pgx.ConnConfig, place string, log *followed) engine {
	return engine{
		place: place, schema: schemaPostgres, read: serverRuns, write: serverRuns,
		tables: `SELECT count(*), count(CASE WHEN table_name IN ('meta', 'kase', 'audit') THEN 1 END) FROM information_schema.tables WHERE table_schema = current_schema()`,
		check:  func(ctx context.Context, q querier) error { return inUTF8(ctx, q, place) },
		kept:   func(context.Context, querier) error { return nil }, // each session is asked once it is connected
		begin:  beginPostgres,
		mark:   markPostgres,
		fault:  func(err error) error { return postgresFault(place, err) },
		settle: func(ctx context.Context, db *sql.DB, t ticket, err error) error {
			return settle(ctx, db, place, t, err)
		},
		runs:  runsOn,
		lease: func(ctx context.Context) (holder, error) { return lockSession(ctx, c, place, log) },
	}
}

// openPostgres opens a database for writing. Nothing is asked of the server yet.
func openPostgres(place, password string) (*DB, error) {
	c, err := postgresConfig(place, password, "read-write")
	if err != nil {
		return nil, err
	}
	log := &followed{}
	w, r := handle(c, 1, log), handle(c, readers, log)
	return &DB{read: r, write: w, engine: postgresEngine(c, shownPlace(c), log), followed: log}, nil
}

// openPostgresReader opens it in sessions that the server itself keeps from writing.
func openPostgresReader(place, password string) (*DB, error) {
	c, err := postgresConfig(place, password, "primary") // read-write is not what such a session is
	if err != nil {
		return nil, err
	}
	c.RuntimeParams["default_transaction_read_only"] = "on"
	log := &followed{}
	h := handle(c, readers, log)
	return &DB{read: h, write: h, engine: postgresEngine(c, shownPlace(c), log), followed: log}, nil
}

// handle is a pool whose failures to connect are faults, and hold no configuration: that has the password in it. Each new session is
// compared with the log that this process follows before anything is read from it: the server may be another by now.
func handle(c *pgx.ConnConfig, conns int, log *followed) *sql.DB {
	ping := stdlib.OptionShouldPing(func(_ context.Context, p stdlib.ShouldPingParams) bool { return p.IdleDuration > restartTime })
	place := shownPlace(c)
	c, want := withoutSettings(c)
	same := stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
		if err := want.take(ctx, conn, c, place); err != nil {
			return err
		}
		return log.sessionExtends(ctx, conn, place)
	})
	h := sql.OpenDB(connector{stdlib.GetConnector(*c, ping, same), place})
	h.SetMaxOpenConns(conns)
	h.SetMaxIdleConns(conns)
	return h
}

type connector struct {
	driver.Connector
	place string
}

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err == nil || ctx.Err() != nil {
		return conn, err
	}
	return nil, connectFault(c.place, err)
}

// shownPlace is the URL without what need not be shown.
func shownPlace(c *pgx.ConnConfig) string {
	u := url.URL{Scheme: "postgres", User: url.User(c.User), Host: c.Host, Path: "/" + c.Database}
	if strings.HasPrefix(c.Host, "/") {
		return "postgres://" + url.User(c.User).String() + "@/" + c.Database + "?host=" + c.Host
	}
	if c.Port != 5432 {
		u.Host = net.JoinHostPort(c.Host, fmt.Sprint(c.Port))
	}
	return u.String()
}

// CheckURL tells what is wrong with a URL, as a fault that shows no part of it: what looks wrong may be a password.
func CheckURL(place string) error {
	const form = "write postgres://user@host:5432/database"
	u, err := url.Parse(place)
	if err != nil {
		return fault.New(fault.Config, "the URL of the database cannot be read").Hinted("%s, with no password in it", form)
	}
	q := u.Query()
	if _, has := u.User.Password(); has || q.Has("password") || q.Has("sslpassword") {
		return fault.New(fault.Config, "the URL of the database has a password in it, where others can read it").
			Hinted("take it out; name its file as database_password_file in the configuration, or set PGPASSFILE")
	}
	if strings.Trim(u.Path, "/") == "" && !q.Has("dbname") && !q.Has("database") && !q.Has("service") {
		return fault.New(fault.Config, "the URL names no database").Hinted("%s", form)
	}
	if s := q.Get("synchronous_commit"); s != "" && s != "on" && s != "remote_apply" {
		return fault.New(fault.Refused, "the URL sets synchronous_commit=%s: what the server then calls committed may be gone after a crash", s).Hinted("take it out")
	}
	return nil
}

// postgresConfig is how we connect. The server is the primary unless the URL says otherwise, for a decision must see the latest
// commit. Over a network the server must prove who it is unless the URL says otherwise.
func postgresConfig(place, password, attrs string) (*pgx.ConnConfig, error) {
	if err := CheckURL(place); err != nil {
		return nil, err
	}
	u, err := url.Parse(place)
	if err != nil {
		return nil, CheckURL(place)
	}
	u.Scheme = "postgres"
	q := u.Query()
	if !q.Has("target_session_attrs") && os.Getenv("PGTARGETSESSIONATTRS") == "" {
		q.Set("target_session_attrs", attrs)
	}
	if !q.Has("connect_timeout") && os.Getenv("PGCONNECT_TIMEOUT") == "" {
		q.Set("connect_timeout", "10")
	}
	u.RawQuery = q.Encode()
	c, err := pgx.ParseConfig(u.String())
	if err == nil && !q.Has("sslmode") && !q.Has("ssl") && os.Getenv("PGSSLMODE") == "" && !local(c) {
		q.Set("sslmode", "verify-full")
		u.RawQuery = q.Encode()
		c, err = pgx.ParseConfig(u.String())
	}
	if err != nil {
		return nil, fault.New(fault.Config, "the URL of the database cannot be used: %s", err.Error()).Hinted("see the parameters of a connection in the manual of PostgreSQL")
	}
	if password != "" {
		c.Password = password
	}
	c.RuntimeParams["client_encoding"] = "UTF8"
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = self()
	}
	return c, nil
}

// self is what the server's lists show of this process.
func self() string {
	host, _ := os.Hostname()
	return fmt.Sprintf("%s pid %d on %s", filepath.Base(os.Args[0]), os.Getpid(), host)
}

// local tells whether every host is a socket or this machine by address.
func local(c *pgx.ConnConfig) bool {
	hosts := []string{c.Host}
	for _, f := range c.Fallbacks {
		hosts = append(hosts, f.Host)
	}
	return !slices.ContainsFunc(hosts, func(h string) bool {
		a, err := netip.ParseAddr(h)
		return !strings.HasPrefix(h, "/") && h != "localhost" && (err != nil || !a.IsLoopback())
	})
}

// inUTF8: in another encoding the first name from outside that it lacks would stop the line.
func inUTF8(ctx context.Context, q querier, place string) error {
	var encoding string
	if err := q.QueryRowContext(ctx, `SELECT current_setting('server_encoding')`).Scan(&encoding); err != nil {
		return postgresFault(place, err)
	}
	if encoding != "UTF8" {
		return fault.New(fault.Config, "%s holds text in %s", place, encoding).Hinted("make it anew: CREATE DATABASE demarc OWNER demarc ENCODING 'UTF8' TEMPLATE template0")
	}
	return nil
}
