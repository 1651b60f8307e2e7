package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"demarc/internal/casework"
	"demarc/internal/fault"
	"demarc/internal/serve"
)

var resumed = word{
	use: "resume CASE", short: "Let a case on hold go on, after you have looked",
	long: `Let a case on hold go on where it stood. Findings whose attribution was in doubt count as the machine's again, and it is
looked at again at once. An act that waited must be approved again.`,
	example: `  demarc case resume DM-1A2B3C --by olga --db demarc.db`,
	heard: func(c casework.Case) error {
		if c.State != casework.OnHold {
			return fault.New(fault.Refused, "case %s is %s: only a case on hold is resumed", c.Ref(), c.State).Hinted("see demarc case list")
		}
		return nil
	},
	record: (*serve.Desk).Resume,
	told:   func(_, c casework.Case) string { return c.Ref() + " goes on: it is " + string(c.State) + "." },
}

// releaseCommand takes a case back, whatever its findings say: the way out of an error.
func releaseCommand(r *reading) *cobra.Command {
	var because string
	c := ownerCommand(r, word{
		use: "release CASE", short: "Take a case back: give the machine its network, whatever the findings say",
		long: `Take a case back. A machine that is off the network gets its security groups as they were, but for what its owner changed; the
case ends, and its owner is told that it was withdrawn. Should the weakness be there, the next sweep opens a new case with its full time.

The running server carries it out; no budget, window or kill switch stops it.`,
		example: `  demarc enforce release DM-1A2B3C --by olga --because "wrong machine" --config demarc.yaml`,
		heard: func(c casework.Case) error {
			switch {
			case strings.TrimSpace(because) == "":
				return fault.New(fault.Usage, "a case is not taken back without a reason").Hinted("give it with --because; it stands in the audit log")
			case c.State.Over() || slices.Contains([]casework.State{casework.Released, casework.Verified}, c.State):
				return fault.New(fault.Refused, "case %s is %s: there is nothing to take back", c.Ref(), c.State).Hinted("see demarc case show %s", c.Ref())
			}
			return nil
		},
		record: func(d *serve.Desk, ctx context.Context, id, by string) error { return d.Withdraw(ctx, id, by, because) },
		told:   func(_, c casework.Case) string { return c.Ref() + " is taken back. What was done is undone at once." },
	})
	c.Flags().StringVar(&because, "because", "", "the reason")
	return c
}
