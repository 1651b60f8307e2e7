package main

import (
	"net/netip"
	"testing"
)

func TestOpenOfReadsGreppableOutput(t *testing.T) {
	got := openOf("# Nmap 7.93\nHost: 203.0.113.1 ()\tStatus: Up\nHost: 203.0.113.1 ()\tPorts: 22/open/tcp//ssh///, 23/filtered/tcp//telnet///, 6379/open/tcp//redis///\n")
	want := []netip.AddrPort{netip.MustParseAddrPort("203.0.113.1:22"), netip.MustParseAddrPort("203.0.113.1:6379")}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("openOf read %v, want %v", got, want)
	}
}

func TestListedPrefersWhatAnswers(t *testing.T) {
	addr := netip.MustParseAddr("203.0.113.1")
	rows := []row{
		{Vantage: "internet", Addr: addr, Proto: "tcp", First: 1, Last: 9000, Observed: "nothing listens", Ports: 9000, Probed: 100},
		{Vantage: "internet", Addr: addr, Proto: "tcp", First: 22, Last: 22, Observed: "answers", Ports: 1, Probed: 1},
	}
	for at, want := range map[string]string{"203.0.113.1:22": "answers", "203.0.113.1:23": "nothing listens", "203.0.113.1:9001": "", "203.0.113.2:22": ""} {
		if r, ok := listed(rows, "internet", netip.MustParseAddrPort(at)); r.Observed != want || ok != (want != "") {
			t.Errorf("%s is listed as %q, want %q", at, r.Observed, want)
		}
	}
	if _, ok := listed(rows, "institution", netip.MustParseAddrPort("203.0.113.1:22")); ok {
		t.Error("a row of another vantage point counts")
	}
}
