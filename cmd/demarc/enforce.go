package main

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"os/user"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"demarc/internal/asset"
	"demarc/internal/casework"
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
		Example: "  demarc enforce pending --config demarc.yaml\n  demarc enforce pause --reason \"a bad check\" --config demarc.yaml",
	}
	r.flags(c)
	approve := &cobra.Command{
		Use: "approve CASE...", Short: "Approve the act that waits in a case, or in several as one batch",
		Long: `Approve the act that waits in a case. The gate proves everything anew at the moment of the attempt, and may still say no. Several cases are
one batch: over any budget, none of it happens.

Some conditions of the gate are for a person to judge: a port of the owner's own network that could answer for the address, port
security that the owner switched off, or people who were notified and have left. The refusal names them; decide against one with
--despite and a --reason. No other condition can be overruled.

Without a terminal to confirm on, give --yes.`,
		Example: `  demarc enforce approve DM-1A2B3C --config demarc.yaml
  demarc enforce approve DM-1A2B3C --despite spoofing --reason "the owner's own bridge" --config demarc.yaml
  demarc enforce approve DM-1A2B3C --by carol --yes --db demarc.db`,
		Args: checkArgs(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			q.Cases = args
			return approveAct(c, &r, q, sure)
		},
	}
	approve.Flags().BoolVar(&sure, "yes", false, "do not ask")
	approve.Flags().StringSliceVar(&q.Despite, "despite", nil,
		"decide against a condition of the gate that a person may judge: "+strings.Join(casework.Despite, ", ")+"; needs --reason")
	_ = approve.RegisterFlagCompletionFunc("despite", cobra.FixedCompletions(casework.Despite, cobra.ShellCompDirectiveNoFileComp))
	reasonFlag(approve, &q.Why, "why, where --despite is given; it stands in the audit log")
	approve.Flags().StringVar(&q.By, "by", "", "who approves (a running server knows it by itself; else the login name)")
	c.AddCommand(approve, releaseCommand(&r), clearCommand(&r), switchCommand(&r, true), switchCommand(&r, false), &cobra.Command{
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
		c.Long = `Pause enforcement: no action on any machine begins, and one that is under way is not completed. Machines are still given
back, and mail still goes out. Neither the cloud nor a running server is needed, and no space on the disk: where the database cannot be
written, the pause holds by the switch file, and the audit entry follows.`
		c.Example = "  demarc enforce pause --reason \"a bad check\" --config demarc.yaml\n  demarc enforce pause --by carol --db demarc.db"
	}
	c.Args = checkArgs(cobra.NoArgs)
	c.RunE = func(c *cobra.Command, _ []string) error {
		told, err := r.decide(c.Context(), q)
		if err != nil {
			return err
		}
		return tellSwitch(c, r, told)
	}
	c.Flags().StringVar(&q.By, "by", "", decider)
	reasonFlag(c, &q.Why, "the reason; it stands in the audit log")
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
		p, err := policy.Default()
		if err != nil {
			return nil, err
		}
		return p.InMode(policy.Enforce), nil // what the configuration allows is not known here; the server keeps to it
	}
	_, p, err := serve.Load(r.config)
	return p, err
}

func tellSwitch(c *cobra.Command, r *reading, told serve.Told) error {
	var err error
	switch {
	case r.output == "json":
		return writeIndented(c.OutOrStdout(), struct {
			Paused     bool   `json:"paused"`
			Unrecorded string `json:"unrecorded,omitempty"` // why the audit entry is not written yet
		}{told.Paused, told.Unrecorded})
	case told.Paused && told.Unrecorded != "":
		_, err = fmt.Fprintf(c.OutOrStdout(), "Enforcement is paused: no act on any machine begins.\nThe audit entry follows: %s\n",
			untrusted.From(told.Unrecorded).Terminal())
	case told.Paused:
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

	Leftovers []leftoverRow `json:"leftovers"`
}

// leftoverRow is something of ours that stands in the cloud and that no action in force explains.
type leftoverRow struct {
	Kind    casework.LeftoverKind `json:"kind"`
	ID      string                `json:"id"`
	Server  asset.ServerID        `json:"server,omitempty"`
	Project asset.ProjectID       `json:"project"`
	Case    string                `json:"case,omitempty"`
	Since   moment                `json:"since"`
	Clear   string                `json:"clear"` // the command that ends it
}

func leftoverRowOf(l casework.Leftover) leftoverRow {
	row := leftoverRow{
		Kind:    l.Kind,
		ID:      l.ID(),
		Server:  l.Server,
		Project: l.Project,
		Since:   moment(l.Since),
		Clear:   "demarc enforce clear " + l.ID(),
	}
	if l.Case != "" {
		row.Case = casework.Ref(l.Case)
	} else {
		row.Clear = "by hand: there is no record of what it had before"
	}
	return row
}

// clearCommand ends what is left over.
func clearCommand(r *reading) *cobra.Command {
	q := serve.Ask{Do: serve.Clear}
	c := &cobra.Command{
		Use: "clear PORT|SERVER", Short: "End a quarantine, lock or stop that no action in force explains",
		Long: `End a quarantine, lock or stop of Demarc's that no action in force explains; demarc enforce pending lists them. A port
gets the security groups that were saved when it was taken off the network, with what its owner added since; a machine is unlocked, and
started where Demarc stopped it. The running server carries it out.`,
		Example: "  demarc enforce clear 7f3c2a1e-5b1d-4a55-9d0c-0b5c6d7e8f90 --reason \"left by a deleted server\" --config demarc.yaml",
		Args:    checkArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			q.Cases = args
			told, err := r.decide(c.Context(), q)
			if err != nil {
				return err
			}
			if r.output == "json" {
				return writeIndented(c.OutOrStdout(), leftoverRowOf(told.Leftovers[0]))
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "The %s on %s is ended by the running server.\n", told.Leftovers[0].Kind, told.Leftovers[0].ID())
			return err
		},
	}
	c.Flags().StringVar(&q.By, "by", "", decider)
	reasonFlag(c, &q.Why, "the reason; it stands in the audit log")
	return c
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
	p := pending{Paused: paused, Cases: []caseRow{}, Acts: []actRow{}, Leftovers: []leftoverRow{}}
	for _, k := range told.Waiting {
		row, err := caseRowOf(n, k)
		if err != nil {
			return err
		}
		row.Will, row.Announced = string(told.Will[k.ID]), announcedIn(k)
		p.Cases = append(p.Cases, row)
	}
	rows := p.Cases
	for _, a := range told.Running {
		p.Acts = append(p.Acts, actRowOf(a))
	}
	for _, l := range told.Leftovers {
		p.Leftovers = append(p.Leftovers, leftoverRowOf(l))
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
		col("will", func(k caseRow) string { return k.Will }),
		col("announced", func(k caseRow) string { return k.Announced }),
		col("queued_at", func(k caseRow) string { return r.when(k.QueuedAt) }),
		col("approved_by", func(k caseRow) string { return approvers(k) }),
		col("gate_said_no", func(k caseRow) string { return strings.Join(k.Blocks, "; ") }),
	}
	if err := list(c, r, "No act waits.", rows, cols...); err != nil || r.output == "csv" {
		return err
	}
	if err := listLeftovers(c, r, p.Leftovers); err != nil || len(p.Acts) == 0 {
		return err
	}
	_, _ = fmt.Fprintln(c.OutOrStdout(), "\nUNDER WAY")
	return list(c, r, "", p.Acts, actColumns(r)...)
}

func listLeftovers(c *cobra.Command, r *reading, rows []leftoverRow) error {
	if len(rows) == 0 {
		return nil
	}
	_, _ = fmt.Fprintln(c.OutOrStdout(), "\nLEFT OVER: no action in force explains these")
	return list(c, r, "", rows,
		col("kind", func(l leftoverRow) string { return string(l.Kind) }),
		col("id", func(l leftoverRow) string { return l.ID }),
		col("server", func(l leftoverRow) string { return string(l.Server) }),
		col("project", func(l leftoverRow) string { return string(l.Project) }),
		col("case", func(l leftoverRow) string { return l.Case }),
		col("since", func(l leftoverRow) string { return r.when(l.Since) }),
		col("clear", func(l leftoverRow) string { return l.Clear }))
}

// announcedIn is what the owner was warned of: the harshest action of the final warning.
func announcedIn(k casework.Case) string {
	for _, step := range []casework.Step{casework.StepRelapse, casework.StepFinal} {
		if ns := k.Accepted(step); len(ns) > 0 {
			return string(ns[0].End)
		}
	}
	return ""
}

// reasonFlag adds --reason. The older word --because is taken too.
func reasonFlag(c *cobra.Command, to *string, usage string) {
	c.Flags().StringVar(to, "reason", "", usage)
	c.Flags().SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "because" {
			name = "reason"
		}
		return pflag.NormalizedName(name)
	})
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
		question := fmt.Sprintf("%s of project %s, case %s, class %s. Demarc will %s. Approve?",
			named(row.ServerName, row.Server).Terminal(), named(row.ProjectName, row.Project).Terminal(),
			k.Ref(), k.ActingClass(), casework.Will(told.Will[k.ID]))
		if err := confirm(c, question); err != nil {
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
		if _, err := fmt.Fprintf(c.OutOrStdout(), "%s is approved by %s: %s. The gate proves everything anew before anything happens.\n", row.Ref,
			untrusted.From(approvers(row)).Terminal(), casework.Will(told.Will[row.ID])); err != nil {
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
