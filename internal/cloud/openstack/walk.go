package openstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
)

// listing is one collection to walk.
type listing struct {
	kind   string // as named in gaps
	client *gophercloud.ServiceClient
	path   string // below the service's resource base
	key    string // of the rows in the answer
	query  url.Values
	whole  bool // the service has no pages for it
}

// errNotProven says that a listing was read, and that its end is not certain.
var errNotProven = errors.New("the listing may have more")

// walk reads a listing by keyset pagination. Rows come with an error when not all were read. The end is believed only
// after asking once more behind the last row, for a page that lost its next link looks like the last one.
func walk[T any](ctx context.Context, c *Cloud, l listing, id func(T) string) ([]T, error) {
	var out []T
	seen := map[string]bool{}
	marker := ""
	for {
		rows, truncated, err := fetch[T](ctx, c, l, marker)
		if err != nil {
			return out, fmt.Errorf("page behind %d rows: %w", len(out), err)
		}
		fresh := 0
		for _, r := range rows {
			if k := id(r); k != "" && !seen[k] {
				seen[k] = true
				fresh++
				out = append(out, r)
				marker = k
			}
		}
		switch {
		case truncated:
			return out, fmt.Errorf("the service cut the listing after %d rows", len(out))
		case len(rows) == 0 || l.whole:
			return out, nil
		case fresh == 0:
			return out, fmt.Errorf("%w: the page behind row %s repeats", errNotProven, marker)
		case fresh < len(rows):
			return out, fmt.Errorf("%w: a page holds rows of an earlier one", errNotProven)
		}
	}
}

// fetch reads one page. It builds each page's address itself: a link from an answer could lead anywhere, and lead there
// again and again. A link that contradicts the page is an error nevertheless, for then the service is not well.
func fetch[T any](ctx context.Context, c *Cloud, l listing, marker string) ([]T, bool, error) {
	q := url.Values{}
	for k, v := range l.query {
		q[k] = v
	}
	if !l.whole {
		q.Set("limit", strconv.Itoa(c.conf.PageSize))
		if marker != "" {
			q.Set("marker", marker)
		}
	}
	at := l.client.ServiceURL(strings.Split(l.path, "/")...)
	if len(q) > 0 {
		at += "?" + q.Encode()
	}
	var body map[string]json.RawMessage
	if err := c.get(ctx, l.client, at, &body); err != nil {
		return nil, false, err
	}
	raw, ok := body[l.key]
	if !ok {
		return nil, false, fmt.Errorf("the answer has no %q", l.key)
	}
	var rows []T
	if err := json.Unmarshal(raw, &rows); err != nil {
		return nil, false, fmt.Errorf("the answer's %q has another shape: %w", l.key, err)
	}
	if next := nextMarker(body, l.key); next != "" && next == marker {
		return rows, false, fmt.Errorf("%w: the next link behind row %s leads to the same page", errNotProven, marker)
	}
	var truncated bool
	_ = json.Unmarshal(body["truncated"], &truncated)
	return rows, truncated, nil
}

// nextMarker reads the marker of the next link in the two shapes in use: {key}_links, and Glance's next.
func nextMarker(body map[string]json.RawMessage, key string) string {
	var links []struct{ Rel, Href string }
	_ = json.Unmarshal(body[key+"_links"], &links)
	href := ""
	for _, k := range links {
		if k.Rel == "next" {
			href = k.Href
		}
	}
	if href == "" {
		_ = json.Unmarshal(body["next"], &href)
	}
	u, err := url.Parse(href)
	if err != nil {
		return ""
	}
	return u.Query().Get("marker")
}
