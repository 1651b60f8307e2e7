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

	"demarc/internal/asset"
	"demarc/internal/cloud"
)

// listing is one collection to walk.
type listing struct {
	kind   string // as named in gaps
	client *gophercloud.ServiceClient
	path   string // below the service's resource base
	key    string // of the rows in the answer
	query  url.Values
	whole  bool        // the service has no pages for it
	links  bool        // it has Keystone's pages: links.next since 2025.1, and before that all rows whatever is asked for
	may    bool        // it may not be there at all: then it holds nothing
	dated  func(int64) // hears the service's own time with each page; may be nil
	limit  int         // rows that are asked for at once; set by each
	keep   *keeper     // where its pages are kept; nil: nowhere
}

// at is the path of one row of a listing.
func (l listing) at(id string) string { return strings.TrimSuffix(l.path, "/detail") + "/" + id }

// errNotProven says that a listing was read, and that its end is not certain.
var errNotProven = errors.New("the listing may have more")

// row is one row of a listing. Odd says that it has another shape than the service's documents say; its identifier is then all
// that may be used.
type row[T any] struct {
	value T
	odd   error
}

// UnmarshalJSON reads one row. What is odd about it is the row's own matter, not the page's.
func (r *row[T]) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, &r.value); err != nil {
		r.odd = fmt.Errorf("it has another shape: %w", err)
	}
	return nil
}

// walk reads a listing to its end; rows come with an error when not all were read, or one was odd.
func walk[T any](ctx context.Context, c *Cloud, l listing, id func(T) string) ([]T, error) {
	var out []T
	err := each(ctx, c, l, id, func(v T, odd error) error {
		if odd != nil {
			return fmt.Errorf("row %s: %w", named(id(v)), odd)
		}
		out = append(out, v)
		return nil
	})
	return out, err
}

// each reads a listing by keyset pagination, row by row. The end is believed only after asking once more behind the last row,
// for a page that lost its next link looks like the last one. Pages that were kept are not asked for again.
func each[T any](ctx context.Context, c *Cloud, l listing, id func(T) string, take func(T, error) error) error {
	w := &walker[T]{id: id, take: take, seen: map[string]bool{}}
	if l.limit = c.conf.PageSize; l.dated == nil {
		l.dated = func(int64) {}
	}
	pages, done, err := replay(ctx, l, w)
	for ; err == nil && !done; pages++ {
		var p page[T]
		if p, err = fetch[T](ctx, c, l, w.marker); err != nil {
			if !l.may || w.marker != "" || !errors.Is(err, cloud.ErrNotFound) {
				return fmt.Errorf("page behind %d rows: %w", len(w.seen), err)
			}
			p, err = page[T]{}, nil // the extension is off
		}
		l.dated(p.said)
		if done, err = w.next(l, p); err == nil {
			err = keepPage(ctx, l, asset.Page{Number: pages, Said: p.said, Marker: w.marker, Done: done}, p.rows)
		}
	}
	return err
}

// walker takes the rows of one listing, each once.
type walker[T any] struct {
	id     func(T) string
	take   func(T, error) error
	seen   map[string]bool
	marker string // of the last row that was taken
}

// row takes a row that was not taken yet. One without an identifier is never taken.
func (w *walker[T]) row(v T, odd error) (taken bool, err error) {
	k := w.id(v)
	if k == "" || w.seen[k] {
		return false, nil
	}
	w.seen[k], w.marker = true, k
	return true, w.take(v, odd)
}

// page is what a service answers.
type page[T any] struct {
	rows      []row[T]
	truncated bool
	more      bool  // it says that another page follows
	said      int64 // by the service's own clock
}

// next takes the rows of a page, and tells whether it was the last.
func (w *walker[T]) next(l listing, p page[T]) (done bool, err error) {
	fresh := 0
	for _, r := range p.rows {
		taken, err := w.row(r.value, r.odd)
		if err != nil {
			return false, err
		}
		if taken {
			fresh++
		}
	}
	switch {
	case l.links && !p.more && !p.truncated && w.repeats(l, p, fresh):
		return true, nil
	case p.truncated && !p.more:
		return false, fmt.Errorf("the service cut the listing after %d rows", len(w.seen))
	case len(p.rows) == 0 || l.whole:
		return true, nil
	case fresh == 0:
		return false, fmt.Errorf("%w: the page behind row %s repeats", errNotProven, named(w.marker))
	case fresh < len(p.rows):
		return false, fmt.Errorf("%w: a page holds rows of an earlier one, or rows without an id", errNotProven)
	}
	return false, nil
}

// repeats tells whether a service pays no heed to limit and marker: then its one answer holds all rows, however often it is asked.
func (w *walker[T]) repeats(l listing, p page[T], fresh int) bool {
	return len(p.rows) == len(w.seen) && (fresh == 0 || len(p.rows) > l.limit)
}

// fetch reads one page. It builds each page's address itself: a link from an answer could lead anywhere, and lead there
// again and again. A link that contradicts the page is an error nevertheless, for then the service is not well.
func fetch[T any](ctx context.Context, c *Cloud, l listing, marker string) (page[T], error) {
	var none page[T]
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
	said, err := c.dated(ctx, l.client, at, &body)
	if err != nil {
		return none, err
	}
	raw, ok := body[l.key]
	if !ok || string(raw) == "null" {
		return none, fmt.Errorf("the answer has no %q", l.key)
	}
	var rows []row[T]
	if err := json.Unmarshal(raw, &rows); err != nil {
		return none, fmt.Errorf("the answer's %q has another shape: %w", l.key, err)
	}
	next := nextLink(body, l.key)
	if to := markerOf(next); to != "" && to == marker {
		return none, fmt.Errorf("%w: the next link behind row %s leads to the same page", errNotProven, named(marker))
	}
	var truncated bool
	_ = json.Unmarshal(body["truncated"], &truncated)
	return page[T]{rows: rows, truncated: truncated || next != "" && l.whole, more: next != "" && !l.whole, said: said}, nil
}

// nextLink reads the next link in the three shapes in use: {key}_links, Glance's next, and Keystone's links. One without a marker is a next
// link all the same: it says that there is more.
func nextLink(body map[string]json.RawMessage, key string) string {
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
	if href == "" {
		var keystone struct{ Next string }
		_ = json.Unmarshal(body["links"], &keystone)
		href = keystone.Next
	}
	return href
}

func markerOf(href string) string {
	u, err := url.Parse(href)
	if err != nil {
		return ""
	}
	return u.Query().Get("marker")
}
