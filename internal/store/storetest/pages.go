package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"demarc/internal/asset"
)

func aPage(cloud, listing string, n int) asset.Page {
	return asset.Page{Cloud: cloud, Account: "u/p", Listing: listing, Number: n, Began: 100, At: int64(200 + n), Said: int64(300 + n), Marker: fmt.Sprint("row-", n), Done: n == 12, Rows: fmt.Appendf(nil, `[{"Value":{"ID":"row-%d","Name":"\u0000 é"}}]`, n)}
}

// Pages of a walk survive the process, come back in their order, stay with their cloud and listing, and go with the whole snapshot.
func pages(t *testing.T, e Engine) {
	place, ctx := t.TempDir(), t.Context()
	x := exam{t, e.Open(t, place)}
	if _, found, err := x.LastPage(ctx, "cloud"); found || err != nil {
		t.Errorf("a page although none was kept: %v", err)
	}
	for n := range 13 { // more than nine, for the order is by number
		for _, listing := range []string{"ports", "servers/detail"} {
			if err := x.KeepPage(ctx, aPage("cloud", listing, n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	again := aPage("cloud", "ports", 3)
	again.Marker = "another"
	if err := errors.Join(x.KeepPage(ctx, again), x.KeepPage(ctx, aPage("another", "ports", 0)), x.Close()); err != nil {
		t.Fatal(err)
	}
	x = exam{t, e.Open(t, place)}
	defer func() { _ = x.Close() }()
	read := func(cloud, listing string) (out []asset.Page) {
		t.Helper()
		if err := x.KeptPages(ctx, cloud, listing, func(p asset.Page) error { out = append(out, p); return nil }); err != nil {
			t.Fatal(err)
		}
		return out
	}
	var want []asset.Page
	for n := range 13 {
		want = append(want, aPage("cloud", "ports", n))
	}
	want[3] = again
	if got := read("cloud", "ports"); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	last, found, err := x.LastPage(ctx, "cloud")
	if again.Rows = nil; err != nil || !found || !reflect.DeepEqual(last, again) {
		t.Errorf("the last that was kept, without its rows: %+v, %v", last, err)
	}
	stop := errors.New("enough")
	n := 0
	if err := x.KeptPages(ctx, "cloud", "ports", func(asset.Page) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		t.Errorf("a reader that stops is not given more: %d, %v", n, err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := x.KeepPage(ended, aPage("cloud", "ports", 99)); err == nil {
		t.Error("kept although nobody waits")
	}
	x.walk(10, &asset.Snapshot{Cloud: "cloud", Only: []string{"servers"}})
	if got := read("cloud", "ports"); len(got) != 13 {
		t.Errorf("a reading of some kinds takes the walk of the whole with it: %d", len(got))
	}
	x.walk(20, world(0))
	if got := slices.Concat(read("cloud", "ports"), read("cloud", "servers/detail")); len(got) != 0 {
		t.Errorf("pages outlive the snapshot: %d", len(got))
	}
	if got := read("another", "ports"); len(got) != 1 {
		t.Errorf("those of another cloud went too: %d", len(got))
	}
	if err := x.DropPages(ctx, "another"); err != nil || len(read("another", "ports")) != 0 {
		t.Errorf("forgotten, and still there: %v", err)
	}
}
