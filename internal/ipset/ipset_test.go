package ipset

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// universe is a small world of both families, its ends among it.
func universe() []netip.Addr {
	var out []netip.Addr
	for i := range 64 {
		out = append(out, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i)}), netip.AddrFrom4([4]byte{255, 255, 255, byte(192 + i)}))
	}
	return append(out, netip.IPv4Unspecified(), netip.IPv6Unspecified())
}

func drawPrefixes(t *rapid.T, name string) []netip.Prefix {
	all := universe()
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) netip.Prefix {
		a := rapid.SampledFrom(all).Draw(t, "address")
		if rapid.IntRange(0, 30).Draw(t, "wide") == 0 {
			return netip.PrefixFrom(a, 0)
		}
		return netip.PrefixFrom(a, a.BitLen()-rapid.IntRange(0, 7).Draw(t, "length")) // host bits may be set
	}), 0, 8).Draw(t, name)
}

func holds(ps []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(ps, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Whatever is asked of sets is what asking each address says.
func TestSetsAgreeWithEveryAddress(t *testing.T) {
	all := universe()
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawPrefixes(t, "a"), drawPrefixes(t, "b")
		x, y := Of(a...), Of(b...)
		minus, and := x.Minus(y), x.And(y)
		meet := false
		for _, at := range all {
			inA, inB := holds(a, at), holds(b, at)
			meet = meet || inA && inB
			if x.Has(at) != inA || minus.Has(at) != (inA && !inB) || and.Has(at) != (inA && inB) || holds(minus.Prefixes(), at) != (inA && !inB) {
				t.Fatalf("%s: %v and %v: in a %v, in b %v; of: %v, minus %v, and %v", at, a, b, inA, inB, x.Has(at), minus, and)
			}
		}
		if meet && !x.Meets(y) || x.Meets(y) != (len(and) > 0) {
			t.Fatalf("%v and %v meet: %v", a, b, x.Meets(y))
		}
		for _, s := range []Set{x, minus, and} {
			normal(t, s)
			if !slices.Equal(Of(s.Prefixes()...), s) {
				t.Fatalf("%v as prefixes is %v", s, s.Prefixes())
			}
		}
	})
}

// normal: in order, and none meets or touches the next.
func normal(t *rapid.T, s Set) {
	for i, r := range s {
		if r.Last.Less(r.First) || i > 0 && (!s[i-1].Last.Less(r.First) || s[i-1].Last.Next() == r.First) {
			t.Fatalf("%v", s)
		}
	}
}

// Prefixes are as few as there can be.
func TestPrefixesAreFew(t *testing.T) {
	for _, c := range []struct {
		in, want []string
	}{
		{[]string{"10.0.0.0/25", "10.0.0.128/25"}, []string{"10.0.0.0/24"}},
		{[]string{"10.0.0.0/24", "10.0.0.7/32"}, []string{"10.0.0.0/24"}},
		{[]string{"0.0.0.0/1", "128.0.0.0/1"}, []string{"0.0.0.0/0"}},
		{[]string{"::/0", "10.0.0.1/32"}, []string{"10.0.0.1/32", "::/0"}},
		{[]string{"255.255.255.255/32", "255.255.255.254/32"}, []string{"255.255.255.254/31"}},
		{nil, nil},
	} {
		var in []netip.Prefix
		for _, p := range c.in {
			in = append(in, netip.MustParsePrefix(p))
		}
		var got []string
		for _, p := range Of(in...).Prefixes() {
			got = append(got, p.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v is %v, want %v", c.in, got, c.want)
		}
	}
	if n := Of(netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("10.0.0.7/32"), netip.MustParsePrefix("2001:db8::/126")).Size(); n != 260 {
		t.Errorf("%v addresses, want 260", n)
	}
	if got := Of(netip.MustParsePrefix("10.0.0.0/24")).Minus(Of(netip.MustParsePrefix("10.0.0.0/32"))).Prefixes(); len(got) != 8 {
		t.Errorf("all but one of 256 is %v", got)
	}
}
