package store

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"

	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/fault"
	"demarc/internal/store/storetest"
)

const canary = "canary-Xq7+&=71"

// server makes a database, or skips the test where there is no server.
func server(t *testing.T) (place string, run func(...string)) {
	t.Helper()
	if storetest.Admin() == "" {
		t.Skip("needs a PostgreSQL server: make db")
	}
	place = storetest.Fresh(t, "")
	x, err := storetest.Beside(place)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return place, func(queries ...string) {
		t.Helper()
		for _, q := range queries {
			if _, err := x.ExecContext(context.Background(), q); err != nil {
				t.Fatalf("%s: %v", q, err)
			}
		}
	}
}

// with changes a URL.
func with(t *testing.T, place string, how func(*url.URL, url.Values)) string {
	t.Helper()
	u, err := url.Parse(place)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	how(u, q)
	u.RawQuery = q.Encode()
	return u.String()
}

// refused opens a place both ways, and holds what is said against what a user needs. The password is never in it.
func refused(t *testing.T, place string, code fault.Code, says, hint string, opts ...Option) {
	t.Helper()
	for name, open := range map[string]func(context.Context, string, ...Option) (*DB, error){"to write": Open, "to read": OpenReader} {
		d, err := open(t.Context(), place, opts...)
		if err == nil {
			_ = d.Close()
			t.Errorf("%s: it opens %s", place, name)
			continue
		}
		f, ok := fault.Of(err)
		if !ok || f.Code != code || !strings.Contains(f.Message, says) || !strings.Contains(f.Hint, hint) {
			t.Errorf("%s, %s: %v", place, name, err)
		}
		if all := fmt.Sprintf("%v %+v %#v %#v", err, err, err, f); strings.Contains(all, canary[:6]) || strings.Contains(all, url.QueryEscape(canary)) {
			t.Errorf("%s: the password is in the error: %s", name, all)
		}
	}
}

// What keeps Demarc from its database is told with what to do, and never with the password.
func TestWhatKeepsUsFromTheServer(t *testing.T) {
	place, run := server(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := free.Addr().String()
	_ = free.Close()
	p := WithPassword(canary)
	refused(t, with(t, place, func(u *url.URL, _ url.Values) { u.Host = nobody }), fault.Unavailable, "is not there", "check that the server runs", p)
	refused(t, place, fault.Config, "does not admit this user", "database_password_file or PGPASSFILE", p)
	refused(t, with(t, place, func(u *url.URL, _ url.Values) { u.Path = "/gone" }), fault.NotFound, `"gone" does not exist`, "CREATE DATABASE")
	refused(t, with(t, place, func(_ *url.URL, q url.Values) { q.Set("sslmode", "verify-full") }), fault.Unavailable, "does not prove who it is", "sslrootcert", p)
	run(`CREATE TABLE theirs (x int)`)
	refused(t, place, fault.Config, "is no database of demarc", "it holds other tables")
	run(`DROP TABLE theirs`)
	if _, err := OpenReader(t.Context(), place); !fault.Is(err, fault.Config) {
		t.Errorf("a reader of an empty database: %v", err)
	}
	d, err := Open(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	run(`ALTER TABLE audit RENAME kase TO other`)
	refused(t, place, fault.Config, "was made by another version", "begin a new database")
}

// A URL that holds a password is refused before anything is asked, and no part of it is shown.
func TestAPasswordInTheURLIsRefused(t *testing.T) {
	for _, place := range []string{"postgres://d:" + url.QueryEscape(canary) + "@127.0.0.1/demarc", "postgresql://d@127.0.0.1/demarc?password=" + url.QueryEscape(canary), "POSTGRES://d:canary@h/demarc",
		"postgres://d@h/demarc?sslpassword=canary"} {
		refused(t, place, fault.Config, "has a password in it", "PGPASSFILE")
	}
	refused(t, "postgres://d:canary%zz@h/demarc", fault.Config, "cannot be read", "no password in it")
	refused(t, "postgres://d:can ary@[h/canary", fault.Config, "cannot be read", "no password in it")
	refused(t, "postgres://d@127.0.0.1", fault.Config, "names no database", "postgres://user@host:5432/database")
	refused(t, "postgres://d@127.0.0.1/demarc?sslmode=canned", fault.Config, "cannot be used", "manual", WithPassword(canary))
}

// A commit that returns has reached the disk of the server, whatever its settings say; nobody may say otherwise in the URL.
func TestACommitReachesTheDisk(t *testing.T) {
	for _, off := range []string{"off", "local", "OFF", "false"} {
		if err := CheckURL("postgres://d@h/demarc?synchronous_commit=" + off); !fault.Is(err, fault.Refused) {
			t.Errorf("%s: %v", off, err)
		}
	}
	place, run := server(t)
	u, _ := url.Parse(place)
	run(`ALTER DATABASE `+u.Path[1:]+` SET synchronous_commit = off`, `ALTER DATABASE `+u.Path[1:]+` SET default_transaction_isolation = serializable`)
	for _, c := range []struct{ place, want string }{{place, "on"}, {place + "?options=-csynchronous_commit%3Doff", "on"}, {place + "?synchronous_commit=remote_apply", "remote_apply"}} {
		d, err := Open(t.Context(), c.place)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range []*sql.DB{d.write, d.read} {
			var is string
			if err := h.QueryRowContext(t.Context(), `SHOW synchronous_commit`).Scan(&is); err != nil || is != c.want {
				t.Errorf("%s: %q, %v", c.place, is, err)
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Decisions read the primary. A server that only reads is refused, or what is written to it is.
func TestAServerThatOnlyReads(t *testing.T) {
	place, run := server(t)
	d, err := Open(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	r, err := OpenReader(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	on := true
	if err := r.Commit(t.Context(), casework.Change{At: 1, Pause: &on}); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "can only be read") {
		t.Errorf("a reader writes: %v", err)
	}
	if err := d.Commit(t.Context(), casework.Change{At: 1, Pause: &on}); err != nil {
		t.Error(err)
	}
	if paused, err := r.Paused(t.Context()); err != nil || !paused {
		t.Errorf("a reader sees %v, %v", paused, err)
	}
	for _, x := range []*DB{d, r} {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
	u, _ := url.Parse(place)
	run(`ALTER DATABASE ` + u.Path[1:] + ` SET default_transaction_read_only = on`)
	if _, err := Open(t.Context(), place); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "can only be read") || !strings.Contains(err.Error(), "name the primary") {
		t.Errorf("a server that only reads: %v", err)
	}
	if r, err = OpenReader(t.Context(), place); err != nil {
		t.Errorf("to read it: %v", err)
	} else {
		_ = r.Close()
	}
	any, err := Open(t.Context(), place+"?target_session_attrs=any")
	if err != nil {
		t.Fatal(err)
	}
	defer any.Close() //nolint:errcheck // the test is over
	if err := any.Commit(t.Context(), casework.Change{At: 2, Audit: []audit.Entry{{Kind: "x"}}}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("written to: %v", err)
	}
}

// A user who may not make tables, and a database that cannot hold every name.
func TestAServerThatIsSetUpOtherwise(t *testing.T) {
	place, run := server(t)
	u, _ := url.Parse(place)
	role := strings.ReplaceAll(u.Path[1:], "demarc_", "weak_")
	run(`CREATE ROLE `+role+` LOGIN PASSWORD 'x`+canary+`'`, `REVOKE ALL ON SCHEMA public FROM public`)
	t.Cleanup(func() { run(`DROP OWNED BY `+role, `DROP ROLE `+role) })
	weak := with(t, place, func(u *url.URL, _ url.Values) { u.User = url.User(role) })
	if _, err := Open(t.Context(), weak, WithPassword("x"+canary)); !fault.Is(err, fault.Config) || !strings.Contains(err.Error(), "own the database") {
		t.Errorf("%v", err)
	}
	other := u.Path[1:] + "_latin"
	run(`CREATE DATABASE ` + other + ` TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'`)
	t.Cleanup(func() { run(`DROP DATABASE ` + other + ` WITH (FORCE)`) })
	if _, err := Open(t.Context(), with(t, place, func(u *url.URL, _ url.Values) { u.Path = "/" + other })); !fault.Is(err, fault.Config) || !strings.Contains(err.Error(), "LATIN1") {
		t.Errorf("%v", err)
	}
}

// Over a network the server must prove who it is; on this machine it need not. The URL may say otherwise.
func TestWhoTheServerIs(t *testing.T) {
	t.Setenv("PGSSLMODE", "")
	t.Setenv("PGPASSFILE", "/nowhere")
	for place, verified := range map[string]bool{"postgres://d@db.example/demarc": true, "postgres://d@192.0.2.1/demarc": true, "postgres://d@127.0.0.1,db.example/demarc": true, "postgres://d@127.0.0.1/demarc": false,
		"postgres://d@localhost/demarc": false, "postgres:///demarc?host=/run/postgresql&user=d": false, "postgres://d@db.example/demarc?sslmode=disable": false} {
		c, err := postgresConfig(place, "", "read-write")
		if err != nil {
			t.Errorf("%s: %v", place, err)
			continue
		}
		always := c.TLSConfig != nil && !c.TLSConfig.InsecureSkipVerify
		for _, f := range c.Fallbacks {
			always = always && f.TLSConfig != nil && !f.TLSConfig.InsecureSkipVerify
		}
		if always != verified || c.ValidateConnect == nil {
			t.Errorf("%s: verified %t, primary %t", place, always, c.ValidateConnect != nil)
		}
	}
}

// The password that the configuration names is enough, and outranks PGPASSFILE.
func TestThePasswordOfTheConfiguration(t *testing.T) {
	place, run := server(t)
	u, _ := url.Parse(place)
	role := strings.ReplaceAll(u.Path[1:], "demarc_", "known_")
	run(`CREATE ROLE `+role+` LOGIN PASSWORD '`+canary+`'`, `ALTER DATABASE `+u.Path[1:]+` OWNER TO `+role)
	t.Cleanup(func() {
		run(`ALTER DATABASE `+u.Path[1:]+` OWNER TO CURRENT_USER`, `DROP OWNED BY `+role+` CASCADE`, `DROP ROLE `+role)
	})
	mine := with(t, place, func(u *url.URL, _ url.Values) { u.User = url.User(role) })
	for range 2 {
		d, err := Open(t.Context(), mine, WithPassword(canary))
		if err != nil {
			t.Fatal(err)
		}
		l, err := d.Lease(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Release(); err != nil {
			t.Error(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	refused(t, mine, fault.Config, "does not admit this user", "PGPASSFILE", WithPassword("not "+canary))
}
