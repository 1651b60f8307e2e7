package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"demarc/internal/fault"
	"demarc/internal/finding"
	"demarc/internal/guide"
	"demarc/internal/serve"
)

func guideCommand() *cobra.Command {
	var output string
	var force bool
	c := &cobra.Command{
		Use: "guide", Short: "How each duty is carried out and each finding mended",
		Example: "  demarc guide show redis-unauth\n  demarc guide export /srv/www/guidance",
	}
	c.PersistentFlags().StringVarP(&output, "output", "o", "table", "table or json")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	export := &cobra.Command{
		Use: "export DIR", Short: "Write the pages as HTML, to be published",
		Long: `Writes the pages as static HTML with an index. They refer to each other and to nothing else, so they work at any address;
give it as guidance_url in the configuration, and mails link to them. A folder that holds anything is left alone unless
--force is given: then files of the same names are written over, and others stay. A link that leads out of the folder is
not followed.`,
		Example: "  demarc guide export /srv/www/guidance\n  demarc guide export --force /srv/www/guidance",
		Args:    checkArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return exportGuides(c.OutOrStdout(), output, args[0], force)
		},
	}
	export.Flags().BoolVar(&force, "force", false, "write into a folder that is not empty")
	c.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List the pages", Example: "  demarc guide list\n  demarc guide list --output json",
			Args: checkArgs(cobra.NoArgs),
			RunE: func(c *cobra.Command, _ []string) error { return listGuides(c.OutOrStdout(), output) },
		},
		&cobra.Command{
			Use: "show ID", Short: "Show the page of a duty or a check", Example: "  demarc guide show S0-12\n  demarc guide show redis-unauth --output json",
			Args: checkArgs(cobra.ExactArgs(1)), ValidArgsFunction: completeGuides,
			RunE: func(c *cobra.Command, args []string) error { return showGuide(c.OutOrStdout(), output, args[0]) },
		}, export)
	return c
}

// completeGuides offers the ids of the pages to the shell.
func completeGuides(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var out []string
	for _, p := range guide.List() {
		if len(args) == 0 {
			out = append(out, p.ID+"\t"+p.Title)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func listGuides(out io.Writer, output string) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	if output == "json" {
		return writeIndented(out, guide.List())
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "PAGE\tOF A\tTITLE")
	for _, p := range guide.List() {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", p.ID, p.Kind, p.Title)
	}
	return w.Flush()
}

func showGuide(out io.Writer, output, id string) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	p, err := guide.Find(id)
	if err != nil {
		return err
	}
	if output == "json" {
		return writeIndented(out, struct {
			guide.Page
			Markdown string `json:"markdown"`
		}{p, p.Markdown})
	}
	_, err = io.WriteString(out, p.Markdown)
	return err
}

// exportGuides writes every page below a folder, which must be empty or be given by force.
func exportGuides(out io.Writer, output, dir string, force bool) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.Usage, "cannot write the pages: %w", err).Hinted("give a folder")
	case len(entries) > 0 && !force:
		return fault.New(fault.Usage, "the folder %s is not empty", dir).Hinted("give an empty or a new one, or --force to write over what is there")
	}
	files, err := guide.Export()
	if err != nil {
		return err
	}
	if err := publish(dir, files); err != nil {
		return fault.New(fault.Unavailable, "cannot write the pages: %w", err)
	}
	if output == "json" {
		return writeIndented(out, map[string]any{"dir": dir, "pages": len(files) - 1})
	}
	_, err = fmt.Fprintf(out, "%s and an index are in %s.\n", countOf(len(files)-1, "page", "pages"), dir)
	return err
}

// publish writes files that everybody may read, and nothing outside their folder, wherever a link in it leads.
func publish(dir string, files []guide.File) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // pages are for a web server to read
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for _, f := range files {
		if err := root.MkdirAll(filepath.FromSlash(path.Dir(f.Path)), 0o755); err != nil {
			return err
		}
		if err := root.WriteFile(filepath.FromSlash(f.Path), f.Data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// guidance is a page that says how to mend a finding, as commands show it.
type guidance struct {
	Command string `json:"command"`
	URL     string `json:"url,omitempty"`
}

// guidance names the pages for a finding: by the command that shows each, and by its address where a configuration says where they
// are published.
func (r *reading) guidance(f finding.Finding) ([]guidance, error) {
	base := ""
	if r.config != "" {
		conf, _, err := serve.Load(r.config)
		if err != nil {
			return nil, err
		}
		base = conf.GuideURL
	}
	links := guide.Links(base, f.Key.Check, f.Duty.Duty)
	var out []guidance
	for i, p := range guide.For(f.Key.Check, f.Duty.Duty) {
		g := guidance{Command: "demarc guide show " + p.ID}
		if len(links) > i {
			g.URL = links[i]
		}
		out = append(out, g)
	}
	return out, nil
}
