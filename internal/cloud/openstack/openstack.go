// Package openstack speaks to Keystone, Nova, Neutron and Glance. Where the catalog has Octavia, it reads that too.
package openstack

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"demarc/internal/cloud"
	"demarc/internal/fault"
)

// Cloud is one OpenStack cloud, spoken to with one account. It renews its token by itself.
type Cloud struct {
	conf     Config
	http     http.Client
	hosts    hosts
	project  string // id of the account's own project
	user     string // id of the account
	roles    []string
	identity *gophercloud.ServiceClient
	compute  *gophercloud.ServiceClient
	network  *gophercloud.ServiceClient
	image    *gophercloud.ServiceClient
	balancer *gophercloud.ServiceClient // nil where the catalog has no Octavia
	minor    int                        // of the compute microversion in use, 2.minor
	known    verdicts                   // what Keystone said of ids that its listings lacked
}

var (
	_ cloud.Reader = (*Cloud)(nil)
	_ cloud.Actor  = (*Cloud)(nil)
)

// Connect asks for a token and finds the services. A credential that is refused is a fault with advice.
func Connect(ctx context.Context, conf Config) (*Cloud, error) {
	conf = conf.withDefaults()
	auth, err := conf.auth()
	if err != nil {
		return nil, err
	}
	c := &Cloud{conf: conf}
	if c.http, err = conf.client(&c.hosts); err != nil {
		return nil, err
	}
	provider, err := openstack.NewClient(conf.AuthURL)
	if err != nil {
		return nil, fault.New(fault.Config, "cloud %s: the auth_url is no URL", conf.Cloud)
	}
	provider.HTTPClient = c.http
	provider.UserAgent.Prepend("demarc")
	provider.UseTokenLock()
	if err := openstack.Authenticate(ctx, provider, *auth); err != nil {
		return nil, c.refused(ctx, err)
	}
	if err := c.find(provider); err != nil {
		return nil, err
	}
	c.hosts.only(append(c.Endpoints(), conf.AuthURL)...)
	c.knowMyself(provider)
	return c, c.negotiate(ctx)
}

// clients lists every client that the account's token is sent by. A test holds it to the fields of Cloud.
func (c *Cloud) clients() []*gophercloud.ServiceClient {
	var out []*gophercloud.ServiceClient
	for _, s := range []*gophercloud.ServiceClient{c.identity, c.compute, c.network, c.image, c.balancer} {
		if s != nil {
			out = append(out, s)
		}
	}
	return out
}

// Endpoints lists the URLs that requests go to, by the catalog: where the token is sent, whatever the auth_url says. Once connected, a
// request to any other host is refused before it leaves.
func (c *Cloud) Endpoints() []string {
	var out []string
	for _, s := range c.clients() {
		out = append(out, s.Endpoint)
		if s.ResourceBase != "" && s.ResourceBase != s.Endpoint {
			out = append(out, s.ResourceBase)
		}
	}
	return out
}

// Close ends idle connections.
func (c *Cloud) Close() { c.http.CloseIdleConnections() }

func (c *Cloud) refused(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if gophercloud.ResponseCodeIs(err, http.StatusUnauthorized) {
		f := fault.New(fault.Unavailable, "cloud %s: Keystone at %s refuses the credential", c.conf.Cloud, c.conf.AuthURL).
			Hinted("check name, secret, domain and project; an application credential may have expired")
		f.Cause = cloud.ErrCredential
		return f
	}
	return fault.New(fault.Unavailable, "cloud %s: no token from %s: %s", c.conf.Cloud, c.conf.AuthURL, c.conf.shown(err.Error())).
		Hinted("check that the auth_url answers from this machine")
}

func (c *Cloud) knowMyself(p *gophercloud.ProviderClient) {
	res, ok := p.GetAuthResult().(tokens.CreateResult)
	if !ok {
		return
	}
	if project, err := res.ExtractProject(); err == nil && project != nil {
		c.project = project.ID
	}
	if user, err := res.ExtractUser(); err == nil && user != nil {
		c.user = user.ID
	}
	if roles, err := res.ExtractRoles(); err == nil {
		for _, r := range roles {
			c.roles = append(c.roles, r.Name)
		}
	}
}

// wantedMicroversion shows why a server is locked (2.73); 2.9 shows that it is.
const wantedMicroversion = 73

// negotiate asks Nova for its microversions. Without an answer in their form none is asked for.
func (c *Cloud) negotiate(ctx context.Context) error {
	var doc struct {
		Version struct {
			Version string `json:"version"`
		} `json:"version"`
	}
	if err := c.get(ctx, c.compute, base(c.compute.Endpoint), &doc); err != nil {
		return err
	}
	highest, err := strconv.Atoi(strings.TrimPrefix(doc.Version.Version, "2."))
	if err == nil && highest >= 0 {
		c.minor = min(highest, wantedMicroversion)
		c.compute.Microversion = "2." + strconv.Itoa(c.minor)
	}
	return nil
}
