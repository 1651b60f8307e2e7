package serve

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"demarc/internal/asset"
	"demarc/internal/cloud"
	"demarc/internal/cloud/openstack"
	"demarc/internal/detect"
	"demarc/internal/detect/service"
	"demarc/internal/fault"
	"demarc/internal/flow"
	"demarc/internal/policy"
	"demarc/internal/post"
	"demarc/internal/probe"
	"demarc/internal/reach"
	"demarc/internal/scan"
	"demarc/internal/store"
)

// Version is what Demarc calls itself towards those it probes. A release sets it.
var Version = "dev"

// Demarc is one wired instance.
type Demarc struct {
	Config *Config
	Policy *policy.Policy
	DB     *store.DB
	Line   *flow.Line
	clock  flow.Clock
	clouds []*openstack.Cloud // the one that reads, then the one that acts, where it is another
	log    *slog.Logger
}

// Options are what a caller may change beside the file.
type Options struct {
	Clock flow.Clock
	Tell  func(flow.Happening)
	Log   *slog.Logger
	Wrap  func(*flow.Config)                        // tests put faults between the line and what it touches
	HTTP  func(http.RoundTripper) http.RoundTripper // and between it and the cloud's APIs

	CallMayTake time.Duration // how long one request to the cloud may take before the server is not well; default 30 s
}

// Open connects everything a configuration names: the database, the cloud, the vantage points, the mail hop.
func Open(ctx context.Context, c *Config, p *policy.Policy, o Options) (*Demarc, error) {
	checks, err := detect.Load()
	if err != nil {
		return nil, err
	}
	sender, err := post.NewSMTP(post.Config{Host: c.Mail.Host, Port: c.Mail.Port, TLS: c.Mail.TLS, From: c.Mail.From,
		ReplyTo: c.Mail.ReplyTo, EHLO: c.Mail.EHLO, User: c.Mail.User, Password: c.Mail.password})
	if err != nil {
		return nil, err
	}
	hands, local, err := c.connect(ctx, o.HTTP)
	if err != nil {
		return nil, err
	}
	if bs := c.abroad(p); !local && len(bs) > 0 {
		return nil, errors.Join(fault.New(fault.Refused, "%s, and not every service of the cloud is on this machine", bs[0].what).Hinted("%s", bs[0].remedy), closeAll(hands))
	}
	db, err := c.OpenDatabase(ctx)
	if err != nil {
		return nil, errors.Join(err, closeAll(hands))
	}
	d := &Demarc{Config: c, Policy: p, DB: db, clock: o.Clock, clouds: hands, log: cmp.Or(o.Log, slog.New(slog.DiscardHandler))}
	hands[0].KeepPages(db)
	fc := flow.Config{
		Cloud: c.Cloud.Name, Reader: hands[0], Loopback: local, Vantages: c.vantages(o.Clock), Policy: p, Model: c.model, Region: c.Cloud.Region, Checks: checks,
		Contacts: c.contacts(), PolicyURL: c.PolicyURL, GuideURL: c.GuideURL, Sender: sender, Ledger: db, Clock: o.Clock, Limits: c.limits(), Quarantine: c.quarantine(), Netblocks: c.Netblocks, Insiders: c.Institution(),
		Protected: func(s asset.Server) bool { return slices.Contains(c.Protected, s.ID) }, Remedy: openstack.Remedy, Tell: o.Tell, Log: o.Log,
	}
	if acts, err := c.needsActor(ctx, db); err != nil {
		return nil, errors.Join(err, d.Close())
	} else if acts {
		fc.Actor = cloud.Actor(hands[len(hands)-1])
	}
	if o.Wrap != nil {
		o.Wrap(&fc)
	}
	d.Line = flow.New(fc)
	return d, nil
}

func closeAll(clouds []*openstack.Cloud) error {
	for _, c := range clouds {
		c.Close()
	}
	return nil
}

// Close lets go of everything.
func (d *Demarc) Close() error { return errors.Join(closeAll(d.clouds), d.DB.Close()) }

// connect authenticates to the cloud, once to read and, where an account of its own is given for it, once to act. Local tells
// whether every service that either account was led to is on this machine.
func (c *Config) connect(ctx context.Context, around func(http.RoundTripper) http.RoundTripper) (hands []*openstack.Cloud, local bool, err error) {
	accounts := []func() (openstack.Config, error){c.reader}
	if c.Enforce.Given() {
		accounts = append(accounts, c.actor)
	}
	local = true
	for _, account := range accounts {
		conf, err := account()
		if err != nil {
			return nil, false, errors.Join(err, closeAll(hands))
		}
		conf.Around = around
		driver, err := openstack.Connect(ctx, conf)
		if err != nil {
			return nil, false, errors.Join(err, closeAll(hands))
		}
		hands = append(hands, driver)
		local = local && loopback(conf.AuthURL) && !slices.ContainsFunc(driver.Endpoints(), func(u string) bool { return !loopback(u) })
	}
	return hands, local, nil
}

// reader is the account that reads.
func (c *Config) reader() (openstack.Config, error) {
	k := c.Cloud
	if k.CloudsFile != "" {
		conf, err := openstack.FromCloudsYAML(c.path(k.CloudsFile), k.CloudsEntry)
		conf.Cloud = k.Name
		c.over(&conf)
		return conf, err
	}
	conf := openstack.Config{Cloud: k.Name, AuthURL: k.AuthURL, Username: k.Username, Password: k.password,
		UserDomain: k.UserDomain, Project: k.Project,
		ProjectDomain: k.ProjectDomain, AppCredID: k.CredentialID, AppCredSecret: k.appSecret}
	c.over(&conf)
	return conf, nil
}

// over sets what the configuration says of the way to the cloud over what a clouds.yaml says of it.
func (c *Config) over(conf *openstack.Config) {
	k := c.Cloud
	conf.Region, conf.Interface = cmp.Or(k.Region, conf.Region), cmp.Or(k.Interface, conf.Interface)
	conf.CAFile = cmp.Or(c.path(k.CAFile), conf.CAFile)
	if len(k.Endpoints) > 0 {
		conf.Endpoints = k.Endpoints
	}
}

// actor is the account that acts.
func (c *Config) actor() (openstack.Config, error) {
	e := c.Enforce
	if e.CloudsFile != "" {
		conf, err := openstack.FromCloudsYAML(c.path(e.CloudsFile), e.CloudsEntry)
		conf.Cloud = c.Cloud.Name
		conf.Region, conf.Interface = cmp.Or(conf.Region, c.Cloud.Region), cmp.Or(conf.Interface, c.Cloud.Interface)
		if len(conf.Endpoints) == 0 {
			conf.Endpoints = c.Cloud.Endpoints
		}
		return conf, err
	}
	base, err := c.reader()
	return openstack.Config{Cloud: base.Cloud, AuthURL: base.AuthURL, Region: base.Region, Interface: base.Interface,
		Endpoints: base.Endpoints, CAFile: base.CAFile, AppCredID: e.CredentialID, AppCredSecret: e.appSecret}, err
}

// vantages builds an engine for each vantage point. It may probe what the operator declared, and nothing else; loopback
// only where a declared netblock is on it.
func (c *Config) vantages(clock flow.Clock) []flow.Vantage {
	var out []flow.Vantage
	for _, v := range c.Vantages {
		allow, _ := c.blocks(v)
		conf := scan.Config{Vantage: v.Name, Allow: allow, Namespace: v.Namespace, Self: service.Self{Version: Version, Policy: c.PolicyURL}, Clock: clock.Now,
			ConnectTimeout: time.Duration(v.ConnectTimeout), BannerTime: time.Duration(v.BannerTime), QuietTime: time.Duration(v.QuietTime), HostRate: v.HostRate, Rate: v.Rate}
		if v.HostRate > 20 {
			conf.TalkRate, conf.TalkAtOnce = v.HostRate/4, 8
		}
		if v.Bind {
			conf.Sources = v.bound()
		}
		out = append(out, flow.Vantage{
			Vantage: probe.Vantage{Name: v.Name, Zone: probe.Zone(v.Zone), Sources: v.Sources},
			View:    c.view(v),
			Engine:  scan.New(conf),
		})
	}
	return out
}

// bound lists the sources that probes are sent from where they are bound: the first of each address family.
func (v Vantage) bound() []netip.Addr {
	var out []netip.Addr
	for _, any := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		if s := scan.SourceFor(v.Sources, any); s.IsValid() {
			out = append(out, s)
		}
	}
	return out
}

// view is what a vantage point stands for in the computation of reach.
func (c *Config) view(v Vantage) reach.View {
	_, visible := c.blocks(v)
	if len(visible) == 0 && len(c.Netblocks) > 0 {
		visible = nowhere
	}
	w := reach.View{Zone: probe.Zone(v.Zone), Prefixes: v.Prefixes, Except: v.Except, Scanners: v.Sources, Blocks: visible}
	if v.Bind {
		w.Scanners = v.bound()
	}
	if len(w.Prefixes) == 0 {
		w.Prefixes = everywhere()
	}
	if w.Zone == probe.Internet {
		w.Except = slices.Concat(w.Except, reach.NotInternet)
	}
	return w
}

// nowhere is a range in which nobody is, for a vantage point that sees none of the netblocks: no range at all would mean every address.
// Source: RFC 6890, "this host on this network".
var nowhere = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/32")}

// blocks lists what the operator declared: all of it, and what is probed from a vantage point.
func (c *Config) blocks(v Vantage) (all, visible []netip.Prefix) {
	for _, b := range c.Netblocks {
		all = append(all, b.CIDR)
		if b.From(v.Name, v.Zone) {
			visible = append(visible, b.CIDR)
		}
	}
	return all, visible
}

// loopback tells whether a URL's host is an address on 127.0.0.0/8. A name is not resolved: what it leads to can change.
func loopback(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(u.Hostname())
	return err == nil && netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8).Contains(a)
}
