package main

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"demarc/internal/fault"
	"demarc/internal/serve"
)

// doctorCommand looks at everything that a configuration names.
func doctorCommand() *cobra.Command {
	var r reading
	var config string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Look at everything a configuration names: what works, what does not, and the remedy",
		Long: `Looks at the cloud's accounts and at what they cannot see, at the clock, the vantage points, the mail relay, the database, the
audit log and the socket, each on its own and within its time. It changes nothing: no mail is sent, no file or table is made, no
packet is sent to what would be probed. What it finds has a code that is stable: see docs/doctor.md.

Exit status: 0 all works (there may be warnings), 2 the configuration is off, 3 something does not work.`,
		Example: `  demarc doctor --config /etc/demarc/demarc.yaml
  demarc doctor --config demarc.yaml --output json`,
		Args: checkArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return examine(c, &r, config) },
	}
	r.output = "table"
	c.Flags().VarP(&r.output, "output", "o", "table, json, csv")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	c.Flags().StringVar(&config, "config", "", "configuration `file`")
	_ = c.MarkFlagFilename("config", "yaml", "yml")
	return c
}

func examine(c *cobra.Command, r *reading, config string) error {
	if config == "" {
		return fault.New(fault.Usage, "no configuration is named").Hinted("give its file with --config")
	}
	conf, rules, err := serve.LoadToExamine(config)
	if err != nil {
		return err
	}
	d := serve.Doctor{Config: conf, Policy: rules, Now: time.Now}
	if f, ok := c.ErrOrStderr().(*os.File); ok && term.IsTerminal(int(f.Fd())) { //nolint:gosec // descriptors are small
		var mu sync.Mutex
		d.Tell = func(subject string) {
			mu.Lock()
			defer mu.Unlock()
			_, _ = fmt.Fprintf(f, "looked at %s\n", printable(subject))
		}
	}
	rows := d.Examine(c.Context())
	if err := c.Context().Err(); err != nil {
		return err
	}
	if err := diagnoses(c, r, rows); err != nil || serve.Well(rows) {
		return err
	}
	failed := 0
	for _, d := range rows {
		if d.State == serve.Broken {
			failed++
		}
	}
	return fault.New(fault.CannotLook, "%d of %d things that were looked at do not work", failed, len(rows)).Hinted("each has its remedy beside it; what a code means is in docs/doctor.md")
}

// diagnoses shows what was found. In the table the remedy has a line of its own.
func diagnoses(c *cobra.Command, r *reading, rows []serve.Diagnosis) error {
	if r.output != "table" {
		return list(c, r, "", rows,
			col("state", func(d serve.Diagnosis) string { return string(d.State) }),
			col("subject", func(d serve.Diagnosis) string { return d.Subject }),
			col("code", func(d serve.Diagnosis) string { return string(d.Code) }),
			col("what", func(d serve.Diagnosis) string { return d.What }),
			col("remedy", func(d serve.Diagnosis) string { return d.Remedy }))
	}
	wide := 0
	for _, d := range rows {
		wide = max(wide, len(d.Subject))
	}
	for _, d := range rows {
		if _, err := fmt.Fprintf(c.OutOrStdout(), "%-8s%-*s  %s [%s]\n", d.State, wide, printable(d.Subject), printable(d.What), d.Code); err != nil {
			return err
		}
		if d.Remedy == "" {
			continue
		}
		if _, err := fmt.Fprintf(c.OutOrStdout(), "%-*s  remedy: %s\n", wide+8, "", printable(d.Remedy)); err != nil {
			return err
		}
	}
	return nil
}
