package demarc_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// kindLiteral is a kind of coverage that is written out where it is asked for or stored.
var kindLiteral = regexp.MustCompile("(LastCoverage\\(ctx, |addCoverage\\(|kind :?= |kind = )[\"'](inventory|recent|sweep)[\"']")

// The line and the store name the kinds of coverage by the words beside probe.Coverage: a kind that one of them writes otherwise would
// never be found by the other.
func TestKindsOfCoverageHaveOneName(t *testing.T) {
	for _, room := range []string{"flow", "store"} {
		files, err := filepath.Glob("internal/" + room + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if m := kindLiteral.Find(b); m != nil && !strings.HasSuffix(f, "_test.go") {
				t.Errorf("%s: %s", f, m)
			}
		}
	}
}
