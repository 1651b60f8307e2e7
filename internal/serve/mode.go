package serve

import (
	"context"
	"slices"
	"strings"

	"demarc/internal/access"
	"demarc/internal/casework"
	"demarc/internal/fault"
	"demarc/internal/policy"
	"demarc/internal/store"
)

// removed replaces the error about the key cloud.act, which the mode replaces, by one with the line to write instead.
func removed(data []byte, err error) error {
	f, ok := fault.Of(err)
	if !ok || !strings.HasPrefix(f.Message, `unknown field "act"`) {
		return err
	}
	line := "mode: notify"
	if fault.ValueAt(data, f.At.Line, "act") == "true" {
		line = "mode: enforce"
	}
	return fault.New(fault.Config, "cloud.act was removed; the mode replaces it").In(f.At).
		Hinted("delete act, and write `%s` at the top level of this file; without it the mode is observe", line)
}

// checkMode refuses an unknown mode. An empty one is Observe.
func (c *Config) checkMode() *fault.Fault {
	if _, err := policy.ParseMode(string(c.Mode)); c.Mode == "" || err == nil {
		return nil
	}
	return fault.New(fault.Config, "unknown mode %q", string(c.Mode)).Hinted("one of observe, notify, enforce; without it, observe")
}

// mayStart refuses a database that has notified owners or the provider where the configuration would silently put it into a lower mode
// than the operators chose, or where the database does not say which mode they chose: deadlines that were announced would stop.
func mayStart(ctx context.Context, c *Config, db *store.DB) error {
	chosen, known, err := db.Mode(ctx)
	if err != nil {
		return err
	}
	if known && c.Mode.AtLeast(chosen) {
		return nil
	}
	notified, err := db.HasNotified(ctx)
	if err != nil || !notified {
		return err
	}
	if !known {
		return fault.New(fault.Refused, "the database has notified owners, and does not say in which mode it runs").
			Hinted("choose one: demarc mode set %s --reason TEXT --config FILE", c.Mode.Known())
	}
	return fault.New(fault.Refused, "the configuration allows the mode %s at most; the database has notified owners and is in the mode %s",
		c.Mode.Known(), chosen).
		Hinted("to lower it: demarc mode set %s --reason TEXT --config FILE; to go on as before, write `mode: %s` in the configuration",
			c.Mode.Known(), chosen)
}

// needsActor reports whether an account is needed that may change the cloud: to enforce, or to give back what was restricted earlier and
// what is left over of that.
func (c *Config) needsActor(ctx context.Context, db *store.DB) (bool, error) {
	if c.Mode.AtLeast(policy.Enforce) {
		return true, nil
	}
	running, err := db.RunningActs(ctx)
	if err != nil || len(running) > 0 {
		return len(running) > 0, err
	}
	left, err := db.Leftovers(ctx, c.Cloud.Name)
	if err != nil || len(left) > 0 {
		return len(left) > 0, err
	}
	cases, err := db.Cases(ctx, access.Operator(), casework.Filter{Live: true})
	return slices.ContainsFunc(cases, func(k casework.Case) bool { return k.Act != "" }), err
}

// ModeState is the mode as it stands.
type ModeState struct {
	InForce policy.Mode `json:"in_force"` // the lower of the other two
	Chosen  policy.Mode `json:"chosen"`   // by the operators, in the database
	Highest policy.Mode `json:"highest"`  // that the configuration allows
}

// modeState reads the mode for a desk.
func (d *Desk) modeState(ctx context.Context) (*ModeState, error) {
	chosen, _, err := d.db.Mode(ctx)
	if err != nil {
		return nil, err
	}
	return &ModeState{InForce: chosen.Lower(d.highest), Chosen: chosen, Highest: d.highest}, nil
}

// setMode changes the mode and returns how it stands then.
func (d *Desk) setMode(ctx context.Context, q Ask) (Told, error) {
	if strings.TrimSpace(q.By) == "" {
		return Told{}, fault.New(fault.Usage, "the mode is not changed without a name").
			Hinted("say who decides with --by; it is kept in the audit log")
	}
	if err := d.line.SetMode(ctx, q.Mode, q.By, q.Why); err != nil {
		return Told{}, err
	}
	m, err := d.modeState(ctx)
	return Told{By: q.By, Mode: m}, err
}
