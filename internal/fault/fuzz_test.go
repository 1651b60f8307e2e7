package fault_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"
	"unicode/utf8"

	"demarc/internal/fault"
)

// FuzzYAML reads a text file, and a document in it. What is refused has its place, and nothing panics.
func FuzzYAML(f *testing.F) {
	for _, s := range []string{"\ufeffname: x\r\n", "\xff\xfen\x00", "when: 2026-01-01\ncidr: 192.0.2.0/24\naddr: ::1\n", "list: [1, TRUE, ~, 0x1F]\n", "name: &a [*a]", "any: {a: {b: [c]}}", "name: |\n  x\n", "? [", "name: \"\\ud800\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		text, err := fault.Text("f.yaml", data)
		if err == nil && (!utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 || len(text) > len(data)) {
			t.Fatalf("%q", text)
		}
		var v struct {
			Name string         `yaml:"name"`
			On   bool           `yaml:"on"`
			List []string       `yaml:"list"`
			When time.Time      `yaml:"when"`
			CIDR netip.Prefix   `yaml:"cidr"`
			Addr netip.Addr     `yaml:"addr"`
			Any  map[string]any `yaml:"any"`
		}
		decoded := fault.DecodeYAML("f.yaml", data, &v)
		if err != nil && decoded == nil {
			t.Fatalf("%v, and it is decoded", err)
		}
		if decoded != nil {
			if f, ok := fault.Of(decoded); !ok || f.Code != fault.Config || f.At.File != "f.yaml" || f.Message == "" {
				t.Fatalf("%#v", decoded)
			}
			return
		}
		if v.CIDR.IsValid() && v.CIDR != v.CIDR.Masked() {
			t.Fatal(v.CIDR)
		}
	})
}
