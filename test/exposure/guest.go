package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"unsafe"
)

// udpPorts are where every guest echoes datagrams, so that an open path can be told from a shut one.
var udpPorts = []int{5300, 5301, 5302, 5310, 9000}

// guest echoes datagrams inside a server's namespace, from the address that they were sent to, until its input ends.
func guest() error {
	for _, port := range udpPorts {
		for _, network := range []string{"udp4", "udp6"} {
			c, err := net.ListenUDP(network, &net.UDPAddr{Port: port})
			if err != nil {
				return err
			}
			if err := tellDestination(c, network == "udp6"); err != nil {
				return err
			}
			go echo(c)
		}
	}
	fmt.Println("ready")
	_, err := os.Stdin.Read(make([]byte, 1))
	_ = err // the end of the input is the end of us
	return nil
}

// tellDestination asks the kernel for each datagram's destination, which the echo then leaves from: ip(7), ipv6(7).
func tellDestination(c *net.UDPConn, six bool) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		if six {
			set = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_RECVPKTINFO, 1)
		} else {
			set = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_PKTINFO, 1)
		}
	})
	if err != nil {
		return err
	}
	return set
}

func echo(c *net.UDPConn) {
	buf, oob := make([]byte, 512), make([]byte, 256)
	for {
		n, k, _, from, err := c.ReadMsgUDP(buf, oob)
		if err != nil {
			return
		}
		_, _, _ = c.WriteMsgUDP(buf[:n], leaveFrom(oob[:k]), from)
	}
}

// leaveFrom turns what was said of the destination into a wish for the source: without the interface, so that routing decides.
func leaveFrom(oob []byte) []byte {
	ms, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range ms {
		switch {
		case m.Header.Level == syscall.IPPROTO_IP && m.Header.Type == syscall.IP_PKTINFO:
			in := (*syscall.Inet4Pktinfo)(unsafe.Pointer(&m.Data[0])) //nolint:gosec // the kernel wrote it
			in.Ifindex, in.Spec_dst = 0, in.Addr
			return oob
		case m.Header.Level == syscall.IPPROTO_IPV6 && m.Header.Type == syscall.IPV6_PKTINFO:
			in := (*syscall.Inet6Pktinfo)(unsafe.Pointer(&m.Data[0])) //nolint:gosec // the kernel wrote it
			in.Ifindex = 0
			return oob
		}
	}
	return nil
}

// echoes are the echoes that run, one in each server's namespace.
type echoes struct{ ends map[string]func() }

// start starts the echo of a server, in place of the one it had.
func (e *echoes) start(ctx context.Context, testbed, server string) error {
	if end := e.ends[server]; end != nil {
		end()
	}
	end, err := background(ctx, testbed, server, "-guest")
	if err != nil {
		return fmt.Errorf("the echo in %s does not start: %w", server, err)
	}
	e.ends[server] = end
	return nil
}

// background starts this program in a server's namespace, waits until it is ready, and gives back what ends it.
func background(ctx context.Context, testbed, server string, args ...string) (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, testbed, append([]string{"exec", "h-" + server, self}, args...)...) //nolint:gosec // the testbed and ourselves
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() { _ = in.Close(); _ = cmd.Wait() }
	if _, err := out.Read(make([]byte, 8)); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

// stop ends them all.
func (e *echoes) stop() {
	for _, end := range e.ends {
		end()
	}
}

// claim puts further addresses on a server's NIC, as its owner would for an address pair, or takes them away.
func claim(ctx context.Context, testbed, server, mac string, a netip.Addr, add bool) error {
	nic, err := nicOf(ctx, testbed, server, mac)
	if err != nil {
		return err
	}
	verb := map[bool]string{true: "add", false: "del"}[add]
	args := []string{"exec", "h-" + server, "ip", "addr", verb, netip.PrefixFrom(a, a.BitLen()).String(), "dev", nic}
	if a.Is6() && add {
		args = append(args, "nodad")
	}
	if b, err := exec.CommandContext(ctx, testbed, args...).CombinedOutput(); err != nil { //nolint:gosec // the testbed
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, b)
	}
	return nil
}

// nicOf finds the name of a server's NIC.
func nicOf(ctx context.Context, testbed, server, mac string) (string, error) {
	out, err := exec.CommandContext(ctx, testbed, "exec", "h-"+server, "ip", "-o", "link").Output() //nolint:gosec // the testbed
	if err != nil {
		return "", err
	}
	for _, l := range strings.Split(string(out), "\n") {
		if f := strings.Fields(l); len(f) > 1 && strings.Contains(l, mac) {
			nic, _, _ := strings.Cut(strings.TrimSuffix(f[1], ":"), "@")
			return nic, nil
		}
	}
	return "", fmt.Errorf("%s has no NIC %s", server, mac)
}
