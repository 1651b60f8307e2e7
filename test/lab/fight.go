package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"demarc/internal/lab"
	"demarc/internal/policy"
)

// fightTally is the last line of a fight.
type fightTally struct {
	Servers    int     `json:"servers"`
	Stories    int     `json:"stories"`
	Assertions int     `json:"assertions"`
	Wrong      int     `json:"wrong"`
	Kills      int     `json:"kills"`
	Mails      int     `json:"mails"`
	Actions    int     `json:"actions"`
	Seconds    float64 `json:"seconds"`
}

// fighter is one run of the scenario fight. The goroutine that plays it reads the state of cases from the database through the program's
// own commands, so that a killed server loses no event that the run waits for.
type fighter struct {
	*exam
	proxy    *lab.Proxy // stands between the server and the cloud, for the account that acts
	stories  int
	every    []func() // what tenants do at each poll
	pumped   sync.WaitGroup
	flapped  int       // rounds in which alice removed the rule of flap
	rounds   int       // and those that an operator approved
	shutAt   time.Time // when she removed it; zero: it is there
	shutMark int       // and how many events there were then

	listed   []kase    // the cases as last listed
	listedAt time.Time // and when

	mu       sync.Mutex // guards what follows, and exam.server and exam.heard while the pump runs
	killing  bool       // whether an action that begins gets its kill
	turn     int        // which kind of kill is next
	kills    int
	stopping bool // the server is stopped on purpose, and not started again by the pump
	broken   error
}

// fight plays the scenario fight.
func fight(ctx context.Context) (t fightTally, err error) {
	clouds, bed := os.Getenv("DEMARC_CLOUDS"), os.Getenv("DEMARC_TESTBED")
	if clouds == "" || bed == "" {
		return t, errors.New("run this by make fight: it needs DEMARC_CLOUDS and DEMARC_TESTBED")
	}
	dir, err := os.MkdirTemp("", "demarc-fight-")
	if err != nil {
		return t, err
	}
	f := &fighter{exam: &exam{dir: dir, testbed: bed, config: filepath.Join(dir, "demarc.yaml"), program: filepath.Join(dir, "demarc"),
		began: time.Now(), owners: map[string]*api{}}}
	defer func() {
		if len(f.wrong) == 0 && err == nil {
			err = os.RemoveAll(dir)
			return
		}
		fmt.Fprintln(os.Stderr, "fight: what is left to look at:", dir)
	}()
	if f.box, err = lab.NewMailbox("127.0.0.1:0"); err != nil {
		return t, fmt.Errorf("starting the mailbox: %w", err)
	}
	defer f.box.Close()
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", f.program, "./cmd/demarc").CombinedOutput(); err != nil {
		return t, fmt.Errorf("building demarc: %w: %s", err, out)
	}
	if err := f.enter(ctx, clouds); err != nil {
		return t, err
	}
	if err := f.configure(clouds); err != nil {
		return t, err
	}
	defer f.proxy.Close()
	if err := f.launch(); err != nil {
		return t, err
	}
	defer f.stop()
	if err := f.play(ctx); err != nil {
		return t, errors.Join(err, f.server.lastWords())
	}
	f.stop()
	actions, err := f.judge(ctx)
	return fightTally{Servers: len(f.ids), Stories: f.stories, Assertions: f.asserted, Wrong: len(f.wrong), Kills: f.kills,
		Mails: len(f.box.Messages()), Actions: actions, Seconds: time.Since(f.began).Round(100 * time.Millisecond).Seconds()}, err
}

// enter logs everybody in and records how the cloud was.
func (f *fighter) enter(ctx context.Context, clouds string) error {
	var err error
	for _, name := range []string{"alice", "amy", "bea", "nora", "carol"} {
		if f.owners[name], err = login(ctx, clouds, name); err != nil {
			return err
		}
	}
	if f.admin, err = login(ctx, clouds, "admin"); err != nil {
		return err
	}
	if f.ids, err = f.admin.servers(ctx); err != nil {
		return err
	}
	if f.before, err = f.admin.ports(ctx); err != nil {
		return err
	}
	if len(f.ids) != 16 {
		return fmt.Errorf("the cloud has %d servers, the scenario fight 16: bring it up anew", len(f.ids))
	}
	return nil
}

var authURL = regexp.MustCompile(`auth_url: (\S+)`)

// fightPolicy is the default policy with the least times that are allowed, and budgets that do not matter here.
func fightPolicy() (string, error) {
	text := string(policy.DefaultYAML())
	for _, r := range [][2]string{
		{"E: {internet: 4d, institution: 7d, grace: 24h", "E: {internet: 24h, institution: 24h, grace: 24h"},
		{"inventory_every: 60s", "inventory_every: 10h"}, {"recent_every: 60s", "recent_every: 5h"},
		{"sweep_every: 1d", "sweep_every: 2d"},
		{"wide_within: 30d", "wide_within: 365d"}, // else each sweep has thousands of ports of the server without port security
		{"cloud_per_hour: 5", "cloud_per_hour: 50"}, {"cloud_per_day: 20", "cloud_per_day: 500"}, {"project_per_hour: 1", "project_per_hour: 50"},
		{"project_share_per_day: 0.10", "project_share_per_day: 1"}, {"cloud_share_per_day: 0.02", "cloud_share_per_day: 1"},
		{"fixed_gap: 30m", "fixed_gap: 16h"}, {"posture: [", "posture: [] # ["},
	} {
		if !strings.Contains(text, r[0]) {
			return "", fmt.Errorf("%q is not in the default policy", r[0])
		}
		text = strings.Replace(text, r[0], r[1], 1)
	}
	return text, nil
}

func (f *fighter) configure(clouds string) error {
	b, err := os.ReadFile(clouds)
	if err != nil {
		return err
	}
	found := authURL.FindSubmatch(b)
	if found == nil {
		return errors.New("clouds.yaml names no auth_url")
	}
	if f.proxy, err = lab.NewProxy(string(found[1])); err != nil {
		return err
	}
	through := filepath.Join(f.dir, "clouds-act.yaml")
	if err := os.WriteFile(through, authURL.ReplaceAll(b, []byte("auth_url: "+f.proxy.AuthURL())), 0o600); err != nil {
		return err
	}
	if err := f.writeConfig(clouds); err != nil {
		return err
	}
	text, err := fightPolicy()
	if err != nil {
		return err
	}
	c, err := os.ReadFile(f.config)
	if err != nil {
		return err
	}
	config := strings.Replace(string(c), "enforcement: {clouds_file: "+clouds, "enforcement: {clouds_file: "+through, 1)
	config = strings.Replace(config, "netblocks:\n",
		"netblocks:\n  - {cidr: 192.0.2.0/24, holder: provider, zones: [internet, institution]}\n", 1)
	return errors.Join(os.WriteFile(filepath.Join(f.dir, "policy.yaml"), []byte(text), 0o600), os.WriteFile(f.config, []byte(config), 0o600))
}

// launch starts the server and what follows its events.
func (f *fighter) launch() error {
	s, err := f.start()
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.server, f.stopping = s, false
	f.mu.Unlock()
	f.pumped.Go(func() { f.pump(s) })
	return nil
}

// pump records the server's events, kills it at its actions, and starts it again.
func (f *fighter) pump(s *server) {
	for s != nil {
		for _, ev := range s.early {
			f.record(ev)
		}
		for ev := range s.events {
			f.record(ev)
			f.strike(s, ev)
		}
		err := <-s.done
		f.mu.Lock()
		stopping, killed := f.stopping, s.killed
		f.mu.Unlock()
		if stopping {
			return
		}
		if !killed {
			f.fail(errors.Join(fmt.Errorf("demarc serve ended by itself: %w", err), s.lastWords()))
			return
		}
		if s, err = f.start(); err != nil {
			f.fail(fmt.Errorf("after a kill: %w", err))
			return
		}
		f.mu.Lock()
		f.server = s
		if f.stopping { // while it started
			_ = s.cmd.Process.Signal(syscall.SIGTERM)
		}
		f.mu.Unlock()
	}
}

func (f *fighter) fail(err error) {
	f.mu.Lock()
	f.broken = err
	f.mu.Unlock()
}

func (f *fighter) record(ev event) {
	f.mu.Lock()
	f.heard = append(f.heard, ev)
	f.mu.Unlock()
	switch ev.Msg {
	case "act.intended", "act.done", "act.void", "act.held", "act.tampered", "case.on_hold",
		"leftover.found", "case.repaired", "case.continues":
		f.say("      %s %s %s", ev.Msg, ev.Server, ev.Detail)
	}
	if ev.Level == "ERROR" {
		f.say("      ERROR %s %s", ev.Msg, ev.Err)
	}
}

// strike kills the server at an action that begins: at once, after the first call that changed the cloud, or after it is done.
func (f *fighter) strike(s *server, ev event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.killing || ev.Msg != "act.intended" && ev.Msg != "act.done" {
		return
	}
	if ev.Msg == "act.done" {
		if f.turn%3 == 2 {
			f.turn++
			f.kill9(s)
		}
		return
	}
	turn := f.turn % 3
	if ev.Act == "start" && turn == 0 {
		turn = 1 // what is asked of a machine has no revision: an intent without a call is settled only after five minutes of real time
	}
	switch turn {
	case 0:
		f.turn++
		f.kill9(s)
	case 1:
		f.turn++
		go f.afterCall(s, len(f.proxy.Log()), "")
	}
}

// afterCall kills the server as soon as a call that changes the cloud was answered, but no earlier request than the given one.
func (f *fighter) afterCall(s *server, from int, path string) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		log := f.proxy.Log()
		if slices.ContainsFunc(log[from:], func(p lab.Passage) bool {
			return p.Method != "GET" && !strings.HasSuffix(p.Path, "/auth/tokens") && strings.Contains(p.Path, path)
		}) {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kill9(s)
}

// alive gives the server that runs, once the one that was killed has a successor.
func (f *fighter) alive(ctx context.Context) *server {
	for {
		f.mu.Lock()
		s := f.server
		killed := s.killed
		f.mu.Unlock()
		if !killed || ctx.Err() != nil {
			return s
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// kill9 ends the server as a power cut does. The caller holds mu.
func (f *fighter) kill9(s *server) {
	if s.killed || f.stopping {
		return
	}
	s.killed = true
	f.kills++
	f.say("      kill -9")
	_ = s.cmd.Process.Signal(syscall.SIGKILL)
}

func (f *fighter) setKilling(on bool) {
	f.mu.Lock()
	f.killing = on
	f.mu.Unlock()
}

// stop ends the server as an operator does, and waits until it has ended.
func (f *fighter) stop() {
	f.mu.Lock()
	s, was := f.server, f.stopping
	f.stopping = true
	f.mu.Unlock()
	if !was {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
	}
	f.pumped.Wait()
}

// kase is a case as demarc case list shows it.
type kase struct {
	ID, Ref, Server, Party, Track, State, Hold, Will, Announced string
	Name                                                        string `json:"server_name"`
	Blocks, Lost                                                []string
	Due                                                         string
}

// cases lists all cases. A listing of a moment ago is good enough: each one is a process.
func (f *fighter) cases(ctx context.Context) ([]kase, error) {
	if time.Since(f.listedAt) < 400*time.Millisecond {
		return f.listed, nil
	}
	out, err := f.demarc(ctx, "case", "list", "--output", "json")
	if err != nil {
		return nil, err
	}
	var all []kase
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return nil, fmt.Errorf("case list: %w", err)
	}
	f.listed, f.listedAt = all, time.Now()
	return all, nil
}

// of gives the newest case about a server that its owner must act on.
func (f *fighter) of(ctx context.Context, name string) kase {
	all, err := f.cases(ctx)
	if err != nil {
		f.must(ctx.Err() != nil, "case list: %v", err)
		return kase{}
	}
	var found kase
	for _, c := range all {
		if c.Server == f.ids[name] && c.Party == "customer" && c.Track == "vulnerability" &&
			(found.ID == "" || found.State == "closed" || found.State == "moot") {
			found = c
		}
	}
	return found
}

// atMost is how long something is waited for: it ends a run that hangs, and measures nothing.
const atMost = 10 * time.Minute

// wait polls until something holds; tenants act at each poll.
func (f *fighter) wait(ctx context.Context, what string, holds func() bool) error {
	end := time.Now().Add(atMost)
	for !holds() {
		f.mu.Lock()
		broken := f.broken
		f.mu.Unlock()
		switch {
		case broken != nil:
			return broken
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(end):
			return fmt.Errorf("after %s still not: %s", atMost, what)
		}
		for _, act := range f.every {
			act()
		}
		time.Sleep(250 * time.Millisecond)
	}
	f.say("%s", what)
	return nil
}

// inState waits until the newest case of each server is in a state.
func (f *fighter) inState(ctx context.Context, state string, names ...string) error {
	var is []string
	err := f.wait(ctx, fmt.Sprintf("%v: %s", names, state), func() bool {
		is = nil
		for _, n := range names {
			if c := f.of(ctx, n); c.State != state {
				is = append(is, fmt.Sprintf("%s is %s (%s) %s", n, c.State, strings.Join(c.Blocks, "; "), c.Hold))
			}
		}
		return len(is) == 0
	})
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.Join(is, ", "))
	}
	return nil
}

// approve approves the action of some servers' cases, as one batch.
func (f *fighter) approve(ctx context.Context, names []string, args ...string) error {
	ids := []string{"enforce", "approve", "--yes"}
	for _, n := range names {
		ids = append(ids, f.of(ctx, n).ID)
	}
	_, err := f.demarc(ctx, append(ids, args...)...)
	f.say("an operator approves %v %v", names, args)
	return err
}

// refusedFor waits until the gate refused a server's action by a condition.
func (f *fighter) refusedFor(ctx context.Context, name, condition string, since int) error {
	return f.wait(ctx, fmt.Sprintf("%s is refused for %s", name, condition), func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return slices.ContainsFunc(f.heard[since:], func(ev event) bool {
			return ev.Server == name && ev.Msg == "gate.refused" && strings.Contains(ev.Detail, condition)
		})
	})
}

// mark is the number of events so far.
func (f *fighter) mark() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.heard)
}

// mails lists the mails of one step to somebody about a case.
func (f *fighter) mails(to string, c kase, step string) []lab.Message {
	return slices.DeleteFunc(f.box.For(to), func(m lab.Message) bool {
		return !strings.HasPrefix(strings.Trim(m.MessageID, "<>"), strings.ToLower(c.Ref)+"."+step+".")
	})
}

// words is what a reader sees of a mail: subject and body, on one line.
func words(m lab.Message) string {
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		return "a subject that cannot be read: " + err.Error()
	}
	body, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(m.Body)))
	if err != nil {
		return "a body that cannot be read: " + err.Error()
	}
	return subject + " " + strings.Join(strings.Fields(string(body)), " ")
}

// lastText is what a reader sees of the newest mail of a list.
func lastText(ms []lab.Message) string {
	if len(ms) == 0 {
		return ""
	}
	return words(ms[len(ms)-1])
}
