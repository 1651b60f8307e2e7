package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"demarc/internal/access"
	"demarc/internal/duty"
	"demarc/internal/fault"
	"demarc/internal/store"
)

func dutyCommand() *cobra.Command {
	var r reading
	c := &cobra.Command{
		Use: "duty", Short: "Who must do what, and why", Example: "  demarc duty table --service-type iaas",
	}
	r.flags(c)
	service := "iaas"
	table := &cobra.Command{
		Use: "table", Short: "The division of responsibility by service type",
		Example: "  demarc duty table --service-type iaas\n  demarc duty table --service-type paas --output json",
		Args:    checkArgs(cobra.NoArgs),
		RunE:    func(c *cobra.Command, _ []string) error { return dutyTable(c, &r, service) },
	}
	choice(table, &service, "service-type", "iaas or paas", []string{"iaas", "paas"})
	resource := duty.Resource{Service: "iaas", Architecture: "vm", Contract: "standard"}
	var layer, aspect string
	resolve := &cobra.Command{
		Use: "resolve", Short: "Who holds an aspect of a layer",
		Example: "  demarc duty resolve --layer guest-os --aspect maintain\n  demarc duty resolve --layer guest-os --aspect maintain --contract extended --output json",
		Args:    checkArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return resolveDuty(c, &r, duty.Layer(layer), duty.Aspect(aspect), resource)
		},
	}
	choice(resolve, &layer, "layer", "part of the stack, such as guest-os", words(duty.Layers))
	choice(resolve, &aspect, "aspect", "side of the layer, such as maintain", words(duty.Aspects))
	choice(resolve, &resource.Service, "service", "iaas or paas", []string{"iaas", "paas"})
	choice(resolve, &resource.Architecture, "architecture", "vm or container", []string{"vm", "container"})
	choice(resolve, &resource.Contract, "contract", "standard or extended", []string{"standard", "extended"})
	c.AddCommand(table, resolve,
		&cobra.Command{
			Use: "list", Short: "The assignments of the model", Example: "  demarc duty list\n  demarc duty list --output csv",
			Args: checkArgs(cobra.NoArgs),
			RunE: func(c *cobra.Command, _ []string) error { return listDuties(c, &r) },
		},
		&cobra.Command{
			Use: "explain FINDING", Short: "Why a finding is charged to whom it is", Example: "  demarc duty explain 0199f3a4-… --db demarc.db",
			Args: checkArgs(cobra.ExactArgs(1)),
			RunE: func(c *cobra.Command, args []string) error {
				return r.with(c.Context(), func(db *store.DB) error {
					f, err := db.Finding(c.Context(), access.Operator(), args[0])
					if err != nil {
						return hinted(err, "see demarc finding list")
					}
					return explainDuty(c, &r, f.Duty)
				})
			},
		})
	return c
}

// choice adds a flag that takes one of a closed list.
func choice(c *cobra.Command, to *string, name, usage string, of []string) {
	c.Flags().StringVar(to, name, *to, usage)
	_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(of, cobra.ShellCompDirectiveNoFileComp))
}

func words[T ~string](ws []T) []string {
	out := make([]string, len(ws))
	for i, w := range ws {
		out[i] = string(w)
	}
	return out
}

// hinted adds advice to what is not found.
func hinted(err error, hint string) error {
	if f, ok := fault.Of(err); ok && f.Code == fault.NotFound {
		return f.Hinted("%s", hint)
	}
	return err
}

// dutyRow is a line of the table for one service type.
type dutyRow struct {
	Area      string         `json:"area"`
	Title     string         `json:"title"`
	Group     string         `json:"group"`
	Ownership duty.Ownership `json:"ownership"`
}

func dutyTable(c *cobra.Command, r *reading, service string) error {
	m, err := duty.Default()
	if err != nil {
		return err
	}
	if err := oneOf("--service-type", service, m.ServiceTypes); err != nil {
		return err
	}
	rows := make([]dutyRow, len(m.Table))
	for i, t := range m.Table {
		rows[i] = dutyRow{t.Area, t.Title, t.Group, t.Ownership[service]}
	}
	return list(c, r, "The model has no table.", rows,
		col("area", func(t dutyRow) string { return t.Area }),
		col("title", func(t dutyRow) string { return t.Title }),
		col("group", func(t dutyRow) string { return t.Group }),
		col("ownership", func(t dutyRow) string { return string(t.Ownership) }))
}

func oneOf(flag, value string, of []string) error {
	if value == "" {
		return fault.New(fault.Usage, "%s is missing", flag).Hinted("one of %s", strings.Join(of, ", "))
	}
	if !slices.Contains(of, value) {
		return fault.New(fault.Usage, "%s can not be %q", flag, value).Hinted("one of %s", strings.Join(of, ", "))
	}
	return nil
}

func resolveDuty(c *cobra.Command, r *reading, l duty.Layer, a duty.Aspect, res duty.Resource) error {
	m, err := duty.Default()
	if err != nil {
		return err
	}
	for _, q := range []struct {
		flag, value string
		of          []string
	}{{"--layer", string(l), words(duty.Layers)}, {"--aspect", string(a), words(duty.Aspects)}, {"--service", res.Service, m.ServiceTypes},
		{"--architecture", res.Architecture, m.Architectures}, {"--contract", res.Contract, m.ContractTypes}} {
		if err := oneOf(q.flag, q.value, q.of); err != nil {
			return err
		}
	}
	return explainDuty(c, r, m.Resolve(l, a, res))
}

func explainDuty(c *cobra.Command, r *reading, d duty.Resolution) error {
	switch r.output {
	case "json":
		return writeIndented(c.OutOrStdout(), d)
	case "csv":
		return list(c, r, "", []duty.Resolution{d},
			col("layer", func(d duty.Resolution) string { return string(d.Layer) }),
			col("aspect", func(d duty.Resolution) string { return string(d.Aspect) }),
			col("service", func(d duty.Resolution) string { return d.Resource.Service }),
			col("architecture", func(d duty.Resolution) string { return d.Resource.Architecture }),
			col("contract", func(d duty.Resolution) string { return d.Resource.Contract }),
			col("ownership", func(d duty.Resolution) string { return string(d.Ownership) }),
			col("party", func(d duty.Resolution) string { return string(d.Party) }),
			col("assignment", func(d duty.Resolution) string { return d.Assignment }),
			col("duty", func(d duty.Resolution) string { return d.Duty }),
			col("reason", func(d duty.Resolution) string { return d.Reason }))
	}
	_, err := fmt.Fprintln(c.OutOrStdout(), d.Explain())
	return err
}

func listDuties(c *cobra.Command, r *reading) error {
	m, err := duty.Default()
	if err != nil {
		return err
	}
	return list(c, r, "The model has no assignment.", m.Assignments,
		col("id", func(a duty.Assignment) string { return a.ID }),
		col("layer", func(a duty.Assignment) string { return string(a.Layer) }),
		col("aspects", func(a duty.Assignment) string {
			if len(a.Aspects) == 0 {
				return "all others"
			}
			return strings.Join(words(a.Aspects), " ")
		}),
		col("when", func(a duty.Assignment) string { return a.When.String() }),
		col("ownership", func(a duty.Assignment) string { return string(a.Ownership) }),
		col("duty", func(a duty.Assignment) string { return a.Duty }),
		col("reason", func(a duty.Assignment) string { return a.Reason }))
}
