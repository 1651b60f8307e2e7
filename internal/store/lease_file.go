package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"demarc/internal/fault"
)

// fileLock is a lock on a file beside the database. The system drops it when the process ends, however it ends; what stands in
// the file is for people, and is not trusted.
type fileLock struct {
	path string
	file *os.File
}

type owner struct {
	PID  int    `json:"pid"`
	Host string `json:"host"`
}

func lockFile(path string) (holder, error) {
	f, err := openRegular(path, os.O_CREATE|os.O_RDWR) // it is truncated: nobody may lead that elsewhere
	if err != nil {
		return nil, fault.New(fault.Unavailable, "cannot take the lease: %w", err).Hinted("check that the folder of the database is writable")
	}
	l := &fileLock{path, f}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		who := l.who()
		_ = f.Close() // nothing was written
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, taken(path, who)
		}
		return nil, fault.New(fault.Unavailable, "cannot take the lease %s: %w", path, err).Hinted("keep the database on a file system of this machine")
	}
	host, _ := os.Hostname()
	b, err := json.Marshal(owner{os.Getpid(), host})
	if err == nil {
		err = errors.Join(f.Truncate(0), second(f.WriteAt(append(b, '\n'), 0)))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("writing the lease: %w", err), f.Close())
	}
	return l, nil
}

// lockedBy asks without taking the lock for longer than the question, and makes no file.
func lockedBy(path string) (string, error) {
	f, err := openRegular(path, os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // it was only read
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return (&fileLock{path, f}).who(), nil
	} else if err != nil {
		return "", err
	}
	return "", nil
}

func second(_ int, err error) error { return err }

func (l *fileLock) who() string {
	var o owner
	b, err := io.ReadAll(io.LimitReader(l.file, 4096))
	if err != nil || json.Unmarshal(b, &o) != nil {
		return "another process"
	}
	return fmt.Sprintf("process %d on %s", o.PID, cmp.Or(o.Host, "this machine"))
}

func taken(what, who string) error {
	return fault.New(fault.Conflict, "an instance of demarc runs on this database already: %s holds %s", who, what).Hinted("stop it first; two would probe and mail twice")
}

// held: a lock file that somebody removed or replaced keeps nobody out.
func (l *fileLock) held(context.Context) error {
	mine, err := l.file.Stat()
	if err != nil {
		return errReleased
	}
	there, err := os.Stat(l.path)
	if err != nil || !os.SameFile(mine, there) {
		return fault.New(fault.Conflict, "the lease %s is not the file that was locked", l.path).Hinted("let nobody remove it; start this instance again")
	}
	return nil
}

// release leaves the file: removing it could remove the next one's.
func (l *fileLock) release() error { return l.file.Close() }
