package store_test

import (
	"os"
	"path/filepath"
	"testing"
)

// The lock file is truncated when the lease is taken. A symbolic link that somebody put in its place must not lead that to another file.
func TestLeaseFollowsNoSymbolicLink(t *testing.T) {
	dir := t.TempDir()
	place, target := filepath.Join(dir, "demarc.db"), filepath.Join(dir, "precious")
	if err := os.WriteFile(target, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, place+".lock"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := leased(t, place); err == nil {
		t.Error("the lease was taken through a symbolic link")
	}
	if b, err := os.ReadFile(target); err != nil || string(b) != "precious" {
		t.Errorf("%q, %v", b, err)
	}
}
