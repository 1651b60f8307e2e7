package store

import (
	"reflect"
	"testing"

	"demarc/internal/asset"
)

// A kind of objects that is added to a snapshot is kept, and read again.
func TestEveryListOfASnapshotIsKept(t *testing.T) {
	t.Parallel()
	var s, again asset.Snapshot
	for _, f := range reflect.VisibleFields(reflect.TypeFor[asset.Snapshot]()) {
		if f.Type.Kind() == reflect.Slice && f.Name != "Gaps" && f.Name != "Only" && f.Name != "Unreadable" {
			reflect.ValueOf(&s).Elem().FieldByIndex(f.Index).Set(reflect.MakeSlice(f.Type, 1, 1))
		}
	}
	objs, err := flatten(&s)
	if err != nil {
		t.Fatal(err)
	}
	for k, body := range objs {
		if err := addObject(&again, k.kind, body); err != nil {
			t.Errorf("%s: %v", k.kind, err)
		}
	}
	if !reflect.DeepEqual(again, s) {
		t.Errorf("read\n%+v\nkept\n%+v", again, s)
	}
}
