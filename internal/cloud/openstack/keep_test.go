package openstack_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/cloud"
	"demarc/internal/cloud/openstack"
	"demarc/internal/lab"
	"demarc/internal/store"
)

// asked counts the requests for listings, by their whole address.
type asked struct {
	mu   sync.Mutex
	seen map[string]int
}

func (a *asked) around(next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		a.mu.Lock()
		if a.seen == nil {
			a.seen = map[string]int{}
		}
		if r.Context().Err() == nil && (r.URL.Query().Has("limit") || strings.HasSuffix(r.URL.Path, "s") && !strings.HasSuffix(r.URL.Path, "/tokens")) {
			a.seen[r.URL.RequestURI()]++
		}
		a.mu.Unlock()
		return next.RoundTrip(r)
	})
}

// mortal is a store that dies after so many pages were kept.
type mortal struct {
	cloud.Pages
	left int
	die  context.CancelFunc
}

func (m *mortal) KeepPage(ctx context.Context, p asset.Page) error {
	if m.left--; m.left < 0 {
		return errors.New("it is dead")
	}
	err := m.Pages.KeepPage(ctx, p)
	if m.left == 0 {
		m.die()
	}
	return err
}

// walk is one life of a reader with a store of its own: it ends after some pages (0: it lives).
func (b bundle) walk(t *testing.T, place string, pages int, now func() int64, a *asked) (*asset.Snapshot, error) {
	t.Helper()
	db, err := store.Open(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	conf := openstack.Config{Cloud: "lab", AuthURL: b.AuthURL(), Username: lab.DemoUser, Password: lab.DemoPassword, Project: lab.DemoProject, Region: b.Region(), PageSize: 4, Retries: -1, Around: a.around, Pages: db}
	if pages > 0 {
		conf.Pages = &mortal{db, pages, cancel}
	}
	c, err := openstack.Connect(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.Snapshot(ctx, now)
}

// Wherever a walk is cut, the next goes on behind the last page: it asks for no page twice, and sees what one walk would have seen.
func TestAWalkThatWasCutGoesOn(t *testing.T) {
	b := everything(t)
	at := time.Now().UnixMicro()
	clock := func() int64 { at++; return at }
	var once asked
	truth, err := b.walk(t, filepath.Join(t.TempDir(), "db"), 0, clock, &once)
	if err != nil || !truth.Complete() || len(once.seen) < 40 {
		t.Fatal(err, truth.Gaps, len(once.seen))
	}
	for cut := 1; ; cut++ {
		place := filepath.Join(t.TempDir(), "db")
		var a asked
		began := at + 1
		if _, err := b.walk(t, place, cut, clock, &a); err == nil {
			if cut < 40 {
				t.Errorf("a walk has only %d pages", cut)
			}
			return
		}
		s, err := b.walk(t, place, 0, clock, &a)
		if err != nil {
			t.Fatalf("cut after %d pages: %v", cut, err)
		}
		if s.Began != began || s.Ended <= s.Began || s.NovaClock == 0 {
			t.Errorf("cut after %d pages: it began at %d and not at %d", cut, s.Began, began)
		}
		s.Began, s.Ended, s.NovaClock = truth.Began, truth.Ended, truth.NovaClock
		if !reflect.DeepEqual(s, truth) {
			t.Errorf("cut after %d pages: %s, gaps %v\n got %+v\nwant %+v", cut, counts(s), s.Gaps, s, truth)
		}
		for _, url := range slices.Sorted(maps.Keys(once.seen)) {
			if a.seen[url] != 1 {
				t.Errorf("cut after %d pages: %s was asked for %d times", cut, url, a.seen[url])
			}
		}
	}
}

// firstListing is what a walk asks for first.
const firstListing = "/identity/v3/role_assignments?effective=true&include_names=true"

// A walk that was cut too long ago, or by another account, or whose time lies ahead, is forgotten; a commit forgets it too.
func TestAnOldWalkIsForgotten(t *testing.T) {
	b := setup(t)
	at := time.Now().UnixMicro()
	clock := func() int64 { return at }
	for name, tc := range map[string]struct {
		later time.Duration
		on    bool
	}{"at once": {0, true}, "in time": {15 * time.Minute, true}, "too late": {15*time.Minute + time.Microsecond, false}, "before it was": {-time.Second, false}} {
		place := filepath.Join(t.TempDir(), "db")
		var a asked
		began := at
		_, _ = b.walk(t, place, 9, clock, &a)
		at += tc.later.Microseconds()
		s, err := b.walk(t, place, 0, clock, &a)
		if err != nil || !s.Complete() || counts(s) != whole {
			t.Fatalf("%s: %v, %s", name, err, counts(s))
		}
		if (s.Began == began && tc.later != 0 || a.seen[firstListing] == 1) != tc.on || !tc.on && s.Began != at {
			t.Errorf("%s: it began at %d (now %d, first %d), grants were asked for %d times", name, s.Began, at, began, a.seen[firstListing])
		}
	}
	place := filepath.Join(t.TempDir(), "db")
	var a asked
	_, _ = b.walk(t, place, 9, clock, &a)
	db, err := store.Open(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	auditor, err := openstack.Connect(t.Context(), openstack.Config{Cloud: "lab", AuthURL: b.AuthURL(), Username: "auditor", Password: lab.DemoPassword, Project: lab.DemoProject, Region: b.Region(), Around: a.around, Pages: db})
	if err != nil {
		t.Fatal(err)
	}
	defer auditor.Close()
	if s, err := auditor.Snapshot(t.Context(), clock); err != nil || a.seen[firstListing] != 2 || s.Complete() {
		t.Errorf("another account goes on with it: %v, %d", err, a.seen[firstListing])
	}
	if err := db.Commit(t.Context(), casework.Change{At: 1, Inventory: &casework.Inventory{Snapshot: b.snap(t), RealAt: 1}}); err != nil {
		t.Fatal(err)
	}
	if _, kept, err := db.LastPage(t.Context(), "lab"); kept || err != nil {
		t.Errorf("a walk outlives its snapshot: %v", err)
	}
}

// Between the two halves of a walk the cloud goes on. What then does not fit together is a gap or is asked for, nothing that is there is
// ever removed, and the next whole reading is right.
func TestACloudThatMovesBetweenTheHalves(t *testing.T) {
	var once asked
	if _, err := setup(t).walk(t, filepath.Join(t.TempDir(), "db"), 0, now, &once); err != nil {
		t.Fatal(err)
	}
	for cut := 1; cut < len(once.seen); cut += 3 {
		b, l := setup(t), newLedger(t)
		l.merge(b.snap(t))
		place := filepath.Join(t.TempDir(), "db")
		_, _ = b.walk(t, place, cut, now, &asked{})
		for _, err := range []error{b.DeleteServer("cache-2"), b.StopServer("legacy-db"), b.MoveFloatingIP(b.At(netip.MustParseAddr("127.77.1.60")), "mover-2"),
			b.BootServer(lab.Server{Name: "late", Project: "astro", NICs: []lab.NIC{{Network: "astro-net", Addr: netip.MustParseAddr("10.0.0.222")}}})} {
			if err != nil {
				t.Fatal(err)
			}
		}
		s, err := b.walk(t, place, 0, now, &asked{})
		if err != nil {
			t.Fatal(err)
		}
		l.merge(s)
		truth := b.snap(t)
		missing := func() (out []string) {
			known := ids(l.known())
			for id := range ids(truth) {
				if !known[id] {
					out = append(out, id)
				}
			}
			return out
		}
		if before := ids(l.known()); !before[b.ServerID("legacy-db")] || !before[b.ServerID("cache-1")] {
			t.Errorf("cut after %d pages: something that is there was removed", cut)
		}
		l.merge(truth)
		if m := missing(); len(m) > 0 {
			t.Errorf("cut after %d pages: %v is not known", cut, m)
		}
		l.merge(b.snap(t))
		l.merge(b.snap(t))
		if got, want := counts(l.known()), counts(truth); got != want {
			t.Errorf("cut after %d pages: %s is known, %s is there", cut, got, want)
		}
	}
}

// No secret is kept on the way: what a page holds is what we take of its rows.
func TestPagesHoldNoSecret(t *testing.T) {
	b := everything(t)
	place := filepath.Join(t.TempDir(), "db")
	if _, err := b.walk(t, place, 0, now, &asked{}); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range []string{place, place + "-wal"} {
		body, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		n += bytes.Count(body, []byte("vpn-service"))
		if bytes.Contains(body, []byte("hunter2")) {
			t.Errorf("%s holds a shared secret", file)
		}
	}
	if n == 0 {
		t.Error("the walk was kept nowhere")
	}
}
