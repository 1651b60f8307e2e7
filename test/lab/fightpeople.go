package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"demarc/test/account"
)

// user gives the id of an account, by its name.
func (f *fighter) user(ctx context.Context, name string) (string, error) {
	var body struct{ Users []struct{ ID string } }
	if _, err := f.admin.Do(ctx, "GET", f.admin.Identity+"/users?name="+name, nil, &body); err != nil {
		return "", err
	}
	if len(body.Users) != 1 {
		return "", fmt.Errorf("%d users are called %s", len(body.Users), name)
	}
	return body.Users[0].ID, nil
}

// people disables an account, as Keystone does with those who have left, or enables it.
func (f *fighter) people(ctx context.Context, name string, enabled bool) error {
	id, err := f.user(ctx, name)
	if err != nil {
		return err
	}
	_, err = f.admin.Do(ctx, "PATCH", f.admin.Identity+"/users/"+id, map[string]any{"user": map[string]any{"enabled": enabled}}, nil)
	return err
}

// join makes an account a member of leaver's project.
func (f *fighter) join(ctx context.Context, name string) error {
	id, err := f.user(ctx, name)
	if err != nil {
		return err
	}
	var roles struct{ Roles []struct{ ID string } }
	if _, err := f.admin.Do(ctx, "GET", f.admin.Identity+"/roles?name=member", nil, &roles); err != nil {
		return err
	}
	if len(roles.Roles) != 1 {
		return errors.New("there is no role member")
	}
	grant := "/projects/" + f.portOf("leaver").Project + "/users/" + id + "/roles/" + roles.Roles[0].ID
	_, err = f.admin.Do(ctx, "PUT", f.admin.Identity+grant, nil, nil)
	return err
}

// firstChange: the only person who was notified has left. One new round begins, to erin, and no mail tells her that she knew.
func (f *fighter) firstChange(ctx context.Context) error {
	final := lastText(f.mails("erin@reserve.example", f.of(ctx, "leaver"), "final-warning"))
	f.must(final != "" && !strings.Contains(final, "You were"), "erin's final warning: %q", final)
	f.must(len(f.mails("dave@compute.example", f.of(ctx, "leaver"), "final-warning")) == 0, "dave has left and got the final warning")
	if err := f.wait(ctx, "erin has a notice of her own", func() bool {
		return len(f.mails("erin@reserve.example", f.of(ctx, "leaver"), "notice")) > 0
	}); err != nil {
		return err
	}
	f.must(f.open(ctx, "leaver"), "leaver was taken off the network although nobody had the full time")
	return nil
}

// left: everybody who was notified has left for the second time. Nothing happens until an operator decides.
func (f *fighter) left(ctx context.Context) error {
	if err := f.inState(ctx, "queued", "leaver"); err != nil {
		return err
	}
	f.say("erin leaves, and frank joins")
	if err := errors.Join(f.people(ctx, "erin", false), f.join(ctx, "frank")); err != nil {
		return err
	}
	at := f.mark()
	if err := f.approve(ctx, []string{"leaver"}); err != nil {
		return err
	}
	if err := f.refusedFor(ctx, "leaver", "people", at); err != nil {
		return err
	}
	time.Sleep(3 * time.Second)
	c := f.of(ctx, "leaver")
	f.must(c.State == "queued", "after the second change of people leaver is %s", c.State)
	f.must(len(f.mails("frank@reserve.example", c, "notice")) == 0, "a second round began, to frank")
	text := strings.Join(c.Blocks, "; ")
	f.must(strings.Contains(text, "erin@reserve.example") && strings.Contains(text, "frank@reserve.example"), "operators read %q", text)
	if err := f.approve(ctx, []string{"leaver"}, "--despite", "people", "--reason", "frank was notified by telephone"); err != nil {
		return err
	}
	if err := f.inState(ctx, "restricted", "leaver"); err != nil {
		return err
	}
	f.must(!f.open(ctx, "leaver"), "a stranger reaches leaver in quarantine")
	if err := f.fixed(ctx, "leaver", "frank"); err != nil {
		return err
	}
	f.must(f.open(ctx, "leaver"), "leaver is not reached after its release")
	return nil
}

// loop: alice undoes the quarantine again and again, each time in another way; it is put back each time. She gets back what she had, and
// what she added.
func (f *fighter) loop(ctx context.Context) error {
	p := f.portOf("looper")
	extra, err := f.groupOf(ctx, "extra", p.Project)
	if err != nil {
		return err
	}
	tricks := []struct {
		what string
		do   func() error
	}{
		{"puts her groups back", func() error { return f.setPort(ctx, "alice", p.ID, map[string]any{"security_groups": p.Groups}) }},
		{"switches port security off", func() error {
			return f.setPort(ctx, "alice", p.ID, map[string]any{"security_groups": []string{}, "port_security_enabled": false})
		}},
		{"puts her groups back with another", func() error {
			return f.setPort(ctx, "alice", p.ID, map[string]any{"security_groups": append(slices.Clone(p.Groups), extra)})
		}},
		{"adds a port", func() error {
			_, err := f.owners["alice"].Do(ctx, "POST", f.owners["alice"].Compute+"/servers/"+f.ids["looper"]+"/os-interface",
				map[string]any{"interfaceAttachment": map[string]any{"net_id": p.Network}}, nil)
			return err
		}},
		{"puts her groups back once more", func() error { return f.setPort(ctx, "alice", p.ID, map[string]any{"security_groups": p.Groups}) }},
	}
	quarantine := ""
	for _, t := range tricks {
		now, err := f.admin.ports(ctx)
		if err != nil {
			return err
		}
		quarantine = now[p.ID].Groups[0]
		f.say("alice %s", t.what)
		if err := t.do(); err != nil {
			return fmt.Errorf("alice %s: %w", t.what, err)
		}
		if err := f.wait(ctx, "all ports of looper are on the quarantine group", func() bool {
			all, err := f.admin.ports(ctx)
			return err == nil && f.quarantined(all, "looper", quarantine)
		}); err != nil {
			return err
		}
	}
	f.must(!f.open(ctx, "looper"), "a stranger reaches looper after its quarantine was put back")
	if err := f.inState(ctx, "restricted", "looper"); err != nil {
		return err
	}
	if err := f.fixed(ctx, "looper", "alice"); err != nil {
		return err
	}
	now, err := f.admin.ports(ctx)
	if err != nil {
		return err
	}
	f.must(now[p.ID].Security, "looper's port has no port security after its release")
	f.must(sameSet(now[p.ID].Groups, p.Groups) || sameSet(now[p.ID].Groups, append(slices.Clone(p.Groups), extra)),
		"looper's port has %v after its release, it had %v", now[p.ID].Groups, p.Groups)
	for id, x := range now {
		if x.Device == f.ids["looper"] && id != p.ID {
			f.must(!slices.Contains(x.Groups, quarantine) && len(x.Groups) > 0, "the port that alice added has %v", x.Groups)
		}
	}
	f.must(f.open(ctx, "looper"), "looper is not reached after its release")
	return nil
}

// quarantined tells whether each port of a server has one group alone, and port security.
func (f *fighter) quarantined(all map[string]port, server, group string) bool {
	n := 0
	for _, p := range all {
		if p.Device != f.ids[server] {
			continue
		}
		n++
		if !p.Security || !slices.Equal(p.Groups, []string{group}) {
			return false
		}
	}
	return n > 0
}

// groupOf gives the id of a group, by its name.
func (f *fighter) groupOf(ctx context.Context, name, project string) (string, error) {
	var body struct {
		Groups []struct{ ID string } `json:"security_groups"`
	}
	if _, err := f.admin.Do(ctx, "GET", f.admin.Network+"/security-groups?name="+name+"&project_id="+project, nil, &body); err != nil {
		return "", err
	}
	if len(body.Groups) != 1 {
		return "", fmt.Errorf("%d groups are called %s", len(body.Groups), name)
	}
	return body.Groups[0].ID, nil
}

// rules gives the ids of a group's rules that let TCP in.
func (f *fighter) rules(ctx context.Context, group string) ([]string, error) {
	var body struct {
		Rules []struct {
			ID        string
			Direction string
			Protocol  *string
		} `json:"security_group_rules"`
	}
	if _, err := f.admin.Do(ctx, "GET", f.admin.Network+"/security-group-rules?security_group_id="+group, nil, &body); err != nil {
		return nil, err
	}
	var out []string
	for _, r := range body.Rules {
		if r.Direction == "ingress" && r.Protocol != nil {
			out = append(out, r.ID)
		}
	}
	return out, nil
}

// shut removes the rules of a group that let TCP in, as alice.
func (f *fighter) shut(ctx context.Context, group string) error {
	ids, err := f.rules(ctx, group)
	for _, id := range ids {
		_, e := f.owners["alice"].Do(ctx, "DELETE", f.owners["alice"].Network+"/security-group-rules/"+id, nil, nil)
		err = errors.Join(err, e)
	}
	return err
}

// reopen lets everybody reach Redis again, as alice.
func (f *fighter) reopen(ctx context.Context, group string) error {
	rule := map[string]any{"security_group_rule": map[string]any{"security_group_id": group, "direction": "ingress",
		"ethertype": "IPv4", "protocol": "tcp", "port_range_min": 6379, "port_range_max": 6379, "remote_ip_prefix": "0.0.0.0/0"}}
	_, err := f.owners["alice"].Do(ctx, "POST", f.owners["alice"].Network+"/security-group-rules", rule, nil)
	return err
}

// made: a quarantined server is deleted, and another made on its port, twice.
func (f *fighter) made(ctx context.Context) error {
	p, old := f.portOf("tform"), f.of(ctx, "tform")
	for i, name := range []string{"tform2", "tform3"} {
		if err := f.makeAgain(ctx, name, p.ID); err != nil {
			return err
		}
		if err := f.wait(ctx, "the port of tform has its groups", func() bool {
			now, err := f.admin.ports(ctx)
			return err == nil && sameSet(now[p.ID].Groups, p.Groups)
		}); err != nil {
			return err
		}
		if err := f.inState(ctx, "notified", "tform"); err != nil {
			return err
		}
		if i == 0 {
			f.must(f.heardOf(0, name, "case.continues"), "the case of %s does not continue the earlier one", name)
			f.must(len(f.mails("bea@genomics.example", old, "closed")) == 1, "bea has %d mails that the case of tform ended",
				len(f.mails("bea@genomics.example", old, "closed")))
		}
		f.must(f.open(ctx, "tform"), "%s is not reached", name)
	}
	return f.wait(ctx, "operators know that tform returned", func() bool {
		return slices.ContainsFunc(f.box.For(operators), func(m mailMessage) bool { return strings.Contains(m.MessageID, ".returned.") })
	})
}

// makeAgain deletes tform as bea does, and makes another server on its port at once.
func (f *fighter) makeAgain(ctx context.Context, name, port string) error {
	bea := f.owners["bea"]
	var was struct {
		Server struct {
			Image, Flavor struct{ ID string }
		}
	}
	id := f.ids["tform"]
	if _, err := bea.Do(ctx, "GET", bea.Compute+"/servers/"+id, nil, &was); err != nil {
		return err
	}
	f.say("bea deletes tform and makes %s on its port", name)
	if _, err := bea.Do(ctx, "DELETE", bea.Compute+"/servers/"+id, nil, nil); err != nil {
		return err
	}
	if err := f.wait(ctx, "the server is gone", func() bool {
		_, err := bea.Do(ctx, "GET", bea.Compute+"/servers/"+id, nil, nil)
		return errors.Is(err, account.Status(404))
	}); err != nil {
		return err
	}
	var made struct{ Server struct{ ID string } }
	body := map[string]any{"server": map[string]any{"name": name, "imageRef": was.Server.Image.ID, "flavorRef": "1",
		"networks": []any{map[string]any{"port": port}},
		"metadata": map[string]any{"lab_services": "redis"}}}
	if _, err := bea.Do(ctx, "POST", bea.Compute+"/servers", body, &made); err != nil {
		return err
	}
	f.ids["tform"] = made.Server.ID
	return nil
}

// flip removes the rule of flap after each final warning, has it looked at, and brings it back; when it is queued, an operator approves.
func (f *fighter) flip(ctx context.Context) {
	c := f.of(ctx, "flap")
	group := f.portOf("flap").Groups[0]
	switch {
	case c.State == "final_warning" && f.flapped == f.rounds:
		f.flapped, f.shutAt, f.shutMark = f.flapped+1, time.Now(), f.mark()
		f.say("alice removes the rule of flap")
		err := f.shut(ctx, group)
		if err == nil {
			_, err = f.demarc(ctx, "case", "fixed", c.ID, "--by", "alice")
		}
		f.must(err == nil, "the rule of flap: %v", err)
	case !f.shutAt.IsZero() && (f.lookedClean("flap", f.shutMark) || time.Since(f.shutAt) > 90*time.Second):
		f.shutAt = time.Time{}
		f.say("alice brings the rule of flap back; the case is %s", c.State)
		err := f.reopen(ctx, group)
		f.must(err == nil, "the rule of flap: %v", err)
	case c.State == "queued" && f.rounds < f.flapped:
		f.rounds++
		err := f.approve(ctx, []string{"flap"})
		f.must(err == nil, "approving flap: %v", err)
	}
}

// lookedClean tells whether a check since some event found a server clean.
func (f *fighter) lookedClean(server string, since int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.heard[since:], func(ev event) bool {
		return ev.Server == server && (ev.Msg == "looked.removed" || ev.Msg == "looked.closed")
	})
}

// flapping: two rounds of it, and then it is an operator's decision.
func (f *fighter) flapping(ctx context.Context) error {
	if err := f.wait(ctx, "the gate refused flap in two rounds", func() bool {
		return f.rounds == 2 && f.countOf("flap", "gate.refused") >= 2
	}); err != nil {
		return fmt.Errorf("%w: %+v", err, f.of(ctx, "flap"))
	}
	time.Sleep(3 * time.Second)
	c := f.of(ctx, "flap")
	f.must(c.State == "queued", "flap is %s after its second round: %v", c.State, c.Blocks)
	f.must(f.countOf("flap", "act.intended") == 0, "flap was acted on")
	f.must(f.open(ctx, "flap"), "flap was taken off the network")
	_, err := f.demarc(ctx, "enforce", "release", c.ID, "--reason", "alice was spoken to")
	return err
}

func (f *fighter) countOf(server, msg string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.saw(server, msg)
}
