package demarc_test

import (
	"strings"
	"testing"

	"demarc/internal/asset/lines"
)

// docs/inventory.md tells every kind of line in the order of a file, and its example is one that is read.
func TestDocsInventory(t *testing.T) {
	page := pages(t)["docs/inventory.md"]
	same(t, "docs/inventory.md, kinds", tableWords(t, page, "## The format"), lines.Kinds())
	if at := strings.Join(tableWords(t, page, "## The format"), " "); at != strings.Join(lines.Kinds(), " ") {
		t.Errorf("docs/inventory.md: the kinds are in another order: %s", at)
	}
	_, rest, _ := strings.Cut(string(page), "```\n{\"format\"")
	example, _, _ := strings.Cut(rest, "```")
	s, people, err := lines.Read("docs/inventory.md", strings.NewReader("{\"format\""+example))
	if err != nil || people || len(s.Servers) != 1 || len(s.Groups[0].Rules) != 1 {
		t.Errorf("docs/inventory.md: the example is not read: %v", err)
	}
}
