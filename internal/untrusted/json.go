package untrusted

import (
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// JSON renders a JSON document for a terminal: what does not show, such as marks that turn the direction of a text, joiners without width
// and tag characters, is written as \uXXXX. The document means the same. White space between its parts stays.
func JSON(doc []byte) []byte {
	at := 0
	for at < len(doc) && plainJSON(doc[at]) {
		at++
	}
	if at == len(doc) {
		return doc
	}
	out := append(make([]byte, 0, len(doc)+64), doc[:at]...)
	for at < len(doc) {
		r, n := utf8.DecodeRune(doc[at:])
		switch {
		case plainJSON(doc[at]) || r >= utf8.RuneSelf && shows(r) && !(r == utf8.RuneError && n == 1):
			out = append(out, doc[at:at+n]...)
		case r == utf8.RuneError && n == 1:
			out = append(out, `\ufffd`...)
		default:
			for _, u := range utf16.AppendRune(nil, r) {
				out = fmt.Appendf(out, `\u%04x`, u)
			}
		}
		at += n
	}
	return out
}

// plainJSON tells whether a byte stands as it is: a letter of ASCII, or white space between parts. An encoder writes all other control
// characters within a text as escapes already.
func plainJSON(b byte) bool { return b >= ' ' && b < 0x7f || b == '\n' || b == '\t' || b == '\r' }
