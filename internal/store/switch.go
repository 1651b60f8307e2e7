package store

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"demarc/internal/fault"
)

// SwitchFile is the path of a kill switch in a file: enforcement runs only while the file is there, is a regular file that nobody else
// could have written, and says "running". The file has a fixed size and is overwritten in place, so that it can be switched on while the
// disk is full. (A file system that copies on write may need a block all the same.) It is safe for concurrent use, also by several
// processes.
type SwitchFile string

// switchSize is the size of the file in bytes: one block, which a disk writes as a whole.
const switchSize = 4096

// Pause is what a switch file says when it is on.
type Pause struct {
	ID       string `json:"id"`
	By       string `json:"by"`
	Why      string `json:"why,omitempty"`
	At       int64  `json:"at"`       // time of the world, µs
	Recorded bool   `json:"recorded"` // the database has it too, with its audit entry
}

type switchState struct {
	Enforcement string `json:"enforcement"` // "running" or "paused"
	Pause       *Pause `json:"pause,omitempty"`
}

const (
	switchRunning = "running"
	switchPaused  = "paused"
)

// NewPause describes a pause that is not recorded yet.
func NewPause(by, why string) Pause {
	const mostBy, mostWhy = 150, 350 // bytes; with each of them escaped they fit into the file
	return Pause{ID: rand.Text(), By: cut(by, mostBy), Why: cut(why, mostWhy), At: time.Now().UnixMicro()}
}

func cut(s string, most int) string {
	s = clean(s)
	if len(s) > most {
		s = clean(s[:most])
	}
	return s
}

// Create makes the file where there is none, with all the space that it will ever need, and says whether enforcement is paused.
// A file that is there is left as it is; Create fails where that cannot be a switch.
func (s SwitchFile) Create(paused bool) error {
	h, err := os.OpenFile(string(s), os.O_CREATE|os.O_EXCL|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if errors.Is(err, os.ErrExist) {
		h, err := s.open(os.O_RDWR)
		if err != nil {
			return s.unusable(err)
		}
		return h.Close()
	}
	if err != nil {
		return s.unusable(err)
	}
	state := switchState{Enforcement: switchRunning}
	if paused {
		p := NewPause("demarc", "the database says so")
		p.Recorded = true
		state = switchState{Enforcement: switchPaused, Pause: &p}
	}
	if err := errors.Join(write(h, state), h.Close(), syncFolder(filepath.Dir(string(s)))); err != nil {
		return s.unusable(errors.Join(err, os.Remove(string(s))))
	}
	return nil
}

func (s SwitchFile) unusable(err error) error {
	return fault.New(fault.Config, "cannot use the kill switch %s: %w", string(s), err).
		Hinted("the file must be a regular file that only the account of demarc can write, in a folder that it can write; remove what is there")
}

// Usable tells why a file that is there cannot serve as a switch: it must be a regular file that this account can write, and that no
// other account could have written.
func (s SwitchFile) Usable() error {
	h, err := s.open(os.O_RDWR)
	if err != nil {
		return s.unusable(err)
	}
	return h.Close()
}

// Exists tells whether something is at the path.
func (s SwitchFile) Exists() bool {
	_, err := os.Lstat(string(s))
	return s != "" && err == nil
}

// Thrown tells whether the switch is on, and why. A file that is missing, cannot be read or says anything else than "running" is on.
func (s SwitchFile) Thrown() (bool, string) {
	state, err := s.read()
	switch {
	case err != nil:
		return true, fmt.Sprintf("the kill switch %s cannot be read: %s", string(s), err)
	case state.Enforcement == switchRunning:
		return false, ""
	case state.Pause == nil:
		return true, "the kill switch is on in " + string(s)
	case state.Pause.Why != "":
		return true, fmt.Sprintf("the kill switch was set by %s: %s", state.Pause.By, state.Pause.Why)
	}
	return true, "the kill switch was set by " + state.Pause.By
}

// Unrecorded gives the pause that the database does not have yet, if there is one.
func (s SwitchFile) Unrecorded() (Pause, bool) {
	state, err := s.read()
	if err != nil || state.Enforcement == switchRunning || state.Pause == nil || state.Pause.Recorded {
		return Pause{}, false
	}
	return *state.Pause, true
}

// Mark identifies what the file says now, for Clear.
func (s SwitchFile) Mark() string {
	state, err := s.read()
	if err != nil || state.Pause == nil {
		return ""
	}
	return state.Pause.ID
}

// Throw switches enforcement off. It returns when that is on the disk, and waits for nobody.
func (s SwitchFile) Throw(p Pause) error {
	if !s.Exists() {
		if err := s.Create(true); err != nil {
			return err
		}
	}
	return s.change(func(switchState) (switchState, error) { return switchState{Enforcement: switchPaused, Pause: &p}, nil })
}

// Recorded notes that the database has a pause. A later pause is left as it is.
func (s SwitchFile) Recorded(id string) error {
	return s.change(func(is switchState) (switchState, error) {
		if is.Pause != nil && is.Pause.ID == id {
			is.Pause.Recorded = true
		}
		return is, nil
	})
}

// Clear lets enforcement run, unless somebody has switched it off since the file was read with Mark: fault.Conflict. A file that is missing
// is made.
func (s SwitchFile) Clear(mark string) error {
	if !s.Exists() {
		return s.Create(false)
	}
	return s.change(func(is switchState) (switchState, error) {
		if is.Pause != nil && is.Pause.ID != mark {
			return is, fault.New(fault.Conflict, "%s has paused enforcement again meanwhile", is.Pause.By).Hinted("see demarc enforce pending")
		}
		return switchState{Enforcement: switchRunning}, nil
	})
}

// change rewrites the file in place, under a lock that is held for no longer than that. A switch that cannot be locked soon is written all
// the same when the change is to pause: a resume compares before it writes.
func (s SwitchFile) change(to func(switchState) (switchState, error)) error {
	h, err := s.open(os.O_RDWR)
	if err != nil {
		return s.unusable(err)
	}
	defer h.Close() //nolint:errcheck // it was synced
	for try := 0; ; try++ {
		if err = syscall.Flock(int(h.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			break
		}
		if try >= 50 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	is, readErr := parse(h)
	if readErr != nil {
		is = switchState{Enforcement: switchPaused}
	}
	next, changeErr := to(is)
	switch {
	case changeErr != nil:
		return changeErr
	case err != nil && next.Enforcement == switchRunning:
		return fault.New(fault.Unavailable, "cannot lock the kill switch %s: %w", string(s), err).Hinted("try again")
	}
	if err := write(h, next); err != nil {
		return s.unusable(err)
	}
	if info, err := h.Stat(); next.Enforcement == switchRunning && err == nil && info.Size() != switchSize {
		return h.Truncate(switchSize) // somebody appended to it
	}
	return nil
}

func (s SwitchFile) read() (switchState, error) {
	h, err := s.open(os.O_RDONLY)
	if err != nil {
		return switchState{}, err
	}
	defer h.Close() //nolint:errcheck // it was only read
	return parse(h)
}

// open opens the file if nobody but its owner can have written it, and its owner is root, this account, or the owner of the folder.
func (s SwitchFile) open(flags int) (*os.File, error) {
	h, err := openRegular(string(s), flags)
	if err != nil {
		return nil, err
	}
	if err := trustworthy(h, filepath.Dir(string(s))); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

func trustworthy(h *os.File, folder string) error {
	info, err := h.Stat()
	if err != nil {
		return err
	}
	around, err := os.Stat(folder)
	if err != nil {
		return err
	}
	file, ok := info.Sys().(*syscall.Stat_t)
	above, also := around.Sys().(*syscall.Stat_t)
	switch {
	case !ok || !also:
		return errors.New("its owner is not known")
	case file.Uid != 0 && int(file.Uid) != os.Geteuid() && file.Uid != above.Uid:
		return fmt.Errorf("it belongs to uid %d", file.Uid)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("others may write it (mode %04o)", info.Mode().Perm())
	case file.Nlink != 1:
		return fmt.Errorf("it has %d names", file.Nlink)
	}
	return nil
}

func parse(h *os.File) (switchState, error) {
	b := make([]byte, switchSize+1)
	n, err := h.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return switchState{}, err
	}
	return stateIn(b[:n])
}

// stateIn reads the content of the file.
func stateIn(b []byte) (switchState, error) {
	var state switchState
	if len(b) != switchSize {
		return state, fmt.Errorf("it has %d bytes or more, not %d", len(b), switchSize)
	}
	d := json.NewDecoder(bytes.NewReader(bytes.TrimRight(b, " \n")))
	d.DisallowUnknownFields()
	if err := d.Decode(&state); err != nil {
		return state, fmt.Errorf("its content is not known: %w", err)
	}
	_, err := d.Token() // More would not see what begins with a closing bracket
	if state.Enforcement == switchRunning && state.Pause != nil || !errors.Is(err, io.EOF) {
		return switchState{}, errors.New("its content contradicts itself")
	}
	return state, nil
}

func write(h *os.File, state switchState) error {
	b, err := json.Marshal(state)
	if err != nil {
		return err
	}
	if len(b) >= switchSize {
		return fmt.Errorf("%d bytes do not fit", len(b))
	}
	b = append(b, bytes.Repeat([]byte(" "), switchSize-1-len(b))...)
	if _, err := h.WriteAt(append(b, '\n'), 0); err != nil {
		return err
	}
	return h.Sync()
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
