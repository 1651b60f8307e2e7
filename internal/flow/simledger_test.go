package flow

import (
	"cmp"
	"context"
	"encoding/json"
	"net/netip"
	"slices"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/fault"
	"demarc/internal/finding"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

// did carries out what is done to a machine, and remembers it as the cloud does.
func (w *simulated) did(id asset.ServerID, do casework.MachineDo, reason string) {
	s := w.servers[id]
	switch do {
	case casework.DoLock:
		s.Locked, s.LockedReason = true, untrusted.From(reason)
	case casework.DoUnlock:
		s.Locked, s.LockedReason = false, untrusted.Text{}
	case casework.DoStop:
		s.Status = "SHUTOFF"
	case casework.DoStart:
		s.Status = "ACTIVE"
	}
	w.servers[id] = s
	request := string(do) + string(rune('a'+len(w.actions)))
	w.actions = append(w.actions, asset.ServerAction{Request: request, Action: string(do), User: w.account, Ours: true})
	w.changes = append(w.changes, string(do))
}

// simLedger is the ledger of a simulated world. What is not here is not called.
type simLedger struct {
	Ledger
	*simulated
}

func (w simLedger) Paused(context.Context) (bool, error) { return w.paused, w.call("paused") }

func (w simLedger) Mode(context.Context) (policy.Mode, bool, error) {
	return w.mode, true, w.call("mode")
}

func (w simLedger) ProofsFrom(context.Context) (int64, error) {
	return w.proofsFrom, w.call("proofs from")
}

func (w simLedger) Snapshot(context.Context, string, int64) (*asset.Snapshot, error) {
	return w.inventory, w.call("snapshot")
}

func (w simLedger) BindingsAt(context.Context, access.Scope, netip.Addr, int64) ([]asset.Binding, error) {
	return nil, w.call("bindings")
}

func (w simLedger) LastCoverage(context.Context, string, string, string, probe.Purpose) (probe.Coverage, bool, error) {
	if err := w.call("coverage"); err != nil {
		return probe.Coverage{}, false, err
	}
	return w.coverage, true, nil
}

func (w simLedger) LastPage(context.Context, string) (asset.Page, bool, error) {
	return asset.Page{}, false, w.call("last page")
}

func (w simLedger) Reached(context.Context, string) (string, error) { return "", w.call("reached") }

func (w simLedger) OpenExposures(context.Context, string) ([]probe.Exposure, error) {
	return w.open, w.call("exposures")
}

func (w simLedger) Case(_ context.Context, _ access.Scope, id string) (casework.Case, error) {
	if err := w.call("case"); err != nil {
		return casework.Case{}, err
	}
	c, ok := w.cases[id]
	if !ok {
		return c, fault.New(fault.NotFound, "case %s", id)
	}
	return c, nil
}

func (w simLedger) Cases(_ context.Context, _ access.Scope, f casework.Filter) ([]casework.Case, error) {
	if err := w.call("cases"); err != nil {
		return nil, err
	}
	var out []casework.Case
	for _, c := range w.cases {
		over := c.State == casework.Closed || c.State == casework.Moot
		if (f.Project == "" || f.Project == c.Project) && (len(f.States) == 0 || slices.Contains(f.States, c.State)) && (!f.Live || !over) {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b casework.Case) int { return slices.Compare([]byte(a.ID), []byte(b.ID)) })
	return out, nil
}

func (w simLedger) OpenCase(_ context.Context, k casework.Key) (casework.Case, bool, error) {
	if err := w.call("open case"); err != nil {
		return casework.Case{}, false, err
	}
	for _, c := range w.cases {
		if c.Key() == k && c.State != casework.Closed && c.State != casework.Moot {
			return c, true, nil
		}
	}
	return casework.Case{}, false, nil
}

func (w simLedger) Findings(_ context.Context, _ access.Scope, f finding.Filter) ([]finding.Finding, error) {
	if err := w.call("findings"); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(w.findings), func(x finding.Finding) bool {
		return f.Case != "" && x.Case != f.Case || len(f.States) > 0 && !slices.Contains(f.States, x.State)
	}), nil
}

func (w simLedger) Sightings(_ context.Context, id string) ([]finding.Sighting, error) {
	return slices.Clone(w.looks[id]), w.call("sightings")
}

func (w simLedger) Witness(_ context.Context, id string) ([]audit.Entry, error) {
	if err := w.call("witness"); err != nil {
		return nil, err
	}
	return slices.Concat(w.log[id], w.orders(id)), w.logErr
}

// orders are the entries of the log about the actions of a case: each is in it as it is in the ledger.
func (w simLedger) orders(id string) (out []audit.Entry) {
	for _, a := range w.acts {
		sum, err := digest(a)
		if err != nil || a.Case != id || w.forged {
			continue
		}
		said, err := json.Marshal(Happening{Event: "act.intended", Case: id, Act: string(a.Kind), Order: sum})
		if err != nil {
			panic(err)
		}
		out = append(out, audit.Entry{Kind: "act.intended", Case: id, At: a.IntendedAt, Detail: said})
	}
	return out
}

func (w simLedger) WitnessKinds(_ context.Context, since int64, most int, kinds ...string) ([]audit.Entry, error) {
	if err := w.call("witness kinds"); err != nil {
		return nil, err
	}
	var out []audit.Entry
	for _, of := range w.log {
		out = append(out, slices.DeleteFunc(slices.Clone(of), func(e audit.Entry) bool { return !slices.Contains(kinds, e.Kind) })...)
	}
	slices.SortStableFunc(out, func(a, b audit.Entry) int { return cmp.Compare(b.At, a.At) })
	older := slices.IndexFunc(out, func(e audit.Entry) bool { return e.At < since })
	if older > 0 {
		out = out[:older] // the newest is always there
	} else if older == 0 {
		out = out[:1]
	}
	return out[:min(most, len(out))], nil
}

func (w simLedger) PortsWithin(context.Context, string, []asset.NetworkID, int64) ([]asset.Port, error) {
	return w.then, w.call("ports within")
}

func (w simLedger) PersonLeft(_ context.Context, _ string, _ asset.ProjectID, a string) (int64, error) {
	return w.left[a], w.call("person left")
}

func (w simLedger) Charges(_ context.Context, _ access.Scope, id string) ([]finding.Charge, error) {
	return slices.DeleteFunc(slices.Clone(w.charges), func(c finding.Charge) bool { return c.Finding != id }), w.call("charges")
}

func (w simLedger) Model(_ context.Context, id string, version int) (casework.ModelUse, bool, error) {
	if err := w.call("model"); err != nil {
		return casework.ModelUse{}, false, err
	}
	for _, m := range w.models {
		if m.ID == id && m.Version == version {
			return m, true, nil
		}
	}
	return casework.ModelUse{}, false, nil
}

func (w simLedger) DueTimers(_ context.Context, now int64) ([]casework.Due, error) {
	return slices.DeleteFunc(slices.Clone(w.due), func(t casework.Due) bool { return t.At > now }), w.call("due timers")
}

func (w simLedger) Timers(_ context.Context, id string) ([]casework.Due, error) {
	return slices.DeleteFunc(slices.Clone(w.due), func(t casework.Due) bool { return t.Case != id }), w.call("timers")
}

func (w simLedger) DueMail(_ context.Context, now int64) ([]casework.Mail, error) {
	return slices.DeleteFunc(slices.Clone(w.mails), func(m casework.Mail) bool {
		return m.NextAt > now || m.Status == casework.Taken || m.Status == casework.Bounced
	}), w.call("due mail")
}

func (w simLedger) Act(_ context.Context, id string) (casework.Act, error) {
	if err := w.call("act"); err != nil {
		return casework.Act{}, err
	}
	a := w.act(id)
	if a.ID == "" {
		return a, fault.New(fault.NotFound, "act %s", id)
	}
	return a, nil
}

// some picks actions.
func (w simLedger) some(name string, keep func(casework.Act) bool) ([]casework.Act, error) {
	if err := w.call(name); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(w.acts), func(a casework.Act) bool { return !keep(a) }), nil
}

func (w simLedger) ActsOn(_ context.Context, _ string, s asset.ServerID) ([]casework.Act, error) {
	return w.some("acts on", func(a casework.Act) bool { return a.Server == s })
}

func (w simLedger) RunningActs(context.Context) ([]casework.Act, error) {
	return w.some("running acts", func(a casework.Act) bool { return a.State == casework.ActIntended })
}

func (w simLedger) Acts(_ context.Context, _ string, since int64) ([]casework.Act, error) {
	return w.some("acts", func(a casework.Act) bool { return a.IntendedAt >= since })
}

func (w simLedger) Restricting(context.Context, string) ([]casework.Act, error) {
	return w.some("restricting", func(a casework.Act) bool { return a.Kind.Closes() })
}

func (w simLedger) Restored(context.Context, string) ([]casework.Act, error) {
	return w.some("restored", func(a casework.Act) bool { return !a.Kind.Restricts() && a.State == casework.ActDone })
}

func (w simLedger) Leftovers(context.Context, string) ([]casework.Leftover, error) {
	return w.leftovers, w.call("leftovers")
}

func (w simLedger) Clearings(context.Context) ([]casework.Clearing, error) {
	return w.clearings, w.call("clearings")
}

// Commit takes a change in, as far as the tests read it back.
func (w simLedger) Commit(_ context.Context, c casework.Change) error {
	if err := w.call("commit"); err != nil {
		return err
	}
	if w.commitErr != nil {
		return w.commitErr
	}
	if c.Require.Running && w.paused {
		return casework.ErrPaused
	}
	w.commits = append(w.commits, c)
	for _, x := range c.Cases {
		x.Version++
		w.cases[x.ID] = x
	}
	for _, x := range c.Findings {
		put(&w.findings, x, func(o finding.Finding) bool { return o.ID == x.ID })
	}
	for _, x := range c.Acts {
		x.Version++
		put(&w.acts, x, func(o casework.Act) bool { return o.ID == x.ID })
	}
	for _, x := range c.Mails {
		if slices.ContainsFunc(w.mails, func(o casework.Mail) bool { return o.MessageID == x.MessageID && o.ID != x.ID }) {
			continue // as in the store: one row for a Message-ID
		}
		put(&w.mails, x, func(o casework.Mail) bool { return o.ID == x.ID })
	}
	for _, x := range c.Disarm {
		w.due = slices.DeleteFunc(w.due, func(o casework.Due) bool { return o.Case == x.Case && o.Timer == x.Timer })
	}
	for _, x := range c.Arm {
		put(&w.due, x, func(o casework.Due) bool { return o.Case == x.Case && o.Timer == x.Timer })
	}
	for _, x := range c.Sightings {
		w.looks[x.Finding] = append(w.looks[x.Finding], x)
	}
	w.charges = append(w.charges, c.Charges...)
	w.models = append(w.models, c.Models...)
	if l, ok := c.Leftovers["lab"]; ok {
		w.leftovers = l
	}
	w.clearings = slices.DeleteFunc(w.clearings, func(x casework.Clearing) bool { return slices.Contains(c.Cleared, x.ID) })
	w.clearings = append(w.clearings, c.Clear...)
	for _, e := range c.Audit {
		w.log[e.Case] = append(w.log[e.Case], e)
	}
	return nil
}

// put replaces the element that is the same thing, or adds it.
func put[T any](list *[]T, x T, same func(T) bool) {
	if i := slices.IndexFunc(*list, same); i >= 0 {
		(*list)[i] = x
		return
	}
	*list = append(*list, x)
}

func (w simLedger) MailsOf(_ context.Context, id string) ([]casework.Mail, error) {
	if err := w.call("mails of"); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(w.mails), func(m casework.Mail) bool { return m.Case != id }), nil
}
