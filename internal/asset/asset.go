// Package asset says what the clouds hold and whose it is at which time.
//
// Identity is a UUID. An address is never an identity: it is attributed through a Binding, which
// knows from when to when a port held it. Names were chosen by tenants, so they are untrusted.
package asset

import (
	"net/netip"
	"slices"

	"demarc/internal/untrusted"
)

// The identifiers of a cloud's objects. They have types of their own so that a server can not be
// taken for a port where it matters most.
type (
	ProjectID    string
	UserID       string
	ServerID     string
	PortID       string
	FloatingIPID string
	NetworkID    string
	SubnetID     string
	RouterID     string
	GroupID      string
	RuleID       string
	AddressGroup string
	ImageID      string
	DomainID     string
	VolumeID     string
)

// Project owns servers, ports, groups and floating IPs.
type Project struct {
	ID      ProjectID      `json:"id"`
	Name    untrusted.Text `json:"name"`
	Domain  DomainID       `json:"domain,omitempty"`
	Enabled bool           `json:"enabled"`
	Tags    []string       `json:"tags,omitempty"`
}

// User is an account of the cloud's identity service.
type User struct {
	ID      UserID         `json:"id"`
	Name    untrusted.Text `json:"name"`
	Mail    string         `json:"mail,omitempty"` // as the identity service holds it; checked before use
	Enabled bool           `json:"enabled"`
}

// Grant is one user's role on one project.
type Grant struct {
	User    UserID    `json:"user"`
	Project ProjectID `json:"project"`
	Role    string    `json:"role"` // admin, manager, member, reader, …
}

// Image is what a server was built from.
type Image struct {
	ID        ImageID        `json:"id"`
	Project   ProjectID      `json:"project,omitempty"` // Glance's owner; "" where it names none
	Name      untrusted.Text `json:"name"`
	OSDistro  string         `json:"os_distro,omitempty"`  // Glance property os_distro
	OSVersion string         `json:"os_version,omitempty"` // Glance property os_version
	Profile   untrusted.Text `json:"profile,omitzero"`     // Glance property demarc_profile or demarc:profile: the exposure profile of what is built from it
}

// Server is a virtual machine. Status is Nova's: ACTIVE, SHUTOFF, SUSPENDED, …
type Server struct {
	ID           ServerID                  `json:"id"`
	Project      ProjectID                 `json:"project"`
	Creator      UserID                    `json:"creator,omitempty"`
	Name         untrusted.Text            `json:"name"`
	Status       string                    `json:"status"`
	Image        ImageID                   `json:"image,omitempty"`
	Created      int64                     `json:"created,omitempty"` // µs
	Locked       bool                      `json:"locked,omitempty"`
	LockedReason untrusted.Text            `json:"locked_reason,omitzero"`
	Metadata     map[string]untrusted.Text `json:"metadata,omitempty"`
	Tags         []untrusted.Text          `json:"tags,omitempty"`
	Volumes      []VolumeID                `json:"volumes,omitempty"` // that are attached, sorted
}

// off lists Nova's states in which a server does not run. In all others it may: also while it is resized, rescued or migrated.
var off = []string{"SHUTOFF", "SUSPENDED", "PAUSED", "SHELVED", "SHELVED_OFFLOADED", "DELETED", "SOFT_DELETED", "BUILD"}

// Active tells whether the server runs, so that its ports may answer.
func (s Server) Active() bool { return !slices.Contains(off, s.Status) }

// ServerAction is one entry of the cloud's memory of what was done to a server (Nova: os-instance-actions).
type ServerAction struct {
	Request string `json:"request"` // the request id, which tells two entries apart
	Action  string `json:"action"`  // stop, start, lock, unlock, …
	User    UserID `json:"user"`
	Ours    bool   `json:"ours"` // by the account that asks
	At      int64  `json:"at"`   // µs, by the cloud's clock
}

// FixedIP is one address of a port.
type FixedIP struct {
	Subnet SubnetID   `json:"subnet"`
	Addr   netip.Addr `json:"addr"`
}

// AddressPair is a further address a port may answer for (Neutron: allowed_address_pairs).
type AddressPair struct {
	Prefix netip.Prefix `json:"prefix"`
	MAC    string       `json:"mac,omitempty"`
}

// Port is a virtual NIC. An empty group list with port security on admits nothing; port security off
// admits everything.
type Port struct {
	ID           PortID        `json:"id"`
	Project      ProjectID     `json:"project"`
	Network      NetworkID     `json:"network"`
	Server       ServerID      `json:"server,omitempty"` // only where DeviceOwner is compute:*
	Device       string        `json:"device,omitempty"` // Neutron's device_id, whatever the owner
	DeviceOwner  string        `json:"device_owner,omitempty"`
	MAC          string        `json:"mac,omitempty"`
	FixedIPs     []FixedIP     `json:"fixed_ips,omitempty"`
	Groups       []GroupID     `json:"groups,omitempty"`
	PortSecurity bool          `json:"port_security"`
	AdminUp      bool          `json:"admin_up"`
	Status       string        `json:"status,omitempty"` // ACTIVE, DOWN, BUILD
	Pairs        []AddressPair `json:"pairs,omitempty"`
	Unbound      bool          `json:"unbound,omitempty"`   // the cloud shows that it is bound to no host: nothing can send from it
	VNICType     string        `json:"vnic_type,omitempty"` // normal, direct, macvtap, …
	Driver       string        `json:"driver,omitempty"`    // what enforces its groups: one of the Driver constants, or another's name; "": unknown
	Tags         []string      `json:"tags,omitempty"`
	Revision     int           `json:"revision"` // Neutron's revision_number
}

// The drivers of Neutron that are told apart by what they enforce.
const (
	DriverOVN    = "ovn"
	DriverOVS    = "openvswitch"     // the Open vSwitch agent with its own firewall
	DriverHybrid = "iptables_hybrid" // the Open vSwitch agent with iptables
)

// IgnoresStateless tells whether the driver of a port treats a stateless group as a stateful one, or may: openvswitch does, and of a driver that
// is not known nothing else can be said. Measured on Neutron 26 (2025.1).
func (p *Port) IgnoresStateless() bool { return p.Driver != DriverOVN && p.Driver != DriverHybrid }

// Forwarding is one port forwarding of a floating IP. Ranges are of the same length on both sides, or several external ports lead to one
// internal port; a last port of 0 is the first.
type Forwarding struct {
	ID           string     `json:"id"`
	Protocol     string     `json:"protocol"`
	External     uint16     `json:"external"`
	ExternalLast uint16     `json:"external_last,omitempty"`
	Port         PortID     `json:"port"`
	InternalAddr netip.Addr `json:"internal_addr"`
	Internal     uint16     `json:"internal"`
	InternalLast uint16     `json:"internal_last,omitempty"`
}

// FloatingIP is a routable address translated to a port's fixed address. With forwardings, Port is empty.
type FloatingIP struct {
	ID          FloatingIPID `json:"id"`
	Project     ProjectID    `json:"project"`
	Network     NetworkID    `json:"network"`
	Addr        netip.Addr   `json:"addr"`
	Port        PortID       `json:"port,omitempty"`
	Fixed       netip.Addr   `json:"fixed,omitzero"`
	Router      RouterID     `json:"router,omitempty"`
	Status      string       `json:"status,omitempty"`
	Forwardings []Forwarding `json:"forwardings,omitempty"`
	Revision    int          `json:"revision"`
}

// Network is a layer-2 segment. External networks reach beyond the cloud. Between networks of one address scope routers do not
// translate, and between those of two they do not route.
type Network struct {
	ID         NetworkID      `json:"id"`
	Project    ProjectID      `json:"project"`
	Name       untrusted.Text `json:"name"`
	External   bool           `json:"external,omitempty"`
	Shared     bool           `json:"shared,omitempty"`
	Unfiltered bool           `json:"unfiltered,omitempty"` // new ports of it have port security off
	Scope4     AddressScopeID `json:"scope4,omitempty"`
	Scope6     AddressScopeID `json:"scope6,omitempty"`
}

// AddressScope is the address scope of a network in a family, "" where it has none or is not known.
func (n *Network) AddressScope(six bool) AddressScopeID {
	switch {
	case n == nil:
		return ""
	case six:
		return n.Scope6
	}
	return n.Scope4
}

// SharesScope tells whether two networks are of one address scope of a family, so that a router does not translate between them.
func (n *Network) SharesScope(other *Network, six bool) bool {
	return n.AddressScope(six) != "" && n.AddressScope(six) == other.AddressScope(six)
}

// Subnet is an address range on a network.
type Subnet struct {
	ID      SubnetID     `json:"id"`
	Network NetworkID    `json:"network"`
	Project ProjectID    `json:"project"`
	CIDR    netip.Prefix `json:"cidr"`
	Gateway netip.Addr   `json:"gateway,omitzero"`
}

// Router joins subnets to each other and to an external network. Its inside legs are ports whose
// DeviceOwner is network:router_interface and whose Device is the router's id.
type Router struct {
	ID          RouterID       `json:"id"`
	Project     ProjectID      `json:"project"`
	Name        untrusted.Text `json:"name"`
	AdminUp     bool           `json:"admin_up"`
	External    NetworkID      `json:"external,omitempty"` // network of the gateway, if any
	ExternalIPs []netip.Addr   `json:"external_ips,omitempty"`
	SNAT        bool           `json:"snat,omitempty"`
	Routes      []Route        `json:"routes,omitempty"`
}

// Route is an extra route of a router.
type Route struct {
	Destination netip.Prefix `json:"destination"`
	NextHop     netip.Addr   `json:"next_hop"`
}

// Direction is a rule's direction as seen from the server.
type Direction string

const (
	Ingress Direction = "ingress"
	Egress  Direction = "egress"
)

// AnyPort stands in Rule.PortMin and PortMax for "not given".
const AnyPort = -1

// Rule admits traffic; there are no rules that deny. Protocol "" is every protocol, PortMin AnyPort every
// port; for ICMP, PortMin is the type and PortMax the code. A rule with no remote admits any address of
// its ether type. Source: Neutron API reference, security group rules.
type Rule struct {
	ID            RuleID       `json:"id"`
	Group         GroupID      `json:"group"`
	Direction     Direction    `json:"direction"`
	EtherType     int          `json:"ether_type"`         // 4 or 6
	Protocol      string       `json:"protocol,omitempty"` // tcp, udp, icmp, ipv6-icmp, a number, or ""
	PortMin       int          `json:"port_min"`
	PortMax       int          `json:"port_max"`
	RemotePrefix  netip.Prefix `json:"remote_prefix,omitzero"`
	RemoteGroup   GroupID      `json:"remote_group,omitempty"`
	RemoteAddress AddressGroup `json:"remote_address_group,omitempty"`
}

// Group is a security group.
type Group struct {
	ID        GroupID        `json:"id"`
	Project   ProjectID      `json:"project"`
	Name      untrusted.Text `json:"name"`
	Stateless bool           `json:"stateless,omitempty"` // answers need an egress rule of their own
	Shared    bool           `json:"shared,omitempty"`    // other projects may use it
	Rules     []Rule         `json:"rules,omitempty"`
	Revision  int            `json:"revision"`
}

// AddressSet is a Neutron address group: prefixes a rule can name as its remote.
type AddressSet struct {
	ID       AddressGroup   `json:"id"`
	Project  ProjectID      `json:"project"`
	Prefixes []netip.Prefix `json:"prefixes,omitempty"`
}
