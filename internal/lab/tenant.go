package lab

import (
	"fmt"
	"net/netip"
	"slices"
)

// act logs a change that a tenant makes, and has the world follow it.
func (w *World) act(actor, what, object string, change func() error) error {
	w.mu.Lock()
	err := change()
	result := "done"
	if err != nil {
		result = err.Error()
	}
	w.log(actor, what, object, "", result)
	if e := w.unlock(); err == nil {
		err = e
	}
	return err
}

// TenantAddRule adds a rule to a project's group and gives the rule's id.
func (w *World) TenantAddRule(project, group string, r Rule) (string, error) {
	id := ""
	r.Remote = w.AtPrefix(r.Remote)
	err := w.act("tenant:"+project, "add rule", group, func() error {
		g := w.group(project, group)
		if g == nil {
			return fmt.Errorf("%w: group %q of %q", ErrUnknown, group, project)
		}
		row := w.newRule(g, r)
		id = row.ID
		g.Rules = append(g.Rules, row)
		g.touch()
		w.emit(Event{Kind: "rules", Detail: g.Name})
		return nil
	})
	return id, err
}

// TenantRemoveRule removes the ingress rules of a group that are equal to r, and fails if there is none.
func (w *World) TenantRemoveRule(project, group string, r Rule) error {
	r.Remote = w.AtPrefix(r.Remote)
	return w.act("tenant:"+project, "remove rule", group, func() error {
		g := w.group(project, group)
		if g == nil {
			return fmt.Errorf("%w: group %q of %q", ErrUnknown, group, project)
		}
		text, before := w.newRule(g, r).String(), len(g.Rules)
		g.Rules = slices.DeleteFunc(g.Rules, func(o *ruleRow) bool { return o.String() == text })
		if len(g.Rules) == before {
			return fmt.Errorf("%w: rule %q", ErrUnknown, text)
		}
		g.touch()
		w.emit(Event{Kind: "rules", Detail: g.Name})
		return nil
	})
}

// TenantSetGroups puts groups of the server's project, by name, on all its ports.
func (w *World) TenantSetGroups(server string, groups ...string) error {
	return w.act("tenant:"+server, "set groups", server, func() error {
		s := w.serverNamed(server)
		if s == nil {
			return fmt.Errorf("%w: server %q", ErrUnknown, server)
		}
		ids := []string{}
		for _, name := range groups {
			g := find(w.groups, func(g *groupRow) bool { return g.ProjectID == s.project && g.Name == name })
			if g == nil {
				return fmt.Errorf("%w: group %q", ErrUnknown, name)
			}
			ids = append(ids, g.ID)
		}
		for _, p := range w.portsOf(s.id) {
			p.SecurityGroups = slices.Clone(ids)
			p.touch()
			w.emit(Event{Kind: "groups", Server: s.name, Port: p.ID})
		}
		return nil
	})
}

// MoveFloatingIP leads a floating IP to the first port of a server, or to nothing where server is "". The
// address changes its project too, for that is what reuse by another tenant looks like from outside.
func (w *World) MoveFloatingIP(addr netip.Addr, server string) error {
	addr = w.At(addr)
	return w.act("tenant", "move floating IP", addr.String(), func() error {
		f := find(w.floating, func(f *floatingRow) bool { return f.Address == addr.String() })
		if f == nil {
			return fmt.Errorf("%w: floating IP %s", ErrUnknown, addr)
		}
		var to *portRow
		if server != "" {
			ports := w.portsOf(w.ServerID(server))
			if len(ports) == 0 {
				return fmt.Errorf("%w: server %q with a port", ErrUnknown, server)
			}
			to = ports[0]
			f.ProjectID, f.TenantID = to.ProjectID, to.ProjectID
		}
		w.bind(f, to)
		f.touch()
		w.emit(Event{Kind: "floating", Server: server, Addr: netip.AddrPortFrom(addr, 0)})
		return nil
	})
}

// SetService changes a daemon of a server; its existing connections are cut where kind or mode change.
func (w *World) SetService(server, service string, change func(*Service)) error {
	return w.act("tenant:"+server, "set service", server+"/"+service, func() error {
		s := w.serverNamed(server)
		if s == nil {
			return fmt.Errorf("%w: server %q", ErrUnknown, server)
		}
		svc := find(s.services, func(v *Service) bool { return v.Name == service })
		if svc == nil {
			return fmt.Errorf("%w: service %q of %q", ErrUnknown, service, server)
		}
		change(svc)
		w.touch(s)
		w.emit(Event{Kind: "service", Server: server, Detail: service})
		return nil
	})
}

// StartService lets a daemon answer again.
func (w *World) StartService(server, service string) error {
	return w.SetService(server, service, func(s *Service) { s.Stopped = false })
}

// StopService ends a daemon: its ports answer with a reset.
func (w *World) StopService(server, service string) error {
	return w.SetService(server, service, func(s *Service) { s.Stopped = true })
}

// BlockSource sets the firewall inside a machine: with drop it drops what comes from the given prefixes, or
// everything where none is given; without drop it is taken down.
func (w *World) BlockSource(server string, drop bool, from ...netip.Prefix) error {
	from = w.atPrefixes(from)
	return w.act("tenant:"+server, "guest firewall", server, func() error {
		s := w.serverNamed(server)
		if s == nil {
			return fmt.Errorf("%w: server %q", ErrUnknown, server)
		}
		s.blocked = nil
		if drop {
			s.blocked = &guestFilter{everything: len(from) == 0, from: from}
		}
		w.emit(Event{Kind: "guest", Server: server})
		return nil
	})
}

// ShareGroup shows a group to all projects, as an RBAC policy of an administrator does, or no longer.
func (w *World) ShareGroup(project, group string, shared bool) error {
	return w.act("admin", "share group", group, func() error {
		g := w.group(project, group)
		if g == nil {
			return fmt.Errorf("%w: group %q of %q", ErrUnknown, group, project)
		}
		g.Shared = shared
		return nil
	})
}

// StopServer and StartServer are the tenant's own power button.
func (w *World) StopServer(server string) error { return w.power(server, "SHUTOFF") }

// StartServer starts a server, unless it is locked.
func (w *World) StartServer(server string) error { return w.power(server, "ACTIVE") }

func (w *World) power(server, status string) error {
	return w.act("tenant:"+server, "power", server+" "+status, func() error {
		s := w.serverNamed(server)
		if s == nil {
			return fmt.Errorf("%w: server %q", ErrUnknown, server)
		}
		if s.locked {
			return fmt.Errorf("lab: server %q is locked", server)
		}
		s.status = status
		w.touch(s)
		w.emit(Event{Kind: "status", Server: server, Detail: status})
		return nil
	})
}

// touch is what Nova notes of a row with every change: the time, by the clock of whoever writes it.
func (w *World) touch(s *serverRow) { s.updated = w.stampOf("conductor") }

// DeleteServer ends a machine with its ports; floating IPs that led to it lead to nothing.
func (w *World) DeleteServer(server string) error {
	return w.act("tenant:"+server, "delete server", server, func() error {
		s := w.serverNamed(server)
		if s == nil {
			return fmt.Errorf("%w: server %q", ErrUnknown, server)
		}
		for _, p := range w.portsOf(s.id) {
			for _, f := range w.floating {
				if f.PortID != nil && *f.PortID == p.ID {
					w.bind(f, nil)
					f.touch()
				}
			}
		}
		w.ports = slices.DeleteFunc(w.ports, func(p *portRow) bool { return p.DeviceID == s.id })
		w.servers = slices.DeleteFunc(w.servers, func(o *serverRow) bool { return o == s })
		s.status = "DELETED"
		w.touch(s)
		w.deleted = append(w.deleted, s)
		w.emit(Event{Kind: "status", Server: server, Detail: "DELETED"})
		return nil
	})
}

// BootServer makes a machine, as the scenario's own are made.
func (w *World) BootServer(s Server) error {
	return w.act("tenant:"+s.Project, "boot server", s.Name, func() error {
		if err := w.buildServer(s); err != nil {
			return err
		}
		w.emit(Event{Kind: "status", Server: s.Name, Detail: "ACTIVE"})
		return nil
	})
}

// TransferServer gives a machine and its ports to another project, as an administrator's script may.
func (w *World) TransferServer(server, project string) error {
	return w.act("admin", "transfer server", server+" "+project, func() error {
		s, p := w.serverNamed(server), w.project(project)
		if s == nil || p == nil {
			return fmt.Errorf("%w: server %q or project %q", ErrUnknown, server, project)
		}
		s.project = p.ID
		w.touch(s)
		for _, port := range w.portsOf(s.id) {
			port.ProjectID, port.TenantID = p.ID, p.ID
			port.touch()
		}
		w.emit(Event{Kind: "status", Server: server, Detail: "transferred"})
		return nil
	})
}

// Machine is what the world itself knows of a machine's state.
type Machine struct {
	Status, LockedBy, LockedReason string
	Locked                         bool
}

// Machine tells the state of a server.
func (w *World) Machine(server string) Machine {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.servers {
		if s.name == server {
			return Machine{s.status, s.lockedBy, s.lockedReason, s.locked}
		}
	}
	return Machine{}
}
