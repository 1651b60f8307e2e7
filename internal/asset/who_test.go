package asset_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"demarc/internal/asset"
)

// historyEnd is the last instant of a drawn history.
const historyEnd = 30

// history draws who held one address in two scopes: moves, machines with several ports, forwardings, and times at which nobody did.
func history(t *rapid.T) []asset.Binding {
	var out []asset.Binding
	for _, scope := range []string{asset.ExternalScope, "net-1"}[:rapid.IntRange(1, 2).Draw(t, "scopes")] {
		at := int64(0)
		for n := rapid.IntRange(0, 5).Draw(t, "moves"); n > 0; n-- {
			at += rapid.Int64Range(0, 5).Draw(t, "gap")
			b := asset.Binding{Cloud: "c", Scope: scope, ValidFrom: at, Port: asset.PortID(fmt.Sprint("port-", rapid.IntRange(1, 3).Draw(t, "port"))), Shared: rapid.IntRange(1, 9).Draw(t, "shared") == 1}
			if rapid.IntRange(1, 6).Draw(t, "server") > 1 {
				b.Server = asset.ServerID(fmt.Sprint("s", rapid.IntRange(1, 2).Draw(t, "which")))
			}
			at += rapid.Int64Range(1, 8).Draw(t, "length")
			if n > 1 || rapid.Bool().Draw(t, "over") {
				b.ValidTo = at
			}
			out = append(out, b)
		}
	}
	return out
}

// at lists what answers at an instant, by a name of the machine; "*" for many.
func at(bs []asset.Binding, t int64) map[string]bool {
	out := map[string]bool{}
	for _, b := range bs {
		if b.ValidFrom > t || b.ValidTo != 0 && b.ValidTo <= t {
			continue
		}
		switch {
		case b.Shared:
			out["*"] = true
		case b.Server != "":
			out[string(b.Server)] = true
		default:
			out[string(b.Port)] = true
		}
	}
	return out
}

// An address is held only where one machine alone held it at every instant of the window.
func TestHeldIsOneMachineOverTheWholeWindow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		bs := history(t)
		from := rapid.Int64Range(0, historyEnd).Draw(t, "from")
		to := from + rapid.Int64Range(0, 8).Draw(t, "long")
		all, always := map[string]bool{}, true
		for i := from; i <= to; i++ {
			here := at(bs, i)
			always = always && len(here) > 0
			for m := range here {
				all[m] = true
			}
		}
		want, doubt := asset.Ambiguous, asset.Partly
		switch {
		case len(all) == 0:
			want, doubt = asset.Nobody, ""
		case all["*"]:
			doubt = asset.Shared
		case len(all) > 1:
			doubt = asset.Several
		case always:
			want, doubt = asset.Held, ""
		}
		if got, why := asset.WhoHeld(bs, from, to); got != want || why != doubt {
			t.Fatalf("from %d to %d: %s %s, want %s %s\n%+v", from, to, got, why, want, doubt, bs)
		}
	})
}
