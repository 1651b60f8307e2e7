package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"demarc/internal/access"
	"demarc/internal/casework"
	"demarc/internal/flow"
	"demarc/internal/serve"
	"demarc/internal/untrusted"
)

// The whole story, told by the real line in the pretend world, and held against the world.
func TestTheStoryIsTold(t *testing.T) {
	d, err := New(t.Context(), Options{Anywhere: true, Tell: func(h flow.Happening) {
		t.Logf("%s %-8s %-24s %-12s %s %s %s %s", time.UnixMicro(h.At).UTC().Format("Jan 02 15:04"), h.Step, h.Event, h.Server, h.Check, h.State, h.MailTo, h.Detail)
	}, Say: func(at int64, what string) {
		t.Logf("%s      * %s", time.UnixMicro(at).UTC().Format("Jan 02 15:04"), what)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	out, err := d.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range out.Stories {
		if !s.Held {
			t.Errorf("story %s: %s: %v", s.Story, s.What, s.Wrong)
		}
	}
	t.Logf("%+v", out)
	noticesLead(t, d)
	approveByHand(t, d)
}

// Every notice of the story names the pages that say how to mend what it tells of.
func noticesLead(t *testing.T, d *Demo) {
	t.Helper()
	cases, err := d.Demarc.DB.Cases(t.Context(), access.Operator(), casework.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	notices := 0
	for _, c := range cases {
		mails, err := d.Demarc.DB.MailsOf(t.Context(), c.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mails {
			if m.Step != casework.StepNotice || m.Body == "" {
				continue
			}
			notices++
			for _, link := range []string{"http://127.0.0.1:8600/guidance/check/", "http://127.0.0.1:8600/guidance/duty/"} {
				if !strings.Contains(m.Body, link) {
					t.Errorf("%s: the notice does not lead to %s:\n%s", c.Ref(), link, m.Body)
				}
			}
		}
	}
	if notices < 5 {
		t.Errorf("only %d notices were written", notices)
	}
}

// When the story is over an approval given by hand is acted on, and policy time stands still.
func approveByHand(t *testing.T, d *Demo) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	idle := make(chan error, 1)
	go func() { idle <- d.Idle(ctx) }()
	defer func() {
		cancel()
		if err := <-idle; err != nil {
			t.Error(err)
		}
	}()
	before := d.Clock.Now()
	cases, err := d.Demarc.DB.Cases(t.Context(), access.Operator(), casework.Filter{States: []casework.State{casework.Queued}})
	if err != nil || len(cases) == 0 {
		t.Fatalf("%d cases wait, %v", len(cases), err)
	}
	desk, err := serve.NewDesk(t.Context(), d.Demarc.DB, d.Policy())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := desk.Decide(t.Context(), serve.Ask{Do: serve.Approve, Cases: []string{cases[0].ID}, By: "olga"}); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		c, err := d.Demarc.DB.Case(t.Context(), access.Operator(), cases[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		if c.State == casework.Restricted || len(c.Blocks) > 0 && len(c.Approvals) == 0 { // carried out, or the gate said no
			break
		}
		if time.Now().After(end) {
			t.Fatalf("nothing came of the approval: %s", c.State)
		}
	}
	if d.Clock.Now() != before {
		t.Error("policy time moved")
	}
}

// What programs read says when the story ended.
func TestTheOutcomeHasItsTime(t *testing.T) {
	var b bytes.Buffer
	tell := NewTeller(&b, true, time.UTC)
	tell.Summary(&Outcome{At: 7})
	tell.Happened(flow.Happening{At: 5, Event: scannerOnly, Server: untrusted.From("s")})
	for line := range strings.Lines(b.String()) {
		var v struct {
			At    int64
			Event string
		}
		if err := json.Unmarshal([]byte(line), &v); err != nil || v.At == 0 || v.Event == "" {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// Whoever answers our scanner alone is told to people too.
func TestObedienceIsASentence(t *testing.T) {
	h := flow.Happening{Event: scannerOnly, Server: untrusted.From("scanner-only"), Detail: "127.77.1.55:6379/tcp answers our scanner alone: its groups let nobody else in"}
	if got, want := sentence(h, nil), "scanner-only: "+h.Detail; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
