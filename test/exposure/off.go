package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"demarc/internal/reach"
)

// turnOff stops one server or sets one router down for a drawing: what is behind it must not answer, whatever its groups say.
func (w *world) turnOff(ctx context.Context, rng *rand.Rand) error {
	switch rng.IntN(5) {
	case 0:
		r := w.routers[rng.IntN(len(w.routers))]
		w.routerDown = r
		return w.setRouter(ctx, r, false)
	case 1, 2:
		p := w.ports[rng.IntN(len(w.ports))]
		claims := slices.ContainsFunc(w.claims, func(c claimed) bool { return c.server == w.servers[p.Device] })
		down := slices.ContainsFunc(w.ports, func(q wirePort) bool { return q.Device == p.Device && w.down[q.ID] })
		if claims || down { // what it claims would be gone with it; a port that comes back while it is set down stays DOWN for good
			return nil
		}
		w.stopped = p.Device
		return w.power(ctx, p.Device, "os-stop", "SHUTOFF")
	}
	return nil
}

// turnOn brings back what the drawing before turned off. A server comes back in a namespace of its own, with a new echo.
func (w *world) turnOn(ctx context.Context) error {
	var errs []error
	if r := w.routerDown; r != "" {
		errs = append(errs, w.setRouter(ctx, r, true))
		w.routerDown = ""
	}
	if id := w.stopped; id != "" {
		name := w.servers[id]
		w.stopped = ""
		if err := w.power(ctx, id, "os-start", "ACTIVE"); err != nil {
			return errors.Join(append(errs, err)...)
		}
		errs = append(errs, w.echoes.start(ctx, w.testbed, name))
	}
	return errors.Join(errs...)
}

func (w *world) setRouter(ctx context.Context, id string, up bool) error {
	_, err := w.api.Do(ctx, "PUT", w.api.Network+"/routers/"+id, map[string]any{"router": map[string]any{"admin_state_up": up}}, nil)
	return err
}

// power asks Nova for an act and waits for its end.
func (w *world) power(ctx context.Context, server, act, want string) error {
	if _, err := w.api.Do(ctx, "POST", w.api.Compute+"/servers/"+server+"/action", map[string]any{act: nil}, nil); err != nil {
		return fmt.Errorf("%s of %s: %w", act, w.servers[server], err)
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		var now struct {
			Server struct{ Status string }
		}
		if _, err := w.api.Do(ctx, "GET", w.api.Compute+"/servers/"+server, nil, &now); err != nil {
			return err
		}
		if now.Server.Status == want {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(300 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s is not %s within a minute of %s", w.servers[server], want, act)
}

// offAt lists the addresses that would be open if all was on, and are not.
func offAt(set *reach.Set) []netip.Addr {
	on := map[netip.Addr]bool{}
	for _, a := range set.Addresses() {
		on[a] = true
	}
	var out []netip.Addr
	for o := range set.All() {
		if o.State == reach.WhenOn && !o.Prefix.IsValid() && !on[o.Addr] && (len(out) == 0 || out[len(out)-1] != o.Addr) {
			out = append(out, o.Addr)
		}
	}
	return out
}
