package store

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"demarc/internal/casework"
	"demarc/internal/fault"
)

// locked makes a folder one that nobody can write to.
func locked(t *testing.T, dir string) {
	t.Helper()
	if os.Getuid() != 0 {
		if err := os.Chmod(dir, 0o555); err != nil { //nolint:gosec // a folder
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(dir, 0o755) }) //nolint:gosec // a folder
		return
	}
	if err := syscall.Mount(dir, dir, "", syscall.MS_BIND, ""); err != nil {
		t.Skip("needs an account that is not root, or one that may mount")
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	if err := syscall.Mount("", dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skip("needs an account that may mount")
	}
}

// A copy of the database that is at rest is read from where nothing can be written. One with commits beside it is not, and says why.
func TestCopyInAReadOnlyPlace(t *testing.T) {
	place := filepath.Join(t.TempDir(), "demarc.db")
	d, err := Open(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(t.Context(), casework.Change{At: 1}); err != nil {
		t.Fatal(err)
	}
	copied := func(name string, files ...string) string {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // a folder
			t.Fatal(err)
		}
		for _, suffix := range files {
			b, err := os.ReadFile(place + suffix)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "a 100% copy?.db"+suffix), b, 0o444); err != nil { //nolint:gosec // it is read by all
				t.Fatal(err)
			}
		}
		locked(t, dir)
		return filepath.Join(dir, "a 100% copy?.db")
	}
	live := copied("live", "", "-wal")
	_, err = OpenReader(t.Context(), live)
	if f, ok := fault.Of(err); !ok || f.Code != fault.CannotLook || !strings.Contains(f.Message, "-wal holds commits") || !strings.Contains(f.Hint, "copy both files") {
		t.Errorf("a copy of a database in use: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReader(t.Context(), copied("rest", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if _, err := r.AuditLog(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := r.write.ExecContext(t.Context(), `DELETE FROM meta`); err == nil {
		t.Error("a reader can write")
	}
}
