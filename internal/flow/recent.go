package flow

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// slowdown bounds the share of time that whole readings of a cloud take: one begins only when this many times its own length has
// passed since the last. What changes often is read in between.
const slowdown = 4

// fullDue is when the whole cloud is to be read again after a reading.
func (l *Line) fullDue(c probe.Coverage) int64 {
	return c.Ended + max(l.Policy.Refresh.Micros(), slowdown*cmp.Or(c.Took, c.Ended-c.Began))
}

// recentDue is when what changes often is to be read again; ok is false where whole readings come as often.
func (l *Line) recentDue(ctx context.Context, full probe.Coverage) (at int64, ok bool, err error) {
	if l.fullDue(full) <= full.Ended+l.Policy.Recent.Micros() {
		return 0, false, nil
	}
	since, err := l.Ledger.Since(ctx, l.Cloud)
	if err != nil || since == 0 {
		return 0, false, err
	}
	c, known, err := l.Ledger.LastCoverage(ctx, probe.KindRecent, l.Cloud, "", "")
	if err != nil {
		return 0, false, err
	}
	at = full.Ended
	if known {
		at = max(at, c.Ended)
	}
	return at + l.Policy.Recent.Micros(), true, nil
}

// recent reads what changes often: servers that changed, all groups and address groups, all floating IPs. It adds and alters, and
// removes nothing.
func (l *Line) recent(ctx context.Context) error {
	const key = workRecent
	since, err := l.Ledger.Since(ctx, l.Cloud)
	if err != nil {
		return err
	}
	s, err := l.Reader.Recent(ctx, since, l.Clock.Now)
	if err != nil {
		l.putOff(key, err)
		return fmt.Errorf("reading what changed in cloud %s: %w", l.Cloud, err)
	}
	s.Cloud = l.Cloud
	d := l.draft("inventory")
	d.change.Inventory = &casework.Inventory{Snapshot: s, RealAt: l.Clock.Real()}
	written := d.gaps("delta sync", s.Gaps)
	if err := d.commit(ctx); err != nil {
		return err
	}
	written()
	l.done(key)
	l.synced.Store(l.Clock.Real())
	groups, more := altered(l.x, l.fips, s)
	switch {
	case more:
		l.xAt = 0
		if err := l.loadInventory(ctx, l.Clock.Real()); err != nil {
			return err
		}
	case len(groups) > 0:
		l.regroup(groups)
	default:
		return nil
	}
	l.mention("inventory", "inventory.recent", "%d servers changed; %d groups, %d floating IPs", len(s.Servers), len(s.Groups), len(s.FloatingIPs))
	return l.queueOpened(ctx)
}

// regroup takes in groups with other rules, without reading or computing anything else anew.
func (l *Line) regroup(groups []asset.Group) {
	ids := make([]asset.GroupID, len(groups))
	for i := range groups {
		ids[i] = groups[i].ID
	}
	l.x, l.queued, l.shown = l.x.WithGroups(groups), false, false
	for name, set := range l.sets {
		l.sets[name] = set.With(l.x, ids)
	}
}

// altered lists the groups of which a reading says something else than is known, and tells whether it does of anything more. What is older
// than what is known says nothing: the ledger keeps what it has.
func altered(x *asset.Index, fips map[asset.FloatingIPID]*asset.FloatingIP, s *asset.Snapshot) (groups []asset.Group, more bool) {
	for _, g := range s.Groups {
		if was := x.Groups[g.ID]; differs(was, g) && (was == nil || g.Revision >= was.Revision) {
			groups = append(groups, g)
		}
	}
	more = slices.ContainsFunc(s.Servers, func(v asset.Server) bool { return differs(x.Servers[v.ID], v) }) ||
		slices.ContainsFunc(s.AddressSets, func(v asset.AddressSet) bool { return differs(x.AddressSets[v.ID], v) }) ||
		slices.ContainsFunc(s.FloatingIPs, func(v asset.FloatingIP) bool {
			was := fips[v.ID]
			return differs(was, v) && (was == nil || v.Revision >= was.Revision)
		})
	return groups, more
}

func differs[T any](was *T, v T) bool { return was == nil || !reflect.DeepEqual(*was, v) }

// queueWhenRead works out what is newly open, of an inventory for which that was not done: after a restart, or after a try that failed.
func (l *Line) queueWhenRead(ctx context.Context) (bool, error) {
	const key = "queue"
	if l.queued || l.waiting(key) {
		return false, nil
	}
	if err := l.queueOpened(ctx); err != nil {
		l.putOff(key, err)
		return true, err
	}
	l.done(key)
	return false, nil
}

// queueOpened holds what vantage points can ask against what they could ask before: what is new waits to be probed, and does so over a
// restart. Where it is not known what they could ask before, they sweep at once, and until that is done nothing says that they did: a
// process that dies before it sweeps after the next start.
func (l *Line) queueOpened(ctx context.Context) error {
	d := l.draft("plan")
	for i := range l.Vantages {
		v := &l.Vantages[i]
		set := l.reach(v)
		digest, err := l.Ledger.Reached(ctx, v.Name)
		if err != nil {
			return err
		}
		now := set.Digest()
		if digest == now {
			l.last[v.Name] = set
			continue
		}
		old := l.last[v.Name]
		if old == nil || old.Digest() != digest {
			l.unswept[v.Name] = true
			delete(l.last, v.Name) // it is good for nothing, and holds the inventory that it was made of
			continue
		}
		if d.change.Reached == nil {
			d.change.Reached = map[string]string{}
		}
		d.change.Reached[v.Name] = now
		for _, r := range reach.Opened(old, set) {
			if r.Proto == probe.TCP { // what else there is, nothing asks yet
				d.change.Queue = append(d.change.Queue, casework.Ask{Vantage: v.Name, Project: l.projectOf(r.Port), Addr: r.Addr, Proto: r.Proto, First: r.First, Last: r.Last, At: d.now})
			}
		}
	}
	if len(d.change.Reached) == 0 {
		l.queued = true
		return nil
	}
	if n := len(d.change.Queue); n > 0 {
		d.say(Happening{Event: "endpoints.opened", Detail: fmt.Sprintf("%d runs of ports were opened, and are probed now", n)})
	}
	if err := d.commit(ctx); err != nil {
		return err
	}
	for i := range l.Vantages {
		if v := &l.Vantages[i]; d.change.Reached[v.Name] != "" {
			l.last[v.Name] = l.reach(v)
		}
	}
	l.queued = true
	return nil
}
