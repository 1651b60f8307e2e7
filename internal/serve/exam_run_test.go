package serve_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"demarc/internal/casework"
	"demarc/internal/fault"
	"demarc/internal/flow"
	"demarc/internal/serve"
	"demarc/internal/store"
)

// running is a server that works in this process.
type running struct {
	*serve.Server
	over chan error
	stop context.CancelFunc
	sock string
}

// compressed makes policy time run so fast that a day takes a bit more than two seconds; more is further configuration.
func compressed(more string) []string {
	return []string{"sample: {control: 6}", "sample: {control: 6}\nclock: {rate: 36000}\n" + more}
}

// serving makes the files of an exam ready for a server, in compressed time.
func serving(t *testing.T, more string) *exam {
	t.Helper()
	e := open(t, plot{config: compressed(more)})
	e.stop()
	return e
}

func (e *exam) serve() (*running, error) {
	e.t.Helper()
	c, p, err := serve.Load(filepath.Join(e.dir, "demarc.yaml"))
	e.must(err)
	s, err := serve.Serve(e.t.Context(), c, p, serve.Options{Log: e.plot.log, Tell: func(h flow.Happening) {
		e.mu.Lock()
		e.news = append(e.news, h)
		e.mu.Unlock()
	}, CallMayTake: e.plot.callMayTake, Wrap: func(c *flow.Config) {
		if e.plot.wrap != nil {
			e.plot.wrap(e, c)
		}
	}})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(e.t.Context())
	r := &running{Server: s, over: make(chan error, 1), stop: stop, sock: c.SocketPath()}
	go func() { r.over <- s.Run(ctx) }()
	e.t.Cleanup(func() { _ = r.end() })
	e.d = s.Demarc
	return r, nil
}

// end stops it, once, and waits for it.
func (r *running) end() error {
	if r.stop == nil {
		return nil
	}
	r.stop()
	r.stop = nil
	err := <-r.over
	if closed := r.Close(); err == nil {
		err = closed
	}
	return err
}

// waited is how long a test waits for a server: it ends a test that hangs, and measures nothing.
const waited = 5 * time.Minute

// wait waits in real time.
func (e *exam) wait(what string, holds func() bool) {
	e.t.Helper()
	for end := time.Now().Add(waited); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			e.t.Fatalf("%s later still not: %s; of cases:\n%s\nlast:\n%s", waited, what,
				strings.Join(e.lastOfCases(30), "\n"), strings.Join(e.last(15), "\n"))
		}
	}
}

func (e *exam) ask(r *running, q serve.Ask) serve.Told {
	e.t.Helper()
	told, err := serve.AskServer(e.t.Context(), r.sock, q)
	e.must(err)
	return told
}

// checkPaused compares whether enforcement is paused with what should be; why says what is wrong where it is not so.
func (e *exam) checkPaused(r *running, want bool, why string) {
	e.t.Helper()
	if told := e.ask(r, serve.Ask{Do: serve.Pending}); told.Paused != want {
		e.t.Error(why)
	}
}

// resume asks a server to end a pause.
func (e *exam) resume(r *running) {
	e.t.Helper()
	if told := e.ask(r, serve.Ask{Do: serve.Unpause}); told.Paused {
		e.t.Error("an operator cannot resume")
	}
}

// resumesForGood ends a pause, and checks that the next start does not pause again. The server is stopped after it.
func (e *exam) resumesForGood(r *running) {
	e.t.Helper()
	e.resume(r)
	e.must(r.end())
	r, err := e.serve()
	e.must(err)
	e.checkPaused(r, false, "paused again at the next start")
	e.must(r.end())
}

// approvalIsRefused approves the case of cache-1, and waits until the gate refused it because enforcement is paused.
func (e *exam) approvalIsRefused(r *running) {
	e.t.Helper()
	e.ask(r, serve.Ask{Do: serve.Approve, Cases: []string{e.theCase("cache-1").ID}})
	e.wait("refused", func() bool { return strings.Contains(e.detail("cache-1", "gate.refused"), "switch: ") })
}

// A server tells a whole story, with people who decide through its socket; stopped in its middle, the next goes on from there.
func TestAServer(t *testing.T) {
	t.Parallel()
	e := serving(t, "")
	before := e.groups("cache-1")
	r, err := e.serve()
	e.must(err)
	if _, err := e.serve(); !fault.Is(err, fault.Conflict) {
		t.Fatalf("a second server on the same database: %v", err)
	}
	e.wait("queued", e.inState("cache-1", casework.Queued))
	e.must(r.end())
	if _, err := serve.AskServer(t.Context(), r.sock, serve.Ask{Do: serve.Pending}); err == nil {
		t.Fatal("a stopped server answers")
	}
	r, err = e.serve()
	e.must(err)
	told := e.ask(r, serve.Ask{Do: serve.Pending})
	if len(told.Waiting) != 1 || told.Paused || told.Names["server"][string(told.Waiting[0].Server)] != "cache-1" {
		t.Fatalf("what waits: %+v", told)
	}
	id := told.Waiting[0].ID
	if told := e.ask(r, serve.Ask{Do: serve.Approve, Cases: []string{id}}); told.After[0].Approvals[0].By != told.By || told.By == "" {
		t.Fatalf("approved: %+v", told)
	}
	e.wait("restricted", e.inState("cache-1", casework.Restricted))
	e.quarantined("cache-1")
	e.setPassword("cache-1")
	e.ask(r, serve.Ask{Do: serve.Claim, Cases: []string{id}, By: "amir"})
	e.wait("released", e.inState("cache-1", casework.Released))
	if got := e.groups("cache-1"); !slices.EqualFunc(got, before, slices.Equal) {
		t.Errorf("groups %v, before %v", got, before)
	}
	if !strings.Contains(e.auditText(), "amir, recorded by ") {
		t.Error("whose word it was is not in the audit log")
	}
	e.must(r.end())
}

// A database that is older than the heads published of it enforces nothing until a person has looked.
func TestABackup(t *testing.T) {
	t.Parallel()
	e := serving(t, "")
	if store.IsURL(e.place) {
		t.Skip("a copy is put back as a file: the same is asked of SQLite")
	}
	r, err := e.serve()
	e.must(err)
	e.wait("notified", e.inState("cache-1", casework.Notified))
	e.must(r.end())
	file := filepath.Join(e.dir, "demarc.db")
	old, err := os.ReadFile(file)
	e.must(err)
	r, err = e.serve()
	e.must(err)
	e.wait("overdue", func() bool { return e.count("cache-1", "case.overdue") > 0 })
	e.must(r.end())
	for _, f := range []string{file + "-wal", file + "-shm"} {
		_ = os.Remove(f)
	}
	e.must(os.WriteFile(file, old, 0o600))
	r, err = e.serve()
	e.must(err)
	e.checkPaused(r, true, "an older database enforces")
	if !strings.Contains(e.auditText(), "the database: ") {
		t.Error("why is not in the audit log")
	}
	if from, err := r.DB.ProofsFrom(t.Context()); err != nil || from == 0 {
		t.Errorf("what was seen before still counts: %d, %v", from, err)
	}
	e.resumesForGood(r)
}

// What the socket hears is bounded, and whoever may not decide is told so at once.
func TestTheSocket(t *testing.T) {
	t.Parallel()
	e := serving(t, "")
	r, err := e.serve()
	e.must(err)
	say := func(text string) string {
		c, err := net.Dial("unix", r.sock)
		e.must(err)
		defer c.Close() //nolint:errcheck // a test's end
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = io.WriteString(c, text)
		b, _ := io.ReadAll(c)
		return string(b)
	}
	for name, x := range map[string]struct{ ask, want string }{
		"no JSON":           {"hello\n", "can not be read"},
		"too much":          {strings.Repeat("x", 80<<10) + "\n", "can not be read"},
		"nothing known":     {`{"do":"delete"}` + "\n", "nobody can decide"},
		"somebody else":     {`{"do":"pause","by":"somebody"}` + "\n", "knows you as"},
		"no such case":      {`{"do":"approve","cases":["DM-000000"]}` + "\n", "there is no case"},
		"no case":           {`{"do":"approve"}` + "\n", "0 cases are named"},
		"two cases at once": {`{"do":"claim","cases":["a","b"]}` + "\n", "2 cases are named"},
	} {
		if got := say(x.ask); !strings.Contains(got, x.want) {
			t.Errorf("%s: %.200s", name, got)
		}
	}
	if paused, err := r.DB.Paused(t.Context()); err != nil || paused {
		t.Errorf("paused: %t, %v", paused, err)
	}
	e.must(r.end())
}

// Who connects and says nothing keeps no server from stopping.
func TestASilentCaller(t *testing.T) {
	t.Parallel()
	e := serving(t, "")
	r, err := e.serve()
	e.must(err)
	c, err := net.Dial("unix", r.sock)
	e.must(err)
	defer c.Close() //nolint:errcheck // a test's end
	time.Sleep(200 * time.Millisecond)
	began := time.Now()
	e.must(r.end())
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the server stopped after %s", took)
	}
}

// An account that the configuration does not name decides nothing.
func TestNobody(t *testing.T) {
	t.Parallel()
	e := serving(t, `approvers: ["54321"]`)
	r, err := e.serve()
	e.must(err)
	_, err = serve.AskServer(t.Context(), r.sock, serve.Ask{Do: serve.Pause})
	if !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), "may not decide here") {
		t.Errorf("%v", err)
	}
	e.must(r.end())
}

// Health is told on loopback, to those who ask for it by a name of this machine.
func TestHealth(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	_ = l.Close()
	e := serving(t, "health: "+at)
	r, err := e.serve()
	e.must(err)
	get := func(path, host string) (int, string) { return e.get(at, path, host) }
	for _, x := range []struct {
		path, host string
		want       int
	}{{"/health", at, 200}, {"/health", "localhost", 200}, {"/health", "[::1]", 200}, {"/health", "[::1]:8610", 200}, {"/health", "[2001:db8::1]", 421}, {"/health", "evil.example", 421}, {"/", at, 404}, {"/case/x", at, 404}} {
		if got, body := get(x.path, x.host); got != x.want {
			t.Errorf("%s for %s: %d %s", x.path, x.host, got, body)
		}
	}
	if _, body := get("/health", at); !strings.Contains(body, `"status":"ok"`) {
		t.Errorf("%s", body)
	}
	e.must(r.end())
	if _, err := net.Dial("tcp", at); err == nil {
		t.Error("a stopped server answers")
	}
}

// get asks a server's page of health.
func (e *exam) get(at, path, host string) (int, string) {
	e.t.Helper()
	q, err := http.NewRequestWithContext(e.t.Context(), http.MethodGet, "http://"+at+path, nil)
	e.must(err)
	q.Host = host
	res, err := http.DefaultClient.Do(q)
	e.must(err)
	defer res.Body.Close() //nolint:errcheck // a test's end
	b, err := io.ReadAll(res.Body)
	e.must(err)
	return res.StatusCode, string(b)
}
