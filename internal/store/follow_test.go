package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/fault"
	"demarc/internal/store"
	"demarc/internal/store/storetest"
)

func appendTo(t *testing.T, d *store.DB, kinds ...string) {
	t.Helper()
	for _, k := range kinds {
		if err := d.Commit(t.Context(), casework.Change{At: 1, Audit: []audit.Entry{{Actor: "demarc", Kind: k}}}); err != nil {
			t.Fatal(err)
		}
	}
}

func opened(t *testing.T, place string, opts ...store.Option) *store.DB {
	t.Helper()
	d, err := store.Open(t.Context(), place, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// What another writer appended is followed; a log that was cut or rewritten is refused at the commit and at the lease, and nothing is
// written.
func TestCommitRefusesALogThatDoesNotExtendTheOneFollowed(t *testing.T) {
	for name, place := range everyPlace(t) {
		for kind, spoil := range map[string][]string{
			"cut":                 {`DELETE FROM audit WHERE seq >= 2`},
			"another root":        {`UPDATE audit_hash SET hash = (SELECT hash FROM audit_hash WHERE idx = 0) WHERE idx = 6`},
			"a hash is missing":   {`DELETE FROM audit_hash WHERE idx = 6`},
			"a hash is no hash":   {`UPDATE audit_hash SET hash = substr(hash, 1, 5) WHERE idx = 6`},
			"nothing is left":     {`DELETE FROM audit`, `DELETE FROM audit_hash`},
			"appended by another": nil,
		} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				at := place(t)
				d := opened(t, at)
				appendTo(t, d, "a", "b", "c")
				other := opened(t, at)
				appendTo(t, other, "d")
				if err := d.Extends(t.Context()); err != nil {
					t.Fatalf("another writer's entry: %v", err)
				}
				appendTo(t, d, "e")
				x := beside(t, at)
				for _, q := range spoil {
					if _, err := x.ExecContext(t.Context(), q); err != nil {
						t.Fatal(err)
					}
				}
				_ = x.Close()
				err := d.Commit(t.Context(), casework.Change{At: 2, Audit: []audit.Entry{{Kind: "f"}}})
				if spoil == nil {
					if err != nil {
						t.Error(err)
					}
					return
				}
				if !errors.Is(err, store.ErrDiverged) {
					t.Errorf("the commit: %v", err)
				}
				if _, err := d.Lease(t.Context()); !errors.Is(err, store.ErrDiverged) {
					t.Errorf("the lease: %v", err)
				}
				es, err := d.Entries(t.Context(), 99)
				for _, e := range es {
					if e.Kind == "f" {
						t.Error("the refused commit was written")
					}
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// Only a change that accepts the log as it is goes through, and from then on that log is followed.
func TestANewBaseIsFollowed(t *testing.T) {
	for name, place := range everyPlace(t) {
		t.Run(name, func(t *testing.T) {
			at := place(t)
			d := opened(t, at)
			appendTo(t, d, "a")
			d.Follow(audit.Head{Size: 50})
			if err := d.Extends(t.Context()); !errors.Is(err, store.ErrDiverged) {
				t.Fatalf("%v", err)
			}
			if err := d.Commit(t.Context(), casework.Change{At: 2, NewBase: true, Audit: []audit.Entry{{Kind: "b"}}}); err != nil {
				t.Fatal(err)
			}
			appendTo(t, d, "c")
			if err := d.Extends(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A server that took over without the last commits is noticed by the first session, before anything is read from it.
func TestANewSessionIsHeldAgainstTheLogFollowed(t *testing.T) {
	onServer(t)
	ctx, place := t.Context(), storetest.Fresh(t, "")
	p := storetest.NewProxy(t, place)
	d := opened(t, p.Place)
	appendTo(t, d, "a", "b")
	lagging := storetest.CopyOf(t, place)
	paused := true
	if err := d.Commit(ctx, casework.Change{At: 3, Pause: &paused, Audit: []audit.Entry{{Kind: "enforcement.paused"}}}); err != nil {
		t.Fatal(err)
	}
	p.Redirect(t, lagging)
	if on, err := d.Paused(ctx); !errors.Is(err, store.ErrDiverged) {
		t.Errorf("paused: %t, %v", on, err)
	}
	if err := d.Commit(ctx, casework.Change{At: 4, Audit: []audit.Entry{{Kind: "x"}}}); !errors.Is(err, store.ErrDiverged) {
		t.Errorf("the commit: %v", err)
	}
	if _, err := d.Lease(ctx); !errors.Is(err, store.ErrDiverged) {
		t.Errorf("the lease: %v", err)
	}
	base := casework.Change{At: 5, NewBase: true, Pause: &paused, Audit: []audit.Entry{{Kind: "enforcement.paused"}}}
	if err := d.Commit(ctx, base); err != nil {
		t.Fatal(err)
	}
	if on, err := d.Paused(ctx); err != nil || !on {
		t.Errorf("paused: %t, %v", on, err)
	}
	p.Redirect(t, place)
	if err := d.Extends(ctx); !errors.Is(err, store.ErrDiverged) {
		t.Errorf("the old primary comes back: %v", err)
	}
}

func TestASQLiteFileThatWasReplacedIsNotWrittenTo(t *testing.T) {
	for name, move := range map[string]func(path string) error{
		"moved":   func(p string) error { return os.Rename(p, p+".moved") },
		"deleted": os.Remove,
		"replaced": func(p string) error {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			if err := os.WriteFile(p+".copy", b, 0o600); err != nil {
				return err
			}
			return os.Rename(p+".copy", p)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "demarc.db")
			d := opened(t, path)
			appendTo(t, d, "a")
			if err := move(path); err != nil {
				t.Fatal(err)
			}
			if err := d.Commit(t.Context(), casework.Change{At: 2, Audit: []audit.Entry{{Kind: "b"}}}); !errors.Is(err, store.ErrReplaced) {
				t.Errorf("the commit: %v", err)
			}
			base := casework.Change{At: 2, NewBase: true, Audit: []audit.Entry{{Kind: "b"}}}
			if err := d.Commit(t.Context(), base); !errors.Is(err, store.ErrReplaced) {
				t.Errorf("a new base: %v", err)
			}
			if _, err := d.Lease(t.Context()); !errors.Is(err, store.ErrReplaced) {
				t.Errorf("the lease: %v", err)
			}
			if _, err := d.Paused(t.Context()); !errors.Is(err, store.ErrReplaced) {
				t.Errorf("the kill switch: %v", err)
			}
		})
	}
}

func TestNoDatabaseIsMadeWhereHeadsOfOneAreKept(t *testing.T) {
	for name, place := range everyPlace(t) {
		t.Run(name, func(t *testing.T) {
			at := place(t)
			heads := store.HeadFile(filepath.Join(t.TempDir(), "heads"))
			if err := heads.Append([]byte(`{"size":3}`)); err != nil {
				t.Fatal(err)
			}
			_, err := store.Open(t.Context(), at, store.WithHeads(heads))
			if f, ok := fault.Of(err); !ok || f.Code != fault.Refused || !strings.Contains(f.Hint, "put the database back") {
				t.Errorf("%v", err)
			}
			if !store.IsURL(at) {
				if _, err := os.Stat(at); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("a file was made: %v", err)
				}
			}
			if err := os.Remove(string(heads)); err != nil {
				t.Fatal(err)
			}
			opened(t, at, store.WithHeads(heads))
		})
	}
}

func TestHeadFileFollowsNoSymbolicLink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), store.HeadFile(filepath.Join(dir, "heads"))
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, string(link)); err != nil {
		t.Fatal(err)
	}
	if err := link.Append([]byte(`{"size":3}`)); err == nil {
		t.Error("appended through a symbolic link")
	}
	if _, err := link.Heads(); err == nil {
		t.Error("read through a symbolic link")
	}
	if b, err := os.ReadFile(target); err != nil || len(b) != 0 {
		t.Errorf("%q, %v", b, err)
	}
}

// Only "false", or no value, means that enforcement runs.
func TestAnUnknownValueOfTheSwitchMeansPaused(t *testing.T) {
	for name, place := range everyPlace(t) {
		t.Run(name, func(t *testing.T) {
			at := place(t)
			d := opened(t, at)
			x := beside(t, at)
			defer x.Close() //nolint:errcheck // a test's end
			for _, value := range []string{"", "FALSE", "false ", "no", "0", "off", "nul", "true", "falsе"} {
				q := `INSERT INTO meta (key, value) VALUES ('paused', $1) ON CONFLICT (key) DO UPDATE SET value = excluded.value`
				if _, err := x.ExecContext(t.Context(), q, value); err != nil {
					t.Fatal(err)
				}
				if paused, err := d.Paused(t.Context()); err != nil || !paused {
					t.Errorf("%q: %t, %v", value, paused, err)
				}
				intent := casework.Change{At: 1, Require: casework.Require{Running: true}, Audit: []audit.Entry{{Kind: "act.intended"}}}
				err := d.Commit(t.Context(), intent)
				if !errors.Is(err, casework.ErrPaused) {
					t.Errorf("%q: a restricting change: %v", value, err)
				}
			}
			off := false
			if err := d.Commit(t.Context(), casework.Change{At: 1, Pause: &off}); err != nil {
				t.Fatal(err)
			}
			if paused, err := d.Paused(t.Context()); err != nil || paused {
				t.Errorf("false: %t, %v", paused, err)
			}
		})
	}
}
