// Package lines writes what a cloud holds as lines of JSON, and reads them back.
//
// The first line says what the file is, each further line is one object, and the last says that nothing is missing behind it. Two
// files of the same state are the same bytes: kinds stand in the order of Kinds, objects of a kind in that of their ids. Each rule
// of a group has a line of its own, so that a comparison of two files shows the rule that changed. docs/inventory.md describes it.
package lines

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"demarc/internal/asset"
	"demarc/internal/fault"
	"demarc/internal/untrusted"
)

// What the first line says.
const (
	Format  = "demarc-inventory"
	Version = 1
)

// What a file may have at most; more is refused while it is read, and never written.
const (
	MaxLine    = 1 << 20 // bytes of one line
	MaxObjects = 5_000_000
	MaxBytes   = 2 << 30 // of a file
)

// header is the first line. Time is since when the cloud has been as the file says, as far as is known; Complete is false when the
// cloud was never read to its end, so that what is not in the file may be there all the same.
type header struct {
	Format   string `json:"format"`
	Version  int    `json:"version"`
	Cloud    string `json:"cloud"`
	Time     string `json:"time"` // RFC 3339, UTC
	Complete bool   `json:"complete"`
	People   bool   `json:"people"` // whether users, their roles and what they wrote about machines is in the file
}

// line is every line but the first. The last has the kind end, and nothing else.
type line struct {
	Kind string          `json:"kind"`
	Body json.RawMessage `json:"body,omitempty"`
}

const end = "end"

// Write writes a snapshot, which must not have been indexed: the index gives ports to machines and takes them away. Its Ended is
// the time of the file. Without people there are no users, no roles, no creators, no reasons of a lock, and of a machine's metadata
// only what is said to Demarc. What a reader would refuse is left out, which the result tells by kind and id; the file then does not say
// that it is complete.
func Write(w io.Writer, s *asset.Snapshot, people bool) (left []asset.Gap, err error) {
	if !people {
		s = withoutPeople(s)
	}
	all, left, err := itemsOf(s)
	if err != nil {
		return nil, err
	}
	out := bufio.NewWriter(w)
	h := header{Format, Version, s.Cloud, time.UnixMicro(s.Ended).UTC().Format(time.RFC3339Nano), s.Complete() && whole(s) && len(left) == 0, people}
	if f := h.check(); f != nil {
		return nil, fmt.Errorf("writing the inventory: %w", f)
	}
	if err := put(out, h); err != nil {
		return nil, err
	}
	for i, k := range kinds {
		for _, it := range all[i] {
			if err := put(out, line{k.name, it.body}); err != nil {
				return nil, err
			}
		}
	}
	if err := put(out, line{Kind: end}); err != nil {
		return nil, err
	}
	return left, out.Flush()
}

// itemsOf lists the objects of every kind in the order of a file, and what is left out of it. All are there before the first line is
// written, for that says whether anything is missing.
func itemsOf(s *asset.Snapshot) (all [][]item, left []asset.Gap, err error) {
	total := 0
	for _, k := range kinds {
		items, odds, err := k.list(s)
		if err != nil {
			return nil, nil, fmt.Errorf("writing the inventory: %s: %w", k.name, err)
		}
		if total += len(items); total > MaxObjects {
			return nil, nil, fault.New(fault.CannotLook, "the cloud holds more than %d objects", MaxObjects).Hinted("a file of this format can not hold more")
		}
		slices.SortFunc(items, func(a, b item) int { return cmp.Compare(a.key, b.key) })
		for i := range items[:max(len(items), 1)-1] {
			if items[i].key == items[i+1].key {
				return nil, nil, fmt.Errorf("writing the inventory: %s %s is there twice", k.name, items[i].key)
			}
		}
		all, left = append(all, items), append(left, gaps(k.name, odds)...)
	}
	return all, left, nil
}

// whole tells whether what trunks name is there. A cloud that changed while it was read may show a trunk before its ports; a file that
// says that nothing is missing would then be refused.
func whole(s *asset.Snapshot) bool {
	if len(s.Trunks) == 0 {
		return true
	}
	ports := make(map[asset.PortID]bool, len(s.Ports))
	for i := range s.Ports {
		ports[s.Ports[i].ID] = true
	}
	return !slices.ContainsFunc(s.Trunks, func(t asset.Trunk) bool {
		_, _, found := dangling(&t, func(id asset.PortID) bool { return ports[id] })
		return found
	})
}

// put writes one line, which is of an object that a reader takes.
func put(w io.Writer, v any) error {
	b, err := encode(v)
	if err != nil {
		return fmt.Errorf("writing the inventory: %w", err)
	}
	if len(b) > MaxLine {
		return fault.New(fault.CannotLook, "an object of the inventory has %d bytes", len(b)).Hinted("a line of this format holds at most %d", MaxLine)
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// encode leaves <, > and & as they are: the file is no web page, and a person reads it.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return untrusted.JSON(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), err
}

// saidToUs begins the keys of metadata by which an owner tells Demarc something.
const saidToUs = "demarc"

// withoutPeople leaves out who people are and what they wrote about their machines.
func withoutPeople(s *asset.Snapshot) *asset.Snapshot {
	out := *s
	out.Users, out.Grants = nil, nil
	out.Servers = slices.Clone(s.Servers)
	for i := range out.Servers {
		v := &out.Servers[i]
		v.Creator, v.LockedReason = "", asset.Server{}.LockedReason
		v.Metadata = maps.Clone(v.Metadata)
		for k := range v.Metadata {
			if !strings.HasPrefix(k, saidToUs) {
				delete(v.Metadata, k)
			}
		}
	}
	return &out
}

// check tells what a first line may not say.
func (h header) check() *fault.Fault {
	switch {
	case h.Format != Format:
		return fault.New(fault.Config, "this is no inventory").Hinted(`its first line begins {"format":%q}; demarc inventory export writes one`, Format)
	case h.Version != Version:
		return fault.New(fault.Config, "the inventory has version %d of its format", h.Version).Hinted("this release reads version %d", Version)
	case !isID(h.Cloud):
		return fault.New(fault.Config, "the inventory names no cloud").Hinted("a short name without spaces")
	}
	return nil
}
