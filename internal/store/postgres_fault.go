package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"demarc/internal/fault"
)

// connectFault is a failure to connect. It wraps nothing: the driver's own error carries the configuration.
func connectFault(place string, err error) error {
	if errors.Is(err, ErrDiverged) {
		return err // of our own making
	}
	if f, ours := fault.Of(err); ours {
		return f
	}
	if f := refusal(place, err); f != nil {
		return f
	}
	if errors.Is(err, pgconn.ErrReadOnlyConnection) || errors.Is(err, pgconn.ErrStandbyConnection) {
		return readOnly(place)
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok { // it answers, and says why it does not admit us: a pooler too
		return fault.New(fault.Unavailable, "%s refuses the connection: %s (SQLSTATE %s)", place, e.Message, e.Code).
			Hinted("see the log of the server, or of the pooler in front of it")
	}
	what := strings.Join(strings.Fields(err.Error()), " ")
	if strings.Contains(what, "x509:") || strings.Contains(what, "tls:") || strings.Contains(what, "refused TLS") {
		return fault.New(fault.Unavailable, "%s does not prove who it is: %s", place, what).Hinted("name the certificate that signed the server's with sslrootcert=file in the URL")
	}
	return fault.New(fault.Unavailable, "%s is not there: %s", place, what).Hinted("check that the server runs, and its host and port in the URL")
}

func readOnly(place string) *fault.Fault {
	f := fault.New(fault.Unavailable, "%s can only be read", place).Hinted("name the primary, not a standby; see that default_transaction_read_only is off for this user and database")
	f.Cause = ErrReadOnly
	return f
}

// refusal is what the server itself gave as its reason not to admit us, in words for those who can change it.
func refusal(place string, err error) *fault.Fault {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return nil
	}
	switch e.Code {
	case "28P01", "28000":
		return fault.New(fault.Config, "%s does not admit this user: %s", place, e.Message).Hinted("check the user in the URL, and the password in database_password_file or PGPASSFILE")
	case "3D000":
		return fault.New(fault.NotFound, "%s: %s", place, e.Message).Hinted("make it: CREATE DATABASE demarc OWNER demarc ENCODING 'UTF8' TEMPLATE template0")
	case "42501", "3F000":
		return fault.New(fault.Config, "%s: %s", place, e.Message).Hinted("let the user own the database, or its schema")
	case "25006":
		return readOnly(place)
	case "08P01":
		return fault.New(fault.Config, "%s refuses the connection: %s", place, e.Message).
			Hinted("a pooler such as PgBouncer says so of what it does not pass on: take that parameter out of the URL, or connect directly")
	case "42704":
		return fault.New(fault.Config, "%s is too old: %s", place, e.Message).Hinted("PostgreSQL 14 or later")
	case "53300":
		return fault.New(fault.Unavailable, "%s: %s", place, e.Message).Hinted("one instance takes up to 6 connections, a command up to 5; raise max_connections")
	case "55P03":
		return fault.New(fault.Unavailable, "%s: somebody else has been writing for too long: %s", place, e.Message).Hinted("try again; see pg_stat_activity")
	case "40001", "40P01":
		return fault.New(fault.Unavailable, "%s ended the transaction in favour of another, and nothing was written: %s", place, e.Message).Hinted("try again")
	case "57P01", "57P02", "57P03":
		return fault.New(fault.Unavailable, "%s stops or starts: %s", place, e.Message).Hinted("try again")
	}
	return nil
}

// postgresFault is an error of a session as one that a user can act on, where it is one.
func postgresFault(place string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if _, told := fault.Of(err); told {
		return err
	}
	if f := refusal(place, err); f != nil {
		f.Cause = errors.Join(f.Cause, err)
		return f
	}
	var n net.Error
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, pgconn.ErrConnClosed) || errors.As(err, &n) {
		return fault.New(fault.Unavailable, "the connection to %s was lost: %w", place, err).Hinted("try again")
	}
	return err
}
