package openstack

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"demarc/internal/asset"
	"demarc/internal/untrusted"
)

// The wire types take what the services write, null and missing kept apart where it matters.

type wireProject struct {
	ID, Name string
	DomainID string `json:"domain_id"`
	Enabled  bool
	Tags     []string
}

func (w wireProject) asset() asset.Project {
	return asset.Project{ID: asset.ProjectID(w.ID), Name: untrusted.From(w.Name), Domain: asset.DomainID(w.DomainID), Enabled: w.Enabled, Tags: w.Tags}
}

type wireUser struct {
	ID, Name, Email string
	DomainID        string `json:"domain_id"`
	Enabled         bool
}

func (w wireUser) asset() asset.User {
	return asset.User{ID: asset.UserID(w.ID), Name: untrusted.From(w.Name), Mail: w.Email, Enabled: w.Enabled}
}

type wireGrant struct {
	Role  struct{ ID, Name string }
	User  struct{ ID string }
	Scope struct{ Project struct{ ID string } }
}

func (w wireGrant) asset() (asset.Grant, bool) {
	role := w.Role.Name
	if role == "" {
		role = w.Role.ID
	}
	return asset.Grant{User: asset.UserID(w.User.ID), Project: asset.ProjectID(w.Scope.Project.ID), Role: role}, w.User.ID != "" && w.Scope.Project.ID != ""
}

type wireImage struct {
	ID, Name  string
	Owner     string // of a project; null where there is none
	OSDistro  string `json:"os_distro"`
	OSVersion string `json:"os_version"`
	Profile   string `json:"demarc_profile"`
	Colon     string `json:"demarc:profile"` // the same, as it is written in the metadata of a server
}

func (w wireImage) asset() asset.Image {
	return asset.Image{ID: asset.ImageID(w.ID), Project: asset.ProjectID(w.Owner), Name: untrusted.From(w.Name), OSDistro: w.OSDistro, OSVersion: w.OSVersion, Profile: untrusted.From(cmp.Or(w.Profile, w.Colon))}
}

type wireServer struct {
	ID, Name, Status string
	TenantID         string          `json:"tenant_id"`
	UserID           string          `json:"user_id"`
	Image            json.RawMessage // an object, or "" for a machine that boots from a volume
	Created, Updated string
	Locked           bool
	LockedReason     *string `json:"locked_reason"`
	Metadata         map[string]string
	Tags             []string
	Addresses        map[string][]struct {
		Addr string
		Type string `json:"OS-EXT-IPS:type"`
	}
	Volumes []struct{ ID string } `json:"os-extended-volumes:volumes_attached"`
}

// dark tells a row that Nova writes of a machine in a cell that is down: from microversion 2.69 on it has little but an id.
func (w wireServer) dark() bool { return w.Status == "UNKNOWN" && w.Name == "" }

func (w wireServer) asset() (asset.Server, error) {
	var k strict
	s := asset.Server{ID: asset.ServerID(w.ID), Project: asset.ProjectID(k.some("tenant_id", w.TenantID)), Creator: asset.UserID(w.UserID), Name: untrusted.From(w.Name),
		Status: k.some("status", w.Status), Created: micros(w.Created), Locked: w.Locked}
	var image struct{ ID string }
	if json.Unmarshal(w.Image, &image) == nil {
		s.Image = asset.ImageID(image.ID)
	}
	if w.LockedReason != nil {
		s.LockedReason = untrusted.From(*w.LockedReason)
	}
	for k, v := range w.Metadata {
		if s.Metadata == nil {
			s.Metadata = map[string]untrusted.Text{}
		}
		s.Metadata[k] = untrusted.From(v)
	}
	for _, t := range w.Tags {
		s.Tags = append(s.Tags, untrusted.From(t))
	}
	for _, v := range w.Volumes {
		s.Volumes = append(s.Volumes, asset.VolumeID(v.ID))
	}
	slices.Sort(s.Volumes)
	return understood(&k, s)
}

// micros reads the services' two ways of writing a time; 0 is "not known".
func micros(s string) int64 {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05.999999"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UnixMicro()
		}
	}
	return 0
}

type wireNetwork struct {
	ID, Name     string
	ProjectID    string `json:"project_id"`
	External     bool   `json:"router:external"`
	Shared       bool
	PortSecurity *bool   `json:"port_security_enabled"` // of new ports; missing where the extension is off: filtering is on
	Scope4       *string `json:"ipv4_address_scope"`
	Scope6       *string `json:"ipv6_address_scope"`
}

func (w wireNetwork) asset() asset.Network {
	return asset.Network{ID: asset.NetworkID(w.ID), Project: asset.ProjectID(w.ProjectID), Name: untrusted.From(w.Name), External: w.External, Shared: w.Shared,
		Unfiltered: w.PortSecurity != nil && !*w.PortSecurity, Scope4: asset.AddressScopeID(orEmpty(w.Scope4)), Scope6: asset.AddressScopeID(orEmpty(w.Scope6))}
}

type wireSubnet struct {
	ID, CIDR  string
	NetworkID string  `json:"network_id"`
	ProjectID string  `json:"project_id"`
	Gateway   *string `json:"gateway_ip"`
}

func (w wireSubnet) asset() (asset.Subnet, error) {
	var k strict
	return understood(&k, asset.Subnet{ID: asset.SubnetID(w.ID), Network: asset.NetworkID(k.some("network_id", w.NetworkID)), Project: asset.ProjectID(w.ProjectID),
		CIDR: k.prefix("cidr", w.CIDR), Gateway: k.addrOrNone("gateway_ip", w.Gateway)})
}

type wireFixed struct {
	SubnetID string `json:"subnet_id"`
	Addr     string `json:"ip_address"`
}

type wireRouter struct {
	ID, Name  string
	ProjectID string `json:"project_id"`
	AdminUp   *bool  `json:"admin_state_up"`
	Gateway   *struct {
		NetworkID string      `json:"network_id"`
		SNAT      *bool       `json:"enable_snat"`
		Fixed     []wireFixed `json:"external_fixed_ips"`
	} `json:"external_gateway_info"`
	Routes []struct{ Destination, Nexthop string }
}

func (w wireRouter) asset() (asset.Router, error) {
	var k strict
	r := asset.Router{ID: asset.RouterID(w.ID), Project: asset.ProjectID(w.ProjectID), Name: untrusted.From(w.Name), AdminUp: k.flag("admin_state_up", w.AdminUp)}
	if g := w.Gateway; g != nil {
		r.External = asset.NetworkID(g.NetworkID)
		r.SNAT = g.SNAT == nil || *g.SNAT
		for _, f := range g.Fixed {
			r.ExternalIPs = append(r.ExternalIPs, k.addr("external_fixed_ips", f.Addr))
		}
	}
	for _, route := range w.Routes {
		r.Routes = append(r.Routes, asset.Route{Destination: k.prefix("route", route.Destination), NextHop: k.addr("next hop", route.Nexthop)})
	}
	return understood(&k, r)
}

type wirePort struct {
	ID           string
	ProjectID    string      `json:"project_id"`
	NetworkID    string      `json:"network_id"`
	DeviceID     string      `json:"device_id"`
	DeviceOwner  string      `json:"device_owner"`
	MAC          string      `json:"mac_address"`
	Fixed        []wireFixed `json:"fixed_ips"`
	Groups       *[]string   `json:"security_groups"`
	PortSecurity *bool       `json:"port_security_enabled"` // missing where the extension is off: filtering is on
	AdminUp      *bool       `json:"admin_state_up"`
	Status       string
	Pairs        []struct {
		Addr string `json:"ip_address"`
		MAC  string `json:"mac_address"`
	} `json:"allowed_address_pairs"`
	VNICType string          `json:"binding:vnic_type"`
	VIFType  string          `json:"binding:vif_type"` // shown to administrators alone, as are
	Details  json.RawMessage `json:"binding:vif_details"`
	Tags     []string
	Revision int    `json:"revision_number"`
	Created  string `json:"created_at"`
}

func (w wirePort) asset() (asset.Port, error) {
	var k strict
	p := asset.Port{ID: asset.PortID(w.ID), Project: asset.ProjectID(w.ProjectID), Network: asset.NetworkID(k.some("network_id", w.NetworkID)), Device: w.DeviceID, DeviceOwner: w.DeviceOwner,
		MAC: w.MAC, PortSecurity: w.PortSecurity == nil || *w.PortSecurity, AdminUp: k.flag("admin_state_up", w.AdminUp),
		Status: w.Status, VNICType: w.VNICType, Unbound: w.VIFType == "unbound", Driver: driver(w.Details), Tags: w.Tags, Revision: w.Revision}
	if strings.HasPrefix(w.DeviceOwner, "compute:") {
		p.Server = asset.ServerID(w.DeviceID)
	}
	for _, f := range w.Fixed {
		p.FixedIPs = append(p.FixedIPs, asset.FixedIP{Subnet: asset.SubnetID(f.SubnetID), Addr: k.addr("fixed_ips", f.Addr)})
	}
	if w.Groups == nil {
		k.odd("security_groups", "null")
		w.Groups = &[]string{}
	}
	for _, g := range *w.Groups {
		p.Groups = append(p.Groups, asset.GroupID(g))
	}
	for _, pair := range w.Pairs {
		p.Pairs = append(p.Pairs, asset.AddressPair{Prefix: k.prefix("allowed_address_pairs", pair.Addr), MAC: pair.MAC})
	}
	return understood(&k, p)
}

// driver tells what enforces the groups of a port, by the details of its binding; "" where they do not say, or are of no shape that is known.
// Source: neutron_lib portbindings, VIF_DETAILS_BOUND_DRIVERS and OVS_HYBRID_PLUG.
func driver(details json.RawMessage) string {
	var d struct {
		Bound  map[string]string `json:"bound_drivers"`
		Hybrid *bool             `json:"ovs_hybrid_plug"`
	}
	if len(details) == 0 || json.Unmarshal(details, &d) != nil || len(d.Bound) != 1 {
		return "" // hierarchical binding has several
	}
	name := d.Bound["0"]
	switch {
	case len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }):
		return ""
	case name != asset.DriverOVS:
		return name
	case d.Hybrid == nil:
		return ""
	case *d.Hybrid:
		return asset.DriverHybrid
	}
	return asset.DriverOVS
}

// wireForward has single ports, or, from Neutron's extension for ranges on, ranges such as "80:90" with the single ports null.
type wireForward struct {
	ID            string
	Protocol      json.RawMessage
	External      *int   `json:"external_port"`
	ExternalRange string `json:"external_port_range"`
	Internal      *int   `json:"internal_port"`
	InternalRange string `json:"internal_port_range"`
	InternalAddr  string `json:"internal_ip_address"`
	PortID        string `json:"internal_port_id"`
}

// asset gives both ranges of the same length, or several external ports that lead to one internal port.
func (w wireForward) asset() (asset.Forwarding, error) {
	var k strict
	f := asset.Forwarding{ID: w.ID, Protocol: k.some("protocol", k.protocol("protocol", w.Protocol)), Port: asset.PortID(k.some("internal_port_id", w.PortID)), InternalAddr: k.addr("internal_ip_address", w.InternalAddr)}
	f.External, f.ExternalLast = k.ends("external port", w.External, w.ExternalRange)
	f.Internal, f.InternalLast = k.ends("internal port", w.Internal, w.InternalRange)
	if f.InternalLast != 0 && f.ExternalLast-f.External != f.InternalLast-f.Internal {
		k.odd("port ranges", w.ExternalRange+" to "+w.InternalRange)
	}
	return understood(&k, f)
}

// ends are a range's two ends, of which the last is 0 where it is the first.
func (s *strict) ends(field string, single *int, ranged string) (first, last uint16) {
	switch {
	case single != nil:
		return s.port(field, *single), 0
	case ranged == "":
		s.odd(field, "null")
		return 0, 0
	}
	if first, last = s.portRange(field, ranged); first == last {
		last = 0
	}
	return first, last
}

type wireFloating struct {
	ID        string
	ProjectID string  `json:"project_id"`
	NetworkID string  `json:"floating_network_id"`
	Addr      string  `json:"floating_ip_address"`
	PortID    *string `json:"port_id"`
	Fixed     *string `json:"fixed_ip_address"`
	RouterID  *string `json:"router_id"`
	Status    string
	Revision  int `json:"revision_number"`
	// Forwards lacks the port's id here; nil where the service does not show it.
	Forwards *[]struct{} `json:"port_forwardings"`
}

// mayForward tells whether the forwardings have to be asked for.
func (w wireFloating) mayForward() bool {
	return w.PortID == nil && (w.Forwards == nil || len(*w.Forwards) > 0)
}

func (w wireFloating) asset() (asset.FloatingIP, error) {
	var k strict
	return understood(&k, asset.FloatingIP{ID: asset.FloatingIPID(w.ID), Project: asset.ProjectID(w.ProjectID), Network: asset.NetworkID(w.NetworkID), Addr: k.addr("floating_ip_address", w.Addr),
		Port: asset.PortID(orEmpty(w.PortID)), Fixed: k.addrOrNone("fixed_ip_address", w.Fixed), Router: asset.RouterID(orEmpty(w.RouterID)), Status: w.Status, Revision: w.Revision})
}

type wireRule struct {
	ID              string
	GroupID         string `json:"security_group_id"`
	Direction       string
	EtherType       string
	Protocol        json.RawMessage
	PortMin         *int    `json:"port_range_min"`
	PortMax         *int    `json:"port_range_max"`
	RemotePrefix    *string `json:"remote_ip_prefix"`
	RemoteGroup     *string `json:"remote_group_id"`
	RemoteAddresses *string `json:"remote_address_group_id"`
}

func (w wireRule) asset() (asset.Rule, error) {
	var k strict
	r := asset.Rule{ID: asset.RuleID(w.ID), Group: asset.GroupID(w.GroupID), Direction: asset.Direction(k.oneOf("direction", strings.ToLower(w.Direction), string(asset.Ingress), string(asset.Egress))),
		EtherType: k.family("ethertype", w.EtherType), Protocol: k.protocol("protocol", w.Protocol),
		RemoteGroup: asset.GroupID(orEmpty(w.RemoteGroup)), RemoteAddress: asset.AddressGroup(orEmpty(w.RemoteAddresses))}
	r.PortMin, r.PortMax = k.span(r.Protocol, w.PortMin, w.PortMax)
	if w.RemotePrefix != nil {
		r.RemotePrefix = k.fits("remote_ip_prefix", k.prefix("remote_ip_prefix", *w.RemotePrefix), r.EtherType)
	}
	return understood(&k, r)
}

type wireGroup struct {
	ID, Name  string
	ProjectID string `json:"project_id"`
	Stateful  *bool  // missing in old releases, where all were
	Shared    bool
	Rules     *[]wireRule `json:"security_group_rules"`
	Revision  int         `json:"revision_number"`
}

func (w wireGroup) rules() []wireRule {
	if w.Rules == nil {
		return nil
	}
	return *w.Rules
}

// asset takes a group whole or not at all: with a rule left out it would look narrower than it is.
func (w wireGroup) asset() (asset.Group, error) {
	var k strict
	g := asset.Group{ID: asset.GroupID(w.ID), Project: asset.ProjectID(w.ProjectID), Name: untrusted.From(w.Name), Stateless: w.Stateful != nil && !*w.Stateful, Shared: w.Shared, Revision: w.Revision}
	if w.Rules == nil {
		k.odd("security_group_rules", "null")
		return understood(&k, g)
	}
	for _, r := range *w.Rules {
		rule, err := r.asset()
		if err != nil {
			return asset.Group{}, fmt.Errorf("rule %s: %w", named(r.ID), err)
		}
		g.Rules = append(g.Rules, rule)
	}
	return g, nil
}

type wireAddressGroup struct {
	ID        string
	ProjectID string `json:"project_id"`
	Addresses *[]string
}

func (w wireAddressGroup) asset() (asset.AddressSet, error) {
	var k strict
	s := asset.AddressSet{ID: asset.AddressGroup(w.ID), Project: asset.ProjectID(w.ProjectID)}
	if w.Addresses == nil {
		k.odd("addresses", "null")
		return understood(&k, s)
	}
	s.Prefixes = k.prefixes("addresses", *w.Addresses)
	return understood(&k, s)
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// named shows an identifier that a service wrote.
func named(id string) string { return untrusted.From(id).Cap(80).Terminal() }

// sure gives a conversion that can not fail the shape of one that can.
func sure[W, A any](to func(W) A) func(W) (A, error) {
	return func(w W) (A, error) { return to(w), nil }
}

// addr parses an address that is only compared; what is none becomes the zero one, which holds nothing.
func addr(s string) netip.Addr {
	a, _ := netip.ParseAddr(s)
	return a.WithZone("").Unmap()
}

func itoa(n int) string { return strconv.Itoa(n) }
