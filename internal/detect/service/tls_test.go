package service

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

// brainpool is a certificate of version 1 on the curve brainpoolP256r1, made with openssl.
const brainpool = "MIIBJzCBzwIBBTAKBggqhkjOPQQDAjAgMR4wHAYDVQQDDBVicmFpbnBvb2wuZXhhbXBsZS5uZXQwHhcNMjQwMTAxMDAwMDAwWhcN" +
	"MjUwMTAxMDAwMDAwWjAgMR4wHAYDVQQDDBVicmFpbnBvb2wuZXhhbXBsZS5uZXQwWjAUBgcqhkjOPQIBBgkrJAMDAggBAQcDQgAE" +
	"pL3G0hDZ0lqi1K+e+/mLeVzwn8ea1OPHQXIJ50KYs8ZqMMDE+A6YrsjbswVT+vAYYkf5szMv4B47PvJ3/sTEQDAKBggqhkjOPQQD" +
	"AgNHADBEAiBiLox6vBGwDpt54jk8G9qrckdG8FxmQOtl/gqFBh0AeAIgEAG1NynDyQNcDCdvTpoZ47MTCgUpl3gk6Uezbeki7Kk="

func brainpoolDER(t testing.TB) []byte {
	t.Helper()
	der, err := base64.StdEncoding.DecodeString(brainpool)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestReadCertificate(t *testing.T) {
	t.Parallel()
	der := brainpoolDER(t)
	got := ReadCertificate(der)
	first, last := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	if got == nil || got.NotBefore != first.UnixMicro() || got.NotAfter != last.UnixMicro() ||
		got.Subject.Raw() != "CN=brainpool.example.net" || got.Issuer.Raw() != "CN=brainpool.example.net" || len(got.KeyHash) != 64 {
		t.Fatalf("%+v", got)
	}
	for cut := range len(der) {
		if c := ReadCertificate(der[:cut]); c != nil {
			t.Errorf("cut to %d bytes, it is read as %+v", cut, c)
		}
	}
}

func TestTimesOfCertificates(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"\x17\x0d240101000000Z":     "2024-01-01T00:00:00Z",
		"\x17\x0d491231235959Z":     "2049-12-31T23:59:59Z",
		"\x17\x0d500101000000Z":     "1950-01-01T00:00:00Z",
		"\x17\x0d690101000000Z":     "1969-01-01T00:00:00Z",
		"\x17\x0b2401010000Z":       "2024-01-01T00:00:00Z",
		"\x17\x11240101020000+0200": "2024-01-01T00:00:00Z",
		"\x18\x0f20510101000000Z":   "2051-01-01T00:00:00Z",
		"\x18\x0f99991231235959Z":   "9999-12-31T23:59:59Z",
		"\x17\x0d241301000000Z":     "",
		"\x18\x0d240101000000Z":     "",
		"\x16\x0d240101000000Z":     "",
		"\x17\x0d24":                "",
		"":                          "",
	} {
		got := ""
		if us := certTime([]byte(s)); us != 0 {
			got = time.UnixMicro(us).UTC().Format(time.RFC3339)
		}
		if got != want {
			t.Errorf("%q is %q, want %q", s, got, want)
		}
	}
}

func TestParseFlight(t *testing.T) {
	t.Parallel()
	der := brainpoolDER(t)
	length := func(b []byte) []byte {
		return append([]byte{byte(len(b) >> 16), byte(len(b) >> 8), byte(len(b))}, b...)
	}
	message := func(kind byte, body []byte) []byte { return append([]byte{kind}, length(body)...) }
	record := func(kind byte, b []byte) []byte {
		return append([]byte{kind, 3, 3, byte(len(b) >> 8), byte(len(b))}, b...)
	}
	hello := message(2, slices.Concat([]byte{3, 3}, make([]byte, 32), []byte{0, 0, 0x9f, 0}))
	chosen := message(2, slices.Concat([]byte{3, 3}, make([]byte, 32), []byte{0, 0x13, 1, 0, 0, 6, 0, 43, 0, 2, 3, 4}))
	cert := message(11, length(length(der)))
	whole := slices.Concat(hello, cert, message(14, nil))
	var dripped []byte
	for _, b := range whole {
		dripped = append(dripped, record(22, []byte{b})...)
	}
	for _, c := range []struct {
		name    string
		bytes   []byte
		speaks  bool
		done    bool
		version string
		leaf    bool
	}{
		{"alert", []byte{21, 3, 1, 0, 2, 2, 112}, true, true, "", false},
		{"a warning", []byte{21, 3, 1, 0, 2, 1, 112}, true, false, "", false},
		{"a warning before the certificate", slices.Concat([]byte{21, 3, 1, 0, 2, 1, 112}, record(22, whole)), true, true, "1.2", true},
		{"alert of an unknown level", []byte{21, 3, 1, 0, 2, 7, 112}, false, false, "", false},
		{"cut alert", []byte{21, 3, 1, 0, 2}, false, false, "", false},
		{"one record", record(22, whole), true, true, "1.2", true},
		{"three records", slices.Concat(record(22, hello), record(22, cert), record(22, message(14, nil))), true, true, "1.2", true},
		{"more records than are read", dripped, true, false, "1.2", false},
		{"cut in the certificate", record(22, whole)[:200], true, false, "1.2", false},
		{"TLS 1.3", slices.Concat(record(22, chosen), record(20, []byte{1}), record(23, make([]byte, 40))), true, true, "1.3", false},
		{"alert after the hello", slices.Concat(record(22, hello), []byte{21, 3, 3, 0, 2, 2, 40}), true, true, "1.2", false},
		{"a certificate that is none", record(22, slices.Concat(hello, message(11, length(length([]byte("no")))))), true, false, "1.2", false},
		{"our own hello sent back", ClientHello(), false, false, "", false},
		{"a web server", []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), false, false, "", false},
		{"nothing", nil, false, false, "", false},
	} {
		f := ParseFlight(c.bytes)
		if f.Speaks != c.speaks || f.Done != c.done || f.Version != c.version || (f.Leaf != nil) != c.leaf {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}

// What a port that speaks TLS says in plain means nothing, whether its handshake says anything or not, and whether TLS is tried first or
// last.
func TestAPlainAnswerOfATLSPort(t *testing.T) {
	t.Parallel()
	const words = "HTTP/1.1 400 Bad Request\r\nContent-Length: 30\r\n\r\nThis port wants HTTPS, please.\r\n"
	const moved = "HTTP/1.1 301 Moved\r\nLocation: https://www.example.net:%d/\r\nContent-Length: 0\r\n\r\n"
	alert := []byte{21, 3, 3, 0, 2, 2, 112}
	for _, c := range []struct {
		name      string
		port      uint16
		plain     string
		handshake []byte
		service   string
		failed    bool
	}{
		{"refused by name, tried first", 8443, words, alert, probe.Unknown, true},
		{"refused by name, tried last", 47001, words, alert, probe.Unknown, true},
		{"hangs up, tried first", 8443, words, nil, probe.Unknown, true},
		{"hangs up, tried last", 47001, words, nil, probe.Unknown, true},
		{"redirects to itself", 8443, strings.Replace(moved, "%d", "8443", 1), nil, probe.Unknown, true},
		{"redirects to itself, the port left out", 443, strings.Replace(moved, ":%d", "", 1), nil, probe.Unknown, true},
		{"redirects to itself by address", 8443, "HTTP/1.1 308 Moved\r\nLocation: https://[2001:db8::1]:8443/\r\n\r\n", nil, probe.Unknown, true},
		{"redirects elsewhere", 80, strings.Replace(moved, ":%d", "", 1), nil, HTTP, false},
		{"redirects to another port", 80, strings.Replace(moved, "%d", "443", 1), nil, HTTP, false},
		{"does not understand", 80, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", nil, HTTP, false},
		{"does not understand, and speaks TLS", 80, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", alert, probe.Unknown, true},
		{"answers in plain", 47001, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", alert, HTTP, false},
	} {
		asked := 0
		script := probe.Script{Check: "c", Services: Names(), Steps: []probe.Step{{HTTPGet: "/a"}}}
		f := Converse(probe.Endpoint{Proto: probe.TCP, Port: c.port}, Self{}, []probe.Script{script}, func(a Ask) Reply {
			switch {
			case a.TLS:
				asked++
				return Reply{End: probe.EndClosed, Handshake: c.handshake}
			case isClientHello(a.Send):
				return Reply{Bytes: c.handshake, End: probe.EndClosed}
			case len(a.Send) == 0:
				return Reply{End: probe.EndTimeout}
			}
			return Reply{Bytes: []byte(c.plain), End: probe.EndDone}
		})
		failed := slices.Contains(f.Service.Flags, probe.FlagTLSFailed)
		if f.Service.Name != c.service || failed != c.failed || (f.Service.TLS != nil) != c.failed || asked > 1 {
			t.Errorf("%s: %+v, %d handshakes", c.name, f.Service, asked)
		}
		if c.failed && len(f.Exchanges) != 0 {
			t.Errorf("%s: asked in plain: %+v", c.name, f.Exchanges)
		}
	}
}

// Inside TLS nothing is recognised: the port is not asked in plain after that.
func TestWhatSpeaksTLSIsNotAskedInPlain(t *testing.T) {
	t.Parallel()
	var plain [][]byte
	f := Converse(probe.Endpoint{Proto: probe.TCP, Port: 8443}, Self{}, nil, func(a Ask) Reply {
		if a.TLS {
			return Reply{End: probe.EndTimeout, TLS: &probe.TLS{Version: "1.3"}}
		}
		plain = append(plain, a.Send)
		return Reply{Bytes: []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), End: probe.EndClosed}
	})
	if f.Service.Name != probe.Unknown || f.Service.TLS == nil || len(plain) != 0 {
		t.Errorf("%+v, asked in plain %q", f.Service, plain)
	}
}

// What TLS 1.3 sends behind the ServerHello is read with the secret that Go's library logs, for both suites with AES.
func TestOpenFlight(t *testing.T) {
	t.Parallel()
	der := brainpoolDER(t)
	bigEndian := func(n int) []byte { return []byte{byte(n >> 16), byte(n >> 8), byte(n)} }
	body := slices.Concat([]byte{0}, bigEndian(len(der)+5), bigEndian(len(der)), der, []byte{0, 0})
	messages := slices.Concat([]byte{8, 0, 0, 2, 0, 0}, []byte{11}, bigEndian(len(body)), body)
	for suite, s := range tls13Suites {
		secret := bytes.Repeat([]byte{7}, s.hash().Size())
		aead, iv := recordKeys(suite, secret)
		hello := slices.Concat([]byte{3, 3}, make([]byte, 32), []byte{0, byte(suite >> 8), byte(suite), 0, 0, 6, 0, 43, 0, 2, 3, 4})
		flight := slices.Concat([]byte{22, 3, 3, 0, byte(len(hello) + 4), 2}, bigEndian(len(hello)), hello, []byte{20, 3, 3, 0, 1, 1})
		for seq, piece := range slices.Collect(slices.Chunk(messages, 100)) {
			inner := append(append(bytes.Clone(piece), 22), 0, 0, 0) // the type, and padding
			head := []byte{23, 3, 3, 0, byte(len(inner) + aead.Overhead())}
			flight = append(append(flight, head...), aead.Seal(nil, nonce(iv, uint64(seq)), inner, head)...)
		}
		f := OpenFlight(flight, HandshakeSecret([]byte("CLIENT_RANDOM x y\nSERVER_HANDSHAKE_TRAFFIC_SECRET 00 "+hex.EncodeToString(secret)+"\n")))
		if f.Leaf == nil || f.Leaf.Subject.Raw() != "CN=brainpool.example.net" || f.Version != "1.3" {
			t.Errorf("suite %x: %+v", suite, f)
		}
		for name, other := range map[string]Flight{
			"without the secret": OpenFlight(flight, nil),
			"with another":       OpenFlight(flight, make([]byte, s.hash().Size())),
			"of another length":  OpenFlight(flight, []byte{1}),
			"cut":                OpenFlight(flight[:len(flight)-1], secret),
		} {
			if other.Leaf != nil || !other.Speaks || other.Version != "1.3" {
				t.Errorf("suite %x, %s: %+v", suite, name, other)
			}
		}
	}
}

// Our own hello is one that Go's server understands.
func TestClientHelloIsUnderstood(t *testing.T) {
	t.Parallel()
	client, server := net.Pipe()
	seen := make(chan *tls.ClientHelloInfo, 1)
	go func() {
		_ = tls.Server(server, &tls.Config{GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
			seen <- i
			return nil, io.EOF
		}}).Handshake()
		_ = server.Close()
		close(seen)
	}()
	if _, err := client.Write(ClientHello()); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(client)
	i := <-seen
	if err != nil || i == nil {
		t.Fatalf("%v %q", err, answer)
	}
	if !slices.Contains(i.CipherSuites, 0x009f) || !slices.Contains(i.SupportedCurves, 26) ||
		!slices.Contains(i.SupportedVersions, tls.VersionTLS12) || i.ServerName != "" {
		t.Errorf("%+v", i)
	}
	if !ParseFlight(answer).Speaks {
		t.Errorf("%q is no answer of TLS", answer)
	}
}

// Whatever is sent for a certificate is read or not, within bounds, and nothing of it is read where a byte is missing. What Go's library
// reads is read as Go reads it.
func FuzzCertificate(f *testing.F) {
	der := brainpoolDER(f)
	f.Add(der)
	negative := bytes.Clone(der)
	negative[bytes.Index(der, []byte{2, 1, 5})+2] = 0x85
	f.Add(negative)
	f.Add([]byte("\x30\x80\x30\x80"))
	f.Add(plainDER(f, time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC)))
	f.Add(plainDER(f, time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC)))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := ReadCertificate(b)
		asGo(t, b, c)
		if c == nil {
			return
		}
		if c.Subject.Len() > factMax || c.Issuer.Len() > factMax || len(c.KeyHash) != 64 || c.NotBefore == 0 && c.NotAfter == 0 {
			t.Errorf("%+v", c)
		}
		if again := ReadCertificate(append(bytes.Clone(b), 0)); again == nil || again.KeyHash != c.KeyHash {
			t.Errorf("a byte after the certificate changes it: %+v", again)
		}
	})
}

// plainDER is a certificate that Go's library reads, the same at every call.
func plainDER(f *testing.F, until time.Time) []byte {
	f.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	of := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a.example", Organization: []string{"Ä"}}, NotBefore: time.Unix(0, 0), NotAfter: until}
	der, err := x509.CreateCertificate(nil, of, of, key.Public(), key)
	if err != nil {
		f.Fatal(err)
	}
	return der
}

// asGo compares what is read of a certificate with what Go's library reads, where it does.
func asGo(t *testing.T, b []byte, c *probe.TLS) {
	t.Helper()
	g, err := x509.ParseCertificate(b)
	if err != nil || g.NotBefore.Unix() == 0 && g.NotAfter.Unix() == 0 {
		return
	}
	key := sha256.Sum256(g.RawSubjectPublicKeyInfo)
	if c == nil || c.NotBefore != g.NotBefore.UnixMicro() || c.NotAfter != g.NotAfter.UnixMicro() || c.KeyHash != hex.EncodeToString(key[:]) {
		t.Errorf("%+v, and Go reads %s to %s", c, g.NotBefore, g.NotAfter)
	}
	if c != nil && c.Subject != untrusted.From(g.Subject.String()).Cap(factMax) {
		t.Errorf("%s, and Go reads %s", c.Subject, g.Subject)
	}
}

// Whatever is answered to a ClientHello, reading ends, and what is found stays when more follows.
func FuzzFlight(f *testing.F) {
	der := brainpoolDER(f)
	f.Add([]byte{21, 3, 1, 0, 2, 2, 112}, []byte{})
	body := append([]byte{0, 1, 0x2e, 0, 1, 0x2b}, der...)
	f.Add(append([]byte{22, 3, 3, 1, 0x35, 11, 0, 1, 0x31}, body...), []byte{23, 3, 3, 0, 1, 0})
	f.Add(ClientHello(), []byte("HTTP/1.1 200 OK\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b, more []byte) {
		now := ParseFlight(b)
		if open := OpenFlight(b, more[:min(len(more), 32)]); open.Speaks != now.Speaks || open.Version != now.Version {
			t.Errorf("%+v, and with a secret %+v", now, open)
		}
		_ = certificate13(b)
		_ = HandshakeSecret(b)
		if !now.Speaks && (now.Done || now.Leaf != nil || now.Version != "") {
			t.Errorf("no TLS, and %+v", now)
		}
		later := ParseFlight(append(bytes.Clone(b), more...))
		if now.Speaks && !later.Speaks || now.Leaf != nil && later.Leaf == nil {
			t.Errorf("%+v became %+v", now, later)
		}
		_ = hintOfTLS(b, "443")
	})
}

// Whatever is compressed, no more than a page comes of it, and a message that ends is whole whatever follows.
func FuzzCoding(f *testing.F) {
	f.Add([]byte("gzip"), []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x4b\x04\x00\x43\xbe\xb7\xe8\x01\x00\x00\x00"), true)
	f.Add([]byte("deflate"), []byte("x\x9cK\x04\x00\x00b\x00b"), false)
	f.Add([]byte("br"), []byte("x"), true)
	f.Fuzz(func(t *testing.T, coding, body []byte, interim bool) {
		head := "HTTP/1.1 200 OK\r\nContent-Encoding: " + string(coding) + "\r\n\r\n"
		if interim {
			head = "HTTP/1.1 103 Early Hints\r\n\r\n" + head
		}
		m, ok := ParseHTTP(append([]byte(head), body...))
		if ok && len(m.Body) > max(pageMax, len(body)) {
			t.Errorf("%d bytes came of %d", len(m.Body), len(body))
		}
		if ok && m.opaque && m.Read(probe.EndClosed, len(body)) {
			t.Error("a body that can not be read is whole")
		}
	})
}
