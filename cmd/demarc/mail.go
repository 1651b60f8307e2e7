package main

import (
	"github.com/spf13/cobra"

	"demarc/internal/access"
	"demarc/internal/casework"
	"demarc/internal/serve"
	"demarc/internal/store"
	"demarc/internal/untrusted"
)

func mailCommand() *cobra.Command {
	var r reading
	var of string
	c := &cobra.Command{Use: "mail", Short: "The outbox, and what became of it", Example: "  demarc mail list --db demarc.db"}
	r.flags(c)
	ls := &cobra.Command{
		Use: "list", Short: "List the mails", Example: "  demarc mail list --db demarc.db\n  demarc mail list --case DM-1A2B3C",
		Args: checkArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return r.with(c.Context(), func(db *store.DB) error { return listMails(c, &r, db, of) })
		},
	}
	ls.Flags().StringVar(&of, "case", "", "only those of a case")
	c.AddCommand(ls, &cobra.Command{
		Use: "show ID", Short: "Show a mail with its words, by its id or Message-ID", Example: "  demarc mail show 0199f3a4-… --db demarc.db\n  demarc mail show dm-1a2b3c.notice.5f2e…@cloud.example --output json",
		Args: checkArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return r.with(c.Context(), func(db *store.DB) error { return showMail(c, &r, db, args[0]) })
		},
	})
	return c
}

type mailRow struct {
	ID         string              `json:"id"`
	Case       string              `json:"case"`
	Step       casework.Step       `json:"step"`
	To         casework.Audience   `json:"to"`
	Recipient  string              `json:"recipient"`
	Status     casework.MailStatus `json:"status"`
	Attempts   int                 `json:"attempts"`
	QueuedAt   moment              `json:"queued_at"`
	NextAt     moment              `json:"next_at,omitzero"`
	AcceptedAt moment              `json:"accepted_at,omitzero"`
	Deadline   moment              `json:"deadline,omitzero"`
	Subject    string              `json:"subject,omitempty"`
	MessageID  string              `json:"message_id"`
	Digest     string              `json:"digest,omitempty"`    // Message-ID of the digest that it was sent in
	LastError  untrusted.Text      `json:"last_error,omitzero"` // in the words of the next hop
}

func mailRowOf(m casework.Mail) mailRow {
	row := mailRow{ID: m.ID, Case: m.Case, Step: m.Step, To: m.To, Recipient: m.Recipient, Status: m.Status, Attempts: m.Attempts, QueuedAt: moment(m.QueuedAt),
		AcceptedAt: moment(m.AcceptedAt), Deadline: moment(m.Deadline), Subject: m.Subject, MessageID: m.MessageID, Digest: m.Digest, LastError: untrusted.From(m.LastError)}
	if m.Status == casework.Waiting {
		row.NextAt = moment(m.NextAt)
	}
	return row
}

func mailColumns(r *reading) []column[mailRow] {
	return []column[mailRow]{
		col("queued_at", func(m mailRow) string { return r.when(m.QueuedAt) }),
		col("case", func(m mailRow) string { return refOf(m.Case) }),
		col("step", func(m mailRow) string { return string(m.Step) }),
		col("recipient", func(m mailRow) string { return m.Recipient }),
		col("status", func(m mailRow) string { return string(m.Status) }),
		col("accepted_at", func(m mailRow) string { return r.when(m.AcceptedAt) }),
		col("subject", func(m mailRow) string { return m.Subject }),
		{"last_error", func(m mailRow) untrusted.Text { return m.LastError }},
	}
}

func listMails(c *cobra.Command, r *reading, db *store.DB, of string) error {
	ms, err := db.Mails(c.Context(), access.Operator())
	if of != "" && err == nil {
		var k casework.Case
		if k, err = serve.FindCase(c.Context(), db, of); err == nil {
			ms, err = db.MailsOf(c.Context(), k.ID)
		}
	}
	if err != nil {
		return err
	}
	var rows []mailRow
	for _, m := range ms {
		rows = append(rows, mailRowOf(m))
	}
	return list(c, r, "No mail was written.", rows, mailColumns(r)...)
}
