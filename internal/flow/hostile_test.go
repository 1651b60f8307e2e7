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

// The set-ups in which somebody else could have answered for a machine's address, and those in which nobody could. The gate must refuse to
// act on a machine because of an answer that a neighbour could have sent. A port that never sent anything must not protect a machine.
func TestNeighboursAreThoseThatCouldHaveAnswered(t *testing.T) {
	six, four, every := netip.MustParsePrefix("2001:db8::5/128"), netip.MustParsePrefix("10.0.0.5/32"), netip.MustParsePrefix("0.0.0.0/0")
	plugged := func(p asset.Port) asset.Port {
		p.Device, p.DeviceOwner, p.Status = "evil", "compute:nova", "ACTIVE"
		return p
	}
	paired := func(p netip.Prefix) asset.Port {
		return plugged(asset.Port{PortSecurity: true, Pairs: []asset.AddressPair{{Prefix: p}}})
	}
	open, filtered, down := plugged(asset.Port{}), plugged(asset.Port{PortSecurity: true}), asset.Port{Status: "DOWN"}
	service := asset.Port{Device: "dhcp-1", DeviceOwner: "network:dhcp", Status: "ACTIVE"}
	disguised := asset.Port{Device: "evil", DeviceOwner: "network:dhcp", PortSecurity: true, Status: "ACTIVE"}
	silent := asset.Port{Device: "evil", DeviceOwner: "compute:nova", Status: "DOWN"}
	unbound, spare := silent, paired(four)
	unbound.Unbound = true
	spare.Device, spare.DeviceOwner, spare.Status = "", "", "DOWN"
	astros := plugged(asset.Port{Project: "astro"})
	for name, c := range map[string]struct {
		network string // of whom it is; "pub" is the external one
		port    asset.Port
		then    []asset.Port // as the inventory had it before
		gone    bool         // it is not there any more
		may     bool
		own     bool
	}{
		"ARP: a machine without port security":                 {network: "mallory", port: open, may: true},
		"ND: an address pair of the IPv6 address":              {network: "mallory", port: paired(six), may: true},
		"an address pair of the address":                       {network: "mallory", port: paired(four), may: true},
		"an address pair of everything":                        {network: "mallory", port: paired(every), may: true},
		"a machine on the floating IP's network":               {network: "pub", port: open, may: true},
		"a machine on a port called the service's":             {network: "mallory", port: disguised, may: true},
		"another device on a port called the service's":        {network: "mallory", port: service, may: true},
		"of the same project, in its own network":              {network: "astro", port: astros, may: true, own: true},
		"of the same project, in another's network":            {network: "mallory", port: astros, may: true},
		"bound while it was checked, and unbound since":        {network: "mallory", port: down, then: []asset.Port{open}, may: true},
		"there while it was checked, and deleted since":        {network: "mallory", then: []asset.Port{open}, gone: true, may: true},
		"its port security was off, and is on since":           {network: "mallory", port: filtered, then: []asset.Port{open}, may: true},
		"a running machine whose agent is silent":              {network: "mallory", port: silent, may: true},
		"a port bound to no host that names a machine":         {network: "pub", port: unbound},
		"a filtered machine":                                   {network: "mallory", port: filtered},
		"the service, in its own network":                      {network: "astro", port: service},
		"the service, in a provider's network":                 {network: "admin", port: service},
		"a port that was never bound":                          {network: "mallory", port: down, then: []asset.Port{down}},
		"a port that was never bound, on the external network": {network: "pub", port: down},
		"a pair on a port that was never bound":                {network: "mallory", port: spare},
	} {
		t.Run(name, func(t *testing.T) {
			network := asset.NetworkID("net")
			if c.network == "pub" {
				network, c.network = "pub", "astro"
			}
			dress := func(p asset.Port) asset.Port {
				p.ID, p.Network, p.FixedIPs = "pe", network, []asset.FixedIP{{Addr: netip.MustParseAddr("10.0.0.6")}}
				if p.Project == "" {
					p.Project = "mallory"
				}
				if p.DeviceOwner == "compute:nova" || p.Device == "evil" {
					p.Server = "evil"
				}
				return p
			}
			s := &asset.Snapshot{Cloud: "lab",
				Networks: []asset.Network{{ID: "pub", Project: "admin", External: true}, {ID: "net", Project: asset.ProjectID(c.network)}},
				Servers:  []asset.Server{{ID: "victim", Project: "astro", Status: "ACTIVE"}, {ID: "evil", Project: "mallory", Status: "ACTIVE"}},
				Ports: []asset.Port{{ID: "pv", Project: "astro", Network: "net", Server: "victim", Device: "victim", DeviceOwner: "compute:nova",
					PortSecurity: true, AdminUp: true, FixedIPs: []asset.FixedIP{{Addr: netip.MustParseAddr("10.0.0.5")}, {Addr: six.Addr()}}}},
				FloatingIPs: []asset.FloatingIP{{ID: "f", Project: "astro", Network: "pub", Addr: netip.MustParseAddr("203.0.113.5"), Port: "pv", Fixed: netip.MustParseAddr("10.0.0.5")}}}
			if !c.gone {
				s.Ports = append(s.Ports, dress(c.port))
			}
			l, ledger := lineOn(t, s)
			for _, p := range c.then {
				ledger.then = append(ledger.then, dress(p))
			}
			got, err := l.neighbours(t.Context(), l.holds[netip.MustParseAddr("203.0.113.5")], 1)
			if err != nil {
				t.Fatal(err)
			}
			if (len(got) > 0) != c.may || len(got) > 0 && got[0].Own != c.own {
				t.Errorf("%+v", got)
			}
		})
	}
}
