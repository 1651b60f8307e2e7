package service

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"

	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

// maxHeaders is how many header lines of an answer are read; the rest is ignored.
const maxHeaders = 64

// Message is an HTTP answer. Its body is as received but for chunking, and never inflated.
type Message struct {
	Status  int
	Headers []Header
	Body    []byte
	Whole   bool // the body came to its end
	old     bool // HTTP/1.0: the connection ends with the answer
	framed  bool // the end of the body can be told without the connection's end
}

// Header is one header line, its name in lower case.
type Header struct{ Name, Value string }

// Get gives the first value of a header.
func (m *Message) Get(name string) string {
	for _, h := range m.Headers {
		if h.Name == name {
			return h.Value
		}
	}
	return ""
}

// Reusable tells whether a further request may follow on the same connection.
func (m *Message) Reusable() bool {
	return m.Whole && m.framed && !m.old && !strings.EqualFold(m.Get("connection"), "close")
}

// ParseHTTP reads as much of an HTTP/1 answer as there is; ok is false where it is none.
func ParseHTTP(b []byte) (m Message, ok bool) {
	line := firstLine(b)
	if !bytes.HasPrefix(line, []byte("HTTP/1.")) || len(line) < 12 || line[8] != ' ' {
		return m, false
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil || status < 100 || status > 999 {
		return m, false
	}
	m.Status, m.old = status, line[7] == '0'
	_, rest, found := bytes.Cut(b, []byte("\n"))
	for found {
		var h []byte
		h, rest, found = bytes.Cut(rest, []byte("\n"))
		h = bytes.TrimRight(h, "\r")
		if len(h) == 0 && found {
			m.readBody(rest)
			return m, true
		}
		if name, value, is := strings.Cut(string(h[:min(len(h), lineMax)]), ":"); is && len(m.Headers) < maxHeaders {
			m.Headers = append(m.Headers, Header{strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)})
		}
	}
	return m, true
}

func (m *Message) readBody(b []byte) {
	if strings.EqualFold(m.Get("transfer-encoding"), "chunked") {
		m.Body, m.Whole = unchunk(b)
		m.framed = true
		return
	}
	m.Body = b
	n, err := strconv.Atoi(m.Get("content-length"))
	switch {
	case m.Status == 204 || m.Status == 304:
		m.Body, m.Whole, m.framed = nil, true, true
	case err == nil && n >= 0:
		m.framed = true
		if len(b) >= n {
			m.Body, m.Whole = b[:n], true
		}
	}
}

// unchunk undoes the chunked coding as far as it came. Source: RFC 9112 §7.1.
func unchunk(b []byte) (body []byte, whole bool) {
	for {
		line, rest, found := bytes.Cut(b, []byte("\n"))
		size, _, _ := bytes.Cut(bytes.TrimSpace(line), []byte(";"))
		n, err := strconv.ParseUint(string(size), 16, 31)
		if !found || err != nil {
			return body, false
		}
		if n == 0 {
			return body, true
		}
		if uint64(len(rest)) < n {
			return append(body, rest...), false
		}
		body = append(body, rest[:n]...)
		b = bytes.TrimPrefix(bytes.TrimPrefix(rest[n:], []byte("\r")), []byte("\n"))
	}
}

var title = regexp.MustCompile(`(?is)<title[^>]{0,64}>\s*([^<]{1,200})`)

// http reads an answer to a request.
func http(b []byte) *probe.Service {
	m, ok := ParseHTTP(b)
	if !ok {
		return nil
	}
	s := &probe.Service{Name: HTTP, Facts: map[string]untrusted.Text{"status": word(strconv.Itoa(m.Status))}}
	banner := firstLine(b)
	if server := m.Get("server"); server != "" {
		product, version := splitProduct(server, "/")
		s.Product, s.Version = word(product), word(version)
		s.Facts["server"] = word(server)
		banner = append(append(bytes.Clone(banner), "\r\nServer: "...), server...)
	}
	s.Banner = untrusted.Bytes(banner).Cap(bannerMax)
	for fact, name := range map[string]string{"location": "location", "realm": "www-authenticate", "encoding": "content-encoding"} {
		if v := m.Get(name); v != "" {
			s.Facts[fact] = word(v)
		}
	}
	if t := title.FindSubmatch(m.Body); t != nil && m.Get("content-encoding") == "" {
		s.Facts["title"] = text(bytes.TrimSpace(t[1]))
	}
	return s
}

// wantsTLS tells whether a plain answer says that the port speaks TLS: a TLS alert, or a server's own advice.
func wantsTLS(b []byte) bool {
	if len(b) >= 3 && b[0] == 0x15 && b[1] == 0x03 {
		return true
	}
	m, ok := ParseHTTP(b)
	return ok && m.Status == 400 && bytes.Contains(bytes.ToLower(m.Body), []byte("https"))
}

// volatile headers change from answer to answer, or name a session; neither belongs in a fact.
var volatile = map[string]bool{"date": true, "expires": true, "age": true, "set-cookie": true, "etag": true, "last-modified": true, "x-request-id": true, "x-runtime": true}

// steady gives an answer as it is recorded: volatile headers of an HTTP message are left out.
func steady(b []byte) []byte {
	if _, ok := ParseHTTP(b); !ok {
		return b
	}
	head, body, found := bytes.Cut(b, []byte("\r\n\r\n"))
	var out []byte
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		name, _, _ := strings.Cut(string(line[:min(len(line), 64)]), ":")
		if !volatile[strings.ToLower(name)] {
			out = append(append(out, line...), "\r\n"...)
		}
	}
	if !found {
		return out
	}
	return append(append(out, "\r\n"...), body...)
}
