package demarc_test

import (
	"strings"
	"testing"

	"demarc/internal/asset/lines"
	"demarc/internal/policy"
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

// docs/profiles.md tells every profile of the default policy, and its example is one that loads.
func TestDocsProfiles(t *testing.T) {
	page := pages(t)["docs/profiles.md"]
	p, err := policy.Default()
	if err != nil {
		t.Fatal(err)
	}
	same(t, "docs/profiles.md", tableWords(t, page, "## The profiles"), p.ProfileNames())
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	example, _, _ := strings.Cut(rest, "```")
	base, _, _ := strings.Cut(string(policy.DefaultYAML()), "\nprofiles:")
	if own, err := policy.Parse("own.yaml", []byte(base+"\n"+example)); err != nil || len(own.ProfileOf) != 2 || own.Profiles["mail"].Title == "" {
		t.Errorf("docs/profiles.md: the example does not load: %v", err)
	}
}
