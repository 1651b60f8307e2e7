package storetest

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

// world is a small cloud: two servers, a floating IP on the first.
func world(ended int64) *asset.Snapshot {
	port := func(n, project string) asset.Port {
		return asset.Port{ID: asset.PortID("port-" + n), Project: asset.ProjectID(project), Network: "net", Server: asset.ServerID("s" + n), DeviceOwner: "compute:nova", PortSecurity: true, AdminUp: true, Groups: []asset.GroupID{"g"},
			FixedIPs: []asset.FixedIP{{Subnet: "sub", Addr: netip.MustParseAddr("10.0.0." + n)}}, Revision: 1}
	}
	return &asset.Snapshot{
		Cloud: "cloud", Began: ended - 1, Ended: ended,
		Projects: []asset.Project{{ID: "p1", Name: untrusted.From("one\x1b[31m"), Enabled: true}, {ID: "p2", Enabled: true}},
		Users:    []asset.User{{ID: "u1", Mail: "o@example.org", Enabled: true}}, Grants: []asset.Grant{{User: "u1", Project: "p1", Role: "member"}},
		Images: []asset.Image{{ID: "i1"}}, Servers: []asset.Server{{ID: "s1", Project: "p1", Status: "ACTIVE", Name: untrusted.From("web\r\n\xff")}, {ID: "s2", Project: "p2", Status: "ACTIVE"}},
		Networks: []asset.Network{{ID: "net"}, {ID: "ext", External: true}}, Subnets: []asset.Subnet{{ID: "sub", Network: "net", CIDR: netip.MustParsePrefix("10.0.0.0/24")}},
		Routers: []asset.Router{{ID: "r1"}}, Ports: []asset.Port{port("1", "p1"), port("2", "p2")},
		FloatingIPs: []asset.FloatingIP{{ID: "fip", Project: "p1", Network: "ext", Addr: netip.MustParseAddr("203.0.113.9"), Port: "port-1"}},
		Groups:      []asset.Group{{ID: "g", Rules: []asset.Rule{{ID: "rule", PortMin: asset.AnyPort, PortMax: asset.AnyPort}}}}, AddressSets: []asset.AddressSet{{ID: "set"}},
	}
}

// shared is a cloud in which three projects use the same private address, each on a network of its own.
func shared(ended int64) *asset.Snapshot {
	s := &asset.Snapshot{Cloud: "cloud", Ended: ended}
	for i := range 3 {
		s.Networks = append(s.Networks, asset.Network{ID: asset.NetworkID(fmt.Sprint("n", i))})
		s.Projects = append(s.Projects, asset.Project{ID: asset.ProjectID(fmt.Sprint("p", i))})
		s.Servers = append(s.Servers, asset.Server{ID: asset.ServerID(fmt.Sprint("s", i)), Project: asset.ProjectID(fmt.Sprint("p", i))})
		s.Ports = append(s.Ports, asset.Port{ID: asset.PortID(fmt.Sprint("port-", i)), Project: asset.ProjectID(fmt.Sprint("p", i)), Network: asset.NetworkID(fmt.Sprint("n", i)), Server: asset.ServerID(fmt.Sprint("s", i)),
			FixedIPs: []asset.FixedIP{{Addr: netip.MustParseAddr("10.0.0.5")}}})
	}
	return s
}

func without(s *asset.Snapshot, id asset.ServerID) *asset.Snapshot {
	s.Servers = slices.DeleteFunc(s.Servers, func(v asset.Server) bool { return v.ID == id })
	s.Ports = slices.DeleteFunc(s.Ports, func(v asset.Port) bool { return v.Server == id })
	return s
}

func partial(s *asset.Snapshot) *asset.Snapshot {
	s.Gaps = []asset.Gap{{Kind: "servers", Reason: "the second page was lost"}}
	return s
}

func (x exam) walk(at int64, s *asset.Snapshot) {
	x.t.Helper()
	s.Ended = at
	x.commit(casework.Change{At: at, Inventory: &casework.Inventory{Snapshot: s, RealAt: at}})
}

func (x exam) servers(at int64) []string {
	x.t.Helper()
	var out []string
	for _, s := range got[*asset.Snapshot](x)(x.Snapshot(x.t.Context(), "cloud", at)).Servers {
		out = append(out, string(s.ID)+" "+s.Status)
	}
	return out
}

// A partial reading never removes, a complete one only at the second miss, and what it was before stays readable.
func merge(t *testing.T, e Engine) {
	x := begin(t, e)
	both, one := []string{"s1 ACTIVE", "s2 ACTIVE"}, []string{"s1 ACTIVE"}
	at := int64(0)
	step := func(what string, s *asset.Snapshot, want []string) {
		t.Helper()
		at += 10
		x.walk(at, s)
		if now := x.servers(0); !slices.Equal(now, want) {
			t.Errorf("at %d, %s: %v, want %v", at, what, now, want)
		}
		if then := x.servers(at); !slices.Equal(then, x.servers(0)) {
			t.Errorf("at %d, %s: then it was %v, now it is %v", at, what, then, x.servers(0))
		}
		c, ok, err := x.LastCoverage(t.Context(), "inventory", "cloud", "", "")
		if err != nil || !ok || c.Complete != s.Complete() || c.Ended != at {
			t.Errorf("at %d, %s: coverage %+v, %v, %v", at, what, c, ok, err)
		}
	}
	step("first", world(0), both)
	for range 5 {
		step("partial, missing", partial(without(world(0), "s2")), both)
	}
	step("partial, empty", partial(&asset.Snapshot{Cloud: "cloud"}), both)
	step("missing once", without(world(0), "s2"), both)
	step("there again", world(0), both)
	step("missing once more", without(world(0), "s2"), both)
	step("a partial one between does not count", partial(without(world(0), "s2")), both)
	step("missing twice", without(world(0), "s2"), one)
	gone := at
	step("back, as a new interval", world(0), both)
	altered := world(0)
	altered.Servers[0].Status = "SHUTOFF"
	step("altered", altered, []string{"s1 SHUTOFF", "s2 ACTIVE"})
	for when, want := range map[int64][]string{9: nil, 10: both, gone - 1: both, gone: one, gone + 9: one, gone + 10: both, at - 1: both, at: {"s1 SHUTOFF", "s2 ACTIVE"}} {
		if then := x.servers(when); !slices.Equal(then, want) {
			t.Errorf("at %d it was %v, want %v", when, then, want)
		}
	}
	kept := got[*asset.Snapshot](x)(x.Snapshot(t.Context(), "cloud", 0))
	if kept.Servers[0].Name != world(0).Servers[0].Name || len(kept.Groups[0].Rules) != 1 || len(kept.Images)+len(kept.Routers)+len(kept.AddressSets)+len(kept.Subnets)+len(kept.Users)+len(kept.Grants) != 6 {
		t.Errorf("%+v", kept)
	}
	if other := got[*asset.Snapshot](x)(x.Snapshot(t.Context(), "another", 0)); len(other.Servers) != 0 {
		t.Error("another cloud holds the same")
	}
}

// Nova's changes list a deleted server for minutes. That does not count as seeing it: the second whole reading in a row without it ends it,
// whatever is read between, and it does not come back.
func recentDeleted(t *testing.T, e Engine) {
	x := begin(t, e)
	x.walk(10, world(0))
	changes := func(at int64, status string) {
		x.walk(at, &asset.Snapshot{
			Cloud:   "cloud",
			Only:    []string{"servers"},
			Servers: []asset.Server{{ID: "s2", Project: "p2", Status: status}},
		})
	}
	wants := func(what string, want ...string) {
		t.Helper()
		if now := x.servers(0); !slices.Equal(now, want) {
			t.Errorf("%s: %v, want %v", what, now, want)
		}
	}
	x.walk(20, without(world(0), "s2"))
	changes(30, "DELETED")
	wants("lacked once, and said to be deleted", "s1 ACTIVE", "s2 DELETED")
	changes(40, "DELETED")
	x.walk(50, without(world(0), "s2"))
	wants("lacked twice", "s1 ACTIVE")
	changes(60, "DELETED")
	wants("said again", "s1 ACTIVE")
	changes(70, "ACTIVE")
	wants("there again", "s1 ACTIVE", "s2 ACTIVE")
	x.walk(80, without(world(0), "s2"))
	changes(90, "ACTIVE")
	x.walk(100, without(world(0), "s2"))
	wants("seen between two that lack it", "s1 ACTIVE", "s2 ACTIVE")
}

// A reading of some kinds adds and alters, removes nothing however often it lacks something, and never counts as a reading of the whole.
func recent(t *testing.T, e Engine) {
	x := begin(t, e)
	x.walk(10, world(0))
	part := func(at int64, clock int64, change func(*asset.Snapshot)) {
		s := &asset.Snapshot{Cloud: "cloud", Only: []string{"servers", "groups", "address_sets", "floating_ips"}, NovaClock: clock}
		change(s)
		x.walk(at, s)
	}
	group := asset.Group{ID: "g", Rules: []asset.Rule{{ID: "narrow", PortMin: 1, PortMax: 2}}}
	part(20, 1000, func(s *asset.Snapshot) {
		s.Servers = []asset.Server{{ID: "s2", Project: "p2", Status: "DELETED"}, {ID: "s3", Project: "p1", Status: "ACTIVE"}}
		s.Groups = []asset.Group{group}
	})
	for at := int64(30); at < 70; at += 10 {
		part(at, 0, func(*asset.Snapshot) {})
	}
	if now, want := x.servers(0), []string{"s1 ACTIVE", "s2 DELETED", "s3 ACTIVE"}; !slices.Equal(now, want) {
		t.Errorf("servers %v, want %v", now, want)
	}
	s := got[*asset.Snapshot](x)(x.Snapshot(t.Context(), "cloud", 0))
	if len(s.Groups) != 1 || len(s.Groups[0].Rules) != 1 || s.Groups[0].Rules[0].ID != "narrow" || len(s.Ports) != 2 || len(s.FloatingIPs) != 1 || len(s.AddressSets) != 1 || s.NovaClock != 0 {
		t.Errorf("a group that was read again has the rules it had then, and all else is as it was: %+v", s)
	}
	c, ok, err := x.LastCoverage(t.Context(), "inventory", "cloud", "", "")
	if err != nil || !ok || c.Ended != 10 || !c.Complete {
		t.Errorf("the last whole reading: %+v, %v, %v", c, ok, err)
	}
	c, ok, err = x.LastCoverage(t.Context(), "recent", "cloud", "", "")
	if err != nil || !ok || c.Ended != 60 || c.Complete {
		t.Errorf("the last reading of changes: %+v, %v, %v", c, ok, err)
	}
	if at, err := x.Since(t.Context(), "cloud"); at != 1000 || err != nil {
		t.Errorf("since %d, %v: a reading that does not know leaves it", at, err)
	}
	if at, err := x.Since(t.Context(), "another"); at != 0 || err != nil {
		t.Errorf("of another cloud: %d, %v", at, err)
	}
	moved := asset.FloatingIP{ID: "fip", Project: "p1", Network: "ext", Addr: netip.MustParseAddr("203.0.113.9"), Port: "port-2"}
	part(70, 2000, func(s *asset.Snapshot) { s.FloatingIPs = []asset.FloatingIP{moved} })
	if bs := got[[]asset.Binding](x)(x.BindingsAt(t.Context(), operator, moved.Addr, 0)); len(bs) != 1 || bs[0].Port != "port-2" || bs[0].ValidFrom != 70 {
		t.Errorf("bindings follow at once: %+v", bs)
	}
	part(72, 0, func(s *asset.Snapshot) {
		s.Servers = []asset.Server{{ID: "s1", Project: "p2", Status: "ACTIVE"}} // which its port does not share
	})
	at := netip.MustParseAddr("10.0.0.1")
	if bs := got[[]asset.Binding](x)(x.BindingsAt(t.Context(), operator, at, 0)); len(bs) != 1 || bs[0].Server != "" || bs[0].ValidFrom != 72 {
		t.Errorf("the port claims another project's machine: %+v", bs)
	}
	part(74, 0, func(s *asset.Snapshot) { s.Servers = []asset.Server{{ID: "s1", Project: "p1", Status: "ACTIVE"}} })
	if bs := got[[]asset.Binding](x)(x.BindingsAt(t.Context(), operator, at, 0)); len(bs) != 1 || bs[0].Server != "s1" || bs[0].ValidFrom != 74 {
		t.Errorf("and no longer: %+v", bs)
	}
	gone := without(world(0), "s2")
	x.walk(80, gone)
	x.walk(90, without(world(0), "s2"))
	if now, want := x.servers(0), []string{"s1 ACTIVE"}; !slices.Equal(now, want) {
		t.Errorf("after two whole readings: %v, want %v", now, want)
	}
}

// imported: what a file says is so at once. One commit ends what it lacks, and takes a row back to an earlier revision.
func imported(t *testing.T, e Engine) {
	x := begin(t, e)
	take := func(at int64, s *asset.Snapshot) probe.Coverage {
		s.Began, s.Ended = at, at
		x.commit(casework.Change{At: at, Inventory: &casework.Inventory{Snapshot: s, RealAt: 1000 + at, Imported: true}})
		c, ok, err := x.LastCoverage(t.Context(), "inventory", "cloud", "", "import")
		if err != nil || !ok || c.Ended != at {
			t.Errorf("at %d: coverage %+v, %v, %v", at, c, ok, err)
		}
		return c
	}
	first := world(0)
	first.Groups[0].Revision = 7
	take(10, first)
	take(20, partial(without(world(0), "s2")))
	if now := x.servers(0); !slices.Equal(now, []string{"s1 ACTIVE", "s2 ACTIVE"}) {
		t.Errorf("after a file of a partial reading: %v", now)
	}
	back := without(world(0), "s2")
	back.Groups[0].Revision = 6
	if c := take(30, back); !c.Complete {
		t.Errorf("the reading is not complete: %+v", c)
	}
	if now := x.servers(0); !slices.Equal(now, []string{"s1 ACTIVE"}) {
		t.Errorf("after one file that lacks s2: %v", now)
	}
	if g := got[*asset.Snapshot](x)(x.Snapshot(t.Context(), "cloud", 0)).Groups[0]; g.Revision != 6 {
		t.Errorf("the group is at revision %d", g.Revision)
	}
	for addr, held := range map[string]int{"10.0.0.1": 1, "10.0.0.2": 0} {
		if bs := got[[]asset.Binding](x)(x.BindingsAt(t.Context(), operator, netip.MustParseAddr(addr), 30)); len(bs) != held {
			t.Errorf("%s is held by %+v", addr, bs)
		}
	}
}

// An answer at an earlier revision does not overwrite a newer one, and makes a reading partial; the second whole reading in a row that
// says the same is believed, and readings of some kinds are not, however many.
func olderAnswers(t *testing.T, e Engine) {
	x := begin(t, e)
	at := int64(0)
	read := func(revision int, only ...string) (groups int, complete bool) {
		t.Helper()
		at += 10
		s := world(0)
		s.Ports[0].Revision, s.Ports[0].Groups = revision, make([]asset.GroupID, revision)
		kind := "inventory"
		if len(only) > 0 {
			s, kind = &asset.Snapshot{Cloud: "cloud", Only: only, Ports: s.Ports}, "recent"
		}
		x.walk(at, s)
		c, ok, err := x.LastCoverage(t.Context(), kind, "cloud", "", "")
		if err != nil || !ok || c.Ended != at || c.Complete == (c.Note != "") && kind == "inventory" {
			t.Errorf("at %d: %+v, %v", at, c, err)
		}
		return len(got[*asset.Snapshot](x)(x.Snapshot(t.Context(), "cloud", 0)).Ports[0].Groups), c.Complete
	}
	for _, step := range []struct {
		revision, groups int
		complete         bool
	}{{5, 5, true}, {3, 5, false}, {5, 5, true}, {3, 5, false}, {6, 6, true}, {5, 6, false}, {5, 5, false}, {5, 5, true}} {
		if groups, complete := read(step.revision); groups != step.groups || complete != step.complete {
			t.Errorf("at %d revision %d: %d is known, complete %v; want %+v", at, step.revision, groups, complete, step)
		}
	}
	for range 5 {
		if groups, _ := read(2, "ports"); groups != 5 {
			t.Errorf("at %d: a part of the cloud is believed that it went back: %d", at, groups)
		}
	}
	gone := world(0)
	gone.Ports = gone.Ports[1:]
	read(4)
	x.walk(at+10, gone)
	if n := len(got[*asset.Snapshot](x)(x.Snapshot(t.Context(), "cloud", 0)).Ports); n != 2 {
		t.Errorf("an old answer and one miss are not two misses: %d ports", n)
	}
}

// Who had an address when: an address that moves ends at one port at the instant it begins at the next.
func bindings(t *testing.T, e Engine) {
	x := begin(t, e)
	fip, fixed := netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("10.0.0.1")
	held := func(addr netip.Addr, at int64) string {
		t.Helper()
		var out string
		for _, b := range got[[]asset.Binding](x)(x.BindingsAt(t.Context(), operator, addr, at)) {
			out += fmt.Sprintf("%s %s %s %s [%d,%d) ", b.Scope, b.Port, b.Server, b.Project, b.ValidFrom, b.ValidTo)
		}
		return out
	}
	x.walk(10, world(0))
	moved := world(0)
	moved.FloatingIPs[0].Port = "port-2"
	x.walk(20, moved)
	free := world(0)
	free.FloatingIPs[0].Port = ""
	x.walk(30, free)
	x.walk(40, world(0))
	x.walk(50, without(world(0), "s1"))
	x.walk(60, without(world(0), "s1"))
	first, second, last := "external port-1 s1 p1 [10,20) ", "external port-2 s2 p2 [20,30) ", "external port-1 s1 p1 [40,60) "
	for at, want := range map[int64]string{1: "", 9: "", 10: first, 15: first, 19: first, 20: second, 29: second, 30: "", 39: "", 40: last, 59: last} {
		if h := held(fip, at); h != want {
			t.Errorf("%s at %d: %q, want %q", fip, at, h, want)
		}
	}
	if h := held(fixed, 55); h != "net port-1 s1 p1 [10,60) " {
		t.Errorf("%s: %q", fixed, h)
	}
	if h := held(fixed, 60); h != "" {
		t.Errorf("%s after its port is gone: %q", fixed, h)
	}
	if h := held(netip.AddrFrom16(fixed.As16()), 55); h == "" {
		t.Error("an IPv4 address written as IPv6 is another")
	}
	if h := held(netip.MustParseAddr("10.0.0.2"), 0); h != "net port-2 s2 p2 [10,0) " {
		t.Errorf("now: %q", h)
	}
}

// What changes nothing writes nothing but its coverage.
func unchanged(t *testing.T, e Engine) {
	x := begin(t, e)
	x.commit(full())
	before := e.Tables(t, x.Store)
	c := full()
	x.commit(casework.Change{At: 5_000, Inventory: &casework.Inventory{Snapshot: world(4_999), RealAt: 4_999}})
	x.commit(casework.Change{At: 6_000, Coverage: c.Coverage, Facts: nil})
	after := e.Tables(t, x.Store)
	if d := differing(before, after); !slices.Equal(d, []string{"coverage"}) || len(before) != len(after) {
		t.Errorf("changed: %v of %v", d, slices.Sorted(maps.Keys(after)))
	}
}

// A cloud of two thousand servers is merged in seconds, and once known, in less.
func large(t *testing.T, e Engine) {
	x := begin(t, e)
	cloud := func() *asset.Snapshot {
		s := &asset.Snapshot{Cloud: "cloud", Networks: []asset.Network{{ID: "net"}}}
		for i := range 2000 {
			id := fmt.Sprintf("%04d", i)
			s.Servers = append(s.Servers, asset.Server{ID: asset.ServerID("s" + id), Project: "p1", Status: "ACTIVE", Name: untrusted.From("server " + id)})
			s.Ports = append(s.Ports, asset.Port{ID: asset.PortID("port-" + id), Project: "p1", Network: "net", Server: asset.ServerID("s" + id), Groups: []asset.GroupID{"a", "b"},
				FixedIPs: []asset.FixedIP{{Addr: netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})}}})
		}
		return s
	}
	for i := range 2 {
		x.walk(int64(i+1)*10, cloud())
	}
	if n := len(x.servers(0)); n != 2000 {
		t.Errorf("%d servers", n)
	}
	if bs := got[[]asset.Binding](x)(x.BindingsAt(t.Context(), operator, netip.MustParseAddr("10.1.7.207"), 15)); len(bs) != 1 || bs[0].Server != "s1999" {
		t.Errorf("%+v", bs)
	}
}
