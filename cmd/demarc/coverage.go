package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"demarc/internal/fault"
	"demarc/internal/probe"
	"demarc/internal/store"
)

func coverageCommand() *cobra.Command {
	var r reading
	limit := 50
	c := &cobra.Command{
		Use: "coverage", Short: "What was looked at, when, and how much of it answered",
		Example: "  demarc coverage --db demarc.db\n  demarc coverage --limit 500 --output csv",
		Args:    checkArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if limit < 1 {
				return fault.New(fault.Usage, "--limit is at least 1")
			}
			return r.with(c.Context(), func(db *store.DB) error { return listCoverage(c, &r, db, limit) })
		},
	}
	r.flags(c)
	c.Flags().IntVar(&limit, "limit", limit, "how many of the latest records")
	return c
}

type coverageRow struct {
	Kind     string        `json:"kind"`
	Cloud    string        `json:"cloud"`
	Vantage  string        `json:"vantage,omitempty"`
	Purpose  probe.Purpose `json:"purpose,omitempty"`
	Cycle    int64         `json:"cycle,omitempty"`
	Began    moment        `json:"began"`
	Ended    moment        `json:"ended"`
	Complete bool          `json:"complete"`
	Sent     int           `json:"sent"`
	Answered int           `json:"answered"`
	Open     int           `json:"open"`
	Note     string        `json:"note,omitempty"`
}

func listCoverage(c *cobra.Command, r *reading, db *store.DB, limit int) error {
	cs, err := db.Coverages(c.Context(), limit)
	if err != nil {
		return err
	}
	var rows []coverageRow
	for _, v := range cs {
		rows = append(rows, coverageRow{v.Shard, v.Cloud, v.Vantage, v.Purpose, v.Cycle, moment(v.Began), moment(v.Ended), v.Complete, v.Sent, v.Answered, v.Open, v.Note})
	}
	return list(c, r, "Nothing was looked at yet.", rows,
		col("ended", func(v coverageRow) string { return r.when(v.Ended) }),
		col("kind", func(v coverageRow) string { return v.Kind }),
		col("cloud", func(v coverageRow) string { return v.Cloud }),
		col("vantage", func(v coverageRow) string { return v.Vantage }),
		col("purpose", func(v coverageRow) string { return string(v.Purpose) }),
		col("complete", func(v coverageRow) string { return yes(v.Complete) }),
		col("sent", func(v coverageRow) string { return strconv.Itoa(v.Sent) }),
		col("answered", func(v coverageRow) string { return strconv.Itoa(v.Answered) }),
		col("open", func(v coverageRow) string { return strconv.Itoa(v.Open) }),
		col("note", func(v coverageRow) string { return v.Note }))
}
