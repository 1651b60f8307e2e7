package duty

import (
	"strings"
	"testing"
)

// A model that a spreadsheet wrote back, or that a Windows editor saved, is the same model.
func TestModelFromASpreadsheet(t *testing.T) {
	m, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := m.CSV()
	if err != nil {
		t.Fatal(err)
	}
	text := string(plain)
	lines := strings.ReplaceAll(text, "\r\n", "\n")
	cells := strings.ReplaceAll(strings.ReplaceAll(text, ",true,", ",TRUE,"), ",false,", ",False,")
	for name, c := range map[string]struct{ file, text, says string }{
		"TRUE":                     {"m.csv", cells, ""},
		"a mark":                   {"m.csv", "\ufeff" + text, ""},
		"two empty columns":        {"m.csv", strings.ReplaceAll(lines, "\n", ",,\n"), ""},
		"two empty columns, blank": {"m.csv", strings.ReplaceAll(lines, "\n", ", ,\n"), ""},
		"a column without heading": {"m.csv", strings.Replace(strings.ReplaceAll(lines, "\n", ",\n"), ",\nduty,S0-14", ",x\nduty,S0-14", 1), "a column without a heading"},
		"JSON with a mark":         {"m.json", "\ufeff" + string(must(m.JSON())), ""},
		"YAML with a mark":         {"m.yaml", "\ufeff" + DefaultText(), ""},
	} {
		got, err := Parse(c.file, []byte(c.text))
		switch {
		case (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says):
			t.Errorf("%s: %v", name, err)
		case err == nil && got.Hash() != m.Hash():
			t.Errorf("%s: it is another model", name)
		}
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}
