package duty

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"demarc/internal/fault"
)

// record is one kind of row of a sheet: the model itself, or an entry of one of its lists.
type record struct {
	name   string // its first cell
	list   string // the list's key in a document, "" for the model itself
	index  int    // the list's field in Model, -1 for the model itself
	fields []field
}

// field is what one column holds, or one family of columns.
type field struct {
	name  string // the key, dotted where it is inside another
	index []int  // from the record's type
	kind  reflect.Kind
}

// keyed tells whether there is a column for each key: ownership.iaas, frameworks.sp800-53.
func (f *field) keyed() bool { return f.kind == reflect.Map }

// records lists the kinds of rows, in the order in which they are written.
var records = recordsOf(reflect.TypeFor[Model]())

func recordsOf(t reflect.Type) []record {
	out := []record{{name: "model", index: -1, fields: fieldsOf(t, "", nil)}}
	names := map[string]string{"documents": "document", "parties": "party", "table": "area", "conflicts": "conflict", "duties": "duty",
		"assignments": "assignment", "contracts": "contract", "offerings": "offering"}
	for i := range t.NumField() {
		f := t.Field(i)
		if f.IsExported() && f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct {
			key := f.Tag.Get("yaml")
			out = append(out, record{name: names[key], list: key, index: i, fields: fieldsOf(f.Type.Elem(), "", nil)})
		}
	}
	return out
}

// fieldsOf lists what a row of a type can hold; lists of structures have rows of their own.
func fieldsOf(t reflect.Type, prefix string, index []int) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		key, inline, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		at := append(slices.Clone(index), i)
		switch kind := f.Type.Kind(); {
		case inline != "":
			out = append(out, fieldsOf(f.Type, prefix, at)...)
		case kind == reflect.Struct:
			out = append(out, fieldsOf(f.Type, prefix+key+".", at)...)
		case kind == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
		default:
			out = append(out, field{prefix + key, at, kind})
		}
	}
	return out
}

// find gives the field of a column, and the key where the column belongs to a family.
func (r *record) find(column string) (f *field, key string) {
	for i := range r.fields {
		f := &r.fields[i]
		if !f.keyed() && f.name == column {
			return f, ""
		}
		if rest, ok := strings.CutPrefix(column, f.name+"."); ok && f.keyed() && token.MatchString(rest) {
			return f, rest
		}
	}
	return nil, ""
}

// set puts a cell into a row's value.
func (f *field) set(row reflect.Value, key, cell string) error {
	v := row.FieldByIndex(f.index)
	if own, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return own.UnmarshalText([]byte(cell))
	}
	switch f.kind {
	case reflect.Slice:
		return setList(v, cell)
	case reflect.Map:
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		one := reflect.New(v.Type().Elem()).Elem()
		if one.Kind() == reflect.Slice {
			if err := setList(one, cell); err != nil {
				return err
			}
		} else {
			one.SetString(cell)
		}
		v.SetMapIndex(reflect.ValueOf(key), one)
	case reflect.Int:
		n, err := strconv.Atoi(cell)
		if err != nil {
			return fault.New(fault.Config, "%q is no number", cell)
		}
		v.SetInt(int64(n))
	case reflect.Bool:
		word := strings.ToLower(cell) // spreadsheets write TRUE and FALSE
		if word != "true" && word != "false" {
			return fault.New(fault.Config, "%q is neither true nor false", cell)
		}
		v.SetBool(word == "true")
	default:
		v.SetString(cell)
	}
	return nil
}

// between separates the entries of a list in one cell. No entry may hold it.
const between = ";"

func setList(v reflect.Value, cell string) error {
	for word := range strings.SplitSeq(cell, between) {
		if word = strings.TrimSpace(word); word == "" {
			return fault.New(fault.Config, "a list has an empty entry").Hinted("separate entries with one semicolon")
		}
		v.Set(reflect.Append(v, reflect.ValueOf(word).Convert(v.Type().Elem())))
	}
	return nil
}

// cell is a row's value as it stands in a column; "" where it says nothing.
func (f *field) cell(row reflect.Value, key string) string {
	v := row.FieldByIndex(f.index)
	if f.keyed() {
		if v = v.MapIndex(reflect.ValueOf(key)); !v.IsValid() {
			return ""
		}
	}
	if v.IsZero() {
		return ""
	}
	if own, ok := v.Interface().(encoding.TextMarshaler); ok {
		b, _ := own.MarshalText() // an instant has always a text
		return string(b)
	}
	if v.Kind() != reflect.Slice {
		return fmt.Sprint(v.Interface())
	}
	words := make([]string, v.Len())
	for i := range words {
		words[i] = v.Index(i).String()
	}
	return strings.Join(words, between)
}

// unsaid makes nothing of what is empty, so that a model is the same in every format.
func unsaid(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				unsaid(v.Field(i))
			}
		}
	case reflect.Slice:
		if v.Len() == 0 && !v.IsNil() {
			v.SetZero()
		}
		if v.Type().Elem().Kind() != reflect.Struct {
			return
		}
		for i := range v.Len() {
			unsaid(v.Index(i))
		}
	case reflect.Map:
		if v.Len() == 0 && !v.IsNil() {
			v.SetZero()
		}
	}
}
