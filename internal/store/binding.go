package store

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"reflect"

	"github.com/google/uuid"

	"demarc/internal/access"
	"demarc/internal/asset"
)

// binds are the kinds of objects that bindings follow from.
var binds = map[string]bool{"server": true, "port": true, "fip": true, "network": true, "trunk": true}

// moves notes that an object is new or altered, and whether bindings may follow. Of a server that is only its project, which a port that
// claims it must share; of a floating IP it is what it leads to.
func (w *writer) moves(cloud string, k objectKey, body []byte, row objectRow) error {
	w.altered = true
	if w.rebind || !binds[k.kind] {
		return nil
	}
	if row.row == 0 && k.kind == "server" {
		var n int
		err := w.tx.QueryRowContext(w.ctx, `SELECT count(*) FROM binding WHERE cloud = $1 AND server = $2 AND valid_to = 0`, cloud, k.id).Scan(&n)
		w.rebind = n > 0
		return err
	}
	w.rebind = true
	if row.row == 0 || k.kind != "server" && k.kind != "fip" {
		return nil
	}
	before, err := w.bodyOf(row)
	if err != nil {
		return err
	}
	was, err := decode[leads]("the inventory", before)
	if err != nil {
		return err
	}
	is, err := decode[leads]("a reading", string(body))
	w.rebind = !reflect.DeepEqual(was, is)
	return err
}

// leads is what bindings follow from of a server and of a floating IP.
type leads struct {
	Project     asset.ProjectID `json:"project"`
	Addr        netip.Addr      `json:"addr"`
	Port        asset.PortID    `json:"port"`
	Forwardings []struct {
		Port asset.PortID `json:"port"`
	} `json:"forwardings"`
}

// bindings ends those that no longer hold and begins those that are new, which is learnt at a time.
func (w *writer) bindings(cloud string, learnt int64) error {
	s, err := snapshotAt(w.ctx, w.tx, cloud, 0)
	if err != nil {
		return err
	}
	want := map[asset.Holder]bool{}
	for _, h := range asset.NewIndex(s).Holders() {
		want[h] = true
	}
	var ended []string
	err = each(w.ctx, w.tx, func(r *sql.Rows) error {
		b, err := scanBinding(r)
		if err != nil {
			return err
		}
		if want[b.Holder()] {
			delete(want, b.Holder())
		} else {
			ended = append(ended, b.ID)
		}
		return nil
	}, bindingColumns+` WHERE cloud = $1 AND valid_to = 0`, cloud)
	if err != nil {
		return fmt.Errorf("reading bindings: %w", err)
	}
	w.altered = w.altered || len(ended)+len(want) > 0
	for _, id := range ended {
		if err := w.run("binding ended", `UPDATE binding SET valid_to = $1, end_known_at = $2 WHERE id = $3`, w.c.At, learnt, id); err != nil {
			return err
		}
	}
	for h := range want {
		err := w.run("binding", `INSERT INTO binding (id, cloud, scope, addr, port, server, project, fip, shared, valid_from, known_at, source) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
			uuid.Must(uuid.NewV7()).String(), h.Cloud, h.Scope, h.Addr.AsSlice(), string(h.Port), string(h.Server), string(h.Project), string(h.FloatingIP), bit(h.Shared), w.c.At, learnt, "inventory")
		if err != nil {
			return err
		}
	}
	return nil
}

const bindingColumns = `SELECT id, cloud, scope, addr, port, server, project, fip, shared, valid_from, valid_to, known_at, end_known_at, source FROM binding`

func scanBinding(r *sql.Rows) (asset.Binding, error) {
	var b asset.Binding
	var addr []byte
	if err := r.Scan(&b.ID, &b.Cloud, &b.Scope, &addr, &b.Port, &b.Server, &b.Project, &b.FloatingIP, &b.Shared, &b.ValidFrom, &b.ValidTo, &b.KnownAt, &b.EndKnownAt, &b.Source); err != nil {
		return b, err
	}
	b.Addr, _ = netip.AddrFromSlice(addr)
	return b, nil
}

// BindingsAt lists who held an address at a time, in every scope; at 0 asks for now. Bindings of projects outside the
// reader's scope are left out.
func (d *DB) BindingsAt(ctx context.Context, s access.Scope, addr netip.Addr, at int64) ([]asset.Binding, error) {
	w := &where{}
	w.add("addr = ?", addr.Unmap().AsSlice())
	if at == 0 {
		w.conds = append(w.conds, "valid_to = 0")
	} else {
		w.add("valid_from <= ?", at)
		w.add("(valid_to = 0 OR valid_to > ?)", at)
	}
	w.scope(s, "project")
	var out []asset.Binding
	err := each(ctx, d.read, func(r *sql.Rows) error {
		b, err := scanBinding(r)
		out = append(out, b)
		return err
	}, bindingColumns+w.String()+` ORDER BY valid_from, id`, w.args...)
	if err != nil {
		return nil, fmt.Errorf("reading bindings of %s: %w", addr, err)
	}
	return out, nil
}
