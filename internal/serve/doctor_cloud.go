package serve

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"demarc/internal/asset"
	"demarc/internal/cloud"
	"demarc/internal/cloud/openstack"
	"demarc/internal/policy"
)

// clouds looks at the accounts. The second is held against the first, and the clock against what the cloud answered to both.
type clouds struct {
	Doctor
	read    chan struct{} // closed when the first was looked at
	acted   chan struct{} // and the second
	account *openstack.Account
	endings []string
	hours   *hours
}

func newClouds(d Doctor) *clouds {
	return &clouds{Doctor: d, read: make(chan struct{}), acted: make(chan struct{}), hours: &hours{now: d.Now}}
}

// soon is how long before a credential ends it is told.
const soon = 14 * 24 * time.Hour

// connect asks for a token, and tells what keeps us from one.
func (c *clouds) connect(ctx context.Context, k *chart, conf openstack.Config, refused, unreachable Code) *openstack.Cloud {
	conf.Around = func(t http.RoundTripper) http.RoundTripper {
		if c.HTTP != nil {
			t = c.HTTP(t)
		}
		return c.hours.around(t)
	}
	conf.Timeout, conf.Retries, conf.MaxWait = c.Bound, 1, time.Second
	ctx, cancel := context.WithTimeout(ctx, c.Bound)
	defer cancel()
	began := c.Now()
	driver, err := openstack.Connect(ctx, conf)
	switch {
	case errors.Is(err, cloud.ErrCredential):
		k.fault(refused, "", err)
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		k.fail(unreachable, "check that the auth_url and the services of the catalog answer from this machine", "no answer from %s within %s", conf.AuthURL, c.Bound)
		return nil
	case err != nil:
		k.fault(unreachable, "check that the auth_url and the services of the catalog answer from this machine", err)
		return nil
	}
	c.hours.issued(driver.Self(ctx).Issued, began, c.Now())
	return driver
}

// reader looks at the account that reads.
func (c *clouds) reader(ctx context.Context, k *chart) {
	defer close(c.read)
	conf, err := c.Config.reader()
	if err != nil {
		k.fault(CloudUnreachable, "", err)
		return
	}
	driver := c.connect(ctx, k, conf, CloudRefused, CloudUnreachable)
	if driver == nil {
		return
	}
	defer driver.Close()
	c.endings = driver.Endpoints()
	short, cancel := context.WithTimeout(ctx, c.Bound)
	defer cancel()
	a := driver.Self(short)
	c.account = &a
	c.whoReads(k, a)
	c.ends(k, a)
	c.mayBeHere(k, append(driver.Endpoints(), conf.AuthURL))
	if a.Changes && (a.Admin() || slices.Contains(a.Roles, "member") || slices.Contains(a.Roles, "manager")) && c.Config.Enforce.Given() {
		k.warn(CloudCanChange, "make its credential anew with access rules that allow GET alone: openstack application credential create --access-rules FILE",
			"the account that only has to read may also change: no access rule keeps it from that")
	}
	sights := driver.Sights(short)
	if whatIsSeen(k, a, sights) {
		c.whole(ctx, k, driver)
	}
}

// whoReads tells the account model in force, and what follows from it.
func (c *clouds) whoReads(k *chart, a openstack.Account) {
	who := fmt.Sprintf("%s with %s in project %s", a.User.Terminal(), roles(a), a.Project.Terminal())
	const model = "give the account the role admin in one project, and guard it as an administrator's: openstack role add --user USER --project PROJECT admin"
	switch {
	case a.System:
		k.fail(CloudSystem, model, "the token is for the system, with %s: Nova refuses such a token or shows it what is its own, and Neutron shows nothing", roles(a))
	case a.Admin():
		k.fine(CloudAccount, "model A: %s; one token shows every project", who)
	case a.Projects > 1:
		k.fail(CloudPerProject, model, "model B: %s, and roles in %d projects: each needs a token of its own, which this release does not ask for; it sees one project and acts in none", who, a.Projects)
	default:
		k.fail(CloudReaderOnly, model, "model C: %s, and no role that shows what is others'", who)
	}
}

func roles(a openstack.Account) string {
	if len(a.Roles) == 0 {
		return "no role"
	}
	return "the role " + strings.Join(slices.Sorted(slices.Values(a.Roles)), ", ")
}

func (c *clouds) ends(k *chart, a openstack.Account) {
	if a.Expires == 0 {
		return
	}
	if at := time.UnixMicro(a.Expires).UTC(); at.Sub(c.Now()) < soon {
		k.warn(Expiring, "make a new one before, and name it in the configuration", "the credential of %s ends at %s", a.User.Terminal(), at.Format(time.RFC3339))
	}
}

// whatIsSeen tells of each service what is proven visible and what is not. It is true where nothing speaks against a whole reading.
func whatIsSeen(k *chart, a openstack.Account, sights []openstack.Sight) bool {
	const remedy = "the account needs the role admin in its project, or the service's policy must let its role list what is others'"
	well, elsewhere := true, 0
	for _, s := range sights {
		names := map[string]string{"identity": "Keystone", "compute": "Nova", "network": "Neutron", "image": "Glance"}
		name := names[s.Service]
		switch {
		case s.Err != nil:
			well = false
			k.fault(CloudPartial, remedy, fmt.Errorf("%s is not seen: %w", name, s.Err))
		case s.Service == "network" && (s.Blind > 0 || !a.Admin() && s.Others == 0 || s.Others == 0 && elsewhere > 0):
			well = false
			k.fail(CloudSilent, remedy, "Neutron answers with HTTP 200 and shows no port of another project%s: an empty list from it means nothing", blind(s))
		case s.Service == "network":
			k.fine(CloudCoverage, "Neutron shows ports of %d other projects%s", s.Others, asked(s))
		case s.Service == "compute":
			elsewhere = s.Others
			k.fine(CloudCoverage, "Nova lists servers of %d other projects", s.Others)
		case s.Service == "identity":
			k.fine(CloudCoverage, "Keystone lists %d projects", s.Rows)
		default:
			k.fine(CloudCoverage, "%s lists %d images in its first page", name, s.Rows)
		}
	}
	return well
}

func blind(s openstack.Sight) string {
	if s.Blind == 0 {
		return ""
	}
	return fmt.Sprintf(", though Nova lists the addresses of %d of %d machines that were asked for", s.Blind, s.Asked)
}

func asked(s openstack.Sight) string {
	if s.Asked == 0 {
		return ""
	}
	return fmt.Sprintf(", and those of %d machines that were asked for by name", s.Asked)
}

// whole reads the cloud as the line does, and tells the gaps.
func (c *clouds) whole(ctx context.Context, k *chart, driver *openstack.Cloud) {
	ctx, cancel := context.WithTimeout(ctx, c.Whole)
	defer cancel()
	s, err := driver.Snapshot(ctx, func() int64 { return c.Now().UnixMicro() })
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		k.warn(CloudUnproven, "see the coverage of the running server: demarc coverage", "the cloud is too large to be read in %s: what was asked for was seen, the rest is not proven", c.Whole)
	case err != nil:
		k.fault(CloudPartial, "", err)
	case !s.Complete():
		k.fail(CloudPartial, "see what the account may list; nothing is taken for gone or for not exposed while this lasts", "a reading of the cloud is not complete: %s", told(s.Gaps))
	default:
		k.fine(CloudCoverage, "a whole reading is complete: %d projects, %d servers, %d ports, %d floating IPs, %d groups", len(s.Projects), len(s.Servers), len(s.Ports), len(s.FloatingIPs), len(s.Groups))
	}
	if s != nil && len(s.Unreadable) > 0 {
		k.warn(CloudUnreadable, "let the account read users and projects of every domain",
			"the account may not read all whom others refer to, so their owners are notified in their place: %s", unreadable(s.Unreadable))
	}
}

func unreadable(us []asset.Unreadable) string {
	gaps := make([]asset.Gap, len(us))
	for i, u := range us {
		gaps[i] = asset.Gap{Kind: u.Kind, Reason: u.Reason}
	}
	return told(gaps)
}

func told(gaps []asset.Gap) string {
	var out []string
	for _, g := range gaps[:min(3, len(gaps))] {
		out = append(out, g.Kind+": "+g.Reason)
	}
	if n := len(gaps) - len(out); n > 0 {
		out = append(out, fmt.Sprintf("and %d more", n))
	}
	return strings.Join(out, "; ")
}

// actor looks at the account that acts.
func (c *clouds) actor(ctx context.Context, k *chart) {
	defer close(c.acted)
	if !c.Config.Mode.AtLeast(policy.Enforce) {
		k.skip(EnforceOff, "the configuration allows the mode %s at most: no account that changes the cloud is needed", c.Config.Mode.Known())
		return
	}
	select {
	case <-c.read:
	case <-ctx.Done():
		k.fail(TookTooLong, "see the cloud", "the account that reads was looked at for too long")
		return
	}
	conf, err := c.Config.actor()
	if !c.Config.Enforce.Given() {
		conf, err = c.Config.reader()
		k.warn(EnforceOne, "make a second credential for acts and name it under enforcement, and hold the first to GET by access rules", "one account reads and acts: who steals it holds both")
	}
	if err != nil {
		k.fault(EnforceUnreachable, "", err)
		return
	}
	driver := c.connect(ctx, k, conf, EnforceRefused, EnforceUnreachable)
	if driver == nil {
		return
	}
	defer driver.Close()
	ctx, cancel := context.WithTimeout(ctx, c.Bound)
	defer cancel()
	c.mayAct(ctx, k, driver)
}

func (c *clouds) mayAct(ctx context.Context, k *chart, driver *openstack.Cloud) {
	a := driver.Self(ctx)
	if r := c.account; r != nil && c.Config.Enforce.Given() && a.UserID == r.UserID && a.Credential == r.Credential {
		k.warn(EnforceOne, "make a second credential for acts, and hold the first to GET by access rules", "cloud and enforcement name the same credential")
	}
	if !a.Admin() {
		k.fail(EnforceWeak, "give it the role admin in the project that keeps the quarantine group: openstack role add --user USER --project PROJECT admin",
			"%s has %s in project %s: it cannot change a port of another project, and a lock of its own would not hold against an owner", a.User.Terminal(), roles(a), a.Project.Terminal())
	} else {
		k.fine(EnforceAccount, "%s with %s in project %s may act in every project, and its lock holds", a.User.Terminal(), roles(a), a.Project.Terminal())
	}
	c.ends(k, a)
	if !a.HoldsByLock {
		k.fail(EnforceNoReason, "Nova of 2019 (Train) or later is needed", "Nova speaks 2.%d and tells no reason of a lock (2.73): nobody could tell our lock from another's", a.Microminor)
	}
	name := c.Config.quarantine().Name
	there, shared, err := driver.Quarantine(ctx, name)
	switch {
	case err != nil:
		k.fault(EnforceNoGroup, "the account must be able to list its own project's security groups", err)
	case shared:
		k.fail(EnforceShared, "openstack network rbac list --type security_group, then delete what shares it", "the group %s is shared: another project could open it", name)
	case there:
		k.fine(EnforceGroup, "the group %s is in project %s, and no other project shares it", name, a.Project.Terminal())
	default:
		k.fine(EnforceGroup, "the group %s will be made in project %s by the first act", name, a.Project.Terminal())
	}
	c.mayBeHere(k, driver.Endpoints())
}

// mayBeHere asks what serve asks before it starts.
func (c *clouds) mayBeHere(k *chart, endpoints []string) {
	if !slices.ContainsFunc(endpoints, func(u string) bool { return !loopback(u) }) {
		return
	}
	for _, b := range c.Config.abroad(c.Policy) {
		k.fail(EnforceNotHere, b.remedy, "%s, and a service of the cloud is not on this machine", b.what)
	}
}

// hours learns the cloud's time from its answers.
type hours struct {
	now  func() time.Time
	mu   sync.Mutex
	best time.Duration // of the quickest answer so far
	off  time.Duration // of this machine from the cloud
	any  bool
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls it.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (h *hours) around(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		began := h.now()
		res, err := next.RoundTrip(r)
		if err == nil {
			if at, err := http.ParseTime(res.Header.Get("Date")); err == nil {
				h.note(at, began, h.now())
			}
		}
		return res, err
	})
}

// issued takes the time of a token, for Keystone behind some servers tells no other.
func (h *hours) issued(us int64, began, ended time.Time) {
	if us != 0 {
		h.note(time.UnixMicro(us), began, ended)
	}
}

// note takes in an answer: the quicker it came, the better it tells. A Date has whole seconds.
func (h *hours) note(at, began, ended time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if took := ended.Sub(began); !h.any || took < h.best {
		h.any, h.best, h.off = true, took, began.Add(took/2).Sub(at.Add(500*time.Millisecond))
	}
}
