package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// The kinds of mishap that a proxy can make beside Answer, AnswerAfter, CutBefore, CutAfter, Empty and Slow.
const (
	Expired FaultKind = "expired" // the request goes on with a token that is none: the service itself says 401
	Stale   FaultKind = "stale"   // an earlier answer to the same reading is given once more
	Late    FaultKind = "late"    // the connection ends, and the request arrives Delay later
)

// Mishap is one planned misbehaviour of a Proxy. It applies to requests whose method, where given, is Method and whose path, as the
// service itself knows it, matches the regular expression Path, after Skip of them, Times times (0: once; negative: always).
type Mishap struct {
	Kind       FaultKind
	Method     string
	Path       string
	Body       string // a part of the request's body
	Skip       int
	Times      int
	Status     int // of Answer (default 500) and AnswerAfter (default 504)
	RetryAfter string
	Delay      time.Duration // of Slow and Late

	path *regexp.Regexp
}

// Passage is one request that came to a Proxy.
type Passage struct {
	Method, Path string
	Mishap       FaultKind // "" where all went well
	Status       int       // what the service answered, whoever read it; 0 where it was not asked
}

// Proxy stands between a client and the services of a cloud on this machine, pretend or real, and misbehaves by plan. The catalog
// that Keystone answers with leads to the proxy, so every service is reached through it. It speaks to loopback alone, follows
// no redirect, and holds no answer that is larger than maxAnswer.
type Proxy struct {
	auth     *url.URL
	base     string
	server   *http.Server
	client   *http.Client
	serving  sync.WaitGroup
	release  chan struct{}
	mu       sync.Mutex // guards all below
	upstream []string   // scheme://host:port of the services, from the catalog
	plan     []*Mishap
	log      []Passage
	earlier  map[string]reply // the last answers to readings, by URL
}

// reply is an answer that was read to its end.
type reply struct {
	status int
	header http.Header
	body   []byte
}

const (
	maxAnswer  = 16 << 20
	maxEarlier = 256 // answers that are kept
)

// NewProxy starts a proxy in front of the cloud whose Keystone is at authURL.
func NewProxy(authURL string) (*Proxy, error) {
	u, err := url.Parse(authURL)
	if err != nil {
		return nil, err
	}
	p := &Proxy{auth: u, release: make(chan struct{}), upstream: []string{u.Scheme + "://" + u.Host}, earlier: map[string]reply{}}
	dial := &net.Dialer{Timeout: 5 * time.Second}
	p.client = &http.Client{Timeout: 2 * time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{MaxIdleConnsPerHost: 8, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			at, err := netip.ParseAddrPort(addr)
			if err != nil || !at.Addr().IsLoopback() {
				return nil, fmt.Errorf("lab: the proxy does not go to %s", addr)
			}
			return dial.DialContext(ctx, network, addr)
		}}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p.base = "http://" + ln.Addr().String()
	p.server = &http.Server{Handler: http.HandlerFunc(p.handle), ReadHeaderTimeout: 10 * time.Second, ErrorLog: quiet()}
	p.serving.Go(func() { _ = p.server.Serve(ln) })
	return p, nil
}

// AuthURL is Keystone, through the proxy.
func (p *Proxy) AuthURL() string { return p.front(p.auth.Scheme+"://"+p.auth.Host) + p.auth.Path }

// front is where the proxy has a service: below its host and port.
func (p *Proxy) front(upstream string) string {
	_, host, _ := strings.Cut(upstream, "://")
	return p.base + "/" + host
}

// Plan adds mishaps. They apply in the order in which they were planned, one per request.
func (p *Proxy) Plan(plan ...Mishap) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range plan {
		if m.Times == 0 {
			m.Times = 1
		}
		m.path = regexp.MustCompile(m.Path)
		p.plan = append(p.plan, &m)
	}
}

// Clear drops all planned mishaps.
func (p *Proxy) Clear() {
	p.mu.Lock()
	p.plan = nil
	p.mu.Unlock()
}

// Log gives the requests so far.
func (p *Proxy) Log() []Passage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.log)
}

// Close ends the proxy. What waits is cut.
func (p *Proxy) Close() {
	close(p.release)
	_ = p.server.Close()
	p.serving.Wait()
	p.client.CloseIdleConnections()
}

// due takes the mishap that is due for a request, if any.
func (p *Proxy) due(method, path string, body []byte) Mishap {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, m := range p.plan {
		if m.Method != "" && m.Method != method || !m.path.MatchString(path) || !bytes.Contains(body, []byte(m.Body)) {
			continue
		}
		if m.Skip > 0 {
			m.Skip--
			continue
		}
		due := *m
		if m.Times > 0 {
			if m.Times--; m.Times == 0 {
				p.plan = slices.Delete(p.plan, i, i+1)
			}
		}
		return due
	}
	return Mishap{}
}

func (p *Proxy) handle(rw http.ResponseWriter, r *http.Request) {
	host, path, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	to := p.auth.Scheme + "://" + host
	p.mu.Lock()
	known := slices.Contains(p.upstream, to)
	p.mu.Unlock()
	if !known {
		http.Error(rw, "no service of this cloud", http.StatusBadGateway)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxBody))
	if err != nil {
		http.Error(rw, "body", http.StatusRequestEntityTooLarge)
		return
	}
	at := to + "/" + path
	if r.URL.RawQuery != "" {
		at += "?" + r.URL.RawQuery
	}
	m := p.due(r.Method, "/"+path, body)
	note := Passage{Method: r.Method, Path: "/" + path, Mishap: m.Kind}
	out, ok := p.answer(r, at, body, m, &note)
	p.mu.Lock()
	p.log = append(p.log, note)
	p.mu.Unlock()
	if !ok {
		panic(http.ErrAbortHandler) // the connection ends without an answer
	}
	for k, v := range out.header {
		rw.Header()[k] = v
	}
	rw.WriteHeader(out.status)
	_, _ = rw.Write(out.body)
}

// answer gives what the client is to see; false is a cut.
func (p *Proxy) answer(r *http.Request, at string, body []byte, m Mishap, note *Passage) (reply, bool) {
	said := func(status int) (reply, bool) {
		h := http.Header{"Content-Type": {"application/json"}}
		if m.RetryAfter != "" {
			h.Set("Retry-After", m.RetryAfter)
		}
		return reply{status, h, []byte(`{"message": "the proxy says so"}`)}, true
	}
	switch m.Kind {
	case CutBefore:
		return reply{}, false
	case Late:
		p.serving.Go(func() {
			select {
			case <-time.After(m.Delay):
				_, _ = p.ask(r, at, body)
			case <-p.release:
			}
		})
		return reply{}, false
	case Answer:
		return said(orStatus(m.Status, 500))
	case Slow:
		select {
		case <-time.After(m.Delay):
		case <-p.release:
		}
	case Expired:
		r.Header.Set("X-Auth-Token", "expired")
	case Stale:
		p.mu.Lock()
		old, ok := p.earlier[at]
		p.mu.Unlock()
		if ok && r.Method == http.MethodGet {
			return old, true
		}
	}
	out, err := p.ask(r, at, body)
	if err != nil {
		return said(http.StatusBadGateway)
	}
	note.Status = out.status
	switch m.Kind {
	case CutAfter:
		return reply{}, false
	case AnswerAfter:
		return said(orStatus(m.Status, 504))
	case Empty:
		out.body = emptied(out.body)
	}
	return out, true
}

// ask forwards a request. It goes on to its end even where the client has gone, as it would behind any real proxy.
func (p *Proxy) ask(r *http.Request, at string, body []byte) (reply, error) {
	q, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, at, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	for k, v := range r.Header {
		if k != "Connection" && k != "Accept-Encoding" {
			q.Header[k] = v
		}
	}
	res, err := p.client.Do(q)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return reply{}, err
	}
	if len(b) > maxAnswer {
		return reply{}, errors.New("lab: the answer is too large")
	}
	h := res.Header.Clone()
	for _, k := range []string{"Connection", "Content-Length", "Transfer-Encoding"} {
		h.Del(k)
	}
	return p.keep(r.Method, at, reply{res.StatusCode, h, b}), nil
}

// keep learns the services from a catalog, makes every link lead to the proxy, and remembers what was read.
func (p *Proxy) keep(method, at string, out reply) reply {
	p.mu.Lock()
	defer p.mu.Unlock()
	var token struct {
		Token struct {
			Catalog []struct{ Endpoints []struct{ URL string } }
		}
	}
	if strings.HasSuffix(at, "/auth/tokens") && json.Unmarshal(out.body, &token) == nil {
		for _, s := range token.Token.Catalog {
			for _, e := range s.Endpoints {
				if u, err := url.Parse(e.URL); err == nil && u.Host != "" && !slices.Contains(p.upstream, u.Scheme+"://"+u.Host) {
					p.upstream = append(p.upstream, u.Scheme+"://"+u.Host)
				}
			}
		}
	}
	for _, u := range p.upstream {
		for _, end := range []string{"/", `"`} {
			out.body = bytes.ReplaceAll(out.body, []byte(u+end), []byte(p.front(u)+end))
		}
	}
	if _, again := p.earlier[at]; method == http.MethodGet && out.status == http.StatusOK && (again || len(p.earlier) < maxEarlier) {
		p.earlier[at] = out
	}
	return out
}

// emptied leaves the rows out of a listing, as Neutron does for an account that may not see.
func emptied(body []byte) []byte {
	var rows map[string]any
	if json.Unmarshal(body, &rows) != nil {
		return body
	}
	for k, v := range rows {
		if _, list := v.([]any); list {
			rows[k] = []any{}
		}
	}
	b, err := json.Marshal(rows)
	if err != nil {
		return body
	}
	return b
}
