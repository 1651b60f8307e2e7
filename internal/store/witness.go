package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"demarc/internal/asset"
	"demarc/internal/audit"
)

// Witness lists the entries of a case, oldest first, each proven to be part of the log that its head commits to. audit.ErrUnproven: one is
// not, and nothing can be concluded from the log. Any other error is the database's, and says nothing about the log.
func (d *DB) Witness(ctx context.Context, id string) (out []audit.Entry, err error) {
	tx, err := d.read.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("reading the audit log of case %s: %w", id, err)
	}
	defer func() { err = errors.Join(err, ignoreDone(tx.Rollback())) }()
	head, err := headOf(ctx, tx)
	if err != nil {
		return nil, fmt.Errorf("reading the audit head: %w", err)
	}
	var leaves []audit.Leaf
	err = each(ctx, tx, func(r *sql.Rows) error {
		l, err := scanLeaf(r)
		leaves = append(leaves, l)
		return err
	}, `SELECT seq, kase, kind, leaf FROM audit WHERE kase = $1 AND kase <> '' ORDER BY seq`, id)
	if err != nil {
		return nil, fmt.Errorf("reading the audit log of case %s: %w", id, err)
	}
	for _, l := range leaves {
		e, err := proven(ctx, tx, head, l)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func scanLeaf(r *sql.Rows) (audit.Leaf, error) {
	var l audit.Leaf
	if err := r.Scan(&l.Seq, &l.Case, &l.Kind, &l.Data); err != nil {
		return l, fmt.Errorf("%w: an entry cannot be read: %w", audit.ErrUnproven, err)
	}
	return l, nil
}

// proven decodes an entry that is part of the log of a head, and that is filed under the case and kind that it names.
func proven(ctx context.Context, tx *sql.Tx, head audit.Head, l audit.Leaf) (audit.Entry, error) {
	if err := audit.Proven(head, l.Seq, l.Data, treeOf{ctx, tx}); err != nil {
		return audit.Entry{}, err
	}
	e, err := decode[audit.Entry]("an audit entry", string(l.Data))
	if err != nil {
		return e, fmt.Errorf("%w: %w", audit.ErrUnproven, err)
	}
	if e.Seq != l.Seq || e.Case != l.Case || e.Kind != l.Kind {
		return e, fmt.Errorf("%w: entry %d is filed under a number, case or kind that it does not name", audit.ErrUnproven, l.Seq)
	}
	return e, nil
}

// WitnessKinds lists the entries of some kinds since a time (policy clock, µs), newest first, at least the newest and at most a number of
// them, each proven as by Witness. Where the log has fewer rows than its head says, that is an error: what is missing may be of these
// kinds.
func (d *DB) WitnessKinds(ctx context.Context, since int64, most int, kinds ...string) (out []audit.Entry, err error) {
	tx, err := d.read.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	defer func() { err = errors.Join(err, ignoreDone(tx.Rollback())) }()
	head, err := headOf(ctx, tx)
	if err != nil {
		return nil, fmt.Errorf("reading the audit head: %w", err)
	}
	var rows int64
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM audit`).Scan(&rows); err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	if rows != head.Size {
		return nil, fmt.Errorf("%w: it has %d entries, and its head is for %d", audit.ErrUnproven, rows, head.Size)
	}
	w := &where{}
	w.in("kind", kinds)
	w.args = append(w.args, most)
	var leaves []audit.Leaf
	err = each(ctx, tx, func(r *sql.Rows) error {
		l, err := scanLeaf(r)
		leaves = append(leaves, l)
		return err
	}, `SELECT seq, kase, kind, leaf FROM audit`+w.String()+fmt.Sprintf(` ORDER BY seq DESC LIMIT $%d`, len(w.args)), w.args...)
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	for _, l := range leaves {
		e, err := proven(ctx, tx, head, l)
		if err != nil {
			return nil, err
		}
		if e.At < since && len(out) > 0 {
			break
		}
		out = append(out, e)
	}
	return out, nil
}

// headOf reads the stored head and checks that the stored tree has its root.
func headOf(ctx context.Context, tx *sql.Tx) (audit.Head, error) {
	var line string
	var head audit.Head
	err := tx.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'audit_head'`).Scan(&line)
	if errors.Is(err, sql.ErrNoRows) {
		return audit.HeadOf(0, nil)
	}
	if err != nil {
		return head, err
	}
	if err := json.Unmarshal([]byte(line), &head); err != nil {
		return head, fmt.Errorf("%w: its head cannot be read: %w", audit.ErrUnproven, err)
	}
	is, err := audit.HeadOf(head.Size, treeOf{ctx, tx})
	if err == nil && is.Root != head.Root {
		err = fmt.Errorf("%w: the stored tree does not have the root of the stored head", audit.ErrUnproven)
	}
	return head, err
}

// PortsWithin lists the versions of ports of some networks that the inventory held at some time since a time (policy clock, µs) and that
// have ended: ports that are gone, and earlier versions of ports that are still there. The versions that stand now are in the snapshot.
func (d *DB) PortsWithin(ctx context.Context, cloud string, networks []asset.NetworkID, since int64) ([]asset.Port, error) {
	in := map[asset.NetworkID]bool{}
	for _, n := range networks {
		in[n] = true
	}
	var out []asset.Port
	err := each(ctx, d.read, func(r *sql.Rows) error {
		var body string
		if err := r.Scan(&body); err != nil {
			return err
		}
		p, err := decode[asset.Port]("the inventory", body)
		if err == nil && in[p.Network] {
			out = append(out, p)
		}
		return err
	}, `SELECT body FROM object WHERE cloud = $1 AND kind = 'port' AND valid_to >= $2`, cloud, since)
	if err != nil {
		return nil, fmt.Errorf("reading the history of ports: %w", err)
	}
	return out, nil
}

// PersonLeft is when the inventory showed that a person with a mail address could not act for a project any more: the last role there
// ended, or the account was disabled or is gone. 0 where that is not known.
func (d *DB) PersonLeft(ctx context.Context, cloud string, project asset.ProjectID, address string) (int64, error) {
	var users []string
	var at int64
	err := each(ctx, d.read, func(r *sql.Rows) error {
		var id, body string
		var from, to int64
		if err := r.Scan(&id, &body, &from, &to); err != nil {
			return err
		}
		u, err := decode[asset.User]("the inventory", body)
		if err != nil || u.Mail != address {
			return err
		}
		users = append(users, id)
		if to != 0 {
			at = max(at, to)
		} else if !u.Enabled {
			at = max(at, from)
		}
		return nil
	}, `SELECT object, body, valid_from, valid_to FROM object WHERE cloud = $1 AND kind = 'user' AND body LIKE $2`,
		cloud, "%"+likeText(address)+"%")
	for _, u := range users {
		if err != nil {
			break
		}
		err = each(ctx, d.read, func(r *sql.Rows) error {
			var to sql.NullInt64
			err := r.Scan(&to)
			at = max(at, to.Int64)
			return err
		}, `SELECT max(valid_to) FROM object WHERE cloud = $1 AND kind = 'grant' AND valid_to > 0 AND object LIKE $2`,
			cloud, u+" "+string(project)+" %")
	}
	if err != nil {
		return 0, fmt.Errorf("reading the history of people: %w", err)
	}
	return at, nil
}

// likeText keeps what a LIKE pattern would read as a wildcard out of a text, as one character of any kind. Rows are compared exactly after
// it.
func likeText(s string) string {
	out := []byte(s)
	for i, b := range out {
		if b == '%' || b == '\\' {
			out[i] = '_'
		}
	}
	return string(out)
}
