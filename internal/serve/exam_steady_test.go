package serve_test

import (
	"net/http"
	"slices"
	"testing"

	"demarc/internal/casework"
	"demarc/internal/finding"
	"demarc/internal/lab"
)

// A port that answers at two addresses has one weakness, and sweeps go on.
func TestAPortWithTwoAddressesIsOneFinding(t *testing.T) {
	t.Parallel()
	s := town()
	s.FloatingIPs = []lab.FloatingIP{{Addr: place("127.77.1.11"), Project: "astro"}}
	e := open(t, plot{scenario: s})
	e.must(e.w.MoveFloatingIP(e.w.At(place("127.77.1.11")), "cache-1"))
	e.after(5 * day)
	if fs := e.findingsOf("cache-1"); len(fs) != 1 {
		t.Errorf("%d findings: %v", len(fs), fs)
	}
	if len(e.errs) > 0 {
		t.Errorf("the line said %v", e.errs)
	}
	if n := e.count("cache-1", "looked.vulnerable"); n > 6 {
		t.Errorf("the two addresses are seen in turn: %d looks", n)
	}
}

// A machine that is switched off proves nothing: neither a fix nor a blocked scanner.
func TestAMachineThatIsOffProvesNothing(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.until("cache-1 was told", 2, e.inState("cache-1", casework.Notified))
	e.must(e.w.StopServer("cache-1"))
	e.must(e.d.Line.Claim(t.Context(), e.theCase("cache-1").ID, "amir"))
	e.after(3 * day)
	for _, f := range e.findingsOf("cache-1") {
		if f.Key.Check != "redis-unauth" || !f.State.Live() || f.Negatives != 0 || f.State == finding.Unverifiable {
			t.Errorf("%s is %s after %d negatives", f.Key.Check, f.State, f.Negatives)
		}
	}
	e.must(e.w.StartServer("cache-1"))
	e.until("it is seen again", 3, func() bool { return e.findingsOf("cache-1")[0].State == finding.Open })
}

// Two findings of one case that fall silent in one sweep are both remembered.
func TestTwoFindingsSilentAtOnceAreBothRemembered(t *testing.T) {
	t.Parallel()
	s := town()
	s.Servers[0].Services = append(s.Servers[0].Services, lab.Service{Kind: lab.Postgres, Port: 5432, Mode: "trust"})
	s.Groups = slices.Clone(s.Groups)
	for i := range s.Groups {
		if g := &s.Groups[i]; g.Name == "cache" && g.Project == "astro" {
			g.Rules = append(slices.Clone(g.Rules), lab.Rule{Proto: "tcp", Min: 5432, Max: 5432, Remote: everywhere})
		}
	}
	e := open(t, plot{scenario: s})
	e.until("cache-1 was told", 2, e.inState("cache-1", casework.Notified))
	e.must(e.w.BlockSource("cache-1", true))
	e.until("both are unverifiable", 6, func() bool {
		n := 0
		for _, f := range e.findingsOf("cache-1") {
			if f.State == finding.Unverifiable {
				n++
			}
		}
		return n == 2
	})
	for _, f := range e.findingsOf("cache-1") {
		if f.Key.Check != "scanner-blocked" && f.Silences < 2 {
			t.Errorf("%s was silent %d times", f.Key.Check, f.Silences)
		}
	}
}

// While the cloud does not answer, mail goes out by what is stored, and time goes on.
func TestMailGoesOutWhileTheCloudIsDown(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.w.Mail.Down()
	e.until("the notice is deferred", 2, func() bool { return e.count("cache-1", "mail.deferred") > 0 })
	e.restart()
	e.must(e.w.Mail.Up())
	e.w.Plan(lab.Fault{Kind: lab.CutBefore, Method: http.MethodGet, Path: "/networking", Times: -1}, lab.Fault{Kind: lab.CutBefore, Method: http.MethodGet, Path: "/compute", Times: -1},
		lab.Fault{Kind: lab.CutBefore, Method: http.MethodGet, Path: "/identity", Times: -1}, lab.Fault{Kind: lab.CutBefore, Method: http.MethodGet, Path: "/image", Times: -1})
	now := e.clock.Now()
	for range 40 {
		if e.count("cache-1", "mail.accepted") > 0 {
			break
		}
		e.untilIdle()
		due, err := e.d.Line.NextDue(t.Context())
		e.must(err)
		if due <= e.clock.Now() {
			t.Fatalf("time stands still at %d: the next work is due at %d", e.clock.Now(), due)
		}
		e.clock.LeapTo(due)
	}
	if e.count("cache-1", "mail.accepted") == 0 {
		t.Errorf("no mail in %d minutes; the line said %v", (e.clock.Now()-now)/minute, e.last(5))
	}
}

// Every look names the binding it was attributed through.
func TestEveryLookNamesItsBinding(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.until("cache-1 was told", 2, e.inState("cache-1", casework.Notified))
	for _, f := range e.findingsOf("cache-1") {
		looks, err := e.d.DB.Sightings(t.Context(), f.ID)
		e.must(err)
		for _, l := range looks {
			if l.Binding == "" {
				t.Errorf("a look at %s names no binding", f.Endpoint)
			}
		}
	}
}
