package main

import (
	"math"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/fault"
	"demarc/internal/store"
	"demarc/internal/untrusted"
)

func exposureCountsCommand(r *reading) *cobra.Command {
	var project, since, until string
	c := &cobra.Command{
		Use: "counts", Short: "How many endpoints of each project stand how, over time",
		Long: `How many endpoints of each project were open and answered, were denied and answered, and so on, from each vantage point. A row
is written when a sweep changes the numbers, and holds until the next one. Without --since these are the latest of each project;
with it, those from then on, and the last one before, which still held then.

open_silent counts runs of ports that a rule opens and in which nothing listens, as demarc exposure list has them; denied_silent is of the sweep's control sample.`,
		Example: `  demarc exposure counts --config demarc.yaml
  demarc exposure counts --db demarc.db --project astro --since 2026-05-01 --until 2026-06-01 --output csv`,
		Args: checkArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return r.with(c.Context(), func(db *store.DB) error { return countExposures(c, r, db, project, since, until) })
		},
	}
	c.Flags().StringVar(&project, "project", "", "only this project, by its id or name")
	c.Flags().StringVar(&since, "since", "", "from this time on (default: the latest of each project)")
	c.Flags().StringVar(&until, "until", "", "up to this time (default: now)")
	return c
}

// counted is what one project had from a time on, as one vantage point sees it.
type counted struct {
	casework.Standing
	At   moment         `json:"at"`
	Name untrusted.Text `json:"project_name,omitzero"`
}

func countExposures(c *cobra.Command, r *reading, db *store.DB, project, since, until string) error {
	from, err := r.parseTime(since)
	if err != nil {
		return err
	}
	to, err := r.parseTime(until)
	if err != nil {
		return err
	}
	if until == "" {
		to = math.MaxInt64
	}
	if since != "" && to < from {
		return fault.New(fault.Usage, "--until is before --since")
	}
	xs, err := indexes(c.Context(), db)
	if err != nil {
		return err
	}
	id, err := findProject(xs, project)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if err != nil { // it may be gone, and have counts all the same
		id = asset.ProjectID(project)
	}
	begin := from
	if since == "" {
		begin = to // of what was before, the last counts
	}
	known, stood := db.Standings(c.Context(), access.Operator(), "", id, int64(begin))
	if stood != nil {
		return stood
	}
	if err != nil && len(known) == 0 {
		return err
	}
	known = slices.DeleteFunc(known, func(s casework.Standing) bool { return s.At > int64(to) })
	if since == "" {
		known = latest(known)
	}
	rows := make([]counted, 0, len(known))
	names := newNaming(c.Context(), db)
	for _, s := range known {
		name, err := names.project(s.Cloud, s.Project)
		if err != nil {
			return err
		}
		rows = append(rows, counted{s, moment(s.At), name})
	}
	return list(c, r, "Nothing was counted: a sweep counts when it ends.", rows, countedColumns(r)...)
}

// latest keeps the last of each project and vantage point; the oldest come first.
func latest(all []casework.Standing) []casework.Standing {
	type key struct {
		cloud, vantage string
		project        asset.ProjectID
	}
	seen := map[key]bool{}
	var out []casework.Standing
	for _, s := range slices.Backward(all) {
		if k := (key{s.Cloud, s.Vantage, s.Project}); !seen[k] {
			seen[k] = true
			out = append(out, s)
		}
	}
	slices.Reverse(out)
	return out
}

func countedColumns(r *reading) []column[counted] {
	number := func(name string, of func(casework.Standing) int) column[counted] {
		return col(name, func(k counted) string { return strconv.Itoa(of(k.Standing)) })
	}
	return []column[counted]{
		col("since", func(k counted) string { return r.when(k.At) }),
		col("cloud", func(k counted) string { return k.Cloud }),
		col("vantage", func(k counted) string { return k.Vantage }),
		{"project", func(k counted) untrusted.Text { return named(k.Name, k.Project) }},
		number("open_answers", func(s casework.Standing) int { return s.OpenAnswers }),
		number("open_silent", func(s casework.Standing) int { return s.OpenSilent }),
		number("denied_answers", func(s casework.Standing) int { return s.DeniedAnswers }),
		number("denied_silent", func(s casework.Standing) int { return s.DeniedSilent }),
		number("scanner_only", func(s casework.Standing) int { return s.ScannerOnly }),
		number("unsure", func(s casework.Standing) int { return s.Unsure }),
	}
}
