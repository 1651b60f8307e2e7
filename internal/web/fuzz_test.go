package web

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode"
)

// marked is markup that a page must not repeat as it is.
const marked = `<i>"canary'</i>`

// FuzzPage asks for any path and query with any Host. What answers is a page, or says that there is none; it shows no control character,
// and no markup of the request.
func FuzzPage(f *testing.F) {
	for _, p := range paths() {
		f.Add("GET", p, "", "127.0.0.1")
	}
	f.Add("GET", "/case/../../etc/passwd", "limit=-1&after=\x00", "[::1]:8600")
	f.Add("POST", "//evil.example", "a=%zz", "localhost")
	f.Add("HEAD", "/guidance/check/\u202e", "", "evil.example")
	h := site1(f, ledger(f), nil)
	f.Fuzz(func(t *testing.T, method, path, query, host string) {
		answered(t, h, method, path, query, host)
		answered(t, h, method, path+marked, query+url.QueryEscape(marked), host)
		answered(t, h, method, path, query+"="+url.QueryEscape(marked), host+marked)
	})
}

func answered(t *testing.T, h http.Handler, method, path, query, host string) {
	t.Helper()
	at, err := url.ParseRequestURI((&url.URL{Path: path}).EscapedPath() + "?" + query)
	if err != nil {
		return // the server answers 400 before any page
	}
	r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/", nil)
	r.Method, r.Host, r.URL = method, host, at
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	switch w.Code {
	case 200, 301, 303, 307, 308, 400, 404, 405, 421:
	default:
		t.Fatalf("%s %q ? %q for %q: %d", method, path, query, host, w.Code)
	}
	if w.Code == 200 && !Loopback(host) {
		t.Fatalf("%q is answered", host)
	}
	if at := w.Header().Get("Location"); strings.HasPrefix(at, "//") || strings.Contains(at, "://") {
		t.Fatalf("%q leads to %q", path, at)
	}
	if strings.ContainsFunc(w.Body.String(), func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r' }) {
		t.Fatalf("%q", w.Body.String())
	}
	if strings.Contains(w.Body.String(), marked) || strings.Contains(w.Body.String(), `"canary`) {
		t.Fatalf("%s %q ? %q for %q is repeated: %q", method, path, query, host, w.Body.String())
	}
}
