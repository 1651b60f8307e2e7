package serve_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/cloud/openstack"
	"demarc/internal/lab"
)

// wrongs are what can go wrong between Demarc and the cloud while it acts, by the requests that act.
var wrongs = []struct {
	name string
	does func(method, path, body string) []lab.Mishap
}{
	{"500 before", one(lab.Mishap{Kind: lab.Answer})},
	{"504 after", one(lab.Mishap{Kind: lab.AnswerAfter})},
	{"cut before", one(lab.Mishap{Kind: lab.CutBefore})},
	{"cut after", one(lab.Mishap{Kind: lab.CutAfter})},
	{"429", one(lab.Mishap{Kind: lab.Answer, Status: 429, RetryAfter: "1"})},
	{"expired", one(lab.Mishap{Kind: lab.Expired})},
	{"expired, cut after", one(lab.Mishap{Kind: lab.Expired}, lab.Mishap{Kind: lab.CutAfter})},
	{"expired often", one(lab.Mishap{Kind: lab.Expired, Times: 4})},
	{"late", one(lab.Mishap{Kind: lab.Late, Delay: 300 * time.Millisecond})},
	{"slow", one(lab.Mishap{Kind: lab.Slow, Delay: 300 * time.Millisecond})},
	{"stale lists", readings(lab.Stale)},
	{"empty lists", readings(lab.Empty)},
	{"cut after, stale readings", func(method, path, body string) []lab.Mishap {
		return append(one(lab.Mishap{Kind: lab.CutAfter})(method, path, body),
			lab.Mishap{Kind: lab.Stale, Method: http.MethodGet, Path: `/ports/[^/]+$`, Times: 2},
			lab.Mishap{Kind: lab.Stale, Method: http.MethodGet, Path: `/servers/[^/]{36}(/os-instance-actions)?$`, Times: 4})
	}},
}

func one(ms ...lab.Mishap) func(method, path, body string) []lab.Mishap {
	return func(method, path, body string) []lab.Mishap {
		out := slices.Clone(ms)
		for i := range out {
			out[i].Method, out[i].Path, out[i].Body = method, path, body
		}
		return out
	}
}

func readings(kind lab.FaultKind) func(string, string, string) []lab.Mishap {
	return func(string, string, string) []lab.Mishap {
		return []lab.Mishap{{Kind: kind, Method: http.MethodGet, Path: `/(ports|servers/detail|floatingips)$`, Times: 7}}
	}
}

// The table of acts and of what goes wrong. In every cell the cloud, the ledger and the audit log agree in the end, and each act
// has taken effect once.
func TestEveryActHoldsWhateverGoesWrong(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	table := map[string]map[string]string{}
	t.Cleanup(func() { t.Log("\n" + tableText(table)) })
	for _, wrong := range wrongs {
		for life, tell := range map[string]func(*ordeal){"quarantine": (*ordeal).quarantined, "stop": (*ordeal).stopped} {
			t.Run(wrong.name+", "+life, func(t *testing.T) {
				t.Parallel()
				p := plot{proxied: true}
				if life == "stop" {
					p.policy = stopping
				}
				o := &ordeal{exam: open(t, p), wrong: wrong.does, ends: map[string]string{}, did: map[string]int{}, late: wrong.name == "late"}
				o.before = o.groups("cache-1")
				o.until("queued", 10, o.inState("cache-1", casework.Queued))
				o.read()
				tell(o)
				mu.Lock()
				defer mu.Unlock()
				for act, end := range o.ends {
					if table[act] == nil {
						table[act] = map[string]string{}
					}
					table[act][wrong.name] = end
				}
			})
		}
	}
}

// ordeal is an exam in which each act meets the same fault.
type ordeal struct {
	*exam
	wrong  func(method, path, body string) []lab.Mishap
	before [][]string
	ends   map[string]string // of each act
	did    map[string]int    // how often each request is to have taken effect so far
	seen   int               // acts before this one
	late   bool
}

// read has the proxy read what may be given once more later.
func (o *ordeal) read() {
	o.t.Helper()
	c, err := openstack.Connect(o.t.Context(), openstack.Config{AuthURL: o.proxy.AuthURL(), Username: lab.DemoUser, Password: lab.DemoPassword, Project: lab.DemoProject})
	o.must(err)
	defer c.Close()
	server := asset.ServerID(o.w.ServerID("cache-1"))
	ports, err := c.ServerPorts(o.t.Context(), server)
	o.must(err)
	for _, p := range ports {
		_, err = c.Port(o.t.Context(), p.ID)
		o.must(err)
	}
	_, _, err = c.Machine(o.t.Context(), server)
	o.must(err)
}

// meet plans the fault for the requests of the next act.
func (o *ordeal) meet(method, path string, bodies ...string) {
	o.proxy.Clear()
	for _, b := range bodies {
		o.proxy.Plan(o.wrong(method, path, b)...)
	}
	o.seen = len(o.acts("cache-1"))
}

const (
	putPort   = `/networking/v2\.0/ports/[^/]+$`
	actOnHost = `/servers/[^/]+/action$`
)

func (o *ordeal) quarantined() {
	o.meet(http.MethodPut, putPort, "")
	o.approve("cache-1")
	o.restricted()
	o.did["PUT"]++
	o.atRest("quarantine", true)

	o.must(o.w.TenantSetGroups("cache-1", "cache", "default"))
	o.meet(http.MethodPut, putPort, "")
	o.until("put back", 4, func() bool { return slices.Contains(o.acts("cache-1")[o.seen:], "hold done") })
	o.did["PUT"]++
	o.atRest("hold", true)
	if n := o.theCase("cache-1").Tampers; n != 1 {
		o.t.Errorf("undone %d times", n)
	}

	o.setPassword("cache-1")
	o.claim("cache-1")
	o.meet(http.MethodPut, putPort, "")
	o.until("released", 4, o.inState("cache-1", casework.Released))
	o.did["PUT"]++
	o.before = [][]string{{o.w.GroupID("astro", "cache"), o.w.GroupID("astro", "default")}} // its owner added one
	o.atRest("restore", false)
}

// restricted waits for the act. Where the gate refuses it, as while the inventory is not whole, a person approves it anew.
func (o *ordeal) restricted() {
	refused := 0
	o.until("restricted", 2, func() bool {
		if n := o.count("cache-1", "gate.refused"); n > refused {
			refused = n
			o.approve("cache-1")
		}
		return o.inState("cache-1", casework.Restricted)()
	})
}

func (o *ordeal) stopped() {
	o.meet(http.MethodPost, actOnHost, `"lock"`, `"os-stop"`)
	o.approve("cache-1")
	o.restricted()
	o.did["PUT"], o.did["lock"], o.did["os-stop"] = 1, 1, 1
	o.atRest("stop + lock", true)

	o.setPassword("cache-1")
	o.must(o.w.TenantRemoveRule("astro", "cache", lab.Rule{Proto: "tcp", Min: 6379, Max: 6379, Remote: everywhere})) // or it is not started
	o.claim("cache-1")
	o.meet(http.MethodPost, actOnHost, `"os-start"`, `"unlock"`)
	o.until("released", 4, o.inState("cache-1", casework.Released))
	o.did["PUT"], o.did["os-start"], o.did["unlock"] = 2, 1, 1
	o.atRest("start + unlock", false)
}

// atRest asserts that cloud, ledger and audit log agree on what is in force, and that each request took effect as often as it should.
func (o *ordeal) atRest(act string, inForce bool) {
	o.t.Helper()
	o.ends[act] = strings.Join(o.acts("cache-1")[o.seen:], ", ")
	if o.late {
		time.Sleep(400 * time.Millisecond) // what was under way has arrived, or been refused
	}
	o.proxy.Clear()
	o.untilIdle()
	o.accounted()
	c := o.theCase("cache-1")
	if (c.Act != "") != inForce {
		o.t.Errorf("%s: the case names act %q", act, c.Act)
	}
	if inForce {
		o.exam.quarantined("cache-1")
		a, err := o.d.DB.Act(o.t.Context(), c.Act)
		if err != nil || a.State != casework.ActDone || !a.KeepsOff() {
			o.t.Errorf("%s: in force is %s %s, %v", act, a.Kind, a.State, err)
		}
	} else if now := o.groups("cache-1"); !slices.EqualFunc(now, o.before, sameSet) {
		o.t.Errorf("%s: groups %v, want %v", act, now, o.before)
	}
	m := o.w.Machine("cache-1")
	if off := inForce && c.Stopped; (m.Status != "ACTIVE") != off || m.Locked != off || off && !strings.Contains(m.LockedReason, c.Ref()) {
		o.t.Errorf("%s: the machine is %+v, stopped by us: %t", act, m, off)
	}
	if got := o.effects(); !maps.Equal(got, o.did) {
		o.t.Errorf("%s: took effect %v, want %v", act, got, o.did)
	}
	if n := o.count("cache-1", "case.moot"); n != 0 || c.State == casework.Closed && act != "restore" && act != "start + unlock" {
		o.t.Errorf("%s: the machine was taken for gone", act)
	}
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// effects counts what Demarc changed on cache-1, by the world's own log. What arrives late and locks the same once more counts once.
func (o *ordeal) effects() map[string]int {
	out := map[string]int{}
	if n := len(o.changes("cache-1")); n > 0 {
		out["PUT"] = n
	}
	for _, a := range o.w.Actions() {
		if !a.Done || !strings.HasSuffix(a.Path, "/"+o.w.ServerID("cache-1")+"/action") {
			continue
		}
		what := strings.Split(a.Body, `"`)[1]
		if out[what]++; o.late {
			out[what] = 1
		}
	}
	return out
}

func tableText(table map[string]map[string]string) string {
	var b strings.Builder
	acts := slices.Sorted(maps.Keys(table))
	for _, w := range wrongs {
		for _, a := range acts {
			fmt.Fprintf(&b, "%-26s %-15s %s\n", w.name, a, table[a][w.name])
		}
	}
	return b.String()
}
