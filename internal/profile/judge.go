package profile

import (
	"cmp"
	"net/netip"
	"slices"

	"demarc/internal/asset"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// Seen is what the cloud's rules open of a machine to one view: reach.Set.Of.
type Seen struct {
	View     reach.View
	Openings []reach.Opening
}

// Question is one machine, with all that is asked of it.
type Question struct {
	Index       *asset.Index
	Server      *asset.Server
	Choice      Choice
	Profiles    map[string]policy.Profile
	Institution []netip.Prefix   // what "institution" stands for
	Seen        []Seen           // by each zone that anybody looks from
	Listening   []probe.Endpoint // what answered at the addresses that are open
	Asked       []probe.Proto    // protocols of which every open port was asked: there, what did not answer does not listen
}

// Run is a run of ports of the machine.
type Run struct {
	Proto probe.Proto `json:"proto"`
	First uint16      `json:"first"`
	Last  uint16      `json:"last"`
}

// Beyond is a run of ports with those to whom it is open and may not be.
type Beyond struct {
	Run
	From []netip.Prefix `json:"from"`
}

// Deviation is one object of the cloud's configuration that opens what the machine's profile does not allow. Rule is empty where no
// rule does it: port security is off, or a port of the network service.
type Deviation struct {
	Port   asset.PortID  `json:"port"` // the machine's
	Group  asset.GroupID `json:"group,omitempty"`
	Rule   asset.RuleID  `json:"rule,omitempty"`
	Others int           `json:"others"` // ports of other machines that carry the group: they lose the rule too
	Zone   probe.Zone    `json:"zone"`   // who gets in
	State  string        `json:"state"`  // reach.Now, reach.WhenOn
	Beyond []Beyond      `json:"beyond"` // what of it is not allowed
	Used   []uint16      `json:"used"`   // of the runs, what really listens
	Remote string        `json:"remote"`
	Why    []string      `json:"why"`
	Doubts []string      `json:"doubts,omitempty"`
}

// Judge lists what is open to a machine beyond its profile, by port, zone and rule, and for each port of the machine the smallest set of
// rules that still serves what really listens within the profile. Of a protocol that was not asked nobody knows what listens: there the rules keep what is
// open and may be. What is open to our scanner alone is obedience, and no deviation.
func Judge(q Question) (ds []Deviation, smallest map[asset.PortID][]asset.Rule) {
	for _, s := range q.Seen {
		for _, o := range s.Openings {
			if o.Zone {
				ds = q.merge(ds, q.beyond(s.View, o))
			}
		}
	}
	slices.SortFunc(ds, func(a, b Deviation) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.Group, b.Group), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.State, b.State))
	})
	smallest = map[asset.PortID][]asset.Rule{}
	for _, s := range q.Seen {
		for _, o := range s.Openings {
			if _, done := smallest[o.Port]; !done {
				smallest[o.Port] = q.propose(o.Port)
			}
		}
	}
	return ds, smallest
}

// merge joins what one rule opens at several addresses of a port.
func (q Question) merge(ds []Deviation, d Deviation) []Deviation {
	if len(d.Beyond) == 0 {
		return ds
	}
	for i := range ds {
		e := &ds[i]
		if e.Port == d.Port && e.Rule == d.Rule && e.Group == d.Group && e.Zone == d.Zone && e.State == d.State {
			e.Beyond = joined(append(e.Beyond, d.Beyond...))
			e.Used = append(e.Used, d.Used...)
			slices.Sort(e.Used)
			e.Used = slices.Compact(e.Used)
			return ds
		}
	}
	return append(ds, d)
}

// beyond is what of an opening the profile does not allow; nothing is beyond where it allows all of it.
func (q Question) beyond(v reach.View, o reach.Opening) Deviation {
	d := Deviation{Port: o.Port, Group: o.Group, Rule: o.Rule, Zone: v.Zone, State: o.State, Remote: o.Remote, Why: o.Why, Doubts: o.Doubts, Used: []uint16{}}
	d.Others = q.others(o.Group)
	six := o.Addr.Is6()
	zone := zoneOf(v, six)
	let := remotes(q.Index, q.rule(o), six)
	if len(and(let, zone)) == 0 { // and yet somebody gets in
		let = anybody(six)
	}
	first, last := Inside(q.Index, o)
	for _, r := range q.pieces(o.Proto, first, last) {
		if extra := minus(and(let, zone), q.allowed(r.Proto, r.First, let, six)); len(extra) > 0 {
			d.Beyond = append(d.Beyond, Beyond{r, extra})
		}
	}
	d.Beyond = joined(d.Beyond)
	for _, p := range q.listening(o) {
		if slices.ContainsFunc(d.Beyond, func(b Beyond) bool { return b.First <= p && p <= b.Last }) {
			d.Used = append(d.Used, p)
		}
	}
	return d
}

// others counts the ports of other machines that carry a group. The machine has few ports, and the group may have thousands.
func (q Question) others(g asset.GroupID) int {
	n := len(q.Index.Members[g])
	for _, p := range q.Index.PortsOf[q.Server.ID] {
		if slices.Contains(p.Groups, g) {
			n--
		}
	}
	return n
}

// zoneOf are the addresses of a zone, without our scanners.
func zoneOf(v reach.View, six bool) []netip.Prefix {
	out := minus(ofFamily(v.Prefixes, six), ofFamily(v.Except, six))
	for _, a := range v.Scanners {
		if a.Is6() == six {
			out = minus(out, []netip.Prefix{netip.PrefixFrom(a, a.BitLen())})
		}
	}
	return out
}

// rule finds the rule that an opening names.
func (q Question) rule(o reach.Opening) *asset.Rule {
	g := q.Index.Groups[o.Group]
	if g == nil {
		return nil
	}
	for i := range g.Rules {
		if g.Rules[i].ID == o.Rule {
			return &g.Rules[i]
		}
	}
	return nil
}

// Inside are the machine's own ports that an opening leads to: those of a forwarding are others than the outside sees.
func Inside(x *asset.Index, o reach.Opening) (first, last uint16) {
	for _, f := range x.FloatingOf[o.Port] {
		if f.ID != o.FloatingIP || f.Port == o.Port {
			continue
		}
		for _, w := range f.Forwardings {
			if w.Port == o.Port && w.Protocol == string(o.Proto) && w.External <= o.First && o.Last <= max(w.External, w.ExternalLast) {
				if w.InternalLast <= w.Internal { // several ports lead to one
					return w.Internal, w.Internal
				}
				return o.First - w.External + w.Internal, o.Last - w.External + w.Internal
			}
		}
	}
	return o.First, o.Last
}

// listening lists the machine's own ports within an opening that answered.
func (q Question) listening(o reach.Opening) []uint16 {
	first, _ := Inside(q.Index, o)
	var out []uint16
	for _, e := range q.Listening {
		if e.Addr == o.Addr && e.Proto == o.Proto && o.First <= e.Port && e.Port <= o.Last {
			out = append(out, e.Port-o.First+first)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// pieces divides a run of ports so that the profile says the same of each port of a piece.
func (q Question) pieces(proto probe.Proto, first, last uint16) []Run {
	if proto == probe.ICMP {
		return []Run{{Proto: proto}}
	}
	cuts := []int{int(first), int(last) + 1}
	for _, a := range q.allows() {
		for _, r := range a.Ports {
			for _, at := range []int{int(r.First), int(r.Last) + 1} {
				if a.Proto == string(proto) && int(first) < at && at <= int(last) {
					cuts = append(cuts, at)
				}
			}
		}
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	var out []Run
	for i := range len(cuts) - 1 {
		out = append(out, Run{proto, uint16(cuts[i]), uint16(cuts[i+1] - 1)}) //nolint:gosec // ports
	}
	return out
}

// allows lists what the machine's profiles allow, of all of them where several fit.
func (q Question) allows() []policy.Allowed {
	var out []policy.Allowed
	for _, name := range q.Choice.Names {
		out = append(out, q.Profiles[name].Allow...)
	}
	return out
}

// allowed are those whom a rule lets in, and the profile lets reach a port. Whether a range is limited is asked of what the rule says.
func (q Question) allowed(proto probe.Proto, port uint16, let []netip.Prefix, six bool) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range q.allows() {
		if a.Proto != string(proto) || proto != probe.ICMP && !slices.ContainsFunc(a.Ports, func(r policy.PortRange) bool { return r.First <= port && port <= r.Last }) {
			continue
		}
		for _, w := range a.From {
			ps, _ := policy.FromPrefixes(w, q.Institution) // the policy was validated
			out = append(out, and(let, ofFamily(ps, six))...)
		}
		for _, p := range let {
			if a.Limited && p.Bits() >= limit(six) {
				out = append(out, p)
			}
		}
	}
	return tidy(out)
}

func limit(six bool) int {
	if six {
		return policy.LimitedBits6
	}
	return policy.LimitedBits4
}

// joined puts what is beyond in order, each once, and joins runs that touch and are open to the same.
func joined(bs []Beyond) []Beyond {
	slices.SortFunc(bs, func(a, b Beyond) int {
		return cmp.Or(cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last), slices.CompareFunc(a.From, b.From, netip.Prefix.Compare))
	})
	var out []Beyond
	for _, b := range bs {
		i := slices.IndexFunc(out, func(o Beyond) bool {
			return o.Proto == b.Proto && int(b.First) <= int(o.Last)+1 && slices.Equal(o.From, b.From)
		})
		if i < 0 {
			out = append(out, b)
			continue
		}
		out[i].Last = max(out[i].Last, b.Last)
	}
	return out
}
