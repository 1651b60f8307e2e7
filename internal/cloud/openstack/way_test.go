package openstack_test

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/cloud"
	"demarc/internal/cloud/cloudtest"
	"demarc/internal/cloud/openstack"
	"demarc/internal/fault"
	"demarc/internal/lab"
)

// way is a cloud that is reached past a proxy that misbehaves, and directly.
type way struct {
	t               *testing.T
	through, direct *openstack.Cloud
	proxy           *lab.Proxy
	server          asset.ServerID
	delay           time.Duration // of what comes late: longer than two requests take
	power           []string      // the mishaps that stop and start meet; nil is all
	table           []string
}

// mishaps are what goes wrong on the way of one request, what the driver must say, and whether it was done.
var mishaps = []struct {
	name string
	plan []lab.Mishap
	says func(error) bool
	done bool
}{
	{"nothing", nil, well, true},
	{"502 before", []lab.Mishap{{Kind: lab.Answer, Status: 502}}, unsure, false},
	{"504 after", []lab.Mishap{{Kind: lab.AnswerAfter}}, unsure, true},
	{"cut before", []lab.Mishap{{Kind: lab.CutBefore}}, unsure, false},
	{"cut after", []lab.Mishap{{Kind: lab.CutAfter}}, unsure, true},
	{"429", []lab.Mishap{{Kind: lab.Answer, Status: 429, RetryAfter: "1"}}, refused, false},
	{"expired", []lab.Mishap{{Kind: lab.Expired}}, well, true},
	{"expired for ever", []lab.Mishap{{Kind: lab.Expired, Times: -1}}, refused, false},
	{"expired, cut after", []lab.Mishap{{Kind: lab.Expired}, {Kind: lab.CutAfter}}, unsure, true},
	{"slow", []lab.Mishap{{Kind: lab.Slow, Delay: 100 * time.Millisecond}}, well, true},
}

func well(err error) bool    { return err == nil }
func unsure(err error) bool  { return errors.Is(err, cloud.ErrUnknownOutcome) }
func refused(err error) bool { return fault.Is(err, fault.Unavailable) }

// TestActsPastAProxy holds on the pretend cloud, and TestRealActsPastAProxy on a real one: whatever goes wrong on the way of an act, the
// driver says no more than it knows, and the cloud shows what it says.
func TestActsPastAProxy(t *testing.T) {
	b := setup(t)
	proxy, err := lab.NewProxy(b.AuthURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	through, err := openstack.Connect(t.Context(), openstack.Config{AuthURL: proxy.AuthURL(), Username: lab.DemoUser, Password: lab.DemoPassword, Project: lab.DemoProject, Region: b.Region()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(through.Close)
	w := &way{t: t, through: through, direct: b.Cloud, proxy: proxy, server: asset.ServerID(b.ServerID("cache-1")), delay: 300 * time.Millisecond}
	w.run()
}

func TestRealActsPastAProxy(t *testing.T) {
	r := real(t)
	proxy, err := lab.NewProxy(r.auth.AuthURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	conf := r.auth
	conf.AuthURL = proxy.AuthURL()
	through, err := openstack.Connect(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(through.Close)
	w := &way{t: t, through: through, direct: r.acts, proxy: proxy, server: r.server, delay: 2 * time.Second, power: []string{"502 before", "cut after", "expired, cut after"}}
	group := w.run()
	r.admin.do(t.Context(), "DELETE", r.admin.network+"/security-groups/"+string(group), "", nil)
}

// run goes through the table. The machine is in the end as it was.
func (w *way) run() asset.GroupID {
	ctx := w.t.Context()
	front, err := url.Parse(w.proxy.AuthURL())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range w.through.Endpoints() {
		if !strings.HasPrefix(e, "http://"+front.Host+"/") {
			w.t.Fatalf("the way to %s is not past the proxy", e)
		}
	}
	group, err := w.direct.EnsureQuarantine(ctx, cloudtest.Spec())
	if err != nil {
		w.t.Fatal(err)
	}
	ports, err := w.direct.ServerPorts(ctx, w.server)
	if err != nil || len(ports) != 1 {
		w.t.Fatal(ports, err)
	}
	was, began := ports[0], w.machine()
	for i, m := range mishaps {
		w.swap("quarantine", i, was.ID, []asset.GroupID{group})
		w.do(casework.DoLock, i, func(s asset.Server) bool { return s.Locked })
		if w.power == nil || slices.Contains(w.power, m.name) {
			w.do(casework.DoStop, i, func(s asset.Server) bool { return !s.Active() })
			w.do(casework.DoStart, i, func(s asset.Server) bool { return s.Active() })
		}
		w.do(casework.DoUnlock, i, func(s asset.Server) bool { return !s.Locked })
		w.swap("restore", i, was.ID, was.Groups)
		if w.t.Failed() {
			w.t.Errorf("since %s", m.name)
			break
		}
	}
	w.late(was, group)
	w.stale(was)
	if now, end := w.port(was.ID), w.machine(); !casework.SameGroups(now.Groups, was.Groups) || end.Status != began.Status || end.Locked != began.Locked {
		w.t.Errorf("the machine was %+v with %v, and is %+v with %v", began, was.Groups, end, now.Groups)
	}
	w.t.Log("\n" + strings.Join(w.table, "\n"))
	return group
}

func (w *way) port(id asset.PortID) asset.Port {
	w.t.Helper()
	p, err := w.direct.Port(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *way) machine() asset.Server {
	w.t.Helper()
	s, _, err := w.direct.Machine(w.t.Context(), w.server)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// meet plans a mishap for the next request of an act, and gives how many requests of its kind have taken effect since.
func (w *way) meet(i int, method, path, body string) func() int {
	w.proxy.Clear()
	for _, m := range mishaps[i].plan {
		m.Method, m.Path, m.Body = method, path, body
		w.proxy.Plan(m)
	}
	before := len(w.proxy.Log())
	return func() int {
		n := 0
		for _, p := range w.proxy.Log()[before:] {
			if p.Method == method && p.Status/100 == 2 && !strings.HasSuffix(p.Path, "/auth/tokens") {
				n++
			}
		}
		return n
	}
}

// cell asserts one cell of the table.
func (w *way) cell(act string, i int, err error, did bool, effects int) {
	w.t.Helper()
	m := mishaps[i]
	if !m.says(err) || did != m.done || (effects == 1) != m.done || effects > 1 {
		w.t.Errorf("%s, %s: done %t, %d times; the driver says %v", act, m.name, did, effects, err)
	}
	says := "done"
	if err != nil {
		says = map[bool]string{true: "unknown", false: "not done"}[unsure(err)]
	}
	w.table = append(w.table, fmt.Sprintf("%-12s %-20s driver: %-9s cloud: %s", act, m.name, says, map[bool]string{true: "done", false: "as before"}[did]))
}

func (w *way) swap(act string, i int, id asset.PortID, to []asset.GroupID) {
	w.t.Helper()
	before := w.port(id)
	effects := w.meet(i, "PUT", `/ports/[^/]+$`, "")
	_, err := w.through.SetGroups(w.t.Context(), id, to, before.Revision)
	now := w.port(id)
	did := casework.SameGroups(now.Groups, to)
	if !did && now.Revision != before.Revision {
		w.t.Errorf("%s: not done, and the revision moved on", act)
	}
	w.cell(act, i, err, did, effects())
	if !did {
		if _, err := w.direct.SetGroups(w.t.Context(), id, to, now.Revision); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *way) do(what casework.MachineDo, i int, shows func(asset.Server) bool) {
	w.t.Helper()
	ctx := w.t.Context()
	_, before, err := w.direct.Machine(ctx, w.server)
	if err != nil {
		w.t.Fatal(err)
	}
	effects := w.meet(i, "POST", `/action$`, "")
	err = w.through.Do(ctx, w.server, what, "exam")
	_, after, e := w.direct.Machine(ctx, w.server)
	if e != nil {
		w.t.Fatal(e)
	}
	fresh := slices.DeleteFunc(slices.Clone(after), func(a asset.ServerAction) bool {
		return slices.ContainsFunc(before, func(b asset.ServerAction) bool { return a.Request == b.Request })
	})
	did := len(fresh) == 1 && fresh[0].Action == string(what)
	w.cell(string(what), i, err, did, effects())
	if !did {
		if err := w.direct.Do(ctx, w.server, what, "exam"); err != nil {
			w.t.Fatal(err)
		}
	}
	for range 200 {
		if shows(w.machine()) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	w.t.Fatalf("%s: it never showed", what)
}

// late: a request whose answer was lost arrives after its port was read as untouched. What was made certain meanwhile holds.
func (w *way) late(was asset.Port, group asset.GroupID) {
	before := w.port(was.ID)
	w.proxy.Clear()
	w.proxy.Plan(lab.Mishap{Kind: lab.Late, Delay: w.delay, Method: "PUT", Path: `/ports/[^/]+$`})
	if _, err := w.through.SetGroups(w.t.Context(), was.ID, []asset.GroupID{group}, before.Revision); !unsure(err) {
		w.t.Errorf("late: %v", err)
	}
	if _, err := w.direct.SetGroups(w.t.Context(), was.ID, before.Groups, before.Revision); err != nil {
		w.t.Errorf("the groups it has, at the revision it has: %v", err)
	}
	time.Sleep(2 * w.delay)
	if now := w.port(was.ID); !casework.SameGroups(now.Groups, before.Groups) {
		w.t.Errorf("what came late was done: %+v", now)
		_, _ = w.direct.SetGroups(w.t.Context(), was.ID, before.Groups, now.Revision)
	}
	w.table = append(w.table, fmt.Sprintf("%-12s %-20s driver: %-9s cloud: %s", "quarantine", "late, made certain", "unknown", "as before"))
}

// stale: a change that is based on an old reading is refused.
func (w *way) stale(was asset.Port) {
	ctx := w.t.Context()
	w.proxy.Clear()
	if _, err := w.through.Port(ctx, was.ID); err != nil {
		w.t.Fatal(err)
	}
	now := w.port(was.ID)
	moved, err := w.direct.SetGroups(ctx, was.ID, nil, now.Revision)
	if err != nil {
		w.t.Fatal(err)
	}
	w.proxy.Plan(lab.Mishap{Kind: lab.Stale, Path: `/ports/[^/]+$`})
	old, err := w.through.Port(ctx, was.ID)
	if err != nil || old.Revision >= moved.Revision {
		w.t.Errorf("the reading is not old: %+v, %v", old, err)
	}
	// Its own groups at its own revision: harmless where the reading is true, refused where it is old.
	if _, err := w.through.SetGroups(ctx, was.ID, old.Groups, old.Revision); !errors.Is(err, cloud.ErrStale) {
		w.t.Errorf("a change by an old reading: %v", err)
	}
	if _, err := w.direct.SetGroups(ctx, was.ID, was.Groups, w.port(was.ID).Revision); err != nil {
		w.t.Fatal(err)
	}
	w.table = append(w.table, fmt.Sprintf("%-12s %-20s driver: %-9s cloud: %s", "quarantine", "stale port", "stale", "as before"))
}
