package openstack

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"demarc/internal/cloud"
	"demarc/internal/fault"
)

const canary = "canary-5c1e"

// answering is a cloud whose every answer is the same.
func answering(status int, header http.Header, body string) *Cloud {
	c := &Cloud{conf: Config{Cloud: "lab", Password: canary, Retries: -1}.withDefaults()}
	p := &gophercloud.ProviderClient{HTTPClient: http.Client{Transport: always(func(r *http.Request) *http.Response {
		return &http.Response{StatusCode: status, Status: "x", Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}
	})}}
	p.UseTokenLock()
	for _, s := range c.services() {
		*s.to = client(p, s, "http://127.0.0.1:1/"+s.version+"/")
	}
	return c
}

type always func(*http.Request) *http.Response

func (f always) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

// told checks that an error shows nothing that a terminal would act on, and no secret of ours.
func told(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	s := err.Error()
	if strings.Contains(s, canary) || strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r) }) || len(s) > 8000 {
		t.Fatalf("%q", s)
	}
}

// A service that repeats what it was sent does not lead to a part of a secret in an error.
func TestNoPartOfASecretIsShown(t *testing.T) {
	const secret = `hunter2\hunter2`
	for _, before := range []int{0, 280, 299} {
		c := answering(500, http.Header{}, strings.Repeat("x", before)+secret)
		c.conf.Password = secret
		err := c.get(t.Context(), c.identity, "http://127.0.0.1:1/v3/projects", nil)
		if err == nil || strings.Contains(err.Error(), "hunter") || !strings.Contains(err.Error(), "*") {
			t.Errorf("behind %d bytes: %v", before, err)
		}
	}
}

// FuzzAnswer reads what a service, or what stands before it, may answer: status, body, Date and Retry-After.
func FuzzAnswer(f *testing.F) {
	f.Add(503, "7", "Mon, 02 Jan 2006 15:04:05 GMT", `{"error":{"message":"`+canary+`"}}`)
	f.Add(429, "Mon, 02 Jan 2106 15:04:05 GMT", "", "<html>\x1b[31m")
	f.Add(404, "99999999999999999", "x", `{"NeutronError":{}}`)
	f.Add(200, "", "Mon, 02 Jan 0000 15:04:05 GMT", `{"projects":[{"id":"a"}],"links":{"next":"http://%zz"},"truncated":1}`)
	f.Add(200, "", "", `{"projects":[],"ports":[],"images":[],"next":"/v2/images?page=2","links":{"next":"?page=2"},"ports_links":[{"rel":"next","href":"?page=2"}]}`)
	f.Fuzz(func(t *testing.T, status int, retry, date, body string) {
		status = 100 + ((status-100)%500+500)%500
		c := answering(status, http.Header{"Retry-After": {retry}, "Date": {date}}, body)
		var doc map[string]json.RawMessage
		said, err := c.dated(t.Context(), c.identity, "http://127.0.0.1:1/v3/projects", &doc)
		told(t, err)
		if said != 0 && err != nil {
			t.Fatal("an answer that is an error has a time")
		}
		if wait, again := retryAfter(gophercloud.ErrUnexpectedResponseCode{Actual: 503, ResponseHeader: http.Header{"Retry-After": {retry}, "Date": {date}}}, 3); !again || wait < 0 || wait.Hours() > 24 {
			t.Fatalf("Retry-After %q: %s, %v", retry, wait, again)
		}
		for _, l := range []listing{{client: c.identity, path: "projects", key: "projects", links: true}, {client: c.network, path: "ports", key: "ports"}, {client: c.image, path: "images", key: "images"}} {
			p, err := fetch[wireProject](t.Context(), c, l, "a")
			told(t, err)
			var linked map[string]json.RawMessage
			if err == nil && json.Unmarshal([]byte(body), &linked) == nil && !p.more && nextLink(linked, l.key) != "" {
				t.Fatalf("a page with a next link counts as the last: %s", body)
			}
			l.whole = true
			if p, err := fetch[wireProject](t.Context(), c, l, ""); err == nil && !p.truncated && nextLink(linked, l.key) != "" {
				t.Fatalf("a listing without pages has a next link, and counts as whole: %s", body)
			}
		}
		changed := c.change(t.Context(), c.compute, http.MethodPost, "http://127.0.0.1:1/v2.1/servers/a/action", &gophercloud.RequestOpts{})
		told(t, changed)
		if changed != nil && (status < 400 || status >= 500) && !errors.Is(changed, cloud.ErrUnknownOutcome) {
			t.Fatalf("HTTP %d proves what became of a change: %v", status, changed)
		}
	})
}

// FuzzVersion reads Nova's document of its version.
func FuzzVersion(f *testing.F) {
	for _, s := range []string{`{"version":{"version":"2.93","min_version":"2.1"}}`, `{"version":{"version":"2.-1"}}`, `{"versions":[]}`, `{"version":{"version":"2.99999999999999999999"}}`, `null`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		c := answering(200, http.Header{}, body)
		told(t, c.negotiate(t.Context()))
		if c.minor < 0 || c.minor > wantedMicroversion {
			t.Fatalf("2.%d", c.minor)
		}
	})
}

// FuzzToken reads a token: its catalog, its roles, and the access rules of its credential.
func FuzzToken(f *testing.F) {
	for _, s := range []string{
		`{"token":{"catalog":[{"type":"network","endpoints":[{"interface":"public","region":"a","url":"https://n.example/v2.0"},{"interface":"public","region_id":"b","url":"https://m.example:9696/"}]}]}}`,
		`{"token":{"user":{"id":"u","name":"\u202e","password_expires_at":"2026-01-01T00:00:00.000000"},"application_credential":{"id":"c","access_rules":[{"method":"GET"},{"method":"head"}]},"roles":[{"name":"admin"}]}}`,
		`{"token":{"application_credential":{"id":"c","access_rules":[{"method":"GET"},{"method":"HEAD"}]}}}`,
		`{"token":{"application_credential":{"access_rules":null},"system":{"all":true},"catalog":[{"type":"compute","endpoints":[{"interface":"public","url":"http://c/v2.1/%(tenant_id)s"}]}]}}`,
		`{"token":{"catalog":[{"type":"image","endpoints":[{"interface":"public","url":"ftp://x"},{"interface":"public","url":"http://[::1"}]}]}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var doc map[string]any
		if json.Unmarshal([]byte(body), &doc) != nil {
			return
		}
		res := tokens.CreateResult{}
		res.Body, res.Header = doc, http.Header{}
		c := answering(404, http.Header{}, "")
		p := c.identity.ProviderClient
		_ = p.SetTokenAndAuthResult(res)
		c.knowMyself(p)
		a := c.Self(t.Context())
		if !a.Changes && !onlyReads(doc) {
			t.Fatalf("the account counts as one that only reads: %+v", a)
		}
		err := c.find(p)
		told(t, err)
		if err != nil && !fault.Is(err, fault.Config) && !fault.Is(err, fault.Unavailable) {
			t.Fatal(err)
		}
		if err == nil {
			for _, at := range c.Endpoints() {
				if again := versioned(at, version.FindString(lastSegment(at))); !strings.HasPrefix(at, "http") || again != "" && again != at {
					t.Fatalf("%q, %q", at, again)
				}
			}
		}
	})
}

// onlyReads tells whether the access rules of a token are there and let nothing pass but GET and HEAD. It takes the document apart without
// the types of the product. Where a member stands twice, as Token and token, it does not judge.
func onlyReads(doc map[string]any) bool {
	at := any(doc)
	for _, name := range []string{"token", "application_credential", "access_rules"} {
		v, once := member(at, name)
		if !once {
			return true
		}
		at = v
	}
	rules, ok := at.([]any)
	for _, r := range rules {
		if m, once := member(r, "method"); once && m != http.MethodGet && m != http.MethodHead {
			return false
		}
	}
	return ok
}

// member is the member of an object by its name in any case, as encoding/json finds it, and whether there is at most one.
func member(object any, name string) (v any, once bool) {
	n := 0
	members, _ := object.(map[string]any)
	for k, is := range members {
		if strings.EqualFold(k, name) {
			v = is
			n++
		}
	}
	return v, n <= 1
}

func lastSegment(at string) string {
	parts := strings.Split(strings.Trim(at, "/"), "/")
	return parts[len(parts)-1]
}

// FuzzCloudsYAML reads a clouds.yaml and a secure.yaml.
func FuzzCloudsYAML(f *testing.F) {
	f.Add("clouds:\n  c:\n    auth: {auth_url: x, username: u, password: p, project_name: n, user_domain_id: d}\n    regions: [a]\n", "clouds: {c: {auth: {password: q}}}")
	f.Add("\ufeffclouds: {c: {auth_type: token, verify: false, cacert: ~/x}}", "clouds: []")
	f.Add("clouds: {c: {auth: {password: 1, trust_id: 2}, network_endpoint_override: 3}}", "")
	f.Add("clouds: {c: &a {auth: *a}}", "x")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, main, secure string) {
		path := filepath.Join(dir, "clouds.yaml")
		if err := os.WriteFile(path, []byte(main), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "secure.yaml"), []byte(secure), 0o600); err != nil {
			t.Fatal(err)
		}
		conf, err := FromCloudsYAML(path, "c")
		if f, ok := fault.Of(err); err != nil && (!ok || f.Code != fault.Config || f.At.File == "") {
			t.Fatalf("%#v", err)
		}
		if err != nil {
			return
		}
		o, err := conf.withDefaults().auth()
		if err == nil && conf.UserDomainID != "" && (o.DomainName != "" || o.Scope != nil && o.Scope.DomainName == "Default" && conf.ProjectDomain == "") {
			t.Fatalf("a credential goes to a domain that the file does not name: %+v", o)
		}
	})
}
