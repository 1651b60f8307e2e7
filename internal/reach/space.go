package reach

import (
	"net/netip"
	"slices"
	"sort"
)

// block is a run of addresses of one family, both ends in it.
type block struct{ first, last netip.Addr }

// space is a set of addresses: blocks in order that neither meet nor touch. IPv4 stands before IPv6.
type space []block

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

// blockOf is a prefix as a run of addresses.
func blockOf(p netip.Prefix) block { return block{p.Masked().Addr(), last(p)} }

// touches tells whether the set shares an address with a run.
func (s space) touches(b block) bool { return len(s.meeting(b)) > 0 }

// spaceOf is the union of prefixes; what is no prefix adds nothing.
func spaceOf(ps ...netip.Prefix) space {
	out := make(space, 0, len(ps))
	for _, p := range ps {
		if p.IsValid() {
			out = append(out, blockOf(p))
		}
	}
	return out.normal()
}

// normal puts blocks in order and joins those that meet or touch.
func (s space) normal() space {
	if len(s) < 2 {
		return s
	}
	slices.SortFunc(s, func(a, b block) int { return a.first.Compare(b.first) })
	out := s[:1]
	for _, b := range s[1:] {
		end := &out[len(out)-1]
		if next := end.last.Next(); b.first.BitLen() == end.last.BitLen() && (!next.IsValid() || b.first.Compare(next) <= 0) {
			if end.last.Less(b.last) {
				end.last = b.last
			}
			continue
		}
		out = append(out, b)
	}
	return out
}

// minus is what is in s and not in o.
func (s space) minus(o space) space {
	var out space
	for _, b := range s {
		rest, open := b, true
		for _, x := range o.meeting(b) {
			if rest.first.Less(x.first) {
				out = append(out, block{rest.first, x.first.Prev()})
			}
			if !x.last.Less(rest.last) {
				open = false
				break
			}
			rest.first = x.last.Next()
		}
		if open {
			out = append(out, rest)
		}
	}
	return out
}

// and is what is in both.
func (s space) and(o space) space {
	var out space
	for _, b := range s {
		for _, x := range o.meeting(b) {
			c := b
			if c.first.Less(x.first) {
				c.first = x.first
			}
			if x.last.Less(c.last) {
				c.last = x.last
			}
			out = append(out, c)
		}
	}
	return out
}

// meeting is the run of blocks that share an address with b.
func (s space) meeting(b block) space {
	i := sort.Search(len(s), func(i int) bool { return !s[i].last.Less(b.first) })
	j := i
	for j < len(s) && !b.last.Less(s[j].first) {
		j++
	}
	return s[i:j]
}

// meets tells whether two sets share an address.
func (s space) meets(o space) bool {
	if len(s) > len(o) {
		s, o = o, s
	}
	return slices.ContainsFunc(s, func(b block) bool { return len(o.meeting(b)) > 0 })
}

// has tells whether an address is in the set.
func (s space) has(a netip.Addr) bool { return len(s.meeting(block{a, a})) > 0 }

var (
	all4 = spaceOf(netip.PrefixFrom(netip.IPv4Unspecified(), 0))
	all6 = spaceOf(netip.PrefixFrom(netip.IPv6Unspecified(), 0))
)

// everywhere is every address of a family.
func everywhere(family int) space {
	if family == 6 {
		return all6
	}
	return all4
}
