package flow

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/fault"
	"demarc/internal/finding"
	"demarc/internal/plan"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// looks are the timers that are answered by looking, or by moving the case on; the others are answered by acts.
var looks = []casework.Timer{casework.TimerRecheck, casework.TimerDue, casework.TimerGrace, casework.TimerProbation}

// verify takes one timer that has fallen due: a deadline moves the case on, a recheck looks again.
func (l *Line) verify(ctx context.Context) (bool, error) {
	due, err := l.Ledger.DueTimers(ctx, l.Clock.Now())
	if err != nil {
		return false, err
	}
	for _, t := range due {
		key := string(t.Timer) + " " + t.Case
		if !slices.Contains(looks, t.Timer) || l.waiting(key) {
			continue
		}
		if t.Timer == casework.TimerRecheck {
			err = l.recheck(ctx, t.Case)
		} else {
			err = l.fire(ctx, t)
		}
		if err != nil {
			l.putOff(key, err)
			return true, fmt.Errorf("case %s, %s: %w", t.Case, t.Timer, err)
		}
		l.done(key)
		return true, nil
	}
	return false, nil
}

func (l *Line) fire(ctx context.Context, t casework.Due) error {
	ds, err := l.dossier(ctx, t.Case)
	if err != nil {
		return err
	}
	d := l.draft("verify")
	d.disarm(t.Case, t.Timer)
	d.apply(ds, casework.Fired{Timer: t.Timer})
	return d.commit(ctx)
}

// recheck looks again at every live finding of a case. While an order of the case keeps the machine off the network, also at those that are
// fixed: what comes back meanwhile must not be called fixed when the machine is given back.
func (l *Line) recheck(ctx context.Context, id string) error {
	if err := l.fresh(ctx); err != nil {
		return err
	}
	ds, err := l.dossier(ctx, id)
	if err != nil {
		return err
	}
	d := l.draft("verify")
	d.disarm(id, casework.TimerRecheck)
	for _, f := range ds.Findings {
		if !f.State.Live() && (f.State != finding.Fixed || ds.Case.Act == "") {
			continue
		}
		if ds, err = d.lookAgain(ctx, ds, f); err != nil {
			return err
		}
	}
	return d.commit(ctx)
}

// fresh reads the cloud again unless the last reading is as fresh as the gate wants a binding to be.
func (l *Line) fresh(ctx context.Context) error {
	ok, age, err := l.healthy(ctx)
	if err != nil {
		return err
	}
	if ok && age >= 0 && age < l.Policy.Freshness.Binding.Micros() && l.x != nil {
		return nil
	}
	return l.reread(ctx)
}

// lookAgain probes one finding's endpoint, with a control endpoint that shows whether the path works. A port that was altered
// since the inventory was read is looked at once more with a new one.
func (d *draft) lookAgain(ctx context.Context, ds casework.Dossier, f finding.Finding) (casework.Dossier, error) {
	if slices.Contains(postureChecks, f.Key.Check) {
		return d.shortfallNow(ctx, ds, f)
	}
	ours, err := d.l.inForce(ctx, ds.Case)
	if err != nil {
		return ds, err
	}
	for try := 0; ; try++ {
		g, err := d.l.glance(ctx, ds.Case, f)
		hidden := false
		if err == nil && g.verdict == finding.Removed && ds.Case.Act == "" && len(ours) == 0 {
			hidden, err = d.l.inLostQuarantine(ctx, f)
		}
		switch {
		case err != nil:
			return ds, err
		case (ds.Case.Act != "" || len(ours) > 0) && (!g.held || g.moved): // unplugging it, or plugging its port in elsewhere, proves nothing of a machine that we took off the network
			return d.noVerdict(ds, f, "its port is not where it was when the machine was taken off the network"), nil
		case !g.held && g.shared: // that says nothing of the weakness
			return d.noVerdict(ds, f, "others claim its addresses too"), nil
		case !g.held:
			return d.notHeld(ds, f), nil
		case g.moved:
			return d.discard(ds, f, fmt.Sprintf("%s changed hands while it was looked at", g.at.Addr)), nil
		case g.touched && try == 0:
			if err := d.l.reread(ctx); err != nil {
				return ds, err
			}
		case hidden:
			return d.noVerdict(ds, f, "its port is in the quarantine, which no action in force explains, and hides it"), nil
		case g.touched:
			return d.noVerdict(ds, f, "its port, its floating IP or its server was altered during the check"), nil
		default:
			f.Endpoint = g.at
			return d.draw(ds, f, g.sight, g.verdict), nil
		}
	}
}

// inLostQuarantine reports whether a finding's port is in the quarantine although no action in force explains that: by an order that was settled as one
// that never took effect, or by somebody else. The rules let nobody in then, which is no fix: it ends with the quarantine.
func (l *Line) inLostQuarantine(ctx context.Context, f finding.Finding) (bool, error) {
	port := l.x.Ports[f.Key.Port]
	if port == nil {
		return false, nil
	}
	left, err := l.Ledger.Leftovers(ctx, l.Cloud)
	if err != nil || slices.ContainsFunc(left, func(x casework.Leftover) bool { return x.Kind == casework.LeftoverPort && x.Port == port.ID }) {
		return err == nil, err
	}
	acts, err := l.Ledger.ActsOn(ctx, l.Cloud, f.Key.Server)
	return slices.ContainsFunc(acts, func(a casework.Act) bool {
		return a.State == casework.ActVoid && a.KeepsOff() && slices.ContainsFunc(quarantineOf(a), func(g asset.GroupID) bool { return slices.Contains(port.Groups, g) })
	}), err
}

// glance is one look at one finding.
type glance struct {
	at             probe.Endpoint
	held           bool // the machine has an address at which it can be seen
	shared         bool // it has none of its own, and one that other machines answer at too
	moved, touched bool // see steadiness
	sight          sight
	verdict        finding.Verdict // "" when it says nothing
}

func (l *Line) glance(ctx context.Context, c casework.Case, f finding.Finding) (glance, error) {
	v := l.vantage(f.Vantage)
	if v == nil {
		return glance{}, fault.New(fault.Config, "vantage %s of finding %s is not configured", f.Vantage, f.ID)
	}
	set, err := l.asSaved(ctx, c, v)
	if err != nil {
		return glance{}, err
	}
	var g glance
	if g.at, g.held, g.shared = l.whereNow(f); !g.held {
		return g, nil
	}
	control, hasControl, err := l.control(ctx, v, f)
	if err != nil {
		return g, err
	}
	shard := probe.Shard{ID: "recheck-" + f.ID, Vantage: v.Name, Purpose: probe.Recheck, Targets: targets(set, f, g.at)}
	if hasControl {
		shard.Targets = append(shard.Targets, control)
	}
	h, err := l.collect(ctx, v, set, shard)
	if err != nil {
		return g, err
	}
	here := func(s sight) bool {
		return s.Endpoint.Addr == g.at.Addr && (!isForwarded(f) || s.Endpoint == g.at)
	}
	g.moved, g.touched = slices.ContainsFunc(h.moved, here), slices.ContainsFunc(h.touched, here)
	alive := hasControl && slices.ContainsFunc(h.sights, func(s sight) bool { return s.Endpoint == control && s.Facts.Outcome == probe.Open })
	var host []sight
	for _, s := range h.sights {
		if here(s) {
			host = append(host, s)
		}
	}
	for _, s := range host {
		if s.Endpoint == g.at && !g.touched {
			g.sight, g.verdict = s, l.verdict(f, s, host, set.LookupAt(g.at, f.Key.Port), alive)
		}
	}
	return g, nil
}

// mostOfHost bounds how many ports of one host a look at the host as a whole asks.
const mostOfHost = 16

// targets lists what a look at a finding asks: its endpoint, or, where the finding is about the host as a whole, the ports
// that are open to us at the address.
func targets(set *reach.Set, f finding.Finding, at probe.Endpoint) []probe.Endpoint {
	out := []probe.Endpoint{at}
	if f.Key.Locus != "host" {
		return out
	}
	for _, port := range plan.Known {
		e := probe.Endpoint{Addr: at.Addr, Proto: at.Proto, Port: port}
		if len(out) < mostOfHost && e != at && set.Lookup(e).Scanner {
			out = append(out, e)
		}
	}
	return out
}

// draw writes a look that says something; one that says nothing is repeated later.
func (d *draft) draw(ds casework.Dossier, f finding.Finding, s sight, v finding.Verdict) casework.Dossier {
	if f.State == finding.Fixed && v == finding.NoAnswer {
		v = finding.Inconclusive // that it is fixed is proven, and silence does not take that back
	}
	live := func(f finding.Finding) bool { return f.State.Live() }
	if f.State == finding.Fixed && v != finding.Vulnerable && slices.ContainsFunc(ds.Findings, live) {
		return ds // all that matters is whether it is back; what is live decides when it is looked for again
	}
	if v == "" || v == finding.Inconclusive {
		return d.noVerdict(ds, f, "the answer, or the rules of the cloud as they are read, tell neither that it is there nor that it is fixed")
	}
	for i := range ds.Findings {
		if ds.Findings[i].ID == f.ID {
			ds.Findings[i].Endpoint = f.Endpoint
		}
	}
	return d.look(ds, f, s, v)
}

// noVerdict notes that a look said nothing, and looks again.
func (d *draft) noVerdict(ds casework.Dossier, f finding.Finding, why string) casework.Dossier {
	return d.later(d.apply(ds, casework.NoVerdict{Finding: f.ID, Why: why, Off: !d.l.running(f)}), f)
}

// later looks again in an hour, and at a machine that is off in a day. At what is fixed it looks again when what is live is looked at.
func (d *draft) later(ds casework.Dossier, f finding.Finding) casework.Dossier {
	live := func(f finding.Finding) bool { return f.State.Live() }
	if f.State == finding.Fixed && slices.ContainsFunc(ds.Findings, live) {
		return ds
	}
	again := hour
	if !d.l.running(f) {
		again = day
	}
	d.arm(casework.Due{Case: ds.Case.ID, Timer: casework.TimerRecheck, At: d.now + again})
	return ds
}

// notHeld: the machine has no address any more at which it could be seen. Before it was confirmed, the observation is
// discarded: it may have been another machine's. Afterwards its owner took it off the network, which is a fix.
func (d *draft) notHeld(ds casework.Dossier, f finding.Finding) casework.Dossier {
	if ds.Case.State == casework.New && f.State == finding.Suspicion {
		return d.discard(ds, f, fmt.Sprintf("%s does not lead to the machine any more", f.Endpoint.Addr))
	}
	if p := d.l.x.Ports[f.Key.Port]; p != nil && p.Server != f.Key.Server {
		return d.discard(ds, f, "the port no longer says that it is the machine's")
	}
	return d.draw(ds, f, sight{}, finding.Removed)
}

func (d *draft) discard(ds casework.Dossier, f finding.Finding, why string) casework.Dossier {
	h := about(ds.Case, "observation.discarded")
	h.Finding, h.Check, h.Detail = f.ID, f.Key.Check, why
	d.say(h)
	return d.apply(ds, casework.Discarded{Finding: f.ID, Why: why})
}

// shares tells whether an address outside leads to a port of which others say the same, or that is forwarded.
func (l *Line) shares(p asset.PortID) bool {
	port := l.x.Ports[p]
	if port == nil {
		return false
	}
	if len(l.x.FloatingOf[p]) > 0 {
		return true
	}
	return slices.ContainsFunc(port.FixedIPs, func(a asset.FixedIP) bool { return l.holds[a.Addr].Shared })
}

// has tells whether an address is one of a port's own, or of a floating IP's that leads to it.
func (l *Line) has(p asset.PortID, a netip.Addr) bool {
	port := l.x.Ports[p]
	return port != nil && (slices.ContainsFunc(port.FixedIPs, func(f asset.FixedIP) bool { return f.Addr == a }) ||
		slices.ContainsFunc(l.x.FloatingOf[p], func(f *asset.FloatingIP) bool { return f.Addr == a }))
}

// whereNow finds the address at which a finding's port can be asked: the one it was seen at, if the port still holds it,
// else another of the port's. While somebody else claims that address too, nothing is asked: what would answer elsewhere, or who would,
// says nothing about the finding.
func (l *Line) whereNow(f finding.Finding) (at probe.Endpoint, ok, shared bool) {
	if f.Key.Server == "" {
		set := l.reach(l.vantage(f.Vantage))
		c := set.Lookup(f.Endpoint).Connected
		mine := c != nil && c.Project == f.Project
		return f.Endpoint, mine, !mine && set.Joins(f.Endpoint.Addr, f.Project) // it is gone only when its project joins it no longer
	}
	if isForwarded(f) {
		h, by := l.forwardedTo(f.Endpoint)
		mine := by != nil && h.Port == f.Key.Port && h.Server == f.Key.Server
		return f.Endpoint, mine, !mine && l.forwards[f.Endpoint.Addr] == nil && l.has(f.Key.Port, f.Endpoint.Addr)
	}
	if h := l.holds[f.Endpoint.Addr]; (h.Shared || h.Port != f.Key.Port && l.outside(f.Endpoint.Addr)) && l.has(f.Key.Port, f.Endpoint.Addr) {
		return f.Endpoint, false, true
	}
	var other netip.Addr
	for _, addr := range l.addrs[f.Key.Port] {
		if h := l.holds[addr]; h.Server != f.Key.Server || h.Shared {
			continue
		}
		if addr == f.Endpoint.Addr {
			return f.Endpoint, true, false
		}
		if addr.Is4() == f.Endpoint.Addr.Is4() && !other.IsValid() {
			other = addr
		}
	}
	at = f.Endpoint
	at.Addr = other
	return at, other.IsValid(), !other.IsValid() && l.shares(f.Key.Port)
}

// control picks an endpoint of another machine that is known to be open to the vantage point: if it answers, the path works.
func (l *Line) control(ctx context.Context, v *Vantage, f finding.Finding) (e probe.Endpoint, ok bool, err error) {
	open, err := l.Ledger.OpenExposures(ctx, v.Name)
	if err != nil {
		return probe.Endpoint{}, false, err
	}
	holders := l.holds
	for _, e := range open {
		h := holders[e.Endpoint.Addr]
		s := l.server(h.Server)
		if e.Config == configOpen && h.Server != f.Key.Server && s != nil && s.Active() {
			return e.Endpoint, true, nil
		}
	}
	return probe.Endpoint{}, false, nil
}

func (l *Line) vantage(name string) *Vantage {
	for i := range l.Vantages {
		if l.Vantages[i].Name == name {
			return &l.Vantages[i]
		}
	}
	return nil
}

// asSaved is what a vantage point could reach if a restricted machine had the groups it will get back, with the rules these
// groups hold now: whether the owner fixed it there is asked of it. It does not matter whose case restricts the machine: what
// our own quarantine hides is not fixed.
func (l *Line) asSaved(ctx context.Context, c casework.Case, v *Vantage) (*reach.Set, error) {
	order := c.Act
	if order == "" {
		acts, err := l.inForce(ctx, c)
		if err != nil {
			return nil, err
		}
		if len(acts) == 0 {
			return l.reach(v), nil
		}
		order = acts[len(acts)-1].ID
	}
	act, err := l.Ledger.Act(ctx, order)
	if err != nil {
		return nil, err
	}
	s := *l.x.Snapshot
	s.Ports = slices.Clone(s.Ports)
	for _, o := range act.Ports {
		for i := range s.Ports {
			if s.Ports[i].ID == o.Port {
				asGivenBack(&s.Ports[i], o, func(g asset.GroupID) bool { return l.x.Groups[g] != nil })
			}
		}
	}
	return reach.Compute(asset.NewIndex(&s), v.View), nil
}
