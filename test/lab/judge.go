package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// judge holds the cloud, the mailbox and the ledger against the stories. It returns how many acts the ledger knows.
func (e *exam) judge(ctx context.Context) (int, error) {
	acts, err := e.acts(ctx)
	if err != nil {
		return 0, err
	}
	if err := e.judgePorts(ctx, acts); err != nil {
		return 0, err
	}
	if err := e.judgeMachines(ctx); err != nil {
		return 0, err
	}
	e.judgeMover(ctx)
	e.judgeFilter()
	for _, f := range farm {
		e.must(e.saw(f, "act.intended") == 0, "%s was acted on", f)
		e.must(strings.Contains(e.detail(f, "gate.refused"), "budget"), "%s was refused for %q", f, e.detail(f, "gate.refused"))
	}
	e.must(e.saw("mover1", "finding.opened") == 1, "mover1 was found %d times before its address moved", e.saw("mover1", "finding.opened"))
	e.must(e.saw("notebook", "finding.fixed") == 0, "silence counted as a fix of notebook")
	e.must(e.saw("cache2", "finding.fixed") == 1, "cache2 was proven fixed %d times", e.saw("cache2", "finding.fixed"))
	for _, step := range []string{"notice", "final-warning", "restricted", "released"} {
		n := 0
		for _, m := range e.box.For("alice@astro.example") {
			if strings.HasSuffix(m.Header.Get("Subject"), "cache1") && strings.Contains(m.MessageID, "."+step+".") {
				n++
			}
		}
		e.must(n == 1, "alice has %d mails %q about cache1", n, step)
	}
	_, err = e.demarc(ctx, "audit", "verify")
	e.must(err == nil, "the audit log: %v", err)
	return len(acts), nil
}

// judgeFilter: what answers although it is denied is the provider's, and who lets only our scanner in has done nothing wrong.
func (e *exam) judgeFilter() {
	e.must(e.saw("leaky", "finding.opened") == 1 && e.mailed("platform@cloud.example", "leaky"), "leaky: %d findings, and the provider was told: %t", e.saw("leaky", "finding.opened"), e.mailed("platform@cloud.example", "leaky"))
	e.must(e.mailed("bea@genomics.example", "with the provider") && e.asked("bea@genomics.example", "leaky") == 0, "bea was told of the provider's leak as if it were hers, or not shown how it stands")
	e.must(e.saw("obedient", "endpoint.scanner_only") > 0 && e.saw("obedient", "finding.opened") == 0, "obedient: %d findings", e.saw("obedient", "finding.opened"))
	for _, s := range []string{"leaky", "obedient"} {
		e.must(e.saw(s, "act.intended") == 0, "%s was acted on", s)
	}
}

func (e *exam) detail(server, msg string) string {
	for _, ev := range e.heard {
		if ev.Server == server && ev.Msg == msg {
			return ev.Detail
		}
	}
	return ""
}

// act is an order as the ledger shows it.
type act struct {
	Kind, State, Server string
	Ports               []string
	Fenced              bool
}

// acts lists the orders of all cases.
func (e *exam) acts(ctx context.Context) ([]act, error) {
	out, err := e.demarc(ctx, "case", "list", "--output", "json")
	if err != nil {
		return nil, err
	}
	var cases []struct{ ID string }
	if err := json.Unmarshal([]byte(out), &cases); err != nil {
		return nil, fmt.Errorf("case list: %w", err)
	}
	var all []act
	for _, c := range cases {
		out, err := e.demarc(ctx, "case", "show", c.ID, "--output", "json")
		if err != nil {
			return nil, err
		}
		var file struct{ Acts []act }
		if err := json.Unmarshal([]byte(out), &file); err != nil {
			return nil, fmt.Errorf("case show: %w", err)
		}
		all = append(all, file.Acts...)
	}
	return all, nil
}

// judgePorts: groups are what they were, and every revision of every port is an act that Demarc recorded, or one that a person of
// the stories did.
func (e *exam) judgePorts(ctx context.Context, acts []act) error {
	now, err := e.admin.ports(ctx)
	if err != nil {
		return err
	}
	recorded := map[string]int{}
	for _, a := range acts {
		e.must(a.State == "done" || a.State == "void", "an act ended %s", a.State)
		for _, p := range a.Ports {
			if a.State == "done" || a.Fenced { // a fence shows as one revision, by which nothing is otherwise
				recorded[p]++
			}
		}
	}
	recorded[e.portOf("cache1").ID]++ // alice put her groups back once
	var done []string
	for _, a := range acts {
		if a.State == "done" { // the kill may have come before the act reached the cloud: that order is void
			done = append(done, a.Kind)
		}
	}
	e.must(slices.Equal(done, []string{"quarantine", "hold", "restore"}), "the ledger knows %v", done)
	moved := []string{e.portOf("mover1").ID, e.portOf("mover2").ID}
	for id, was := range e.before {
		is, there := now[id]
		if !there && strings.HasPrefix(was.Owner, "network:") {
			continue // the cloud's own
		}
		e.must(there, "port %s is gone", id)
		e.must(slices.Equal(slices.Sorted(slices.Values(is.Groups)), slices.Sorted(slices.Values(was.Groups))), "port %s has groups %v, had %v", id, is.Groups, was.Groups)
		e.must(is.Up == was.Up && is.Security == was.Security, "port %s is otherwise than it was", id)
		if !slices.Contains(moved, id) && is.Device != "" && strings.HasPrefix(is.Owner, "compute:") {
			e.must(is.Revision-was.Revision == recorded[id], "port %s of %s went on by %d revisions, and %d acts are recorded", id, is.Device, is.Revision-was.Revision, recorded[id])
		}
	}
	return nil
}

// judgeMachines: Nova remembers nothing of any machine that it did not remember before.
func (e *exam) judgeMachines(ctx context.Context) error {
	for name, id := range e.ids {
		done, err := e.admin.actions(ctx, id)
		if err != nil {
			return err
		}
		e.must(slices.Equal(done, e.actions[name]), "Nova remembers %v of %s, before the stories %v", done, name, e.actions[name])
	}
	return nil
}

// judgeMover: whoever has the address now is blamed for nothing, and the ledger knows who had it then.
func (e *exam) judgeMover(ctx context.Context) {
	for _, m := range e.box.Messages() {
		e.must(!strings.Contains(m.Body, "mover2") && !strings.Contains(m.Header.Get("Subject"), "mover2"), "a mail names mover2")
	}
	for _, ev := range e.heard {
		e.must(ev.Server != "mover2" || !strings.HasPrefix(ev.Msg, "finding."), "mover2 has a finding: %s", ev.Msg)
		e.must(ev.Server != "mover1" || ev.Msg != "act.intended", "mover1 was acted on")
	}
	out, err := e.demarc(ctx, "inventory", "who", mover, "--output", "json")
	e.must(err == nil && strings.Contains(out, "mover2"), "who has %s: %v %s", mover, err, out)
}

// doctor prints how many servers no action can reach.
func (e *exam) doctor(ctx context.Context, when string) string {
	out, _ := e.demarc(ctx, "doctor", "--output", "json") //nolint:errcheck // its exit status is not what is asked for
	var rows []map[string]any
	e.must(json.Unmarshal([]byte(out), &rows) == nil && len(rows) > 0, "doctor prints %.100q", out)
	for _, r := range rows {
		if c := fmt.Sprint(r["code"]); strings.HasPrefix(c, "machines") || c == "leftovers" || c == "cases-repaired" || r["state"] == "fail" {
			e.say("doctor %s: %v", when, r)
		}
	}
	return out
}
