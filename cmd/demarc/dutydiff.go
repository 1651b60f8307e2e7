package main

import (
	"fmt"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"demarc/internal/asset"
	"demarc/internal/duty"
	"demarc/internal/fault"
	"demarc/internal/serve"
	"demarc/internal/store"
)

func dutyDiffCommand(r *reading) *cobra.Command {
	var at string
	c := &cobra.Command{
		Use: "diff A B", Short: "Who gains and who loses what from one model to another, and for how many machines",
		Long: `Who gains and who loses what from one model to another. A and B are files, or the word default.

With a ledger (--db, or --config) every server in it is asked, and each line says for how many of them it holds; with
--config the configuration's own contracts and offerings stand beside those of both models. Without a ledger the
numbers are unknown, and null in JSON. Besides, every entry is told that was added, removed or changed (not in CSV).

Exit status: 0 they say the same, 1 they differ, 2 a file is wrong, 3 the ledger cannot be read.`,
		Example:           "  demarc duty diff default mine.yaml\n  demarc duty diff old.csv new.csv --db demarc.db --output json",
		Args:              checkArgs(cobra.ExactArgs(2)),
		ValidArgsFunction: modelFiles(2),
		RunE: func(c *cobra.Command, args []string) error {
			when, err := r.parseTime(at)
			if err != nil {
				return err
			}
			return diffModels(c, r, args, when)
		},
	}
	c.Flags().StringVar(&at, "at", "", "under the contracts and the inventory of this time (default: now)")
	return c
}

// modelNamed is how a model is told of.
type modelNamed struct {
	File    string `json:"file"`
	ID      string `json:"id"`
	Version int    `json:"version"`
	Hash    string `json:"hash"`
}

// diffAnswer is what two models say differently, with which they are.
type diffAnswer struct {
	A         modelNamed `json:"a"`
	B         modelNamed `json:"b"`
	At        moment     `json:"at"`
	Inventory *int       `json:"inventory"` // how many servers the ledger holds; null without one
	duty.Difference
}

func diffModels(c *cobra.Command, r *reading, args []string, when moment) error {
	d := diffAnswer{At: when}
	if when == 0 {
		d.At = moment(time.Now().UnixMicro())
	}
	var models [2]*duty.Model
	for i, path := range args {
		m, err := loadModel(path)
		if err != nil {
			return err
		}
		models[i] = m
	}
	name := func(i int) modelNamed { return modelNamed{args[i], models[i].ID, models[i].Version, models[i].Hash()} }
	d.A, d.B = name(0), name(1)
	if r.db == "" && r.config == "" && os.Getenv("DEMARC_DB") == "" {
		d.Difference = duty.Compare(models[0], models[1], int64(d.At), nil)
		return writeDiff(c, r, d)
	}
	region, err := beside(r, &models)
	if err != nil {
		return err
	}
	err = r.with(c.Context(), func(db *store.DB) error {
		var snapshots []*asset.Snapshot
		clouds, err := db.Clouds(c.Context())
		if err != nil {
			return err
		}
		n := 0
		for _, cloud := range clouds {
			s, err := db.Snapshot(c.Context(), cloud, int64(when))
			if err != nil {
				return err
			}
			snapshots = append(snapshots, s)
			n += len(s.Servers)
		}
		d.Inventory = &n
		d.Difference = duty.Compare(models[0], models[1], int64(d.At), resources(snapshots, region))
		return nil
	})
	if err != nil {
		return err
	}
	return writeDiff(c, r, d)
}

// beside puts a configuration's contracts and offerings beside the models', and gives the region of each cloud that is known.
func beside(r *reading, models *[2]*duty.Model) (region map[string]string, err error) {
	region = map[string]string{}
	if r.config == "" {
		return region, nil
	}
	conf, _, err := serve.Load(r.config)
	if err != nil {
		return nil, err
	}
	region[conf.Cloud.Name] = conf.Cloud.Region
	for i := range models {
		if models[i], err = models[i].With(conf.Contracts, conf.Offerings, func(string) fault.Position { return fault.Position{File: r.config} }); err != nil {
			return nil, err
		}
	}
	return region, nil
}

// resources are the servers of an inventory, as a model sees them.
func resources(snapshots []*asset.Snapshot, region map[string]string) iter.Seq[duty.Resource] {
	return func(yield func(duty.Resource) bool) {
		for _, s := range snapshots {
			x := asset.NewIndex(s)
			for i := range s.Servers {
				v := &s.Servers[i]
				r := duty.Resource{Cloud: s.Cloud, Region: region[s.Cloud], Project: v.Project, Server: v.ID}
				if p := x.Projects[v.Project]; p != nil {
					r.Domain, r.Tags = p.Domain, p.Tags
				}
				if !yield(r) {
					return
				}
			}
		}
	}
}

func writeDiff(c *cobra.Command, r *reading, d diffAnswer) error {
	var err error
	switch {
	case r.output == "json":
		err = writeIndented(c.OutOrStdout(), d)
	case r.output == "csv" || len(d.Changes) > 0:
		err = list(c, r, "", d.Changes, changeColumns(d.Inventory != nil)...)
	default:
		_, err = fmt.Fprintln(c.OutOrStdout(), "Nobody gains or loses anything.")
	}
	if err == nil && r.output == "table" {
		err = writeEdits(c, r, d)
	}
	if err != nil || d.None() {
		return err
	}
	return fault.New(fault.Violation, "%s and %s differ: %s, %s", d.A.File, d.B.File, countOf(len(d.Changes), "change of who holds what", "changes of who holds what"), countOf(len(d.Edits), "edit", "edits"))
}

func changeColumns(counted bool) []column[duty.Change] {
	cols := []column[duty.Change]{
		col("layer", func(n duty.Change) string { return string(n.Layer) }),
		col("aspects", func(n duty.Change) string { return aspectWords(n.Aspects) }),
		col("for", func(n duty.Change) string {
			if n.Where != "" {
				return n.Where + " (" + strings.Join(n.Kinds, ", ") + ")"
			}
			return strings.Join(n.Kinds, ", ")
		}),
		col("from", func(n duty.Change) string { return string(n.From) }),
		col("to", func(n duty.Change) string { return string(n.To) }),
		col("gains", func(n duty.Change) string { return strings.Join(n.Gains, " ") }),
		col("loses", func(n duty.Change) string { return strings.Join(n.Loses, " ") }),
		col("duties", func(n duty.Change) string { return strings.Join(n.Duties, " ") }),
	}
	if !counted {
		return cols
	}
	machines := col("machines", func(n duty.Change) string { return strconv.Itoa(*n.Resources) })
	return slices.Insert(cols, 3, machines)
}

// writeEdits tells the rest to a person: what the models are made of, and how far the numbers reach.
func writeEdits(c *cobra.Command, r *reading, d diffAnswer) error {
	out := c.OutOrStdout()
	if len(d.Edits) > 0 {
		_, _ = fmt.Fprintln(out)
		err := list(c, r, "", d.Edits, col("entry", func(e duty.Edit) string { return e.Record + " " + e.ID }), col("change", func(e duty.Edit) string { return e.What }),
			col("fields", func(e duty.Edit) string {
				var out []string
				for _, f := range e.Fields {
					out = append(out, f.Name+": "+f.From+" > "+f.To)
				}
				return strings.Join(out, "; ")
			}))
		if err != nil {
			return err
		}
	}
	if d.None() {
		return nil
	}
	note := "For how many machines is not known: name a ledger with --db or --config."
	if d.Inventory != nil {
		note = fmt.Sprintf("%d of %s in the ledger.", *d.Resources, countOf(*d.Inventory, "machine", "machines"))
	}
	_, err := fmt.Fprintf(out, "\n%s\n", note)
	return err
}
