package store

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"demarc/internal/casework"
	"demarc/internal/fault"
)

// pooler runs PgBouncer in front of a database, with some lines of configuration, and gives the URL to connect by.
func pooler(t *testing.T, place string, lines ...string) string {
	t.Helper()
	bin, err := exec.LookPath("pgbouncer")
	if err != nil {
		t.Skip("needs pgbouncer: make db")
	}
	c, err := pgx.ParseConfig(place)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "pool") //nolint:usetesting // another user reads it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	port := freePort(t)
	ini := filepath.Join(dir, "pgbouncer.ini")
	text := fmt.Sprintf("[databases]\n%[1]s = host=%[2]s port=%[3]d dbname=%[1]s user=%[4]s password=%[5]s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %[6]d\nunix_socket_dir =\nauth_type = any\n%[7]s\n",
		c.Database, c.Host, c.Port, c.User, c.Password, port, strings.Join(lines, "\n"))
	if err := os.WriteFile(ini, []byte(text), 0o644); err != nil { //nolint:gosec // another user reads it
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // another user reads it
		t.Fatal(err)
	}
	if err := os.Chmod(ini, 0o644); err != nil { //nolint:gosec // another user reads it
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "-q", ini)
	if os.Getuid() == 0 { // it refuses root
		u, err := user.Lookup("postgres")
		if err != nil {
			t.Skip("needs the user postgres")
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for range 100 {
		if conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			_ = conn.Close()
			return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s", c.User, port, c.Database)
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("pgbouncer does not listen")
	return ""
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// Behind a pooler that pools by session all works, and every session has the settings that safety rests on, whatever the database says.
func TestPoolerBySession(t *testing.T) {
	place, run := server(t)
	u, err := url.Parse(place)
	if err != nil {
		t.Fatal(err)
	}
	run(`ALTER DATABASE ` + u.Path[1:] + ` SET synchronous_commit = off`)
	for _, lines := range [][]string{
		{"pool_mode = session"},
		{"pool_mode = session", "ignore_startup_parameters = lock_timeout,synchronous_commit,idle_in_transaction_session_timeout,idle_session_timeout,default_transaction_read_only,extra_float_digits"},
		{"pool_mode = session", "server_round_robin = 1"},
	} {
		through := pooler(t, place, lines...)
		for _, at := range []string{through, through + "?sslmode=disable"} {
			d, err := Open(t.Context(), at)
			if err != nil {
				t.Fatalf("%s %v: %v", at, lines, err)
			}
			for _, h := range []querier{d.write, d.read} {
				var is string
				if err := h.QueryRowContext(t.Context(), `SHOW synchronous_commit`).Scan(&is); err != nil || is != "on" {
					t.Errorf("%v: synchronous_commit is %q, %v", lines, is, err)
				}
			}
			lease, err := d.Lease(t.Context())
			if err != nil {
				t.Fatalf("%v: %v", lines, err)
			}
			if err := d.Commit(t.Context(), casework.Change{At: 1}); err != nil {
				t.Errorf("%v: %v", lines, err)
			}
			if err := lease.Held(t.Context()); err != nil {
				t.Errorf("%v: %v", lines, err)
			}
			r, err := OpenReader(t.Context(), at)
			if err != nil {
				t.Fatalf("%v: %v", lines, err)
			}
			if _, err := r.read.ExecContext(t.Context(), `UPDATE meta SET value = '' WHERE key = ''`); err == nil {
				t.Errorf("%v: a reader can write", lines)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if err := lease.Release(); err != nil {
				t.Error(err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	d, err := Open(t.Context(), place) // no lease stays behind in a session of the pooler
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	lease, err := d.Lease(t.Context())
	for i := 0; err != nil && i < 50; i++ {
		time.Sleep(20 * time.Millisecond)
		lease, err = d.Lease(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = lease.Release()
}

// Pooling by transaction or statement is refused by its name, before anything is written or a lease taken.
func TestPoolerByTransaction(t *testing.T) {
	place, _ := server(t)
	ignore := "ignore_startup_parameters = extra_float_digits,options"
	for _, lines := range [][]string{{"pool_mode = transaction"}, {"pool_mode = transaction", "server_round_robin = 1"}, {"pool_mode = transaction", ignore, "min_pool_size = 5"}} {
		through := pooler(t, place, lines...)
		for range 3 {
			refused(t, through, fault.Refused, "gives a session's transactions to different sessions", "pool_mode = session")
		}
	}
	through := pooler(t, place, "pool_mode = statement")
	if d, err := Open(t.Context(), through); err == nil {
		_ = d.Close()
		t.Error("pooling by statement is taken")
	} else if _, told := fault.Of(err); !told {
		t.Error(err)
	}
	d, err := Open(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	if by, err := d.engine.runs(t.Context(), d.read); by != "" || err != nil {
		t.Errorf("a lease stayed behind: %s, %v", by, err)
	}
}

// What the pooler refuses is told as it says it, and never as a lack of proof.
func TestPoolerThatRefuses(t *testing.T) {
	place, _ := server(t)
	through := pooler(t, place, "pool_mode = session")
	refused(t, through+"?search_path=public", fault.Config, "search_path", "take that parameter out of the URL")
	u, err := url.Parse(through)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/elsewhere"
	for _, at := range []string{u.String(), u.String() + "?sslmode=disable"} {
		_, err := Open(t.Context(), at)
		if f, ok := fault.Of(err); !ok || strings.Contains(f.Error(), "does not prove") || !strings.Contains(f.Message, "refuses the connection") {
			t.Errorf("%s: %v", at, err)
		}
	}
	one := pooler(t, place, "pool_mode = session", "default_pool_size = 1", "query_wait_timeout = 1")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := Open(ctx, one); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "pool") {
		t.Errorf("a pool of one connection: %v", err)
	}
}
