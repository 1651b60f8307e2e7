package untrusted_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"go/token"
	"html"
	"html/template"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	texttemplate "text/template"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"demarc/internal/untrusted"
)

// hostile is what strangers have been known to send.
var hostile = []string{
	"", " ", `\`, `\\x0a`, `\u{202e}`, "plain", "Grüße, 世界",
	"\x1b[2J\x1b[31mred", "\x1b]0;title\x07", "\x9b31m", "\u009b31m", // terminal
	"a\r\nBcc: everybody@example.org", "a\nb", "a\rb", "a\x00b", "a\vb\fc\u0085d\u2028e\u2029f", // lines
	"\u202eexe.txt", "\u2066a\u2069", "\u200f", "\ufeff", "a\u0301\u0489", "\U000e0041", "\u3164\u115f\uffa0\u2800\u00ad", // reordering, climbing, invisible
	"<script>alert(1)</script>", `" onmouseover="x`, "' onload='x", "&lt;b&gt;", "<!--", "]]>", "{{.}}", "`x`", // HTML
	"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "|cmd", " =1", "＝1", "＠x", "a,b;\"c\"", // CSV
	"%s%n%d", "%!s(", "$(reboot)", "${jndi:ldap://x}", // other languages
	"\xff\xfe", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\xaf", "ok\xe2\x82", // not UTF-8
	strings.Repeat("A", 5000), strings.Repeat("\x00", 5000), strings.Repeat("世", 400), strings.Repeat("<", 700), strings.Repeat("é", 256) + "é",
}

// shownMost bounds every sink: the shown bytes, each of which HTML may make five, and the note of what is missing.
const shownMost = 6*untrusted.ShownMax + 64

var verbs = []string{"%s", "%v", "%+v", "%#v", "%q", "%+q", "%x", "%X", "% x", "%d", "%t", "%c", "%U", "%e", "%b", "%o", "%O", "%p", "%w", "%T", "%z", "%.3s", "%9s", "%-9s", "%09d"}

// holder is how careless code prints: a Text inside something else.
type holder struct {
	Shown  untrusted.Text
	hidden untrusted.Text
	list   []untrusted.Text
	key    map[untrusted.Text]untrusted.Text
	any    any
	deep   struct{ t *untrusted.Text }
}

func hold(t untrusted.Text) holder {
	h := holder{Shown: t, hidden: t, list: []untrusted.Text{t}, key: map[untrusted.Text]untrusted.Text{t: t}, any: t}
	h.deep.t = &t
	return h
}

// sinks gives every way a text can leave, by name.
func sinks(t untrusted.Text) map[string]string {
	out := map[string]string{
		"Terminal": t.Terminal(), "Mail": t.Mail(), "HTML": string(t.HTML()), "CSV": t.CSV(), "LogValue": t.LogValue().String(),
		"Sprint": fmt.Sprint(t), "Sprint in a list": fmt.Sprint([]any{t, &t}),
		"error": fmt.Errorf("reading %v: %s", t, t).Error(), //nolint:errorlint // Text is no error
	}
	for _, v := range append(verbs, "no verb", "%*s", "%.*s", "%[3]s") {
		out[v+" twice"] = fmt.Sprintf(v, t, t)
	}
	for _, v := range verbs {
		out[v] = fmt.Sprintf(v, t)
		out["pointer "+v] = fmt.Sprintf(v, &t)
		out["struct "+v] = fmt.Sprintf(v, hold(t))
		h := hold(t)
		out["struct pointer "+v] = fmt.Sprintf(v, &h)
	}
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"slog text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"slog json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var b bytes.Buffer
		slog.New(handler(&b)).Info("seen", "text", t)
		out[name] = strings.TrimSuffix(b.String(), "\n")
	}
	var b strings.Builder
	if err := texttemplate.Must(texttemplate.New("").Parse(`{{.}} {{printf "%s %x %q" . . .}}`)).Execute(&b, t); err != nil {
		panic(err)
	}
	out["text/template"] = b.String()
	return out
}

// complain tells what is wrong with a shown string, or "".
func complain(s string) string {
	if !utf8.ValidString(s) {
		return "not UTF-8"
	}
	for _, r := range s {
		if r != ' ' && (!unicode.IsPrint(r) || unicode.In(r, unicode.Cc, unicode.Cf, unicode.M, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp, unicode.Zs, unicode.Bidi_Control, unicode.Other_Default_Ignorable_Code_Point)) {
			return fmt.Sprintf("holds %U", r)
		}
	}
	return ""
}

// check holds one text against everything that is promised of it.
func check(t interface {
	Helper()
	Errorf(string, ...any)
}, raw string,
) {
	t.Helper()
	x := untrusted.From(raw)
	for name, s := range sinks(x) {
		if why := complain(s); why != "" {
			t.Errorf("%s of %q: %s: %q", name, raw, why, s)
		}
		if len(s) > 16*shownMost {
			t.Errorf("%s of %d bytes: %d bytes", name, len(raw), len(s))
		}
	}
	for name, s := range map[string]string{"Terminal": x.Terminal(), "Mail": x.Mail(), "HTML": string(x.HTML()), "CSV": x.CSV(), "LogValue": x.LogValue().String()} {
		if len(s) > shownMost {
			t.Errorf("%s of %d bytes: %d bytes", name, len(raw), len(s))
		}
	}
	if s := string(x.HTML()); strings.ContainsAny(s, `<>"'`) || strings.Contains(strings.NewReplacer("&lt;", "", "&gt;", "", "&amp;", "", "&#34;", "", "&#39;", "").Replace(s), "&") {
		t.Errorf("HTML of %q: %q", raw, s)
	}
	checkCSV(t, x, raw)
	checkJSON(t, x, raw)
	if x.Raw() != raw || untrusted.Bytes([]byte(raw)) != x || x.Len() != len(raw) || x.Empty() != (raw == "") {
		t.Errorf("%q is not kept", raw)
	}
}

func checkCSV(t interface{ Errorf(string, ...any) }, x untrusted.Text, raw string) {
	s := x.CSV()
	if s != "" && strings.ContainsAny(s[:1], "=+-@\t\r|") {
		t.Errorf("CSV of %q begins a formula: %q", raw, s)
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if err := w.Write([]string{s, "next"}); err != nil {
		t.Errorf("CSV of %q: %v", raw, err)
	}
	w.Flush()
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != 1 || !reflect.DeepEqual(rows[0], []string{s, "next"}) {
		t.Errorf("CSV of %q reads back as %q, %v", raw, rows, err)
	}
}

func checkJSON(t interface{ Errorf(string, ...any) }, x untrusted.Text, raw string) {
	b, err := json.Marshal(x)
	if err != nil {
		t.Errorf("JSON of %q: %v", raw, err)
		return
	}
	if why := complain(string(b)); why != "" {
		t.Errorf("JSON of %q: %s", raw, why)
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil || complain(s) != "" {
		t.Errorf("a reader of the JSON of %q gets %q, %v", raw, s, err)
	}
	var back untrusted.Text
	if err := json.Unmarshal(b, &back); err != nil || back != x {
		t.Errorf("%q comes back as %q, %v", raw, back.Raw(), err)
	}
}

func TestKnownHostileTexts(t *testing.T) {
	for _, raw := range hostile {
		check(t, raw)
	}
}

func TestEveryByteAndRune(t *testing.T) {
	for b := range 256 {
		check(t, string([]byte{byte(b)}))
	}
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if r > 0x3100 && r%61 != 0 && (r < 0xe0000 || r > 0xe0fff) && (r < 0xf000 || r > 0xffff) {
			continue // sampled outside the planes where the odd ones live
		}
		x := untrusted.From("a" + string(r) + "b")
		if why := complain(x.Terminal()); why != "" {
			t.Errorf("%U: %s", r, why)
		}
	}
}

func TestArbitraryBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := string(rapid.SliceOfN(rapid.Byte(), 0, 900).Draw(t, "bytes"))
		if rapid.Bool().Draw(t, "runes") {
			raw = rapid.StringN(0, 300, 900).Draw(t, "string")
		}
		check(t, raw)
	})
}

func FuzzText(f *testing.F) {
	for _, s := range hostile {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 8192 {
			b = b[:8192]
		}
		check(t, string(b))
	})
}

// FuzzUnmarshal: what was stored may have been tampered with; reading it gives an error or a text, and never a panic.
func FuzzUnmarshal(f *testing.F) {
	for _, s := range []string{`""`, `"\\x0a"`, `"\\u{202e}"`, `"\\u{}"`, `"\\u{110000}"`, `"\\x"`, `"\\xg1"`, `"\\"`, `"\\q"`, `"\\u{d800}"`, `1`, `null`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var x untrusted.Text
		if err := json.Unmarshal(b, &x); err != nil {
			return
		}
		checkJSON(t, x, x.Raw())
	})
}

// In a page a text is inert wherever a template may put it, and it is escaped once.
func TestInAPage(t *testing.T) {
	page := template.Must(template.New("").Parse(`<p>{{.HTML}}</p><p>{{.}}</p><a title="{{.HTML}}" href="/x?q={{.}}">x</a><title>{{.HTML}}</title><script>let x = {{.}};</script>`))
	for _, raw := range hostile {
		var b strings.Builder
		x := untrusted.From(raw)
		if err := page.Execute(&b, x); err != nil {
			t.Fatal(err)
		}
		out := b.String()
		for _, tag := range []string{"<script", "<p", "<a", "<title", "<!--", "<b", `title="`, `href="`, `onmouseover="`} {
			want := map[string]int{"<script": 1, "<p": 2, "<a": 1, "<title": 1, `title="`: 1, `href="`: 1}[tag]
			if got := strings.Count(out, tag); got != want {
				t.Errorf("%q: %d of %s in %q", raw, got, tag, out)
			}
		}
		p, _, _ := strings.Cut(strings.TrimPrefix(out, "<p>"), "</p>")
		if html.UnescapeString(p) != x.Terminal() {
			t.Errorf("%q: the reader sees %q, want %q", raw, html.UnescapeString(p), x.Terminal())
		}
	}
}

// What fmt shows of a text in an unexported field, where it does not ask the text, is an address.
func TestNothingShowsThroughReflection(t *testing.T) {
	const secret = "raw\x1bsecret"
	h := hold(untrusted.From(secret))
	for _, v := range verbs {
		for _, s := range []string{fmt.Sprintf(v, h), fmt.Sprintf(v, &h), fmt.Sprintf(v, h.hidden), fmt.Sprintf(v, []any{h}), fmt.Sprintf(v, map[string]any{"h": h})} {
			if strings.Contains(s, secret) || strings.Contains(strings.ToLower(strings.ReplaceAll(s, " ", "")), "7261771b") || strings.Contains(s, "114 97 119") {
				t.Errorf("%s shows the bytes: %q", v, s)
			}
		}
	}
	typ := reflect.TypeFor[untrusted.Text]()
	if !typ.Comparable() {
		t.Error("texts do not compare")
	}
	for f := range typ.Fields() {
		if k := f.Type.Kind(); token.IsExported(f.Name) || k == reflect.String || k == reflect.Slice || k == reflect.Array {
			t.Errorf("field %s is a %s: fmt would print it where it cannot call Format", f.Name, k)
		}
	}
	if _, has := typ.MethodByName("String"); has {
		t.Error("Text has a String method: a careless concatenation would compile")
	}
}

func TestCap(t *testing.T) {
	x := untrusted.From("abcdef")
	for n, want := range map[int]string{0: "", 3: "abc", 6: "abcdef", 9: "abcdef"} {
		if got := x.Cap(n).Raw(); got != want {
			t.Errorf("Cap(%d) = %q", n, got)
		}
	}
	if x.Cap(0) != (untrusted.Text{}) || untrusted.From("") != (untrusted.Text{}) {
		t.Error("an empty text is not the zero value")
	}
	if s := untrusted.From(strings.Repeat("世", 400)).Terminal(); !strings.HasSuffix(s, "… (690 bytes more)") || !utf8.ValidString(s) {
		t.Errorf("what is missing is not told: …%q", s[len(s)-30:])
	}
}
