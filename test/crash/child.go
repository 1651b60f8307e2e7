package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/cloud"
	"demarc/internal/flow"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/serve"
	"demarc/internal/wire"
)

// crashPolicy is the default policy, looking once a week, with the act that has the most parts: a stop.
func crashPolicy() []byte {
	const institution = "institution: 7d, grace: 24h, "
	b := bytes.Replace(policy.DefaultYAML(), []byte(institution+"end: quarantine"), []byte(institution+"end: stop"), 1)
	b = bytes.Replace(b, []byte("sweep_every: 1d"), []byte("sweep_every: 7d"), 1)
	b = bytes.Replace(b, []byte("recent_every: 60s"), []byte("recent_every: 7d"), 1)
	return bytes.Replace(b, []byte("inventory_every: 60s"), []byte("inventory_every: 7d"), 1)
}

var begins = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC).UnixMicro()

// points counts the places at which the process may die, and dies at the one it was told.
type points struct {
	n  atomic.Int64
	at int64
}

// here is one such place. SIGKILL: no deferred call runs, nothing is flushed.
func (p *points) here() {
	if p.n.Add(1) == p.at {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	}
}

// child runs the story to its end, or to the point where it dies, and prints how many points it passed.
func child(ctx context.Context, dir string) error {
	at, err := strconv.ParseInt(os.Getenv("DEMARC_CRASH_AT"), 10, 64)
	if err != nil {
		return err
	}
	p := &points{at: at}
	c, pol, err := serve.Load(filepath.Join(dir, "demarc.yaml"))
	if err != nil {
		return err
	}
	clock := flow.NewLeaping(begins)
	d, err := serve.Open(ctx, c, pol, serve.Options{Clock: clock, HTTP: func(rt http.RoundTripper) http.RoundTripper { return &roads{rt, p} }, Wrap: func(f *flow.Config) {
		f.Ledger, f.Reader, f.Actor, f.Sender = &ledger{f.Ledger, p}, &reader{f.Reader, p}, &actor{f.Actor, p}, &sender{f.Sender, p}
		for i := range f.Vantages {
			f.Vantages[i].Engine = &engine{f.Vantages[i].Engine, p}
		}
	}})
	if err != nil {
		return err
	}
	last, err := d.DB.Clock(ctx)
	if err != nil {
		return err
	}
	clock.LeapTo(last)
	if _, chosen, err := d.DB.Mode(ctx); err != nil {
		return err
	} else if !chosen {
		if err := d.Line.SetMode(ctx, policy.Enforce, "olga", "the story needs it"); err != nil {
			return err
		}
	}
	if err := story(ctx, d, clock); err != nil {
		return err
	}
	if err := d.Close(); err != nil {
		return err
	}
	fmt.Println(p.n.Load())
	return nil
}

// mostTroubles is how often a piece of work may be put off in one story.
const mostTroubles = 10

// story drives the line. Its people act on what they see, so that a restart finds them where they were.
func story(ctx context.Context, d *serve.Demarc, clock *flow.Leaping) error {
	troubles := 0
	for range 10_000 {
		worked, err := d.Line.Step(ctx)
		if err != nil { // a piece of work may be put off: an act whose outcome is not certain yet is asked for again later
			if troubles++; troubles > mostTroubles {
				return err
			}
		}
		if worked && err == nil {
			continue
		}
		acted, over, err := people(ctx, d)
		if err != nil || over {
			return err
		}
		if acted {
			continue
		}
		due, err := d.Line.NextDue(ctx)
		if err != nil {
			return err
		}
		clock.LeapTo(due)
	}
	return fmt.Errorf("the story does not end")
}

// people: an operator who approves what waits, an owner who asks for release, and the end.
func people(ctx context.Context, d *serve.Demarc) (acted, over bool, err error) {
	cases, err := d.DB.Cases(ctx, access.Operator(), casework.Filter{})
	if err != nil {
		return false, false, err
	}
	for _, c := range cases {
		if c.Party != "customer" || c.Track != casework.Vulnerability {
			continue
		}
		switch {
		case c.State == casework.Queued && len(c.Approvals) == 0 && len(c.Accepted(casework.StepApproval)) > 0: // once it is read
			return true, false, d.Line.Approve(ctx, c.ID, "olga")
		case c.State == casework.Restricted && c.RequestedAt == 0 && len(c.Accepted(casework.StepRestricted)) > 0:
			return true, false, d.Line.Claim(ctx, c.ID, "amir")
		case c.State == casework.Closed:
			mails, err := d.DB.DueMail(ctx, c.ClosedAt+time.Hour.Microseconds()) // one that was under way is tried again a little later
			return false, len(mails) == 0, err
		}
	}
	return false, false, nil
}

type ledger struct {
	flow.Ledger
	p *points
}

func (l *ledger) Commit(ctx context.Context, c casework.Change) error {
	l.p.here()
	err := l.Ledger.Commit(ctx, c)
	l.p.here()
	return err
}

type reader struct {
	cloud.Reader
	p *points
}

func (r *reader) Snapshot(ctx context.Context, now func() int64) (*asset.Snapshot, error) {
	r.p.here()
	return r.Reader.Snapshot(ctx, now)
}

func (r *reader) Recent(ctx context.Context, since int64, now func() int64) (*asset.Snapshot, error) {
	r.p.here()
	return r.Reader.Recent(ctx, since, now)
}

func (r *reader) Holder(ctx context.Context, a netip.Addr, scope string) (cloud.Holding, error) {
	r.p.here()
	return r.Reader.Holder(ctx, a, scope)
}

type actor struct {
	cloud.Actor
	p *points
}

func (a *actor) SetGroups(ctx context.Context, id asset.PortID, groups []asset.GroupID, revision int) (asset.Port, error) {
	a.p.here()
	p, err := a.Actor.SetGroups(ctx, id, groups, revision)
	a.p.here()
	return p, err
}

func (a *actor) EnsureQuarantine(ctx context.Context, s cloud.QuarantineSpec) (asset.GroupID, error) {
	a.p.here()
	g, err := a.Actor.EnsureQuarantine(ctx, s)
	a.p.here()
	return g, err
}

// roads are the requests to the cloud; those that change something are points, before and after.
type roads struct {
	next http.RoundTripper
	p    *points
}

func (r *roads) RoundTrip(q *http.Request) (*http.Response, error) {
	changes := q.Method != http.MethodGet && !strings.HasSuffix(q.URL.Path, "/auth/tokens")
	if changes {
		r.p.here()
	}
	a, err := r.next.RoundTrip(q)
	if changes {
		r.p.here()
	}
	return a, err
}

type sender struct {
	flow.Sender
	p *points
}

func (s *sender) Send(ctx context.Context, m casework.Mail) error {
	s.p.here()
	err := s.Sender.Send(ctx, m)
	s.p.here()
	return err
}

type engine struct {
	wire.Engine
	p *points
}

func (e *engine) Probe(ctx context.Context, s probe.Shard, scripts []probe.Script, emit func(probe.Observation)) (probe.Coverage, error) {
	e.p.here()
	c, err := e.Engine.Probe(ctx, s, scripts, emit)
	e.p.here()
	return c, err
}
