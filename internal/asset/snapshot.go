package asset

import (
	"maps"
	"net/netip"
	"slices"
)

// Gap says which part of a cloud was not read, or not to the end.
type Gap struct {
	Kind   string `json:"kind"`   // projects, users, grants, servers, ports, …
	Reason string `json:"reason"` // what happened, for the operator
}

// Unreadable is a user or a project that exists in what others refer to, and that the account may not read. Absence is not proven by it
// and no listing is cut: only what depends on this one object is not known.
type Unreadable struct {
	Kind   string `json:"kind"` // UnreadContacts or UnreadGrants
	ID     string `json:"id"`
	Reason string `json:"reason"` // who refers to it and what the cloud answered, for the operator
}

// What is not known where something may not be read.
const (
	UnreadContacts = "contacts" // of a user
	UnreadGrants   = "grants"   // of a project
)

// Snapshot is what one walk over a cloud's APIs saw. It is complete only when every listing was read to
// its end without a fault; an incomplete one can add, and never removes.
type Snapshot struct {
	Cloud       string       `json:"cloud"`
	Began       int64        `json:"began"` // µs
	Ended       int64        `json:"ended"`
	Gaps        []Gap        `json:"gaps,omitempty"`
	Only        []string     `json:"only,omitempty"` // the kinds that were read, where not all were asked for
	Unreadable  []Unreadable `json:"unreadable,omitempty"`
	NovaClock   int64        `json:"-"` // µs by Nova's own clock: changes of servers before it are in here, or were read before; 0: not known
	Projects    []Project    `json:"projects"`
	Users       []User       `json:"users"`
	Grants      []Grant      `json:"grants"`
	Images      []Image      `json:"images"`
	Servers     []Server     `json:"servers"`
	Networks    []Network    `json:"networks"`
	Subnets     []Subnet     `json:"subnets"`
	Routers     []Router     `json:"routers"`
	Ports       []Port       `json:"ports"`
	FloatingIPs []FloatingIP `json:"floating_ips"`
	Groups      []Group      `json:"groups"`
	AddressSets []AddressSet `json:"address_sets"`

	// What few clouds have; a service that is not there has none.
	Trunks        []Trunk        `json:"trunks,omitempty"`
	LoadBalancers []LoadBalancer `json:"load_balancers,omitempty"`
	Firewalls     []Firewall     `json:"firewalls,omitempty"`
	Links         []Link         `json:"links,omitempty"`
	RBAC          []RBAC         `json:"rbac,omitempty"`
	DefaultRules  []DefaultRule  `json:"default_rules,omitempty"`
}

// Complete tells whether absence in this snapshot means absence in the cloud.
func (s *Snapshot) Complete() bool { return len(s.Gaps) == 0 && len(s.Only) == 0 }

// Index finds a snapshot's objects by identity. It is built once and read from many goroutines.
type Index struct {
	Snapshot    *Snapshot
	Projects    map[ProjectID]*Project
	Users       map[UserID]*User
	Images      map[ImageID]*Image
	Servers     map[ServerID]*Server
	Networks    map[NetworkID]*Network
	Subnets     map[SubnetID]*Subnet
	Routers     map[RouterID]*Router
	Ports       map[PortID]*Port
	Groups      map[GroupID]*Group
	AddressSets map[AddressGroup]*AddressSet
	PortsOf     map[ServerID][]*Port
	FloatingOf  map[PortID][]*FloatingIP // by the port it leads to, forwardings included
	Members     map[GroupID][]*Port      // ports that carry the group
	Parents     map[PortID]*Trunk        // the trunk that a port carries or is carried by
}

// NewIndex indexes a snapshot, which must not change afterwards. A port that claims a machine of another project loses it, and what a tenant
// calls an external network is none.
func NewIndex(s *Snapshot) *Index {
	s = provided(s)
	x := &Index{
		Snapshot:    s,
		Projects:    byID(s.Projects, func(v *Project) ProjectID { return v.ID }),
		Users:       byID(s.Users, func(v *User) UserID { return v.ID }),
		Images:      byID(s.Images, func(v *Image) ImageID { return v.ID }),
		Servers:     byID(s.Servers, func(v *Server) ServerID { return v.ID }),
		Networks:    byID(s.Networks, func(v *Network) NetworkID { return v.ID }),
		Subnets:     byID(s.Subnets, func(v *Subnet) SubnetID { return v.ID }),
		Routers:     byID(s.Routers, func(v *Router) RouterID { return v.ID }),
		Ports:       byID(s.Ports, func(v *Port) PortID { return v.ID }),
		Groups:      byID(s.Groups, func(v *Group) GroupID { return v.ID }),
		AddressSets: byID(s.AddressSets, func(v *AddressSet) AddressGroup { return v.ID }),
		PortsOf:     map[ServerID][]*Port{},
		FloatingOf:  map[PortID][]*FloatingIP{},
		Members:     map[GroupID][]*Port{},
		Parents:     map[PortID]*Trunk{},
	}
	x.plugged()
	x.subports()
	for i := range s.Ports {
		p := &s.Ports[i]
		if v := x.Servers[p.Server]; v != nil && v.Project != p.Project {
			p.Server = "" // device_id is what the port's owner says, and nobody may say it of another project's machine
		}
		if p.Server != "" {
			x.PortsOf[p.Server] = append(x.PortsOf[p.Server], p)
		}
		for _, g := range p.Groups {
			x.Members[g] = append(x.Members[g], p)
		}
	}
	for i := range s.FloatingIPs {
		f := &s.FloatingIPs[i]
		for _, id := range f.leadsTo() {
			x.FloatingOf[id] = append(x.FloatingOf[id], f)
		}
	}
	return x
}

// plugged gives a port to the machine that it names, whatever its owner calls it: Neutron lets the owner of a network call a port one
// of the network service, to which no group applies, and the machine behind it is a machine all the same.
func (x *Index) plugged() {
	for i := range x.Snapshot.Ports {
		p := &x.Snapshot.Ports[i]
		if v := x.Servers[ServerID(p.Device)]; p.Server == "" && v != nil && v.Project == p.Project {
			p.Server = v.ID
		}
	}
}

// WithGroups is the index after some groups have other rules, or are new; all else is shared with the one it comes from, which stays as
// it was.
func (x *Index) WithGroups(groups []Group) *Index {
	out, s := *x, *x.Snapshot
	groups = slices.Clone(groups)
	given := byID(groups, func(v *Group) GroupID { return v.ID })
	s.Groups = slices.Clone(s.Groups)
	for i := range s.Groups {
		if g := given[s.Groups[i].ID]; g != nil {
			s.Groups[i] = *g
		}
	}
	out.Snapshot, out.Groups = &s, maps.Clone(x.Groups) // groups that stay stay the same objects: what is known of them still holds
	for i := range groups {
		if out.Groups[groups[i].ID] == nil {
			s.Groups = append(s.Groups, groups[i])
		}
		out.Groups[groups[i].ID] = &groups[i]
	}
	return &out
}

// subports gives the ports of a trunk to the machine whose port carries it.
func (x *Index) subports() {
	for i := range x.Snapshot.Trunks {
		t := &x.Snapshot.Trunks[i]
		parent := x.Ports[t.Port]
		if parent == nil {
			continue
		}
		x.Parents[t.Port] = t
		for _, id := range t.SubPorts {
			if p := x.Ports[id]; p != nil && p.Project == parent.Project {
				p.Server = parent.Server
				x.Parents[id] = t
			}
		}
	}
}

func byID[K comparable, V any](vs []V, id func(*V) K) map[K]*V {
	m := make(map[K]*V, len(vs))
	for i := range vs {
		m[id(&vs[i])] = &vs[i]
	}
	return m
}

// leadsTo lists the ports behind a floating IP, each once.
func (f *FloatingIP) leadsTo() []PortID {
	if f.Port != "" {
		return []PortID{f.Port}
	}
	var out []PortID
	seen := map[PortID]bool{}
	for _, w := range f.Forwardings {
		if !seen[w.Port] {
			seen[w.Port] = true
			out = append(out, w.Port)
		}
	}
	return out
}

// ExternalScope is the Scope of addresses that mean the same machine from everywhere.
const ExternalScope = "external"

// Scope names the address space of a network: tenants' private ranges overlap, external ones do not.
func (x *Index) Scope(n NetworkID) string {
	if net := x.Networks[n]; net != nil && net.External {
		return ExternalScope
	}
	return string(n)
}

// Binding says that a port held an address. ValidTo 0 means "still". It is bitemporal: valid time is when
// it was so, KnownAt and EndKnownAt are when we learnt of its two ends.
type Binding struct {
	ID         string       `json:"id,omitempty"`
	Cloud      string       `json:"cloud"`
	Scope      string       `json:"scope"`
	Addr       netip.Addr   `json:"addr"`
	Port       PortID       `json:"port"`
	Server     ServerID     `json:"server,omitempty"`
	Project    ProjectID    `json:"project"`
	FloatingIP FloatingIPID `json:"floating_ip,omitempty"`
	Shared     bool         `json:"shared,omitempty"` // a router's address: many machines, attributable to none
	ValidFrom  int64        `json:"valid_from"`
	ValidTo    int64        `json:"valid_to,omitempty"`
	KnownAt    int64        `json:"known_at"`
	EndKnownAt int64        `json:"end_known_at,omitempty"` // when we learnt of ValidTo
	Source     string       `json:"source,omitempty"`
}

// Holder is what stays the same while a binding stands: who answers at the address.
type Holder struct {
	Cloud      string
	Scope      string
	Addr       netip.Addr
	Port       PortID
	Server     ServerID
	Project    ProjectID
	FloatingIP FloatingIPID
	Shared     bool
}

// Holder gives a binding without its times.
func (b Binding) Holder() Holder {
	return Holder{b.Cloud, b.Scope, b.Addr, b.Port, b.Server, b.Project, b.FloatingIP, b.Shared}
}

// Holders lists who holds which address in a snapshot: fixed addresses of ports, floating IPs through
// to the port behind them, and routers' addresses, which are shared. A floating IP with forwardings
// is bound once per port behind it; a reader that finds two holders of one address must not pick one.
func (x *Index) Holders() []Holder {
	var out []Holder
	s := x.Snapshot
	for i := range s.Ports {
		p := &s.Ports[i]
		if p.DeviceOwner == "network:floatingip" {
			continue // Neutron's own bookkeeping: the floating IP says who answers at the address
		}
		shared := p.Server == "" && len(p.DeviceOwner) > 8 && p.DeviceOwner[:8] == "network:"
		for _, f := range p.FixedIPs {
			out = append(out, Holder{Cloud: s.Cloud, Scope: x.Scope(p.Network), Addr: f.Addr, Port: p.ID, Server: p.Server, Project: p.Project, Shared: shared})
		}
	}
	for i := range s.FloatingIPs {
		f := &s.FloatingIPs[i]
		for _, id := range f.leadsTo() {
			h := Holder{Cloud: s.Cloud, Scope: ExternalScope, Addr: f.Addr, Port: id, Project: f.Project, FloatingIP: f.ID, Shared: len(f.Forwardings) > 0}
			if p := x.Ports[id]; p != nil {
				h.Server, h.Project = p.Server, p.Project
			}
			out = append(out, h)
		}
	}
	return out
}
