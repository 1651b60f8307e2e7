package openstack

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"demarc/internal/asset"
	"demarc/internal/cloud"
	"demarc/internal/fault"
)

// reading is one walk over the cloud on its way to a snapshot.
type reading struct {
	c       *Cloud
	ctx     context.Context //nolint:containedctx // lives for one call of Snapshot
	snap    *asset.Snapshot
	servers []wireServer
	spent   int // targeted reads so far

	relisted map[string]bool // servers that a second, late listing has
	reserved map[string]bool // floating IPs whose address Neutron holds by a port of its own
}

func (r *reading) gap(kind, reason string) {
	r.snap.Gaps = append(r.snap.Gaps, asset.Gap{Kind: kind, Reason: reason})
}

// Snapshot implements cloud.Reader.
func (c *Cloud) Snapshot(ctx context.Context, now func() int64) (*asset.Snapshot, error) {
	r := &reading{c: c, ctx: ctx, snap: &asset.Snapshot{Cloud: c.conf.Cloud, Began: now()}}
	// One small reading first: if even this is refused, there is no snapshot, not an empty one.
	if err := c.get(ctx, c.identity, c.identity.ServiceURL("projects", c.project), &struct{}{}); err != nil && isReauth(err) {
		return nil, c.refused(ctx, err)
	}
	r.identity()
	// Servers come before ports and floating IPs: a machine that appears in between shows a port too many, which
	// is asked for, and not one too few.
	r.compute()
	r.network()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if s := r.snap; len(s.Projects)+len(s.Users)+len(s.Servers)+len(s.Ports)+len(s.Networks)+len(s.Groups) == 0 {
		return nil, fault.New(fault.Unavailable, "cloud %s: nothing could be read: %s", c.conf.Cloud, s.Gaps[0].Reason)
	}
	r.crossCheck()
	r.snap.Ended = now()
	return r.snap, ctx.Err()
}

// list walks a listing; a fault becomes a gap.
func list[W, A any](r *reading, l listing, id func(W) string, to func(W) A) ([]W, []A) {
	rows, err := walk(r.ctx, r.c, l, id)
	if err != nil {
		r.gap(l.kind, err.Error())
	}
	out := make([]A, 0, len(rows))
	for _, w := range rows {
		out = append(out, to(w))
	}
	return rows, out
}

func (r *reading) identity() {
	s, k := r.snap, r.c.identity
	_, s.Projects = list(r, listing{kind: "projects", client: k, path: "projects", key: "projects", whole: true}, func(w wireProject) string { return w.ID }, wireProject.asset)
	_, s.Users = list(r, listing{kind: "users", client: k, path: "users", key: "users", whole: true}, func(w wireUser) string { return w.ID }, wireUser.asset)
	q := url.Values{"effective": {"true"}, "include_names": {"true"}}
	grants, _ := list(r, listing{kind: "grants", client: k, path: "role_assignments", key: "role_assignments", query: q, whole: true},
		func(w wireGrant) string {
			return strings.Join([]string{w.User.ID, w.Scope.Project.ID, w.Role.ID, "·"}, "/")
		}, func(w wireGrant) wireGrant { return w })
	for _, w := range grants {
		if g, ok := w.asset(); ok {
			s.Grants = append(s.Grants, g)
		}
	}
	for kind, n := range map[string]int{"projects": len(s.Projects), "users": len(s.Users), "grants": len(s.Grants)} {
		if n == 0 {
			r.gap(kind, "none listed, though this account itself exists")
		}
	}
}

func (r *reading) compute() {
	r.servers, _ = list(r, listing{kind: "servers", client: r.c.compute, path: "servers/detail", key: "servers", query: url.Values{"all_tenants": {"true"}}},
		func(w wireServer) string { return w.ID }, func(w wireServer) wireServer { return w })
	for _, w := range r.servers {
		// From 2.69 on, Nova answers for a cell that is down with rows that have little but an id.
		if w.Status == "UNKNOWN" && w.Name == "" {
			r.gap("servers", "server "+w.ID+" lies in a cell that does not answer")
		}
		r.snap.Servers = append(r.snap.Servers, w.asset())
	}
	_, r.snap.Images = list(r, listing{kind: "images", client: r.c.image, path: "images", key: "images"}, func(w wireImage) string { return w.ID }, wireImage.asset)
}

func (r *reading) network() {
	s, n := r.snap, r.c.network
	_, s.Networks = list(r, listing{kind: "networks", client: n, path: "networks", key: "networks"}, func(w wireNetwork) string { return w.ID }, wireNetwork.asset)
	_, s.Subnets = list(r, listing{kind: "subnets", client: n, path: "subnets", key: "subnets"}, func(w wireSubnet) string { return w.ID }, wireSubnet.asset)
	_, s.Routers = list(r, listing{kind: "routers", client: n, path: "routers", key: "routers"}, func(w wireRouter) string { return w.ID }, wireRouter.asset)
	_, s.Groups = list(r, listing{kind: "groups", client: n, path: "security-groups", key: "security_groups"}, func(w wireGroup) string { return w.ID }, wireGroup.asset)
	sets, err := walk(r.ctx, r.c, listing{kind: "address_sets", client: n, path: "address-groups", key: "address_groups"}, func(w wireAddressGroup) string { return w.ID })
	if err != nil && !errors.Is(err, cloud.ErrNotFound) { // the extension may be off: then there are none
		r.gap("address_sets", err.Error())
	}
	for _, w := range sets {
		s.AddressSets = append(s.AddressSets, w.asset())
	}
	_, s.Ports = list(r, listing{kind: "ports", client: n, path: "ports", key: "ports"}, func(w wirePort) string { return w.ID }, wirePort.asset)
	r.reserved = map[string]bool{}
	s.Ports = slices.DeleteFunc(s.Ports, func(p asset.Port) bool {
		if p.DeviceOwner == floatingOwner {
			r.reserved[p.Device] = true
		}
		return p.DeviceOwner == floatingOwner
	})
	if len(s.Groups) == 0 {
		r.gap("groups", "none listed, though Neutron gives every project a group that asks for its groups")
	}
	floating, rows := list(r, listing{kind: "floating_ips", client: n, path: "floatingips", key: "floatingips"}, func(w wireFloating) string { return w.ID }, wireFloating.asset)
	s.FloatingIPs = rows
	for i, w := range floating {
		if w.mayForward() {
			r.forwardings(&s.FloatingIPs[i])
		}
	}
}

// floatingOwner marks the port by which Neutron reserves a floating IP's address. It is no interface of anything: the
// address leads to the port that the floating IP names, and counting both would give the address two holders.
const floatingOwner = "network:floatingip"

func (r *reading) forwardings(f *asset.FloatingIP) {
	rows, err := r.c.forwardings(r.ctx, f.ID)
	if err != nil {
		r.gap("floating_ips", "forwardings of "+string(f.ID)+": "+err.Error())
	}
	f.Forwardings = rows
}

// forwardings reads the port forwardings of one floating IP; where the extension is off there are none.
func (c *Cloud) forwardings(ctx context.Context, id asset.FloatingIPID) ([]asset.Forwarding, error) {
	l := listing{kind: "forwardings", client: c.network, path: "floatingips/" + url.PathEscape(string(id)) + "/port_forwardings", key: "port_forwardings"}
	rows, err := walk(ctx, c, l, func(w wireForward) string { return w.ID })
	if errors.Is(err, cloud.ErrNotFound) {
		return nil, nil
	}
	var out []asset.Forwarding
	for _, w := range rows {
		out = append(out, w.asset())
	}
	return out, err
}
