package openstack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"demarc/internal/asset"
	"demarc/internal/cloud"
)

// stillFresh is how old (µs) the last page of a walk may be for the walk to go on behind it.
const stillFresh = 15 * 60 * 1_000_000

// keeper keeps the pages of one walk.
type keeper struct {
	pages          cloud.Pages
	cloud, account string
	began          int64
	now            func() int64
}

// keeper goes on with the walk that was kept, when it was by the same account and was cut a short while ago; else it forgets it. It
// says when the walk began.
func (c *Cloud) keeper(ctx context.Context, now func() int64) (*keeper, int64, error) {
	k := &keeper{pages: c.conf.Pages, cloud: c.conf.Cloud, account: fmt.Sprintf("%s/%s/2.%d", c.user, c.project, c.minor), began: now(), now: now}
	if k.pages == nil {
		return nil, k.began, nil
	}
	last, kept, err := k.pages.LastPage(ctx, k.cloud)
	if err != nil {
		return nil, 0, fmt.Errorf("looking for a walk that was cut: %w", err)
	}
	if age := k.began - last.At; kept && last.Account == k.account && age >= 0 && age <= stillFresh {
		k.began = last.Began
	} else if kept {
		if err := k.pages.DropPages(ctx, k.cloud); err != nil {
			return nil, 0, fmt.Errorf("forgetting a walk that was cut long ago: %w", err)
		}
	}
	return k, k.began, nil
}

// KeepPages says where walks are kept from now on, before the first.
func (c *Cloud) KeepPages(p cloud.Pages) { c.conf.Pages = p }

// kept is a row on its way: what we take of it, and what is odd about it.
type kept[T any] struct {
	Value T
	Odd   string `json:",omitempty"`
}

// of names a listing, and the shape in which its rows are kept: a build that takes more of a row asks for the rows anew.
func of[T any](l listing) string {
	sum := sha256.Sum256(shape(nil, reflect.TypeFor[T]()))
	return l.path + " " + hex.EncodeToString(sum[:4])
}

// shape writes a type down to its last field.
func shape(b []byte, t reflect.Type) []byte {
	switch t.Kind() { //nolint:exhaustive // what else is a leaf, or known by its name
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return shape(append(fmt.Appendf(b, "%s of ", t.Kind()), ' '), t.Elem())
	case reflect.Struct:
		b = append(b, '{')
		for f := range t.Fields() {
			b = append(shape(fmt.Appendf(b, "%s %q ", f.Name, f.Tag), f.Type), ';')
		}
		return append(b, '}')
	}
	return append(b, t.String()...)
}

// replay takes the rows of the pages that were kept, and tells how many there are and whether the last of the listing is among them.
func replay[T any](ctx context.Context, l listing, w *walker[T]) (pages int, done bool, err error) {
	if l.keep == nil {
		return 0, false, nil
	}
	err = l.keep.pages.KeptPages(ctx, l.keep.cloud, of[T](l), func(p asset.Page) error {
		var rows []kept[T]
		if p.Number != pages || done {
			return fmt.Errorf("page %d of %s was kept where page %d belongs", p.Number, l.path, pages)
		}
		if err := json.Unmarshal(p.Rows, &rows); err != nil {
			return fmt.Errorf("page %d of %s as it was kept: %w", p.Number, l.path, err)
		}
		for _, r := range rows {
			var odd error
			if r.Odd != "" {
				odd = errors.New(r.Odd)
			}
			if _, err := w.row(r.Value, odd); err != nil {
				return err
			}
		}
		l.dated(p.Said)
		w.marker, done = p.Marker, p.Done
		pages++
		return nil
	})
	return pages, done, err
}

// keepPage keeps a page whose rows were taken.
func keepPage[T any](ctx context.Context, l listing, p asset.Page, rows []row[T]) error {
	k := l.keep
	if k == nil {
		return nil
	}
	out := make([]kept[T], len(rows))
	for i, r := range rows {
		out[i].Value = r.value
		if r.odd != nil {
			out[i].Odd = r.odd.Error()
		}
	}
	b, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("keeping a page of %s: %w", l.path, err)
	}
	p.Cloud, p.Account, p.Listing, p.Began, p.At, p.Rows = k.cloud, k.account, of[T](l), k.began, k.now(), b
	if err := k.pages.KeepPage(ctx, p); err != nil {
		return fmt.Errorf("keeping a page of %s: %w", l.path, err)
	}
	return nil
}
