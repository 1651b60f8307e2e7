package openstack

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"slices"

	"github.com/gophercloud/gophercloud/v2"

	"demarc/internal/asset"
	"demarc/internal/cloud"
	"demarc/internal/fault"
)

// Port implements cloud.Actor.
func (c *Cloud) Port(ctx context.Context, id asset.PortID) (asset.Port, error) {
	var body struct{ Port wirePort }
	if err := c.get(ctx, c.network, c.network.ServiceURL("ports", url.PathEscape(string(id))), &body); err != nil {
		return asset.Port{}, err
	}
	return taken(c, "port", string(id), body.Port.asset)
}

// taken gives one thing that was read, or says that it can not be understood.
func taken[A any](c *Cloud, kind, id string, to func() (A, error)) (A, error) {
	a, err := to()
	if err != nil {
		return a, fault.New(fault.Unavailable, "cloud %s: %s %s: %w", c.conf.Cloud, kind, named(id), err)
	}
	return a, nil
}

// ServerPorts implements cloud.Actor.
func (c *Cloud) ServerPorts(ctx context.Context, id asset.ServerID) ([]asset.Port, error) {
	rows, err := walk(ctx, c, listing{client: c.network, path: "ports", key: "ports", query: url.Values{"device_id": {string(id)}}}, func(w wirePort) string { return w.ID })
	if err != nil {
		return nil, err
	}
	var out []asset.Port
	for _, w := range rows {
		p, err := taken(c, "port", w.ID, w.asset)
		if err != nil {
			return nil, err
		}
		if p.Server == id {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		_, err = c.server(ctx, id)
	}
	return out, err
}

func (c *Cloud) server(ctx context.Context, id asset.ServerID) (asset.Server, error) {
	var body struct{ Server wireServer }
	if err := c.get(ctx, c.compute, c.compute.ServiceURL("servers", url.PathEscape(string(id))), &body); err != nil {
		return asset.Server{}, err
	}
	return taken(c, "server", string(id), body.Server.asset)
}

// SetGroups implements cloud.Actor.
func (c *Cloud) SetGroups(ctx context.Context, id asset.PortID, groups []asset.GroupID, revision int) (asset.Port, error) {
	return c.setPort(ctx, id, groups, true, revision)
}

// Unfilter implements cloud.Actor.
func (c *Cloud) Unfilter(ctx context.Context, id asset.PortID, revision int) (asset.Port, error) {
	return c.setPort(ctx, id, nil, false, revision)
}

func (c *Cloud) setPort(ctx context.Context, id asset.PortID, groups []asset.GroupID, secured bool, revision int) (asset.Port, error) {
	if groups == nil {
		groups = []asset.GroupID{} // null would mean "as it is"
	}
	var body struct{ Port wirePort }
	err := c.change(ctx, c.network, "PUT", c.network.ServiceURL("ports", url.PathEscape(string(id))), &gophercloud.RequestOpts{
		JSONBody:     map[string]any{"port": map[string]any{"security_groups": groups, "port_security_enabled": secured}},
		JSONResponse: &body, OkCodes: []int{200},
		MoreHeaders: map[string]string{"If-Match": "revision_number=" + itoa(revision)},
	})
	if err != nil {
		return asset.Port{}, err
	}
	p, err := body.Port.asset()
	if err != nil {
		return asset.Port{}, fmt.Errorf("port %s: %w: the answer: %v", id, cloud.ErrUnknownOutcome, err)
	}
	return p, nil
}

// Group implements cloud.Actor.
func (c *Cloud) Group(ctx context.Context, id asset.GroupID) (asset.Group, error) {
	g, err := c.group(ctx, id)
	if err != nil {
		return asset.Group{}, err
	}
	return taken(c, "group", string(id), g.asset)
}

func (c *Cloud) group(ctx context.Context, id asset.GroupID) (wireGroup, error) {
	var body struct {
		Group wireGroup `json:"security_group"`
	}
	err := c.get(ctx, c.network, c.network.ServiceURL("security-groups", url.PathEscape(string(id))), &body)
	if err == nil && body.Group.Rules == nil {
		err = fault.New(fault.Unavailable, "cloud %s: group %s was answered without its rules", c.conf.Cloud, id)
	}
	return body.Group, err
}

// Holder implements cloud.Reader.
func (c *Cloud) Holder(ctx context.Context, at netip.Addr, scope string) (cloud.Holding, error) {
	if scope == asset.ExternalScope {
		floating, err := walk(ctx, c, listing{client: c.network, path: "floatingips", key: "floatingips", query: url.Values{"floating_ip_address": {at.String()}}}, func(w wireFloating) string { return w.ID })
		if err != nil {
			return cloud.Holding{}, err
		}
		switch {
		case len(floating) > 1:
			return cloud.Holding{}, cloud.ErrAmbiguous
		case len(floating) == 1:
			return c.behind(ctx, floating[0])
		}
	}
	return c.fixedHolder(ctx, at, scope)
}

// behind follows a floating IP to its port.
func (c *Cloud) behind(ctx context.Context, w wireFloating) (cloud.Holding, error) {
	f, err := taken(c, "floating IP", w.ID, w.asset)
	if err != nil {
		return cloud.Holding{}, err
	}
	port := f.Port
	if w.mayForward() {
		forwards, err := c.forwardings(ctx, f.ID, nil)
		if err != nil {
			return cloud.Holding{}, err
		}
		for _, fw := range forwards {
			if port != "" && port != fw.Port {
				return cloud.Holding{}, cloud.ErrAmbiguous
			}
			port = fw.Port
		}
		f.Forwardings = forwards
	}
	if port == "" {
		return cloud.Holding{}, cloud.ErrNobody
	}
	p, err := c.Port(ctx, port)
	if err != nil {
		return cloud.Holding{}, orNobody(err)
	}
	h, err := c.holding(ctx, p)
	h.Scope, h.Addr, h.FloatingIP, h.FloatingRevision, h.Shared = asset.ExternalScope, f.Addr, f.ID, f.Revision, len(f.Forwardings) > 0
	return h, err
}

func (c *Cloud) holding(ctx context.Context, p asset.Port) (cloud.Holding, error) {
	h := cloud.Holding{Holder: asset.Holder{Cloud: c.conf.Cloud, Port: p.ID, Server: p.Server, Project: p.Project}, PortRevision: p.Revision}
	if p.Server == "" {
		h.Shared = len(p.DeviceOwner) > 8 && p.DeviceOwner[:8] == "network:"
		return h, nil
	}
	s, err := c.server(ctx, p.Server)
	h.ServerStatus = s.Status
	return h, orNobody(err) // a port's owner may write the id of a server that is not there
}

// canSee tells an address that nobody holds from a Neutron that shows nothing, which answers in the same way.
func (c *Cloud) canSee(ctx context.Context) error {
	var body struct{ Ports []wirePort }
	if err := c.get(ctx, c.network, c.network.ServiceURL("ports")+"?limit=1", &body); err != nil {
		return err
	}
	if len(body.Ports) == 0 {
		return fault.New(fault.Unavailable, "cloud %s: Neutron shows no port at all, so who holds an address cannot be told", c.conf.Cloud)
	}
	return nil
}

// fixedHolder finds the port that has an address as its own.
func (c *Cloud) fixedHolder(ctx context.Context, at netip.Addr, scope string) (cloud.Holding, error) {
	q := url.Values{"fixed_ips": {"ip_address=" + at.String()}}
	if scope != asset.ExternalScope {
		q.Set("network_id", scope)
	}
	ask := func() ([]wirePort, error) {
		return walk(ctx, c, listing{client: c.network, path: "ports", key: "ports", query: q}, func(w wirePort) string { return w.ID })
	}
	rows, err := ask()
	if err == nil && len(rows) == 0 {
		if err = c.canSee(ctx); err == nil {
			rows, err = ask() // perhaps it had just begun to show
		}
	}
	if err != nil {
		return cloud.Holding{}, err
	}
	if scope == asset.ExternalScope && slices.ContainsFunc(rows, func(w wirePort) bool { return w.DeviceOwner == floatingOwner }) {
		return cloud.Holding{}, fault.New(fault.Unavailable, "cloud %s: a port belongs to the floating IP %s, which Neutron does not list", c.conf.Cloud, at)
	}
	rows = slices.DeleteFunc(rows, func(w wirePort) bool { return w.DeviceOwner == floatingOwner })
	if scope == asset.ExternalScope {
		nets, err := walk(ctx, c, listing{client: c.network, path: "networks", key: "networks", query: url.Values{"router:external": {"true"}}}, func(w wireNetwork) string { return w.ID })
		if err != nil {
			return cloud.Holding{}, err
		}
		rows = slices.DeleteFunc(rows, func(w wirePort) bool {
			return !slices.ContainsFunc(nets, func(n wireNetwork) bool { return n.ID == w.NetworkID })
		})
	}
	switch len(rows) {
	case 0:
		return cloud.Holding{}, cloud.ErrNobody
	case 1:
		p, err := taken(c, "port", rows[0].ID, rows[0].asset)
		if err != nil {
			return cloud.Holding{}, err
		}
		h, err := c.holding(ctx, p)
		h.Scope, h.Addr = scope, at
		return h, err
	}
	return cloud.Holding{}, cloud.ErrAmbiguous
}
