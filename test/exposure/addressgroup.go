package main

import (
	"context"
	"errors"
	"fmt"

	"demarc/internal/probe"
	"demarc/internal/reach"
)

// addressGroup asks about a rule that names an address group: a member is let in, as predicted, or the exam is wrong. Who is no member is
// to be kept out; where he is not, the cloud's own filter leaks, and that is what Demarc reports. Neutron's driver for OVN in OpenStack
// Zed writes no match for such a remote (neutron/common/ovn/acl.py), so there the answer is known, and told apart.
func (e *exam) addressGroup(ctx context.Context) (leaks bool, err error) {
	const members = "198.51.100.10/32"
	p, err := e.w.portOf("student")
	if err != nil {
		return false, err
	}
	set, err := e.w.post(ctx, "address-groups", "address_group", map[string]any{"name": groupName, "project_id": p.Project, "addresses": []string{members}})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, e.w.delete(context.WithoutCancel(ctx), "address-groups/"+set)) }()
	id, err := e.w.sshGroup(ctx, p.Project, map[string]any{"remote_address_group_id": set})
	if err != nil {
		return false, err
	}
	if err := e.w.carry(ctx, p.ID, id); err != nil {
		return false, err
	}
	leaks, err = e.members(ctx, p)
	return leaks, errors.Join(err, e.w.drop(ctx, []string{p.ID}, id))
}

// members asks from an address of the group and from one beside it.
func (e *exam) members(ctx context.Context, p wirePort) (leaks bool, err error) {
	if err := settle(ctx, e.w.testbed); err != nil {
		return false, err
	}
	x, err := e.read(ctx)
	if err != nil {
		return false, err
	}
	var qs []asked
	for _, s := range sources[:2] {
		set := reach.Compute(x, s.view())
		for _, f := range x.Snapshot.FloatingIPs {
			if string(f.Port) == p.ID {
				at := probe.Endpoint{Addr: f.Addr, Proto: probe.TCP, Port: 22}
				qs = append(qs, asked{question{s.addr, at}, s, set.Lookup(at)})
			}
		}
	}
	if len(qs) != 2 || !qs[0].answer.Scanner || qs[1].answer.Scanner {
		return false, fmt.Errorf("the address group is not understood: %v", qs)
	}
	got, err := answers(ctx, e.w.testbed, "internet", qs)
	if err != nil {
		return false, err
	}
	e.count(qs[0])
	if !got[0] {
		e.t.Wrong++
		fmt.Printf("WRONG: %s from %s, a member of the address group: predicted open, the packet says no\n", qs[0].At, qs[0].From)
	}
	return got[1], nil
}

// portOf finds the first port of a server.
func (w *world) portOf(server string) (wirePort, error) {
	for _, p := range w.ports {
		if w.servers[p.Device] == server {
			return p, nil
		}
	}
	return wirePort{}, fmt.Errorf("the scenario has no server %s", server)
}
