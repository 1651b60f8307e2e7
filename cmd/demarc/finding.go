package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/probe"
	"demarc/internal/serve"
	"demarc/internal/store"
	"demarc/internal/untrusted"
)

func findingCommand() *cobra.Command {
	var r reading
	var f finding.Filter
	var tenant string
	c := &cobra.Command{Use: "finding", Short: "What was found", Example: "  demarc finding list --db demarc.db"}
	r.flags(c)
	ls := &cobra.Command{
		Use: "list", Short: "List the findings", Example: "  demarc finding list --db demarc.db\n  demarc finding list --case DM-1A2B3C --output csv",
		Args: checkArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return r.with(c.Context(), func(db *store.DB) error { return listFindings(c, &r, db, scopeOf(tenant), f) })
		},
	}
	asProject(ls, &tenant)
	ls.Flags().StringVar(&f.Case, "case", "", "only those of a case")
	ls.Flags().StringVar((*string)(&f.Server), "server", "", "only those of a server, by its id")
	c.AddCommand(ls, &cobra.Command{
		Use: "show ID", Short: "Show a finding, its evidence and every look at it", Example: "  demarc finding show 0199f3a4-… --db demarc.db",
		Args: checkArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return r.with(c.Context(), func(db *store.DB) error { return showFinding(c, &r, db, args[0]) })
		},
	})
	return c
}

// foundRow is a finding as the commands show it.
type foundRow struct {
	ID         string                    `json:"id"`
	Case       string                    `json:"case,omitempty"`
	Cloud      string                    `json:"cloud"`
	Server     asset.ServerID            `json:"server,omitempty"`
	ServerName untrusted.Text            `json:"server_name,omitzero"`
	Port       asset.PortID              `json:"port,omitempty"`
	Project    asset.ProjectID           `json:"project"`
	Check      string                    `json:"check"`
	Title      string                    `json:"title"`
	Endpoint   string                    `json:"endpoint,omitempty"` // none: the configuration shows it
	Where      string                    `json:"where"`              // the endpoint, or what of the configuration it is about
	Zone       probe.Zone                `json:"zone"`
	Vantage    string                    `json:"vantage"`
	State      finding.State             `json:"state"`
	Grade      finding.Grade             `json:"grade"`
	Severity   string                    `json:"severity"`
	Class      string                    `json:"class"`
	Party      duty.Party                `json:"party"`
	Cause      string                    `json:"cause,omitempty"`
	Evidence   map[string]untrusted.Text `json:"evidence,omitempty"`
	Duty       duty.Resolution           `json:"duty"`
	FirstSeen  moment                    `json:"first_seen"`
	LastSeen   moment                    `json:"last_seen"`
	FixedAt    moment                    `json:"fixed_at,omitzero"`
	Guidance   []guidance                `json:"guidance,omitempty"`
	Looks      []look                    `json:"looks,omitempty"`
}

// look is one sighting.
type look struct {
	At      moment          `json:"at"`
	Verdict finding.Verdict `json:"verdict"`
	Vantage string          `json:"vantage"`
	Facts   string          `json:"facts,omitempty"`
	Binding string          `json:"binding,omitempty"`
}

func foundRowOf(n *naming, f finding.Finding) (foundRow, error) {
	name, err := n.server(f.Key.Cloud, f.Key.Server)
	return foundRow{ID: f.ID, Case: f.Case, Cloud: f.Key.Cloud, Server: f.Key.Server, ServerName: name, Port: f.Key.Port, Project: f.Project, Check: f.Key.Check, Title: f.Title,
		Endpoint: f.Endpoint.String(), Where: f.Where(), Zone: f.Key.Zone, Vantage: f.Vantage, State: f.State, Grade: f.Grade, Severity: f.Severity, Class: f.Class, Party: f.Duty.Party, Cause: f.Cause,
		Evidence: f.Evidence, Duty: f.Duty, FirstSeen: moment(f.FirstSeen), LastSeen: moment(f.LastSeen), FixedAt: moment(f.FixedAt)}, err
}

func foundRows(c *cobra.Command, db *store.DB, s access.Scope, f finding.Filter) ([]foundRow, error) {
	fs, err := db.Findings(c.Context(), s, f)
	if err != nil {
		return nil, err
	}
	n := newNaming(c.Context(), db)
	var rows []foundRow
	for _, x := range fs {
		row, err := foundRowOf(n, x)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func listFindings(c *cobra.Command, r *reading, db *store.DB, s access.Scope, f finding.Filter) error {
	if f.Case != "" {
		k, err := serve.FindCase(c.Context(), db, f.Case)
		if err != nil {
			return err
		}
		f.Case = k.ID
	}
	rows, err := foundRows(c, db, s, f)
	if err != nil {
		return err
	}
	return list(c, r, "There is no finding. That is no proof that there is nothing: see demarc coverage.", rows, findingColumns(r)...)
}

func findingColumns(r *reading) []column[foundRow] {
	return []column[foundRow]{
		col("id", func(f foundRow) string { return f.ID }),
		col("case", func(f foundRow) string { return refOf(f.Case) }),
		{"machine", func(f foundRow) untrusted.Text { return machine(f.ServerName, f.Server) }},
		col("where", func(f foundRow) string { return f.Where }),
		col("check", func(f foundRow) string { return f.Check }),
		col("severity", func(f foundRow) string { return f.Severity }),
		col("class", func(f foundRow) string { return f.Class }),
		col("grade", func(f foundRow) string { return string(f.Grade) }),
		col("state", func(f foundRow) string { return string(f.State) }),
		col("party", func(f foundRow) string { return string(f.Party) }),
		col("last_seen", func(f foundRow) string { return r.when(f.LastSeen) }),
	}
}

func refOf(id string) string {
	if id == "" {
		return ""
	}
	return casework.Ref(id)
}

// machine is a name, else the id.
func machine(name untrusted.Text, id asset.ServerID) untrusted.Text {
	if name.Empty() {
		return untrusted.From(string(id))
	}
	return name
}

func showFinding(c *cobra.Command, r *reading, db *store.DB, id string) error {
	f, err := db.Finding(c.Context(), access.Operator(), id)
	if err != nil {
		return hinted(err, "see demarc finding list")
	}
	row, err := foundRowOf(newNaming(c.Context(), db), f)
	if err != nil {
		return err
	}
	looks, err := db.Sightings(c.Context(), id)
	if err != nil {
		return err
	}
	if row.Guidance, err = r.guidance(f); err != nil {
		return err
	}
	for _, s := range looks {
		row.Looks = append(row.Looks, look{moment(s.At), s.Verdict, s.Vantage, s.Facts, s.Binding})
	}
	switch r.output {
	case "json":
		return writeIndented(c.OutOrStdout(), row)
	case "csv":
		return list(c, r, "", []foundRow{row}, findingColumns(r)...)
	}
	s := newSheet(c)
	writeFinding(s, r, row)
	s.gap()
	for _, l := range row.Looks {
		s.row("look: "+r.when(l.At), strings.TrimSpace(fmt.Sprintf("%s from %s", l.Verdict, l.Vantage)))
	}
	return s.end()
}

// seenAt says where a finding shows, and from where it was seen; what the configuration shows is seen from nowhere.
func seenAt(f foundRow) string {
	if f.Vantage == "" {
		return f.Where
	}
	return fmt.Sprintf("%s, seen from %s (%s)", f.Where, f.Vantage, f.Zone)
}

func writeFinding(s sheet, r *reading, f foundRow) {
	s.row("finding", f.ID)
	s.row("title", f.Title)
	s.row("check", f.Check)
	s.row("state", string(f.State))
	s.row("severity", fmt.Sprintf("%s, class %s, %s", f.Severity, f.Class, f.Grade))
	s.row("case", refOf(f.Case))
	s.text("machine", named(f.ServerName, f.Server))
	s.row("project", string(f.Project))
	s.row("where", seenAt(f))
	s.row("cause", f.Cause)
	for _, k := range slices.Sorted(maps.Keys(f.Evidence)) {
		s.text("evidence: "+untrusted.From(k).Terminal(), f.Evidence[k])
	}
	s.row("charged to", fmt.Sprintf("%s, by %s of model %s", f.Party, f.Duty.Assignment, f.Duty.Model))
	s.row("because", f.Duty.Reason)
	for _, g := range f.Guidance {
		s.row("how to mend it", strings.TrimSpace(g.Command+"  "+g.URL))
	}
	s.row("first seen", r.when(f.FirstSeen))
	s.row("last seen", r.when(f.LastSeen))
	s.row("fixed", r.when(f.FixedAt))
}
