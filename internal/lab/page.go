package lab

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// page cuts one page out of rows by limit and marker, and applies the faults of listings. The second result is the
// query of the next page, "" at the end; the third is false when the marker is unknown.
func page[T any](c *call, rows []T, id func(T) string) ([]T, string, bool) {
	limit := c.w.scenario.PageMax
	asked, err := strconv.Atoi(c.query.Get("limit"))
	if err == nil && asked >= 0 && asked < limit {
		limit = asked
	}
	if m := c.query.Get("marker"); m != "" {
		i := slices.IndexFunc(rows, func(r T) bool { return id(r) == m })
		if i < 0 {
			return nil, "", false
		}
		rows = rows[i+1:]
	}
	if c.fault.Kind == Empty {
		return nil, "", true
	}
	out := rows[:min(limit, len(rows))]
	next := ""
	// The real services link onwards from every full page, be it the last one too.
	if len(out) == limit && limit > 0 {
		next = c.nextQuery(limit, id(out[len(out)-1]))
	}
	switch c.fault.Kind {
	case LostNext:
		next = ""
	case LostRows:
		out = out[:max(0, len(out)-max(1, c.fault.Rows))]
	case RepeatNext:
		next = c.r.URL.RawQuery
		if next == "" {
			next = fmt.Sprintf("limit=%d", limit)
		}
	}
	return out, next, true
}

func (c *call) nextQuery(limit int, marker string) string {
	q := url.Values{}
	for k, v := range c.query {
		q[k] = v
	}
	q.Set("limit", strconv.Itoa(limit))
	q.Set("marker", marker)
	return q.Encode()
}

// control are the query keys that are no filters.
var control = []string{"limit", "marker", "sort_key", "sort_dir", "page_reverse", "fields", "all_tenants", "changes-since", "deleted"}

// filtered keeps the visible rows that match the query, in the manner of Neutron: equal values, several of one key are
// alternatives, and fixed_ips=ip_address=… looks inside.
func filtered[T any](rows []T, q url.Values, visible func(T) bool) []T {
	var out []T
	for _, r := range rows {
		if visible(r) && matches(r, q) {
			out = append(out, r)
		}
	}
	return out
}

func matches(row any, q url.Values) bool {
	var fields map[string]any
	for key, values := range q {
		if slices.Contains(control, key) {
			continue
		}
		if fields == nil {
			b, _ := json.Marshal(row)
			_ = json.Unmarshal(b, &fields)
		}
		if !slices.ContainsFunc(values, func(v string) bool { return matchesOne(fields, key, v) }) {
			return false
		}
	}
	return true
}

func matchesOne(fields map[string]any, key, want string) bool {
	switch have := fields[key].(type) {
	case nil:
		return key != "name" && want == ""
	case []any:
		inner, value, pair := strings.Cut(want, "=")
		return slices.ContainsFunc(have, func(v any) bool {
			if m, ok := v.(map[string]any); ok && pair {
				return fmt.Sprint(m[inner]) == value
			}
			return fmt.Sprint(v) == want
		})
	case bool:
		return strings.EqualFold(fmt.Sprint(have), want)
	default:
		return fmt.Sprint(have) == want
	}
}
