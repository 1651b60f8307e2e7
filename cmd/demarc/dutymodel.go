package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"demarc/internal/detect"
	"demarc/internal/duty"
	"demarc/internal/fault"
	"demarc/internal/flow"
)

// validity is what is told of a model that holds.
type validity struct {
	File        string `json:"file"`
	ID          string `json:"id"`
	Version     int    `json:"version"`
	Title       string `json:"title"`
	Duties      int    `json:"duties"`
	Assignments int    `json:"assignments"`
	Kinds       int    `json:"kinds"`     // of resources
	Questions   int    `json:"questions"` // that the duties raise about each resource
	Contracts   int    `json:"contracts"`
	Offerings   int    `json:"offerings"`
	Conflicts   int    `json:"contradictions"`
	Open        int    `json:"open"` // of those, left to the provider
	Hash        string `json:"hash"`
}

func dutyValidateCommand(r *reading) *cobra.Command {
	return &cobra.Command{
		Use: "validate FILE", Short: "Hold a model of one's own against the rules for models",
		Long: `Hold a model of one's own against the rules for models. The file is YAML, JSON or CSV, by its ending.

Every question must have exactly one answer for every resource there can be; what is shared must say both parts; every
check, document, party and duty that is named must exist. The first mistake is told with its line and column, and
nothing of a file with a mistake is used.

Exit status: 0 the model holds, 2 the file is wrong or cannot be read, as of every file that an operator writes.`,
		Example:           "  demarc duty validate mine.yaml\n  demarc duty validate mine.csv --output json",
		Args:              checkArgs(cobra.ExactArgs(1)),
		ValidArgsFunction: modelFiles(1),
		RunE: func(c *cobra.Command, args []string) error {
			m, err := validated(args[0])
			if err != nil {
				return err
			}
			return writeValidity(c, r, validityOf(args[0], m))
		},
	}
}

// modelFiles completes up to n files of models.
func modelFiles(n int) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= n {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return []string{"yaml", "yml", "json", "csv"}, cobra.ShellCompDirectiveFilterFileExt
	}
}

// validated reads a model whose checks are all known: those that come with the program, and the findings that no check makes.
func validated(path string) (*duty.Model, error) {
	data, err := fault.ReadFile(path)
	if err != nil {
		return nil, err
	}
	checks, err := detect.Load()
	if err != nil {
		return nil, err
	}
	known := []string{flow.CheckLeak, flow.CheckBlocked}
	for i := range checks {
		known = append(known, checks[i].ID)
	}
	return duty.ParseKnowing(path, data, known)
}

func validityOf(path string, m *duty.Model) validity {
	v := validity{File: path, ID: m.ID, Version: m.Version, Title: m.Title, Duties: len(m.Duties), Assignments: len(m.Assignments), Kinds: len(m.Kinds()), Questions: m.Questions(),
		Contracts: len(m.Contracts), Offerings: len(m.Offerings), Conflicts: len(m.Conflicts), Hash: m.Hash()}
	for _, k := range m.Conflicts {
		if k.Open {
			v.Open++
		}
	}
	return v
}

func writeValidity(c *cobra.Command, r *reading, v validity) error {
	switch r.output {
	case "json":
		return writeIndented(c.OutOrStdout(), v)
	case "csv":
		return list(c, r, "", []validity{v}, col("file", func(v validity) string { return v.File }), col("id", func(v validity) string { return v.ID }),
			col("version", func(v validity) string { return strconv.Itoa(v.Version) }), col("duties", func(v validity) string { return strconv.Itoa(v.Duties) }),
			col("assignments", func(v validity) string { return strconv.Itoa(v.Assignments) }), col("hash", func(v validity) string { return v.Hash }))
	}
	s := newSheet(c)
	s.row("model", fmt.Sprintf("%s, version %d: %s", v.ID, v.Version, v.Title))
	s.row("duties", strconv.Itoa(v.Duties))
	s.row("assignments", strconv.Itoa(v.Assignments))
	s.row("kinds", fmt.Sprintf("%d kinds of resources, %d questions about each, every one answered once", v.Kinds, v.Questions))
	s.row("contracts", fmt.Sprintf("%d, and %d offerings", v.Contracts, v.Offerings))
	s.row("contradictions", fmt.Sprintf("%d named, %d open", v.Conflicts, v.Open))
	s.row("sha-256", v.Hash)
	return s.end()
}

// modelFormats are the forms of a model's file.
var modelFormats = []string{"yaml", "json", "csv"}

func dutyExportCommand(r *reading) *cobra.Command {
	form := "yaml"
	var m *chosen
	c := &cobra.Command{
		Use: "export", Short: "The model as a file, to be changed",
		Long: `The model as a file, to be changed and given back with "duties:" in the configuration.

As YAML the model that comes with the program is written with its comments. As CSV it is one row for each entry, for a
spreadsheet; no cell begins as a formula does. All three are read back as the same model.`,
		Example: "  demarc duty export > mine.yaml\n  demarc duty export --format csv > mine.csv\n  demarc duty export --model mine.csv --format yaml",
		Args:    checkArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := oneOf("--format", form, modelFormats); err != nil {
				return err
			}
			if c.Flags().Changed("output") {
				return fault.New(fault.Usage, "a model is no listing").Hinted("say --format %s", r.output)
			}
			model, err := m.load()
			if err != nil {
				return err
			}
			b, err := exported(model, form)
			if err != nil {
				return err
			}
			_, err = c.OutOrStdout().Write(b)
			return err
		},
	}
	choice(c, &form, "format", "yaml, json or csv", modelFormats)
	m = r.model(c)
	return c
}

func exported(m *duty.Model, form string) ([]byte, error) {
	d, err := duty.Default()
	switch {
	case err != nil:
		return nil, err
	case form == "csv":
		return m.CSV()
	case form == "json":
		return m.JSON()
	case m == d:
		return []byte(duty.DefaultText()), nil
	}
	return m.YAML(), nil
}
