package service

import (
	"bytes"
	"regexp"
	"unicode/utf8"

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

	telnetMax = 4 << 10 // bytes of a greeting that are read
	promptMax = 80      // bytes of the line that asks
)

func startsTelnet(b []byte) bool {
	return len(b) >= 3 && b[0] == iac && b[1] >= will && b[1] <= dont && (b[2] <= optionMax || b[2] == iac)
}

// negotiation gives the index of the first telnet command of an answer: at its start, or after text. A server may greet before it
// negotiates.
func negotiation(b []byte) int {
	b = b[:min(len(b), telnetMax)]
	for from := 0; ; {
		i := bytes.IndexByte(b[from:], iac)
		if i < 0 {
			return -1
		}
		at := from + i
		if !shown(b[:at]) {
			return -1
		}
		if startsTelnet(b[at:]) {
			return at
		}
		from = at + 1
	}
}

// shown tells whether bytes are text as a terminal shows it.
func shown(b []byte) bool {
	return utf8.Valid(b) && !bytes.ContainsFunc(b, func(r rune) bool {
		return r < ' ' && r != '\r' && r != '\n' && r != '\t' && r != '\b' && r != 0x1b && r != 0
	})
}

// loginPrompt is the end of a greeting that asks for a name or a password, and waits.
var loginPrompt = regexp.MustCompile(`(?i)(^|[\s>])(login|user ?name|password)[ \t]*:[ \t]*$`)

// telnet reads the option negotiation of a greeting, and the prompt after it. A greeting that only asks for a name is one too.
func telnet(b []byte) *probe.Service {
	at := negotiation(b)
	if at < 0 {
		if len(b) > telnetMax || !shown(b) || !loginPrompt.Match(b) {
			return nil
		}
		at = len(b)
	}
	s := &probe.Service{Name: Telnet, Facts: map[string]untrusted.Text{}}
	text, tls, others := options(b[at:])
	before := bytes.TrimSpace(b[:at])
	shown := bytes.TrimSpace(append(append(bytes.Clone(before), '\n'), text...))
	switch {
	case tls && !others && len(shown) == 0:
		s.Facts["start_tls"] = word("offered")
	case tls:
		s.Facts["start_tls"] = word("optional")
	}
	s.Banner = untrusted.Bytes(shown).Cap(bannerMax)
	if last := shown[bytes.LastIndexByte(shown, '\n')+1:]; len(last) <= promptMax && bytes.HasSuffix(last, []byte(":")) {
		s.Facts["prompt"] = word(string(last))
	}
	return s
}

// options skips the negotiation wherever it stands in the text, and tells whether TLS is part of it, and whether anything else is.
func options(b []byte) (text []byte, tls, others bool) {
	b = b[:min(len(b), telnetMax)]
	for len(b) > 0 {
		switch {
		case b[0] != iac:
			text = append(text, b[0])
			b = b[1:]
		case len(b) < 2:
			return text, tls, others
		case b[1] == sb:
			others = true
			end := bytes.Index(b, []byte{iac, 0xf0})
			if end < 0 {
				return text, tls, others
			}
			b = b[end+2:]
		case b[1] >= will && b[1] <= dont && len(b) >= 3:
			tls = tls || b[2] == optionStartTLS
			others = others || b[2] != optionStartTLS
			b = b[3:]
		default:
			others = true
			b = b[2:]
		}
	}
	return text, tls, others
}
