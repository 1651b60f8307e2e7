package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"demarc/internal/detect"
	"demarc/internal/fault"
	"demarc/internal/untrusted"
)

func checkCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:          "check",
		Short:        "The weaknesses that are looked for",
		Example:      "  demarc check list\n  demarc check show redis-unauth",
		SilenceUsage: true, SilenceErrors: true,
	}
	c.SetFlagErrorFunc(flagFault)
	c.PersistentFlags().StringVarP(&output, "output", "o", "table", "table or json")
	c.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List the checks", Example: "  demarc check list\n  demarc check list --output json",
			Args: checkArgs(cobra.NoArgs), SilenceUsage: true, SilenceErrors: true,
			RunE: func(c *cobra.Command, _ []string) error { return listChecks(c.OutOrStdout(), output) },
		},
		&cobra.Command{
			Use: "show ID", Short: "Show a check and its guidance", Example: "  demarc check show redis-unauth",
			Args: checkArgs(cobra.ExactArgs(1)), SilenceUsage: true, SilenceErrors: true,
			RunE: func(c *cobra.Command, args []string) error { return showCheck(c.OutOrStdout(), output, args[0]) },
		},
		&cobra.Command{
			Use: "test [DIR]", Short: "Hold checks against recordings of servers",
			Long: `Hold checks against recordings of servers; no packet is sent.

Without DIR the checks that come with the program are tested. With it, its *.yaml are the checks, and
recordings/*.yaml the recordings. Each check needs a recording in which it finds the weakness, and one of a
hardened server of the same kind in which it does not.

Exit status: 0 all hold, 1 some do not, 2 a file is wrong.`,
			Example: "  demarc check test\n  demarc check test ./our-checks",
			Args:    checkArgs(cobra.MaximumNArgs(1)), SilenceUsage: true, SilenceErrors: true,
			RunE: func(c *cobra.Command, args []string) error { return testChecks(c.OutOrStdout(), output, args) },
		},
	)
	return c
}

// checkArgs makes a usage fault of a wrong number of arguments.
func checkArgs(want cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := want(c, args); err != nil {
			return flagFault(c, err)
		}
		return nil
	}
}

func checkOutput(output string) error {
	if output != "table" && output != "json" {
		return fault.New(fault.Usage, "--output can not be %q", output).Hinted("accepted: table, json")
	}
	return nil
}

func writeIndented(out io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = out.Write(append(untrusted.JSON(b), '\n')) // whatever field a stranger wrote, a terminal shows it as it is
	return err
}

func listChecks(out io.Writer, output string) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	checks, err := detect.Load()
	if err != nil {
		return err
	}
	if output == "json" {
		return writeIndented(out, checks)
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "CHECK\tREVISION\tSEVERITY\tCLASS\tGRADE\tLAYER\tTITLE")
	for _, c := range checks {
		_, _ = fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s/%s\t%s\n", c.ID, c.Revision, c.Severity, c.Class, c.Grade, c.Layer, c.Aspect, c.Title)
	}
	return w.Flush()
}

func showCheck(out io.Writer, output, id string) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	checks, err := detect.Load()
	if err != nil {
		return err
	}
	var ids []string
	for _, c := range checks {
		if c.ID != id {
			ids = append(ids, c.ID)
			continue
		}
		if output == "json" {
			return writeIndented(out, struct {
				detect.Check
				Advice string `json:"advice"`
			}{c, c.Advice})
		}
		return writeCheck(out, c)
	}
	return fault.New(fault.NotFound, "there is no check %q", id).Hinted("there are: %s", strings.Join(ids, ", "))
}

func writeCheck(out io.Writer, c detect.Check) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			_, _ = fmt.Fprintf(w, "%s\t%s\n", name, value)
		}
	}
	row("check", fmt.Sprintf("%s, revision %d", c.ID, c.Revision))
	row("title", c.Title)
	row("severity", fmt.Sprintf("%s, class %s, %s", c.Severity, c.Class, c.Grade))
	row("charged to", c.Layer+", "+c.Aspect)
	row("applies to", strings.Join(c.Applies.Service, ", "))
	row("CVSS 3.1", c.Refs.CVSS31)
	row("CWE", fmt.Sprint(c.Refs.CWE))
	row("Shadowserver", c.Refs.Shadowserver)
	for i, s := range c.Exchange {
		row(fmt.Sprintf("asks (%d)", i+1), question(s))
	}
	if c.Control != nil {
		row("control", question(*c.Control))
	}
	if c.Support != nil {
		ends := c.Support.Ends
		for _, name := range slices.SortedFunc(maps.Keys(ends), func(a, b string) int { return strings.Compare(ends[a], ends[b]) }) {
			row("support ends", ends[name]+", "+name)
		}
	}
	row("stores", strings.Join(c.Evidence, ", "))
	row("remedy", readable(c.Remedy))
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%s", readable(c.Advice))
	return err
}

// question is what a step asks, on one line.
func question(s detect.Step) string {
	return strings.TrimSpace(s.Verbs()[0] + " " + detect.Escape([]byte(s.Send+s.HTTPGet+s.PGStartup+s.PGTLS)))
}

// readable is a text for a mail as it reads where no machine is meant.
func readable(text string) string {
	return strings.NewReplacer("{service}", "the service", "{endpoint}", "the endpoint").Replace(text)
}

func testChecks(out io.Writer, output string, args []string) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	dir := detect.Embedded()
	if len(args) == 1 {
		if info, err := os.Stat(args[0]); err != nil || !info.IsDir() {
			return fault.New(fault.NotFound, "there is no directory %s", args[0])
		}
		dir = os.DirFS(args[0])
	}
	trials, err := runTrials(dir)
	if output == "json" && (err == nil || fault.Is(err, fault.Violation)) {
		return errors.Join(writeIndented(out, trials), err)
	}
	failed := 0
	for _, t := range trials {
		if !t.Passed() {
			failed++
		}
	}
	if trials != nil {
		_, _ = fmt.Fprintf(out, "%s, %d failed.\n", countOf(len(trials), "trial", "trials"), failed)
	}
	return err
}

func runTrials(dir fs.FS) ([]detect.Trial, error) {
	checks, err := detect.LoadFS(dir)
	if err != nil {
		return nil, err
	}
	if len(checks) == 0 {
		return nil, fault.New(fault.NotFound, "the directory holds no checks").Hinted("a check is a file such as redis-unauth.yaml")
	}
	recordings, err := detect.LoadRecordings(dir)
	if err != nil {
		return nil, err
	}
	return detect.Test(checks, recordings)
}
