package lab

import "net/netip"

// ProjectID gives the identifier of a project by name, "" if there is none.
func (w *World) ProjectID(name string) string {
	if p := w.project(name); p != nil {
		return p.ID
	}
	return ""
}

// UserID gives the identifier of a user by name, "" if there is none.
func (w *World) UserID(name string) string {
	if u := find(w.users, func(u *userRow) bool { return u.Name == name }); u != nil {
		return u.ID
	}
	return ""
}

// ServerID gives the identifier of a server by name, "" if there is none.
func (w *World) ServerID(name string) string {
	if s := w.serverNamed(name); s != nil {
		return s.id
	}
	return ""
}

// GroupID gives the identifier of a project's group by name, "" if there is none.
func (w *World) GroupID(project, name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if g := w.group(project, name); g != nil {
		return g.ID
	}
	return ""
}

// PortIDs lists the ports of a server by name.
func (w *World) PortIDs(server string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, p := range w.portsOf(w.ServerID(server)) {
		out = append(out, p.ID)
	}
	return out
}

// PortGroups lists the groups that a port carries now.
func (w *World) PortGroups(port string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.port(port); p != nil {
		return append([]string(nil), p.SecurityGroups...)
	}
	return nil
}

// GroupRules renders the rules of a group as it is now, one per line, in the manner of
// "ingress IPv4 tcp 22-22 from 192.0.2.0/24".
func (w *World) GroupRules(group string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.groupByID(group)
	if g == nil {
		return nil
	}
	out := []string{}
	for _, r := range g.Rules {
		out = append(out, r.String())
	}
	return out
}

// Status is what Nova says of a server by name.
func (w *World) Status(server string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.serverNamed(server); s != nil {
		return s.status
	}
	return ""
}

// Holder names the server at an address now, "" if there is none.
func (w *World) Holder(addr netip.Addr) string {
	addr = w.At(addr)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.ports {
		for _, a := range w.addressesOf(p) {
			if s := w.server1(p.DeviceID); a.addr == addr && s != nil {
				return s.name
			}
		}
	}
	return ""
}

func (w *World) project(name string) *projectRow {
	return find(w.projects, func(p *projectRow) bool { return p.Name == name })
}

func (w *World) serverNamed(name string) *serverRow {
	return find(w.servers, func(s *serverRow) bool { return s.name == name })
}

func (w *World) server1(id string) *serverRow {
	return find(w.servers, func(s *serverRow) bool { return s.id == id })
}

func (w *World) port(id string) *portRow {
	return find(w.ports, func(p *portRow) bool { return p.ID == id })
}

func (w *World) groupByID(id string) *groupRow {
	return find(w.groups, func(g *groupRow) bool { return g.ID == id })
}

func (w *World) group(project, name string) *groupRow {
	id := w.ProjectID(project)
	return find(w.groups, func(g *groupRow) bool { return g.ProjectID == id && g.Name == name })
}

func (w *World) network(name string) *networkRow {
	return find(w.networks, func(n *networkRow) bool { return n.Name == name })
}

func (w *World) portsOf(server string) []*portRow {
	var out []*portRow
	for _, p := range w.ports {
		if server != "" && p.DeviceID == server {
			out = append(out, p)
		}
	}
	return out
}
