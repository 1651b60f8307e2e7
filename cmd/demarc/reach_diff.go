package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"demarc/internal/asset"
	"demarc/internal/fault"
	"demarc/internal/reach"
	"demarc/internal/serve"
	"demarc/internal/untrusted"
)

func reachDiffCommand(r *reading) *cobra.Command {
	var f reachFlags
	c := &cobra.Command{
		Use: "diff OLD NEW", Short: "What would open, and what would close",
		Long: `What the cloud's rules would open and close if the cloud were as one file of demarc inventory export says, and is as
another says. No packet is sent, and no database is needed: for instance in a pipeline, before a change is made.

Endpoints are compared, with whom they are open to. A rule that is replaced by two that let the same through opens nothing;
one that lets more of the zone in does. What is open to our scanner alone is shown, and is no opening. "when_on" is of a
machine that is off.

Exit status: 0 nothing opens, 1 something does, 2 usage, 3 the new file does not say what all is in the cloud,
or what would open is at addresses that lie in no declared netblock of the configuration.`,
		Example: `  demarc reach diff before.jsonl after.jsonl --config demarc.yaml
  demarc reach diff before.jsonl after.jsonl --zone internet --source 198.51.100.10 --output json`,
		Args: checkArgs(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, args []string) error { return reachDiff(c, r, f, args[0], args[1]) },
	}
	f.looking(c)
	return c
}

// changed is one change as a vantage sees it.
type changed struct {
	Vantage string         `json:"vantage"`
	Name    untrusted.Text `json:"server_name,omitzero"`
	reach.Change
}

func reachDiff(c *cobra.Command, r *reading, f reachFlags, before, after string) error {
	if err := r.noDatabase(); err != nil {
		return err
	}
	if before == "-" && after == "-" {
		return fault.New(fault.Usage, "both files can not be the standard input")
	}
	views, err := f.views(r)
	if err != nil {
		return err
	}
	var xs [2]*asset.Index
	for i, name := range []string{before, after} {
		s, _, err := readInventory(c, name)
		if err != nil {
			return err
		}
		xs[i] = asset.NewIndex(s)
	}
	left := opensOutside(xs, views)
	rows := changedBy(xs, views)
	if err := list(c, r, "Nothing opens and nothing closes to "+strings.Join(viewNames(views), ", ")+".", rows, reachChangeColumns()...); err != nil {
		return err
	}
	opens := 0
	for _, row := range rows {
		if row.What == reach.Opens && row.For == reach.ForZone {
			opens++
		}
	}
	if opens > 0 || !xs[1].Snapshot.Complete() { // else it is what the command ends with
		left.warn(c)
	}
	switch {
	case opens == 1:
		return fault.New(fault.Violation, "this would open something")
	case opens > 0:
		return fault.New(fault.Violation, "this would open %d runs of ports", opens)
	case !xs[1].Snapshot.Complete():
		return incomplete(xs[1].Snapshot)
	}
	return left.err()
}

func changedBy(xs [2]*asset.Index, views []serve.Viewpoint) []changed {
	var rows []changed
	for _, v := range views {
		for _, change := range reach.Diff(reach.Compute(xs[0], v.View), reach.Compute(xs[1], v.View)) {
			row := changed{Vantage: v.Name, Change: change}
			x := xs[1]
			if change.What == reach.Closes {
				x = xs[0]
			}
			if s := x.Servers[change.Server]; s != nil {
				row.Name = s.Name
			}
			rows = append(rows, row)
		}
	}
	return rows
}

func reachChangeColumns() []column[changed] {
	all := func(c changed, say func(reach.Opening) string) string {
		var out []string
		for _, o := range c.By {
			if w := say(o); w != "" && !slices.Contains(out, w) {
				out = append(out, w)
			}
		}
		return strings.Join(out, ", ")
	}
	as := func(c changed) reach.Opening {
		return reach.Opening{Server: c.Server, Port: c.Port, Addr: c.Addr, Prefix: c.Prefix, Proto: c.Proto, First: c.First, Last: c.Last}
	}
	return []column[changed]{
		col("what", func(c changed) string { return c.What }),
		col("for", func(c changed) string { return c.For }),
		col("vantage", func(c changed) string { return c.Vantage }),
		{"server", func(c changed) untrusted.Text { return named(c.Name, holderOf(as(c))) }},
		col("address", func(c changed) string { return where(as(c)) }),
		col("proto", func(c changed) string { return string(c.Proto) }),
		col("ports", func(c changed) string { return ports(as(c)) }),
		col("state", func(c changed) string { return c.State }),
		col("from", func(c changed) string { return all(c, func(o reach.Opening) string { return o.Remote }) }),
		col("rule", func(c changed) string { return all(c, func(o reach.Opening) string { return string(o.Rule) }) }),
		col("why", func(c changed) string { return because(c.By[0]) }),
	}
}
