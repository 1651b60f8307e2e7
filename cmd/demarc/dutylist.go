package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"demarc/internal/duty"
	"demarc/internal/fault"
)

// dutyFilter says which duties are listed.
type dutyFilter struct {
	layer, holder, evidence string
}

func dutyListCommand(r *reading) *cobra.Command {
	var f dutyFilter
	var m *chosen
	c := &cobra.Command{
		Use: "list", Short: "The duties of the model: who must, should or may do what",
		Example: "  demarc duty list\n  demarc duty list --holder customer --evidence observed\n  demarc duty list --layer guest-os --output json",
		Args:    checkArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			model, err := m.load()
			if err != nil {
				return err
			}
			ds, err := f.of(model)
			if err != nil {
				return err
			}
			return listDuties(c, r, ds)
		},
	}
	choice(c, &f.layer, "layer", "only duties about this layer", words(duty.Layers))
	choice(c, &f.evidence, "evidence", "only duties of which this is known: observed, attested, none", words(duty.Evidences))
	choice(c, &f.holder, "holder", "only duties of this party, by its id, or shared", []string{"provider", "customer", "shared"})
	m = r.model(c)
	return c
}

// of gives the duties that pass.
func (f dutyFilter) of(m *duty.Model) ([]duty.Duty, error) {
	holders := []string{string(duty.Shared)}
	for _, p := range m.Parties {
		holders = append(holders, p.ID)
	}
	for _, q := range []struct {
		flag, value string
		of          []string
	}{{"--layer", f.layer, words(duty.Layers)}, {"--evidence", f.evidence, words(duty.Evidences)}, {"--holder", f.holder, holders}} {
		if q.value != "" {
			if err := oneOf(q.flag, q.value, q.of); err != nil {
				return nil, err
			}
		}
	}
	out := []duty.Duty{}
	for _, d := range m.Duties {
		if (f.layer == "" || slices.Contains(d.Layers(), duty.Layer(f.layer))) && (f.evidence == "" || string(d.Evidence) == f.evidence) && (f.holder == "" || d.Holder == f.holder) {
			out = append(out, d)
		}
	}
	return out, nil
}

func listDuties(c *cobra.Command, r *reading, ds []duty.Duty) error {
	cols := []column[duty.Duty]{
		col("id", func(d duty.Duty) string { return d.ID }),
		col("holder", func(d duty.Duty) string { return d.Holder }),
		col("strength", func(d duty.Duty) string { return string(d.Strength) }),
		col("layer", func(d duty.Duty) string { return strings.Join(words(d.Layers()), " ") }),
		col("aspects", func(d duty.Duty) string { return aspectWords(d.Aspects) }),
		col("when", func(d duty.Duty) string { return d.When.String() }),
		col("evidence", func(d duty.Duty) string { return string(d.Evidence) }),
		col("title", func(d duty.Duty) string { return d.Title }),
	}
	if r.output == "csv" { // a sheet has room for all of it
		cols = append(cols,
			col("document", func(d duty.Duty) string { return d.Source.Document }),
			col("section", func(d duty.Duty) string { return d.Source.Section }),
			col("area", func(d duty.Duty) string { return d.Area }),
			col("observable", func(d duty.Duty) string { return d.Observable }),
			col("checks", func(d duty.Duty) string { return strings.Join(d.Checks, " ") }),
			col("frameworks", func(d duty.Duty) string { return controls(d.Frameworks) }))
	}
	return list(c, r, "No duty is so.", ds, cols...)
}

// controls shows the control ids of each framework.
func controls(fs map[string][]string) string {
	var out []string
	for _, f := range slices.Sorted(maps.Keys(fs)) {
		out = append(out, f+": "+strings.Join(fs[f], ", "))
	}
	return strings.Join(out, "; ")
}

// wholeDuty is a duty with what the model makes of it.
type wholeDuty struct {
	duty.Duty
	Document    duty.Document     `json:"document"`
	Row         *duty.Area        `json:"row,omitempty"`  // of the published table
	Assignments []duty.Assignment `json:"assignments"`    // what decides about it
	Conflicts   []duty.Conflict   `json:"contradictions"` // what concerns it
}

func dutyShowCommand(r *reading) *cobra.Command {
	var m *chosen
	c := &cobra.Command{
		Use: "show ID", Short: "One duty, with its source, what decides about it, and the contradictions that concern it",
		Example: "  demarc duty show S0-22\n  demarc duty show S0-45 --output json",
		Args:    checkArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			model, err := m.load()
			if err != nil {
				return err
			}
			d, ok := model.Duty(args[0])
			if !ok {
				return fault.New(fault.NotFound, "model %s has no duty %q", model.ID, args[0]).Hinted("see demarc duty list")
			}
			w := whole(model, d)
			if r.output == "table" {
				return writeDuty(c, model, w)
			}
			if r.output == "csv" {
				return listDuties(c, r, []duty.Duty{*d})
			}
			return writeIndented(c.OutOrStdout(), w)
		},
	}
	m = r.model(c)
	c.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		model, err := m.load()
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var ids []string
		for _, d := range model.Duties {
			ids = append(ids, d.ID+"\t"+d.Title)
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
	return c
}

func whole(m *duty.Model, d *duty.Duty) wholeDuty {
	w := wholeDuty{Duty: *d, Assignments: []duty.Assignment{}, Conflicts: []duty.Conflict{}}
	for _, x := range m.Documents {
		if x.ID == d.Source.Document {
			w.Document = x
		}
	}
	for i := range m.Table {
		if m.Table[i].Area == d.Area {
			w.Row = &m.Table[i]
		}
	}
	for _, a := range m.Deciding(d) {
		w.Assignments = append(w.Assignments, *a)
	}
	for _, k := range m.Conflicts {
		if slices.Contains(k.Duties, d.ID) {
			w.Conflicts = append(w.Conflicts, k)
		}
	}
	return w
}

func writeDuty(c *cobra.Command, m *duty.Model, w wholeDuty) error {
	s := newSheet(c)
	s.row("duty", w.ID)
	s.row("title", w.Title)
	s.row("held by", w.Holder)
	s.row("strength", string(w.Strength))
	s.row("layer", strings.Join(words(w.Layers()), ", "))
	s.row("aspects", strings.Join(words(w.Aspects), ", "))
	s.row("when", w.When.String())
	s.row("source", m.Cite(w.Source))
	s.row("at", w.Document.URL)
	if w.Row != nil {
		s.row("row", w.Row.Title)
	}
	s.row("evidence", string(w.Evidence))
	s.row("observable", w.Observable)
	s.row("checks", strings.Join(w.Checks, ", "))
	s.row("frameworks", controls(w.Frameworks))
	for _, a := range w.Assignments {
		s.row("decided by", fmt.Sprintf("%s: %s, %s, %s: %s", a.ID, a.Layer, a.When, a.Ownership, a.Reason))
	}
	for _, k := range w.Conflicts {
		s.row("contradiction", k.ID+": "+k.What)
		s.row("resolved", k.Resolution)
	}
	s.row("model", fmt.Sprintf("%s, version %d", m.ID, m.Version))
	return s.end()
}

func dutyAssignmentsCommand(r *reading) *cobra.Command {
	var m *chosen
	c := &cobra.Command{
		Use: "assignments", Short: "What decides: which aspects of which layer are given to whom, and when",
		Example: "  demarc duty assignments\n  demarc duty assignments --model mine.yaml --output csv",
		Args:    checkArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			model, err := m.load()
			if err != nil {
				return err
			}
			return list(c, r, "The model has no assignment.", model.Assignments,
				col("id", func(a duty.Assignment) string { return a.ID }),
				col("layer", func(a duty.Assignment) string { return string(a.Layer) }),
				col("aspects", func(a duty.Assignment) string { return cmp.Or(aspectWords(a.Aspects), "all others") }),
				col("when", func(a duty.Assignment) string { return a.When.String() }),
				col("ownership", func(a duty.Assignment) string { return string(a.Ownership) }),
				col("duty", func(a duty.Assignment) string { return a.Duty }),
				col("reason", func(a duty.Assignment) string { return a.Reason }))
		},
	}
	m = r.model(c)
	return c
}

func dutyConflictsCommand(r *reading) *cobra.Command {
	var m *chosen
	c := &cobra.Command{
		Use: "conflicts", Short: "Where the sources contradict each other, and how the model decides",
		Example: "  demarc duty conflicts\n  demarc duty conflicts --output json",
		Args:    checkArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			model, err := m.load()
			if err != nil {
				return err
			}
			if r.output != "table" || len(model.Conflicts) == 0 {
				return list(c, r, "The model names no contradiction.", model.Conflicts,
					col("id", func(k duty.Conflict) string { return k.ID }),
					col("what", func(k duty.Conflict) string { return k.What }),
					col("resolution", func(k duty.Conflict) string { return k.Resolution }),
					col("duties", func(k duty.Conflict) string { return strings.Join(k.Duties, " ") }),
					col("open", func(k duty.Conflict) string { return fmt.Sprint(k.Open) }))
			}
			s := newSheet(c)
			for i, k := range model.Conflicts {
				if i > 0 {
					s.gap()
				}
				s.row(k.ID, k.What)
				s.row("resolved", k.Resolution)
				s.row("duties", strings.Join(k.Duties, ", "))
				if k.Open {
					s.row("open", "the sources leave it to the provider")
				}
			}
			return s.end()
		},
	}
	m = r.model(c)
	return c
}
