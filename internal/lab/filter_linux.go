package lab

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Classic BPF, see filter(7) and the kernel's Documentation/networking/filter.rst: a filter on a listening
// socket sees each SYN, and one on a connected socket each segment. What it turns away is gone without
// an answer. The network header begins at SKF_NET_OFF, its source address is at 12.
const (
	loadWord   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	and        = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	jumpEqual  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	ret        = unix.BPF_RET | unix.BPF_K
	sourceAddr = 0xfff00000 + 12
	keep       = 0xffffffff
)

// filters tells whether the kernel drops for us, source by source: some give that to CAP_NET_ADMIN only.
var filters = sync.OnceValue(func() bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	return filter{all: true}.attachTo(fd) == nil
})

// drops tells that a listener whose queue is full drops what else comes.
const drops = true

// setBacklog changes how many connections may wait to be accepted. Linux admits one more than it is told, and drops
// each SYN beyond, see tcp_conn_request in net/ipv4/tcp_input.c.
func setBacklog(c syscall.RawConn, n int) error {
	var inner error
	if err := c.Control(func(fd uintptr) { inner = unix.Listen(int(fd), n) }); err != nil {
		return err
	}
	return inner
}

// program compiles a filter: denied sources, then admitted ones, then the rest.
func (f filter) program() []unix.SockFilter {
	if f.none {
		return []unix.SockFilter{{Code: ret, K: 0}}
	}
	var out []unix.SockFilter
	for _, p := range f.deny {
		out = append(out, match(p, 0)...)
	}
	if f.all {
		return append(out, unix.SockFilter{Code: ret, K: keep})
	}
	for _, p := range f.from {
		out = append(out, match(p, keep)...)
	}
	return append(out, unix.SockFilter{Code: ret, K: 0})
}

func match(p netip.Prefix, verdict uint32) []unix.SockFilter {
	if !p.Addr().Is4() {
		return nil
	}
	b := p.Masked().Addr().As4()
	mask := ^uint32(0)
	if p.Bits() < 32 {
		mask = ^(^uint32(0) >> p.Bits())
	}
	return []unix.SockFilter{
		{Code: loadWord, K: sourceAddr},
		{Code: and, K: mask},
		{Code: jumpEqual, Jf: 1, K: binary.BigEndian.Uint32(b[:])},
		{Code: ret, K: verdict},
	}
}

// attach puts the filter on a socket, in place of the one before.
func (f filter) attach(c syscall.RawConn) error {
	var inner error
	if err := c.Control(func(fd uintptr) { inner = f.attachTo(int(fd)) }); err != nil {
		return err
	}
	return inner
}

func (f filter) attachTo(fd int) error {
	prog := f.program()
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}) //nolint:gosec // a filter is short
}
