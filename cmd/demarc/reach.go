package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"demarc/internal/asset"
	"demarc/internal/fault"
	"demarc/internal/probe"
	"demarc/internal/reach"
	"demarc/internal/serve"
	"demarc/internal/store"
	"demarc/internal/untrusted"
)

// reachFlags say where one looks from, and at what.
type reachFlags struct {
	at, inventory         string
	vantage, zone, source string
	prefixes, deny        []string
}

func reachCommand() *cobra.Command {
	var r reading
	var f reachFlags
	c := &cobra.Command{
		Use: "reach [SERVER]", Short: "What the cloud's rules let through to a server, and which rule does",
		Long: `What the cloud's rules let through to a server, or to all of them, from where, and which rule opens it. No packet is sent.

The vantage points are those of the configuration; without one, name a vantage by its zone and the address it
probes from. "scanner" is whether our probe gets in, "zone" whether anybody else there does. Without a configuration
and --source nobody knows where our probes come from: "scanner" is then "?", and null in JSON. "when_on" is what would
be open if machine, port and router were on.

With --inventory the answer comes from a file of demarc inventory export, without a database. With --deny the status is 1
where the zone gets in at one of those ports, also where the machine is off now. Of a port forwarding both count, the port that the
outside sees and the machine's own. "denied" marks what must not be open.

With a configuration the answer is of its declared netblocks. What the rules open at other addresses is told beside it, and where
a port of --deny is among that, the status is 3: nobody has said whether those addresses are routed to the zone.`,
		Example: `  demarc reach web-1 --config demarc.yaml
  demarc reach web-1 --db demarc.db --zone internet --source 198.51.100.10
  demarc reach 5f0c… --config demarc.yaml --at 2026-05-04T02:14:00Z --output json
  demarc reach --inventory planned.jsonl --zone internet --deny tcp/22,tcp/3389,udp/1-1024`,
		Args: checkArgs(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			server := strings.Join(args, "")
			if f.inventory != "" {
				if err := r.noDatabase(); err != nil {
					return err
				}
				return reachOffline(c, &r, f, server)
			}
			return r.with(c.Context(), func(db *store.DB) error { return reachKnown(c, &r, db, f, server) })
		},
	}
	r.flags(c)
	f.looking(c)
	c.Flags().StringVar(&f.at, "at", "", "when (default: now)")
	c.Flags().StringVar(&f.inventory, "inventory", "", "answer from this `file` of demarc inventory export; - is the standard input")
	c.Flags().StringSliceVar(&f.deny, "deny", nil, "ports that must not be open to the zone: tcp/22, udp/1-1024, tcp, icmp")
	c.AddCommand(reachDiffCommand(&r))
	return c
}

// looking adds the flags that say where one looks from.
func (f *reachFlags) looking(c *cobra.Command) {
	c.Flags().StringVar(&f.vantage, "vantage", "", "only this vantage point")
	c.Flags().StringVar(&f.zone, "zone", string(probe.Internet), "zone of the vantage, without a configuration: internet, institution")
	c.Flags().StringVar(&f.source, "source", "", "`address` the vantage probes from, without a configuration")
	c.Flags().StringSliceVar(&f.prefixes, "prefix", nil, "`prefixes` of the zone, without a configuration (default: everywhere)")
	_ = c.RegisterFlagCompletionFunc("zone", cobra.FixedCompletions([]string{string(probe.Internet), string(probe.Institution)}, cobra.ShellCompDirectiveNoFileComp))
}

// reached is one opening as seen from a vantage.
type reached struct {
	Vantage string         `json:"vantage"`
	From    probe.Zone     `json:"from"` // the vantage's zone
	Name    untrusted.Text `json:"server_name,omitzero"`
	reach.Opening
	Scanner *bool `json:"scanner"`          // whether our probe gets in; nil: unknown, for its source is not known
	Denied  *bool `json:"denied,omitempty"` // whether --deny says that it must not be; nil: it was not asked
	x       *asset.Index
}

// reachedFrom is an opening as a vantage sees it. Without an address to probe from, whether our probe gets in is unknown.
func reachedFrom(v serve.Viewpoint, o reach.Opening) reached {
	r := reached{Vantage: v.Name, From: v.View.Zone, Opening: o}
	if len(v.View.Scanners) > 0 {
		r.Scanner = &o.Scanner
	}
	return r
}

// reachKnown answers from the database, of every cloud.
func reachKnown(c *cobra.Command, r *reading, db *store.DB, f reachFlags, server string) error {
	at, err := r.parseTime(f.at)
	if err != nil {
		return err
	}
	clouds, err := db.Clouds(c.Context())
	if err != nil {
		return err
	}
	var xs []*asset.Index
	known := false
	for _, name := range clouds {
		s, err := stateOf(c.Context(), db, name, at)
		if err != nil {
			return err
		}
		known = known || s.Ended != 0
		xs = append(xs, asset.NewIndex(s))
	}
	switch {
	case len(clouds) == 0:
		return fault.New(fault.CannotLook, "no cloud was read yet: what its rules open is not known").Hinted("demarc serve reads one, demarc inventory import takes one from a file")
	case !known && at != 0:
		return fault.New(fault.CannotLook, "nothing was known of %s at %s", strings.Join(clouds, ", "), r.when(at)).Hinted("demarc inventory show tells what is known")
	}
	return showReach(c, r, f, xs, server)
}

// reachOffline answers from a file.
func reachOffline(c *cobra.Command, r *reading, f reachFlags, server string) error {
	if f.at != "" {
		return fault.New(fault.Usage, "a file is of one time: --at and --inventory do not go together").Hinted("demarc inventory export --at writes a file of another time")
	}
	if _, err := r.location(); err != nil {
		return err
	}
	s, _, err := readInventory(c, f.inventory)
	if err != nil {
		return err
	}
	return showReach(c, r, f, []*asset.Index{asset.NewIndex(s)}, server)
}

func showReach(c *cobra.Command, r *reading, f reachFlags, xs []*asset.Index, arg string) error {
	views, err := f.views(r)
	if err != nil {
		return err
	}
	deny, err := parseDenied(f.deny)
	if err != nil {
		return err
	}
	var s *asset.Server
	if arg != "" {
		x, one, err := findServer(xs, arg)
		if err != nil {
			return err
		}
		xs, s = []*asset.Index{x}, one
	}
	rows, cols := reachedBy(xs, s, views), reachColumns(s == nil)
	if len(deny) > 0 {
		mark(rows, deny)
		cols = slices.Insert(cols, 0, deniedColumn())
	}
	if r.output == "table" {
		if err := reachHead(c, s, rows); err != nil {
			return err
		}
	}
	empty := "The cloud's rules open nothing of it to " + strings.Join(viewNames(views), ", ") + "."
	if s == nil {
		empty = "The cloud's rules open nothing to " + strings.Join(viewNames(views), ", ") + "."
	}
	if err := list(c, r, empty, rows, cols...); err != nil {
		return err
	}
	for _, x := range xs {
		if !x.Snapshot.Complete() && len(deny) == 0 {
			_, _ = fmt.Fprintf(c.ErrOrStderr(), "The inventory of %s is not whole: what is not in it may be open all the same.\n", x.Snapshot.Cloud)
		}
	}
	left := leftOut(xs, s, views)
	left.warn(c)
	return denied(deny, rows, left, xs)
}

// reachedBy lists what is open to each view: of one server, or of all.
func reachedBy(xs []*asset.Index, s *asset.Server, views []serve.Viewpoint) []reached {
	var rows []reached
	for _, x := range xs {
		for _, v := range views {
			set := reach.Compute(x, v.View)
			all := set.All()
			if s != nil {
				all = slices.Values(set.Of(s.ID))
			}
			for o := range all {
				row := reachedFrom(v, o)
				row.x = x
				if it := x.Servers[o.Server]; it != nil {
					row.Name = it.Name
				}
				rows = append(rows, row)
			}
		}
	}
	return rows
}

func reachHead(c *cobra.Command, s *asset.Server, rows []reached) error {
	if s != nil {
		sheet := newSheet(c)
		sheet.text("server", named(s.Name, s.ID))
		sheet.row("status", s.Status)
		if err := sheet.end(); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(rows, func(o reached) bool { return o.Scanner == nil }) {
		_, _ = fmt.Fprintln(c.ErrOrStderr(), "Whether our probes get in is unknown: name where they come from with --source, or give --config.")
	}
	return nil
}

func reachColumns(servers bool) []column[reached] {
	cols := []column[reached]{
		col("vantage", func(o reached) string { return o.Vantage }),
		col("address", func(o reached) string { return where(o.Opening) }),
		col("proto", func(o reached) string { return string(o.Proto) }),
		col("ports", func(o reached) string { return ports(o.Opening) }),
		col("from", func(o reached) string { return o.Remote }),
		col("scanner", func(o reached) string { return known(o.Scanner) }),
		col("zone", func(o reached) string { return yes(o.Zone) }),
		col("state", func(o reached) string { return o.State }),
		col("rule", func(o reached) string { return string(o.Rule) }),
		{"why", func(o reached) untrusted.Text { return untrusted.From(because(o.Opening)) }},
	}
	if servers {
		cols = slices.Insert(cols, 1, column[reached]{"server", func(o reached) untrusted.Text { return named(o.Name, holderOf(o.Opening)) }})
	}
	return cols
}

// holderOf is the machine, or the port that no machine has.
func holderOf(o reach.Opening) string {
	if o.Server != "" {
		return string(o.Server)
	}
	return "port " + string(o.Port)
}

// where is the address, or the address pair that is wider than one.
func where(o reach.Opening) string {
	if o.Prefix.IsValid() {
		return o.Prefix.String()
	}
	return o.Addr.String()
}

// because is the chain of objects, with the reasons for which it is not proven.
func because(o reach.Opening) string {
	why := strings.Join(o.Why, " → ")
	if len(o.Doubts) > 0 {
		why += " (not proven: " + strings.Join(o.Doubts, "; ") + ")"
	}
	return why
}

func viewNames(vs []serve.Viewpoint) []string {
	out := make([]string, len(vs))
	for i, v := range vs {
		out[i] = v.Name
	}
	return out
}

// known shows what may not be known.
func known(b *bool) string {
	if b == nil {
		return "?"
	}
	return yes(*b)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func ports(o reach.Opening) string {
	switch {
	case o.Proto == probe.ICMP:
		return ""
	case o.First == o.Last:
		return strconv.Itoa(int(o.First))
	case o.First == 1 && o.Last == 65535:
		return "all"
	}
	return fmt.Sprintf("%d-%d", o.First, o.Last)
}

// views lists the vantage points to look from.
func (f reachFlags) views(r *reading) ([]serve.Viewpoint, error) {
	if r.config != "" {
		conf, _, err := serve.Load(r.config)
		if err != nil {
			return nil, err
		}
		views := conf.Viewpoints()
		if f.vantage == "" {
			return views, nil
		}
		i := slices.IndexFunc(views, func(v serve.Viewpoint) bool { return v.Name == f.vantage })
		if i < 0 {
			return nil, fault.New(fault.NotFound, "there is no vantage %q", f.vantage).Hinted("the configuration has %s", strings.Join(viewNames(views), ", "))
		}
		return views[i : i+1], nil
	}
	if f.zone != string(probe.Internet) && f.zone != string(probe.Institution) {
		return nil, fault.New(fault.Usage, "unknown zone %q", f.zone).Hinted("one of internet, institution")
	}
	var source netip.Addr
	if f.source != "" {
		var err error
		if source, err = netip.ParseAddr(f.source); err != nil {
			return nil, fault.New(fault.Usage, "--source %q is not an address", f.source)
		}
	}
	v := serve.PointOfView(cmp.Or(f.vantage, f.zone), probe.Zone(f.zone), source)
	for i, w := range f.prefixes {
		p, err := netip.ParsePrefix(w)
		if err != nil {
			return nil, fault.New(fault.Usage, "--prefix %q is not a prefix", w).Hinted("write 172.28.0.0/16")
		}
		if i == 0 {
			v.View.Prefixes = nil
		}
		v.View.Prefixes = append(v.View.Prefixes, p)
	}
	return []serve.Viewpoint{v}, nil
}

// findServer finds a server by id or by name in any cloud. A name that several carry names none.
func findServer(xs []*asset.Index, arg string) (*asset.Index, *asset.Server, error) {
	var x *asset.Index
	var hit *asset.Server
	var ids []string
	for _, here := range xs {
		if v := here.Servers[asset.ServerID(arg)]; v != nil {
			return here, v, nil
		}
		for i := range here.Snapshot.Servers {
			if v := &here.Snapshot.Servers[i]; v.Name.Raw() == arg {
				x, hit = here, v
				ids = append(ids, string(v.ID))
			}
		}
	}
	switch len(ids) {
	case 0:
		return nil, nil, fault.New(fault.NotFound, "there is no server %q", arg).Hinted("name it by its id, or as it is called in the cloud")
	case 1:
		return x, hit, nil
	}
	return nil, nil, fault.New(fault.Usage, "%d servers are called %q", len(ids), arg).Hinted("name one by its id: %s", strings.Join(ids, ", "))
}
