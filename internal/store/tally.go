package store

import (
	"context"
	"fmt"

	"demarc/internal/access"
	"demarc/internal/casework"
	"demarc/internal/probe"
)

// Tally counts what went through the line, within the reader's scope.
func (d *DB) Tally(ctx context.Context, s access.Scope) (casework.Tally, error) {
	var t casework.Tally
	for _, q := range []struct {
		scoped string // the column that tells the project; empty: everybody's
		to     []any
		query  string
	}{
		{"project", []any{&t.Machines}, `SELECT count(DISTINCT CASE WHEN valid_to = 0 AND server <> '' THEN server END) FROM binding`},
		{"", []any{&t.Readings, &t.Sweeps, &t.Sent, &t.Answered}, `SELECT count(CASE WHEN kind = '` + probe.KindInventory + `' THEN 1 END), count(CASE WHEN kind = '` + probe.KindSweep + `' THEN 1 END),
			CAST(COALESCE(sum(CASE WHEN kind = '` + probe.KindSweep + `' THEN sent END), 0) AS BIGINT), CAST(COALESCE(sum(CASE WHEN kind = '` + probe.KindSweep + `' THEN answered END), 0) AS BIGINT) FROM coverage`},
		{"finding.project", []any{&t.Findings, &t.Customer, &t.Provider}, `SELECT count(*), count(CASE WHEN kase.party = 'customer' THEN 1 END), count(CASE WHEN kase.party <> 'customer' THEN 1 END)
			FROM finding LEFT JOIN kase ON kase.id = finding.kase`},
		{"project", []any{&t.Cases, &t.Live}, `SELECT count(*), count(CASE WHEN state NOT IN ('closed', 'moot') THEN 1 END) FROM kase`},
		{"kase.project", []any{&t.Mails, &t.Waiting}, `SELECT count(CASE WHEN mail.status = 'accepted' THEN 1 END), count(CASE WHEN mail.status = 'pending' THEN 1 END)
			FROM mail LEFT JOIN kase ON kase.id = mail.kase`},
		{"finding.project", []any{&t.Looks}, `SELECT count(*) FROM sighting JOIN finding ON finding.id = sighting.finding`},
		{"project", []any{&t.Taken, &t.Returned}, `SELECT count(CASE WHEN kind = 'quarantine' AND state = 'done' THEN 1 END), count(CASE WHEN kind = 'restore' AND state = 'done' THEN 1 END) FROM act`},
	} {
		w := &where{}
		if q.scoped != "" {
			w.scope(s, q.scoped)
		}
		if err := d.read.QueryRowContext(ctx, q.query+w.String(), w.args...).Scan(q.to...); err != nil {
			return t, fmt.Errorf("counting: %w", err)
		}
	}
	return t, nil
}
