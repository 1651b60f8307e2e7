package openstack

import (
	"encoding/json"
	"fmt"
	"strings"

	"demarc/internal/asset"
	"demarc/internal/untrusted"
)

// What few clouds have: trunks, load balancers, firewalls, links and templates. Source: the API references of Neutron, its
// extensions FWaaS v2, VPNaaS and dynamic routing, and Octavia.

type wireTrunk struct {
	ID        string
	ProjectID string `json:"project_id"`
	PortID    string `json:"port_id"`
	AdminUp   *bool  `json:"admin_state_up"`
	SubPorts  *[]struct {
		PortID string `json:"port_id"`
	} `json:"sub_ports"`
}

func (w wireTrunk) asset() (asset.Trunk, error) {
	var k strict
	t := asset.Trunk{ID: asset.TrunkID(w.ID), Project: asset.ProjectID(w.ProjectID), Port: asset.PortID(k.some("port_id", w.PortID)), AdminUp: k.flag("admin_state_up", w.AdminUp)}
	if w.SubPorts == nil {
		k.odd("sub_ports", "null")
		return understood(&k, t)
	}
	for _, p := range *w.SubPorts {
		t.SubPorts = append(t.SubPorts, asset.PortID(k.some("sub_ports", p.PortID)))
	}
	return understood(&k, t)
}

type wireRBAC struct {
	ID        string
	ProjectID string `json:"project_id"`
	Type      string `json:"object_type"`
	Object    string `json:"object_id"`
	Action    string
	Target    string `json:"target_tenant"`
}

func (w wireRBAC) asset() (asset.RBAC, error) {
	var k strict
	return understood(&k, asset.RBAC{ID: asset.RBACID(w.ID), Project: asset.ProjectID(w.ProjectID), Type: k.some("object_type", w.Type), Object: k.some("object_id", w.Object),
		Action: k.some("action", w.Action), Target: asset.ProjectID(k.some("target_tenant", w.Target))})
}

// wireDefaultRule is a template. Its remote group may be PARENT: the group that the rule is copied into.
type wireDefaultRule struct {
	wireRule
	InDefault *bool `json:"used_in_default_sg"`
	InCustom  *bool `json:"used_in_non_default_sg"`
}

func (w wireDefaultRule) asset() (asset.DefaultRule, error) {
	var k strict
	r, err := w.wireRule.asset()
	if err != nil {
		return asset.DefaultRule{}, err
	}
	return understood(&k, asset.DefaultRule{Rule: r, InDefault: k.flag("used_in_default_sg", w.InDefault), InCustom: k.flag("used_in_non_default_sg", w.InCustom)})
}

// wireBalancer is a load balancer. Its address is null until Octavia has one.
type wireBalancer struct {
	ID, Name, Provider string
	ProjectID          string  `json:"project_id"`
	AdminUp            *bool   `json:"admin_state_up"`
	VIP                *string `json:"vip_address"`
	VIPPort            *string `json:"vip_port_id"`
}

func (w wireBalancer) asset() (asset.LoadBalancer, error) {
	var k strict
	return understood(&k, asset.LoadBalancer{ID: asset.LoadBalancerID(w.ID), Project: asset.ProjectID(w.ProjectID), Name: untrusted.From(w.Name), Provider: w.Provider,
		AdminUp: k.flag("admin_state_up", w.AdminUp), VIP: k.addrOrNone("vip_address", w.VIP), VIPPort: asset.PortID(orEmpty(w.VIPPort))})
}

type wireListener struct {
	ID            string
	Protocol      string
	Port          int      `json:"protocol_port"`
	AdminUp       *bool    `json:"admin_state_up"`
	Allowed       []string `json:"allowed_cidrs"` // null: anybody
	LoadBalancers []struct{ ID string }
}

func (w wireListener) asset() (asset.Listener, error) {
	var k strict
	return understood(&k, asset.Listener{ID: w.ID, Protocol: k.oneOf("protocol", strings.ToUpper(w.Protocol), "TCP", "UDP", "HTTP", "HTTPS", "TERMINATED_HTTPS", "SCTP", "PROMETHEUS"),
		Port: k.port("protocol_port", w.Port), AdminUp: k.flag("admin_state_up", w.AdminUp), Allowed: k.prefixes("allowed_cidrs", w.Allowed)})
}

type wireFirewall struct {
	ID, Name  string
	ProjectID string `json:"project_id"`
	AdminUp   *bool  `json:"admin_state_up"`
	Ports     []string
	Ingress   *string `json:"ingress_firewall_policy_id"`
}

func (w wireFirewall) asset() (asset.Firewall, error) {
	var k strict
	f := asset.Firewall{ID: asset.FirewallID(w.ID), Project: asset.ProjectID(w.ProjectID), Name: untrusted.From(w.Name), AdminUp: k.flag("admin_state_up", w.AdminUp)}
	for _, p := range w.Ports {
		f.Ports = append(f.Ports, asset.PortID(p))
	}
	return understood(&k, f)
}

type wireFirewallPolicy struct {
	ID    string
	Rules *[]string `json:"firewall_rules"` // in their order
}

type wireFirewallRule struct {
	ID          string
	Enabled     *bool
	Action      string
	Protocol    json.RawMessage
	Family      int     `json:"ip_version"`
	Source      *string `json:"source_ip_address"`
	Destination *string `json:"destination_ip_address"`
	SourcePort  *string `json:"source_port"`
	Port        *string `json:"destination_port"`
	SourceGroup *string `json:"source_firewall_group_id"`
	DestGroup   *string `json:"destination_firewall_group_id"`
}

// asset reads a rule. Who asks chooses the port they ask from: what is allowed from some ports is open to whoever uses them, and
// what is denied from some ports is not denied. So a source port does not narrow what is allowed, and a denial by it is none,
// which the second result says. Who is in a firewall group that a rule names is not worked out: the rule is taken and marked, for a
// tenant may write such a rule, and it is no reason to doubt the listing.
func (w wireFirewallRule) asset() (asset.FirewallRule, bool, error) {
	var k strict
	r := asset.FirewallRule{ID: w.ID, Enabled: k.flag("enabled", w.Enabled), Action: k.oneOf("action", strings.ToLower(w.Action), "allow", "deny", "reject"), Protocol: k.protocol("protocol", w.Protocol),
		EtherType: w.Family, PortMin: asset.AnyPort, PortMax: asset.AnyPort}
	if w.Family != 4 && w.Family != 6 {
		k.odd("ip_version", itoa(w.Family))
	}
	if w.Source != nil {
		r.Source = k.fits("source_ip_address", k.prefix("source_ip_address", *w.Source), w.Family)
	}
	if w.Destination != nil {
		r.Destination = k.fits("destination_ip_address", k.prefix("destination_ip_address", *w.Destination), w.Family)
	}
	if w.Port != nil {
		first, last := k.portRange("destination_port", *w.Port)
		r.PortMin, r.PortMax = int(first), int(last)
		if !asset.HasPorts(r.Protocol) { // FWaaS refuses it; read as it stands, it would be about more than it says
			k.odd("destination_port", *w.Port)
		}
	}
	r.Unclear = orEmpty(w.SourceGroup)+orEmpty(w.DestGroup) != ""
	r, err := understood(&k, r)
	return r, orEmpty(w.SourcePort) != "" && r.Action != "allow", err
}

// wireVPN is an IPsec connection. Its shared secret is never read.
type wireVPN struct {
	ID        string
	ProjectID string   `json:"project_id"`
	Service   string   `json:"vpnservice_id"`
	PeerCIDRs []string `json:"peer_cidrs"`
	PeerGroup *string  `json:"peer_ep_group_id"`
	AdminUp   *bool    `json:"admin_state_up"`
}

type wireVPNService struct {
	ID      string
	Router  string `json:"router_id"`
	AdminUp *bool  `json:"admin_state_up"`
}

type wireEndpoints struct {
	ID        string
	Type      string
	Endpoints []string
}

// asset joins a connection with its service and, in the newer way of writing, the group of its peers' prefixes.
func (w wireVPN) asset(services map[string]wireVPNService, groups map[string]wireEndpoints) (asset.Link, error) {
	var k strict
	l := asset.Link{ID: w.ID, Kind: asset.LinkVPN, Project: asset.ProjectID(w.ProjectID), AdminUp: k.flag("admin_state_up", w.AdminUp), Remote: k.prefixes("peer_cidrs", w.PeerCIDRs)}
	s, ok := services[w.Service]
	if !ok {
		return l, fmt.Errorf("its service %s was not listed", named(w.Service))
	}
	l.Router, l.AdminUp = asset.RouterID(k.some("router_id", s.Router)), l.AdminUp && k.flag("admin_state_up", s.AdminUp)
	if id := orEmpty(w.PeerGroup); id != "" {
		g, ok := groups[id]
		if !ok {
			return l, fmt.Errorf("its group of peers %s was not listed", named(id))
		}
		k.oneOf("type of peers", g.Type, "cidr")
		l.Remote = append(l.Remote, k.prefixes("endpoints", g.Endpoints)...)
	}
	return understood(&k, l)
}

type wireSpeaker struct {
	ID        string
	ProjectID string `json:"project_id"`
}

type wireRoute struct {
	Destination string
	NextHop     string `json:"next_hop"`
}
