package plan

import (
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"demarc/internal/probe"
	"demarc/internal/reach"
)

// Part tells in which of so many parts a port of an address is: the part that is asked in the rounds whose number leaves that rest. It does
// not depend on the run of ports, so that who changes a rule changes no part. Neighbours are in different parts, which are of the same size.
func Part(addr netip.Addr, port uint16, parts int) int {
	if parts <= 1 {
		return 0
	}
	return (int(port) + offset(addr)) % parts
}

// offset is a number of an address's own, so that not every host is asked at the same ports in a round.
func offset(addr netip.Addr) int {
	h := fnv.New32a()
	b := addr.As16()
	_, _ = h.Write(b[:])
	return int(h.Sum32() % 65536)
}

// partOf lists the ports of a run that are asked in a round.
func partOf(r reach.Range, cycle uint64, parts int) []uint16 {
	parts = max(parts, 1)
	turn := int(cycle % uint64(parts)) //nolint:gosec // below parts
	first := int(r.First) + (turn-Part(r.Addr, r.First, parts)+parts)%parts
	var out []uint16
	for p := first; p <= int(r.Last); p += parts {
		out = append(out, uint16(p)) //nolint:gosec // within First..Last
	}
	return out
}

// wideAt finds the addresses of which more TCP ports are open to our probe than a sweep asks whole, in however many runs.
func wideAt(set *reach.Set) map[netip.Addr]bool {
	count, out := map[netip.Addr]int{}, map[netip.Addr]bool{}
	for r := range set.Ranges() {
		if r.Proto == probe.TCP {
			if count[r.Addr] += int(r.Last) - int(r.First) + 1; count[r.Addr] > WideRange {
				out[r.Addr] = true
			}
		}
	}
	return out
}

// runKey names a run of ports in a probe.Walk.
func runKey(r reach.Range) string {
	return fmt.Sprintf("%s %s %d-%d", r.Addr, r.Proto, r.First, r.Last)
}

// NextWalk is the walk of a vantage point after a round in which all that a set opens to our probe was planned. What is open as before goes
// on; anything else begins. It tells whether the walk is another than before.
func NextWalk(set *reach.Set, was probe.Walk, cycle int64, parts int) (probe.Walk, bool) {
	now, wide := probe.Walk{Parts: parts, Since: map[string]int64{}}, wideAt(set)
	for r := range set.Ranges() {
		if r.Proto != probe.TCP || !wide[r.Addr] {
			continue
		}
		k := runKey(r)
		now.Since[k] = cycle
		if first, known := was.Since[k]; known && was.Parts == parts {
			now.Since[k] = first
		}
	}
	return now, now.Parts != was.Parts && len(now.Since)+len(was.Since) > 0 || !maps.Equal(now.Since, was.Since)
}

// Progress tells how much of the open runs was asked, by a walk and the numbers of the sweeps that were complete.
type Progress struct {
	walk   probe.Walk
	rounds []int64
	walked map[string]bool // addresses of which some run was asked part by part in the last sweep
}

// NewProgress makes one, for as many questions as there are runs.
func NewProgress(walk probe.Walk, rounds []int64) *Progress {
	p := &Progress{walk: walk, rounds: rounds, walked: map[string]bool{}}
	for run := range walk.Since {
		addr, _, _ := strings.Cut(run, " ")
		p.walked[addr] = true
	}
	return p
}

// Probed counts the ports in first..last, which are part of an open run of an address, that were asked since the run was opened. A run that was
// part of a wider one before the last sweep counts as not asked.
func (p *Progress) Probed(run reach.Range, first, last uint16) int {
	since, known := p.walk.Since[runKey(run)]
	if !known && !Wide(run.First, run.Last) && !p.walked[run.Addr.String()] {
		return int(last) - int(first) + 1
	}
	done := map[int]bool{}
	for _, n := range p.rounds {
		if known && n >= since && p.walk.Parts > 0 {
			done[int(n%int64(p.walk.Parts))] = true
		}
	}
	if len(done) == 0 {
		return 0
	}
	count := 0
	for port := int(first); port <= int(last); port++ {
		if _, asked := slices.BinarySearch(Known, uint16(port)); asked || done[Part(run.Addr, uint16(port), p.walk.Parts)] { //nolint:gosec // within first..last
			count++
		}
	}
	return count
}
