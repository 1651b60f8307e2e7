package asset_test

import (
	"net/netip"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/reach"
)

// A port of one project that claims another project's machine is nobody's: the claim is the port owner's word.
func TestAPortCannotClaimAnotherProjectsMachine(t *testing.T) {
	s := &asset.Snapshot{
		Networks: []asset.Network{{ID: "pub", External: true}},
		Servers:  []asset.Server{{ID: "victim", Project: "rival", Status: "ACTIVE"}},
		Ports: []asset.Port{
			{ID: "mine", Project: "attacker", Server: "victim", DeviceOwner: "compute:nova", Network: "pub", AdminUp: true, FixedIPs: []asset.FixedIP{{Addr: netip.MustParseAddr("203.0.113.9")}}},
			{ID: "theirs", Project: "rival", Server: "victim", DeviceOwner: "compute:nova", Network: "pub", AdminUp: true, FixedIPs: []asset.FixedIP{{Addr: netip.MustParseAddr("203.0.113.10")}}},
		},
	}
	x := asset.NewIndex(s)
	for _, h := range x.Holders() {
		if h.Port == "mine" && h.Server != "" {
			t.Errorf("the attacker's port is held by %s", h.Server)
		}
	}
	if len(x.PortsOf["victim"]) != 1 || x.PortsOf["victim"][0].ID != "theirs" {
		t.Errorf("ports of the victim: %v", x.PortsOf["victim"])
	}
	set := reach.Compute(x, reach.View{Prefixes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}})
	for o := range set.All() {
		if o.Port == "mine" {
			t.Errorf("the attacker's port counts as the victim's opening")
		}
	}
}
