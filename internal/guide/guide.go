// Package guide shows the pages of guidance.
//
// They tell how a duty is carried out, or a finding mended. A page is Markdown beside its duty or its check, and is embedded with it. This room lists the pages, finds one, and makes
// HTML of it that is safe to publish.
package guide

import (
	"cmp"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"demarc/internal/detect"
	"demarc/internal/duty"
	"demarc/internal/fault"
)

// Kind is what a page is about.
type Kind string

// The kinds. A finding that follows from the cloud's rules has its page among the checks.
const (
	Duty  Kind = "duty"
	Check Kind = "check"
)

// Page is one page of guidance.
type Page struct {
	Kind     Kind   `json:"kind"`
	ID       string `json:"id"`
	Title    string `json:"title"`
	Markdown string `json:"-"`
}

// Path is where a page lies below the place they are published at.
func (p Page) Path() string { return string(p.Kind) + "/" + p.ID + ".html" }

// all reads the embedded pages, once.
var all = sync.OnceValue(func() []Page {
	var out []Page
	for _, id := range duty.GuidanceIDs() {
		text, _ := duty.Guidance(id)
		out = append(out, page(Duty, id, text))
	}
	dir := detect.Embedded()
	names, err := fs.Glob(dir, "guidance/*.md")
	if err != nil { // the pattern is a constant
		panic(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(dir, name)
		if err != nil { // it was listed, and it is embedded
			panic(err)
		}
		out = append(out, page(Check, strings.TrimSuffix(path.Base(name), ".md"), string(text)))
	}
	return out
})

func page(k Kind, id, text string) Page {
	first, _, _ := strings.Cut(text, "\n")
	return Page{Kind: k, ID: id, Title: cmp.Or(strings.TrimSpace(strings.TrimPrefix(first, "#")), id), Markdown: text}
}

// List gives every page: duties first, each kind sorted by id.
func List() []Page { return slices.Clone(all()) }

// Find gives the page of a duty or check. Upper and lower case are the same here.
func Find(id string) (Page, error) {
	for _, p := range all() {
		if strings.EqualFold(p.ID, id) {
			return p, nil
		}
	}
	return Page{}, fault.New(fault.NotFound, "there is no page of guidance for %q", id).Hinted("give the id of a duty or a check; demarc guide list shows them")
}

// For gives the pages for a finding, as far as there are some: its check's, then its duty's.
func For(check, dutyID string) []Page {
	var out []Page
	for _, id := range []string{check, dutyID} {
		if p, err := Find(id); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// Links gives the addresses of the pages for a finding below the place where they are published. Where they are published
// nowhere there are none.
func Links(base, check, dutyID string) []string {
	if base == "" {
		return nil
	}
	var out []string
	for _, p := range For(check, dutyID) {
		out = append(out, strings.TrimRight(base, "/")+"/"+p.Path())
	}
	return out
}
