package scan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"demarc/internal/detect/service"
	"demarc/internal/probe"
)

const (
	answerMax = 96 << 10 // bytes of one answer
)

// talkAll has a conversation with every open endpoint, hosts side by side, each within its own budget.
func (r *run) talkAll(ctx context.Context, ls *looks) error {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex // emit is called from one goroutine at a time
		slot = make(chan struct{}, r.Talks)
	)
	hand := func(o probe.Observation) {
		mu.Lock()
		defer mu.Unlock()
		r.cov.Answered++
		r.cov.Open++
		if slices.Contains(o.Facts.Service.Flags, probe.FlagTLSFailed) {
			r.unread++
		}
		r.emit(o)
	}
	for addr := range ls.hosts {
		open := ls.open(addr)
		if len(open) == 0 {
			continue
		}
		h := &hostBudget{rate: rate.NewLimiter(rate.Limit(r.TalkRate), 1), slots: make(chan struct{}, r.TalkAtOnce)}
		wg.Go(func() { r.talkHost(ctx, h, open, ls.tarpit[addr], slot, hand) })
	}
	wg.Wait()
	if r.unread > 0 {
		r.cov.Note = fmt.Sprintf("endpoints that speak TLS but completed no handshake, so that no service was checked: %d", r.unread)
	}
	return ctx.Err()
}

// talkHost talks to a host's open endpoints, as many at once as it may have connections. Of a tarpit a few
// are heard, the others only noted.
func (r *run) talkHost(ctx context.Context, h *hostBudget, open []*look, tarpit bool, slot chan struct{}, hand func(probe.Observation)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for i, l := range open {
		if tarpit && i >= tarpitTalks {
			hand(r.observation(l, probe.Facts{Outcome: probe.Open, Service: &probe.Service{Name: probe.Unknown, Flags: []string{probe.FlagTarpit}}}))
			continue
		}
		select {
		case h.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		select {
		case slot <- struct{}{}:
		case <-ctx.Done():
			<-h.slots
			return
		}
		wg.Go(func() {
			defer func() { <-slot; <-h.slots }()
			f := r.talk(ctx, h, l)
			if ctx.Err() != nil {
				return // cut short by us: what it shows is not the peer's doing
			}
			if tarpit {
				f.Service.Flags = append(f.Service.Flags, probe.FlagTarpit)
				slices.Sort(f.Service.Flags)
			}
			hand(r.observation(l, f))
		})
	}
}

// hostBudget is shared by the conversations with one host. A conversation has one connection at a time, so
// its slots bound the connections.
type hostBudget struct {
	rate  *rate.Limiter
	slots chan struct{}
}

// talk has one conversation.
func (r *run) talk(ctx context.Context, h *hostBudget, l *look) probe.Facts {
	c := &conversation{run: r, host: h, look: l, bytes: r.TalkBytes, conns: r.TalkConns, left: r.TalkTime}
	defer c.hangUp()
	f := service.Converse(l.endpoint, r.Self, r.scripts, func(a service.Ask) service.Reply {
		reply := c.ask(ctx, a)
		if r.Tap != nil {
			r.Tap(l.endpoint, a, reply)
		}
		return reply
	})
	return f
}

// conversation keeps the budget of one endpoint. One goroutine owns it.
type conversation struct {
	*run
	host  *hostBudget
	look  *look
	bytes int           // still to be received
	conns int           // still to be opened
	left  time.Duration // still to be spent with the peer; waiting for our own budgets does not count
	conn  net.Conn
	raw   *counted
	tls   *probe.TLS
}

var errBudget = errors.New("the endpoint's budget is spent")

// counted counts what is received, under TLS too, and ends the conversation at the budget.
type counted struct {
	net.Conn
	left  *int
	taken *[]byte // while a handshake goes on, what was received in it, at most service.HandshakeMax bytes
}

func (c *counted) Read(b []byte) (int, error) {
	if *c.left <= 0 {
		return 0, errBudget
	}
	n, err := c.Conn.Read(b[:min(len(b), *c.left)])
	*c.left -= n
	if c.taken != nil {
		*c.taken = append(*c.taken, b[:min(n, service.HandshakeMax-len(*c.taken))]...)
	}
	return n, err
}

func (c *conversation) hangUp() {
	if c.raw != nil {
		_ = c.raw.Conn.Close()
	}
	c.conn, c.raw, c.tls = nil, nil, nil
}

// ask carries out one question within the budget.
func (c *conversation) ask(ctx context.Context, a service.Ask) service.Reply {
	if c.left <= 0 || c.bytes <= 0 {
		return service.Reply{End: probe.EndBudget}
	}
	reused := c.conn != nil && !a.Fresh && a.TLS == (c.tls != nil)
	reply := c.exchange(ctx, a, reused)
	if reused && a.HTTP && len(reply.Bytes) == 0 && (reply.End == probe.EndClosed || reply.End == probe.EndReset) {
		return c.exchange(ctx, a, false) // the server had hung up before it heard the question
	}
	return reply
}

// exchange sends and listens, on a new connection unless one is reused.
func (c *conversation) exchange(ctx context.Context, a service.Ask, reused bool) service.Reply {
	if !reused {
		c.hangUp()
		if failed := c.call(ctx, a); failed != nil {
			return *failed
		}
	}
	began := time.Now()
	defer func() { c.left -= time.Since(began) }()
	wait := c.StepTime
	if a.Passive {
		wait = c.BannerTime
	}
	stop := context.AfterFunc(ctx, c.cut(c.raw))
	defer stop()
	deadline := began.Add(min(wait, c.left))
	_ = c.raw.SetDeadline(deadline) // fails only on a closed connection, which reading tells
	if len(a.Send) > 0 {
		_, _ = c.conn.Write(a.Send) // likewise; what the peer said before it closed is still read
	}
	reply := service.Reply{TLS: c.tls}
	reply.Bytes, reply.End = c.read(a, deadline)
	if len(reply.Bytes) > 0 {
		c.look.received = c.Clock()
	}
	if reply.End != probe.EndDone && reply.End != probe.EndTimeout || a.HTTP && !reusable(reply.Bytes) {
		c.hangUp()
	}
	return reply
}

// cut ends all waiting on a connection at once.
func (c *conversation) cut(raw *counted) func() {
	return func() { _ = raw.SetDeadline(time.Unix(1, 0)) }
}

func reusable(b []byte) bool {
	m, ok := service.ParseHTTP(b)
	return len(b) == 0 || ok && m.Reusable()
}

// read takes in an answer: until it is over, pauses, or a budget ends.
func (c *conversation) read(a service.Ask, deadline time.Time) ([]byte, string) {
	most := answerMax
	if a.Most > 0 {
		most = min(most, a.Most)
	}
	buf := make([]byte, 0, min(4<<10, most))
	for len(buf) < most {
		if len(buf) > 0 && a.Pauses(buf) {
			deadline = earlier(deadline, time.Now().Add(c.QuietTime))
			_ = c.raw.SetReadDeadline(deadline)
		}
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, min(len(buf), most-len(buf)))
		}
		n, err := c.conn.Read(buf[len(buf):min(cap(buf), most)])
		buf = buf[:len(buf)+n]
		if err != nil {
			end := endOf(err)
			if end == probe.EndTimeout && len(buf) > 0 && !a.HTTP {
				end = probe.EndDone // it spoke and now waits for us
			}
			return buf, end
		}
		if a.Over(buf) {
			return buf, probe.EndDone
		}
		if !time.Now().Before(deadline) {
			return buf, probe.EndTimeout
		}
	}
	if a.HTTP {
		return buf, probe.EndClosed // a long page is no offence; we have enough of it and hang up
	}
	return buf, probe.EndBudget
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func endOf(err error) string {
	switch {
	case errors.Is(err, errBudget):
		return probe.EndBudget
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return probe.EndTimeout
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return probe.EndReset
	default: // io.EOF, and whatever TLS makes of an end it did not like
		return probe.EndClosed
	}
}
