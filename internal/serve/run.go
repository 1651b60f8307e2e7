package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"demarc/internal/audit"
	"demarc/internal/fault"
	"demarc/internal/flow"
	"demarc/internal/policy"
	"demarc/internal/store"
	"demarc/internal/untrusted"
)

// machineTime is where a server takes time from.
func machineTime() flow.Source {
	began := time.Now()
	return flow.Source{
		Wall: func() int64 { return time.Now().UnixMicro() },
		Mono: func() int64 { return time.Since(began).Microseconds() },
		Boot: boot,
	}
}

// bootID names this boot of the machine (proc(5), /proc/sys/kernel/random/boot_id).
func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}

// Server is a Demarc that works until it is told to stop.
type Server struct {
	*Demarc
	trusted *flow.Trusted
	lease   *store.Lease // only one server works on a database
	wake    chan struct{}
	socket  net.Listener
	health  net.Listener
	odd     atomic.Bool // the audit log is not the one whose heads were kept, and nobody has looked yet
	mu      sync.Mutex
	stepped time.Time // when the line last came back from a step
	trouble string    // what kept the last step from being done
}

// Serve opens what a configuration names and makes it ready to run: the clock goes on from where the ledger stands, the ledger
// is held against its heads outside, and what cannot be trusted throws the kill switch before anything is done.
func Serve(ctx context.Context, c *Config, p *policy.Policy, o Options) (_ *Server, err error) {
	clock := &lateClock{}
	o.Clock = clock
	d, err := Open(ctx, c, p, o)
	if err != nil {
		return nil, err
	}
	s := &Server{Demarc: d, wake: make(chan struct{}, 1), stepped: time.Now()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.lease, err = d.DB.Lease(ctx); err != nil {
		return nil, err
	}
	doubts, err := s.stand(ctx, clock)
	if err != nil {
		return nil, err
	}
	for _, x := range doubts {
		d.log.Error("enforcement is held", "why", x.why)
		if err := d.Line.Distrust(ctx, x.why, x.ledger); err != nil {
			return nil, err
		}
	}
	if err := d.Line.Adopt(ctx); err != nil {
		return nil, err
	}
	if paused, err := d.DB.Paused(ctx); err != nil {
		return nil, err
	} else if paused {
		d.log.Warn("the kill switch is thrown: no act on any machine begins; demarc enforce resume lifts it")
	}
	if s.socket, err = listen(c.SocketPath(), len(c.Approvers) > 0); err != nil {
		return nil, err
	}
	if c.Health != "" {
		if s.health, err = net.Listen("tcp", c.Health); err != nil {
			return nil, fmt.Errorf("cannot serve %s: %w", c.Health, err)
		}
	}
	return s, nil
}

// doubt is why enforcement is held at the start, and whether it is the ledger that is not what it was.
type doubt struct {
	why    string
	ledger bool
}

// stand starts the clock and holds the ledger against what was published of it. What it returns is why nothing may be enforced
// until a person has looked.
func (s *Server) stand(ctx context.Context, late *lateClock) ([]doubt, error) {
	at, err := s.DB.Clock(ctx)
	if err != nil {
		return nil, err
	}
	left, err := s.DB.Anchor(ctx)
	if err != nil {
		return nil, err
	}
	clock, unsure := flow.StartTrusted(machineTime(), s.Config.Clock.Rate, at, left)
	s.trusted, late.Trusted = clock, clock
	var doubts []doubt
	if unsure != "" {
		doubts = append(doubts, doubt{why: "the clock: " + unsure})
	}
	old, err := s.rewritten(ctx)
	if old != "" {
		doubts = append(doubts, doubt{"the database: " + old, true})
		s.odd.Store(true)
	}
	return doubts, err
}

// rewritten tells whether the audit log is not the one whose heads were kept outside: edited, or an older copy.
func (s *Server) rewritten(ctx context.Context) (string, error) {
	heads, err := store.HeadFile(s.Config.HeadsPath()).Heads()
	if err != nil {
		return "", err
	}
	log, err := s.DB.AuditLog(ctx)
	if err != nil {
		return "", err
	}
	log.Known = heads
	if ps := audit.Verify(log); len(ps) > 0 {
		return fmt.Sprintf("%s (%d such problems; see demarc audit verify)", ps[0].What, len(ps)), nil
	}
	return "", nil
}

// lateClock is a clock that starts after what reads it was made.
type lateClock struct{ *flow.Trusted }

// Close lets go of everything, and of the socket.
func (s *Server) Close() error {
	var errs []error
	for _, l := range []net.Listener{s.socket, s.health} {
		if l != nil {
			if err := l.Close(); !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	if s.lease != nil {
		errs = append(errs, s.lease.Release())
	}
	return errors.Join(append(errs, s.Demarc.Close())...)
}

// Run works until ctx ends, and then comes back when what was under way is written down.
func (s *Server) Run(ctx context.Context) error {
	may, err := s.Config.approvers()
	if err != nil {
		return err
	}
	side, stop := context.WithCancel(context.WithoutCancel(ctx))
	var others sync.WaitGroup
	k := &counter{desk: deskAt(s.DB, s.Policy, s.trusted), may: may, slots: make(chan struct{}, atOnce), decided: s.decided}
	others.Go(func() { k.serve(side, s.socket) })
	others.Go(func() { s.trusted.Tick(side) })
	if s.health != nil {
		h := &http.Server{Handler: http.HandlerFunc(s.tellHealth), ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, MaxHeaderBytes: 8 << 10}
		h.SetKeepAlivesEnabled(false) // nobody holds a descriptor here for longer than an answer takes
		others.Go(func() { _ = h.Serve(s.health) })
		defer h.Close() //nolint:errcheck // nobody is served any more
	}
	err = s.work(ctx)
	_ = s.socket.Close()
	if s.health != nil {
		_ = s.health.Close()
	}
	stop()
	others.Wait()
	if err != nil {
		return err // another works on the database: not a word is written into it
	}
	return s.keepTime(context.WithoutCancel(ctx))
}

// decided wakes the line after a person decided. Who lifts the kill switch has looked at the clock too, and at the database: heads
// that it does not fit are set aside for an auditor, and new ones begin.
func (s *Server) decided(q Ask) {
	s.log.Info("decided", "do", string(q.Do), "by", q.By, "cases", q.Cases, "why", untrusted.From(q.Why))
	if q.Do == Unpause {
		s.trusted.Adopt()
		if s.odd.CompareAndSwap(true, false) {
			if err := store.HeadFile(s.Config.HeadsPath()).SetAside(time.Now()); err != nil {
				s.log.Error("the old audit heads could not be set aside", "err", err)
			}
		}
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// How long the loop waits: never longer than longestWait, for what others write into the ledger wakes nobody.
const (
	longestWait = 5 * time.Second
	afterError  = time.Second
	keepEvery   = time.Minute
)

// work does what is due, one piece after the other, and waits for the next. It comes back when ctx ends, or when another server
// works on the database.
func (s *Server) work(ctx context.Context) error {
	var kept time.Time
	for ctx.Err() == nil {
		if err := s.stillOurs(ctx); err != nil {
			if fault.Is(err, fault.Conflict) {
				return err
			}
			s.note(err)
			s.rest(ctx, afterError)
			continue
		}
		if time.Since(kept) >= keepEvery {
			if err := s.keepTime(ctx); err != nil && ctx.Err() == nil {
				s.log.Error("the clock could not be kept", "err", err)
			}
			kept = time.Now()
		}
		worked, err := s.Line.Step(ctx)
		if ctx.Err() != nil {
			return nil
		}
		s.note(err)
		s.rest(ctx, s.pause(ctx, worked, err))
	}
	return nil
}

// stillOurs makes sure that no other server works on the database. A lease that was lost, as when the database's server was
// restarted, is taken anew; fault.Conflict: another has it.
func (s *Server) stillOurs(ctx context.Context) error {
	if s.lease.Held(ctx) == nil || ctx.Err() != nil {
		return nil
	}
	lease, err := s.DB.Lease(ctx)
	if err != nil {
		return err
	}
	old := s.lease
	s.lease = lease
	s.log.Warn("the lease on the database was lost, and taken anew")
	_ = old.Release() // its connection is gone
	return nil
}

// rest waits, or is woken.
func (s *Server) rest(ctx context.Context, wait time.Duration) {
	if wait <= 0 {
		return
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-s.wake:
	case <-t.C:
	}
}

// pause is how long there is nothing to do.
func (s *Server) pause(ctx context.Context, worked bool, err error) time.Duration {
	switch {
	case err != nil:
		return afterError / time.Duration(max(s.Config.Clock.Rate/60, 1))
	case worked:
		return 0
	}
	due, err := s.Line.NextDue(ctx)
	if err != nil {
		return afterError
	}
	return min(max(s.trusted.RealUntil(due), 5*time.Millisecond), longestWait)
}

func (s *Server) keepTime(ctx context.Context) error { return s.Line.KeepTime(ctx, s.trusted.Anchor()) }

func (s *Server) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stepped, s.trouble = time.Now(), ""
	if err != nil {
		s.trouble = err.Error()
		s.log.Warn("a piece of work was not done", "err", err)
	}
}

// wellFor is how long one step may take before the server counts as stuck: a sweep of a large netblock takes long.
const wellFor = 2 * time.Hour

// tellHealth answers GET /health: whether the line moves. It tells nothing of any tenant.
func (s *Server) tellHealth(w http.ResponseWriter, r *http.Request) {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	a, err := netip.ParseAddr(host)
	if host != "localhost" && (err != nil || !a.IsLoopback()) { // a name that leads here may be another site's
		http.Error(w, "this answers on loopback alone", http.StatusMisdirectedRequest)
		return
	}
	if r.URL.Path != "/health" || r.Method != http.MethodGet {
		http.NotFound(w, r)
		return
	}
	s.mu.Lock()
	body := map[string]any{"status": "ok", "version": Version, "clock_trusted": s.trusted.Doubt() == "", "last_step_ok": s.trouble == ""}
	stuck := time.Since(s.stepped) > wellFor
	s.mu.Unlock()
	status := http.StatusOK
	if stuck {
		body["status"], status = "stuck", http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
