package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"demarc/internal/lab"
)

type mailMessage = lab.Message

// leftover: a script of an administrator puts ports on our group: one that was in quarantine before, with another group, and one that never
// was. Both are listed. The first gets back what it had by a person's word; of the second there is no record, and the command says so.
func (f *fighter) leftover(ctx context.Context) error {
	now, err := f.admin.ports(ctx)
	if err != nil {
		return err
	}
	group := now[f.portOf("mine").ID].Groups[0]
	p, never := f.portOf("psec"), f.portOf("script")
	f.say("an administrator's script puts the ports of psec and script on the quarantine group")
	change := map[string]any{"security_groups": append([]string{group}, p.Groups...), "port_security_enabled": true}
	if err := errors.Join(f.setPort(ctx, "admin", p.ID, change),
		f.setPort(ctx, "admin", never.ID, map[string]any{"security_groups": []string{group}})); err != nil {
		return err
	}
	if err := f.wait(ctx, "enforce pending lists both ports", func() bool {
		out, err := f.demarc(ctx, "enforce", "pending", "--output", "json")
		return err == nil && strings.Contains(out, p.ID) && strings.Contains(out, never.ID)
	}); err != nil {
		return err
	}
	f.must(strings.Contains(f.doctor(ctx, "with leftovers"), `"leftovers"`), "doctor does not name the leftovers")
	_, err = f.demarc(ctx, "enforce", "clear", never.ID, "--reason", "a script of ours")
	f.must(err != nil, "the port that no action was recorded of was said to be cleared")
	if err := f.setPort(ctx, "admin", never.ID, map[string]any{"security_groups": never.Groups}); err != nil {
		return err
	}
	if _, err := f.demarc(ctx, "enforce", "clear", p.ID, "--reason", "a script of ours"); err != nil {
		return err
	}
	if err := f.wait(ctx, "the port of psec is off the quarantine group", func() bool {
		now, err := f.admin.ports(ctx)
		return err == nil && !slices.Contains(now[p.ID].Groups, group)
	}); err != nil {
		return err
	}
	return f.wait(ctx, "enforce pending lists no leftover", func() bool {
		out, err := f.demarc(ctx, "enforce", "pending", "--output", "json")
		return err == nil && !strings.Contains(out, p.ID) && !strings.Contains(out, never.ID)
	})
}

// machine is a server as Nova shows it.
type machine struct {
	Status string `json:"status"`
	Locked bool   `json:"locked"`
}

func (f *fighter) machine(ctx context.Context, server string) (machine, error) {
	var body struct{ Server machine }
	_, err := f.admin.Do(ctx, "GET", f.admin.Compute+"/servers/"+f.ids[server], nil, &body)
	return body.Server, err
}

// stopped: the class ends in a stop by the time of the approval. What was announced was a quarantine, so a new round begins. Then the
// server is locked and stopped, and it is not started while its rule would open the weakness again.
func (f *fighter) stopped(ctx context.Context) error {
	if c := f.of(ctx, "stopper"); c.State != "queued" {
		return fmt.Errorf("stopper is %s before the policy changes", c.State)
	}
	f.say("the class ends in a stop from now on")
	if err := f.setPolicy("grace: 24h, end: quarantine}     # exploited", "grace: 24h, end: stop}     # exploited"); err != nil {
		return err
	}
	at := f.mark()
	if err := f.approve(ctx, []string{"stopper"}); err != nil {
		return err
	}
	if err := f.refusedFor(ctx, "stopper", "announced", at); err != nil {
		return err
	}
	if err := f.inState(ctx, "notified", "stopper"); err != nil {
		return err
	}
	m, err := f.machine(ctx, "stopper")
	f.must(err == nil && m.Status == "ACTIVE" && !m.Locked && f.open(ctx, "stopper"), "stopper after the refusal: %+v, %v", m, err)
	if err := f.inState(ctx, "queued", "stopper"); err != nil {
		return err
	}
	out, err := f.demarc(ctx, "enforce", "pending", "--output", "json")
	if err != nil {
		return err
	}
	var pending struct{ Cases []kase }
	if err := json.Unmarshal([]byte(out), &pending); err != nil {
		return fmt.Errorf("enforce pending: %w", err)
	}
	i := slices.IndexFunc(pending.Cases, func(c kase) bool { return c.Server == f.ids["stopper"] })
	f.must(i >= 0 && pending.Cases[i].Will == "stop" && pending.Cases[i].Announced == "stop", "pending says of stopper: %+v", pending.Cases)
	f.setKilling(false)
	// Alice switched port security off on looper, in the same network, while it was in quarantine: a person has to decide that.
	if err := f.approve(ctx, []string{"stopper"}, "--despite", "spoofing", "--reason", "alice's own server looper"); err != nil {
		return err
	}
	action := "/servers/" + f.ids["stopper"] + "/action"
	for _, after := range []string{"/ports/" + f.portOf("stopper").ID, action, action} { // the lock, and the stop
		f.afterCall(f.alive(ctx), len(f.proxy.Log()), after)
	}
	if err := f.inState(ctx, "restricted", "stopper"); err != nil {
		return err
	}
	if err := f.wait(ctx, "stopper is stopped and locked", func() bool {
		m, err := f.machine(ctx, "stopper")
		return err == nil && m.Status == "SHUTOFF" && m.Locked
	}); err != nil {
		return err
	}
	f.setKilling(true)
	return f.startedAgain(ctx)
}

func (f *fighter) startedAgain(ctx context.Context) error {
	c := f.of(ctx, "stopper")
	if _, err := f.demarc(ctx, "case", "fixed", c.ID, "--by", "alice"); err != nil {
		return err
	}
	if err := f.wait(ctx, "alice reads which rule to remove", func() bool {
		return len(f.mails("alice@astro.example", c, "still-open")) > 0
	}); err != nil {
		return err
	}
	group, err := f.groupOf(ctx, "redis-stop", f.portOf("stopper").Project)
	if err != nil {
		return err
	}
	ids, err := f.rules(ctx, group)
	if err != nil || len(ids) != 1 {
		return fmt.Errorf("the rules of redis-stop: %v, %w", ids, err)
	}
	text := lastText(f.mails("alice@astro.example", c, "still-open"))
	f.must(strings.Contains(text, ids[0]), "the mail does not name the rule %s: %s", ids[0], text)
	m, err := f.machine(ctx, "stopper")
	f.must(err == nil && m.Status == "SHUTOFF" && m.Locked, "stopper is %+v while its rule is there, %v", m, err)
	f.say("alice removes the rule")
	if err := f.shut(ctx, group); err != nil {
		return err
	}
	time.Sleep(time.Second)
	if _, err := f.demarc(ctx, "case", "fixed", c.ID, "--by", "alice"); err != nil {
		f.say("asking again: %v", err)
	}
	if err := f.inState(ctx, "released", "stopper"); err != nil {
		return err
	}
	m, err = f.machine(ctx, "stopper")
	f.must(err == nil && m.Status == "ACTIVE" && !m.Locked, "stopper after its release: %+v, %v", m, err)
	now, err := f.admin.ports(ctx)
	p := f.portOf("stopper")
	f.must(err == nil && sameSet(now[p.ID].Groups, p.Groups), "stopper's port has %v, it had %v, %v", now[p.ID].Groups, p.Groups, err)
	f.must(f.reaches(ctx, "internet", stranger, "203.0.113.101:22"), "stopper's ssh is not reached after its release")
	f.must(!f.open(ctx, "stopper"), "stopper's Redis is reached although its rule is gone")
	done, err := f.admin.actions(ctx, f.ids["stopper"])
	slices.Sort(done)
	f.must(err == nil && slices.Equal(done, []string{"create", "lock", "start", "stop", "unlock"}),
		"Nova remembers %v of stopper, %v", done, err)
	return nil
}

// judge holds the cloud, the mailbox and the audit log against the stories.
func (f *fighter) judge(ctx context.Context) (int, error) {
	acts, err := f.acts(ctx)
	if err != nil {
		return 0, err
	}
	now, err := f.admin.ports(ctx)
	if err != nil {
		return 0, err
	}
	recorded, paused, held := map[string]int{}, f.ids["two"], 0
	for _, a := range acts {
		if a.Server == paused && a.State == "held" {
			held++
		} else {
			f.must(a.State == "done" || a.State == "void", "an action on %s ended %s", a.Server, a.State)
		}
		for _, p := range a.Ports {
			if a.State == "done" || a.Fenced {
				recorded[p]++
			}
		}
	}
	f.must(held == 1, "%d actions on two were held by the pause, want 1", held)
	for _, n := range []string{"gate", "victim", "flap", "quiet", "fixer", "bridge", "intruder", "twin"} {
		for _, id := range f.portsOf(n) {
			is, was := now[id], f.before[id]
			f.must(sameSet(is.Groups, was.Groups) && is.Security == was.Security && is.Revision-was.Revision == recorded[id],
				"port %s of %s: %+v, it was %+v, %d actions are recorded", id, n, is, was, recorded[id])
		}
	}
	f.must(f.countOf("fixer", "act.intended") == 0, "fixer was acted on")
	f.judgeMails()
	_, err = f.demarc(ctx, "audit", "verify")
	f.must(err == nil, "the audit log: %v", err)
	f.must(f.countOf("", "case.repaired") == 0, "%d cases were repaired", f.countOf("", "case.repaired"))
	return len(acts), nil
}

// judgeMails: a mail is repeated by a kill at most, with the same Message-ID.
func (f *fighter) judgeMails() {
	seen := map[string]int{}
	for _, m := range f.box.Messages() {
		seen[m.MessageID+" "+m.To]++
	}
	again := 0
	for id, n := range seen {
		f.must(n <= 2, "%d mails %s", n, id)
		again += n - 1
	}
	f.must(again <= f.kills, "%d mails were repeated by %d kills", again, f.kills)
	f.say("%d mails were sent again after a kill", again)
}
