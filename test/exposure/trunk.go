package main

import (
	"context"
	"errors"
)

// trunk asks at a trunk's subport that has a floating IP and a group of its own: the subport's group decides, and the parent's does not.
// Then the trunk is set down, which Neutron takes for a lock on its subports and not for their end.
func (e *exam) trunk(ctx context.Context) (err error) {
	parent, err := e.w.portOf("student")
	if err != nil {
		return err
	}
	group, err := e.w.sshGroup(ctx, parent.Project, nil)
	if err != nil {
		return err
	}
	shut, err := e.w.emptyGroup(ctx, parent.Project)
	if err != nil {
		return err
	}
	if err := e.w.carry(ctx, parent.ID, shut); err != nil { // a subport needs its parent to be up, and nothing of its filters
		return err
	}
	var made []string
	defer func() { // what was made last goes first
		for i := len(made) - 1; i >= 0; i-- {
			err = errors.Join(err, e.w.delete(context.WithoutCancel(ctx), made[i]))
		}
		err = errors.Join(err, e.w.drop(context.WithoutCancel(ctx), []string{parent.ID}, shut, group))
	}()
	var sub struct{ Port wirePort }
	body := map[string]any{"name": groupName, "network_id": parent.Network, "project_id": parent.Project, "security_groups": []string{group}}
	if _, err := e.w.api.Do(ctx, "POST", e.w.api.Network+"/ports", map[string]any{"port": body}, &sub); err != nil {
		return err
	}
	made = append(made, "ports/"+sub.Port.ID)
	floating, err := e.w.post(ctx, "floatingips", "floatingip", map[string]any{"floating_network_id": e.w.network("public"), "project_id": parent.Project, "port_id": sub.Port.ID})
	if err != nil {
		return err
	}
	made = append(made, "floatingips/"+floating)
	trunk, err := e.w.post(ctx, "trunks", "trunk", map[string]any{"name": groupName, "project_id": parent.Project, "port_id": parent.ID,
		"sub_ports": []map[string]any{{"port_id": sub.Port.ID, "segmentation_type": "vlan", "segmentation_id": vlan}}})
	if err != nil {
		return err
	}
	made = append(made, "trunks/"+trunk)
	stop, err := subport(ctx, e.w.testbed, "student", parent.MAC, sub.Port)
	if err != nil {
		return err
	}
	defer stop()
	if err := e.ssh(ctx, sources[0], sub.Port.ID, true, "at a subport"); err != nil {
		return err
	}
	up := func(up bool) error {
		_, err := e.w.api.Do(ctx, "PUT", e.w.api.Network+"/trunks/"+trunk, map[string]any{"trunk": map[string]any{"admin_state_up": up}}, nil)
		return err
	}
	if err := up(false); err != nil {
		return err
	}
	return errors.Join(e.ssh(ctx, sources[0], sub.Port.ID, true, "at a subport of a trunk that is set down"), up(true))
}
