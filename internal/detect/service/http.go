package service

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

const (
	maxHeaders = 64 // header lines of an answer that are read; the rest is ignored
	maxInterim = 32 // interim answers that are skipped
)

// Message is an HTTP answer, interim answers (1xx) before it left out. Its body is as the server meant it: not chunked, and inflated where
// it was compressed with gzip or deflate, at most pageMax bytes of it.
type Message struct {
	Status  int
	Headers []Header
	Body    []byte
	Whole   bool // the body came to its end
	head    []byte
	begun   bool // all header lines came, and those of a final answer
	opaque  bool // the body is in a coding that is not undone, or its length is contradictory
	old     bool // HTTP/1.0: the connection ends with the answer
	framed  bool // the end of the body can be told without the connection's end
	more    bool // bytes follow the end, which nobody asked for
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
	return m.Whole && m.framed && !m.old && !m.more && !strings.EqualFold(m.Get("connection"), "close")
}

// Read tells whether the answer is whole, given how the connection ended and how many bytes were received. A body without a length ends
// with the connection (RFC 9112 section 6.3), and a page of HTML with its own end as well. An answer that reached pageMax is as whole as
// any page is read.
func (m *Message) Read(end string, received int) bool {
	if !m.begun || m.opaque {
		return false
	}
	return m.Whole || !m.framed && end == probe.EndClosed && !m.openHTML() || received >= pageMax
}

// openHTML tells whether a page begins and does not end.
func (m *Message) openHTML() bool {
	page := bytes.ToLower(m.Body)
	return bytes.Contains(page, []byte("<html")) && !bytes.Contains(page, []byte("</html"))
}

// ParseHTTP reads as much of an HTTP/1 answer as there is; ok is false where it is none.
func ParseHTTP(b []byte) (m Message, ok bool) {
	if m, ok = parseFrame(b); ok && m.begun && !m.opaque {
		m.inflate()
	}
	return m, ok
}

// parseFrame reads an answer and finds its end, and leaves the body compressed.
func parseFrame(b []byte) (m Message, ok bool) {
	for range maxInterim {
		var rest []byte
		m, rest, ok = parseHead(b)
		if !ok || !m.begun {
			return m, ok
		}
		if m.Status >= 200 || m.Status == 101 {
			m.readBody(rest)
			return m, true
		}
		m.begun = false
		if len(rest) == 0 {
			return m, true // the answer is still to come
		}
		b = rest
	}
	return m, false
}

// parseHead reads a status line and the header lines after it. Source: RFC 9112 section 4.
func parseHead(b []byte) (m Message, rest []byte, ok bool) {
	line := firstLine(b)
	if !bytes.HasPrefix(line, []byte("HTTP/1.")) || len(line) < 12 || line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		return m, nil, false
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil || status < 100 || status > 999 {
		return m, nil, false
	}
	m.Status, m.old = status, line[7] == '0'
	_, rest, found := bytes.Cut(b, []byte("\n"))
	for found {
		var h []byte
		h, rest, found = bytes.Cut(rest, []byte("\n"))
		h = bytes.TrimRight(h, "\r")
		if len(h) == 0 && found {
			m.begun, m.head = true, b[:len(b)-len(rest)]
			return m, rest, true
		}
		if name, value, is := strings.Cut(string(h[:min(len(h), lineMax)]), ":"); is && len(m.Headers) < maxHeaders {
			m.Headers = append(m.Headers, Header{strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)})
		}
	}
	m.head = b
	return m, nil, true
}

// readBody finds the body's end. Source: RFC 9112 section 6.3.
func (m *Message) readBody(b []byte) {
	coding, lengths := strings.ToLower(m.Get("transfer-encoding")), m.lengths()
	switch {
	case m.Status == 101 || m.Status == 204 || m.Status == 304:
		m.Whole, m.framed, m.more = true, true, len(b) > 0
	case coding == "chunked":
		m.framed = true
		m.Body, m.Whole, m.more = unchunk(b)
	case coding != "" && coding != "identity":
		m.opaque = true
	case len(lengths) == 0:
		m.Body = b
	case len(lengths) > 1 || lengths[0] < 0:
		m.Body, m.opaque = b, true
	default:
		m.framed, m.Body = true, b
		if n := lengths[0]; len(b) >= n {
			m.Body, m.Whole, m.more = b[:n], true, len(b) > n
		}
	}
}

// lengths gives the different values of Content-Length, -1 for one that is no length.
func (m *Message) lengths() (out []int) {
	for _, h := range m.Headers {
		if h.Name != "content-length" {
			continue
		}
		n, err := strconv.ParseUint(h.Value, 10, 31)
		length := int(n) //nolint:gosec // 31 bits
		if err != nil {
			length = -1
		}
		if !slices.Contains(out, length) {
			out = append(out, length)
		}
	}
	return out
}

// inflate undoes the content coding, up to pageMax bytes: whatever is compressed to be larger costs no more than a page. Of a body that was
// cut, what came is inflated. Source: RFC 9110 section 8.4.1.
func (m *Message) inflate() {
	var r io.Reader
	var err error
	switch strings.ToLower(m.Get("content-encoding")) {
	case "", "identity":
		return
	case "gzip", "x-gzip":
		r, err = gzip.NewReader(bytes.NewReader(m.Body))
	case "deflate":
		r, err = zlib.NewReader(bytes.NewReader(m.Body))
	default:
		m.Body, m.opaque = nil, true
		return
	}
	if len(m.Body) == 0 {
		return
	}
	m.Body = nil
	if err != nil {
		m.opaque = true
		return
	}
	out, err := io.ReadAll(io.LimitReader(r, pageMax))
	m.Body = out
	m.opaque = err != nil && (m.Whole || !m.framed) // it came to its end and is no such body
}

// unchunk undoes the chunked coding as far as it came, and tells whether bytes follow its end. Source: RFC 9112 §7.1.
func unchunk(b []byte) (body []byte, whole, more bool) {
	for {
		line, rest, found := bytes.Cut(b, []byte("\n"))
		size, _, _ := bytes.Cut(bytes.TrimSpace(line), []byte(";"))
		n, err := strconv.ParseUint(string(bytes.TrimSpace(size)), 16, 31)
		if !found || err != nil {
			return body, false, false
		}
		if n == 0 {
			rest, whole = trailers(rest)
			return body, whole, len(rest) > 0
		}
		if uint64(len(rest)) < n {
			return append(body, rest...), false, false
		}
		body = append(body, rest[:n]...)
		b = bytes.TrimPrefix(bytes.TrimPrefix(rest[n:], []byte("\r")), []byte("\n"))
	}
}

// trailers skips the lines behind a chunked body, up to the empty one that ends it.
func trailers(b []byte) (rest []byte, ended bool) {
	for {
		line, rest, found := bytes.Cut(b, []byte("\n"))
		if !found {
			return nil, false
		}
		if len(bytes.TrimRight(line, "\r")) == 0 {
			return rest, true
		}
		b = rest
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
	banner := firstLine(m.head)
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
	if t := title.FindSubmatch(m.Body); t != nil && !m.opaque {
		s.Facts["title"] = text(bytes.TrimSpace(t[1]))
	}
	return s
}

// tlsHint is what a plain answer says of TLS on the same port.
type tlsHint int

const (
	noHint   tlsHint = iota
	mayBeTLS         // a request was not understood, whatever the words: TLS is worth a try
	saysTLS          // a TLS alert, a redirect to https on the same port, or words that send to https: the plain answer means nothing
)

func hintOfTLS(b []byte, port string) tlsHint {
	if f := ParseFlight(b); f.Speaks {
		return saysTLS
	}
	m, ok := ParseHTTP(b)
	if !ok {
		return noHint
	}
	switch {
	case m.Status >= 300 && m.Status < 400 && httpsOn(m.Get("location"), port):
		return saysTLS
	case m.Status == 400 && bytes.Contains(bytes.ToLower(m.Body), []byte("https")):
		return saysTLS
	case m.Status == 400 || m.Status == 426:
		return mayBeTLS
	default:
		return noHint
	}
}

// httpsOn tells whether a URL is https on a port.
func httpsOn(location, port string) bool {
	rest, https := strings.CutPrefix(strings.ToLower(location), "https://")
	authority, _, _ := strings.Cut(rest, "/")
	_, named, _ := strings.Cut(authority[strings.LastIndexByte(authority, ']')+1:], ":")
	return https && (named == port || named == "" && port == "443")
}

// unsteady headers are left out of what is recorded: they change from answer to answer, or name a session, or describe a coding of the body
// that is undone in the record.
var unsteady = map[string]bool{
	"date": true, "expires": true, "age": true, "set-cookie": true, "etag": true, "last-modified": true,
	"x-request-id": true, "x-runtime": true,
	"content-length": true, "content-encoding": true, "transfer-encoding": true,
}

// steady gives an answer as it is recorded: of an HTTP message the final answer, its steady headers, and the body without its codings.
func steady(b []byte) []byte {
	m, ok := ParseHTTP(b)
	if !ok {
		return b
	}
	var out []byte
	for line := range bytes.SplitSeq(bytes.TrimRight(m.head, "\r\n"), []byte("\n")) {
		line = bytes.TrimRight(line, "\r")
		name, _, _ := strings.Cut(string(line[:min(len(line), 64)]), ":")
		if !unsteady[strings.ToLower(strings.TrimSpace(name))] {
			out = append(append(out, line...), "\r\n"...)
		}
	}
	if !m.begun {
		return out
	}
	out = append(out, "\r\n"...)
	if m.opaque {
		return out
	}
	return append(out, m.Body...)
}
