package demo

import (
	"cmp"
	"context"
	"fmt"
	"mime"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/finding"
	"demarc/internal/flow"
	"demarc/internal/lab"
	"demarc/internal/policy"
)

var (
	netblock = netip.MustParsePrefix("127.77.0.0/17")
	bastion  = netip.MustParsePrefix("127.77.200.0/24")
)

// Whom the demo's configuration names.
const (
	provider  = "platform-team@cloud.example"
	operators = "cloud-operators@cloud.example"
)

// scannerOnly happens where groups let our scanner in and nobody else: that is obedience and no finding.
const scannerOnly = "endpoint.scanner_only"

// deed is what a person of the story will do, and when.
type deed struct {
	at   int64
	what string
	do   func(ctx context.Context) error
}

// story is the people: owners who fix or ignore, a tenant who firewalls, an operator who approves. They react to what reaches
// them and never look into Demarc.
type story struct {
	d         *Demo
	o         Options
	mu        sync.Mutex
	did       []string // what happened, by "server event"
	acts      []deed
	farmAsked bool
	before    []string // the groups of cache-1's port when the story begins
}

func newStory(d *Demo, o Options) *story {
	s := &story{d: d, o: o}
	if ports := d.World.PortIDs("cache-1"); len(ports) > 0 {
		s.before = d.World.PortGroups(ports[0])
	}
	return s
}

// raise lets the operator choose the mode in which the story plays: a new database begins in observe.
func (s *story) raise(ctx context.Context) error {
	s.say("Olga, an operator, raises the mode from observe to enforce")
	return s.d.Demarc.Line.SetMode(ctx, policy.Enforce, "olga", "the demo shows every step")
}

// heard is told everything the line commits.
func (s *story) heard(h flow.Happening) {
	s.mu.Lock()
	server := h.Server.Raw()
	s.did = append(s.did, server+" "+h.Event)
	s.mu.Unlock()
	if s.o.Tell != nil {
		s.o.Tell(h)
	}
	s.react(server, h)
}

// react is the script. What it plans happens between two steps, but for the address that moves: that happens at once, between
// the probe and the notice.
func (s *story) react(server string, h flow.Happening) {
	w := s.d.World
	notified := h.Event == "mail.accepted" && h.Detail == string(casework.StepNotice)
	switch {
	case server == "mover-1" && h.Event == "finding.opened":
		s.say("Alice gives the floating IP of mover-1 back, and Bea takes it for mover-2")
		_ = w.MoveFloatingIP(w.At(netip.MustParseAddr("127.77.1.60")), "mover-2")
	case server == "cache-2" && notified:
		s.plan(5*time.Hour, "Bruno reads the mail, sets a password and says it is fixed", func(ctx context.Context) error {
			if err := setPassword(w, "cache-2"); err != nil {
				return err
			}
			return s.d.Demarc.Line.Claim(ctx, h.Case, "bruno")
		})
	case server == "notebook" && notified && s.count("notebook case.notified") == 0:
		s.plan(2*time.Hour, "Carol does not fix anything; she drops the scanner's packets", func(context.Context) error {
			return w.BlockSource("notebook", true, netip.PrefixFrom(lab.DemoScanner, 32))
		})
	case server == "cache-1" && h.Event == "case.queued":
		s.plan(time.Hour, "Olga, an operator, approves the quarantine of cache-1", func(ctx context.Context) error {
			return s.d.Demarc.Line.Approve(ctx, h.Case, "olga")
		})
	case server == "cache-1" && h.Event == "case.restricted":
		s.plan(3*time.Hour, "Amir comes in by the bastion, sets a password, adds a rule of his own and asks for release", func(ctx context.Context) error {
			return s.repair(ctx, h.Case)
		})
	case s.farmIsQueued(h):
		s.plan(26*time.Hour, "Olga approves all five machines of the farm in one go", s.approveFarm)
	}
}

func setPassword(w *lab.World, server string) error {
	return w.SetService(server, "redis", func(v *lab.Service) { v.Mode = "requirepass" })
}

func (s *story) repair(ctx context.Context, id string) error {
	w := s.d.World
	if err := setPassword(w, "cache-1"); err != nil {
		return err
	}
	rule := lab.Rule{Proto: "tcp", Min: 9121, Max: 9121, Remote: netip.MustParsePrefix("127.77.200.0/24")}
	if _, err := w.TenantAddRule("astro", "cache", rule); err != nil {
		return err
	}
	return s.d.Demarc.Line.Claim(ctx, id, "amir")
}

func (s *story) farmIsQueued(h flow.Happening) bool {
	if h.Event != "case.queued" || s.farmAsked {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 1; i <= 5; i++ {
		if !slices.Contains(s.did, fmt.Sprintf("farm-%d case.queued", i)) {
			return false
		}
	}
	s.farmAsked = true
	return true
}

func (s *story) approveFarm(ctx context.Context) error {
	cases, err := s.d.Demarc.DB.Cases(ctx, access.Operator(), casework.Filter{States: []casework.State{casework.Queued}})
	if err != nil {
		return err
	}
	for _, c := range cases {
		if string(c.Project) == s.d.World.ProjectID("compute") {
			if err := s.d.Demarc.Line.Approve(ctx, c.ID, "olga"); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *story) plan(after time.Duration, what string, do func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acts = append(s.acts, deed{s.d.Clock.Now() + after.Microseconds(), what, do})
	slices.SortStableFunc(s.acts, func(a, b deed) int { return cmp.Compare(a.at, b.at) })
}

func (s *story) nextAct() (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.acts) == 0 {
		return 0, false
	}
	return s.acts[0].at, true
}

func (s *story) act(ctx context.Context) error {
	s.mu.Lock()
	a := s.acts[0]
	s.acts = s.acts[1:]
	s.mu.Unlock()
	s.say(a.what)
	if err := a.do(ctx); err != nil {
		return fmt.Errorf("%s: %w", a.what, err)
	}
	return nil
}

func (s *story) say(what string) {
	if s.o.Say != nil {
		s.o.Say(s.d.Clock.Now(), what)
	}
}

func (s *story) count(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, x := range s.did {
		if x == what {
			n++
		}
	}
	return n
}

// ending is what must have happened for a story to be over.
type ending struct {
	story string
	what  string
	event string
}

var endings = []ending{
	{"a", "cache-1 was quarantined, fixed, proven, released and its case closed", "cache-1 case.closed"},
	{"b", "cache-2 was fixed after the first mail, proven and its case closed", "cache-2 case.closed"},
	{"c", "legacy-db's finding was charged to the provider and told to it", "legacy-db mail.accepted"},
	{"d", "notebook is unverifiable, and the tenant was told that we cannot look", "notebook finding.unverifiable"},
	{"e", "leaky answers although it is denied, and the provider was told", "leaky mail.accepted"},
	{"f", "the address of mover-1 moved, and the observation was discarded", "mover-1 observation.discarded"},
	{"g", "the batch of five was over budget, and nothing was done", "farm-5 gate.refused"},
}

func (s *story) missing() []string {
	var out []string
	for _, e := range endings {
		if s.count(e.event) == 0 {
			out = append(out, "story "+e.story+" is not over: "+e.what)
		}
	}
	return out
}

func (s *story) over(context.Context) (bool, error) { return len(s.missing()) == 0, nil }

// Line of the outcome: one story, and whether the world shows what it should.
type Told struct {
	Story string   `json:"story"`
	What  string   `json:"what"`
	Held  bool     `json:"held"`
	Wrong []string `json:"wrong,omitempty"`
}

// Outcome is how the stories ended, held against the pretend world itself and not against what Demarc says of it.
type Outcome struct {
	At      int64   `json:"at"` // policy time, µs
	Stories []Told  `json:"stories"`
	Wrong   int     `json:"wrong"`
	Days    int     `json:"policy_days"`
	Seconds float64 `json:"seconds"`
	Mails   int     `json:"mails"`
	Acts    int     `json:"acts"`
}

// outcome checks every story against the world: its port groups, its action log, its mailbox.
func (s *story) outcome(ctx context.Context, took time.Duration) (*Outcome, error) {
	db := s.d.Demarc.DB
	cases, err := db.Cases(ctx, access.Operator(), casework.Filter{})
	if err != nil {
		return nil, err
	}
	findings, err := db.Findings(ctx, access.Operator(), finding.Filter{})
	if err != nil {
		return nil, err
	}
	j := &jury{s: s, cases: cases, findings: findings}
	out := &Outcome{At: s.d.Clock.Now(), Days: int(time.UnixMicro(s.d.Clock.Now()).Sub(begins).Hours() / 24), Seconds: took.Seconds(), Mails: len(s.d.World.Mail.Messages())}
	for _, e := range endings {
		t := Told{Story: e.story, What: e.what, Wrong: j.judge(e.story)}
		t.Held = len(t.Wrong) == 0
		out.Wrong += len(t.Wrong)
		out.Stories = append(out.Stories, t)
	}
	out.Acts = j.acts("")
	return out, nil
}

// jury holds the stories against the world.
type jury struct {
	s        *story
	cases    []casework.Case
	findings []finding.Finding
}

func (j *jury) judge(story string) []string {
	var wrong []string
	must := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	w := j.s.d.World
	switch story {
	case "a":
		must(j.acts("cache-1") == 2, "%d changes of cache-1's port, want a quarantine and a restore", j.acts("cache-1"))
		must(slices.Equal(w.PortGroups(w.PortIDs("cache-1")[0]), j.s.before), "cache-1 has groups %v, it had %v", w.PortGroups(w.PortIDs("cache-1")[0]), j.s.before)
		must(len(w.GroupRules(w.GroupID("astro", "cache"))) > 0 && j.ruleKept(), "the rule the owner added is gone")
	case "b":
		must(j.acts("cache-2") == 0, "cache-2 was touched")
		must(j.mails(letter{to: "bruno@genomics.example", about: "cache-2", words: "a weakness to fix"}) == 1, "bruno got %d notices about cache-2, want one", j.mails(letter{to: "bruno@genomics.example", about: "cache-2", words: "a weakness to fix"}))
		must(j.mails(letter{to: "bruno@genomics.example", words: "final warning"}) == 0, "bruno got a final warning")
		must(j.mails(letter{about: "cache-2", words: "final warning"}) == 0, "somebody got a final warning about cache-2")
	case "c":
		must(j.acts("legacy-db") == 0, "legacy-db was touched")
		for _, f := range j.of("legacy-db") {
			must(f.Duty.Party == "provider" && f.Duty.Assignment == "guest-os-extended-maintain", "the finding is %s's by %s", f.Duty.Party, f.Duty.Assignment)
		}
		j.onlyShown(must, "dmitri@physics.example", "legacy-db")
		must(j.mails(letter{to: provider, about: "legacy-db"}) > 0, "the provider was not told of legacy-db")
		must(len(j.of("legacy-db")) == 1, "%d findings on legacy-db", len(j.of("legacy-db")))
	case "d":
		for _, f := range j.of("notebook") {
			must(f.State != finding.Fixed && f.State != finding.Closed, "%s is %s", f.Key.Check, f.State)
		}
		must(len(j.of("notebook")) > 0, "nothing was found on notebook")
		must(j.mails(letter{to: "carol@teaching.example", about: "notebook", words: "we can no longer look"}) == 1, "carol was not told once that we cannot look")
		must(j.mails(letter{about: "notebook", words: "closed"}) == 0, "somebody was told that notebook's case is closed")
		must(j.mails(letter{about: "notebook", words: "taken off"}) == 0, "somebody was told that notebook is off the network")
		must(j.acts("notebook") == 0, "notebook was touched")
	case "e":
		must(len(j.of("leaky")) == 1 && j.of("leaky")[0].Key.Check == flow.CheckLeak, "leaky has %d findings", len(j.of("leaky")))
		j.onlyShown(must, "@teaching.example", "leaky")
		must(j.mails(letter{to: provider, about: "leaky"}) > 0, "the provider was not told of leaky")
		must(len(j.of("scanner-only")) == 0, "scanner-only has a finding")
		must(j.naming("scanner-only") == 0, "a mail names scanner-only")
		must(j.s.count("scanner-only "+scannerOnly) > 0, "it was not told that scanner-only answers our scanner alone")
		must(j.acts("leaky") == 0 && j.acts("scanner-only") == 0, "a machine was touched")
	case "f":
		must(len(j.of("mover-2")) == 0, "mover-2 has a finding")
		must(j.naming("mover-1") == 0 && j.naming("mover-2") == 0, "%d mails name mover-1, %d mover-2", j.naming("mover-1"), j.naming("mover-2"))
	case "g":
		for i := 1; i <= 5; i++ {
			server := fmt.Sprintf("farm-%d", i)
			must(j.acts(server) == 0, "%s was touched", server)
			must(j.mails(letter{to: "elena@compute.example", about: server, words: "final warning"}) == 1, "elena was not warned once of %s", server)
			must(j.mails(letter{to: operators, about: server, words: "the act was not carried out"}) == 1, "the operators were not told once that %s was left alone", server)
			must(j.mails(letter{about: server, words: "taken off"}) == 0, "somebody was told that %s is off the network", server)
		}
	}
	return wrong
}

func (j *jury) of(server string) []finding.Finding {
	id := asset.ServerID(j.s.d.World.ServerID(server))
	var out []finding.Finding
	for _, f := range j.findings {
		if f.Key.Server == id {
			out = append(out, f)
		}
	}
	return out
}

// acts counts the changes Demarc made to a server's ports, as the world's own log has them; "" is every server.
func (j *jury) acts(server string) int {
	n := 0
	w := j.s.d.World
	for _, a := range w.Actions() {
		if a.Method != "PUT" || !a.Done {
			continue
		}
		if server == "" {
			n++
			continue
		}
		for _, p := range w.PortIDs(server) {
			if a.Path == "/networking/v2.0/ports/"+p {
				n++
			}
		}
	}
	return n
}

// letter picks mails from the pretend mailbox: to a recipient or to a whole domain, about a server, with words in the subject.
// What is empty is not asked.
type letter struct{ to, about, words string }

// mails counts the mails that arrived and match. The mailbox knows what was sent, whatever the ledger says of it.
func (j *jury) mails(l letter) int {
	n := 0
	for _, m := range j.s.d.World.Mail.Messages() {
		subject := subjectOf(m)
		if strings.HasSuffix(strings.ToLower(m.To), l.to) && (l.about == "" || strings.HasSuffix(subject, ": "+l.about)) && strings.Contains(subject, l.words) {
			n++
		}
	}
	return n
}

// onlyShown: the owner of a machine hears how the provider stands with what it holds there, and is asked for nothing.
func (j *jury) onlyShown(must func(ok bool, format string, args ...any), owner, machine string) {
	all, shown := j.mails(letter{to: owner, about: machine}), j.mails(letter{to: owner, about: machine, words: "with the provider"})
	must(shown > 0 && shown == all, "%s got %d mails about %s, %d of them saying that it is with the provider", owner, all, machine, shown)
}

// naming counts the mails that name a server anywhere.
func (j *jury) naming(server string) int {
	n := 0
	for _, m := range j.s.d.World.Mail.Messages() {
		if strings.Contains(subjectOf(m), server) || strings.Contains(m.Raw, server) {
			n++
		}
	}
	return n
}

func subjectOf(m lab.Message) string {
	raw := m.Header.Get("Subject")
	s, err := new(mime.WordDecoder).DecodeHeader(raw)
	if err != nil {
		return raw
	}
	return s
}

func (j *jury) ruleKept() bool {
	w := j.s.d.World
	return slices.ContainsFunc(w.GroupRules(w.GroupID("astro", "cache")), func(r string) bool { return len(r) > 0 && containsPort(r, "9121") })
}

func containsPort(rule, port string) bool { return strings.Contains(rule, port) }
