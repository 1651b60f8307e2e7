package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/flow"
	"demarc/internal/probe"
	"demarc/internal/serve"
	"demarc/internal/store"
	"demarc/internal/untrusted"
)

func caseCommand() *cobra.Command {
	var r reading
	var live bool
	var server, state, tenant string
	c := &cobra.Command{Use: "case", Short: "Cases: what is wrong with one machine, for one party", Example: "  demarc case list --db demarc.db"}
	r.flags(c)
	ls := &cobra.Command{
		Use: "list", Short: "List the cases", Example: "  demarc case list --db demarc.db\n  demarc case list --live --output json\n  demarc case list --state queued,restricted",
		Args: checkArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			f := casework.Filter{Server: asset.ServerID(server), Live: live}
			if state != "" {
				for s := range strings.SplitSeq(state, ",") {
					if err := oneOf("--state", s, words(caseStates)); err != nil {
						return err
					}
					f.States = append(f.States, casework.State(s))
				}
			}
			return r.with(c.Context(), func(db *store.DB) error { return listCases(c, &r, db, scopeOf(tenant), f) })
		},
	}
	ls.Flags().BoolVar(&live, "live", false, "only those that are not over")
	ls.Flags().StringVar(&server, "server", "", "only those of a server, by its id")
	asProject(ls, &tenant)
	ls.Flags().StringVar(&state, "state", "", "only these states, separated by commas")
	_ = ls.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(words(caseStates), cobra.ShellCompDirectiveNoFileComp))
	c.AddCommand(ls, &cobra.Command{
		Use: "show CASE", Short: "Show a case from its first look to now", Example: "  demarc case show DM-1A2B3C --db demarc.db\n  demarc case show DM-1A2B3C --output json",
		Args: checkArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return r.with(c.Context(), func(db *store.DB) error { return showCase(c, &r, db, args[0]) })
		},
	}, ownerCommand(&r, acknowledgement), ownerCommand(&r, claimed), ownerCommand(&r, resumed), renewCommand(&r))
	return c
}

var caseStates = []casework.State{casework.New, casework.Notified, casework.Acknowledged, casework.Overdue, casework.FinalWarning, casework.Queued, casework.Restricted,
	casework.Verifying, casework.Released, casework.Verified, casework.Closed, casework.OnHold, casework.Moot}

// caseRow is a case as the commands show it.
type caseRow struct {
	ID            string          `json:"id"`
	Ref           string          `json:"ref"`
	Cloud         string          `json:"cloud"`
	Server        asset.ServerID  `json:"server,omitempty"`
	ServerName    untrusted.Text  `json:"server_name,omitzero"`
	Project       asset.ProjectID `json:"project"`
	ProjectName   untrusted.Text  `json:"project_name,omitzero"`
	Party         duty.Party      `json:"party"`
	Track         casework.Track  `json:"track"`
	Zone          probe.Zone      `json:"zone"`
	Class         string          `json:"class"`
	State         casework.State  `json:"state"`
	OpenedAt      moment          `json:"opened_at"`
	Due           moment          `json:"due,omitzero"`
	GraceEnds     moment          `json:"grace_ends,omitzero"`
	QueuedAt      moment          `json:"queued_at,omitzero"`
	RestrictedAt  moment          `json:"restricted_at,omitzero"`
	ReleasedAt    moment          `json:"released_at,omitzero"`
	ProbationEnds moment          `json:"probation_ends,omitzero"`
	ClosedAt      moment          `json:"closed_at,omitzero"`
	Approvals     []consent       `json:"approvals"`
	Blocks        []string        `json:"blocks"` // why the gate last said no
	Hold          string          `json:"hold,omitempty"`
	Passed        string          `json:"passed,omitempty"`  // what passed last to another party, and why
	Lost          []string        `json:"lost,omitempty"`    // what a restore could not give back
	Tampers       int             `json:"tampers,omitempty"` // how often the quarantine was undone
	TamperedAt    moment          `json:"tampered_at,omitzero"`

	Will      string `json:"will,omitempty"`      // what the action that waits would do: quarantine, stop
	Announced string `json:"announced,omitempty"` // what the final warning said that it would do
}

type consent struct {
	By      string   `json:"by"`
	At      moment   `json:"at"`
	Despite []string `json:"despite,omitempty"` // conditions of the gate that were decided against
	Why     string   `json:"why,omitempty"`
}

func caseRowOf(n *naming, c casework.Case) (caseRow, error) {
	server, err := n.server(c.Cloud, c.Server)
	if err != nil {
		return caseRow{}, err
	}
	project, err := n.project(c.Cloud, c.Project)
	row := caseRow{ID: c.ID, Ref: c.Ref(), Cloud: c.Cloud, Server: c.Server, ServerName: server, Project: c.Project, ProjectName: project, Party: c.Party, Track: c.Track, Zone: c.Zone,
		Class: c.Class, State: c.State, OpenedAt: moment(c.OpenedAt), Due: moment(c.Due), GraceEnds: moment(c.GraceEnds), QueuedAt: moment(c.QueuedAt), RestrictedAt: moment(c.RestrictedAt),
		ReleasedAt: moment(c.ReleasedAt), ProbationEnds: moment(c.ProbationEnds), ClosedAt: moment(c.ClosedAt),
		Approvals: []consent{}, Blocks: []string{}, Hold: c.Hold, Passed: c.Passed, Lost: c.Lost,
		Tampers: c.Tampers, TamperedAt: moment(c.TamperedAt)}
	for _, a := range c.Approvals {
		row.Approvals = append(row.Approvals, consent{a.By, moment(a.At), a.Despite, a.Why})
	}
	row.Blocks = append(row.Blocks, casework.Reasons(c.Blocks, true)...) // the store gave a tenant no details
	return row, err
}

func caseRows(c *cobra.Command, db *store.DB, s access.Scope, f casework.Filter) ([]caseRow, error) {
	cs, err := db.Cases(c.Context(), s, f)
	if err != nil {
		return nil, err
	}
	n := newNaming(c.Context(), db)
	var rows []caseRow
	for _, k := range cs {
		row, err := caseRowOf(n, k)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func listCases(c *cobra.Command, r *reading, db *store.DB, s access.Scope, f casework.Filter) error {
	rows, err := caseRows(c, db, s, f)
	if err != nil {
		return err
	}
	return list(c, r, "There is no case.", rows, caseColumns(r)...)
}

func caseColumns(r *reading) []column[caseRow] {
	return []column[caseRow]{
		col("case", func(k caseRow) string { return k.Ref }),
		{"machine", func(k caseRow) untrusted.Text { return machine(k.ServerName, k.Server) }},
		{"project", func(k caseRow) untrusted.Text { return machine(k.ProjectName, asset.ServerID(k.Project)) }},
		col("party", func(k caseRow) string { return string(k.Party) }),
		col("track", func(k caseRow) string { return string(k.Track) }),
		col("class", func(k caseRow) string { return k.Class }),
		col("state", func(k caseRow) string { return string(k.State) }),
		col("due", func(k caseRow) string { return r.when(k.Due) }),
		col("opened_at", func(k caseRow) string { return r.when(k.OpenedAt) }),
		col("id", func(k caseRow) string { return k.ID }),
	}
}

// caseFile is everything about a case.
type caseFile struct {
	caseRow
	Findings []foundRow `json:"findings"`
	Timers   []timer    `json:"timers"`
	Timeline []entryRow `json:"timeline"`
	Mails    []mailRow  `json:"mails"`
	Acts     []actRow   `json:"acts"`
}

type timer struct {
	Timer casework.Timer `json:"timer"`
	At    moment         `json:"at"`
}

// entryRow is one entry of the audit log.
type entryRow struct {
	Seq    int64  `json:"seq"`
	At     moment `json:"at"`
	Actor  string `json:"actor"`
	Event  string `json:"event"`
	State  string `json:"state,omitempty"`
	To     string `json:"mail_to,omitempty"`
	Detail string `json:"detail,omitempty"`
}

func entryRowOf(e audit.Entry) entryRow {
	row := entryRow{Seq: e.Seq, At: moment(e.At), Actor: e.Actor, Event: e.Kind}
	var h flow.Happening
	if json.Unmarshal(e.Detail, &h) == nil {
		row.State, row.To, row.Detail = h.State, h.MailTo, h.Detail
	}
	return row
}

type actRow struct {
	ID         string            `json:"id"`
	Case       string            `json:"case"`
	Kind       casework.ActKind  `json:"kind"`
	State      casework.ActState `json:"state"`
	Server     asset.ServerID    `json:"server"`
	Ports      []asset.PortID    `json:"ports"`
	By         []string          `json:"by"`
	IntendedAt moment            `json:"intended_at"`
	EndedAt    moment            `json:"ended_at,omitzero"`
	Note       string            `json:"note,omitempty"`
	Fenced     bool              `json:"fenced,omitempty"` // the ports were given their groups once more, and nothing else was done
}

func actRowOf(a casework.Act) actRow {
	row := actRow{ID: a.ID, Case: a.Case, Kind: a.Kind, State: a.State, Server: a.Server, Ports: []asset.PortID{}, By: append([]string{}, a.By...), IntendedAt: moment(a.IntendedAt),
		EndedAt: moment(a.EndedAt), Note: a.Note}
	for _, p := range a.Ports {
		row.Ports = append(row.Ports, p.Port)
		row.Fenced = row.Fenced || p.Fenced
	}
	return row
}

func readCase(c *cobra.Command, db *store.DB, id string) (caseFile, error) {
	ctx := c.Context()
	file := caseFile{Findings: []foundRow{}, Timers: []timer{}, Timeline: []entryRow{}, Mails: []mailRow{}, Acts: []actRow{}}
	k, err := serve.FindCase(ctx, db, id)
	if err != nil {
		return file, err
	}
	if file.caseRow, err = caseRowOf(newNaming(ctx, db), k); err != nil {
		return file, err
	}
	fs, err := foundRows(c, db, access.Operator(), finding.Filter{Case: k.ID})
	if err != nil {
		return file, err
	}
	file.Findings = append(file.Findings, fs...)
	ts, err := db.Timers(ctx, k.ID)
	if err != nil {
		return file, err
	}
	for _, t := range ts {
		file.Timers = append(file.Timers, timer{t.Timer, moment(t.At)})
	}
	es, err := db.EntriesOf(ctx, access.Operator(), k.ID)
	if err != nil {
		return file, err
	}
	for _, e := range es {
		file.Timeline = append(file.Timeline, entryRowOf(e))
	}
	ms, err := db.MailsOf(ctx, k.ID)
	if err != nil {
		return file, err
	}
	for _, m := range ms {
		file.Mails = append(file.Mails, mailRowOf(m))
	}
	as, err := db.ActsOf(ctx, k.ID)
	for _, a := range as {
		file.Acts = append(file.Acts, actRowOf(a))
	}
	return file, err
}

func showCase(c *cobra.Command, r *reading, db *store.DB, id string) error {
	k, err := readCase(c, db, id)
	if err != nil {
		return err
	}
	switch r.output {
	case "json":
		return writeIndented(c.OutOrStdout(), k)
	case "csv": // the timeline is what a case is a list of
		return list(c, r, "", k.Timeline, entryColumns(r)...)
	}
	s := newSheet(c)
	s.row("case", k.Ref+" ("+k.ID+")")
	s.row("state", string(k.State))
	s.text("machine", named(k.ServerName, k.Server))
	s.text("project", named(k.ProjectName, k.Project))
	s.row("must act", string(k.Party))
	s.row("class", fmt.Sprintf("%s, %s, reachable from %s", k.Class, k.Track, cmp.Or(string(k.Zone), "nowhere known")))
	for _, t := range []struct {
		name string
		at   moment
	}{{"opened", k.OpenedAt}, {"due", k.Due}, {"grace ends", k.GraceEnds}, {"queued", k.QueuedAt}, {"restricted", k.RestrictedAt}, {"released", k.ReleasedAt},
		{"probation ends", k.ProbationEnds}, {"closed", k.ClosedAt}} {
		s.row(t.name, r.when(t.at))
	}
	s.row("on hold", k.Hold)
	s.row("passed on", k.Passed)
	if k.Tampers > 0 {
		s.row("undone", fmt.Sprintf("%d times, last at %s", k.Tampers, r.when(k.TamperedAt)))
	}
	for _, lost := range k.Lost {
		s.row("not given back", lost)
	}
	for _, a := range k.Approvals {
		s.row("approved", a.By+", "+r.when(a.At))
	}
	for _, b := range k.Blocks {
		s.row("gate said no", b)
	}
	for _, t := range k.Timers {
		s.row("next: "+string(t.Timer), r.when(t.At))
	}
	for _, f := range k.Findings {
		s.gap()
		writeFinding(s, r, f)
	}
	if err := s.end(); err != nil {
		return err
	}
	return showCaseLists(c, r, k)
}

func showCaseLists(c *cobra.Command, r *reading, k caseFile) error {
	out := c.OutOrStdout()
	_, _ = fmt.Fprintln(out, "\nTIMELINE")
	if err := list(c, r, "Nothing is written of it.", k.Timeline, entryColumns(r)...); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(out, "\nMAIL")
	if err := list(c, r, "Nobody was told yet.", k.Mails, mailColumns(r)...); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(out, "\nACTS")
	return list(c, r, "Nothing was done to the machine.", k.Acts, actColumns(r)...)
}

func entryColumns(r *reading) []column[entryRow] {
	return []column[entryRow]{
		col("time", func(e entryRow) string { return r.when(e.At) }),
		col("actor", func(e entryRow) string { return e.Actor }),
		col("event", func(e entryRow) string { return e.Event }),
		col("detail", func(e entryRow) string {
			if e.To != "" && e.Detail != "" {
				return e.To + ": " + e.Detail
			}
			return e.To + e.Detail
		}),
	}
}

func actColumns(r *reading) []column[actRow] {
	return []column[actRow]{
		col("intended", func(a actRow) string { return r.when(a.IntendedAt) }),
		col("act", func(a actRow) string { return string(a.Kind) }),
		col("state", func(a actRow) string { return string(a.State) }),
		col("ports", func(a actRow) string { return strconv.Itoa(len(a.Ports)) }),
		col("approved_by", func(a actRow) string { return strings.Join(a.By, ", ") }),
		col("ended", func(a actRow) string { return r.when(a.EndedAt) }),
		col("note", func(a actRow) string { return a.Note }),
	}
}
