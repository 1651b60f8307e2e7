// Package lab is a pretend outside world on loopback.
//
// It holds an OpenStack cloud that speaks HTTP, servers whose daemons answer on addresses of
// 127.0.0.0/8, the filtering that the cloud's security groups ask for, and a mailbox that receives
// mail. All of it can be told to misbehave. Nothing leaves the machine, and nothing needs root.
//
// Where the kernel is Linux, a packet that no rule admits is dropped at the listening socket, so a probe sees what a
// filter would show it: silence. Where the kernel lets us filter, that is so source by source; else it goes by the
// scenario's scanner, see PerSource. A port that nothing listens on answers
// with a reset whatever the groups say; there the world is kinder than a real one.
package lab

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// World is one pretend world. All its methods may be called from many goroutines.
type World struct {
	scenario Scenario
	Mail     *Mailbox // where the mail of this world arrives

	mu            sync.Mutex // guards all below
	closed        bool
	counter       int
	projects      []*projectRow
	users         []*userRow
	images        []*imageRow
	networks      []*networkRow
	subnets       []*subnetRow
	routers       []*routerRow
	ports         []*portRow
	floating      []*floatingRow
	groups        []*groupRow
	addressGroups []*addressGroupRow
	servers       []*serverRow
	tokens        map[string]*account
	appCreds      []AppCred
	faults        []*Fault
	actions       []Action
	endpoints     map[netip.AddrPort]*endpoint
	seen          map[netip.AddrPort]bool
	hooks         []func(Event)
	pending       []Event

	clockOff time.Duration            // of the clock by which the cloud's services answer
	clocks   map[string]time.Duration // further, of single services
	deleted  []*serverRow             // what Nova still tells of to who asks for changes
	extra    extensions               // what few clouds have
	twists   map[string]func(map[string]any)

	perSource bool // packets are dropped source by source

	octet   byte         // the world lives in 127.octet.0.0/16
	claimed net.Listener // while this is open
	base    string       // http://host:port
	server  *http.Server
	serving sync.WaitGroup
	release chan struct{} // closed at the end, so that slow answers stop waiting
}

// Event is something that happened in the world.
type Event struct {
	Kind   string // connect, groups, rules, status, floating, service, guest
	Server string // name, where there is one
	Port   string // Neutron port id, where there is one
	Addr   netip.AddrPort
	Source netip.Addr
	Detail string
}

// New builds the world and starts it.
func New(s Scenario) (*World, error) {
	if s.Region == "" {
		s.Region = "lab"
	}
	if s.PageMax == 0 {
		s.PageMax = 1000
	}
	if s.TokenLife == 0 {
		s.TokenLife = 3600
	}
	w := &World{
		scenario:  s,
		tokens:    map[string]*account{},
		endpoints: map[netip.AddrPort]*endpoint{},
		seen:      map[netip.AddrPort]bool{},
		appCreds:  s.AppCreds,
		release:   make(chan struct{}),
		perSource: mayFilter(),
		clocks:    maps.Clone(s.Clocks),
	}
	if err := w.claim(); err != nil {
		return nil, err
	}
	if err := w.build(); err != nil {
		_ = w.claimed.Close()
		return nil, fmt.Errorf("scenario %q: %w", s.Name, err)
	}
	if err := w.start(); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

func (w *World) start() error {
	ln, err := net.Listen("tcp", orLoopback(w.scenario.Addr))
	if err != nil {
		return err
	}
	w.base = "http://" + ln.Addr().String()
	w.server = &http.Server{Handler: http.HandlerFunc(w.handle), ReadHeaderTimeout: 10 * time.Second, ErrorLog: quiet()}
	w.serving.Go(func() { _ = w.server.Serve(ln) })
	if w.Mail, err = NewMailbox(orLoopback(w.scenario.MailAddr)); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reconcile()
}

func orLoopback(addr string) string {
	if addr == "" {
		return "127.0.0.1:0"
	}
	return addr
}

// Close stops everything and waits for it. It may be called twice.
func (w *World) Close() {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return
	}
	w.closed = true
	close(w.release)
	for at, e := range w.endpoints {
		e.close()
		delete(w.endpoints, at)
	}
	w.mu.Unlock()
	if w.server != nil {
		_ = w.server.Close()
	}
	if w.Mail != nil {
		w.Mail.Close()
	}
	w.serving.Wait()
	_ = w.claimed.Close()
}

// AuthURL is where Keystone answers.
func (w *World) AuthURL() string { return w.base + "/identity/v3" }

// Region is the region of the catalog.
func (w *World) Region() string { return w.scenario.Region }

// Source gives an address of the scenario's named places.
func (w *World) Source(name string) netip.Addr { return w.scenario.Sources[name] }

// OnEvent has f called after each event, outside the world's lock, in the goroutine that caused it: f
// may call the world, and may be called from several goroutines at once.
func (w *World) OnEvent(f func(Event)) {
	w.mu.Lock()
	w.hooks = append(w.hooks, f)
	w.mu.Unlock()
}

func (w *World) emit(e Event) { w.pending = append(w.pending, e) }

// unlock ends a change: listeners follow the new state, then the hooks hear of it.
func (w *World) unlock() error {
	var err error
	if !w.closed {
		err = w.reconcile()
	}
	events, hooks := w.pending, w.hooks
	w.pending = nil
	w.mu.Unlock()
	for _, e := range events {
		for _, f := range hooks {
			f(e)
		}
	}
	return err
}

// ErrUnknown is returned for a name that the world does not hold.
var ErrUnknown = errors.New("lab: no such thing")

func find[T any](rows []*T, is func(*T) bool) *T {
	for _, r := range rows {
		if is(r) {
			return r
		}
	}
	return nil
}

// SetClock has the cloud's services tell a time that is off by so much.
func (w *World) SetClock(off time.Duration) {
	w.mu.Lock()
	w.clockOff = off
	w.mu.Unlock()
}

// SetServiceClock has one service tell a time that is off by so much: identity, compute, networking, image, or conductor, which
// writes the times of Nova's rows.
func (w *World) SetServiceClock(service string, off time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.clocks == nil {
		w.clocks = map[string]time.Duration{}
	}
	w.clocks[service] = off
}

// stampOf is the time that a service writes into a row now.
func (w *World) stampOf(service string) string {
	return time.Now().Add(w.clocks[service]).UTC().Format("2006-01-02T15:04:05Z")
}

func stampNow() string { return time.Now().UTC().Format("2006-01-02T15:04:05Z") }
