package store_test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/store"
	"demarc/internal/store/storetest"
)

// atPlace is a database that remembers where it is.
type atPlace struct {
	*store.DB
	place string
}

// open opens the store of a folder: a file in it, or the database that stands for it.
func open(t *testing.T, dir string, opts ...store.Option) atPlace {
	t.Helper()
	place := filepath.Join(dir, "demarc ?#%.db")
	d, err := store.Open(t.Context(), place, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return atPlace{d, place}
}

func beside(t *testing.T, place string) *sql.DB {
	t.Helper()
	d, err := storetest.Beside(place)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func tables(t *testing.T, s storetest.Store) map[string]string {
	t.Helper()
	sums, err := storetest.Sums(t.Context(), s.(atPlace).place)
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

func TestSQLite(t *testing.T) {
	storetest.Run(t, storetest.Engine{
		Open:   func(t *testing.T, place string) storetest.Store { return open(t, place) },
		Tables: tables,
	})
}

// onServer skips a test where there is no server to examine; make db starts one.
func onServer(t *testing.T) {
	t.Helper()
	if storetest.Admin() == "" {
		t.Skip("needs a PostgreSQL server: make db")
	}
}

func TestPostgres(t *testing.T) {
	onServer(t)
	var mu sync.Mutex
	places := map[string]string{} // a folder stands for a database
	storetest.Run(t, storetest.Engine{
		Open: func(t *testing.T, dir string) storetest.Store {
			mu.Lock()
			place, ok := places[dir]
			mu.Unlock()
			if !ok {
				place = storetest.Fresh(t, "")
			}
			mu.Lock()
			places[dir] = place
			mu.Unlock()
			d, err := store.Open(t.Context(), place)
			if err != nil {
				t.Fatal(err)
			}
			return atPlace{d, place}
		},
		Tables: tables,
	})
}

// Every reading that takes a scope is in the exam.
func TestNoScopedReadingIsForgotten(t *testing.T) {
	var have []string
	for m := range reflect.TypeFor[*store.DB]().Methods() {
		for i := range m.Type.NumIn() {
			if m.Type.In(i) == reflect.TypeFor[access.Scope]() {
				have = append(have, m.Name)
			}
		}
	}
	slices.Sort(have)
	if !slices.Equal(have, storetest.Scoped) {
		t.Errorf("scoped readings %v, examined %v", have, storetest.Scoped)
	}
}

// A tenant's tally counts what is theirs.
func TestTallyKeepsToTheScope(t *testing.T) {
	d := open(t, t.TempDir())
	defer d.Close() //nolint:errcheck // the test is over
	c := casework.Change{At: 10, Inventory: &casework.Inventory{Snapshot: &asset.Snapshot{Cloud: "cloud", Ended: 9}}}
	for i := range 3 {
		p, s := asset.ProjectID(fmt.Sprint("p", i)), asset.ServerID(fmt.Sprint("s", i))
		k := casework.Case{ID: fmt.Sprint("case-", i), Cloud: "cloud", Server: s, Project: p, Party: duty.Customer, Track: casework.Vulnerability, State: casework.New}
		in := c.Inventory.Snapshot
		in.Servers = append(in.Servers, asset.Server{ID: s, Project: p})
		in.Ports = append(in.Ports, asset.Port{ID: asset.PortID(fmt.Sprint("port-", i)), Project: p, Server: s, FixedIPs: []asset.FixedIP{{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})}}})
		c.Cases = append(c.Cases, k)
		c.Findings = append(c.Findings, finding.Finding{ID: fmt.Sprint("finding-", i), Case: k.ID, Project: p, Key: finding.Key{Server: s}})
		c.Mails = append(c.Mails, casework.Mail{ID: fmt.Sprint("mail-", i), Case: k.ID, MessageID: fmt.Sprint("m", i), Status: casework.Waiting})
	}
	if err := d.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for n, s := range map[int]access.Scope{0: access.Tenant(), 1: access.Tenant("p1", "x"), 2: access.Tenant("p0", "p2"), 3: access.Operator()} {
		y, err := d.Tally(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if y.Machines != n || y.Cases != n || y.Live != n || y.Findings != n || y.Customer != n || y.Waiting != n {
			t.Errorf("a scope of %d: %+v", n, y)
		}
	}
}

func write(t *testing.T, d *store.DB, from, n int) {
	t.Helper()
	for i := range n {
		if err := d.Commit(t.Context(), casework.Change{At: int64(from + i + 1), Audit: []audit.Entry{{Actor: "olga", Kind: fmt.Sprint("kind-", from+i), Detail: json.RawMessage(`{"n":1}`)}}}); err != nil {
			t.Fatal(err)
		}
	}
}

func problems(t *testing.T, d *store.DB, heads store.HeadFile) []audit.Problem {
	t.Helper()
	log, err := d.AuditLog(t.Context())
	if err != nil {
		return []audit.Problem{{What: err.Error()}}
	}
	if log.Known, err = heads.Heads(); err != nil {
		t.Fatal(err)
	}
	return audit.Verify(log)
}

// Whoever writes into the log past the store is found.
func TestTamperingBySQLShows(t *testing.T) {
	ways := map[string]string{
		"edited":              `UPDATE audit SET leaf = CAST(replace(CAST(leaf AS TEXT), 'olga', 'otto') AS BLOB) WHERE seq = 3`,
		"edited, in time":     `UPDATE audit SET leaf = CAST(replace(CAST(leaf AS TEXT), '"at":4', '"at":5') AS BLOB) WHERE seq = 3`,
		"first deleted":       `DELETE FROM audit WHERE seq = 0`,
		"middle deleted":      `DELETE FROM audit WHERE seq = 4`,
		"last deleted":        `DELETE FROM audit WHERE seq = 8`,
		"all deleted":         `DELETE FROM audit`,
		"deleted, and closed": `DELETE FROM audit WHERE seq = 4; UPDATE audit SET seq = seq - 1 WHERE seq > 4`,
		"inserted at the end": `INSERT INTO audit (seq, leaf) SELECT 9, leaf FROM audit WHERE seq = 8`,
		"inserted between":    `UPDATE audit SET seq = -seq WHERE seq > 4; UPDATE audit SET seq = 1 - seq WHERE seq < 0; INSERT INTO audit (seq, leaf) SELECT 5, leaf FROM audit WHERE seq = 4`,
		"reordered":           `UPDATE audit SET seq = -1 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = -1`,
		"contents swapped":    `UPDATE audit SET leaf = (SELECT leaf FROM audit b WHERE b.seq = 5 - audit.seq) WHERE seq IN (2, 3)`,
		"filed elsewhere":     `UPDATE audit SET kase = 'another' WHERE seq = 3`,
		"a hash edited":       `UPDATE audit_hash SET hash = zeroblob(32) WHERE idx = 2`,
		"a hash deleted":      `DELETE FROM audit_hash WHERE idx = (SELECT max(idx) FROM audit_hash)`,
		"a hash cut short":    `UPDATE audit_hash SET hash = substr(hash, 1, 31) WHERE idx = 2`,
		"the head edited":     `UPDATE meta SET value = replace(value, '"size":9', '"size":8') WHERE key = 'audit_head'`,
		"the head deleted":    `DELETE FROM meta WHERE key = 'audit_head'`,
		"cut off with hashes": `DELETE FROM audit WHERE seq = 8; DELETE FROM audit_hash WHERE idx >= 16`,
		"everything emptied":  `DELETE FROM audit; DELETE FROM audit_hash; DELETE FROM meta WHERE key = 'audit_head'`,
	}
	for name, query := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			heads := store.HeadFile(filepath.Join(dir, "heads"))
			d := open(t, dir, store.WithHeads(heads))
			defer d.Close() //nolint:errcheck // the test is over
			write(t, d.DB, 0, 9)
			if p := problems(t, d.DB, heads); len(p) > 0 {
				t.Fatalf("before: %v", p)
			}
			x := beside(t, d.place)
			defer x.Close() //nolint:errcheck // the test is over
			if _, err := x.ExecContext(t.Context(), query); err != nil {
				t.Fatal(err)
			}
			if p := problems(t, d.DB, heads); len(p) == 0 {
				t.Error("not found")
			}
		})
	}
}

// A stored head of a size that no log has is found, proves nothing, and keeps nobody from writing what was found.
func TestAStoredHeadOfASizeThatNoLogHasShows(t *testing.T) {
	for _, size := range []string{"-1", "9223372036854775807"} {
		t.Run(size, func(t *testing.T) {
			t.Parallel()
			d := open(t, t.TempDir())
			defer d.Close() //nolint:errcheck // the test is over
			write(t, d.DB, 0, 9)
			x := beside(t, d.place)
			defer x.Close() //nolint:errcheck // the test is over
			if _, err := x.ExecContext(t.Context(), `UPDATE meta SET value = replace(value, '"size":9', '"size":`+size+`') WHERE key = 'audit_head'`); err != nil {
				t.Fatal(err)
			}
			if _, err := d.Witness(t.Context(), "c"); !errors.Is(err, audit.ErrUnproven) {
				t.Error(err)
			}
			if log, err := d.AuditLog(t.Context()); err != nil || len(audit.Verify(log)) == 0 {
				t.Errorf("not found: %v", err)
			}
			write(t, d.DB, 9, 1)
		})
	}
}

// An old copy of the file is whole in itself; the heads that were kept outside tell, also when it has grown on since.
func TestAnOldCopyShows(t *testing.T) {
	dir := t.TempDir()
	heads := store.HeadFile(filepath.Join(dir, "heads"))
	d := open(t, dir, store.WithHeads(heads))
	write(t, d.DB, 0, 5)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(d.place)
	if err != nil {
		t.Fatal(err)
	}
	d = open(t, dir, store.WithHeads(heads))
	write(t, d.DB, 5, 3)
	if p := problems(t, d.DB, heads); len(p) > 0 {
		t.Fatalf("before: %v", p)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.place, old, 0o600); err != nil {
		t.Fatal(err)
	}
	d = open(t, dir)
	defer d.Close() //nolint:errcheck // the test is over
	if log, err := d.AuditLog(t.Context()); err != nil || len(audit.Verify(log)) > 0 {
		t.Errorf("the copy is not whole in itself: %v", err)
	}
	if len(problems(t, d.DB, heads)) == 0 {
		t.Error("the old copy is not found")
	}
	write(t, d.DB, 100, 9)
	if len(problems(t, d.DB, heads)) == 0 {
		t.Error("the old copy is not found after it has grown")
	}
}

// A head that a crash cut off is no head, and the next one is.
func TestTheHeadFileOutlivesACrash(t *testing.T) {
	heads := store.HeadFile(filepath.Join(t.TempDir(), "heads"))
	if hs, err := heads.Heads(); err != nil || len(hs) != 0 {
		t.Errorf("no file: %v, %v", hs, err)
	}
	line := func(size int64) []byte {
		b, err := json.Marshal(audit.Head{Size: size})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if err := heads.Append(line(1)); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(string(heads))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(string(heads), append(b, line(2)[:20]...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := heads.Append(line(3)); err != nil {
		t.Fatal(err)
	}
	hs, err := heads.Heads()
	if err != nil || len(hs) != 2 || hs[0].Size != 1 || hs[1].Size != 3 {
		t.Errorf("%v, %v", hs, err)
	}
}
