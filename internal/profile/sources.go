package profile

import (
	"cmp"
	"net/netip"
	"slices"

	"demarc/internal/asset"
)

// A set of addresses of one family is kept as prefixes that do not meet, as few as there can be, in order.

// tidy makes a set of prefixes.
func tidy(ps []netip.Prefix) []netip.Prefix {
	in := slices.Clone(ps)
	slices.SortFunc(in, comparePrefix)
	var out []netip.Prefix
	for _, p := range in {
		if n := len(out); n > 0 && out[n-1].Bits() <= p.Bits() && out[n-1].Contains(p.Addr()) {
			continue
		}
		out = append(out, p)
		for len(out) > 1 && siblings(out[len(out)-2], out[len(out)-1]) {
			out = out[:len(out)-1]
			out[len(out)-1] = netip.PrefixFrom(out[len(out)-1].Addr(), out[len(out)-1].Bits()-1)
		}
	}
	return out
}

func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// siblings tells whether two prefixes are the halves of one.
func siblings(a, b netip.Prefix) bool {
	return a.Bits() == b.Bits() && a.Bits() > 0 && a != b && netip.PrefixFrom(a.Addr(), a.Bits()-1).Masked() == netip.PrefixFrom(b.Addr(), b.Bits()-1).Masked()
}

// minus is what is in a and not in b.
func minus(a, b []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range a {
		out = append(out, without(p, b)...)
	}
	return tidy(out)
}

func without(p netip.Prefix, covers []netip.Prefix) []netip.Prefix {
	var near []netip.Prefix
	for _, c := range covers {
		switch {
		case !c.Overlaps(p):
		case c.Bits() <= p.Bits():
			return nil
		default:
			near = append(near, c)
		}
	}
	if len(near) == 0 {
		return []netip.Prefix{p}
	}
	low, high := halves(p)
	return append(without(low, near), without(high, near)...)
}

// halves divides a prefix that is longer than one address.
func halves(p netip.Prefix) (low, high netip.Prefix) {
	at := p.Bits()
	b := p.Addr().AsSlice()
	b[at/8] |= 0x80 >> (at % 8)
	upper, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(p.Addr(), at+1), netip.PrefixFrom(upper, at+1)
}

// and is what is in both.
func and(a, b []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range a {
		for _, q := range b {
			switch {
			case !p.Overlaps(q):
			case p.Bits() >= q.Bits():
				out = append(out, p)
			default:
				out = append(out, q)
			}
		}
	}
	return tidy(out)
}

// ofFamily keeps the prefixes of one family.
func ofFamily(ps []netip.Prefix, six bool) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range ps {
		if p.IsValid() && p.Addr().Is6() == six {
			out = append(out, p.Masked())
		}
	}
	return tidy(out)
}

func anybody(six bool) []netip.Prefix {
	if six {
		return []netip.Prefix{netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
	}
	return []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
}

// remotes are the addresses outside the cloud that a rule lets in; of a remote group's members only what their address pairs hold
// beyond one address can be outside. Without a rule it is anybody.
func remotes(x *asset.Index, r *asset.Rule, six bool) []netip.Prefix {
	switch {
	case r == nil:
		return anybody(six)
	case r.RemotePrefix.IsValid():
		return ofFamily([]netip.Prefix{r.RemotePrefix}, six)
	case r.RemoteAddress != "":
		if set := x.AddressSets[r.RemoteAddress]; set != nil {
			return ofFamily(set.Prefixes, six)
		}
		return nil
	case r.RemoteGroup != "":
		var wide []netip.Prefix
		for _, m := range x.Members[r.RemoteGroup] {
			for _, a := range m.Pairs {
				if !a.Prefix.IsSingleIP() {
					wide = append(wide, a.Prefix)
				}
			}
		}
		return ofFamily(wide, six)
	}
	return anybody(six)
}
