package main

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"demarc/internal/asset"
	"demarc/internal/store"
)

func inventoryCommand() *cobra.Command {
	var r reading
	c := &cobra.Command{
		Use: "inventory", Short: "What the clouds hold, and whose it is", Example: "  demarc inventory who 192.0.2.10 --db demarc.db",
	}
	r.flags(c)
	c.AddCommand(whoCommand(&r), inventoryExportCommand(&r), inventoryImportCommand(&r), &cobra.Command{
		Use: "show", Short: "How much there is, and how well it is known", Example: "  demarc inventory show --db demarc.db",
		Args: checkArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return r.with(c.Context(), func(db *store.DB) error { return showInventory(c, &r, db) })
		},
	})
	return c
}

// holding is the summary of one cloud.
type holding struct {
	Cloud        string         `json:"cloud"`
	Counts       map[string]int `json:"counts"`
	LastReading  moment         `json:"last_reading,omitzero"`
	LastComplete moment         `json:"last_complete,omitzero"`
	Gaps         string         `json:"gaps,omitempty"` // of the last reading
}

// heldKinds orders the counts: the kinds of objects as a cloud is read, and the rules behind their groups.
func heldKinds() []string {
	out := asset.Kinds()
	return slices.Insert(out, slices.Index(out, "groups")+1, "rules")
}

func count(s *asset.Snapshot) map[string]int {
	out := s.Counts()
	out["rules"] = 0
	for _, g := range s.Groups {
		out["rules"] += len(g.Rules)
	}
	return out
}

func showInventory(c *cobra.Command, r *reading, db *store.DB) error {
	ctx := c.Context()
	clouds, err := db.Clouds(ctx)
	if err != nil {
		return err
	}
	rows := []holding{}
	for _, name := range clouds {
		s, err := db.Snapshot(ctx, name, 0)
		if err != nil {
			return err
		}
		h := holding{Cloud: name, Counts: count(s)}
		readings, err := db.ReadingsOf(ctx, name, 0)
		if err != nil {
			return err
		}
		if last := readings.Last; last.Ended != 0 {
			h.LastReading, h.Gaps = moment(last.Ended), last.Note
		}
		if whole, ok, err := db.LastComplete(ctx, name); err != nil {
			return err
		} else if ok {
			h.LastComplete = moment(whole.Ended)
		}
		rows = append(rows, h)
	}
	if r.output != "table" || len(rows) == 0 {
		return list(c, r, "No cloud was read yet.", rows, holdingColumns(r)...)
	}
	s := newSheet(c)
	for i, h := range rows {
		if i > 0 {
			s.gap()
		}
		s.row("cloud", h.Cloud)
		for _, k := range heldKinds() {
			if h.Counts[k] == 0 {
				continue
			}
			s.row(strings.ReplaceAll(k, "_", " "), strconv.Itoa(h.Counts[k]))
		}
		s.row("last reading", cmp.Or(r.when(h.LastReading), "never"))
		s.row("last complete", cmp.Or(r.when(h.LastComplete), "never: what is missing is not known to be gone"))
		s.row("gaps", cmp.Or(h.Gaps, "none"))
		if h.Gaps != "" {
			s.row("configuration", "its findings wait for a whole reading")
		}
	}
	return s.end()
}

func holdingColumns(r *reading) []column[holding] {
	cols := []column[holding]{col("cloud", func(h holding) string { return h.Cloud })}
	for _, k := range heldKinds() {
		cols = append(cols, col(k, func(h holding) string { return strconv.Itoa(h.Counts[k]) }))
	}
	return append(cols, col("last_reading", func(h holding) string { return r.when(h.LastReading) }),
		col("last_complete", func(h holding) string { return r.when(h.LastComplete) }),
		col("gaps", func(h holding) string { return h.Gaps }))
}
