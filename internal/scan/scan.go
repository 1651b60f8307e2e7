// Package scan asks endpoints what they are, politely.
//
// It needs no privilege: sockets of the kernel, non-blocking connects. Nothing a peer does makes it send
// anything to anybody else, read more than a budget, or wait longer than one.
package scan

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"demarc/internal/detect/service"
	"demarc/internal/fault"
	"demarc/internal/probe"
)

// Config is what an engine is made from. Zero values of all but Allow and Loopback give sensible defaults.
type Config struct {
	Vantage   string             // name written into observations
	Allow     []netip.Prefix     // what may be probed; a target outside refuses the shard
	Loopback  bool               // loopback may be probed too
	Sources   []netip.Addr       // to send from: the first of the target's family; empty: the kernel chooses. A target of a family without one fails
	Namespace string             // network namespace under /run/netns to send from; needs root
	Self      service.Self       // how we introduce ourselves
	Clock     func() int64       // policy clock, µs; default the real one
	Progress  func(done, of int) // told now and then how many targets are discovered; may be nil

	ConnectTimeout time.Duration // per connect; default 2 s
	Passes         int           // how often a silent port is asked; default 2
	Rate           int           // connects per second in all; default 500
	HostRate       int           // discovery connects per second and host; default 20
	TalkRate       int           // connections for talking per second and host; default 5
	TalkAtOnce     int           // connections for talking at once per host; default 2
	Sockets        int           // connects under way at once; default 512
	Talks          int           // endpoints talked to at once; default 64

	TalkTime   time.Duration // whole conversation with an endpoint; default 12 s
	StepTime   time.Duration // one answer; default 2 s
	BannerTime time.Duration // wait for a banner; default 1.2 s
	QuietTime  time.Duration // an answer that pauses this long is over; default 200 ms
	TalkBytes  int           // received in one conversation, TLS included; default 256 KiB
	TalkConns  int           // connections in one conversation; default 8

	CanaryAfter int // open ports of a host from which on its canary ports are tried; default 8

	// Tap, where set, is shown every question and its answer, from several goroutines; recordings of daemons
	// are made with it.
	Tap func(probe.Endpoint, service.Ask, service.Reply)
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Engine probes from this machine. It may be used from several goroutines.
type Engine struct {
	Config
	rate *rate.Limiter
}

// New makes an engine.
func New(c Config) *Engine {
	orDefault(&c.Vantage, "local")
	orDefault(&c.Self.Version, "dev")
	orDefault(&c.Self.Policy, "https://demarc.invalid/probing")
	orDefault(&c.ConnectTimeout, 2*time.Second)
	orDefault(&c.Passes, 2)
	orDefault(&c.Rate, 500)
	orDefault(&c.HostRate, 20)
	orDefault(&c.TalkRate, 5)
	orDefault(&c.TalkAtOnce, 2)
	orDefault(&c.Sockets, 512)
	orDefault(&c.Talks, 64)
	orDefault(&c.TalkTime, 12*time.Second)
	orDefault(&c.StepTime, 2*time.Second)
	orDefault(&c.BannerTime, 1200*time.Millisecond)
	orDefault(&c.QuietTime, 200*time.Millisecond)
	orDefault(&c.TalkBytes, 256<<10)
	orDefault(&c.TalkConns, 8)
	orDefault(&c.CanaryAfter, 8)
	if c.Clock == nil {
		c.Clock = realNow
	}
	return &Engine{Config: c, rate: rate.NewLimiter(rate.Limit(c.Rate), max(1, c.Rate/50))}
}

func realNow() int64 { return time.Now().UnixMicro() }

// ErrNoFamily says that sources are configured, and none of the family of an address.
var ErrNoFamily = errors.New("no source of this address family is configured")

// SourceFor is the first of the sources in the family of an address; not valid where there is none.
func SourceFor(sources []netip.Addr, to netip.Addr) netip.Addr {
	i := slices.IndexFunc(sources, func(s netip.Addr) bool { return s.Unmap().Is4() == to.Unmap().Is4() })
	if i < 0 {
		return netip.Addr{}
	}
	return sources[i]
}

// allowed refuses an address that is neither in Allow nor permitted loopback. It is asked for the whole
// shard before the first packet, and again for every packet.
func (e *Engine) allowed(a netip.Addr) error {
	a = a.Unmap()
	if a.IsLoopback() && e.Loopback {
		return nil
	}
	for _, p := range e.Allow {
		if p.Contains(a) {
			return nil
		}
	}
	return fault.New(fault.Refused, "%s is not an address this vantage may probe", a).
		Hinted("declare its netblock, if it is yours")
}

// Probe carries out a shard; see wire.Engine.
func (e *Engine) Probe(ctx context.Context, shard probe.Shard, scripts []probe.Script, emit func(probe.Observation)) (probe.Coverage, error) {
	cov := probe.Coverage{Shard: shard.ID, Vantage: e.Vantage, Purpose: shard.Purpose, Began: e.Clock()}
	for _, t := range shard.Targets {
		if err := e.allowed(t.Addr); err != nil {
			return cov, err
		}
		if t.Proto != probe.TCP || t.Port == 0 || t.Addr.Zone() != "" {
			return cov, fault.New(fault.Usage, "%s can not be probed: only TCP ports from 1 on, without a zone", t)
		}
	}
	r := &run{Engine: e, shard: shard, scripts: scripts, emit: emit, cov: &cov}
	err := r.do(ctx)
	cov.Sent, cov.Ended = int(r.sent.Load()), e.Clock()
	return cov, err
}

// run is one shard being carried out.
type run struct {
	*Engine
	shard   probe.Shard
	scripts []probe.Script
	emit    func(probe.Observation)
	cov     *probe.Coverage
	dial    *dialer
	sent    atomic.Int64 // conversations run side by side
	unread  int          // endpoints that speak TLS but completed no handshake
}

func (r *run) do(ctx context.Context) error {
	d, err := newDialer(r.Engine)
	if err != nil {
		return err
	}
	defer d.close()
	r.dial = d
	looks := newLooks(r.shard.Targets)
	if err = r.discover(ctx, looks.all); err == nil {
		err = r.canaries(ctx, looks)
		looks.settle()
	}
	looks.emitQuiet(r)
	if err == nil {
		err = r.talkAll(ctx, looks)
	}
	r.cov.Complete = err == nil && looks.complete()
	r.cov.Note = strings.TrimSuffix(looks.failures()+"; "+r.cov.Note, "; ")
	r.cov.Note = strings.TrimPrefix(r.cov.Note, "; ")
	return err
}
