package reach

import (
	"cmp"
	"math"
	"slices"

	"demarc/internal/asset"
)

// Broad is a port of a machine of which more ports are open to a zone than somebody wants to allow.
type Broad struct {
	Server  asset.ServerID
	Port    asset.PortID
	Project asset.ProjectID
	Ports   int             // TCP and UDP ports that are open at one of its addresses, now or when the machine is on
	Open    bool            // port security is off: no group decides
	Groups  []asset.GroupID // each of which alone opens too many, in order
	// Together are groups of which none alone opens too many: the fewest without which the rest would not, in order.
	Together []asset.GroupID
	Doubts   []string // why the model is not proven there; then nothing is said of it
}

// Breadth is from where on an opening is too broad.
type Breadth struct {
	Most               int // TCP and UDP ports together that may be open at one address of a port
	Limited4, Limited6 int // prefix lengths: sources that are at most so many addresses are a limited range, to which anything may be open
}

// Broad lists the ports of machines of which too many TCP and UDP ports are open to the zone, by port id. The rules of a port count
// together.
func (s *Set) Broad(than Breadth) []Broad {
	at := map[asset.PortID]Broad{}
	for i := range s.sites {
		t := &s.sites[i]
		if t.port.Server == "" || t.lb != nil {
			continue
		}
		b, ok := s.broad(t, than)
		was, known := at[b.Port]
		better := len(was.Doubts) > 0 && len(b.Doubts) == 0 // what is proven at one address is not hidden by a doubt at another
		if ok && (!known || better || (len(b.Doubts) > 0) == (len(was.Doubts) > 0) && b.Ports > was.Ports) {
			at[b.Port] = b
		}
	}
	out := make([]Broad, 0, len(at))
	for _, b := range at {
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b Broad) int { return cmp.Compare(a.Port, b.Port) })
	return out
}

// broad counts what is open at one address of a port.
func (s *Set) broad(t *site, than Breadth) (Broad, bool) {
	zone := s.state[t.i].open.zone
	if zone.size() <= than.Most {
		return Broad{}, false
	}
	by := map[asset.GroupID]spans{}
	for _, h := range s.holes(t) {
		if h.zone && !than.limited(h.others.And(s.eyes.zone).Size(), t.family()) {
			for _, inside := range h.ports.and(zone) {
				by[h.group] = append(by[h.group], t.outside(spans{inside})...)
			}
		}
	}
	b := Broad{Server: t.port.Server, Port: t.port.ID, Project: t.port.Project, Doubts: s.state[t.i].doubts.words()}
	for g := range by {
		by[g] = by[g].normal()
	}
	b.Ports = union(nil, values(by)...).size()
	for len(by) > 0 && union(nil, values(by)...).size() > than.Most {
		worst := slices.MaxFunc(keys(by), func(a, c asset.GroupID) int { return cmp.Or(by[a].size()-by[c].size(), cmp.Compare(c, a)) })
		switch {
		case worst == "":
			b.Open = true
		case by[worst].size() > than.Most:
			b.Groups = append(b.Groups, worst)
		default:
			b.Together = append(b.Together, worst)
		}
		delete(by, worst)
	}
	slices.Sort(b.Groups)
	slices.Sort(b.Together)
	return b, b.Ports > than.Most
}

func keys(by map[asset.GroupID]spans) []asset.GroupID {
	out := make([]asset.GroupID, 0, len(by))
	for g := range by {
		out = append(out, g)
	}
	return out
}

func values(by map[asset.GroupID]spans) []spans {
	out := make([]spans, 0, len(by))
	for _, s := range by {
		out = append(out, s)
	}
	return out
}

// limited tells whether so many sources of a family are a limited range.
func (b Breadth) limited(sources float64, family int) bool {
	if family == 6 {
		return sources <= math.Ldexp(1, 128-b.Limited6)
	}
	return sources <= math.Ldexp(1, 32-b.Limited4)
}

// size counts the ports of TCP and UDP.
func (s spans) size() int {
	n := 0
	for _, a := range s {
		if a.proto != icmp {
			n += int(a.last) - int(a.first) + 1
		}
	}
	return n
}
