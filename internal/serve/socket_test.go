package serve

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"demarc/internal/access"
	"demarc/internal/casework"
	"demarc/internal/fault"
	"demarc/internal/policy"
	"demarc/internal/store"
)

// aCounter serves a desk on a socket. Callers whose end of the connection is named "stranger…" may not decide.
func aCounter(t *testing.T, peer func(*net.UnixConn) (int, error)) (path string, desk *Desk) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "demarc-socket-") // short: a socket's path has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), filepath.Join(dir, "demarc.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	p, err := policy.Default()
	if err != nil {
		t.Fatal(err)
	}
	if desk, err = NewDesk(t.Context(), db, p); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "demarc.sock")
	l, err := listen(path, true)
	if err != nil {
		t.Fatal(err)
	}
	k := &counter{desk: desk, may: []int{os.Getuid()}, peer: peer, slots: make(chan struct{}, atOnce), decided: func(Ask) {}}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var served sync.WaitGroup
	served.Go(func() { k.serve(ctx, l) })
	t.Cleanup(func() { stop(); _ = l.Close(); served.Wait() })
	return path, desk
}

func byName(c *net.UnixConn) (int, error) {
	if strings.Contains(c.RemoteAddr().String(), "stranger") {
		return os.Getuid() + 54321, nil
	}
	return os.Getuid(), nil
}

// connect opens a connection from an end with a name; "" is none.
func connect(t *testing.T, path, name string) net.Conn {
	t.Helper()
	var d net.Dialer
	if name != "" {
		d.LocalAddr = &net.UnixAddr{Name: filepath.Join(filepath.Dir(path), name), Net: "unix"}
	}
	c, err := d.DialContext(t.Context(), "unix", path)
	for try := 0; err != nil && try < 200; try++ { // the queue of the listener is full
		time.Sleep(10 * time.Millisecond)
		c, err = d.DialContext(t.Context(), "unix", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// pausesInTime asks for a pause, which is to be answered within a second.
func pausesInTime(t *testing.T, path string) {
	t.Helper()
	began := time.Now()
	told, err := AskServer(t.Context(), path, Ask{Do: Pause, Why: "a bad check"})
	if err != nil || !told.Paused {
		t.Errorf("%+v, %v", told, err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("the pause was answered after %s", took)
	}
}

// open tells whether the other end has not closed a connection that says nothing.
func open(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	return errors.Is(err, os.ErrDeadlineExceeded)
}

func TestAPauseIsAnsweredBeforeIdleCallersTimeOut(t *testing.T) {
	t.Parallel()
	path, _ := aCounter(t, byName)
	var idle []net.Conn
	for i := range 64 {
		idle = append(idle, connect(t, path, fmt.Sprint("operator-", i)))
	}
	for i := range 400 {
		connect(t, path, fmt.Sprint("stranger-", i))
	}
	pausesInTime(t, path)
	for i, c := range idle {
		if !open(c) {
			t.Fatalf("the idle connection %d was over before", i)
		}
	}
}

// The strangers are processes of another account, and the kernel says so. This needs root, for the second account.
func TestAPauseIsAnsweredAmongProcessesOfAnotherAccount(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can run a process as another account")
	}
	path, _ := aCounter(t, peer)
	var idle []net.Conn
	for range 64 {
		idle = append(idle, connect(t, path, ""))
	}
	exe := filepath.Join(filepath.Dir(path), "stranger")
	copied(t, exe)
	cmd := exec.CommandContext(t.Context(), exe, "-test.run", "^TestStranger$")
	cmd.Env = []string{"DEMARC_TEST_STRANGER=" + path}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait() //nolint:errcheck // it ends when its input does
	defer in.Close() //nolint:errcheck // likewise
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "400 connected, 400 refused\n" {
		t.Fatalf("the stranger says %q, %v", line, err)
	}
	pausesInTime(t, path)
	for i, c := range idle {
		if !open(c) {
			t.Fatalf("the idle connection %d was over before", i)
		}
	}
}

func copied(t *testing.T, to string) {
	t.Helper()
	from, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close() //nolint:errcheck // it was only read
	f, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, from); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(to, 0o755); err != nil { // whatever the umask: another account runs it
		t.Fatal(err)
	}
}

// TestStranger is the process of the other account: it connects 400 times, keeps every connection, and says what it was answered.
func TestStranger(t *testing.T) {
	path := os.Getenv("DEMARC_TEST_STRANGER")
	if path == "" {
		t.Skip("this is the other process of TestAPauseIsAnsweredAmongProcessesOfAnotherAccount")
	}
	refused := 0
	for range 400 {
		var a answer
		if json.NewDecoder(connect(t, path, "")).Decode(&a) == nil && a.Fault != nil && a.Fault.Code == fault.Refused {
			refused++
		}
	}
	fmt.Printf("400 connected, %d refused\n", refused)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// Connections are bounded: the oldest idle one makes room, and nobody is refused for those who say nothing.
func TestTheOldestIdleConnectionMakesRoom(t *testing.T) {
	t.Parallel()
	path, _ := aCounter(t, byName)
	var idle []net.Conn
	for i := range mostConns + 20 {
		idle = append(idle, connect(t, path, fmt.Sprint("operator-", i)))
	}
	pausesInTime(t, path)
	over := 0
	for i, c := range idle {
		if open(c) {
			continue
		}
		over++
		if i > 20 {
			t.Fatalf("connection %d was closed, and is not among the oldest", i)
		}
	}
	if over != 21 {
		t.Errorf("%d connections were closed", over)
	}
}

// Decisions that wait, for the ledger or for a slot, keep no pause waiting, with the ledger's lock held by somebody else all the time.
func TestAPausePassesDecisionsThatWait(t *testing.T) {
	t.Parallel()
	path, desk := aCounter(t, byName)
	file := store.SwitchFile(filepath.Join(filepath.Dir(path), "switch"))
	if err := file.Create(false); err != nil {
		t.Fatal(err)
	}
	c := casework.Case{
		ID:      "case-1",
		Cloud:   "lab",
		Server:  "s",
		Project: "p",
		Party:   "customer",
		Track:   casework.Vulnerability,
		Class:   "E",
		State:   casework.Notified,
	}
	if err := desk.db.Commit(t.Context(), casework.Change{At: 1, Cases: []casework.Case{c}}); err != nil {
		t.Fatal(err)
	}
	desk.outside, desk.recordSoon = newSwitch(file), func() {}
	x, err := store.Open(t.Context(), filepath.Join(filepath.Dir(path), "demarc.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close() //nolint:errcheck // a test's end
	holding, done := make(chan struct{}), make(chan struct{})
	var held sync.WaitGroup
	held.Go(func() {
		x.UseSwitch(stuck{holding, done})
		_ = x.Commit(context.WithoutCancel(t.Context()), casework.Change{At: 2, Require: casework.Require{Running: true}, Cases: nil})
	})
	<-holding
	defer held.Wait()
	defer close(done)
	for range 3 * atOnce {
		if err := json.NewEncoder(connect(t, path, "")).Encode(Ask{Do: Acknowledge, Cases: []string{"case-1"}, By: "amir"}); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(300 * time.Millisecond)
	pausesInTime(t, path)
	if thrown, _ := file.Thrown(); !thrown {
		t.Error("the switch is off")
	}
	if k, err := desk.db.Case(t.Context(), access.Operator(), "case-1"); err != nil || k.State != casework.Notified {
		t.Errorf("a decision did not wait: %s, %v", k.State, err)
	}
}

// stuck is a switch that is asked inside a writing transaction, and keeps it open.
type stuck struct{ holding, done chan struct{} }

func (s stuck) Thrown() (bool, string) {
	close(s.holding)
	<-s.done
	return true, "over"
}
