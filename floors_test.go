package demarc_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// room is one row of the table: what a package is and what it may know.
type room struct {
	floor   string
	path    string // below internal/, or cmd/demarc
	caption string // what the package's comment says of it in its first sentence; "" where it says it in its own words
	ours    string // rooms it may import: W is every word, * every room but lab
	modules string // modules of others it may import
}

const (
	words     = "words"     // values; no I/O
	judgement = "judgement" // values and now in, values out; no I/O
	hands     = "hands"     // each touches one thing outside; none imports another
	line      = "line"
	doors     = "doors"
	outside   = "outside" // a pretend one
)

// rooms is the law. Whoever needs an import that is not here changes the row in the same commit, and says why there.
// Tests are exempt. A row may stand before its room is built.
var rooms = []room{
	{words, "untrusted", "carries text a stranger wrote, shown safely in each sink", "", ""},
	{words, "fault", "holds errors a user can act on: what is wrong, where, and what to do", "", "github.com/goccy/go-yaml"},
	{words, "ipset", "is sets of addresses, as runs and as prefixes", "", ""},
	{words, "asset", "says what the clouds hold and whose it is at which time", "untrusted", ""},
	{words, "asset/lines", "writes what a cloud holds as lines of JSON, and reads them back", "asset fault untrusted", ""},
	{words, "probe", "says what to ask of an address and what it answered", "untrusted", ""},
	{words, "duty", "says who must do what under which model and contract", "asset fault", ""},
	{words, "finding", "is one claim that something is wrong, with its evidence", "asset duty probe untrusted", ""},
	{words, "policy", "holds the operator's rules as data", "asset fault", ""},
	{words, "access", "says who may see or do what", "asset", ""},
	{words, "audit", "records what was done, in a log that shows tampering", "", "golang.org/x/mod"},

	{judgement, "reach", "computes what a cloud's own rules let through, from where, and why", "asset ipset probe fault", ""},
	{judgement, "detect", "holds facts against known weaknesses", "W reach detect/service", ""},
	{judgement, "detect/service", "recognises which protocol speaks at an endpoint", "probe untrusted", ""},
	{judgement, "plan", "chooses the next probes of every vantage point", "asset ipset probe policy reach", ""},
	{judgement, "profile", "holds what is open to a machine against what its kind of machine may have open", "W reach", ""},
	{judgement, "guide", "shows the pages of guidance", "duty detect fault", "github.com/yuin/goldmark"},
	{judgement, "casework", "is the life of a case, in pure functions", "W reach", ""},
	{judgement, "casework/gate", "re-proves everything before each act on a tenant's machine", "W casework", ""},
	{judgement, "casework/notice", "decides who is told what, in which words", "W casework", "golang.org/x/net"},

	{hands, "store", "keeps everything that must survive", "W casework", "modernc.org/sqlite github.com/jackc/pgx/v5 github.com/google/uuid"},
	{hands, "store/storetest", "is the exam every store takes", "W casework", ""},
	{hands, "wire", "is the road to every vantage point", "probe fault", ""},
	{hands, "scan", "asks endpoints what they are, politely", "probe untrusted fault detect/service", "golang.org/x/sys golang.org/x/time"},
	{hands, "cloud", "says what any cloud must tell or do for us", "asset reach casework fault untrusted", ""},
	{hands, "cloud/cloudtest", "is the exam every cloud takes", "asset casework cloud fault", ""},
	{hands, "cloud/openstack", "speaks to Keystone, Nova, Neutron and Glance", "asset finding reach casework fault untrusted cloud", "github.com/gophercloud/gophercloud/v2"},
	{hands, "post", "carries messages out", "casework casework/notice untrusted fault", "github.com/wneessen/go-mail"},

	{line, "flow", "is the ordered steps of the line, from what a cloud holds to the machine that is given back",
		"W reach detect detect/service plan profile casework casework/gate casework/notice guide wire cloud post", "github.com/google/uuid"},

	{doors, "web", "is the doors for people", "W reach detect plan casework casework/notice guide flow store", ""},
	{doors, "serve", "is one running Demarc, wired from its configuration", "*", "github.com/goccy/go-yaml github.com/google/uuid golang.org/x/time golang.org/x/sys"},
	{doors, "serve/demo", "tells the whole story of the line on one machine, in a pretend world", "* lab", "github.com/goccy/go-yaml github.com/google/uuid"},
	{doors, "cmd/demarc", "", "*", "github.com/spf13/cobra github.com/spf13/pflag github.com/schollz/progressbar/v3 golang.org/x/term"},

	{outside, "lab", "is a pretend outside world on loopback", "", "github.com/emersion/go-smtp golang.org/x/sys"},
}

// pkg is a package as its files show it, tests left out, on every platform at once.
type pkg struct {
	name    string
	doc     []string // package comments, one for each file that has one
	main    bool     // it has a func main
	imports map[string]string
	clocks  []string // where it asks for the time or waits
}

// The table and the tree say the same.
func TestFloors(t *testing.T) {
	rows := map[string]room{}
	for _, r := range rooms {
		if _, twice := rows[r.path]; twice {
			t.Errorf("%s has two rows", r.path)
		}
		rows[r.path] = r
	}
	for _, r := range rooms {
		for _, o := range strings.Fields(r.ours) {
			if _, ok := rows[o]; !ok && o != "W" && o != "*" {
				t.Errorf("%s may import %s, which has no row", r.path, o)
			}
		}
	}
	tree := readTree(t)
	for _, at := range slices.Sorted(maps.Keys(tree)) {
		p := tree[at]
		r, ok := rows[at]
		if !ok {
			t.Errorf("%s: a room without a row", at)
			continue
		}
		checkImports(t, r, p)
		checkCaption(t, r, p)
		if r.floor == words || r.floor == judgement {
			for _, c := range p.clocks {
				t.Errorf("%s: %s: time is an argument on this floor", at, c)
			}
		}
	}
}

// noIO are doors to the outside which the two lower floors do not have.
var noIO = []string{"net/http", "database/sql", "os/exec"}

func checkImports(t *testing.T, r room, p *pkg) {
	t.Helper()
	for _, imp := range slices.Sorted(maps.Keys(p.imports)) {
		first, _, _ := strings.Cut(imp, "/")
		switch {
		case first == "demarc":
			if !mayImport(r, strings.TrimPrefix(strings.TrimPrefix(imp, "demarc/"), "internal/")) {
				t.Errorf("%s: %s is not in the row of %s", p.imports[imp], imp, r.path)
			}
		case strings.Contains(first, "."):
			if !slices.ContainsFunc(strings.Fields(r.modules), func(m string) bool { return imp == m || strings.HasPrefix(imp, m+"/") }) {
				t.Errorf("%s: %s is not in the row of %s", p.imports[imp], imp, r.path)
			}
		case (r.floor == words || r.floor == judgement) && slices.Contains(noIO, imp):
			t.Errorf("%s: %s on a floor without I/O", p.imports[imp], imp)
		}
	}
}

func mayImport(r room, other string) bool {
	for _, o := range strings.Fields(r.ours) {
		switch {
		case o == other:
			return true
		case o == "W" && slices.ContainsFunc(rooms, func(x room) bool { return x.path == other && x.floor == words }):
			return true
		case o == "*" && other != "lab" && slices.ContainsFunc(rooms, func(x room) bool { return x.path == other }):
			return true
		}
	}
	return false
}

// checkCaption: the first sentence of a package's comment is its caption, one sentence with one subject.
func checkCaption(t *testing.T, r room, p *pkg) {
	t.Helper()
	if p.name == "main" && !p.main {
		return
	}
	if len(p.doc) != 1 {
		t.Errorf("%s: %d package comments, want one", r.path, len(p.doc))
		return
	}
	start := "Package " + p.name + " "
	if p.name == "main" {
		start = "Command " + path.Base(r.path) + " "
	}
	text := strings.Join(strings.Fields(strings.SplitN(p.doc[0], "\n\n", 2)[0]), " ")
	first, _, whole := strings.Cut(text+" ", ". ")
	says, ok := strings.CutPrefix(first, start)
	switch {
	case !ok || !whole || says == "":
		t.Errorf("%s: the package comment does not begin with a sentence %q", r.path, start+"….")
	case r.caption != "" && says != r.caption:
		t.Errorf("%s: the caption is %q, the row says %q", r.path, says, r.caption)
	}
}

// readTree reads every package below internal and cmd, by its path in the table.
func readTree(t *testing.T) map[string]*pkg {
	t.Helper()
	out := map[string]*pkg{}
	for _, top := range []string{"internal", "cmd"} {
		err := filepath.WalkDir(top, func(file string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if e.IsDir() && e.Name() == "testdata" {
				return filepath.SkipDir
			}
			if e.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
				return nil
			}
			at := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(file)), "internal/")
			if out[at] == nil {
				out[at] = &pkg{imports: map[string]string{}}
			}
			return out[at].add(file)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func (p *pkg) add(file string) error {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, file, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	p.name = f.Name.Name
	if f.Doc != nil {
		p.doc = append(p.doc, f.Doc.Text())
	}
	clock := "" // the name the file has for package time
	for _, s := range f.Imports {
		imp, err := strconv.Unquote(s.Path.Value)
		if err != nil {
			return err
		}
		p.imports[imp] = set.Position(s.Pos()).String()
		if imp == "time" {
			clock = "time"
			if s.Name != nil {
				clock = s.Name.Name
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			p.main = p.main || n.Recv == nil && n.Name.Name == "main"
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if ok && clock != "" && x.Name == clock && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}, n.Sel.Name) {
				p.clocks = append(p.clocks, set.Position(n.Pos()).String()+": time."+n.Sel.Name)
			}
		}
		return true
	})
	return nil
}
