package flow

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/cloud"
	"demarc/internal/fault"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// refreshWhenDue reads the cloud when the last reading is older than the policy wants.
func (l *Line) refreshWhenDue(ctx context.Context) (bool, error) {
	if l.waiting(workInventory) {
		return false, nil
	}
	c, ok, err := l.Ledger.LastCoverage(ctx, probe.KindInventory, l.Cloud, "", "")
	if err != nil {
		return false, err
	}
	if !ok || l.fullDue(c) <= l.Clock.Now() {
		return true, l.refresh(ctx)
	}
	if err := l.loadInventory(ctx, c.RealAt); err != nil {
		return false, err
	}
	due, often, err := l.recentDue(ctx, c)
	if err != nil || !often || due > l.Clock.Now() || l.waiting(workRecent) {
		return false, err
	}
	return true, l.recent(ctx)
}

// refresh reads the whole cloud and merges what it holds. A partial reading adds and never removes.
func (l *Line) refresh(ctx context.Context) error {
	cut, was, err := l.Ledger.LastPage(ctx, l.Cloud)
	if err != nil {
		return err
	}
	start := l.Clock.Now()
	s, err := l.Reader.Snapshot(ctx, l.Clock.Now)
	if err != nil {
		l.putOff(workInventory, err)
		return fmt.Errorf("reading cloud %s: %w", l.Cloud, err)
	}
	if err := l.holdShrunk(ctx, s); err != nil {
		return err
	}
	d := l.draft("inventory")
	s.Cloud = l.Cloud
	d.change.Inventory = &casework.Inventory{Snapshot: s, RealAt: l.Clock.Real(), Took: s.Ended - s.Began}
	if was && s.Began == cut.Began {
		d.change.Inventory.Took -= start - cut.At // it went on behind that page, and nobody read in between
	}
	written := d.gaps("inventory sync", s.Gaps)
	if err := d.commit(ctx); err != nil {
		return err
	}
	written()
	l.done(workInventory)
	l.synced.Store(l.Clock.Real())
	if err := l.loadInventory(ctx, l.Clock.Real()); err != nil {
		return err
	}
	l.xAt = l.Clock.Real()
	c, _, err := l.Ledger.LastCoverage(ctx, probe.KindInventory, l.Cloud, "", "") // the store may find rows that are older than what is known
	if err != nil {
		return err
	}
	if !c.Complete {
		l.partialAt = l.Clock.Now()
	}
	l.mention("inventory", "inventory.read", "%d servers, %d ports, %d floating IPs, %d groups", len(s.Servers), len(s.Ports), len(s.FloatingIPs), len(s.Groups))
	// Each is done whatever became of the others. What is off the network is watched on a partial reading too: each machine that seems free
	// is asked about, and nobody may end that by what they do to a listing.
	var errs []error
	if c.Complete {
		errs = append(errs, l.buryGone(ctx))
	}
	return errors.Join(append(errs, l.queueOpened(ctx), l.findLeftovers(ctx), l.watchActs(ctx))...)
}

// errUnread says that the cloud was read, and that it gave no answer about one machine or port after that.
var errUnread = errors.New("the cloud gives no answer about it")

// reread reads the whole cloud for work on one machine. That it gives no answer about others keeps that work from nothing: the syncs that
// are due say so.
func (l *Line) reread(ctx context.Context) error {
	err := l.refresh(ctx)
	if errors.Is(err, errUnread) && ctx.Err() == nil {
		return nil
	}
	return err
}

// holdShrunk makes a complete reading that suddenly lacks much of what is known a partial one, until another says the same that is
// later by as much as a finding's two looks: readings that follow at once share a cache. A restart forgets what the last one lacked, and
// asks once more.
func (l *Line) holdShrunk(ctx context.Context, s *asset.Snapshot) error {
	if !s.Complete() {
		return nil
	}
	known, err := l.Ledger.Snapshot(ctx, l.Cloud, 0)
	if err != nil {
		return err
	}
	s.Gaps = l.lacked.Hold(known, s, l.Clock.Now(), l.Policy.Proof.ConfirmGap.Micros())
	return nil
}

func (l *Line) loadInventory(ctx context.Context, readAt int64) error {
	if l.x != nil && l.xAt >= readAt {
		return nil
	}
	s, err := l.Ledger.Snapshot(ctx, l.Cloud, 0)
	if err != nil {
		return err
	}
	l.xAt = readAt
	l.know(asset.NewIndex(s))
	if m := marks(l.x); m != l.marks {
		l.marks, l.chargeAt = m, 0
	}
	return nil
}

// know takes in an inventory, with what is looked up in it for each finding and each answer.
func (l *Line) know(x *asset.Index) {
	l.outside = reach.Outside(x)
	l.x, l.queued, l.shown = x, false, false
	l.forwards = forwarded(x)
	l.holds, l.sets = holders(x), map[string]*reach.Set{}
	l.addrs, l.fips = map[asset.PortID][]netip.Addr{}, map[asset.FloatingIPID]*asset.FloatingIP{}
	for addr, h := range l.holds {
		l.addrs[h.Port] = append(l.addrs[h.Port], addr)
	}
	for _, addrs := range l.addrs {
		slices.SortFunc(addrs, netip.Addr.Compare)
	}
	for i := range x.Snapshot.FloatingIPs {
		l.fips[x.Snapshot.FloatingIPs[i].ID] = &x.Snapshot.FloatingIPs[i]
	}
}

// buryGone ends the cases of servers that two complete readings in a row did not hold. One that cannot be read keeps no other's open.
func (l *Line) buryGone(ctx context.Context) error {
	cases, err := l.Ledger.Cases(ctx, access.Operator(), casework.Filter{Live: true})
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range cases {
		if c.Cloud != l.Cloud || c.Server == "" || c.Deleted > 0 || l.x.Servers[c.Server] != nil {
			l.overcome("servers that are not listed, and are there", string(c.Server))
			continue
		}
		if err := l.bury(ctx, c); err != nil {
			errs = append(errs, fmt.Errorf("server %s, which is not listed: %w", c.Server, err))
		}
	}
	return errors.Join(errs...)
}

func (l *Line) bury(ctx context.Context, c casework.Case) error {
	if l.Actor != nil { // no listing alone ends a case
		switch _, _, err := l.Actor.Machine(ctx, c.Server); {
		case err == nil:
			l.meet("servers that are not listed, and are there", string(c.Server), "server "+string(c.Server))
			return nil
		case !errors.Is(err, cloud.ErrNotFound):
			return fmt.Errorf("%w: %w", errUnread, err)
		}
	}
	ds, err := l.dossier(ctx, c.ID)
	if err != nil {
		return err
	}
	d := l.draft("inventory")
	d.apply(ds, casework.Gone{})
	if err := d.continuedBy(ctx, c); err != nil {
		return err
	}
	if err := d.commit(ctx); err != nil && !fault.Is(err, fault.Conflict) {
		return err
	}
	return nil
}

// healthy tells whether the last reading of the cloud was complete, and its age on the slower of both clocks.
func (l *Line) healthy(ctx context.Context) (ok bool, age int64, err error) {
	c, known, err := l.Ledger.LastCoverage(ctx, probe.KindInventory, l.Cloud, "", "")
	if err != nil || !known {
		return false, -1, err
	}
	return c.Complete, l.Clock.Age(c.Began, c.RealAt), nil // a walk that was cut and went on began with its first page
}
