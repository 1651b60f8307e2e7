package flow

import (
	"context"
	"net/netip"
	"testing"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/finding"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

// A rule is told as its owner would make it, whoever it lets in.
func TestARuleInWords(t *testing.T) {
	t.Parallel()
	x := asset.NewIndex(&asset.Snapshot{Groups: []asset.Group{{ID: "g", Name: untrusted.From("web")}}})
	rule := asset.Rule{Group: "g", Direction: asset.Ingress, EtherType: 4, Protocol: "tcp", PortMin: 22, PortMax: 22}
	for want, bend := range map[string]func(*asset.Rule){
		"ingress IPv4 tcp/22 from any address, in group web (g)":     func(*asset.Rule) {},
		"ingress IPv4 tcp/22-25 from 192.0.2.0/24, in group web (g)": func(r *asset.Rule) { r.PortMax, r.RemotePrefix = 25, netip.MustParsePrefix("192.0.2.0/24") },
		"ingress IPv4 any protocol from group h, in group web (g)": func(r *asset.Rule) {
			r.Protocol, r.PortMin, r.PortMax, r.RemoteGroup = "", asset.AnyPort, asset.AnyPort, "h"
		},
		"ingress IPv4 icmp type 8 code 0 from any address":           func(r *asset.Rule) { r.Protocol, r.PortMin, r.PortMax, r.Group = "icmp", 8, 0, "" },
		"ingress IPv4 tcp/22 from address group a, in group web (g)": func(r *asset.Rule) { r.RemoteAddress = "a" },
	} {
		r := rule
		bend(&r)
		if got := ruleText(r, x); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// sweptLedger is a ledger of vantage points, of which some have swept to the end.
type sweptLedger struct {
	Ledger
	whole map[string]bool
}

func (sweptLedger) OpenExposures(context.Context, string) ([]probe.Exposure, error) { return nil, nil }

func (sweptLedger) Findings(context.Context, access.Scope, finding.Filter) ([]finding.Finding, error) {
	return nil, nil
}

func (sweptLedger) Queue(context.Context, string, int) ([]casework.Ask, error) { return nil, nil }

func (s sweptLedger) LastCoverage(context.Context, string, string, string, probe.Purpose) (probe.Coverage, bool, error) {
	return probe.Coverage{Ended: 1}, true, nil
}

func (s sweptLedger) LastSweep(_ context.Context, _, vantage string, _ probe.Purpose) (probe.Coverage, error) {
	if s.whole[vantage] {
		return probe.Coverage{Ended: 1, Complete: true}, nil
	}
	return probe.Coverage{}, nil
}

// All that is open was asked when every vantage point has swept to the end: one that was cut has not.
func TestASweepThatWasCutAskedNotAll(t *testing.T) {
	t.Parallel()
	for want, whole := range map[bool]map[string]bool{true: {"a": true, "b": true}, false: {"a": true}} {
		l := New(Config{Cloud: "c", Policy: &policy.Policy{}, Ledger: sweptLedger{whole: whole}, Vantages: []Vantage{{Vantage: probe.Vantage{Name: "a"}}, {Vantage: probe.Vantage{Name: "b"}}}})
		if _, looked, err := l.listening(t.Context()); err != nil || looked != want {
			t.Errorf("%v swept to the end: %t, %v", whole, looked, err)
		}
	}
}
