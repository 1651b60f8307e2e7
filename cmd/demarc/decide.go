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
	example: `  demarc enforce release DM-1A2B3C --reason "wrong machine" --config demarc.yaml
  demarc enforce release DM-1A2B3C --by olga --reason "wrong machine" --db demarc.db`,
	told: func(_, c casework.Case) string { return c.Ref() + " is taken back. What was done is undone at once." },
}

// decider is the help of --by where an operator decides.
const decider = "who decides (a running server knows it by itself; else the login name)"

// wordCommand makes the command of a word about one case, and the question that its flags fill in; by is the help of --by.
func wordCommand(r *reading, w word, by string) (*cobra.Command, *serve.Ask) {
	q := &serve.Ask{Do: w.do}
	c := &cobra.Command{
		Use: w.use, Short: w.short, Long: w.long, Example: w.example, Args: checkArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			q.Cases = args
			return r.say(c, w, *q)
		},
	}
	c.Flags().StringVar(&q.By, "by", "", by)
	return c, q
}

// releaseCommand takes a case back, whatever its findings say: the way out of an error.
func releaseCommand(r *reading) *cobra.Command {
	c, q := wordCommand(r, withdrawal, decider)
	reasonFlag(c, &q.Why, "the reason")
	return c
}

var renewal = word{
	do: serve.Renew, use: "renew CASE", short: "Begin a new round of notices in a case",
	long: `Begin a new round in a case: the responsible party is notified again and has the full time to fix. Use it where the people
who were notified have left, or where the owner's changes have used up the one new round that begins by itself.`,
	example: `  demarc case renew DM-1A2B3C --reason "the owner has left; the new one was notified by phone" --config demarc.yaml
  demarc case renew DM-1A2B3C --by carol --reason "new owner" --db demarc.db`,
	told: func(_, c casework.Case) string {
		return c.Ref() + " begins a new round: the weakness is checked at once, and then the responsible party is notified."
	},
}

func renewCommand(r *reading) *cobra.Command {
	c, q := wordCommand(r, renewal, decider)
	reasonFlag(c, &q.Why, "the reason; it stands in the audit log")
	return c
}
