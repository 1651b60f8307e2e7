package serve

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"demarc/internal/fault"
	"demarc/internal/flow"
	"demarc/internal/store"
)

// SwitchPath is the file of the kill switch: beside the SQLite file, or, with PostgreSQL, beside the file of the audit heads.
func (c *Config) SwitchPath() store.SwitchFile {
	if !store.IsURL(c.Database) {
		return store.SwitchFile(c.DatabasePath() + ".switch")
	}
	heads := c.HeadsPath()
	return store.SwitchFile(filepath.Join(filepath.Dir(heads), strings.TrimSuffix(filepath.Base(heads), ".heads")+".switch"))
}

// killSwitch is the kill switch of one process: a file, and a pause that the file could not take. It is safe for concurrent use.
type killSwitch struct {
	file store.SwitchFile

	mu     sync.Mutex
	memory *store.Pause           // holds until this process ends
	full   map[string]store.Pause // pauses of this process that are not recorded yet, with all that was said
	done   map[string]bool        // pauses that this process recorded, where the file cannot be marked
	record sync.Mutex             // held while pauses are being recorded
}

func newSwitch(file store.SwitchFile) *killSwitch {
	return &killSwitch{file: file, full: map[string]store.Pause{}, done: map[string]bool{}}
}

// Thrown tells whether enforcement is paused outside the ledger, and why.
func (k *killSwitch) Thrown() (bool, string) {
	k.mu.Lock()
	m := k.memory
	k.mu.Unlock()
	if m != nil {
		return true, "the kill switch was set by " + m.By + ": " + m.Why
	}
	return k.file.Thrown()
}

// throw pauses enforcement before it returns, and waits for nobody. An error says that the pause does not survive this process.
func (k *killSwitch) throw(p store.Pause, why string) error {
	said := p
	said.Why = why
	k.mu.Lock()
	k.memory = &p
	if !p.Recorded {
		k.full[p.ID] = said
	}
	k.mu.Unlock()
	if err := k.file.Throw(p); err != nil {
		return err
	}
	k.mu.Lock()
	if k.memory != nil && k.memory.ID == p.ID {
		k.memory = nil
	}
	k.mu.Unlock()
	return nil
}

// doubt pauses enforcement for a reason of the service's own, unless it is paused already. Recorded: the caller writes it into the ledger.
func (k *killSwitch) doubt(why string, recorded bool) error {
	if thrown, _ := k.Thrown(); thrown && k.file.Exists() {
		return nil
	}
	p := store.NewPause("demarc", why)
	p.Recorded = recorded
	return k.throw(p, why)
}

// unrecorded lists the pauses that the ledger does not have yet.
func (k *killSwitch) unrecorded() []store.Pause {
	var out []store.Pause
	p, some := k.file.Unrecorded()
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, known := k.full[p.ID]; some && !known && !k.done[p.ID] {
		out = append(out, p)
	}
	for _, p := range k.full {
		out = append(out, p)
	}
	return out
}

// isRecorded tells whether the ledger has a pause of this process.
func (k *killSwitch) isRecorded(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, waits := k.full[id]
	return !waits
}

// recordAll writes every pause that the ledger does not have yet into it, with its audit entry.
func (k *killSwitch) recordAll(ctx context.Context, line *flow.Line) error {
	k.record.Lock()
	defer k.record.Unlock()
	return k.recordHeld(ctx, line)
}

// recordHeld is recordAll for a caller that holds k.record.
func (k *killSwitch) recordHeld(ctx context.Context, line *flow.Line) error {
	for _, p := range k.unrecorded() {
		if err := line.RecordPause(ctx, p.By, p.Why); err != nil {
			return err
		}
		k.mu.Lock()
		delete(k.full, p.ID)
		k.done[p.ID] = true
		if k.memory != nil && k.memory.ID == p.ID {
			k.memory.Recorded = true
		}
		k.mu.Unlock()
		_ = k.file.Recorded(p.ID) // at worst the next process records it once more
	}
	return nil
}

// mark identifies what the switch says now, for clear.
type mark struct{ memory, file string }

func (k *killSwitch) mark() mark {
	k.mu.Lock()
	defer k.mu.Unlock()
	m := mark{file: k.file.Mark()}
	if k.memory != nil {
		m.memory = k.memory.ID
	}
	return m
}

// clear lets enforcement run, unless somebody paused it since mark was read.
func (k *killSwitch) clear(m mark) error {
	k.mu.Lock()
	now := k.memory
	k.mu.Unlock()
	if now != nil && now.ID != m.memory {
		return fault.New(fault.Conflict, "%s has paused enforcement again meanwhile", now.By).Hinted("see demarc enforce pending")
	}
	if err := k.file.Clear(m.file); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.memory != nil && k.memory.ID == m.memory {
		k.memory = nil
	}
	return nil
}

// recordTime is how long a pause waits for its audit entry before it is answered: it has taken effect already.
const recordTime = 500 * time.Millisecond

// pause sets the kill switch: the file first, then the ledger. Where the ledger cannot be written now the pause holds all the same, and
// the entry follows.
func (d *Desk) pause(ctx context.Context, q Ask) (Told, error) {
	if d.outside == nil {
		return d.switchTold(ctx, q, d.line.Pause(ctx, true, q.By, q.Why))
	}
	p := store.NewPause(q.By, q.Why)
	kept := d.outside.throw(p, q.Why)
	return pauseTold(q, d.outside.file, kept, d.recorded(ctx, p.ID))
}

// pauseTold is the answer to a pause, by what kept it from being written into the file, and into the ledger.
func pauseTold(q Ask, file store.SwitchFile, kept, unrecorded error) (Told, error) {
	t := Told{By: q.By, Paused: true}
	switch {
	case unrecorded == nil:
		return t, nil // the ledger keeps it, whether or not the file does
	case kept == nil:
		t.Unrecorded = unrecorded.Error()
		return t, nil
	}
	return Told{By: q.By}, fault.New(fault.Unavailable, "the pause can be written down nowhere: %w", errors.Join(kept, unrecorded)).
		Hinted("a server that answered this stays paused until it stops; free some disk space, "+
			"or make the folder of %s writable, and pause again", string(file))
}

// PauseInFile sets the kill switch of a server that did not answer, for an account that may write its file. The server reads the file
// before each call that restricts a machine, and writes the audit entry.
func PauseInFile(file store.SwitchFile, q Ask, unanswered error) (Told, error) {
	if !file.Exists() {
		return Told{}, fault.New(fault.NotFound, "there is no kill switch %s", string(file)).Hinted("demarc serve makes it when it starts")
	}
	if err := file.Throw(store.NewPause(q.By, q.Why)); err != nil {
		return Told{}, err
	}
	return Told{By: q.By, Paused: true, Unrecorded: unanswered.Error()}, nil
}

// recorded makes sure that a pause stands in the ledger. In a server another goroutine writes it, and is waited for only briefly.
func (d *Desk) recorded(ctx context.Context, id string) error {
	if d.recordSoon == nil {
		return d.outside.recordAll(ctx, d.line)
	}
	d.recordSoon()
	for end := time.Now().Add(recordTime); !d.outside.isRecorded(id); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return errLater
		}
	}
	return nil
}

var errLater = errors.New("the database has not taken the audit entry yet; the server tries again until it does")

// resume lets enforcement run: the ledger first, the file last, so that what fails between the two stays paused.
func (d *Desk) resume(ctx context.Context, q Ask) (Told, error) {
	if d.outside == nil {
		return d.switchTold(ctx, q, d.line.Pause(ctx, false, q.By, q.Why))
	}
	d.outside.record.Lock() // or a pause from before could be recorded after the resume, and hold again
	defer d.outside.record.Unlock()
	m := d.outside.mark() // a pause that comes from here on holds
	if err := d.outside.recordHeld(ctx, d.line); err != nil {
		return Told{}, err
	}
	if err := d.line.Pause(ctx, false, q.By, q.Why); err != nil {
		return Told{}, err
	}
	if d.resumed != nil {
		if err := d.resumed(ctx); err != nil {
			return Told{}, err
		}
	}
	return d.switchTold(ctx, q, d.outside.clear(m))
}

func (d *Desk) switchTold(ctx context.Context, q Ask, err error) (Told, error) {
	if err != nil {
		return Told{}, err
	}
	paused, err := d.db.Paused(ctx)
	return Told{By: q.By, Paused: paused}, err
}

// recordPauses keeps the ledger up with the switch until ctx ends. It is woken when there is something to write, and looks by itself for
// what another process left.
func (s *Server) recordPauses(ctx context.Context, line *flow.Line, wake <-chan struct{}) {
	said := ""
	for ctx.Err() == nil {
		err := s.outside.recordAll(ctx, line)
		if err != nil && err.Error() != said && ctx.Err() == nil {
			said = err.Error()
			s.log.Error("a pause is in force and cannot be recorded yet", "err", err)
		}
		if err == nil {
			said = ""
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-time.After(time.Second):
		}
	}
}
