package openstack

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"demarc/internal/cloud"
	"demarc/internal/fault"
	"demarc/internal/untrusted"
)

// Config says which cloud, and as whom. Either Username and Password or AppCredID and AppCredSecret are given.
type Config struct {
	Cloud   string // our name of the cloud, put into snapshots
	AuthURL string // of Keystone, with or without /v3

	Username         string
	UserID           string // in place of Username and its domain
	Password         string
	UserDomain       string // name; default "Default" where UserDomainID is empty too
	UserDomainID     string
	Project          string // name; the scope of the token and the home of quarantine groups
	ProjectID        string // in place of Project and its domain
	ProjectDomain    string // name; default: the user's domain, by name or id
	ProjectDomainID  string
	System           bool // a token for the system instead: such an account is told what it cannot see, and serves for nothing else
	AppCredID        string
	AppCredName      string // in place of AppCredID, with the user that it is of
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
	if c.UserDomainID == "" {
		set(&c.UserDomain, "Default")
	}
	if c.ProjectDomain == "" && c.ProjectDomainID == "" {
		c.ProjectDomain, c.ProjectDomainID = c.UserDomain, c.UserDomainID
	}
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

// auth is what Keystone is asked with. A domain is named as the configuration names it, by name or by id.
func (c Config) auth() (*gophercloud.AuthOptions, error) {
	o := &gophercloud.AuthOptions{IdentityEndpoint: c.AuthURL, AllowReauth: true}
	user := func() bool {
		if o.UserID = c.UserID; c.UserID == "" {
			o.Username, o.DomainName, o.DomainID = c.Username, c.UserDomain, c.UserDomainID
		}
		return c.UserID != "" || c.Username != ""
	}
	switch {
	case c.AuthURL == "":
		return nil, fault.New(fault.Config, "cloud %q has no auth_url", c.Cloud)
	case c.AppCredID != "" && c.AppCredSecret != "":
		o.ApplicationCredentialID, o.ApplicationCredentialSecret = c.AppCredID, c.AppCredSecret
	case c.AppCredName != "" && c.AppCredSecret != "" && user():
		o.ApplicationCredentialName, o.ApplicationCredentialSecret = c.AppCredName, c.AppCredSecret
	case c.System && c.Password != "" && user():
		o.Password, o.Scope = c.Password, &gophercloud.AuthScope{System: true}
	case c.ProjectID != "" && c.Password != "" && user():
		o.Password, o.Scope = c.Password, &gophercloud.AuthScope{ProjectID: c.ProjectID}
	case c.Project != "" && c.Password != "" && user():
		o.Password, o.Scope = c.Password, &gophercloud.AuthScope{ProjectName: c.Project, DomainName: c.ProjectDomain, DomainID: c.ProjectDomainID}
	default:
		return nil, fault.New(fault.Config, "cloud %q has no complete credential: it lacks %s", c.Cloud, c.lacks()).
			Hinted("give an application credential's id and secret, or username, password and project")
	}
	return o, nil
}

// lacks says what a credential needs that is not there.
func (c Config) lacks() string {
	var out []string
	if c.AppCredID != "" || c.AppCredName != "" || c.AppCredSecret != "" {
		if c.AppCredID == "" && c.AppCredName == "" {
			out = append(out, "the application credential's id")
		}
		if c.AppCredSecret == "" {
			out = append(out, "the application credential's secret")
		}
		if c.AppCredID == "" && c.AppCredName != "" && c.Username == "" && c.UserID == "" {
			out = append(out, "the user of the application credential")
		}
		return strings.Join(out, ", ")
	}
	if c.Username == "" && c.UserID == "" {
		out = append(out, "the user")
	}
	if c.Password == "" {
		out = append(out, "the password")
	}
	if c.Project == "" && c.ProjectID == "" && !c.System {
		out = append(out, "the project")
	}
	return strings.Join(out, ", ")
}

// client makes the HTTP client: certificates are verified, answers are bounded, redirects are not followed, for
// they would carry the token elsewhere.
func (c Config) client(to *hosts) (http.Client, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := fault.ReadFile(c.CAFile)
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

// shown makes a text of the cloud safe to show. The secrets are taken out first: once it is cut and escaped, a part of one, or one with a
// backslash, would not be found.
func (c Config) shown(s string) string {
	for _, secret := range []string{c.Password, c.AppCredSecret} {
		if secret != "" {
			s = strings.ReplaceAll(s, secret, "***")
		}
	}
	return untrusted.From(s).Cap(300).Terminal()
}
