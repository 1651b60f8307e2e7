package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"
)

// patience is how long a witness waits for a connection or for bytes: far longer than the test cloud takes.
const patience = 3 * time.Second

// witness is what this program does inside a vantage point's namespace: dial SOURCE ADDRESS tells by its exit status whether a
// connection is made; talk SOURCE ADDRESS keeps one open, sends each line it reads, and prints what comes back, or "silence".
func witness(args []string) int {
	d := net.Dialer{Timeout: patience, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(args[1]), 0))}
	c, err := d.DialContext(context.Background(), "tcp", args[2])
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer c.Close() //nolint:errcheck // the end of the witness
	if args[0] == "dial" {
		return 0
	}
	fmt.Println("open")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = fmt.Fprint(c, lines.Text()+"\r\n")
		b := make([]byte, 64)
		n, err := c.Read(b)
		if n > 0 {
			fmt.Println(strings.TrimSpace(string(b[:n])))
		} else {
			fmt.Println("silence:", err)
		}
	}
	return 0
}

// reaches tells whether a connection is made from a source at a vantage point.
func (e *exam) reaches(ctx context.Context, vantage, source, addr string) bool {
	self, err := os.Executable()
	if err != nil {
		return false
	}
	return exec.CommandContext(ctx, e.testbed, "exec", vantage, self, "dial", source, addr).Run() == nil
}

// session is a connection that stays open.
type session struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func (e *exam) talk(ctx context.Context, vantage, source, addr string) (*session, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &session{cmd: exec.CommandContext(ctx, e.testbed, "exec", vantage, self, "talk", source, addr)}
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = bufio.NewScanner(out)
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	if !s.out.Scan() || s.out.Text() != "open" {
		return nil, fmt.Errorf("no session to %s: %s", addr, s.out.Text())
	}
	return s, nil
}

// say sends one line through the session, and gives what comes back.
func (s *session) say(line string) string {
	if _, err := fmt.Fprintln(s.in, line); err != nil {
		return err.Error()
	}
	if !s.out.Scan() {
		return "the witness is gone"
	}
	return s.out.Text()
}

func (s *session) close() {
	_ = s.in.Close()
	_ = s.cmd.Wait()
}

// inside runs a command on a machine, as its owner would.
func (e *exam) inside(ctx context.Context, server string, command ...string) error {
	_, err := e.output(ctx, server, command...)
	return err
}

// output is what a command prints on a machine.
func (e *exam) output(ctx context.Context, server string, command ...string) (string, error) {
	out, err := exec.CommandContext(ctx, e.testbed, append([]string{"exec", "h-" + server}, command...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("on %s: %v: %w: %s", server, command, err, out)
	}
	return string(out), nil
}
