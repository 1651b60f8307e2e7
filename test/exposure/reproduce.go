package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"

	"demarc/internal/asset"
	"demarc/internal/reach"
)

// settle waits until the packet path does what Neutron was asked for.
func settle(ctx context.Context, testbed string) error {
	if b, err := exec.CommandContext(ctx, testbed, "settle").CombinedOutput(); err != nil { //nolint:gosec // the testbed
		return fmt.Errorf("settle: %w: %s", err, b)
	}
	return nil
}

// reproduce tells of a disagreement with the least that shows it: rules of the ports at the address are deleted one by one as long as
// prediction and packet still differ.
func (e *exam) reproduce(ctx context.Context, n int, q asked, got bool) {
	fmt.Printf("WRONG: seed %d, drawing %d: %s from %s: predicted %v, the packet says %v\n", e.t.Seed, n, q.At, q.From, q.answer.Scanner, got)
	x, err := e.read(ctx)
	if err != nil {
		fmt.Println("  it could not be made smaller:", err)
		return
	}
	for shrunk := true; shrunk; {
		shrunk = false
		for _, r := range e.rulesAt(x, q) {
			smaller, ok := e.without(ctx, r, q)
			if ok {
				x, shrunk = smaller, true
				break
			}
		}
	}
	for _, p := range e.portsAt(x, q) {
		b, _ := json.Marshal(p)
		fmt.Printf("  port of %s: %s\n", x.Servers[p.Server].Name, b)
		for _, id := range p.Groups {
			b, _ := json.Marshal(x.Groups[id])
			fmt.Printf("  group: %s\n", b)
		}
	}
	for _, o := range reach.Compute(x, q.source.view()).At(q.At.Addr) {
		fmt.Printf("  computed: %s %d-%d scanner %v: %v %v\n", o.Proto, o.First, o.Last, o.Scanner, o.Why, o.Doubts)
	}
}

func (e *exam) portsAt(x *asset.Index, q asked) []*asset.Port {
	var out []*asset.Port
	for i := range x.Snapshot.Ports {
		p := &x.Snapshot.Ports[i]
		at := slices.ContainsFunc(p.FixedIPs, func(a asset.FixedIP) bool { return a.Addr == q.At.Addr }) ||
			slices.ContainsFunc(p.Pairs, func(a asset.AddressPair) bool { return a.Prefix.Contains(q.At.Addr) }) ||
			slices.ContainsFunc(x.FloatingOf[p.ID], func(f *asset.FloatingIP) bool { return f.Addr == q.At.Addr })
		if at && x.Servers[p.Server] != nil {
			out = append(out, p)
		}
	}
	return out
}

// rulesAt lists the rules of our own groups that the address's ports carry.
func (e *exam) rulesAt(x *asset.Index, q asked) []asset.Rule {
	var out []asset.Rule
	for _, p := range e.portsAt(x, q) {
		for _, id := range p.Groups {
			if g := x.Groups[id]; g != nil && g.Name.Raw() == groupName {
				out = append(out, g.Rules...)
			}
		}
	}
	return out
}

// without deletes a rule for good if the disagreement stays without it, and makes it anew if not.
func (e *exam) without(ctx context.Context, r asset.Rule, q asked) (*asset.Index, bool) {
	at := e.w.api.Network + "/security-group-rules/"
	var body struct {
		Rule map[string]any `json:"security_group_rule"`
	}
	if _, err := e.w.api.Do(ctx, "GET", at+string(r.ID), nil, &body); err != nil {
		return nil, false
	}
	if _, err := e.w.api.Do(ctx, "DELETE", at+string(r.ID), nil, nil); err != nil {
		return nil, false
	}
	if err := settle(ctx, e.w.testbed); err == nil {
		if x, err := e.read(ctx); err == nil {
			q.answer = reach.Compute(x, q.source.view()).Lookup(q.At)
			if got, err := answers(ctx, e.w.testbed, q.source.vantage, []asked{q}); err == nil && got[0] != q.answer.Scanner {
				return x, true
			}
		}
	}
	again := map[string]any{}
	for _, k := range []string{"security_group_id", "direction", "ethertype", "protocol", "port_range_min", "port_range_max", "remote_ip_prefix", "remote_group_id", "remote_address_group_id"} {
		if body.Rule[k] != nil {
			again[k] = body.Rule[k]
		}
	}
	if _, err := e.w.api.Do(ctx, "POST", e.w.api.Network+"/security-group-rules", map[string]any{"security_group_rule": again}, nil); err != nil {
		fmt.Println("  a rule could not be made again:", err)
	}
	return nil, false
}
