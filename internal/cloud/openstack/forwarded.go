package openstack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"

	"demarc/internal/asset"
	"demarc/internal/cloud"
)

// Forwarded asks for the floating IP, its forwardings, and the port behind the one that matches; see cloud.Reader. Neutron gives a floating IP
// a new revision with each change of its forwardings.
// Source: neutron/objects/port_forwarding.py and db/models/port_forwarding.py, revises_on_change.
func (c *Cloud) Forwarded(ctx context.Context, at netip.Addr, proto string, port uint16) (cloud.Holding, error) {
	floating, err := walk(ctx, c, listing{client: c.network, path: "floatingips", key: "floatingips", query: url.Values{"floating_ip_address": {at.String()}}},
		func(w wireFloating) string { return w.ID })
	switch {
	case err != nil:
		return cloud.Holding{}, err
	case len(floating) > 1:
		return cloud.Holding{}, cloud.ErrAmbiguous
	case len(floating) == 0:
		return cloud.Holding{}, cloud.ErrNobody
	}
	f, err := taken(c, "floating IP", floating[0].ID, floating[0].asset)
	if err != nil {
		return cloud.Holding{}, err
	}
	if f.Port != "" {
		return cloud.Holding{}, cloud.ErrNobody
	}
	all, err := c.forwardings(ctx, f.ID, nil)
	if err != nil {
		return cloud.Holding{}, err
	}
	var to []asset.Forwarding
	for _, w := range all {
		if w.Protocol == proto && w.External <= port && port <= max(w.External, w.ExternalLast) {
			to = append(to, w)
		}
	}
	switch {
	case len(to) == 0:
		return cloud.Holding{}, cloud.ErrNobody
	case len(to) > 1:
		return cloud.Holding{}, cloud.ErrAmbiguous
	}
	p, err := c.Port(ctx, to[0].Port)
	if err != nil {
		return cloud.Holding{}, orNobody(err)
	}
	h, err := c.holding(ctx, p)
	h.Scope, h.Addr, h.FloatingIP, h.FloatingRevision, h.Shared, h.Forwarding = asset.ExternalScope, f.Addr, f.ID, f.Revision, true, to[0]
	return h, err
}

// orNobody makes of a port or a server that does not exist, to which an address leads, that nobody holds it. Any other error stays.
func orNobody(err error) error {
	if errors.Is(err, cloud.ErrNotFound) {
		return fmt.Errorf("%w: %w", cloud.ErrNobody, err)
	}
	return err
}
