package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/casework"
)

func (w *writer) standings() error {
	for _, s := range w.c.Standings {
		body, err := json.Marshal(s)
		if err != nil {
			return fmt.Errorf("standing: %w", err)
		}
		err = w.run("standing", `INSERT INTO standing (cloud, vantage, project, at, body) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (cloud, vantage, project, at) DO UPDATE SET body = excluded.body`,
			s.Cloud, s.Vantage, string(s.Project), s.At, string(body))
		if err != nil {
			return err
		}
	}
	return nil
}

// Standings lists the counts of projects from one time on, oldest first; of each project and vantage point also the last one before
// that time, which still stood then. Counts of projects outside the reader's scope are left out.
func (d *DB) Standings(ctx context.Context, s access.Scope, cloud string, project asset.ProjectID, since int64) ([]casework.Standing, error) {
	w := &where{}
	if cloud != "" {
		w.add("cloud = ?", cloud)
	}
	if project != "" {
		w.add("project = ?", string(project))
	}
	w.add("(at >= ? OR at = (SELECT MAX(o.at) FROM standing o WHERE o.cloud = standing.cloud AND o.vantage = standing.vantage AND o.project = standing.project AND o.at < ?))", since, since)
	w.scope(s, "project")
	return d.standings(ctx, `SELECT body FROM standing`+w.String()+` ORDER BY at, cloud, vantage, project`, w.args...)
}

// lastStandings steps from project to project by the key of the table, and from each to its last row: the counts of years cost what
// those of a day do.
const lastStandings = `WITH RECURSIVE each_project(id) AS (
		SELECT MIN(project) FROM standing WHERE cloud = $1 AND vantage = $2
		UNION ALL
		SELECT (SELECT MIN(s.project) FROM standing s WHERE s.cloud = $1 AND s.vantage = $2 AND s.project > each_project.id) FROM each_project WHERE each_project.id IS NOT NULL
	)
	SELECT (SELECT s.body FROM standing s WHERE s.cloud = $1 AND s.vantage = $2 AND s.project = each_project.id ORDER BY s.at DESC LIMIT 1)
	FROM each_project WHERE each_project.id IS NOT NULL ORDER BY each_project.id`

// LastStandings lists the last counts of each project of a cloud from one vantage point, by project.
func (d *DB) LastStandings(ctx context.Context, cloud, vantage string) ([]casework.Standing, error) {
	return d.standings(ctx, lastStandings, cloud, vantage)
}

// standings reads the counts that a query gives.
func (d *DB) standings(ctx context.Context, query string, args ...any) ([]casework.Standing, error) {
	var out []casework.Standing
	err := each(ctx, d.read, func(r *sql.Rows) error {
		var body string
		if err := r.Scan(&body); err != nil {
			return err
		}
		v, err := decode[casework.Standing]("a standing", body)
		out = append(out, v)
		return err
	}, query, args...)
	if err != nil {
		return nil, fmt.Errorf("reading standings: %w", err)
	}
	return out, nil
}
