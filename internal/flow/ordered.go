package flow

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"demarc/internal/asset"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/fault"
)

// errForged says that the record of an order is not what was ordered. Nothing is done to a machine by it.
var errForged = errors.New("the audit log does not have this order as the database has it")

// digest identifies what an order says: what it does, to what, and what is given back after it. What became of it is not part of it.
func digest(a casework.Act) (string, error) {
	a.State, a.EndedAt, a.Note, a.Lost, a.Version = "", 0, "", nil, 0
	a.Ports = slices.Clone(a.Ports)
	for i := range a.Ports {
		a.Ports[i].Done, a.Ports[i].Fenced = false, false
	}
	if a.Machine != nil {
		m := *a.Machine
		m.Steps = slices.Clone(m.Steps)
		for i := range m.Steps {
			m.Steps[i].Done, m.Steps[i].Idle = false, false
		}
		a.Machine = &m
	}
	b, err := json.Marshal(a)
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), err
}

// ordered is nil where the audit log of a case proves that its orders, with these words, were given; the log is read once for all of them.
// Somebody who can write into the table of orders must not be able to have anything done to a machine, nor to have anything else given back
// than what was saved.
//
// errForged: it does not. Any other error says nothing about the order: the log was not read, and the question is asked again later.
func (l *Line) ordered(ctx context.Context, as ...casework.Act) error {
	if len(as) == 0 {
		return nil
	}
	given, err := l.given(ctx, as[0].Case)
	if err != nil {
		return err
	}
	for _, a := range as {
		want, err := digest(a)
		if err != nil {
			return err
		}
		if a.Case != as[0].Case || !given[want] {
			return errForged
		}
	}
	return nil
}

// given reads the audit log of a case, and lists the digests of the orders that were given in it.
func (l *Line) given(ctx context.Context, id string) (map[string]bool, error) {
	entries, err := l.Ledger.Witness(ctx, id)
	if errors.Is(err, audit.ErrUnproven) {
		return nil, fmt.Errorf("%w: %w", errForged, err)
	}
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	for _, e := range entries {
		var h Happening
		if e.Kind == "act.intended" && json.Unmarshal(e.Detail, &h) == nil {
			out[h.Order] = true
		}
	}
	return out, nil
}

// latestProven picks, of orders in the order in which they were given, for each of some ports the latest that the audit log proves and that
// saved what the port had; the latest of all comes first. The log of a case is read once, and only where an order of it is asked about.
func (l *Line) latestProven(
	ctx context.Context, orders []casework.Act, ports []asset.PortID, saved func(casework.PortOrder) bool,
) ([]casework.Act, error) {
	var out []casework.Act
	logs := map[string]map[string]bool{}
	for _, a := range slices.Backward(orders) {
		if !slices.ContainsFunc(a.Ports, func(o casework.PortOrder) bool { return slices.Contains(ports, o.Port) && saved(o) }) {
			continue
		}
		if _, read := logs[a.Case]; !read {
			given, err := l.given(ctx, a.Case)
			if err != nil && !errors.Is(err, errForged) { // a log that proves nothing proves none of its orders
				return nil, err
			}
			logs[a.Case] = given
		}
		sum, err := digest(a)
		if err != nil {
			return nil, err
		}
		if !logs[a.Case][sum] {
			continue
		}
		out = append(out, a)
		ports = slices.DeleteFunc(slices.Clone(ports), func(id asset.PortID) bool {
			return slices.ContainsFunc(a.Ports, func(o casework.PortOrder) bool { return o.Port == id && saved(o) })
		})
	}
	return out, nil
}

// mostAsked is how often the cloud is asked about an order that nobody gave: what it names may be nothing that can be asked for.
const mostAsked = 6

// disown ends an order that the audit log does not prove: nothing more is done for it, and the case that it names waits for a person.
// Where the cloud shows that a part of it took effect all the same, the case keeps it, so that nobody takes the machine for untouched.
func (l *Line) disown(ctx context.Context, a casework.Act, why error) error {
	n, unread := l.ask(ctx, &a)
	if unread != nil && l.failed["settle "+a.ID].tries < mostAsked {
		return unread
	}
	ds, err := l.dossier(ctx, a.Case)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	d := l.draft(stepOf(a.Kind))
	a.State, a.EndedAt, a.Note = casework.ActVoid, d.now, why.Error()
	hold := casework.Hold{Why: fmt.Sprintf("action %s on server %s: %s; nothing was done for it", a.ID, a.Server, why)}
	if n[casework.Happened] > 0 && !a.Kind.Closes() {
		a.State = casework.ActHeld
		hold.Why = fmt.Sprintf("action %s on server %s: %s, and the cloud shows a part of it; look at the server and its ports",
			a.ID, a.Server, why)
	}
	if (n[casework.Happened] > 0 || unread != nil) && a.Kind.Closes() && a.Server == ds.Case.Server {
		a.State = casework.ActHeld
		hold = casework.Hold{Act: a.ID, Stopped: halted(a) || a.Kind == casework.ActStop && unread != nil}
		hold.Why = fmt.Sprintf("action %s on server %s: %s, and the cloud shows a part of it or cannot be asked; look at the server, "+
			"and restore the security groups of its ports by hand", a.ID, a.Server, why)
	}
	d.change.Acts = append(d.change.Acts, a)
	if err != nil { // there is no such case
		d.say(Happening{Event: "act.disowned", ServerID: a.Server, Act: string(a.Kind), Detail: why.Error()})
		return d.commit(ctx)
	}
	d.acted(ds.Case, a, "act.disowned", why.Error())
	if a.State == casework.ActHeld && a.Renews != "" && a.Renews == ds.Case.Act { // it may be what keeps the machine off the network by now
		ds = d.apply(ds, casework.Held{Act: a.ID})
	}
	d.apply(ds, hold)
	return d.commit(ctx)
}

// holdForged hands a case to a person whose order in force is not what was ordered. It does not show what the machine is to get back. Where
// a person has taken the case back after that, it ends.
func (l *Line) holdForged(ctx context.Context, ds casework.Dossier, why error) error {
	d := l.draft("release")
	if decidedWithoutRecord(ds.Case) {
		d.disarm(ds.Case.ID, casework.TimerRelease)
		d.apply(ds, casework.Restored{Lost: ds.Case.Lost})
		return d.commit(ctx)
	}
	ds.Case.Lost = []string{unprovenRecord(ds.Case.Act)}
	for _, t := range []casework.Timer{casework.TimerRecheck, casework.TimerRelease, casework.TimerStart, casework.TimerHold} {
		d.disarm(ds.Case.ID, t)
	}
	d.acted(ds.Case, casework.Act{ID: ds.Case.Act}, "act.disowned", why.Error())
	d.apply(ds, casework.Hold{Why: fmt.Sprintf("action %s, which keeps the server off the network: %s; "+
		"restore the security groups of its ports by hand", ds.Case.Act, why)})
	return d.commit(ctx)
}

// orderedAll asks the same of the order in force of a case and of those that it stands for.
func (l *Line) orderedAll(ctx context.Context, c casework.Case, order casework.Act) error {
	orders, err := l.chain(ctx, order)
	if err != nil {
		return err
	}
	for _, o := range orders {
		if o.Case != c.ID || o.Server != c.Server {
			return errForged
		}
	}
	return l.ordered(ctx, orders...)
}
