package detect

import (
	"fmt"
	"time"

	"demarc/internal/detect/service"
	"demarc/internal/probe"
)

// Support says until when something is supported. Dates are days in UTC, written 2028-06-30; the last day is included.
type Support struct {
	Fact    string            `json:"fact" yaml:"fact"`                 // the fact whose value is looked up
	Ends    map[string]string `json:"ends" yaml:"ends"`                 // value: last day of support
	Unclear map[string]string `json:"unclear,omitempty" yaml:"unclear"` // value: first day on which support depends on the contract
}

// state tells at a time in µs whether support has ended. Known is false for a value without a date, and while support depends on the
// contract.
func (s *Support) state(of *probe.Service, at int64) (ended, known bool) {
	name := service.Fact(of, s.Fact)
	last, err := day(s.Ends[name])
	if err != nil {
		return false, false
	}
	if at >= last.AddDate(0, 0, 1).UnixMicro() {
		return true, true
	}
	from, err := day(s.Unclear[name])
	return false, err != nil || at < from.UnixMicro()
}

// day reads a date as the beginning of its day in UTC.
func day(s string) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return t, fmt.Errorf("the date %q: %w", s, err)
	}
	return t, nil
}
