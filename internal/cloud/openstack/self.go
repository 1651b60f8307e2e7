package openstack

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"demarc/internal/asset"
	"demarc/internal/untrusted"
)

// Account is whom a token stands for, as Keystone said when it issued it.
type Account struct {
	UserID      string
	User        untrusted.Text
	ProjectID   asset.ProjectID // "" where the token is for no project
	Project     untrusted.Text
	System      bool // for the system, and for no project
	Roles       []string
	Credential  string // id of the application credential; "" for a password
	Ruled       bool   // access rules hold the credential
	Changes     bool   // those rules, or the lack of any, let it ask for more than reading
	Issued      int64  // µs, by Keystone's clock
	Expires     int64  // of the password or the application credential; 0: never, or not told
	Projects    int    // that the user could have a token for; 0 where that was not told
	Microminor  int    // of the compute microversion that is spoken, 2.minor
	HoldsByLock bool   // Nova tells why a server is locked
}

// Admin tells whether the token has the role by which services show what is everybody's.
func (a Account) Admin() bool { return !a.System && slices.Contains(a.Roles, "admin") }

type wireToken struct {
	Issued string `json:"issued_at"`
	User   struct {
		ID, Name        string
		PasswordExpires string `json:"password_expires_at"`
	}
	Project    struct{ ID, Name string }
	Roles      []struct{ Name string }
	System     struct{ All bool }
	Credential *struct {
		ID    string
		Rules *[]struct{ Method string } `json:"access_rules"`
	} `json:"application_credential"`
}

// Self tells whom this account is. What Keystone does not tell stays empty.
func (c *Cloud) Self(ctx context.Context) Account {
	a := Account{Roles: c.roles, ProjectID: asset.ProjectID(c.project), Changes: true, Microminor: c.minor, HoldsByLock: c.minor >= wantedMicroversion}
	res, ok := c.identity.GetAuthResult().(tokens.CreateResult)
	var t wireToken
	if !ok || res.ExtractInto(&t) != nil {
		return a
	}
	a.UserID, a.User, a.Project, a.System = t.User.ID, untrusted.From(t.User.Name), untrusted.From(t.Project.Name), t.System.All
	a.Issued, a.Expires = micros(t.Issued), micros(t.User.PasswordExpires)
	if k := t.Credential; k != nil {
		a.Credential = k.ID
		if k.Rules != nil {
			a.Ruled = true
			a.Changes = slices.ContainsFunc(*k.Rules, func(r struct{ Method string }) bool { return r.Method != http.MethodGet && r.Method != http.MethodHead })
		}
		a.Expires = c.credentialExpires(ctx, t.User.ID, k.ID)
	} else if c.conf.AppCredID != "" {
		a.Credential = c.conf.AppCredID // an older Keystone does not repeat it
		a.Expires = c.credentialExpires(ctx, t.User.ID, c.conf.AppCredID)
	}
	var mine struct{ Projects []struct{ ID string } }
	if c.get(ctx, c.identity, c.identity.ServiceURL("auth", "projects"), &mine) == nil {
		a.Projects = len(mine.Projects)
	}
	return a
}

func (c *Cloud) credentialExpires(ctx context.Context, user, id string) int64 {
	var body struct {
		Credential struct {
			Expires string `json:"expires_at"`
		} `json:"application_credential"`
	}
	if c.get(ctx, c.identity, c.identity.ServiceURL("users", url.PathEscape(user), "application_credentials", url.PathEscape(id)), &body) != nil {
		return 0
	}
	return micros(body.Credential.Expires)
}

// Sight is what an account sees of one service, by a first page: enough to tell a service that shows everything from one that
// answers with what is the account's own, and calls that everything.
type Sight struct {
	Service string // identity, compute, network, image
	Rows    int
	Others  int   // projects other than the account's own, among them
	Blind   int   // machines of other projects whose addresses Nova lists and of which Neutron shows no port
	Asked   int   // machines that were asked for so
	Err     error // the service refused, or did not answer
}

// Sights looks at each service once.
func (c *Cloud) Sights(ctx context.Context) []Sight {
	identity, compute, network, image := Sight{Service: "identity"}, Sight{Service: "compute"}, Sight{Service: "network"}, Sight{Service: "image"}
	var projects []wireProject
	all := listing{client: c.identity, path: "projects", key: "projects", links: true}
	projects, identity.Err = walk(ctx, c, all, func(w wireProject) string { return w.ID })
	count(&identity, c.project, projects, func(w wireProject) string { return w.ID })

	var servers []wireServer
	servers, compute.Err = first[wireServer](ctx, c, c.compute, "servers/detail", "servers", url.Values{"all_tenants": {"true"}})
	count(&compute, c.project, servers, func(w wireServer) string { return w.TenantID })

	var ports []wirePort
	if ports, network.Err = first[wirePort](ctx, c, c.network, "ports", "ports", nil); network.Err == nil {
		count(&network, c.project, ports, func(w wirePort) string { return w.ProjectID })
		c.askPorts(ctx, &network, servers)
	}
	var images []wireImage
	images, image.Err = first[wireImage](ctx, c, c.image, "images", "images", nil)
	image.Rows = len(images)
	return []Sight{identity, compute, network, image}
}

// sampled is how many machines Neutron is asked for by name.
const sampled = 5

func (c *Cloud) askPorts(ctx context.Context, s *Sight, servers []wireServer) {
	for _, w := range servers {
		if w.TenantID == c.project || len(w.Addresses) == 0 || s.Asked >= sampled {
			continue
		}
		s.Asked++
		rows, err := first[wirePort](ctx, c, c.network, "ports", "ports", url.Values{"device_id": {w.ID}})
		if err != nil {
			s.Err = err
			return
		}
		if len(rows) == 0 {
			s.Blind++
		}
	}
}

// first reads the first page of a listing.
func first[W any](ctx context.Context, c *Cloud, client *gophercloud.ServiceClient, path, key string, q url.Values) ([]W, error) {
	p, err := fetch[W](ctx, c, listing{client: client, path: path, key: key, query: q}, "")
	var out []W
	for _, r := range p.rows {
		if r.odd == nil {
			out = append(out, r.value)
		}
	}
	return out, err
}

// count takes rows in, and the projects other than the account's own among them.
func count[W any](s *Sight, own string, rows []W, project func(W) string) {
	seen := map[string]bool{own: true, "": true}
	for _, w := range rows {
		s.Rows++
		if p := project(w); !seen[p] {
			seen[p] = true
			s.Others++
		}
	}
}

// Quarantine tells of the group that acts need, and changes nothing: whether it is there, and whether other projects share it.
func (c *Cloud) Quarantine(ctx context.Context, name string) (there, shared bool, err error) {
	q := url.Values{"name": {name}, "project_id": {c.project}}
	rows, err := walk(ctx, c, listing{client: c.network, path: "security-groups", key: "security_groups", query: q}, func(w wireGroup) string { return w.ID })
	for _, w := range rows {
		if w.ProjectID == c.project && w.Name == name {
			there, shared = true, shared || w.Shared
		}
	}
	return there, shared, err
}
