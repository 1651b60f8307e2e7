package serve

import (
	"context"
	"net/netip"
	"time"

	"demarc/internal/flow"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/reach"
	"demarc/internal/store"
)

// Desk is where a person decides. It reads and writes the ledger alone: whoever throws the kill switch needs neither the
// cloud nor the mail hop to answer.
type Desk struct{ line *flow.Line }

// NewDesk opens a desk on a ledger, under a policy.
func NewDesk(ctx context.Context, db *store.DB, p *policy.Policy) (*Desk, error) {
	c, err := standing(ctx, db)
	if err != nil {
		return nil, err
	}
	return &Desk{flow.New(flow.Config{Ledger: db, Clock: c, Policy: p})}, nil
}

// Approve records an operator's consent to the act that waits in a case.
func (d *Desk) Approve(ctx context.Context, id, by string) error { return d.line.Approve(ctx, id, by) }

// Claim records that an owner says a case is fixed, or asks for the release of a restricted machine.
func (d *Desk) Claim(ctx context.Context, id, by string) error { return d.line.Claim(ctx, id, by) }

// Acknowledge records that an owner has reacted.
func (d *Desk) Acknowledge(ctx context.Context, id, by string) error {
	return d.line.Acknowledge(ctx, id, by)
}

// Resume lets a case on hold go on, after a person has looked.
func (d *Desk) Resume(ctx context.Context, id, by string) error { return d.line.Resume(ctx, id, by) }

// Withdraw takes a case back: what was done to the machine is undone.
func (d *Desk) Withdraw(ctx context.Context, id, by, why string) error {
	return d.line.Withdraw(ctx, id, by, why)
}

// Pause throws the kill switch, or lifts it.
func (d *Desk) Pause(ctx context.Context, paused bool, by string) error {
	return d.line.Pause(ctx, paused, by)
}

// apart is how far policy time may be from the world's before a ledger counts as one of compressed time.
const apart = int64(time.Hour / time.Microsecond)

// standing finds the policy time of a decision. Where the line's policy time is the world's, it is now, and never before
// the ledger's. Where it is compressed, as in the demo, it is where the ledger stands.
func standing(ctx context.Context, db *store.DB) (flow.Clock, error) {
	at, err := db.Clock(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now().UnixMicro()
	looks, err := db.Coverages(ctx, 1)
	if err != nil {
		return nil, err
	}
	for _, c := range looks {
		if off := c.Ended - c.RealAt; off > apart || off < -apart {
			return flow.NewLeaping(at), nil
		}
	}
	return flow.NewLeaping(max(at, now)), nil
}

// Viewpoint is a vantage point as the computation of reach sees it.
type Viewpoint struct {
	Name string
	View reach.View
}

// Viewpoints lists the configured vantage points.
func (c *Config) Viewpoints() []Viewpoint {
	out := make([]Viewpoint, len(c.Vantages))
	for i, v := range c.Vantages {
		out[i] = Viewpoint{v.Name, c.view(v)}
	}
	return out
}

// everywhere is a zone without bounds.
func everywhere() []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
}

// PointOfView is a vantage point that no configuration names: somewhere in a zone, probing from one address.
func PointOfView(name string, zone probe.Zone, source netip.Addr) Viewpoint {
	v := reach.View{Zone: zone, Prefixes: everywhere()}
	if zone == probe.Internet {
		v.Except = reach.NotInternet
	}
	if source.IsValid() {
		v.Scanners = []netip.Addr{source}
	}
	return Viewpoint{name, v}
}
