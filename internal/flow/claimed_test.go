package flow

import (
	"context"
	"net/netip"
	"testing"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// oneCase is a ledger with one case and one finding, which keeps what is written.
type oneCase struct {
	Ledger
	c       casework.Case
	f       finding.Finding
	written []casework.Change
	then    []asset.Port // versions of ports that the inventory held before
}

func (o *oneCase) Case(context.Context, access.Scope, string) (casework.Case, error) { return o.c, nil }

func (o *oneCase) Findings(context.Context, access.Scope, finding.Filter) ([]finding.Finding, error) {
	return []finding.Finding{o.f}, nil
}

func (o *oneCase) OpenExposures(context.Context, string) ([]probe.Exposure, error) { return nil, nil }

func (o *oneCase) ActsOn(context.Context, string, asset.ServerID) ([]casework.Act, error) {
	return nil, nil
}

func (o *oneCase) BindingsAt(context.Context, access.Scope, netip.Addr, int64) ([]asset.Binding, error) {
	return nil, nil
}

func (o *oneCase) Commit(_ context.Context, c casework.Change) error {
	o.written = append(o.written, c)
	return nil
}

func (o *oneCase) PortsWithin(context.Context, string, []asset.NetworkID, int64) ([]asset.Port, error) {
	return o.then, nil
}

var claimedAddr = netip.MustParseAddr("2001:db8::5")

// claimed is a cloud in which servers of several projects have one IPv6 address, each on a network of its own behind a router of its own.
func claimed(owners ...string) *asset.Snapshot {
	s := &asset.Snapshot{Cloud: "lab", Networks: []asset.Network{{ID: "outside", External: true}}, Groups: []asset.Group{{ID: "any", Rules: []asset.Rule{{ID: "r", Direction: asset.Ingress, EtherType: 6, PortMin: asset.AnyPort, PortMax: asset.AnyPort}}}}}
	for _, o := range owners {
		id := asset.NetworkID(o)
		s.Projects = append(s.Projects, asset.Project{ID: asset.ProjectID(o)})
		s.Networks = append(s.Networks, asset.Network{ID: id, Project: asset.ProjectID(o)})
		s.Subnets = append(s.Subnets, asset.Subnet{ID: asset.SubnetID(o), Network: id, Project: asset.ProjectID(o), CIDR: netip.MustParsePrefix("2001:db8::/64")})
		s.Routers = append(s.Routers, asset.Router{ID: asset.RouterID(o), Project: asset.ProjectID(o), AdminUp: true, External: "outside"})
		s.Servers = append(s.Servers, asset.Server{ID: asset.ServerID(o), Project: asset.ProjectID(o), Status: "ACTIVE"})
		s.Ports = append(s.Ports,
			asset.Port{ID: asset.PortID("leg " + o), Project: asset.ProjectID(o), Network: id, Device: o, DeviceOwner: "network:router_interface", AdminUp: true, FixedIPs: []asset.FixedIP{{Subnet: asset.SubnetID(o), Addr: netip.MustParseAddr("2001:db8::1")}}},
			asset.Port{ID: asset.PortID(o), Project: asset.ProjectID(o), Network: id, Server: asset.ServerID(o), Device: o, DeviceOwner: "compute:nova", PortSecurity: true, AdminUp: true, Groups: []asset.GroupID{"any"}, FixedIPs: []asset.FixedIP{{Subnet: asset.SubnetID(o), Addr: claimedAddr}}})
	}
	return s
}

// lineOn is a line on a cloud, in which one weakness of astro's machine is open, was told, and is asked about.
func lineOn(t *testing.T, s *asset.Snapshot) (*Line, *oneCase) {
	t.Helper()
	p, err := policy.Default()
	if err != nil {
		t.Fatal(err)
	}
	at := probe.Endpoint{Addr: claimedAddr, Proto: probe.TCP, Port: 6379}
	ledger := &oneCase{c: casework.Case{ID: "c1", Cloud: "lab", Server: "astro", Project: "astro", Party: duty.Customer, State: casework.Notified, Version: 1},
		f: finding.Finding{ID: "f1", Case: "c1", Key: finding.Key{Cloud: "lab", Server: "astro", Port: "astro", Check: "redis-open", Locus: finding.LocusOf(at), Zone: probe.Internet}, Project: "astro", State: finding.Open, Endpoint: at, Vantage: "v1", Version: 1}}
	l := New(Config{Cloud: "lab", Policy: p, Ledger: ledger, Clock: NewLeaping(day), Model: &duty.Model{}, Vantages: []Vantage{{Vantage: probe.Vantage{Name: "v1", Zone: probe.Internet}, View: reach.View{Zone: probe.Internet}}}})
	l.know(asset.NewIndex(s))
	return l, ledger
}

// swept is what a sweep brings home that got one answer at the address.
func swept(l *Line, outcome probe.Outcome, config reach.Answer) harvest {
	at := probe.Endpoint{Addr: claimedAddr, Proto: probe.TCP, Port: 6379}
	return harvest{sights: []sight{{holder: l.holds[claimedAddr], config: config, Observation: probe.Observation{Endpoint: at, SentAt: day, RealAt: day, Facts: probe.Facts{Outcome: outcome}}}}}
}

// What answers at an IPv6 address that two ports claim is nobody's: nobody is charged with it, and nothing of either counts as fixed by
// it, in whatever order the cloud lists the two. Alone, the same answers do both.
func TestWhatAnswersAtAnAddressThatTwoClaimIsNobodys(t *testing.T) {
	for name, c := range map[string]struct {
		owners []string
		counts bool
	}{"alone": {[]string{"astro"}, true}, "the other first": {[]string{"genomics", "astro"}, false}, "the other last": {[]string{"astro", "genomics"}, false}, "three": {[]string{"genomics", "astro", "third"}, false}} {
		t.Run(name, func(t *testing.T) {
			l, ledger := lineOn(t, claimed(c.owners...))
			if l.holds[claimedAddr].Shared == c.counts {
				t.Errorf("held by %+v", l.holds[claimedAddr])
			}
			v := &l.Vantages[0]
			if got := l.claims(v, swept(l, probe.Open, reach.Answer{Held: true})); (len(got) == 1) != c.counts {
				t.Errorf("%d weaknesses are charged to %v", len(got), c.owners)
			}
			if err := l.judge(t.Context(), v, swept(l, probe.Closed, reach.Answer{Held: true, Zone: true, Scanner: true})); err != nil {
				t.Fatal(err)
			}
			looks := 0
			for _, w := range ledger.written {
				looks += len(w.Sightings)
			}
			if (looks == 1) != c.counts {
				t.Errorf("a sweep that was refused there counts as %d looks at the finding", looks)
			}
			if at, ok, shared := l.whereNow(ledger.f); ok != c.counts || shared == c.counts {
				t.Errorf("it is asked again at %v: %v, shared %v", at, ok, shared)
			}
		})
	}
}

// A case that asks again while another claims the address learns nothing, and asks later.
func TestAFindingIsNotFixedWhileAnotherClaimsItsAddress(t *testing.T) {
	l, ledger := lineOn(t, claimed("astro", "genomics"))
	d := l.draft("verify")
	ds, err := d.lookAgain(t.Context(), casework.Dossier{Case: ledger.c, Findings: []finding.Finding{ledger.f}}, ledger.f)
	if err != nil {
		t.Fatal(err)
	}
	if f := ds.Findings[0]; f.State != finding.Open || f.Negatives != 0 || ds.Case.State != casework.Notified || len(d.change.Sightings) > 0 || len(d.news) > 0 {
		t.Errorf("%+v, %d sightings, %v", f, len(d.change.Sightings), d.news)
	}
	if len(d.change.Arm) != 1 || d.change.Arm[0].Timer != casework.TimerRecheck || d.change.Arm[0].At <= d.now {
		t.Errorf("it is not asked again: %+v", d.change.Arm)
	}
}
