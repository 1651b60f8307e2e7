package reach

import (
	"math/rand/v2"
	"slices"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/probe"
)

// A set that is brought up to date is the set that is made anew, and what it opens is what the two differ by.
func TestASetBroughtUpToDateIsTheSetMadeAnew(t *testing.T) {
	opened := 0
	for n := range 3000 {
		rng := rand.New(rand.NewPCG(7, uint64(n))) //nolint:gosec // a drawing, not a secret
		before := drawn(rng)
		after := copied(before)
		var changed []asset.Group
		var ids []asset.GroupID
		for i := range after.Groups {
			if g := &after.Groups[i]; rng.IntN(2) == 0 {
				if rng.IntN(3) == 0 && len(g.Rules) > 0 {
					g.Rules = slices.Delete(g.Rules, 0, 1)
				} else {
					g.Rules = append(g.Rules, drawRule(rng, "new", []string{"0.0.0.0/0", "198.51.100.2/32", "198.51.100.0/29"}, []string{"::/0", "2001:db8:f::2/128"}))
				}
				changed, ids = append(changed, *g), append(ids, g.ID)
			}
		}
		x := asset.NewIndex(before)
		old, want := Compute(x, bruteView), Compute(asset.NewIndex(after), bruteView)
		got := old.With(x.WithGroups(changed), ids)
		if g, w := slices.Collect(got.All()), slices.Collect(want.All()); !slices.EqualFunc(g, w, sameOpening) {
			t.Fatalf("drawing %d: brought up to date\n%+v\nmade anew\n%+v", n, g, w)
		}
		if got.Digest() != want.Digest() {
			t.Fatalf("drawing %d: the digests differ", n)
		}
		by, anew := Opened(old, got), Opened(old, want)
		if !slices.Equal(ordered(by), ordered(anew)) {
			t.Fatalf("drawing %d: opened %v, made anew %v", n, by, anew)
		}
		opened += len(by)
		for _, r := range by {
			e := probe.Endpoint{Addr: r.Addr, Proto: r.Proto, Port: r.First}
			if !want.Lookup(e).Scanner {
				t.Fatalf("drawing %d: %v was opened, and is not open", n, r)
			}
		}
		for _, a := range bruteTargets() {
			for _, port := range brutePorts {
				e := probe.Endpoint{Addr: a, Proto: probe.TCP, Port: port}
				is := slices.ContainsFunc(by, func(r Range) bool { return r.Addr == a && r.Proto == probe.TCP && r.First <= port && port <= r.Last })
				if now, was := want.Lookup(e).Scanner, old.Lookup(e).Scanner; now && !was && !is && !wideAt(want, e) {
					t.Fatalf("drawing %d: %v was opened, and not told", n, e)
				}
			}
		}
	}
	if opened < 500 {
		t.Errorf("only %d runs were opened: the drawing asks nothing", opened)
	}
}

// wideAt tells whether an address is that of an address pair which covers more: such are not asked.
func wideAt(s *Set, e probe.Endpoint) bool {
	return slices.ContainsFunc(s.At(e.Addr), func(o Opening) bool { return o.Prefix.IsValid() })
}

func ordered(rs []Range) []Range {
	rs = slices.Clone(rs)
	slices.SortFunc(rs, Range.compare)
	return slices.Compact(rs)
}

func sameOpening(a, b Opening) bool {
	return a.Addr == b.Addr && a.Prefix == b.Prefix && a.Port == b.Port && a.Proto == b.Proto && a.First == b.First && a.Last == b.Last && a.Scanner == b.Scanner && a.Zone == b.Zone &&
		a.Rule == b.Rule && a.State == b.State && slices.Equal(a.Why, b.Why) && slices.Equal(a.Doubts, b.Doubts)
}
