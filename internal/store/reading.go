package store

import (
	"context"
	"database/sql"
	"fmt"

	"demarc/internal/asset"
)

// The pages of a walk over a cloud are kept one by one, for a walk takes minutes and the process may die in it. They are no part of
// the inventory: the commit of a whole snapshot of the cloud deletes them.

const pageColumns = `SELECT cloud, account, listing, page, began, at, said, marker, done`

func scanPage(r interface{ Scan(...any) error }, p *asset.Page, more ...any) error {
	return r.Scan(append([]any{&p.Cloud, &p.Account, &p.Listing, &p.Number, &p.Began, &p.At, &p.Said, &p.Marker, &p.Done}, more...)...)
}

// LastPage is the page that was kept last of a cloud, without its rows; false: none is.
func (d *DB) LastPage(ctx context.Context, cloud string) (asset.Page, bool, error) {
	var p asset.Page
	found := false
	err := each(ctx, d.read, func(r *sql.Rows) error {
		found = true
		return scanPage(r, &p)
	}, pageColumns+` FROM reading WHERE cloud = $1 ORDER BY id DESC LIMIT 1`, cloud)
	if err != nil {
		return p, false, fmt.Errorf("reading the last page of cloud %s: %w", cloud, err)
	}
	return p, found, nil
}

// KeptPages gives the pages of a listing, in their order, one at a time.
func (d *DB) KeptPages(ctx context.Context, cloud, listing string, use func(asset.Page) error) error {
	err := each(ctx, d.read, func(r *sql.Rows) error {
		var p asset.Page
		if err := scanPage(r, &p, &p.Rows); err != nil {
			return err
		}
		return use(p)
	}, pageColumns+`, body FROM reading WHERE cloud = $1 AND listing = $2 ORDER BY page`, cloud, listing)
	if err != nil {
		return fmt.Errorf("reading the pages of cloud %s: %w", cloud, err)
	}
	return nil
}

// KeepPage keeps a page, in place of one of the same number. When it returns, the page has reached the disk.
func (d *DB) KeepPage(ctx context.Context, p asset.Page) error {
	err := d.inTx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM reading WHERE cloud = $1 AND listing = $2 AND page = $3`, p.Cloud, p.Listing, p.Number); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO reading (cloud, account, listing, page, began, at, said, marker, done, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			p.Cloud, p.Account, p.Listing, p.Number, p.Began, p.At, p.Said, clean(p.Marker), bit(p.Done), string(p.Rows))
		return err
	})
	if err != nil {
		return fmt.Errorf("keeping a page of cloud %s: %w", p.Cloud, err)
	}
	return nil
}

// DropPages forgets all pages of a cloud.
func (d *DB) DropPages(ctx context.Context, cloud string) error {
	err := d.inTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM reading WHERE cloud = $1`, cloud)
		return err
	})
	if err != nil {
		return fmt.Errorf("forgetting the pages of cloud %s: %w", cloud, err)
	}
	return nil
}
