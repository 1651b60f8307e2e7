package reach

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// Every prefix that holds an address is found, and no other, whatever the order and however they nest.
func TestWhatCoversAnAddress(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	draw := func() netip.Addr {
		if rng.IntN(2) == 0 {
			return netip.AddrFrom4([4]byte{10, 0, byte(rng.IntN(4)), byte(rng.IntN(256))})
		}
		return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(rng.IntN(4)), 15: byte(rng.IntN(256))})
	}
	found := 0
	for range 300 {
		var wide []site
		for range rng.IntN(40) {
			a := draw()
			p := netip.PrefixFrom(a, a.BitLen()-1-rng.IntN(16)).Masked()
			wide = append(wide, site{addr: p.Addr(), wide: p})
		}
		c := coverOf(wide)
		for range 20 {
			a := draw()
			var got, want []int32
			for i := range c.of(a) {
				got = append(got, i)
			}
			for i := range wide {
				if wide[i].wide.Contains(a) {
					want = append(want, int32(i))
				}
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Fatalf("%s is held by %v, want %v, of %+v", a, got, want, wide)
			}
			found += len(got)
		}
	}
	if found == 0 {
		t.Fatal("nothing covers anything")
	}
}
