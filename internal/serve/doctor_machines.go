package serve

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/detect"
	"demarc/internal/finding"
	"demarc/internal/flow"
	"demarc/internal/reach"
	"demarc/internal/store"
	"demarc/internal/untrusted"
)

// mostMachines bounds how many machines a diagnosis names.
const mostMachines = 20

// machines tells which machines no action can reach, what of ours is left over in the cloud, and which findings the loaded checks judge
// otherwise than they are stored. All of it is read from the database.
func (d Doctor) machines(ctx context.Context, k *chart) {
	db := d.reader(ctx)
	if db == nil {
		return
	}
	defer db.Close() //nolint:errcheck // it was only read
	snap, err := db.Snapshot(ctx, d.Config.Cloud.Name, 0)
	if err != nil {
		k.warn(MachinesUnread, "see the database", "the inventory could not be read: %s", err)
		return
	}
	if len(snap.Servers) == 0 {
		return
	}
	d.outOfReach(k, asset.NewIndex(snap))
	if left, err := db.Leftovers(ctx, d.Config.Cloud.Name); err != nil {
		k.warn(MachinesUnread, "see the database", "the leftovers could not be read: %s", err)
	} else {
		tellLeftovers(k, left)
	}
	if err := tellDiffering(ctx, k, db); err != nil {
		k.warn(MachinesUnread, "see the database", "the findings could not be read: %s", err)
	}
}

func (d Doctor) outOfReach(k *chart, x *asset.Index) {
	var views []reach.View
	for _, v := range d.Config.Vantages {
		views = append(views, d.Config.view(v))
	}
	out := flow.NoActionReaches(x, views, func(s asset.Server) bool { return slices.Contains(d.Config.Protected, s.ID) })
	if len(out) == 0 {
		k.fine(MachinesReached, "an action can reach each of %d machines", len(x.Snapshot.Servers))
		return
	}
	var names []string
	for i, o := range out {
		if i == mostMachines {
			names = append(names, fmt.Sprintf("and %d more", len(out)-i))
			break
		}
		name := string(o.Server)
		if s := x.Servers[o.Server]; s != nil && !s.Name.Empty() {
			name = s.Name.Terminal()
		}
		names = append(names, name+": "+untrusted.From(o.Why).Terminal())
	}
	k.warn(MachinesOutOfReach, "docs/cases.md, the gate, says what happens to them instead",
		"no action can reach %d of %d machines (%s)", len(out), len(x.Snapshot.Servers), strings.Join(names, "; "))
}

func tellLeftovers(k *chart, left []casework.Leftover) {
	if len(left) == 0 {
		return
	}
	var names []string
	for i, l := range left {
		if i == mostMachines {
			names = append(names, fmt.Sprintf("and %d more", len(left)-i))
			break
		}
		names = append(names, string(l.Kind)+" "+untrusted.From(l.ID()).Terminal())
	}
	k.warn(Leftovers, "demarc enforce pending lists them; demarc enforce clear ID ends one",
		"no action in force explains what an order of Demarc left on %s", strings.Join(names, ", "))
}

// tellDiffering lists live findings that are stored with a graver class or grade than the loaded check says. The gate takes the milder.
func tellDiffering(ctx context.Context, k *chart, db *store.DB) error {
	checks, err := detect.Load()
	if err != nil {
		return err
	}
	by := map[string]detect.Check{}
	for _, c := range checks {
		by[c.ID] = c
	}
	fs, err := db.Findings(ctx, access.Operator(), finding.Filter{States: finding.LiveStates})
	if err != nil {
		return err
	}
	var names []string
	for _, f := range fs {
		c, ok := by[f.Key.Check]
		if ok && (casework.Graver(f.Class, string(c.Class)) || f.Grade == finding.Proved && c.Grade != detect.Proved) {
			names = append(names, fmt.Sprintf("%s (%s, class %s, %s; revision %d of the check says %s, %s)",
				f.ID, f.Key.Check, f.Class, f.Grade, c.Revision, c.Class, c.Grade))
		}
	}
	if n := len(names); n > 0 {
		if n > mostMachines {
			names = append(names[:mostMachines:mostMachines], fmt.Sprintf("and %d more", n-mostMachines))
		}
		k.warn(FindingsDiffer, "nothing is enforced beyond the milder; withdraw the case if the check was wrong",
			"%d findings are stored graver than their check says now: %s", n, strings.Join(names, "; "))
	}
	return nil
}
