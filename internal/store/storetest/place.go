package storetest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

// Admin is the URL of a PostgreSQL server on which databases may be made, as a user whose password is in PGPASSFILE; empty when
// there is none to examine. The drivers are those that the store brings along.
func Admin() string { return os.Getenv("DEMARC_TEST_POSTGRES") }

var made atomic.Int64

// NewDatabase makes an empty database on the server of the admin's URL. Its locale is one that sorts otherwise than bytes do, where
// the server has one.
func NewDatabase(ctx context.Context, admin string) (place string, drop func() error, err error) {
	u, err := url.Parse(admin)
	if err != nil {
		return "", nil, errors.New("DEMARC_TEST_POSTGRES is no URL")
	}
	name := fmt.Sprintf("demarc_%d_%d", os.Getpid(), made.Add(1))
	if err := onServer(ctx, admin, `CREATE DATABASE `+name+` TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en' LOCALE 'C.UTF-8'`); err != nil {
		return "", nil, err
	}
	u.Path = "/" + name
	return u.String(), func() error {
		return onServer(context.WithoutCancel(ctx), admin, `DROP DATABASE `+name+` WITH (FORCE)`)
	}, nil
}

func onServer(ctx context.Context, place, query string) (err error) {
	d, err := sql.Open("pgx", place)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	_, err = d.ExecContext(ctx, query)
	return err
}

// Fresh is a place for a new store: on the server where there is one to examine, else a file in a folder of the test.
func Fresh(t *testing.T, file string) string {
	t.Helper()
	if Admin() == "" {
		return file
	}
	place, drop, err := NewDatabase(t.Context(), Admin())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := drop(); err != nil {
			t.Error(err)
		}
	})
	return place
}

// CopyOf copies a database of the server as it is now, as a standby that lags behind would have it.
func CopyOf(t *testing.T, place string) string {
	t.Helper()
	u, err := url.Parse(place)
	if err != nil {
		t.Fatal(err)
	}
	from := strings.TrimPrefix(u.Path, "/")
	name := fmt.Sprintf("demarc_%d_%d", os.Getpid(), made.Add(1))
	if err := onServer(t.Context(), Admin(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '`+from+`'`); err != nil {
		t.Fatal(err)
	}
	for try := 0; ; try++ { // a session may begin in between
		if err = onServer(t.Context(), Admin(), `CREATE DATABASE `+name+` TEMPLATE `+from); err == nil || try > 50 {
			break
		}
		_ = onServer(t.Context(), Admin(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '`+from+`'`)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := onServer(context.WithoutCancel(t.Context()), Admin(), `DROP DATABASE `+name+` WITH (FORCE)`); err != nil {
			t.Error(err)
		}
	})
	u.Path = "/" + name
	return u.String()
}

// Beside opens a place as a stranger would, past the store.
func Beside(place string) (*sql.DB, error) {
	if strings.Contains(place, "://") {
		return sql.Open("pgx", place)
	}
	return sql.Open("sqlite", "file:"+(&url.URL{Path: place}).EscapedPath()+"?_pragma=busy_timeout(5000)")
}

const (
	tablesSQLite   = `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name`
	tablesPostgres = `SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = current_schema() ORDER BY table_name`
)

// Sums gives the name of every table at a place with its number of rows and a checksum of all of them, without the marks that every
// commit leaves on PostgreSQL.
func Sums(ctx context.Context, place string) (out map[string]string, err error) {
	d, err := Beside(place)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	query := tablesSQLite
	if strings.Contains(place, "://") {
		query = tablesPostgres
	}
	var names []string
	err = rows(ctx, d, query, func(vals []any) { names = append(names, fmt.Sprint(vals[0])) })
	out = map[string]string{}
	for _, name := range names {
		h, n := sha256.New(), 0
		err = errors.Join(err, rows(ctx, d, `SELECT * FROM `+name+` ORDER BY 1, 2`, func(vals []any) {
			if name == "meta" && vals[0] == "commits" {
				return
			}
			_, _ = fmt.Fprintf(h, "%q\n", fmt.Sprint(vals...))
			n++
		}))
		out[name] = fmt.Sprintf("%d rows %s", n, hex.EncodeToString(h.Sum(nil)[:8]))
	}
	return out, err
}

func rows(ctx context.Context, d *sql.DB, query string, each func([]any)) (err error) {
	r, err := d.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	cols, err := r.Columns()
	for err == nil && r.Next() {
		vals, at := make([]any, len(cols)), make([]any, len(cols))
		for i := range vals {
			at[i] = &vals[i]
		}
		err = r.Scan(at...)
		each(vals)
	}
	return errors.Join(err, r.Err())
}
