package store

import (
	"context"
	"fmt"

	"demarc/internal/access"
)

// Tally counts what went through the line so far. The counts of what belongs to projects are within the reader's scope;
// how much was looked at is everybody's.
type Tally struct {
	Servers  int // running or not, now
	Readings int // of the clouds
	Sweeps   int // runs of probes
	Sent     int
	Answered int
	Findings int
	Customer int // findings charged to the customer alone
	Provider int // and to the provider, alone or with the customer
	Cases    int
	Live     int // not over
	Mails    int // accepted by the next hop
	Waiting  int
	Looks    int // at findings
	Taken    int // quarantines that were done
	Returned int // restores that were done
}

// Tally counts.
func (d *DB) Tally(ctx context.Context, s access.Scope) (Tally, error) {
	var t Tally
	ours := func(column string, w *where) string { w.scope(s, column); return w.String() }
	for _, q := range []struct {
		query string
		to    []any
		where func(*where) string
	}{
		{`SELECT count(*) FROM object`, []any{&t.Servers}, func(w *where) string {
			w.conds = append(w.conds, "kind = 'server'", "valid_to = 0")
			if !s.All() {
				return ours("(SELECT b.project FROM binding b WHERE b.cloud = object.cloud AND b.server = object.object AND b.valid_to = 0 ORDER BY b.id LIMIT 1)", w)
			}
			return w.String()
		}},
		{`SELECT count(CASE WHEN kind = 'inventory' THEN 1 END), count(CASE WHEN kind = 'sweep' THEN 1 END),
			COALESCE(sum(CASE WHEN kind = 'sweep' THEN sent END), 0), COALESCE(sum(CASE WHEN kind = 'sweep' THEN answered END), 0) FROM coverage`,
			[]any{&t.Readings, &t.Sweeps, &t.Sent, &t.Answered}, (*where).String},
		{`SELECT count(*), count(CASE WHEN kase.party = 'customer' THEN 1 END), count(CASE WHEN kase.party <> 'customer' THEN 1 END) FROM finding LEFT JOIN kase ON kase.id = finding.kase`,
			[]any{&t.Findings, &t.Customer, &t.Provider}, func(w *where) string { return ours("finding.project", w) }},
		{`SELECT count(*), count(CASE WHEN state NOT IN ('closed', 'moot') THEN 1 END) FROM kase`, []any{&t.Cases, &t.Live}, func(w *where) string { return ours("project", w) }},
		{`SELECT count(CASE WHEN mail.status = 'accepted' THEN 1 END), count(CASE WHEN mail.status = 'pending' THEN 1 END) FROM mail JOIN kase ON kase.id = mail.kase`,
			[]any{&t.Mails, &t.Waiting}, func(w *where) string { return ours("kase.project", w) }},
		{`SELECT count(*) FROM sighting JOIN finding ON finding.id = sighting.finding`, []any{&t.Looks}, func(w *where) string { return ours("finding.project", w) }},
		{`SELECT count(CASE WHEN kind = 'quarantine' AND state = 'done' THEN 1 END), count(CASE WHEN kind = 'restore' AND state = 'done' THEN 1 END) FROM act`,
			[]any{&t.Taken, &t.Returned}, func(w *where) string { return ours("project", w) }},
	} {
		w := &where{}
		if err := d.read.QueryRowContext(ctx, q.query+q.where(w), w.args...).Scan(q.to...); err != nil {
			return t, fmt.Errorf("counting: %w", err)
		}
	}
	return t, nil
}
