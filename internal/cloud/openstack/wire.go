package openstack

import (
	"encoding/json"
	"net/netip"
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
	OSDistro  string `json:"os_distro"`
	OSVersion string `json:"os_version"`
}

func (w wireImage) asset() asset.Image {
	return asset.Image{ID: asset.ImageID(w.ID), Name: untrusted.From(w.Name), OSDistro: w.OSDistro, OSVersion: w.OSVersion}
}

type wireServer struct {
	ID, Name, Status string
	TenantID         string          `json:"tenant_id"`
	UserID           string          `json:"user_id"`
	Image            json.RawMessage // an object, or "" for a machine that boots from a volume
	Created          string
	Locked           bool
	LockedReason     *string `json:"locked_reason"`
	Metadata         map[string]string
	Addresses        map[string][]struct {
		Addr string
		Type string `json:"OS-EXT-IPS:type"`
	}
}

func (w wireServer) asset() asset.Server {
	s := asset.Server{ID: asset.ServerID(w.ID), Project: asset.ProjectID(w.TenantID), Creator: asset.UserID(w.UserID), Name: untrusted.From(w.Name),
		Status: w.Status, Created: micros(w.Created), Locked: w.Locked}
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
	return s
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
	ID, Name  string
	ProjectID string `json:"project_id"`
	External  bool   `json:"router:external"`
	Shared    bool
}

func (w wireNetwork) asset() asset.Network {
	return asset.Network{ID: asset.NetworkID(w.ID), Project: asset.ProjectID(w.ProjectID), Name: untrusted.From(w.Name), External: w.External, Shared: w.Shared}
}

type wireSubnet struct {
	ID, CIDR  string
	NetworkID string  `json:"network_id"`
	ProjectID string  `json:"project_id"`
	Gateway   *string `json:"gateway_ip"`
}

func (w wireSubnet) asset() asset.Subnet {
	s := asset.Subnet{ID: asset.SubnetID(w.ID), Network: asset.NetworkID(w.NetworkID), Project: asset.ProjectID(w.ProjectID), CIDR: prefix(w.CIDR)}
	if w.Gateway != nil {
		s.Gateway = addr(*w.Gateway)
	}
	return s
}

type wireFixed struct {
	SubnetID string `json:"subnet_id"`
	Addr     string `json:"ip_address"`
}

type wireRouter struct {
	ID, Name  string
	ProjectID string `json:"project_id"`
	AdminUp   bool   `json:"admin_state_up"`
	Gateway   *struct {
		NetworkID string      `json:"network_id"`
		SNAT      *bool       `json:"enable_snat"`
		Fixed     []wireFixed `json:"external_fixed_ips"`
	} `json:"external_gateway_info"`
	Routes []struct{ Destination, Nexthop string }
}

func (w wireRouter) asset() asset.Router {
	r := asset.Router{ID: asset.RouterID(w.ID), Project: asset.ProjectID(w.ProjectID), Name: untrusted.From(w.Name), AdminUp: w.AdminUp}
	if g := w.Gateway; g != nil {
		r.External = asset.NetworkID(g.NetworkID)
		r.SNAT = g.SNAT == nil || *g.SNAT
		for _, f := range g.Fixed {
			r.ExternalIPs = append(r.ExternalIPs, addr(f.Addr))
		}
	}
	for _, route := range w.Routes {
		r.Routes = append(r.Routes, asset.Route{Destination: prefix(route.Destination), NextHop: addr(route.Nexthop)})
	}
	return r
}

type wirePort struct {
	ID           string
	ProjectID    string      `json:"project_id"`
	NetworkID    string      `json:"network_id"`
	DeviceID     string      `json:"device_id"`
	DeviceOwner  string      `json:"device_owner"`
	MAC          string      `json:"mac_address"`
	Fixed        []wireFixed `json:"fixed_ips"`
	Groups       []string    `json:"security_groups"`
	PortSecurity *bool       `json:"port_security_enabled"` // missing where the extension is off: filtering is on
	AdminUp      bool        `json:"admin_state_up"`
	Status       string
	Pairs        []struct {
		Addr string `json:"ip_address"`
		MAC  string `json:"mac_address"`
	} `json:"allowed_address_pairs"`
	VNICType string `json:"binding:vnic_type"`
	Tags     []string
	Revision int    `json:"revision_number"`
	Created  string `json:"created_at"`
}

func (w wirePort) asset() asset.Port {
	p := asset.Port{ID: asset.PortID(w.ID), Project: asset.ProjectID(w.ProjectID), Network: asset.NetworkID(w.NetworkID), Device: w.DeviceID, DeviceOwner: w.DeviceOwner,
		MAC: w.MAC, PortSecurity: w.PortSecurity == nil || *w.PortSecurity, AdminUp: w.AdminUp, Status: w.Status, VNICType: w.VNICType, Tags: w.Tags, Revision: w.Revision}
	if strings.HasPrefix(w.DeviceOwner, "compute:") {
		p.Server = asset.ServerID(w.DeviceID)
	}
	for _, f := range w.Fixed {
		p.FixedIPs = append(p.FixedIPs, asset.FixedIP{Subnet: asset.SubnetID(f.SubnetID), Addr: addr(f.Addr)})
	}
	for _, g := range w.Groups {
		p.Groups = append(p.Groups, asset.GroupID(g))
	}
	for _, pair := range w.Pairs {
		p.Pairs = append(p.Pairs, asset.AddressPair{Prefix: prefix(pair.Addr), MAC: pair.MAC})
	}
	return p
}

type wireForward struct {
	ID           string
	Protocol     string
	External     uint16 `json:"external_port"`
	Internal     uint16 `json:"internal_port"`
	InternalAddr string `json:"internal_ip_address"`
	PortID       string `json:"internal_port_id"`
}

func (w wireForward) asset() asset.Forwarding {
	return asset.Forwarding{ID: w.ID, Protocol: w.Protocol, External: w.External, Port: asset.PortID(w.PortID), InternalAddr: addr(w.InternalAddr), Internal: w.Internal}
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

func (w wireFloating) asset() asset.FloatingIP {
	f := asset.FloatingIP{ID: asset.FloatingIPID(w.ID), Project: asset.ProjectID(w.ProjectID), Network: asset.NetworkID(w.NetworkID), Addr: addr(w.Addr), Status: w.Status, Revision: w.Revision}
	if w.PortID != nil {
		f.Port = asset.PortID(*w.PortID)
	}
	if w.Fixed != nil {
		f.Fixed = addr(*w.Fixed)
	}
	if w.RouterID != nil {
		f.Router = asset.RouterID(*w.RouterID)
	}
	return f
}

type wireRule struct {
	ID              string
	GroupID         string `json:"security_group_id"`
	Direction       string
	EtherType       string
	Protocol        *string
	PortMin         *int    `json:"port_range_min"`
	PortMax         *int    `json:"port_range_max"`
	RemotePrefix    *string `json:"remote_ip_prefix"`
	RemoteGroup     *string `json:"remote_group_id"`
	RemoteAddresses *string `json:"remote_address_group_id"`
}

func (w wireRule) asset() asset.Rule {
	r := asset.Rule{ID: asset.RuleID(w.ID), Group: asset.GroupID(w.GroupID), Direction: asset.Direction(strings.ToLower(w.Direction)), EtherType: 4, PortMin: asset.AnyPort, PortMax: asset.AnyPort}
	if strings.EqualFold(w.EtherType, "IPv6") {
		r.EtherType = 6
	}
	if w.Protocol != nil && !strings.EqualFold(*w.Protocol, "any") {
		r.Protocol = strings.ToLower(*w.Protocol)
	}
	if w.PortMin != nil {
		r.PortMin = *w.PortMin
	}
	if w.PortMax != nil {
		r.PortMax = *w.PortMax
	}
	if w.RemotePrefix != nil {
		r.RemotePrefix = prefix(*w.RemotePrefix).Masked()
	}
	if w.RemoteGroup != nil {
		r.RemoteGroup = asset.GroupID(*w.RemoteGroup)
	}
	if w.RemoteAddresses != nil {
		r.RemoteAddress = asset.AddressGroup(*w.RemoteAddresses)
	}
	return r
}

type wireGroup struct {
	ID, Name  string
	ProjectID string `json:"project_id"`
	Stateful  *bool  // missing in old releases, where all were
	Shared    bool
	Rules     []wireRule `json:"security_group_rules"`
	Revision  int        `json:"revision_number"`
}

func (w wireGroup) asset() asset.Group {
	g := asset.Group{ID: asset.GroupID(w.ID), Project: asset.ProjectID(w.ProjectID), Name: untrusted.From(w.Name), Stateless: w.Stateful != nil && !*w.Stateful, Revision: w.Revision}
	for _, r := range w.Rules {
		g.Rules = append(g.Rules, r.asset())
	}
	return g
}

type wireAddressGroup struct {
	ID        string
	ProjectID string `json:"project_id"`
	Addresses []string
}

func (w wireAddressGroup) asset() asset.AddressSet {
	s := asset.AddressSet{ID: asset.AddressGroup(w.ID), Project: asset.ProjectID(w.ProjectID)}
	for _, a := range w.Addresses {
		s.Prefixes = append(s.Prefixes, prefix(a))
	}
	return s
}

// addr parses an address; what is none becomes the zero one, which holds nothing.
func addr(s string) netip.Addr {
	a, _ := netip.ParseAddr(s)
	return a.WithZone("").Unmap()
}

// prefix parses a prefix or a bare address.
func prefix(s string) netip.Prefix {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen())
	}
	p, _ := netip.ParsePrefix(s)
	return p
}

func itoa(n int) string { return strconv.Itoa(n) }
