package main

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"demarc/internal/asset"
	"demarc/internal/fault"
	"demarc/internal/plan"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/serve"
	"demarc/internal/store"
)

func netblockCommand() *cobra.Command {
	var r reading
	c := &cobra.Command{
		Use: "netblock", Short: "Which addresses are the cloud's, and whether the cloud agrees",
		Example: "  demarc netblock list --config demarc.yaml\n  demarc netblock diff --config demarc.yaml",
	}
	r.flags(c)
	c.AddCommand(&cobra.Command{
		Use: "list", Short: "The netblocks that are declared, and what is in them", Example: "  demarc netblock list --config demarc.yaml",
		Args: checkArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return r.configured(c.Context(), forNetblocks, func(conf *serve.Config, db *store.DB) error { return listNetblocks(c, &r, conf, db) })
		},
	}, netblockAddCommand(&r), &cobra.Command{
		Use: "diff", Short: "Where the declared netblocks and the cloud differ",
		Long: `Hold the declared netblocks against the external subnets, routed prefixes and announcements of the last inventory.

undeclared       the cloud holds it, and nobody declared it: it is not probed
partly-declared  only a part of it is declared
unheld           it is declared, and the cloud holds nothing of it
partly-held      the cloud holds only a part of it; aggregate: true says that this is meant

Exit status: 0 they agree, 1 they differ, 2 usage, 3 the cloud was never read to its end.`,
		Example: `  demarc netblock diff --config demarc.yaml
  demarc netblock diff --config demarc.yaml --output json`,
		Args: checkArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return r.configured(c.Context(), forNetblocks, func(conf *serve.Config, db *store.DB) error { return diffNetblocks(c, &r, conf, db) })
		},
	})
	return c
}

// What a configuration is needed for.
const (
	forNetblocks = "it declares the netblocks"
	forProfiles  = "it names the vantage points, and whom they stand for"
)

// configured opens the database of a configuration, and says why one is needed where none is named.
func (r *reading) configured(ctx context.Context, why string, do func(*serve.Config, *store.DB) error) error {
	if r.config == "" {
		return fault.New(fault.Usage, "no configuration is named").Hinted("%s; give it with --config", why)
	}
	conf, _, err := serve.Load(r.config)
	if err != nil {
		return err
	}
	return r.with(ctx, func(db *store.DB) error { return do(conf, db) })
}

// block is one declared netblock, with what the cloud holds in it.
type block struct {
	CIDR      netip.Prefix `json:"cidr"`
	Holder    string       `json:"holder"`
	Zones     []string     `json:"zones"`
	Vantages  []string     `json:"vantages"` // it is probed from
	Every     string       `json:"every"`
	Aggregate bool         `json:"aggregate"`
	Addresses int          `json:"addresses"` // that something holds
	Machines  int          `json:"machines"`
	Swept     moment       `json:"swept,omitzero"` // when the last sweep that was whole ended, at the vantage point that is furthest behind; absent: never
}

func listNetblocks(c *cobra.Command, r *reading, conf *serve.Config, db *store.DB) error {
	s, err := db.Snapshot(c.Context(), conf.Cloud.Name, 0)
	if err != nil {
		return err
	}
	_, p, err := serve.Load(r.config)
	if err != nil {
		return err
	}
	held := asset.NewIndex(s).Holders()
	var rows []block
	for _, b := range conf.Netblocks {
		row := block{CIDR: b.CIDR, Holder: b.Holder, Zones: b.Zones, Aggregate: b.Aggregate, Every: cmp.Or(b.Every, p.Sweep).String(), Vantages: []string{}}
		if len(row.Zones) == 0 {
			row.Zones = policy.Zones
		}
		row.Addresses, row.Machines = within(b.CIDR, held)
		if row.Vantages, row.Swept, err = swept(c.Context(), conf, db, b); err != nil {
			return err
		}
		rows = append(rows, row)
	}
	return list(c, r, "No netblock is declared: nothing is probed.", rows,
		col("cidr", func(b block) string { return b.CIDR.String() }),
		col("holder", func(b block) string { return b.Holder }),
		col("zones", func(b block) string { return strings.Join(b.Zones, ", ") }),
		col("vantages", func(b block) string { return cmp.Or(strings.Join(b.Vantages, ", "), "none") }),
		col("every", func(b block) string { return b.Every }),
		col("addresses", func(b block) string { return strconv.Itoa(b.Addresses) }),
		col("machines", func(b block) string { return strconv.Itoa(b.Machines) }),
		col("swept", func(b block) string { return cmp.Or(r.when(b.Swept), "never") }),
	)
}

// within counts the addresses of a range that something holds, and the machines that do.
func within(p netip.Prefix, held []asset.Holder) (addresses, machines int) {
	addrs, servers := map[netip.Addr]bool{}, map[asset.ServerID]bool{}
	for _, h := range held {
		if p.Contains(h.Addr) {
			addrs[h.Addr] = true
			if h.Server != "" {
				servers[h.Server] = true
			}
		}
	}
	return len(addrs), len(servers)
}

// swept lists the vantage points that a netblock is probed from, and when the one that is furthest behind last looked at all of it: 0 where
// one did not since the netblock was declared.
func swept(ctx context.Context, conf *serve.Config, db *store.DB, b policy.Netblock) (names []string, at moment, err error) {
	names = []string{}
	for _, v := range conf.Vantages {
		if !b.From(v.Name, v.Zone) {
			continue
		}
		c, err := db.LastSweep(ctx, conf.Cloud.Name, v.Name, probe.Reach)
		if err != nil {
			return nil, 0, err
		}
		since, err := db.Blocks(ctx, v.Name)
		if err != nil {
			return nil, 0, err
		}
		if at, known := since[b.CIDR]; !known || c.Ended < at {
			c.Ended = 0
		}
		if len(names) == 0 || moment(c.Ended) < at {
			at = moment(c.Ended)
		}
		names = append(names, v.Name)
	}
	return names, at, nil
}

func diffNetblocks(c *cobra.Command, r *reading, conf *serve.Config, db *store.DB) error {
	s, err := stateOf(c.Context(), db, conf.Cloud.Name, 0)
	if err != nil {
		return err
	}
	if !s.Complete() {
		return fault.New(fault.CannotLook, "the cloud %s was never read to its end: what it holds is not known", s.Cloud).Hinted("demarc doctor tells what keeps it")
	}
	rows := plan.Reconcile(asset.NewIndex(s), conf.Netblocks)
	err = list(c, r, "The declared netblocks and the cloud agree.", rows,
		col("difference", func(m plan.Mismatch) string { return m.Kind }),
		col("prefix", func(m plan.Mismatch) string { return m.Prefix.String() }),
		col("holder", func(m plan.Mismatch) string { return m.Holder }),
		col("missing", func(m plan.Mismatch) string { return few(m.Missing) }),
		col("by", func(m plan.Mismatch) string { return heldBy(m.By) }),
	)
	if err == nil && len(rows) > 0 {
		err = fault.New(fault.Violation, "the declared netblocks and the cloud differ in %d places", len(rows))
	}
	return err
}

// few shows the first of some prefixes; JSON has all.
func few(ps []netip.Prefix) string {
	const most = 4
	out := make([]string, 0, most)
	for _, p := range ps[:min(most, len(ps))] {
		out = append(out, p.String())
	}
	if len(ps) > most {
		out = append(out, fmt.Sprintf("and %d more", len(ps)-most))
	}
	return strings.Join(out, ", ")
}

func heldBy(rs []plan.Routed) string {
	out := make([]string, len(rs))
	for i, r := range rs {
		out[i] = fmt.Sprintf("%s %s (%s)", r.Kind, r.ID, r.Why)
	}
	return strings.Join(out, "; ")
}

func netblockAddCommand(r *reading) *cobra.Command {
	var b policy.Netblock
	var every string
	c := &cobra.Command{
		Use: "add CIDR", Short: "Declare a netblock",
		Long: `Declare a netblock: write it at the end of the file that the configuration names as netblocks_file. Comments and order stay,
and a file that is not there is begun.

It is refused where it would be refused in the configuration: with bits beyond its length, twice, or where it overlaps what
another holds. A server that runs goes on with the netblocks that it was started with; start it again.`,
		Example: `  demarc netblock add 203.0.113.0/24 --holder provider --zone internet --config demarc.yaml
  demarc netblock add 2001:db8:a000::/36 --holder physics --every 7d --aggregate --config demarc.yaml`,
		Args: checkArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if r.config == "" {
				return fault.New(fault.Usage, "no configuration is named").Hinted("it names the file of netblocks; give it with --config")
			}
			p, err := netip.ParsePrefix(args[0])
			if err != nil {
				return fault.New(fault.Usage, "%q is not a netblock", args[0]).Hinted("write 192.0.2.0/24")
			}
			if every != "" {
				if err := b.Every.UnmarshalYAML([]byte(every)); err != nil {
					return fault.New(fault.Usage, "--every %q is not a length of time", every).Hinted("write 7d, 36h or 30m")
				}
			}
			if p != p.Masked() {
				return fault.New(fault.Usage, "the netblock %s has bits beyond its length", p).Hinted("write %s", p.Masked())
			}
			if b.Holder == "" {
				return fault.New(fault.Usage, "nobody is named who holds %s", p).Hinted("name the provider, or whom it was given to, with --holder: demarc netblock add %s --holder provider --config %s", p, r.config)
			}
			b.CIDR = p
			path, err := serve.AddNetblock(r.config, b)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s of %s is declared in %s. A server that runs learns of it when it is started again.\n", b.CIDR, b.Holder, path)
			return err
		},
	}
	c.Flags().StringVar(&b.Holder, "holder", "", "who holds it: provider, or whom it was given to (required)")
	c.Flags().StringSliceVar(&b.Zones, "zone", nil, "zones that see it: internet, institution (default: all)")
	c.Flags().StringSliceVar(&b.Vantages, "vantage", nil, "vantage points that probe it (default: all of its zones)")
	c.Flags().StringVar(&every, "every", "", "the longest time between two looks: 12h, 7d (default: as the policy says)")
	c.Flags().BoolVar(&b.Aggregate, "aggregate", false, "subnets are made from it piece by piece: a part that the cloud does not hold is no difference")
	_ = c.RegisterFlagCompletionFunc("zone", cobra.FixedCompletions(policy.Zones, cobra.ShellCompDirectiveNoFileComp))
	return c
}
