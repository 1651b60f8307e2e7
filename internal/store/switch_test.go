package store_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"demarc/internal/fault"
	"demarc/internal/store"
)

func aSwitch(t *testing.T) store.SwitchFile {
	t.Helper()
	s := store.SwitchFile(filepath.Join(t.TempDir(), "demarc.db.switch"))
	if err := s.Create(false); err != nil {
		t.Fatal(err)
	}
	if thrown, why := s.Thrown(); thrown {
		t.Fatalf("a new switch is on: %s", why)
	}
	return s
}

func TestSwitchFileIsOnUnlessItSaysRunning(t *testing.T) {
	full := func(text string) []byte { return append([]byte(text), bytes.Repeat([]byte(" "), 4096-len(text))...) }
	for name, spoil := range map[string]func(path string) error{
		"missing":          os.Remove,
		"empty":            func(p string) error { return os.Truncate(p, 0) },
		"cut short":        func(p string) error { return os.Truncate(p, 100) },
		"longer":           func(p string) error { return os.Truncate(p, 9000) },
		"zeroes":           func(p string) error { return os.WriteFile(p, make([]byte, 4096), 0o600) },
		"another word":     func(p string) error { return os.WriteFile(p, full(`{"enforcement":"on"}`), 0o600) },
		"an unknown field": func(p string) error { return os.WriteFile(p, full(`{"enforcement":"running","x":1}`), 0o600) },
		"a contradiction": func(p string) error {
			return os.WriteFile(p, full(`{"enforcement":"running","pause":{"id":"x"}}`), 0o600)
		},
		"two values": func(p string) error {
			return os.WriteFile(p, full(`{"enforcement":"running"} {"enforcement":"paused"}`), 0o600)
		},
		"others may write":   func(p string) error { return os.Chmod(p, 0o622) },
		"a second name":      func(p string) error { return os.Link(p, p+".other") },
		"a folder":           func(p string) error { return replace(p, func() error { return os.Mkdir(p, 0o700) }) },
		"a pipe":             func(p string) error { return replace(p, func() error { return syscall.Mkfifo(p, 0o600) }) },
		"a symbolic link":    func(p string) error { return os.Rename(p, p+".real") },
		"somebody else's":    func(p string) error { return os.Chown(p, 54321, 54321) },
		"the folder is gone": func(p string) error { return os.RemoveAll(filepath.Dir(p)) },
	} {
		t.Run(name, func(t *testing.T) {
			if name == "somebody else's" && os.Getuid() != 0 {
				t.Skip("only root can give a file away")
			}
			s := aSwitch(t)
			if err := spoil(string(s)); err != nil {
				t.Fatal(err)
			}
			if name == "a symbolic link" {
				if err := os.Symlink(string(s)+".real", string(s)); err != nil {
					t.Fatal(err)
				}
			}
			if thrown, why := s.Thrown(); !thrown || why == "" {
				t.Errorf("on: %t, %q", thrown, why)
			}
		})
	}
}

func replace(path string, with func() error) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return with()
}

func TestServeRefusesASwitchFileThatAnotherUserMade(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"a symbolic link": func(p string) error {
			if err := os.WriteFile(p+".real", nil, 0o600); err != nil {
				return err
			}
			return os.Symlink(p+".real", p)
		},
		"writable by all": func(p string) error {
			if err := os.WriteFile(p, nil, 0o600); err != nil {
				return err
			}
			return os.Chmod(p, 0o666)
		},
		"a pipe": func(p string) error { return syscall.Mkfifo(p, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			s := store.SwitchFile(filepath.Join(t.TempDir(), "switch"))
			if err := make(string(s)); err != nil {
				t.Fatal(err)
			}
			if err := s.Create(false); !fault.Is(err, fault.Config) {
				t.Errorf("%v", err)
			}
			if thrown, _ := s.Thrown(); !thrown {
				t.Error("it counts as off")
			}
		})
	}
}

// A pause needs no space on the disk: size, blocks and file stay what they were.
func TestSwitchFileIsOverwrittenInPlace(t *testing.T) {
	s := aSwitch(t)
	stat := func() (st syscall.Stat_t) {
		t.Helper()
		if err := syscall.Stat(string(s), &st); err != nil {
			t.Fatal(err)
		}
		return st
	}
	before := stat()
	if err := s.Throw(store.NewPause(strings.Repeat("\x01<", 500), strings.Repeat("\x7f&", 5000))); err != nil {
		t.Fatal(err)
	}
	after := stat()
	if before.Ino != after.Ino || before.Size != after.Size || before.Blocks != after.Blocks || after.Mode&0o777 != 0o600 {
		t.Errorf("inode %d, %d; size %d, %d; blocks %d, %d", before.Ino, after.Ino, before.Size, after.Size, before.Blocks, after.Blocks)
	}
	if thrown, _ := s.Thrown(); !thrown {
		t.Error("it is off")
	}
	if p, ok := s.Unrecorded(); !ok || p.By == "" {
		t.Errorf("%+v", p)
	}
}

func TestClearKeepsAPauseThatCameAfterItsMark(t *testing.T) {
	s := aSwitch(t)
	first, second := store.NewPause("olga", "one"), store.NewPause("pavel", "two")
	for _, err := range []error{s.Throw(first), s.Recorded(first.ID)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, some := s.Unrecorded(); some {
		t.Error("a recorded pause is unrecorded")
	}
	mark := s.Mark()
	if err := s.Throw(second); err != nil {
		t.Fatal(err)
	}
	if err := s.Recorded(first.ID); err != nil {
		t.Fatal(err)
	}
	if p, some := s.Unrecorded(); !some || p.ID != second.ID {
		t.Error("the second pause counts as recorded with the first")
	}
	if err := s.Clear(mark); !fault.Is(err, fault.Conflict) {
		t.Errorf("%v", err)
	}
	if thrown, _ := s.Thrown(); !thrown {
		t.Fatal("the second pause was cleared")
	}
	if err := s.Clear(s.Mark()); err != nil {
		t.Fatal(err)
	}
	if thrown, why := s.Thrown(); thrown {
		t.Errorf("still on: %s", why)
	}
}

// Many pauses and resumes at once: a pause that no resume follows stays in force, and the file is never torn.
func TestManyPausesAndResumesAtOnce(t *testing.T) {
	s := aSwitch(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				if err := s.Throw(store.NewPause("olga", "")); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 25 {
				err := s.Clear(s.Mark())
				// A resume that cannot lock is tried again.
				if err != nil && !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.Unavailable) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	last := s.Mark()
	if err := s.Throw(store.NewPause("pavel", "last")); err != nil {
		t.Fatal(err)
	}
	if err := s.Clear(last); !fault.Is(err, fault.Conflict) {
		t.Errorf("%v", err)
	}
	if thrown, why := s.Thrown(); !thrown || !strings.Contains(why, "last") {
		t.Errorf("on: %t, %q", thrown, why)
	}
}
