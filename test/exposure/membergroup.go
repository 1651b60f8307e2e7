package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"demarc/internal/probe"
	"demarc/internal/reach"
)

// memberGroup asks about a rule that names a group as its remote, from a machine that sits on the external network itself: while its port
// carries that group it is let in, and shut out when it does not. Group and rule stay as they are; only the membership changes.
func (e *exam) memberGroup(ctx context.Context) (err error) {
	from, to := e.w.portOf("nofilter"), e.w.portOf("student")
	if from < 0 || to < 0 {
		return errors.New("the scenario has no servers nofilter and student")
	}
	member, asked := e.w.ports[from], e.w.ports[to]
	e.w.touched[member.ID], e.w.touched[asked.ID] = true, true
	ids := make([]string, 3)
	for i, project := range []string{member.Project, member.Project, asked.Project} {
		if ids[i], err = e.w.emptyGroup(ctx, project); err != nil {
			return err
		}
	}
	a := e.w.api
	rule := map[string]any{"security_group_rule": map[string]any{"security_group_id": ids[2], "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22, "remote_group_id": ids[0]}}
	if _, err := a.Do(ctx, "POST", a.Network+"/security-group-rules", rule, nil); err != nil {
		return err
	}
	carry := func(port, group string) error {
		return e.w.update(ctx, port, map[string]any{"admin_state_up": true, "port_security_enabled": true, "allowed_address_pairs": []pair{}, "security_groups": []string{group}})
	}
	if err := carry(asked.ID, ids[2]); err != nil {
		return err
	}
	s := source{"h-nofilter", member.Fixed[0].Addr, fromInternet}
	for i, in := range []bool{true, false} {
		if err := carry(member.ID, ids[i]); err != nil {
			return err
		}
		if err := e.asMember(ctx, s, asked, in); err != nil {
			return err
		}
	}
	var errs []error
	for _, p := range []wirePort{asked, member} {
		errs = append(errs, e.w.update(ctx, p.ID, map[string]any{"security_groups": []string{}}))
	}
	for _, id := range []string{ids[2], ids[1], ids[0]} { // the one whose rule names another goes first
		errs = append(errs, e.w.drop(ctx, id))
	}
	return errors.Join(errs...)
}

// asMember asks from a machine of the cloud about the other machine's floating IP, on the port that the rule names and on one beside.
func (e *exam) asMember(ctx context.Context, s source, p wirePort, in bool) error {
	if err := settle(ctx, e.w.testbed); err != nil {
		return err
	}
	x, err := e.read(ctx)
	if err != nil {
		return err
	}
	set := reach.Compute(x, reach.View{Zone: "cloud", Scanners: []netip.Addr{s.addr}, Blocks: s.blocks})
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
	if len(qs) != 2 || qs[0].answer.Scanner != in || qs[1].answer.Scanner {
		return fmt.Errorf("the remote group is not understood: %v", qs)
	}
	return e.hold(ctx, s, qs, fmt.Sprint("a member of the remote group: ", in))
}
