package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"demarc/internal/asset"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/fault"
	"demarc/internal/flow"
	"demarc/internal/post"
	"demarc/internal/probe"
	"demarc/internal/scan"
	"demarc/internal/store"
	"demarc/internal/untrusted"
)

// mostOff is how far the machine's clock may be from the cloud's: beyond it deadlines and tokens are wrong.
const mostOff = 5 * time.Minute

func (c *clouds) clock(ctx context.Context, k *chart) {
	for _, done := range []chan struct{}{c.read, c.acted} {
		select {
		case <-done:
		case <-ctx.Done(): // what was answered so far is enough
		}
	}
	c.hours.mu.Lock()
	known, off := c.hours.any, c.hours.off
	c.hours.mu.Unlock()
	const remedy = "let the time be kept by NTP: timedatectl set-ntp true; then start demarc again"
	switch {
	case !known:
		k.warn(ClockAlone, "", "no answer of the cloud told a time to compare this machine's with")
	case off > mostOff:
		k.fail(ClockOff, remedy, "the clock of this machine is %s ahead of the cloud's", off.Round(time.Second))
	case off < -mostOff:
		k.fail(ClockOff, remedy, "the clock of this machine is %s behind the cloud's", (-off).Round(time.Second))
	default:
		k.fine(ClockRight, "the clock of this machine and the cloud's agree within %s", (max(off, -off) + time.Second).Round(time.Second))
	}
	if synchronised, ok := kept(); ok && !synchronised {
		k.warn(ClockUnsync, remedy, "the kernel does not know its clock to be synchronised")
	}
}

// vantage asks the kernel whether probes could leave.
func (d Doctor) vantage(k *chart, v Vantage) {
	_, visible := d.Config.blocks(v)
	if len(visible) == 0 {
		k.warn(VantageNothing, "declare a netblock with this zone", "no declared netblock is visible from zone %s: nothing is probed from here", v.Zone)
		return
	}
	var to, from []netip.Addr
	blind := map[string][]string{}
	for _, b := range visible {
		source := scan.SourceFor(v.Sources, b.Addr())
		if !source.IsValid() {
			f := family(b.Addr())
			blind[f] = append(blind[f], b.String())
			continue
		}
		if !v.Bind {
			source = netip.Addr{}
		}
		to, from = append(to, inside(b)), append(from, source)
	}
	for _, f := range slices.Sorted(maps.Keys(blind)) {
		k.fail(VantageNoFamily, "add an "+f+" address to sources, or take the netblocks out of this zone", "%s is not probed from here: no source is %s", list(blind[f]), f)
	}
	roads, err := scan.Survey(v.Namespace, from, to)
	if err != nil {
		k.fault(VantageNamespace, "ip netns list; entering one needs root", err)
		return
	}
	where := "on this machine"
	if v.Namespace != "" {
		where = "in network namespace " + v.Namespace
	}
	var missing, froms []string
	for i, r := range roads {
		switch {
		case errors.Is(r.Err, scan.ErrNoSource):
			k.fail(VantageNoSource, "ip address show, and add it, or name another under sources", "the source address %s is not %s", from[i], where)
			return
		case r.Err != nil:
			missing = append(missing, to[i].String()+" ("+r.Err.Error()+")")
		case !slices.Contains(v.Sources, r.From) && !slices.Contains(froms, r.From.String()):
			froms = append(froms, r.From.String())
		}
	}
	if len(missing) > 0 {
		k.fail(VantageNoRoute, "ip route get ADDRESS there, and add a route", "there is no way %s to %s: every look from here would fail", where, list(missing))
		return
	}
	if len(froms) > 0 {
		k.warn(VantageOther, "publish it under sources, or set bind: true; behind address translation this is as it should be", "probes leave from %s, which is not a published source", list(froms))
	}
	if len(to) > 0 {
		k.fine(VantageRoad, "there is a way %s to %d declared netblocks", where, len(to))
	}
}

func family(a netip.Addr) string {
	if a.Unmap().Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// inside is an address of a block that some machine could have.
func inside(b netip.Prefix) netip.Addr {
	if a := b.Masked().Addr().Next(); b.Contains(a) {
		return a
	}
	return b.Addr()
}

func (d Doctor) mail(ctx context.Context, k *chart) {
	c := d.Config.Mail
	s, err := post.NewSMTP(post.Config{Host: c.Host, Port: c.Port, TLS: c.TLS, From: c.From, ReplyTo: c.ReplyTo,
		EHLO: c.EHLO, User: c.User, Password: c.password, Timeout: d.Bound})
	if err != nil {
		k.fault(MailUnreachable, "", err)
		return
	}
	to := slices.Compact([]string{c.Provider, c.Operators})
	switch stage, said := s.Try(ctx, to); stage {
	case post.Done:
		k.fine(MailTaken, "%s would take mail from %s to %s; none was sent", s.Hop(), c.From, list(to))
	case post.Later:
		k.warn(MailLater, "try again in some minutes; greylisting is the usual reason", "%s asks to come back: %s", s.Hop(), said)
	case post.Secured:
		k.fail(MailTLS, "let the relay offer STARTTLS with a certificate for its name; on a trusted network set mail.tls: opportunistic", "%s cannot be spoken to encrypted: %s", s.Hop(), said)
	case post.LoggedIn:
		k.fail(MailLogin, "check mail.user and the file of mail.password_file", "%s does not log us in: %s", s.Hop(), said)
	case post.Sender, post.Recipient:
		k.fail(MailRefused, "let the relay take mail from this machine for these addresses, or correct them under mail", "%s refuses: %s", s.Hop(), said)
	case post.Reached:
		k.fail(MailUnreachable, "check mail.host and mail.port, and that the relay listens", "%s does not answer as a mail server: %s", s.Hop(), said)
	}
}

func (d Doctor) database(ctx context.Context, k *chart) {
	place := d.Config.DatabasePath()
	const folder = "let the account that runs demarc own the file and its folder, on a file system with room that is mounted for writing"
	if !store.IsURL(place) {
		if err := unix.Access(filepath.Dir(place), unix.W_OK|unix.X_OK); err != nil {
			k.fail(DatabaseReadOnly, folder, "the folder of %s cannot be written: %s", place, err)
			return
		}
		if _, err := os.Stat(place); errors.Is(err, os.ErrNotExist) {
			k.fine(DatabaseNew, "%s is not there: it will be made", place)
			return
		}
		if err := unix.Access(place, unix.R_OK|unix.W_OK); err != nil {
			k.fail(DatabaseReadOnly, folder, "%s cannot be written: %s", place, err)
			return
		}
	}
	s, err := store.Try(ctx, place, d.Config.Password())
	switch {
	case errors.Is(err, store.ErrReadOnly):
		k.fault(DatabaseReadOnly, folder, err)
	case fault.Is(err, fault.Config):
		k.fault(DatabaseNotOurs, "name the database that demarc writes", err)
	case err != nil:
		k.fault(DatabaseUnreachable, "check that it is there, and that the user may use it", err)
	case s.New:
		k.fine(DatabaseNew, "the database is there and has no tables: they will be made")
	default:
		k.fine(DatabaseWritable, "the database can be written")
	}
	if err == nil && s.By != "" {
		k.warn(DatabaseInUse, "nothing to do, unless another was to be started: one instance runs on a database", "an instance runs on it: %s", s.By)
	}
}

// duties holds the responsibility model against what was in use under its name.
func (d Doctor) duties(ctx context.Context, k *chart) {
	m, place := d.Config.model, d.Config.DatabasePath()
	if _, err := os.Stat(place); !store.IsURL(place) && errors.Is(err, os.ErrNotExist) {
		k.fine(ModelKnown, "%s, version %d", m.ID, m.Version)
		return
	}
	db, err := store.OpenReader(ctx, place, d.Config.Password())
	if err != nil {
		return // said under database
	}
	was, known, err := db.Model(ctx, m.ID, m.Version)
	snap, errSnap := db.Snapshot(ctx, d.Config.Cloud.Name, 0)
	if err = errors.Join(err, errSnap, db.Close()); err != nil {
		return
	}
	if aside := coversNothing(m, asset.NewIndex(snap)); len(aside) > 0 && len(snap.Projects) > 0 {
		if more := len(aside) - 5; more > 0 {
			aside = append(aside[:5:5], fmt.Sprintf("%d more", more))
		}
		k.warn(ModelAside, "compare the ids with the cloud's: openstack project list, openstack server list --all-projects", "the inventory holds nothing of what %s cover", strings.Join(aside, ", "))
	}
	if known && was.Hash != m.Hash() {
		k.fail(ModelChanged, "raise its version: with every change; demarc duty diff tells what would change", "version %d of the responsibility model %s was in use with other words", m.Version, m.ID)
		return
	}
	k.fine(ModelKnown, "%s, version %d, with %d duties", m.ID, m.Version, len(m.Duties))
}

// reader opens the database to read. It is nil where nothing was read yet, and where the database cannot be opened, which is said under
// database.
func (d Doctor) reader(ctx context.Context) *store.DB {
	place := d.Config.DatabasePath()
	if _, err := os.Stat(place); !store.IsURL(place) && errors.Is(err, os.ErrNotExist) {
		return nil
	}
	db, err := store.OpenReader(ctx, place, d.Config.Password())
	if err != nil {
		return nil
	}
	return db
}

// inventory tells what waits while the server's readings of the cloud are partial.
func (d Doctor) inventory(ctx context.Context, k *chart) {
	db := d.reader(ctx)
	if db == nil {
		return
	}
	defer db.Close() //nolint:errcheck // it was only read
	last, known, err := db.LastCoverage(ctx, store.KindInventory, d.Config.Cloud.Name, "", "")
	if err != nil || !known || last.Complete {
		return
	}
	k.warn(InventoryPartial, "demarc inventory show tells the gaps, and since when; see what the account may list",
		"the last reading of the cloud, of %s, was not whole (%s): findings of the configuration wait for a whole reading, nothing is taken for gone, and nothing is enforced",
		time.UnixMicro(last.Ended).UTC().Format(time.RFC3339), untrusted.From(last.Note).Cap(300).Terminal())
}

// sweeps tells which vantage points are late with their sweeps, or have never ended one.
func (d Doctor) sweeps(ctx context.Context, k *chart) {
	db := d.reader(ctx)
	if db == nil {
		return
	}
	defer db.Close() //nolint:errcheck // it was only read
	clock, err := db.Clock(ctx)
	if err != nil || clock == 0 {
		return
	}
	clock = max(clock, d.Now().UnixMicro()) // a server that does not run keeps no clock
	for _, v := range d.Config.Vantages {
		every := d.Policy.SweepEvery(d.Config.Netblocks, v.Name, v.Zone)
		last, known, err := db.LastCoverage(ctx, probe.KindSweep, d.Config.Cloud.Name, v.Name, probe.Control)
		asked, _, errAsked := db.LastCoverage(ctx, probe.KindSweep, d.Config.Cloud.Name, v.Name, probe.Reach)
		err = errors.Join(err, errAsked)
		switch late := time.Duration(clock-last.Began)*time.Microsecond - time.Duration(every); {
		case err != nil:
			k.fault(SweepLate, "", err)
		case !known:
			k.warn(SweepLate, "let demarc serve run, and read its log if it does", "no sweep from %s has ended yet", v.Name)
		case late > time.Duration(every)/10:
			k.warn(SweepLate, "raise the rates of the vantage point, or sweep_every, and see demarc coverage for what failed",
				"the last sweep from %s began %s ago, and one is due every %s", v.Name, time.Duration(clock-last.Began)*time.Microsecond, every)
		default:
			k.fine(SweepInTime, "%s was swept within %s", v.Name, every)
		}
		if asked.Note != "" {
			k.warn(SweepGaps, "demarc coverage shows it for each sweep", "of the last sweep from %s: %s", v.Name, untrusted.From(asked.Note).Cap(300).Terminal())
		}
	}
}

// coversNothing lists the contracts and offerings of which the inventory holds no server, project or domain.
func coversNothing(m *duty.Model, x *asset.Index) []string {
	domains := map[asset.DomainID]bool{}
	for _, p := range x.Projects {
		domains[p.Domain] = true
	}
	held := func(s duty.Scope) bool {
		return slices.ContainsFunc(s.Servers, func(id asset.ServerID) bool { return x.Servers[id] != nil }) ||
			slices.ContainsFunc(s.Projects, func(id asset.ProjectID) bool { return x.Projects[id] != nil }) ||
			slices.ContainsFunc(s.Domains, func(id asset.DomainID) bool { return domains[id] })
	}
	var out []string
	for _, c := range m.Contracts {
		if c.Renews == "" && !held(c.Scope) {
			out = append(out, "contract "+c.ID)
		}
	}
	for _, o := range m.Offerings {
		if !held(o.Scope) {
			out = append(out, "offering "+o.ID)
		}
	}
	return out
}

// audit holds the log against the heads that are kept outside the database.
func (d Doctor) audit(ctx context.Context, k *chart) {
	path := d.Config.HeadsPath()
	target := path
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		target = filepath.Dir(path)
	}
	if err := unix.Access(target, unix.W_OK); err != nil {
		k.fail(AuditUnwritable, "let the account that runs demarc write it, or name another under audit_heads", "the heads of the audit log cannot be appended to %s: %s", path, err)
	}
	heads, err := store.HeadFile(path).Heads()
	if err != nil {
		k.fault(AuditUnwritable, "let the account that runs demarc read it", err)
		return
	}
	if _, err := os.Stat(d.Config.DatabasePath()); !store.IsURL(d.Config.Database) && errors.Is(err, os.ErrNotExist) {
		if len(heads) > 0 {
			k.fail(AuditTampered, "put the database back; to begin a new one, move this file away", "%s keeps %d heads of a log, and there is no database", path, len(heads))
			return
		}
		k.skip(AuditHeads, "there is no log yet")
		return
	}
	db, err := store.OpenReader(ctx, d.Config.DatabasePath(), d.Config.Password())
	if err != nil {
		k.skip(AuditUnread, "the log could not be read: see the database")
		return
	}
	defer db.Close() //nolint:errcheck // it was only read
	log, err := db.AuditLog(ctx)
	if err != nil {
		k.skip(AuditUnread, "the log could not be read: %s", err)
		return
	}
	d.repairs(ctx, k, db, log)
	log.Known = heads
	if ps := audit.Verify(log); len(ps) > 0 {
		k.fail(AuditTampered, "demarc audit verify tells more; enforcement stays held until a person has looked", "the audit log is not the one whose heads were kept: %s", ps[0].What)
		return
	}
	if lostHeads(len(heads), len(log.Leaves)) {
		k.fail(AuditLost, "put the file back, or name it under audit_heads; enforcement is paused until an operator resumes",
			"%s keeps no head of the audit log, which has %d entries", path, len(log.Leaves))
		return
	}
	k.fine(AuditHeads, "the audit log agrees with its heads in %s", path)
}

// repairsFor is for how long repairs of cases are reported.
const repairsFor = 30 * 24 * time.Hour

// repairs reports the cases whose timers or mails were missing lately. Policy time may be ahead of the wall clock; the later of the two
// counts.
func (d Doctor) repairs(ctx context.Context, k *chart, db *store.DB, log audit.Stored) {
	clock, err := db.Clock(ctx)
	if err != nil {
		return // reported under database
	}
	since, n, cases := max(clock, d.Now().UnixMicro())-repairsFor.Microseconds(), 0, []string{}
	for _, l := range log.Leaves {
		var e audit.Entry
		if !bytes.Contains(l.Data, []byte(flow.CaseRepaired)) || json.Unmarshal(l.Data, &e) != nil ||
			e.Kind != flow.CaseRepaired || e.At < since {
			continue
		}
		if n++; !slices.Contains(cases, casework.Ref(e.Case)) {
			cases = append(cases, casework.Ref(e.Case))
		}
	}
	if n == 0 {
		return
	}
	if more := len(cases) - mostMachines; more > 0 {
		cases = append(cases[:mostMachines:mostMachines], fmt.Sprintf("%d more", more))
	}
	k.warn(CasesRepaired, "find out who or what deletes or edits rows of the database; demarc case show CASE lists what was missing",
		"timers or mails of cases were missing %d times in the last 30 days and were created again: %s", n, list(cases))
}

func (d Doctor) socket(ctx context.Context, k *chart) {
	d.approvers(k)
	path := d.Config.SocketPath()
	const remedy = "name another under socket, in a folder that the account that runs demarc can write"
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != os.ModeSocket {
		k.fail(SocketTaken, remedy, "%s is in the way: it is no socket", path)
		return
	}
	if err := unix.Access(filepath.Dir(path), unix.W_OK|unix.X_OK); err != nil {
		k.fail(SocketTaken, remedy, "no socket can be made in %s: %s", filepath.Dir(path), err)
		return
	}
	if c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path); err == nil {
		_ = c.Close()
		k.fine(SocketFree, "a server answers at %s", path)
		return
	}
	k.fine(SocketFree, "decisions will be heard at %s", path)
}
