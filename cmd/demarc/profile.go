package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"demarc/internal/asset"
	"demarc/internal/fault"
	"demarc/internal/flow"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/profile"
	"demarc/internal/reach"
	"demarc/internal/serve"
	"demarc/internal/store"
	"demarc/internal/untrusted"
)

func profileCommand() *cobra.Command {
	var r reading
	c := &cobra.Command{
		Use: "profile", Short: "What a kind of machine may have open, and what goes beyond",
		Example: "  demarc profile list\n  demarc profile explain web-1 --config demarc.yaml",
	}
	r.flags(c)
	c.AddCommand(&cobra.Command{
		Use: "list", Short: "The exposure profiles", Example: "  demarc profile list\n  demarc profile list --config demarc.yaml --output json",
		Args: checkArgs(cobra.NoArgs), RunE: func(c *cobra.Command, _ []string) error { return listProfiles(c, &r) },
	}, &cobra.Command{
		Use: "show PROFILE", Short: "What one profile allows, to whom, and why", Example: "  demarc profile show management",
		Args: checkArgs(cobra.ExactArgs(1)), RunE: func(c *cobra.Command, args []string) error { return showProfile(c, &r, args[0]) },
	}, &cobra.Command{
		Use: "explain SERVER", Short: "The profile of a machine, what goes beyond it, and the rules that would do",
		Long: `The profile of a machine and who says so; what is open beyond it, with the rule that opens it; and the smallest set of rules
that still serves what really listens within the profile. What listens is what answered our probes.

Exit status: 0 nothing goes beyond, 1 something does, 2 usage, 3 nothing says what kind of machine it is, or
what goes beyond is at addresses that lie in no declared netblock.`,
		Example: `  demarc profile explain web-1 --config demarc.yaml
  demarc profile explain 5f0c… --config demarc.yaml --output json`,
		Args: checkArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return r.configured(c.Context(), forProfiles, func(conf *serve.Config, db *store.DB) error { return explainProfile(c, &r, conf, db, args[0]) })
		},
	})
	return c
}

// allowance is one line of a profile.
type allowance struct {
	Profile string   `json:"profile"`
	Proto   string   `json:"proto"`
	Ports   []string `json:"ports"`
	From    []string `json:"from"`
	Limited bool     `json:"limited"`
}

func allowances(name string, k policy.Profile) []allowance {
	out := []allowance{}
	for _, a := range k.Allow {
		row := allowance{Profile: name, Proto: a.Proto, Ports: []string{}, From: a.From, Limited: a.Limited}
		for _, p := range a.Ports {
			row.Ports = append(row.Ports, p.String())
		}
		out = append(out, row)
	}
	return out
}

func (a allowance) whom() string {
	out := slices.Clone(a.From)
	if a.Limited {
		out = append(out, "a limited range")
	}
	return strings.Join(out, ", ")
}

func listProfiles(c *cobra.Command, r *reading) error {
	p, err := r.rules()
	if err != nil {
		return err
	}
	var rows []allowance
	for _, name := range p.ProfileNames() {
		rows = append(rows, allowances(name, p.Profiles[name])...)
	}
	return list(c, r, "There is no profile.", rows,
		col("profile", func(a allowance) string { return a.Profile }),
		col("proto", func(a allowance) string { return a.Proto }),
		col("ports", func(a allowance) string { return strings.Join(a.Ports, ", ") }),
		col("from", allowance.whom),
	)
}

func showProfile(c *cobra.Command, r *reading, name string) error {
	p, err := r.rules()
	if err != nil {
		return err
	}
	k, ok := p.Profiles[name]
	if !ok {
		return fault.New(fault.NotFound, "there is no profile %q", name).Hinted("one of %s", strings.Join(p.ProfileNames(), ", "))
	}
	if r.output == "json" {
		return writeIndented(c.OutOrStdout(), struct {
			Name   string      `json:"name"`
			Title  string      `json:"title"`
			Source string      `json:"source"`
			Allow  []allowance `json:"allow"`
		}{name, k.Title, k.Source, allowances(name, k)})
	}
	if r.output == "table" {
		s := newSheet(c)
		s.row("profile", name)
		s.row("title", k.Title)
		s.row("source", k.Source)
		if err := s.end(); err != nil {
			return err
		}
	}
	return list(c, r, "Nothing may be open.", allowances(name, k),
		col("proto", func(a allowance) string { return a.Proto }),
		col("ports", func(a allowance) string { return strings.Join(a.Ports, ", ") }),
		col("from", allowance.whom),
	)
}

// judged is a machine held against its profile.
type judged struct {
	Server     asset.ServerID      `json:"server"`
	Name       untrusted.Text      `json:"server_name"`
	Choice     profile.Choice      `json:"profile"`
	Asked      []probe.Proto       `json:"asked"` // protocols of which all that is open was asked: there it is known what listens
	Deviations []profile.Deviation `json:"deviations"`
	Smallest   []proposal          `json:"smallest_rules"`
	Wide       int                 `json:"wide"` // ports that are open to the internet, where they are more than the policy's wide_ports; else 0
}

// proposal is the smallest set of rules for one port of the machine.
type proposal struct {
	Port  asset.PortID `json:"port"`
	Rules []asset.Rule `json:"rules"`
}

func explainProfile(c *cobra.Command, r *reading, conf *serve.Config, db *store.DB, arg string) error {
	ctx := c.Context()
	p, err := r.rules()
	if err != nil {
		return err
	}
	snap, err := db.Snapshot(ctx, conf.Cloud.Name, 0)
	if err != nil {
		return err
	}
	x, s, err := findServer([]*asset.Index{asset.NewIndex(snap)}, arg)
	if err != nil {
		return err
	}
	q := profile.Question{Index: x, Server: s, Profiles: p.Profiles, Institution: conf.Institution()}
	for _, v := range conf.Viewpoints() {
		q.Seen = append(q.Seen, profile.Seen{View: v.View, Openings: reach.Compute(x, v.View).Of(s.ID)})
	}
	if q.Listening, q.Asked, err = heard(ctx, db, conf, q.Seen); err != nil {
		return err
	}
	choice, ok := profile.Choose(x, s, p, q.Listening)
	q.Choice = choice
	a := judged{Server: s.ID, Name: s.Name, Choice: choice, Asked: q.Asked, Deviations: []profile.Deviation{}, Smallest: []proposal{}, Wide: widest(x, s.ID, p, conf.Viewpoints())}
	if ok {
		ds, rules := profile.Judge(q)
		a.Deviations = append(a.Deviations, ds...)
		for _, port := range slices.Sorted(maps.Keys(rules)) {
			a.Smallest = append(a.Smallest, proposal{port, append([]asset.Rule{}, rules[port]...)})
		}
	}
	if err := a.write(c, r); err != nil {
		return err
	}
	left := beyondOutside(q, conf.Viewpoints())
	if !ok || len(a.Deviations) > 0 { // else it is what the command ends with
		left.warn(c)
	}
	switch {
	case a.Wide > 0 && len(a.Deviations) == 0:
		return fault.New(fault.Violation, "%d ports of %s are open to the internet, which is more than wide_ports", a.Wide, s.ID).
			Hinted("demarc finding list --check wide-opening")
	case !ok:
		return fault.New(fault.CannotLook, "nothing says what kind of machine %s is", s.ID).Hinted("declare it: profile_of in the policy, the metadata %s, or a tag %sweb", profile.MetadataKey, profile.TagPrefix)
	case len(a.Deviations) > 0:
		if len(a.Deviations) == 1 {
			return fault.New(fault.Violation, "1 rule opens more than the profile allows")
		}
		return fault.New(fault.Violation, "%d rules open more than the profile allows", len(a.Deviations))
	}
	return left.err()
}

// heard lists what answered our probes at the addresses of a machine, and the protocols of which every open port was asked: that is TCP
// once all vantage points have swept, unless so many ports are open that a sweep asks a sample of them.
func heard(ctx context.Context, db *store.DB, conf *serve.Config, seen []profile.Seen) (out []probe.Endpoint, asked []probe.Proto, err error) {
	addrs, swept := map[netip.Addr]bool{}, true
	for _, s := range seen {
		for _, o := range s.Openings {
			addrs[o.Addr] = true
		}
	}
	for _, v := range conf.Vantages {
		last, err := db.LastSweep(ctx, conf.Cloud.Name, v.Name, probe.Reach)
		if err != nil {
			return nil, nil, err
		}
		swept = swept && last.Ended != 0
		open, err := db.OpenExposures(ctx, v.Name)
		if err != nil {
			return nil, nil, err
		}
		for _, e := range open {
			if addrs[e.Endpoint.Addr] && !slices.Contains(out, e.Endpoint) {
				out = append(out, e.Endpoint)
			}
		}
	}
	slices.SortFunc(out, probe.Endpoint.Compare)
	return out, flow.Asked(swept, seen), nil
}

func (a judged) write(c *cobra.Command, r *reading) error {
	if r.output == "json" {
		return writeIndented(c.OutOrStdout(), a)
	}
	if r.output == "table" {
		if err := a.head(c); err != nil {
			return err
		}
	}
	return list(c, r, a.nothing(), a.Deviations,
		col("zone", func(d profile.Deviation) string { return string(d.Zone) }),
		col("proto", func(d profile.Deviation) string { return protos(d) }),
		col("beyond", func(d profile.Deviation) string { return beyond(d) }),
		col("state", func(d profile.Deviation) string { return d.State }),
		col("remove_rule", func(d profile.Deviation) string { return cmp.Or(string(d.Rule), "turn port security on") }),
		col("group", func(d profile.Deviation) string { return string(d.Group) }),
		col("others", func(d profile.Deviation) string { return fmt.Sprint(d.Others) }),
		col("listens", func(d profile.Deviation) string { return strings.Trim(fmt.Sprint(d.Used), "[]") }),
		column[profile.Deviation]{"why", func(d profile.Deviation) untrusted.Text { return untrusted.From(strings.Join(d.Why, " → ")) }},
	)
}

// nothing is what is said where no rule goes beyond the profile. Without a profile nothing can be said to.
func (a judged) nothing() string {
	switch {
	case a.Wide > 0:
		return fmt.Sprintf("%d ports are open to the internet, which is too many for any profile.", a.Wide)
	case len(a.Choice.Names) == 0:
		return "Without a profile nothing can be said to go beyond it."
	}
	return "Nothing that is open goes beyond it."
}

// widest is how many ports of a machine are open to the internet, where they are more than the policy allows; 0 where they are not.
func widest(x *asset.Index, id asset.ServerID, p *policy.Policy, views []serve.Viewpoint) int {
	most := 0
	for _, v := range views {
		if v.View.Zone != probe.Internet {
			continue
		}
		for _, b := range reach.Compute(x, v.View).Broad(reach.Breadth{Most: p.WidePorts, Limited4: policy.LimitedBits4, Limited6: policy.LimitedBits6}) {
			if b.Server == id {
				most = max(most, b.Ports)
			}
		}
	}
	return most
}

func (a judged) head(c *cobra.Command) error {
	s := newSheet(c)
	s.text("server", named(a.Name, a.Server))
	said := string(a.Choice.By)
	if a.Choice.By == profile.Inferred {
		said = "inferred from what listens and what its groups are called; nobody declared it"
	}
	s.row("profile", cmp.Or(strings.Join(a.Choice.Names, " or "), "none"))
	s.row("said by", said)
	for _, u := range a.Choice.Unknown {
		s.text("not heard", untrusted.From("there is no profile "+u.Raw()))
	}
	if len(a.Smallest) == 0 {
		s.row("rules that do", "none: nothing listens that the profile allows")
	}
	for _, p := range a.Smallest {
		on := ""
		if len(a.Smallest) > 1 {
			on = ", on port " + string(p.Port)
		}
		if len(p.Rules) == 0 {
			s.row("rules that do", "none: nothing listens that the profile allows"+on)
		}
		for _, rule := range p.Rules {
			s.row("rules that do", profile.Words(rule)+on)
		}
	}
	if len(a.Asked) == 0 {
		s.row("note", "not every open port was asked: the rules keep what is open and allowed, whether anything listens or not")
	}
	return s.end()
}

func protos(d profile.Deviation) string {
	var out []string
	for _, b := range d.Beyond {
		if !slices.Contains(out, string(b.Proto)) {
			out = append(out, string(b.Proto))
		}
	}
	return strings.Join(out, ", ")
}

// beyond shows the runs of ports, each with its protocol where there are several.
func beyond(d profile.Deviation) string {
	var out []string
	for _, b := range d.Beyond {
		w := ports(reach.Opening{Proto: b.Proto, First: b.First, Last: b.Last})
		if strings.Contains(protos(d), ",") {
			w = string(b.Proto) + "/" + w
		}
		if !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return strings.Join(out, ", ")
}
