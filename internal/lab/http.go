package lab

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// call is one request to one of the cloud's services, with all that its handler needs.
type call struct {
	w       *World
	r       *http.Request
	service string // identity, compute, networking, image, load-balancer
	path    []string
	query   url.Values
	body    []byte
	who     *account
	fault   Fault
	idle    bool // the request was well, and changed nothing
}

// answer is what a handler says. A nil body sends none.
type answer struct {
	status int
	body   any
	header http.Header
}

// account is who a token stands for, in which project.
type account struct {
	user    *userRow
	project *projectRow
	role    string
	expires time.Time
	body    map[string]any // as answered when the token was issued
}

func (a *account) admin() bool { return a.role == "admin" }

// lists tells whether the account may list what is everybody's in Keystone and Nova. The role auditor may, by an override
// of those policies, and still sees nothing of others in Neutron and can show no server of theirs, as in Zed.
func (a *account) lists() bool { return a.admin() || a.role == "auditor" }

// sees tells whether a thing of this project is visible to the account.
func (a *account) sees(project string) bool { return a.admin() || a.project.ID == project }

const maxBody = 1 << 20

func (w *World) handle(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxBody))
	if err != nil {
		http.Error(rw, "body", http.StatusRequestEntityTooLarge)
		return
	}
	w.mu.Lock()
	f := w.faultFor(r)
	service, _, _ := strings.Cut(strings.Trim(r.URL.Path, "/"), "/")
	rw.Header().Set("Date", time.Now().Add(w.clockOff+w.clocks[service]).UTC().Format(http.TimeFormat))
	w.mu.Unlock()
	switch f.Kind {
	case CutBefore:
		panic(http.ErrAbortHandler)
	case Answer:
		write(rw, f.header(), orStatus(f.Status, 500), neutronError("HTTPInternalServerError", "Request Failed: internal server error while processing your request."))
		return
	case Outdate:
		w.ExpireTokens()
	case Slow:
		select {
		case <-time.After(f.Delay):
		case <-r.Context().Done():
		case <-w.release:
		}
	}
	c := &call{w: w, r: r, query: r.URL.Query(), body: body, fault: f}
	a := w.serve(c)
	switch f.Kind {
	case CutAfter:
		panic(http.ErrAbortHandler)
	case AnswerAfter:
		write(rw, f.header(), orStatus(f.Status, 504), map[string]any{"message": "The upstream server did not answer in time"})
		return
	}
	write(rw, a.header, a.status, a.body)
}

// serve answers a call and logs it when it may change something.
func (w *World) serve(c *call) answer {
	w.mu.Lock()
	a := c.route()
	if m := c.r.Method; m != http.MethodGet && m != http.MethodHead && !strings.HasSuffix(c.r.URL.Path, "/auth/tokens") {
		actor := "nobody"
		if c.who != nil {
			actor = c.who.user.Name
		}
		w.log(actor, m, c.r.URL.Path, string(c.body), strconv.Itoa(a.status))
		w.actions[len(w.actions)-1].Done = a.status/100 == 2 && !c.idle
	}
	// Rendered under the lock, for the rows change as soon as it is gone.
	if a.body != nil {
		b, err := json.Marshal(a.body)
		if err != nil {
			a = answer{status: 500}
		} else {
			a.body = w.twisted(b)
		}
	}
	_ = w.unlock()
	return a
}

func (c *call) route() answer {
	parts := strings.Split(strings.Trim(c.r.URL.Path, "/"), "/")
	if parts[0] == "v3" {
		parts = append([]string{"identity"}, parts...)
	}
	c.service, c.path = parts[0], parts[1:]
	if a, ok := c.versions(); ok {
		return a
	}
	if c.service == "identity" && c.is(http.MethodPost, "v3", "auth", "tokens") {
		return c.issueToken()
	}
	c.who = c.w.tokens[c.r.Header.Get("X-Auth-Token")]
	if c.who == nil || time.Now().After(c.who.expires) {
		return answer{status: 401, header: http.Header{"Www-Authenticate": {`Keystone uri="` + c.w.AuthURL() + `"`}},
			body: map[string]any{"error": map[string]any{"code": 401, "title": "Unauthorized", "message": "The request you have made requires authentication."}}}
	}
	switch c.service {
	case "identity":
		return c.keystone()
	case "compute":
		return c.nova()
	case "networking":
		return c.neutron()
	case "image":
		return c.glance()
	case "load-balancer":
		if c.w.octavia() {
			return c.extension()
		}
	}
	return answer{status: 404}
}

// is matches method and path; "*" is any one part.
func (c *call) is(method string, path ...string) bool {
	if c.r.Method != method || len(path) != len(c.path) {
		return false
	}
	for i, p := range path {
		if p != "*" && p != c.path[i] {
			return false
		}
	}
	return true
}

func (f Fault) header() http.Header {
	if f.RetryAfter == "" {
		return nil
	}
	return http.Header{"Retry-After": {f.RetryAfter}}
}

func orStatus(s, d int) int {
	if s == 0 {
		return d
	}
	return s
}

func write(rw http.ResponseWriter, h http.Header, status int, body any) {
	for k, vs := range h {
		rw.Header()[k] = vs
	}
	if body == nil {
		rw.WriteHeader(status)
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(body)
}

// neutronError has the shape of Neutron's errors.
func neutronError(kind, message string) map[string]any {
	return map[string]any{"NeutronError": map[string]any{"type": kind, "message": message, "detail": ""}}
}
