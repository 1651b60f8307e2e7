package main

import (
	"context"
	"errors"
)

// sharedGroup asks about a group of one project that another project carries by RBAC: it counts where it is carried.
func (e *exam) sharedGroup(ctx context.Context) error {
	owner, err := e.w.portOf("portal")
	if err != nil {
		return err
	}
	user, err := e.w.portOf("student")
	if err != nil {
		return err
	}
	group, err := e.w.sshGroup(ctx, owner.Project, nil)
	if err != nil {
		return err
	}
	share, err := e.w.post(ctx, "rbac-policies", "rbac_policy", map[string]any{"object_type": "security_group", "object_id": group, "action": "access_as_shared", "target_tenant": user.Project})
	if err != nil {
		return err
	}
	if err := e.w.carry(ctx, user.ID, group); err != nil {
		return err
	}
	if err := e.ssh(ctx, sources[0], user.ID, true, "by a group of another project"); err != nil {
		return err
	}
	// shared as long as it is carried: it is taken off first
	return errors.Join(e.w.update(ctx, user.ID, map[string]any{"security_groups": []string{}}), e.w.delete(ctx, "rbac-policies/"+share), e.w.drop(ctx, nil, group))
}
