package store

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/finding"
	"demarc/internal/probe"
)

// FuzzHeads reads the file of the audit log's heads, and checks a log of two entries against them. Where they show nothing, each is one that
// was given out for this log.
func FuzzHeads(f *testing.F) {
	f.Add([]byte("\ufeff{\"size\":3,\"root\":\"AAAA\"}\r\n{\"size\":4,\"ro"))
	f.Add([]byte("{\"size\":-1}\n\n[]\nnull\n"))
	log := logOf(f, 2)
	given := []audit.Head{log.Head, logOf(f, 1).Head, logOf(f, 0).Head}
	for _, h := range given {
		line, err := json.Marshal(h)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		hs := headsIn(b)
		var again []byte
		for _, h := range hs {
			line, err := json.Marshal(h)
			if err != nil {
				t.Fatal(err)
			}
			again = append(append(again, line...), '\n')
		}
		if got := headsIn(again); !reflect.DeepEqual(got, hs) {
			t.Fatalf("%+v, then %+v", hs, got)
		}
		known := log
		known.Known = hs
		odd := slices.ContainsFunc(hs, func(h audit.Head) bool { return !slices.Contains(given, h) })
		if ps := audit.Verify(known); odd != (len(ps) > 0) {
			t.Fatalf("%+v: %+v", hs, ps)
		}
	})
}

// logOf is a log of some entries.
func logOf(f *testing.F, size int64) (s audit.Stored) {
	f.Helper()
	have := hashesOf(func() []audit.Hash { return s.Hashes })
	for seq := range size {
		leaf, err := audit.Entry{Seq: seq, Actor: "demarc", Kind: "mode"}.Leaf()
		if err != nil {
			f.Fatal(err)
		}
		_, add, err := audit.Append(seq, leaf, have)
		if err != nil {
			f.Fatal(err)
		}
		s.Leaves, s.Hashes = append(s.Leaves, audit.Leaf{Seq: seq, Kind: "mode", Data: leaf}), append(s.Hashes, add...)
	}
	var err error
	if s.Head, err = audit.HeadOf(size, have); err != nil {
		f.Fatal(err)
	}
	return s
}

// hashesOf reads the hashes that a function gives.
type hashesOf func() []audit.Hash

func (h hashesOf) ReadHashes(indexes []int64) ([]audit.Hash, error) {
	out := make([]audit.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = h()[x]
	}
	return out, nil
}

// FuzzSwitch reads the file of the pause switch. Enforcement runs only by a file that says so and nothing else.
func FuzzSwitch(f *testing.F) {
	f.Add(`{"enforcement":"running"}`)
	f.Add(`{"enforcement":"running"}}`)
	f.Add(`{"enforcement":"paused","pause":{"id":"a","by":"olga","why":"x","at":1,"recorded":true}}`)
	f.Add(`{"enforcement":"running","pause":null} ]`)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > switchSize {
			return
		}
		b := []byte(text + strings.Repeat(" ", switchSize-len(text)))
		is, err := stateIn(b)
		if err == nil && !json.Valid(b) {
			t.Fatalf("%q is read as %+v", text, is)
		}
		if err != nil || is.Enforcement != switchRunning {
			return
		}
		var v map[string]any
		if err := json.Unmarshal(b, &v); err != nil || is.Pause != nil || !slices.ContainsFunc(slices.Collect(maps.Values(v)), func(x any) bool { return x == switchRunning }) {
			t.Fatalf("%q is read as %+v", text, is)
		}
	})
}

// FuzzStored reads the bodies of rows as somebody who can write to the database might leave them. What is read is the same once it was
// written and read again, so that no edit hides behind a second reading.
func FuzzStored(f *testing.F) {
	f.Add([]byte(`{"id":"a","name":"\\u{202e}","metadata":{"demarc":"x"},"fixed_ips":[{"addr":"10.0.0.1"}]}`))
	f.Add([]byte(`{"id":"c","state":"queued","blocks":[{"condition":"mode"}],"notices":[{"step":"notice","accepted_at":1}]}`))
	f.Add([]byte(`{"prefixes":["10.0.0.0/8"],"size":1,"root":"","at":-1,"evidence":{"a":"\\x1b"}}`))
	f.Add([]byte(`null`))
	kinds := []string{"project", "user", "grant", "image", "server", "network", "subnet", "router", "port", "fip", "group", "address_set", "trunk", "load_balancer", "firewall", "link", "rbac", "default_rule"}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, kind := range kinds {
			var s asset.Snapshot
			switch err := addObject(&s, kind, body); {
			case err == nil:
				_ = asset.NewIndex(&s).Holders()
				sameObject(t, kind, s)
			case strings.Contains(err.Error(), "unknown kind"):
				t.Fatal(err)
			}
		}
		same[casework.Case](t, body)
		same[casework.Mail](t, body)
		same[casework.Act](t, body)
		same[casework.Anchor](t, body)
		same[casework.Clearing](t, body)
		same[finding.Finding](t, body)
		same[finding.Charge](t, body)
		same[probe.Facts](t, body)
		same[audit.Entry](t, body)
		same[audit.Head](t, body)
	})
}

// sameObject writes the one object of a snapshot as a row is written, and reads it again.
func sameObject(t *testing.T, kind string, s asset.Snapshot) {
	t.Helper()
	once := bodyOf(t, s)
	var again asset.Snapshot
	if err := addObject(&again, kind, once); err != nil {
		t.Fatalf("%s cannot be read again: %v\n%s", kind, err, once)
	}
	if twice := bodyOf(t, again); !bytes.Equal(once, twice) {
		t.Fatalf("%s: %s, then %s", kind, once, twice)
	}
}

// bodyOf is the body of the one object in a snapshot.
func bodyOf(t *testing.T, s asset.Snapshot) []byte {
	t.Helper()
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		if list := v.Field(i); list.Kind() == reflect.Slice && list.Len() == 1 {
			b, err := json.Marshal(list.Index(0).Interface())
			if err != nil {
				t.Fatalf("%T cannot be written again: %v", list.Index(0).Interface(), err)
			}
			return b
		}
	}
	t.Fatal("nothing was added")
	return nil
}

func same[T any](t *testing.T, body []byte) {
	t.Helper()
	v, err := decode[T]("a row", string(body))
	if err != nil {
		return
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("%T cannot be written again: %v", v, err)
	}
	again, err := decode[T]("a row", string(b))
	if err != nil {
		t.Fatalf("%T cannot be read again: %v", v, err)
	}
	c, err := json.Marshal(again)
	if err != nil || string(b) != string(c) {
		t.Fatalf("%T: %s, then %s", v, b, c)
	}
}
