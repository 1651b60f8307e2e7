package fault_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"demarc/internal/fault"
)

// A byte order mark is no part of the first key, and other encodings are refused by their names.
func TestTextFilesInOtherEncodings(t *testing.T) {
	for name, c := range map[string]struct{ in, says string }{
		"plain":               {"on: TRUE\n", ""},
		"a mark":              {"\ufeffon: true\n", ""},
		"a mark and CR LF":    {"\ufeffon: True\r\n", ""},
		"only a mark":         {"\ufeff", ""},
		"a comment first":     {"\ufeff# note\r\non: true\r\n", ""},
		"two marks":           {"\ufeff\ufeffon: true\n", "unknown field"},
		"UTF-16":              {"\xff\xfeo\x00n\x00:\x00", "the file is UTF-16"},
		"UTF-16 big-endian":   {"\xfe\xff\x00o\x00n\x00:", "the file is UTF-16"},
		"UTF-16, no mark":     {"o\x00n\x00:\x00", "NUL character"},
		"UTF-32":              {"\xff\xfe\x00\x00o\x00\x00\x00", "the file is UTF-32"},
		"UTF-32 big-endian":   {"\x00\x00\xfe\xff\x00\x00\x00o", "the file is UTF-32"},
		"Windows-1252":        {"# gr\xfc\xdfe\non: true\n", "f.yaml:1:5: the file is not UTF-8"},
		"a key twice":         {"on: true\non: true\n", "f.yaml:2:1"},
		"a key twice, a mark": {"\ufeffon: true\non: true\n", "f.yaml:2:1"},
	} {
		var v struct {
			On bool `yaml:"on"`
		}
		err := fault.DecodeYAML("f.yaml", []byte(c.in), &v)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		path := filepath.Join(t.TempDir(), "f.yaml")
		if err := os.WriteFile(path, []byte(c.in), 0o600); err != nil {
			t.Fatal(err)
		}
		if b, err := fault.ReadFile(path); err == nil && c.says == "" && strings.HasPrefix(string(b), "\ufeff") {
			t.Errorf("%s: the mark is kept", name)
		}
	}
}
