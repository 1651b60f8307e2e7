package asset

// kind is one kind of objects, by the name that its list has in a snapshot.
type kind struct {
	name string
	n    func(*Snapshot) int
	rows func(*Snapshot) map[string]ProjectID // the identities, and whose each is; "" is nobody's whom it would do to delete it
}

func of[T any](name string, in func(*Snapshot) []T, row func(*T) (id string, owner ProjectID)) kind {
	return kind{name, func(s *Snapshot) int { return len(in(s)) }, func(s *Snapshot) map[string]ProjectID {
		vs := in(s)
		out := make(map[string]ProjectID, len(vs))
		for i := range vs {
			id, owner := row(&vs[i])
			out[id] = owner
		}
		return out
	}}
}

const nobody = ProjectID("")

// kinds are all there are, in the order in which a cloud is read.
var kinds = []kind{
	of("projects", func(s *Snapshot) []Project { return s.Projects }, func(v *Project) (string, ProjectID) { return string(v.ID), nobody }),
	of("users", func(s *Snapshot) []User { return s.Users }, func(v *User) (string, ProjectID) { return string(v.ID), nobody }),
	of("grants", func(s *Snapshot) []Grant { return s.Grants }, func(v *Grant) (string, ProjectID) {
		return string(v.User) + " " + string(v.Project) + " " + v.Role, v.Project
	}),
	of("servers", func(s *Snapshot) []Server { return s.Servers }, func(v *Server) (string, ProjectID) { return string(v.ID), v.Project }),
	of("images", func(s *Snapshot) []Image { return s.Images }, func(v *Image) (string, ProjectID) { return string(v.ID), v.Project }),
	of("networks", func(s *Snapshot) []Network { return s.Networks }, func(v *Network) (string, ProjectID) { return string(v.ID), v.Project }),
	of("subnets", func(s *Snapshot) []Subnet { return s.Subnets }, func(v *Subnet) (string, ProjectID) { return string(v.ID), v.Project }),
	of("routers", func(s *Snapshot) []Router { return s.Routers }, func(v *Router) (string, ProjectID) { return string(v.ID), v.Project }),
	of("groups", func(s *Snapshot) []Group { return s.Groups }, func(v *Group) (string, ProjectID) { return string(v.ID), v.Project }),
	of("address_sets", func(s *Snapshot) []AddressSet { return s.AddressSets }, func(v *AddressSet) (string, ProjectID) { return string(v.ID), v.Project }),
	of("ports", func(s *Snapshot) []Port { return s.Ports }, func(v *Port) (string, ProjectID) { return string(v.ID), v.Project }),
	of("floating_ips", func(s *Snapshot) []FloatingIP { return s.FloatingIPs }, func(v *FloatingIP) (string, ProjectID) { return string(v.ID), v.Project }),
	of("trunks", func(s *Snapshot) []Trunk { return s.Trunks }, func(v *Trunk) (string, ProjectID) { return string(v.ID), v.Project }),
	of("load_balancers", func(s *Snapshot) []LoadBalancer { return s.LoadBalancers }, func(v *LoadBalancer) (string, ProjectID) { return string(v.ID), v.Project }),
	of("firewalls", func(s *Snapshot) []Firewall { return s.Firewalls }, func(v *Firewall) (string, ProjectID) { return string(v.ID), v.Project }),
	of("links", func(s *Snapshot) []Link { return s.Links }, func(v *Link) (string, ProjectID) { return string(v.ID), v.Project }),
	of("rbac", func(s *Snapshot) []RBAC { return s.RBAC }, func(v *RBAC) (string, ProjectID) { return string(v.ID), v.Project }),
	of("default_rules", func(s *Snapshot) []DefaultRule { return s.DefaultRules }, func(v *DefaultRule) (string, ProjectID) { return string(v.ID), nobody }),
}

// Kinds lists the kinds of objects by the names that gaps give them, in the order in which a cloud is read.
func Kinds() []string {
	out := make([]string, len(kinds))
	for i, k := range kinds {
		out[i] = k.name
	}
	return out
}

// Counts is how many objects of each kind a snapshot holds, also where there is none.
func (s *Snapshot) Counts() map[string]int {
	out := make(map[string]int, len(kinds))
	for _, k := range kinds {
		out[k.name] = k.n(s)
	}
	return out
}

// rowsOf are the identities that a snapshot holds, by kind.
func rowsOf(s *Snapshot) map[string]map[string]ProjectID {
	out := make(map[string]map[string]ProjectID, len(kinds))
	for _, k := range kinds {
		out[k.name] = k.rows(s)
	}
	for i := range s.Ports { // Neutron gives the port of a gateway to nobody: it goes with its router
		if p := &s.Ports[i]; p.Project == nobody {
			out["ports"][string(p.ID)] = out["routers"][p.Device]
		}
	}
	return out
}
