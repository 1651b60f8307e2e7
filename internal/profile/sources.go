package profile

import (
	"net/netip"

	"demarc/internal/asset"
	"demarc/internal/ipset"
)

// tidy makes a set of prefixes: as few as there can be, in order.
func tidy(ps []netip.Prefix) []netip.Prefix { return ipset.Of(ps...).Prefixes() }

// minus is what is in a and not in b.
func minus(a, b []netip.Prefix) []netip.Prefix {
	return ipset.Of(a...).Minus(ipset.Of(b...)).Prefixes()
}

// and is what is in both.
func and(a, b []netip.Prefix) []netip.Prefix {
	return ipset.Of(a...).And(ipset.Of(b...)).Prefixes()
}

// halves divides a prefix that is longer than one address.
func halves(p netip.Prefix) (low, high netip.Prefix) {
	low = netip.PrefixFrom(p.Masked().Addr(), p.Bits()+1)
	return low, netip.PrefixFrom(ipset.RangeOf(low).Last.Next(), p.Bits()+1)
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
