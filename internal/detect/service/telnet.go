package service

import (
	"bytes"

	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

// Telnet commands, compared as bytes: in a regular expression \xff is a rune. Source: RFC 854, RFC 855.
const (
	iac  = 0xff
	sb   = 0xfa
	will = 0xfb
	dont = 0xfe

	optionStartTLS = 46
	optionMax      = 50
)

func startsTelnet(b []byte) bool {
	return len(b) >= 3 && b[0] == iac && b[1] >= will && b[1] <= dont && (b[2] <= optionMax || b[2] == iac)
}

// telnet reads the option negotiation that a server opens with, and the prompt after it.
func telnet(b []byte) *probe.Service {
	if !startsTelnet(b) {
		return nil
	}
	s := &probe.Service{Name: Telnet, Facts: map[string]untrusted.Text{}}
	rest, tls := options(b)
	if tls {
		s.Facts["start_tls"] = word("offered")
	}
	shown := bytes.TrimSpace(rest)
	s.Banner = untrusted.Bytes(shown).Cap(bannerMax)
	if low := bytes.ToLower(shown); bytes.HasSuffix(low, []byte("login:")) || bytes.HasSuffix(low, []byte("username:")) || bytes.HasSuffix(low, []byte("password:")) {
		s.Facts["prompt"] = text(shown[bytes.LastIndexByte(shown, '\n')+1:])
	}
	return s
}

// options skips the negotiation and tells whether TLS is part of it.
func options(b []byte) (rest []byte, tls bool) {
	for len(b) >= 2 && b[0] == iac {
		switch {
		case b[1] == sb:
			end := bytes.Index(b, []byte{iac, 0xf0})
			if end < 0 {
				return nil, tls
			}
			b = b[end+2:]
		case b[1] >= will && b[1] <= dont && len(b) >= 3:
			tls = tls || b[2] == optionStartTLS
			b = b[3:]
		default:
			b = b[2:]
		}
	}
	return b, tls
}
