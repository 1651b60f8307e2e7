package serve_test

import (
	"slices"
	"strings"
	"testing"

	"demarc/internal/casework"
	"demarc/internal/lab"
	"demarc/internal/serve"
)

// reconfigure stops Demarc, changes its files, and starts it again: an operator who changes the rules half-way.
func (e *exam) reconfigure(policy, config []string) {
	e.t.Helper()
	e.plot.policy = append(slices.Clone(e.plot.policy), policy...)
	e.plot.config = append(slices.Clone(e.plot.config), config...)
	e.write()
	e.restart()
}

// What would be carried out is what the owner was warned of. Whatever is changed between the warning and the action, nothing harsher
// happens: the gate refuses, and a new round begins with a notice of its own.
func TestActionIsTheOneThatWasAnnounced(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		policy, config []string
		says           string
	}{
		"a stop instead of a quarantine": {
			policy: stopping,
			says:   `announced: the final warning announced "quarantine", and now it would be "stop"`,
		},
		"no way in for repair": {
			config: []string{`purpose: "repair path"}`, `purpose: "repair path"}` + "\n", "port: 22,", "port: 2222,"},
			says:   "announced: the final warning named a way in for repair that is no longer admitted",
		},
		"a longer grace": {
			policy: []string{"institution: 7d, grace: 24h, end: quarantine", "institution: 7d, grace: 4d, end: quarantine"},
			says:   "grace: the grace is shorter than the policy's",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t, plot{})
			e.until("queued", 10, e.inState("cache-1", casework.Queued))
			if n := e.theCase("cache-1").Accepted(casework.StepFinal); len(n) != 1 || n[0].End != "quarantine" ||
				n[0].Class != "E" || len(n[0].Findings) == 0 || n[0].Policy == 0 {
				t.Fatalf("what was announced is not kept: %+v", n)
			}
			e.reconfigure(c.policy, c.config)
			e.approve("cache-1")
			e.untilIdle()
			e.untouched()
			if said := e.detail("cache-1", "gate.refused"); !strings.Contains(said, c.says) {
				t.Fatalf("the gate said %q", said)
			}
			e.until("notified again", 1, e.inState("cache-1", casework.Notified))
			e.until("queued again", 10, e.inState("cache-1", casework.Queued))
			e.approve("cache-1")
			e.until("restricted", 1, e.inState("cache-1", casework.Restricted))
			if k := e.theCase("cache-1"); k.Renewed != 0 {
				t.Errorf("the operator's change counts as the owner's, %d times", k.Renewed)
			}
		})
	}
}

// A milder rule than the one announced is simply followed.
func TestMilderPolicyIsFollowed(t *testing.T) {
	t.Parallel()
	e := open(t, plot{policy: stopping})
	e.until("queued", 10, e.inState("cache-1", casework.Queued))
	e.reconfigure([]string{"institution: 7d, grace: 24h, end: stop", "institution: 7d, grace: 24h, end: quarantine"}, nil)
	e.approve("cache-1")
	e.until("restricted", 1, e.inState("cache-1", casework.Restricted))
	if m := e.w.Machine("cache-1"); m.Status != "ACTIVE" || m.Locked {
		t.Errorf("the machine is %+v", m)
	}
}

// Approvers read exactly what will be done, and what was announced.
func TestApproversReadWhatWillBeDone(t *testing.T) {
	t.Parallel()
	for end, want := range map[string]string{
		"":     "disconnect it from the network (quarantine); it keeps running",
		"stop": "disconnect it from the network (quarantine), lock it and stop it",
	} {
		p := plot{}
		if end == "stop" {
			p.policy = stopping
		}
		e := open(t, p)
		e.until("queued", 10, e.inState("cache-1", casework.Queued))
		mails := slices.DeleteFunc(e.w.Mail.For(operators),
			func(m lab.Message) bool { return !strings.Contains(subject(t, m), "waits for approval") })
		if len(mails) != 1 || !strings.Contains(text(t, mails[0]), want) {
			t.Errorf("the request to approve does not say %q: %v", want, mails)
		}
		desk, err := serve.NewDesk(t.Context(), e.d.DB, e.d.Policy)
		e.must(err)
		told, err := desk.Decide(t.Context(), serve.Ask{Do: serve.Pending})
		e.must(err)
		if will := told.Will[e.theCase("cache-1").ID]; casework.Will(will) != want {
			t.Errorf("pending says %q", will)
		}
	}
}

// A weakness that the owner moves to another port was named in no mail: it begins a new round once, and after that an operator decides.
// An owner who moves it from port to port for ever is not disconnected automatically, and is not left alone either.
func TestOwnerBuysOneNewRoundAndNoMore(t *testing.T) {
	t.Parallel()
	e := open(t, plot{scenario: withTwoCaches()})
	e.until("queued", 10, e.inState("cache-1", casework.Queued))
	hop := func(from, to string) {
		e.must(e.w.StopService("cache-1", from))
		e.must(e.w.StartService("cache-1", to))
		e.after(5 * day) // sweeps and rechecks later the old one is fixed, and the new one is there
	}
	hop("one", "two")
	for _, round := range []string{"first", "second"} {
		e.until("queued", 15, e.inState("cache-1", casework.Queued))
		if round == "second" {
			hop("two", "one")
			e.until("queued", 15, e.inState("cache-1", casework.Queued))
		}
		e.approve("cache-1")
		e.untilIdle()
		e.untouched()
	}
	k := e.theCase("cache-1")
	if k.Renewed != 1 || k.State != casework.Queued || !k.Stuck() {
		t.Fatalf("the case is %s, renewed %d times, refused for %v; last\n%s", k.State, k.Renewed, k.Blocks, strings.Join(e.last(20), "\n"))
	}
	e.must(e.d.Line.Renew(t.Context(), k.ID, "olga", "the owner hops from port to port"))
	e.restrict()
}

// withTwoCaches is a town in which cache-1 has two caches, of which one runs.
func withTwoCaches() lab.Scenario {
	s := town()
	for i := range s.Groups {
		if s.Groups[i].Name == "cache" && s.Groups[i].Project == "astro" {
			s.Groups[i].Rules = append(slices.Clone(s.Groups[i].Rules), lab.Rule{Proto: "tcp", Min: 6380, Max: 6380, Remote: everywhere})
		}
	}
	s.Servers[0].Services = []lab.Service{{Name: "one", Kind: lab.Redis, Port: 6379},
		{Name: "two", Kind: lab.Redis, Port: 6380, Stopped: true}}
	return s
}
