package policy

import (
	"strings"
	"testing"
	"time"
)

func TestDigestsAreSentAtTheTimesOfThePolicy(t *testing.T) {
	t.Parallel()
	at := func(zone, when string) int64 {
		l, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		tm, err := time.ParseInLocation("2006-01-02 15:04", when, l)
		if err != nil {
			t.Fatal(err)
		}
		return tm.UnixMicro()
	}
	for _, c := range []struct{ zone, class, after, want string }{
		{"UTC", "C", "2026-11-30 08:59", "2026-11-30 09:00"},
		{"UTC", "C", "2026-11-30 09:00", "2026-12-01 09:00"}, // its digest is under way
		{"UTC", "H", "2026-12-05 12:00", "2026-12-06 09:00"}, // a Saturday
		{"UTC", "M", "2026-12-01 12:00", "2026-12-07 09:00"},
		{"UTC", "M", "2026-12-07 08:00", "2026-12-07 09:00"},
		{"UTC", "L", "2026-12-01 09:00", "2027-01-01 09:00"},
		{"UTC", "L", "2026-12-31 23:59", "2027-01-01 09:00"},
		{"Europe/Berlin", "U", "2026-03-28 10:00", "2026-03-29 09:00"}, // 23 hours later
		{"Asia/Kathmandu", "B", "2026-06-01 08:59", "2026-06-01 09:00"},
	} {
		p, err := Parse("own.yaml", []byte(strings.Replace(string(defaultPolicy), "time_zone: UTC", "time_zone: "+c.zone, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := p.NextDigest(p.NoticeOf(c.class), at(c.zone, c.after)), at(c.zone, c.want); got != want {
			t.Errorf("%s in %s after %s: %s, want %s", c.class, c.zone, c.after, time.UnixMicro(got).UTC(), time.UnixMicro(want).UTC())
		}
	}
	d, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	if got := d.NextDigest(d.NoticeOf("E"), at("UTC", "2026-12-01 12:00")); got != 0 {
		t.Errorf("class E waits until %s", time.UnixMicro(got).UTC())
	}
}

// A policy that was written before there were digests has those of the default policy.
func TestAPolicyThatSaysNothingOfDigests(t *testing.T) {
	t.Parallel()
	var lines []string
	for _, l := range strings.Split(string(defaultPolicy), "\n") {
		if l, _, _ = strings.Cut(l, ", notice: "); strings.HasPrefix(l, "digests:") {
			continue
		} else if strings.HasPrefix(l, "  ") && strings.Contains(l, "{internet: ") && !strings.Contains(l, "}") {
			l += "}"
		}
		lines = append(lines, l)
	}
	own, err := Parse("own.yaml", []byte(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	d, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range ClassNames {
		if own.Classes[c].Notice != "" || own.NoticeOf(c) != d.NoticeOf(c) {
			t.Errorf("class %s: %q, by default %q", c, own.NoticeOf(c), d.NoticeOf(c))
		}
	}
	if own.Digests != d.Digests {
		t.Errorf("%+v, by default %+v", own.Digests, d.Digests)
	}
}
