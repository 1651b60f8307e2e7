package reach

import (
	"cmp"
	"iter"
	"net/netip"
	"reflect"
	"slices"
	"sort"

	"demarc/internal/asset"
	"demarc/internal/ipset"
	"demarc/internal/probe"
)

// What a change does.
const (
	Opens  = "opens"
	Closes = "closes"
)

// Whom a change is for.
const (
	ForZone    = "zone"    // somebody of the zone who is not us
	ForScanner = "scanner" // our probe alone
)

// Change is a run of endpoints of one machine at one address that one state of a cloud opens and another does not. By lists what
// lets in who was not let in before, or no longer is: of the new state for what opens, of the old one for what closes.
type Change struct {
	What    string          `json:"what"`  // opens, closes
	For     string          `json:"for"`   // zone, scanner
	State   string          `json:"state"` // now; when_on: of a machine that is off
	Server  asset.ServerID  `json:"server,omitempty"`
	Port    asset.PortID    `json:"port"`
	Project asset.ProjectID `json:"project"`
	Addr    netip.Addr      `json:"addr"`
	Prefix  netip.Prefix    `json:"prefix,omitzero"`
	Proto   probe.Proto     `json:"proto"`
	First   uint16          `json:"first"`
	Last    uint16          `json:"last"`
	By      []Opening       `json:"by"`
}

// ray is a run of ports at one site that one object opens to some sources. The ports are those of the site, and not yet those of a
// forwarding's inside.
type ray struct {
	span
	off      bool
	from, us ipset.Set // of the zone, and of our scanners
	site     *site
	hole     hole
	side     *Set
}

// Diff tells what a cloud would open and close to a view if it were as after says, and is as before says. Endpoints are compared,
// with whom they are open to: a rule that is replaced by two that let the same through opens nothing, and one that lets more
// sources in does. A machine that has another's address is another machine. The two sets are of the same view.
//
// An address pair wider than one address is compared as a whole, by its prefix.
func Diff(before, after *Set) []Change {
	var out []Change
	old, now, same := newRays(before), newRays(after), unchanged{before, after, map[asset.GroupID]bool{}}
	for at := range places(before, after) {
		a, b := old.sites(at), now.sites(at)
		if slices.EqualFunc(a, b, same.site) {
			continue
		}
		was, is := old.at(a), now.at(b)
		for _, k := range machines(was, is) {
			out = append(out, compareRays(was[k], is[k])...)
		}
	}
	return out
}

// unchanged finds, without working out what is open, the sites of which nothing that decides has changed: nearly all of them.
type unchanged struct {
	before, after *Set
	groups        map[asset.GroupID]bool
}

func (u unchanged) site(a, b *site) bool {
	p, q := a.port, b.port
	if p.ID != q.ID || p.Server != q.Server || a.off != b.off || p.PortSecurity != q.PortSecurity || trusted(p) != trusted(q) || !slices.Equal(p.Groups, q.Groups) {
		return false
	}
	if (a.fwd == nil) != (b.fwd == nil) || a.fwd != nil && *a.fwd != *b.fwd || (a.lb == nil) != (b.lb == nil) || a.lb != nil && !reflect.DeepEqual(a.lb.Listeners, b.lb.Listeners) {
		return false
	}
	if w, v := u.before.walls[p.ID], u.after.walls[q.ID]; len(w)+len(v) > 0 && (a.to() != b.to() || !reflect.DeepEqual(w, v)) {
		return false
	}
	return !slices.ContainsFunc(p.Groups, func(id asset.GroupID) bool { return !u.group(id) })
}

// group tells whether a group lets in the same on both sides.
func (u unchanged) group(id asset.GroupID) bool {
	same, known := u.groups[id]
	if !known {
		g, h := u.before.x.Groups[id], u.after.x.Groups[id]
		same = g == nil && h == nil || g != nil && h != nil && g.Stateless == h.Stateless && slices.EqualFunc(g.Rules, h.Rules, u.rule)
		u.groups[id] = same
	}
	return same
}

func (u unchanged) rule(a, b asset.Rule) bool {
	if a != b {
		return false
	}
	if a.RemoteGroup == "" && a.RemoteAddress == "" {
		return true
	}
	x, y := u.before.comp.remote(&a), u.after.comp.remote(&b)
	return slices.Equal(x.all, y.all) && slices.Equal(x.outside, y.outside)
}

// place is an address, or an address pair wider than one.
type place struct {
	addr netip.Addr
	wide netip.Prefix
}

func (s *site) place() place { return place{s.addr, s.wide} }

func (a place) compare(b place) int {
	return cmp.Or(a.addr.Compare(b.addr), cmp.Compare(a.wide.Bits(), b.wide.Bits()))
}

// places goes through the places of both sets, in order, those of single addresses first.
func places(before, after *Set) iter.Seq[place] {
	return func(yield func(place) bool) {
		for _, both := range [][2][]site{{before.sites, after.sites}, {before.wide, after.wide}} {
			all := make([]place, 0, len(both[0])+len(both[1]))
			for _, sites := range both {
				for i := range sites {
					all = append(all, sites[i].place())
				}
			}
			slices.SortFunc(all, place.compare)
			for _, p := range slices.Compact(all) {
				if !yield(p) {
					return
				}
			}
		}
	}
}

// answering is who answers at a place: the machine, else the port.
type answering struct {
	server asset.ServerID
	port   asset.PortID
}

func machines(a, b map[answering][]ray) []answering {
	var out []answering
	for k := range a {
		out = append(out, k)
	}
	for k := range b {
		if _, both := a[k]; !both {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b answering) int { return cmp.Or(cmp.Compare(a.server, b.server), cmp.Compare(a.port, b.port)) })
	return out
}

// rays finds what opens each place of a set. What one rule lets in is worked out once.
type rays struct {
	s    *Set
	who  map[*asset.Rule][2]ipset.Set
	wide []int // indexes of s.wide by place
}

func newRays(s *Set) *rays {
	r := &rays{s: s, who: map[*asset.Rule][2]ipset.Set{}, wide: make([]int, len(s.wide))}
	for i := range r.wide {
		r.wide[i] = i
	}
	slices.SortStableFunc(r.wide, func(a, b int) int { return s.wide[a].place().compare(s.wide[b].place()) })
	return r
}

// sites lists the sites of a place.
func (r *rays) sites(p place) []*site {
	var out []*site
	if p.wide.IsValid() {
		i := sort.Search(len(r.wide), func(i int) bool { return r.s.wide[r.wide[i]].place().compare(p) >= 0 })
		for ; i < len(r.wide) && r.s.wide[r.wide[i]].place() == p; i++ {
			out = append(out, &r.s.wide[r.wide[i]])
		}
		return out
	}
	i := sort.Search(len(r.s.sites), func(i int) bool { return !r.s.sites[i].addr.Less(p.addr) })
	for ; i < len(r.s.sites) && r.s.sites[i].addr == p.addr; i++ {
		out = append(out, &r.s.sites[i])
	}
	return out
}

// at gathers the rays of sites by who answers.
func (r *rays) at(sites []*site) map[answering][]ray {
	out := map[answering][]ray{}
	for _, t := range sites {
		k := answering{server: t.port.Server}
		if k.server == "" {
			k.port = t.port.ID
		}
		out[k] = r.of(out[k], t)
	}
	return out
}

// of appends the rays of a site, each as far as the firewall groups before it let it.
func (r *rays) of(out []ray, t *site) []ray {
	for _, h := range r.s.holes(t) {
		for _, inner := range h.ports {
			from, us := r.sources(t, h, inner.proto)
			for _, part := range r.walled(t, inner, from, us) {
				for _, shown := range t.outside(spans{part.span}) {
					part.span, part.off, part.site, part.hole, part.side = shown, t.off, t, h, r.s
					out = append(out, part)
				}
			}
		}
	}
	return out
}

// sources are those of the zone and of our scanners that a hole lets in with one protocol.
func (r *rays) sources(t *site, h hole, proto transport) (from, us ipset.Set) {
	family, e := t.family(), r.s.eyes
	all, outside := ipset.Every(family), ipset.Every(family)
	switch {
	case t.lb != nil:
		all, outside = h.from, h.from
	case h.rule != "":
		g := r.s.x.Groups[h.group]
		i := slices.IndexFunc(g.Rules, func(x asset.Rule) bool { return x.ID == h.rule })
		if g.Stateless && !t.port.IgnoresStateless() { // who is let in is who is answered, and that depends on the port and the protocol
			return r.answered(t.port, &g.Rules[i], h, proto)
		}
		known, ok := r.who[&g.Rules[i]]
		if !ok {
			in := r.s.comp.remote(&g.Rules[i])
			known = [2]ipset.Set{in.outside.And(e.zone), in.all.And(e.scanners)}
			r.who[&g.Rules[i]] = known
		}
		from, us = known[0], known[1]
		return given(from, h.zone), given(us, h.scanner)
	}
	return given(outside.And(e.zone), h.zone), given(all.And(e.scanners), h.scanner)
}

// given is a ipset.Set, or nothing.
func given(s ipset.Set, is bool) ipset.Set {
	if !is {
		return nil
	}
	return s
}

// answered are the sources that a rule of a stateless group lets in and that egress rules answer.
func (r *rays) answered(p *asset.Port, in *asset.Rule, h hole, proto transport) (from, us ipset.Set) {
	e, x := r.s.eyes, r.s.comp.remote(in)
	for out := range r.s.comp.egress(p, in.EtherType) {
		some, ours, _ := answers(out, proto)
		to := r.s.comp.remote(out).all
		if some && h.zone {
			from = append(from, x.outside.And(to).And(e.zone)...)
		}
		if some && ours && h.scanner {
			us = append(us, x.all.And(to).And(e.scanners)...)
		}
	}
	return from.Normal(), us.Normal()
}

// walled divides a run of a port's own ports by what the firewall groups before it let through.
func (r *rays) walled(t *site, inner span, from, us ipset.Set) []ray {
	parts := []ray{{span: inner, from: from, us: us}}
	for _, f := range r.s.walls[t.port.ID] {
		if !f.AdminUp {
			return nil
		}
		var next []ray
		for _, p := range parts {
			for _, c := range cuts(f, inner.proto) {
				for _, s := range (spans{p.span}).and(spans{c}) {
					next = append(next, ray{span: s, from: allowed(f, s, p.from, t.to()), us: allowed(f, s, p.us, t.to())})
				}
			}
		}
		parts = next
	}
	return slices.DeleteFunc(parts, func(p ray) bool { return len(p.from)+len(p.us) == 0 })
}

// segment is a run of ports within which every ray is there whole or not at all.
type segment struct {
	span
	found []Change
}

// compareRays compares what one machine opens at one place.
func compareRays(was, is []ray) []Change {
	if sameRays(was, is) {
		return nil
	}
	var segs []segment
	for t := range transports {
		var at []int
		for _, r := range slices.Concat(was, is) {
			if r.proto == transport(t) { //nolint:gosec // an index of transports
				at = append(at, int(r.first), int(r.last)+1)
			}
		}
		slices.Sort(at)
		at = slices.Compact(at)
		for i := range max(0, len(at)-1) {
			segs = append(segs, segment{span: span{transport(t), uint16(at[i]), uint16(at[i+1] - 1)}}) //nolint:gosec // ports
		}
	}
	for i := range segs {
		segs[i].found = changesIn(segs[i].span, was, is)
	}
	return joinSegments(segs)
}

// sameRays is the common case: nothing changed here.
func sameRays(a, b []ray) bool {
	return slices.EqualFunc(a, b, func(a, b ray) bool {
		return a.span == b.span && a.off == b.off && slices.Equal(a.from, b.from) && slices.Equal(a.us, b.us)
	})
}

// reached is who gets in within a segment: now, and if everything were on.
type reached struct{ now, ever, usNow, usEver ipset.Set }

func crossing(s span, rs []ray) (out reached, in []ray) {
	for _, r := range rs {
		if r.proto != s.proto || s.first < r.first || r.last < s.last {
			continue
		}
		in = append(in, r)
		out.ever, out.usEver = append(out.ever, r.from...), append(out.usEver, r.us...)
		if !r.off {
			out.now, out.usNow = append(out.now, r.from...), append(out.usNow, r.us...)
		}
	}
	return reached{out.now.Normal(), out.ever.Normal(), out.usNow.Normal(), out.usEver.Normal()}, in
}

func changesIn(s span, was, is []ray) []Change {
	a, from := crossing(s, was)
	b, to := crossing(s, is)
	var out []Change
	for _, dir := range []struct {
		what string
		lost reached
		has  reached
		by   []ray
	}{{Opens, a, b, to}, {Closes, b, a, from}} {
		now, ever := dir.has.now.Minus(dir.lost.now), dir.has.ever.Minus(dir.lost.ever)
		ever = ever.Minus(now)
		usNow, usEver := dir.has.usNow.Minus(dir.lost.usNow), dir.has.usEver.Minus(dir.lost.usEver)
		usEver = usEver.Minus(usNow)
		for _, c := range []struct {
			audience, state string
			who             ipset.Set
		}{{ForZone, Now, now}, {ForZone, WhenOn, ever}, {ForScanner, Now, usNow}, {ForScanner, WhenOn, usEver}} {
			if len(c.who) == 0 || c.audience == ForScanner && len(now)+len(ever) > 0 {
				continue // that it is for us too is of no matter where it is for others
			}
			out = append(out, changeBy(s, dir.what, c.audience, c.state, c.who, dir.by))
		}
	}
	return out
}

// changeBy names what lets some sources in.
func changeBy(s span, what, audience, state string, who ipset.Set, rs []ray) Change {
	c := Change{What: what, For: audience, State: state, Proto: transports[s.proto], First: s.first, Last: s.last}
	for _, r := range rs {
		lets := r.from
		if audience == ForScanner {
			lets = r.us
		}
		if !lets.Meets(who) || state == Now && r.off {
			continue
		}
		o := r.site.opening(r.span, r.hole, len(r.us) > 0, len(r.from) > 0, r.site.chain(r.side.x), r.side.state[r.site.i].doubts)
		c.Server, c.Port, c.Project, c.Addr, c.Prefix = o.Server, o.Port, o.Project, o.Addr, o.Prefix
		c.By = append(c.By, o)
	}
	c.By = sorted(c.By)
	return c
}

// joinSegments makes one change of those that follow each other and have one cause.
func joinSegments(segs []segment) []Change {
	var out []Change
	for _, s := range segs {
		for _, c := range s.found {
			i := len(out) - 1
			for ; i >= 0; i-- {
				if o := &out[i]; o.Proto == c.Proto && int(o.Last)+1 == int(c.First) && o.What == c.What && o.For == c.For && o.State == c.State && sameCause(o.By, c.By) {
					o.Last = c.Last
					break
				}
			}
			if i < 0 {
				out = append(out, c)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.First, b.First), cmp.Compare(b.What, a.What))
	})
	return out
}

func sameCause(a, b []Opening) bool {
	return slices.EqualFunc(a, b, func(a, b Opening) bool {
		return a.Rule == b.Rule && a.Port == b.Port && a.First == b.First && a.Last == b.Last && a.Remote == b.Remote && slices.Equal(a.Why, b.Why)
	})
}
