package main

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"os/user"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"demarc/internal/fault"
	"demarc/internal/policy"
	"demarc/internal/serve"
	"demarc/internal/untrusted"
)

func enforceCommand() *cobra.Command {
	var r reading
	var sure bool
	q := serve.Ask{Do: serve.Approve}
	c := &cobra.Command{
		Use: "enforce", Short: "The acts on machines: what waits, who approves, the kill switch",
		Long: `The acts on machines: what waits, who approves, the kill switch.

With --config, the running server is asked through its socket; it knows you by your account on this machine, and decides with
the names that the configuration lists under approvers. Where no server runs, or with --db, the decision is written into the
database directly, for the line to find.`,
		Example: "  demarc enforce pending --config demarc.yaml\n  demarc enforce pause --because \"a bad check\" --config demarc.yaml",
	}
	r.flags(c)
	approve := &cobra.Command{
		Use: "approve CASE...", Short: "Approve the act that waits in a case, or in several as one batch",
		Long: `Approve the act that waits in a case. The gate proves everything anew at the moment of the attempt, and may still say no. Several cases are
one batch: over any budget, none of it happens.

Without a terminal to confirm on, give --yes.`,
		Example: "  demarc enforce approve DM-1A2B3C --config demarc.yaml\n  demarc enforce approve DM-1A2B3C --by carol --yes --db demarc.db",
		Args:    checkArgs(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			q.Cases = args
			return approveAct(c, &r, q, sure)
		},
	}
	approve.Flags().BoolVar(&sure, "yes", false, "do not ask")
	approve.Flags().StringVar(&q.By, "by", "", "who approves (a running server knows it by itself; else the login name)")
	c.AddCommand(approve, releaseCommand(&r), switchCommand(&r, true), switchCommand(&r, false), &cobra.Command{
		Use: "pending", Short: "List the cases whose act waits for approval or the gate", Example: "  demarc enforce pending --config demarc.yaml\n  demarc enforce pending --db demarc.db",
		Args: checkArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return listPending(c, &r) },
	})
	return c
}

// switchCommand throws the kill switch or lifts it.
func switchCommand(r *reading, paused bool) *cobra.Command {
	q := serve.Ask{Do: serve.Unpause}
	c := &cobra.Command{
		Use: "resume", Short: "Lift the kill switch",
		Long: `Lift the kill switch. Where the server threw it by itself, because the clock or the database could not be trusted, this says that
you have looked: the wall clock is taken for right, and the database for the one to go on with.`,
		Example: "  demarc enforce resume --config demarc.yaml\n  demarc enforce resume --by carol --db demarc.db",
	}
	if paused {
		q.Do = serve.Pause
		c.Use, c.Short = "pause", "Throw the kill switch: no act on any machine begins"
		c.Long = "Throw the kill switch: no act on any machine begins. Machines are still given back, and mail still goes out.\nNeither the cloud nor a running server is needed."
		c.Example = "  demarc enforce pause --because \"a bad check\" --config demarc.yaml\n  demarc enforce pause --by carol --db demarc.db"
	}
	c.Args = checkArgs(cobra.NoArgs)
	c.RunE = func(c *cobra.Command, _ []string) error {
		told, err := r.decide(c.Context(), q)
		if err != nil {
			return err
		}
		return tellSwitch(c, r, told.Paused)
	}
	c.Flags().StringVar(&q.By, "by", "", "who decides (a running server knows it by itself; else the login name)")
	c.Flags().StringVar(&q.Why, "because", "", "the reason; it stands in the audit log")
	return c
}

// login is the name of the account that runs the program.
func login() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}

// rules is the policy of the configuration, else the default one.
func (r *reading) rules() (*policy.Policy, error) {
	if r.config == "" {
		return policy.Default()
	}
	_, p, err := serve.Load(r.config)
	return p, err
}

func tellSwitch(c *cobra.Command, r *reading, paused bool) error {
	var err error
	switch {
	case r.output == "json":
		return writeIndented(c.OutOrStdout(), map[string]bool{"paused": paused})
	case paused:
		_, err = fmt.Fprintln(c.OutOrStdout(), "Enforcement is paused: no act on any machine begins.")
	default:
		_, err = fmt.Fprintln(c.OutOrStdout(), "Enforcement is not paused.")
	}
	return err
}

// pending is what waits.
type pending struct {
	Paused bool      `json:"paused"`
	Cases  []caseRow `json:"cases"`
	Acts   []actRow  `json:"acts_under_way"`
}

func listPending(c *cobra.Command, r *reading) error {
	if _, err := r.location(); err != nil {
		return err
	}
	told, err := r.decide(c.Context(), serve.Ask{Do: serve.Pending})
	if err != nil {
		return err
	}
	n, paused := namingOf(told), told.Paused
	p := pending{Paused: paused, Cases: []caseRow{}, Acts: []actRow{}}
	for _, k := range told.Waiting {
		row, err := caseRowOf(n, k)
		if err != nil {
			return err
		}
		p.Cases = append(p.Cases, row)
	}
	rows := p.Cases
	for _, a := range told.Running {
		p.Acts = append(p.Acts, actRowOf(a))
	}
	if r.output == "json" {
		return writeIndented(c.OutOrStdout(), p)
	}
	if paused && r.output == "table" {
		_, _ = fmt.Fprintln(c.OutOrStdout(), "Enforcement is paused: no act on any machine begins.")
	}
	cols := []column[caseRow]{
		col("case", func(k caseRow) string { return k.Ref }),
		{"machine", func(k caseRow) untrusted.Text { return machine(k.ServerName, k.Server) }},
		{"project", func(k caseRow) untrusted.Text { return machine(k.ProjectName, "") }},
		col("class", func(k caseRow) string { return k.Class }),
		col("queued_at", func(k caseRow) string { return r.when(k.QueuedAt) }),
		col("approved_by", func(k caseRow) string { return approvers(k) }),
		col("gate_said_no", func(k caseRow) string { return strings.Join(k.Blocks, "; ") }),
	}
	if err := list(c, r, "No act waits.", rows, cols...); err != nil || len(p.Acts) == 0 || r.output == "csv" {
		return err
	}
	_, _ = fmt.Fprintln(c.OutOrStdout(), "\nUNDER WAY")
	return list(c, r, "", p.Acts, actColumns(r)...)
}

func approvers(k caseRow) string {
	var out []string
	for _, a := range k.Approvals {
		out = append(out, a.By)
	}
	return cmp.Or(strings.Join(out, ", "), "nobody yet")
}

func approveAct(c *cobra.Command, r *reading, q serve.Ask, sure bool) error {
	look := q
	look.Do, look.Then = serve.Preview, q.Do
	told, err := r.decide(c.Context(), look)
	if err != nil {
		return err
	}
	q.Cases = nil
	n := namingOf(told)
	for _, k := range told.Before {
		q.Cases = append(q.Cases, k.ID)
		row, err := caseRowOf(n, k)
		if err != nil {
			return err
		}
		if sure {
			continue
		}
		if err := confirm(c, fmt.Sprintf("Approve taking %s of project %s off the network (case %s, class %s)?", named(row.ServerName, row.Server).Terminal(),
			named(row.ProjectName, row.Project).Terminal(), k.Ref(), k.Class)); err != nil {
			return err
		}
	}
	if told, err = r.decide(c.Context(), q); err != nil {
		return err
	}
	return tellApproved(c, r, told)
}

func tellApproved(c *cobra.Command, r *reading, told serve.Told) error {
	var rows []caseRow
	for _, k := range told.After {
		row, err := caseRowOf(namingOf(told), k)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	switch {
	case r.output == "json" && len(rows) == 1:
		return writeIndented(c.OutOrStdout(), rows[0])
	case r.output == "json":
		return writeIndented(c.OutOrStdout(), rows)
	}
	for _, row := range rows {
		if _, err := fmt.Fprintf(c.OutOrStdout(), "%s is approved by %s. The gate proves everything anew before anything happens.\n", row.Ref, untrusted.From(approvers(row)).Terminal()); err != nil {
			return err
		}
	}
	return nil
}

// confirm asks on the terminal. Where there is none, nothing is confirmed.
func confirm(c *cobra.Command, question string) error {
	in, ok := c.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) { //nolint:gosec // a descriptor fits
		return fault.New(fault.Usage, "there is no terminal to confirm on").Hinted("give --yes")
	}
	_, _ = fmt.Fprintf(c.ErrOrStderr(), "%s [y/N] ", question)
	line, err := bufio.NewReader(in).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); err == nil && (answer == "y" || answer == "yes") {
		return nil
	}
	return fault.New(fault.Refused, "not approved")
}
