package serve

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"demarc/internal/fault"
	"demarc/internal/flow"
	"demarc/internal/policy"
	"demarc/internal/untrusted"
)

// Health says whether something works.
type Health string

// The four.
const (
	Works   Health = "ok"
	Doubted Health = "warn" // it works, and somebody should know
	Broken  Health = "fail"
	Skipped Health = "skipped" // it could not be looked at, because of what failed before, or there is nothing to look at
)

// Diagnosis is one thing that was looked at.
type Diagnosis struct {
	Subject string `json:"subject"` // policy, cloud, enforcement, clock, mail, database, duties, inventory, audit, socket, or the name of a vantage point
	State   Health `json:"state"`
	Code    Code   `json:"code"`
	What    string `json:"what"`
	Remedy  string `json:"remedy,omitempty"`
}

// Doctor looks at everything that a configuration names, and changes nothing.
type Doctor struct {
	Config *Config
	Policy *policy.Policy
	Now    func() time.Time
	HTTP   func(http.RoundTripper) http.RoundTripper // tests stand between it and the cloud
	Tell   func(subject string)                      // told what is looked at; may be nil
	Bound  time.Duration                             // for each part; default 15 s
	Whole  time.Duration                             // for one reading of the whole cloud; default 60 s
}

// part is one subject, looked at on its own: what is wrong with another must not hide it.
type part struct {
	subject string
	most    time.Duration
	look    func(context.Context, *chart)
}

// chart collects what is found about one subject.
type chart struct {
	subject string
	mu      sync.Mutex
	rows    []Diagnosis
	closed  bool
}

func (k *chart) add(s Health, code Code, remedy, what string, args ...any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.closed { // its time is over, and what it still says is nobody's any more
		k.rows = append(k.rows, Diagnosis{k.subject, s, code, fmt.Sprintf(what, args...), remedy})
	}
}

func (k *chart) fine(code Code, what string, args ...any) { k.add(Works, code, "", what, args...) }
func (k *chart) fail(code Code, remedy, what string, args ...any) {
	k.add(Broken, code, remedy, what, args...)
}
func (k *chart) warn(code Code, remedy, what string, args ...any) {
	k.add(Doubted, code, remedy, what, args...)
}

func (k *chart) skip(code Code, what string, args ...any) { k.add(Skipped, code, "", what, args...) }

// fault adds an error with its own remedy, or with the given one.
func (k *chart) fault(code Code, remedy string, err error) {
	what := err.Error()
	if f, ok := fault.Of(err); ok {
		what = strings.Replace(what, f.Error(), f.Message, 1)
		if f.Hint != "" {
			remedy = f.Hint
		}
	}
	k.fail(code, remedy, "%s", untrusted.From(what).Cap(600).Terminal())
}

// Examine looks at everything, each part within its time, and lists what was found in a fixed order.
func (d Doctor) Examine(ctx context.Context) []Diagnosis {
	if d.Bound == 0 {
		d.Bound = 15 * time.Second
	}
	if d.Whole == 0 {
		d.Whole = time.Minute
	}
	clouds := newClouds(d)
	parts := []part{{"policy", d.Bound, d.policy}, {"cloud", 2*d.Bound + d.Whole, clouds.reader}, {"enforcement", 3*d.Bound + d.Whole, clouds.actor}, {"clock", 4*d.Bound + d.Whole, clouds.clock}}
	for _, v := range d.Config.Vantages {
		parts = append(parts, part{"vantage " + v.Name, d.Bound, func(_ context.Context, k *chart) { d.vantage(k, v) }})
	}
	parts = append(parts,
		part{"mail", d.Bound, d.mail},
		part{"database", d.Bound, d.database},
		part{"duties", d.Bound, d.duties},
		part{"inventory", d.Bound, d.inventory},
		part{"sweeps", d.Bound, d.sweeps},
		part{"machines", d.Bound, d.machines},
		part{"audit", d.Bound, d.audit},
		part{"kill switch", d.Bound, d.killSwitch},
		part{"socket", d.Bound, d.socket},
		part{"secrets", d.Bound, d.files})
	charts := make([]*chart, len(parts))
	var all sync.WaitGroup
	for i, p := range parts {
		charts[i] = &chart{subject: p.subject}
		all.Go(func() { d.within(ctx, p, charts[i]) })
	}
	all.Wait()
	var out []Diagnosis
	for _, k := range charts {
		out = append(out, k.rows...)
	}
	return out
}

// within gives a part its time; one that does not come back is not waited for.
func (d Doctor) within(ctx context.Context, p part, k *chart) {
	ctx, cancel := context.WithTimeout(ctx, p.most)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.look(ctx, k)
	}()
	grace := time.NewTimer(p.most + time.Second)
	defer grace.Stop()
	select {
	case <-done:
	case <-grace.C:
		k.fail(TookTooLong, "look at what it waits for, then ask again", "nothing could be told within %s", p.most)
	}
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	if d.Tell != nil {
		d.Tell(p.subject)
	}
}

func (d Doctor) policy(ctx context.Context, k *chart) {
	p, where := d.Policy, d.Config.Policy
	if where == "" {
		where = "the default policy"
	}
	d.mode(ctx, k, where)
	if flow.NoticeOnly(p) == "" {
		k.warn(PolicyNoNotice, "let class M or class L of the policy end in report",
			"neither class M nor class L ends in a report: what answers at addresses that tenants joined to the cloud by a VPN, an extra route or BGP is told to nobody")
	}
}

// Well tells whether nothing failed.
func Well(rows []Diagnosis) bool {
	for _, r := range rows {
		if r.State == Broken {
			return false
		}
	}
	return true
}

func list(words []string) string { return strings.Join(words, ", ") }
