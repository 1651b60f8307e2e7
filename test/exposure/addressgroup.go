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
	i := e.w.portOf("student")
	if i < 0 {
		return false, errors.New("the scenario has no server student")
	}
	p := e.w.ports[i]
	e.w.touched[p.ID] = true
	var set struct {
		Group struct{ ID string } `json:"address_group"`
	}
	a := e.w.api
	if _, err := a.Do(ctx, "POST", a.Network+"/address-groups", map[string]any{"address_group": map[string]any{"name": groupName, "project_id": p.Project, "addresses": []string{members}}}, &set); err != nil {
		return false, err
	}
	defer func() {
		_, dropped := a.Do(context.WithoutCancel(ctx), "DELETE", a.Network+"/address-groups/"+set.Group.ID, nil, nil)
		err = errors.Join(err, dropped)
	}()
	id, err := e.w.emptyGroup(ctx, p.Project)
	if err != nil {
		return false, err
	}
	rule := map[string]any{"security_group_rule": map[string]any{"security_group_id": id, "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22, "remote_address_group_id": set.Group.ID}}
	if _, err := a.Do(ctx, "POST", a.Network+"/security-group-rules", rule, nil); err != nil {
		return false, err
	}
	if err := e.w.update(ctx, p.ID, map[string]any{"admin_state_up": true, "port_security_enabled": true, "allowed_address_pairs": []pair{}, "security_groups": []string{id}}); err != nil {
		return false, err
	}
	leaks, err = e.members(ctx, p)
	return leaks, errors.Join(err, e.w.update(ctx, p.ID, map[string]any{"security_groups": []string{}}), e.w.drop(ctx, id))
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
func (w *world) portOf(server string) int {
	for i, p := range w.ports {
		if w.servers[p.Device] == server {
			return i
		}
	}
	return -1
}

// emptyGroup makes a group of ours that lets nothing in.
func (w *world) emptyGroup(ctx context.Context, project string) (string, error) {
	var made struct {
		Group struct{ ID string } `json:"security_group"`
	}
	_, err := w.api.Do(ctx, "POST", w.api.Network+"/security-groups", map[string]any{"security_group": map[string]any{"name": groupName, "project_id": project}}, &made)
	if err == nil {
		w.made = append(w.made, made.Group.ID)
	}
	return made.Group.ID, err
}

func (w *world) drop(ctx context.Context, id string) error {
	_, err := w.api.Do(ctx, "DELETE", w.api.Network+"/security-groups/"+id, nil, nil)
	if err == nil {
		for i := range w.made {
			if w.made[i] == id {
				w.made = append(w.made[:i], w.made[i+1:]...)
				break
			}
		}
	}
	return err
}
