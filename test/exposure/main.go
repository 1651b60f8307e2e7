// Command exposure holds what Demarc says of a cloud's filters against real packets.
//
// On the test cloud of the scenario campus, a seeded generator redraws security groups, address pairs, port security, floating IPs
// and forwardings over the standing servers. After each drawing the real driver reads the cloud, reach predicts, and packets from
// several sources of two vantage points decide. One disagreement is a failure, and is told with the least that shows it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"demarc/internal/asset"
	"demarc/internal/cloud/openstack"
	"demarc/internal/probe"
	"demarc/internal/reach"
	"demarc/test/account"
)

func main() {
	clouds := flag.String("clouds", "", "the testbed's clouds.yaml")
	testbed := flag.String("testbed", "test/cloudlab/testbed", "the testbed's script")
	seed := flag.Uint64("seed", 1, "where the drawing begins")
	redraws := flag.Int("redraws", 32, "how often the cloud is redrawn")
	asAsker := flag.Bool("asker", false, "answer questions on standard input: for our own use, in a vantage point's namespace")
	asGuest := flag.Bool("guest", false, "echo datagrams: for our own use, in a server's namespace")
	asSubport := flag.String("subport", "", "answer at a subport of a NIC: for our own use, in a server's namespace")
	flag.Parse()
	if *asAsker || *asGuest || *asSubport != "" {
		do := asker
		switch {
		case *asGuest:
			do = guest
		case *asSubport != "":
			do = func() error { return answerTagged(*asSubport) }
		}
		if err := do(); err != nil {
			fmt.Fprintln(os.Stderr, "exposure:", err)
			os.Exit(3)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM) // the cloud is brought back to where it stood
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	t, err := run(ctx, *clouds, *testbed, *seed, *redraws)
	b, _ := json.Marshal(t)
	fmt.Println(string(b))
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "exposure:", err)
		os.Exit(3)
	case !t.Held:
		os.Exit(1)
	}
}

// tally is the last line.
type tally struct {
	Bench     string         `json:"exam"`
	Seed      uint64         `json:"seed"`
	Redraws   int            `json:"redraws"`
	Questions int            `json:"questions"`
	Open      int            `json:"open"`
	Off       int            `json:"off"`      // asked where a machine, port or router is off
	Doubtful  int            `json:"doubtful"` // asked where the model says itself that it is not proven: not counted
	By        map[string]int `json:"by"`       // family and protocol
	Sources   int            `json:"sources"`
	Wrong     int            `json:"wrong"`
	Leaks     bool           `json:"address_group_leaks"` // the cloud lets in who is no member: see docs/exposure.md
	Seconds   float64        `json:"seconds"`
	Held      bool           `json:"held"`
}

// source is one address of a vantage point, and what of the cloud is routed to it.
type source struct {
	vantage string
	addr    netip.Addr
	blocks  []netip.Prefix
}

func prefixes(ps ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range ps {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

var (
	fromInternet    = prefixes("203.0.113.0/24", "2001:db8:100::/64", "2001:db8:a1::/64")
	fromInstitution = append(prefixes("172.29.0.0/24"), fromInternet...)
	sources         = []source{
		{"internet", netip.MustParseAddr("198.51.100.10"), fromInternet},
		{"internet", netip.MustParseAddr("198.51.100.66"), fromInternet},
		{"internet", netip.MustParseAddr("2001:db8:f::10"), fromInternet},
		{"institution", netip.MustParseAddr("172.28.0.10"), fromInstitution},
		{"institution", netip.MustParseAddr("172.28.5.5"), fromInstitution},
		{"institution", netip.MustParseAddr("2001:db8:e::10"), fromInstitution},
	}
)

// view looks from one source alone: our probe gets in if that source does.
func (s source) view() reach.View {
	return reach.View{Zone: probe.Zone(s.vantage), Scanners: []netip.Addr{s.addr}, Blocks: s.blocks}
}

type exam struct {
	w      *world
	reader *openstack.Cloud
	rng    *rand.Rand
	t      tally
}

func run(ctx context.Context, clouds, testbed string, seed uint64, redraws int) (t tally, err error) {
	began := time.Now()
	conf, err := openstack.FromCloudsYAML(clouds, "admin")
	if err != nil {
		return t, err
	}
	reader, err := openstack.Connect(ctx, conf)
	if err != nil {
		return t, err
	}
	defer reader.Close()
	admin, err := account.Login(ctx, clouds, "admin")
	if err != nil {
		return t, err
	}
	w, err := newWorld(ctx, admin, testbed)
	if err != nil {
		return t, err
	}
	w.echoes = &echoes{ends: map[string]func(){}}
	defer w.echoes.stop()
	for _, server := range w.names() {
		if err := w.echoes.start(ctx, testbed, server); err != nil {
			return t, err
		}
	}
	first := slices.Clone(w.floating)
	defer func() { err = errors.Join(err, w.restore(context.WithoutCancel(ctx), first)) }()
	e := &exam{w: w, reader: reader, rng: rand.New(rand.NewPCG(seed, 0x6578616d)), t: tally{Bench: "exposure", Seed: seed, By: map[string]int{}, Sources: len(sources)}} //nolint:gosec // a drawing, not a secret
	for n := range redraws {
		if err := w.redraw(ctx, e.rng); err != nil {
			return e.t, fmt.Errorf("drawing %d: %w", n, err)
		}
		if err := e.round(ctx, n); err != nil {
			return e.t, fmt.Errorf("drawing %d: %w", n, err)
		}
		e.t.Redraws++
		fmt.Fprintf(os.Stderr, "drawing %d of %d: %d questions, %d wrong\n", n+1, redraws, e.t.Questions, e.t.Wrong)
	}
	if err := errors.Join(w.undoLoose(ctx), w.turnOn(ctx)); err != nil {
		return e.t, err
	}
	if err := e.memberGroup(ctx); err != nil {
		return e.t, fmt.Errorf("remote group: %w", err)
	}
	if err := e.sharedGroup(ctx); err != nil {
		return e.t, fmt.Errorf("shared group: %w", err)
	}
	if err := e.trunk(ctx); err != nil {
		return e.t, fmt.Errorf("trunk: %w", err)
	}
	if e.t.Leaks, err = e.addressGroup(ctx); err != nil {
		return e.t, fmt.Errorf("address group: %w", err)
	}
	e.t.Seconds = time.Since(began).Round(100 * time.Millisecond).Seconds()
	e.t.Held = e.t.Wrong == 0 && e.t.Redraws >= min(redraws, 30) && e.t.Questions >= min(300, 10*redraws) && e.t.Open*10 >= e.t.Questions && len(e.t.By) == 6 && (e.t.Off > 0 || redraws < 30)
	return e.t, nil
}

// asked is a question with what was predicted.
type asked struct {
	question
	source source
	answer reach.Answer
}

// round reads the cloud as it was drawn, predicts, and lets packets decide.
func (e *exam) round(ctx context.Context, n int) error {
	if err := settle(ctx, e.w.testbed); err != nil {
		return err
	}
	x, err := e.read(ctx)
	if err != nil {
		return err
	}
	vantages := []string{"internet", "institution"}
	qs, got, errs := make([][]asked, len(vantages)), make([][]bool, len(vantages)), make([]error, len(vantages))
	for _, s := range sources {
		i := slices.Index(vantages, s.vantage)
		qs[i] = append(qs[i], e.questions(x, s)...)
	}
	var wg sync.WaitGroup
	for i, vantage := range vantages {
		wg.Go(func() { got[i], errs[i] = answers(ctx, e.w.testbed, vantage, qs[i]) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i := range vantages {
		for k, q := range qs[i] {
			e.count(q)
			if len(q.answer.Doubts) == 0 && got[i][k] != q.answer.Scanner {
				e.t.Wrong++
				e.reproduce(ctx, n, q, got[i][k])
			}
		}
	}
	return nil
}

func (e *exam) count(q asked) {
	if len(q.answer.Doubts) > 0 {
		e.t.Doubtful++
		return
	}
	e.t.Questions++
	switch {
	case q.answer.Scanner:
		e.t.Open++
	case !q.answer.Held:
		e.t.Off++
	}
	family := "v4"
	if q.At.Addr.Is6() {
		family = "v6"
	}
	e.t.By[family+" "+string(q.At.Proto)]++
}

func (e *exam) read(ctx context.Context) (*asset.Index, error) {
	s, err := e.reader.Snapshot(ctx, func() int64 { return time.Now().UnixMicro() })
	if err != nil {
		return nil, err
	}
	if !s.Complete() {
		return nil, fmt.Errorf("the reading is partial: %v", s.Gaps)
	}
	return asset.NewIndex(s), nil
}

// questions draws what to ask from one source: at what is held, around the ends of what is open, and anywhere.
func (e *exam) questions(x *asset.Index, s source) []asked {
	set := reach.Compute(x, s.view())
	var at []netip.Addr
	for _, a := range set.Addresses() {
		if a.Is6() == s.addr.Is6() && !e.hides(x, set, a) {
			at = append(at, a)
		}
	}
	var out []asked
	take := func(q probe.Endpoint) {
		out = append(out, asked{question{s.addr, q}, s, set.Lookup(q)})
	}
	if off := offAt(set); len(off) > 0 { // nothing answers there, whatever its groups let in
		for _, i := range e.rng.Perm(len(off))[:min(len(off), 2)] {
			if a := off[i]; a.Is6() == s.addr.Is6() && !e.hides(x, set, a) {
				take(probe.Endpoint{Addr: a, Proto: probe.ICMP})
				take(probe.Endpoint{Addr: a, Proto: probe.TCP, Port: uint16(tcpPorts[e.rng.IntN(len(tcpPorts))])}) //nolint:gosec // a port
			}
		}
	}
	var open []reach.Range
	for r := range set.Ranges() {
		if slices.Contains(at, r.Addr) {
			open = append(open, r)
		}
	}
	for _, i := range e.rng.Perm(len(open))[:min(len(open), 5)] {
		r := open[i]
		port := []uint16{r.First, r.Last, r.First - 1, r.Last + 1}[e.rng.IntN(4)]
		switch {
		case r.Proto == probe.ICMP:
			port = 0
		case r.Proto == probe.UDP && r.First == forwarded && r.Last == forwarded:
			port = forwarded
		case r.Proto == probe.UDP:
			port = uint16(udpPorts[e.rng.IntN(len(udpPorts))]) //nolint:gosec // a port
		case port == 0:
			port = 1
		}
		take(probe.Endpoint{Addr: r.Addr, Proto: r.Proto, Port: port})
	}
	for range 3 {
		if len(at) == 0 {
			break
		}
		a := at[e.rng.IntN(len(at))]
		switch e.rng.IntN(3) {
		case 0:
			take(probe.Endpoint{Addr: a, Proto: probe.TCP, Port: uint16(tcpPorts[e.rng.IntN(len(tcpPorts))])}) //nolint:gosec // a port
		case 1:
			take(probe.Endpoint{Addr: a, Proto: probe.UDP, Port: uint16(udpPorts[e.rng.IntN(len(udpPorts))])}) //nolint:gosec // a port
		default:
			take(probe.Endpoint{Addr: a, Proto: probe.ICMP})
		}
	}
	return out
}

// hides tells whether a machine of those that packets say nothing about answers at an address.
func (e *exam) hides(x *asset.Index, set *reach.Set, a netip.Addr) bool {
	for r := range set.Ranges() {
		if v := x.Servers[r.Server]; r.Addr == a && v != nil && slices.Contains(excluded, v.Name.Raw()) {
			return true
		}
	}
	return slices.ContainsFunc(x.Snapshot.FloatingIPs, func(f asset.FloatingIP) bool {
		p := x.Ports[f.Port]
		return f.Addr == a && p != nil && x.Servers[p.Server] != nil && slices.Contains(excluded, x.Servers[p.Server].Name.Raw())
	})
}

func answers(ctx context.Context, testbed, vantage string, qs []asked) ([]bool, error) {
	plain := make([]question, len(qs))
	for i := range qs {
		plain[i] = qs[i].question
	}
	return ask(ctx, testbed, vantage, plain)
}
