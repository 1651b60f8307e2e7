package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"demarc/internal/casework"
	"demarc/internal/probe"
)

// reached begins the keys of meta that hold what a vantage point could reach when its queue was last worked out.
const reached = "reach:"

// rowsAtOnce is how many rows of the queue one statement writes or deletes: a tenant may open a thousand runs at once.
const rowsAtOnce = 200

func (w *writer) queue() error {
	for asked := range slices.Chunk(w.c.Asked, rowsAtOnce) {
		var one []string
		var args []any
		for _, a := range asked {
			n := len(args)
			one = append(one, fmt.Sprintf("vantage = $%d AND addr = $%d AND proto = $%d AND first = $%d AND last = $%d", n+1, n+2, n+3, n+4, n+5))
			args = append(args, a.Vantage, a.Addr.AsSlice(), string(a.Proto), int(a.First), int(a.Last))
		}
		if err := w.run("queue", `DELETE FROM queue WHERE `+strings.Join(one, " OR "), args...); err != nil {
			return err
		}
	}
	for asks := range slices.Chunk(once(w.c.Queue), rowsAtOnce) {
		var rows []string
		var args []any
		for _, a := range asks {
			n := len(args)
			rows = append(rows, fmt.Sprintf("($%d, $%d, $%d, $%d, $%d, $%d, $%d)", n+1, n+2, n+3, n+4, n+5, n+6, n+7))
			args = append(args, a.Vantage, string(a.Project), a.Addr.AsSlice(), string(a.Proto), int(a.First), int(a.Last), a.At)
		}
		err := w.run("queue", `INSERT INTO queue (vantage, project, addr, proto, first, last, at) VALUES `+strings.Join(rows, ", ")+`
			ON CONFLICT (vantage, addr, proto, first, last) DO UPDATE SET project = excluded.project`, args...)
		if err != nil {
			return err
		}
	}
	for vantage, digest := range w.c.Reached {
		if err := w.setMeta(reached+vantage, digest); err != nil {
			return err
		}
	}
	return nil
}

// once leaves out what is said twice: no statement may write one row twice.
func once(asks []casework.Ask) []casework.Ask {
	seen := map[casework.Ask]bool{}
	return slices.DeleteFunc(slices.Clone(asks), func(a casework.Ask) bool {
		a.Project, a.At = "", 0
		twice := seen[a]
		seen[a] = true
		return twice
	})
}

// Queue lists what waits to be probed from a vantage point, at most limit runs: the oldest of each project, then the second of each, and
// so on.
func (d *DB) Queue(ctx context.Context, vantage string, limit int) ([]casework.Ask, error) {
	var out []casework.Ask
	err := each(ctx, d.read, func(r *sql.Rows) error {
		a := casework.Ask{Vantage: vantage}
		var addr []byte
		if err := r.Scan(&a.Project, &addr, &a.Proto, &a.First, &a.Last, &a.At); err != nil {
			return err
		}
		a.Addr, _ = netip.AddrFromSlice(addr)
		out = append(out, a)
		return nil
	}, `SELECT project, addr, proto, first, last, at FROM (
			SELECT project, addr, proto, first, last, at, ROW_NUMBER() OVER (PARTITION BY project ORDER BY at, addr, proto, first, last) AS turn FROM queue WHERE vantage = $1
		) AS waiting ORDER BY turn, at, addr, proto, first, last LIMIT $2`, vantage, limit)
	if err != nil {
		return nil, fmt.Errorf("reading what waits to be probed: %w", err)
	}
	return out, nil
}

// Reached is the digest of what a vantage point could reach when its queue was last worked out; "" when that never was.
func (d *DB) Reached(ctx context.Context, vantage string) (string, error) {
	var v string
	err := d.read.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = $1`, reached+vantage).Scan(&v)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("reading what vantage %s could reach: %w", vantage, err)
	}
	return v, nil
}

// blocks begins the keys of meta that hold since when a vantage point probes each netblock.
const blocks = "blocks:"

func (w *writer) blocks() error {
	for vantage, since := range w.c.Blocks {
		body, err := json.Marshal(since)
		if err != nil {
			return fmt.Errorf("netblocks: %w", err)
		}
		if err := w.setMeta(blocks+vantage, string(body)); err != nil {
			return err
		}
	}
	return nil
}

// walk begins the keys of meta that hold since when a vantage point probes each wide run of ports part by part.
const walk = "walk:"

func (w *writer) walks() error {
	for vantage, v := range w.c.Walks {
		body, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("wide runs of ports: %w", err)
		}
		if err := w.setMeta(walk+vantage, string(body)); err != nil {
			return err
		}
	}
	return nil
}

// Walk is since when a vantage point probes each wide run of ports part by part, as of its last sweep.
func (d *DB) Walk(ctx context.Context, vantage string) (probe.Walk, error) {
	var body string
	err := d.read.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = $1`, walk+vantage).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return probe.Walk{Since: map[string]int64{}}, nil
	}
	if err != nil {
		return probe.Walk{}, fmt.Errorf("reading the wide runs of ports of vantage %s: %w", vantage, err)
	}
	return decode[probe.Walk]("the wide runs of ports of a vantage point", body)
}

// Rounds lists the numbers of the latest complete sweeps of one purpose from a vantage point, the latest first.
func (d *DB) Rounds(ctx context.Context, cloud, vantage string, purpose probe.Purpose, limit int) ([]int64, error) {
	cs, err := d.coverages(ctx, `WHERE kind = $1 AND cloud = $2 AND vantage = $3 AND purpose = $4 AND complete = 1 ORDER BY id DESC LIMIT $5`,
		probe.KindSweep, cloud, vantage, string(purpose), limit)
	out := make([]int64, len(cs))
	for i, c := range cs {
		out[i] = c.Cycle
	}
	return out, err
}

// Blocks is since when a vantage point probes each netblock (policy time, µs), as of its last sweep.
func (d *DB) Blocks(ctx context.Context, vantage string) (map[netip.Prefix]int64, error) {
	var body string
	err := d.read.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = $1`, blocks+vantage).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return map[netip.Prefix]int64{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the netblocks of vantage %s: %w", vantage, err)
	}
	return decode[map[netip.Prefix]int64]("the netblocks of a vantage point", body)
}
