package fault

import (
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// readPrefix reads a netblock; one with bits beyond its length is likely a mistake, so it is refused.
func readPrefix(p *netip.Prefix, b []byte) error {
	s := scalar(b)
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return New(Config, "%q is an address, not a netblock", s).Hinted("write %s", netip.PrefixFrom(a, a.BitLen()))
	}
	got, err := netip.ParsePrefix(s)
	if err != nil {
		return New(Config, "%q is not a netblock", s).Hinted("write 192.0.2.0/24")
	}
	if got != got.Masked() {
		return New(Config, "the netblock %s has bits beyond its length", s).Hinted("write %s", got.Masked())
	}
	*p = got
	return nil
}

func readAddr(a *netip.Addr, b []byte) error {
	got, err := netip.ParseAddr(scalar(b))
	if err != nil {
		return New(Config, "%q is not an IP address", scalar(b)).Hinted("write 192.0.2.10")
	}
	*a = got
	return nil
}

func readTime(t *time.Time, b []byte) error {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if got, err := time.Parse(layout, scalar(b)); err == nil {
			*t = got
			return nil
		}
	}
	return New(Config, "%q is not a time", scalar(b)).Hinted("write 2026-01-31T00:00:00Z")
}

func scalar(b []byte) string { return strings.Trim(strings.TrimSpace(string(b)), `"'`) }

// explain goes through a document that could not be decoded, side by side with the type it was decoded into, and gives
// the first unknown key or unreadable value with its place; nil where there is none, for the decoder's own words then
// have a place.
func explain(name string, data []byte, t reflect.Type, opts []yaml.DecodeOption) *Fault {
	return explainer{name: name, opts: opts, anchors: map[string]ast.Node{}}.document(data, t)
}

// misread goes the same way through a document that was decoded, and gives the first text that the decoder took for something else
// and wrote anew: of the id 0123 it makes 83.
func misread(name string, data []byte, t reflect.Type) *Fault {
	return explainer{name: name, decoded: true, anchors: map[string]ast.Node{}}.document(data, t)
}

type explainer struct {
	name    string
	opts    []yaml.DecodeOption
	decoded bool                // so that all values are known to be readable
	anchors map[string]ast.Node // those of single values
}

func (e explainer) document(data []byte, t reflect.Type) *Fault {
	file, err := parser.ParseBytes(data, 0)
	if err != nil || len(file.Docs) == 0 {
		return nil
	}
	return e.value(file.Docs[0].Body, t)
}

func (e explainer) at(n ast.Node) Position {
	at := Position{File: e.name}
	if tok := n.GetToken(); tok != nil && tok.Position != nil {
		at.Line, at.Col = tok.Position.Line, tok.Position.Column
	}
	return at
}

func (e explainer) value(n ast.Node, t reflect.Type) *Fault {
	n = e.bare(n)
	if n == nil {
		return nil
	}
	null := n.Type() == ast.NullType
	for t.Kind() == reflect.Pointer {
		if null { // what a pointer is without a value
			return nil
		}
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.String || isTexts(t):
		if f := e.texts(n); f != nil {
			return f
		}
	case null:
		return nil
	}
	if readsItself(t) {
		return e.leaf(n, t)
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return e.mapping(n, t)
	case reflect.Slice, reflect.Array:
		if seq, ok := n.(*ast.SequenceNode); ok && !isTexts(t) {
			for _, v := range seq.Values {
				if f := e.value(v, t.Elem()); f != nil {
					return f
				}
			}
		}
	}
	return nil
}

// bare is a node without its anchor and tag; for an alias it is the single value that it stands for, nil where it stands for more.
func (e explainer) bare(n ast.Node) ast.Node {
	for {
		switch v := n.(type) {
		case *ast.AnchorNode:
			n = v.Value
			if _, single := n.(ast.ScalarNode); single && v.Name != nil {
				e.anchors[v.Name.GetToken().Value] = n
			}
		case *ast.TagNode:
			n = v.Value
		case *ast.AliasNode:
			return e.anchors[v.Value.GetToken().Value]
		default:
			return n
		}
	}
}

// isTexts tells whether a type is a list of texts, which some types of ours read from a single one too.
func isTexts(t reflect.Type) bool {
	return (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) && t.Elem().Kind() == reflect.String
}

// texts finds a text that is not decoded as it is written.
func (e explainer) texts(n ast.Node) *Fault {
	if seq, ok := n.(*ast.SequenceNode); ok {
		for _, v := range seq.Values {
			if v = e.bare(v); v != nil {
				if f := e.texts(v); f != nil {
					return f
				}
			}
		}
		return nil
	}
	switch n.Type() {
	case ast.IntegerType, ast.FloatType, ast.InfinityType, ast.NanType, ast.BoolType, ast.NullType:
		if tok := n.GetToken(); rewritten(tok) {
			return New(Config, "%s is not read as it is written, for it stands for a number, a truth or nothing", tok.Value).In(e.at(n)).Hinted(`put it in quotes: "%s"`, tok.Value)
		}
	default:
	}
	return nil
}

// rewritten tells whether the decoder makes another text of a value that stands without quotes.
func rewritten(tok *token.Token) bool {
	s := tok.Value
	switch tok.Type {
	case token.IntegerType:
		sign, digits := strings.CutPrefix(s, "-")
		return strings.Trim(sign, "0123456789") != "" || sign[:1] == "0" && (digits || len(sign) > 1)
	case token.FloatType:
		f, err := strconv.ParseFloat(s, 64)
		return err != nil || fmt.Sprint(f) != s
	case token.BoolType:
		return s != "true" && s != "false"
	case token.NullType, token.OctetIntegerType, token.HexIntegerType, token.BinaryIntegerType, token.InfinityType, token.NanType:
		return true
	default:
		return false
	}
}

// readsItself tells whether a type has its own reader, whose errors have no place.
func readsItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	_, own := p.MethodByName("UnmarshalYAML")
	return own || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func (e explainer) leaf(n ast.Node, t reflect.Type) *Fault {
	if e.decoded {
		return nil
	}
	err := yaml.NodeToValue(n, reflect.New(t).Interface(), e.opts...)
	if err == nil {
		return nil
	}
	if f, ok := Of(err); ok {
		return f.In(e.at(n))
	}
	f := New(Config, "cannot read %q", n.String()).In(e.at(n))
	if _, placed := err.(yaml.Error); placed { //nolint:errorlint // the decoder's own words are better, and have a place
		return nil
	}
	f.Cause = err
	return f
}

func (e explainer) mapping(n ast.Node, t reflect.Type) *Fault {
	m, ok := n.(ast.MapNode)
	if !ok {
		return nil
	}
	fields, names := fieldsOf(t)
	for it := m.MapRange(); it.Next(); {
		if it.Key().IsMergeKey() {
			continue
		}
		if t.Kind() == reflect.Map {
			if t.Key().Kind() == reflect.String && rewritten(it.Key().GetToken()) {
				return e.texts(it.Key())
			}
			if f := e.value(it.Value(), t.Elem()); f != nil {
				return f
			}
			continue
		}
		key := it.Key().GetToken().Value
		field, ok := fields[key]
		if !ok {
			return New(Config, "unknown field %q", key).In(e.at(it.Key())).Hinted("accepted here: %s", strings.Join(names, ", "))
		}
		if f := e.value(it.Value(), field); f != nil {
			return f
		}
	}
	return nil
}

// fieldsOf gives the keys a struct accepts, in its order.
func fieldsOf(t reflect.Type) (fields map[string]reflect.Type, names []string) {
	fields = map[string]reflect.Type{}
	if t.Kind() != reflect.Struct {
		return fields, nil
	}
	for i := range t.NumField() {
		f := t.Field(i)
		tag := strings.Split(f.Tag.Get("yaml"), ",")
		switch {
		case f.PkgPath != "" && !f.Anonymous || tag[0] == "-":
		case slices.Contains(tag[1:], "inline"):
			inner := f.Type
			for inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			more, moreNames := fieldsOf(inner)
			for k, v := range more {
				fields[k] = v
			}
			names = append(names, moreNames...)
		default:
			key := tag[0]
			if key == "" {
				key = strings.ToLower(f.Name)
			}
			fields[key] = f.Type
			names = append(names, key)
		}
	}
	return fields, names
}
