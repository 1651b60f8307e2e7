package lab

import (
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// Where the kernel does not let us filter source by source, an endpoint is open or shut as a whole. One that is shut has
// a queue of unaccepted connections which one connection of our own fills, so that the kernel drops every further SYN;
// to open it again is to accept. This is the limit of it: who decides is the place that probes, the source "scanner" of
// the scenario (where it names none: all its sources). An endpoint that the scanner is not admitted to is silent for
// everybody, also for those who are admitted; one that it is admitted to accepts everybody, and holds those who are not
// admitted without a byte until they go or holdFor is over. Sessions are per source in both: they fall silent.

// filterEnv set to "off" has a world do without filters, as if the kernel had refused them.
const filterEnv = "DEMARC_LAB_FILTER"

func mayFilter() bool { return os.Getenv(filterEnv) != "off" && filters() }

// PerSource tells whether this world drops packets source by source; else an endpoint is silent as a whole, as it is
// for the scanner.
func (w *World) PerSource() bool { return w.perSource }

// shuts tells whether a filter turns away everybody who probes.
func (w *World) shuts(f filter) bool {
	if a, ok := w.scenario.Sources["scanner"]; ok {
		return !f.admits(a)
	}
	for _, a := range w.scenario.Sources {
		if f.admits(a) {
			return false
		}
	}
	return len(w.scenario.Sources) > 0 || f.none || !f.all && len(f.from) == 0
}

// attach puts a filter on a socket where that is the way of this world.
func (w *World) attach(f filter, c syscall.RawConn) error {
	if !w.perSource {
		return nil
	}
	return f.attach(c)
}

// follow shuts or opens the endpoint as its filter asks. Only the world's reconciling calls it, one at a time.
func (e *endpoint) follow(f filter) error {
	shut := !e.world.perSource && drops && e.world.shuts(f)
	if shut == e.shut {
		return nil
	}
	raw, err := e.ln.SyscallConn()
	if err != nil {
		return err
	}
	if !shut {
		if err := setBacklog(raw, backlog); err != nil {
			return err
		}
		if err := e.ln.SetDeadline(time.Time{}); err != nil {
			return err
		}
		e.shut = false
		e.accept()
		return nil
	}
	if e.accepting != nil {
		if err := e.ln.SetDeadline(time.Unix(1, 0)); err != nil { // nobody accepts any more
			return err
		}
		<-e.accepting
	}
	e.shut = true
	if err := setBacklog(raw, 0); err != nil {
		return err
	}
	// That it is not let in means that somebody else was faster, and that the queue is full already.
	if c, err := (&net.Dialer{Timeout: fillTime}).Dial("tcp4", e.at.String()); err == nil {
		e.mu.Lock()
		e.filler = c
		e.mu.Unlock()
	}
	return nil
}

const (
	backlog  = 128
	fillTime = 100 * time.Millisecond
)

// fills tells whether an accepted connection is our own, and ends it.
func (e *endpoint) fills(c net.Conn) bool {
	if e.filler == nil || c.RemoteAddr().String() != e.filler.LocalAddr().String() {
		return false
	}
	_ = e.filler.Close()
	_ = c.Close()
	e.filler = nil
	return true
}

// session is a connection that can fall silent: what it reads is then lost, and what it writes too.
type session struct {
	net.Conn
	silent *atomic.Bool
}

func (s session) Read(b []byte) (int, error) {
	for {
		n, err := s.Conn.Read(b)
		if err != nil || !s.silent.Load() {
			return n, err
		}
	}
}

func (s session) Write(b []byte) (int, error) {
	if s.silent.Load() {
		return len(b), nil
	}
	return s.Conn.Write(b)
}
