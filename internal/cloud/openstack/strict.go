package openstack

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"demarc/internal/asset"
	"demarc/internal/untrusted"
)

// strict parses what a service wrote and keeps the first thing that it did not understand. A row with such a thing is not taken:
// what opens a path must never be read as wider or narrower than it is.
type strict struct{ err error }

func (s *strict) odd(field, text string) {
	if s.err == nil {
		s.err = fmt.Errorf("its %s %q can not be understood", field, untrusted.From(text).Cap(80).Terminal())
	}
}

// understood gives a row, or what is odd about it.
func understood[T any](s *strict, v T) (T, error) {
	if s.err != nil {
		var none T
		return none, s.err
	}
	return v, nil
}

// some is a text that must be there, such as an identifier of what something belongs to.
func (s *strict) some(field, text string) string {
	if text == "" {
		s.odd(field, text)
	}
	return text
}

// flag is a boolean that must be there.
func (s *strict) flag(field string, b *bool) bool {
	if b == nil {
		s.odd(field, "null")
		return false
	}
	return *b
}

func (s *strict) addr(field, text string) netip.Addr {
	a, err := netip.ParseAddr(text)
	if err != nil {
		s.odd(field, text)
	}
	return a.WithZone("").Unmap()
}

// addrOrNone is an address that may be null or empty.
func (s *strict) addrOrNone(field string, text *string) netip.Addr {
	if text == nil || *text == "" {
		return netip.Addr{}
	}
	return s.addr(field, *text)
}

// prefix takes a prefix or a bare address.
func (s *strict) prefix(field, text string) netip.Prefix {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen())
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		s.odd(field, text)
	case p.Addr().Is4In6() && p.Bits() >= 96: // the same range, written in IPv6
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	case p.Addr().Is4In6():
		s.odd(field, text)
		return netip.Prefix{}
	}
	return p
}

func (s *strict) prefixes(field string, texts []string) []netip.Prefix {
	var out []netip.Prefix
	for _, t := range texts {
		out = append(out, s.prefix(field, t))
	}
	return out
}

// port is a port number, at least 1.
func (s *strict) port(field string, n int) uint16 {
	if n < 1 || n > 65535 {
		s.odd(field, strconv.Itoa(n))
		return 0
	}
	return uint16(n)
}

// portRange reads "80" or "80:90".
func (s *strict) portRange(field, text string) (first, last uint16) {
	a, b, ranged := strings.Cut(text, ":")
	lo, err := strconv.Atoi(a)
	hi := lo
	if err == nil && ranged {
		hi, err = strconv.Atoi(b)
	}
	if err != nil || lo > hi {
		s.odd(field, text)
		return 0, 0
	}
	return s.port(field, lo), s.port(field, hi)
}

// protocol is a name or a number; null and "any" are every protocol. Some services write the number as a number.
func (s *strict) protocol(field string, raw json.RawMessage) string {
	var p *string
	if json.Unmarshal(raw, &p) != nil {
		n := string(raw)
		p = &n
	}
	if len(raw) == 0 || p == nil || strings.EqualFold(*p, "any") {
		return ""
	}
	word := strings.ToLower(*p)
	if n, err := strconv.Atoi(word); err == nil && n >= 0 && n <= 255 {
		return strconv.Itoa(n)
	}
	if _, known := asset.ProtocolNumber(word); !known {
		s.odd(field, *p)
	}
	return word
}

// span reads a rule's two numbers, which are ports, or ICMP's type and code. Neutron refuses ports without a protocol, port 0, one port
// alone, and numbers for other protocols; what holds such a thing all the same is not guessed at.
func (s *strict) span(protocol string, from, to *int) (first, last int) {
	number := func(n *int) (int, bool) {
		if n == nil {
			return asset.AnyPort, true
		}
		return *n, *n >= 0
	}
	first, one := number(from)
	last, other := number(to)
	if !one || !other || !asset.PortsFit(protocol, first, last) {
		s.odd("port range", fmt.Sprintf("%d to %d of protocol %s", first, last, protocol))
	}
	return first, last
}

// family is 4 or 6 by Neutron's word.
func (s *strict) family(field, text string) int {
	switch strings.ToLower(text) {
	case "ipv4":
		return 4
	case "ipv6":
		return 6
	}
	s.odd(field, text)
	return 0
}

// fits holds a prefix against the family of the rule that names it.
func (s *strict) fits(field string, p netip.Prefix, family int) netip.Prefix {
	if p.IsValid() && family != 0 && p.Addr().Is4() != (family == 4) {
		s.odd(field, p.String())
	}
	return p.Masked()
}

func (s *strict) oneOf(field, text string, words ...string) string {
	if !slices.Contains(words, text) {
		s.odd(field, text)
	}
	return text
}
