package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"demarc/internal/probe"
	"demarc/internal/reach"
)

// ssh asks at the floating IP of a port, on 22, which is predicted to be open or not, and on 23, which nothing opens.
func (e *exam) ssh(ctx context.Context, s source, port string, open bool, what string) error {
	if err := settle(ctx, e.w.testbed); err != nil {
		return err
	}
	x, err := e.read(ctx)
	if err != nil {
		return err
	}
	set := reach.Compute(x, s.view())
	var qs []asked
	for _, f := range x.Snapshot.FloatingIPs {
		if string(f.Port) != port {
			continue
		}
		for _, p := range []uint16{22, 23} {
			at := probe.Endpoint{Addr: f.Addr, Proto: probe.TCP, Port: p}
			qs = append(qs, asked{question{s.addr, at}, s, set.Lookup(at)})
		}
	}
	if len(qs) != 2 || qs[0].answer.Scanner != open || qs[1].answer.Scanner {
		return fmt.Errorf("%s: not understood: %+v", what, qs)
	}
	return e.hold(ctx, s, qs, what)
}

// hold counts questions, and tells of each that a packet answers otherwise than predicted.
func (e *exam) hold(ctx context.Context, s source, qs []asked, what string) error {
	got, err := answers(ctx, e.w.testbed, s.vantage, qs)
	if err != nil {
		return err
	}
	for i, q := range qs {
		e.count(q)
		if got[i] != q.answer.Scanner {
			e.t.Wrong++
			fmt.Printf("WRONG: %s from %s, %s: predicted %v, the packet says %v\n", q.At, q.From, what, q.answer.Scanner, got[i])
		}
	}
	return nil
}

// post makes an object of the network service, and gives its identifier.
func (w *world) post(ctx context.Context, plural, kind string, body map[string]any) (string, error) {
	var made map[string]struct{ ID string }
	_, err := w.api.Do(ctx, "POST", w.api.Network+"/"+plural, map[string]any{kind: body}, &made)
	if err != nil {
		return "", fmt.Errorf("%s: %w", kind, err)
	}
	return made[kind].ID, nil
}

// sshGroup makes a group of ours with one rule, for TCP on port 22, which further words may narrow.
func (w *world) sshGroup(ctx context.Context, project string, further map[string]any) (string, error) {
	id, err := w.emptyGroup(ctx, project)
	if err != nil {
		return "", err
	}
	rule := map[string]any{"security_group_id": id, "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22}
	maps.Copy(rule, further)
	_, err = w.post(ctx, "security-group-rules", "security_group_rule", rule)
	return id, err
}

// emptyGroup makes a group of ours that lets nothing in.
func (w *world) emptyGroup(ctx context.Context, project string) (string, error) {
	id, err := w.post(ctx, "security-groups", "security_group", map[string]any{"name": groupName, "project_id": project})
	if err == nil {
		w.made = append(w.made, id)
	}
	return id, err
}

// carry gives a port one group, and nothing else.
func (w *world) carry(ctx context.Context, port, group string) error {
	w.touched[port] = true
	return w.update(ctx, port, map[string]any{"admin_state_up": true, "port_security_enabled": true, "allowed_address_pairs": []pair{}, "security_groups": []string{group}})
}

// drop takes the groups off ports, and deletes those of ours that are named, in their order.
func (w *world) drop(ctx context.Context, ports []string, groups ...string) error {
	for _, p := range ports {
		if err := w.update(ctx, p, map[string]any{"security_groups": []string{}}); err != nil {
			return err
		}
	}
	for _, id := range groups {
		if err := w.delete(ctx, "security-groups/"+id); err != nil {
			return err
		}
		w.made = slices.DeleteFunc(w.made, func(m string) bool { return m == id })
	}
	return nil
}

func (w *world) delete(ctx context.Context, at string) error {
	_, err := w.api.Do(ctx, "DELETE", w.api.Network+"/"+at, nil, nil)
	return err
}
