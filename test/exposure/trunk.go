package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"demarc/internal/probe"
	"demarc/internal/reach"
)

// trunk asks at a trunk's subport that has a floating IP and a group of its own: the subport's group decides, and the parent's does not.
// Then the trunk is set down, which Neutron takes for a lock on its subports and not for their end.
func (e *exam) trunk(ctx context.Context) (err error) {
	i := e.w.portOf("student")
	if i < 0 {
		return errors.New("the scenario has no server student")
	}
	parent, a := e.w.ports[i], e.w.api
	e.w.touched[parent.ID] = true
	if err := e.w.update(ctx, parent.ID, map[string]any{"admin_state_up": true}); err != nil { // a subport needs its parent, and nothing of its filters
		return err
	}
	var undo []func(context.Context) error
	defer func() {
		for k := len(undo) - 1; k >= 0; k-- {
			err = errors.Join(err, undo[k](context.WithoutCancel(ctx)))
		}
	}()
	gone := func(at string) { // when the exam is over
		undo = append(undo, func(ctx context.Context) error {
			_, err := a.Do(ctx, "DELETE", a.Network+at, nil, nil)
			return err
		})
	}
	group, err := e.w.emptyGroup(ctx, parent.Project)
	if err != nil {
		return err
	}
	undo = append(undo, func(ctx context.Context) error { return e.w.drop(ctx, group) })
	rule := map[string]any{"security_group_rule": map[string]any{"security_group_id": group, "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22}}
	if _, err := a.Do(ctx, "POST", a.Network+"/security-group-rules", rule, nil); err != nil {
		return err
	}
	var sub struct{ Port wirePort }
	if _, err := a.Do(ctx, "POST", a.Network+"/ports", map[string]any{"port": map[string]any{"name": groupName, "network_id": parent.Network, "project_id": parent.Project, "security_groups": []string{group}}}, &sub); err != nil {
		return err
	}
	gone("/ports/" + sub.Port.ID)
	var made struct {
		Trunk    struct{ ID string } `json:"trunk"`
		Floating struct {
			ID   string
			Addr netip.Addr `json:"floating_ip_address"`
		} `json:"floatingip"`
	}
	if _, err := a.Do(ctx, "POST", a.Network+"/floatingips", map[string]any{"floatingip": map[string]any{"floating_network_id": e.w.network("public"), "project_id": parent.Project, "port_id": sub.Port.ID}}, &made); err != nil {
		return err
	}
	gone("/floatingips/" + made.Floating.ID)
	subports := []map[string]any{{"port_id": sub.Port.ID, "segmentation_type": "vlan", "segmentation_id": vlan}}
	if _, err := a.Do(ctx, "POST", a.Network+"/trunks", map[string]any{"trunk": map[string]any{"name": groupName, "project_id": parent.Project, "port_id": parent.ID, "sub_ports": subports}}, &made); err != nil {
		return err
	}
	at := "/trunks/" + made.Trunk.ID
	gone(at)
	stop, err := subport(ctx, e.w.testbed, "student", parent.MAC, sub.Port)
	if err != nil {
		return err
	}
	defer stop()
	if err := e.atSubport(ctx, made.Floating.Addr, "at a subport"); err != nil {
		return err
	}
	if _, err := a.Do(ctx, "PUT", a.Network+at, map[string]any{"trunk": map[string]any{"admin_state_up": false}}, nil); err != nil {
		return err
	}
	err = e.atSubport(ctx, made.Floating.Addr, "at a subport of a trunk that is set down")
	_, up := a.Do(ctx, "PUT", a.Network+at, map[string]any{"trunk": map[string]any{"admin_state_up": true}}, nil)
	return errors.Join(err, up)
}

// atSubport asks on the port that the subport's group opens, and on one beside.
func (e *exam) atSubport(ctx context.Context, at netip.Addr, what string) error {
	if err := settle(ctx, e.w.testbed); err != nil {
		return err
	}
	x, err := e.read(ctx)
	if err != nil {
		return err
	}
	s := sources[0]
	set := reach.Compute(x, s.view())
	var qs []asked
	for _, port := range []uint16{22, 23} {
		q := probe.Endpoint{Addr: at, Proto: probe.TCP, Port: port}
		qs = append(qs, asked{question{s.addr, q}, s, set.Lookup(q)})
	}
	if !qs[0].answer.Scanner || qs[1].answer.Scanner {
		return fmt.Errorf("%s: not understood: %+v", what, qs)
	}
	return e.hold(ctx, s, qs, what)
}
