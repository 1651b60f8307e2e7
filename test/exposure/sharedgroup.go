package main

import (
	"context"
	"errors"
	"fmt"

	"demarc/internal/probe"
	"demarc/internal/reach"
)

// sharedGroup asks about a group of one project that another project carries by RBAC: it counts where it is carried.
func (e *exam) sharedGroup(ctx context.Context) (err error) {
	owner, user := e.w.portOf("portal"), e.w.portOf("student")
	if owner < 0 || user < 0 {
		return errors.New("the scenario has no servers portal and student")
	}
	p, a := e.w.ports[user], e.w.api
	e.w.touched[p.ID] = true
	id, err := e.w.emptyGroup(ctx, e.w.ports[owner].Project)
	if err != nil {
		return err
	}
	var share struct {
		Policy struct{ ID string } `json:"rbac_policy"`
	}
	for _, post := range []struct {
		at         string
		body, into any
	}{
		{"/security-group-rules", map[string]any{"security_group_rule": map[string]any{"security_group_id": id, "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22}}, nil},
		{"/rbac-policies", map[string]any{"rbac_policy": map[string]any{"object_type": "security_group", "object_id": id, "action": "access_as_shared", "target_tenant": p.Project}}, &share},
	} {
		if _, err := a.Do(ctx, "POST", a.Network+post.at, post.body, post.into); err != nil {
			return err
		}
	}
	if err := e.w.update(ctx, p.ID, map[string]any{"admin_state_up": true, "port_security_enabled": true, "allowed_address_pairs": []pair{}, "security_groups": []string{id}}); err != nil {
		return err
	}
	err = e.asCarried(ctx, p)
	if back := e.w.update(ctx, p.ID, map[string]any{"security_groups": []string{}}); back != nil {
		return errors.Join(err, back)
	}
	_, unshared := a.Do(ctx, "DELETE", a.Network+"/rbac-policies/"+share.Policy.ID, nil, nil)
	return errors.Join(err, unshared, e.w.drop(ctx, id))
}

// asCarried asks from the internet, on the port that the shared group opens and on one beside.
func (e *exam) asCarried(ctx context.Context, p wirePort) error {
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
	for _, f := range x.Snapshot.FloatingIPs {
		if string(f.Port) != p.ID {
			continue
		}
		for _, port := range []uint16{22, 23} {
			at := probe.Endpoint{Addr: f.Addr, Proto: probe.TCP, Port: port}
			qs = append(qs, asked{question{s.addr, at}, s, set.Lookup(at)})
		}
	}
	if len(qs) != 2 || !qs[0].answer.Scanner || qs[1].answer.Scanner {
		return fmt.Errorf("the shared group is not understood: %v", qs)
	}
	return e.hold(ctx, s, qs, "by a group of another project")
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
