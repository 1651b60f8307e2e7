package cloudtest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/fault"
)

// machines: what is done to a machine is done, is remembered with a request of its own, and holds against its tenant.
func machines(t *testing.T, bed *Bed) {
	ctx := t.Context()
	s, _ := machine(t, bed)
	if s.Status != "ACTIVE" || s.Locked {
		t.Fatalf("the machine is %+v", s)
	}
	reason := strings.Repeat("ä", 300)
	do(t, bed, casework.DoLock, reason, func(s asset.Server) bool { return s.Locked })
	if s, _ := machine(t, bed); s.LockedReason.Raw() != strings.Repeat("ä", 255) {
		t.Errorf("the reason is %q", s.LockedReason.Raw())
	}
	do(t, bed, casework.DoLock, "case 42", func(s asset.Server) bool { return s.LockedReason.Raw() == "case 42" })
	do(t, bed, casework.DoStop, "", func(s asset.Server) bool { return !s.Active() })
	if err := bed.Actor.Do(ctx, bed.Server, casework.DoStop, ""); !fault.Is(err, fault.Conflict) {
		t.Errorf("a stopped machine is stopped: %v", err)
	}
	for body, want := range map[string]int{`{"os-start": null}`: 409, `{"unlock": null}`: 403, `{"lock": {"locked_reason": "mine"}}`: 202} {
		if s := bed.Tenant.Action(ctx, bed.Server, body); s != want {
			t.Errorf("its tenant: %s: HTTP %d, want %d", body, s, want)
		}
	}
	if s, _ := machine(t, bed); s.Active() || !s.Locked || s.LockedReason.Raw() != "case 42" {
		t.Errorf("after its tenant tried: %+v", s)
	}
	do(t, bed, casework.DoStart, "", func(s asset.Server) bool { return s.Active() })
	if err := bed.Actor.Do(ctx, bed.Server, casework.DoStart, ""); !fault.Is(err, fault.Conflict) {
		t.Errorf("a running machine is started: %v", err)
	}
	do(t, bed, casework.DoUnlock, "", func(s asset.Server) bool { return !s.Locked })
	do(t, bed, casework.DoUnlock, "", func(s asset.Server) bool { return !s.Locked })
	if err := bed.Actor.Do(ctx, bed.Server, "explode", ""); !fault.Is(err, fault.Refused) {
		t.Errorf("what nobody does: %v", err)
	}
	// A lock of its tenant's own does not keep an administrator out.
	if s := bed.Tenant.Action(ctx, bed.Server, `{"lock": {"locked_reason": "mine"}}`); s != 202 {
		t.Errorf("its tenant locks it: HTTP %d", s)
	}
	do(t, bed, casework.DoUnlock, "", func(s asset.Server) bool { return !s.Locked })
}

func machine(t *testing.T, bed *Bed) (asset.Server, []asset.ServerAction) {
	t.Helper()
	s, actions, err := bed.Actor.Machine(t.Context(), bed.Server)
	if err != nil || s.ID != bed.Server {
		t.Fatalf("the machine: %+v, %v", s, err)
	}
	return s, actions
}

// do does one thing, waits until it shows, and looks for exactly one more entry in the cloud's memory.
func do(t *testing.T, bed *Bed, what casework.MachineDo, reason string, shows func(asset.Server) bool) {
	t.Helper()
	_, before := machine(t, bed)
	if err := bed.Actor.Do(t.Context(), bed.Server, what, reason); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	_, after := machine(t, bed)
	fresh := slices.DeleteFunc(slices.Clone(after), func(a asset.ServerAction) bool {
		return slices.ContainsFunc(before, func(b asset.ServerAction) bool { return b.Request == a.Request })
	})
	if len(fresh) != 1 || fresh[0].Action != string(what) || fresh[0].User == "" || fresh[0].At == 0 {
		t.Errorf("%s: the cloud remembers %+v", what, fresh)
	}
	for range 100 {
		if s, _ := machine(t, bed); shows(s) {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Fatalf("%s: it never showed", what)
}
