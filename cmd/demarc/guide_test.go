package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"demarc/internal/fault"
	"demarc/internal/guide"
)

// Every demarc command on a page of guidance is one that the program has, with flags that it knows.
func TestGuidanceShowsCommandsThatExist(t *testing.T) {
	shown := 0
	for _, p := range guide.List() {
		for _, line := range commandLines(p.Markdown) {
			shown++
			if err := understood(strings.Fields(line)); err != nil {
				t.Errorf("%s: demarc %s: %v", p.ID, line, err)
			}
		}
	}
	if shown < 30 {
		t.Errorf("only %d command lines were found", shown)
	}
}

// By force the pages go over what is in their folder, and nowhere else: a link there may have been laid by somebody else.
func TestPagesAreWrittenIntoTheirFolderOnly(t *testing.T) {
	const kept = "of somebody else"
	for name, link := range map[string]func(dir, outside string) error{
		"a file": func(dir, outside string) error {
			return os.Symlink(filepath.Join(outside, "index.html"), filepath.Join(dir, "index.html"))
		},
		"a folder": func(dir, outside string) error { return os.Symlink(outside, filepath.Join(dir, "duty")) },
	} {
		dir, outside := t.TempDir(), t.TempDir()
		for _, f := range []string{"index.html", "S0-12.html"} {
			if err := os.WriteFile(filepath.Join(outside, f), []byte(kept), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := link(dir, outside); err != nil {
			t.Fatal(err)
		}
		if err := exportGuides(io.Discard, "table", dir, true); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: got %v", name, err)
		}
		for _, f := range []string{"index.html", "S0-12.html"} {
			if b, err := os.ReadFile(filepath.Join(outside, f)); err != nil || string(b) != kept {
				t.Errorf("%s: %s was written over: %v", name, f, err)
			}
		}
	}
}
