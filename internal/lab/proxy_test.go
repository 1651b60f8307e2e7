package lab

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// through asks something of a cloud through a proxy, and gives the status (0: cut) and the body.
func through(t *testing.T, method, url, token, body string) (int, string, http.Header) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("X-Auth-Token", token)
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer c.CloseIdleConnections()
	res, err := c.Do(q)
	if err != nil {
		return 0, err.Error(), nil
	}
	defer res.Body.Close() //nolint:errcheck // a test
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error(), nil
	}
	return res.StatusCode, string(b), res.Header
}

// A proxy does to a cloud's answers exactly what is planned, and the cloud's own log says what was done.
func TestProxyMisbehavesByPlan(t *testing.T) {
	t.Parallel()
	s := DemoScenario()
	s.Anywhere = true
	w, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	p, err := NewProxy(w.AuthURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	status, body, h := through(t, "POST", p.AuthURL()+"/auth/tokens", "", `{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "demarc", "password": "lab-only"}}}, "scope": {"project": {"name": "security"}}}}`)
	if status != 201 || strings.Contains(body, w.base+"/") || !strings.Contains(body, p.base) {
		t.Fatalf("a token through the proxy: %d %s", status, body)
	}
	token := h.Get("X-Subject-Token")
	list := p.front(w.base) + "/networking/v2.0/ports"
	port := list + "/" + w.PortIDs("cache-1")[0]
	put := `{"port": {"security_groups": []}}`
	writes := func() int { return len(w.Actions()) }
	for _, c := range []struct {
		name    string
		m       Mishap
		method  string
		at      string
		status  int
		reached bool
	}{
		{"nothing planned", Mishap{Path: "^/nowhere"}, "PUT", port, 200, true},
		{"answer", Mishap{Kind: Answer, Status: 502, Path: "^/networking/v2.0/ports/", Method: "PUT"}, "PUT", port, 502, false},
		{"429", Mishap{Kind: Answer, Status: 429, RetryAfter: "1", Path: "ports/"}, "PUT", port, 429, false},
		{"cut before", Mishap{Kind: CutBefore, Path: "ports/"}, "PUT", port, 0, false},
		{"answer after", Mishap{Kind: AnswerAfter, Path: "ports/"}, "PUT", port, 504, true},
		{"cut after", Mishap{Kind: CutAfter, Path: "ports/"}, "PUT", port, 0, true},
		{"slow", Mishap{Kind: Slow, Delay: 10 * time.Millisecond, Path: "ports/"}, "PUT", port, 200, true},
		{"expired", Mishap{Kind: Expired, Path: "ports/"}, "GET", port, 401, false},
		{"another cloud", Mishap{Path: "^/nowhere"}, "GET", strings.Replace(port, "127.0.0.1", "127.0.0.2", 2), 0, false},
		{"no service of the cloud", Mishap{Path: "^/nowhere"}, "GET", p.base + "/192.0.2.1:80/", 502, false},
	} {
		p.Clear()
		p.Plan(c.m)
		before := writes()
		status, body, _ := through(t, c.method, c.at, token, put)
		if status != c.status || (writes() > before) != c.reached {
			t.Errorf("%s: %d %s, %d writes", c.name, status, body, writes()-before)
		}
	}
	p.Clear()
	_, first, _ := through(t, "GET", port, token, "")
	w.mu.Lock()
	w.port(w.portsOf(w.serverNamed("cache-1").id)[0].ID).touch()
	w.mu.Unlock()
	p.Plan(Mishap{Kind: Stale, Path: "ports/"}, Mishap{Kind: Empty, Path: "ports$"})
	if _, stale, _ := through(t, "GET", port, token, ""); stale != first {
		t.Error("a stale answer is not the earlier one")
	}
	if _, now, _ := through(t, "GET", port, token, ""); now == first {
		t.Error("the answer is stale for ever")
	}
	_, body, _ = through(t, "GET", list, token, "")
	var rows struct{ Ports []any }
	if err := json.Unmarshal([]byte(body), &rows); err != nil || rows.Ports == nil || len(rows.Ports) != 0 {
		t.Errorf("an emptied listing: %s %v", body, err)
	}
	if n := len(p.Log()); n != 13 {
		t.Errorf("%d requests in the log", n)
	}
}
