package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var (
	spanned = regexp.MustCompile("`(?:\\./)?demarc ([^`|]+)`")
	trailer = regexp.MustCompile(`\s*(>\s*\S+)?\s*&?(\s+#.*)?$`) // what the shell reads and the program does not
)

// Every command that a page shows is one that the program has, with flags that it knows.
func TestPagesShowCommandsThatExist(t *testing.T) {
	names, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	var shown int
	for _, name := range append(names, "../../README.md", "../../CONTRIBUTING.md", "../../SECURITY.md") {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range commandLines(string(b)) {
			if absent(line) {
				continue
			}
			shown++
			if err := understood(strings.Fields(line)); err != nil {
				t.Errorf("%s: demarc %s: %v", filepath.Base(name), line, err)
			}
		}
	}
	if shown < 10 {
		t.Errorf("only %d command lines were found", shown)
	}
}

// absent are commands that docs/limits.md names because there are none.
func absent(line string) bool { return line == "serve" }

// commandLines lists what follows "demarc" where a page shows a command: in a block of its own, or in a span.
func commandLines(page string) []string {
	var out []string
	inside := false
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "```") {
			inside = !inside
			continue
		}
		if rest, ok := strings.CutPrefix(strings.TrimPrefix(line, "./"), "demarc "); ok && inside {
			out = append(out, trailer.ReplaceAllString(rest, ""))
		}
	}
	for _, m := range spanned.FindAllStringSubmatch(page, -1) {
		out = append(out, m[1])
	}
	return out
}

// understood walks the words down the tree of commands, and reads the flags and arguments of the one they name. Prose may name a
// command without either.
func understood(words []string) error {
	root := rootCommand()
	tidy(root)
	c, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		return nil
	}
	if err := c.ParseFlags(rest); err != nil {
		return err
	}
	if c.HasSubCommands() && !strings.Contains(c.Use, " ") { // it only holds others
		return cobra.NoArgs(c, c.Flags().Args())
	}
	return c.ValidateArgs(c.Flags().Args())
}
