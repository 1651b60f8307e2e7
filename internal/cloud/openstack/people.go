package openstack

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"

	"demarc/internal/asset"
	"demarc/internal/cloud"
	"demarc/internal/untrusted"
)

const (
	// rememberGone is how long (µs) an id that Keystone does not know is not asked for again: grants outlive their users for years.
	rememberGone = 24 * 60 * 60 * 1_000_000
	// rememberRefused is how long (µs) an id that the account may not read is not asked for again.
	rememberRefused = 60 * 60 * 1_000_000
	// mostAsked is how many ids one reading asks Keystone for. What is left is asked for by the next one.
	mostAsked = 500
	// mostRemembered bounds what is kept of ids. Beyond it the older half is forgotten.
	mostRemembered = 200_000
)

// verdict is what Keystone said of one id.
type verdict struct {
	at      int64  // µs
	refused string // why the account may not read it; "": Keystone does not know the id
}

func (v verdict) fresh(now int64) bool {
	keep := int64(rememberGone)
	if v.refused != "" {
		keep = rememberRefused
	}
	return now >= v.at && now-v.at < keep
}

// verdicts remembers them, by path. It is used from many goroutines.
type verdicts struct {
	mu   sync.Mutex
	said map[string]verdict
}

func (k *verdicts) of(path string) (verdict, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	v, ok := k.said[path]
	return v, ok
}

func (k *verdicts) remember(path string, v verdict) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.said == nil {
		k.said = map[string]verdict{}
	}
	if len(k.said) >= mostRemembered {
		ats := slices.Sorted(func(yield func(int64) bool) {
			for _, v := range k.said {
				if !yield(v.at) {
					return
				}
			}
		})
		middle := ats[len(ats)/2]
		maps.DeleteFunc(k.said, func(_ string, v verdict) bool { return v.at <= middle })
	}
	k.said[path] = v
}

func (k *verdicts) forget(path string) {
	k.mu.Lock()
	delete(k.said, path)
	k.mu.Unlock()
}

// reference is an id that something refers to and no listing contained.
type reference struct {
	kind, id string // users or projects
	why      string
}

func (f reference) path() string { return f.kind + "/" + f.id }

// checkPeople asks Keystone for every user and project that grants, servers, ports and floating IPs name and that no listing contained.
// A Keystone may cut its listings without a sign: one that exists was cut off, and the listing is not complete. One that Keystone does not
// know is gone. One that the account may not read concerns only what depends on it.
func (r *reading) checkPeople(x *asset.Index) {
	asked, left := 0, map[string]int{}
	for _, f := range r.references(x) {
		if f.kind == "users" && x.Users[asset.UserID(f.id)] != nil {
			continue // the listing of its domain had it
		}
		v, known := r.c.known.of(f.path())
		if !known || !v.fresh(r.snap.Began) {
			if asked++; asked <= mostAsked {
				v, known = r.lookUp(x, f)
			} else if !known {
				left[f.kind]++
			}
		}
		if known && v.refused != "" {
			r.unreadable(f, v.refused)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(left)) {
		r.gap(kind, fmt.Sprintf(
			"%d that others refer to were not listed, and there was no time to ask for them: the next reading goes on", left[kind]))
	}
}

// references lists what is referred to and not there, each once, in a fixed order. Of a listing that was not read to its end nothing is
// listed: that is a gap already.
func (r *reading) references(x *asset.Index) []reference {
	var out []reference
	seen := map[string]bool{}
	refer := func(kind, id, why string) {
		f := reference{kind, id, why}
		if r.unread[kind] || id == "" || seen[f.path()] || r.leftOut[f.path()] || !nameable(id) {
			return
		}
		seen[f.path()] = true
		out = append(out, f)
	}
	project := func(id asset.ProjectID, why string) {
		if x.Projects[id] == nil {
			refer("projects", string(id), why)
		}
	}
	user := func(id asset.UserID, why string) {
		if x.Users[id] == nil {
			refer("users", string(id), why)
		}
	}
	for _, g := range r.snap.Grants {
		user(g.User, "a role on project "+string(g.Project)+" is granted to it")
		project(g.Project, "a role is granted on it")
	}
	for i := range r.snap.Servers {
		s := &r.snap.Servers[i]
		user(s.Creator, "it created server "+string(s.ID))
		project(s.Project, "server "+string(s.ID)+" belongs to it")
	}
	for i := range r.snap.Ports {
		project(r.snap.Ports[i].Project, "port "+string(r.snap.Ports[i].ID)+" belongs to it")
	}
	for i := range r.snap.FloatingIPs {
		project(r.snap.FloatingIPs[i].Project, "floating IP "+string(r.snap.FloatingIPs[i].ID)+" belongs to it")
	}
	return out
}

// nameable tells whether a text can be the id of a user or a project. Some directories give ids that are names.
func nameable(id string) bool {
	return len(id) <= 255 && untrusted.From(id).Terminal() == id && id != "." && id != ".." && !strings.ContainsAny(id, " /?#%\\")
}

// lookUp asks Keystone for one id. The verdict holds only where there is one.
func (r *reading) lookUp(x *asset.Index, f reference) (verdict, bool) {
	var body struct {
		User    wireUser
		Project wireProject
	}
	err := r.c.get(r.ctx, r.c.identity, r.c.identity.ServiceURL(f.kind, url.PathEscape(f.id)), &body)
	switch {
	case err == nil && body.User.ID+body.Project.ID != f.id:
		r.gap(f.kind, f.path()+" was not listed, and the answer about it is of another")
	case err == nil:
		r.c.known.forget(f.path())
		r.there(x, f, body.User, body.Project)
	case errors.Is(err, cloud.ErrNotFound):
		v := verdict{at: r.snap.Began}
		r.c.known.remember(f.path(), v)
		return v, true
	case errors.Is(err, errRefused):
		v := verdict{at: r.snap.Began, refused: "the cloud refuses to show it to this account"}
		r.c.known.remember(f.path(), v)
		return v, true
	default:
		r.gap(f.kind, f.path()+" was not listed and can not be asked for: "+err.Error())
	}
	return verdict{}, false
}

// there takes in what exists and was not listed. A Keystone with drivers of its own for some domains lists the users of one domain where
// none is named, so a user of a domain that no listed user is of is looked for in that domain's listing first.
func (r *reading) there(x *asset.Index, f reference, u wireUser, p wireProject) {
	if f.kind == "projects" {
		r.gap("projects", f.path()+" exists and was not listed; "+f.why)
		r.snap.Projects = append(r.snap.Projects, p.asset())
		return
	}
	if u.DomainID != "" && !r.domains[u.DomainID] {
		r.domains[u.DomainID] = true
		r.usersOf(x, u.DomainID)
		if x.Users[asset.UserID(f.id)] != nil {
			return
		}
	}
	r.gap("users", f.path()+" exists and was not listed; "+f.why)
	r.addUser(x, u)
}

// usersOf reads the users of one domain.
func (r *reading) usersOf(x *asset.Index, domain string) {
	l := listing{client: r.c.identity, path: "users", key: "users", query: url.Values{"domain_id": {domain}}, links: true}
	rows, err := walk(r.ctx, r.c, l, func(w wireUser) string { return w.ID })
	if err != nil {
		r.gap("users", "those of domain "+named(domain)+": "+err.Error())
	}
	for _, w := range rows {
		r.addUser(x, w)
	}
}

func (r *reading) addUser(x *asset.Index, w wireUser) {
	u := w.asset()
	if x.Users[u.ID] == nil {
		r.snap.Users = append(r.snap.Users, u)
		x.Users[u.ID] = &u
	}
}

// unreadable names what the account may not read. It is no gap of the listing.
func (r *reading) unreadable(f reference, why string) {
	kind := asset.UnreadContacts
	if f.kind == "projects" {
		kind = asset.UnreadGrants
	}
	r.snap.Unreadable = append(r.snap.Unreadable, asset.Unreadable{Kind: kind, ID: f.id, Reason: f.path() + ": " + why + "; " + f.why})
}

// errRefused says that the cloud knows the account and does not let it do this.
var errRefused = errors.New("the account may not")
