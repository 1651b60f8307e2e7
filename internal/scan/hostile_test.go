package scan

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"demarc/internal/detect/service"
	"demarc/internal/probe"
)

type (
	ask   = service.Ask
	reply = service.Reply
)

// deaf is a port whose backlog is full, so that the kernel drops our SYN.
func deaf(t *testing.T) probe.Endpoint {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 12, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := name.(*unix.SockaddrInet4).Port
	for range 4 {
		if c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.12.1:%d", port), 50*time.Millisecond); err == nil {
			t.Cleanup(func() { _ = c.Close() })
		}
	}
	return at("127.0.12.1", port)
}

// everyPort listens on the ports that targets and canaries come from, at one address.
func everyPort(t *testing.T, addr string) {
	t.Helper()
	var fds []int
	a := netip.MustParseAddr(addr).As4()
	for port := 20_000; port < 32_000; port++ {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, fd)
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: a, Port: port}); err != nil {
			t.Fatal(err)
		}
		if err := unix.Listen(fd, 8); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	})
}

func drain(c net.Conn) {
	buf := make([]byte, 4096)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}

func forever(c net.Conn, piece []byte) {
	for {
		if _, err := c.Write(piece); err != nil {
			return
		}
	}
}

func request(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) }

// A gzip bomb by its header alone: whoever inflates would find an error, whoever does not records the bytes.
var gzipBomb = append([]byte("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 99999999\r\n\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"), bytes.Repeat([]byte{0xed, 0xc1}, 4096)...)

// hostiles are peers that try to hold, fill or fool whoever asks.
var hostiles = []struct {
	name    string
	handle  func(net.Conn)
	service string
	flag    string
}{
	{"tarpit", func(c net.Conn) {
		for range 100 {
			if _, err := c.Write([]byte("x")); err != nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}, probe.Unknown, ""},
	{"endless banner", func(c net.Conn) { forever(c, bytes.Repeat([]byte("welcome "), 512)) }, probe.Unknown, probe.FlagFlood},
	{"mute", drain, probe.Unknown, ""},
	{"endless headers", func(c net.Conn) {
		request(c)
		_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\n"))
		forever(c, []byte("X-More: and more\r\n"))
	}, service.HTTP, ""},
	{"gzip bomb", func(c net.Conn) { request(c); _, _ = c.Write(gzipBomb); forever(c, gzipBomb) }, service.HTTP, ""},
	{"endless body", func(c net.Conn) {
		request(c)
		_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
		forever(c, bytes.Repeat([]byte("y"), 4096))
	}, service.HTTP, ""},
	{"redirect loop", func(c net.Conn) {
		request(c)
		_, _ = c.Write([]byte("HTTP/1.1 302 Found\r\nLocation: http://192.0.2.99/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
	}, service.HTTP, ""},
	{"echo", func(c net.Conn) {
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			_, _ = c.Write(buf[:n])
		}
	}, probe.Unknown, probe.FlagEcho},
	{"contradiction", func(c net.Conn) {
		_, _ = c.Write([]byte("SSH-2.0-x\r\nHTTP/1.1 200 OK\r\n\r\n+PONG\r\n"))
		drain(c)
	}, service.SSH, probe.FlagContradiction},
	{"resets at once", func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }, probe.Unknown, ""},
	{"answers a word at a time", func(c net.Conn) {
		for _, b := range []byte("SSH-2.0-slow\r\n") {
			time.Sleep(5 * time.Millisecond)
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
		}
		drain(c)
	}, service.SSH, ""},
}

func TestHostilePeersAreOutlived(t *testing.T) {
	t.Parallel()
	scripts := []probe.Script{
		{Check: "a", Revision: 1, Services: probe.Strings{service.HTTP, service.SSH, service.Redis}, Steps: []probe.Step{{HTTPGet: "/a"}, {HTTPGet: "/b"}, {HTTPGet: "/c"}}},
		{Check: "b", Revision: 1, Services: probe.Strings{service.HTTP, service.SSH}, Steps: []probe.Step{{Send: "hello\r\n"}}},
	}
	for i, h := range hostiles {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int64
			e := serve(t, fmt.Sprintf("127.0.20.%d:0", i+1), func(c net.Conn) {
				calls.Add(1)
				h.handle(c)
			})
			c := quick()
			began := time.Now()
			got, cov := scanned(t, c, scripts, e)
			took := time.Since(began)
			o := got[e]
			if o.Facts.Outcome != probe.Open || !cov.Complete {
				t.Fatalf("%+v, coverage %+v", o, cov)
			}
			if limit := c.ConnectTimeout + c.TalkTime + 10*time.Second; took > limit {
				t.Errorf("took %v, at most %v", took, limit)
			}
			if calls.Load() > 9 { // discovery's and eight for the conversation
				t.Errorf("%d connections", calls.Load())
			}
			s := o.Facts.Service
			if s.Name != h.service || h.flag != "" && !slices.Contains(s.Flags, h.flag) {
				t.Errorf("recognised as %s %v, want %s %s", s.Name, s.Flags, h.service, h.flag)
			}
			for name, v := range s.Facts {
				if v.Len() > 200 {
					t.Errorf("the fact %s has %d bytes", name, v.Len())
				}
			}
			for _, x := range o.Facts.Exchanges {
				for _, turn := range x.Turns {
					if turn.Received.Len() > 4<<10 {
						t.Errorf("a turn of %d bytes", turn.Received.Len())
					}
				}
			}
		})
	}
}

// All at once, a few times over, in bounded memory.
func TestHostilePeersDoNotFillMemory(t *testing.T) {
	var targets []probe.Endpoint
	for i := range 40 {
		targets = append(targets, serve(t, fmt.Sprintf("127.0.21.%d:0", i+1), func(c net.Conn) {
			request(c)
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
			forever(c, bytes.Repeat([]byte("y"), 4096))
		}))
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	got, _ := scanned(t, quick(), nil, targets...)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if len(got) != len(targets) {
		t.Errorf("%d of %d", len(got), len(targets))
	}
	if grown := int64(after.Sys) - int64(before.Sys); grown > 64<<20 {
		t.Errorf("the process grew by %d MiB", grown>>20)
	}
}

// A certificate is counted like any other byte: one of 400 kB does not get through, and only that TLS speaks is known.
func TestAHugeCertificate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		filler int
		seen   bool
	}{{"small", 100, true}, {"huge", 400_000, false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conf := &tls.Config{Certificates: []tls.Certificate{certificateOf(t, c.filler)}}
			e := serve(t, "127.0.22.1:0", func(conn net.Conn) {
				s := tls.Server(conn, conf)
				if s.Handshake() != nil {
					return
				}
				request(s)
				_, _ = s.Write([]byte("HTTP/1.1 200 OK\r\nServer: inside/1.0\r\nContent-Length: 0\r\n\r\n"))
			})
			got, _ := scanned(t, quick(), nil, e)
			s := got[e].Facts.Service
			if s.TLS == nil || (s.TLS.NotAfter != 0) != c.seen || slices.Contains(s.Flags, probe.FlagTLSFailed) == c.seen {
				t.Fatalf("%+v", s)
			}
			if c.seen && (s.Name != service.HTTP || s.Product.Raw() != "inside" || s.TLS.Subject.Raw() != "CN=test" || s.TLS.KeyHash == "" || s.TLS.NotAfter == 0) {
				t.Errorf("%+v %+v", s, s.TLS)
			}
		})
	}
}

func certificateOf(t *testing.T, filler int) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{strings.Repeat("a", 60) + ".example"}, ExtraExtensions: []pkix.Extension{{Id: []int{1, 3, 6, 1, 4, 1, 99999, 1}, Value: make([]byte, filler)}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Nobody but the target hears from us: a redirect names an address, and nothing is sent there.
func TestARedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	var visited atomic.Int32
	trap := serve(t, "127.0.23.2:0", func(net.Conn) { visited.Add(1) })
	e := serve(t, "127.0.23.1:0", func(c net.Conn) {
		request(c)
		_, _ = fmt.Fprintf(c, "HTTP/1.1 301 Moved\r\nLocation: http://%s:%d/\r\nContent-Length: 0\r\n\r\n", trap.Addr, trap.Port)
	})
	got, _ := scanned(t, quick(), nil, e)
	if got[e].Facts.Service.Facts["location"].Empty() || visited.Load() != 0 {
		t.Errorf("%+v, the other address was visited %d times", got[e].Facts.Service, visited.Load())
	}
}

// What is asked introduces us, and steps stop at the first answer that does not lead on.
func TestScriptsAreCarriedOut(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var heard []string
	e := serve(t, "127.0.24.1:0", func(c net.Conn) {
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			mu.Lock()
			heard = append(heard, string(buf[:n]))
			mu.Unlock()
			status := "404 Not Found"
			if bytes.HasPrefix(buf, []byte("GET /yes ")) {
				status = "200 OK"
			}
			_, _ = fmt.Fprintf(c, "HTTP/1.1 %s\r\nDate: %s\r\nContent-Length: 2\r\n\r\nok", status, time.Now().String())
		}
	})
	is200 := &probe.Match{Status: probe.Numbers{200}}
	scripts := []probe.Script{
		{Check: "x", Revision: 2, Services: probe.Strings{service.HTTP}, Steps: []probe.Step{{HTTPGet: "/yes", Expect: is200}, {HTTPGet: "/no", Expect: is200}, {HTTPGet: "/never"}}},
		{Check: "y", Revision: 1, Services: probe.Strings{service.Redis}, Steps: []probe.Step{{Send: "PING\r\n"}}},
	}
	c := quick()
	c.Self = service.Self{Version: "1.2", Policy: "https://probing.example/"}
	got, cov := scanned(t, c, scripts, e)
	x := got[e].Facts.Exchanges
	if len(x) != 1 || x[0].Check != "x" || x[0].Revision != 2 || len(x[0].Turns) != 2 || x[0].End != probe.EndDone {
		t.Fatalf("%+v", x)
	}
	if !strings.HasPrefix(x[0].Turns[0].Received.Raw(), "HTTP/1.1 200 OK\r\n") || strings.Contains(x[0].Turns[0].Received.Raw(), "Date:") || x[0].Turns[1].Sent != "GET /no" {
		t.Errorf("%+v", x[0].Turns)
	}
	if cov.Sent != 2 { // discovery, and one connection for everything
		t.Errorf("%d connections", cov.Sent)
	}
	mu.Lock()
	for _, h := range heard {
		if !strings.Contains(h, "User-Agent: demarc/1.2 (+https://probing.example/)\r\n") {
			t.Errorf("we did not introduce ourselves: %q", h)
		}
	}
	mu.Unlock()
	again, _ := scanned(t, c, scripts, e)
	if got[e].Facts.Hash() != again[e].Facts.Hash() {
		t.Errorf("an unchanged endpoint shows different facts:\n%+v\n%+v", got[e].Facts.Service, again[e].Facts.Service)
	}
}

// With root, sockets come from another namespace, where loopback is another one.
func TestANamespaceOfItsOwn(t *testing.T) {
	name := fmt.Sprintf("demarc-%d", time.Now().UnixNano()%1_000_000)
	if out, err := exec.CommandContext(t.Context(), "ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Skipf("no network namespace can be made here: %v %s", err, out)
	}
	t.Cleanup(func() {
		_ = exec.CommandContext(context.WithoutCancel(t.Context()), "ip", "netns", "del", name).Run()
	})
	here := serve(t, "127.0.25.1:0", drain)
	c := quick()
	c.Namespace = name
	got, _ := scanned(t, c, nil, here)
	if o := got[here]; o.Facts.Outcome == probe.Open {
		t.Errorf("a listener of this namespace was reached from the other: %+v", o)
	}
	if out, err := exec.CommandContext(t.Context(), "ip", "-n", name, "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	got, _ = scanned(t, c, nil, here)
	if o := got[here]; o.Facts.Outcome != probe.Closed {
		t.Errorf("on the other namespace's loopback nothing listens: %+v", o)
	}
}
