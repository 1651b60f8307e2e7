package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"demarc/internal/access"
	"demarc/internal/casework"
	"demarc/internal/fault"
	"demarc/internal/serve"
	"demarc/internal/store"
	"demarc/internal/untrusted"
)

// word is something a person says of a case.
type word struct {
	do                        serve.Verb
	use, short, long, example string
	told                      func(before, after casework.Case) string
}

var acknowledgement = word{
	do: serve.Acknowledge, use: "ack CASE", short: "Record that an owner has reacted",
	long: "Record that an owner has reacted to the notice of a case. The deadline stays as it is.",
	example: `  demarc case ack DM-1A2B3C --by alice --config demarc.yaml
  demarc case ack DM-1A2B3C --by alice --db demarc.db --output json`,
	told: func(_, c casework.Case) string { return c.Ref() + " is acknowledged. Its deadline stays." },
}

var claimed = word{
	do: serve.Claim, use: "fixed CASE", short: "Record that an owner says it is fixed, and look again",
	long: `Record that an owner says a case is fixed. Nothing is believed: the machine is looked at again, and two clean looks prove it.

For a machine that is off the network this asks for its release, at most once in ten minutes.`,
	example: `  demarc case fixed DM-1A2B3C --by alice --config demarc.yaml
  demarc case fixed DM-1A2B3C --by alice --db demarc.db --output json`,
	told: func(before, c casework.Case) string {
		switch {
		case c.State != casework.Verifying:
			return c.Ref() + " is looked at again. Two clean looks prove the fix."
		case c.RequestedAt == before.RequestedAt:
			return c.Ref() + ": a release was asked for less than ten minutes ago. This request changes nothing."
		}
		return c.Ref() + " is looked at again. Two clean looks give the machine its network back."
	},
}

// ownerCommand records what an owner said.
func ownerCommand(r *reading, w word) *cobra.Command {
	c, _ := wordCommand(r, w, "who says so: the owner, or the person whom the owner informed")
	return c
}

// say has a word written down, and shows what came of it.
func (r *reading) say(c *cobra.Command, w word, q serve.Ask) error {
	told, err := r.decide(c.Context(), q)
	if err != nil {
		return err
	}
	if r.output == "json" {
		row, err := caseRowOf(namingOf(told), told.After[0])
		if err != nil {
			return err
		}
		return writeIndented(c.OutOrStdout(), row)
	}
	_, err = fmt.Fprintln(c.OutOrStdout(), w.told(told.Before[0], told.After[0]))
	return err
}

// decide takes a decision to the server that runs with this configuration, or, where none does, writes it down itself.
func (r *reading) decide(ctx context.Context, q serve.Ask) (serve.Told, error) {
	path, conf, err := r.path()
	if err != nil {
		return serve.Told{}, err
	}
	if conf != nil && r.db == "" {
		told, err := serve.AskServer(ctx, conf.SocketPath(), q)
		if q.Do == serve.Pause && fault.Is(err, fault.Unavailable) { // a server that does not answer reads the file all the same
			if q.By == "" {
				q.By = login()
			}
			if paused, e := serve.PauseInFile(conf.SwitchPath(), q, err); e == nil {
				return paused, nil
			}
		}
		if !errors.Is(err, serve.ErrNoServer) {
			return told, err
		}
	}
	rules, err := r.rules()
	if err != nil {
		return serve.Told{}, err
	}
	if q.By == "" && q.Do != serve.Acknowledge && q.Do != serve.Claim { // those are the word of an owner, who must be named
		q.By = login()
	}
	return serve.DecideAlone(ctx, path, rules, switchOf(path, conf), q, opening(path, conf)...)
}

// mailFile is a mail with its words.
type mailFile struct {
	mailRow
	Thread string `json:"thread,omitempty"` // Message-ID of the case's first mail to this recipient
	Body   string `json:"body,omitempty"`
}

func showMail(c *cobra.Command, r *reading, db *store.DB, id string) error {
	m, err := findMail(c.Context(), db, id)
	if err != nil {
		return err
	}
	file := mailFile{mailRowOf(m), m.Thread, printableLines(m.Body)}
	switch r.output {
	case "json":
		return writeIndented(c.OutOrStdout(), file)
	case "csv":
		return list(c, r, "", []mailRow{file.mailRow}, mailColumns(r)...)
	}
	s := newSheet(c)
	s.row("mail", m.ID)
	s.row("message id", m.MessageID)
	s.row("in digest", m.Digest)
	if m.Case != "" {
		s.row("case", casework.Ref(m.Case)+" ("+m.Case+")")
	}
	s.row("step", fmt.Sprintf("%s, to the %s", m.Step, m.To))
	s.row("recipient", m.Recipient)
	s.row("status", fmt.Sprintf("%s, attempt %d", m.Status, m.Attempts))
	s.row("queued", r.when(file.QueuedAt))
	s.row("next", r.when(file.NextAt))
	s.row("accepted", r.when(file.AcceptedAt))
	s.row("deadline", r.when(file.Deadline))
	s.text("last error", file.LastError)
	s.row("subject", m.Subject)
	if err := s.end(); err != nil {
		return err
	}
	if m.Body == "" {
		_, err = fmt.Fprintln(c.OutOrStdout(), "\nIts words are made when it is sent.")
		return err
	}
	_, err = fmt.Fprint(c.OutOrStdout(), "\n", file.Body)
	return err
}

// printableLines keeps the lines of a text, and nothing else that moves a cursor.
func printableLines(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		shown := untrusted.From(strings.TrimRight(line, "\r\n")).Terminal()
		b.WriteString(strings.ReplaceAll(shown, `\\`, `\`) + "\n")
	}
	return b.String()
}

// findMail finds a mail by its id or its Message-ID. A digest is several mails: which, the error says.
func findMail(ctx context.Context, db *store.DB, id string) (casework.Mail, error) {
	m, err := db.Mail(ctx, access.Operator(), id)
	if !fault.Is(err, fault.NotFound) {
		return m, err
	}
	ms, listErr := db.Mails(ctx, access.Operator())
	if listErr != nil {
		return m, listErr
	}
	want := strings.TrimSuffix(strings.TrimPrefix(id, "<"), ">")
	var parts []string
	for _, m := range ms {
		switch want {
		case m.MessageID:
			return m, nil
		case m.Digest:
			parts = append(parts, "demarc mail show "+m.ID+"   "+casework.Ref(m.Case))
		}
	}
	if len(parts) > 0 {
		return m, fault.New(fault.Usage, "%q is a digest of %d mails", want, len(parts)).Hinted("show one of them:\n%s", strings.Join(parts, "\n"))
	}
	return m, hinted(err, "see demarc mail list --output json")
}
