package scan

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"demarc/internal/probe"
)

const (
	canaryPorts = 2 // per host that accepts much
	tarpitTalks = 3 // endpoints of a tarpit that are talked to
)

// looks are the endpoints of a shard, by host.
type looks struct {
	all    []*look
	hosts  map[netip.Addr][]*look
	tarpit map[netip.Addr]bool
}

func newLooks(targets []probe.Endpoint) *looks {
	ls := &looks{hosts: map[netip.Addr][]*look{}, tarpit: map[netip.Addr]bool{}}
	seen := make(map[probe.Endpoint]bool, len(targets))
	for _, t := range targets {
		if seen[t] {
			continue
		}
		seen[t] = true
		l := &look{endpoint: t}
		ls.all = append(ls.all, l)
		ls.hosts[t.Addr] = append(ls.hosts[t.Addr], l)
	}
	return ls
}

func (ls *looks) open(a netip.Addr) (out []*look) {
	for _, l := range ls.hosts[a] {
		if l.outcome == probe.Open {
			out = append(out, l)
		}
	}
	return out
}

// canaries tries ports where nothing can be expected to listen, on hosts that accept much. A host that
// accepts there accepts everywhere, and its open ports mean nothing.
func (r *run) canaries(ctx context.Context, ls *looks) error {
	var tries []*look
	for addr, targets := range ls.hosts {
		if len(ls.open(addr)) < r.CanaryAfter {
			continue
		}
		asked := make(map[uint16]bool, len(targets))
		for _, l := range targets {
			asked[l.endpoint.Port] = true
		}
		tries = append(tries, canariesOf(addr, asked)...)
	}
	if len(tries) == 0 {
		return nil
	}
	progress := r.Progress
	r.Progress = nil
	err := r.discover(ctx, tries)
	r.Progress = progress
	accepted := map[netip.Addr]int{}
	for _, l := range tries {
		if l.outcome == probe.Open {
			accepted[l.endpoint.Addr]++
		}
	}
	for addr, n := range accepted {
		ls.tarpit[addr] = n == canaryPorts
	}
	return err
}

// canariesOf picks random high ports outside the targets. Where all of them are targets, random targets
// must do: a host that accepts on two of those by chance alone is open nearly everywhere.
func canariesOf(addr netip.Addr, asked map[uint16]bool) (out []*look) {
	used := map[uint16]bool{}
	for tries := 0; len(out) < canaryPorts && tries < 10_000; tries++ {
		port := uint16(20_000 + rand.IntN(12_000)) //nolint:gosec // below the ephemeral ports, no secret
		if used[port] || asked[port] && tries < 5_000 {
			continue
		}
		used[port] = true
		out = append(out, &look{endpoint: probe.Endpoint{Addr: addr, Proto: probe.TCP, Port: port}})
	}
	return out
}

// settle tells silence of a port from silence of a host.
func (ls *looks) settle() {
	for _, targets := range ls.hosts {
		answered := false
		for _, l := range targets {
			answered = answered || l.outcome.Answered()
		}
		for _, l := range targets {
			if !answered && l.outcome == probe.Filtered && !l.icmp {
				l.outcome = probe.Silent
			}
		}
	}
}

// complete tells whether every target was asked without trouble of ours.
func (ls *looks) complete() bool {
	for _, l := range ls.all {
		if l.outcome == "" || l.outcome == probe.Failed {
			return false
		}
	}
	return true
}

// mostCauses bounds how many causes a note of the coverage names.
const mostCauses = 4

// failures says how many targets could not be probed for a reason of ours, by address family and cause, the most frequent first; "" for none.
func (ls *looks) failures() string {
	count := map[string]int{}
	for _, l := range ls.all {
		if l.outcome == probe.Failed {
			family := "IPv4"
			if l.endpoint.Addr.Unmap().Is6() {
				family = "IPv6"
			}
			count[family+" endpoints could not be probed: "+l.trouble]++
		}
	}
	causes := slices.SortedFunc(maps.Keys(count), func(a, b string) int { return cmp.Or(count[b]-count[a], cmp.Compare(a, b)) })
	for i, c := range causes {
		causes[i] = fmt.Sprintf("%d %s", count[c], c)
	}
	if n := len(causes); n > mostCauses {
		causes = append(causes[:mostCauses], fmt.Sprintf("and %d more causes", n-mostCauses))
	}
	return strings.Join(causes, "; ")
}

// emitQuiet hands over what needs no conversation; a look that came to no end is left out.
func (ls *looks) emitQuiet(r *run) {
	for _, l := range ls.all {
		switch l.outcome {
		case probe.Open, "":
			continue
		case probe.Closed:
			r.cov.Answered++
		}
		r.emit(r.observation(l, probe.Facts{Outcome: l.outcome}))
	}
}

func (r *run) observation(l *look, f probe.Facts) probe.Observation {
	return probe.Observation{
		Vantage: r.Vantage, Endpoint: l.endpoint, Purpose: r.shard.Purpose,
		SentAt: l.sent, ReceivedAt: l.received, RealAt: l.real, Facts: f, Trouble: l.trouble,
	}
}
