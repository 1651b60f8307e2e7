// Package untrusted carries text a stranger wrote, shown safely in each sink.
//
// A banner, a page title, a server's name: all of it was chosen by somebody who may wish us
// harm. Text has no String method; what leaves this package has passed the escaper of the sink
// it is bound for. Every escaper yields printable runes only, so no value can move a cursor,
// start a mail header, open a tag or begin a formula.
package untrusted

import (
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
	"unique"
)

// ShownMax is how many bytes of one value a sink shows at most; the rest is counted, not shown.
const ShownMax = 512

// Text is a run of bytes from outside. The zero value is empty. Texts compare with ==.
//
// The bytes are behind a handle, not in a string field: fmt does not ask Format where a Text stands in an unexported
// field of another struct, nor for %p, %w and its own complaints, but prints what reflection shows. Through a handle that
// is an address.
type Text struct{ handle unique.Handle[string] }

// Bytes takes what a peer sent.
func Bytes(b []byte) Text { return From(string(b)) }

// From takes text that a stranger chose and a decoder has already made a string of.
func From(s string) Text {
	if s == "" {
		return Text{}
	}
	return Text{unique.Make(s)}
}

// Raw gives the bytes as they came, for matching, hashing and storing. It is never for showing.
func (t Text) Raw() string {
	if t.Empty() {
		return ""
	}
	return t.handle.Value()
}

// Len is the number of bytes.
func (t Text) Len() int { return len(t.Raw()) }

// Empty tells whether there is nothing.
func (t Text) Empty() bool { return t == Text{} }

// Cap returns at most the first n bytes.
func (t Text) Cap(n int) Text {
	if t.Len() <= n {
		return t
	}
	return From(t.Raw()[:n])
}

// Terminal renders for a terminal: printable runes, all else as \xNN or \u{N}, one line.
func (t Text) Terminal() string { return shorten(escape(t.Raw())) }

// Mail renders for a plain text mail, body or header: as Terminal, so no CR or LF survives.
func (t Text) Mail() string { return shorten(escape(t.Raw())) }

// HTML renders for element content and quoted attributes.
func (t Text) HTML() template.HTML {
	return template.HTML(html.EscapeString(shorten(escape(t.Raw())))) //nolint:gosec // escaped on this line
}

// CSV renders for one cell; a cell that a spreadsheet would run as a formula, in full-width signs or behind spaces too, gets
// a leading quote. Source: OWASP "CSV Injection". Quoting of separators is the CSV writer's.
func (t Text) CSV() string {
	s := shorten(escape(t.Raw()))
	if t := strings.TrimLeft(s, " "); t != "" {
		if r, _ := utf8.DecodeRuneInString(t); strings.ContainsRune("=+-@|＝＋－＠", r) {
			return "'" + s
		}
	}
	return s
}

// LogValue renders for a structured log.
func (t Text) LogValue() slog.Value { return slog.StringValue(t.Terminal()) }

// Format makes every fmt verb print the terminal form, so that a careless %s stays harmless.
func (t Text) Format(f fmt.State, verb rune) {
	s := t.Terminal()
	if verb == 'q' {
		s = strconv.Quote(s)
	}
	if w, ok := f.Width(); ok {
		s = pad(s, w, f.Flag('-'))
	}
	_, _ = io.WriteString(f, s)
}

// MarshalJSON writes the escaped form, which is both safe to show and loses nothing.
func (t Text) MarshalJSON() ([]byte, error) { return json.Marshal(escape(t.Raw())) }

// UnmarshalJSON reads the escaped form back.
func (t *Text) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	raw, err := unescape(s)
	if err != nil {
		return err
	}
	*t = From(raw)
	return nil
}

// escape maps bytes to printable runes, one to one: a backslash doubles, a byte that is no part of
// a rune becomes \xNN, a rune that does not print becomes \u{N}.
func escape(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case r == utf8.RuneError && n <= 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case r < utf8.RuneSelf && !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		case !shows(r):
			fmt.Fprintf(&b, `\u{%x}`, r)
		default:
			b.WriteRune(r)
		}
		s = s[n:]
	}
	return b.String()
}

// shows tells whether a rune may stand as it is: graphic, no control or format character (these
// reorder text), no combining mark (these climb over their neighbours), no private or unassigned
// rune, no space but the plain one, no letter or symbol that looks like nothing.
func shows(r rune) bool {
	const braillePatternBlank = '\u2800'
	return unicode.IsPrint(r) && r != braillePatternBlank &&
		!unicode.In(r, unicode.Cf, unicode.Cc, unicode.M, unicode.Co, unicode.Other_Default_Ignorable_Code_Point)
}

func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for len(s) > 0 {
		if s[0] != '\\' {
			b.WriteByte(s[0])
			s = s[1:]
			continue
		}
		rest, err := unescapeOne(&b, s[1:])
		if err != nil {
			return "", err
		}
		s = rest
	}
	return b.String(), nil
}

func unescapeOne(b *strings.Builder, s string) (string, error) {
	switch {
	case strings.HasPrefix(s, `\`):
		b.WriteByte('\\')
		return s[1:], nil
	case strings.HasPrefix(s, "x") && len(s) >= 3:
		v, err := strconv.ParseUint(s[1:3], 16, 8)
		if err != nil {
			return "", fmt.Errorf("escaped text: %w", err)
		}
		b.WriteByte(byte(v))
		return s[3:], nil
	case strings.HasPrefix(s, "u{"):
		end := strings.IndexByte(s, '}')
		if end < 0 {
			break
		}
		v, err := strconv.ParseUint(s[2:end], 16, 32)
		if err != nil || v > unicode.MaxRune {
			break
		}
		b.WriteRune(rune(v))
		return s[end+1:], nil
	}
	return "", fmt.Errorf("escaped text: a lone backslash")
}

// shorten keeps a shown value within ShownMax bytes, on a rune boundary, and says what is missing.
func shorten(s string) string {
	if len(s) <= ShownMax {
		return s
	}
	cut := ShownMax
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… (%d bytes more)", s[:cut], len(s)-cut)
}

func pad(s string, width int, left bool) string {
	n := width - utf8.RuneCountInString(s)
	if n <= 0 {
		return s
	}
	if left {
		return s + strings.Repeat(" ", n)
	}
	return strings.Repeat(" ", n) + s
}
