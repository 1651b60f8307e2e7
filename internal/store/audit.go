package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"

	"demarc/internal/access"
	"demarc/internal/audit"
)

// HeadLog keeps audit heads outside the database, so that a rewritten or rolled back database shows.
type HeadLog interface {
	Append(head []byte) error
}

// audit appends the change's entries to the log and returns the new head, nil when there is none.
func (w *writer) audit() (*audit.Head, error) {
	if len(w.c.Audit) == 0 {
		return nil, nil
	}
	size, err := nextSeq(w.ctx, w.tx)
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	have := treeOf{w.ctx, w.tx}
	for _, e := range w.c.Audit {
		e.Seq = size
		if e.At == 0 {
			e.At = w.c.At
		}
		if err := w.appendEntry(e, have); err != nil {
			return nil, err
		}
		size++
	}
	head, err := audit.HeadOf(size, have)
	if err != nil {
		return nil, err
	}
	line, err := json.Marshal(head)
	if err != nil {
		return nil, fmt.Errorf("audit head: %w", err)
	}
	return &head, w.setMeta("audit_head", string(line))
}

// nextSeq is the number of the next entry: by the stored head and by the last row, whichever is later. A row that somebody deleted is not
// made again, so that the log shows that it is missing, and goes on. A head of which the tree is not there any more, as in an older copy,
// or of a size that no log has, does not count.
func nextSeq(ctx context.Context, tx *sql.Tx) (int64, error) {
	var next int64
	if err := tx.QueryRowContext(ctx, `SELECT COALESCE(max(seq) + 1, 0) FROM audit`).Scan(&next); err != nil {
		return 0, err
	}
	var line string
	err := tx.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'audit_head'`).Scan(&line)
	if errors.Is(err, sql.ErrNoRows) {
		return next, nil
	}
	if err != nil {
		return 0, err
	}
	head, err := decode[audit.Head]("the audit head", line)
	if err != nil {
		return 0, err
	}
	switch _, err := audit.HeadOf(head.Size, treeOf{ctx, tx}); {
	case errors.Is(err, errNoHash), errors.Is(err, audit.ErrUnproven):
		return next, nil
	case err != nil:
		return 0, err
	}
	return max(next, head.Size), nil
}

func (w *writer) appendEntry(e audit.Entry, have treeOf) error {
	leaf, err := e.Leaf()
	if err != nil {
		return err
	}
	first, add, err := audit.Append(e.Seq, leaf, have)
	if err != nil {
		return err
	}
	if err := w.run("audit entry", `INSERT INTO audit (seq, kase, kind, leaf) VALUES ($1, $2, $3, $4)`,
		e.Seq, e.Case, e.Kind, leaf); err != nil {
		return err
	}
	for i, h := range add {
		if err := w.run("audit hash", `INSERT INTO audit_hash (idx, hash) VALUES ($1, $2)`, first+int64(i), h[:]); err != nil {
			return err
		}
	}
	return nil
}

// treeOf reads tree hashes through a transaction.
type treeOf struct {
	ctx context.Context //nolint:containedctx // lives for one transaction
	q   querier
}

func (t treeOf) ReadHashes(indexes []int64) ([]audit.Hash, error) {
	return readHashes(indexes, func(x int64, b *[]byte) error {
		return t.q.QueryRowContext(t.ctx, `SELECT hash FROM audit_hash WHERE idx = $1`, x).Scan(b)
	})
}

func readHashes(indexes []int64, read func(index int64, into *[]byte) error) ([]audit.Hash, error) {
	out := make([]audit.Hash, len(indexes))
	for i, x := range indexes {
		var b []byte
		if err := read(x, &b); errors.Is(err, sql.ErrNoRows) {
			return nil, fmt.Errorf("%w: hash %d is missing", errNoHash, x)
		} else if err != nil {
			return nil, fmt.Errorf("tree hash %d: %w", x, err)
		}
		if len(b) != len(out[i]) {
			return nil, fmt.Errorf("%w: hash %d has %d bytes", errNoHash, x, len(b))
		}
		copy(out[i][:], b)
	}
	return out, nil
}

// AuditLog reads the whole log as it is stored at one moment, to be verified: what is appended meanwhile is not seen in
// part.
func (d *DB) AuditLog(ctx context.Context) (s audit.Stored, err error) {
	tx, err := d.read.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return s, fmt.Errorf("reading the audit log: %w", err)
	}
	defer func() { err = errors.Join(err, ignoreDone(tx.Rollback())) }()
	err = each(ctx, tx, func(r *sql.Rows) error {
		var l audit.Leaf
		if err := r.Scan(&l.Seq, &l.Case, &l.Kind, &l.Data); err != nil {
			return err
		}
		s.Leaves = append(s.Leaves, l)
		return nil
	}, `SELECT seq, kase, kind, leaf FROM audit ORDER BY seq`)
	if err != nil {
		return s, fmt.Errorf("reading the audit log: %w", err)
	}
	err = each(ctx, tx, func(r *sql.Rows) error {
		var i int64
		var b []byte
		if err := r.Scan(&i, &b); err != nil {
			return err
		}
		var h audit.Hash
		copy(h[:], b)
		s.Hashes = append(s.Hashes, h)
		return nil
	}, `SELECT idx, hash FROM audit_hash ORDER BY idx`)
	if err != nil {
		return s, fmt.Errorf("reading the audit tree: %w", err)
	}
	var head string
	err = tx.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'audit_head'`).Scan(&head)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		s.Head, err = audit.HeadOf(0, nil)
		return s, err
	case err != nil:
		return s, fmt.Errorf("reading the audit head: %w", err)
	}
	if err := json.Unmarshal([]byte(head), &s.Head); err != nil {
		return s, fmt.Errorf("reading the audit head: %w", err)
	}
	return s, nil
}

// Entries lists the newest entries, newest first.
func (d *DB) Entries(ctx context.Context, limit int) ([]audit.Entry, error) {
	var out []audit.Entry
	err := each(ctx, d.read, func(r *sql.Rows) error {
		var leaf []byte
		if err := r.Scan(&leaf); err != nil {
			return err
		}
		e, err := decode[audit.Entry]("an audit entry", string(leaf))
		out = append(out, e)
		return err
	}, `SELECT leaf FROM audit ORDER BY seq DESC LIMIT $1`, limit)
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	return out, nil
}

// EntriesOf lists the entries of a case in the reader's scope, oldest first.
func (d *DB) EntriesOf(ctx context.Context, s access.Scope, id string) ([]audit.Entry, error) {
	if _, err := d.Case(ctx, s, id); err != nil {
		return nil, err
	}
	var out []audit.Entry
	err := each(ctx, d.read, func(r *sql.Rows) error {
		var leaf []byte
		if err := r.Scan(&leaf); err != nil {
			return err
		}
		e, err := decode[audit.Entry]("an audit entry", string(leaf))
		if err == nil && e.Case == id {
			out = append(out, e)
		}
		return err
	}, `SELECT leaf FROM audit WHERE kase = $1 AND kase <> '' ORDER BY seq`, id)
	if err != nil {
		return nil, fmt.Errorf("reading the audit log of %s: %w", id, err)
	}
	return out, nil
}

// HeadFile is a HeadLog in a file of JSON lines, written through to the disk.
type HeadFile string

// Append adds a head. A line that a crash cut off is ended first.
func (f HeadFile) Append(head []byte) (err error) {
	h, err := openRegular(string(f), os.O_APPEND|os.O_CREATE|os.O_RDWR)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	line := append(slices.Clone(head), '\n')
	if i, err := h.Stat(); err != nil {
		return err
	} else if last := make([]byte, 1); i.Size() > 0 {
		if _, err := h.ReadAt(last, i.Size()-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			line = append([]byte("\n"), line...)
		}
	}
	if _, err := h.Write(line); err != nil {
		return err
	}
	return h.Sync()
}

// SetAside keeps the heads so far beside the file, under a name with the time that nothing else has, and lets new ones begin.
func (f HeadFile) SetAside(at time.Time) error {
	name := string(f) + "." + at.UTC().Format("20060102T150405Z")
	aside := name
	for i := 2; ; i++ {
		if _, err := os.Lstat(aside); errors.Is(err, os.ErrNotExist) {
			break
		} else if err != nil {
			return err
		}
		aside = fmt.Sprintf("%s.%d", name, i)
	}
	if err := os.Rename(string(f), aside); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// StartOver sets the heads so far aside and begins anew with the one given.
func (f HeadFile) StartOver(at time.Time, head audit.Head) error {
	if err := f.SetAside(at); err != nil {
		return err
	}
	line, err := json.Marshal(head)
	if err != nil {
		return err
	}
	return f.Append(line)
}

// InUse tells whether something other than an empty file is at the path.
func (f HeadFile) InUse() (bool, error) {
	info, err := os.Lstat(string(f))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && (!info.Mode().IsRegular() || info.Size() > 0), err
}

// openRegular opens a regular file, and follows no symbolic link at its name. A new file is readable by its owner alone.
func openRegular(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s is a symbolic link, not a regular file", path)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Heads reads the heads back, to be held against a log; a file that is not there has none. A line that a crash cut off is
// no head.
func (f HeadFile) Heads() ([]audit.Head, error) {
	h, err := openRegular(string(f), os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading audit heads: %w", err)
	}
	defer h.Close() //nolint:errcheck // it was only read
	b, err := io.ReadAll(h)
	if err != nil {
		return nil, fmt.Errorf("reading audit heads: %w", err)
	}
	return headsIn(b), nil
}

// headsIn reads the heads of a file. An editor may have put a byte order mark before the first.
func headsIn(b []byte) []audit.Head {
	var out []audit.Head
	for line := range bytes.Lines(bytes.TrimPrefix(b, []byte("\ufeff"))) {
		var h audit.Head
		if json.Unmarshal(line, &h) == nil {
			out = append(out, h)
		}
	}
	return out
}
