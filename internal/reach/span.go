package reach

import (
	"cmp"
	"slices"
	"sort"

	"demarc/internal/probe"
)

// transport is a protocol we can ask about.
type transport uint8

const (
	tcp transport = iota
	udp
	icmp // an echo request; its one port is 0
)

var transports = [...]probe.Proto{tcp: probe.TCP, udp: probe.UDP, icmp: probe.ICMP}

func transportOf(p probe.Proto) (transport, bool) {
	i := slices.Index(transports[:], p)
	return transport(max(i, 0)), i >= 0 //nolint:gosec // below 3
}

// span is a run of ports of one transport, both ends in it.
type span struct {
	proto       transport
	first, last uint16
}

// key orders spans by transport, first port and last.
func (a span) key() uint64 { return uint64(a.proto)<<32 | uint64(a.first)<<16 | uint64(a.last) }

func (a span) compare(b span) int { return cmp.Compare(a.key(), b.key()) }

// full is every port of a transport.
func full(t transport) span {
	if t == icmp {
		return span{proto: icmp}
	}
	return span{t, 1, 65535}
}

// spans is a set of endpoints at one address: in order, and none meets or touches another.
type spans []span

// normal puts spans in order and joins those that meet or touch, in place.
func (s spans) normal() spans {
	if len(s) < 2 {
		return s
	}
	slices.SortFunc(s, span.compare)
	return s.joined()
}

// joined joins what meets or touches, in place; s is in order.
func (s spans) joined() spans {
	if len(s) < 2 {
		return s
	}
	n := 0
	for _, b := range s[1:] {
		end := &s[n]
		if b.proto == end.proto && int(b.first) <= int(end.last)+1 {
			end.last = max(end.last, b.last)
			continue
		}
		n++
		s[n] = b
	}
	return s[:n+1]
}

// union appends the union of sets to buf.
func union(buf spans, sets ...spans) spans {
	start := len(buf)
	var at [8]int
	if len(sets) > len(at) {
		for _, s := range sets {
			buf = append(buf, s...)
		}
		return append(buf[:start], buf[start:].normal()...)
	}
	for {
		best, least := -1, ^uint64(0)
		for i, s := range sets {
			if at[i] < len(s) {
				if k := s[at[i]].key(); k < least {
					best, least = i, k
				}
			}
		}
		if best < 0 {
			return buf
		}
		b := sets[best][at[best]]
		at[best]++
		if n := len(buf); n > start && buf[n-1].proto == b.proto && int(b.first) <= int(buf[n-1].last)+1 {
			buf[n-1].last = max(buf[n-1].last, b.last)
			continue
		}
		buf = append(buf, b)
	}
}

// minus is what is in s and not in o.
func (s spans) minus(o spans) spans {
	var out spans
	for _, b := range s {
		first, gone := int(b.first), false
		for i := o.from(b); i < len(o) && o[i].proto == b.proto && o[i].first <= b.last; i++ {
			if x := o[i]; first < int(x.first) {
				out = append(out, span{b.proto, uint16(first), x.first - 1}) //nolint:gosec // below x.first
			}
			if first = int(o[i].last) + 1; first > int(b.last) {
				gone = true
				break
			}
		}
		if !gone {
			out = append(out, span{b.proto, uint16(first), b.last}) //nolint:gosec // at most b.last
		}
	}
	return out
}

// and is what is in both.
func (s spans) and(o spans) spans {
	var out spans
	for _, b := range s {
		for i := o.from(b); i < len(o) && o[i].proto == b.proto && o[i].first <= b.last; i++ {
			out = append(out, span{b.proto, max(b.first, o[i].first), min(b.last, o[i].last)})
		}
	}
	return out
}

// from is where the first span stands that may share a port with b.
func (s spans) from(b span) int {
	return sort.Search(len(s), func(i int) bool {
		return s[i].proto > b.proto || s[i].proto == b.proto && s[i].last >= b.first
	})
}

func (s spans) has(t transport, port uint16) bool {
	i := s.from(span{t, port, port})
	return i < len(s) && s[i].proto == t && s[i].first <= port
}
