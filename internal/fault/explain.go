package fault

import (
	"encoding"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
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
	file, err := parser.ParseBytes(data, 0)
	if err != nil || len(file.Docs) == 0 {
		return nil
	}
	e := explainer{name: name, opts: opts}
	return e.value(file.Docs[0].Body, t)
}

type explainer struct {
	name string
	opts []yaml.DecodeOption
}

func (e explainer) at(n ast.Node) Position {
	at := Position{File: e.name}
	if tok := n.GetToken(); tok != nil && tok.Position != nil {
		at.Line, at.Col = tok.Position.Line, tok.Position.Column
	}
	return at
}

func (e explainer) value(n ast.Node, t reflect.Type) *Fault {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if anchor, ok := n.(*ast.AnchorNode); ok {
		n = anchor.Value
	}
	if n == nil || n.Type() == ast.AliasType || n.Type() == ast.NullType {
		return nil
	}
	if readsItself(t) {
		return e.leaf(n, t)
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return e.mapping(n, t)
	case reflect.Slice, reflect.Array:
		if seq, ok := n.(*ast.SequenceNode); ok {
			for _, v := range seq.Values {
				if f := e.value(v, t.Elem()); f != nil {
					return f
				}
			}
		}
	}
	return nil
}

// readsItself tells whether a type has its own reader, whose errors have no place.
func readsItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	_, own := p.MethodByName("UnmarshalYAML")
	return own || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func (e explainer) leaf(n ast.Node, t reflect.Type) *Fault {
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
