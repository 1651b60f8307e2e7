package serve_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/flow"
	"demarc/internal/lab"
)

const ports = "/networking/v2.0/ports/"

func put(kind lab.FaultKind, skip int) lab.Fault {
	return lab.Fault{Kind: kind, Method: http.MethodPut, Path: ports, Skip: skip}
}

// two is a town whose cache-1 has a second port.
func two() lab.Scenario {
	s := town()
	s.Servers[0].NICs = append(s.Servers[0].NICs, lab.NIC{Network: "astro-net", Addr: place("10.0.0.77"), Groups: []string{"default"}})
	return s
}

// acts lists the acts on a server as "kind state", oldest first.
func (e *exam) acts(server string) []string {
	e.t.Helper()
	as, err := e.d.DB.ActsOn(e.t.Context(), "lab", asset.ServerID(e.w.ServerID(server)))
	if err != nil {
		e.t.Fatal(err)
	}
	slices.SortFunc(as, func(a, b casework.Act) int { return strings.Compare(a.ID, b.ID) })
	var out []string
	for _, a := range as {
		out = append(out, string(a.Kind)+" "+string(a.State))
	}
	return out
}

// accounted asserts that every intent in the audit log has its end there, and that no act is still under way.
func (e *exam) accounted() {
	e.t.Helper()
	open := 0
	for _, line := range strings.Split(strings.TrimSpace(e.auditText()), "\n") {
		var entry struct {
			Kind string `json:"kind"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			e.t.Fatalf("audit leaf %q: %v", line, err)
		}
		switch entry.Kind {
		case "act.intended":
			open++
		case "act.done", "act.void", "act.held":
			open--
		}
		if open < 0 || open > 1 {
			e.t.Errorf("%d acts are under way at once", open)
		}
	}
	if open != 0 {
		e.t.Errorf("%d intents have no end in the audit log", open)
	}
	running, err := e.d.DB.RunningActs(e.t.Context())
	if err != nil || len(running) != 0 {
		e.t.Errorf("%d acts are under way, %v", len(running), err)
	}
}

// quarantined asserts that every port of the server carries the quarantine group alone.
func (e *exam) quarantined(server string) {
	e.t.Helper()
	q := e.w.GroupID(lab.DemoProject, "demarc-quarantine")
	for _, g := range e.groups(server) {
		if q == "" || !slices.Equal(g, []string{q}) {
			e.t.Errorf("a port of %s carries %v", server, g)
		}
	}
}

// An answer that does not come, or says something else than what happened. Each port is changed once, whatever the answer.
func TestAnUnknownOutcomeIsAskedFor(t *testing.T) {
	t.Parallel()
	readAgain := lab.Fault{Kind: lab.Answer, Status: 503, RetryAfter: "0", Method: http.MethodGet, Path: ports, Times: 9}
	for name, c := range map[string]struct {
		scenario lab.Scenario
		faults   []lab.Fault
		acts     []string
	}{
		"done, and cut":                 {town(), []lab.Fault{put(lab.CutAfter, 0)}, []string{"quarantine done"}},
		"done, and 504":                 {town(), []lab.Fault{put(lab.AnswerAfter, 0)}, []string{"quarantine done"}},
		"cut before":                    {town(), []lab.Fault{put(lab.CutBefore, 0)}, []string{"quarantine void", "quarantine done"}},
		"500 before":                    {town(), []lab.Fault{put(lab.Answer, 0)}, []string{"quarantine void", "quarantine done"}},
		"three times cut before":        {town(), []lab.Fault{put(lab.CutBefore, 0), put(lab.CutBefore, 0), put(lab.CutBefore, 0)}, []string{"quarantine void", "quarantine done"}}, // the second and third hit what makes certain
		"done, cut, and unreadable":     {town(), []lab.Fault{put(lab.CutAfter, 0), readAgain}, []string{"quarantine done"}},
		"two ports, second cut before":  {two(), []lab.Fault{put(lab.CutBefore, 1)}, []string{"quarantine done"}},
		"two ports, second cut after":   {two(), []lab.Fault{put(lab.CutAfter, 1)}, []string{"quarantine done"}},
		"two ports, first cut after":    {two(), []lab.Fault{put(lab.CutAfter, 0)}, []string{"quarantine done"}},
		"two ports, both cut after":     {two(), []lab.Fault{put(lab.CutAfter, 0), put(lab.CutAfter, 0)}, []string{"quarantine done"}},
		"two ports, first cut before":   {two(), []lab.Fault{put(lab.CutBefore, 0)}, []string{"quarantine void", "quarantine done"}},
		"two ports, second three times": {two(), []lab.Fault{{Kind: lab.CutBefore, Method: http.MethodPut, Path: ports, Skip: 1, Times: 3}}, []string{"quarantine done"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t, plot{scenario: c.scenario})
			before := e.groups("cache-1")
			e.until("queued", 10, e.inState("cache-1", casework.Queued))
			e.w.Plan(c.faults...)
			e.approve("cache-1")
			e.until("restricted", 1, e.inState("cache-1", casework.Restricted))
			if n := len(e.changes("cache-1")); n != len(before) {
				t.Errorf("%d changes of %d ports", n, len(before))
			}
			if got := e.acts("cache-1"); !slices.Equal(got, c.acts) {
				t.Errorf("acts %v, want %v", got, c.acts)
			}
			e.quarantined("cache-1")
			e.accounted()
			if n := len(e.w.Mail.For(owner)); n != 3 {
				t.Errorf("the owner got %d mails, want notice, final warning, restricted", n)
			}
			// The way back is as sure.
			e.w.ClearFaults()
			e.w.Plan(c.faults...)
			e.setPassword("cache-1")
			e.claim("cache-1")
			e.until("released", 2, e.inState("cache-1", casework.Released))
			if n := len(e.changes("cache-1")); n != 2*len(before) {
				t.Errorf("%d changes of %d ports, there and back", n, len(before))
			}
			if now := e.groups("cache-1"); !slices.EqualFunc(now, before, slices.Equal) {
				t.Errorf("groups %v, were %v", now, before)
			}
			e.accounted()
			if n := e.count("cache-1", "case.restricted"); n != 1 {
				t.Errorf("restricted %d times", n)
			}
		})
	}
}

// A cloud that keeps saying no is not asked in a circle. What was begun and cannot be ended is for a person.
func TestACloudThatKeepsSayingNoIsNotHammered(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		scenario lab.Scenario
		skip     int
		status   int
		state    casework.State
		changes  int
	}{
		"403 on the only port":   {town(), 0, 403, casework.Queued, 0},
		"500 on the only port":   {town(), 0, 500, casework.Queued, 0},
		"409 on the second port": {two(), 1, 409, casework.OnHold, 1},
		"500 on the second port": {two(), 1, 500, casework.OnHold, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			asked := 0
			e := open(t, plot{scenario: c.scenario, http: func(next http.RoundTripper) http.RoundTripper {
				return tripper(func(r *http.Request) (*http.Response, error) {
					if r.Method == http.MethodPut {
						mu.Lock()
						asked++
						mu.Unlock()
					}
					return next.RoundTrip(r)
				})
			}})
			e.until("queued", 10, e.inState("cache-1", casework.Queued))
			e.w.Plan(lab.Fault{Kind: lab.Answer, Status: c.status, Method: http.MethodPut, Path: ports, Skip: c.skip, Times: -1})
			e.approve("cache-1")
			e.after(3 * hour)
			if n := len(e.changes("cache-1")); n != c.changes {
				t.Errorf("%d changes", n)
			}
			if asked > 42 || asked < 2 { // one in four minutes, with what makes certain that an order whose answer was lost did not take effect
				t.Errorf("%d requests in three hours", asked)
			}
			if s := e.theCase("cache-1").State; s != c.state {
				t.Errorf("the case is %s; last\n%s", s, strings.Join(e.last(10), "\n"))
			}
			e.accounted()
		})
	}
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// The tenant changes a port between the intent and the act, before anything was done: the act is void, and nothing of the
// tenant's is overwritten by it. The gate speaks again, of the machine as it is then.
func TestAPortThatIsChangedBeforeTheActVoidsIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		scenario lab.Scenario
		groups   []string
		end      casework.State
	}{
		"other groups":                     {town(), []string{"default"}, casework.Verified},
		"the same groups, a new revision":  {town(), []string{"cache"}, casework.Restricted},
		"two ports, before either is done": {two(), []string{"default", "cache"}, casework.Restricted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var once sync.Once
			e := open(t, plot{scenario: c.scenario, heard: func(e *exam, h flow.Happening) {
				if h.Event == "act.intended" {
					once.Do(func() { e.must(e.w.TenantSetGroups("cache-1", c.groups...)) })
				}
			}})
			e.until("queued", 10, e.inState("cache-1", casework.Queued))
			e.approve("cache-1")
			e.until("the end", 3, e.inState("cache-1", c.end))
			want := []string{"quarantine void", "quarantine done"}
			if c.end == casework.Verified {
				want = want[:1]
			}
			if got := e.acts("cache-1"); !slices.Equal(got, want) {
				t.Errorf("acts %v, want %v", got, want)
			}
			e.accounted()
			e.noErrors()
		})
	}
}

// The tenant changes a port after the act has begun: what we did not make is not touched, and a person decides.
func TestAPortThatIsChangedMeanwhileIsHeld(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		scenario lab.Scenario
		groups   []string
	}{
		"after the first port of two":       {two(), []string{"default"}},
		"the same groups on the first port": {two(), []string{"cache"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var once sync.Once
			change := func(e *exam) { once.Do(func() { e.must(e.w.TenantSetGroups("cache-1", c.groups...)) }) }
			e := open(t, plot{scenario: c.scenario})
			first := true
			e.w.OnEvent(func(ev lab.Event) {
				if ev.Kind == "groups" && ev.Server == "cache-1" && first {
					first = false
					change(e)
				}
			})
			e.until("queued", 10, e.inState("cache-1", casework.Queued))
			e.approve("cache-1")
			e.until("held", 1, e.inState("cache-1", casework.OnHold))
			if got := e.acts("cache-1"); !slices.Equal(got, []string{"quarantine held"}) {
				t.Errorf("acts %v", got)
			}
			want := []string{}
			for _, g := range c.groups {
				want = append(want, e.w.GroupID("astro", g))
			}
			for _, g := range e.groups("cache-1") {
				if !slices.Equal(g, want) {
					t.Errorf("the tenant's groups %v became %v", want, g)
				}
			}
			changes := len(e.changes("cache-1"))
			e.after(3 * day)
			if n := len(e.changes("cache-1")); n != changes {
				t.Errorf("%d more changes after the hold", n-changes)
			}
			told := e.w.Mail.For(operators)
			if !slices.ContainsFunc(told, func(m lab.Message) bool { return strings.Contains(text(t, m), "the outcome of an act is unclear") }) {
				t.Error("the operators were not told")
			}
			e.accounted()
			e.noErrors()
		})
	}
}
