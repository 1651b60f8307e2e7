package serve_test

import (
	"slices"
	"strings"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/lab"
	"demarc/internal/policy"
	"demarc/internal/serve"
)

// onPort is a machine that is made on a port that is there: as Terraform and Heat do after a deletion.
func onPort(name string, services ...lab.Service) lab.Server {
	m := machine(name, "astro", "amir", "cache", "", services...)
	m.NICs = nil
	return m
}

var openRedis = lab.Service{Kind: lab.Redis, Port: 6379}

// A quarantined machine is deleted, and another made on its port. The port gets its groups back, the owner is notified that the case is
// over, the new machine is probed at once, and its case names the earlier one and its notices.
func TestPortsOfDeletedMachineAreGivenBack(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	before := e.groups("cache-1")[0]
	e.restrict()
	port, old := e.w.PortIDs("cache-1")[0], e.theCase("cache-1")
	e.must(e.w.DeleteServerOnly("cache-1"))
	e.must(e.w.BootServerOn(onPort("cache-1b", openRedis), port))
	e.until("notified", 10, func() bool { return e.inState("cache-1b", casework.Notified)() })
	if got := e.w.PortGroups(port); !slices.Equal(got, before) {
		t.Errorf("the port has %v, it had %v", got, before)
	}
	ended, err := e.d.DB.Case(t.Context(), operator, old.ID)
	e.must(err)
	if ended.State != casework.Moot || ended.Act != "" {
		t.Errorf("the case is %s, by act %q", ended.State, ended.Act)
	}
	closing := slices.DeleteFunc(e.w.Mail.For(colleague),
		func(m lab.Message) bool { return !strings.Contains(text(t, m), "The machine has been deleted") })
	if len(closing) != 1 {
		t.Errorf("%d mails say that the case is over", len(closing))
	}
	k := e.theCase("cache-1b")
	if k.Previous != old.ID || k.Renewed != 1 {
		t.Errorf("the new case continues %q, renewed %d times", k.Previous, k.Renewed)
	}
	if said := e.detail("cache-1b", "case.continues"); !strings.Contains(said, old.Ref()) || !strings.Contains(said, "final warning") {
		t.Errorf("what is said of the earlier case: %q", said)
	}
	if n := e.count("", "leftover.found"); n != 0 {
		t.Errorf("%d leftovers", n)
	}
	e.accounted()
	e.noErrors()
}

// What is applied again after the deletion may put the declared groups beside the quarantine, which a port carries as any other group. It
// comes off all the same.
func TestPortOfDeletedMachineBesideOtherGroupsIsGivenBack(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	before := e.groups("cache-1")[0]
	e.restrict()
	port := e.w.PortIDs("cache-1")[0]
	quarantine := e.w.PortGroups(port)
	e.must(e.w.DeleteServerOnly("cache-1"))
	e.w.PutOnGroups(port, append(slices.Clone(quarantine), before...)...)
	e.must(e.w.BootServerOn(onPort("cache-1b", openRedis), port))
	e.until("notified", 10, func() bool { return e.inState("cache-1b", casework.Notified)() })
	if got := e.w.PortGroups(port); !casework.SameGroups(asGroups(got), asGroups(before)) {
		t.Errorf("the port has %v, it had %v", got, before)
	}
	if left := e.pending().Leftovers; len(left) != 0 {
		t.Errorf("left over: %+v", left)
	}
	e.noErrors()
}

// An owner who deletes and creates the machine again and again has the full time each time. The operators are notified from the second
// time on.
func TestMachineCreatedAgainAndAgainIsReported(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.until("notified", 2, e.inState("cache-1", casework.Notified))
	port, name := e.w.PortIDs("cache-1")[0], "cache-1"
	for _, next := range []string{"cache-1b", "cache-1c"} {
		e.must(e.w.DeleteServerOnly(name))
		e.must(e.w.BootServerOn(onPort(next, openRedis), port))
		e.until("notified", 10, func() bool { return e.inState(next, casework.Notified)() })
		name = next
	}
	returned := slices.DeleteFunc(e.w.Mail.For(operators),
		func(m lab.Message) bool { return !strings.Contains(subject(t, m), "another round of notices") })
	if len(returned) != 1 || e.theCase("cache-1c").Renewed != 2 {
		t.Errorf("%d mails to the operators, renewed %d times", len(returned), e.theCase("cache-1c").Renewed)
	}
}

// A machine that is made from the volume of a deleted one continues its case too.
func TestVolumeOfDeletedMachineContinuesTheCase(t *testing.T) {
	t.Parallel()
	s := town()
	s.Servers[0].Volumes = []string{"0a0a0a0a-0000-4000-8000-000000000001"}
	e := open(t, plot{scenario: s})
	e.until("notified", 2, e.inState("cache-1", casework.Notified))
	old := e.theCase("cache-1").ID
	e.must(e.w.DeleteServer("cache-1"))
	m := machine("cache-2b", "astro", "amir", "cache", "127.77.1.11", openRedis)
	m.NICs[0].Addr, m.NICs[0].FloatingIP, m.Volumes = place("10.0.0.90"), e.w.At(place("127.77.1.11")), s.Servers[0].Volumes
	e.must(e.w.BootServer(m))
	e.until("notified", 10, func() bool { return e.inState("cache-2b", casework.Notified)() })
	if k := e.theCase("cache-2b"); k.Previous != old {
		t.Errorf("it continues %q", k.Previous)
	}
}

// What of ours stands in the cloud and no action in force explains is listed, and ended by a person's word.
func TestLeftoversAreListedAndCleared(t *testing.T) {
	t.Parallel()
	e := open(t, plot{policy: stopping})
	before := e.groups("cache-1")[0]
	e.restrict()
	k := e.theCase("cache-1")
	group := e.w.PortGroups(e.w.PortIDs("cache-1")[0])
	e.must(e.d.Line.Withdraw(t.Context(), k.ID, "olga", "wrong machine"))
	e.until("closed", 1, func() bool { return e.casesOf("cache-1")[0].State == casework.Closed })
	port := e.w.PortIDs("cache-1")[0]
	e.w.PutOnGroups(port, group...) // an administrator's script puts it back, by our group
	e.after(2 * day)
	told := e.pending()
	if len(told.Leftovers) != 1 || told.Leftovers[0].Kind != casework.LeftoverPort ||
		told.Leftovers[0].ID() != port || told.Leftovers[0].Case != k.ID {
		t.Fatalf("left over: %+v", told.Leftovers)
	}
	e.setMode(policy.Notify)
	e.reconfigure(nil, []string{"mode: enforce", "mode: notify"}) // what is left over can be ended in every mode
	desk, err := serve.NewDesk(t.Context(), e.d.DB, e.d.Policy)
	e.must(err)
	if _, err := desk.Decide(t.Context(), serve.Ask{Do: serve.Clear, Cases: []string{port}, By: "olga"}); err == nil {
		t.Error("cleared without a reason")
	}
	_, err = desk.Decide(t.Context(), serve.Ask{Do: serve.Clear, Cases: []string{port}, By: "olga", Why: "a script of ours"})
	e.must(err)
	e.untilIdle()
	e.after(2 * day)
	if got := e.w.PortGroups(port); !slices.Equal(got, before) {
		t.Errorf("the port has %v, it had %v", got, before)
	}
	if left := e.pending().Leftovers; len(left) != 0 {
		t.Errorf("still left over: %+v", left)
	}
	e.noErrors()
}

// A script may add our group to those that a port has. The port is listed, and the decision to end it takes our group off all the same.
func TestLeftoverBesideOtherGroupsIsCleared(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	before := e.groups("cache-1")[0]
	e.restrict()
	k := e.theCase("cache-1")
	port := e.w.PortIDs("cache-1")[0]
	group := e.w.PortGroups(port)
	e.must(e.d.Line.Withdraw(t.Context(), k.ID, "olga", "wrong machine"))
	e.until("closed", 1, func() bool { return e.casesOf("cache-1")[0].State == casework.Closed })
	e.w.PutOnGroups(port, append(slices.Clone(group), before...)...)
	e.after(2 * day)
	if left := e.pending().Leftovers; len(left) != 1 || left[0].ID() != port {
		t.Fatalf("left over: %+v", left)
	}
	desk, err := serve.NewDesk(t.Context(), e.d.DB, e.d.Policy)
	e.must(err)
	_, err = desk.Decide(t.Context(), serve.Ask{Do: serve.Clear, Cases: []string{port}, By: "olga", Why: "a script of ours"})
	e.must(err)
	e.untilIdle()
	e.after(2 * day)
	if got := e.w.PortGroups(port); !casework.SameGroups(asGroups(got), asGroups(before)) {
		t.Errorf("the port has %v, it had %v", got, before)
	}
	if left := e.pending().Leftovers; len(left) != 0 {
		t.Errorf("still left over: %+v", left)
	}
	e.noErrors()
}

func asGroups(ids []string) []asset.GroupID {
	var out []asset.GroupID
	for _, id := range ids {
		out = append(out, asset.GroupID(id))
	}
	return out
}

func (e *exam) pending() serve.Told {
	e.t.Helper()
	desk, err := serve.NewDesk(e.t.Context(), e.d.DB, e.d.Policy)
	e.must(err)
	told, err := desk.Decide(e.t.Context(), serve.Ask{Do: serve.Pending})
	e.must(err)
	return told
}

// A stopped machine is not started while its groups, as they read now, would open the weakness again: its owner reads which rule to
// remove. What the owner changed on its ports is closed before it starts, and a port that was deleted meanwhile is named.
func TestStoppedMachineIsCheckedBeforeItStarts(t *testing.T) {
	t.Parallel()
	e := open(t, plot{policy: stopping, scenario: two()})
	e.restrict()
	ports := e.w.PortIDs("cache-1")
	e.claim("cache-1")
	e.untilIdle()
	if m := e.w.Machine("cache-1"); m.Status != "SHUTOFF" || !m.Locked {
		t.Fatalf("it was started although its rule is there: %+v", m)
	}
	mails := slices.DeleteFunc(e.w.Mail.For(owner), func(m lab.Message) bool {
		return !strings.Contains(subject(t, m), "a rule would open the weakness again")
	})
	if len(mails) != 1 || !strings.Contains(text(t, mails[0]), "it stays stopped") ||
		!strings.Contains(text(t, mails[0]), "openstack security group rule delete") {
		t.Fatalf("the owner reads %v", mails)
	}
	e.must(e.w.TenantRemoveRule("astro", "cache", lab.Rule{Proto: "tcp", Min: 6379, Max: 6379, Remote: everywhere}))
	e.must(e.w.DeletePort(ports[1]))
	e.must(e.w.TenantSetGroups("cache-1", "default"))
	open := false
	e.w.OnEvent(func(ev lab.Event) {
		if ev.Kind == "status" && ev.Detail == "ACTIVE" && len(e.changes("cache-1")) < 3 {
			open = true
		}
	})
	e.after(hour)
	e.claim("cache-1")
	e.until("running", 1, func() bool { return e.w.Machine("cache-1").Status == "ACTIVE" })
	if open {
		t.Error("it was started before its port was closed again")
	}
	e.until("released", 3, e.inState("cache-1", casework.Released))
	released := slices.DeleteFunc(e.w.Mail.For(owner),
		func(m lab.Message) bool { return !strings.Contains(text(t, m), ports[1]+" was deleted meanwhile") })
	if len(released) != 1 {
		t.Errorf("%d mails name the port that is lost", len(released))
	}
	if k := e.theCase("cache-1"); len(k.Lost) != 1 {
		t.Errorf("lost: %v", k.Lost)
	}
	e.accounted()
}

// closedByHand closes a case whose machine is restricted, as somebody who writes into the database might.
const closedByHand = `UPDATE kase SET state = 'closed', act = '',
	body = REPLACE(REPLACE(body, '"state":"restricted"', '"state":"closed"'), '"act":"', '"was":"')`

// What else of ours may stand in the cloud: a stop and a lock by a recorded order, as an administrator's script brings them back, and a
// lock that only reads like ours, of which nothing is recorded. All are listed, by doctor too; the recorded ones are ended by a command.
func TestLocksAndStopsThatAreLeftOverAreListed(t *testing.T) {
	t.Parallel()
	e := open(t, plot{policy: stopping})
	before := e.groups("cache-1")[0]
	e.restrict()
	e.w.TenantLock("spare", "Taken off the network by the cloud's operators, case DM-000000. See the mail about this machine.")
	for _, query := range []string{closedByHand, `DELETE FROM timer`} {
		e.sql(query) // the case is closed by hand: no action is in force
	}
	e.after(4 * day)
	kinds := map[string]casework.LeftoverKind{}
	for _, l := range e.pending().Leftovers {
		kinds[l.ID()] = l.Kind
	}
	port, server, spare := e.w.PortIDs("cache-1")[0], e.w.ServerID("cache-1"), e.w.ServerID("spare")
	if kinds[port] != casework.LeftoverPort || kinds[server] != casework.LeftoverLock ||
		kinds[spare] != casework.LeftoverLock || len(kinds) != 3 {
		t.Fatalf("left over: %v", kinds)
	}
	_, bad := e.doctor()
	if said := bad[serve.Leftovers].What; !strings.Contains(said, port) || !strings.Contains(said, server) || !strings.Contains(said, spare) {
		t.Errorf("doctor says %q", said)
	}
	desk, err := serve.NewDesk(t.Context(), e.d.DB, e.d.Policy)
	e.must(err)
	ask := serve.Ask{Do: serve.Clear, Cases: []string{spare}, By: "olga", Why: "not ours"}
	if _, err := desk.Decide(t.Context(), ask); err == nil || !strings.Contains(err.Error(), "no record") {
		t.Errorf("a lock that is not recorded: %v", err)
	}
	_, err = desk.Decide(t.Context(), serve.Ask{Do: serve.Clear, Cases: []string{server}, By: "olga", Why: "closed by hand"})
	e.must(err)
	e.untilIdle()
	if m := e.w.Machine("cache-1"); m.Locked || m.Status != "ACTIVE" {
		t.Errorf("the machine is %+v", m)
	}
	if now := e.w.PortGroups(port); !slices.Equal(now, before) {
		t.Errorf("the port has %v, it had %v", now, before)
	}
}

// A port on our group of which no order is recorded, as with a database that was begun anew, is listed all the same.
func TestQuarantineWithoutRecordIsListed(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	e.restrict()
	port := e.w.PortIDs("cache-1")[0]
	for _, query := range []string{`DELETE FROM act`, closedByHand, `DELETE FROM timer`} {
		e.sql(query)
	}
	e.after(4 * day)
	if left := e.pending().Leftovers; len(left) != 1 || left[0].ID() != port || left[0].Act != "" {
		t.Errorf("left over: %+v", left)
	}
}
