package openstack_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"demarc/internal/asset"
	"demarc/internal/cloud/openstack"
	"demarc/internal/lab"
)

// edit lets a test change the JSON of the answers to some requests.
func edit(method, path string, change func(r *http.Request, doc map[string]any)) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			res, err := next.RoundTrip(r)
			if err != nil || r.Method != method || !strings.HasSuffix(r.URL.Path, path) {
				return res, err
			}
			var doc map[string]any
			if err := json.NewDecoder(res.Body).Decode(&doc); err != nil {
				return res, err
			}
			_ = res.Body.Close()
			change(r, doc)
			body, err := json.Marshal(doc)
			res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			return res, err
		})
	}
}

// The listings of Keystone are read to their end in both shapes, whatever the size of a page.
func TestKeystoneIsReadToItsEnd(t *testing.T) {
	for _, most := range []int{0, 1, 4, 5, 6, 9, 1000} {
		for _, size := range []int{1, 4, 9, 500} {
			sc := lab.DemoScenario()
			sc.KeyPages = most
			b := setupIn(t, sc, func(c *openstack.Config) { c.PageSize = size })
			if s := b.snap(t); counts(s) != whole || !s.Complete() {
				t.Errorf("Keystone gives %d rows at most, %d are asked for: %s, gaps %v", most, size, counts(s), s.Gaps)
			}
			for _, v := range b.Sights(t.Context()) {
				if v.Service == "identity" && v.Rows != 6 {
					t.Errorf("doctor sees %d of 6 projects", v.Rows)
				}
			}
		}
	}
}

// A page of Keystone that lost its next link, its rows, or that repeats, never gives a reading that looks whole and is not.
func TestFaultsOfKeystonesPages(t *testing.T) {
	for _, path := range []string{"/identity/v3/users", "/identity/v3/projects"} {
		for _, f := range []lab.Fault{{Kind: lab.LostNext}, {Kind: lab.LostNext, Times: -1}, {Kind: lab.LostRows}, {Kind: lab.LostRows, Skip: 1}, {Kind: lab.RepeatNext}, {Kind: lab.RepeatNext, Skip: 1}, {Kind: lab.Empty}, {Kind: lab.Empty, Skip: 1}} {
			sc := lab.DemoScenario()
			sc.KeyPages = 4
			b := setupIn(t, sc)
			f.Path = path
			b.Plan(f)
			s := b.snap(t)
			if s.Complete() && counts(s) != whole {
				t.Errorf("%s %s: complete %v with %s, gaps %v", path, f.Kind, s.Complete(), counts(s), s.Gaps)
			}
		}
	}
}

const stale = "0123456789abcdef0123456789abcdef"

// addGrant makes Keystone list one more role, of a user that its listing of users lacks.
func addGrant(user string) func(*http.Request, map[string]any) {
	return func(_ *http.Request, doc map[string]any) {
		rows := doc["role_assignments"].([]any)
		first := rows[0].(map[string]any)
		doc["role_assignments"] = append(rows, map[string]any{"role": first["role"], "user": map[string]any{"id": user}, "scope": first["scope"]})
	}
}

// A grant that outlived its user is no gap, and Keystone is asked about that user once a day.
func TestUserWhoIsGoneIsNoGap(t *testing.T) {
	n := 0
	b := setup(t, func(c *openstack.Config) {
		grants := edit("GET", "/v3/role_assignments", addGrant(stale))
		c.Around = func(next http.RoundTripper) http.RoundTripper {
			return between("/identity/v3/users/"+stale, func() { n++ })(grants(next))
		}
	})
	at := time.Now()
	for i, later := range []time.Duration{0, time.Minute, 23 * time.Hour, 25 * time.Hour} {
		s, err := b.Snapshot(t.Context(), func() int64 { return at.Add(later).UnixMicro() })
		if err != nil || !s.Complete() || len(s.Unreadable) > 0 || n != i/3+1 {
			t.Errorf("after %s: %v, gaps %v, asked %d times", later, err, s.Gaps, n)
		}
	}
}

// A listing that lacks a user or project who exists, and does not say so, was cut.
func TestListingThatWasCutWithoutASignIsIncomplete(t *testing.T) {
	for key, kind := range map[string]string{"users": "users", "projects": "projects"} {
		b := setup(t, func(c *openstack.Config) {
			c.Around = edit("GET", "/v3/"+key, func(_ *http.Request, doc map[string]any) { doc[key] = doc[key].([]any)[:3] })
		})
		s := b.snap(t)
		if !slices.ContainsFunc(s.Gaps, func(g asset.Gap) bool {
			return g.Kind == kind && strings.Contains(g.Reason, "exists and was not listed")
		}) {
			t.Errorf("%s were cut after 3 and the gaps are %v", key, s.Gaps)
		}
		if counts(s) != whole {
			t.Errorf("what was found by its id is taken: %s", counts(s))
		}
	}
}

// The creator of a server and the project of a port or a floating IP are asked for, where no listing has them.
func TestOwnersThatNoListingHasAreAskedFor(t *testing.T) {
	for path, c := range map[string]struct{ key, field, asked string }{
		"/v2.1/servers/detail": {"servers", "user_id", "/identity/v3/users/" + stale},
		"/v2.0/ports":          {"ports", "project_id", "/identity/v3/projects/" + stale},
		"/v2.0/floatingips":    {"floatingips", "project_id", "/identity/v3/projects/" + stale},
	} {
		n := 0
		b := setup(t, func(conf *openstack.Config) {
			change := edit("GET", path, func(_ *http.Request, doc map[string]any) {
				if rows := doc[c.key].([]any); len(rows) > 0 {
					rows[0].(map[string]any)[c.field] = stale
				}
			})
			conf.Around = func(next http.RoundTripper) http.RoundTripper { return between(c.asked, func() { n++ })(change(next)) }
		})
		if s := b.snap(t); n != 1 || !s.Complete() {
			t.Errorf("%s: %s was asked for %d times, gaps %v", path, c.asked, n, s.Gaps)
		}
	}
}

// One user whom the account may not read is named, and keeps the inventory of the others from nothing. A service that does not answer about
// them is another matter.
func TestUserWhoMayNotBeReadIsNamed(t *testing.T) {
	b := setup(t, func(c *openstack.Config) { c.Around = edit("GET", "/v3/role_assignments", addGrant(stale)) })
	b.Plan(lab.Fault{Kind: lab.Answer, Status: 403, Path: "/identity/v3/users/" + stale})
	for range 2 { // and the answer is remembered
		s := b.snap(t)
		if !s.Complete() || len(s.Unreadable) != 1 || s.Unreadable[0].Kind != "contacts" || s.Unreadable[0].ID != stale {
			t.Errorf("gaps %v, unreadable %v", s.Gaps, s.Unreadable)
		}
	}
	l := newLedger(t)
	if complete, note := l.merge(b.snap(t)); !complete || !strings.Contains(note, "contacts: users/"+stale) {
		t.Errorf("the store says complete %v, %q", complete, note)
	}
	b = setup(t, func(c *openstack.Config) { c.Around = edit("GET", "/v3/role_assignments", addGrant(stale)) })
	b.Plan(lab.Fault{Kind: lab.Answer, Status: 503, Path: "/identity/v3/users/" + stale, Times: -1})
	if s := b.snap(t); s.Complete() {
		t.Error("Keystone gave no answer about a user, and the reading says that it is complete")
	}
}

// What is known of a user stays known while the account may not read it, however many whole readings lack it. Once it is gone, it goes.
func TestKnownUserWhoMayNotBeReadStaysKnown(t *testing.T) {
	hide := false
	var id string
	b := setup(t, func(c *openstack.Config) {
		c.Around = edit("GET", "/v3/users", func(_ *http.Request, doc map[string]any) {
			if rows := doc["users"].([]any); hide && len(rows) == 9 {
				doc["users"] = slices.DeleteFunc(rows, func(u any) bool { return u.(map[string]any)["id"] == id })
			}
		})
	})
	l := newLedger(t)
	s := b.snap(t)
	id = string(s.Grants[0].User)
	l.merge(s)
	hide = true
	b.Plan(lab.Fault{Kind: lab.Answer, Status: 403, Path: "/identity/v3/users/" + id, Times: -1})
	for range 4 {
		if complete, note := l.merge(b.snap(t)); !complete || !strings.Contains(note, id) || len(l.known().Users) != 9 {
			t.Fatalf("complete %v, %q, %d users are known", complete, note, len(l.known().Users))
		}
	}
}

// Where domains have drivers of their own, Keystone lists the users of one domain. The others are found by their domain.
func TestUsersOfOtherDomainsAreRead(t *testing.T) {
	const other = "d0000000000000000000000000000001"
	var moved []any
	one := edit("GET", "/v3/users", func(r *http.Request, doc map[string]any) {
		rows := doc["users"].([]any)
		if len(rows) == 9 {
			moved = rows[4:]
			for _, u := range moved {
				u.(map[string]any)["domain_id"] = other
			}
			if doc["users"] = rows[:4]; r.URL.Query().Get("domain_id") == other {
				doc["users"] = moved
			}
		}
	})
	b := setup(t, func(c *openstack.Config) {
		c.PageSize = 100
		c.Around = func(next http.RoundTripper) http.RoundTripper {
			rt := one(next)
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				id := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
				return edit("GET", "/v3/users/"+id, func(_ *http.Request, doc map[string]any) {
					if u, ok := doc["user"].(map[string]any); ok && slices.ContainsFunc(moved, func(m any) bool { return m.(map[string]any)["id"] == id }) {
						u["domain_id"] = other
					}
				})(rt).RoundTrip(r)
			})
		}
	})
	if s := b.snap(t); counts(s) != whole || !s.Complete() {
		t.Errorf("%s, gaps %v", counts(s), s.Gaps)
	}
}
