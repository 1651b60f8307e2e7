package main

import (
	"strings"
	"testing"

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
