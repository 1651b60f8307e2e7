package notice

import (
	"net/mail"
	"strings"

	"golang.org/x/net/idna"

	"demarc/internal/untrusted"
)

// maxAddress is the longest address in bytes (RFC 5321 section 4.5.3.1.3, less the angle brackets).
const maxAddress = 254

// CheckAddress tells whether s is exactly one plain mail address, at a name and not at a number, of runes that show, and gives it as it is
// sent: without white space around it, and with a domain beyond ASCII in its xn-- form. The part before @ stays as it is: only its own
// server knows which of its letters mean the same (RFC 5321 section 2.4).
func CheckAddress(s string) (string, bool) {
	s = strings.TrimSpace(s)
	if len(s) > maxAddress || strings.ContainsAny(s, " <>,;\"[]") || untrusted.From(s).Mail() != s {
		return "", false
	}
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return "", false
	}
	domain, ok := mailDomain(s[at+1:])
	if !ok || len(s[:at])+1+len(domain) > maxAddress {
		return "", false
	}
	s = s[:at+1] + domain
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s || a.Name != "" {
		return "", false
	}
	return a.Address, true
}

// mailDomain is a domain as it is sent. What is ASCII stays as it is: there are names that no registry would give, and that mail reaches.
func mailDomain(s string) (string, bool) {
	if ascii(s) {
		return s, true
	}
	domain, err := idna.Lookup.ToASCII(s)
	return domain, err == nil && ascii(domain)
}

func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > 0x7e || r < 0x21 }) < 0
}

// Plain tells whether every mail server takes an address. One whose part before @ is beyond ASCII needs SMTPUTF8 (RFC 6531).
func Plain(address string) bool { return ascii(address) }
