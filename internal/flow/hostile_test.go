package flow

import (
	"context"
	"net/netip"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/cloud"
	"demarc/internal/finding"
	"demarc/internal/plan"
	"demarc/internal/probe"
	"demarc/internal/reach"
	"demarc/internal/wire"
)

// openBut answers everywhere, and refuses at one address.
type openBut struct{ refuses netip.Addr }

func (o openBut) Probe(_ context.Context, s probe.Shard, _ []probe.Script, emit func(probe.Observation)) (probe.Coverage, error) {
	for _, e := range s.Targets {
		got := probe.Open
		if e.Addr == o.refuses {
			got = probe.Closed
		}
		emit(probe.Observation{Endpoint: e, SentAt: day, RealAt: day, Facts: probe.Facts{Outcome: got}})
	}
	return probe.Coverage{Complete: true}, nil
}

// asRead is a cloud that says what the line read.
type asRead struct {
	cloud.Reader
	l *Line
}

func (r asRead) Holder(_ context.Context, a netip.Addr, _ string) (cloud.Holding, error) {
	return cloud.Holding{Holder: r.l.holds[a], ServerStatus: "ACTIVE"}, nil
}

// seen lets the line's vantage point look at everything of the prefixes, through an engine.
func (l *Line) seen(e wire.Engine, zone string, scanner string, blocks ...netip.Prefix) {
	v := &l.Vantages[0]
	v.View.Prefixes, v.View.Scanners, v.View.Blocks = []netip.Prefix{netip.MustParsePrefix(zone)}, []netip.Addr{netip.MustParseAddr(scanner)}, blocks
	l.sets, v.Engine, l.Reader = map[string]*reach.Set{}, e, asRead{l: l}
}

// asksTwice lets a case ask again, a day apart, as often as it takes to prove a fix.
func asksTwice(t *testing.T, l *Line, ledger *oneCase) finding.Finding {
	t.Helper()
	ds := casework.Dossier{Case: ledger.c, Findings: []finding.Finding{ledger.f}}
	for range 2 {
		d := l.draft("verify")
		var err error
		if ds, err = d.lookAgain(t.Context(), ds, ds.Findings[0]); err != nil {
			t.Fatal(err)
		}
		l.Clock.(*Leaping).LeapTo(l.Clock.Now() + day)
	}
	return ds.Findings[0]
}

// While another tenant claims the address where a weakness was seen, that the port's other address refuses fixes nothing.
func TestAClaimDoesNotSendTheQuestionElsewhere(t *testing.T) {
	second := netip.MustParseAddr("2001:db8::77")
	for _, owners := range [][]string{{"astro"}, {"astro", "genomics"}, {"genomics", "astro"}} {
		s := claimed(owners...)
		for i := range s.Ports {
			if s.Ports[i].ID == "astro" {
				s.Ports[i].FixedIPs = append(s.Ports[i].FixedIPs, asset.FixedIP{Subnet: "astro", Addr: second})
			}
		}
		l, ledger := lineOn(t, s)
		l.seen(openBut{second}, "::/0", "2001:db8:9::1")
		if f := asksTwice(t, l, ledger); f.State != finding.Open || f.Negatives != 0 {
			t.Errorf("claimed by %v: asked at %v, it is %s after %d refusals", owners, f.Endpoint, f.State, f.Negatives)
		}
	}
}

// What one tenant joined to the cloud stays his to mend, whoever else routes to it; it is nobody's to be charged with meanwhile.
func TestALongerRouteFixesNothingOfAnothers(t *testing.T) {
	at := probe.Endpoint{Addr: netip.MustParseAddr("203.0.113.14"), Proto: probe.TCP, Port: 6379}
	router := func(project asset.ProjectID, to string) asset.Router {
		return asset.Router{ID: asset.RouterID(project), Project: project, AdminUp: true, External: "pub", Routes: []asset.Route{{Destination: netip.MustParsePrefix(to), NextHop: netip.MustParseAddr("10.0.0.9")}}}
	}
	own := router("mallory", "192.0.2.0/24") // with a leg in a network of his own, and a machine there
	for name, c := range map[string]struct {
		routers []asset.Router
		state   finding.State
	}{
		"his own":              {[]asset.Router{router("astro", "203.0.113.0/28")}, finding.Open},
		"and a machine there":  {[]asset.Router{router("astro", "203.0.113.0/28"), own}, finding.Open},
		"and a longer one":     {[]asset.Router{router("astro", "203.0.113.0/28"), router("mallory", "203.0.113.14/32")}, finding.Open},
		"and a shorter one":    {[]asset.Router{router("mallory", "203.0.113.0/24"), router("astro", "203.0.113.0/28")}, finding.Open},
		"his own is not there": {nil, finding.Fixed},
	} {
		t.Run(name, func(t *testing.T) {
			s := &asset.Snapshot{Cloud: "lab", Projects: []asset.Project{{ID: "mallory"}, {ID: "astro"}}, Networks: []asset.Network{{ID: "pub", External: true}}, Routers: c.routers}
			if name == "and a machine there" {
				s.Networks = append(s.Networks, asset.Network{ID: "his", Project: "mallory"})
				s.Subnets = []asset.Subnet{{ID: "his", Network: "his", Project: "mallory", CIDR: netip.MustParsePrefix("203.0.113.0/24")}}
				s.Servers = []asset.Server{{ID: "evil", Project: "mallory", Status: "ACTIVE"}}
				s.Ports = []asset.Port{
					{ID: "leg", Project: "mallory", Network: "his", Device: "mallory", DeviceOwner: "network:router_interface", AdminUp: true, FixedIPs: []asset.FixedIP{{Subnet: "his", Addr: netip.MustParseAddr("203.0.113.1")}}},
					{ID: "evil", Project: "mallory", Network: "his", Server: "evil", Device: "evil", DeviceOwner: "compute:nova", PortSecurity: true, AdminUp: true, FixedIPs: []asset.FixedIP{{Subnet: "his", Addr: at.Addr}}}}
			}
			l, ledger := lineOn(t, s)
			l.seen(openBut{}, "0.0.0.0/0", "198.51.100.1", netip.MustParsePrefix("203.0.113.0/24"))
			ledger.c.Server, ledger.f.Key, ledger.f.Endpoint = "", finding.Key{Cloud: "lab", Project: "astro", Check: "redis-open", Locus: at.String(), Zone: probe.Internet}, at
			if f := asksTwice(t, l, ledger); f.State != c.state {
				t.Errorf("it is %s after %d looks", f.State, f.Negatives)
			}
		})
	}
}

// A subnet of an external network over a machine's routed addresses says nothing of the machine: its finding stays, as long as it has them.
func TestAnExternalSubnetFixesNothing(t *testing.T) {
	for _, over := range []bool{false, true} {
		s := claimed("astro")
		if over {
			s.Subnets = append(s.Subnets, asset.Subnet{ID: "over", Network: "outside", Project: "admin", CIDR: netip.MustParsePrefix("2001:db8::/32")})
		}
		l, ledger := lineOn(t, s)
		l.seen(openBut{}, "::/0", "2001:db8:9::1")
		if f := asksTwice(t, l, ledger); f.State != finding.Open || f.Negatives > 0 {
			t.Errorf("over it: %v: it is %s after %d looks", over, f.State, f.Negatives)
		}
	}
}

// A route to the provider's own subnet makes nobody look there for the tenant who wrote it.
func TestARouteToTheProvidersSubnetIsNotFollowed(t *testing.T) {
	for _, provider := range []bool{false, true} {
		s := &asset.Snapshot{Cloud: "lab", Networks: []asset.Network{{ID: "pub", External: true}},
			Routers: []asset.Router{{ID: "r", Project: "mallory", AdminUp: true, External: "pub", Routes: []asset.Route{{Destination: netip.MustParsePrefix("203.0.113.0/24"), NextHop: netip.MustParseAddr("10.0.0.9")}}}}}
		if provider {
			s.Subnets = []asset.Subnet{{ID: "pub4", Network: "pub", CIDR: netip.MustParsePrefix("203.0.113.0/24")}}
		}
		l, _ := lineOn(t, s)
		l.seen(openBut{}, "0.0.0.0/0", "198.51.100.1", netip.MustParsePrefix("203.0.113.0/24"))
		if n := len(plan.Next(l.reach(&l.Vantages[0]), plan.Limits{Sample: 10, Control: 10}, 1).Reach); (n > 0) == provider {
			t.Errorf("the provider's: %v: %d endpoints are asked", provider, n)
		}
	}
}

// A tenant's subnet over an external network's prefix takes nothing from the machines there.
func TestATenantsSubnetHidesNoExternalMachine(t *testing.T) {
	a := netip.MustParseAddr("2001:db8:ffff::5")
	s := claimed("genomics")
	s.Routers[0].External = "outside2"
	s.Networks = append(s.Networks, asset.Network{ID: "outside2", External: true})
	s.Subnets[0].CIDR = netip.MustParsePrefix("2001:db8:ffff::/64")
	s.Ports[1].FixedIPs[0].Addr = a
	s.Subnets = append(s.Subnets, asset.Subnet{ID: "ext6", Network: "outside", Project: "admin", CIDR: netip.MustParsePrefix("2001:db8:ffff::/64")})
	s.Servers = append(s.Servers, asset.Server{ID: "astro", Project: "astro", Status: "ACTIVE"})
	s.Ports = append(s.Ports, asset.Port{ID: "astro", Project: "astro", Network: "outside", Server: "astro", Device: "astro", DeviceOwner: "compute:nova", PortSecurity: true, AdminUp: true, Groups: []asset.GroupID{"any"}, FixedIPs: []asset.FixedIP{{Subnet: "ext6", Addr: a}}})
	l, _ := lineOn(t, s)
	if h := l.holds[a]; h.Server != "astro" || h.Shared {
		t.Errorf("it is held by %+v", h)
	}
}

// Who owns a network can call any port of it one of the network service, and no filter holds there: a machine behind one may answer for
// any address, and so may a port of which only a tenant says that it is the service's.
func TestWhoMayAnswerForAnothersAddress(t *testing.T) {
	for name, c := range map[string]struct {
		network string // of whom
		port    asset.Port
		may     bool
	}{
		"a filtered machine":                   {"mallory", asset.Port{Device: "evil", DeviceOwner: "compute:nova", PortSecurity: true}, false},
		"an unfiltered machine":                {"mallory", asset.Port{Device: "evil", DeviceOwner: "compute:nova"}, true},
		"a machine on a port of the service":   {"mallory", asset.Port{Device: "evil", DeviceOwner: "network:dhcp", PortSecurity: true}, true},
		"whoever is on such a port":            {"mallory", asset.Port{Device: "dhcp-1", DeviceOwner: "network:dhcp"}, true},
		"the service, in his own network":      {"astro", asset.Port{Device: "dhcp-1", DeviceOwner: "network:dhcp"}, false},
		"the service, in a provider's network": {"admin", asset.Port{Device: "dhcp-1", DeviceOwner: "network:dhcp"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c.port.ID, c.port.Project, c.port.Network, c.port.FixedIPs = "pe", "mallory", "net", []asset.FixedIP{{Addr: netip.MustParseAddr("10.0.0.6")}}
			s := &asset.Snapshot{Cloud: "lab", Networks: []asset.Network{{ID: "pub", Project: "admin", External: true}, {ID: "net", Project: asset.ProjectID(c.network)}},
				Servers: []asset.Server{{ID: "victim", Project: "astro", Status: "ACTIVE"}, {ID: "evil", Project: "mallory", Status: "ACTIVE"}},
				Ports: []asset.Port{
					{ID: "pv", Project: "astro", Network: "net", Server: "victim", Device: "victim", DeviceOwner: "compute:nova", PortSecurity: true, AdminUp: true, FixedIPs: []asset.FixedIP{{Addr: netip.MustParseAddr("10.0.0.5")}}},
					c.port},
				FloatingIPs: []asset.FloatingIP{{ID: "f", Project: "astro", Network: "pub", Addr: netip.MustParseAddr("203.0.113.5"), Port: "pv", Fixed: netip.MustParseAddr("10.0.0.5")}}}
			l, _ := lineOn(t, s)
			if got := l.spoofable(l.holds[netip.MustParseAddr("203.0.113.5")]); got != c.may {
				t.Errorf("spoofable: %v", got)
			}
		})
	}
}
