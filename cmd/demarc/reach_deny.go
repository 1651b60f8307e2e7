package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"demarc/internal/asset"
	"demarc/internal/fault"
	"demarc/internal/probe"
	"demarc/internal/profile"
	"demarc/internal/reach"
	"demarc/internal/untrusted"
)

// noPort is a run of endpoints that must not be open.
type noPort struct {
	proto       probe.Proto
	first, last uint16
}

// parseDenied reads tcp/22, udp/1-1024, tcp and icmp.
func parseDenied(words []string) ([]noPort, error) {
	var out []noPort
	for _, w := range words {
		proto, run, ranged := strings.Cut(w, "/")
		n := noPort{proto: probe.Proto(proto), last: 65535}
		first, last, two := strings.Cut(run, "-")
		if !two {
			last = first
		}
		a, errA := strconv.ParseUint(first, 10, 16)
		b, errB := strconv.ParseUint(last, 10, 16)
		if ranged {
			n.first, n.last = uint16(a), uint16(b) //nolint:gosec // of 16 bits
		}
		if !slices.Contains([]probe.Proto{probe.TCP, probe.UDP, probe.ICMP}, n.proto) || ranged && (errA != nil || errB != nil || a < 1 || b < a || n.proto == probe.ICMP) {
			return nil, fault.New(fault.Usage, "--deny can not be %q", w).Hinted("write tcp/22, udp/1-1024, tcp or icmp")
		}
		out = append(out, n)
	}
	return out, nil
}

// forbids tells whether an opening is of those that must not be, by the port that the outside sees or by the machine's own: behind a
// forwarding that is another, and as little to be had. What a port of the network service has open is none: nobody's rule opens it, and
// none can shut it.
func forbids(deny []noPort, x *asset.Index, o reach.Opening) bool {
	first, last := profile.Inside(x, o)
	return o.Zone && !o.Service && slices.ContainsFunc(deny, func(n noPort) bool {
		return n.proto == o.Proto && (n.first <= o.Last && o.First <= n.last || n.first <= last && first <= n.last)
	})
}

// mark marks the rows that must not be.
func mark(rows []reached, deny []noPort) {
	for i := range rows {
		denied := forbids(deny, rows[i].x, rows[i].Opening)
		rows[i].Denied = &denied
	}
}

// deniedColumn shows the marks.
func deniedColumn() column[reached] {
	return col("denied", func(o reached) string { return known(o.Denied) })
}

// denied is the answer to --deny: none of those ports may be open, and a reading with gaps shows nothing, nor one of which a part is
// left out.
func denied(deny []noPort, rows []reached, left outside, xs []*asset.Index) error {
	if len(deny) == 0 {
		return nil
	}
	open, first := 0, ""
	for _, o := range rows {
		if *o.Denied {
			if open++; first == "" {
				first = fmt.Sprintf("%s %s %s by %s", o.Addr, o.Proto, ports(o.Opening), strings.Join(o.Why, ", "))
			}
		}
	}
	if open > 0 {
		return fault.New(fault.Violation, "%d of these open ports that must not be, the first %s", open, untrusted.From(first).Terminal()).Hinted("the column denied marks them, the column rule names what opens them")
	}
	for _, x := range xs {
		if !x.Snapshot.Complete() {
			return incomplete(x.Snapshot)
		}
	}
	return left.of(func(o reach.Opening) bool {
		return slices.ContainsFunc(xs, func(x *asset.Index) bool { return forbids(deny, x, o) })
	}).err()
}

// incomplete is what an inventory with gaps says where nothing was found.
func incomplete(s *asset.Snapshot) error {
	return fault.New(fault.CannotLook, "the inventory of %s is not whole: what is not in it may be open all the same", s.Cloud).Hinted("%s", s.Gaps[0].Reason)
}
