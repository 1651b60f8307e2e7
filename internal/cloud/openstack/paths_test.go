package openstack_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/cloud/openstack"
	"demarc/internal/lab"
)

type obj = map[string]any

// everything is a world that has all that opens, narrows or leads on a path.
func everything(t *testing.T) bundle {
	t.Helper()
	sc := lab.DemoScenario()
	sc.Images[0].Profile = "web"
	sc.Servers[0].Tags = []string{"demarc:web", "x"}
	sc.Networks = append(sc.Networks, lab.Network{Name: "open", Project: "astro", NoSecurity: true, Scope4: "scope-4", Scope6: "scope-6"})
	b := setupIn(t, sc)
	project := b.ProjectID("astro")
	row := func(id string, fields obj) obj {
		fields["id"], fields["project_id"], fields["tenant_id"], fields["admin_state_up"] = id, project, project, true
		return fields
	}
	ports := b.PortIDs("cache-1")
	b.Extend("trunks", row("trunk-1", obj{"port_id": ports[0], "sub_ports": []any{obj{"port_id": "sub-1", "segmentation_id": 7, "segmentation_type": "vlan"}}}), row("trunk-2", obj{"port_id": "p", "sub_ports": []any{}}))
	b.Extend("rbac-policies", row("rbac-1", obj{"object_type": "security_group", "object_id": b.GroupID("astro", "default"), "action": "access_as_shared", "target_tenant": "*"}))
	for i := range 9 {
		b.Extend("rbac-policies", row(fmt.Sprint("rbac-of-network-", i), obj{"object_type": "network", "object_id": "n", "action": "access_as_shared", "target_tenant": project}))
	}
	for i := range 5 {
		b.Extend("default-security-group-rules", row(fmt.Sprint("template-", i), obj{"direction": "ingress", "ethertype": "IPv4", "protocol": nil, "port_range_min": nil, "port_range_max": nil, "remote_ip_prefix": nil,
			"remote_group_id": "PARENT", "remote_address_group_id": nil, "used_in_default_sg": true, "used_in_non_default_sg": false}))
	}
	b.Extend("lbaas/loadbalancers", row("lb-1", obj{"name": "front", "provider": "amphora", "vip_address": "10.0.0.77", "vip_port_id": "vip"}), row("lb-2", obj{"name": "young", "provider": "ovn", "vip_address": nil, "vip_port_id": nil}))
	b.Extend("lbaas/listeners", row("listener-1", obj{"protocol": "TERMINATED_HTTPS", "protocol_port": 443, "allowed_cidrs": []any{"192.0.2.0/24"}, "loadbalancers": []any{obj{"id": "lb-1"}}}),
		row("listener-2", obj{"protocol": "UDP", "protocol_port": 53, "allowed_cidrs": nil, "loadbalancers": []any{obj{"id": "lb-1"}}}))
	b.Extend("fwaas/firewall_groups", row("fw-1", obj{"name": "edge", "ports": []any{ports[0]}, "ingress_firewall_policy_id": "policy-1"}), row("fw-2", obj{"name": "shut", "ports": []any{}, "ingress_firewall_policy_id": nil}))
	b.Extend("fwaas/firewall_policies", row("policy-1", obj{"firewall_rules": []any{"wall-2", "wall-1", "wall-3"}}))
	wall := obj{"enabled": true, "action": "allow", "protocol": "tcp", "ip_version": 4, "source_ip_address": "192.0.2.0/24", "destination_ip_address": nil, "source_port": "1024:65535", "destination_port": "80:90", "source_firewall_group_id": nil, "destination_firewall_group_id": nil}
	b.Extend("fwaas/firewall_rules", row("wall-1", wall), row("wall-2", obj{"enabled": false, "action": "DENY", "protocol": nil, "ip_version": 6, "source_ip_address": nil, "destination_ip_address": "2001:db8::1", "destination_port": nil}),
		row("wall-3", obj{"enabled": true, "action": "deny", "protocol": "udp", "ip_version": 4, "source_port": "53"}))
	b.Extend("vpn/ipsec-site-connections", row("vpn-1", obj{"vpnservice_id": "vpn-service", "peer_cidrs": []any{"192.168.7.0/24"}, "peer_ep_group_id": nil, "psk": "hunter2-hunter2"}),
		row("vpn-2", obj{"vpnservice_id": "vpn-service", "peer_cidrs": []any{}, "peer_ep_group_id": "peers-1", "psk": "hunter2-hunter2"}))
	b.Extend("vpn/vpnservices", row("vpn-service", obj{"router_id": "router-9"}))
	b.Extend("vpn/endpoint-groups", row("peers-1", obj{"type": "cidr", "endpoints": []any{"192.168.8.0/24", "2001:db8:8::/48"}}))
	b.Extend("bgp-speakers", obj{"id": "speaker-1", "project_id": "net-team", "tenant_id": "net-team", "ip_version": 4})
	hop := b.snap(t).Routers[0].ExternalIPs[0].String()
	b.Extend("bgp-speakers/speaker-1/get_advertised_routes", obj{"destination": "198.51.100.0/28", "next_hop": hop}, obj{"destination": "198.51.100.16/28", "next_hop": hop}, obj{"destination": "198.51.100.32/28", "next_hop": "203.0.113.250"})
	return b.again(t)
}

// again connects once more, for the catalog is read then.
func (b bundle) again(t *testing.T) bundle {
	t.Helper()
	c, err := openstack.Connect(t.Context(), openstack.Config{Cloud: "lab", AuthURL: b.AuthURL(), Username: lab.DemoUser, Password: lab.DemoPassword, Project: lab.DemoProject, Region: b.Region(), PageSize: 4, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return bundle{b.World, c}
}

func TestEverythingThatDecidesAPathIsRead(t *testing.T) {
	b := everything(t)
	s := b.snap(t)
	if len(s.Gaps) > 0 {
		t.Fatalf("gaps %v", s.Gaps)
	}
	p := netip.MustParsePrefix
	project, port := asset.ProjectID(b.ProjectID("astro")), asset.PortID(b.PortIDs("cache-1")[0])
	same := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
		}
	}
	same("trunks", s.Trunks, []asset.Trunk{{ID: "trunk-1", Project: project, Port: port, AdminUp: true, SubPorts: []asset.PortID{"sub-1"}}, {ID: "trunk-2", Project: project, Port: "p", AdminUp: true}})
	if len(s.RBAC) != 10 || s.RBAC[9].Object != "n" || s.RBAC[9].Target != project {
		t.Errorf("grants %+v", s.RBAC)
	}
	same("rbac", s.RBAC[:1], []asset.RBAC{{ID: "rbac-1", Project: project, Type: "security_group", Object: b.GroupID("astro", "default"), Action: "access_as_shared", Target: "*"}})
	if len(s.DefaultRules) != 5 || !s.DefaultRules[0].InDefault || s.DefaultRules[0].InCustom || s.DefaultRules[4].RemoteGroup != "PARENT" || s.DefaultRules[4].PortMin != asset.AnyPort {
		t.Errorf("templates %+v", s.DefaultRules)
	}
	lb := s.LoadBalancers[0]
	same("listeners", lb.Listeners, []asset.Listener{{ID: "listener-1", Protocol: "TERMINATED_HTTPS", Port: 443, AdminUp: true, Allowed: []netip.Prefix{p("192.0.2.0/24")}}, {ID: "listener-2", Protocol: "UDP", Port: 53, AdminUp: true}})
	if lb.VIP.String() != "10.0.0.77" || lb.VIPPort != "vip" || lb.Provider != "amphora" || len(s.LoadBalancers) != 2 || s.LoadBalancers[1].VIP.IsValid() {
		t.Errorf("load balancers %+v", s.LoadBalancers)
	}
	same("firewall", s.Firewalls[0].Ingress, []asset.FirewallRule{{ID: "wall-2", Action: "deny", EtherType: 6, Destination: p("2001:db8::1/128"), PortMin: asset.AnyPort, PortMax: asset.AnyPort},
		{ID: "wall-1", Enabled: true, Action: "allow", Protocol: "tcp", EtherType: 4, Source: p("192.0.2.0/24"), PortMin: 80, PortMax: 90}})
	if len(s.Firewalls) != 2 || s.Firewalls[0].Ports[0] != port || s.Firewalls[1].Ingress != nil {
		t.Errorf("firewalls %+v", s.Firewalls)
	}
	router := s.Routers[0]
	same("links", s.Links, []asset.Link{
		{ID: "vpn-1", Kind: asset.LinkVPN, Project: project, Router: "router-9", Remote: []netip.Prefix{p("192.168.7.0/24")}, AdminUp: true},
		{ID: "vpn-2", Kind: asset.LinkVPN, Project: project, Router: "router-9", Remote: []netip.Prefix{p("192.168.8.0/24"), p("2001:db8:8::/48")}, AdminUp: true},
		{ID: "speaker-1 " + router.ExternalIPs[0].String(), Kind: asset.LinkBGP, Project: router.Project, Router: router.ID, NextHop: router.ExternalIPs[0], Remote: []netip.Prefix{p("198.51.100.0/28"), p("198.51.100.16/28")}, AdminUp: true},
		{ID: "speaker-1 203.0.113.250", Kind: asset.LinkBGP, Project: "net-team", NextHop: netip.MustParseAddr("203.0.113.250"), Remote: []netip.Prefix{p("198.51.100.32/28")}, AdminUp: true}})
	n := s.Networks[slices.IndexFunc(s.Networks, func(n asset.Network) bool { return n.Name.Raw() == "open" })]
	if !n.Unfiltered || n.Scope4 != "scope-4" || n.Scope6 != "scope-6" || slices.ContainsFunc(s.Networks, func(o asset.Network) bool { return o.ID != n.ID && (o.Unfiltered || o.Scope4 != "") }) {
		t.Errorf("networks %+v", s.Networks)
	}
	if !slices.ContainsFunc(s.Images, func(i asset.Image) bool { return i.Profile.Raw() == "web" }) {
		t.Errorf("images %+v", s.Images)
	}
	if i := slices.IndexFunc(s.Servers, func(v asset.Server) bool { return len(v.Tags) == 2 && v.Tags[0].Raw() == "demarc:web" }); i < 0 {
		t.Error("no server has its tags")
	}
	if strings.Contains(fmt.Sprintf("%+v", s), "hunter2") {
		t.Error("a shared secret was taken")
	}
}

func TestASharedGroupIsSharedAndForwardingsMayBeRanges(t *testing.T) {
	sc := lab.DemoScenario()
	sc.FloatingIPs = []lab.FloatingIP{{Addr: netip.MustParseAddr("127.77.3.9"), Project: "astro", Forwards: []lab.Forward{{External: 9090, Internal: 80, Server: "cache-1"}}}}
	b := setupIn(t, sc)
	if err := b.ShareGroup("astro", "default", true); err != nil {
		t.Fatal(err)
	}
	at := func() asset.FloatingIP {
		s := b.snap(t)
		i := slices.IndexFunc(s.FloatingIPs, func(f asset.FloatingIP) bool { return len(f.Forwardings) == 1 })
		if i < 0 || len(s.Gaps) > 0 {
			t.Fatalf("%+v, gaps %v", s.FloatingIPs, s.Gaps)
		}
		if g := asset.NewIndex(s).Groups[asset.GroupID(b.GroupID("astro", "default"))]; !g.Shared {
			t.Errorf("%+v", g)
		}
		return s.FloatingIPs[i]
	}
	f := at()
	id := f.Forwardings[0].ID
	for text, want := range map[string][4]uint16{"9000:9010 80:90": {9000, 9010, 80, 90}, "9000:9010 80": {9000, 9010, 80, 0}, "9000 80": {9000, 0, 80, 0}, "9000:9000 80:80": {9000, 0, 80, 0}} {
		ext, in, _ := strings.Cut(text, " ")
		b.Twist(id, func(r obj) {
			r["external_port"], r["internal_port"], r["external_port_range"], r["internal_port_range"] = nil, nil, ext, in
		})
		w := at().Forwardings[0]
		if got := [4]uint16{w.External, w.ExternalLast, w.Internal, w.InternalLast}; got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	for _, text := range []string{"9000:9010 80:91", "9010:9000 80", "0:5 80", "9000:70000 80", "a:b 80", "9000:9001:9002 80", " 80"} {
		ext, in, _ := strings.Cut(text, " ")
		b.Twist(id, func(r obj) {
			r["external_port"], r["internal_port"], r["external_port_range"], r["internal_port_range"] = nil, nil, ext, in
		})
		s := b.snap(t)
		if slices.ContainsFunc(s.FloatingIPs, func(o asset.FloatingIP) bool { return o.ID == f.ID }) || !named(s, "floating_ips", string(f.ID)) {
			t.Errorf("%s: gaps %v", text, s.Gaps)
		}
	}
}

// named tells whether a gap of the kind names the thing.
func named(s *asset.Snapshot, kind, id string) bool {
	return slices.ContainsFunc(s.Gaps, func(g asset.Gap) bool { return g.Kind == kind && strings.Contains(g.Reason, id) })
}

// A row that makes no sense is named by a gap and left out, whatever kind it is of; all others stay as they were.
func TestWhatIsNotUnderstoodIsAGapAndNeverGuessed(t *testing.T) {
	b := everything(t)
	truth := b.snap(t)
	x := asset.NewIndex(truth)
	cache := asset.ServerID(b.ServerID("cache-1"))
	port := x.PortsOf[cache][0]
	group := x.Groups[port.Groups[0]]
	set := func(key string, v any) func(obj) { return func(r obj) { r[key] = v } }
	for _, tc := range []struct {
		id     string
		change func(obj)
		kind   string
		gone   string // what is left out
	}{
		{string(group.Rules[0].ID), set("direction", "sideways"), "groups", string(group.ID)},
		{string(group.Rules[0].ID), set("remote_ip_prefix", "everywhere"), "groups", string(group.ID)},
		{string(group.Rules[0].ID), set("port_range_min", 70000), "groups", string(group.ID)},
		{string(group.ID), set("security_group_rules", nil), "groups", string(group.ID)},
		{string(group.ID), set("security_group_rules", "none"), "groups", string(group.ID)},
		{string(port.ID), set("security_groups", nil), "ports", string(port.ID)},
		{string(port.ID), set("admin_state_up", nil), "ports", string(port.ID)},
		{string(port.ID), set("allowed_address_pairs", []any{obj{"ip_address": "0.0.0.0/99"}}), "ports", string(port.ID)},
		{string(port.ID), set("fixed_ips", []any{obj{"ip_address": "10.0.0.256", "subnet_id": "s"}}), "ports", string(port.ID)},
		{string(port.ID), set("revision_number", "seven"), "ports", string(port.ID)},
		{string(cache), set("status", nil), "servers", string(cache)},
		{string(cache), set("tenant_id", 7), "servers", string(cache)},
		{string(cache), func(r obj) { clear(r); r["id"], r["status"], r["tenant_id"] = string(cache), "UNKNOWN", "p" }, "servers", string(cache)},
		{string(truth.Subnets[0].ID), set("cidr", "10.0.0.0/40"), "subnets", string(truth.Subnets[0].ID)},
		{string(truth.Routers[0].ID), set("routes", []any{obj{"destination": "10.9.0.0/16", "nexthop": "there"}}), "routers", string(truth.Routers[0].ID)},
		{string(truth.FloatingIPs[0].ID), set("floating_ip_address", nil), "floating_ips", string(truth.FloatingIPs[0].ID)},
		{"trunk-1", set("sub_ports", nil), "trunks", "trunk-1"},
		{"rbac-1", set("target_tenant", ""), "rbac", "rbac-1"},
		{"template-1", set("remote_ip_prefix", "10.0.0.0/-1"), "default_rules", "template-1"},
		{"template-1", set("used_in_default_sg", nil), "default_rules", "template-1"},
		{"listener-1", set("allowed_cidrs", []any{"any"}), "load_balancers", "lb-1"},
		{"listener-1", set("protocol_port", 65536), "load_balancers", "lb-1"},
		{"lb-1", set("vip_address", "front.example"), "load_balancers", "lb-1"},
		{"wall-1", set("action", "perhaps"), "firewalls", "fw-1"},
		{"wall-1", set("destination_port", "90:80"), "firewalls", "fw-1"},
		{"wall-1", set("protocol", "icmp"), "firewalls", "fw-1"},
		{"policy-1", set("firewall_rules", []any{"wall-1", "wall-9"}), "firewalls", "fw-1"},
		{"vpn-1", set("peer_cidrs", []any{"192.168.7.0/24", "lan"}), "links", "vpn-1"},
		{"peers-1", set("type", "subnet"), "links", "vpn-2"},
		{"vpn-service", set("router_id", nil), "links", "vpn-1"},
	} {
		b.Untwist()
		b.Twist(tc.id, tc.change)
		s := b.snap(t)
		if !slices.ContainsFunc(s.Gaps, func(g asset.Gap) bool {
			return g.Kind == tc.kind && strings.Contains(g.Reason, tc.id) || strings.Contains(g.Reason, tc.gone)
		}) {
			t.Errorf("%s %s: gaps %v", tc.kind, tc.id, s.Gaps)
		}
		for _, g := range s.Gaps {
			if g.Kind != tc.kind {
				t.Errorf("%s %s: it is not a gap of another kind: %v", tc.kind, tc.id, g)
			}
		}
		had, has := ids(truth), ids(s)
		for id := range had {
			if lost := !has[id]; lost != (id == tc.gone) && !(tc.id == "vpn-service" && id == "vpn-2") && !(tc.id == "lb-1" && id == "lb-1") {
				t.Errorf("%s %s: %s is there: %v", tc.kind, tc.id, id, !lost)
			}
		}
	}
}

// A rule that names a firewall group is no gap: any tenant may write one. It is read, and marked.
func TestAFirewallRuleMayNameAFirewallGroup(t *testing.T) {
	b := everything(t)
	for _, key := range []string{"source_firewall_group_id", "destination_firewall_group_id"} {
		b.Untwist()
		b.Twist("wall-1", func(r obj) { r[key] = "fw-2" })
		s := b.snap(t)
		if !s.Complete() || len(s.Firewalls) != 2 {
			t.Fatalf("%s: gaps %v, firewalls %+v", key, s.Gaps, s.Firewalls)
		}
		for _, r := range s.Firewalls[0].Ingress {
			if r.Unclear != (r.ID == "wall-1") {
				t.Errorf("%s: %+v", key, r)
			}
		}
	}
}

// ids are the identities that a row may be left out by.
func ids(s *asset.Snapshot) map[string]bool {
	out := map[string]bool{}
	v := reflect.ValueOf(*s)
	for i := range v.NumField() {
		for j := 0; v.Field(i).Kind() == reflect.Slice && j < v.Field(i).Len(); j++ {
			if id := v.Field(i).Index(j).FieldByName("ID"); id.IsValid() {
				out[id.String()] = true
			}
		}
	}
	return out
}

// What is off has none of it; what is on and does not answer is a gap of its kind.
func TestExtensionsThatAreOffHaveNone(t *testing.T) {
	if s := setup(t).snap(t); len(s.Gaps)+len(s.Trunks)+len(s.RBAC)+len(s.DefaultRules)+len(s.LoadBalancers)+len(s.Firewalls)+len(s.Links) > 0 {
		t.Errorf("%+v", s.Gaps)
	}
	b := everything(t)
	for path, kind := range map[string]string{"networking/v2.0/trunks": "trunks", "networking/v2.0/rbac-policies": "rbac", "networking/v2.0/default-security-group-rules": "default_rules", "load-balancer/v2/lbaas/loadbalancers": "load_balancers",
		"load-balancer/v2/lbaas/listeners": "load_balancers", "networking/v2.0/fwaas/firewall_rules": "firewalls", "networking/v2.0/vpn/vpnservices": "links", "networking/v2.0/bgp-speakers/speaker-1/get_advertised_routes": "links"} {
		for _, status := range []int{403, 500} {
			b.Plan(lab.Fault{Kind: lab.Answer, Status: status, Path: "/" + path, Times: -1})
			s := b.snap(t)
			if len(s.Gaps) == 0 || slices.ContainsFunc(s.Gaps, func(g asset.Gap) bool { return g.Kind != kind }) {
				t.Errorf("%s %d: %v", path, status, s.Gaps)
			}
			for _, lb := range s.LoadBalancers {
				if kind == "load_balancers" && len(lb.Listeners) == 0 {
					t.Errorf("%s %d: a load balancer seems to listen nowhere: %+v", path, status, lb)
				}
			}
			for _, l := range s.Links {
				if kind == "links" && len(l.Remote) == 0 {
					t.Errorf("%s %d: a link seems to lead nowhere: %+v", path, status, l)
				}
			}
			b.ClearFaults()
		}
	}
}
