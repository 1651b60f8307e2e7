package notice

import (
	"net/mail"
	"strings"
	"testing"
	"unicode"
)

// FuzzAddress reads what somebody typed as a mail address.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"a@b.example", " a@b.example\n", "jürgen@bücher.example", "a@例え.テスト", "Ann <a@b>", "a@b,c@d", "a@xn--.example", "a@\u2024b", "a@。", "\u00a0a@b", "a@b\u3002c", "a@faß.de", "a@\u200dx"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, ok := CheckAddress(s)
		if !ok {
			return
		}
		if again, same := CheckAddress(a); !same || again != a {
			t.Fatalf("%q is read as %q, and that as %q", s, a, again)
		}
		local, domain, _ := strings.Cut(a, "@")
		parsed, err := mail.ParseAddress("<" + a + ">")
		if err != nil || parsed.Address != a || strings.Count(a, "@") != 1 || local == "" || !ascii(domain) || domain == "" || len(a) > maxAddress {
			t.Fatalf("%q from %q: %v", a, s, err)
		}
		if strings.ContainsFunc(a, func(r rune) bool {
			return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune("<>,;\"[]()\\", r)
		}) {
			t.Fatalf("%q", a)
		}
		if Plain(a) != ascii(local) {
			t.Fatalf("%q", a)
		}
	})
}
