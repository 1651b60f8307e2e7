package lab

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// SetUserEnabled switches an account on or off, as an administrator does.
func (w *World) SetUserEnabled(user string, enabled bool) error {
	return w.act("admin", "enable user", fmt.Sprintf("%s %t", user, enabled), func() error {
		u := w.userNamed(user)
		if u == nil {
			return fmt.Errorf("%w: user %q", ErrUnknown, user)
		}
		u.Enabled = enabled
		return nil
	})
}

// SetRole gives a user a role on a project; an empty one takes it away.
func (w *World) SetRole(user, project, role string) error {
	return w.act("admin", "assign role", user+" "+project+" "+role, func() error {
		u, p := w.userNamed(user), w.project(project)
		if u == nil || p == nil {
			return fmt.Errorf("%w: user %q or project %q", ErrUnknown, user, project)
		}
		u.roles = maps.Clone(u.roles)
		if role == "" {
			delete(u.roles, p.ID)
			return nil
		}
		u.roles[p.ID] = role
		return nil
	})
}

func (w *World) userNamed(name string) *userRow {
	return find(w.users, func(u *userRow) bool { return u.Name == name })
}

// TenantPort makes a port that is plugged in nowhere, on a network of any project, and gives its id.
func (w *World) TenantPort(project, network string, addr netip.Addr, secured bool) (id string, err error) {
	err = w.act("tenant:"+project, "create port", network+" "+addr.String(), func() error {
		net := w.network(network)
		if net == nil || w.project(project) == nil {
			return fmt.Errorf("%w: network %q or project %q", ErrUnknown, network, project)
		}
		sub := find(w.subnets, func(s *subnetRow) bool { return s.NetworkID == net.ID && netip.MustParsePrefix(s.CIDR).Contains(addr) })
		if sub == nil {
			return fmt.Errorf("%w: subnet of %q for %s", ErrUnknown, network, addr)
		}
		p := w.newPort("loose"+w.next(), w.projectID(project), net.ID, []fixedRow{{sub.ID, addr.String()}})
		p.Status, p.VIFType, p.HostID, p.PortSecurity = "DOWN", "unbound", "", secured
		id = p.ID
		return nil
	})
	return id, err
}

// DeletePort deletes a port; the floating IP that leads to it leads nowhere then.
func (w *World) DeletePort(port string) error {
	return w.act("tenant", "delete port", port, func() error {
		if w.port(port) == nil {
			return fmt.Errorf("%w: port %q", ErrUnknown, port)
		}
		for _, f := range w.floating {
			if f.PortID != nil && *f.PortID == port {
				w.bind(f, nil)
				f.touch()
			}
		}
		w.ports = slices.DeleteFunc(w.ports, func(p *portRow) bool { return p.ID == port })
		return nil
	})
}

// DeleteServerOnly deletes a machine and leaves its ports, as Nova does with ports that it did not make: Terraform and Heat work so.
func (w *World) DeleteServerOnly(server string) error {
	return w.act("tenant:"+server, "delete server", server, func() error {
		s := w.serverNamed(server)
		if s == nil {
			return fmt.Errorf("%w: server %q", ErrUnknown, server)
		}
		for _, p := range w.portsOf(s.id) {
			p.DeviceID, p.DeviceOwner, p.Status = "", "", "DOWN"
			p.touch()
		}
		w.servers = slices.DeleteFunc(w.servers, func(o *serverRow) bool { return o == s })
		s.status = "DELETED"
		w.touch(s)
		w.deleted = append(w.deleted, s)
		w.emit(Event{Kind: "status", Server: server, Detail: "DELETED"})
		return nil
	})
}

// BootServerOn makes a machine on ports that are there, which keep their groups and floating IPs.
func (w *World) BootServerOn(s Server, ports ...string) error {
	return w.act("tenant:"+s.Project, "boot server", s.Name, func() error {
		s.NICs = nil
		if err := w.buildServer(s); err != nil {
			return err
		}
		row := w.servers[len(w.servers)-1]
		for _, id := range ports {
			p := w.port(id)
			if p == nil {
				return fmt.Errorf("%w: port %q", ErrUnknown, id)
			}
			p.DeviceID, p.DeviceOwner, p.Status = row.id, "compute:nova", "ACTIVE"
			p.touch()
		}
		w.emit(Event{Kind: "status", Server: s.Name, Detail: "ACTIVE"})
		return nil
	})
}
