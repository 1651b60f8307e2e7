// Command demarc operates a shared responsibility model on clouds.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	_ "time/tzdata" // a policy's time zone is known on every machine

	"github.com/spf13/cobra"

	"demarc/internal/fault"
	"demarc/internal/serve"
	"demarc/internal/untrusted"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends it at once
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// commands make the commands, in the order in which help lists them.
var commands = []func() *cobra.Command{
	demoCommand, serveCommand, doctorCommand, inventoryCommand, netblockCommand, reachCommand,
	exposureCommand, profileCommand, dutyCommand, findingCommand, caseCommand,
	mailCommand, coverageCommand, modeCommand, enforceCommand, auditCommand,
	probeCommand, checkCommand, guideCommand, versionCommand,
}

// run is the program but for the process around it. It returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	began := tidy(root)
	err := root.ExecuteContext(ctx)
	if _, ok := fault.Of(err); err != nil && !ok && !*began {
		err = fault.New(fault.Usage, "%w", err).Hinted("see demarc --help")
	}
	if err != nil && ctx.Err() != nil {
		err = fault.New(fault.CannotLook, "interrupted: %w", err)
	}
	printError(stderr, err, wantsJSON(args))
	return fault.Exit(err)
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "demarc",
		Short: "Operates a shared responsibility model on clouds",
		Long: `Demarc knows who is responsible for what, probes the netblocks of a cloud politely, tells the responsible
party what is wrong and how to fix it, and proves the fix.

Exit status: 0 fine, 1 the answer is no, 2 usage, 3 could not look.`,
		Example: `  demarc inventory who 192.0.2.10 --at 2026-05-04T02:14:00Z --db demarc.db
  demarc case list --db demarc.db
  demarc duty table --service-type paas`,
	}
	for _, c := range commands {
		root.AddCommand(c())
	}
	return root
}

// tidy gives every command of the tree the manners they share: errors are returned and not printed, a group shows its
// help and refuses what it does not know. The result tells whether a command began its work: an error before that is
// one of usage.
func tidy(root *cobra.Command) (began *bool) {
	began = new(bool)
	root.SetFlagErrorFunc(flagFault)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		c.SilenceUsage, c.SilenceErrors = true, true
		switch do := c.RunE; {
		case do != nil:
			c.RunE = func(c *cobra.Command, args []string) error {
				*began = true
				return do(c, args)
			}
		case c.HasSubCommands() && c.Run == nil:
			c.Args = cobra.ArbitraryArgs
			c.RunE = group
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	return began
}

// group is what a command does that only holds others.
func group(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return c.Help()
	}
	f := fault.New(fault.Usage, "%s has no command %q", c.CommandPath(), args[0])
	c.SuggestionsMinimumDistance = 2
	if s := c.SuggestionsFor(args[0]); len(s) > 0 {
		return f.Hinted("did you mean %s?", strings.Join(s, ", "))
	}
	return f.Hinted("see %s --help", c.CommandPath())
}

// wantsJSON tells whether the command line asks for JSON, even if it could not be read to its end.
func wantsJSON(args []string) bool {
	for i, a := range args {
		switch {
		case a == "--":
			return false
		case a == "--output=json", a == "-ojson", a == "-o=json":
			return true
		case (a == "--output" || a == "-o") && i+1 < len(args) && args[i+1] == "json":
			return true
		}
	}
	return false
}

// printError tells a person, or a script, what went wrong, where, and what to do. It is the only place that does.
func printError(out io.Writer, err error, asJSON bool) {
	if err == nil {
		return
	}
	f, ok := fault.Of(err)
	if !ok {
		f = &fault.Fault{Code: "internal", Message: err.Error()}
	}
	told := *f
	told.Message = printable(strings.Replace(err.Error(), f.Error(), f.Message, 1))
	told.Hint = printable(f.Hint)
	told.At.File = printable(f.At.File)
	if asJSON {
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		_ = e.Encode(struct {
			Error fault.Fault `json:"error"`
		}{told})
		return
	}
	at := told.At.String()
	if at != "" {
		at += ": "
	}
	_, _ = fmt.Fprintf(out, "demarc: %s%s\n", at, told.Message)
	if told.Hint != "" {
		_, _ = fmt.Fprintf(out, "  %s\n", told.Hint)
	}
}

// printable keeps the lines of a message, and nothing else that moves a cursor.
func printable(s string) string {
	if s == "" {
		return ""
	}
	var out []string
	for line := range strings.SplitSeq(s, "\n") {
		out = append(out, strings.ReplaceAll(untrusted.From(line).Terminal(), `\\`, `\`))
	}
	return strings.Join(out, "\n  ")
}

func versionCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "version", Short: "Print the version", Example: "  demarc version\n  demarc version --output json", Args: checkArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			switch output {
			case "text":
				_, err := fmt.Fprintln(c.OutOrStdout(), "demarc", serve.Version)
				return err
			case "json":
				return writeIndented(c.OutOrStdout(), map[string]string{"name": "demarc", "version": serve.Version})
			}
			return fault.New(fault.Usage, "--output can not be %q", output).Hinted("accepted: text, json")
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return c
}
