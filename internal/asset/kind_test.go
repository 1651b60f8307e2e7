package asset

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// A kind of objects that is added to a snapshot is counted, and its loss is held.
func TestEveryListOfASnapshotIsAKind(t *testing.T) {
	t.Parallel()
	var lists []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Snapshot]()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Type.Kind() != reflect.Slice || name == "gaps" || name == "only" || name == "unreadable" {
			continue
		}
		lists = append(lists, name)
		var s Snapshot
		v := reflect.ValueOf(&s).Elem().FieldByIndex(f.Index)
		v.Set(reflect.MakeSlice(f.Type, 1, 1))
		if n := s.Counts()[name]; n != 1 {
			t.Errorf("%d of one of %s are counted", n, name)
		}
		if n := len(rowsOf(&s)[name]); n != 1 {
			t.Errorf("%d of one of %s are told from others", n, name)
		}
	}
	if got := Kinds(); len(lists) < 18 || len(got) != len(lists) || slices.ContainsFunc(got, func(k string) bool { return !slices.Contains(lists, k) }) {
		t.Errorf("the kinds are %v, the lists %v", got, lists)
	}
	for k := range mayEmpty {
		if !slices.Contains(lists, k) {
			t.Errorf("%s may be empty, and is no kind", k)
		}
	}
}
