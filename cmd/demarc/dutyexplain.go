package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"demarc/internal/access"
	"demarc/internal/duty"
	"demarc/internal/fault"
	"demarc/internal/finding"
	"demarc/internal/guide"
	"demarc/internal/store"
	"demarc/internal/untrusted"
)

func dutyExplainCommand(r *reading) *cobra.Command {
	var at string
	c := &cobra.Command{
		Use: "explain FINDING", Short: "Why a finding is charged to whom it is, now or at a time",
		Example: "  demarc duty explain 0199f3a4-… --db demarc.db\n  demarc duty explain 0199f3a4-… --at 2026-05-04 --output json",
		Args:    checkArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			when, err := r.parseTime(at)
			if err != nil {
				return err
			}
			return r.with(c.Context(), func(db *store.DB) error {
				e, err := explainFinding(c, r, db, args[0], when)
				if err != nil {
					return err
				}
				return e.show(c, r)
			})
		},
	}
	c.Flags().StringVar(&at, "at", "", `as it stood at a time: 2026-05-04T02:14:00Z, or "2026-05-04 02:14" (default: now)`)
	return c
}

// explained is the whole reasoning about one finding: what was found where, who had to act at the time, and who before and after.
type explained struct {
	Finding  string         `json:"finding"`
	Title    string         `json:"title"`
	Check    string         `json:"check"`
	Endpoint string         `json:"endpoint,omitempty"` // none: the configuration shows it
	Where    string         `json:"where"`
	At       moment         `json:"at,omitzero"` // the time that was asked for; absent: now
	Since    moment         `json:"charged_at"`
	Until    moment         `json:"charged_until,omitzero"` // absent: it still stands, or the finding is over
	Guidance []string       `json:"guidance"`               // pages, for demarc guide show
	History  []chargeRow    `json:"history"`
	Machine  untrusted.Text `json:"server_name,omitzero"`
	duty.Resolution
}

// chargeRow is one charge of a finding's history.
type chargeRow struct {
	At         moment         `json:"at"`
	Party      duty.Party     `json:"party"`
	Ownership  duty.Ownership `json:"ownership"`
	Assignment string         `json:"assignment"`
	Contract   string         `json:"contract_id,omitempty"`
	Model      string         `json:"model"`
	Version    int            `json:"version"`
	Reason     string         `json:"reason"`
}

func explainFinding(c *cobra.Command, r *reading, db *store.DB, id string, at moment) (explained, error) {
	f, err := db.Finding(c.Context(), access.Operator(), id)
	if err != nil {
		return explained{}, hinted(err, "see demarc finding list")
	}
	charges, err := db.Charges(c.Context(), access.Operator(), id)
	if err != nil {
		return explained{}, err
	}
	if len(charges) == 0 {
		charges = []finding.Charge{{Finding: id, At: f.FirstSeen, Duty: f.Duty}}
	}
	stands := charges[len(charges)-1]
	if at != 0 {
		var ok bool
		if stands, ok = finding.ChargeAt(charges, int64(at)); !ok {
			return explained{}, fault.New(fault.NotFound, "finding %s was not there at %s", id, r.when(at)).Hinted("it was first charged at %s", r.when(moment(charges[0].At)))
		}
	}
	e := explained{Finding: id, Title: f.Title, Check: f.Key.Check, Endpoint: f.Endpoint.String(), Where: f.Where(), At: at, Since: moment(stands.At), Resolution: stands.Duty, Guidance: []string{}}
	if e.Machine, err = newNaming(c.Context(), db).server(f.Key.Cloud, f.Key.Server); err != nil {
		return explained{}, err
	}
	for _, p := range guide.For(f.Key.Check, stands.Duty.Duty) {
		e.Guidance = append(e.Guidance, p.ID)
	}
	for _, x := range charges {
		if x.At > stands.At && e.Until == 0 {
			e.Until = moment(x.At)
		}
		e.History = append(e.History, chargeRow{moment(x.At), x.Duty.Party, x.Duty.Ownership, x.Duty.Assignment, x.Duty.Resource.ContractID, x.Duty.Model, x.Duty.Version, x.Duty.Reason})
	}
	return e, nil
}

// on names the machine of a finding; what the configuration shows may be of none.
func (e explained) on() string {
	if e.Machine.Empty() {
		return ""
	}
	return " on " + e.Machine.Terminal()
}

func (e explained) show(c *cobra.Command, r *reading) error {
	switch r.output {
	case "json":
		return writeIndented(c.OutOrStdout(), e)
	case "csv":
		return list(c, r, "", e.History, chargeColumns(r)...)
	}
	out := c.OutOrStdout()
	_, _ = fmt.Fprintf(out, "Finding %s: %s, at %s%s.\nThe check %s is about %s/%s.\n", e.Finding, e.Title, e.Where, e.on(), e.Check, e.Layer, e.Aspect)
	_, _ = fmt.Fprintln(out, e.Explain())
	stood := "Charged so since " + r.when(e.Since)
	if e.Until != 0 {
		stood += ", until " + r.when(e.Until)
	}
	_, _ = fmt.Fprintln(out, stood+".")
	for _, p := range e.Guidance {
		_, _ = fmt.Fprintf(out, "Guidance: demarc guide show %s\n", p)
	}
	return e.showHistory(c, r, out)
}

func (e explained) showHistory(c *cobra.Command, r *reading, out io.Writer) error {
	if len(e.History) < 2 {
		return nil
	}
	_, _ = fmt.Fprintln(out, "\nHISTORY")
	return list(c, r, "", e.History, chargeColumns(r)...)
}

func chargeColumns(r *reading) []column[chargeRow] {
	return []column[chargeRow]{
		col("at", func(x chargeRow) string { return r.when(x.At) }),
		col("party", func(x chargeRow) string { return string(x.Party) }),
		col("ownership", func(x chargeRow) string { return string(x.Ownership) }),
		col("assignment", func(x chargeRow) string { return x.Assignment }),
		col("contract", func(x chargeRow) string { return x.Contract }),
		col("model", func(x chargeRow) string { return fmt.Sprintf("%s %d", x.Model, x.Version) }),
		col("reason", func(x chargeRow) string { return x.Reason }),
	}
}
