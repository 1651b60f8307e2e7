package guide

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"path"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// markdown reads CommonMark but for HTML, which it takes for the text that it is: a page cannot bring a script.
var markdown = goldmark.New(
	goldmark.WithParser(parser.NewParser(
		parser.WithBlockParsers(without(parser.DefaultBlockParsers(), parser.NewHTMLBlockParser())...),
		parser.WithInlineParsers(without(parser.DefaultInlineParsers(), parser.NewRawHTMLParser())...),
		parser.WithParagraphTransformers(parser.DefaultParagraphTransformers()...),
		parser.WithASTTransformers(util.Prioritized(relinked{}, 1)),
	)),
	goldmark.WithRendererOptions(html.WithXHTML()),
)

// without leaves out the parsers that are of one's kind.
func without(ps []util.PrioritizedValue, one any) []util.PrioritizedValue {
	var out []util.PrioritizedValue
	for _, p := range ps {
		if fmt.Sprintf("%T", p.Value) != fmt.Sprintf("%T", one) {
			out = append(out, p)
		}
	}
	return out
}

// of is the page that is being read.
var of = parser.NewContextKey()

// relinked makes a link to another page's file one to that page as it is published.
type relinked struct{}

// Transform rewrites the links of a document.
func (relinked) Transform(doc *ast.Document, _ text.Reader, ctx parser.Context) {
	from, _ := ctx.Get(of).(Kind)
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		l, ok := n.(*ast.Link)
		if !ok || !entering {
			return ast.WalkContinue, nil
		}
		name, isPage := strings.CutSuffix(path.Base(string(l.Destination)), ".md")
		if p, err := Find(name); isPage && err == nil {
			l.Destination = []byte(to(from, p))
		}
		return ast.WalkContinue, nil
	})
}

// to is the way from a page of one kind to another page.
func to(from Kind, p Page) string {
	switch from {
	case "": // from the index
		return p.Path()
	case p.Kind:
		return path.Base(p.Path())
	}
	return "../" + p.Path()
}

// HTML is the page's text as HTML, without what stands around it.
func (p Page) HTML() (template.HTML, error) {
	ctx := parser.NewContext()
	ctx.Set(of, p.Kind)
	var b bytes.Buffer
	if err := markdown.Convert([]byte(p.Markdown), &b, parser.WithContext(ctx)); err != nil {
		return "", fmt.Errorf("page %s: %w", p.ID, err)
	}
	return template.HTML(b.String()), nil //nolint:gosec // markdown lets no HTML of the page through, and drops what is no safe link
}

//go:embed page.html
var pageHTML string

var frame = template.Must(template.New("page").Parse(pageHTML))

// sheet is what the frame is filled from.
type sheet struct {
	Title, ID, Up string
	Body          template.HTML
	Parts         []Part
}

// Part is one list of an index.
type Part struct {
	Title string
	Pages []Page
}

// File is one file of the published pages.
type File struct {
	Path string // with slashes, below the place they are published at
	Data []byte
}

// Export makes everything that is to be published: an index, and each page. The files refer to each other and to nothing else.
func Export() ([]File, error) {
	pages := List()
	out := make([]File, 0, len(pages)+1)
	index, err := fill(sheet{Title: "Guidance", Parts: Parts()})
	if err != nil {
		return nil, err
	}
	out = append(out, File{"index.html", index})
	for _, p := range pages {
		body, err := p.HTML()
		if err != nil {
			return nil, err
		}
		data, err := fill(sheet{Title: p.Title, ID: p.ID, Up: "../index.html", Body: body})
		if err != nil {
			return nil, err
		}
		out = append(out, File{p.Path(), data})
	}
	return out, nil
}

func fill(s sheet) ([]byte, error) {
	var b bytes.Buffer
	if err := frame.Execute(&b, s); err != nil {
		return nil, fmt.Errorf("page %s: %w", s.Title, err)
	}
	return b.Bytes(), nil
}

// Parts lists the pages as an index shows them.
func Parts() []Part {
	checks, duties := Part{Title: "What was found"}, Part{Title: "What is to be done"}
	for _, p := range all() {
		if p.Kind == Check {
			checks.Pages = append(checks.Pages, p)
		} else {
			duties.Pages = append(duties.Pages, p)
		}
	}
	return []Part{checks, duties}
}
