package scan

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"demarc/internal/fault"
	"demarc/internal/probe"
)

// dialer is the only place that opens connections: to the address it is given, after asking once more
// whether that is allowed, and to nothing else.
type dialer struct {
	engine  *Engine
	sockets chan chan made // to the thread inside the namespace; nil without one
	family  chan int
	done    chan struct{}
}

type made struct {
	fd  int
	err error
}

// newDialer prepares the way out. With a namespace, a thread of its own enters it and makes the sockets;
// a socket stays in the namespace it was made in, whoever uses it. The thread ends with the dialer: Go
// destroys a locked thread whose goroutine returns, so no other goroutine ever runs in the namespace.
func newDialer(e *Engine) (*dialer, error) {
	d := &dialer{engine: e}
	if e.Namespace == "" {
		return d, nil
	}
	if err := plainName(e.Namespace); err != nil {
		return nil, err
	}
	d.sockets, d.family, d.done = make(chan chan made), make(chan int), make(chan struct{})
	ready := make(chan error)
	go d.inside("/run/netns/"+e.Namespace, ready)
	if err := <-ready; err != nil {
		return nil, fault.New(fault.CannotLook, "enter network namespace %s: %w", e.Namespace, err).
			Hinted("it must exist (ip netns list), and entering needs root")
	}
	return d, nil
}

func plainName(namespace string) error {
	if strings.ContainsAny(namespace, "/\x00") || namespace == "." || namespace == ".." {
		return fault.New(fault.Config, "%q is no name of a network namespace", namespace)
	}
	return nil
}

func (d *dialer) inside(path string, ready chan<- error) {
	runtime.LockOSThread()
	f, err := os.Open(path)
	if err == nil {
		err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
		_ = f.Close()
	}
	ready <- err
	if err != nil {
		return
	}
	for {
		select {
		case <-d.done:
			return
		case answer := <-d.sockets:
			fd, err := newSocket(<-d.family)
			answer <- made{fd, err}
		}
	}
}

func (d *dialer) close() {
	if d.done != nil {
		close(d.done)
	}
}

func newSocket(family int) (int, error) {
	return unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
}

func (d *dialer) socket(family int) (int, error) {
	if d.sockets == nil {
		return newSocket(family)
	}
	answer := make(chan made)
	d.sockets <- answer
	d.family <- family
	m := <-answer
	return m.fd, m.err
}

// open starts a connect; under way or already made, the caller owns the descriptor.
func (d *dialer) open(to netip.AddrPort) (fd int, err error) {
	if err := d.engine.allowed(to.Addr()); err != nil {
		return -1, err
	}
	src := SourceFor(d.engine.Sources, to.Addr())
	if len(d.engine.Sources) > 0 && !src.IsValid() {
		return -1, ErrNoFamily
	}
	family := unix.AF_INET
	if to.Addr().Unmap().Is6() {
		family = unix.AF_INET6
	}
	if fd, err = d.socket(family); err != nil {
		return -1, fmt.Errorf("make a socket: %w", err)
	}
	if src.IsValid() {
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(src, 0))); err != nil {
			_ = unix.Close(fd)
			return -1, fmt.Errorf("send from %s: %w", src, err)
		}
	}
	err = unix.Connect(fd, sockaddr(to))
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	addr := a.Addr().Unmap()
	if addr.Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: addr.As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: addr.As16()}
}

// socketError fetches and clears what became of a connect.
func socketError(fd int) error {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		return err
	case n != 0:
		return unix.Errno(n)
	}
	return nil
}

// connect makes a connection for talking.
func (d *dialer) connect(ctx context.Context, to netip.AddrPort, timeout time.Duration) (net.Conn, error) {
	fd, err := d.open(to)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), to.String()) // non-blocking, so the runtime polls it
	defer f.Close()                           //nolint:errcheck // the connection below is a duplicate
	deadline := time.Now().Add(timeout)
	if t, ok := ctx.Deadline(); ok && t.Before(deadline) {
		deadline = t
	}
	if err := f.SetWriteDeadline(deadline); err != nil {
		return nil, fmt.Errorf("set the deadline of a connect: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("reach the descriptor of a connect: %w", err)
	}
	var outcome error
	err = raw.Write(func(fd uintptr) bool {
		if !writable(int(fd)) {
			return false
		}
		outcome = socketError(int(fd))
		return true
	})
	if err = errors.Join(err, outcome); err != nil {
		return nil, err
	}
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("take over a connection: %w", err)
	}
	return c, nil
}

// writable tells whether a connect has come to its end, one way or the other.
func writable(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}} //nolint:gosec // descriptors are small
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0
}

// lookTLS is how we look at what a server offers.
func lookTLS() *tls.Config {
	var suites []uint16
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		suites = append(suites, s.ID)
	}
	return &tls.Config{
		InsecureSkipVerify: true,             //nolint:gosec // we look, we do not trust: an invalid certificate is a fact to record
		MinVersion:         tls.VersionTLS10, //nolint:gosec // an old server must be seen to be named
		CipherSuites:       suites,
	}
}

// outcomeOf says what the end of a connect means, and why where it is no answer.
func outcomeOf(err error) (probe.Outcome, string) {
	var errno unix.Errno
	switch {
	case err == nil:
		return probe.Open, ""
	case !errors.As(err, &errno):
		return probe.Failed, err.Error()
	}
	switch errno {
	case unix.ECONNRESET, unix.EPIPE: // it accepted, then reset: something listens
		return probe.Open, ""
	case unix.ECONNREFUSED:
		return probe.Closed, ""
	case unix.ETIMEDOUT, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENOPROTOOPT, unix.EPROTO:
		return probe.Filtered, "" // after the SYN went out, these come from ICMP
	default:
		return probe.Failed, err.Error()
	}
}
