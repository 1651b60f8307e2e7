package flow

import (
	"context"
	"net/netip"
	"slices"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/cloud"
	"demarc/internal/probe"
)

// The clock, the mail server, the probes and the cloud of a simulated world.

type simClock struct{ w *simulated }

func (c simClock) Now() int64                 { return c.w.now }
func (c simClock) Real() int64                { return c.w.real }
func (c simClock) Age(at, realAt int64) int64 { return max(c.w.now-at, c.w.real-realAt) }
func (c simClock) Doubt() string              { return c.w.doubt }

type simSender struct{ w *simulated }

func (s simSender) Send(_ context.Context, m casework.Mail) error {
	if err := s.w.call("send"); err != nil {
		return err
	}
	if s.w.sendErr != nil {
		return s.w.sendErr
	}
	s.w.sent = append(s.w.sent, m)
	return nil
}

type simEngine struct{ w *simulated }

func (e simEngine) Probe(_ context.Context, shard probe.Shard, _ []probe.Script, emit func(probe.Observation)) (probe.Coverage, error) {
	if err := e.w.call("probe"); err != nil {
		return probe.Coverage{}, err
	}
	for _, t := range shard.Targets {
		says := e.w.controls
		if t.Addr == simAddr && t.Port == 6379 {
			says = e.w.says
		}
		emit(
			probe.Observation{
				Vantage:    shard.Vantage,
				Endpoint:   t,
				Purpose:    shard.Purpose,
				SentAt:     e.w.now,
				ReceivedAt: e.w.now,
				Facts:      simDefaults().says[says],
			},
		)
	}
	return probe.Coverage{Vantage: shard.Vantage, Purpose: shard.Purpose, Complete: true}, nil
}

type simReader struct{ w *simulated }

func (r simReader) Snapshot(_ context.Context, now func() int64) (*asset.Snapshot, error) {
	if err := r.w.call("sync"); err != nil {
		return nil, err
	}
	s := *r.w.inventory
	s.Began, s.Ended = now(), now()
	return &s, nil
}

func (r simReader) Recent(context.Context, int64, func() int64) (*asset.Snapshot, error) {
	return nil, errSimulated
}

func (r simReader) Holder(_ context.Context, addr netip.Addr, scope string) (cloud.Holding, error) {
	if err := r.w.call("holder"); err != nil {
		return cloud.Holding{}, err
	}
	x := asset.NewIndex(r.w.inventory)
	for _, h := range x.Holders() {
		if h.Addr == addr && h.Scope == scope {
			now := cloud.Holding{Holder: h, PortRevision: x.Ports[h.Port].Revision}
			now.Holder.Cloud = ""
			if s := x.Servers[h.Server]; s != nil {
				now.ServerStatus = s.Status
			}
			if r.w.holder != nil {
				return r.w.holder(now)
			}
			return now, nil
		}
	}
	return cloud.Holding{}, cloud.ErrNobody
}

func (r simReader) Forwarded(context.Context, netip.Addr, string, uint16) (cloud.Holding, error) {
	return cloud.Holding{}, cloud.ErrNobody
}

type simActor struct{ w *simulated }

func (a simActor) Port(_ context.Context, id asset.PortID) (asset.Port, error) {
	if err := a.w.call("port " + string(id)); err != nil {
		return asset.Port{}, err
	}
	p, ok := a.w.ports[id]
	if !ok {
		return p, cloud.ErrNotFound
	}
	return p, nil
}

func (a simActor) ServerPorts(_ context.Context, id asset.ServerID) ([]asset.Port, error) {
	if err := a.w.call("ports"); err != nil {
		return nil, err
	}
	if _, ok := a.w.servers[id]; !ok {
		return nil, cloud.ErrNotFound
	}
	var out []asset.Port
	for _, p := range a.w.ports {
		if p.Server == id {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b asset.Port) int { return len(a.ID) - len(b.ID) + slices.Compare([]byte(a.ID), []byte(b.ID)) })
	return out, nil
}

func (a simActor) set(id asset.PortID, groups []asset.GroupID, secured bool, revision int) (asset.Port, error) {
	if err := a.w.call("set " + string(id)); err != nil {
		return asset.Port{}, err
	}
	if a.w.setErr != nil {
		if err := a.w.setErr(id); err != nil {
			return asset.Port{}, err
		}
	}
	p, ok := a.w.ports[id]
	switch {
	case !ok:
		return p, cloud.ErrNotFound
	case p.Revision != revision:
		return p, cloud.ErrStale
	}
	p.Groups, p.PortSecurity, p.Revision = groups, secured, p.Revision+1
	a.w.ports[id] = p
	a.w.changes = append(a.w.changes, "set "+string(id))
	return p, nil
}

func (a simActor) SetGroups(_ context.Context, id asset.PortID, groups []asset.GroupID, revision int) (asset.Port, error) {
	return a.set(id, groups, true, revision)
}

func (a simActor) Unfilter(_ context.Context, id asset.PortID, revision int) (asset.Port, error) {
	return a.set(id, nil, false, revision)
}

func (a simActor) Machine(_ context.Context, id asset.ServerID) (asset.Server, []asset.ServerAction, error) {
	if err := a.w.call("machine"); err != nil {
		return asset.Server{}, nil, err
	}
	s, ok := a.w.servers[id]
	if !ok {
		return s, nil, cloud.ErrNotFound
	}
	return s, slices.Clone(a.w.actions), nil
}

func (a simActor) Do(_ context.Context, id asset.ServerID, do casework.MachineDo, reason string) error {
	if err := a.w.call(string(do)); err != nil {
		return err
	}
	if a.w.doErr != nil {
		if err := a.w.doErr(do); err != nil {
			return err
		}
	}
	a.w.did(id, do, reason)
	return nil
}

func (a simActor) Account() asset.UserID { return a.w.account }

func (a simActor) EnsureQuarantine(context.Context, cloud.QuarantineSpec) (asset.GroupID, error) {
	return "quarantine", a.w.call("quarantine")
}

func (a simActor) Group(_ context.Context, id asset.GroupID) (asset.Group, error) {
	if err := a.w.call("group " + string(id)); err != nil {
		return asset.Group{}, err
	}
	g, ok := a.w.groups[id]
	if !ok {
		return g, cloud.ErrNotFound
	}
	return g, nil
}
