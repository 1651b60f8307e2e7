package guide_test

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"demarc/internal/detect"
	"demarc/internal/duty"
	"demarc/internal/fault"
	"demarc/internal/flow"
	"demarc/internal/guide"
)

// wanted lists what must have a page: each duty of the embedded model, each check, and the findings that follow
// from the cloud's rules.
func wanted(t *testing.T) map[guide.Kind][]string {
	t.Helper()
	out := map[guide.Kind][]string{guide.Check: append([]string{flow.CheckLeak, flow.CheckBlocked}, flow.PostureChecks()...)}
	model, err := duty.Default()
	if err != nil {
		t.Fatal(err)
	}
	for i := range model.Duties {
		out[guide.Duty] = append(out[guide.Duty], model.Duties[i].ID)
	}
	checks, err := detect.Load()
	if err != nil {
		t.Fatal(err)
	}
	for i := range checks {
		out[guide.Check] = append(out[guide.Check], checks[i].ID)
	}
	return out
}

// Every duty and every check has its page, and no page is of anything else.
func TestEveryDutyAndCheckHasItsPage(t *testing.T) {
	want := wanted(t)
	have := map[guide.Kind][]string{}
	for _, p := range guide.List() {
		have[p.Kind] = append(have[p.Kind], p.ID)
	}
	for kind, ids := range want {
		for _, id := range ids {
			if !slices.Contains(have[kind], id) {
				t.Errorf("the %s %s has no page", kind, id)
			}
		}
		for _, id := range have[kind] {
			if !slices.Contains(ids, id) {
				t.Errorf("the page %s is of no %s", id, kind)
			}
		}
	}
}

var sections = map[guide.Kind][]string{
	guide.Duty:  {"## What", "## Why", "## How", "### With the OpenStack client", "### In Horizon"},
	guide.Check: {"## What", "## Why", "## How", "### With the OpenStack client", "### In Horizon", "### On the machine", "## When it counts as done"},
}

// longest is how many characters a line of a page may have.
const longest = 120

// flaws says what is wrong with a page.
func flaws(p guide.Page) []string {
	var out []string
	wrong := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	lines := strings.Split(p.Markdown, "\n")
	if !strings.HasPrefix(lines[0], "# ") || p.Title == "" || p.Title == p.ID {
		wrong("line 1 is no title")
	}
	var order, holds []string // the headings, and what stands under each
	block := ""
	for i, line := range lines[1:] {
		switch {
		case utf8.RuneCountInString(line) > longest:
			wrong("line %d has %d characters", i+2, utf8.RuneCountInString(line))
		case strings.HasPrefix(line, "```") && block == "":
			if block = line[3:]; !slices.Contains([]string{"console", "sh", "conf"}, block) {
				wrong("line %d begins a block of %q", i+2, block)
			}
		case strings.HasPrefix(line, "```"):
			block = ""
		case block == "" && strings.HasPrefix(line, "#"):
			order, holds = append(order, line), append(holds, "")
			continue
		case (block == "console") != strings.HasPrefix(line, "openstack ") && block != "" && !strings.HasPrefix(line, "  ") && !strings.HasPrefix(line, "\t"):
			wrong("line %d: commands of the OpenStack client stand in blocks of console, and no others do: %s", i+2, line)
		}
		if len(holds) > 0 {
			holds[len(holds)-1] += line
		}
	}
	if block != "" {
		wrong("a block of %s does not end", block)
	}
	at := -1
	for _, s := range sections[p.Kind] {
		i := slices.Index(order, s)
		switch {
		case i < 0:
			wrong("there is no %q", s)
		case i < at:
			wrong("%q is out of order", s)
		case s != "## How" && len(strings.TrimSpace(holds[i])) < 40:
			wrong("under %q stands next to nothing", s)
		}
		at = max(at, i)
	}
	for _, h := range order {
		if !slices.Contains(sections[p.Kind], h) && h != "### On Hyperstack" {
			wrong("%q is no section of such a page", h)
		}
	}
	return out
}

func TestEveryPageSaysWhatWhyAndHow(t *testing.T) {
	said := map[string]string{}
	for _, p := range guide.List() {
		for _, f := range flaws(p) {
			t.Errorf("%s: %s", p.ID, f)
		}
		_, what, _ := strings.Cut(p.Markdown, "## What")
		what, _, _ = strings.Cut(what, "## How")
		for _, text := range []string{p.Title, what} {
			if other, twice := said[text]; twice {
				t.Errorf("%s and %s say the same: %.60q", p.ID, other, text)
			}
			said[text] = p.ID
		}
	}
}

// A page that lacks something is told apart from one that does not.
func TestFlawsAreSeen(t *testing.T) {
	good, err := guide.Find("S0-12")
	if err != nil {
		t.Fatal(err)
	}
	if fs := flaws(good); fs != nil {
		t.Fatal(fs)
	}
	for old, brand := range map[string]string{
		"# Limit": "Limit", "## Why\n": "## Reason\n", "### In Horizon": "### Elsewhere", "```console\n": "```console\nopenstak server list\n", "```console": "```",
		"## What\n": "## What\n\n" + strings.Repeat("word ", 30) + "\n", "### With the OpenStack client": "### With the client",
	} {
		bad := good
		bad.Markdown = strings.Replace(good.Markdown, old, brand, 1)
		if bad.Markdown == good.Markdown || flaws(bad) == nil {
			t.Errorf("%q in place of %q is not seen", brand, old)
		}
	}
	empty := good
	from := strings.Index(empty.Markdown, "## Why")
	until := strings.Index(empty.Markdown, "## How")
	empty.Markdown = empty.Markdown[:from] + "## Why\n\n" + empty.Markdown[until:]
	if flaws(empty) == nil {
		t.Error("a section without text is not seen")
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// A link of a page leads to the file of another in the tree, and where they are published to its page.
func TestLinksLead(t *testing.T) {
	files := map[string]string{} // by path in the tree
	for _, p := range guide.List() {
		files[treePath(p)] = p.Path()
	}
	seen := 0
	for _, p := range guide.List() {
		html, err := p.HTML()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(p.Markdown, -1) {
			seen++
			target, ok := files[path.Join(path.Dir(treePath(p)), m[1])]
			if !ok {
				t.Errorf("%s: the link to %s leads nowhere", p.ID, m[1])
				continue
			}
			if !slices.ContainsFunc(hrefs(string(html)), func(h string) bool { return path.Join(path.Dir(p.Path()), h) == target }) {
				t.Errorf("%s: published, no link leads to %s: %v", p.ID, target, hrefs(string(html)))
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d links were found", seen)
	}
}

func treePath(p guide.Page) string {
	return map[guide.Kind]string{guide.Duty: "internal/duty/guidance/", guide.Check: "internal/detect/checks/guidance/"}[p.Kind] + p.ID + ".md"
}

var href = regexp.MustCompile(`(?:href|src)="([^"]*)"`)

func hrefs(html string) []string {
	var out []string
	for _, m := range href.FindAllStringSubmatch(html, -1) {
		out = append(out, m[1])
	}
	return out
}

// What is published refers to itself alone, and every reference leads to a file of it.
func TestExportStandsByItself(t *testing.T) {
	files, err := guide.Export()
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, f := range files {
		if have[f.Path] || !fs.ValidPath(f.Path) {
			t.Errorf("%s is there twice, or is no path", f.Path)
		}
		have[f.Path] = true
	}
	if len(files) != len(guide.List())+1 || !have["index.html"] || !have["duty/S0-22.html"] || !have["check/redis-unauth.html"] {
		t.Errorf("%d files: %v", len(files), have)
	}
	for _, f := range files {
		for _, h := range hrefs(string(f.Data)) {
			if !have[path.Join(path.Dir(f.Path), h)] || strings.HasPrefix(h, "/") {
				t.Errorf("%s refers to %s", f.Path, h)
			}
		}
		for _, no := range []string{"<script", "@import", "url(", "<img", "<iframe"} {
			if strings.Contains(string(f.Data), no) {
				t.Errorf("%s holds %s", f.Path, no)
			}
		}
	}
}

// HTML in a page is text, and a link that runs something is none.
func TestRenderingIsSafe(t *testing.T) {
	p := guide.Page{Kind: guide.Duty, ID: "S9-99", Title: "x", Markdown: "# <script>alert(1)</script>\n\n<script>alert(2)</script>\n\n" +
		"a <b onclick=x>bold</b> word, <ID>, [click](javascript:alert(3)) ![i](data:text/html;base64,PHNjcmlwdD4=)\n\n- <img src=x onerror=alert(4)>\n\n```console\n<script>alert(5)</script>\n```\n"}
	html, err := p.HTML()
	if err != nil {
		t.Fatal(err)
	}
	for _, no := range []string{"<script", "<b ", "<ID>", "onerror=alert(4)>", "javascript:", "data:text"} {
		if strings.Contains(string(html), no) {
			t.Errorf("the page holds %q:\n%s", no, html)
		}
	}
	for _, n := range []string{"1", "2", "5"} {
		if want := "&lt;script&gt;alert(" + n + ")&lt;/script&gt;"; !strings.Contains(string(html), want) {
			t.Errorf("the page lacks %q:\n%s", want, html)
		}
	}
}

func TestFindAndLinks(t *testing.T) {
	for id, want := range map[string]string{"S0-22": "duty/S0-22.html", "s1-09": "duty/S1-09.html", "Redis-Unauth": "check/redis-unauth.html", flow.CheckBlocked: "check/scanner-blocked.html"} {
		p, err := guide.Find(id)
		if err != nil || p.Path() != want {
			t.Errorf("%s: %q, %v", id, p.Path(), err)
		}
	}
	for _, id := range []string{"", "S0-00", "../S0-22", "S0-22.md"} {
		if _, err := guide.Find(id); !fault.Is(err, fault.NotFound) {
			t.Errorf("%q is found: %v", id, err)
		}
	}
	for _, base := range []string{"https://cloud.example/g", "https://cloud.example/g/"} {
		got := guide.Links(base, "redis-unauth", "S0-26")
		if want := []string{"https://cloud.example/g/check/redis-unauth.html", "https://cloud.example/g/duty/S0-26.html"}; !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", base, got, want)
		}
	}
	if got := guide.Links("https://cloud.example", "no-such-check", ""); got != nil {
		t.Errorf("links to pages that are not there: %v", got)
	}
	if got := guide.Links("", "redis-unauth", "S0-26"); got != nil {
		t.Errorf("links where nothing is published: %v", got)
	}
}
