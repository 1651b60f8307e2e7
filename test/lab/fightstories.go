package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"demarc/internal/lab"
)

const operators = "operators@cloud.example"

// address is where a server's Redis answers strangers.
var address = map[string]string{"stopper": "203.0.113.101", "flap": "203.0.113.102", "looper": "203.0.113.103",
	"psec": "203.0.113.104", "tform": "203.0.113.105",
	"mine": "203.0.113.106", "victim": "192.0.2.50", "leaver": "203.0.113.107", "two": "203.0.113.108", "twin": "203.0.113.109"}

// open tells whether a stranger reaches a server's Redis.
func (f *fighter) open(ctx context.Context, server string) bool {
	return f.reaches(ctx, "internet", stranger, address[server]+":6379")
}

// story is a part of the run with a name.
type story struct {
	name string
	play func(context.Context) error
}

// play plays the stories.
func (f *fighter) play(ctx context.Context) error {
	f.doctor(ctx, "before")
	for _, s := range []story{{"a first start mails nobody", f.firstStart}, {"everybody is warned", f.warned}, {"refusals", f.refusals},
		{"those who were notified left", f.firstChange}, {"what a person may decide", f.decided}, {"the quarantine undone in a loop", f.loop},
		{"a server made again on its port", f.made}, {"a pause half-way", f.paused}, {"a leftover", f.leftover}, {"they left again", f.left},
		{"a stop that was not announced", f.stopped}, {"a rule that comes and goes", f.flapping}} {
		f.say("STORY %s", s.name)
		if err := s.play(ctx); err != nil {
			if ctx.Err() != nil || f.stories < 2 {
				return err
			}
			f.must(false, "the story %q did not reach its end: %v", s.name, err)
		}
		f.stories++
	}
	f.doctor(ctx, "after")
	return nil
}

// firstStart: with mode enforce in the file nobody but the operators gets mail until a person raises the mode, step by step.
func (f *fighter) firstStart(ctx context.Context) error {
	f.setKilling(true)
	// Alice makes ports without port security in her network, and would have one where others are: neither is ever bound.
	own := map[string]any{"port": map[string]any{"network_id": f.portOf("looper").Network, "port_security_enabled": false, "name": "unbound"}}
	_, err := f.owners["alice"].Do(ctx, "POST", f.owners["alice"].Network+"/ports", own, nil)
	f.must(err == nil, "alice makes an unbound port without port security: %v", err)
	shared := map[string]any{"port": map[string]any{"network_id": f.portOf("victim").Network, "port_security_enabled": false,
		"name": "unbound", "project_id": f.portOf("looper").Project}}
	_, err = f.admin.Do(ctx, "POST", f.admin.Network+"/ports", shared, nil)
	f.must(err == nil, "an unbound port without port security in the shared network: %v", err)
	if err := f.wait(ctx, "operators know of all servers", func() bool {
		return !slices.ContainsFunc(keys(address), func(n string) bool { return len(f.mails(operators, f.of(ctx, n), "observed")) == 0 })
	}); err != nil {
		return err
	}
	for _, m := range f.box.Messages() {
		f.must(m.To == operators, "in observe %s got %q", m.To, m.Header.Get("Subject"))
	}
	if _, err := f.demarc(ctx, "mode", "set", "notify", "--reason", "the owners are right"); err != nil {
		return err
	}
	if err := f.inState(ctx, "notified", keys(address)...); err != nil {
		return err
	}
	for _, n := range keys(address) {
		c := f.of(ctx, n)
		for _, m := range f.box.Messages() {
			if strings.HasPrefix(strings.Trim(m.MessageID, "<>"), strings.ToLower(c.Ref)+".notice.") {
				f.must(!threatens(words(m)), "in notify the mail to %s about %s threatens: %s", m.To, n, words(m))
			}
		}
	}
	_, err = f.demarc(ctx, "mode", "set", "enforce", "--reason", "the operators agreed")
	return err
}

// threatens tells whether a mail says that something may be done to a server.
func threatens(text string) bool {
	b := strings.ToLower(text)
	return strings.Contains(b, "off the network") || strings.Contains(b, "disconnect") || strings.Contains(b, "quarantine")
}

func keys(m map[string]string) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// warned: everybody is notified of what may follow; dave of leaver alone, who leaves before the final warning; carol fixes fixer.
func (f *fighter) warned(ctx context.Context) error {
	if err := f.wait(ctx, "dave has the notice that counts", func() bool {
		return threatens(lastText(f.mails("dave@compute.example", f.of(ctx, "leaver"), "notice")))
	}); err != nil {
		return err
	}
	f.say("dave leaves, and erin joins")
	if err := f.people(ctx, "dave", false); err != nil {
		return err
	}
	if err := f.join(ctx, "erin"); err != nil {
		return err
	}
	if err := f.inside(ctx, "fixer", "redis-cli", "config", "set", "requirepass", "a-password"); err != nil {
		return err
	}
	f.every = append(f.every, func() { f.flip(ctx) })
	return f.inState(ctx, "queued", slices.DeleteFunc(keys(address), func(n string) bool { return n == "flap" })...)
}

// refusals: what the gate refuses, and which of it a person may decide. Several refusals are waited for together, to save time.
func (f *fighter) refusals(ctx context.Context) error {
	p := f.portOf("psec")
	f.say("bea switches port security off on psec")
	if err := f.setPort(ctx, "bea", p.ID, map[string]any{"security_groups": []string{}, "port_security_enabled": false}); err != nil {
		return err
	}
	want := []struct{ server, condition string }{{"leaver", "people"}, {"victim", "spoofing"}, {"mine", "spoofing"}, {"psec", "port-security"}}
	at := f.mark()
	for _, w := range want {
		if err := f.approve(ctx, []string{w.server}); err != nil {
			return err
		}
	}
	for _, w := range want {
		if err := f.refusedFor(ctx, w.server, w.condition, at); err != nil {
			return err
		}
		f.must(f.open(ctx, w.server), "%s does not answer although nothing was done", w.server)
	}
	at = f.mark()
	if err := f.approve(ctx, []string{"victim"}, "--despite", "spoofing", "--reason", "we believe it"); err == nil {
		if err := f.refusedFor(ctx, "victim", "spoofing", at); err != nil {
			return err
		}
	}
	f.must(f.open(ctx, "victim"), "victim was taken off the network")
	f.must(!f.mailNames("alice@astro.example", f.ids["intruder"], "intruder", "genomics"), "alice reads of her neighbour")
	return nil
}

// decided: a neighbour of the owner's own, and port security that the owner switched off, protect nobody once a person has decided.
func (f *fighter) decided(ctx context.Context) error {
	if err := f.approve(ctx, []string{"mine"}, "--despite", "spoofing", "--reason", "nora's own bridge"); err != nil {
		return err
	}
	if err := f.approve(ctx, []string{"psec"}, "--despite", "port-security", "--reason", "it was switched off to evade"); err != nil {
		return err
	}
	if err := f.approve(ctx, []string{"looper", "tform"}); err != nil {
		return err
	}
	p := f.portOf("psec")
	for _, n := range []string{"mine", "psec", "looper", "tform"} {
		if err := f.inState(ctx, "restricted", n); err != nil {
			return err
		}
		f.must(!f.open(ctx, n), "a stranger reaches %s in quarantine", n)
	}
	now, err := f.admin.ports(ctx)
	f.must(err == nil && now[p.ID].Security && len(now[p.ID].Groups) == 1, "psec's port in quarantine: %+v, %v", now[p.ID], err)
	time.Sleep(10 * time.Second) // twenty hours, with checks: nothing was fixed, so nothing is given back
	f.must(f.of(ctx, "psec").State == "restricted", "psec is %s after ten seconds in which nothing was fixed", f.of(ctx, "psec").State)
	if err := f.fixed(ctx, "psec", "bea"); err != nil {
		return err
	}
	now, err = f.admin.ports(ctx)
	f.must(err == nil && !now[p.ID].Security && len(now[p.ID].Groups) == 0, "psec's port after its release: %+v, %v", now[p.ID], err)
	f.must(f.open(ctx, "psec"), "psec is not reached after its release")
	return nil
}

// mailNames tells whether a mail to somebody holds one of some words.
func (f *fighter) mailNames(to string, names ...string) bool {
	return slices.ContainsFunc(f.box.For(to), func(m lab.Message) bool {
		return slices.ContainsFunc(names, func(w string) bool { return strings.Contains(words(m), w) })
	})
}

// fixed sets a password, asks for the release as the owner, and waits until the server has its network back.
func (f *fighter) fixed(ctx context.Context, server, by string) error {
	if err := f.inside(ctx, server, "redis-cli", "config", "set", "requirepass", "a-password"); err != nil {
		return err
	}
	if _, err := f.demarc(ctx, "case", "fixed", f.of(ctx, server).ID, "--by", by); err != nil {
		return err
	}
	return f.inState(ctx, "released", server)
}

// setPort changes a port as its owner.
func (f *fighter) setPort(ctx context.Context, who, id string, change map[string]any) error {
	a := f.admin
	if who != "admin" {
		a = f.owners[who]
	}
	_, err := a.Do(ctx, "PUT", a.Network+"/ports/"+id, map[string]any{"port": change}, nil)
	return err
}

// paused: the kill switch is thrown while the first of two calls is under way. Nothing further happens; what was done is held, and undone
// by a person's word.
func (f *fighter) paused(ctx context.Context) error {
	f.setKilling(false)
	defer f.setKilling(true)
	ports := f.portsOf("two")
	f.proxy.Plan(lab.Mishap{Kind: lab.Slow, Method: "PUT", Path: "/ports/(" + strings.Join(ports, "|") + ")$", Delay: 2 * time.Second})
	if err := f.approve(ctx, []string{"two", "twin"}); err != nil {
		return err
	}
	at := f.mark()
	if err := f.wait(ctx, "the action on two is intended", func() bool {
		return f.heardOf(at-20, "two", "act.intended")
	}); err != nil {
		return err
	}
	time.Sleep(700 * time.Millisecond) // the slow call is under way
	if _, err := f.demarc(ctx, "enforce", "pause", "--reason", "wrong machines"); err != nil {
		return err
	}
	f.say("an operator pauses enforcement")
	now, err := f.admin.ports(ctx)
	if err != nil {
		return err
	}
	twin := now[f.portOf("twin").ID]
	if err := f.inState(ctx, "on_hold", "two"); err != nil {
		return err
	}
	time.Sleep(4 * time.Second)
	if now, err = f.admin.ports(ctx); err != nil {
		return err
	}
	changed := 0
	for _, id := range ports {
		if !sameSet(now[id].Groups, f.before[id].Groups) {
			changed++
		}
	}
	f.must(changed == 1, "after the pause %d of two's ports are changed, want the one whose call was under way", changed)
	f.must(now[twin.ID].Revision == twin.Revision, "twin's port changed after the pause: %+v, was %+v", now[twin.ID], twin)
	f.mu.Lock()
	f.kill9(f.server)
	f.mu.Unlock()
	if _, err := f.demarc(ctx, "enforce", "release", f.of(ctx, "two").ID, "--reason", "wrong machine"); err != nil {
		return err
	}
	if err := f.inState(ctx, "closed", "two"); err != nil {
		return err
	}
	if now, err = f.admin.ports(ctx); err != nil {
		return err
	}
	for _, id := range ports {
		f.must(sameSet(now[id].Groups, f.before[id].Groups), "two's port %s has %v, it had %v", id, now[id].Groups, f.before[id].Groups)
	}
	f.must(f.open(ctx, "two"), "two is not reached after it was given back")
	_, err = f.demarc(ctx, "enforce", "resume", "--reason", "looked")
	return err
}

func (f *fighter) portsOf(server string) []string {
	var out []string
	for id, p := range f.before {
		if p.Device == f.ids[server] {
			out = append(out, id)
		}
	}
	return out
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func (f *fighter) heardOf(since int, server, msg string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.heard[max(0, since):], func(ev event) bool { return ev.Server == server && ev.Msg == msg })
}

// setPolicy changes the policy's text and starts the server again with it.
func (f *fighter) setPolicy(old, wanted string) error {
	file := filepath.Join(f.dir, "policy.yaml")
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if !strings.Contains(string(b), old) {
		return fmt.Errorf("%q is not in the policy", old)
	}
	f.stop()
	if err := os.WriteFile(file, []byte(strings.Replace(string(b), old, wanted, 1)), 0o600); err != nil {
		return err
	}
	return f.launch()
}
