package scan

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"demarc/internal/fault"
	"demarc/internal/probe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quick is a configuration for loopback: the same machine, smaller times.
func quick() Config {
	return Config{
		Loopback: true, ConnectTimeout: 400 * time.Millisecond, Rate: 20_000, HostRate: 10_000, TalkRate: 1000, TalkAtOnce: 2,
		TalkTime: 1200 * time.Millisecond, StepTime: 250 * time.Millisecond, BannerTime: 120 * time.Millisecond, TalkBytes: 256 << 10,
	}
}

// serve listens on an address of the loopback network and handles each connection.
func serve(t *testing.T, addr string, handle func(net.Conn)) probe.Endpoint {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			wg.Go(func() {
				defer c.Close() //nolint:errcheck // a test's end
				handle(c)
				mu.Lock()
				delete(open, c)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	ap := l.Addr().(*net.TCPAddr).AddrPort()
	return probe.Endpoint{Addr: ap.Addr().Unmap(), Proto: probe.TCP, Port: ap.Port()}
}

func scanned(t *testing.T, c Config, scripts []probe.Script, targets ...probe.Endpoint) (map[probe.Endpoint]probe.Observation, probe.Coverage) {
	t.Helper()
	out := map[probe.Endpoint]probe.Observation{}
	cov, err := New(c).Probe(t.Context(), probe.Shard{ID: "s", Purpose: probe.Manual, Targets: targets}, scripts, func(o probe.Observation) {
		if _, twice := out[o.Endpoint]; twice {
			t.Errorf("%s was emitted twice", o.Endpoint)
		}
		out[o.Endpoint] = o
	})
	if err != nil {
		t.Fatal(err)
	}
	return out, cov
}

func at(addr string, port int) probe.Endpoint {
	return probe.Endpoint{Addr: netip.MustParseAddr(addr), Proto: probe.TCP, Port: uint16(port)}
}

func TestOpenAndClosed(t *testing.T) {
	t.Parallel()
	ssh := serve(t, "127.0.10.1:0", func(c net.Conn) {
		_, _ = c.Write([]byte("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10\r\n"))
		_, _ = c.Read(make([]byte, 256))
	})
	closed := at("127.0.10.1", 1)
	got, cov := scanned(t, quick(), nil, ssh, closed)
	o := got[ssh]
	if o.Facts.Outcome != probe.Open || o.Facts.Service == nil || o.Facts.Service.Name != "ssh" || o.Facts.Service.Version.Raw() != "9.2p1" {
		t.Errorf("ssh: %+v", o.Facts)
	}
	if o.SentAt == 0 || o.ReceivedAt < o.SentAt || o.RealAt == 0 {
		t.Errorf("times: sent %d, received %d, real %d", o.SentAt, o.ReceivedAt, o.RealAt)
	}
	if got[closed].Facts.Outcome != probe.Closed {
		t.Errorf("closed port: %+v", got[closed])
	}
	if !cov.Complete || cov.Answered != 2 || cov.Open != 1 || cov.Sent < 3 {
		t.Errorf("coverage: %+v", cov)
	}
}

// A service that accepts and resets at once is open: 256 of 256 are found.
func TestAServiceThatResetsAtOnceIsFound(t *testing.T) {
	t.Parallel()
	const n = 256
	var targets []probe.Endpoint
	for range n {
		targets = append(targets, serve(t, "127.0.11.1:0", func(c net.Conn) {
			_ = c.(*net.TCPConn).SetLinger(0)
		}))
	}
	c := quick()
	c.CanaryAfter = n + 1 // this host is as it is
	c.TalkAtOnce, c.Talks, c.TalkRate = 64, 64, 20_000
	got, _ := scanned(t, c, nil, targets...)
	open := 0
	for _, o := range got {
		if o.Facts.Outcome == probe.Open {
			open++
		}
	}
	if open != n {
		t.Errorf("%d of %d found", open, n)
	}
}

// A full backlog drops SYNs as a packet filter does. No other port of the host is asked, so it is silent; with
// one that answers, the silent port is filtered.
func TestSilenceOfAPortAndOfAHost(t *testing.T) {
	t.Parallel()
	mute := deaf(t)
	c := quick()
	got, cov := scanned(t, c, nil, mute)
	if got[mute].Facts.Outcome != probe.Silent {
		t.Errorf("alone: %s, want silent", got[mute].Facts.Outcome)
	}
	if cov.Sent != 2 || cov.Answered != 0 || !cov.Complete {
		t.Errorf("a silent port is asked twice, and that is complete: %+v", cov)
	}
	got, _ = scanned(t, c, nil, mute, probe.Endpoint{Addr: mute.Addr, Proto: probe.TCP, Port: 1})
	if got[mute].Facts.Outcome != probe.Filtered {
		t.Errorf("beside a closed port: %s, want filtered", got[mute].Facts.Outcome)
	}
}

func TestOutsideIsRefusedBeforeAnyPacket(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	e := serve(t, "127.0.13.1:0", func(net.Conn) { calls.Add(1) })
	for _, c := range []Config{{}, {Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}} {
		_, err := New(c).Probe(t.Context(), probe.Shard{Targets: []probe.Endpoint{e}}, nil, func(probe.Observation) { t.Error("something was emitted") })
		if !fault.Is(err, fault.Refused) {
			t.Errorf("got %v, want a refusal", err)
		}
	}
	// One target outside refuses all of them.
	_, err := New(quick()).Probe(t.Context(), probe.Shard{Targets: []probe.Endpoint{e, at("198.51.100.1", 80)}}, nil, func(probe.Observation) { t.Error("something was emitted") })
	if !fault.Is(err, fault.Refused) || calls.Load() != 0 {
		t.Errorf("got %v after %d connections, want a refusal before any", err, calls.Load())
	}
}

// The dial function refuses too, whatever its caller checked.
func TestTheDialFunctionRefuses(t *testing.T) {
	t.Parallel()
	d, err := newDialer(New(Config{}))
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if _, err := d.open(netip.MustParseAddrPort("127.0.0.1:80")); !fault.Is(err, fault.Refused) {
		t.Errorf("open: %v", err)
	}
	if _, err := d.connect(t.Context(), netip.MustParseAddrPort("[::ffff:127.0.0.1]:80"), time.Second); !fault.Is(err, fault.Refused) {
		t.Errorf("connect: %v", err)
	}
}

// A host that accepts on every port gives no findings of its own: three conversations, a flag on all.
func TestATarpitIsHeardThreeTimes(t *testing.T) {
	t.Parallel()
	everyPort(t, "127.0.14.1")
	var targets []probe.Endpoint
	for port := 21_000; port < 21_040; port++ {
		targets = append(targets, at("127.0.14.1", port))
	}
	var talks sync.Map
	c := quick()
	c.Tap = func(e probe.Endpoint, _ ask, _ reply) { talks.Store(e, true) }
	got, _ := scanned(t, c, nil, targets...)
	for _, e := range targets {
		o := got[e]
		if o.Facts.Outcome != probe.Open || o.Facts.Service == nil || !slices.Contains(o.Facts.Service.Flags, probe.FlagTarpit) {
			t.Fatalf("%s: %+v", e, o.Facts)
		}
	}
	n := 0
	talks.Range(func(any, any) bool { n++; return true })
	if n > tarpitTalks {
		t.Errorf("%d endpoints of a tarpit were talked to", n)
	}
}

// The budgets of a host hold as the host sees them.
func TestAHostIsNotCrowded(t *testing.T) {
	t.Parallel()
	var now, most, calls atomic.Int32
	var targets []probe.Endpoint
	for range 6 {
		targets = append(targets, serve(t, "127.0.15.1:0", func(c net.Conn) {
			_, err := c.Read(make([]byte, 1024))
			if err != nil {
				return // discovery hangs up without a word
			}
			n := now.Add(1)
			defer now.Add(-1)
			calls.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			time.Sleep(30 * time.Millisecond)
			_, _ = fmt.Fprint(c, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
		}))
	}
	c := quick()
	c.TalkRate = 20
	began := time.Now()
	got, _ := scanned(t, c, nil, targets...)
	took := time.Since(began)
	if m := most.Load(); m > 2 {
		t.Errorf("%d connections at once", m)
	}
	if least := time.Duration(calls.Load()-1) * time.Second / 20; took < least {
		t.Errorf("%d connections in %v, at 20/s it takes %v", calls.Load(), took, least)
	}
	for e, o := range got {
		if o.Facts.Service.Name != "http" {
			t.Errorf("%s: %+v", e, o.Facts.Service)
		}
	}
}

func TestDiscoveryKeepsTheHostRate(t *testing.T) {
	t.Parallel()
	var targets []probe.Endpoint
	for port := 1; port <= 21; port++ {
		targets = append(targets, at("127.0.16.1", port))
	}
	c := quick()
	c.HostRate = 40
	began := time.Now()
	_, _ = scanned(t, c, nil, targets...)
	if took := time.Since(began); took < 480*time.Millisecond {
		t.Errorf("21 ports of one host at 40/s took %v", took)
	}
}

func TestTheSourceIsTheOneAskedFor(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	from := map[string]int{}
	e := serve(t, "127.0.19.1:0", func(c net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		from[c.RemoteAddr().(*net.TCPAddr).IP.String()]++
	})
	c := quick()
	c.Sources = []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.19.9"), netip.MustParseAddr("127.0.19.10")}
	_, cov := scanned(t, c, nil, e)
	mu.Lock()
	defer mu.Unlock()
	if len(from) != 1 || from["127.0.19.9"] != cov.Sent {
		t.Errorf("%v, want %d from 127.0.19.9", from, cov.Sent)
	}
}

func TestIPv6(t *testing.T) {
	t.Parallel()
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skipf("no IPv6 here: %v", err)
	} else {
		_ = l.Close()
	}
	e := serve(t, "[::1]:0", func(c net.Conn) { _, _ = c.Write([]byte("+PONG\r\n")); drain(c) })
	got, _ := scanned(t, quick(), nil, e, at("::1", 1))
	if got[e].Facts.Service == nil || got[e].Facts.Service.Name != "redis" || got[at("::1", 1)].Facts.Outcome != probe.Closed {
		t.Errorf("%+v", got)
	}
}

// Targets named twice are asked once.
func TestRepeatedTargets(t *testing.T) {
	t.Parallel()
	e := at("127.0.19.2", 1)
	got, cov := scanned(t, quick(), nil, e, e, e)
	if len(got) != 1 || cov.Sent != 1 {
		t.Errorf("%d observations, %d connections", len(got), cov.Sent)
	}
}

func BenchmarkDiscovery(b *testing.B) {
	var targets []probe.Endpoint
	for port := 20_000; port < 25_000; port++ {
		targets = append(targets, at("127.0.26.1", port))
	}
	c := quick()
	c.Rate, c.HostRate = 1_000_000, 1_000_000
	for b.Loop() {
		if _, err := New(c).Probe(b.Context(), probe.Shard{Targets: targets}, nil, func(probe.Observation) {}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(targets)*b.N)/b.Elapsed().Seconds(), "endpoints/s")
}

func TestAnInterruptedShardIsNotComplete(t *testing.T) {
	t.Parallel()
	var targets []probe.Endpoint
	for port := 1; port <= 200; port++ {
		targets = append(targets, at("127.0.17.1", port))
	}
	c := quick()
	c.HostRate = 20
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	n := 0
	cov, err := New(c).Probe(ctx, probe.Shard{Targets: targets}, nil, func(probe.Observation) { n++ })
	if err == nil || cov.Complete || n == 0 || n >= 200 {
		t.Errorf("coverage %+v, %d emitted, error %v", cov, n, err)
	}
}

func TestAnAddressThatIsNotOursCanNotBeTheSource(t *testing.T) {
	t.Parallel()
	c := quick()
	c.Sources = []netip.Addr{netip.MustParseAddr("192.0.2.77")}
	got, cov := scanned(t, c, nil, at("127.0.18.1", 1))
	o := got[at("127.0.18.1", 1)]
	if o.Facts.Outcome != probe.Failed || o.Trouble == "" || cov.Complete {
		t.Errorf("%+v, coverage %+v", o, cov)
	}
}

// Each address family is probed from its own source. A family without one is not probed, and the coverage says so.
func TestEachFamilyHasItsOwnSource(t *testing.T) {
	t.Parallel()
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skipf("no IPv6 here: %v", err)
	} else {
		_ = l.Close()
	}
	six := serve(t, "[::1]:0", func(c net.Conn) { drain(c) })
	four := serve(t, "127.0.20.1:0", func(c net.Conn) { drain(c) })
	for name, sources := range map[string][]string{"both": {"127.0.20.9", "::1"}, "IPv4 alone": {"127.0.20.9"}} {
		c := quick()
		for _, s := range sources {
			c.Sources = append(c.Sources, netip.MustParseAddr(s))
		}
		got, cov := scanned(t, c, nil, six, four)
		want, note := probe.Open, ""
		if len(sources) == 1 {
			want, note = probe.Failed, "1 IPv6 endpoints could not be probed: "+ErrNoFamily.Error()
		}
		if got[four].Facts.Outcome != probe.Open || got[six].Facts.Outcome != want || cov.Complete != (note == "") || cov.Note != note {
			t.Errorf("%s: IPv4 %s, IPv6 %s, coverage %+v", name, got[four].Facts.Outcome, got[six].Facts.Outcome, cov)
		}
	}
}

func TestANamespaceThatDoesNotExist(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]fault.Code{"demarc-none": fault.CannotLook, "../etc": fault.Config} {
		c := quick()
		c.Namespace = name
		_, err := New(c).Probe(t.Context(), probe.Shard{Targets: []probe.Endpoint{at("127.0.0.1", 1)}}, nil, func(probe.Observation) {})
		if !fault.Is(err, code) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
