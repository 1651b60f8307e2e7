package flow

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"demarc/internal/asset"
	"demarc/internal/cloud"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// sight is one observation with the machine it was made of.
type sight struct {
	probe.Observation
	holder asset.Holder
	config reach.Answer // what the cloud's rules say of the endpoint
}

// known tells whether the observation can be attributed to one machine.
func (s sight) known() bool { return s.holder.Server != "" && !s.holder.Shared }

// harvest is what came of one shard.
type harvest struct {
	set      *reach.Set
	coverage probe.Coverage
	sights   []sight
	dropped  []sight // whose address was not held by the same machine before and after
}

// collect probes a shard and attributes what came back. An address is attributed only when the same port of the same
// server held it when the probe was planned and still does, at the same revisions, after the answer.
func (l *Line) collect(ctx context.Context, v *Vantage, set *reach.Set, shard probe.Shard) (harvest, error) {
	h := harvest{set: set}
	before := l.holders()
	var got []probe.Observation
	cov, err := v.Engine.Probe(ctx, shard, l.scripts, func(o probe.Observation) { got = append(got, o) })
	if err != nil {
		return h, fmt.Errorf("probing shard %s: %w", shard.ID, err)
	}
	cov.Cloud, cov.RealAt = l.Cloud, l.Clock.Real()
	h.coverage = cov
	slices.SortFunc(got, func(a, b probe.Observation) int { return a.Endpoint.Compare(b.Endpoint) })
	steady := map[netip.Addr]bool{}
	for _, o := range got {
		o.RealAt = l.Clock.Real()
		s := sight{Observation: o, holder: before[o.Endpoint.Addr], config: set.Lookup(o.Endpoint)}
		if !s.known() || !o.Facts.Outcome.Answered() {
			h.sights = append(h.sights, s)
			continue
		}
		ok, asked := steady[o.Endpoint.Addr]
		if !asked {
			if ok, err = l.stillHolds(ctx, s.holder); err != nil {
				return h, err
			}
			steady[o.Endpoint.Addr] = ok
		}
		if ok {
			h.sights = append(h.sights, s)
		} else {
			h.dropped = append(h.dropped, s)
		}
	}
	return h, nil
}

// holders maps every address outside the cloud can send to on the port behind it. An address that leads to two ports is
// shared.
func (l *Line) holders() map[netip.Addr]asset.Holder {
	out := map[netip.Addr]asset.Holder{}
	for _, h := range l.x.Holders() {
		if h.Scope != asset.ExternalScope && !h.Addr.Is6() {
			continue
		}
		if _, twice := out[h.Addr]; twice {
			h.Shared = true
		}
		out[h.Addr] = h
	}
	return out
}

// stillHolds re-reads from the cloud who holds an address now. The revisions of port and floating IP must be those of
// the inventory: equal owners alone would miss an address that moved away and back.
func (l *Line) stillHolds(ctx context.Context, h asset.Holder) (bool, error) {
	now, err := l.Reader.Holder(ctx, h.Addr, h.Scope)
	if errors.Is(err, cloud.ErrNobody) || errors.Is(err, cloud.ErrAmbiguous) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("asking who holds %s: %w", h.Addr, err)
	}
	now.Holder.Cloud = h.Cloud
	p := l.x.Ports[h.Port]
	return now.Holder == h && p != nil && now.PortRevision == p.Revision && now.FloatingRevision == l.fipRevision(h.FloatingIP), nil
}

func (l *Line) fipRevision(id asset.FloatingIPID) int {
	for i := range l.x.Snapshot.FloatingIPs {
		if f := &l.x.Snapshot.FloatingIPs[i]; f.ID == id {
			return f.Revision
		}
	}
	return 0
}
