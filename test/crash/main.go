// Command crash kills a running Demarc with SIGKILL at every commit and at every call to the outside of one whole story,
// starts it again, and asks the world whether anything was lost or done twice.
//
// The parent holds the pretend world: cloud, hosts and mailbox outlive the child. The child is the real line on a real
// database: a file, or with -postgres one on the server that DEMARC_TEST_POSTGRES names. For each point of the story there is a fresh world, one child that dies at the point, and one that lives.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"demarc/internal/access"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/lab"
	"demarc/internal/store"
	"demarc/internal/store/storetest"
)

func main() {
	if dir := os.Getenv("DEMARC_CRASH_CHILD"); dir != "" {
		if err := child(context.Background(), dir); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		return
	}
	postgres := flag.Bool("postgres", false, "keep the story in a PostgreSQL database; DEMARC_TEST_POSTGRES is the URL of a server on which some may be made")
	every := flag.Int("every", 1, "kill at every `N`th point only")
	flag.Parse()
	if *every < 1 {
		fmt.Println("-every takes a number from 1 on")
		os.Exit(3)
	}
	if *postgres {
		if admin = storetest.Admin(); admin == "" {
			fmt.Println("-postgres needs DEMARC_TEST_POSTGRES; make db sets it")
			os.Exit(3)
		}
	}
	os.Exit(parent(*every))
}

// admin is the server on which each world gets a database; empty: each gets a file.
var admin string

// result is the last line.
type result struct {
	Story    int `json:"story"`  // points that it has
	Points   int `json:"points"` // at which it was killed
	Survived int `json:"survived"`
	Lost     int `json:"lost"`
	Doubled  int `json:"doubled"`
}

// least is how many points a story must have for the exam to mean anything.
const least = 60

// parent kills at every Nth point of the story.
func parent(every int) int {
	points, bad := one(0)
	if len(bad.lost)+len(bad.doubled) > 0 || points < least {
		fmt.Printf("the story does not run even when nothing dies: %d points, %v\n", points, bad)
		return 3
	}
	fmt.Printf("the story has %d points\n", points)
	var mu sync.Mutex
	var wg sync.WaitGroup
	res := result{Story: points}
	next := make(chan int)
	workers := 3 * runtime.NumCPU()
	if admin != "" {
		workers = 5 * runtime.NumCPU() // they wait for the server's disk too
	}
	for range workers {
		wg.Go(func() {
			for n := range next {
				_, bad := one(n)
				mu.Lock()
				res.Lost += len(bad.lost)
				res.Doubled += len(bad.doubled)
				if len(bad.lost)+len(bad.doubled) == 0 {
					res.Survived++
				} else {
					fmt.Printf("point %d: lost %v, doubled %v\n", n, bad.lost, bad.doubled)
				}
				mu.Unlock()
			}
		})
	}
	for n := every; n <= points; n += every {
		res.Points++
		next <- n
	}
	close(next)
	wg.Wait()
	line, err := json.Marshal(res)
	if err != nil {
		return 3
	}
	fmt.Println(string(line))
	if res.Survived != res.Points {
		return 1
	}
	return 0
}

// verdict is what a story that was cut at one point lost, or did twice.
type verdict struct{ lost, doubled []string }

// one runs the story in a fresh world, killing the child at point n (0: never), and judges the world. It returns how many
// points the last child passed.
func one(n int) (points int, v verdict) {
	w, err := newWorld()
	if err != nil {
		return 0, verdict{lost: []string{err.Error()}}
	}
	defer w.close()
	if n > 0 {
		if _, err := w.run(n); err == nil {
			return 0, verdict{lost: []string{"the child did not reach the point"}}
		} else if !killed(err) {
			return 0, verdict{lost: []string{err.Error()}}
		}
	}
	if points, err = w.run(0); err != nil {
		return 0, verdict{lost: []string{err.Error()}}
	}
	return points, w.judge(n > 0)
}

func killed(err error) bool {
	var e *exec.ExitError
	if !errors.As(err, &e) {
		return false
	}
	s, ok := e.Sys().(syscall.WaitStatus)
	return ok && s.Signaled() && s.Signal() == syscall.SIGKILL
}

// world is a pretend cloud with one weak machine, and a folder for the child.
type world struct {
	*lab.World
	dir    string
	place  string // of the database
	drop   func() error
	before []string
}

func newWorld() (*world, error) {
	s := lab.DemoScenario()
	s.Anywhere = true
	s.Servers = slices.DeleteFunc(s.Servers, func(v lab.Server) bool { return v.Name != "cache-1" && v.Name != "mover-2" && v.Name != "legacy-db" })
	s.Servers[len(s.Servers)-1].NICs[0].FloatingIP = netip.MustParseAddr("127.77.1.61")
	w, err := lab.New(s)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "demarc-crash-")
	if err != nil {
		w.Close()
		return nil, err
	}
	x := &world{World: w, dir: dir, place: filepath.Join(dir, "crash.db"), drop: func() error { return nil }, before: w.PortGroups(w.PortIDs("cache-1")[0])}
	if admin != "" {
		if x.place, x.drop, err = storetest.NewDatabase(context.Background(), admin); err != nil {
			w.Close()
			return nil, err
		}
	}
	w.OnEvent(x.owner)
	return x, x.writeConfig()
}

func (w *world) close() {
	w.Close()
	if err := w.drop(); err != nil {
		fmt.Println("the database stays behind:", err)
	}
	_ = os.RemoveAll(w.dir)
}

// owner fixes the machine when it is taken off the network, and removes the rule that leads to it: a stopped machine is not started while
// its groups would open the weakness again.
func (w *world) owner(e lab.Event) {
	port := w.PortIDs("cache-1")[0]
	if e.Kind == "groups" && e.Port == port && !slices.Equal(w.PortGroups(port), w.before) {
		_ = w.SetService("cache-1", "redis", func(s *lab.Service) { s.Mode = "requirepass" })
		_ = w.TenantRemoveRule("astro", "cache", lab.Rule{Proto: "tcp", Min: 6379, Max: 6379, Remote: netip.MustParsePrefix("0.0.0.0/0")})
	}
}

const config = `database: %[8]s
policy: policy.yaml
mode: enforce
policy_url: http://127.0.0.1/probing
cloud: {name: crash, auth_url: %[1]s, username: %[2]s, password_file: secret, project: %[3]s}
netblocks: [{cidr: %[4]s, holder: provider}]
vantages: [{name: internet, zone: internet, sources: [%[5]s], bind: true, connect_timeout: 300ms, banner_time: 200ms, quiet_time: 20ms, host_rate: 400, rate: 4000}]
mail: {host: %[6]s, port: %[7]s, tls: none, from: demarc@cloud.example, provider: platform@cloud.example, operators: operators@cloud.example}
sample: {control: 8}
`

func (w *world) writeConfig() error {
	host, port, err := net.SplitHostPort(w.Mail.Addr())
	if err != nil {
		return err
	}
	files := map[string][]byte{
		"secret":      []byte(lab.DemoPassword),
		"policy.yaml": crashPolicy(),
		"demarc.yaml": fmt.Appendf(nil, config, w.AuthURL(), lab.DemoUser, lab.DemoProject, w.AtPrefix(netip.MustParsePrefix("127.77.0.0/17")), w.Source("scanner"), host, port, w.place),
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(w.dir, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// run starts a child and waits for it. At most two minutes.
func (w *world) run(at int) (points int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), "DEMARC_CRASH_CHILD="+w.dir, "DEMARC_CRASH_AT="+strconv.Itoa(at))
	out, err := cmd.Output()
	if err != nil {
		var e *exec.ExitError
		if errors.As(err, &e) && !killed(err) {
			return 0, fmt.Errorf("%w: %s", err, e.Stderr)
		}
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(out)))
}

// steps are the mails that the story must send, each once; one that was under way when the child died may have one more copy,
// with the same Message-ID.
var steps = []casework.Step{casework.StepNotice, casework.StepFinal, casework.StepApproval, casework.StepRestricted, casework.StepReleased, casework.StepClosed}

// judge asks the world, not the child: its action log, its ports, its mailbox, and the database.
func (w *world) judge(cut bool) verdict {
	var v verdict
	lost := func(format string, args ...any) { v.lost = append(v.lost, fmt.Sprintf(format, args...)) }
	doubled := func(format string, args ...any) { v.doubled = append(v.doubled, fmt.Sprintf(format, args...)) }
	port := w.PortIDs("cache-1")[0]
	if !slices.Equal(w.PortGroups(port), w.before) {
		lost("the groups of the port: %v, were %v", w.PortGroups(port), w.before)
	}
	puts, groups := 0, 0
	done := map[string]int{} // to the machine itself
	for _, a := range w.Actions() {
		switch {
		case a.Actor != lab.DemoUser || !a.Done:
		case a.Method == "PUT" && a.Path == "/networking/v2.0/ports/"+port:
			puts++
		case a.Method == "PUT":
			doubled("an act on another machine: %s", a.Path)
		case a.Method == "POST" && a.Path == "/networking/v2.0/security-groups":
			groups++
		case a.Method == "POST" && a.Path == "/compute/v2.1/servers/"+w.ServerID("cache-1")+"/action":
			for _, do := range []string{"os-stop", "os-start", "unlock", "lock"} {
				if strings.Contains(a.Body, `{"`+do+`"`) {
					done[do]++
				}
			}
		case a.Method == "POST" && strings.HasSuffix(a.Path, "/action"):
			doubled("an act on another machine: %s", a.Path)
		}
	}
	for _, do := range []string{"lock", "os-stop", "os-start", "unlock"} {
		switch n := done[do]; {
		case n == 0:
			lost("%s of the machine", do)
		case n > 1:
			doubled("%s of the machine, %d times", do, n)
		}
	}
	if m := w.Machine("cache-1"); m.Status != "ACTIVE" || m.Locked {
		lost("the machine: %+v", m)
	}
	if puts > 2 || groups > 1 {
		doubled("%d changes of the port, %d quarantine groups", puts, groups)
	} else if puts < 2 {
		lost("%d changes of the port", puts)
	}
	w.judgeMail(cut, lost, doubled)
	w.judgeLedger(lost)
	return v
}

func (w *world) judgeMail(cut bool, lost, doubled func(string, ...any)) {
	copies := map[string]map[string]int{} // step, Message-ID
	other := w.shortfalls()
	for _, m := range w.Mail.Messages() {
		if slices.Contains(other, strings.Trim(m.MessageID, "<>")) {
			continue // another story
		}
		for _, s := range steps {
			if strings.Contains(m.MessageID, "."+strings.ReplaceAll(string(s), "_", "-")+".") && strings.HasSuffix(m.Header.Get("Subject"), "cache-1") {
				if copies[string(s)] == nil {
					copies[string(s)] = map[string]int{}
				}
				copies[string(s)][m.MessageID]++
			}
		}
	}
	extra := 0
	for _, s := range steps {
		ids := copies[string(s)]
		if len(ids) == 0 {
			lost("the mail %s", s)
		}
		if len(ids) > 1 {
			doubled("the mail %s has %d Message-IDs", s, len(ids))
		}
		for _, n := range ids {
			extra += n - 1
		}
	}
	if extra > 1 || extra > 0 && !cut {
		doubled("%d extra copies of mails", extra)
	}
}

// shortfalls lists the Message-IDs of the cases of what the configuration shows.
func (w *world) shortfalls() []string {
	ctx := context.Background()
	db, err := store.Open(ctx, w.place)
	if err != nil {
		return nil // judgeLedger says so
	}
	defer func() { _ = db.Close() }()
	cases, _ := db.Cases(ctx, access.Operator(), casework.Filter{})
	var out []string
	for _, c := range cases {
		for _, n := range c.Notices {
			if c.Track == casework.Configuration {
				out = append(out, strings.Trim(n.MessageID, "<>"))
			}
		}
	}
	return out
}

func (w *world) judgeLedger(lost func(string, ...any)) {
	ctx := context.Background()
	db, err := store.Open(ctx, w.place)
	if err != nil {
		lost("the database: %v", err)
		return
	}
	defer func() { _ = db.Close() }()
	cases, err := db.Cases(ctx, access.Operator(), casework.Filter{})
	if err != nil {
		lost("the cases: %v", err)
	}
	if !slices.ContainsFunc(cases, func(c casework.Case) bool {
		return string(c.Server) == w.ServerID("cache-1") && c.State == casework.Closed
	}) {
		lost("the case, or its end")
	}
	log, err := db.AuditLog(ctx)
	if err != nil {
		lost("the audit log: %v", err)
	}
	for _, p := range audit.Verify(log) {
		lost("audit: %d: %s", p.Seq, p.What)
	}
}
