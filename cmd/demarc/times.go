package main

import (
	"slices"
	"time"

	"demarc/internal/fault"
)

// Layouts of a time with an offset, beside RFC 3339, and of one without.
var (
	withOffset = []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04Z07:00"}
	wallClock  = []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04"}
)

// instants reads a time that a user wrote: with an offset, or as a clock on a wall shows it in the zone that times are shown in. A
// wall-clock time has two instants where the clock was set back, and none where it was set forward, which is refused. A date is its first
// instant in that zone. Nothing is 0: now.
func (r *reading) instants(s string) ([]moment, error) {
	if s == "" {
		return []moment{0}, nil
	}
	for _, layout := range withOffset {
		if t, err := time.Parse(layout, s); err == nil {
			return inRange(s, t)
		}
	}
	l, err := r.location()
	if err != nil {
		return nil, err
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return inRange(s, firstOf(t, l))
	}
	for _, layout := range wallClock {
		t, err := time.Parse(layout, s)
		if err != nil {
			continue
		}
		ts := wallInstants(t, l)
		if len(ts) == 0 {
			return nil, fault.New(fault.Usage, "%s does not exist in %s: the clock was set forward over it", s, l).
				Hinted("write the time with its offset, as 2026-05-04T02:14:00+01:00")
		}
		return inRange(s, ts...)
	}
	return nil, fault.New(fault.Usage, "%q is not a time", s).Hinted(`write 2026-05-04T02:14:00Z, or "2026-05-04 02:14" with --time-zone`)
}

// inRange keeps times to those that the store can hold, of which 0 is none.
func inRange(s string, ts ...time.Time) ([]moment, error) {
	out := make([]moment, len(ts))
	for i, t := range ts {
		if out[i] = moment(t.UnixMicro()); out[i] <= 0 || t.UTC().Year() > 9999 {
			return nil, fault.New(fault.Usage, "the time %q is out of range", s).Hinted("1970 to 9999")
		}
	}
	return out, nil
}

// parseTime is instants for what asks about one instant. Of two it takes none.
func (r *reading) parseTime(s string) (moment, error) {
	ts, err := r.instants(s)
	if err != nil {
		return 0, err
	}
	if len(ts) > 1 {
		utc := func(m moment) string { return time.UnixMicro(int64(m)).UTC().Format(time.RFC3339) }
		return 0, fault.New(fault.Usage, "%s was twice, as the clock was set back", s).
			Hinted("write the one that is meant: %s or %s", utc(ts[0]), utc(ts[1]))
	}
	return ts[0], nil
}

// wallInstants lists the instants at which clocks of a zone show a time, the earliest first. The wall clock's fields are given in UTC.
func wallInstants(wall time.Time, l *time.Location) []time.Time {
	const furthest = 26 * time.Hour // no zone is as far from UTC
	var out []time.Time
	end := wall.Add(furthest)
	for at := wall.Add(-furthest).In(l); !at.After(end); {
		_, offset := at.Zone()
		from, to := at.ZoneBounds()
		t := wall.Add(-time.Duration(offset) * time.Second).In(l)
		if (from.IsZero() || !t.Before(from)) && (to.IsZero() || t.Before(to)) {
			out = append(out, t)
		}
		if to.IsZero() {
			break
		}
		at = to
	}
	slices.SortFunc(out, time.Time.Compare)
	return out
}

// firstOf is the first instant of a day, which need not be midnight: some zones set their clocks at that hour.
func firstOf(day time.Time, l *time.Location) time.Time {
	for minutes := range 24 * 60 {
		if ts := wallInstants(day.Add(time.Duration(minutes)*time.Minute), l); len(ts) > 0 {
			return ts[0]
		}
	}
	return day // a whole day that a zone left out, as Samoa did in 2011: there is no better answer
}
