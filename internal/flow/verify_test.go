package flow

import (
	"net/netip"
	"slices"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/cloud"
	"demarc/internal/finding"
	"demarc/internal/probe"
)

// What a check shows counts for the finding, where it is certain that the machine answered. What shows nothing is asked again.
func TestCheckCountsOnlyWhereTheMachineAnswered(t *testing.T) {
	t.Parallel()
	restricted := restrictedBy(casework.ActQuarantine)
	otherCase := func(w *simulated) {
		restricted(w)
		w.acts[0].Case = "c9"
		w.change(func(c *casework.Case) { c.State, c.Act = casework.Notified, "" })
	}
	notified := func(w *simulated) { w.change(func(c *casework.Case) { c.State = casework.Notified }) }
	unplugged := func(w *simulated) { w.inventory.Ports[0].FixedIPs = nil }
	elsewhere := func(w *simulated) { w.inventory.Ports[0].Server, w.inventory.Ports[0].Device = "s2", "s2" }
	sibling := func(w *simulated) {
		w.inventory.Servers = append(w.inventory.Servers, asset.Server{ID: "s3", Project: "astro", Status: "ACTIVE"})
		w.inventory.Ports[0].Server, w.inventory.Ports[0].Device = "s3", "s3"
	}
	quarantined := func(w *simulated) {
		w.inventory.Groups = append(w.inventory.Groups, asset.Group{ID: "quarantine", Project: "demarc"})
		w.inventory.Ports[0].Groups = []asset.GroupID{"quarantine"}
	}
	moves := func(w *simulated) {
		w.holder = func(h cloud.Holding) (cloud.Holding, error) { h.Server = "s2"; return h, nil }
	}
	both := func(fs ...func(*simulated)) func(*simulated) {
		return func(w *simulated) {
			for _, f := range fs {
				f(w)
			}
		}
	}
	for name, c := range map[string]struct {
		world   func(*simulated)
		verdict finding.Verdict // written, "" none
		state   finding.State   // of the finding afterwards
		again   int64           // when it is asked again, 0: as the case says
	}{
		"it is there":         {notified, finding.Vulnerable, finding.Open, 0},
		"it refuses":          {both(notified, func(w *simulated) { w.says = "closed" }), finding.ClosedPort, finding.Open, 0},
		"it wants a password": {both(notified, func(w *simulated) { w.says = "redis-password" }), finding.NotVulnerable, finding.Open, 0},
		"it is silent":        {both(notified, func(w *simulated) { w.says = "silent" }), finding.NoAnswer, finding.Open, 0},
		"the probe failed":    {both(notified, func(w *simulated) { w.says = "failed" }), "", finding.Open, simNow + hour},
		"the machine is off": {both(notified, func(w *simulated) {
			w.says = "silent"
			w.inventory.Servers[0].Status = "SHUTOFF"
		}), "", finding.Open, simNow + day},
		"no rule leads to it":            {both(notified, quarantined), finding.Removed, finding.Open, 0},
		"a leftover quarantine":          {both(notified, quarantined, func(w *simulated) { w.leftovers = []casework.Leftover{{Kind: casework.LeftoverPort, Port: "p1"}} }), "", finding.Open, simNow + hour},
		"a leftover of another":          {both(notified, quarantined, func(w *simulated) { w.leftovers = []casework.Leftover{{Kind: casework.LeftoverPort, Port: "p3"}} }), finding.Removed, finding.Open, 0},
		"the quarantine of a void order": {both(otherCase, quarantined, func(w *simulated) { w.acts[0].State = casework.ActVoid }), "", finding.Open, simNow + hour},
		"another answers for it":         {both(notified, moves), "", finding.AttributionHold, 0},
		"another answers, nobody is notified": {both(moves, func(w *simulated) {
			w.change(func(c *casework.Case) { c.State, c.Told, c.ClockFrom, c.Notices = casework.New, false, 0, nil })
		}), "", finding.Dropped, 0},
		"another answers, while quarantined": {both(restricted, moves), "", finding.Open, simNow + hour},
		"unplugged":                          {both(notified, unplugged), finding.Removed, finding.Open, 0},
		"unplugged before the notice": {both(unplugged, func(w *simulated) {
			w.change(func(c *casework.Case) { c.State, c.Told, c.ClockFrom, c.Notices = casework.New, false, 0, nil })
		}), finding.Removed, finding.Open, 0},
		"unplugged before it was confirmed": {both(unplugged, func(w *simulated) {
			w.change(func(c *casework.Case) { c.State, c.Told, c.ClockFrom, c.Notices = casework.New, false, 0, nil })
			w.findings[0].State = finding.Suspicion
		}), "", finding.Dropped, 0},
		"unplugged while quarantined":       {both(restricted, unplugged), "", finding.Open, simNow + hour},
		"unplugged, quarantined by another": {both(otherCase, unplugged), "", finding.Open, simNow + hour},
		"plugged in elsewhere":              {both(notified, elsewhere), "", finding.AttributionHold, 0},
		"plugged in to a sibling":           {both(notified, sibling), "", finding.AttributionHold, 0},
		"altered each time": {both(notified, func(w *simulated) {
			w.holder = func(h cloud.Holding) (cloud.Holding, error) { h.PortRevision++; return h, nil }
		}), "", finding.Open, simNow + hour},
		"altered once": {both(notified, func(w *simulated) {
			first := true
			w.holder = func(h cloud.Holding) (cloud.Holding, error) {
				if first {
					h.PortRevision++
				}
				first = false
				return h, nil
			}
		}), finding.Vulnerable, finding.Open, 0},
		"restarted once": {both(notified, func(w *simulated) {
			first := true
			w.holder = func(h cloud.Holding) (cloud.Holding, error) {
				if first {
					h.ServerStatus = "REBOOT"
				}
				first = false
				return h, nil
			}
		}), finding.Vulnerable, finding.Open, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l, w := newSimulated(t)
			c.world(w)
			l.know(asset.NewIndex(w.inventory))
			before := len(w.looks["f1"])
			if err := l.recheck(t.Context(), "c1"); err != nil {
				t.Fatal(err)
			}
			var verdict finding.Verdict
			if n := len(w.looks["f1"]); n > before {
				verdict = w.looks["f1"][n-1].Verdict
			}
			if got := w.findings[0].State; verdict != c.verdict || got != c.state {
				t.Errorf("written as %q, the finding is %s; want %q, %s", verdict, got, c.verdict, c.state)
			}
			if c.again > 0 && !slices.Contains(w.due, casework.Due{Case: "c1", Timer: casework.TimerRecheck, At: c.again}) {
				t.Errorf("asked again: %+v", w.due)
			}
		})
	}
}

// The inventory is read again before a check where it is older than the gate wants a binding to be, or not complete.
func TestCheckBeginsWithAFreshInventory(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		world func(*Line, *simulated)
		syncs int
	}{
		"fresh":          {func(*Line, *simulated) {}, 0},
		"as old as may":  {func(l *Line, w *simulated) { w.coverage.Began = simNow - l.Policy.Freshness.Binding.Micros() }, 1},
		"just younger":   {func(l *Line, w *simulated) { w.coverage.Began = simNow - l.Policy.Freshness.Binding.Micros() + 1 }, 0},
		"of this moment": {func(_ *Line, w *simulated) { w.coverage.Began, w.coverage.RealAt = simNow, simNow }, 0},
		"of the future":  {func(_ *Line, w *simulated) { w.coverage.Began, w.coverage.RealAt = simNow+1, simNow+1 }, 1},
		"incomplete":     {func(_ *Line, w *simulated) { w.coverage.Complete = false }, 1},
	} {
		l, w := newSimulated(t)
		c.world(l, w)
		if err := l.fresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := w.count("sync"); got != c.syncs {
			t.Errorf("%s: %d syncs", name, got)
		}
	}
}

// A path is shown to work by an endpoint of another machine that runs and that the rules open.
func TestPathIsShownToWorkByAnotherMachine(t *testing.T) {
	t.Parallel()
	at := func(addr netip.Addr, config string) probe.Exposure {
		return probe.Exposure{Endpoint: probe.Endpoint{Addr: addr, Proto: probe.TCP, Port: 22}, Config: config}
	}
	for name, c := range map[string]struct {
		open []probe.Exposure
		off  bool
		ok   bool
	}{
		"another machine's":        {[]probe.Exposure{at(simControl, configOpen)}, false, true},
		"the machine's own":        {[]probe.Exposure{at(simAddr, configOpen)}, false, false},
		"its own, and another's":   {[]probe.Exposure{at(simAddr, configOpen), at(simControl, configOpen)}, false, true},
		"denied, but answering":    {[]probe.Exposure{at(simControl, "denied")}, false, false},
		"of a machine that is off": {[]probe.Exposure{at(simControl, configOpen)}, true, false},
		"of nobody":                {[]probe.Exposure{at(netip.MustParseAddr("192.0.2.99"), configOpen)}, false, false},
		"none":                     {nil, false, false},
	} {
		l, w := newSimulated(t)
		w.open = c.open
		if c.off {
			l.x.Servers["s2"].Status = "SHUTOFF"
		}
		e, ok, err := l.control(t.Context(), &l.Vantages[0], w.findings[0])
		if err != nil || ok != c.ok || ok && e.Addr != simControl {
			t.Errorf("%s: %v, %t, %v", name, e, ok, err)
		}
	}
}

// A finding is asked for at the address where it was seen while the port has it, else at another of the port's own; an address that others
// claim is asked by nobody.
func TestFindingIsAskedForAtAnAddressOfItsPort(t *testing.T) {
	t.Parallel()
	other := netip.MustParseAddr("192.0.2.11")
	for name, c := range map[string]struct {
		world      func(*simulated, *finding.Finding)
		at         netip.Addr
		ok, shared bool
	}{
		"where it was seen":  {func(*simulated, *finding.Finding) {}, simAddr, true, false},
		"at another address": {func(w *simulated, _ *finding.Finding) { w.inventory.Ports[0].FixedIPs[0].Addr = other }, other, true, false},
		"at one of two": {func(w *simulated, _ *finding.Finding) {
			w.inventory.Ports[0].FixedIPs = append(w.inventory.Ports[0].FixedIPs, asset.FixedIP{Subnet: "sub-outside", Addr: other})
		}, simAddr, true, false},
		"nowhere": {func(w *simulated, _ *finding.Finding) { w.inventory.Ports[0].FixedIPs = nil }, netip.Addr{}, false, false},
		"the port is gone": {func(w *simulated, _ *finding.Finding) {
			w.inventory.Ports = w.inventory.Ports[1:]
		}, netip.Addr{}, false, false},
		"it is another machine's": {func(w *simulated, _ *finding.Finding) { w.inventory.Ports[0].Server = "s2" }, netip.Addr{}, false, false},
		"not in another family": {func(w *simulated, f *finding.Finding) {
			f.Endpoint.Addr = netip.MustParseAddr("2001:db8::9")
		}, netip.Addr{}, false, false},
		"another has the address": {func(w *simulated, _ *finding.Finding) {
			w.inventory.Ports[2].FixedIPs[0].Addr = simAddr
		}, simAddr, false, true},
		"another has it alone": {func(w *simulated, _ *finding.Finding) {
			w.inventory.Ports[0].FixedIPs = nil
			w.inventory.Ports[2].FixedIPs[0].Addr = simAddr
		}, netip.Addr{}, false, false},
		"a floating IP that another has too": {func(w *simulated, f *finding.Finding) {
			w.inventory.Ports[0].FixedIPs = nil
			w.inventory.FloatingIPs = []asset.FloatingIP{{ID: "fip", Network: "outside", Addr: simControl, Port: "p1"}}
			f.Endpoint.Addr = netip.MustParseAddr("192.0.2.12")
		}, netip.Addr{}, false, true},
	} {
		l, w := newSimulated(t)
		f := w.findings[0]
		c.world(w, &f)
		l.know(asset.NewIndex(w.inventory))
		at, ok, shared := l.whereNow(f)
		if ok != c.ok || shared != c.shared || (ok || c.at.IsValid()) && at.Addr != c.at {
			t.Errorf("%s: %v, %t, shared %t", name, at, ok, shared)
		}
	}
	l, _ := newSimulated(t)
	if l.shares("p9") || l.shares("p1") || !l.has("p1", simAddr) || l.has("p1", other) || l.has("p9", simAddr) {
		t.Error("a port that is not there shares an address, or a port has one that it has not")
	}
}

// A look at a host as a whole asks the known ports that are open to us there, and no more than it may.
func TestHostIsAskedAtItsOpenPorts(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	f := w.findings[0]
	set := l.reach(&l.Vantages[0])
	if got := targets(set, f, f.Endpoint); len(got) != 1 {
		t.Errorf("one endpoint: %v", got)
	}
	f.Key.Locus = "host"
	if got := targets(set, f, f.Endpoint); len(got) != 2 || got[1].Port != 22 {
		t.Errorf("of a host with two open ports: %v", got)
	}
	w.inventory.Groups[0].Rules[0].PortMin, w.inventory.Groups[0].Rules[0].PortMax = 1, 65535
	l.know(asset.NewIndex(w.inventory))
	if got := targets(l.reach(&l.Vantages[0]), f, f.Endpoint); len(got) != mostOfHost {
		t.Errorf("of a host with all ports open: %d", len(got))
	}
}

// What a machine off the network would show is asked of the groups that it gets back, also where another case restricts it.
func TestGroupsThatComeBackAreAsked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		world func(*simulated)
		open  bool
	}{
		"not restricted": {func(*simulated) {}, true},
		"restricted, nothing fixed": {func(w *simulated) {
			open := w.inventory.Groups[0]
			restrictedBy(casework.ActQuarantine)(w)
			w.inventory.Groups[0] = open
		}, true},
		"restricted, with another port shut": {func(w *simulated) {
			open := w.inventory.Groups[0]
			restrictedBy(casework.ActQuarantine)(w)
			w.inventory.Groups[0] = open
			w.acts[0].Ports[1].Saved = []asset.GroupID{"shut"}
		}, true},
		"restricted, fixed": {restrictedBy(casework.ActQuarantine), false},
		"by another case": {func(w *simulated) {
			open := w.inventory.Groups[0]
			restrictedBy(casework.ActQuarantine)(w)
			w.inventory.Groups[0] = open
			w.acts[0].Case = "c9"
			w.change(func(c *casework.Case) { c.State, c.Act = casework.Notified, "" })
		}, true},
		"its group is gone": {func(w *simulated) {
			restrictedBy(casework.ActQuarantine)(w)
			w.inventory.Groups = w.inventory.Groups[1:]
		}, false},
	} {
		l, w := newSimulated(t)
		c.world(w)
		l.know(asset.NewIndex(w.inventory))
		set, err := l.asSaved(t.Context(), w.cases["c1"], &l.Vantages[0])
		if err != nil {
			t.Fatal(err)
		}
		if got := set.LookupAt(w.findings[0].Endpoint, "p1").Zone; got != c.open {
			t.Errorf("%s: open %t", name, got)
		}
	}
}

// What came back from a shard is attributed to whom it belonged to before and after; silence needs no second question.
func TestAnswersAreAttributedOnlyWhereTheHolderIsUnchanged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		says   string
		holder func(cloud.Holding) (cloud.Holding, error)
		want   string
		asked  int
	}{
		"unchanged":     {"redis-open", nil, "sights", 1},
		"refused":       {"closed", nil, "sights", 1},
		"silent":        {"silent", func(h cloud.Holding) (cloud.Holding, error) { h.Server = "s2"; return h, nil }, "sights", 0},
		"moved":         {"redis-open", func(h cloud.Holding) (cloud.Holding, error) { h.Server = "s2"; return h, nil }, "moved", 1},
		"nobody's":      {"redis-open", func(h cloud.Holding) (cloud.Holding, error) { return h, cloud.ErrNobody }, "moved", 1},
		"two hold it":   {"redis-open", func(h cloud.Holding) (cloud.Holding, error) { return h, cloud.ErrAmbiguous }, "moved", 1},
		"altered":       {"redis-open", func(h cloud.Holding) (cloud.Holding, error) { h.PortRevision++; return h, nil }, "touched", 1},
		"a floating IP": {"redis-open", func(h cloud.Holding) (cloud.Holding, error) { h.FloatingRevision++; return h, nil }, "touched", 1},
		"the machine's state": {"redis-open", func(h cloud.Holding) (cloud.Holding, error) {
			h.ServerStatus = "SHUTOFF"
			return h, nil
		}, "touched", 1},
	} {
		l, w := newSimulated(t)
		w.says, w.holder = c.says, c.holder
		v := &l.Vantages[0]
		twice := []probe.Endpoint{w.findings[0].Endpoint, {Addr: simAddr, Proto: probe.TCP, Port: 6379}}
		h, err := l.collect(t.Context(), v, l.reach(v), probe.Shard{ID: "x", Vantage: "v1", Targets: twice})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int{"sights": len(h.sights), "moved": len(h.moved), "touched": len(h.touched)}
		if got[c.want] != 2 || len(h.sights)+len(h.moved)+len(h.touched) != 2 || w.count("holder") != c.asked {
			t.Errorf("%s: %v, asked %d times", name, got, w.count("holder"))
		}
	}
}

// A finding at a routed address is asked for while its project has the address joined to the cloud, and is gone when it has not.
func TestRoutedAddressIsAskedWhileItsProjectJoinsIt(t *testing.T) {
	t.Parallel()
	routed := netip.MustParseAddr("203.0.113.5")
	router := func(id, project string) asset.Router {
		return asset.Router{
			ID:       asset.RouterID(id),
			Project:  asset.ProjectID(project),
			AdminUp:  true,
			External: "outside",
			Routes:   []asset.Route{{Destination: netip.MustParsePrefix("203.0.113.0/24"), NextHop: netip.MustParseAddr("10.0.0.1")}},
		}
	}
	for name, c := range map[string]struct {
		routers    []asset.Router
		ok, shared bool
	}{
		"joined":            {[]asset.Router{router("r1", "astro")}, true, false},
		"not any more":      {nil, false, false},
		"another's by now":  {[]asset.Router{router("r1", "genomics")}, false, false},
		"another's as well": {[]asset.Router{router("r1", "genomics"), router("r2", "astro")}, false, true},
	} {
		l, w := newSimulated(t)
		w.inventory.Routers = c.routers
		l.know(asset.NewIndex(w.inventory))
		f := w.findings[0]
		f.Key.Server, f.Key.Port, f.Endpoint.Addr = "", "", routed
		if at, ok, shared := l.whereNow(f); ok != c.ok || shared != c.shared || at.Addr != routed {
			t.Errorf("%s: %v, %t, shared %t", name, at, ok, shared)
		}
	}
}

// A recheck that is due is a check, and a deadline that is due moves the case on; a timer of an action is neither.
func TestEachTimerDoesItsOwn(t *testing.T) {
	t.Parallel()
	for timer, c := range map[casework.Timer]struct {
		probed int
		left   bool // it is still due
	}{
		casework.TimerRecheck: {1, false}, casework.TimerProbation: {0, false},
		casework.TimerEnforce: {0, true}, casework.TimerRelease: {0, true},
	} {
		l, w := newSimulated(t)
		w.armed(timer)
		did, err := l.verify(t.Context())
		due := slices.ContainsFunc(w.due, func(d casework.Due) bool { return d.Timer == timer && d.At <= w.now })
		if err != nil || did == c.left || due != c.left || w.count("probe") != c.probed {
			t.Errorf("%s: did %t, still due %t, %d probes, %v", timer, did, due, w.count("probe"), err)
		}
	}
}

// While a machine is off the network its fixed findings are looked at as well: one that is back is open again. Any other answer leaves a
// proof as it is, and holds up no release.
func TestFixedFindingsAreCheckedWhileTheMachineIsOffTheNetwork(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		says  string
		act   bool
		state finding.State
		looks int
		to    casework.State
	}{
		"it is back":                   {"redis-open", true, finding.Open, 1, casework.Restricted},
		"it is closed":                 {"closed", true, finding.Fixed, 1, casework.Verifying},
		"it is silent":                 {"silent", true, finding.Fixed, 0, casework.Restricted},
		"the check failed":             {"failed", true, finding.Fixed, 0, casework.Restricted},
		"it is back on a free machine": {"redis-open", false, finding.Fixed, 0, casework.Restricted},
	} {
		l, w := newSimulated(t)
		restrictedBy(casework.ActQuarantine)(w)
		opened(w)
		w.findings[0].State, w.findings[0].FixedAt, w.says = finding.Fixed, simNow-1, c.says
		w.change(func(k *casework.Case) {
			if k.State = casework.Restricted; !c.act {
				k.Act = ""
			}
		})
		l.know(asset.NewIndex(w.inventory))
		n := len(w.looks["f1"])
		w.armed(casework.TimerRecheck)
		if _, err := l.verify(t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(w.due) == 0 && c.act {
			t.Errorf("%s: nothing is due any more", name)
		}
		if f, got := w.findings[0], w.cases["c1"].State; f.State != c.state || len(w.looks["f1"])-n != c.looks || got != c.to {
			t.Errorf("%s: it is %s after %d checks, the case is %s, due %v", name, f.State, len(w.looks["f1"])-n, got, w.due)
		}
	}
}

// A fixed finding that is silent, as behind a firewall of its owner's, holds up no release of what is proven beside it.
func TestSilentFixedFindingHoldsUpNoRelease(t *testing.T) {
	t.Parallel()
	for _, order := range [][]string{{"f1", "f2"}, {"f2", "f1"}} {
		l, w := newSimulated(t)
		restrictedBy(casework.ActQuarantine)(w)
		opened(w)
		w.change(func(c *casework.Case) { c.State = casework.Restricted })
		other := w.findings[0]
		other.ID, other.Key.Check, other.Endpoint.Port, other.Negatives, other.GoodSince = "f2", "ssh-v1-offered", 22, 1, simNow-day
		w.findings[0].State, w.says = finding.Fixed, "silent"
		w.findings = append(w.findings, other)
		if order[0] == "f2" {
			slices.Reverse(w.findings)
		}
		l.know(asset.NewIndex(w.inventory))
		w.armed(casework.TimerRecheck)
		if _, err := l.verify(t.Context()); err != nil {
			t.Fatal(err)
		}
		release := slices.ContainsFunc(w.due, func(d casework.Due) bool { return d.Timer == casework.TimerRelease })
		if c := w.cases["c1"]; c.State != casework.Verifying || !release {
			t.Errorf("in the order %v: the case is %s, due %v, findings %+v", order, c.State, w.due, w.findings)
		}
	}
}
