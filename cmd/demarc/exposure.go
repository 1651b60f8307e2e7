package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/fault"
	"demarc/internal/flow"
	"demarc/internal/plan"
	"demarc/internal/probe"
	"demarc/internal/reach"
	"demarc/internal/serve"
	"demarc/internal/store"
	"demarc/internal/untrusted"
)

// listed are the standings that have rows. What is denied and silent is nearly everything, and is counted only.
var listed = []string{reach.OpenAnswers, reach.OpenSilent, reach.DeniedAnswers, reach.ScannerOnly, reach.Unsure, reach.Unheld}

func exposureCommand() *cobra.Command {
	var r reading
	c := &cobra.Command{
		Use: "exposure", Short: "What the rules say is open, held against what answers",
		Example: "  demarc exposure list --config demarc.yaml\n  demarc exposure counts --config demarc.yaml",
	}
	r.flags(c)
	c.AddCommand(exposureListCommand(&r), exposureCountsCommand(&r))
	return c
}

// exposureFlags say what is asked for.
type exposureFlags struct {
	reachFlags
	project, server, standing string
}

func exposureListCommand(r *reading) *cobra.Command {
	var f exposureFlags
	c := &cobra.Command{
		Use: "list", Short: "Each endpoint that answers, and each rule behind which nothing does",
		Long: `What answers now, endpoint by endpoint, and the runs of TCP ports that a rule opens and in which nothing answers, as the cloud's rules
stand now. Without a configuration name the vantage point by --vantage, --zone and --source, as it is called in the database.

open_answers    the rules let the zone in, and it answers
open_silent     the rules let the zone in, and nothing listens: the rule can go, unless another machine is reached through it
denied_answers  the rules let nobody in, and it answers: a filter leaks
scanner_only    only our probe is let in: nothing to do
unsure          the model is not proven there
unheld          it answers, and no machine of the cloud is known there

probed says how many ports of the row were asked since they were opened. Of a run of more than 1024 ports each sweep asks the well-known
ports and one part of the others, so that all of it is asked within wide_within of the policy (30 days by default).

What is denied and silent has no row; demarc exposure counts has its number. What others reach and our probe does not was never
looked at: demarc reach shows it.`,
		Example: `  demarc exposure list --config demarc.yaml
  demarc exposure list --config demarc.yaml --standing open_silent --project astro
  demarc exposure list --db demarc.db --vantage outside --zone internet --source 198.51.100.10 --output csv`,
		Args: checkArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return r.with(c.Context(), func(db *store.DB) error { return listExposures(c, r, db, f) })
		},
	}
	f.looking(c)
	c.Flags().StringVar(&f.project, "project", "", "only this project, by its id or name")
	c.Flags().StringVar(&f.server, "server", "", "only this server, by its id or name")
	c.Flags().StringVar(&f.standing, "standing", "", "only this standing: "+strings.Join(listed, ", "))
	_ = c.RegisterFlagCompletionFunc("standing", cobra.FixedCompletions(listed, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// exposed is one endpoint that answers, or a run of ports that a rule opens and where nothing does.
type exposed struct {
	Cloud      string          `json:"cloud,omitempty"`
	Vantage    string          `json:"vantage"`
	Zone       probe.Zone      `json:"zone"`
	Addr       netip.Addr      `json:"addr"`
	Server     asset.ServerID  `json:"server,omitempty"`
	ServerName untrusted.Text  `json:"server_name,omitzero"`
	Project    asset.ProjectID `json:"project,omitempty"`
	Proto      probe.Proto     `json:"proto"`
	First      uint16          `json:"first"`
	Last       uint16          `json:"last"`
	Standing   string          `json:"standing"`
	Configured string          `json:"configured"` // open, scanner_only, denied, unsure, unheld
	Observed   string          `json:"observed"`   // answers, nothing listens, nothing seen, not asked yet
	Since      moment          `json:"since,omitzero"`
	Rules      []asset.RuleID  `json:"rules"`
	Ports      int             `json:"ports"`  // in first..last
	Probed     int             `json:"probed"` // of them, those that were asked since the run was opened
	Advice     untrusted.Text  `json:"advice,omitzero"`
	Doubts     []string        `json:"doubts,omitempty"`

	group string // whose rule it is, where the rule could go or be narrowed
}

func listExposures(c *cobra.Command, r *reading, db *store.DB, f exposureFlags) error {
	if f.standing != "" && !slices.Contains(listed, f.standing) {
		return fault.New(fault.Usage, "--standing can not be %q", f.standing).Hinted("one of %s; what is denied and silent is in demarc exposure counts", strings.Join(listed, ", "))
	}
	views, err := f.views(r)
	if err != nil {
		return err
	}
	xs, err := indexes(c.Context(), db)
	if err != nil {
		return err
	}
	keep, err := f.filter(xs)
	if err != nil {
		return err
	}
	rows, err := f.rows(c.Context(), r, db, xs)
	if err != nil {
		return err
	}
	names := viewNames(views)
	rows = slices.DeleteFunc(rows, func(e exposed) bool { return !slices.Contains(names, e.Vantage) || !keep(e) })
	if r.output == "table" && slices.ContainsFunc(views, func(v serve.Viewpoint) bool { return len(v.View.Scanners) == 0 }) {
		_, _ = fmt.Fprintln(c.ErrOrStderr(), "Where our probes come from is unknown: no rule is called idle, and what is open to them alone is taken as open to the zone. Name it with --source, or give --config.")
	}
	return list(c, r, "Nothing answers "+strings.Join(names, ", ")+" that was asked for, and no rule is known to be idle.", rows, exposedColumns(r)...)
}

// indexes reads every cloud as it is now.
func indexes(ctx context.Context, db *store.DB) ([]*asset.Index, error) {
	clouds, err := db.Clouds(ctx)
	if err != nil {
		return nil, err
	}
	var out []*asset.Index
	for _, name := range clouds {
		s, err := stateOf(ctx, db, name, 0)
		if err != nil {
			return nil, err
		}
		out = append(out, asset.NewIndex(s))
	}
	return out, nil
}

// filter tells which rows were asked for.
func (f exposureFlags) filter(xs []*asset.Index) (func(exposed) bool, error) {
	var server asset.ServerID
	if f.server != "" {
		_, s, err := findServer(xs, f.server)
		if err != nil {
			return nil, err
		}
		server = s.ID
	}
	project, err := findProject(xs, f.project)
	if err != nil {
		return nil, err
	}
	return func(e exposed) bool {
		return (server == "" || e.Server == server) && (project == "" || e.Project == project) && (f.standing == "" || e.Standing == f.standing)
	}, nil
}

// rows are those of every vantage point, whichever is asked for: a rule is idle only where nobody is reached through it.
func (f exposureFlags) rows(ctx context.Context, r *reading, db *store.DB, xs []*asset.Index) ([]exposed, error) {
	all := f.reachFlags
	if r.config != "" {
		all.vantage = ""
	}
	views, err := all.views(r)
	if err != nil {
		return nil, err
	}
	var out []exposed
	for _, v := range views {
		seen, err := exposures(ctx, db, xs, v)
		if err != nil {
			return nil, err
		}
		out = append(out, seen...)
	}
	used := map[asset.RuleID]bool{}
	for _, e := range out {
		for _, rule := range e.Rules {
			used[rule] = used[rule] || e.Observed == "answers" || e.Observed == "not asked yet"
		}
	}
	for i := range out {
		if e := &out[i]; e.group != "" && used[e.Rules[0]] {
			e.Advice = untrusted.From(fmt.Sprintf("%s: another endpoint is, or may be, reached through rule %s of %s; give this machine a group without it", e.Observed, e.Rules[0], e.group))
		}
	}
	return out, nil
}

// findProject finds a project by id or by name in any cloud; no argument is none. A name that several carry names none.
func findProject(xs []*asset.Index, arg string) (asset.ProjectID, error) {
	var ids []string
	for _, x := range xs {
		if arg == "" || x.Projects[asset.ProjectID(arg)] != nil {
			return asset.ProjectID(arg), nil
		}
		for i := range x.Snapshot.Projects {
			if p := &x.Snapshot.Projects[i]; p.Name.Raw() == arg {
				ids = append(ids, string(p.ID))
			}
		}
	}
	switch {
	case arg == "":
		return "", nil
	case len(ids) == 1:
		return asset.ProjectID(ids[0]), nil
	case len(ids) > 1:
		return "", fault.New(fault.Usage, "%d projects are called %q", len(ids), arg).Hinted("name one by its id: %s", strings.Join(ids, ", "))
	}
	return "", fault.New(fault.NotFound, "there is no project %q", arg).Hinted("name it by its id, or as it is called in the cloud")
}

// sightings is what the ledger knows of one vantage point's looks.
type sightings interface {
	OpenExposures(ctx context.Context, vantage string) ([]probe.Exposure, error)
	Queue(ctx context.Context, vantage string, limit int) ([]casework.Ask, error)
	LastSweep(ctx context.Context, cloud, vantage string, purpose probe.Purpose) (probe.Coverage, error)
	Walk(ctx context.Context, vantage string) (probe.Walk, error)
	Rounds(ctx context.Context, cloud, vantage string, purpose probe.Purpose, limit int) ([]int64, error)
}

// exposures lists what one vantage point sees of all clouds.
func exposures(ctx context.Context, db sightings, xs []*asset.Index, v serve.Viewpoint) ([]exposed, error) {
	found, err := db.OpenExposures(ctx, v.Name)
	if err != nil {
		return nil, err
	}
	queue, err := db.Queue(ctx, v.Name, math.MaxInt32)
	if err != nil {
		return nil, err
	}
	waits := waitingOf(queue)
	walk, err := db.Walk(ctx, v.Name)
	if err != nil {
		return nil, err
	}
	var out []exposed
	held := map[probe.Endpoint]bool{}
	for _, x := range xs {
		last, err := db.LastSweep(ctx, x.Snapshot.Cloud, v.Name, probe.Reach)
		if err != nil {
			return nil, err
		}
		rounds, err := db.Rounds(ctx, x.Snapshot.Cloud, v.Name, probe.Reach, max(walk.Parts, 1))
		if err != nil {
			return nil, err
		}
		l := looker{walk: walk, progress: plan.NewProgress(walk, rounds), x: x, v: v, set: reach.Compute(x, v.View), holders: holdersOf(x), answers: map[netip.Addr][]uint16{}, swept: last.Ended != 0, waits: waits}
		for _, e := range found {
			row, ok := l.answering(e)
			if !ok {
				continue
			}
			out, held[e.Endpoint] = append(out, row), true
		}
		out = l.silent(out)
	}
	for _, e := range found {
		if !held[e.Endpoint] {
			row := exposed{Vantage: v.Name, Zone: v.View.Zone, Addr: e.Endpoint.Addr, Proto: e.Endpoint.Proto, First: e.Endpoint.Port, Last: e.Endpoint.Port, Ports: 1, Probed: 1, Standing: reach.Unheld,
				Configured: reach.Unheld, Observed: "answers", Since: moment(e.OpenedAt), Rules: []asset.RuleID{}, Advice: untrusted.From("nobody of the cloud is known there: see demarc inventory who")}
			out = append(out, row)
		}
	}
	slices.SortStableFunc(out, func(a, b exposed) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
	})
	return out, nil
}

// holdersOf tells who holds each address, private ones too: what answers there was asked because the zone has a route to it.
func holdersOf(x *asset.Index) map[netip.Addr][]asset.Holder {
	out := map[netip.Addr][]asset.Holder{}
	for _, h := range x.Holders() {
		out[h.Addr] = append(out[h.Addr], h)
	}
	return out
}

// looker holds one vantage point's answers against one cloud.
type looker struct {
	x        *asset.Index
	v        serve.Viewpoint
	set      *reach.Set
	holders  map[netip.Addr][]asset.Holder
	answers  map[netip.Addr][]uint16 // TCP ports that answer, in order
	walk     probe.Walk              // through the runs that are too wide for one sweep
	progress *plan.Progress          // of the sweeps that were complete, as far back as a walk goes
	swept    bool                    // the vantage point has once asked all of the cloud
	waits    waiting
	at       netip.Addr      // the address that was asked for last
	here     []reach.Opening // and what is open there
}

// answering is the row of an endpoint that answers; not ok when this cloud does not hold it.
func (l *looker) answering(e probe.Exposure) (exposed, bool) {
	at := e.Endpoint
	a := l.set.Lookup(at)
	if !a.Held && a.Connected == nil && len(l.holders[at.Addr]) == 0 {
		return exposed{}, false
	}
	if at.Proto == probe.TCP {
		l.answers[at.Addr] = append(l.answers[at.Addr], at.Port)
	}
	row := exposed{Addr: at.Addr, Proto: at.Proto, First: at.Port, Last: at.Port, Ports: 1, Probed: 1, Standing: a.Standing(probe.Open), Configured: configured(a), Observed: "answers", Since: moment(e.OpenedAt), Doubts: a.Doubts}
	why := l.why(at)
	row.Server, row.Project = l.holder(at, why)
	for _, o := range why {
		row.Rules = appendRule(row.Rules, o.Rule)
	}
	switch row.Standing {
	case reach.Unheld:
		row.Advice = untrusted.From("what holds it is off, or was when the cloud was read: it answered when it was last asked")
		if a.Connected != nil {
			row.Project, row.Advice = a.Connected.Project, untrusted.From("joined to the cloud by "+a.Connected.Why+": tell the project")
		}
	case reach.DeniedAnswers:
		row.Advice = untrusted.From("a filter leaks: no rule lets it through, which is the provider's to mend")
	case reach.ScannerOnly:
		row.Advice = untrusted.From("only our probe gets in: nothing to do")
	case reach.Unsure:
		row.Advice = untrusted.From("not proven: " + strings.Join(a.Doubts, "; "))
	}
	return l.dressed(row), true
}

// configured is what the rules say of an endpoint, in a word. Who holds it is not looked at: where the rules know nobody, nobody does.
func configured(a reach.Answer) string {
	if !a.Held {
		return reach.Unheld
	}
	return flow.Configured(a)
}

// why lists what opens an endpoint now. What answers comes in order of addresses, so each is worked out once.
func (l *looker) why(e probe.Endpoint) []reach.Opening {
	if l.at != e.Addr {
		l.at, l.here = e.Addr, slices.DeleteFunc(l.set.At(e.Addr), func(o reach.Opening) bool { return o.State != reach.Now })
	}
	var out []reach.Opening
	for _, o := range l.here {
		if o.Proto == e.Proto && o.First <= e.Port && e.Port <= o.Last {
			out = append(out, o)
		}
	}
	return out
}

// holder is who answers at an endpoint: whom what opens it leads to, else who alone holds the address.
func (l *looker) holder(at probe.Endpoint, why []reach.Opening) (asset.ServerID, asset.ProjectID) {
	if len(why) > 0 {
		return why[0].Server, why[0].Project
	}
	if hs := l.holders[at.Addr]; len(hs) == 1 && !hs[0].Shared {
		return hs[0].Server, hs[0].Project
	}
	return "", ""
}

// dressed adds to a row what is the same for all.
func (l *looker) dressed(e exposed) exposed {
	e.Cloud, e.Vantage, e.Zone = l.x.Snapshot.Cloud, l.v.Name, l.v.View.Zone
	if s := l.x.Servers[e.Server]; s != nil {
		e.ServerName = s.Name
	}
	if e.Rules == nil {
		e.Rules = []asset.RuleID{}
	}
	return e
}

func appendRule(rs []asset.RuleID, r asset.RuleID) []asset.RuleID {
	if r == "" || slices.Contains(rs, r) {
		return rs
	}
	return append(rs, r)
}

func (l *looker) group(id asset.GroupID) string {
	if g := l.x.Groups[id]; g != nil {
		return "group " + named(g.Name, id).Raw()
	}
	return "group " + string(id)
}

func exposedColumns(r *reading) []column[exposed] {
	return []column[exposed]{
		col("vantage", func(e exposed) string { return e.Vantage }),
		col("address", func(e exposed) string { return e.Addr.String() }),
		{"server", func(e exposed) untrusted.Text { return named(e.ServerName, e.Server) }},
		col("proto", func(e exposed) string { return string(e.Proto) }),
		col("ports", func(e exposed) string { return ports(reach.Opening{Proto: e.Proto, First: e.First, Last: e.Last}) }),
		col("configured", func(e exposed) string { return e.Configured }),
		col("observed", func(e exposed) string { return e.Observed }),
		col("probed", func(e exposed) string { return fmt.Sprintf("%d of %d", e.Probed, e.Ports) }),
		col("since", func(e exposed) string { return r.when(e.Since) }),
		col("rule", func(e exposed) string { return joinRules(e.Rules) }),
		{"advice", func(e exposed) untrusted.Text { return e.Advice }},
	}
}

func joinRules(rs []asset.RuleID) string {
	out := make([]string, len(rs))
	for i, r := range rs {
		out[i] = string(r)
	}
	return strings.Join(out, ", ")
}
