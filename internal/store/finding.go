package store

import (
	"context"
	"database/sql"
	"fmt"

	"demarc/internal/access"
	"demarc/internal/finding"
)

// Finding finds one finding within the reader's scope.
func (d *DB) Finding(ctx context.Context, s access.Scope, id string) (finding.Finding, error) {
	w := &where{}
	w.add("id = ?", id)
	w.scope(s, "project")
	fs, err := d.findings(ctx, w)
	if err != nil {
		return finding.Finding{}, err
	}
	if len(fs) == 0 {
		return finding.Finding{}, notFound("finding", id)
	}
	return fs[0], nil
}

// Findings lists findings within the reader's scope, oldest first.
func (d *DB) Findings(ctx context.Context, s access.Scope, f finding.Filter) ([]finding.Finding, error) {
	w := &where{}
	w.scope(s, "project")
	if f.Case != "" {
		w.add("kase = ?", f.Case)
	}
	if f.Server != "" {
		w.add("server = ?", string(f.Server))
	}
	if len(f.States) > 0 {
		w.in("state", stringsOf(f.States))
	}
	return d.findings(ctx, w)
}

// FindingByKey finds the finding of a key; ok is false when there never was one.
func (d *DB) FindingByKey(ctx context.Context, k finding.Key) (f finding.Finding, ok bool, err error) {
	w := &where{}
	w.add("key = ?", k.String())
	fs, err := d.findings(ctx, w)
	if err != nil || len(fs) == 0 {
		return finding.Finding{}, false, err
	}
	return fs[0], true, nil
}

func (d *DB) findings(ctx context.Context, w *where) ([]finding.Finding, error) {
	var out []finding.Finding
	err := each(ctx, d.read, func(r *sql.Rows) error {
		var body string
		if err := r.Scan(&body); err != nil {
			return err
		}
		f, err := decode[finding.Finding]("a finding", body)
		out = append(out, f)
		return err
	}, `SELECT body FROM finding`+w.String()+` ORDER BY id`, w.args...)
	if err != nil {
		return nil, fmt.Errorf("listing findings: %w", err)
	}
	return out, nil
}

// Sightings lists the looks at a finding in the order of their times.
func (d *DB) Sightings(ctx context.Context, id string) ([]finding.Sighting, error) {
	var out []finding.Sighting
	err := each(ctx, d.read, func(r *sql.Rows) error {
		var s finding.Sighting
		if err := r.Scan(&s.Finding, &s.At, &s.RealAt, &s.Verdict, &s.Vantage, &s.Facts, &s.Binding); err != nil {
			return err
		}
		out = append(out, s)
		return nil
	}, `SELECT finding, at, real_at, verdict, vantage, fact, binding FROM sighting WHERE finding = $1 ORDER BY at, id`, id)
	if err != nil {
		return nil, fmt.Errorf("listing sightings of %s: %w", id, err)
	}
	return out, nil
}

// Charges lists who had to act on a finding, within the reader's scope, in the order of their times.
func (d *DB) Charges(ctx context.Context, s access.Scope, id string) ([]finding.Charge, error) {
	if _, err := d.Finding(ctx, s, id); err != nil {
		return nil, err
	}
	var out []finding.Charge
	err := each(ctx, d.read, func(r *sql.Rows) error {
		var body string
		if err := r.Scan(&body); err != nil {
			return err
		}
		c, err := decode[finding.Charge]("a charge", body)
		out = append(out, c)
		return err
	}, `SELECT body FROM charge WHERE finding = $1 ORDER BY at, id`, id)
	if err != nil {
		return nil, fmt.Errorf("listing charges of %s: %w", id, err)
	}
	return out, nil
}
