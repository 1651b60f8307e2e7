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
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"demarc/internal/fault"
)

// Bounds of the socket, whoever speaks to it.
const (
	longestAsk  = 64 << 10         // bytes of one question
	longestTold = 16 << 20         // bytes of one answer
	askTime     = 30 * time.Second // for the whole of one question and its answer
	atOnce      = 16               // decisions; more wait
	mostConns   = 512              // connections that may decide; beyond, the oldest one that has nothing under way is closed
)

// answer is what stands on the wire: what came of a decision, or why nothing did.
type answer struct {
	Told  Told         `json:"told"`
	Fault *fault.Fault `json:"fault,omitempty"`
}

// SocketPath is where a server with this configuration hears decisions.
func (c *Config) SocketPath() string {
	if c.Socket == "" {
		return c.path("demarc.sock")
	}
	return c.path(c.Socket)
}

// uidOf reads an account of this machine, given by its name or its uid.
func uidOf(account string) (int, error) {
	if n, err := strconv.Atoi(account); err == nil && n >= 0 {
		return n, nil
	}
	u, err := user.Lookup(account)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(u.Uid)
}

// nameOf is how the audit log names an account.
func nameOf(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return "uid " + strconv.Itoa(uid)
}

// approvers lists the accounts that may decide.
func (c *Config) approvers() ([]int, error) {
	if len(c.Approvers) == 0 {
		return []int{0, os.Getuid()}, nil
	}
	var out []int
	for _, a := range c.Approvers {
		uid, err := uidOf(a)
		if err != nil {
			return nil, fault.New(fault.Config, "there is no account %q on this machine", a)
		}
		out = append(out, uid)
	}
	return out, nil
}

// counter is the socket's end of the desk: it knows by the kernel's word who speaks.
type counter struct {
	desk    *Desk
	may     []int
	peer    func(*net.UnixConn) (int, error) // the uid of the other end
	decided func(Ask)                        // called after a decision was written
	slots   chan struct{}                    // taken by a decision once its question was read; a pause takes none
	open    sync.WaitGroup

	mu      sync.Mutex
	callers []*caller // oldest first
}

// caller is one connection of an account that may decide.
type caller struct {
	conn *net.UnixConn
	busy bool // its decision is under way
}

// listen makes the socket. One that a dead server left behind is replaced; one that answers is another server's. It stands in a
// folder of its owner's. Where other accounts may decide, any may connect, and who is heard is decided by uid.
func listen(path string, all bool) (net.Listener, error) {
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = c.Close()
		return nil, fault.New(fault.Conflict, "another server answers at %s", path).Hinted("stop it first, or give this one a socket of its own")
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, fault.New(fault.Config, "%s is in the way: it is no socket", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fault.New(fault.Config, "cannot replace the socket: %w", err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fault.New(fault.Config, "cannot listen on the socket: %w", err).Hinted("the folder %s must exist and be writable", filepath.Dir(path))
	}
	mode := os.FileMode(0o600)
	if all {
		mode = 0o666
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// serve hears decisions until the listener is closed, and returns when the last is answered. It never waits for a caller: neither one who
// may not decide, nor one who says nothing, keeps another waiting.
func (k *counter) serve(ctx context.Context, l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				k.open.Wait()
				return
			}
			time.Sleep(100 * time.Millisecond) // out of descriptors: the machine's trouble, and it passes
			continue
		}
		u := c.(*net.UnixConn)
		uid, err := k.admit(u)
		if err != nil { // fits into the buffer of a new connection
			reply(u, Told{}, err)
			continue
		}
		caller, err := k.enter(u)
		if err != nil {
			reply(u, Told{}, err)
			continue
		}
		k.open.Go(func() {
			defer k.leave(caller)
			k.hear(ctx, caller, uid)
		})
	}
}

// enter makes room for a connection by closing the oldest one that has nothing under way.
func (k *counter) enter(c *net.UnixConn) (*caller, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.callers) >= mostConns {
		i := slices.IndexFunc(k.callers, func(x *caller) bool { return !x.busy })
		if i < 0 {
			return nil, fault.New(fault.Unavailable, "%d decisions are under way", len(k.callers)).Hinted("try again")
		}
		_ = k.callers[i].conn.Close()
		k.callers = slices.Delete(k.callers, i, i+1)
	}
	x := &caller{conn: c}
	k.callers = append(k.callers, x)
	return x, nil
}

func (k *counter) leave(x *caller) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.callers = slices.DeleteFunc(k.callers, func(y *caller) bool { return x == y })
}

// admit tells who speaks, if they may.
func (k *counter) admit(c *net.UnixConn) (int, error) {
	uid, err := k.peer(c)
	if err == nil && !slices.Contains(k.may, uid) {
		err = fault.New(fault.Refused, "the account %s may not decide here", nameOf(uid)).Hinted("an operator names those who may under approvers in the configuration")
	}
	return uid, err
}

// hear answers one question.
func (k *counter) hear(ctx context.Context, x *caller, uid int) {
	_ = x.conn.SetDeadline(time.Now().Add(askTime))
	// Who has asked nothing yet keeps no server from stopping, and what was asked is written down.
	defer context.AfterFunc(ctx, func() { _ = x.conn.SetReadDeadline(time.Now()) })()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime)
	defer cancel()
	q, err := read(x.conn)
	if err != nil {
		reply(x.conn, Told{}, err)
		return
	}
	if q.Do != Pause {
		select {
		case k.slots <- struct{}{}:
			defer func() { <-k.slots }()
		case <-ctx.Done():
			reply(x.conn, Told{}, fault.New(fault.Unavailable, "%d other decisions are under way", cap(k.slots)).Hinted("try again"))
			return
		}
	}
	k.mu.Lock()
	x.busy = true
	k.mu.Unlock()
	told, err := k.decide(ctx, q, nameOf(uid))
	reply(x.conn, told, err)
}

// read takes one question off a connection.
func read(c io.Reader) (q Ask, err error) {
	line, err := bufio.NewReader(io.LimitReader(c, longestAsk)).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &q)
	}
	if err != nil {
		return q, fault.New(fault.Usage, "the question can not be read: %s", err)
	}
	return q, nil
}

// reply ends a conversation.
func reply(c *net.UnixConn, told Told, err error) {
	a := answer{Told: told}
	if err != nil {
		f, ok := fault.Of(err)
		if !ok {
			f = fault.New("internal", "%s", err.Error())
		}
		a.Fault = f
	}
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	_ = json.NewEncoder(c).Encode(a)
	_ = c.Close()
}

func (k *counter) decide(ctx context.Context, q Ask, me string) (Told, error) {
	switch q.Do {
	case Acknowledge, Claim: // the word of an owner, as an operator records it
		if q.By != "" && q.By != me {
			me = q.By + ", recorded by " + me
		}
	case Approve, Resume, Withdraw, Renew, Clear, Pause, Unpause, SetMode, ShowMode, Pending, Preview:
		if q.By != "" && q.By != me {
			return Told{}, fault.New(fault.Refused, "the server knows you as %s, not as %q", me, q.By).Hinted("leave --by out: your account of this machine decides")
		}
	}
	q.By = me
	told, err := k.desk.Decide(ctx, q)
	for try := 0; fault.Is(err, fault.Conflict) && try < 5; try++ { // the line wrote meanwhile: the decision is held against what is now
		told, err = k.desk.Decide(ctx, q)
	}
	if err == nil && q.Do != Pending && q.Do != Preview && q.Do != ShowMode {
		k.decided(q)
	}
	return told, err
}

// ErrNoServer says that no server answers at a socket.
var ErrNoServer = errors.New("no server answers")

// dial connects to a server. One that is only busy is a server all the same: what it would decide is not decided beside it.
func dial(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	for try := 0; ; try++ {
		c, err := d.DialContext(ctx, "unix", path)
		switch {
		case err == nil:
			return c, nil
		case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
			return nil, fmt.Errorf("%w at %s: %w", ErrNoServer, path, err)
		case try >= 20 || ctx.Err() != nil:
			return nil, fault.New(fault.Unavailable, "the server at %s does not take the question: %w", path, err).Hinted("it is busy, or this account may not open the socket; try again")
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// AskServer puts one question to the server that listens on a socket. ErrNoServer: there is none.
func AskServer(ctx context.Context, path string, q Ask) (Told, error) {
	c, err := dial(ctx, path)
	if err != nil {
		return Told{}, err
	}
	defer c.Close() //nolint:errcheck // the answer was read
	_ = c.SetDeadline(time.Now().Add(askTime + time.Second))
	asked := json.NewEncoder(c).Encode(q) // whoever may not decide is answered before the question; what was answered can still be read
	var a answer
	if err := json.NewDecoder(io.LimitReader(c, longestTold)).Decode(&a); err != nil {
		return Told{}, fault.New(fault.Unavailable, "the server at %s gave no answer: %w", path, errors.Join(asked, err)).Hinted("it may have decided all the same: see demarc enforce pending")
	}
	if a.Fault != nil {
		return a.Told, a.Fault
	}
	return a.Told, nil
}
