package lab

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// Stranger is a daemon at an address of loopback that the world's cloud does not hold, as behind a tenant's VPN.
type Stranger struct {
	ln    net.Listener
	mu    sync.Mutex
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

// NewStranger starts a daemon of a kind.
func NewStranger(at netip.AddrPort, s Service) (*Stranger, error) {
	talk := daemons[s.Kind]
	if talk == nil {
		return nil, fmt.Errorf("there is no daemon %s", s.Kind)
	}
	ln, err := net.Listen("tcp", at.String())
	if err != nil {
		return nil, err
	}
	w := &Stranger{ln: ln, conns: map[net.Conn]bool{}}
	w.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			w.mu.Lock()
			w.conns[c] = true
			w.mu.Unlock()
			w.wg.Go(func() {
				talk(c, s)
				_ = c.Close()
				w.mu.Lock()
				delete(w.conns, c)
				w.mu.Unlock()
			})
		}
	})
	return w, nil
}

// Close ends the daemon and its sessions.
func (w *Stranger) Close() {
	_ = w.ln.Close()
	w.mu.Lock()
	for c := range w.conns {
		_ = c.Close()
	}
	w.mu.Unlock()
	w.wg.Wait()
}
