package serve_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"demarc/internal/access"
	"demarc/internal/casework"
	"demarc/internal/fault"
	"demarc/internal/flow"
	"demarc/internal/lab"
	"demarc/internal/policy"
	"demarc/internal/serve"
	"demarc/internal/store"
)

// addressees lists to whom mail went, each once, in order.
func (e *exam) addressees() []string {
	var out []string
	for _, m := range e.w.Mail.Messages() {
		out = append(out, m.To)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// threats matches the words by which a mail announces an action on a server.
var threats = regexp.MustCompile(`(?i)disconnect|quarantine|network|final|approv`)

// said is the subject and the text of a mail.
func said(t *testing.T, m lab.Message) string {
	t.Helper()
	return subject(t, m) + "\n" + text(t, m)
}

// noThreat asserts that no mail to an owner announces an action.
func (e *exam) noThreat() {
	e.t.Helper()
	for _, m := range e.w.Mail.For(owner) {
		if word := threats.FindString(said(e.t, m)); word != "" {
			e.t.Errorf("a mail to the owner says %q:\n%s", word, m.Body)
		}
	}
}

// A first start notifies nobody but the operators, even where the configuration allows everything, for as long as nobody raises the mode.
func TestAFirstStartMailsNobodyButOperators(t *testing.T) {
	t.Parallel()
	for name, config := range map[string][]string{
		"the configuration allows enforce": nil, "the configuration says nothing": {"mode: enforce\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t, plot{firstStart: true, config: config})
			e.after(30 * day)
			if got := e.addressees(); !slices.Equal(got, []string{operators}) {
				t.Errorf("mail went to %v", got)
			}
			c := e.theCase("cache-1")
			if c.State != casework.New || c.ClockFrom != 0 || c.Due != 0 || len(c.Accepted(casework.StepObserved)) != 1 {
				t.Errorf("the case is %+v", c)
			}
			if n := len(e.w.Mail.For(operators)); n != 1 {
				t.Errorf("the operators got %d mails about one case", n)
			}
			if e.count("cache-1", "mail.queued") != 1 {
				t.Errorf("queued: %s", e.detail("cache-1", "mail.queued"))
			}
			e.setPassword("cache-1")
			e.after(2 * day)
			if c := e.theCase("cache-1"); c.State != casework.Closed {
				t.Errorf("fixed, the case is %s", c.State)
			}
			if got := e.addressees(); !slices.Equal(got, []string{operators}) {
				t.Errorf("mail went to %v", got)
			}
			e.untouched()
			e.noErrors()
		})
	}
}

// The whole way up. What is found in observe is notified in notify, with the full time from then; a notice from notify never leads to
// an action: after the mode is raised to enforce a new notice says what may follow.
func TestTheModeIsRaisedStepByStep(t *testing.T) {
	t.Parallel()
	e := open(t, plot{firstStart: true})
	e.after(20 * day)
	e.setMode(policy.Notify)
	raised := e.clock.Now()
	e.untilIdle()
	c := e.theCase("cache-1")
	if c.State != casework.Notified || c.ClockFrom < raised || c.Due < raised+4*day || c.Notices[len(c.Notices)-1].End != policy.Report {
		t.Fatalf("raised to notify: %+v", c)
	}
	e.after(10 * day)
	if c := e.theCase("cache-1"); c.State != casework.Overdue || len(c.Accepted(casework.StepEscalation)) != 1 {
		t.Fatalf("past the deadline: %+v", c)
	}
	e.noThreat()
	e.setMode(policy.Enforce)
	raised = e.clock.Now()
	e.untilIdle()
	c = e.theCase("cache-1")
	n := c.Accepted(casework.StepNotice)
	if c.State != casework.Notified || len(n) != 1 || n[0].End != policy.Quarantine || c.Due < raised+4*day {
		t.Fatalf("raised to enforce: %+v", c)
	}
	ms := e.w.Mail.For(owner)
	if last := said(t, ms[len(ms)-1]); !strings.Contains(last, "off the network") {
		t.Errorf("the notice under enforce does not say what may follow:\n%s", last)
	}
	e.until("queued", 10, e.inState("cache-1", casework.Queued))
	e.approve("cache-1")
	e.untilIdle()
	e.quarantined("cache-1")
	e.noErrors()
}

// A mail that was queued in a higher mode goes out with the words of the mode in force, or waits until the mode allows it.
func TestAQueuedMailFollowsTheModeInForce(t *testing.T) {
	t.Parallel()
	queued := func(step casework.Step) func(e *exam) bool {
		return func(e *exam) bool {
			return strings.Contains(e.detail("cache-1", "mail.queued"), string(step)+",")
		}
	}
	for name, c := range map[string]struct {
		step    casework.Step
		lowered policy.Mode
		sent    bool // in the lower mode
	}{
		"a notice, in observe":        {casework.StepNotice, policy.Observe, false},
		"a notice, in notify":         {casework.StepNotice, policy.Notify, true},
		"a final warning, in notify":  {casework.StepFinal, policy.Notify, false},
		"a final warning, in observe": {casework.StepFinal, policy.Observe, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lowered := false
			e := open(t, plot{heard: func(e *exam, h flow.Happening) {
				if !lowered && h.Event == "mail.queued" && strings.HasPrefix(h.Detail, string(c.step)+",") {
					lowered = true
					e.setMode(c.lowered)
				}
			}})
			e.until("queued", 10, func() bool { return queued(c.step)(e) })
			before := len(e.w.Mail.For(owner))
			if c.step == casework.StepFinal && before != 1 {
				t.Fatalf("%d mails before the final warning", before)
			}
			e.after(3 * day)
			ms := e.w.Mail.For(owner)
			if c.sent != (len(ms) > 0 && c.step == casework.StepNotice) {
				t.Errorf("%d mails in the lower mode", len(ms))
			}
			if c.step == casework.StepNotice {
				e.noThreat()
			} else if len(ms) != before {
				t.Errorf("%d mails, %d before the mode was lowered", len(ms), before)
			}
			pending, err := e.d.DB.Mails(t.Context(), access.Operator())
			e.must(err)
			kept := slices.ContainsFunc(pending, func(m casework.Mail) bool { return m.Step == c.step && m.Status == casework.Waiting })
			if kept == c.sent {
				t.Errorf("kept back: %t, sent: %t", kept, c.sent)
			}
			e.setMode(policy.Enforce)
			e.untilIdle()
			if got := e.theCase("cache-1"); !c.sent && len(got.Accepted(c.step)) != 1 {
				t.Errorf("raised again, the case is %+v", got)
			}
			e.untouched()
		})
	}
}

// Lowering the mode gives no machine back and takes none; the way back from the quarantine stays open, also after a restart with a
// configuration that allows no enforcement any more.
func TestARestrictedMachineIsReleasedInEveryMode(t *testing.T) {
	t.Parallel()
	for _, m := range []policy.Mode{policy.Observe, policy.Notify} {
		for _, restart := range []bool{false, true} {
			t.Run(string(m), func(t *testing.T) {
				t.Parallel()
				e := open(t, plot{})
				before := e.groups("cache-1")
				e.restrict()
				e.setMode(m)
				if restart {
					e.plot.config = []string{"mode: enforce", "mode: " + string(m)}
					e.write()
					e.restart()
				}
				e.after(2 * day)
				e.quarantined("cache-1")
				port := e.w.PortIDs("cache-1")[0]
				e.must(e.w.TenantSetGroups("cache-1", "cache"))
				changes := len(e.changes("cache-1"))
				e.after(3 * day)
				if got := len(e.changes("cache-1")); got != changes {
					t.Errorf("%s: the quarantine of port %s was put back", m, port)
				}
				e.setPassword("cache-1")
				e.claim("cache-1")
				e.until("released", 2, e.inState("cache-1", casework.Released))
				if got := e.groups("cache-1"); !slices.EqualFunc(got, before, slices.Equal) {
					t.Errorf("%s: groups %v, before %v", m, got, before)
				}
			})
		}
	}
}

// A database that has notified owners does not come into a lower mode by a change of the configuration alone.
func TestServeRefusesToStartLowerWithoutAReason(t *testing.T) {
	t.Parallel()
	e := serving(t, "")
	r, err := e.serve()
	e.must(err)
	e.wait("notified", e.inState("cache-1", casework.Notified))
	e.must(r.end())
	for _, mode := range []policy.Mode{policy.Observe, policy.Notify} {
		pairs := e.plot.config
		e.plot.config = append(slices.Clone(pairs), "mode: enforce", "mode: "+string(mode))
		e.write()
		_, err = e.serve()
		f, ok := fault.Of(err)
		if !ok || f.Code != fault.Refused || !strings.Contains(f.Hint, "demarc mode set "+string(mode)+" --reason TEXT --config FILE") ||
			!strings.Contains(f.Hint, "`mode: enforce`") {
			t.Fatalf("%s: %v", mode, err)
		}
		if _, bad := e.doctor(); !strings.Contains(bad[serve.ModeLower].Remedy, "demarc mode set "+string(mode)) {
			t.Errorf("%s: the doctor says %+v", mode, bad[serve.ModeLower])
		}
		e.plot.config = pairs
	}
	e.plot.config = append(slices.Clone(e.plot.config), "mode: enforce", "mode: observe")
	e.write()
	c, p, err := serve.Load(e.dir + "/demarc.yaml")
	e.must(err)
	q := serve.Ask{Do: serve.SetMode, Mode: policy.Observe, By: "olga"}
	if _, err := serve.DecideAlone(t.Context(), e.place, p, c.SwitchPath(), q, c.Password()); !fault.Is(err, fault.Usage) {
		t.Errorf("lowered without a reason: %v", err)
	}
	q.Why = "the scanner moves"
	_, err = serve.DecideAlone(t.Context(), e.place, p, c.SwitchPath(), q, c.Password(), store.WithHeads(store.HeadFile(c.HeadsPath())))
	e.must(err)
	if r, err = e.serve(); err != nil {
		t.Fatal(err)
	}
	e.must(r.end())
	if !strings.Contains(e.auditFile(), "from enforce to observe: the scanner moves") {
		t.Error("the reason is not in the audit log")
	}
}

// A database that has notified owners and does not say in which mode it runs, as one of an earlier build or one that was edited, is not
// taken for one in observe: an operator chooses.
func TestServeRefusesToStartWhereTheModeIsMissing(t *testing.T) {
	t.Parallel()
	e := serving(t, "")
	r, err := e.serve()
	e.must(err)
	e.wait("notified", e.inState("cache-1", casework.Notified))
	e.must(r.end())
	c, p, err := serve.Load(e.dir + "/demarc.yaml")
	e.must(err)
	db, err := c.OpenDatabase(t.Context())
	e.must(err)
	e.must(db.Commit(t.Context(), casework.Change{At: e.clock.Now(), Mode: "edited"}))
	e.must(db.Close())
	_, err = e.serve()
	if f, ok := fault.Of(err); !ok || f.Code != fault.Refused ||
		!strings.Contains(f.Hint, "demarc mode set enforce --reason TEXT --config FILE") {
		t.Fatalf("started: %v", err)
	}
	q := serve.Ask{Do: serve.SetMode, Mode: policy.Notify, By: "olga", Why: "it was lost"}
	_, err = serve.DecideAlone(t.Context(), e.place, p, c.SwitchPath(), q, c.Password(), store.WithHeads(store.HeadFile(c.HeadsPath())))
	e.must(err)
	if r, err = e.serve(); err != nil {
		t.Fatal(err)
	}
	e.must(r.end())
}

// auditFile is the audit log as the database holds it, while no server runs.
func (e *exam) auditFile() string {
	e.t.Helper()
	db, err := store.OpenReader(e.t.Context(), e.place)
	e.must(err)
	defer db.Close() //nolint:errcheck // it was only read
	log, err := db.AuditLog(e.t.Context())
	e.must(err)
	var b strings.Builder
	for _, l := range log.Leaves {
		b.Write(l.Data)
	}
	return b.String()
}

// A running server follows a change of the mode without a restart; the socket refuses what the configuration does not allow.
func TestAServerFollowsTheMode(t *testing.T) {
	t.Parallel()
	e := open(t, plot{firstStart: true, config: append(compressed(""), "mode: enforce", "mode: notify")})
	e.stop()
	r, err := e.serve()
	e.must(err)
	e.wait("observed", func() bool { return len(e.w.Mail.For(operators)) == 1 })
	want := serve.ModeState{InForce: policy.Observe, Chosen: policy.Observe, Highest: policy.Notify}
	if told := e.ask(r, serve.Ask{Do: serve.ShowMode}); *told.Mode != want {
		t.Errorf("the mode is %+v", told.Mode)
	}
	for _, q := range []serve.Ask{
		{Mode: policy.Enforce, Why: "a test"}, {Mode: "all", Why: "a test"}, {Why: "a test"}, {Mode: policy.Notify},
		{Mode: policy.Notify, Why: "a test", By: "somebody"},
	} {
		q.Do = serve.SetMode
		if _, err := serve.AskServer(t.Context(), r.sock, q); err == nil {
			t.Errorf("%+v is taken", q)
		}
	}
	if got := e.addressees(); !slices.Equal(got, []string{operators}) {
		t.Fatalf("mail went to %v", got)
	}
	told := e.ask(r, serve.Ask{Do: serve.SetMode, Mode: policy.Notify, Why: "the netblocks are checked"})
	if told.Mode.InForce != policy.Notify {
		t.Errorf("the mode is %+v", told.Mode)
	}
	e.wait("notified", e.inState("cache-1", casework.Notified))
	e.must(r.end())
	log := e.auditFile()
	if !strings.Contains(log, `"kind":"mode.changed"`) || !strings.Contains(log, "from observe to notify: the netblocks are checked") ||
		!strings.Contains(log, `"actor":"`+told.By) {
		t.Error("who changed the mode, and why, is not in the audit log")
	}
}

// A word in the database that is not a mode counts as observe, at the start and while the pipeline runs.
func TestAnUnknownModeInTheDatabaseIsObserve(t *testing.T) {
	t.Parallel()
	for _, m := range []policy.Mode{"all", "ENFORCE", " enforce"} {
		e := open(t, plot{firstStart: true})
		e.must(e.d.DB.Commit(t.Context(), casework.Change{At: e.clock.Now(), Mode: m}))
		e.after(10 * day)
		if got := e.addressees(); !slices.Equal(got, []string{operators}) {
			t.Errorf("%q: mail went to %v", m, got)
		}
	}
}

// A configuration that allows more than before takes effect with the mode that the operators chose.
func TestARaisedConfigurationTakesUpObservedCases(t *testing.T) {
	t.Parallel()
	e := open(t, plot{config: []string{"mode: enforce\n", ""}})
	e.must(e.d.DB.Commit(t.Context(), casework.Change{At: e.clock.Now(), Mode: policy.Enforce})) // chosen under an earlier configuration
	e.after(5 * day)
	if got := e.addressees(); !slices.Equal(got, []string{operators}) {
		t.Fatalf("mail went to %v", got)
	}
	e.plot.config = nil
	e.write()
	e.restart()
	e.untilIdle()
	if c := e.theCase("cache-1"); c.State != casework.Notified || len(e.w.Mail.For(owner)) != 1 {
		t.Errorf("the case is %s, last\n%s", c.State, strings.Join(e.last(10), "\n"))
	}
	if !strings.Contains(e.detail("", "mode.applied"), "from observe to enforce; 1 cases are checked") {
		t.Errorf("applied: %s", e.detail("", "mode.applied"))
	}
}

// Nobody is notified in observe by what moves between parties either.
func TestProviderGetsNoMailInObserve(t *testing.T) {
	t.Parallel()
	e := open(t, plot{firstStart: true, scenario: demoTown()})
	e.after(6 * day)
	if got := e.addressees(); !slices.Equal(got, []string{operators}) {
		t.Errorf("mail went to %v", got)
	}
	e.untouched()
}

// demoTown is the demo's world, on any free range of loopback.
func demoTown() lab.Scenario {
	s := lab.DemoScenario()
	s.Anywhere = true
	return s
}
