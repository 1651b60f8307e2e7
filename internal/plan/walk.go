package plan

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"

	"demarc/internal/probe"
	"demarc/internal/reach"
)

// Part tells in which of so many parts a port of an address is: the part that is asked in the rounds whose number leaves that rest. It does
// not depend on the run of ports, so that who changes a rule changes no part. Parts are of about the same size.
func Part(addr netip.Addr, port uint16, parts int) int {
	if parts <= 1 {
		return 0
	}
	h := fnv.New64a()
	b := addr.As16()
	_, _ = h.Write(b[:])
	_, _ = h.Write(binary.BigEndian.AppendUint16(nil, port))
	x := h.Sum64() // FNV leaves its low bits too regular for a rest
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return int(x % uint64(parts)) //nolint:gosec // below parts
}

// partOf lists the ports of a wide run that are asked in a round.
func partOf(r reach.Range, cycle uint64, parts int) []uint16 {
	var out []uint16
	turn := int(cycle % uint64(max(parts, 1))) //nolint:gosec // below parts
	for p := int(r.First); p <= int(r.Last); p++ {
		if Part(r.Addr, uint16(p), parts) == turn { //nolint:gosec // within First..Last
			out = append(out, uint16(p)) //nolint:gosec // within First..Last
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
	now := probe.Walk{Parts: parts, Since: map[string]int64{}}
	for r := range set.Ranges() {
		if r.Proto != probe.TCP || !Wide(r.First, r.Last) {
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

// Probed counts the ports in first..last, which are part of an open run of an address, that were asked since the run was opened. Rounds are
// the numbers of the sweeps that were complete; swept tells whether there was one since the run was opened at all.
func Probed(run reach.Range, first, last uint16, walk probe.Walk, rounds []int64) int {
	if !Wide(run.First, run.Last) {
		return int(last) - int(first) + 1
	}
	since, known := walk.Since[runKey(run)]
	done := map[int]bool{}
	for _, n := range rounds {
		if known && n >= since && walk.Parts > 0 {
			done[int(n%int64(walk.Parts))] = true
		}
	}
	if len(done) == 0 {
		return 0
	}
	count := 0
	for p := int(first); p <= int(last); p++ {
		if _, asked := slices.BinarySearch(Known, uint16(p)); asked || done[Part(run.Addr, uint16(p), walk.Parts)] { //nolint:gosec // within first..last
			count++
		}
	}
	return count
}
