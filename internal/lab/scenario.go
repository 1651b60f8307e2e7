package lab

import (
	"net/netip"
	"time"
)

// Scenario says what a world holds when it begins. Names are unique within their kind (groups: within
// their project) and are what other parts of the scenario refer to.
type Scenario struct {
	Name      string
	Region    string                   // default "lab"
	RandomIDs bool                     // default: UUIDs follow from names, so that a story repeats exactly
	Anywhere  bool                     // live in any free 127.N.0.0/16 in place of 127.77.0.0/16; see World.At
	Addr      string                   // where the cloud's APIs listen; default 127.0.0.1:0
	MailAddr  string                   // where mail is received; default 127.0.0.1:0
	PageMax   int                      // largest page of Nova, Neutron and Glance; default 1000
	KeyPages  int                      // rows that Keystone gives at most in one answer, as since 2025.1; 0: an older Keystone, which has no pages
	TokenLife int                      // seconds a token lives; default 3600
	Clocks    map[string]time.Duration // by how much services' clocks are off, by service; see SetServiceClock
	Sources   map[string]netip.Addr    // named places that look at the world: "scanner", "other"

	Projects      []Project
	Users         []User
	AppCreds      []AppCred
	Images        []Image
	AddressGroups []AddressGroup
	Groups        []Group
	Networks      []Network
	Routers       []Router
	Servers       []Server
	FloatingIPs   []FloatingIP // those that no NIC names
}

// Project owns things. Every project is born with a group "default", as in Neutron.
type Project struct {
	Name     string
	Tags     []string
	Disabled bool
}

// User is an account. Roles maps a project's name to a role; the role admin on any project sees all.
type User struct {
	Name     string
	Password string
	Mail     string
	Roles    map[string]string
	Disabled bool
}

// AppCred is an application credential of a user in a project.
type AppCred struct {
	ID, Name, Secret string
	User, Project    string
	ReadOnly         bool      // held by access rules to GET
	Expires          time.Time // zero: never
}

// Image is a Glance image with its properties.
type Image struct {
	Name, OSDistro, OSVersion string
	Profile                   string // property demarc_profile
	Project                   string // owner; default: the first project
	Hidden                    bool
}

// AddressGroup is a Neutron address group.
type AddressGroup struct {
	Name, Project string
	Prefixes      []netip.Prefix
}

// Group is a security group beyond the default one.
type Group struct {
	Name, Project string
	Stateless     bool
	NoEgress      bool // without the two egress-any rules it is born with
	Rules         []Rule
}

// Rule admits traffic. The zero values of Proto, Min, Max and Remote mean any.
type Rule struct {
	Egress       bool
	IPv6         bool
	Proto        string
	Min, Max     int
	Remote       netip.Prefix
	RemoteGroup  string // a group's name in the same project
	AddressGroup string
}

// Network is a segment with its subnets.
type Network struct {
	Name, Project    string
	External, Shared bool
	NoSecurity       bool   // new ports have port security off
	Scope4, Scope6   string // ids of address scopes
	Subnets          []Subnet
}

// Subnet is an address range.
type Subnet struct {
	Name    string
	CIDR    netip.Prefix
	Gateway netip.Addr // default: the first address of the range
}

// Router joins subnets to an external network.
type Router struct {
	Name, Project string
	External      string // a network's name
	Addr          netip.Addr
	Subnets       []string
}

// Server is a machine. Where Status is empty it is ACTIVE.
type Server struct {
	Name, Project, Creator, Image, Status string
	Metadata                              map[string]string
	Tags                                  []string
	Volumes                               []string // ids of attached volumes
	NICs                                  []NIC
	Services                              []Service
}

// NIC is a port of a server. An address in 127.0.0.0/8 is listened on as it is; a private one is
// reached through FloatingIP.
type NIC struct {
	Network    string
	Addr       netip.Addr
	Groups     []string // default: the project's group "default"
	NoSecurity bool     // port security off
	FloatingIP netip.Addr
	Pairs      []netip.Prefix
	VNICType   string
}

// FloatingIP is an address that a project holds, with no port or with forwardings only.
type FloatingIP struct {
	Addr     netip.Addr
	Project  string
	Forwards []Forward
}

// Forward leads one port of a floating IP to a port of a server's first NIC.
type Forward struct {
	External, Internal uint16
	Server             string
}

// Kind names a pretend daemon.
type Kind string

// The daemons, and the modes of those that have some; the first mode is the default.
const (
	Redis    Kind = "redis"    // open, requirepass, protected
	SSH      Kind = "ssh"      // banner as given
	Telnet   Kind = "telnet"   // login prompt
	HTTP     Kind = "http"     // title, server header, paths
	Postgres Kind = "postgres" // trust, md5, scram, reject
	Tarpit   Kind = "tarpit"   // accepts, never answers
)

// Service is a daemon on a server.
type Service struct {
	Name    string // default: the kind
	Kind    Kind
	Port    uint16
	Ports   []uint16 // further ports, for a tarpit
	Mode    string
	Banner  string            // ssh: identification line; telnet: greeting; redis, postgres: version; http: Server header
	Title   string            // http
	Paths   map[string]string // http: path to body
	Leak    bool              // answers whatever the groups say: the provider's filter leaks
	Stopped bool
}
