package flow

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"weak"

	"demarc/internal/asset"
	"demarc/internal/finding"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/reach"
)

// crowd is a cloud of so many machines that run, each with a floating IP.
func crowd(n int) *asset.Snapshot {
	s := &asset.Snapshot{Cloud: "c", Networks: []asset.Network{{ID: "out", External: true}, {ID: "in"}}}
	for i := range n {
		id, inside := fmt.Sprint(i), netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		s.Servers = append(s.Servers, asset.Server{ID: asset.ServerID(id), Project: "p", Status: "ACTIVE"})
		s.Ports = append(s.Ports, asset.Port{ID: asset.PortID(id), Network: "in", Project: "p", Server: asset.ServerID(id), AdminUp: true, FixedIPs: []asset.FixedIP{{Addr: inside}}})
		s.FloatingIPs = append(s.FloatingIPs, asset.FloatingIP{ID: asset.FloatingIPID(id), Addr: outsideOf(i), Network: "out", Port: asset.PortID(id), Fixed: inside, Project: "p", Revision: i})
	}
	return s
}

func outsideOf(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{100, byte(i >> 16), byte(i >> 8), byte(i)})
}

// What is asked for each finding and each answer is looked up by its key. Here the lists of the cloud are gone and every other address says
// that it is this machine's, so that who goes through the one finds nothing, and who goes through the other finds the wrong address.
func TestLookingUpDoesNotGrowWithTheCloud(t *testing.T) {
	t.Parallel()
	const n = 300
	l := New(Config{Cloud: "c", Policy: &policy.Policy{}, Vantages: []Vantage{{Vantage: probe.Vantage{Name: "v", Zone: probe.Internet}, View: reach.View{Zone: probe.Internet}}}})
	l.know(asset.NewIndex(crowd(n)))
	l.reach(&l.Vantages[0])
	l.x.Snapshot = &asset.Snapshot{Cloud: "c"}
	held := l.holds
	for i := range n {
		id := fmt.Sprint(i)
		own := held[outsideOf(i)]
		l.holds = map[netip.Addr]asset.Holder{}
		for addr := range held {
			l.holds[addr] = own
		}
		f := finding.Finding{Key: finding.Key{Server: asset.ServerID(id), Port: asset.PortID(id), Zone: probe.Internet}, Vantage: "v", Endpoint: probe.Endpoint{Addr: netip.MustParseAddr("192.0.2.1"), Proto: probe.TCP, Port: 22}}
		at, ok, shared := l.whereNow(f)
		if !l.tells(f) || !ok || shared || at.Addr != outsideOf(i) || at.Port != 22 || l.fipRevision(asset.FloatingIPID(id)) != i {
			t.Fatalf("machine %d: %s %t %t, revision %d", i, at, ok, shared, l.fipRevision(asset.FloatingIPID(id)))
		}
	}
}

// unknowing is a ledger that does not know what could be reached before.
type unknowing struct{ Ledger }

func (unknowing) Reached(context.Context, string) (string, error) { return "something else", nil }

// When an inventory is taken in and what is newly open is worked out, nothing holds the one before: a large cloud is much memory.
func TestTheOldInventoryGoes(t *testing.T) {
	l := New(Config{Cloud: "c", Policy: &policy.Policy{}, Ledger: unknowing{}, Clock: NewLeaping(1), Vantages: []Vantage{{Vantage: probe.Vantage{Name: "v", Zone: probe.Internet}, View: reach.View{Zone: probe.Internet}}}})
	old := func() weak.Pointer[asset.Snapshot] {
		s := crowd(10)
		l.know(asset.NewIndex(s))
		l.last["v"], l.queued = l.reach(&l.Vantages[0]), true
		if _, err := l.shortfalls(t.Context()); err != nil || !l.shown {
			t.Fatal(err, l.shown)
		}
		return weak.Make(s)
	}()
	l.know(asset.NewIndex(crowd(11)))
	if l.queued || l.shown {
		t.Error("what follows from the old one still counts")
	}
	if err := l.queueOpened(t.Context()); err != nil || !l.unswept["v"] {
		t.Fatal(err, l.unswept)
	}
	runtime.GC()
	runtime.GC()
	if old.Value() != nil {
		t.Error("the old inventory is still held")
	}
	runtime.KeepAlive(l)
}
