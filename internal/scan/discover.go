package scan

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"demarc/internal/probe"
)

// look is one endpoint in the making.
type look struct {
	endpoint probe.Endpoint
	outcome  probe.Outcome // "" while nothing came back
	sent     int64
	received int64
	real     int64
	trouble  string
	icmp     bool // a router said so: not mere silence
}

// host is the queue of one address: its ports wait until its budget allows the next.
type host struct {
	looks []*look
	due   time.Time
}

// queue is a heap of hosts by when they are due.
type queue []*host

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(*host)) }
func (q *queue) Pop() any {
	old := *q
	h := old[len(old)-1]
	*q = old[:len(old)-1]
	return h
}

// newQueue shuffles the looks and deals them to their hosts, the hosts starting apart from each other.
func newQueue(looks []*look, now time.Time) *queue {
	order := rand.Perm(len(looks))
	hosts := map[netip.Addr]*host{}
	q := &queue{}
	for _, i := range order {
		l := looks[i]
		h := hosts[l.endpoint.Addr]
		if h == nil {
			h = &host{due: now.Add(time.Duration(rand.IntN(1000)) * time.Microsecond)} //nolint:gosec // spread, no secret
			hosts[l.endpoint.Addr] = h
			*q = append(*q, h)
		}
		h.looks = append(h.looks, l)
	}
	heap.Init(q)
	return q
}

// flight is a connect under way.
type flight struct {
	look     *look
	fd       int
	deadline time.Time
	landed   bool
}

// discover finds out which looks are open, in passes: what stays silent is asked again.
func (r *run) discover(ctx context.Context, looks []*look) error {
	for range r.Passes {
		var silent []*look
		for _, l := range looks {
			if l.outcome == "" {
				silent = append(silent, l)
			}
		}
		if len(silent) == 0 {
			return nil
		}
		if err := r.pass(ctx, silent, len(looks)); err != nil {
			return err
		}
	}
	for _, l := range looks {
		if l.outcome == "" {
			l.outcome = probe.Filtered
		}
	}
	return nil
}

// pass asks every look once.
func (r *run) pass(ctx context.Context, looks []*look, of int) error {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("make an event queue: %w", err)
	}
	p := &passing{run: r, epoll: epoll, flying: map[int]*flight{}, queue: newQueue(looks, time.Now())}
	defer p.end()
	done := of - len(looks)
	for p.queue.Len() > 0 || len(p.flying) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		wait := p.launch(time.Now())
		landed, err := p.land(wait)
		if err != nil {
			return err
		}
		done += landed + p.expire(time.Now())
		if r.Progress != nil {
			r.Progress(min(done, of), of)
		}
	}
	return nil
}

// passing is the state of one pass; one goroutine owns it.
type passing struct {
	*run
	epoll  int
	queue  *queue
	flying map[int]*flight
	order  []*flight // by deadline, which is the order they started in
}

func (p *passing) end() {
	for fd := range p.flying {
		_ = unix.Close(fd)
	}
	_ = unix.Close(p.epoll)
}

// debtMax is how late a host's next connect may be and still be made up for: the event queue sleeps in whole
// milliseconds. What is later is dropped, so that there is never a burst.
const debtMax = 20 * time.Millisecond

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// launch starts what is due and says how long there is nothing to start. The budgets are charged before
// a packet goes out.
func (p *passing) launch(now time.Time) (wait time.Duration) {
	const long = 50 * time.Millisecond // ctx is looked at this often
	for p.queue.Len() > 0 && len(p.flying) < p.Sockets {
		h := (*p.queue)[0]
		if d := h.due.Sub(now); d > 0 {
			return min(d, long)
		}
		if !p.rate.AllowN(now, 1) {
			return min(time.Second/time.Duration(p.Rate)+time.Millisecond, long)
		}
		l := h.looks[len(h.looks)-1]
		h.looks = h.looks[:len(h.looks)-1]
		h.due = later(h.due, now.Add(-debtMax)).Add(time.Second / time.Duration(p.HostRate))
		if len(h.looks) == 0 {
			heap.Pop(p.queue)
		} else {
			heap.Fix(p.queue, 0)
		}
		p.start(l, now)
	}
	return long
}

func (p *passing) start(l *look, now time.Time) {
	if l.sent == 0 {
		l.sent, l.real = p.Clock(), realNow()
	}
	p.sent.Add(1)
	fd, err := p.dial.open(addrPort(l.endpoint))
	if err != nil {
		l.received = p.Clock()
		l.outcome, l.trouble = atOnce(err)
		return
	}
	f := &flight{look: l, fd: fd, deadline: now.Add(p.ConnectTimeout)}
	event := unix.EpollEvent{Events: unix.EPOLLOUT, Fd: int32(fd)} //nolint:gosec // descriptors are small
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		_ = unix.Close(fd)
		l.outcome, l.trouble = probe.Failed, fmt.Sprintf("watch a connect: %v", err)
		return
	}
	p.flying[fd] = f
	p.order = append(p.order, f)
}

// atOnce judges a connect that failed before anything went out: but for a refusal, that is our trouble.
func atOnce(err error) (probe.Outcome, string) {
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return probe.Closed, ""
	case errors.Is(err, unix.ECONNRESET):
		return probe.Open, ""
	}
	return probe.Failed, err.Error()
}

func addrPort(e probe.Endpoint) netip.AddrPort { return netip.AddrPortFrom(e.Addr, e.Port) }

// land takes in the connects that came to an end.
func (p *passing) land(wait time.Duration) (int, error) {
	if len(p.order) > 0 {
		wait = min(wait, time.Until(p.order[0].deadline))
	}
	events := make([]unix.EpollEvent, 256)
	n, err := unix.EpollWait(p.epoll, events, max(0, int((wait+time.Millisecond-1)/time.Millisecond)))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return 0, fmt.Errorf("wait for answers: %w", err)
	}
	for i := range max(n, 0) {
		f := p.flying[int(events[i].Fd)]
		if f == nil {
			continue
		}
		err := socketError(f.fd)
		if err == nil && metItself(f.fd) {
			err = unix.ECONNREFUSED
		}
		l := f.look
		l.outcome, l.trouble = outcomeOf(err)
		l.icmp = l.outcome == probe.Filtered
		l.received = p.Clock()
		p.drop(f)
	}
	return max(n, 0), nil
}

// metItself tells a connect that met itself: on our own addresses, TCP joins a socket to itself where its
// ephemeral port happens to be the one asked for. Nothing listens there.
func metItself(fd int) bool {
	here, err := unix.Getsockname(fd)
	if err != nil {
		return false
	}
	there, err := unix.Getpeername(fd)
	if err != nil {
		return false
	}
	switch h := here.(type) {
	case *unix.SockaddrInet4:
		t, ok := there.(*unix.SockaddrInet4)
		return ok && t.Port == h.Port && t.Addr == h.Addr
	case *unix.SockaddrInet6:
		t, ok := there.(*unix.SockaddrInet6)
		return ok && t.Port == h.Port && t.Addr == h.Addr
	}
	return false
}

func (p *passing) drop(f *flight) {
	f.landed = true
	delete(p.flying, f.fd)
	_ = unix.Close(f.fd)
}

// expire gives up on connects whose time is over; their look stays without an outcome.
func (p *passing) expire(now time.Time) (n int) {
	for len(p.order) > 0 && (p.order[0].landed || !p.order[0].deadline.After(now)) {
		f := p.order[0]
		p.order = p.order[1:]
		if !f.landed {
			p.drop(f)
			n++
		}
	}
	return n
}
