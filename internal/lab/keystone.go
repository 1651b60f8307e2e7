package lab

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// versions answers the discovery documents, which need no token. It knows them by an empty path or a version alone.
func (c *call) versions() (answer, bool) {
	if c.r.Method != http.MethodGet || len(c.path) > 1 || len(c.path) == 1 && !strings.HasPrefix(c.path[0], "v") {
		return answer{}, false
	}
	self := func(v string) []map[string]string {
		return []map[string]string{{"rel": "self", "href": c.w.base + "/" + c.service + "/" + v + "/"}}
	}
	alone := len(c.path) == 1
	switch c.service {
	case "identity":
		doc := map[string]any{"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z", "links": self("v3")}
		if alone {
			return answer{status: 200, body: map[string]any{"version": doc}}, true
		}
		return answer{status: 300, body: map[string]any{"versions": map[string]any{"values": []any{doc}}}}, true
	case "compute":
		doc := map[string]any{"id": "v2.1", "status": "CURRENT", "version": "2.93", "min_version": "2.1", "updated": "2013-07-23T11:33:21Z", "links": self("v2.1")}
		if alone {
			return answer{status: 200, body: map[string]any{"version": doc}}, true
		}
		return answer{status: 200, body: map[string]any{"versions": []any{doc}}}, true
	case "networking":
		if !alone {
			return answer{status: 200, body: map[string]any{"versions": []any{map[string]any{"id": "v2.0", "status": "CURRENT", "links": self("v2.0")}}}}, true
		}
	case "image":
		if !alone || c.path[0] == "versions" {
			doc := map[string]any{"id": "v2.16", "status": "CURRENT", "links": self("v2")}
			return answer{status: 300, body: map[string]any{"versions": []any{doc}}}, true
		}
	}
	return answer{}, false
}

type authRequest struct {
	Auth struct {
		Identity struct {
			Methods  []string `json:"methods"`
			Password struct {
				User struct {
					ID, Name, Password string
				} `json:"user"`
			} `json:"password"`
			AppCred struct {
				ID, Name, Secret string
				User             struct{ ID, Name string } `json:"user"`
			} `json:"application_credential"`
		} `json:"identity"`
		Scope struct {
			Project struct{ ID, Name string } `json:"project"`
		} `json:"scope"`
	} `json:"auth"`
}

func (c *call) issueToken() answer {
	var q authRequest
	if err := json.Unmarshal(c.body, &q); err != nil || len(q.Auth.Identity.Methods) == 0 {
		return keystoneError(400, "Bad Request", "Expecting to find auth in request body.")
	}
	user, project := c.w.identify(q)
	if user == nil || !user.Enabled {
		return keystoneError(401, "Unauthorized", "The request you have made requires authentication.")
	}
	role := ""
	if project != nil {
		role = user.roles[project.ID]
	}
	if role == "" || !project.Enabled {
		return keystoneError(401, "Unauthorized", "The request you have made requires authentication.")
	}
	now := time.Now().UTC()
	acc := &account{user: user, project: project, role: role, expires: now.Add(time.Duration(c.w.scenario.TokenLife) * time.Second)}
	acc.body = map[string]any{"token": map[string]any{
		"methods": q.Auth.Identity.Methods, "audit_ids": []string{"lab"},
		"user":       map[string]any{"id": user.ID, "name": user.Name, "domain": domain(), "password_expires_at": nil},
		"project":    map[string]any{"id": project.ID, "name": project.Name, "domain": domain()},
		"is_domain":  false,
		"roles":      []any{map[string]any{"id": c.w.hexID("role", role), "name": role}},
		"issued_at":  now.Add(c.w.clockOff).Format("2006-01-02T15:04:05.000000Z"),
		"expires_at": acc.expires.Add(c.w.clockOff).Format("2006-01-02T15:04:05.000000Z"),
		"catalog":    c.w.catalog(),
	}}
	if k := c.w.appCred(q); k != nil {
		body := map[string]any{"id": k.ID, "name": k.Name, "restricted": true}
		if k.ReadOnly {
			body["access_rules"] = []any{map[string]any{"id": c.w.hexID("rule", k.ID), "service": "compute", "path": "/v2.1/**", "method": "GET"}}
		}
		acc.body["token"].(map[string]any)["application_credential"] = body
	}
	token := randomToken()
	c.w.tokens[token] = acc
	return answer{status: 201, body: acc.body, header: http.Header{"X-Subject-Token": {token}}}
}

func (w *World) identify(q authRequest) (*userRow, *projectRow) {
	id := q.Auth.Identity
	switch id.Methods[0] {
	case "password":
		u := id.Password.User
		user := find(w.users, func(r *userRow) bool { return r.ID == u.ID && u.ID != "" || r.Name == u.Name && u.Name != "" })
		if user == nil || user.password == "" || user.password != u.Password {
			return nil, nil
		}
		p := q.Auth.Scope.Project
		return user, find(w.projects, func(r *projectRow) bool { return r.ID == p.ID && p.ID != "" || r.Name == p.Name && p.Name != "" })
	case "application_credential":
		if a := w.appCred(q); a != nil {
			return find(w.users, func(r *userRow) bool { return r.Name == a.User }), w.project(a.Project)
		}
	}
	return nil, nil
}

// appCred finds the application credential that a request proves to hold.
func (w *World) appCred(q authRequest) *AppCred {
	id := q.Auth.Identity
	if id.Methods[0] != "application_credential" {
		return nil
	}
	for i := range w.appCreds {
		a := &w.appCreds[i]
		named := a.ID == id.AppCred.ID && a.ID != "" || a.Name == id.AppCred.Name && a.Name != "" && a.User == id.AppCred.User.Name
		if named && a.Secret == id.AppCred.Secret && (a.Expires.IsZero() || time.Now().Before(a.Expires)) {
			return a
		}
	}
	return nil
}

func domain() map[string]any { return map[string]any{"id": "default", "name": "Default"} }

func (w *World) catalog() []any {
	var out []any
	services := [][3]string{{"identity", "keystone", "/identity"}, {"compute", "nova", "/compute/v2.1"}, {"network", "neutron", "/networking"}, {"image", "glance", "/image"}}
	if w.octavia() {
		services = append(services, [3]string{"load-balancer", "octavia", "/load-balancer"})
	}
	for _, s := range services {
		var ends []any
		for _, iface := range []string{"public", "internal", "admin"} {
			ends = append(ends, map[string]any{"id": w.hexID("endpoint", s[0]+iface), "interface": iface, "region": w.scenario.Region, "region_id": w.scenario.Region, "url": w.base + s[2]})
		}
		out = append(out, map[string]any{"id": w.hexID("service", s[0]), "type": s[0], "name": s[1], "endpoints": ends})
	}
	return out
}

func keystoneError(code int, title, message string) answer {
	return answer{status: code, body: map[string]any{"error": map[string]any{"code": code, "title": title, "message": message}}}
}

func (c *call) keystone() answer {
	if c.is("GET", "v3", "auth", "tokens") {
		return answer{status: 200, body: c.who.body, header: http.Header{"X-Subject-Token": {c.r.Header.Get("X-Subject-Token")}}}
	}
	if c.is("GET", "v3", "auth", "projects") {
		return keystoneList(c, "projects", slices.DeleteFunc(slices.Clone(c.w.projects), func(p *projectRow) bool { return c.who.user.roles[p.ID] == "" }))
	}
	if c.is("GET", "v3", "users", "*", "application_credentials", "*") && c.path[2] == c.who.user.ID {
		for _, a := range c.w.appCreds {
			if a.ID == c.path[4] && a.User == c.who.user.Name {
				body := map[string]any{"id": a.ID, "name": a.Name, "expires_at": nil}
				if !a.Expires.IsZero() {
					body["expires_at"] = a.Expires.UTC().Format("2006-01-02T15:04:05.000000")
				}
				return answer{status: 200, body: map[string]any{"application_credential": body}}
			}
		}
	}
	if !c.who.lists() {
		return keystoneError(403, "Forbidden", "You are not authorized to perform the requested action.")
	}
	switch {
	case c.is("GET", "v3", "projects"):
		return keystonePage(c, "projects", c.w.projects, func(p *projectRow) string { return p.ID })
	case c.is("GET", "v3", "projects", "*"):
		return keystoneOne(c, "project", find(c.w.projects, func(p *projectRow) bool { return p.ID == c.path[2] }))
	case c.is("GET", "v3", "users"):
		return keystonePage(c, "users", c.w.users, func(u *userRow) string { return u.ID })
	case c.is("GET", "v3", "users", "*"):
		return keystoneOne(c, "user", find(c.w.users, func(u *userRow) bool { return u.ID == c.path[2] }))
	case c.is("GET", "v3", "roles"):
		return keystoneList(c, "roles", c.w.roles())
	case c.is("GET", "v3", "role_assignments"):
		return keystoneList(c, "role_assignments", c.w.assignments(c.query.Has("include_names")))
	}
	return keystoneError(404, "Not Found", "Could not find the requested resource.")
}

// keystoneList answers all rows at once, as Keystone does. Lost rows come with the mark that Keystone sets when its
// list_limit cuts an answer.
func keystoneList[T any](c *call, key string, rows []T) answer {
	body := map[string]any{"links": map[string]any{"next": nil, "previous": nil, "self": c.w.base + c.r.URL.Path}}
	switch c.fault.Kind {
	case LostRows:
		rows = rows[:max(0, len(rows)-max(1, c.fault.Rows))]
		body["truncated"] = true
	case Empty:
		rows = nil
	}
	body[key] = nonNil(rows)
	return answer{status: 200, body: body}
}

// keystonePage answers as Keystone does since 2025.1: with limit it says that it cut and links onwards, and without limit it cuts without a
// sign. An older one gives all rows whatever is asked for.
func keystonePage[T any](c *call, key string, rows []T, id func(T) string) answer {
	most := c.w.scenario.KeyPages
	if most == 0 {
		return keystoneList(c, key, rows)
	}
	asked, err := strconv.Atoi(c.query.Get("limit"))
	limit := most
	if err == nil && asked > 0 {
		limit = min(asked, most)
	}
	if m := c.query.Get("marker"); m != "" {
		i := slices.IndexFunc(rows, func(r T) bool { return id(r) == m })
		if i < 0 {
			return keystoneError(400, "Bad Request", "Marker could not be found.")
		}
		rows = rows[i+1:]
	}
	rows = rows[:min(limit, len(rows))]
	links := map[string]any{"next": nil, "previous": nil, "self": c.w.base + c.r.URL.Path}
	body := map[string]any{"links": links}
	if err == nil && len(rows) == limit && c.fault.Kind != LostNext {
		body["truncated"] = true
		links["next"] = c.w.base + c.r.URL.Path + "?" + c.nextQuery(limit, id(rows[limit-1]))
	}
	switch c.fault.Kind {
	case LostRows:
		rows = rows[:max(0, len(rows)-max(1, c.fault.Rows))]
	case Empty:
		rows = nil
	case RepeatNext:
		links["next"] = c.w.base + c.r.URL.Path + "?" + c.r.URL.RawQuery
	}
	body[key] = nonNil(rows)
	return answer{status: 200, body: body}
}

func keystoneOne[T any](_ *call, key string, row *T) answer {
	if row == nil {
		return keystoneError(404, "Not Found", "Could not find "+key+".")
	}
	return answer{status: 200, body: map[string]any{key: row}}
}

func (w *World) roles() []any {
	var out []any
	for _, name := range []string{"admin", "manager", "member", "reader", "auditor"} {
		out = append(out, map[string]any{"id": w.hexID("role", name), "name": name, "domain_id": nil, "description": nil, "options": map[string]any{}, "links": map[string]string{}})
	}
	return out
}

func (w *World) assignments(names bool) []any {
	var out []any
	for _, u := range w.users {
		for _, p := range w.projects {
			role := u.roles[p.ID]
			if role == "" {
				continue
			}
			r, who, where := map[string]any{"id": w.hexID("role", role)}, map[string]any{"id": u.ID}, map[string]any{"id": p.ID}
			if names {
				r["name"], who["name"], where["name"] = role, u.Name, p.Name
				who["domain"], where["domain"] = domain(), domain()
			}
			out = append(out, map[string]any{"role": r, "user": who, "scope": map[string]any{"project": where}, "links": map[string]any{"assignment": w.base + "/identity/v3/projects/" + p.ID}})
			if role == "admin" { // one that is held directly and by inheritance too is effective twice
				out = append(out, out[len(out)-1])
			}
		}
	}
	return out
}

// ExpireTokens makes every token that was issued so far unknown.
func (w *World) ExpireTokens() {
	w.mu.Lock()
	clear(w.tokens)
	w.mu.Unlock()
}
