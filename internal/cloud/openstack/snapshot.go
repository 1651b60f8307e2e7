package openstack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"demarc/internal/asset"
	"demarc/internal/fault"
)

// reading is one walk over the cloud on its way to a snapshot.
type reading struct {
	c          *Cloud
	ctx        context.Context //nolint:containedctx // lives for one call of Snapshot
	snap       *asset.Snapshot
	unanswered map[*gophercloud.ServiceClient]int // single reads in a row that got no proper answer
	spent      int                                // targeted reads so far
	keep       *keeper                            // nil: pages are kept nowhere

	listed   []addresses                          // what Nova lists of each server of the snapshot
	changed  int64                                // of the server that Nova changed last, by its own row
	began    map[*gophercloud.ServiceClient]int64 // by each service's own clock (µs), of its first answer; 0: it did not say
	oddities map[string]int                       // rows that were not understood, by kind
	unread   map[string]bool                      // listings that were not read to their end, by path
	leftOut  map[string]bool                      // those rows, by path: they are there
	causedBy map[asset.ProjectID]int              // targeted reads that one project's objects caused
	relisted map[string]bool                      // servers that a second, late listing has
	domains  map[string]bool                      // those of the users that were listed
	reserved map[string]bool                      // floating IPs whose address Neutron holds by a port of its own
}

// addresses are those that Nova lists of one server.
type addresses struct{ fixed, floating []netip.Addr }

func (c *Cloud) begin(ctx context.Context, began int64) *reading {
	return &reading{c: c, ctx: ctx, snap: &asset.Snapshot{Cloud: c.conf.Cloud, Began: began},
		began: map[*gophercloud.ServiceClient]int64{}, oddities: map[string]int{}, leftOut: map[string]bool{}, unread: map[string]bool{},
		reserved: map[string]bool{}, domains: map[string]bool{}}
}

func (r *reading) gap(kind, reason string) {
	r.snap.Gaps = append(r.snap.Gaps, asset.Gap{Kind: kind, Reason: reason})
}

// mostOdd is how many rows of a kind are named that were not understood.
const mostOdd = 20

// odd names a row that was not understood and is left out. What is known of it from before stays known.
func (r *reading) odd(l listing, id string, err error) {
	r.leftOut[l.at(id)] = true
	switch r.oddities[l.kind]++; {
	case r.oddities[l.kind] <= mostOdd:
		r.gap(l.kind, fmt.Sprintf("%s is left out: %v", named(l.at(id)), err))
	case r.oddities[l.kind] == mostOdd+1:
		r.gap(l.kind, "more rows are left out that can not be understood")
	}
}

// Snapshot implements cloud.Reader.
func (c *Cloud) Snapshot(ctx context.Context, now func() int64) (*asset.Snapshot, error) {
	keep, began, err := c.keeper(ctx, now)
	if err != nil {
		return nil, err
	}
	r := c.begin(ctx, began)
	r.keep = keep
	// One small reading first: if even this is refused, there is no snapshot, not an empty one.
	if err := c.get(ctx, c.identity, c.identity.ServiceURL("projects", c.project), &struct{}{}); err != nil && isReauth(err) {
		return nil, c.refused(ctx, err)
	}
	r.identity()
	// Servers come before ports and floating IPs: a machine that appears in between shows a port too many, which
	// is asked for, and not one too few.
	r.compute()
	r.network()
	r.paths()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if s := r.snap; len(s.Projects)+len(s.Users)+len(s.Servers)+len(s.Ports)+len(s.Networks)+len(s.Groups) == 0 {
		return nil, fault.New(fault.Unavailable, "cloud %s: nothing could be read: %s", c.conf.Cloud, s.Gaps[0].Reason)
	}
	r.crossCheck()
	r.snap.NovaClock = r.novaClock(0)
	r.snap.Ended = now()
	return r.snap, ctx.Err()
}

// list walks a listing; a fault becomes a gap, and so does each row that is not understood.
func list[W, A any](r *reading, l listing, id func(W) string, to func(W) (A, error)) []A {
	var out []A
	l.dated = func(said int64) {
		if _, known := r.began[l.client]; !known {
			r.began[l.client] = said
		}
	}
	l.keep = r.keep
	err := each(r.ctx, r.c, l, id, func(w W, odd error) error {
		if odd == nil {
			var a A
			if a, odd = to(w); odd == nil {
				out = append(out, a)
				return nil
			}
		}
		r.odd(l, id(w), odd)
		return nil
	})
	if err != nil {
		r.unread[l.path] = true
		r.gap(l.kind, err.Error())
	}
	return out
}

// identity reads grants before the people and projects that they name: what a grant names was there before, and a listing that comes later
// has it.
func (r *reading) identity() {
	s, k := r.snap, r.c.identity
	q := url.Values{"effective": {"true"}, "include_names": {"true"}}
	list(r, listing{kind: "grants", client: k, path: "role_assignments", key: "role_assignments", query: q, whole: true},
		func(w wireGrant) string {
			return strings.Join([]string{w.User.ID, w.Scope.Project.ID, w.Role.ID, "·"}, "/")
		}, func(w wireGrant) (struct{}, error) {
			if g, ok := w.asset(); ok {
				s.Grants = append(s.Grants, g)
			}
			return struct{}{}, nil
		})
	projects := listing{kind: "projects", client: k, path: "projects", key: "projects", links: true}
	s.Projects = list(r, projects, func(w wireProject) string { return w.ID }, sure(wireProject.asset))
	users := listing{kind: "users", client: k, path: "users", key: "users", links: true}
	s.Users = list(r, users, func(w wireUser) string { return w.ID }, func(w wireUser) (asset.User, error) {
		r.domains[w.DomainID] = true
		return w.asset(), nil
	})
	for kind, n := range map[string]int{"projects": len(s.Projects), "users": len(s.Users), "grants": len(s.Grants)} {
		if n == 0 {
			r.unread[kind] = true
			r.gap(kind, "none listed, though this account itself exists")
		}
	}
}

func (r *reading) compute() {
	r.servers(nil)
	r.snap.Images = list(r, listing{kind: "images", client: r.c.image, path: "images", key: "images"}, func(w wireImage) string { return w.ID }, sure(wireImage.asset))
}

// servers reads those of all projects. Of a machine in a cell that is down nothing is taken: what is known of it stays known.
func (r *reading) servers(q url.Values) {
	l := listing{kind: "servers", client: r.c.compute, path: "servers/detail", key: "servers", query: url.Values{"all_tenants": {"true"}}}
	for k, v := range q {
		l.query[k] = v
	}
	r.snap.Servers = list(r, l, func(w wireServer) string { return w.ID }, func(w wireServer) (asset.Server, error) {
		if w.dark() {
			return asset.Server{}, errDark
		}
		s, err := w.asset()
		r.changed = max(r.changed, micros(w.Updated))
		if err == nil {
			r.listed = append(r.listed, w.addresses())
		}
		return s, err
	})
}

var errDark = errors.New("it lies in a cell that does not answer")

func (w wireServer) addresses() addresses {
	var out addresses
	for _, as := range w.Addresses {
		for _, a := range as {
			switch a.Type {
			case "fixed":
				out.fixed = append(out.fixed, addr(a.Addr))
			case "floating":
				out.floating = append(out.floating, addr(a.Addr))
			}
		}
	}
	return out
}

func (r *reading) network() {
	s, n := r.snap, r.c.network
	s.Networks = list(r, listing{kind: "networks", client: n, path: "networks", key: "networks"}, func(w wireNetwork) string { return w.ID }, sure(wireNetwork.asset))
	s.Subnets = list(r, listing{kind: "subnets", client: n, path: "subnets", key: "subnets"}, func(w wireSubnet) string { return w.ID }, wireSubnet.asset)
	s.Routers = list(r, listing{kind: "routers", client: n, path: "routers", key: "routers"}, func(w wireRouter) string { return w.ID }, wireRouter.asset)
	r.groups()
	s.Ports = list(r, listing{kind: "ports", client: n, path: "ports", key: "ports"}, func(w wirePort) string { return w.ID }, wirePort.asset)
	s.Ports = slices.DeleteFunc(s.Ports, func(p asset.Port) bool {
		if p.DeviceOwner == floatingOwner {
			r.reserved[p.Device] = true
		}
		return p.DeviceOwner == floatingOwner
	})
	r.floating()
}

// groups reads security groups with their rules, and the sets of addresses that rules name.
func (r *reading) groups() {
	s, n := r.snap, r.c.network
	s.Groups = list(r, listing{kind: "groups", client: n, path: "security-groups", key: "security_groups"}, func(w wireGroup) string { return w.ID }, wireGroup.asset)
	s.AddressSets = list(r, listing{kind: "address_sets", client: n, path: "address-groups", key: "address_groups", may: true}, func(w wireAddressGroup) string { return w.ID }, wireAddressGroup.asset)
	if len(s.Groups) == 0 {
		r.gap("groups", "none listed, though Neutron gives every project a group that asks for its groups")
	}
}

// floatingOwner marks the port by which Neutron reserves a floating IP's address. It is no interface of anything: the
// address leads to the port that the floating IP names, and counting both would give the address two holders.
const floatingOwner = "network:floatingip"

// floating reads floating IPs with their forwardings. One with a forwarding that is not understood, or not read, is left out whole.
func (r *reading) floating() {
	l := listing{kind: "floating_ips", client: r.c.network, path: "floatingips", key: "floatingips"}
	type row struct {
		asset.FloatingIP
		ask bool
	}
	rows := list(r, l, func(w wireFloating) string { return w.ID }, func(w wireFloating) (row, error) {
		f, err := w.asset()
		return row{f, w.mayForward()}, err
	})
	for _, f := range rows {
		if f.ask {
			var err error
			if f.Forwardings, err = r.c.forwardings(r.ctx, f.ID, r.keep); err != nil {
				r.odd(l, string(f.ID), fmt.Errorf("its forwardings: %w", err))
				continue
			}
		}
		r.snap.FloatingIPs = append(r.snap.FloatingIPs, f.FloatingIP)
	}
}

// forwardings reads the port forwardings of one floating IP; where the extension is off there are none.
func (c *Cloud) forwardings(ctx context.Context, id asset.FloatingIPID, keep *keeper) ([]asset.Forwarding, error) {
	l := listing{kind: "forwardings", client: c.network, path: "floatingips/" + url.PathEscape(string(id)) + "/port_forwardings", key: "port_forwardings", may: true, keep: keep}
	rows, err := walk(ctx, c, l, func(w wireForward) string { return w.ID })
	if err != nil {
		return nil, err
	}
	var out []asset.Forwarding
	for _, w := range rows {
		f, err := w.asset()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", named(w.ID), err)
		}
		out = append(out, f)
	}
	return out, nil
}
