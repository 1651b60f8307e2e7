package lab

import "net/url"

func (c *call) glance() answer {
	switch {
	case c.is("GET", "v2", "images"):
		hidden := c.query.Get("os_hidden") == "true"
		q := url.Values{}
		for _, k := range []string{"name", "id", "owner"} {
			if c.query.Has(k) {
				q[k] = c.query[k]
			}
		}
		rows := filtered(c.w.images, q, func(i *imageRow) bool { return i.OSHidden == hidden })
		out, next, ok := page(c, rows, func(i *imageRow) string { return i.ID })
		if !ok {
			return answer{status: 400, body: map[string]any{"message": "Invalid marker. Image could not be found."}}
		}
		body := map[string]any{"images": nonNil(out), "first": "/v2/images", "schema": "/v2/schemas/images"}
		if next != "" {
			body["next"] = "/v2/images?" + next
		}
		return answer{status: 200, body: body}
	case c.is("GET", "v2", "images", "*"):
		if i := find(c.w.images, func(i *imageRow) bool { return i.ID == c.path[2] }); i != nil {
			return answer{status: 200, body: i}
		}
	}
	return answer{status: 404}
}
