// Package plan chooses the next probes of every vantage point.
package plan

import (
	"math/rand/v2"
	"net/netip"
	"slices"

	"demarc/internal/probe"
	"demarc/internal/reach"
)

// WideRange is from how many open ports on a run is not asked whole in each sweep by the connect engine: that
// would take an hour a machine at a polite rate. Such a run is asked at the well-known ports of what
// Demarc has checks for, and at one part of the others, so that all of it is asked within a bounded number of sweeps.
const WideRange = 1024

// Wide tells whether a run is asked at a sample of its ports only.
func Wide(first, last uint16) bool { return int(last)-int(first) >= WideRange }

// Known lists the ports asked first within a wide run: where services worth a check live by default.
var Known = []uint16{21, 22, 23, 25, 53, 80, 110, 111, 139, 143, 389, 443, 445, 873, 1883, 2181, 2222, 2375, 2379, 3000, 3306, 3389, 5000, 5432, 5555, 5900, 5984,
	6000, 6379, 6443, 7077, 8000, 8008, 8080, 8086, 8088, 8443, 8787, 8888, 9000, 9090, 9100, 9200, 10250, 11211, 11434, 15672, 27017}

// Limits bound one cycle.
type Limits struct {
	Sample  int // ports of a wide run that was just opened, beyond the known ones, which are asked at once
	Parts   int // in how many sweeps all of a wide run is asked; 0 and 1: in each
	Control int // denied endpoints of the control sample, over all addresses
}

// Sweep is the work of one cycle from one vantage point.
type Sweep struct {
	Reach   []probe.Endpoint // what the configuration opens to the scanner
	Control []probe.Endpoint // what it denies: an answer from there is a leak
}

// Next plans a cycle. Cycles are numbered, so that a repeated plan is the same plan and the control sample
// walks on from cycle to cycle.
func Next(set *reach.Set, l Limits, cycle uint64) Sweep {
	rng := rand.New(rand.NewPCG(cycle, 0x64656d617263)) //nolint:gosec // a sample, not a secret
	var s Sweep
	seen := map[probe.Endpoint]bool{}
	take := func(e probe.Endpoint) {
		if !seen[e] {
			seen[e] = true
			s.Reach = append(s.Reach, e)
		}
	}
	wide := wideAt(set)
	for r := range set.Ranges() {
		if r.Proto == probe.TCP {
			for _, p := range sweepPorts(r, wide[r.Addr], cycle, l.Parts) {
				take(probe.Endpoint{Addr: r.Addr, Proto: r.Proto, Port: p})
			}
		}
	}
	for _, e := range joined(set, cycle) {
		take(e)
	}
	slices.SortFunc(s.Reach, probe.Endpoint.Compare)
	s.Control = control(set, l.Control, cycle, rng)
	return s
}

// atOnce is how many addresses of one prefix that a tenant has joined to the cloud are asked in one cycle.
const atOnce = 16

// joined lists what is asked of addresses that no port of the cloud holds, and that a tenant has joined to it: the known ports of some, and
// of the next ones in the next cycle. Only what the operator declared is asked: anything else is not ours to ask.
func joined(set *reach.Set, cycle uint64) []probe.Endpoint {
	var out []probe.Endpoint
	for _, c := range set.Connections() {
		for _, block := range set.View.Blocks {
			if !block.Overlaps(c.Prefix) {
				continue
			}
			p := c.Prefix.Masked()
			if block.Bits() > p.Bits() {
				p = block.Masked()
			}
			for _, a := range stretch(p, cycle) {
				if got := set.Lookup(probe.Endpoint{Addr: a, Proto: probe.TCP, Port: Known[0]}); got.Held || got.Connected == nil {
					continue
				}
				for _, port := range Known {
					out = append(out, probe.Endpoint{Addr: a, Proto: probe.TCP, Port: port})
				}
			}
		}
	}
	return out
}

// stretch is the next addresses of a prefix; of a wide one, of its first 65,536.
func stretch(p netip.Prefix, cycle uint64) []netip.Addr {
	size := uint64(1) << min(16, p.Addr().BitLen()-p.Bits())
	n := min(size, atOnce)
	out := make([]netip.Addr, 0, n)
	for i := range n {
		out = append(out, plus(p.Addr(), (cycle*n+i)%size))
	}
	return out
}

// plus is an address so many further on.
func plus(a netip.Addr, n uint64) netip.Addr {
	b := a.AsSlice()
	for i := len(b) - 1; i >= 0 && n > 0; i-- {
		n += uint64(b[i])
		b[i] = byte(n)
		n >>= 8
	}
	out, _ := netip.AddrFromSlice(b)
	return out
}

// sweepPorts lists what a sweep asks of a run of ports: all of it, or, where too many are open at the address, the known ports and the part
// whose turn it is.
func sweepPorts(r reach.Range, wide bool, cycle uint64, parts int) []uint16 {
	if !wide {
		return all(r)
	}
	out := append(known(r), partOf(r, cycle, parts)...)
	slices.Sort(out)
	return slices.Compact(out)
}

func all(r reach.Range) []uint16 {
	out := make([]uint16, 0, int(r.Last)-int(r.First)+1)
	for p := int(r.First); p <= int(r.Last); p++ {
		out = append(out, uint16(p)) //nolint:gosec // within First..Last
	}
	return out
}

// known lists the well-known ports in a run.
func known(r reach.Range) []uint16 {
	var out []uint16
	for _, p := range Known {
		if r.First <= p && p <= r.Last {
			out = append(out, p)
		}
	}
	return out
}

// Expand lists what is asked at once of a run of ports that was just opened: all of it, or, of a wide one, the known ports and a sample.
func Expand(r reach.Range, sample int, rng *rand.Rand) []probe.Endpoint {
	ps := ports(r, sample, rng)
	out := make([]probe.Endpoint, len(ps))
	for i, port := range ps {
		out[i] = probe.Endpoint{Addr: r.Addr, Proto: r.Proto, Port: port}
	}
	return out
}

func ports(o reach.Range, sample int, rng *rand.Rand) []uint16 {
	if !Wide(o.First, o.Last) {
		return all(o)
	}
	n, out := int(o.Last)-int(o.First)+1, known(o)
	for range sample {
		out = append(out, uint16(int(o.First)+rng.IntN(n))) //nolint:gosec // within First..Last
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// control draws denied endpoints. Half of them are the next stretch of a fixed shuffle of (address, known port), so
// that every one of those is asked once in each round; the other half are drawn from everything.
func control(set *reach.Set, n int, cycle uint64, rng *rand.Rand) []probe.Endpoint {
	addrs := set.Addresses()
	if len(addrs) == 0 || n <= 0 {
		return nil
	}
	seen := map[probe.Endpoint]bool{}
	var out []probe.Endpoint
	take := func(a netip.Addr, port uint16) {
		e := probe.Endpoint{Addr: a, Proto: probe.TCP, Port: port}
		if r := set.Lookup(e); r.Held && !r.Scanner && !seen[e] {
			seen[e] = true
			out = append(out, e)
		}
	}
	walk := shuffled(len(addrs) * len(Known))
	half := min((n+1)/2, len(walk))
	start := int(cycle * uint64(half) % uint64(len(walk))) //nolint:gosec // below len(walk)
	for i := range half {
		j := walk[(start+i)%len(walk)]
		take(addrs[j/len(Known)], Known[j%len(Known)])
	}
	for tries := 0; len(out) < n && tries < 4*n; tries++ {
		take(addrs[rng.IntN(len(addrs))], uint16(1+rng.IntN(65535))) //nolint:gosec // 1..65535
	}
	slices.SortFunc(out, probe.Endpoint.Compare)
	return out
}

// shuffled is a permutation of 0..n-1 that depends on n alone.
func shuffled(n int) []int {
	return rand.New(rand.NewPCG(1, uint64(n))).Perm(n) //nolint:gosec // an order, not a secret
}
