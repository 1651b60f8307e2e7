package flow

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/cloud"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// sight is one observation with the machine it was made of.
type sight struct {
	probe.Observation
	holder asset.Holder
	config reach.Answer      // what the cloud's rules say of the endpoint
	by     *asset.Forwarding // that leads this very port of a shared address to the machine; nil: the machine has the address alone
}

// known tells whether the observation can be attributed to one machine.
func (s sight) known() bool { return s.holder.Server != "" && (!s.holder.Shared || s.by != nil) }

// harvest is what came of one shard.
type harvest struct {
	set      *reach.Set
	coverage probe.Coverage
	sights   []sight
	moved    []sight                // whose address another machine held afterwards
	touched  []sight                // whose port or floating IP was altered in between: perhaps it moved away and back
	asked    []casework.Ask         // what waited to be probed and now was
	walk     *probe.Walk            // the walk through wide runs, where it is another than before
	blocks   map[netip.Prefix]int64 // since when each netblock is probed, where that is not written yet
	reached  *reach.Set             // set where everything that it opens was asked
}

// steadiness is what became of an address between the inventory and the answer.
type steadiness int

const (
	steady  steadiness = iota // the same holder, at the same revisions
	touched                   // the same holder, altered in between: look again with a new inventory
	moved                     // somebody else, or nobody
	unknown                   // the cloud did not say
)

// mostUnanswered is of how many addresses in one sweep the cloud may fail to say who holds them; with one more the sweep is given up. A check of
// one finding needs its answer.
const mostUnanswered = 3

// collect probes a shard and attributes what came back. An address is attributed only when the same port of the same
// server held it when the probe was planned and still does, at the same revisions, after the answer.
func (l *Line) collect(ctx context.Context, v *Vantage, set *reach.Set, shard probe.Shard) (harvest, error) {
	h := harvest{set: set}
	before := l.holds
	var got []probe.Observation
	cov, err := v.Engine.Probe(ctx, shard, l.scripts, func(o probe.Observation) { got = append(got, o) })
	if err != nil {
		return h, fmt.Errorf("probing shard %s: %w", shard.ID, err)
	}
	cov.Cloud, cov.RealAt = l.Cloud, l.Clock.Real()
	switch cause := "probing from " + v.Name; {
	case !cov.Complete && cov.Note != "":
		l.meet(cause, "", cov.Note)
	case shard.Purpose == probe.Reach:
		l.overcome(cause, "")
	}
	l.mention("probe", "shard.probed", "%s: %d endpoints, %d answered, %d open", shard.Purpose, len(shard.Targets), cov.Answered, cov.Open)
	h.coverage = cov
	slices.SortFunc(got, func(a, b probe.Observation) int { return a.Endpoint.Compare(b.Endpoint) })
	asked, unanswered := map[probe.Endpoint]steadiness{}, 0
	for _, o := range got {
		o.RealAt = l.Clock.Real()
		s := sight{Observation: o, holder: before[o.Endpoint.Addr]}
		if h, w := l.forwardedTo(o.Endpoint); w != nil {
			s.holder, s.by = h, w
		}
		s.config = set.LookupAt(o.Endpoint, s.holder.Port)
		if !s.known() || !o.Facts.Outcome.Answered() {
			h.sights = append(h.sights, s)
			continue
		}
		key := o.Endpoint
		if s.by == nil {
			key = probe.Endpoint{Addr: key.Addr} // who holds an address holds all of it
		}
		how, known := asked[key]
		if !known {
			how, err = l.stillLeads(ctx, s)
			switch cause := "asking who holds an address"; {
			case err == nil:
				l.overcome(cause, key.String()+key.Addr.String())
			case ctx.Err() != nil || shard.Purpose == probe.Recheck || unanswered == mostUnanswered:
				return h, err
			default: // one address keeps no other from being attributed
				unanswered++
				how = unknown
				l.meet(cause, key.String()+key.Addr.String(), err.Error())
			}
			asked[key] = how
		}
		switch how {
		case steady:
			h.sights = append(h.sights, s)
		case touched:
			h.touched = append(h.touched, s)
		case moved:
			h.moved = append(h.moved, s)
		case unknown: // nothing follows from it
		}
	}
	return h, nil
}

// holders maps every address outside the cloud can send to on the port behind it: external ones, and IPv6 ones that a router
// with an external gateway serves. An address that leads to two ports is shared. What a tenant's own network says of the provider's
// addresses is not routed, and counts for nothing.
func holders(x *asset.Index) map[netip.Addr]asset.Holder {
	out := map[netip.Addr]asset.Holder{}
	add := func(h asset.Holder) {
		if _, twice := out[h.Addr]; twice {
			h.Shared = true
		}
		out[h.Addr] = h
	}
	for _, h := range x.Holders() {
		if h.Scope == asset.ExternalScope {
			add(h)
		}
	}
	served, outside := reach.Gateways(x), reach.Outside(x)
	for i := range x.Snapshot.Ports {
		p := &x.Snapshot.Ports[i]
		for _, f := range p.FixedIPs {
			if scope := x.Scope(p.Network); f.Addr.Is6() && scope != asset.ExternalScope && served[f.Subnet] != nil && p.Server != "" && !outside(f.Addr) {
				add(asset.Holder{Cloud: x.Snapshot.Cloud, Scope: scope, Addr: f.Addr, Port: p.ID, Server: p.Server, Project: p.Project})
			}
		}
	}
	return out
}

// stillLeads re-reads from the cloud to whom an endpoint leads now: as stillHolds, and for a forwarding by the forwarding too.
func (l *Line) stillLeads(ctx context.Context, s sight) (steadiness, error) {
	if s.by == nil {
		return l.stillHolds(ctx, s.holder)
	}
	e := s.Endpoint
	now, err := l.Reader.Forwarded(ctx, e.Addr, string(e.Proto), e.Port)
	if errors.Is(err, cloud.ErrNobody) || errors.Is(err, cloud.ErrAmbiguous) {
		return moved, nil
	}
	if err != nil {
		return moved, fmt.Errorf("asking to whom %s is forwarded: %w", e, err)
	}
	if now.Forwarding != *s.by {
		return moved, nil
	}
	return l.compared(s.holder, now), nil
}

// stillHolds re-reads from the cloud who holds an address now. The revisions of port and floating IP must be those of
// the inventory: equal owners alone would miss an address that moved away and back.
func (l *Line) stillHolds(ctx context.Context, h asset.Holder) (steadiness, error) {
	now, err := l.Reader.Holder(ctx, h.Addr, h.Scope)
	if errors.Is(err, cloud.ErrNobody) || errors.Is(err, cloud.ErrAmbiguous) {
		return moved, nil
	}
	if err != nil {
		return moved, fmt.Errorf("asking who holds %s: %w", h.Addr, err)
	}
	return l.compared(h, now), nil
}

// compared holds what the cloud says now of a holder against the inventory.
func (l *Line) compared(h asset.Holder, now cloud.Holding) steadiness {
	now.Holder.Cloud = h.Cloud
	p, s := l.x.Ports[h.Port], l.server(h.Server)
	switch {
	case now.Holder != h || p == nil:
		return moved
	case s != nil && now.ServerStatus != s.Status, now.PortRevision != p.Revision || now.FloatingRevision != l.fipRevision(h.FloatingIP):
		return touched
	}
	return steady
}

func (l *Line) fipRevision(id asset.FloatingIPID) int {
	if f := l.fips[id]; f != nil {
		return f.Revision
	}
	return 0
}
