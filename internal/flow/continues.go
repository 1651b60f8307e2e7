package flow

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/casework"
)

// returnsWithin is for how long a machine that is made on the ports or volumes of a deleted one continues that one's case.
const returnsWithin = 30 * day

// continues links a new case to the latest one of a deleted machine of the project that had one of its ports or volumes.
func (d *draft) continues(ctx context.Context, ds *casework.Dossier) error {
	if ds.Case.Server == "" {
		return nil
	}
	ended, err := d.l.Ledger.Cases(ctx, access.Operator(), casework.Filter{Project: ds.Case.Project, States: []casework.State{casework.Moot}})
	if err != nil {
		return err
	}
	var last *casework.Case
	for i := range ended {
		c := &ended[i]
		if sameMachine(*c, ds.Case) && d.now-c.ClosedAt <= returnsWithin && (last == nil || c.ClosedAt > last.ClosedAt) {
			last = c
		}
	}
	if last != nil {
		d.link(ds, *last)
	}
	return nil
}

// continuedBy links a case that ends because its machine was deleted to the open case of a machine that was made on its ports or volumes
// before the deletion was certain.
func (d *draft) continuedBy(ctx context.Context, ended casework.Case) error {
	open, err := d.l.Ledger.Cases(ctx, access.Operator(), casework.Filter{Project: ended.Project, Live: true})
	if err != nil {
		return err
	}
	for _, c := range open {
		between := c.Previous == ended.Previous // both were linked to the one before, as the ended one was not over yet
		if c.ID == ended.ID || !between || c.OpenedAt < ended.OpenedAt || !sameMachine(ended, c) {
			continue
		}
		ds, err := d.dossier(ctx, c.ID)
		if err != nil {
			return err
		}
		d.link(&ds, ended)
	}
	return nil
}

// sameMachine tells whether the machine of the second case has a port or volume of that of the first, of which its owner was notified, or would
// have been in a digest.
func sameMachine(old, c casework.Case) bool {
	same := slices.ContainsFunc(old.Ports, func(p asset.PortID) bool { return slices.Contains(c.Ports, p) }) ||
		slices.ContainsFunc(old.Volumes, func(v asset.VolumeID) bool { return slices.Contains(c.Volumes, v) })
	return same && (old.Told || old.Missed) && old.Cloud == c.Cloud && old.Track == c.Track && old.Server != c.Server
}

// link notes in a case which one it continues.
func (d *draft) link(ds *casework.Dossier, last casework.Case) {
	h := about(ds.Case, "case.continues")
	h.From, h.Detail = last.ID, "case "+last.Ref()+" was about a machine that was deleted, on the same ports or volumes; "+notifiedIn(last)
	d.say(h)
	*ds = d.apply(*ds, casework.Continued{Case: last.ID, Renewed: last.Renewed, Told: last.Told, Missed: last.Missed})
}

// notifiedIn says when the owner was notified in a case.
func notifiedIn(c casework.Case) string {
	for _, step := range []casework.Step{casework.StepFinal, casework.StepNotice} {
		if ns := c.Accepted(step); len(ns) > 0 {
			return fmt.Sprintf("its owner received a %s on %s", strings.ReplaceAll(string(step), "_", " "),
				time.UnixMicro(ns[0].AcceptedAt).UTC().Format("2006-01-02 15:04 UTC"))
		}
	}
	if !c.Told {
		return "its owner was not notified yet"
	}
	return "its owner was notified"
}
