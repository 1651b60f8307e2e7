package openstack_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"demarc/internal/asset"
	"demarc/internal/cloud"
	"demarc/internal/cloud/openstack"
	"demarc/internal/fault"
	"demarc/internal/lab"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func now() int64 { return time.Now().UnixMicro() }

// bundle is a lab world and a driver that speaks to it, with small pages so that listings have many.
type bundle struct {
	*lab.World
	*openstack.Cloud
}

func setup(t *testing.T, change ...func(*openstack.Config)) bundle {
	t.Helper()
	return setupIn(t, lab.DemoScenario(), change...)
}

func setupIn(t *testing.T, scenario lab.Scenario, change ...func(*openstack.Config)) bundle {
	t.Helper()
	scenario.Anywhere = true
	w, err := lab.New(scenario)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	conf := openstack.Config{Cloud: "lab", AuthURL: w.AuthURL(), Username: lab.DemoUser, Password: lab.DemoPassword, Project: lab.DemoProject, Region: w.Region(), PageSize: 4, Retries: 2, MaxWait: 10 * time.Millisecond}
	for _, f := range change {
		f(&conf)
	}
	c, err := openstack.Connect(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return bundle{w, c}
}

func (b bundle) snap(t *testing.T) *asset.Snapshot {
	t.Helper()
	s, err := b.Snapshot(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func counts(s *asset.Snapshot) string {
	return fmt.Sprintf("projects %d users %d grants %d images %d servers %d networks %d subnets %d routers %d ports %d fips %d groups %d sets %d",
		len(s.Projects), len(s.Users), len(s.Grants), len(s.Images), len(s.Servers), len(s.Networks), len(s.Subnets), len(s.Routers), len(s.Ports), len(s.FloatingIPs), len(s.Groups), len(s.AddressSets))
}

const whole = "projects 6 users 9 grants 9 images 2 servers 13 networks 6 subnets 6 routers 5 ports 23 fips 12 groups 14 sets 0"

func TestSnapshotIsWhole(t *testing.T) {
	for _, size := range []int{1, 4, 23, 500} {
		b := setup(t, func(c *openstack.Config) { c.PageSize = size })
		s := b.snap(t)
		if got := counts(s); got != whole || !s.Complete() {
			t.Errorf("pages of %d: %s, gaps %v", size, got, s.Gaps)
		}
	}
	b := setup(t)
	s := b.snap(t)
	x := asset.NewIndex(s)
	srv := x.Servers[asset.ServerID(b.ServerID("legacy-db"))]
	if srv == nil || srv.Name.Raw() != "legacy-db" || x.Images[srv.Image].OSVersion != "10" || srv.Created == 0 {
		t.Fatalf("legacy-db: %+v", srv)
	}
	p := x.PortsOf[srv.ID][0]
	if f := x.FloatingOf[p.ID]; len(f) != 1 || f[0].Addr != b.At(netip.MustParseAddr("127.77.1.30")) || !p.PortSecurity || p.Revision != 1 {
		t.Errorf("port %+v, floating %+v", p, f)
	}
	g := x.Groups[p.Groups[0]]
	i := slices.IndexFunc(g.Rules, func(r asset.Rule) bool { return r.Direction == asset.Ingress })
	if r := g.Rules[i]; r.Protocol != "tcp" || r.PortMin != 22022 || r.RemotePrefix.String() != "0.0.0.0/0" {
		t.Errorf("rule %+v", r)
	}
	if r := g.Rules[0]; r.Direction != asset.Egress || r.Protocol != "" || r.PortMin != asset.AnyPort {
		t.Errorf("a rule with nulls: %+v", r)
	}
	for _, p := range s.Ports {
		if strings.HasPrefix(p.DeviceOwner, "network:") && p.Server != "" {
			t.Errorf("a router's port has a server: %+v", p)
		}
	}
}

func TestForwardingsAddressSetsAndPortDetails(t *testing.T) {
	sc := lab.DemoScenario()
	at := netip.MustParseAddr("127.77.3.9")
	sc.AddressGroups = []lab.AddressGroup{{Name: "scanners", Project: "astro", Prefixes: []netip.Prefix{netip.PrefixFrom(lab.DemoScanner, 32)}}}
	sc.Groups = append(sc.Groups, lab.Group{Name: "scanned", Project: "astro", Rules: []lab.Rule{{AddressGroup: "scanners"}, {RemoteGroup: "cache", Proto: "tcp", Min: 1, Max: 99}}})
	sc.Servers = append(sc.Servers, lab.Server{Name: "odd", Project: "astro", NICs: []lab.NIC{
		{Network: "astro-net", Addr: netip.MustParseAddr("10.0.0.200"), Groups: []string{"scanned"}, Pairs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}, VNICType: "direct"},
		{Network: "public", Addr: netip.MustParseAddr("127.77.3.1"), NoSecurity: true}}})
	sc.FloatingIPs = []lab.FloatingIP{{Addr: at, Project: "astro", Forwards: []lab.Forward{{External: 9090, Internal: 80, Server: "odd"}}}}
	b := setupIn(t, sc)
	s := b.snap(t)
	x := asset.NewIndex(s)
	server := asset.ServerID(b.ServerID("odd"))
	if len(s.Gaps) > 0 || len(s.AddressSets) != 1 || len(x.PortsOf[server]) != 2 || x.Servers[server].Image != "" {
		t.Fatalf("gaps %v, sets %v, ports %v", s.Gaps, s.AddressSets, x.PortsOf[server])
	}
	for _, p := range x.PortsOf[server] {
		if p.VNICType == "direct" {
			g := x.Groups[p.Groups[0]]
			if len(p.Pairs) != 1 || p.Pairs[0].Prefix.Bits() != 24 || g.Rules[2].RemoteAddress != s.AddressSets[0].ID || g.Rules[3].RemoteGroup == "" {
				t.Errorf("%+v, rules %+v", p, g.Rules)
			}
		} else if p.PortSecurity || len(p.Groups) > 0 {
			t.Errorf("port security is off: %+v", p)
		}
	}
	i := slices.IndexFunc(s.FloatingIPs, func(f asset.FloatingIP) bool { return f.Addr == b.At(at) })
	if f := s.FloatingIPs[i]; f.Port != "" || len(f.Forwardings) != 1 || f.Forwardings[0].External != 9090 || f.Forwardings[0].Port == "" {
		t.Errorf("forwarding: %+v", f)
	}
	if h, err := b.Cloud.Holder(t.Context(), b.At(at), asset.ExternalScope); err != nil || h.Server != server || !h.Shared {
		t.Errorf("holder behind a forwarding: %+v %v", h, err)
	}
}

func TestApplicationCredentialAndTokenRenewal(t *testing.T) {
	b := setup(t, func(c *openstack.Config) {
		c.Username, c.Password, c.Project = "", "", ""
		c.AppCredID, c.AppCredSecret = "1ab0000000000000000000000000000a", "lab-only-secret"
	})
	b.ExpireTokens()
	if got := counts(b.snap(t)); got != whole {
		t.Error(got)
	}
}

func TestRefusedCredentialTellsWhatToDoAndNoSecret(t *testing.T) {
	b := setup(t)
	_, err := openstack.Connect(t.Context(), openstack.Config{AuthURL: b.AuthURL(), Username: lab.DemoUser, Password: "hunter2-hunter2", Project: lab.DemoProject})
	f, ok := fault.Of(err)
	if !ok || f.Code != fault.Unavailable || f.Hint == "" || strings.Contains(fmt.Sprintf("%v %+v", err, err), "hunter2") {
		t.Errorf("%v", err)
	}
}

// With each fault a snapshot is either whole or says where it has a gap, and holds nothing that is not in the cloud.
func TestFaultsMakeGapsAndInventNothing(t *testing.T) {
	const ports = "/networking/v2.0/ports"
	cases := []struct {
		name  string
		fault lab.Fault
		gap   string // kind, "" where it should be recovered
	}{
		{"lost next link", lab.Fault{Kind: lab.LostNext, Path: ports, Skip: 1}, ""},
		{"lost next link of servers", lab.Fault{Kind: lab.LostNext, Path: "/compute/v2.1/servers/detail"}, ""},
		{"repeated marker", lab.Fault{Kind: lab.RepeatNext, Path: ports, Skip: 1}, "ports"},
		{"one 503", lab.Fault{Kind: lab.Answer, Status: 503, Path: ports, Skip: 2}, ""},
		{"503 for ever", lab.Fault{Kind: lab.Answer, Status: 503, Path: ports, Skip: 2, Times: -1}, "ports"},
		{"429 with Retry-After", lab.Fault{Kind: lab.Answer, Status: 429, RetryAfter: "1", Path: ports}, ""},
		{"cut", lab.Fault{Kind: lab.CutBefore, Path: ports}, ""},
		{"rows left out", lab.Fault{Kind: lab.LostRows, Path: ports + "", Query: "limit=4", Skip: 1}, ""},
		{"no ports at all", lab.Fault{Kind: lab.Empty, Path: ports, Times: -1}, "ports"},
		{"no servers at all", lab.Fault{Kind: lab.Empty, Path: "/compute/v2.1/servers/detail", Times: -1}, "servers"},
		{"no floating IPs", lab.Fault{Kind: lab.Empty, Path: "/networking/v2.0/floatingips"}, "floating_ips"},
		{"no groups", lab.Fault{Kind: lab.Empty, Path: "/networking/v2.0/security-groups"}, "groups"},
		{"no networks", lab.Fault{Kind: lab.Empty, Path: "/networking/v2.0/networks"}, "networks"},
		{"truncated users", lab.Fault{Kind: lab.LostRows, Path: "/identity/v3/users"}, "users"},
		{"projects refused", lab.Fault{Kind: lab.Answer, Status: 403, Path: "/identity/v3/projects", Times: -1}, "projects"},
		{"ports cut short", lab.Fault{Kind: lab.Empty, Path: ports, Skip: 2}, "ports"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			b := setup(t)
			truth := b.snap(t)
			b.Plan(tc.fault)
			s := b.snap(t)
			found := slices.ContainsFunc(s.Gaps, func(g asset.Gap) bool { return g.Kind == tc.gap })
			switch {
			case tc.gap != "" && !found:
				t.Errorf("no gap: %s, gaps %v", counts(s), s.Gaps)
			case tc.gap == "" && (counts(s) != whole || !s.Complete()):
				t.Errorf("not recovered: %s, gaps %v", counts(s), s.Gaps)
			}
			x := asset.NewIndex(truth)
			for _, p := range s.Ports {
				if x.Ports[p.ID] == nil {
					t.Errorf("invented %+v", p)
				}
			}
		})
	}
}

func TestTenantAccountIsNotTakenForTheWholeCloud(t *testing.T) {
	b := setup(t, func(c *openstack.Config) { c.Username, c.Project = "alice", "astro" })
	if s := b.snap(t); s.Complete() {
		t.Errorf("complete: %s", counts(s))
	}
	b = setup(t, func(c *openstack.Config) { c.Username = "auditor" })
	s := b.snap(t)
	if !slices.ContainsFunc(s.Gaps, func(g asset.Gap) bool { return g.Kind == "ports" }) {
		t.Errorf("Neutron showed nothing, and that is no gap: %s, gaps %v", counts(s), s.Gaps)
	}
}

func TestSetGroupsComparesAndSwaps(t *testing.T) {
	b := setup(t)
	ctx := t.Context()
	ports, err := b.ServerPorts(ctx, asset.ServerID(b.ServerID("cache-1")))
	if err != nil || len(ports) != 1 {
		t.Fatal(ports, err)
	}
	p, quarantine := ports[0], []asset.GroupID{asset.GroupID(b.GroupID("astro", "default"))}
	after, err := b.SetGroups(ctx, p.ID, quarantine, p.Revision)
	if err != nil || after.Revision != p.Revision+1 || !slices.Equal(after.Groups, quarantine) {
		t.Fatal(after, err)
	}
	if _, err := b.SetGroups(ctx, p.ID, p.Groups, p.Revision); !errors.Is(err, cloud.ErrStale) {
		t.Errorf("stale: %v", err)
	}
	for i, kind := range []lab.FaultKind{lab.CutAfter, lab.AnswerAfter} {
		want := [][]asset.GroupID{nil, quarantine}[i] // what a port carries already is no change
		before := len(b.Actions())
		cur, _ := b.Port(ctx, p.ID)
		b.Plan(lab.Fault{Kind: kind, Method: "PUT", Path: "/networking/v2.0/ports"})
		if _, err := b.SetGroups(ctx, p.ID, want, cur.Revision); !errors.Is(err, cloud.ErrUnknownOutcome) {
			t.Errorf("%s: %v", kind, err)
		}
		acts := b.Actions()[before:]
		if len(acts) != 1 || !acts[0].Done || len(b.PortGroups(string(p.ID))) != len(want) {
			t.Errorf("%s: %+v", kind, acts)
		}
	}
	b.Plan(lab.Fault{Kind: lab.CutBefore, Method: "PUT", Path: "/networking/v2.0/ports"})
	if _, err := b.SetGroups(ctx, p.ID, p.Groups, 99); !errors.Is(err, cloud.ErrUnknownOutcome) {
		t.Errorf("cut before: %v", err)
	}
	if _, err := b.SetGroups(ctx, "00000000-0000-0000-0000-000000000000", nil, 1); !errors.Is(err, cloud.ErrNotFound) {
		t.Errorf("unknown port: %v", err)
	}
	slow, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	b.Plan(lab.Fault{Kind: lab.Slow, Delay: time.Minute, Method: "PUT", Path: "/networking/v2.0/ports"})
	if _, err := b.SetGroups(slow, p.ID, nil, 99); !errors.Is(err, cloud.ErrUnknownOutcome) {
		t.Errorf("timeout: %v", err)
	}
}

func TestQuarantineHasExactlyTheWantedRules(t *testing.T) {
	b := setup(t)
	spec := cloud.QuarantineSpec{Name: "demarc-quarantine",
		Admit: []cloud.Opening{{Prefix: netip.PrefixFrom(lab.DemoScanner, 32), Purpose: "scanner"},
			{Prefix: netip.MustParsePrefix("127.77.200.0/24"), Proto: "tcp", PortMin: 22, PortMax: 22, Purpose: "repair"}},
		Egress: []cloud.Opening{{Prefix: netip.MustParsePrefix("127.77.201.0/24"), Proto: "tcp", PortMin: 443, PortMax: 443, Purpose: "mirrors"}}}
	want := []string{"egress IPv4 tcp 443-443 from 127.77.201.0/24", "ingress IPv4 any any from 127.77.255.10/32", "ingress IPv4 tcp 22-22 from 127.77.200.0/24"}
	ensure := func() asset.GroupID {
		id, err := b.EnsureQuarantine(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Sorted(slices.Values(b.GroupRules(string(id)))); !slices.Equal(got, want) {
			t.Errorf("rules %q", got)
		}
		return id
	}
	id := ensure()
	acts := len(b.Actions())
	if again := ensure(); again != id || len(b.Actions()) != acts {
		t.Errorf("a second time: %s then %s, %+v", id, again, b.Actions()[acts:])
	}
	if _, err := b.TenantAddRule(lab.DemoProject, spec.Name, lab.Rule{}); err != nil {
		t.Fatal(err)
	}
	ensure()

	other := cloud.QuarantineSpec{Name: "second"}
	b.Plan(lab.Fault{Kind: lab.CutAfter, Method: "POST", Path: "/networking/v2.0/security-groups"})
	if _, err := b.EnsureQuarantine(t.Context(), other); !errors.Is(err, cloud.ErrUnknownOutcome) {
		t.Errorf("lost answer: %v", err)
	}
	gid, err := b.EnsureQuarantine(t.Context(), other)
	if err != nil || len(b.GroupRules(string(gid))) != 0 || b.GroupID(lab.DemoProject, "second") != string(gid) {
		t.Errorf("after the lost answer: %v %v", gid, err)
	}
}

func TestHolderFollowsTheFloatingIP(t *testing.T) {
	b := setup(t)
	at := b.At(netip.MustParseAddr("127.77.1.60"))
	h, err := b.Cloud.Holder(t.Context(), at, asset.ExternalScope)
	if err != nil || string(h.Server) != b.ServerID("mover-1") || h.ServerStatus != "ACTIVE" || h.FloatingRevision == 0 {
		t.Fatalf("%+v %v", h, err)
	}
	if err := b.MoveFloatingIP(at, "mover-2"); err != nil {
		t.Fatal(err)
	}
	if h2, err := b.Cloud.Holder(t.Context(), at, asset.ExternalScope); err != nil || string(h2.Server) != b.ServerID("mover-2") || h2.FloatingRevision <= h.FloatingRevision {
		t.Errorf("after the move: %+v %v", h2, err)
	}
	if err := b.MoveFloatingIP(at, ""); err != nil {
		t.Fatal(err)
	}
	for _, a := range []netip.Addr{at, netip.MustParseAddr("127.77.9.9")} {
		if _, err := b.Cloud.Holder(t.Context(), a, asset.ExternalScope); !errors.Is(err, cloud.ErrNobody) {
			t.Errorf("%s: %v", a, err)
		}
	}
	s := b.snap(t)
	x := asset.NewIndex(s)
	p := x.PortsOf[asset.ServerID(b.ServerID("cache-1"))][0]
	if h, err := b.Cloud.Holder(t.Context(), p.FixedIPs[0].Addr, string(p.Network)); err != nil || h.Port != p.ID {
		t.Errorf("by its own address: %+v %v", h, err)
	}
	if h, err := b.Cloud.Holder(t.Context(), b.At(netip.MustParseAddr("127.77.0.10")), asset.ExternalScope); err != nil || !h.Shared {
		t.Errorf("a router's address: %+v %v", h, err)
	}
}
