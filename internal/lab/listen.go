package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// endpoint is one listening address with the daemon behind it.
type endpoint struct {
	world *World
	at    netip.AddrPort
	ln    *net.TCPListener
	wg    sync.WaitGroup

	shut      bool          // its queue is kept full; guarded by the world's lock
	accepting chan struct{} // closed when nobody accepts; guarded by the world's lock

	mu     sync.Mutex // guards all below
	target target
	conns  map[*net.TCPConn]*atomic.Bool // whether the session has fallen silent
	filler net.Conn                      // our own connection that fills the queue
	closed bool
}

// target is what an endpoint leads to.
type target struct {
	server  string // id
	name    string // of the server
	port    string // Neutron port id
	tcp     uint16 // the daemon's own port
	service Service
	filter  filter
}

// reached is an address that leads to a port, with the translation of a forwarding where there is one.
type reached struct {
	addr               netip.Addr
	external, internal uint16 // 0: every port, as it is
}

// addressesOf lists the loopback addresses that lead to a port.
func (w *World) addressesOf(p *portRow) []reached {
	var out []reached
	for _, f := range p.FixedIPs {
		if a, err := netip.ParseAddr(f.IPAddress); err == nil && a.Is4() && a.IsLoopback() {
			out = append(out, reached{addr: a})
		}
	}
	for _, f := range w.floating {
		a, err := netip.ParseAddr(f.Address)
		if err != nil || !a.Is4() || !a.IsLoopback() {
			continue
		}
		if f.PortID != nil && *f.PortID == p.ID {
			out = append(out, reached{addr: a})
		}
		for _, fw := range f.Forwards {
			if fw.InternalPortID == p.ID {
				out = append(out, reached{a, fw.ExternalPort, fw.InternalPort})
			}
		}
	}
	return out
}

// wanted computes which endpoints should listen, and to what they lead.
func (w *World) wanted() map[netip.AddrPort]target {
	out := map[netip.AddrPort]target{}
	for _, s := range w.servers {
		if s.status != "ACTIVE" {
			continue
		}
		for _, p := range w.portsOf(s.id) {
			if !p.AdminStateUp {
				continue
			}
			for _, a := range w.addressesOf(p) {
				for _, svc := range s.services {
					w.wantedOf(out, s, p, a, svc)
				}
			}
		}
	}
	return out
}

func (w *World) wantedOf(out map[netip.AddrPort]target, s *serverRow, p *portRow, a reached, svc *Service) {
	if svc.Stopped {
		return
	}
	ports := svc.Ports
	if svc.Port != 0 {
		ports = append([]uint16{svc.Port}, ports...)
	}
	for _, tcp := range ports {
		external := tcp
		if a.external != 0 {
			if a.internal != tcp {
				continue
			}
			external = a.external
		}
		out[netip.AddrPortFrom(a.addr, external)] = target{s.id, s.name, p.ID, tcp, *svc, w.admission(s, p, svc, tcp)}
	}
}

// reconcile makes the listeners follow the state. The caller holds the lock.
func (w *World) reconcile() error {
	want := w.wanted()
	for at, e := range w.endpoints {
		if _, ok := want[at]; !ok {
			e.close()
			delete(w.endpoints, at)
		}
	}
	for at, t := range want {
		if e := w.endpoints[at]; e != nil {
			if err := e.retarget(t); err != nil {
				return err
			}
			continue
		}
		e, err := w.listen(at, t)
		if err != nil {
			return fmt.Errorf("%s of %s: %w", t.service.Name, t.name, err)
		}
		w.endpoints[at] = e
	}
	return nil
}

func (w *World) listen(at netip.AddrPort, t target) (*endpoint, error) {
	// The filter is on the socket before it listens, so there is no moment in which a stranger slips in.
	lc := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error { return w.attach(t.filter, c) }}
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(context.Background(), "tcp4", at.String())
	if err != nil {
		return nil, err
	}
	e := &endpoint{world: w, at: at, ln: ln.(*net.TCPListener), target: t, conns: map[*net.TCPConn]*atomic.Bool{}}
	if err := e.follow(t.filter); err != nil {
		_ = ln.Close()
		return nil, err
	}
	if !e.shut {
		e.accept()
	}
	return e, nil
}

// accept begins to accept.
func (e *endpoint) accept() {
	ended := make(chan struct{})
	e.accepting = ended
	e.wg.Go(func() {
		defer close(ended)
		e.serve()
	})
}

func (e *endpoint) serve() {
	for {
		c, err := e.ln.AcceptTCP()
		if err != nil {
			return
		}
		e.mu.Lock()
		if e.closed {
			e.mu.Unlock()
			_ = c.Close()
			return
		}
		if e.fills(c) {
			e.mu.Unlock()
			continue
		}
		silent := new(atomic.Bool)
		e.conns[c] = silent
		t := e.target
		e.mu.Unlock()
		e.wg.Go(func() {
			e.connection(c, t, silent)
			e.mu.Lock()
			delete(e.conns, c)
			e.mu.Unlock()
			_ = c.Close()
		})
	}
}

// holdFor is how long a daemon waits for a silent peer.
const holdFor = 2 * time.Minute

func (e *endpoint) connection(c *net.TCPConn, t target, silent *atomic.Bool) {
	source := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	_ = c.SetDeadline(time.Now().Add(holdFor))
	if !t.filter.admits(source) {
		hold(c)
		return
	}
	e.world.connected(e.at, t, source)
	daemons[t.service.Kind](session{c, silent}, t.service)
}

// hold reads and never answers.
func hold(c net.Conn) {
	buf := make([]byte, 512)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}

// connected tells of the first connection to an endpoint since it began to listen.
func (w *World) connected(at netip.AddrPort, t target, source netip.Addr) {
	w.mu.Lock()
	if w.closed || w.seen[at] {
		w.mu.Unlock()
		return
	}
	w.seen[at] = true
	hooks := w.hooks
	w.mu.Unlock()
	for _, f := range hooks {
		f(Event{Kind: "connect", Server: t.name, Port: t.port, Addr: at, Source: source, Detail: t.service.Name})
	}
}

// retarget points an endpoint at another daemon or filter. Connections to another machine are cut;
// those to the same machine obey the new filter from now on, as behind a stateful firewall that forgets.
func (e *endpoint) retarget(t target) error {
	if !e.redirect(t) {
		return nil
	}
	if err := e.follow(t.filter); err != nil {
		return err
	}
	raw, err := e.ln.SyscallConn()
	if err != nil {
		return err
	}
	return e.world.attach(t.filter, raw)
}

// redirect tells whether the filter, or what is behind it, is another one now.
func (e *endpoint) redirect(t target) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	moved := e.target.server != t.server || e.target.service.Kind != t.service.Kind || e.target.service.Mode != t.service.Mode
	same := !moved && e.target.filter.equal(t.filter)
	e.target = t
	if same {
		return false
	}
	for c, silent := range e.conns {
		if moved {
			cut(c)
			continue
		}
		if !e.world.perSource {
			silent.Store(!t.filter.admits(c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()))
			continue
		}
		if raw, err := c.SyscallConn(); err == nil {
			_ = t.filter.attach(raw)
		}
	}
	return true
}

func cut(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// close stops listening and cuts what is connected. It does not wait for the daemons' goroutines when one
// of them may be the caller; they end at once, for their connections are closed.
func (e *endpoint) close() {
	e.mu.Lock()
	e.closed = true
	for c := range e.conns {
		cut(c)
	}
	if e.filler != nil {
		_ = e.filler.Close()
	}
	e.mu.Unlock()
	_ = e.ln.Close()
	e.world.serving.Go(e.wg.Wait)
	delete(e.world.seen, e.at)
}

func portText(p uint16) string { return strconv.Itoa(int(p)) }
