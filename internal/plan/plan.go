// Package plan chooses the next probes of every vantage point.
package plan

import (
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"slices"

	"demarc/internal/probe"
	"demarc/internal/reach"
)

// WideRange is from how many open ports on a run is not asked port by port by the connect engine: that
// would take an hour a machine at a polite rate. Such a run is asked at the well-known ports of what
// Demarc has checks for, and at a keyed sample that differs from cycle to cycle.
const WideRange = 1024

// Known lists the ports asked first within a wide run: where services worth a check live by default.
var Known = []uint16{21, 22, 23, 25, 53, 80, 110, 111, 139, 143, 389, 443, 445, 873, 1883, 2181, 2222, 2375, 2379, 3000, 3306, 3389, 5000, 5432, 5555, 5900, 5984,
	6000, 6379, 6443, 7077, 8000, 8008, 8080, 8086, 8088, 8443, 8787, 8888, 9000, 9090, 9100, 9200, 10250, 11211, 11434, 15672, 22022, 27017}

// Limits bound one cycle.
type Limits struct {
	Sample  int // ports of each wide run beyond the known ones
	Control int // denied endpoints of the control sample, over all addresses
}

// Sweep is the work of one cycle from one vantage point.
type Sweep struct {
	Reach   []probe.Endpoint // what the configuration opens to the scanner
	Control []probe.Endpoint // what it denies: an answer from there is a leak
}

// Next plans a cycle. The seed names the cycle, so that a repeated plan is the same plan.
func Next(set *reach.Set, l Limits, seed string) Sweep {
	rng := rand.New(rand.NewPCG(hash(seed, 1), hash(seed, 2))) //nolint:gosec // a sample, not a secret
	var s Sweep
	seen := map[probe.Endpoint]bool{}
	take := func(e probe.Endpoint) {
		if !seen[e] {
			seen[e] = true
			s.Reach = append(s.Reach, e)
		}
	}
	for _, o := range set.Openings {
		if o.Scanner && o.Proto == probe.TCP {
			for _, port := range ports(o, l.Sample, rng) {
				take(probe.Endpoint{Addr: o.Addr, Proto: probe.TCP, Port: port})
			}
		}
	}
	slices.SortFunc(s.Reach, probe.Endpoint.Compare)
	s.Control = control(set, l.Control, rng)
	return s
}

func ports(o reach.Opening, sample int, rng *rand.Rand) []uint16 {
	n := int(o.Last) - int(o.First) + 1
	if n <= WideRange {
		out := make([]uint16, 0, n)
		for p := int(o.First); p <= int(o.Last); p++ {
			out = append(out, uint16(p)) //nolint:gosec // within First..Last
		}
		return out
	}
	var out []uint16
	for _, p := range Known {
		if o.First <= p && p <= o.Last {
			out = append(out, p)
		}
	}
	for range sample {
		out = append(out, uint16(int(o.First)+rng.IntN(n))) //nolint:gosec // within First..Last
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// control draws denied endpoints: half of them at known ports, where a leak would matter most.
func control(set *reach.Set, n int, rng *rand.Rand) []probe.Endpoint {
	addrs := set.Addresses()
	if len(addrs) == 0 || n <= 0 {
		return nil
	}
	seen := map[probe.Endpoint]bool{}
	var out []probe.Endpoint
	for tries := 0; len(out) < n && tries < 20*n; tries++ {
		e := probe.Endpoint{Addr: pick(addrs, tries, rng), Proto: probe.TCP, Port: uint16(1 + rng.IntN(65535))} //nolint:gosec // 1..65535
		if tries%2 == 0 {
			e.Port = Known[rng.IntN(len(Known))]
		}
		a := set.Lookup(e)
		if a.Held && !a.Scanner && !seen[e] {
			seen[e] = true
			out = append(out, e)
		}
	}
	slices.SortFunc(out, probe.Endpoint.Compare)
	return out
}

// pick goes round the addresses, so that a small sample still touches as many machines as it can.
func pick(addrs []netip.Addr, i int, rng *rand.Rand) netip.Addr {
	if i < len(addrs) {
		return addrs[i]
	}
	return addrs[rng.IntN(len(addrs))]
}

func hash(s string, salt byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	_, _ = h.Write([]byte{salt})
	return binary.BigEndian.Uint64(h.Sum(nil))
}
