package openstack

import (
	"errors"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"demarc/internal/asset"
	"demarc/internal/cloud"
)

// crossCheck holds the listings against each other. Neutron answers a too weak account, and sometimes a broken
// listing, with HTTP 200 and fewer rows; only what the others say gives that away. A contradiction is asked for
// by identity, because things also come and go while a cloud is read. What was asked for and exists, and should
// have been listed, is a gap. Nothing is added that the cloud did not answer.
func (r *reading) crossCheck() {
	x := asset.NewIndex(r.snap)
	r.checkServers(x)
	r.checkPorts(x)
	for i := range r.snap.FloatingIPs {
		f := &r.snap.FloatingIPs[i]
		if f.Port != "" && x.Ports[f.Port] == nil {
			r.exists("ports", "ports/"+string(f.Port), "floating IP "+string(f.ID)+" leads to it")
		}
		delete(r.reserved, string(f.ID))
	}
	for _, id := range slices.Sorted(maps.Keys(r.reserved)) {
		r.exists("floating_ips", "floatingips/"+id, "a port holds its address")
	}
	r.checkImages(x)
}

// checkImages looks for the images that servers were made from. An image that is hidden or a community's is left out of
// listings by design.
func (r *reading) checkImages(x *asset.Index) {
	asked := map[asset.ImageID]bool{}
	for i := range r.snap.Servers {
		id := r.snap.Servers[i].Image
		if id == "" || x.Images[id] != nil || asked[id] || r.overspent("images") {
			continue
		}
		asked[id] = true
		var image struct {
			Hidden     bool `json:"os_hidden"`
			Visibility string
		}
		err := r.c.get(r.ctx, r.c.image, r.c.image.ServiceURL("images", url.PathEscape(string(id))), &image)
		switch {
		case err == nil && !image.Hidden && image.Visibility != "community":
			r.gap("images", string(id)+" exists and was not listed; a server was made from it")
		case err != nil && !errors.Is(err, cloud.ErrNotFound):
			r.gap("images", string(id)+" was not listed and can not be asked for: "+err.Error())
		}
	}
}

// exists asks for one thing that a listing left out. Not found is well: it came to an end meanwhile.
func (r *reading) exists(kind, path, why string) {
	client := r.c.network
	switch kind {
	case "servers":
		client = r.c.compute
	case "projects":
		client = r.c.identity
	}
	if r.overspent(kind) {
		return
	}
	err := r.c.get(r.ctx, client, client.ServiceURL(strings.Split(path, "/")...), &struct{}{})
	switch {
	case err == nil:
		r.gap(kind, path+" exists and was not listed; "+why)
	case !errors.Is(err, cloud.ErrNotFound):
		r.gap(kind, path+" was not listed and can not be asked for: "+err.Error())
	}
}

func (r *reading) overspent(kind string) bool {
	if r.spent++; r.spent == r.c.conf.MaxTargetedReads+1 {
		r.gap(kind, "the listings contradict each other in too many places")
	}
	return r.spent > r.c.conf.MaxTargetedReads
}

// checkServers looks for the port behind each fixed address, and the floating IP, that Nova tells of.
func (r *reading) checkServers(x *asset.Index) {
	floating := map[netip.Addr]bool{}
	for i := range r.snap.FloatingIPs {
		floating[r.snap.FloatingIPs[i].Addr] = true
	}
	projects := map[asset.ProjectID]bool{}
	for _, s := range r.servers {
		if p := asset.ProjectID(s.TenantID); p != "" && x.Projects[p] == nil && !projects[p] {
			projects[p] = true
			r.exists("projects", "projects/"+string(p), "server "+s.ID+" belongs to it")
		}
		missing := false
		for _, as := range s.Addresses {
			for _, a := range as {
				switch {
				case a.Type == "fixed":
					missing = missing || !holds(x.PortsOf[asset.ServerID(s.ID)], addr(a.Addr))
				case a.Type == "floating" && !floating[addr(a.Addr)]:
					r.unlisted("floating_ips", "floatingips", url.Values{"floating_ip_address": {a.Addr}})
				}
			}
		}
		if missing {
			r.portsOf(x, s)
		}
	}
}

func holds(ports []*asset.Port, a netip.Addr) bool {
	return slices.ContainsFunc(ports, func(p *asset.Port) bool {
		return slices.ContainsFunc(p.FixedIPs, func(f asset.FixedIP) bool { return f.Addr == a })
	})
}

// portsOf asks for the ports of a server whose addresses Nova lists and Neutron did not. Nova's memory of addresses
// may be old; what decides is whether Neutron now shows a port that its listing did not, or none at all while the
// server exists.
func (r *reading) portsOf(x *asset.Index, s wireServer) {
	if r.overspent("ports") {
		return
	}
	ports, err := walk(r.ctx, r.c, listing{client: r.c.network, path: "ports", key: "ports", query: url.Values{"device_id": {s.ID}}}, func(w wirePort) string { return w.ID })
	if err != nil {
		r.gap("ports", "those of server "+s.ID+": "+err.Error())
		return
	}
	for _, p := range ports {
		if x.Ports[asset.PortID(p.ID)] == nil && (micros(p.Created) == 0 || micros(p.Created) < r.snap.Began) {
			r.gap("ports", "port "+p.ID+" exists and was not listed")
		}
	}
	if len(ports) == 0 && len(x.PortsOf[asset.ServerID(s.ID)]) == 0 && r.stillListed(s.ID) {
		r.gap("ports", "Nova lists addresses of server "+s.ID+" and Neutron shows no port of it: the account sees too little")
	}
}

// stillListed tells whether Nova lists a server now. Asking for it by its id would not do: to an account that may list
// all servers and not show them, Nova answers 404 for those of others.
func (r *reading) stillListed(id string) bool {
	if r.relisted == nil {
		r.relisted = map[string]bool{}
		l := listing{client: r.c.compute, path: "servers", key: "servers", query: url.Values{"all_tenants": {"true"}}}
		rows, err := walk(r.ctx, r.c, l, func(w wireServer) string { return w.ID })
		if err != nil {
			r.gap("servers", "listing them again: "+err.Error())
		}
		for _, w := range rows {
			r.relisted[w.ID] = true
		}
	}
	return r.relisted[id]
}

// unlisted asks with a filter, and finds a gap in what comes back.
func (r *reading) unlisted(kind, path string, q url.Values) {
	if r.overspent(kind) {
		return
	}
	rows, err := walk(r.ctx, r.c, listing{client: r.c.network, path: path, key: path, query: q}, func(w wireFloating) string { return w.ID })
	if err != nil {
		r.gap(kind, err.Error())
	}
	for _, w := range rows {
		r.gap(kind, w.ID+" exists and was not listed")
	}
}

// checkPorts looks for what ports refer to.
func (r *reading) checkPorts(x *asset.Index) {
	if len(r.snap.Ports) == 0 && len(r.snap.Networks) > 0 { // then nothing refers to anything, and nothing contradicts
		r.gap("ports", "none listed, though there are networks: Neutron answers so to an account that may not see")
	}
	asked := map[string]bool{}
	ask := func(known bool, kind, path, why string) {
		if !known && !asked[path] {
			asked[path] = true
			r.exists(kind, path, why)
		}
	}
	for i := range r.snap.Ports {
		p := &r.snap.Ports[i]
		why := "port " + string(p.ID) + " refers to it"
		ask(x.Networks[p.Network] != nil, "networks", "networks/"+string(p.Network), why)
		if p.Server != "" {
			ask(x.Servers[p.Server] != nil, "servers", "servers/"+string(p.Server), why)
		}
		if p.DeviceOwner == "network:router_interface" || p.DeviceOwner == "network:router_gateway" {
			ask(x.Routers[asset.RouterID(p.Device)] != nil, "routers", "routers/"+p.Device, why)
		}
		for _, g := range p.Groups {
			ask(x.Groups[g] != nil, "groups", "security-groups/"+string(g), why)
		}
		for _, f := range p.FixedIPs {
			ask(x.Subnets[f.Subnet] != nil, "subnets", "subnets/"+string(f.Subnet), why)
		}
	}
	for i := range r.snap.Groups {
		for _, rule := range r.snap.Groups[i].Rules {
			if rule.RemoteAddress != "" {
				ask(x.AddressSets[rule.RemoteAddress] != nil, "address_sets", "address-groups/"+string(rule.RemoteAddress), "rule "+string(rule.ID)+" refers to it")
			}
			if rule.RemoteGroup != "" {
				ask(x.Groups[rule.RemoteGroup] != nil, "groups", "security-groups/"+string(rule.RemoteGroup), "rule "+string(rule.ID)+" refers to it")
			}
		}
	}
}
