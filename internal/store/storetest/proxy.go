package storetest

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Cut is where a connection to the server ends.
type Cut int

// The places: before the server hears that it shall commit; after it committed, so that its answer is lost; and somewhere between,
// as chance has it.
const (
	Nowhere Cut = iota
	BeforeCommit
	AfterCommit
	AtCommit
)

// Proxy stands between a store and its server, and cuts connections.
type Proxy struct {
	Place string // the database, by way of the proxy

	server    string
	first     string // the database that it led to at first
	instead   string // the database that it leads to now, where that is another
	mu        sync.Mutex
	next      Cut
	meanwhile func() // what happens before the server hears of the next cut
	down      bool
	cuts      int
	conns     map[net.Conn]bool
}

// NewProxy begins one in front of the server of a place.
func NewProxy(t *testing.T, place string) *Proxy {
	t.Helper()
	u, err := url.Parse(place)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{server: u.Host, first: strings.TrimPrefix(u.Path, "/"), conns: map[net.Conn]bool{}}
	q := u.Query()
	q.Set("sslmode", "disable") // it must read what it passes on
	u.Host, u.RawQuery = l.Addr().String(), q.Encode()
	p.Place = u.String()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); p.Down(true); wg.Wait() })
	return p
}

// Arm cuts the next commit.
func (p *Proxy) Arm(c Cut) {
	p.mu.Lock()
	p.next = c
	p.mu.Unlock()
}

// ArmWith cuts the next commit, and what is given happens before the server hears of the cut. With BeforeCommit the transaction is open
// then, with AfterCommit it is committed and its answer lost.
func (p *Proxy) ArmWith(c Cut, what func()) {
	p.mu.Lock()
	p.next, p.meanwhile = c, what
	p.mu.Unlock()
}

// Cuts is how often it has cut.
func (p *Proxy) Cuts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts
}

// Down ends every connection, and admits none until it is up again.
func (p *Proxy) Down(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
	for c := range p.conns {
		_ = c.Close()
	}
}

// Redirect ends every connection, and leads the next ones to another database, as a failover does.
func (p *Proxy) Redirect(t *testing.T, place string) {
	t.Helper()
	u, err := url.Parse(place)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	p.mu.Lock()
	if p.instead = ""; name != p.first {
		p.instead = name
	}
	p.mu.Unlock()
	p.Down(true)
	p.Down(false)
}

// renamed puts another database's name into a client's first message. Source: PostgreSQL, Frontend/Backend Protocol, StartupMessage.
func (p *Proxy) renamed(hello []byte) []byte {
	p.mu.Lock()
	instead := p.instead
	p.mu.Unlock()
	key := []byte("database\x00")
	i := bytes.Index(hello, key)
	if instead == "" || i < 0 || len(hello) < 8 || binary.BigEndian.Uint32(hello[4:]) != 196608 {
		return hello
	}
	from := i + len(key)
	end := from + bytes.IndexByte(hello[from:], 0)
	out := slices.Concat(hello[:from], []byte(instead), hello[end:])
	binary.BigEndian.PutUint32(out, uint32(len(out))) //nolint:gosec // a message is short
	return out
}

func (p *Proxy) take(sent []byte) (c Cut, meanwhile func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == Nowhere || !bytes.Contains(sent, []byte("commit\x00")) {
		return Nowhere, func() {}
	}
	c, meanwhile = p.next, p.meanwhile
	if p.next, p.meanwhile = Nowhere, nil; meanwhile == nil {
		meanwhile = func() {}
	}
	p.cuts++
	return c, meanwhile
}

func (p *Proxy) serve(client net.Conn) {
	defer client.Close() //nolint:errcheck // it is cut, or over
	p.mu.Lock()
	refuse := p.down
	p.conns[client] = true
	p.mu.Unlock()
	defer func() { p.mu.Lock(); delete(p.conns, client); p.mu.Unlock() }()
	if refuse {
		return
	}
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close() //nolint:errcheck // likewise
	deaf, answered := make(chan struct{}), make(chan struct{})
	go answer(client, server, deaf, answered)
	for b, first := make([]byte, 64<<10), true; ; first = false {
		n, err := client.Read(b)
		if err != nil {
			return
		}
		if first {
			n = copy(b, p.renamed(b[:n]))
		}
		cut, meanwhile := p.take(b[:n])
		if cut == BeforeCommit {
			meanwhile()
			return
		}
		if cut == AfterCommit {
			close(deaf)
		}
		if _, err := server.Write(b[:n]); err != nil || cut == AtCommit {
			return
		}
		if cut == AfterCommit {
			select {
			case <-answered: // it has committed
			case <-time.After(10 * time.Second):
			}
			meanwhile()
			return
		}
	}
}

// answer passes on what the server says, until the client is to be deaf to it: then it only tells that there was an answer.
func answer(client, server net.Conn, deaf <-chan struct{}, answered chan<- struct{}) {
	defer close(answered)
	for b := make([]byte, 64<<10); ; {
		n, err := server.Read(b)
		select {
		case <-deaf:
			return
		default:
		}
		if err == nil {
			_, err = client.Write(b[:n])
		}
		if err != nil {
			_ = client.Close()
			return
		}
	}
}
