// Package cloudtest is the exam every cloud takes.
//
// It holds what cloud.Reader and cloud.Actor promise, on any cloud of which it is given a Bed: a pretend one and a real one alike.
package cloudtest

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/cloud"
	"demarc/internal/fault"
)

// Bed is a cloud that is examined. What the exam changes it puts back.
type Bed struct {
	Reader cloud.Reader
	Actor  cloud.Actor
	Server asset.ServerID // a running, unlocked machine with one port
	Addr   netip.Addr     // its floating IP
	Nobody netip.Addr     // an address that nobody holds

	// What others do beside Demarc.
	Tenant Hand // a member of the machine's project
	Home   Hand // whoever may change groups in the project that quarantine groups live in
	// Share shows a group to all projects, and no longer.
	Share func(ctx context.Context, group asset.GroupID, shared bool) error
}

// Hand is somebody who uses the cloud without Demarc. Each method gives the HTTP status.
type Hand interface {
	SetGroups(ctx context.Context, port asset.PortID, groups []asset.GroupID) int
	Action(ctx context.Context, server asset.ServerID, body string) int
	SeeGroup(ctx context.Context, group asset.GroupID) int
	AddRule(ctx context.Context, group asset.GroupID) int // ingress of everything
}

// nowhere is an identifier that no cloud has given out.
const nowhere = "00000000-0000-4000-8000-000000000000"

// Run examines a cloud.
func Run(t *testing.T, bed *Bed) {
	for _, part := range []struct {
		name string
		exam func(*testing.T, *Bed)
	}{
		{"the snapshot is whole", whole}, {"what changed", changed}, {"holders", holders}, {"what is not there", unknown}, {"groups are compared and swapped", swaps},
		{"the quarantine group", quarantine}, {"machines", machines},
	} {
		t.Run(part.name, func(t *testing.T) { part.exam(t, bed) })
	}
}

func now() int64 { return time.Now().UnixMicro() }

// whole: all listings to their ends, the clock asked at both ends, and every holder found anew at its address.
func whole(t *testing.T, bed *Bed) {
	s, err := bed.Reader.Snapshot(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range s.Gaps {
		t.Errorf("gap: %+v", g)
	}
	if s.Began == 0 || s.Ended < s.Began {
		t.Errorf("from %d to %d", s.Began, s.Ended)
	}
	x := asset.NewIndex(s)
	if x.Servers[bed.Server] == nil || len(x.PortsOf[bed.Server]) != 1 {
		t.Errorf("the machine is not in it, or not with its port: %+v", x.PortsOf[bed.Server])
	}
	n := 0
	for _, h := range x.Holders() {
		if h.FloatingIP == "" && h.Scope != asset.ExternalScope {
			continue
		}
		n++
		got, err := bed.Reader.Holder(t.Context(), h.Addr, h.Scope)
		if err != nil || got.Port != h.Port || got.Server != h.Server || got.Project != h.Project || got.PortRevision == 0 {
			t.Errorf("%s: %+v, snapshot says %+v: %v", h.Addr, got, h, err)
		}
	}
	t.Logf("%d servers, %d ports, %d groups, %d addresses asked for, in %s", len(s.Servers), len(s.Ports), len(s.Groups), n, time.Duration(s.Ended-s.Began)*time.Microsecond)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := bed.Reader.Snapshot(ended, now); err == nil {
		t.Error("a snapshot although the context had ended")
	}
}

// changed: what changed since a reading is in the next, which is never whole, and goes on where it says.
func changed(t *testing.T, bed *Bed) {
	s, err := bed.Reader.Snapshot(t.Context(), now)
	if err != nil || s.NovaClock == 0 {
		t.Fatal(s, err)
	}
	since := s.NovaClock
	for _, do := range []casework.MachineDo{casework.DoLock, casework.DoUnlock} {
		if err := bed.Actor.Do(t.Context(), bed.Server, do, "exam"); err != nil {
			t.Fatal(err)
		}
		r, err := bed.Reader.Recent(t.Context(), since, now)
		if err != nil || len(r.Gaps) > 0 || r.Complete() || r.NovaClock == 0 || len(r.Groups) != len(s.Groups) || len(r.FloatingIPs) != len(s.FloatingIPs) || len(r.Ports) > 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		i := slices.IndexFunc(r.Servers, func(v asset.Server) bool { return v.ID == bed.Server })
		if i < 0 || r.Servers[i].Locked != (do == casework.DoLock) {
			t.Errorf("after %s: %+v", do, r.Servers)
		}
		since = r.NovaClock
	}
}

func holders(t *testing.T, bed *Bed) {
	h, err := bed.Reader.Holder(t.Context(), bed.Addr, asset.ExternalScope)
	if err != nil || h.Server != bed.Server || h.Port != port(t, bed).ID || h.FloatingRevision == 0 || h.ServerStatus != "ACTIVE" {
		t.Errorf("%+v, %v", h, err)
	}
	p := port(t, bed)
	if h, err := bed.Reader.Holder(t.Context(), p.FixedIPs[0].Addr, string(p.Network)); err != nil || h.Port != p.ID || h.PortRevision != p.Revision {
		t.Errorf("by its own address: %+v, %v", h, err)
	}
	if _, err := bed.Reader.Holder(t.Context(), bed.Nobody, asset.ExternalScope); !errors.Is(err, cloud.ErrNobody) {
		t.Errorf("nobody: %v", err)
	}
	if _, err := bed.Reader.Holder(t.Context(), p.FixedIPs[0].Addr, nowhere); !errors.Is(err, cloud.ErrNobody) {
		t.Errorf("in another network: %v", err)
	}
}

// unknown: what the cloud does not know is ErrNotFound, and nothing was done.
func unknown(t *testing.T, bed *Bed) {
	ctx := t.Context()
	errs := map[string]error{}
	_, errs["Port"] = bed.Actor.Port(ctx, nowhere)
	_, errs["ServerPorts"] = bed.Actor.ServerPorts(ctx, nowhere)
	_, errs["SetGroups"] = bed.Actor.SetGroups(ctx, nowhere, nil, 1)
	_, _, errs["Machine"] = bed.Actor.Machine(ctx, nowhere)
	_, errs["Group"] = bed.Actor.Group(ctx, nowhere)
	errs["Do"] = bed.Actor.Do(ctx, nowhere, casework.DoStop, "")
	p := port(t, bed)
	_, errs["SetGroups, no such group"] = bed.Actor.SetGroups(ctx, p.ID, []asset.GroupID{nowhere}, p.Revision)
	for what, err := range errs {
		if !errors.Is(err, cloud.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if after := port(t, bed); !slices.Equal(after.Groups, p.Groups) || after.Revision != p.Revision {
		t.Errorf("the port was %+v and is %+v", p, after)
	}
}

// port is the machine's only port.
func port(t *testing.T, bed *Bed) asset.Port {
	t.Helper()
	ports, err := bed.Actor.ServerPorts(t.Context(), bed.Server)
	if err != nil || len(ports) != 1 {
		t.Fatalf("the ports of the machine: %v, %v", ports, err)
	}
	p, err := bed.Actor.Port(t.Context(), ports[0].ID)
	if err != nil || p.Server != bed.Server || p.Revision != ports[0].Revision || !slices.Equal(p.Groups, ports[0].Groups) {
		t.Fatalf("port %+v, listed as %+v: %v", p, ports[0], err)
	}
	return p
}

// swaps: the whole list is replaced if nobody changed the port since, else nothing is.
func swaps(t *testing.T, bed *Bed) {
	ctx := t.Context()
	p := port(t, bed)
	defer bed.Tenant.SetGroups(context.WithoutCancel(ctx), p.ID, p.Groups)
	if len(p.Groups) == 0 {
		t.Fatal("the port carries no group")
	}
	empty, err := bed.Actor.SetGroups(ctx, p.ID, nil, p.Revision)
	if err != nil || len(empty.Groups) != 0 || empty.Revision <= p.Revision || empty.ID != p.ID {
		t.Fatalf("no groups: %+v, %v", empty, err)
	}
	if _, err := bed.Actor.SetGroups(ctx, p.ID, p.Groups, p.Revision); !errors.Is(err, cloud.ErrStale) {
		t.Errorf("at the revision before: %v", err)
	}
	if now := port(t, bed); len(now.Groups) != 0 || now.Revision != empty.Revision {
		t.Errorf("refused, and the port is %+v", now)
	}
	// The same list once more is refused or changes nothing; either way what was read before is used up.
	if _, err := bed.Actor.SetGroups(ctx, p.ID, nil, empty.Revision); err != nil {
		t.Errorf("the same list at its own revision: %v", err)
	}
	if _, err := bed.Actor.SetGroups(ctx, p.ID, nil, p.Revision); err != nil && !errors.Is(err, cloud.ErrStale) {
		t.Errorf("the same list at an old revision: %v", err)
	}
	if _, err := bed.Actor.SetGroups(ctx, p.ID, p.Groups, empty.Revision); !errors.Is(err, cloud.ErrStale) {
		t.Errorf("a revision that was used for the same list: %v", err)
	}
	if now := port(t, bed); len(now.Groups) != 0 || now.Revision <= empty.Revision {
		t.Errorf("the same list, and the port is %+v", now)
	}
	read := port(t, bed)
	if s := bed.Tenant.SetGroups(ctx, p.ID, p.Groups); s != 200 {
		t.Errorf("its tenant sets groups: HTTP %d", s)
	}
	if _, err := bed.Actor.SetGroups(ctx, p.ID, nil, read.Revision); !errors.Is(err, cloud.ErrStale) {
		t.Errorf("behind its tenant's back: %v", err)
	}
	if now := port(t, bed); !casework.SameGroups(now.Groups, p.Groups) {
		t.Errorf("the tenant's groups are %v", now.Groups)
	}
	twice := append(slices.Clone(p.Groups), p.Groups...)
	if _, err := bed.Actor.SetGroups(ctx, p.ID, twice, port(t, bed).Revision); !fault.Is(err, fault.Refused) {
		t.Errorf("a group twice: %v", err)
	}
}

// spec is a quarantine with every kind of rule.
var spec = cloud.QuarantineSpec{Name: "demarc-exam",
	Admit: []cloud.Opening{{Prefix: netip.MustParsePrefix("198.51.100.10/32"), Purpose: "scanner"},
		{Prefix: netip.MustParsePrefix("2001:db8:e::10/128"), Proto: "tcp", Purpose: "scanner"},
		{Prefix: netip.MustParsePrefix("198.51.100.77/24"), Proto: "tcp", PortMin: 22, Purpose: "repair"}},
	Egress: []cloud.Opening{{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Proto: "udp", PortMin: 53, PortMax: 53, Purpose: "names"}}}

func quarantine(t *testing.T, bed *Bed) {
	ctx := t.Context()
	ensure := func(what string) asset.GroupID {
		id, err := bed.Actor.EnsureQuarantine(ctx, spec)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		exact(t, bed, id, what)
		return id
	}
	id := ensure("at first")
	before, err := bed.Actor.Group(ctx, id)
	if again := ensure("once more"); again != id || err != nil {
		t.Errorf("once more it is %s, was %s", again, id)
	}
	if after, err := bed.Actor.Group(ctx, id); err != nil || after.Revision != before.Revision {
		t.Errorf("once more, and it was changed: %+v, %v", after, err)
	}
	if s := bed.Home.AddRule(ctx, id); s != 201 {
		t.Errorf("whoever may adds a rule: HTTP %d", s)
	}
	ensure("after somebody added a rule")
	for what, s := range map[string]int{"sees": bed.Tenant.SeeGroup(ctx, id), "opens": bed.Tenant.AddRule(ctx, id), "uses": bed.Tenant.SetGroups(ctx, port(t, bed).ID, []asset.GroupID{id})} {
		if s != 404 {
			t.Errorf("a tenant %s it: HTTP %d", what, s)
		}
	}
	if err := bed.Share(ctx, id, true); err != nil {
		t.Fatal(err)
	}
	if s := bed.Tenant.AddRule(ctx, id); s != 201 {
		t.Errorf("a tenant who sees it opens it: HTTP %d: then it need not be refused", s)
	}
	if _, err := bed.Actor.EnsureQuarantine(ctx, spec); !fault.Is(err, fault.Refused) {
		t.Errorf("shared: %v", err)
	}
	if err := bed.Share(ctx, id, false); err != nil {
		t.Fatal(err)
	}
	ensure("no longer shared")
	for _, name := range []string{"", "default"} {
		if _, err := bed.Actor.EnsureQuarantine(ctx, cloud.QuarantineSpec{Name: name}); !fault.Is(err, fault.Refused) {
			t.Errorf("called %q: %v", name, err)
		}
	}
}

// exact holds the group against the spec: no rule too many, none too few.
func exact(t *testing.T, bed *Bed, id asset.GroupID, what string) {
	t.Helper()
	g, err := bed.Actor.Group(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, r := range g.Rules {
		have = append(have, strings.Join([]string{string(r.Direction), r.Protocol, r.RemotePrefix.String()}, " "))
		if r.Protocol == "udp" && (r.PortMin != 53 || r.PortMax != 53) || r.RemotePrefix.Bits() == 24 && r.Protocol == "tcp" && (r.PortMin != 22 || r.PortMax != 22) {
			t.Errorf("%s: ports %d-%d of %v", what, r.PortMin, r.PortMax, r)
		}
	}
	slices.Sort(have)
	want := []string{"egress udp 192.0.2.0/24", "ingress  198.51.100.10/32", "ingress tcp 198.51.100.0/24", "ingress tcp 2001:db8:e::10/128"}
	if !slices.Equal(have, want) {
		t.Errorf("%s: rules %q, want %q", what, have, want)
	}
}

// Spec is the quarantine that the exam makes, for whoever takes it away.
func Spec() cloud.QuarantineSpec { return spec }
