package store_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"demarc/internal/fault"
	"demarc/internal/store"
	"demarc/internal/store/storetest"
)

func leased(t *testing.T, place string) (*store.DB, *store.Lease, error) {
	t.Helper()
	d, err := store.Open(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	l, err := d.Lease(t.Context())
	if err == nil {
		t.Cleanup(func() { _ = l.Release() })
	}
	return d, l, err
}

// TestMain is also the instance that is killed.
func TestMain(m *testing.M) {
	place := os.Getenv("DEMARC_TEST_LEASE")
	if place == "" {
		os.Exit(m.Run())
	}
	d, err := store.Open(context.Background(), place)
	if err == nil {
		_, err = d.Lease(context.Background())
	}
	fmt.Println(err)
	time.Sleep(time.Minute) // it is killed before
}

// One instance runs on a database. The next one is told who it is, and begins when that one is gone, however it went.
func TestOneInstanceRuns(t *testing.T) {
	for name, place := range everyPlace(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, place := t.Context(), place(t)
			_, first, err := leased(t, place)
			if err != nil || first.Held(ctx) != nil {
				t.Fatalf("%v, %v", err, first.Held(ctx))
			}
			host, _ := os.Hostname()
			_, _, err = leased(t, place)
			if f, ok := fault.Of(err); !ok || f.Code != fault.Conflict || !strings.Contains(f.Message, fmt.Sprint(os.Getpid())) || !strings.Contains(f.Message, host) {
				t.Errorf("the second: %v", err)
			}
			if err := first.Held(ctx); err != nil {
				t.Errorf("the first, after somebody asked: %v", err)
			}
			for range 2 {
				if err := first.Release(); err != nil {
					t.Error(err)
				}
			}
			if first.Held(ctx) == nil {
				t.Error("held after it was released")
			}
			killed(t, place)
			_, second, err := leased(t, place)
			if err != nil || second.Held(ctx) != nil {
				t.Errorf("after the first: %v", err)
			}
		})
	}
}

// killed takes the lease in a process that is then killed, and waits until it is free.
func killed(t *testing.T, place string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "DEMARC_TEST_LEASE="+place)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said string
	if _, err := fmt.Fscanln(out, &said); err != nil || said != "<nil>" {
		t.Fatalf("the child says %q, %v", said, err)
	}
	if _, _, err := leased(t, place); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), fmt.Sprint(cmd.Process.Pid)) {
		t.Errorf("while the child lives: %v", err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	for range 200 { // a server learns of the death a moment later
		d, l, err := leased(t, place)
		if err == nil {
			_ = l.Release()
		}
		_ = d.Close()
		if err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("the dead hold the lease")
}

// everyPlace makes places on every engine there is.
func everyPlace(t *testing.T) map[string]func(*testing.T) string {
	t.Helper()
	out := map[string]func(*testing.T) string{"SQLite": func(t *testing.T) string { return filepath.Join(t.TempDir(), "demarc.db") }}
	if storetest.Admin() != "" {
		out["PostgreSQL"] = func(t *testing.T) string { return storetest.Fresh(t, "") }
	}
	return out
}

// A lock file that somebody took away keeps nobody out, and its holder is told.
func TestALostLockFileIsSeen(t *testing.T) {
	place := filepath.Join(t.TempDir(), "demarc.db")
	_, l, err := leased(t, place)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(place + ".lock"); err != nil {
		t.Fatal(err)
	}
	if l.Held(t.Context()) == nil {
		t.Error("not seen")
	}
	if _, _, err := leased(t, place); err != nil {
		t.Error(err)
	}
	if l.Held(t.Context()) == nil {
		t.Error("not seen, and another runs")
	}
}

// A lease that was lost with its connection is seen to be lost, for good.
func TestALostConnectionLosesTheLease(t *testing.T) {
	onServer(t)
	place, ctx := storetest.Fresh(t, ""), t.Context()
	_, l, err := leased(t, place)
	if err != nil {
		t.Fatal(err)
	}
	x := beside(t, place)
	defer x.Close() //nolint:errcheck // the test is over
	if _, err := x.ExecContext(ctx, `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if l.Held(ctx) == nil {
			t.Fatal("a lease without a connection is held")
		}
	}
	if _, next, err := leased(t, place); err != nil || next.Held(ctx) != nil || l.Held(ctx) == nil {
		t.Errorf("the next one: %v", err)
	}
}
