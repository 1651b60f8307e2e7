package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"demarc/test/account"
)

// Where the stories happen.
const (
	scanner  = "198.51.100.10" // our published address
	stranger = "198.51.100.66" // another one on the internet
	bastion  = "172.28.5.5"    // the repair path
	campus   = "172.28.0.10"   // the institution, but not the repair path
	cache1   = "203.0.113.101"
	mover    = "203.0.113.103"
)

var farm = []string{"farm1", "farm2", "farm3", "farm4", "farm5"}

// meet logs everybody in and writes down how the cloud was.
func (e *exam) meet(ctx context.Context, clouds string) error {
	var err error
	for _, name := range []string{"alice", "bea", "carol"} {
		if e.owners[name], err = login(ctx, clouds, name); err != nil {
			return err
		}
	}
	if e.admin, err = login(ctx, clouds, "admin"); err != nil {
		return err
	}
	if e.ids, err = e.admin.servers(ctx); err != nil {
		return err
	}
	if e.before, err = e.admin.ports(ctx); err != nil {
		return err
	}
	e.actions = map[string][]string{}
	for name, id := range e.ids {
		if e.actions[name], err = e.admin.actions(ctx, id); err != nil {
			return err
		}
	}
	if len(e.ids) != 13 {
		return fmt.Errorf("the cloud has %d servers, the scenario stories 13", len(e.ids))
	}
	return e.leak(ctx, "leak")
}

// leak opens leaky's Redis beneath Neutron, or mends it.
func (e *exam) leak(ctx context.Context, verb string) error {
	p := e.portOf("leaky")
	out, err := exec.CommandContext(ctx, e.testbed, verb, p.Network, p.ID, "6379").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", verb, err, out)
	}
	return nil
}

// portOf is the only port of a server.
func (e *exam) portOf(server string) port {
	for _, p := range e.before {
		if p.Device == e.ids[server] {
			return p
		}
	}
	return port{}
}

// next waits for one more event.
func (e *exam) next(ctx context.Context) error {
	select {
	case ev, ok := <-e.server.events:
		if !ok {
			return errors.Join(errors.New("demarc serve has ended"), e.server.lastWords())
		}
		e.heard = append(e.heard, ev)
		e.react(ctx, ev)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// until waits until something holds.
func (e *exam) until(ctx context.Context, what string, holds func() bool) error {
	bound, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	for !holds() {
		if err := e.next(bound); err != nil {
			if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("after %s still not: %s", atMost, what)
			}
			return err
		}
	}
	return nil
}

// saw counts events of a server.
func (e *exam) saw(server, msg string) int {
	n := 0
	for _, ev := range e.heard {
		if ev.Msg == msg && (server == "" || ev.Server == server) {
			n++
		}
	}
	return n
}

// caseOf is the latest case that an event of a server named.
func (e *exam) caseOf(server, msg string) string {
	for _, ev := range slices.Backward(e.heard) {
		if ev.Server == server && ev.Msg == msg {
			return ev.Case
		}
	}
	return ""
}

// react is what the people of the stories do at once. What fails is wrong: these are the stories.
func (e *exam) react(ctx context.Context, ev event) {
	told := ev.Msg == "mail.accepted" && ev.Detail == "notice"
	var err error
	switch {
	case ev.Msg == "finding.opened" && ev.Server == "mover1" && e.saw("mover1", "finding.opened") == 1:
		e.say("alice gives the address of mover1 to mover2")
		err = e.owners["alice"].moveFloating(ctx, mover, e.portOf("mover2").ID)
	case told && ev.Server == "cache2" && e.saw("cache2", "people.claimed") == 0:
		e.say("alice reads the mail about cache2, sets a password and says it is fixed")
		if err = e.inside(ctx, "cache2", "redis-cli", "config", "set", "requirepass", "a-password"); err == nil {
			_, err = e.demarc(ctx, "case", "fixed", ev.Case, "--by", "alice")
		}
	case told && ev.Server == "notebook" && e.saw("notebook", "case.notified") == 0:
		e.say("bea does not fix notebook; she drops the scanner's packets")
		err = e.inside(ctx, "notebook", "nft", "add table inet hide; add chain inet hide in { type filter hook input priority 0; }; add rule inet hide in ip saddr "+scanner+" drop")
	case ev.Msg == "case.queued" && slices.Contains(farm, ev.Server) && e.allQueued() && e.saw("", "farm.approved") == 0:
		e.heard = append(e.heard, event{Msg: "farm.approved"})
		e.say("an operator approves all five machines of the farm in one go")
		var ids []string
		for _, f := range farm {
			ids = append(ids, e.caseOf(f, "case.queued"))
		}
		_, err = e.demarc(ctx, append([]string{"enforce", "approve", "--yes"}, ids...)...)
	}
	e.must(err == nil, "%s of %s: %v", ev.Msg, ev.Server, err)
}

func (e *exam) allQueued() bool {
	return !slices.ContainsFunc(farm, func(f string) bool { return e.saw(f, "case.queued") == 0 })
}

// tell plays the stories to their ends.
func (e *exam) tell(ctx context.Context) error {
	e.must(e.reaches(ctx, "internet", stranger, cache1+":6379"), "cache1's Redis does not answer before the story begins")
	talk, err := e.talk(ctx, "internet", stranger, cache1+":6379")
	if err != nil {
		return err
	}
	defer talk.close()
	e.must(strings.HasPrefix(talk.say("PING"), "+PONG"), "the session does not talk")
	if err := e.until(ctx, "cache1 is queued", func() bool { return e.saw("cache1", "case.queued") > 0 }); err != nil {
		return err
	}
	if err := e.quarantine(ctx, talk); err != nil {
		return err
	}
	if err := e.putBack(ctx); err != nil {
		return err
	}
	if err := e.release(ctx); err != nil {
		return err
	}
	return e.until(ctx, "every story has its end", func() bool {
		return e.saw("cache2", "case.verified") > 0 && e.saw("notebook", "finding.unverifiable") > 0 && e.refused() && e.mailed("bea@genomics.example", "Unverifiable") && e.told("cache1", "released") && e.told("leaky", "notice")
	})
}

// refused tells whether the gate has said no to all of the farm.
func (e *exam) refused() bool {
	return !slices.ContainsFunc(farm, func(f string) bool { return e.saw(f, "gate.refused") == 0 })
}

// told tells whether the mail hop took a step's mail about a server.
func (e *exam) told(server, step string) bool {
	return slices.ContainsFunc(e.heard, func(ev event) bool { return ev.Server == server && ev.Msg == "mail.accepted" && ev.Detail == step })
}

// mailed tells whether somebody got a mail with a word in it.
func (e *exam) mailed(to, word string) bool {
	for _, m := range e.box.For(to) {
		if strings.Contains(m.Body, word) || strings.Contains(m.Header.Get("Subject"), word) {
			return true
		}
	}
	return false
}

// asked counts the mails about a machine that want something of somebody: all but those that show how the provider stands.
func (e *exam) asked(to, machine string) int {
	n := 0
	for _, m := range e.box.For(to) {
		if s := m.Header.Get("Subject"); strings.HasSuffix(s, machine) && !strings.Contains(s, "with the provider") {
			n++
		}
	}
	return n
}

// quarantine approves the act on cache1, kills the server in the middle of it, and looks at what the next one makes of it.
func (e *exam) quarantine(ctx context.Context, talk *session) error {
	id := e.caseOf("cache1", "case.queued")
	out, err := e.demarc(ctx, "enforce", "pending", "--output", "json")
	e.must(err == nil && strings.Contains(out, id), "enforce pending does not list %s: %v", id, err)
	e.say("an operator approves the quarantine of cache1")
	if _, err := e.demarc(ctx, "enforce", "approve", id, "--yes"); err != nil {
		return err
	}
	if err := e.until(ctx, "the act is intended", func() bool { return e.saw("cache1", "act.intended") > 0 }); err != nil {
		return err
	}
	e.server.kill()
	e.restarts++
	e.say("demarc serve is killed in the middle of the act, and started again")
	if e.server, err = e.start(); err != nil {
		return err
	}
	if err := e.until(ctx, "cache1 is restricted", func() bool { return e.saw("cache1", "case.restricted") > 0 }); err != nil {
		return err
	}
	e.say("cache1 is off the network")
	e.must(!e.reaches(ctx, "internet", stranger, cache1+":6379"), "a stranger reaches Redis in quarantine")
	e.must(!e.reaches(ctx, "internet", stranger, cache1+":22"), "a stranger reaches ssh in quarantine")
	e.must(!e.reaches(ctx, "institution", campus, cache1+":22"), "the institution reaches ssh in quarantine beside the repair path")
	e.must(e.reaches(ctx, "internet", scanner, cache1+":6379"), "the scanner is not admitted")
	e.must(e.reaches(ctx, "institution", bastion, cache1+":22"), "the repair path is closed")
	got := talk.say("SET late word")
	e.must(strings.HasPrefix(got, "silence"), "a session from before the quarantine still hears: %s", got)
	heard, err := e.output(ctx, "cache1", "redis-cli", "get", "late")
	e.must(err == nil && strings.TrimSpace(heard) == "", "a session from before the quarantine still speaks: %q, %v", heard, err)
	return e.groupHolds(ctx)
}

// groupHolds tries, as the tenant, to open the quarantine group.
func (e *exam) groupHolds(ctx context.Context) error {
	now, err := e.admin.ports(ctx)
	if err != nil {
		return err
	}
	p := now[e.portOf("cache1").ID]
	e.must(len(p.Groups) == 1 && !slices.Contains(e.portOf("cache1").Groups, p.Groups[0]), "the port carries %v in quarantine", p.Groups)
	if len(p.Groups) != 1 {
		return nil
	}
	rule := map[string]any{"security_group_rule": map[string]any{"security_group_id": p.Groups[0], "direction": "ingress", "ethertype": "IPv4"}}
	_, err = e.owners["alice"].Do(ctx, "POST", e.owners["alice"].Network+"/security-group-rules", rule, nil)
	e.must(errors.Is(err, account.Status(404)), "alice opens the quarantine group: %v", err)
	_, err = e.owners["alice"].Do(ctx, "DELETE", e.owners["alice"].Network+"/security-groups/"+p.Groups[0], nil, nil)
	e.must(errors.Is(err, account.Status(404)), "alice deletes the quarantine group: %v", err)
	return nil
}

// putBack lets the owner undo the quarantine on the port, and waits until it is in force again.
func (e *exam) putBack(ctx context.Context) error {
	e.say("alice puts her own groups on cache1's port again")
	p := e.portOf("cache1")
	if err := e.owners["alice"].setGroups(ctx, p.ID, p.Groups); err != nil {
		return err
	}
	if err := e.until(ctx, "the quarantine is put back", func() bool { return e.saw("cache1", "act.done") > 1 }); err != nil {
		return err
	}
	e.must(!e.reaches(ctx, "internet", stranger, cache1+":6379"), "a stranger reaches Redis after the quarantine was put back")
	return nil
}

// release fixes cache1 through the repair path and asks for its network.
func (e *exam) release(ctx context.Context) error {
	e.say("alice sets a password on cache1 and asks for its release")
	if err := e.inside(ctx, "cache1", "redis-cli", "config", "set", "requirepass", "a-password"); err != nil {
		return err
	}
	if _, err := e.demarc(ctx, "case", "fixed", e.caseOf("cache1", "case.restricted"), "--by", "alice"); err != nil {
		return err
	}
	if err := e.until(ctx, "cache1 is released", func() bool { return e.saw("cache1", "case.released") > 0 }); err != nil {
		return err
	}
	e.say("cache1 has its network back")
	e.must(e.reaches(ctx, "internet", stranger, cache1+":6379"), "cache1 is not reached after its release")
	return nil
}

// undo leaves the cloud as the next run wants to find it.
func (e *exam) undo(ctx context.Context) {
	for _, m := range []string{"cache1", "cache2"} {
		_ = e.inside(ctx, m, "redis-cli", "-a", "a-password", "--no-auth-warning", "config", "set", "requirepass", "")
	}
	_ = e.inside(ctx, "notebook", "nft", "delete table inet hide")
	_ = e.leak(ctx, "mend")
	_ = e.owners["alice"].moveFloating(ctx, mover, e.portOf("mover1").ID)
	for _, m := range append([]string{"cache1"}, farm...) { // where a story went wrong, a machine may be left in quarantine
		p := e.portOf(m)
		_ = e.admin.setGroups(ctx, p.ID, p.Groups)
	}
}

// end stops the server as an operator does.
func (e *exam) end(ctx context.Context) error {
	began := time.Now()
	e.must(e.server.cmd.Process.Signal(syscall.SIGTERM) == nil, "the server is gone before it is stopped")
	for ev := range e.server.events {
		e.heard = append(e.heard, ev)
	}
	err := <-e.server.done
	e.must(err == nil, "a stopped server ends with %v", err)
	e.must(e.saw("", "stopped") == 1, "a stopped server does not say so")
	e.say("demarc serve stopped in %.1f s", time.Since(began).Seconds())
	return ctx.Err()
}
