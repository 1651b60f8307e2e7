package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// files are those in which mutants are generated. The gate's package is taken whole.
var files = []string{
	"internal/flow/facts.go", "internal/flow/record.go", "internal/flow/people.go", "internal/flow/neighbours.go",
	"internal/flow/enforce.go", "internal/flow/stop.go", "internal/flow/settle.go", "internal/flow/trusted.go", "internal/flow/notify.go", "internal/flow/digest.go", "internal/flow/letter.go",
	"internal/flow/release.go", "internal/flow/leftover.go", "internal/flow/attribute.go", "internal/flow/continues.go",
	"internal/flow/collect.go", "internal/flow/verify.go",
	"internal/casework/gate/gate.go", "internal/casework/gate/notices.go", "internal/casework/gate/proof.go",
	"internal/casework/gate/target.go",
}

// What a rule does to the code.
const (
	negate = "negate" // a condition, or a part of one, is negated
	guard  = "guard"  // an if, or a case, whose body ends in return or continue is deleted
	limit  = "limit"  // a limit is shifted by one unit
)

// point is one generated mutant. Its name holds as long as the function and the text of the condition do, wherever they stand in the file.
type point struct {
	id   int
	name string
	file string
	line int
}

// wrap is a function call that is written around an expression, as text.
type wrap struct {
	from, to int    // offsets of the expression
	order    int    // of several around one expression the lowest is the outermost
	call     string // what is written before it; a closing parenthesis follows it
	comma    int    // the offset of the operator that becomes a comma, 0: none
	op       string
}

// source is one file with the mutants in it.
type source struct {
	file   string
	text   []byte
	points []point
	wraps  []wrap
}

// generate reads a file and finds the points in it. Ids begin at first.
func generate(root, file string, first int) (*source, error) {
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		return nil, err
	}
	return generateFrom(file, text, first)
}

func generateFrom(file string, text []byte, first int) (*source, error) {
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, file, text, 0)
	if err != nil {
		return nil, err
	}
	w := &walker{set: set, s: &source{file: file, text: text}, next: first, seen: map[string]int{}, negated: map[ast.Expr]bool{}}
	for _, d := range tree.Decls {
		w.in = nameOf(d)
		ast.Inspect(d, w.visit)
	}
	return w.s, nil
}

// nameOf is how a declaration is named in the name of a mutant.
func nameOf(d ast.Decl) string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		return d.Name.Name
	case *ast.GenDecl:
		for _, s := range d.Specs {
			if v, ok := s.(*ast.ValueSpec); ok {
				return v.Names[0].Name
			}
		}
	}
	return "-"
}

type walker struct {
	set     *token.FileSet
	s       *source
	in      string
	next    int
	seen    map[string]int
	negated map[ast.Expr]bool
}

func (w *walker) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.GenDecl:
		return n.Tok == token.VAR // constants have no conditions
	case *ast.IfStmt:
		if n.Else == nil && leaves(n.Body.List) {
			w.add(guard, n.Cond, "mutantNever")
		}
		w.negate(n.Cond)
	case *ast.SwitchStmt:
		if n.Tag == nil {
			w.cases(n)
		}
	case *ast.CallExpr:
		if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "unless" || f.Name == "oneIf") { // their first argument is a condition
			w.negate(n.Args[0])
		}
	case *ast.BinaryExpr:
		switch n.Op {
		case token.LAND, token.LOR:
			w.negate(n.X)
			w.negate(n.Y)
		case token.LSS, token.LEQ, token.GTR, token.GEQ:
			w.negate(n)
			w.limit(n)
		case token.EQL, token.NEQ:
			w.negate(n)
			if lit, ok := n.Y.(*ast.BasicLit); ok && lit.Kind == token.INT {
				w.limit(n)
			}
		}
	}
	return true
}

func (w *walker) cases(n *ast.SwitchStmt) {
	for _, c := range n.Body.List {
		clause := c.(*ast.CaseClause)
		for _, e := range clause.List {
			if leaves(clause.Body) {
				w.add(guard, e, "mutantNever")
			}
			w.negate(e)
		}
	}
}

// leaves tells whether a body ends in return or continue.
func leaves(body []ast.Stmt) bool {
	if len(body) == 0 {
		return false
	}
	switch last := body[len(body)-1].(type) {
	case *ast.ReturnStmt:
		return true
	case *ast.BranchStmt:
		return last.Tok == token.CONTINUE
	}
	return false
}

func (w *walker) negate(e ast.Expr) {
	for {
		p, ok := e.(*ast.ParenExpr)
		if !ok {
			break
		}
		e = p.X
	}
	if !w.negated[e] {
		w.negated[e] = true
		w.add(negate, e, "mutantNot")
	}
}

// calls are the functions that compare, by operator.
var calls = map[token.Token]string{token.LSS: "mutantLess", token.LEQ: "mutantAtMost", token.GTR: "mutantMore", token.GEQ: "mutantAtLeast",
	token.EQL: "mutantEqual", token.NEQ: "mutantDiffers"}

func (w *walker) limit(n *ast.BinaryExpr) {
	w.add(limit, n, calls[n.Op])
	last := &w.s.wraps[len(w.s.wraps)-1]
	last.comma, last.op = w.set.Position(n.OpPos).Offset, n.Op.String()
}

// add notes one point.
func (w *walker) add(rule string, e ast.Expr, call string) {
	from, to := w.set.Position(e.Pos()), w.set.Position(e.End())
	text := strings.Join(strings.Fields(string(w.s.text[from.Offset:to.Offset])), " ")
	name := fmt.Sprintf("%s %s %s `%s`", w.s.file, w.in, rule, text)
	if w.seen[name]++; w.seen[name] > 1 {
		name += fmt.Sprintf(" #%d", w.seen[name])
	}
	w.s.points = append(w.s.points, point{id: w.next, name: name, file: w.s.file, line: from.Line})
	w.s.wraps = append(w.s.wraps, wrap{from: from.Offset, to: to.Offset, order: len(w.s.wraps), call: fmt.Sprintf("%s(%d, ", call, w.next)})
	w.next++
}

// rewritten is the file with a call around every point. No line moves.
func (s *source) rewritten() []byte {
	type edit struct {
		at, cut int // cut bytes are left out
		rank    []int
		text    string
	}
	var edits []edit
	for _, w := range s.wraps {
		width := w.to - w.from
		edits = append(
			edits,
			edit{at: w.from, rank: []int{1, -width, w.order}, text: w.call},
			edit{at: w.to, rank: []int{0, width, -w.order}, text: ")"},
		)
		if w.comma > 0 {
			edits = append(edits, edit{at: w.comma, cut: len(w.op), rank: []int{2}, text: ","})
		}
	}
	slices.SortStableFunc(edits, func(a, b edit) int {
		if a.at != b.at {
			return a.at - b.at
		}
		return slices.Compare(a.rank, b.rank)
	})
	var out []byte
	at := 0
	for _, e := range edits {
		out = append(append(out, s.text[at:e.at]...), e.text...)
		at = e.at + e.cut
	}
	return append(out, s.text[at:]...)
}

// draw picks n points by a seed. What is added to the code elsewhere does not change the order of the others.
func draw(ps []point, seed uint64, n int) []point {
	rank := func(p point) uint64 {
		h := sha256.Sum256(fmt.Appendf(nil, "%d %s", seed, p.name))
		return binary.BigEndian.Uint64(h[:])
	}
	out := slices.Clone(ps)
	slices.SortFunc(out, func(a, b point) int {
		if x, y := rank(a), rank(b); x < y {
			return -1
		} else if x > y {
			return 1
		}
		return strings.Compare(a.name, b.name)
	})
	return out[:min(n, len(out))]
}
