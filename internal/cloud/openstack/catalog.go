package openstack

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"demarc/internal/fault"
	"demarc/internal/untrusted"
)

// service is one service that the driver needs, by the types that catalogs give it.
type service struct {
	name    string   // as in Config.Endpoints
	types   []string // the official one first (service-types-authority)
	version string   // of the API that is used, a segment of the URL
	to      **gophercloud.ServiceClient
	may     bool // a cloud may lack it
}

func (c *Cloud) services() []service {
	return []service{
		{name: "compute", types: []string{"compute"}, version: "v2.1", to: &c.compute},
		{name: "network", types: []string{"network", "networking"}, version: "v2.0", to: &c.network},
		{name: "image", types: []string{"image"}, version: "v2", to: &c.image},
		{name: "identity", types: []string{"identity"}, version: "v3", to: &c.identity},
		{name: "load-balancer", types: []string{"load-balancer"}, version: "v2", to: &c.balancer, may: true},
	}
}

// Services lists the names that Config.Endpoints may have.
func Services() []string { return []string{"compute", "network", "image", "identity", "load-balancer"} }

// find takes the endpoint of each service from the catalog of the token. Several are a question to the operator.
func (c *Cloud) find(p *gophercloud.ProviderClient) error {
	res, ok := p.GetAuthResult().(tokens.CreateResult)
	if !ok {
		return fault.New(fault.Unavailable, "cloud %s: the token has no catalog", c.conf.Cloud)
	}
	catalog, err := res.ExtractServiceCatalog()
	if err != nil {
		return fault.New(fault.Unavailable, "cloud %s: the catalog of the token has another shape", c.conf.Cloud).
			Hinted("check that the auth_url is one of Keystone v3")
	}
	for _, s := range c.services() {
		at, err := c.endpoint(catalog, s)
		if err != nil {
			return err
		}
		if at != "" {
			*s.to = client(p, s, at)
		}
	}
	return nil
}

// client speaks to a service at its versioned URL.
func client(p *gophercloud.ProviderClient, s service, at string) *gophercloud.ServiceClient {
	return &gophercloud.ServiceClient{ProviderClient: p, Endpoint: at, ResourceBase: at, Type: s.name}
}

// endpoint chooses the URL of a service: the one that the configuration names, else the only one that the catalog has. It is "" for a
// service that a cloud may lack, and lacks.
func (c *Cloud) endpoint(catalog *tokens.ServiceCatalog, s service) (string, error) {
	if named := c.conf.Endpoints[s.name]; named != "" {
		at := versioned(named, s.version)
		if at == "" {
			return "", fault.New(fault.Config, "cloud %s: the endpoint of %s is %q, which is no http or https URL", c.conf.Cloud, s.name, named)
		}
		return at, nil
	}
	found, elsewhere := c.listed(catalog, s)
	switch {
	case len(found) == 1:
		for at := range found {
			return at, nil
		}
	case len(found) > 1:
		return "", c.ambiguous(s, found)
	case s.may && len(elsewhere) == 0:
		return "", nil
	}
	f := fault.New(fault.Config, "cloud %s: the catalog has no %s endpoint of the service %s%s",
		c.conf.Cloud, c.conf.Interface, s.name, c.inRegion())
	switch {
	case len(elsewhere) > 0 && c.conf.Region != "":
		return "", f.Hinted("the catalog has it in the region %s: correct the region", strings.Join(elsewhere, ", "))
	case len(elsewhere) > 0:
		return "", f.Hinted("the catalog has it with another interface: set interface to public, internal or admin")
	}
	return "", f.Hinted("check that the account's project may use the service, or name its URL under endpoints")
}

func (c *Cloud) inRegion() string {
	if c.conf.Region == "" {
		return ""
	}
	return " in the region " + c.conf.Region
}

// listed gives the different URLs of a service that fit interface and region, each with its regions, and the regions of all others.
func (c *Cloud) listed(catalog *tokens.ServiceCatalog, s service) (found map[string][]string, elsewhere []string) {
	found = map[string][]string{}
	others := map[string]bool{}
	for _, entry := range catalog.Entries {
		if !slices.Contains(s.types, entry.Type) {
			continue
		}
		for _, e := range entry.Endpoints {
			region := orOther(e.RegionID, e.Region)
			at := versioned(e.URL, s.version)
			switch {
			case at == "":
			case e.Interface == c.conf.Interface && (c.conf.Region == "" || c.conf.Region == e.Region || c.conf.Region == e.RegionID):
				if !slices.Contains(found[at], region) {
					found[at] = append(found[at], region)
				}
			default:
				others[untrusted.From(region).Cap(60).Terminal()] = true
			}
		}
	}
	return found, slices.Sorted(maps.Keys(others))
}

func orOther(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// ambiguous asks the operator which endpoint is meant. By region, where that tells them apart.
func (c *Cloud) ambiguous(s service, found map[string][]string) error {
	var told []string
	regions := map[string]int{}
	for _, at := range slices.Sorted(maps.Keys(found)) {
		slices.Sort(found[at])
		for _, r := range found[at] {
			regions[r]++
		}
		told = append(told, untrusted.From(at+" (region "+strings.Join(found[at], ", ")+")").Cap(200).Terminal())
	}
	f := fault.New(fault.Config, "cloud %s: the catalog has %d %s endpoints of the service %s%s: %s",
		c.conf.Cloud, len(found), c.conf.Interface, s.name, c.inRegion(),
		strings.Join(told[:min(len(told), 8)], "; "))
	for _, n := range regions {
		if n > 1 {
			return f.Hinted("name the one that is meant: endpoints: {%s: URL} under cloud, or %s_endpoint_override in clouds.yaml",
				s.name, strings.ReplaceAll(s.name, "-", "_"))
		}
	}
	return f.Hinted("name the region that is meant: region under cloud, or region_name in clouds.yaml")
}

// version is a segment of a URL that names a version of an API.
var version = regexp.MustCompile(`^v[1-9][0-9]?(\.[0-9]{1,3})?$`)

// versioned is a service's URL with the version that is spoken to, whether the catalog names that one, another or none. A project's id
// behind the version, as catalogs of Nova had it, stays. It is "" for what is no URL.
func versioned(raw, to string) string {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	if parts[0] == "" {
		parts = nil
	}
	switch n := len(parts); {
	case n > 0 && version.MatchString(parts[n-1]):
		parts[n-1] = to
	case n > 1 && version.MatchString(parts[n-2]):
		parts[n-2] = to
	default:
		parts = append(parts, to)
	}
	return fmt.Sprintf("%s://%s/%s/", u.Scheme, u.Host, strings.Join(parts, "/"))
}

// base is a versioned URL up to its version, where the document of that version stands.
func base(at string) string {
	u, err := url.Parse(at)
	if err != nil {
		return at
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	if n := len(parts); n > 1 && !version.MatchString(parts[n-1]) && version.MatchString(parts[n-2]) {
		parts = parts[:n-1]
	}
	return fmt.Sprintf("%s://%s/%s/", u.Scheme, u.Host, strings.Join(parts, "/"))
}
