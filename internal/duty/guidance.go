package duty

import (
	"embed"
	"strings"
)

//go:embed guidance/*.md
var guidance embed.FS

// Guidance is the page that tells how a duty is carried out, as Markdown.
func Guidance(id string) (string, bool) {
	b, err := guidance.ReadFile("guidance/" + id + ".md")
	return string(b), err == nil
}

// GuidanceIDs lists the duties that have a page, sorted.
func GuidanceIDs() []string {
	entries, err := guidance.ReadDir("guidance")
	if err != nil { // the name is a constant that the compiler has seen
		panic(err)
	}
	out := make([]string, len(entries))
	for i, e := range entries {
		out[i] = strings.TrimSuffix(e.Name(), ".md")
	}
	return out
}
