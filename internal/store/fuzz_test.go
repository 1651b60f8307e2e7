package store

import (
	"encoding/json"
	"reflect"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/finding"
	"demarc/internal/probe"
)

// FuzzHeads reads the file of the audit log's heads.
func FuzzHeads(f *testing.F) {
	f.Add([]byte("\ufeff{\"size\":3,\"root\":\"AAAA\"}\r\n{\"size\":4,\"ro"))
	f.Add([]byte("{\"size\":-1}\n\n[]\nnull\n"))
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
	})
}

// FuzzStored reads the bodies of rows as somebody who can write to the database might leave them. What is read is the same once it was
// written and read again, so that no edit hides behind a second reading.
func FuzzStored(f *testing.F) {
	f.Add([]byte(`{"id":"a","name":"\\u{202e}","metadata":{"demarc":"x"},"fixed_ips":[{"addr":"10.0.0.1"}]}`))
	f.Add([]byte(`{"id":"c","state":"queued","blocks":[{"condition":"mode"}],"notices":[{"step":"notice","accepted_at":1}]}`))
	f.Add([]byte(`{"prefixes":["10.0.0.0/8"],"size":1,"root":"","at":-1,"evidence":{"a":"\\x1b"}}`))
	f.Add([]byte(`null`))
	kinds := []string{"project", "user", "grant", "image", "server", "network", "subnet", "router", "port", "floating_ip", "group", "address_set", "trunk", "load_balancer", "firewall", "link", "rbac", "default_rule", "nothing"}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, kind := range kinds {
			var s asset.Snapshot
			if err := addObject(&s, kind, body); err == nil {
				_ = asset.NewIndex(&s).Holders()
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
