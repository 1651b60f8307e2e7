package scan

import (
	"errors"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"demarc/internal/fault"
)

// Road is how the machine would send to an address; nothing was sent.
type Road struct {
	From netip.Addr // the source that would be used
	Err  error      // there is no road, or not from the wanted source
}

// ErrNoSource says that an address is not this machine's, where it would have to send from it.
var ErrNoSource = errors.New("the source address is not there")

// Survey asks the kernel, in a network namespace where one is named, for the way to each address from the source with the same index;
// where that is not valid the kernel chooses it.
func Survey(namespace string, from, to []netip.Addr) ([]Road, error) {
	if err := plainName(namespace); err != nil {
		return nil, err
	}
	type result struct {
		roads []Road
		err   error
	}
	done := make(chan result)
	go func() {
		if namespace != "" {
			runtime.LockOSThread() // and never unlocked: the thread ends in the namespace, with this goroutine
			if err := enter(namespace); err != nil {
				done <- result{err: err}
				return
			}
		}
		var out []Road
		for i, a := range to {
			out = append(out, road(from[i], a))
		}
		done <- result{roads: out}
	}()
	r := <-done
	return r.roads, r.err
}

func enter(namespace string) error {
	f, err := os.Open("/run/netns/" + namespace)
	if err == nil {
		err = errors.Join(unix.Setns(int(f.Fd()), unix.CLONE_NEWNET), f.Close())
	}
	if err != nil {
		return fault.New(fault.CannotLook, "enter network namespace %s: %w", namespace, err).Hinted("it must exist (ip netns list), and entering needs root")
	}
	return nil
}

// road connects a datagram socket: the kernel looks the route up, and sends nothing.
func road(source, to netip.Addr) Road {
	family := unix.AF_INET
	if to.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return Road{Err: err}
	}
	defer unix.Close(fd) //nolint:errcheck // it sent nothing
	if source.IsValid() {
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(source, 0))); errors.Is(err, unix.EADDRNOTAVAIL) {
			return Road{Err: ErrNoSource}
		} else if err != nil {
			return Road{Err: err}
		}
	}
	if err := unix.Connect(fd, sockaddr(netip.AddrPortFrom(to, 9))); err != nil { // 9 is discard
		return Road{Err: err}
	}
	switch at, err := unix.Getsockname(fd); at := at.(type) {
	case *unix.SockaddrInet4:
		return Road{From: netip.AddrFrom4(at.Addr), Err: err}
	case *unix.SockaddrInet6:
		return Road{From: netip.AddrFrom16(at.Addr), Err: err}
	default:
		return Road{Err: err}
	}
}
