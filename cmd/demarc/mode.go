package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"demarc/internal/fault"
	"demarc/internal/policy"
	"demarc/internal/serve"
)

func modeCommand() *cobra.Command {
	var r reading
	c := &cobra.Command{
		Use: "mode", Short: "Show or change how far Demarc may go: observe, notify, enforce",
		Long: `Show or change how far Demarc may go.

  observe   only operators get mail; cases stay new and no deadline runs
  notify    owners and the provider are notified and deadlines run; no server is restricted
  enforce   a server may be restricted, after an operator's approval

The mode in force is the lower of two: the highest that the configuration allows (mode, observe where it is absent), and the one that
the operators chose with this command. A new database begins in observe, whatever the configuration allows.`,
		Example: "  demarc mode show --config demarc.yaml\n  demarc mode set notify --reason \"the netblocks are checked\" --config demarc.yaml",
	}
	r.flags(c)
	c.AddCommand(&cobra.Command{
		Use: "show", Short: "Show the mode in force",
		Example: "  demarc mode show --config demarc.yaml\n  demarc mode show --db demarc.db --output json",
		Args:    checkArgs(cobra.NoArgs),
		RunE:    func(c *cobra.Command, _ []string) error { return decideMode(c, &r, serve.Ask{Do: serve.ShowMode}) },
	}, setModeCommand(&r))
	return c
}

func setModeCommand(r *reading) *cobra.Command {
	q := serve.Ask{Do: serve.SetMode}
	c := &cobra.Command{
		Use: "set MODE", Short: "Change the mode, within what the configuration allows",
		Long: `Change the mode, within what the configuration allows. A running server follows at its next step: nothing needs a restart. Every
open case is then checked at once. A case whose owner was notified in notify is notified anew, with the full time to fix, before
anything can follow in enforce. Mail that a lower mode does not allow is kept back and is not lost. A server that is restricted stays
restricted until it is fixed or the case is withdrawn.`,
		Example: "  demarc mode set notify --reason \"the netblocks are checked\" --config demarc.yaml\n" +
			"  demarc mode set observe --by olga --reason \"maintenance\" --db demarc.db",
		Args:              checkArgs(cobra.ExactArgs(1)),
		ValidArgsFunction: cobra.FixedCompletions(words(policy.Modes), cobra.ShellCompDirectiveNoFileComp),
		RunE: func(c *cobra.Command, args []string) error {
			mode, err := policy.ParseMode(args[0])
			if err != nil {
				return err
			}
			if q.Why == "" {
				return fault.New(fault.Usage, "the mode is not changed without a reason").Hinted("give one with --reason; it is kept in the audit log")
			}
			q.Mode = mode
			return decideMode(c, r, q)
		},
	}
	c.Flags().StringVar(&q.By, "by", "", decider)
	c.Flags().StringVar(&q.Why, "reason", "", "the reason; it is kept in the audit log")
	return c
}

// decideMode shows or changes the mode, and prints how it stands then.
func decideMode(c *cobra.Command, r *reading, q serve.Ask) error {
	told, err := r.decide(c.Context(), q)
	if err != nil {
		return err
	}
	m := told.Mode
	if m == nil {
		return fault.New(fault.Unavailable, "the server gave no mode").Hinted("it may be of another version")
	}
	out := c.OutOrStdout()
	switch r.output {
	case "json":
		return writeIndented(out, m)
	case "csv":
		_, err = fmt.Fprintf(out, "in_force,chosen,highest\n%s,%s,%s\n", m.InForce, m.Chosen, m.Highest)
		return err
	}
	if _, err = fmt.Fprintf(out, "The mode in force is %s: %s.\n", m.InForce, m.InForce.Describe()); err == nil && m.Chosen != m.InForce {
		_, err = fmt.Fprintf(out, "The operators chose %s; the configuration allows %s at most.\n", m.Chosen, m.Highest)
	}
	return err
}
