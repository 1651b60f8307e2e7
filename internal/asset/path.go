package asset

import (
	"net/netip"

	"demarc/internal/untrusted"
)

// The identifiers of what further opens, narrows or leads on a path.
type (
	TrunkID        string
	LoadBalancerID string
	FirewallID     string
	RBACID         string
	AddressScopeID string
)

// Trunk carries further ports of a machine over one of its ports, told apart by VLAN. Each subport has addresses and groups of
// its own. One that is set down refuses changes of its subports; that their traffic stops is not said. Source: Neutron API reference, trunk networking.
type Trunk struct {
	ID       TrunkID   `json:"id"`
	Project  ProjectID `json:"project"`
	Port     PortID    `json:"port"`
	AdminUp  bool      `json:"admin_up"`
	SubPorts []PortID  `json:"sub_ports,omitempty"`
}

// Listener is one port at which a load balancer takes connections. Protocol is Octavia's word: TCP, UDP, HTTP, HTTPS,
// TERMINATED_HTTPS, SCTP, PROMETHEUS. With no allowed prefix, anybody is let in.
type Listener struct {
	ID       string         `json:"id"`
	Protocol string         `json:"protocol"`
	Port     uint16         `json:"port"`
	AdminUp  bool           `json:"admin_up"`
	Allowed  []netip.Prefix `json:"allowed,omitempty"`
}

// LoadBalancer answers at an address of its own, whose port belongs to the service. Source: Octavia API reference.
type LoadBalancer struct {
	ID        LoadBalancerID `json:"id"`
	Project   ProjectID      `json:"project"`
	Name      untrusted.Text `json:"name"`
	Provider  string         `json:"provider,omitempty"` // amphora, ovn, …
	AdminUp   bool           `json:"admin_up"`
	VIP       netip.Addr     `json:"vip"`
	VIPPort   PortID         `json:"vip_port"`
	Listeners []Listener     `json:"listeners,omitempty"`
}

// FirewallRule is one rule of a firewall policy. Rules are asked in order; the first that fits decides.
type FirewallRule struct {
	ID          string       `json:"id"`
	Enabled     bool         `json:"enabled"`
	Action      string       `json:"action"`             // allow, deny, reject
	Protocol    string       `json:"protocol,omitempty"` // tcp, udp, icmp; "" is any
	EtherType   int          `json:"ether_type"`         // 4 or 6
	Source      netip.Prefix `json:"source,omitzero"`
	Destination netip.Prefix `json:"destination,omitzero"`
	PortMin     int          `json:"port_min"` // of the destination; AnyPort is any
	PortMax     int          `json:"port_max"`
	Unclear     bool         `json:"unclear,omitempty"` // it also asks what is not modelled, such as the firewall group of a sender
}

// Firewall is a firewall group with the rules of its ingress policy, in their order. What fits no rule is dropped. Ports are those
// of machines and of routers. Source: Neutron API reference, FWaaS v2.
type Firewall struct {
	ID      FirewallID     `json:"id"`
	Project ProjectID      `json:"project"`
	Name    untrusted.Text `json:"name"`
	AdminUp bool           `json:"admin_up"`
	Ports   []PortID       `json:"ports,omitempty"`
	Ingress []FirewallRule `json:"ingress,omitempty"`
}

// Link leads to addresses that no port of the cloud holds: what lies behind a tenant's VPN, or what a BGP speaker announces.
type Link struct {
	ID      string         `json:"id"`
	Kind    string         `json:"kind"` // vpn, bgp
	Project ProjectID      `json:"project"`
	Router  RouterID       `json:"router,omitempty"`
	NextHop netip.Addr     `json:"next_hop,omitzero"` // bgp: the router's address that the announcement names
	Remote  []netip.Prefix `json:"remote,omitempty"`
	AdminUp bool           `json:"admin_up"`
}

// The kinds of links.
const (
	LinkVPN = "vpn"
	LinkBGP = "bgp"
)

// RBAC is one grant by which an object of one project is used in another. It tells whose external networks are the provider's; else no
// judgement reads it: reach asks where an object is used, not who granted it. Source: Neutron API reference, RBAC policies.
type RBAC struct {
	ID      RBACID    `json:"id"`
	Project ProjectID `json:"project"`
	Type    string    `json:"type"` // network, security_group, address_group, address_scope, subnetpool, qos_policy
	Object  string    `json:"object"`
	Action  string    `json:"action"` // access_as_shared, access_as_external
	Target  ProjectID `json:"target"` // * is every project
}

// DefaultRule is one rule that Neutron puts into every new group. Source: Neutron API reference, default security group rules.
type DefaultRule struct {
	Rule
	InDefault bool `json:"in_default,omitempty"` // of each project's own group default
	InCustom  bool `json:"in_custom,omitempty"`  // of groups that tenants make
}
