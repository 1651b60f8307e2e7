package lab

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// FaultKind says how the cloud's APIs misbehave.
type FaultKind string

// The kinds of fault.
const (
	Answer      FaultKind = "answer"       // Status (default 500), nothing done
	AnswerAfter FaultKind = "answer after" // done, then Status (default 504)
	CutBefore   FaultKind = "cut before"   // the connection ends, nothing done
	CutAfter    FaultKind = "cut after"    // done, then the connection ends: the outcome is unknown to the caller
	LostNext    FaultKind = "lost next"    // a page without its next link
	LostRows    FaultKind = "lost rows"    // a page without its last Rows rows (default 1), but with its next link
	RepeatNext  FaultKind = "repeat next"  // the next link leads to the same page again
	Empty       FaultKind = "empty"        // HTTP 200 and no rows, as Neutron answers an account that may not see
	Slow        FaultKind = "slow"         // Delay, then as usual
	Outdate     FaultKind = "outdate"      // every token that was issued is known no more from this request on
)

// Fault is one planned misbehaviour. It applies to requests whose path starts with Path and, where given, whose
// method and query match, after Skip of them, Times times (0: once; negative: always).
type Fault struct {
	Kind       FaultKind
	Method     string
	Path       string // such as /networking/v2.0/ports
	Query      string // a part of the raw query
	Skip       int
	Times      int
	Status     int
	RetryAfter string
	Rows       int
	Delay      time.Duration
}

// Plan adds faults. They apply in the order in which they were planned, one per request.
func (w *World) Plan(faults ...Fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range faults {
		if f.Times == 0 {
			f.Times = 1
		}
		w.faults = append(w.faults, &f)
	}
}

// ClearFaults drops all planned faults.
func (w *World) ClearFaults() {
	w.mu.Lock()
	w.faults = nil
	w.mu.Unlock()
}

// faultFor takes the fault that is due for a request, if any.
func (w *World) faultFor(r *http.Request) Fault {
	for i, f := range w.faults {
		if f.Method != "" && f.Method != r.Method || !strings.HasPrefix(r.URL.Path, f.Path) || !strings.Contains(r.URL.RawQuery, f.Query) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		due := *f
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				w.faults = slices.Delete(w.faults, i, i+1)
			}
		}
		return due
	}
	return Fault{}
}

// Action is one entry of the world's memory of changes: the truth of what was done.
type Action struct {
	Time   time.Time
	Actor  string // user name, or tenant:… for the scenario's own acts
	Method string // HTTP method, or the act's name
	Path   string
	Body   string // at most 2,000 bytes
	Result string // HTTP status as answered by the service, even if the answer was lost
	Done   bool   // something changed
}

// Actions gives the log so far.
func (w *World) Actions() []Action {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.actions)
}

func (w *World) log(actor, method, path, body, result string) {
	done := result == "done" || strings.HasPrefix(result, "2")
	w.actions = append(w.actions, Action{time.Now(), actor, method, path, body[:min(len(body), 2000)], result, done})
}
