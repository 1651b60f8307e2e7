// Package serve is one running Demarc, wired from its configuration.
package serve

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"demarc/internal/asset"
	"demarc/internal/casework/notice"
	"demarc/internal/cloud"
	"demarc/internal/cloud/openstack"
	"demarc/internal/detect"
	"demarc/internal/duty"
	"demarc/internal/fault"
	"demarc/internal/flow"
	"demarc/internal/plan"
	"demarc/internal/policy"
	"demarc/internal/post"
	"demarc/internal/probe"
)

// Config is the operator's file. Every secret is named by the file that holds it.
type Config struct {
	Database   string            `yaml:"database"`               // path of a SQLite file, or postgres://user@host/database
	DBPassword string            `yaml:"database_password_file"` // for PostgreSQL; without it PGPASSFILE is read
	AuditHeads string            `yaml:"audit_heads"`            // file of the audit log's heads; default: the SQLite file's name with .heads, or demarc.heads beside this file
	Policy     string            `yaml:"policy"`                 // path of the policy; empty: the default policy
	Mode       policy.Mode       `yaml:"mode"`                   // observe, notify or enforce: the highest mode allowed; empty: observe
	PolicyURL  string            `yaml:"policy_url"`             // the page that says why we probe; stands in every probe and mail
	GuideURL   string            `yaml:"guidance_url"`           // where the pages of demarc guide export are published; mails link to them
	Cloud      Cloud             `yaml:"cloud"`
	Enforce    Enforcement       `yaml:"enforcement"`
	Netblocks  []policy.Netblock `yaml:"netblocks"`
	BlocksFile string            `yaml:"netblocks_file"` // a list of further netblocks; demarc netblock add writes there
	Vantages   []Vantage         `yaml:"vantages"`
	Duties     string            `yaml:"duties"`    // path of a responsibility model of one's own; empty: the default model
	Contracts  []duty.Contract   `yaml:"contracts"` // beside those of the model
	Offerings  []duty.Offering   `yaml:"offerings"` // beside those of the model: what is not a plain virtual machine under IaaS
	Mail       Mail              `yaml:"mail"`
	Quarantine Quarantine        `yaml:"quarantine"`
	Protected  []asset.ServerID  `yaml:"protected"` // servers that are never acted on
	Sample     Sample            `yaml:"sample"`
	Socket     string            `yaml:"socket"`      // where people decide; default demarc.sock beside this file
	Approvers  []string          `yaml:"approvers"`   // accounts of this machine, by name or uid, that may decide there; default: root and the server's own
	Health     string            `yaml:"health"`      // address on loopback that tells whether the server works; empty: none
	AlertAfter policy.Duration   `yaml:"alert_after"` // after how long work that is not done is mailed to the operators; default 15m
	Clock      Clock             `yaml:"clock"`

	dir        string   // of the file: relative paths count from there
	inline     int      // so many netblocks are of the file itself
	examined   bool     // by the doctor, to whom an unknown approver is a finding
	strangers  []string // approvers that this machine does not have
	begins     bool     // the file of netblocks may be missing: it is about to be written
	dbPassword string
	own        *duty.Model // as its file has it
	model      *duty.Model // with the contracts and offerings of this file
}

// Cloud says which cloud, and as whom.
type Cloud struct {
	Name           string `yaml:"name"`
	AuthURL        string `yaml:"auth_url"`
	Username       string `yaml:"username"`
	PasswordFile   string `yaml:"password_file"`
	UserDomain     string `yaml:"user_domain"`
	Project        string `yaml:"project"`
	ProjectDomain  string `yaml:"project_domain"`
	CredentialID   string `yaml:"application_credential_id"`
	CredentialFile string `yaml:"application_credential_secret_file"`
	Region         string `yaml:"region"`
	CAFile         string `yaml:"ca_file"`
	Interface      string `yaml:"interface"` // of the catalog's endpoints: public, internal, admin; empty: public
	// Endpoints names the URLs of services that the catalog has several times, or wrong, by openstack.Services.
	Endpoints           map[string]string `yaml:"endpoints"`
	CloudsFile          string            `yaml:"clouds_file"`  // a clouds.yaml, instead of the above
	CloudsEntry         string            `yaml:"clouds_entry"` // and the name in it
	password, appSecret string
}

// Enforcement is the account that changes ports and machines; the one under cloud then only reads. The cloud's auth_url, region
// and CA hold for it too, but for those that a clouds.yaml names.
type Enforcement struct {
	CredentialID   string `yaml:"application_credential_id"`
	CredentialFile string `yaml:"application_credential_secret_file"`
	CloudsFile     string `yaml:"clouds_file"`
	CloudsEntry    string `yaml:"clouds_entry"`
	appSecret      string
}

// Given tells whether there is an account of its own for acts.
func (e Enforcement) Given() bool { return e.CredentialID != "" || e.CloudsFile != "" }

// Clock says how policy time passes.
type Clock struct {
	Rate int `yaml:"rate"` // seconds of policy time in one that is waited; default 1. More is for tests, on a cloud of this machine alone
}

// Vantage is a place to probe from.
type Vantage struct {
	Name           string          `yaml:"name"`
	Zone           string          `yaml:"zone"`            // internet, institution
	Sources        []netip.Addr    `yaml:"sources"`         // published addresses
	Prefixes       []netip.Prefix  `yaml:"prefixes"`        // the zone's addresses; empty: everywhere
	Except         []netip.Prefix  `yaml:"except"`          // what is not of the zone although prefixes hold it; private ranges never are of the internet
	Namespace      string          `yaml:"namespace"`       // network namespace to send from; needs root
	Bind           bool            `yaml:"bind"`            // send from the first source of the target's address family; else the kernel chooses
	ConnectTimeout policy.Duration `yaml:"connect_timeout"` // default 2s
	BannerTime     policy.Duration `yaml:"banner_time"`     // how long a greeting is waited for; default 1.2s
	QuietTime      policy.Duration `yaml:"quiet_time"`      // an answer that pauses this long is over; default 200ms
	HostRate       int             `yaml:"host_rate"`       // connects a second and host; default 20
	Rate           int             `yaml:"rate"`            // connects a second in all; default 500
}

// Mail says where mail goes and who the provider's own people are.
type Mail struct {
	Host         string `yaml:"host"`
	Port         int    `yaml:"port"`
	TLS          string `yaml:"tls"` // required, opportunistic, none
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
	From         string `yaml:"from"`
	ReplyTo      string `yaml:"reply_to"`
	EHLO         string `yaml:"ehlo"`        // the name by which the server greets the next hop; default: the machine's own
	Provider     string `yaml:"provider"`    // who acts for the provider; default: the provider's contact in the responsibility model
	Operators    string `yaml:"operators"`   // who approves and is asked
	Institution  string `yaml:"institution"` // whose cloud it is, in the signature of mails; default: the cloud's name
	password     string
}

// Quarantine is what a quarantined machine may still talk to, beside our scanners, which are always admitted.
type Quarantine struct {
	Name   string `yaml:"name"`
	Admit  []Hole `yaml:"admit"`
	Egress []Hole `yaml:"egress"`
}

// Hole admits one prefix.
type Hole struct {
	CIDR    netip.Prefix `yaml:"cidr"`
	Proto   string       `yaml:"proto"` // tcp, udp, icmp; empty: any
	Port    int          `yaml:"port"`  // 0: every port
	Purpose string       `yaml:"purpose"`
}

// Sample bounds what one sweep asks beyond what is open.
type Sample struct {
	Wide    int `yaml:"wide"`    // ports of each wide run beyond the known ones; default 64
	Control int `yaml:"control"` // denied endpoints; default 200
}

// Load reads a configuration, its policy and its secrets. The Mode of the policy is the highest that the configuration allows.
func Load(path string) (*Config, *policy.Policy, error) { return load(path, &Config{}) }

func load(path string, c *Config) (*Config, *policy.Policy, error) {
	data, err := fault.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	c.dir = filepath.Dir(path)
	if err := fault.DecodeYAML(path, data, c); err != nil {
		return nil, nil, removed(data, err)
	}
	if err := c.check(path, data); err != nil {
		return nil, nil, err
	}
	p, err := c.policy()
	if err != nil {
		return nil, nil, err
	}
	p = p.InMode(c.Mode)
	if u := c.Cloud.AuthURL; u != "" && !loopback(u) { // the address in a clouds.yaml is looked at when it is connected to
		if bs := c.abroad(p); len(bs) > 0 {
			return nil, nil, fault.New(fault.Refused, "%s, and the cloud is not on this machine", bs[0].what).In(fault.Place(path, data, bs[0].at)).Hinted("%s", bs[0].remedy)
		}
	}
	return c, p, nil
}

func (c *Config) policy() (*policy.Policy, error) {
	if c.Policy == "" {
		return policy.Default()
	}
	path := c.path(c.Policy)
	data, err := fault.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return policy.Parse(path, data)
}

// bar is what a configuration asks for and may not have on a cloud that is not on this machine.
type bar struct{ at, what, remedy string }

// abroad lists what keeps a configuration from any cloud but one of this machine.
func (c *Config) abroad(p *policy.Policy) []bar {
	var out []bar
	if c.Mode.AtLeast(policy.Enforce) {
		out = append(out, bar{"$.mode", "mode is enforce", "this release restricts servers only on clouds on 127.0.0.0/8; write `mode: notify`"})
	}
	if p.Recent > policy.Duration(time.Minute) {
		out = append(out, bar{"$.policy", fmt.Sprintf("recent_every of the policy is %s", p.Recent), "set recent_every to 60s at most: what a tenant opens is to be seen within a minute"})
	}
	if c.Clock.Rate > 1 {
		out = append(out, bar{"$.clock.rate", "policy time is compressed", "people need the time that mails promise; leave clock.rate out"})
	}
	return out
}

// path resolves a path of the file against the file's folder.
func (c *Config) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(c.dir, p)
}

// check holds the file against its own rules, and reads the secrets.
func (c *Config) check(file string, data []byte) error {
	at := func(yamlPath string, f *fault.Fault) error { return f.In(fault.Nearest(file, data, yamlPath)) }
	need := func(yamlPath, value string) error {
		if value == "" {
			return at(yamlPath, fault.New(fault.Config, "%s is missing", strings.TrimPrefix(yamlPath, "$.")))
		}
		return nil
	}
	for _, n := range []struct{ path, value string }{{"$.database", c.Database}, {"$.cloud.name", c.Cloud.Name}, {"$.mail.host", c.Mail.Host}, {"$.policy_url", c.PolicyURL}} {
		if err := need(n.path, n.value); err != nil {
			return err
		}
	}
	if !published(c.GuideURL) {
		return at("$.guidance_url", fault.New(fault.Config, "%q is no address of published pages", c.GuideURL).Hinted("write https://cloud.example/guidance/, without user, query or fragment"))
	}
	if err := c.database(at); err != nil {
		return err
	}
	if err := c.readModel(file, data); err != nil {
		return err
	}
	c.Mail.Provider = cmp.Or(c.Mail.Provider, c.own.Contact())
	if err := c.addresses(at); err != nil {
		return err
	}
	if len(c.Vantages) == 0 {
		return at("$.vantages", fault.New(fault.Config, "there is no vantage point").Hinted("name one with its zone and sources"))
	}
	for i, v := range c.Vantages {
		here := fmt.Sprintf("$.vantages[%d]", i)
		if slices.ContainsFunc(c.Vantages[:i], func(o Vantage) bool { return o.Name == v.Name }) {
			return at(here+".name", fault.New(fault.Config, "two vantage points are called %q", v.Name).Hinted("give each a name of its own"))
		}
		if v.Name == "" || len(v.Sources) == 0 {
			return at(here, fault.New(fault.Config, "vantage %d needs a name and its published sources", i+1))
		}
		if !slices.Contains(zones, v.Zone) {
			return at(here+".zone", fault.New(fault.Config, "unknown zone %q", v.Zone).Hinted("one of %s", strings.Join(zones, ", ")))
		}
	}
	if err := c.enums(file, data); err != nil {
		return err
	}
	if err := c.readNetblocks(file, data); err != nil {
		return err
	}
	return c.secrets(file, data)
}

// addresses checks the addresses of the configuration, and keeps them as they are sent.
func (c *Config) addresses(at func(string, *fault.Fault) error) error {
	for _, a := range []struct {
		path  string
		value *string
		may   bool
	}{
		{"$.mail.from", &c.Mail.From, false}, {"$.mail.provider", &c.Mail.Provider, false},
		{"$.mail.operators", &c.Mail.Operators, false}, {"$.mail.reply_to", &c.Mail.ReplyTo, true},
	} {
		if a.may && *a.value == "" {
			continue
		}
		address, ok := notice.CheckAddress(*a.value)
		switch {
		case !ok:
			return at(a.path, fault.New(fault.Config, "%q is not a plain mail address", *a.value).Hinted("write name@example.org"))
		case !notice.Plain(address):
			return at(a.path, fault.New(fault.Config, "not every mail server takes the address %q", *a.value).
				Hinted("write one whose part before @ is ASCII"))
		}
		*a.value = address
	}
	if c.Mail.EHLO != "" && !post.Greets(c.Mail.EHLO) {
		return at("$.mail.ehlo", fault.New(fault.Config, "%q is no name of a host", c.Mail.EHLO).
			Hinted("write mail.example.org, or an address as [192.0.2.10]"))
	}
	return nil
}

// published tells whether pages can be linked to below an address; empty means that there are none.
func published(base string) bool {
	u, err := url.Parse(base)
	return base == "" || err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.User == nil && !strings.ContainsAny(base, "?# \t")
}

// maxRate is a policy day in a little more than a second.
const maxRate = 72_000

var (
	zones    = []string{string(probe.Internet), string(probe.Institution)}
	sides    = []string{"public", "internal", "admin"}
	mailTLS  = []string{"required", "opportunistic", "none"}
	protocol = []string{"tcp", "udp", "icmp"}
)

// enums refuses words and netblocks that mean nothing, before anything relies on them.
func (c *Config) enums(file string, data []byte) error {
	refuse := func(yamlPath string, f *fault.Fault) error { return f.In(fault.Nearest(file, data, yamlPath)) }
	if f := c.checkMode(); f != nil {
		return refuse("$.mode", f)
	}
	if c.Mail.TLS != "" && !slices.Contains(mailTLS, c.Mail.TLS) {
		return refuse("$.mail.tls", fault.New(fault.Config, "unknown mail.tls %q", c.Mail.TLS).Hinted("one of %s", strings.Join(mailTLS, ", ")))
	}
	if k := c.Cloud; k.Interface != "" && !slices.Contains(sides, k.Interface) {
		return refuse("$.cloud.interface", fault.New(fault.Config, "unknown cloud.interface %q", k.Interface).
			Hinted("one of %s", strings.Join(sides, ", ")))
	}
	for name := range c.Cloud.Endpoints {
		if known := openstack.Services(); !slices.Contains(known, name) {
			return refuse("$.cloud.endpoints", fault.New(fault.Config, "unknown service %q under cloud.endpoints", name).
				Hinted("one of %s", strings.Join(known, ", ")))
		}
	}
	if e := c.Enforce; e.Given() && !c.Mode.AtLeast(policy.Enforce) {
		return refuse("$.enforcement", fault.New(fault.Config, "an enforcement account is given, and mode is %s", c.Mode.Known()).
			Hinted("write `mode: enforce`, or leave enforcement out: a credential that nothing uses is only a risk. "+
				"To lower the mode of a running server, use demarc mode set"))
	}
	if e := c.Enforce; e.CredentialID != "" && e.CloudsFile != "" || (e.CredentialID == "") != (e.CredentialFile == "") || (e.CloudsFile == "") != (e.CloudsEntry == "") {
		return refuse("$.enforcement", fault.New(fault.Config, "enforcement needs one complete account").
			Hinted("give application_credential_id with application_credential_secret_file, or clouds_file with clouds_entry"))
	}
	if r := c.Clock.Rate; r < 0 || r > maxRate {
		return refuse("$.clock.rate", fault.New(fault.Config, "policy time can not pass %d times as fast", r).Hinted("1 to %d; without it, 1", maxRate))
	}
	if c.Health != "" {
		if a, err := netip.ParseAddrPort(c.Health); err != nil || !a.Addr().IsLoopback() {
			return refuse("$.health", fault.New(fault.Config, "%q is no address and port on loopback", c.Health).Hinted("write 127.0.0.1:8610"))
		}
	}
	first := 0
	for i, a := range c.Approvers {
		if _, err := uidOf(a); err != nil {
			if c.strangers = append(c.strangers, a); len(c.strangers) == 1 {
				first = i
			}
		}
	}
	if n := len(c.strangers); n > 0 && !c.examined {
		f := fault.New(fault.Config, "there is no account %q on this machine", c.strangers[0])
		if n > 1 {
			f = fault.New(fault.Config, "there are no accounts %q on this machine", c.strangers)
		}
		return refuse(fmt.Sprintf("$.approvers[%d]", first), f.Hinted("give a login name, or a uid in quotes"))
	}
	if c.Mail.Port < 0 || c.Mail.Port > 65535 {
		return refuse("$.mail.port", fault.New(fault.Config, "%d is not a port", c.Mail.Port).Hinted("1 to 65535"))
	}
	for _, list := range []struct {
		name  string
		holes []Hole
	}{{"admit", c.Quarantine.Admit}, {"egress", c.Quarantine.Egress}} {
		for i, h := range list.holes {
			here := fmt.Sprintf("$.quarantine.%s[%d]", list.name, i)
			switch {
			case !h.CIDR.IsValid():
				return refuse(here+".cidr", fault.New(fault.Config, "an opening of the quarantine has no cidr").Hinted("write cidr: 192.0.2.0/24"))
			case h.Proto != "" && !slices.Contains(protocol, h.Proto):
				return refuse(here+".proto", fault.New(fault.Config, "unknown protocol %q", h.Proto).Hinted("one of %s; without it, any", strings.Join(protocol, ", ")))
			case h.Port < 0 || h.Port > 65535:
				return refuse(here+".port", fault.New(fault.Config, "%d is not a port", h.Port).Hinted("1 to 65535; without it, every port"))
			case h.Port != 0 && h.Proto != "tcp" && h.Proto != "udp":
				return refuse(here+".port", fault.New(fault.Config, "a port needs proto tcp or udp"))
			}
		}
	}
	return nil
}

// secrets reads the files that hold them.
func (c *Config) secrets(file string, data []byte) error {
	for _, s := range []struct {
		at, path string
		to       *string
	}{
		{"$.database_password_file", c.DBPassword, &c.dbPassword},
		{"$.cloud.password_file", c.Cloud.PasswordFile, &c.Cloud.password},
		{"$.cloud.application_credential_secret_file", c.Cloud.CredentialFile, &c.Cloud.appSecret},
		{"$.enforcement.application_credential_secret_file", c.Enforce.CredentialFile, &c.Enforce.appSecret},
		{"$.mail.password_file", c.Mail.PasswordFile, &c.Mail.password},
	} {
		if s.path == "" {
			continue
		}
		b, err := fault.ReadFile(c.path(s.path))
		if err != nil {
			return fault.New(fault.Config, "cannot read the secret: %w", err).In(fault.Place(file, data, s.at)).
				Hinted("the file must exist, hold text in UTF-8, and be readable by demarc alone")
		}
		if *s.to = strings.TrimSpace(string(b)); *s.to == "" {
			return fault.New(fault.Config, "the secret file %s is empty", s.path).In(fault.Place(file, data, s.at))
		}
	}
	return nil
}

// ReadModel reads a responsibility model whose checks are all known: those that come with the program, and the findings that no check makes.
func ReadModel(path string) (*duty.Model, error) {
	data, err := fault.ReadFile(path)
	if err != nil {
		return nil, err
	}
	checks, err := detect.Load()
	if err != nil {
		return nil, err
	}
	known := append([]string{flow.CheckLeak, flow.CheckBlocked}, flow.PostureChecks()...)
	for i := range checks {
		known = append(known, checks[i].ID)
	}
	return duty.ParseKnowing(path, data, known)
}

// Model is the responsibility model that the configuration names, without the contracts and offerings beside it.
func (c *Config) Model() *duty.Model { return c.own }

// readModel reads the responsibility model, and holds the contracts and offerings of the configuration against it.
func (c *Config) readModel(file string, data []byte) error {
	m, err := duty.Default()
	if c.Duties != "" {
		m, err = ReadModel(c.path(c.Duties))
	}
	if err != nil {
		return err
	}
	c.own = m
	c.model, err = m.With(c.Contracts, c.Offerings, func(path string) fault.Position { return fault.Nearest(file, data, path) })
	return err
}

func (c *Config) quarantine() cloud.QuarantineSpec {
	q := cloud.QuarantineSpec{Name: c.Quarantine.Name}
	if q.Name == "" {
		q.Name = "demarc-quarantine"
	}
	for _, v := range c.Vantages {
		for _, a := range v.Sources {
			q.Admit = append(q.Admit, cloud.Opening{Prefix: netip.PrefixFrom(a, a.BitLen()), Purpose: "demarc probes, so that a fix can be proven"})
		}
	}
	for _, h := range c.Quarantine.Admit {
		q.Admit = append(q.Admit, h.opening())
	}
	for _, h := range c.Quarantine.Egress {
		q.Egress = append(q.Egress, h.opening())
	}
	return q
}

func (h Hole) opening() cloud.Opening {
	return cloud.Opening{Prefix: h.CIDR, Proto: h.Proto, PortMin: h.Port, PortMax: h.Port, Purpose: h.Purpose}
}

func (c *Config) limits() plan.Limits {
	l := plan.Limits{Sample: c.Sample.Wide, Control: c.Sample.Control}
	if l.Sample == 0 {
		l.Sample = 64
	}
	if l.Control == 0 {
		l.Control = 200
	}
	return l
}

func (c *Config) contacts() notice.Contacts {
	_, domain, _ := strings.Cut(c.Mail.From, "@")
	return notice.Contacts{From: c.Mail.From, Provider: c.Mail.Provider, Operators: c.Mail.Operators, Domain: domain, Institution: c.Mail.Institution}
}
