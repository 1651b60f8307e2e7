package main

import (
	"bytes"
	"testing"
	"time"

	"demarc/internal/audit"
	"demarc/internal/fault"
)

// FuzzTime reads a time that a user wrote, in zones that turn their clocks in different ways. Each instant shows what was written.
func FuzzTime(f *testing.F) {
	for _, s := range []string{"2026-10-25 02:30", "2026-03-29 02:30", "2026-05-04T02:14:00+01:00", "2026-11-01", "1970-01-01T00:00:00Z", "9999-12-31 23:59:59.999999999", "2011-12-30"} {
		f.Add(s, uint8(1))
	}
	zones := []string{"UTC", "Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Pacific/Apia", "America/New_York", "Africa/Casablanca", "Asia/Kathmandu"}
	f.Fuzz(func(t *testing.T, s string, zone uint8) {
		r := &reading{zone: zones[int(zone)%len(zones)]}
		ts, err := r.instants(s)
		if err != nil {
			if !fault.Is(err, fault.Usage) || ts != nil {
				t.Fatalf("%v, %#v", ts, err)
			}
			return
		}
		if len(ts) == 0 || len(ts) > 2 || len(ts) == 2 && ts[0] >= ts[1] {
			t.Fatalf("%q: %v", s, ts)
		}
		l, err := r.location()
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range ts {
			shown := time.UnixMicro(int64(at)).In(l).Format("2006-01-02 15:04")
			if wrote, err := time.Parse("2006-01-02 15:04", s); err == nil && shown != wrote.Format("2006-01-02 15:04") {
				t.Fatalf("%q in %s is %s", s, l, shown)
			}
		}
		if len(ts) == 2 {
			a, b := time.UnixMicro(int64(ts[0])).In(l), time.UnixMicro(int64(ts[1])).In(l)
			if a.Format(time.DateTime) != b.Format(time.DateTime) {
				t.Fatalf("%q: %s and %s", s, a, b)
			}
		}
	})
}

// FuzzHeadsFile reads the heads that a user names.
func FuzzHeadsFile(f *testing.F) {
	f.Add([]byte("\ufeff{\"size\":3,\"root\":\"x\"}\n{\"size\":"))
	f.Add([]byte("{}\n\x00\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		hs, err := headsIn("heads", b)
		if err != nil {
			if f, ok := fault.Of(err); !ok || hs != nil || f.Code != fault.CannotLook || f.At.Line < 1 || f.At.Line > 1+bytes.Count(b, []byte("\n")) {
				t.Fatalf("%v, %#v", hs, err)
			}
			return
		}
		for _, h := range hs {
			known := audit.Stored{Known: []audit.Head{h}}
			if known.Head, err = audit.HeadOf(0, nil); err != nil {
				t.Fatal(err)
			}
			if ps := audit.Verify(known); (h == known.Head) != (len(ps) == 0) {
				t.Fatalf("an empty log against %+v: %v", h, ps)
			}
		}
	})
}
