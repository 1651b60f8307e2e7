package lab

import (
	"fmt"
	"net/netip"
	"strings"
)

// build turns the scenario into rows.
func (w *World) build() error {
	w.buildAccounts()
	for _, step := range []func() error{w.buildImages, w.buildGroups, w.buildNetworks, w.buildRouters, w.buildServers, w.buildFloating} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) buildAccounts() {
	for _, p := range w.scenario.Projects {
		id := w.hexID("project", p.Name)
		w.projects = append(w.projects, &projectRow{ID: id, Name: p.Name, DomainID: "default", ParentID: "default",
			Enabled: !p.Disabled, Tags: nonNil(p.Tags), Links: map[string]string{"self": "/v3/projects/" + id}})
	}
	for _, u := range w.scenario.Users {
		id := w.hexID("user", u.Name)
		row := &userRow{ID: id, Name: u.Name, DomainID: "default", Enabled: !u.Disabled, Email: u.Mail, password: u.Password,
			roles: map[string]string{}, Links: map[string]string{"self": "/v3/users/" + id}}
		for project, role := range u.Roles {
			row.roles[w.hexID("project", project)] = role
		}
		w.users = append(w.users, row)
	}
}

func (w *World) buildImages() error {
	for _, i := range w.scenario.Images {
		owner := i.Project
		if owner == "" && len(w.projects) > 0 {
			owner = w.projects[0].Name
		}
		id := w.uuidFor("image", i.Name)
		w.images = append(w.images, &imageRow{ID: id, Name: i.Name, Status: "active", Visibility: "public", Owner: w.ProjectID(owner),
			OSDistro: i.OSDistro, OSVersion: i.OSVersion, Profile: i.Profile, OSHidden: i.Hidden, DiskFormat: "qcow2", Container: "bare", Size: 1 << 29, Tags: []string{},
			CreatedAt: stampNow(), UpdatedAt: stampNow(), Self: "/v2/images/" + id, File: "/v2/images/" + id + "/file", Schema: "/v2/schemas/image"})
	}
	return nil
}

func (w *World) buildGroups() error {
	for _, a := range w.scenario.AddressGroups {
		row := &addressGroupRow{ID: w.uuidFor("address-group", a.Name), Name: a.Name, TenantID: w.ProjectID(a.Project), ProjectID: w.ProjectID(a.Project), Addresses: []string{}, stamp: w.born()}
		for _, p := range a.Prefixes {
			row.Addresses = append(row.Addresses, p.String())
		}
		w.addressGroups = append(w.addressGroups, row)
	}
	for _, p := range w.projects {
		g := w.newGroup(p.ID, "default", "Default security group")
		for _, v6 := range []bool{false, true} {
			r := w.newRule(g, Rule{IPv6: v6})
			r.RemoteGroup = &g.ID
			g.Rules = append(g.Rules, r)
		}
	}
	for _, s := range w.scenario.Groups {
		if w.project(s.Project) == nil {
			return fmt.Errorf("group %q: no project %q", s.Name, s.Project)
		}
		g := w.newGroup(w.ProjectID(s.Project), s.Name, "")
		g.Stateful = !s.Stateless
		if s.NoEgress {
			g.Rules = []*ruleRow{}
		}
	}
	return w.buildRules()
}

// buildRules comes after all groups are there, for rules name groups.
func (w *World) buildRules() error {
	for _, s := range w.scenario.Groups {
		g := w.group(s.Project, s.Name)
		for _, r := range s.Rules {
			row := w.newRule(g, r)
			if r.RemoteGroup != "" && row.RemoteGroup == nil {
				return fmt.Errorf("group %q: no group %q", s.Name, r.RemoteGroup)
			}
			g.Rules = append(g.Rules, row)
		}
	}
	return nil
}

// newGroup makes a group as Neutron does: with two rules that let everything out.
func (w *World) newGroup(project, name, description string) *groupRow {
	id := w.uuidFor("group", project+"/"+name)
	if w.groupByID(id) != nil {
		id = w.uuidFor("group", w.next())
	}
	g := &groupRow{ID: id, Name: name, TenantID: project, ProjectID: project, Stateful: true, Description: description, Tags: []string{}, stamp: w.born()}
	g.Rules = []*ruleRow{w.newRule(g, Rule{Egress: true}), w.newRule(g, Rule{Egress: true, IPv6: true})}
	w.groups = append(w.groups, g)
	return g
}

func (w *World) newRule(g *groupRow, r Rule) *ruleRow {
	row := &ruleRow{ID: w.uuidFor("rule", g.ID+"/"+w.next()), TenantID: g.ProjectID, ProjectID: g.ProjectID, GroupID: g.ID, Direction: "ingress", EtherType: "IPv4", stamp: w.born()}
	row.Revision = 0 // as Neutron's rules begin
	if r.Egress {
		row.Direction = "egress"
	}
	if r.IPv6 || r.Remote.IsValid() && r.Remote.Addr().Is6() {
		row.EtherType = "IPv6"
	}
	if r.Proto != "" {
		row.Protocol = &r.Proto
	}
	if r.Min != 0 || r.Max != 0 {
		lo, hi := r.Min, max(r.Min, r.Max)
		row.PortMin, row.PortMax = &lo, &hi
	}
	if r.Remote.IsValid() {
		s, n := r.Remote.String(), r.Remote.Masked().String()
		row.RemotePrefix, row.NormalizedCIDR = &s, &n
	}
	if o := find(w.groups, func(o *groupRow) bool { return o.ProjectID == g.ProjectID && o.Name == r.RemoteGroup }); o != nil && r.RemoteGroup != "" {
		row.RemoteGroup = &o.ID
	}
	if a := find(w.addressGroups, func(a *addressGroupRow) bool { return a.Name == r.AddressGroup }); a != nil && r.AddressGroup != "" {
		row.RemoteAddresses = &a.ID
	}
	return row
}

func (w *World) buildNetworks() error {
	for _, n := range w.scenario.Networks {
		row := &networkRow{ID: w.uuidFor("network", n.Name), Name: n.Name, TenantID: w.ProjectID(n.Project), ProjectID: w.ProjectID(n.Project), AdminStateUp: true,
			Status: "ACTIVE", Shared: n.Shared, External: n.External, PortSecurity: !n.NoSecurity, Scope4: orNull(n.Scope4), Scope6: orNull(n.Scope6), MTU: 1442, Subnets: []string{}, Tags: []string{}, stamp: w.born()}
		for _, s := range n.Subnets {
			gw := s.Gateway
			if !gw.IsValid() {
				gw = s.CIDR.Masked().Addr().Next()
			}
			text := gw.String()
			sub := &subnetRow{ID: w.uuidFor("subnet", s.Name), Name: s.Name, TenantID: row.TenantID, ProjectID: row.ProjectID, NetworkID: row.ID, IPVersion: 4,
				CIDR: s.CIDR.String(), GatewayIP: &text, EnableDHCP: !n.External, DNS: []string{}, HostRoutes: []string{}, Tags: []string{}, stamp: w.born()}
			if s.CIDR.Addr().Is6() {
				sub.IPVersion = 6
			}
			row.Subnets = append(row.Subnets, sub.ID)
			w.subnets = append(w.subnets, sub)
		}
		w.networks = append(w.networks, row)
	}
	return nil
}

func (w *World) buildRouters() error {
	for _, r := range w.scenario.Routers {
		row := &routerRow{ID: w.uuidFor("router", r.Name), Name: r.Name, TenantID: w.ProjectID(r.Project), ProjectID: w.ProjectID(r.Project), AdminStateUp: true,
			Status: "ACTIVE", Routes: []struct{}{}, Tags: []string{}, stamp: w.born()}
		w.routers = append(w.routers, row)
		if net := w.network(r.External); net != nil {
			fixed := []fixedRow{{SubnetID: net.Subnets[0], IPAddress: r.Addr.String()}}
			row.Gateway = &gatewayRow{NetworkID: net.ID, EnableSNAT: true, FixedIPs: fixed}
			p := w.newPort("gw/"+r.Name, "", net.ID, fixed)
			p.DeviceID, p.DeviceOwner, p.PortSecurity = row.ID, "network:router_gateway", false
		}
		for _, name := range r.Subnets {
			sub := find(w.subnets, func(s *subnetRow) bool { return s.Name == name })
			if sub == nil {
				return fmt.Errorf("router %q: no subnet %q", r.Name, name)
			}
			p := w.newPort("leg/"+r.Name+"/"+name, row.ProjectID, sub.NetworkID, []fixedRow{{SubnetID: sub.ID, IPAddress: *sub.GatewayIP}})
			p.DeviceID, p.DeviceOwner, p.PortSecurity = row.ID, "network:router_interface", false
		}
	}
	return nil
}

func (w *World) newPort(name, project, network string, fixed []fixedRow) *portRow {
	id := w.uuidFor("port", name)
	p := &portRow{ID: id, TenantID: project, ProjectID: project, NetworkID: network, MAC: "fa:16:3e:" + id[0:2] + ":" + id[2:4] + ":" + id[4:6],
		AdminStateUp: true, Status: "ACTIVE", FixedIPs: fixed, Pairs: []pairRow{}, SecurityGroups: []string{}, PortSecurity: true, VNICType: "normal",
		HostID: "node-1", VIFType: "ovs", VIFDetails: map[string]any{"port_filter": true, "bound_drivers": map[string]any{"0": "ovn"}}, Tags: []string{}, stamp: w.born()}
	w.ports = append(w.ports, p)
	return p
}

func (w *World) buildServers() error {
	for _, s := range w.scenario.Servers {
		if err := w.buildServer(s); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) buildServer(s Server) error {
	if w.project(s.Project) == nil {
		return fmt.Errorf("server %q: no project %q", s.Name, s.Project)
	}
	row := &serverRow{id: w.uuidFor("server", s.Name), name: s.Name, project: w.ProjectID(s.Project), user: w.hexID("user", s.Creator), status: s.Status,
		created: w.stampOf("conductor"), metadata: s.Metadata, tags: s.Tags, volumes: s.Volumes}
	w.touch(row)
	if row.status == "" {
		row.status = "ACTIVE"
	}
	if i := find(w.images, func(i *imageRow) bool { return i.Name == s.Image }); i != nil {
		row.image = i.ID
	}
	for _, svc := range s.Services {
		if svc.Name == "" {
			svc.Name = string(svc.Kind)
		}
		row.services = append(row.services, &svc)
	}
	w.servers = append(w.servers, row)
	for i, nic := range s.NICs {
		if err := w.buildNIC(s, row, i, nic); err != nil {
			return fmt.Errorf("server %q: %w", s.Name, err)
		}
	}
	return nil
}

func (w *World) buildNIC(s Server, row *serverRow, i int, nic NIC) error {
	net := w.network(nic.Network)
	if net == nil {
		return fmt.Errorf("no network %q", nic.Network)
	}
	sub := find(w.subnets, func(sub *subnetRow) bool {
		return sub.NetworkID == net.ID && netip.MustParsePrefix(sub.CIDR).Contains(nic.Addr)
	})
	if sub == nil {
		return fmt.Errorf("no subnet of %q holds %s", nic.Network, nic.Addr)
	}
	p := w.newPort(fmt.Sprintf("%s/%d", s.Name, i), row.project, net.ID, []fixedRow{{sub.ID, nic.Addr.String()}})
	p.DeviceID, p.DeviceOwner, p.PortSecurity = row.id, "compute:nova", !nic.NoSecurity
	if nic.VNICType != "" {
		p.VNICType = nic.VNICType
	}
	for _, pair := range nic.Pairs {
		p.Pairs = append(p.Pairs, pairRow{strings.TrimSuffix(pair.String(), "/32"), p.MAC})
	}
	names := nic.Groups
	if len(names) == 0 && !nic.NoSecurity {
		names = []string{"default"}
	}
	for _, name := range names {
		g := w.group(s.Project, name)
		if g == nil {
			return fmt.Errorf("no group %q", name)
		}
		p.SecurityGroups = append(p.SecurityGroups, g.ID)
	}
	if nic.FloatingIP.IsValid() {
		f := w.newFloating(nic.FloatingIP, s.Project)
		w.bind(f, p)
	}
	return nil
}

func (w *World) newFloating(addr netip.Addr, project string) *floatingRow {
	f := &floatingRow{ID: w.uuidFor("floating", w.home(addr).String()), TenantID: w.ProjectID(project), ProjectID: w.ProjectID(project), Address: addr.String(),
		Status: "DOWN", Forwards: []forwardRow{}, Tags: []string{}, stamp: w.born()}
	for _, n := range w.networks {
		for _, s := range w.subnets {
			if !n.External || s.NetworkID != n.ID || !netip.MustParsePrefix(s.CIDR).Contains(addr) {
				continue
			}
			f.NetworkID = n.ID
			// Neutron reserves the address by a port that belongs to no project and to no machine.
			p := w.newPort("floating/"+w.home(addr).String(), "", n.ID, []fixedRow{{s.ID, addr.String()}})
			p.DeviceID, p.DeviceOwner, p.PortSecurity, p.Status, p.VIFType, p.HostID = f.ID, "network:floatingip", false, "N/A", "unbound", ""
		}
	}
	w.floating = append(w.floating, f)
	return f
}

// bind leads a floating IP to a port, or to nothing.
func (w *World) bind(f *floatingRow, p *portRow) {
	f.PortID, f.FixedIP, f.RouterID, f.Status = nil, nil, nil, "DOWN"
	if p == nil {
		return
	}
	id, fixed := p.ID, p.FixedIPs[0].IPAddress
	f.PortID, f.FixedIP, f.Status = &id, &fixed, "ACTIVE"
	for _, leg := range w.ports {
		if leg.DeviceOwner == "network:router_interface" && leg.NetworkID == p.NetworkID {
			router := leg.DeviceID
			f.RouterID = &router
		}
	}
}

func (w *World) buildFloating() error {
	for _, s := range w.scenario.FloatingIPs {
		f := w.newFloating(s.Addr, s.Project)
		for _, fw := range s.Forwards {
			ports := w.portsOf(w.ServerID(fw.Server))
			if len(ports) == 0 {
				return fmt.Errorf("floating IP %s: no server %q", s.Addr, fw.Server)
			}
			f.Forwards = append(f.Forwards, forwardRow{ID: w.uuidFor("forward", w.next()), Protocol: "tcp", InternalIP: ports[0].FixedIPs[0].IPAddress,
				InternalPort: fw.Internal, InternalPortID: ports[0].ID, ExternalPort: fw.External})
		}
	}
	return nil
}

func (w *World) born() stamp {
	now := w.stampOf("networking")
	return stamp{CreatedAt: now, UpdatedAt: now, Revision: 1}
}

func (s *stamp) touch() { s.Revision++; s.UpdatedAt = stampNow() }

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func nonNil[T any](v []T) []T {
	if v == nil {
		return []T{}
	}
	return v
}
