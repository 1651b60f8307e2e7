package asset_test

import (
	"slices"
	"testing"

	"demarc/internal/asset"
)

func TestProtocolsByNameAndNumber(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]int{"tcp": 6, "6": 6, "udp": 17, "icmp": 1, "icmpv6": 58, "ipv6-icmp": 58, "58": 58, "ip": 0, "hopopt": 0, "0": 0, "gre": 47, "255": 255,
		"": -1, "any": -1, "TCP": -1, "256": -1, "-1": -1, "+6": -1, "06": -1, "tpc": -1} {
		n, ok := asset.ProtocolNumber(word)
		if ok != (want >= 0) || ok && n != want {
			t.Errorf("%q is %d, %v, want %d", word, n, ok, want)
		}
	}
}

// Ports without a protocol that has some would be read as all of it.
func TestPortsFitTheirProtocol(t *testing.T) {
	t.Parallel()
	type numbers struct{ first, last int }
	every, ssh, all, echo := numbers{asset.AnyPort, asset.AnyPort}, numbers{22, 22}, numbers{1, 65535}, numbers{8, asset.AnyPort}
	never := []numbers{{1, 65536}, {asset.AnyPort, 0}, {-5, 22}, {22, -5}}
	both := []numbers{every, ssh, all, echo, {23, 22}, {0, 22}, {0, 0}}
	run, typed, none := []numbers{every, ssh, all}, []numbers{every, ssh, echo, {23, 22}, {0, 22}, {0, 0}}, []numbers{every}
	for protocol, fit := range map[string][]numbers{"tcp": run, "17": run, "sctp": run, "33": run, "udplite": run, "icmp": typed, "58": typed,
		"": none, "any": none, "47": none, "gre": none, "0": none, "ip": none, "255": none} {
		for _, n := range slices.Concat(never, both) {
			want := slices.Contains(fit, n)
			if got := asset.PortsFit(protocol, n.first, n.last); got != want {
				t.Errorf("%d to %d of %q fit: %v", n.first, n.last, protocol, got)
			}
		}
	}
}
