package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"demarc/internal/fault"
)

// Notice says how soon the first notice of a class of findings is sent.
type Notice string

const (
	AtOnce  Notice = "at_once" // alone, as soon as the finding is confirmed
	Daily   Notice = "daily"   // in the digest of the day
	Weekly  Notice = "weekly"  // in the digest of Digests.Weekday
	Monthly Notice = "monthly" // in the digest of Digests.Day
)

// notices lists what a policy may give, and what a class gets whose policy gives nothing: what is open without a password is reported at once.
var (
	notices       = []Notice{AtOnce, Daily, Weekly, Monthly}
	defaultNotice = map[string]Notice{"E": AtOnce, "C": Daily, "H": Daily, "B": Daily, "U": Daily, "M": Weekly, "L": Monthly}
)

// Digests is when digests are sent: one for each recipient and day, in the time zone of the policy.
type Digests struct {
	At      string `yaml:"at"`      // time of day, "09:00"
	Weekday string `yaml:"weekday"` // of what is reported weekly: "monday"
	Day     int    `yaml:"day"`     // of the month, of what is reported monthly: 1 to 28
}

var weekdays = []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}

const digestTime = "15:04"

// NoticeOf is how soon the first notice of a class is sent.
func (p *Policy) NoticeOf(class string) Notice {
	if n := p.Classes[class].Notice; n != "" {
		return n
	}
	if n := defaultNotice[class]; n != "" {
		return n
	}
	return AtOnce
}

// NextDigest is when the next digest that names such findings is sent after a time, both µs. What is reported at once waits for none: 0.
func (p *Policy) NextDigest(n Notice, after int64) int64 {
	if n == AtOnce {
		return 0
	}
	at, err := time.Parse(digestTime, p.Digests.At)
	if err != nil {
		return 0
	}
	t := time.UnixMicro(after).In(p.Location())
	for i := range 32 { // a month, and the day on which the time has passed
		d := time.Date(t.Year(), t.Month(), t.Day()+i, at.Hour(), at.Minute(), 0, 0, t.Location())
		if d.UnixMicro() > after && p.digestDay(n, d) {
			return d.UnixMicro()
		}
	}
	return 0
}

// digestDay reports whether the digest of a day tells such findings.
func (p *Policy) digestDay(n Notice, d time.Time) bool {
	switch n {
	case Weekly:
		return int(d.Weekday()) == slices.Index(weekdays, p.Digests.Weekday)
	case Monthly:
		return d.Day() == p.Digests.Day
	case Daily, AtOnce:
	}
	return true
}

// inheritDigests fills in what a policy does not say of its digests.
func (p *Policy) inheritDigests() {
	d := &p.Digests
	if d.At == "" {
		d.At = "09:00"
	}
	if d.Weekday == "" {
		d.Weekday = "monday"
	}
	if d.Day == 0 {
		d.Day = 1
	}
}

// validateDigests gives what is wrong with the times of notices, and the path of it.
func (p *Policy) validateDigests() (at string, f *fault.Fault) {
	for _, c := range ClassNames {
		if n := p.Classes[c].Notice; n != "" && !slices.Contains(notices, n) {
			return fmt.Sprintf("classes.%s.notice", c), fault.New(fault.Config, "class %s: unknown notice %q", c, n).Hinted("one of at_once, daily, weekly, monthly")
		}
	}
	if _, err := time.Parse(digestTime, p.Digests.At); err != nil {
		return "digests.at", fault.New(fault.Config, "digests.at is %q", p.Digests.At).Hinted("a time of day in quotes, from 00:00 to 23:59")
	}
	if !slices.Contains(weekdays, p.Digests.Weekday) {
		return "digests.weekday", fault.New(fault.Config, "digests.weekday is %q", p.Digests.Weekday).Hinted("one of %s", strings.Join(weekdays, ", "))
	}
	if p.Digests.Day < 1 || p.Digests.Day > 28 {
		return "digests.day", fault.New(fault.Config, "digests.day is %d", p.Digests.Day).Hinted("a day that every month has, from 1 to 28")
	}
	return "", nil
}
