package serve

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// peer is the uid of whoever holds the other end of a socket, by the kernel's word at the time of connect (unix(7),
// SO_PEERCRED).
func peer(c *net.UnixConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("reading the peer: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return -1, fmt.Errorf("reading the peer: %w", err)
	}
	if credErr != nil {
		return -1, fmt.Errorf("reading the peer: %w", credErr)
	}
	return int(cred.Uid), nil
}

// boot is the machine's boot, and µs since it with sleep counted.
func boot() (string, int64) {
	var t unix.Timespec
	id, err := bootID()
	if err != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return "", 0
	}
	return id, t.Nano() / 1000
}
