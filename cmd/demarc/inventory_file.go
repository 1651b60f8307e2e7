package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"demarc/internal/asset"
	"demarc/internal/asset/lines"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/fault"
	"demarc/internal/flow"
	"demarc/internal/store"
	"demarc/internal/untrusted"
)

// exporting says what of an inventory goes into a file.
type exporting struct {
	cloud, at string
	people    bool
}

func inventoryExportCommand(r *reading) *cobra.Command {
	var e exporting
	c := &cobra.Command{
		Use: "export FILE", Short: "Write what a cloud holds into a file",
		Long: `Write what a cloud holds, or held at a time, into a file of JSON lines; - is the standard output. Two exports of the same
state are the same bytes. docs/inventory.md describes the format. demarc reach --inventory and demarc reach diff read it
without database or account, for instance in a pipeline before a change is made.

Who people are is left out: users, their mail addresses and roles, creators, reasons of a lock, and metadata that is not
said to demarc. --with-people writes all of it. Names of machines, projects and groups are always in the file.`,
		Example: `  demarc inventory export before.jsonl --db demarc.db
  demarc inventory export - --config demarc.yaml --at 2026-05-04T02:14:00Z --with-people > then.jsonl`,
		Args: checkArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return r.with(c.Context(), func(db *store.DB) error { return exportInventory(c, r, db, e, args[0]) })
		},
	}
	c.Flags().StringVar(&e.cloud, "cloud", "", "which cloud, where the database knows several")
	c.Flags().StringVar(&e.at, "at", "", "when (default: now)")
	c.Flags().BoolVar(&e.people, "with-people", false, "write who people are too")
	return c
}

func exportInventory(c *cobra.Command, r *reading, db *store.DB, e exporting, to string) error {
	ctx := c.Context()
	at, err := r.parseTime(e.at)
	if err != nil {
		return err
	}
	cloud, err := theCloud(ctx, db, e.cloud)
	if err != nil {
		return err
	}
	s, err := stateOf(ctx, db, cloud, at)
	if err != nil {
		return err
	}
	if s.Ended == 0 {
		return fault.New(fault.CannotLook, "nothing was known of %s at %s", cloud, r.when(at)).Hinted("demarc inventory show tells what is known")
	}
	if to == "-" {
		return writeInventory(c, c.OutOrStdout(), s, e.people)
	}
	return replaceFile(to, func(w io.Writer) error { return writeInventory(c, w, s, e.people) })
}

// writeInventory writes a file, and tells what is left out of it.
func writeInventory(c *cobra.Command, w io.Writer, s *asset.Snapshot, people bool) error {
	left, err := lines.Write(w, s, people)
	for _, g := range left {
		_, _ = fmt.Fprintf(c.ErrOrStderr(), "Not in the file: %s %s\n", g.Kind, untrusted.From(g.Reason).Terminal())
	}
	return err
}

// theCloud is the one that is meant: the one that is named, else the only one there is.
func theCloud(ctx context.Context, db *store.DB, name string) (string, error) {
	all, err := db.Clouds(ctx)
	if err != nil {
		return "", err
	}
	switch {
	case name != "":
		for _, c := range all {
			if c == name {
				return c, nil
			}
		}
		return "", fault.New(fault.NotFound, "nothing is known of a cloud %q", name).Hinted("known are: %s", strings.Join(all, ", "))
	case len(all) == 0:
		return "", fault.New(fault.CannotLook, "no cloud was read yet")
	case len(all) > 1:
		return "", fault.New(fault.Usage, "the database knows %d clouds", len(all)).Hinted("name one with --cloud: %s", strings.Join(all, ", "))
	}
	return all[0], nil
}

// stateOf is what a cloud held at a time, with since when; Ended is 0 where nothing was known then.
func stateOf(ctx context.Context, db *store.DB, cloud string, at moment) (*asset.Snapshot, error) {
	since, err := db.StateSince(ctx, cloud, int64(at))
	if err != nil {
		return nil, err
	}
	known, err := db.ReadingsOf(ctx, cloud, int64(at))
	if err != nil {
		return nil, err
	}
	s, err := db.Snapshot(ctx, cloud, int64(at))
	if err != nil {
		return nil, err
	}
	s.Began, s.Ended = since, since
	if !known.Complete {
		s.Gaps = []asset.Gap{{Kind: "inventory", Reason: "the cloud was never read to its end"}}
	}
	return s, nil
}

// replaceFile writes a file so that a reader finds the old one or the new one, whole. Nobody else may read it.
func replaceFile(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fault.New(fault.CannotLook, "cannot write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := write(f); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fault.New(fault.CannotLook, "cannot write %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fault.New(fault.CannotLook, "cannot write %s: %w", path, err)
	}
	return nil
}

func inventoryImportCommand(r *reading) *cobra.Command {
	var cloud string
	c := &cobra.Command{
		Use: "import FILE", Short: "Take in what a file says a cloud holds",
		Long: `Write a file of demarc inventory export into a database, as one complete reading at the time that the file names; - is the
standard input. The database is made where there is none. inventory, reach and the rest answer from it then, and files of
several times make a history.

A cloud that a server reads into that database itself is not overwritten: give what the file says another name with
--cloud. Nor is history written backwards.`,
		Example: `  demarc inventory import before.jsonl --db elsewhere.db
  demarc inventory import - --cloud staging --db elsewhere.db < after.jsonl`,
		Args: checkArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return importInventory(c, r, cloud, args[0]) },
	}
	c.Flags().StringVar(&cloud, "cloud", "", "the name of the cloud (default: as the file says)")
	return c
}

func importInventory(c *cobra.Command, r *reading, cloud, from string) (err error) {
	s, people, err := readInventory(c, from)
	if err != nil {
		return err
	}
	if cloud != "" {
		s.Cloud = cloud
	}
	now := time.Now().UnixMicro()
	if s.Ended > now {
		return fault.New(fault.Config, "the inventory is of %s, which is still to come", r.when(moment(s.Ended))).In(fault.Position{File: from, Line: 1, Col: 1})
	}
	ctx := c.Context()
	path, conf, err := r.path()
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, path, opening(path, conf)...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	lease, err := db.Lease(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lease.Release()) }()
	if err := mayImport(ctx, r, db, s, people); err != nil {
		return err
	}
	if err := takeIn(ctx, db, s, now); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%s at %s: %s, %s, %s, %s\n", s.Cloud, r.when(moment(s.Ended)), several(len(s.Servers), "server"), several(len(s.Ports), "port"), several(len(s.FloatingIPs), "floating IP"), several(len(s.Groups), "group"))
	return err
}

// readInventory reads a file of an inventory; - is the standard input.
func readInventory(c *cobra.Command, from string) (*asset.Snapshot, bool, error) {
	if from == "-" {
		return lines.Read("standard input", c.InOrStdin())
	}
	f, err := os.Open(from)
	if err != nil {
		return nil, false, fault.New(fault.CannotLook, "cannot read the inventory: %w", err)
	}
	s, people, err := lines.Read(from, f)
	return s, people, errors.Join(err, f.Close())
}

// mayImport refuses what would spoil what a database knows.
func mayImport(ctx context.Context, r *reading, db *store.DB, s *asset.Snapshot, people bool) error {
	known, err := db.ReadingsOf(ctx, s.Cloud, 0)
	if err != nil {
		return err
	}
	since, err := db.StateSince(ctx, s.Cloud, 0)
	if err != nil {
		return err
	}
	last := max(known.Last.Ended, since)
	switch {
	case known.Live:
		return fault.New(fault.Refused, "a server reads %s into this database", s.Cloud).Hinted("give what the file says another name with --cloud, or import it into a database of its own")
	case last > s.Ended:
		return fault.New(fault.Refused, "the file is of %s, and %s is known as of %s", r.when(moment(s.Ended)), s.Cloud, r.when(moment(last))).Hinted("history is written forwards: import the older file first, into a database of its own")
	case people || !s.Complete():
		return nil
	}
	before, err := db.Snapshot(ctx, s.Cloud, 0)
	if err != nil {
		return err
	}
	if n := len(before.Users) + len(before.Grants); n > 0 {
		return fault.New(fault.Refused, "the file is without people, and %s has %d users and roles", s.Cloud, n).Hinted("they would be gone; export with --with-people, or name another cloud with --cloud")
	}
	return nil
}

// ledger is what takes a change in, all of it or nothing.
type ledger interface {
	Commit(ctx context.Context, c casework.Change) error
}

// takeIn writes the reading, what is gone by it and who imported it, in one commit.
func takeIn(ctx context.Context, db ledger, s *asset.Snapshot, now int64) error {
	detail, err := json.Marshal(flow.Happening{At: s.Ended, Step: "inventory", Event: "inventory.imported",
		Detail: fmt.Sprintf("%s: %d servers, %d ports, %d floating IPs, %d groups, from a file", s.Cloud, len(s.Servers), len(s.Ports), len(s.FloatingIPs), len(s.Groups))})
	if err != nil {
		return fmt.Errorf("writing down the import: %w", err)
	}
	in := &casework.Inventory{Snapshot: s, RealAt: now, Imported: true}
	return db.Commit(ctx, casework.Change{At: s.Ended, Inventory: in, Audit: []audit.Entry{{At: now, Actor: login(), Kind: "inventory.imported", Detail: detail}}})
}
