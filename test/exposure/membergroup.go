package main

import (
	"context"
	"fmt"
)

// memberGroup asks about a rule that names a group as its remote, from a machine that sits on the external network itself: while its port
// carries that group it is let in, and shut out when it does not. Group and rule stay as they are; only the membership changes.
func (e *exam) memberGroup(ctx context.Context) error {
	member, err := e.w.portOf("nofilter")
	if err != nil {
		return err
	}
	asked, err := e.w.portOf("student")
	if err != nil {
		return err
	}
	named, err := e.w.emptyGroup(ctx, member.Project)
	if err != nil {
		return err
	}
	beside, err := e.w.emptyGroup(ctx, member.Project)
	if err != nil {
		return err
	}
	group, err := e.w.sshGroup(ctx, asked.Project, map[string]any{"remote_group_id": named})
	if err != nil {
		return err
	}
	if err := e.w.carry(ctx, asked.ID, group); err != nil {
		return err
	}
	from := source{"h-nofilter", member.Fixed[0].Addr, fromInternet}
	for _, carried := range []string{named, beside} {
		if err := e.w.carry(ctx, member.ID, carried); err != nil {
			return err
		}
		in := carried == named
		if err := e.ssh(ctx, from, asked.ID, in, fmt.Sprint("a member of the remote group: ", in)); err != nil {
			return err
		}
	}
	return e.w.drop(ctx, []string{asked.ID, member.ID}, group, beside, named) // the one whose rule names another goes first
}
