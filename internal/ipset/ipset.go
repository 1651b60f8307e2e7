// Package ipset is sets of addresses, as runs and as prefixes.
package ipset

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"sort"
)

// Range is a run of addresses of one family, both ends in it.
type Range struct{ First, Last netip.Addr }

// Set is a set of addresses: runs in order that neither meet nor touch. IPv4 stands before IPv6.
type Set []Range

// last is the highest address of a prefix.
func last(p netip.Prefix) netip.Addr {
	if p.Addr().Is4() {
		b := p.Addr().As4()
		ones(b[:], p.Bits())
		return netip.AddrFrom4(b)
	}
	b := p.Addr().As16()
	ones(b[:], p.Bits())
	return netip.AddrFrom16(b)
}

// ones sets the bits of an address behind a prefix of a length.
func ones(b []byte, bits int) {
	for i := bits / 8; i < len(b); i++ {
		b[i] |= byte(0xff >> max(bits-8*i, 0))
	}
}

// RangeOf is a prefix as a run of addresses.
func RangeOf(p netip.Prefix) Range { return Range{p.Masked().Addr(), last(p)} }

// Touches tells whether the set shares an address with a run.
func (s Set) Touches(b Range) bool { return len(s.meeting(b)) > 0 }

// Of is the union of prefixes; what is no prefix adds nothing.
func Of(ps ...netip.Prefix) Set {
	out := make(Set, 0, len(ps))
	for _, p := range ps {
		if p.IsValid() {
			out = append(out, RangeOf(p))
		}
	}
	return out.Normal()
}

// Normal puts runs in order, in place, and joins those that meet or touch.
func (s Set) Normal() Set {
	if len(s) < 2 {
		return s
	}
	slices.SortFunc(s, func(a, b Range) int { return a.First.Compare(b.First) })
	out := s[:1]
	for _, b := range s[1:] {
		end := &out[len(out)-1]
		if next := end.Last.Next(); b.First.BitLen() == end.Last.BitLen() && (!next.IsValid() || b.First.Compare(next) <= 0) {
			if end.Last.Less(b.Last) {
				end.Last = b.Last
			}
			continue
		}
		out = append(out, b)
	}
	return out
}

// Minus is what is in s and not in o.
func (s Set) Minus(o Set) Set {
	var out Set
	for _, b := range s {
		rest, open := b, true
		for _, x := range o.meeting(b) {
			if rest.First.Less(x.First) {
				out = append(out, Range{rest.First, x.First.Prev()})
			}
			if !x.Last.Less(rest.Last) {
				open = false
				break
			}
			rest.First = x.Last.Next()
		}
		if open {
			out = append(out, rest)
		}
	}
	return out
}

// And is what is in both.
func (s Set) And(o Set) Set {
	var out Set
	for _, b := range s {
		for _, x := range o.meeting(b) {
			c := b
			if c.First.Less(x.First) {
				c.First = x.First
			}
			if x.Last.Less(c.Last) {
				c.Last = x.Last
			}
			out = append(out, c)
		}
	}
	return out
}

// meeting is the part of the set whose runs share an address with b.
func (s Set) meeting(b Range) Set {
	i := sort.Search(len(s), func(i int) bool { return !s[i].Last.Less(b.First) })
	j := i
	for j < len(s) && !b.Last.Less(s[j].First) {
		j++
	}
	return s[i:j]
}

// Meets tells whether two sets share an address.
func (s Set) Meets(o Set) bool {
	if len(s) > len(o) {
		s, o = o, s
	}
	return slices.ContainsFunc(s, func(b Range) bool { return len(o.meeting(b)) > 0 })
}

// Has tells whether an address is in the set.
func (s Set) Has(a netip.Addr) bool { return len(s.meeting(Range{a, a})) > 0 }

var (
	all4 = Of(netip.PrefixFrom(netip.IPv4Unspecified(), 0))
	all6 = Of(netip.PrefixFrom(netip.IPv6Unspecified(), 0))
)

// Every is every address of a family.
func Every(family int) Set {
	if family == 6 {
		return all6
	}
	return all4
}

// Size is how many addresses the set has, as near as a float64 can say.
func (s Set) Size() float64 {
	var n float64
	for _, r := range s {
		hi, lo := halves(r.Last)
		fromHi, fromLo := halves(r.First)
		low, borrow := bits.Sub64(lo, fromLo, 0)
		high, _ := bits.Sub64(hi, fromHi, borrow)
		n += math.Ldexp(float64(high), 64) + float64(low) + 1
	}
	return n
}

// halves are the 128 bits of an address.
func halves(a netip.Addr) (hi, lo uint64) {
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}

// Prefixes is the set as prefixes, as few as there can be, in order.
func (s Set) Prefixes() []netip.Prefix {
	var out []netip.Prefix
	for _, r := range s {
		for at := r.First; ; {
			p := widest(at, r.Last)
			out = append(out, p)
			end := last(p)
			if end == r.Last {
				break
			}
			at = end.Next()
		}
	}
	return out
}

// widest is the largest prefix that begins at an address and does not go beyond another.
func widest(at, end netip.Addr) netip.Prefix {
	p := netip.PrefixFrom(at, at.BitLen())
	for p.Bits() > 0 {
		wider := netip.PrefixFrom(at, p.Bits()-1)
		if wider.Masked().Addr() != at || end.Less(last(wider)) {
			break
		}
		p = wider
	}
	return p
}
