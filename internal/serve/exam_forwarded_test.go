package serve_test

import (
	"slices"
	"strings"
	"testing"

	"demarc/internal/casework"
	"demarc/internal/finding"
	"demarc/internal/lab"
	"demarc/internal/probe"
)

// behindForwardings is a town in which the floating IP 127.77.1.99 forwards 16379 to an open Redis of spare, which has no address of its own,
// and 2222 to the SSH of gate-1.
func behindForwardings() lab.Scenario {
	s := town()
	s.Servers[0].Services = nil
	s.Groups = append(slices.Clone(s.Groups), lab.Group{Name: "redis", Project: "genomics", Rules: []lab.Rule{{Proto: "tcp", Min: 6379, Max: 6379, Remote: everywhere}}})
	s.Servers[2].NICs[0].Groups = []string{"redis"}
	s.Servers[2].Services = []lab.Service{{Name: "redis", Kind: lab.Redis, Port: 6379}}
	s.FloatingIPs = []lab.FloatingIP{{Addr: forwarder, Project: "genomics", Forwards: []lab.Forward{{External: 16379, Internal: 6379, Server: "spare"}, {External: 2222, Internal: 22022, Server: "gate-1"}}}}
	return s
}

var forwarder = place("127.77.1.99")

// What answers behind a forwarding is the machine's to which Neutron says that it leads: its owner is told, with no word of an action, and
// none ever follows. Without the forwarding it is gone.
func TestWhatIsForwardedIsToldAndNeverActedOn(t *testing.T) {
	t.Parallel()
	e := open(t, plot{scenario: behindForwardings()})
	e.until("notified", 4, e.inState("spare", casework.Notified))
	c := e.theCase("spare")
	fs := e.findingsOf("spare")
	if c.Track != casework.Forwarded || len(fs) != 1 || fs[0].Grade != finding.Observed || fs[0].Endpoint.Port != 16379 || !strings.Contains(fs[0].Cause, "port 6379 of your server") {
		t.Fatalf("case %+v, findings %+v", c, fs)
	}
	mails := e.w.Mail.For("bruno@genomics.example")
	if len(mails) != 1 {
		t.Fatalf("%d mails: %v", len(mails), e.recipients())
	}
	for _, threat := range []string{"final warning", "disconnect", "off the network", "quarantine"} {
		if said := text(t, mails[0]); strings.Contains(strings.ToLower(said), threat) {
			t.Errorf("the mail speaks of %q:\n%s", threat, said)
		}
	}
	e.after(7 * day)
	for _, h := range e.told() {
		if strings.HasPrefix(h.Event, "gate.") || h.State == string(casework.Queued) || h.State == string(casework.FinalWarning) {
			t.Errorf("it came to the gate: %+v", h)
		}
	}
	e.w.TenantForwards(e.w.At(forwarder), lab.Forward{External: 2222, Internal: 22022, Server: "gate-1"})
	e.until("fixed", 4, func() bool { return e.findingsOf("spare")[0].State == finding.Fixed })
	e.untouched()
	e.noErrors()
}

// A forwarding that leads elsewhere while it is probed is attributed to nobody.
func TestAForwardingThatMovesIsNobodys(t *testing.T) {
	t.Parallel()
	e := open(t, plot{scenario: behindForwardings()})
	flip := false
	e.onProbe(func(_ probe.Shard, after bool) {
		if after {
			return
		}
		flip = !flip
		to := "spare"
		if flip {
			to = "gate-1"
		}
		e.w.TenantForwards(e.w.At(forwarder), lab.Forward{External: 16379, Internal: 6379, Server: to})
	})
	e.after(3 * day)
	if fs := append(e.findingsOf("spare"), e.findingsOf("gate-1")...); len(fs) > 0 {
		t.Errorf("%+v", fs)
	}
	if e.count("", "observation.discarded") == 0 {
		t.Error("nothing was discarded")
	}
}

// A port whose owner writes the id of a server that is not there, while it is probed, is attributed to nobody, and keeps nothing else from being
// found.
func TestAPortThatNamesNoServerStopsNoSweep(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	liar := e.w.PortIDs("gate-1")[0]
	e.onProbe(func(_ probe.Shard, after bool) {
		if after {
			e.w.Twist(liar, func(row map[string]any) { row["device_id"] = "5c5b0e3a-9f5d-4b8e-8d8b-0d8c5c5b0e3a" })
		} else {
			e.w.Untwist()
		}
	})
	e.until("notified", 6, e.inState("cache-1", casework.Notified))
	if _, swept, err := e.d.DB.LastCoverage(t.Context(), probe.KindSweep, "lab", "internet", probe.Control); err != nil || !swept {
		t.Errorf("no sweep has ended: %v", err)
	}
}

// A server behind a forwarding that stops answering us leads to no case in which something may follow for its network.
func TestWhatIsForwardedMayFallSilent(t *testing.T) {
	t.Parallel()
	e := open(t, plot{scenario: behindForwardings()})
	e.until("notified", 4, e.inState("spare", casework.Notified))
	e.must(e.w.BlockSource("spare", true))
	e.after(9 * day)
	for _, c := range e.casesOf("spare") {
		if c.Track != casework.Forwarded || c.State == casework.FinalWarning || c.State == casework.Queued {
			t.Errorf("a case of track %s is %s", c.Track, c.State)
		}
	}
	e.untouched()
}
