// Package flow is the ordered steps of the line, from what a cloud holds to the machine that is given back.
//
//	inventory → plan → probe → collect → judge → attribute → open → notify → verify → enforce → release
//
// Each step takes due work, decides in a pure function, and commits: state, next work, mail and audit entry in one
// transaction. Sending and acting happen after the commit and report back. If the process dies between two steps, the
// work falls due again.
package flow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/casework/notice"
	"demarc/internal/cloud"
	"demarc/internal/detect"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/plan"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/reach"
	"demarc/internal/wire"
)

// Sender hands one mail to the next hop. A nil error means 250 after DATA. A fault.Refused will not go away by
// itself; any other error is tried again.
type Sender interface {
	Send(ctx context.Context, m casework.Mail) error
}

// Vantage is a vantage point with the engine that probes from it.
type Vantage struct {
	probe.Vantage
	View   reach.View
	Engine wire.Engine
}

// Config wires a line. Everything is required but Actor and Tell.
type Config struct {
	Cloud      string
	Region     string
	Reader     cloud.Reader
	Actor      cloud.Actor // nil: the line never acts
	Loopback   bool        // every endpoint of the cloud, for each account, is on 127.0.0.0/8
	Vantages   []Vantage
	Policy     *policy.Policy // its Mode is the highest that is allowed; New keeps a copy, whose Mode is the one in force
	Model      *duty.Model    // with its contracts and offerings
	Checks     []detect.Check
	Contacts   notice.Contacts
	PolicyURL  string
	GuideURL   string // where the pages of guidance are published; empty: mails name none
	Sender     Sender
	Ledger     Ledger
	Switch     Switch // a kill switch outside the ledger; nil: none
	Clock      Clock
	Limits     plan.Limits
	Quarantine cloud.QuarantineSpec
	Netblocks  []policy.Netblock       // as the operator declared them
	Insiders   []netip.Prefix          // the addresses of the institution, as far as they are declared
	Protected  func(asset.Server) bool // an operator's mark, never a tenant's
	Remedy     func(x *asset.Index, f finding.Finding, openings []reach.Opening) []string
	Tell       func(Happening) // told after each commit what happened; may be nil
	Log        *slog.Logger
	Overtakes  time.Duration // how long a request may still take effect although a fence was taken; 0: 3 s. Real time: it passes in the cloud
}

// overtakes: the cloud had compared the request's revision already when the fence came, on another of its workers. With Neutron it was seen half
// a second later.
const overtakes = 3 * time.Second

// Switch is a kill switch that is read right before every call that restricts a machine. Thrown tells whether it is on, and why; what
// cannot be read is on.
type Switch interface{ Thrown() (bool, string) }

// Line is one cloud's line. It is driven by one goroutine.
type Line struct {
	Config
	base      *policy.Policy // as it was given; never written after New
	highest   policy.Mode    // that the configuration allows
	applied   policy.Mode    // that the ledger says the pipeline works in; "": not read yet
	scripts   []probe.Script
	checks    map[string]*detect.Check
	failed    map[string]failure                       // work that could not be done lately, so that it is not tried in a circle
	refusals  map[string]refusal                       // how often in a row the cloud has refused the rest of an order that undoes something
	x         *asset.Index                             // the inventory as last committed
	xAt       int64                                    // real time of it
	accepted  int64                                    // policy time of the last mail that the next hop took
	sent      map[string][]casework.Mail               // mails that were taken, which is not written down yet, by id
	outside   func(netip.Addr) bool                    // which addresses are the provider's, by x
	holds     map[netip.Addr]asset.Holder              // who holds which address, by x
	forwards  map[netip.Addr]*asset.FloatingIP         // and which forward to several machines, alone at their address
	addrs     map[asset.PortID][]netip.Addr            // and which each port holds, in order
	fips      map[asset.FloatingIPID]*asset.FloatingIP // by x
	sets      map[string]*reach.Set                    // what each vantage point can reach, by x
	lacked    asset.Losses                             // what complete readings lacked of what is known
	partialAt int64                                    // policy time of the last whole reading that was not complete
	chargeAt  int64                                    // when what is open must be charged anew; 0: now
	chargeNow atomic.Bool                              // ChargeAnew was called since
	// reconcileAt is when the cases are next compared with their timers and mails, policy time, µs; 0: now. reconciled is the id of the last
	// case of the run that is under way, "" between two runs. reconcileFailed says that a case of that run could not be compared.
	reconcileAt     int64
	reconciled      string
	reconcileFailed bool
	marks           string                    // what it was charged by, of the projects
	turn            string                    // of the steps that take turns, the one that did the last piece of work; "": nothing was due
	askedNew        bool                      // the last step of its kind asked what was just opened
	last            map[string]*reach.Set     // what each vantage point could reach when what is new was last worked out
	queued          bool                      // and that was by x
	unswept         map[string]bool           // vantage points of which that is not known: they sweep at once
	posturedAt      int64                     // real time of the whole reading that findings of the configuration were last compared with
	showing         map[finding.Key]shortfall // what the configuration shows
	reported        bool                      // the step that is under way has counted its error as a problem itself
	problems        problems                  // causes for which work is not done
	lacking         map[string][]string       // by kind of sync, the kinds of objects that the last one did not have whole
	synced          atomic.Int64              // real time of the last sync that was written down, µs; 0: none since this process began
	working         atomic.Pointer[Working]   // the step that is under way, or was last
	doubtful        map[finding.Key]bool      // and of what it cannot tell whether it shows it
	shown           bool                      // and that is by x and by what listens now
}

// Names of work that is put off when it can not be done. What is of a case goes by its timer and id.
const (
	workInventory = "inventory"
	workRecent    = "recent"
	workSweep     = "sweep " // and the vantage point
)

type failure struct {
	until int64
	tries int
}

// refusal is how often the cloud has refused something, since this process began, and what it said last.
type refusal struct {
	times int
	why   string
}

// New makes a line.
func New(c Config) *Line {
	l := &Line{
		Config:   c,
		scripts:  detect.Scripts(c.Checks),
		checks:   map[string]*detect.Check{},
		failed:   map[string]failure{},
		refusals: map[string]refusal{},
		last:     map[string]*reach.Set{},
		sent:     map[string][]casework.Mail{},
		unswept:  map[string]bool{},
		lacking:  map[string][]string{},
		problems: problems{known: map[string]*problem{}},
	}
	for i := range c.Checks {
		l.checks[c.Checks[i].ID] = &c.Checks[i]
	}
	if c.Policy != nil {
		l.base, l.highest = c.Policy, c.Policy.Mode.Known()
		l.Policy = c.Policy.InMode(policy.Observe) // until the ledger is read
	}
	if l.Overtakes == 0 {
		l.Overtakes = overtakes
	}
	if l.Log == nil {
		l.Log = slog.New(slog.DiscardHandler)
	}
	return l
}

// A step finds due work and does some of it. It tells whether it did.
type step struct {
	name string
	do   func(l *Line, ctx context.Context) (bool, error)
}

// steps is the order in which due work is taken. What is under way comes first. An act that is due does not wait for looks that
// are due elsewhere: it looks itself, at its own machine, right before.
var steps = []step{
	{"settle", (*Line).settle},
	{"reconcile", (*Line).reconcile},
	{"inventory", (*Line).refreshWhenDue},
	{"queue", (*Line).queueWhenRead},
	{"attribute", (*Line).attribute},
	{"posture", (*Line).posture},
	{"notify", (*Line).notify},
	{"release", (*Line).release},
	{"clear", (*Line).clearLeftovers},
	{"hold", (*Line).hold},
	{"enforce", (*Line).enforce},
	{"verify", (*Line).verify},
	{"opened", (*Line).probeOpened},
	{"sweep", (*Line).sweepWhenDue},
}

// alwaysFirst is how many steps keep their place: the others go by what these learn, of orders under way and of the cloud.
const alwaysFirst = 4

// inTurn is the order in which the steps are asked after one of the others did a piece of work: those behind it come first, it comes last.
// So nobody can keep a step from its work by what makes others due again and again.
func inTurn(last string) []step {
	i := slices.IndexFunc(steps, func(s step) bool { return s.name == last })
	if i < alwaysFirst {
		return steps
	}
	return slices.Concat(steps[:alwaysFirst], steps[i+1:], steps[alwaysFirst:i+1])
}

// Step does one piece of due work, and tells whether there was any. An error is what kept a piece from being done; it
// falls due again later.
func (l *Line) Step(ctx context.Context) (bool, error) {
	if l.x == nil { // mail and deadlines go on by what is stored, while the cloud does not answer
		if err := l.loadInventory(ctx, 0); err != nil {
			return false, err
		}
	}
	if err := l.applyMode(ctx); err != nil {
		return false, err
	}
	var errs []error
	for i, s := range inTurn(l.turn) {
		l.reported = false
		l.working.Store(&Working{Step: s.name, Since: l.Clock.Real()})
		did, err := s.do(l, ctx)
		switch {
		case err == nil:
			l.overcome("step "+s.name, "")
		case ctx.Err() == nil && !l.reported: // else what was put off is counted on its own
			l.meet("step "+s.name, "", err.Error())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.name, err))
		}
		if did && i >= alwaysFirst {
			l.turn = s.name
		}
		if did || ctx.Err() != nil {
			return did, errors.Join(errs...)
		}
	}
	l.turn = ""
	l.dropStale()
	return false, errors.Join(errs...)
}

// Working is a step that is under way, since a real time, µs.
type Working struct {
	Step  string
	Since int64
}

// Working is the step that is under way, or was last; false before the first. Safe for concurrent use.
func (l *Line) Working() (Working, bool) {
	w := l.working.Load()
	if w == nil {
		return Working{}, false
	}
	return *w, true
}

// SyncedAt is the real time of the last sync of the cloud, full or incremental, that was written down since this process began, µs; 0: none.
// Safe for concurrent use.
func (l *Line) SyncedAt() int64 { return l.synced.Load() }

// ChargeAnew has the next step ask the responsibility model again about all that is open. It may be called from any goroutine, as by a
// person's decision.
func (l *Line) ChargeAnew() { l.chargeNow.Store(true) }

// NextDue is when the next piece of work falls due, on the policy clock.
func (l *Line) NextDue(ctx context.Context) (int64, error) {
	at, err := l.nextRound(ctx)
	if err != nil {
		return 0, err
	}
	now := l.Clock.Now()
	due, ok, err := l.Ledger.NextDue(ctx, now)
	if err != nil {
		return 0, err
	}
	if ok {
		at = min(at, due)
	}
	if l.chargeAt > now {
		at = min(at, l.chargeAt)
	}
	if l.reconcileAt > now {
		at = min(at, l.reconcileAt)
	}
	if l.reconciled != "" {
		at = now + 1 // the next page
	}
	for _, f := range l.failed { // what is due and was put off
		if f.until > now {
			at = min(at, f.until)
		}
	}
	return at, nil
}

// nextRound is when the next inventory or sweep is due; what was put off is due when its wait is over.
func (l *Line) nextRound(ctx context.Context) (int64, error) {
	c, ok, err := l.Ledger.LastCoverage(ctx, probe.KindInventory, l.Cloud, "", "")
	if err != nil {
		return 0, err
	}
	at := l.failed[workInventory].until
	if ok {
		full := max(at, l.fullDue(c))
		due, often, err := l.recentDue(ctx, c)
		if err != nil {
			return 0, err
		}
		if at = full; often {
			at = min(full, max(due, l.failed[workRecent].until))
		}
	}
	for i := range l.Vantages {
		v := &l.Vantages[i]
		due, err := l.sweepDue(ctx, v)
		if err != nil {
			return 0, err
		}
		at = min(at, max(due, l.failed[workSweep+v.Name].until))
	}
	return max(at, l.Clock.Now()+1), nil
}

// putOff remembers that a piece of work could not be done, and when to try again: after one minute, then two, up to an
// hour.
func (l *Line) putOff(key string, err error) {
	f := l.failed[key]
	f.tries++
	wait := min(int64(1)<<min(f.tries-1, 6), 60) * minute
	f.until = l.Clock.Now() + wait
	l.failed[key], l.reported = f, true
	l.meet(causeOf(key), key, err.Error())
}

func (l *Line) done(key string) {
	if _, put := l.failed[key]; put {
		delete(l.failed, key)
		l.overcome(causeOf(key), key)
	}
}

// dropStale forgets work that was put off and not tried again for hours after it fell due: what asked for it is gone.
func (l *Line) dropStale() {
	for key, f := range l.failed {
		if f.until+3*hour < l.Clock.Now() {
			l.done(key)
		}
	}
}

// waiting tells whether a piece of work was put off and its time has not come.
func (l *Line) waiting(key string) bool { return l.failed[key].until > l.Clock.Now() }

const (
	second = int64(1_000_000)
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
)
