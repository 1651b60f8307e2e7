package main

import (
	"strings"

	"github.com/spf13/cobra"

	"demarc/internal/duty"
	"demarc/internal/fault"
)

func dutyTableCommand(r *reading) *cobra.Command {
	var k kindFlags
	var layers bool
	var m *chosen
	c := &cobra.Command{
		Use: "table", Short: "The division of responsibility, by service type or by layer",
		Long: `The division of responsibility.

Without --layers it is the provider's published table for a service type. With it, it is who holds what of every
layer, for one service type, architecture and contract: a line for each set of aspects that one assignment decides.

It speaks of kinds of resources. The contracts and offerings of the model or the configuration say which resource is of which
kind, and are not looked at; demarc duty explain tells of a finding with them.`,
		Example: `  demarc duty table --service-type iaas
  demarc duty table --service-type paas --output json
  demarc duty table --layers --architecture container --contract extended`,
		Args: checkArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			model, err := m.load()
			if err != nil {
				return err
			}
			kind, err := k.kind(model, "service-type")
			switch {
			case err != nil:
				return err
			case layers:
				return layerTable(c, r, model, kind)
			case k.architecture != "" || k.contract != "":
				return fault.New(fault.Usage, "the published table knows service types only").Hinted("with --layers, --architecture and --contract have a meaning")
			}
			return areaTable(c, r, model, kind.Service)
		},
	}
	c.Flags().BoolVar(&layers, "layers", false, "by layer, as the model decides")
	k.flags(c, "service-type")
	m = r.model(c)
	return c
}

// areaRow is a line of the table for one service type.
type areaRow struct {
	Area      string         `json:"area"`
	Title     string         `json:"title"`
	Group     string         `json:"group"`
	Ownership duty.Ownership `json:"ownership"`
}

func areaTable(c *cobra.Command, r *reading, m *duty.Model, service string) error {
	rows := make([]areaRow, len(m.Table))
	for i, t := range m.Table {
		rows[i] = areaRow{t.Area, t.Title, t.Group, t.Ownership[service]}
	}
	return list(c, r, "The model has no table of its own: try --layers.", rows,
		col("area", func(t areaRow) string { return t.Area }),
		col("title", func(t areaRow) string { return t.Title }),
		col("group", func(t areaRow) string { return t.Group }),
		col("ownership", func(t areaRow) string { return string(t.Ownership) }))
}

func layerTable(c *cobra.Command, r *reading, m *duty.Model, kind duty.Resource) error {
	return list(c, r, "", m.Division(kind),
		col("layer", func(s duty.Share) string { return string(s.Layer) }),
		col("aspects", func(s duty.Share) string { return aspectWords(s.Aspects) }),
		col("ownership", func(s duty.Share) string { return string(s.Ownership) }),
		col("holder", func(s duty.Share) string { return s.Holder }),
		col("duty", func(s duty.Share) string { return s.Duty }),
		col("assignment", func(s duty.Share) string { return s.Assignment }),
		col("reason", func(s duty.Share) string { return s.Reason }))
}

// aspectWords shows a set of aspects.
func aspectWords(as []duty.Aspect) string {
	if len(as) == len(duty.Aspects) {
		return "all"
	}
	return strings.Join(words(as), " ")
}
