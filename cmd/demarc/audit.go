package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"demarc/internal/audit"
	"demarc/internal/fault"
	"demarc/internal/store"
)

func auditCommand() *cobra.Command {
	var r reading
	var heads string
	c := &cobra.Command{Use: "audit", Short: "What was done, in a log that shows tampering", Example: "  demarc audit verify --db demarc.db"}
	r.flags(c)
	verify := &cobra.Command{
		Use: "verify", Short: "Prove that the log is what it was",
		Long: `Prove that the log is what it was: the tree is rebuilt from its entries, and held against the hashes and heads
that were stored with them and against the heads kept outside the database.

Exit status: 0 every entry verifies, 1 the log was changed, 2 usage, 3 could not look.`,
		Example: "  demarc audit verify --db demarc.db\n  demarc audit verify --db demarc.db --heads /mnt/other/demarc.heads --output json",
		Args:    checkArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			path, conf, err := r.path()
			if err != nil {
				return err
			}
			return r.with(c.Context(), func(db *store.DB) error { return verifyAudit(c, &r, db, headsOf(path, conf), heads) })
		},
	}
	verify.Flags().StringVar(&heads, "heads", "", "`file` of heads kept outside (default: beside the database, when it is there)")
	c.AddCommand(verify, &cobra.Command{
		Use: "export", Short: "Write the log as JSON lines, as it is stored", Example: "  demarc audit export --db demarc.db > audit.jsonl",
		Args: checkArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return r.with(c.Context(), func(db *store.DB) error { return exportAudit(c.Context(), c, db) })
		},
	})
	return c
}

// verified is what verification says.
type verified struct {
	Entries  int             `json:"entries"`
	Root     audit.Hash      `json:"root"`
	Heads    int             `json:"heads"` // kept outside the database
	Intact   bool            `json:"intact"`
	Problems []audit.Problem `json:"problems"`
}

func verifyAudit(c *cobra.Command, r *reading, db *store.DB, beside, heads string) error {
	known, err := knownHeads(beside, heads) // before the log: a log that is written to meanwhile only grows
	if err != nil {
		return err
	}
	stored, err := db.AuditLog(c.Context())
	if err != nil {
		return err
	}
	stored.Known = known
	v := verified{Entries: len(stored.Leaves), Root: stored.Head.Root, Heads: len(known), Problems: append([]audit.Problem{}, audit.Verify(stored)...)}
	v.Intact = len(v.Problems) == 0
	if err := writeVerified(c, r, v); err != nil {
		return err
	}
	if !v.Intact {
		return fault.New(fault.Violation, "the audit log is not what it was: %s", countOf(len(v.Problems), "problem", "problems")).
			Hinted("keep the files as they are, and compare with a backup")
	}
	return nil
}

func writeVerified(c *cobra.Command, r *reading, v verified) error {
	out := c.OutOrStdout()
	switch {
	case r.output == "json":
		return writeIndented(out, v)
	case r.output == "csv" || !v.Intact:
		return list(c, r, "", v.Problems,
			col("entry", func(p audit.Problem) string { return fmt.Sprint(p.Seq) }),
			col("problem", func(p audit.Problem) string { return p.What }))
	}
	verb := "verify"
	if v.Entries == 1 {
		verb = "verifies"
	}
	_, _ = fmt.Fprintf(out, "%s %s, against %s kept outside the database.\n", countOf(v.Entries, "entry", "entries"), verb, countOf(v.Heads, "head", "heads"))
	if v.Heads == 0 {
		_, _ = fmt.Fprintln(out, "Without heads kept outside, a log that was rewritten whole does not show: give --heads.")
	}
	_, err := fmt.Fprintf(out, "root %s\n", v.Root)
	return err
}

// knownHeads reads the heads kept outside the database: in the file that is named, else in the usual one, where there is one.
func knownHeads(usual, path string) ([]audit.Head, error) {
	beside := path == ""
	if beside {
		path = usual
	}
	data, err := os.ReadFile(path)
	if beside && errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.New(fault.CannotLook, "cannot read the heads: %w", err)
	}
	return headsIn(path, data)
}

// headsIn reads the heads of a file. The path is only for messages.
func headsIn(path string, data []byte) ([]audit.Head, error) {
	var out []audit.Head
	line := 0
	for l := range bytes.Lines(bytes.TrimPrefix(data, []byte("\ufeff"))) {
		line++
		if len(bytes.TrimSpace(l)) == 0 {
			continue
		}
		var h audit.Head
		if err := json.Unmarshal(l, &h); err != nil {
			if cutOff(bytes.TrimSpace(l)) {
				continue
			}
			return nil, fault.New(fault.CannotLook, "this is no head of an audit log").In(fault.Position{File: path, Line: line, Col: 1}).Hinted("a head is a line such as {\"size\":3,\"root\":\"…\"}")
		}
		out = append(out, h)
	}
	return out, nil
}

// cutOff tells whether a line is the beginning of a head, and no more: a crash ended its writing.
func cutOff(line []byte) bool {
	const begins = `{"size":`
	if len(line) < len(begins) {
		return bytes.HasPrefix([]byte(begins), line)
	}
	return bytes.HasPrefix(line, []byte(begins)) && !bytes.HasSuffix(line, []byte("}"))
}

func exportAudit(ctx context.Context, c *cobra.Command, db *store.DB) error {
	stored, err := db.AuditLog(ctx)
	if err != nil {
		return err
	}
	for _, l := range stored.Leaves {
		var line bytes.Buffer
		if err := json.Compact(&line, l.Data); err != nil {
			return fault.New(fault.Violation, "entry %d is not what was written", l.Seq).Hinted("see demarc audit verify")
		}
		line.WriteByte('\n')
		if _, err := c.OutOrStdout().Write(line.Bytes()); err != nil {
			return err
		}
	}
	return nil
}
