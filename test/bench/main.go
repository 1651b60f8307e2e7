// Command bench measures what Demarc computes of large clouds: what is open to whom, and who holds what of a million machines.
//
// It answers every question of the default model, with some hundred contracts and offerings beside it, for each machine, and says
// what that took of the processor, not of the clock on the wall, which other work on the machine moves. A peer answers some of the
// same questions in the same run by the rule as it is written: all assignments, one by one. Both must say the same.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"
	"time"

	"demarc/internal/asset"
	"demarc/internal/duty"
	"demarc/internal/fault"
)

const (
	machines = 1_000_000
	sample   = 5_000 // of them, for the peer
	most     = 10.0  // seconds of the processor
	instant  = 15
)

// result is the line that the program ends with.
type result struct {
	Bench            string  `json:"bench"`
	Resources        int     `json:"resources"`
	Questions        int     `json:"questions"`
	CPU              float64 `json:"cpu_seconds"`
	Wall             float64 `json:"wall_seconds"`
	BytesPerResource float64 `json:"bytes_per_resource"`
	NsPerQuestion    float64 `json:"ns_per_question"`
	PeerNs           float64 `json:"peer_ns_per_question"` // all assignments, one by one
	Ratio            float64 `json:"times_faster_than_peer"`
	Most             float64 `json:"most_cpu_seconds"`
	Held             bool    `json:"held"`
}

func main() {
	held := true
	for _, n := range []int{1_000, 10_000, 100_000} { // first: its memory is counted
		r, err := benchReach(n)
		held = tell(r, err) && r.Held && held
	}
	r, err := run()
	if !tell(r, err) || !r.Held || !held {
		os.Exit(1)
	}
}

// tell prints one line; what could not be measured ends the program.
func tell(r any, err error) bool {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(3)
	}
	b, err := json.Marshal(r)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(3)
	}
	fmt.Println(string(b))
	return true
}

func run() (result, error) {
	m, err := model()
	if err != nil {
		return result{}, err
	}
	rs := inventory()
	r := result{Bench: "duty", Resources: len(rs), Most: most}
	provider, customer, both := 0, 0, 0
	count := func(h duty.Holding) {
		r.Questions++
		switch h.Ownership {
		case duty.CSPOwned:
			provider++
		case duty.CSCOwned:
			customer++
		case duty.SharedCSPCSC:
			both++
		default:
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	cpu, wall := used(), time.Now()
	for i := range rs {
		v := m.Describe(rs[i], instant)
		m.Holdings(&v, count)
	}
	r.CPU, r.Wall = used()-cpu, time.Since(wall).Seconds()
	runtime.ReadMemStats(&after)
	r.BytesPerResource = float64(after.TotalAlloc-before.TotalAlloc) / float64(len(rs))
	r.NsPerQuestion = r.CPU / float64(r.Questions) * 1e9
	if want := m.Questions() * len(rs); r.Questions != want || provider == 0 || customer == 0 || both == 0 {
		return r, fmt.Errorf("%d of %d questions were answered, %d provider, %d customer, %d both", r.Questions, want, provider, customer, both)
	}
	if r.PeerNs, err = peer(m, rs[:sample]); err != nil {
		return r, err
	}
	r.Ratio = r.PeerNs / r.NsPerQuestion
	r.Held = r.CPU <= most && r.BytesPerResource < 1
	return r, nil
}

// used is what the process took of the processor so far, in seconds.
func used() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// model is the default one, with contracts and offerings for some of the projects.
func model() (*duty.Model, error) {
	m, err := duty.Default()
	if err != nil {
		return nil, err
	}
	var cs []duty.Contract
	var os []duty.Offering
	for i := range 300 {
		scope := duty.Scope{Projects: []asset.ProjectID{project(i)}}
		cs = append(cs, duty.Contract{ID: fmt.Sprintf("c-%d", i), Type: "extended", From: 10, To: 20, Scope: scope}, duty.Contract{ID: fmt.Sprintf("d-%d", i), Type: "extended", From: 20, Renews: fmt.Sprintf("c-%d", i)})
		if i%3 == 0 {
			os = append(os, duty.Offering{ID: fmt.Sprintf("o-%d", i), Service: "paas", Architecture: m.Architectures[i%2], Scope: scope})
		}
	}
	return m.With(cs, os, func(string) fault.Position { return fault.Position{} })
}

func project(i int) asset.ProjectID {
	return asset.ProjectID(fmt.Sprintf("5f0c9d2e4b7a4e7c8d1f%012d", i))
}

func inventory() []duty.Resource {
	var projects []asset.ProjectID
	for i := range 1000 {
		projects = append(projects, project(i))
	}
	tags := []string{"teaching"}
	out := make([]duty.Resource, machines)
	for i := range out {
		out[i] = duty.Resource{Cloud: "lab", Region: "RegionOne", Domain: "default", Project: projects[i%len(projects)], Server: asset.ServerID(fmt.Sprintf("8a6e1c34-90b2-4d5f-a7c3-%012d", i)), Tags: tags}
	}
	return out
}

// peer answers the same questions by going through all assignments for each, and gives the time of one.
func peer(m *duty.Model, rs []duty.Resource) (float64, error) {
	type answer struct {
		h duty.Holding
		r *duty.Resource
	}
	var asked []answer
	for i := range rs {
		rs[i] = m.Describe(rs[i], instant)
		m.Holdings(&rs[i], func(h duty.Holding) { asked = append(asked, answer{h, &rs[i]}) })
	}
	began := used()
	for _, a := range asked {
		want := duty.NotApplicable
		if means(&a.h.Duty.When, a.r) {
			want = simply(m, a.h.Layer, a.h.Aspect, a.r).Ownership
		}
		if want != a.h.Ownership {
			return 0, fmt.Errorf("%s %s/%s of %+v is %s, and %s one by one", a.h.Duty.ID, a.h.Layer, a.h.Aspect, *a.r, a.h.Ownership, want)
		}
	}
	return (used() - began) / float64(len(asked)) * 1e9, nil
}

func means(s *duty.Selector, r *duty.Resource) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	return is(s.Service, r.Service) && is(s.Architecture, r.Architecture) && is(s.Contract, r.Contract) && is(s.Cloud, r.Cloud) && is(s.Region, r.Region) &&
		is(string(s.Domain), string(r.Domain)) && is(string(s.Project), string(r.Project)) &&
		!slices.ContainsFunc(s.Tags, func(t string) bool { return !slices.Contains(r.Tags, t) })
}

// simply finds the most specific assignment that means a resource.
func simply(m *duty.Model, l duty.Layer, x duty.Aspect, r *duty.Resource) *duty.Assignment {
	var best *duty.Assignment
	rank := [7]int{-1}
	for i := range m.Assignments {
		a := &m.Assignments[i]
		if a.Layer != l || len(a.Aspects) > 0 && !slices.Contains(a.Aspects, x) || !means(&a.When, r) {
			continue
		}
		if n := specificity(a); best == nil || slices.Compare(n[:], rank[:]) > 0 {
			best, rank = a, n
		}
	}
	return best
}

func specificity(a *duty.Assignment) [7]int {
	one := func(set bool) int {
		if set {
			return 1
		}
		return 0
	}
	w := &a.When
	return [7]int{one(len(a.Aspects) > 0), one(w.Project != ""), len(w.Tags), one(w.Domain != ""), one(w.Region != ""), one(w.Cloud != ""),
		one(w.Service != "") + one(w.Architecture != "") + one(w.Contract != "")}
}

// highest is how much memory (MiB) the process has had at once: getrusage(2), ru_maxrss.
func highest() int {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return int(u.Maxrss / 1024)
}
