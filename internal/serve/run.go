package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
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
	trusted     *flow.Trusted
	lease       *store.Lease // only one server works on a database
	outside     *killSwitch  // the kill switch outside the ledger
	wake        chan struct{}
	socket      net.Listener
	health      net.Listener
	odd         atomic.Bool // the audit log is not the one whose heads were kept, and nobody has looked yet
	mu          sync.Mutex
	stepped     time.Time // when the pipeline last came back from a step
	failed      bool      // the last step was not done
	calls       *calls    // requests to the cloud that are under way
	callMayTake time.Duration
	began       time.Time

	notified bool // the operators got the mail that no ledger could keep
}

// Serve opens what a configuration names and makes it ready to run: the clock goes on from where the ledger stands, the ledger
// is held against its heads outside, and what cannot be trusted throws the kill switch before anything is done.
func Serve(ctx context.Context, c *Config, p *policy.Policy, o Options) (_ *Server, err error) {
	clock := &lateClock{}
	o.Clock = clock
	outside, wrap := newSwitch(c.SwitchPath()), o.Wrap
	watched, around := &calls{}, o.HTTP
	o.HTTP = func(next http.RoundTripper) http.RoundTripper {
		if around != nil {
			next = around(next)
		}
		return watched.watch(next)
	}
	o.Wrap = func(f *flow.Config) {
		f.Switch = outside
		if wrap != nil {
			wrap(f)
		}
	}
	d, err := Open(ctx, c, p, o)
	if err != nil {
		return nil, err
	}
	d.DB.UseSwitch(outside)
	s := &Server{Demarc: d, outside: outside, wake: make(chan struct{}, 1), stepped: time.Now(), began: time.Now(), calls: watched, callMayTake: cmp.Or(o.CallMayTake, callMayTake)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.lease, err = d.DB.Lease(ctx); err != nil {
		return nil, err
	}
	if err := mayStart(ctx, c, d.DB); err != nil {
		return nil, err
	}
	if err := s.takeStock(ctx, clock); err != nil {
		return nil, err
	}
	if err := d.Line.Adopt(ctx); err != nil {
		return nil, err
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

// takeStock finds out whether anything may be enforced, before the first step: what the kill switch says, the clock, and whether the
// database is the one that was written last.
func (s *Server) takeStock(ctx context.Context, clock *lateClock) error {
	inLedger, err := s.DB.PausedInLedger(ctx)
	if err != nil {
		return err
	}
	if err := s.outside.file.Create(inLedger); err != nil {
		return err
	}
	doubts, err := s.stand(ctx, clock)
	if err != nil {
		return err
	}
	for _, x := range doubts {
		s.log.Error("enforcement is paused", "why", x.why)
		if err := s.outside.doubt(x.why, true); err != nil {
			return err
		}
		if err := s.Line.Distrust(ctx, x.why, x.ledger); err != nil {
			return err
		}
	}
	if err := s.outside.recordAll(ctx, s.Line); err != nil { // it is tried again while the server runs
		s.log.Error("a pause is in force and cannot be recorded yet", "err", err)
	}
	paused, err := s.DB.Paused(ctx)
	if paused {
		s.log.Warn("enforcement is paused: no action on any machine begins; demarc enforce resume ends that")
	}
	return err
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

// rewritten tells whether the audit log is not the one whose heads were kept outside: edited, an older copy, or one whose heads are gone.
// A log that is in order is followed from here on.
func (s *Server) rewritten(ctx context.Context) (string, error) {
	file := store.HeadFile(s.Config.HeadsPath())
	heads, unread := file.Heads()
	if unread != nil { // nothing could be appended to it either
		if err := file.SetAside(time.Now()); err != nil {
			return "", fault.New(fault.Config, "the audit heads %s cannot be read, and not be moved away: %w",
				string(file), errors.Join(unread, err)).Hinted("remove what is there, or make it a regular file that this account can read and write")
		}
	}
	log, err := s.DB.AuditLog(ctx)
	if err != nil {
		return "", err
	}
	log.Known = heads
	switch ps := audit.Verify(log); {
	case len(ps) > 0:
		return fmt.Sprintf("%s (%d such problems; see demarc audit verify)", ps[0].What, len(ps)), nil
	case unread != nil:
		return "its audit heads could not be read, and are set aside: " + unread.Error(), nil
	case lostHeads(len(heads), len(log.Leaves)):
		return fmt.Sprintf("%s holds no audit head, and the log has %d entries: the file was lost, or is another's",
			string(file), len(log.Leaves)), nil
	}
	s.DB.Follow(log.Head)
	return "", nil
}

// lostHeads reports whether a log has entries and no head is kept of it.
func lostHeads(heads, entries int) bool { return heads == 0 && entries > 0 }

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
	desk, unrecorded := deskAt(s.DB, s.Policy, s.trusted), make(chan struct{}, 1)
	desk.outside, desk.recordSoon = s.outside, func() { poke(unrecorded) }
	desk.resumed = s.resumed
	k := &counter{desk: desk, may: may, peer: peer, slots: make(chan struct{}, atOnce), decided: s.decided}
	others.Go(func() { k.serve(side, s.socket) })
	others.Go(func() { s.recordPauses(side, s.recorder(), unrecorded) })
	others.Go(func() { s.trusted.Tick(side) })
	others.Go(func() { s.watch(side) })
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

// recorder is a pipeline that only writes pauses, with the addresses of the operators.
func (s *Server) recorder() *flow.Line {
	return flow.New(flow.Config{Ledger: s.DB, Clock: s.trusted, Policy: s.Policy, Contacts: s.Config.contacts()})
}

// decided wakes the pipeline after a person decided.
func (s *Server) decided(q Ask) {
	s.log.Info("decided", "do", string(q.Do), "by", q.By, "cases", q.Cases, "why", untrusted.From(q.Why))
	s.Line.ChargeAnew()
	poke(s.wake)
}

// resumed follows a person who has lifted the kill switch, and so has looked at the clock too, and at the database: heads that it does not
// fit are set aside for an auditor, and new ones begin.
func (s *Server) resumed(ctx context.Context) error {
	s.trusted.Adopt()
	if !s.odd.Load() {
		return nil
	}
	log, err := s.DB.AuditLog(ctx)
	if err == nil {
		err = store.HeadFile(s.Config.HeadsPath()).StartOver(time.Now(), log.Head)
	}
	if err != nil {
		return fault.New(fault.Unavailable, "the old audit heads could not be set aside: %w", err).
			Hinted("make %s writable, and resume again", s.Config.HeadsPath())
	}
	s.odd.Store(false)
	return nil
}

// poke wakes the goroutine that waits on a channel with a buffer of one.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
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
			if fault.Is(err, fault.Conflict) || errors.Is(err, store.ErrReplaced) {
				return err
			}
			s.Line.Meet("database", err.Error())
			s.note(err)
			s.rest(ctx, afterError)
			continue
		}
		s.Line.Overcome("database")
		if time.Since(kept) >= keepEvery {
			if err := s.keepTime(ctx); err != nil && ctx.Err() == nil {
				s.log.Error("the clock could not be kept", "err", err)
			}
			kept = time.Now()
		}
		s.trusted.Work(true)
		worked, err := s.Line.Step(ctx)
		s.trusted.Work(false)
		if ctx.Err() != nil {
			return nil
		}
		s.note(err)
		s.rest(ctx, s.pause(ctx, worked, err))
	}
	return nil
}

// stillOurs makes sure that no other server works on the database. A lease that was lost, as when the database's server was
// restarted, is taken anew; fault.Conflict: another has it. A database that is not the one this server worked on pauses enforcement;
// store.ErrReplaced: its file is another, and this server cannot go on.
func (s *Server) stillOurs(ctx context.Context) error {
	if err := s.DB.Extends(ctx); errors.Is(err, store.ErrDiverged) || errors.Is(err, store.ErrReplaced) {
		return s.distrustDatabase(ctx, err)
	}
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

// distrustDatabase pauses enforcement because another database than before answers. Where it can be written, it is the one to go on with
// once an operator resumes. A file that was replaced cannot be: this process still holds the old one open.
func (s *Server) distrustDatabase(ctx context.Context, cause error) error {
	why := "the database: " + cause.Error()
	s.log.Error("enforcement is paused", "why", why)
	replaced := errors.Is(cause, store.ErrReplaced) // the next start records it, in the file that is there then
	if err := s.outside.doubt(why, !replaced); err != nil {
		s.log.Error("the kill switch could not be written", "err", err)
	}
	s.odd.Store(true)
	if !replaced {
		err := s.Line.Distrust(ctx, why, true)
		if err == nil {
			return nil
		}
		cause = errors.Join(cause, err)
	}
	if !s.notified { // no ledger keeps the mail: it goes out now or never
		s.notified = true
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), mailTime)
		defer cancel()
		if err := s.Line.SendPaused(ctx, why); err != nil {
			s.log.Error("the operators could not be notified", "err", err)
		}
	}
	return cause
}

// mailTime is how long a mail that no ledger keeps may take.
const mailTime = 30 * time.Second

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
