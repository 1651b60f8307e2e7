package flow

import (
	"math"
	"net/netip"
	"strings"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/fault"
	"demarc/internal/finding"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// reassigned makes the model hold the provider responsible for the finding of the customer's case.
func reassigned(w *simulated) {
	w.findings[0].Duty.Layer, w.findings[0].Duty.Aspect = "network-controls", "provide-capability"
	w.change(func(c *casework.Case) { c.State = casework.Notified; c.Due = simNow + 3*day })
}

// theirs puts a case of another party on the same machine into the ledger.
func theirs(party duty.Party, alter func(*casework.Case)) func(*simulated) {
	return func(w *simulated) {
		reassigned(w)
		c := casework.Case{
			ID:       "c2",
			Cloud:    "lab",
			Server:   "s1",
			Project:  "astro",
			Party:    party,
			Track:    casework.Vulnerability,
			State:    casework.Notified,
			Class:    "E",
			OpenedAt: simNoticed,
			Version:  1,
		}
		alter(&c)
		w.cases["c2"] = c
	}
}

// toCustomer turns a reassignment round: the case is the provider's, and the customer must act now.
func toCustomer(alter func(*casework.Case)) func(*simulated) {
	return func(w *simulated) {
		theirs(duty.Customer, alter)(w)
		w.findings[0].Duty.Layer, w.findings[0].Duty.Aspect, w.findings[0].Duty.Party = "guest-os", "configure", duty.Provider
		w.change(func(c *casework.Case) { c.Party = duty.Provider })
	}
}

// A finding goes to the party that must act on it, with what it knew, and not while a person or an action holds the case.
func TestFindingGoesToThePartyThatMustAct(t *testing.T) {
	t.Parallel()
	running := func(server asset.ServerID) func(*simulated) {
		return func(w *simulated) {
			reassigned(w)
			w.acts = append(
				w.acts,
				casework.Act{ID: "a1", Case: "c9", Cloud: "lab", Server: server, Kind: casework.ActQuarantine, State: casework.ActIntended},
			)
		}
	}
	for name, c := range map[string]struct {
		world func(*simulated)
		wait  int64
		party duty.Party // who must act afterwards
		moved bool       // to another case
		entry bool       // the audit log says that the assignment changed
	}{
		"nothing changed":       {func(*simulated) {}, 0, duty.Customer, false, false},
		"another reason":        {func(w *simulated) { w.findings[0].Duty.Reason = "as it was" }, 0, duty.Customer, false, true},
		"the provider's by now": {reassigned, 0, duty.Provider, true, true},
		"of a project that is not known": {func(w *simulated) {
			reassigned(w)
			w.inventory.Projects = w.inventory.Projects[1:]
		}, 0, duty.Customer, false, false},
		"fixed": {func(w *simulated) {
			reassigned(w)
			w.findings[0].State = finding.Fixed
		}, 0, duty.Customer, false, false},
		"in doubt whose": {func(w *simulated) {
			reassigned(w)
			w.findings[0].State = finding.AttributionHold
		}, hour, duty.Customer, false, false},
		"in doubt, nothing changed": {func(w *simulated) { w.findings[0].State = finding.AttributionHold }, 0, duty.Customer, false, false},
		"on hold": {func(w *simulated) {
			reassigned(w)
			w.change(func(c *casework.Case) { c.State = casework.OnHold })
		}, hour, duty.Customer, false, false},
		"withdrawn": {func(w *simulated) {
			reassigned(w)
			w.change(func(c *casework.Case) { c.Withdrawn = "olga" })
		}, minute, duty.Customer, false, false},
		"an action is under way":     {running("s1"), minute, duty.Customer, false, false},
		"one is under way elsewhere": {running("s2"), 0, duty.Provider, true, true},
		"to a case that is open":     {theirs(duty.Provider, func(*casework.Case) {}), 0, duty.Provider, true, true},
		"to a case that is withdrawn": {theirs(duty.Provider, func(c *casework.Case) {
			c.Withdrawn = "olga"
		}), minute, duty.Customer, false, false},
		"to the provider's on hold": {theirs(duty.Provider, func(c *casework.Case) {
			c.State = casework.OnHold
		}), 0, duty.Provider, true, true},
		"to the customer's":         {toCustomer(func(*casework.Case) {}), 0, duty.Customer, true, true},
		"to the customer's on hold": {toCustomer(func(c *casework.Case) { c.State = casework.OnHold }), hour, duty.Provider, false, false},
		"to the customer's restricted": {toCustomer(func(c *casework.Case) {
			c.State = casework.Restricted
		}), hour, duty.Provider, false, false},
		"to the customer's verifying": {toCustomer(func(c *casework.Case) {
			c.State = casework.Verifying
		}), hour, duty.Provider, false, false},
		"to the customer's that ended": {toCustomer(func(c *casework.Case) { c.State = casework.Closed }), 0, duty.Customer, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			l, w := newSimulated(t)
			c.world(w)
			l.know(asset.NewIndex(w.inventory))
			wait, err := l.rechargeCase(t.Context(), "c1")
			if err != nil {
				t.Fatal(err)
			}
			f := w.findings[0]
			entry := false
			for _, x := range w.commits {
				for _, e := range x.Audit {
					entry = entry || e.Kind == "finding.recharged"
				}
			}
			if wait != c.wait || f.Duty.Party != c.party || (f.Case != "c1") != c.moved || entry != c.entry {
				t.Errorf("wait %d s, the %s must act, in case %s, logged %t; want %+v", wait/second, f.Duty.Party, f.Case, entry, c)
			}
			if last := w.charges[len(w.charges)-1]; c.moved && (!last.Told || last.Duty.Party != c.party || w.cases[f.Case].Party != c.party) {
				t.Errorf("the new party's charge is %+v", last)
			}
			if last := w.charges[len(w.charges)-1]; c.moved && last.Left != w.cases["c1"].Due-simNow && w.cases["c1"].Due > simNow {
				t.Errorf("of the other's time %d h were left", last.Left/hour)
			}
		})
	}
}

// What could not be reassigned now is tried at the earliest time at which it may be possible, and one case that cannot be read delays no
// other.
func TestReassignmentIsTriedAgainWhenItMayBePossible(t *testing.T) {
	t.Parallel()
	another := func(w *simulated, state casework.State) {
		f := w.findings[0]
		f.ID, f.Case, f.Key.Port = "f2", "c2", "p2"
		w.findings = append(w.findings, f)
		c := w.cases["c1"]
		c.ID, c.State, c.Track = "c2", state, casework.Exposure
		w.cases["c2"] = c
	}
	for name, c := range map[string]struct {
		world func(*simulated)
		did   bool
		later int64
	}{
		"nothing to do": {func(*simulated) {}, false, 0},
		"done":          {reassigned, true, 0},
		"held":          {func(w *simulated) { reassigned(w); w.change(func(c *casework.Case) { c.State = casework.OnHold }) }, false, hour},
		"held and under way": {func(w *simulated) {
			reassigned(w)
			another(w, casework.Notified)
			w.change(func(c *casework.Case) { c.State = casework.OnHold; c.Server = "s9" })
			w.acts = []casework.Act{{ID: "a", Server: "s1", State: casework.ActIntended}}
		}, false, minute},
		"under way and held": {func(w *simulated) {
			reassigned(w)
			another(w, casework.OnHold)
			c := w.cases["c2"]
			c.Server = "s9"
			w.cases["c2"] = c
			w.acts = []casework.Act{{ID: "a", Server: "s1", State: casework.ActIntended}}
		}, false, minute},
		"one cannot be read":    {func(w *simulated) { reassigned(w); another(w, casework.Notified); delete(w.cases, "c1") }, true, minute},
		"of another cloud":      {func(w *simulated) { reassigned(w); w.findings[0].Key.Cloud = "other" }, false, 0},
		"one done and one held": {func(w *simulated) { reassigned(w); another(w, casework.OnHold) }, true, hour},
	} {
		t.Run(name, func(t *testing.T) {
			l, w := newSimulated(t)
			c.world(w)
			did, later, err := l.recharge(t.Context())
			if err != nil || did != c.did || later != c.later {
				t.Errorf("did %t, later %d s, %v; want %t, %d s", did, later/second, err, c.did, c.later/second)
			}
			l, w = newSimulated(t)
			c.world(w)
			if did, err = l.attribute(t.Context()); err != nil || did != c.did {
				t.Errorf("did %t, %v", did, err)
			}
			want := int64(math.MaxInt64)
			if c.later > 0 {
				want = simNow + c.later
			}
			if l.chargeAt != want {
				t.Errorf("next at %d", l.chargeAt)
			}
			n := len(w.calls)
			if did, err = l.attribute(t.Context()); did || err != nil || len(w.calls) > n {
				t.Error("it is done again at once")
			}
			if w.now = want; c.later > 0 {
				if _, err = l.attribute(t.Context()); err != nil || len(w.calls) == n {
					t.Error("it is not done when it is due")
				}
			}
		})
	}
}

// A version of a model is written down once, and other words under the same version are refused.
func TestModelIsKnownByItsWords(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	for range 2 {
		if err := l.Adopt(t.Context()); err != nil || len(w.models) != 1 || w.models[0].Hash != l.Model.Hash() {
			t.Fatalf("%v, %d models", err, len(w.models))
		}
	}
	w.models[0].Hash = "another"
	if err := l.Adopt(t.Context()); !fault.Is(err, fault.Config) || len(w.models) != 1 {
		t.Errorf("%v", err)
	}
}

// Why somebody else must act is said by what changed.
func TestCauseOfAReassignmentIsNamed(t *testing.T) {
	t.Parallel()
	base := duty.Resolution{Model: "m", Version: 1, Resource: duty.Resource{Region: "r1", Domain: "d1", Tags: []string{"a", "b"}}}
	for want, alter := range map[string]func(from, to *duty.Resolution){
		"contract k1 covers it no longer": func(from, _ *duty.Resolution) { from.Resource.ContractID = "k1" },
		"contract k2 covers it now": func(from, to *duty.Resolution) {
			from.Resource.ContractID, to.Resource.ContractID = "k1", "k2"
		},
		"the project, or what it is offered, is not what it was": func(_, to *duty.Resolution) { to.Resource.Region = "r2" },
		"version 2 of the responsibility model m is in use":      func(_, to *duty.Resolution) { to.Version = 2 },
		"version 1 of the responsibility model n is in use":      func(_, to *duty.Resolution) { to.Model = "n" },
		"the responsibility model says so now":                   func(_, to *duty.Resolution) { to.Resource.Tags = []string{"b", "a"} },
	} {
		from, to := base, base
		alter(&from, &to)
		if got := cause(from, to); !strings.HasPrefix(got, want+"; ") {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for _, alter := range []func(*duty.Resolution){func(r *duty.Resolution) {
		r.Resource.Domain = "d2"
	}, func(r *duty.Resolution) { r.Resource.Tags = []string{"a"} }} {
		to := base
		alter(&to)
		if got := cause(base, to); !strings.HasPrefix(got, "the project, or") {
			t.Errorf("%q", got)
		}
	}
	if got := inShort([]string{"1", "2", "3", "4", "5"}); strings.Contains(got, "more") {
		t.Errorf("%q", got)
	}
	if got := inShort([]string{"1", "2", "3", "4", "5", "6", "7"}); got != "1; 2; 3; 4; 5; and 2 more" {
		t.Errorf("%q", got)
	}
}

// A new case continues the latest case of a deleted machine of the project that had one of its ports or volumes and whose owner was
// notified,
// for 30 days.
func TestCaseContinuesThatOfTheDeletedMachine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		alter func(c0 *casework.Case)
		world func(*simulated)
		want  string
	}{
		"on its port":         {nil, nil, "c0"},
		"on its volume":       {func(c *casework.Case) { c.Ports, c.Volumes = nil, []asset.VolumeID{"v1"} }, nil, "c0"},
		"on neither":          {func(c *casework.Case) { c.Ports = []asset.PortID{"p9"} }, nil, ""},
		"nobody was notified": {func(c *casework.Case) { c.Told = false }, nil, ""},
		"of another cloud":    {func(c *casework.Case) { c.Cloud = "other" }, nil, ""},
		"of another track":    {func(c *casework.Case) { c.Track = casework.Exposure }, nil, ""},
		"of the same machine": {func(c *casework.Case) { c.Server = "s1" }, nil, ""},
		"not deleted":         {func(c *casework.Case) { c.State = casework.Closed }, nil, ""},
		"30 days ago":         {func(c *casework.Case) { c.ClosedAt = simNow - 30*day }, nil, "c0"},
		"longer ago":          {func(c *casework.Case) { c.ClosedAt = simNow - 30*day - 1 }, nil, ""},
		"an earlier one":      {nil, func(w *simulated) { c := w.cases["c0"]; c.ID, c.ClosedAt = "b0", c.ClosedAt-1; w.cases["b0"] = c }, "c0"},
		"a later one":         {nil, func(w *simulated) { c := w.cases["c0"]; c.ID, c.ClosedAt = "b0", c.ClosedAt+1; w.cases["b0"] = c }, "b0"},
		"of no machine":       {nil, func(w *simulated) { w.change(func(c *casework.Case) { c.Server = "" }) }, ""},
	} {
		l, w := newSimulated(t)
		deletedBefore(w)
		w.change(func(c *casework.Case) { c.Volumes = []asset.VolumeID{"v1"} })
		if c.alter != nil {
			c0 := w.cases["c0"]
			c.alter(&c0)
			w.cases["c0"] = c0
		}
		if c.world != nil {
			c.world(w)
		}
		d, ds := l.draft("open"), simDossier(t, l)
		if err := d.continues(t.Context(), &ds); err != nil {
			t.Fatal(err)
		}
		if ds.Case.Previous != c.want {
			t.Errorf("%s: it continues %q", name, ds.Case.Previous)
		}
	}
	for name, c := range map[string]struct {
		alter  func(c1 *casework.Case)
		before string // the case that the ended one continues
		want   string
	}{
		"opened since":                 {func(*casework.Case) {}, "", "c0"},
		"opened before":                {func(c *casework.Case) { c.OpenedAt = simNoticed - 6*day }, "", ""},
		"continues another":            {func(c *casework.Case) { c.Previous = "x" }, "", "x"},
		"linked past one not over yet": {func(c *casework.Case) { c.Previous = "x" }, "x", "c0"},
		"of an unrelated machine":      {func(c *casework.Case) { c.Ports = nil }, "", ""},
	} {
		l, w := newSimulated(t)
		deletedBefore(w)
		c0 := w.cases["c0"]
		c0.Previous = c.before
		w.cases["c0"] = c0
		w.change(c.alter)
		d := l.draft("inventory")
		if err := d.continuedBy(t.Context(), w.cases["c0"]); err != nil {
			t.Fatal(err)
		}
		if err := d.commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := w.cases["c1"].Previous; got != c.want {
			t.Errorf("%s: it continues %q", name, got)
		}
	}
	l, w := newSimulated(t)
	_ = l
	if got := notifiedIn(w.cases["c1"]); !strings.HasPrefix(got, "its owner received a final warning on ") {
		t.Errorf("%q", got)
	}
	for told, want := range map[bool]string{true: "its owner was notified", false: "its owner was not notified yet"} {
		if got := notifiedIn(casework.Case{Told: told}); got != want {
			t.Errorf("%q", got)
		}
	}
}

// What answers although the rules let nobody in is the tenant's where a port may answer for any address, and the provider's filter else.
func TestUnexpectedExposureIsChargedByItsCause(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	v := &l.Vantages[0]
	s := sight{holder: l.holds[simAddr]}
	s.Endpoint = w.findings[0].Endpoint
	if c := l.leak(v, s); c.verdict.Aspect != "provide-capability" {
		t.Errorf("%+v", c.verdict)
	}
	p := l.x.Ports["p1"]
	p.Pairs = []asset.AddressPair{{Prefix: netip.MustParsePrefix("10.0.0.0/8")}}
	if c := l.leak(v, s); c.verdict.Aspect != "provide-capability" {
		t.Errorf("%+v", c.verdict)
	}
	p.Pairs = append(p.Pairs, asset.AddressPair{Prefix: netip.MustParsePrefix("0.0.0.0/0")})
	if c := l.leak(v, s); c.verdict.Aspect != "configure" {
		t.Errorf("%+v", c.verdict)
	}
	for _, c := range []struct {
		outcome probe.Outcome
		config  reach.Answer
		alive   bool
		want    finding.Verdict
	}{
		{probe.Open, reach.Answer{}, true, finding.Vulnerable},
		{probe.Open, reach.Answer{Zone: true}, true, finding.Removed},
		{probe.Open, reach.Answer{Scanner: true}, true, finding.Removed},
		{probe.Closed, reach.Answer{}, true, finding.ClosedPort},
		{probe.Filtered, reach.Answer{}, true, finding.Removed},
		{probe.Filtered, reach.Answer{}, false, finding.Inconclusive},
		{probe.Silent, reach.Answer{}, false, finding.Inconclusive}, {probe.Failed, reach.Answer{}, true, ""},
	} {
		if got := leakVerdict(sight{Observation: probe.Observation{Facts: probe.Facts{Outcome: c.outcome}}}, c.config, c.alive); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
