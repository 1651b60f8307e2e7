package lab_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"net/smtp"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"demarc/internal/lab"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func world(t *testing.T, change ...func(*lab.Scenario)) *lab.World {
	t.Helper()
	s := lab.DemoScenario()
	s.Anywhere = true
	for _, f := range change {
		f(&s)
	}
	w, err := lab.New(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// ask connects from a source, sends a line and gives the first line of the answer; "silence" when the connection or the
// answer does not come in time, "closed" on a reset.
func ask(t *testing.T, w *lab.World, from netip.Addr, to, send string) string {
	t.Helper()
	from = w.At(from)
	at := netip.MustParseAddrPort(to)
	to = netip.AddrPortFrom(w.At(at.Addr()), at.Port()).String()
	d := net.Dialer{Timeout: 300 * time.Millisecond, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	c, err := d.Dial("tcp", to)
	if err != nil {
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			return "silence"
		}
		return "closed"
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(300 * time.Millisecond))
	_, _ = io.WriteString(c, send)
	line, err := bufio.NewReader(c).ReadString('\n')
	if errors.Is(err, os.ErrDeadlineExceeded) && line == "" {
		return "held"
	}
	return strings.TrimSpace(line)
}

// bothWays runs a test as the kernel allows it, and in a world that has to do without filters.
func bothWays(t *testing.T, test func(*testing.T)) {
	t.Run("as the kernel allows", test)
	t.Run("without filters", func(t *testing.T) {
		t.Setenv("DEMARC_LAB_FILTER", "off")
		if world(t).PerSource() {
			t.Fatal("the world filters source by source although it was told not to")
		}
		test(t)
	})
}

// unadmitted is what a source sees that an endpoint is not open to although it is to the scanner.
func unadmitted(w *lab.World) string {
	if w.PerSource() {
		return "silence"
	}
	return "held"
}

const ping = "PING\r\n"

func expect(t *testing.T, w *lab.World, from netip.Addr, to, send, want string) {
	t.Helper()
	if got := ask(t, w, from, to, send); got != want {
		t.Errorf("%s from %s: %q, want %q", to, from, got, want)
	}
}

func TestGroupsDecideWhoGetsAnAnswer(t *testing.T) { bothWays(t, groupsDecideWhoGetsAnAnswer) }

func groupsDecideWhoGetsAnAnswer(t *testing.T) {
	w := world(t)
	expect(t, w, lab.DemoScanner, "127.77.1.10:6379", ping, "+PONG")
	expect(t, w, lab.DemoOther, "127.77.1.10:6379", ping, "+PONG")
	expect(t, w, lab.DemoScanner, "127.77.1.55:6379", ping, "+PONG")
	expect(t, w, lab.DemoOther, "127.77.1.55:6379", ping, unadmitted(w))
	expect(t, w, lab.DemoScanner, "127.77.1.30:22022", "", "SSH-2.0-OpenSSH_7.9p1 Debian-10+deb10u2")
	expect(t, w, lab.DemoScanner, "127.77.1.10:9999", "", "closed")

	any6379 := lab.Rule{Proto: "tcp", Min: 6379, Max: 6379, Remote: netip.MustParsePrefix("0.0.0.0/0")}
	if err := w.TenantRemoveRule("astro", "cache", any6379); err != nil {
		t.Fatal(err)
	}
	expect(t, w, lab.DemoScanner, "127.77.1.10:6379", ping, "silence")
	if _, err := w.TenantAddRule("astro", "cache", any6379); err != nil {
		t.Fatal(err)
	}
	expect(t, w, lab.DemoScanner, "127.77.1.10:6379", ping, "+PONG")
	if err := w.TenantSetGroups("cache-1", "default"); err != nil {
		t.Fatal(err)
	}
	expect(t, w, lab.DemoScanner, "127.77.1.10:6379", ping, "silence")
}

func TestOpenSessionFallsSilentWhenTheGroupCloses(t *testing.T) {
	bothWays(t, openSessionFallsSilentWhenTheGroupCloses)
}

func openSessionFallsSilentWhenTheGroupCloses(t *testing.T) {
	w := world(t)
	c, err := net.Dial("tcp", w.At(netip.MustParseAddr("127.77.1.10")).String()+":6379")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	in := bufio.NewReader(c)
	_, _ = io.WriteString(c, ping)
	if line, _ := in.ReadString('\n'); line != "+PONG\r\n" {
		t.Fatalf("before: %q", line)
	}
	if err := w.TenantSetGroups("cache-1", "default"); err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(200 * time.Millisecond))
	_, _ = io.WriteString(c, ping)
	if line, err := in.ReadString('\n'); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("after the swap: %q, %v, want silence", line, err)
	}
}

func TestLeakGuestFirewallAndPower(t *testing.T) { bothWays(t, leakGuestFirewallAndPower) }

func leakGuestFirewallAndPower(t *testing.T) {
	w := world(t)
	other := "silence" // where the world goes by the scanner alone
	if w.PerSource() {
		other = "+PONG"
	}
	startup := "\x00\x00\x00\x08\x00\x03\x00\x00"
	if got := ask(t, w, lab.DemoOther, "127.77.1.50:5432", startup); !strings.HasPrefix(got, "R\x00\x00\x00\x08") {
		t.Errorf("leaky: %q", got)
	}
	steps := []struct {
		name string
		do   func() error
		want [2]string
	}{
		{"drop scanner", func() error { return w.BlockSource("notebook", true, netip.PrefixFrom(lab.DemoScanner, 32)) }, [2]string{"silence", other}},
		{"drop all", func() error { return w.BlockSource("notebook", true) }, [2]string{"silence", "silence"}},
		{"drop none", func() error { return w.BlockSource("notebook", false) }, [2]string{"+PONG", "+PONG"}},
		{"stop service", func() error { return w.StopService("notebook", "redis") }, [2]string{"closed", "closed"}},
		{"start service", func() error { return w.StartService("notebook", "redis") }, [2]string{"+PONG", "+PONG"}},
		{"password", func() error {
			return w.SetService("notebook", "redis", func(s *lab.Service) { s.Mode = "requirepass" })
		},
			[2]string{"-NOAUTH Authentication required.", "-NOAUTH Authentication required."}},
		{"stop server", func() error { return w.StopServer("notebook") }, [2]string{"closed", "closed"}},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			t.Fatal(s.name, err)
		}
		for i, from := range []netip.Addr{lab.DemoScanner, lab.DemoOther} {
			if got := ask(t, w, from, "127.77.1.40:6379", ping); got != s.want[i] {
				t.Errorf("%s, from %s: %q, want %q", s.name, from, got, s.want[i])
			}
		}
	}
}

func TestFloatingIPMoves(t *testing.T) { bothWays(t, floatingIPMoves) }

func floatingIPMoves(t *testing.T) {
	w := world(t)
	addr := netip.MustParseAddr("127.77.1.60")
	events := make(chan lab.Event, 20)
	w.OnEvent(func(e lab.Event) { events <- e })
	if err := w.MoveFloatingIP(addr, "mover-2"); err != nil {
		t.Fatal(err)
	}
	if e := <-events; w.Holder(addr) != "mover-2" || e.Kind != "floating" || e.Server != "mover-2" {
		t.Errorf("holder %q, event %+v", w.Holder(addr), e)
	}
	expect(t, w, lab.DemoScanner, "127.77.1.60:6379", ping, "closed")
	expect(t, w, lab.DemoScanner, "127.77.1.60:22022", "", "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3")
	if e := <-events; e.Kind != "connect" || e.Source != w.At(lab.DemoScanner) {
		t.Errorf("first connection: %+v", e)
	}
}

func TestDaemonsForwardingAndAddressGroups(t *testing.T) {
	bothWays(t, daemonsForwardingAndAddressGroups)
}

func daemonsForwardingAndAddressGroups(t *testing.T) {
	w := world(t, func(s *lab.Scenario) {
		s.AddressGroups = []lab.AddressGroup{{Name: "scanners", Project: "astro", Prefixes: []netip.Prefix{netip.PrefixFrom(lab.DemoScanner, 32)}}}
		s.Groups = append(s.Groups, lab.Group{Name: "scanned", Project: "astro", Rules: []lab.Rule{{AddressGroup: "scanners"}}})
		s.Servers = append(s.Servers, lab.Server{Name: "many", Project: "astro", Creator: "amir", Image: "debian-12",
			NICs: []lab.NIC{{Network: "public", Addr: netip.MustParseAddr("127.77.3.1"), Groups: []string{"scanned"}}},
			Services: []lab.Service{{Kind: lab.HTTP, Port: 8080, Title: "Hi <you>", Paths: map[string]string{"/.git/HEAD": "ref: refs/heads/main\n"}},
				{Kind: lab.Telnet, Port: 2323}, {Kind: lab.Tarpit, Ports: []uint16{7001, 7002}}, {Kind: lab.Redis, Port: 6379, Mode: "protected"}, {Kind: lab.Postgres, Port: 5432, Mode: "reject"}}})
		s.FloatingIPs = []lab.FloatingIP{{Addr: netip.MustParseAddr("127.77.3.9"), Project: "astro", Forwards: []lab.Forward{{External: 9090, Internal: 8080, Server: "many"}}}}
	})
	for to, want := range map[string]string{"127.77.3.1:8080": "HTTP/1.1 200 OK", "127.77.3.9:9090": "HTTP/1.1 200 OK", "127.77.3.1:7002": "held"} {
		expect(t, w, lab.DemoScanner, to, "GET /.git/HEAD HTTP/1.1\r\nHost: x\r\n\r\n", want)
		expect(t, w, lab.DemoOther, to, "", unadmitted(w))
	}
	expect(t, w, lab.DemoScanner, "127.77.3.9:8080", "", "closed")
	if got := ask(t, w, lab.DemoScanner, "127.77.3.1:6379", ""); !strings.HasPrefix(got, "-DENIED") {
		t.Errorf("protected: %q", got)
	}
	if got := ask(t, w, lab.DemoScanner, "127.77.3.1:2323", ""); !strings.HasPrefix(got, "\xff\xfb\x01\xff\xfb\x03\xff\xfd\x18") {
		t.Errorf("telnet: %q", got)
	}
	if got := ask(t, w, lab.DemoScanner, "127.77.3.1:5432", "\x00\x00\x00\x08\x00\x03\x00\x00"); !strings.Contains(got, "C28000") {
		t.Errorf("postgres: %q", got)
	}
}

func TestUUIDsRepeat(t *testing.T) {
	a := world(t)
	id := a.ServerID("cache-1")
	a.Close()
	if b := world(t); b.ServerID("cache-1") != id || id == "" {
		t.Errorf("%q then %q", id, b.ServerID("cache-1"))
	}
}

func TestMailFaults(t *testing.T) {
	m, err := lab.NewMailbox("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	send := func() error {
		return smtp.SendMail(m.Addr(), nil, "demarc@security.example", []string{"alice@astro.example"}, []byte("Message-Id: <1@x.example>\r\nSubject: hello\r\n\r\nbody\r\n"))
	}
	m.Fault(lab.MailFaults{RcptTemporary: 1, CutAfterData: 1})
	if err := send(); err == nil || !strings.HasPrefix(err.Error(), "451") {
		t.Errorf("RCPT: %v", err)
	}
	if err := send(); err == nil {
		t.Error("the answer to DATA should have been lost")
	}
	if err := send(); err != nil {
		t.Error(err)
	}
	got := m.For("Alice@astro.example")
	if len(got) != 2 || got[0].MessageID != "<1@x.example>" || got[1].MessageID != got[0].MessageID {
		t.Errorf("messages: %+v", got)
	}
	m.Fault(lab.MailFaults{DataTemporary: 1})
	if err := send(); err == nil || !strings.HasPrefix(err.Error(), "451") {
		t.Errorf("DATA: %v", err)
	}
	m.Down()
	if err := send(); err == nil {
		t.Error("down, and yet it answers")
	}
	if err := m.Up(); err != nil {
		t.Fatal(err)
	}
	if err := send(); err != nil || len(m.Messages()) != 3 {
		t.Errorf("up again: %v, %d messages", err, len(m.Messages()))
	}
}
