package serve_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"demarc/internal/casework"
	"demarc/internal/finding"
	"demarc/internal/lab"
	"demarc/internal/serve"
	"demarc/internal/store/storetest"
)

// sums gives the number of rows and a checksum of every table.
func (e *exam) sums() map[string]string {
	e.t.Helper()
	out, err := storetest.Sums(e.t.Context(), e.place)
	e.must(err)
	return out
}

// everyKind is a town with one machine of each kind that a sweep may meet: open, well, silent from the first sweep on, obedient
// to our scanner alone, and leaking.
func everyKind() lab.Scenario {
	s := town()
	redis := lab.Service{Kind: lab.Redis, Port: 6379}
	for i, m := range []lab.Server{
		machine("quiet", "teaching", "carol", "cache", "127.77.1.40", redis),
		machine("leaky", "teaching", "carol", "closed", "127.77.1.50", lab.Service{Kind: lab.Postgres, Port: 5432, Mode: "trust", Leak: true}),
		machine("scanner-only", "genomics", "bea", "scan-me", "127.77.1.55", redis),
		machine("blocked", "compute", "elena", "cache", "127.77.1.60", redis),
	} {
		m.NICs[0].Addr = place(fmt.Sprintf("10.0.0.%d", 60+i))
		s.Servers = append(s.Servers, m)
	}
	return s
}

// An unchanged sweep writes coverage and nothing else, whatever stands in the ledger.
func TestAnUnchangedSweepWritesCoverageAlone(t *testing.T) {
	t.Parallel()
	e := open(t, plot{scenario: everyKind(), policy: []string{"sweep_every: 2d", "sweep_every: 1d"}, config: []string{"control: 6", "control: 300"}})
	e.must(e.w.BlockSource("quiet", true)) // nobody ever heard of it
	e.until("the first sweep", 1, e.inState("blocked", casework.Notified))
	e.must(e.w.BlockSource("blocked", true))
	sweeps, unverifiable := 0, false
	for e.clock.Now() < begins.UnixMicro()+8*day {
		before := e.sums()
		if !e.step() {
			due, err := e.d.Line.NextDue(t.Context())
			e.must(err)
			e.clock.LeapTo(due)
			continue
		}
		after := e.sums()
		if before["coverage"] == after["coverage"] || e.clock.Now() < begins.UnixMicro()+4*day || !e.sweptNow() {
			continue
		}
		sweeps++
		for _, f := range e.findingsOf("blocked") {
			unverifiable = unverifiable || f.State == finding.Unverifiable
		}
		for table := range after {
			if table != "coverage" && before[table] != after[table] {
				t.Errorf("on day %d a sweep wrote %s: %s, then %s; last\n%s", (e.clock.Now()-begins.UnixMicro())/day, table, before[table], after[table], strings.Join(e.last(5), "\n"))
			}
		}
	}
	if sweeps < 4 || !unverifiable {
		t.Errorf("%d sweeps, unverifiable %t", sweeps, unverifiable)
	}
	if len(e.findingsOf("leaky")) != 1 || len(e.findingsOf("quiet")) != 1 || len(e.findingsOf("scanner-only")) != 0 {
		t.Errorf("leaky %d, quiet %d, scanner-only %d findings", len(e.findingsOf("leaky")), len(e.findingsOf("quiet")), len(e.findingsOf("scanner-only")))
	}
	e.noErrors()
}

// sweptNow tells whether the latest sweep is of this moment.
func (e *exam) sweptNow() bool {
	e.t.Helper()
	cs, err := e.d.DB.Coverages(e.t.Context(), 1)
	e.must(err)
	return len(cs) == 1 && cs[0].Vantage != "" && cs[0].Began == e.clock.Now()
}

// buffer is a log that may be written from several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// A secret is in its file and in what the peer must hear, and nowhere else.
func TestASecretStaysWhereItIs(t *testing.T) {
	t.Parallel()
	const canary, other = "canary-Xq7/+&=71:33", "canary-mail-9%41\"<>"
	for name, config := range map[string][]string{
		"a short story":             nil,
		"a mail hop that wants TLS": {"tls: none", "tls: required\n  user: demarc\n  password_file: mail.secret"},
		"a mail hop without AUTH":   {"tls: none", "tls: none\n  user: demarc\n  password_file: mail.secret"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := town()
			s.Users = slices.Clone(s.Users)
			s.Users[0].Password = canary
			log := &buffer{}
			e := open(t, plot{scenario: s, password: canary, log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), secrets: map[string]string{"mail.secret": other}, config: config})
			e.w.Mail.Fault(lab.MailFaults{RcptTemporary: 1, CutAfterData: 1})
			e.leapTo(begins.UnixMicro() + day)
			e.w.ExpireTokens()
			e.w.Plan(lab.Fault{Kind: lab.Answer, Status: 401, Path: "/identity/v3/auth/tokens", Times: -1})
			e.after(2 * day)
			e.w.ClearFaults()
			e.w.Plan(lab.Fault{Kind: lab.CutBefore, Path: "/identity/v3/auth/tokens", Times: 20}, lab.Fault{Kind: lab.Answer, Status: 403, Path: "/networking", Times: 5})
			e.w.ExpireTokens()
			e.after(day)
			e.w.Mail.Down()
			e.after(day)
			e.must(e.w.Mail.Up())
			e.after(day)
			if len(e.errs) == 0 || config == nil && len(e.w.Mail.Messages()) == 0 {
				t.Errorf("%d errors, %d mails: the story did not fail where it should", len(e.errs), len(e.w.Mail.Messages()))
			}
			var all bytes.Buffer
			for _, err := range e.errs {
				fmt.Fprintf(&all, "error: %+v\n", err)
			}
			for _, h := range e.told() {
				fmt.Fprintf(&all, "told: %+v\n", h)
			}
			for _, m := range e.w.Mail.Messages() {
				fmt.Fprintf(&all, "mail: %s\n%s\n", m.Raw, text(t, m))
			}
			all.WriteString("audit: " + e.auditText())
			log.mu.Lock()
			all.WriteString("log: " + log.b.String())
			log.mu.Unlock()
			files, err := os.ReadDir(e.dir)
			e.must(err)
			for _, f := range files {
				if !strings.HasSuffix(f.Name(), ".secret") {
					b, err := os.ReadFile(filepath.Join(e.dir, f.Name()))
					e.must(err)
					fmt.Fprintf(&all, "file %s: %s\n", f.Name(), b)
				}
			}
			fmt.Fprintf(&all, "printed: %v %+v\n", e.d.Policy, e.d.Config.DatabasePath())
			wrong := filepath.Join(e.dir, "cloud.secret")
			e.must(os.WriteFile(wrong, []byte(canary+"-old"), 0o600))
			c, p, err := serve.Load(filepath.Join(e.dir, "demarc.yaml"))
			e.must(err)
			if _, err := serve.Open(t.Context(), c, p, serve.Options{Clock: e.clock}); err == nil {
				t.Error("a wrong password opens")
			} else {
				fmt.Fprintf(&all, "opening: %+v\n", err)
			}
			for _, secret := range []string{"canary", base64.StdEncoding.EncodeToString([]byte(canary)), base64.StdEncoding.EncodeToString([]byte(other)),
				base64.StdEncoding.EncodeToString([]byte("\x00demarc\x00" + other)), hex.EncodeToString([]byte("canary"))} {
				if i := strings.Index(all.String(), secret); i >= 0 {
					t.Errorf("the secret is out: …%q", all.String()[max(0, i-300):min(all.Len(), i+60)])
				}
			}
		})
	}
}

// What a listing lost is not gone. Two complete readings without a machine end its case.
func TestAPartialListingRemovesNothing(t *testing.T) {
	t.Parallel()
	const servers = "/compute/v2.1/servers/detail"
	for name, f := range map[string]lab.Fault{
		"no answer":         {Kind: lab.Answer, Status: 503, RetryAfter: "0", Path: servers, Times: -1},
		"a circle":          {Kind: lab.RepeatNext, Path: servers, Times: -1},
		"cut off":           {Kind: lab.CutBefore, Path: servers, Times: -1},
		"a page that fails": {Kind: lab.Answer, Status: 500, RetryAfter: "0", Path: servers, Query: "marker", Times: -1},
		"200, and no rows":  {Kind: lab.Empty, Path: servers, Times: -1},
		"a lost row":        {Kind: lab.LostRows, Path: servers, Rows: 3, Times: -1},
		"a lost next link":  {Kind: lab.LostNext, Path: servers, Times: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t, plot{scenario: paged(1)})
			e.until("notified", 1, e.inState("cache-1", casework.Notified))
			id := e.theCase("cache-1").ID
			e.w.Plan(f)
			e.after(3 * day)
			if c := e.theCase("cache-1"); c.ID != id || c.State != casework.Notified {
				t.Errorf("the case is %s", c.State)
			}
			if fs := e.findingsOf("cache-1"); len(fs) != 1 || fs[0].State != finding.Open {
				t.Errorf("%+v", fs)
			}
			if name != "a lost next link" && e.count("", "inventory.partial") == 0 {
				t.Error("nobody says that the inventory is partial")
			}
			e.w.ClearFaults()
			gone := e.w.ServerID("cache-1")
			e.must(e.w.DeleteServer("cache-1"))
			complete := func() int {
				n := 0
				cs, err := e.d.DB.Coverages(t.Context(), 500)
				e.must(err)
				for _, c := range cs {
					if c.Vantage == "" && c.Complete {
						n++
					}
				}
				return n
			}
			before := complete()
			for complete() < before+1 {
				if !e.step() {
					due, err := e.d.Line.NextDue(t.Context())
					e.must(err)
					e.clock.LeapTo(due)
				}
			}
			if complete() == before+1 {
				if c, err := e.d.DB.Case(t.Context(), operator, id); err != nil || c.State == casework.Moot {
					t.Errorf("one reading without the machine, and the case is %s, %v", c.State, err)
				}
			}
			e.after(4 * day)
			if c, err := e.d.DB.Case(t.Context(), operator, id); err != nil || c.State != casework.Moot || string(c.Server) != gone {
				t.Errorf("the machine is gone, and the case is %s, %v", c.State, err)
			}
			e.untouched()
		})
	}
}

// Closing and opening at any idle moment changes nothing about how a story ends.
func TestARestartChangesNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 7))
			e := open(t, plot{policy: []string{"sweep_every: 2d", "sweep_every: 4d"}})
			before := e.groups("cache-1")
			restarts := 0
			e.idle = func() {
				if rng.IntN(2) == 0 {
					restarts++
					e.restart()
				}
			}
			e.restrict()
			e.setPassword("cache-1")
			e.claim("cache-1")
			e.until("closed", 22, e.inState("cache-1", casework.Closed))
			if restarts < 5 {
				t.Errorf("%d restarts", restarts)
			}
			if n := len(e.changes("cache-1")); n != 2 {
				t.Errorf("%d changes", n)
			}
			if now := e.groups("cache-1"); !slices.EqualFunc(now, before, slices.Equal) {
				t.Errorf("groups %v, were %v", now, before)
			}
			steps := map[string]int{}
			for _, m := range e.w.Mail.For(owner) {
				steps[m.MessageID]++
				if steps[m.MessageID] > 1 {
					t.Errorf("%s came %d times", m.MessageID, steps[m.MessageID])
				}
			}
			if len(steps) != 5 { // notice, final warning, restricted, released, closed
				t.Errorf("%d mails: %v", len(steps), steps)
			}
			e.accounted()
			e.noErrors()
		})
	}
}
