package openstack

import (
	"encoding/json"
	"testing"

	"demarc/internal/asset"
)

// The driver of a port is read from its binding; what is of another shape than is known, or of several drivers, names none.
func TestTheDriverOfAPort(t *testing.T) {
	for details, want := range map[string]string{
		`{"port_filter": true, "bound_drivers": {"0": "ovn"}}`:                                   asset.DriverOVN,
		`{"bound_drivers": {"0": "openvswitch"}, "ovs_hybrid_plug": false, "port_filter": true}`: asset.DriverOVS,
		`{"bound_drivers": {"0": "openvswitch"}, "ovs_hybrid_plug": true}`:                       asset.DriverHybrid,
		`{"bound_drivers": {"0": "openvswitch"}}`:                                                "",
		`{"bound_drivers": {"0": "linuxbridge"}}`:                                                "linuxbridge",
		`{"bound_drivers": {"0": "vlan", "1": "openvswitch"}}`:                                   "",
		`{"bound_drivers": {"0": "ovn\u202e"}}`:                                                  "",
		`{"bound_drivers": ["ovn"]}`:                                                             "",
		`{"bound_drivers": {"0": 7}}`:                                                            "",
		`{}`:                                                                                     "",
		`null`:                                                                                   "",
		`"ovn"`:                                                                                  "",
		``:                                                                                       "",
	} {
		if got := driver(json.RawMessage(details)); got != want {
			t.Errorf("%s: %q, want %q", details, got, want)
		}
	}
}
