package duty

import (
	"reflect"
	"strings"
	"testing"

	"demarc/internal/fault"
)

// hostile are beginnings that have broken readers elsewhere.
var hostile = []string{"", "null", "[]", "{}", "id: [", "id: &a [*a]", "a: &a [x]\nb: [*a, *a]", "<<: *x", "id: !!binary x", "? x", "- - - -", "id: \x00", "\ufeffid: x", "id: \"\\ud800\"", "version: 0x1F", "version: .inf",
	"version: 1e400", "version: 99999999999999999999", "id: x\nid: y", "---\n---\n", "duties: [{when: {tags: [a, a]}}]", "contracts: [{from: 0001-01-01, to: 9999-12-31}]", `{"id":"x","duties":[{"id":null}]}`, "%YAML 9.9", "id: |\n  x\n", "\"\\",
	"service_types: &s [a]\narchitectures: *s\ncontract_types: *s\n", "table: [{ownership: {iaas: {}}}]", "service_types: &s !0 00"}

// holds checks what must be true of every model that loads.
func holds(t *testing.T, m *Model) {
	t.Helper()
	for _, kind := range m.Kinds() {
		n := 0
		m.Holdings(&kind, func(h Holding) {
			n++
			if number(Ownerships, h.Ownership) < 0 {
				t.Fatalf("%s %s/%s for %s is %q", h.Duty.ID, h.Layer, h.Aspect, kind.Kind(), h.Ownership)
			}
		})
		if n != m.Questions() {
			t.Fatalf("%d of %d questions are answered for %s", n, m.Questions(), kind.Kind())
		}
		for _, s := range m.Division(kind) {
			if s.Assignment == Unassigned || s.Holder == "" {
				t.Fatalf("%v of %s for %s: %+v", s.Aspects, s.Layer, kind.Kind(), s)
			}
		}
	}
	for name, text := range written(t, m) {
		got, err := Parse(name, text)
		if err != nil {
			t.Fatalf("%s is not read back: %v\n%s", name, err, text)
		}
		if !reflect.DeepEqual(spoken(m), spoken(got)) {
			t.Fatalf("%s says something else", name)
		}
	}
}

// try parses what somebody wrote: a model that holds, or a fault with a place in the file, and nothing else.
func try(t *testing.T, name string, data []byte) {
	t.Helper()
	if len(data) > 256<<10 {
		t.Skip("what is larger is the same again")
	}
	m, err := Parse(name, data)
	if err == nil {
		holds(t, m)
		return
	}
	f, ok := fault.Of(err)
	if !ok || m != nil || f.Code != fault.Config || f.At.File != name || f.Message == "" {
		t.Fatalf("got %v and %#v", m, err)
	}
}

func FuzzParseYAML(f *testing.F) {
	good := string(defaultModel)
	for _, s := range append(hostile, good, good+"contracts: [{id: c, type: extended, projects: [p], from: 2026-01-01}]\n", strings.Replace(good, "when: {service: iaas}", "when: {tags: [t]}", 1)) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) { try(t, "m.yaml", data) })
}

func FuzzParseCSV(f *testing.F) {
	m, err := Default()
	if err != nil {
		f.Fatal(err)
	}
	good, err := m.CSV()
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range append(hostile, string(good), "record,id\n=1,+2\n", "record\n\"", "record,ownership.\nmodel,x\n", "record,frameworks.a.b\nduty,x;;y\n", "\"record\"\r\n\"model\"\r", "record,from\ncontract,-1\n", strings.Repeat(",", 300), "record,id\nmodel,\xff\n") {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) { try(t, "m.csv", data) })
}
