package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

// goneAfter is how many complete snapshots in a row must lack an object before it counts as gone. One from a file is enough: nobody
// reads it twice, and it comes from no cache.
const goneAfter = 2

type objectKey struct{ kind, id string }

type objectRow struct {
	row     int64
	hash    string
	missing int
	stale   int
}

// inventory merges a snapshot. What is new or altered is written; what is missing is removed only by complete
// snapshots, and only by the second in a row or by one from a file; bindings follow from the result. A snapshot of some kinds only is a reading of
// its own kind: it does not count as one of the whole cloud.
func (w *writer) inventory() error {
	in := w.c.Inventory
	if in == nil {
		return nil
	}
	s := in.Snapshot
	objs, err := flatten(s)
	if err != nil {
		return err
	}
	known, err := w.knownObjects(s.Cloud, objs)
	if err != nil {
		return err
	}
	stale := ""
	for k, body := range objs {
		if deleted, err := w.saysDeleted(k, body); err != nil {
			return err
		} else if deleted && known[k].row == 0 {
			continue // it is over already
		}
		older, err := w.mergeObject(s.Cloud, k, body, known[k])
		if err != nil {
			return err
		}
		if older {
			stale = fmt.Sprintf("%s %s is older than what is known", k.kind, k.id)
		}
	}
	complete := s.Complete() && stale == ""
	if complete {
		unread := unreadObjects(s)
		for k, row := range known {
			if _, here := objs[k]; !here && !unread[k] {
				if err := w.missObject(k, row); err != nil {
					return err
				}
			}
		}
	}
	learnt, how := w.c.At, probe.Purpose("")
	if in.Imported {
		learnt, how = in.RealAt, purposeImport
	}
	if w.rebind {
		if err := w.bindings(s.Cloud, learnt); err != nil {
			return err
		}
	}
	if s.NovaClock > 0 {
		if err := w.setMeta(novaClock+s.Cloud, strconv.FormatInt(s.NovaClock, 10)); err != nil {
			return err
		}
	}
	kind := probe.KindRecent
	if len(s.Only) == 0 {
		kind = probe.KindInventory
		if err := w.run("pages of the walk", `DELETE FROM reading WHERE cloud = $1`, s.Cloud); err != nil {
			return err
		}
	}
	return w.addCoverage(kind, probe.Coverage{Cloud: s.Cloud, Purpose: how, Began: s.Began, Ended: s.Ended, Took: in.Took, RealAt: in.RealAt,
		Complete: complete, Sent: len(objs), Answered: len(objs), Note: cmp.Or(gaps(s.Gaps), stale, unreadable(s.Unreadable))})
}

// mergeObject writes an object, and tells whether it was read at an earlier revision than the one that is known.
func (w *writer) mergeObject(cloud string, k objectKey, body []byte, row objectRow) (older bool, err error) {
	if older, err = w.older(k, body, row); err != nil {
		return older, err
	}
	if older {
		if keep, err := w.keepNewer(row); keep || err != nil {
			return older, err
		}
	}
	return older, w.putObject(cloud, k, body, row)
}

// saysDeleted tells whether a reading of changes lists a server only to say that it was deleted. Nova repeats that for minutes: it makes no
// server that is over known again, and does not count as seeing one that whole readings lack.
func (w *writer) saysDeleted(k objectKey, body []byte) (bool, error) {
	if k.kind != "server" || len(w.c.Inventory.Snapshot.Only) == 0 {
		return false, nil
	}
	s, err := decode[struct {
		Status string `json:"status"`
	}]("a reading", string(body))
	return s.Status == "DELETED", err
}

// revised are the kinds of objects that Neutron counts the changes of.
var revised = map[string]bool{"port": true, "fip": true, "group": true}

// older tells whether an object was read at an earlier revision than the one that is known.
func (w *writer) older(k objectKey, body []byte, row objectRow) (bool, error) {
	if !revised[k.kind] || row.row == 0 || row.hash == hashOf(body) || w.c.Inventory.Imported {
		return false, nil
	}
	type counted struct {
		Revision int `json:"revision"`
	}
	known, err := w.bodyOf(row)
	if err != nil {
		return false, err
	}
	before, err := decode[counted]("the inventory", known)
	if err != nil {
		return false, err
	}
	after, err := decode[counted]("a reading", string(body))
	return after.Revision < before.Revision, err
}

// keepNewer tells whether an older answer is left alone: a list may come from a cache. When the second whole reading in a row says
// the same, it is the cloud that went back. A reading of some kinds decides nothing.
func (w *writer) keepNewer(row objectRow) (bool, error) {
	if len(w.c.Inventory.Snapshot.Only) > 0 {
		return true, nil
	}
	if row.stale+1 >= goneAfter {
		return false, nil
	}
	w.altered = true
	return true, w.run("object older", `UPDATE object SET stale = $1 WHERE id = $2`, row.stale+1, row.row)
}

func hashOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// novaClock begins the keys of meta that say since when changes of a cloud's servers are to be asked for.
const novaClock = "nova:"

// Since is the NovaClock of the last reading of a cloud that had one, for the next to go on from; 0: none had.
func (d *DB) Since(ctx context.Context, cloud string) (int64, error) {
	var at int64
	err := d.read.QueryRowContext(ctx, `SELECT CAST(value AS BIGINT) FROM meta WHERE key = $1`, novaClock+cloud).Scan(&at)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("reading since when cloud %s is to be asked for changes: %w", cloud, err)
	}
	return at, nil
}

func (w *writer) bodyOf(row objectRow) (body string, err error) {
	if err = w.tx.QueryRowContext(w.ctx, `SELECT body FROM object WHERE id = $1`, row.row).Scan(&body); err != nil {
		err = fmt.Errorf("reading an object of the inventory: %w", err)
	}
	return body, err
}

func gaps(gs []asset.Gap) string {
	parts := make([]string, len(gs))
	for i, g := range gs {
		parts[i] = g.Kind + ": " + g.Reason
	}
	return strings.Join(parts, "; ")
}

// mostNamed is how many objects a note names that the account may not read.
const mostNamed = 20

// unreadable names what the account may not read, where that is all there is to say of a reading.
func unreadable(us []asset.Unreadable) string {
	var parts []string
	for _, u := range us[:min(mostNamed, len(us))] {
		parts = append(parts, u.Kind+": "+u.Reason)
	}
	if more := len(us) - len(parts); more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more users or projects that the account may not read", more))
	}
	return strings.Join(parts, "; ")
}

// unreadObjects are those that exist by what others refer to, and that the account may not read: what is known of them stays.
func unreadObjects(s *asset.Snapshot) map[objectKey]bool {
	out := map[objectKey]bool{}
	for _, u := range s.Unreadable {
		kind := "user"
		if u.Kind == asset.UnreadGrants {
			kind = "project"
		}
		out[objectKey{kind, u.ID}] = true
	}
	return out
}

// knownObjects are those of a cloud; where only some kinds were read, those of the kinds that a snapshot has.
func (w *writer) knownObjects(cloud string, objs map[objectKey][]byte) (map[objectKey]objectRow, error) {
	out := map[objectKey]objectRow{}
	only := &where{args: []any{cloud}, conds: []string{"cloud = $1", "valid_to = 0"}}
	if len(w.c.Inventory.Snapshot.Only) > 0 {
		kinds := map[string]bool{}
		for k := range objs {
			kinds[k.kind] = true
		}
		only.in("kind", slices.Sorted(maps.Keys(kinds)))
	}
	err := each(w.ctx, w.tx, func(r *sql.Rows) error {
		var k objectKey
		var o objectRow
		if err := r.Scan(&o.row, &k.kind, &k.id, &o.hash, &o.missing, &o.stale); err != nil {
			return err
		}
		out[k] = o
		return nil
	}, `SELECT id, kind, object, hash, missing, stale FROM object`+only.String(), only.args...)
	if err != nil {
		return nil, fmt.Errorf("reading the inventory: %w", err)
	}
	return out, nil
}

func (w *writer) putObject(cloud string, k objectKey, body []byte, row objectRow) error {
	deleted, err := w.saysDeleted(k, body)
	if err != nil {
		return err
	}
	missing := 0
	if deleted {
		missing = row.missing
	}
	hash := hashOf(body)
	if row.hash == hash {
		if row.missing == missing && row.stale == 0 {
			return nil
		}
		w.altered = true // bindings stand as long as it is not gone
		return w.run("object seen again", `UPDATE object SET missing = $1, stale = 0 WHERE id = $2`, missing, row.row)
	}
	if err := w.moves(cloud, k, body, row); err != nil {
		return err
	}
	if row.row != 0 {
		if err := w.run("object altered", `UPDATE object SET valid_to = $1 WHERE id = $2`, w.c.At, row.row); err != nil {
			return err
		}
	}
	return w.run("object", `INSERT INTO object (cloud, kind, object, hash, body, valid_from, missing) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		cloud, k.kind, k.id, hash, string(body), w.c.At, missing)
}

func (w *writer) missObject(k objectKey, row objectRow) error {
	w.altered, w.rebind = true, w.rebind || binds[k.kind]
	if row.missing+1 < goneAfter && !w.c.Inventory.Imported {
		return w.run("object missing", `UPDATE object SET missing = $1 WHERE id = $2`, row.missing+1, row.row)
	}
	return w.run("object gone", `UPDATE object SET missing = $1, valid_to = $2 WHERE id = $3`, row.missing+1, w.c.At, row.row)
}

// Clouds lists the clouds there is an inventory of.
func (d *DB) Clouds(ctx context.Context) ([]string, error) {
	var out []string
	err := each(ctx, d.read, func(r *sql.Rows) error {
		var c string
		err := r.Scan(&c)
		out = append(out, c)
		return err
	}, `SELECT DISTINCT cloud FROM object ORDER BY cloud`)
	return out, err
}

// Snapshot is what a cloud held at a time, as far as is known; at 0 asks for now.
func (d *DB) Snapshot(ctx context.Context, cloud string, at int64) (*asset.Snapshot, error) {
	return snapshotAt(ctx, d.read, cloud, at)
}

func snapshotAt(ctx context.Context, q querier, cloud string, at int64) (*asset.Snapshot, error) {
	s := &asset.Snapshot{Cloud: cloud}
	cond, args := ` AND valid_to = 0`, []any{cloud}
	if at != 0 {
		cond, args = ` AND valid_from <= $2 AND (valid_to = 0 OR valid_to > $2)`, []any{cloud, at}
	}
	err := each(ctx, q, func(r *sql.Rows) error {
		var kind, body string
		if err := r.Scan(&kind, &body); err != nil {
			return err
		}
		return addObject(s, kind, []byte(body))
	}, `SELECT kind, body FROM object WHERE cloud = $1`+cond+` ORDER BY kind, object`, args...)
	if err != nil {
		return nil, fmt.Errorf("reading the inventory of %s: %w", cloud, err)
	}
	return s, nil
}

// NameOf is what a server or project was last called, also when it is gone.
func (d *DB) NameOf(ctx context.Context, s access.Scope, cloud, kind, id string) (untrusted.Text, error) {
	var body string
	err := d.read.QueryRowContext(ctx, `SELECT body FROM object WHERE cloud = $1 AND kind = $2 AND object = $3 ORDER BY valid_from DESC, id DESC LIMIT 1`, cloud, kind, id).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return untrusted.Text{}, notFound(kind, id)
	}
	if err != nil {
		return untrusted.Text{}, fmt.Errorf("reading %s %s: %w", kind, id, err)
	}
	v, err := decode[struct {
		ID      asset.ProjectID `json:"id"`
		Project asset.ProjectID `json:"project"`
		Name    untrusted.Text  `json:"name"`
	}]("the inventory", body)
	if err != nil {
		return untrusted.Text{}, err
	}
	if owner := cmp.Or(v.Project, v.ID); !s.Admits(owner) {
		return untrusted.Text{}, notFound(kind, id)
	}
	return v.Name, nil
}

// flatten turns a snapshot into rows. Two objects of one kind and id are an error of the reader, never a silent choice.
func flatten(s *asset.Snapshot) (map[objectKey][]byte, error) {
	out := map[objectKey][]byte{}
	var errs []error
	put := func(kind, id string, v any) {
		b, err := json.Marshal(v)
		k := objectKey{kind, id}
		if err == nil && out[k] != nil {
			err = fmt.Errorf("%s %s is listed twice", kind, id)
		}
		errs = append(errs, err)
		out[k] = b
	}
	for _, v := range s.Projects {
		put("project", string(v.ID), v)
	}
	for _, v := range s.Users {
		put("user", string(v.ID), v)
	}
	for _, v := range s.Grants {
		put("grant", string(v.User)+" "+string(v.Project)+" "+v.Role, v)
	}
	for _, v := range s.Images {
		put("image", string(v.ID), v)
	}
	for _, v := range s.Servers {
		put("server", string(v.ID), v)
	}
	for _, v := range s.Networks {
		put("network", string(v.ID), v)
	}
	for _, v := range s.Subnets {
		put("subnet", string(v.ID), v)
	}
	for _, v := range s.Routers {
		put("router", string(v.ID), v)
	}
	for _, v := range s.Ports {
		put("port", string(v.ID), v)
	}
	for _, v := range s.FloatingIPs {
		put("fip", string(v.ID), v)
	}
	for _, v := range s.Groups {
		put("group", string(v.ID), v)
	}
	for _, v := range s.AddressSets {
		put("address_set", string(v.ID), v)
	}
	for _, v := range s.Trunks {
		put("trunk", string(v.ID), v)
	}
	for _, v := range s.LoadBalancers {
		put("load_balancer", string(v.ID), v)
	}
	for _, v := range s.Firewalls {
		put("firewall", string(v.ID), v)
	}
	for _, v := range s.Links {
		put("link", v.ID, v)
	}
	for _, v := range s.RBAC {
		put("rbac", string(v.ID), v)
	}
	for _, v := range s.DefaultRules {
		put("default_rule", string(v.ID), v)
	}
	return out, errors.Join(errs...)
}

func addObject(s *asset.Snapshot, kind string, body []byte) error {
	switch kind {
	case "project":
		return add(&s.Projects, body)
	case "user":
		return add(&s.Users, body)
	case "grant":
		return add(&s.Grants, body)
	case "image":
		return add(&s.Images, body)
	case "server":
		return add(&s.Servers, body)
	case "network":
		return add(&s.Networks, body)
	case "subnet":
		return add(&s.Subnets, body)
	case "router":
		return add(&s.Routers, body)
	case "port":
		return add(&s.Ports, body)
	case "fip":
		return add(&s.FloatingIPs, body)
	case "group":
		return add(&s.Groups, body)
	case "address_set":
		return add(&s.AddressSets, body)
	case "trunk":
		return add(&s.Trunks, body)
	case "load_balancer":
		return add(&s.LoadBalancers, body)
	case "firewall":
		return add(&s.Firewalls, body)
	case "link":
		return add(&s.Links, body)
	case "rbac":
		return add(&s.RBAC, body)
	case "default_rule":
		return add(&s.DefaultRules, body)
	}
	return fmt.Errorf("unknown kind of object %q", kind)
}

func add[T any](list *[]T, body []byte) error {
	var v T
	if err := json.Unmarshal(body, &v); err != nil {
		return err
	}
	*list = append(*list, v)
	return nil
}
