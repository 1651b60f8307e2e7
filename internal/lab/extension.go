package lab

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// extensions are the collections of Neutron and Octavia that few clouds have, by their path below the service's version, with the
// services' own JSON as rows. A collection that is not in it is off: the service answers 404, as the real ones do.
type extensions map[string][]map[string]any

// Extend switches a collection on, such as "trunks", "fwaas/firewall_groups", "bgp-speakers/ID/get_advertised_routes" or
// "lbaas/loadbalancers", and puts rows into it. With a collection of Octavia's, the catalog of tokens to come has Octavia.
func (w *World) Extend(path string, rows ...map[string]any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.extra == nil {
		w.extra = extensions{}
	}
	w.extra[path] = append(w.extra[path], rows...)
}

// Twist alters what the services say of the thing with an identifier, wherever its row stands in an answer; the world itself stays
// as it is. It is how a row gets a shape that a real service should never write.
func (w *World) Twist(id string, change func(row map[string]any)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.twists == nil {
		w.twists = map[string]func(map[string]any){}
	}
	w.twists[id] = change
}

// Untwist lets the services tell the truth again.
func (w *World) Untwist() {
	w.mu.Lock()
	w.twists = nil
	w.mu.Unlock()
}

// twisted applies the twists to an answer.
func (w *World) twisted(body json.RawMessage) json.RawMessage {
	var doc any
	if len(w.twists) == 0 || json.Unmarshal(body, &doc) != nil {
		return body
	}
	w.twist(doc)
	b, err := json.Marshal(doc)
	if err != nil {
		return body
	}
	return b
}

func (w *World) twist(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			w.twist(e)
		}
	case map[string]any:
		for _, e := range v {
			w.twist(e)
		}
		if id, ok := v["id"].(string); ok && w.twists[id] != nil {
			w.twists[id](v)
		}
	}
}

// octavia tells whether the cloud has load balancers.
func (w *World) octavia() bool {
	return slices.ContainsFunc(slices.Collect(maps.Keys(w.extra)), func(path string) bool { return strings.HasPrefix(path, "lbaas/") })
}

// extension answers a collection that was switched on, or one row of it.
func (c *call) extension() answer {
	off := answer{status: 404, body: map[string]any{"message": "The resource could not be found.<br /><br />\n\n\n", "code": "404 Not Found", "title": "Not Found"}}
	if c.r.Method != "GET" || len(c.path) < 2 {
		return off
	}
	path := strings.Join(c.path[1:], "/")
	if rows, on := c.w.extra[path]; on {
		if key, whole := strings.CutPrefix(path[strings.LastIndex(path, "/")+1:], "get_"); whole { // an action has no pages
			return answer{status: 200, body: map[string]any{key: nonNil(rows)}}
		}
		return c.rowsOf(path, rows)
	}
	if i := strings.LastIndex(path, "/"); i > 0 {
		key := strings.TrimSuffix(keyOf(path[:i]), "s")
		for _, r := range c.w.extra[path[:i]] {
			if r["id"] == path[i+1:] {
				return answer{status: 200, body: map[string]any{key: r}}
			}
		}
	}
	return off
}

// keyOf is the name of the rows in an answer.
func keyOf(path string) string {
	return strings.ReplaceAll(path[strings.LastIndex(path, "/")+1:], "-", "_")
}

func (c *call) rowsOf(path string, rows []map[string]any) answer {
	id := func(r map[string]any) string { s, _ := r["id"].(string); return s }
	visible := func(r map[string]any) bool {
		project, owned := r["project_id"].(string)
		return !owned || c.who.sees(project)
	}
	sorted := slices.SortedFunc(slices.Values(filtered(rows, c.query, visible)), func(a, b map[string]any) int { return strings.Compare(id(a), id(b)) })
	if path == "rbac-policies" {
		c.query.Del("marker") // which Neutron does not know here
	}
	out, next, ok := page(c, sorted, id)
	if !ok {
		return notFound("Row", c.query.Get("marker"))
	}
	key := keyOf(path)
	body := map[string]any{key: nonNil(out)}
	if next != "" {
		body[key+"_links"] = []any{map[string]string{"rel": "next", "href": c.w.base + c.r.URL.Path + "?" + next}}
	}
	return answer{status: 200, body: body}
}

// Retract takes the first rows out of a collection.
func (w *World) Retract(path string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.extra[path] = w.extra[path][min(n, len(w.extra[path])):]
}
