package openstack_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/cloud/openstack"
	"demarc/internal/lab"
	"demarc/internal/store"
)

// ledger is a store that readings are merged into as the line does it.
type ledger struct {
	t *testing.T
	*store.DB
	lacked asset.Losses
	at     int64
}

func newLedger(t *testing.T) *ledger {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return &ledger{t: t, DB: db}
}

// merge holds a reading against what is known, writes it, and gives what the operator is told.
func (l *ledger) merge(s *asset.Snapshot) (complete bool, note string) {
	l.t.Helper()
	if s.Complete() {
		s.Gaps = l.lacked.Hold(l.known(), s, l.at, 0)
	}
	l.at += 10
	if err := l.Commit(l.t.Context(), casework.Change{At: l.at, Inventory: &casework.Inventory{Snapshot: s, RealAt: l.at}}); err != nil {
		l.t.Fatal(err)
	}
	c, _, err := l.LastCoverage(l.t.Context(), store.KindInventory, "lab", "", "")
	if err != nil {
		l.t.Fatal(err)
	}
	return c.Complete, c.Note
}

func (l *ledger) known() *asset.Snapshot {
	l.t.Helper()
	s, err := l.Snapshot(l.t.Context(), "lab", 0)
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

// However a listing fails, and however often, nothing that is there is removed, and a reading that is not whole says why.
func TestNoFaultRemovesAnything(t *testing.T) {
	const nova, ports, groups, fips = "/compute/v2.1/servers/detail", "/networking/v2.0/ports", "/networking/v2.0/security-groups", "/networking/v2.0/floatingips"
	soon := time.Now().Add(time.Second).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")
	for name, faults := range map[string][]lab.Fault{
		"a lost page":                   {{Kind: lab.Empty, Path: ports, Skip: 1}},
		"a lost page of servers":        {{Kind: lab.Empty, Path: nova, Skip: 1}},
		"lost next links":               {{Kind: lab.LostNext, Path: "/", Times: -1}},
		"a repeated marker":             {{Kind: lab.RepeatNext, Path: groups, Skip: 1, Times: -1}},
		"429 with seconds":              {{Kind: lab.Answer, Status: 429, RetryAfter: "1", Path: ports, Times: 2}},
		"429 with a date":               {{Kind: lab.Answer, Status: 429, RetryAfter: soon, Path: fips, Times: 2}},
		"429 for ever":                  {{Kind: lab.Answer, Status: 429, RetryAfter: "0", Path: groups, Times: -1}},
		"503 once in each listing":      {{Kind: lab.Answer, Status: 503, Path: nova}, {Kind: lab.Answer, Status: 503, Path: ports}, {Kind: lab.Answer, Status: 503, Path: groups}},
		"500 for ever":                  {{Kind: lab.Answer, Status: 500, Path: "/networking", Times: -1}},
		"502 in the middle":             {{Kind: lab.Answer, Status: 502, Path: nova, Skip: 2, Times: -1}},
		"cut":                           {{Kind: lab.CutBefore, Path: fips, Times: -1}},
		"a token that is known no more": {{Kind: lab.Outdate, Path: ports, Skip: 1}, {Kind: lab.Outdate, Path: nova, Skip: 2}, {Kind: lab.Outdate, Path: groups}},
		"nothing but servers":           {{Kind: lab.Empty, Path: "/networking", Times: -1}},
		"no servers":                    {{Kind: lab.Empty, Path: "/compute", Times: -1}},
		"rows left out":                 {{Kind: lab.LostRows, Path: fips, Rows: 3, Times: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, l := setup(t), newLedger(t)
			if complete, note := l.merge(b.snap(t)); !complete {
				t.Fatal(note)
			}
			truth := counts(l.known())
			for range 4 {
				b.Plan(faults...)
				s, err := b.Snapshot(t.Context(), now)
				b.ClearFaults()
				if err != nil {
					continue // nothing was read, so nothing is merged
				}
				whole := counts(s) == truth
				if complete, note := l.merge(s); complete != whole || complete == (note != "") {
					t.Errorf("%s: complete %v: %q", counts(s), complete, note)
				}
				if known := counts(l.known()); known != truth {
					t.Errorf("%s is known, %s is there", known, truth)
				}
			}
			if complete, note := l.merge(b.snap(t)); !complete || counts(l.known()) != truth {
				t.Errorf("and when it is over: %v %q %s", complete, note, counts(l.known()))
			}
		})
	}
}

// A token that ends in the middle of a walk is renewed, and the walk goes on where it was.
func TestATokenThatEndsInTheMiddleIsRenewed(t *testing.T) {
	for page := range 5 {
		b := setup(t, func(c *openstack.Config) { c.Retries = -1 })
		b.Plan(lab.Fault{Kind: lab.Outdate, Path: "/compute/v2.1/servers/detail", Skip: page}, lab.Fault{Kind: lab.Outdate, Path: "/networking/v2.0/ports", Skip: page})
		if s := b.snap(t); counts(s) != whole || !s.Complete() {
			t.Errorf("page %d: %s, gaps %v", page, counts(s), s.Gaps)
		}
	}
}

// An old page from a cache is seen by its revisions: what is known stays, the operator is told, and what is new elsewhere is taken.
func TestAnOldPageOverwritesNothing(t *testing.T) {
	b, l := setup(t), newLedger(t)
	proxy, err := lab.NewProxy(b.AuthURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	c, err := openstack.Connect(t.Context(), openstack.Config{Cloud: "lab", AuthURL: proxy.AuthURL(), Username: lab.DemoUser, Password: lab.DemoPassword, Project: lab.DemoProject, Region: b.Region(), PageSize: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	through := bundle{b.World, c}
	port, server := b.PortIDs("cache-1")[0], b.ServerID("cache-2")
	carries := func() int {
		return len(asset.NewIndex(l.known()).Ports[asset.PortID(port)].Groups)
	}
	l.merge(through.snap(t))
	before := carries()
	b.TenantPortGroups(port, "default", "cache", "web")
	after := len(b.PortGroups(port))
	if after == before {
		t.Fatal("nothing changed")
	}
	if complete, note := l.merge(b.snap(t)); !complete || carries() != after {
		t.Fatal(note, carries())
	}
	if err := b.StopServer("cache-2"); err != nil {
		t.Fatal(err)
	}
	proxy.Plan(lab.Mishap{Kind: lab.Stale, Path: `/networking/v2.0/ports$`, Times: -1})
	complete, note := l.merge(through.snap(t))
	if complete || !strings.Contains(note, "ports") || !strings.Contains(note, port) || carries() != after {
		t.Errorf("complete %v, %q, the port carries %d groups and was known to carry %d", complete, note, carries(), after)
	}
	if s := asset.NewIndex(l.known()).Servers[asset.ServerID(server)]; s.Status != "SHUTOFF" {
		t.Errorf("what is new elsewhere is taken all the same: %+v", s)
	}
	proxy.Clear()
	if complete, note := l.merge(through.snap(t)); !complete || carries() != after {
		t.Errorf("when the cache is gone: %q, %d", note, carries())
	}
}

// Clocks that differ between services, and from ours, make no gap, and hide none.
func TestClocksThatDifferHideNothing(t *testing.T) {
	for _, off := range []time.Duration{-10 * time.Minute, 10 * time.Minute} {
		for _, skewed := range []string{"compute", "networking", "identity", "image"} {
			sc := lab.DemoScenario()
			sc.Clocks = map[string]time.Duration{skewed: off}
			if skewed == "compute" {
				sc.Clocks["conductor"] = off
			}
			b := setupIn(t, sc)
			if s := b.snap(t); counts(s) != whole || !s.Complete() {
				t.Errorf("%s %s: %s, gaps %v", skewed, off, counts(s), s.Gaps)
			}
			for path, kind := range map[string]string{"/compute/v2.1/servers/detail": "servers", "/networking/v2.0/ports": "ports", "/networking/v2.0/security-groups": "groups", "/networking/v2.0/floatingips": "floating_ips"} {
				b.Plan(lab.Fault{Kind: lab.Empty, Path: path, Skip: 1})
				s := b.snap(t)
				b.ClearFaults()
				if !slices.ContainsFunc(s.Gaps, func(g asset.Gap) bool { return g.Kind == kind }) {
					t.Errorf("%s %s: %s end early, and the gaps are %v", skewed, off, kind, s.Gaps)
				}
			}
		}
	}
}

// What comes to be while a long reading is under way is in the next, and is no gap of this one.
func TestWhatIsBornMeanwhileIsNoGap(t *testing.T) {
	b := setup(t)
	n := 0
	b.SetServiceClock("conductor", 5*time.Second) // a reading that began five seconds before
	b.SetServiceClock("networking", 0)
	c, err := openstack.Connect(t.Context(), openstack.Config{Cloud: "lab", AuthURL: b.AuthURL(), Username: lab.DemoUser, Password: lab.DemoPassword, Project: lab.DemoProject, Region: b.Region(), PageSize: 4,
		Around: between("/networking/v2.0/networks", func() {
			if n++; n == 1 {
				if err := b.BootServer(lab.Server{Name: "meanwhile", Project: "astro", NICs: []lab.NIC{{Network: "astro-net", Addr: addrOf("10.0.0.222")}}}); err != nil {
					t.Error(err)
				}
			}
		})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	s, err := c.Snapshot(t.Context(), now)
	if err != nil || n == 0 || len(s.Gaps) > 0 || slices.ContainsFunc(s.Servers, func(v asset.Server) bool { return v.Name.Raw() == "meanwhile" }) {
		t.Errorf("%v, gaps %v, %s", err, s.Gaps, counts(s))
	}
}

func addrOf(s string) netip.Addr { return netip.MustParseAddr(s) }

// between does something before each request of a path leaves.
func between(path string, do func()) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == path {
				do()
			}
			return next.RoundTrip(r)
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A tenth of a kind that is gone at once is not believed at once, nor is it silent; kinds that few clouds have are no exception.
func TestATenthThatIsGoneAtOnceIsHeld(t *testing.T) {
	b, l := setup(t), newLedger(t)
	trunk := func(n int) map[string]any {
		return map[string]any{"id": fmt.Sprintf("trunk-%02d", n), "project_id": b.ProjectID("astro"), "port_id": "p", "admin_state_up": true, "sub_ports": []any{}}
	}
	for n := range 20 {
		b.Extend("trunks", trunk(n))
	}
	if complete, note := l.merge(b.snap(t)); !complete {
		t.Fatal(note)
	}
	b.Retract("trunks", 3)
	for i, want := range []struct {
		complete bool
		trunks   int
	}{{false, 20}, {true, 20}, {true, 17}} {
		complete, note := l.merge(b.snap(t))
		if complete != want.complete || len(l.known().Trunks) != want.trunks || !complete && !strings.Contains(note, "trunks: shrank in one reading: 3 of 20") {
			t.Errorf("reading %d: complete %v, %q, %d known", i, complete, note, len(l.known().Trunks))
		}
	}
}
