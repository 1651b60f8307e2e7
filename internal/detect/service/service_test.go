package service

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"demarc/internal/probe"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, answer, service, product, version string
		facts                                   map[string]string
		contradiction                           bool
	}{
		{name: "openssh of debian", answer: "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10\r\n", service: SSH, product: "OpenSSH", version: "9.2p1", facts: map[string]string{"protocol": "2.0", "release": "debian 12", "comment": "Debian-2+deb12u10"}},
		{name: "a backport names no release", answer: "SSH-2.0-OpenSSH_9.9p1 Debian-3~bpo12+1\r\n", service: SSH, product: "OpenSSH", version: "9.9p1", facts: map[string]string{"release": ""}},
		{name: "ubuntu", answer: "SSH-2.0-OpenSSH_8.9p1 Ubuntu-3ubuntu0.13\r\n", service: SSH, product: "OpenSSH", version: "8.9p1", facts: map[string]string{"release": ""}},
		{name: "dropbear", answer: "SSH-2.0-dropbear_2022.83\r\n\x00\x00\x01\x94", service: SSH, product: "dropbear", version: "2022.83"},
		{name: "both versions", answer: "SSH-1.99-Cisco-1.25\n", service: SSH, product: "Cisco-1.25", facts: map[string]string{"protocol": "1.99"}},
		{name: "lines before", answer: "Authorised use only\r\nSSH-2.0-x\r\n", service: SSH, product: "x"},
		{name: "no version", answer: "SSH-hello\r\n"},
		{name: "nginx", answer: "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\n\r\n<title> Hello\n</title>", service: HTTP, product: "nginx", version: "1.22.1", facts: map[string]string{"title": "Hello", "status": "200"}},
		{name: "a compressed page has no title", answer: "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n<title>x</title>", service: HTTP, facts: map[string]string{"title": "", "encoding": "gzip"}},
		{name: "a page about ssh", answer: "HTTP/1.1 200 OK\r\n\r\nSSH-2.0-OpenSSH\r\n+PONG\r\n", service: HTTP},
		{name: "no status", answer: "HTTP/1.1 OK\r\n"},
		{name: "pong", answer: "+PONG\r\n", service: Redis, product: "Redis"},
		{name: "password", answer: "-NOAUTH Authentication required.\r\n", service: Redis, product: "Redis"},
		{name: "info", answer: "$99\r\n# Server\r\nredis_version:7.0.15\r\n", service: Redis, product: "Redis", version: "7.0.15"},
		{name: "pop3 is not redis", answer: "+OK ready\r\n"},
		{name: "trust", answer: "R\x00\x00\x00\x08\x00\x00\x00\x00E\x00\x00\x00\x09SFATAL\x00\x00", service: PostgreSQL, product: "PostgreSQL", facts: map[string]string{"auth": "ok"}},
		{name: "scram", answer: "R\x00\x00\x00\x17\x00\x00\x00\nSCRAM-SHA-256\x00\x00", service: PostgreSQL, product: "PostgreSQL", facts: map[string]string{"auth": "sasl"}},
		{name: "refused", answer: "E\x00\x00\x00\x1fSFATAL\x00C28000\x00Mgo away\x00\x00", service: PostgreSQL, product: "PostgreSQL", facts: map[string]string{"code": "28000", "message": "go away"}},
		{name: "not postgres", answer: "Requested nothing at all"},
		{name: "telnet", answer: "\xff\xfd\x18\xff\xfd \r\nwelcome\r\nhost login: ", service: Telnet, facts: map[string]string{"prompt": "host login:", "start_tls": ""}},
		{name: "telnet with tls", answer: "\xff\xfd\x2e", service: Telnet, facts: map[string]string{"start_tls": "offered"}},
		{name: "the rune is not the byte", answer: "ÿý\x18hello"},
		{name: "an identification without its end states nothing", answer: "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10", service: SSH, facts: map[string]string{"protocol": "", "release": ""}},
		{name: "behind a long notice", answer: strings.Repeat("a line of the notice\r\n", 200) + "SSH-2.0-x_1\r\n", service: SSH, product: "x", version: "1"},
		{name: "squeeze", answer: "SSH-2.0-OpenSSH_5.5p1 Debian-6+squeeze5\r\n", service: SSH, product: "OpenSSH", version: "5.5p1", facts: map[string]string{"release": "debian 6"}},
		{name: "telnet after a greeting", answer: "Grüezi\r\n\xff\xfb\x01\xff\xfb\x03Benutzer: ", service: Telnet, facts: map[string]string{"prompt": "Benutzer:"}},
		{name: "telnet with tls and more", answer: "\xff\xfd\x2e\xff\xfb\x01", service: Telnet, facts: map[string]string{"start_tls": "optional"}},
		{name: "a login and no negotiation", answer: "\r\nhost login: ", service: Telnet, facts: map[string]string{"prompt": "host login:"}},
		{name: "a word about logins", answer: "please login: here\r\n"},
		{name: "binary before the negotiation", answer: "\x01\x02\x03\xff\xfb\x01"},
		{name: "denied by a fork", answer: "-DENIED Running in protected mode\r\n", service: Redis, product: "Redis"},
		{name: "an error of the protocol's form", answer: "-MASTERDOWN Link with MASTER is down\r\n", service: Redis, product: "Redis"},
		{name: "pop3 refuses", answer: "-ERR what do you mean\r\n"},
		{name: "a list item", answer: "-Item one\r\n-Item two\r\n"},
		{name: "early hints before the page", answer: "HTTP/1.1 103 Early Hints\r\nServer: x\r\n\r\nHTTP/1.1 404 Not Found\r\nServer: nginx/1\r\n\r\n", service: HTTP, product: "nginx", version: "1", facts: map[string]string{"status": "404"}},
		{name: "three at once", answer: "SSH-2.0-x\r\nHTTP/1.1 200 OK\r\n\r\n+PONG\r\n", service: SSH, product: "x", contradiction: true},
		{name: "nothing", answer: ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, contradiction := Classify([]byte(c.answer))
			if s == nil {
				s = &probe.Service{}
			}
			if s.Name != c.service || s.Product.Raw() != c.product || s.Version.Raw() != c.version || contradiction != c.contradiction {
				t.Errorf("got %q %q %q, contradiction %v", s.Name, s.Product, s.Version, contradiction)
			}
			for name, want := range c.facts {
				if got := s.Facts[name].Raw(); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestParseHTTP(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, answer, body string
		whole, reusable    bool
	}{
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", true, true},
		{"bytes after the end", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 404 Not Found\r\n\r\n", "ok", true, false},
		{"bytes after the last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nx", "", true, false},
		{"no end of the trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n", "ok", false, false},
		{"trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n", "ok", true, true},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "ok", false, false},
		{"the same length twice", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", "ok", true, true},
		{"a coding of the transfer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "", false, false},
		{"early hints", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", true, true},
		{"only hints yet", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", "", false, false},
		{"switching protocols is an answer", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "", true, true},
		{"gzip", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 21\r\n\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x4b\x04\x00\x43\xbe\xb7\xe8\x01\x00\x00\x00", "a", true, true},
		{"cut gzip", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 21\r\n\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x4b", "", false, false},
		{"no length at all", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", "ok", false, false},
		{"too short", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", "ok", false, false},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nre\r\n3;x=y\r\nf: \r\n0\r\n\r\n", "ref: ", true, true},
		{"chunk unfinished", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc", "abc", false, false},
		{"chunk of absurd size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc", "", false, false},
		{"close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "", true, false},
		{"1.0", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "", true, false},
		{"until the end", "HTTP/1.1 200 OK\r\n\r\nabc", "abc", false, false},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\n", "", true, true},
		{"negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabc", "abc", false, false},
		{"headers unfinished", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", "", false, false},
	} {
		m, ok := ParseHTTP([]byte(c.answer))
		if !ok || string(m.Body) != c.body || m.Whole != c.whole || m.Reusable() != c.reusable {
			t.Errorf("%s: %v body %q whole %v reusable %v", c.name, ok, m.Body, m.Whole, m.Reusable())
		}
	}
}

// A message without a length is whole where the connection ends, unless a page or a coding shows that it was cut, and any page is whole
// that was read as far as pages are.
func TestWhatIsReadWhole(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", pageMax)
	for _, c := range []struct {
		name, answer, end string
		want              bool
	}{
		{"closed", "HTTP/1.0 200 OK\r\n\r\nabc", probe.EndClosed, true},
		{"silent", "HTTP/1.0 200 OK\r\n\r\nabc", probe.EndTimeout, false},
		{"reset", "HTTP/1.0 200 OK\r\n\r\nabc", probe.EndReset, false},
		{"a page that does not end", "HTTP/1.0 200 OK\r\n\r\n<html><body>", probe.EndClosed, false},
		{"a page that ends", "HTTP/1.0 200 OK\r\n\r\n<HTML><body></HTML>", probe.EndClosed, true},
		{"gzip that does not end", "HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x4b", probe.EndClosed, false},
		{"brotli", "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx", probe.EndDone, false},
		{"shorter than it says", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", probe.EndClosed, false},
		{"longer than is read", "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + long, probe.EndClosed, true},
		{"only hints", "HTTP/1.1 103 Early Hints\r\n\r\n", probe.EndClosed, false},
		{"no answer", "HTTP/1.1 404", probe.EndClosed, false},
	} {
		if got := whole(Ask{HTTP: true}, Reply{Bytes: []byte(c.answer), End: c.end}); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	for answer, want := range map[string]bool{"-NOAUTH x\r\n": true, "-NOAUTH x": false} {
		if got := whole(Ask{Send: []byte(ping)}, Reply{Bytes: []byte(answer)}); got != want {
			t.Errorf("%q: %v", answer, got)
		}
	}
	startup := StartupMessage("x")
	for answer, want := range map[string]bool{"R\x00\x00\x00\x08\x00\x00\x00\x00": true, "R\x00\x00\x00\x08\x00\x00": false, "N": false} {
		if got := whole(Ask{Send: startup}, Reply{Bytes: []byte(answer)}); got != want {
			t.Errorf("%q: %v", answer, got)
		}
	}
	if !whole(Ask{Send: startup, StartTLS: sslRequest}, Reply{Bytes: []byte("N")}) {
		t.Error("the refusal of TLS is one byte")
	}
}

// Host has the port, but for the scheme's own.
func TestHostOfARequest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		addr   string
		port   uint16
		secure bool
		want   string
	}{
		{"192.0.2.1", 80, false, "192.0.2.1"}, {"192.0.2.1", 80, true, "192.0.2.1:80"}, {"192.0.2.1", 443, true, "192.0.2.1"},
		{"192.0.2.1", 443, false, "192.0.2.1:443"}, {"192.0.2.1", 8080, false, "192.0.2.1:8080"}, {"2001:db8::1", 8443, true, "[2001:db8::1]:8443"},
		{"2001:db8::1", 80, false, "[2001:db8::1]"},
	} {
		talk := &talk{endpoint: probe.Endpoint{Addr: netip.MustParseAddr(c.addr), Port: c.port}}
		if got := string(talk.request("/x", c.secure)); !strings.Contains(got, "\r\nHost: "+c.want+"\r\n") {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// PostgreSQL's answers are read by their kind, not by their words, and only where they are whole.
func TestPostgreSQLAnswers(t *testing.T) {
	t.Parallel()
	message := func(fields ...string) string {
		body := strings.Join(fields, "\x00") + "\x00\x00"
		return "E\x00\x00\x00" + string(rune(len(body)+4)) + body
	}
	for name, c := range map[string]struct{ answer, want string }{
		"admitted":               {"R\x00\x00\x00\x08\x00\x00\x00\x00", probe.PGAdmitted},
		"admitted, then more":    {"R\x00\x00\x00\x08\x00\x00\x00\x00E", probe.PGAdmitted},
		"password":               {"R\x00\x00\x00\x08\x00\x00\x00\x03", probe.PGRefused},
		"cut":                    {"R\x00\x00\x00\x08\x00\x00\x00", ""},
		"an unknown request":     {"R\x00\x00\x00\x08\x00\x00\x00\x63", ""},
		"too short a request":    {"R\x00\x00\x00\x04", ""},
		"a length beyond bounds": {"R\xff\xff\xff\xff\x00\x00\x00\x00", ""},
		"no TLS":                 {"N", probe.PGNoTLS},
		"english":                {message("SFATAL", "VFATAL", "C28000", "Mno entry", "RClientAuthentication"), probe.PGRefused},
		"french":                 {message("SFATAL", "C28000", "Maucune entr\u00e9e", "RClientAuthentication"), probe.PGRefused},
		"another routine":        {message("SFATAL", "VFATAL", "C28000", "Mrole does not exist", "RInitializeSessionUserId"), ""},
		"another state":          {message("SFATAL", "VFATAL", "C57P03", "Mstarting", "RClientAuthentication"), ""},
		"no severity":            {message("C28000", "RClientAuthentication"), ""},
		"words alone":            {message("SFATAL", "Mno pg_hba.conf entry"), ""},
		"a web page":             {"HTTP/1.1 400 Bad Request\r\n\r\n", ""},
	} {
		if got := postgresAnswer([]byte(c.answer)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestStartupMessage(t *testing.T) {
	t.Parallel()
	m := StartupMessage("nobody")
	if int(m[3]) != len(m) || !bytes.Equal(m[4:8], []byte{0, 3, 0, 0}) || !bytes.HasSuffix(m, []byte{0, 0}) || !bytes.Contains(m, []byte("user\x00nobody\x00")) {
		t.Errorf("%q", m)
	}
}

// A peer behind a table: what it says to what it hears.
func talkTo(port uint16, answers map[string]string, scripts ...probe.Script) (probe.Facts, []Ask) {
	var asked []Ask
	f := Converse(probe.Endpoint{Proto: probe.TCP, Port: port}, Self{Version: "1", Policy: "https://p.example/"}, scripts, func(a Ask) Reply {
		asked = append(asked, a)
		if a.TLS {
			return Reply{End: probe.EndClosed}
		}
		word, _, _ := strings.Cut(string(a.Send), " ")
		if s, ok := answers[word]; ok {
			return Reply{Bytes: []byte(s), End: probe.EndDone}
		}
		return Reply{End: probe.EndTimeout}
	})
	return f, asked
}

func TestAnAnswerToAnythingIsRecognised(t *testing.T) {
	t.Parallel()
	f, asked := talkTo(47001, map[string]string{"GET": "-ERR wrong number of arguments for 'get' command\r\n"})
	if f.Service.Name != Redis || len(asked) != 2 {
		t.Errorf("Redis on an odd port: %s after %d questions", f.Service.Name, len(asked))
	}
}

func TestTheWellKnownPortIsAskedItsOwnQuestionFirst(t *testing.T) {
	t.Parallel()
	for port, want := range map[uint16]string{6379: ping, 80: "GET / ", 5432: "\x00\x00\x00", 22: ""} {
		_, asked := talkTo(port, nil)
		if !strings.HasPrefix(string(asked[0].Send), want) || (want == "") != asked[0].Passive {
			t.Errorf("port %d is first asked %q", port, asked[0].Send)
		}
		if !slices.ContainsFunc(asked, func(a Ask) bool { return a.TLS }) {
			t.Errorf("port %d: a mute peer is not offered TLS", port)
		}
	}
}

func TestAPrinterIsSentNothing(t *testing.T) {
	t.Parallel()
	for _, port := range []uint16{515, 9101, 9107} {
		_, asked := talkTo(port, nil)
		if len(asked) != 1 || len(asked[0].Send) != 0 || asked[0].TLS {
			t.Errorf("port %d: %+v", port, asked)
		}
	}
}

func TestAScriptIsOnlyForItsService(t *testing.T) {
	t.Parallel()
	s := probe.Script{Check: "c", Services: probe.Strings{Redis}, Steps: []probe.Step{{Send: "PING "}}}
	f, _ := talkTo(22, map[string]string{"": "SSH-2.0-x\r\n"}, s)
	if len(f.Exchanges) != 0 {
		t.Errorf("a script for Redis was run on SSH: %+v", f.Exchanges)
	}
	f, _ = talkTo(6379, map[string]string{"*1\r\n$4\r\nPING\r\n": "+PONG\r\n", "PING": "SSH-2.0-x\r\n"}, s)
	if len(f.Exchanges) != 1 || !slices.Contains(f.Service.Flags, probe.FlagContradiction) {
		t.Errorf("an answer of another protocol is no contradiction: %+v", f)
	}
}

func TestKeepLeavesTheRestOut(t *testing.T) {
	t.Parallel()
	step := probe.Step{Keep: probe.Strings{`redis_version:[0-9.]+`, `never`}}
	for answer, want := range map[string]string{
		"$9\r\nsecret:1\r\nredis_version:7.0.15\r\nuptime:3\r\n": "redis_version:7.0.15",
		"-NOAUTH no\r\nmore\r\n":                                 "-NOAUTH no",
	} {
		if got, complete := record(step, []byte(answer)); got.Raw() != want || !complete {
			t.Errorf("kept %q, complete %v", got.Raw(), complete)
		}
	}
	if got, complete := record(probe.Step{}, bytes.Repeat([]byte("x"), turnMax+1)); got.Len() != turnMax || complete {
		t.Errorf("kept %d bytes, complete %v", got.Len(), complete)
	}
}

func TestHolds(t *testing.T) {
	t.Parallel()
	yes := true
	s, _ := Classify([]byte("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10\r\n"))
	s.TLS, s.Flags = &probe.TLS{NotAfter: 100}, []string{probe.FlagEcho}
	page := "HTTP/1.1 200 OK\r\nServer: Nginx\r\n\r\nref: refs/heads/main\n"
	for name, c := range map[string]struct {
		m      probe.Match
		answer string
		want   bool
	}{
		"nothing asked":        {probe.Match{}, "x", true},
		"any of":               {probe.Match{Prefix: probe.Strings{"a", "b"}}, "bc", true},
		"none of":              {probe.Match{Contains: probe.Strings{"x"}}, "bc", false},
		"equals":               {probe.Match{Equals: probe.Strings{"bc"}}, "bc", true},
		"all members":          {probe.Match{Prefix: probe.Strings{"b"}, Regex: "^c"}, "bc", false},
		"status":               {probe.Match{Status: probe.Numbers{200}, Header: map[string]string{"SERVER": "nginx"}, BodyRegex: "^ref: "}, page, true},
		"status of no page":    {probe.Match{StatusNot: probe.Numbers{200}}, "+PONG", false},
		"status not":           {probe.Match{StatusNot: probe.Numbers{200}}, page, false},
		"body is not headers":  {probe.Match{Body: probe.Strings{"Nginx"}}, page, false},
		"fact":                 {probe.Match{Fact: map[string]probe.Strings{"release": {"debian 12"}}}, "", true},
		"fact regex":           {probe.Match{FactRegex: map[string]string{"version": "^9"}}, "", true},
		"flag":                 {probe.Match{Flag: probe.Strings{probe.FlagEcho}}, "", true},
		"flag not":             {probe.Match{FlagNot: probe.Strings{probe.FlagEcho}}, "", false},
		"expired":              {probe.Match{TLSExpired: &yes}, "", true},
		"a pattern that fails": {probe.Match{Regex: "("}, "x", false},
	} {
		if got := Holds(c.m, c.answer, s, 200); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Whatever a peer says: no panic, and nothing kept beyond its cap.
func fuzzed(f *testing.F, classify func([]byte) *probe.Service, name string) {
	for _, s := range []string{"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10\r\n", "HTTP/1.1 200 OK\r\nServer: nginx/1\r\n\r\n<title>x</title>", "+PONG\r\n", "-NOAUTH x\r\nredis_version:7\n", "R\x00\x00\x00\x08\x00\x00\x00\x00", "E\x00\x00\x00\x1fSFATAL\x00C28000\x00Mgo away\x00\x00", "\xff\xfd\x18\xff\xfa\x18\x01\xff\xf0login: ", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := classify(b)
		if s == nil {
			return
		}
		if name != "" && s.Name != name {
			t.Errorf("named %s", s.Name)
		}
		if s.Product.Len() > factMax || s.Version.Len() > factMax || s.Banner.Len() > bannerMax || len(s.Facts) > 8 {
			t.Errorf("too much is kept: %+v", s)
		}
		for k, v := range s.Facts {
			if v.Len() > factMax {
				t.Errorf("%s has %d bytes", k, v.Len())
			}
		}
	})
}

func FuzzSSH(f *testing.F)      { fuzzed(f, ssh, SSH) }
func FuzzHTTP(f *testing.F)     { fuzzed(f, http, HTTP) }
func FuzzRedis(f *testing.F)    { fuzzed(f, redis, Redis) }
func FuzzPostgres(f *testing.F) { fuzzed(f, postgres, PostgreSQL) }
func FuzzTelnet(f *testing.F)   { fuzzed(f, telnet, Telnet) }
func FuzzClassify(f *testing.F) {
	fuzzed(f, func(b []byte) *probe.Service {
		s, _ := Classify(b)
		return s
	}, "")
}

// A message is never longer than what it was read from, and what is recorded keeps its cap.
func FuzzMessage(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nDate: x\r\n\r\n2\r\nok\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := ParseHTTP(b)
		if ok && (len(m.Body) > len(b) || len(m.Headers) > maxHeaders) {
			t.Errorf("%d bytes of body, %d headers, of %d bytes", len(m.Body), len(m.Headers), len(b))
		}
		if kept, _ := record(probe.Step{}, b); kept.Len() > turnMax {
			t.Errorf("%d bytes recorded", kept.Len())
		}
	})
}

// Whatever is answered to whatever is asked, a conversation ends, in few questions.
func FuzzConverse(f *testing.F) {
	f.Add(uint16(22), []byte("SSH-2.0-x\r\n"), []byte("+PONG\r\n"))
	f.Add(uint16(443), []byte("\x15\x03\x01"), []byte("HTTP/1.1 400 x\r\n\r\nhttps"))
	scripts := []probe.Script{{Check: "c", Services: Names(), Steps: []probe.Step{{HTTPGet: "/a"}, {Send: "b"}, {PGStartup: "c"}, {Send: "d"}, {Send: "e"}, {Send: "f"}, {Send: "never"}}}}
	f.Fuzz(func(t *testing.T, port uint16, first, second []byte) {
		n := 0
		facts := Converse(probe.Endpoint{Port: port}, Self{}, scripts, func(Ask) Reply {
			n++
			if n%2 == 1 {
				return Reply{Bytes: first, End: probe.EndDone, TLS: &probe.TLS{Version: "1.3"}}
			}
			return Reply{Bytes: second, End: probe.EndTimeout}
		})
		if n > 9+probe.MaxSteps || facts.Service == nil || !slices.IsSorted(facts.Service.Flags) {
			t.Errorf("%d questions, %+v", n, facts.Service)
		}
	})
}
