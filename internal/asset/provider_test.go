package asset

import "testing"

// A network that a tenant made external for one project is his network; the provider's are external, for all and for few.
func TestATenantsNetworkIsNotTheProviders(t *testing.T) {
	for name, c := range map[string]struct {
		rbac []RBAC
		want map[NetworkID]bool
	}{
		"the provider's is for all": {[]RBAC{{Type: "network", Object: "pub", Action: "access_as_external", Target: "*"}, {Type: "network", Object: "his", Action: "access_as_external", Target: "victim"}, {Type: "network", Object: "few", Action: "access_as_external", Target: "astro"}},
			map[NetworkID]bool{"pub": true, "few": true, "his": false}},
		"nobody is for all": {[]RBAC{{Type: "network", Object: "his", Action: "access_as_external", Target: "victim"}, {Type: "network", Object: "pub", Action: "access_as_shared", Target: "*"}},
			map[NetworkID]bool{"pub": true, "few": true, "his": true}},
		"none is listed": {nil, map[NetworkID]bool{"pub": true, "few": true, "his": true}},
	} {
		s := &Snapshot{RBAC: c.rbac, Networks: []Network{{ID: "pub", Project: "admin", External: true}, {ID: "few", Project: "admin", External: true}, {ID: "his", Project: "mallory", External: true}, {ID: "net", Project: "astro"}}}
		x := NewIndex(s)
		for id, want := range c.want {
			if got := x.Networks[id].External; got != want || (x.Scope(id) == ExternalScope) != want {
				t.Errorf("%s: %s is external: %v", name, id, got)
			}
		}
		if !s.Networks[2].External {
			t.Errorf("%s: what was read was altered", name)
		}
	}
}
