package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/cloud"
)

// release gives one machine back that is proven fixed. It waits for no window and no budget, and no kill switch stops it.
func (l *Line) release(ctx context.Context) (bool, error) {
	due, err := l.Ledger.DueTimers(ctx, l.Clock.Now())
	if err != nil {
		return false, err
	}
	for _, t := range due {
		key := "release " + t.Case
		if t.Timer != casework.TimerRelease || l.waiting(key) {
			continue
		}
		if err := l.giveBack(ctx, t.Case); err != nil {
			l.putOff(key, err)
			return true, fmt.Errorf("case %s: %w", t.Case, err)
		}
		if !l.waiting(key) { // the cloud may have shown that it never took effect
			l.done(key)
		}
		return true, nil
	}
	return false, nil
}

// giveBack writes the restore down and carries it out: every port gets the groups that were saved, but for what the owner
// changed meanwhile.
func (l *Line) giveBack(ctx context.Context, id string) error {
	ds, err := l.dossier(ctx, id)
	if err != nil {
		return err
	}
	d := l.draft("release")
	d.disarm(id, casework.TimerRelease)
	running, err := l.Ledger.RunningActs(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(running, func(a casework.Act) bool { return a.Case == id }) {
		return errUnfinished // what is under way is settled first
	}
	if ds.Case.Withdrawn != "" && ds.Case.Act == "" {
		d.apply(ds, casework.Restored{}) // nothing was done, so nothing is undone
		return d.commit(ctx)
	}
	if ds.Case.State != casework.Verifying || ds.Case.Act == "" || l.Actor == nil {
		return d.commit(ctx)
	}
	order, err := l.Ledger.Act(ctx, ds.Case.Act)
	if err != nil {
		return err
	}
	act := casework.Act{ID: newID(), Case: id, Cloud: order.Cloud, Server: order.Server, Project: order.Project, Kind: casework.ActRestore, State: casework.ActIntended,
		Undoes: order.ID, IntendedAt: d.now, RealAt: l.Clock.Real()}
	for _, o := range order.Ports {
		back, err := l.backOf(ctx, o)
		if errors.Is(err, cloud.ErrNotFound) {
			continue // the port is gone, and its groups with it
		}
		if err != nil {
			return err
		}
		act.Ports = append(act.Ports, back)
	}
	why := "every finding is proven gone"
	if ds.Case.Withdrawn != "" {
		why = "withdrawn by " + ds.Case.Withdrawn
	}
	d.intend(ds.Case, act, why)
	if err := d.commit(ctx); err != nil {
		return err
	}
	act.Version++
	return l.carryOut(ctx, act)
}

// backOf works out what one port gets back, from what was saved and what it holds now.
func (l *Line) backOf(ctx context.Context, o casework.PortOrder) (casework.PortOrder, error) {
	now, err := l.Actor.Port(ctx, o.Port)
	if err != nil {
		return casework.PortOrder{}, err
	}
	var gone error
	exists := func(g asset.GroupID) bool {
		_, err := l.Actor.Group(ctx, g)
		if err != nil && !errors.Is(err, cloud.ErrNotFound) {
			gone = errors.Join(gone, err)
		}
		return err == nil
	}
	after := casework.ThreeWay(o.Before, o.After, now.Groups, exists)
	if gone != nil {
		return casework.PortOrder{}, fmt.Errorf("reading the groups of port %s: %w", o.Port, gone)
	}
	return casework.PortOrder{Port: o.Port, Before: now.Groups, After: after, Revision: now.Revision}, nil
}
