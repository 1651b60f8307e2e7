package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"demarc/internal/probe"
)

// question is one packet's worth of doubt: is a source let in to an endpoint?
type question struct {
	From netip.Addr     `json:"from"`
	At   probe.Endpoint `json:"at"`
}

// patience is how long an answer is waited for, and how often one is asked for before silence counts.
const (
	patience = 700 * time.Millisecond
	tries    = 2
)

// ask runs this program inside a vantage point's namespace. Each answer tells whether anything came back.
func ask(ctx context.Context, testbed, vantage string, qs []question) ([]bool, error) {
	in, err := json.Marshal(qs)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, testbed, "exec", vantage, self, "-asker") //nolint:gosec // the testbed and ourselves
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("asking from %s: %w", vantage, err)
	}
	var got []bool
	if err := json.Unmarshal(out, &got); err != nil || len(got) != len(qs) {
		return nil, fmt.Errorf("asking from %s: %d answers to %d questions: %w", vantage, len(got), len(qs), err)
	}
	return got, nil
}

// asker is what runs in the namespace.
func asker() error {
	var qs []question
	if err := json.NewDecoder(os.Stdin).Decode(&qs); err != nil {
		return err
	}
	got := make([]bool, len(qs))
	errs := make([]error, len(qs))
	var wg sync.WaitGroup
	slots := make(chan struct{}, 64)
	for i, q := range qs {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			for n := 0; n < tries && !got[i] && errs[i] == nil; n++ {
				got[i], errs[i] = q.answered(i)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(got)
}

// answered tells whether one packet was answered: a connection or its refusal, a datagram's echo, an echo reply.
func (q question) answered(n int) (bool, error) {
	switch q.At.Proto {
	case probe.TCP:
		return q.tcp()
	case probe.UDP:
		return q.udp()
	case probe.ICMP:
		return q.icmp(n)
	}
	return false, fmt.Errorf("%s: no such protocol", q.At)
}

func (q question) tcp() (bool, error) {
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: q.From.AsSlice()}}
	c, err := d.Dial("tcp", netip.AddrPortFrom(q.At.Addr, q.At.Port).String())
	if err == nil {
		return true, c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED), notOurs(err)
}

// notOurs lets pass what the network says; anything else is a fault of this machine, and no answer.
func notOurs(err error) error {
	timeout, ok := errors.AsType[net.Error](err)
	if ok && timeout.Timeout() || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	return err
}

func (q question) udp() (bool, error) {
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: q.From.AsSlice()}}
	c, err := d.Dial("udp", netip.AddrPortFrom(q.At.Addr, q.At.Port).String())
	if err != nil {
		return false, notOurs(err)
	}
	defer c.Close() //nolint:errcheck // one datagram
	if _, err := c.Write([]byte("demarc asks")); err != nil {
		return false, notOurs(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return false, err
	}
	n, err := c.Read(make([]byte, 64))
	if errors.Is(err, syscall.ECONNREFUSED) {
		return true, nil // port unreachable: the datagram came through
	}
	return n > 0, notOurs(errOr(err))
}

func errOr(err error) error {
	if err == nil {
		return syscall.ECONNREFUSED // nothing went wrong
	}
	return err
}

// icmp sends one echo request (RFC 792, RFC 4443).
func (q question) icmp(n int) (bool, error) {
	network, ask, reply := "ip4:icmp", byte(8), byte(0)
	if q.At.Addr.Is6() {
		network, ask, reply = "ip6:ipv6-icmp", 128, 129
	}
	c, err := net.DialIP(network, &net.IPAddr{IP: q.From.AsSlice()}, &net.IPAddr{IP: q.At.Addr.AsSlice()})
	if err != nil {
		return false, notOurs(err)
	}
	defer c.Close() //nolint:errcheck // one packet
	id := [2]byte{byte(os.Getpid()), byte(n)}
	m := []byte{ask, 0, 0, 0, id[0], id[1], 0, 1, 'd', 'e', 'm', 'a', 'r', 'c'}
	if !q.At.Addr.Is6() { // the kernel sums ICMPv6 by itself
		sum := checksum(m)
		m[2], m[3] = byte(sum>>8), byte(sum)
	}
	if _, err := c.Write(m); err != nil {
		return false, notOurs(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return false, err
	}
	for buf := make([]byte, 256); ; {
		k, _, err := c.ReadFromIP(buf) // unlike Read, it strips the header of IPv4
		if err != nil {
			return false, notOurs(err)
		}
		if k >= 6 && buf[0] == reply && buf[4] == id[0] && buf[5] == id[1] {
			return true, nil
		}
	}
}

// checksum is the internet checksum (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum>>16 > 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum) //nolint:gosec // folded
}
