package flow

import (
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/casework/notice"
	"demarc/internal/cloud"
	"demarc/internal/detect"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// simulated is a ledger, a cloud and a mail server in memory, with one machine of which a weakness was notified, confirmed again after the
// grace period, and approved. It notes every call and can fail one of them.
type simulated struct {
	calls  []string
	failAt int // the number of the call that fails, from 1; 0: none
	before func(call string)

	now, real int64
	doubt     string

	cases      map[string]casework.Case
	findings   []finding.Finding
	acts       []casework.Act
	due        []casework.Due
	mails      []casework.Mail
	looks      map[string][]finding.Sighting
	log        map[string][]audit.Entry
	charges    []finding.Charge
	left       map[string]int64
	then       []asset.Port
	leftovers  []casework.Leftover
	clearings  []casework.Clearing
	open       []probe.Exposure
	models     []casework.ModelUse
	coverage   probe.Coverage
	paused     bool
	mode       policy.Mode
	proofsFrom int64
	commits    []casework.Change
	commitErr  error
	logErr     error
	forged     bool // the log has none of the orders

	inventory *asset.Snapshot // as the ledger holds it, and as the next sync reads it
	ports     map[asset.PortID]asset.Port
	servers   map[asset.ServerID]asset.Server
	actions   []asset.ServerAction
	account   asset.UserID // that acts
	groups    map[asset.GroupID]asset.Group
	changes   []string // calls that change the cloud, in their order
	setErr    func(asset.PortID) error
	doErr     func(casework.MachineDo) error
	holder    func(cloud.Holding) (cloud.Holding, error)
	says      string // the recording that answers at the endpoint of the weakness
	controls  string // and at any other endpoint
	sent      []casework.Mail
	sendErr   error
}

var errSimulated = errors.New("a simulated failure")

// call notes a call and tells whether it fails.
func (w *simulated) call(name string) error {
	if w.before != nil {
		w.before(name)
	}
	w.calls = append(w.calls, name)
	if len(w.calls) == w.failAt {
		return errSimulated
	}
	return nil
}

// Times of the simulated case, policy time in µs.
const (
	simNoticed = 100 * day
	simGrace   = simNoticed + 5*day
	simNow     = simGrace + hour
)

const (
	simOwner     = "amir@astro.example"
	simOperators = "operators@cloud.example"
)

var (
	simAddr    = netip.MustParseAddr("192.0.2.10")
	simControl = netip.MustParseAddr("192.0.2.30")
)

// simSnapshot has the machine s1 of astro with two ports, the first of which is open to the world, and the machine s2 of genomics.
func simSnapshot() *asset.Snapshot {
	port := func(id, server, project, network, addr string) asset.Port {
		return asset.Port{
			ID:           asset.PortID(id),
			Server:       asset.ServerID(server),
			Device:       server,
			DeviceOwner:  "compute:nova",
			Project:      asset.ProjectID(project),
			Network:      asset.NetworkID(network),
			Groups:       []asset.GroupID{"open"},
			PortSecurity: true,
			AdminUp:      true,
			Status:       "ACTIVE",
			Revision:     7,
			FixedIPs:     []asset.FixedIP{{Subnet: asset.SubnetID("sub-" + network), Addr: netip.MustParseAddr(addr)}},
		}
	}
	rule := func(id string, port int) asset.Rule {
		return asset.Rule{
			ID:        asset.RuleID(id),
			Group:     "open",
			Direction: asset.Ingress,
			EtherType: 4,
			Protocol:  "tcp",
			PortMin:   port,
			PortMax:   port,
		}
	}
	return &asset.Snapshot{Cloud: "lab",
		Projects: []asset.Project{{ID: "astro"}, {ID: "genomics"}},
		Users:    []asset.User{{ID: "amir", Mail: simOwner, Enabled: true}, {ID: "bruno", Mail: "bruno@genomics.example", Enabled: true}},
		Grants:   []asset.Grant{{User: "amir", Project: "astro", Role: "member"}, {User: "bruno", Project: "genomics", Role: "member"}},
		Networks: []asset.Network{{ID: "outside", External: true}, {ID: "inner", Project: "astro"}},
		Subnets: []asset.Subnet{{ID: "sub-outside", Network: "outside", CIDR: netip.MustParsePrefix("192.0.2.0/24")},
			{ID: "sub-inner", Network: "inner", Project: "astro", CIDR: netip.MustParsePrefix("10.0.0.0/24")}},
		Groups: []asset.Group{
			{ID: "open", Project: "astro", Rules: []asset.Rule{rule("r1", 6379), rule("r2", 22)}},
			{ID: "shut", Project: "astro"},
		},
		Servers: []asset.Server{
			{ID: "s1", Project: "astro", Creator: "amir", Status: "ACTIVE"},
			{ID: "s2", Project: "genomics", Creator: "bruno", Status: "ACTIVE"},
		},
		Ports: []asset.Port{
			port("p1", "s1", "astro", "outside", simAddr.String()),
			port("p2", "s1", "astro", "inner", "10.0.0.10"),
			port("p3", "s2", "genomics", "outside", simControl.String()),
		},
	}
}

// newSimulated is a world in which the gate lets the action through, and the pipeline on it.
func newSimulated(t testing.TB) (*Line, *simulated) {
	t.Helper()
	w := &simulated{
		now:       simNow,
		real:      simNow,
		mode:      policy.Enforce,
		cases:     map[string]casework.Case{},
		looks:     map[string][]finding.Sighting{},
		log:       map[string][]audit.Entry{},
		left:      map[string]int64{},
		inventory: simSnapshot(),
		ports:     map[asset.PortID]asset.Port{},
		servers:   map[asset.ServerID]asset.Server{},
		groups:    map[asset.GroupID]asset.Group{},
		says:      "redis-open",
		controls:  "openssh-debian-12",
		coverage:  probe.Coverage{Complete: true, Began: simNow - minute, RealAt: simNow - minute},
	}
	for _, p := range w.inventory.Ports {
		w.ports[p.ID] = p
	}
	for _, s := range w.inventory.Servers {
		w.servers[s.ID] = s
	}
	for _, g := range w.inventory.Groups {
		w.groups[g.ID] = g
	}
	w.groups["quarantine"] = asset.Group{ID: "quarantine"}
	w.log[""] = []audit.Entry{{Kind: "mode.changed", Detail: json.RawMessage(`{"event":"mode.changed","mode":"enforce"}`)}}
	l := w.line(t)
	w.putCase(l)
	return l, w
}

// simParts is what every simulated world is made of, read once.
type simParts struct {
	policy *policy.Policy
	model  *duty.Model
	checks []detect.Check
	says   map[string]probe.Facts // what a recorded server says, by the name of the recording
}

var simDefaults = sync.OnceValue(func() simParts {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	p, err := policy.Default()
	must(err)
	m, err := duty.Parse("default.yaml", []byte(duty.DefaultText()))
	must(err)
	checks, err := detect.Load()
	must(err)
	rs, err := detect.LoadRecordings(detect.Embedded())
	must(err)
	out := simParts{
		p,
		m,
		checks,
		map[string]probe.Facts{"closed": {Outcome: probe.Closed}, "silent": {Outcome: probe.Filtered}, "failed": {Outcome: probe.Failed}},
	}
	for i := range rs {
		out.says[rs[i].Name] = rs[i].Observe(checks).Facts
	}
	return out
})

// line makes the pipeline.
func (w *simulated) line(t testing.TB) *Line {
	t.Helper()
	parts := simDefaults()
	l := New(
		Config{
			Cloud:     "lab",
			Policy:    parts.policy.InMode(policy.Enforce),
			Checks:    parts.checks,
			Ledger:    simLedger{simulated: w},
			Reader:    simReader{w},
			Actor:     simActor{w},
			Sender:    simSender{w},
			Clock:     simClock{w},
			Loopback:  true,
			Overtakes: 1,
			Model:     parts.model,
			Contacts:  notice.Contacts{Operators: simOperators, Provider: "provider@cloud.example", Domain: "cloud.example"},
			Vantages: []Vantage{
				{
					Vantage: probe.Vantage{Name: "v1", Zone: probe.Internet, Sources: []netip.Addr{netip.MustParseAddr("198.51.100.1")}},
					Engine:  simEngine{w},
					View: reach.View{
						Zone:     probe.Internet,
						Prefixes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")},
						Scanners: []netip.Addr{netip.MustParseAddr("198.51.100.1")},
					},
				},
			},
		},
	)
	l.know(asset.NewIndex(w.inventory))
	if err := l.readMode(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.calls = nil
	return l
}

// putCase puts the case, its finding, and what the audit log says of both into the ledger.
func (w *simulated) putCase(l *Line) {
	at := probe.Endpoint{Addr: simAddr, Proto: probe.TCP, Port: 6379}
	f := finding.Finding{
		ID:       "f1",
		Case:     "c1",
		Key:      finding.Key{Cloud: "lab", Server: "s1", Port: "p1", Check: "redis-unauth", Locus: finding.LocusOf(at), Zone: probe.Internet},
		Project:  "astro",
		State:    finding.Open,
		Grade:    finding.Proved,
		Class:    "E",
		Endpoint: at,
		Vantage:  "v1",
		Version:  1,
	}
	f.Duty = l.charge("guest-os", "configure", "s1", "astro")
	mail := func(step casework.Step, at, deadline int64) casework.Notice {
		return casework.Notice{Step: step, To: casework.Owner, Recipient: simOwner, MessageID: string(step), AcceptedAt: at, Deadline: deadline,
			Announced: casework.Announced{End: policy.Quarantine, Class: "E", Policy: 1, Findings: []string{"f1"}, Full: true}}
	}
	approval := casework.Approval{By: "olga", At: simGrace + minute}
	c := casework.Case{
		ID:        "c1",
		Cloud:     "lab",
		Server:    "s1",
		Project:   "astro",
		Party:     duty.Customer,
		Track:     casework.Vulnerability,
		Zone:      probe.Internet,
		Class:     "E",
		State:     casework.Queued,
		OpenedAt:  simNoticed - 2*hour,
		ClockFrom: simNoticed,
		Due:       simNoticed + 4*day,
		FinalAt:   simGrace - day,
		GraceEnds: simGrace,
		QueuedAt:  simGrace + minute,
		Told:      true,
		Version:   1,
		Notices:   []casework.Notice{mail(casework.StepNotice, simNoticed, simNoticed+4*day), mail(casework.StepFinal, simGrace-day, simGrace)},
		Approvals: []casework.Approval{approval},
	}
	w.cases["c1"], w.findings = c, []finding.Finding{f}
	w.charges = []finding.Charge{{Finding: "f1", At: simNoticed - 2*hour, Duty: f.Duty}}
	w.enter("c1", simNoticed-2*hour, Happening{Event: "finding.opened", Finding: "f1", Class: "E", Grade: finding.Proved, ServerID: "s1"})
	w.looked("f1", simNoticed-2*hour, finding.Vulnerable)
	w.looked("f1", simNoticed-hour, finding.Vulnerable)
	for i := range c.Notices {
		w.enter("c1", c.Notices[i].AcceptedAt, Happening{Event: "mail.accepted", Notice: &c.Notices[i]})
	}
	w.looked("f1", simGrace+minute, finding.Vulnerable)
	w.enter("c1", simGrace+minute, Happening{Event: "case.queued"})
	w.enter("c1", approval.At, Happening{Event: "people.approved", Approval: &approval})
	w.looked("f1", simNow-minute, finding.Vulnerable)
}

// looked puts a check into the table and into the audit log.
func (w *simulated) looked(id string, at int64, v finding.Verdict) {
	w.looks[id] = append(w.looks[id], finding.Sighting{Finding: id, At: at, RealAt: at, Verdict: v})
	w.enter("c1", at, Happening{Event: "looked." + string(v), Finding: id})
}

func (w *simulated) enter(id string, at int64, h Happening) {
	text, err := json.Marshal(h)
	if err != nil {
		panic(err)
	}
	w.log[id] = append(w.log[id], audit.Entry{Seq: int64(len(w.log[id])), At: at, Kind: h.Event, Case: id, Detail: text})
}

// change alters the case.
func (w *simulated) change(alter func(*casework.Case)) {
	c := w.cases["c1"]
	alter(&c)
	w.cases["c1"] = c
}

// act is the action with an id, as the ledger holds it last.
func (w *simulated) act(id string) casework.Act {
	for _, a := range slices.Backward(w.acts) {
		if a.ID == id {
			return a
		}
	}
	return casework.Act{}
}
