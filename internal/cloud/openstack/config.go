package openstack

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"demarc/internal/cloud"
	"demarc/internal/fault"
)

// Config says which cloud, and as whom. Either Username and Password or AppCredID and AppCredSecret are given.
type Config struct {
	Cloud   string // our name of the cloud, put into snapshots
	AuthURL string // of Keystone, with or without /v3

	Username         string
	Password         string
	UserDomain       string // name; default "Default"
	Project          string // name; the scope of the token and the home of quarantine groups
	ProjectDomain    string // name; default UserDomain
	System           bool   // a token for the system instead: such an account is told what it cannot see, and serves for nothing else
	AppCredID        string
	AppCredSecret    string
	Region           string                                    // default: any, where the catalog has each service once
	Endpoints        map[string]string                         // URLs of services in place of the catalog's, by the names that Services lists
	Interface        string                                    // public (default), internal, admin
	CAFile           string                                    // PEM, in place of the system's
	Timeout          time.Duration                             // of one request; default 60 s
	PageSize         int                                       // rows asked for at once; default 500
	MaxResponse      int64                                     // bytes of one answer; default 64 MiB
	Retries          int                                       // of one reading; default 4; negative: none
	MaxWait          time.Duration                             // between retries, whatever Retry-After says; default 30 s
	Around           func(http.RoundTripper) http.RoundTripper // wraps every request, for tracing and fault tests; may be nil
	Pages            cloud.Pages                               // where a walk is kept on its way, so that it can go on when it was cut; nil: nowhere
	MaxTargetedReads int                                       // single re-reads that a snapshot may spend on contradictions; default 200
}

func (c Config) withDefaults() Config {
	set := func(s *string, d string) {
		if *s == "" {
			*s = d
		}
	}
	set(&c.UserDomain, "Default")
	set(&c.ProjectDomain, c.UserDomain)
	set(&c.Interface, "public")
	set(&c.Cloud, "cloud")
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	if c.PageSize == 0 {
		c.PageSize = 500
	}
	if c.MaxResponse == 0 {
		c.MaxResponse = 64 << 20
	}
	if c.Retries == 0 {
		c.Retries = 4
	}
	if c.MaxWait == 0 {
		c.MaxWait = 30 * time.Second
	}
	if c.MaxTargetedReads == 0 {
		c.MaxTargetedReads = 200
	}
	return c
}

func (c Config) auth() (*gophercloud.AuthOptions, error) {
	o := &gophercloud.AuthOptions{IdentityEndpoint: c.AuthURL, AllowReauth: true}
	switch {
	case c.AuthURL == "":
		return nil, fault.New(fault.Config, "cloud %q has no auth_url", c.Cloud)
	case c.AppCredID != "" && c.AppCredSecret != "":
		o.ApplicationCredentialID, o.ApplicationCredentialSecret = c.AppCredID, c.AppCredSecret
	case c.System && c.Username != "" && c.Password != "":
		o.Username, o.Password, o.DomainName = c.Username, c.Password, c.UserDomain
		o.Scope = &gophercloud.AuthScope{System: true}
	case c.Username != "" && c.Password != "" && c.Project != "":
		o.Username, o.Password, o.DomainName = c.Username, c.Password, c.UserDomain
		o.Scope = &gophercloud.AuthScope{ProjectName: c.Project, DomainName: c.ProjectDomain}
	default:
		return nil, fault.New(fault.Config, "cloud %q has no complete credential", c.Cloud).
			Hinted("give an application credential's id and secret, or username, password and project")
	}
	return o, nil
}

// client makes the HTTP client: certificates are verified, answers are bounded, redirects are not followed, for
// they would carry the token elsewhere.
func (c Config) client(to *hosts) (http.Client, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return http.Client{}, fault.New(fault.Config, "cannot read the CA file: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return http.Client{}, fault.New(fault.Config, "no certificate in the CA file %s", c.CAFile)
		}
	}
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: conf, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 8,
		IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: 15 * time.Second, ResponseHeaderTimeout: c.Timeout}
	var rt http.RoundTripper = &bounded{t, c.MaxResponse, to}
	if c.Around != nil {
		rt = c.Around(rt)
	}
	return http.Client{Transport: rt, Timeout: c.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

// mask takes the secrets out of a text.
func (c Config) mask(s string) string {
	for _, secret := range []string{c.Password, c.AppCredSecret} {
		if secret != "" {
			s = strings.ReplaceAll(s, secret, "***")
		}
	}
	return s
}
