package profile

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"demarc/internal/asset"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/reach"
	"demarc/internal/untrusted"
)

var (
	ip     = netip.MustParseAddr
	prefix = netip.MustParsePrefix
	text   = untrusted.From
	campus = []netip.Prefix{prefix("172.28.0.0/16")}
	zone   = reach.View{Zone: probe.Internet, Prefixes: []netip.Prefix{prefix("0.0.0.0/0"), prefix("::/0")}, Except: reach.NotInternet, Scanners: []netip.Addr{ip("198.51.100.10")}}
	within = reach.View{Zone: probe.Institution, Prefixes: campus, Scanners: []netip.Addr{ip("172.28.0.10")}}
)

// machine is one server behind a floating IP, in one group.
func machine(rules ...asset.Rule) *asset.Snapshot {
	return &asset.Snapshot{Cloud: "test",
		Networks: []asset.Network{{ID: "pub", External: true}, {ID: "priv"}}, Servers: []asset.Server{{ID: "s1", Project: "p1", Status: "ACTIVE", Image: "i1"}}, Images: []asset.Image{{ID: "i1"}},
		Ports: []asset.Port{{ID: "port1", Project: "p1", Network: "priv", Server: "s1", DeviceOwner: "compute:nova", PortSecurity: true, AdminUp: true, Groups: []asset.GroupID{"g1"}, FixedIPs: []asset.FixedIP{{Subnet: "sub4", Addr: ip("10.0.0.5")}}},
			{ID: "port2", Project: "p1", Network: "priv", Server: "s2", Groups: []asset.GroupID{"g1"}}},
		FloatingIPs: []asset.FloatingIP{{ID: "fip1", Project: "p1", Network: "pub", Addr: ip("203.0.113.5"), Port: "port1", Fixed: ip("10.0.0.5")}},
		Groups:      []asset.Group{{ID: "g1", Project: "p1", Rules: rules}}}
}

func rule(id, proto string, lo, hi int, remote string) asset.Rule {
	r := asset.Rule{ID: asset.RuleID(id), Group: "g1", Direction: asset.Ingress, EtherType: 4, Protocol: proto, PortMin: lo, PortMax: hi}
	if remote != "" {
		r.RemotePrefix = prefix(remote)
	}
	return r
}

func answered(ports ...uint16) []probe.Endpoint {
	var out []probe.Endpoint
	for _, p := range ports {
		out = append(out, probe.Endpoint{Addr: ip("203.0.113.5"), Proto: probe.TCP, Port: p})
	}
	return out
}

// ask judges the machine of a snapshot as some views see it.
func ask(s *asset.Snapshot, p *policy.Policy, names []string, listening []probe.Endpoint, views ...reach.View) ([]Deviation, []asset.Rule) {
	x := asset.NewIndex(s)
	q := Question{Index: x, Server: x.Servers["s1"], Choice: Choice{Names: names, By: Operator}, Profiles: p.Profiles, Institution: campus, Listening: listening}
	if listening != nil {
		q.Asked = []probe.Proto{probe.TCP, probe.UDP, probe.ICMP}
	}
	for _, v := range views {
		q.Seen = append(q.Seen, Seen{v, reach.Compute(x, v).Of("s1")})
	}
	ds, smallest := Judge(q)
	return ds, smallest["port1"]
}

func defaults(t testing.TB) *policy.Policy {
	t.Helper()
	p, err := policy.Default()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The profiles of the seed, and what is told of a machine that goes beyond its own.
func TestWhatGoesBeyondAProfileIsTold(t *testing.T) {
	t.Parallel()
	p := defaults(t)
	for name, c := range map[string]struct {
		profile   string
		rules     []asset.Rule
		listening []uint16
		want      []string
		smallest  []string
	}{
		"a web server as it should be": {"web", []asset.Rule{rule("a", "tcp", 80, 80, "0.0.0.0/0"), rule("b", "tcp", 443, 443, ""), rule("c", "tcp", 22, 22, "172.28.0.0/16")}, []uint16{22, 80, 443}, nil,
			[]string{"tcp 22 from 172.28.0.0/16", "tcp 80 from 0.0.0.0/0", "tcp 443 from 0.0.0.0/0"}},
		"a web server whose SSH is open to all": {"web", []asset.Rule{rule("a", "tcp", 80, 80, ""), rule("c", "tcp", 22, 22, "")}, []uint16{22, 80},
			[]string{"internet c 22-22 used 22"}, []string{"tcp 22 from 172.28.0.0/16", "tcp 80 from 0.0.0.0/0"}},
		"a web server with everything open": {"web", []asset.Rule{rule("a", "", -1, -1, "")}, []uint16{80, 6379},
			[]string{"institution a 1-21,23-79,81-442,444-65535,1-442,444-65535 used 6379", "internet a 1-79,81-442,444-65535,1-442,444-65535 used 6379"}, []string{"tcp 80 from 0.0.0.0/0"}},
		"a limited range is allowed to manage":              {"management", []asset.Rule{rule("c", "tcp", 22, 22, "192.0.2.0/24")}, []uint16{22}, nil, []string{"tcp 22 from 192.0.2.0/24"}},
		"a wide one is not":                                 {"management", []asset.Rule{rule("c", "tcp", 22, 22, "192.0.0.0/15")}, []uint16{22}, []string{"internet c 22-22 used 22"}, nil},
		"management is no web server":                       {"management", []asset.Rule{rule("a", "tcp", 80, 80, "172.28.1.0/24")}, []uint16{80}, []string{"institution a 80-80 used 80"}, nil},
		"a range that is too long":                          {"web", []asset.Rule{rule("a", "tcp", 80, 90, "")}, []uint16{80}, []string{"institution a 81-90 used ", "internet a 81-90 used "}, []string{"tcp 80 from 0.0.0.0/0"}},
		"what nobody listens at is allowed, and not needed": {"web", []asset.Rule{rule("a", "tcp", 80, 80, ""), rule("b", "tcp", 443, 443, "")}, []uint16{443}, nil, []string{"tcp 443 from 0.0.0.0/0"}},
		"obedience": {"database", []asset.Rule{rule("a", "", -1, -1, "198.51.100.10/32"), rule("b", "", -1, -1, "172.28.0.10/32")}, []uint16{5432}, nil, nil},
		"ping":      {"database", []asset.Rule{rule("a", "icmp", -1, -1, "")}, []uint16{}, nil, nil},
	} {
		listening := answered(c.listening...)
		if listening == nil {
			listening = []probe.Endpoint{}
		}
		ds, rules := ask(machine(c.rules...), p, []string{c.profile}, listening, zone, within)
		var got, smallest []string
		for _, d := range ds {
			var runs []string
			for _, r := range d.Beyond {
				runs = append(runs, fmt.Sprintf("%d-%d", r.First, r.Last))
			}
			got = append(got, fmt.Sprintf("%s %s %s used %s", d.Zone, d.Rule, strings.Join(runs, ","), strings.Trim(fmt.Sprint(d.Used), "[]")))
			if d.Others != 1 || d.Group != "g1" || len(d.Why) == 0 || len(d.Beyond[0].From) == 0 {
				t.Errorf("%s: %+v", name, d)
			}
		}
		for _, r := range rules {
			smallest = append(smallest, Words(r))
		}
		if !slices.Equal(got, c.want) || !slices.Equal(smallest, c.smallest) {
			t.Errorf("%s:\n%q, smallest %q\nwant\n%q, %q", name, got, smallest, c.want, c.smallest)
		}
	}
	if _, rules := ask(machine(rule("a", "", -1, -1, "")), p, []string{"web"}, nil, zone, within); len(rules) != 5 || Words(rules[0]) != "icmp from 0.0.0.0/0" || Words(rules[1]) != "tcp 22 from 172.28.0.0/16" || Words(rules[4]) != "udp 443 from 0.0.0.0/0" {
		t.Errorf("without a look all that is open and may be is kept: %v", rules)
	}
	open := machine()
	open.Ports[0].PortSecurity, open.Ports[0].Groups = false, nil
	if ds, rules := ask(open, p, []string{"web"}, answered(80), zone); len(ds) != 1 || ds[0].Rule != "" || len(rules) != 1 || Words(rules[0]) != "tcp 80 from 0.0.0.0/0" {
		t.Errorf("port security off: %+v %v", ds, rules)
	}
	fwd := machine(rule("a", "tcp", 80, 81, ""))
	fwd.FloatingIPs[0].Port, fwd.FloatingIPs[0].Forwardings = "", []asset.Forwarding{{ID: "w", Protocol: "tcp", External: 8080, ExternalLast: 8081, Port: "port1", InternalAddr: ip("10.0.0.5"), Internal: 80, InternalLast: 81}}
	if ds, rules := ask(fwd, p, []string{"web"}, answered(8080), zone); len(ds) != 1 || ds[0].Beyond[0].Run != (Run{probe.TCP, 81, 81}) || len(rules) != 1 || Words(rules[0]) != "tcp 80 from 0.0.0.0/0" {
		t.Errorf("a forwarding is judged by the machine's own ports: %+v %v", ds, rules)
	}
}

// An operator is heard before the owner, the owner before a tag, that before the image; what is no profile is not heard.
func TestWhoSaysTheProfile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bend func(*asset.Snapshot, *policy.Policy)
		want string
	}{
		"nobody":            {func(*asset.Snapshot, *policy.Policy) {}, "inferred []"},
		"what listens":      {nil, "inferred [web]"},
		"the groups' names": {func(s *asset.Snapshot, _ *policy.Policy) { s.Groups[0].Name = text("Jupyter hosts") }, "inferred [gpu-notebook]"},
		"the image":         {func(s *asset.Snapshot, _ *policy.Policy) { s.Images[0].Profile = text("database") }, "image [database]"},
		"a tag": {func(s *asset.Snapshot, _ *policy.Policy) {
			s.Images[0].Profile, s.Servers[0].Tags = text("database"), []untrusted.Text{text("x"), text("demarc-profile=web")}
		}, "tag [web]"},
		"the owner": {func(s *asset.Snapshot, _ *policy.Policy) {
			s.Servers[0].Tags, s.Servers[0].Metadata = []untrusted.Text{text("demarc-profile=web")}, map[string]untrusted.Text{"demarc:profile": text("management")}
		}, "owner [management]"},
		"the operator, of the project": {func(s *asset.Snapshot, p *policy.Policy) {
			s.Servers[0].Metadata, p.ProfileOf = map[string]untrusted.Text{"demarc:profile": text("management")}, []policy.ProfileOf{{Project: "p1", Profile: "web"}}
		}, "operator [web]"},
		"the operator, of the machine": {func(_ *asset.Snapshot, p *policy.Policy) {
			p.ProfileOf = []policy.ProfileOf{{Project: "p1", Profile: "web"}, {Server: "s1", Profile: "database"}, {Server: "s2", Profile: "management"}}
		}, "operator [database]"},
		"a word that is none": {func(s *asset.Snapshot, _ *policy.Policy) {
			s.Servers[0].Metadata, s.Images[0].Profile = map[string]untrusted.Text{"demarc:profile": text("everything\x1b[31m")}, text("web")
		}, `image [web] not everything\x1b[31m`},
	} {
		s, p := machine(), *defaults(t)
		var listening []probe.Endpoint
		if c.bend != nil {
			c.bend(s, &p)
		} else {
			listening = answered(443)
		}
		x := asset.NewIndex(s)
		choice, ok := Choose(x, x.Servers["s1"], &p, listening)
		got := fmt.Sprintf("%s %v", choice.By, choice.Names)
		for _, u := range choice.Unknown {
			got += " not " + u.Terminal()
		}
		if got != c.want || ok != (len(choice.Names) > 0) {
			t.Errorf("%s: %s (%v), want %s", name, got, ok, c.want)
		}
	}
}

// drawnProfile allows a few ports of sixteen to a few of sixteen addresses.
func drawnProfile(t *rapid.T, name string) policy.Profile {
	var k policy.Profile
	for range rapid.IntRange(0, 3).Draw(t, name) {
		first := uint16(rapid.IntRange(1, 16).Draw(t, "first"))
		a := policy.Allowed{Proto: "tcp", Ports: []policy.PortRange{{First: first, Last: first + uint16(rapid.IntRange(0, 4).Draw(t, "more"))}}, Limited: rapid.IntRange(0, 3).Draw(t, "limited") == 0}
		for range rapid.IntRange(0, 2).Draw(t, "from") {
			a.From = append(a.From, rapid.SampledFrom([]string{"internet", "institution", "192.0.2.0/29", "192.0.2.8/30", "192.0.2.4/32", "2001:db8::/32"}).Draw(t, "whom"))
		}
		k.Allow = append(k.Allow, a)
	}
	return k
}

// little is a zone of sixteen addresses with our scanner in it.
var little = reach.View{Zone: probe.Internet, Prefixes: []netip.Prefix{prefix("192.0.2.0/28")}, Scanners: []netip.Addr{ip("192.0.2.1")}}

func drawnRules(t *rapid.T) []asset.Rule {
	var out []asset.Rule
	for i := range rapid.IntRange(0, 4).Draw(t, "rules") {
		lo := rapid.IntRange(1, 18).Draw(t, "lo")
		r := rule(fmt.Sprint("r", i), "tcp", lo, lo+rapid.IntRange(0, 5).Draw(t, "wide"), rapid.SampledFrom([]string{"", "0.0.0.0/0", "192.0.2.0/28", "192.0.2.0/30", "192.0.2.8/29", "192.0.2.1/32", "192.0.2.5/32", "192.0.0.0/8", "10.0.0.0/8"}).Draw(t, "remote"))
		out = append(out, r)
	}
	return out
}

// lets tells, port by port and address by address, whether a rule or a profile lets somebody in.
func lets(r asset.Rule, port int, a netip.Addr) bool {
	return r.PortMin <= port && port <= r.PortMax && (!r.RemotePrefix.IsValid() || r.RemotePrefix.Contains(a))
}

func mayBe(ks []policy.Profile, r asset.Rule, port int, a netip.Addr) bool {
	for _, k := range ks {
		for _, w := range k.Allow {
			if int(w.Ports[0].First) > port || port > int(w.Ports[0].Last) {
				continue
			}
			if w.Limited && r.RemotePrefix.IsValid() && r.RemotePrefix.Bits() >= policy.LimitedBits4 {
				return true
			}
			for _, f := range w.From {
				if f == "internet" || f == "institution" && campus[0].Contains(a) || strings.Contains(f, "/") && prefix(f).Contains(a) {
					return true
				}
			}
		}
	}
	return false
}

func neighbours() []netip.Addr {
	var out []netip.Addr
	for a := ip("192.0.2.0"); little.Prefixes[0].Contains(a); a = a.Next() {
		out = append(out, a)
	}
	return out
}

// A deviation is told of exactly the rules, ports and addresses that are open and may not be; and the proposal opens exactly what
// listens, is open and may be.
func TestJudgementAgreesWithEveryAddressAndPort(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules := drawnRules(t)
		ks := []policy.Profile{drawnProfile(t, "profile"), drawnProfile(t, "another")}[:rapid.IntRange(1, 2).Draw(t, "fit")]
		p := &policy.Policy{Profiles: map[string]policy.Profile{}}
		var names []string
		for i, k := range ks {
			names = append(names, fmt.Sprint("k", i))
			p.Profiles[names[i]] = k
		}
		heard := rapid.SliceOfNDistinct(rapid.Uint16Range(1, 22), 0, 8, func(p uint16) uint16 { return p }).Draw(t, "listens")
		ds, smallest := ask(machine(rules...), p, names, append([]probe.Endpoint{}, answered(heard...)...), little)
		for port := 1; port <= 24; port++ {
			for _, a := range neighbours() {
				need := false
				for _, r := range rules {
					open := lets(r, port, a) && a != little.Scanners[0]
					if got, want := beyondAt(ds, r.ID, port, a), open && !mayBe(ks, r, port, a); got != want {
						t.Fatalf("rule %+v at port %d from %s: beyond its profile %v, want %v; %+v", r, port, a, got, want, ds)
					}
					zoned := slices.ContainsFunc(neighbours(), func(b netip.Addr) bool { return b != little.Scanners[0] && lets(r, port, b) })
					need = need || zoned && slices.Contains(heard, uint16(port)) && lets(r, port, a) && mayBe(ks, r, port, a)
				}
				opens := slices.ContainsFunc(smallest, func(r asset.Rule) bool { return lets(r, port, a) })
				if opens != need {
					t.Fatalf("port %d from %s: the proposal opens it %v, and it is needed %v; %+v", port, a, opens, need, smallest)
				}
			}
		}
	})
}

func beyondAt(ds []Deviation, id asset.RuleID, port int, a netip.Addr) bool {
	for _, d := range ds {
		for _, b := range d.Beyond {
			if d.Rule == id && int(b.First) <= port && port <= int(b.Last) && slices.ContainsFunc(b.From, func(p netip.Prefix) bool { return p.Contains(a) }) {
				return true
			}
		}
	}
	return false
}

// What is inferred is never stricter than any of the profiles that it is inferred from.
func TestWhatIsInferredIsNeverStricter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules := drawnRules(t)
		p := &policy.Policy{Profiles: map[string]policy.Profile{"a": drawnProfile(t, "a"), "b": drawnProfile(t, "b")}}
		both, _ := ask(machine(rules...), p, []string{"a", "b"}, nil, little)
		for _, name := range []string{"a", "b"} {
			one, _ := ask(machine(rules...), p, []string{name}, nil, little)
			for port := 1; port <= 24; port++ {
				for _, a := range neighbours() {
					for _, r := range rules {
						if beyondAt(both, r.ID, port, a) && !beyondAt(one, r.ID, port, a) {
							t.Fatalf("rule %s at port %d from %s is beyond what is inferred, and not beyond %s", r.ID, port, a, name)
						}
					}
				}
			}
		}
	})
}

// The proposal is a smallest one: no smaller set of rules opens the same. Four ports and eight addresses are a word of 32 bits.
func TestTheProposalIsSmallest(t *testing.T) {
	t.Parallel()
	type cand struct {
		r    opens
		mask uint32
	}
	var all []cand
	for first := range 4 {
		for last := first; last < 4; last++ {
			for b := 29; b <= 32; b++ {
				for i := 0; i < 8; i += 1 << (32 - b) {
					c := cand{r: opens{uint16(first + 10), uint16(last + 10), netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), b)}}
					for p := first; p <= last; p++ {
						c.mask |= (1<<(1<<(32-b)) - 1) << (8*p + i)
					}
					all = append(all, c)
				}
			}
		}
	}
	maskOf := func(rs []opens) (m uint32) {
		for _, r := range rs {
			m |= all[slices.IndexFunc(all, func(c cand) bool { return c.r == r })].mask
		}
		return m
	}
	rapid.Check(t, func(t *rapid.T) {
		var drawn []opens
		for range rapid.IntRange(0, 4).Draw(t, "rules") {
			drawn = append(drawn, all[rapid.IntRange(0, len(all)-1).Draw(t, "rule")].r)
		}
		want := maskOf(drawn)
		need := map[uint16][]netip.Prefix{}
		for _, r := range drawn {
			for p := r.first; p <= r.last; p++ {
				need[p] = tidy(append(need[p], r.from))
			}
		}
		got := cover(need)
		if maskOf(got) != want {
			t.Fatalf("%v opens %032b, want %032b", got, maskOf(got), want)
		}
		var fit []uint32
		for _, c := range all {
			if c.mask&^want == 0 {
				fit = append(fit, c.mask)
			}
		}
		if n := fewest(fit, want, len(got)-1); n < len(got) {
			t.Fatalf("%v are %d rules, and %d do", got, len(got), n)
		}
	})
}

// fewest is the size of a smallest cover of at most so many masks, or one more where there is none. It tries every set.
func fewest(fit []uint32, want uint32, most int) int {
	if want == 0 {
		return 0
	}
	if most <= 0 {
		return 1
	}
	best := most + 1
	low := want & -want // something must cover the lowest bit
	for _, m := range fit {
		if m&low != 0 && bits.OnesCount32(m&want) > 0 {
			best = min(best, 1+fewest(fit, want&^m, min(most, best)-1))
		}
	}
	return best
}

func TestManyPortsAreCoveredInTime(t *testing.T) {
	t.Parallel()
	need := map[uint16][]netip.Prefix{}
	for p := uint16(1); p <= 400; p++ {
		need[p] = tidy([]netip.Prefix{prefix(fmt.Sprintf("10.%d.0.0/16", p%7)), prefix(fmt.Sprintf("10.%d.0.0/15", 2*(p%5)))})
	}
	rs := cover(need)
	for p, from := range need {
		var got []netip.Prefix
		for _, r := range rs {
			if r.first <= p && p <= r.last {
				got = append(got, r.from)
			}
		}
		if !slices.Equal(tidy(got), from) {
			t.Fatalf("port %d: %v, want %v", p, got, from)
		}
	}
}

// A machine that listens at thousands of ports, one by one or in a row, is no work: what each rule could open is not tried port by port.
func TestThousandsOfPortsMakeFewCandidates(t *testing.T) {
	t.Parallel()
	from := tidy([]netip.Prefix{prefix("10.0.0.0/8"), prefix("192.0.2.0/24")})
	apart, row, run := map[uint16][]netip.Prefix{}, map[uint16][]netip.Prefix{}, []uint16{}
	for p := uint16(1); p <= 6000; p++ {
		apart[2*p], row[p], run = from, from, append(run, p)
	}
	if n := len(candidates(row, run)); n != 2 {
		t.Errorf("%d candidates for one run", n)
	}
	for name, c := range map[string]struct {
		need map[uint16][]netip.Prefix
		want int
	}{"apart": {apart, 12000}, "in a row": {row, 2}} {
		if n := len(cover(c.need)); n != c.want {
			t.Errorf("%s: %d rules", name, n)
		}
	}
}

// An address group of any size, at ports in a row, is not searched for the fewest rules: what is proposed opens what is needed, and no more.
func TestAnAddressGroupOfAnySizeIsNotSearched(t *testing.T) {
	t.Parallel()
	var many []netip.Prefix
	for i := range 5000 {
		many = append(many, prefix(fmt.Sprintf("9.9.%d.%d/32", i*2/256, i*2%256)))
	}
	need := map[uint16][]netip.Prefix{443: many, 444: many, 445: many[:10], 446: many, 8443: many[:2]}
	for _, run := range [][]uint16{{443, 444, 445, 446}, {8443}} {
		left := maxSteps
		got := map[uint16][]netip.Prefix{}
		for _, r := range coverRun(need, run, &left) {
			for p := r.first; p <= r.last; p++ {
				got[p] = append(got[p], r.from)
			}
		}
		for _, p := range run {
			if slices.SortFunc(got[p], netip.Prefix.Compare); !slices.Equal(got[p], need[p]) {
				t.Errorf("port %d: %d prefixes, want %d", p, len(got[p]), len(need[p]))
			}
		}
		if left != maxSteps {
			t.Errorf("%v: %d steps of a search", run, maxSteps-left)
		}
	}
}

func TestWhatIsNotSecureByDefault(t *testing.T) {
	t.Parallel()
	template := func(id, group string, prefix string, inDefault, inCustom bool) asset.DefaultRule {
		r := rule(id, "tcp", 22, 22, prefix)
		r.Group, r.RemoteGroup = "", asset.GroupID(group)
		return asset.DefaultRule{Rule: r, InDefault: inDefault, InCustom: inCustom}
	}
	own := rule("own", "", -1, -1, "")
	own.RemoteGroup = "d1"
	friend, stranger := rule("friend", "", -1, -1, ""), rule("stranger", "", -1, -1, "")
	friend.RemoteGroup, stranger.RemoteGroup = "g1", "g2"
	egress := rule("out", "", -1, -1, "")
	egress.Direction = asset.Egress
	s := machine(rule("elsewhere", "", -1, -1, ""))
	s.Ports[0].Groups = []asset.GroupID{"d1"}
	s.Groups = append(s.Groups, asset.Group{ID: "g2", Project: "p2"},
		asset.Group{ID: "d1", Project: "p1", Name: text("default"), Rules: []asset.Rule{own, friend, stranger, egress, rule("ssh", "tcp", 22, 22, "0.0.0.0/0"), rule("web", "tcp", 80, 80, "")}})
	s.DefaultRules = []asset.DefaultRule{template("t1", parent, "", true, true), template("t2", "", "0.0.0.0/0", true, false), template("t3", "", "192.0.2.0/24", false, true), template("t4", "", "", false, false)}
	var got []string
	for _, d := range Drifted(asset.NewIndex(s)) {
		got = append(got, fmt.Sprintf("%s %s %s %d: %s", d.ID, d.Kind, d.Aspect, d.Ports, d.Why))
	}
	const all = "the project's group default, which every machine gets that names no other, lets in "
	want := []string{
		"rule ssh default-group secure-default 1: " + all + "tcp 22 from 0.0.0.0/0, as the cloud's template says",
		"rule stranger default-group configure 1: " + all + "every protocol from group g2 of another project",
		"rule web default-group configure 1: " + all + "tcp 80 from anybody (IPv4)",
		"template t2 template secure-default 0: every new group default lets in tcp 22 from 0.0.0.0/0",
		"template t3 template secure-default 0: every new group that a tenant makes lets in tcp 22 from 192.0.2.0/24",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
