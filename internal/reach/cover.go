package reach

import (
	"iter"
	"net/netip"
	"slices"
)

// cover finds the prefixes that hold an address: a tenant may give his ports as many as he likes.
type cover struct {
	bits [2][]int // the lengths that occur, by family
	at   map[netip.Prefix][]int32
}

func coverOf(wide []site) cover {
	c := cover{at: map[netip.Prefix][]int32{}}
	for i := range wide {
		p := wide[i].wide.Masked()
		bits := &c.bits[(wide[i].family()-4)/2]
		if !slices.Contains(*bits, p.Bits()) {
			*bits = append(*bits, p.Bits())
		}
		c.at[p] = append(c.at[p], int32(i)) //nolint:gosec // there are less than two thousand millions
	}
	return c
}

// of goes through the places of the prefixes that hold an address.
func (c *cover) of(a netip.Addr) iter.Seq[int32] {
	return func(yield func(int32) bool) {
		family := 0
		if a.Is6() {
			family = 1
		}
		for _, bits := range c.bits[family] {
			p, err := a.Prefix(bits)
			if err != nil {
				continue // of the other family
			}
			for _, i := range c.at[p] {
				if !yield(i) {
					return
				}
			}
		}
	}
}
