package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"demarc/internal/access"
	"demarc/internal/casework"
)

// Case finds one case within the reader's scope.
func (d *DB) Case(ctx context.Context, s access.Scope, id string) (casework.Case, error) {
	w := &where{}
	w.add("id = ?", id)
	w.scope(s, "project")
	cs, err := d.cases(ctx, w)
	if err != nil {
		return casework.Case{}, err
	}
	if len(cs) == 0 {
		return casework.Case{}, notFound("case", id)
	}
	return forReader(s, cs)[0], nil
}

// forReader leaves out of cases what only operators may read.
func forReader(s access.Scope, cs []casework.Case) []casework.Case {
	if s.All() {
		return cs
	}
	for i := range cs {
		cs[i] = cs[i].ForOwners()
	}
	return cs
}

// Cases lists cases within the reader's scope, oldest first.
func (d *DB) Cases(ctx context.Context, s access.Scope, f casework.Filter) ([]casework.Case, error) {
	w := &where{}
	w.scope(s, "project")
	if f.Server != "" {
		w.add("server = ?", string(f.Server))
	}
	if f.Project != "" {
		w.add("project = ?", string(f.Project))
	}
	if f.Live {
		w.conds = append(w.conds, "state NOT IN ('closed', 'moot')")
	}
	if f.States != nil {
		names := make([]string, len(f.States))
		for i, x := range f.States {
			names[i] = string(x)
		}
		w.in("state", names)
	}
	if f.After != "" {
		w.add("id > ?", f.After)
	}
	cs, err := d.casesUpTo(ctx, w, f.Limit)
	return forReader(s, cs), err
}

// OpenCase finds the case of a key that is not over; ok is false when there is none.
func (d *DB) OpenCase(ctx context.Context, k casework.Key) (c casework.Case, ok bool, err error) {
	w := &where{}
	w.add("cloud = ?", k.Cloud)
	w.add("server = ?", string(k.Server))
	w.add("party = ?", string(k.Party))
	w.add("track = ?", string(k.Track))
	if k.Server == "" {
		w.add("project = ?", string(k.Project))
	}
	w.conds = append(w.conds, "state NOT IN ('closed', 'moot')")
	cs, err := d.cases(ctx, w)
	if err != nil || len(cs) == 0 {
		return casework.Case{}, false, err
	}
	return cs[0], true, nil
}

func (d *DB) cases(ctx context.Context, w *where) ([]casework.Case, error) {
	return d.casesUpTo(ctx, w, 0)
}

// casesUpTo lists at most limit cases, all where limit is 0.
func (d *DB) casesUpTo(ctx context.Context, w *where, limit int) ([]casework.Case, error) {
	most := ""
	if limit > 0 {
		most = fmt.Sprintf(" LIMIT %d", limit)
	}
	var out []casework.Case
	err := each(ctx, d.read, func(r *sql.Rows) error {
		var body string
		if err := r.Scan(&body); err != nil {
			return err
		}
		c, err := decode[casework.Case]("a case", body)
		out = append(out, c)
		return err
	}, `SELECT body FROM kase`+w.String()+` ORDER BY id`+most, w.args...)
	if err != nil {
		return nil, fmt.Errorf("listing cases: %w", err)
	}
	return out, nil
}

// DueTimers lists the timers that have fallen due, the earliest first.
func (d *DB) DueTimers(ctx context.Context, now int64) ([]casework.Due, error) {
	return d.timers(ctx, `SELECT kase, name, at FROM timer WHERE at <= $1 ORDER BY at, kase, name`, now)
}

// Timers lists the timers of a case.
func (d *DB) Timers(ctx context.Context, id string) ([]casework.Due, error) {
	return d.timers(ctx, `SELECT kase, name, at FROM timer WHERE kase = $1 ORDER BY at, name`, id)
}

func (d *DB) timers(ctx context.Context, query string, args ...any) ([]casework.Due, error) {
	var out []casework.Due
	err := each(ctx, d.read, func(r *sql.Rows) error {
		var t casework.Due
		if err := r.Scan(&t.Case, &t.Timer, &t.At); err != nil {
			return err
		}
		out = append(out, t)
		return nil
	}, query, args...)
	if err != nil {
		return nil, fmt.Errorf("listing timers: %w", err)
	}
	return out, nil
}

// NextDue is when the next timer or mail falls due after a time; ok is false when nothing does.
func (d *DB) NextDue(ctx context.Context, after int64) (at int64, ok bool, err error) {
	var v sql.NullInt64
	err = d.read.QueryRowContext(ctx, `SELECT min(at) FROM (SELECT min(at) AS at FROM timer WHERE at > $1
		UNION ALL SELECT min(next_at) FROM mail WHERE status = 'pending' AND next_at > $1) AS waits`, after).Scan(&v)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, false, fmt.Errorf("reading what is due: %w", err)
	}
	return v.Int64, v.Valid, nil
}
