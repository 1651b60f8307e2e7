package flow

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

var forwardAddr = netip.MustParseAddr("192.0.2.20")

// forwarding is a cloud in which one floating IP forwards ports to machines of two projects, of which the second lets nobody in; others
// may claim its address.
func forwarding(claim ...asset.Port) *asset.Snapshot {
	inside := func(owner string, addr string, group asset.GroupID) asset.Port {
		return asset.Port{ID: asset.PortID(owner), Project: asset.ProjectID(owner), Network: "in", Server: asset.ServerID(owner), Device: owner, DeviceOwner: "compute:nova", PortSecurity: true, AdminUp: true,
			Groups: []asset.GroupID{group}, FixedIPs: []asset.FixedIP{{Subnet: "in4", Addr: netip.MustParseAddr(addr)}}}
	}
	return &asset.Snapshot{Cloud: "lab", Projects: []asset.Project{{ID: "astro"}, {ID: "genomics"}}, Networks: []asset.Network{{ID: "out", External: true}, {ID: "in"}},
		Servers: []asset.Server{{ID: "astro", Project: "astro", Status: "ACTIVE"}, {ID: "genomics", Project: "genomics", Status: "ACTIVE"}, {ID: "other", Project: "other", Status: "ACTIVE"}},
		Ports:   append([]asset.Port{inside("astro", "10.0.0.5", "any"), inside("genomics", "10.0.0.6", "none")}, claim...),
		Groups:  []asset.Group{{ID: "any", Rules: []asset.Rule{{ID: "r", Group: "any", Direction: asset.Ingress, EtherType: 4, PortMin: asset.AnyPort, PortMax: asset.AnyPort}}}, {ID: "none"}},
		FloatingIPs: []asset.FloatingIP{{ID: "fip", Project: "astro", Network: "out", Addr: forwardAddr, Forwardings: []asset.Forwarding{
			{ID: "w", Protocol: "tcp", External: 8080, Port: "astro", InternalAddr: netip.MustParseAddr("10.0.0.5"), Internal: 80},
			{ID: "v", Protocol: "tcp", External: 9000, ExternalLast: 9003, Port: "astro", InternalAddr: netip.MustParseAddr("10.0.0.5"), Internal: 90, InternalLast: 93},
			{ID: "s", Protocol: "tcp", External: 2222, Port: "genomics", InternalAddr: netip.MustParseAddr("10.0.0.6"), Internal: 22}}}}}
}

// openLedger is a ledger of what answers.
type openLedger struct {
	sweptLedger
	open []probe.Exposure
}

func (o openLedger) OpenExposures(context.Context, string) ([]probe.Exposure, error) {
	return o.open, nil
}

func forwardLine(s *asset.Snapshot, answers ...uint16) (*Line, []probe.Exposure) {
	var open []probe.Exposure
	for _, p := range answers {
		open = append(open, probe.Exposure{Endpoint: probe.Endpoint{Addr: forwardAddr, Proto: probe.TCP, Port: p}})
	}
	all := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	l := New(Config{Cloud: "lab", Policy: &policy.Policy{}, Clock: NewLeaping(1), Ledger: openLedger{open: open},
		Vantages: []Vantage{{Vantage: probe.Vantage{Name: "v"}, View: reach.View{Zone: probe.Internet, Prefixes: all, Scanners: []netip.Addr{netip.MustParseAddr("198.51.100.10")}}}}})
	l.know(asset.NewIndex(s))
	return l, open
}

// another claims the address as its own.
var another = asset.Port{ID: "other", Project: "other", Network: "out", Server: "other", Device: "other", DeviceOwner: "compute:nova", PortSecurity: true, AdminUp: true, Groups: []asset.GroupID{"any"},
	FixedIPs: []asset.FixedIP{{Addr: forwardAddr}}}

// What answers behind a port forwarding listens on the machine that the forwarding leads to; what another claims too listens nowhere.
func TestWhatAForwardingLeadsToListensThere(t *testing.T) {
	t.Parallel()
	for want, claim := range map[string][]asset.Port{"map[astro:[8080 9002] genomics:[2222]]": nil, "map[]": {another}} {
		l, _ := forwardLine(forwarding(claim...), 8080, 9002, 2222, 443)
		listening, _, err := l.listening(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ports := map[asset.ServerID][]uint16{}
		for s, es := range listening {
			for _, e := range es {
				ports[s] = append(ports[s], e.Port)
			}
		}
		if got := fmt.Sprint(ports); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// What is behind a port forwarding counts for the project that it leads to, answering or silent, and nothing that another claims too
// counts for anybody.
func TestWhatAForwardingLeadsToCounts(t *testing.T) {
	t.Parallel()
	for want, claim := range map[string][]asset.Port{"astro: 1 answer, 1 open and silent; genomics: 1 leak, 1 denied": nil, "": {another}} {
		s := forwarding(claim...)
		s.FloatingIPs[0].Forwardings = append(s.FloatingIPs[0].Forwardings, asset.Forwarding{ID: "x", Protocol: "tcp", External: 3333, Port: "genomics", InternalAddr: netip.MustParseAddr("10.0.0.6"), Internal: 33})
		l, open := forwardLine(s, 8080, 2222, 443)
		v := &l.Vantages[0]
		set := l.reach(v)
		var h harvest
		for port, outcome := range map[uint16]probe.Outcome{8080: probe.Open, 9001: probe.Closed, 2222: probe.Open, 3333: probe.Filtered, 443: probe.Open} {
			e, holder := probe.Endpoint{Addr: forwardAddr, Proto: probe.TCP, Port: port}, l.holds[forwardAddr]
			h.sights = append(h.sights, sight{holder: holder, config: set.LookupAt(e, holder.Port), Observation: probe.Observation{Endpoint: e, Facts: probe.Facts{Outcome: outcome}}})
		}
		got, all := l.standings(v, set, open, []harvest{h}), ""
		if a, g := got["astro"], got["genomics"]; a != nil && g != nil {
			all = fmt.Sprintf("astro: %d answer, %d open and silent; genomics: %d leak, %d denied", a.OpenAnswers, a.OpenSilent, g.DeniedAnswers, g.DeniedSilent)
		} else if len(got) > 0 {
			all = fmt.Sprintf("%v", got)
		}
		if all != want {
			t.Errorf("%q, want %q", all, want)
		}
	}
}
