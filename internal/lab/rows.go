package lab

// The rows are the services' own JSON, field by field, so that what a client reads has the real shape.

type projectRow struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	DomainID    string            `json:"domain_id"`
	ParentID    string            `json:"parent_id"`
	Description string            `json:"description"`
	Enabled     bool              `json:"enabled"`
	IsDomain    bool              `json:"is_domain"`
	Tags        []string          `json:"tags"`
	Options     struct{}          `json:"options"`
	Links       map[string]string `json:"links"`
}

type userRow struct {
	ID                string            `json:"id"`
	Name              string            `json:"name"`
	DomainID          string            `json:"domain_id"`
	Enabled           bool              `json:"enabled"`
	Email             string            `json:"email,omitempty"`
	PasswordExpiresAt *string           `json:"password_expires_at"`
	Options           struct{}          `json:"options"`
	Links             map[string]string `json:"links"`
	password          string
	roles             map[string]string // project id to role
}

type imageRow struct {
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	Status     string   `json:"status"`
	Visibility string   `json:"visibility"`
	Owner      string   `json:"owner"`
	OSDistro   string   `json:"os_distro,omitempty"`
	OSVersion  string   `json:"os_version,omitempty"`
	Profile    string   `json:"demarc_profile,omitempty"`
	OSHidden   bool     `json:"os_hidden"`
	Protected  bool     `json:"protected"`
	DiskFormat string   `json:"disk_format"`
	Container  string   `json:"container_format"`
	MinDisk    int      `json:"min_disk"`
	MinRAM     int      `json:"min_ram"`
	Size       int64    `json:"size"`
	Tags       []string `json:"tags"`
	CreatedAt  string   `json:"created_at"`
	UpdatedAt  string   `json:"updated_at"`
	Self       string   `json:"self"`
	File       string   `json:"file"`
	Schema     string   `json:"schema"`
}

type networkRow struct {
	ID           string   `json:"id"`
	Name         string   `json:"name"`
	TenantID     string   `json:"tenant_id"`
	ProjectID    string   `json:"project_id"`
	AdminStateUp bool     `json:"admin_state_up"`
	Status       string   `json:"status"`
	Shared       bool     `json:"shared"`
	External     bool     `json:"router:external"`
	PortSecurity bool     `json:"port_security_enabled"`
	Scope4       *string  `json:"ipv4_address_scope"`
	Scope6       *string  `json:"ipv6_address_scope"`
	MTU          int      `json:"mtu"`
	Subnets      []string `json:"subnets"`
	Tags         []string `json:"tags"`
	Description  string   `json:"description"`
	stamp
}

// stamp is what Neutron puts on every resource.
type stamp struct {
	CreatedAt string `json:"created_at"`
	UpdatedAt string `json:"updated_at"`
	Revision  int    `json:"revision_number"`
}

type subnetRow struct {
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	TenantID   string   `json:"tenant_id"`
	ProjectID  string   `json:"project_id"`
	NetworkID  string   `json:"network_id"`
	IPVersion  int      `json:"ip_version"`
	CIDR       string   `json:"cidr"`
	GatewayIP  *string  `json:"gateway_ip"`
	EnableDHCP bool     `json:"enable_dhcp"`
	DNS        []string `json:"dns_nameservers"`
	HostRoutes []string `json:"host_routes"`
	Tags       []string `json:"tags"`
	stamp
}

type fixedRow struct {
	SubnetID  string `json:"subnet_id"`
	IPAddress string `json:"ip_address"`
}

type gatewayRow struct {
	NetworkID  string     `json:"network_id"`
	EnableSNAT bool       `json:"enable_snat"`
	FixedIPs   []fixedRow `json:"external_fixed_ips"`
}

type routerRow struct {
	ID           string      `json:"id"`
	Name         string      `json:"name"`
	TenantID     string      `json:"tenant_id"`
	ProjectID    string      `json:"project_id"`
	AdminStateUp bool        `json:"admin_state_up"`
	Status       string      `json:"status"`
	Gateway      *gatewayRow `json:"external_gateway_info"`
	Routes       []struct{}  `json:"routes"`
	Tags         []string    `json:"tags"`
	stamp
}

type pairRow struct {
	IPAddress string `json:"ip_address"`
	MAC       string `json:"mac_address"`
}

type portRow struct {
	ID             string         `json:"id"`
	Name           string         `json:"name"`
	TenantID       string         `json:"tenant_id"`
	ProjectID      string         `json:"project_id"`
	NetworkID      string         `json:"network_id"`
	MAC            string         `json:"mac_address"`
	AdminStateUp   bool           `json:"admin_state_up"`
	Status         string         `json:"status"`
	DeviceID       string         `json:"device_id"`
	DeviceOwner    string         `json:"device_owner"`
	FixedIPs       []fixedRow     `json:"fixed_ips"`
	Pairs          []pairRow      `json:"allowed_address_pairs"`
	SecurityGroups []string       `json:"security_groups"`
	PortSecurity   bool           `json:"port_security_enabled"`
	VNICType       string         `json:"binding:vnic_type"`
	HostID         string         `json:"binding:host_id"`
	VIFType        string         `json:"binding:vif_type"`
	VIFDetails     map[string]any `json:"binding:vif_details"`
	Tags           []string       `json:"tags"`
	Description    string         `json:"description"`
	stamp
}

type forwardRow struct {
	ID             string `json:"id"`
	Protocol       string `json:"protocol"`
	InternalIP     string `json:"internal_ip_address"`
	InternalPort   uint16 `json:"internal_port"`
	InternalPortID string `json:"internal_port_id"`
	ExternalPort   uint16 `json:"external_port"`
	Description    string `json:"description"`
}

type floatingRow struct {
	ID        string       `json:"id"`
	TenantID  string       `json:"tenant_id"`
	ProjectID string       `json:"project_id"`
	NetworkID string       `json:"floating_network_id"`
	Address   string       `json:"floating_ip_address"`
	PortID    *string      `json:"port_id"`
	FixedIP   *string      `json:"fixed_ip_address"`
	RouterID  *string      `json:"router_id"`
	Status    string       `json:"status"`
	Forwards  []forwardRow `json:"port_forwardings"`
	Tags      []string     `json:"tags"`
	stamp
}

type ruleRow struct {
	ID              string  `json:"id"`
	TenantID        string  `json:"tenant_id"`
	ProjectID       string  `json:"project_id"`
	GroupID         string  `json:"security_group_id"`
	Direction       string  `json:"direction"`
	EtherType       string  `json:"ethertype"`
	Protocol        *string `json:"protocol"`
	PortMin         *int    `json:"port_range_min"`
	PortMax         *int    `json:"port_range_max"`
	RemotePrefix    *string `json:"remote_ip_prefix"`
	RemoteGroup     *string `json:"remote_group_id"`
	RemoteAddresses *string `json:"remote_address_group_id"`
	NormalizedCIDR  *string `json:"normalized_cidr"`
	Description     string  `json:"description"`
	stamp
}

type groupRow struct {
	ID          string     `json:"id"`
	Name        string     `json:"name"`
	TenantID    string     `json:"tenant_id"`
	ProjectID   string     `json:"project_id"`
	Stateful    bool       `json:"stateful"`
	Shared      bool       `json:"shared"`
	Description string     `json:"description"`
	Rules       []*ruleRow `json:"security_group_rules"`
	Tags        []string   `json:"tags"`
	stamp
}

type addressGroupRow struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	TenantID    string   `json:"tenant_id"`
	ProjectID   string   `json:"project_id"`
	Description string   `json:"description"`
	Shared      bool     `json:"shared"`
	Addresses   []string `json:"addresses"`
	stamp
}

// serverRow is Nova's memory of a machine; its JSON is made in novaServer, for it depends on the
// microversion and on the ports.
type serverRow struct {
	id, name, project, user, image, status string
	created, updated                       string
	locked                                 bool
	lockedBy, lockedReason                 string
	metadata                               map[string]string
	tags                                   []string
	volumes                                []string
	actions                                []map[string]any
	services                               []*Service
	blocked                                *guestFilter
}
