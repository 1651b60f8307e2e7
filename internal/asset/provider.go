package asset

import "slices"

// provided is a snapshot in which only the provider's external networks are external. Neutron lets every tenant make a network of his own
// external for one project that he names, by an RBAC policy, and only an administrator for all: so whose network is external for all is
// the provider, and what else is external counts if it is his. Where no such policy is listed, an account that may not see them or a
// file without them among it, every external network is believed. Source: Neutron, external_net_db, _process_ext_policy_create.
func provided(s *Snapshot) *Snapshot {
	all := map[NetworkID]bool{}
	for i := range s.RBAC {
		if r := &s.RBAC[i]; r.Type == "network" && r.Action == "access_as_external" && r.Target == "*" {
			all[NetworkID(r.Object)] = true
		}
	}
	provider := map[ProjectID]bool{}
	for i := range s.Networks {
		if n := &s.Networks[i]; n.External && all[n.ID] {
			provider[n.Project] = true
		}
	}
	tenants := func(n Network) bool { return n.External && !provider[n.Project] }
	if len(provider) == 0 || !slices.ContainsFunc(s.Networks, tenants) {
		return s
	}
	out := *s // what was read stays as it was read
	out.Networks = slices.Clone(s.Networks)
	for i := range out.Networks {
		out.Networks[i].External = out.Networks[i].External && !tenants(out.Networks[i])
	}
	return &out
}
