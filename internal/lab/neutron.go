package lab

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func notFound(kind, id string) answer {
	return answer{status: 404, body: neutronError(kind+"NotFound", fmt.Sprintf("%s %s could not be found.", kind, id))}
}

// neutron answers version 2.0. What belongs to another project does not exist for a tenant: lists leave it out
// with HTTP 200, a single one is 404.
func (c *call) neutron() answer {
	if len(c.path) < 2 || c.path[0] != "v2.0" {
		return answer{status: 404}
	}
	if c.r.Method != http.MethodGet {
		return c.neutronWrite()
	}
	who := c.who
	switch c.path[1] {
	case "networks":
		return neutronGet(c, "network", c.w.networks, func(n *networkRow) string { return n.ID }, func(n *networkRow) bool { return n.Shared || n.External || who.sees(n.ProjectID) })
	case "subnets":
		return neutronGet(c, "subnet", c.w.subnets, func(s *subnetRow) string { return s.ID }, func(s *subnetRow) bool { return who.sees(s.ProjectID) })
	case "routers":
		return neutronGet(c, "router", c.w.routers, func(r *routerRow) string { return r.ID }, func(r *routerRow) bool { return who.sees(r.ProjectID) })
	case "ports":
		return neutronGet(c, "port", c.w.ports, func(p *portRow) string { return p.ID }, func(p *portRow) bool { return who.sees(p.ProjectID) })
	case "floatingips":
		if len(c.path) == 4 && c.path[3] == "port_forwardings" {
			return c.forwardings()
		}
		return neutronGet(c, "floatingip", c.w.floating, func(f *floatingRow) string { return f.ID }, func(f *floatingRow) bool { return who.sees(f.ProjectID) })
	case "security-groups":
		return neutronGet(c, "security_group", c.w.groups, func(g *groupRow) string { return g.ID }, c.sees)
	case "security-group-rules":
		return neutronGet(c, "security_group_rule", c.w.allRules(), func(r *ruleRow) string { return r.ID }, func(r *ruleRow) bool { return who.sees(r.ProjectID) })
	case "address-groups":
		return neutronGet(c, "address_group", c.w.addressGroups, func(a *addressGroupRow) string { return a.ID }, func(a *addressGroupRow) bool { return who.sees(a.ProjectID) })
	}
	return c.extension()
}

func (w *World) allRules() []*ruleRow {
	var out []*ruleRow
	for _, g := range w.groups {
		out = append(out, g.Rules...)
	}
	return out
}

// neutronGet answers a list or one row of a kind. Lists are in the order of ids, which is Neutron's own.
func neutronGet[T any](c *call, kind string, rows []T, id func(T) string, visible func(T) bool) answer {
	if len(c.path) == 3 {
		for _, r := range rows {
			if id(r) == c.path[2] && visible(r) {
				return answer{status: 200, body: map[string]any{kind: r}}
			}
		}
		if kind == "security_group" {
			return noGroup(c.path[2])
		}
		return notFound(camel(kind), c.path[2])
	}
	sorted := slices.SortedFunc(slices.Values(filtered(rows, c.query, visible)), func(a, b T) int { return strings.Compare(id(a), id(b)) })
	out, next, ok := page(c, sorted, id)
	if !ok {
		return notFound(camel(kind), c.query.Get("marker"))
	}
	plural := kind + "s"
	body := map[string]any{plural: nonNil(out)}
	var links []any
	if next != "" {
		links = append(links, map[string]string{"rel": "next", "href": c.w.base + c.r.URL.Path + "?" + next})
	}
	if len(out) > 0 {
		links = append(links, map[string]string{"rel": "previous", "href": c.w.base + c.r.URL.Path + "?marker=" + id(out[0]) + "&page_reverse=True"})
		body[plural+"_links"] = links
	}
	return answer{status: 200, body: body}
}

func camel(kind string) string {
	out := ""
	for part := range strings.SplitSeq(kind, "_") {
		out += strings.ToUpper(part[:1]) + part[1:]
	}
	return out
}

func (c *call) forwardings() answer {
	f := find(c.w.floating, func(f *floatingRow) bool { return f.ID == c.path[2] })
	if f == nil || !c.who.sees(f.ProjectID) {
		return notFound("FloatingIP", c.path[2])
	}
	out, next, ok := page(c, f.Forwards, func(fw forwardRow) string { return fw.ID })
	if !ok {
		return answer{status: 400, body: neutronError("BadRequest", "Invalid marker")}
	}
	body := map[string]any{"port_forwardings": nonNil(out)}
	if next != "" {
		body["port_forwardings_links"] = []any{map[string]string{"rel": "next", "href": c.w.base + c.r.URL.Path + "?" + next}}
	}
	return answer{status: 200, body: body}
}

// stale checks If-Match: revision_number=N against a resource.
func (c *call) stale(revision int) (answer, bool) {
	want, ok := strings.CutPrefix(c.r.Header.Get("If-Match"), "revision_number=")
	if !ok {
		return answer{}, false
	}
	if n, err := strconv.Atoi(want); err == nil && n == revision {
		return answer{}, false
	}
	return answer{status: 412, body: neutronError("RevisionNumberConstraintFailed", fmt.Sprintf("Constrained to %s, but current revision is %d", want, revision))}, true
}
