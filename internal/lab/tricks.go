package lab

import (
	"fmt"
	"net/netip"
	"slices"
)

// What a tenant may do to a machine of theirs that somebody wants to keep off the network. Each is a thing that the real APIs
// let a member of the project do.

func (w *World) trick(do func()) {
	w.mu.Lock()
	do()
	_ = w.unlock()
}

// TenantAddressGroups gives a project so many address groups, and the cloud no others.
func (w *World) TenantAddressGroups(project string, n int) {
	w.trick(func() {
		w.addressGroups = nil
		for i := range n {
			p := w.projectID(project)
			w.addressGroups = append(w.addressGroups, &addressGroupRow{ID: w.uuidFor("address group", fmt.Sprint(i)), Name: fmt.Sprint("hosts-", i), TenantID: p, ProjectID: p, Addresses: []string{}, stamp: w.born()})
		}
	})
}

func (w *World) projectID(name string) string {
	for _, p := range w.projects {
		if p.Name == name {
			return p.ID
		}
	}
	return ""
}

// TenantLock is a lock by a machine's owner.
func (w *World) TenantLock(server, reason string) {
	w.trick(func() {
		if s := w.serverNamed(server); !s.locked {
			s.locked, s.lockedBy, s.lockedReason = true, "owner", reason
			w.remember(s, "lock")
		}
	})
}

// TenantUnlock takes the owner's lock away; one of an administrator's stays, and then it is false.
func (w *World) TenantUnlock(server string) (done bool) {
	w.trick(func() {
		if s := w.serverNamed(server); s.locked && s.lockedBy != "admin" {
			s.locked, s.lockedBy, s.lockedReason = false, "", ""
			w.remember(s, "unlock")
			done = true
		}
	})
	return done
}

// remember is the cloud's memory of what a tenant did to a machine.
func (w *World) remember(s *serverRow, what string) {
	w.touch(s)
	s.actions = append(s.actions, map[string]any{"action": what, "instance_uuid": s.id, "request_id": "req-" + w.uuidFor("request", w.next()), "user_id": "a-tenant", "project_id": s.project,
		"start_time": stampNow(), "message": nil})
}

// TenantPlug plugs a port into a server, or, without one, unplugs it.
func (w *World) TenantPlug(port, server string) {
	w.trick(func() {
		p := w.port(port)
		p.DeviceID, p.DeviceOwner = "", ""
		if server != "" {
			p.DeviceID, p.DeviceOwner = w.serverNamed(server).id, "compute:nova"
		}
		p.touch()
	})
}

// TenantClaims makes a port of a project that says that it is a server's, and is plugged in nowhere.
func (w *World) TenantClaims(project, like, server string) {
	w.trick(func() {
		p := w.newPort("claim"+w.next(), w.projectID(project), w.port(like).NetworkID, []fixedRow{{w.port(like).FixedIPs[0].SubnetID, "10.0.0.99"}})
		p.DeviceID, p.DeviceOwner, p.Status = w.serverNamed(server).id, "compute:nova", "DOWN"
	})
}

// TenantWrites makes a port of a project, on a network of its own, whose owner wrote a text where a machine's id belongs.
func (w *World) TenantWrites(project, device string) {
	w.trick(func() {
		id := w.projectID(project)
		for _, p := range w.ports {
			if p.ProjectID != id || p.DeviceOwner != "compute:nova" {
				continue
			}
			stray := *p
			stray.ID = w.uuidFor("port", w.next())
			stray.DeviceID, stray.FixedIPs, stray.Pairs, stray.stamp = device, []fixedRow{}, []pairRow{}, w.born()
			w.ports = append(w.ports, &stray)
			return
		}
	})
}

// TenantTouch alters a port in nothing that matters.
func (w *World) TenantTouch(port string) { w.trick(func() { w.port(port).touch() }) }

// TenantPortGroups puts groups of the port's project, by name, on one port.
func (w *World) TenantPortGroups(port string, groups ...string) {
	w.trick(func() {
		p := w.port(port)
		p.SecurityGroups = []string{}
		for _, g := range w.groups {
			if g.ProjectID == p.ProjectID && slices.Contains(groups, g.Name) {
				p.SecurityGroups = append(p.SecurityGroups, g.ID)
			}
		}
		p.touch()
	})
}

// TenantForwards replaces the forwardings of a floating IP.
func (w *World) TenantForwards(addr netip.Addr, forwards ...Forward) {
	w.trick(func() {
		for _, f := range w.floating {
			if f.Address != addr.String() {
				continue
			}
			f.Forwards = []forwardRow{}
			for _, fw := range forwards {
				to := w.portsOf(w.ServerID(fw.Server))[0]
				f.Forwards = append(f.Forwards, forwardRow{ID: w.uuidFor("forward", w.next()), Protocol: "tcp", InternalIP: to.FixedIPs[0].IPAddress,
					InternalPort: fw.Internal, InternalPortID: to.ID, ExternalPort: fw.External})
			}
			f.touch()
		}
	})
}

// TenantSharedGroup puts a group of another project, which is shared, on a port beside those it has.
func (w *World) TenantSharedGroup(port, project, group string) {
	w.trick(func() {
		p := w.port(port)
		p.SecurityGroups = append(slices.Clone(p.SecurityGroups), w.group(project, group).ID)
		p.touch()
	})
}

// TenantPortSecurity switches the port security of a port, as the owner of its network may.
func (w *World) TenantPortSecurity(port string, on bool) {
	w.trick(func() {
		p := w.port(port)
		p.PortSecurity = on
		if !on { // Neutron takes it off only from a port without groups
			p.SecurityGroups = []string{}
		}
		p.touch()
	})
}

// PortSecurity tells whether a port's traffic is filtered.
func (w *World) PortSecurity(port string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.port(port)
	return p != nil && p.PortSecurity
}

// PutOnGroups puts a port on groups by their ids, as an administrator's script can.
func (w *World) PutOnGroups(port string, ids ...string) {
	w.trick(func() {
		p := w.port(port)
		p.SecurityGroups = append([]string{}, ids...)
		p.touch()
	})
}
