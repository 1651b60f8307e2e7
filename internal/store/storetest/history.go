package storetest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
)

// history: what was so at a time, and what we knew of it at another, are two questions. A file that is imported tells of the past,
// and is known from then on only. Every answer is held against a table that is kept beside the store.
func history(t *testing.T, e Engine) {
	x, rng := begin(t, e), rand.New(rand.NewPCG(7, 11))
	fip := netip.MustParseAddr("203.0.113.9")
	type reading struct {
		at, learnt int64
		port       asset.PortID
	}
	var past []reading
	at, now := int64(1), int64(1)
	for range 12 {
		now += 10 + rng.Int64N(30)
		imported := rng.IntN(2) == 0
		if imported {
			at += 1 + rng.Int64N(now-at) // of the past, and behind what is known
		} else {
			at = now
		}
		s := world(at)
		s.FloatingIPs[0].Port = []asset.PortID{"port-1", "port-2", ""}[rng.IntN(3)]
		x.commit(casework.Change{At: at, Inventory: &casework.Inventory{Snapshot: s, RealAt: now, Imported: imported}})
		past = append(past, reading{at, now, s.FloatingIPs[0].Port})
	}
	// then is who held the address at a time, by what was learnt until another.
	then := func(at, known int64) asset.PortID {
		var port asset.PortID
		for _, r := range past {
			if r.at <= at && r.learnt <= known {
				port = r.port
			}
		}
		return port
	}
	for range 400 {
		at, known := 1+rng.Int64N(400), 1+rng.Int64N(400)
		var got []asset.PortID
		bs, err := x.BindingsWithin(t.Context(), operator, fip, at, at, known)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range bs {
			got = append(got, b.Port)
			if b.KnownAt > known || b.EndKnownAt > known {
				t.Fatalf("at %d, known at %d: %+v", at, known, b)
			}
		}
		want := []asset.PortID{then(at, known)}
		if want[0] == "" {
			want = nil
		}
		if !slices.Equal(got, want) {
			t.Fatalf("at %d, known at %d: %v, want %v of %+v", at, known, got, want, past)
		}
	}
	window(t, x, fip)
}

// window: all who held an address within it, and since when a cloud is as it is.
func window(t *testing.T, x exam, fip netip.Addr) {
	const base = 1_000
	for i, port := range []asset.PortID{"port-1", "port-2", "port-2", ""} {
		s := world(0)
		s.FloatingIPs[0].Port = port
		x.walk(base+int64(i)*10, s)
	}
	for w, want := range map[[2]int64]string{{base + 1, base + 5}: "port-1 ", {base + 9, base + 10}: "port-1 port-2 ", {base + 10, base + 29}: "port-2 ", {base + 29, base + 30}: "port-2 ", {base + 30, base + 90}: "", {base, base + 90}: "port-1 port-2 "} {
		var got string
		bs, err := x.BindingsWithin(t.Context(), operator, fip, w[0], w[1], 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range bs {
			got += fmt.Sprint(b.Port, " ")
		}
		if got != want {
			t.Errorf("from %d to %d: %q, want %q", w[0], w[1], got, want)
		}
	}
	for at, want := range map[int64]int64{0: base + 30, base + 31: base + 30, base + 30: base + 30, base + 29: base + 10, base + 15: base + 10} {
		if since, err := x.StateSince(t.Context(), "cloud", at); err != nil || since != want {
			t.Errorf("at %d: since %d, %v, want %d", at, since, err, want)
		}
	}
	if since, err := x.StateSince(t.Context(), "another", 0); err != nil || since != 0 {
		t.Errorf("of another cloud: %d, %v", since, err)
	}
}
