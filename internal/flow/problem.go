package flow

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"demarc/internal/asset"
)

// Problem is one cause for which work is not done, from the first time on until the work is done again.
type Problem struct {
	Cause string // a word of ours, such as "inventory sync": never of a tenant
	What  string // what was said the last time
	Since int64  // real time of the first time, µs
	Count int    // how often it was met
}

// problems keeps each cause once. Safe for concurrent use.
type problems struct {
	mu    sync.Mutex
	known map[string]*problem
}

type problem struct {
	Problem
	logged int64           // real time, µs
	works  map[string]bool // the pieces of work that meet it
}

// remindEvery is how often a cause that lasts is logged again, µs.
const remindEvery = hour

// meet notes that a piece of work meets a cause. It is logged the first time, and once an hour with its count.
func (l *Line) meet(cause, work, what string) {
	l.problems.mu.Lock()
	defer l.problems.mu.Unlock()
	now := l.Clock.Real()
	p := l.problems.known[cause]
	if p == nil {
		p = &problem{Problem: Problem{Cause: cause, Since: now}, works: map[string]bool{}}
		l.problems.known[cause] = p
	}
	p.What, p.works[work] = what, true
	p.Count++
	if p.logged == 0 || now-p.logged >= remindEvery {
		p.logged = now
		l.Log.Warn("work could not be done", "cause", cause, "count", p.Count, "what", what)
	}
}

// overcome notes that a piece of work no longer meets a cause, which is over when none does.
func (l *Line) overcome(cause, work string) {
	l.problems.mu.Lock()
	defer l.problems.mu.Unlock()
	p := l.problems.known[cause]
	if p == nil || !p.works[work] {
		return
	}
	if delete(p.works, work); len(p.works) > 0 {
		return
	}
	delete(l.problems.known, cause)
	l.Log.Info("work is done again", "cause", cause, "count", p.Count, "after_seconds", (l.Clock.Real()-p.Since)/second)
}

// Meet and Overcome are for what drives the pipeline, as where the database or the cloud does not answer it.
func (l *Line) Meet(cause, what string) { l.meet(cause, "", what) }

// Overcome: see Meet.
func (l *Line) Overcome(cause string) { l.overcome(cause, "") }

// Problems lists the causes for which work is not done now, the oldest first. Safe for concurrent use.
func (l *Line) Problems() []Problem {
	l.problems.mu.Lock()
	defer l.problems.mu.Unlock()
	out := make([]Problem, 0, len(l.problems.known))
	for _, p := range l.problems.known {
		out = append(out, p.Problem)
	}
	slices.SortFunc(out, func(a, b Problem) int { return cmp.Or(cmp.Compare(a.Since, b.Since), cmp.Compare(a.Cause, b.Cause)) })
	return out
}

// causeOf is the cause under which a piece of work that was put off is counted: that of one case is counted with those of the others.
func causeOf(work string) string {
	kind, _, _ := strings.Cut(work, " ")
	return kind
}

// gaps says what of a sync is missing: one event for each kind, when it is not the same kinds as in the sync before. That kinds are missing is a
// problem until none is. The caller calls written once the change is.
func (d *draft) gaps(sync string, all []asset.Gap) (written func()) {
	count, first := map[string]int{}, map[string]string{}
	for _, g := range all {
		if count[g.Kind]++; count[g.Kind] == 1 {
			first[g.Kind] = g.Reason
		}
	}
	kinds := slices.Sorted(maps.Keys(count))
	var what []string
	for _, k := range kinds {
		said := k + ": " + first[k]
		if n := count[k] - 1; n > 0 {
			said += fmt.Sprintf(" (and %d more)", n)
		}
		what = append(what, said)
	}
	same := slices.Equal(kinds, d.l.lacking[sync])
	if !same {
		for _, said := range what {
			d.say(Happening{Event: "inventory.partial", Detail: said})
		}
		if len(what) == 0 {
			d.say(Happening{Event: "inventory.complete", Detail: sync + ": nothing is missing any more"})
		}
	}
	return func() {
		d.l.lacking[sync] = kinds
		if len(what) > 0 {
			d.l.meet("incomplete "+sync, "", strings.Join(what, "; "))
		} else {
			d.l.overcome("incomplete "+sync, "")
		}
	}
}
