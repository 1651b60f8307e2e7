package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/fault"
	"demarc/internal/store"
	"demarc/internal/untrusted"
)

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
	Known       moment             `json:"known_at"`    // since when this is known
}

// owner is somebody to ask, and why it is them.
type owner struct {
	Mail untrusted.Text `json:"mail"`
	As   string         `json:"as"` // creator, or the role on the project
}

// asked is the question: who held an address at a time that a clock told which may be off, as we knew it at another time.
type asked struct {
	at, known moment
	orAt      moment // the other instant that a wall-clock time may mean; 0: there is one
	tolerance time.Duration
}

type whoAnswer struct {
	Address    netip.Addr  `json:"address"`
	At         moment      `json:"at,omitzero"`         // absent: now
	OrAt       moment      `json:"or_at,omitzero"`      // the other instant that a wall-clock time without an offset means, where the clock was set back
	Tolerance  string      `json:"tolerance,omitempty"` // how far off that may be, to both sides
	KnownAt    moment      `json:"known_at,omitzero"`   // as it was known then; absent: as it is known now
	Answer     asset.Whose `json:"answer"`              // held, connected, nobody, ambiguous
	Doubt      asset.Doubt `json:"doubt,omitempty"`     // why it is ambiguous: shared, several, partly
	Holders    []held      `json:"holders"`             // all who held it within the tolerance
	Connected  []joined    `json:"connected"`           // who has joined it to the cloud, where nobody holds it
	Now        []held      `json:"now"`
	KnownSince moment      `json:"known_since,omitzero"` // nothing is known of the time before
}

func whoCommand(r *reading) *cobra.Command {
	var at, known string
	var q asked
	c := &cobra.Command{
		Use: "who ADDRESS", Short: "Who held an address at a time",
		Long: `Who held an address at a time, and who has it now.

Somebody else's clock may be off: with --tolerance the time may have been as much earlier or later, and one machine held
the address only if it alone held it all of that time. --known-at asks what was known at another time, whatever was
learnt since.

An address that no port holds may be joined to the cloud by a project, with a VPN, an extra route or a BGP peer: it is "connected".

Exit status: 0 one machine, or one project that joined it, 1 nobody as far as is known, 2 usage, 3 attributable to none.`,
		Example: `  demarc inventory who 192.0.2.10 --db demarc.db
  demarc inventory who 192.0.2.10 --at 2026-05-04T02:14:00+01:00 --tolerance 5m --output json
  demarc inventory who 192.0.2.10 --at 2026-05-04T02:14:00Z --known-at 2026-05-05T00:00:00Z
  demarc inventory who 192.0.2.10 --at "2026-05-04 02:14" --time-zone Europe/London`,
		Args: checkArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return r.with(c.Context(), func(db *store.DB) (err error) {
				ats, err := r.instants(at)
				if err != nil {
					return err
				}
				if q.at = ats[0]; len(ats) > 1 {
					q.orAt = ats[1]
				}
				if q.known, err = r.parseTime(known); err != nil {
					return err
				}
				return who(c, r, db, args[0], q)
			})
		},
	}
	c.Flags().StringVar(&at, "at", "", `when: 2026-05-04T02:14:00Z, or "2026-05-04 02:14" (default: now)`)
	c.Flags().DurationVar(&q.tolerance, "tolerance", 0, "how far off that may be, earlier or later: 30s, 5m")
	c.Flags().StringVar(&known, "known-at", "", "as it was known at this time (default: as it is known now)")
	return c
}

// maxTolerance keeps the window within what a clock can be off.
const maxTolerance = 7 * 24 * time.Hour

func who(c *cobra.Command, r *reading, db *store.DB, arg string, q asked) error {
	addr, err := netip.ParseAddr(arg)
	switch {
	case err != nil:
		return fault.New(fault.Usage, "%q is not an address", arg).Hinted("write 192.0.2.10 or 2001:db8::10")
	case q.tolerance < 0 || q.tolerance > maxTolerance:
		return fault.New(fault.Usage, "--tolerance can not be %s", q.tolerance).Hinted("0 to %s", maxTolerance)
	case q.at == 0 && (q.tolerance != 0 || q.known != 0):
		return fault.New(fault.Usage, "--tolerance and --known-at need a time").Hinted("give it with --at")
	}
	a, err := askWho(c.Context(), db, addr.Unmap(), q)
	if err != nil {
		return err
	}
	if err := a.connect(c.Context(), db, r, q); err != nil {
		return err
	}
	if q.orAt != 0 {
		if err := a.orAt(c.Context(), db, r, q); err != nil {
			return err
		}
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

func askWho(ctx context.Context, db *store.DB, addr netip.Addr, q asked) (whoAnswer, error) {
	a := whoAnswer{Address: addr, At: q.at, KnownAt: q.known}
	if q.tolerance != 0 {
		a.Tolerance = q.tolerance.String()
	}
	first, known, err := db.FirstReading(ctx, store.KindInventory)
	if err != nil {
		return a, err
	}
	if known {
		a.KnownSince = moment(first.Ended)
	}
	now, err := db.BindingsAt(ctx, access.Operator(), addr, 0)
	if err != nil {
		return a, err
	}
	if a.Now, err = holders(ctx, db, now, 0); err != nil {
		return a, err
	}
	if q.at == 0 {
		a.Holders = a.Now
		a.Answer, a.Doubt = asset.WhoHeld(now, math.MaxInt64-1, math.MaxInt64-1)
		return a, nil
	}
	from, to := int64(q.at)-q.tolerance.Microseconds(), int64(q.at)+q.tolerance.Microseconds()
	then, err := db.BindingsWithin(ctx, access.Operator(), addr, from, to, int64(q.known))
	if err != nil {
		return a, err
	}
	a.Answer, a.Doubt = asset.WhoHeld(then, from, to)
	a.Holders, err = holders(ctx, db, then, q.at)
	return a, err
}

// connect looks for who has joined the address to the cloud, where nobody is known to have held it.
func (a *whoAnswer) connect(ctx context.Context, db *store.DB, r *reading, q asked) (err error) {
	a.Connected = []joined{}
	if a.Answer != asset.Nobody {
		return nil
	}
	a.Connected, err = joinedBy(ctx, db, r, a.Address, q)
	switch {
	case len(a.Connected) == 1:
		a.Answer = connected
	case len(a.Connected) > 1:
		a.Answer, a.Doubt = asset.Ambiguous, asset.Several
	}
	return err
}

// orAt asks once more, for the other instant that the wall-clock time means: one machine held the address only if it did at both.
func (a *whoAnswer) orAt(ctx context.Context, db *store.DB, r *reading, q asked) error {
	q.at, q.orAt = q.orAt, 0
	b, err := askWho(ctx, db, a.Address, q)
	if err != nil {
		return err
	}
	if err := b.connect(ctx, db, r, q); err != nil {
		return err
	}
	a.OrAt = q.at
	a.Answer, a.Doubt = both(a, &b)
	for _, h := range b.Holders {
		if !slices.ContainsFunc(a.Holders, func(o held) bool { return o.Cloud == h.Cloud && o.Port == h.Port && o.From == h.From }) {
			a.Holders = append(a.Holders, h)
		}
	}
	for _, j := range b.Connected {
		if !slices.ContainsFunc(a.Connected, func(o joined) bool { return o.Cloud == j.Cloud && o.Project == j.Project }) {
			a.Connected = append(a.Connected, j)
		}
	}
	return nil
}

// both is what can be said where the time may be one of two.
func both(a, b *whoAnswer) (asset.Whose, asset.Doubt) {
	machine := func(h held) string {
		return cmp.Or(h.Cloud+" server "+string(h.Server), h.Cloud+" port "+string(h.Port))
	}
	same := a.Answer == b.Answer
	switch {
	case a.Doubt == asset.Shared || b.Doubt == asset.Shared:
		return asset.Ambiguous, asset.Shared
	case a.Answer == asset.Ambiguous:
		return a.Answer, a.Doubt
	case b.Answer == asset.Ambiguous:
		return b.Answer, b.Doubt
	case same && a.Answer == asset.Held && machine(a.Holders[0]) != machine(b.Holders[0]),
		same && a.Answer == connected && (a.Connected[0].Cloud != b.Connected[0].Cloud || a.Connected[0].Project != b.Connected[0].Project),
		!same && a.Answer != asset.Nobody && b.Answer != asset.Nobody:
		return asset.Ambiguous, asset.Several
	case !same:
		return asset.Ambiguous, asset.Partly
	}
	return a.Answer, a.Doubt
}

// time is when, as people read it.
func (a *whoAnswer) time(r *reading) string {
	if a.OrAt != 0 {
		return r.when(a.At) + " or " + r.when(a.OrAt)
	}
	return r.when(a.At)
}

// verdict is the answer as an exit status.
func (a whoAnswer) verdict(r *reading) error {
	about := " at " + a.time(r)
	if a.Tolerance != "" {
		about += ", give or take " + a.Tolerance
	}
	switch {
	case a.Doubt == asset.Shared:
		return fault.New(fault.CannotLook, "%s is shared: what came from it can be attributed to no machine", a.Address)
	case a.Doubt == asset.Several && len(a.Connected) > 1:
		return fault.New(fault.CannotLook, "%s is ambiguous: no port holds it, and %s join it to their clouds", a.Address, projects(a.Connected))
	case a.Doubt == asset.Several && a.OrAt != 0:
		return fault.New(fault.CannotLook, "%s is ambiguous: %d held it%s", a.Address, len(a.Holders)+len(a.Connected), about).
			Hinted("the clock was set back: write the time with its offset, as 2026-05-04T02:14:00+01:00")
	case a.Doubt == asset.Several && a.Tolerance != "":
		return fault.New(fault.CannotLook, "%s is ambiguous: %d held it%s", a.Address, len(a.Holders), about).Hinted("ask for a more exact time, or leave it at that: none of them can be charged with it")
	case a.Doubt == asset.Several:
		return fault.New(fault.CannotLook, "%s is ambiguous: %d held it", a.Address, len(a.Holders)).Hinted("the same address stands for different machines in different networks")
	case a.Doubt == asset.Partly:
		return fault.New(fault.CannotLook, "%s is ambiguous: nobody is known to have held it all the time%s", a.Address, about).Hinted("the inventory begins at %s; before that, and between two holders, anybody may have had it", r.when(a.KnownSince))
	case a.Answer == asset.Held || a.Answer == connected:
		return nil
	case a.KnownSince == 0:
		return fault.New(fault.Violation, "nobody is known to hold %s: no cloud was read yet", a.Address)
	case a.At != 0 && a.At < a.KnownSince:
		return fault.New(fault.Violation, "nobody is known to have held %s at %s: the inventory begins at %s", a.Address, r.when(a.At), r.when(a.KnownSince))
	case a.At != 0 && a.KnownAt != 0:
		return fault.New(fault.Violation, "at %s nobody was known to have held %s%s", r.when(a.KnownAt), a.Address, about)
	case a.At != 0:
		return fault.New(fault.Violation, "nobody held %s%s", a.Address, about)
	}
	return fault.New(fault.Violation, "nobody holds %s now", a.Address)
}

// holders shows bindings, with the names and owners of the time that is asked about, or of the nearest at which the binding stood.
func holders(ctx context.Context, db *store.DB, bs []asset.Binding, at moment) ([]held, error) {
	type state struct {
		cloud string
		at    moment
	}
	out := []held{}
	indexes := map[state]*asset.Index{}
	for _, b := range bs {
		then := state{b.Cloud, at}
		switch {
		case at != 0 && b.ValidFrom > int64(at):
			then.at = moment(b.ValidFrom)
		case at != 0 && b.ValidTo != 0 && b.ValidTo <= int64(at):
			then.at = moment(b.ValidTo - 1)
		}
		x := indexes[then]
		if x == nil {
			s, err := db.Snapshot(ctx, b.Cloud, int64(then.at))
			if err != nil {
				return nil, err
			}
			x = asset.NewIndex(s)
			indexes[then] = x
		}
		h := held{Cloud: b.Cloud, Scope: b.Scope, Server: b.Server, Project: b.Project, Port: b.Port, FloatingIP: b.FloatingIP, Shared: b.Shared,
			Owners: ownersOf(x, b), From: moment(b.ValidFrom), To: moment(b.ValidTo), Known: moment(b.KnownAt)}
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
	writeJoined(s, r, a)
	for _, h := range a.Holders {
		s.row("address", a.Address.String())
		if a.At != 0 {
			s.row("at", a.time(r)+giveOrTake(a.Tolerance))
		}
		writeHolder(s, r, h)
	}
	if a.At != 0 {
		writeNow(s, r, a)
	}
	return s.end()
}

func giveOrTake(tolerance string) string {
	if tolerance == "" {
		return ""
	}
	return ", give or take " + tolerance
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
