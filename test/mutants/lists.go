package main

import (
	"bufio"
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// handmade is a mutant that somebody thought of.
type handmade struct {
	area string // one of areas
	file string
	old  string // stands exactly once in the file
	new  string
	why  string // what would happen
	test string // package below internal/, a slash, and the test that is expected to kill it
}

// areas are what hand-made mutants are about. Each has at least leastOfArea.
var areas = []string{"facts", "gate", "action", "settling", "clock", "outbox", "restore", "attribution"}

const leastOfArea = 4

// allHandmade lists them all.
func allHandmade() []handmade {
	var out []handmade
	lists := [][]handmade{handmadeFacts, handmadeGate, handmadeAction, handmadeSettling, handmadeClock, handmadeOutbox,
		handmadeRestore, handmadeAttribution}
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

// name is how a hand-made mutant is printed.
func (h handmade) name() string {
	line, _, _ := strings.Cut(strings.TrimSpace(h.old), "\n")
	return fmt.Sprintf("%s %s `%s`", h.area, h.file, line)
}

// pkg and run split the test.
func (h handmade) pkg() string { return "internal/" + h.test[:strings.LastIndex(h.test, "/")] }
func (h handmade) run() string { return h.test[strings.LastIndex(h.test, "/")+1:] }

// mutated is the text of the file with the mutant in it.
func (h handmade) mutated(root string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, h.file))
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(text, []byte(h.old)); n != 1 {
		return nil, fmt.Errorf("its old text stands %d times in %s, want once", n, h.file)
	}
	return bytes.Replace(text, []byte(h.old), []byte(h.new), 1), nil
}

//go:embed equivalent.txt
var equivalentText []byte

// equivalents reads the list of generated mutants that change nothing: by name, the reason. A line that is not indented is a name, the
// indented lines after it are its reason, and # begins a comment.
func equivalents(text []byte) (map[string]string, error) {
	out := map[string]string{}
	var name string
	var errs []error
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		line := s.Text()
		switch {
		case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, " ") && name == "":
			errs = append(errs, fmt.Errorf("a reason without a mutant: %q", line))
		case strings.HasPrefix(line, " "):
			out[name] = strings.TrimSpace(out[name] + " " + strings.TrimSpace(line))
		default:
			if name = line; out[name] != "" {
				errs = append(errs, fmt.Errorf("listed twice: %s", name))
			}
			out[name] = ""
		}
	}
	for name, why := range out {
		if why == "" {
			errs = append(errs, fmt.Errorf("listed without a reason: %s", name))
		}
	}
	return out, errors.Join(errs...)
}
