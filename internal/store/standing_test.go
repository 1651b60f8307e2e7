package store

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
)

// The last counts are found by the key of the table: no step of the query goes through its rows.
func TestTheLastStandingsAreLookedUp(t *testing.T) {
	d, err := Open(t.Context(), filepath.Join(t.TempDir(), "d.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close() //nolint:errcheck // the test is over
	steps := 0
	err = each(t.Context(), d.read, func(r *sql.Rows) error {
		var id, parent, unused int
		var plan string
		err := r.Scan(&id, &parent, &unused, &plan)
		if strings.Contains(plan, "standing") || strings.Contains(plan, " s ") {
			steps++
			if !strings.HasPrefix(plan, "SEARCH ") || !strings.Contains(plan, "(cloud=? AND vantage=?") {
				t.Errorf("a step is %q", plan)
			}
			if strings.HasPrefix(plan, "SEARCH standing") != (steps == 1) || steps > 1 && !strings.Contains(plan, "AND project") {
				t.Errorf("step %d is %q", steps, plan)
			}
		}
		return err
	}, "EXPLAIN QUERY PLAN "+lastStandings, "c", "v")
	if err != nil || steps != 3 {
		t.Errorf("%d steps, %v", steps, err)
	}
}
