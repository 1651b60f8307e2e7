package lines

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"demarc/internal/asset"
	"demarc/internal/fault"
)

// Read reads a file. The name is only for messages. What a file may not be is a Config fault with its line: another format or
// version, an unknown kind or key, a key or an object that is there twice, a rule without its group, a trunk without its ports, or an end that is missing.
// A file that was written of a cloud that was never read to its end is a snapshot with a gap. People tells whether users and
// roles were written.
func Read(name string, from io.Reader) (s *asset.Snapshot, people bool, err error) {
	r := &reader{name: name, seen: map[string]int{}, rules: map[asset.GroupID][]asset.Rule{}}
	in := bufio.NewScanner(&capped{from: from, left: MaxBytes})
	in.Buffer(make([]byte, 0, 64<<10), MaxLine+1)
	for in.Scan() {
		r.line++
		b := in.Bytes()
		if r.line == 1 {
			if b, err = fault.Text(name, b); err != nil {
				return nil, false, err
			}
		}
		if err := r.take(b); err != nil {
			return nil, false, r.at(err)
		}
	}
	r.line++
	switch err := in.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, false, r.at(fault.New(fault.Config, "the line is longer than %d bytes", MaxLine))
	case err != nil:
		if _, told := fault.Of(err); told {
			return nil, false, r.at(err)
		}
		return nil, false, fault.New(fault.CannotLook, "cannot read the inventory %s: %w", name, err)
	case !r.over:
		return nil, false, r.at(fault.New(fault.Config, "the inventory breaks off").Hinted(`its last line is {"kind":%q}: what is missing before it is not known to be gone`, end))
	}
	if err := r.finish(); err != nil {
		return nil, false, err
	}
	return &r.s, r.head.People, nil
}

// reader is a file half read.
type reader struct {
	name  string
	line  int
	head  header
	over  bool // the last line was there
	s     asset.Snapshot
	seen  map[string]int // line by kind and key
	rules map[asset.GroupID][]asset.Rule
	where map[asset.GroupID]int // line of the first rule of a group
}

// at places an error at the line that is being read.
func (r *reader) at(err error) error { return r.on(r.line, err) }

func (r *reader) on(line int, err error) error {
	pos := fault.Position{File: r.name, Line: line, Col: 1}
	if f, ok := fault.Of(err); ok {
		return f.In(pos)
	}
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("the line is no JSON object: %w", err)
	case errors.As(err, &kind):
		err = fmt.Errorf("%s can not be: %s", cmp.Or(kind.Field, "the body"), kind.Value)
	}
	return fault.New(fault.Config, "%s", strings.TrimPrefix(err.Error(), "json: ")).In(pos)
}

func (r *reader) take(b []byte) error {
	if r.over {
		return fault.New(fault.Config, "something stands behind the end of the inventory")
	}
	if r.line == 1 {
		return r.first(b)
	}
	var l line
	if err := strictly(b, &l); err != nil {
		return err
	}
	if err := distinct(b); err != nil {
		return err
	}
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == l.Kind })
	switch {
	case l.Kind == end && l.Body == nil:
		r.over = true
		return nil
	case i < 0:
		return fault.New(fault.Config, "unknown kind %q", l.Kind).Hinted("one of %s, and %s at the end", strings.Join(Kinds(), ", "), end)
	case isOfPeople(l.Kind) && !r.head.People:
		return fault.New(fault.Config, "a %s, and the first line says that there are no people", l.Kind).Hinted("set people to true there, or leave the line out")
	case len(r.seen) >= MaxObjects:
		return fault.New(fault.Config, "the inventory has more than %d objects", MaxObjects)
	}
	key, err := r.object(kinds[i], l.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", l.Kind, err)
	}
	id := l.Kind + " " + key
	if before := r.seen[id]; before > 0 {
		return fault.New(fault.Config, "%s is there twice", id).Hinted("first in line %d", before)
	}
	r.seen[id] = r.line
	return nil
}

// object takes one in. A rule waits for its group, which may stand behind it; no two rules of any groups have one id.
func (r *reader) object(k kind, body json.RawMessage) (key string, err error) {
	if k.take != nil {
		return k.take(&r.s, body)
	}
	v, err := taken(body, ruleKey, checkRule)
	if err != nil {
		return "", err
	}
	if r.where == nil {
		r.where = map[asset.GroupID]int{}
	}
	if len(r.rules[v.Group]) == 0 {
		r.where[v.Group] = r.line
	}
	r.rules[v.Group] = append(r.rules[v.Group], v)
	return string(v.ID), nil
}

func (r *reader) first(b []byte) error {
	_ = json.Unmarshal(b, &r.head) // what it is and of which version comes before what a later one may have more
	if f := r.head.check(); f != nil {
		return f
	}
	if err := strictly(b, &r.head); err != nil {
		return err
	}
	if err := distinct(b); err != nil {
		return err
	}
	t, err := time.Parse(time.RFC3339Nano, r.head.Time)
	if err != nil || t.UnixMicro() < 0 || t.Year() > 9999 {
		return fault.New(fault.Config, "%q is not a time", r.head.Time).Hinted("write 2026-05-04T02:14:00Z")
	}
	r.s.Cloud, r.s.Began, r.s.Ended = r.head.Cloud, t.UnixMicro(), t.UnixMicro()
	if !r.head.Complete {
		r.s.Gaps = []asset.Gap{{Kind: "inventory", Reason: "the cloud was never read to its end before it was written to the file"}}
	}
	return nil
}

// finish gives the rules to their groups, in the order of their ids.
func (r *reader) finish() error {
	for i := range r.s.Groups {
		g := &r.s.Groups[i]
		g.Rules = r.rules[g.ID]
		slices.SortFunc(g.Rules, func(a, b asset.Rule) int { return strings.Compare(string(a.ID), string(b.ID)) })
		delete(r.rules, g.ID)
	}
	worst, of := 0, asset.GroupID("")
	for id := range r.rules {
		if at := r.where[id]; worst == 0 || at < worst {
			worst, of = at, id
		}
	}
	if worst > 0 {
		return r.on(worst, fault.New(fault.Config, "the rule is of group %s, which the inventory does not have", of))
	}
	return r.trunks()
}

// trunks refuses a trunk whose ports are not there, where nothing is missing.
func (r *reader) trunks() error {
	if !r.head.Complete {
		return nil
	}
	held := func(id asset.PortID) bool { return r.seen["port "+string(id)] > 0 }
	for i := range r.s.Trunks {
		t := &r.s.Trunks[i]
		if field, id, found := dangling(t, held); found {
			return r.on(r.seen["trunk "+string(t.ID)], fault.New(fault.Config, "trunk: %s: the inventory has no port %s", field, id).
				Hinted(`a file that lacks some of what the cloud holds says "complete":false in its first line`))
		}
	}
	return nil
}

// strictly reads one JSON value, with nothing behind it and no key that is not known.
func strictly(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something stands behind the object")
	}
	return nil
}

// maxDepth is how deep a line may be nested; what we write is nested five deep.
const maxDepth = 16

// object is one JSON object or array that is being gone through.
type object struct {
	array, own bool // own: its keys are a tenant's
	key        bool // a key is next
	last       string
	few        [12]string
	n          int
	many       map[string]bool // once there are more than few holds
}

// distinct refuses a line that is nested deep or says a thing twice: the decoder takes the last, and others the first. It does not
// tell ID from id, so neither may both stand in one object; but the keys of metadata are the tenants' own. The line is valid JSON.
func distinct(b []byte) error {
	var stack [maxDepth]object
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '{', '[':
			if depth == maxDepth {
				return errors.New("the line is nested too deep")
			}
			own := depth > 0 && stack[depth-1].last == folded("metadata")
			stack[depth] = object{array: b[i] == '[', own: own, key: b[i] == '{'}
			depth++
		case '}', ']':
			depth--
		case ',':
			if depth > 0 {
				stack[depth-1].key = !stack[depth-1].array
			}
		case '"':
			end := textEnd(b, i)
			if depth > 0 && stack[depth-1].key {
				var name string
				if err := json.Unmarshal(b[i:end+1], &name); err != nil {
					return err
				}
				if !stack[depth-1].add(name) {
					return fmt.Errorf("the key %q is there twice", name)
				}
			}
			i = end
		}
	}
	return nil
}

// textEnd is where the text ends that begins at i.
func textEnd(b []byte, i int) int {
	for i++; i < len(b) && b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return min(i, len(b)-1)
}

// add takes a key, and tells whether it is there for the first time.
func (o *object) add(name string) bool {
	o.last = folded(name)
	if !o.own {
		name = o.last
	}
	o.key = false
	switch {
	case o.many != nil:
		if o.many[name] {
			return false
		}
		o.many[name] = true
	case slices.Contains(o.few[:o.n], name):
		return false
	case o.n < len(o.few):
		o.few[o.n] = name
		o.n++
	default:
		o.many = map[string]bool{name: true}
		for _, k := range o.few {
			o.many[k] = true
		}
	}
	return true
}

// folded is the same for two keys that the decoder takes for one field: it goes by Unicode's simple folding.
func folded(s string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, s)
}

// capped reads so many bytes and no more.
type capped struct {
	from io.Reader
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, fault.New(fault.Config, "the inventory has more than %d bytes", int64(MaxBytes))
	}
	n, err := c.from.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}
