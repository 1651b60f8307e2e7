package main

import (
	"github.com/spf13/cobra"

	"demarc/internal/casework"
	"demarc/internal/serve"
)

var resumed = word{
	do: serve.Resume, use: "resume CASE", short: "Let a case on hold go on, after you have looked",
	long: `Let a case on hold go on where it stood. Findings whose attribution was in doubt count as the machine's again, and it is
looked at again at once. An act that waited must be approved again.`,
	example: `  demarc case resume DM-1A2B3C --config demarc.yaml
  demarc case resume DM-1A2B3C --by olga --db demarc.db`,
	told: func(_, c casework.Case) string { return c.Ref() + " goes on: it is " + string(c.State) + "." },
}

var withdrawal = word{
	do: serve.Withdraw, use: "release CASE", short: "Take a case back: give the machine its network, whatever the findings say",
	long: `Take a case back. A machine that is off the network gets its security groups as they were, but for what its owner changed; the
case ends, and its owner is told that it was withdrawn. Should the weakness be there, the next sweep opens a new case with its full time.

The running server carries it out; no budget, window or kill switch stops it.`,
	example: `  demarc enforce release DM-1A2B3C --because "wrong machine" --config demarc.yaml
  demarc enforce release DM-1A2B3C --by olga --because "wrong machine" --db demarc.db`,
	told: func(_, c casework.Case) string { return c.Ref() + " is taken back. What was done is undone at once." },
}

// releaseCommand takes a case back, whatever its findings say: the way out of an error.
func releaseCommand(r *reading) *cobra.Command {
	q := serve.Ask{Do: withdrawal.do}
	c := &cobra.Command{
		Use: withdrawal.use, Short: withdrawal.short, Long: withdrawal.long, Example: withdrawal.example, Args: checkArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			q.Cases = args
			return r.say(c, withdrawal, q)
		},
	}
	c.Flags().StringVar(&q.By, "by", "", "who decides (a running server knows it by itself; else the login name)")
	c.Flags().StringVar(&q.Why, "because", "", "the reason")
	return c
}
