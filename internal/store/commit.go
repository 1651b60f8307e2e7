package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/fault"
	"demarc/internal/policy"
	"demarc/internal/probe"
)

// Commit writes the change of one step, all of it or nothing. A case, finding or act that somebody wrote since it was
// read makes it a conflict.
func (d *DB) Commit(ctx context.Context, c casework.Change) error {
	var head *audit.Head
	if c.NewBase {
		ctx = context.WithValue(ctx, anyLog{}, true)
	}
	err := d.inTx(ctx, func(tx *sql.Tx) error {
		if err := d.mayCommit(ctx, tx, c); err != nil {
			return err
		}
		w := &writer{ctx: ctx, tx: tx, c: c}
		for _, part := range []func() error{w.inventory, w.clock, w.coverage, w.facts, w.exposures,
			w.findings, w.sightings, w.charges, w.models, w.acts, w.cases, w.timers, w.mails,
			w.queue, w.blocks, w.walks, w.standings, w.leftovers, w.pause, w.mode, w.anchor} {
			if err := part(); err != nil {
				return err
			}
		}
		var err error
		head, err = w.audit()
		return err
	})
	if err != nil {
		return fmt.Errorf("writing a step: %w", err)
	}
	if head == nil {
		return nil
	}
	if c.NewBase {
		d.followed.set(*head)
		d.freshSessions()
	} else {
		d.followed.advance(*head)
	}
	if d.heads == nil {
		return nil
	}
	line, err := json.Marshal(head)
	if err == nil {
		err = d.heads.Append(line)
	}
	if err != nil {
		return fmt.Errorf("keeping the audit head: %w", err)
	}
	return nil
}

// mayCommit checks, inside the writing transaction, what must hold before anything is written: the log extends the one that this process
// follows, and what the change requires.
func (d *DB) mayCommit(ctx context.Context, tx *sql.Tx, c casework.Change) error {
	if c.NewBase {
		if err := d.samePlace(); err != nil {
			return err
		}
	} else if err := d.extends(ctx, tx); err != nil {
		return err
	}
	if c.Require.Running {
		paused, err := d.pausedBy(ctx, tx)
		if err != nil {
			return fmt.Errorf("reading the kill switch: %w", err)
		}
		if paused != "" {
			return fault.New(fault.Conflict, "%w: %s", casework.ErrPaused, paused).Hinted("see demarc enforce pending")
		}
	}
	if c.Require.Mode == "" {
		return nil
	}
	mode, _, err := modeIn(ctx, tx, "mode")
	if err != nil {
		return fmt.Errorf("reading the mode: %w", err)
	}
	if !mode.AtLeast(c.Require.Mode) {
		return fault.New(fault.Conflict, "%w: the mode that the operators chose is %s", casework.ErrPaused, mode).Hinted("see demarc mode show")
	}
	return nil
}

type writer struct {
	ctx     context.Context
	tx      *sql.Tx
	c       casework.Change
	altered bool // the inventory was not as it was known
	rebind  bool // in a way that who holds which address may have changed
}

func (w *writer) exec(query string, args ...any) (int64, error) {
	r, err := w.tx.ExecContext(w.ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (w *writer) run(what, query string, args ...any) error {
	if _, err := w.exec(query, args...); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (w *writer) setMeta(key, value string) error {
	return w.run("meta "+key, `INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE meta.value <> excluded.value`, key, value)
}

// clock keeps policy time from going back over a restart. A step that writes only coverage leaves it, as does an
// inventory in which nothing changed: the coverage carries the time.
func (w *writer) clock() error {
	only := w.c
	only.Coverage, only.Inventory, only.Anchor = nil, nil, nil
	if only.Empty() && !w.altered {
		return nil
	}
	return w.run("clock", `INSERT INTO meta (key, value) VALUES ('clock', $1) ON CONFLICT (key) DO UPDATE SET value = excluded.value
		WHERE CAST(meta.value AS BIGINT) < CAST(excluded.value AS BIGINT)`, strconv.FormatInt(w.c.At, 10))
}

func (w *writer) coverage() error {
	for _, c := range w.c.Coverage {
		if err := w.addCoverage(probe.KindSweep, c); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) addCoverage(kind string, c probe.Coverage) error {
	return w.run("coverage", `INSERT INTO coverage (kind, cloud, vantage, purpose, cycle, began, ended, took, real_at, complete, sent, answered, open, note)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		kind, c.Cloud, c.Vantage, string(c.Purpose), c.Cycle, c.Began, c.Ended, c.Took, c.RealAt, bit(c.Complete), c.Sent, c.Answered, c.Open, clean(c.Note))
}

func (w *writer) facts() error {
	for _, f := range w.c.Facts {
		body, err := json.Marshal(f)
		if err != nil {
			return fmt.Errorf("facts: %w", err)
		}
		if err := w.run("facts", `INSERT INTO fact (hash, body) VALUES ($1, $2) ON CONFLICT DO NOTHING`, f.Hash(), string(body)); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) exposures() error {
	for _, e := range w.c.Exposures {
		err := w.run("exposure "+e.Endpoint.String(), `INSERT INTO exposure (id, vantage, addr, proto, port, opened_at, closed_at, fact, config) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
			ON CONFLICT (id) DO UPDATE SET closed_at = excluded.closed_at`,
			e.ID, e.Vantage, e.Endpoint.Addr.AsSlice(), string(e.Endpoint.Proto), int(e.Endpoint.Port), e.OpenedAt, e.ClosedAt, e.Facts, e.Config)
		if err != nil {
			return err
		}
	}
	return nil
}

// versioned writes a row that is read, changed and written back: insert at version 1, else only over the version
// before.
func (w *writer) versioned(what, id string, version int, insert, update string, args ...any) error {
	if version == 1 {
		return w.run(what+" "+id, insert, args...)
	}
	n, err := w.exec(update, args...)
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, id, err)
	}
	if n != 1 {
		return fault.New(fault.Conflict, "%s %s was changed by somebody else meanwhile", what, id)
	}
	return nil
}

func (w *writer) findings() error {
	for _, f := range w.c.Findings {
		f.Version++
		body, err := json.Marshal(f)
		if err != nil {
			return fmt.Errorf("finding %s: %w", f.ID, err)
		}
		err = w.versioned("finding", f.ID, f.Version,
			`INSERT INTO finding (id, key, kase, project, server, state, version, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			`UPDATE finding SET key = $2, kase = $3, project = $4, server = $5, state = $6, version = $7, body = $8 WHERE id = $1 AND version = $7 - 1`,
			f.ID, f.Key.String(), f.Case, string(f.Project), string(f.Key.Server), string(f.State), f.Version, string(body))
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) sightings() error {
	for _, s := range w.c.Sightings {
		err := w.run("sighting", `INSERT INTO sighting (finding, at, real_at, verdict, vantage, fact, binding) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			s.Finding, s.At, s.RealAt, string(s.Verdict), s.Vantage, s.Facts, s.Binding)
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) charges() error {
	for _, c := range w.c.Charges {
		body, err := json.Marshal(c)
		if err != nil {
			return fmt.Errorf("charge of finding %s: %w", c.Finding, err)
		}
		if err := w.run("charge", `INSERT INTO charge (finding, at, body) VALUES ($1, $2, $3)`, c.Finding, c.At, string(body)); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) models() error {
	for _, m := range w.c.Models {
		err := w.run("model "+m.ID, `INSERT INTO model (id, version, hash, since, body) VALUES ($1, $2, $3, $4, $5)`, m.ID, m.Version, m.Hash, m.Since, m.Text)
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) cases() error {
	for _, c := range w.c.Cases {
		c.Version++
		body, err := json.Marshal(c)
		if err != nil {
			return fmt.Errorf("case %s: %w", c.ID, err)
		}
		err = w.versioned("case", c.ID, c.Version,
			`INSERT INTO kase (id, cloud, server, project, party, track, state, act, version, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			`UPDATE kase SET cloud = $2, server = $3, project = $4, party = $5, track = $6, state = $7, act = $8, version = $9, body = $10 WHERE id = $1 AND version = $9 - 1`,
			c.ID, c.Cloud, string(c.Server), string(c.Project), string(c.Party), string(c.Track), string(c.State), c.Act, c.Version, string(body))
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) acts() error {
	for _, a := range w.c.Acts {
		a.Version++
		body, err := json.Marshal(a)
		if err != nil {
			return fmt.Errorf("act %s: %w", a.ID, err)
		}
		err = w.versioned("act", a.ID, a.Version,
			`INSERT INTO act (id, kase, cloud, server, project, kind, state, intended_at, version, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			`UPDATE act SET kase = $2, cloud = $3, server = $4, project = $5, kind = $6, state = $7, intended_at = $8, version = $9, body = $10 WHERE id = $1 AND version = $9 - 1`,
			a.ID, a.Case, a.Cloud, string(a.Server), string(a.Project), string(a.Kind), string(a.State), a.IntendedAt, a.Version, string(body))
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) timers() error {
	for _, t := range w.c.Disarm {
		if err := w.run("timer", `DELETE FROM timer WHERE kase = $1 AND name = $2`, t.Case, string(t.Timer)); err != nil {
			return err
		}
	}
	for _, t := range w.c.Arm {
		err := w.run("timer", `INSERT INTO timer (kase, name, at) VALUES ($1, $2, $3) ON CONFLICT (kase, name) DO UPDATE SET at = excluded.at`, t.Case, string(t.Timer), t.At)
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) mails() error {
	for _, m := range w.c.Mails {
		body, err := json.Marshal(m)
		if err != nil {
			return fmt.Errorf("mail %s: %w", m.MessageID, err)
		}
		err = w.run("mail "+m.MessageID, `INSERT INTO mail (id, message_id, kase, status, next_at, body) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (message_id) DO UPDATE SET status = excluded.status, next_at = excluded.next_at, body = excluded.body
			WHERE mail.id = excluded.id AND mail.status = 'pending'`,
			m.ID, m.MessageID, m.Case, string(m.Status), m.NextAt, string(body))
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) pause() error {
	if w.c.Anew {
		if err := w.setMeta("proofs_from", strconv.FormatInt(w.c.At, 10)); err != nil {
			return err
		}
	}
	if w.c.Pause == nil {
		return nil
	}
	return w.setMeta("paused", strconv.FormatBool(*w.c.Pause))
}

func (w *writer) mode() error {
	for key, m := range map[string]policy.Mode{"mode": w.c.Mode, "mode_applied": w.c.Applied} {
		if m == "" {
			continue
		}
		if err := w.setMeta(key, string(m)); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) anchor() error {
	if w.c.Anchor == nil {
		return nil
	}
	body, err := json.Marshal(w.c.Anchor)
	if err != nil {
		return fmt.Errorf("clock: %w", err)
	}
	return w.setMeta("anchor", string(body))
}

// clean makes text from outside, such as the reason a peer gave, what every engine stores alike.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Clock is the policy time of the latest step, 0 in a new database.
func (d *DB) Clock(ctx context.Context) (int64, error) {
	var at int64
	err := d.read.QueryRowContext(ctx, `SELECT COALESCE(max(at), 0) FROM (SELECT CAST(value AS BIGINT) AS at FROM meta WHERE key = 'clock'
		UNION ALL SELECT max(ended) FROM coverage) AS known`).Scan(&at)
	return at, err
}

// Anchor is where the clock of the line stood when it was last written, nil in a database that no clock ran on.
func (d *DB) Anchor(ctx context.Context) (*casework.Anchor, error) {
	var body string
	err := d.read.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'anchor'`).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // no clock ran yet, which is no error
	}
	if err != nil {
		return nil, err
	}
	a, err := decode[casework.Anchor]("the clock", body)
	return &a, err
}

// ProofsFrom is the policy time from which on looks prove anything, 0 in a ledger that was never restored.
func (d *DB) ProofsFrom(ctx context.Context) (int64, error) {
	var v string
	err := d.read.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'proofs_from'`).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(v, 10, 64)
}

// Mode returns the mode that the operators chose, and whether the database holds one. Without one, and with a value that is not a
// mode, it is Observe.
func (d *DB) Mode(ctx context.Context) (m policy.Mode, chosen bool, err error) {
	return d.modeOf(ctx, "mode")
}

// AppliedMode returns the mode that the pipeline worked in last: Observe in a new database.
func (d *DB) AppliedMode(ctx context.Context) (policy.Mode, error) {
	m, _, err := d.modeOf(ctx, "mode_applied")
	return m, err
}

func (d *DB) modeOf(ctx context.Context, key string) (policy.Mode, bool, error) {
	return modeIn(ctx, d.read, key)
}

func modeIn(ctx context.Context, q querier, key string) (policy.Mode, bool, error) {
	var v string
	err := q.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = $1`, key).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return policy.Observe, false, nil
	}
	m := policy.Mode(v)
	return m.Known(), err == nil && m == m.Known(), err
}

// Paused tells whether the kill switch is on, in the database or in the switch that UseSwitch named. A value that is not known counts as
// on.
func (d *DB) Paused(ctx context.Context) (bool, error) {
	if err := d.samePlace(); err != nil {
		return false, err
	}
	why, err := d.pausedBy(ctx, d.read)
	return why != "", err
}

// pausedBy tells what pauses enforcement; "" when nothing does. Only the value "false", or no value, means that it runs.
func (d *DB) pausedBy(ctx context.Context, q querier) (string, error) {
	if d.outside != nil {
		if thrown, why := d.outside.Thrown(); thrown {
			return why, nil
		}
	}
	why, err := pausedInLedger(ctx, q)
	return why, d.engine.fault(err)
}

func pausedInLedger(ctx context.Context, q querier) (string, error) {
	var v string
	err := q.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'paused'`).Scan(&v)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", nil
	case err != nil:
		return "", err
	case v == "false":
		return "", nil
	case v == "true":
		return "the kill switch is on in the database", nil
	}
	return fmt.Sprintf("the kill switch in the database has the unknown value %.20q", v), nil
}

// PausedInLedger tells whether the database itself says that enforcement is paused, whatever a switch beside it says.
func (d *DB) PausedInLedger(ctx context.Context) (bool, error) {
	why, err := pausedInLedger(ctx, d.read)
	return why != "", d.engine.fault(err)
}

// decode reads a JSON body.
func decode[T any](what, body string) (T, error) {
	var v T
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		return v, fmt.Errorf("reading %s: %w", what, err)
	}
	return v, nil
}
