package service

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

const (
	turnMax = 4 << 10  // bytes of one answer that are recorded
	pageMax = 32 << 10 // bytes of one HTTP answer that are read: a page may be long, what is looked for comes early

	answerMax = 64 << 10 // bytes of one answer in which something to keep is looked for
)

// Self is how we introduce ourselves.
type Self struct {
	Version string // ours
	Policy  string // URL of the page that says who probes and why
}

// Agent is the HTTP User-Agent.
func (s Self) Agent() string { return "demarc/" + s.Version + " (+" + s.Policy + ")" }

// Identification is what we say to an SSH server, so that its log names us.
func (s Self) Identification() []byte {
	return []byte("SSH-2.0-demarc_" + s.Version + " " + s.Policy + "\r\n")
}

// Ask is the next thing to do on the wire. Whoever carries it out opens a connection where there is none, or
// none of that kind, and keeps the endpoint's budget.
type Ask struct {
	Fresh    bool   // on a new connection
	TLS      bool   // through TLS
	StartTLS []byte // sent before the handshake; the peer agrees with one byte, S, and any other byte is its answer
	Send     []byte // nil: only listen
	Passive  bool   // wait for a banner: shorter than for an answer
	HTTP     bool   // the answer is an HTTP message
	Most     int    // bytes of the answer that are wanted; 0: as the carrier's budget has it
}

// Reply is what came of it.
type Reply struct {
	Bytes     []byte
	End       string     // one of probe's ends; EndDone while the connection stands
	TLS       *probe.TLS // what the handshake showed, where it was completed
	Handshake []byte     // what was received in a handshake that was not completed, at most HandshakeMax bytes
	Secret    []byte     // of that handshake, where it came so far: see HandshakeSecret
}

// HandshakeMax bounds what is kept of a handshake that was not completed.
const HandshakeMax = 64 << 10

// Over tells whether an answer has all it will have, so that nobody waits for more.
func (a Ask) Over(b []byte) bool {
	if a.HTTP {
		if m, ok := parseFrame(b); ok {
			return m.Whole
		}
	}
	return isClientHello(a.Send) && ParseFlight(b).Done
}

// Pauses tells whether a pause after these bytes means that the answer is over. Lines of a greeting that is not recognised yet may be
// followed by more: an SSH server may send any number of them before its identification.
func (a Ask) Pauses(b []byte) bool {
	if a.HTTP {
		return false
	}
	if a.Passive && len(a.Send) == 0 && bytes.HasSuffix(b, []byte("\n")) {
		s, _ := Classify(b)
		return s != nil
	}
	return true
}

// Converse recognises what speaks at an endpoint, then asks what the scripts for it ask. All it knows of the
// world is ask: sockets behind it make a probe of it, a recording behind it makes a test.
func Converse(e probe.Endpoint, self Self, scripts []probe.Script, ask func(Ask) Reply) probe.Facts {
	t := &talk{endpoint: e, self: self, ask: ask, service: &probe.Service{Name: probe.Unknown}, pages: map[string]Reply{}}
	t.recognise()
	var exchanges []probe.Exchange
	for _, s := range scripts {
		if t.has(probe.FlagEcho) || t.has(probe.FlagTLSFailed) || t.spent {
			break
		}
		if len(s.Steps) > 0 && s.AppliesTo(t.service.Name) {
			exchanges = append(exchanges, t.run(s))
		}
	}
	slices.Sort(t.service.Flags)
	return probe.Facts{Outcome: probe.Open, Service: t.service, Exchanges: exchanges}
}

type talk struct {
	endpoint probe.Endpoint
	self     Self
	ask      func(Ask) Reply
	service  *probe.Service
	tls      *probe.TLS       // of the first handshake that succeeded
	tlsTried bool             // a handshake was offered
	tlsHint  tlsHint          // what plain answers say of it
	spent    bool             // the endpoint's budget is gone
	greeted  bool             // the peer spoke first
	pages    map[string]Reply // whole HTTP answers by question, so that none is asked twice
}

// A move tries one way of making the peer speak.
type move struct {
	name string
	try  func(*talk)
}

var moves = []move{
	{"greet", (*talk).greet},
	{"tls", (*talk).handshake},
	{"postgresql", (*talk).startup},
	{"redis", (*talk).ping},
}

// hints say which move is likely to be right for a port, so that most peers see one question only.
var hints = map[uint16]string{
	443: "tls", 465: "tls", 636: "tls", 853: "tls", 993: "tls", 995: "tls", 6380: "tls", 6443: "tls", 8443: "tls", 9443: "tls", 10250: "tls",
	80: "http", 3000: "http", 5000: "http", 8000: "http", 8008: "http", 8080: "http", 8081: "http", 8088: "http", 8888: "http", 9090: "http",
	5432: "postgresql", 5433: "postgresql", 6379: "redis",
}

// prints tells the ports of printers, which put on paper whatever they are sent: there we only listen. Port
// 9100 is not among them: in a cloud it is an exporter of metrics.
func prints(port uint16) bool { return port == 515 || port >= 9101 && port <= 9107 }

// recognise makes the moves in turn until one is answered, the port's own first.
func (t *talk) recognise() {
	if prints(t.endpoint.Port) {
		t.hear(Ask{Fresh: true, Passive: true})
		return
	}
	hint := hints[t.endpoint.Port]
	if hint == "http" {
		t.get(Ask{Fresh: true})
	}
	for _, m := range moves {
		if m.name == hint {
			m.try(t)
		}
	}
	for _, m := range moves {
		if m.name != hint && !t.over() {
			m.try(t)
		}
	}
	if t.tlsHint != noHint && !t.tlsTried && !t.spent {
		t.upgrade()
	}
	if t.tlsHint == saysTLS && t.tls == nil && !t.has(probe.FlagTLSFailed) {
		t.onlyTLS(&probe.TLS{})
	}
}

// upgrade forgets what a TLS port said in plain and asks again inside. Where the port speaks TLS and lets us in or not, its plain answer
// means nothing; where it speaks none, that answer stands.
func (t *talk) upgrade() {
	plain := t.service
	t.service = &probe.Service{Name: probe.Unknown, Flags: plain.Flags}
	t.handshake()
	if t.tls == nil && !t.has(probe.FlagTLSFailed) {
		t.service = plain
	}
}

func (t *talk) over() bool {
	return t.spent || t.tls != nil || t.service.Name != probe.Unknown ||
		t.has(probe.FlagEcho) || t.has(probe.FlagFlood) || t.has(probe.FlagTLSFailed)
}

// greet listens, and if nothing is said, asks for a page on the same connection.
func (t *talk) greet() {
	r := t.hear(Ask{Fresh: true, Passive: true})
	if t.service.Name == SSH {
		t.hear(Ask{Send: t.self.Identification(), Passive: true})
	}
	if !t.over() && len(r.Bytes) == 0 && hints[t.endpoint.Port] != "http" {
		t.get(Ask{Fresh: r.End != probe.EndTimeout && r.End != probe.EndDone})
	}
}

// handshake offers TLS and, once inside, asks for a page and then for a PONG.
func (t *talk) handshake() {
	t.tlsTried = true
	r := t.hear(Ask{Fresh: true, TLS: true, HTTP: true, Most: pageMax, Send: t.request("/", true)})
	if r.TLS == nil {
		t.unfinished(OpenFlight(r.Handshake, r.Secret))
		return
	}
	t.tls, t.service.TLS = r.TLS, r.TLS
	if t.service.Name == probe.Unknown && !t.has(probe.FlagEcho) && !t.has(probe.FlagFlood) {
		t.hear(Ask{Fresh: true, TLS: true, Send: []byte(ping)})
	}
	t.service.TLS = t.tls
}

// unfinished learns what it can from a handshake that was not completed: that TLS speaks here and, where Go's library could not go on, the
// certificate, which a second hello asks for. What the port serves stays unknown.
func (t *talk) unfinished(f Flight) {
	if !f.Speaks {
		return
	}
	if f.Leaf == nil && !t.spent {
		r := t.ask(Ask{Fresh: true, Send: ClientHello(), Most: HandshakeMax})
		t.spent = r.End == probe.EndBudget
		if second := ParseFlight(r.Bytes); second.Speaks {
			f.Leaf = second.Leaf
			if f.Version == "" {
				f.Version = second.Version
			}
		}
	}
	seen := &probe.TLS{}
	if f.Leaf != nil {
		*seen = *f.Leaf
	}
	seen.Version = f.Version
	t.onlyTLS(seen)
}

// onlyTLS notes that the port speaks TLS which could not be entered. What it said in plain is forgotten.
func (t *talk) onlyTLS(seen *probe.TLS) {
	t.service = &probe.Service{Name: probe.Unknown, Flags: t.service.Flags, TLS: seen}
	t.flag(probe.FlagTLSFailed)
}

func (t *talk) startup() {
	t.hear(Ask{Fresh: true, Send: StartupMessage("demarc-no-such-role")})
}

// ping is a command in the array form, so that nothing but Redis takes it for one of its own.
const ping = "*1\r\n$4\r\nPING\r\n"

func (t *talk) ping() {
	silent := !t.greeted
	r := t.hear(Ask{Fresh: true, Send: []byte(ping)})
	if silent && !t.over() && answersPing(r.Bytes) {
		t.learn(redisService(firstLine(r.Bytes)), r.Bytes)
	}
}

func (t *talk) get(a Ask) {
	a.HTTP, a.Most, a.Send = true, pageMax, t.request("/", false)
	t.hear(a)
}

// request is a GET as we send it. Host names the port where it is not the scheme's own (RFC 9110 section 7.2). No coding is asked for.
func (t *talk) request(path string, secure bool) []byte {
	host := t.endpoint.Addr.String()
	if t.endpoint.Addr.Is6() {
		host = "[" + host + "]"
	}
	if own := map[bool]uint16{false: 80, true: 443}[secure]; t.endpoint.Port != own {
		host += ":" + t.port()
	}
	return []byte("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: " + t.self.Agent() + "\r\nAccept: */*\r\nAccept-Encoding: identity\r\n\r\n")
}

func (t *talk) port() string { return strconv.Itoa(int(t.endpoint.Port)) }

// hear asks and takes in what the answer shows.
func (t *talk) hear(a Ask) Reply {
	if t.spent {
		return Reply{End: probe.EndBudget}
	}
	question := fmt.Sprint(a.TLS, " ", string(a.Send))
	if known, ok := t.pages[question]; ok && a.HTTP {
		return known
	}
	r := t.ask(a)
	if r.End == probe.EndBudget {
		t.spent = true
		if len(r.Bytes) > 0 {
			t.flag(probe.FlagFlood)
		}
	}
	if len(r.Bytes) == 0 {
		return r
	}
	t.greeted = t.greeted || a.Passive && len(a.Send) == 0
	if len(a.Send) >= 4 && bytes.HasPrefix(r.Bytes, a.Send) {
		t.flag(probe.FlagEcho)
		return r
	}
	if !a.TLS {
		t.tlsHint = max(t.tlsHint, hintOfTLS(r.Bytes, t.port()))
	}
	s, contradiction := Classify(r.Bytes)
	if contradiction {
		t.flag(probe.FlagContradiction)
	}
	t.learn(s, r.Bytes)
	if a.HTTP && whole(a, r) {
		t.pages[question] = r
	}
	return r
}

// learn joins what an answer shows to what is known. The first name stands; another one contradicts it.
func (t *talk) learn(s *probe.Service, b []byte) {
	known := t.service
	switch {
	case s == nil:
		if known.Banner.Empty() && known.Name == probe.Unknown {
			known.Banner = untrusted.Bytes(b).Cap(factMax)
		}
	case known.Name == probe.Unknown:
		s.Flags, s.TLS = known.Flags, t.tls
		t.service = s
	case known.Name != s.Name:
		t.flag(probe.FlagContradiction)
	case known.Version.Empty() && !s.Version.Empty():
		known.Version = s.Version
	}
}

func (t *talk) flag(f string) {
	if !t.has(f) {
		t.service.Flags = append(t.service.Flags, f)
	}
}

func (t *talk) has(f string) bool { return slices.Contains(t.service.Flags, f) }
