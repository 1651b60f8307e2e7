package asset_test

import (
	"testing"

	"demarc/internal/asset"
)

// Two networks without an address scope share none, and each family has its own.
func TestAddressScopesAreSharedByFamily(t *testing.T) {
	t.Parallel()
	a, b, none := &asset.Network{Scope4: "x", Scope6: "y"}, &asset.Network{Scope4: "x", Scope6: "z"}, &asset.Network{}
	for _, c := range []struct {
		a, b *asset.Network
		six  bool
		want bool
	}{{a, b, false, true}, {a, b, true, false}, {a, a, true, true}, {none, none, false, false}, {none, none, true, false}, {a, none, false, false}, {a, nil, false, false}, {nil, a, false, false}, {nil, nil, true, false}} {
		if got := c.a.SharesScope(c.b, c.six); got != c.want {
			t.Errorf("%+v and %+v share a scope, IPv6 %v: %v", c.a, c.b, c.six, got)
		}
	}
}
