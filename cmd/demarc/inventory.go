package main

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/fault"
	"demarc/internal/store"
	"demarc/internal/untrusted"
)

func inventoryCommand() *cobra.Command {
	var r reading
	c := &cobra.Command{
		Use: "inventory", Short: "What the clouds hold, and whose it is", Example: "  demarc inventory who 192.0.2.10 --db demarc.db",
	}
	r.flags(c)
	var at string
	who := &cobra.Command{
		Use: "who ADDRESS", Short: "Who held an address at a time",
		Long: `Who held an address at a time, and who has it now.

Exit status: 0 one machine, 1 nobody as far as is known, 2 usage, 3 more than one: attributable to none.`,
		Example: `  demarc inventory who 192.0.2.10 --db demarc.db
  demarc inventory who 192.0.2.10 --at 2026-05-04T02:14:00+01:00 --output json
  demarc inventory who 192.0.2.10 --at "2026-05-04 02:14" --time-zone Europe/London`,
		Args: checkArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return r.with(c.Context(), func(db *store.DB) error { return who(c, &r, db, args[0], at) })
		},
	}
	who.Flags().StringVar(&at, "at", "", `when: 2026-05-04T02:14:00Z, or "2026-05-04 02:14" (default: now)`)
	c.AddCommand(who, &cobra.Command{
		Use: "show", Short: "How much there is, and how well it is known", Example: "  demarc inventory show --db demarc.db",
		Args: checkArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return r.with(c.Context(), func(db *store.DB) error { return showInventory(c, &r, db) })
		},
	})
	return c
}

// held is one holder of an address.
type held struct {
	Cloud       string             `json:"cloud"`
	Scope       string             `json:"scope"`
	Server      asset.ServerID     `json:"server,omitempty"`
	ServerName  untrusted.Text     `json:"server_name,omitzero"`
	Project     asset.ProjectID    `json:"project"`
	ProjectName untrusted.Text     `json:"project_name,omitzero"`
	Port        asset.PortID       `json:"port"`
	FloatingIP  asset.FloatingIPID `json:"floating_ip,omitempty"`
	Shared      bool               `json:"shared"` // a router's, or forwarded: many machines answer at it
	Owners      []owner            `json:"owners"`
	From        moment             `json:"from"`
	To          moment             `json:"to,omitzero"` // absent: it still holds the address
}

// owner is somebody to ask, and why it is them.
type owner struct {
	Mail untrusted.Text `json:"mail"`
	As   string         `json:"as"` // creator, or the role on the project
}

// The answers to who.
const (
	answerHeld      = "held"
	answerNobody    = "nobody"
	answerAmbiguous = "ambiguous"
)

type whoAnswer struct {
	Address    netip.Addr `json:"address"`
	At         moment     `json:"at,omitzero"` // absent: now
	Answer     string     `json:"answer"`      // held, nobody, ambiguous
	Holders    []held     `json:"holders"`
	Now        []held     `json:"now"`
	KnownSince moment     `json:"known_since,omitzero"` // nothing is known of the time before
}

func who(c *cobra.Command, r *reading, db *store.DB, arg, when string) error {
	addr, err := netip.ParseAddr(arg)
	if err != nil {
		return fault.New(fault.Usage, "%q is not an address", arg).Hinted("write 192.0.2.10 or 2001:db8::10")
	}
	at, err := r.parseTime(when)
	if err != nil {
		return err
	}
	a, err := askWho(c.Context(), db, addr.Unmap(), at)
	if err != nil {
		return err
	}
	switch r.output {
	case "json":
		err = writeIndented(c.OutOrStdout(), a)
	case "csv":
		err = list(c, r, "", a.Holders, holderColumns(r)...)
	default:
		err = writeWho(c, r, a)
	}
	if err != nil {
		return err
	}
	return a.verdict(r)
}

func askWho(ctx context.Context, db *store.DB, addr netip.Addr, at moment) (whoAnswer, error) {
	a := whoAnswer{Address: addr, At: at, Answer: answerHeld}
	first, known, err := db.FirstReading(ctx, store.KindInventory)
	if err != nil {
		return a, err
	}
	if known {
		a.KnownSince = moment(first.Ended)
	}
	if a.Holders, err = holders(ctx, db, addr, at); err != nil {
		return a, err
	}
	a.Now = a.Holders
	if at != 0 {
		if a.Now, err = holders(ctx, db, addr, 0); err != nil {
			return a, err
		}
	}
	switch {
	case len(a.Holders) == 0:
		a.Answer = answerNobody
	case len(a.Holders) > 1 || a.Holders[0].Shared:
		a.Answer = answerAmbiguous
	}
	return a, nil
}

// verdict is the answer as an exit status.
func (a whoAnswer) verdict(r *reading) error {
	switch {
	case a.Answer == answerAmbiguous && len(a.Holders) == 1:
		return fault.New(fault.CannotLook, "%s is shared: what came from it can be attributed to no machine", a.Address)
	case a.Answer == answerAmbiguous:
		return fault.New(fault.CannotLook, "%s is ambiguous: %d held it", a.Address, len(a.Holders)).Hinted("the same address stands for different machines in different networks")
	case a.Answer == answerNobody && a.KnownSince == 0:
		return fault.New(fault.Violation, "nobody is known to hold %s: no cloud was read yet", a.Address)
	case a.Answer == answerNobody && a.At != 0 && a.At < a.KnownSince:
		return fault.New(fault.Violation, "nobody is known to have held %s at %s: the inventory begins at %s", a.Address, r.when(a.At), r.when(a.KnownSince))
	case a.Answer == answerNobody && a.At != 0:
		return fault.New(fault.Violation, "nobody held %s at %s", a.Address, r.when(a.At))
	case a.Answer == answerNobody:
		return fault.New(fault.Violation, "nobody holds %s now", a.Address)
	}
	return nil
}

// holders lists who held an address, with the names and owners of that time.
func holders(ctx context.Context, db *store.DB, addr netip.Addr, at moment) ([]held, error) {
	bs, err := db.BindingsAt(ctx, access.Operator(), addr, int64(at))
	if err != nil {
		return nil, err
	}
	out := []held{}
	indexes := map[string]*asset.Index{}
	for _, b := range bs {
		x := indexes[b.Cloud]
		if x == nil {
			s, err := db.Snapshot(ctx, b.Cloud, int64(at))
			if err != nil {
				return nil, err
			}
			x = asset.NewIndex(s)
			indexes[b.Cloud] = x
		}
		h := held{Cloud: b.Cloud, Scope: b.Scope, Server: b.Server, Project: b.Project, Port: b.Port, FloatingIP: b.FloatingIP, Shared: b.Shared,
			Owners: ownersOf(x, b), From: moment(b.ValidFrom), To: moment(b.ValidTo)}
		if s := x.Servers[b.Server]; s != nil {
			h.ServerName = s.Name
		}
		if p := x.Projects[b.Project]; p != nil {
			h.ProjectName = p.Name
		}
		out = append(out, h)
	}
	return out, nil
}

// ownersOf lists the server's creator and who administers its project; where there is nobody, its members, who hear of it then.
func ownersOf(x *asset.Index, b asset.Binding) []owner {
	out := []owner{}
	add := func(id asset.UserID, as string) {
		u := x.Users[id]
		if u == nil || u.Mail == "" || slices.ContainsFunc(out, func(o owner) bool { return o.Mail.Raw() == u.Mail }) {
			return
		}
		out = append(out, owner{untrusted.From(u.Mail), as})
	}
	if s := x.Servers[b.Server]; s != nil {
		add(s.Creator, "creator")
	}
	for _, roles := range [][]string{{"admin", "manager"}, {"member"}} {
		for _, g := range x.Snapshot.Grants {
			if g.Project == b.Project && slices.Contains(roles, g.Role) {
				add(g.User, g.Role)
			}
		}
		if len(out) > 0 {
			break
		}
	}
	return out
}

func holderColumns(r *reading) []column[held] {
	return []column[held]{
		col("cloud", func(h held) string { return h.Cloud }),
		{"server_name", func(h held) untrusted.Text { return h.ServerName }},
		col("server", func(h held) string { return string(h.Server) }),
		{"project_name", func(h held) untrusted.Text { return h.ProjectName }},
		col("project", func(h held) string { return string(h.Project) }),
		col("port", func(h held) string { return string(h.Port) }),
		col("floating_ip", func(h held) string { return string(h.FloatingIP) }),
		col("shared", func(h held) string { return strconv.FormatBool(h.Shared) }),
		{"owners", func(h held) untrusted.Text { return untrusted.From(mails(h.Owners)) }},
		col("from", func(h held) string { return r.when(h.From) }),
		col("to", func(h held) string { return r.when(h.To) }),
	}
}

func mails(os []owner) string {
	out := make([]string, len(os))
	for i, o := range os {
		out[i] = o.Mail.Raw() + " (" + o.As + ")"
	}
	return strings.Join(out, ", ")
}

func writeWho(c *cobra.Command, r *reading, a whoAnswer) error {
	s := newSheet(c)
	for _, h := range a.Holders {
		s.row("address", a.Address.String())
		if a.At != 0 {
			s.row("at", r.when(a.At))
		}
		writeHolder(s, r, h)
	}
	if a.At != 0 {
		writeNow(s, r, a)
	}
	return s.end()
}

func writeHolder(s sheet, r *reading, h held) {
	s.text("server", named(h.ServerName, h.Server))
	s.text("project", named(h.ProjectName, h.Project))
	s.row("port", string(h.Port))
	s.row("floating ip", string(h.FloatingIP))
	if h.Scope != asset.ExternalScope {
		s.row("network", h.Scope)
	}
	s.row("owner", cmp.Or(mails(h.Owners), "no address is known"))
	s.row("held", fmt.Sprintf("from %s to %s", r.when(h.From), cmp.Or(r.when(h.To), "now")))
	if h.Shared {
		s.row("note", "shared by several machines: attributable to none")
	}
	_, _ = fmt.Fprintln(s.w)
}

// writeNow tells who has the address now, against who had it then.
func writeNow(s sheet, r *reading, a whoAnswer) {
	switch {
	case len(a.Now) == 0:
		s.row("now", "nobody holds it")
	case len(a.Now) == 1 && len(a.Holders) == 1 && a.Now[0].Port == a.Holders[0].Port && a.Now[0].From == a.Holders[0].From:
		s.row("now", "the same machine holds it")
	default:
		for _, h := range a.Now {
			s.row("now", named(h.ServerName, h.Server).Raw()+" of project "+named(h.ProjectName, h.Project).Raw()+", since "+r.when(h.From))
		}
	}
}

// holding is the summary of one cloud.
type holding struct {
	Cloud        string         `json:"cloud"`
	Counts       map[string]int `json:"counts"`
	LastReading  moment         `json:"last_reading,omitzero"`
	LastComplete moment         `json:"last_complete,omitzero"`
	Gaps         string         `json:"gaps,omitempty"` // of the last reading
}

// kinds orders the counts.
var kinds = []string{"projects", "users", "servers", "ports", "floating_ips", "networks", "subnets", "routers", "groups", "rules", "images"}

func count(s *asset.Snapshot) map[string]int {
	rules := 0
	for _, g := range s.Groups {
		rules += len(g.Rules)
	}
	return map[string]int{"projects": len(s.Projects), "users": len(s.Users), "servers": len(s.Servers), "ports": len(s.Ports), "floating_ips": len(s.FloatingIPs),
		"networks": len(s.Networks), "subnets": len(s.Subnets), "routers": len(s.Routers), "groups": len(s.Groups), "rules": rules, "images": len(s.Images)}
}

func showInventory(c *cobra.Command, r *reading, db *store.DB) error {
	ctx := c.Context()
	clouds, err := db.Clouds(ctx)
	if err != nil {
		return err
	}
	rows := []holding{}
	for _, name := range clouds {
		s, err := db.Snapshot(ctx, name, 0)
		if err != nil {
			return err
		}
		h := holding{Cloud: name, Counts: count(s)}
		last, ok, err := db.LastCoverage(ctx, store.KindInventory, name, "", "")
		if err != nil {
			return err
		}
		if ok {
			h.LastReading, h.Gaps = moment(last.Ended), last.Note
		}
		if whole, ok, err := db.LastComplete(ctx, name); err != nil {
			return err
		} else if ok {
			h.LastComplete = moment(whole.Ended)
		}
		rows = append(rows, h)
	}
	if r.output != "table" || len(rows) == 0 {
		return list(c, r, "No cloud was read yet.", rows, holdingColumns(r)...)
	}
	s := newSheet(c)
	for i, h := range rows {
		if i > 0 {
			s.gap()
		}
		s.row("cloud", h.Cloud)
		for _, k := range kinds {
			s.row(strings.ReplaceAll(k, "_", " "), strconv.Itoa(h.Counts[k]))
		}
		s.row("last reading", cmp.Or(r.when(h.LastReading), "never"))
		s.row("last complete", cmp.Or(r.when(h.LastComplete), "never: what is missing is not known to be gone"))
		s.row("gaps", cmp.Or(h.Gaps, "none"))
	}
	return s.end()
}

func holdingColumns(r *reading) []column[holding] {
	cols := []column[holding]{col("cloud", func(h holding) string { return h.Cloud })}
	for _, k := range kinds {
		cols = append(cols, col(k, func(h holding) string { return strconv.Itoa(h.Counts[k]) }))
	}
	return append(cols, col("last_reading", func(h holding) string { return r.when(h.LastReading) }),
		col("last_complete", func(h holding) string { return r.when(h.LastComplete) }),
		col("gaps", func(h holding) string { return h.Gaps }))
}
