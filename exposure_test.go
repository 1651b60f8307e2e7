package demarc_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// exposureItems are the things that decide whether a machine is exposed.
const exposureItems = 22

var (
	exposureRow = regexp.MustCompile(`(?m)^\| (\d+) \| ([^|\n]+) \| ([^|\n]+) \| ([^|\n]+) \| ([^|\n]+) \|$`)
	verdictWord = regexp.MustCompile("`(proven|not proven)`")
	inSpan      = regexp.MustCompile("`([^`]+)`")
	testFunc    = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	doubtText   = regexp.MustCompile(`(?m)^\t\{doubt\w+, "([^"]+)"\},$`)
)

// docs/exposure.md has a row for each item, with a verdict and with what shows it; what is proven is shown by packets.
func TestDocsExposure(t *testing.T) {
	page, tests := pages(t)["docs/exposure.md"], testNames(t)
	for _, flaw := range exposureFlaws(t, page, tests) {
		t.Errorf("docs/exposure.md: %s", flaw)
	}
	for old, brand := range map[string]string{
		"| 7 | ": "| 77 | ", "| `not proven` | `TestLoadBalancers` |": "| perhaps | `TestLoadBalancers` |", "`TestAddressScopes`": "`TestNoSuchThing`",
		"| `proven` | `make exposure`, `TestPortSecurityAndGroups` |": "| `proven` | `TestPortSecurityAndGroups` |", "`make real`": "`make unreal`",
		"`test/exposure/ask.go`": "`test/exposure/none.go`", "| a load balancer takes the connection |": "| a load balancer |", "`make exposure`, `TestWaysIn`": "words",
	} {
		if bad := bytes.ReplaceAll(page, []byte(old), []byte(brand)); bytes.Equal(bad, page) || len(exposureFlaws(t, bad, tests)) == 0 {
			t.Errorf("%q in place of %q is not seen", brand, old)
		}
	}
}

// exposureFlaws says what is wrong with the page.
func exposureFlaws(t *testing.T, page []byte, tests []string) []string {
	t.Helper()
	var out []string
	wrong := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	_, rest, _ := bytes.Cut(page, []byte("\n## Everything that opens or closes a path\n"))
	table, rest, _ := bytes.Cut(rest, []byte("\n## Doubts\n"))
	rows := exposureRow.FindAllSubmatch(table, -1)
	if len(rows) != exposureItems {
		wrong("%d rows, want %d", len(rows), exposureItems)
	}
	for i, r := range rows {
		if string(r[1]) != fmt.Sprint(i+1) {
			wrong("row %d is numbered %s", i+1, r[1])
		}
		verdicts := verdictWord.FindAllStringSubmatch(string(r[4]), -1)
		if len(verdicts) == 0 {
			wrong("row %s has no verdict", r[1])
		}
		packets := strings.Contains(string(r[5]), "`make exposure`") || strings.Contains(string(r[5]), "`make real`") || strings.Contains(string(r[5]), "`make lab`")
		if proven := slices.ContainsFunc(verdicts, func(v []string) bool { return v[1] == "proven" }); proven != packets {
			wrong("row %s says proven: %v, and is shown by packets: %v", r[1], proven, packets)
		}
		shown := inSpan.FindAllStringSubmatch(string(r[5]), -1)
		if len(shown) == 0 {
			wrong("row %s names nothing that shows it", r[1])
		}
		for _, s := range shown {
			if !shows(t, s[1], tests) {
				wrong("row %s names %s, which is not there", r[1], s[1])
			}
		}
	}
	reasons, err := os.ReadFile("internal/reach/doubt.go")
	if err != nil {
		t.Fatal(err)
	}
	doubts, _, _ := bytes.Cut(rest, []byte("\n#"))
	known := doubtText.FindAllSubmatch(reasons, -1)
	if len(known) < 10 {
		t.Fatalf("only %d reasons were found in internal/reach/doubt.go", len(known))
	}
	for _, d := range known {
		if !bytes.Contains(doubts, append(append([]byte("\n| "), d[1]...), " | "...)) {
			wrong("the reason %q has no row", d[1])
		}
	}
	if n := bytes.Count(doubts, []byte("\n| ")) - 1; n != len(known) {
		wrong("%d reasons for doubt, the model has %d", n, len(known))
	}
	return out
}

// shows tells whether a test, a make target or a file of that name is there.
func shows(t *testing.T, name string, tests []string) bool {
	t.Helper()
	if target, ok := strings.CutPrefix(name, "make "); ok {
		b, err := os.ReadFile("Makefile")
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(b, []byte("\n"+target+": ##"))
	}
	if strings.HasPrefix(name, "Test") {
		return slices.Contains(tests, name)
	}
	_, err := os.Stat(name)
	return err == nil
}

// testNames lists the tests of the repository.
func testNames(t *testing.T) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllSubmatch(b, -1) {
			out = append(out, string(m[1]))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
