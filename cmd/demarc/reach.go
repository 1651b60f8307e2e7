package main

import (
	"context"
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

type reachFlags struct {
	at, vantage, zone, source string
}

func reachCommand() *cobra.Command {
	var r reading
	var f reachFlags
	c := &cobra.Command{
		Use: "reach SERVER", Short: "What the cloud's rules let through to a server, and which rule does",
		Long: `What the cloud's rules let through to a server, from where, and which rule opens it. No packet is sent.

The vantage points are those of the configuration; without one, name a vantage by its zone and the address it
probes from. "scanner" is whether our probe gets in, "zone" whether anybody else there does. Without a configuration
and --source nobody knows where our probes come from: "scanner" is then "?", and null in JSON.`,
		Example: `  demarc reach web-1 --config demarc.yaml
  demarc reach web-1 --db demarc.db --zone internet --source 198.51.100.10
  demarc reach 5f0c… --config demarc.yaml --at 2026-05-04T02:14:00Z --output json`,
		Args: checkArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return r.with(c.Context(), func(db *store.DB) error { return showReach(c, &r, db, f, args[0]) })
		},
	}
	r.flags(c)
	c.Flags().StringVar(&f.at, "at", "", "when (default: now)")
	c.Flags().StringVar(&f.vantage, "vantage", "", "only this vantage point")
	c.Flags().StringVar(&f.zone, "zone", string(probe.Internet), "zone of the vantage, without a configuration: internet, institution")
	c.Flags().StringVar(&f.source, "source", "", "`address` the vantage probes from, without a configuration")
	_ = c.RegisterFlagCompletionFunc("zone", cobra.FixedCompletions([]string{string(probe.Internet), string(probe.Institution)}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// reached is one opening as seen from a vantage.
type reached struct {
	Vantage string     `json:"vantage"`
	From    probe.Zone `json:"from"` // the vantage's zone
	reach.Opening
	Scanner *bool `json:"scanner"` // whether our probe gets in; nil: unknown, for its source is not known
}

// reachedFrom is an opening as a vantage sees it. Without an address to probe from, whether our probe gets in is unknown.
func reachedFrom(v serve.Viewpoint, o reach.Opening) reached {
	r := reached{Vantage: v.Name, From: v.View.Zone, Opening: o}
	if len(v.View.Scanners) > 0 {
		r.Scanner = &o.Scanner
	}
	return r
}

func showReach(c *cobra.Command, r *reading, db *store.DB, f reachFlags, arg string) error {
	views, err := f.views(r)
	if err != nil {
		return err
	}
	at, err := r.parseTime(f.at)
	if err != nil {
		return err
	}
	x, s, err := findServer(c.Context(), db, arg, at)
	if err != nil {
		return err
	}
	var rows []reached
	for _, v := range views {
		for _, o := range reach.Compute(x, v.View).Of(s.ID) {
			rows = append(rows, reachedFrom(v, o))
		}
	}
	if r.output == "table" {
		sheet := newSheet(c)
		sheet.text("server", named(s.Name, s.ID))
		sheet.row("status", s.Status)
		if err := sheet.end(); err != nil {
			return err
		}
		if slices.ContainsFunc(rows, func(o reached) bool { return o.Scanner == nil }) {
			_, _ = fmt.Fprintln(c.ErrOrStderr(), "Whether our probes get in is unknown: name where they come from with --source, or give --config.")
		}
	}
	empty := "The cloud's rules open nothing of it to " + strings.Join(viewNames(views), ", ") + "."
	return list(c, r, empty, rows,
		col("vantage", func(o reached) string { return o.Vantage }),
		col("address", func(o reached) string { return o.Addr.String() }),
		col("proto", func(o reached) string { return string(o.Proto) }),
		col("ports", func(o reached) string { return ports(o.Opening) }),
		col("from", func(o reached) string { return o.Remote }),
		col("scanner", func(o reached) string { return known(o.Scanner) }),
		col("zone", func(o reached) string { return yes(o.Zone) }),
		col("rule", func(o reached) string { return string(o.Rule) }),
		column[reached]{"why", func(o reached) untrusted.Text { return untrusted.From(strings.Join(o.Why, " → ")) }},
	)
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
	if _, conf, err := r.path(); err != nil {
		return nil, err
	} else if conf != nil {
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
	name := f.vantage
	if name == "" {
		name = f.zone
	}
	return []serve.Viewpoint{serve.PointOfView(name, probe.Zone(f.zone), source)}, nil
}

// findServer finds a server by id or by name in any cloud. A name that several carry names none.
func findServer(ctx context.Context, db *store.DB, arg string, at moment) (*asset.Index, *asset.Server, error) {
	clouds, err := db.Clouds(ctx)
	if err != nil {
		return nil, nil, err
	}
	var x *asset.Index
	var hit *asset.Server
	var ids []string
	for _, name := range clouds {
		s, err := db.Snapshot(ctx, name, int64(at))
		if err != nil {
			return nil, nil, err
		}
		here := asset.NewIndex(s)
		if v := here.Servers[asset.ServerID(arg)]; v != nil {
			return here, v, nil
		}
		for i := range s.Servers {
			if v := &s.Servers[i]; v.Name.Raw() == arg {
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
