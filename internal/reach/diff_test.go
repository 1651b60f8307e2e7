package reach

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/probe"
)

// bent is a cloud with one to three changes of any kind that a tenant makes in a day; some of them change nothing that counts.
func bent(rng *rand.Rand, s *asset.Snapshot) *asset.Snapshot {
	c := copied(s)
	prefixes := []string{"0.0.0.0/0", "198.51.100.0/28", "198.51.100.2/32", "198.51.100.2/31", "198.51.100.0/29", "198.51.100.8/29", "198.51.100.4/32"}
	prefixes6 := []string{"::/0", "2001:db8:f::/124", "2001:db8:f::2/128", "2001:db8:f::2/127", "2001:db8::/32"}
	for range 1 + rng.IntN(3) {
		g, p := &c.Groups[rng.IntN(3)], &c.Ports[rng.IntN(3)]
		at := -1
		if len(g.Rules) > 0 {
			at = rng.IntN(len(g.Rules))
		}
		switch rng.IntN(11) {
		case 0:
			g.Rules = append(g.Rules, drawRule(rng, fmt.Sprint("new-", rng.IntN(1000)), prefixes, prefixes6))
		case 1: // our scanner is let in
			g.Rules = append(g.Rules, rule(fmt.Sprint("scan-", rng.IntN(1000)), "", -1, -1, []string{"198.51.100.2/32", "2001:db8:f::2/128"}[rng.IntN(2)]))
		case 2, 3:
			if at >= 0 {
				g.Rules = slices.Delete(g.Rules, at, at+1)
			}
		case 4: // two rules for one
			if at >= 0 && g.Rules[at].PortMin > 0 && g.Rules[at].PortMin < g.Rules[at].PortMax {
				r := g.Rules[at]
				g.Rules[at].PortMax, r.PortMin = r.PortMin, r.PortMin+1
				r.ID += "-high"
				g.Rules = append(g.Rules, r)
			}
		case 5: // the same by another name
			if at >= 0 {
				g.Rules[at].ID += "-again"
			}
		case 6:
			v := &c.Servers[rng.IntN(3)]
			v.Status = []string{"ACTIVE", "SHUTOFF"}[rng.IntN(2)]
		case 7:
			p.PortSecurity, p.Groups = !p.PortSecurity, nil
		case 8:
			c.AddressSets[0].Prefixes = []netip.Prefix{netip.MustParsePrefix(prefixes[rng.IntN(len(prefixes))]), netip.MustParsePrefix(prefixes6[rng.IntN(len(prefixes6))])}
		case 9:
			if f := &c.FloatingIPs[rng.IntN(3)]; f.Port != "" {
				f.Port, f.Fixed = p.ID, p.FixedIPs[0].Addr
			}
		case 10:
			if at >= 0 && g.Rules[at].RemotePrefix.IsValid() && g.Rules[at].EtherType == 4 {
				g.Rules[at].RemotePrefix = netip.MustParsePrefix(prefixes[rng.IntN(len(prefixes))])
			}
		}
	}
	return c
}

// allOn is the same cloud with everything on.
func allOn(s *asset.Snapshot) *asset.Snapshot {
	c := copied(s)
	for i := range c.Servers {
		c.Servers[i].Status = "ACTIVE"
	}
	for i := range c.Ports {
		c.Ports[i].AdminUp = true
	}
	for i := range c.Routers {
		c.Routers[i].AdminUp = true
	}
	return c
}

// bruteSources lists who reaches one machine at an endpoint, packet by packet: others of the zone from some port, our scanners from all.
func bruteSources(s *asset.Snapshot, server asset.ServerID, e probe.Endpoint) (zone, us map[netip.Addr]bool) {
	zone, us = map[netip.Addr]bool{}, map[netip.Addr]bool{}
	sports := sourcePorts
	if e.Proto == probe.ICMP {
		sports = sourcePorts[:1]
	}
	for _, p := range s.Ports {
		if p.Server != server || !p.AdminUp || !slices.ContainsFunc(s.Servers, func(v asset.Server) bool { return v.ID == server && v.Status == "ACTIVE" }) {
			continue
		}
		for _, port := range bruteWays(s, p, e) {
			for _, a := range others(e.Addr.Is6()) {
				zone[a] = zone[a] || slices.ContainsFunc(sports, func(sp uint16) bool { return bruteAdmits(s, p, a, false, sp, e, port) })
			}
			for _, a := range bruteScanners {
				all := a.Is6() == e.Addr.Is6()
				for _, sp := range sports {
					if e.Proto == probe.ICMP || sp >= firstEphemeral && sp <= lastEphemeral {
						all = all && bruteAdmits(s, p, a, true, sp, e, port)
					}
				}
				us[a] = us[a] || all
			}
		}
	}
	return zone, us
}

// gained tells whether somebody is in one set and not in the others.
func gained(has map[netip.Addr]bool, not ...map[netip.Addr]bool) bool {
	for a, in := range has {
		if in && !slices.ContainsFunc(not, func(m map[netip.Addr]bool) bool { return m[a] }) {
			return true
		}
	}
	return false
}

// bruteChanges is what single packets say of what opens and closes at one endpoint of one machine.
func bruteChanges(before, after, beforeOn, afterOn *asset.Snapshot, server asset.ServerID, e probe.Endpoint) map[string]bool {
	out := map[string]bool{}
	for _, dir := range []struct {
		what                   string
		from, to, fromOn, toOn *asset.Snapshot
	}{{Opens, before, after, beforeOn, afterOn}, {Closes, after, before, afterOn, beforeOn}} {
		was, wasUs := bruteSources(dir.from, server, e)
		is, isUs := bruteSources(dir.to, server, e)
		ever, everUs := bruteSources(dir.fromOn, server, e)
		would, wouldUs := bruteSources(dir.toOn, server, e)
		newly, newlyUs := map[netip.Addr]bool{}, map[netip.Addr]bool{}
		for a, in := range is {
			newly[a] = in && !was[a]
		}
		for a, in := range isUs {
			newlyUs[a] = in && !wasUs[a]
		}
		now, when := gained(newly), gained(would, ever, newly)
		out[dir.what+" zone now"], out[dir.what+" zone when_on"] = now, when
		if !now && !when {
			out[dir.what+" scanner now"], out[dir.what+" scanner when_on"] = gained(newlyUs), gained(wouldUs, everUs, newlyUs)
		}
	}
	return out
}

// What opens and what closes is what single packets say, source by source.
func TestTheDifferenceAgreesWithEveryPacket(t *testing.T) {
	t.Parallel()
	worlds, seed := number(t, "DEMARC_WORLDS", 1000), number(t, "DEMARC_SEED", 1)
	told := map[string]int{}
	for w := range worlds {
		rng := rand.New(rand.NewPCG(uint64(seed), uint64(w)))
		before := drawn(rng)
		after := bent(rng, before)
		changes := Diff(Compute(asset.NewIndex(copied(before)), bruteView), Compute(asset.NewIndex(copied(after)), bruteView))
		targets, beforeOn, afterOn := bruteTargets(), allOn(before), allOn(after)
		for range 40 {
			e := probe.Endpoint{Addr: targets[rng.IntN(len(targets))], Proto: []probe.Proto{probe.TCP, probe.UDP, probe.ICMP}[rng.IntN(3)]}
			if e.Proto != probe.ICMP {
				e.Port = brutePorts[rng.IntN(len(brutePorts))]
			}
			server := asset.ServerID(fmt.Sprint("s", rng.IntN(3)))
			got := said(t, before, changes, server, e)
			for what, want := range bruteChanges(before, after, beforeOn, afterOn, server, e) {
				if got[what] != want {
					a, _ := json.Marshal(before)
					b, _ := json.Marshal(after)
					t.Fatalf("world %d, seed %d: %s of %s: %q is %v, packets say %v\nbefore %s\nafter %s", w, seed, e, server, what, got[what], want, a, b)
				}
				if want {
					told[what]++
				}
			}
		}
	}
	for _, what := range []string{"opens zone now", "opens zone when_on", "closes zone now", "closes zone when_on", "opens scanner now", "closes scanner now"} {
		if told[what] == 0 {
			t.Errorf("nothing %s: the drawing asks nothing", what)
		}
	}
	t.Log(told)
}

// said is what the difference says of one endpoint of one machine.
func said(t *testing.T, s *asset.Snapshot, changes []Change, server asset.ServerID, e probe.Endpoint) map[string]bool {
	own := slices.ContainsFunc(s.Ports, func(p asset.Port) bool {
		return slices.ContainsFunc(p.FixedIPs, func(f asset.FixedIP) bool { return f.Addr == e.Addr })
	}) || slices.ContainsFunc(s.FloatingIPs, func(f asset.FloatingIP) bool { return f.Addr == e.Addr })
	out := map[string]bool{}
	for _, c := range changes {
		if len(c.By) == 0 {
			t.Fatalf("nothing does it: %+v", c)
		}
		here := c.Addr == e.Addr && !c.Prefix.IsValid() || c.Prefix.IsValid() && !own && c.Prefix.Contains(e.Addr)
		if here && c.Server == server && c.Proto == e.Proto && c.First <= e.Port && e.Port <= c.Last {
			out[c.What+" "+c.For+" "+c.State] = true
		}
	}
	return out
}

// What the judge of packets does not know, and what a person reads.
func TestWhatADifferenceSays(t *testing.T) {
	t.Parallel()
	wall := asset.Firewall{ID: "fw", AdminUp: true, Ports: []asset.PortID{"port1"}, Ingress: []asset.FirewallRule{{ID: "x", Enabled: true, Action: "allow", Protocol: "tcp", EtherType: 4, Source: netip.MustParsePrefix("192.0.2.0/24"), PortMin: 80, PortMax: 443}}}
	balancer := asset.LoadBalancer{ID: "lb", Project: "p1", AdminUp: true, VIP: netip.MustParseAddr("10.0.0.9"), VIPPort: "vip", Listeners: []asset.Listener{{ID: "l", Protocol: "HTTPS", Port: 443, AdminUp: true, Allowed: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/25")}}}}
	for name, c := range map[string]struct {
		before, after func(*asset.Snapshot)
		want          []string
	}{
		"nothing": {nil, nil, nil},
		"a rule": {nil, func(s *asset.Snapshot) { s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 22, 22, "0.0.0.0/0")} },
			[]string{"opens zone now s1 203.0.113.5 tcp 22-22 r"}},
		"a rule is gone": {func(s *asset.Snapshot) { s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 22, 22, "0.0.0.0/0")} }, nil,
			[]string{"closes zone now s1 203.0.113.5 tcp 22-22 r"}},
		"two rules for one": {func(s *asset.Snapshot) { s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 20, 30, "")} },
			func(s *asset.Snapshot) {
				s.Groups[0].Rules = []asset.Rule{rule("a", "tcp", 20, 25, "0.0.0.0/1"), rule("b", "tcp", 26, 30, ""), rule("c", "tcp", 20, 25, "128.0.0.0/1")}
			}, nil},
		"a range grows on both sides": {func(s *asset.Snapshot) { s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 20, 30, "")} },
			func(s *asset.Snapshot) { s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 10, 40, "")} },
			[]string{"opens zone now s1 203.0.113.5 tcp 10-19 r", "opens zone now s1 203.0.113.5 tcp 31-40 r"}},
		"more sources": {func(s *asset.Snapshot) { s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 22, 22, "192.0.2.1/32")} },
			func(s *asset.Snapshot) { s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 22, 22, "192.0.2.0/30")} },
			[]string{"opens zone now s1 203.0.113.5 tcp 22-22 r"}},
		"fewer sources": {func(s *asset.Snapshot) { s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 22, 22, "192.0.2.0/30")} },
			func(s *asset.Snapshot) { s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 22, 22, "192.0.2.1/32")} },
			[]string{"closes zone now s1 203.0.113.5 tcp 22-22 r"}},
		"sources that are not of the zone": {nil, func(s *asset.Snapshot) { s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 22, 22, "10.0.0.0/8")} }, nil},
		"our scanner": {nil, func(s *asset.Snapshot) {
			s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 22, 22, "198.51.100.10/32")}
		}, []string{"opens scanner now s1 203.0.113.5 tcp 22-22 r"}},
		"a rule on a machine that is off": {func(s *asset.Snapshot) { s.Servers[0].Status = "SHUTOFF" },
			func(s *asset.Snapshot) {
				s.Servers[0].Status = "SHUTOFF"
				s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 22, 22, "")}
			}, []string{"opens zone when_on s1 203.0.113.5 tcp 22-22 r"}},
		"a machine is started": {func(s *asset.Snapshot) {
			s.Servers[0].Status = "SHUTOFF"
			s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 22, 22, "")}
		}, func(s *asset.Snapshot) { s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 22, 22, "")} },
			[]string{"opens zone now s1 203.0.113.5 tcp 22-22 r"}},
		"another machine at the address": {func(s *asset.Snapshot) { s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 22, 22, "")} },
			func(s *asset.Snapshot) {
				s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 22, 22, "")}
				s.Servers[0].ID, s.Ports[0].Server = "s2", "s2"
			}, []string{"closes zone now s1 203.0.113.5 tcp 22-22 r", "opens zone now s2 203.0.113.5 tcp 22-22 r"}},
		"a firewall rule takes more sources": {func(s *asset.Snapshot) {
			s.Groups[0].Rules, s.Firewalls = []asset.Rule{rule("r", "", -1, -1, "")}, []asset.Firewall{wall}
		}, func(s *asset.Snapshot) {
			w := wall
			w.Ingress = []asset.FirewallRule{w.Ingress[0]}
			w.Ingress[0].Source = netip.Prefix{}
			s.Groups[0].Rules, s.Firewalls = []asset.Rule{rule("r", "", -1, -1, "")}, []asset.Firewall{w}
		}, []string{"opens zone now s1 203.0.113.5 tcp 80-443 r"}},
		"a firewall goes": {func(s *asset.Snapshot) {
			s.Groups[0].Rules, s.Firewalls = []asset.Rule{rule("r", "tcp", 22, 80, "192.0.2.0/24")}, []asset.Firewall{wall}
		}, func(s *asset.Snapshot) { s.Groups[0].Rules = []asset.Rule{rule("r", "tcp", 22, 80, "192.0.2.0/24")} },
			[]string{"opens zone now s1 203.0.113.5 tcp 22-79 r"}},
		"a listener takes more sources": {func(s *asset.Snapshot) { lb(s, balancer) }, func(s *asset.Snapshot) {
			b := balancer
			b.Listeners = []asset.Listener{b.Listeners[0]}
			b.Listeners[0].Allowed = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
			lb(s, b)
		}, []string{"opens zone now  203.0.113.9 tcp 443-443 "}},
	} {
		sets := [2]*Set{}
		for i, bend := range []func(*asset.Snapshot){c.before, c.after} {
			s := bed()
			if bend != nil {
				bend(s)
			}
			sets[i] = Compute(asset.NewIndex(s), view)
		}
		var got []string
		for _, c := range Diff(sets[0], sets[1]) {
			got = append(got, fmt.Sprintf("%s %s %s %s %s %s %d-%d %s", c.What, c.For, c.State, c.Server, c.Addr, c.Proto, c.First, c.Last, c.By[0].Rule))
			if len(c.By[0].Why) < 2 {
				t.Errorf("%s: no reason: %+v", name, c)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// lb puts a load balancer behind a floating IP of its own.
func lb(s *asset.Snapshot, b asset.LoadBalancer) {
	s.LoadBalancers = []asset.LoadBalancer{b}
	s.Ports = append(s.Ports, asset.Port{ID: "vip", Project: "p1", Network: "priv", AdminUp: true, FixedIPs: []asset.FixedIP{{Subnet: "sub4", Addr: b.VIP}}})
	s.FloatingIPs = append(s.FloatingIPs, asset.FloatingIP{ID: "fip9", Project: "p1", Network: "pub", Addr: netip.MustParseAddr("203.0.113.9"), Port: "vip", Fixed: b.VIP})
}
