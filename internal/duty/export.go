package duty

import (
	"bytes"
	"encoding"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"demarc/internal/fault"
)

// JSON writes the model as a document that Parse reads as the same model.
func (m *Model) JSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(m); err != nil {
		return nil, fmt.Errorf("writing model %s: %w", m.ID, err)
	}
	return b.Bytes(), nil
}

// CSV writes the model as a sheet that Parse reads as the same model. No cell of it begins as a formula does, for no such text
// is loaded. What a cell cannot hold is refused.
func (m *Model) CSV() ([]byte, error) {
	top := reflect.ValueOf(m).Elem()
	header := m.columns()
	rows := [][]string{header}
	for i := range records {
		k := &records[i]
		if k.index < 0 {
			rows = append(rows, k.cells(top, header))
			continue
		}
		for j := range top.Field(k.index).Len() {
			rows = append(rows, k.cells(top.Field(k.index).Index(j), header))
		}
	}
	var b bytes.Buffer
	for _, row := range rows {
		for i, c := range row {
			if len(c) > mostCell {
				return nil, fault.New(fault.Refused, "%s %s does not fit into a sheet: %s has %d bytes", row[0], row[1], header[i], len(c)).Hinted("a cell holds %d; export it as YAML or JSON", mostCell)
			}
		}
	}
	w := csv.NewWriter(&b)
	_ = w.WriteAll(rows) // into memory
	if out := b.Bytes(); bytes.ContainsFunc(out, func(r rune) bool { return r > 0x7e }) {
		return append([]byte("\ufeff"), out...), nil // without it a spreadsheet guesses another encoding
	}
	return b.Bytes(), nil
}

// columns lists the columns of the model as a sheet: all that can be filled, with the model's own service types and frameworks.
func (m *Model) columns() []string {
	out := []string{"record"}
	var frameworks []string
	for i := range m.Duties {
		for f := range m.Duties[i].Frameworks {
			frameworks = append(frameworks, f)
		}
	}
	slices.Sort(frameworks)
	for _, k := range records {
		for _, f := range k.fields {
			names := []string{f.name}
			if f.keyed() {
				keys := m.ServiceTypes
				if f.name == "frameworks" {
					keys = slices.Compact(frameworks)
				}
				names = nil
				for _, key := range keys {
					names = append(names, f.name+"."+key)
				}
			}
			for _, n := range names {
				if !slices.Contains(out, n) {
					out = append(out, n)
				}
			}
		}
	}
	return out
}

func (r *record) cells(v reflect.Value, header []string) []string {
	out := make([]string, len(header))
	for i, column := range header {
		if f, key := r.find(column); f != nil {
			out[i] = f.cell(v, key)
		}
	}
	out[0] = r.name
	return out
}

// YAML writes the model as a document that Parse reads as the same model, an entry a block, what is empty left out.
func (m *Model) YAML() []byte {
	var b bytes.Buffer
	writeMap(&b, reflect.ValueOf(m).Elem(), "")
	return b.Bytes()
}

func writeMap(b *bytes.Buffer, v reflect.Value, indent string) {
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		key, inline, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case !f.IsExported() || v.Field(i).IsZero():
		case inline != "":
			writeMap(b, v.Field(i), indent)
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			fmt.Fprintf(b, "\n%s%s:\n", indent, key)
			for j := range v.Field(i).Len() {
				from := b.Len()
				writeMap(b, v.Field(i).Index(j), indent+"    ")
				copy(b.Bytes()[from+len(indent)+2:], "- ")
			}
		default:
			fmt.Fprintf(b, "%s%s: %s\n", indent, key, flow(v.Field(i)))
		}
	}
}

// flow writes a value on one line.
func flow(v reflect.Value) string {
	if own, ok := v.Interface().(encoding.TextMarshaler); ok {
		b, _ := own.MarshalText() // an instant has always a text
		return scalar(string(b))
	}
	var out []string
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			out = append(out, flow(v.Index(i)))
		}
		return "[" + strings.Join(out, ", ") + "]"
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			out = append(out, scalar(it.Key().String())+": "+flow(it.Value()))
		}
		slices.Sort(out)
		return "{" + strings.Join(out, ", ") + "}"
	case reflect.Struct:
		for i := range v.NumField() {
			if !v.Field(i).IsZero() {
				out = append(out, v.Type().Field(i).Tag.Get("yaml")+": "+flow(v.Field(i)))
			}
		}
		return "{" + strings.Join(out, ", ") + "}"
	case reflect.String:
		return scalar(v.String())
	}
	return fmt.Sprint(v.Interface())
}

// plain are texts that mean themselves without quotes.
var plain = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9/._()-]*( [A-Za-z0-9/._()-]+)*$`)

func scalar(s string) string {
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf":
	default:
		if plain.MatchString(s) {
			return s
		}
	}
	b, _ := json.Marshal(s) // a string has always a JSON form, and that is YAML
	return string(b)
}
