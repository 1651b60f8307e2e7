package duty

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"demarc/internal/fault"
)

// What a sheet may hold at most, beside the size of the file.
const (
	mostRows    = 120_000
	mostColumns = 256
	mostCell    = 32_767 // bytes; what a spreadsheet keeps of a cell
)

// sheet is a model as rows. The positions of its cells are looked up again when they are asked for.
type sheet struct {
	name   string
	data   []byte
	header []string         // "" is a column without a heading, which holds nothing
	rows   map[string][]int // for each list, the row that each entry stands in
	model  *Model
}

// readCSV decodes a sheet: one line of columns, then one row for the model and for each entry of its lists.
func readCSV(name string, data []byte) (*Model, func(path string) fault.Position, error) {
	here := fault.Position{File: name}
	if len(data) > fault.MaxFile {
		return nil, nil, fault.New(fault.Config, "the file has %d bytes", len(data)).In(here).Hinted("at most %d", fault.MaxFile)
	}
	s := &sheet{name: name, data: data, rows: map[string][]int{}, model: &Model{}}
	r := s.reader()
	for n := 0; ; n++ {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && n > mostRows {
			err = fault.New(fault.Config, "there are more than %d rows", mostRows).In(s.pos(r, 0))
		}
		switch {
		case err != nil:
		case n == 0:
			err = s.columns(r, cells)
		default:
			err = s.row(r, n, cells)
		}
		if err != nil {
			return nil, nil, s.explain(err)
		}
	}
	switch {
	case s.header == nil:
		return nil, nil, fault.New(fault.Config, "the sheet is empty").In(here).Hinted("begin with what demarc duty export --format csv writes")
	case len(s.rows[""]) == 0:
		return nil, nil, fault.New(fault.Config, "no row describes the model").In(here).Hinted("one row has model in the column record, and its id, version and title")
	}
	return s.model, s.at, nil
}

func (s *sheet) reader() *csv.Reader {
	r := csv.NewReader(bytes.NewReader(s.data))
	r.ReuseRecord = true
	return r
}

// pos is where a cell of the row that was read last stands.
func (s *sheet) pos(r *csv.Reader, cell int) fault.Position {
	line, col := r.FieldPos(cell)
	return fault.Position{File: s.name, Line: line, Col: col}
}

// explain gives the CSV reader's own complaints a place.
func (s *sheet) explain(err error) error {
	var p *csv.ParseError
	if !errors.As(err, &p) {
		return err
	}
	f := fault.New(fault.Config, "%w", p.Err).In(fault.Position{File: s.name, Line: p.Line, Col: p.Column})
	if errors.Is(p.Err, csv.ErrFieldCount) {
		return f.Hinted("every row has as many cells as the first, empty ones too")
	}
	return f.Hinted("a cell that holds a quote or a comma stands in double quotes, and a quote in it is doubled")
}

// columns reads the first line.
func (s *sheet) columns(r *csv.Reader, cells []string) error {
	switch {
	case len(cells) > mostColumns:
		return fault.New(fault.Config, "there are %d columns", len(cells)).In(s.pos(r, 0)).Hinted("at most %d", mostColumns)
	case len(cells) == 1 && strings.ContainsAny(cells[0], ";\t"):
		return fault.New(fault.Config, "the columns are not separated by commas").In(s.pos(r, 0)).Hinted("save it as comma separated values")
	}
	for i, c := range cells {
		known := c == "record" || slices.ContainsFunc(records, func(k record) bool { f, _ := k.find(c); return f != nil })
		switch {
		case formula(c):
			return s.refuse(s.pos(r, i))
		case strings.TrimSpace(c) == "":
			continue
		case !known:
			return fault.New(fault.Config, "unknown column %q", clipped(c)).In(s.pos(r, i)).Hinted("columns are called as in demarc duty export --format csv")
		case slices.Contains(cells[:i], c):
			return fault.New(fault.Config, "the column %s is there twice", c).In(s.pos(r, i))
		}
	}
	if !slices.Contains(cells, "record") {
		return fault.New(fault.Config, "there is no column record").In(s.pos(r, 0)).Hinted("it says what a row is: %s", strings.Join(RecordNames(), ", "))
	}
	s.header = slices.Clone(cells)
	for i, c := range s.header { // a spreadsheet adds columns that have no heading and no content
		s.header[i] = strings.TrimSpace(c)
	}
	return nil
}

// RecordNames lists what a row of a sheet can be.
func RecordNames() []string {
	out := make([]string, len(records))
	for i, r := range records {
		out[i] = r.name
	}
	return out
}

func (s *sheet) refuse(at fault.Position) error {
	return fault.New(fault.Config, "the cell begins as a formula does").In(at).Hinted("a spreadsheet would run it: no text of a model begins with = + - @, a tab or a line break")
}

// clipped keeps a message short.
func clipped(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}

// row reads one row into the model.
func (s *sheet) row(r *csv.Reader, n int, cells []string) error {
	kind, empty := "", true
	for i, c := range cells {
		switch {
		case len(c) > mostCell:
			return fault.New(fault.Config, "the cell has %d bytes", len(c)).In(s.pos(r, i)).Hinted("at most %d", mostCell)
		case formula(c):
			return s.refuse(s.pos(r, i))
		case s.header[i] == "record":
			kind = c
		case s.header[i] == "" && strings.TrimSpace(c) != "":
			return fault.New(fault.Config, "the cell stands in a column without a heading").In(s.pos(r, i)).
				Hinted("name the column, or empty the cell")
		}
		empty = empty && c == ""
	}
	if empty {
		return nil
	}
	at := slices.IndexFunc(records, func(k record) bool { return k.name == kind })
	if at < 0 {
		return fault.New(fault.Config, "unknown record %q", clipped(kind)).In(s.pos(r, slices.Index(s.header, "record"))).Hinted("one of %s", strings.Join(RecordNames(), ", "))
	}
	k := &records[at]
	if k.index < 0 && len(s.rows[""]) > 0 {
		return fault.New(fault.Config, "a second row describes the model").In(s.pos(r, 0))
	}
	s.rows[k.list] = append(s.rows[k.list], n)
	return s.fill(r, k, cells)
}

// fill sets what the cells of a row say.
func (s *sheet) fill(r *csv.Reader, k *record, cells []string) error {
	to := reflect.ValueOf(s.model).Elem()
	if k.index >= 0 {
		l := to.Field(k.index)
		l.Set(reflect.Append(l, reflect.Zero(l.Type().Elem())))
		to = l.Index(l.Len() - 1)
	}
	for i, c := range cells {
		if c == "" || s.header[i] == "record" || s.header[i] == "" {
			continue
		}
		f, key := k.find(s.header[i])
		if f == nil {
			return fault.New(fault.Config, "a row of kind %s has no %s", k.name, s.header[i]).In(s.pos(r, i)).Hinted("leave the cell empty")
		}
		if err := f.set(to, key, strings.Clone(c)); err != nil {
			if w, ok := fault.Of(err); ok {
				return w.In(s.pos(r, i))
			}
			return err
		}
	}
	return nil
}

var part = regexp.MustCompile(`^\$\.([a-z_]+)(?:\[([0-9]+)\])?\.?(.*)$`)

// at finds a part of the model by its path in a document, such as $.assignments[3].when.service.
func (s *sheet) at(path string) fault.Position {
	here := fault.Position{File: s.name}
	m := part.FindStringSubmatch(path)
	if m == nil {
		return here
	}
	list, column := m[1], m[3]
	i, _ := strconv.Atoi(m[2])
	if !slices.ContainsFunc(records, func(k record) bool { return k.list == list }) {
		list, i, column = "", 0, m[1]
	}
	if i >= len(s.rows[list]) {
		return here
	}
	return s.find(s.rows[list][i], s.column(column))
}

// column is the place of the column that a path leads to, or of the nearest that there is; the first where there is none.
func (s *sheet) column(name string) int {
	for name != "" {
		for _, n := range []string{name, strings.TrimRight(name, "0123456789[]")} { // a name of its own may end in a number
			if i := slices.Index(s.header, n); i >= 0 {
				return i
			}
		}
		name = name[:max(strings.LastIndex(name, "."), 0)]
	}
	return 0
}

func (s *sheet) find(row, cell int) fault.Position {
	r := s.reader()
	for range row + 1 {
		if _, err := r.Read(); err != nil {
			return fault.Position{File: s.name}
		}
	}
	return s.pos(r, cell)
}
