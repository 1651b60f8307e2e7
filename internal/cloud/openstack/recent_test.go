package openstack_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"demarc/internal/asset"
	"demarc/internal/fault"
	"demarc/internal/lab"
)

// clocks are by how much each clock is off: ours, that of Nova's API, that of what writes Nova's rows, and Neutron's.
type clocks struct{ ours, api, rows, neutron time.Duration }

// pass lets time pass for all services at once, and gives our clock as it is then.
func (k clocks) pass(b bundle, elapsed time.Duration) func() int64 {
	b.SetServiceClock("compute", k.api+elapsed)
	b.SetServiceClock("conductor", k.rows+elapsed)
	b.SetServiceClock("networking", k.neutron+elapsed)
	return func() int64 { return time.Now().Add(k.ours + elapsed).UnixMicro() }
}

// Whatever the clocks say, no change of a server is missed, and a reading is not all servers once more.
func TestNoChangeIsMissedWhateverTheClocksSay(t *testing.T) {
	off := []time.Duration{-10 * time.Minute, 0, 10 * time.Minute}
	for _, ours := range off {
		for _, api := range off {
			for _, within := range []time.Duration{-4 * time.Minute, 0, 4 * time.Minute} { // Nova's own hosts
				follow(t, clocks{ours, api, api + within, -ours})
			}
		}
	}
}

func follow(t *testing.T, k clocks) {
	t.Helper()
	sc := lab.DemoScenario()
	sc.Clocks = map[string]time.Duration{"compute": k.api, "conductor": k.rows, "networking": k.neutron}
	b := setupIn(t, sc)
	defer b.World.Close()
	defer b.Cloud.Close()
	s, err := b.Snapshot(t.Context(), k.pass(b, 0))
	if err != nil || !s.Complete() || s.NovaClock == 0 {
		t.Fatal(s.Gaps, err)
	}
	since, elapsed := s.NovaClock, time.Duration(0)
	read := func(what string, wait time.Duration, want map[string]string) {
		t.Helper()
		elapsed += wait
		now := k.pass(b, elapsed)
		s, err := b.Recent(t.Context(), since, now)
		if err != nil || len(s.Gaps) > 0 || s.Began < now()-time.Minute.Microseconds() {
			t.Fatalf("%v, %s: %v, gaps %v", k, what, err, s.Gaps)
		}
		since = s.NovaClock
		got := map[string]string{}
		for _, v := range s.Servers {
			got[v.Name.Raw()] = v.Status
		}
		for name, status := range want {
			if got[name] != status {
				t.Errorf("%+v, %s: %s is %q, want %q; seen %v", k, what, name, got[name], status, got)
			}
		}
		if want == nil && len(got) > 1 {
			t.Errorf("%+v, %s: %d servers come once more", k, what, len(got))
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(b.StopServer("cache-1"))
	read("stopped at once", 0, map[string]string{"cache-1": "SHUTOFF"})
	read("since everything was born at once, an hour later", time.Hour, map[string]string{})
	read("nothing", time.Minute, nil)
	k.pass(b, elapsed+7*time.Minute)
	do(b.StartServer("cache-1"))
	read("started", 7*time.Minute, map[string]string{"cache-1": "ACTIVE"})
	do(b.DeleteServer("cache-2"))
	read("deleted", time.Minute, map[string]string{"cache-2": "DELETED"})
	read("what was deleted, hours later", 3*time.Hour, map[string]string{})
	read("nothing once more", time.Minute, nil)
	k.pass(b, elapsed+20*time.Minute)
	do(b.BootServer(lab.Server{Name: "late", Project: "astro", NICs: []lab.NIC{{Network: "astro-net", Addr: netip.MustParseAddr("10.0.0.222")}}}))
	do(b.StopServer("legacy-db"))
	read("born, and another stopped", 20*time.Minute, map[string]string{"late": "ACTIVE", "legacy-db": "SHUTOFF"})
}

// What changes often is read, and nothing else; what it lacks is told.
func TestRecentReadsWhatChangesOften(t *testing.T) {
	b := setup(t)
	whole := b.snap(t)
	if _, err := b.TenantAddRule("astro", "default", lab.Rule{Proto: "tcp", Min: 9, Max: 9}); err != nil {
		t.Fatal(err)
	}
	if err := b.MoveFloatingIP(b.At(netip.MustParseAddr("127.77.1.60")), "mover-2"); err != nil {
		t.Fatal(err)
	}
	s, err := b.Recent(t.Context(), whole.NovaClock, now)
	if err != nil || len(s.Gaps) > 0 || s.Complete() || !slices.Equal(s.Only, []string{"servers", "groups", "address_sets", "floating_ips"}) {
		t.Fatal(s, err)
	}
	if len(s.Groups) != len(whole.Groups) || len(s.FloatingIPs) != len(whole.FloatingIPs) || len(s.Ports)+len(s.Networks)+len(s.Projects)+len(s.Users)+len(s.Images) > 0 {
		t.Errorf("%s", counts(s))
	}
	group := asset.NewIndex(s).Groups[asset.GroupID(b.GroupID("astro", "default"))]
	if !slices.ContainsFunc(group.Rules, func(r asset.Rule) bool { return r.PortMin == 9 }) {
		t.Errorf("%+v", group)
	}
	b.Plan(lab.Fault{Kind: lab.Answer, Status: 503, Path: "/compute/v2.1/servers/detail", Times: -1})
	since := whole.NovaClock - 5_000_000
	if s, err = b.Recent(t.Context(), since, now); err != nil || len(s.Gaps) != 1 || s.Gaps[0].Kind != "servers" || s.NovaClock != since || len(s.Groups) == 0 {
		t.Errorf("without servers: since %d becomes %d, %v, %v", since, s.NovaClock, s.Gaps, err)
	}
	b.Plan(lab.Fault{Kind: lab.Answer, Status: 503, Path: "/networking", Times: -1})
	if _, err = b.Recent(t.Context(), since, now); err == nil {
		t.Error("nothing at all was read, and it is a reading")
	}
	if _, err = b.Recent(t.Context(), 0, now); !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), "since") {
		t.Errorf("since the beginning of time: %v", err)
	}
}
