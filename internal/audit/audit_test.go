package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
)

func log(t *testing.T, n int) Stored {
	t.Helper()
	var s Stored
	for i := range n {
		e := Entry{Seq: int64(i), At: int64(i) * 1000, Actor: "demarc", Kind: "case.state", Case: fmt.Sprint("case-", i%3), Detail: json.RawMessage(`{"to":"notified"}`)}
		leaf, err := e.Leaf()
		if err != nil {
			t.Fatal(err)
		}
		_, add, err := Append(e.Seq, leaf, memory(s.Hashes))
		if err != nil {
			t.Fatal(err)
		}
		s.Leaves = append(s.Leaves, Leaf{e.Seq, e.Case, e.Kind, leaf})
		s.Hashes = append(s.Hashes, add...)
	}
	var err error
	if s.Head, err = HeadOf(int64(n), memory(s.Hashes)); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAnIntactLogVerifies(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 7, 8, 33} {
		if p := Verify(log(t, n)); len(p) != 0 {
			t.Errorf("%d entries: %v", n, p)
		}
	}
}

// Every way of tampering, at every entry, by somebody who can write the entries and not the tree.
func TestTamperingShows(t *testing.T) {
	const n = 21
	renumber := func(ls []Leaf) []Leaf {
		for i := range ls {
			var e Entry
			if err := json.Unmarshal(ls[i].Data, &e); err != nil {
				t.Fatal(err)
			}
			e.Seq = int64(i)
			ls[i].Seq = e.Seq
			ls[i].Data, _ = e.Leaf()
		}
		return ls
	}
	ways := map[string]func(Stored, int) Stored{
		"edited":  func(s Stored, i int) Stored { s.Leaves[i].Data = []byte(string(s.Leaves[i].Data) + " "); return s },
		"deleted": func(s Stored, i int) Stored { s.Leaves = slices.Delete(s.Leaves, i, i+1); return s },
		"deleted and renumbered": func(s Stored, i int) Stored {
			s.Leaves = renumber(slices.Delete(s.Leaves, i, i+1))
			return s
		},
		"inserted": func(s Stored, i int) Stored {
			s.Leaves = renumber(slices.Insert(s.Leaves, i, s.Leaves[(i+1)%n]))
			return s
		},
		"reordered": func(s Stored, i int) Stored {
			j := (i + 1) % n
			s.Leaves[i].Data, s.Leaves[j].Data = s.Leaves[j].Data, s.Leaves[i].Data
			return s
		},
		"filed elsewhere": func(s Stored, i int) Stored { s.Leaves[i].Case = "another"; return s },
		"truncated":       func(s Stored, i int) Stored { s.Leaves = s.Leaves[:i]; return s },
	}
	for name, way := range ways {
		for i := range n {
			if p := Verify(way(log(t, n), i)); len(p) == 0 {
				t.Errorf("entry %d %s: nothing found", i, name)
			}
		}
	}
}

// A head of a size that no log has would take the arithmetic of the tree beyond its bounds.
func TestAHeadOfASizeThatNoLogHasIsAProblem(t *testing.T) {
	for _, size := range []int64{-1, math.MinInt64, math.MaxInt64, mostEntries + 1} {
		if _, err := HeadOf(size, memory(nil)); !errors.Is(err, ErrUnproven) {
			t.Errorf("%d: %v", size, err)
		}
		s := log(t, 3)
		s.Known = []Head{{Size: size}}
		if p := Verify(s); len(p) == 0 {
			t.Errorf("a kept head of %d entries: nothing found", size)
		}
		s = log(t, 3)
		s.Head.Size = size
		if p := Verify(s); len(p) == 0 {
			t.Errorf("a stored head of %d entries: nothing found", size)
		}
	}
}

// Somebody who rewrites the whole database is caught by a head kept elsewhere.
func TestARewrittenLogIsCaughtByAHeadKeptOutside(t *testing.T) {
	old := log(t, 12)
	for _, n := range []int{9, 12, 15} {
		s := log(t, n)
		s.Leaves[2].Case, s.Leaves[2].Kind, s.Leaves[2].Data = "", "other", []byte(`{"seq":2,"kind":"other"}`)
		s.Hashes = nil
		for _, l := range s.Leaves {
			_, add, err := Append(l.Seq, l.Data, memory(s.Hashes))
			if err != nil {
				t.Fatal(err)
			}
			s.Hashes = append(s.Hashes, add...)
		}
		s.Head, _ = HeadOf(int64(n), memory(s.Hashes))
		if p := Verify(s); len(p) != 0 {
			t.Fatalf("a perfect forgery of %d must pass from within: %v", n, p)
		}
		s.Known = []Head{old.Head}
		if p := Verify(s); len(p) == 0 {
			t.Errorf("a forgery of %d entries passes against a head of 12", n)
		}
	}
}
