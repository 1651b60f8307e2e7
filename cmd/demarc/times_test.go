package main

import (
	"strings"
	"testing"
	"time"

	"demarc/internal/fault"
)

// A wall-clock time has no, one or two instants, and all of them are known.
func TestWallClockTimes(t *testing.T) {
	t.Parallel()
	for in, c := range map[[2]string]string{
		{"2026-05-04T02:14:00+01:00", "Europe/Berlin"}: "2026-05-04T01:14:00Z",
		{"2026-05-04 02:14+01:00", "Europe/Berlin"}:    "2026-05-04T01:14:00Z",
		{"2026-05-04 02:14:05Z", "Europe/Berlin"}:      "2026-05-04T02:14:05Z",
		{"2026-05-04 02:14", "Europe/Berlin"}:          "2026-05-04T00:14:00Z",
		{"2026-05-04T02:14", "Europe/Berlin"}:          "2026-05-04T00:14:00Z",
		{"2026-10-25 02:30", "Europe/Berlin"}:          "2026-10-25T00:30:00Z 2026-10-25T01:30:00Z",
		{"2026-10-25 02:00:00", "Europe/Berlin"}:       "2026-10-25T00:00:00Z 2026-10-25T01:00:00Z",
		{"2026-10-25 02:59:59.5", "Europe/Berlin"}:     "2026-10-25T00:59:59.5Z 2026-10-25T01:59:59.5Z",
		{"2026-10-25 03:00", "Europe/Berlin"}:          "2026-10-25T02:00:00Z",
		{"2026-10-25T02:30+02:00", "Europe/Berlin"}:    "2026-10-25T00:30:00Z",
		{"2026-03-29 02:30", "Europe/Berlin"}:          "",
		{"2026-03-29 02:00", "Europe/Berlin"}:          "",
		{"2026-03-29 03:00", "Europe/Berlin"}:          "2026-03-29T01:00:00Z",
		{"2026-04-05 01:45", "Australia/Lord_Howe"}:    "2026-04-04T14:45:00Z 2026-04-04T15:15:00Z", // by half an hour
		{"2026-03-08 02:30", "America/New_York"}:       "",
		{"2026-11-01 01:30", "America/New_York"}:       "2026-11-01T05:30:00Z 2026-11-01T06:30:00Z",
		{"2026-11-01", "America/Havana"}:               "2026-11-01T04:00:00Z", // midnight is twice, and the day begins with the first
		{"2026-03-08", "America/Havana"}:               "2026-03-08T05:00:00Z", // there is no midnight
		{"2026-03-08 00:30", "America/Havana"}:         "",
		{"2011-12-30 12:00", "Pacific/Apia"}:           "", // the whole day was left out
		{"2026-05-04", "Pacific/Kiritimati"}:           "2026-05-03T10:00:00Z",
		{"2026-05-04 02:14", "UTC"}:                    "2026-05-04T02:14:00Z",
	} {
		r := &reading{zone: in[1]}
		ts, err := r.instants(in[0])
		var got []string
		for _, m := range ts {
			got = append(got, time.UnixMicro(int64(m)).UTC().Format(time.RFC3339Nano))
		}
		if s := strings.Join(got, " "); s != c || (err != nil) != (c == "") {
			t.Errorf("%s in %s: %s, %v; want %s", in[0], in[1], s, err, c)
		}
		one, err := r.parseTime(in[0])
		if (err == nil) != (len(ts) == 1) || err == nil && one != ts[0] {
			t.Errorf("%s in %s as one instant: %d, %v", in[0], in[1], one, err)
		}
		if len(ts) == 2 && !strings.Contains(err.Error(), got[0][:19]) {
			t.Errorf("%s in %s: %v does not name %s", in[0], in[1], err, got[0])
		}
	}
	for _, s := range []string{"now", "2026-13-01", "2026-05-04 25:00", "12026-01-01", "1960-01-01", "2026-05-04 02:14 CEST", "9999-12-31T23:59:59-01:00"} {
		if ts, err := (&reading{zone: "Europe/Berlin"}).instants(s); !fault.Is(err, fault.Usage) {
			t.Errorf("%s: %v, %v", s, ts, err)
		}
	}
}
