// Package audit records what was done, in a log that shows tampering.
//
// The log is a Merkle tree as in RFC 6962: each entry is a leaf, and the head (size and root hash) commits
// to every entry and its place. Whoever changes, removes, inserts or moves an entry changes the root.
package audit

import (
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Entry is one thing that was done.
type Entry struct {
	Seq     int64           `json:"seq"`
	At      int64           `json:"at"`    // µs, policy clock
	Actor   string          `json:"actor"` // demarc, an operator's name, an owner's
	Kind    string          `json:"kind"`  // case.state, finding.state, mail.accepted, act.intended, …
	Case    string          `json:"case,omitempty"`
	Subject string          `json:"subject,omitempty"` // the finding, mail or act it is about
	Detail  json.RawMessage `json:"detail,omitempty"`
}

// Leaf is the entry's canonical bytes.
func (e Entry) Leaf() ([]byte, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("audit entry %d: %w", e.Seq, err)
	}
	return b, nil
}

// Hash is a hash of the tree.
type Hash = tlog.Hash

// Head commits to a log of Size entries.
type Head struct {
	Size int64 `json:"size"`
	Root Hash  `json:"root"`
}

// Hashes reads stored tree hashes by their index (tlog.StoredHashIndex).
type Hashes interface {
	ReadHashes(indexes []int64) ([]Hash, error)
}

// Append computes what storing the leaf as entry number seq adds: the hashes from index first on.
func Append(seq int64, leaf []byte, have Hashes) (first int64, add []Hash, err error) {
	add, err = tlog.StoredHashes(seq, leaf, have)
	if err != nil {
		return 0, nil, fmt.Errorf("audit entry %d: %w", seq, err)
	}
	return tlog.StoredHashIndex(0, seq), add, nil
}

// mostEntries is far beyond the entries of any log, and far below the sizes at which the arithmetic of the tree overflows.
const mostEntries = 1 << 48

// HeadOf computes the head of the first size entries. ErrUnproven: no log has that size, so that somebody else wrote it.
func HeadOf(size int64, have Hashes) (Head, error) {
	if size < 0 || size > mostEntries {
		return Head{}, fmt.Errorf("%w: no log has %d entries", ErrUnproven, size)
	}
	root, err := tlog.TreeHash(size, have)
	if err != nil {
		return Head{}, fmt.Errorf("audit head at %d: %w", size, err)
	}
	return Head{Size: size, Root: root}, nil
}

// A Problem is one way in which a log is not what it was.
type Problem struct {
	Seq  int64  `json:"seq"`
	What string `json:"what"`
}

// Stored is a log as found in a database: leaves in the order of their numbers, tree hashes by index, and the
// head that was stored with the last entry.
type Stored struct {
	Leaves []Leaf
	Hashes []Hash // in the order of their indexes
	Head   Head
	Known  []Head // heads kept outside the database, any order
}

// Leaf is one stored entry.
type Leaf struct {
	Seq  int64
	Case string // under which it is found; the entry itself must say the same
	Kind string // likewise
	Data []byte
}

// Verify rebuilds the tree from the leaves and holds it against everything that was stored. An intact log gives
// no problem.
func Verify(s Stored) []Problem {
	var out []Problem
	var tree memory
	for i, l := range s.Leaves {
		seq := int64(i)
		if l.Seq != seq {
			return append(out, Problem{seq, fmt.Sprintf("entry %d is missing; the next one is %d", seq, l.Seq)})
		}
		var e Entry
		if err := json.Unmarshal(l.Data, &e); err != nil || e.Seq != seq {
			out = append(out, Problem{seq, "the entry does not carry its own number"})
		} else if e.Case != l.Case {
			out = append(out, Problem{seq, "the entry is filed under another case than it names"})
		} else if e.Kind != l.Kind {
			out = append(out, Problem{seq, "the entry is filed under another kind than it names"})
		}
		first, add, err := Append(seq, l.Data, tree)
		if err != nil {
			return append(out, Problem{seq, err.Error()})
		}
		for j, h := range add {
			if at := first + int64(j); at >= int64(len(s.Hashes)) || s.Hashes[at] != h {
				out = append(out, Problem{seq, "the entry is not the one whose hash was stored"})
				break
			}
		}
		tree = append(tree, add...)
	}
	return append(out, verifyHeads(s, tree)...)
}

func verifyHeads(s Stored, tree memory) []Problem {
	var out []Problem
	size := int64(len(s.Leaves))
	if len(s.Hashes) != len(tree) {
		out = append(out, Problem{size, fmt.Sprintf("%d tree hashes are stored, %d entries make %d", len(s.Hashes), size, len(tree))})
	}
	for _, h := range append([]Head{s.Head}, s.Known...) {
		if h.Size > size {
			out = append(out, Problem{size, fmt.Sprintf("a head of %d entries was given out, the log has %d", h.Size, size)})
			continue
		}
		got, err := HeadOf(h.Size, tree)
		if err != nil {
			out = append(out, Problem{h.Size, err.Error()})
		} else if got.Root != h.Root {
			out = append(out, Problem{h.Size, fmt.Sprintf("the first %d entries are not those a head was given out for", h.Size)})
		}
	}
	if s.Head.Size != size {
		out = append(out, Problem{size, fmt.Sprintf("the stored head is for %d entries, the log has %d", s.Head.Size, size)})
	}
	return out
}

// memory is a tree held as its stored hashes.
type memory []Hash

func (m memory) ReadHashes(indexes []int64) ([]Hash, error) {
	out := make([]Hash, len(indexes))
	for i, x := range indexes {
		if x < 0 || x >= int64(len(m)) {
			return nil, fmt.Errorf("no tree hash %d", x)
		}
		out[i] = m[x]
	}
	return out, nil
}

// ErrUnproven says that what was read is not what the log commits to: rows were changed or lost. An error without it says nothing of the
// log, as when the database did not answer.
var ErrUnproven = errors.New("the audit log does not prove it")

// Proven checks that a leaf is entry number seq of the log that a head commits to, by the inclusion proof of RFC 6962, section 2.1.1.
// ErrUnproven: it is not. Any other error is that of reading the hashes.
func Proven(h Head, seq int64, leaf []byte, have Hashes) error {
	if seq < 0 || seq >= h.Size {
		return fmt.Errorf("%w: entry %d is not among the %d entries of the head", ErrUnproven, seq, h.Size)
	}
	proof, err := tlog.ProveRecord(h.Size, seq, have)
	if err != nil {
		return fmt.Errorf("entry %d: %w", seq, err)
	}
	if err := tlog.CheckRecord(proof, h.Size, h.Root, seq, tlog.RecordHash(leaf)); err != nil {
		return fmt.Errorf("%w: entry %d is not in the log: %w", ErrUnproven, seq, err)
	}
	return nil
}
