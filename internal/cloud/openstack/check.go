package openstack

import (
	"encoding/json"
	"errors"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

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
			r.exists("ports", r.c.network, "ports/"+string(f.Port), "floating IP "+string(f.ID)+" leads to it")
		}
		delete(r.reserved, string(f.ID))
	}
	for _, id := range slices.Sorted(maps.Keys(r.reserved)) {
		r.exists("floating_ips", r.c.network, "floatingips/"+id, "a port holds its address")
	}
	r.checkImages(x)
	r.checkPeople(x)
}

// checkImages looks for the images that servers were made from. An image that is hidden or a community's is left out of
// listings by design.
func (r *reading) checkImages(x *asset.Index) {
	asked := map[asset.ImageID]bool{}
	for i := range r.snap.Servers {
		id := r.snap.Servers[i].Image
		if id == "" || x.Images[id] != nil || asked[id] {
			continue
		}
		asked[id] = true
		if !r.mayAsk(r.snap.Servers[i].Project) || r.overspent("images") {
			continue
		}
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

// identifier tells whether a text can be an object's: hexadecimal digits and hyphens, as in a UUID.
func identifier(id string) bool {
	return len(id) >= 8 && len(id) <= 64 && strings.Trim(id, "0123456789abcdefABCDEF-") == ""
}

// ofOne is how many of the targeted reads one project's objects may cause. What a project's first ones refer to and is not there, it made
// up, or deleted: more of it says nothing, and nobody's inventory hangs on what one tenant writes into his ports.
const ofOne = 20

// mayAsk tells whether a project has not had its share of targeted reads.
func (r *reading) mayAsk(p asset.ProjectID) bool {
	if r.causedBy == nil {
		r.causedBy = map[asset.ProjectID]int{}
	}
	r.causedBy[p]++
	return r.causedBy[p] <= ofOne
}

// exists asks for one thing that a listing left out. Not found is well: it came to an end meanwhile. So is what came to be after the
// service first answered in this reading, by the service's own clock: the next reading has it.
func (r *reading) exists(kind string, client *gophercloud.ServiceClient, path, why string) {
	resource, id, _ := strings.Cut(path, "/")
	if !identifier(id) || r.leftOut[path] || r.silent(kind, client) || r.overspent(kind) {
		return // what is no identifier names nothing that could be missing: a port's owner writes what he likes
	}
	var body map[string]json.RawMessage
	err := r.c.get(r.ctx, client, client.ServiceURL(resource, id), &body)
	r.heard(client, err)
	switch {
	case err == nil && !r.young(client, body):
		r.gap(kind, path+" exists and was not listed; "+why)
	case err != nil && !errors.Is(err, cloud.ErrNotFound):
		r.gap(kind, path+" was not listed and can not be asked for: "+err.Error())
	}
}

// mostSilent is how many single reads in a row a service may leave without a proper answer, before no more of them are tried in a sync: they
// would each wait for a service that is down.
const mostSilent = 3

// heard counts the single reads in a row that a service gave no proper answer to. Not found is one.
func (r *reading) heard(client *gophercloud.ServiceClient, err error) {
	if r.unanswered == nil {
		r.unanswered = map[*gophercloud.ServiceClient]int{}
	}
	if r.unanswered[client]++; err == nil || errors.Is(err, cloud.ErrNotFound) {
		r.unanswered[client] = 0
	}
}

// silent tells whether a service has stopped answering single reads, which is one gap, whatever would have been asked of it.
func (r *reading) silent(kind string, client *gophercloud.ServiceClient) bool {
	n := r.unanswered[client]
	if n == mostSilent {
		r.unanswered[client]++
		r.gap(kind, "the service does not answer, so what its listings lack is not asked for one by one")
	}
	return n >= mostSilent
}

// young tells of a document with one thing in it whether that is younger than the reading.
func (r *reading) young(client *gophercloud.ServiceClient, body map[string]json.RawMessage) bool {
	for _, raw := range body {
		var v struct {
			Created   string // Nova
			CreatedAt string `json:"created_at"`
		}
		if json.Unmarshal(raw, &v) == nil && r.after(client, v.Created+v.CreatedAt) {
			return true
		}
	}
	return false
}

// after tells whether a service's time lies behind its first answer in this reading. Both are in whole seconds, so what happened in
// the same second does not.
func (r *reading) after(client *gophercloud.ServiceClient, at string) bool {
	return r.began[client] > 0 && micros(at) > r.began[client]
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
	for i := range r.snap.Servers {
		s := &r.snap.Servers[i]
		if slices.ContainsFunc(r.listed[i].fixed, func(a netip.Addr) bool { return !holds(x.PortsOf[s.ID], a) }) {
			r.portsOf(x, s.ID)
		}
		for _, a := range r.listed[i].floating {
			if !floating[a] {
				r.unlisted("floating_ips", "floatingips", url.Values{"floating_ip_address": {a.String()}})
			}
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
func (r *reading) portsOf(x *asset.Index, id asset.ServerID) {
	if r.overspent("ports") {
		return
	}
	ports, err := walk(r.ctx, r.c, listing{client: r.c.network, path: "ports", key: "ports", query: url.Values{"device_id": {string(id)}}}, func(w wirePort) string { return w.ID })
	if err != nil {
		r.gap("ports", "those of server "+string(id)+": "+err.Error())
		return
	}
	for _, p := range ports {
		if x.Ports[asset.PortID(p.ID)] == nil && !r.leftOut["ports/"+p.ID] && !r.after(r.c.network, p.Created) {
			r.gap("ports", "port "+named(p.ID)+" exists and was not listed")
		}
	}
	if len(ports) == 0 && len(x.PortsOf[id]) == 0 && r.stillListed(string(id)) {
		r.gap("ports", "Nova lists addresses of server "+string(id)+" and Neutron shows no port of it: the account sees too little")
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
		if !r.leftOut[path+"/"+w.ID] {
			r.gap(kind, named(w.ID)+" exists and was not listed")
		}
	}
}

// checkPorts looks for what ports refer to.
func (r *reading) checkPorts(x *asset.Index) {
	if len(r.snap.Ports) == 0 && len(r.snap.Networks) > 0 { // then nothing refers to anything, and nothing contradicts
		r.gap("ports", "none listed, though there are networks: Neutron answers so to an account that may not see")
	}
	asked := map[string]bool{}
	ask := func(by asset.ProjectID, known bool, kind, path, why string) {
		if !known && !asked[path] {
			asked[path] = true
			if !r.mayAsk(by) {
				return
			}
			client := r.c.network
			if kind == "servers" {
				client = r.c.compute
			}
			r.exists(kind, client, path, why)
		}
	}
	for i := range r.snap.Ports {
		p := &r.snap.Ports[i]
		why := "port " + string(p.ID) + " refers to it"
		ask(p.Project, x.Networks[p.Network] != nil, "networks", "networks/"+string(p.Network), why)
		if p.Server != "" {
			ask(p.Project, x.Servers[p.Server] != nil, "servers", "servers/"+string(p.Server), why)
		}
		if p.DeviceOwner == "network:router_interface" || p.DeviceOwner == "network:router_gateway" {
			ask(p.Project, x.Routers[asset.RouterID(p.Device)] != nil, "routers", "routers/"+p.Device, why)
		}
		for _, g := range p.Groups {
			ask(p.Project, x.Groups[g] != nil, "groups", "security-groups/"+string(g), why)
		}
		for _, f := range p.FixedIPs {
			ask(p.Project, x.Subnets[f.Subnet] != nil, "subnets", "subnets/"+string(f.Subnet), why)
		}
	}
	for i := range r.snap.Groups {
		for _, rule := range r.snap.Groups[i].Rules {
			if rule.RemoteAddress != "" {
				ask(r.snap.Groups[i].Project, x.AddressSets[rule.RemoteAddress] != nil, "address_sets", "address-groups/"+string(rule.RemoteAddress), "rule "+string(rule.ID)+" refers to it")
			}
			if rule.RemoteGroup != "" {
				ask(r.snap.Groups[i].Project, x.Groups[rule.RemoteGroup] != nil, "groups", "security-groups/"+string(rule.RemoteGroup), "rule "+string(rule.ID)+" refers to it")
			}
		}
	}
}
