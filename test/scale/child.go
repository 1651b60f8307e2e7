package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/cloud"
	"demarc/internal/cloud/openstack"
	"demarc/internal/store"
)

// account is how the ledger calls the cloud.
const account = "scale"

// counted keeps pages in a store, and tells the parent of each.
type counted struct {
	cloud.Pages
	rows, asked, resumed int
}

func (c *counted) KeepPage(ctx context.Context, p asset.Page) error {
	var rows []json.RawMessage
	if err := json.Unmarshal(p.Rows, &rows); err != nil {
		return err
	}
	if err := c.Pages.KeepPage(ctx, p); err != nil {
		return err
	}
	c.rows += len(rows)
	c.asked++
	return tell(told{Kept: c.rows})
}

func (c *counted) KeptPages(ctx context.Context, cloud, listing string, each func(asset.Page) error) error {
	return c.Pages.KeptPages(ctx, cloud, listing, func(p asset.Page) error {
		c.resumed++
		return each(p)
	})
}

func tell(t told) error { return json.NewEncoder(os.Stdout).Encode(t) }

func now() int64 { return time.Now().UnixMicro() }

// child is one reading into the ledger beside dir; what it reads, dir's name says.
func child(ctx context.Context, dir, clouds, entry string) error {
	db, err := store.Open(ctx, filepath.Join(filepath.Dir(dir), "ledger.db"))
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // it is thrown away
	pages := &counted{Pages: db}
	conf, err := openstack.FromCloudsYAML(clouds, entry)
	if err != nil {
		return err
	}
	conf.Cloud, conf.PageSize, conf.Pages, conf.Timeout = account, 1000, pages, 5*time.Minute
	c, err := openstack.Connect(ctx, conf)
	if err != nil {
		return err
	}
	defer c.Close()
	t := told{Done: true}
	if filepath.Base(dir) == "recent" {
		err = recent(ctx, db, c, &t)
	} else {
		err = full(ctx, db, c, &t)
	}
	t.Asked, t.Resumed = pages.asked, pages.resumed
	if err != nil {
		return err
	}
	return tell(t)
}

func full(ctx context.Context, db *store.DB, c *openstack.Cloud, t *told) error {
	s, err := c.Snapshot(ctx, now)
	if err != nil {
		return err
	}
	return commit(ctx, db, s, t)
}

// recent changes one machine, reads what changed, and holds the ledger against it.
func recent(ctx context.Context, db *store.DB, c *openstack.Cloud, t *told) error {
	since, err := db.Since(ctx, account)
	if err != nil {
		return err
	}
	known, err := db.Snapshot(ctx, account, 0)
	if err != nil {
		return err
	}
	var id asset.ServerID
	for i := range known.Servers {
		if known.Servers[i].Name.Raw() == "bulk-template" {
			id = known.Servers[i].ID
		}
	}
	t.Servers, t.Ports = len(known.Servers), len(known.Ports)
	if err := c.Do(ctx, id, casework.DoLock, "scale"); err != nil {
		return fmt.Errorf("locking %q: %w", id, err)
	}
	began := time.Now()
	s, err := c.Recent(ctx, since, now)
	if err != nil {
		return err
	}
	seen := false
	for i := range s.Servers {
		seen = seen || s.Servers[i].ID == id && s.Servers[i].Locked
	}
	if !seen {
		t.Wrong = append(t.Wrong, "the machine that changed is not among those that changed")
	}
	t.Changed = len(s.Servers)
	if err := commit(ctx, db, s, t); err != nil {
		return err
	}
	t.Seconds = time.Since(began).Seconds()
	return c.Do(ctx, id, casework.DoUnlock, "")
}

func commit(ctx context.Context, db *store.DB, s *asset.Snapshot, t *told) error {
	for _, g := range s.Gaps {
		t.Wrong = append(t.Wrong, g.Kind+": "+g.Reason)
	}
	at := now()
	return db.Commit(ctx, casework.Change{At: at, Inventory: &casework.Inventory{Snapshot: s, RealAt: at}})
}
