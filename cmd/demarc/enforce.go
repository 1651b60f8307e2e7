package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"demarc/internal/access"
	"demarc/internal/casework"
	"demarc/internal/fault"
	"demarc/internal/policy"
	"demarc/internal/serve"
	"demarc/internal/store"
	"demarc/internal/untrusted"
)

func enforceCommand() *cobra.Command {
	var r reading
	var by string
	var sure bool
	c := &cobra.Command{
		Use: "enforce", Short: "The acts on machines: what waits, who approves, the kill switch",
		Example: "  demarc enforce pause --by carol --config demarc.yaml",
	}
	r.flags(c)
	approve := &cobra.Command{
		Use: "approve CASE", Short: "Approve the act that waits in a case",
		Long: `Approve the act that waits in a case. The gate proves everything anew at the moment of the attempt, and may still say no.

Without a terminal to confirm on, give --yes.`,
		Example: "  demarc enforce approve DM-1A2B3C --by carol --config demarc.yaml\n  demarc enforce approve DM-1A2B3C --by carol --yes --db demarc.db",
		Args:    checkArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if strings.TrimSpace(by) == "" {
				return fault.New(fault.Usage, "an approval needs a name").Hinted("say who approves with --by; it stands in the audit log")
			}
			return r.desk(c.Context(), func(db *store.DB, d *serve.Desk) error { return approveAct(c, &r, db, d, args[0], by, sure) })
		},
	}
	approve.Flags().BoolVar(&sure, "yes", false, "do not ask")
	approve.Flags().StringVar(&by, "by", "", "who approves")
	c.AddCommand(approve, releaseCommand(&r), switchCommand(&r, true), switchCommand(&r, false), &cobra.Command{
		Use: "pending", Short: "List the cases whose act waits for approval or the gate", Example: "  demarc enforce pending --db demarc.db",
		Args: checkArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return r.with(c.Context(), func(db *store.DB) error { return listPending(c, &r, db) })
		},
	})
	return c
}

// switchCommand throws the kill switch or lifts it.
func switchCommand(r *reading, paused bool) *cobra.Command {
	var by string
	c := &cobra.Command{
		Use: "pause", Short: "Throw the kill switch: no act on any machine begins",
		Long:    "Throw the kill switch: no act on any machine begins. Machines are still given back, and mail still goes out.\nNeither the cloud nor a running server is needed.",
		Example: "  demarc enforce pause --by carol --db demarc.db",
		Args:    checkArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return r.desk(c.Context(), func(db *store.DB, d *serve.Desk) error {
				if err := d.Pause(c.Context(), paused, cmp.Or(by, login())); err != nil {
					return err
				}
				return tellSwitch(c, r, db)
			})
		},
	}
	if !paused {
		c.Use, c.Short, c.Long = "resume", "Lift the kill switch", ""
		c.Example = "  demarc enforce resume --by carol --db demarc.db"
	}
	c.Flags().StringVar(&by, "by", "", "who decides (default: the login name)")
	return c
}

// login is the name of the account that runs the program.
func login() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}

// desk opens the database to decide something in it.
func (r *reading) desk(ctx context.Context, do func(*store.DB, *serve.Desk) error) error {
	path, conf, err := r.path()
	if err != nil {
		return err
	}
	rules, err := r.rules()
	if err != nil {
		return err
	}
	db, err := store.OpenReader(ctx, path, password(path, conf)) // refuses what is no database of ours before anything is written
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	opts := []store.Option{password(path, conf)}
	if heads := headsOf(path, conf); heads != "" {
		opts = append(opts, store.WithHeads(store.HeadFile(heads)))
	}
	if db, err = store.Open(ctx, path, opts...); err != nil {
		return err
	}
	d, err := serve.NewDesk(ctx, db, rules)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	return errors.Join(do(db, d), db.Close())
}

// rules is the policy of the configuration, else the default one.
func (r *reading) rules() (*policy.Policy, error) {
	if r.config == "" {
		return policy.Default()
	}
	_, p, err := serve.Load(r.config)
	return p, err
}

func tellSwitch(c *cobra.Command, r *reading, db *store.DB) error {
	paused, err := db.Paused(c.Context())
	if err != nil {
		return err
	}
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

func listPending(c *cobra.Command, r *reading, db *store.DB) error {
	ctx := c.Context()
	paused, err := db.Paused(ctx)
	if err != nil {
		return err
	}
	rows, err := caseRows(c, db, casework.Filter{States: []casework.State{casework.Queued}})
	if err != nil {
		return err
	}
	running, err := db.RunningActs(ctx)
	if err != nil {
		return err
	}
	p := pending{Paused: paused, Cases: append([]caseRow{}, rows...), Acts: []actRow{}}
	for _, a := range running {
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

func approveAct(c *cobra.Command, r *reading, db *store.DB, d *serve.Desk, id, by string, sure bool) error {
	k, err := findCase(c.Context(), db, id)
	if err != nil {
		return err
	}
	if k.State != casework.Queued {
		return fault.New(fault.Refused, "no act waits in case %s: it is %s", k.Ref(), k.State).Hinted("see demarc enforce pending")
	}
	row, err := caseRowOf(newNaming(c.Context(), db), k)
	if err != nil {
		return err
	}
	if !sure {
		if err := confirm(c, fmt.Sprintf("Approve taking %s of project %s off the network (case %s, class %s)?", named(row.ServerName, row.Server).Terminal(),
			named(row.ProjectName, row.Project).Terminal(), k.Ref(), k.Class)); err != nil {
			return err
		}
	}
	if err := d.Approve(c.Context(), k.ID, by); err != nil {
		return err
	}
	after, err := db.Case(c.Context(), access.Operator(), k.ID)
	if err != nil {
		return err
	}
	if row, err = caseRowOf(newNaming(c.Context(), db), after); err != nil {
		return err
	}
	if r.output == "json" {
		return writeIndented(c.OutOrStdout(), row)
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%s is approved by %s. The gate proves everything anew before anything happens.\n", k.Ref(), untrusted.From(approvers(row)).Terminal())
	return err
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
