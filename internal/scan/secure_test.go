package scan

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"slices"
	"testing"
	"time"

	"demarc/internal/detect"
	"demarc/internal/detect/service"
	"demarc/internal/probe"
)

var (
	firstDay = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	lastDay  = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
)

// expired is a certificate whose time is over, and its key. Where serial is set, that number is written into it as it is.
func expired(t *testing.T, serial byte) (der []byte, key *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	name := pkix.Name{CommonName: "old.example.net"}
	template := &x509.Certificate{SerialNumber: big.NewInt(5), Subject: name, NotBefore: firstDay, NotAfter: lastDay}
	if der, err = x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key); err != nil {
		t.Fatal(err)
	}
	if serial != 0 {
		i := bytes.Index(der, []byte{2, 1, 5})
		der[i+2] = serial
	}
	return der, key
}

// tlsServer is Go's own server, which does not look at the certificate that it sends.
func tlsServer(t *testing.T, addr string, conf *tls.Config) probe.Endpoint {
	t.Helper()
	return serve(t, addr, func(c net.Conn) {
		s := tls.Server(c, conf)
		if s.Handshake() == nil {
			request(s)
			_, _ = s.Write([]byte("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
			drain(s)
		}
	})
}

// picky is a server that sends its certificate only to a client that offers a suite or a curve, and otherwise an alert; it goes no further.
func picky(t *testing.T, addr string, accepts func(hello []byte) bool, der []byte) probe.Endpoint {
	t.Helper()
	return serve(t, addr, func(c net.Conn) {
		head := make([]byte, 5)
		if _, err := io.ReadFull(c, head); err != nil || head[0] != 22 {
			_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nno\n"))
			return
		}
		hello := make([]byte, binary.BigEndian.Uint16(head[3:]))
		if _, err := io.ReadFull(c, hello); err != nil {
			return
		}
		if !accepts(hello) {
			_, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, 40})
			return
		}
		_, _ = c.Write(firstFlight(der))
		drain(c)
	})
}

// firstFlight is what a server of TLS 1.2 sends after the ClientHello, in records of 1000 bytes.
func firstFlight(der []byte) []byte {
	message := func(kind byte, body []byte) []byte {
		return append([]byte{kind, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
	}
	length := func(b []byte) []byte {
		return append([]byte{byte(len(b) >> 16), byte(len(b) >> 8), byte(len(b))}, b...)
	}
	hello := slices.Concat([]byte{3, 3}, make([]byte, 32), []byte{0, 0, 0x9f, 0})
	all := slices.Concat(message(2, hello), message(11, length(length(der))), message(14, nil))
	var out []byte
	for piece := range slices.Chunk(all, 1000) {
		out = append(binary.BigEndian.AppendUint16(append(out, 22, 3, 3), uint16(len(piece))), piece...)
	}
	return out
}

// offers tells whether two bytes stand anywhere in a hello.
func offers(value uint16) func([]byte) bool {
	return func(hello []byte) bool { return bytes.Contains(hello, binary.BigEndian.AppendUint16(nil, value)) }
}

func suites(hello []byte) []byte { // version, random, session, then the suites
	at := 4 + 2 + 32
	at += 1 + int(hello[at])
	return hello[at+2 : at+2+int(binary.BigEndian.Uint16(hello[at:]))]
}

// That TLS speaks, and what its certificate says, is known where Go's library can not complete the handshake.
func TestTLSThatGoCanNotFinish(t *testing.T) {
	t.Parallel()
	checks, err := detect.Load()
	if err != nil {
		t.Fatal(err)
	}
	negative, key := expired(t, 0x85)
	good, goodKey := expired(t, 0)
	foreign, foreignKey := expired(t, 0) // on a curve that the library does not know
	foreign[bytes.Index(foreign, []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7})+7] = 6
	server := func(der []byte, key *ecdsa.PrivateKey, most uint16) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MaxVersion: most}
	}
	newest := server(negative, key, 0)
	newest.MinVersion = tls.VersionTLS13
	refuse := &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, io.EOF }}
	for i, c := range []struct {
		name   string
		serve  func(addr string) probe.Endpoint
		answer detect.Answer // of tls-expired
		failed bool
	}{
		{"negative serial number", func(a string) probe.Endpoint { return tlsServer(t, a, server(negative, key, 0)) }, detect.Vulnerable, true},
		{"negative serial number, TLS 1.2", func(a string) probe.Endpoint {
			return tlsServer(t, a, server(negative, key, tls.VersionTLS12))
		}, detect.Vulnerable, true},
		{"negative serial number, TLS 1.3 only", func(a string) probe.Endpoint { return tlsServer(t, a, newest) }, detect.Vulnerable, true},
		{"a key on an unknown curve", func(a string) probe.Endpoint {
			return tlsServer(t, a, server(foreign, foreignKey, 0))
		}, detect.Vulnerable, true},
		{"plain Diffie-Hellman only", func(a string) probe.Endpoint {
			return picky(t, a, func(h []byte) bool { return bytes.Contains(suites(h), []byte{0, 0x9f}) }, good)
		}, detect.Vulnerable, true},
		{"a brainpool curve only", func(a string) probe.Endpoint { return picky(t, a, offers(26), good) }, detect.Vulnerable, true},
		{"an alert and no more", func(a string) probe.Endpoint {
			return picky(t, a, func([]byte) bool { return false }, nil)
		}, detect.Inconclusive, true},
		{"a refusal of the name", func(a string) probe.Endpoint { return tlsServer(t, a, refuse) }, detect.Inconclusive, true},
		{"a handshake that is completed", func(a string) probe.Endpoint {
			return tlsServer(t, a, server(good, goodKey, 0))
		}, detect.Vulnerable, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := c.serve("127.0.28." + string(rune('1'+i)) + ":0")
			got, cov := scanned(t, quick(), detect.Scripts(checks), e)
			f := got[e].Facts
			if f.Service.TLS == nil || slices.Contains(f.Service.Flags, probe.FlagTLSFailed) != c.failed {
				t.Fatalf("%+v", f.Service)
			}
			if c.failed && (f.Service.Name != probe.Unknown || len(f.Exchanges) != 0) {
				t.Errorf("what a plain question was answered counts: %+v", f)
			}
			shown := f.Service.TLS
			read := shown.NotBefore == firstDay.UnixMicro() && shown.Subject.Raw() == "CN=old.example.net" && shown.KeyHash != ""
			if c.answer == detect.Vulnerable && !read {
				t.Errorf("%+v", shown)
			}
			if (cov.Note != "") != c.failed {
				t.Errorf("the coverage says %q", cov.Note)
			}
			for _, v := range detect.Judge(f, checks, lastDay.Add(time.Hour).UnixMicro()) {
				if v.Check == "tls-expired" && v.Answer != c.answer || c.failed && v.Check != "tls-expired" && v.Answer != detect.Inconclusive {
					t.Errorf("%s: %s, %s", v.Check, v.Answer, v.Because)
				}
			}
		})
	}
}

// PostgreSQL is asked through TLS on the port that speaks plain first, and exactly one byte is read before the handshake.
func TestPostgreSQLThroughTLS(t *testing.T) {
	t.Parallel()
	checks, err := detect.Load()
	if err != nil {
		t.Fatal(err)
	}
	der, key := expired(t, 0)
	conf := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	refusal := []byte("E\x00\x00\x00\x39SFATAL\x00C28000\x00Mnein\x00Fauth.c\x00L1\x00RClientAuthentication\x00\x00")
	refusal[4] = byte(len(refusal) - 1)
	ok := []byte("R\x00\x00\x00\x08\x00\x00\x00\x00")
	for i, c := range []struct {
		name   string
		tls    []byte // what is said through TLS; nil: there is none
		answer detect.Answer
	}{
		{"no TLS", nil, detect.NotVulnerable}, {"an error instead", refusal, detect.NotVulnerable},
		{"refused there too", refusal, detect.NotVulnerable}, {"admitted there", ok, detect.Vulnerable}, {"nothing there", []byte{}, detect.Inconclusive},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := serve(t, "127.0.29."+string(rune('1'+i))+":0", func(conn net.Conn) {
				head := make([]byte, 8)
				if _, err := io.ReadFull(conn, head); err != nil || head[0] != 0 {
					return
				}
				if !bytes.Equal(head[4:], []byte{4, 0xd2, 0x16, 0x2f}) {
					_, _ = conn.Write(refusal)
					return
				}
				switch {
				case c.tls == nil:
					_, _ = conn.Write([]byte("N"))
					return
				case c.name == "an error instead":
					_, _ = conn.Write(c.tls)
					return
				}
				_, _ = conn.Write([]byte("S"))
				s := tls.Server(conn, conf)
				if s.Handshake() != nil {
					return
				}
				request(s)
				_, _ = s.Write(c.tls)
			})
			got, _ := scanned(t, quick(), detect.Scripts(checks), e)
			for _, v := range detect.Judge(got[e].Facts, checks, 0) {
				if v.Check == "postgres-trust" && v.Answer != c.answer {
					t.Errorf("%s, %s: %+v", v.Answer, v.Because, got[e].Facts)
				}
			}
		})
	}
}

// Servers that are strict about Host get the port in it, and interim answers are skipped.
func TestTheHostHasItsPort(t *testing.T) {
	t.Parallel()
	checks, err := detect.Load()
	if err != nil {
		t.Fatal(err)
	}
	e := serve(t, "127.0.30.1:0", func(c net.Conn) {
		host := []byte("\r\nHost: " + c.LocalAddr().String() + "\r\n")
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			answer := "404 Not Found\r\nContent-Length: 3\r\n\r\nno\n"
			switch {
			case !bytes.Contains(buf[:n], host):
				answer = "400 Bad Request\r\nContent-Length: 0\r\n\r\n"
			case bytes.HasPrefix(buf, []byte("GET /.git/HEAD ")):
				answer = "200 OK\r\nContent-Length: 21\r\n\r\nref: refs/heads/main\n"
			}
			const hints = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
			for _, piece := range []string{"HTTP/1.1 100 Continue\r\n\r\n", hints, hints + "HTTP/1.1 " + answer} {
				if _, err := c.Write([]byte(piece)); err != nil {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		}
	})
	got, _ := scanned(t, quick(), detect.Scripts(checks), e)
	answers := map[string]detect.Answer{}
	for _, v := range detect.Judge(got[e].Facts, checks, 0) {
		answers[v.Check] = v.Answer
	}
	if answers["git-exposed"] != detect.Vulnerable || answers["directory-listing"] != detect.NotVulnerable ||
		answers["jupyter-unauth"] != detect.NotVulnerable {
		t.Errorf("%v %+v", answers, got[e].Facts)
	}
}

// Nothing is asked twice in a conversation: what the checks have in common is asked once.
func TestTheSamePageIsAskedOnce(t *testing.T) {
	t.Parallel()
	checks, err := detect.Load()
	if err != nil {
		t.Fatal(err)
	}
	e := serve(t, "127.0.30.2:0", func(c net.Conn) {
		for {
			if n, err := c.Read(make([]byte, 4096)); n == 0 || err != nil {
				return
			}
			_, _ = c.Write([]byte("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
		}
	})
	asked := map[string]int{}
	c := quick()
	c.Tap = func(_ probe.Endpoint, a service.Ask, _ service.Reply) { asked[detect.Question(a)]++ }
	_, cov := scanned(t, c, detect.Scripts(checks), e)
	for q, n := range asked {
		if n != 1 {
			t.Errorf("%s is asked %d times", q, n)
		}
	}
	if len(asked) != 5 || cov.Sent != 2 { // the greeting, /, the path that can not exist, .git, the API; discovery and one connection
		t.Errorf("%v in %d connections", asked, cov.Sent)
	}
}

// The lines before an SSH identification may come slowly, within the time that a greeting has.
func TestAnSSHNoticeThatComesSlowly(t *testing.T) {
	t.Parallel()
	e := serve(t, "127.0.30.3:0", func(c net.Conn) {
		for range 30 {
			if _, err := c.Write([]byte("authorised use only\r\n")); err != nil {
				return
			}
			time.Sleep(2 * time.Millisecond)
		}
		_, _ = c.Write([]byte("SSH-2.0-OpenSSH_7.9p1 Debian-10+deb10u2\r\n"))
		drain(c)
	})
	c := quick()
	c.QuietTime, c.BannerTime = time.Millisecond, 2*time.Second
	got, _ := scanned(t, c, nil, e)
	if s := got[e].Facts.Service; s.Name != service.SSH || s.Facts["release"].Raw() != "debian 10" {
		t.Errorf("%+v", s)
	}
}
